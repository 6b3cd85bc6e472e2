//! `hygge why FLOW`: the verdict with every reason, or what a fresh flow was made from.

use std::io::{self, Write};
use std::sync::Arc;

use clap::Args as ClapArgs;
use serde_json::json;

use super::args::{Args, Format};
use super::{load, runtime, select};
use crate::cache::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::FlowName;
use crate::graph::selection::Selection;
use crate::plan::stale::Verdict;
use crate::plan::{Planner, Request, Step};
use crate::report::json::{self as objects, Json};
use crate::report::plain::Plain;

/// How many inputs of a fresh flow are listed.
const INPUTS: usize = 10;

/// Say why a flow would be built, or why not
#[derive(Debug, ClapArgs)]
pub(super) struct Why {
    /// The flow
    flow: String,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command; gives the exit code.
pub(super) fn run(args: &Args, why: &Why) -> Result<u8> {
    let (_, project) = load(args.file.as_deref())?;
    let selected = select(&Selection { include: vec![why.flow.clone()], ..Selection::default() }, &project)?;
    let names: Vec<&str> = selected.named.iter().map(FlowName::as_str).collect();
    let [name] = names.as_slice() else {
        let error = Error::new(ErrorKind::Config, format!("{:?} is {} flows", why.flow, names.len()));
        return Err(error.with_hint(format!("hygge why asks about one: {}", names.iter().take(10).copied().collect::<Vec<_>>().join(", "))));
    };
    let flow = FlowName::from(*name);
    runtime()?.block_on(async {
        let mut planner = Planner::new(
            project,
            Request { selected, force: false, slices: None, put_back: None, interrupted: Arc::default() },
            Access::Look,
        )
        .await?;
        planner.observe(std::slice::from_ref(&flow)).await?;
        let plan = planner.plan().await?;
        let step = plan.steps.iter().find(|step| step.flow == flow).cloned();
        let step = step.ok_or_else(|| Error::new(ErrorKind::Flow, "the flow was not judged"))?;
        match why.format {
            Format::Json => Json::new(Box::new(io::stdout())).object("why", explain(&planner, &step)),
            Format::Text if step.verdict == Verdict::Fresh => show_fresh(&planner, &step.flow)?,
            Format::Text => {
                let mut report = Plain::new(Box::new(io::stdout()));
                report.step(&step);
            }
        }
        planner.write_back().await?;
        Ok(if matches!(step.verdict, Verdict::Blocked { .. }) { ErrorKind::Flow.exit_code() } else { 0 })
    })
}

fn explain(planner: &Planner, step: &Step) -> serde_json::Value {
    let mut fields = objects::step(step);
    fields["published"] = json!(planner.receipt(&step.flow).and_then(|receipt| receipt.published.as_ref()));
    fields
}

fn show_fresh(planner: &Planner, flow: &FlowName) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut line = |text: String| writeln!(out, "{text}").map_err(|error| Error::new(ErrorKind::Start, error));
    line(format!("fresh    {flow}"))?;
    let Some(published) = planner.receipt(flow).and_then(|receipt| receipt.published.as_ref()) else { return Ok(()) };
    if let Some(run) = published.pinned {
        line(format!("         stays at the set of run {run}, whatever its home has; hygge restore {flow} --latest ends that"))?;
    }
    let manifest = &published.manifest;
    line(format!(
        "         published {}, {} parts, {} rows, key {}",
        published.at,
        manifest.parts.len(),
        manifest.rows(),
        published.key.short()
    ))?;
    for (name, value) in &published.components.settings {
        line(format!("         {name} is {value}"))?;
    }
    for (name, digest) in published.components.inputs.iter().take(INPUTS) {
        line(format!("         input {name} is {}", digest.short()))?;
    }
    let more = published.components.inputs.len().saturating_sub(INPUTS);
    if more > 0 { line(format!("         and {more} more inputs")) } else { Ok(()) }
}
