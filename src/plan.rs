//! Planning: what must be done, with reasons, before anything is done.

pub mod check;
pub mod db;
mod judge;
pub mod look;
pub mod memory;
mod planner;
pub mod probe;
pub mod project;
pub mod slice;
pub mod stale;
pub mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::flow::FlowName;
use crate::graph::selection::Selected;

use stale::Verdict;
use work::Work;

pub use planner::Planner;

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Request {
    /// The flows.
    pub selected: Selected,
    /// Make the named ones whatever is recorded.
    pub force: bool,
    /// Set when the run shall end.
    pub interrupted: Arc<AtomicBool>,
}

/// The steps of a run in order.
#[derive(Debug)]
pub struct Plan {
    /// One step for each selected flow, each behind those that it needs.
    pub steps: Vec<Step>,
    /// Stores that no flow owns any more.
    pub orphans: Vec<Orphan>,
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

/// A store with a receipt of this project that no flow of its config owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The store.
    pub store: PathBuf,
    /// The flow that made it.
    pub flow: String,
}
