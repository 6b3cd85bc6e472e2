//! Plain arrays: those that all formats and stores know, made of what else Arrow has for the same
//! values.
//!
//! Texts and bytes are views, lists have offsets of 64 bits and nothing between them, dictionaries
//! are looked up, decimals have 128 bits, and times the units that parquet and databases have. No
//! value changes: what has no canonical form is named.

use polars_arrow::array::builder::{ShareStrategy, make_builder};
use polars_arrow::array::{
    Array, BinaryArray, BinaryViewArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    ListArray, MapArray, MutableBinaryViewArray, PrimitiveArray, StructArray, Utf8Array,
    Utf8ViewArray, new_empty_array,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::{ArrowDataType, ExtensionType, Field, IntervalUnit, TimeUnit};
use polars_arrow::match_integer_type;
use polars_arrow::offset::{Offset, Offsets, OffsetsBuffer};
use polars_arrow::types::NativeType;
use polars_utils::IdxSize;

/// The digits of the widest decimal.
pub(crate) const MAX_PRECISION: usize = 38;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The key under which a field's metadata names the type that is built upon its own.
pub(super) const EXTENSION_NAME: &str = "ARROW:extension:name";

/// The key of what that type must know besides.
pub(super) const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// The types built upon others whose values are those of the other.
pub(super) const KNOWN_EXTENSIONS: [&str; 2] = ["arrow.json", "arrow.uuid"];

/// A field whose metadata calls it by a type that is built upon its own has that type.
pub(super) fn with_extension_type(field: Field) -> Field {
    let said = |key: &str| {
        field
            .metadata
            .as_ref()
            .and_then(|said| said.get(key))
            .cloned()
    };
    let Some(name) = said(EXTENSION_NAME) else {
        return field;
    };
    let metadata = said(EXTENSION_METADATA);
    let dtype = ArrowDataType::Extension(Box::new(ExtensionType {
        name,
        inner: field.dtype.clone(),
        metadata,
    }));
    Field { dtype, ..field }
}

/// The canonical type of the same values; what they are, in words, where there is none.
pub(super) fn canonical_type(dtype: &ArrowDataType) -> Result<ArrowDataType, String> {
    use ArrowDataType as T;
    Ok(match dtype {
        T::Utf8 | T::LargeUtf8 => T::Utf8View,
        T::Binary | T::LargeBinary => T::BinaryView,
        T::Date64 => T::Date32,
        T::Time32(TimeUnit::Second) => T::Time32(TimeUnit::Millisecond),
        T::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Second {
                TimeUnit::Millisecond
            } else {
                *unit
            };
            T::Timestamp(unit, zone.clone())
        }
        T::Decimal(precision, scale)
        | T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal256(precision, scale) => {
            if *precision > MAX_PRECISION {
                return Err(format!("a decimal of {precision} digits"));
            }
            T::Decimal(*precision, *scale)
        }
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) => {
            T::LargeList(Box::new(canonical_field(inner)?))
        }
        T::Struct(fields) => T::Struct(
            fields
                .iter()
                .map(canonical_field)
                .collect::<Result<_, _>>()?,
        ),
        T::Dictionary(_, values, _) => canonical_type(values)?,
        T::Extension(extension) if KNOWN_EXTENSIONS.contains(&extension.name.as_str()) => {
            canonical_type(&extension.inner)?
        }
        T::Extension(extension) => return Err(format!("the extension type {}", extension.name)),
        T::Map(entries, is_sorted) => T::Map(Box::new(canonical_field(entries)?), *is_sorted),
        T::Union(_) => return Err("a union".into()),
        T::Interval(_) => return Err("an interval of the calendar".into()),
        T::Int128 | T::UInt128 | T::Unknown => return Err(format!("{dtype:?}")),
        same => same.clone(),
    })
}

/// The canonical form of a field.
pub(super) fn canonical_field(field: &Field) -> Result<Field, String> {
    Ok(Field {
        dtype: canonical_type(&field.dtype).map_err(|found| in_field(&field.name, &found))?,
        ..field.clone()
    })
}

/// Names of fields stand before what is wrong inside of them.
fn in_field(name: &str, found: &str) -> String {
    format!("{found} (in {name})")
}

/// The type whose arrays hold the values of a type that polars-arrow cannot read and write: bytes
/// of the same width.
pub(super) fn storage_type(dtype: &ArrowDataType) -> ArrowDataType {
    use ArrowDataType as T;
    let held = |field: &Field| {
        Box::new(Field {
            dtype: storage_type(&field.dtype),
            ..field.clone()
        })
    };
    match dtype {
        T::Decimal256(..) => T::FixedSizeBinary(32),
        T::Interval(IntervalUnit::MonthDayNano) => T::FixedSizeBinary(16),
        T::Interval(IntervalUnit::DayTime) => T::FixedSizeBinary(8),
        T::List(inner) => T::List(held(inner)),
        T::LargeList(inner) => T::LargeList(held(inner)),
        T::FixedSizeList(inner, size) => T::FixedSizeList(held(inner), *size),
        T::Map(inner, is_sorted) => T::Map(held(inner), *is_sorted),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| *held(field)).collect()),
        T::Dictionary(keys, values, is_ordered) => {
            T::Dictionary(*keys, Box::new(storage_type(values)), *is_ordered)
        }
        T::Extension(extension) => T::Extension(Box::new(ExtensionType {
            inner: storage_type(&extension.inner),
            ..extension.as_ref().clone()
        })),
        other => other.clone(),
    }
}

/// The same values in the canonical form of their type, which the array may only hold
/// ([`storage_type`]).
///
/// # Errors
/// A value that has none, in words.
pub(super) fn to_canonical(
    array: &dyn Array,
    dtype: &ArrowDataType,
) -> Result<Box<dyn Array>, String> {
    use ArrowDataType as T;
    let to = canonical_type(dtype)?;
    Ok(match dtype {
        T::Utf8 => utf8::<i32>(array)?,
        T::LargeUtf8 => utf8::<i64>(array)?,
        T::Binary => binary::<i32>(array)?,
        T::LargeBinary => binary::<i64>(array)?,
        T::Date64 => convert_numbers::<i64, i32>(array, to, |time| {
            (time % DAY == 0).then(|| i32::try_from(time / DAY).ok())?
        })?,
        T::Time32(TimeUnit::Second) => {
            convert_numbers::<i32, i32>(array, to, |time| time.checked_mul(1000))?
        }
        T::Timestamp(TimeUnit::Second, _) => {
            convert_numbers::<i64, i64>(array, to, |time| time.checked_mul(1000))?
        }
        T::Decimal32(..) => convert_numbers::<i32, i128>(array, to, |number| Some(number.into()))?,
        T::Decimal64(..) => convert_numbers::<i64, i128>(array, to, |number| Some(number.into()))?,
        T::Decimal256(..) => narrow_decimals(downcast(array)?, to)?,
        T::List(inner) => {
            let list: &ListArray<i32> = downcast(array)?;
            to_large_list(
                to,
                ranges(list),
                list.validity(),
                list.values().as_ref(),
                &inner.dtype,
            )?
        }
        T::LargeList(inner) => {
            let list: &ListArray<i64> = downcast(array)?;
            to_large_list(
                to,
                ranges(list),
                list.validity(),
                list.values().as_ref(),
                &inner.dtype,
            )?
        }
        T::FixedSizeList(inner, size) => {
            let list: &FixedSizeListArray = downcast(array)?;
            let ranges = (0..list.len()).map(|row| (row * size, *size));
            to_large_list(
                to,
                ranges,
                list.validity(),
                list.values().as_ref(),
                &inner.dtype,
            )?
        }
        T::Map(entries, _) => {
            let map: &MapArray = downcast(array)?;
            let ranges = (0..map.len()).map(|row| {
                let (start, end) = map.offsets().start_end(row);
                (start, end - start)
            });
            let (offsets, values) = compact(ranges, map.validity(), map.field().as_ref())?;
            let offsets = OffsetsBuffer::<i32>::try_from(&OffsetsBuffer::from(offsets))
                .map_err(error_text)?;
            MapArray::try_new(
                to,
                offsets,
                to_canonical(values.as_ref(), &entries.dtype)?,
                map.validity().cloned(),
            )
            .map_err(error_text)?
            .boxed()
        }
        T::Struct(_) => map_inner_arrays(array, dtype, to, to_canonical)?,
        T::Dictionary(keys, values, _) => match_integer_type!(keys, |$T| {
            let dictionary: &DictionaryArray<$T> = downcast(array)?;
            gather(to_canonical(dictionary.values().as_ref(), values)?.as_ref(), dictionary.keys_iter())
        }),
        T::Extension(extension) => {
            let mut stored = array.to_boxed();
            *stored.dtype_mut() = storage_type(&extension.inner);
            to_canonical(stored.as_ref(), &extension.inner)?
        }
        _ => array.to_boxed(),
    })
}

fn error_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn downcast<A: 'static>(array: &dyn Array) -> Result<&A, String> {
    array
        .as_any()
        .downcast_ref()
        .ok_or_else(|| format!("an array of {:?} is something else", array.dtype()))
}

fn utf8<O: Offset>(array: &dyn Array) -> Result<Box<dyn Array>, String> {
    let texts: &Utf8Array<O> = downcast(array)?;
    Ok(MutableBinaryViewArray::<str>::from_iterator(texts.iter())
        .freeze()
        .boxed())
}

fn binary<O: Offset>(array: &dyn Array) -> Result<Box<dyn Array>, String> {
    let bytes: &BinaryArray<O> = downcast(array)?;
    Ok(MutableBinaryViewArray::<[u8]>::from_iterator(bytes.iter())
        .freeze()
        .boxed())
}

/// Numbers of another width or unit; what stands where nothing is may be anything.
fn convert_numbers<F: NativeType, T: NativeType>(
    array: &dyn Array,
    to: ArrowDataType,
    number: impl Fn(F) -> Option<T>,
) -> Result<Box<dyn Array>, String> {
    let from: &PrimitiveArray<F> = downcast(array)?;
    let mut values = Vec::with_capacity(from.len());
    for (row, value) in from.iter().enumerate() {
        let value = match value.copied() {
            Some(value) => number(value).ok_or_else(|| {
                format!("row {row}: {value:?} of {:?} is no {to:?}", from.dtype())
            })?,
            None => T::default(),
        };
        values.push(value);
    }
    PrimitiveArray::try_new(to, values.into(), from.validity().cloned())
        .map(|array| array.boxed())
        .map_err(error_text)
}

/// Decimals of 256 bits that have as few digits as one of 128.
fn narrow_decimals(
    bytes: &FixedSizeBinaryArray,
    to: ArrowDataType,
) -> Result<Box<dyn Array>, String> {
    let number = |bytes: &[u8]| {
        let (low, high) = bytes.split_first_chunk::<16>()?;
        let low = i128::from_le_bytes(*low);
        // What stands above is nothing but the sign.
        let sign = if low < 0 { 0xff } else { 0 };
        high.iter().all(|byte| *byte == sign).then_some(low)
    };
    let mut values = Vec::with_capacity(bytes.len());
    for (row, value) in bytes.iter().enumerate() {
        values.push(value.map_or(Ok(0), |value| {
            number(value).ok_or_else(|| format!("row {row}: a number has more digits than {to:?}"))
        })?);
    }
    PrimitiveArray::<i128>::try_new(to, values.into(), bytes.validity().cloned())
        .map(|array| array.boxed())
        .map_err(error_text)
}

/// Where each list begins, and how many values it has.
fn ranges<O: Offset>(list: &ListArray<O>) -> impl Iterator<Item = (usize, usize)> {
    (0..list.len()).map(|row| {
        let (start, end) = list.offsets().start_end(row);
        (start, end - start)
    })
}

fn to_large_list(
    to: ArrowDataType,
    ranges: impl Iterator<Item = (usize, usize)>,
    validity: Option<&Bitmap>,
    values: &dyn Array,
    inner: &ArrowDataType,
) -> Result<Box<dyn Array>, String> {
    let (offsets, values) = compact(ranges, validity, values)?;
    ListArray::<i64>::try_new(
        to,
        offsets.into(),
        to_canonical(values.as_ref(), inner)?,
        validity.cloned(),
    )
    .map(|list| list.boxed())
    .map_err(error_text)
}

/// Lists one behind the other: those that are not there are empty, and nothing stands between them.
fn compact(
    ranges: impl Iterator<Item = (usize, usize)>,
    validity: Option<&Bitmap>,
    values: &dyn Array,
) -> Result<(Offsets<i64>, Box<dyn Array>), String> {
    let mut offsets = Offsets::<i64>::default();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (row, (start, length)) in ranges.enumerate() {
        let length = if validity.is_none_or(|validity| validity.get_bit(row)) {
            length
        } else {
            0
        };
        offsets.try_push(length).map_err(error_text)?;
        match runs.last_mut() {
            Some((first, count)) if *first + *count == start => *count += length,
            _ if length == 0 => {}
            _ => runs.push((start, length)),
        }
    }
    let pieces: Vec<Box<dyn Array>> = runs
        .iter()
        .map(|(start, length)| values.sliced(*start, *length))
        .collect();
    let values = match pieces.as_slice() {
        [] => new_empty_array(values.dtype().clone()),
        [one] => one.clone(),
        pieces => concatenate(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            .map_err(error_text)?,
    };
    Ok((offsets, values))
}

/// The values at some places; nothing where there is no place.
fn gather(values: &dyn Array, places: impl Iterator<Item = Option<usize>>) -> Box<dyn Array> {
    let places: Vec<IdxSize> = places
        .map(|place| {
            place
                .and_then(|place| IdxSize::try_from(place).ok())
                .unwrap_or(IdxSize::MAX)
        })
        .collect();
    let mut builder = make_builder(values.dtype());
    builder.opt_gather_extend(values, &places, ShareStrategy::Always);
    builder.freeze_reset()
}

/// The fields inside of a list, a map or a group; none inside of others.
pub(super) fn inner_fields(dtype: &ArrowDataType) -> &[Field] {
    use ArrowDataType as T;
    match dtype {
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) | T::Map(inner, _) => {
            std::slice::from_ref(inner.as_ref())
        }
        T::Struct(fields) => fields,
        _ => &[],
    }
}

/// The arrays inside of a list, a map or a group; none inside of others.
pub(super) fn inner_arrays(array: &dyn Array) -> Vec<&dyn Array> {
    let any = array.as_any();
    if let Some(group) = any.downcast_ref::<StructArray>() {
        return group.values().iter().map(AsRef::as_ref).collect();
    }
    let list = any
        .downcast_ref::<ListArray<i32>>()
        .map(|list| list.values());
    let list = list.or_else(|| {
        any.downcast_ref::<ListArray<i64>>()
            .map(|list| list.values())
    });
    let list = list.or_else(|| {
        any.downcast_ref::<FixedSizeListArray>()
            .map(|list| list.values())
    });
    let list = list.or_else(|| any.downcast_ref::<MapArray>().map(|map| map.field()));
    list.into_iter().map(AsRef::as_ref).collect()
}

/// The same list, map or group around other arrays.
pub(super) fn with_inner_arrays(
    array: &dyn Array,
    to: ArrowDataType,
    inner: Vec<Box<dyn Array>>,
) -> Result<Box<dyn Array>, String> {
    let (any, validity) = (array.as_any(), array.validity().cloned());
    if let Some(group) = any.downcast_ref::<StructArray>() {
        return StructArray::try_new(to, group.len(), inner, validity)
            .map(|group| group.boxed())
            .map_err(error_text);
    }
    let no_list = || format!("an array of {:?} is no list", array.dtype());
    let values = inner.into_iter().next().ok_or_else(no_list)?;
    if let Some(list) = any.downcast_ref::<ListArray<i32>>() {
        ListArray::try_new(to, list.offsets().clone(), values, validity).map(|list| list.boxed())
    } else if let Some(list) = any.downcast_ref::<ListArray<i64>>() {
        ListArray::try_new(to, list.offsets().clone(), values, validity).map(|list| list.boxed())
    } else if let Some(list) = any.downcast_ref::<FixedSizeListArray>() {
        FixedSizeListArray::try_new(to, list.len(), values, validity).map(|list| list.boxed())
    } else if let Some(map) = any.downcast_ref::<MapArray>() {
        MapArray::try_new(to, map.offsets().clone(), values, validity).map(|map| map.boxed())
    } else {
        return Err(no_list());
    }
    .map_err(error_text)
}

/// The same list, map or group around what `each` makes of the arrays inside, by the types that
/// they have in `by`.
fn map_inner_arrays(
    array: &dyn Array,
    by: &ArrowDataType,
    to: ArrowDataType,
    each: impl Fn(&dyn Array, &ArrowDataType) -> Result<Box<dyn Array>, String>,
) -> Result<Box<dyn Array>, String> {
    use ArrowDataType as T;
    let types: Vec<&ArrowDataType> = match by {
        T::Struct(fields) => fields.iter().map(|field| &field.dtype).collect(),
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) | T::Map(inner, _) => {
            vec![&inner.dtype]
        }
        _ => Vec::new(),
    };
    let made = inner_arrays(array)
        .into_iter()
        .zip(types)
        .map(|(array, dtype)| each(array, dtype));
    with_inner_arrays(array, to, made.collect::<Result<_, _>>()?)
}

/// Texts and bytes with offsets of 64 bits in place of views, which every reader of Arrow knows;
/// the rest as it is.
pub(super) fn without_views(array: &dyn Array) -> Result<Box<dyn Array>, String> {
    use ArrowDataType as T;
    let to = type_without_views(array.dtype());
    Ok(match array.dtype() {
        T::Utf8View => {
            Utf8Array::<i64>::from_iter(downcast::<Utf8ViewArray>(array)?.iter()).boxed()
        }
        T::BinaryView => {
            BinaryArray::<i64>::from_iter(downcast::<BinaryViewArray>(array)?.iter()).boxed()
        }
        T::LargeList(_) | T::Map(..) | T::Struct(_) => {
            map_inner_arrays(array, array.dtype(), to, |values, _| without_views(values))?
        }
        _ => array.to_boxed(),
    })
}

/// The type of what [`without_views`] gives.
pub(super) fn type_without_views(dtype: &ArrowDataType) -> ArrowDataType {
    let field = |field: &Field| Field {
        dtype: type_without_views(&field.dtype),
        ..field.clone()
    };
    match dtype {
        ArrowDataType::Utf8View => ArrowDataType::LargeUtf8,
        ArrowDataType::BinaryView => ArrowDataType::LargeBinary,
        ArrowDataType::LargeList(inner) => ArrowDataType::LargeList(Box::new(field(inner))),
        ArrowDataType::Map(entries, is_sorted) => {
            ArrowDataType::Map(Box::new(field(entries)), *is_sorted)
        }
        ArrowDataType::Struct(fields) => ArrowDataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

/// Lists of entries as the maps that they are, and instants with the name of their zone.
pub(crate) fn lists_to_maps(
    array: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, String> {
    if array.dtype() == to {
        return Ok(array.to_boxed());
    }
    let any = array.as_any();
    match (
        any.downcast_ref::<ListArray<i64>>(),
        any.downcast_ref::<StructArray>(),
        to,
    ) {
        (Some(list), _, ArrowDataType::Map(entries, _)) => {
            let offsets = OffsetsBuffer::<i32>::try_from(list.offsets());
            let offsets = offsets.map_err(|_| {
                "its maps have more than 2,147,483,647 entries in one group".to_string()
            })?;
            let entries = lists_to_maps(list.values().as_ref(), &entries.dtype)?;
            Ok(
                MapArray::try_new(to.clone(), offsets, entries, list.validity().cloned())
                    .map_err(error_text)?
                    .boxed(),
            )
        }
        (Some(_), _, ArrowDataType::LargeList(_)) | (_, Some(_), ArrowDataType::Struct(_)) => {
            map_inner_arrays(array, to, to.clone(), lists_to_maps)
        }
        (_, _, ArrowDataType::Timestamp(..))
            if matches!(array.dtype(), ArrowDataType::Timestamp(..)) =>
        {
            let mut zoned = array.to_boxed();
            *zoned.dtype_mut() = to.clone();
            Ok(zoned)
        }
        _ => Ok(array.to_boxed()),
    }
}

/// Maps as the lists of entries that they are stored as.
pub(crate) fn maps_to_lists(
    array: &dyn Array,
    to: &ArrowDataType,
) -> Result<Box<dyn Array>, String> {
    if array.dtype() == to {
        return Ok(array.to_boxed());
    }
    match (array.as_any().downcast_ref::<MapArray>(), to) {
        (Some(map), ArrowDataType::LargeList(entries)) => {
            let values = maps_to_lists(map.field().as_ref(), &entries.dtype)?;
            let offsets = OffsetsBuffer::from(map.offsets());
            ListArray::try_new(to.clone(), offsets, values, map.validity().cloned())
                .map(|list| list.boxed())
                .map_err(error_text)
        }
        (_, ArrowDataType::LargeList(_) | ArrowDataType::Struct(_)) => {
            map_inner_arrays(array, to, to.clone(), maps_to_lists)
        }
        _ => Ok(array.to_boxed()),
    }
}

/// The type of lists of entries in the place of maps.
pub(crate) fn type_with_maps_as_lists(dtype: &ArrowDataType) -> ArrowDataType {
    let field = |field: &Field| Field {
        dtype: type_with_maps_as_lists(&field.dtype),
        ..field.clone()
    };
    match dtype {
        ArrowDataType::Map(entries, _) => ArrowDataType::LargeList(Box::new(Field {
            is_nullable: false,
            ..field(entries)
        })),
        ArrowDataType::LargeList(inner) => ArrowDataType::LargeList(Box::new(field(inner))),
        ArrowDataType::Struct(fields) => ArrowDataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}
