//! Publishing to a folder: lay the new set out beside it, write the intent, exchange the folders.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::latest_set;
use super::parts::return_to_staging;
use super::paths::FilesStorePaths;
use super::previous_set::{relocate_foreign_files, retire_previous};
use super::receipt_file::write_receipt;
use super::set_folder::{create_parent, is_hidden, list_live};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Stat, nofollow};
use crate::store::context::{MoveOutcome, PublishContext};
use crate::store::receipt::{AdoptedFiles, Manifest, Part, PreviousSet, PublishedSet, Receipt};
use crate::store::{Publication, StoreError};

/// Puts the new set in the place of the old one.
pub(super) fn publish(
    paths: &FilesStorePaths,
    publication: &Publication<'_>,
    context: &PublishContext<'_>,
) -> Result<Receipt, StoreError> {
    retire_previous(paths, publication.receipt, context)?;
    let published = publication
        .receipt
        .and_then(|receipt| receipt.published.as_ref());
    let displaced = displace_altered(paths, publication, context)?;
    let adopted = adopted_files(paths, publication)?;
    lay_out(paths, &paths.next, publication, context)?;
    let mut receipt = pending_receipt(publication, adopted);
    receipt.pending_inode = nofollow::stat(&paths.next)?.map(|found| found.stat.inode);
    write_receipt(paths, &receipt)?;
    context.sync(&[&paths.hygge_folder])?;
    fs::exchange_folders(&paths.next, &paths.live, &paths.previous_set)?;
    context.sync(&[&paths.hygge_folder])?;
    context.remove_copied_parts()?;
    remove_displaced_links(paths, &displaced)?;
    let none = Manifest::default();
    relocate_foreign_files(
        paths,
        &paths.previous_set,
        published.map_or(&none, |published| &published.manifest),
        context,
    )?;
    if let Some(next) = receipt.pending.take() {
        receipt.previous = receipt.promote(next).map(PreviousSet::from);
    }
    write_receipt(paths, &receipt)?;
    Ok(receipt)
}

/// What is about to happen. All that the receipt says of now stays true if it does not.
pub(super) fn pending_receipt(
    publication: &Publication<'_>,
    adopted: Option<AdoptedFiles>,
) -> Receipt {
    let before = publication.receipt;
    Receipt {
        published: before.and_then(|before| before.published.clone()),
        latest: before.and_then(|before| before.latest.clone()),
        // A power cut may lose that its parts went to staging.
        previous: before.and_then(|before| before.previous.clone()),
        // Nothing of the set is written to after this moment.
        pending: Some(PublishedSet {
            at: Timestamp::now().to_string(),
            ..publication.next.clone()
        }),
        adopted,
        ..Receipt::blank(publication.project, publication.flow)
    }
    .with_version()
}

/// What is in a folder that hygge takes over; what it took over once stays written down.
pub(super) fn adopted_files(
    paths: &FilesStorePaths,
    publication: &Publication<'_>,
) -> Result<Option<AdoptedFiles>, StoreError> {
    if let Some(receipt) = publication.receipt {
        return Ok(receipt.adopted.clone());
    }
    let found = fs::list(&paths.live, fs::is_hidden)?.unwrap_or_default();
    let mut names: Vec<String> = found
        .iter()
        .map(|entry| entry.relative.to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok((!names.is_empty()).then(|| AdoptedFiles {
        names,
        at: Timestamp::now().to_string(),
    }))
}

/// Puts aside what someone altered, before anything is exchanged; gives how each file looked.
fn displace_altered(
    paths: &FilesStorePaths,
    publication: &Publication<'_>,
    context: &PublishContext<'_>,
) -> Result<Vec<(String, Stat)>, StoreError> {
    let mut displaced = Vec::new();
    for name in publication.altered {
        let folder = paths.displaced_folder().join(&context.timestamp);
        nofollow::create_folder(&folder)?;
        let (from, to) = (paths.live.join(name), fs::unused_path(&folder, name));
        create_parent(&to)?;
        context.link_or_copy(&from, &to)?;
        context.note_displaced(folder, to);
        displaced.extend(nofollow::stat(&from)?.map(|found| (name.clone(), found.stat)));
    }
    Ok(displaced)
}

/// Takes away the second names of what was displaced, unless someone wrote to it once more.
fn remove_displaced_links(
    paths: &FilesStorePaths,
    displaced: &[(String, Stat)],
) -> Result<(), StoreError> {
    for (name, stat) in displaced {
        let path = paths.previous_set.join(name);
        let same = |found: fs::DirEntry| {
            (found.stat.inode, found.stat.size, found.stat.mtime_ns)
                == (stat.inode, stat.size, stat.mtime_ns)
        };
        if nofollow::stat(&path)?.is_some_and(same) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Fills a folder with the new set and with what is carried over.
pub(super) fn lay_out(
    paths: &FilesStorePaths,
    next: &Path,
    publication: &Publication<'_>,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    return_to_staging(paths, next, context)?;
    nofollow::create_folder(next)?;
    let permissions = fs::permissions_of(&paths.live)?;
    if let Some(permissions) = &permissions {
        fs::set_permissions(next, permissions.clone())?;
    }
    for folder in publication.next.manifest.folders() {
        let (live, folder) = (paths.live.join(folder), next.join(folder));
        nofollow::create_folder(&folder)?;
        // One that stays is as open as it was.
        let own = fs::permissions_of(&live)?.or_else(|| permissions.clone());
        if let Some(permissions) = own {
            fs::set_permissions(&folder, permissions)?;
        }
    }
    let mut sources = reusable_files(paths, publication)?;
    let mut placed: BTreeMap<Fingerprint, PathBuf> = BTreeMap::new();
    for part in &publication.next.manifest.parts {
        let to = next.join(&part.name);
        if let Some(from) = sources
            .get_mut(&part.digest)
            .and_then(|sources| choose(sources, &part.name))
        {
            // What a link in the store leads to is read, and the link is not moved on.
            let copied = if fs::is_link(&from)? {
                Some(Fingerprint::from_bytes(fs::copy(&from, &to, |_| Ok(()))?.0))
            } else {
                context.link_or_copy(&from, &to)?
            };
            if copied.is_some_and(|digest| digest != part.digest) {
                return Err(StoreError::UnusablePart(part.name.clone()));
            }
        } else if let Some(twin) = placed.get(&part.digest) {
            // Equal parts are different files, so that altering one does not alter the other.
            copy_part(twin, &to, part)?;
        } else {
            move_staged_part(&to, part, context)?;
        }
        placed.entry(part.digest).or_insert(to);
    }
    for entry in list_live(&paths.live, |_| false)?
        .filter(|_| next == paths.next)
        .unwrap_or_default()
    {
        // What is no file, a link among them, follows after the exchange, and so does what can have
        // no second name: a copy would not be it.
        let from = paths.live.join(&entry.relative);
        if is_hidden(&entry.relative) && entry.is_file && !entry.is_link {
            let to = next.join(&entry.relative);
            create_parent(&to)?;
            fs::link(&from, &to)?;
        }
    }
    Ok(())
}

/// Of equal files the one that has the name already, else any.
fn choose(sources: &mut BTreeMap<OsString, PathBuf>, name: &str) -> Option<PathBuf> {
    sources
        .remove(OsStr::new(name))
        .or_else(|| sources.pop_first().map(|(_, path)| path))
}

/// The files that may be linked into the new set: live ones that nobody altered, and those that
/// wait for it.
fn reusable_files(
    paths: &FilesStorePaths,
    publication: &Publication<'_>,
) -> Result<BTreeMap<Fingerprint, BTreeMap<OsString, PathBuf>>, StoreError> {
    let mut sources: BTreeMap<Fingerprint, BTreeMap<OsString, PathBuf>> = BTreeMap::new();
    let Some(receipt) = publication.receipt else {
        return Ok(sources);
    };
    for (path, digest) in latest_set::waiting_parts(paths, receipt)? {
        sources
            .entry(digest)
            .or_default()
            .insert(path.file_name().unwrap_or_default().into(), path);
    }
    let altered: HashSet<&String> = publication.altered.iter().collect();
    let live = receipt
        .published
        .iter()
        .flat_map(|published| &published.manifest.parts);
    for part in live.filter(|part| !altered.contains(&part.name)) {
        let path = paths.live.join(&part.name);
        if matches!(fs::stat(&path), Ok(Some(found)) if found.stat.size == part.bytes) {
            sources
                .entry(part.digest)
                .or_default()
                .insert(part.name.clone().into(), path);
        }
    }
    Ok(sources)
}

/// Moves a staged part into the new set, leaving a clone or a copy where that is asked for.
fn move_staged_part(
    to: &Path,
    part: &Part,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    match context
        .staging
        .move_out(&part.digest, to, context.keep_staged)?
    {
        MoveOutcome::Missing => return Err(StoreError::UnusablePart(part.name.clone())),
        MoveOutcome::Copied => context.note_copied_from_staging(part.digest),
        MoveOutcome::Moved => {}
    }
    let is_whole = nofollow::stat(to)?.is_some_and(|found| found.stat.size == part.bytes);
    if is_whole {
        Ok(())
    } else {
        Err(StoreError::UnusablePart(part.name.clone()))
    }
}

fn copy_part(from: &Path, to: &Path, part: &Part) -> Result<(), StoreError> {
    let (digest, _) = nofollow::copy(from, to, |_| Ok(()))?;
    if Fingerprint::from_bytes(digest) == part.digest {
        Ok(())
    } else {
        Err(StoreError::UnusablePart(part.name.clone()))
    }
}
