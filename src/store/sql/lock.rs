//! The lock of a table: the database's own, so that it holds for every checkout and machine that
//! fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::SqlStore;
use super::resolved_table::ResolvedTable;
use crate::connection::{ConnectionError, Dialect, Session};
use crate::error::{Error, ErrorKind, Result};

/// How often a held lock is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// How long SQLite waits for another's lock by itself, where nothing else is said.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a lock is waited for, and what ends that before.
#[derive(Clone, Debug)]
pub(super) struct TableLockWait {
    pub(super) timeout: Option<Duration>,
    pub(super) interrupted: Arc<AtomicBool>,
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
    if session.database().dialect == Dialect::Sqlite {
        begin_sqlite(store, session, patience).await?;
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
        if session.database().dialect == Dialect::Postgres {
            // Else the snapshot could be older than the lock, whatever the server's own settings
            // are.
            session
                .begin(
                    "begin a transaction",
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
                    None,
                )
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
    let asked = match session.database().dialect {
        Dialect::Postgres => format!(
            "SELECT pg_try_advisory_xact_lock({})::int",
            lock_id(resolved)
        ),
        _ => format!("SELECT GET_LOCK('{}', 0)", lock_name(resolved)),
    };
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
            _ => {
                return Err(Error::new(
                    ErrorKind::Flow,
                    format!("the server does not lock table {}", store.relation),
                ));
            }
        }
        patience.pause(store, began, &mut is_told).await?;
    }
}

/// A write transaction, which one process has at a time.
async fn begin_sqlite(
    store: &SqlStore,
    session: &mut Session,
    patience: &TableLockWait,
) -> Result<()> {
    let busy = patience
        .timeout
        .map_or(SQLITE_BUSY_TIMEOUT, |limit| limit.min(SQLITE_BUSY_TIMEOUT));
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
            .begin("lock its table", "BEGIN IMMEDIATE", None)
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
            &format!("PRAGMA busy_timeout = {}", SQLITE_BUSY_TIMEOUT.as_millis()),
        )
        .await?)
}

impl TableLockWait {
    /// Waits for a moment; fails where that was long enough.
    async fn pause(&self, store: &SqlStore, began: Instant, is_told: &mut bool) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
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
    match session.database().dialect {
        Dialect::Postgres => Ok(session.roll_back("unlock its table").await?),
        _ => unlock(session, resolved).await,
    }
}

/// Releases the lock after the commit. In PostgreSQL and SQLite the commit has released it already.
pub(super) async fn unlock(session: &mut Session, resolved: &ResolvedTable) -> Result<()> {
    if session.database().dialect == Dialect::MySql {
        session
            .query_text(
                "unlock its table",
                &format!("SELECT RELEASE_LOCK('{}')", lock_name(resolved)),
            )
            .await?;
    }
    Ok(())
}

/// Locks of PostgreSQL are numbers, those of one database by themselves.
fn lock_id(resolved: &ResolvedTable) -> i64 {
    resolved.lock_key().as_bytes()[..8]
        .iter()
        .fold(0_i64, |number, byte| number << 8 | i64::from(*byte))
}

/// Locks of MySQL have names of up to 64 letters, for the whole server.
fn lock_name(resolved: &ResolvedTable) -> String {
    format!("hygge:{}", &resolved.lock_key().to_string()[..32])
}
