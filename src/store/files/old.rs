//! The folder before: what is in it goes back to staging, on into the store, or aside. Nothing that
//! hygge did not make is ever removed, however it came there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::parts::{digest, follow, is_part, is_second_name, live_files, put_aside, shelve};
use super::{Site, latest};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Found, own};
use crate::store::StoreError;
use crate::store::receipt::{Manifest, Part, Receipt};
use crate::store::room::Room;

/// Sees to what is in a folder that readers no longer find and that is no part of its set: hidden
/// files and folders follow into the store, everything else is put aside.
pub(super) fn rescue(
    site: &Site,
    folder: &Path,
    manifest: &Manifest,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let parts = by_name(manifest);
    for entry in own::list(folder, |_| false)?.unwrap_or_default() {
        let name = entry.relative.to_string_lossy().into_owned();
        if fs::is_hidden(&name) || !parts.contains_key(name.as_str()) {
            follow(site, folder, &entry, &name, room)?;
        }
    }
    Ok(())
}

/// Ends the time of the folder before: parts that the live set no longer has go to staging, as
/// history, or wait for the latest set; the others are second names of live files.
pub(super) fn retire(
    site: &Site,
    receipt: Option<&Receipt>,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    latest::end(site, receipt, room)?;
    let previous = receipt.and_then(|receipt| receipt.previous.as_ref());
    let of_latest = latest::digests(receipt.and_then(|receipt| receipt.latest.as_ref()));
    let none = Manifest::default();
    let manifest = previous.map_or(&none, |previous| &previous.manifest);
    rescue(site, &site.old, manifest, room)?;
    let (parts, live) = (by_name(manifest), live_files(site)?);
    for entry in own::list(&site.old, |_| false)?.unwrap_or_default() {
        let (path, name) = (
            site.old.join(&entry.relative),
            entry.relative.to_string_lossy().into_owned(),
        );
        let part = previous.and_then(|previous| Some((parts.get(name.as_str())?, previous)));
        match part {
            _ if is_second_name(&entry, &live) => fs::remove_file(&path)?,
            Some((part, previous)) if is_part(&path, &entry, part, &previous.at)? => {
                if of_latest.contains(&part.digest) {
                    latest::keep(site, &path, &part.digest)?;
                } else {
                    shelve(site, &path, &part.digest, room)?;
                }
            }
            _ => put_aside(site, &path, &name, room)?,
        }
    }
    room.let_go_of_files()?;
    Ok(fs::remove_empty_folder(&site.old)?)
}

/// Takes the parts of a manifest that lie in a folder back to staging; everything else stays.
pub(super) fn return_known(
    site: &Site,
    folder: &Path,
    manifest: &Manifest,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let (parts, live) = (by_name(manifest), live_files(site)?);
    for entry in own::list(folder, |_| false)?.unwrap_or_default() {
        let part = entry.relative.to_str().and_then(|name| parts.get(name));
        let Some(part) =
            part.filter(|part| part.bytes == entry.stat.size && !is_second_name(&entry, &live))
        else {
            continue;
        };
        let path = folder.join(&entry.relative);
        if digest(&path)? == part.digest {
            shelve(site, &path, &part.digest, room)?;
        }
    }
    Ok(room.let_go_of_files()?)
}

/// The parts of the set before that are still there, and that nobody wrote to.
pub(super) fn parts(
    site: &Site,
    receipt: &Receipt,
) -> Result<Vec<(PathBuf, Fingerprint)>, StoreError> {
    let Some(previous) = &receipt.previous else {
        return Ok(Vec::new());
    };
    let parts = by_name(&previous.manifest);
    let mut found = Vec::new();
    for entry in own::list(&site.old, |_| false)?.unwrap_or_default() {
        let Some(part) = entry.relative.to_str().and_then(|name| parts.get(name)) else {
            continue;
        };
        let path = site.old.join(&entry.relative);
        if is_part(&path, &entry, part, &previous.at)? {
            found.push((path, part.digest));
        }
    }
    Ok(found)
}

/// The digests of what was being laid out when a publication died: their names say nothing of them.
pub(super) fn laid_out(next: &Path) -> Result<Vec<Fingerprint>, StoreError> {
    let found = own::list(next, fs::is_hidden)?.unwrap_or_default();
    let digest = |entry: &Found| match digest(&next.join(&entry.relative)) {
        // Somebody is publishing right now.
        Err(StoreError::Fs(error)) if error.is_absent() => None,
        digest => Some(digest),
    };
    found
        .iter()
        .filter(|entry| entry.is_file)
        .filter_map(digest)
        .collect()
}

pub(super) fn by_name(manifest: &Manifest) -> HashMap<&str, &Part> {
    manifest
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part))
        .collect()
}
