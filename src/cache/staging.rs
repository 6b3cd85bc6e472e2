//! Staging: finished parts in files that are named after their digest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::CacheError;
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Cloner, DirEntry, File, FsError, Linker, Lock, nofollow};
use crate::store::context::{KeepStaged, MoveOutcome, StagedParts};

/// The folder of finished parts.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    /// Where this run writes what is not finished; its own, made when it begins to build.
    run_folder: Mutex<Option<RunFolder>>,
    next_number: AtomicU64,
    cloner: Cloner,
    linker: Linker,
    /// How many parts of running flows are to be published from each staged file.
    claims: Mutex<HashMap<Fingerprint, usize>>,
}

/// The folder for unfinished parts of one run: locked as long as it goes on, removed at its end.
#[derive(Debug)]
struct RunFolder {
    folder: PathBuf,
    _lock: Lock,
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the next build begins.
        drop(
            fs::remove_file(&self.folder.join("lock"))
                .and_then(|()| fs::remove_empty_folder(&self.folder)),
        );
    }
}

/// A part that is being written: it is gone when this is dropped, unless it was finished.
#[derive(Debug)]
pub struct UnfinishedPart {
    path: PathBuf,
    finished: bool,
}

impl Staging {
    /// The staging at a folder, which is made by [`Staging::prepare`].
    pub fn new(folder: PathBuf) -> Self {
        let (run, unfinished, claims) = (Mutex::default(), AtomicU64::new(0), Mutex::default());
        Self {
            folder,
            run_folder: run,
            next_number: unfinished,
            cloner: Cloner::default(),
            linker: Linker::default(),
            claims,
        }
    }

    /// Removes what dead runs left half done. Where there is something, `check` says first whether
    /// that may be.
    pub fn clear_unfinished(
        &self,
        check: impl FnOnce() -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let found = nofollow::list(&self.tmp_folder(), |_| false)?.unwrap_or_default();
        if !found.is_empty() {
            check()?;
        }
        for entry in found {
            let folder = self.tmp_folder().join(&entry.relative);
            if !entry.is_folder {
                fs::remove_file(&folder)?;
                continue;
            }
            // A living run has its own locked.
            if let Some(_lock) = Lock::try_lock_folder(&folder)? {
                fs::remove_folder(&folder)?;
            }
        }
        Ok(())
    }

    /// The folder of this run, which nobody else writes to.
    fn run_folder(&self) -> Result<PathBuf, FsError> {
        let mut run = self
            .run_folder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(scratch) = run.as_ref() {
                return Ok(scratch.folder.clone());
            }
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            let folder =
                self.tmp_folder()
                    .join(format!("{}-{}", std::process::id(), since.as_nanos()));
            nofollow::create_folder(&folder)?;
            *run = Lock::try_lock_folder(&folder)?.map(|lock| RunFolder {
                folder,
                _lock: lock,
            });
        }
    }

    /// Nothing more will be written by this run.
    pub fn end_run(&self) {
        drop(
            self.run_folder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// A new place to write a part to.
    pub fn begin_part(&self) -> Result<UnfinishedPart, FsError> {
        Ok(UnfinishedPart {
            path: self.temp_path()?,
            finished: false,
        })
    }

    /// Every finished part by its digest. Nothing is read but folders and stats.
    pub fn parts(&self) -> Result<Vec<(Fingerprint, PathBuf, DirEntry)>, FsError> {
        let mut parts = Vec::new();
        for folder in nofollow::list(&self.folder, |name| name == "tmp")?
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.is_folder)
        {
            let folder = self.folder.join(folder.relative);
            for entry in nofollow::list(&folder, |_| false)?.unwrap_or_default() {
                let digest = entry.relative.to_str().and_then(|name| name.parse().ok());
                parts.extend(
                    digest
                        .filter(|_| entry.is_file)
                        .map(|digest| (digest, folder.join(&entry.relative), entry)),
                );
            }
        }
        Ok(parts)
    }

    /// Makes a part a clone of a file, which shares its blocks; false where the filesystem cannot.
    pub fn try_clone_file(&self, part: &UnfinishedPart, source: &Path) -> bool {
        self.cloner.clone_file(source, &part.path, fs::open)
    }

    /// Names a part after its digest, under which it stays until it is
    /// [taken](StagedParts::move_out).
    pub fn finish(&self, mut part: UnfinishedPart, digest: &Fingerprint) -> Result<(), FsError> {
        let location = self.make_part_path(digest)?;
        // Together, so that nobody moves it away between the two.
        let mut claims = self.claims();
        match fs::rename(&part.path, &location) {
            Err(error) if error.is_folder() => {
                fs::rename(&location, &fs::unused_path(&self.folder, "damaged"))?;
                fs::rename(&part.path, &location)?;
            }
            renamed => renamed?,
        }
        *claims.entry(*digest).or_default() += 1;
        part.finished = true;
        Ok(())
    }

    /// How many parts of running flows count on each staged file.
    fn claims(&self) -> MutexGuard<'_, HashMap<Fingerprint, usize>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a staged part; `None` where it is not there.
    pub fn size(&self, digest: &Fingerprint) -> Result<Option<u64>, FsError> {
        Ok(nofollow::stat(&self.part_path(digest))?
            .filter(|found| found.is_file)
            .map(|found| found.stat.size))
    }

    /// True where the staged part has the digest that it is named after: then it stays until it is
    /// taken. A damaged one is removed.
    pub fn verify(&self, digest: &Fingerprint) -> Result<bool, FsError> {
        let path = self.part_path(digest);
        *self.claims().entry(*digest).or_default() += 1;
        // What cannot be read is as good as not there: it is made again, and takes its place.
        let found = nofollow::open(&path)
            .ok()
            .and_then(|file| Fingerprint::hash_reader(&file, |_| Ok(())).ok())
            .map(|(digest, _)| digest);
        if found == Some(*digest) {
            return Ok(true);
        }
        let mut claims = self.claims();
        if release_claim(&mut claims, digest) == 0 && found.is_some() {
            fs::remove_file(&path)?;
        }
        Ok(false)
    }

    /// Where a finished part lies, if it is there.
    pub fn part_path(&self, digest: &Fingerprint) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    fn tmp_folder(&self) -> PathBuf {
        self.folder.join("tmp")
    }
}

impl StagedParts for Staging {
    fn make_part_path(&self, digest: &Fingerprint) -> Result<PathBuf, FsError> {
        let path = self.part_path(digest);
        if let Some(folder) = path.parent() {
            nofollow::create_folder(folder)?;
        }
        Ok(path)
    }

    fn temp_path(&self) -> Result<PathBuf, FsError> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        Ok(self.run_folder()?.join(number.to_string()))
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn linker(&self) -> &Linker {
        &self.linker
    }

    fn remove_copied(&self, digest: &Fingerprint) -> Result<(), FsError> {
        let mut claims = self.claims();
        if release_claim(&mut claims, digest) == 0 {
            fs::remove_file(&self.part_path(digest))
        } else {
            Ok(())
        }
    }

    fn move_out(
        &self,
        digest: &Fingerprint,
        to: &Path,
        keep: KeepStaged,
    ) -> Result<MoveOutcome, FsError> {
        let from = self.part_path(digest);
        if keep != KeepStaged::Never && self.cloner.clone_file(&from, to, nofollow::open) {
            release_claim(&mut self.claims(), digest);
            return Ok(MoveOutcome::Moved);
        }
        {
            let mut claims = self.claims();
            let is_last = claims.get(digest).is_none_or(|count| *count <= 1);
            if is_last && keep != KeepStaged::Always {
                match fs::rename(&from, to) {
                    Ok(()) => {
                        release_claim(&mut claims, digest);
                        return Ok(MoveOutcome::Moved);
                    }
                    Err(error) if error.is_not_found() => return Ok(MoveOutcome::Missing),
                    Err(error) if error.is_cross_device() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let is_copied = match nofollow::copy(&from, to, |_| Ok(())) {
            Ok((copied, _)) => Fingerprint::from_bytes(copied) == *digest,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        let mut claims = self.claims();
        let is_last = claims.get(digest).is_none_or(|count| *count <= 1);
        if is_copied && is_last && keep != KeepStaged::Always {
            return Ok(MoveOutcome::Copied);
        }
        release_claim(&mut claims, digest);
        Ok(if is_copied {
            MoveOutcome::Moved
        } else {
            MoveOutcome::Missing
        })
    }
}

impl UnfinishedPart {
    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The new, empty file.
    pub fn create(&self) -> Result<File, FsError> {
        nofollow::create(&self.path)
    }
}

impl Drop for UnfinishedPart {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed when the next build begins.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// One part less counts on a staged file; gives how many still do.
fn release_claim(claims: &mut HashMap<Fingerprint, usize>, digest: &Fingerprint) -> usize {
    let left = claims.remove(digest).unwrap_or_default().saturating_sub(1);
    if left > 0 {
        claims.insert(*digest, left);
    }
    left
}
