//! Copies that share their blocks with the original, where the filesystem can.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::step::{Step, step};

/// Clones files, and remembers between which filesystems that cannot be done: trying makes a file
/// and removes it again, which costs more than anything else that is done for a small part.
#[derive(Debug, Default)]
pub struct Cloner {
    /// Pairs of devices that have failed.
    failed: Mutex<HashSet<(u64, u64)>>,
}

impl Cloner {
    /// Makes `to` a clone of `from`; false where that cannot be done, and `to` is not there.
    pub fn clone_file(&self, from: &Path, to: &Path) -> bool {
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        let (Ok(source), Some(Ok(target))) = (device(from), to.parent().map(device)) else { return false };
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed().contains(&(source, target)) {
            return false;
        }
        let cloned = reflink_copy::reflink(from, to).is_ok() && step(Step::Write(to), || Ok(())).is_ok();
        if !cloned {
            failed().insert((source, target));
        }
        cloned
    }
}
