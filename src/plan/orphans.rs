//! Orphans: stores of this project that no flow of its config has any more.
//!
//! It knows them by their receipts; what is in them it does not look at.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::planner::Planner;
use super::store_owners::StoreOwners;
use crate::cache::index::KnownStore;
use crate::error::Result;
use crate::flow::{Flow, factory};
use crate::store::Store;
use crate::store::accepted_loss::is_table_path;

/// A store with a receipt of this project that no flow of its config owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The store.
    pub store: PathBuf,
    /// The flow that made it.
    pub flow: String,
}

/// An orphan with what is needed to remove it.
#[derive(Clone, Debug)]
pub struct RemovableStore {
    /// The flow that made it.
    pub flow: String,
    /// Where it is.
    pub path: PathBuf,
    /// What can read its receipt, and clear it.
    pub store: Arc<dyn Store>,
}

impl Planner {
    /// Folders of this project that no flow owns. Whether a table is still there only its database
    /// could say.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        self.find_orphans(|store| !is_table_path(store))
    }

    fn find_orphans(&self, is_wanted: impl Fn(&Path) -> bool) -> Vec<Orphan> {
        let name = self.project.config.name.as_str();
        let owned: HashSet<&Path> = self
            .project
            .graph
            .flows()
            .map(|flow| self.project.store_path(flow))
            .collect();
        let owners = StoreOwners::new(&self.project, [name]);
        let is_ours = |(store, known): &(&PathBuf, &KnownStore)| {
            known.project == name
                && !owned.contains(store.as_path())
                && is_wanted(store)
                && owners.owns(store)
        };
        let ours = self.index_cache.stores.iter().filter(is_ours);
        let mut orphans: Vec<_> = ours
            .map(|(store, known)| Orphan {
                store: store.clone(),
                flow: known.flow.clone(),
            })
            .collect();
        orphans.sort_by(|a, b| a.store.cmp(&b.store));
        orphans
    }

    /// Folders and tables of this project that no flow owns, with what reads and clears each; those
    /// of tables whose connection the config has no more are in the second list.
    pub async fn removable_stores(&mut self) -> Result<(Vec<RemovableStore>, Vec<Orphan>)> {
        let (mut removable, mut others) = (Vec::new(), Vec::new());
        for orphan in self.find_orphans(|_| true) {
            let store = if is_table_path(&orphan.store) {
                self.table_store(&orphan.store).await?
            } else {
                Some(factory::any_folder_store())
            };
            match store {
                Some(store)
                    if self
                        .project
                        .graph
                        .flow(&orphan.flow)
                        .is_some_and(|flow| is_same_table(flow, store.as_ref())) => {}
                Some(store) => removable.push(RemovableStore {
                    flow: orphan.flow,
                    path: orphan.store,
                    store,
                }),
                None => others.push(orphan),
            }
        }
        Ok((removable, others))
    }

    /// The table that a path stands for, by its receipt in the index: of one of the config's
    /// connections.
    async fn table_store(&mut self, path: &Path) -> Result<Option<Arc<dyn Store>>> {
        self.index_cache
            .load(&self.cache.index, &[], &[path])
            .await?;
        let receipt = self
            .index_cache
            .receipts
            .get(path)
            .map(|known| known.receipt.clone());
        let name = receipt
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref()?.placement.get("store.table"));
        let tables = name.into_iter().flat_map(|name| {
            factory::table_stores(self.project.root(), &self.project.config.connections, name)
        });
        Ok(tables
            .into_iter()
            .find(|store| store.path().file_name() == path.file_name()))
    }
}

/// True where a table may be the one that a flow fills, by another spelling of its name.
fn is_same_table(flow: &Flow, store: &dyn Store) -> bool {
    let (Some(own), Some(other)) = (flow.store.table(), store.table()) else {
        return false;
    };
    let (Some(name), Some(other_name)) = (own.names.last(), other.names.last()) else {
        return false;
    };
    own.database == other.database && name.eq_ignore_ascii_case(other_name)
}
