//! The JSON display: one object a line on standard output, each with `schema_version`.
//!
//! docs/json.md says what each of them has. Fields are added without a new version; a field that
//! goes or changes its meaning makes one.

use serde_json::{Value, json};

use super::output::Output;
use super::{Notices, Report};
use crate::cache::index::Begun;
use crate::error::escape;
use crate::execute::event::{Done, Event, Outcome, Summary};
use crate::plan::stale::Verdict;
use crate::plan::{Plan, Step};
use crate::store::room::Recovery;

/// The version of the objects.
pub const SCHEMA_VERSION: u32 = 1;

/// Writes objects for programs, on standard output.
#[derive(Debug, Default)]
pub struct Json;

impl Json {
    /// Writes one object.
    pub fn object(&mut self, event: &str, mut fields: Value) {
        fields["schema_version"] = SCHEMA_VERSION.into();
        fields["event"] = event.into();
        Output::Standard.bytes(format!("{}\n", escape::json(&fields.to_string())).as_bytes());
    }
}

/// A step of a plan as an object.
pub fn step(step: &Step) -> Value {
    let mut fields = json!({ "flow": step.flow, "verdict": step.verdict.word(), "reasons": step.verdict.reasons() });
    if let Some(work) = &step.work {
        let make = work.parts_to_make();
        fields["parts_to_make"] = make.into();
        fields["parts_kept"] = (work.parts.len() - make).into();
        fields["bytes_to_read"] = work.bytes_to_read().into();
        fields["remarks"] = json!(step.remarks());
    }
    match &step.verdict {
        Verdict::Blocked { error, hint } => {
            fields["error"] = error.as_str().into();
            fields["hint"] = json!(hint);
        }
        Verdict::Maybe { upstreams, .. } => fields["upstreams"] = json!(upstreams),
        _ => {}
    }
    fields
}

impl Report for Json {
    fn plan(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            self.object("plan", step(planned));
        }
    }

    fn notes(&mut self, plan: &Plan, notices: &Notices<'_>) {
        if let Some((begun, stores)) = notices.index {
            let damaged = if let Begun::Damaged(path) = begun {
                Some(path)
            } else {
                None
            };
            self.object(
                "index_anew",
                json!({ "damaged": damaged, "receipts": stores }),
            );
        }
        for (flow, run) in &plan.pinned {
            self.object("pinned", json!({ "flow": flow, "run": run }));
        }
        for flow in notices.without_entities {
            self.object("without_entities", json!({ "flow": flow }));
        }
        for flow in notices.left_alone {
            self.object("left_alone", json!({ "flow": flow }));
        }
        for orphan in &plan.orphans {
            self.object("orphan", json!(orphan));
        }
    }

    fn warn(&mut self, text: &str) {
        self.object("warning", json!({ "text": text }));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started {
                flow,
                reasons,
                parts_to_make,
                parts_kept,
            } => {
                self.object(
                    "flow_started",
                    json!({ "flow": flow, "reasons": reasons, "parts_to_make": parts_to_make, "parts_kept": parts_kept }),
                );
            }
            Event::Waiting { flow, holder } => {
                self.object("flow_waiting", json!({ "flow": flow, "holder": holder }))
            }
            Event::Retrying { flow, error, rest } => {
                self.object("flow_retrying", json!({ "flow": flow, "error": error.to_string(), "seconds": rest.as_secs_f64() }));
            }
            Event::PartMade { flow, rows, bytes } => self.object(
                "part_made",
                json!({ "flow": flow, "rows": rows, "bytes": bytes }),
            ),
            Event::Recovered { flow, recovery } => {
                let how = if *recovery == Recovery::Finished {
                    "finished"
                } else {
                    "undone"
                };
                self.object("recovered", json!({ "flow": flow, "how": how }));
            }
            Event::Displaced {
                flow,
                names,
                folder,
            } => self.object(
                "displaced",
                json!({ "flow": flow, "names": names, "folder": folder }),
            ),
            Event::Remark { flow, text } => {
                self.object("remark", json!({ "flow": flow, "text": text }))
            }
            Event::Ended {
                flow,
                outcome,
                took,
                retries,
            } => {
                let mut fields = outcome_fields(outcome);
                fields["flow"] = json!(flow);
                fields["seconds"] = json!(took.as_secs_f64());
                fields["retries"] = json!(retries);
                self.object("flow_finished", fields);
            }
        }
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.object(
            "build_finished",
            json!({
                "built": summary.built, "restored": summary.restored, "fresh": summary.fresh, "failed": summary.failed,
                "skipped": summary.skipped, "interrupted": summary.interrupted, "bytes_hashed": hashed, "warning": summary.unrecorded.as_ref().map(ToString::to_string), "seconds": summary.took.as_secs_f64(),
            }),
        );
    }
}

fn outcome_fields(outcome: &Outcome) -> Value {
    let published = |word: &str, done: &Done| json!({ "outcome": word, "parts_made": done.made, "parts_kept": done.kept, "rows": done.rows, "bytes": done.bytes, "store": done.store });
    match outcome {
        Outcome::Fresh => json!({ "outcome": "fresh" }),
        Outcome::Built(done) => published("built", done),
        Outcome::Restored(done) => published("restored", done),
        Outcome::Failed(error) => {
            json!({ "outcome": "failed", "error": error.to_string(), "hint": error.hint() })
        }
        Outcome::Skipped { because } => json!({ "outcome": "skipped", "because": because }),
    }
}
