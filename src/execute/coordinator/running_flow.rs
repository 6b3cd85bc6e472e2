//! A flow that has been started: what is to be done for it, and how far that is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::flow_timer::FlowTimer;
use crate::error::Error;
use crate::execute::part_task::MadeParts;
use crate::flow::Flow;
use crate::fs::Lock;
use crate::plan::PlannedFlow;
use crate::plan::work::FlowWork;
use crate::store::receipt::{Manifest, Receipt};

/// A flow that has been started.
pub(super) struct RunningFlow {
    pub(super) planned: PlannedFlow,
    pub(super) work: Arc<FlowWork>,
    pub(super) started: Instant,
    /// Held from when its store is taken.
    pub(super) lock: Option<Lock>,
    pub(super) receipt: Option<Receipt>,
    pub(super) made: Vec<Option<MadeParts>>,
    /// How many of them are still missing.
    pub(super) missing_parts: usize,
    pub(super) in_flight: usize,
    pub(super) error: Option<Error>,
    pub(super) timer: Option<FlowTimer>,
    /// The end of what it read its table with.
    pub(super) session_close: Option<JoinHandle<()>>,
}

impl RunningFlow {
    /// Nothing is done yet.
    pub(super) fn new(
        planned: PlannedFlow,
        work: Arc<FlowWork>,
        started: Instant,
        timer: Option<FlowTimer>,
    ) -> Self {
        let missing_parts = work.parts.len();
        Self {
            planned,
            made: vec![None; missing_parts],
            work,
            started,
            lock: None,
            receipt: None,
            missing_parts,
            in_flight: 0,
            error: None,
            timer,
            session_close: None,
        }
    }

    /// Something else is to be done than was planned, and nothing of it is done yet.
    pub(super) fn replan(&mut self, step: PlannedFlow, work: Arc<FlowWork>) {
        self.missing_parts = work.parts.len();
        self.made = vec![None; self.missing_parts];
        (self.planned, self.work) = (step, work);
    }

    /// A part begins.
    pub(super) fn begin_part(&mut self) {
        if let (0, Some(clock)) = (self.in_flight, &mut self.timer) {
            clock.start();
        }
        self.in_flight += 1;
    }

    /// A part has come back.
    pub(super) fn end_part(&mut self) {
        self.in_flight -= 1;
        if let (0, Some(clock)) = (self.in_flight, &mut self.timer) {
            clock.pause();
        }
    }

    /// What ends its parts in work, with the run or before.
    pub(super) fn interrupted<'a>(&'a self, run: &'a CancellationToken) -> &'a CancellationToken {
        self.timer.as_ref().map_or(run, FlowTimer::interrupted)
    }

    /// How long it may take, where it has taken longer; its parts in work are ended then. What is
    /// being published is finished.
    pub(super) fn expire(&self) -> Option<Duration> {
        // While its table is opened, it is not known yet how many parts are missing.
        let is_under_way = self.missing_parts > 0 || self.in_flight > 0;
        self.timer
            .as_ref()
            .filter(|_| self.error.is_none() && is_under_way)
            .and_then(FlowTimer::expire)
    }

    /// True where it has failed and nothing of it is in work.
    pub(super) fn is_over(&self) -> bool {
        self.error.is_some() && self.in_flight == 0
    }

    /// How many rows of what is new in its home were left out; `None` where none can be, or where
    /// that is not known.
    pub(super) fn filtered_rows(&self, flow: &Flow, manifest: &Manifest) -> Option<u64> {
        if self.work.table().is_none() {
            return self.work.filtered_rows(manifest);
        }
        let filters = flow.shape.as_ref().is_some_and(|shape| shape.filters());
        let made = self.made.iter().flatten();
        made.map(|made| made.filtered)
            .sum::<Option<u64>>()
            .filter(|_| filters)
    }

    /// A part is there.
    pub(super) fn set_made(&mut self, number: usize, made: MadeParts) {
        self.missing_parts -= usize::from(self.made[number].replace(made).is_none());
    }
}
