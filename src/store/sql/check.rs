//! Before anything is read or written: whether what comes has a place in the table.

use std::sync::Arc;

use super::columns::{self, Coming};
use super::look::reading_session;
use super::place::Place;
use super::{Create, SqlStore, catalog};
use crate::connection::{Database, Session};
use crate::error::Result;

/// Judges columns by their types alone; gives what is to be known of them, in words.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) async fn columns(store: &SqlStore, database: &Arc<Database>, coming: &[Coming]) -> Result<Vec<String>> {
    if database.is_missing()? {
        columns::definitions(store, database.dialect, coming)?;
        return Ok(columns::remarks(store, database.dialect, coming, coming));
    }
    let mut session = reading_session(database).await?;
    let judged = judge(store, &mut session, coming).await;
    session.end().await;
    judged
}

async fn judge(store: &SqlStore, session: &mut Session, coming: &[Coming]) -> Result<Vec<String>> {
    let dialect = session.database().dialect;
    let place = Place::of(store, session).await?;
    let missing = match catalog::table(&place, session).await? {
        None => coming.to_vec(),
        Some(table) => columns::matched(store, dialect, coming, &table)?.1,
    };
    if !missing.is_empty() && place.exists && store.create == Create::Never {
        return Err(columns::no_place(store, &missing, "the table has no such column, and create: never"));
    }
    columns::definitions(store, dialect, &missing)?;
    Ok(columns::remarks(store, dialect, &missing, coming))
}
