//! The filesystem: the only user of `std::fs`, so that every durable step has one place.
//!
//! It knows paths, bytes and stats, and nothing of flows, parts or parquet. What is hygge's own
//! goes through [`own`], where no link is followed; what somebody has named, homes and configs,
//! through the functions of the same names beside it.

mod barrier;
mod beside;
mod clone;
mod exchange;
mod holders;
mod link;
mod lock;
mod odd;
pub mod own;
mod pass;
mod processes;
mod read;
mod step;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use std::fs::File;

pub use barrier::{Barrier, Barriers};
pub use beside::{BESIDE, names_another_file};
pub use clone::Cloner;
pub use exchange::{Exchanged, can_be_renamed, exchange_folders, exchange_in_two};
pub use holders::words;
pub use link::{Linked, Linker, link};
pub use lock::{Held, Lock, LockError};
pub use odd::Odd;
pub use pass::{DigestWriter, copy_open, digest, go_on};
pub use processes::ancestors;
pub use read::{
    Found, Stat, check_own_file, check_replaceable, check_writable, freed_by_removing, is_hidden,
    is_link, is_mount_point, is_network, is_overlay, list, nearest, open, read, real_path, stat,
    stat_open, user_name, walk,
};
pub(crate) use step::{Step, step_async};
pub use write::{
    check_touchable, copy, create_folder, free_name, permissions_of, place_for_writing,
    remove_empty_folder, remove_file, remove_folder, rename, set_permissions, touch,
    write_atomically,
};

/// The path of a file with something behind its name.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    PathBuf::from(name)
}

/// A step on the filesystem that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}", path.display())]
pub struct FsError {
    /// What was tried, as it reads after "failed to".
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl FsError {
    /// For `map_err`: the error of one action on one path.
    pub fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self {
            action,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    /// True where nothing is at the path.
    pub fn is_absent(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True where a folder is at the path of a file.
    pub fn is_folder(&self) -> bool {
        self.source.kind() == io::ErrorKind::IsADirectory
    }

    /// True where the paths lie on different filesystems.
    pub fn is_other_filesystem(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }

    /// True where the disk has no room.
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// True where it may not be changed: it is somebody else's, or the disk is only for reading.
    pub fn is_forbidden(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    /// What stands there, where that is nothing that hygge would open.
    pub fn odd(&self) -> Option<&Odd> {
        self.source.get_ref()?.downcast_ref()
    }

    /// What to do next, where that follows from the error alone.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.odd(), self.source.kind()) {
            (Some(Odd::Link), _) => {
                Some("remove the link, or move what it leads to into its place")
            }
            (Some(Odd::NotAFile(_) | Odd::TooLarge { .. }), _) => {
                Some("move it away, and bring back what should be there")
            }
            (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Some(
                "the disk is full: make room on it, and build again; what is published stays, and what was made is used",
            ),
            (_, io::ErrorKind::NotADirectory) => {
                Some("a file is where a folder should be: move it away, or name another place")
            }
            (_, io::ErrorKind::ReadOnlyFilesystem) => {
                Some("the disk can only be read: mount it for writing")
            }
            (_, io::ErrorKind::PermissionDenied) => Some(
                "it may belong to another user, whose build was the first here (sudo?): build as that user, or give it to yours by chown -R",
            ),
            _ => None,
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
