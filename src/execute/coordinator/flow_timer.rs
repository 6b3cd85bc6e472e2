//! The time that a flow may take: it counts while parts of the flow are in work, and not while they
//! wait for a processor or for another process.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

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

    /// Ends its parts in work where it has taken longer than it may; gives how long that is.
    pub(super) fn expire(&self) -> Option<Duration> {
        (self.spent + self.running_time() >= self.limit).then(|| {
            self.interrupted.cancel();
            self.limit
        })
    }

    fn running_time(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::FlowTimer;

    #[test]
    fn a_flow_that_takes_too_long_is_ended_and_its_run_goes_on() {
        let run = CancellationToken::new();
        let mut timer = FlowTimer::new(Duration::ZERO, &run);
        timer.start();
        assert_eq!(timer.expire(), Some(Duration::ZERO));
        assert!(timer.interrupted().is_cancelled() && !run.is_cancelled());
    }

    #[test]
    fn no_time_passes_while_nothing_is_in_work() {
        let run = CancellationToken::new();
        let mut timer = FlowTimer::new(Duration::from_secs(3600), &run);
        timer.start();
        timer.pause();
        let spent = timer.spent;
        assert_eq!(timer.spent + timer.running_time(), spent);
        assert_eq!(timer.expire(), None);
        run.cancel();
        assert!(timer.interrupted().is_cancelled(), "it ends with the run");
    }
}
