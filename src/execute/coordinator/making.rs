//! The parts of a flow are made.

use super::Coordinator;
use super::schedule::ReadyTask;
use super::tasks::{TaskKind, TaskResult};
use crate::error::Result;
use crate::execute::executor::Executor;
use crate::execute::part_task::{MadeParts, PartTask};
use crate::flow::FlowName;
use crate::plan::PlannedFlow;
use crate::plan::planned_part::{ExistingPart, PartLocation};
use crate::threads::ThreadPool;

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
                }) => {
                    let published = MadeParts {
                        parts: vec![(part.key, record.clone())],
                        filtered: Some(0),
                    };
                    running.set_made(number, published);
                }
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
        let part = PartTask {
            work: running.work.clone(),
            number,
            flow: described,
            cache: self.planner.context.cache.clone(),
            config: self.planner.context.project.config_path(),
            interrupted: running.interrupted(self.stop.interrupted()).clone(),
        };
        let (threads, executor) = (self.tasks.threads().clone(), self.executor.clone());
        self.tasks
            .spawn(flow, TaskKind::Making(number), async move {
                TaskResult::Made(number, make_part(part, &threads, executor.as_ref()).await)
            });
    }

    /// A part is there.
    pub(super) fn finish_part(&mut self, flow: &FlowName, number: usize, made: MadeParts) {
        let Some(running) = self.running.get_mut(flow) else {
            return;
        };
        for (key, record) in &made.parts {
            self.planner.on_part_made(*key, record.clone());
            // What was at hand has only been made sure of.
            if running.work.parts[number].existing.is_none() {
                self.announcer.part_made(flow, record);
            }
        }
        self.history.record_parts(made.parts.clone());
        running.set_made(number, made);
        self.publish_if_whole(flow);
    }
}

/// Makes sure of a part that is at hand, and makes it where it is not.
async fn make_part(
    part: PartTask,
    threads: &ThreadPool,
    executor: &dyn Executor,
) -> Result<MadeParts> {
    if part.is_at_hand() {
        let planned = part.clone();
        if let Some(made) = threads.run(move || planned.ensure()).await?? {
            return Ok(made);
        }
    }
    executor.submit(part).await
}
