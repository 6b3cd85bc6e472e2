//! Widening: one type for the values of two, each of which it holds exactly, and arrays of it.
//!
//! Numbers never become floats, and nothing becomes text. The table is in `docs/types.md`.

use polars_arrow::array::{
    Array, ListArray, MapArray, NullArray, PrimitiveArray, StructArray, new_null_array,
};
use polars_arrow::datatypes::{ArrowDataType, Field, Metadata, TimeUnit};
use polars_arrow::types::NativeType;
use polars_utils::float16::pf16;

use super::arrays::{
    EXTENSION_METADATA, EXTENSION_NAME, MAX_PRECISION, inner_arrays, with_inner_arrays,
};
use super::canonical_schema::type_from_name;

/// A value that has no place in the wider type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MisfitValue {
    /// Its row in the array.
    pub(crate) row: usize,
    /// The value, in words.
    pub(crate) value: String,
}

/// What keeps an array from being widened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WideningError {
    /// One of its values.
    Misfit(MisfitValue),
    /// Its type, in words.
    Type(String),
}

impl WideningError {
    fn from_text(error: impl std::fmt::Display) -> Self {
        Self::Type(error.to_string())
    }
}

/// The type that holds all values of two canonical types; `None` where none does exactly.
pub(crate) fn common_type(one: &ArrowDataType, other: &ArrowDataType) -> Option<ArrowDataType> {
    use ArrowDataType as T;
    if one == other {
        return Some(one.clone());
    }
    if let (Some(one), Some(other)) = (Integer::from_type(one), Integer::from_type(other)) {
        return Some(one.common(other));
    }
    let decimal = |dtype: &T| match dtype {
        T::Decimal(precision, scale) => Some((precision - scale.min(precision), *scale)),
        other => Integer::from_type(other).map(|integer| (integer.digits(), 0)),
    };
    if let (Some((one, one_scale)), Some((other, other_scale))) = (decimal(one), decimal(other)) {
        let scale = one_scale.max(other_scale);
        let precision = one.max(other) + scale;
        return (precision <= MAX_PRECISION).then_some(T::Decimal(precision, scale));
    }
    match (one, other) {
        (T::Null, dtype) | (dtype, T::Null) => Some(dtype.clone()),
        (T::Float16, T::Float32) | (T::Float32, T::Float16) => Some(T::Float32),
        (T::Float16 | T::Float32, T::Float64) | (T::Float64, T::Float16 | T::Float32) => {
            Some(T::Float64)
        }
        (T::Date32, time @ T::Timestamp(_, None)) | (time @ T::Timestamp(_, None), T::Date32) => {
            Some(time.clone())
        }
        // Of instants, the zone only says how they are shown.
        (T::Timestamp(one, zone), T::Timestamp(other, same))
            if zone.is_some() == same.is_some() =>
        {
            Some(T::Timestamp(finer(*one, *other), zone.clone()))
        }
        (T::Duration(one), T::Duration(other)) => Some(T::Duration(finer(*one, *other))),
        (T::Time32(one) | T::Time64(one), T::Time32(other) | T::Time64(other)) => {
            Some(T::Time64(finer(*one, *other)))
        }
        (T::LargeList(one), T::LargeList(other)) => {
            Some(T::LargeList(Box::new(common_field(one, other)?)))
        }
        (T::Map(one, is_sorted), T::Map(other, same)) => {
            // Sorted as both are, or not at all.
            let entries = common_field(one, other)?;
            Some(T::Map(Box::new(entries), *is_sorted && *same))
        }
        (T::Struct(one), T::Struct(other)) => Some(T::Struct(common_fields(one, other)?)),
        _ => None,
    }
}

/// True where two types have the same values, whatever is said of nulls and besides.
pub(crate) fn is_same_type(one: &ArrowDataType, other: &ArrowDataType) -> bool {
    let bare = |dtype: &ArrowDataType| bare_field(&Field::new("".into(), dtype.clone(), true));
    one == other || bare(one).dtype == bare(other).dtype
}

/// A field that may be null at every level, and of which nothing is said but what its values are.
pub(crate) fn bare_field(field: &Field) -> Field {
    use ArrowDataType as T;
    let named = |field: &Field, name: &str| {
        Box::new(Field {
            name: name.into(),
            ..bare_field(field)
        })
    };
    let dtype = match &field.dtype {
        T::LargeList(element) => T::LargeList(named(element, "element")),
        T::Map(entries, _) => T::Map(named(entries, "entries"), false),
        T::Struct(fields) => T::Struct(fields.iter().map(bare_field).collect()),
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some("UTC".into())),
        other => other.clone(),
    };
    said_of(
        Field::new(field.name.clone(), dtype, true),
        extension(field),
    )
}

/// A field of which something is said, or nothing.
fn said_of(plain: Field, said: Metadata) -> Field {
    if said.is_empty() {
        plain
    } else {
        plain.with_metadata(said)
    }
}

/// What is said of a field that decides what its values are.
fn extension(field: &Field) -> Metadata {
    let said = field.metadata.iter().flat_map(|said| said.iter());
    let keys = [EXTENSION_NAME, EXTENSION_METADATA];
    let own = said.filter(|(key, _)| keys.contains(&key.as_str()));
    own.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The same field, of which nothing is said but what its values are.
pub(crate) fn without_remarks(field: &Field) -> Field {
    let plain = Field::new(field.name.clone(), field.dtype.clone(), field.is_nullable);
    said_of(plain, extension(field))
}

/// A field of which the same is said as of another, but for what its values are.
pub(crate) fn with_remarks_of(field: &Field, other: &Field) -> Field {
    let mut said = Metadata::clone(other.metadata.as_deref().unwrap_or(&Metadata::default()));
    for key in [EXTENSION_NAME, EXTENSION_METADATA] {
        said.remove(key);
    }
    said.extend(extension(field));
    let plain = Field::new(field.name.clone(), field.dtype.clone(), field.is_nullable);
    said_of(plain, said)
}

/// True where a type holds all values of another, and more, by what formats and databases call them.
pub fn is_widened(from: &str, to: &str) -> bool {
    match (type_from_name(from), type_from_name(to)) {
        (Some(from), Some(to)) => from != to && common_type(&from, &to).as_ref() == Some(&to),
        _ => false,
    }
}

/// The field that holds all values of two of one name. What is said of it besides is kept where it
/// decides what the values are.
pub(crate) fn common_field(one: &Field, other: &Field) -> Option<Field> {
    let (ours, theirs) = (extension(one), extension(other));
    let said = match (&one.dtype, &other.dtype) {
        (ArrowDataType::Null, _) => theirs,
        (_, ArrowDataType::Null) => ours,
        _ if ours == theirs => ours,
        _ => return None,
    };
    let field = Field::new(
        one.name.clone(),
        common_type(&one.dtype, &other.dtype)?,
        one.is_nullable || other.is_nullable,
    );
    Some(said_of(field, said))
}

/// The fields of groups, by their names; one that a group does not have is null there.
fn common_fields(ours: &[Field], theirs: &[Field]) -> Option<Vec<Field>> {
    // Which of two fields of one name is meant, nothing says.
    let is_named_twice = |fields: &[Field]| {
        let mut names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    if is_named_twice(ours) || is_named_twice(theirs) {
        return None;
    }
    let missing = |field: &Field| Field {
        is_nullable: true,
        ..field.clone()
    };
    let mut fields = Vec::with_capacity(ours.len());
    for field in ours {
        fields.push(match theirs.iter().find(|other| other.name == field.name) {
            Some(other) => common_field(field, other)?,
            None => missing(field),
        });
    }
    let new = theirs
        .iter()
        .filter(|other| !ours.iter().any(|field| field.name == other.name));
    fields.extend(new.map(missing));
    Some(fields)
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    if units_per_second(one) > units_per_second(other) {
        one
    } else {
        other
    }
}

pub(crate) fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A whole number's type.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Integer {
    bits: u32,
    is_signed: bool,
}

impl Integer {
    fn from_type(dtype: &ArrowDataType) -> Option<Self> {
        use ArrowDataType as T;
        let (bits, is_signed) = match dtype {
            T::Int8 => (8, true),
            T::Int16 => (16, true),
            T::Int32 => (32, true),
            T::Int64 => (64, true),
            T::UInt8 => (8, false),
            T::UInt16 => (16, false),
            T::UInt32 => (32, false),
            T::UInt64 => (64, false),
            _ => return None,
        };
        Some(Self { bits, is_signed })
    }

    /// How many decimal digits its longest number has.
    fn digits(self) -> usize {
        match (self.bits, self.is_signed) {
            (8, _) => 3,
            (16, _) => 5,
            (32, _) => 10,
            (_, true) => 19,
            (_, false) => 20,
        }
    }

    fn common(self, other: Self) -> ArrowDataType {
        use ArrowDataType as T;
        if self.is_signed == other.is_signed {
            let bits = self.bits.max(other.bits);
            return match (bits, self.is_signed) {
                (8, true) => T::Int8,
                (16, true) => T::Int16,
                (32, true) => T::Int32,
                (_, true) => T::Int64,
                (8, false) => T::UInt8,
                (16, false) => T::UInt16,
                (32, false) => T::UInt32,
                (_, false) => T::UInt64,
            };
        }
        let (signed, unsigned) = if self.is_signed {
            (self, other)
        } else {
            (other, self)
        };
        match signed.bits.max(unsigned.bits * 2) {
            16 => T::Int16,
            32 => T::Int32,
            64 => T::Int64,
            // No whole number has 65 bits.
            _ => T::Decimal(20, 0),
        }
    }
}

/// The same values as an array of a type that [`common_type`] gave for the array's.
pub(crate) fn widen(
    array: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, WideningError> {
    use ArrowDataType as T;
    if array.dtype() == to {
        return Ok(array.to_boxed());
    }
    let common = common_type(to, array.dtype());
    if !common.is_some_and(|common| is_same_type(&common, to)) {
        return no_way(array, to);
    }
    if array.as_any().is::<NullArray>() {
        return Ok(new_null_array(to.clone(), array.len()));
    }
    match array.dtype() {
        T::Int8 => integer::<i8>(array, to),
        T::Int16 => integer::<i16>(array, to),
        T::Int32 => integer::<i32>(array, to),
        T::Int64 => integer::<i64>(array, to),
        T::UInt8 => integer::<u8>(array, to),
        T::UInt16 => integer::<u16>(array, to),
        T::UInt32 => integer::<u32>(array, to),
        T::UInt64 => integer::<u64>(array, to),
        T::Decimal(_, from) => match to {
            T::Decimal(_, scale) if scale >= from => {
                let factor = power_of_ten(scale - from);
                convert::<i128, i128>(array, to, |value| value.checked_mul(factor?))
            }
            _ => no_way(array, to),
        },
        T::Float16 => match to {
            T::Float32 => convert::<pf16, f32>(array, to, |value| Some(f32::from(value))),
            T::Float64 => {
                convert::<pf16, f64>(array, to, |value| Some(f64::from(f32::from(value))))
            }
            _ => no_way(array, to),
        },
        T::Float32 => match to {
            T::Float64 => convert::<f32, f64>(array, to, |value| Some(f64::from(value))),
            _ => no_way(array, to),
        },
        T::Date32 => match to {
            T::Timestamp(unit, None) => {
                let day = units_per_second(*unit) * 86_400;
                convert::<i32, i64>(array, to, |days| i64::from(days).checked_mul(day))
            }
            _ => no_way(array, to),
        },
        T::Time32(from) => times::<i32>(array, *from, to),
        T::Time64(from) | T::Timestamp(from, _) | T::Duration(from) => {
            times::<i64>(array, *from, to)
        }
        T::LargeList(_) | T::Map(..) => {
            let (T::LargeList(inner) | T::Map(inner, _)) = to else {
                return no_way(array, to);
            };
            let values = inner_arrays(array);
            let values = values
                .first()
                .ok_or_else(|| WideningError::Type("a list of nothing".into()))?;
            let made = widen(*values, &inner.dtype).map_err(|error| row_of_list(array, error))?;
            with_inner_arrays(array, to.clone(), vec![made]).map_err(WideningError::Type)
        }
        T::Struct(fields) => {
            let T::Struct(wanted) = to else {
                return no_way(array, to);
            };
            let values = inner_arrays(array);
            let made = wanted.iter().map(|field| {
                let own = fields.iter().position(|own| own.name == field.name);
                match own {
                    Some(own) => widen(values[own], &field.dtype),
                    None => Ok(new_null_array(field.dtype.clone(), array.len())),
                }
            });
            let made = made.collect::<Result<Vec<_>, _>>()?;
            StructArray::try_new(to.clone(), array.len(), made, array.validity().cloned())
                .map(|array| array.boxed())
                .map_err(WideningError::from_text)
        }
        _ => no_way(array, to),
    }
}

fn no_way(array: &dyn Array, to: &ArrowDataType) -> Result<Box<dyn Array>, WideningError> {
    let text = format!("an array of {:?} is no array of {to:?}", array.dtype());
    Err(WideningError::Type(text))
}

/// The row of a list in which a value of its elements is.
fn row_of_list(array: &dyn Array, error: WideningError) -> WideningError {
    let WideningError::Misfit(misfit) = error else {
        return error;
    };
    let any = array.as_any();
    let ends_behind = |row: usize| {
        let list = any.downcast_ref::<ListArray<i64>>();
        let list = list.map(|list| list.offsets().start_end(row).1);
        let map = any.downcast_ref::<MapArray>();
        let map = || map.map(|map| map.offsets().start_end(row).1);
        list.or_else(map).is_some_and(|end| end > misfit.row)
    };
    let row = (0..array.len()).find(|row| ends_behind(*row));
    WideningError::Misfit(MisfitValue {
        row: row.unwrap_or_default(),
        ..misfit
    })
}

fn integer<F: NativeType + Into<i128>>(
    array: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, WideningError> {
    use ArrowDataType as T;
    fn number<F: Into<i128>, T: TryFrom<i128>>(value: F) -> Option<T> {
        T::try_from(value.into()).ok()
    }
    match to {
        T::Int16 => convert::<F, i16>(array, to, number),
        T::Int32 => convert::<F, i32>(array, to, number),
        T::Int64 => convert::<F, i64>(array, to, number),
        T::UInt16 => convert::<F, u16>(array, to, number),
        T::UInt32 => convert::<F, u32>(array, to, number),
        T::UInt64 => convert::<F, u64>(array, to, number),
        T::Decimal(_, scale) => {
            let factor = power_of_ten(*scale);
            convert::<F, i128>(array, to, |value| value.into().checked_mul(factor?))
        }
        _ => no_way(array, to),
    }
}

/// Counts of a unit of time as counts of a finer one.
fn times<F: NativeType + Into<i64>>(
    array: &dyn Array,
    from: TimeUnit,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, WideningError> {
    use ArrowDataType as T;
    let (T::Time64(unit) | T::Timestamp(unit, _) | T::Duration(unit)) = to else {
        return no_way(array, to);
    };
    let factor = units_per_second(*unit) / units_per_second(from);
    convert::<F, i64>(array, to, |value| value.into().checked_mul(factor))
}

fn power_of_ten(digits: usize) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(digits).ok()?)
}

/// Numbers of another type; what stands where nothing is may be anything.
fn convert<F: NativeType, T: NativeType>(
    array: &dyn Array,
    to: &ArrowDataType,
    number: impl Fn(F) -> Option<T>,
) -> Result<Box<dyn Array>, WideningError> {
    let Some(from) = array.as_any().downcast_ref::<PrimitiveArray<F>>() else {
        return no_way(array, to);
    };
    let mut values = Vec::with_capacity(from.len());
    for (row, value) in from.iter().enumerate() {
        values.push(match value.copied() {
            None => T::default(),
            Some(value) => number(value).ok_or_else(|| {
                let value = format!("{value:?}");
                WideningError::Misfit(MisfitValue { row, value })
            })?,
        });
    }
    PrimitiveArray::try_new(to.clone(), values.into(), from.validity().cloned())
        .map(|array| array.boxed())
        .map_err(WideningError::from_text)
}
