//! Before anything is read or written: whether what comes has a place in the table, and whether it
//! may be put there.

use std::path::Path;
use std::sync::Arc;

use super::columns::{self, IncomingColumn};
use super::resolved_table::ResolvedTable;
use super::table_contents::reading_session;
use super::{SqlStore, alter, cascade, engine, engine_of, receipts};
use crate::config::connection::Connection;
use crate::connection::{ConnectionError, Database, Databases, Session};
use crate::error::Result;
use crate::home::RecordedColumn;
use crate::store::StoreUpdate;
use crate::store::receipt::Receipt;

/// Judges columns by their types alone; gives what is to be known of them, in words.
///
/// # Errors
/// Columns that do not fit: all of them are named. Tables of others that would lose rows; a
/// condition that the database refuses.
pub(super) async fn check_columns(
    store: &SqlStore,
    database: &Arc<Database>,
    coming: &[IncomingColumn],
    change: StoreUpdate,
) -> Result<Vec<String>> {
    columns::check_key(store, coming)?;
    let engine = engine(database.dialect);
    if database.is_missing()? {
        columns::definitions(store, engine, coming)?;
        let mut session = create_scratch_table(store, database, coming).await?;
        if let Some(condition) = delete_condition(store, change) {
            check_condition(condition, "", &[], coming, &mut session).await?;
        }
        session.release().await;
        return Ok(columns::remarks(store, engine, coming, coming));
    }
    let mut session = reading_session(database).await?;
    let judged = check_in_session(store, &mut session, coming, change).await;
    session.release().await;
    let (missing, remarks) = judged?;
    if missing
        .iter()
        .any(|(name, _)| store.columns.contains_key(name))
    {
        create_scratch_table(store, database, &missing)
            .await?
            .release()
            .await;
    }
    Ok(remarks)
}

/// Gives the columns that the table lacks, too.
async fn check_in_session(
    store: &SqlStore,
    session: &mut Session,
    coming: &[IncomingColumn],
    change: StoreUpdate,
) -> Result<(Vec<IncomingColumn>, Vec<String>)> {
    let engine = engine_of(session);
    let resolved = ResolvedTable::resolve(store, session).await?;
    let (mut missing, mut widened) = (coming.to_vec(), Vec::new());
    if let Some(table) = engine.read_table(&resolved, session).await? {
        let published = published_columns(store, &resolved, session).await?;
        widened = alter::columns_to_widen(store, engine, coming, &table, &published);
        let table = alter::with_widened(table, &widened);
        missing = columns::match_columns(store, engine, coming, &table)?.1;
        // Where rows are merged, those that are there may have it.
        if change != StoreUpdate::Merge {
            columns::check_required(store, engine, coming, &table)?;
        }
    }
    if resolved.exists {
        alter::check_alteration(store, &missing, &widened)?;
    }
    let definitions = columns::definitions(store, engine, &missing)?;
    cascade::check(store, &resolved, session, change).await?;
    if let Some(condition) = delete_condition(store, change) {
        let from = if resolved.exists {
            format!(" FROM {}", resolved.relation().source_sql(engine.dialect()))
        } else {
            String::new()
        };
        check_condition(condition, &from, &definitions, coming, session).await?;
    }
    let mut remarks = columns::remarks(store, engine, &missing, coming);
    remarks.extend(alter::remarks(store, &widened));
    Ok((missing, remarks))
}

/// The columns of the set that is published to a table.
async fn published_columns(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Vec<RecordedColumn>> {
    let found = receipts::find_in_session(store, resolved, session).await?;
    let receipt = found
        .map(|found| store.parse_receipt(&found.text))
        .transpose()?;
    let published = receipt.as_ref().and_then(Receipt::latest);
    Ok(published.map_or_else(Vec::new, |published| published.columns.clone()))
}

/// Makes a table of columns where nobody sees it, and judges what comes by that: types may be the
/// config's own words. Gives the session, with which the table goes.
async fn create_scratch_table(
    store: &SqlStore,
    database: &Arc<Database>,
    made: &[IncomingColumn],
) -> Result<Session> {
    let engine = engine(database.dialect);
    // Where the key is not all there, it is of a table that has the rest of it.
    let has_key = store
        .key
        .iter()
        .all(|key| made.iter().any(|(name, _)| name == key));
    let plain = SqlStore {
        key: if has_key {
            store.key.clone()
        } else {
            Vec::new()
        },
        ..store.clone()
    };
    let scratch = engine.scratch_table(&store.relation.file_stem());
    let mut session = if scratch.is_in_memory {
        let memory = Databases::new(Path::new("/"))
            .for_connection(&Connection::in_memory(&store.connection.name))?;
        memory.writing_session().await?
    } else {
        database.writing_session().await?
    };
    let resolved = ResolvedTable {
        schema: scratch.schema,
        table: scratch.name,
        exists: true,
    };
    let relation = scratch.relation.source_sql(engine.dialect());
    let collation = engine.table_collation(&mut session).await?;
    let statement =
        columns::create_statement(&plain, engine, &relation, collation.as_deref(), made)?;
    let statement = engine.scratch_statement(statement);
    if let Some(begin) = scratch.begin {
        session.begin("begin a transaction", begin, None).await?;
    }
    engine.set_own_mode(&mut session).await?;
    engine.set_user_mode(&mut session).await?;
    match session.execute("make its table", &statement).await {
        // Who may not make such a table may still make the other.
        Err(ConnectionError::Failed { failure, .. })
            if matches!(
                failure.code.as_deref(),
                Some("1044" | "1046" | "1142" | "42501")
            ) =>
        {
            return Ok(session);
        }
        made => made?,
    }
    engine.set_own_mode(&mut session).await?;
    if let Some(table) = engine.read_scratch_table(&resolved, &mut session).await? {
        columns::match_columns(&plain, engine, made, &table)?;
    }
    if let Some(statement) = engine.drop_scratch_sql(&relation) {
        session
            .execute("remove a table of its own", &statement)
            .await?;
    }
    Ok(session)
}

fn delete_condition(store: &SqlStore, change: StoreUpdate) -> Option<&str> {
    store
        .delete_where
        .as_deref()
        .filter(|_| change == StoreUpdate::Merge)
}

/// Has the database understand a condition on what comes.
async fn check_condition(
    condition: &str,
    from: &str,
    definitions: &[(String, String)],
    coming: &[IncomingColumn],
    session: &mut Session,
) -> Result<()> {
    let engine = engine_of(session);
    // What is there gives its own types, what will be made those that it will have.
    let column = |(name, _): &IncomingColumn| {
        let quoted = engine.dialect().quote_name(name);
        match definitions.iter().find(|(missing, _)| missing == name) {
            None if !from.is_empty() => quoted,
            Some((_, declared)) => {
                format!("{} AS {quoted}", engine.typed_null(bare_type(declared)))
            }
            None => format!("NULL AS {quoted}"),
        }
    };
    let columns = coming.iter().map(column).collect::<Vec<_>>().join(", ");
    let asked = format!(
        "SELECT 1 FROM (SELECT {columns}{from}) AS hygge_rows WHERE ({condition}\n) LIMIT 0"
    );
    session
        .query_text("understand delete_where", &asked)
        .await?;
    Ok(())
}

/// A type without what a definition may say besides.
fn bare_type(declared: &str) -> &str {
    let lower = declared.to_ascii_lowercase();
    let ends = [
        " not null",
        " null",
        " default ",
        " primary key",
        " unique",
        " references ",
        " check ",
        " generated ",
        " collate ",
    ];
    let end = ends.iter().filter_map(|end| lower.find(end)).min();
    &declared[..end.unwrap_or(declared.len())]
}
