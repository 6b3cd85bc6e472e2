//! A project: its config understood, its flows and their order known, its paths resolved.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use salsa::Setter;

use super::queries::{self, ConfigFiles, FlowId, FlowKey, HomeState, QueryDatabase, ResolvedPaths};
use crate::cache::CacheFolder;
use crate::config::loader::LoadedConfig;
use crate::config::node::Node;
use crate::config::{Config, FILE_NAMES, absolute};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, FlowName};
use crate::format::Format;
use crate::fs::{self, FsError};
use crate::graph::{Graph, RealPaths, store_id};
use crate::home::Source;
use crate::store::{StoreError, StoreId, StoreSession};

/// A project whose config is understood.
#[derive(Debug)]
pub struct Project {
    database: QueryDatabase,
    files: ConfigFiles,
    paths: ResolvedPaths,
    homes: HashMap<FlowName, HomeState>,
    /// The config.
    pub config: Arc<Config>,
    /// The flows and their order.
    pub graph: Arc<Graph>,
    real_paths: RealPaths,
    store_ids: HashMap<FlowName, StoreId>,
    /// The folder of the config.
    pub(super) root: PathBuf,
    /// The folders in which flows had stores that have no entities now.
    past_store_folders: Vec<PathBuf>,
}

impl Project {
    /// Understands a config.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(found: Arc<LoadedConfig>) -> Result<Self> {
        let database = QueryDatabase::new();
        let root = fs::real_path(&found.root)?;
        let files = ConfigFiles::new(&database, found);
        let (config, problems) = queries::resolved(&database, files);
        let config = config.ok_or_else(|| problems.sorted())?;
        let (flows, _) = queries::flows(&database, files);
        let real = real_paths(&flows, &config.options.cache_folder)?;
        let paths = ResolvedPaths::new(&database, real.clone());
        let graph = queries::graph(&database, files, paths)?;
        let bases = past_store_folders(&config, &root)?;
        let store_ids = graph
            .flows()
            .map(|flow| (flow.name.clone(), store_id(flow, &real)))
            .collect();
        Ok(Self {
            database,
            files,
            paths,
            homes: HashMap::new(),
            config,
            graph,
            real_paths: real,
            store_ids,
            root,
            past_store_folders: bases,
        })
    }

    /// The main file of the config, by its absolute path.
    pub fn config_path(&self) -> PathBuf {
        let found = self.files.found(&self.database);
        self.root.join(found.path().file_name().unwrap_or_default())
    }

    /// The folder of the config, links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folders in which flows had stores that have no entities now.
    pub fn past_store_folders(&self) -> &[PathBuf] {
        &self.past_store_folders
    }

    /// What the stores of flows say that have no entities now.
    pub(super) fn entityless_stores(&self) -> impl Iterator<Item = &Node> {
        entityless_stores(&self.config)
    }

    /// The folder that nothing may leave, where the config says so.
    pub fn confined_root(&self) -> Option<&Path> {
        self.config.options.confine.then_some(&self.root)
    }

    /// What tells a flow's store from every other.
    pub fn store_id(&self, flow: &Flow) -> &StoreId {
        // Every flow of the graph has one.
        &self.store_ids[&flow.name]
    }

    /// A flow's store.
    ///
    /// # Errors
    /// There can be none: its name is too long for what stands beside it.
    pub fn open_store(&self, flow: &Flow) -> Result<Arc<dyn StoreSession>, StoreError> {
        flow.store.open(self.store_id(flow))
    }

    /// The folder of the cache, links resolved.
    pub fn real_cache_folder(&self) -> &Path {
        let written = &self.config.options.cache_folder;
        self.real_paths.get(written).unwrap_or(written)
    }

    /// Where the cache is.
    pub fn cache_folder(&self) -> CacheFolder {
        let written = &self.config.options.cache_folder;
        CacheFolder {
            real_path: self.real_cache_folder().to_path_buf(),
            root: written.parent().unwrap_or(written).to_path_buf(),
        }
    }

    /// True where a store lies where this config has or may have had one: beside one, or below its
    /// own folder, and in no other project's. What else the cache knows may be that of a copy of
    /// the project, whose name is the same.
    pub fn may_own(&self, store: &StoreId) -> Result<bool, FsError> {
        let folder = store.index_key();
        let parent = folder.parent();
        let is_beside = |base: &PathBuf| parent == Some(base);
        if self
            .store_ids
            .values()
            .any(|own| own.index_key().parent() == parent)
            || self.past_store_folders.iter().any(is_beside)
        {
            return Ok(true);
        }
        for between in folder
            .ancestors()
            .skip(1)
            .take_while(|between| *between != self.root)
        {
            for name in FILE_NAMES {
                if fs::stat(&between.join(name))?.is_some() {
                    return Ok(false);
                }
            }
        }
        Ok(folder.starts_with(&self.root))
    }

    /// True where a flow's home lies in a folder, or the folder in its home.
    pub fn reads_from(&self, flow: &Flow, folder: &Path) -> bool {
        let Some(files) = flow.home.as_files() else {
            return false;
        };
        let Some(path) = files.location().local_path() else {
            return false;
        };
        let home = self.real_paths.get(path).map_or(path, PathBuf::as_path);
        home.starts_with(folder) || (files.is_recursive() && folder.starts_with(home))
    }

    /// The format of what a flow reads.
    pub fn input_format(&self, flow: &Flow) -> Arc<dyn Format> {
        match flow.home.source() {
            Source::Files(files) => files.format(),
            Source::Flow(name) => {
                self.graph
                    .flow(name)
                    .map_or(flow, |upstream| upstream)
                    .store
                    .output_spec()
                    .format
            }
            // What is made of rows has the format of the store.
            Source::Rows(_) => flow.store.output_spec().format,
        }
    }

    /// A flow's key where its home holds these inputs. The queries are told only what differs.
    pub fn flow_key(
        &mut self,
        name: &FlowName,
        inputs: Arc<BTreeMap<String, Fingerprint>>,
    ) -> Option<Arc<FlowKey>> {
        let database = &mut self.database;
        let state = match self.homes.get(name) {
            Some(state) => {
                if *state.inputs(database) != inputs {
                    state.set_inputs(database).to(inputs);
                }
                *state
            }
            None => *self
                .homes
                .entry(name.clone())
                .or_insert_with(|| HomeState::new(database, inputs)),
        };
        queries::flow_key(
            &self.database,
            self.files,
            self.paths,
            FlowId::new(&self.database, name.clone()),
            state,
        )
    }

    /// How often each query ran since the last call.
    pub fn take_query_counts(&self) -> BTreeMap<String, usize> {
        self.database.take_query_counts()
    }
}

fn entityless_stores(config: &Config) -> impl Iterator<Item = &Node> {
    let store = |flow: &String| {
        let called = format!("store of flow {flow}");
        config
            .unused_blocks
            .iter()
            .find(|spare| spare.kind == "store" && spare.label == called)
            .map(|spare| &spare.block)
    };
    config.without_entities.iter().filter_map(store)
}

/// Where the stores of entities lay: the folder that their names are joined to, or that the
/// placeholder stands in.
fn past_store_folders(config: &Config, root: &Path) -> Result<Vec<PathBuf>> {
    let mut bases = Vec::new();
    for store in entityless_stores(config) {
        let Some(path) = store.get("path").and_then(Node::text) else {
            continue;
        };
        let folder = match path.split_once('{') {
            Some((before, _)) => before.rsplit_once('/').map_or(".", |(folder, _)| folder),
            None => path,
        };
        bases.push(fs::real_path(&absolute(root, folder))?);
    }
    Ok(bases)
}

/// Resolves the links of every home and store. A parent is resolved once for all that lie in it.
fn real_paths(flows: &[Arc<Flow>], cache: &Path) -> Result<RealPaths> {
    let homes = flows
        .iter()
        .filter_map(|flow| flow.home.as_files())
        .filter_map(|files| files.location().local_path());
    let paths: HashSet<&Path> = homes
        .chain(flows.iter().filter_map(|flow| flow.store.as_folder()))
        .chain([cache])
        .collect();
    let parents: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    let parents = parents
        .into_iter()
        .map(|parent| Ok((parent, fs::real_path(parent)?)))
        .collect::<Result<HashMap<_, _>>>()?;
    let resolve = |path: &&Path| {
        let real = match (
            path.parent().and_then(|parent| parents.get(parent)),
            path.file_name(),
        ) {
            (Some(parent), Some(name)) if !fs::is_link(path)? => parent.join(name),
            _ => fs::real_path(path)?,
        };
        Ok((path.to_path_buf(), real))
    };
    paths.par_iter().map(resolve).collect()
}
