//! The set of a flow is published.

use std::collections::HashSet;

use tokio::runtime::Handle;

use super::Coordinator;
use super::running_flow::RunningFlow;
use super::tasks::{TaskKind, TaskResult};
use crate::error::{Error, Result};
use crate::execute::event::{Outcome, PublishSummary};
use crate::execute::publication::{PublishOutcome, PublishTask};
use crate::flow::{Flow, FlowName};
use crate::publish;
use crate::store::StoreError;
use crate::store::receipt::{Manifest, PublishedSet};

impl Coordinator<'_> {
    /// Publishes a flow whose parts are all there.
    pub(super) async fn start_publication(&mut self, flow: &FlowName) {
        let task = self.prepare_publication(flow).await;
        self.tasks
            .spawn_thread(flow, TaskKind::Publishing, move || {
                TaskResult::Published(task.and_then(PublishTask::publish))
            });
    }

    /// What publishes a flow, if nobody came by since it was planned.
    async fn prepare_publication(&mut self, flow: &FlowName) -> Result<PublishTask> {
        let locker = self.store_locker(flow)?;
        let running = self
            .running
            .get_mut(flow)
            .ok_or_else(|| Error::internal("the flow is not running"))?;
        let session_close = running.session_close.take();
        let made = running.made.iter().flatten();
        let made: Vec<_> = made.map(|made| made.parts.clone()).collect();
        let target = locker.flow.store.output_spec();
        let (work, made) = running.work.with_made_parts(&made, &target);
        let receipt = running.receipt.clone();
        let accept_shrink = locker.access.accept_shrink;
        let next = publish::assemble(&locker.flow, &work, &made, receipt.as_ref(), accept_shrink)?;
        self.planner.refresh(std::slice::from_ref(flow)).await?;
        let state = self.planner.flows.store(flow)?;
        let takes_over = receipt.is_none() && locker.flow.store.adopts();
        if !state.added.is_empty() && !takes_over {
            let names = state.added.iter().take(3).cloned().collect();
            let store = self.planner.context.project.store_id(&locker.flow);
            let path = store.index_key().into_owned();
            return Err(StoreError::Added { path, names }.into());
        }
        Ok(PublishTask {
            locker,
            project: self.planner.context.project.config.name.clone(),
            receipt,
            next,
            altered: state.altered.clone(),
            session_close,
            wait_notices: self.announcer.wait_sender(flow),
            runtime: Handle::current(),
        })
    }

    /// A set is published: its flow has ended.
    pub(super) fn finish_publication(
        &mut self,
        flow: &FlowName,
        PublishOutcome { receipt, notes }: PublishOutcome,
    ) -> Result<()> {
        self.announcer.notes(flow, notes);
        let described = self.planner.context.flow(flow)?;
        let published = receipt.published.clone();
        if let Err(error) = self.planner.on_published(flow, receipt) {
            self.fail(flow, error);
            return Ok(());
        }
        let Some(running) = self.running.remove(flow) else {
            return Ok(());
        };
        self.record_changes();
        let summary = self.summarize(&described, &running, published.as_ref())?;
        // What was put back is in the history already.
        let is_new = |published: &PublishedSet| published.pinned.is_none();
        if let Some(published) = published.filter(is_new)
            && !self.planner.context.request.is_restored(flow)
        {
            let store = self.planner.context.project.store_id(&described);
            self.history.record_set(store, published);
        }
        self.planner.forget_table(flow);
        drop(running.lock);
        let outcome = if summary.made == 0 {
            Outcome::Restored(summary)
        } else {
            Outcome::Built(summary)
        };
        self.end_flow(flow, outcome, running.started);
        Ok(())
    }

    fn summarize(
        &self,
        flow: &Flow,
        running: &RunningFlow,
        published: Option<&PublishedSet>,
    ) -> Result<PublishSummary> {
        let empty = Manifest::default();
        let manifest = published.map_or(&empty, |published| &published.manifest);
        let there: HashSet<_> = manifest.parts.iter().map(|part| part.key).collect();
        let at_hand = running.work.parts.iter();
        let at_hand = at_hand.filter(|part| part.existing.is_some() && there.contains(&part.key));
        let at_hand = at_hand.count();
        let made = manifest.parts.len().saturating_sub(at_hand);
        let before = running.receipt.as_ref();
        let had_none = before.is_none_or(|receipt| receipt.published.is_none());
        let store = self.planner.context.project.open_store(flow)?;
        Ok(PublishSummary {
            made,
            kept: manifest.parts.len() - made,
            rows: manifest.rows(),
            rows_filtered: running.filtered_rows(flow, manifest),
            bytes: manifest.bytes(),
            store: store.display_name().into(),
            is_first: had_none && !self.planner.context.request.is_restored(&flow.name),
        })
    }
}
