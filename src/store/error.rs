//! Why a store cannot be used.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Retry};
use crate::fs::{FsError, LockError};

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are files that hygge has no receipt for.
    #[error("store {} holds files that hygge did not make: {}", path.display(), .names.join(", "))]
    Foreign {
        /// The store.
        path: PathBuf,
        /// Some of them.
        names: Vec<String>,
    },
    /// A visible file was added to a store of hygge's.
    #[error("store {} holds files that were added to it: {}", path.display(), .names.join(", "))]
    Added {
        /// The store.
        path: PathBuf,
        /// Some of them.
        names: Vec<String>,
    },
    /// A published file has other bytes.
    #[error("store {} holds the file {name}, which someone altered", path.display())]
    Altered {
        /// The store.
        path: PathBuf,
        /// The file.
        name: String,
    },
    /// A publication was interrupted.
    #[error("a publication to store {} was interrupted", .0.display())]
    Unrecovered(PathBuf),
    /// The store's path is something else than a folder.
    #[error("store {} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Beside it stand names that are longer.
    #[error("the name of store {} has {bytes} bytes, and what hygge keeps beside it has longer ones: at most {most}", path.display())]
    LongName {
        /// The store.
        path: PathBuf,
        /// The bytes of its name.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// A folder that cannot be renamed.
    #[error("store {} is a mount point, which cannot be replaced by a new folder", .0.display())]
    MountPoint(PathBuf),
    /// A folder of a lower layer of an overlay, which cannot be renamed.
    #[error("store {} lies in a lower layer of an overlay filesystem, where no folder can be replaced by a new one", .0.display())]
    LowerLayer(PathBuf),
    /// A pattern that leads out of the store or to a name that is never read.
    #[error("file_pattern {pattern:?} gives the name {name:?}, {reason}")]
    InvalidPartName {
        /// The pattern.
        pattern: String,
        /// What it gave.
        name: String,
        /// Why that cannot be.
        reason: &'static str,
    },
    /// The receipt cannot be understood.
    #[error("the receipt {receipt} cannot be read: {reason}")]
    UnreadableReceipt {
        /// Its file, or its table.
        receipt: String,
        /// Why not.
        reason: String,
    },
    /// A part that should be published is not there or not what it should be.
    #[error("part {0} is missing or damaged")]
    UnusablePart(String),
    /// Another process has published to a table since it was looked at: what was planned may be
    /// wrong by now.
    #[error("another process has published to {0} meanwhile")]
    ConcurrentPublish(String),
    /// Another process builds into the store.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A link whose end is missing: a volume that is not mounted?
    #[error("store {} is a link that leads nowhere", .0.display())]
    DanglingLink(PathBuf),
    /// A database said no, and it was said why.
    #[error(transparent)]
    Database(#[from] Error),
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if let StoreError::Database(error) = error {
            return error;
        }
        let hint = match &error {
            StoreError::Foreign { .. } => Some(
                "move them away, choose another folder, or adopt: true of the store, which puts them aside once; a store that was moved needs its .json from .hygge too",
            ),
            StoreError::Added { .. } => {
                Some("move them away; files whose name begins with _ or . may stay")
            }
            StoreError::Altered { .. } => {
                Some("move it away, or build the flow first: then it is put aside")
            }
            StoreError::Unrecovered(_) => Some("build the flow first: that finishes or undoes it"),
            StoreError::NotAFolder(_) => Some("choose a folder"),
            StoreError::LongName { .. } => Some("choose a shorter name for its folder"),
            StoreError::DanglingLink(_) => {
                Some("make the folder that it leads to, or mount what belongs there")
            }
            StoreError::MountPoint(_) | StoreError::LowerLayer(_) => Some(
                "choose a folder below it, or publish: in_place of the store, which replaces file by file and is not atomic",
            ),
            StoreError::UnreadableReceipt { .. } => Some(
                "bring it back from a backup, or move it and the store away to build anew; with mode: append, rows of inputs that are gone are only there",
            ),
            StoreError::UnusablePart(_) => Some("build again: the part is made anew"),
            StoreError::ConcurrentPublish(_) => {
                Some("build again: what it published is looked at first; nothing of this build was")
            }
            StoreError::Fs(error) | StoreError::Locked(LockError::Fs(error)) => error.hint(),
            _ => None,
        };
        let kind = match &error {
            StoreError::Locked(LockError::Held(_)) => ErrorKind::Locked,
            _ => ErrorKind::Flow,
        };
        let retry = match &error {
            StoreError::UnusablePart(_) | StoreError::ConcurrentPublish(_) => Retry::Replan,
            StoreError::Added { .. } => Retry::UnderLock,
            _ => Retry::Never,
        };
        let error = Self::new(kind, error).with_retry(retry);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
