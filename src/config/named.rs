//! Homes and stores that have a name: written once, used by name from several flows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::merge::{Aliases, flattened, merge};
use super::node::{Key, Node, Value};
use super::problem::{Problem, Problems, Span, nearest};

/// Other names of a store's keys.
pub const STORE_ALIASES: &Aliases = &[("batch_size", "rows_per_file")];

/// The homes or the stores of a config by name.
pub(super) struct Named<'c> {
    /// `home` or `store`.
    pub(super) what: &'static str,
    aliases: &'static Aliases,
    blocks: Vec<(&'c Key, Node)>,
    used: Mutex<BTreeSet<String>>,
}

/// A home or store of no flow, which is checked all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Spare {
    /// `home` or `store`.
    pub what: &'static str,
    /// How errors call it.
    pub called: String,
    /// What it says.
    pub block: Node,
}

impl<'c> Named<'c> {
    pub(super) fn homes(project: &'c Node, problems: &mut Problems) -> Self {
        Self::new(project, "homes", "home", &[], problems)
    }

    pub(super) fn stores(project: &'c Node, problems: &mut Problems) -> Self {
        Self::new(project, "stores", "store", STORE_ALIASES, problems)
    }

    fn new(
        project: &'c Node,
        key: &str,
        what: &'static str,
        aliases: &'static Aliases,
        problems: &mut Problems,
    ) -> Self {
        let mut blocks = Vec::new();
        for (key, node) in project.get(key).into_iter().flat_map(Node::entries) {
            let block = match &node.value {
                Value::Text(_) => with_path(node),
                Value::Map(_) => {
                    flattened(node, &format!("the {what} {}", key.name), aliases, problems)
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
            what,
            aliases,
            blocks,
            used: Mutex::default(),
        }
    }

    /// A home or store as a map: a text is a name or a path. What cannot be used is reported, and
    /// given as it is.
    pub(super) fn block(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        match &node.value {
            Value::Text(name) => match self.find(name) {
                Some(block) => at(block, node.at),
                None => with_path(node),
            },
            Value::Map(_) => {
                let own = flattened(node, called, self.aliases, problems);
                let Some(name) = own.get("use") else {
                    return own;
                };
                if let Some(block) = name.text().and_then(|name| self.find(name)) {
                    return without(merge(at(block, name.at), &own), &["use"]);
                }
                let message = format!(
                    "{called} uses {}, which is no {} of the config",
                    name.value.describe(),
                    self.what
                );
                let problem = Problem::new(
                    name.at,
                    message,
                    format!("expected the name of one of {}s", self.what),
                );
                problems.push(problem.did_you_mean(
                    name.text().unwrap_or_default(),
                    self.names(),
                    None,
                ));
                name.clone()
            }
            Value::Null => node.clone(),
            other => {
                let message = format!("{called} is {}", other.describe());
                let expected = format!(
                    "expected a path, the name of one of {}s, or a map",
                    self.what
                );
                let problem = Problem::new(node.at, message, expected);
                let is_number = matches!(other, Value::Integer(_) | Value::Float(_));
                problems.push(if is_number {
                    problem.hint("put it in quotes, if it is a path")
                } else {
                    problem
                });
                node.clone()
            }
        }
    }

    /// A path that was most likely meant as a name.
    pub(super) fn likely(&self, path: &str) -> Option<&str> {
        if path.contains('/') {
            None
        } else {
            nearest(path, self.names())
        }
    }

    /// Those that no flow uses, with warnings.
    pub(super) fn unused(&self) -> Vec<(Spare, Problem)> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let what = self.what;
        let spare = |(key, block): &(&Key, Node)| {
            let called = format!("the {what} {}", key.name);
            let problem = Problem::new(key.at, format!("no flow uses {called}"), "it is not used")
                .hint(format!("use it: {what}: {}", key.name));
            (
                Spare {
                    what,
                    called,
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
fn at(block: &Node, place: Span) -> Node {
    let mut block = Node {
        at: place,
        ..block.clone()
    };
    if let Value::Map(entries) = &mut block.value {
        entries
            .iter_mut()
            .filter(|(key, _)| key.name == "path")
            .for_each(|(_, path)| path.at = place);
    }
    block
}

/// `home: some/path` means `home: {path: some/path}`.
pub(super) fn with_path(node: &Node) -> Node {
    let key = Key {
        name: "path".into(),
        at: node.at,
        is_default: false,
    };
    Node {
        value: Value::Map(vec![(key, node.clone())]),
        at: node.at,
    }
}

/// A map without some of its keys.
pub(super) fn without(mut node: Node, keys: &[&str]) -> Node {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| !keys.contains(&key.name.as_str()));
    }
    node
}
