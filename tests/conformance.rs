//! What every implementation of a trait must hold, whichever it is: a new one runs through the
//! same.

mod format;
mod home;
mod storage;
mod store;
mod uncounted;

use std::sync::Arc;

use hygge::error::Error;
use hygge::flow::factory::formats;
use hygge::format::batch::RecordBatch;
use hygge::format::{Compression, Format, FormatError, InputFiles, OpenFile, PartPieces};
use hygge::storage::Location;

/// One file, as the only one of a flow.
pub(crate) struct OnlyFile(pub(crate) Location);

impl InputFiles for OnlyFile {
    fn open(&self, _: usize) -> Result<OpenFile, Error> {
        Ok(OpenFile::new(&self.0)?)
    }
}

/// The formats that write too: what they write is read as it was.
fn written_formats() -> impl Iterator<Item = Arc<dyn Format>> {
    formats().filter(|format| format.writer().is_some())
}

/// A file of these batches.
fn encode(format: &dyn Format, compression: Compression, batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let writer = format.writer().expect("a writer");
    let mut encoder = writer
        .begin(batches[0].schema(), compression, Box::new(&mut bytes))
        .expect("a file");
    for batch in batches {
        encoder.write(batch.clone()).expect("rows");
    }
    encoder.finish().expect("an end");
    bytes
}

/// The rows of a part.
pub(crate) fn decode(
    format: &dyn Format,
    part: &PartPieces<'_>,
) -> Result<Vec<RecordBatch>, FormatError> {
    let mut batches = Vec::new();
    format.reader().decode(part, &mut |batch| {
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches)
}
