//! Homes and stores that have a name: written once, used by name from several flows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::merge::{KeyAliases, flatten, merge};
use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems, Span, closest_match};

/// Other names of a store's keys.
pub const STORE_ALIASES: &KeyAliases = &[("batch_size", "rows_per_file")];

/// The homes or the stores of a config by name.
pub(super) struct NamedBlocks<'c> {
    /// `home` or `store`.
    pub(super) kind: &'static str,
    aliases: &'static KeyAliases,
    blocks: Vec<(&'c Key, Node)>,
    used: Mutex<BTreeSet<String>>,
}

/// A home or store of no flow, which is checked all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct UnusedBlock {
    /// `home` or `store`.
    pub kind: &'static str,
    /// How errors call it.
    pub label: String,
    /// What it says.
    pub block: Node,
}

impl<'c> NamedBlocks<'c> {
    pub(super) fn from_homes(project: &'c Node, problems: &mut Problems) -> Self {
        Self::new(project, "homes", "home", &[], problems)
    }

    pub(super) fn from_stores(project: &'c Node, problems: &mut Problems) -> Self {
        Self::new(project, "stores", "store", STORE_ALIASES, problems)
    }

    fn new(
        project: &'c Node,
        key: &str,
        what: &'static str,
        aliases: &'static KeyAliases,
        problems: &mut Problems,
    ) -> Self {
        let mut blocks = Vec::new();
        for (key, node) in project.get(key).into_iter().flat_map(Node::entries) {
            let block = match &node.value {
                NodeValue::Text(_) => path_block(node),
                NodeValue::Map(_) => {
                    flatten(node, &format!("the {what} {}", key.name), aliases, problems)
                }
                other => {
                    let message = format!("the {what} {} is {}", key.name, other.describe());
                    problems.push(Problem::new(node.at, message, "expected a path or a map"));
                    node.clone()
                }
            };
            blocks.push((key, block));
        }
        Self {
            kind: what,
            aliases,
            blocks,
            used: Mutex::default(),
        }
    }

    /// A home or store as a map: a text is a name or a path. What cannot be used is reported, and
    /// given as it is.
    pub(super) fn resolve_block(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        match &node.value {
            NodeValue::Text(name) => match self.find(name) {
                Some(block) => with_span(block, node.at),
                None => path_block(node),
            },
            NodeValue::Map(_) => {
                let own = flatten(node, called, self.aliases, problems);
                let Some(name) = own.get("use") else {
                    return own;
                };
                if let Some(block) = name.text().and_then(|name| self.find(name)) {
                    return without_keys(merge(with_span(block, name.at), &own), &["use"]);
                }
                let message = format!(
                    "{called} uses {}, which is no {} of the config",
                    name.value.describe(),
                    self.kind
                );
                let problem = Problem::new(
                    name.at,
                    message,
                    format!("expected the name of one of {}s", self.kind),
                );
                problems.push(problem.with_suggestion(
                    name.text().unwrap_or_default(),
                    self.names(),
                    None,
                ));
                name.clone()
            }
            NodeValue::Null => node.clone(),
            other => {
                let message = format!("{called} is {}", other.describe());
                let expected = format!(
                    "expected a path, the name of one of {}s, or a map",
                    self.kind
                );
                let problem = Problem::new(node.at, message, expected);
                let is_number = matches!(other, NodeValue::Integer(_) | NodeValue::Float(_));
                problems.push(if is_number {
                    problem.with_hint("put it in quotes, if it is a path")
                } else {
                    problem
                });
                node.clone()
            }
        }
    }

    /// A path that was most likely meant as a name.
    pub(super) fn suggest_name(&self, path: &str) -> Option<&str> {
        if path.contains('/') {
            None
        } else {
            closest_match(path, self.names())
        }
    }

    /// Those that no flow uses, with warnings.
    pub(super) fn unused(&self) -> Vec<(UnusedBlock, Problem)> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let what = self.kind;
        let spare = |(key, block): &(&Key, Node)| {
            let called = format!("the {what} {}", key.name);
            let problem = Problem::new(key.at, format!("no flow uses {called}"), "it is not used")
                .with_hint(format!("use it: {what}: {}", key.name));
            (
                UnusedBlock {
                    kind: what,
                    label: called,
                    block: block.clone(),
                },
                problem,
            )
        };
        self.blocks
            .iter()
            .filter(|(key, _)| !used.contains(&key.name))
            .map(spare)
            .collect()
    }

    fn find(&self, name: &str) -> Option<&Node> {
        let (_, block) = self.blocks.iter().find(|(key, _)| key.name == name)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains(name) {
            used.insert(name.to_string());
        }
        Some(block)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|(key, _)| key.name.as_str())
    }
}

/// A named block as if its path stood where its name is used.
fn with_span(block: &Node, place: Span) -> Node {
    let mut block = Node {
        at: place,
        ..block.clone()
    };
    if let NodeValue::Map(entries) = &mut block.value {
        entries
            .iter_mut()
            .filter(|(key, _)| key.name == "path")
            .for_each(|(_, path)| path.at = place);
    }
    block
}

/// `home: some/path` means `home: {path: some/path}`.
pub(super) fn path_block(node: &Node) -> Node {
    let key = Key {
        name: "path".into(),
        at: node.at,
        is_default: false,
    };
    Node {
        value: NodeValue::Map(vec![(key, node.clone())]),
        at: node.at,
    }
}

/// A map without some of its keys.
pub(super) fn without_keys(mut node: Node, keys: &[&str]) -> Node {
    if let NodeValue::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| !keys.contains(&key.name.as_str()));
    }
    node
}
