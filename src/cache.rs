//! The cache: finished parts by their digest, and the index of what was made from what.
//!
//! It may be deleted at any time: the receipts of the stores say what is published.

pub mod gc;
pub mod history;
pub mod index;
pub mod ledger;
pub mod recorder;
pub mod staging;
pub mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::fs::{self, FsError, Held, Lock, LockError};

use index::{Index, Place};
use ledger::Ledger;
use staging::Staging;

/// What marks a folder as a cache: <https://bford.info/cachedir/>.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is the cache of hygge, and may be deleted at any time.\n";

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
    /// What was made, as it happened.
    pub ledger: Ledger,
    /// Held as long as the command builds.
    shared: Mutex<Option<Lock>>,
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
    },
    /// Another process has the cache for itself.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder is somebody else's.
    #[error("folder {} is to be the cache, and holds {name}, which is not hygge's", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        name: String,
    },
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
            CacheError::Newer { .. } => "use that hygge, or delete the cache: what is fresh stays fresh",
            CacheError::Index { .. } => "if it stays so, delete the index: it is made anew, and what is fresh stays fresh",
            CacheError::Lock(LockError::Held(_)) => "wait until it has ended",
            CacheError::Lock(LockError::Fs(_)) => "move it away: it is made anew",
            CacheError::Foreign { .. } => "name a folder of its own by options.cache.dir, or one that is not there yet",
            CacheError::Interrupted => return Self::new(ErrorKind::Interrupted, error),
            CacheError::Fs(_) => "move it away, or name another folder for the cache by options.cache.dir",
        };
        let kind = if matches!(error, CacheError::Lock(LockError::Held(_))) { ErrorKind::Locked } else { ErrorKind::Start };
        Self::new(kind, error).with_hint(hint)
    }
}

/// What a command wants of the cache.
#[derive(Clone, Debug)]
pub enum Access {
    /// It builds: it shares the cache with other builds, and waits for who has it alone.
    Build(Wait),
    /// It only looks: it never waits, and nothing is made where there is no cache.
    Look,
}

/// For how long to wait for a lock.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Not longer than this; as long as it takes.
    pub limit: Option<Duration>,
    /// Set when the run shall end.
    pub interrupted: Arc<AtomicBool>,
    /// Is told once whom it waits for.
    pub said: Said,
}

/// Is told who has a lock that is waited for.
#[derive(Clone)]
pub struct Said(Arc<dyn Fn(&Held) + Send + Sync>);

impl Said {
    /// Whoever tells it on.
    pub fn new(tell: impl Fn(&Held) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl Default for Said {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}

/// How long is waited without a word: what takes a moment need not be known.
const QUIET: Duration = Duration::from_millis(300);

impl Wait {
    /// Tells once who has the lock, if it has taken more than a moment.
    pub fn tell(&self, began: Instant, held: &Held, is_told: &mut bool) {
        if began.elapsed() >= QUIET && !std::mem::replace(is_told, true) {
            (self.said.0)(held);
        }
    }

    /// True as long as who began to wait then shall go on.
    pub fn goes_on(&self, began: Instant) -> bool {
        !self.interrupted.load(Ordering::Relaxed) && self.limit.is_none_or(|limit| began.elapsed() < limit)
    }
}

impl Cache {
    /// Opens the cache; who builds makes it where it is missing.
    pub async fn open(folder: &Path, access: Access) -> Result<Self, CacheError> {
        let path = folder.join("index.db");
        let is_network = fs::stat(folder)?.is_some() && fs::is_network(folder)?;
        let (staging, ledger) = (Staging::new(folder.join("staging")), Ledger::new(folder.join("staging/parts.log")));
        let wait = match access {
            Access::Look if fs::stat(folder)?.is_none() || fs::check_writable(folder).is_err() => {
                let index = Index::open(Place::ReadOnly(&path)).await?;
                return Ok(Self { folder: folder.to_path_buf(), index, staging, ledger, shared: Mutex::default(), is_writable: false });
            }
            Access::Look => None,
            Access::Build(wait) => Some(wait),
        };
        check_own(folder)?;
        fs::create_folder(folder)?;
        fs::check_writable(folder)?;
        let shared = match wait {
            Some(wait) => Some(patiently(&wait, || Lock::try_shared(&folder.join("lock"))).await?),
            None => None,
        };
        // Two that open it for the first time would both set it up.
        let opening = Lock::wait_exclusive(&folder.join("index.lock"))?;
        let index = Index::open(Place::Writable { path: &path, is_network }).await?;
        if index.begun.is_some() {
            mark(folder)?;
        }
        drop(opening);
        if shared.is_some() {
            staging.clear_unfinished()?;
        }
        Ok(Self { folder: folder.to_path_buf(), index, staging, ledger, shared: Mutex::new(shared), is_writable: true })
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
    pub async fn alone(&self, wait: &Wait) -> Result<Lock, CacheError> {
        // Its own share stands in the way.
        drop(self.shared.lock().unwrap_or_else(PoisonError::into_inner).take());
        let holder = fs::words("which cleans it");
        patiently(wait, || Lock::try_exclusive(&self.folder.join("lock"), &holder)).await
    }

    /// Removes everything of hygge's but the locks, as soon as nobody builds; gives the number of files, and their bytes.
    pub async fn empty(self, wait: &Wait) -> Result<(usize, u64), CacheError> {
        if !self.is_writable {
            if fs::stat(&self.folder)?.is_some() {
                fs::check_writable(&self.folder)?;
            }
            return Ok((0, 0));
        }
        let _alone = self.alone(wait).await?;
        let mut sizes = Vec::new();
        for entry in fs::list(&self.folder, |name| !is_own(name) || name.ends_with("lock"))?.unwrap_or_default() {
            let path = self.folder.join(&entry.relative);
            if entry.is_folder {
                let files = fs::walk(&path, |_| false)?.unwrap_or_default();
                sizes.extend(files.iter().filter(|entry| entry.is_file).map(|entry| entry.stat.size));
                fs::remove_folder(&path)?;
            } else {
                sizes.push(entry.stat.size);
                fs::remove_file(&path)?;
            }
        }
        Ok((sizes.len(), sizes.iter().sum()))
    }
}

/// True for what hygge puts into a cache: the index with what SQLite keeps beside it and what was set aside of it,
/// the locks, parts, and the marks.
fn is_own(name: &str) -> bool {
    is_index(name) || matches!(name, "index.lock" | "lock" | "staging" | "damaged" | "CACHEDIR.TAG" | "CACHEDIR.TAG.tmp" | ".gitignore")
}

fn is_index(name: &str) -> bool {
    name.strip_prefix("index.db").is_some_and(|rest| matches!(rest, "" | "-wal" | "-shm" | "-journal" | ".damaged"))
}

/// Refuses to make a cache of a folder that someone else uses, because it will be emptied one day.
fn check_own(folder: &Path) -> Result<(), CacheError> {
    let names = fs::list(folder, |_| false)?.unwrap_or_default();
    let names: Vec<String> = names.iter().map(|entry| entry.relative.to_string_lossy().into_owned()).collect();
    let is_cache = names.iter().any(|name| is_index(name) || name == "index.lock");
    let foreign = names.iter().find(|name| !is_own(name) && !fs::is_hidden(name));
    match foreign {
        Some(name) if !is_cache => Err(CacheError::Foreign { folder: folder.to_path_buf(), name: name.clone() }),
        _ => Ok(()),
    }
}

async fn patiently(wait: &Wait, take: impl Fn() -> Result<Lock, LockError>) -> Result<Lock, CacheError> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match take() {
            Err(LockError::Held(held)) if wait.goes_on(began) => {
                wait.tell(began, &held, &mut is_told);
                tokio::time::sleep(PAUSE).await;
            }
            Err(LockError::Held(_)) if wait.interrupted.load(Ordering::Relaxed) => return Err(CacheError::Interrupted),
            other => return Ok(other?),
        }
    }
}

/// Sets the index of a cache aside that turned out to be damaged, so that a new one is begun.
///
/// # Errors
/// It cannot be renamed.
pub fn set_index_aside(folder: &Path) -> Result<PathBuf, CacheError> {
    let _opening = Lock::wait_exclusive(&folder.join("index.lock"))?;
    index::set_aside(&folder.join("index.db"))
}

/// Tells backups that a cache need not be kept, and git that it is not its business.
fn mark(folder: &Path) -> Result<(), FsError> {
    for (name, text) in [("CACHEDIR.TAG", TAG), (".gitignore", "*\n")] {
        let path = folder.join(name);
        if fs::stat(&path)?.is_none() {
            fs::write_atomically(&path, text.as_bytes())?;
        }
    }
    Ok(())
}
