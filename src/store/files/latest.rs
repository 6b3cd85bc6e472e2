//! The latest set while an earlier one is published that was put back: builds go on from it, and with
//! `mode: append` nothing can make it again. What only it has waits beside the store, named after its digest.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Site;
use super::old::{changed_since, return_parts};
use crate::fingerprint::Fingerprint;
use crate::fs;
use crate::store::StoreError;
use crate::store::receipt::{Published, Receipt};
use crate::store::room::Room;

/// What the latest set has.
pub(super) fn digests(latest: Option<&Published>) -> HashSet<Fingerprint> {
    latest.into_iter().flat_map(|latest| &latest.manifest.parts).map(|part| part.digest).collect()
}

/// Keeps a part that is no longer live.
pub(super) fn keep(site: &Site, part: &Path, digest: &Fingerprint) -> Result<(), StoreError> {
    let folder = site.latest();
    fs::create_folder(&folder)?;
    let place = folder.join(digest.to_string());
    // Of two equal parts one is enough.
    if fs::stat(&place)?.is_some() { Ok(fs::remove_file(part)?) } else { Ok(fs::rename(part, &place)?) }
}

/// The parts that wait, and that nobody wrote to.
pub(super) fn parts(site: &Site, receipt: &Receipt) -> Result<Vec<(PathBuf, Fingerprint)>, StoreError> {
    let Some(latest) = &receipt.latest else { return Ok(Vec::new()) };
    let sizes: HashMap<String, (Fingerprint, u64)> =
        latest.manifest.parts.iter().map(|part| (part.digest.to_string(), (part.digest, part.bytes))).collect();
    let mut parts = Vec::new();
    for entry in fs::list(&site.latest(), |_| false)?.unwrap_or_default() {
        let part = entry.relative.to_str().and_then(|name| sizes.get(name));
        let part = part.filter(|(_, size)| *size == entry.stat.size && !changed_since(&entry, &latest.at));
        parts.extend(part.map(|(digest, _)| (site.latest().join(&entry.relative), *digest)));
    }
    Ok(parts)
}

/// Builds go on from what is published again: what the latest set has no more goes to staging.
pub(super) fn end(site: &Site, receipt: Option<&Receipt>, room: &Room<'_>) -> Result<(), StoreError> {
    let is_over = receipt.is_none_or(|receipt| receipt.latest.is_none());
    if is_over && fs::stat(&site.latest())?.is_some() { return_parts(site, &site.latest(), room) } else { Ok(()) }
}
