//! The values of a frame, row by row, as databases take them.

use polars::prelude::{Column, CompatLevel, DataType};
use polars_arrow::array::{Array, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, TimeUnit};
use polars_arrow::types::NativeType;

use crate::connection::types::{MAX_PRECISION, Type};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float32(f32),
    Float64(f64),
    /// A whole number of the last digits.
    Decimal(i128),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Days since 1970.
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    /// Microseconds since 1970.
    Timestamp(i64),
    List(Vec<Cell<'a>>),
}

/// A column of a frame.
pub(super) struct Cells {
    array: Box<dyn Array>,
    pub(super) kind: Type,
    /// How many of its units a microsecond has, or the other way round.
    scale: Scale,
}

/// The unit of a time.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    Times(i64),
    Over(i64),
}

impl Cells {
    /// The values of a column; its type where it has no place in a database.
    pub(super) fn new(column: &Column) -> Result<Self, String> {
        let series = column.as_materialized_series();
        // Texts of a dictionary are texts.
        let texts = if is_dictionary(column) { series.cast(&DataType::String).ok() } else { None };
        let array = texts.as_ref().unwrap_or(series).rechunk().to_arrow(0, CompatLevel::newest());
        let (kind, scale) = type_of(array.dtype()).ok_or_else(|| format!("{:?}", column.dtype()))?;
        Ok(Self { array, kind, scale })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// A time with more digits than microseconds have.
    pub(super) fn cell(&self, row: usize) -> Result<Cell<'_>, String> {
        cell(self.array.as_ref(), &self.kind, self.scale, row)
    }
}

fn is_dictionary(column: &Column) -> bool {
    matches!(column.dtype(), DataType::Categorical(..) | DataType::Enum(..))
}

pub(super) fn type_of(dtype: &ArrowDataType) -> Option<(Type, Scale)> {
    let micros = Scale::Times(1);
    let of_unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => Scale::Times(1_000_000),
        TimeUnit::Millisecond => Scale::Times(1000),
        TimeUnit::Microsecond => micros,
        TimeUnit::Nanosecond => Scale::Over(1000),
    };
    Some(match dtype {
        ArrowDataType::Boolean => (Type::Boolean, micros),
        ArrowDataType::Int8 => (Type::Int8, micros),
        ArrowDataType::Int16 => (Type::Int16, micros),
        ArrowDataType::Int32 => (Type::Int32, micros),
        ArrowDataType::Int64 => (Type::Int64, micros),
        ArrowDataType::UInt8 => (Type::UInt8, micros),
        ArrowDataType::UInt16 => (Type::UInt16, micros),
        ArrowDataType::UInt32 => (Type::UInt32, micros),
        ArrowDataType::UInt64 => (Type::UInt64, micros),
        ArrowDataType::Float32 => (Type::Float32, micros),
        ArrowDataType::Float64 => (Type::Float64, micros),
        ArrowDataType::Decimal(precision, scale) => {
            let (precision, scale) = (u8::try_from(*precision).ok()?, u8::try_from(*scale).ok()?);
            ((1..=MAX_PRECISION).contains(&precision)).then_some((Type::Decimal { precision, scale }, micros))?
        }
        ArrowDataType::Utf8View => (Type::Text, micros),
        ArrowDataType::Dictionary(_, values, _) if matches!(**values, ArrowDataType::Utf8View | ArrowDataType::LargeUtf8) => {
            (Type::Text, micros)
        }
        ArrowDataType::BinaryView => (Type::Binary, micros),
        ArrowDataType::Date32 => (Type::Date, micros),
        ArrowDataType::Time64(unit) => (Type::Time, of_unit(unit)),
        ArrowDataType::Timestamp(unit, None) => (Type::Timestamp, of_unit(unit)),
        ArrowDataType::Timestamp(unit, Some(_)) => (Type::TimestampUtc, of_unit(unit)),
        ArrowDataType::LargeList(field) => {
            let (inner, scale) = type_of(&field.dtype)?;
            // Lists of lists have no place.
            (!matches!(inner, Type::List(_))).then_some((Type::List(Box::new(inner)), scale))?
        }
        _ => return None,
    })
}

fn number<T: NativeType>(array: &dyn Array, row: usize) -> T {
    array.as_any().downcast_ref::<PrimitiveArray<T>>().map_or_else(T::default, |array| array.value(row))
}

fn cell<'a>(array: &'a dyn Array, kind: &Type, scale: Scale, row: usize) -> Result<Cell<'a>, String> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    let micros = |value: i64| match scale {
        Scale::Times(factor) => value.checked_mul(factor).ok_or_else(|| "the time lies too far away".to_string()),
        Scale::Over(divisor) if value % divisor == 0 => Ok(value / divisor),
        Scale::Over(_) => Err("the time has nanoseconds, and databases have microseconds".to_string()),
    };
    Ok(match kind {
        Type::Boolean => Cell::Boolean(array.as_any().downcast_ref::<BooleanArray>().is_some_and(|array| array.value(row))),
        Type::Int8 => Cell::Integer(number::<i8>(array, row).into()),
        Type::Int16 => Cell::Integer(number::<i16>(array, row).into()),
        Type::Int32 => Cell::Integer(number::<i32>(array, row).into()),
        Type::Int64 => Cell::Integer(number(array, row)),
        Type::UInt8 => Cell::Unsigned(number::<u8>(array, row).into()),
        Type::UInt16 => Cell::Unsigned(number::<u16>(array, row).into()),
        Type::UInt32 => Cell::Unsigned(number::<u32>(array, row).into()),
        Type::UInt64 => Cell::Unsigned(number(array, row)),
        Type::Float32 => Cell::Float32(number(array, row)),
        Type::Float64 => Cell::Float64(number(array, row)),
        Type::Decimal { .. } => Cell::Decimal(number(array, row)),
        Type::Text => Cell::Text(array.as_any().downcast_ref::<Utf8ViewArray>().map_or("", |array| array.value(row))),
        Type::Binary => Cell::Binary(array.as_any().downcast_ref::<BinaryViewArray>().map_or(&[], |array| array.value(row))),
        Type::Date => Cell::Date(number(array, row)),
        Type::Time => Cell::Time(micros(number(array, row))?),
        Type::Timestamp | Type::TimestampUtc => Cell::Timestamp(micros(number(array, row))?),
        Type::List(inner) => {
            let Some(list) = array.as_any().downcast_ref::<ListArray<i64>>() else { return Ok(Cell::Null) };
            let (start, end) = list.offsets().start_end(row);
            let values = list.values().as_ref();
            Cell::List((start..end).map(|element| cell(values, inner, scale, element)).collect::<Result<_, _>>()?)
        }
    })
}

/// A decimal as text.
pub(super) fn decimal(number: i128, scale: u8) -> String {
    let digits = number.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
