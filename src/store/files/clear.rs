//! Clearing a store: what hygge made in it goes, and nothing else.

use std::collections::HashMap;

use super::latest;
use super::old::parts as parts_before;
use super::parts::digest;
use super::{Site, live, read_receipt};
use crate::fs::{self, own};
use crate::store::receipt::Part;
use crate::store::{Clearing, StoreError};

/// What clearing a store removes.
///
/// # Errors
/// Something in it was added or altered by someone else, or a publication was interrupted.
pub(super) fn look(site: &Site) -> Result<Clearing, StoreError> {
    let Some(receipt) = read_receipt(site)? else {
        return Ok(Clearing::default());
    };
    if receipt.pending.is_some() {
        return Err(StoreError::Unsettled(site.live.clone()));
    }
    let parts = receipt
        .published
        .as_ref()
        .map(|published| published.manifest.parts.as_slice())
        .unwrap_or_default();
    let found = live(&site.live)?;
    let parts: HashMap<&str, &Part> = parts
        .iter()
        .map(|part| (part.name.as_str(), part))
        .collect();
    let others = found
        .files
        .keys()
        .chain(&found.folders)
        .filter(|name| !parts.contains_key(name.as_str()));
    let names: Vec<String> = others.take(3).cloned().collect();
    if !names.is_empty() {
        return Err(StoreError::Added {
            path: site.live.clone(),
            names,
        });
    }
    let mut clearing = Clearing::default();
    for part in found
        .files
        .keys()
        .filter_map(|name| parts.get(name.as_str()))
    {
        let path = site.live.join(&part.name);
        if digest(&path)? != part.digest {
            return Err(StoreError::Altered {
                path: site.live.clone(),
                name: part.name.clone(),
            });
        }
        clearing.bytes += part.bytes;
        clearing.files.push(path);
    }
    let beside = parts_before(site, &receipt)?
        .into_iter()
        .chain(latest::parts(site, &receipt)?);
    clearing.files.extend(beside.map(|(path, _)| path));
    clearing.files.push(site.receipt.clone());
    Ok(clearing)
}

/// Removes what [`look`] says, the receipt last, and the folders that are empty then.
pub(super) fn clear(site: &Site) -> Result<(), StoreError> {
    for file in look(site)?.files {
        fs::remove_file(&file)?;
    }
    let [beside, inside] = site.latests();
    for folder in [&site.old, &beside, &inside, &site.inside, &site.live] {
        if own::list(folder, |_| false)?.is_some_and(|found| found.is_empty()) {
            fs::remove_empty_folder(folder)?;
        }
    }
    Ok(())
}
