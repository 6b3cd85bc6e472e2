//! Looking at a database before anything is written: what is in the place of a table.

use std::sync::Arc;

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

/// A session that reads. What a process left that died in the middle of a load is undone first,
/// where that takes one that writes.
pub(super) async fn reading_session(database: &Arc<Database>) -> Result<Session> {
    let mut session = database.session().await?;
    let Some(probe) = engine(database.dialect).dead_writer_probe() else {
        return Ok(session);
    };
    let action = "look into it";
    let is_dead_writer = |error: &ConnectionError| {
        matches!(error, ConnectionError::Failed { failure, .. }
            if failure.code.as_deref() == Some(probe.failure_code))
    };
    let looked = session.query_text(action, probe.query).await;
    if !looked.is_err_and(|error| is_dead_writer(&error)) {
        // Whatever else is amiss shows again where something is looked for.
        return Ok(session);
    }
    // Another may be the last that there is room for.
    drop(session);
    let mut session = database.writing_session().await?;
    session.query_text(action, probe.query).await?;
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
    let Some(table) = relation.table() else {
        return Ok(false);
    };
    let asked = engine_of(session).table_exists_sql(table);
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
