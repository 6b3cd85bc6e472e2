//! The Factory: turns the `type:` of a home or a store into its implementation.
//!
//! This is the one registry. A new format is one entry of `FORMATS`; a home or store that is no
//! folder of files is one line in `HOMES` or `STORES`.

use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::connection::{Connection, SCHEMES, SPOKEN, foreign_name};
use crate::config::node::{Key, Node, Value as Written};
use crate::config::problem::{Problem, Problems, Sources, Span, nearest};
use crate::config::read::keys_of;
use crate::connection::Databases;
use crate::format::Format;
use crate::format::foreign::by_ending;
use crate::format::ipc::{Ipc, IpcStoreFields};
use crate::format::parquet::Parquet;
use crate::home::Home;
use crate::home::files::{FilesHome, FilesHomeFields};
use crate::home::flow::{FlowHome, FlowHomeFields};
use crate::home::sql::{SqlHome, SqlHomeFields};
use crate::store::Store;
use crate::store::files::{FilesStore, FilesStoreFields};
use crate::store::sql::{SqlStore, SqlStoreFields};

/// The formats of files, the default first.
const FORMATS: &[FormatKind] = &[
    FormatKind {
        id: "parquet",
        home: Options::none(|| Arc::new(Parquet)),
        store: Some(Options::none(|| Arc::new(Parquet))),
    },
    FormatKind {
        id: "ipc",
        home: Options::none(|| Arc::new(Ipc::default())),
        store: Some(Options::of::<IpcStoreFields>(
            |node, name, problems| Some(Arc::new(Ipc::from_block(node, name, problems)?)),
            || Arc::new(Ipc::default()),
        )),
    },
];

/// The kinds of homes, the default first.
const HOMES: &[Kind<dyn Home>] = &[
    Kind::new::<FilesHomeFields>(Make::OfFiles(HOME_OPTIONS, |format, keys, at| {
        FilesHome::from_block(format, keys, at.node, at.name, at.root, at.problems)
            .map(|home| Arc::new(home) as _)
    })),
    Kind::new::<FlowHomeFields>(Make::Named("flow", |at| {
        FlowHome::from_block(at.node, at.name, at.problems).map(|home| Arc::new(home) as _)
    })),
    Kind::new::<SqlHomeFields>(Make::Named("sql", |at| {
        SqlHome::from_block(at.node, at.name, at.connections, at.problems)
            .map(|home| Arc::new(home) as _)
    })),
];

/// Keys by which a home or a store says what it is, where it has no `type:`.
const MARKS: [(&str, &str); 2] = [("flow", "flow"), ("connection", "sql")];

/// The kinds of stores, the default first.
const STORES: &[Kind<dyn Store>] = &[
    Kind::new::<FilesStoreFields>(Make::OfFiles(STORE_OPTIONS, |format, keys, at| {
        FilesStore::from_block(format, keys, at.node, at.name, at.root, at.problems)
            .map(|store| Arc::new(store) as _)
    })),
    Kind::new::<SqlStoreFields>(Make::Named("sql", |at| {
        let store = SqlStore::from_block(
            at.node,
            at.name,
            at.root,
            (at.connections, at.databases),
            at.problems,
        );
        store.map(|store| Arc::new(store) as _)
    })),
];

/// A format of files, and what homes and stores of it may say besides what all files have.
struct FormatKind {
    /// Its `type:`.
    id: &'static str,
    home: Options,
    /// None where files are only read.
    store: Option<Options>,
}

/// The keys of a format's own.
#[derive(Clone, Copy)]
struct Options {
    make: fn(&Node, &str, &mut Problems) -> Option<Arc<dyn Format>>,
    keys: fn() -> &'static [&'static str],
    /// As a JSON Schema.
    schema: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// The format where nothing is said.
    default: fn() -> Arc<dyn Format>,
}

impl Options {
    const fn none(default: fn() -> Arc<dyn Format>) -> Self {
        Self {
            make: |_, _, _| None,
            keys: || &[],
            schema: None,
            default,
        }
    }

    const fn of<F: DeserializeOwned + JsonSchema>(
        make: fn(&Node, &str, &mut Problems) -> Option<Arc<dyn Format>>,
        default: fn() -> Arc<dyn Format>,
    ) -> Self {
        Self {
            make,
            keys: keys_of::<F>,
            schema: Some(F::json_schema),
            default,
        }
    }

    /// The format of a block.
    fn format(&self, node: &Node, name: &str, problems: &mut Problems) -> Option<Arc<dyn Format>> {
        match self.schema {
            Some(_) => (self.make)(
                &only(node, |key| (self.keys)().contains(&key.name.as_str())),
                name,
                problems,
            ),
            None => Some((self.default)()),
        }
    }
}

/// Which of a format's options a home or a store has.
type Which = fn(&FormatKind) -> Option<&Options>;

const HOME_OPTIONS: Which = |format| Some(&format.home);
const STORE_OPTIONS: Which = |format| format.store.as_ref();

/// A kind of homes or stores: its `type:`, its keys, and how it is made.
pub struct Kind<T: ?Sized> {
    make: Make<T>,
    keys: fn() -> &'static [&'static str],
    schema: fn(&mut SchemaGenerator) -> Schema,
}

/// How a home or a store is made from its block.
enum Make<T: ?Sized> {
    /// Of files: its words are the formats. What makes it is told which keys are the format's.
    OfFiles(Which, OfFiles<T>),
    /// By a word of its own.
    Named(&'static str, fn(Block<'_>) -> Option<Arc<T>>),
}

/// Makes a home or a store of files of a format, of whose keys it is told.
type OfFiles<T> = fn(Arc<dyn Format>, &[&str], Block<'_>) -> Option<Arc<T>>;

/// A block that is being read.
struct Block<'a> {
    node: &'a Node,
    /// How errors call it.
    name: &'a str,
    /// The folder that its paths are relative to.
    root: &'a Path,
    /// The connections of the config.
    connections: &'a [Connection],
    /// What stores write to.
    databases: &'a Arc<Databases>,
    problems: &'a mut Problems,
}

impl<T: ?Sized> Kind<T> {
    const fn new<F: DeserializeOwned + JsonSchema>(make: Make<T>) -> Self {
        Self {
            make,
            keys: keys_of::<F>,
            schema: F::json_schema,
        }
    }

    /// The words of `type:` that mean this kind.
    pub fn words(&self) -> Vec<&'static str> {
        match self.make {
            Make::OfFiles(which, _) => FORMATS
                .iter()
                .filter(|format| which(format).is_some())
                .map(|format| format.id)
                .collect(),
            Make::Named(word, _) => vec![word],
        }
    }

    /// The keys of a word, but for `type`.
    fn keys(&self, word: &str) -> Vec<&'static str> {
        let own = self
            .options(word)
            .map_or(&[][..], |options| (options.keys)());
        (self.keys)().iter().chain(own).copied().collect()
    }

    /// All keys, of whichever word.
    fn all_keys(&self) -> Vec<&'static str> {
        self.words()
            .into_iter()
            .flat_map(|word| self.keys(word))
            .collect()
    }

    /// What of a word is its format's.
    fn options(&self, word: &str) -> Option<&'static Options> {
        match self.make {
            Make::OfFiles(which, _) => FORMATS
                .iter()
                .find(|format| format.id == word)
                .and_then(which),
            Make::Named(..) => None,
        }
    }

    /// The keys of a word, as JSON Schemas: those of the kind, and those of its format.
    pub fn schemas(&self, word: &str, generator: &mut SchemaGenerator) -> (Value, Option<Value>) {
        let own = self
            .options(word)
            .and_then(|options| options.schema)
            .map(|schema| schema(generator).to_value());
        ((self.schema)(generator).to_value(), own)
    }

    /// The format of a word, where it is of files.
    pub fn format(&self, word: &str) -> Option<Arc<dyn Format>> {
        self.options(word).map(|options| (options.default)())
    }

    fn make(&self, word: &str, block: Block<'_>) -> Option<Arc<T>> {
        match self.make {
            Make::OfFiles(_, make) => {
                let options = self.options(word)?;
                let format = options.format(block.node, block.name, block.problems);
                // The rest of the block is looked at all the same.
                let made = make(
                    format.clone().unwrap_or_else(options.default),
                    (options.keys)(),
                    block,
                );
                format.and(made)
            }
            Make::Named(_, make) => make(block),
        }
    }
}

/// All formats, as they are where nothing is said.
pub fn formats() -> impl Iterator<Item = Arc<dyn Format>> {
    FORMATS.iter().map(|format| (format.home.default)())
}

/// A format by its name and its options, as [`Format::settings`] gives them.
pub fn format(id: &str, settings: &Value) -> Option<Arc<dyn Format>> {
    let kind = FORMATS.iter().find(|format| format.id == id)?;
    let written: Vec<(&String, &str)> = settings
        .as_object()?
        .iter()
        .map(|(key, value)| Some((key, value.as_str()?)))
        .collect::<Option<_>>()?;
    if written.is_empty() {
        return Some((kind.home.default)());
    }
    let at = Span::default();
    let entry = |(key, value): (&String, &str)| {
        (
            Key {
                name: key.clone(),
                at,
                is_default: false,
            },
            Node {
                value: Written::Text(value.into()),
                at,
            },
        )
    };
    let node = Node {
        value: Written::Map(written.into_iter().map(entry).collect()),
        at,
    };
    let mut problems = Problems::new(&Sources::default());
    kind.store
        .as_ref()?
        .format(&node, id, &mut problems)
        .filter(|_| problems.is_empty())
}

/// A store that reads the receipts of any folder, whatever its own says, and can clear it.
pub fn any_folder() -> Arc<dyn Store> {
    Arc::new(FilesStore::of_any((FORMATS[0].home.default)()))
}

/// The stores that a table of this name may be, one for each connection.
pub fn tables<'c>(
    root: &Path,
    connections: impl IntoIterator<Item = &'c Connection>,
    table: &str,
) -> Vec<Arc<dyn Store>> {
    let databases = Arc::new(Databases::new(root));
    let of = |connection| SqlStore::of_table(connection, table, root, &databases);
    connections
        .into_iter()
        .filter_map(of)
        .map(|store| Arc::new(store) as _)
        .collect()
}

/// Makes homes and stores by name.
#[derive(Clone, Debug)]
pub struct Factory<'a> {
    root: &'a Path,
    connections: &'a [Connection],
    /// Those of stores. Homes have sessions of their own: who fills a table never waits for somebody that reads and waits for him.
    databases: Arc<Databases>,
}

impl<'a> Factory<'a> {
    /// For a config in a folder, with these connections.
    pub fn new(root: &'a Path, connections: &'a [Connection]) -> Self {
        Self {
            root,
            connections,
            databases: Arc::new(Databases::new(root)),
        }
    }

    fn block<'b>(&'b self, name: &'b str, node: &'b Node, problems: &'b mut Problems) -> Block<'b> {
        Block {
            node,
            name,
            root: self.root,
            connections: self.connections,
            databases: &self.databases,
            problems,
        }
    }

    /// A home; `name` is how errors call it. A block with `flow` or `connection` needs no type.
    pub fn home(&self, name: &str, node: &Node, problems: &mut Problems) -> Option<Arc<dyn Home>> {
        make(HOMES, marked(HOMES, node), self.block(name, node, problems))
    }

    /// A store; `name` is how errors call it. A block with `connection` needs no type.
    pub fn store(
        &self,
        name: &str,
        node: &Node,
        problems: &mut Problems,
    ) -> Option<Arc<dyn Store>> {
        make(
            STORES,
            marked(STORES, node),
            self.block(name, node, problems),
        )
    }

    /// The keys of homes and stores, and in which of them each belongs.
    pub fn belongs() -> Vec<(&'static str, &'static str)> {
        let homes: Vec<&'static str> = HOMES.iter().flat_map(Kind::all_keys).collect();
        let stores: Vec<&'static str> = STORES.iter().flat_map(Kind::all_keys).collect();
        let place = |key: &&'static str| match (homes.contains(key), stores.contains(key)) {
            (true, true) => (*key, "home or store"),
            (true, false) => (*key, "home"),
            _ => (*key, "store"),
        };
        homes
            .iter()
            .chain(&stores)
            .map(place)
            .chain([("type", "home or store")])
            .collect()
    }

    /// The kinds of homes.
    pub fn homes() -> &'static [Kind<dyn Home>] {
        HOMES
    }

    /// The kinds of stores.
    pub fn stores() -> &'static [Kind<dyn Store>] {
        STORES
    }
}

/// The kind that a block without a type is of.
fn marked<'k, T: ?Sized>(kinds: &'k [Kind<T>], node: &Node) -> &'k Kind<T> {
    let is_marked = |kind: &&Kind<T>| {
        MARKS
            .iter()
            .any(|(key, word)| node.get(key).is_some() && kind.words() == [*word])
    };
    kinds.iter().find(is_marked).unwrap_or(&kinds[0])
}

/// Makes what a block's `type:` says. Defaults that are for other kinds are passed over. A type that
/// is not known is a problem; the rest is then read as the default's, but for keys that only the
/// meant type may have.
fn make<T: ?Sized>(kinds: &[Kind<T>], default: &Kind<T>, block: Block<'_>) -> Option<Arc<T>> {
    let Block {
        node,
        name,
        root,
        connections,
        databases,
        problems,
    } = block;
    let written = node.get("type");
    let found = kinds.iter().find_map(|kind| {
        let word = kind
            .words()
            .into_iter()
            .find(|word| written.and_then(Node::text) == Some(word))?;
        Some((kind, word))
    });
    let usual = default.words()[0];
    let (kind, word) = found.unwrap_or((default, usual));
    let own = kind.keys(word);
    let is_own = |key: &str| key == "type" || own.contains(&key);
    let is_others = |key: &str| kinds.iter().any(|kind| kind.all_keys().contains(&key));
    if let (None, Some(written)) = (found, written) {
        let words: Vec<&str> = kinds.iter().flat_map(Kind::words).collect();
        let is_mistyped = written
            .text()
            .is_some_and(|text| nearest(text, words.iter().copied()).is_some());
        problems.push(unknown_type(
            name,
            written,
            node.get("connection").is_some(),
            words,
        ));
        // The keys of a kind that nobody knows are not known either.
        if !is_mistyped && node.get("connection").is_none() {
            return None;
        }
        let mut rest = only(node, |key| is_own(&key.name));
        let has_path = own.contains(&"path");
        if let (Written::Map(entries), true) =
            (&mut rest.value, has_path && node.get("path").is_none())
        {
            let path = Node {
                value: Written::Text(".".into()),
                at: node.at,
            };
            entries.push((
                Key {
                    name: "path".into(),
                    at: node.at,
                    is_default: true,
                },
                path,
            ));
        }
        kind.make(
            word,
            Block {
                node: &rest,
                name,
                root,
                connections,
                databases,
                problems,
            },
        );
        return None;
    }
    if node
        .entries()
        .iter()
        .any(|(key, _)| key.is_default && !is_own(&key.name))
    {
        let rest = only(node, |key| {
            !key.is_default || is_own(&key.name) || !is_others(&key.name)
        });
        return kind.make(
            word,
            Block {
                node: &rest,
                name,
                root,
                connections,
                databases,
                problems,
            },
        );
    }
    kind.make(
        word,
        Block {
            node,
            name,
            root,
            connections,
            databases,
            problems,
        },
    )
}

fn unknown_type(
    name: &str,
    written: &Node,
    has_connection: bool,
    known: Vec<&'static str>,
) -> Problem {
    let text = written.text().unwrap_or_default().to_lowercase();
    let message = match written.text() {
        Some(text) => format!("{name} has the unknown type {text:?}"),
        None => format!("type of {name} is {}", written.value.describe()),
    };
    let problem = Problem::new(
        written.at,
        message,
        format!("expected one of {}", known.join(", ")),
    );
    if let Some(foreign) = foreign_name(&text) {
        return problem.hint(format!("that is {foreign}; {SPOKEN}, under connections"));
    }
    if has_connection || SCHEMES.contains(&text.as_str()) {
        return problem.hint("which database it is stands in the URL of its connection: {connection: NAME, table: TABLE}, without type");
    }
    if let Some(format) = FORMATS.iter().find(|format| {
        (format.home.default)()
            .extensions()
            .contains(&text.as_str())
    }) {
        return problem.hint(format!("did you mean {}?", format.id));
    }
    if let Some(other) = by_ending(&format!("x.{text}")) {
        return problem.hint(format!(
            "{} is not read from files here: {}",
            other.what, other.hint
        ));
    }
    problem.did_you_mean(
        written.text().unwrap_or_default(),
        known.iter().copied(),
        None,
    )
}

/// The entries of a map whose keys fit.
fn only(node: &Node, fits: impl Fn(&Key) -> bool) -> Node {
    let kept = node
        .entries()
        .iter()
        .filter(|(key, _)| fits(key))
        .cloned()
        .collect();
    Node {
        value: Written::Map(kept),
        at: node.at,
    }
}
