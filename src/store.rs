//! Stores: where data settles. A store says what it holds and changes all at once or not at all.
//!
//! It knows nothing of flows and homes: it is told what to publish, and by whom.

pub mod accepted_loss;
pub mod context;
pub mod files;
pub mod receipt;
pub mod sql;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polars_arrow::datatypes::ArrowSchema;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::connection::Connection;
use crate::error::{Error, ErrorKind, Retry};
use crate::fingerprint::Fingerprint;
use crate::format::OutputSpec;
use crate::fs::{FsError, Lock, LockError, Stat};
use crate::home::Home;

use context::PublishContext;
use receipt::{PublishedSet, Receipt};

/// A destination, as the config describes it.
///
/// Two stores are the same where their kinds and their settings are. Methods that look or change
/// take `real`, the store's path with links resolved, because that is what is locked and owned.
pub trait Store: Debug + Send + Sync {
    /// The `type:` in the config.
    fn kind(&self) -> &'static str;

    /// Every field of the config, resolved, in order.
    fn settings(&self) -> Settings;

    /// The absolute path, links not resolved.
    fn path(&self) -> &Path;

    /// The table, where it is no folder. Its path then stands for it, and holds nothing but a lock.
    fn table(&self) -> Option<TargetTable<'_>> {
        None
    }

    /// What it can do, by which flows are planned.
    fn capabilities(&self) -> Capabilities;

    /// What people call it.
    fn display_name(&self, real: &Path) -> String {
        real.display().to_string()
    }

    /// The home that reads what it holds, where it is a table.
    fn as_home(&self) -> Option<Arc<dyn Home>> {
        None
    }

    /// What its parts are made of.
    fn output_spec(&self) -> OutputSpec;

    /// What decides how a flow's parts are published: their names. The path is not in it: a
    /// receipt stands beside its store, so that a project that was moved is as fresh as before.
    fn placement(&self) -> BTreeMap<String, String>;

    /// Its flow rests: what it keeps open at a server and has no use for meanwhile is closed.
    fn close_idle(&self) {}

    /// True where it takes over a folder that holds what hygge did not make.
    fn adopts(&self) -> bool;

    /// The name of a part. Two parts of one set must not get the same name: the caller checks.
    fn part_name(&self, naming: &PartNaming<'_>) -> Result<String, StoreError>;

    /// True where a part's name has its digest in it, which nobody knows before it is made.
    fn names_by_digest(&self) -> bool {
        false
    }

    /// How the receipt's file looks; `None` where there is no receipt.
    fn receipt_stat(&self, real: &Path) -> Result<Option<Stat>, StoreError>;

    /// The receipt.
    fn receipt(&self, real: &Path) -> Result<Option<Receipt>, StoreError>;

    /// Every receipt that stands beside this store, of a table all of its database, by the real
    /// path of the store it is for: what tells, without an index, what was ever published here.
    fn sibling_receipts(&self, real: &Path) -> Result<Vec<(PathBuf, Stat, Receipt)>, StoreError>;

    /// What readers find there now; nothing is read but stats.
    fn live_contents(&self, real: &Path) -> Result<LiveContents, StoreError>;

    /// Fails where nothing could be published: the path is no folder, nothing may be written there,
    /// or it holds what hygge did not make. Changes nothing.
    fn check(&self, real: &Path) -> Result<(), StoreError>;

    /// Fails where columns do not fit by their types alone, naming all of them, or where such a
    /// change is refused; gives what is to be known of the others, in words. Changes nothing.
    fn check_columns(&self, _: &ArrowSchema, _: StoreUpdate) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Checks that the store can be published to, makes what must be there for that, and locks it.
    /// The lock goes with the value or the process.
    fn lock(&self, real: &Path, holder: &str) -> Result<Lock, StoreError>;

    /// The digests of the parts that wait beside the store while an earlier set is published that
    /// was put back: the latest set has them, and they can be published as if they were in it.
    fn latest_parts(
        &self,
        real: &Path,
        receipt: &Receipt,
    ) -> Result<HashSet<Fingerprint>, StoreError>;

    /// The digests of the parts that lie beside the store since the publication before, or since
    /// one that died: they are in staging once the store is recovered.
    fn previous_parts(
        &self,
        real: &Path,
        receipt: Option<&Receipt>,
    ) -> Result<HashSet<Fingerprint>, StoreError>;

    /// Finishes or undoes a publication that died; parts that are not needed, also those of the set
    /// before, go to `staging`. Needs the lock. Gives the receipt as it is afterwards; what was
    /// done is noted in `context`.
    fn recover(
        &self,
        real: &Path,
        context: &PublishContext<'_>,
    ) -> Result<Option<Receipt>, StoreError>;

    /// What clearing the store removes: only what hygge made. Changes nothing.
    fn removable(&self, real: &Path) -> Result<RemovalPlan, StoreError>;

    /// Removes what [`Store::removable`] gives. Needs the lock.
    fn clear(&self, real: &Path) -> Result<(), StoreError>;

    /// Puts a whole new set in the place of the old one. Needs the lock and a recovered receipt.
    /// Readers see the old set or the new set; after a crash, `recover` makes it one of them.
    fn publish(
        &self,
        real: &Path,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError>;
}

impl PartialEq for dyn Store {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.settings() == other.settings()
    }
}

impl Eq for dyn Store {}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Its parts are files that others read as they are: one that was published can be published
    /// again, and its bytes are known.
    pub parts_readable: bool,
    /// What was added to it can be taken back.
    pub append_revocable: bool,
    /// Rows can be merged by a key.
    pub can_merge: bool,
}

/// A table that a store fills.
#[derive(Clone, Copy, Debug)]
pub struct TargetTable<'a> {
    /// What tells its database from others.
    pub database: &'a str,
    /// Its name, behind its schema if that is said.
    pub names: &'a [String],
    /// The connection by which it is filled.
    pub connection: &'a Connection,
    /// The columns by which rows are merged.
    pub key: &'a [String],
}

/// How a set changes what a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreUpdate {
    /// It is all that there is.
    Replace,
    /// Its parts that are new are added.
    Append,
    /// The rows of its parts that are new take the place of those with their keys.
    Merge,
}

/// What a part's name may be made of.
#[derive(Clone, Copy, Debug)]
pub struct PartNaming<'a> {
    /// The part's number in its set, from 1.
    pub sequence: u64,
    /// The name of its first input file without folder and ending.
    pub stem: &'a str,
    /// The part's digest; `None` while it is not made.
    pub digest: Option<&'a Fingerprint>,
}

/// What readers find in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveContents {
    /// True where there is a store, however empty.
    pub exists: bool,
    /// The visible files by name, with their stats.
    pub files: BTreeMap<String, Stat>,
    /// Visible names that are no files.
    pub folders: Vec<String>,
}

/// What clearing a store removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalPlan {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Bytes that readers find in them.
    pub bytes: u64,
    /// What is removed of a table, in words: it has no files.
    pub table_summary: Option<String>,
}

/// What to publish.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The project that owns the flow.
    pub project: &'a str,
    /// The flow.
    pub flow: &'a str,
    /// The recovered receipt, if the store has one.
    pub receipt: Option<&'a Receipt>,
    /// The new set.
    pub next: &'a PublishedSet,
    /// Names in the live set that someone altered: they are displaced, never used.
    pub altered: &'a [String],
    /// How the new set changes what is there.
    pub update: StoreUpdate,
    /// Cancelled when the run shall end: what is loaded into a table is given up, what takes a moment is
    /// finished.
    pub interrupted: &'a CancellationToken,
    /// How long to wait for another process that fills the same table; nothing where it is as long
    /// as it takes.
    pub lock_timeout: Option<Duration>,
    /// Is told once that another process is waited for.
    pub wait_notices: &'a UnboundedSender<String>,
}

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
    #[error("the receipt {} cannot be read: {reason}", path.display())]
    UnreadableReceipt {
        /// Its file.
        path: PathBuf,
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
