//! A reading: sessions that all see one moment, and what they read.
//!
//! PostgreSQL lets several sessions see one snapshot. Elsewhere one session reads everything, one
//! range after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::answer::Asked;
use super::misfit::ReadError;
use super::rows::{Filling, Limits};
use super::{SqlError, SqlHome, mysql, postgres, sqlite};
use crate::connection::session::Canceller;
use crate::connection::{Database, Dialect, Link, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::home::{Answer, Batch, Before, Reading};

/// Everything that is read of a home in one moment.
#[derive(Debug)]
pub(super) struct SqlReading {
    asked: Asked,
    answer: Arc<Answer>,
    /// The statements, one for each unit.
    statements: Vec<String>,
    home: Recipe,
    database: Arc<Database>,
    /// The snapshot that further sessions may join.
    snapshot: Option<String>,
    /// True where there is no room for further sessions.
    is_full: AtomicBool,
    idle: Mutex<Vec<Session>>,
    freed: Notify,
    /// How many rows each unit had that was read.
    read: Mutex<BTreeMap<usize, u64>>,
    /// What ended it before its end: nobody shall wait for a session that does not come back.
    failure: Mutex<Option<Error>>,
}

/// The home, as far as its rows need it.
pub(super) type Recipe = Arc<SqlHome>;

impl SqlReading {
    /// Begins a transaction, asks what is there in it, and keeps it.
    pub(super) async fn open(
        home: &SqlHome,
        database: &Arc<Database>,
        before: &Before,
    ) -> Result<Self> {
        let (mut session, asked) = ask(home, database.session().await?, before).await?;
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                session.end().await;
                return Err(error);
            }
        };
        let mut snapshot = None;
        if database.dialect == Dialect::Postgres && asked.ranges.len() > 1 {
            let exported = session
                .ask("export its snapshot", "SELECT pg_export_snapshot()")
                .await?;
            snapshot = exported.into_iter().flatten().next().flatten();
        }
        let statements = asked
            .ranges
            .iter()
            .map(|range| home.statement(database.dialect, &asked.described, range))
            .collect();
        let answer = Arc::new(asked.answer.clone());
        let (database, home) = (database.clone(), Arc::new(home.clone()));
        Ok(Self {
            asked,
            answer,
            statements,
            home,
            database,
            snapshot,
            is_full: AtomicBool::new(false),
            idle: Mutex::new(vec![session]),
            freed: Notify::new(),
            read: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// A session that sees the moment: one that is free, or one more where the snapshot and the
    /// pool allow it.
    async fn session(&self) -> Result<Session> {
        loop {
            // Asked for before it is looked: what is freed in between is not missed.
            let freed = self.freed.notified();
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
                && let Some(session) = self.joined(snapshot).await?
            {
                return Ok(session);
            }
            freed.await;
        }
    }

    /// One more session that sees the moment; nothing where none is to be had in time: then those
    /// that there are go on alone. A server may have no room for more, and a pooler lets who comes
    /// wait until another is done.
    async fn joined(&self, snapshot: &str) -> Result<Option<Session>> {
        let Some(mut session) = self
            .database
            .spare_session()
            .await
            .unwrap_or_else(|_| self.full())
        else {
            return Ok(None);
        };
        let join = format!(
            "{}; SET TRANSACTION SNAPSHOT {}",
            postgres::BEGIN,
            Dialect::Postgres.text(snapshot)
        );
        match tokio::time::timeout(
            self.database.connect_timeout,
            session.begin("join its snapshot", &join, None),
        )
        .await
        {
            // It ends with the session that gave it, which may be lost.
            Ok(joined) => joined
                .map(|()| Some(session))
                .map_err(|error| error.passing().into()),
            Err(_) => Ok(self.full()),
        }
    }

    /// No more sessions are asked for.
    fn full(&self) -> Option<Session> {
        self.is_full.store(true, Ordering::Relaxed);
        None
    }

    fn give_back(&self, session: Session) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
        self.freed.notify_one();
    }

    /// Others that read need not go on.
    fn fail(&self, error: Error) -> Error {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| error.clone());
        self.freed.notify_waiters();
        error
    }

    /// As many rows were read as were counted in the same moment: of the unit, and of all units
    /// where all were read.
    fn check_rows(&self, unit: usize, rows: u64) -> Result<(), SqlError> {
        let of = &self.home.relation;
        if let Some(counted) = self.asked.rows[unit].filter(|counted| *counted != rows) {
            let of = format!("{of}, {}", self.asked.ranges[unit].name);
            return Err(SqlError::Rows {
                of,
                counted,
                read: rows,
            });
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(unit, rows);
        let sum: u64 = read.values().sum();
        let is_all = read.len() == self.asked.ranges.len();
        match self.asked.total.filter(|total| is_all && *total != sum) {
            Some(counted) => Err(SqlError::Rows {
                of: of.to_string(),
                counted,
                read: sum,
            }),
            None => Ok(()),
        }
    }

    async fn read_unit(
        &self,
        unit: usize,
        rows_per_part: u64,
        rows: &mpsc::Sender<Batch>,
    ) -> Result<u64> {
        let limits = Limits {
            rows_per_part,
            batch_rows: self.home.batch_rows,
        };
        let mut session = self.session().await.map_err(|error| self.fail(error))?;
        let mut filling = Filling::new(self.asked.described.columns.clone(), limits);
        let (statement, described, home) = (
            &self.statements[unit],
            &self.asked.described,
            self.home.as_ref(),
        );
        let guard = Guarded::new(&session);
        let done = guard.finish(async {
            match &mut session.link {
                Link::Sqlite(_) => {
                    sqlite::read(&mut session, statement, home, described, &mut filling, rows).await
                }
                Link::Postgres(link) => {
                    postgres::read(link, statement, home, described, &mut filling, rows).await
                }
                Link::MySql(link) => {
                    mysql::read(link, statement, home, described, &mut filling, rows).await
                }
            }
        });
        if let Err(error) = done.await {
            // A session in the middle of something is not used again.
            return Err(self.fail(match error {
                ReadError::Driver(error) => self.database.failed("read its rows", &error).into(),
                other => other.into_error(),
            }));
        }
        self.give_back(session);
        self.check_rows(unit, filling.rows())
            .map_err(|error| self.fail(error.into()))?;
        if let Some(batch) = filling.finish()? {
            // Nobody receives any more: the flow has failed.
            rows.send(batch)
                .await
                .map_err(|_| Error::new(ErrorKind::Interrupted, "interrupted"))?;
        }
        Ok(filling.rows())
    }
}

impl Reading for SqlReading {
    fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }

    fn read(
        self: Arc<Self>,
        unit: usize,
        rows_per_part: u64,
        rows: mpsc::Sender<Batch>,
    ) -> BoxFuture<'static, Result<u64>> {
        Box::pin(async move { self.read_unit(unit, rows_per_part, &rows).await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let sessions =
                std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
            for session in sessions {
                session.end().await;
            }
        })
    }
}

/// Asks in a task of its own, which a thread may be in the middle of when whoever waits for it
/// gives it up.
///
/// # Errors
/// A library panicked in it.
pub(super) async fn ask(
    home: &SqlHome,
    mut session: Session,
    before: &Before,
) -> Result<(Session, Result<Asked>)> {
    let (home, before) = (home.clone(), before.clone());
    let mut guard = Guarded::new(&session);
    let asking = tokio::spawn(async move {
        let asked = home.ask(&mut session, &before).await;
        (session, asked)
    });
    guard.task = Some(asking.abort_handle());
    guard
        .finish(asking)
        .await
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => Error::of_panic_at_a_server(panic),
            Err(error) => Error::new(ErrorKind::Flow, error),
        })
}

/// Ends a query when the work on it is dropped before its end.
struct Guarded {
    canceller: Option<Canceller>,
    /// The task that does the work, if it is not the one that waits.
    task: Option<AbortHandle>,
}

impl Guarded {
    fn new(session: &Session) -> Self {
        Self {
            canceller: Some(session.canceller()),
            task: None,
        }
    }

    async fn finish<T>(mut self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        self.canceller = None;
        done
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(canceller) = self.canceller.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            canceller.cancel_on(&runtime);
            self.task.iter().for_each(AbortHandle::abort);
        }
    }
}
