//! A flow that has been started: what is to be done for it, and how far that is.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::timer::FlowTimer;
use crate::cache::index::PartRecord;
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::fs::Lock;
use crate::plan::PlannedFlow;
use crate::plan::work::FlowWork;
use crate::store::receipt::Receipt;

/// Parts that were made of one planned part, by their keys.
pub(super) type MadeParts = Vec<(Fingerprint, PartRecord)>;

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
        step: PlannedFlow,
        work: Arc<FlowWork>,
        began: Instant,
        clock: Option<FlowTimer>,
    ) -> Self {
        let missing = work.parts.len();
        let (lock, receipt, error, closing) = (None, None, None, None);
        Self {
            planned: step,
            made: vec![None; missing],
            work,
            started: began,
            lock,
            receipt,
            missing_parts: missing,
            in_flight: 0,
            error,
            timer: clock,
            session_close: closing,
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

    /// A part is there.
    pub(super) fn set_made(&mut self, number: usize, made: MadeParts) {
        self.missing_parts -= usize::from(self.made[number].replace(made).is_none());
    }
}
