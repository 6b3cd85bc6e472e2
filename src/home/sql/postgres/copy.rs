//! PostgreSQL's binary COPY, decoded straight into columns.
//!
//! The format is that of
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>; values are
//! as the send functions of their types write them.

use bytes::Bytes;
use futures_util::StreamExt;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use crate::connection::calendar::MICROS_PER_DAY;
use crate::connection::types::ColumnType;
use crate::home::PartBatch;
use crate::home::sql::batch_builder::{BatchBuilder, ColumnBuilder, ColumnValues};
use crate::home::sql::description::TableDescription;
use crate::home::sql::engine::PartitionQuery;
use crate::home::sql::read_error::{ConversionError, RowReadError};
use crate::home::sql::{OnInvalid, SqlError, SqlHome};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's time begins.
const EPOCH_DAYS: i32 = 10_957;

/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// The days of 0001-01-01 since 1970: what lies before is before Christ.
const FIRST_DAY: i32 = -719_162;

/// Reads what a statement gives.
pub(in crate::home::sql) async fn read(
    link: &mut PgConnection,
    query: PartitionQuery<'_>,
    filling: &mut BatchBuilder,
    rows: &mpsc::Sender<PartBatch>,
) -> Result<(), RowReadError> {
    let PartitionQuery {
        statement,
        home,
        described,
    } = query;
    let copy = format!("COPY ({statement}\n) TO STDOUT (FORMAT BINARY)");
    let mut stream = link.copy_out_raw(&copy).await?;
    let mut decoder = CopyDecoder {
        home,
        described,
        has_header: false,
        is_finished: false,
    };
    // What is left of a message that ended in the middle of a row.
    let mut left: Vec<u8> = Vec::new();
    while let Some(message) = stream.next().await {
        let message: Bytes = message?;
        let mut data: &[u8] = &message;
        if !left.is_empty() {
            left.extend_from_slice(&message);
            data = &left;
        }
        let mut at = 0;
        while let Some(step) = decoder.decode_next(&data[at..], filling)? {
            at += step.consumed;
            if let Some(batch) = step.batch {
                // Nobody receives any more: the flow has failed, and this ends with it.
                if rows.send(batch).await.is_err() {
                    return Ok(());
                }
            }
        }
        left = if at == data.len() {
            Vec::new()
        } else {
            data[at..].to_vec()
        };
    }
    if !decoder.is_finished || !left.is_empty() {
        return Err(SqlError::Protocol("what the server sent ends before its end".into()).into());
    }
    Ok(())
}

struct CopyDecoder<'a> {
    home: &'a SqlHome,
    described: &'a TableDescription,
    has_header: bool,
    is_finished: bool,
}

/// Bytes that were understood, and a batch where one is full.
struct DecodeStep {
    consumed: usize,
    batch: Option<PartBatch>,
}

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

impl CopyDecoder<'_> {
    /// Understands the header, a row or the end; nothing where it has not come whole.
    fn decode_next(
        &mut self,
        data: &[u8],
        filling: &mut BatchBuilder,
    ) -> Result<Option<DecodeStep>, RowReadError> {
        if self.is_finished || data.is_empty() {
            return Ok(None);
        }
        if !self.has_header {
            return self.header(data);
        }
        let Some(count) = data.get(..2) else {
            return Ok(None);
        };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.is_finished = true;
            return Ok(Some(DecodeStep {
                consumed: 2,
                batch: None,
            }));
        }
        let columns = &self.described.columns;
        if usize::try_from(count).ok() != Some(columns.len()) {
            return Err(SqlError::Protocol(format!(
                "a row has {count} values, and the table {} columns",
                columns.len()
            ))
            .into());
        }
        let Some(length) = row_length(data, count) else {
            return Ok(None);
        };
        let mut at = 2;
        let mut bytes = 0;
        for number in 0..columns.len() {
            let value = value(data, &mut at);
            bytes += value.map_or(0, <[u8]>::len);
            let builder = &mut filling.builders[number];
            let done = match value {
                None => {
                    builder.push_null();
                    Ok(())
                }
                Some(value) => push(builder, value),
            };
            match done {
                Ok(()) => {}
                Err(ConversionError::Invalid(_)) if self.home.on_invalid == OnInvalid::Null => {
                    filling.builders[number].push_null()
                }
                Err(misfit) => {
                    return Err(self
                        .locate_error(number, filling.total_rows() + 1, data, misfit)
                        .into());
                }
            }
        }
        Ok(Some(DecodeStep {
            consumed: length,
            batch: filling.end_row(bytes)?,
        }))
    }

    fn header(&mut self, data: &[u8]) -> Result<Option<DecodeStep>, RowReadError> {
        let Some(header) = data.get(..19) else {
            return Ok(None);
        };
        if &header[..11] != SIGNATURE || header[11..15] != [0; 4] {
            return Err(SqlError::Protocol("what the server sent is no binary COPY".into()).into());
        }
        let extension =
            u32::from_be_bytes([header[15], header[16], header[17], header[18]]) as usize;
        if data.len() < 19 + extension {
            return Ok(None);
        }
        self.has_header = true;
        Ok(Some(DecodeStep {
            consumed: 19 + extension,
            batch: None,
        }))
    }

    /// Names the row of a value that has no place, by its key if it has one.
    fn locate_error(
        &self,
        column: usize,
        row: u64,
        data: &[u8],
        misfit: ConversionError,
    ) -> SqlError {
        let mut at = 2;
        let mut key = Vec::new();
        for column in self.described.columns.iter() {
            let value = value(data, &mut at);
            if self.described.primary_key.contains(&column.name)
                && let Some(shown) = value.and_then(|value| format_key_value(&column.kind, value))
            {
                key.push(format!("{} = {shown}", column.name));
            }
        }
        let of = if key.is_empty() {
            self.home.relation.to_string()
        } else {
            format!("{}, {}", self.home.relation, key.join(", "))
        };
        misfit.into_sql_error(&self.described.columns[column].name, row, of)
    }
}

/// The length of a row that has come whole.
fn row_length(data: &[u8], count: i16) -> Option<usize> {
    let mut at = 2;
    for _ in 0..count {
        let length = data.get(at..at + 4)?;
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= data.len()).then_some(at)
}

/// The next value of a row that has come whole.
fn value<'d>(data: &'d [u8], at: &mut usize) -> Option<&'d [u8]> {
    let length = i32::from_be_bytes([data[*at], data[*at + 1], data[*at + 2], data[*at + 3]]);
    *at += 4;
    let length = usize::try_from(length).ok()?;
    *at += length;
    Some(&data[*at - length..*at])
}

/// A key's value in words.
fn format_key_value(kind: &ColumnType, value: &[u8]) -> Option<String> {
    Some(match kind {
        ColumnType::Int16 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        ColumnType::Int32 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        ColumnType::Int64 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        ColumnType::Text => format!("{:?}", String::from_utf8_lossy(value)),
        _ => return None,
    })
}

/// Adds one value to its column.
fn push(builder: &mut ColumnBuilder, value: &[u8]) -> Result<(), ConversionError> {
    let kind = logical_kind(builder.kind());
    match builder.values() {
        ColumnValues::Boolean(values) => values.push(Some(fixed::<1>(value)?[0] != 0)),
        ColumnValues::Int16(values) => values.push_value(i16::from_be_bytes(fixed(value)?)),
        ColumnValues::Int32(values) => match kind {
            LogicalKind::Date => values.push_value(date(i32::from_be_bytes(fixed(value)?))?),
            _ => values.push_value(i32::from_be_bytes(fixed(value)?)),
        },
        ColumnValues::Int64(values) => {
            let number = i64::from_be_bytes(fixed(value)?);
            values.push_value(match kind {
                LogicalKind::Time => time(number)?,
                LogicalKind::Timestamp => timestamp(number)?,
                _ => number,
            });
        }
        ColumnValues::UInt32(values) => values.push_value(u32::from_be_bytes(fixed(value)?)),
        ColumnValues::Float32(values) => values.push_value(f32::from_be_bytes(fixed(value)?)),
        ColumnValues::Float64(values) => values.push_value(f64::from_be_bytes(fixed(value)?)),
        ColumnValues::Int128(values) => {
            let LogicalKind::Decimal(precision, scale) = kind else {
                return Err(unexpected(value));
            };
            values.push_value(numeric(value, precision, scale)?);
        }
        ColumnValues::Text(values) => match std::str::from_utf8(value) {
            Ok(text) => values.push_value(text),
            Err(_) => return Err(ConversionError::Mismatch("its text is not UTF-8".into())),
        },
        ColumnValues::Binary(values) => values.push_value(value),
        ColumnValues::List { inner, .. } => {
            list(inner, value)?;
            builder.end_list();
        }
        _ => return Err(unexpected(value)),
    }
    Ok(())
}

/// What a type says besides how it is held.
#[derive(Clone, Copy)]
enum LogicalKind {
    Plain,
    Date,
    Time,
    Timestamp,
    Decimal(u8, u8),
}

fn logical_kind(kind: &ColumnType) -> LogicalKind {
    match kind {
        ColumnType::Date => LogicalKind::Date,
        ColumnType::Time => LogicalKind::Time,
        ColumnType::Timestamp | ColumnType::TimestampUtc => LogicalKind::Timestamp,
        ColumnType::Decimal { precision, scale } => LogicalKind::Decimal(*precision, *scale),
        _ => LogicalKind::Plain,
    }
}

fn unexpected(value: &[u8]) -> ConversionError {
    ConversionError::Mismatch(format!(
        "a value of {} bytes is not what its type has",
        value.len()
    ))
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], ConversionError> {
    value.try_into().map_err(|_| unexpected(value))
}

/// Days since 2000 as days since 1970.
fn date(days: i32) -> Result<i32, ConversionError> {
    match days {
        i32::MAX => Err(ConversionError::Invalid("the date is infinity".into())),
        i32::MIN => Err(ConversionError::Invalid("the date is -infinity".into())),
        days => match days.checked_add(EPOCH_DAYS) {
            Some(days) if days >= FIRST_DAY => Ok(days),
            _ => Err(ConversionError::Invalid(
                "the date lies before year 1".into(),
            )),
        },
    }
}

/// Microseconds of a day as nanoseconds.
fn time(micros: i64) -> Result<i64, ConversionError> {
    if (0..MICROS_PER_DAY).contains(&micros) {
        Ok(micros * 1000)
    } else {
        Err(ConversionError::Invalid("the time is 24:00:00".into()))
    }
}

/// Microseconds since 2000 as microseconds since 1970.
fn timestamp(micros: i64) -> Result<i64, ConversionError> {
    match micros {
        i64::MAX => Err(ConversionError::Invalid(
            "the time stamp is infinity".into(),
        )),
        i64::MIN => Err(ConversionError::Invalid(
            "the time stamp is -infinity".into(),
        )),
        micros => match micros.checked_add(EPOCH_MICROS) {
            Some(micros) if micros >= i64::from(FIRST_DAY) * MICROS_PER_DAY => Ok(micros),
            Some(_) => Err(ConversionError::Invalid(
                "the time stamp lies before year 1".into(),
            )),
            None => Err(ConversionError::Invalid(
                "the time stamp lies too far ahead".into(),
            )),
        },
    }
}

/// A numeric as a whole number of its last digits: groups of four decimal digits, the first with a
/// weight.
fn numeric(value: &[u8], precision: u8, scale: u8) -> Result<i128, ConversionError> {
    let [
        groups_high,
        groups_low,
        weight_high,
        weight_low,
        sign_high,
        sign_low,
        _,
        _,
        ..,
    ] = *value
    else {
        return Err(unexpected(value));
    };
    let groups = usize::from(u16::from_be_bytes([groups_high, groups_low]));
    let weight = i32::from(i16::from_be_bytes([weight_high, weight_low]));
    let sign = u16::from_be_bytes([sign_high, sign_low]);
    match sign {
        0xc000 => return Err(ConversionError::Invalid("the number is NaN".into())),
        0xd000 => return Err(ConversionError::Invalid("the number is infinity".into())),
        0xf000 => return Err(ConversionError::Invalid("the number is -infinity".into())),
        _ => {}
    }
    let unfit = || {
        ConversionError::Mismatch(format!(
            "the number has more digits than decimal({precision},{scale}) holds"
        ))
    };
    let digits = value
        .get(8..8 + groups * 2)
        .ok_or_else(|| unexpected(value))?;
    let mut number: i128 = 0;
    for (place, group) in digits.chunks_exact(2).enumerate() {
        let group = i128::from(u16::from_be_bytes([group[0], group[1]]));
        // The power of ten of the group's last digit, counted from the last digit that is kept.
        let power = (weight - i32::try_from(place).unwrap_or(i32::MAX)) * 4 + i32::from(scale);
        let part = if power >= 0 {
            let factor = u32::try_from(power)
                .ok()
                .and_then(|power| 10_i128.checked_pow(power));
            if group == 0 {
                Some(0)
            } else {
                factor.and_then(|factor| group.checked_mul(factor))
            }
        } else {
            let divisor = power.unsigned_abs();
            let divisor = if divisor >= 4 {
                10_000
            } else {
                10_i128.pow(divisor)
            };
            // No digit may be lost.
            (group % divisor == 0).then_some(group / divisor)
        };
        number = part
            .and_then(|part| number.checked_add(part))
            .ok_or_else(unfit)?;
    }
    if number >= 10_i128.pow(u32::from(precision)) {
        return Err(unfit());
    }
    Ok(if sign == 0x4000 { -number } else { number })
}

/// The elements of an array of one dimension that begins at 1.
fn list(inner: &mut ColumnBuilder, value: &[u8]) -> Result<(), ConversionError> {
    let number = |at: usize| -> Result<i32, ConversionError> {
        Ok(i32::from_be_bytes(fixed(
            value.get(at..at + 4).unwrap_or_default(),
        )?))
    };
    match number(0)? {
        0 => return Ok(()),
        1 => {}
        dimensions => {
            return Err(ConversionError::Mismatch(format!(
                "the array has {dimensions} dimensions, and a list has one"
            )));
        }
    }
    let (length, first) = (number(12)?, number(16)?);
    if first != 1 {
        return Err(ConversionError::Mismatch(format!(
            "the array begins at {first}, and a list at 1"
        )));
    }
    let mut at = 20;
    // All of them are looked at before any is added, so that a list comes whole or not at all.
    // Each has a length of four bytes at least, whatever the server says of their number.
    let mut elements = Vec::with_capacity(
        usize::try_from(length)
            .unwrap_or_default()
            .min(value.len() / 4),
    );
    for _ in 0..length {
        let size = number(at)?;
        at += 4;
        match usize::try_from(size) {
            Ok(size) => {
                elements.push(Some(
                    value.get(at..at + size).ok_or_else(|| unexpected(value))?,
                ));
                at += size;
            }
            Err(_) => elements.push(None),
        }
    }
    let mut probe = ColumnBuilder::new(inner.kind(), 0);
    elements
        .iter()
        .flatten()
        .try_for_each(|element| push(&mut probe, element))?;
    for element in elements {
        match element {
            Some(element) => push(inner, element)?,
            None => inner.push_null(),
        }
    }
    Ok(())
}
