//! The recorder: the one writer of the index while a build runs.
//!
//! Changes are written at once, so that a killed run loses only what was in flight; what gathers
//! while one transaction is under way is written by the next. Nothing is synced for it: a staged
//! part is digested before a later run publishes it, so a record can promise too much, never harm.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::index::Batch;
use super::{Cache, CacheError};

/// Takes changes for the index.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: mpsc::UnboundedSender<Batch>,
}

impl Recorder {
    /// Begins to record. The handle ends, with the first error if there was one, when the last
    /// clone of the recorder is dropped and everything is written.
    pub fn start(cache: Arc<Cache>) -> (Self, JoinHandle<Result<(), CacheError>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, tokio::spawn(record(cache, receiver)))
    }

    /// Records changes soon.
    pub fn record(&self, batch: Batch) {
        // The receiver ends early only with an error, which the handle reports.
        drop(self.sender.send(batch));
    }
}

async fn record(cache: Arc<Cache>, mut receiver: mpsc::UnboundedReceiver<Batch>) -> Result<(), CacheError> {
    while let Some(mut batch) = receiver.recv().await {
        while let Ok(more) = receiver.try_recv() {
            batch.append(more);
        }
        cache.index.apply(batch).await?;
    }
    Ok(())
}
