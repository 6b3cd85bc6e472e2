//! Databases: where they are, sessions with them, what they say when they fail.
//!
//! It knows no homes and stores: what is asked and what becomes of it is theirs.
//! Nothing that came from a URL is in an error: what a library or a server says of it is covered.

pub mod calendar;
pub mod dialect;
pub mod failure;
pub mod relation;
pub mod session;
pub mod stepping;
pub mod types;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, raw_sql};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};

use crate::config::absolute;
use crate::config::connection::{Connection, SslMode, UrlError};
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{self, FsError};
use crate::threads;

pub use dialect::Dialect;
pub use failure::{ConnectionError, Failure};
pub use relation::Relation;
pub use session::{Link, Session};

/// How long ending a query may take.
const CANCELLING: Duration = Duration::from_secs(2);

/// Takes away from a session of MySQL's what the driver asked for and the server does not have by itself: function names that
/// are reserved words.
const OWN_MODE: &str = "SET SESSION sql_mode = IF(FIND_IN_SET('IGNORE_SPACE', @@GLOBAL.sql_mode), @@SESSION.sql_mode, \
     TRIM(BOTH ',' FROM REPLACE(CONCAT(',', @@SESSION.sql_mode, ','), ',IGNORE_SPACE,', ',')))";

/// How long SQLite waits for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(10);

/// The databases of a project, each opened when it is first asked for.
#[derive(Debug, Default)]
pub struct Databases {
    root: PathBuf,
    open: Mutex<HashMap<String, Arc<Database>>>,
}

impl Databases {
    /// None is open. Paths of SQLite are relative to `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), open: Mutex::default() }
    }

    /// The database of a connection. Nothing is sent to it.
    ///
    /// # Errors
    /// Its URL cannot be used.
    pub fn of(&self, connection: &Connection) -> Result<Arc<Database>, ConnectionError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = open.get(&connection.name) {
            return Ok(database.clone());
        }
        let database = Arc::new(Database::new(connection, &self.root)?);
        open.insert(connection.name.clone(), database.clone());
        Ok(database)
    }

    /// Waits for queries to end that were given up. A process that ends before leaves them running.
    pub async fn end_queries(&self) {
        let databases: Vec<_> = self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for database in databases {
            let cancelling = std::mem::take(&mut *database.cancelling.lock().unwrap_or_else(PoisonError::into_inner));
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
    url: SecretString,
    options: ConnectWith,
    connect_timeout: Duration,
    statement_timeout: Option<Duration>,
    permits: Arc<Semaphore>,
    /// Whose turn it is to write to a SQLite database, of the flows of this process.
    pub writing: tokio::sync::Mutex<()>,
    idle: Mutex<Vec<Idle>>,
    /// Queries that are being ended at the server.
    cancelling: Mutex<Vec<JoinHandle<()>>>,
}

/// A session that nobody has.
#[derive(Debug)]
struct Idle {
    link: Link,
    id: i64,
    /// What it is for: who writes gives his sessions settings of his own, by which a home would read something else.
    access: Access,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

#[derive(Debug)]
enum ConnectWith {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
}

impl Database {
    fn new(connection: &Connection, root: &Path) -> Result<Self, ConnectionError> {
        let secret = connection.url()?;
        let url = secret.expose_secret();
        let unusable = |error: sqlx::Error| ConnectionError::Url(Failure::new(&error, url).words);
        let dialect = Dialect::of(url);
        let mut file = None;
        let certificate = connection.sslrootcert.as_ref();
        let options = match dialect {
            Dialect::Sqlite => {
                let options = SqliteConnectOptions::from_str(url).map_err(unusable)?;
                let name = options.get_filename().to_string_lossy().into_owned();
                let is_memory =
                    name.is_empty() || name.contains(":memory:") || name.starts_with("file:sqlx-in-memory") || url.contains("mode=memory");
                if !is_memory {
                    let path = absolute(root, &name);
                    check_file(&path, root, connection)?;
                    file = Some(path);
                }
                let options = match &file {
                    Some(file) => options.filename(file),
                    None => options,
                };
                ConnectWith::Sqlite(Box::new(options.busy_timeout(BUSY).disable_statement_logging()))
            }
            Dialect::Postgres => {
                let mut options = PgConnectOptions::from_str(url).map_err(unusable)?.disable_statement_logging();
                options = options.application_name("hygge").statement_cache_capacity(0);
                if let Some(mode) = connection.sslmode {
                    options = options.ssl_mode(match mode {
                        SslMode::Disable => PgSslMode::Disable,
                        SslMode::Prefer => PgSslMode::Prefer,
                        SslMode::Require => PgSslMode::Require,
                        SslMode::VerifyCa => PgSslMode::VerifyCa,
                        SslMode::VerifyFull => PgSslMode::VerifyFull,
                    });
                }
                if let Some(certificate) = certificate {
                    options = options.ssl_root_cert(absolute(root, certificate));
                }
                ConnectWith::Postgres(Box::new(options))
            }
            Dialect::MySql => {
                let url = url.replacen("mariadb:", "mysql:", 1);
                let mut options = MySqlConnectOptions::from_str(&url).map_err(unusable)?.disable_statement_logging();
                // What is written into a home is SQL of its user's, which means what the server says.
                options = options.statement_cache_capacity(0).pipes_as_concat(false).no_engine_substitution(false);
                if let Some(mode) = connection.sslmode {
                    options = options.ssl_mode(match mode {
                        SslMode::Disable => MySqlSslMode::Disabled,
                        SslMode::Prefer => MySqlSslMode::Preferred,
                        SslMode::Require => MySqlSslMode::Required,
                        SslMode::VerifyCa => MySqlSslMode::VerifyCa,
                        SslMode::VerifyFull => MySqlSslMode::VerifyIdentity,
                    });
                }
                if let Some(certificate) = certificate {
                    options = options.ssl_ca(absolute(root, certificate));
                }
                ConnectWith::MySql(Box::new(options))
            }
        };
        Ok(Self {
            name: connection.name.clone(),
            dialect,
            file,
            options,
            connect_timeout: connection.connect_timeout,
            statement_timeout: connection.statement_timeout,
            permits: Arc::new(Semaphore::new(usize::try_from(connection.pool_size).unwrap_or(Semaphore::MAX_PERMITS))),
            writing: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            cancelling: Mutex::default(),
            url: secret,
        })
    }

    /// True for a SQLite database that is not there yet.
    ///
    /// # Errors
    /// It cannot be looked for.
    pub fn is_missing(&self) -> Result<bool, FsError> {
        self.file.as_ref().map_or(Ok(false), |file| Ok(fs::stat(file)?.is_none()))
    }

    /// A session that reads, once there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn session(self: &Arc<Self>) -> Result<Session, ConnectionError> {
        let permit = self.permit().await?;
        self.opened(permit, Access::Read).await
    }

    /// A session that writes, once there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn writing_session(self: &Arc<Self>) -> Result<Session, ConnectionError> {
        let permit = self.permit().await?;
        self.opened(permit, Access::Write).await
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, ConnectionError> {
        // It is never closed.
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|error| self.failed_with("open a session", Failure::of_words(error.to_string(), false)))
    }

    /// A session, if there is one free.
    ///
    /// # Errors
    /// The database does not let anyone in.
    pub async fn spare_session(self: &Arc<Self>) -> Result<Option<Session>, ConnectionError> {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => self.opened(permit, Access::Read).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn opened(self: &Arc<Self>, permit: OwnedSemaphorePermit, access: Access) -> Result<Session, ConnectionError> {
        // SQLite's are opened for reading or for writing, servers' for both.
        let is_kept = self.dialect != Dialect::Sqlite || access == Access::Read;
        while let Some(Idle { mut link, id, .. }) = self.idle_for(access) {
            if Session::answers(&mut link).await {
                return Ok(Session { link, id, database: self.clone(), access, is_kept, _permit: permit });
            }
        }
        if access == Access::Read && matches!(self.is_missing(), Ok(true)) {
            return Err(ConnectionError::NoFile(self.name.clone()));
        }
        let (link, id) = match tokio::time::timeout(self.connect_timeout, self.connect(access)).await {
            Ok(connected) => connected.map_err(|error| self.failed("open a session", &error))?,
            Err(_) => {
                let words = format!("it does not answer within {:?}", self.connect_timeout);
                return Err(self.failed_with("open a session", Failure::of_words(words, true)));
            }
        };
        Ok(Session { link, id, database: self.clone(), access, is_kept, _permit: permit })
    }

    /// A session that nobody has, for what it was opened for. One that is for something else is closed where it is one too many.
    fn idle_for(&self, access: Access) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = idle.iter().rposition(|idle| idle.access == access) {
            return Some(idle.remove(place));
        }
        // Each that is in use has a permit. Who reads a SQLite file does not keep its log from being worked in.
        if idle.len() > self.permits.available_permits() || self.dialect == Dialect::Sqlite {
            idle.pop();
        }
        None
    }

    /// A new connection, and what the server calls it.
    async fn connect(&self, access: Access) -> Result<(Link, i64), sqlx::Error> {
        let millis = self.statement_timeout.map_or(0, |time| time.as_millis());
        match &self.options {
            // Who opens one for writing and is the last to close it changes its file, for its log is worked in.
            ConnectWith::Sqlite(options) => {
                let options = options.as_ref().clone();
                let options = options
                    .read_only(access == Access::Read && self.file.is_some())
                    .create_if_missing(access == Access::Write || self.file.is_none());
                Ok((Link::Sqlite(Box::new(options.connect().await?)), 0))
            }
            ConnectWith::Postgres(options) => {
                let mut link = options.connect().await?;
                // What a value looks like as a text must not depend on how the server is set up.
                let settings = format!(
                    "SET intervalstyle = iso_8601; SET datestyle = ISO; SET bytea_output = hex; SET timezone = 'UTC'; \
                     SET extra_float_digits = 3; SET xmloption = content; SET lc_monetary = 'C'; SET synchronize_seqscans = off; \
                     SET statement_timeout = {millis}"
                );
                link.execute(raw_sql(AssertSqlSafe(settings))).await?;
                let (id,): (i32,) = sqlx::query_as("SELECT pg_backend_pid()").persistent(false).fetch_one(&mut link).await?;
                Ok((Link::Postgres(Box::new(link)), i64::from(id)))
            }
            ConnectWith::MySql(options) => {
                let mut link = options.connect().await?;
                link.execute(raw_sql(OWN_MODE)).await?;
                if millis > 0 {
                    let (version,): (String,) = sqlx::query_as("SELECT VERSION()").persistent(false).fetch_one(&mut link).await?;
                    let setting = if version.contains("MariaDB") {
                        format!("SET SESSION max_statement_time = {}", millis as f64 / 1e3)
                    } else {
                        format!("SET SESSION max_execution_time = {millis}")
                    };
                    link.execute(raw_sql(AssertSqlSafe(setting))).await?;
                }
                let (id,): (u64,) =
                    sqlx::query_as("SELECT CAST(CONNECTION_ID() AS UNSIGNED)").persistent(false).fetch_one(&mut link).await?;
                Ok((Link::MySql(Box::new(link)), i64::try_from(id).unwrap_or_default()))
            }
        }
    }

    fn keep(&self, link: Link, id: i64, access: Access) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(Idle { link, id, access });
    }

    /// What became of something that it was asked to do.
    pub fn failed(&self, action: &str, error: &sqlx::Error) -> ConnectionError {
        self.failed_with(action, Failure::new(error, self.url.expose_secret()))
    }

    fn failed_with(&self, action: &str, failure: Failure) -> ConnectionError {
        ConnectionError::Failed { connection: self.name.clone(), action: action.to_string(), failure }
    }
}

/// How often it is looked whether the run shall end.
const TICK: Duration = Duration::from_millis(20);

/// Waits until a run shall end.
pub async fn until(interrupted: &AtomicBool) {
    while !interrupted.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
}

/// What stores ask databases by, in turns: their callers wait on threads of their own. Each has one worker, for where a second one
/// cannot be begun, tokio waits for the first, which never ends.
static WAITING: [LazyLock<Result<Runtime>>; 2] = [LazyLock::new(waiting), LazyLock::new(waiting)];

/// Whose turn it is.
static TURN: AtomicUsize = AtomicUsize::new(0);

fn waiting() -> Result<Runtime> {
    threads::runtime(Builder::new_multi_thread().thread_name("hygge tables").enable_all())
}

/// Work that is under way, for whoever waits for it on a thread.
#[derive(Debug)]
pub struct UnderWay<T>(mpsc::Receiver<Result<T>>);

impl<T> UnderWay<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// A library panicked in it.
    pub fn wait(self) -> Result<T> {
        self.0.recv().map_err(|error| Error::new(ErrorKind::Flow, error))?
    }
}

fn joined(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => Error::of_panic(panic),
        Err(error) => Error::new(ErrorKind::Flow, error),
    }
}

/// Begins work on a database, whatever thread this is.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> UnderWay<T> {
    let (sender, receiver) = mpsc::channel();
    let turn = TURN.fetch_add(1, Ordering::Relaxed) % WAITING.len();
    // One is enough, where another cannot be begun.
    match WAITING[turn].as_ref().or_else(|_| WAITING[0].as_ref()) {
        Ok(waiting) => {
            let working = waiting.spawn(work);
            waiting.spawn(async move {
                // Who waited may have gone.
                drop(sender.send(working.await.map_err(joined)));
            });
        }
        Err(error) => drop(sender.send(Err(error.clone()))),
    }
    UnderWay(receiver)
}

/// Does work on a database and waits for it, whatever thread this is.
///
/// # Errors
/// A library panicked in it.
pub fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    spawn(work).wait()
}

/// Fails where no SQLite database can be, or may be: SQLite would wait for a pipe. Nothing is opened.
fn check_file(path: &Path, root: &Path, connection: &Connection) -> Result<(), ConnectionError> {
    if fs::stat(path).is_ok_and(|found| found.is_some_and(|found| !found.is_file)) {
        return Err(ConnectionError::NotAFile(connection.name.clone()));
    }
    let leaves = || !fs::real_path(path).is_ok_and(|real| fs::real_path(root).is_ok_and(|root| real.starts_with(root)));
    if connection.is_confined && leaves() {
        return Err(ConnectionError::Outside(connection.name.clone()));
    }
    Ok(())
}

/// What tells one database from another, without anything secret: its kind, host, port and name. A SQLite database
/// is known by its path as it is written, so that a project may move.
///
/// # Errors
/// The URL cannot be used.
pub fn identity(connection: &Connection) -> Result<String, ConnectionError> {
    if let Some(identity) = &connection.identity {
        return Ok(identity.clone());
    }
    let url = connection.url()?;
    let url = url.expose_secret();
    let unusable = |error: sqlx::Error| ConnectionError::Url(Failure::new(&error, url).words);
    Ok(match Dialect::of(url) {
        Dialect::Sqlite => {
            let options = SqliteConnectOptions::from_str(url).map_err(unusable)?;
            format!("sqlite:{}", options.get_filename().display())
        }
        Dialect::Postgres => {
            let options = PgConnectOptions::from_str(url).map_err(unusable)?;
            let name = options.get_database().unwrap_or(options.get_username());
            let host = options.get_socket().map_or(options.get_host().to_string(), |socket| socket.display().to_string());
            format!("postgres://{host}:{}/{name}", options.get_port())
        }
        Dialect::MySql => {
            let options = MySqlConnectOptions::from_str(&url.replacen("mariadb:", "mysql:", 1)).map_err(unusable)?;
            let host = options.get_socket().map_or(options.get_host().to_string(), |socket| socket.display().to_string());
            format!("mysql://{host}:{}/{}", options.get_port(), options.get_database().unwrap_or_default())
        }
    })
}

/// Opens a session for reading, asks for a sign of life, and closes it; false for a SQLite database that is not there yet.
///
/// # Errors
/// A variable of the URL is not set, or the database does not answer.
pub async fn ping(connection: &Connection, root: &Path) -> Result<bool, ConnectionError> {
    let url: Result<_, UrlError> = connection.url();
    let url = url?;
    let url = url.expose_secret();
    let database = Database::new(connection, root)?;
    if matches!(database.is_missing(), Ok(true)) {
        return Ok(false);
    }
    let asked = async {
        let (mut link, _) = database.connect(Access::Read).await?;
        if let Link::Sqlite(link) = &mut link {
            link.execute(raw_sql("SELECT count(*) FROM sqlite_master")).await?;
        }
        match link {
            Link::Sqlite(link) => link.close().await,
            Link::Postgres(link) => link.close().await,
            Link::MySql(link) => link.close().await,
        }
    };
    match tokio::time::timeout(connection.connect_timeout, asked).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(ConnectionError::Silent(Failure::new(&error, url))),
        Err(_) => Err(ConnectionError::Late(connection.connect_timeout)),
    }
}
