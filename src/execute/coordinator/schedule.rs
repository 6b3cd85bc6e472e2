//! The schedule of a run: which flows wait for others, and what may be started next.
//!
//! It does not know how anything is done, nor how it ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tasks::TaskCounts;
use crate::flow::FlowName;
use crate::plan::PlannedFlow;

/// How many stores are taken at once. They may all wait for other processes: the threads that make
/// parts, which those may wait for in turn, are never among them.
const MAX_LOCKING_STORES: usize = 16;

/// How many sets are published at once: they mostly wait for the disk, and share its syncs.
const MAX_PUBLISHING: usize = 32;

/// What is ready to be started for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadyTask {
    /// Its store is to be locked.
    LockStore(FlowName),
    /// Its part of this number is to be made.
    MakePart(FlowName, usize),
    /// Its table is to be opened.
    OpenTable(FlowName),
    /// Its set is to be published.
    Publish(FlowName),
}

/// All that has not been started.
pub(super) struct Schedule {
    /// How many parts are made at once.
    jobs: usize,
    /// Flows that wait for upstreams, with those that have not ended.
    waiting: BTreeMap<FlowName, (PlannedFlow, BTreeSet<FlowName>)>,
    flows: VecDeque<PlannedFlow>,
    stores: VecDeque<FlowName>,
    parts: VecDeque<(FlowName, usize)>,
    tables: VecDeque<FlowName>,
    publications: VecDeque<FlowName>,
}

impl Schedule {
    /// An empty one, by which no more than so many parts are made at once.
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            jobs,
            waiting: BTreeMap::new(),
            flows: VecDeque::new(),
            stores: VecDeque::new(),
            parts: VecDeque::new(),
            tables: VecDeque::new(),
            publications: VecDeque::new(),
        }
    }

    /// Takes a flow in that begins when these upstreams have ended.
    pub(super) fn add_flow(&mut self, flow: PlannedFlow, upstreams: BTreeSet<FlowName>) {
        if upstreams.is_empty() {
            self.flows.push_back(flow);
        } else {
            self.waiting.insert(flow.flow.clone(), (flow, upstreams));
        }
    }

    /// A flow may begin.
    pub(super) fn push_flow(&mut self, flow: PlannedFlow) {
        self.flows.push_back(flow);
    }

    /// The next flow that begins.
    pub(super) fn next_flow(&mut self) -> Option<PlannedFlow> {
        self.flows.pop_front()
    }

    /// True where a flow may begin.
    pub(super) fn has_flow(&self) -> bool {
        !self.flows.is_empty()
    }

    /// An upstream has ended. A flow that waited for it begins when that was the last; true where
    /// it never will, because the upstream did not end well.
    pub(super) fn end_upstream(
        &mut self,
        flow: &FlowName,
        upstream: &FlowName,
        has_ended_well: bool,
    ) -> bool {
        let Some((_, upstreams)) = self.waiting.get_mut(flow) else {
            return false;
        };
        upstreams.remove(upstream);
        if has_ended_well && !upstreams.is_empty() {
            return false;
        }
        if let Some((ready, _)) = self.waiting.remove(flow)
            && has_ended_well
        {
            self.flows.push_back(ready);
        }
        !has_ended_well
    }

    /// Lets go of the flows that still wait for upstreams.
    pub(super) fn take_waiting(&mut self) -> Vec<FlowName> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// Something can be started as soon as the limits allow it.
    pub(super) fn push(&mut self, ready: ReadyTask) {
        match ready {
            ReadyTask::LockStore(flow) => self.stores.push_back(flow),
            ReadyTask::MakePart(flow, number) => self.parts.push_back((flow, number)),
            ReadyTask::OpenTable(flow) => self.tables.push_back(flow),
            ReadyTask::Publish(flow) => self.publications.push_back(flow),
        }
    }

    /// What may be started next beside the tasks that there are.
    pub(super) fn next(&mut self, tasks: &TaskCounts) -> Option<ReadyTask> {
        if tasks.locking < MAX_LOCKING_STORES
            && let Some(flow) = self.stores.pop_front()
        {
            return Some(ReadyTask::LockStore(flow));
        }
        if tasks.making < self.jobs
            && let Some((flow, number)) = self.parts.pop_front()
        {
            return Some(ReadyTask::MakePart(flow, number));
        }
        // A table that is open keeps a transaction, which a server may end where nothing is asked
        // in it: none is opened before somebody is there who reads it.
        if tasks.making + tasks.opening < self.jobs
            && self.parts.is_empty()
            && let Some(flow) = self.tables.pop_front()
        {
            return Some(ReadyTask::OpenTable(flow));
        }
        if tasks.publishing < MAX_PUBLISHING {
            return self.publications.pop_front().map(ReadyTask::Publish);
        }
        None
    }

    /// Nothing more is read for a flow.
    pub(super) fn drop_reading(&mut self, flow: &FlowName) {
        self.parts.retain(|(other, _)| other != flow);
        self.tables.retain(|other| other != flow);
    }

    /// Lets go of all that could be started for flows that have begun.
    pub(super) fn drop_ready(&mut self) {
        self.stores.clear();
        self.parts.clear();
        self.tables.clear();
        self.publications.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MAX_LOCKING_STORES, MAX_PUBLISHING, ReadyTask, Schedule};
    use crate::execute::coordinator::tasks::TaskCounts;
    use crate::flow::FlowName;
    use crate::plan::PlannedFlow;
    use crate::plan::stale::Verdict;

    fn name(flow: &str) -> FlowName {
        FlowName::from(flow)
    }

    fn planned(flow: &str) -> PlannedFlow {
        PlannedFlow {
            flow: name(flow),
            verdict: Verdict::Fresh,
            work: None,
        }
    }

    fn upstreams(flows: &[&str]) -> BTreeSet<FlowName> {
        flows.iter().copied().map(name).collect()
    }

    fn next_flow(schedule: &mut Schedule) -> Option<String> {
        schedule.next_flow().map(|flow| flow.flow.to_string())
    }

    #[test]
    fn a_flow_begins_when_the_last_of_its_upstreams_has_ended_well() {
        let mut schedule = Schedule::new(1);
        schedule.add_flow(planned("a"), upstreams(&[]));
        schedule.add_flow(planned("c"), upstreams(&["a", "b"]));
        assert_eq!(next_flow(&mut schedule).as_deref(), Some("a"));
        assert!(!schedule.end_upstream(&name("c"), &name("a"), true));
        assert!(!schedule.has_flow());
        assert!(!schedule.end_upstream(&name("c"), &name("b"), true));
        assert_eq!(next_flow(&mut schedule).as_deref(), Some("c"));
        assert_eq!(schedule.take_waiting(), []);
    }

    #[test]
    fn a_flow_never_begins_when_one_of_its_upstreams_has_not_ended_well() {
        let mut schedule = Schedule::new(1);
        schedule.add_flow(planned("c"), upstreams(&["a", "b"]));
        assert!(schedule.end_upstream(&name("c"), &name("b"), false));
        assert!(
            !schedule.end_upstream(&name("c"), &name("a"), false),
            "it is said once"
        );
        assert!(!schedule.has_flow());
    }

    #[test]
    fn stores_come_first_and_each_kind_has_its_limit() {
        let mut schedule = Schedule::new(2);
        let none = TaskCounts::default();
        for ready in [
            ReadyTask::Publish(name("a")),
            ReadyTask::OpenTable(name("b")),
            ReadyTask::MakePart(name("c"), 7),
            ReadyTask::LockStore(name("d")),
        ] {
            schedule.push(ready);
        }
        let full = TaskCounts {
            locking: MAX_LOCKING_STORES,
            making: 2,
            opening: 0,
            publishing: MAX_PUBLISHING,
        };
        assert_eq!(schedule.next(&full), None);
        assert_eq!(schedule.next(&none), Some(ReadyTask::LockStore(name("d"))));
        assert_eq!(
            schedule.next(&TaskCounts { making: 1, ..none }),
            Some(ReadyTask::MakePart(name("c"), 7))
        );
        // Who opens a table is to read it at once.
        let busy = TaskCounts {
            making: 1,
            opening: 1,
            ..full
        };
        assert_eq!(schedule.next(&busy), None);
        assert_eq!(
            schedule.next(&TaskCounts { making: 1, ..none }),
            Some(ReadyTask::OpenTable(name("b")))
        );
        assert_eq!(schedule.next(&none), Some(ReadyTask::Publish(name("a"))));
        assert_eq!(schedule.next(&none), None);
    }

    #[test]
    fn no_table_is_opened_while_parts_wait() {
        let mut schedule = Schedule::new(1);
        schedule.push(ReadyTask::OpenTable(name("a")));
        schedule.push(ReadyTask::MakePart(name("b"), 0));
        let making = TaskCounts {
            making: 1,
            ..TaskCounts::default()
        };
        assert_eq!(schedule.next(&making), None);
        schedule.drop_reading(&name("b"));
        assert_eq!(
            schedule.next(&TaskCounts::default()),
            Some(ReadyTask::OpenTable(name("a")))
        );
    }

    #[test]
    fn what_is_let_go_of_is_not_started() {
        let mut schedule = Schedule::new(1);
        schedule.push(ReadyTask::LockStore(name("a")));
        schedule.push(ReadyTask::MakePart(name("b"), 0));
        schedule.push(ReadyTask::Publish(name("c")));
        schedule.drop_ready();
        assert_eq!(schedule.next(&TaskCounts::default()), None);
    }
}
