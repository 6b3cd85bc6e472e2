//! The folder before: what is in it goes back to staging, on into the store, or aside. Nothing that
//! hygge did not make is ever removed, however it came there.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::latest_set;
use super::parts::{
    displace, file_digest, is_hard_link, is_unaltered_part, live_inodes, move_to_staging,
    relocate_foreign_file,
};
use super::paths::FilesStorePaths;
use super::set_folder::{is_hidden, is_partition, list_own, remove_empty_partitions};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, DirEntry};
use crate::home::is_partition_path;
use crate::store::StoreError;
use crate::store::context::PublishContext;
use crate::store::receipt::{Manifest, Part, Receipt};

/// Sees to what is in a folder that readers no longer find and that is no part of its set: hidden
/// files and folders follow into the store, everything else is put aside.
pub(super) fn relocate_foreign_files(
    paths: &FilesStorePaths,
    folder: &Path,
    manifest: &Manifest,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let (parts, folders) = (parts_by_name(manifest), manifest.folders());
    for entry in list_own(folder, |_| false)?.unwrap_or_default() {
        let name = entry.relative.to_string_lossy().into_owned();
        if is_partition(&entry) && folders.contains(name.as_str()) {
            continue;
        }
        if is_hidden(&entry.relative) || !parts.contains_key(name.as_str()) {
            relocate_foreign_file(paths, folder, &entry, &name, context)?;
        }
    }
    Ok(())
}

/// Ends the time of the folder before: parts that the live set no longer has go to staging, as
/// history, or wait for the latest set; the others are second names of live files.
pub(super) fn retire_previous(
    paths: &FilesStorePaths,
    receipt: Option<&Receipt>,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    latest_set::release(paths, receipt, context)?;
    let previous = receipt.and_then(|receipt| receipt.previous.as_ref());
    let of_latest = latest_set::part_digests(receipt.and_then(|receipt| receipt.latest.as_ref()));
    let none = Manifest::default();
    let manifest = previous.map_or(&none, |previous| &previous.manifest);
    relocate_foreign_files(paths, &paths.previous_set, manifest, context)?;
    let (parts, live) = (parts_by_name(manifest), live_inodes(paths)?);
    let found = list_own(&paths.previous_set, |_| false)?.unwrap_or_default();
    // Where an exchange was lost, folders of the other set lie there too.
    let of_found: BTreeSet<String> = found
        .iter()
        .flat_map(|entry| entry.relative.ancestors())
        .filter_map(|folder| folder.to_str())
        .filter(|folder| is_partition_path(folder))
        .map(str::to_string)
        .collect();
    for entry in found {
        let (path, name) = (
            paths.previous_set.join(&entry.relative),
            entry.relative.to_string_lossy().into_owned(),
        );
        let part = previous.and_then(|previous| Some((parts.get(name.as_str())?, previous)));
        match part {
            // What nobody made but hygge goes when all that was in it has gone.
            _ if is_partition(&entry) => {}
            _ if is_hard_link(&entry, &live) => fs::remove_file(&path)?,
            Some((part, previous)) if is_unaltered_part(&path, &entry, part, &previous.at)? => {
                if of_latest.contains(&part.digest) {
                    latest_set::keep_part(paths, &path, &part.digest)?;
                } else {
                    move_to_staging(paths, &path, &part.digest, context)?;
                }
            }
            _ => displace(paths, &path, &name, context)?,
        }
    }
    context.remove_copied_files()?;
    let folders = manifest.folders().into_iter();
    let folders = folders.chain(of_found.iter().map(String::as_str));
    remove_empty_partitions(&paths.previous_set, folders)?;
    Ok(fs::remove_empty_folder(&paths.previous_set)?)
}

/// Takes the parts of a manifest that lie in a folder back to staging; everything else stays.
pub(super) fn return_manifest_parts(
    paths: &FilesStorePaths,
    folder: &Path,
    manifest: &Manifest,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let (parts, live) = (parts_by_name(manifest), live_inodes(paths)?);
    for entry in list_own(folder, |_| false)?.unwrap_or_default() {
        let part = entry.relative.to_str().and_then(|name| parts.get(name));
        let Some(part) =
            part.filter(|part| part.bytes == entry.stat.size && !is_hard_link(&entry, &live))
        else {
            continue;
        };
        let path = folder.join(&entry.relative);
        if file_digest(&path)? == part.digest {
            move_to_staging(paths, &path, &part.digest, context)?;
        }
    }
    context.remove_copied_files()?;
    Ok(remove_empty_partitions(
        folder,
        manifest.folders().into_iter(),
    )?)
}

/// The parts of the set before that are still there, and that nobody wrote to.
pub(super) fn unaltered_parts(
    paths: &FilesStorePaths,
    receipt: &Receipt,
) -> Result<Vec<(PathBuf, Fingerprint)>, StoreError> {
    let Some(previous) = &receipt.previous else {
        return Ok(Vec::new());
    };
    let parts = parts_by_name(&previous.manifest);
    let mut found = Vec::new();
    for entry in list_own(&paths.previous_set, |_| false)?.unwrap_or_default() {
        let Some(part) = entry.relative.to_str().and_then(|name| parts.get(name)) else {
            continue;
        };
        let path = paths.previous_set.join(&entry.relative);
        if is_unaltered_part(&path, &entry, part, &previous.at)? {
            found.push((path, part.digest));
        }
    }
    Ok(found)
}

/// The digests of what was being laid out when a publication died: their names say nothing of them.
pub(super) fn unpublished_digests(next: &Path) -> Result<Vec<Fingerprint>, StoreError> {
    let found = list_own(next, fs::is_hidden)?.unwrap_or_default();
    let digest = |entry: &DirEntry| match file_digest(&next.join(&entry.relative)) {
        // Somebody is publishing right now.
        Err(StoreError::Fs(error)) if error.is_not_found() => None,
        digest => Some(digest),
    };
    found
        .iter()
        .filter(|entry| entry.is_file)
        .filter_map(digest)
        .collect()
}

pub(super) fn parts_by_name(manifest: &Manifest) -> HashMap<&str, &Part> {
    manifest
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part))
        .collect()
}
