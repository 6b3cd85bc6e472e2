//! Rows into SQLite: one prepared statement, run for each row on the handle of the session.

use super::cells::{Cell, put_decimal};
use super::columns::Target;
use super::load::Rows;
use crate::connection::stepping::{Insert, Value};
use crate::connection::types::Type;
use crate::connection::{ConnectionError, Dialect, Session};
use crate::connection::{Relation, calendar};
use crate::error::{Error, Result};

/// Inserts rows into a table.
pub(super) async fn write(session: &mut Session, into: &Relation, rows: &Rows<'_>) -> Result<u64> {
    let dialect = Dialect::Sqlite;
    let names: Vec<String> = rows
        .columns
        .iter()
        .map(|(target, _)| dialect.quoted(&target.name))
        .collect();
    let marks = vec!["?"; names.len()].join(", ");
    // What the table says of conflicts is overridden: a row that is in the way is an error.
    let sql = format!(
        "INSERT OR ABORT INTO {} ({}) VALUES ({marks})",
        into.from(dialect),
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
            let mut insert = Insert::new(handle, &sql).map_err(failed)?;
            let (mut written, mut text) = (0, String::new());
            for row in 0..rows.height {
                for (number, (target, cells)) in rows.columns.iter().enumerate() {
                    let misfit = |reason: String| rows.misfit(number, row, &reason);
                    let cell = cells.cell(row).map_err(misfit)?;
                    target.check(&cell).map_err(misfit)?;
                    text.clear();
                    let value = value(&cell, target, &mut text).map_err(misfit)?;
                    insert.bind(number, value).map_err(failed)?;
                }
                statement.again();
                written += insert.run().map_err(failed)?;
            }
            Ok(written)
        },
    );
    written.await?.unwrap_or(Ok(0))
}

/// A value as SQLite stores it; `text` holds what is made of it.
fn value<'v>(cell: &Cell<'v>, target: &Target, text: &'v mut String) -> Result<Value<'v>, String> {
    let kind = &target.kind;
    let number = match cell {
        Cell::Null => return Ok(Value::Null),
        Cell::Boolean(value) => return Ok(Value::Integer(i64::from(*value))),
        Cell::Integer(value) => return Ok(Value::Integer(*value)),
        Cell::Unsigned(value) => {
            let value = i64::try_from(*value)
                .map_err(|_| "SQLite has no whole number above 2^63-1".to_string())?;
            return Ok(Value::Integer(value));
        }
        Cell::Text(value) => return Ok(Value::Text(value.as_bytes())),
        Cell::Binary(value) => return Ok(Value::Blob(value)),
        Cell::Float32(value) => f64::from(*value),
        Cell::Float64(value) => *value,
        Cell::Decimal(value) => {
            let scale = if let Type::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            // Of a text with a point SQLite would make a number of fifteen digits.
            if let Some(number) = whole(*value, scale).filter(|_| target.holds.is_number()) {
                return Ok(Value::Integer(number));
            }
            put_decimal(text, *value, scale);
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Date(days) => {
            calendar::put_date(text, i64::from(*days))?;
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Time(micros) => {
            calendar::put_time(text, *micros);
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Timestamp(micros) => {
            calendar::put_moment(text, *micros)?;
            if *kind == Type::TimestampUtc {
                text.push('Z');
            }
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::List(_) => return Err("SQLite has no lists".into()),
    };
    // It would become null.
    if number.is_nan() {
        Err("SQLite has no NaN".into())
    } else {
        Ok(Value::Real(number))
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
