//! Rows into SQLite: one prepared statement, run for each row on the handle of the session.

use super::cells::{Cell, put_decimal};
use super::columns::TargetColumn;
use super::load::TargetRows;
use crate::connection::sqlite_statement::{PreparedInsert, SqliteValue};
use crate::connection::types::ColumnType;
use crate::connection::{ConnectionError, Dialect, Session};
use crate::connection::{Relation, calendar};
use crate::error::{Error, Result};

/// Inserts rows into a table.
pub(super) async fn write(
    session: &mut Session,
    into: &Relation,
    rows: &TargetRows<'_>,
) -> Result<u64> {
    let dialect = Dialect::Sqlite;
    let names: Vec<String> = rows
        .columns
        .iter()
        .map(|(target, _)| dialect.quote_name(&target.name))
        .collect();
    let marks = vec!["?"; names.len()].join(", ");
    // What the table says of conflicts is overridden: a row that is in the way is an error.
    let sql = format!(
        "INSERT OR ABORT INTO {} ({}) VALUES ({marks})",
        into.source_sql(dialect),
        names.join(", ")
    );
    let action = "write its rows";
    let database = session.database().clone();
    let failed = |failure| {
        Error::from(ConnectionError::Failed {
            connection: database.name.clone(),
            action: action.into(),
            failure,
        })
    };
    let written = session.with_handle(
        action,
        || true,
        |handle, statement| {
            let mut insert = PreparedInsert::new(handle, &sql).map_err(failed)?;
            let (mut written, mut text) = (0, String::new());
            for row in 0..rows.height {
                for (number, (target, cells)) in rows.columns.iter().enumerate() {
                    let misfit = |reason: String| rows.value_error(number, row, &reason);
                    let cell = cells.cell(row).map_err(misfit)?;
                    target.check(&cell).map_err(misfit)?;
                    text.clear();
                    let value = value(&cell, target, &mut text).map_err(misfit)?;
                    insert.bind(number, value).map_err(failed)?;
                }
                statement.restart();
                written += insert.run().map_err(failed)?;
            }
            Ok(written)
        },
    );
    written.await?.unwrap_or(Ok(0))
}

/// A value as SQLite stores it; `text` holds what is made of it.
fn value<'v>(
    cell: &Cell<'v>,
    target: &TargetColumn,
    text: &'v mut String,
) -> Result<SqliteValue<'v>, String> {
    let kind = &target.kind;
    let number = match cell {
        Cell::Null => return Ok(SqliteValue::Null),
        Cell::Boolean(value) => return Ok(SqliteValue::Integer(i64::from(*value))),
        Cell::Integer(value) => return Ok(SqliteValue::Integer(*value)),
        Cell::Unsigned(value) => {
            let value = i64::try_from(*value)
                .map_err(|_| "SQLite has no whole number above 2^63-1".to_string())?;
            return Ok(SqliteValue::Integer(value));
        }
        Cell::Text(value) => return Ok(SqliteValue::Text(value.as_bytes())),
        Cell::Binary(value) => return Ok(SqliteValue::Blob(value)),
        Cell::Float32(value) => f64::from(*value),
        Cell::Float64(value) => *value,
        Cell::Decimal(value) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            // Of a text with a point SQLite would make a number of fifteen digits.
            if let Some(number) =
                whole(*value, scale).filter(|_| target.storage.has_numeric_affinity())
            {
                return Ok(SqliteValue::Integer(number));
            }
            put_decimal(text, *value, scale);
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Date(days) => {
            calendar::put_date(text, i64::from(*days))?;
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Time(micros) => {
            calendar::put_time(text, *micros);
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Timestamp(micros) => {
            calendar::put_timestamp(text, *micros)?;
            if *kind == ColumnType::TimestampUtc {
                text.push('Z');
            }
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::List(_) => return Err("SQLite has no lists".into()),
    };
    // It would become null.
    if number.is_nan() {
        Err("SQLite has no NaN".into())
    } else {
        Ok(SqliteValue::Real(number))
    }
}

/// A decimal without anything behind its point.
fn whole(value: i128, scale: u8) -> Option<i64> {
    let unit = 10_i128.checked_pow(scale.into())?;
    if value % unit == 0 {
        i64::try_from(value / unit).ok()
    } else {
        None
    }
}
