//! Values of SQLite on their way into columns, each of which may be of another type than is
//! declared.

use tokio::sync::mpsc;

use super::connection_error;
use crate::connection::Session;
use crate::connection::calendar;
use crate::connection::sqlite_statement::{SqliteRows, SqliteValue};
use crate::connection::types::{ColumnType, SqlColumn};
use crate::home::PartBatch;
use crate::home::sql::batch_builder::{BatchBuilder, ColumnBuilder, ColumnValues};
use crate::home::sql::decimal;
use crate::home::sql::engine::PartitionQuery;
use crate::home::sql::read_error::{ConversionError, RowReadError};
use crate::home::sql::{OnInvalid, SqlError};

/// Reads what a statement gives.
pub(in crate::home::sql) async fn read(
    session: &mut Session,
    query: PartitionQuery<'_>,
    filling: &mut BatchBuilder,
    sender: &mpsc::Sender<PartBatch>,
) -> Result<(), RowReadError> {
    let PartitionQuery {
        statement,
        home,
        described,
    } = query;
    let action = "read its rows";
    let database = session.database().clone();
    // A sort may take long before the first row comes.
    let receiver = sender.downgrade();
    let is_awaited = move || receiver.upgrade().is_some_and(|sender| !sender.is_closed());
    let done = session.with_handle(action, is_awaited, |handle, _| {
        let mut rows = SqliteRows::new(handle, statement)
            .map_err(|failure| connection_error(&database, action, failure))?;
        let width = described.columns.len();
        while rows
            .step()
            .map_err(|failure| connection_error(&database, action, failure))?
        {
            let mut bytes = 0;
            for (number, column) in described.columns.iter().enumerate() {
                let value = rows
                    .value(number)
                    .map_err(|failure| connection_error(&database, action, failure))?;
                if let SqliteValue::Text(text) | SqliteValue::Blob(text) = value {
                    bytes += text.len();
                }
                match push(&mut filling.builders[number], column, value) {
                    Ok(()) => {}
                    Err(ConversionError::Invalid(_)) if home.on_invalid == OnInvalid::Null => {
                        filling.builders[number].push_null()
                    }
                    Err(misfit) => {
                        let mut of = home.relation.to_string();
                        if let (true, Ok(SqliteValue::Integer(rowid))) =
                            (described.rowid.is_some(), rows.value(width))
                        {
                            of = format!("{of}, rowid {rowid}");
                        }
                        return Err(misfit
                            .into_sql_error(&column.name, filling.total_rows() + 1, of)
                            .into());
                    }
                }
            }
            if let Some(batch) = filling.end_row(bytes)? {
                // Nobody receives any more: the flow has failed, and this ends with it.
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
        }
        Ok(())
    });
    done.await?
        .unwrap_or_else(|| Err(SqlError::Protocol("it is no SQLite".into()).into()))
}

/// Adds one value to its column.
pub(super) fn push(
    builder: &mut ColumnBuilder,
    column: &SqlColumn,
    value: SqliteValue<'_>,
) -> Result<(), ConversionError> {
    let kind = &column.kind;
    let unfit = || {
        let words = format!(
            "the value {} does not fit {}, which arrives as {kind}",
            format_value(value),
            declared(column)
        );
        let is_calendar = matches!(
            kind,
            ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampUtc
        );
        if is_calendar && as_text(value).is_some_and(calendar::looks_like_a_date) {
            ConversionError::Invalid(words)
        } else {
            ConversionError::Mismatch(words)
        }
    };
    let integer = || {
        if let SqliteValue::Integer(number) = value {
            Ok(number)
        } else {
            Err(unfit())
        }
    };
    macro_rules! whole {
        ($values:ident) => {
            $values.push_value(integer()?.try_into().map_err(|_| unfit())?)
        };
    }
    if value == SqliteValue::Null {
        builder.push_null();
        return Ok(());
    }
    match builder.values() {
        ColumnValues::Boolean(values) => match value {
            SqliteValue::Integer(flag @ (0 | 1)) => values.push(Some(flag == 1)),
            _ => return Err(unfit()),
        },
        ColumnValues::Int8(values) => whole!(values),
        ColumnValues::Int16(values) => whole!(values),
        ColumnValues::UInt8(values) => whole!(values),
        ColumnValues::UInt16(values) => whole!(values),
        ColumnValues::UInt32(values) => whole!(values),
        ColumnValues::UInt64(values) => whole!(values),
        ColumnValues::Int32(values) => match kind {
            ColumnType::Date => {
                let moment = as_text(value)
                    .and_then(calendar::parse_timestamp)
                    .filter(|moment| moment.micros == 0 && moment.offset.is_none());
                let moment = moment.ok_or_else(unfit)?;
                values.push_value(i32::try_from(moment.days).map_err(|_| unfit())?);
            }
            _ => whole!(values),
        },
        ColumnValues::Int64(values) => match kind {
            ColumnType::Time => values.push_value(
                as_text(value)
                    .and_then(calendar::parse_time)
                    .ok_or_else(unfit)?
                    * 1000,
            ),
            ColumnType::Timestamp => {
                let moment = as_text(value)
                    .and_then(calendar::parse_timestamp)
                    .filter(|moment| moment.offset.is_none())
                    .ok_or_else(unfit)?;
                values.push_value(i64::try_from(moment.utc_micros()).map_err(|_| unfit())?);
            }
            ColumnType::TimestampUtc => {
                let moment = as_text(value)
                    .and_then(calendar::parse_timestamp)
                    .ok_or_else(unfit)?;
                values.push_value(i64::try_from(moment.utc_micros()).map_err(|_| unfit())?);
            }
            _ => values.push_value(integer()?),
        },
        ColumnValues::Int128(values) => {
            let ColumnType::Decimal { precision, scale } = *kind else {
                return Err(unfit());
            };
            let number = match value {
                SqliteValue::Real(number) => decimal::from_f64(number, precision, scale),
                SqliteValue::Integer(number) => decimal::from_i64(number, precision, scale),
                _ => None,
            };
            if let Some(number) = number {
                values.push_value(number);
                return Ok(());
            }
            let text = to_text(value)
                .filter(|_| !matches!(value, SqliteValue::Blob(_)))
                .ok_or_else(unfit)?;
            values.push_value(decimal::parse(&text, precision, scale).map_err(|_| unfit())?);
        }
        ColumnValues::Float32(values) => match value {
            SqliteValue::Real(number) if f64::from(number as f32) == number => {
                values.push_value(number as f32)
            }
            _ => return Err(unfit()),
        },
        ColumnValues::Float64(values) => match value {
            SqliteValue::Real(number) => values.push_value(number),
            // Whole numbers up to 2^53 are numbers with a point too.
            SqliteValue::Integer(number) if number.unsigned_abs() <= 1 << 53 => {
                values.push_value(number as f64)
            }
            _ => return Err(unfit()),
        },
        ColumnValues::Text(values) => match value {
            SqliteValue::Text(bytes) => values.push_value(
                std::str::from_utf8(bytes)
                    .map_err(|_| ConversionError::Mismatch("its text is not UTF-8".into()))?,
            ),
            value if column.is_read_as_text => values.push_value(to_text(value).ok_or_else(unfit)?),
            _ => return Err(unfit()),
        },
        ColumnValues::Binary(values) => match value {
            SqliteValue::Blob(bytes) => values.push_value(bytes),
            _ => return Err(unfit()),
        },
        ColumnValues::List { .. } => return Err(unfit()),
    }
    Ok(())
}

fn declared(column: &SqlColumn) -> &str {
    if column.declared.is_empty() {
        "a column without a type"
    } else {
        &column.declared
    }
}

/// A value in words, shortened.
fn format_value(value: SqliteValue<'_>) -> String {
    let short = |text: String| {
        if text.chars().count() > 60 {
            format!("{}…", text.chars().take(60).collect::<String>())
        } else {
            text
        }
    };
    match value {
        SqliteValue::Text(bytes) => {
            format!("{:?}", short(String::from_utf8_lossy(bytes).into_owned()))
        }
        SqliteValue::Blob(bytes) if bytes.len() <= 16 => format!(
            "x'{}'",
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        SqliteValue::Blob(bytes) => format!("of {} bytes", bytes.len()),
        value => to_text(value).unwrap_or_default(),
    }
}

fn as_text(value: SqliteValue<'_>) -> Option<&str> {
    if let SqliteValue::Text(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    }
}

/// A value as text: a number with a point in the shortest form that is read as the same number.
fn to_text(value: SqliteValue<'_>) -> Option<String> {
    Some(match value {
        SqliteValue::Null => return None,
        SqliteValue::Integer(number) => number.to_string(),
        SqliteValue::Real(number) => format!("{number:?}"),
        SqliteValue::Text(bytes) | SqliteValue::Blob(bytes) => {
            String::from_utf8(bytes.to_vec()).ok()?
        }
    })
}
