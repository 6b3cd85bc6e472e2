//! A run of a project: what is to be done, said and done, and what is left in order behind it.

use std::sync::Arc;

use crate::cache::gc::GcLimits;
use crate::cache::index::IndexReset;
use crate::cache::{CacheError, CacheLockWait, set_index_aside};
use crate::config::loader::LoadedConfig;
use crate::error::{Result, Retry};
use crate::execute::event::Summary;
use crate::execute::{self, RunOptions};
use crate::fs::LockError;
use crate::plan::stale::Verdict;
use crate::plan::{Plan, Planner};
use crate::report::{Notices, Report};

/// How often a run also takes out of the index what is of no use any more.
const PRUNE_INTERVAL: i64 = 100;

/// A run of a project.
#[derive(Debug)]
pub struct Run {
    /// The config as it was read.
    pub loaded: Arc<LoadedConfig>,
    /// What is known of its flows.
    pub planner: Planner,
}

impl Run {
    pub(super) fn new(loaded: Arc<LoadedConfig>, planner: Planner) -> Self {
        Self { loaded, planner }
    }

    /// Says what is noticed besides a plan before anything runs. `reset` is what became of the
    /// index in an attempt before; `unselected` are flows that are stale and stay so, `table_changes` what
    /// became of tables that are entities.
    pub fn report_notices(
        &self,
        plan: &Plan,
        (unselected, table_changes): (&[String], &[String]),
        reset: Option<&IndexReset>,
        report: &mut dyn Report,
    ) {
        let rebuilt_index = reset
            .or_else(|| self.planner.index_reset())
            .map(|begun| (begun, self.planner.known_stores().len()));
        let notices = Notices {
            unselected,
            without_entities: &self.planner.context.project.config.without_entities,
            table_changes,
            rebuilt_index,
        };
        report.notices(plan, &notices);
    }

    /// Flows that are not selected and would have something to do.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub async fn stale_unselected(&mut self) -> Result<Vec<String>> {
        let others = self.planner.judge_others().await?;
        let selected = &self.planner.context.request.selected.flows;
        Ok(others
            .iter()
            .filter(|step| step.verdict != Verdict::Fresh && !selected.contains(&step.flow))
            .map(|step| step.flow.to_string())
            .collect())
    }

    /// Does what is planned. Where that is nothing, only what was found out is remembered.
    ///
    /// # Errors
    /// The cache cannot be used.
    pub async fn execute(
        &mut self,
        plan: Plan,
        options: RunOptions,
        report: &mut dyn Report,
    ) -> Result<Summary> {
        if plan.is_fresh() {
            // A set that is there is put back, whatever the index takes.
            if self.planner.context.request.restore.is_none() {
                self.planner.write_back().await?;
            }
            return Ok(Summary {
                fresh: plan.flows.len(),
                ..Summary::default()
            });
        }
        let mut on_event = |event| report.event(&event);
        execute::run(&mut self.planner, plan, options, &mut on_event).await
    }

    /// Leaves the cache in order, within its limits.
    ///
    /// # Errors
    /// A damaged index cannot be set aside.
    pub async fn close(self, summary: &Summary, report: &mut dyn Report) -> Result<()> {
        let unrecorded = summary.unrecorded.as_ref();
        if unrecorded.is_some_and(|error| error.retry() == Retry::NewIndex) {
            // The next run begins a new one.
            let folder = self.planner.context.project.real_cache_folder();
            set_index_aside(folder).await?;
        } else if summary.flows_with_work() > 0 {
            if let Err(error) = self.collect_garbage().await {
                report.warn(&format!("the cache was not cleaned: {error}"));
            }
            // An index that cannot be closed is closed with the process.
            drop(self.planner.close().await);
        } else {
            // The process ends: to take apart what planning knows would cost a tenth of the time.
            std::mem::forget(self);
        }
        Ok(())
    }

    /// Keeps the cache within its limits, if nobody else is building: then the next who ends does
    /// it.
    async fn collect_garbage(&self) -> Result<()> {
        let context = &self.planner.context;
        let options = &context.project.config.options;
        let alone = match context.cache.lock_exclusive(&CacheLockWait::none()).await {
            Err(CacheError::Lock(LockError::Held(_))) => return Ok(()),
            alone => alone?,
        };
        let limits = GcLimits {
            size: options.cache_size.0,
            age: options.cache_age.0,
        };
        let freed = context.cache.collect_garbage(limits, false).await?;
        if freed.parts > 0 || context.cache.index.last_run().await? % PRUNE_INTERVAL == 0 {
            context.cache.forget_unusable().await?;
        }
        drop(alone);
        Ok(())
    }
}
