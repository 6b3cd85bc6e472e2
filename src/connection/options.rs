//! What a session is opened with: where the database is, and whether a server is spoken to by TLS.
//!
//! Off this machine no password goes in clear, unless the config, the URL or the environment says
//! that it may.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;

use super::url::{self, check_files, invalid_url};
use super::{ConnectionError, Dialect};
use crate::config::absolute;
use crate::config::connection::{Connection, SslMode, TLS_PARAMETERS};
use crate::config::url::{IGNORED_PARAMETERS, Url, without_parameters};
use crate::fs;

/// How long SQLite waits for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(10);

/// What a driver opens a session with.
#[derive(Debug)]
pub(super) enum DriverOptions {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
}

/// A database that may be opened.
#[derive(Debug)]
pub(super) struct ConnectSpec {
    pub(super) options: DriverOptions,
    pub(super) dialect: Dialect,
    /// The file of a SQLite database.
    pub(super) file: Option<PathBuf>,
    /// The file of root certificates that the config names.
    pub(super) certificate: Option<PathBuf>,
    /// Who asks for TLS, where somebody does.
    pub(super) tls_required_by: Option<&'static str>,
    /// Why no table can be filled there.
    pub(super) read_only_reason: Option<&'static str>,
}

impl ConnectSpec {
    /// What the URL of a connection means.
    ///
    /// # Errors
    /// It has no URL that can be used.
    pub(super) fn from_connection(
        connection: &Connection,
        root: &Path,
    ) -> Result<Self, ConnectionError> {
        let secret = connection.url()?;
        let url = secret.expose_secret();
        let dialect = Dialect::from_url(url);
        check_files(connection, url, root)?;
        let certificate = connection.sslrootcert()?.map(|path| absolute(root, &path));
        let (mut file, mut unwritable) = (None, None);
        let options = match dialect {
            Dialect::Sqlite => {
                let options;
                (options, file) = sqlite(url, connection, root)?;
                unwritable = sqlite_read_only_reason(url, file.is_none());
                DriverOptions::Sqlite(Box::new(options))
            }
            Dialect::Postgres => DriverOptions::Postgres(Box::new(postgres(
                url,
                connection,
                certificate.as_deref(),
            )?)),
            Dialect::MySql => {
                DriverOptions::MySql(Box::new(mysql(url, connection, certificate.as_deref())?))
            }
        };
        let of_environment = connection
            .pgsslmode
            .as_ref()
            .filter(|_| dialect == Dialect::Postgres);
        let tls = if connection.sslmode.is_some() {
            Some("sslmode of the connection")
        } else if specifies_tls(url) {
            Some("sslmode of its URL")
        } else {
            of_environment.map(|_| "PGSSLMODE of the environment")
        };
        Ok(Self {
            options,
            dialect,
            file,
            certificate,
            tls_required_by: tls,
            read_only_reason: unwritable,
        })
    }
}

/// Why no table can be filled in a database of SQLite's.
fn sqlite_read_only_reason(url: &str, is_memory: bool) -> Option<&'static str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let says = |pair: &str| query.split('&').any(|said| said.eq_ignore_ascii_case(pair));
    match () {
        () if is_memory => Some(
            "a table cannot be filled in a database that is in memory only: its rows would go with \
             the process",
        ),
        () if says("mode=ro") => Some("a table cannot be filled in it: its URL says mode=ro"),
        () if says("immutable=1") || says("immutable=true") => {
            Some("a table cannot be filled in it: its URL says that nobody changes it")
        }
        () => None,
    }
}

fn sqlite(
    url: &str,
    connection: &Connection,
    root: &Path,
) -> Result<(SqliteConnectOptions, Option<PathBuf>), ConnectionError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| invalid_url(&error, url))?;
    let name = options.get_filename().to_string_lossy().into_owned();
    let is_memory = name.is_empty()
        || name.contains(":memory:")
        || name.starts_with("file:sqlx-in-memory")
        || url.contains("mode=memory");
    let file = (!is_memory).then(|| absolute(root, &name));
    let options = match &file {
        Some(file) => {
            check_file(file, root, connection)?;
            options.filename(file)
        }
        None => options,
    };
    // What views, triggers and checks of a file call is whoever's who wrote the file.
    Ok((
        options
            .pragma("trusted_schema", "OFF")
            .busy_timeout(BUSY)
            .disable_statement_logging(),
        file,
    ))
}

/// Fails where no SQLite database can be, or may be: SQLite would wait for a pipe. Nothing is
/// opened.
fn check_file(path: &Path, root: &Path, connection: &Connection) -> Result<(), ConnectionError> {
    if fs::stat(path).is_ok_and(|found| found.is_some_and(|found| !found.is_file)) {
        return Err(ConnectionError::NotAFile(connection.name.clone()));
    }
    let leaves = || {
        !fs::real_path(path)
            .is_ok_and(|real| fs::real_path(root).is_ok_and(|root| real.starts_with(root)))
    };
    if connection.is_confined && leaves() {
        return Err(ConnectionError::Outside(connection.name.clone()));
    }
    Ok(())
}

fn postgres(
    url: &str,
    connection: &Connection,
    certificate: Option<&Path>,
) -> Result<PgConnectOptions, ConnectionError> {
    let mut options = url::postgres(url)
        .map_err(|error| invalid_url(&error, url))?
        .disable_statement_logging();
    // What is said at the start is only what every pooler takes; the rest is set in each
    // transaction.
    options = options
        .application_name("hygge")
        .statement_cache_capacity(0)
        .extra_float_digits(None);
    let of_environment = connection
        .pgsslmode
        .as_deref()
        .and_then(|mode| PgSslMode::from_str(mode).ok());
    let said = match connection.sslmode {
        Some(SslMode::Disable) => Some(PgSslMode::Disable),
        Some(SslMode::Prefer) => Some(PgSslMode::Prefer),
        Some(SslMode::Require) => Some(PgSslMode::Require),
        Some(SslMode::VerifyCa) => Some(PgSslMode::VerifyCa),
        Some(SslMode::VerifyFull) => Some(PgSslMode::VerifyFull),
        None if specifies_tls(url) => None,
        None => {
            let is_here = options.get_socket().is_some() || is_local_host(options.get_host());
            of_environment.or(Some(if is_here {
                PgSslMode::Prefer
            } else {
                PgSslMode::Require
            }))
        }
    };
    if let Some(mode) = said {
        options = options.ssl_mode(mode);
    }
    if let Some(address) = unbracketed_ipv6(options.get_host()).map(String::from) {
        options = options.host(&address);
    }
    Ok(match certificate {
        Some(certificate) => options.ssl_root_cert(certificate),
        None => options,
    })
}

fn mysql(
    url: &str,
    connection: &Connection,
    certificate: Option<&Path>,
) -> Result<MySqlConnectOptions, ConnectionError> {
    let url = &without_parameters(url, IGNORED_PARAMETERS);
    let options = MySqlConnectOptions::from_str(&url.replacen("mariadb:", "mysql:", 1))
        .map_err(|error| invalid_url(&error, url))?;
    // What is written into a home is SQL of its user's, which means what the server says.
    let mut options = options
        .disable_statement_logging()
        .statement_cache_capacity(0)
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    let said = match connection.sslmode {
        Some(SslMode::Disable) => Some(MySqlSslMode::Disabled),
        Some(SslMode::Prefer) => Some(MySqlSslMode::Preferred),
        Some(SslMode::Require) => Some(MySqlSslMode::Required),
        Some(SslMode::VerifyCa) => Some(MySqlSslMode::VerifyCa),
        Some(SslMode::VerifyFull) => Some(MySqlSslMode::VerifyIdentity),
        None if specifies_tls(url) => None,
        None if options.get_socket().is_some() || is_local_host(options.get_host()) => {
            Some(MySqlSslMode::Preferred)
        }
        None => Some(MySqlSslMode::Required),
    };
    if let Some(mode) = said {
        options = options.ssl_mode(mode);
    }
    if let Some(address) = unbracketed_ipv6(options.get_host()).map(String::from) {
        options = options.host(&address);
    }
    Ok(match certificate {
        Some(certificate) => options.ssl_ca(certificate),
        None => options,
    })
}

/// True where a URL says whether there is to be TLS.
fn specifies_tls(url: &str) -> bool {
    Url::parse(url).is_some_and(|url| url.parameter(TLS_PARAMETERS).is_some())
}

/// True for a host that is this machine, as it is written: nothing is looked up, for what a name
/// means may be another's to say. So is the folder of a socket.
fn is_local_host(host: &str) -> bool {
    let address = unbracketed_ipv6(host).unwrap_or(host);
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The address that stands in brackets in a URL; drivers look for a host of that name, brackets and
/// all.
fn unbracketed_ipv6(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_as_it_is_written() {
        for here in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "[::1]",
            "/run/postgresql",
        ] {
            assert!(is_local_host(here), "{here}");
        }
        for elsewhere in [
            "db.example",
            "localhost.example",
            "localhost.",
            "127.1",
            "0.0.0.0",
            "10.0.0.1",
            "::ffff:127.0.0.1",
            "[::]",
            "",
        ] {
            assert!(!is_local_host(elsewhere), "{elsewhere}");
        }
    }
}
