//! Staging: finished parts in files that are named after their digest.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fingerprint::Fingerprint;
use crate::fs::{self, Cloner, File, FsError};
use crate::store::StagedParts;

/// The folder of finished parts.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    unfinished: AtomicU64,
    cloner: Cloner,
}

/// A part that is being written: it is gone when this is dropped, unless it was finished.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Staging {
    /// The staging at a folder, which is made by [`Staging::create`].
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, unfinished: AtomicU64::new(0), cloner: Cloner::default() }
    }

    /// Makes the folder.
    pub fn create(&self) -> Result<(), FsError> {
        fs::create_folder(&self.tmp())
    }

    /// Removes what dead runs left half done. Nobody else may be using the staging.
    pub fn clear_unfinished(&self) -> Result<(), FsError> {
        for entry in fs::list(&self.tmp(), |_| false)?.unwrap_or_default() {
            fs::remove_file(&self.tmp().join(entry.relative))?;
        }
        Ok(())
    }

    /// A new place to write a part to.
    pub fn begin(&self) -> Unfinished {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp().join(format!("{}-{number}", std::process::id()));
        Unfinished { path, finished: false }
    }

    /// Makes a part a clone of a file, which shares its blocks; false where the filesystem cannot.
    pub fn clone_into(&self, part: &Unfinished, source: &Path) -> bool {
        self.cloner.clone_file(source, &part.path)
    }

    /// Names a part after its digest, under which it stays.
    pub fn finish(&self, mut part: Unfinished, digest: &Fingerprint) -> Result<(), FsError> {
        fs::rename(&part.path, &self.place(digest)?)?;
        part.finished = true;
        Ok(())
    }

    /// The bytes of a staged part; `None` where it is not there.
    pub fn size(&self, digest: &Fingerprint) -> Result<Option<u64>, FsError> {
        Ok(fs::stat(&self.path(digest))?.map(|found| found.stat.size))
    }

    /// True where the staged part has the digest that it is named after; a damaged one is removed.
    pub fn verify(&self, digest: &Fingerprint) -> Result<bool, FsError> {
        let path = self.path(digest);
        if fs::stat(&path)?.is_none() {
            return Ok(false);
        }
        let file = fs::open(&path)?;
        let (found, _) = Fingerprint::of_file(&file, |_| Ok(())).map_err(FsError::at("read", &path))?;
        if found != *digest {
            fs::remove_file(&path)?;
        }
        Ok(found == *digest)
    }

    fn path(&self, digest: &Fingerprint) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }
}

impl StagedParts for Staging {
    fn place(&self, digest: &Fingerprint) -> Result<PathBuf, FsError> {
        let path = self.path(digest);
        if let Some(folder) = path.parent() {
            fs::create_folder(folder)?;
        }
        Ok(path)
    }

    fn clone_to(&self, digest: &Fingerprint, to: &Path) -> bool {
        self.cloner.clone_file(&self.path(digest), to)
    }
}

impl Unfinished {
    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The new, empty file.
    pub fn create(&self) -> Result<File, FsError> {
        fs::create(&self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed when the next build begins.
            drop(fs::remove_file(&self.path));
        }
    }
}
