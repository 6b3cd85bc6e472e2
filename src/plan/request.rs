//! What a run is about: which flows, and what was asked of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::HashProgress;
use crate::cache::history::PastSet;
use crate::error::Result;
use crate::flow::{Flow, FlowName};
use crate::graph::selection::SelectedFlows;
use crate::home::{PartitionFilter, SliceRange};

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
    /// True where columns that have changed are published.
    pub accept_drift: bool,
    /// True where what is recorded of the columns of flows that are named counts no longer.
    pub forget_schema: bool,
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
            accept_drift: false,
            forget_schema: false,
            restore: None,
            interrupted,
            hash_progress: hashing,
        }
    }

    /// True where a flow shall be made whatever is recorded.
    pub fn is_forced(&self, name: &FlowName) -> bool {
        self.force && self.selected.named.contains(name)
    }

    /// True where what is recorded of a flow's columns counts no longer.
    pub fn forgets_schema(&self, name: &FlowName) -> bool {
        self.forget_schema && self.selected.named.contains(name)
    }

    /// True where it is about an earlier set of this flow.
    pub fn is_restored(&self, name: &FlowName) -> bool {
        self.restored(name).is_some()
    }

    /// The earlier set of this flow that it is about.
    pub fn restored(&self, name: &FlowName) -> Option<&RestoreTarget> {
        self.restore.as_ref().filter(|target| target.flow == *name)
    }

    /// True where slices of a flow were asked for.
    pub fn is_backfilled(&self, name: &FlowName) -> bool {
        self.slices.is_some() && self.selected.named.contains(name)
    }

    /// Which partitions of a flow were asked for; nothing where none were.
    ///
    /// # Errors
    /// It has no slices, or they are called otherwise.
    pub fn partition_filter(&self, flow: &Flow) -> Result<Option<PartitionFilter>> {
        let slices = self
            .slices
            .as_ref()
            .filter(|_| self.is_backfilled(&flow.name));
        slices
            .map(|slices| flow.partition_filter(slices))
            .transpose()
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
