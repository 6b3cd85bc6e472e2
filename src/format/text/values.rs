//! Values as texts that are read back as the same: digits, words, times in ISO 8601; and in JSON.

use std::fmt::Write as _;

use polars_arrow::array::{
    Array, BinaryViewArray, ListArray, MapArray, PrimitiveArray, StaticArray, StructArray,
    Utf8ViewArray,
};
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::types::NativeType;

use crate::format::canonical_schema::type_name;
use crate::shape::text_of;

/// True for values that have others in them.
pub(crate) fn is_nested(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(dtype, T::LargeList(_) | T::Struct(_) | T::Map(..))
}

/// Adds the text of a value that is not null; without one, says whether the type has texts.
///
/// # Errors
/// It has none, in words.
pub(crate) fn put_text(
    text: &mut String,
    dtype: &ArrowDataType,
    value: Option<(&dyn Array, usize)>,
) -> Result<(), String> {
    use ArrowDataType as T;
    fn number<T: NativeType + std::fmt::Display>(
        text: &mut String,
        (array, row): (&dyn Array, usize),
    ) -> Result<(), String> {
        let found = array.as_any().downcast_ref::<PrimitiveArray<T>>();
        let value = found.and_then(|found| found.get(row));
        let value = value.ok_or("it is another array than its type")?;
        write!(text, "{value}").map_err(|error| error.to_string())
    }
    let known = matches!(
        dtype,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float16
            | T::Float32
            | T::Float64
            | T::Decimal(..)
            | T::Utf8View
            | T::BinaryView
            | T::Date32
            | T::Time32(_)
            | T::Time64(_)
            | T::Timestamp(..)
            | T::Null
    );
    if !known {
        return Err(format!("{} has no text", type_name(dtype)));
    }
    let Some((array, row)) = value else {
        return Ok(());
    };
    match dtype {
        T::Int8 => number::<i8>(text, (array, row)),
        T::Int16 => number::<i16>(text, (array, row)),
        T::Int32 => number::<i32>(text, (array, row)),
        T::Int64 => number::<i64>(text, (array, row)),
        T::UInt8 => number::<u8>(text, (array, row)),
        T::UInt16 => number::<u16>(text, (array, row)),
        T::UInt32 => number::<u32>(text, (array, row)),
        T::UInt64 => number::<u64>(text, (array, row)),
        T::Utf8View => {
            let found = array.as_any().downcast_ref::<Utf8ViewArray>();
            let value = found.and_then(|found| found.get(row));
            text.push_str(value.ok_or("it is another array than its type")?);
            Ok(())
        }
        T::BinaryView => {
            let found = array.as_any().downcast_ref::<BinaryViewArray>();
            let bytes = found.and_then(|found| found.get(row)).unwrap_or_default();
            let found = std::str::from_utf8(bytes);
            text.push_str(found.map_err(|_| "bytes that are no UTF-8 have no text")?);
            Ok(())
        }
        _ => {
            let found = text_of(array, row).ok_or("a value outside of the years 1 to 9999")?;
            match dtype {
                T::Timestamp(..) => text.push_str(&found.replacen(' ', "T", 1)),
                _ => text.push_str(&found),
            }
            Ok(())
        }
    }
}

/// Adds a value as JSON.
///
/// # Errors
/// It has no form in JSON, in words.
pub(crate) fn put_json(text: &mut String, array: &dyn Array, row: usize) -> Result<(), String> {
    use ArrowDataType as T;
    if array.is_null(row) {
        text.push_str("null");
        return Ok(());
    }
    let any = array.as_any();
    match array.dtype() {
        T::Struct(_) => {
            let found = any.downcast_ref::<StructArray>();
            let found = found.ok_or("it is another array than its type")?;
            put_list(text, ('{', '}'), found.fields().len(), |text, number| {
                put_json_text(text, &found.fields()[number].name);
                text.push(':');
                put_json(text, found.values()[number].as_ref(), row)
            })
        }
        T::LargeList(_) => {
            let found = any.downcast_ref::<ListArray<i64>>();
            let values = found.ok_or("it is another array than its type")?.value(row);
            put_list(text, ('[', ']'), values.len(), |text, number| {
                put_json(text, values.as_ref(), number)
            })
        }
        T::Map(..) => {
            let found = any.downcast_ref::<MapArray>();
            let entries = found.ok_or("it is another array than its type")?.value(row);
            let entries = entries.as_any().downcast_ref::<StructArray>();
            let entries = entries.ok_or("it is another array than its type")?;
            let [keys, values] = entries.values() else {
                return Err("it is another array than its type".into());
            };
            if let Some(names) = keys.as_any().downcast_ref::<Utf8ViewArray>() {
                let names: Vec<&str> = names.values_iter().collect();
                if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at]))
                {
                    return Err(format!("a map has the key {:?} twice", names[twice]));
                }
                return put_list(text, ('{', '}'), names.len(), |text, number| {
                    put_json_text(text, names[number]);
                    text.push(':');
                    put_json(text, values.as_ref(), number)
                });
            }
            put_list(text, ('[', ']'), keys.len(), |text, number| {
                text.push_str("{\"key\":");
                put_json(text, keys.as_ref(), number)?;
                text.push_str(",\"value\":");
                put_json(text, values.as_ref(), number)?;
                text.push('}');
                Ok(())
            })
        }
        dtype => {
            let start = text.len();
            put_text(text, dtype, Some((array, row)))?;
            let is_plain = matches!(dtype, T::Boolean | T::Decimal(..)) || is_integer(dtype);
            if matches!(dtype, T::Float16 | T::Float32 | T::Float64) {
                let last = text.as_bytes().last();
                return if last.is_some_and(u8::is_ascii_digit) {
                    Ok(())
                } else {
                    Err(format!("{} has no form in JSON", &text[start..]))
                };
            }
            if !is_plain {
                let plain = text.split_off(start);
                put_json_text(text, &plain);
            }
            Ok(())
        }
    }
}

fn is_integer(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}

fn put_list(
    text: &mut String,
    (begin, end): (char, char),
    count: usize,
    mut put: impl FnMut(&mut String, usize) -> Result<(), String>,
) -> Result<(), String> {
    text.push(begin);
    for number in 0..count {
        if number > 0 {
            text.push(',');
        }
        put(text, number)?;
    }
    text.push(end);
    Ok(())
}

fn put_json_text(text: &mut String, plain: &str) {
    text.push_str(&serde_json::Value::from(plain).to_string());
}
