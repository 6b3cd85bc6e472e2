//! The Factory: turns the `type:` of a home or a store into its implementation.
//!
//! This is the one registry. A new format is one line in `FORMATS`; a home or store that is no
//! folder of files is one more in `HOMES` or `STORES`.

use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::config::node::{Key, Node, Value};
use crate::config::problem::{Problem, Problems};
use crate::config::read::keys_of;
use crate::format::Format;
use crate::format::parquet::Parquet;
use crate::home::Home;
use crate::home::files::{FilesHome, FilesHomeFields};
use crate::home::flow::{FlowHome, FlowHomeFields};
use crate::store::Store;
use crate::store::files::{FilesStore, FilesStoreFields};

/// The formats of files, the default first.
const FORMATS: &[&dyn Format] = &[&Parquet];

/// The kinds of homes, that of files first.
const HOMES: &[Kind] = &[Kind::of_files::<FilesHomeFields>(), Kind::named::<FlowHomeFields>(FLOW)];

/// The kinds of stores, that of files first.
const STORES: &[Kind] = &[Kind::of_files::<FilesStoreFields>()];

/// The `type:` of a home that is another flow.
const FLOW: &str = "flow";

/// A kind of homes or stores: its `type:` and its keys.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The word; `None` for that of files, whose words are the formats.
    pub word: Option<&'static str>,
    /// Its keys.
    keys: fn() -> &'static [&'static str],
    /// Its keys as a JSON Schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Kind {
    const fn of_files<T: DeserializeOwned + JsonSchema>() -> Self {
        Self { word: None, keys: keys_of::<T>, schema: T::json_schema }
    }

    const fn named<T: DeserializeOwned + JsonSchema>(word: &'static str) -> Self {
        Self { word: Some(word), keys: keys_of::<T>, schema: T::json_schema }
    }
}

/// Makes homes and stores by name.
#[derive(Debug)]
pub struct Factory {
    formats: &'static [&'static dyn Format],
}

impl Factory {
    /// The factory of everything that hygge knows.
    pub fn new() -> Self {
        Self { formats: FORMATS }
    }

    /// A home; `name` is how errors call it.
    pub fn home(&self, name: &str, node: &Node, root: &Path, problems: &mut Problems) -> Option<Arc<dyn Home>> {
        let default = if node.get(FLOW).is_some() { FLOW } else { self.formats[0].name() };
        let (kind, is_known, node) = self.kind(node, name, default, HOMES, problems);
        let home: Option<Arc<dyn Home>> = match self.format(kind) {
            Some(format) => FilesHome::from_block(format, &node, name, root, problems).map(|home| Arc::new(home) as _),
            None => FlowHome::from_block(&node, name, problems).map(|home| Arc::new(home) as _),
        };
        home.filter(|_| is_known)
    }

    /// A store; `name` is how errors call it.
    pub fn store(&self, name: &str, node: &Node, root: &Path, problems: &mut Problems) -> Option<Arc<dyn Store>> {
        let (kind, is_known, node) = self.kind(node, name, self.formats[0].name(), STORES, problems);
        let store = FilesStore::from_block(self.format(kind)?, &node, name, root, problems);
        store.filter(|_| is_known).map(|store| Arc::new(store) as _)
    }

    /// The keys of homes and stores, and in which of them each belongs.
    pub fn belongs(&self) -> Vec<(&'static str, &'static str)> {
        let keys = |kinds: &[Kind]| kinds.iter().flat_map(|kind| (kind.keys)()).copied().collect::<Vec<_>>();
        let (homes, stores) = (keys(HOMES), keys(STORES));
        let place = |key: &&'static str| match (homes.contains(key), stores.contains(key)) {
            (true, true) => (*key, "home or store"),
            (true, false) => (*key, "home"),
            _ => (*key, "store"),
        };
        homes.iter().chain(&stores).map(place).chain([("type", "home or store")]).collect()
    }

    /// The formats, the default first.
    pub fn formats(&self) -> &'static [&'static dyn Format] {
        self.formats
    }

    /// The kinds of homes.
    pub fn homes(&self) -> &'static [Kind] {
        HOMES
    }

    /// The kinds of stores.
    pub fn stores(&self) -> &'static [Kind] {
        STORES
    }

    /// The words of `type:` for these kinds.
    pub fn words(&self, kinds: &[Kind]) -> Vec<&'static str> {
        let named = kinds.iter().filter_map(|kind| kind.word);
        self.formats.iter().map(|format| format.name()).chain(named).collect()
    }

    fn format(&self, name: &str) -> Option<&'static dyn Format> {
        self.formats.iter().copied().find(|format| format.name() == name)
    }

    /// The `type:` of a block, and the block as its reader wants it: without defaults that are for
    /// other kinds. A type that is not known is a problem; the rest is then read as the default's, but
    /// for keys that only the meant type may have.
    fn kind(&self, node: &Node, name: &str, default: &'static str, kinds: &[Kind], problems: &mut Problems) -> (&'static str, bool, Node) {
        let known = self.words(kinds);
        let written = node.get("type");
        let found = match written {
            Some(written) => known.iter().copied().find(|word| written.text() == Some(word)),
            None => Some(default),
        };
        let word = found.unwrap_or(default);
        let own = kinds.iter().find(|kind| kind.word == Some(word)).unwrap_or(&kinds[0]);
        let is_own = |key: &str| key == "type" || (own.keys)().contains(&key);
        let is_others = |key: &str| kinds.iter().any(|kind| (kind.keys)().contains(&key));
        if let (None, Some(written)) = (found, written) {
            let message = match written.text() {
                Some(text) => format!("{name} has the unknown type {text:?}"),
                None => format!("type of {name} is {}", written.value.describe()),
            };
            let problem = Problem::new(written.at, message, format!("expected one of {}", known.join(", ")));
            problems.push(problem.did_you_mean(written.text().unwrap_or_default(), known.iter().copied(), None));
            let mut rest = only(node, |key| is_own(&key.name));
            if let (Value::Map(entries), None) = (&mut rest.value, node.get("path")) {
                let path = Node { value: Value::Text(".".into()), at: node.at };
                entries.push((Key { name: "path".into(), at: node.at, is_default: true }, path));
            }
            return (word, false, rest);
        }
        if node.entries().iter().any(|(key, _)| key.is_default) {
            return (word, true, only(node, |key| !key.is_default || is_own(&key.name) || !is_others(&key.name)));
        }
        (word, true, node.clone())
    }
}

/// The entries of a map whose keys fit.
fn only(node: &Node, fits: impl Fn(&Key) -> bool) -> Node {
    let kept = node.entries().iter().filter(|(key, _)| fits(key)).cloned().collect();
    Node { value: Value::Map(kept), at: node.at }
}

impl Default for Factory {
    fn default() -> Self {
        Self::new()
    }
}
