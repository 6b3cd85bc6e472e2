//! `hygge restore FLOW`: an earlier set is published again, and stays.

use std::sync::Arc;
use std::time::Instant;

use clap::Args as ClapArgs;

use super::args::{Format, Global};
use super::build::{exit_code, keep, report};
use super::patience::{OF_A_BUILD, Patience, watch_for_interrupts};
use super::{load, open_cache, runtime, select};
use crate::cache::Access;
use crate::cache::history::PastSet;
use crate::error::{Error, ErrorKind, Result};
use crate::execute;
use crate::execute::event::Summary;
use crate::flow::FlowName;
use crate::graph::selection::Selection;
use crate::plan::project::Project;
use crate::plan::stale::Verdict;
use crate::plan::{Hashing, Planner, PutBack, Request};
use crate::store::receipt::Published;

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
    patience: Patience,
    /// How to show what happens
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &Global, restore: &Restore) -> Result<u8> {
    let began = Instant::now();
    let (_, project) = load(global.file.as_deref())?;
    let mut selected = select(
        &Selection {
            include: vec![restore.flow.clone()],
            only: true,
            ..Selection::default()
        },
        &project,
    )?;
    let names: Vec<FlowName> = selected.named.iter().cloned().collect();
    let [flow] = names.as_slice() else {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{:?} is {} flows", restore.flow, names.len()),
        )
        .with_hint("name one flow"));
    };
    selected.flows.retain(|name| name == flow);
    runtime()?.block_on(async {
        let set = find(&project, flow, restore).await?;
        let put_back = PutBack {
            flow: flow.clone(),
            set,
            pinned: !restore.latest,
        };
        let interrupted = watch_for_interrupts(OF_A_BUILD);
        let hashing: Arc<Hashing> = Arc::default();
        let mut report = report(restore.format, &hashing);
        let request = Request {
            accept_shrink: true,
            put_back: Some(put_back),
            ..Request::new(selected, interrupted.clone(), hashing)
        };
        let access = Access::Build(restore.patience.wait(&interrupted, restore.format));
        let mut planner = Planner::new(project, request, access).await?;
        let plan = planner.plan().await?;
        let config = &planner.project.config.options;
        let options = execute::Options {
            jobs: 1,
            fail_fast: false,
            continue_on_error: true,
            wait: restore.patience.limit(),
            // Who asks for a set knows what it has.
            accept_shrink: true,
            keep: keep(config.cache_keep),
            interrupted,
        };
        let mut summary = if plan.steps.iter().all(|step| step.verdict == Verdict::Fresh) {
            Summary {
                fresh: plan.steps.len(),
                ..Summary::default()
            }
        } else {
            execute::run(&mut planner, plan, options, &mut |event| {
                report.event(&event)
            })
            .await?
        };
        summary.took = began.elapsed();
        report.summary(&summary, planner.hashed_bytes());
        drop(planner.close().await);
        Ok(exit_code(&summary))
    })
}

/// The set that was asked for; none where it is what the receipt says is the latest.
async fn find(project: &Project, flow: &FlowName, restore: &Restore) -> Result<Option<PastSet>> {
    let described = project
        .graph
        .flow(flow.as_str())
        .ok_or_else(|| Error::new(ErrorKind::Config, "no such flow"))?;
    let store = project.store_path(described).to_path_buf();
    let published = described
        .store
        .receipt(&store)?
        .and_then(|receipt| receipt.published);
    if restore.latest && published.is_some() {
        return Ok(None);
    }
    let cache = Arc::new(open_cache(project, Access::Look).await?);
    let sets = cache.index.past_sets(&store).await?;
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
        .ok_or_else(|| no_set(flow, restore, published.as_ref(), &sets))
}

/// Why there is no such set, and which there are.
fn no_set(
    flow: &FlowName,
    restore: &Restore,
    published: Option<&Published>,
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
            Some(Published {
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
