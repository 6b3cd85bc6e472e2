//! One flow's way through a run: its store is taken, its parts are made, its set is published.

use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::running::MadeParts;
use super::timer::FlowTimer;
use super::{Coordinator, TaskKind, TaskResult};
use crate::cache::history::PastSet;
use crate::cache::index::IndexChanges;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::event::{Event, Outcome, PublishSummary};
use crate::execute::lock_store::{LockedStore, StoreLocker};
use crate::execute::partition::PartitionTask;
use crate::execute::task;
use crate::flow::FlowName;
use crate::fs;
use crate::plan::PlannedFlow;
use crate::plan::stale::Reason;
use crate::plan::work::PartLocation;
use crate::publish;
use crate::store::context::PublishNotes;
use crate::store::receipt::Receipt;
use crate::store::{Publication, StoreError};

/// How many batches wait between a database and its encoder where nothing is said.
const DEFAULT_QUEUE_SIZE: usize = 10;

/// What publishes a set.
pub(super) type PublishTask = Box<dyn FnOnce() -> Result<PublishOutcome> + Send>;

/// A set that was published.
pub(super) struct PublishOutcome {
    receipt: Receipt,
    /// What publishing did besides.
    notes: PublishNotes,
}

impl Coordinator<'_> {
    /// Has a flow's store locked and recovered.
    pub(super) fn lock_store(&mut self, name: &FlowName) -> Result<()> {
        let locker = self.store_locker(name)?;
        let holder = fs::lock_holder_text(&format!(
            "flow {name} of {}",
            self.planner.context.project.config.name
        ));
        let said = self.wait_sender_for(name);
        self.spawn(name, TaskKind::Locking, move || {
            TaskResult::Locked(locker.lock_and_recover(&holder, &said))
        });
        Ok(())
    }

    /// Where it is said that a flow waits for another process.
    fn wait_sender_for(&self, name: &FlowName) -> mpsc::UnboundedSender<String> {
        let (said, mut heard) = mpsc::unbounded_channel();
        let (forward, flow) = (self.wait_sender.clone(), name.clone());
        tokio::spawn(async move {
            while let Some(holder) = heard.recv().await {
                drop(forward.send((flow.clone(), holder)));
            }
        });
        said
    }

    fn store_locker(&self, name: &FlowName) -> Result<StoreLocker> {
        let flow = self.planner.context.flow(name)?;
        Ok(StoreLocker {
            store: self.planner.context.project.open_store(&flow)?,
            flow,
            cache: self.planner.context.cache.clone(),
            barriers: self.barriers.clone(),
            keep_staged: self.options.keep_staged,
            lock_timeout: self.options.lock_timeout,
            interrupted: self.options.interrupted.clone(),
        })
    }

    pub(super) fn start_part(&mut self, flow: &FlowName, number: usize) {
        let (Some(running), Ok(described)) =
            (self.running.get_mut(flow), self.planner.context.flow(flow))
        else {
            return;
        };
        running.begin_part();
        let work = running.work.clone();
        let cache = self.planner.context.cache.clone();
        let interrupted = running
            .timer
            .as_ref()
            .map_or(&self.options.interrupted, FlowTimer::interrupted)
            .clone();
        let format = self.planner.context.project.input_format(&described);
        let runtime = Handle::current();
        self.spawn(flow, TaskKind::Making(number), move || {
            let (target, part) = (described.store.output_spec(), &work.parts[number]);
            if let (Some(partition), Some(table)) = (part.partition, &work.table) {
                let queue = described
                    .queue_size
                    .and_then(|size| usize::try_from(size).ok())
                    .unwrap_or(DEFAULT_QUEUE_SIZE);
                let task = PartitionTask {
                    table,
                    partition,
                    target,
                    queue_size: queue,
                    cache: &cache,
                    interrupted: &interrupted,
                    runtime: &runtime,
                };
                return TaskResult::Made(task.make_parts());
            }
            let made = task::make_part(&work, part, format.as_ref(), &target, &cache, &interrupted);
            TaskResult::Made(made.map(|record| vec![(part.key, record)]))
        });
    }

    /// What publishes a flow whose parts are all there, if nobody came by since it was planned.
    pub(super) async fn prepare_publication(&mut self, name: &FlowName) -> Result<PublishTask> {
        let locker = self.store_locker(name)?;
        let running = self
            .running
            .get_mut(name)
            .ok_or_else(|| Error::internal("the flow is not running"))?;
        let closing = running.session_close.take();
        let made: Vec<MadeParts> = running.made.iter().flatten().cloned().collect();
        let (work, made) = running.work.with_made_parts(&made);
        let receipt = running.receipt.clone();
        let next = publish::assemble(
            &locker.flow,
            &work,
            &made,
            receipt.as_ref(),
            self.options.accept_shrink,
        )?;
        self.planner.refresh(std::slice::from_ref(name)).await?;
        let state = self.planner.flows.store(name)?;
        let takes_over = receipt.is_none() && locker.flow.store.adopts();
        if !state.added.is_empty() && !takes_over {
            let names = state.added.iter().take(3).cloned().collect();
            let path = self
                .planner
                .context
                .project
                .store_id(&locker.flow)
                .index_key();
            return Err(StoreError::Added {
                path: path.into_owned(),
                names,
            }
            .into());
        }
        let altered = state.altered.clone();
        let interrupted = self.options.interrupted.clone();
        let change = locker.flow.mode.store_update();
        let project = self.planner.context.project.config.name.clone();
        let runtime = Handle::current();
        let waiting = self.wait_sender_for(name);
        Ok(Box::new(move || {
            // Where its table and its store are one SQLite database, who reads keeps others from
            // committing.
            if let Some(closing) = closing {
                drop(runtime.block_on(closing));
            }
            let room = locker.publish_context()?;
            let publication = Publication {
                project: &project,
                flow: locker.flow.name.as_str(),
                receipt: receipt.as_ref(),
                next: &next,
                altered: &altered,
                update: change,
                interrupted: &interrupted,
                lock_timeout: locker.lock_timeout,
                wait_notices: &waiting,
            };
            let receipt = locker.store.publish(&publication, &room)?;
            Ok(PublishOutcome {
                receipt,
                notes: room.into_notes(),
            })
        }))
    }

    /// The store is taken: if it is not what was planned with, the flow is judged again.
    pub(super) async fn on_store_locked(
        &mut self,
        flow: &FlowName,
        taken: LockedStore,
    ) -> Result<()> {
        // Parts that were being published are in staging again.
        let has_recovered = taken.notes.recovery.is_some();
        self.report_notes(flow, taken.notes);
        self.record_killed_set(flow, taken.receipt.as_ref()).await?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.lock = Some(taken.lock);
        running.receipt = taken.receipt;
        self.planner.on_locked(flow);
        let must_judge = has_recovered
            || running.work.is_recovery_only
            || running.work.receipt_version != taken.receipt_version;
        if !self.planner.must_open(flow) {
            return self.begin_locked_flow(flow, must_judge).await;
        }
        if must_judge {
            // Once its home is open, there may be no session left to ask its store by.
            match self.planner.refresh_store(flow).await {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.stopping = true;
                    return Ok(());
                }
                probed => probed?,
            }
        }
        self.ready_to_open.push_back(flow.clone());
        Ok(())
    }

    /// Opens the table of a flow: what is read of it is of one moment from now on.
    pub(super) async fn open_table(&mut self, flow: &FlowName) -> Result<()> {
        let described = self.planner.context.flow(flow)?;
        let (before, stay) = self.planner.previous_read(flow).await?;
        let databases = self.planner.context.databases.clone();
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.begin_part();
        let interrupted = running
            .timer
            .as_ref()
            .map_or(&self.options.interrupted, FlowTimer::interrupted)
            .clone();
        let task = self.tasks.spawn(async move {
            let Some(table) = described.home.as_rows() else { return TaskResult::Opened(Err(Error::internal("it has no table"))) };
            tokio::select! {
                opened = table.open_session(&databases, &before) => TaskResult::Opened(opened.map(|reading| (reading, stay))),
                () = interrupted.cancelled() => TaskResult::Opened(Err(Error::interrupted())),
            }
        });
        self.running_tasks
            .insert(task.id(), (flow.clone(), TaskKind::Opening));
        Ok(())
    }

    /// Its store is locked: the flow is judged anew if it must be, and its parts begin.
    async fn begin_locked_flow(&mut self, flow: &FlowName, must_judge: bool) -> Result<()> {
        let step = if must_judge {
            self.rejudge(flow).await?
        } else {
            None
        };
        if must_judge && step.is_none() {
            return Ok(());
        }
        self.begin_work(flow, step)
    }

    /// Its table is open: only now it is known what is to be done.
    pub(super) async fn on_table_opened(&mut self, flow: &FlowName) -> Result<()> {
        // What needs connections was asked before: there may be none left for that.
        let capabilities = self.planner.context.flow(flow)?.store.capabilities();
        let judged = if capabilities.uses_connections {
            Some(self.planner.judge(flow, &[]).await?)
        } else {
            self.rejudge(flow).await?
        };
        judged.map_or(Ok(()), |step| self.begin_work(flow, Some(step)))
    }

    /// Its parts begin, those that it was planned with or those of another judgement.
    fn begin_work(&mut self, flow: &FlowName, judged: Option<PlannedFlow>) -> Result<()> {
        if let Some(step) = judged {
            let Some(work) = step.work.clone() else {
                // Another process built it meanwhile, or made it impossible.
                self.running.remove(flow);
                self.ready_flows.push_back(step);
                return Ok(());
            };
            if let Some(running) = self.running.get_mut(flow) {
                running.replan(step, work);
            }
        }
        self.planner.on_recovered(flow)?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        let to_make = running.work.parts_to_make();
        let kept = running.work.parts.len() - to_make;
        let reasons = running.planned.verdict.reasons().to_vec();
        self.reasons.insert(flow.clone(), reasons.clone());
        let work = running.work.clone();
        if self.announced.insert(flow.clone()) {
            let is_first = reasons
                .iter()
                .any(|reason| matches!(reason, Reason::FirstBuild));
            (self.on_event)(Event::Started {
                flow: flow.clone(),
                reasons,
                parts_to_make: to_make,
                parts_kept: kept,
            });
            // They are said once; a plan says them always.
            for text in work.remarks.iter().filter(|_| is_first).cloned() {
                (self.on_event)(Event::Remark {
                    flow: flow.clone(),
                    text,
                });
            }
        }
        for (number, part) in work.parts.iter().enumerate() {
            match &part.existing {
                Some(made) if made.location == PartLocation::InStore => {
                    running.set_made(number, vec![(part.key, made.record)])
                }
                _ => self.ready_parts.push_back((flow.clone(), number)),
            }
        }
        if running.missing_parts == 0 {
            running.session_close = self.planner.close_session(flow);
            self.ready_to_publish.push_back(flow.clone());
        }
        Ok(())
    }

    fn report_notes(&mut self, flow: &FlowName, notes: PublishNotes) {
        if let Some(recovery) = notes.recovery {
            (self.on_event)(Event::Recovered {
                flow: flow.clone(),
                recovery,
            });
        }
        for text in notes.remarks {
            (self.on_event)(Event::Remark {
                flow: flow.clone(),
                text,
            });
        }
        let Some(folder) = notes.displaced.first().and_then(|place| place.parent()) else {
            return;
        };
        let name = |place: &PathBuf| Some(place.file_name()?.to_string_lossy().into_owned());
        let names = notes.displaced.iter().filter_map(name).collect();
        (self.on_event)(Event::Displaced {
            flow: flow.clone(),
            names,
            folder: folder.to_path_buf(),
        });
    }

    pub(super) fn finish_part(&mut self, flow: &FlowName, number: usize, made: MadeParts) {
        let Some(running) = self.running.get_mut(flow) else {
            return;
        };
        for (key, record) in &made {
            self.planner.on_part_made(*key, *record);
            // What was at hand has only been made sure of.
            if running.work.parts[number].existing.is_none() {
                (self.on_event)(Event::PartMade {
                    flow: flow.clone(),
                    rows: record.rows,
                    bytes: record.bytes,
                });
            }
        }
        self.recorder.record(IndexChanges {
            parts: made.clone(),
            ..IndexChanges::default()
        });
        running.set_made(number, made);
        if running.missing_parts == 0 {
            running.session_close = self.planner.close_session(flow);
        }
        let Some(running) = self.running.get(flow) else {
            return;
        };
        if running.error.is_none() && running.missing_parts == 0 {
            self.ready_to_publish.push_back(flow.clone());
        }
    }

    pub(super) fn finish_publication(
        &mut self,
        flow: &FlowName,
        PublishOutcome { receipt, notes }: PublishOutcome,
    ) -> Result<()> {
        self.report_notes(flow, notes);
        let described = self.planner.context.flow(flow)?;
        let published = receipt.published.clone();
        let manifest = published
            .as_ref()
            .map(|published| published.manifest.clone())
            .unwrap_or_default();
        if let Err(error) = self.planner.on_published(flow, receipt) {
            self.fail(flow, error);
            return Ok(());
        }
        let Some(running) = self.running.remove(flow) else {
            return Ok(());
        };
        self.record_changes();
        let store = self.planner.context.project.open_store(&described)?;
        // What was put back is in the history already.
        let put_back = self.planner.context.request.is_restored(flow);
        if let Some(published) =
            published.filter(|published| !put_back && published.pinned.is_none())
        {
            let set = PastSet {
                run: self.run_number,
                published,
            };
            let key = self
                .planner
                .context
                .cache
                .index
                .history_key(self.planner.context.project.store_id(&described));
            self.recorder.record(IndexChanges {
                past_sets: vec![(key, set)],
                ..IndexChanges::default()
            });
        }
        self.planner.forget_table(flow);
        let at_hand = running
            .work
            .parts
            .iter()
            .filter(|part| part.existing.is_some())
            .count();
        let made = manifest.parts.len().saturating_sub(at_hand);
        let done = PublishSummary {
            made,
            kept: manifest.parts.len() - made,
            rows: manifest.rows(),
            bytes: manifest.bytes(),
            store: store.display_name().into(),
            is_first: !put_back
                && running
                    .receipt
                    .is_none_or(|receipt| receipt.published.is_none()),
        };
        drop(running.lock);
        self.end_flow(
            flow,
            if made == 0 {
                Outcome::Restored(done)
            } else {
                Outcome::Built(done)
            },
            running.started,
        );
        Ok(())
    }
}
