//! Clearing a store: what hygge made in it goes, and nothing else.

use std::collections::HashMap;

use super::folder::list_live;
use super::latest_set;
use super::parts::file_digest;
use super::paths::FilesStorePaths;
use super::previous_set::unaltered_parts as previous_parts;
use super::receipt_file::read_receipt;
use super::set_folder::remove_empty_partitions;
use crate::fs::{self, nofollow};
use crate::store::receipt::{Manifest, Part};
use crate::store::{RemovalPlan, StoreError};

/// What clearing a store removes.
///
/// # Errors
/// Something in it was added or altered by someone else, or a publication was interrupted.
pub(super) fn removal_plan(paths: &FilesStorePaths) -> Result<RemovalPlan, StoreError> {
    let Some(receipt) = read_receipt(paths)? else {
        return Ok(RemovalPlan::default());
    };
    if receipt.pending.is_some() {
        return Err(StoreError::Unrecovered(paths.live.clone()));
    }
    let none = Manifest::default();
    let published = receipt.published.as_ref();
    let manifest = published.map_or(&none, |published| &published.manifest);
    let found = list_live(&paths.live)?;
    let folders = manifest.folders();
    let parts: HashMap<&str, &Part> = manifest
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part))
        .collect();
    let others = found
        .files
        .keys()
        .chain(&found.folders)
        .filter(|name| !parts.contains_key(name.as_str()) && !folders.contains(name.as_str()));
    let names: Vec<String> = others.take(3).cloned().collect();
    if !names.is_empty() {
        return Err(StoreError::Added {
            path: paths.live.clone(),
            names,
        });
    }
    let mut clearing = RemovalPlan::default();
    for part in found
        .files
        .keys()
        .filter_map(|name| parts.get(name.as_str()))
    {
        let path = paths.live.join(&part.name);
        if file_digest(&path)? != part.digest {
            return Err(StoreError::Altered {
                path: paths.live.clone(),
                name: part.name.clone(),
            });
        }
        clearing.bytes += part.bytes;
        clearing.files.push(path);
    }
    let beside = previous_parts(paths, &receipt)?
        .into_iter()
        .chain(latest_set::waiting_parts(paths, &receipt)?);
    clearing.files.extend(beside.map(|(path, _)| path));
    clearing.files.push(paths.receipt.clone());
    Ok(clearing)
}

/// Removes what [`removal_plan`] says, the receipt last, and the folders that are empty then.
pub(super) fn clear(paths: &FilesStorePaths) -> Result<(), StoreError> {
    let receipt = read_receipt(paths)?;
    for file in removal_plan(paths)?.files {
        fs::remove_file(&file)?;
    }
    if let Some(receipt) = &receipt {
        let published = receipt.published.as_ref().map(|set| &set.manifest);
        let previous = receipt.previous.as_ref().map(|set| &set.manifest);
        for (folder, manifest) in [(&paths.live, published), (&paths.previous_set, previous)] {
            let folders = manifest
                .map(|manifest| manifest.folders())
                .unwrap_or_default();
            remove_empty_partitions(folder, folders.into_iter())?;
        }
    }
    let [beside, inside] = paths.latest_folders();
    for folder in [
        &paths.previous_set,
        &beside,
        &inside,
        &paths.inner_hygge_folder,
        &paths.live,
    ] {
        if nofollow::list(folder, |_| false)?.is_some_and(|found| found.is_empty()) {
            fs::remove_empty_folder(folder)?;
        }
    }
    Ok(())
}
