//! Recovery: a publication that died is finished where the new set is in place, else undone.

use std::path::Path;

use super::in_place;
use super::parts::{file_digest, return_to_staging};
use super::paths::FilesStorePaths;
use super::previous_set::{
    parts_by_name, relocate_foreign_files, retire_previous, return_manifest_parts,
};
use super::receipt_file::{read_receipt, write_receipt};
use super::set_folder::{is_partition, list_own};
use crate::fs::{self, DirEntry, nofollow};
use crate::store::StoreError;
use crate::store::context::{PublishContext, Recovery};
use crate::store::receipt::{Manifest, PreviousSet, PublishedSet, Receipt};

/// Brings a store to one of its two sets, by what is really there.
pub(super) fn recover(
    paths: &FilesStorePaths,
    context: &PublishContext<'_>,
) -> Result<Option<Receipt>, StoreError> {
    let Some(mut receipt) = read_receipt(paths)? else {
        // Nothing was ever intended here: what lies in NAME.next was being laid out.
        undo(paths, context)?;
        return Ok(None);
    };
    if receipt.pending_in_place {
        in_place::finish(paths, &mut receipt, None, context)?;
        context.note_recovery(Recovery::Finished);
        write_receipt(paths, &receipt)?;
        context.sync(&[&paths.hygge_folder])?;
        return Ok(Some(receipt));
    }
    let Some(pending) = receipt.pending.take() else {
        undo(paths, context)?;
        retire_previous(paths, Some(&receipt), context)?;
        return Ok(Some(receipt));
    };
    if is_exchanged(paths, &receipt, &pending)? {
        finish(paths, &mut receipt, pending, context)?;
        context.note_recovery(Recovery::Finished);
    } else {
        context.note_recovery(Recovery::Undone);
        if fs::stat(&paths.live)?.is_none() && is_folder(&paths.previous_set)? {
            fs::rename(&paths.previous_set, &paths.live)?;
        }
        // A power cut may lose the exchange, and keep the rename behind it with some of what was
        // laid out.
        return_manifest_parts(paths, &paths.previous_set, &pending.manifest, context)?;
        undo(paths, context)?;
        retire_previous(paths, Some(&receipt), context)?;
    }
    receipt.pending_inode = None;
    if receipt.published.is_none() {
        // The first publication never happened: the store is not hygge's.
        fs::remove_file(&paths.receipt)?;
        return Ok(None);
    }
    write_receipt(paths, &receipt)?;
    context.sync(&[&paths.hygge_folder])?;
    Ok(Some(receipt))
}

/// What was being laid out goes back to staging.
fn undo(paths: &FilesStorePaths, context: &PublishContext<'_>) -> Result<(), StoreError> {
    for next in [&paths.next, &paths.inner_next()] {
        if is_folder(next)? {
            context.note_recovery(Recovery::Undone);
            return_to_staging(paths, next, context)?;
        }
    }
    Ok(())
}

/// Does what was left of a publication whose new set is in its place, or about to be.
fn finish(
    paths: &FilesStorePaths,
    receipt: &mut Receipt,
    pending: PublishedSet,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    if fs::stat(&paths.live)?.is_none() {
        // Between the two renames of a filesystem without exchange.
        is_folder(&paths.next)?;
        fs::rename(&paths.next, &paths.live)?;
    }
    if is_folder(&paths.next)? {
        // Exchanged, and the folder before was not yet renamed.
        retire_previous(paths, Some(receipt), context)?;
        fs::rename(&paths.next, &paths.previous_set)?;
    }
    let published = receipt.promote(pending);
    let none = Manifest::default();
    relocate_foreign_files(
        paths,
        &paths.previous_set,
        published
            .as_ref()
            .map_or(&none, |published| &published.manifest),
        context,
    )?;
    receipt.previous = published.map(PreviousSet::from);
    Ok(())
}

/// False where nothing is there.
///
/// # Errors
/// It is no folder, or a link to one: hygge put none there, and it must not become the store.
fn is_folder(path: &Path) -> Result<bool, StoreError> {
    match nofollow::stat(path)? {
        None => Ok(false),
        Some(found) if found.is_folder => Ok(true),
        // What it is instead is an error of its own.
        Some(_) => nofollow::open(path)
            .map_err(StoreError::from)
            .and_then(|_| Err(StoreError::NotAFolder(path.to_path_buf()))),
    }
}

/// True where the folder that was laid out is the live one, or where nothing is live any more
/// because it was about to become it.
fn is_exchanged(
    paths: &FilesStorePaths,
    receipt: &Receipt,
    pending: &PublishedSet,
) -> Result<bool, StoreError> {
    let inode = |path: &Path| -> Result<Option<u64>, StoreError> {
        Ok(nofollow::stat(path)?.map(|found| found.stat.inode))
    };
    let (live, next) = (inode(&paths.live)?, inode(&paths.next)?);
    if live.is_none() {
        return Ok(next.is_some()
            && is_folder(&paths.previous_set)?
            && matches_manifest(&paths.next, &pending.manifest)?);
    }
    let is_live = |set: Option<&PublishedSet>| {
        set.map_or(Ok(false), |set| {
            matches_manifest(&paths.live, &set.manifest)
        })
    };
    let published = receipt.published.as_ref();
    // Where the folders were copied since, another one may have the number by chance: it counts
    // only where what is in the folder does not say otherwise.
    if live == receipt.pending_inode {
        Ok(!is_live(published)? || is_live(Some(pending))?)
    } else {
        Ok(is_live(Some(pending))? && !is_live(published)?)
    }
}

/// True where a folder has every part of a manifest, byte for byte, and shows nothing else.
fn matches_manifest(folder: &Path, manifest: &Manifest) -> Result<bool, StoreError> {
    let mut found = list_own(folder, fs::is_hidden)?.unwrap_or_default();
    found.retain(|entry| !is_partition(entry));
    let parts = parts_by_name(manifest);
    let part_of = |entry: &DirEntry| {
        entry
            .relative
            .to_str()
            .and_then(|name| parts.get(name))
            .copied()
    };
    let looks_like = |entry: &DirEntry| {
        part_of(entry).is_some_and(|part| entry.is_file && entry.stat.size == part.bytes)
    };
    if found.len() != manifest.parts.len() || !found.iter().all(looks_like) {
        return Ok(false);
    }
    for part in &manifest.parts {
        if file_digest(&folder.join(&part.name))? != part.digest {
            return Ok(false);
        }
    }
    Ok(true)
}
