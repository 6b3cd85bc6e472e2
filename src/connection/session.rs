//! Sessions: one conversation with a database each, borrowed from those that all flows share.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{LockedSqliteHandle, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Decode, Executor, Row, Sqlite, ValueRef, raw_sql};
use tokio::sync::OwnedSemaphorePermit;

use super::cancel_state::{CancelState, StatementTimer};
use super::failure::{ConnectionError, Failure};
use super::{CANCEL_TIMEOUT, Database, Dialect, SessionAccess};

/// What values look like as texts in PostgreSQL, and in which order rows without one come, must not
/// depend on how the server is set up. It is set within a transaction: behind a pooler, what is set
/// outside of one stays with a session that others get next.
const POSTGRES_SETTINGS: &str = "SET LOCAL intervalstyle = iso_8601; SET LOCAL datestyle = ISO; \
     SET LOCAL bytea_output = hex; \
     SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL xmloption = content; \
     SET LOCAL lc_monetary = 'C'; \
     SET LOCAL synchronize_seqscans = off";

/// After as many of SQLite's instructions it is asked whether they shall go on.
const PROGRESS_INTERVAL: i32 = 100_000;

/// The connection of a driver.
#[derive(Debug)]
pub enum DriverConnection {
    /// Of SQLite.
    Sqlite(Box<SqliteConnection>),
    /// Of PostgreSQL.
    Postgres(Box<PgConnection>),
    /// Of MySQL or MariaDB.
    MySql(Box<MySqlConnection>),
}

/// One conversation with a database. Dropped, it is closed; [`Session::release`] gives it to the
/// next who asks.
#[derive(Debug)]
pub struct Session {
    /// The driver's connection.
    pub driver: DriverConnection,
    pub(super) cancel_state: Arc<CancelState>,
    /// True between the beginning of a transaction and its end.
    pub(super) is_in_transaction: bool,
    pub(super) database: Arc<Database>,
    /// What it was opened for.
    pub(super) access: SessionAccess,
    /// True where another may have it afterwards.
    pub(super) is_reusable: bool,
    /// One of as many sessions as may be open at once.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A value that is sent beside a statement.
#[derive(Clone, Copy, Debug)]
pub enum SqlParameter<'v> {
    /// UTF-8.
    Text(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl SqlParameter<'_> {
    /// Its bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// True for a value without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A small answer: rows of texts.
pub type TextRows = Vec<Vec<Option<String>>>;

impl Session {
    /// The database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Begins a transaction by `begin`, which is one statement or several; `then` follows in it at
    /// once. What decides how PostgreSQL writes values is set in it. Its moment is not taken before
    /// all of that is done.
    pub async fn begin(
        &mut self,
        action: &str,
        begin: &str,
        then: Option<&str>,
    ) -> Result<(), ConnectionError> {
        if self.database.dialect != Dialect::Postgres {
            self.execute(action, begin).await?;
            if let Some(then) = then {
                self.execute(action, then).await?;
            }
        } else {
            let timeout = self
                .timeout()
                .map(|timeout| format!("; {timeout}"))
                .unwrap_or_default();
            let then = then.map(|then| format!("; {then}")).unwrap_or_default();
            // All in one message; the last statement is the first that takes a snapshot.
            let begun =
                format!("{begin}; {POSTGRES_SETTINGS}{timeout}{then}; SELECT pg_backend_pid()");
            self.is_in_transaction = true;
            let answer = self.query_text(action, &begun).await?;
            let server = answer
                .into_iter()
                .flatten()
                .flatten()
                .next()
                .and_then(|number| number.parse().ok());
            self.cancel_state.set_backend_id(server.unwrap_or_default());
        }
        self.is_in_transaction = true;
        Ok(())
    }

    /// Commits what was done since the transaction began.
    pub async fn commit(&mut self) -> Result<(), ConnectionError> {
        self.end_transaction("commit", "COMMIT").await
    }

    /// Undoes what was done since the transaction began.
    pub async fn roll_back(&mut self, action: &str) -> Result<(), ConnectionError> {
        self.end_transaction(action, "ROLLBACK").await
    }

    /// Ends a transaction. From the moment that this is said, who worked in it may work for others,
    /// and is not ended by us.
    async fn end_transaction(&mut self, action: &str, end: &str) -> Result<(), ConnectionError> {
        if self.database.dialect == Dialect::Postgres {
            self.cancel_state.set_backend_id(0);
        }
        let ended = self.execute(action, end).await;
        self.is_in_transaction = false;
        ended
    }

    /// The statement that limits the next ones within PostgreSQL's transaction, where the config
    /// does.
    fn timeout(&self) -> Option<String> {
        let limited = self
            .database
            .statement_timeout
            .filter(|_| self.database.dialect == Dialect::Postgres);
        // The server takes no more than this, nearly 25 days.
        limited.map(|time| {
            format!(
                "SET LOCAL statement_timeout = {}",
                time.as_millis().clamp(1, i32::MAX as u128)
            )
        })
    }

    /// The same statements; outside of a transaction, as one that has its own limit.
    fn with_statement_timeout<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        match self.timeout().filter(|_| !self.is_in_transaction) {
            Some(timeout) => format!("{timeout}; {sql}").into(),
            None => sql.into(),
        }
    }

    /// Runs statements that give no rows. `action` says in an error what failed.
    pub async fn execute(&mut self, action: &str, sql: &str) -> Result<(), ConnectionError> {
        let (sql, watch) = (self.with_statement_timeout(sql), self.cancel_state.clone());
        let _statement = watch.start_statement(self.database.statement_timeout);
        let sql = AssertSqlSafe(sql.as_ref());
        let done = match &mut self.driver {
            DriverConnection::Sqlite(link) => link.execute(raw_sql(sql)).await.map(drop),
            DriverConnection::Postgres(link) => link.execute(raw_sql(sql)).await.map(drop),
            DriverConnection::MySql(link) => link.execute(raw_sql(sql)).await.map(drop),
        };
        done.map_err(|error| self.error_for(action, &error))
    }

    /// Runs a statement that changes rows; gives how many the database says it changed.
    pub async fn execute_update(
        &mut self,
        action: &str,
        sql: &str,
    ) -> Result<u64, ConnectionError> {
        let (sql, watch) = (self.with_statement_timeout(sql), self.cancel_state.clone());
        let _statement = watch.start_statement(self.database.statement_timeout);
        let sql = AssertSqlSafe(sql.as_ref());
        let done = match &mut self.driver {
            DriverConnection::Sqlite(link) => link
                .execute(raw_sql(sql))
                .await
                .map(|done| done.rows_affected()),
            DriverConnection::Postgres(link) => link
                .execute(raw_sql(sql))
                .await
                .map(|done| done.rows_affected()),
            DriverConnection::MySql(link) => {
                let done = link
                    .execute(raw_sql(sql))
                    .await
                    .map(|done| done.rows_affected());
                // What one long statement took is not kept for the next ones.
                link.shrink_buffers();
                done
            }
        };
        done.map_err(|error| self.error_for(action, &error))
    }

    /// The same in MySQL, for a statement in which marks stand for values that are sent beside it,
    /// as they are: as SQL a long one would be there several times over.
    pub async fn execute_with_parameters(
        &mut self,
        action: &str,
        sql: &str,
        values: &[SqlParameter<'_>],
    ) -> Result<u64, ConnectionError> {
        let DriverConnection::MySql(link) = &mut self.driver else {
            return self.execute_update(action, sql).await;
        };
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let query = values.iter().fold(query, |query, value| match value {
            SqlParameter::Text(text) => query.bind(*text),
            SqlParameter::Bytes(bytes) => query.bind(*bytes),
        });
        let done = query
            .execute(link.as_mut())
            .await
            .map(|done| done.rows_affected());
        // What one long value took is not kept for the next ones.
        link.shrink_buffers();
        done.map_err(|error| self.error_for(action, &error))
    }

    /// A small answer, each value as the text that the database makes of it.
    pub async fn query_text(
        &mut self,
        action: &str,
        sql: &str,
    ) -> Result<TextRows, ConnectionError> {
        let (sql, watch) = (self.with_statement_timeout(sql), self.cancel_state.clone());
        let _statement = watch.start_statement(self.database.statement_timeout);
        let sql = AssertSqlSafe(sql.as_ref());
        let rows = match &mut self.driver {
            DriverConnection::Sqlite(link) => link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                let text = |row: &sqlx::sqlite::SqliteRow, column| {
                    let value = row.try_get_raw(column)?;
                    if value.is_null() {
                        Ok(None)
                    } else {
                        <String as Decode<Sqlite>>::decode(value)
                            .map(Some)
                            .map_err(sqlx::Error::Decode)
                    }
                };
                rows.iter()
                    .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
                    .collect()
            }),
            DriverConnection::Postgres(link) => {
                link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                    let text = |row: &sqlx::postgres::PgRow, column| {
                        let value = row.try_get_raw(column)?;
                        if value.is_null() {
                            Ok(None)
                        } else {
                            value
                                .as_str()
                                .map(|text| Some(text.to_string()))
                                .map_err(sqlx::Error::Decode)
                        }
                    };
                    rows.iter()
                        .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
                        .collect()
                })
            }
            DriverConnection::MySql(link) => link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                let text = |row: &sqlx::mysql::MySqlRow, column| {
                    // A date of zeros is a value, which sqlx takes for none.
                    match <&[u8] as Decode<sqlx::MySql>>::decode(row.try_get_raw(column)?) {
                        Ok(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
                        Err(_) => Ok(None),
                    }
                };
                rows.iter()
                    .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
                    .collect()
            }),
        };
        rows.map_err(|error| self.error_for(action, &error))
    }

    /// What became of something that it was asked to do.
    pub fn error_for(&self, action: &str, error: &sqlx::Error) -> ConnectionError {
        self.database.error_for(action, error)
    }

    /// What became of something, told in words of the database's.
    pub fn error_for_failure(&self, action: &str, failure: Failure) -> ConnectionError {
        ConnectionError::Failed {
            connection: self.database.name.clone(),
            action: action.to_string(),
            failure,
        }
    }

    /// Ends the transaction that it is in, and gives it to the next who asks. What cannot be ended
    /// is closed.
    pub async fn release(mut self) {
        // Whether it is in a transaction or not, nothing may stand before this.
        self.is_in_transaction = true;
        let ended = match self.database.dialect {
            // Nothing to roll back is no failure.
            Dialect::Sqlite => self
                .end_transaction("end a transaction", "ROLLBACK")
                .await
                .or(Ok(())),
            _ => self.end_transaction("end a transaction", "ROLLBACK").await,
        };
        if ended.is_ok() && self.is_reusable && self.cancel_state.is_active() {
            self.database
                .clone()
                .return_idle(self.driver, self.cancel_state, self.access);
        }
    }

    /// Ends what this session is in the middle of, from elsewhere.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            database: self.database.clone(),
            cancel_state: self.cancel_state.clone(),
        }
    }

    /// Does something with SQLite's own handle that may take long: it ends where the session is
    /// given up, where a statement takes longer than it may, or where `goes_on` says so. Nothing
    /// where this is no SQLite.
    pub async fn with_handle<T>(
        &mut self,
        action: &str,
        mut goes_on: impl FnMut() -> bool + Send + 'static,
        work: impl FnOnce(&mut LockedSqliteHandle<'_>, &StatementTimer<'_>) -> T,
    ) -> Result<Option<T>, ConnectionError> {
        let (database, watch) = (self.database.clone(), self.cancel_state.clone());
        let DriverConnection::Sqlite(link) = &mut self.driver else {
            return Ok(None);
        };
        let mut handle = link
            .lock_handle()
            .await
            .map_err(|error| database.error_for(action, &error))?;
        let seen = watch.clone();
        handle.set_progress_handler(PROGRESS_INTERVAL, move || seen.may_continue() && goes_on());
        let statement = watch.start_statement(database.statement_timeout);
        // The thread may wait meanwhile.
        let done = tokio::task::block_in_place(|| work(&mut handle, &statement));
        drop(statement);
        handle.set_progress_handler(PROGRESS_INTERVAL, move || watch.may_continue());
        Ok(Some(done))
    }

    /// True where the server still answers.
    pub(super) async fn is_alive(link: &mut DriverConnection) -> bool {
        match link {
            DriverConnection::Sqlite(link) => link.ping().await.is_ok(),
            DriverConnection::Postgres(link) => link.ping().await.is_ok(),
            DriverConnection::MySql(link) => link.ping().await.is_ok(),
        }
    }
}

/// From now on SQLite asks whether its statements shall go on.
pub(super) async fn install_progress_handler(
    link: &mut SqliteConnection,
    watch: &Arc<CancelState>,
) -> Result<(), sqlx::Error> {
    let seen = watch.clone();
    link.lock_handle()
        .await?
        .set_progress_handler(PROGRESS_INTERVAL, move || seen.may_continue());
    Ok(())
}

/// Ends the query of a session at the server: who only closes a connection leaves it running. In
/// SQLite it ends where it is asked whether it shall go on.
#[derive(Clone, Debug)]
pub struct Canceller {
    database: Arc<Database>,
    cancel_state: Arc<CancelState>,
}

impl Canceller {
    /// Ends the query that the session is in; the database waits for that before it is let go.
    pub fn cancel_on(self, runtime: &tokio::runtime::Handle) {
        self.cancel_state.cancel();
        if self.cancel_state.backend_id().is_none() {
            return;
        }
        let database = self.database.clone();
        let cancelling = runtime.spawn(async move { self.cancel().await });
        database
            .cancellations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(cancelling);
    }

    /// Ends the query that the session is in. What cannot be reached within two seconds is let be.
    pub async fn cancel(&self) {
        self.cancel_state.cancel();
        let Some(number) = self.cancel_state.backend_id() else {
            return;
        };
        let cancelled = async {
            match self.database.connect(SessionAccess::Read).await? {
                (DriverConnection::Sqlite(_), _) => {}
                (DriverConnection::Postgres(mut link), _) => {
                    link.execute(raw_sql(AssertSqlSafe(format!(
                        "SELECT pg_cancel_backend({number})"
                    ))))
                    .await?;
                }
                (DriverConnection::MySql(mut link), _) => {
                    link.execute(raw_sql(AssertSqlSafe(format!("KILL QUERY {number}"))))
                        .await?;
                }
            }
            Ok::<_, sqlx::Error>(())
        };
        // The server may be gone: then so is the query.
        drop(tokio::time::timeout(CANCEL_TIMEOUT, cancelled).await);
    }
}
