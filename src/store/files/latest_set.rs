//! The latest set while an earlier one is published that was put back: builds go on from it, and
//! with `mode: append` nothing can make it again. What only it has waits beside the store, named
//! after its digest.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::parts::{is_unaltered_part, return_to_staging};
use super::paths::FilesStorePaths;
use crate::fingerprint::Fingerprint;
use crate::fs::{self, nofollow};
use crate::store::StoreError;
use crate::store::context::PublishContext;
use crate::store::receipt::{Part, PublishedSet, Receipt};

/// What a set has.
pub(super) fn part_digests(set: Option<&PublishedSet>) -> HashSet<Fingerprint> {
    set.into_iter()
        .flat_map(|set| &set.manifest.parts)
        .map(|part| part.digest)
        .collect()
}

/// Keeps a part that is no longer live.
pub(super) fn keep_part(
    paths: &FilesStorePaths,
    part: &Path,
    digest: &Fingerprint,
) -> Result<(), StoreError> {
    let folder = paths.latest_set();
    nofollow::create_folder(&folder)?;
    let place = folder.join(digest.to_string());
    // Of two equal parts one is enough.
    if nofollow::stat(&place)?.is_some() {
        Ok(fs::remove_file(part)?)
    } else {
        Ok(fs::rename(part, &place)?)
    }
}

/// The parts that wait, and that nobody wrote to.
pub(super) fn waiting_parts(
    paths: &FilesStorePaths,
    receipt: &Receipt,
) -> Result<Vec<(PathBuf, Fingerprint)>, StoreError> {
    let Some(latest) = &receipt.latest else {
        return Ok(Vec::new());
    };
    let by_digest: HashMap<String, &Part> = latest
        .manifest
        .parts
        .iter()
        .map(|part| (part.digest.to_string(), part))
        .collect();
    let mut parts = Vec::new();
    for folder in paths.latest_folders() {
        for entry in nofollow::list(&folder, |_| false)?.unwrap_or_default() {
            let Some(part) = entry.relative.to_str().and_then(|name| by_digest.get(name)) else {
                continue;
            };
            let path = folder.join(&entry.relative);
            if is_unaltered_part(&path, &entry, part, &latest.at)? {
                parts.push((path, part.digest));
            }
        }
    }
    Ok(parts)
}

/// Builds go on from what is published again: what the latest set has no more goes to staging.
pub(super) fn release(
    paths: &FilesStorePaths,
    receipt: Option<&Receipt>,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let is_over = receipt.is_none_or(|receipt| receipt.latest.is_none());
    for folder in paths.latest_folders().iter().filter(|_| is_over) {
        if nofollow::stat(folder)?.is_some() {
            return_to_staging(paths, folder, context)?;
        }
    }
    Ok(())
}
