//! The Coordinator: owns all state of a run in one task, starts what is ready, collects what is
//! done.
//!
//! A flow waits for its upstreams, takes its store, has its parts made, and publishes. Parts of all
//! flows share one limit. What a flow needs to know of the others is only here.

mod flow;
mod history;
mod running;
mod timer;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

use flow::PublishOutcome;
use running::{MadeParts, RunningFlow};
use timer::FlowTimer;

use super::RunOptions;
use super::event::{Event, Outcome, Summary};
use super::lock_store::LockedStore;
use crate::cache::CacheError;
use crate::cache::recorder::{Recorder, Syncer};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::fingerprint::Fingerprint;
use crate::flow::FlowName;
use crate::fs::Barriers;
use crate::home::ReadSession;
use crate::plan::stale::{Reason, Verdict};
use crate::plan::work::PlannedPart;
use crate::plan::{Plan, PlannedFlow, Planner};
use crate::threads::{ThreadPool, join_error};

/// How many stores are taken at once. They may all wait for other processes: the threads that make
/// parts, which those may wait for in turn, are never among them.
const MAX_LOCKING_STORES: usize = 16;

/// How many sets are published at once: they mostly wait for the disk, and share its syncs.
const MAX_PUBLISHING: usize = 32;

/// How often a flow whose staged part was taken by another begins again.
const MAX_CONFLICT_RETRIES: usize = 10;

/// How long a flow rests when its database fails for the first time in a way that may pass.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The state of one run.
pub struct Coordinator<'r> {
    planner: &'r mut Planner,
    options: RunOptions,
    on_event: &'r mut dyn FnMut(Event),
    barriers: Arc<Barriers>,
    recorder: Recorder,
    recording: JoinHandle<Result<(), CacheError>>,
    wait_sender: mpsc::UnboundedSender<(FlowName, String)>,
    wait_receiver: mpsc::UnboundedReceiver<(FlowName, String)>,
    threads: ThreadPool,
    tasks: JoinSet<TaskResult>,
    /// What each task is for, which must be known even where it panics.
    running_tasks: HashMap<Id, (FlowName, TaskKind)>,
    /// Flows that wait for upstreams, with those that have not ended.
    waiting_flows: BTreeMap<FlowName, (PlannedFlow, BTreeSet<FlowName>)>,
    ready_flows: VecDeque<PlannedFlow>,
    ready_stores: VecDeque<FlowName>,
    running: BTreeMap<FlowName, RunningFlow>,
    /// Flows whose tables are to be opened.
    ready_to_open: VecDeque<FlowName>,
    ready_parts: VecDeque<(FlowName, usize)>,
    ready_to_publish: VecDeque<FlowName>,
    conflicts: HashMap<FlowName, usize>,
    /// How often the database of a flow failed in a way that may pass.
    failures: HashMap<FlowName, u64>,
    /// When each flow began for the first time.
    start_times: HashMap<FlowName, Instant>,
    /// The number of this run in the history.
    run_number: i64,
    /// That of the run before, if it was killed.
    killed_run: Option<i64>,
    /// Flows of which it was said that they began, and why.
    reasons: HashMap<FlowName, Vec<Reason>>,
    /// Flows of which it was said that they began.
    announced: BTreeSet<FlowName>,
    stopping: bool,
    summary: Summary,
}

/// What a task is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TaskKind {
    Locking,
    Opening,
    Delaying,
    Making(usize),
    Publishing,
}

impl TaskKind {
    /// What is brought back of something that could not be begun.
    fn failed_result(self, error: Error) -> TaskResult {
        match self {
            Self::Locking => TaskResult::Locked(Err(error)),
            Self::Opening | Self::Delaying => TaskResult::Opened(Err(error)),
            Self::Making(_) => TaskResult::Made(Err(error)),
            Self::Publishing => TaskResult::Published(Err(error)),
        }
    }
}

/// What a task brings back.
enum TaskResult {
    Locked(Result<LockedStore>),
    Opened(Result<OpenedTable>),
    DelayOver(PlannedFlow),
    Made(Result<MadeParts>),
    Published(Result<PublishOutcome>),
}

/// What reads a table, and the parts that it need not be read for.
type OpenedTable = (Arc<dyn ReadSession>, Arc<[PlannedPart]>);

impl<'r> Coordinator<'r> {
    /// Gets ready to run.
    pub async fn new(
        planner: &'r mut Planner,
        options: RunOptions,
        tell: &'r mut dyn FnMut(Event),
    ) -> Result<Self> {
        let run = planner
            .context
            .cache
            .index
            .begin_run(
                &planner.context.project.config.name,
                &Timestamp::now().to_string(),
            )
            .await?;
        let killed = planner
            .context
            .cache
            .index
            .killed_run(&planner.context.project.config.name, run)
            .await?;
        let barriers: Arc<Barriers> = Arc::default();
        let folder = planner.context.cache.folder().to_path_buf();
        let syncer = Syncer {
            barrier: barriers.for_folder(&folder)?,
            folder,
        };
        let threads = ThreadPool::default();
        let (recorder, recording) =
            Recorder::start(planner.context.cache.clone(), syncer, threads.clone());
        let (waiting_said, waiting) = mpsc::unbounded_channel();
        Ok(Self {
            planner,
            options,
            on_event: tell,
            barriers,
            recorder,
            recording,
            wait_sender: waiting_said,
            wait_receiver: waiting,
            threads,
            tasks: JoinSet::new(),
            running_tasks: HashMap::new(),
            waiting_flows: BTreeMap::new(),
            ready_flows: VecDeque::new(),
            ready_stores: VecDeque::new(),
            running: BTreeMap::new(),
            ready_to_open: VecDeque::new(),
            ready_parts: VecDeque::new(),
            ready_to_publish: VecDeque::new(),
            conflicts: HashMap::new(),
            failures: HashMap::new(),
            start_times: HashMap::new(),
            run_number: run,
            killed_run: killed,
            reasons: HashMap::new(),
            announced: BTreeSet::new(),
            stopping: false,
            summary: Summary::default(),
        })
    }

    /// Runs every step to its end.
    pub async fn run(mut self, plan: Plan) -> Result<Summary> {
        self.enqueue_plan(plan);
        self.record_changes();
        loop {
            if self.options.interrupted.is_cancelled() {
                self.stopping = true;
            }
            while let Some(step) = self.ready_flows.pop_front() {
                self.begin_flow(step).await?;
            }
            self.start_ready().await?;
            // What has come back meanwhile took no longer than until then.
            if let Some(joined) = self.tasks.try_join_next_with_id() {
                self.finish_task(joined).await?;
                continue;
            }
            self.check_timeouts();
            let has_clock = self.running.values().any(|running| running.timer.is_some());
            tokio::select! {
                biased;
                Some((flow, holder)) = self.wait_receiver.recv() => (self.on_event)(Event::Waiting { flow, holder }),
                joined = self.tasks.join_next_with_id() => match joined {
                    Some(joined) => self.finish_task(joined).await?,
                    None if self.ready_flows.is_empty() => break,
                    None => {}
                },
                () = tokio::time::sleep(timer::TICK), if has_clock => {}
            }
        }
        for flow in std::mem::take(&mut self.waiting_flows).into_keys() {
            let because = self.stop_reason();
            self.end_flow(&flow, Outcome::Skipped { because }, Instant::now());
        }
        self.record_changes();
        let cache = self.planner.context.cache.clone();
        drop(self.recorder);
        // What is published is published: a record that is missing is found out again.
        self.summary.unrecorded = match self.recording.await {
            Ok(Ok(())) => cache
                .index
                .end_run(self.run_number, &Timestamp::now().to_string())
                .await
                .err()
                .map(Error::from),
            Ok(Err(error)) => Some(error.into()),
            Err(error) => Some(Error::new(ErrorKind::Start, error)),
        };
        cache.staging.end_run();
        self.planner
            .context
            .databases
            .wait_for_cancellations()
            .await;
        self.barriers.wait_all()?;
        self.summary.interrupted = self.options.interrupted.is_cancelled();
        Ok(self.summary)
    }

    /// Takes the steps in: each waits for those of its upstreams that are in the plan.
    fn enqueue_plan(&mut self, plan: Plan) {
        let planned: BTreeSet<FlowName> = plan.flows.iter().map(|step| step.flow.clone()).collect();
        for step in plan.flows {
            let upstreams = self
                .planner
                .context
                .project
                .graph
                .upstreams(step.flow.as_str());
            let waits: BTreeSet<FlowName> = upstreams
                .into_iter()
                .filter(|name| planned.contains(name))
                .collect();
            if waits.is_empty() {
                self.ready_flows.push_back(step);
            } else {
                self.waiting_flows.insert(step.flow.clone(), (step, waits));
            }
        }
    }

    /// Begins a flow whose upstreams have all ended well.
    async fn begin_flow(&mut self, step: PlannedFlow) -> Result<()> {
        // What it was tried before, and what it rested, is part of its time.
        let began = *self
            .start_times
            .entry(step.flow.clone())
            .or_insert_with(Instant::now);
        let step = match step.verdict {
            // Only now is it known what its upstreams gave.
            Verdict::Maybe { .. } => match self.rejudge(&step.flow).await? {
                Some(step) => step,
                None => {
                    let because = self.stop_reason();
                    self.end_flow(&step.flow, Outcome::Skipped { because }, began);
                    return Ok(());
                }
            },
            _ => step,
        };
        let flow = step.flow.clone();
        match (&step.verdict, &step.work) {
            (Verdict::Fresh, _) => self.end_flow(&flow, Outcome::Fresh, began),
            _ if self.stopping => {
                let because = self.stop_reason();
                self.end_flow(&flow, Outcome::Skipped { because }, began);
            }
            (Verdict::Blocked { error, hint }, _) => {
                let error = Error::new(ErrorKind::Flow, error.clone());
                let error = match hint {
                    Some(hint) => error.with_hint(hint.clone()),
                    None => error,
                };
                self.end_flow(&flow, Outcome::Failed(error), began);
            }
            (_, None) => self.end_flow(
                &flow,
                Outcome::Failed(Error::internal("it has no work")),
                began,
            ),
            (_, Some(work)) => {
                let allowed = self.planner.context.flow(&flow)?.timeout;
                let running = RunningFlow::new(
                    step.clone(),
                    work.clone(),
                    began,
                    allowed.map(|limit| FlowTimer::new(limit, &self.options.interrupted)),
                );
                self.running.insert(flow.clone(), running);
                self.ready_stores.push_back(flow);
            }
        }
        Ok(())
    }

    /// Looks at a flow and judges it, now that its upstreams are done; nothing where the run ends.
    async fn rejudge(&mut self, flow: &FlowName) -> Result<Option<PlannedFlow>> {
        match self.planner.refresh(std::slice::from_ref(flow)).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.stopping = true;
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Some(self.planner.judge(flow, &[]).await?)),
        }
    }

    fn spawn(
        &mut self,
        flow: &FlowName,
        doing: TaskKind,
        work: impl FnOnce() -> TaskResult + Send + 'static,
    ) {
        let working = self.threads.run(work);
        let task = self.tasks.spawn(async move {
            match working.await {
                Ok(finished) => finished,
                Err(error) => doing.failed_result(error),
            }
        });
        self.running_tasks.insert(task.id(), (flow.clone(), doing));
    }

    fn count_tasks(&self, is_one: impl Fn(TaskKind) -> bool) -> usize {
        self.running_tasks
            .values()
            .filter(|(_, doing)| is_one(*doing))
            .count()
    }

    /// Takes stores, makes parts and publishes sets, up to their limits.
    async fn start_ready(&mut self) -> Result<()> {
        if self.stopping {
            self.drop_idle_flows();
        }
        let mut stores = self.count_tasks(|doing| doing == TaskKind::Locking);
        while stores < MAX_LOCKING_STORES
            && let Some(flow) = self.ready_stores.pop_front()
        {
            self.lock_store(&flow)?;
            stores += 1;
        }
        let mut parts = self.count_tasks(|doing| matches!(doing, TaskKind::Making(_)));
        while parts < self.options.jobs
            && let Some((flow, number)) = self.ready_parts.pop_front()
        {
            self.start_part(&flow, number);
            parts += 1;
        }
        // A table that is open keeps a transaction, which a server may end where nothing is asked
        // in it: none is opened before somebody is there who reads it.
        let mut opening = self.count_tasks(|doing| doing == TaskKind::Opening);
        while parts + opening < self.options.jobs
            && self.ready_parts.is_empty()
            && let Some(flow) = self.ready_to_open.pop_front()
        {
            self.open_table(&flow).await?;
            opening += 1;
        }
        let mut sets = self.count_tasks(|doing| doing == TaskKind::Publishing);
        while sets < MAX_PUBLISHING
            && let Some(flow) = self.ready_to_publish.pop_front()
        {
            let publication = self.prepare_publication(&flow).await;
            self.spawn(&flow, TaskKind::Publishing, move || {
                TaskResult::Published(publication.and_then(|publish| publish()))
            });
            sets += 1;
        }
        Ok(())
    }

    async fn finish_task(&mut self, joined: Result<(Id, TaskResult), JoinError>) -> Result<()> {
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some((flow, doing)) = self.running_tasks.remove(&id) else {
            return Ok(());
        };
        if let (TaskKind::Making(_) | TaskKind::Opening, Some(running)) =
            (doing, self.running.get_mut(&flow))
        {
            running.end_part();
        }
        match (joined, doing) {
            (Ok((_, TaskResult::Locked(Ok(taken)))), _) => {
                self.on_store_locked(&flow, taken).await?
            }
            (Ok((_, TaskResult::Made(Ok(record)))), TaskKind::Making(number)) => {
                self.finish_part(&flow, number, record)
            }
            (Ok((_, TaskResult::Opened(Ok((reading, stay))))), _) => {
                self.planner.on_table_opened(&flow, reading, stay);
                self.on_table_opened(&flow).await?;
            }
            (Ok((_, TaskResult::DelayOver(step))), _) => self.resume_after_delay(step),
            (Ok((_, TaskResult::Published(Ok(landed)))), _) => {
                self.finish_publication(&flow, landed)?
            }
            (
                Ok((
                    _,
                    TaskResult::Locked(Err(error))
                    | TaskResult::Opened(Err(error))
                    | TaskResult::Made(Err(error))
                    | TaskResult::Published(Err(error)),
                )),
                _,
            ) => self.fail(&flow, error),
            (Err(error), _) => self.fail(&flow, join_error(error)),
            (Ok((_, TaskResult::Made(Ok(_)))), _) => {}
        }
        self.end_failed(&flow);
        Ok(())
    }

    /// True for the first few times that another flow got in the way: it has made a part of the
    /// same bytes and taken it when it should be published; its store is the home, and another
    /// process has published to it; or another checkout has published to the same table.
    fn should_retry_conflict(&mut self, flow: &FlowName, error: &Error) -> bool {
        let reads_a_store = self
            .planner
            .context
            .flow(flow)
            .is_ok_and(|flow| flow.upstream().is_some());
        let is_lost =
            error.retry() == Retry::Replan || (reads_a_store && error.retry() == Retry::Reread);
        let tries = self.conflicts.entry(flow.clone()).or_default();
        *tries += usize::from(is_lost);
        is_lost && *tries <= MAX_CONFLICT_RETRIES
    }

    /// Lets a flow rest whose database failed in a way that may pass, and then begin again: each
    /// time twice as long.
    fn retry_later(&mut self, flow: &FlowName, step: &PlannedFlow, error: &Error) -> bool {
        let allowed = self
            .planner
            .context
            .flow(flow)
            .map_or(0, |flow| flow.retries);
        let failures = self.failures.entry(flow.clone()).or_default();
        if self.stopping || !error.is_transient() || *failures >= allowed {
            return false;
        }
        *failures += 1;
        let rest = FIRST_RETRY_DELAY
            * 2_u32.saturating_pow(u32::try_from(*failures - 1).unwrap_or(u32::MAX).min(6));
        // Flows that were in each other's way do not come back at the same moment, and leave their
        // places at the server meanwhile.
        let rest = rest.mul_f64(
            1.0 + f64::from(Fingerprint::hash_bytes(flow.as_str().as_bytes()).as_bytes()[0])
                / 512.0,
        );
        self.planner.context.databases.close_idle();
        if let Ok(described) = self.planner.context.flow(flow) {
            described.store.close_idle();
        }
        (self.on_event)(Event::Retrying {
            flow: flow.clone(),
            error: error.clone(),
            delay: rest,
        });
        let (step, interrupted) = (step.clone(), self.options.interrupted.clone());
        let task = self.tasks.spawn(async move {
            drop(tokio::time::timeout(rest, interrupted.cancelled()).await);
            TaskResult::DelayOver(step)
        });
        self.running_tasks
            .insert(task.id(), (flow.clone(), TaskKind::Delaying));
        true
    }

    /// A flow has rested.
    fn resume_after_delay(&mut self, step: PlannedFlow) {
        if self.stopping || self.options.interrupted.is_cancelled() {
            let because = self.stop_reason();
            let began = self.start_time(&step.flow);
            return self.end_flow(&step.flow, Outcome::Skipped { because }, began);
        }
        self.requeue(&step);
    }

    /// Judges a flow anew, and lets it begin again.
    fn requeue(&mut self, step: &PlannedFlow) {
        let verdict = Verdict::Maybe {
            upstreams: Vec::new(),
            reasons: step.verdict.reasons().to_vec(),
        };
        self.ready_flows.push_back(PlannedFlow {
            flow: step.flow.clone(),
            verdict,
            work: None,
        });
    }

    /// A flow has failed; it ends when its last task has come back.
    fn fail(&mut self, flow: &FlowName, error: Error) {
        self.ready_parts.retain(|(other, _)| other != flow);
        self.ready_to_open.retain(|other| other != flow);
        if let Some(running) = self.running.get_mut(flow) {
            running.error.get_or_insert(error);
        }
    }

    fn end_failed(&mut self, flow: &FlowName) {
        let is_over = self
            .running
            .get(flow)
            .is_some_and(|running| running.error.is_some() && running.in_flight == 0);
        let Some(mut running) = (if is_over {
            self.running.remove(flow)
        } else {
            None
        }) else {
            return;
        };
        let Some(error) = running.error.take() else {
            return;
        };
        self.planner.on_unlocked(flow);
        self.planner.forget_table(flow);
        if self.retry_later(flow, &running.planned, &error) {
            return;
        }
        if self.should_retry_conflict(flow, &error) {
            return self.requeue(&running.planned);
        }
        let outcome = if self.options.interrupted.is_cancelled() {
            Outcome::Skipped {
                because: "interrupted".into(),
            }
        } else {
            Outcome::Failed(error)
        };
        self.end_flow(flow, outcome, running.started);
    }

    /// Ends a flow: those that waited for it begin, or are skipped.
    fn end_flow(&mut self, flow: &FlowName, outcome: Outcome, began: Instant) {
        let mut ended = VecDeque::from([(flow.clone(), outcome, began)]);
        while let Some((flow, outcome, began)) = ended.pop_front() {
            let is_good = matches!(
                outcome,
                Outcome::Fresh | Outcome::Built(_) | Outcome::Restored(_)
            );
            if let Outcome::Failed(error) = &outcome {
                let says = self
                    .planner
                    .context
                    .project
                    .graph
                    .flow(flow.as_str())
                    .and_then(|flow| flow.continue_on_error);
                self.stopping |=
                    self.options.fail_fast || !says.unwrap_or(self.options.continue_on_error);
                self.summary.locked += usize::from(error.kind() == ErrorKind::Locked);
            }
            self.summary.add_outcome(&outcome);
            let (took, retries) = (
                began.elapsed(),
                self.failures.get(&flow).copied().unwrap_or_default(),
            );
            self.record_outcome(&flow, &outcome, took, retries);
            (self.on_event)(Event::Ended {
                flow: flow.clone(),
                outcome,
                elapsed: took,
                retries,
            });
            for dependent in self
                .planner
                .context
                .project
                .graph
                .downstreams(flow.as_str())
            {
                let Some((_, waits)) = self.waiting_flows.get_mut(&dependent) else {
                    continue;
                };
                waits.remove(&flow);
                if is_good && !waits.is_empty() {
                    continue;
                }
                let Some((step, _)) = self.waiting_flows.remove(&dependent) else {
                    continue;
                };
                if is_good {
                    self.ready_flows.push_back(step);
                } else {
                    let because = format!("its upstream {flow} did not end well");
                    ended.push_back((dependent, Outcome::Skipped { because }, Instant::now()));
                }
            }
        }
    }

    /// Lets go of what has not begun to work; what is being published is finished.
    fn drop_idle_flows(&mut self) {
        self.ready_stores.clear();
        self.ready_to_open.clear();
        self.ready_parts.clear();
        self.ready_to_publish.clear();
        let busy: BTreeSet<&FlowName> = self.running_tasks.values().map(|(flow, _)| flow).collect();
        let idle: Vec<FlowName> = self
            .running
            .keys()
            .filter(|flow| !busy.contains(flow))
            .cloned()
            .collect();
        for flow in idle {
            self.running.remove(&flow);
            let because = self.stop_reason();
            let began = self.start_time(&flow);
            self.end_flow(&flow, Outcome::Skipped { because }, began);
        }
    }

    /// When a flow began; now, where it did not.
    fn start_time(&self, flow: &FlowName) -> Instant {
        self.start_times
            .get(flow)
            .copied()
            .unwrap_or_else(Instant::now)
    }

    fn stop_reason(&self) -> String {
        if self.options.interrupted.is_cancelled() {
            "interrupted".into()
        } else {
            "another flow failed".into()
        }
    }

    fn record_changes(&mut self) {
        let changes = self.planner.take_changes();
        if !changes.is_empty() {
            self.recorder.record(changes);
        }
    }
}
