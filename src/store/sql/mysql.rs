//! Rows into MySQL: INSERTs of many rows each, sized by their bytes.

use std::fmt::Write;

use super::cells::{Cell, put_decimal};
use super::load::TargetRows;
use crate::connection::session::SqlParameter;
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, Session};
use crate::connection::{Relation, calendar};
use crate::error::Result;

/// After as many bytes a statement ends; servers take sixteen times as much.
const STATEMENT_BYTES: usize = 1 << 20;

/// A longer text, or more bytes, is sent beside a statement and not in it.
const LONG_VALUE_BYTES: usize = 1 << 18;

/// What a session that fills tables is set to: no value is cut or made another, and no number
/// stands for the next one.
const STRICT_MODE: &str =
    "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO";

/// The modes that say what SQL means. See <https://mariadb.com/kb/en/sql-mode/>.
const SYNTAX_MODES: [&str; 8] = [
    "ANSI_QUOTES",
    "EMPTY_STRING_IS_NULL",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "NO_BACKSLASH_ESCAPES",
    "NO_UNSIGNED_SUBTRACTION",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
];

/// Sets a session to what statements of hygge's own are written for. What the server set it to is
/// kept in a variable of it.
pub(super) async fn set_own_mode(session: &mut Session) -> Result<()> {
    if session.database().dialect != Dialect::MySql {
        return Ok(());
    }
    let action = "set up its session";
    session
        .execute(
            action,
            "SET @hygge_sql_mode = COALESCE(@hygge_sql_mode, @@SESSION.sql_mode)",
        )
        .await?;
    Ok(session
        .execute(action, &format!("SET SESSION sql_mode = '{STRICT_MODE}'"))
        .await?)
}

/// Sets a session that was set up so that SQL which the config has means what the server says;
/// values stay exact.
pub(super) async fn set_user_mode(session: &mut Session) -> Result<()> {
    if session.database().dialect != Dialect::MySql {
        return Ok(());
    }
    let meanings = SYNTAX_MODES
        .map(|mode| format!(", IF(FIND_IN_SET('{mode}', @hygge_sql_mode), '{mode}', NULL)"))
        .concat();
    Ok(session
        .execute(
            "set up its session",
            &format!("SET SESSION sql_mode = CONCAT_WS(',', '{STRICT_MODE}'{meanings})"),
        )
        .await?)
}

/// The collation of tables that are made: texts are compared by their bytes, blanks at their end
/// among them, where the server has such a one. Elsewhere than in MySQL and MariaDB there is none
/// to be named.
pub(super) async fn table_collation(session: &mut Session) -> Result<Option<String>> {
    if session.database().dialect != Dialect::MySql {
        return Ok(None);
    }
    let asked = "SELECT collation_name FROM information_schema.collations \
                 WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') ORDER BY 1 LIMIT 1";
    let found = session
        .query_text("look for a collation", asked)
        .await?
        .into_iter()
        .flatten()
        .next()
        .flatten();
    Ok(Some(found.unwrap_or_else(|| "utf8mb4_bin".into())))
}

/// Inserts rows into a table.
pub(super) async fn write(
    session: &mut Session,
    into: &Relation,
    rows: &TargetRows<'_>,
) -> Result<u64> {
    let dialect = Dialect::MySql;
    let names: Vec<String> = rows
        .columns
        .iter()
        .map(|(target, _)| dialect.quote_name(&target.name))
        .collect();
    let mut written = 0;
    let head = format!(
        "INSERT INTO {} ({}) VALUES ",
        into.source_sql(dialect),
        names.join(", ")
    );
    let most = max_packet_bytes(session).await?;
    let mut statement = head.clone();
    for row in 0..rows.height {
        let before = statement.len();
        let mut long = Vec::new();
        statement.push_str(if statement.len() == head.len() {
            "("
        } else {
            ",("
        });
        for (number, (target, cells)) in rows.columns.iter().enumerate() {
            if number > 0 {
                statement.push(',');
            }
            let put = cells.cell(row).and_then(|cell| {
                target.check(&cell)?;
                put_value(&mut statement, &cell, &cells.kind, &mut long)
            });
            put.map_err(|reason| rows.value_error(number, row, &reason))?;
        }
        statement.push(')');
        if !long.is_empty() {
            // Its row goes by itself, behind those that came before.
            let own = statement.split_off(before);
            if before > head.len() {
                written += session.execute_update("write its rows", &statement).await?;
                statement.truncate(head.len());
            }
            let own = format!("{head}{}", own.trim_start_matches(','));
            let length = own.len() + long.iter().map(SqlParameter::len).sum::<usize>();
            if length >= most {
                return Err(rows.row_too_long(row, length, most));
            }
            written += session
                .execute_with_parameters("write its rows", &own, &long)
                .await?;
            continue;
        }
        if statement.len() >= most && before > head.len() {
            // It may be a statement of its own; the comma in front of it is not.
            let rest = statement.split_off(before);
            written += session.execute_update("write its rows", &statement).await?;
            statement.truncate(head.len());
            statement.push_str(&rest[1..]);
        }
        if statement.len() >= most {
            return Err(rows.row_too_long(row, statement.len(), most));
        }
        if statement.len() >= STATEMENT_BYTES {
            written += session.execute_update("write its rows", &statement).await?;
            statement.truncate(head.len());
        }
    }
    if statement.len() > head.len() {
        written += session.execute_update("write its rows", &statement).await?;
    }
    Ok(written)
}

/// How long a statement may be for the server, in bytes: it closes the connection to who sends a
/// longer one.
async fn max_packet_bytes(session: &mut Session) -> Result<usize> {
    let asked = session
        .query_text(
            "ask how long a statement may be",
            "SELECT @@max_allowed_packet",
        )
        .await?;
    let most = asked
        .into_iter()
        .flatten()
        .next()
        .flatten()
        .and_then(|most| most.parse().ok());
    Ok(most.unwrap_or(usize::MAX))
}

/// Writes a value as SQL, or a mark for a long one.
fn put_value<'c>(
    out: &mut String,
    cell: &Cell<'c>,
    kind: &ColumnType,
    long: &mut Vec<SqlParameter<'c>>,
) -> Result<(), String> {
    match cell {
        Cell::Text(value) if value.len() > LONG_VALUE_BYTES => {
            out.push('?');
            long.push(SqlParameter::Text(value));
        }
        Cell::Binary(value) if value.len() > LONG_VALUE_BYTES => {
            out.push('?');
            long.push(SqlParameter::Bytes(value));
        }
        Cell::Null => out.push_str("NULL"),
        Cell::Boolean(value) => out.push(if *value { '1' } else { '0' }),
        Cell::Integer(value) => put_decimal(out, (*value).into(), 0),
        Cell::Unsigned(value) => put_decimal(out, (*value).into(), 0),
        // The server reads a number of 64 bits and rounds it: the shortest form of the largest one
        // of 32 bits lies above it.
        Cell::Float32(value) if value.is_finite() => {
            out.push_str(&format!("{:e}", f64::from(*value)))
        }
        Cell::Float64(value) if value.is_finite() => out.push_str(&format!("{value:e}")),
        Cell::Float32(_) | Cell::Float64(_) => {
            return Err("MySQL has neither NaN nor infinity".into());
        }
        Cell::Decimal(value) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            put_decimal(out, *value, scale);
        }
        Cell::Text(value) => {
            out.push('\'');
            let mut rest = *value;
            while let Some(place) = rest.find(['\'', '\\', '\0']) {
                let (plain, special) = rest.split_at(place);
                out.push_str(plain);
                out.push_str(match special.as_bytes()[0] {
                    b'\'' => "''",
                    b'\\' => "\\\\",
                    _ => "\\0",
                });
                rest = &special[1..];
            }
            out.push_str(rest);
            out.push('\'');
        }
        Cell::Binary(value) => {
            out.push_str("x'");
            // Writing to a text cannot fail.
            value
                .iter()
                .try_for_each(|byte| write!(out, "{byte:02x}"))
                .map_err(|error| error.to_string())?;
            out.push('\'');
        }
        Cell::Date(days) => put_quoted(out, |out| calendar::put_date(out, i64::from(*days)))?,
        Cell::Time(micros) => put_quoted(out, |out| {
            calendar::put_time(out, *micros);
            Ok(())
        })?,
        Cell::Timestamp(micros) => put_quoted(out, |out| calendar::put_timestamp(out, *micros))?,
        Cell::List(_) => return Err("MySQL has no lists".into()),
    }
    Ok(())
}

fn put_quoted(
    out: &mut String,
    put: impl FnOnce(&mut String) -> Result<(), String>,
) -> Result<(), String> {
    out.push('\'');
    put(out)?;
    out.push('\'');
    Ok(())
}
