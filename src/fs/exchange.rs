//! Two folders change places in one step, where the filesystem can.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::{FsError, rename};

/// How the folders changed places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// In one step.
    AtOnce,
    /// By two renames, because the filesystem knows no exchange: for a moment nothing was there.
    InTwo,
    /// There was nothing to exchange with: the next folder was renamed into its place.
    Placed,
}

/// Puts `next` where `live` is and what was live at `old`, which must not exist.
///
/// A crash leaves one of: nothing done; `live` new and the old one still called `next`; `live`
/// missing with `old` and `next` both there. Recovery can tell them apart by what is in them.
pub fn exchange_folders(next: &Path, live: &Path, old: &Path) -> Result<Exchanged, FsError> {
    match rustix::fs::renameat_with(CWD, next, CWD, live, RenameFlags::EXCHANGE) {
        Ok(()) => {
            rename(next, old)?;
            Ok(Exchanged::AtOnce)
        }
        Err(Errno::NOENT) => {
            rename(next, live)?;
            Ok(Exchanged::Placed)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => exchange_in_two(next, live, old),
        Err(errno) => Err(FsError::at("exchange", live)(errno)),
    }
}

/// [`exchange_folders`] for filesystems that cannot do it in one step.
pub fn exchange_in_two(next: &Path, live: &Path, old: &Path) -> Result<Exchanged, FsError> {
    rename(live, old)?;
    rename(next, live)?;
    Ok(Exchanged::InTwo)
}
