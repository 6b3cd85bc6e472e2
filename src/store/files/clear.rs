//! Clearing a store: what hygge made in it goes, and nothing else.

use super::old::{digest, parts as parts_before};
use super::{Site, live, read_receipt};
use crate::fs;
use crate::store::{Clearing, StoreError};

/// What clearing a store removes.
///
/// # Errors
/// Something in it was added or altered by someone else, or a publication was interrupted.
pub(super) fn look(site: &Site) -> Result<Clearing, StoreError> {
    let Some(receipt) = read_receipt(site)? else { return Ok(Clearing::default()) };
    if receipt.pending.is_some() {
        return Err(StoreError::Unsettled(site.live.clone()));
    }
    let parts = receipt.published.as_ref().map(|published| published.manifest.parts.as_slice()).unwrap_or_default();
    let found = live(&site.live)?;
    let is_part = |name: &String| parts.iter().any(|part| part.name == *name);
    let names: Vec<String> = found.files.keys().chain(&found.folders).filter(|name| !is_part(name)).take(3).cloned().collect();
    if !names.is_empty() {
        return Err(StoreError::Added { path: site.live.clone(), names });
    }
    let mut clearing = Clearing::default();
    for part in parts.iter().filter(|part| found.files.contains_key(&part.name)) {
        let path = site.live.join(&part.name);
        if digest(&path)? != part.digest {
            return Err(StoreError::Altered { path: site.live.clone(), name: part.name.clone() });
        }
        clearing.bytes += part.bytes;
        clearing.files.push(path);
    }
    clearing.files.extend(parts_before(site, &receipt)?.into_iter().map(|(path, _)| path));
    clearing.files.push(site.receipt.clone());
    Ok(clearing)
}

/// Removes what [`look`] says, the receipt last, and the folders that are empty then.
pub(super) fn clear(site: &Site) -> Result<(), StoreError> {
    for file in look(site)?.files {
        fs::remove_file(&file)?;
    }
    for folder in [&site.old, &site.live] {
        if fs::list(folder, |_| false)?.is_some_and(|found| found.is_empty()) {
            fs::remove_empty_folder(folder)?;
        }
    }
    Ok(())
}
