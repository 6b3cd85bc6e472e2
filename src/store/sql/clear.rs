//! Removing what was published to a table: the table where hygge made it, else the rows that hygge
//! wrote, and nothing of others.

use std::sync::Arc;

use super::cascade;
use super::receipts;
use super::resolved_table::ResolvedTable;
use super::table_contents::{count_rows, reading_session, table_exists};
use super::{SqlStore, engine};
use crate::connection::{Database, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::store::receipt::Receipt;

/// What is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableRemoval {
    /// Nothing is there but the receipt.
    Receipt,
    /// The whole table, which hygge made.
    Table(u64),
    /// All its rows, which hygge wrote.
    Rows(u64),
}

/// What would be removed, in words.
///
/// # Errors
/// The table has rows that hygge did not write.
pub(super) async fn describe_removal(
    store: &SqlStore,
    database: &Arc<Database>,
) -> Result<Option<String>> {
    if database.is_missing()? {
        return Ok(None);
    }
    let mut session = reading_session(database).await?;
    let judged = find_removal(store, &mut session).await;
    session.release().await;
    let rows = |rows: u64| {
        if rows == 1 {
            "1 row".to_string()
        } else {
            format!("{rows} rows")
        }
    };
    Ok(judged?.map(|(_, removal, _)| match removal {
        TableRemoval::Receipt => "its receipt; there is no such table any more".to_string(),
        TableRemoval::Table(number) => format!("the table with its {}", rows(number)),
        TableRemoval::Rows(number) => format!(
            "{}; the table stays, as hygge did not make it",
            rows(number)
        ),
    }))
}

/// Removes it, with the receipt, in one transaction.
///
/// # Errors
/// The table has rows that hygge did not write.
pub(super) async fn clear(store: &SqlStore, database: &Arc<Database>) -> Result<()> {
    let mut session = database.writing_session().await?;
    let begin = engine(database.dialect).begin_sql();
    session.begin("begin a transaction", begin, None).await?;
    if let Some((resolved, removal, receipt)) = find_removal(store, &mut session).await? {
        let relation = resolved.relation().source_sql(database.dialect);
        if let TableRemoval::Rows(wanted) = removal {
            cascade::check_removal(store, &resolved, &mut session).await?;
            let removed = session
                .execute_update("remove its rows", &format!("DELETE FROM {relation}"))
                .await?;
            if removed != wanted {
                let error = format!(
                    "{removed} rows of table {} would be removed, and hygge wrote {wanted}",
                    store.relation
                );
                return Err(Error::new(ErrorKind::Flow, error)
                    .with_hint("somebody writes to it: try again"));
            }
        }
        receipts::remove(&mut session, &receipt, &format!("table {}", store.relation)).await?;
        if let TableRemoval::Table(_) = removal {
            // MySQL ends the transaction with that.
            session
                .execute("remove its table", &format!("DROP TABLE {relation}"))
                .await?;
        }
    }
    session.commit().await?;
    session.release().await;
    Ok(())
}

/// What may be removed, by what the receipt says of the table's rows.
async fn find_removal(
    store: &SqlStore,
    session: &mut Session,
) -> Result<Option<(ResolvedTable, TableRemoval, receipts::StoredReceipt)>> {
    let resolved = ResolvedTable::resolve(store, session).await?;
    let Some(found) = receipts::find_in_session(store, &resolved, session).await? else {
        return Ok(None);
    };
    let receipt = store.parse_receipt(&found.text)?;
    let relation = resolved.relation();
    if !table_exists(&relation, session).await? {
        return Ok(Some((resolved, TableRemoval::Receipt, found)));
    }
    let there = count_rows(&relation.source_sql(session.database().dialect), session).await?;
    let (is_made, written) = written(store, &receipt, there);
    if written != Some(there) {
        let written = written.map_or_else(
            || "which of them hygge wrote is not known".into(),
            |rows| format!("hygge wrote {rows} of them"),
        );
        let error = format!(
            "table {} has {there} rows, and {written}: they cannot be told apart",
            store.relation
        );
        let hint = format!(
            "remove what you do not need by hand, and the row of the table in {}",
            receipts::TABLE
        );
        return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
    }
    Ok(Some((
        resolved,
        if is_made {
            TableRemoval::Table(there)
        } else {
            TableRemoval::Rows(there)
        },
        found,
    )))
}

/// True where hygge made the table, and how many rows of it hygge wrote, as far as the receipt
/// knows.
fn written(store: &SqlStore, receipt: &Receipt, there: u64) -> (bool, Option<u64>) {
    if let Some(table) = receipt.table {
        return (
            table.created_by_hygge,
            Some(table.rows.saturating_sub(table.foreign_rows)),
        );
    }
    // A receipt of the version before. What was merged may be fewer rows than were sent.
    let sent = receipt
        .published
        .as_ref()
        .map_or(0, |published| published.manifest.rows());
    let written = if store.adopt {
        None
    } else {
        Some(if store.key.is_empty() || there > sent {
            sent
        } else {
            there
        })
    };
    (!store.adopt, written)
}
