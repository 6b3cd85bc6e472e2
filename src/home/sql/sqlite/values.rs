//! Values of SQLite on their way into columns, each of which may be of another type than is
//! declared.

use std::borrow::Cow;

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
use crate::home::sql::slices::is_calendar;
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
    if value == SqliteValue::Null {
        builder.push_null();
        return Ok(());
    }
    let value = ColumnValue { column, value };
    match builder.values() {
        ColumnValues::Boolean(values) => values.push(Some(value.boolean()?)),
        ColumnValues::Int8(values) => values.push_value(value.integer()?),
        ColumnValues::Int16(values) => values.push_value(value.integer()?),
        ColumnValues::UInt8(values) => values.push_value(value.integer()?),
        ColumnValues::UInt16(values) => values.push_value(value.integer()?),
        ColumnValues::UInt32(values) => values.push_value(value.integer()?),
        ColumnValues::UInt64(values) => values.push_value(value.integer()?),
        ColumnValues::Int32(values) => values.push_value(match column.kind {
            ColumnType::Date => value.date()?,
            _ => value.integer()?,
        }),
        ColumnValues::Int64(values) => values.push_value(match column.kind {
            ColumnType::Time => value.time()?,
            ColumnType::Timestamp | ColumnType::TimestampUtc => value.timestamp()?,
            _ => value.integer()?,
        }),
        ColumnValues::Int128(values) => values.push_value(value.decimal()?),
        ColumnValues::Float32(values) => values.push_value(value.float32()?),
        ColumnValues::Float64(values) => values.push_value(value.float64()?),
        ColumnValues::Text(values) => values.push_value(value.text()?),
        ColumnValues::Binary(values) => values.push_value(value.binary()?),
        ColumnValues::List { .. } => return Err(value.misfit()),
    }
    Ok(())
}

/// A value that is not null, on its way into a column.
#[derive(Clone, Copy)]
struct ColumnValue<'v> {
    column: &'v SqlColumn,
    value: SqliteValue<'v>,
}

impl<'v> ColumnValue<'v> {
    fn misfit(self) -> ConversionError {
        let kind = &self.column.kind;
        let words = format!(
            "the value {} does not fit {}, which arrives as {kind}",
            format_value(self.value),
            declared(self.column)
        );
        if is_calendar(kind) && as_text(self.value).is_some_and(calendar::looks_like_a_date) {
            ConversionError::Invalid(words)
        } else {
            ConversionError::Mismatch(words)
        }
    }

    fn boolean(self) -> Result<bool, ConversionError> {
        match self.value {
            SqliteValue::Integer(flag @ (0 | 1)) => Ok(flag == 1),
            _ => Err(self.misfit()),
        }
    }

    fn integer<T: TryFrom<i64>>(self) -> Result<T, ConversionError> {
        let SqliteValue::Integer(number) = self.value else {
            return Err(self.misfit());
        };
        number.try_into().map_err(|_| self.misfit())
    }

    fn date(self) -> Result<i32, ConversionError> {
        let moment = as_text(self.value)
            .and_then(calendar::parse_timestamp)
            .filter(|moment| moment.micros == 0 && moment.offset.is_none());
        let moment = moment.ok_or_else(|| self.misfit())?;
        i32::try_from(moment.days).map_err(|_| self.misfit())
    }

    /// In nanoseconds.
    fn time(self) -> Result<i64, ConversionError> {
        let micros = as_text(self.value).and_then(calendar::parse_time);
        Ok(micros.ok_or_else(|| self.misfit())? * 1000)
    }

    /// One that may say how far its clock is ahead, where the column is of that kind.
    fn timestamp(self) -> Result<i64, ConversionError> {
        let may_have_offset = self.column.kind == ColumnType::TimestampUtc;
        let moment = as_text(self.value)
            .and_then(calendar::parse_timestamp)
            .filter(|moment| may_have_offset || moment.offset.is_none());
        let moment = moment.ok_or_else(|| self.misfit())?;
        i64::try_from(moment.utc_micros()).map_err(|_| self.misfit())
    }

    fn decimal(self) -> Result<i128, ConversionError> {
        let ColumnType::Decimal { precision, scale } = self.column.kind else {
            return Err(self.misfit());
        };
        let number = match self.value {
            SqliteValue::Real(number) => decimal::from_f64(number, precision, scale),
            SqliteValue::Integer(number) => decimal::from_i64(number, precision, scale),
            _ => None,
        };
        if let Some(number) = number {
            return Ok(number);
        }
        let text = to_text(self.value)
            .filter(|_| !matches!(self.value, SqliteValue::Blob(_)))
            .ok_or_else(|| self.misfit())?;
        decimal::parse(&text, precision, scale).map_err(|_| self.misfit())
    }

    fn float32(self) -> Result<f32, ConversionError> {
        match self.value {
            SqliteValue::Real(number) if f64::from(number as f32) == number => Ok(number as f32),
            _ => Err(self.misfit()),
        }
    }

    fn float64(self) -> Result<f64, ConversionError> {
        match self.value {
            SqliteValue::Real(number) => Ok(number),
            // Whole numbers up to 2^53 are numbers with a point too.
            SqliteValue::Integer(number) if number.unsigned_abs() <= 1 << 53 => Ok(number as f64),
            _ => Err(self.misfit()),
        }
    }

    fn text(self) -> Result<Cow<'v, str>, ConversionError> {
        match self.value {
            SqliteValue::Text(bytes) => std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|_| ConversionError::Mismatch("its text is not UTF-8".into())),
            value if self.column.is_read_as_text => {
                to_text(value).map(Cow::Owned).ok_or_else(|| self.misfit())
            }
            _ => Err(self.misfit()),
        }
    }

    fn binary(self) -> Result<&'v [u8], ConversionError> {
        match self.value {
            SqliteValue::Blob(bytes) => Ok(bytes),
            _ => Err(self.misfit()),
        }
    }
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
