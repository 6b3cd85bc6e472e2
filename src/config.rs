//! The config: what `hygge.yml` says, read once and with every place it was read from.
//!
//! It knows the blocks that every flow has. What a home or a store may say is for their own files.

pub mod block_reader;
pub mod config_file;
pub mod connection;
pub mod entities;
mod entity_paths;
mod environment;
pub mod flows;
mod flows_folder;
mod interpolation;
pub mod listing;
pub mod loader;
pub mod merge;
pub mod named_blocks;
pub mod node;
pub mod problem;
mod redaction;
pub mod schema;
mod secrets;
pub mod suggest;
pub mod table_entities;
pub mod table_patterns;
pub mod url;
pub mod value_types;
pub mod variables;
pub mod yaml;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use block_reader::{KnownKeys, block_keys, read_block_with};
use connection::Connection;
use entities::file_start;
use flows::{ExpandedFlows, Expander};
use loader::LoadedConfig;
use named_blocks::UnusedBlock;
use node::{Key, Node, NodeValue};
use problem::{Problem, Problems, Span, closest_match};
use schema::{
    CacheFields, CacheKeep, FlowMode, OnChanged, OnDrift, OnRepeated, OnVanished, OptionsFields,
    ProjectFields, SharedFields,
};
use table_patterns::TableSource;
use value_types::{BoundedNumber, ByteSize, ConfigDuration, Percentage};

/// The config of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the project.
    pub name: String,
    /// Options of the whole run.
    pub options: ProjectOptions,
    /// The connections by name.
    pub connections: Vec<Connection>,
    /// The flows, those of the main file first, in the order in which they are written.
    pub flows: Vec<FlowBlock>,
    /// Flows that have no entity, and so are none.
    pub without_entities: Vec<String>,
    /// Flows with entities that a pattern finds, and how many of a hundred may be gone that were
    /// published before.
    pub max_lost: BTreeMap<String, u8>,
    /// Tables that patterns of entities are found among.
    pub table_sources: BTreeSet<TableSource>,
    /// Flows with entities that are tables, of which it is not known which there are, and why.
    pub unlisted: BTreeMap<String, String>,
    /// What patterns of entities pass over although it may have been meant: the flow, and words.
    pub near_misses: Vec<(String, String)>,
    /// Homes and stores of no flow: those that none uses, those of `defaults`.
    pub unused_blocks: Vec<UnusedBlock>,
    /// What is no error and most likely not meant.
    pub warnings: Vec<Problem>,
}

/// `options:` of the project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectOptions {
    /// How many parts are made at once; `None` for as many as there are processors.
    pub concurrency: Option<usize>,
    /// Whether other flows go on when one has failed.
    pub continue_on_error: bool,
    /// The folder of the cache, absolute.
    pub cache_folder: PathBuf,
    /// Whether the cache keeps its own copy of what is published.
    pub cache_keep: CacheKeep,
    /// How many bytes of history the cache may have.
    pub cache_size: ByteSize,
    /// How long a part stays in the cache that no store has.
    pub cache_age: ConfigDuration,
    /// The file of variables, absolute.
    pub env_file: Option<PathBuf>,
    /// Whether every path must lie in the folder of the config.
    pub confine: bool,
    /// Where `cache.dir` is written, or what stands around it.
    pub cache_at: Span,
}

/// One flow, with everything put in that it shares with others.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowBlock {
    /// Its name: `FLOW` or `FLOW.ENTITY`.
    pub name: String,
    /// The flow as it is written in the config.
    pub flow: String,
    /// The entity, where it is one of several.
    pub entity: Option<String>,
    /// Where its name stands.
    pub at: Span,
    /// Its home; `None` where it is missing, which is a problem already.
    pub home: Option<Node>,
    /// Its store.
    pub store: Option<Node>,
    /// Flows that must be built before.
    pub needs: Vec<(String, Span)>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// Whether a build makes the whole set.
    pub mode: Option<FlowMode>,
    /// What becomes of an input that was moved and has other bytes now.
    pub on_changed: Option<OnChanged>,
    /// Whether the rows of an input that is gone stay.
    pub on_vanished: Option<OnVanished>,
    /// What becomes of one that has the bytes of another that is gone.
    pub on_repeated: Option<OnRepeated>,
    /// What becomes of columns of the home that have changed.
    pub on_drift: Option<OnDrift>,
    /// What becomes of rows and columns on their way; `None` where nothing is said.
    pub shape: Option<Node>,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: Option<Percentage>,
    /// How long a build of it may take.
    pub timeout: Option<ConfigDuration>,
    /// How many batches wait between a database and its encoder.
    pub queue_size: Option<BoundedNumber<1, 1000>>,
    /// How often it is tried again when a database fails with a transient error.
    pub retries: Option<BoundedNumber<0, 100>>,
    /// Whether other flows begin when this one has failed.
    pub continue_on_error: Option<bool>,
}

/// A file of the config.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is for.
    pub role: Role,
    /// What is in it.
    pub tree: Node,
}

/// What a file of the config is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `hygge.yml`.
    Project,
    /// `flows/NAME/flow.yml`.
    Flow(String),
    /// `flows/NAME/entities/ENTITY.yml`.
    Entity(String, String),
}

/// A path as the config means it: relative to the folder of the config, whose own path has no
/// links, so that `..` at the beginning of `written` leads to the folder above and need not be
/// shown.
pub fn absolute(root: &Path, written: &str) -> PathBuf {
    let mut path = root.to_path_buf();
    let mut parts = Path::new(written).components().peekable();
    while let Some(Component::ParentDir | Component::CurDir) = parts.peek() {
        if parts.next() == Some(Component::ParentDir) {
            path.pop();
        }
    }
    path.extend(parts);
    path
}

/// The path of a home or store; signs that are not what they are elsewhere are problems.
pub fn checked_path(root: &Path, node: &Node, written: &str, problems: &mut Problems) -> PathBuf {
    let at = node.span_of("path");
    if written == "~" || written.starts_with("~/") {
        let problem = Problem::new(
            at,
            format!("the path {written:?} begins with ~, which only shells know"),
            "expected a path without ~",
        );
        problems.push(problem.with_hint("write ${HOME} for it"));
    }
    let placeholder = written
        .find('{')
        .and_then(|open| Some(&written[open..=open + written[open..].find('}')?]));
    if let Some(placeholder) = placeholder {
        let problem = Problem::new(
            at,
            format!("the path {written:?} has the unknown placeholder {placeholder}"),
            "expected {entity} or {flow}",
        );
        problems.push(problem.with_suggestion(
            placeholder,
            ["{entity}", "{flow}"].into_iter(),
            Some("paths know {entity} and {flow}".into()),
        ));
    }
    absolute(root, written)
}

/// The fields of a home or a store by name, as they were understood.
pub type Settings = BTreeMap<&'static str, serde_json::Value>;

/// The names that are looked for, the first one first.
pub const FILE_NAMES: [&str; 2] = ["hygge.yml", "hygge.yaml"];

/// What a variable's name begins with that gives a connection its URL.
pub const CONNECTION_PREFIX: &str = "HYGGE_CONNECTION_";

/// The variable that PostgreSQL's clients take for `sslmode` where nothing else says it.
pub const PGSSLMODE: &str = "PGSSLMODE";

/// How much history the cache has where nothing is said: 10 GB.
const DEFAULT_CACHE_SIZE: ByteSize = ByteSize(10_000_000_000);

/// For how long it has it: 30 days.
const DEFAULT_CACHE_AGE: ConfigDuration = ConfigDuration(Duration::from_secs(30 * 86_400));

/// What the example of a config in a hint is.
const EXAMPLE: &str =
    "write:\nflows:\n  NAME:\n    home: folder/to/read\n    store: folder/to/fill";

/// Makes sense of a config. What is usable is given even where there are problems, so that the
/// flows can be looked at too and every problem is reported at once.
///
/// `belongs` says of keys of homes and stores where they belong, for those who write them
/// elsewhere.
pub fn resolve(
    loaded: &LoadedConfig,
    key_locations: &[(&'static str, &'static str)],
) -> (Option<Config>, Problems) {
    let mut problems = loaded.problems.clone();
    let config = resolve_project(loaded, key_locations, &mut problems);
    (config, problems)
}

/// The config, where there is a project to be read.
fn resolve_project(
    loaded: &LoadedConfig,
    key_locations: &[(&'static str, &'static str)],
    problems: &mut Problems,
) -> Option<Config> {
    let project = project_tree(loaded, problems)?;
    let supported = connection::without_unsupported(&project, problems);
    let tree = supported.as_ref().unwrap_or(&project);
    let fields = read_project(tree, problems)?;
    let options = resolve_options(fields.options.unwrap_or_default(), cache_span(tree), loaded);
    let mut connections = connection::resolve(
        fields.connections.unwrap_or_default(),
        &project,
        &loaded.variables,
        problems,
    );
    connections
        .iter_mut()
        .for_each(|connection| connection.is_confined = options.confine);
    let expanded = expand_flows(tree, loaded, key_locations, problems);
    // One that could not be read is a problem already.
    if loaded.sources.len() == 1 {
        check_has_flows(tree, problems);
    }
    if options.confine {
        check_confined(loaded, tree, problems);
    }
    let mut warnings = expanded.warnings;
    warnings.extend(loaded.warnings.iter().cloned());
    warnings.extend(connection_warnings(&connections, &expanded.flows, tree.at));
    Some(Config {
        name: fields.name.unwrap_or_else(|| default_name(loaded)),
        options,
        connections,
        flows: expanded.flows,
        without_entities: expanded.without_entities,
        max_lost: expanded.max_lost,
        table_sources: expanded.table_sources,
        unlisted: expanded.unlisted,
        near_misses: expanded.near_misses,
        unused_blocks: expanded.unused_blocks,
        warnings,
    })
}

/// What the main file says. One that is empty says nothing, beside others; alone, it is a problem.
fn project_tree<'l>(loaded: &'l LoadedConfig, problems: &mut Problems) -> Option<Cow<'l, Node>> {
    let project = loaded.documents.first()?;
    if project.role != Role::Project {
        return None;
    }
    let tree = &project.tree;
    if tree.value != NodeValue::Null {
        return Some(Cow::Borrowed(tree));
    }
    if loaded.documents.len() == 1 {
        problems.push(
            Problem::new(tree.at, "the config is empty", "expected the key flows")
                .with_hint(EXAMPLE),
        );
        return None;
    }
    Some(Cow::Owned(Node {
        value: NodeValue::Map(Vec::new()),
        at: tree.at,
    }))
}

/// The keys of the main file; of one that stands a level too high, it is said where it belongs.
fn read_project(tree: &Node, problems: &mut Problems) -> Option<ProjectFields> {
    // Keys for anchors, as other tools have them.
    let extensions: Vec<&str> = tree
        .entries()
        .iter()
        .map(|(key, _)| key.name.as_str())
        .filter(|key| key.starts_with("x-"))
        .collect();
    let for_options = block_keys::<OptionsFields>()
        .iter()
        .map(|key| (*key, "options"));
    let for_cache = block_keys::<CacheFields>()
        .iter()
        .map(|key| (*key, "options.cache"));
    let for_flows = block_keys::<SharedFields>()
        .iter()
        .map(|key| (*key, "a flow: flows: {NAME: {home: …, store: …}}"));
    let key_locations: Vec<_> = for_options.chain(for_cache).chain(for_flows).collect();
    let known = KnownKeys {
        extra: &extensions,
        key_locations: &key_locations,
    };
    read_block_with(tree, "the config", known, problems)
}

/// Where the folder of the cache is said, or would be.
fn cache_span(tree: &Node) -> Span {
    tree.get("options").map_or(tree.at, |options| {
        options
            .get("cache")
            .map_or(options.at, |cache| cache.span_of("dir"))
    })
}

/// The flows of the main file, and those that have a folder.
fn expand_flows(
    tree: &Node,
    loaded: &LoadedConfig,
    key_locations: &[(&'static str, &'static str)],
    problems: &mut Problems,
) -> ExpandedFlows {
    let folders: Vec<(Key, &Node)> = loaded
        .documents
        .iter()
        .filter_map(flow_from_folder)
        .collect();
    let written = tree
        .get("flows")
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, node)| (key, node));
    let written: Vec<(&Key, &Node)> = written
        .chain(folders.iter().map(|(key, node)| (key, *node)))
        .collect();
    let for_project =
        ["homes", "stores", "connections", "flows_dir"].map(|key| (key, "hygge.yml, beside flows"));
    let key_locations = [key_locations, &for_project].concat();
    let expander = Expander::new(tree, loaded, &key_locations, problems);
    expander.expand(&written, problems)
}

/// What is to be said of connections that can be used.
fn connection_warnings(connections: &[Connection], flows: &[FlowBlock], at: Span) -> Vec<Problem> {
    let blocks = flows
        .iter()
        .flat_map(|flow| flow.home.iter().chain(&flow.store));
    let used: BTreeSet<&str> = blocks
        .filter_map(|block| block.get("connection")?.text())
        .collect();
    let unverified = connections
        .iter()
        .filter_map(Connection::unverified_warning);
    let unused = connections
        .iter()
        .filter(|connection| !used.contains(connection.name.as_str()))
        .filter_map(Connection::unused_warning);
    unverified
        .chain(unused)
        .chain(connection::parameter_warnings(connections, at))
        .collect()
}

/// With `confine`, the config's own files stay in its folder too.
fn check_confined(found: &LoadedConfig, tree: &Node, problems: &mut Problems) {
    let places = found
        .flows_folder
        .iter()
        .chain(&found.env_file)
        .filter(|path| !path.starts_with(&found.root));
    for path in places.chain(&found.outside_links) {
        let at = if found.env_file.as_ref() == Some(path) {
            tree.get("options")
                .map_or(tree.at, |options| options.span_of("env_file"))
        } else {
            tree.span_of("flows_dir")
        };
        let by_link = if path.starts_with(&found.root) {
            " by a link"
        } else {
            ""
        };
        let problem = Problem::new(
            at,
            format!("the config leaves its folder{by_link}: {}", path.display()),
            "expected a path below it",
        );
        problems.push(problem.with_hint("options.confine: true asks for that"));
    }
}

/// A config has flows; a key that was meant as `flows` is a problem of its own.
fn check_has_flows(tree: &Node, problems: &mut Problems) {
    let written = tree.entries().iter().find(|(key, _)| key.name == "flows");
    let is_mistyped = tree
        .entries()
        .iter()
        .any(|(key, _)| closest_match(&key.name, std::iter::once("flows")).is_some());
    let (at, message) = match written.map(|(key, node)| (key, &node.value)) {
        Some((key, NodeValue::Null)) => (key.at, "flows is nothing"),
        Some((key, NodeValue::Map(flows))) if flows.is_empty() => (key.at, "flows is empty"),
        None if !is_mistyped => (tree.at, "the config has no flows"),
        _ => return,
    };
    problems.push(
        Problem::new(at, message, "expected at least one flow under flows").with_hint(EXAMPLE),
    );
}

/// The flow of a `flow.yml`, as if it stood under `flows`.
fn flow_from_folder(document: &Document) -> Option<(Key, &Node)> {
    let Role::Flow(name) = &document.role else {
        return None;
    };
    Some((
        Key {
            name: name.clone(),
            at: file_start(&document.tree),
            is_default: false,
        },
        &document.tree,
    ))
}

/// A project without a name is called after its file.
fn default_name(found: &LoadedConfig) -> String {
    let folder = found.root.file_name().unwrap_or_default().to_string_lossy();
    let file = found
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    format!("{folder}/{file}")
}

fn resolve_options(fields: OptionsFields, cache_at: Span, found: &LoadedConfig) -> ProjectOptions {
    let cache = fields.cache.unwrap_or_default();
    ProjectOptions {
        concurrency: fields
            .concurrency
            .and_then(|number| usize::try_from(number.0).ok()),
        continue_on_error: fields.continue_on_error.unwrap_or(true),
        cache_folder: absolute(
            &found.root,
            cache.dir.as_ref().map_or(".hygge-cache", |dir| &dir.0),
        ),
        cache_keep: cache.keep.unwrap_or_default(),
        cache_size: cache.max_size.unwrap_or(DEFAULT_CACHE_SIZE),
        cache_age: cache.max_age.unwrap_or(DEFAULT_CACHE_AGE),
        env_file: found.env_file.clone(),
        confine: fields.confine.unwrap_or(false),
        cache_at,
    }
}
