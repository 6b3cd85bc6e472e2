//! Rows into SQLite: one prepared statement, run for each row on the handle of the session.

use super::cells::{Cell, decimal};
use super::columns::Target;
use super::load::Rows;
use crate::connection::stepping::{Insert, Value};
use crate::connection::types::Type;
use crate::connection::{ConnectionError, Dialect, Link, Session};
use crate::connection::{Relation, calendar};
use crate::error::{Error, Result};

/// Inserts rows into a table.
pub(super) async fn write(session: &mut Session, into: &Relation, targets: &[Target], rows: &Rows) -> Result<()> {
    let dialect = Dialect::Sqlite;
    let names: Vec<String> = targets.iter().map(|target| dialect.quoted(&target.name)).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let statement = format!("INSERT INTO {} ({}) VALUES ({marks})", into.from(dialect), names.join(", "));
    let action = "write its rows";
    let database = session.database().clone();
    let Link::Sqlite(link) = &mut session.link else { return Ok(()) };
    let mut handle = link.lock_handle().await.map_err(|error| database.failed(action, &error))?;
    let failed = |failure| Error::from(ConnectionError::Failed { connection: database.name.clone(), action: action.into(), failure });
    tokio::task::block_in_place(|| {
        let mut insert = Insert::new(&mut handle, &statement).map_err(failed)?;
        for row in 0..rows.height {
            for (number, (_, cells)) in rows.columns.iter().enumerate() {
                let cell = cells.cell(row).map_err(|reason| rows.misfit(number, row, &reason))?;
                let mut text = String::new();
                let value = value(&cell, &cells.kind, &mut text).map_err(|reason| rows.misfit(number, row, &reason))?;
                insert.bind(number, value).map_err(failed)?;
            }
            insert.run().map_err(failed)?;
        }
        Ok(())
    })
}

/// A value as SQLite stores it; `text` holds what is made of it.
fn value<'v>(cell: &Cell<'v>, kind: &Type, text: &'v mut String) -> Result<Value<'v>, String> {
    let number = match cell {
        Cell::Null => return Ok(Value::Null),
        Cell::Boolean(value) => return Ok(Value::Integer(i64::from(*value))),
        Cell::Integer(value) => return Ok(Value::Integer(*value)),
        Cell::Unsigned(value) => {
            let value = i64::try_from(*value).map_err(|_| "SQLite has no whole number above 2^63-1".to_string())?;
            return Ok(Value::Integer(value));
        }
        Cell::Text(value) => return Ok(Value::Text(value.as_bytes())),
        Cell::Binary(value) => return Ok(Value::Blob(value)),
        Cell::Float32(value) => f64::from(*value),
        Cell::Float64(value) => *value,
        Cell::Decimal(value) => {
            let scale = if let Type::Decimal { scale, .. } = kind { *scale } else { 0 };
            *text = decimal(*value, scale);
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Date(days) => {
            *text = calendar::shown_date(i64::from(*days))?;
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Time(micros) => {
            *text = calendar::shown_time(*micros);
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::Timestamp(micros) => {
            *text = calendar::shown_moment(*micros)?;
            if *kind == Type::TimestampUtc {
                text.push('Z');
            }
            return Ok(Value::Text(text.as_bytes()));
        }
        Cell::List(_) => return Err("SQLite has no lists".into()),
    };
    // It would become null.
    if number.is_nan() { Err("SQLite has no NaN".into()) } else { Ok(Value::Real(number)) }
}
