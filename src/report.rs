//! Displays: what a person or a program sees of a plan and of a run.

pub mod json;
pub mod output;
pub mod plain;
pub mod progress;
pub mod terminal;

use crate::cache::index::IndexReset;
use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// What is noticed besides the plan before anything runs.
#[derive(Clone, Copy, Debug)]
pub struct Notices<'a> {
    /// Stale flows that are not selected.
    pub unselected: &'a [String],
    /// Flows without an entity.
    pub without_entities: &'a [String],
    /// Why the index was begun anew, and how many receipts were found.
    pub rebuilt_index: Option<(&'a IndexReset, usize)>,
}

/// Shows plans and events as they come.
pub trait Report {
    /// A plan that will not be run: `--dry-run`.
    fn plan(&mut self, plan: &Plan);

    /// What is noticed before anything runs.
    fn notices(&mut self, plan: &Plan, notices: &Notices<'_>);

    /// Something went wrong that changes no result.
    fn warn(&mut self, text: &str);

    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The run has ended. `hashed` are the bytes that were read only to fingerprint them.
    fn summary(&mut self, summary: &Summary, hashed: u64);
}
