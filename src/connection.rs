//! Asking a database whether it answers.
//!
//! Nothing that came from the URL is in an error: what a library or a server says of it is covered.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _};

use crate::config::absolute;
use crate::config::connection::{Connection, REDACTED, UrlError};
use crate::error::{Error, ErrorKind};

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a database does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It has no URL that can be used.
    #[error("it cannot be opened")]
    Url(#[from] UrlError),
    /// Its words, or the library's.
    #[error("it does not answer: {0}")]
    Silent(String),
    /// It was waited for.
    #[error("it does not answer within {PATIENCE:?}")]
    Late,
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        let hint = match &error {
            ConnectionError::Url(UrlError::Variable(_)) => "export it, or name a file of variables by options.env_file",
            ConnectionError::Url(UrlError::Scheme) => "write sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or mysql://…",
            ConnectionError::Silent(_) | ConnectionError::Late => "check its URL, and that the server runs and lets this machine in",
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Opens a session, asks for a sign of life, and closes it. SQLite's files are opened for reading.
///
/// # Errors
/// A variable of the URL is not set, or the database does not answer.
pub async fn ping(connection: &Connection, root: &Path) -> Result<(), ConnectionError> {
    let url = connection.url()?;
    let url = url.expose_secret();
    let asked = async {
        match url.split(':').next() {
            Some("sqlite") => ask_sqlite(url, root).await,
            Some("postgres" | "postgresql") => ask(PgConnectOptions::from_str(url)?).await,
            _ => ask(MySqlConnectOptions::from_str(url)?).await,
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ConnectionError::Silent(covered(&error, url))),
        Err(_) => Err(ConnectionError::Late),
    }
}

async fn ask_sqlite(url: &str, root: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?;
    let file = options.get_filename().to_string_lossy().into_owned();
    let is_memory = file.is_empty() || file.contains(":memory:") || url.contains("mode=memory");
    ask(if is_memory { options } else { options.filename(absolute(root, &file)).read_only(true).create_if_missing(false) }).await
}

async fn ask<O: ConnectOptions>(options: O) -> Result<(), sqlx::Error>
where
    O::Connection: Sized,
{
    let mut session = options.disable_statement_logging().connect().await?;
    session.ping().await?;
    session.close().await
}

/// The words of an error without anything that stands in the URL.
fn covered(error: &sqlx::Error, url: &str) -> String {
    let text = match error {
        // What cannot be read of a URL is part of it.
        sqlx::Error::Configuration(_) => return "its URL cannot be read".into(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} (code {code})", error.message()),
            None => error.message().to_string(),
        },
        other => other.to_string(),
    };
    let (_, rest) = url.split_once(':').unwrap_or_default();
    let pieces = rest.split(['/', ':', '@', '?', '&', '=']).chain([rest]).filter(|piece| piece.len() > 1);
    // A server says them decoded.
    let mut secrets: Vec<String> =
        pieces.flat_map(|piece| [piece.to_string(), percent_decode_str(piece).decode_utf8_lossy().into_owned()]).collect();
    secrets.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    secrets.iter().fold(text, |text, piece| text.replace(piece.as_str(), REDACTED))
}
