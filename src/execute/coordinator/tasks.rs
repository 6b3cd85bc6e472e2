//! The tasks of a run: what each is for, and what it brings back.
//!
//! It does not know which task comes next, nor what becomes of what one brings back.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};

use crate::error::{Error, Result};
use crate::execute::lock_store::LockedStore;
use crate::execute::part_task::MadeParts;
use crate::execute::publication::PublishOutcome;
use crate::flow::FlowName;
use crate::home::ReadSession;
use crate::plan::PlannedFlow;
use crate::plan::planned_part::PlannedPart;
use crate::threads::{ThreadPool, join_error};

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskKind {
    /// A store is locked and recovered.
    Locking,
    /// A table is opened.
    Opening,
    /// A flow waits until it may be tried again.
    Delaying,
    /// The part of this number is made.
    Making(usize),
    /// A set is published.
    Publishing,
}

/// What a task brings back.
pub(super) enum TaskResult {
    Locked(Result<LockedStore>),
    Opened(Result<OpenedTable>),
    DelayOver(PlannedFlow),
    Made(usize, Result<MadeParts>),
    Published(Result<PublishOutcome>),
}

/// What reads a table, and the parts that it need not be read for.
pub(super) type OpenedTable = (Arc<dyn ReadSession>, Arc<[PlannedPart]>);

/// A task that has ended.
pub(super) struct FinishedTask {
    pub(super) flow: FlowName,
    pub(super) kind: TaskKind,
    pub(super) result: TaskResult,
}

/// How many tasks of the limited kinds there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskCounts {
    pub(super) locking: usize,
    pub(super) opening: usize,
    pub(super) making: usize,
    pub(super) publishing: usize,
}

/// The tasks that have not been collected yet.
pub(super) struct Tasks {
    threads: ThreadPool,
    tasks: JoinSet<TaskResult>,
    /// What each task is for, which must be known even where it panics.
    kinds: HashMap<Id, (FlowName, TaskKind)>,
}

impl TaskKind {
    /// What is brought back of something that could not be begun, or that panicked.
    fn failed_result(self, error: Error) -> TaskResult {
        match self {
            Self::Locking => TaskResult::Locked(Err(error)),
            Self::Opening | Self::Delaying => TaskResult::Opened(Err(error)),
            Self::Making(number) => TaskResult::Made(number, Err(error)),
            Self::Publishing => TaskResult::Published(Err(error)),
        }
    }
}

impl Tasks {
    /// No task yet; those that take their time get these threads.
    pub(super) fn new(threads: ThreadPool) -> Self {
        Self {
            threads,
            tasks: JoinSet::new(),
            kinds: HashMap::new(),
        }
    }

    /// The threads of those that take their time.
    pub(super) fn threads(&self) -> &ThreadPool {
        &self.threads
    }

    /// Begins a task that waits.
    pub(super) fn spawn(
        &mut self,
        flow: &FlowName,
        kind: TaskKind,
        work: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        self.kinds.insert(task.id(), (flow.clone(), kind));
    }

    /// Begins a task that has a thread of its own.
    pub(super) fn spawn_thread(
        &mut self,
        flow: &FlowName,
        kind: TaskKind,
        work: impl FnOnce() -> TaskResult + Send + 'static,
    ) {
        let working = self.threads.run(work);
        self.spawn(flow, kind, async move {
            working
                .await
                .unwrap_or_else(|error| kind.failed_result(error))
        });
    }

    /// A task that has ended by now.
    pub(super) fn try_next(&mut self) -> Option<FinishedTask> {
        let joined = self.tasks.try_join_next_with_id()?;
        Some(self.finish(joined))
    }

    /// Waits for the next task that ends; nothing where there is none.
    pub(super) async fn next(&mut self) -> Option<FinishedTask> {
        let joined = self.tasks.join_next_with_id().await?;
        Some(self.finish(joined))
    }

    fn finish(&mut self, joined: Result<(Id, TaskResult), JoinError>) -> FinishedTask {
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let known = self.kinds.remove(&id);
        let (flow, kind) = known.expect("each task is written down where it is spawned");
        let result = match joined {
            Ok((_, result)) => result,
            Err(error) => kind.failed_result(join_error(error)),
        };
        FinishedTask { flow, kind, result }
    }

    /// How many there are.
    pub(super) fn counts(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        for (_, kind) in self.kinds.values() {
            match kind {
                TaskKind::Locking => counts.locking += 1,
                TaskKind::Opening => counts.opening += 1,
                TaskKind::Making(_) => counts.making += 1,
                TaskKind::Publishing => counts.publishing += 1,
                TaskKind::Delaying => {}
            }
        }
        counts
    }

    /// True where a task works for this flow.
    pub(super) fn has_task_for(&self, flow: &FlowName) -> bool {
        self.kinds.values().any(|(other, _)| other == flow)
    }
}
