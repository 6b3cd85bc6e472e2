//! Lost entities: those that were published before, and that their pattern does not find any more.
//!
//! It knows the receipts by the names of their flows, and compares names only: what a home holds it
//! does not know.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::project::Project;
use super::store_owners::{self, StoreOwners};
use crate::cache::index::KnownStore;
use crate::cache::{Cache, CacheAccess};
use crate::error::{Error, ErrorKind, Result, join_limited};
use crate::flow::Flow;
use crate::store::StoreId;

/// How many names are shown.
const MAX_SHOWN_NAMES: usize = 3;

/// Entities of one flow that are gone: more than it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostEntities {
    /// The flow, as the config has it.
    pub flow: String,
    /// The entities.
    pub entities: BTreeSet<String>,
    /// Their stores.
    pub stores: Vec<StoreId>,
    /// How many entities it had.
    pub total: usize,
    /// How many of a hundred may be gone.
    pub allowed: u8,
}

impl LostEntities {
    /// Why the flow is not built; `all` is the number of entities that all flows of the run have
    /// lost.
    pub fn error(&self, all: usize) -> Error {
        let names = join_limited(&self.entities.iter().collect::<Vec<_>>(), MAX_SHOWN_NAMES);
        let error = format!(
            "{} of the {} entities that flow {} had are not found any more ({names}), and max_lost allows {}%",
            self.entities.len(),
            self.total,
            self.flow,
            self.allowed
        );
        Error::new(ErrorKind::Flow, error).with_hint(format!(
            "bring them back, or accept it by hygge build --accept-lost={all}; hygge clean --orphans lists what they left"
        ))
    }
}

/// The flows of a project that have lost more entities than they allow.
#[derive(Debug, Default)]
pub(super) struct EntityLosses(Vec<LostEntities>);

impl EntityLosses {
    /// Those of a project, by what is known of its stores.
    pub(super) fn find(project: &Project, stores: &HashMap<StoreId, KnownStore>) -> Self {
        Self(find_lost(project, stores))
    }

    /// Why a flow is not built: it is an entity of one of them.
    pub(super) fn error(&self, flow: &Flow) -> Option<Error> {
        let lost = self.0.iter().find(|lost| is_entity_of(flow, &lost.flow))?;
        Some(lost.error(count_lost(&self.0)))
    }

    /// Accepts that entities are lost, from now on, where they are as many; gives their stores.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn accept(&mut self, number: usize) -> Result<Vec<StoreId>> {
        let lost = count_lost(&self.0);
        if lost != number {
            let error = match lost {
                0 => format!(
                    "--accept-lost={number}, and no flow has lost more entities than it allows"
                ),
                lost => format!(
                    "--accept-lost={number}, and the number of entities that are lost is {lost}"
                ),
            };
            let hint = if lost == 0 {
                "leave --accept-lost out"
            } else {
                "hygge build --dry-run names them"
            };
            return Err(Error::new(ErrorKind::Config, error).with_hint(hint));
        }
        let lost = std::mem::take(&mut self.0);
        Ok(lost.into_iter().flat_map(|lost| lost.stores).collect())
    }
}

/// True for an entity of a flow of the config.
pub(super) fn is_entity_of(flow: &Flow, name: &str) -> bool {
    flow.entity.as_ref().is_some_and(|(of, _)| of == name)
}

/// How many entities are lost in all.
pub fn count_lost(lost: &[LostEntities]) -> usize {
    lost.iter().map(|lost| lost.entities.len()).sum()
}

/// The flows that have lost more entities than they allow. Where nothing was lost, nothing is
/// looked at.
pub fn find_lost(project: &Project, stores: &HashMap<StoreId, KnownStore>) -> Vec<LostEntities> {
    let limits = &project.config.max_lost;
    if limits.is_empty() {
        return Vec::new();
    }
    let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut gone: BTreeMap<&str, Vec<(&str, &StoreId)>> = BTreeMap::new();
    let names = project_names(project, stores);
    for (store, known) in stores
        .iter()
        .filter(|(_, known)| names.contains(known.project.as_str()))
    {
        let Some((flow, entity)) = split_entity(&known.flow, limits) else {
            continue;
        };
        if project.graph.flow(&known.flow).is_some() {
            there.entry(flow).or_default().insert(entity);
        } else if !known.is_loss_accepted {
            gone.entry(flow).or_default().push((entity, store));
        }
    }
    let owners = StoreOwners::new(project, names);
    let lost = gone.into_iter().filter_map(|(flow, gone)| {
        let allowed = *limits.get(flow)?;
        let there = there.get(flow).map_or(0, BTreeSet::len);
        let is_too_many = |gone: usize| gone * 100 > usize::from(allowed) * (gone + there);
        let number = |gone: &[(&str, &StoreId)]| {
            gone.iter()
                .map(|(entity, _)| entity)
                .collect::<BTreeSet<_>>()
                .len()
        };
        if !is_too_many(number(&gone)) {
            return None;
        }
        // Only what is still there counts: who removed a store does not miss it.
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|(_, store)| owners.owns(store))
            .collect();
        is_too_many(number(&gone)).then(|| LostEntities {
            flow: flow.to_string(),
            entities: gone
                .iter()
                .map(|(entity, _)| (*entity).to_string())
                .collect(),
            stores: gone
                .iter()
                .map(|(_, store)| StoreId::clone(store))
                .collect(),
            total: number(&gone) + there,
            allowed,
        })
    });
    lost.collect()
}

/// What a project is called, and was when its flows published to the stores that they still have:
/// one without a name is called like its folder, which may be moved.
fn project_names<'s>(
    project: &'s Project,
    stores: &'s HashMap<StoreId, KnownStore>,
) -> HashSet<&'s str> {
    let known = project.graph.flows().filter_map(|flow| {
        stores
            .get(project.store_id(flow))
            .filter(|known| known.flow == flow.name.as_str())
    });
    known
        .map(|known| known.project.as_str())
        .chain([project.config.name.as_str()])
        .collect()
}

/// The same, by what the cache knows, or the receipts beside the stores where there is none.
/// Changes nothing.
///
/// # Errors
/// The cache cannot be read.
pub async fn load_and_find(project: &Project) -> Result<Vec<LostEntities>> {
    let cache = Cache::open(&project.cache_folder(), CacheAccess::Inspect).await?;
    let mut stores = cache.index.stores;
    if cache.index.reset.is_some() || store_owners::is_moved_project(project, &stores) {
        for store_owners::StoreReceipt {
            sibling,
            is_loss_accepted,
        } in store_owners::store_receipts(project)?
        {
            let known = KnownStore {
                project: sibling.receipt.project,
                flow: sibling.receipt.flow,
                stat_digest: None,
                is_loss_accepted,
            };
            stores.insert(sibling.store, known);
        }
    }
    Ok(find_lost(project, &stores))
}

/// Stores of entities that nobody missed, and that are back.
pub fn reappeared_stores(project: &Project, stores: &HashMap<StoreId, KnownStore>) -> Vec<StoreId> {
    if project.config.max_lost.is_empty() {
        return Vec::new();
    }
    let given_up = stores.iter().filter(|(_, known)| known.is_loss_accepted);
    given_up
        .filter(|(_, known)| project.graph.flow(&known.flow).is_some())
        .map(|(store, _)| store.clone())
        .collect()
}

/// The flow of the config and the entity that a flow's name is made of.
fn split_entity<'n>(name: &'n str, limits: &BTreeMap<String, u8>) -> Option<(&'n str, &'n str)> {
    name.match_indices('.')
        .map(|(at, _)| (&name[..at], &name[at + 1..]))
        .find(|(flow, _)| limits.contains_key(*flow))
}
