//! What a store needs to publish parts: where they lie, what makes them durable, and a
//! place for notes.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::fingerprint::Fingerprint;
use crate::fs::{self, Barriers, FsError, LinkOutcome, Linker};

/// What a store needs to publish parts.
#[derive(Debug)]
pub struct PublishContext<'a> {
    /// Where staged parts lie.
    pub staging: &'a dyn StagedParts,
    barriers: &'a Barriers,
    /// What becomes of a staged part that is published.
    pub keep_staged: KeepStaged,
    /// This moment, as the name of a folder for what is put aside.
    pub timestamp: String,
    notes: Mutex<PublishNotes>,
    copied_parts: Mutex<CopiedParts>,
}

/// What was copied to another filesystem and is let go when the copies are durable.
#[derive(Debug, Default)]
struct CopiedParts {
    /// Files that are in staging now.
    to_staging: Vec<PathBuf>,
    /// Parts that a store has now.
    from_staging: Vec<Fingerprint>,
}

/// What a store did besides what it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishNotes {
    /// Files that hygge did not make, or that someone altered: where they are now.
    pub displaced: Vec<PathBuf>,
    /// The folder below which they have the names that they had in the store.
    pub displaced_folder: Option<PathBuf>,
    /// What became of a publication that had died.
    pub recovery: Option<Recovery>,
    /// What is to be known of what was made, in words.
    pub remarks: Vec<String>,
}

/// What became of a publication that had died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The new set is in its place.
    Finished,
    /// The old set is in its place, and the parts of the new one are in staging.
    Undone,
}

impl<'a> PublishContext<'a> {
    /// A context with the time of now.
    pub fn new(staged: &'a dyn StagedParts, barriers: &'a Barriers, keep: KeepStaged) -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let moment = since.as_millis().to_string();
        Self {
            staging: staged,
            barriers,
            keep_staged: keep,
            timestamp: moment,
            notes: Mutex::default(),
            copied_parts: Mutex::default(),
        }
    }

    /// Returns when everything that was written is on the disks of these folders.
    pub fn sync(&self, folders: &[&Path]) -> Result<(), FsError> {
        self.barriers.wait_for(folders)
    }

    /// Notes a file that was copied to staging.
    pub fn note_copied_to_staging(&self, file: PathBuf) {
        self.lock_copied_parts().to_staging.push(file);
    }

    /// Notes a part that was copied out of staging.
    pub fn note_copied_from_staging(&self, digest: Fingerprint) {
        self.lock_copied_parts().from_staging.push(digest);
    }

    /// Removes the files that were copied to staging, once the copies are durable.
    pub fn remove_copied_files(&self) -> Result<(), FsError> {
        let files = std::mem::take(&mut self.lock_copied_parts().to_staging);
        if !files.is_empty() {
            self.sync(&[self.staging.folder()])?;
        }
        files.iter().try_for_each(|file| fs::remove_file(file))
    }

    /// Removes from staging what was copied to a store, which is durable.
    pub fn remove_copied_parts(&self) -> Result<(), FsError> {
        let parts = std::mem::take(&mut self.lock_copied_parts().from_staging);
        parts
            .iter()
            .try_for_each(|digest| self.staging.remove_copied(digest))
    }

    fn lock_copied_parts(&self) -> MutexGuard<'_, CopiedParts> {
        self.copied_parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A second name for a file, or a copy where it can have none: then its digest, and it is said
    /// once in a run.
    ///
    /// # Errors
    /// It can be neither linked nor copied.
    pub fn link_or_copy(&self, from: &Path, to: &Path) -> Result<Option<Fingerprint>, FsError> {
        let links = self.staging.linker();
        match links.link_or_copy(from, to)? {
            LinkOutcome::Linked => Ok(None),
            LinkOutcome::Copied(digest) => {
                if links.is_first_report() {
                    let folder = to.parent().unwrap_or(to).display();
                    self.note_remark(format!(
                        "files that stay are copied: they can have no second names in {folder}, or are another user's"
                    ));
                }
                Ok(Some(Fingerprint::from_bytes(digest)))
            }
        }
    }

    /// Notes a file that was put aside into a folder, and where it is now.
    pub fn note_displaced(&self, folder: PathBuf, place: PathBuf) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.displaced.push(place);
        notes.displaced_folder = Some(folder);
    }

    /// Notes what became of a publication that had died.
    pub fn note_recovery(&self, recovery: Recovery) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recovery = Some(recovery);
    }

    /// Notes what is to be known of what was made.
    pub fn note_remark(&self, remark: String) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remarks
            .push(remark);
    }

    /// What was noted.
    pub fn into_notes(self) -> PublishNotes {
        self.notes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where finished parts lie while no store has them.
pub trait StagedParts: Debug + Sync {
    /// The path of a part, by its digest; its folder exists.
    ///
    /// # Errors
    /// The folder cannot be made.
    fn make_part_path(&self, digest: &Fingerprint) -> Result<PathBuf, FsError>;

    /// A path in staging for what is not whole yet.
    ///
    /// # Errors
    /// Its folder cannot be made.
    fn temp_path(&self) -> Result<PathBuf, FsError>;

    /// The folder with all of them.
    fn folder(&self) -> &Path;

    /// What gives files second names, as long as the run.
    fn linker(&self) -> &Linker;

    /// Puts a part where a store wants it, by a clone, a move or a copy.
    /// Whoever else in this process counts on the part still finds it.
    ///
    /// # Errors
    /// It can be neither moved nor copied.
    fn move_out(
        &self,
        digest: &Fingerprint,
        to: &Path,
        keep: KeepStaged,
    ) -> Result<MoveOutcome, FsError>;

    /// Removes a part that was [copied](MoveOutcome::Copied), unless someone else counts on it.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_copied(&self, digest: &Fingerprint) -> Result<(), FsError>;
}

/// How a part came out of staging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveOutcome {
    /// It is where it was wanted.
    Moved,
    /// It is there, on another filesystem: staging has it until that is durable, and it is [let
    /// go](StagedParts::remove_copied).
    Copied,
    /// It is not there, or is damaged.
    Missing,
}

/// Whether staging keeps its own copy of a part that is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepStaged {
    /// Where the filesystem can share blocks, because that costs nothing.
    #[default]
    Auto,
    /// Always, by a copy where blocks cannot be shared.
    Always,
    /// Never: a part lives in one place.
    Never,
}
