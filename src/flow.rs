//! Flows: one movement from a home to a store each, made from the blocks of the config.
//!
//! A flow is pure description: nothing here looks at a disk.

pub mod factory;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::problem::{Problem, Problems};
use crate::config::schema::nearest;
use crate::config::{Config, FlowBlock};
use crate::fingerprint::key::Components;
use crate::format::Format;
use crate::home::{Home, Place};
use crate::store::Store;
use factory::Factory;

/// A flow's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowName(Arc<str>);

impl FlowName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FlowName {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl Borrow<str> for FlowName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One movement from a home to a store.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub name: FlowName,
    /// Where the data lives.
    pub home: Arc<dyn Home>,
    /// Where the data settles.
    pub store: Arc<dyn Store>,
    /// Flows that must be built before it, declared by hand.
    pub needs: Vec<FlowName>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: u8,
}

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        let rest = |flow: &Self| (flow.name.clone(), flow.needs.clone(), flow.tags.clone(), flow.max_shrink);
        *self.home == *other.home && *self.store == *other.store && rest(self) == rest(other)
    }
}

impl Eq for Flow {}

impl Flow {
    /// The recipe: adapter versions and what of the config decides the parts' bytes.
    ///
    /// `input` is the format of the home's files, which a home that is another flow does not know.
    pub fn recipe(&self, input: &dyn Format) -> Components {
        let target = self.store.target();
        let mut recipe = Components::default();
        recipe.set("home.format", input.name());
        recipe.set("home.format.version", input.version());
        recipe.set("store.format", target.format.name());
        recipe.set("store.format.version", target.format.version());
        recipe.set("store.compression", target.compression);
        if let Some(rows) = target.rows_per_file {
            recipe.set("store.rows_per_file", rows);
        }
        recipe
    }

    /// The flow whose store this flow's home names.
    pub fn upstream(&self) -> Option<&str> {
        match self.home.place() {
            Place::Flow(name) => Some(name),
            Place::Path { .. } => None,
        }
    }
}

/// Makes the flows of a config. Every problem of every flow is reported, with those found before.
pub fn make_flows(root: &Path, config: &Config, mut problems: Problems) -> Result<Vec<Arc<Flow>>, Problems> {
    let factory = Factory::new();
    let known: HashSet<&str> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
    let mut flows = Vec::new();
    for block in &config.flows {
        let home = factory.home(&block.name, &block.home, root, &mut problems);
        let store = factory.store(&block.name, &block.store, root, &mut problems);
        if let Some(home) = &home {
            check_references(block, home.as_ref(), &known, &mut problems);
        }
        if let (Some(home), Some(store)) = (home, store) {
            flows.push(Arc::new(Flow {
                name: FlowName::from(block.name.as_str()),
                home,
                store,
                needs: block.needs.iter().map(|(name, _)| FlowName::from(name.as_str())).collect(),
                tags: block.tags.clone(),
                max_shrink: block.max_shrink,
            }));
        }
    }
    problems.or(flows)
}

/// Names of flows must be names of flows.
fn check_references(block: &FlowBlock, home: &dyn Home, known: &HashSet<&str>, problems: &mut Problems) {
    let named = match home.place() {
        Place::Flow(name) => Some((name, block.home.at)),
        Place::Path { .. } => None,
    };
    let needs = block.needs.iter().map(|(name, at)| (name.as_str(), *at));
    for (name, at) in named.into_iter().chain(needs) {
        if known.contains(name) {
            continue;
        }
        let problem = Problem::new(
            at,
            format!("flow {} needs the flow {name:?}, which is not in the config", block.name),
            "expected the name of a flow",
        );
        problems.push(match nearest(name, known.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem,
        });
    }
}
