//! What the databases write differently: names, texts, sums of hashes.

use crate::config::connection::Connection;

/// A kind of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// The kind that a URL is for.
    pub(super) fn from_url(url: &str) -> Self {
        match url.split(':').next() {
            Some("sqlite") => Self::Sqlite,
            Some("postgres" | "postgresql") => Self::Postgres,
            _ => Self::MySql,
        }
    }

    /// The kind that a connection is for; `None` while its URL is not known.
    pub fn from_connection(connection: &Connection) -> Option<Self> {
        use secrecy::ExposeSecret;
        connection
            .url()
            .ok()
            .map(|url| Self::from_url(url.expose_secret()))
    }

    /// Its name, as docs and errors have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
        }
    }

    /// A name of a table or a column, whatever signs are in it.
    pub fn quote_name(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// A text as a value.
    pub fn quote_text(self, text: &str) -> String {
        match self {
            Self::Sqlite => format!("'{}'", text.replace('\'', "''")),
            // With E, a backslash means the same whatever standard_conforming_strings says.
            Self::Postgres => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
            // What a backslash means depends on the mode of the session; bytes mean the same in
            // each.
            Self::MySql if text.contains('\\') => {
                let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("_utf8mb4 X'{bytes}'")
            }
            Self::MySql => format!("'{}'", text.replace('\'', "''")),
        }
    }
}
