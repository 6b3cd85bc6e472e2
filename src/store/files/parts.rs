//! Files that parts are or were: whether one is still the part that was published, and where it
//! goes when no set has it any more. Nothing that hygge did not make is ever removed, however it
//! came there.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;

use super::Site;
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Found, own};
use crate::store::StoreError;
use crate::store::receipt::Part;
use crate::store::room::Room;

/// Takes the parts of a set that was not published back to staging, and the folder away.
///
/// What a part is called there says nothing of its digest while no receipt names it, so the files
/// are digested: this is recovery, and better than making them again.
pub(super) fn return_parts(site: &Site, next: &Path, room: &Room<'_>) -> Result<(), StoreError> {
    let live = live_files(site)?;
    for entry in own::list(next, |_| false)?.unwrap_or_default() {
        let (path, name) = (
            next.join(&entry.relative),
            entry.relative.to_string_lossy().into_owned(),
        );
        if is_second_name(&entry, &live) {
            fs::remove_file(&path)?;
        } else if entry.is_file && !fs::is_hidden(&name) {
            shelve(site, &path, &digest(&path)?, room)?;
        } else {
            follow(site, next, &entry, &name, room)?;
        }
    }
    room.let_go_of_files()?;
    Ok(fs::remove_empty_folder(next)?)
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> Result<Fingerprint, StoreError> {
    let file = own::open(path)?;
    let (digest, _) =
        Fingerprint::of_file(&file, |_| Ok(())).map_err(fs::FsError::at("read", path))?;
    Ok(digest)
}

/// Something that is nobody's part: it follows into the store if it is hidden and its name is free
/// there, else it is put aside; a second name of what the store has already is only taken away.
pub(super) fn follow(
    site: &Site,
    folder: &Path,
    entry: &Found,
    name: &str,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let (from, to) = (
        folder.join(&entry.relative),
        site.live.join(&entry.relative),
    );
    let there = own::stat(&to)?;
    if entry.is_file
        && there
            .as_ref()
            .is_some_and(|there| there.stat.inode == entry.stat.inode)
    {
        return Ok(fs::remove_file(&from)?);
    }
    if there.is_none() && fs::is_hidden(name) && fs::stat(&site.live)?.is_some() {
        return Ok(fs::rename(&from, &to)?);
    }
    put_aside(site, &from, name, room)
}

/// Moves what is nobody's part to where its owner finds it again.
pub(super) fn put_aside(
    site: &Site,
    from: &Path,
    name: &str,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let folder = site.displaced().join(&room.moment);
    own::create_folder(&folder)?;
    let place = fs::free_name(&folder, name);
    fs::rename(from, &place)?;
    room.note_aside(place);
    Ok(())
}

pub(super) fn is_second_name(entry: &Found, live: &HashSet<u64>) -> bool {
    entry.is_file && live.contains(&entry.stat.inode)
}

/// The inodes of what the live folder has.
pub(super) fn live_files(site: &Site) -> Result<HashSet<u64>, StoreError> {
    Ok(fs::list(&site.live, |_| false)?
        .unwrap_or_default()
        .iter()
        .map(|entry| entry.stat.inode)
        .collect())
}

/// True where a file is still the part that was published: nobody wrote to it since, or it has the
/// bytes all the same, as copies have.
pub(super) fn is_part(
    path: &Path,
    entry: &Found,
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
    match digest(path) {
        Err(StoreError::Fs(error)) if error.is_absent() => Ok(false),
        digest => Ok(digest? == part.digest),
    }
}

/// Moves a part to staging; across filesystems it is copied, and let go when the copy is durable.
pub(super) fn shelve(
    site: &Site,
    path: &Path,
    digest: &Fingerprint,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let place = room.staged.place(digest)?;
    if own::stat(&place)?.is_some() {
        // One that was copied there may not be durable yet.
        room.note_copied_to_staging(path.to_path_buf());
        return Ok(());
    }
    match fs::rename(path, &place) {
        Err(error) if error.is_other_filesystem() => {
            let copy = room.staged.scratch()?;
            let (copied, _) = own::copy(path, &copy, |_| Ok(()))?;
            if Fingerprint::from_bytes(copied) == *digest {
                fs::rename(&copy, &place)?;
                room.note_copied_to_staging(path.to_path_buf());
                return Ok(());
            }
            fs::remove_file(&copy)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            put_aside(site, path, &name, room)
        }
        other => Ok(other?),
    }
}
