//! Second names of files, and copies where a filesystem or its rules allow none.
//!
//! exFAT, FAT and many network filesystems know no second names, a file may have only so many, and
//! Linux keeps users from giving one to a file of another's (`fs.protected_hardlinks`).

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::disk_change::{DiskChange, apply_change};
use super::{FsError, nofollow};

/// How a file came to its second place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It has a second name.
    Linked,
    /// It was copied, because it cannot have one: the digest of what was copied.
    Copied([u8; 32]),
}

/// Gives second names, and knows whether it was said already that there are none.
#[derive(Debug, Default)]
pub struct Linker {
    was_reported: AtomicBool,
}

impl Linker {
    /// A second name for a file, or a copy of it, with its times and permissions, where it cannot
    /// have one.
    ///
    /// # Errors
    /// It can be neither linked nor copied; between filesystems nothing is copied.
    pub fn link_or_copy(&self, from: &Path, to: &Path) -> Result<LinkOutcome, FsError> {
        if link(from, to)? {
            Ok(LinkOutcome::Linked)
        } else {
            copy_with_times(from, to).map(LinkOutcome::Copied)
        }
    }

    /// True for the first who asks: what is to be said of it is said once.
    pub fn is_first_report(&self) -> bool {
        !self.was_reported.swap(true, Ordering::Relaxed)
    }
}

/// A second name for a file; false where it cannot have one.
///
/// # Errors
/// Anything else was in the way.
pub fn link(from: &Path, to: &Path) -> Result<bool, FsError> {
    let ((source, old), (target, new)) = (
        nofollow::open_parent("link", from)?,
        nofollow::open_parent("link to", to)?,
    );
    let linked = apply_change(DiskChange::Link(from, to), || {
        injected_link_error()?;
        Ok(rustix::fs::linkat(
            &source,
            old,
            &target,
            new,
            AtFlags::empty(),
        )?)
    });
    match linked.map_err(FsError::at("link to", to)) {
        Err(error) if is_link_unsupported(&error) => Ok(false),
        linked => linked.map(|()| true),
    }
}

/// What a filesystem, its driver or the kernel answers that gives no second name to this file.
fn is_link_unsupported(error: &FsError) -> bool {
    let errno = Errno::from_io_error(&error.source);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::PERM
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::MLINK
                | Errno::ACCESS
                | Errno::INVAL
        )
    })
}

fn copy_with_times(from: &Path, to: &Path) -> Result<[u8; 32], FsError> {
    let source = nofollow::open(from)?;
    let (digest, _) = nofollow::copy_from(&source, to, |_| Ok(()))?;
    let target = nofollow::open(to)?;
    let times = source.metadata().and_then(|found| {
        target.set_permissions(plain_permissions(&found))?;
        target.set_modified(found.modified()?)
    });
    times.map_err(FsError::at("copy to", to))?;
    Ok(digest)
}

/// What a copy may be used for: what the original is, but never as its owner, who may be another
/// than the copy's.
pub(super) fn plain_permissions(found: &Metadata) -> Permissions {
    Permissions::from_mode(found.permissions().mode() & 0o777)
}

/// For the tests: the number of an error that every link fails with.
#[cfg(feature = "failpoints")]
fn injected_link_error() -> std::io::Result<()> {
    match std::env::var("HYGGE_LINK_ERROR")
        .ok()
        .and_then(|number| number.parse().ok())
    {
        Some(number) => Err(std::io::Error::from_raw_os_error(number)),
        None => Ok(()),
    }
}

#[cfg(not(feature = "failpoints"))]
fn injected_link_error() -> std::io::Result<()> {
    Ok(())
}
