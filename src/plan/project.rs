//! A project: its config understood, its flows and their order known, its paths resolved.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use salsa::Setter;

use super::db::{self, ConfigFiles, Database, FlowId, FlowKey, HomeState, Paths};
use crate::cache::CacheFolder;
use crate::config::loader::Found;
use crate::config::node::Node;
use crate::config::{Config, FILE_NAMES, absolute};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, FlowName};
use crate::format::Format;
use crate::fs::{self, FsError};
use crate::graph::{Graph, RealPaths};
use crate::home::Source;

/// A project whose config is understood.
#[derive(Debug)]
pub struct Project {
    database: Database,
    files: ConfigFiles,
    paths: Paths,
    homes: HashMap<FlowName, HomeState>,
    /// The config.
    pub config: Arc<Config>,
    /// The flows and their order.
    pub graph: Arc<Graph>,
    real: RealPaths,
    /// The folder of the config.
    root: PathBuf,
    /// The folders in which flows had stores that have no entities now.
    bases: Vec<PathBuf>,
}

impl Project {
    /// Understands a config.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(found: Arc<Found>) -> Result<Self> {
        let database = Database::new();
        let root = fs::real_path(&found.root)?;
        let files = ConfigFiles::new(&database, found);
        let (config, problems) = db::resolved(&database, files);
        let config = config.ok_or_else(|| problems.in_order())?;
        let (flows, _) = db::flows(&database, files);
        let real = real_paths(&flows, &config.options.cache_folder)?;
        let paths = Paths::new(&database, real.clone());
        let graph = db::graph(&database, files, paths)?;
        let bases = bases(&config, &root)?;
        Ok(Self {
            database,
            files,
            paths,
            homes: HashMap::new(),
            config,
            graph,
            real,
            root,
            bases,
        })
    }

    /// The folder of the config, links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folders in which flows had stores that have no entities now.
    pub fn bases(&self) -> &[PathBuf] {
        &self.bases
    }

    /// What the stores of flows say that have no entities now.
    pub(super) fn stores_of_none(&self) -> impl Iterator<Item = &Node> {
        stores_of_none(&self.config)
    }

    /// The folder that nothing may leave, where the config says so.
    pub fn confined(&self) -> Option<&Path> {
        self.config.options.confine.then_some(&self.root)
    }

    /// The real path of a flow's store.
    pub fn store_path<'a>(&'a self, flow: &'a Flow) -> &'a Path {
        let path = flow.store.path();
        self.real.get(path).map_or(path, PathBuf::as_path)
    }

    /// Where the cache is.
    pub fn cache_folder(&self) -> CacheFolder {
        let written = &self.config.options.cache_folder;
        let real = self.real.get(written).unwrap_or(written).clone();
        CacheFolder {
            real,
            root: written.parent().unwrap_or(written).to_path_buf(),
        }
    }

    /// True where a folder lies where this config has or may have had a store: beside one, or below
    /// its own folder, and in no other project's. What else the cache knows may be that of a copy
    /// of the project, whose name is the same.
    pub fn may_own(&self, folder: &Path) -> Result<bool, FsError> {
        let parent = folder.parent();
        let is_beside = |base: &PathBuf| parent == Some(base);
        if self
            .graph
            .flows()
            .any(|flow| self.store_path(flow).parent() == parent)
            || self.bases.iter().any(is_beside)
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
    pub fn reads(&self, flow: &Flow, folder: &Path) -> bool {
        let Some(files) = flow.home.files() else {
            return false;
        };
        let home = self
            .real
            .get(files.path())
            .map_or(files.path(), PathBuf::as_path);
        home.starts_with(folder) || (files.is_deep() && folder.starts_with(home))
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
                    .target()
                    .format
            }
            // What is made of rows has the format of the store.
            Source::Rows(_) => flow.store.target().format,
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
        db::flow_key(
            &self.database,
            self.files,
            self.paths,
            FlowId::new(&self.database, name.clone()),
            state,
        )
    }

    /// How often each query ran since the last call.
    pub fn take_executed(&self) -> BTreeMap<String, usize> {
        self.database.take_executed()
    }
}

fn stores_of_none(config: &Config) -> impl Iterator<Item = &Node> {
    let store = |flow: &String| {
        let called = format!("store of flow {flow}");
        config
            .spare
            .iter()
            .find(|spare| spare.what == "store" && spare.called == called)
            .map(|spare| &spare.block)
    };
    config.without_entities.iter().filter_map(store)
}

/// Where the stores of entities lay: the folder that their names are joined to, or that the
/// placeholder stands in.
fn bases(config: &Config, root: &Path) -> Result<Vec<PathBuf>> {
    let mut bases = Vec::new();
    for store in stores_of_none(config) {
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
        .filter_map(|flow| flow.home.files())
        .map(|files| files.path());
    let paths: HashSet<&Path> = homes
        .chain(flows.iter().map(|flow| flow.store.path()))
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
