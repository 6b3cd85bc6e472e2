//! Orphans: stores of this project that no flow of its config has any more.
//!
//! It knows them by their receipts; what is in them it does not look at.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::planner::Planner;
use super::project::Project;
use crate::error::Result;
use crate::flow::factory;
use crate::fs::Stat;
use crate::store::Store;
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
pub struct Removable {
    /// The flow that made it.
    pub flow: String,
    /// Where it is.
    pub path: PathBuf,
    /// What can read its receipt, and clear it.
    pub store: Arc<dyn Store>,
}

/// The receipts that stand beside all stores: what tells, without an index, what this project ever published.
pub(super) fn receipts(project: &Project) -> Result<Vec<(PathBuf, Stat, Receipt)>> {
    let mut found = Vec::new();
    for flow in project.graph.flows() {
        found.extend(flow.store.neighbours(project.store_path(flow))?);
    }
    for base in project.bases() {
        found.extend(factory::any_folder().neighbours(&base.join("any"))?);
    }
    Ok(found)
}

/// True where a folder is a store of this project, by the receipt beside it. What is remembered may be of a time before
/// another project took it over. Tables have no receipt on a disk: what is remembered is believed.
pub(super) fn is_ours(project: &Project, store: &Path) -> bool {
    if !project.may_own(store).unwrap_or(false) {
        return false;
    }
    let receipt = || factory::any_folder().receipt(store).ok().flatten();
    is_table(store) || receipt().is_some_and(|receipt| receipt.project == project.config.name)
}

/// True for the path that stands for a table.
fn is_table(store: &Path) -> bool {
    store.parent().is_some_and(|parent| parent.ends_with(".hygge/tables"))
}

impl Planner {
    /// Folders of this project that no flow owns. Whether a table is still there only its database could say.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        let mut orphans = self.all_orphans();
        orphans.retain(|orphan| !is_table(&orphan.store));
        orphans
    }

    fn all_orphans(&self) -> Vec<Orphan> {
        let owned: HashSet<&Path> = self.project.graph.flows().map(|flow| self.project.store_path(flow)).collect();
        let known = self.memory.stores.iter();
        let ours = known.filter(|(store, known)| known.project == self.project.config.name && !owned.contains(store.as_path()));
        let there = ours.filter(|(store, _)| is_ours(&self.project, store));
        let mut orphans: Vec<_> = there.map(|(store, known)| Orphan { store: store.clone(), flow: known.flow.clone() }).collect();
        orphans.sort_by(|a, b| a.store.cmp(&b.store));
        orphans
    }

    /// Folders and tables of this project that no flow owns, with what reads and clears each; those of tables whose connection
    /// the config has no more are in the second list.
    pub async fn removable(&mut self) -> Result<(Vec<Removable>, Vec<Orphan>)> {
        let (mut removable, mut others) = (Vec::new(), Vec::new());
        for orphan in self.all_orphans() {
            let store = if is_table(&orphan.store) { self.table(&orphan.store).await? } else { Some(factory::any_folder()) };
            match store {
                Some(store) => removable.push(Removable { flow: orphan.flow, path: orphan.store, store }),
                None => others.push(orphan),
            }
        }
        Ok((removable, others))
    }

    /// The table that a path stands for, by its receipt in the index: of one of the config's connections.
    async fn table(&mut self, path: &Path) -> Result<Option<Arc<dyn Store>>> {
        self.memory.load(&self.cache.index, &[], &[path]).await?;
        let receipt = self.memory.receipts.get(path).map(|known| known.receipt.clone());
        let name = receipt.as_ref().and_then(|receipt| receipt.published.as_ref()?.placement.get("store.table"));
        let tables = name.into_iter().flat_map(|name| factory::tables(self.project.root(), &self.project.config.connections, name));
        Ok(tables.into_iter().find(|store| store.path().file_name() == path.file_name()))
    }
}
