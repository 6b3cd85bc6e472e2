//! What planning remembers from earlier builds, and what of it must be written back.
//!
//! Of every store it knows whose it is and the stats by which it was found fresh. Memos and
//! receipts are loaded only for flows that look otherwise.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::HashProgress;
use crate::cache::CacheError;
use crate::cache::index::{Index, IndexChanges, IndexedReceipt, KnownStore};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::{FolderMemo, MemoEntry};
use crate::store::StoreId;

/// More records than this are loaded all at once.
const MAX_SINGLE_LOADS: usize = 100;

/// Memos and receipts, as the index had them and as this run changed them.
#[derive(Debug, Default)]
pub struct IndexCache {
    /// Digests by folder, as far as they were loaded.
    pub memos: HashMap<PathBuf, FolderMemo>,
    /// Receipts by store, as far as they were loaded.
    pub receipts: HashMap<StoreId, IndexedReceipt>,
    /// Every store that is known.
    pub stores: HashMap<StoreId, KnownStore>,
    /// Bytes that were hashed because no memo had their digest.
    pub hash_progress: Arc<HashProgress>,
    is_fully_loaded: bool,
    changed_memos: HashSet<PathBuf>,
    changed_receipts: HashSet<StoreId>,
    changed_stat_digests: HashSet<StoreId>,
    changed_accepted_losses: HashSet<StoreId>,
}

impl IndexCache {
    /// Nothing but the stores that the index knows.
    pub fn new(stores: HashMap<StoreId, KnownStore>, hashing: Arc<HashProgress>) -> Self {
        Self {
            stores,
            hash_progress: hashing,
            ..Self::default()
        }
    }

    /// Loads the memos of folders and the receipts of stores that are not loaded yet.
    pub async fn load(
        &mut self,
        index: &Index,
        folders: &[&Path],
        stores: &[&StoreId],
    ) -> Result<(), CacheError> {
        if folders.len() + stores.len() > MAX_SINGLE_LOADS && !self.is_fully_loaded {
            self.is_fully_loaded = true;
            insert_missing(&mut self.memos, index.memos().await?);
            insert_missing(&mut self.receipts, index.receipts().await?);
        }
        for folder in folders {
            if !self.is_fully_loaded && !self.memos.contains_key(*folder) {
                let memo = index.memo(folder).await?.unwrap_or_default();
                self.memos.insert(folder.to_path_buf(), memo);
            }
        }
        for store in stores {
            if !self.is_fully_loaded
                && self.stores.contains_key(*store)
                && !self.receipts.contains_key(*store)
            {
                let receipt = index.receipt(store).await?;
                self.receipts
                    .extend(receipt.map(|receipt| (StoreId::clone(store), receipt)));
            }
        }
        Ok(())
    }

    /// Loads the receipts of all stores of a project.
    pub async fn load_receipts(&mut self, index: &Index, project: &str) -> Result<(), CacheError> {
        let stores: Vec<_> = self
            .stores
            .iter()
            .filter(|(_, known)| known.project == project)
            .map(|(store, _)| store.clone())
            .collect();
        self.load(index, &[], &stores.iter().collect::<Vec<_>>())
            .await
    }

    /// Remembers the digest of a file.
    pub fn set_memo(&mut self, folder: &Path, name: String, remembered: MemoEntry) {
        if !self.changed_memos.contains(folder) {
            self.changed_memos.insert(folder.to_path_buf());
        }
        self.memos
            .entry(folder.to_path_buf())
            .or_default()
            .insert(name, remembered);
    }

    /// Remembers a receipt.
    pub fn set_receipt(&mut self, store: &StoreId, receipt: IndexedReceipt) {
        let (project, flow) = (
            receipt.receipt.project.clone(),
            receipt.receipt.flow.clone(),
        );
        self.stores.insert(
            StoreId::clone(store),
            KnownStore {
                project,
                flow,
                stat_digest: None,
                is_loss_accepted: false,
            },
        );
        self.receipts.insert(StoreId::clone(store), receipt);
        self.changed_stat_digests.remove(store);
        self.changed_receipts.insert(StoreId::clone(store));
    }

    /// Forgets the receipt of a store that has none any more.
    pub fn forget_receipt(&mut self, store: &StoreId) {
        if self.stores.remove(store).is_some() {
            self.receipts.remove(store);
            self.changed_receipts.insert(StoreId::clone(store));
        }
    }

    /// True where a store's flow was found fresh by these stats.
    pub fn has_stat_digest(&self, store: &StoreId, stat_digest: &Fingerprint) -> bool {
        self.stores
            .get(store)
            .is_some_and(|known| known.stat_digest.as_ref() == Some(stat_digest))
    }

    /// Remembers the stats of a flow that is fresh.
    pub fn set_stat_digest(&mut self, store: &StoreId, stat_digest: Fingerprint) {
        let Some(known) = self.stores.get_mut(store) else {
            return;
        };
        if known.stat_digest.replace(stat_digest) != Some(stat_digest) {
            self.changed_stat_digests.insert(StoreId::clone(store));
        }
    }

    /// Remembers that nobody misses the entity of a store any more, or that it is back.
    pub fn set_accepted_loss(&mut self, store: &StoreId, is_given_up: bool) {
        if let Some(known) = self.stores.get_mut(store) {
            known.is_loss_accepted = is_given_up;
            self.changed_accepted_losses.insert(StoreId::clone(store));
        }
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> IndexChanges {
        let memos = self.changed_memos.drain().filter_map(|folder| {
            let memo = self.memos.get(&folder)?.clone();
            Some((folder, memo))
        });
        let receipts = self.changed_receipts.drain().map(|store| {
            let receipt = self.receipts.get(&store).cloned();
            (store, receipt)
        });
        let stat_digests = self.changed_stat_digests.drain().filter_map(|store| {
            let stat_digest = self.stores.get(&store)?.stat_digest?;
            Some((store, stat_digest))
        });
        let losses = self.changed_accepted_losses.drain().filter_map(|store| {
            let is_given_up = self.stores.get(&store)?.is_loss_accepted;
            Some((store, is_given_up))
        });
        let given_up = losses.collect();
        IndexChanges {
            memos: memos.collect(),
            receipts: receipts.collect(),
            stat_digests: stat_digests.collect(),
            accepted_losses: given_up,
            ..IndexChanges::default()
        }
    }
}

/// What this run knows already is newer than what the index has.
fn insert_missing<K: Eq + Hash, T>(known: &mut HashMap<K, T>, loaded: HashMap<K, T>) {
    for (key, record) in loaded {
        known.entry(key).or_insert(record);
    }
}
