//! Flows are made from the blocks of the config; what is wrong with how blocks fit each other is
//! found here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::factory::Factory;
use super::{DEFAULT_MAX_SHRINK, DEFAULT_RETRIES, Flow, FlowName, FlowSpans, Mode};
use crate::config::named_blocks::UnusedBlock;
use crate::config::node::{Key, Node, NodeValue};
use crate::config::problem::{Problem, Problems};
use crate::config::schema::{FlowMode, OnChanged, OnRepeated, OnVanished};
use crate::config::{Config, FlowBlock};
use crate::home::Home;
use crate::shape::config_fields::{read_shape, with_polish};
use crate::shape::{POLISH_KEY, Shape};
use crate::store::Store;

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
            let shape = shape(block, &mut problems);
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
                    .map(|(home, store)| Arc::new(make_flow(block, home, store, shape))),
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
    flows
        .iter()
        .for_each(|flow| check_file_values(flow, &mut problems));
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

/// Rows of a table have nothing of a file.
fn check_file_values(flow: &Flow, problems: &mut Problems) {
    let takes = flow
        .shape
        .as_ref()
        .is_some_and(|shape| shape.has_file_values());
    if takes && flow.home.as_rows().is_some() {
        let message = format!(
            "flow {} adds a column with something of a file, and its home is a table",
            flow.name
        );
        let problem = Problem::new(
            flow.spans.home,
            message,
            "rows of a table come from no file",
        );
        problems.push(problem.with_hint("take what stands for the file out of add"));
    }
}

/// What becomes of rows and columns, where something is said of it.
fn shape(block: &FlowBlock, problems: &mut Problems) -> Option<Arc<Shape>> {
    let name = format!("flow {}", block.name);
    let node = block.shape.as_ref();
    let own = node
        .map(|node| read_shape(node, &name, problems))
        .unwrap_or_default();
    let polish = block.store.as_ref().and_then(|store| store.get(POLISH_KEY));
    let shape = match polish {
        Some(polish) => with_polish(own, polish, &name, problems),
        None => own,
    };
    (!shape.is_empty()).then(|| Arc::new(shape))
}

fn make_flow(
    block: &FlowBlock,
    home: Arc<dyn Home>,
    store: Arc<dyn Store>,
    shape: Option<Arc<Shape>>,
) -> Flow {
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
        on_drift: block.on_drift.unwrap_or_default(),
        shape,
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
