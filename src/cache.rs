//! The cache: finished parts by their digest, and the index of what was made from what.
//!
//! It may be deleted at any time: the receipts of the stores say what is published.

pub mod index;
pub mod recorder;
pub mod staging;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, ErrorKind};
use crate::fs::{self, FsError, Lock, LockError};

use index::{Index, KnownStore};
use staging::Staging;

/// How long another build may take to clear the cache.
const A_MOMENT: Duration = Duration::from_secs(10);

/// How often a lock is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The cache of one project, as long as one command runs.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// What was made from what.
    pub index: Index,
    /// Finished parts.
    pub staging: Staging,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The index was written by a newer hygge.
    #[error("the index {} has version {found}, and this hygge knows version {known}", path.display())]
    Newer {
        /// The index.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The index cannot be read or written.
    #[error("failed to use the index {}: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
        /// True where the file is no index, or one of an older hygge: a new one can take its place.
        is_damaged: bool,
    },
    /// Another process has the cache for itself.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        let hint = match &error {
            CacheError::Newer { .. } => "use that hygge, or delete the cache: what is fresh stays fresh",
            CacheError::Index { .. } => "if it stays so, delete the index: it is made anew, and what is fresh stays fresh",
            CacheError::Lock(_) => "wait until it has ended",
            CacheError::Fs(_) => "options.cache.dir names another folder for the cache",
        };
        let kind = if matches!(error, CacheError::Lock(LockError::Held(_))) { ErrorKind::Locked } else { ErrorKind::Start };
        Self::new(kind, error).with_hint(hint)
    }
}

impl Cache {
    /// Opens the cache, and makes it where it is missing. Gives every store that is known, too.
    pub async fn open(folder: &Path) -> Result<(Self, HashMap<PathBuf, KnownStore>), CacheError> {
        fs::create_folder(folder)?;
        fs::check_writable(folder)?;
        // Two that open it for the first time would both set it up.
        let opening = Lock::wait_exclusive(&folder.join("index.lock"))?;
        let (index, stores) = Index::open(&folder.join("index.db")).await?;
        drop(opening);
        Ok((Self { folder: folder.to_path_buf(), index, staging: Staging::new(folder.join("staging")) }, stores))
    }

    /// Makes ready for writing parts: the lock is shared with other builds, and what dead runs
    /// left half done is removed while nobody else is there. Who has the cache alone is waited for.
    pub fn prepare(&self, wait: Option<Duration>) -> Result<Lock, CacheError> {
        self.staging.create()?;
        let path = self.folder.join("lock");
        if let Ok(alone) = Lock::try_exclusive(&path, "") {
            self.staging.clear_unfinished()?;
            drop(alone);
        }
        // Another build may be clearing too, which takes a moment whatever was asked for.
        let wait = wait.map(|wait| wait.max(A_MOMENT));
        let began = Instant::now();
        loop {
            match Lock::try_shared(&path) {
                Err(LockError::Held(_)) if wait.is_none_or(|wait| began.elapsed() < wait) => std::thread::sleep(PAUSE),
                other => return Ok(other?),
            }
        }
    }

    /// A new folder for files that someone altered in a store, named after the flow and this moment.
    pub fn displaced(&self, flow: &str) -> PathBuf {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.folder.join("displaced").join(flow).join(now.as_millis().to_string())
    }
}
