//! Selections: which flows a command is about, as make would understand it.
//!
//! `orders` is the flow with all that it needs, `orders+` also what depends on it; `tag:nightly`
//! and globs name several; `a,tag:b` is what is both; several selections are either.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};

use super::Graph;
use crate::config::problem::closest_match;
use crate::error::{Error, ErrorKind};
use crate::flow::{Flow, FlowName};

/// Flows that a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedFlows {
    /// The flows that were named: `--force` is for them.
    pub named: BTreeSet<FlowName>,
    /// The flows that may be built.
    pub flows: BTreeSet<FlowName>,
}

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The selections; none means all flows.
    pub include: Vec<String>,
    /// What is left out.
    pub exclude: Vec<String>,
    /// Leave out what was not named, even if it is needed.
    pub only: bool,
}

/// A selection that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// No flow is meant.
    #[error("the selection {0:?} names no flow")]
    NoMatch(String),
    /// What is meant is left out again.
    #[error("nothing is selected: --exclude {0} leaves no flow of the selection")]
    AllExcluded(String),
    /// It cannot be read.
    #[error("the selection {text:?} cannot be used: {reason}")]
    Invalid {
        /// The selection.
        text: String,
        /// Why.
        reason: String,
    },
}

impl Selection {
    /// The flows that are meant.
    ///
    /// # Errors
    /// A selection names no flow: most likely it is mistyped.
    pub fn resolve(&self, graph: &Graph) -> Result<SelectedFlows, Error> {
        let mut named = BTreeSet::new();
        let mut flows = BTreeSet::new();
        if self.include.is_empty() {
            named.extend(graph.order().iter().cloned());
        }
        for text in &self.include {
            let (terms, dependents) = split_dependents_suffix(text);
            for name in matching_flows(terms, graph)? {
                if dependents {
                    flows.extend(graph.with_downstreams(name.as_str()));
                }
                named.insert(name);
            }
        }
        flows.extend(named.iter().cloned());
        if !self.only {
            let needed: Vec<_> = flows
                .iter()
                .map(|name| graph.with_upstreams(name.as_str()))
                .collect();
            flows.extend(needed.into_iter().flatten());
        }
        for text in &self.exclude {
            let (terms, dependents) = split_dependents_suffix(text);
            for name in matching_flows(terms, graph)? {
                let left_out = if dependents {
                    graph.with_downstreams(name.as_str())
                } else {
                    BTreeSet::from([name])
                };
                flows.retain(|name| !left_out.contains(name));
                named.retain(|name| !left_out.contains(name));
            }
        }
        if flows.is_empty() && !self.exclude.is_empty() {
            let error = Error::new(
                ErrorKind::Config,
                SelectionError::AllExcluded(self.exclude.join(" ")),
            );
            return Err(
                error.with_hint("hygge graph shows the flows; exclude fewer, or select more")
            );
        }
        Ok(SelectedFlows { named, flows })
    }
}

/// A selection without the sign that asks for dependents too.
fn split_dependents_suffix(text: &str) -> (&str, bool) {
    text.strip_suffix('+')
        .map_or((text, false), |terms| (terms, true))
}

/// The flows that match every one of the terms between commas.
fn matching_flows(text: &str, graph: &Graph) -> Result<BTreeSet<FlowName>, Error> {
    let terms = text
        .split(',')
        .map(|term| Term::parse(term, text))
        .collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<_> = graph
        .flows()
        .filter(|flow| terms.iter().all(|term| term.matches(flow)))
        .map(|flow| flow.name.clone())
        .collect();
    if !names.is_empty() {
        return Ok(names);
    }
    let error = Error::new(ErrorKind::Config, SelectionError::NoMatch(text.to_string()));
    let entities = graph
        .flows()
        .filter_map(|flow| flow.entity.as_ref())
        .flat_map(|(of, entity)| [of.as_str(), entity.as_str()]);
    let known = graph.flows().map(|flow| flow.name.as_str()).chain(entities);
    Err(match closest_match(text, known) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("hygge graph shows the flows; tag:NAME selects by tag"),
    })
}

enum Term {
    Tag(GlobMatcher),
    Name(GlobMatcher),
}

impl Term {
    fn parse(term: &str, text: &str) -> Result<Self, Error> {
        let glob = |pattern: &str| {
            let unusable = |reason: String| {
                Error::new(
                    ErrorKind::Config,
                    SelectionError::Invalid {
                        text: text.to_string(),
                        reason,
                    },
                )
            };
            if pattern.is_empty() {
                return Err(unusable("a term is empty".into()).with_hint(
                    "write a flow, a glob or tag:NAME; commas mean that all of them must match",
                ));
            }
            let built = GlobBuilder::new(pattern)
                .build()
                .map_err(|error| unusable(error.kind().to_string()))?;
            Ok(built.compile_matcher())
        };
        match term.strip_prefix("tag:") {
            Some(tag) => glob(tag).map(Self::Tag),
            None => glob(term).map(Self::Name),
        }
    }

    fn matches(&self, flow: &Flow) -> bool {
        match self {
            Self::Tag(tag) => flow.tags.iter().any(|word| tag.is_match(word)),
            Self::Name(name) => {
                let (of, entity) = flow
                    .entity
                    .as_ref()
                    .map(|(of, entity)| (of.as_str(), entity.as_str()))
                    .unzip();
                [Some(flow.name.as_str()), of, entity]
                    .into_iter()
                    .flatten()
                    .any(|word| name.is_match(word))
            }
        }
    }
}
