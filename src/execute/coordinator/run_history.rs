//! What of a run is written into the history and the index.
//!
//! It does not know what is to be done; it is told what was.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cache::history::{FlowRun, PastSet};
use crate::cache::index::{IndexChanges, PartRecord};
use crate::cache::recorder::{Recorder, Syncer};
use crate::cache::{Cache, CacheError};
use crate::error::{Error, ErrorKind, Result};
use crate::execute::event::Outcome;
use crate::fingerprint::Fingerprint;
use crate::flow::FlowName;
use crate::fs::Barriers;
use crate::plan::stale::Reason;
use crate::store::StoreId;
use crate::store::receipt::{PublishedSet, Receipt};
use crate::threads::ThreadPool;

/// The record of one run.
pub(super) struct RunHistory {
    cache: Arc<Cache>,
    /// The number of this run.
    run: i64,
    /// That of the run before, if it was killed.
    killed_run: Option<i64>,
    recorder: Recorder,
    recording: JoinHandle<Result<(), CacheError>>,
}

/// How a flow ended.
pub(super) struct FlowEnd<'a> {
    pub(super) flow: &'a FlowName,
    pub(super) outcome: &'a Outcome,
    pub(super) reasons: &'a [Reason],
    pub(super) elapsed: Duration,
    pub(super) retries: u64,
    /// Its place among the flows of the run that had something to do.
    pub(super) number: usize,
}

impl RunHistory {
    /// A run of a project begins.
    pub(super) async fn begin(
        cache: Arc<Cache>,
        project: &str,
        barriers: &Barriers,
        threads: ThreadPool,
    ) -> Result<Self> {
        let run = cache
            .index
            .begin_run(project, &Timestamp::now().to_string())
            .await?;
        let killed_run = cache.index.killed_run(project, run).await?;
        let folder = cache.folder().to_path_buf();
        let syncer = Syncer {
            barrier: barriers.for_folder(&folder)?,
            folder,
        };
        let (recorder, recording) = Recorder::start(cache.clone(), syncer, threads);
        Ok(Self {
            cache,
            run,
            killed_run,
            recorder,
            recording,
        })
    }

    /// Takes down what planning found out.
    pub(super) fn record_changes(&self, changes: IndexChanges) {
        if !changes.is_empty() {
            self.recorder.record(changes);
        }
    }

    /// Parts were made.
    pub(super) fn record_parts(&self, parts: Vec<(Fingerprint, PartRecord)>) {
        self.recorder.record(IndexChanges {
            parts,
            ..IndexChanges::default()
        });
    }

    /// A set was published into a store.
    pub(super) fn record_set(&self, store: &StoreId, published: PublishedSet) {
        self.record_set_of_run(self.run, store, published);
    }

    fn record_set_of_run(&self, run: i64, store: &StoreId, published: PublishedSet) {
        let key = self.cache.index.history_key(store);
        self.recorder.record(IndexChanges {
            past_sets: vec![(key, PastSet { run, published })],
            ..IndexChanges::default()
        });
    }

    /// A run that was killed may have published a set, and not have come to write that into the
    /// history.
    pub(super) async fn record_killed_set(
        &self,
        store: &StoreId,
        receipt: Option<&Receipt>,
    ) -> Result<()> {
        let published = receipt
            .and_then(|receipt| receipt.published.as_ref())
            .filter(|published| published.pinned.is_none());
        let (Some(run), Some(published)) = (self.killed_run, published) else {
            return Ok(());
        };
        let known = self.cache.index.past_sets(store).await?;
        if known
            .iter()
            .all(|set| set.run != run && set.published.manifest != published.manifest)
        {
            self.record_set_of_run(run, store, published.clone());
        }
        Ok(())
    }

    /// Writes down how a flow ended that had something to do.
    pub(super) fn record_end(&self, end: &FlowEnd<'_>) {
        if let Some(noted) = end.to_flow_run() {
            self.recorder.record(IndexChanges {
                flow_runs: vec![(self.run, noted)],
                ..IndexChanges::default()
            });
        }
    }

    /// The run has ended. Gives why not all of it was written down.
    pub(super) async fn end(self) -> Option<Error> {
        drop(self.recorder);
        // What is published is published: a record that is missing is found out again.
        match self.recording.await {
            Ok(Ok(())) => self
                .cache
                .index
                .end_run(self.run, &Timestamp::now().to_string())
                .await
                .err()
                .map(Error::from),
            Ok(Err(error)) => Some(error.into()),
            Err(error) => Some(Error::new(ErrorKind::Start, error)),
        }
    }
}

impl FlowEnd<'_> {
    /// The end as the history has it; nothing where there was nothing to do.
    fn to_flow_run(&self) -> Option<FlowRun> {
        let mut noted = FlowRun {
            flow: self.flow.to_string(),
            outcome: self.outcome.name()?.to_string(),
            why: self.reasons.iter().map(Reason::to_string).collect(),
            reasons: self.reasons.iter().map(|reason| json!(reason)).collect(),
            seconds: self.elapsed.as_secs_f64(),
            retries: self.retries,
            number: self.number as u64,
            ..FlowRun::default()
        };
        match self.outcome {
            Outcome::Built(done) | Outcome::Restored(done) => {
                (noted.parts_made, noted.parts_kept) = (done.made as u64, done.kept as u64);
                (noted.rows, noted.bytes) = (done.rows, done.bytes);
            }
            Outcome::Failed(error) => {
                noted.error = Some(error.to_string());
                noted.hint = error.hint().map(String::from);
            }
            Outcome::Skipped { because } => noted.error = Some(because.clone()),
            Outcome::Fresh => {}
        }
        Some(noted)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::FlowEnd;
    use crate::cache::history::FlowRun;
    use crate::error::{Error, ErrorKind};
    use crate::execute::event::Outcome;
    use crate::flow::FlowName;
    use crate::plan::stale::Reason;

    fn noted(outcome: &Outcome) -> Option<FlowRun> {
        let end = FlowEnd {
            flow: &FlowName::from("orders"),
            outcome,
            reasons: &[Reason::FirstBuild],
            elapsed: Duration::from_millis(1500),
            retries: 2,
            number: 3,
        };
        end.to_flow_run()
    }

    #[test]
    fn a_failure_is_written_down_with_its_hint_and_its_reasons() {
        let error = Error::new(ErrorKind::Flow, "no such table").with_hint("name another");
        let noted = noted(&Outcome::Failed(error)).expect("a run");
        assert_eq!(
            (noted.flow.as_str(), noted.outcome.as_str()),
            ("orders", "failed")
        );
        assert_eq!(
            (noted.error.as_deref(), noted.hint.as_deref()),
            (Some("no such table"), Some("name another"))
        );
        assert_eq!((noted.seconds, noted.retries, noted.number), (1.5, 2, 3));
        assert_eq!(noted.why, [Reason::FirstBuild.to_string()]);
    }

    #[test]
    fn a_flow_with_nothing_to_do_is_not_written_down() {
        assert!(noted(&Outcome::Fresh).is_none());
        let skipped = Outcome::Skipped {
            because: "interrupted".into(),
        };
        let noted = noted(&skipped).expect("a run");
        assert_eq!(noted.error.as_deref(), Some("interrupted"));
    }
}
