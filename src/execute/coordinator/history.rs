//! What of a run is written into the history.

use std::time::Duration;

use serde_json::json;

use super::Coordinator;
use crate::cache::history::{FlowRun, PastSet};
use crate::cache::index::IndexChanges;
use crate::error::Result;
use crate::execute::event::Outcome;
use crate::flow::FlowName;
use crate::plan::stale::Reason;
use crate::store::receipt::Receipt;

impl Coordinator<'_> {
    /// A run that was killed may have published a set, and not have come to write that into the
    /// history.
    pub(super) async fn record_killed_set(
        &mut self,
        flow: &FlowName,
        receipt: Option<&Receipt>,
    ) -> Result<()> {
        let published = receipt
            .and_then(|receipt| receipt.published.as_ref())
            .filter(|published| published.pinned.is_none());
        let (Some(run), Some(published)) = (self.killed_run, published) else {
            return Ok(());
        };
        let flow = self.planner.context.flow(flow)?;
        let store = self.planner.context.project.store_id(&flow);
        let index = &self.planner.context.cache.index;
        let known = index.past_sets(store).await?;
        if known
            .iter()
            .all(|set| set.run != run && set.published.manifest != published.manifest)
        {
            let set = PastSet {
                run,
                published: published.clone(),
            };
            self.recorder.record(IndexChanges {
                past_sets: vec![(index.history_key(store), set)],
                ..IndexChanges::default()
            });
        }
        Ok(())
    }

    /// Writes into the history how a flow ended that had something to do.
    pub(super) fn record_outcome(
        &mut self,
        flow: &FlowName,
        outcome: &Outcome,
        took: Duration,
        retries: u64,
    ) {
        let Some(word) = outcome.name() else { return };
        let reasons = self.reasons.remove(flow).unwrap_or_default();
        let mut noted = FlowRun {
            flow: flow.to_string(),
            outcome: word.to_string(),
            why: reasons.iter().map(Reason::to_string).collect(),
            reasons: reasons.iter().map(|reason| json!(reason)).collect(),
            seconds: took.as_secs_f64(),
            retries,
            number: self.summary.flows_with_work() as u64,
            ..FlowRun::default()
        };
        match outcome {
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
        self.recorder.record(IndexChanges {
            flow_runs: vec![(self.run_number, noted)],
            ..IndexChanges::default()
        });
    }
}
