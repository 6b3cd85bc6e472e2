//! Publishing file by file, for folders that cannot be renamed: `publish: in_place`.
//!
//! Each file is replaced at once, the set is not: a reader may meet files of both sets. What is
//! laid out and what is put aside lies inside the folder, on its filesystem, in a hidden folder of
//! its own.

use std::collections::{HashMap, HashSet};

use super::latest_set;
use super::parts::{displace, is_unaltered_part, move_to_staging, return_to_staging};
use super::paths::FilesStorePaths;
use super::previous_set::retire_previous;
use super::publish::{lay_out, pending_receipt};
use super::receipt_file::write_receipt;
use super::set_folder::{create_parent, list_live, remove_empty_partitions};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, nofollow};
use crate::store::context::PublishContext;
use crate::store::receipt::{Manifest, Part, PublishedSet, Receipt};
use crate::store::{Publication, StoreError};

/// Puts the new set in the place of the old one, file by file.
pub(super) fn publish(
    paths: &FilesStorePaths,
    publication: &Publication<'_>,
    context: &PublishContext<'_>,
) -> Result<Receipt, StoreError> {
    retire_previous(paths, publication.receipt, context)?;
    nofollow::create_folder(&paths.inner_hygge_folder)?;
    let adopted = super::publish::adopted_files(paths, publication)?;
    lay_out(paths, &paths.inner_next(), publication, context)?;
    // The store may be a filesystem of its own, and what is laid out lies there: recovery goes on
    // from the intent.
    context.sync(&[&paths.live])?;
    let mut receipt = Receipt {
        pending_in_place: true,
        ..pending_receipt(publication, adopted)
    };
    write_receipt(paths, &receipt)?;
    context.sync(&[&paths.hygge_folder])?;
    finish(paths, &mut receipt, Some(publication.altered), context)?;
    write_receipt(paths, &receipt)?;
    Ok(receipt)
}

/// Does what is left once the intent is written. It may be done again and again: what is in its
/// place already is left there. `altered` are the names that someone altered, as far as that is
/// known.
pub(super) fn finish(
    paths: &FilesStorePaths,
    receipt: &mut Receipt,
    altered: Option<&[String]>,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let Some(pending) = receipt.pending.take() else {
        return Ok(());
    };
    let next = paths.inner_next();
    let outgoing = OutgoingSet::new(paths, receipt, &pending, altered, context);
    if receipt.published.is_none() {
        displace_foreign_files(paths, &pending.manifest, context)?;
    }
    for part in &pending.manifest.parts {
        let (from, to) = (next.join(&part.name), paths.live.join(&part.name));
        let Some(laid_out) = nofollow::stat(&from)?
            .filter(|laid_out| laid_out.is_file && laid_out.stat.size == part.bytes)
        else {
            continue;
        };
        if nofollow::stat(&to)?.is_some_and(|there| there.stat.inode == laid_out.stat.inode) {
            // Two names of one file: the one in the store was the right one already.
            fs::remove_file(&from)?;
        } else {
            outgoing.archive_part(&part.name)?;
            create_parent(&to)?;
            fs::rename(&from, &to)?;
        }
    }
    let stays: HashSet<&str> = pending
        .manifest
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    for name in outgoing
        .parts
        .keys()
        .filter(|name| !stays.contains(name.as_str()))
    {
        outgoing.retire_part(name)?;
    }
    return_to_staging(paths, &next, context)?;
    if let Some(published) = &receipt.published {
        let folders = published.manifest.folders();
        remove_empty_partitions(&paths.live, folders.into_iter())?;
    }
    context.sync(&[&paths.live])?;
    context.remove_copied_parts()?;
    receipt.promote(pending);
    Ok(())
}

/// The set that goes.
struct OutgoingSet<'a> {
    paths: &'a FilesStorePaths,
    context: &'a PublishContext<'a>,
    parts: HashMap<String, Part>,
    /// When it was published.
    published_at: String,
    /// The names that someone altered; where that is not known, everything is digested.
    altered: Option<HashSet<String>>,
    /// What the latest set has, which stays beside the store.
    latest_digests: HashSet<Fingerprint>,
    /// What the new set has.
    incoming_digests: HashSet<Fingerprint>,
}

impl<'a> OutgoingSet<'a> {
    fn new(
        paths: &'a FilesStorePaths,
        receipt: &Receipt,
        pending: &PublishedSet,
        altered: Option<&[String]>,
        context: &'a PublishContext<'a>,
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
            paths,
            context,
            parts,
            published_at: at,
            altered,
            latest_digests: latest_set::part_digests(latest),
            incoming_digests: latest_set::part_digests(Some(pending)),
        }
    }

    /// The part that has a name, if it is what has it now; what someone else put there goes aside.
    fn unaltered_part(&self, name: &str) -> Result<Option<&Part>, StoreError> {
        let path = self.paths.live.join(name);
        let Some(found) = nofollow::stat(&path)? else {
            return Ok(None);
        };
        let is_altered = self
            .altered
            .as_ref()
            .is_some_and(|altered| altered.contains(name));
        let part = self.parts.get(name).filter(|_| !is_altered);
        // Whatever its time says, where nobody has looked at it under the lock.
        let at = if self.altered.is_some() {
            &self.published_at
        } else {
            ""
        };
        match part {
            Some(part) if is_unaltered_part(&path, &found, part, at)? => Ok(Some(part)),
            _ => {
                displace(self.paths, &path, name, self.context)?;
                Ok(None)
            }
        }
    }

    /// Another part is about to take a name: the old one is kept as history.
    fn archive_part(&self, name: &str) -> Result<(), StoreError> {
        // What is in the new set too is no history, and two stores may never come to share a file.
        let Some(part) = self
            .unaltered_part(name)?
            .filter(|part| !self.incoming_digests.contains(&part.digest))
        else {
            return Ok(());
        };
        let path = self.paths.live.join(name);
        let is_of_latest = self.latest_digests.contains(&part.digest);
        let place = if is_of_latest {
            nofollow::create_folder(&self.paths.latest_set())?;
            self.paths.latest_set().join(part.digest.to_string())
        } else {
            self.context.staging.make_part_path(&part.digest)?
        };
        if nofollow::stat(&place)?.is_some() {
            return Ok(());
        }
        match fs::link(&path, &place) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.is_cross_device() => {}
            Err(error) => return Err(error.into()),
        }
        let copy = if is_of_latest {
            place.with_extension("copy")
        } else {
            self.context.staging.temp_path()?
        };
        fs::remove_file(&copy)?;
        let (copied, _) = nofollow::copy(&path, &copy, |_| Ok(()))?;
        if Fingerprint::from_bytes(copied) == part.digest {
            Ok(fs::rename(&copy, &place)?)
        } else {
            Ok(fs::remove_file(&copy)?)
        }
    }

    /// Nothing takes a name.
    fn retire_part(&self, name: &str) -> Result<(), StoreError> {
        let Some(part) = self.unaltered_part(name)? else {
            return Ok(());
        };
        let path = self.paths.live.join(name);
        if self.latest_digests.contains(&part.digest) {
            latest_set::keep_part(self.paths, &path, &part.digest)
        } else {
            move_to_staging(self.paths, &path, &part.digest, self.context)
        }
    }
}

/// What is in a folder that hygge had not made goes aside. What was put into its place already
/// stays.
fn displace_foreign_files(
    paths: &FilesStorePaths,
    manifest: &Manifest,
    context: &PublishContext<'_>,
) -> Result<(), StoreError> {
    let next = paths.inner_next();
    let ours: HashSet<&str> = manifest
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    for entry in list_live(&paths.live, fs::is_hidden)?.unwrap_or_default() {
        let name = entry.relative.to_string_lossy().into_owned();
        let is_ours = ours.contains(name.as_str()) && nofollow::stat(&next.join(&name))?.is_none();
        if !is_ours {
            displace(paths, &paths.live.join(&entry.relative), &name, context)?;
        }
    }
    Ok(())
}
