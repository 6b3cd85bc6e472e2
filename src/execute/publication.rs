//! Publishing the set of a flow, and what came of it.
//!
//! It runs on a thread of its own, under the store's lock.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::lock_store::StoreLocker;
use crate::error::Result;
use crate::store::Publication;
use crate::store::context::PublishNotes;
use crate::store::receipt::{PublishedSet, Receipt};

/// A set that is to be published.
pub(super) struct PublishTask {
    pub(super) locker: StoreLocker,
    pub(super) project: String,
    /// The receipt that was planned with.
    pub(super) receipt: Option<Receipt>,
    pub(super) next: PublishedSet,
    /// Names in the live set that someone altered.
    pub(super) altered: Vec<String>,
    /// The end of what its table was read with.
    pub(super) session_close: Option<JoinHandle<()>>,
    /// Where it is said that another process is waited for.
    pub(super) wait_notices: mpsc::UnboundedSender<String>,
    pub(super) runtime: Handle,
}

/// A set that was published.
pub(super) struct PublishOutcome {
    pub(super) receipt: Receipt,
    /// What publishing did besides.
    pub(super) notes: PublishNotes,
}

impl PublishTask {
    /// Publishes it.
    pub(super) fn publish(self) -> Result<PublishOutcome> {
        // Where its table and its store are one SQLite database, who reads keeps others from
        // committing.
        if let Some(closing) = self.session_close {
            drop(self.runtime.block_on(closing));
        }
        let context = self.locker.publish_context()?;
        let (flow, access) = (&self.locker.flow, &self.locker.access);
        let publication = Publication {
            project: &self.project,
            flow: flow.name.as_str(),
            receipt: self.receipt.as_ref(),
            next: &self.next,
            altered: &self.altered,
            update: flow.mode.store_update(),
            interrupted: &access.interrupted,
            lock_timeout: access.lock_timeout,
            wait_notices: &self.wait_notices,
        };
        let receipt = self.locker.store.publish(&publication, &context)?;
        Ok(PublishOutcome {
            receipt,
            notes: context.into_notes(),
        })
    }
}
