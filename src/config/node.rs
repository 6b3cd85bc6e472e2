//! The tree of a config as written: every value with the place where it stands.
//!
//! It knows no key of hygge's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer};

use super::problem::{Problem, Problems, Span};

/// What stands in for a text that could not be filled in; no config can write it.
pub(super) const UNSET: &str = "\0unset";

/// What a key begins with that is no text, until its letters are taken from the file.
pub(super) const NON_TEXT_PREFIX: &str = "\0";

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is written.
    pub value: NodeValue,
    /// Where.
    pub at: Span,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; one that is larger is any other number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A text of a connection, which is never shown.
    Secret(Secret),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A key of a mapping with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it stands.
    pub at: Span,
    /// True where it came from `defaults:`, which are for blocks of every kind: a block that does
    /// not have such a key passes over it.
    pub is_default: bool,
}

impl NodeValue {
    /// How an error names this value.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value:?}"),
            Self::Secret(_) => "a text, which is not shown".into(),
            Self::Text(text) => format!("the text {text:?}"),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a map".into(),
        }
    }
}

impl Node {
    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            NodeValue::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a map; `null` counts as missing.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let found = self
            .entries()
            .iter()
            .find(|(written, _)| written.name == key);
        found
            .map(|(_, node)| node)
            .filter(|node| node.value != NodeValue::Null)
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list, or the one text, with their places.
    pub fn texts(&self) -> Vec<(&str, Span)> {
        let items = match &self.value {
            NodeValue::List(items) => items.as_slice(),
            _ => std::slice::from_ref(self),
        };
        items
            .iter()
            .filter_map(|item| Some((item.text()?, item.at)))
            .collect()
    }

    /// The same where there are some, and nothing else is among them.
    pub fn only_texts(&self) -> Option<Vec<(&str, Span)>> {
        let items = match &self.value {
            NodeValue::List(items) => items.len(),
            _ => 1,
        };
        let texts = self.texts();
        (!texts.is_empty() && texts.len() == items).then_some(texts)
    }

    /// How many values are in it.
    pub fn value_count(&self) -> usize {
        match &self.value {
            NodeValue::List(items) => 1 + items.iter().map(Self::value_count).sum::<usize>(),
            NodeValue::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|(_, node)| node.value_count())
                    .sum::<usize>()
            }
            _ => 1,
        }
    }

    /// The place of a key's value; that of the map where the key is missing.
    pub fn span_of(&self, key: &str) -> Span {
        self.get(key).map_or(self.at, |node| node.at)
    }

    /// Calls `change` with every text below, keys not included.
    pub fn for_each_text(&mut self, change: &mut dyn FnMut(&mut String, Span)) {
        match &mut self.value {
            NodeValue::Text(text) => change(text, self.at),
            NodeValue::List(items) => items.iter_mut().for_each(|item| item.for_each_text(change)),
            NodeValue::Map(entries) => entries
                .iter_mut()
                .for_each(|(_, node)| node.for_each_text(change)),
            _ => {}
        }
    }

    /// Makes every text below a secret, and gives the bytes of each.
    pub fn redact(&mut self, places: &mut Vec<Range<usize>>) {
        match &mut self.value {
            NodeValue::Null | NodeValue::Secret(_) => {}
            NodeValue::List(items) => items.iter_mut().for_each(|item| item.redact(places)),
            NodeValue::Map(entries) => {
                for (key, node) in entries
                    .iter_mut()
                    .filter(|(key, node)| !is_public(key, node))
                {
                    if key.name.contains(['@', ':']) {
                        places.push(key.at.offset..key.at.offset + key.at.length);
                        key.name = "[redacted]".into();
                    }
                    node.redact(places);
                }
            }
            scalar => {
                places.push(self.at.offset..self.at.offset + self.at.length);
                let text = match scalar {
                    NodeValue::Text(text) => std::mem::take(text),
                    NodeValue::Integer(number) => number.to_string(),
                    NodeValue::Float(number) => number.to_string(),
                    other => other.describe(),
                };
                self.value = NodeValue::Secret(Secret(text));
            }
        }
    }

    /// Gives keys that are no texts the letters that they are written with.
    pub(super) fn restore_key_texts(&mut self, text: &str) {
        match &mut self.value {
            NodeValue::List(items) => items
                .iter_mut()
                .for_each(|item| item.restore_key_texts(text)),
            NodeValue::Map(entries) => {
                for (key, node) in entries {
                    if let Some(read) = key.name.strip_prefix(NON_TEXT_PREFIX) {
                        key.name = text
                            .get(key.at.offset..key.at.offset + key.at.length)
                            .unwrap_or(read)
                            .to_string();
                    }
                    node.restore_key_texts(text);
                }
            }
            _ => {}
        }
    }

    /// Puts the number of the config's file into every place.
    pub(super) fn set_file(&mut self, file: usize) {
        self.at.file = file;
        match &mut self.value {
            NodeValue::List(items) => items.iter_mut().for_each(|item| item.set_file(file)),
            NodeValue::Map(entries) => {
                for (key, node) in entries {
                    key.at.file = file;
                    node.set_file(file);
                }
            }
            _ => {}
        }
    }
}

/// Reports every key that stands twice in a map, with both places, and keeps the first.
pub fn remove_duplicates(node: &mut Node, problems: &mut Problems) {
    match &mut node.value {
        NodeValue::List(items) => items
            .iter_mut()
            .for_each(|item| remove_duplicates(item, problems)),
        NodeValue::Map(entries) => {
            if has_duplicates(entries) {
                let mut first: HashMap<String, Span> = HashMap::with_capacity(entries.len());
                entries.retain(|(key, _)| {
                    let Some(before) = first.get(&key.name) else {
                        first.insert(key.name.clone(), key.at);
                        return true;
                    };
                    let problem = Problem::new(
                        key.at,
                        format!("the key {:?} is written twice", key.name),
                        "here again",
                    );
                    problems.push(
                        problem
                            .with_label(*before, "first here")
                            .with_hint("a key may stand only once in a map: take one of them out"),
                    );
                    false
                });
            }
            entries
                .iter_mut()
                .for_each(|(_, node)| remove_duplicates(node, problems));
        }
        _ => {}
    }
}

/// Most maps have few keys, for which comparing all is faster than a table.
fn has_duplicates(entries: &[(Key, Node)]) -> bool {
    const FEW: usize = 8;
    if entries.len() <= FEW {
        return entries.iter().enumerate().any(|(number, (key, _))| {
            entries[..number]
                .iter()
                .any(|(other, _)| other.name == key.name)
        });
    }
    let mut seen = HashSet::with_capacity(entries.len());
    !entries
        .iter()
        .all(|(key, _)| seen.insert(key.name.as_str()))
}

/// Keys of a connection whose values are no secrets, as long as they look as they should.
const PUBLIC_KEYS: [&str; 4] = [
    "pool_size",
    "connect_timeout",
    "statement_timeout",
    "sslmode",
];

fn is_public(key: &Key, node: &Node) -> bool {
    let is_word = |text: &str| {
        text.len() <= "verify-full".len()
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    PUBLIC_KEYS.contains(&key.name.as_str())
        && match &node.value {
            NodeValue::Text(text) => is_word(text),
            NodeValue::Integer(_) => true,
            _ => false,
        }
}
