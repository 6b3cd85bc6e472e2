//! Orphans: stores of this project that no flow of its config has any more.
//!
//! It knows them by their receipts; what is in them it does not look at.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::planner::Planner;
use super::store_owners::StoreOwners;
use crate::cache::index::KnownStore;
use crate::error::Result;
use crate::flow::factory;
use crate::store::{Store, StoreId, StoreSession, TableId};

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
    /// What tells it from others.
    pub id: StoreId,
    /// The store.
    pub session: Arc<dyn StoreSession>,
}

/// A folder or a table that no flow owns.
struct UnownedStore {
    id: StoreId,
    flow: String,
}

impl Planner {
    /// Folders of this project that no flow owns. Whether a table is still there only its database
    /// could say.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        let folders = self.unowned_stores(|store| store.folder().is_some());
        folders
            .into_iter()
            .map(|unowned| Orphan {
                store: unowned.id.index_key().into_owned(),
                flow: unowned.flow,
            })
            .collect()
    }

    fn unowned_stores(&self, is_wanted: impl Fn(&StoreId) -> bool) -> Vec<UnownedStore> {
        let name = self.project.config.name.as_str();
        let owned: HashSet<&StoreId> = self
            .project
            .graph
            .flows()
            .map(|flow| self.project.store_id(flow))
            .collect();
        let owners = StoreOwners::new(&self.project, [name]);
        let is_ours = |(store, known): &(&StoreId, &KnownStore)| {
            known.project == name
                && !owned.contains(*store)
                && is_wanted(store)
                && owners.owns(store)
        };
        let ours = self.index_cache.stores.iter().filter(is_ours);
        let mut unowned: Vec<_> = ours
            .map(|(store, known)| UnownedStore {
                id: store.clone(),
                flow: known.flow.clone(),
            })
            .collect();
        unowned.sort_by(|a, b| a.id.index_key().cmp(&b.id.index_key()));
        unowned
    }

    /// Folders and tables of this project that no flow owns, with what reads and clears each; those
    /// of tables whose connection the config has no more are in the second list, by their flows.
    pub async fn removable_stores(&mut self) -> Result<(Vec<RemovableStore>, Vec<String>)> {
        let (mut removable, mut others) = (Vec::new(), Vec::new());
        for UnownedStore { id, flow } in self.unowned_stores(|_| true) {
            let session = match &id {
                StoreId::Folder(folder) => factory::open_folder(folder)?,
                StoreId::Table(table) => match self.table_store(&id, table).await? {
                    Some(store) if self.may_be_table_of(&flow, store.as_ref()) => continue,
                    Some(store) => store.open(&id)?,
                    None => {
                        others.push(flow);
                        continue;
                    }
                },
            };
            removable.push(RemovableStore { flow, id, session });
        }
        Ok((removable, others))
    }

    /// True where a table may be the one that a flow fills, by another spelling of its name.
    fn may_be_table_of(&self, flow: &str, store: &dyn Store) -> bool {
        let own = self
            .project
            .graph
            .flow(flow)
            .and_then(|flow| flow.store.as_table());
        matches!((own, store.as_table()), (Some(own), Some(other)) if own.may_be(&other))
    }

    /// A table by its receipt in the index: of one of the config's connections.
    async fn table_store(
        &mut self,
        id: &StoreId,
        table: &TableId,
    ) -> Result<Option<Arc<dyn Store>>> {
        self.index_cache.load(&self.cache.index, &[], &[id]).await?;
        let receipt = self
            .index_cache
            .receipts
            .get(id)
            .map(|known| known.receipt.clone());
        let name = receipt
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref()?.placement.get("store.table"));
        let tables = name.into_iter().flat_map(|name| {
            factory::table_stores(self.project.root(), &self.project.config.connections, name)
        });
        // The project may have been moved since.
        let is_meant = |store: &Arc<dyn Store>| {
            store
                .as_table()
                .is_some_and(|other| other.id.name() == table.name())
        };
        Ok(tables.into_iter().find(is_meant))
    }
}
