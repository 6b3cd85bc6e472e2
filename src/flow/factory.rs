//! The Factory: turns the `type:` of a home or a store into its implementation.
//!
//! This is the one registry. A new format is one entry of `FORMATS`; a home or store that is no
//! folder of files is one line in `HOMES` or `STORES`.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::block_reader::block_keys;
use crate::config::connection::{
    Connection, SCHEMES, SUPPORTED_DATABASES_HINT, unsupported_database,
};
use crate::config::listing::has_ending;
use crate::config::node::{Key, Node, NodeValue as Written};
use crate::config::problem::{Problem, Problems, SourceFiles, Span, closest_match};
use crate::connection::Databases;
use crate::format::Format;
use crate::format::csv::{Csv, CsvHomeFields, CsvStoreFields};
use crate::format::ipc::{Ipc, IpcStoreFields};
use crate::format::parquet::{Parquet, ParquetStoreFields};
use crate::format::sniff::sniff_extension;
use crate::home::Home;
use crate::home::files::{FilesHome, FilesHomeFields};
use crate::home::flow::{FlowHome, FlowHomeFields};
use crate::home::sql::{SqlHome, SqlHomeFields};
use crate::store::files::{self, FilesStore, FilesStoreFields};
use crate::store::sql::{SqlStore, SqlStoreFields};
use crate::store::{Store, StoreError, StoreSession};

/// The formats of files, the default first.
const FORMATS: &[FormatEntry] = &[
    FormatEntry {
        id: "parquet",
        home: FormatOptions::without_keys(|| Arc::new(Parquet::PLAIN)),
        store: Some(FormatOptions::with_keys::<ParquetStoreFields>(
            |node, name, problems| Some(Arc::new(Parquet::from_block(node, name, problems)?)),
            || Arc::new(Parquet::PLAIN),
        )),
    },
    FormatEntry {
        id: "ipc",
        home: FormatOptions::without_keys(|| Arc::new(Ipc::default())),
        store: Some(FormatOptions::with_keys::<IpcStoreFields>(
            |node, name, problems| Some(Arc::new(Ipc::from_block(node, name, problems)?)),
            || Arc::new(Ipc::default()),
        )),
    },
    FormatEntry {
        id: "csv",
        home: FormatOptions::with_keys::<CsvHomeFields>(
            |node, name, problems| Some(Arc::new(Csv::from_home(node, name, problems)?)),
            || Arc::new(Csv::default()),
        ),
        store: Some(FormatOptions::with_keys::<CsvStoreFields>(
            |node, name, problems| Some(Arc::new(Csv::from_store(node, name, problems)?)),
            || Arc::new(Csv::plain_store()),
        )),
    },
];

/// The kinds of homes, the default first.
const HOMES: &[Registration<dyn Home>] = &[
    Registration::new::<FilesHomeFields>(Constructor::Files(HOME_OPTIONS, |format, keys, at| {
        FilesHome::from_block(format, keys, at.node, at.name, at.root, at.problems)
            .map(|home| Arc::new(home) as _)
    })),
    Registration::new::<FlowHomeFields>(Constructor::Named("flow", |at| {
        FlowHome::from_block(at.node, at.name, at.problems).map(|home| Arc::new(home) as _)
    })),
    Registration::new::<SqlHomeFields>(Constructor::Named("sql", |at| {
        SqlHome::from_block(at.node, at.name, at.connections, at.problems)
            .map(|home| Arc::new(home) as _)
    })),
];

/// Keys by which a home or a store says what it is, where it has no `type:`.
const IMPLIED_TYPES: [(&str, &str); 2] = [("flow", "flow"), ("connection", "sql")];
/// Keys by which one without any of those and without a path is a table: the connection is then asked for.
const TABLE_KEYS: [&str; 2] = ["table", "query"];

/// The kinds of stores, the default first.
const STORES: &[Registration<dyn Store>] = &[
    Registration::new::<FilesStoreFields>(Constructor::Files(STORE_OPTIONS, |format, keys, at| {
        FilesStore::from_block(format, keys, at.node, at.name, at.root, at.problems)
            .map(|store| Arc::new(store) as _)
    })),
    Registration::new::<SqlStoreFields>(Constructor::Named("sql", |at| {
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
struct FormatEntry {
    /// Its `type:`.
    id: &'static str,
    home: FormatOptions,
    /// None where files are only read.
    store: Option<FormatOptions>,
}

/// The keys of a format's own.
#[derive(Clone, Copy)]
struct FormatOptions {
    make: fn(&Node, &str, &mut Problems) -> Option<Arc<dyn Format>>,
    keys: fn() -> &'static [&'static str],
    /// As a JSON Schema.
    schema: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// The format where nothing is said.
    default: fn() -> Arc<dyn Format>,
}

impl FormatOptions {
    const fn without_keys(default: fn() -> Arc<dyn Format>) -> Self {
        Self {
            make: |_, _, _| None,
            keys: || &[],
            schema: None,
            default,
        }
    }

    const fn with_keys<F: DeserializeOwned + JsonSchema>(
        make: fn(&Node, &str, &mut Problems) -> Option<Arc<dyn Format>>,
        default: fn() -> Arc<dyn Format>,
    ) -> Self {
        Self {
            make,
            keys: block_keys::<F>,
            schema: Some(F::json_schema),
            default,
        }
    }

    /// The format of a block.
    fn format(&self, node: &Node, name: &str, problems: &mut Problems) -> Option<Arc<dyn Format>> {
        match self.schema {
            Some(_) => (self.make)(
                &filter_entries(node, |key| (self.keys)().contains(&key.name.as_str())),
                name,
                problems,
            ),
            None => Some((self.default)()),
        }
    }
}

/// Which of a format's options a home or a store has.
type OptionsSelector = fn(&FormatEntry) -> Option<&FormatOptions>;

const HOME_OPTIONS: OptionsSelector = |format| Some(&format.home);
const STORE_OPTIONS: OptionsSelector = |format| format.store.as_ref();

/// A kind of homes or stores: its `type:`, its keys, and how it is made.
pub struct Registration<T: ?Sized> {
    make: Constructor<T>,
    keys: fn() -> &'static [&'static str],
    schema: fn(&mut SchemaGenerator) -> Schema,
}

/// How a home or a store is made from its block.
enum Constructor<T: ?Sized> {
    /// Of files: its words are the formats. What makes it is told which keys are the format's.
    Files(OptionsSelector, FilesConstructor<T>),
    /// By a word of its own.
    Named(&'static str, fn(BlockContext<'_>) -> Option<Arc<T>>),
}

/// Makes a home or a store of files of a format, of whose keys it is told.
type FilesConstructor<T> = fn(Arc<dyn Format>, &[&str], BlockContext<'_>) -> Option<Arc<T>>;

/// A block that is being read.
struct BlockContext<'a> {
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

impl<T: ?Sized> Registration<T> {
    const fn new<F: DeserializeOwned + JsonSchema>(make: Constructor<T>) -> Self {
        Self {
            make,
            keys: block_keys::<F>,
            schema: F::json_schema,
        }
    }

    /// The words of `type:` that mean this kind.
    pub fn type_names(&self) -> Vec<&'static str> {
        match self.make {
            Constructor::Files(which, _) => FORMATS
                .iter()
                .filter(|format| which(format).is_some())
                .map(|format| format.id)
                .collect(),
            Constructor::Named(word, _) => vec![word],
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
        self.type_names()
            .into_iter()
            .flat_map(|word| self.keys(word))
            .collect()
    }

    /// What of a word is its format's.
    fn options(&self, word: &str) -> Option<&'static FormatOptions> {
        match self.make {
            Constructor::Files(which, _) => FORMATS
                .iter()
                .find(|format| format.id == word)
                .and_then(which),
            Constructor::Named(..) => None,
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

    fn make(&self, word: &str, block: BlockContext<'_>) -> Option<Arc<T>> {
        match self.make {
            Constructor::Files(_, make) => {
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
            Constructor::Named(_, make) => make(block),
        }
    }
}

/// All formats, as they are where nothing is said.
pub fn formats() -> impl Iterator<Item = Arc<dyn Format>> {
    FORMATS.iter().map(|format| (format.home.default)())
}

/// A format by its name and its options, as [`Format::settings`] gives them.
pub fn format_from_settings(id: &str, settings: &Value) -> Option<Arc<dyn Format>> {
    let kind = FORMATS.iter().find(|format| format.id == id)?;
    if settings.as_object()?.is_empty() {
        return Some((kind.home.default)());
    }
    let node = node_of_setting(settings)?;
    // What files are written by has a store, and what they are read by a home.
    let options = [kind.store.as_ref(), Some(&kind.home)];
    let has_keys = |options: &&FormatOptions| {
        let keys = (options.keys)();
        let mut written = node.entries().iter();
        written.all(|(key, _)| keys.contains(&key.name.as_str()))
    };
    let made = |options: &FormatOptions| {
        let mut problems = Problems::new(&SourceFiles::default());
        let format = options.format(&node, id, &mut problems)?;
        (problems.is_empty() && serde_json::json!(format.settings()) == *settings).then_some(format)
    };
    options
        .into_iter()
        .flatten()
        .filter(has_keys)
        .find_map(made)
}

/// A setting as it would be written in a config.
fn node_of_setting(setting: &Value) -> Option<Node> {
    let at = Span::default();
    let value = match setting {
        Value::String(text) => Written::Text(text.clone()),
        Value::Number(number) => Written::Integer(number.as_i64()?),
        Value::Bool(value) => Written::Bool(*value),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| {
                let key = Key {
                    name: name.clone(),
                    at,
                    is_default: false,
                };
                Some((key, node_of_setting(value)?))
            };
            Written::Map(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Value::Array(items) => {
            let items = items.iter().map(node_of_setting);
            Written::List(items.collect::<Option<_>>()?)
        }
        Value::Null => return None,
    };
    Some(Node { value, at })
}

/// The store of files in a folder, by its real path, whatever a config says of it: its receipt can
/// be read, and it can be cleared.
///
/// # Errors
/// There can be no store: its name is too long for what stands beside it.
pub fn open_folder(folder: &Path) -> Result<Arc<dyn StoreSession>, StoreError> {
    files::open_folder(folder)
}

/// The stores that a table of this name may be, one for each connection.
pub fn table_stores<'c>(
    root: &Path,
    connections: impl IntoIterator<Item = &'c Connection>,
    table: &str,
) -> Vec<Arc<dyn Store>> {
    let databases = Arc::new(Databases::new(root));
    let of = |connection| SqlStore::for_table(connection, table, root, &databases);
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
    /// Those of stores. Homes have sessions of their own: who fills a table never waits for
    /// somebody that reads and waits for him.
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

    fn block<'b>(
        &'b self,
        name: &'b str,
        node: &'b Node,
        problems: &'b mut Problems,
    ) -> BlockContext<'b> {
        BlockContext {
            node,
            name,
            root: self.root,
            connections: self.connections,
            databases: &self.databases,
            problems,
        }
    }

    /// A home; `name` is how errors call it. A block with `flow` or `connection` needs no type, and one
    /// of files none where their ending says it.
    pub fn home(&self, name: &str, node: &Node, problems: &mut Problems) -> Option<Arc<dyn Home>> {
        let node = &*without_local(node);
        let (kind, usual) = infer_kind(HOMES, node);
        let by_ending = format_by_ending(node).filter(|word| kind.type_names().contains(word));
        let default = (kind, by_ending.unwrap_or(usual));
        make_from_block(HOMES, default, self.block(name, node, problems))
    }

    /// A store; `name` is how errors call it. A block with `connection` needs no type.
    pub fn store(
        &self,
        name: &str,
        node: &Node,
        problems: &mut Problems,
    ) -> Option<Arc<dyn Store>> {
        let node = &*without_local(node);
        make_from_block(
            STORES,
            infer_kind(STORES, node),
            self.block(name, node, problems),
        )
    }

    /// The keys of homes and stores, and in which of them each belongs.
    pub fn key_owners() -> Vec<(&'static str, &'static str)> {
        let homes: Vec<&'static str> = HOMES.iter().flat_map(Registration::all_keys).collect();
        let stores: Vec<&'static str> = STORES.iter().flat_map(Registration::all_keys).collect();
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
    pub fn homes() -> &'static [Registration<dyn Home>] {
        HOMES
    }

    /// The kinds of stores.
    pub fn stores() -> &'static [Registration<dyn Store>] {
        STORES
    }
}

/// What the Python hygge writes as `type: local` with a `format`, as a block of that type.
fn without_local(node: &Node) -> Cow<'_, Node> {
    if node.get("type").and_then(Node::text) != Some("local") {
        return Cow::Borrowed(node);
    }
    let format = node.get("format");
    let entry = |(key, value): &(Key, Node)| match (key.name.as_str(), format) {
        ("format", _) | ("type", None) => None,
        ("type", Some(format)) => Some((key.clone(), format.clone())),
        _ => Some((key.clone(), value.clone())),
    };
    let entries = node.entries().iter().filter_map(entry);
    Cow::Owned(Node {
        value: Written::Map(entries.collect()),
        at: node.at,
    })
}

/// The format of the files of a home that its glob or its path ends with.
fn format_by_ending(node: &Node) -> Option<&'static str> {
    let name = node.get("glob").or_else(|| node.get("path"))?.text()?;
    // Most are folders.
    if !name.contains('.') {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let ends = |format: &&FormatEntry| {
        let format = (format.home.default)();
        has_ending(name.as_bytes(), format.extensions())
    };
    FORMATS.iter().find(ends).map(|format| format.id)
}

/// The kind that a block without a type is of, and the word for it.
fn infer_kind<'k, T: ?Sized>(
    kinds: &'k [Registration<T>],
    node: &Node,
) -> (&'k Registration<T>, &'static str) {
    let has = |key: &str| node.get(key).is_some();
    let is_table = !has("path") && TABLE_KEYS.into_iter().any(has);
    let is_marked = |kind: &&Registration<T>| {
        let means = |word| kind.type_names() == [word];
        (is_table && means("sql"))
            || IMPLIED_TYPES
                .iter()
                .any(|(key, word)| has(key) && means(*word))
    };
    let kind = kinds.iter().find(is_marked).unwrap_or(&kinds[0]);
    (kind, kind.type_names()[0])
}

/// Makes what a block's `type:` says. Defaults that are for other kinds are passed over. A type
/// that is not known is a problem; the rest is then read as the default's, but for keys that only
/// the meant type may have.
fn make_from_block<T: ?Sized>(
    kinds: &[Registration<T>],
    default: (&Registration<T>, &'static str),
    block: BlockContext<'_>,
) -> Option<Arc<T>> {
    let BlockContext {
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
            .type_names()
            .into_iter()
            .find(|word| written.and_then(Node::text) == Some(word))?;
        Some((kind, word))
    });
    let (kind, word) = found.unwrap_or(default);
    let own = kind.keys(word);
    let is_own = |key: &str| key == "type" || own.contains(&key);
    let is_others = |key: &str| kinds.iter().any(|kind| kind.all_keys().contains(&key));
    if let (None, Some(written)) = (found, written) {
        let words: Vec<&str> = kinds.iter().flat_map(Registration::type_names).collect();
        let is_mistyped = written
            .text()
            .is_some_and(|text| closest_match(text, words.iter().copied()).is_some());
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
        let mut rest = filter_entries(node, |key| is_own(&key.name));
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
            BlockContext {
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
        let rest = filter_entries(node, |key| {
            !key.is_default || is_own(&key.name) || !is_others(&key.name)
        });
        return kind.make(
            word,
            BlockContext {
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
        BlockContext {
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
    if let Some(foreign) = unsupported_database(&text) {
        return problem.with_hint(format!(
            "that is {foreign}; {SUPPORTED_DATABASES_HINT}, under connections"
        ));
    }
    if has_connection || SCHEMES.contains(&text.as_str()) {
        return problem.with_hint("which database it is stands in the URL of its connection: {connection: NAME, table: TABLE}, without type");
    }
    if let Some(format) = FORMATS.iter().find(|format| {
        (format.home.default)()
            .extensions()
            .contains(&text.as_str())
    }) {
        return problem.with_hint(format!("did you mean {}?", format.id));
    }
    if let Some(other) = sniff_extension(&format!("x.{text}")) {
        return problem.with_hint(format!(
            "{} is not read from files here: {}",
            other.description, other.hint
        ));
    }
    problem.with_suggestion(
        written.text().unwrap_or_default(),
        known.iter().copied(),
        None,
    )
}

/// The entries of a map whose keys fit.
fn filter_entries(node: &Node, fits: impl Fn(&Key) -> bool) -> Node {
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
