//! What the schema of a SQLite file would have called, and hygge's sessions do not call for it: see
//! <https://www.sqlite.org/pragma.html#pragma_trusted_schema>. Here it is found which view or
//! trigger that was.

use super::{ConnectionError, Dialect, Failure, Session};
use crate::error::Error;

/// How SQLite's words begin.
pub(super) const UNSAFE_USE_PREFIX: &str = "unsafe use of ";

impl Session {
    /// The same error; where it is about what is not called for the schema, with the name of what
    /// asks for it.
    pub async fn name_untrusted_caller(&mut self, error: Error) -> Error {
        let Some(ConnectionError::Failed {
            connection,
            action,
            failure,
        }) = error.downcast_source()
        else {
            return error;
        };
        let Some(used) = failure
            .message
            .strip_prefix(UNSAFE_USE_PREFIX)
            .filter(|_| self.database().dialect == Dialect::Sqlite)
        else {
            return error;
        };
        // A function stands before its brackets, a table between quotes.
        let name = used
            .split('"')
            .nth(1)
            .or_else(|| used.split(['(', ' ']).next())
            .unwrap_or_default();
        let asked = format!(
            "SELECT type || ' ' || name FROM sqlite_master WHERE instr(lower(sql), lower({})) > 0 \
             ORDER BY type <> 'view', name",
            Dialect::Sqlite.quote_text(name)
        );
        let (connection, action, mut failure): (String, String, Failure) =
            (connection.clone(), action.clone(), failure.clone());
        let Ok(found) = self.query_text("look for what calls it", &asked).await else {
            return error;
        };
        let found: Vec<String> = found.into_iter().flatten().flatten().take(3).collect();
        if !found.is_empty() {
            failure.message = format!("{}, which {} asks for", failure.message, found.join(" or "));
        }
        ConnectionError::Failed {
            connection,
            action,
            failure,
        }
        .into()
    }
}
