//! Sessions: one conversation with a database each, borrowed from those that all flows share.

use std::sync::{Arc, PoisonError};

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Decode, Executor, Row, Sqlite, ValueRef, raw_sql};
use tokio::sync::OwnedSemaphorePermit;

use super::failure::{ConnectionError, Failure};
use super::{Access, CANCELLING, Database};

/// The connection of a driver.
#[derive(Debug)]
pub enum Link {
    /// Of SQLite.
    Sqlite(Box<SqliteConnection>),
    /// Of PostgreSQL.
    Postgres(Box<PgConnection>),
    /// Of MySQL or MariaDB.
    MySql(Box<MySqlConnection>),
}

/// One conversation with a database. Dropped, it is closed; [`Session::end`] gives it to the next who asks.
#[derive(Debug)]
pub struct Session {
    /// The driver's connection.
    pub link: Link,
    /// How the server calls it; nothing for SQLite.
    pub(super) id: i64,
    pub(super) database: Arc<Database>,
    /// What it was opened for.
    pub(super) access: Access,
    /// True where another may have it afterwards.
    pub(super) is_kept: bool,
    /// One of as many sessions as may be open at once.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A small answer: rows of texts.
pub type Texts = Vec<Vec<Option<String>>>;

impl Session {
    /// The database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Runs statements that give no rows. `action` says in an error what failed.
    pub async fn execute(&mut self, action: &str, sql: &str) -> Result<(), ConnectionError> {
        let sql = AssertSqlSafe(sql);
        let done = match &mut self.link {
            Link::Sqlite(link) => link.execute(raw_sql(sql)).await.map(drop),
            Link::Postgres(link) => link.execute(raw_sql(sql)).await.map(drop),
            Link::MySql(link) => link.execute(raw_sql(sql)).await.map(drop),
        };
        done.map_err(|error| self.failed(action, &error))
    }

    /// Runs a statement that changes rows; gives how many the database says it changed.
    pub async fn change(&mut self, action: &str, sql: &str) -> Result<u64, ConnectionError> {
        let sql = AssertSqlSafe(sql);
        let done = match &mut self.link {
            Link::Sqlite(link) => link.execute(raw_sql(sql)).await.map(|done| done.rows_affected()),
            Link::Postgres(link) => link.execute(raw_sql(sql)).await.map(|done| done.rows_affected()),
            Link::MySql(link) => link.execute(raw_sql(sql)).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| self.failed(action, &error))
    }

    /// A small answer, each value as the text that the database makes of it.
    pub async fn ask(&mut self, action: &str, sql: &str) -> Result<Texts, ConnectionError> {
        let sql = AssertSqlSafe(sql);
        let rows = match &mut self.link {
            Link::Sqlite(link) => link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                let text = |row: &sqlx::sqlite::SqliteRow, column| {
                    let value = row.try_get_raw(column)?;
                    if value.is_null() {
                        Ok(None)
                    } else {
                        <String as Decode<Sqlite>>::decode(value).map(Some).map_err(sqlx::Error::Decode)
                    }
                };
                rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
            }),
            Link::Postgres(link) => link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                let text = |row: &sqlx::postgres::PgRow, column| {
                    let value = row.try_get_raw(column)?;
                    if value.is_null() { Ok(None) } else { value.as_str().map(|text| Some(text.to_string())).map_err(sqlx::Error::Decode) }
                };
                rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
            }),
            Link::MySql(link) => link.fetch_all(raw_sql(sql)).await.and_then(|rows| {
                let text = |row: &sqlx::mysql::MySqlRow, column| {
                    // A date of zeros is a value, which sqlx takes for none.
                    match <&[u8] as Decode<sqlx::MySql>>::decode(row.try_get_raw(column)?) {
                        Ok(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
                        Err(_) => Ok(None),
                    }
                };
                rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
            }),
        };
        rows.map_err(|error| self.failed(action, &error))
    }

    /// What became of something that it was asked to do.
    pub fn failed(&self, action: &str, error: &sqlx::Error) -> ConnectionError {
        self.database.failed(action, error)
    }

    /// What became of something, told in words of the database's.
    pub fn failed_with(&self, action: &str, failure: Failure) -> ConnectionError {
        ConnectionError::Failed { connection: self.database.name.clone(), action: action.to_string(), failure }
    }

    /// Ends the transaction that it is in, and gives it to the next who asks. What cannot be ended is closed.
    pub async fn end(mut self) {
        let ended = match &mut self.link {
            // Nothing to roll back is no failure.
            Link::Sqlite(link) => link.execute(raw_sql("ROLLBACK")).await.map(drop).or(Ok(())),
            Link::Postgres(link) => link.execute(raw_sql("ROLLBACK")).await.map(drop),
            Link::MySql(link) => link.execute(raw_sql("ROLLBACK")).await.map(drop),
        };
        if ended.is_ok() && self.is_kept {
            self.database.clone().keep(self.link, self.id, self.access);
        }
    }

    /// What the server calls this session: to end a query from another one.
    pub fn canceller(&self) -> Canceller {
        Canceller { database: self.database.clone(), id: self.id }
    }

    /// True where the server still answers.
    pub(super) async fn answers(link: &mut Link) -> bool {
        match link {
            Link::Sqlite(link) => link.ping().await.is_ok(),
            Link::Postgres(link) => link.ping().await.is_ok(),
            Link::MySql(link) => link.ping().await.is_ok(),
        }
    }
}

/// Ends the query of a session at the server: who only closes a connection leaves it running.
#[derive(Clone, Debug)]
pub struct Canceller {
    database: Arc<Database>,
    id: i64,
}

impl Canceller {
    /// Ends the query that the session is in; the database waits for that before it is let go.
    pub fn cancel_on(self, runtime: &tokio::runtime::Handle) {
        if self.database.dialect == super::Dialect::Sqlite {
            return;
        }
        let database = self.database.clone();
        let cancelling = runtime.spawn(async move { self.cancel().await });
        database.cancelling.lock().unwrap_or_else(PoisonError::into_inner).push(cancelling);
    }

    /// Ends the query that the session is in. What cannot be reached within two seconds is let be.
    pub async fn cancel(&self) {
        let cancelled = async {
            match self.database.connect(Access::Read).await? {
                (Link::Sqlite(_), _) => {}
                (Link::Postgres(mut link), _) => {
                    link.execute(raw_sql(AssertSqlSafe(format!("SELECT pg_cancel_backend({})", self.id)))).await?;
                }
                (Link::MySql(mut link), _) => {
                    link.execute(raw_sql(AssertSqlSafe(format!("KILL QUERY {}", self.id)))).await?;
                }
            }
            Ok::<_, sqlx::Error>(())
        };
        // The server may be gone: then so is the query.
        drop(tokio::time::timeout(CANCELLING, cancelled).await);
    }
}
