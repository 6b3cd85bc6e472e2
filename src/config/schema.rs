//! Reading a map of the config key by key: wrong types and unknown keys are problems with a place.
//!
//! It knows no key: each block's own file asks for the keys that it understands.

use super::node::{Key, Node, Value};
use super::problem::{Problem, Problems, Span};

/// A map of the config that is being read. Every key that is asked for is known; what is left at
/// the end is unknown.
#[derive(Debug)]
pub struct Block<'a> {
    name: String,
    at: Span,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Block<'a> {
    /// Opens a map; `name` is how errors call it. A value that is no map is a problem.
    pub fn open(name: impl Into<String>, node: &'a Node, problems: &mut Problems) -> Option<Self> {
        let name = name.into();
        if let Value::Map(entries) = &node.value {
            return Some(Self { name, at: node.at, entries, known: Vec::new() });
        }
        problems.push(Problem::new(node.at, format!("{name} is {}", node.value.describe()), "expected a map of keys and values"));
        None
    }

    /// How errors call the block.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key that may be missing; `null` counts as missing.
    pub fn optional(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let node = self.entries.iter().find(|(written, _)| written.name == key).map(|(_, node)| node)?;
        (node.value != Value::Null).then_some(node)
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str, hint: &str, problems: &mut Problems) -> Option<&'a Node> {
        let found = self.optional(key);
        if found.is_none() {
            let message = format!("{} has no {key}", self.name);
            problems.push(Problem::new(self.at, message, format!("expected the key {key} here")).hint(hint));
        }
        found
    }

    /// A text, if the key is there.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<(&'a str, Span)> {
        let node = self.optional(key)?;
        if let Value::Text(text) = &node.value {
            return Some((text, node.at));
        }
        self.wrong(key, node, "a text", problems);
        None
    }

    /// A whole number of at least `least`, if the key is there.
    pub fn number(&mut self, key: &'static str, least: u64, problems: &mut Problems) -> Option<u64> {
        let node = self.optional(key)?;
        let number = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            // YAML 1.2 reads 1_000_000 as a text.
            Value::Text(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| *number >= least) {
            return Some(number);
        }
        self.wrong(key, node, &format!("a whole number of at least {least}"), problems);
        None
    }

    /// A boolean, if the key is there.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.optional(key)?;
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.wrong(key, node, "true or false", problems);
        None
    }

    /// A list of texts; one text alone is a list of one.
    pub fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'a str, Span)> {
        let Some(node) = self.optional(key) else { return Vec::new() };
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Text(_) => std::slice::from_ref(node),
            _ => {
                self.wrong(key, node, "a list of texts", problems);
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push((text.as_str(), item.at)),
                _ => self.wrong(key, item, "a text", problems),
            }
        }
        texts
    }

    /// Ends the block: every key that was not asked for is a problem, with the nearest known one.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if self.known.contains(&key.name.as_str()) {
                continue;
            }
            let mut problem = Problem::new(key.at, format!("{} has the unknown key {:?}", self.name, key.name), "not a key of this block");
            problem = match nearest(&key.name, self.known.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem.hint(format!("known keys here: {}", self.known.join(", "))),
            };
            problems.push(problem);
        }
    }

    fn wrong(&self, key: &str, node: &Node, expected: &str, problems: &mut Problems) {
        let message = format!("{key} of {} is {}", self.name, node.value.describe());
        problems.push(Problem::new(node.at, message, format!("expected {expected}")));
    }
}

/// The known name that a mistyped one most likely meant.
pub fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(written.len()) / 3).max(1))
        .min_by_key(|near| *near)
        .map(|(_, name)| name)
}
