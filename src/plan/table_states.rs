//! What tables answered in this run, and by what they are read.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::planned_part::PlannedPart;
use crate::error::Result;
use crate::flow::FlowName;
use crate::home::{ReadSession, TableState};

/// What is known of a table.
#[derive(Clone, Debug)]
pub struct ProbedTable {
    /// What it answered.
    pub table_state: Arc<TableState>,
    /// True where that was in the reading from which its parts are made.
    pub is_from_session: bool,
    /// Published parts that stay: what was asked for is besides.
    pub retained: Arc<[PlannedPart]>,
}

/// What is known of the tables of flows.
#[derive(Debug, Default)]
pub(super) struct TableStates {
    tables: HashMap<FlowName, Result<ProbedTable>>,
    /// What they are being read by.
    sessions: HashMap<FlowName, Arc<dyn ReadSession>>,
}

impl TableStates {
    /// True where no table was asked.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// What a flow's table answered; `None` where it was not asked.
    pub(super) fn get(&self, name: &FlowName) -> Option<&Result<ProbedTable>> {
        self.tables.get(name)
    }

    /// Remembers what tables answered.
    pub(super) fn extend(&mut self, answers: Vec<(FlowName, Result<ProbedTable>)>) {
        self.tables.extend(answers);
    }

    /// What reads a flow's table.
    pub(super) fn session(&self, name: &FlowName) -> Option<&Arc<dyn ReadSession>> {
        self.sessions.get(name)
    }

    /// True where the table's state is that of the session from which parts are made.
    pub(super) fn is_from_session(&self, name: &FlowName) -> bool {
        matches!(self.tables.get(name), Some(Ok(table)) if table.is_from_session)
    }

    /// What a table holds is known from the session that reads it.
    pub(super) fn open(
        &mut self,
        name: &FlowName,
        session: Arc<dyn ReadSession>,
        retained: Arc<[PlannedPart]>,
    ) {
        let table = ProbedTable {
            table_state: session.table_state().clone(),
            is_from_session: true,
            retained,
        };
        self.tables.insert(name.clone(), Ok(table));
        self.sessions.insert(name.clone(), session);
    }

    /// All that is needed of a table was read: its sessions are free for others.
    pub(super) fn close_session(&mut self, name: &FlowName) -> Option<JoinHandle<()>> {
        let session = self.sessions.remove(name)?;
        Some(tokio::spawn(async move { session.close().await }))
    }

    /// What a table holds may be something else by now.
    pub(super) fn forget(&mut self, name: &FlowName) {
        self.close_session(name);
        self.tables.remove(name);
    }
}
