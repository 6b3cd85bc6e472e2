//! Orphans: stores of this project that no flow of its config has any more.
//!
//! It knows them by their receipts; what is in them it does not look at.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::planner::Planner;
use super::project::Project;
use crate::cache::index::KnownStore;
use crate::error::Result;
use crate::flow::{Flow, factory};
use crate::fs::Stat;
use crate::store::Store;
use crate::store::accepted_loss::{is_loss_accepted, is_table_path};
use crate::store::receipt::Receipt;

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

/// A receipt that stands beside stores of the config.
pub(super) struct StoreReceipt {
    /// The store that it is for.
    pub(super) store: PathBuf,
    pub(super) stat: Stat,
    pub(super) receipt: Receipt,
    /// True where nobody misses the store's entity.
    pub(super) is_loss_accepted: bool,
}

/// True where an index knows no store of the config, as that of a project which was moved: what is
/// remembered lies elsewhere.
pub(super) fn is_moved_project(project: &Project, stores: &HashMap<PathBuf, KnownStore>) -> bool {
    !stores.is_empty()
        && project
            .graph
            .flows()
            .all(|flow| !stores.contains_key(project.store_path(flow)))
}

/// The receipts that stand beside all stores: what tells, without an index, what this project ever
/// published.
pub(super) fn store_receipts(project: &Project) -> Result<Vec<StoreReceipt>> {
    let flows = project
        .graph
        .flows()
        .filter(|flow| flow.store.capabilities().parts_readable);
    let folders: HashSet<&Path> = flows
        .filter_map(|flow| project.store_path(flow).parent())
        .chain(project.past_store_folders().iter().map(PathBuf::as_path))
        .collect();
    let mut found = Vec::new();
    for folder in folders {
        found.extend(factory::any_folder_store().sibling_receipts(&folder.join("any"))?);
    }
    // What cannot be asked is an error of the flows that fill it.
    table_receipts(project)
        .into_iter()
        .flatten()
        .for_each(|table| found.extend(table));
    let with_mark = |(store, stat, receipt): (PathBuf, Stat, Receipt)| {
        let is_given_up = is_loss_accepted(&store)?;
        Ok(StoreReceipt {
            store,
            stat,
            receipt,
            is_loss_accepted: is_given_up,
        })
    };
    found.into_iter().map(with_mark).collect()
}

/// The receipts of each database that flows fill, or filled when they had entities; `None` for one
/// that cannot be asked.
fn table_receipts(project: &Project) -> Vec<Option<Vec<(PathBuf, Stat, Receipt)>>> {
    let stores = project
        .graph
        .flows()
        .filter_map(|flow| Some(flow.store.table()?.connection.name.as_str()));
    let names: HashSet<&str> = stores
        .chain(
            project
                .entityless_stores()
                .filter_map(|store| store.get("connection")?.text()),
        )
        .collect();
    let connections = project
        .config
        .connections
        .iter()
        .filter(|connection| names.contains(connection.name.as_str()));
    let stores = factory::table_stores(project.root(), connections, "any");
    stores
        .iter()
        .map(|store| store.sibling_receipts(store.path()).ok())
        .collect()
}

/// Whose stores are, by the receipts beside them: what is remembered may be of a time before
/// another project took one over, or somebody removed it.
pub(super) struct StoreOwners<'p> {
    project: &'p Project,
    /// What the owner may be called.
    names: HashSet<&'p str>,
    /// The tables of which databases have receipts, by the names of their projects; `None` where
    /// one cannot be asked.
    tables: OnceCell<Option<HashMap<PathBuf, String>>>,
}

impl<'p> StoreOwners<'p> {
    pub(super) fn new(project: &'p Project, names: impl IntoIterator<Item = &'p str>) -> Self {
        Self {
            project,
            names: names.into_iter().collect(),
            tables: OnceCell::new(),
        }
    }

    /// True where a store is theirs. Of tables that cannot be asked, what is remembered is
    /// believed.
    pub(super) fn owns(&self, store: &Path) -> bool {
        if !self.project.may_own(store).unwrap_or(false) {
            return false;
        }
        let is_theirs = |project: &String| self.names.contains(project.as_str());
        if is_table_path(store) {
            return self
                .tables
                .get_or_init(|| table_owners(self.project))
                .as_ref()
                .is_none_or(|tables| tables.get(store).is_some_and(is_theirs));
        }
        factory::any_folder_store()
            .receipt(store)
            .ok()
            .flatten()
            .is_some_and(|receipt| is_theirs(&receipt.project))
    }
}

fn table_owners(project: &Project) -> Option<HashMap<PathBuf, String>> {
    let found = table_receipts(project)
        .into_iter()
        .collect::<Option<Vec<_>>>()?;
    Some(
        found
            .into_iter()
            .flatten()
            .map(|(store, _, receipt)| (store, receipt.project))
            .collect(),
    )
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
