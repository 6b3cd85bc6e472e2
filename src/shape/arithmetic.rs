//! Checked arithmetic: what a type cannot hold is told with its row. Libraries wrap, or do not say
//! which row it was.

use polars_arrow::array::{Array, PrimitiveArray};
use polars_arrow::compute::utils::combine_validities_and;
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::types::NativeType;

use super::cast::decimal_limit;
use super::expression::Operator;
use crate::format::canonical_schema::type_name;

/// A row without a value, and why.
type Failure = (usize, String);

/// The sum, the difference or the product of two arrays of equal length.
///
/// # Errors
/// The first row whose result the type cannot hold.
pub(super) fn calculate(
    operator: Operator,
    one: &dyn Array,
    other: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, Failure> {
    use ArrowDataType as T;
    macro_rules! integers {
        ($number:ty) => {
            checked::<$number>(operator, (one, other), to, |one, other| match operator {
                Operator::Add => one.checked_add(other),
                Operator::Subtract => one.checked_sub(other),
                Operator::Multiply => one.checked_mul(other),
            })
        };
    }
    macro_rules! floats {
        ($number:ty) => {
            checked::<$number>(operator, (one, other), to, |one, other| {
                Some(match operator {
                    Operator::Add => one + other,
                    Operator::Subtract => one - other,
                    Operator::Multiply => one * other,
                })
            })
        };
    }
    match to {
        T::Int8 => integers!(i8),
        T::Int16 => integers!(i16),
        T::Int32 => integers!(i32),
        T::Int64 => integers!(i64),
        T::UInt8 => integers!(u8),
        T::UInt16 => integers!(u16),
        T::UInt32 => integers!(u32),
        T::UInt64 => integers!(u64),
        T::Float32 => floats!(f32),
        T::Float64 => floats!(f64),
        T::Decimal(precision, _) => {
            let limit = decimal_limit(*precision);
            checked::<i128>(operator, (one, other), to, |one, other| {
                let made = match operator {
                    Operator::Add => one.checked_add(other),
                    Operator::Subtract => one.checked_sub(other),
                    Operator::Multiply => one.checked_mul(other),
                };
                made.filter(|made| made.unsigned_abs() < limit)
            })
        }
        _ => Err((0, format!("{} is no number", type_name(to)))),
    }
}

fn checked<T: NativeType>(
    operator: Operator,
    (one, other): (&dyn Array, &dyn Array),
    to: &ArrowDataType,
    calculate: impl Fn(T, T) -> Option<T>,
) -> Result<Box<dyn Array>, Failure> {
    let typed = |array: &dyn Array| {
        let found = array.as_any().downcast_ref::<PrimitiveArray<T>>().cloned();
        found.ok_or_else(|| (0, format!("an array of {:?} is no number", array.dtype())))
    };
    let (one, other) = (typed(one)?, typed(other)?);
    let validity = combine_validities_and(one.validity(), other.validity());
    let mut values = Vec::with_capacity(one.len());
    for (row, (left, right)) in one.values().iter().zip(other.values().iter()).enumerate() {
        let value = match calculate(*left, *right) {
            Some(value) => value,
            // What stands where nothing is may be anything.
            None if validity.as_ref().is_some_and(|valid| !valid.get_bit(row)) => T::default(),
            None => {
                let shown = |array: &PrimitiveArray<T>| {
                    super::cast::text_of(array, row).unwrap_or_default()
                };
                let (left, right, sign) = (shown(&one), shown(&other), operator.sign());
                return Err((
                    row,
                    format!("{left} {sign} {right} does not fit into {}", type_name(to)),
                ));
            }
        };
        values.push(value);
    }
    Ok(PrimitiveArray::new(to.clone(), values.into(), validity).boxed())
}

/// The same numbers with the other sign.
///
/// # Errors
/// The first row whose result the type cannot hold.
pub(super) fn negate(array: &dyn Array) -> Result<Box<dyn Array>, Failure> {
    use ArrowDataType as T;
    let to = array.dtype().clone();
    macro_rules! zeros {
        ($number:ty) => {{
            let zeros = vec![<$number>::default(); array.len()];
            PrimitiveArray::<$number>::new(to.clone(), zeros.into(), None).boxed()
        }};
    }
    // Minus zero is another number than zero minus zero.
    if let Some(floats) = array.as_any().downcast_ref::<PrimitiveArray<f64>>() {
        let values: Vec<f64> = floats.values().iter().map(|value| -value).collect();
        return Ok(PrimitiveArray::new(to, values.into(), floats.validity().cloned()).boxed());
    }
    if let Some(floats) = array.as_any().downcast_ref::<PrimitiveArray<f32>>() {
        let values: Vec<f32> = floats.values().iter().map(|value| -value).collect();
        return Ok(PrimitiveArray::new(to, values.into(), floats.validity().cloned()).boxed());
    }
    let zeros = match &to {
        T::Int8 => zeros!(i8),
        T::Int16 => zeros!(i16),
        T::Int32 => zeros!(i32),
        T::Int64 => zeros!(i64),
        T::Decimal(..) => zeros!(i128),
        _ => return Err((0, format!("{} is no number", type_name(&to)))),
    };
    calculate(Operator::Subtract, zeros.as_ref(), array, &to)
}
