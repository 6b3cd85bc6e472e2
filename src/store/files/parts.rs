//! Files that parts are or were: whether one is still the part that was published, and where it
//! goes when no set has it any more. Nothing that hygge did not make is ever removed, however it
//! came there.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;

use super::paths::FilesStorePaths;
use super::set_folder::{
    create_parent, is_hidden, is_partition, list_live, list_own, remove_own_partitions,
};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, DirEntry, nofollow};
use crate::store::StoreError;
use crate::store::context::PublishContext;
use crate::store::receipt::Part;

/// Takes the parts of a set that was not published back to staging, and the folder away.
///
/// What a part is called there says nothing of its digest while no receipt names it, so the files
/// are digested: this is recovery, and better than making them again.
pub(super) fn return_to_staging(
    paths: &FilesStorePaths,
    next: &Path,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let live = live_inodes(paths)?;
    for entry in list_own(next, |_| false)?.unwrap_or_default() {
        if is_partition(&entry) {
            continue;
        }
        let (path, name) = (
            next.join(&entry.relative),
            entry.relative.to_string_lossy().into_owned(),
        );
        if is_hard_link(&entry, &live) {
            fs::remove_file(&path)?;
        } else if entry.is_file && !is_hidden(&entry.relative) {
            move_to_staging(paths, &path, &file_digest(&path)?, context)?;
        } else {
            relocate_foreign_file(paths, next, &entry, &name, context)?;
        }
    }
    context.remove_copied_files()?;
    remove_own_partitions(next)?;
    Ok(fs::remove_empty_folder(next)?)
}

/// The digest of a file.
pub(super) fn file_digest(path: &Path) -> Result<Fingerprint, StoreError> {
    let file = nofollow::open(path)?;
    let (digest, _) =
        Fingerprint::hash_reader(&file, |_| Ok(())).map_err(fs::FsError::at("read", path))?;
    Ok(digest)
}

/// Something that is nobody's part: it follows into the store if it is hidden and its name is free
/// there, else it is put aside; a second name of what the store has already is only taken away.
pub(super) fn relocate_foreign_file(
    paths: &FilesStorePaths,
    folder: &Path,
    entry: &DirEntry,
    name: &str,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let (from, to) = (
        folder.join(&entry.relative),
        paths.live.join(&entry.relative),
    );
    let there = nofollow::stat(&to)?;
    if entry.is_file
        && there
            .as_ref()
            .is_some_and(|there| there.stat.inode == entry.stat.inode)
    {
        return Ok(fs::remove_file(&from)?);
    }
    if there.is_none() && is_hidden(&entry.relative) && fs::stat(&paths.live)?.is_some() {
        create_parent(&to)?;
        return Ok(fs::rename(&from, &to)?);
    }
    displace(paths, &from, name, context)
}

/// Moves what is nobody's part to where its owner finds it again.
pub(super) fn displace(
    paths: &FilesStorePaths,
    from: &Path,
    name: &str,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let folder = paths.displaced_folder().join(&context.timestamp);
    nofollow::create_folder(&folder)?;
    let place = fs::unused_path(&folder, name);
    create_parent(&place)?;
    fs::rename(from, &place)?;
    context.note_displaced(folder, place);
    Ok(())
}

pub(super) fn is_hard_link(entry: &DirEntry, live: &HashSet<u64>) -> bool {
    entry.is_file && live.contains(&entry.stat.inode)
}

/// The inodes of what the live folder has.
pub(super) fn live_inodes(paths: &FilesStorePaths) -> Result<HashSet<u64>, StoreError> {
    Ok(list_live(&paths.live, |_| false)?
        .unwrap_or_default()
        .iter()
        .map(|entry| entry.stat.inode)
        .collect())
}

/// True where a file is still the part that was published: nobody wrote to it since, or it has the
/// bytes all the same, as copies have.
pub(super) fn is_unaltered_part(
    path: &Path,
    entry: &DirEntry,
    part: &Part,
    at: &str,
) -> Result<bool, StoreError> {
    if !entry.is_file || part.bytes != entry.stat.size {
        return Ok(false);
    }
    let published = at.parse::<Timestamp>().map(Timestamp::as_nanosecond);
    if published.is_ok_and(|published| i128::from(entry.stat.mtime_ns) <= published) {
        return Ok(true);
    }
    match file_digest(path) {
        Err(StoreError::Fs(error)) if error.is_not_found() => Ok(false),
        digest => Ok(digest? == part.digest),
    }
}

/// Moves a part to staging; across filesystems it is copied, and let go when the copy is durable.
pub(super) fn move_to_staging(
    paths: &FilesStorePaths,
    path: &Path,
    digest: &Fingerprint,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let place = context.staging.make_part_path(digest)?;
    if nofollow::stat(&place)?.is_some() {
        // One that was copied there may not be durable yet.
        context.note_copied_to_staging(path.to_path_buf());
        return Ok(());
    }
    match fs::rename(path, &place) {
        Err(error) if error.is_cross_device() => {
            let copy = context.staging.temp_path()?;
            let (copied, _) = nofollow::copy(path, &copy, |_| Ok(()))?;
            if Fingerprint::from_bytes(copied) == *digest {
                fs::rename(&copy, &place)?;
                context.note_copied_to_staging(path.to_path_buf());
                return Ok(());
            }
            fs::remove_file(&copy)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            displace(paths, path, &name, context)
        }
        other => Ok(other?),
    }
}
