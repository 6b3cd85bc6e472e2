//! The time that a flow may take: it counts while parts of the flow are in work, and not while they
//! wait for a processor or for another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Coordinator;
use crate::error::{Error, ErrorKind};

/// How often flows with a timeout are looked at.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The time of one flow.
pub(super) struct Clock {
    allowed: Duration,
    spent: Duration,
    /// Since when it counts; `None` while nothing of the flow is in work.
    since: Option<Instant>,
    /// Set when its parts in work shall end.
    stopped: Arc<AtomicBool>,
}

impl Clock {
    pub(super) fn new(allowed: Duration) -> Self {
        Self {
            allowed,
            spent: Duration::ZERO,
            since: None,
            stopped: Arc::default(),
        }
    }

    /// Something is in work.
    pub(super) fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Nothing is in work any more.
    pub(super) fn pause(&mut self) {
        self.spent += self.running();
        self.since = None;
    }

    /// What parts in work look at.
    pub(super) fn stopped(&self) -> &Arc<AtomicBool> {
        &self.stopped
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.spent + self.running() >= self.allowed
    }

    fn running(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Coordinator<'_> {
    /// Fails the flows that take too long; what is being published is finished.
    pub(super) fn watch_clocks(&mut self) {
        let interrupted = self.options.interrupted.load(Ordering::Relaxed);
        let mut late = Vec::new();
        for (flow, running) in &mut self.running {
            let Some(clock) = &running.clock else {
                continue;
            };
            // While its table is opened, it is not known yet how many parts are missing.
            let is_under_way = running.missing > 0 || running.in_flight > 0;
            let is_late = running.error.is_none() && is_under_way && clock.is_over();
            if interrupted || is_late {
                clock.stop();
            }
            if is_late {
                late.push((flow.clone(), clock.allowed));
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
