//! Planning: what must be done, with reasons, before anything is done.

mod again;
pub mod append;
mod backfill;
mod beside;
pub mod check;
mod columns;
pub mod db;
mod hashing;
mod judge;
pub mod look;
pub mod lost;
pub mod memory;
pub mod orphans;
mod planner;
mod prepare;
pub mod probe;
pub mod project;
mod schema;
pub mod slice;
pub mod stale;
pub mod table;
pub mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cache::history::PastSet;
use crate::flow::FlowName;
use crate::graph::selection::Selected;
use crate::home::SliceRange;

use stale::Verdict;
use work::Work;

pub use hashing::Hashing;
pub use orphans::Orphan;
pub use planner::Planner;

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Request {
    /// The flows.
    pub selected: Selected,
    /// Make the named ones whatever is recorded.
    pub force: bool,
    /// Slices of the named ones that shall be read again.
    pub slices: Option<SliceRange>,
    /// Publish sets from which more rows vanish than their flows allow.
    pub accept_shrink: bool,
    /// An earlier set of one flow that shall be put back.
    pub put_back: Option<PutBack>,
    /// Set when the run shall end.
    pub interrupted: Arc<AtomicBool>,
    /// Is told how far files are read.
    pub hashing: Arc<Hashing>,
}

impl Request {
    /// Of these flows, and nothing besides.
    pub fn new(selected: Selected, interrupted: Arc<AtomicBool>, hashing: Arc<Hashing>) -> Self {
        Self {
            selected,
            force: false,
            slices: None,
            accept_shrink: false,
            put_back: None,
            interrupted,
            hashing,
        }
    }
}

/// An earlier set that shall be published again.
#[derive(Clone, Debug)]
pub struct PutBack {
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
    pub steps: Vec<Step>,
    /// Stores that no flow owns any more.
    pub orphans: Vec<Orphan>,
    /// Flows that stay at an earlier set, with the run that made it.
    pub pinned: Vec<(FlowName, i64)>,
    /// True where databases were asked for it.
    pub asked_tables: bool,
}

/// One flow of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// The flow.
    pub flow: FlowName,
    /// Whether it must run.
    pub verdict: Verdict,
    /// What is to be done, where that is known.
    pub work: Option<Arc<Work>>,
}

impl Step {
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
