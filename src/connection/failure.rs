//! What a database, or the way to it, said no to: in words without a secret, and whether it may
//! pass.

use std::path::Path;
use std::time::Duration;

use super::Dialect;
use super::redaction::Redaction;
use super::untrusted_schema::UNSAFE_USE_PREFIX;
use crate::error::{Error, ErrorKind, Retry};
use crate::fs;

/// Why a database does not give what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It has no URL that can be used.
    #[error("it cannot be opened: {reason}")]
    InvalidUrl {
        /// Why.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// The same, where it is not clear which.
    #[error("connection {connection} cannot be opened: {reason}")]
    InvalidConnectionUrl {
        /// The connection.
        connection: String,
        /// Why.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Its words, or the library's.
    #[error("it does not answer: {0}")]
    Unreachable(Failure),
    /// It was waited for.
    #[error("it does not answer within {0:?}")]
    ConnectTimedOut(Duration),
    /// A statement failed.
    #[error("connection {connection} failed to {action}: {failure}")]
    Failed {
        /// The connection.
        connection: String,
        /// What it was asked to do.
        action: String,
        /// What came of it.
        failure: Failure,
    },
    /// There is no SQLite database at the path; hygge makes none in a home.
    #[error("there is no SQLite database at its path (connection {0})")]
    NoFile(String),
    /// A folder, a pipe or a device.
    #[error("at the path of connection {0} is something else than a file")]
    NotAFile(String),
    /// What SQLite keeps beside its file is a link, a folder, a pipe or a device.
    #[error(
        "beside the SQLite database of connection {0}, its -wal, -shm or -journal is something \
         else than a file"
    )]
    UnexpectedSqliteFile(String),
    /// A journal that names another file, which SQLite would remove.
    #[error(
        "the -journal beside the SQLite database of connection {0} names another file, which would \
         be removed"
    )]
    ForeignJournal(String),
    /// With `confine`, a SQLite database that lies somewhere else, also behind a link.
    #[error("the SQLite database of connection {0} lies outside of the folder of the config")]
    Outside(String),
}

/// What a database or the way to it said, with nothing of the connection's URL in it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// In words, with the code of the database if it has one.
    pub message: String,
    /// The code: an SQLSTATE, or a number of MySQL's or SQLite's.
    pub code: Option<String>,
    /// True for what may be gone when it is tried again.
    pub is_transient: bool,
}

/// SQLSTATEs of PostgreSQL that may pass, whole or by their class: connections that broke, too many
/// of them, a server that starts or stops, deadlocks, conflicts, locks, a transaction that was idle
/// for too long, a snapshot that was too old; statements that a pooler has prepared elsewhere. See
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const TRANSIENT_SQLSTATES: &[&str] = &[
    "08", "25P03", "26000", "40001", "40003", "40P01", "53300", "55P03", "57P01", "57P02", "57P03",
    "57P05", "72000",
];

/// Numbers of MySQL's and MariaDB's errors that may pass: too many connections, a server that
/// stops, broken connections, rows that changed since they were looked at, locks that were waited
/// for, deadlocks, a table that changed since, a connection that was killed, a server that is for
/// reading only or no part of its cluster for a while. See
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/> and
/// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>.
const TRANSIENT_MYSQL_ERRORS: &[u16] = &[
    1020, 1040, 1047, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1290, 1412, 1614, 1637,
    1927, 2006, 2013, 3101, 3168, 3169, 4031,
];

/// What poolers of PostgreSQL say to a parameter that they do not pass on.
const UNSUPPORTED: &str = "unsupported startup parameter";

/// Results of SQLite that may pass, without what extends them: busy, locked, and a log that others
/// are about to begin anew. See <https://www.sqlite.org/rescode.html>.
pub const TRANSIENT_SQLITE_CODES: &[i32] = &[5, 6, 15];

/// The hint where nothing answers.
const UNREACHED: &str = "check its URL, and that the server runs and lets this machine in";

/// What stands for a code where a server has no TLS.
const NO_TLS: &str = "no TLS";

/// The same where somebody asked for it.
const NO_REQUIRED_TLS: &str = "no TLS that is asked for";

/// What stands for a code where something else answers than a server.
const NO_SERVER: &str = "no server";

impl Failure {
    /// The hint of what happens before there is a session.
    fn connect_hint(&self) -> Option<&'static str> {
        match self.code.as_deref() {
            Some(NO_TLS) => Some(
                "off this machine TLS is required, so that no password goes in clear; sslmode: \
                 prefer of the connection (or of its URL) allows it",
            ),
            Some(NO_REQUIRED_TLS) => Some(
                "turn TLS on at the server; or sslmode: prefer of the connection, which overrides \
                 its URL and the environment",
            ),
            Some(NO_SERVER) => Some(
                "check the host and the port of its URL: 5432 is PostgreSQL's, 3306 MySQL's, whose \
                 URL begins with mysql:",
            ),
            Some("3D000" | "1049") => Some(OTHER_DATABASE),
            Some(CLOSED_FOLDER) => Some(IMMUTABLE),
            _ if self.message.contains(CANNOT_OPEN) => Some(IMMUTABLE),
            _ => None,
        }
    }

    /// Takes an error of the library apart.
    pub(super) fn new(error: &sqlx::Error, redaction: &Redaction) -> Self {
        let (words, code, is_transient) = match error {
            // What cannot be read of a URL is part of it.
            sqlx::Error::Configuration(_) => ("its URL cannot be read".to_string(), None, false),
            sqlx::Error::Io(error) => (error.to_string(), None, true),
            sqlx::Error::Database(error) => {
                let code = mysql_error_number(error.as_ref())
                    .or_else(|| error.code().map(|code| code.to_string()));
                let words = match &code {
                    Some(code) => format!("{} (code {code})", error.message()),
                    None => error.message().to_string(),
                };
                let is_transient = is_transient_error(error.as_ref());
                (words, code, is_transient)
            }
            // What came was cut off, or is not the rest of what came before.
            sqlx::Error::Protocol(_) => (error.to_string(), None, true),
            other => (other.to_string(), None, false),
        };
        Self {
            message: redaction.redact(words),
            code,
            is_transient,
        }
    }

    /// Takes an error apart that came before there was a session: who answers may be somebody else.
    pub(super) fn from_connect_error(
        error: &sqlx::Error,
        redaction: &Redaction,
        dialect: Dialect,
        (tls, certificate): (Option<&'static str>, Option<&Path>),
    ) -> Self {
        let mut failure = Self::new(error, redaction);
        match error {
            sqlx::Error::Tls(reason) if reason.to_string().contains("does not support TLS") => {
                let (words, code) = match tls {
                    Some(tls) => (
                        format!("the server has no TLS, for which {tls} asks"),
                        NO_REQUIRED_TLS,
                    ),
                    None => ("the server has no TLS".to_string(), NO_TLS),
                };
                failure = Self {
                    code: Some(code.into()),
                    ..Self::from_message(words, false)
                };
            }
            // One byte that is none of the two which a server of PostgreSQL answers a request for
            // TLS with.
            sqlx::Error::Protocol(reason) if reason.contains("response from SSLRequest") => {
                let byte = reason
                    .split("0x")
                    .nth(1)
                    .map_or("", |rest| rest.get(..2).unwrap_or(rest));
                failure = match byte {
                    // Nothing came: the library looks at a byte that nobody wrote.
                    "00" => Self::from_message(
                        "the connection ends before the server says anything".into(),
                        true,
                    ),
                    _ => {
                        let words = format!(
                            "what answers there is no {} server: to a request for TLS it says \
                             0x{byte}",
                            dialect.name()
                        );
                        Self {
                            code: Some(NO_SERVER.into()),
                            ..Self::from_message(words, false)
                        }
                    }
                };
            }
            sqlx::Error::Protocol(_) => {
                failure.message = format!(
                    "what answers there speaks no {}: {}",
                    dialect.name(),
                    failure.message
                )
            }
            sqlx::Error::Io(reason) => {
                if reason.kind() == std::io::ErrorKind::UnexpectedEof {
                    let name = dialect.name();
                    failure.message = format!(
                        "the connection ends in the middle of an answer, which may be none of \
                         {name}'s: {reason}"
                    );
                }
                if let Some(Err(error)) = certificate.map(fs::open) {
                    failure = Self::from_message(format!("sslrootcert: {error}"), false);
                }
            }
            _ => {}
        }
        failure
    }

    /// A failure that is told in words.
    pub fn from_message(words: String, is_transient: bool) -> Self {
        Self {
            message: words,
            code: None,
            is_transient,
        }
    }
}

/// MySQL's own number, which says more than the SQLSTATE that sqlx gives as its code.
fn mysql_error_number(error: &dyn sqlx::error::DatabaseError) -> Option<String> {
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(|error| error.number().to_string())
}

fn is_transient_error(error: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return TRANSIENT_MYSQL_ERRORS.contains(&error.number());
    }
    let code = error.code().unwrap_or_default();
    if error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        return !error.message().contains(UNSUPPORTED)
            && TRANSIENT_SQLSTATES
                .iter()
                .any(|passing| code.starts_with(passing));
    }
    code.parse::<i32>()
        .is_ok_and(|code| TRANSIENT_SQLITE_CODES.contains(&(code & 0xff)))
}

impl ConnectionError {
    /// The same, with the name of the connection.
    #[must_use]
    pub fn with_connection(self, connection: &str) -> Self {
        match self {
            Self::InvalidUrl { reason, hint } => Self::InvalidConnectionUrl {
                connection: connection.to_string(),
                reason,
                hint,
            },
            other => other,
        }
    }

    /// The same, where it may be gone when it is tried again whatever it is.
    #[must_use]
    pub fn into_transient(mut self) -> Self {
        if let Self::Failed { failure, .. } = &mut self {
            failure.is_transient = true;
        }
        self
    }

    /// True for what may be gone when it is tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(failure) | Self::Failed { failure, .. } => failure.is_transient,
            Self::ConnectTimedOut(_) => true,
            Self::InvalidUrl { .. }
            | Self::InvalidConnectionUrl { .. }
            | Self::NoFile(_)
            | Self::NotAFile(_)
            | Self::Outside(_) => false,
            Self::UnexpectedSqliteFile(_) | Self::ForeignJournal(_) => false,
        }
    }
}

/// What SQLite says of a file that it cannot open, or of a log beside it that it cannot make.
const CANNOT_OPEN: &str = "unable to open database file";

/// What SQLite says where it may make no log beside the file:
/// <https://www.sqlite.org/rescode.html#readonly_directory>.
const CLOSED_FOLDER: &str = "1544";

const IMMUTABLE: &str = "a file with a write-ahead log needs a folder that may be written to; on \
     read-only media, sqlite:FILE?immutable=1 reads it without what is in its -wal file";

/// What the user of a connection must be allowed to do, by what failed.
fn required_privilege(action: &str) -> &'static str {
    match action {
        "make the table of receipts" => {
            "its user needs CREATE on the schema, in which hygge keeps the table hygge_receipts, \
             or SELECT, INSERT, UPDATE and DELETE on one that is there"
        }
        "read its receipt"
        | "look for its receipt"
        | "write its receipt"
        | "remove its receipt" => {
            "its user needs SELECT, INSERT, UPDATE and DELETE on hygge_receipts, which another \
             user may have made"
        }
        "make its table" => "its user needs CREATE on the schema; or make the table beforehand",
        "add a column to its table" => {
            "its user needs to own the table, or ALTER on it; or add the column beforehand"
        }
        "make a table beside it" | "empty the table beside it" => {
            "its user needs TEMPORARY on the database: rows that are merged or cast come into a \
             table of its own first"
        }
        "remove the rows of the set before"
        | "remove its rows"
        | "remove rows by their keys"
        | "write its rows"
        | "add rows"
        | "change rows by their keys" => {
            "its user needs SELECT, INSERT, UPDATE and DELETE on the table that it fills"
        }
        "remove its table" => "its user needs to own the table, or DROP on it",
        _ => "its user needs SELECT on what a home reads, and on the tables that it fills",
    }
}

/// Its name is a part of the URL, and may be covered.
const OTHER_DATABASE: &str = "check the name of the database in its URL";

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        let hint = match &error {
            ConnectionError::InvalidUrl { hint, .. }
            | ConnectionError::InvalidConnectionUrl { hint, .. } => Some(*hint),
            ConnectionError::Unreachable(failure) => failure.connect_hint().or(Some(UNREACHED)),
            ConnectionError::ConnectTimedOut(_) => Some(UNREACHED),
            ConnectionError::Outside(_) => {
                Some("options.confine: true asks for that: put it below that folder")
            }
            ConnectionError::UnexpectedSqliteFile(_) => Some("move it away"),
            ConnectionError::ForeignJournal(_) => Some(
                "a program died while it wrote to several databases: undo that with it, or by \
                 sqlite3; if nobody knows of one, move the journal away",
            ),
            ConnectionError::NoFile(_) | ConnectionError::NotAFile(_) => {
                Some("check its URL; a relative path begins at the folder of the config")
            }
            ConnectionError::Failed {
                action, failure, ..
            } => match failure.code.as_deref() {
                Some("42501" | "1044" | "1142" | "1143" | "1227" | "1370") => {
                    Some(required_privilege(action))
                }
                Some("42P01" | "1146") => {
                    Some("check home.table, and the schema or database that it lies in")
                }
                Some("42703" | "1054") => Some("check the columns that the home names"),
                Some("776") => Some(
                    "somebody died while writing to it: a program that may write, such as sqlite3, \
                     undoes that",
                ),
                Some("57014" | "1969" | "3024" | "9") => Some(
                    "it ran into statement_timeout of its connection, or into a limit of the \
                     server; or somebody cancelled it there",
                ),
                _ if failure.message.contains(UNSUPPORTED) => Some(
                    "a pooler does not take it: leave it out of the URL, and set it for the user \
                     at the server: ALTER ROLE … SET …",
                ),
                _ if failure.message.starts_with(UNSAFE_USE_PREFIX) => Some(
                    "hygge does not trust what is written in a database's file: select the columns \
                     that you need by a query of the home",
                ),
                _ => failure.connect_hint(),
            },
        };
        let retry = if error.is_transient() {
            Retry::Later
        } else {
            Retry::Never
        };
        let error = Self::new(ErrorKind::Flow, error).with_retry(retry);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
