//! Waiting for the locks of a cache.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{CacheError, OPEN_LOCK_NAME};
use crate::fs::{Lock, LockError, LockHolder};

/// How often a lock is tried again.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// For how long to wait for a lock.
#[derive(Clone, Debug)]
pub struct CacheLockWait {
    /// Not longer than this; as long as it takes.
    pub limit: Option<Duration>,
    /// Cancelled when the run shall end.
    pub interrupted: CancellationToken,
    /// Is told once whom it waits for.
    pub on_wait: WaitCallback,
}

impl CacheLockWait {
    /// Not waiting at all.
    pub fn none() -> Self {
        Self {
            limit: Some(Duration::ZERO),
            interrupted: CancellationToken::new(),
            on_wait: WaitCallback::default(),
        }
    }
}

/// Is told who has a lock that is waited for.
#[derive(Clone)]
pub struct WaitCallback(Arc<dyn Fn(&LockHolder) + Send + Sync>);

impl WaitCallback {
    /// Whoever tells it on.
    pub fn new(tell: impl Fn(&LockHolder) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl Default for WaitCallback {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for WaitCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitCallback")
    }
}

/// How long is waited without a word: what takes a moment need not be known.
const WAIT_REPORT_DELAY: Duration = Duration::from_millis(300);

impl CacheLockWait {
    /// Tells once who has the lock, if it has taken more than a moment.
    pub fn report_holder(&self, began: Instant, held: &LockHolder, is_told: &mut bool) {
        if began.elapsed() >= WAIT_REPORT_DELAY && !std::mem::replace(is_told, true) {
            (self.on_wait.0)(held);
        }
    }

    /// True as long as who began to wait then shall go on.
    pub fn should_continue(&self, began: Instant) -> bool {
        !self.interrupted.is_cancelled() && self.limit.is_none_or(|limit| began.elapsed() < limit)
    }
}

pub(super) async fn lock_for_opening(
    folder: &Path,
    wait: &CacheLockWait,
) -> Result<Lock, CacheError> {
    wait_for_lock(wait, || {
        Lock::try_exclusive_anonymous(&folder.join(OPEN_LOCK_NAME))
    })
    .await
}

pub(super) async fn wait_for_lock(
    wait: &CacheLockWait,
    take: impl Fn() -> Result<Lock, LockError>,
) -> Result<Lock, CacheError> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match take() {
            Err(LockError::Held(held)) if wait.should_continue(began) => {
                wait.report_holder(began, &held, &mut is_told);
                tokio::time::sleep(LOCK_POLL_INTERVAL).await;
            }
            Err(LockError::Held(_)) if wait.interrupted.is_cancelled() => {
                return Err(CacheError::Interrupted);
            }
            other => return Ok(other?),
        }
    }
}
