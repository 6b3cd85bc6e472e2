//! Orphans: stores of this project that no flow of its config has any more.
//!
//! It knows them by their receipts; what is in them it does not look at.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::context::PlanContext;
use super::index_cache::IndexCache;
use super::project::Project;
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

/// Folders of a project that no flow owns. Whether a table is still there only its database could
/// say.
pub(super) fn orphans(project: &Project, stores: &HashMap<StoreId, KnownStore>) -> Vec<Orphan> {
    let folders = unowned_stores(project, stores, |store| store.folder().is_some());
    folders
        .into_iter()
        .map(|unowned| Orphan {
            store: unowned.id.index_key().into_owned(),
            flow: unowned.flow,
        })
        .collect()
}

fn unowned_stores(
    project: &Project,
    stores: &HashMap<StoreId, KnownStore>,
    is_wanted: impl Fn(&StoreId) -> bool,
) -> Vec<UnownedStore> {
    let name = project.config.name.as_str();
    let owned: HashSet<&StoreId> = project
        .graph
        .flows()
        .map(|flow| project.store_id(flow))
        .collect();
    let owners = StoreOwners::new(project, [name]);
    // Whose tables nobody knows may have all of its entities still.
    let may_be_there = |known: &KnownStore| {
        let mut unlisted = project.config.unlisted.keys();
        unlisted.any(|flow| {
            let entity = known.flow.strip_prefix(flow.as_str());
            entity.is_some_and(|entity| entity.starts_with('.'))
        })
    };
    let is_ours = |(store, known): &(&StoreId, &KnownStore)| {
        known.project == name
            && !owned.contains(*store)
            && is_wanted(store)
            && !may_be_there(known)
            && owners.owns(store)
    };
    let mut unowned: Vec<_> = stores
        .iter()
        .filter(is_ours)
        .map(|(store, known)| UnownedStore {
            id: store.clone(),
            flow: known.flow.clone(),
        })
        .collect();
    unowned.sort_by(|a, b| a.id.index_key().cmp(&b.id.index_key()));
    unowned
}

/// Folders and tables of a project that no flow owns, with what reads and clears each; those of
/// tables whose connection the config has no more are in the second list, by their flows.
///
/// # Errors
/// The index cannot be read.
pub(super) async fn removable_stores(
    context: &PlanContext,
    index_cache: &mut IndexCache,
) -> Result<(Vec<RemovableStore>, Vec<String>)> {
    let (mut removable, mut others) = (Vec::new(), Vec::new());
    let unowned = unowned_stores(&context.project, &index_cache.stores, |_| true);
    for UnownedStore { id, flow } in unowned {
        let session = match &id {
            StoreId::Folder(folder) => factory::open_folder(folder)?,
            StoreId::Table(table) => match table_store(context, index_cache, &id, table).await? {
                Some(store) if may_be_table_of(context, &flow, store.as_ref()) => continue,
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
fn may_be_table_of(context: &PlanContext, flow: &str, store: &dyn Store) -> bool {
    let flow = context.project.graph.flow(flow);
    let own = flow.and_then(|flow| flow.store.as_table());
    matches!((own, store.as_table()), (Some(own), Some(other)) if own.may_be(&other))
}

/// A table by its receipt in the index: of one of the config's connections.
async fn table_store(
    context: &PlanContext,
    index_cache: &mut IndexCache,
    id: &StoreId,
    table: &TableId,
) -> Result<Option<Arc<dyn Store>>> {
    index_cache.load(&context.cache.index, &[], &[id]).await?;
    let receipt = index_cache
        .receipts
        .get(id)
        .map(|known| known.receipt.clone());
    let name = receipt
        .as_ref()
        .and_then(|receipt| receipt.published.as_ref()?.placement.get("store.table"));
    let project = &context.project;
    let tables = name
        .into_iter()
        .flat_map(|name| factory::table_stores(project.root(), &project.config.connections, name));
    // The project may have been moved since.
    let is_meant = |store: &Arc<dyn Store>| {
        store
            .as_table()
            .is_some_and(|other| other.id.name() == table.name())
    };
    Ok(tables.into_iter().find(is_meant))
}
