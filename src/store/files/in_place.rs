//! Publishing file by file, for folders that cannot be renamed: `publish: in_place`.
//!
//! Each file is replaced at once, the set is not: a reader may meet files of both sets. What is
//! laid out and what is put aside lies inside the folder, on its filesystem, in a hidden folder of
//! its own.

use std::collections::{HashMap, HashSet};

use super::old::retire;
use super::parts::{is_part, put_aside, return_parts, shelve};
use super::publish::{intent, lay_out};
use super::{Site, latest, write_receipt};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, own};
use crate::store::receipt::{Manifest, Part, Published, Receipt};
use crate::store::room::Room;
use crate::store::{Publication, StoreError};

/// Puts the new set in the place of the old one, file by file.
pub(super) fn publish(
    site: &Site,
    publication: &Publication<'_>,
    room: &Room<'_>,
) -> Result<Receipt, StoreError> {
    retire(site, publication.receipt, room)?;
    own::create_folder(&site.inside)?;
    let adopted = super::publish::adopted(site, publication)?;
    lay_out(site, &site.next_inside(), publication, room)?;
    // The store may be a filesystem of its own, and what is laid out lies there: recovery goes on
    // from the intent.
    room.sync(&[&site.live])?;
    let mut receipt = Receipt {
        pending_in_place: true,
        ..intent(publication, adopted)
    };
    write_receipt(site, &receipt)?;
    room.sync(&[&site.hidden])?;
    finish(site, &mut receipt, Some(publication.altered), room)?;
    write_receipt(site, &receipt)?;
    Ok(receipt)
}

/// Does what is left once the intent is written. It may be done again and again: what is in its
/// place already is left there. `altered` are the names that someone altered, as far as that is
/// known.
pub(super) fn finish(
    site: &Site,
    receipt: &mut Receipt,
    altered: Option<&[String]>,
    room: &Room<'_>,
) -> Result<(), StoreError> {
    let Some(pending) = receipt.pending.take() else {
        return Ok(());
    };
    let next = site.next_inside();
    let leaving = Leaving::new(site, receipt, &pending, altered, room);
    if receipt.published.is_none() {
        take_over(site, &pending.manifest, room)?;
    }
    for part in &pending.manifest.parts {
        let (from, to) = (next.join(&part.name), site.live.join(&part.name));
        let Some(laid_out) = own::stat(&from)?
            .filter(|laid_out| laid_out.is_file && laid_out.stat.size == part.bytes)
        else {
            continue;
        };
        if own::stat(&to)?.is_some_and(|there| there.stat.inode == laid_out.stat.inode) {
            // Two names of one file: the one in the store was the right one already.
            fs::remove_file(&from)?;
        } else {
            leaving.make_way(&part.name)?;
            fs::rename(&from, &to)?;
        }
    }
    let stays: HashSet<&str> = pending
        .manifest
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    for name in leaving
        .parts
        .keys()
        .filter(|name| !stays.contains(name.as_str()))
    {
        leaving.leave(name)?;
    }
    return_parts(site, &next, room)?;
    room.sync(&[&site.live])?;
    room.let_go_of_parts()?;
    receipt.succeed(pending);
    Ok(())
}

/// The set that goes.
struct Leaving<'a> {
    site: &'a Site,
    room: &'a Room<'a>,
    parts: HashMap<String, Part>,
    /// When it was published.
    at: String,
    /// The names that someone altered; where that is not known, everything is digested.
    altered: Option<HashSet<String>>,
    /// What the latest set has, which stays beside the store.
    of_latest: HashSet<Fingerprint>,
    /// What the new set has.
    coming: HashSet<Fingerprint>,
}

impl<'a> Leaving<'a> {
    fn new(
        site: &'a Site,
        receipt: &Receipt,
        pending: &Published,
        altered: Option<&[String]>,
        room: &'a Room<'a>,
    ) -> Self {
        let latest = pending.pinned.and_then(|_| receipt.latest());
        let (parts, at) = match &receipt.published {
            Some(published) => (published.manifest.parts.as_slice(), published.at.clone()),
            None => (&[][..], String::new()),
        };
        let parts = parts
            .iter()
            .map(|part| (part.name.clone(), part.clone()))
            .collect();
        let altered = altered.map(|names| names.iter().cloned().collect());
        Self {
            site,
            room,
            parts,
            at,
            altered,
            of_latest: latest::digests(latest),
            coming: latest::digests(Some(pending)),
        }
    }

    /// The part that has a name, if it is what has it now; what someone else put there goes aside.
    fn part(&self, name: &str) -> Result<Option<&Part>, StoreError> {
        let path = self.site.live.join(name);
        let Some(found) = own::stat(&path)? else {
            return Ok(None);
        };
        let is_altered = self
            .altered
            .as_ref()
            .is_some_and(|altered| altered.contains(name));
        let part = self.parts.get(name).filter(|_| !is_altered);
        // Whatever its time says, where nobody has looked at it under the lock.
        let at = if self.altered.is_some() { &self.at } else { "" };
        match part {
            Some(part) if is_part(&path, &found, part, at)? => Ok(Some(part)),
            _ => {
                put_aside(self.site, &path, name, self.room)?;
                Ok(None)
            }
        }
    }

    /// Another part is about to take a name: the old one is kept as history.
    fn make_way(&self, name: &str) -> Result<(), StoreError> {
        // What is in the new set too is no history, and two stores may never come to share a file.
        let Some(part) = self
            .part(name)?
            .filter(|part| !self.coming.contains(&part.digest))
        else {
            return Ok(());
        };
        let path = self.site.live.join(name);
        let is_of_latest = self.of_latest.contains(&part.digest);
        let place = if is_of_latest {
            own::create_folder(&self.site.latest())?;
            self.site.latest().join(part.digest.to_string())
        } else {
            self.room.staged.place(&part.digest)?
        };
        if own::stat(&place)?.is_some() {
            return Ok(());
        }
        match fs::link(&path, &place) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.is_other_filesystem() => {}
            Err(error) => return Err(error.into()),
        }
        let copy = if is_of_latest {
            place.with_extension("copy")
        } else {
            self.room.staged.scratch()?
        };
        fs::remove_file(&copy)?;
        let (copied, _) = own::copy(&path, &copy, |_| Ok(()))?;
        if Fingerprint::from_bytes(copied) == part.digest {
            Ok(fs::rename(&copy, &place)?)
        } else {
            Ok(fs::remove_file(&copy)?)
        }
    }

    /// Nothing takes a name.
    fn leave(&self, name: &str) -> Result<(), StoreError> {
        let Some(part) = self.part(name)? else {
            return Ok(());
        };
        let path = self.site.live.join(name);
        if self.of_latest.contains(&part.digest) {
            latest::keep(self.site, &path, &part.digest)
        } else {
            shelve(self.site, &path, &part.digest, self.room)
        }
    }
}

/// What is in a folder that hygge had not made goes aside. What was put into its place already
/// stays.
fn take_over(site: &Site, manifest: &Manifest, room: &Room<'_>) -> Result<(), StoreError> {
    let next = site.next_inside();
    let ours: HashSet<&str> = manifest
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    for entry in fs::list(&site.live, fs::is_hidden)?.unwrap_or_default() {
        let name = entry.relative.to_string_lossy().into_owned();
        let is_ours = ours.contains(name.as_str()) && own::stat(&next.join(&name))?.is_none();
        if !is_ours {
            put_aside(site, &site.live.join(&entry.relative), &name, room)?;
        }
    }
    Ok(())
}
