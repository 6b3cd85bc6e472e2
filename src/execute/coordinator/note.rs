//! What of a run is written into the history.

use std::time::Duration;

use serde_json::json;

use super::Coordinator;
use crate::cache::history::FlowRun;
use crate::cache::index::Batch;
use crate::execute::event::Outcome;
use crate::flow::FlowName;
use crate::plan::stale::Reason;

impl Coordinator<'_> {
    /// Writes into the history how a flow ended that had something to do.
    pub(super) fn note_ending(&mut self, flow: &FlowName, outcome: &Outcome, took: Duration) {
        let Some(word) = outcome.word() else { return };
        let reasons = self.reasons.remove(flow).unwrap_or_default();
        let mut noted = FlowRun {
            flow: flow.to_string(),
            outcome: word.to_string(),
            why: reasons.iter().map(Reason::to_string).collect(),
            reasons: reasons.iter().map(|reason| json!(reason)).collect(),
            seconds: took.as_secs_f64(),
            ..FlowRun::default()
        };
        match outcome {
            Outcome::Built(done) | Outcome::Restored(done) => {
                (noted.parts_made, noted.parts_kept) = (done.made as u64, done.kept as u64);
                (noted.rows, noted.bytes) = (done.rows, done.bytes);
            }
            Outcome::Failed(error) => noted.error = Some(error.to_string()),
            Outcome::Skipped { because } => noted.error = Some(because.clone()),
            Outcome::Fresh => {}
        }
        self.recorder.record(Batch { flow_runs: vec![(self.run, noted)], ..Batch::default() });
    }
}
