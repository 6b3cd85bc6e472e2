//! Rows that wait in files of hygge's own until those that belong to them have come: batches of
//! Arrow IPC, which are not packed.

use std::io::Write;
use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;

use super::Ipc;
use crate::format::batch::RecordBatch;
use crate::format::{Compression, Encoder, FormatError, PartPieces, Reader, Writer};

const UNCOMPRESSED: Compression = Compression {
    name: "uncompressed",
    level: None,
};

/// Begins a file; each batch that is written is a group of it.
///
/// # Errors
/// It cannot be written.
pub fn begin<'w>(
    columns: &ArrowSchema,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    Ipc::default().begin(columns, UNCOMPRESSED, out)
}

/// Hands groups of such files on as they were, with these columns.
///
/// # Errors
/// A file cannot be read.
pub fn decode(
    groups: &PartPieces<'_>,
    columns: &Arc<ArrowSchema>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let reader = Ipc::default();
    let rows = reader.decode(groups, &mut |batch| {
        let height = batch.height();
        let (_, arrays) = batch.into_schema_and_arrays();
        let batch = RecordBatch::try_new(height, columns.clone(), arrays);
        each(batch.map_err(|error| FormatError::Encode(error.to_string()))?)
    });
    rows.map(drop)
}
