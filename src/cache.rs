//! The cache: finished parts by their digest, and the index of what was made from what.
//!
//! It may be deleted at any time: the receipts of the stores say what is published.

pub mod gc;
pub mod history;
pub mod index;
pub mod ledger;
mod lock_wait;
pub mod recorder;
pub mod resolver;
pub mod staging;
mod tag;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Retry};
use crate::fs::{self, FsError, Lock, LockError, nofollow};

use crate::fingerprint::Fingerprint;
use index::{Index, IndexLocation, PartRecord};
use ledger::Ledger;
use lock_wait::{lock_for_opening, wait_for_lock};
use staging::{Staging, UnfinishedPart};
use tag::{TAG_NAME, check_tag, is_cache_entry, is_cache_folder, write_tag};

pub use lock_wait::{CacheLockWait, WaitCallback};

/// What to do where the index has no room.
const DISK_FULL_HINT: &str = "the disk is full: make room on it; what is published stays";

/// The lock of what takes a moment: making a folder a cache, opening its index, setting that aside.
const OPEN_LOCK_NAME: &str = "index.lock";

/// How long that is waited for at least, whatever was asked for: two that begin at the same time
/// meet there.
const MIN_OPEN_WAIT: Duration = Duration::from_secs(5);

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder {
    /// The folder, links resolved: below it there are none.
    pub real_path: PathBuf,
    /// The folder in which the config says it is: the history calls stores from there.
    pub root: PathBuf,
}

/// The cache of one project, as long as one command runs.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// What was made from what.
    pub index: Index,
    /// Finished parts.
    pub staging: Staging,
    /// What was made, as it happened.
    pub ledger: Ledger,
    /// Held as long as the command builds.
    shared_lock: Mutex<Option<Lock>>,
    is_writable: bool,
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
        /// True where there is no room for it.
        is_full: bool,
    },
    /// SQLite's driver needs a thread.
    #[error("{0}")]
    Threads(String),
    /// Another process has the cache for itself.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder is somebody else's.
    #[error("folder {} is to be the cache, and holds {name} without hygge's own {TAG_NAME}", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        name: String,
    },
    /// SQLite opens no file by such a path.
    #[error("folder {} is to be the cache, and its path is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// The run shall end.
    #[error("interrupted")]
    Interrupted,
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        let hint = match &error {
            CacheError::Newer { .. } => {
                "use that hygge, or delete the cache: what is fresh stays fresh"
            }
            CacheError::Index { is_full: true, .. } => DISK_FULL_HINT,
            CacheError::Index {
                is_damaged: true, ..
            } => "the next build sets it aside and begins a new one: what is fresh stays fresh",
            CacheError::Index { .. } => {
                "if it stays so, delete the index: it is made anew, and what is fresh stays fresh"
            }
            CacheError::Lock(LockError::Held(_)) => "wait until it has ended",
            CacheError::Lock(LockError::Fs(error)) => {
                error.hint().unwrap_or("move it away: it is made anew")
            }
            CacheError::Foreign { .. } => {
                "name a folder of its own by options.cache.dir, or one that is not there yet; a cache that lost its CACHEDIR.TAG may be removed whole"
            }
            CacheError::NotUtf8(_) => {
                "rename it or the folder that it lies in, or name another one by options.cache.dir"
            }
            CacheError::Interrupted => return Self::new(ErrorKind::Interrupted, error),
            CacheError::Threads(words) => return crate::error::thread_spawn::spawn_error(words),
            CacheError::Fs(error) if error.is_forbidden() => {
                "it belongs to another user, or the disk can only be read: change that, or name another folder for the cache by options.cache.dir"
            }
            CacheError::Fs(error) if error.source.kind() == io::ErrorKind::NotADirectory => {
                "a file is in its place: move it away, or name another folder for the cache by options.cache.dir"
            }
            CacheError::Fs(error) => error.hint().unwrap_or(
                "move it away, or name another folder for the cache by options.cache.dir",
            ),
        };
        let kind = if matches!(error, CacheError::Lock(LockError::Held(_))) {
            ErrorKind::Locked
        } else {
            ErrorKind::Start
        };
        let retry = match &error {
            CacheError::Index {
                is_damaged: true, ..
            } => Retry::NewIndex,
            _ => Retry::Never,
        };
        Self::new(kind, error).with_hint(hint).with_retry(retry)
    }
}

/// What a command wants of the cache.
#[derive(Clone, Debug)]
pub enum CacheAccess {
    /// It builds: it shares the cache with other builds, and waits for who has it alone.
    Build(CacheLockWait),
    /// It only looks: it never waits, and nothing is made where there is no cache.
    Inspect,
}

impl CacheAccess {
    /// How long the lock of what takes a moment is waited for.
    fn open_wait(&self) -> CacheLockWait {
        match self {
            Self::Build(wait) => CacheLockWait {
                limit: wait.limit.map(|limit| limit.max(MIN_OPEN_WAIT)),
                ..wait.clone()
            },
            Self::Inspect => CacheLockWait {
                limit: Some(MIN_OPEN_WAIT),
                interrupted: CancellationToken::new(),
                on_wait: WaitCallback::default(),
            },
        }
    }
}

impl Cache {
    /// Takes a part that was made: it lies in staging under its digest then, and its line is in the
    /// ledger, so that a process that dies now has made it. The one way in.
    ///
    /// # Errors
    /// It cannot be moved into its place, or the ledger not be written.
    pub fn commit(
        &self,
        key: &Fingerprint,
        unfinished: UnfinishedPart,
        record: PartRecord,
    ) -> crate::error::Result<PartRecord> {
        self.staging.finish(unfinished, &record.digest)?;
        self.ledger.add(key, &record).map_err(CacheError::from)?;
        Ok(record)
    }

    /// Copies a part into staging from the store where it lies; false where it must be made again.
    ///
    /// # Errors
    /// Staging cannot be read or written.
    pub fn copy_in(
        &self,
        record: &PartRecord,
        source: &Path,
        interrupted: &CancellationToken,
    ) -> Result<bool, FsError> {
        let unfinished = self.staging.begin_part()?;
        // Another store may have let it go meanwhile: then it is made.
        let Ok((digest, _)) = fs::copy(source, unfinished.path(), |_| {
            fs::check_interrupted(interrupted)
        }) else {
            return Ok(false);
        };
        let is_whole = Fingerprint::from_bytes(digest) == record.digest;
        if is_whole {
            self.staging.finish(unfinished, &record.digest)?;
        }
        Ok(is_whole)
    }

    /// Opens the cache; who builds makes it where it is missing.
    pub async fn open(
        CacheFolder {
            real_path: folder,
            root,
        }: &CacheFolder,
        access: CacheAccess,
    ) -> Result<Self, CacheError> {
        let path = folder.join("index.db");
        let is_marked = is_cache_folder(folder)?;
        let is_network = fs::stat(folder)?.is_some() && fs::is_network_filesystem(folder)?;
        let (staging, ledger) = (
            Staging::new(folder.join("staging")),
            Ledger::new(folder.join("staging/parts.log")),
        );
        let opening_wait = access.open_wait();
        let wait = match access {
            CacheAccess::Inspect if !is_usable(folder)? => {
                let index = Index::open(IndexLocation::ReadOnly(&path), root).await?;
                return Ok(Self {
                    folder: folder.to_path_buf(),
                    index,
                    staging,
                    ledger,
                    shared_lock: Mutex::default(),
                    is_writable: false,
                });
            }
            CacheAccess::Inspect => None,
            CacheAccess::Build(wait) => Some(wait),
        };
        if path.to_str().is_none() {
            return Err(CacheError::NotUtf8(folder.clone()));
        }
        if !is_marked {
            nofollow::create_folder(folder)?;
        }
        fs::check_folder_writable(folder)?;
        if !is_marked {
            write_tag(folder, &opening_wait).await?;
        }
        let shared = match wait {
            Some(wait) => {
                Some(wait_for_lock(&wait, || Lock::try_shared(&folder.join("lock"))).await?)
            }
            None => None,
        };
        // Two that open it for the first time would both set it up.
        let opening = lock_for_opening(folder, &opening_wait).await?;
        let index = Index::open(
            IndexLocation::Writable {
                path: &path,
                is_network,
            },
            root,
        )
        .await?;
        drop(opening);
        if shared.is_some() {
            staging.clear_unfinished(|| check_tag(folder))?;
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            index,
            staging,
            ledger,
            shared_lock: Mutex::new(shared),
            is_writable: true,
        })
    }

    /// What would keep a build from using a cache, as far as that shows without making or changing
    /// anything.
    ///
    /// # Errors
    /// Something would.
    pub async fn check(
        CacheFolder {
            real_path: folder,
            root,
        }: &CacheFolder,
    ) -> Result<(), CacheError> {
        is_cache_folder(folder)?;
        let there = fs::nearest_existing(folder)?;
        fs::check_folder_writable(there)?;
        if there != folder {
            return Ok(());
        }
        let staging = folder.join("staging");
        if fs::stat(&staging)?.is_some() {
            fs::check_folder_writable(&staging)?;
        }
        let path = folder.join("index.db");
        for name in [
            "lock",
            OPEN_LOCK_NAME,
            "index.db",
            "index.db-wal",
            "index.db-shm",
            "staging/parts.log",
        ] {
            fs::check_file_writable(&folder.join(name))?;
        }
        match Index::open(IndexLocation::ReadOnly(&path), root).await {
            Err(error @ CacheError::Newer { .. }) => Err(error),
            // A damaged one is set aside.
            _ => Ok(()),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// False where nothing may be changed.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Takes the cache alone, as soon as nobody builds. Whoever begins a build from then on waits.
    pub async fn lock_exclusive(&self, wait: &CacheLockWait) -> Result<Lock, CacheError> {
        // What is removed next is removed of a cache of hygge's only.
        check_tag(&self.folder)?;
        // Its own share stands in the way.
        drop(
            self.shared_lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let holder = fs::lock_holder_text("which cleans it");
        wait_for_lock(wait, || {
            Lock::try_exclusive(&self.folder.join("lock"), &holder)
        })
        .await
    }

    /// Removes everything of hygge's but the locks and the marks, as soon as nobody builds; gives
    /// the number of files, and their bytes.
    pub async fn clear(self, wait: &CacheLockWait) -> Result<(usize, u64), CacheError> {
        if !self.is_writable {
            if fs::stat(&self.folder)?.is_some() {
                fs::check_folder_writable(&self.folder)?;
            }
            return Ok((0, 0));
        }
        let _alone = self.lock_exclusive(wait).await?;
        let mut sizes = Vec::new();
        let stays = |name: &str| {
            !is_cache_entry(name)
                || name.ends_with("lock")
                || matches!(name, TAG_NAME | ".gitignore")
        };
        for entry in nofollow::list(&self.folder, stays)?.unwrap_or_default() {
            let path = self.folder.join(&entry.relative);
            if entry.is_folder {
                let files = fs::walk(&path, |_| false)?.unwrap_or_default();
                sizes.extend(
                    files
                        .iter()
                        .filter(|entry| entry.is_file)
                        .map(|entry| entry.stat.size),
                );
                fs::remove_folder(&path)?;
            } else {
                sizes.push(entry.stat.size);
                fs::remove_file(&path)?;
            }
        }
        Ok((sizes.len(), sizes.iter().sum()))
    }
}

/// True where a cache is there, and what every command writes to may be written to.
fn is_usable(folder: &Path) -> Result<bool, CacheError> {
    let may = |name: &str| fs::check_file_writable(&folder.join(name)).is_ok();
    Ok(fs::stat(folder)?.is_some()
        && fs::check_folder_writable(folder).is_ok()
        && may("index.db")
        && may(OPEN_LOCK_NAME))
}

/// Sets the index of a cache aside that turned out to be damaged, so that a new one is begun.
///
/// # Errors
/// It cannot be renamed.
pub async fn set_index_aside(folder: &Path) -> Result<PathBuf, CacheError> {
    let _opening = lock_for_opening(folder, &CacheAccess::Inspect.open_wait()).await?;
    index::set_aside(&folder.join("index.db"))
}
