//! What a database, or the way to it, said no to: in words without a secret, and whether it may pass.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::connection::{REDACTED, UrlError};
use crate::error::{Error, ErrorKind};

/// Why a database does not give what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It has no URL that can be used.
    #[error("it cannot be opened: {0}")]
    Url(String),
    /// Its words, or the library's.
    #[error("it does not answer: {0}")]
    Silent(Failure),
    /// It was waited for.
    #[error("it does not answer within {0:?}")]
    Late(Duration),
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
    /// With `confine`, a SQLite database that lies somewhere else, also behind a link.
    #[error("the SQLite database of connection {0} lies outside of the folder of the config")]
    Outside(String),
}

/// What a database or the way to it said, with nothing of the connection's URL in it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// In words, with the code of the database if it has one.
    pub words: String,
    /// The code: an SQLSTATE, or a number of MySQL's or SQLite's.
    pub code: Option<String>,
    /// True for what may be gone when it is tried again.
    pub is_transient: bool,
}

/// SQLSTATEs of PostgreSQL that may pass, whole or by their class: connections that broke, too many of them, a server
/// that starts or stops, deadlocks, conflicts, locks.
/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const POSTGRES: &[&str] = &["08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "57P05"];

/// Numbers of MySQL's and MariaDB's errors that may pass: too many connections, a server that stops, broken connections,
/// locks that were waited for, deadlocks, a connection that was killed.
/// See <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
const MYSQL: &[u16] = &[1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1927, 2006, 2013, 3101];

/// Results of SQLite that may pass, without what extends them: busy and locked.
/// See <https://www.sqlite.org/rescode.html>.
pub const SQLITE: &[i32] = &[5, 6];

impl Failure {
    /// Takes an error of the library apart.
    pub(super) fn new(error: &sqlx::Error, url: &str) -> Self {
        let (words, code, is_transient) = match error {
            // What cannot be read of a URL is part of it.
            sqlx::Error::Configuration(_) => ("its URL cannot be read".to_string(), None, false),
            sqlx::Error::Io(error) => (error.to_string(), None, true),
            sqlx::Error::Database(error) => {
                let code = number(error.as_ref()).or_else(|| error.code().map(|code| code.to_string()));
                let words = match &code {
                    Some(code) => format!("{} (code {code})", error.message()),
                    None => error.message().to_string(),
                };
                let is_transient = may_pass(error.as_ref());
                (words, code, is_transient)
            }
            // What came was cut off, or is not the rest of what came before.
            sqlx::Error::Protocol(_) => (error.to_string(), None, true),
            other => (other.to_string(), None, false),
        };
        Self { words: covered(words, url), code, is_transient }
    }

    /// A failure that is told in words.
    pub fn of_words(words: String, is_transient: bool) -> Self {
        Self { words, code: None, is_transient }
    }
}

/// MySQL's own number, which says more than the SQLSTATE that sqlx gives as its code.
fn number(error: &dyn sqlx::error::DatabaseError) -> Option<String> {
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number().to_string())
}

fn may_pass(error: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return MYSQL.contains(&error.number());
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return POSTGRES.iter().any(|passing| code.starts_with(passing));
    }
    code.parse::<i32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)))
}

/// The words without anything that stands in the URL.
pub(super) fn covered(words: String, url: &str) -> String {
    let (_, rest) = url.split_once(':').unwrap_or_default();
    let pieces = rest.split(['/', ':', '@', '?', '&', '=']).chain([rest]).filter(|piece| piece.len() > 1);
    // A server says them decoded.
    let mut secrets: Vec<String> =
        pieces.flat_map(|piece| [piece.to_string(), percent_decode_str(piece).decode_utf8_lossy().into_owned()]).collect();
    secrets.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    secrets.iter().fold(words, |words, piece| words.replace(piece.as_str(), REDACTED))
}

impl ConnectionError {
    /// The same, where it may be gone when it is tried again whatever it is.
    #[must_use]
    pub fn passing(mut self) -> Self {
        if let Self::Failed { failure, .. } = &mut self {
            failure.is_transient = true;
        }
        self
    }

    /// True for what may be gone when it is tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Silent(failure) | Self::Failed { failure, .. } => failure.is_transient,
            Self::Late(_) => true,
            Self::Url(_) | Self::NoFile(_) | Self::NotAFile(_) | Self::Outside(_) => false,
        }
    }
}

impl From<UrlError> for ConnectionError {
    fn from(error: UrlError) -> Self {
        Self::Url(error.to_string())
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        let hint = match &error {
            ConnectionError::Url(reason) if reason.contains("begins with none") => {
                Some("write sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or mysql://…")
            }
            ConnectionError::Url(_) => Some("export it, or name a file of variables by options.env_file"),
            ConnectionError::Silent(_) | ConnectionError::Late(_) => {
                Some("check its URL, and that the server runs and lets this machine in")
            }
            ConnectionError::Outside(_) => Some("options.confine: true asks for that: put it below that folder"),
            ConnectionError::NoFile(_) | ConnectionError::NotAFile(_) => {
                Some("check its URL; a relative path begins at the folder of the config")
            }
            ConnectionError::Failed { failure, .. } => match failure.code.as_deref() {
                Some("42501" | "1142" | "1143") => Some("its user needs SELECT on what a home reads"),
                Some("42P01" | "1146") => Some("check home.table, and the schema or database that it lies in"),
                Some("42703" | "1054") => Some("check the columns that the home names"),
                Some("776") => Some("somebody died while writing to it: a program that may write, such as sqlite3, undoes that"),
                Some("57014" | "1969" | "3024") => Some("it ran into statement_timeout of its connection"),
                _ => None,
            },
        };
        let error = Self::new(ErrorKind::Flow, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
