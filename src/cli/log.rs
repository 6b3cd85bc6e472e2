//! `hygge log [FLOW]`: the runs that had something to do.

use std::sync::Arc;

use clap::Args as ClapArgs;
use serde_json::json;

use super::args::{GlobalArgs, OutputFormat};
use super::{open_session, print_line, runtime};
use crate::cache::history::{FlowRun, Run};
use crate::cache::{Cache, CacheAccess};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::selection::Selection;
use crate::plan::project::Project;
use crate::report::json::JsonReport;
use crate::report::plain::{
    format_bytes, format_retries, format_seconds, format_timestamp, pluralize,
};

/// Show earlier runs: when, what was made, why, and what failed
#[derive(Debug, ClapArgs)]
pub(super) struct Log {
    /// Only runs of this flow
    flow: Option<String>,
    /// How many runs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How to show them
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, log: &Log) -> Result<u8> {
    let session = open_session(global)?;
    let project = &session.project;
    runtime()?.block_on(async {
        let cache = Arc::new(session.open_cache(CacheAccess::Inspect).await?);
        let flows = match &log.flow {
            Some(flow) => Some(flows(flow, project, &cache).await?),
            None => None,
        };
        let runs = cache
            .index
            .runs(&project.config.name, flows.as_deref(), log.runs.into())
            .await?;
        match log.format {
            OutputFormat::Json => runs
                .iter()
                .rev()
                .for_each(|run| JsonReport.write_object("run", json!(run))),
            OutputFormat::Text if runs.is_empty() => print_line("no run had anything to do yet"),
            OutputFormat::Text => runs.iter().rev().for_each(show),
        }
        Ok(0)
    })
}

/// The flows that are meant: of the config, else those that the history knows by this name, with
/// their entities.
async fn flows(asked: &str, project: &Project, cache: &Cache) -> Result<Vec<String>> {
    let selection = Selection {
        include: vec![asked.to_string()],
        only: true,
        ..Selection::default()
    };
    if let Ok(selected) = selection.resolve(&project.graph) {
        return Ok(selected.named.iter().map(ToString::to_string).collect());
    }
    let mut known = cache.index.flows(&project.config.name).await?;
    known.retain(|flow| {
        flow.strip_prefix(asked)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    if known.is_empty() {
        let error = Error::new(
            ErrorKind::Config,
            format!("flow {asked:?} is neither in the config nor in the history"),
        );
        return Err(error.with_hint("hygge log shows all runs, hygge graph all flows"));
    }
    Ok(known)
}

fn show(run: &Run) {
    let ended = if run.ended.is_some() {
        ""
    } else {
        ", which has not ended: it is still going on, or was killed"
    };
    print_line(&format!(
        "run {} of {}{ended}",
        run.run,
        format_timestamp(&run.began)
    ));
    run.flows.iter().for_each(show_flow);
}

fn show_flow(flow: &FlowRun) {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let parts = format!(
        "{} made, {} kept",
        pluralize(number(flow.parts_made), "part"),
        flow.parts_kept
    );
    let what = match &flow.error {
        Some(error) => error.clone(),
        None => format!(
            "{parts}, {}, {}",
            pluralize(number(flow.rows), "row"),
            format_bytes(flow.bytes)
        ),
    };
    let took =
        format_seconds(std::time::Duration::try_from_secs_f64(flow.seconds).unwrap_or_default());
    print_line(&format!(
        "  {:<8} {}: {what}, in {took}{}",
        flow.outcome,
        flow.flow,
        format_retries(flow.retries)
    ));
    if let Some(hint) = &flow.hint {
        print_line(&format!("           hint: {hint}"));
    }
    if !flow.why.is_empty() {
        let more = flow.why.len().saturating_sub(3);
        let more = if more > 0 {
            format!("; and {more} more")
        } else {
            String::new()
        };
        print_line(&format!(
            "           {}{more}",
            flow.why
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join("; ")
        ));
    }
}
