//! Planning: what must be done, with reasons, before anything is done.

pub mod append;
mod backfill;
pub mod chain_place;
pub mod check;
mod compare;
mod context;
mod drift;
mod existing_parts;
pub mod file_work;
pub mod flow_states;
mod folder_choice;
mod folder_values;
mod hash_progress;
mod home_columns;
mod home_files;
pub mod index_cache;
mod inferred_types;
mod input_checks;
mod judge;
mod layout_cache;
pub mod lost_entities;
pub mod orphans;
mod output_columns;
mod part_chains;
pub mod part_numbers;
pub mod planned_part;
mod planner;
mod prepare;
pub mod probe;
pub mod project;
pub mod queries;
mod rebuildable;
pub mod recorded_schema;
mod request;
mod schema_changes;
pub mod slice;
pub mod snapshot;
pub mod stale;
mod store_owners;
pub mod table;
mod table_columns;
pub mod table_states;
pub mod table_work;
mod united_columns;
mod upstream;
mod view;
pub mod work;

use std::sync::Arc;

use crate::flow::FlowName;

use stale::Verdict;
use work::FlowWork;

pub use context::PlanContext;
pub use hash_progress::HashProgress;
pub use orphans::Orphan;
pub use planner::Planner;
pub use request::{PlanRequest, RestoreTarget};

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

impl Plan {
    /// True where there is nothing to do.
    pub fn is_fresh(&self) -> bool {
        self.flows.iter().all(|step| step.verdict == Verdict::Fresh)
    }
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
        work.table()
            .into_iter()
            .flat_map(|table| &table.remarks)
            .chain(&work.remarks)
            .chain(&work.warnings)
            .cloned()
            .collect()
    }
}
