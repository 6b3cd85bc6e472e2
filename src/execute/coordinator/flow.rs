//! One flow's way through a run: its store is taken, its parts are made, its set is published.

use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::clock::Clock;
use super::running::Made;
use super::{Coordinator, Doing, Finished};
use crate::cache::history::PastSet;
use crate::cache::index::Batch;
use crate::connection::until;
use crate::error::{Error, ErrorKind, Result};
use crate::execute::event::{Done, Event, Outcome};
use crate::execute::settle::{Taken, Taker};
use crate::execute::task;
use crate::execute::unit::UnitTask;
use crate::flow::FlowName;
use crate::fs;
use crate::plan::Step;
use crate::plan::stale::Reason;
use crate::plan::work::MadeAt;
use crate::publish;
use crate::store::receipt::Receipt;
use crate::store::room::Notes;
use crate::store::{Publication, StoreError};

/// How many batches wait between a database and its encoder where nothing is said.
const QUEUE_SIZE: usize = 10;

/// What publishes a set.
pub(super) type Publish = Box<dyn FnOnce() -> Result<Landed> + Send>;

/// A set that was published.
pub(super) struct Landed {
    receipt: Receipt,
    /// What publishing did besides.
    notes: Notes,
}

impl Coordinator<'_> {
    /// Has a flow's store locked and settled.
    pub(super) fn take_store(&mut self, name: &FlowName) -> Result<()> {
        let taker = self.taker(name)?;
        let holder = fs::words(&format!(
            "flow {name} of {}",
            self.planner.project.config.name
        ));
        let said = self.waiting_of(name);
        self.spawn(name, Doing::Taking, move || {
            Finished::Taken(taker.take(&holder, &said))
        });
        Ok(())
    }

    /// Where it is said that a flow waits for another process.
    fn waiting_of(&self, name: &FlowName) -> mpsc::UnboundedSender<String> {
        let (said, mut heard) = mpsc::unbounded_channel();
        let (forward, flow) = (self.waiting_said.clone(), name.clone());
        tokio::spawn(async move {
            while let Some(holder) = heard.recv().await {
                drop(forward.send((flow.clone(), holder)));
            }
        });
        said
    }

    fn taker(&self, name: &FlowName) -> Result<Taker> {
        let flow = self.planner.flow(name)?;
        Ok(Taker {
            store: self.planner.project.store_path(&flow).to_path_buf(),
            flow,
            cache: self.planner.cache.clone(),
            barriers: self.barriers.clone(),
            keep: self.options.keep,
            wait: self.options.wait,
            interrupted: self.options.interrupted.clone(),
        })
    }

    pub(super) fn start_part(&mut self, flow: &FlowName, number: usize) {
        let (Some(running), Ok(described)) = (self.running.get_mut(flow), self.planner.flow(flow))
        else {
            return;
        };
        running.begin_part();
        let work = running.work.clone();
        let cache = self.planner.cache.clone();
        let interrupted = running
            .clock
            .as_ref()
            .map_or(&self.options.interrupted, Clock::stopped)
            .clone();
        let format = self.planner.project.input_format(&described);
        let runtime = Handle::current();
        self.spawn(flow, Doing::Making(number), move || {
            let (target, part) = (described.store.target(), &work.parts[number]);
            if let (Some(unit), Some(table)) = (part.unit, &work.table) {
                let queue = described
                    .queue_size
                    .and_then(|size| usize::try_from(size).ok())
                    .unwrap_or(QUEUE_SIZE);
                let task = UnitTask {
                    table,
                    unit,
                    target,
                    queue,
                    cache: &cache,
                    interrupted: &interrupted,
                    runtime: &runtime,
                };
                return Finished::Made(task.make());
            }
            let made = task::make(&work, part, format.as_ref(), &target, &cache, &interrupted);
            Finished::Made(made.map(|record| vec![(part.key, record)]))
        });
    }

    /// What publishes a flow whose parts are all there, if nobody came by since it was planned.
    pub(super) async fn publication(&mut self, name: &FlowName) -> Result<Publish> {
        let taker = self.taker(name)?;
        let running = self
            .running
            .get_mut(name)
            .ok_or_else(|| Error::new(ErrorKind::Flow, "the flow is not running"))?;
        let closing = running.closing.take();
        let made: Vec<Made> = running.made.iter().flatten().cloned().collect();
        let (work, made) = running.work.with_made(&made);
        let receipt = running.receipt.clone();
        let next = publish::assemble(
            &taker.flow,
            &work,
            &made,
            receipt.as_ref(),
            self.options.accept_shrink,
        )?;
        self.planner.probe(std::slice::from_ref(name)).await?;
        let state = self.planner.store_state(name)?;
        let takes_over = receipt.is_none() && taker.flow.store.adopts();
        if !state.added.is_empty() && !takes_over {
            let names = state.added.iter().take(3).cloned().collect();
            return Err(StoreError::Added {
                path: taker.store,
                names,
            }
            .into());
        }
        let altered = state.altered.clone();
        let interrupted = self.options.interrupted.clone();
        let change = taker.flow.mode.change();
        let project = self.planner.project.config.name.clone();
        let runtime = Handle::current();
        let waiting = self.waiting_of(name);
        Ok(Box::new(move || {
            // Where its table and its store are one SQLite database, who reads keeps others from
            // committing.
            if let Some(closing) = closing {
                drop(runtime.block_on(closing));
            }
            let room = taker.room()?;
            let publication = Publication {
                project: &project,
                flow: taker.flow.name.as_str(),
                receipt: receipt.as_ref(),
                next: &next,
                altered: &altered,
                change,
                interrupted: &interrupted,
                wait: taker.wait,
                waiting: &waiting,
            };
            let receipt = taker
                .flow
                .store
                .publish(&taker.store, &publication, &room)?;
            Ok(Landed {
                receipt,
                notes: room.into_notes(),
            })
        }))
    }

    /// The store is taken: if it is not what was planned with, the flow is judged again.
    pub(super) async fn begin_parts(&mut self, flow: &FlowName, taken: Taken) -> Result<()> {
        // Parts that were being published are in staging again.
        let has_recovered = taken.notes.recovery.is_some();
        self.tell_notes(flow, taken.notes);
        self.note_set_of_killed(flow, taken.receipt.as_ref())
            .await?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.lock = Some(taken.lock);
        running.receipt = taken.receipt;
        self.planner.note_locked(flow);
        let must_judge = has_recovered
            || running.work.is_only_to_settle
            || running.work.receipt_stat != taken.receipt_stat;
        if !self.planner.must_open(flow) {
            return self.go_on(flow, must_judge).await;
        }
        if must_judge {
            // Once its home is open, there may be no session left to ask its store by.
            match self.planner.probe_store(flow).await {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.stopping = true;
                    return Ok(());
                }
                probed => probed?,
            }
        }
        self.ready_openings.push_back(flow.clone());
        Ok(())
    }

    /// Opens the table of a flow: what is read of it is of one moment from now on.
    pub(super) async fn open(&mut self, flow: &FlowName) -> Result<()> {
        let described = self.planner.flow(flow)?;
        let (before, stay) = self.planner.before_opening(flow).await?;
        let databases = self.planner.databases.clone();
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.begin_part();
        let interrupted = running
            .clock
            .as_ref()
            .map_or(&self.options.interrupted, Clock::stopped)
            .clone();
        let task = self.tasks.spawn(async move {
            let Some(table) = described.home.rows() else { return Finished::Opened(Err(Error::new(ErrorKind::Flow, "it has no table"))) };
            tokio::select! {
                opened = table.open(&databases, &before) => Finished::Opened(opened.map(|reading| (reading, stay))),
                () = until(&interrupted) => Finished::Opened(Err(Error::new(ErrorKind::Interrupted, "interrupted"))),
            }
        });
        self.busy.insert(task.id(), (flow.clone(), Doing::Opening));
        Ok(())
    }

    /// Its store is locked: the flow is judged anew if it must be, and its parts begin.
    async fn go_on(&mut self, flow: &FlowName, must_judge: bool) -> Result<()> {
        let step = if must_judge {
            self.judge_anew(flow).await?
        } else {
            None
        };
        if must_judge && step.is_none() {
            return Ok(());
        }
        self.begin_work(flow, step)
    }

    /// Its table is open: only now it is known what is to be done.
    pub(super) async fn opened(&mut self, flow: &FlowName) -> Result<()> {
        // A table that is its store was asked before: there may be no session left for that.
        let judged = match self.planner.flow(flow)?.store.table() {
            Some(_) => Some(self.planner.judge(flow, &[]).await?),
            None => self.judge_anew(flow).await?,
        };
        judged.map_or(Ok(()), |step| self.begin_work(flow, Some(step)))
    }

    /// Its parts begin, those that it was planned with or those of another judgement.
    fn begin_work(&mut self, flow: &FlowName, judged: Option<Step>) -> Result<()> {
        if let Some(step) = judged {
            let Some(work) = step.work.clone() else {
                // Another process built it meanwhile, or made it impossible.
                self.running.remove(flow);
                self.ready_flows.push_back(step);
                return Ok(());
            };
            if let Some(running) = self.running.get_mut(flow) {
                running.plan_anew(step, work);
            }
        }
        self.planner.note_settled(flow)?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        let to_make = running.work.parts_to_make();
        let kept = running.work.parts.len() - to_make;
        let reasons = running.step.verdict.reasons().to_vec();
        self.reasons.insert(flow.clone(), reasons.clone());
        let work = running.work.clone();
        if self.told.insert(flow.clone()) {
            let is_first = reasons
                .iter()
                .any(|reason| matches!(reason, Reason::FirstBuild));
            (self.tell)(Event::Started {
                flow: flow.clone(),
                reasons,
                parts_to_make: to_make,
                parts_kept: kept,
            });
            // They are said once; a plan says them always.
            for text in work.remarks.iter().filter(|_| is_first).cloned() {
                (self.tell)(Event::Remark {
                    flow: flow.clone(),
                    text,
                });
            }
        }
        for (number, part) in work.parts.iter().enumerate() {
            match &part.made {
                Some(made) if made.place == MadeAt::Live => {
                    running.set_made(number, vec![(part.key, made.record)])
                }
                _ => self.ready_parts.push_back((flow.clone(), number)),
            }
        }
        if running.missing == 0 {
            running.closing = self.planner.end_reading(flow);
            self.ready_sets.push_back(flow.clone());
        }
        Ok(())
    }

    fn tell_notes(&mut self, flow: &FlowName, notes: Notes) {
        if let Some(recovery) = notes.recovery {
            (self.tell)(Event::Recovered {
                flow: flow.clone(),
                recovery,
            });
        }
        for text in notes.remarks {
            (self.tell)(Event::Remark {
                flow: flow.clone(),
                text,
            });
        }
        let Some(folder) = notes.aside.first().and_then(|place| place.parent()) else {
            return;
        };
        let name = |place: &PathBuf| Some(place.file_name()?.to_string_lossy().into_owned());
        let names = notes.aside.iter().filter_map(name).collect();
        (self.tell)(Event::Displaced {
            flow: flow.clone(),
            names,
            folder: folder.to_path_buf(),
        });
    }

    pub(super) fn finish_part(&mut self, flow: &FlowName, number: usize, made: Made) {
        let Some(running) = self.running.get_mut(flow) else {
            return;
        };
        for (key, record) in &made {
            self.planner.note_made(*key, *record);
            // What was at hand has only been made sure of.
            if running.work.parts[number].made.is_none() {
                (self.tell)(Event::PartMade {
                    flow: flow.clone(),
                    rows: record.rows,
                    bytes: record.bytes,
                });
            }
        }
        self.recorder.record(Batch {
            parts: made.clone(),
            ..Batch::default()
        });
        running.set_made(number, made);
        if running.missing == 0 {
            running.closing = self.planner.end_reading(flow);
        }
        let Some(running) = self.running.get(flow) else {
            return;
        };
        if running.error.is_none() && running.missing == 0 {
            self.ready_sets.push_back(flow.clone());
        }
    }

    pub(super) fn finish_set(
        &mut self,
        flow: &FlowName,
        Landed { receipt, notes }: Landed,
    ) -> Result<()> {
        self.tell_notes(flow, notes);
        let described = self.planner.flow(flow)?;
        let published = receipt.published.clone();
        let manifest = published
            .as_ref()
            .map(|published| published.manifest.clone())
            .unwrap_or_default();
        if let Err(error) = self.planner.note_published(flow, receipt) {
            self.fail(flow, error);
            return Ok(());
        }
        let Some(running) = self.running.remove(flow) else {
            return Ok(());
        };
        self.record_changes();
        let store = self.planner.project.store_path(&described).to_path_buf();
        // What was put back is in the history already.
        let put_back = self.planner.puts_back(flow);
        if let Some(published) =
            published.filter(|published| !put_back && published.pinned.is_none())
        {
            let set = PastSet {
                run: self.run,
                published,
            };
            let key = self.planner.cache.index.history_key(&store);
            self.recorder.record(Batch {
                past_sets: vec![(key, set)],
                ..Batch::default()
            });
        }
        self.planner.forget_table(flow);
        let at_hand = running
            .work
            .parts
            .iter()
            .filter(|part| part.made.is_some())
            .count();
        let made = manifest.parts.len().saturating_sub(at_hand);
        let done = Done {
            made,
            kept: manifest.parts.len() - made,
            rows: manifest.rows(),
            bytes: manifest.bytes(),
            store: described.store.shown(&store).into(),
            is_first: !put_back
                && running
                    .receipt
                    .is_none_or(|receipt| receipt.published.is_none()),
        };
        drop(running.lock);
        self.end(
            flow,
            if made == 0 {
                Outcome::Restored(done)
            } else {
                Outcome::Built(done)
            },
            running.began,
        );
        Ok(())
    }
}
