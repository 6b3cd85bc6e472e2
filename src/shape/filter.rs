//! Rows of arrays that are chosen.

use polars_arrow::array::builder::{ArrayBuilder, ShareStrategy, make_builder};
use polars_arrow::array::{Array, BinaryViewArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::bitmap::utils::SlicesIterator;
use polars_compute::filter::filter_with_bitmap;
use polars_utils::IdxSize;

use super::error::RowError;
use crate::format::arrays::{lists_to_maps, maps_to_lists, type_with_maps_as_lists};
use crate::format::batch::RecordBatch;

/// The rows of an array that are chosen. polars-compute forgets what numbers stand for.
pub(super) fn filter_array(array: &dyn Array, chosen: &Bitmap) -> Result<Box<dyn Array>, RowError> {
    let wrong = |error: String| RowError::new(None, error);
    let with_lists = type_with_maps_as_lists(array.dtype());
    if with_lists == *array.dtype() {
        return Ok(filter_plain(array, chosen));
    }
    // polars-arrow has no builder of maps.
    let lists = maps_to_lists(array, &with_lists).map_err(wrong)?;
    let made = filter_plain(lists.as_ref(), chosen);
    lists_to_maps(made.as_ref(), array.dtype()).map_err(wrong)
}

fn filter_plain(array: &dyn Array, chosen: &Bitmap) -> Box<dyn Array> {
    let (made, dtype) = (filter_with_bitmap(array, chosen), array.dtype());
    // Views would keep all texts of their batch, of which few are left.
    if made.len() < array.len() / 2 {
        if let Some(texts) = made.as_any().downcast_ref::<Utf8ViewArray>() {
            return texts.clone().gc().boxed();
        }
        if let Some(bytes) = made.as_any().downcast_ref::<BinaryViewArray>() {
            return bytes.clone().gc().boxed();
        }
    }
    macro_rules! restored {
        ($($number:ty),*) => {
            $(if let Some(found) = made.as_any().downcast_ref::<PrimitiveArray<$number>>() {
                return found.clone().to(dtype.clone()).boxed();
            })*
        };
    }
    if made.dtype() != dtype {
        restored!(i32, i64, i128);
    }
    made
}

/// The rows of an array at these places, in their order.
pub(super) fn gather_rows(
    array: &dyn Array,
    places: &[IdxSize],
) -> Result<Box<dyn Array>, RowError> {
    let wrong = |error: String| RowError::new(None, error);
    let gathered = |array: &dyn Array| {
        let mut made = make_builder(array.dtype());
        made.opt_gather_extend(array, places, ShareStrategy::Always);
        made.freeze()
    };
    let with_lists = type_with_maps_as_lists(array.dtype());
    if with_lists == *array.dtype() {
        return Ok(gathered(array));
    }
    let lists = maps_to_lists(array, &with_lists).map_err(wrong)?;
    lists_to_maps(gathered(lists.as_ref()).as_ref(), array.dtype()).map_err(wrong)
}

/// The rows of a batch that are chosen.
pub(super) fn filter_batch(batch: &RecordBatch, chosen: &Bitmap) -> Result<RecordBatch, RowError> {
    let arrays = batch.arrays().iter();
    let arrays = arrays.map(|array| filter_array(array.as_ref(), chosen));
    let arrays = arrays.collect::<Result<_, _>>()?;
    let schema = batch.schema().clone().into();
    RecordBatch::try_new(chosen.set_bits(), schema, arrays)
        .map_err(|error| RowError::new(None, error.to_string()))
}

/// An array that has the values of another where rows are chosen, one after another, and null
/// elsewhere.
pub(super) fn scatter(array: &dyn Array, chosen: &Bitmap) -> Box<dyn Array> {
    let mut made = make_builder(array.dtype());
    made.reserve(chosen.len());
    let (mut end, mut taken) = (0, 0);
    for (start, length) in SlicesIterator::new(chosen) {
        made.extend_nulls(start - end);
        made.subslice_extend(array, taken, length, ShareStrategy::Always);
        taken += length;
        end = start + length;
    }
    made.extend_nulls(chosen.len() - end);
    made.freeze()
}

/// The row that the chosen row of this number is.
pub(super) fn chosen_row(chosen: &Bitmap, number: usize) -> Option<usize> {
    chosen.true_idx_iter().nth(number)
}
