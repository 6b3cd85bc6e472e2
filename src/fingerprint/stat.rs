//! The stat memo: which digest a file had when it last looked like this.
//!
//! It saves reading files again and is never trusted further than that: any difference in the
//! stat means that the file is hashed again, and only another digest means that it changed.

use std::collections::HashMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::fs::Stat;

/// A file that was changed less than this before it was hashed may change again unseen.
const RACY_NS: i64 = 2_000_000_000;

/// What is remembered of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoEntry {
    /// How the file looked before and after it was hashed.
    pub stat: Stat,
    /// The digest of its bytes.
    pub digest: Fingerprint,
    /// False while the file was too young to be trusted: it is hashed again until it has aged.
    pub aged: bool,
}

impl MemoEntry {
    /// Remembers a file that was hashed at `now`.
    pub fn new(stat: Stat, digest: Fingerprint, now: UnixNanos) -> Self {
        Self {
            stat,
            digest,
            aged: now.has_aged(&stat),
        }
    }
}

/// A moment, in nanoseconds since 1970: taken before the file is read.
#[derive(Clone, Copy, Debug)]
pub struct UnixNanos(i64);

impl UnixNanos {
    /// This moment.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The moment so many nanoseconds after 1970 began.
    pub fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// True where a file that looks like this now cannot change without looking different.
    pub fn has_aged(self, stat: &Stat) -> bool {
        let is_old = |changed: i64| self.0.saturating_sub(changed) >= RACY_NS;
        is_old(stat.mtime_ns) && is_old(stat.ctime_ns)
    }
}

/// The memo of one folder: names below it, with what is remembered of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderMemo {
    files: HashMap<String, MemoEntry>,
}

impl FolderMemo {
    /// The digest of a file that looks as it did, and had aged.
    pub fn digest(&self, name: &str, stat: &Stat) -> Option<Fingerprint> {
        let remembered = self.files.get(name)?;
        (remembered.aged && remembered.stat == *stat).then_some(remembered.digest)
    }

    /// The digests of all files.
    pub fn digests(&self) -> impl Iterator<Item = Fingerprint> {
        self.files.values().map(|remembered| remembered.digest)
    }

    /// Remembers a file.
    pub fn insert(&mut self, name: String, remembered: MemoEntry) {
        self.files.insert(name, remembered);
    }
}
