//! A store that is open: what it holds, and how that changes, all at once or not at all.
//!
//! It knows nothing of flows and homes: it is told what to publish, and by whom.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use polars_arrow::datatypes::ArrowSchema;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::context::PublishContext;
use super::receipt::{PublishedSet, Receipt};
use super::{StoreError, StoreId};
use crate::fingerprint::Fingerprint;
use crate::fs::{Lock, Stat};
use crate::storage::Version;

/// A store where it really lies.
///
/// A session holds nothing open by itself: what it is asked is asked anew each time.
pub trait StoreSession: Debug + Send + Sync {
    /// What people call it.
    fn display_name(&self) -> String;

    /// How it looks; nothing is read but stats, of a table its receipt's digest.
    fn observe(&self) -> Result<StoreStats, StoreError>;

    /// What tells that the receipt has changed; `None` where there is no receipt.
    fn receipt_version(&self) -> Result<Option<Version>, StoreError>;

    /// The receipt.
    fn receipt(&self) -> Result<Option<Receipt>, StoreError>;

    /// Every receipt that stands beside this store, of a table all of its database: what tells,
    /// without an index, what was ever published here.
    fn sibling_receipts(&self) -> Result<Vec<SiblingReceipt>, StoreError>;

    /// Fails where nothing could be published: the path is no folder, nothing may be written there,
    /// or it holds what hygge did not make. Changes nothing.
    fn check(&self) -> Result<(), StoreError>;

    /// Fails where columns do not fit by their types alone, naming all of them, or where such a
    /// change is refused; gives what is to be known of the others, in words. Changes nothing.
    fn check_columns(&self, _: &ArrowSchema, _: StoreUpdate) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Checks that the store can be published to, makes what must be there for that, and locks it.
    /// The lock goes with the value or the process.
    fn lock(&self, holder: &str) -> Result<Lock, StoreError>;

    /// The folders of this machine that are written to while it is locked, if they are there.
    fn folders(&self) -> Vec<PathBuf>;

    /// The digests of the parts that wait beside the store while an earlier set is published that
    /// was put back: the latest set has them, and they can be published as if they were in it.
    fn latest_parts(&self, receipt: &Receipt) -> Result<HashSet<Fingerprint>, StoreError>;

    /// The digests of the parts that lie beside the store since the publication before, or since
    /// one that died: they are in staging once the store is recovered.
    fn previous_parts(&self, receipt: Option<&Receipt>)
    -> Result<HashSet<Fingerprint>, StoreError>;

    /// Finishes or undoes a publication that died; parts that are not needed, also those of the set
    /// before, go to `staging`. Needs the lock. Gives the receipt as it is afterwards; what was
    /// done is noted in `context`.
    fn recover(&self, context: &PublishContext<'_>) -> Result<Option<Receipt>, StoreError>;

    /// Puts a whole new set in the place of the old one. Needs the lock and a recovered receipt.
    /// Readers see the old set or the new set; after a crash, `recover` makes it one of them.
    fn publish(
        &self,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError>;

    /// What clearing the store removes: only what hygge made. Changes nothing.
    fn removable(&self) -> Result<RemovalPlan, StoreError>;

    /// Removes what [`StoreSession::removable`] gives. Needs the lock.
    fn clear(&self) -> Result<(), StoreError>;
}

/// How a store looks.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// What tells that the receipt has changed; `None` where there is no receipt.
    pub receipt: Option<Version>,
    /// What readers find.
    pub live: LiveContents,
}

/// A receipt that stands beside a store.
#[derive(Clone, Debug)]
pub struct SiblingReceipt {
    /// The store that it is for.
    pub store: StoreId,
    /// What tells that it has changed.
    pub version: Version,
    /// The receipt.
    pub receipt: Receipt,
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
    /// What a store is called whose parts cannot be seen one by one: it is there as a whole, with
    /// all that its receipt says, or it is gone.
    pub whole: Option<String>,
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
    /// Cancelled when the run shall end: what is loaded into a table is given up, what takes a
    /// moment is finished.
    pub interrupted: &'a CancellationToken,
    /// How long to wait for another process that fills the same table; nothing where it is as long
    /// as it takes.
    pub lock_timeout: Option<Duration>,
    /// Is told once that another process is waited for.
    pub wait_notices: &'a UnboundedSender<String>,
}
