//! What the cache lets go of: parts that nothing needs, by their age and by the size of all.
//!
//! Needed is what a flow stays at. What was made and not published yet is only let go by age.
//! Whoever calls has the cache alone, so that no build counts on anything that it has looked up.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::index::layout_key;
use super::{Cache, CacheError};
use crate::fingerprint::Fingerprint;
use crate::flow::factory::formats;
use crate::fs;
use crate::store::receipt::Manifest;

/// How much history there may be.
#[derive(Clone, Copy, Debug)]
pub struct GcLimits {
    /// Bytes of all parts together.
    pub size: u64,
    /// How long since a part came to staging.
    pub age: Duration,
}

/// What was let go, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcSummary {
    /// Parts.
    pub parts: usize,
    /// Bytes on the disk that are free now: blocks of files that had no other name.
    pub bytes: u64,
    /// Parts that stay.
    pub kept: usize,
    /// Bytes on the disk that they have.
    pub kept_bytes: u64,
}

/// A part in staging.
struct GcCandidate {
    digest: Fingerprint,
    path: PathBuf,
    /// Bytes on the disk that are free when it is gone.
    blocks: u64,
    /// When it came to staging, in nanoseconds since 1970.
    staged_at: i64,
}

/// What must not be let go.
#[derive(Default)]
struct NeededParts {
    /// In no case.
    always: HashSet<Fingerprint>,
    /// Not for its size.
    unpublished: HashSet<Fingerprint>,
}

impl Cache {
    /// Removes what is older than the limits allow, and then the oldest until the rest is small
    /// enough.
    ///
    /// # Errors
    /// A part cannot be removed, or the index not be read.
    pub async fn collect_garbage(
        &self,
        limits: GcLimits,
        is_dry: bool,
    ) -> Result<GcSummary, CacheError> {
        let mut parts = Vec::new();
        for (digest, path, found) in self.staging.parts()? {
            let blocks = fs::reclaimable_bytes(&path)?;
            parts.push(GcCandidate {
                digest,
                path,
                blocks,
                staged_at: found.stat.ctime_ns,
            });
        }
        parts.sort_by_key(|part| part.staged_at);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let oldest = i64::try_from(now.saturating_sub(limits.age).as_nanos()).unwrap_or(i64::MAX);
        let mut left: u64 = parts.iter().map(|part| part.blocks).sum();
        let is_over =
            left > limits.size || parts.first().is_some_and(|part| part.staged_at < oldest);
        let needed = if is_over {
            self.needed_parts().await?
        } else {
            NeededParts::default()
        };
        let mut freed = GcSummary::default();
        for part in parts {
            let is_old = part.staged_at < oldest;
            let is_too_much = left > limits.size && !needed.unpublished.contains(&part.digest);
            if needed.always.contains(&part.digest) || !(is_old || is_too_much) {
                freed.kept += 1;
                freed.kept_bytes += part.blocks;
                continue;
            }
            if !is_dry {
                fs::remove_file(&part.path)?;
            }
            left -= part.blocks;
            freed.parts += 1;
            freed.bytes += part.blocks;
        }
        Ok(freed)
    }

    async fn needed_parts(&self) -> Result<NeededParts, CacheError> {
        let receipts = self.index.receipts().await?;
        let published = receipts
            .values()
            .filter_map(|indexed| indexed.receipt.published.as_ref());
        let pinned = receipts
            .values()
            .map(|indexed| &indexed.receipt)
            .filter(|receipt| receipt.latest.is_some());
        let pinned = pinned.flat_map(|receipt| receipt.published.iter().chain(receipt.latest()));
        let mut needed = NeededParts {
            always: pinned
                .flat_map(|published| manifest_digests(&published.manifest))
                .collect(),
            ..NeededParts::default()
        };
        let made = self
            .ledger
            .read()?
            .into_iter()
            .chain(self.index.all_parts().await?);
        needed
            .unpublished
            .extend(made.map(|(_, record)| record.digest));
        let past = self.index.all_past_sets().await?;
        let past = past
            .iter()
            .flat_map(|published| manifest_digests(&published.manifest));
        let previous = receipts
            .values()
            .filter_map(|indexed| indexed.receipt.previous.as_ref());
        let published = published.flat_map(|published| manifest_digests(&published.manifest));
        for digest in past
            .chain(previous.flat_map(|previous| manifest_digests(&previous.manifest)))
            .chain(published)
        {
            needed.unpublished.remove(&digest);
        }
        Ok(needed)
    }

    /// Takes out of the index and the ledger what can be of no use any more: parts that are
    /// nowhere, memos of folders that are gone, and layouts of files that no memo and no store
    /// knows.
    ///
    /// # Errors
    /// The index or the ledger cannot be read or written.
    pub async fn forget_unusable(&self) -> Result<(), CacheError> {
        // Who has the cache alone has looked at its mark.
        self.staging.clear_unfinished(|| Ok(()))?;
        let staged: HashSet<Fingerprint> = self
            .staging
            .parts()?
            .into_iter()
            .map(|(digest, ..)| digest)
            .collect();
        let receipts = self.index.receipts().await?;
        let manifests = receipts.values().flat_map(|indexed| {
            let now = indexed
                .receipt
                .published
                .iter()
                .chain(&indexed.receipt.latest)
                .map(|published| &published.manifest);
            now.chain(
                indexed
                    .receipt
                    .previous
                    .iter()
                    .map(|previous| &previous.manifest),
            )
        });
        let published: HashSet<Fingerprint> = manifests.flat_map(manifest_digests).collect();
        let nowhere =
            |digest: &Fingerprint| !staged.contains(digest) && !published.contains(digest);
        let recorded = self.index.all_parts().await?;
        let parts: Vec<_> = recorded
            .iter()
            .filter(|(_, record)| nowhere(&record.digest))
            .map(|(key, _)| *key)
            .collect();
        let memos = self.index.memos().await?;
        let (gone, there): (Vec<_>, Vec<_>) = memos
            .iter()
            .partition(|(folder, _)| matches!(fs::stat(folder), Ok(None)));
        let seen = there
            .into_iter()
            .flat_map(|(_, memo)| memo.digests())
            .chain(published.iter().copied());
        let usable: HashSet<Fingerprint> = seen
            .flat_map(|digest| formats().map(move |format| layout_key(format.as_ref(), &digest)))
            .collect();
        let layouts: Vec<_> = self
            .index
            .all_layouts()
            .await?
            .into_iter()
            .filter(|key| !usable.contains(key))
            .collect();
        let gone: Vec<PathBuf> = gone.into_iter().map(|(folder, _)| folder.clone()).collect();
        self.index.forget(&parts, &layouts, &gone).await?;
        let noted: HashMap<_, _> = self
            .ledger
            .read()?
            .into_iter()
            .filter(|(_, record)| staged.contains(&record.digest))
            .collect();
        Ok(self.ledger.rewrite(&noted)?)
    }
}

fn manifest_digests(manifest: &Manifest) -> impl Iterator<Item = Fingerprint> {
    manifest.parts.iter().map(|part| part.digest)
}
