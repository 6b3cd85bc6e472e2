//! Two folders change places in one step, where the filesystem can.

use std::path::Path;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::disk_change::{DiskChange, apply_change};
use super::{FsError, nofollow, rename};

/// How the folders changed places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeMethod {
    /// In one step.
    Atomic,
    /// By two renames, because the filesystem knows no exchange: for a moment nothing was there.
    TwoRenames,
    /// There was nothing to exchange with: the next folder was renamed into its place.
    NoPrevious,
}

/// False where a folder cannot be renamed because of where it lies. `full` is another folder of the
/// same parent, which has something in it: so the rename that is tried can never be done.
pub fn can_be_renamed(folder: &Path, full: &Path) -> Result<bool, FsError> {
    match rustix::fs::rename(folder, full) {
        Err(Errno::XDEV | Errno::BUSY) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
        Err(errno) => Err(FsError::at("look at", folder)(errno)),
        Ok(()) => Ok(true),
    }
}

/// Puts `next` where `live` is and what was live at `old`, which must not exist.
///
/// A crash leaves one of: nothing done; `live` new and the old one still called `next`; `live`
/// missing with `old` and `next` both there. Recovery can tell them apart by what is in them.
pub fn exchange_folders(next: &Path, live: &Path, old: &Path) -> Result<ExchangeMethod, FsError> {
    let ((next_parent, new), (parent, name)) = (
        nofollow::open_parent("exchange", next)?,
        nofollow::open_parent("exchange", live)?,
    );
    let exchange = || {
        Ok(rustix::fs::renameat_with(
            &next_parent,
            new,
            &parent,
            name,
            RenameFlags::EXCHANGE,
        )?)
    };
    let exchanged = apply_change(DiskChange::Exchange(next, live), exchange);
    match exchanged.map_err(|error| (Errno::from_io_error(&error), error)) {
        Ok(()) => {
            rename(next, old)?;
            Ok(ExchangeMethod::Atomic)
        }
        Err((Some(Errno::NOENT), _)) => {
            rename(next, live)?;
            Ok(ExchangeMethod::NoPrevious)
        }
        Err((Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP), _)) => {
            exchange_by_renames(next, live, old)
        }
        Err((_, error)) => Err(FsError::at("exchange", live)(error)),
    }
}

/// [`exchange_folders`] for filesystems that cannot do it in one step.
pub fn exchange_by_renames(
    next: &Path,
    live: &Path,
    old: &Path,
) -> Result<ExchangeMethod, FsError> {
    rename(live, old)?;
    rename(next, live)?;
    Ok(ExchangeMethod::TwoRenames)
}
