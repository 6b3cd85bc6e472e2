//! `hygge restore FLOW`: an earlier set is published again, and stays.

use std::sync::Arc;
use std::time::Instant;

use clap::Args as ClapArgs;

use super::args::{GlobalArgs, OutputFormat};
use super::build::{exit_code, keep_staged, new_reports};
use super::wait_options::{BUILD_INTERRUPT_NOTE, WaitOptions, watch_for_interrupts};
use super::{open_session, runtime};
use crate::app::Session;
use crate::cache::CacheAccess;
use crate::cache::history::PastSet;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::RunOptions;
use crate::execute::executor::ThreadExecutor;
use crate::flow::FlowName;
use crate::plan::{HashProgress, PlanRequest, RestoreTarget};
use crate::report::Report;
use crate::store::receipt::PublishedSet;

/// Publish an earlier set of a flow again; it stays until `restore --latest` or `build --force`
#[derive(Debug, ClapArgs)]
pub(super) struct Restore {
    /// The flow
    flow: String,
    /// The run whose set it was, as hygge log numbers them [default: the one before what is
    /// published]
    #[arg(long = "build", value_name = "N", conflicts_with = "latest")]
    run: Option<i64>,
    /// Publish the latest set again, and let builds go on from there
    #[arg(long)]
    latest: bool,
    #[command(flatten)]
    patience: WaitOptions,
    /// How to show what happens
    #[arg(long, value_enum, default_value = "text")]
    format: OutputFormat,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, restore: &Restore) -> Result<u8> {
    let began = Instant::now();
    let session = open_session(global)?;
    let (flow, mut selected) = session.select_one(&restore.flow, |_| "name one flow".into())?;
    selected.flows.retain(|name| *name == flow);
    runtime()?.block_on(async {
        // First: a store's database may be waited for before there is a plan.
        let interrupted = watch_for_interrupts(BUILD_INTERRUPT_NOTE);
        let set = find_set(&session, &flow, restore).await?;
        let put_back = RestoreTarget {
            flow,
            set,
            pinned: !restore.latest,
        };
        let hashing: Arc<HashProgress> = Arc::default();
        let mut reports = new_reports(restore.format, &hashing);
        let request = PlanRequest {
            accept_shrink: true,
            restore: Some(put_back),
            ..PlanRequest::new(selected, interrupted.clone(), hashing)
        };
        let access = CacheAccess::Build(restore.patience.to_wait(&interrupted, restore.format));
        let mut run = session.start(request, access).await?;
        let plan = run.planner.plan().await?;
        let config = &run.planner.context.project.config.options;
        let options = RunOptions {
            executor: Arc::new(ThreadExecutor::default()),
            jobs: 1,
            fail_fast: false,
            continue_on_error: true,
            lock_timeout: restore.patience.limit(),
            // Who asks for a set knows what it has.
            accept_shrink: true,
            keep_staged: keep_staged(config.cache_keep),
            interrupted,
        };
        let mut summary = run.execute(plan, options, &mut reports).await?;
        summary.took = began.elapsed();
        reports.summary(&summary, run.planner.hashed_bytes());
        drop(run.planner.close().await);
        Ok(exit_code(&summary))
    })
}

/// The set that was asked for; none where it is what the receipt says is the latest.
async fn find_set(
    session: &Session,
    flow: &FlowName,
    restore: &Restore,
) -> Result<Option<PastSet>> {
    let project = &session.project;
    let described = project
        .graph
        .flow(flow.as_str())
        .ok_or_else(|| Error::new(ErrorKind::Config, "no such flow"))?;
    let published = project
        .open_store(described)?
        .receipt()?
        .and_then(|receipt| receipt.published);
    if restore.latest && published.is_some() {
        return Ok(None);
    }
    let cache = Arc::new(session.open_cache(CacheAccess::Inspect).await?);
    let sets = cache.index.past_sets(project.store_id(described)).await?;
    let found = match (restore.run, &published) {
        (Some(run), _) => sets.iter().find(|set| set.run == run),
        (None, Some(published)) => match published.pinned {
            Some(pinned) => sets.iter().find(|set| set.run < pinned),
            None => sets
                .iter()
                .find(|set| set.published.manifest != published.manifest),
        },
        // Its store is gone, with its receipt.
        (None, None) if restore.latest => sets.first(),
        (None, None) => None,
    };
    found
        .cloned()
        .map(Some)
        .ok_or_else(|| no_set_error(flow, restore, published.as_ref(), &sets))
}

/// Why there is no such set, and which there are.
fn no_set_error(
    flow: &FlowName,
    restore: &Restore,
    published: Option<&PublishedSet>,
    sets: &[PastSet],
) -> Error {
    let runs: Vec<String> = sets.iter().map(|set| set.run.to_string()).collect();
    let error = match (restore.run, published) {
        (Some(run), _) => format!("run {run} published no set of flow {flow} that is remembered"),
        (None, _) if sets.is_empty() => format!("no set of flow {flow} is remembered"),
        (None, None) => format!(
            "nothing of flow {flow} is published, so that none of its sets is the one before"
        ),
        (
            None,
            Some(PublishedSet {
                pinned: Some(pinned),
                ..
            }),
        ) => {
            format!(
                "flow {flow} stays at the set of run {pinned}, and none is remembered that is older"
            )
        }
        (None, Some(_)) => format!(
            "every set of flow {flow} that is remembered has the parts that are published now"
        ),
    };
    let hint = match runs.as_slice() {
        [] => "the history of the cache has no set of this flow".into(),
        [latest, ..] => format!(
            "sets of runs: {}; --build {latest} publishes one of them",
            runs.join(", ")
        ),
    };
    Error::new(ErrorKind::Flow, error).with_hint(hint)
}
