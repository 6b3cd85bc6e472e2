//! The plain display: one line for each flow that did something, one for the whole.

use std::time::Duration;

use super::output::OutputStream;
use super::{Notices, Report};
use crate::cache::index::IndexReset;
use crate::error::join_limited;
use crate::execute::event::{Event, Outcome, PublishSummary, Summary};
use crate::plan::stale::{Reason, Verdict};
use crate::plan::{Plan, PlannedFlow};
use crate::store::context::Recovery;

/// How many reasons a line shows.
const MAX_REASONS: usize = 3;

/// How many reasons a plan shows of each flow.
const MAX_PLAN_REASONS: usize = 5;

/// How many names or stores are listed.
const MAX_LISTED: usize = 10;

/// Writes lines for people.
pub struct PlainReport {
    out: OutputStream,
}

impl PlainReport {
    /// Writes to `out`.
    pub fn new(out: OutputStream) -> Self {
        Self { out }
    }

    fn write_line(&mut self, text: &str) {
        self.out.write_line(text);
    }

    /// Shows one flow of a plan, with no more than so many reasons; `more` says how to see the
    /// others.
    pub fn write_planned_flow(&mut self, step: &PlannedFlow, most: usize, more: &str) {
        let mut line = format!("{:<8} {}", step.verdict.name(), step.flow);
        if let Some(work) = &step.work {
            let (make, all) = (work.parts_to_make(), work.parts.len());
            let read = if work.table().is_some() {
                "a table".into()
            } else {
                format_bytes(work.bytes_to_read())
            };
            line.push_str(&format!(
                ": {make} of {} to make, {} to read",
                pluralize(all, "part"),
                read
            ));
        }
        self.write_line(&line);
        match &step.verdict {
            Verdict::Blocked { error, hint } => {
                self.write_line(&format!("         {error}"));
                if let Some(hint) = hint {
                    self.write_line(&format!("         hint: {hint}"));
                }
            }
            Verdict::Maybe { upstreams, .. } => {
                self.write_line(&format!(
                    "         waits for what {} will give",
                    join_limited(upstreams, MAX_LISTED)
                ));
            }
            _ => {}
        }
        let reasons = step.verdict.reasons();
        for reason in reasons.iter().take(most) {
            self.write_line(&format!("         {reason}"));
        }
        if reasons.len() > most {
            self.write_line(&format!(
                "         and {} more: {more}",
                reasons.len() - most
            ));
        }
        for remark in step.remarks() {
            self.write_line(&format!("         note: {remark}"));
        }
    }

    fn write_outcome(&mut self, flow: &str, outcome: &Outcome, took: Duration, retries: u64) {
        let took = format!("in {}{}", format_seconds(took), format_retries(retries));
        match outcome {
            Outcome::Fresh => {}
            // A set that was never published before is nothing that comes back.
            Outcome::Restored(done) if !done.is_first => {
                self.write_line(&format!("restored {flow}: {} {took}", describe_parts(done)))
            }
            Outcome::Built(done) | Outcome::Restored(done) => {
                self.write_line(&format!("built    {flow}: {} {took}", describe_parts(done)))
            }
            Outcome::Skipped { because } => self.write_line(&format!("skipped  {flow}: {because}")),
            Outcome::Failed(error) => {
                let after = if retries > 0 {
                    format!(" ({took})")
                } else {
                    String::new()
                };
                self.write_line(&format!("failed   {flow}: {error}{after}"));
                if let Some(hint) = error.hint() {
                    self.write_line(&format!("         hint: {hint}"));
                }
            }
        }
    }
}

impl Report for PlainReport {
    fn plan(&mut self, plan: &Plan) {
        let fresh = plan
            .flows
            .iter()
            .filter(|step| step.verdict == Verdict::Fresh)
            .count();
        for step in plan
            .flows
            .iter()
            .filter(|step| step.verdict != Verdict::Fresh)
        {
            self.write_planned_flow(
                step,
                MAX_PLAN_REASONS,
                &format!("hygge why {} --all", step.flow),
            );
        }
        let blocked = plan
            .flows
            .iter()
            .filter(|step| matches!(step.verdict, Verdict::Blocked { .. }))
            .count();
        let rest = plan.flows.len() - fresh - blocked;
        let stuck = if blocked > 0 {
            format!(", {blocked} blocked")
        } else {
            String::new()
        };
        self.write_line(&if rest + blocked == 0 {
            nothing_to_do(fresh)
        } else {
            let done = if plan.has_probed_tables {
                "nothing was done but to ask probes"
            } else {
                "nothing was done"
            };
            format!(
                "hygge: {} to build{stuck}, {fresh} fresh (dry run: {done})",
                pluralize(rest, "flow")
            )
        });
    }

    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>) {
        match notices.rebuilt_index {
            Some((IndexReset::Missing, stores)) => {
                self.write_line(&format!("note: the cache is new: {} found beside the stores", pluralize(stores, "receipt")))
            }
            Some((IndexReset::Damaged(path), stores)) => self.write_line(&format!(
                "note: the index of the cache could not be used and is begun anew from {}; the old one is {}",
                pluralize(stores, "receipt"),
                path.display()
            )),
            None => {}
        }
        for (flow, run) in &plan.pinned {
            self.write_line(&format!(
                "note: {flow} stays at the set of run {run}; hygge restore {flow} --latest or hygge build --force {flow} ends that"
            ));
        }
        for flow in notices.without_entities {
            self.write_line(&format!(
                "warning: flow {flow} has no entities: nothing is built of it; hygge check says why"
            ));
        }
        for change in notices.table_changes {
            self.write_line(&format!("note: {change}"));
        }
        if !notices.unselected.is_empty() {
            self.write_line(&format!(
                "note: stale and not selected: {}",
                join_limited(notices.unselected, MAX_LISTED)
            ));
        }
        for orphan in plan.orphans.iter().take(MAX_LISTED) {
            self.write_line(&format!(
                "note: store {} was made by flow {}, and no flow of the config has it now; it is left alone",
                orphan.store.display(),
                orphan.flow
            ));
        }
        if plan.orphans.len() > MAX_LISTED {
            self.write_line(&format!(
                "note: and {} more such stores; hygge clean --orphans lists them",
                plan.orphans.len() - MAX_LISTED
            ));
        }
    }

    fn warn(&mut self, text: &str) {
        self.write_line(&format!("warning: {text}"));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { flow, reasons, .. } => {
                let mut shown: Vec<String> = reasons
                    .iter()
                    .take(MAX_REASONS)
                    .map(Reason::to_string)
                    .collect();
                if reasons.len() > MAX_REASONS {
                    shown.push(format!("and {} more", reasons.len() - MAX_REASONS));
                }
                self.write_line(&format!("building {flow}: {}", shown.join("; ")));
            }
            Event::Waiting { flow, holder } => {
                self.write_line(&format!("waiting  {flow}: its store is locked by {holder}"));
            }
            Event::Retrying {
                flow,
                error,
                delay: rest,
            } => self.write_line(&format!(
                "waiting  {flow}: {error}; it is tried again in {} s",
                rest.as_secs()
            )),
            Event::PartMade { .. } => {}
            Event::Recovered {
                flow,
                recovery: Recovery::Finished,
            } => {
                self.write_line(&format!(
                    "note: {flow}: a publication that had died was finished"
                ));
            }
            Event::Recovered {
                flow,
                recovery: Recovery::Undone,
            } => {
                self.write_line(&format!(
                    "note: {flow}: a publication that had died was undone; its parts are kept"
                ));
            }
            Event::Displaced {
                flow,
                names,
                folder,
            } => {
                self.write_line(&format!(
                    "warning: {flow}: {} altered or put there by someone else, kept in {}",
                    join_limited(names, MAX_LISTED),
                    folder.display()
                ));
            }
            Event::Remark { flow, text } => self.write_line(&format!("note: {flow}: {text}")),
            Event::Ended {
                flow,
                outcome,
                elapsed: took,
                retries,
            } => self.write_outcome(flow.as_str(), outcome, *took, *retries),
        }
    }

    fn summary(&mut self, summary: &Summary, _hashed: u64) {
        if !summary.has_published() && summary.is_success() {
            return self.write_line(&nothing_to_do(summary.fresh));
        }
        let counts = [
            (summary.built + summary.first, "built"),
            (summary.restored - summary.first, "restored"),
            (summary.fresh, "fresh"),
            (summary.failed, "failed"),
            (summary.skipped, "skipped"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        if let Some(error) = &summary.unrecorded {
            self.write_line(&format!("warning: {error}; what was published is safe, the next build finds out the rest again"));
        }
        let interrupted = if summary.interrupted {
            ", interrupted"
        } else {
            ""
        };
        self.write_line(&format!(
            "hygge: {}{interrupted} in {}",
            counts.join(", "),
            format_seconds(summary.took)
        ));
    }
}

fn nothing_to_do(fresh: usize) -> String {
    if fresh == 1 {
        "hygge: nothing to do, 1 flow is fresh".into()
    } else {
        format!("hygge: nothing to do, {fresh} flows are fresh")
    }
}

fn describe_parts(done: &PublishSummary) -> String {
    let kept = if done.kept > 0 {
        format!(" ({} made, {} kept)", done.made, done.kept)
    } else {
        String::new()
    };
    let left_out = done
        .rows_filtered
        .map_or_else(String::new, |rows| format!(" ({rows} left out)"));
    format!(
        "{}{kept}, {}{left_out}, {} -> {}",
        pluralize(done.made + done.kept, "part"),
        pluralize(usize::try_from(done.rows).unwrap_or(usize::MAX), "row"),
        format_bytes(done.bytes),
        done.store.display()
    )
}

/// Retries, behind the time that they are a part of.
pub fn format_retries(retries: u64) -> String {
    match retries {
        0 => String::new(),
        1 => ", after 1 retry".into(),
        more => format!(", after {more} retries"),
    }
}

/// A moment that is recorded in RFC 3339, as a person reads it.
pub fn format_timestamp(recorded: &str) -> String {
    match (
        recorded.get(..10),
        recorded.get(11..19),
        recorded.ends_with('Z'),
    ) {
        (Some(day), Some(time), true) => format!("{day} {time} UTC"),
        _ => recorded.to_string(),
    }
}

/// A number of things, as a person writes it.
pub fn pluralize(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

/// A time, as a person reads it.
pub fn format_seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// Bytes in the largest unit that leaves at least one of it, in steps of 1000.
pub fn format_bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = number;
    let mut rest = 0;
    let mut unit = 0;
    while value >= 1000 && unit + 1 < UNITS.len() {
        rest = value % 1000 / 100;
        value /= 1000;
        unit += 1;
    }
    if unit == 0 {
        format!("{value} bytes")
    } else {
        format!("{value}.{rest} {}", UNITS[unit])
    }
}
