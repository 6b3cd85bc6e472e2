//! Publishing file by file, for folders that cannot be renamed: `publish: in_place`.
//!
//! Each file is replaced at once, the set is not: a reader may meet files of both sets. What is laid
//! out and what is put aside lies inside the folder, on its filesystem, in a hidden folder of its own.

use std::collections::HashSet;

use jiff::Timestamp;

use super::old::{put_aside, retire, return_parts, shelve};
use super::publish::{displace, lay_out};
use super::{Site, write_receipt};
use crate::fs;
use crate::store::receipt::{self, Manifest, Part, Published, Receipt};
use crate::store::{Publication, Room, StoreError};

/// Puts the new set in the place of the old one, file by file.
pub(super) fn publish(site: &Site, publication: &Publication<'_>, room: &Room<'_>) -> Result<Receipt, StoreError> {
    retire(site, publication.receipt.and_then(|receipt| receipt.previous.as_ref()), room)?;
    fs::create_folder(&site.inside)?;
    let published = publication.receipt.and_then(|receipt| receipt.published.as_ref());
    for (name, _) in displace(site, publication, room)? {
        fs::remove_file(&site.live.join(name))?;
    }
    let adopted = super::publish::adopted(site, publication)?;
    lay_out(site, &site.next_inside(), publication, published.map(|published| &published.manifest), room)?;
    let mut receipt = Receipt {
        version: receipt::VERSION,
        project: publication.project.to_string(),
        flow: publication.flow.to_string(),
        latest: publication.receipt.and_then(|receipt| receipt.kept_latest(publication.next)),
        published: published.cloned(),
        pending: Some(Published { at: Timestamp::now().to_string(), ..publication.next.clone() }),
        pending_inode: None,
        pending_in_place: true,
        previous: None,
        adopted,
    };
    write_receipt(site, &receipt)?;
    room.barrier.wait(&site.hidden)?;
    finish(site, &mut receipt, room)?;
    write_receipt(site, &receipt)?;
    Ok(receipt)
}

/// Does what is left once the intent is written. It may be done again and again: what is in its place
/// already is left there.
pub(super) fn finish(site: &Site, receipt: &mut Receipt, room: &Room<'_>) -> Result<(), StoreError> {
    let Some(pending) = receipt.pending.take() else { return Ok(()) };
    let none = Manifest::default();
    let before = receipt.published.as_ref().map_or(&none, |published| &published.manifest);
    if receipt.published.is_none() {
        take_over(site, &pending.manifest, room)?;
    }
    let next = site.next_inside();
    for part in &pending.manifest.parts {
        let (from, to) = (next.join(&part.name), site.live.join(&part.name));
        if fs::stat(&from)?.is_none() {
            continue;
        }
        if let Some(old) = before.parts.iter().find(|old| old.name == part.name && old.digest != part.digest) {
            remember(site, old, room)?;
        }
        fs::rename(&from, &to)?;
        // Two names of one file stay two: the one in the store was the right one already.
        fs::remove_file(&from)?;
    }
    let stays: HashSet<&str> = pending.manifest.parts.iter().map(|part| part.name.as_str()).collect();
    for old in before.parts.iter().filter(|old| !stays.contains(old.name.as_str())) {
        let path = site.live.join(&old.name);
        if fs::stat(&path)?.is_some_and(|found| found.stat.size == old.bytes) {
            shelve(&path, &old.digest, room)?;
        }
    }
    return_parts(site, &next, room)?;
    room.barrier.wait(&site.live)?;
    receipt.published = Some(pending);
    receipt.pending_in_place = false;
    Ok(())
}

/// What is in a folder that hygge had not made goes aside. What was put into its place already stays.
fn take_over(site: &Site, manifest: &Manifest, room: &Room<'_>) -> Result<(), StoreError> {
    let next = site.next_inside();
    for entry in fs::list(&site.live, fs::is_hidden)?.unwrap_or_default() {
        let name = entry.relative.to_string_lossy().into_owned();
        let is_ours = manifest.parts.iter().any(|part| part.name == name) && fs::stat(&next.join(&name))?.is_none();
        if !is_ours {
            put_aside(site, &site.live.join(&entry.relative), &name, room)?;
        }
    }
    Ok(())
}

/// Keeps a part as history that is about to be replaced, where that costs nothing.
fn remember(site: &Site, old: &Part, room: &Room<'_>) -> Result<(), StoreError> {
    let (path, place) = (site.live.join(&old.name), room.staged.place(&old.digest)?);
    let is_there = fs::stat(&path)?.is_some_and(|found| found.stat.size == old.bytes);
    if !is_there || fs::stat(&place)?.is_some() {
        return Ok(());
    }
    match fs::link(&path, &place) {
        Err(error) if error.is_other_filesystem() => Ok(()),
        other => Ok(other?),
    }
}
