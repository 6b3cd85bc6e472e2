//! What ends a query at its server when nobody waits for it any more.

use tokio::task::AbortHandle;

use crate::connection::Session;
use crate::connection::session::Canceller;

/// Ends a query when the work on it is dropped before its end.
pub(super) struct CancelGuard {
    canceller: Option<Canceller>,
    /// The task that does the work, if it is not the one that waits.
    task: Option<AbortHandle>,
}

impl CancelGuard {
    pub(super) fn new(session: &Session) -> Self {
        Self {
            canceller: Some(session.canceller()),
            task: None,
        }
    }

    /// The work is done by this task.
    pub(super) fn with_task(mut self, task: AbortHandle) -> Self {
        self.task = Some(task);
        self
    }

    /// Does the work. Dropped before its end, it ends the query.
    pub(super) async fn run<T>(mut self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        self.canceller = None;
        done
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(canceller) = self.canceller.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            canceller.cancel_on(&runtime);
            self.task.iter().for_each(AbortHandle::abort);
        }
    }
}
