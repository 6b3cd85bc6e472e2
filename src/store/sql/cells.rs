//! The values of a record batch, row by row, as databases take them.

use polars_arrow::array::{
    Array, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, StaticArray, Utf8ViewArray,
};
use polars_arrow::datatypes::{ArrowDataType, TimeUnit};
use polars_arrow::types::NativeType;

use crate::connection::types::{ColumnType, MAX_PRECISION};

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

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

/// A column of a record batch.
pub(super) struct CellColumn {
    array: TypedArray,
    pub(super) kind: ColumnType,
}

/// The unit of a time: how many of it a microsecond has, or the other way round.
#[derive(Clone, Copy)]
pub(super) enum TimeScale {
    Multiply(i64),
    Divide(i64),
}

impl CellColumn {
    /// The values of a column; its type where it has no place in a database.
    pub(super) fn new(array: &dyn Array) -> Result<Self, String> {
        let known = type_from_arrow(array.dtype())
            .and_then(|(kind, scale)| Some((TypedArray::new(array, &kind, scale)?, kind)));
        let (values, kind) = known.ok_or_else(|| format!("{:?}", array.dtype()))?;
        Ok(Self {
            array: values,
            kind,
        })
    }

    /// The value of a row.
    ///
    /// # Errors
    /// A time with more digits than microseconds have.
    pub(super) fn cell(&self, row: usize) -> Result<Cell<'_>, String> {
        self.array.cell(row)
    }
}

pub(super) fn type_from_arrow(dtype: &ArrowDataType) -> Option<(ColumnType, TimeScale)> {
    let micros = TimeScale::Multiply(1);
    let of_unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => TimeScale::Multiply(1_000_000),
        TimeUnit::Millisecond => TimeScale::Multiply(1000),
        TimeUnit::Microsecond => micros,
        TimeUnit::Nanosecond => TimeScale::Divide(1000),
    };
    Some(match dtype {
        ArrowDataType::Boolean => (ColumnType::Boolean, micros),
        ArrowDataType::Int8 => (ColumnType::Int8, micros),
        ArrowDataType::Int16 => (ColumnType::Int16, micros),
        ArrowDataType::Int32 => (ColumnType::Int32, micros),
        ArrowDataType::Int64 => (ColumnType::Int64, micros),
        ArrowDataType::UInt8 => (ColumnType::UInt8, micros),
        ArrowDataType::UInt16 => (ColumnType::UInt16, micros),
        ArrowDataType::UInt32 => (ColumnType::UInt32, micros),
        ArrowDataType::UInt64 => (ColumnType::UInt64, micros),
        ArrowDataType::Float32 => (ColumnType::Float32, micros),
        ArrowDataType::Float64 => (ColumnType::Float64, micros),
        ArrowDataType::Decimal(precision, scale) => {
            let (precision, scale) = (u8::try_from(*precision).ok()?, u8::try_from(*scale).ok()?);
            ((1..=MAX_PRECISION).contains(&precision))
                .then_some((ColumnType::Decimal { precision, scale }, micros))?
        }
        ArrowDataType::Utf8View => (ColumnType::Text, micros),
        ArrowDataType::BinaryView => (ColumnType::Binary, micros),
        ArrowDataType::Date32 => (ColumnType::Date, micros),
        ArrowDataType::Time32(unit) | ArrowDataType::Time64(unit) => {
            (ColumnType::Time, of_unit(unit))
        }
        ArrowDataType::Timestamp(unit, None) => (ColumnType::Timestamp, of_unit(unit)),
        ArrowDataType::Timestamp(unit, Some(_)) => (ColumnType::TimestampUtc, of_unit(unit)),
        ArrowDataType::LargeList(field) => {
            let (inner, scale) = type_from_arrow(&field.dtype)?;
            // Lists of lists have no place.
            (!matches!(inner, ColumnType::List(_)))
                .then_some((ColumnType::List(Box::new(inner)), scale))?
        }
        _ => return None,
    })
}

/// The values by their type, which is asked once for a column and not for each value.
enum TypedArray {
    Boolean(BooleanArray),
    Int8(PrimitiveArray<i8>),
    Int16(PrimitiveArray<i16>),
    Int32(PrimitiveArray<i32>),
    Int64(PrimitiveArray<i64>),
    UInt8(PrimitiveArray<u8>),
    UInt16(PrimitiveArray<u16>),
    UInt32(PrimitiveArray<u32>),
    UInt64(PrimitiveArray<u64>),
    Float32(PrimitiveArray<f32>),
    Float64(PrimitiveArray<f64>),
    Decimal(PrimitiveArray<i128>),
    Text(Utf8ViewArray),
    Binary(BinaryViewArray),
    Date(PrimitiveArray<i32>),
    Time(PrimitiveArray<i64>, TimeScale),
    Timestamp(PrimitiveArray<i64>, TimeScale),
    List(ListArray<i64>, Box<Self>),
}

impl TypedArray {
    fn new(array: &dyn Array, kind: &ColumnType, scale: TimeScale) -> Option<Self> {
        let any = array.as_any();
        Some(match kind {
            ColumnType::Boolean => Self::Boolean(any.downcast_ref::<BooleanArray>()?.clone()),
            ColumnType::Int8 => Self::Int8(primitive_array(array)?),
            ColumnType::Int16 => Self::Int16(primitive_array(array)?),
            ColumnType::Int32 => Self::Int32(primitive_array(array)?),
            ColumnType::Int64 => Self::Int64(primitive_array(array)?),
            ColumnType::UInt8 => Self::UInt8(primitive_array(array)?),
            ColumnType::UInt16 => Self::UInt16(primitive_array(array)?),
            ColumnType::UInt32 => Self::UInt32(primitive_array(array)?),
            ColumnType::UInt64 => Self::UInt64(primitive_array(array)?),
            ColumnType::Float32 => Self::Float32(primitive_array(array)?),
            ColumnType::Float64 => Self::Float64(primitive_array(array)?),
            ColumnType::Decimal { .. } => Self::Decimal(primitive_array(array)?),
            ColumnType::Text => Self::Text(any.downcast_ref::<Utf8ViewArray>()?.clone()),
            ColumnType::Binary => Self::Binary(any.downcast_ref::<BinaryViewArray>()?.clone()),
            ColumnType::Date => Self::Date(primitive_array(array)?),
            ColumnType::Time => Self::Time(
                primitive_array(array).or_else(|| widen_to_i64(array))?,
                scale,
            ),
            ColumnType::Timestamp | ColumnType::TimestampUtc => {
                Self::Timestamp(primitive_array(array)?, scale)
            }
            ColumnType::List(inner) => {
                let list = any.downcast_ref::<ListArray<i64>>()?.clone();
                let elements = Self::new(list.values().as_ref(), inner, scale)?;
                Self::List(list, Box::new(elements))
            }
        })
    }

    fn cell(&self, row: usize) -> Result<Cell<'_>, String> {
        let found = match self {
            Self::Boolean(values) => values.get(row).map(Cell::Boolean),
            Self::Int8(values) => values.get(row).map(|value| Cell::Integer(value.into())),
            Self::Int16(values) => values.get(row).map(|value| Cell::Integer(value.into())),
            Self::Int32(values) => values.get(row).map(|value| Cell::Integer(value.into())),
            Self::Int64(values) => values.get(row).map(Cell::Integer),
            Self::UInt8(values) => values.get(row).map(|value| Cell::Unsigned(value.into())),
            Self::UInt16(values) => values.get(row).map(|value| Cell::Unsigned(value.into())),
            Self::UInt32(values) => values.get(row).map(|value| Cell::Unsigned(value.into())),
            Self::UInt64(values) => values.get(row).map(Cell::Unsigned),
            Self::Float32(values) => values.get(row).map(Cell::Float32),
            Self::Float64(values) => values.get(row).map(Cell::Float64),
            Self::Decimal(values) => values.get(row).map(Cell::Decimal),
            Self::Text(values) => values.get(row).map(Cell::Text),
            Self::Binary(values) => values.get(row).map(Cell::Binary),
            Self::Date(values) => values.get(row).map(Cell::Date),
            Self::Time(values, scale) => values
                .get(row)
                .map(|value| check_time_of_day(scale.to_micros(value)?).map(Cell::Time))
                .transpose()?,
            Self::Timestamp(values, scale) => values
                .get(row)
                .map(|value| scale.to_micros(value).map(Cell::Timestamp))
                .transpose()?,
            Self::List(list, _) if list.is_null(row) => None,
            Self::List(list, elements) => {
                let (start, end) = list.offsets().start_end(row);
                Some(Cell::List(
                    (start..end)
                        .map(|element| elements.cell(element))
                        .collect::<Result<_, _>>()?,
                ))
            }
        };
        Ok(found.unwrap_or(Cell::Null))
    }
}

fn primitive_array<T: NativeType>(array: &dyn Array) -> Option<PrimitiveArray<T>> {
    array.as_any().downcast_ref::<PrimitiveArray<T>>().cloned()
}

/// Times of 32 bits.
fn widen_to_i64(array: &dyn Array) -> Option<PrimitiveArray<i64>> {
    let narrow: PrimitiveArray<i32> = primitive_array(array)?;
    let values: Vec<i64> = narrow
        .values()
        .iter()
        .map(|value| i64::from(*value))
        .collect();
    Some(PrimitiveArray::new(
        ArrowDataType::Int64,
        values.into(),
        narrow.validity().cloned(),
    ))
}

fn check_time_of_day(micros: i64) -> Result<i64, String> {
    (0..DAY_MICROS)
        .contains(&micros)
        .then_some(micros)
        .ok_or_else(|| format!("{micros} microseconds are no time of a day"))
}

impl TimeScale {
    fn to_micros(self, value: i64) -> Result<i64, String> {
        match self {
            Self::Multiply(factor) => value
                .checked_mul(factor)
                .ok_or_else(|| "the time lies too far away".to_string()),
            Self::Divide(divisor) if value % divisor == 0 => Ok(value / divisor),
            Self::Divide(_) => {
                Err("the time has nanoseconds, and databases have microseconds".to_string())
            }
        }
    }
}
