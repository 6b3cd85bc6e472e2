//! Whose stores are: what receipts beside them say, without an index.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::project::Project;
use crate::cache::index::KnownStore;
use crate::error::Result;
use crate::flow::factory::{self, open_folder};
use crate::store::accepted_loss::is_loss_accepted;
use crate::store::{SiblingReceipt, StoreId};

/// A receipt that stands beside stores of the config.
pub(super) struct StoreReceipt {
    pub(super) sibling: SiblingReceipt,
    /// True where nobody misses the store's entity.
    pub(super) is_loss_accepted: bool,
}

/// True where an index knows no store of the config, as that of a project which was moved: what is
/// remembered lies elsewhere.
pub(super) fn is_moved_project(project: &Project, stores: &HashMap<StoreId, KnownStore>) -> bool {
    !stores.is_empty()
        && project
            .graph
            .flows()
            .all(|flow| !stores.contains_key(project.store_id(flow)))
}

/// The receipts that stand beside all stores: what tells, without an index, what this project ever
/// published.
pub(super) fn store_receipts(project: &Project) -> Result<Vec<StoreReceipt>> {
    let folders: HashSet<&Path> = project
        .graph
        .flows()
        .filter_map(|flow| project.store_id(flow).folder()?.parent())
        .chain(project.past_store_folders().iter().map(PathBuf::as_path))
        .collect();
    let mut found = Vec::new();
    for folder in folders {
        found.extend(open_folder(&folder.join("any"))?.sibling_receipts()?);
    }
    // What cannot be asked is an error of the flows that fill it.
    table_receipts(project)
        .into_iter()
        .flatten()
        .for_each(|table| found.extend(table));
    let with_mark = |sibling: SiblingReceipt| {
        let is_loss_accepted = is_loss_accepted(&sibling.store)?;
        Ok(StoreReceipt {
            sibling,
            is_loss_accepted,
        })
    };
    found.into_iter().map(with_mark).collect()
}

/// The receipts of each database that flows fill, or filled when they had entities; `None` for one
/// that cannot be asked.
fn table_receipts(project: &Project) -> Vec<Option<Vec<SiblingReceipt>>> {
    let stores = project
        .graph
        .flows()
        .filter_map(|flow| Some(flow.store.as_table()?.connection.name.as_str()));
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
        .map(|store| {
            let id = StoreId::Table(store.as_table()?.id.clone());
            store.open(&id).ok()?.sibling_receipts().ok()
        })
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
    tables: OnceCell<Option<HashMap<StoreId, String>>>,
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
    pub(super) fn owns(&self, store: &StoreId) -> bool {
        if !self.project.may_own(store).unwrap_or(false) {
            return false;
        }
        let is_theirs = |project: &String| self.names.contains(project.as_str());
        match store {
            StoreId::Table(_) => self
                .tables
                .get_or_init(|| table_owners(self.project))
                .as_ref()
                .is_none_or(|tables| tables.get(store).is_some_and(is_theirs)),
            StoreId::Folder(folder) => open_folder(folder)
                .and_then(|store| store.receipt())
                .ok()
                .flatten()
                .is_some_and(|receipt| is_theirs(&receipt.project)),
        }
    }
}

fn table_owners(project: &Project) -> Option<HashMap<StoreId, String>> {
    let found = table_receipts(project)
        .into_iter()
        .collect::<Option<Vec<_>>>()?;
    Some(
        found
            .into_iter()
            .flatten()
            .map(|sibling| (sibling.store, sibling.receipt.project))
            .collect(),
    )
}
