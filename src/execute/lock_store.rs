//! Taking a store: its lock, waited for as long as was asked, and what a dead run left half done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::connection::run_with_timeout;
use crate::error::{Error, Result};
use crate::flow::Flow;
use crate::fs::{self, Barriers, Lock, LockError};
use crate::storage::Version;
use crate::store::context::{KeepStaged, PublishContext, PublishNotes};
use crate::store::receipt::Receipt;
use crate::store::{StoreError, StoreSession};

/// How often a held lock is tried again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A store that is locked and recovered.
#[derive(Debug)]
pub(super) struct LockedStore {
    pub(super) lock: Lock,
    /// The receipt's version now.
    pub(super) receipt_version: Option<Version>,
    /// The recovered receipt.
    pub(super) receipt: Option<Receipt>,
    /// What recovery did.
    pub(super) notes: PublishNotes,
}

/// What all stores of a run are taken and published with.
#[derive(Clone, Debug)]
pub(super) struct StoreAccess {
    pub(super) cache: Arc<Cache>,
    pub(super) barriers: Arc<Barriers>,
    pub(super) keep_staged: KeepStaged,
    pub(super) accept_shrink: bool,
    pub(super) lock_timeout: Option<Duration>,
    pub(super) interrupted: CancellationToken,
}

/// What taking one store needs.
#[derive(Clone, Debug)]
pub(super) struct StoreLocker {
    pub(super) flow: Arc<Flow>,
    pub(super) store: Arc<dyn StoreSession>,
    pub(super) access: StoreAccess,
}

impl StoreLocker {
    /// Locks and recovers the store. `waiting` is told once who has the lock.
    pub(super) fn lock_and_recover(
        &self,
        holder: &str,
        waiting: &mpsc::UnboundedSender<String>,
    ) -> Result<LockedStore> {
        let lock = self.lock(holder, waiting)?;
        let context = self.publish_context()?;
        let (receipt, receipt_version) = run_with_timeout(self.flow.timeout, || {
            Ok::<_, StoreError>((self.store.recover(&context)?, self.store.receipt_version()?))
        })?;
        Ok(LockedStore {
            lock,
            receipt_version,
            receipt,
            notes: context.into_notes(),
        })
    }

    /// What the store, which is locked, needs to publish: its folders are there.
    pub(super) fn publish_context(&self) -> Result<PublishContext<'_>> {
        // From here on they notice errors of writing.
        for folder in self.store.folders() {
            if fs::stat(&folder)?.is_some() {
                self.access.barriers.for_folder(&folder)?;
            }
        }
        Ok(PublishContext::new(
            &self.access.cache.staging,
            &self.access.barriers,
            self.access.keep_staged,
        ))
    }

    fn lock(&self, holder: &str, waiting: &mpsc::UnboundedSender<String>) -> Result<Lock> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let held = match self.store.lock(holder) {
                Ok(lock) => return Ok(lock),
                Err(StoreError::Locked(LockError::Held(held))) => held,
                Err(error) => return Err(error.into()),
            };
            if self.access.interrupted.is_cancelled() {
                return Err(Error::interrupted());
            }
            if self
                .access
                .lock_timeout
                .is_some_and(|wait| began.elapsed() >= wait)
            {
                return Err(StoreError::Locked(LockError::Held(held)).into());
            }
            if !std::mem::replace(&mut told, true) {
                // Nobody listens any more where the run has ended.
                drop(waiting.send(held.describe()));
            }
            std::thread::sleep(LOCK_POLL_INTERVAL);
        }
    }
}
