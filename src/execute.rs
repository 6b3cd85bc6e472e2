//! Executing a plan: the coordinator decides, tasks work, events tell.

pub mod coordinator;
pub mod event;
pub mod executor;
mod folder_files;
pub mod job;
mod lock_store;
mod part_file;
pub mod part_task;
mod partition;
mod publication;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::plan::{Plan, Planner};
use crate::store::context::KeepStaged;

use coordinator::Coordinator;
use event::{Event, Summary};
use executor::Executor;

/// How a run is to be done.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Who makes parts.
    pub executor: Arc<dyn Executor>,
    /// How many parts are made at once.
    pub jobs: usize,
    /// Begin nothing new when a flow has failed, whatever the config says.
    pub fail_fast: bool,
    /// Whether other flows begin when one has failed that says nothing of it.
    pub continue_on_error: bool,
    /// How long a lock is waited for; `None` for as long as it takes.
    pub lock_timeout: Option<Duration>,
    /// Publish sets from which more rows vanish than the flow allows.
    pub accept_shrink: bool,
    /// What becomes of staged parts that are published.
    pub keep_staged: KeepStaged,
    /// Cancelled when the run shall end: nothing new begins, parts in flight are dropped.
    pub interrupted: CancellationToken,
}

/// Runs a plan to its end. Failures of flows are events and counts; only what stops the whole run
/// is an error.
///
/// # Errors
/// The cache cannot be used.
pub async fn run(
    planner: &mut Planner,
    plan: Plan,
    options: RunOptions,
    on_event: &mut dyn FnMut(Event),
) -> Result<Summary> {
    Coordinator::new(planner, options, on_event)
        .await?
        .run(plan)
        .await
}
