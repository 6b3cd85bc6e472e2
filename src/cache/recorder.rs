//! The recorder: the one writer of the index while a build runs.
//!
//! A part is recorded when its data is on the disk. So parts gather for up to half a second, and
//! one sync serves them all: a power cut costs at most the last second, and no small part waits for
//! a sync of its own. Until then the ledger knows them. Everything else is written at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::index::IndexChanges;
use super::{Cache, CacheError};
use crate::fingerprint::Fingerprint;
use crate::fs::Barrier;
use crate::threads::ThreadPool;

use super::index::PartRecord;

/// For how long parts gather before they are synced.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// Takes changes for the index.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::UnboundedSender<IndexChanges>,
}

/// What syncs the cache's filesystem.
#[derive(Debug)]
pub struct Syncer {
    /// The barrier.
    pub barrier: Arc<Barrier>,
    /// The folder whose filesystem it is, for errors.
    pub folder: PathBuf,
}

impl Recorder {
    /// Begins to record. The handle ends, with the first error if there was one, when the last
    /// clone of the recorder is dropped and everything is written.
    pub fn start(
        cache: Arc<Cache>,
        syncer: Syncer,
        threads: ThreadPool,
    ) -> (Self, JoinHandle<Result<(), CacheError>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (
            Self { sender },
            tokio::spawn(run_recorder(cache, syncer, threads, receiver)),
        )
    }

    /// Records changes soon.
    pub fn record(&self, batch: IndexChanges) {
        // The receiver ends early only with an error, which the handle reports.
        drop(self.sender.send(batch));
    }
}

async fn run_recorder(
    cache: Arc<Cache>,
    syncer: Syncer,
    threads: ThreadPool,
    mut receiver: mpsc::UnboundedReceiver<IndexChanges>,
) -> Result<(), CacheError> {
    let syncer = Arc::new(syncer);
    let mut waiting: Vec<(Fingerprint, PartRecord)> = Vec::new();
    let mut due = Instant::now();
    loop {
        tokio::select! {
            received = receiver.recv() => {
                let Some(mut batch) = received else { break };
                while let Ok(more) = receiver.try_recv() {
                    batch.append(more);
                }
                if waiting.is_empty() {
                    due = Instant::now() + SYNC_INTERVAL;
                }
                waiting.append(&mut batch.parts);
                cache.index.apply(batch).await?;
            }
            () = sleep_until(due), if !waiting.is_empty() => record_parts(&cache, &syncer, &threads, &mut waiting).await?,
        }
    }
    record_parts(&cache, &syncer, &threads, &mut waiting).await
}

/// First the data, then the records.
async fn record_parts(
    cache: &Cache,
    syncer: &Arc<Syncer>,
    threads: &ThreadPool,
    waiting: &mut Vec<(Fingerprint, PartRecord)>,
) -> Result<(), CacheError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let parts = std::mem::take(waiting);
    let syncer = syncer.clone();
    // Without a thread nothing is synced, and nothing recorded: the ledger has it.
    let Ok(synced) = threads
        .run(move || syncer.barrier.wait(&syncer.folder))
        .await
    else {
        return Ok(());
    };
    synced?;
    cache
        .index
        .apply(IndexChanges {
            parts,
            ..IndexChanges::default()
        })
        .await
}
