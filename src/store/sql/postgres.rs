//! Rows into PostgreSQL: its binary COPY.
//!
//! The format is that of <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>;
//! values are as the receive functions of their types read them.

use super::cells::Cell;
use super::columns::{Target, declared};
use super::load::Rows;
use crate::connection::Relation;
use crate::connection::types::Type;
use crate::connection::{Dialect, Link, Session};
use crate::error::{Error, Result};

/// After as many bytes a message is sent.
const MESSAGE: usize = 1 << 20;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

/// True where what comes needs no cast.
pub(super) fn is_direct(target: &Target) -> bool {
    target.is_same && declared(Dialect::Postgres, &target.kind, false).is_some()
}

/// The type that values have before they are cast.
pub(super) fn side_type(kind: &Type) -> String {
    match kind {
        Type::Int8 | Type::UInt8 => "smallint".into(),
        Type::UInt16 => "integer".into(),
        Type::UInt32 => "bigint".into(),
        Type::UInt64 => "numeric(20,0)".into(),
        Type::List(inner) => format!("{}[]", side_type(inner)),
        kind => declared(Dialect::Postgres, kind, false).unwrap_or_else(|| "text".into()),
    }
}

/// Copies rows into a table.
pub(super) async fn write(session: &mut Session, into: &Relation, targets: &[Target], rows: &Rows) -> Result<()> {
    let dialect = Dialect::Postgres;
    let names: Vec<String> = targets.iter().map(|target| dialect.quoted(&target.name)).collect();
    let statement = format!("COPY {} ({}) FROM STDIN (FORMAT BINARY)", into.from(dialect), names.join(", "));
    let database = session.database().clone();
    let failed = |error: sqlx::Error| Error::from(database.failed("write its rows", &error));
    let Link::Postgres(link) = &mut session.link else { return Ok(()) };
    let mut copy = link.copy_in_raw(&statement).await.map_err(failed)?;
    let mut message = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let width = i16::try_from(rows.columns.len()).map_err(|_| rows.misfit(0, 0, "there are too many columns"))?;
    for row in 0..rows.height {
        message.extend(width.to_be_bytes());
        for (number, (_, cells)) in rows.columns.iter().enumerate() {
            let cell = cells.cell(row).and_then(|cell| put(&mut message, &cell, &cells.kind));
            if let Err(reason) = cell {
                drop(copy.abort("a value has no place").await);
                return Err(rows.misfit(number, row, &reason));
            }
        }
        if message.len() >= MESSAGE {
            copy.send(std::mem::replace(&mut message, Vec::with_capacity(MESSAGE + MESSAGE / 8))).await.map_err(failed)?;
        }
    }
    message.extend((-1_i16).to_be_bytes());
    copy.send(message).await.map_err(failed)?;
    let written = copy.finish().await.map_err(failed)?;
    if written != rows.height as u64 {
        return Err(rows.misfit(0, 0, &format!("{} rows were sent, and the server took {written}", rows.height)));
    }
    Ok(())
}

/// Writes a value behind its length.
fn put(out: &mut Vec<u8>, cell: &Cell<'_>, kind: &Type) -> Result<(), String> {
    if *cell == Cell::Null {
        out.extend((-1_i32).to_be_bytes());
        return Ok(());
    }
    let start = out.len();
    out.extend([0; 4]);
    put_value(out, cell, kind)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| "the value is longer than 2 GiB".to_string())?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_value(out: &mut Vec<u8>, cell: &Cell<'_>, kind: &Type) -> Result<(), String> {
    let too_large = |_| "the number is too large".to_string();
    match cell {
        Cell::Null => {}
        Cell::Boolean(value) => out.push(u8::from(*value)),
        Cell::Integer(value) => match kind {
            Type::Int8 | Type::Int16 => out.extend(i16::try_from(*value).map_err(too_large)?.to_be_bytes()),
            Type::Int32 => out.extend(i32::try_from(*value).map_err(too_large)?.to_be_bytes()),
            _ => out.extend(value.to_be_bytes()),
        },
        Cell::Unsigned(value) => match kind {
            Type::UInt8 => out.extend(i16::try_from(*value).map_err(too_large)?.to_be_bytes()),
            Type::UInt16 => out.extend(i32::try_from(*value).map_err(too_large)?.to_be_bytes()),
            Type::UInt32 => out.extend(i64::try_from(*value).map_err(too_large)?.to_be_bytes()),
            _ => numeric(out, i128::from(*value), 0),
        },
        Cell::Float32(value) => out.extend(value.to_be_bytes()),
        Cell::Float64(value) => out.extend(value.to_be_bytes()),
        Cell::Decimal(value) => {
            let scale = if let Type::Decimal { scale, .. } = kind { *scale } else { 0 };
            numeric(out, *value, scale);
        }
        Cell::Text(value) if value.contains('\0') => return Err("PostgreSQL has no texts with a zero in them".into()),
        Cell::Text(value) => out.extend(value.as_bytes()),
        Cell::Binary(value) => out.extend(*value),
        Cell::Date(days) => {
            let days = days.checked_sub(EPOCH_DAYS).filter(|days| *days > i32::MIN);
            out.extend(days.ok_or("the date lies too far away")?.to_be_bytes());
        }
        Cell::Time(micros) => out.extend(micros.to_be_bytes()),
        Cell::Timestamp(micros) => {
            let micros = micros.checked_sub(EPOCH_MICROS).filter(|micros| *micros > i64::MIN);
            out.extend(micros.ok_or("the time stamp lies too far away")?.to_be_bytes());
        }
        Cell::List(elements) => {
            let Type::List(inner) = kind else { return Err("it is no list".into()) };
            list(out, elements, inner)?;
        }
    }
    Ok(())
}

/// An array of one dimension that begins at 1.
fn list(out: &mut Vec<u8>, elements: &[Cell<'_>], inner: &Type) -> Result<(), String> {
    let has_nulls = elements.contains(&Cell::Null);
    let dimensions = i32::from(!elements.is_empty());
    out.extend(dimensions.to_be_bytes());
    out.extend(i32::from(has_nulls).to_be_bytes());
    out.extend(oid(inner).to_be_bytes());
    if dimensions == 1 {
        let length = i32::try_from(elements.len()).map_err(|_| "the list is too long".to_string())?;
        out.extend(length.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    elements.iter().try_for_each(|element| put(out, element, inner))
}

/// The number of a type, from PostgreSQL's pg_type.dat.
fn oid(kind: &Type) -> u32 {
    match kind {
        Type::Boolean => 16,
        Type::Int8 | Type::Int16 | Type::UInt8 => 21,
        Type::Int32 | Type::UInt16 => 23,
        Type::Int64 | Type::UInt32 => 20,
        Type::UInt64 | Type::Decimal { .. } => 1700,
        Type::Float32 => 700,
        Type::Float64 => 701,
        Type::Text | Type::List(_) => 25,
        Type::Binary => 17,
        Type::Date => 1082,
        Type::Time => 1083,
        Type::Timestamp => 1114,
        Type::TimestampUtc => 1184,
    }
}

/// A numeric: groups of four decimal digits around the point, the first with its weight.
fn numeric(out: &mut Vec<u8>, value: i128, scale: u8) {
    let scale_groups = u32::from(scale).div_ceil(4);
    // So that the point lies between two groups; 38 digits and 3 more fit into 128 bits without a sign but for the largest.
    let padding = scale_groups * 4 - u32::from(scale);
    let mut rest = value.unsigned_abs();
    let mut groups: Vec<u16> = Vec::with_capacity(12);
    // The last group has fewer digits of the number than four where the scale is no multiple of that.
    if padding > 0 {
        let factor = 10_u128.pow(padding);
        let split = 10_u128.pow(4 - padding);
        groups.push(u16::try_from((rest % split) * factor).unwrap_or_default());
        rest /= split;
    }
    while rest > 0 {
        groups.push(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    let count = i32::try_from(groups.len()).unwrap_or_default();
    let weight = count - 1 - i32::try_from(scale_groups).unwrap_or_default();
    groups.reverse();
    // Neither zeros before the first group nor behind the last are sent.
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let weight = weight - i32::try_from(leading).unwrap_or_default();
    let mut groups = &groups[leading..];
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    let weight = if groups.is_empty() { 0 } else { weight };
    out.extend(i16::try_from(groups.len()).unwrap_or_default().to_be_bytes());
    out.extend(i16::try_from(weight).unwrap_or_default().to_be_bytes());
    out.extend(if value < 0 && !groups.is_empty() { 0x4000_u16 } else { 0 }.to_be_bytes());
    out.extend(u16::from(scale).to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
}
