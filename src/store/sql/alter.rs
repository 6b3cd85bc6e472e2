//! Columns that were filled from a narrower type than what comes now: which of them are widened,
//! and how.
//!
//! Only what this flow has filled before is: whether the values of a type fit into a column that
//! somebody else has chosen is judged value by value.

use super::catalog::{CatalogColumn, CatalogTable, StorageType};
use super::columns::{self, IncomingColumn};
use super::engine::WriteEngine;
use super::resolved_table::ResolvedTable;
use super::rule::DecimalDigits;
use super::{SqlStore, TableAlteration, TableCreation, engine_of};
use crate::connection::Session;
use crate::connection::types::ColumnType;
use crate::error::{Error, ErrorKind, Result};
use crate::format::widening::is_widened;
use crate::home::RecordedColumn;

/// A column that is widened.
#[derive(Clone, Debug)]
pub(super) struct WidenedColumn {
    /// The column as it is.
    column: CatalogColumn,
    /// What comes.
    kind: ColumnType,
    /// The type that it gets, in the database's words.
    declared: String,
}

/// The columns of a table that hold what came before, as the set that is published says it, and not
/// all that comes now.
pub(super) fn columns_to_widen(
    store: &SqlStore,
    engine: &dyn WriteEngine,
    coming: &[IncomingColumn],
    table: &CatalogTable,
    published: &[RecordedColumn],
) -> Vec<WidenedColumn> {
    let widened = |(name, kind): &IncomingColumn| {
        let before = published.iter().find(|column| column.name == *name)?;
        let column = columns::find_column(engine, table, name)?;
        let is_held = column.storage.rule_for(kind) == Ok(None);
        if is_held
            || column.is_computed
            || !is_widened(&before.target_type, &kind.to_string())
            || !is_widening_of(&column.storage, kind)
        {
            return None;
        }
        let declared = engine.declared_type(kind, store.key.contains(name))?;
        engine.widen_column_sql("", "", &declared, true)?;
        Some(WidenedColumn {
            column: column.clone(),
            kind: kind.clone(),
            declared,
        })
    };
    coming.iter().filter_map(widened).collect()
}

/// True where a type holds all that a column holds today, whoever wrote it.
fn is_widening_of(storage: &StorageType, kind: &ColumnType) -> bool {
    let digits_before_the_point = |number: i128| number.unsigned_abs().checked_ilog10();
    match (storage, kind) {
        (StorageType::Integer { least, most }, ColumnType::Decimal { precision, scale }) => {
            let room = u32::from(precision - scale);
            let fits = |number: i128| digits_before_the_point(number).is_none_or(|log| log < room);
            fits(*least) && fits(*most)
        }
        (StorageType::Integer { least, most }, kind) => {
            let Some(StorageType::Integer {
                least: from,
                most: to,
            }) = StorageType::for_integer_type(kind)
            else {
                return false;
            };
            from <= *least && to >= *most
        }
        (
            StorageType::Decimal(DecimalDigits {
                precision: Some(before),
                scale: before_scale,
                as_double: false,
            }),
            ColumnType::Decimal { precision, scale },
        ) => {
            let (precision, scale) = (i64::from(*precision), i64::from(*scale));
            let before_scale = i64::from(*before_scale);
            scale >= before_scale && precision - scale >= i64::from(*before) - before_scale
        }
        (StorageType::Float32, ColumnType::Float64)
        | (StorageType::Date, ColumnType::Timestamp) => true,
        _ => false,
    }
}

/// Refuses what the config does not let be altered: columns that the table lacks, and those that
/// would be widened.
///
/// # Errors
/// All of them are named.
pub(super) fn check_alteration(
    store: &SqlStore,
    missing: &[IncomingColumn],
    widened: &[WidenedColumn],
) -> Result<()> {
    let why = if store.create == TableCreation::Never {
        "create: never"
    } else if store.alter == TableAlteration::Never {
        "alter: never"
    } else {
        return Ok(());
    };
    let missing = missing.iter().map(|(name, kind)| {
        let why = format!("the table has no such column, and {why}");
        columns::describe_misfit(store, name, kind, &why)
    });
    let widened = widened.iter().map(|widened| {
        let why = format!("it is {} there, and {why}", widened.column.declared_type);
        columns::describe_misfit(store, &widened.column.name, &widened.kind, &why)
    });
    columns::misfit_error(missing.chain(widened).collect())
}

/// What is to be said of columns that are widened.
pub(super) fn remarks(store: &SqlStore, widened: &[WidenedColumn]) -> Vec<String> {
    let remark = |widened: &WidenedColumn| {
        format!(
            "column {} of table {} becomes {}, which was {}: what comes is {}",
            widened.column.name,
            store.relation,
            widened.declared,
            widened.column.declared_type,
            widened.kind
        )
    };
    widened.iter().map(remark).collect()
}

/// A table as it will be when columns are widened.
pub(super) fn with_widened(mut table: CatalogTable, widened: &[WidenedColumn]) -> CatalogTable {
    for column in &mut table.columns {
        let Some(widened) = widened
            .iter()
            .find(|widened| widened.column.name == column.name)
        else {
            continue;
        };
        column.storage = match &widened.kind {
            ColumnType::Decimal { precision, scale } => StorageType::Decimal(DecimalDigits {
                precision: Some(u32::from(*precision)),
                scale: i32::from(*scale),
                as_double: false,
            }),
            ColumnType::Float64 => StorageType::Float64,
            ColumnType::Timestamp => StorageType::Timestamp(6),
            kind => match StorageType::for_integer_type(kind) {
                Some(storage) => storage,
                None => continue,
            },
        };
    }
    table
}

/// Widens columns of a table.
///
/// # Errors
/// The database refuses it, or would lose what somebody has said of a column.
pub(super) async fn widen(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
    widened: &[WidenedColumn],
) -> Result<()> {
    let engine = engine_of(session);
    let relation = resolved.relation().source_sql(engine.dialect());
    for WidenedColumn {
        column, declared, ..
    } in widened
    {
        if let Some(query) = engine.lost_attributes_sql(resolved, &column.name) {
            let lost = session.query_text("look at its columns", &query).await?;
            if !lost.is_empty() {
                let error = format!(
                    "column {} of table {} must become {declared}, and has a default, a comment or \
                     the like, which the database forgets with its type",
                    column.name, store.relation
                );
                return Err(Error::new(ErrorKind::Flow, error)
                    .with_hint("alter it by hand: ALTER TABLE … MODIFY COLUMN …"));
            }
        }
        let name = engine.dialect().quote_name(&column.name);
        let statement = engine.widen_column_sql(&relation, &name, declared, column.is_nullable);
        if let Some(statement) = statement {
            engine.set_user_mode(session).await?;
            session
                .execute("widen a column of its table", &statement)
                .await?;
            engine.set_own_mode(session).await?;
        }
    }
    Ok(())
}
