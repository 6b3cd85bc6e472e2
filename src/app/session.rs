//! A session: a project that is open, as long as a command works with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Run, table_lists};
use crate::cache::{Cache, CacheAccess};
use crate::config::loader::{self, LoadedConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::FlowName;
use crate::graph::selection::{SelectedFlows, Selection};
use crate::plan::project::Project;
use crate::plan::{PlanRequest, Planner};
use crate::threads;

/// Where a config is looked for, and what its variables are.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file that was named.
    pub file: Option<PathBuf>,
    /// The folder from which it is looked for.
    pub working_folder: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// True where no database is asked for its tables.
    pub is_offline: bool,
}

impl ConfigSource {
    /// Reads the config, and asks databases for the tables that its patterns may find.
    ///
    /// # Errors
    /// It cannot be found, or cannot be read.
    pub fn load(&self) -> Result<LoadedConfig> {
        let mut loaded = self.read()?;
        table_lists::list_all(&mut loaded, self.is_offline)?;
        Ok(loaded)
    }

    /// Reads the config, and asks no database.
    ///
    /// # Errors
    /// It cannot be found, or cannot be read.
    pub fn read(&self) -> Result<LoadedConfig> {
        // Files of the config are parsed on all processors.
        threads::start_rayon_pool()?;
        let file = self.file.as_deref();
        loader::load(file, &self.working_folder, &self.environment)
    }
}

/// A project that is open.
#[derive(Debug)]
pub struct Session {
    /// The config as it was read.
    pub loaded: Arc<LoadedConfig>,
    /// The project that it is of.
    pub project: Project,
}

impl Session {
    /// Reads a config and understands it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(source: &ConfigSource) -> Result<Self> {
        Self::from_config(Arc::new(source.load()?))
    }

    /// Understands a config that was read.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_config(loaded: Arc<LoadedConfig>) -> Result<Self> {
        let project = Project::new(loaded.clone())?;
        Ok(Self { loaded, project })
    }

    /// The flows that a selection means. One without entities is said to be that, not to be
    /// unknown.
    ///
    /// # Errors
    /// A word of it means no flow.
    pub fn select(&self, selection: &Selection) -> Result<SelectedFlows> {
        selection.resolve(&self.project.graph).map_err(|error| {
            let config = &self.project.config;
            let without = &config.without_entities;
            let mut words = selection.include.iter().chain(&selection.exclude);
            if let Some(reason) = words.find_map(|word| self.unlisted_reason(word)) {
                return Error::new(ErrorKind::Flow, reason)
                    .with_hint("try again when the database answers");
            }
            match selection.include.iter().find(|name| without.contains(name)) {
                Some(name) => Error::new(ErrorKind::Config, format!("flow {name} has no entities"))
                    .with_hint("hygge check --offline says why"),
                None => error,
            }
        })
    }

    /// Why nobody knows whether a word names a flow: it would be of a table.
    fn unlisted_reason(&self, word: &str) -> Option<String> {
        let unlisted = &self.project.config.unlisted;
        let (flow, reason) = unlisted.iter().find(|(flow, _)| {
            let entity = word.strip_prefix(flow.as_str());
            entity.is_some_and(|entity| entity.starts_with('.'))
        })?;
        Some(format!(
            "nobody knows whether flow {flow} has {word}: {reason}"
        ))
    }

    /// The one flow that a word means, and what it needs; `hint` says what to do where they are
    /// several, of which it is given the first names.
    ///
    /// # Errors
    /// It means none, or several.
    pub fn select_one(
        &self,
        word: &str,
        hint: impl FnOnce(&str) -> String,
    ) -> Result<(FlowName, SelectedFlows)> {
        let selected = self.select(&Selection {
            include: vec![word.to_string()],
            ..Selection::default()
        })?;
        let names: Vec<FlowName> = selected.named.iter().cloned().collect();
        match names.as_slice() {
            [name] => Ok((name.clone(), selected)),
            names => {
                let error = format!("{word:?} is {} flows", names.len());
                let first: Vec<&str> = names.iter().map(FlowName::as_str).take(10).collect();
                Err(Error::new(ErrorKind::Config, error).with_hint(hint(&first.join(", "))))
            }
        }
    }

    /// Opens the cache of the project.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn open_cache(&self, access: CacheAccess) -> Result<Cache> {
        Ok(Cache::open(&self.project.cache_folder(), access).await?)
    }

    /// Opens the cache and looks at the flows of a request; nothing is judged yet.
    ///
    /// # Errors
    /// The cache cannot be used.
    pub async fn start(self, request: PlanRequest, access: CacheAccess) -> Result<Run> {
        let planner = Planner::new(self.project, request, access).await?;
        Ok(Run::new(self.loaded, planner))
    }
}
