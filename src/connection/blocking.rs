//! Waiting for databases, on threads of whoever waits: how long, and what ends it before.
//!
//! It knows neither databases nor what is asked of them.

use std::cell::Cell;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::threads;

/// How long something that is being finished is waited for after an interruption.
const FINISH_GRACE: Duration = Duration::from_secs(2);

/// What stores ask databases by, in turns: their callers wait on threads of their own. Each has one
/// worker, for where a second one cannot be begun, tokio waits for the first, which never ends.
static RUNTIMES: [LazyLock<Result<Runtime>>; 2] =
    [LazyLock::new(build_runtime), LazyLock::new(build_runtime)];

/// Whose turn it is.
static NEXT_RUNTIME: AtomicUsize = AtomicUsize::new(0);

fn build_runtime() -> Result<Runtime> {
    threads::build_runtime(
        Builder::new_multi_thread()
            .thread_name("hygge tables")
            .enable_all(),
    )
}

/// Work that is under way, for whoever waits for it on a thread.
#[derive(Debug)]
pub struct PendingWork<T>(mpsc::Receiver<Result<T>>);

impl<T> PendingWork<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// A library panicked in it.
    pub fn wait(self) -> Result<T> {
        self.0
            .recv()
            .map_err(|error| Error::new(ErrorKind::Flow, error))?
    }
}

fn error_from_join(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => Error::from_driver_panic(panic),
        Err(error) => Error::new(ErrorKind::Flow, error),
    }
}

/// Begins work on a database, whatever thread this is.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> PendingWork<T> {
    let (sender, receiver) = mpsc::channel();
    let turn = NEXT_RUNTIME.fetch_add(1, Ordering::Relaxed) % RUNTIMES.len();
    // One is enough, where another cannot be begun.
    match RUNTIMES[turn].as_ref().or_else(|_| RUNTIMES[0].as_ref()) {
        Ok(waiting) => {
            let working = waiting.spawn(work);
            waiting.spawn(async move {
                // Who waited may have gone.
                drop(sender.send(working.await.map_err(error_from_join)));
            });
        }
        Err(error) => drop(sender.send(Err(error.clone()))),
    }
    PendingWork(receiver)
}

/// What ends every wait for a database, once the process is told to end.
static INTERRUPTED: OnceLock<CancellationToken> = OnceLock::new();

/// From now on no wait for a database lasts longer than the run.
pub fn set_interrupt_flag(interrupted: &CancellationToken) {
    // A process has one run.
    drop(INTERRUPTED.set(interrupted.clone()));
}

thread_local! {
    /// How long the work on this thread waits for a database.
    static WAIT_LIMIT: Cell<WaitLimit> = const { Cell::new(WaitLimit::UntilInterrupted) };
}

/// How long a database is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitLimit {
    /// Until the run is interrupted.
    UntilInterrupted,
    /// The same, and no longer than that.
    Timeout(Duration),
    /// A moment, also in a run that was interrupted: something is being finished.
    GracePeriod,
}

/// Does what asks databases on this thread; each question may take so long.
pub fn run_with_timeout<T>(limit: Option<Duration>, work: impl FnOnce() -> T) -> T {
    run_with_wait_limit(
        limit.map_or(WaitLimit::UntilInterrupted, WaitLimit::Timeout),
        work,
    )
}

/// Does what asks databases on this thread and finishes something: an interrupted run waits for it
/// a moment.
pub fn run_with_grace_period<T>(work: impl FnOnce() -> T) -> T {
    run_with_wait_limit(WaitLimit::GracePeriod, work)
}

fn run_with_wait_limit<T>(patience: WaitLimit, work: impl FnOnce() -> T) -> T {
    let before = WAIT_LIMIT.replace(patience);
    let done = work();
    WAIT_LIMIT.set(before);
    done
}

/// Does work on a database and waits for it, whatever thread this is.
///
/// # Errors
/// A library panicked in it, it took longer than it may, or the run was interrupted.
pub fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let patience = WAIT_LIMIT.get();
    spawn(async move {
        let interrupted = async {
            match INTERRUPTED.get() {
                Some(interrupted) => interrupted.cancelled().await,
                None => pending().await,
            }
            if patience == WaitLimit::GracePeriod {
                tokio::time::sleep(FINISH_GRACE).await;
            }
        };
        let limit = if let WaitLimit::Timeout(limit) = patience {
            Some(limit)
        } else {
            None
        };
        tokio::select! {
            done = with_timeout(limit, work) => done,
            () = interrupted => Err(Error::interrupted()),
        }
    })
    .wait()?
}

/// Waits for what a database is asked, no longer than it may take.
///
/// # Errors
/// It took longer.
pub async fn with_timeout<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T> {
    let limit = limit.unwrap_or(Duration::MAX);
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| WaitTimedOut(limit).into())
}

/// A flow waited for a database for longer than it may.
#[derive(Clone, Debug, thiserror::Error)]
#[error("its database was waited for longer than its timeout of {0:?}: nothing was published")]
pub struct WaitTimedOut(pub Duration);

impl From<WaitTimedOut> for Error {
    fn from(error: WaitTimedOut) -> Self {
        Self::new(ErrorKind::Flow, error)
            .with_hint("something may hold a lock there; timeout of the flow allows more")
            .with_retry(Retry::TimedOut)
    }
}
