//! Taking a store: its lock, waited for as long as was asked, and what a dead run left half done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::cache::Cache;
use crate::connection::within;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::fs::{self, Barriers, Lock, LockError, Stat};
use crate::store::StoreError;
use crate::store::receipt::Receipt;
use crate::store::room::{Keep, Notes, Room};

/// How often a held lock is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A store that is locked and settled.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) lock: Lock,
    /// How the receipt's file looks now.
    pub(super) receipt_stat: Option<Stat>,
    /// The settled receipt.
    pub(super) receipt: Option<Receipt>,
    /// What settling did.
    pub(super) notes: Notes,
}

/// What taking a store needs.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    pub(super) flow: Arc<Flow>,
    pub(super) store: PathBuf,
    pub(super) cache: Arc<Cache>,
    pub(super) barriers: Arc<Barriers>,
    pub(super) keep: Keep,
    pub(super) wait: Option<Duration>,
    pub(super) interrupted: Arc<AtomicBool>,
}

impl Taker {
    /// Locks and settles the store. `waiting` is told once who has the lock.
    pub(super) fn take(
        &self,
        holder: &str,
        waiting: &mpsc::UnboundedSender<String>,
    ) -> Result<Taken> {
        let lock = self.lock(holder, waiting)?;
        let room = self.room()?;
        let (receipt, receipt_stat) = within(self.flow.timeout, || {
            Ok::<_, StoreError>((
                self.flow.store.settle(&self.store, &room)?,
                self.flow.store.receipt_stat(&self.store)?,
            ))
        })?;
        Ok(Taken {
            lock,
            receipt_stat,
            receipt,
            notes: room.into_notes(),
        })
    }

    /// Room for the store, which is locked: the folder above it is there.
    pub(super) fn room(&self) -> Result<Room<'_>> {
        // From here on they notice errors of writing.
        for folder in self
            .store
            .parent()
            .into_iter()
            .chain([self.store.as_path()])
        {
            if fs::stat(folder)?.is_some() {
                self.barriers.of(folder)?;
            }
        }
        Ok(Room::new(&self.cache.staging, &self.barriers, self.keep))
    }

    fn lock(&self, holder: &str, waiting: &mpsc::UnboundedSender<String>) -> Result<Lock> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let held = match self.flow.store.lock(&self.store, holder) {
                Ok(lock) => return Ok(lock),
                Err(StoreError::Locked(LockError::Held(held))) => held,
                Err(error) => return Err(error.into()),
            };
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
            }
            if self.wait.is_some_and(|wait| began.elapsed() >= wait) {
                return Err(StoreError::Locked(LockError::Held(held)).into());
            }
            if !std::mem::replace(&mut told, true) {
                // Nobody listens any more where the run has ended.
                drop(waiting.send(held.who()));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
