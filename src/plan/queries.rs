//! The queries of planning: from config text and inputs to flows, graph and keys, memoised by
//! salsa.
//!
//! Queries do no I/O. What changes between two builds comes in through the inputs, whose setters
//! are called only where something differs: then only what depends on it is asked for again.

#![expect(
    missing_docs,
    reason = "salsa's macros make constructors and setters without docs"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use salsa::{EventKind, Storage};

use crate::config::loader::LoadedConfig;
use crate::config::problem::Problems;
use crate::config::{Config, resolve};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind};
use crate::flow::factory::Factory;
use crate::flow::from_blocks::make_flows;
use crate::flow::{COLUMN_SETTINGS, Flow, FlowName};
use crate::format::Format;
use crate::graph::{Graph, RealPaths};
use crate::home::Source;

/// The config as it was read: its files, the variables it names, what its patterns found.
#[salsa::input(debug)]
pub struct ConfigFiles {
    /// All of it.
    #[returns(ref)]
    pub found: Arc<LoadedConfig>,
}

/// Where the paths of the config really lead.
#[salsa::input(debug)]
pub struct ResolvedPaths {
    /// The paths with links resolved.
    pub real: RealPaths,
}

/// What one flow's home holds.
#[salsa::input(debug)]
pub struct HomeState {
    /// Digests by name.
    pub inputs: Arc<BTreeMap<String, Fingerprint>>,
}

/// A flow's name as a key of queries.
#[salsa::interned(debug)]
pub struct FlowId<'db> {
    /// The name.
    pub name: FlowName,
}

/// What a flow's output depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The hash of the components.
    pub key: Fingerprint,
    /// What is hashed and what is explained.
    pub components: Components,
}

impl FlowKey {
    /// The digest of the recipe alone, by which keys of parts are made.
    pub(super) fn recipe_digest(&self) -> Fingerprint {
        let mut settings = self.components.settings.clone();
        settings.retain(|name, _| !COLUMN_SETTINGS.contains(&name.as_str()));
        let recipe = Components {
            settings,
            ..Components::default()
        };
        recipe.key(KeyKind::Flow)
    }
}

/// The database of all queries. It counts which of them really ran.
#[salsa::db]
#[derive(Clone)]
pub struct QueryDatabase {
    storage: Storage<Self>,
    query_counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

#[salsa::db]
impl salsa::Database for QueryDatabase {}

impl QueryDatabase {
    /// An empty database.
    pub fn new() -> Self {
        let executed: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counter = executed.clone();
        let storage = Storage::new(Some(Box::new(move |event| {
            if let EventKind::WillExecute { database_key } = event.kind {
                let query = format!("{database_key:?}");
                let query = query.split('(').next().unwrap_or_default().to_string();
                *counter
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(query)
                    .or_default() += 1;
            }
        })));
        Self {
            storage,
            query_counts: executed,
        }
    }

    /// How often each query ran since the last call, by its name.
    pub fn take_query_counts(&self) -> BTreeMap<String, usize> {
        std::mem::take(
            &mut *self
                .query_counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Default for QueryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for QueryDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryDatabase").finish_non_exhaustive()
    }
}

/// The config as far as it is usable, with what is wrong in it.
#[salsa::tracked(returns(clone))]
pub fn resolved(db: &dyn salsa::Database, files: ConfigFiles) -> (Option<Arc<Config>>, Problems) {
    let (config, problems) = resolve(files.found(db), &Factory::key_owners());
    (config.map(Arc::new), problems)
}

/// The flows as far as they are usable, with all problems so far.
#[salsa::tracked(returns(clone))]
pub fn flows(db: &dyn salsa::Database, files: ConfigFiles) -> (Arc<Vec<Arc<Flow>>>, Problems) {
    let (config, problems) = resolved(db, files);
    match config {
        Some(config) => {
            let (flows, problems) = make_flows(&files.found(db).root, &config, problems);
            (Arc::new(flows), problems)
        }
        None => (Arc::default(), problems),
    }
}

/// The graph, of a config without any problem.
#[salsa::tracked(returns(clone))]
pub fn graph(
    db: &dyn salsa::Database,
    files: ConfigFiles,
    paths: ResolvedPaths,
) -> Result<Arc<Graph>, Problems> {
    let ((config, _), (flows, problems)) = (resolved(db, files), flows(db, files));
    let Some(config) = config else {
        return Err(problems.sorted());
    };
    Graph::new(
        &flows,
        paths.real(db),
        &files.found(db).root,
        &config,
        problems,
    )
    .map(Arc::new)
}

/// One flow: it stays the same while others change.
#[salsa::tracked(returns(clone))]
pub fn flow<'db>(
    db: &'db dyn salsa::Database,
    files: ConfigFiles,
    paths: ResolvedPaths,
    id: FlowId<'db>,
) -> Option<Arc<Flow>> {
    graph(db, files, paths)
        .ok()?
        .flow(id.name(db).as_str())
        .cloned()
}

/// A flow's recipe.
#[salsa::tracked(returns(clone))]
pub fn recipe<'db>(
    db: &'db dyn salsa::Database,
    files: ConfigFiles,
    paths: ResolvedPaths,
    id: FlowId<'db>,
) -> Option<Arc<Components>> {
    let flow = flow(db, files, paths, id)?;
    let input = input_format(db, files, paths, &flow)?;
    Some(Arc::new(flow.recipe(input.as_ref())))
}

/// A flow's key.
#[salsa::tracked(returns(clone))]
pub fn flow_key<'db>(
    db: &'db dyn salsa::Database,
    files: ConfigFiles,
    paths: ResolvedPaths,
    id: FlowId<'db>,
    home: HomeState,
) -> Option<Arc<FlowKey>> {
    let mut components = recipe(db, files, paths, id)?.as_ref().clone();
    components.inputs = home.inputs(db).as_ref().clone();
    Some(Arc::new(FlowKey {
        key: components.key(KeyKind::Flow),
        components,
    }))
}

/// The format of a home's files: its own, or that of the store which it names.
fn input_format(
    db: &dyn salsa::Database,
    files: ConfigFiles,
    paths: ResolvedPaths,
    of: &Flow,
) -> Option<Arc<dyn Format>> {
    match of.home.source() {
        Source::Files(files) => Some(files.format()),
        Source::Flow(name) => {
            let upstream = flow(db, files, paths, FlowId::new(db, FlowName::from(name)))?;
            Some(upstream.store.output_spec().format)
        }
        // A table has no files: what is made of it has the format of the store.
        Source::Rows(_) => Some(of.store.output_spec().format),
    }
}
