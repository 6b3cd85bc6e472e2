//! Which parts of a flow were made before and are at hand, and where.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::context::PlanContext;
use super::index_cache::IndexCache;
use super::planned_part::{ExistingPart, PartLocation, PlannedPart};
use super::probe::StoreState;
use crate::cache::index::PartRecord;
use crate::cache::resolver::PartResolver;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, Mode};
use crate::fs;
use crate::store::StoreSession;
use crate::store::receipt::{Part, PublishedSet, Receipt};

/// Finds parts that need not be made.
#[derive(Debug, Default)]
pub(super) struct PartFinder {
    resolver: PartResolver,
}

impl PartFinder {
    /// Takes over a part that was just made: others may need the same.
    pub(super) fn on_part_made(&mut self, key: Fingerprint, record: PartRecord) {
        self.resolver.insert(key, record);
    }

    /// Finds the parts that were made before and are at hand.
    ///
    /// # Errors
    /// The cache or the store cannot be looked at.
    pub(super) async fn find(
        &mut self,
        context: &PlanContext,
        index_cache: &mut IndexCache,
        (flow, state): (&Flow, &StoreState),
        parts: &mut [PlannedPart],
    ) -> Result<()> {
        let store = context.project.open_store(flow)?;
        let receipt = state.receipt.as_deref();
        // The receipt knows its parts by their keys too, so that a lost index costs nothing.
        let recorded = recorded_parts(receipt);
        let others: Vec<Fingerprint> = parts
            .iter()
            .map(|part| part.key)
            .filter(|key| !recorded.contains_key(key))
            .collect();
        let made = self.resolver.resolve(&context.cache, &others).await?;
        let mut places = PartPlaces {
            in_store: parts_in_store(flow, state, store.as_ref())?,
            loaded: (!flow.store.capabilities().parts_readable)
                .then(|| LoadedParts::new(flow, published(receipt))),
            previous: None,
            elsewhere: None,
        };
        for part in parts.iter_mut() {
            let record = recorded.get(&part.key).or_else(|| made.get(&part.key));
            let Some(record) = record.cloned() else {
                continue;
            };
            let location = if places.has_in_store(&record.digest, part) {
                Some(PartLocation::InStore)
            } else if context.cache.staging.size(&record.digest)? == Some(record.bytes)
                || places.will_be_staged(&record.digest, store.as_ref(), receipt)?
            {
                Some(PartLocation::Staged)
            } else {
                if places.elsewhere.is_none() {
                    let elsewhere = other_store_parts(context, index_cache, flow).await?;
                    places.elsewhere = Some(elsewhere);
                }
                let elsewhere = places.elsewhere.as_ref();
                elsewhere
                    .and_then(|places| places.get(&record.digest))
                    .map(|path| PartLocation::OtherStore(path.clone()))
            };
            if let Some(location) = location {
                part.existing = Some(ExistingPart { record, location });
            }
        }
        Ok(())
    }
}

/// Where parts of a flow are, as far as it was asked.
struct PartPlaces {
    /// Those that its store has, by digest.
    in_store: HashSet<Fingerprint>,
    /// Which of them a table has, where it is one.
    loaded: Option<LoadedParts>,
    /// Those beside the store, which come to staging when it is recovered.
    previous: Option<HashSet<Fingerprint>>,
    /// Those of other stores.
    elsewhere: Option<HashMap<Fingerprint, PathBuf>>,
}

impl PartPlaces {
    fn has_in_store(&mut self, digest: &Fingerprint, part: &PlannedPart) -> bool {
        self.in_store.contains(digest)
            && self
                .loaded
                .as_mut()
                .is_none_or(|table| table.take_loaded(part))
    }

    /// True where it lies beside the store.
    fn will_be_staged(
        &mut self,
        digest: &Fingerprint,
        store: &dyn StoreSession,
        receipt: Option<&Receipt>,
    ) -> Result<bool> {
        let previous = match self.previous.take() {
            Some(previous) => previous,
            None => store.previous_parts(receipt)?,
        };
        Ok(self.previous.insert(previous).contains(digest))
    }
}

fn published(receipt: Option<&Receipt>) -> Option<&PublishedSet> {
    receipt.and_then(|receipt| receipt.published.as_ref())
}

/// The parts that a receipt tells of, by their keys; of two of one key that which is published.
fn recorded_parts(receipt: Option<&Receipt>) -> HashMap<Fingerprint, PartRecord> {
    let previous = receipt
        .and_then(|receipt| receipt.previous.as_ref())
        .into_iter()
        .flat_map(|previous| &previous.manifest.parts);
    let latest = receipt
        .and_then(|receipt| receipt.latest.as_ref())
        .into_iter()
        .flat_map(|latest| &latest.manifest.parts);
    let published = published(receipt)
        .into_iter()
        .flat_map(|published| &published.manifest.parts);
    let record = |part: &Part| PartRecord {
        digest: part.digest,
        rows: part.rows,
        bytes: part.bytes,
        folder: part.folder().to_string(),
    };
    previous
        .chain(latest)
        .chain(published)
        .map(|part| (part.key, record(part)))
        .collect()
}

/// The digests of the parts that a flow's store has, and that can be published from there.
fn parts_in_store(
    flow: &Flow,
    state: &StoreState,
    store: &dyn StoreSession,
) -> Result<HashSet<Fingerprint>> {
    let receipt = state.receipt.as_deref();
    let lost: HashSet<&String> = state.missing.iter().chain(&state.altered).collect();
    let mut found: HashSet<Fingerprint> = published(receipt)
        .into_iter()
        .flat_map(|published| &published.manifest.parts)
        .filter(|part| !lost.contains(&part.name))
        .map(|part| part.digest)
        .collect();
    // The rows of a table are no parts again; where only new parts are loaded, the others need
    // not be at hand.
    if !flow.store.capabilities().parts_readable && (flow.mode == Mode::Replace || !state.exists) {
        found.clear();
    }
    if let Some(receipt) = receipt.filter(|receipt| receipt.latest.is_some()) {
        found.extend(store.latest_parts(receipt)?);
    }
    Ok(found)
}

/// Where the parts of all other stores of this project lie.
async fn other_store_parts(
    context: &PlanContext,
    index_cache: &mut IndexCache,
    flow: &Flow,
) -> Result<HashMap<Fingerprint, PathBuf>> {
    let project = context.project.config.name.as_str();
    index_cache
        .load_receipts(&context.cache.index, project)
        .await?;
    let own = context.project.store_id(flow);
    let others = index_cache
        .receipts
        .iter()
        .filter(|(store, indexed)| *store != own && indexed.receipt.project == project);
    let folders = others.filter_map(|(store, indexed)| Some((store.folder()?, indexed)));
    let parts = folders.flat_map(|(folder, indexed)| {
        let published = indexed.receipt.published.iter();
        published
            .flat_map(|published| &published.manifest.parts)
            .map(move |part| (part, folder.join(&part.name)))
    });
    let is_there = |(part, path): &(&Part, PathBuf)| matches!(fs::stat(path), Ok(Some(found)) if found.stat.size == part.bytes);
    Ok(parts
        .filter(is_there)
        .map(|(part, path)| (part.digest, path))
        .collect())
}

/// Which parts a table has, and so need not be at hand: as many of those that are equal as were
/// loaded.
struct LoadedParts {
    is_append: bool,
    loaded: HashMap<Fingerprint, usize>,
}

impl LoadedParts {
    fn new(flow: &Flow, published: Option<&PublishedSet>) -> Self {
        let mut loaded: HashMap<Fingerprint, usize> = HashMap::new();
        for part in published
            .iter()
            .flat_map(|published| &published.manifest.parts)
        {
            *loaded.entry(part.key).or_default() += 1;
        }
        Self {
            is_append: flow.mode.appends() && flow.home.as_rows().is_none(),
            loaded,
        }
    }

    fn take_loaded(&mut self, part: &PlannedPart) -> bool {
        if self.is_append {
            // Those that stay are not planned with, and have their names.
            return part.name.is_some();
        }
        match self.loaded.get_mut(&part.key) {
            Some(number) if *number > 0 => {
                *number -= 1;
                true
            }
            _ => false,
        }
    }
}
