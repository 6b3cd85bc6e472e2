//! The parts of a flow are made.

use tokio::runtime::Handle;

use super::Coordinator;
use super::running_flow::MadeParts;
use super::schedule::ReadyTask;
use super::tasks::{TaskKind, TaskResult};
use crate::error::Result;
use crate::execute::partition::PartitionTask;
use crate::execute::task;
use crate::flow::FlowName;
use crate::plan::PlannedFlow;
use crate::plan::work::{ExistingPart, PartLocation};

/// How many batches wait between a database and its encoder where nothing is said.
const DEFAULT_QUEUE_SIZE: usize = 10;

impl Coordinator<'_> {
    /// Its parts begin, those that it was planned with or those of another judgement.
    pub(super) fn begin_parts(
        &mut self,
        flow: &FlowName,
        judged: Option<PlannedFlow>,
    ) -> Result<()> {
        if let Some(judged) = judged {
            let Some(work) = judged.work.clone() else {
                // Another process built it meanwhile, or made it impossible.
                self.running.remove(flow);
                self.schedule.push_flow(judged);
                return Ok(());
            };
            if let Some(running) = self.running.get_mut(flow) {
                running.replan(judged, work);
            }
        }
        self.planner.on_recovered(flow)?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        let work = running.work.clone();
        self.announcer
            .started(flow, &work, running.planned.verdict.reasons());
        for (number, part) in work.parts.iter().enumerate() {
            match &part.existing {
                Some(ExistingPart {
                    record,
                    location: PartLocation::InStore,
                }) => running.set_made(number, vec![(part.key, *record)]),
                _ => self
                    .schedule
                    .push(ReadyTask::MakePart(flow.clone(), number)),
            }
        }
        self.publish_if_whole(flow);
        Ok(())
    }

    /// A flow whose parts are all there reads nothing more, and is published if it has not failed.
    fn publish_if_whole(&mut self, flow: &FlowName) {
        let Some(running) = self.running.get_mut(flow) else {
            return;
        };
        if running.missing_parts > 0 {
            return;
        }
        running.session_close = self.planner.close_session(flow);
        if running.error.is_none() {
            self.schedule.push(ReadyTask::Publish(flow.clone()));
        }
    }

    /// Has a part made, or made sure of.
    pub(super) fn start_part(&mut self, flow: &FlowName, number: usize) {
        let (Some(running), Ok(described)) =
            (self.running.get_mut(flow), self.planner.context.flow(flow))
        else {
            return;
        };
        running.begin_part();
        let work = running.work.clone();
        let cache = self.planner.context.cache.clone();
        let interrupted = running.interrupted(self.stop.interrupted()).clone();
        let format = self.planner.context.project.input_format(&described);
        let runtime = Handle::current();
        let make = move || {
            let (target, part) = (described.store.output_spec(), &work.parts[number]);
            if let (Some(partition), Some(table)) = (part.partition, &work.table) {
                let queue_size = described.queue_size.map(usize::try_from);
                let task = PartitionTask {
                    table,
                    partition,
                    target,
                    queue_size: queue_size
                        .and_then(Result::ok)
                        .unwrap_or(DEFAULT_QUEUE_SIZE),
                    cache: &cache,
                    interrupted: &interrupted,
                    runtime: &runtime,
                };
                return task.make_parts();
            }
            let made = task::make_part(&work, part, format.as_ref(), &target, &cache, &interrupted);
            made.map(|record| vec![(part.key, record)])
        };
        self.tasks
            .spawn_thread(flow, TaskKind::Making(number), move || {
                TaskResult::Made(number, make())
            });
    }

    /// A part is there.
    pub(super) fn finish_part(&mut self, flow: &FlowName, number: usize, made: MadeParts) {
        let Some(running) = self.running.get_mut(flow) else {
            return;
        };
        for (key, record) in &made {
            self.planner.on_part_made(*key, *record);
            // What was at hand has only been made sure of.
            if running.work.parts[number].existing.is_none() {
                self.announcer.part_made(flow, record);
            }
        }
        self.history.record_parts(made.clone());
        running.set_made(number, made);
        self.publish_if_whole(flow);
    }
}
