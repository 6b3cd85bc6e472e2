//! One flow's way through a run: its store is taken, its parts are made, its set is published.

use std::path::PathBuf;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::clock::Clock;
use super::{Coordinator, Doing, Finished};
use crate::cache::index::{Batch, PartRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::execute::event::{Done, Event, Outcome};
use crate::execute::settle::{Taken, Taker};
use crate::execute::task;
use crate::flow::FlowName;
use crate::plan::work::MadeAt;
use crate::publish;
use crate::store::receipt::Receipt;
use crate::store::{Publication, Room, StoreError};

/// What publishes a set.
pub(super) type Publish = Box<dyn FnOnce() -> Result<Landed> + Send>;

/// A set that was published.
pub(super) struct Landed {
    receipt: Receipt,
    /// Files that were put aside, and where they are.
    aside: (Vec<String>, PathBuf),
}

impl Coordinator<'_> {
    /// Has a flow's store locked and settled.
    pub(super) fn take_store(&mut self, name: &FlowName) -> Result<()> {
        let taker = self.taker(name)?;
        let holder = format!("hygge, process {}, flow {name} of {}", std::process::id(), self.planner.project.config.name);
        let (said, mut heard) = mpsc::unbounded_channel();
        let (forward, flow) = (self.waiting_said.clone(), name.clone());
        tokio::spawn(async move {
            while let Some(holder) = heard.recv().await {
                drop(forward.send((flow.clone(), holder)));
            }
        });
        self.spawn(name, Doing::Taking, move || Finished::Taken(taker.take(&holder, &said)));
        Ok(())
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
        let (Some(running), Ok(described)) = (self.running.get_mut(flow), self.planner.flow(flow)) else { return };
        running.begin_part();
        let work = running.work.clone();
        let cache = self.planner.cache.clone();
        let interrupted = running.clock.as_ref().map_or(&self.options.interrupted, Clock::stopped).clone();
        let format = self.planner.project.input_format(&described);
        self.spawn(flow, Doing::Making(number), move || {
            let target = described.store.target();
            Finished::Made(task::make(&work, &work.parts[number], format, &target, &cache.staging, &interrupted))
        });
    }

    /// What publishes a flow whose parts are all there, if nobody came by since it was planned.
    pub(super) async fn publication(&mut self, name: &FlowName) -> Result<Publish> {
        let taker = self.taker(name)?;
        let running = self.running.get(name).ok_or_else(|| Error::new(ErrorKind::Flow, "the flow is not running"))?;
        let made: Vec<PartRecord> = running.made.iter().copied().flatten().collect();
        let receipt = running.receipt.clone();
        let next = publish::assemble(&taker.flow, &running.work, &made, receipt.as_ref(), self.options.accept_shrink)?;
        self.planner.probe(std::slice::from_ref(name)).await?;
        let state = self.planner.store_state(name)?;
        if !state.added.is_empty() {
            let names = state.added.iter().take(3).cloned().collect();
            return Err(StoreError::Added { path: taker.store, names }.into());
        }
        let altered = state.altered.clone();
        let project = self.planner.project.config.name.clone();
        let displaced = taker.cache.displaced(name.as_str());
        if !altered.is_empty() {
            (self.tell)(Event::Displaced { flow: name.clone(), names: altered.clone(), folder: displaced.clone() });
        }
        Ok(Box::new(move || {
            let barrier = taker.barrier()?;
            let room = Room {
                staged: &taker.cache.staging,
                displaced: displaced.clone(),
                barrier: &barrier,
                keep: taker.keep,
                aside: Mutex::default(),
            };
            let publication = Publication {
                project: &project,
                flow: taker.flow.name.as_str(),
                receipt: receipt.as_ref(),
                next: &next,
                altered: &altered,
            };
            let receipt = taker.flow.store.publish(&taker.store, &publication, &room)?;
            Ok(Landed { receipt, aside: (room.into_aside(), displaced) })
        }))
    }

    /// The store is taken: if it is not what was planned with, the flow is judged again.
    pub(super) async fn begin_parts(&mut self, flow: &FlowName, taken: Taken) -> Result<()> {
        self.tell_aside(flow, taken.aside);
        let Some(running) = self.running.get_mut(flow) else { return Ok(()) };
        running.lock = Some(taken.lock);
        running.receipt = taken.receipt;
        if running.work.receipt_stat != taken.receipt_stat {
            let Some(step) = self.judge_anew(flow).await? else { return Ok(()) };
            let Some(work) = step.work.clone() else {
                // Another process built it meanwhile, or made it impossible.
                self.running.remove(flow);
                self.ready_flows.push_back(step);
                return Ok(());
            };
            if let Some(running) = self.running.get_mut(flow) {
                running.made = vec![None; work.parts.len()];
                running.missing = work.parts.len();
                running.work = work;
                running.step = step;
            }
        }
        let Some(running) = self.running.get_mut(flow) else { return Ok(()) };
        let to_make = running.work.parts_to_make();
        let kept = running.work.parts.len() - to_make;
        let reasons = running.step.verdict.reasons().to_vec();
        if self.told.insert(flow.clone()) {
            (self.tell)(Event::Started { flow: flow.clone(), reasons, parts_to_make: to_make, parts_kept: kept });
        }
        let work = running.work.clone();
        for (number, part) in work.parts.iter().enumerate() {
            match &part.made {
                Some(made) if made.place == MadeAt::Live => running.set_made(number, made.record),
                _ => self.ready_parts.push_back((flow.clone(), number)),
            }
        }
        if running.missing == 0 {
            self.ready_sets.push_back(flow.clone());
        }
        Ok(())
    }

    fn tell_aside(&mut self, flow: &FlowName, (names, folder): (Vec<String>, PathBuf)) {
        if !names.is_empty() {
            (self.tell)(Event::Displaced { flow: flow.clone(), names, folder });
        }
    }

    pub(super) fn finish_part(&mut self, flow: &FlowName, number: usize, record: PartRecord) {
        let Some(running) = self.running.get_mut(flow) else { return };
        running.set_made(number, record);
        let key = running.work.parts[number].key;
        self.recorder.record(Batch { parts: vec![(key, record)], ..Batch::default() });
        // What was at hand has only been made sure of.
        if running.work.parts[number].made.is_none() {
            (self.tell)(Event::PartMade { flow: flow.clone(), rows: record.rows, bytes: record.bytes });
        }
        if running.error.is_none() && running.missing == 0 {
            self.ready_sets.push_back(flow.clone());
        }
    }

    pub(super) fn finish_set(&mut self, flow: &FlowName, Landed { receipt, aside }: Landed) -> Result<()> {
        self.tell_aside(flow, aside);
        let described = self.planner.flow(flow)?;
        let manifest = receipt.published.as_ref().map(|published| published.manifest.clone()).unwrap_or_default();
        if let Err(error) = self.planner.note_published(flow, receipt) {
            self.fail(flow, error);
            return Ok(());
        }
        let Some(running) = self.running.remove(flow) else { return Ok(()) };
        self.record_changes();
        let made = running.work.parts_to_make();
        let done = Done {
            made,
            kept: running.work.parts.len() - made,
            rows: manifest.rows(),
            bytes: manifest.bytes(),
            store: self.planner.project.store_path(&described).to_path_buf(),
        };
        drop(running.lock);
        self.end(flow, if made == 0 { Outcome::Restored(done) } else { Outcome::Built(done) }, running.began);
        Ok(())
    }
}
