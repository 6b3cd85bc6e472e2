//! A flow ends, or is tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Coordinator;
use super::run_history::FlowEnd;
use super::running_flow::RunningFlow;
use super::tasks::{TaskKind, TaskResult};
use crate::error::{Error, ErrorKind, Retry};
use crate::execute::event::Outcome;
use crate::flow::FlowName;
use crate::plan::PlannedFlow;
use crate::plan::stale::Verdict;

impl Coordinator<'_> {
    /// A flow has failed; it ends when its last task has come back.
    pub(super) fn fail(&mut self, flow: &FlowName, error: Error) {
        self.schedule.drop_reading(flow);
        if let Some(running) = self.running.get_mut(flow) {
            running.error.get_or_insert(error);
        }
    }

    /// Fails the flows that take too long.
    pub(super) fn check_timeouts(&mut self) {
        let late =
            |(flow, running): (&FlowName, &RunningFlow)| Some((flow.clone(), running.expire()?));
        let late: Vec<(FlowName, Duration)> = self.running.iter().filter_map(late).collect();
        for (flow, limit) in late {
            let error = Error::new(
                ErrorKind::Flow,
                format!("it took longer than its timeout of {limit:?}: nothing was published"),
            );
            let error = error.with_hint(
                "the next build goes on with the parts that are finished; \
                 timeout of the flow allows more",
            );
            self.fail(&flow, error);
            self.end_failed(&flow);
        }
    }

    /// Ends a flow that has failed and of which nothing is in work any more, or has it tried again.
    pub(super) fn end_failed(&mut self, flow: &FlowName) {
        if !self.running.get(flow).is_some_and(|flow| flow.is_over()) {
            return;
        }
        let Some(mut running) = self.running.remove(flow) else {
            return;
        };
        let Some(error) = running.error.take() else {
            return;
        };
        self.planner.on_unlocked(flow);
        self.planner.forget_table(flow);
        if self.retry_later(flow, &running.planned, &error) {
            return;
        }
        if error.retry() == Retry::LookAtAll && self.planner.look_at_all(flow) {
            self.announcer.looking_at_all(flow, &error);
            return self.requeue(&running.planned);
        }
        if self.should_retry_conflict(flow, &error) {
            return self.requeue(&running.planned);
        }
        let outcome = if self.stop.is_interrupted() {
            self.stop.outcome()
        } else {
            Outcome::Failed(error)
        };
        self.end_flow(flow, outcome, running.started);
    }

    /// True for the first few times that another flow got in the way: it has made a part of the
    /// same bytes and taken it when it should be published; its store is the home, and another
    /// process has published to it; or another checkout has published to the same table.
    fn should_retry_conflict(&mut self, flow: &FlowName, error: &Error) -> bool {
        let reads_a_store = self
            .planner
            .context
            .flow(flow)
            .is_ok_and(|flow| flow.upstream().is_some());
        let is_lost =
            error.retry() == Retry::Replan || (reads_a_store && error.retry() == Retry::Reread);
        is_lost && self.retries.may_follow_conflict(flow)
    }

    /// Lets a flow rest whose database failed with a transient error, and then begin again.
    fn retry_later(&mut self, flow: &FlowName, planned: &PlannedFlow, error: &Error) -> bool {
        if self.stop.is_stopping() || !error.is_transient() {
            return false;
        }
        let described = self.planner.context.flow(flow).ok();
        let allowed = described.as_ref().map_or(0, |flow| flow.retries);
        let Some(delay) = self.retries.next_delay(flow, allowed) else {
            return false;
        };
        self.planner.context.databases.close_idle();
        if let Some(described) = described {
            described.store.close_idle();
        }
        self.announcer.retrying(flow, error, delay);
        let (planned, interrupted) = (planned.clone(), self.stop.interrupted().clone());
        self.tasks.spawn(flow, TaskKind::Delaying, async move {
            drop(tokio::time::timeout(delay, interrupted.cancelled()).await);
            TaskResult::DelayOver(planned)
        });
        true
    }

    /// A flow has rested.
    pub(super) fn resume_after_delay(&mut self, planned: &PlannedFlow) {
        if self.stop.is_stopping() || self.stop.is_interrupted() {
            let began = self.retries.start_time(&planned.flow);
            return self.end_flow(&planned.flow, self.stop.outcome(), began);
        }
        self.requeue(planned);
    }

    /// Judges a flow anew, and lets it begin again.
    fn requeue(&mut self, planned: &PlannedFlow) {
        let verdict = Verdict::Maybe {
            upstreams: Vec::new(),
            reasons: planned.verdict.reasons().to_vec(),
        };
        self.schedule.push_flow(PlannedFlow {
            flow: planned.flow.clone(),
            verdict,
            work: None,
        });
    }

    /// Ends a flow: those that waited for it begin, or are skipped.
    pub(super) fn end_flow(&mut self, flow: &FlowName, outcome: Outcome, began: Instant) {
        let mut ended = VecDeque::from([(flow.clone(), outcome, began)]);
        while let Some((flow, outcome, began)) = ended.pop_front() {
            let is_good = matches!(
                outcome,
                Outcome::Fresh | Outcome::Built(_) | Outcome::Restored(_)
            );
            if let Outcome::Failed(_) = outcome {
                let described = self.planner.context.project.graph.flow(flow.as_str());
                self.stop
                    .on_failure(described.and_then(|flow| flow.continue_on_error));
            }
            self.report_end(&flow, outcome, began.elapsed());
            for dependent in self
                .planner
                .context
                .project
                .graph
                .downstreams(flow.as_str())
            {
                if self.schedule.end_upstream(&dependent, &flow, is_good) {
                    let because = format!("its upstream {flow} did not end well");
                    ended.push_back((dependent, Outcome::Skipped { because }, Instant::now()));
                }
            }
        }
    }

    /// Counts how a flow ended, writes it down, and tells it.
    fn report_end(&mut self, flow: &FlowName, outcome: Outcome, elapsed: Duration) {
        let retries = self.retries.failures(flow);
        let (number, reasons) = self.announcer.count(flow, &outcome);
        self.history.record_end(&FlowEnd {
            flow,
            outcome: &outcome,
            reasons: &reasons,
            elapsed,
            retries,
            number,
        });
        self.announcer.ended(flow, outcome, elapsed, retries);
    }

    /// Lets go of what has not begun to work; what is being published is finished.
    pub(super) fn drop_idle_flows(&mut self) {
        self.schedule.drop_ready();
        let is_idle = |flow: &&FlowName| !self.tasks.has_task_for(flow);
        let idle: Vec<FlowName> = self.running.keys().filter(is_idle).cloned().collect();
        for flow in idle {
            self.running.remove(&flow);
            let began = self.retries.start_time(&flow);
            self.end_flow(&flow, self.stop.outcome(), began);
        }
    }
}
