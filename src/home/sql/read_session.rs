//! A read session: sessions of a database that all see one moment, and what they read.
//!
//! PostgreSQL lets several sessions see one snapshot. Elsewhere one session reads everything, one
//! range after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use super::batch_builder::{BatchBuilder, BatchLimits};
use super::cancel_guard::CancelGuard;
use super::description::TableDescription;
use super::engine::PartitionQuery;
use super::inspect::InspectedTable;
use super::partition_spec::PartitionSpec;
use super::read_error::RowReadError;
use super::{SqlError, SqlHome};
use crate::config::connection::Connection;
use crate::connection::{ConnectionError, Database, Relation, Session};
use crate::error::{Error, Result};
use crate::home::{PartBatch, PreviousRead, ReadSession, TableState};

/// Everything that is read of a home in one moment.
#[derive(Debug)]
pub(super) struct SqlReadSession {
    inspected: InspectedTable,
    /// The same with the columns that are read.
    read: TableDescription,
    state: Arc<TableState>,
    /// The statements, one for each partition.
    statements: Vec<String>,
    home: SharedSqlHome,
    database: Arc<Database>,
    /// The name of the moment, by which further sessions join it.
    snapshot: Option<String>,
    /// True where there is no room for further sessions.
    is_full: AtomicBool,
    idle: Mutex<Vec<Session>>,
    session_released: Notify,
    /// How many rows each partition had that was read.
    rows_read: Mutex<BTreeMap<usize, u64>>,
    /// What ended it before its end: nobody shall wait for a session that does not come back.
    failure: Mutex<Option<Error>>,
}

/// The home, as far as its rows need it.
pub(super) type SharedSqlHome = Arc<SqlHome>;

impl SqlReadSession {
    /// Begins a transaction, asks what is there in it, and keeps it.
    pub(super) async fn open(
        home: &SqlHome,
        database: &Arc<Database>,
        before: &PreviousRead,
    ) -> Result<Self> {
        let (mut session, asked) = inspect_in_task(home, database.session().await?, before).await?;
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                session.release().await;
                return Err(error);
            }
        };
        let mut snapshot = None;
        let engine = super::engine(database.dialect);
        if let Some(sql) = engine.snapshot().filter(|_| asked.ranges.len() > 1) {
            let exported = session
                .query_text("export its snapshot", sql.export)
                .await?;
            snapshot = exported.into_iter().flatten().next().flatten();
        }
        // A query has an order of its own, which it would lose.
        let read = match home.relation {
            Relation::Query(_) => asked.description.clone(),
            _ => asked.description.narrowed(&|name| before.columns.has(name)),
        };
        let home = SqlHome {
            pushed: asked.pushed.clone(),
            ..home.clone()
        };
        let statements = asked
            .ranges
            .iter()
            .map(|range| home.statement(engine, &read, range))
            .collect();
        Ok(Self {
            snapshot,
            ..Self::new(session, home, (asked, read), statements)
        })
    }

    /// Joins the moment of a session that another process holds, to read one partition of it.
    pub(super) async fn join(
        spec: &PartitionSpec,
        connection: &Connection,
        database: &Arc<Database>,
    ) -> Result<Self> {
        let engine = super::engine(database.dialect);
        let sql = engine.snapshot().ok_or_else(|| {
            SqlError::Protocol("its sessions cannot see the moment of another".into())
        })?;
        let (home, inspected) = (spec.home(connection), spec.inspected());
        let mut session = database.session().await?;
        let join = (sql.join)(spec.snapshot());
        // It ends with the session that gave it, which may be lost.
        session
            .begin("join its snapshot", &join, None)
            .await
            .map_err(ConnectionError::into_transient)?;
        let statements = vec![spec.statement().to_string()];
        let read = inspected.description.narrowed(&|name| spec.reads(name));
        Ok(Self::new(session, home, (inspected, read), statements))
    }

    fn new(
        session: Session,
        home: SqlHome,
        (inspected, read): (InspectedTable, TableDescription),
        statements: Vec<String>,
    ) -> Self {
        Self {
            state: Arc::new(inspected.state.clone()),
            inspected,
            read,
            statements,
            home: Arc::new(home),
            database: session.database().clone(),
            snapshot: None,
            is_full: AtomicBool::new(false),
            idle: Mutex::new(vec![session]),
            session_released: Notify::new(),
            rows_read: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// A session that sees the moment: one that is free, or one more where the snapshot and the
    /// pool allow it.
    async fn session(&self) -> Result<Session> {
        loop {
            // Asked for before it is looked: what is freed in between is not missed.
            let freed = self.session_released.notified();
            if let Some(error) = self
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
            {
                return Err(error);
            }
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            if let Some(session) = idle {
                return Ok(session);
            }
            if !self.is_full.load(Ordering::Relaxed)
                && let Some(snapshot) = &self.snapshot
                && let Some(session) = self.join_snapshot(snapshot).await?
            {
                return Ok(session);
            }
            freed.await;
        }
    }

    /// One more session that sees the moment; nothing where none is to be had in time: then those
    /// that there are go on alone. A server may have no room for more, and a pooler lets who comes
    /// wait until another is done.
    async fn join_snapshot(&self, snapshot: &str) -> Result<Option<Session>> {
        let Some(sql) = super::engine(self.database.dialect).snapshot() else {
            return Ok(None);
        };
        let join = (sql.join)(snapshot);
        let Some(mut session) = self
            .database
            .try_session()
            .await
            .unwrap_or_else(|_| self.stop_adding_sessions())
        else {
            return Ok(None);
        };
        match tokio::time::timeout(
            self.database.connect_timeout,
            session.begin("join its snapshot", &join, None),
        )
        .await
        {
            // It ends with the session that gave it, which may be lost.
            Ok(joined) => joined
                .map(|()| Some(session))
                .map_err(|error| error.into_transient().into()),
            Err(_) => Ok(self.stop_adding_sessions()),
        }
    }

    /// No more sessions are asked for.
    fn stop_adding_sessions(&self) -> Option<Session> {
        self.is_full.store(true, Ordering::Relaxed);
        None
    }

    fn release_session(&self, session: Session) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
        self.session_released.notify_one();
    }

    /// Others that read need not go on.
    fn record_failure(&self, error: Error) -> Error {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| error.clone());
        self.session_released.notify_waiters();
        error
    }

    /// As many rows were read as were counted in the same moment: of the partition, and of all
    /// partitions where all were read.
    fn check_rows(&self, partition: usize, rows: u64) -> Result<(), SqlError> {
        let of = &self.home.relation;
        if let Some(counted) =
            self.inspected.row_counts[partition].filter(|counted| *counted != rows)
        {
            let of = format!("{of}, {}", self.inspected.ranges[partition].name);
            return Err(SqlError::RowCountMismatch {
                location: of,
                counted,
                read: rows,
            });
        }
        let mut read = self
            .rows_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read.insert(partition, rows);
        let sum: u64 = read.values().sum();
        let is_all = read.len() == self.inspected.ranges.len();
        match self
            .inspected
            .total_rows
            .filter(|total| is_all && *total != sum)
        {
            Some(counted) => Err(SqlError::RowCountMismatch {
                location: of.to_string(),
                counted,
                read: sum,
            }),
            None => Ok(()),
        }
    }

    async fn read_partition_rows(
        &self,
        partition: usize,
        rows_per_part: u64,
        rows: &mpsc::Sender<PartBatch>,
    ) -> Result<u64> {
        let limits = BatchLimits {
            rows_per_part,
            batch_rows: self.home.batch_rows,
        };
        let mut session = self
            .session()
            .await
            .map_err(|error| self.record_failure(error))?;
        let mut filling = BatchBuilder::new(self.read.columns.clone(), limits);
        let query = PartitionQuery {
            statement: &self.statements[partition],
            home: self.home.as_ref(),
            described: &self.read,
        };
        let engine = super::engine(self.database.dialect);
        let guard = CancelGuard::new(&session);
        let done = guard.run(engine.read(&mut session, query, &mut filling, rows));
        if let Err(error) = done.await {
            // A session in the middle of something is not used again.
            return Err(self.record_failure(match error {
                RowReadError::Driver(error) => {
                    self.database.error_for("read its rows", &error).into()
                }
                other => other.into_error(),
            }));
        }
        self.release_session(session);
        self.check_rows(partition, filling.total_rows())
            .map_err(|error| self.record_failure(error.into()))?;
        if let Some(batch) = filling.finish()? {
            // Nobody receives any more: the flow has failed.
            rows.send(batch).await.map_err(|_| Error::interrupted())?;
        }
        Ok(filling.total_rows())
    }
}

impl ReadSession for SqlReadSession {
    fn table_state(&self) -> &Arc<TableState> {
        &self.state
    }

    fn read_partition(
        self: Arc<Self>,
        partition: usize,
        rows_per_part: u64,
        rows: mpsc::Sender<PartBatch>,
    ) -> BoxFuture<'static, Result<u64>> {
        Box::pin(async move {
            self.read_partition_rows(partition, rows_per_part, &rows)
                .await
        })
    }

    fn partition_spec(&self, partition: usize) -> Option<PartitionSpec> {
        let snapshot = self.snapshot.as_ref()?;
        let statement = &self.statements[partition];
        Some(PartitionSpec::new(
            &self.home,
            (&self.inspected, &self.read),
            partition,
            statement,
            snapshot,
        ))
    }

    fn on_partition_read(&self, partition: usize, rows: u64) -> Result<()> {
        self.check_rows(partition, rows)
            .map_err(|error| self.record_failure(error.into()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let sessions =
                std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
            for session in sessions {
                session.release().await;
            }
        })
    }
}

/// Asks in a task of its own, which a thread may be in the middle of when whoever waits for it
/// gives it up.
///
/// # Errors
/// A library panicked in it.
pub(super) async fn inspect_in_task(
    home: &SqlHome,
    mut session: Session,
    before: &PreviousRead,
) -> Result<(Session, Result<InspectedTable>)> {
    let (home, before) = (home.clone(), before.clone());
    let guard = CancelGuard::new(&session);
    let asking = tokio::spawn(async move {
        let asked = home.inspect(&mut session, &before).await;
        (session, asked)
    });
    guard
        .with_task(asking.abort_handle())
        .run(asking)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => Error::from_driver_panic(panic),
            Err(error) => Error::internal(error),
        })
}
