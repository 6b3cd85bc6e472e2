//! The filesystem: the only user of `std::fs`, so that every durable step has one place.
//!
//! It knows paths, bytes and stats, and nothing of flows, parts or parquet. What is hygge's own
//! goes through [`nofollow`], where no link is followed; what somebody has named, homes and
//! configs, through the functions of the same names beside it.

mod barrier;
mod clone;
mod digest_writer;
mod disk_change;
mod exchange;
mod link;
mod lock;
mod lock_holders;
pub mod nofollow;
mod processes;
mod read;
mod sqlite_files;
mod unexpected_file;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use std::fs::File;

pub use barrier::{Barrier, Barriers};
pub use clone::Cloner;
pub use digest_writer::{DigestWriter, check_interrupted, copy_opened, digest_reader};
pub(crate) use disk_change::{DiskChange, apply_change_async};
pub use exchange::{ExchangeMethod, can_be_renamed, exchange_by_renames, exchange_folders};
pub use link::{LinkOutcome, Linker, link};
pub use lock::{Lock, LockError, LockHolder};
pub use lock_holders::lock_holder_text;
pub use processes::parent_process_names;
pub use read::{
    DirEntry, Stat, check_file_writable, check_folder_writable, check_replaceable,
    current_user_name, is_hidden, is_link, is_mount_point, is_network_filesystem,
    is_overlay_filesystem, list, nearest_existing, open, read, real_path, reclaimable_bytes, stat,
    stat_open, walk, walk_folders,
};
pub use sqlite_files::{SQLITE_SUFFIXES, has_super_journal};
pub use unexpected_file::UnexpectedFile;
pub use write::{
    check_touchable, copy, create_folder, permissions_of, remove_empty_folder, remove_file,
    remove_folder, rename, resolve_for_writing, set_permissions, touch, unused_path,
    write_atomically,
};

/// The path of a file with something behind its name.
pub fn with_suffix(path: &Path, ending: &str) -> PathBuf {
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
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True where a folder is at the path of a file.
    pub fn is_folder(&self) -> bool {
        self.source.kind() == io::ErrorKind::IsADirectory
    }

    /// True where the paths lie on different filesystems.
    pub fn is_cross_device(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }

    /// True where the disk has no room.
    pub fn is_disk_full(&self) -> bool {
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
    pub fn unexpected_file(&self) -> Option<&UnexpectedFile> {
        self.source.get_ref()?.downcast_ref()
    }

    /// What to do next, where that follows from the error alone.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.unexpected_file(), self.source.kind()) {
            (Some(UnexpectedFile::Link), _) => {
                Some("remove the link, or move what it leads to into its place")
            }
            (Some(UnexpectedFile::NotAFile(_) | UnexpectedFile::TooLarge { .. }), _) => {
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

fn is_missing(error: &io::Error) -> bool {
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
