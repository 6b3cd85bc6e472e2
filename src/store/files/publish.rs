//! Publishing to a folder: lay the new set out beside it, write the intent, exchange the folders.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::old::{rescue, retire};
use super::parts::return_parts;
use super::{Site, latest, write_receipt};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Stat, own};
use crate::store::receipt::{self, Adopted, Manifest, Part, Previous, Published, Receipt};
use crate::store::room::{Room, Taken};
use crate::store::{Publication, StoreError};

/// Puts the new set in the place of the old one.
pub(super) fn publish(
    site: &Site,
    publication: &Publication<'_>,
    room: &Room<'_>,
) -> Result<Receipt, StoreError> {
    retire(site, publication.receipt, room)?;
    let published = publication
        .receipt
        .and_then(|receipt| receipt.published.as_ref());
    let displaced = displace(site, publication, room)?;
    let adopted = adopted(site, publication)?;
    lay_out(site, &site.next, publication, room)?;
    let mut receipt = intent(publication, adopted);
    receipt.pending_inode = own::stat(&site.next)?.map(|found| found.stat.inode);
    write_receipt(site, &receipt)?;
    room.sync(&[&site.hidden])?;
    fs::exchange_folders(&site.next, &site.live, &site.old)?;
    room.sync(&[&site.hidden])?;
    room.let_go_of_parts()?;
    forget_displaced(site, &displaced)?;
    let none = Manifest::default();
    rescue(
        site,
        &site.old,
        published.map_or(&none, |published| &published.manifest),
        room,
    )?;
    if let Some(next) = receipt.pending.take() {
        receipt.previous = receipt.succeed(next).map(Previous::from);
    }
    write_receipt(site, &receipt)?;
    Ok(receipt)
}

/// What is about to happen. All that the receipt says of now stays true if it does not.
pub(super) fn intent(publication: &Publication<'_>, adopted: Option<Adopted>) -> Receipt {
    let before = publication.receipt;
    Receipt {
        version: receipt::VERSION,
        project: publication.project.to_string(),
        flow: publication.flow.to_string(),
        published: before.and_then(|before| before.published.clone()),
        latest: before.and_then(|before| before.latest.clone()),
        // A power cut may lose that its parts went to staging.
        previous: before.and_then(|before| before.previous.clone()),
        // Nothing of the set is written to after this moment.
        pending: Some(Published {
            at: Timestamp::now().to_string(),
            ..publication.next.clone()
        }),
        pending_inode: None,
        pending_in_place: false,
        adopted,
        table: None,
    }
}

/// What is in a folder that hygge takes over; what it took over once stays written down.
pub(super) fn adopted(
    site: &Site,
    publication: &Publication<'_>,
) -> Result<Option<Adopted>, StoreError> {
    if let Some(receipt) = publication.receipt {
        return Ok(receipt.adopted.clone());
    }
    let found = fs::list(&site.live, fs::is_hidden)?.unwrap_or_default();
    let mut names: Vec<String> = found
        .iter()
        .map(|entry| entry.relative.to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok((!names.is_empty()).then(|| Adopted {
        names,
        at: Timestamp::now().to_string(),
    }))
}

/// Puts aside what someone altered, before anything is exchanged; gives how each file looked.
fn displace(
    site: &Site,
    publication: &Publication<'_>,
    room: &Room<'_>,
) -> Result<Vec<(String, Stat)>, StoreError> {
    let mut displaced = Vec::new();
    for name in publication.altered {
        let folder = site.displaced().join(&room.moment);
        own::create_folder(&folder)?;
        let (from, to) = (site.live.join(name), fs::free_name(&folder, name));
        room.link(&from, &to)?;
        room.note_aside(to);
        displaced.extend(own::stat(&from)?.map(|found| (name.clone(), found.stat)));
    }
    Ok(displaced)
}

/// Takes away the second names of what was displaced, unless someone wrote to it once more.
fn forget_displaced(site: &Site, displaced: &[(String, Stat)]) -> Result<(), StoreError> {
    for (name, stat) in displaced {
        let path = site.old.join(name);
        let same = |found: fs::Found| {
            (found.stat.inode, found.stat.size, found.stat.mtime_ns)
                == (stat.inode, stat.size, stat.mtime_ns)
        };
        if own::stat(&path)?.is_some_and(same) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Fills a folder with the new set and with what is carried over.
pub(super) fn lay_out(
    site: &Site,
    next: &Path,
    publication: &Publication<'_>,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    return_parts(site, next, room)?;
    own::create_folder(next)?;
    if let Some(parent) = fs::permissions_of(&site.live)? {
        fs::set_permissions(next, parent)?;
    }
    let mut sources = live_sources(site, publication)?;
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
                room.link(&from, &to)?
            };
            if copied.is_some_and(|digest| digest != part.digest) {
                return Err(StoreError::Part(part.name.clone()));
            }
        } else if let Some(twin) = placed.get(&part.digest) {
            // Equal parts are different files, so that altering one does not alter the other.
            copy_part(twin, &to, part)?;
        } else {
            place_staged(&to, part, room)?;
        }
        placed.entry(part.digest).or_insert(to);
    }
    for entry in fs::list(&site.live, |_| false)?
        .filter(|_| next == site.next)
        .unwrap_or_default()
    {
        // What is no file, a link among them, follows after the exchange, and so does what can have
        // no second name: a copy would not be it.
        let from = site.live.join(&entry.relative);
        if entry.relative.to_str().is_some_and(fs::is_hidden) && entry.is_file && !entry.is_link {
            fs::link(&from, &next.join(&entry.relative))?;
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
fn live_sources(
    site: &Site,
    publication: &Publication<'_>,
) -> Result<BTreeMap<Fingerprint, BTreeMap<OsString, PathBuf>>, StoreError> {
    let mut sources: BTreeMap<Fingerprint, BTreeMap<OsString, PathBuf>> = BTreeMap::new();
    let Some(receipt) = publication.receipt else {
        return Ok(sources);
    };
    for (path, digest) in latest::parts(site, receipt)? {
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
        let path = site.live.join(&part.name);
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
fn place_staged(to: &Path, part: &Part, room: &Room<'_>) -> Result<(), StoreError> {
    match room.staged.take(&part.digest, to, room.keep)? {
        Taken::Absent => return Err(StoreError::Part(part.name.clone())),
        Taken::Copied => room.note_copied_from_staging(part.digest),
        Taken::Moved => {}
    }
    let is_whole = own::stat(to)?.is_some_and(|found| found.stat.size == part.bytes);
    if is_whole {
        Ok(())
    } else {
        Err(StoreError::Part(part.name.clone()))
    }
}

fn copy_part(from: &Path, to: &Path, part: &Part) -> Result<(), StoreError> {
    let (digest, _) = own::copy(from, to, |_| Ok(()))?;
    if Fingerprint::from_bytes(digest) == part.digest {
        Ok(())
    } else {
        Err(StoreError::Part(part.name.clone()))
    }
}
