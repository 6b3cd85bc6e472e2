//! The pages of one column, with what polars' own way from an array to them does not do.
//!
//! Some fields must be there in groups that may not be: polars makes the fields of a group null
//! where the group is, and then does not write them as REQUIRED. Whether values are there is told
//! by the levels of the group: so levels are made by the schema that the fields shall have, and
//! values are written as if they could be missing.

use polars_arrow::array::{Array, FixedSizeBinaryArray, ListArray, PrimitiveArray, StructArray};
use polars_arrow::bitmap::{Bitmap, and_not};
use polars_arrow::compute::utils::combine_validities_and;
use polars_arrow::datatypes::ArrowDataType;
use polars_error::{PolarsError, PolarsResult};
use polars_parquet::parquet::page::Page;
use polars_parquet::parquet::schema::Repetition;
use polars_parquet::parquet::schema::types::{ParquetType, PhysicalType};
use polars_parquet::write::{
    CompressionOptions, DynIter, Encoding, StatisticsOptions, Version, WriteOptions,
    array_to_columns, array_to_pages, to_leaves, to_nested, to_parquet_leaves,
};
use polars_utils::float16::pf16;

/// The bytes of an encoded page before compression, set so that no environment variable sets it.
const PAGE_BYTES: usize = 1 << 20;

/// Nothing is compressed by polars, and no bound is cut: both are done here.
pub(super) const OPTIONS: WriteOptions = WriteOptions {
    statistics: StatisticsOptions {
        min_value: true,
        max_value: true,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: Some(0),
    },
    version: Version::V1,
    compression: CompressionOptions::Uncompressed,
    data_page_size: Some(PAGE_BYTES),
};

/// The same where bounds are found here.
pub(super) const WITHOUT_BOUNDS: WriteOptions = WriteOptions {
    statistics: StatisticsOptions {
        min_value: false,
        max_value: false,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: Some(0),
    },
    ..OPTIONS
};

type LeafPages = DynIter<'static, PolarsResult<Page>>;

/// The pages of each leaf of a column.
pub(super) fn encode_pages(
    array: Box<dyn Array>,
    kind: ParquetType,
    options: WriteOptions,
    encodings: &[Encoding],
) -> PolarsResult<Vec<LeafPages>> {
    let is_ours = has_required_in_optional(&kind, false)
        || array.dtype().is_nested() && has_fixed_bytes(&kind);
    if !is_ours {
        return array_to_columns(array, kind, options, encodings);
    }
    let counted = without_implied_nulls(array.as_ref(), &kind, None)?;
    let levels = to_nested(counted.as_ref(), &kind)?;
    let mut values = Vec::new();
    to_leaves(array.as_ref(), &mut values);
    let leaves = values
        .iter()
        .zip(levels)
        .zip(to_parquet_leaves(kind))
        .zip(encodings);
    let pages = leaves.map(|(((values, levels), mut kind), encoding)| {
        if kind.field_info.repetition == Repetition::Required && values.null_count() > 0 {
            kind.field_info.repetition = Repetition::Optional;
        }
        array_to_pages(
            as_numbers(values.as_ref())?.as_ref(),
            kind,
            &levels,
            options,
            *encoding,
        )
    });
    pages.collect()
}

/// Bytes of fixed length as numbers of the same bits: polars writes no other ones inside of a list
/// or a group.
fn as_numbers(values: &dyn Array) -> PolarsResult<Box<dyn Array>> {
    let Some(bytes) = values.as_any().downcast_ref::<FixedSizeBinaryArray>() else {
        return Ok(values.to_boxed());
    };
    let wrong = |_| PolarsError::InvalidOperation("bytes of fixed length are no numbers".into());
    let (values, validity) = (bytes.values().clone(), bytes.validity().cloned());
    Ok(match bytes.size() {
        2 => PrimitiveArray::<pf16>::new(
            ArrowDataType::Float16,
            values.try_transmute().map_err(wrong)?,
            validity,
        )
        .boxed(),
        16 => PrimitiveArray::<i128>::new(
            ArrowDataType::Int128,
            values.try_transmute().map_err(wrong)?,
            validity,
        )
        .boxed(),
        width => {
            return Err(PolarsError::InvalidOperation(
                format!("{width} bytes of fixed length inside of a list or a group").into(),
            ));
        }
    })
}

fn has_fixed_bytes(kind: &ParquetType) -> bool {
    match kind {
        ParquetType::GroupType { fields, .. } => fields.iter().any(has_fixed_bytes),
        ParquetType::PrimitiveType(leaf) => {
            matches!(leaf.physical_type, PhysicalType::FixedLenByteArray(_))
        }
    }
}

/// True where something must be there in what may be missing.
fn has_required_in_optional(kind: &ParquetType, is_in_optional: bool) -> bool {
    let repetition = kind.get_field_info().repetition;
    let ParquetType::GroupType { fields, .. } = kind else {
        return is_in_optional && repetition == Repetition::Required;
    };
    let is_in_optional = is_in_optional || repetition == Repetition::Optional;
    fields
        .iter()
        .any(|field| has_required_in_optional(field, is_in_optional))
}

/// The array with no nulls in what must be there, as long as they only repeat that something around
/// it is missing. `there` says where all around it is.
fn without_implied_nulls(
    array: &dyn Array,
    kind: &ParquetType,
    there: Option<&Bitmap>,
) -> PolarsResult<Box<dyn Array>> {
    let is_required = kind.get_field_info().repetition == Repetition::Required;
    let validity = array
        .validity()
        .filter(|validity| validity.unset_bits() > 0);
    if let Some(validity) = validity.filter(|_| is_required) {
        let missing = there.map_or(validity.unset_bits(), |there| {
            and_not(there, validity).set_bits()
        });
        if missing > 0 {
            let error = format!(
                "column {}: {missing} values are missing, and it must have all",
                kind.name()
            );
            return Err(PolarsError::InvalidOperation(error.into()));
        }
    }
    let kept = if is_required { None } else { validity.cloned() };
    let ParquetType::GroupType { fields, .. } = kind else {
        return Ok(array.with_validity(kept));
    };
    let elements = || match fields.first() {
        Some(ParquetType::GroupType { fields, .. }) => fields.first(),
        _ => None,
    };
    let any = array.as_any();
    if let Some(group) = any.downcast_ref::<StructArray>() {
        let there = combine_validities_and(there, kept.as_ref());
        let values = group
            .values()
            .iter()
            .zip(fields)
            .map(|(array, kind)| without_implied_nulls(array.as_ref(), kind, there.as_ref()));
        return Ok(StructArray::new(
            group.dtype().clone(),
            group.len(),
            values.collect::<PolarsResult<_>>()?,
            kept,
        )
        .boxed());
    }
    if let (Some(list), Some(kind)) = (any.downcast_ref::<ListArray<i64>>(), elements()) {
        let values = without_implied_nulls(list.values().as_ref(), kind, None)?;
        return Ok(ListArray::<i64>::new(
            list.dtype().clone(),
            list.offsets().clone(),
            values,
            kept,
        )
        .boxed());
    }
    Ok(array.with_validity(kept))
}
