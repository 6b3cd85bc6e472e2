//! Which tables databases have, as far as patterns of entities ask: once a command, before it is
//! known which flows there are.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use tokio::runtime::Builder;

use super::Run;
use crate::cache::index::IndexChanges;
use crate::cache::{Cache, CacheAccess, CacheFolder};
use crate::config::loader::LoadedConfig;
use crate::config::table_patterns::{TableListing, TableSource};
use crate::config::{self, Config, entities};
use crate::connection::Databases;
use crate::error::{Result, join_limited};
use crate::flow::factory::Factory;
use crate::fs;
use crate::home::sql::list_tables;
use crate::store::sql::RECEIPTS_TABLE;
use crate::threads;

/// How many names are said.
const MAX_SHOWN: usize = 5;

/// Asks the databases, or nobody where `is_offline`. One that does not answer has the tables that it
/// had when a build asked it last, as the cache knows.
///
/// # Errors
/// There is no thread for it.
pub(super) fn list_all(loaded: &mut LoadedConfig, is_offline: bool) -> Result<()> {
    if !entities::may_find_tables(&loaded.documents) {
        return Ok(());
    }
    // What is wrong with the config is said when all of it is known.
    let (Some(config), _) = config::resolve(loaded, &Factory::key_owners()) else {
        return Ok(());
    };
    let runtime = threads::build_runtime(Builder::new_multi_thread().enable_all())?;
    let listings = runtime.block_on(async {
        let databases = Databases::new(&loaded.root);
        let asked = config.table_sources.iter().map(|source| {
            let (config, databases) = (&config, &databases);
            async move {
                let listed = if is_offline {
                    Err("--offline asks no database".to_string())
                } else {
                    tables_of(source, config, databases).await
                };
                (source.clone(), listed)
            }
        });
        let listed = join_all(asked).await;
        databases.wait_for_cancellations().await;
        let is_known = listed.iter().all(|(_, listed)| listed.is_ok());
        let mut before = if is_known {
            BTreeMap::new()
        } else {
            lists_of_last_build(&config).await
        };
        let listing = |(source, listed)| {
            let listing = match listed {
                Ok(tables) => TableListing::Listed(tables),
                Err(reason) => match before.remove(&source) {
                    Some(tables) => TableListing::Remembered { tables, reason },
                    None => TableListing::Unknown { reason },
                },
            };
            (source, listing)
        };
        listed.into_iter().map(listing).collect()
    });
    loaded.table_listings = listings;
    Ok(())
}

/// The tables of a source, or why nobody knows them.
async fn tables_of(
    source: &TableSource,
    config: &Config,
    databases: &Databases,
) -> std::result::Result<Vec<String>, String> {
    let mut connections = config.connections.iter();
    let connection = connections.find(|connection| connection.name == source.connection);
    let connection =
        connection.ok_or_else(|| format!("the config has no connection {}", source.connection))?;
    let schema = source.schema.as_deref();
    let listed = list_tables(connection, databases, schema, source.has_views).await;
    let mut tables = listed.map_err(|error| error.to_string())?;
    tables.retain(|table| !table.eq_ignore_ascii_case(RECEIPTS_TABLE));
    Ok(tables)
}

/// What the cache knows. Where it cannot be read, nothing is known.
async fn lists_of_last_build(config: &Config) -> BTreeMap<TableSource, Vec<String>> {
    let folder = &config.options.cache_folder;
    let place = CacheFolder {
        real_path: fs::real_path(folder).unwrap_or_else(|_| folder.clone()),
        root: folder.parent().unwrap_or(folder).to_path_buf(),
    };
    let Ok(cache) = Cache::open(&place, CacheAccess::Inspect).await else {
        return BTreeMap::new();
    };
    cache.index.table_lists().await.unwrap_or_default()
}

impl Run {
    /// Which tables that are entities came and went since a build listed them last, in words.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub async fn table_changes(&self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for (source, before, now) in self.relisted_tables().await? {
            let Some(before) = before else { continue };
            let (before, now): (BTreeSet<_>, BTreeSet<_>) =
                (before.iter().collect(), now.iter().collect());
            let is_entity = |table: &&&String| {
                let mut flows = self.planner.context.project.graph.flows();
                flows.any(|flow| {
                    flow.entity
                        .as_ref()
                        .is_some_and(|(_, entity)| entity == **table)
                })
            };
            let was_entity = |table: &&&String| {
                let ending = format!(".{table}");
                let mut known = self.planner.known_stores().values();
                known.any(|known| known.flow.ends_with(&ending))
            };
            let came: Vec<_> = now.difference(&before).filter(is_entity).collect();
            let went: Vec<_> = before.difference(&now).filter(was_entity).collect();
            for (tables, what) in [(came, "new"), (went, "gone")] {
                if !tables.is_empty() {
                    said.push(format!(
                        "{what} in {} since the last build: {}",
                        source.connection,
                        join_limited(&tables, MAX_SHOWN)
                    ));
                }
            }
        }
        Ok(said)
    }

    /// The next command without an answer takes the tables that there are now.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub async fn remember_tables(&self) -> Result<()> {
        let changed = self.relisted_tables().await?.into_iter();
        let changes = IndexChanges {
            table_lists: changed.map(|(source, _, now)| (source, now)).collect(),
            ..IndexChanges::default()
        };
        if changes.is_empty() {
            return Ok(());
        }
        Ok(self.planner.context.cache.index.apply(changes).await?)
    }

    /// The lists that are others than those of the last build, with those.
    async fn relisted_tables(
        &self,
    ) -> Result<Vec<(TableSource, Option<Vec<String>>, Vec<String>)>> {
        if self.loaded.table_listings.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = self.planner.context.cache.index.table_lists().await?;
        let listed = self.loaded.table_listings.iter();
        let changed = listed.filter_map(|(source, listing)| match listing {
            TableListing::Listed(now) => {
                let before = known.remove(source);
                (before.as_ref() != Some(now)).then(|| (source.clone(), before, now.clone()))
            }
            TableListing::Remembered { .. } | TableListing::Unknown { .. } => None,
        });
        Ok(changed.collect())
    }
}
