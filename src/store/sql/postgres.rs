//! Rows into PostgreSQL: its binary COPY.
//!
//! The format is that of
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>; values are
//! as the receive functions of their types read them.

use super::catalog::Wire;
use super::cells::Cell;
use super::load::Rows;
use crate::connection::Relation;
use crate::connection::types::Type;
use crate::connection::{Dialect, Link, Session};
use crate::error::{Error, Result};

/// After as many bytes a message is sent.
const MESSAGE: usize = 1 << 20;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The groups of four digits that a decimal has at most: 39 digits, and three more so that the
/// point lies between two.
const GROUPS: usize = 11;

/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

/// The type that values have before they are cast.
pub(super) fn side_type(wire: &Wire) -> String {
    match wire {
        Wire::Boolean => "boolean",
        Wire::Int2 => "smallint",
        Wire::Int4 => "integer",
        Wire::Int8 => "bigint",
        Wire::Oid => "oid",
        Wire::Float4 => "real",
        Wire::Float8 => "double precision",
        Wire::Numeric => "numeric",
        Wire::Text => "text",
        Wire::Bytes => "bytea",
        Wire::Date => "date",
        Wire::Time => "time(6)",
        Wire::Timestamp => "timestamp(6)",
        Wire::TimestampUtc => "timestamp(6) with time zone",
        Wire::List(inner, _) => return format!("{}[]", side_type(inner)),
    }
    .to_string()
}

/// Copies rows into a table, or into the one beside it; gives how many the server took.
pub(super) async fn write(
    session: &mut Session,
    into: &Relation,
    rows: &Rows<'_>,
    is_side: bool,
) -> Result<u64> {
    let dialect = Dialect::Postgres;
    let names: Vec<String> = rows
        .columns
        .iter()
        .map(|(target, _)| dialect.quoted(&target.name))
        .collect();
    let statement = format!(
        "COPY {} ({}) FROM STDIN (FORMAT BINARY)",
        into.from(dialect),
        names.join(", ")
    );
    let database = session.database().clone();
    let failed = |error: sqlx::Error| Error::from(database.failed("write its rows", &error));
    let Link::Postgres(link) = &mut session.link else {
        return Ok(0);
    };
    let mut copy = link.copy_in_raw(&statement).await.map_err(failed)?;
    let mut message = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let width = i16::try_from(rows.columns.len())
        .map_err(|_| rows.misfit(0, 0, "there are too many columns"))?;
    for row in 0..rows.height {
        message.extend(width.to_be_bytes());
        for (number, (target, cells)) in rows.columns.iter().enumerate() {
            let sent = cells.cell(row).and_then(|cell| {
                target.check(&cell)?;
                put(&mut message, &cell, &cells.kind, &target.wire, is_side)
            });
            if let Err(reason) = sent {
                drop(copy.abort("a value has no place").await);
                return Err(rows.misfit(number, row, &reason));
            }
        }
        if message.len() >= MESSAGE {
            let full = std::mem::replace(&mut message, Vec::with_capacity(MESSAGE + MESSAGE / 8));
            // A row may be much longer, and may come in several messages: each is copied once more
            // on its way.
            for piece in full.chunks(MESSAGE) {
                copy.send(piece).await.map_err(failed)?;
            }
        }
    }
    message.extend((-1_i16).to_be_bytes());
    copy.send(message).await.map_err(failed)?;
    copy.finish().await.map_err(failed)
}

/// Writes a value behind its length.
fn put(
    out: &mut Vec<u8>,
    cell: &Cell<'_>,
    kind: &Type,
    wire: &Wire,
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
    kind: &Type,
    wire: &Wire,
    is_side: bool,
) -> Result<(), String> {
    let too_large = |_| "the number is too large".to_string();
    match (wire, cell) {
        (Wire::Boolean, Cell::Boolean(value)) => out.push(u8::from(*value)),
        (Wire::Int2, cell) => out.extend(
            i16::try_from(whole(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (Wire::Int4, cell) => out.extend(
            i32::try_from(whole(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (Wire::Int8, cell) => out.extend(
            i64::try_from(whole(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (Wire::Oid, cell) => out.extend(
            u32::try_from(whole(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (Wire::Float4, Cell::Float32(value)) => out.extend(value.to_be_bytes()),
        (Wire::Float8, Cell::Float32(value)) => out.extend(f64::from(*value).to_be_bytes()),
        (Wire::Float8, Cell::Float64(value)) => out.extend(value.to_be_bytes()),
        (Wire::Numeric, Cell::Decimal(value)) => {
            let scale = if let Type::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            numeric(out, *value, scale);
        }
        (Wire::Numeric, cell) => numeric(out, whole(cell)?, 0),
        (Wire::Text, Cell::Text(value)) if value.as_bytes().contains(&0) => {
            return Err("PostgreSQL has no texts with a zero in them".into());
        }
        (Wire::Text, Cell::Text(value)) => out.extend(value.as_bytes()),
        (Wire::Bytes, Cell::Binary(value)) => out.extend(*value),
        (Wire::Date, Cell::Date(days)) => {
            let days = days.checked_sub(EPOCH_DAYS).filter(|days| *days > i32::MIN);
            out.extend(days.ok_or("the date lies too far away")?.to_be_bytes());
        }
        (Wire::Time, Cell::Time(micros)) => out.extend(micros.to_be_bytes()),
        (Wire::Timestamp | Wire::TimestampUtc, Cell::Timestamp(micros)) => {
            let micros = micros
                .checked_sub(EPOCH_MICROS)
                .filter(|micros| *micros > i64::MIN);
            out.extend(
                micros
                    .ok_or("the time stamp lies too far away")?
                    .to_be_bytes(),
            );
        }
        (Wire::List(inner, number), Cell::List(elements)) => {
            let Type::List(kind) = kind else {
                return Err("it is no list".into());
            };
            // Beside the table, elements have the types that they are sent in.
            list(
                out,
                elements,
                (kind, inner),
                if is_side { oid(inner) } else { *number },
                is_side,
            )?;
        }
        _ => return Err("the value is not of the type that was planned with".into()),
    }
    Ok(())
}

/// A whole number.
fn whole(cell: &Cell<'_>) -> Result<i128, String> {
    match cell {
        Cell::Integer(value) => Ok((*value).into()),
        Cell::Unsigned(value) => Ok((*value).into()),
        // Its digits behind the point are none, which was looked at.
        Cell::Decimal(value) => Ok(*value),
        _ => Err("the value is not of the type that was planned with".into()),
    }
}

/// An array of one dimension that begins at 1; `number` is that of its elements' type.
fn list(
    out: &mut Vec<u8>,
    elements: &[Cell<'_>],
    (kind, wire): (&Type, &Wire),
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
        .try_for_each(|element| put(out, element, kind, wire, is_side))
}

/// The number of a type, from PostgreSQL's pg_type.dat.
fn oid(wire: &Wire) -> u32 {
    match wire {
        Wire::Boolean => 16,
        Wire::Bytes => 17,
        Wire::Int8 => 20,
        Wire::Int2 => 21,
        Wire::Int4 => 23,
        Wire::Text | Wire::List(..) => 25,
        Wire::Oid => 26,
        Wire::Float4 => 700,
        Wire::Float8 => 701,
        Wire::Date => 1082,
        Wire::Time => 1083,
        Wire::Timestamp => 1114,
        Wire::TimestampUtc => 1184,
        Wire::Numeric => 1700,
    }
}

/// A numeric: groups of four decimal digits around the point, the first with its weight.
fn numeric(out: &mut Vec<u8>, value: i128, scale: u8) {
    let scale_groups = u32::from(scale).div_ceil(4);
    // So that the point lies between two groups; 38 digits and 3 more fit into 128 bits without a
    // sign but for the largest.
    let padding = scale_groups * 4 - u32::from(scale);
    let mut rest = value.unsigned_abs();
    let (mut groups, mut first) = ([0_u16; GROUPS], GROUPS);
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
