//! Databases: where they are, sessions with them, what they say when they fail.
//!
//! It knows no homes and stores: what is asked and what becomes of it is theirs.
//! Nothing that came from a URL is in an error: what a library or a server says of it is covered.

mod blocking;
pub mod calendar;
pub mod cancel_state;
pub mod dialect;
pub mod digits;
pub mod failure;
pub mod lexer;
mod options;
mod redaction;
pub mod relation;
pub mod session;
pub mod sqlite_statement;
pub mod types;
mod untrusted_schema;
mod url;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, raw_sql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::config::connection::Connection;
use crate::error::catch_panic_async;
use crate::fs::{self, FsError};

use cancel_state::CancelState;
use options::{ConnectSpec, DriverOptions};
use redaction::Redaction;
use url::invalid_url;

pub use blocking::{
    PendingWork, WaitTimedOut, block_on, run_with_grace_period, run_with_timeout,
    set_interrupt_flag, spawn, with_timeout,
};
pub use dialect::Dialect;
pub use failure::{ConnectionError, Failure};
pub use relation::{Relation, TableName};
pub use session::{DriverConnection, Session};

/// How long ending a query may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a server that lets nobody in for a moment is tried again.
const CONNECT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long it counts for everybody that nothing answers at the place of a database: shorter than
/// any flow rests.
const UNREACHABLE_TTL: Duration = Duration::from_millis(500);

/// How long a session that nobody had may take to answer: opening another one takes no longer.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes away from a session of MySQL's what the driver asked for and the server does not have by
/// itself: function names that are reserved words.
const RESTORE_SQL_MODE: &str = "SET SESSION sql_mode = IF(FIND_IN_SET('IGNORE_SPACE', \
     @@GLOBAL.sql_mode), @@SESSION.sql_mode, \
     TRIM(BOTH ',' FROM REPLACE(CONCAT(',', @@SESSION.sql_mode, ','), ',IGNORE_SPACE,', ',')))";

/// The databases of a project, each opened when it is first asked for.
#[derive(Debug, Default)]
pub struct Databases {
    root: PathBuf,
    open: Mutex<HashMap<String, Arc<Database>>>,
}

impl Databases {
    /// None is open. Paths of SQLite are relative to `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            open: Mutex::default(),
        }
    }

    /// The database of a connection. Nothing is sent to it.
    ///
    /// # Errors
    /// Its URL cannot be used.
    pub fn for_connection(
        &self,
        connection: &Connection,
    ) -> Result<Arc<Database>, ConnectionError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = open.get(&connection.name) {
            return Ok(database.clone());
        }
        let database = Arc::new(
            Database::new(connection, &self.root)
                .map_err(|error| error.with_connection(&connection.name))?,
        );
        open.insert(connection.name.clone(), database.clone());
        Ok(database)
    }

    /// Closes the sessions that nobody has.
    pub fn close_idle(&self) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .for_each(|database| database.close_idle());
    }

    /// Waits for queries to end that were given up. A process that ends before leaves them running.
    pub async fn wait_for_cancellations(&self) {
        let databases: Vec<_> = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        for database in databases {
            let cancelling = std::mem::take(
                &mut *database
                    .cancellations
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
            for query in cancelling {
                drop(query.await);
            }
        }
    }
}

/// One database, with the sessions that flows share.
#[derive(Debug)]
pub struct Database {
    /// The name of its connection.
    pub name: String,
    /// What it writes differently from others.
    pub dialect: Dialect,
    /// The file of a SQLite database.
    pub file: Option<PathBuf>,
    /// The file of root certificates that the config names.
    certificate: Option<PathBuf>,
    /// Who asks for TLS, where somebody does.
    tls_required_by: Option<&'static str>,
    /// Why no table can be filled there.
    read_only_reason: Option<&'static str>,
    redaction: Redaction,
    options: DriverOptions,
    /// How long opening a session may take.
    pub connect_timeout: Duration,
    statement_timeout: Option<Duration>,
    /// True where a session was opened before.
    has_answered: AtomicBool,
    /// When nothing answered at its place for the last time, and what came of that.
    last_unreachable: Mutex<Option<(Instant, Failure)>>,
    permits: Arc<Semaphore>,
    /// Whose turn it is to write to a SQLite database, of the flows of this process.
    pub write_lock: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<IdleSession>>,
    /// Queries that are being ended at the server.
    cancellations: Mutex<Vec<JoinHandle<()>>>,
}

/// A session that nobody has.
#[derive(Debug)]
struct IdleSession {
    driver: DriverConnection,
    cancel_state: Arc<CancelState>,
    /// What it is for: who writes gives his sessions settings of his own, by which a home would
    /// read something else.
    access: SessionAccess,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionAccess {
    Read,
    Write,
}

impl Database {
    fn new(connection: &Connection, root: &Path) -> Result<Self, ConnectionError> {
        let ConnectSpec {
            options,
            dialect,
            file,
            certificate,
            tls_required_by: tls,
            read_only_reason: unwritable,
        } = ConnectSpec::from_connection(connection, root)?;
        Ok(Self {
            name: connection.name.clone(),
            dialect,
            file,
            certificate,
            tls_required_by: tls,
            read_only_reason: unwritable,
            options,
            connect_timeout: connection.connect_timeout,
            statement_timeout: connection.statement_timeout,
            has_answered: AtomicBool::new(false),
            last_unreachable: Mutex::default(),
            permits: Arc::new(Semaphore::new(
                usize::try_from(connection.pool_size).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            write_lock: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            cancellations: Mutex::default(),
            redaction: Redaction::new(connection),
        })
    }

    /// Fails where no table can be filled, by what its URL says.
    ///
    /// # Errors
    /// It is for reading only, or goes with the process.
    pub fn check_writable(&self) -> Result<(), ConnectionError> {
        let Some(reason) = self.read_only_reason else {
            return Ok(());
        };
        let hint = "a store needs a file that may be written to: sqlite:FILE";
        Err(ConnectionError::InvalidConnectionUrl {
            connection: self.name.clone(),
            reason: reason.into(),
            hint,
        })
    }

    /// True for a SQLite database that is not there yet.
    ///
    /// # Errors
    /// It cannot be looked for.
    pub fn is_missing(&self) -> Result<bool, FsError> {
        self.file
            .as_ref()
            .map_or(Ok(false), |file| Ok(fs::stat(file)?.is_none()))
    }

    /// A session that reads, once there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn session(self: &Arc<Self>) -> Result<Session, ConnectionError> {
        let permit = self.permit().await?;
        self.open_session(permit, SessionAccess::Read, true).await
    }

    /// A session that writes, once there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn writing_session(self: &Arc<Self>) -> Result<Session, ConnectionError> {
        let permit = self.permit().await?;
        self.open_session(permit, SessionAccess::Write, true).await
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, ConnectionError> {
        // It is never closed.
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|error| {
            self.error_for_failure(
                "open a session",
                Failure::from_message(error.to_string(), false),
            )
        })
    }

    /// A session, if there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn try_session(self: &Arc<Self>) -> Result<Option<Session>, ConnectionError> {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => self
                .open_session(permit, SessionAccess::Read, false)
                .await
                .map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn open_session(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        access: SessionAccess,
        is_waited_for: bool,
    ) -> Result<Session, ConnectionError> {
        // SQLite's are opened for reading or for writing, servers' for both.
        let is_kept = self.dialect != Dialect::Sqlite || access == SessionAccess::Read;
        let session = |(link, watch), permit| {
            let (database, is_in_transaction) = (self.clone(), false);
            Session {
                driver: link,
                cancel_state: watch,
                is_in_transaction,
                database,
                access,
                is_reusable: is_kept,
                _permit: permit,
            }
        };
        while let Some(IdleSession {
            driver: mut link,
            cancel_state: watch,
            ..
        }) = self.take_idle(access)
        {
            // Of a connection that something on the way has forgotten, nothing is heard any more.
            if tokio::time::timeout(PING_TIMEOUT, Session::is_alive(&mut link)).await == Ok(true) {
                return Ok(session((link, watch), permit));
            }
        }
        if access == SessionAccess::Read && matches!(self.is_missing(), Ok(true)) {
            return Err(ConnectionError::NoFile(self.name.clone()));
        }
        self.connect_with_retry(access, is_waited_for)
            .await
            .map(|opened| session(opened, permit))
    }

    /// Opens a session. A server that has answered before and lets nobody in now may be starting
    /// again, or be full for a moment: that is no failure of who comes then, as long as it does not
    /// take longer than opening may.
    async fn connect_with_retry(
        &self,
        access: SessionAccess,
        is_waited_for: bool,
    ) -> Result<(DriverConnection, Arc<CancelState>), ConnectionError> {
        self.file
            .as_deref()
            .map_or(Ok(()), |file| self.check_sqlite_files(file, access))?;
        // Who waited for his turn while others waited for an answer does not begin anew.
        let silent = self
            .last_unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((_, failure)) = silent.filter(|(at, _)| at.elapsed() < UNREACHABLE_TTL) {
            return Err(self.error_for_failure("open a session", failure));
        }
        let began = Instant::now();
        loop {
            let failure =
                match tokio::time::timeout(self.connect_timeout, self.connect(access)).await {
                    Ok(Ok(opened)) => {
                        self.has_answered.store(true, Ordering::Relaxed);
                        return Ok(opened);
                    }
                    Ok(Err(error)) => self.connect_failure(&error),
                    Err(_) => Failure::from_message(
                        format!("it does not answer within {:?}", self.connect_timeout),
                        true,
                    ),
                };
            if failure.is_transient {
                // A server that is full may have room then.
                self.idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop();
            }
            let may_come_back =
                failure.is_transient && is_waited_for && self.has_answered.load(Ordering::Relaxed);
            if !may_come_back || began.elapsed() >= self.connect_timeout {
                if is_waited_for && failure.code.is_none() {
                    *self
                        .last_unreachable
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) =
                        Some((Instant::now(), failure.clone()));
                }
                return Err(self.error_for_failure("open a session", failure));
            }
            tokio::time::sleep(CONNECT_RETRY_INTERVAL).await;
        }
    }

    /// What lies beside a SQLite file is no reason to wait, and nothing that removes a file
    /// somewhere else.
    fn check_sqlite_files(
        &self,
        file: &Path,
        access: SessionAccess,
    ) -> Result<(), ConnectionError> {
        // SQLite names it after the file that links lead to.
        let names_another = fs::real_path(file).and_then(|file| fs::has_super_journal(&file));
        match names_another {
            // Who only reads rolls nothing back.
            Ok(true) if access == SessionAccess::Write => {
                Err(ConnectionError::ForeignJournal(self.name.clone()))
            }
            Ok(_) => Ok(()),
            Err(error) if error.unexpected_file().is_some() => {
                Err(ConnectionError::UnexpectedSqliteFile(self.name.clone()))
            }
            // What cannot be looked at, SQLite cannot open either.
            Err(_) => Ok(()),
        }
    }

    /// Why no session was opened.
    fn connect_failure(&self, error: &sqlx::Error) -> Failure {
        Failure::from_connect_error(
            error,
            &self.redaction,
            self.dialect,
            (self.tls_required_by, self.certificate.as_deref()),
        )
    }

    /// A session that nobody has, for what it was opened for. One that is for something else is
    /// closed where it is one too many.
    fn take_idle(&self, access: SessionAccess) -> Option<IdleSession> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = idle.iter().rposition(|idle| idle.access == access) {
            return Some(idle.remove(place));
        }
        // A server's sessions are for both, and who writes sets what he needs when he begins.
        if access == SessionAccess::Write && self.dialect != Dialect::Sqlite && !idle.is_empty() {
            return idle.pop();
        }
        // Each that is in use has a permit. Who reads a SQLite file does not keep its log from
        // being worked in.
        if idle.len() > self.permits.available_permits() || self.dialect == Dialect::Sqlite {
            idle.pop();
        }
        None
    }

    /// A new connection, and how others may end what it does. What answers may be anything: a
    /// driver that panics at it has met no server.
    async fn connect(
        &self,
        access: SessionAccess,
    ) -> Result<(DriverConnection, Arc<CancelState>), sqlx::Error> {
        let connected = catch_panic_async(self.connect_by_driver(access)).await;
        connected.unwrap_or_else(|panic| Err(sqlx::Error::Protocol(panic.to_string())))
    }

    async fn connect_by_driver(
        &self,
        access: SessionAccess,
    ) -> Result<(DriverConnection, Arc<CancelState>), sqlx::Error> {
        let watch = Arc::new(CancelState::new());
        let link = match &self.options {
            // Who opens one for writing and is the last to close it changes its file, for its log
            // is worked in.
            DriverOptions::Sqlite(options) => {
                let options = options.as_ref().clone();
                let options = options
                    .read_only(access == SessionAccess::Read && self.file.is_some())
                    .create_if_missing(access == SessionAccess::Write || self.file.is_none());
                let mut link = options.connect().await?;
                session::install_progress_handler(&mut link, &watch).await?;
                DriverConnection::Sqlite(Box::new(link))
            }
            DriverOptions::Postgres(options) => {
                DriverConnection::Postgres(Box::new(options.connect().await?))
            }
            DriverOptions::MySql(options) => {
                let mut link = options.connect().await?;
                link.execute(raw_sql(RESTORE_SQL_MODE)).await?;
                if let Some(time) = self.statement_timeout {
                    let (version,): (String,) = sqlx::query_as("SELECT VERSION()")
                        .persistent(false)
                        .fetch_one(&mut link)
                        .await?;
                    let setting = if version.contains("MariaDB") {
                        format!(
                            "SET SESSION max_statement_time = {}",
                            time.as_millis() as f64 / 1e3
                        )
                    } else {
                        format!("SET SESSION max_execution_time = {}", time.as_millis())
                    };
                    link.execute(raw_sql(AssertSqlSafe(setting))).await?;
                }
                let (id,): (u64,) = sqlx::query_as("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
                    .persistent(false)
                    .fetch_one(&mut link)
                    .await?;
                watch.set_backend_id(i64::try_from(id).unwrap_or_default());
                DriverConnection::MySql(Box::new(link))
            }
        };
        Ok((link, watch))
    }

    /// Closes the sessions that nobody has: others may need their places at the server.
    fn close_idle(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn return_idle(&self, link: DriverConnection, watch: Arc<CancelState>, access: SessionAccess) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(IdleSession {
                driver: link,
                cancel_state: watch,
                access,
            });
    }

    /// What became of something that it was asked to do.
    pub fn error_for(&self, action: &str, error: &sqlx::Error) -> ConnectionError {
        self.error_for_failure(action, Failure::new(error, &self.redaction))
    }

    fn error_for_failure(&self, action: &str, failure: Failure) -> ConnectionError {
        ConnectionError::Failed {
            connection: self.name.clone(),
            action: action.to_string(),
            failure,
        }
    }
}

/// What tells one database from another, without anything secret: its kind, host, port and name. A
/// SQLite database is known by its path as it is written, so that a project may move.
///
/// # Errors
/// The URL cannot be used.
pub fn database_id(connection: &Connection) -> Result<String, ConnectionError> {
    if let Some(identity) = connection.identity()? {
        return Ok(identity);
    }
    let url = connection.url()?;
    let url = url.expose_secret();
    let unusable = |error: sqlx::Error| invalid_url(&error, url);
    Ok(match Dialect::from_url(url) {
        Dialect::Sqlite => {
            let options = SqliteConnectOptions::from_str(url).map_err(&unusable)?;
            format!("sqlite:{}", options.get_filename().display())
        }
        Dialect::Postgres => {
            let options = url::postgres(url).map_err(&unusable)?;
            let name = options.get_database().unwrap_or(options.get_username());
            let host = options
                .get_socket()
                .map_or(options.get_host().to_string(), |socket| {
                    socket.display().to_string()
                });
            format!("postgres://{host}:{}/{name}", options.get_port())
        }
        Dialect::MySql => {
            let options = MySqlConnectOptions::from_str(&url.replacen("mariadb:", "mysql:", 1))
                .map_err(&unusable)?;
            let host = options
                .get_socket()
                .map_or(options.get_host().to_string(), |socket| {
                    socket.display().to_string()
                });
            format!(
                "mysql://{host}:{}/{}",
                options.get_port(),
                options.get_database().unwrap_or_default()
            )
        }
    })
}

/// Opens a session for reading, asks for a sign of life, and closes it; false for a SQLite database
/// that is not there yet.
///
/// # Errors
/// A variable of the URL is not set, or the database does not answer.
pub async fn ping(connection: &Connection, root: &Path) -> Result<bool, ConnectionError> {
    let database = Database::new(connection, root)?;
    if matches!(database.is_missing(), Ok(true)) {
        return Ok(false);
    }
    let asked = async {
        let (mut link, _) = database.connect(SessionAccess::Read).await?;
        if let DriverConnection::Sqlite(link) = &mut link {
            link.execute(raw_sql("SELECT count(*) FROM sqlite_master"))
                .await?;
        }
        match &mut link {
            DriverConnection::Sqlite(_) => {}
            DriverConnection::Postgres(link) => link.ping().await?,
            DriverConnection::MySql(link) => link.ping().await?,
        }
        match link {
            DriverConnection::Sqlite(link) => link.close().await,
            DriverConnection::Postgres(link) => link.close().await,
            DriverConnection::MySql(link) => link.close().await,
        }
    };
    let asked = async {
        catch_panic_async(asked)
            .await
            .unwrap_or_else(|panic| Err(sqlx::Error::Protocol(panic.to_string())))
    };
    match tokio::time::timeout(connection.connect_timeout, asked).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(ConnectionError::Unreachable(
            database.connect_failure(&error),
        )),
        Err(_) => Err(ConnectionError::ConnectTimedOut(connection.connect_timeout)),
    }
}
