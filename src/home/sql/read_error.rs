//! What can go wrong with rows that come: a value without a place, a database that fails.

use super::SqlError;
use crate::connection::ConnectionError;
use crate::error::Error;

/// Why a value has no place in its column.
#[derive(Debug)]
pub(super) enum ConversionError {
    /// It is a date or time, or a number, that files do not have.
    Invalid(String),
    /// It does not fit.
    Mismatch(String),
}

impl ConversionError {
    /// The error, with the place.
    pub(super) fn into_sql_error(self, column: &str, row: u64, location: String) -> SqlError {
        let (reason, hint) = match self {
            Self::Invalid(reason) => (
                reason,
                "on_invalid: null of the home makes it null; or leave such rows out by where",
            ),
            Self::Mismatch(reason) if reason.contains("not UTF-8") => (
                reason,
                "read it as bytes by a query: cast(x as blob) in SQLite, convert_to(x, \
                 'SQL_ASCII') in PostgreSQL, cast(x as binary) in MySQL; or mend the value",
            ),
            Self::Mismatch(reason) => (
                reason,
                "types of the home gives a column another type, such as text (for all of SQLite's, \
                 on_mismatch: text); or leave such rows out by where",
            ),
        };
        SqlError::InvalidValue {
            column: column.to_string(),
            row,
            location,
            reason,
            hint,
        }
    }
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowReadError {
    /// The server or the way to it failed.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// The database failed, and it was said how.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// What came cannot be understood, or has no place.
    #[error(transparent)]
    Sql(Box<SqlError>),
    /// A batch cannot be made.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<SqlError> for RowReadError {
    fn from(error: SqlError) -> Self {
        Self::Sql(Box::new(error))
    }
}

impl RowReadError {
    /// The error that leaves the home. What a driver said is put into words where the database is
    /// known.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Driver(error) => SqlError::Protocol(error.to_string()).into(),
            Self::Connection(error) => error.into(),
            Self::Sql(error) => (*error).into(),
            Self::Other(error) => error,
        }
    }
}
