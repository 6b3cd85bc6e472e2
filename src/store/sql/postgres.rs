//! Rows into PostgreSQL: its binary COPY.
//!
//! The format is that of
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>; values are
//! as the receive functions of their types read them.

use super::catalog::WireType;
use super::cells::Cell;
use super::load::TargetRows;
use crate::connection::Relation;
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, DriverConnection, Session};
use crate::error::{Error, Result};

/// After as many bytes a message is sent.
const MESSAGE_BYTES: usize = 1 << 20;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The groups of four digits that a decimal has at most: 39 digits, and three more so that the
/// point lies between two.
const MAX_GROUPS: usize = 11;

/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

/// The type that values have before they are cast.
pub(super) fn temp_type(wire: &WireType) -> String {
    match wire {
        WireType::Boolean => "boolean",
        WireType::Int2 => "smallint",
        WireType::Int4 => "integer",
        WireType::Int8 => "bigint",
        WireType::Oid => "oid",
        WireType::Float4 => "real",
        WireType::Float8 => "double precision",
        WireType::Numeric => "numeric",
        WireType::Text => "text",
        WireType::Bytes => "bytea",
        WireType::Date => "date",
        WireType::Time => "time(6)",
        WireType::Timestamp => "timestamp(6)",
        WireType::TimestampUtc => "timestamp(6) with time zone",
        WireType::List(inner, _) => return format!("{}[]", temp_type(inner)),
    }
    .to_string()
}

/// Copies rows into a table, or into the one beside it; gives how many the server took.
pub(super) async fn write(
    session: &mut Session,
    into: &Relation,
    rows: &TargetRows<'_>,
    is_side: bool,
) -> Result<u64> {
    let dialect = Dialect::Postgres;
    let names: Vec<String> = rows
        .columns
        .iter()
        .map(|(target, _)| dialect.quote_name(&target.name))
        .collect();
    let statement = format!(
        "COPY {} ({}) FROM STDIN (FORMAT BINARY)",
        into.source_sql(dialect),
        names.join(", ")
    );
    let database = session.database().clone();
    let failed = |error: sqlx::Error| Error::from(database.error_for("write its rows", &error));
    let DriverConnection::Postgres(link) = &mut session.driver else {
        return Ok(0);
    };
    let mut copy = link.copy_in_raw(&statement).await.map_err(failed)?;
    let mut message = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let width = i16::try_from(rows.columns.len())
        .map_err(|_| rows.value_error(0, 0, "there are too many columns"))?;
    for row in 0..rows.height {
        message.extend(width.to_be_bytes());
        for (number, (target, cells)) in rows.columns.iter().enumerate() {
            let sent = cells.cell(row).and_then(|cell| {
                target.check(&cell)?;
                put_field(&mut message, &cell, &cells.kind, &target.wire, is_side)
            });
            if let Err(reason) = sent {
                drop(copy.abort("a value has no place").await);
                return Err(rows.value_error(number, row, &reason));
            }
        }
        if message.len() >= MESSAGE_BYTES {
            let full = std::mem::replace(
                &mut message,
                Vec::with_capacity(MESSAGE_BYTES + MESSAGE_BYTES / 8),
            );
            // A row may be much longer, and may come in several messages: each is copied once more
            // on its way.
            for piece in full.chunks(MESSAGE_BYTES) {
                copy.send(piece).await.map_err(failed)?;
            }
        }
    }
    message.extend((-1_i16).to_be_bytes());
    copy.send(message).await.map_err(failed)?;
    copy.finish().await.map_err(failed)
}

/// Writes a value behind its length.
fn put_field(
    out: &mut Vec<u8>,
    cell: &Cell<'_>,
    kind: &ColumnType,
    wire: &WireType,
    is_side: bool,
) -> Result<(), String> {
    if *cell == Cell::Null {
        out.extend((-1_i32).to_be_bytes());
        return Ok(());
    }
    let start = out.len();
    out.extend([0; 4]);
    put_value(out, cell, kind, wire, is_side)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| "the value is longer than 2 GiB".to_string())?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_value(
    out: &mut Vec<u8>,
    cell: &Cell<'_>,
    kind: &ColumnType,
    wire: &WireType,
    is_side: bool,
) -> Result<(), String> {
    let too_large = |_| "the number is too large".to_string();
    match (wire, cell) {
        (WireType::Boolean, Cell::Boolean(value)) => out.push(u8::from(*value)),
        (WireType::Int2, cell) => out.extend(
            i16::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Int4, cell) => out.extend(
            i32::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Int8, cell) => out.extend(
            i64::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Oid, cell) => out.extend(
            u32::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Float4, Cell::Float32(value)) => out.extend(value.to_be_bytes()),
        (WireType::Float8, Cell::Float32(value)) => out.extend(f64::from(*value).to_be_bytes()),
        (WireType::Float8, Cell::Float64(value)) => out.extend(value.to_be_bytes()),
        (WireType::Numeric, Cell::Decimal(value)) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            put_numeric(out, *value, scale);
        }
        (WireType::Numeric, cell) => put_numeric(out, integer(cell)?, 0),
        (WireType::Text, Cell::Text(value)) if value.as_bytes().contains(&0) => {
            return Err("PostgreSQL has no texts with a zero in them".into());
        }
        (WireType::Text, Cell::Text(value)) => out.extend(value.as_bytes()),
        (WireType::Bytes, Cell::Binary(value)) => out.extend(*value),
        (WireType::Date, Cell::Date(days)) => {
            let days = days.checked_sub(EPOCH_DAYS).filter(|days| *days > i32::MIN);
            out.extend(days.ok_or("the date lies too far away")?.to_be_bytes());
        }
        (WireType::Time, Cell::Time(micros)) => out.extend(micros.to_be_bytes()),
        (WireType::Timestamp | WireType::TimestampUtc, Cell::Timestamp(micros)) => {
            let micros = micros
                .checked_sub(EPOCH_MICROS)
                .filter(|micros| *micros > i64::MIN);
            out.extend(
                micros
                    .ok_or("the time stamp lies too far away")?
                    .to_be_bytes(),
            );
        }
        (WireType::List(inner, number), Cell::List(elements)) => {
            let ColumnType::List(kind) = kind else {
                return Err("it is no list".into());
            };
            // Beside the table, elements have the types that they are sent in.
            put_array(
                out,
                elements,
                (kind, inner),
                if is_side { type_oid(inner) } else { *number },
                is_side,
            )?;
        }
        _ => return Err("the value is not of the type that was planned with".into()),
    }
    Ok(())
}

/// A whole number.
fn integer(cell: &Cell<'_>) -> Result<i128, String> {
    match cell {
        Cell::Integer(value) => Ok((*value).into()),
        Cell::Unsigned(value) => Ok((*value).into()),
        // Its digits behind the point are none, which was looked at.
        Cell::Decimal(value) => Ok(*value),
        _ => Err("the value is not of the type that was planned with".into()),
    }
}

/// An array of one dimension that begins at 1; `number` is that of its elements' type.
fn put_array(
    out: &mut Vec<u8>,
    elements: &[Cell<'_>],
    (kind, wire): (&ColumnType, &WireType),
    number: u32,
    is_side: bool,
) -> Result<(), String> {
    let has_nulls = elements.contains(&Cell::Null);
    let dimensions = i32::from(!elements.is_empty());
    out.extend(dimensions.to_be_bytes());
    out.extend(i32::from(has_nulls).to_be_bytes());
    out.extend(number.to_be_bytes());
    if dimensions == 1 {
        let length =
            i32::try_from(elements.len()).map_err(|_| "the list is too long".to_string())?;
        out.extend(length.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    elements
        .iter()
        .try_for_each(|element| put_field(out, element, kind, wire, is_side))
}

/// The number of a type, from PostgreSQL's pg_type.dat.
fn type_oid(wire: &WireType) -> u32 {
    match wire {
        WireType::Boolean => 16,
        WireType::Bytes => 17,
        WireType::Int8 => 20,
        WireType::Int2 => 21,
        WireType::Int4 => 23,
        WireType::Text | WireType::List(..) => 25,
        WireType::Oid => 26,
        WireType::Float4 => 700,
        WireType::Float8 => 701,
        WireType::Date => 1082,
        WireType::Time => 1083,
        WireType::Timestamp => 1114,
        WireType::TimestampUtc => 1184,
        WireType::Numeric => 1700,
    }
}

/// A numeric: groups of four decimal digits around the point, the first with its weight.
fn put_numeric(out: &mut Vec<u8>, value: i128, scale: u8) {
    let scale_groups = u32::from(scale).div_ceil(4);
    // So that the point lies between two groups; 38 digits and 3 more fit into 128 bits without a
    // sign but for the largest.
    let padding = scale_groups * 4 - u32::from(scale);
    let mut rest = value.unsigned_abs();
    let (mut groups, mut first) = ([0_u16; MAX_GROUPS], MAX_GROUPS);
    let mut put = |group: u16| {
        first -= 1;
        groups[first] = group;
    };
    // The last group has fewer digits of the number than four where the scale is no multiple of
    // that.
    if padding > 0 {
        let factor = 10_u128.pow(padding);
        let split = 10_u128.pow(4 - padding);
        put(u16::try_from((rest % split) * factor).unwrap_or_default());
        rest /= split;
    }
    while rest > u128::from(u64::MAX) {
        put(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    // Most numbers are no larger, and are divided several times as fast.
    let mut rest = u64::try_from(rest).unwrap_or_default();
    while rest > 0 {
        put(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    let groups = &groups[first..];
    let count = i32::try_from(groups.len()).unwrap_or_default();
    let weight = count - 1 - i32::try_from(scale_groups).unwrap_or_default();
    // Neither zeros before the first group nor behind the last are sent.
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let weight = weight - i32::try_from(leading).unwrap_or_default();
    let mut groups = &groups[leading..];
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    let weight = if groups.is_empty() { 0 } else { weight };
    out.extend(
        i16::try_from(groups.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    out.extend(i16::try_from(weight).unwrap_or_default().to_be_bytes());
    out.extend(
        if value < 0 && !groups.is_empty() {
            0x4000_u16
        } else {
            0
        }
        .to_be_bytes(),
    );
    out.extend(u16::from(scale).to_be_bytes());
    groups
        .iter()
        .for_each(|group| out.extend(group.to_be_bytes()));
}
