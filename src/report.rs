//! Displays: what a person or a program sees of a plan and of a run.

pub mod fancy;
pub mod json;
pub mod plain;

use crate::execute::event::{Event, Summary};
use crate::plan::Plan;

/// Shows plans and events as they come.
pub trait Report {
    /// A plan that will not be run: `--dry-run`.
    fn plan(&mut self, plan: &Plan);

    /// What is noticed before anything runs: stores without a flow, stale flows left alone, flows
    /// without an entity.
    fn notes(&mut self, plan: &Plan, left_alone: &[String], without_entities: &[String]);

    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The run has ended. `hashed` are the bytes that were read only to fingerprint them.
    fn summary(&mut self, summary: &Summary, hashed: u64);
}
