//! What planning remembers from earlier builds, and what of it must be written back.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use crate::cache::index::{Batch, IndexedReceipt};
use crate::fingerprint::stat::{FolderMemo, Remembered};

/// Memos and receipts, as the index had them and as this run changed them.
#[derive(Debug, Default)]
pub struct Memory {
    /// Digests by folder.
    pub memos: HashMap<PathBuf, FolderMemo>,
    /// Receipts by the real path of the store.
    pub receipts: HashMap<PathBuf, IndexedReceipt>,
    /// Bytes that were hashed because no memo vouched for them.
    pub hashed: AtomicU64,
    changed_memos: HashSet<PathBuf>,
    changed_receipts: HashSet<PathBuf>,
}

impl Memory {
    /// What the index knows.
    pub fn new(memos: HashMap<PathBuf, FolderMemo>, receipts: HashMap<PathBuf, IndexedReceipt>) -> Self {
        Self { memos, receipts, ..Self::default() }
    }

    /// Remembers the digest of a file.
    pub fn remember(&mut self, folder: &Path, name: String, remembered: Remembered) {
        if !self.changed_memos.contains(folder) {
            self.changed_memos.insert(folder.to_path_buf());
        }
        self.memos.entry(folder.to_path_buf()).or_default().remember(name, remembered);
    }

    /// Remembers a receipt, or that there is none.
    pub fn set_receipt(&mut self, store: &Path, receipt: Option<IndexedReceipt>) {
        self.changed_receipts.insert(store.to_path_buf());
        match receipt {
            Some(receipt) => drop(self.receipts.insert(store.to_path_buf(), receipt)),
            None => drop(self.receipts.remove(store)),
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
        Batch { memos: memos.collect(), receipts: receipts.collect(), ..Batch::default() }
    }
}
