//! The names of the tables of a database.

use super::engine::ListedTables;
use super::engine_of;
use crate::config::connection::Connection;
use crate::connection::{ConnectionError, Databases};

/// The tables of a schema, or those that need none, in the order of their names; of partitions the
/// table that they are of, and views where they are asked for.
///
/// # Errors
/// The database does not answer.
pub async fn list_tables(
    connection: &Connection,
    databases: &Databases,
    schema: Option<&str>,
    has_views: bool,
) -> Result<Vec<String>, ConnectionError> {
    let database = databases.for_connection(connection)?;
    let mut session = database.session().await?;
    let which = if has_views {
        ListedTables::TablesAndViews
    } else {
        ListedTables::Tables
    };
    let sql = engine_of(&session).list_tables_sql(schema, which);
    let listed = session.query_text("list the tables", &sql).await?;
    session.release().await;
    let mut tables: Vec<String> = listed.into_iter().flatten().flatten().collect();
    tables.sort();
    Ok(tables)
}
