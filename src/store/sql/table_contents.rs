//! Looking at a database before anything is written: what is in the place of a table.

use std::sync::Arc;

use super::engine::TableLock;
use super::{SqlStore, engine, engine_of};
use crate::connection::{ConnectionError, Database, Relation, Session};
use crate::error::Result;

/// What is in the place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableContents {
    Absent,
    Empty,
    HasRows,
}

/// True where there is a table.
pub(super) async fn store_table_exists(store: &SqlStore, database: &Arc<Database>) -> Result<bool> {
    Ok(read_contents(store, database).await? != TableContents::Absent)
}

/// What SQLite says to who only reads where somebody died while writing:
/// <https://www.sqlite.org/rescode.html#readonly_rollback>.
const READONLY_ROLLBACK: &str = "776";

/// A session that reads. Where a process died in the middle of a load, SQLite first undoes that,
/// which takes one that writes.
pub(super) async fn reading_session(database: &Arc<Database>) -> Result<Session> {
    let mut session = database.session().await?;
    if engine(database.dialect).lock() != TableLock::Database {
        return Ok(session);
    }
    let (action, any) = ("look into it", "SELECT 1 FROM sqlite_master LIMIT 1");
    let looked = session.query_text(action, any).await;
    if !matches!(&looked, Err(ConnectionError::Failed { failure, .. }) if failure.code.as_deref() == Some(READONLY_ROLLBACK))
    {
        // Whatever else is amiss shows again where something is looked for.
        return Ok(session);
    }
    // Another may be the last that there is room for.
    drop(session);
    let mut session = database.writing_session().await?;
    session.query_text(action, any).await?;
    session.release().await;
    Ok(database.session().await?)
}

/// What is in the place of the table.
pub(super) async fn read_contents(
    store: &SqlStore,
    database: &Arc<Database>,
) -> Result<TableContents> {
    if database.is_missing()? {
        return Ok(TableContents::Absent);
    }
    let mut session = reading_session(database).await?;
    let found = read_contents_in_session(&store.relation, &mut session).await;
    session.release().await;
    found
}

pub(super) async fn read_contents_in_session(
    relation: &Relation,
    session: &mut Session,
) -> Result<TableContents> {
    if !table_exists(relation, session).await? {
        return Ok(TableContents::Absent);
    }
    let asked = format!(
        "SELECT 1 FROM {} LIMIT 1",
        relation.source_sql(session.database().dialect)
    );
    let found = session.query_text("look at its table", &asked).await?;
    Ok(if found.is_empty() {
        TableContents::Empty
    } else {
        TableContents::HasRows
    })
}

/// True where there is a table of this name.
pub(super) async fn table_exists(relation: &Relation, session: &mut Session) -> Result<bool> {
    let Some([rest @ .., name]) = relation.table_name() else {
        return Ok(false);
    };
    let schema = rest.first().map(String::as_str);
    let asked = engine_of(session).table_exists_sql(schema, relation, name);
    Ok(!session
        .query_text("look for its table", &asked)
        .await?
        .is_empty())
}

/// The rows of what stands behind FROM.
pub(super) async fn count_rows(from: &str, session: &mut Session) -> Result<u64> {
    let counted = session
        .query_text("count its rows", &format!("SELECT count(*) FROM {from}"))
        .await?;
    Ok(counted
        .into_iter()
        .flatten()
        .flatten()
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or_default())
}
