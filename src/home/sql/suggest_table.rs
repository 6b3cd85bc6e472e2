//! The table that was most likely meant, where there is none of a name.

use super::{SqlError, SqlHome};
use crate::config::suggest::closest_match;
use crate::connection::{Dialect, Session};
use crate::error::Error;

impl SqlHome {
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
        let names = self.relation.table_name().unwrap_or_default();
        let (schema, name) = match names {
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            names => (None, names.last().map_or("", String::as_str)),
        };
        // What cannot be asked for is not proposed.
        let Ok(known) = session
            .query_text(
                "look for tables",
                &list_tables_sql(session.database().dialect, schema),
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

/// The query that gives the names of all tables and views of a schema, or of those that need none.
fn list_tables_sql(dialect: Dialect, schema: Option<&str>) -> String {
    match dialect {
        Dialect::Sqlite => {
            let schema = dialect.quote_name(schema.unwrap_or("main"));
            format!(
                "SELECT name FROM {schema}.sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
            )
        }
        Dialect::Postgres => {
            let of_schema = schema.map_or_else(
                || "pg_table_is_visible(c.oid) AND n.nspname NOT IN ('pg_catalog', 'information_schema')".to_string(),
                |schema| format!("n.nspname = {}", dialect.quote_text(schema)),
            );
            format!(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {of_schema}"
            )
        }
        Dialect::MySql => {
            let schema = schema.map_or_else(
                || "DATABASE()".to_string(),
                |schema| dialect.quote_text(schema),
            );
            format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"
            )
        }
    }
}
