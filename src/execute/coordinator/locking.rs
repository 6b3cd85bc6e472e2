//! A flow's store is locked, and its table opened: from then on it is known what is to be done.

use super::Coordinator;
use super::schedule::ReadyTask;
use super::tasks::{TaskKind, TaskResult};
use crate::error::{Error, ErrorKind, Result};
use crate::execute::lock_store::{LockedStore, StoreLocker};
use crate::flow::FlowName;
use crate::fs;

impl Coordinator<'_> {
    /// Has a flow's store locked and recovered.
    pub(super) fn lock_store(&mut self, flow: &FlowName) -> Result<()> {
        // A store that cannot be is an error of its flow, not of the run.
        let locker = self.store_locker(flow);
        let project = &self.planner.context.project.config.name;
        let holder = fs::lock_holder_text(&format!("flow {flow} of {project}"));
        let waiting = self.announcer.wait_sender(flow);
        self.tasks.spawn_thread(flow, TaskKind::Locking, move || {
            TaskResult::Locked(locker.and_then(|store| store.lock_and_recover(&holder, &waiting)))
        });
        Ok(())
    }

    pub(super) fn store_locker(&self, flow: &FlowName) -> Result<StoreLocker> {
        let flow = self.planner.context.flow(flow)?;
        Ok(StoreLocker {
            store: self.planner.context.project.open_store(&flow)?,
            flow,
            access: self.stores.clone(),
        })
    }

    /// The store is taken: if it is not what was planned with, the flow is judged again.
    pub(super) async fn on_store_locked(
        &mut self,
        flow: &FlowName,
        locked: LockedStore,
    ) -> Result<()> {
        // Parts that were being published are in staging again.
        let has_recovered = locked.notes.recovery.is_some();
        self.announcer.notes(flow, locked.notes);
        let described = self.planner.context.flow(flow)?;
        let store = self.planner.context.project.store_id(&described);
        self.history
            .record_killed_set(store, locked.receipt.as_ref())
            .await?;
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.lock = Some(locked.lock);
        running.receipt = locked.receipt;
        self.planner.on_locked(flow);
        let must_judge = has_recovered
            || running.work.is_recovery_only
            || running.work.receipt_version != locked.receipt_version;
        if !self.planner.must_open(flow) {
            return self.begin_locked_flow(flow, must_judge).await;
        }
        if must_judge {
            // Once its home is open, there may be no session left to ask its store by.
            match self.planner.refresh_store(flow).await {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.stop.stop();
                    return Ok(());
                }
                probed => probed?,
            }
        }
        self.schedule.push(ReadyTask::OpenTable(flow.clone()));
        Ok(())
    }

    /// Its store is locked: the flow is judged anew if it must be, and its parts begin.
    async fn begin_locked_flow(&mut self, flow: &FlowName, must_judge: bool) -> Result<()> {
        if !must_judge {
            return self.begin_parts(flow, None);
        }
        match self.rejudge(flow).await? {
            Some(judged) => self.begin_parts(flow, Some(judged)),
            None => Ok(()),
        }
    }

    /// Opens the table of a flow: what is read of it is of one moment from now on.
    pub(super) async fn open_table(&mut self, flow: &FlowName) -> Result<()> {
        let described = self.planner.context.flow(flow)?;
        let (before, retained) = self.planner.previous_read(flow).await?;
        let databases = self.planner.context.databases.clone();
        let Some(running) = self.running.get_mut(flow) else {
            return Ok(());
        };
        running.begin_part();
        let interrupted = running.interrupted(self.stop.interrupted()).clone();
        self.tasks.spawn(flow, TaskKind::Opening, async move {
            let Some(table) = described.home.as_rows() else {
                return TaskResult::Opened(Err(Error::internal("it has no table")));
            };
            tokio::select! {
                opened = table.open_session(&databases, &before) => {
                    TaskResult::Opened(opened.map(|session| (session, retained)))
                }
                () = interrupted.cancelled() => TaskResult::Opened(Err(Error::interrupted())),
            }
        });
        Ok(())
    }

    /// Its table is open: only now it is known what is to be done.
    pub(super) async fn on_table_opened(&mut self, flow: &FlowName) -> Result<()> {
        // What needs connections was asked before: there may be none left for that.
        let capabilities = self.planner.context.flow(flow)?.store.capabilities();
        let judged = if capabilities.uses_connections {
            Some(self.planner.judge(flow, &[]).await?)
        } else {
            self.rejudge(flow).await?
        };
        judged.map_or(Ok(()), |judged| self.begin_parts(flow, Some(judged)))
    }
}
