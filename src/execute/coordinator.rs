//! The Coordinator: owns all state of a run in one task, starts what is ready, collects what is
//! done.
//!
//! A flow waits for its upstreams, takes its store, has its parts made, and publishes. Parts of all
//! flows share one limit. What a flow needs to know of the others is only here.

mod announcer;
mod ending;
mod flow_timer;
mod locking;
mod making;
mod publishing;
mod retries;
mod run_history;
mod running_flow;
mod schedule;
mod stop_condition;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use announcer::Announcer;
use flow_timer::FlowTimer;
use retries::Retries;
use run_history::RunHistory;
use running_flow::RunningFlow;
use schedule::{ReadyTask, Schedule};
use stop_condition::StopCondition;
use tasks::{FinishedTask, TaskKind, TaskResult, Tasks};

use super::RunOptions;
use super::event::{Event, Outcome, Summary};
use super::executor::Executor;
use super::lock_store::StoreAccess;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::FlowName;
use crate::fs::Barriers;
use crate::plan::stale::Verdict;
use crate::plan::work::FlowWork;
use crate::plan::{Plan, PlannedFlow, Planner};
use crate::threads::ThreadPool;

/// How often flows with a timeout are looked at.
const TIMEOUT_INTERVAL: Duration = Duration::from_millis(50);

/// The state of one run.
pub struct Coordinator<'r> {
    planner: &'r mut Planner,
    schedule: Schedule,
    tasks: Tasks,
    executor: Arc<dyn Executor>,
    running: BTreeMap<FlowName, RunningFlow>,
    retries: Retries,
    stop: StopCondition,
    stores: StoreAccess,
    history: RunHistory,
    announcer: Announcer<'r>,
}

impl<'r> Coordinator<'r> {
    /// Gets ready to run.
    pub async fn new(
        planner: &'r mut Planner,
        options: RunOptions,
        on_event: &'r mut dyn FnMut(Event),
    ) -> Result<Self> {
        let (cache, barriers) = (planner.context.cache.clone(), Arc::<Barriers>::default());
        let threads = ThreadPool::default();
        let project = &planner.context.project.config.name;
        let history = RunHistory::begin(cache.clone(), project, &barriers, threads.clone()).await?;
        Ok(Self {
            planner,
            schedule: Schedule::new(options.jobs),
            tasks: Tasks::new(threads),
            executor: options.executor.clone(),
            running: BTreeMap::new(),
            retries: Retries::default(),
            stop: StopCondition::new(&options),
            stores: StoreAccess {
                cache,
                barriers,
                keep_staged: options.keep_staged,
                accept_shrink: options.accept_shrink,
                lock_timeout: options.lock_timeout,
                interrupted: options.interrupted,
            },
            history,
            announcer: Announcer::new(on_event),
        })
    }

    /// Runs every step to its end.
    pub async fn run(mut self, plan: Plan) -> Result<Summary> {
        self.enqueue_plan(plan);
        self.record_changes();
        loop {
            if self.stop.is_interrupted() {
                self.stop.stop();
            }
            while let Some(flow) = self.schedule.next_flow() {
                self.begin_flow(flow).await?;
            }
            self.start_ready().await?;
            // What has come back meanwhile took no longer than until then.
            if let Some(finished) = self.tasks.try_next() {
                self.finish_task(finished).await?;
                continue;
            }
            self.check_timeouts();
            let has_timer = self.running.values().any(|running| running.timer.is_some());
            tokio::select! {
                biased;
                Some((flow, holder)) = self.announcer.next_wait() => {
                    self.announcer.waiting(flow, holder);
                }
                finished = self.tasks.next() => match finished {
                    Some(finished) => self.finish_task(finished).await?,
                    None if !self.schedule.has_flow() => break,
                    None => {}
                },
                () = tokio::time::sleep(TIMEOUT_INTERVAL), if has_timer => {}
            }
        }
        for flow in self.schedule.take_waiting() {
            self.end_flow(&flow, self.stop.outcome(), Instant::now());
        }
        self.finish().await
    }

    /// Waits until all that was done is written down, and lies on the disk.
    async fn finish(mut self) -> Result<Summary> {
        self.record_changes();
        let unrecorded = self.history.end().await;
        self.stores.cache.staging.end_run();
        self.planner
            .context
            .databases
            .wait_for_cancellations()
            .await;
        self.stores.barriers.wait_all()?;
        Ok(self
            .announcer
            .finish(self.stop.is_interrupted(), unrecorded))
    }

    /// Takes the flows in: each waits for those of its upstreams that are in the plan.
    fn enqueue_plan(&mut self, plan: Plan) {
        let planned: BTreeSet<FlowName> = plan.flows.iter().map(|flow| flow.flow.clone()).collect();
        for flow in plan.flows {
            let upstreams = self
                .planner
                .context
                .project
                .graph
                .upstreams(flow.flow.as_str());
            let waits_for = upstreams
                .into_iter()
                .filter(|name| planned.contains(name))
                .collect();
            self.schedule.add_flow(flow, waits_for);
        }
    }

    /// Begins a flow whose upstreams have all ended well.
    async fn begin_flow(&mut self, mut planned: PlannedFlow) -> Result<()> {
        let flow = planned.flow.clone();
        let began = self.retries.begin(&flow);
        if let Verdict::Maybe { .. } = planned.verdict {
            // Only now is it known what its upstreams gave.
            let Some(judged) = self.rejudge(&flow).await? else {
                self.end_flow(&flow, self.stop.outcome(), began);
                return Ok(());
            };
            planned = judged;
        }
        let outcome = match (&planned.verdict, planned.work.clone()) {
            (Verdict::Fresh, _) => Outcome::Fresh,
            _ if self.stop.is_stopping() => self.stop.outcome(),
            (Verdict::Blocked { error, hint }, _) => {
                let error = Error::new(ErrorKind::Flow, error.clone());
                Outcome::Failed(hint.iter().cloned().fold(error, Error::with_hint))
            }
            (_, None) => Outcome::Failed(Error::internal("it has no work")),
            (_, Some(work)) => return self.begin_work_on(planned, work, began),
        };
        self.end_flow(&flow, outcome, began);
        Ok(())
    }

    /// There is something to do for a flow: its store comes first.
    fn begin_work_on(
        &mut self,
        planned: PlannedFlow,
        work: Arc<FlowWork>,
        began: Instant,
    ) -> Result<()> {
        let flow = planned.flow.clone();
        let limit = self.planner.context.flow(&flow)?.timeout;
        let timer = limit.map(|limit| FlowTimer::new(limit, self.stop.interrupted()));
        let running = RunningFlow::new(planned, work, began, timer);
        self.running.insert(flow.clone(), running);
        self.schedule.push(ReadyTask::LockStore(flow));
        Ok(())
    }

    /// Looks at a flow and judges it, now that its upstreams are done; nothing where the run ends.
    async fn rejudge(&mut self, flow: &FlowName) -> Result<Option<PlannedFlow>> {
        match self.planner.refresh(std::slice::from_ref(flow)).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.stop.stop();
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Some(self.planner.judge(flow, &[]).await?)),
        }
    }

    /// Takes stores, makes parts and publishes sets, up to their limits.
    async fn start_ready(&mut self) -> Result<()> {
        if self.stop.is_stopping() {
            self.drop_idle_flows();
        }
        while let Some(ready) = self.schedule.next(&self.tasks.counts()) {
            match ready {
                ReadyTask::LockStore(flow) => self.lock_store(&flow)?,
                ReadyTask::MakePart(flow, number) => self.start_part(&flow, number),
                ReadyTask::OpenTable(flow) => self.open_table(&flow).await?,
                ReadyTask::Publish(flow) => self.start_publication(&flow).await,
            }
        }
        Ok(())
    }

    /// Goes on with the flow of a task that has ended.
    async fn finish_task(&mut self, finished: FinishedTask) -> Result<()> {
        let FinishedTask { flow, kind, result } = finished;
        if let (TaskKind::Making(_) | TaskKind::Opening, Some(running)) =
            (kind, self.running.get_mut(&flow))
        {
            running.end_part();
        }
        match result {
            TaskResult::Locked(Ok(locked)) => self.on_store_locked(&flow, locked).await?,
            TaskResult::Opened(Ok((session, retained))) => {
                self.planner.on_table_opened(&flow, session, retained);
                self.on_table_opened(&flow).await?;
            }
            TaskResult::DelayOver(planned) => self.resume_after_delay(&planned),
            TaskResult::Made(number, Ok(made)) => self.finish_part(&flow, number, made),
            TaskResult::Published(Ok(published)) => self.finish_publication(&flow, published)?,
            TaskResult::Locked(Err(error))
            | TaskResult::Opened(Err(error))
            | TaskResult::Made(_, Err(error))
            | TaskResult::Published(Err(error)) => self.fail(&flow, error),
        }
        self.end_failed(&flow);
        Ok(())
    }

    /// Writes down what planning has found out.
    fn record_changes(&mut self) {
        self.history.record_changes(self.planner.take_changes());
    }
}
