//! Copies that share their blocks with the original, where the filesystem can.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::AtFlags;

use super::disk_change::{DiskChange, apply_change};
use super::link::plain_permissions;
use super::{File, FsError, nofollow};

/// Clones files, and remembers between which filesystems that cannot be done: trying makes a file
/// and removes it again, which costs more than anything else that is done for a small part.
#[derive(Debug, Default)]
pub struct Cloner {
    /// Pairs of devices that have failed.
    failed_devices: Mutex<HashSet<(u64, u64)>>,
}

impl Cloner {
    /// Makes `to` a clone of `from`, which `open` opens; false where that cannot be done, and `to`
    /// is not there.
    pub fn clone_file(
        &self,
        from: &Path,
        to: &Path,
        open: fn(&Path) -> Result<File, FsError>,
    ) -> bool {
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        let (Ok(source), Some(Ok(target))) = (device(from), to.parent().map(device)) else {
            return false;
        };
        let failed = || {
            self.failed_devices
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if failed().contains(&(source, target)) {
            return false;
        }
        let cloned = open(from).is_ok_and(|source| share_blocks(&source, to).is_ok())
            && apply_change(DiskChange::Write(to), || Ok(())).is_ok();
        if !cloned {
            failed().insert((source, target));
        }
        cloned
    }
}

/// A new file with the blocks of another, and what it may be used for; nothing is left where that
/// fails.
fn share_blocks(source: &File, to: &Path) -> Result<(), FsError> {
    let (folder, name) = nofollow::open_parent("clone to", to)?;
    let target = nofollow::create_in(&folder, name).map_err(FsError::at("clone to", to))?;
    let permissions = |()| target.set_permissions(plain_permissions(&source.metadata()?));
    reflink_copy::reflink_file(source, &target)
        .and_then(permissions)
        .map_err(|error| {
            // Who copies instead says so where the name is still taken.
            _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            FsError::at("clone to", to)(error)
        })
}
