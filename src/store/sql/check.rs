//! Before anything is read or written: whether what comes has a place in the table, and whether it may be put there.

use std::sync::Arc;

use super::columns::{self, Coming};
use super::look::reading_session;
use super::place::Place;
use super::{Create, SqlStore, cascade, catalog};
use crate::connection::{Database, Dialect, Session};
use crate::error::Result;
use crate::store::Change;

/// Judges columns by their types alone; gives what is to be known of them, in words.
///
/// # Errors
/// Columns that do not fit: all of them are named. Tables of others that would lose rows; a condition that the database refuses.
pub(super) async fn columns(store: &SqlStore, database: &Arc<Database>, coming: &[Coming], change: Change) -> Result<Vec<String>> {
    columns::check_key(store, coming)?;
    if database.is_missing()? {
        columns::definitions(store, database.dialect, coming)?;
        return Ok(columns::remarks(store, database.dialect, coming, coming));
    }
    let mut session = reading_session(database).await?;
    let judged = judge(store, &mut session, coming, change).await;
    session.end().await;
    judged
}

async fn judge(store: &SqlStore, session: &mut Session, coming: &[Coming], change: Change) -> Result<Vec<String>> {
    let dialect = session.database().dialect;
    let place = Place::of(store, session).await?;
    let missing = match catalog::table(&place, session).await? {
        None => coming.to_vec(),
        Some(table) => columns::matched(store, dialect, coming, &table)?.1,
    };
    if !missing.is_empty() && place.exists && store.create == Create::Never {
        return Err(columns::no_place(store, &missing, "the table has no such column, and create: never"));
    }
    let definitions = columns::definitions(store, dialect, &missing)?;
    cascade::check(store, &place, session, change).await?;
    if let Some(condition) = store.delete_where.as_ref().filter(|_| change == Change::Merge) {
        // What is there gives its own types, what will be made those that it will have.
        let column = |(name, _): &Coming| {
            let quoted = dialect.quoted(name);
            match definitions.iter().find(|(missing, _)| missing == name) {
                None => quoted,
                Some((_, declared)) if dialect == Dialect::Postgres => format!("NULL::{} AS {quoted}", type_of(declared)),
                Some(_) => format!("NULL AS {quoted}"),
            }
        };
        let from = if place.exists { format!(" FROM {}", place.relation().from(dialect)) } else { String::new() };
        let columns = coming.iter().map(column).collect::<Vec<_>>().join(", ");
        let asked = format!("SELECT 1 FROM (SELECT {columns}{from}) AS hygge_rows WHERE ({condition}\n) LIMIT 0");
        session.ask("understand delete_where", &asked).await?;
    }
    Ok(columns::remarks(store, dialect, &missing, coming))
}

/// A type without what a definition may say besides.
fn type_of(declared: &str) -> &str {
    let lower = declared.to_ascii_lowercase();
    let ends = [" not null", " null", " default ", " primary key", " unique", " references ", " check ", " generated ", " collate "];
    let end = ends.iter().filter_map(|end| lower.find(end)).min();
    &declared[..end.unwrap_or(declared.len())]
}
