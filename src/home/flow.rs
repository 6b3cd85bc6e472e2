//! A home that is another flow's store.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Home, Source};
use crate::config::Settings;
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};

/// A home that is another flow.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "flow", deny_unknown_fields)]
pub struct FlowHomeFields {
    /// The flow whose output is read; of a flow with entities, the one with the same entity.
    #[schemars(example = &"orders", extend("x-default" = "required"))]
    flow: Option<String>,
}

/// The output of a flow, by its name.
#[derive(Debug)]
pub struct FlowHome {
    flow: String,
}

impl FlowHome {
    /// Reads a home's block.
    pub fn from_block(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: FlowHomeFields = read_block(node, name, &["type"], problems)?;
        let flow = fields.flow.filter(|flow| !flow.is_empty());
        if flow.is_none() && node.get("flow").is_none_or(|flow| flow.text() == Some("")) {
            let problem = Problem::new(
                node.span_of("flow"),
                format!("{name} names no flow"),
                "expected the name of a flow",
            );
            problems.push(problem.with_hint("home: {flow: NAME}"));
        }
        flow.map(|flow| Self { flow })
    }
}

impl Home for FlowHome {
    fn kind(&self) -> &'static str {
        "flow"
    }

    fn settings(&self) -> Settings {
        Settings::from([("flow", json!(self.flow))])
    }

    fn source(&self) -> Source<'_> {
        Source::Flow(&self.flow)
    }
}
