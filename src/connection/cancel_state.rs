//! What ends a statement before its end: somebody gave it up, or it takes longer than it may.
//!
//! SQLite asks here while it works. Servers are told by a canceller, which finds here what they
//! call whoever works for a session.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No end is set.
const NEVER: u64 = u64::MAX;

/// A session, as others see it who may end what it does.
#[derive(Debug)]
pub(super) struct CancelState {
    /// What the server calls whoever works for the session; 0 for nobody.
    backend_id: AtomicI64,
    is_cancelled: AtomicBool,
    /// When the statement ends, in milliseconds since `opened`.
    deadline_millis: AtomicU64,
    opened: Instant,
}

impl CancelState {
    /// A session for which nobody works yet.
    pub(super) fn new() -> Self {
        let (server, is_given_up, ends_at) = (
            AtomicI64::new(0),
            AtomicBool::new(false),
            AtomicU64::new(NEVER),
        );
        Self {
            backend_id: server,
            is_cancelled: is_given_up,
            deadline_millis: ends_at,
            opened: Instant::now(),
        }
    }

    /// What the server calls whoever works for the session from now on; 0 for nobody. Behind a
    /// pooler that is another one in each transaction, and between them somebody else's.
    pub(super) fn set_backend_id(&self, number: i64) {
        self.backend_id.store(number, Ordering::Relaxed);
    }

    /// What the server calls whoever works for the session.
    pub(super) fn backend_id(&self) -> Option<i64> {
        Some(self.backend_id.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }

    /// Nobody waits for the session any more.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// True where somebody still waits for it.
    pub(super) fn is_active(&self) -> bool {
        !self.is_cancelled.load(Ordering::Relaxed)
    }

    /// True while a statement may go on.
    pub(super) fn may_continue(&self) -> bool {
        self.is_active()
            && self.millis(Duration::ZERO) < self.deadline_millis.load(Ordering::Relaxed)
    }

    /// A statement begins, which may take this long; it ends with what is given.
    pub(super) fn start_statement(&self, allowed: Option<Duration>) -> StatementTimer<'_> {
        let statement = StatementTimer {
            watch: self,
            allowed,
        };
        statement.restart();
        statement
    }

    /// Milliseconds from the opening to a moment that is so far ahead.
    fn millis(&self, ahead: Duration) -> u64 {
        u64::try_from((self.opened.elapsed() + ahead).as_millis()).unwrap_or(NEVER)
    }
}

/// A statement that is under way.
pub struct StatementTimer<'w> {
    watch: &'w CancelState,
    allowed: Option<Duration>,
}

impl StatementTimer<'_> {
    /// It is over, and another one begins, which may take as long.
    pub fn restart(&self) {
        let end = self
            .allowed
            .map_or(NEVER, |allowed| self.watch.millis(allowed));
        self.watch.deadline_millis.store(end, Ordering::Relaxed);
    }
}

impl Drop for StatementTimer<'_> {
    fn drop(&mut self) {
        self.watch.deadline_millis.store(NEVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_its_time_or_when_it_is_given_up() {
        let watch = CancelState::new();
        assert!(watch.may_continue(), "nothing is under way");
        drop(watch.start_statement(Some(Duration::ZERO)));
        assert!(watch.may_continue(), "the statement is over");
        let late = watch.start_statement(Some(Duration::ZERO));
        assert!(!watch.may_continue());
        drop(late);
        let _statement = watch.start_statement(Some(Duration::from_secs(3600)));
        assert!(watch.may_continue());
        watch.cancel();
        assert!(!watch.may_continue() && !watch.is_active());
    }
}
