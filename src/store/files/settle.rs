//! Recovery: a publication that died is finished where the new set is in place, else undone.

use std::path::Path;

use super::old::{by_name, rescue, retire, return_known};
use super::parts::{digest, return_parts};
use super::{Site, in_place, read_receipt, write_receipt};
use crate::fs::{self, Found, own};
use crate::store::StoreError;
use crate::store::receipt::{Manifest, Previous, Published, Receipt};
use crate::store::room::{Recovery, Room};

/// Brings a store to one of its two sets, by what is really there.
pub(super) fn settle(site: &Site, room: &Room<'_>) -> Result<Option<Receipt>, StoreError> {
    let Some(mut receipt) = read_receipt(site)? else {
        // Nothing was ever intended here: what lies in NAME.next was being laid out.
        undo(site, room)?;
        return Ok(None);
    };
    if receipt.pending_in_place {
        in_place::finish(site, &mut receipt, None, room)?;
        room.note_recovery(Recovery::Finished);
        write_receipt(site, &receipt)?;
        room.sync(&[&site.hidden])?;
        return Ok(Some(receipt));
    }
    let Some(pending) = receipt.pending.take() else {
        undo(site, room)?;
        retire(site, Some(&receipt), room)?;
        return Ok(Some(receipt));
    };
    if is_exchanged(site, &receipt, &pending)? {
        finish(site, &mut receipt, pending, room)?;
        room.note_recovery(Recovery::Finished);
    } else {
        room.note_recovery(Recovery::Undone);
        if fs::stat(&site.live)?.is_none() && is_folder(&site.old)? {
            fs::rename(&site.old, &site.live)?;
        }
        // A power cut may lose the exchange, and keep the rename behind it with some of what was
        // laid out.
        return_known(site, &site.old, &pending.manifest, room)?;
        undo(site, room)?;
        retire(site, Some(&receipt), room)?;
    }
    receipt.pending_inode = None;
    if receipt.published.is_none() {
        // The first publication never happened: the store is not hygge's.
        fs::remove_file(&site.receipt)?;
        return Ok(None);
    }
    write_receipt(site, &receipt)?;
    room.sync(&[&site.hidden])?;
    Ok(Some(receipt))
}

/// What was being laid out goes back to staging.
fn undo(site: &Site, room: &Room<'_>) -> Result<(), StoreError> {
    for next in [&site.next, &site.next_inside()] {
        if is_folder(next)? {
            room.note_recovery(Recovery::Undone);
            return_parts(site, next, room)?;
        }
    }
    Ok(())
}

/// Does what was left of a publication whose new set is in its place, or about to be.
fn finish(
    site: &Site,
    receipt: &mut Receipt,
    pending: Published,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    if fs::stat(&site.live)?.is_none() {
        // Between the two renames of a filesystem without exchange.
        is_folder(&site.next)?;
        fs::rename(&site.next, &site.live)?;
    }
    if is_folder(&site.next)? {
        // Exchanged, and the folder before was not yet renamed.
        retire(site, Some(receipt), room)?;
        fs::rename(&site.next, &site.old)?;
    }
    let published = receipt.succeed(pending);
    let none = Manifest::default();
    rescue(
        site,
        &site.old,
        published
            .as_ref()
            .map_or(&none, |published| &published.manifest),
        room,
    )?;
    receipt.previous = published.map(Previous::from);
    Ok(())
}

/// False where nothing is there.
///
/// # Errors
/// It is no folder, or a link to one: hygge put none there, and it must not become the store.
fn is_folder(path: &Path) -> Result<bool, StoreError> {
    match own::stat(path)? {
        None => Ok(false),
        Some(found) if found.is_folder => Ok(true),
        // What it is instead is an error of its own.
        Some(_) => own::open(path)
            .map_err(StoreError::from)
            .and_then(|_| Err(StoreError::NotAFolder(path.to_path_buf()))),
    }
}

/// True where the folder that was laid out is the live one, or where nothing is live any more
/// because it was about to become it.
fn is_exchanged(site: &Site, receipt: &Receipt, pending: &Published) -> Result<bool, StoreError> {
    let inode = |path: &Path| -> Result<Option<u64>, StoreError> {
        Ok(own::stat(path)?.map(|found| found.stat.inode))
    };
    let (live, next) = (inode(&site.live)?, inode(&site.next)?);
    if live.is_none() {
        return Ok(next.is_some()
            && is_folder(&site.old)?
            && shows(&site.next, &pending.manifest)?);
    }
    match receipt.pending_inode {
        Some(laid_out) if live == Some(laid_out) => Ok(true),
        Some(laid_out) if next == Some(laid_out) => Ok(false),
        // The folders were copied since: only what is in them can tell.
        _ => {
            let is_old = match &receipt.published {
                Some(published) => shows(&site.live, &published.manifest)?,
                None => false,
            };
            Ok(!is_old && shows(&site.live, &pending.manifest)?)
        }
    }
}

/// True where a folder has every part of a manifest, byte for byte, and shows nothing else.
fn shows(folder: &Path, manifest: &Manifest) -> Result<bool, StoreError> {
    let found = own::list(folder, fs::is_hidden)?.unwrap_or_default();
    let parts = by_name(manifest);
    let part_of = |entry: &Found| {
        entry
            .relative
            .to_str()
            .and_then(|name| parts.get(name))
            .copied()
    };
    let looks_like = |entry: &Found| {
        part_of(entry).is_some_and(|part| entry.is_file && entry.stat.size == part.bytes)
    };
    if found.len() != manifest.parts.len() || !found.iter().all(looks_like) {
        return Ok(false);
    }
    for part in &manifest.parts {
        if digest(&folder.join(&part.name))? != part.digest {
            return Ok(false);
        }
    }
    Ok(true)
}
