//! A flow that has been started: what is to be done for it, and how far that is.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::clock::Clock;
use crate::cache::index::PartRecord;
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::fs::Lock;
use crate::plan::Step;
use crate::plan::work::Work;
use crate::store::receipt::Receipt;

/// Parts that were made of one planned part, by their keys.
pub(super) type Made = Vec<(Fingerprint, PartRecord)>;

/// A flow that has been started.
pub(super) struct Running {
    pub(super) step: Step,
    pub(super) work: Arc<Work>,
    pub(super) began: Instant,
    /// Held from when its store is taken.
    pub(super) lock: Option<Lock>,
    pub(super) receipt: Option<Receipt>,
    pub(super) made: Vec<Option<Made>>,
    /// How many of them are still missing.
    pub(super) missing: usize,
    pub(super) in_flight: usize,
    pub(super) error: Option<Error>,
    pub(super) clock: Option<Clock>,
    /// The end of what it read its table with.
    pub(super) closing: Option<JoinHandle<()>>,
}

impl Running {
    /// Nothing is done yet.
    pub(super) fn new(step: Step, work: Arc<Work>, began: Instant, clock: Option<Clock>) -> Self {
        let missing = work.parts.len();
        let (lock, receipt, error, closing) = (None, None, None, None);
        Self {
            step,
            made: vec![None; missing],
            work,
            began,
            lock,
            receipt,
            missing,
            in_flight: 0,
            error,
            clock,
            closing,
        }
    }

    /// Something else is to be done than was planned, and nothing of it is done yet.
    pub(super) fn plan_anew(&mut self, step: Step, work: Arc<Work>) {
        self.missing = work.parts.len();
        self.made = vec![None; self.missing];
        (self.step, self.work) = (step, work);
    }

    /// A part begins.
    pub(super) fn begin_part(&mut self) {
        if let (0, Some(clock)) = (self.in_flight, &mut self.clock) {
            clock.start();
        }
        self.in_flight += 1;
    }

    /// A part has come back.
    pub(super) fn end_part(&mut self) {
        self.in_flight -= 1;
        if let (0, Some(clock)) = (self.in_flight, &mut self.clock) {
            clock.pause();
        }
    }

    /// A part is there.
    pub(super) fn set_made(&mut self, number: usize, made: Made) {
        self.missing -= usize::from(self.made[number].replace(made).is_none());
    }
}
