//! Values of SQLite on their way into columns, each of which may be of another type than is
//! declared.

use tokio::sync::mpsc;

use super::failed;
use crate::connection::Session;
use crate::connection::calendar;
use crate::connection::stepping::{Rows, Value};
use crate::connection::types::{Column, Type};
use crate::home::Batch;
use crate::home::sql::answer::Described;
use crate::home::sql::decimal;
use crate::home::sql::misfit::{Misfit, ReadError};
use crate::home::sql::rows::{Builder, Filling, Values};
use crate::home::sql::{OnInvalid, SqlError, SqlHome};

/// Reads what a statement gives.
pub(in crate::home::sql) async fn read(
    session: &mut Session,
    statement: &str,
    home: &SqlHome,
    described: &Described,
    filling: &mut Filling,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), ReadError> {
    let action = "read its rows";
    let database = session.database().clone();
    // A sort may take long before the first row comes.
    let receiver = sender.downgrade();
    let is_awaited = move || receiver.upgrade().is_some_and(|sender| !sender.is_closed());
    let done = session.with_handle(action, is_awaited, |handle, _| {
        let mut rows =
            Rows::new(handle, statement).map_err(|failure| failed(&database, action, failure))?;
        let width = described.columns.len();
        while rows
            .step()
            .map_err(|failure| failed(&database, action, failure))?
        {
            let mut bytes = 0;
            for (number, column) in described.columns.iter().enumerate() {
                let value = rows
                    .value(number)
                    .map_err(|failure| failed(&database, action, failure))?;
                if let Value::Text(text) | Value::Blob(text) = value {
                    bytes += text.len();
                }
                match push(&mut filling.builders[number], column, value) {
                    Ok(()) => {}
                    Err(Misfit::Invalid(_)) if home.on_invalid == OnInvalid::Null => {
                        filling.builders[number].push_null()
                    }
                    Err(misfit) => {
                        let mut of = home.relation.to_string();
                        if let (true, Ok(Value::Integer(rowid))) =
                            (described.rowid.is_some(), rows.value(width))
                        {
                            of = format!("{of}, rowid {rowid}");
                        }
                        return Err(misfit.named(&column.name, filling.rows() + 1, of).into());
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
pub(super) fn push(builder: &mut Builder, column: &Column, value: Value<'_>) -> Result<(), Misfit> {
    let kind = &column.kind;
    let unfit = || {
        let words = format!(
            "the value {} does not fit {}, which arrives as {kind}",
            shown(value),
            declared(column)
        );
        let is_calendar = matches!(kind, Type::Date | Type::Timestamp | Type::TimestampUtc);
        if is_calendar && text(value).is_some_and(calendar::looks_like_a_date) {
            Misfit::Invalid(words)
        } else {
            Misfit::Unfit(words)
        }
    };
    let integer = || {
        if let Value::Integer(number) = value {
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
    if value == Value::Null {
        builder.push_null();
        return Ok(());
    }
    match builder.values() {
        Values::Boolean(values) => match value {
            Value::Integer(flag @ (0 | 1)) => values.push(Some(flag == 1)),
            _ => return Err(unfit()),
        },
        Values::Int8(values) => whole!(values),
        Values::Int16(values) => whole!(values),
        Values::UInt8(values) => whole!(values),
        Values::UInt16(values) => whole!(values),
        Values::UInt32(values) => whole!(values),
        Values::UInt64(values) => whole!(values),
        Values::Int32(values) => match kind {
            Type::Date => {
                let moment = text(value)
                    .and_then(calendar::parse_moment)
                    .filter(|moment| moment.micros == 0 && moment.offset.is_none());
                let moment = moment.ok_or_else(unfit)?;
                values.push_value(i32::try_from(moment.days).map_err(|_| unfit())?);
            }
            _ => whole!(values),
        },
        Values::Int64(values) => match kind {
            Type::Time => values.push_value(
                text(value)
                    .and_then(calendar::parse_time)
                    .ok_or_else(unfit)?
                    * 1000,
            ),
            Type::Timestamp => {
                let moment = text(value)
                    .and_then(calendar::parse_moment)
                    .filter(|moment| moment.offset.is_none())
                    .ok_or_else(unfit)?;
                values.push_value(i64::try_from(moment.instant()).map_err(|_| unfit())?);
            }
            Type::TimestampUtc => {
                let moment = text(value)
                    .and_then(calendar::parse_moment)
                    .ok_or_else(unfit)?;
                values.push_value(i64::try_from(moment.instant()).map_err(|_| unfit())?);
            }
            _ => values.push_value(integer()?),
        },
        Values::Int128(values) => {
            let Type::Decimal { precision, scale } = *kind else {
                return Err(unfit());
            };
            let number = match value {
                Value::Real(number) => decimal::of_real(number, precision, scale),
                Value::Integer(number) => decimal::of_integer(number, precision, scale),
                _ => None,
            };
            if let Some(number) = number {
                values.push_value(number);
                return Ok(());
            }
            let text = text_of(value)
                .filter(|_| !matches!(value, Value::Blob(_)))
                .ok_or_else(unfit)?;
            values.push_value(decimal::parse(&text, precision, scale).map_err(|_| unfit())?);
        }
        Values::Float32(values) => match value {
            Value::Real(number) if f64::from(number as f32) == number => {
                values.push_value(number as f32)
            }
            _ => return Err(unfit()),
        },
        Values::Float64(values) => match value {
            Value::Real(number) => values.push_value(number),
            // Whole numbers up to 2^53 are numbers with a point too.
            Value::Integer(number) if number.unsigned_abs() <= 1 << 53 => {
                values.push_value(number as f64)
            }
            _ => return Err(unfit()),
        },
        Values::Text(values) => match value {
            Value::Text(bytes) => values.push_value(
                std::str::from_utf8(bytes)
                    .map_err(|_| Misfit::Unfit("its text is not UTF-8".into()))?,
            ),
            value if column.as_text => values.push_value(text_of(value).ok_or_else(unfit)?),
            _ => return Err(unfit()),
        },
        Values::Binary(values) => match value {
            Value::Blob(bytes) => values.push_value(bytes),
            _ => return Err(unfit()),
        },
        Values::List { .. } => return Err(unfit()),
    }
    Ok(())
}

fn declared(column: &Column) -> &str {
    if column.declared.is_empty() {
        "a column without a type"
    } else {
        &column.declared
    }
}

/// A value in words, shortened.
fn shown(value: Value<'_>) -> String {
    let short = |text: String| {
        if text.chars().count() > 60 {
            format!("{}…", text.chars().take(60).collect::<String>())
        } else {
            text
        }
    };
    match value {
        Value::Text(bytes) => format!("{:?}", short(String::from_utf8_lossy(bytes).into_owned())),
        Value::Blob(bytes) if bytes.len() <= 16 => format!(
            "x'{}'",
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        Value::Blob(bytes) => format!("of {} bytes", bytes.len()),
        value => text_of(value).unwrap_or_default(),
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    if let Value::Text(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    }
}

/// A value as text: a number with a point in the shortest form that is read as the same number.
fn text_of(value: Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(bytes) | Value::Blob(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
    })
}
