//! A home that is another flow's store.

use std::collections::BTreeMap;

use super::{Home, HomeError, Listing, Place};
use crate::config::problem::{Problem, Problems};
use crate::config::schema::Block;
use crate::format::Format;

/// The output of a flow, by its name.
#[derive(Debug)]
pub struct FlowHome {
    flow: String,
}

impl FlowHome {
    /// Reads `flow` of a home's block.
    pub fn from_block(block: &mut Block<'_>, problems: &mut Problems) -> Option<Self> {
        let (flow, at) = block.text("flow", problems)?;
        if flow.is_empty() {
            problems.push(Problem::new(at, "the name of the flow is empty", "expected the name of a flow"));
            return None;
        }
        Some(Self { flow: flow.to_string() })
    }
}

impl Home for FlowHome {
    fn kind(&self) -> &'static str {
        "flow"
    }

    fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("flow", self.flow.clone())])
    }

    fn place(&self) -> Place<'_> {
        Place::Flow(&self.flow)
    }

    fn format(&self) -> Option<&'static dyn Format> {
        None
    }

    /// What it holds is known from the manifest that the flow published, never from its folder.
    fn list(&self) -> Result<Listing, HomeError> {
        Ok(Listing::default())
    }
}
