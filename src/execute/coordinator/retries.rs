//! Retries: how often each flow was tried, since when, and how long it waits before the next time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::fingerprint::Fingerprint;
use crate::flow::FlowName;

/// How often a flow whose staged part was taken by another begins again.
const MAX_CONFLICTS: usize = 10;

/// How long a flow rests when its database fails for the first time with a transient error.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The delay is doubled so often at most.
const MAX_DOUBLINGS: u64 = 6;

/// How often each flow was tried.
#[derive(Debug, Default)]
pub(super) struct Retries {
    conflicts: HashMap<FlowName, usize>,
    /// How often the database of a flow failed with a transient error.
    failures: HashMap<FlowName, u64>,
    /// When each flow began for the first time.
    start_times: HashMap<FlowName, Instant>,
}

impl Retries {
    /// A flow begins. What it was tried before, and what it rested, is part of its time.
    pub(super) fn begin(&mut self, flow: &FlowName) -> Instant {
        *self
            .start_times
            .entry(flow.clone())
            .or_insert_with(Instant::now)
    }

    /// When a flow began for the first time; now, where it did not.
    pub(super) fn start_time(&self, flow: &FlowName) -> Instant {
        self.start_times
            .get(flow)
            .copied()
            .unwrap_or_else(Instant::now)
    }

    /// How often a flow was tried again because its database failed.
    pub(super) fn failures(&self, flow: &FlowName) -> u64 {
        self.failures.get(flow).copied().unwrap_or_default()
    }

    /// The database of a flow failed with a transient error: how long it rests before it is tried
    /// again, each time twice as long; nothing where it was tried as often as it may be.
    pub(super) fn next_delay(&mut self, flow: &FlowName, allowed: u64) -> Option<Duration> {
        let failures = self.failures.entry(flow.clone()).or_default();
        if *failures >= allowed {
            return None;
        }
        let doublings = u32::try_from(MAX_DOUBLINGS.min(*failures)).unwrap_or(u32::MAX);
        *failures += 1;
        // Flows that were in each other's way do not come back at the same moment, and leave their
        // places at the server meanwhile.
        let spread = Fingerprint::hash_bytes(flow.as_str().as_bytes()).as_bytes()[0];
        let delay = FIRST_DELAY * 2_u32.saturating_pow(doublings);
        Some(delay.mul_f64(1.0 + f64::from(spread) / 512.0))
    }

    /// Another flow got in the way of this one; true for the first few times.
    pub(super) fn may_follow_conflict(&mut self, flow: &FlowName) -> bool {
        let conflicts = self.conflicts.entry(flow.clone()).or_default();
        *conflicts += 1;
        *conflicts <= MAX_CONFLICTS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_CONFLICTS, Retries};
    use crate::flow::FlowName;

    #[test]
    fn a_delay_is_twice_the_one_before_up_to_a_minute_and_a_half() {
        let mut retries = Retries::default();
        let flow = FlowName::from("orders");
        let delays: Vec<Duration> = std::iter::from_fn(|| retries.next_delay(&flow, 9)).collect();
        assert_eq!(delays.len(), 9);
        assert_eq!(retries.failures(&flow), 9);
        let (first, second) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!(delays[0] >= first && delays[0] < second, "{delays:?}");
        for pair in delays[..7].windows(2) {
            assert_eq!(pair[1], pair[0] * 2, "{delays:?}");
        }
        assert_eq!(delays[6..], [delays[0] * 64; 3]);
    }

    #[test]
    fn flows_rest_for_times_of_their_own_and_not_at_all_without_leave() {
        let mut retries = Retries::default();
        let mut delay = |flow: &str, allowed| retries.next_delay(&FlowName::from(flow), allowed);
        assert_ne!(delay("a", 1), delay("b", 1));
        assert_eq!(delay("c", 0), None);
        assert_eq!(retries.failures(&FlowName::from("c")), 0);
    }

    #[test]
    fn conflicts_are_followed_a_few_times() {
        let mut retries = Retries::default();
        let flow = FlowName::from("orders");
        let followed = (0..20)
            .filter(|_| retries.may_follow_conflict(&flow))
            .count();
        assert_eq!(followed, MAX_CONFLICTS);
        assert!(retries.may_follow_conflict(&FlowName::from("others")));
    }

    #[test]
    fn a_flow_that_is_tried_again_began_when_it_did_for_the_first_time() {
        let mut retries = Retries::default();
        let flow = FlowName::from("orders");
        let began = retries.begin(&flow);
        assert_eq!(retries.begin(&flow), began);
        assert_eq!(retries.start_time(&flow), began);
    }
}
