//! `hygge graph`: the flows and their edges, for people, for drawing and for make.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;

use super::args::GlobalArgs;
use super::depfile::escape_for_make;
use super::{open_session, print_bytes};
use crate::app::Session;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::flow::FlowName;
use crate::graph::Graph;
use crate::report::json::SCHEMA_VERSION;

/// Show the flows and what they need
#[derive(Debug, ClapArgs)]
pub(super) struct GraphArgs {
    /// How to show it
    #[arg(long, value_enum, default_value = "dot")]
    format: GraphFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
    /// One JSON object
    Json,
    /// Rules that let make build flow by flow
    Make,
}

/// Runs the command; gives the exit code.
pub(super) fn run(global: &GlobalArgs, command: &GraphArgs) -> Result<u8> {
    let Session { loaded, project } = open_session(global)?;
    let text = match command.format {
        GraphFormat::Dot => dot(&project.graph),
        GraphFormat::Mermaid => mermaid(&project.graph),
        GraphFormat::Json => object(&project.graph),
        GraphFormat::Make => make(&project.graph, loaded.path())?,
    };
    print_bytes(text.as_bytes())
}

fn edges(graph: &Graph) -> Vec<(String, String)> {
    let names = graph.order().iter();
    names
        .flat_map(|name| {
            graph
                .upstreams(name.as_str())
                .into_iter()
                .map(move |upstream| (upstream.to_string(), name.to_string()))
        })
        .collect()
}

fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph hygge {\n  rankdir=LR;\n");
    for name in graph.order() {
        // Writing to a string cannot fail.
        _ = writeln!(text, "  \"{name}\";");
    }
    for (from, to) in edges(graph) {
        _ = writeln!(text, "  \"{from}\" -> \"{to}\";");
    }
    text + "}\n"
}

fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    let number = |name: &str| {
        graph
            .order()
            .iter()
            .position(|other| other.as_str() == name)
            .unwrap_or_default()
    };
    for name in graph.order() {
        _ = writeln!(text, "  f{}[\"{name}\"]", number(name.as_str()));
    }
    for (from, to) in edges(graph) {
        _ = writeln!(text, "  f{} --> f{}", number(&from), number(&to));
    }
    text
}

fn object(graph: &Graph) -> String {
    let flows = graph
        .order()
        .iter()
        .filter_map(|name| graph.flow(name.as_str()));
    let flows: Vec<_> = flows
        .map(|flow| {
            json!({
                "flow": flow.name, "tags": flow.tags, "upstreams": graph.upstreams(flow.name.as_str()),
                "home": { "type": flow.home.kind(), "settings": flow.home.settings() },
                "store": { "type": flow.store.kind(), "settings": flow.store.settings() },
            })
        })
        .collect();
    let object =
        json!({ "schema_version": SCHEMA_VERSION, "event": "graph", "flows": flows }).to_string();
    format!("{}\n", escape::json(&object))
}

/// One phony target a flow: make decides the order, hygge what is stale.
fn make(graph: &Graph, file: &Path) -> Result<String> {
    // A line end would end the recipe, and begin another.
    let Some(file) = file
        .to_str()
        .filter(|file| !file.contains(char::is_control))
    else {
        let error = Error::new(
            ErrorKind::Config,
            format!(
                "make cannot be told the name of the config, {}",
                file.display()
            ),
        );
        return Err(
            error.with_hint("name the file and its folder with letters, digits, -, _ and .")
        );
    };
    let written = |names: &[FlowName]| {
        names
            .iter()
            .filter_map(|name| escape_for_make(name.as_str()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut all = String::from("all");
    while graph.flow(&all).is_some() {
        all.push('_');
    }
    let mut text = format!(
        "HYGGE ?= hygge\n\n.PHONY: {all} {0}\n{all}: {0}\n",
        written(graph.order())
    );
    for name in graph.order() {
        let (target, upstreams) = (
            written(std::slice::from_ref(name)),
            written(&graph.upstreams(name.as_str())),
        );
        let file = file.replace('\'', "'\\''").replace('$', "$$");
        _ = writeln!(
            text,
            "{target}: {upstreams}\n\t$(HYGGE) -f '{file}' build --only '{name}'"
        );
    }
    Ok(text)
}
