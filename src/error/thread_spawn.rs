//! No thread can be begun: what that is called, whoever says it.

use super::{Error, ErrorKind};

/// No thread can be begun.
#[derive(Debug, thiserror::Error)]
#[error("no thread can be started: {0}")]
pub(crate) struct ThreadSpawnError(pub(crate) String);

impl From<ThreadSpawnError> for Error {
    fn from(error: ThreadSpawnError) -> Self {
        Self::new(ErrorKind::Start, error).with_hint(
            "the limit of processes is reached (ulimit -u, or that of a container): raise it, or end other programs; nothing was lost",
        )
    }
}

/// The error of something that found no thread, in its own words.
pub(crate) fn spawn_error(words: &str) -> Error {
    ThreadSpawnError(words.to_string()).into()
}

/// What a library said when it panicked, where the reason is that no thread could be begun.
pub(crate) fn from_panic_text(text: &str) -> Option<Error> {
    // The first who asks for a pool that cannot be begun hears why, those behind him only that it
    // cannot.
    let is_it = text.contains("spawn") && text.contains("thread")
        || text.contains("LazyLock instance has previously been poisoned");
    is_it.then(|| spawn_error(text))
}
