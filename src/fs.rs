//! The filesystem: the only user of `std::fs`, so that every durable step has one place.
//!
//! It knows paths, bytes and stats, and nothing of flows, parts or parquet.

mod barrier;
mod clone;
mod exchange;
mod holders;
mod lock;
mod read;
mod step;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use std::fs::File;

pub use barrier::{Barrier, Barriers};
pub use clone::Cloner;
pub use exchange::{Exchanged, can_be_renamed, exchange_folders, exchange_in_two};
pub use holders::words;
pub use lock::{Held, Lock, LockError};
pub use read::{
    Found, Stat, check_writable, freed_by_removing, is_hidden, is_link, is_mount_point, is_network, is_overlay, list, open, read,
    read_at_most, real_path, stat, stat_open, user_name, walk,
};
pub(crate) use step::{Step, step_async};
pub use write::{
    DigestWriter, append, copy, copy_open, create, create_folder, digest, free_name, go_on, link, permissions_of, remove_empty_folder,
    remove_file, remove_folder, rename, set_permissions, touch, write_atomically,
};

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
        move |source| Self { action, path: path.to_path_buf(), source: source.into() }
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
}
