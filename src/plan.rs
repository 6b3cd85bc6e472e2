//! Planning: what must be done, with reasons, before anything is done.

pub mod append;
mod backfill;
pub mod check;
mod hash_progress;
pub mod index_cache;
mod input_checks;
mod judge;
pub mod lost_entities;
pub mod orphans;
mod planner;
mod prepare;
pub mod probe;
pub mod project;
pub mod queries;
mod rebuildable;
mod schema_changes;
pub mod slice;
pub mod snapshot;
pub mod stale;
mod store_owners;
pub mod table;
mod table_columns;
pub mod table_states;
pub mod table_work;
mod upstream;
pub mod work;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cache::history::PastSet;
use crate::flow::FlowName;
use crate::graph::selection::SelectedFlows;
use crate::home::SliceRange;

use stale::Verdict;
use work::FlowWork;

pub use hash_progress::HashProgress;
pub use orphans::Orphan;
pub use planner::Planner;

/// What a run is about.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The flows.
    pub selected: SelectedFlows,
    /// Make the named ones whatever is recorded.
    pub force: bool,
    /// Slices of the named ones that shall be read again.
    pub slices: Option<SliceRange>,
    /// Publish sets from which more rows vanish than their flows allow.
    pub accept_shrink: bool,
    /// An earlier set of one flow that shall be put back.
    pub restore: Option<RestoreTarget>,
    /// Cancelled when the run shall end.
    pub interrupted: CancellationToken,
    /// Is told how far files are read.
    pub hash_progress: Arc<HashProgress>,
}

impl PlanRequest {
    /// Of these flows, and nothing besides.
    pub fn new(
        selected: SelectedFlows,
        interrupted: CancellationToken,
        hashing: Arc<HashProgress>,
    ) -> Self {
        Self {
            selected,
            force: false,
            slices: None,
            accept_shrink: false,
            restore: None,
            interrupted,
            hash_progress: hashing,
        }
    }
}

/// An earlier set that shall be published again.
#[derive(Clone, Debug)]
pub struct RestoreTarget {
    /// The flow.
    pub flow: FlowName,
    /// The set, where it is not the one that the receipt says is the latest.
    pub set: Option<PastSet>,
    /// True where it stays, whatever the home holds.
    pub pinned: bool,
}

/// The steps of a run in order.
#[derive(Debug)]
pub struct Plan {
    /// One step for each selected flow, each behind those that it needs.
    pub flows: Vec<PlannedFlow>,
    /// Stores that no flow owns any more.
    pub orphans: Vec<Orphan>,
    /// Flows that stay at an earlier set, with the run that made it.
    pub pinned: Vec<(FlowName, i64)>,
    /// True where databases were asked for it.
    pub has_probed_tables: bool,
}

/// One flow of a plan.
#[derive(Clone, Debug)]
pub struct PlannedFlow {
    /// The flow.
    pub flow: FlowName,
    /// Whether it must run.
    pub verdict: Verdict,
    /// What is to be done, where that is known.
    pub work: Option<Arc<FlowWork>>,
}

impl PlannedFlow {
    /// What its reader should know of its tables, in words.
    pub fn remarks(&self) -> Vec<String> {
        let Some(work) = &self.work else {
            return Vec::new();
        };
        work.table
            .iter()
            .flat_map(|table| &table.remarks)
            .chain(&work.remarks)
            .cloned()
            .collect()
    }
}
