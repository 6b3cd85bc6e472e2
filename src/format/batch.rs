//! Record batches: rows of some columns, on their way from a decoder or a database to an encoder or
//! a table.

use std::sync::Arc;

use polars_arrow::array::{Array, new_empty_array};
use polars_arrow::compute::aggregate::estimated_bytes_size;
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::ArrowSchema;
pub use polars_arrow::record_batch::RecordBatch;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{FormatError, arrays};

/// Columns without a row.
pub fn empty(columns: &ArrowSchema) -> RecordBatch {
    let arrays = columns
        .iter_values()
        .map(|field| new_empty_array(field.dtype.clone()))
        .collect();
    RecordBatch::new(0, Arc::new(columns.clone()), arrays)
}

/// Some of the rows. Nothing is copied.
pub fn slice_batch(batch: &RecordBatch, first: u64, count: u64) -> RecordBatch {
    let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let first = bounded(first).min(batch.height());
    let count = bounded(count).min(batch.height() - first);
    let arrays = batch
        .arrays()
        .iter()
        .map(|array| array.sliced(first, count))
        .collect();
    RecordBatch::new(count, schema(batch), arrays)
}

/// The rows of all of them, one after another.
///
/// # Errors
/// Their columns differ, or there are none.
pub fn concat_batches(mut batches: Vec<RecordBatch>) -> Result<RecordBatch, FormatError> {
    let failed = |error: String| FormatError::Encode(error);
    if batches.len() == 1
        && let Some(batch) = batches.pop()
    {
        return Ok(batch);
    }
    let Some(first) = batches.first() else {
        return Err(failed("there are no rows to join".into()));
    };
    if let Some(other) = batches
        .iter()
        .find(|batch| batch.schema() != first.schema())
    {
        return Err(failed(format!(
            "rows of {:?} follow on rows of {:?}",
            other.schema(),
            first.schema()
        )));
    }
    let column = |number: usize| {
        let arrays: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.arrays()[number].as_ref())
            .collect();
        let dtype = arrays[0].dtype();
        let with_lists = arrays::type_with_maps_as_lists(dtype);
        if with_lists == *dtype {
            return concatenate(&arrays).map_err(|error| failed(error.to_string()));
        }
        // polars-arrow does not join maps.
        let lists = arrays
            .iter()
            .map(|array| arrays::maps_to_lists(*array, &with_lists))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let lists = concatenate(&lists.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            .map_err(|error| failed(error.to_string()))?;
        arrays::lists_to_maps(lists.as_ref(), dtype).map_err(failed)
    };
    let arrays = (0..first.width())
        .into_par_iter()
        .map(column)
        .collect::<Result<_, _>>()?;
    Ok(RecordBatch::new(
        batches.iter().map(|batch| batch.height()).sum(),
        schema(first),
        arrays,
    ))
}

/// What a text or some bytes take besides their letters.
pub const VIEW_BYTES: usize = 16;

/// About how many bytes of memory the values of a batch of texts take.
pub fn memory_bytes(batch: &RecordBatch) -> u64 {
    let values = batch.height() * batch.arrays().len();
    batch_bytes(batch) + (values * VIEW_BYTES) as u64
}

/// About how many bytes a batch takes in memory.
pub fn batch_bytes(batch: &RecordBatch) -> u64 {
    let arrays = batch.arrays().iter();
    arrays
        .map(|array| estimated_bytes_size(array.as_ref()) as u64)
        .sum()
}

/// polars-arrow lends a batch's schema, and shares it only with who takes the batch.
fn schema(batch: &RecordBatch) -> Arc<ArrowSchema> {
    batch.clone().into_schema_and_arrays().0
}
