//! The config: what `hygge.yml` says, read once and with every place it was read from.
//!
//! It knows the blocks that every flow has. What a home or a store may say is for their own files.

pub mod connection;
mod covering;
pub mod entities;
mod environment;
pub mod file;
mod filling;
pub mod flows;
mod folder;
pub mod listing;
pub mod loader;
pub mod merge;
pub mod named;
pub mod node;
pub mod problem;
pub mod read;
pub mod schema;
mod secrets;
pub mod suggest;
pub mod url;
pub mod variables;
pub mod words;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use connection::Connection;
use entities::beginning;
use flows::Expander;
use loader::Found;
use named::Spare;
use node::{Key, Node, Value};
use problem::{Problem, Problems, Span, nearest};
use read::{Known, keys_of, read_known};
use schema::{
    CacheFields, CacheKeep, ModeWord, OnChanged, OnRepeated, OnVanished, OptionsFields,
    ProjectFields, SharedFields,
};
use words::{Bytes, Number, Percentage, Time};

/// The config of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the project.
    pub name: String,
    /// Options of the whole run.
    pub options: Options,
    /// The connections by name.
    pub connections: Vec<Connection>,
    /// The flows, those of the main file first, in the order in which they are written.
    pub flows: Vec<FlowBlock>,
    /// Flows that have no entity, and so are none.
    pub without_entities: Vec<String>,
    /// Flows with entities that a pattern finds, and how many of a hundred may be gone that were
    /// published before.
    pub max_lost: BTreeMap<String, u8>,
    /// What patterns of entities pass over although it may have been meant: the flow, and words.
    pub passed_over: Vec<(String, String)>,
    /// Homes and stores of no flow: those that none uses, those of `defaults`.
    pub spare: Vec<Spare>,
    /// What is no error and most likely not meant.
    pub warnings: Vec<Problem>,
}

/// `options:` of the project.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How many parts are made at once; `None` for as many as there are processors.
    pub concurrency: Option<usize>,
    /// Whether other flows go on when one has failed.
    pub continue_on_error: bool,
    /// The folder of the cache, absolute.
    pub cache_folder: PathBuf,
    /// Whether the cache keeps its own copy of what is published.
    pub cache_keep: CacheKeep,
    /// How many bytes of history the cache may have.
    pub cache_size: Bytes,
    /// How long a part stays in the cache that no store has.
    pub cache_age: Time,
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
    pub mode: Option<ModeWord>,
    /// What becomes of an input that was moved and has other bytes now.
    pub on_changed: Option<OnChanged>,
    /// Whether the rows of an input that is gone stay.
    pub on_vanished: Option<OnVanished>,
    /// What becomes of one that has the bytes of another that is gone.
    pub on_repeated: Option<OnRepeated>,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: Option<Percentage>,
    /// How long a build of it may take.
    pub timeout: Option<Time>,
    /// How many batches wait between a database and its encoder.
    pub queue_size: Option<Number<1, 1000>>,
    /// How often it is tried again when a database fails in a way that may pass.
    pub retries: Option<Number<0, 100>>,
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
    let at = node.place_of("path");
    if written == "~" || written.starts_with("~/") {
        let problem = Problem::new(
            at,
            format!("the path {written:?} begins with ~, which only shells know"),
            "expected a path without ~",
        );
        problems.push(problem.hint("write ${HOME} for it"));
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
        problems.push(problem.did_you_mean(
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
const CACHE_SIZE: Bytes = Bytes(10_000_000_000);

/// For how long it has it: 30 days.
const CACHE_AGE: Time = Time(Duration::from_secs(30 * 86_400));

/// What the example of a config in a hint is.
const EXAMPLE: &str =
    "write:\nflows:\n  NAME:\n    home: folder/to/read\n    store: folder/to/fill";

/// Makes sense of a config. What is usable is given even where there are problems, so that the
/// flows can be looked at too and every problem is reported at once.
///
/// `belongs` says of keys of homes and stores where they belong, for those who write them
/// elsewhere.
pub fn resolve(
    found: &Found,
    belongs: &[(&'static str, &'static str)],
) -> (Option<Config>, Problems) {
    let mut problems = found.problems.clone();
    let Some(project) = found
        .documents
        .first()
        .filter(|document| document.role == Role::Project)
    else {
        return (None, problems);
    };
    let empty = Node {
        value: Value::Map(Vec::new()),
        at: project.tree.at,
    };
    let mut tree = &project.tree;
    if tree.value == Value::Null {
        if found.documents.len() == 1 {
            problems.push(
                Problem::new(tree.at, "the config is empty", "expected the key flows")
                    .hint(EXAMPLE),
            );
            return (None, problems);
        }
        tree = &empty;
    }
    let whole = tree;
    let spoken = connection::without_foreign(whole, &mut problems);
    let tree = spoken.as_ref().unwrap_or(whole);
    // Keys for anchors, as other tools have them.
    let extensions: Vec<&str> = tree
        .entries()
        .iter()
        .map(|(key, _)| key.name.as_str())
        .filter(|key| key.starts_with("x-"))
        .collect();
    let of_options = keys_of::<OptionsFields>()
        .iter()
        .map(|key| (*key, "options"));
    let of_cache = keys_of::<CacheFields>()
        .iter()
        .map(|key| (*key, "options.cache"));
    let of_flows = keys_of::<SharedFields>()
        .iter()
        .map(|key| (*key, "a flow: flows: {NAME: {home: …, store: …}}"));
    let below: Vec<_> = of_options.chain(of_cache).chain(of_flows).collect();
    let known = Known {
        also: &extensions,
        belongs: &below,
    };
    let Some(fields) = read_known::<ProjectFields>(tree, "the config", known, &mut problems) else {
        return (None, problems);
    };
    let cache_at = tree.get("options").map_or(tree.at, |options| {
        options
            .get("cache")
            .map_or(options.at, |cache| cache.place_of("dir"))
    });
    let options = options(fields.options.unwrap_or_default(), cache_at, found);
    let mut connections = connection::resolve(
        fields.connections.unwrap_or_default(),
        whole,
        &found.variables,
        &mut problems,
    );
    connections
        .iter_mut()
        .for_each(|connection| connection.is_confined = options.confine);
    let folders: Vec<(Key, &Node)> = found.documents.iter().filter_map(flow_of_folder).collect();
    let written = tree
        .get("flows")
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, node)| (key, node));
    let written: Vec<(&Key, &Node)> = written
        .chain(folders.iter().map(|(key, node)| (key, *node)))
        .collect();
    let of_project =
        ["homes", "stores", "connections", "flows_dir"].map(|key| (key, "hygge.yml, beside flows"));
    let belongs = [belongs, &of_project].concat();
    let expander = Expander::new(tree, found, &belongs, &mut problems);
    let expanded = expander.expand(&written, &mut problems);
    // One that could not be read is a problem already.
    if found.sources.len() == 1 {
        check_any_flow(tree, &mut problems);
    }
    if options.confine {
        check_confined(found, tree, &mut problems);
    }
    let flows::Expanded {
        flows,
        without_entities,
        max_lost,
        passed_over,
        spare,
        mut warnings,
    } = expanded;
    warnings.extend(found.warnings.iter().cloned());
    let blocks = flows
        .iter()
        .flat_map(|flow| flow.home.iter().chain(&flow.store));
    let used: BTreeSet<&str> = blocks
        .filter_map(|block| block.get("connection")?.text())
        .collect();
    warnings.extend(connections.iter().filter_map(Connection::unverified));
    warnings.extend(
        connections
            .iter()
            .filter(|connection| !used.contains(connection.name.as_str()))
            .filter_map(Connection::unused),
    );
    warnings.extend(connection::warnings(&connections, tree.at));
    let name = fields.name.unwrap_or_else(|| default_name(found));
    (
        Some(Config {
            name,
            options,
            connections,
            flows,
            without_entities,
            max_lost,
            passed_over,
            spare,
            warnings,
        }),
        problems,
    )
}

/// With `confine`, the config's own files stay in its folder too.
fn check_confined(found: &Found, tree: &Node, problems: &mut Problems) {
    let places = found
        .flows_folder
        .iter()
        .chain(&found.env_file)
        .filter(|path| !path.starts_with(&found.root));
    for path in places.chain(&found.leaving) {
        let at = if found.env_file.as_ref() == Some(path) {
            tree.get("options")
                .map_or(tree.at, |options| options.place_of("env_file"))
        } else {
            tree.place_of("flows_dir")
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
        problems.push(problem.hint("options.confine: true asks for that"));
    }
}

/// A config has flows; a key that was meant as `flows` is a problem of its own.
fn check_any_flow(tree: &Node, problems: &mut Problems) {
    let written = tree.entries().iter().find(|(key, _)| key.name == "flows");
    let is_mistyped = tree
        .entries()
        .iter()
        .any(|(key, _)| nearest(&key.name, std::iter::once("flows")).is_some());
    let (at, message) = match written.map(|(key, node)| (key, &node.value)) {
        Some((key, Value::Null)) => (key.at, "flows is nothing"),
        Some((key, Value::Map(flows))) if flows.is_empty() => (key.at, "flows is empty"),
        None if !is_mistyped => (tree.at, "the config has no flows"),
        _ => return,
    };
    problems
        .push(Problem::new(at, message, "expected at least one flow under flows").hint(EXAMPLE));
}

/// The flow of a `flow.yml`, as if it stood under `flows`.
fn flow_of_folder(document: &Document) -> Option<(Key, &Node)> {
    let Role::Flow(name) = &document.role else {
        return None;
    };
    Some((
        Key {
            name: name.clone(),
            at: beginning(&document.tree),
            is_default: false,
        },
        &document.tree,
    ))
}

/// A project without a name is called after its file.
fn default_name(found: &Found) -> String {
    let folder = found.root.file_name().unwrap_or_default().to_string_lossy();
    let file = found
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    format!("{folder}/{file}")
}

fn options(fields: OptionsFields, cache_at: Span, found: &Found) -> Options {
    let cache = fields.cache.unwrap_or_default();
    Options {
        concurrency: fields
            .concurrency
            .and_then(|number| usize::try_from(number.0).ok()),
        continue_on_error: fields.continue_on_error.unwrap_or(true),
        cache_folder: absolute(
            &found.root,
            cache.dir.as_ref().map_or(".hygge-cache", |dir| &dir.0),
        ),
        cache_keep: cache.keep.unwrap_or_default(),
        cache_size: cache.max_size.unwrap_or(CACHE_SIZE),
        cache_age: cache.max_age.unwrap_or(CACHE_AGE),
        env_file: found.env_file.clone(),
        confine: fields.confine.unwrap_or(false),
        cache_at,
    }
}
