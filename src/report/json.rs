//! The JSON display: one object a line on standard output, each with `schema_version`.
//!
//! docs/json.md says what each of them has. Fields are added without a new version; a field that
//! goes or changes its meaning makes one.

use serde_json::{Value, json};

use super::output::OutputStream;
use super::{Notices, Report};
use crate::cache::index::IndexReset;
use crate::error::escape;
use crate::execute::event::{Event, Outcome, PublishSummary, Summary};
use crate::plan::stale::Verdict;
use crate::plan::{Plan, PlannedFlow};
use crate::store::context::Recovery;

/// The version of the objects.
pub const SCHEMA_VERSION: u32 = 1;

/// Writes objects for programs, on standard output.
#[derive(Debug, Default)]
pub struct JsonReport;

impl JsonReport {
    /// Writes one object.
    pub fn write_object(&mut self, event: &str, mut fields: Value) {
        fields["schema_version"] = SCHEMA_VERSION.into();
        fields["event"] = event.into();
        OutputStream::Standard
            .write_bytes(format!("{}\n", escape::json(&fields.to_string())).as_bytes());
    }
}

/// A step of a plan as an object.
pub fn planned_flow_fields(step: &PlannedFlow) -> Value {
    let mut fields = json!({ "flow": step.flow, "verdict": step.verdict.name(), "reasons": step.verdict.reasons() });
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

impl Report for JsonReport {
    fn plan(&mut self, plan: &Plan) {
        for planned in &plan.flows {
            self.write_object("plan", planned_flow_fields(planned));
        }
    }

    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>) {
        if let Some((begun, stores)) = notices.rebuilt_index {
            let damaged = if let IndexReset::Damaged(path) = begun {
                Some(path)
            } else {
                None
            };
            self.write_object(
                "index_anew",
                json!({ "damaged": damaged, "receipts": stores }),
            );
        }
        for (flow, run) in &plan.pinned {
            self.write_object("pinned", json!({ "flow": flow, "run": run }));
        }
        for flow in notices.without_entities {
            self.write_object("without_entities", json!({ "flow": flow }));
        }
        for text in notices.table_changes {
            self.write_object("tables_changed", json!({ "text": text }));
        }
        for flow in notices.unselected {
            self.write_object("left_alone", json!({ "flow": flow }));
        }
        for orphan in &plan.orphans {
            self.write_object("orphan", json!(orphan));
        }
    }

    fn warn(&mut self, text: &str) {
        self.write_object("warning", json!({ "text": text }));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started {
                flow,
                reasons,
                parts_to_make,
                parts_kept,
            } => {
                self.write_object(
                    "flow_started",
                    json!({ "flow": flow, "reasons": reasons, "parts_to_make": parts_to_make, "parts_kept": parts_kept }),
                );
            }
            Event::Waiting { flow, holder } => {
                self.write_object("flow_waiting", json!({ "flow": flow, "holder": holder }))
            }
            Event::Retrying {
                flow,
                error,
                delay: rest,
            } => {
                self.write_object("flow_retrying", json!({ "flow": flow, "error": error.to_string(), "seconds": rest.as_secs_f64() }));
            }
            Event::PartMade { flow, rows, bytes } => self.write_object(
                "part_made",
                json!({ "flow": flow, "rows": rows, "bytes": bytes }),
            ),
            Event::Recovered { flow, recovery } => {
                let how = if *recovery == Recovery::Finished {
                    "finished"
                } else {
                    "undone"
                };
                self.write_object("recovered", json!({ "flow": flow, "how": how }));
            }
            Event::Displaced {
                flow,
                names,
                folder,
            } => self.write_object(
                "displaced",
                json!({ "flow": flow, "names": names, "folder": folder }),
            ),
            Event::Remark { flow, text } => {
                self.write_object("remark", json!({ "flow": flow, "text": text }))
            }
            Event::Ended {
                flow,
                outcome,
                elapsed: took,
                retries,
            } => {
                let mut fields = outcome_fields(outcome);
                fields["flow"] = json!(flow);
                fields["seconds"] = json!(took.as_secs_f64());
                fields["retries"] = json!(retries);
                self.write_object("flow_finished", fields);
            }
        }
    }

    fn summary(&mut self, summary: &Summary, hashed: u64) {
        self.write_object(
            "build_finished",
            json!({
                "built": summary.built, "restored": summary.restored, "fresh": summary.fresh, "failed": summary.failed,
                "skipped": summary.skipped, "interrupted": summary.interrupted, "bytes_hashed": hashed, "warning": summary.unrecorded.as_ref().map(ToString::to_string), "seconds": summary.took.as_secs_f64(),
            }),
        );
    }
}

fn outcome_fields(outcome: &Outcome) -> Value {
    let published = |word: &str, done: &PublishSummary| {
        let mut fields = json!({ "outcome": word, "parts_made": done.made, "parts_kept": done.kept, "rows": done.rows, "bytes": done.bytes, "store": done.store });
        if let Some(rows) = done.rows_filtered {
            fields["rows_filtered"] = rows.into();
        }
        fields
    };
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
