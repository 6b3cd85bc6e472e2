//! The plain display: one line for each flow that did something, one for the whole.

use std::time::Duration;

use super::output::Output;
use super::{Notices, Report};
use crate::cache::index::Begun;
use crate::error::some;
use crate::execute::event::{Done, Event, Outcome, Summary};
use crate::plan::stale::{Reason, Verdict};
use crate::plan::{Plan, Step};
use crate::store::room::Recovery;

/// How many reasons a line shows.
const REASONS: usize = 3;

/// How many reasons a plan shows of each flow.
const PLANNED: usize = 5;

/// How many names or stores are listed.
const LISTED: usize = 10;

/// Writes lines for people.
pub struct Plain {
    out: Output,
}

impl Plain {
    /// Writes to `out`.
    pub fn new(out: Output) -> Self {
        Self { out }
    }

    fn line(&mut self, text: &str) {
        self.out.line(text);
    }

    /// Shows one flow of a plan, with no more than so many reasons; `more` says how to see the
    /// others.
    pub fn step(&mut self, step: &Step, most: usize, more: &str) {
        let mut line = format!("{:<8} {}", step.verdict.word(), step.flow);
        if let Some(work) = &step.work {
            let (make, all) = (work.parts_to_make(), work.parts.len());
            let read = if work.table.is_some() {
                "a table".into()
            } else {
                bytes(work.bytes_to_read())
            };
            line.push_str(&format!(
                ": {make} of {} to make, {} to read",
                count(all, "part"),
                read
            ));
        }
        self.line(&line);
        match &step.verdict {
            Verdict::Blocked { error, hint } => {
                self.line(&format!("         {error}"));
                if let Some(hint) = hint {
                    self.line(&format!("         hint: {hint}"));
                }
            }
            Verdict::Maybe { upstreams, .. } => {
                self.line(&format!(
                    "         waits for what {} will give",
                    some(upstreams, LISTED)
                ));
            }
            _ => {}
        }
        let reasons = step.verdict.reasons();
        for reason in reasons.iter().take(most) {
            self.line(&format!("         {reason}"));
        }
        if reasons.len() > most {
            self.line(&format!(
                "         and {} more: {more}",
                reasons.len() - most
            ));
        }
        for remark in step.remarks() {
            self.line(&format!("         note: {remark}"));
        }
    }

    fn ended(&mut self, flow: &str, outcome: &Outcome, took: Duration, retries: u64) {
        let took = format!("in {}{}", seconds(took), after(retries));
        match outcome {
            Outcome::Fresh => {}
            // A set that was never published before is nothing that comes back.
            Outcome::Restored(done) if !done.is_first => {
                self.line(&format!("restored {flow}: {} {took}", parts(done)))
            }
            Outcome::Built(done) | Outcome::Restored(done) => {
                self.line(&format!("built    {flow}: {} {took}", parts(done)))
            }
            Outcome::Skipped { because } => self.line(&format!("skipped  {flow}: {because}")),
            Outcome::Failed(error) => {
                let after = if retries > 0 {
                    format!(" ({took})")
                } else {
                    String::new()
                };
                self.line(&format!("failed   {flow}: {error}{after}"));
                if let Some(hint) = error.hint() {
                    self.line(&format!("         hint: {hint}"));
                }
            }
        }
    }
}

impl Report for Plain {
    fn plan(&mut self, plan: &Plan) {
        let fresh = plan
            .steps
            .iter()
            .filter(|step| step.verdict == Verdict::Fresh)
            .count();
        for step in plan
            .steps
            .iter()
            .filter(|step| step.verdict != Verdict::Fresh)
        {
            self.step(step, PLANNED, &format!("hygge why {} --all", step.flow));
        }
        let blocked = plan
            .steps
            .iter()
            .filter(|step| matches!(step.verdict, Verdict::Blocked { .. }))
            .count();
        let rest = plan.steps.len() - fresh - blocked;
        let stuck = if blocked > 0 {
            format!(", {blocked} blocked")
        } else {
            String::new()
        };
        self.line(&if rest + blocked == 0 {
            nothing_to_do(fresh)
        } else {
            let done = if plan.asked_tables {
                "nothing was done but to ask probes"
            } else {
                "nothing was done"
            };
            format!(
                "hygge: {} to build{stuck}, {fresh} fresh (dry run: {done})",
                count(rest, "flow")
            )
        });
    }

    fn notes(&mut self, plan: &Plan, notices: &Notices<'_>) {
        match notices.index {
            Some((Begun::Missing, stores)) => {
                self.line(&format!("note: the cache is new: {} found beside the stores", count(stores, "receipt")))
            }
            Some((Begun::Damaged(path), stores)) => self.line(&format!(
                "note: the index of the cache could not be used and is begun anew from {}; the old one is {}",
                count(stores, "receipt"),
                path.display()
            )),
            None => {}
        }
        for (flow, run) in &plan.pinned {
            self.line(&format!(
                "note: {flow} stays at the set of run {run}; hygge restore {flow} --latest or hygge build --force {flow} ends that"
            ));
        }
        for flow in notices.without_entities {
            self.line(&format!(
                "warning: flow {flow} has no entities: nothing is built of it; hygge check says why"
            ));
        }
        if !notices.left_alone.is_empty() {
            self.line(&format!(
                "note: stale and not selected: {}",
                some(notices.left_alone, LISTED)
            ));
        }
        for orphan in plan.orphans.iter().take(LISTED) {
            self.line(&format!(
                "note: store {} was made by flow {}, and no flow of the config has it now; it is left alone",
                orphan.store.display(),
                orphan.flow
            ));
        }
        if plan.orphans.len() > LISTED {
            self.line(&format!(
                "note: and {} more such stores; hygge clean --orphans lists them",
                plan.orphans.len() - LISTED
            ));
        }
    }

    fn warn(&mut self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { flow, reasons, .. } => {
                let mut shown: Vec<String> = reasons
                    .iter()
                    .take(REASONS)
                    .map(Reason::to_string)
                    .collect();
                if reasons.len() > REASONS {
                    shown.push(format!("and {} more", reasons.len() - REASONS));
                }
                self.line(&format!("building {flow}: {}", shown.join("; ")));
            }
            Event::Waiting { flow, holder } => {
                self.line(&format!("waiting  {flow}: its store is locked by {holder}"));
            }
            Event::Retrying { flow, error, rest } => self.line(&format!(
                "waiting  {flow}: {error}; it is tried again in {} s",
                rest.as_secs()
            )),
            Event::PartMade { .. } => {}
            Event::Recovered {
                flow,
                recovery: Recovery::Finished,
            } => {
                self.line(&format!(
                    "note: {flow}: a publication that had died was finished"
                ));
            }
            Event::Recovered {
                flow,
                recovery: Recovery::Undone,
            } => {
                self.line(&format!(
                    "note: {flow}: a publication that had died was undone; its parts are kept"
                ));
            }
            Event::Displaced {
                flow,
                names,
                folder,
            } => {
                self.line(&format!(
                    "warning: {flow}: {} altered or put there by someone else, kept in {}",
                    some(names, LISTED),
                    folder.display()
                ));
            }
            Event::Remark { flow, text } => self.line(&format!("note: {flow}: {text}")),
            Event::Ended {
                flow,
                outcome,
                took,
                retries,
            } => self.ended(flow.as_str(), outcome, *took, *retries),
        }
    }

    fn summary(&mut self, summary: &Summary, _hashed: u64) {
        if !summary.changed() && summary.is_good() {
            return self.line(&nothing_to_do(summary.fresh));
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
            self.line(&format!("warning: {error}; what was published is safe, the next build finds out the rest again"));
        }
        let interrupted = if summary.interrupted {
            ", interrupted"
        } else {
            ""
        };
        self.line(&format!(
            "hygge: {}{interrupted} in {}",
            counts.join(", "),
            seconds(summary.took)
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

fn parts(done: &Done) -> String {
    let kept = if done.kept > 0 {
        format!(" ({} made, {} kept)", done.made, done.kept)
    } else {
        String::new()
    };
    format!(
        "{}{kept}, {}, {} -> {}",
        count(done.made + done.kept, "part"),
        count(usize::try_from(done.rows).unwrap_or(usize::MAX), "row"),
        bytes(done.bytes),
        done.store.display()
    )
}

/// Retries, behind the time that they are a part of.
pub fn after(retries: u64) -> String {
    match retries {
        0 => String::new(),
        1 => ", after 1 retry".into(),
        more => format!(", after {more} retries"),
    }
}

/// A moment that is recorded in RFC 3339, as a person reads it.
pub fn moment(recorded: &str) -> String {
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
pub fn count(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

/// A time, as a person reads it.
pub fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// Bytes in the largest unit that leaves at least one of it, in steps of 1000.
pub fn bytes(number: u64) -> String {
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
