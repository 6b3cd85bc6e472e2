//! `hygge why FLOW`: the verdict with every reason, or what a fresh flow was made from.

use std::sync::Arc;

use clap::Args as ClapArgs;
use serde_json::json;

use super::args::{GlobalArgs, OutputFormat};
use super::wait_options::{OTHER_INTERRUPT_NOTE, watch_for_interrupts};
use super::{open_session, print_line, runtime};
use crate::cache::CacheAccess;
use crate::cache::history::Run;
use crate::error::{Error, ErrorKind, Result, join_limited};
use crate::flow::FlowName;
use crate::plan::stale::Verdict;
use crate::plan::{HashProgress, PlanRequest, PlannedFlow, Planner};
use crate::report::json::{self as objects, JsonReport};
use crate::report::output::{self, OutputStream};
use crate::report::plain::{PlainReport, format_timestamp, pluralize};
use crate::report::progress::Progress;

/// How many inputs of a fresh flow are listed.
const MAX_INPUTS: usize = 10;

/// How many reasons are listed.
const MAX_REASONS: usize = 20;

/// Say why a flow would be built, or why not
#[derive(Debug, ClapArgs)]
pub(super) struct Why {
    /// The flow
    flow: String,
    /// List all reasons and inputs
    #[arg(long)]
    all: bool,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, why: &Why) -> Result<u8> {
    let session = open_session(global)?;
    let (flow, selected) = session.select_one(&why.flow, |names| {
        format!("hygge why asks about one: {names}")
    })?;
    runtime()?.block_on(async {
        let (hashing, interrupted) = (
            Arc::<HashProgress>::default(),
            watch_for_interrupts(OTHER_INTERRUPT_NOTE),
        );
        let mut progress = output::is_terminal().then(|| Progress::new(hashing.clone()));
        let request = PlanRequest::new(selected, interrupted, hashing);
        let mut planner = session.start(request, CacheAccess::Inspect).await?.planner;
        planner.observe(std::slice::from_ref(&flow)).await?;
        let plan = planner.plan().await?;
        if let Some(progress) = &mut progress {
            progress.finish();
        }
        let step = plan.flows.iter().find(|step| step.flow == flow).cloned();
        let step = step.ok_or_else(|| Error::new(ErrorKind::Flow, "the flow was not judged"))?;
        // A failure is over where nothing is left to do.
        let last = if step.verdict == Verdict::Fresh {
            None
        } else {
            last_failure(&planner, &flow).await?
        };
        match why.format {
            OutputFormat::Json => {
                JsonReport.write_object("why", explanation_fields(&planner, &step, last.as_ref()))
            }
            OutputFormat::Text => show(&planner, &step, last.as_ref(), why.all),
        }
        planner.write_back().await?;
        Ok(if matches!(step.verdict, Verdict::Blocked { .. }) {
            ErrorKind::Flow.exit_code()
        } else {
            0
        })
    })
}

/// The last run that had to do with a flow, if the flow failed in it, or was skipped.
async fn last_failure(planner: &Planner, flow: &FlowName) -> Result<Option<Run>> {
    let runs = planner
        .context
        .cache
        .index
        .runs(
            &planner.context.project.config.name,
            Some(&[flow.to_string()]),
            1,
        )
        .await?;
    Ok(runs.into_iter().find(|run| {
        run.flows
            .iter()
            .any(|flow| matches!(flow.outcome.as_str(), "failed" | "skipped"))
    }))
}

fn explanation_fields(
    planner: &Planner,
    step: &PlannedFlow,
    last: Option<&Run>,
) -> serde_json::Value {
    let mut fields = objects::planned_flow_fields(step);
    fields["published"] = json!(
        planner
            .flows
            .receipt(&step.flow)
            .and_then(|receipt| receipt.published.as_ref())
    );
    fields["last_failure"] = json!(last);
    fields
}

fn show(planner: &Planner, step: &PlannedFlow, last: Option<&Run>, all: bool) {
    let most = |most: usize| if all { usize::MAX } else { most };
    if step.verdict == Verdict::Fresh {
        show_fresh(planner, &step.flow, most(MAX_INPUTS));
    } else {
        PlainReport::new(OutputStream::Standard).write_planned_flow(
            step,
            most(MAX_REASONS),
            "--all lists them",
        );
    }
    let Some(run) = last else { return };
    for flow in &run.flows {
        let error = flow
            .error
            .as_deref()
            .unwrap_or("nothing was said of the cause");
        print_line(&format!(
            "         its last run, {} of {}: {}: {error}",
            run.run,
            format_timestamp(&run.began),
            flow.outcome
        ));
        if let Some(hint) = &flow.hint {
            print_line(&format!("         hint: {hint}"));
        }
    }
}

fn show_fresh(planner: &Planner, flow: &FlowName, most: usize) {
    print_line(&format!("fresh    {flow}"));
    let Some(published) = planner
        .flows
        .receipt(flow)
        .and_then(|receipt| receipt.published.as_ref())
    else {
        return;
    };
    if let Some(run) = published.pinned {
        print_line(&format!(
            "         stays at the set of run {run}, whatever its home has; hygge restore {flow} --latest ends that"
        ));
    }
    let manifest = &published.manifest;
    let (parts, rows) = (
        pluralize(manifest.parts.len(), "part"),
        pluralize(
            usize::try_from(manifest.rows()).unwrap_or(usize::MAX),
            "row",
        ),
    );
    print_line(&format!(
        "         published {}, {parts}, {rows}, key {}",
        format_timestamp(&published.at),
        published.key.short()
    ));
    for (name, value) in &published.components.settings {
        print_line(&format!("         {name} is {value}"));
    }
    let columns: Vec<String> = published
        .columns
        .iter()
        .map(|column| format!("{} ({})", column.name, column.declared))
        .collect();
    if !columns.is_empty() {
        print_line(&format!(
            "         columns {}",
            join_limited(&columns, most)
        ));
    }
    for (name, digest) in published.components.inputs.iter().take(most) {
        print_line(&format!("         input {name} is {}", digest.short()));
    }
    let more = published.components.inputs.len().saturating_sub(most);
    if more > 0 {
        print_line(&format!(
            "         and {}: --all lists them",
            pluralize(more, "more input")
        ));
    }
}
