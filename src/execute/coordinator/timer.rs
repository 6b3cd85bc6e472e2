//! The time that a flow may take: it counts while parts of the flow are in work, and not while they
//! wait for a processor or for another process.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Coordinator;
use crate::error::{Error, ErrorKind};

/// How often flows with a timeout are looked at.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The time of one flow.
pub(super) struct FlowTimer {
    limit: Duration,
    spent: Duration,
    /// Since when it counts; `None` while nothing of the flow is in work.
    since: Option<Instant>,
    /// Cancelled when its parts in work shall end, with the run or before.
    interrupted: CancellationToken,
}

impl FlowTimer {
    pub(super) fn new(limit: Duration, run: &CancellationToken) -> Self {
        Self {
            limit,
            spent: Duration::ZERO,
            since: None,
            interrupted: run.child_token(),
        }
    }

    /// Something is in work.
    pub(super) fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Nothing is in work any more.
    pub(super) fn pause(&mut self) {
        self.spent += self.running_time();
        self.since = None;
    }

    /// What parts in work look at.
    pub(super) fn interrupted(&self) -> &CancellationToken {
        &self.interrupted
    }

    fn has_expired(&self) -> bool {
        self.spent + self.running_time() >= self.limit
    }

    fn running_time(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Coordinator<'_> {
    /// Fails the flows that take too long; what is being published is finished.
    pub(super) fn check_timeouts(&mut self) {
        let mut late = Vec::new();
        for (flow, running) in &mut self.running {
            let Some(clock) = &running.timer else {
                continue;
            };
            // While its table is opened, it is not known yet how many parts are missing.
            let is_under_way = running.missing_parts > 0 || running.in_flight > 0;
            let is_late = running.error.is_none() && is_under_way && clock.has_expired();
            if is_late {
                clock.interrupted.cancel();
                late.push((flow.clone(), clock.limit));
            }
        }
        for (flow, allowed) in late {
            let error =
                format!("it took longer than its timeout of {allowed:?}: nothing was published");
            let error = Error::new(ErrorKind::Flow, error);
            self.fail(&flow, error.with_hint("the next build goes on with the parts that are finished; timeout of the flow allows more"));
            self.end_failed(&flow);
        }
    }
}
