//! Recovery: a publication that died is finished where the new set is in place, else undone.

use std::path::Path;

use super::publish::shelve;
use super::{Site, is_hidden, read_receipt, write_receipt};
use crate::fingerprint::Fingerprint;
use crate::fs;
use crate::store::receipt::{Manifest, Receipt};
use crate::store::{Room, StoreError};

/// Brings a store to one of its two sets, by what is really there.
pub(super) fn settle(site: &Site, room: &Room<'_>) -> Result<Option<Receipt>, StoreError> {
    let Some(mut receipt) = read_receipt(site)? else {
        // Nothing was ever intended here: what lies in NAME.next was being laid out.
        return_parts(site, room)?;
        return Ok(None);
    };
    let Some(pending) = receipt.pending.take() else {
        return_parts(site, room)?;
        return Ok(Some(receipt));
    };
    if fs::stat(&site.live)?.is_none() && holds(&site.next, &pending.manifest)? {
        // Between the two renames of a filesystem without exchange.
        fs::rename(&site.next, &site.live)?;
    }
    if holds(&site.live, &pending.manifest)? {
        if fs::stat(&site.next)?.is_some() {
            // Exchanged, and the old folder was not yet renamed.
            fs::remove_folder(&site.old)?;
            fs::rename(&site.next, &site.old)?;
        }
        receipt.previous = receipt.published.replace(pending).map(|published| published.manifest);
    } else {
        if fs::stat(&site.live)?.is_none() && fs::stat(&site.old)?.is_some() {
            fs::rename(&site.old, &site.live)?;
        }
        return_parts(site, room)?;
    }
    if receipt.published.is_none() {
        // The first publication never happened: the store is not hygge's.
        fs::remove_file(&site.receipt)?;
        return Ok(None);
    }
    write_receipt(site, &receipt)?;
    room.barrier.wait(&site.hidden)?;
    Ok(Some(receipt))
}

/// Takes the parts of a set that was not published back to staging, and the folder away.
///
/// What a part is called there says nothing of its digest while no receipt names it, so the files
/// are digested: this is recovery, and better than making them again.
fn return_parts(site: &Site, room: &Room<'_>) -> Result<(), StoreError> {
    let live = fs::list(&site.live, |_| false)?.unwrap_or_default();
    for entry in fs::list(&site.next, is_hidden)?.unwrap_or_default() {
        let is_live = live.iter().any(|live| live.stat.inode == entry.stat.inode);
        if is_live || !entry.is_file {
            continue;
        }
        let path = site.next.join(&entry.relative);
        shelve(&path, &digest(&path)?, room)?;
    }
    Ok(fs::remove_folder(&site.next)?)
}

fn digest(path: &Path) -> Result<Fingerprint, StoreError> {
    let file = fs::open(path)?;
    let (digest, _) = Fingerprint::of_file(&file, |_| Ok(())).map_err(fs::FsError::at("read", path))?;
    Ok(digest)
}

/// True where a folder has every part of a manifest, byte for byte.
fn holds(folder: &Path, manifest: &Manifest) -> Result<bool, StoreError> {
    for part in &manifest.parts {
        let path = folder.join(&part.name);
        match fs::stat(&path)? {
            Some(found) if found.is_file && found.stat.size == part.bytes => {}
            _ => return Ok(false),
        }
        if digest(&path)? != part.digest {
            return Ok(false);
        }
    }
    Ok(true)
}
