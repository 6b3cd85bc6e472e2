//! Looking at a database before anything is written: what is in the place of a table.

use std::sync::Arc;

use super::SqlStore;
use crate::connection::{ConnectionError, Database, Dialect, Relation, Session};
use crate::error::Result;

/// What is in the place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    NoRows,
    Rows,
}

/// True where there is a table.
pub(super) async fn exists(store: &SqlStore, database: &Arc<Database>) -> Result<bool> {
    Ok(look(store, database).await? != Found::Nothing)
}

/// What SQLite says to who only reads where somebody died while writing:
/// <https://www.sqlite.org/rescode.html#readonly_rollback>.
const CUT_OFF: &str = "776";

/// A session that reads. Where a process died in the middle of a load, SQLite first undoes that,
/// which takes one that writes.
pub(super) async fn reading_session(database: &Arc<Database>) -> Result<Session> {
    let mut session = database.session().await?;
    if database.dialect != Dialect::Sqlite {
        return Ok(session);
    }
    let (action, any) = ("look into it", "SELECT 1 FROM sqlite_master LIMIT 1");
    let looked = session.ask(action, any).await;
    if !matches!(&looked, Err(ConnectionError::Failed { failure, .. }) if failure.code.as_deref() == Some(CUT_OFF))
    {
        // Whatever else is amiss shows again where something is looked for.
        return Ok(session);
    }
    // Another may be the last that there is room for.
    drop(session);
    let mut session = database.writing_session().await?;
    session.ask(action, any).await?;
    session.end().await;
    Ok(database.session().await?)
}

/// What is in the place of the table.
pub(super) async fn look(store: &SqlStore, database: &Arc<Database>) -> Result<Found> {
    if database.is_missing()? {
        return Ok(Found::Nothing);
    }
    let mut session = reading_session(database).await?;
    let found = look_in(&store.relation, &mut session).await;
    session.end().await;
    found
}

pub(super) async fn look_in(relation: &Relation, session: &mut Session) -> Result<Found> {
    if !is_there(relation, session).await? {
        return Ok(Found::Nothing);
    }
    let asked = format!(
        "SELECT 1 FROM {} LIMIT 1",
        relation.from(session.database().dialect)
    );
    let found = session.ask("look at its table", &asked).await?;
    Ok(if found.is_empty() {
        Found::NoRows
    } else {
        Found::Rows
    })
}

/// True where there is a table of this name.
pub(super) async fn is_there(relation: &Relation, session: &mut Session) -> Result<bool> {
    let dialect = session.database().dialect;
    let Some([rest @ .., name]) = relation.table() else {
        return Ok(false);
    };
    let asked = match dialect {
        Dialect::Postgres => format!(
            "SELECT 1 WHERE to_regclass({}) IS NOT NULL",
            dialect.text(&relation.from(dialect))
        ),
        Dialect::Sqlite => {
            let schema = rest
                .first()
                .map_or_else(|| "'main'".into(), |schema| dialect.text(schema));
            format!(
                "SELECT 1 FROM pragma_table_list({}) WHERE schema = {schema}",
                dialect.text(name)
            )
        }
        Dialect::MySql => {
            let schema = rest
                .first()
                .map_or_else(|| "DATABASE()".into(), |schema| dialect.text(schema));
            format!(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {}",
                dialect.text(name)
            )
        }
    };
    Ok(!session.ask("look for its table", &asked).await?.is_empty())
}

/// The rows of what stands behind FROM.
pub(super) async fn count(from: &str, session: &mut Session) -> Result<u64> {
    let counted = session
        .ask("count its rows", &format!("SELECT count(*) FROM {from}"))
        .await?;
    Ok(counted
        .into_iter()
        .flatten()
        .flatten()
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or_default())
}
