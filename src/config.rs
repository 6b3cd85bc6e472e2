//! The config: what `hygge.yml` says, read once and with every place it was read from.
//!
//! It knows the blocks that every flow has. What a home or a store may say is for their own files.

pub mod loader;
pub mod node;
pub mod problem;
pub mod schema;

use std::path::{Component, Path, PathBuf};

use node::{Key, Node, Value};
use problem::{Problem, Problems, Source, Span};
use schema::Block;

/// The config of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the project.
    pub name: String,
    /// Options of the whole run.
    pub options: Options,
    /// The flows in the order of the file.
    pub flows: Vec<FlowBlock>,
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
    /// `keep` of the cache: `auto`, `always` or `never`.
    pub cache_keep: CacheKeep,
}

/// Whether the cache keeps its own copy of what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKeep {
    /// Where that costs nothing.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One flow as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowBlock {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub at: Span,
    /// Its home.
    pub home: Node,
    /// Its store.
    pub store: Node,
    /// Flows that must be built before.
    pub needs: Vec<(String, Span)>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: u8,
}

/// A path as the config means it: relative to the folder of the config, whose own path has no links,
/// so that `..` at the beginning of `written` leads to the folder above and need not be shown.
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

/// A build may not empty a store, but anything less.
const MAX_SHRINK: u8 = 99;

/// Reads a config's tree. What is usable is given even where there are problems, so that the flows
/// can be looked at too and every problem is reported at once.
pub fn resolve(source: &Source, root: &Path, tree: &Node) -> (Option<Config>, Problems) {
    let mut problems = Problems::new(source);
    if tree.value == Value::Null {
        problems.push(
            Problem::new(tree.at, "the config is empty", "expected the key flows")
                .hint("write:\nflows:\n  NAME:\n    home: folder/to/read\n    store: folder/to/fill"),
        );
        return (None, problems);
    }
    let Some(mut block) = Block::open("the config", tree, &mut problems) else {
        return (None, problems);
    };
    let name = block.text("name", &mut problems).map_or_else(|| default_name(source, root), |(name, _)| name.to_string());
    let options = options(&mut block, root, &mut problems);
    let flows = flows(&mut block, &mut problems);
    block.finish(&mut problems);
    (Some(Config { name, options, flows }), problems)
}

/// A project without a name is called after its file.
fn default_name(source: &Source, root: &Path) -> String {
    let folder = root.file_name().unwrap_or_default().to_string_lossy();
    let file = source.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{folder}/{file}")
}

fn options(config: &mut Block<'_>, root: &Path, problems: &mut Problems) -> Options {
    let mut options =
        Options { concurrency: None, continue_on_error: true, cache_folder: root.join(".hygge-cache"), cache_keep: CacheKeep::Auto };
    let Some(node) = config.optional("options") else { return options };
    let Some(mut block) = Block::open("options", node, problems) else { return options };
    options.concurrency = block.number("concurrency", 1, problems).and_then(|number| usize::try_from(number).ok());
    options.continue_on_error = block.boolean("continue_on_error", problems).unwrap_or(true);
    if let Some(mut cache) = block.optional("cache").and_then(|node| Block::open("options.cache", node, problems)) {
        if let Some((folder, _)) = cache.text("dir", problems) {
            options.cache_folder = absolute(root, folder);
        }
        if let Some((word, at)) = cache.text("keep", problems) {
            options.cache_keep = match word {
                "auto" => CacheKeep::Auto,
                "always" => CacheKeep::Always,
                "never" => CacheKeep::Never,
                _ => {
                    problems.push(Problem::new(at, format!("keep of options.cache is {word:?}"), "expected auto, always or never"));
                    CacheKeep::Auto
                }
            };
        }
        cache.finish(problems);
    }
    block.finish(problems);
    options
}

fn flows(config: &mut Block<'_>, problems: &mut Problems) -> Vec<FlowBlock> {
    let hint = "write:\nflows:\n  NAME:\n    home: folder/to/read\n    store: folder/to/fill";
    let Some(node) = config.required("flows", hint, problems) else { return Vec::new() };
    let Value::Map(entries) = &node.value else {
        let message = format!("flows is {}", node.value.describe());
        problems.push(Problem::new(node.at, message, "expected a map of flow names").hint(hint));
        return Vec::new();
    };
    if entries.is_empty() {
        problems.push(Problem::new(node.at, "flows is empty", "expected at least one flow").hint(hint));
    }
    entries.iter().filter_map(|(key, node)| flow(key, node, problems)).collect()
}

fn flow(key: &Key, node: &Node, problems: &mut Problems) -> Option<FlowBlock> {
    let name = &key.name;
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(fits) {
        problems.push(
            Problem::new(key.at, format!("the flow name {name:?} cannot be used"), "expected letters, digits, _, - and .")
                .hint("a name may not begin with . or -"),
        );
    }
    let mut block = Block::open(format!("flow {name}"), node, problems)?;
    let home = block.required("home", "home: folder/to/read", problems).cloned();
    let store = block.required("store", "store: folder/to/fill", problems).cloned();
    let needs = block.texts("needs", problems).into_iter().map(|(name, at)| (name.to_string(), at)).collect();
    let tags = block.texts("tags", problems).into_iter().map(|(tag, _)| tag.to_string()).collect();
    let max_shrink = max_shrink(&mut block, problems);
    block.finish(problems);
    Some(FlowBlock { name: name.clone(), at: key.at, home: home?, store: store?, needs, tags, max_shrink })
}

fn max_shrink(block: &mut Block<'_>, problems: &mut Problems) -> u8 {
    let Some((text, at)) = block.text("max_shrink", problems) else { return MAX_SHRINK };
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).filter(|number| *number <= 100);
    percent.unwrap_or_else(|| {
        problems.push(Problem::new(at, format!("max_shrink is {text:?}"), "expected a percentage such as 50%"));
        MAX_SHRINK
    })
}
