//! Flows: one movement from a home to a store each, made from the blocks of the config.
//!
//! A flow is pure description: nothing here looks at a disk.

pub mod factory;
pub mod resolved;
pub mod schema;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::config::named_blocks::UnusedBlock;
use crate::config::node::{Key, Node, NodeValue};
use crate::config::problem::{Problem, Problems, Span};
use crate::config::schema::{FlowMode, OnChanged, OnRepeated, OnVanished};
use crate::config::{Config, FlowBlock};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::key::Components;
use crate::format::Format;
use crate::home::{Home, PartitionFilter, SliceRange};
use crate::store::{Store, StoreUpdate};
use factory::Factory;

/// A flow's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowName(Arc<str>);

impl FlowName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FlowName {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl Borrow<str> for FlowName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One movement from a home to a store.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub name: FlowName,
    /// Where the data lives.
    pub home: Arc<dyn Home>,
    /// Where the data settles.
    pub store: Arc<dyn Store>,
    /// Flows that must be built before it, declared by hand.
    pub needs: Vec<FlowName>,
    /// The flow of the config that it is an entity of, and the entity.
    pub entity: Option<(String, String)>,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// How a build changes the store.
    pub mode: Mode,
    /// How many of a hundred rows may vanish in one build.
    pub max_shrink: u8,
    /// How long a build of it may take.
    pub timeout: Option<Duration>,
    /// How many batches wait between a database and its encoder.
    pub queue_size: Option<u64>,
    /// How often it is tried again when a database fails in a way that may pass.
    pub retries: u64,
    /// Whether other flows begin when this one has failed; `None` for what the project says.
    pub continue_on_error: Option<bool>,
    /// Where it is written, for problems that are found later.
    pub spans: FlowSpans,
}

/// How a build changes a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It makes the whole set.
    #[default]
    Replace,
    /// It adds the inputs that were not moved yet.
    Append {
        /// What becomes of an input that was moved and has other bytes now.
        on_changed: OnChanged,
        /// What becomes of the rows of an input that is gone.
        on_vanished: OnVanished,
        /// What becomes of an input that has the bytes of one that was moved and is gone.
        on_repeated: OnRepeated,
    },
    /// It makes the whole set, and the rows of parts that are new take the place of those with
    /// their keys.
    Merge,
}

impl Mode {
    /// The mode's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Append { .. } => "append",
            Self::Merge => "merge",
        }
    }

    /// How a new set changes what a store holds.
    pub fn store_update(self) -> StoreUpdate {
        match self {
            Self::Replace => StoreUpdate::Replace,
            Self::Append { .. } => StoreUpdate::Append,
            Self::Merge => StoreUpdate::Merge,
        }
    }

    /// True where inputs are moved once and stay.
    pub fn appends(self) -> bool {
        matches!(self, Self::Append { .. })
    }

    /// What becomes of an input that was moved and has other bytes now.
    pub fn on_changed(self) -> OnChanged {
        if let Self::Append { on_changed, .. } = self {
            on_changed
        } else {
            OnChanged::Rewrite
        }
    }

    /// What becomes of an input that has the bytes of one that was moved and is gone.
    pub fn on_repeated(self) -> OnRepeated {
        if let Self::Append { on_repeated, .. } = self {
            on_repeated
        } else {
            OnRepeated::Skip
        }
    }

    /// What becomes of the rows of an input that is gone.
    pub fn on_vanished(self) -> OnVanished {
        if let Self::Append { on_vanished, .. } = self {
            on_vanished
        } else {
            OnVanished::Remove
        }
    }
}

/// Where a flow is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSpans {
    /// Its name.
    pub name: Span,
    /// The path of its home.
    pub home: Span,
    /// The path of its store.
    pub store: Span,
}

/// How often a flow is tried again where nothing is said.
const DEFAULT_RETRIES: u64 = 3;

/// A build may not empty a store, but anything less.
const DEFAULT_MAX_SHRINK: u8 = 99;

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        let rest = |flow: &Self| {
            let names = (
                flow.name.clone(),
                flow.entity.clone(),
                flow.needs.clone(),
                flow.tags.clone(),
            );
            (
                names,
                flow.mode,
                flow.max_shrink,
                flow.timeout,
                (flow.queue_size, flow.retries),
                flow.continue_on_error,
                flow.spans,
            )
        };
        *self.home == *other.home && *self.store == *other.store && rest(self) == rest(other)
    }
}

impl Eq for Flow {}

impl Flow {
    /// The recipe: adapter versions and what of the config decides the parts' bytes.
    ///
    /// `input` is the format of the home's files, which a home that is another flow does not know.
    pub fn recipe(&self, input: &dyn Format) -> Components {
        let target = self.store.output_spec();
        let mut recipe = Components::default();
        match self.home.as_rows() {
            Some(table) => recipe.settings.extend(table.recipe()),
            None => {
                recipe.set("home.format", input.id());
                recipe.set("home.format.version", input.version());
                input.settings().iter().for_each(|(key, value)| {
                    recipe.set(format!("home.{key}"), setting_text(value))
                });
            }
        }
        recipe.set("store.format", target.format.id());
        // Rows of a table that become files are made by the format; other files may pass whole,
        // which their parts tell.
        let is_made = self.home.as_rows().is_some() && self.store.capabilities().parts_readable;
        recipe.set(
            "store.format.version",
            if is_made {
                target.format.output_version()
            } else {
                target.format.version()
            },
        );
        target
            .format
            .settings()
            .iter()
            .for_each(|(key, value)| recipe.set(format!("store.{key}"), setting_text(value)));
        recipe.set("store.compression", target.compression.name);
        if let Some(level) = target.compression.level {
            recipe.set("store.compression_level", level);
        }
        if let Some(rows) = target.rows_per_file {
            recipe.set("store.rows_per_file", rows);
        }
        recipe
    }

    /// What decides how its parts are published, field by field.
    pub fn placement(&self) -> BTreeMap<String, String> {
        let mut placement = self.store.placement();
        placement.insert("mode".into(), self.mode.name().into());
        placement
    }

    /// True where rows that were moved cannot be taken back: they are added to a table.
    pub fn is_append_only(&self) -> bool {
        self.mode.appends() && !self.store.capabilities().append_revocable
    }

    /// Which units of its home slices mean that were asked for.
    ///
    /// # Errors
    /// It has no slices, or cannot replace them.
    pub fn partition_filter(&self, slices: &SliceRange) -> Result<PartitionFilter, Error> {
        let wrong =
            |error: String, hint: &str| Error::new(ErrorKind::Config, error).with_hint(hint);
        let Some(table) = self.home.as_rows() else {
            return Err(wrong(
                format!("flow {} has no slices: its home is no table", self.name),
                "leave --slice out",
            ));
        };
        if self.is_append_only() {
            let error = format!(
                "flow {} adds to a table, which cannot tell the rows of a slice from others",
                self.name
            );
            return Err(wrong(error, "mode: merge with a key, or mode: replace"));
        }
        table.partition_filter(slices)
    }

    /// The flow whose store this flow's home names.
    pub fn upstream(&self) -> Option<&str> {
        self.home.as_flow()
    }
}

/// A setting as a recipe has it.
fn setting_text(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}

/// Makes the flows of a config. Every problem of every flow is given, with those found before.
pub fn make_flows(
    root: &Path,
    config: &Config,
    mut problems: Problems,
) -> (Vec<Arc<Flow>>, Problems) {
    let factory = Factory::new(root, &config.connections);
    let known: HashSet<&str> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
    let none = problems.empty_like();
    let suggested = AtomicUsize::new(0);
    let made: Vec<(Option<Arc<Flow>>, Problems)> = config
        .flows
        .par_iter()
        .map(|block| {
            let mut problems = none.clone();
            let home = block.home.as_ref();
            let home = home.and_then(|node| {
                factory.home(&format!("home of flow {}", block.name), node, &mut problems)
            });
            let store = block.store.as_ref();
            let store = store.and_then(|node| {
                factory.store(
                    &format!("store of flow {}", block.name),
                    node,
                    &mut problems,
                )
            });
            check_mode(block, store.as_deref(), &mut problems);
            check_references(
                config,
                block,
                home.as_deref(),
                &known,
                &suggested,
                &mut problems,
            );
            check_watermark(block, home.as_deref(), &mut problems);
            check_on_repeated(config, block, home.as_deref(), &mut problems);
            if block.mode == Some(FlowMode::Append)
                && store.as_ref().is_some_and(|store| store.adopts())
            {
                let at = block
                    .store
                    .as_ref()
                    .map_or(block.at, |store| store.span_of("adopt"));
                let message = format!(
                    "flow {} adds to a store that it shall take over",
                    block.name
                );
                let problem = Problem::new(at, message, "expected no adopt with mode: append");
                problems.push(problem.with_hint(
                    "build it once with mode: replace, or let it begin with an empty folder",
                ));
            }
            (
                home.zip(store)
                    .map(|(home, store)| Arc::new(make_flow(block, home, store))),
                problems,
            )
        })
        .collect();
    let mut flows = Vec::with_capacity(made.len());
    for (block, (flow, found)) in config.flows.iter().zip(made) {
        // Never leave a flow out without a word.
        if flow.is_none() && problems.is_empty() && found.is_empty() {
            problems.push(Problem::new(
                block.at,
                format!("flow {} cannot be used", block.name),
                "its home or its store",
            ));
        }
        problems.append(found);
        flows.extend(flow);
    }
    config
        .unused_blocks
        .iter()
        .for_each(|spare| check_unused_block(spare, &factory, &mut problems));
    resolve_table_upstreams(&mut flows);
    (flows, problems)
}

/// What is of no flow is checked too; its path may come from the flow that will use it.
fn check_unused_block(spare: &UnusedBlock, factory: &Factory<'_>, problems: &mut Problems) {
    let mut block = spare.block.clone();
    let at = block.at;
    let NodeValue::Map(entries) = &mut block.value else {
        return;
    };
    let has = |keys: &[&str]| {
        entries
            .iter()
            .any(|(key, _)| keys.contains(&key.name.as_str()))
    };
    let missing = match (
        has(&["connection", "table", "query"]),
        has(&["path", "flow"]),
    ) {
        (true, _) if has(&["table", "query"]) => None,
        (true, _) => Some("table"),
        (false, true) => None,
        (false, false) => Some("path"),
    };
    let value = NodeValue::Text(if missing == Some("table") { "x" } else { "." }.into());
    entries.extend(missing.map(|name| {
        (
            Key {
                name: name.into(),
                at,
                is_default: false,
            },
            Node { value, at },
        )
    }));
    block.for_each_text(&mut |text, _| {
        for placeholder in ["{entity}", "{flow}", "{flow_name}"] {
            *text = text.replace(placeholder, "x");
        }
    });
    match spare.kind {
        "home" => drop(factory.home(&spare.label, &block, problems)),
        _ => drop(factory.store(&spare.label, &block, problems)),
    }
}

fn make_flow(block: &FlowBlock, home: Arc<dyn Home>, store: Arc<dyn Store>) -> Flow {
    let place = |part: &Option<Node>| part.as_ref().map_or(block.at, |part| part.span_of("path"));
    Flow {
        name: FlowName::from(block.name.as_str()),
        home,
        store,
        needs: block
            .needs
            .iter()
            .map(|(name, _)| FlowName::from(name.as_str()))
            .collect(),
        entity: block
            .entity
            .clone()
            .map(|entity| (block.flow.clone(), entity)),
        tags: block.tags.clone(),
        mode: match block.mode.unwrap_or_default() {
            FlowMode::Replace => Mode::Replace,
            FlowMode::Merge => Mode::Merge,
            FlowMode::Append => Mode::Append {
                on_changed: block.on_changed.unwrap_or_default(),
                on_vanished: block.on_vanished.unwrap_or_default(),
                on_repeated: block.on_repeated.unwrap_or_default(),
            },
        },
        max_shrink: block
            .max_shrink
            .map_or(DEFAULT_MAX_SHRINK, |percentage| percentage.0),
        timeout: block.timeout.map(|time| time.0),
        queue_size: block.queue_size.map(|size| size.0),
        retries: block.retries.map_or(DEFAULT_RETRIES, |retries| retries.0),
        continue_on_error: block.continue_on_error,
        spans: FlowSpans {
            name: block.at,
            home: place(&block.home),
            store: place(&block.store),
        },
    }
}

/// What a mode asks of a store.
fn check_mode(block: &FlowBlock, store: Option<&dyn Store>, problems: &mut Problems) {
    let Some(store) = store else { return };
    let at = block.store.as_ref().map_or(block.at, |store| store.at);
    match (block.mode.unwrap_or_default(), store.as_table()) {
        (FlowMode::Merge, None) => {
            let message = format!("flow {} merges, and its store is no table", block.name);
            problems.push(
                Problem::new(at, message, "expected a table")
                    .with_hint("mode: replace makes only the parts whose inputs changed"),
            );
        }
        (FlowMode::Merge, Some(table)) if table.key.is_empty() => {
            let message = format!("flow {} merges, and its store has no key", block.name);
            problems.push(
                Problem::new(at, message, "expected the key key here")
                    .with_hint("key: [id] names the columns that tell rows apart"),
            );
        }
        (FlowMode::Append, Some(_)) => {
            let rewrites = block.on_changed == Some(OnChanged::Rewrite);
            if rewrites || block.on_vanished == Some(OnVanished::Remove) {
                let what = if rewrites {
                    "on_changed: rewrite"
                } else {
                    "on_vanished: remove"
                };
                let message = format!("flow {} adds to a table with {what}", block.name);
                let problem = Problem::new(
                    at,
                    message,
                    "a table does not know which rows came from which input",
                );
                problems.push(problem.with_hint("mode: merge with a key, or mode: replace"));
            }
        }
        _ => {}
    }
}

/// A flow that makes its set anew gives equal parts other names, which would be added again.
fn check_on_repeated(
    config: &Config,
    block: &FlowBlock,
    home: Option<&dyn Home>,
    problems: &mut Problems,
) {
    let Some(upstream) = home
        .and_then(|home| home.as_flow())
        .filter(|_| block.on_repeated == Some(OnRepeated::Add))
    else {
        return;
    };
    let appends = |flow: &FlowBlock| flow.name == upstream && flow.mode == Some(FlowMode::Append);
    if !config.flows.iter().any(appends) {
        let message = format!(
            "flow {} adds what is repeated, and its home, flow {upstream}, makes its set anew",
            block.name
        );
        let problem = Problem::new(
            block.home.as_ref().map_or(block.at, |home| home.at),
            message,
            "its parts may change their names",
        );
        problems.push(
            problem.with_hint("take on_repeated: add out, or let the other flow have mode: append"),
        );
    }
}

/// What a database has is added by a watermark, and a watermark adds.
fn check_watermark(block: &FlowBlock, home: Option<&dyn Home>, problems: &mut Problems) {
    let Some(table) = home.and_then(|home| home.as_rows()) else {
        return;
    };
    let (mode, node) = (block.mode.unwrap_or_default(), block.home.as_ref());
    let at = node.map_or(block.at, |home| home.at);
    let keys = [
        ("on_changed", block.on_changed.is_some()),
        ("on_vanished", block.on_vanished.is_some()),
        ("on_repeated", block.on_repeated.is_some()),
    ];
    for (key, is_said) in keys {
        if is_said {
            let message = format!("flow {} has {key}, and its home is a table", block.name);
            let problem = Problem::new(at, message, "files that change or vanish are meant by it");
            problems.push(
                problem.with_hint("take it out; lag of the watermark says how late rows may come"),
            );
        }
    }
    if mode == FlowMode::Append && table.watermark().is_none() {
        let message = format!(
            "flow {} adds what a database has, and nothing tells what is new",
            block.name
        );
        let problem = Problem::new(at, message, "expected the key watermark here");
        problems
            .push(problem.with_hint("watermark: {column: updated_at}; or mode: replace with slice and probe, which reads only what changed"));
    }
    if mode == FlowMode::Replace && table.watermark().is_some() {
        let at = node.map_or(block.at, |home| home.span_of("watermark"));
        let message = format!(
            "flow {} has a watermark, and makes the whole set",
            block.name
        );
        let problem = Problem::new(at, message, "expected mode: append, or merge into a table");
        problems.push(problem.with_hint("mode: append adds what is new; slice and probe with mode: replace read only what changed"));
    }
}

/// A flow whose home is another's output reads the table where that is one. Whether it changed is
/// told by the table's receipt.
fn resolve_table_upstreams(flows: &mut [Arc<Flow>]) {
    let tables: HashMap<FlowName, Arc<dyn Home>> = flows
        .iter()
        .filter_map(|flow| Some((flow.name.clone(), flow.store.as_home()?)))
        .collect();
    if tables.is_empty() {
        return;
    }
    for flow in flows {
        if let Some(home) = flow.upstream().and_then(|upstream| tables.get(upstream)) {
            *flow = Arc::new(Flow {
                home: home.clone(),
                ..Flow::clone(flow)
            });
        }
    }
}

/// For how many unknown flows a name is proposed.
const MAX_SUGGESTIONS: usize = 100;

/// Names of flows must be names of flows.
fn check_references(
    config: &Config,
    block: &FlowBlock,
    home: Option<&dyn Home>,
    known: &HashSet<&str>,
    suggested: &AtomicUsize,
    problems: &mut Problems,
) {
    let named = home.and_then(|home| home.as_flow());
    let named = named.map(|name| {
        (
            name,
            block
                .home
                .as_ref()
                .map_or(block.at, |home| home.span_of("flow")),
        )
    });
    let needs = block.needs.iter().map(|(name, at)| (name.as_str(), *at));
    for (name, at) in named
        .into_iter()
        .chain(needs)
        .filter(|(name, _)| !known.contains(name))
    {
        if config.without_entities.iter().any(|other| other == name) {
            let message = format!(
                "flow {} needs the flow {name:?}, which has no entities",
                block.name
            );
            problems.push(Problem::new(at, message, "expected a flow that is built"));
            continue;
        }
        let message = format!(
            "flow {} needs the flow {name:?}, which is not in the config",
            block.name
        );
        let together = config
            .flows
            .iter()
            .filter(|flow| flow.entity.is_some())
            .map(|flow| flow.flow.as_str());
        let problem = Problem::new(at, message, "expected the name of a flow");
        // To look for a name among all takes long: who has more mistakes mends these first.
        if suggested.fetch_add(1, Ordering::Relaxed) > MAX_SUGGESTIONS {
            problems.push(problem);
            continue;
        }
        let known = || {
            known
                .iter()
                .copied()
                .chain(together.clone())
                .filter(|known| *known != block.name)
        };
        let names: BTreeSet<&str> = known().collect();
        let otherwise = format!(
            "flows of the config: {}",
            names.into_iter().take(10).collect::<Vec<_>>().join(", ")
        );
        problems.push(problem.with_suggestion(name, known(), Some(otherwise)));
    }
}
