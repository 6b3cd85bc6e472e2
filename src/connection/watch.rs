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
pub(super) struct Watch {
    /// What the server calls whoever works for the session; 0 for nobody.
    server: AtomicI64,
    is_given_up: AtomicBool,
    /// When the statement ends, in milliseconds since `opened`.
    ends_at: AtomicU64,
    opened: Instant,
}

impl Watch {
    /// A session for which nobody works yet.
    pub(super) fn new() -> Self {
        let (server, is_given_up, ends_at) = (
            AtomicI64::new(0),
            AtomicBool::new(false),
            AtomicU64::new(NEVER),
        );
        Self {
            server,
            is_given_up,
            ends_at,
            opened: Instant::now(),
        }
    }

    /// What the server calls whoever works for the session from now on; 0 for nobody. Behind a
    /// pooler that is another one in each transaction, and between them somebody else's.
    pub(super) fn note_server(&self, number: i64) {
        self.server.store(number, Ordering::Relaxed);
    }

    /// What the server calls whoever works for the session.
    pub(super) fn server(&self) -> Option<i64> {
        Some(self.server.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }

    /// Nobody waits for the session any more.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// True where somebody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_given_up.load(Ordering::Relaxed)
    }

    /// True while a statement may go on.
    pub(super) fn goes_on(&self) -> bool {
        self.is_wanted() && self.millis(Duration::ZERO) < self.ends_at.load(Ordering::Relaxed)
    }

    /// A statement begins, which may take this long; it ends with what is given.
    pub(super) fn statement(&self, allowed: Option<Duration>) -> Statement<'_> {
        let statement = Statement {
            watch: self,
            allowed,
        };
        statement.again();
        statement
    }

    /// Milliseconds from the opening to a moment that is so far ahead.
    fn millis(&self, ahead: Duration) -> u64 {
        u64::try_from((self.opened.elapsed() + ahead).as_millis()).unwrap_or(NEVER)
    }
}

/// A statement that is under way.
pub struct Statement<'w> {
    watch: &'w Watch,
    allowed: Option<Duration>,
}

impl Statement<'_> {
    /// It is over, and another one begins, which may take as long.
    pub fn again(&self) {
        let end = self
            .allowed
            .map_or(NEVER, |allowed| self.watch.millis(allowed));
        self.watch.ends_at.store(end, Ordering::Relaxed);
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        self.watch.ends_at.store(NEVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_its_time_or_when_it_is_given_up() {
        let watch = Watch::new();
        assert!(watch.goes_on(), "nothing is under way");
        drop(watch.statement(Some(Duration::ZERO)));
        assert!(watch.goes_on(), "the statement is over");
        let late = watch.statement(Some(Duration::ZERO));
        assert!(!watch.goes_on());
        drop(late);
        let _statement = watch.statement(Some(Duration::from_secs(3600)));
        assert!(watch.goes_on());
        watch.give_up();
        assert!(!watch.goes_on() && !watch.is_wanted());
    }
}
