//! What planning remembers from earlier builds, and what of it must be written back.
//!
//! Of every store it knows whose it is and what vouches for it. Memos and receipts are loaded only
//! for flows that nothing vouches for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Hashing;
use crate::cache::CacheError;
use crate::cache::index::{Batch, Index, IndexedReceipt, KnownStore};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::{FolderMemo, Remembered};

/// More records than this are loaded all at once.
const ONE_BY_ONE: usize = 100;

/// Memos and receipts, as the index had them and as this run changed them.
#[derive(Debug, Default)]
pub struct Memory {
    /// Digests by folder, as far as they were loaded.
    pub memos: HashMap<PathBuf, FolderMemo>,
    /// Receipts by the real path of the store, as far as they were loaded.
    pub receipts: HashMap<PathBuf, IndexedReceipt>,
    /// Every store that is known.
    pub stores: HashMap<PathBuf, KnownStore>,
    /// Bytes that were hashed because no memo vouched for them.
    pub hashing: Arc<Hashing>,
    has_all: bool,
    changed_memos: HashSet<PathBuf>,
    changed_receipts: HashSet<PathBuf>,
    changed_witnesses: HashSet<PathBuf>,
    changed_losses: HashSet<PathBuf>,
}

impl Memory {
    /// Nothing but the stores that the index knows.
    pub fn new(stores: HashMap<PathBuf, KnownStore>, hashing: Arc<Hashing>) -> Self {
        Self {
            stores,
            hashing,
            ..Self::default()
        }
    }

    /// Loads the memos of folders and the receipts of stores that are not loaded yet.
    pub async fn load(
        &mut self,
        index: &Index,
        folders: &[&Path],
        stores: &[&Path],
    ) -> Result<(), CacheError> {
        if folders.len() + stores.len() > ONE_BY_ONE && !self.has_all {
            self.has_all = true;
            add_unknown(&mut self.memos, index.memos().await?);
            add_unknown(&mut self.receipts, index.receipts().await?);
        }
        for folder in folders {
            if !self.has_all && !self.memos.contains_key(*folder) {
                let memo = index.memo(folder).await?.unwrap_or_default();
                self.memos.insert(folder.to_path_buf(), memo);
            }
        }
        for store in stores {
            if !self.has_all
                && self.stores.contains_key(*store)
                && !self.receipts.contains_key(*store)
            {
                let receipt = index.receipt(store).await?;
                self.receipts
                    .extend(receipt.map(|receipt| (store.to_path_buf(), receipt)));
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
        self.load(
            index,
            &[],
            &stores.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
        )
        .await
    }

    /// Remembers the digest of a file.
    pub fn remember(&mut self, folder: &Path, name: String, remembered: Remembered) {
        if !self.changed_memos.contains(folder) {
            self.changed_memos.insert(folder.to_path_buf());
        }
        self.memos
            .entry(folder.to_path_buf())
            .or_default()
            .remember(name, remembered);
    }

    /// Remembers a receipt.
    pub fn set_receipt(&mut self, store: &Path, receipt: IndexedReceipt) {
        let (project, flow) = (
            receipt.receipt.project.clone(),
            receipt.receipt.flow.clone(),
        );
        self.stores.insert(
            store.to_path_buf(),
            KnownStore {
                project,
                flow,
                witness: None,
                is_given_up: false,
            },
        );
        self.receipts.insert(store.to_path_buf(), receipt);
        self.changed_witnesses.remove(store);
        self.changed_receipts.insert(store.to_path_buf());
    }

    /// Forgets the receipt of a store that has none any more.
    pub fn forget_receipt(&mut self, store: &Path) {
        if self.stores.remove(store).is_some() {
            self.receipts.remove(store);
            self.changed_receipts.insert(store.to_path_buf());
        }
    }

    /// True where a store's flow was found fresh when it had this witness.
    pub fn vouches(&self, store: &Path, witness: &Fingerprint) -> bool {
        self.stores
            .get(store)
            .is_some_and(|known| known.witness.as_ref() == Some(witness))
    }

    /// Remembers what vouches for a flow that is fresh.
    pub fn set_witness(&mut self, store: &Path, witness: Fingerprint) {
        let Some(known) = self.stores.get_mut(store) else {
            return;
        };
        if known.witness.replace(witness) != Some(witness) {
            self.changed_witnesses.insert(store.to_path_buf());
        }
    }

    /// Remembers that nobody misses the entity of a store any more, or that it is back.
    pub fn give_up(&mut self, store: &Path, is_given_up: bool) {
        if let Some(known) = self.stores.get_mut(store) {
            known.is_given_up = is_given_up;
            self.changed_losses.insert(store.to_path_buf());
        }
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Batch {
        let memos = self.changed_memos.drain().filter_map(|folder| {
            let memo = self.memos.get(&folder)?.clone();
            Some((folder, memo))
        });
        let receipts = self.changed_receipts.drain().map(|store| {
            let receipt = self.receipts.get(&store).cloned();
            (store, receipt)
        });
        let witnesses = self.changed_witnesses.drain().filter_map(|store| {
            let witness = self.stores.get(&store)?.witness?;
            Some((store, witness))
        });
        let losses = self.changed_losses.drain().filter_map(|store| {
            let is_given_up = self.stores.get(&store)?.is_given_up;
            Some((store, is_given_up))
        });
        let given_up = losses.collect();
        Batch {
            memos: memos.collect(),
            receipts: receipts.collect(),
            witnesses: witnesses.collect(),
            given_up,
            ..Batch::default()
        }
    }
}

/// What this run knows already is newer than what the index has.
fn add_unknown<T>(known: &mut HashMap<PathBuf, T>, loaded: HashMap<PathBuf, T>) {
    for (path, record) in loaded {
        known.entry(path).or_insert(record);
    }
}
