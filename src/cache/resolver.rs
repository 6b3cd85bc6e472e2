//! Which parts were made before, by their keys: what the index has, and what it may not have yet.

use std::collections::HashMap;

use super::index::PartRecord;
use super::{Cache, CacheError};
use crate::fingerprint::Fingerprint;

/// Finds parts that were made before.
#[derive(Debug, Default)]
pub struct PartResolver {
    /// Parts that the index may not have yet: those of this run, and what the ledger has, once it
    /// was asked for.
    unindexed: HashMap<Fingerprint, PartRecord>,
    is_ledger_loaded: bool,
}

impl PartResolver {
    /// A part was made in this run.
    pub fn insert(&mut self, key: Fingerprint, record: PartRecord) {
        self.unindexed.insert(key, record);
    }

    /// What was made by these keys. It is a claim: where the bytes are, and whether they are what
    /// they should be, is looked at before they are used. The ledger is read once, for the first
    /// key that the index does not have.
    ///
    /// # Errors
    /// The index or the ledger cannot be read.
    pub async fn resolve(
        &mut self,
        cache: &Cache,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, PartRecord>, CacheError> {
        let mut made = cache.index.parts(keys).await?;
        if !self.is_ledger_loaded && keys.iter().any(|key| !made.contains_key(key)) {
            self.is_ledger_loaded = true;
            self.unindexed.extend(cache.ledger.read()?);
        }
        made.extend(
            keys.iter()
                .filter_map(|key| Some((*key, self.unindexed.get(key)?.clone()))),
        );
        Ok(made)
    }
}
