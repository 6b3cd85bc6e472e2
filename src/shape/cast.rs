//! Casts: a value becomes the same value of another type, or its row is told. Nothing is rounded
//! and nothing is cut, which every library does somewhere.
//!
//! What is cast back is what it was: a float is the decimal with its shortest digits, a text the
//! number that has its digits.

use polars_arrow::array::{
    Array, BinaryViewArray, BooleanArray, MutableBinaryViewArray, PrimitiveArray, StaticArray,
    Utf8ViewArray, new_null_array,
};
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::types::NativeType;
use polars_utils::float16::pf16;

use super::exact_number::ExactNumber;
use super::moment;
use super::typed::{is_integer, is_numeric};
use crate::connection::digits::format_decimal;
use crate::format::canonical_schema::type_name;

/// A value that another type cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CastError {
    pub(super) row: usize,
    pub(super) value: String,
}

impl CastError {
    /// What is wrong, in words.
    pub(super) fn describe(&self, to: &ArrowDataType) -> String {
        format!("{} is no {}", self.value, type_name(to))
    }
}

/// Fails where no value of a type can be one of another.
///
/// # Errors
/// Why not, in words.
pub(super) fn check_castable(from: &ArrowDataType, to: &ArrowDataType) -> Result<(), String> {
    use ArrowDataType as T;
    let is_possible = match (from, to) {
        _ if from == to => true,
        (T::Null, _) => true,
        (T::Boolean, to) => is_integer(to) || *to == T::Utf8View,
        (from, T::Boolean) => is_integer(from) || *from == T::Utf8View,
        (from, to) if is_numeric(from) && is_numeric(to) => true,
        (from, T::Utf8View) => {
            is_numeric(from) || moment::is_moment(from) || *from == T::BinaryView
        }
        (T::Utf8View, to) => is_numeric(to) || moment::is_moment(to) || *to == T::BinaryView,
        (T::Date32, T::Timestamp(_, None)) | (T::Timestamp(_, None), T::Date32) => true,
        (T::Timestamp(_, one), T::Timestamp(_, other)) => one.is_some() == other.is_some(),
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_)) => true,
        _ => false,
    };
    if is_possible {
        return Ok(());
    }
    Err(format!(
        "{} cannot be cast to {}",
        type_name(from),
        type_name(to)
    ))
}

/// Fails where no text can be a value of a type.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check_text_castable(to: &ArrowDataType) -> Result<(), String> {
    check_castable(&ArrowDataType::Utf8View, to)
}

/// The values that texts are of a type.
///
/// # Errors
/// The first row whose text is none, and what is wrong with it.
pub(crate) fn cast_texts(
    texts: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, (usize, String)> {
    cast(texts, to).map_err(|error| (error.row, error.describe(to)))
}

/// True for a text that [`cast_texts`] makes a value of a type.
pub(crate) fn is_text_of(text: &str, to: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    let number = || ExactNumber::parse(text);
    match to {
        T::Int64 => number().and_then(whole::<i64>).is_some(),
        T::Float64 => {
            let is_word = matches!(text, "NaN" | "Infinity" | "-Infinity");
            let value = || number().and_then(|exact| float_of(exact, true, true));
            is_word || value().is_some()
        }
        _ => {
            let texts = Utf8ViewArray::from_slice([Some(text)]);
            cast_texts(&texts, to).is_ok()
        }
    }
}

/// The same values as an array of another type.
///
/// # Errors
/// The first row whose value would not stay the same.
pub(super) fn cast(array: &dyn Array, to: &ArrowDataType) -> Result<Box<dyn Array>, CastError> {
    use ArrowDataType as T;
    let from = array.dtype();
    if from == to {
        return Ok(array.to_boxed());
    }
    if *from == T::Null {
        return Ok(new_null_array(to.clone(), array.len()));
    }
    match to {
        T::Utf8View => to_text(array),
        T::Boolean => to_boolean(array),
        T::BinaryView => to_bytes(array),
        T::Int8 => to_number::<i8>(array, to, whole),
        T::Int16 => to_number::<i16>(array, to, whole),
        T::Int32 => to_number::<i32>(array, to, whole),
        T::Int64 => to_number::<i64>(array, to, whole),
        T::UInt8 => to_number::<u8>(array, to, whole),
        T::UInt16 => to_number::<u16>(array, to, whole),
        T::UInt32 => to_number::<u32>(array, to, whole),
        T::UInt64 => to_number::<u64>(array, to, whole),
        T::Decimal(precision, scale) => {
            let (limit, scale) = (decimal_limit(*precision), *scale);
            to_number::<i128>(array, to, |exact| {
                let value = exact.at_scale(scale)?;
                (value.unsigned_abs() < limit).then_some(value)
            })
        }
        T::Float32 | T::Float64 => to_float(array, to),
        moment if moment::is_moment(moment) => to_moment(array, to),
        _ => Err(misfit(array, 0)),
    }
}

/// All numbers of so many digits are smaller.
pub(super) fn decimal_limit(precision: usize) -> u128 {
    let digits = u32::try_from(precision).unwrap_or(u32::MAX);
    10_u128.checked_pow(digits).unwrap_or(u128::MAX)
}

fn whole<T: TryFrom<i128>>(exact: ExactNumber) -> Option<T> {
    T::try_from(exact.at_scale(0)?).ok()
}

fn misfit(array: &dyn Array, row: usize) -> CastError {
    let value = (row < array.len()).then(|| text_of(array, row)).flatten();
    let value = value.unwrap_or_else(|| "a value".into());
    let is_text = matches!(array.dtype(), ArrowDataType::Utf8View);
    CastError {
        row,
        value: if is_text { format!("'{value}'") } else { value },
    }
}

/// Numbers of another type by what they are; of texts, by their digits.
fn to_number<T: NativeType>(
    array: &dyn Array,
    to: &ArrowDataType,
    number: impl Fn(ExactNumber) -> Option<T>,
) -> Result<Box<dyn Array>, CastError> {
    let mut values = Vec::with_capacity(array.len());
    for_each_number(array, |row, exact| {
        values.push(match exact {
            None => T::default(),
            Some(exact) => exact.and_then(&number).ok_or_else(|| misfit(array, row))?,
        });
        Ok(())
    })?;
    Ok(PrimitiveArray::new(to.clone(), values.into(), array.validity().cloned()).boxed())
}

/// Hands on each value as a number: nothing where it is null, and nothing inside of that where it is
/// no number.
fn for_each_number(
    array: &dyn Array,
    mut each: impl FnMut(usize, Option<Option<ExactNumber>>) -> Result<(), CastError>,
) -> Result<(), CastError> {
    use ArrowDataType as T;
    fn typed<T: NativeType>(array: &dyn Array) -> Option<&PrimitiveArray<T>> {
        array.as_any().downcast_ref()
    }
    let exact = |value: i128, scale: usize| {
        let scale = i32::try_from(scale).ok()?;
        Some(ExactNumber { value, scale })
    };
    macro_rules! numbers {
        ($array:expr, $exact:expr) => {{
            for (row, value) in $array.into_iter().flatten().enumerate() {
                each(row, value.map($exact))?;
            }
        }};
    }
    match array.dtype() {
        T::Int8 => numbers!(typed::<i8>(array), |value| exact((*value).into(), 0)),
        T::Int16 => numbers!(typed::<i16>(array), |value| exact((*value).into(), 0)),
        T::Int32 => numbers!(typed::<i32>(array), |value| exact((*value).into(), 0)),
        T::Int64 => numbers!(typed::<i64>(array), |value| exact((*value).into(), 0)),
        T::UInt8 => numbers!(typed::<u8>(array), |value| exact((*value).into(), 0)),
        T::UInt16 => numbers!(typed::<u16>(array), |value| exact((*value).into(), 0)),
        T::UInt32 => numbers!(typed::<u32>(array), |value| exact((*value).into(), 0)),
        T::UInt64 => numbers!(typed::<u64>(array), |value| exact((*value).into(), 0)),
        T::Decimal(_, scale) => {
            numbers!(typed::<i128>(array), |value| exact(*value, *scale));
        }
        T::Float16 => numbers!(typed::<pf16>(array), |value| {
            float32_digits(f32::from(*value))
        }),
        T::Float32 => numbers!(typed::<f32>(array), |value| float32_digits(*value)),
        T::Float64 => numbers!(typed::<f64>(array), |value| {
            ExactNumber::from_float(*value, &format!("{value:e}"))
        }),
        T::Boolean => {
            let found = array.as_any().downcast_ref::<BooleanArray>();
            numbers!(found, |value| exact(value.into(), 0));
        }
        T::Utf8View => {
            let found = array.as_any().downcast_ref::<Utf8ViewArray>();
            numbers!(found, ExactNumber::parse);
        }
        _ => return Err(misfit(array, 0)),
    }
    Ok(())
}

fn float32_digits(value: f32) -> Option<ExactNumber> {
    ExactNumber::from_float(value.into(), &format!("{value:e}"))
}

/// Floats, where the number that is read back is the same.
fn to_float(array: &dyn Array, to: &ArrowDataType) -> Result<Box<dyn Array>, CastError> {
    use ArrowDataType as T;
    let is_wide = *to == T::Float64;
    // Each as one of 64 bits; `None` where it would not stay the same.
    let mut values: Vec<f64> = Vec::with_capacity(array.len());
    let narrow = |value: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is compared with what it was"
        )]
        let near = value as f32;
        let stays = value.is_nan() || f64::from(near).to_bits() == value.to_bits();
        stays.then_some(value)
    };
    let floats: Option<Vec<Option<f64>>> = match array.dtype() {
        T::Float64 => floats::<f64>(array),
        T::Float32 => floats::<f32>(array),
        T::Float16 => {
            let found = array.as_any().downcast_ref::<PrimitiveArray<pf16>>();
            let value = |value: Option<&pf16>| value.map(|value| f64::from(f32::from(*value)));
            found.map(|found| found.iter().map(value).collect())
        }
        _ => None,
    };
    if let Some(floats) = floats {
        for (row, value) in floats.into_iter().enumerate() {
            let value = value.unwrap_or_default();
            let kept = if is_wide { Some(value) } else { narrow(value) };
            values.push(kept.ok_or_else(|| misfit(array, row))?);
        }
    } else {
        let texts = array.as_any().downcast_ref::<Utf8ViewArray>();
        for_each_number(array, |row, exact| {
            let text = texts.and_then(|texts| texts.get(row));
            let value = match (exact, text) {
                (None, _) => 0.0,
                (_, Some("NaN")) => f64::NAN,
                (_, Some("Infinity")) => f64::INFINITY,
                (_, Some("-Infinity")) => f64::NEG_INFINITY,
                (_, Some("-0" | "-0.0")) => -0.0,
                (Some(exact), _) => exact
                    .and_then(|exact| float_of(exact, is_wide, texts.is_some()))
                    .ok_or_else(|| misfit(array, row))?,
            };
            values.push(value);
            Ok(())
        })?;
    }
    let validity = array.validity().cloned();
    if is_wide {
        return Ok(PrimitiveArray::new(to.clone(), values.into(), validity).boxed());
    }
    #[expect(clippy::cast_possible_truncation, reason = "each is one of 32 bits")]
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Ok(PrimitiveArray::new(to.clone(), values.into(), validity).boxed())
}

fn floats<T: NativeType + Into<f64>>(array: &dyn Array) -> Option<Vec<Option<f64>>> {
    let found = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
    let value = |value: Option<&T>| value.copied().map(Into::into);
    Some(found.iter().map(value).collect())
}

/// The float that is this number; of a text, also the one that is written so with as many digits.
fn float_of(exact: ExactNumber, is_wide: bool, is_text: bool) -> Option<f64> {
    /// So many digits stay what they are in floats of 64 and of 32 bits.
    const SAFE: [(u128, i32); 2] = [(1_000_000_000_000_000, 290), (1_000_000, 30)];
    let text = exact.scientific();
    let (safe, largest) = if is_wide { SAFE[0] } else { SAFE[1] };
    let is_safe = exact.value.unsigned_abs() < safe && exact.scale.abs() < largest;
    let digits = exact.significant_digits().saturating_sub(1);
    let (value, shortest, rounded) = if is_wide {
        let value: f64 = text.parse().ok()?;
        if is_text && is_safe {
            return Some(value);
        }
        (value, format!("{value:e}"), format!("{value:.digits$e}"))
    } else {
        let value: f32 = text.parse().ok()?;
        if is_text && is_safe {
            return Some(value.into());
        }
        let written = (format!("{value:e}"), format!("{value:.digits$e}"));
        (f64::from(value), written.0, written.1)
    };
    let is_exact = ExactNumber::from_float(value, &shortest).is_some_and(|back| back.is(exact));
    let is_written = |text: &str| ExactNumber::parse(text).is_some_and(|back| back.is(exact));
    // Where two such texts are as near, programs write either.
    let is_text_of = || is_text && (is_written(&shortest) || is_written(&rounded));
    (value.is_finite() && (is_exact || is_text_of())).then_some(value)
}

fn to_boolean(array: &dyn Array) -> Result<Box<dyn Array>, CastError> {
    let mut values: Vec<Option<bool>> = Vec::with_capacity(array.len());
    if let Some(texts) = array.as_any().downcast_ref::<Utf8ViewArray>() {
        for (row, text) in texts.iter().enumerate() {
            values.push(match text {
                None => None,
                Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
                Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
                Some(_) => return Err(misfit(array, row)),
            });
        }
    } else {
        for_each_number(array, |row, exact| {
            let number = exact.map(|exact| exact.and_then(|exact| exact.at_scale(0)));
            values.push(match number {
                None => None,
                Some(Some(0)) => Some(false),
                Some(Some(1)) => Some(true),
                Some(_) => return Err(misfit(array, row)),
            });
            Ok(())
        })?;
    }
    Ok(values.into_iter().collect::<BooleanArray>().boxed())
}

fn to_bytes(array: &dyn Array) -> Result<Box<dyn Array>, CastError> {
    match array.as_any().downcast_ref::<Utf8ViewArray>() {
        Some(texts) => Ok(texts.to_binview().boxed()),
        None => Err(misfit(array, 0)),
    }
}

fn to_moment(array: &dyn Array, to: &ArrowDataType) -> Result<Box<dyn Array>, CastError> {
    let mut values: Vec<i64> = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        values.push(if array.is_null(row) {
            0
        } else {
            let nanos = match array.as_any().downcast_ref::<Utf8ViewArray>() {
                Some(texts) => moment::parse(texts.value(row), to),
                None => moment::nanos_of(array, row),
            };
            let count = nanos.and_then(|nanos| moment::count(nanos, to));
            count.ok_or_else(|| misfit(array, row))?
        });
    }
    let validity = array.validity().cloned();
    if let ArrowDataType::Date32 | ArrowDataType::Time32(_) = to {
        let narrow = |value: i64| i32::try_from(value);
        let mut narrowed = Vec::with_capacity(values.len());
        for (row, value) in values.into_iter().enumerate() {
            narrowed.push(narrow(value).map_err(|_| misfit(array, row))?);
        }
        return Ok(PrimitiveArray::new(to.clone(), narrowed.into(), validity).boxed());
    }
    Ok(PrimitiveArray::new(to.clone(), values.into(), validity).boxed())
}

fn to_text(array: &dyn Array) -> Result<Box<dyn Array>, CastError> {
    let mut made = MutableBinaryViewArray::<str>::with_capacity(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            made.push_null();
        } else {
            let text = text_of(array, row).ok_or_else(|| CastError {
                row,
                value: "what has no text".into(),
            })?;
            made.push_value(text);
        }
    }
    Ok(made.freeze().boxed())
}

/// A value as a text that is read back as the same; `None` where it has none, or is null.
pub(crate) fn text_of(array: &dyn Array, row: usize) -> Option<String> {
    use ArrowDataType as T;
    fn shown<T: NativeType + std::fmt::Display>(array: &dyn Array, row: usize) -> Option<String> {
        let found = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
        found.get(row).map(|value| value.to_string())
    }
    let any = array.as_any();
    match array.dtype() {
        T::Boolean => {
            let found = any.downcast_ref::<BooleanArray>()?.get(row)?;
            Some(found.to_string())
        }
        T::Int8 => shown::<i8>(array, row),
        T::Int16 => shown::<i16>(array, row),
        T::Int32 => shown::<i32>(array, row),
        T::Int64 => shown::<i64>(array, row),
        T::UInt8 => shown::<u8>(array, row),
        T::UInt16 => shown::<u16>(array, row),
        T::UInt32 => shown::<u32>(array, row),
        T::UInt64 => shown::<u64>(array, row),
        T::Float16 => {
            let found = any.downcast_ref::<PrimitiveArray<pf16>>()?.get(row)?;
            Some(float32_text(f32::from(found)))
        }
        T::Float32 => {
            let value = any.downcast_ref::<PrimitiveArray<f32>>()?.get(row)?;
            Some(float32_text(value))
        }
        T::Float64 => {
            let value = any.downcast_ref::<PrimitiveArray<f64>>()?.get(row)?;
            Some(float_text(value, &value.to_string(), &format!("{value:e}")))
        }
        T::Decimal(_, scale) => {
            let value = any.downcast_ref::<PrimitiveArray<i128>>()?.get(row)?;
            Some(format_decimal(value, u8::try_from(*scale).ok()?))
        }
        T::Utf8View => any
            .downcast_ref::<Utf8ViewArray>()?
            .get(row)
            .map(str::to_string),
        T::BinaryView => {
            let bytes = any.downcast_ref::<BinaryViewArray>()?.get(row)?;
            String::from_utf8(bytes.to_vec()).ok()
        }
        dtype if moment::is_moment(dtype) && array.is_valid(row) => {
            moment::text(moment::nanos_of(array, row)?, dtype)
        }
        _ => None,
    }
}

fn float32_text(value: f32) -> String {
    float_text(value.into(), &value.to_string(), &format!("{value:e}"))
}

/// A float as its shortest digits, with an exponent where there would be many zeros.
fn float_text(value: f64, plain: &str, scientific: &str) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else if value == 0.0 || (1e-5..1e16).contains(&size) {
        plain.to_string()
    } else {
        scientific.to_string()
    }
}
