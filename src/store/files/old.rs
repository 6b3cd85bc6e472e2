//! The folder before: what is in it goes back to staging, on into the store, or aside. Nothing that
//! hygge did not make is ever removed, however it came there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Site, latest};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Found, own};
use crate::store::StoreError;
use crate::store::receipt::{Manifest, Part, Receipt};
use crate::store::room::Room;

/// Sees to what is in a folder that readers no longer find and that is no part of its set: hidden
/// files and folders follow into the store, everything else is put aside.
pub(super) fn rescue(site: &Site, folder: &Path, manifest: &Manifest, room: &Room<'_>) -> Result<(), StoreError> {
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
pub(super) fn retire(site: &Site, receipt: Option<&Receipt>, room: &Room<'_>) -> Result<(), StoreError> {
    latest::end(site, receipt, room)?;
    let previous = receipt.and_then(|receipt| receipt.previous.as_ref());
    let of_latest = latest::digests(receipt.and_then(|receipt| receipt.latest.as_ref()));
    let none = Manifest::default();
    let manifest = previous.map_or(&none, |previous| &previous.manifest);
    rescue(site, &site.old, manifest, room)?;
    let (parts, live) = (by_name(manifest), live_files(site)?);
    for entry in own::list(&site.old, |_| false)?.unwrap_or_default() {
        let (path, name) = (site.old.join(&entry.relative), entry.relative.to_string_lossy().into_owned());
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

/// Takes the parts of a set that was not published back to staging, and the folder away.
///
/// What a part is called there says nothing of its digest while no receipt names it, so the files
/// are digested: this is recovery, and better than making them again.
pub(super) fn return_parts(site: &Site, next: &Path, room: &Room<'_>) -> Result<(), StoreError> {
    let live = live_files(site)?;
    for entry in own::list(next, |_| false)?.unwrap_or_default() {
        let (path, name) = (next.join(&entry.relative), entry.relative.to_string_lossy().into_owned());
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

/// Takes the parts of a manifest that lie in a folder back to staging; everything else stays.
pub(super) fn return_known(site: &Site, folder: &Path, manifest: &Manifest, room: &Room<'_>) -> Result<(), StoreError> {
    let (parts, live) = (by_name(manifest), live_files(site)?);
    for entry in own::list(folder, |_| false)?.unwrap_or_default() {
        let part = entry.relative.to_str().and_then(|name| parts.get(name));
        let Some(part) = part.filter(|part| part.bytes == entry.stat.size && !is_second_name(&entry, &live)) else { continue };
        let path = folder.join(&entry.relative);
        if digest(&path)? == part.digest {
            shelve(site, &path, &part.digest, room)?;
        }
    }
    Ok(room.let_go_of_files()?)
}

/// The parts of the set before that are still there, and that nobody wrote to.
pub(super) fn parts(site: &Site, receipt: &Receipt) -> Result<Vec<(PathBuf, Fingerprint)>, StoreError> {
    let Some(previous) = &receipt.previous else { return Ok(Vec::new()) };
    let parts = by_name(&previous.manifest);
    let mut found = Vec::new();
    for entry in own::list(&site.old, |_| false)?.unwrap_or_default() {
        let Some(part) = entry.relative.to_str().and_then(|name| parts.get(name)) else { continue };
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
    found.iter().filter(|entry| entry.is_file).filter_map(digest).collect()
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> Result<Fingerprint, StoreError> {
    let file = own::open(path)?;
    let (digest, _) = Fingerprint::of_file(&file, |_| Ok(())).map_err(fs::FsError::at("read", path))?;
    Ok(digest)
}

/// Something that is nobody's part: it follows into the store if it is hidden and its name is free
/// there, else it is put aside; a second name of what the store has already is only taken away.
fn follow(site: &Site, folder: &Path, entry: &Found, name: &str, room: &Room<'_>) -> Result<(), StoreError> {
    let (from, to) = (folder.join(&entry.relative), site.live.join(&entry.relative));
    let there = own::stat(&to)?;
    if entry.is_file && there.as_ref().is_some_and(|there| there.stat.inode == entry.stat.inode) {
        return Ok(fs::remove_file(&from)?);
    }
    if there.is_none() && fs::is_hidden(name) && fs::stat(&site.live)?.is_some() {
        return Ok(fs::rename(&from, &to)?);
    }
    put_aside(site, &from, name, room)
}

/// Moves what is nobody's part to where its owner finds it again.
pub(super) fn put_aside(site: &Site, from: &Path, name: &str, room: &Room<'_>) -> Result<(), StoreError> {
    let folder = site.displaced().join(&room.moment);
    own::create_folder(&folder)?;
    let place = fs::free_name(&folder, name);
    fs::rename(from, &place)?;
    room.note_aside(place);
    Ok(())
}

fn is_second_name(entry: &Found, live: &HashSet<u64>) -> bool {
    entry.is_file && live.contains(&entry.stat.inode)
}

/// The inodes of what the live folder has.
fn live_files(site: &Site) -> Result<HashSet<u64>, StoreError> {
    Ok(fs::list(&site.live, |_| false)?.unwrap_or_default().iter().map(|entry| entry.stat.inode).collect())
}

pub(super) fn by_name(manifest: &Manifest) -> HashMap<&str, &Part> {
    manifest.parts.iter().map(|part| (part.name.as_str(), part)).collect()
}

/// True where a file is still the part that was published: nobody wrote to it since, or it has the bytes all the same,
/// as copies have.
pub(super) fn is_part(path: &Path, entry: &Found, part: &Part, at: &str) -> Result<bool, StoreError> {
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
pub(super) fn shelve(site: &Site, path: &Path, digest: &Fingerprint, room: &Room<'_>) -> Result<(), StoreError> {
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
