//! The error that leaves a stage: what went wrong, which kind it is, and a hint.
//!
//! It knows no stage. Each stage has its own enum; the kind is chosen where that enum is mapped
//! into this one, and the kind alone decides the exit code.

pub mod escape;
pub(crate) mod thread_spawn;

use std::any::Any;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// What an error means for the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// One flow failed; others may have gone on.
    Flow,
    /// The command line or the config cannot be used as it is.
    Config,
    /// Nothing could start: the cache is not writable, the project is missing.
    Start,
    /// A lock was held by another process for longer than was asked.
    Locked,
    /// The run was interrupted.
    Interrupted,
}

impl ErrorKind {
    /// The exit code of a run that ends with this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Flow => 1,
            Self::Config => 2,
            Self::Start => 3,
            Self::Locked => 4,
            Self::Interrupted => 130,
        }
    }
}

/// What another try may change about an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: it stays.
    #[default]
    Never,
    /// It is transient: after a while the same may go well.
    Later,
    /// It took longer than it may.
    TimedOut,
    /// Somebody else was faster: what was planned with is no longer there.
    Replan,
    /// An input has changed since it was planned with. Where it is a store, that was a publication.
    Reread,
    /// Somebody may be in the middle of a change: what it is shows under a lock.
    UnderLock,
    /// A type that was found at the beginning of files does not hold: all values say another.
    LookAtAll,
    /// The index of the cache is damaged: with a new one it may go well.
    NewIndex,
}

/// An error with its kind and, where there is one, the next thing to do.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    retry: Retry,
    source: Arc<dyn StdError + Send + Sync>,
    hint: Option<String>,
}

/// The result of what may fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind; the source's text is the message.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            retry: Retry::Never,
            source: Arc::from(source.into()),
            hint: None,
        }
    }

    /// The run shall end.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Something is not as hygge itself has left it: no data and no config can be the cause.
    pub fn internal(source: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Flow, format!("internal error: {source}"))
            .with_hint("this is a fault of hygge: please report it; nothing was published")
    }

    /// A panic of a library becomes the error of the flow whose data it met.
    pub fn from_panic(panic: Box<dyn Any + Send>) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no reason given");
        if let Some(error) = thread_spawn::from_panic_text(text) {
            return error;
        }
        Self::new(
            ErrorKind::Flow,
            format!("a library gave up on this data: {text}"),
        )
        .with_hint("please report it with the file; nothing was published")
    }

    /// A panic of a driver becomes the error of the connection that it spoke by.
    pub fn from_driver_panic(panic: Box<dyn Any + Send>) -> Self {
        let hint =
            "check that a database answers at the URL of its connection; nothing was published";
        match Self::from_panic(panic) {
            error if error.kind == ErrorKind::Flow => error.with_hint(hint),
            error => error,
        }
    }

    /// An error of the filesystem, with what to do where that follows from it.
    pub fn from_fs(kind: ErrorKind, error: crate::fs::FsError) -> Self {
        let hint = error.hint();
        hint.into_iter()
            .fold(Self::new(kind, error), Self::with_hint)
    }

    /// The same error with a hint, which says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error, of which another try may change this.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What another try may change.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// True where the same may go well after a while.
    pub fn is_transient(&self) -> bool {
        self.retry == Retry::Later
    }

    /// What the error means for the run.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stage's own error, where it is of this type.
    pub fn downcast_source<E: StdError + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }

    /// What to do next, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {}

impl From<crate::fs::FsError> for Error {
    fn from(error: crate::fs::FsError) -> Self {
        Self::from_fs(ErrorKind::Flow, error)
    }
}

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// The first of some names, and how many there are besides.
pub fn join_limited(names: &[impl ToString], limit: usize) -> String {
    let joined = names
        .iter()
        .take(limit)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > limit {
        format!("{joined} and {} more", names.len() - limit)
    } else {
        joined
    }
}

/// Runs what may panic in a library; a panic becomes an error, and nothing is printed of it.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T> {
    let before = IS_CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CATCHING.set(before);
    result.map_err(Error::from_panic)
}

/// The same of what is waited for.
pub async fn catch_panic_async<T>(work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    poll_fn(
        move |context| match catch_panic(|| work.as_mut().poll(context)) {
            Ok(polled) => polled.map(Ok),
            Err(error) => Poll::Ready(Err(error)),
        },
    )
    .await
}

/// From now on a panic prints only where nobody catches it. On threads other than the main one it
/// becomes the error of the flow that was worked on.
pub fn silence_caught_panics() {
    let print = take_hook();
    set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some("main") && !IS_CATCHING.get() {
            print(info);
        }
    }));
}
