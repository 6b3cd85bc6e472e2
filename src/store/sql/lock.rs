//! The lock of a table: the database's own, so that it holds for every checkout and machine that
//! fills it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::engine::TableLock;
use super::resolved_table::ResolvedTable;
use super::{SqlStore, engine_of};
use crate::connection::{ConnectionError, Session};
use crate::error::{Error, ErrorKind, Result};

/// How often a held lock is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// How long SQLite waits for another's lock by itself, where nothing else is said.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a lock is waited for, and what ends that before.
#[derive(Clone, Debug)]
pub(super) struct TableLockWait {
    pub(super) timeout: Option<Duration>,
    pub(super) interrupted: CancellationToken,
    /// Is told once that another process is waited for.
    pub(super) wait_notices: UnboundedSender<String>,
}

/// Begins the transaction of a load, and locks its table in it; gives what the table's name means,
/// now that it cannot become another.
///
/// In PostgreSQL and SQLite the lock goes with the transaction, in MySQL with [`unlock`] or the
/// session.
pub(super) async fn lock(
    store: &SqlStore,
    session: &mut Session,
    patience: &TableLockWait,
) -> Result<ResolvedTable> {
    let engine = engine_of(session);
    if engine.lock() == TableLock::Database {
        lock_database(store, session, patience).await?;
        return ResolvedTable::resolve(store, session).await;
    }
    let mut locked: Option<ResolvedTable> = None;
    loop {
        let resolved = ResolvedTable::resolve(store, session).await?;
        if locked
            .as_ref()
            .is_some_and(|locked| locked.lock_key() == resolved.lock_key())
        {
            return Ok(resolved);
        }
        // It meant another table when it was locked.
        if let Some(other) = locked.take() {
            release(session, &other).await?;
        }
        super::receipts::create_table(&resolved, session).await?;
        if engine.lock() == TableLock::Transaction {
            // Else the snapshot could be older than the lock, whatever the server's own settings
            // are.
            session
                .begin("begin a transaction", engine.begin_sql(), None)
                .await?;
        }
        acquire(store, &resolved, session, patience).await?;
        locked = Some(resolved);
    }
}

/// Takes the lock of a server, as soon as nobody has it.
async fn acquire(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
    patience: &TableLockWait,
) -> Result<()> {
    let unlockable = || {
        Error::new(
            ErrorKind::Flow,
            format!("the server does not lock table {}", store.relation),
        )
    };
    let asked = engine_of(session)
        .try_lock_sql(resolved)
        .ok_or_else(unlockable)?;
    let began = Instant::now();
    let mut is_told = false;
    loop {
        // Nothing is answered where the server could not lock at all.
        match session
            .query_text("lock its table", &asked)
            .await?
            .into_iter()
            .flatten()
            .next()
            .flatten()
            .as_deref()
        {
            Some("1") => return Ok(()),
            Some("0") => {}
            _ => return Err(unlockable()),
        }
        patience.pause(store, began, &mut is_told).await?;
    }
}

/// A write transaction, which one process has at a time.
async fn lock_database(
    store: &SqlStore,
    session: &mut Session,
    patience: &TableLockWait,
) -> Result<()> {
    let busy = patience
        .timeout
        .map_or(BUSY_TIMEOUT, |limit| limit.min(BUSY_TIMEOUT));
    session
        .execute(
            "lock its database",
            &format!("PRAGMA busy_timeout = {}", busy.as_millis()),
        )
        .await?;
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match session
            .begin("lock its table", engine_of(session).begin_sql(), None)
            .await
        {
            Ok(()) => break,
            // As long as it takes is said of hygge's processes; this may be any other.
            Err(ConnectionError::Failed { failure, .. })
                if failure.is_transient && patience.timeout.is_some() =>
            {
                patience.pause(store, began, &mut is_told).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(session
        .execute(
            "lock its database",
            &format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis()),
        )
        .await?)
}

impl TableLockWait {
    /// Waits for a moment; fails where that was long enough.
    async fn pause(&self, store: &SqlStore, began: Instant, is_told: &mut bool) -> Result<()> {
        if self.interrupted.is_cancelled() {
            return Err(Error::interrupted());
        }
        if self.timeout.is_some_and(|limit| began.elapsed() >= limit) {
            let error = format!(
                "table {} is being filled by another process",
                store.relation
            );
            return Err(Error::new(ErrorKind::Locked, error)
                .with_hint("build again when it is done, or wait longer: --wait"));
        }
        if !std::mem::replace(is_told, true) {
            // Nobody listens any more where the run has ended.
            drop(self.wait_notices.send(format!(
                "another process, which fills table {}",
                store.relation
            )));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        Ok(())
    }
}

/// Releases a lock that was taken for another table, and ends the transaction that was begun with
/// it.
async fn release(session: &mut Session, resolved: &ResolvedTable) -> Result<()> {
    if engine_of(session).lock() == TableLock::Transaction {
        return Ok(session.roll_back("unlock its table").await?);
    }
    unlock(session, resolved).await
}

/// Releases the lock after the commit. In PostgreSQL and SQLite the commit has released it already.
pub(super) async fn unlock(session: &mut Session, resolved: &ResolvedTable) -> Result<()> {
    if let Some(asked) = engine_of(session).unlock_sql(resolved) {
        session.query_text("unlock its table", &asked).await?;
    }
    Ok(())
}
