//! The table that was most likely meant, where there is none of a name.

use super::engine::ListedTables;
use super::{SqlError, SqlHome, engine_of};
use crate::config::suggest::closest_match;
use crate::connection::{Session, TableName};
use crate::error::Error;

impl SqlHome {
    /// There is no such table.
    pub(super) fn no_table_error(&self, session: &Session) -> SqlError {
        SqlError::NoTable {
            database: session.database().name.clone(),
            table: self.relation.to_string(),
            suggestion: None,
        }
    }

    /// The same error; where there is no such table, with the name of one that is there and nearly
    /// called so.
    pub(super) async fn with_suggested_table(&self, session: &mut Session, error: Error) -> Error {
        let Some(SqlError::NoTable {
            database, table, ..
        }) = error.downcast_source()
        else {
            return error;
        };
        let (database, table) = (database.clone(), table.clone());
        let TableName { schema, name } = self.relation.table().unwrap_or_default();
        // What cannot be asked for is not proposed.
        let Ok(known) = session
            .query_text(
                "look for tables",
                &engine_of(session).list_tables_sql(schema, ListedTables::Readable),
            )
            .await
        else {
            return error;
        };
        let known: Vec<String> = known.into_iter().flatten().flatten().collect();
        let near = closest_match(name, known.iter().map(String::as_str)).map(|near| match schema {
            Some(schema) => format!("{schema}.{near}"),
            None => near.to_string(),
        });
        SqlError::NoTable {
            database,
            table,
            suggestion: near,
        }
        .into()
    }
}
