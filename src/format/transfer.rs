//! From home to part: whether files are moved or decoded, and what is decoded between two formats.
//!
//! Files of one format are moved by its own [`Passthrough`](super::Passthrough). Nothing else looks
//! at two formats at once.

use std::io::{self, Write};

use polars_arrow::datatypes::ArrowSchema;

use super::batch::{RecordBatch, concatenated};
use super::{
    Compression, Cut, Encoder, Format, FormatError, Layout, Opened, Passthrough, Target, Writer,
};

/// Batches with fewer rows are joined: each becomes a group of the other format.
const GROUP_ROWS: usize = 1 << 17;

/// How data gets from home to part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMode {
    /// Nothing is decoded: files pass whole, or as groups where they are cut or packed.
    Undecoded,
    /// Groups pass, and what is in them is packed with another compression; no value is decoded.
    Recompressed {
        /// One of the target format's.
        compression: Compression,
    },
    /// Everything is decoded and encoded with this compression.
    Decoded {
        /// One of the target format's.
        compression: Compression,
    },
}

impl TransferMode {
    /// How files of these layouts become parts of `target`.
    ///
    /// # Errors
    /// They cannot.
    pub fn new(
        source: &dyn Format,
        layouts: &[&Layout],
        target: &Target,
    ) -> Result<Self, FormatError> {
        match passthrough(source, target) {
            Some(passthrough) => passthrough.transfer(layouts, target),
            None => Ok(Self::Decoded {
                compression: target.compression_of_rows()?,
            }),
        }
    }
}

impl Target {
    /// What writes its files.
    ///
    /// # Errors
    /// Files of its format are only read.
    pub fn writer(&self) -> Result<&dyn Writer, FormatError> {
        self.format.writer().ok_or_else(|| {
            FormatError::Encode(format!(
                "{} is a format that is only read",
                self.format.id()
            ))
        })
    }

    /// The compression of parts whose rows come from no file of the format, whose compression
    /// cannot be kept.
    ///
    /// # Errors
    /// Files of its format are only read.
    pub fn compression_of_rows(&self) -> Result<Compression, FormatError> {
        Ok(if self.compression.word == "keep" {
            self.writer()?.own_compression()
        } else {
            self.compression
        })
    }

    /// Begins a part whose rows come from no file of the format.
    ///
    /// # Errors
    /// A column that the format cannot hold as it is.
    pub fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        self.writer()?
            .begin(columns, self.compression_of_rows()?, out)
    }
}

/// That of the target, whose options decide how files are built.
fn passthrough<'t>(source: &dyn Format, target: &'t Target) -> Option<&'t dyn Passthrough> {
    target
        .format
        .passthrough()
        .filter(|_| source.id() == target.format.id())
}

/// Refuses a sound file that has a column which would not arrive in a part of `target` as it is,
/// once it is decoded. Nothing is decoded to find that out.
///
/// # Errors
/// The first such column.
pub fn check_recodable(
    source: &dyn Format,
    file: &Opened,
    target: &Target,
) -> Result<(), FormatError> {
    if let Some(passthrough) = passthrough(source, target) {
        return passthrough.recodable(file);
    }
    let columns = source.reader().readable_columns(file)?;
    target.begin(&columns, Box::new(io::sink())).map(drop)
}

/// Moves whole groups into a part without decoding them, with another compression where one is
/// given; gives their rows.
///
/// # Errors
/// A group cannot be read, or not written.
pub fn move_groups(
    source: &dyn Format,
    cut: &Cut<'_>,
    target: &Target,
    compression: Option<Compression>,
    out: Box<dyn Write + Send + '_>,
) -> Result<u64, FormatError> {
    match passthrough(source, target) {
        Some(passthrough) => passthrough.move_groups(cut, compression, out),
        None => Err(FormatError::Encode(format!(
            "groups of {} cannot be moved",
            source.id()
        ))),
    }
}

/// Decodes the pieces of a part and encodes their rows; gives their number.
///
/// # Errors
/// A piece cannot be decoded, or its rows cannot be written.
pub fn recode(
    source: &dyn Format,
    cut: &Cut<'_>,
    target: &Target,
    compression: Compression,
    out: Box<dyn Write + Send + '_>,
) -> Result<u64, FormatError> {
    if let Some(passthrough) = passthrough(source, target) {
        return passthrough.recode(cut, compression, out);
    }
    let first = cut.open_first()?;
    let columns = source.reader().arrow_columns(&first)?;
    let mut encoder = target.writer()?.begin(&columns, compression, out)?;
    let (mut rows, mut waiting) = (0, Waiting::default());
    source.reader().decode(cut, &mut |batch| {
        rows += batch.height() as u64;
        waiting
            .add(batch)
            .map_or(Ok(()), |batches| encoder.write(concatenated(batches)?))
    })?;
    if !waiting.batches.is_empty() {
        encoder.write(concatenated(waiting.batches)?)?;
    }
    encoder.finish()?;
    Ok(rows)
}

/// Batches that wait for others.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Waiting {
    /// One more; all of them where they are enough.
    fn add(&mut self, batch: RecordBatch) -> Option<Vec<RecordBatch>> {
        self.rows += batch.height();
        self.batches.push(batch);
        (self.rows >= GROUP_ROWS).then(|| {
            self.rows = 0;
            std::mem::take(&mut self.batches)
        })
    }
}
