//! How far the files are read whose digests no memo has: for who waits meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are to be read, and those that were.
#[derive(Debug, Default)]
pub struct HashProgress {
    wanted: AtomicU64,
    done: AtomicU64,
}

impl HashProgress {
    /// Bytes that were read by now, and how many it will be as far as that is known.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.wanted.load(Ordering::Relaxed),
        )
    }

    /// So many more bytes are to be read.
    pub fn expect(&self, bytes: u64) {
        self.wanted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many more were.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
