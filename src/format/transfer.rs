//! From home to part: whether files are moved or decoded, and what is decoded between two formats.
//!
//! Files of one format are moved by its own [`Passthrough`](super::Passthrough). Nothing else looks
//! at two formats at once.

use std::io::{self, Write};

use polars_arrow::datatypes::ArrowSchema;
use tokio_util::sync::CancellationToken;

use super::batch::{RecordBatch, concat_batches, memory_bytes};
use super::projection::{PlacedRows, ProjectedRows, Projection};
use super::shared_groups::SharedGroups;
use super::{
    Compression, Encoder, Format, FormatError, GroupBounds, InputFiles, Layout, OpenFile,
    OutputSpec, PartPieces, Passthrough, Piece, Writer,
};
use crate::error::Error;
use crate::shape::BoundPartitions;

/// Batches with fewer rows are joined: each becomes a group of the other format.
const GROUP_ROWS: usize = 1 << 17;

/// About how many bytes of values are enough for a group, where they are counted.
const GROUP_BYTES: u64 = 64 << 20;

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
        target: &OutputSpec,
    ) -> Result<Self, FormatError> {
        match passthrough(source, target) {
            Some(passthrough) => passthrough.transfer_mode(layouts, target),
            None => Ok(Self::Decoded {
                compression: target.compression_for_rows()?,
            }),
        }
    }

    /// How a file becomes parts of `target` whose columns are not the file's own.
    ///
    /// # Errors
    /// It cannot.
    pub fn for_projected(
        source: &dyn Format,
        layout: &Layout,
        target: &OutputSpec,
    ) -> Result<Self, FormatError> {
        if layout.encrypted {
            return Err(FormatError::Encrypted);
        }
        let keeps = target.compression.name == "keep" && passthrough(source, target).is_some();
        let compression = if keeps {
            super::common_compression(target.writer()?, &[layout])?
        } else {
            target.compression_for_rows()?
        };
        Ok(Self::Decoded { compression })
    }
}

impl OutputSpec {
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
    pub fn compression_for_rows(&self) -> Result<Compression, FormatError> {
        Ok(if self.compression.name == "keep" {
            self.writer()?.default_compression()
        } else {
            self.compression
        })
    }

    /// Refuses columns that a part could not have. Nothing is written.
    ///
    /// # Errors
    /// A column that the format cannot hold as it is, or that no folder can be called after.
    pub fn check_columns(&self, columns: &ArrowSchema) -> Result<(), FormatError> {
        let partitions = self.partition_by.as_ref();
        let partitions = partitions.map(|partitions| BoundPartitions::new(partitions, columns));
        let partitions = partitions.transpose()?;
        let columns = partitions
            .as_ref()
            .map_or(columns, |partitions| partitions.schema());
        self.begin(columns, Box::new(io::sink())).map(drop)
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
            .begin(columns, self.compression_for_rows()?, out)
    }
}

/// That of the target, whose options decide how files are built.
fn passthrough<'t>(source: &dyn Format, target: &'t OutputSpec) -> Option<&'t dyn Passthrough> {
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
    file: &OpenFile,
    projection: Option<&Projection>,
    target: &OutputSpec,
) -> Result<(), FormatError> {
    let passthrough = passthrough(source, target).filter(|_| projection.is_none());
    if let Some(passthrough) = passthrough {
        return passthrough.check_recodable(file);
    }
    let columns = match projection {
        Some(projection) => {
            let file = &with_read_columns(source, file.clone(), projection)?;
            let own = projectable_schema(source, file, target)?;
            projected_schema(source, (file, &own), projection, target)?
        }
        None => source.reader().readable_schema(file)?,
    };
    target.check_columns(&columns)
}

/// Moves whole groups into a part without decoding them, with another compression where one is
/// given; gives their rows.
///
/// # Errors
/// A group cannot be read, or not written.
pub fn move_groups(
    source: &dyn Format,
    part: &PartPieces<'_>,
    target: &OutputSpec,
    compression: Option<Compression>,
    out: Box<dyn Write + Send + '_>,
) -> Result<u64, FormatError> {
    match passthrough(source, target) {
        Some(passthrough) => passthrough.move_groups(part, compression, out),
        None => Err(FormatError::Encode(format!(
            "groups of {} cannot be moved",
            source.id()
        ))),
    }
}

/// The rows of a part that was decoded, as both sides counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecodedRows {
    /// Rows that the pieces have.
    pub read: u64,
    /// Those of them that were left out.
    pub filtered: u64,
    /// Rows that the part has.
    pub written: u64,
}

/// Decodes the pieces of a part and encodes their rows.
///
/// # Errors
/// A piece cannot be decoded, or its rows cannot be written.
pub fn recode(
    source: &dyn Format,
    part: &PartPieces<'_>,
    target: &OutputSpec,
    compression: Compression,
    out: Box<dyn Write + Send + '_>,
) -> Result<RecodedRows, FormatError> {
    if let Some(passthrough) = passthrough(source, target) {
        return passthrough.recode(part, compression, out);
    }
    let first = part.open_first()?;
    let columns = source.reader().arrow_schema(&first)?;
    let encoder = target.writer()?.begin(&columns, compression, out)?;
    encode_decoded(source, encoder, |each| {
        Ok((source.reader().decode(part, each)?, 0))
    })
}

/// Encodes what is decoded, in groups of a size; `decode` hands rows on, and gives how many there
/// were and how many of these it left out.
fn encode_decoded(
    source: &dyn Format,
    encoder: Box<dyn Encoder + '_>,
    decode: impl FnOnce(
        &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<(u64, u64), FormatError>,
) -> Result<RecodedRows, FormatError> {
    let mut groups = JoinedGroups::new(encoder);
    let counts_bytes = source.reader().has_loose_batches();
    let (read, filtered) = decode(&mut |batch| {
        let bytes = if counts_bytes {
            memory_bytes(&batch)
        } else {
            0
        };
        groups.write(batch, bytes)
    })?;
    let written = groups.finish()?;
    Ok(RecodedRows {
        read,
        filtered,
        written,
    })
}

/// A file of which only those columns are looked at that its projection reads.
fn with_read_columns(
    source: &dyn Format,
    file: OpenFile,
    projection: &Projection,
) -> Result<OpenFile, FormatError> {
    let names = source.reader().column_names(&file)?;
    Ok(file.with_columns(projection.wanted(&names)))
}

/// Files of which only those columns are looked at that are read.
struct ReadColumns<'a> {
    source: &'a dyn Format,
    inputs: &'a dyn InputFiles,
    files: &'a dyn ProjectedFiles,
}

impl InputFiles for ReadColumns<'_> {
    fn open(&self, file: usize) -> Result<OpenFile, Error> {
        let opened = self.inputs.open(file)?;
        match self.files.projection(file) {
            Some(projection) => Ok(with_read_columns(self.source, opened, projection)?),
            None => Ok(opened),
        }
    }

    fn shared_groups(&self) -> Option<&SharedGroups> {
        self.inputs.shared_groups()
    }
}

/// One file of a part, which is open already.
struct OneFile<'a> {
    opened: &'a OpenFile,
    shared: Option<&'a SharedGroups>,
}

impl InputFiles for OneFile<'_> {
    fn open(&self, _: usize) -> Result<OpenFile, Error> {
        Ok(self.opened.clone())
    }

    fn shared_groups(&self) -> Option<&SharedGroups> {
        self.shared
    }
}

/// The columns that a file has for its flow, and what becomes of them; nothing is decoded for it.
///
/// # Errors
/// A column that is read, and cannot be.
pub fn flow_schema(
    source: &dyn Format,
    file: OpenFile,
    projection: Option<&Projection>,
) -> Result<ArrowSchema, FormatError> {
    match projection {
        None => source.reader().readable_schema(&file),
        Some(projection) => {
            let file = with_read_columns(source, file, projection)?;
            projection.schema(&source.reader().readable_schema(&file)?)
        }
    }
}

/// The columns of a part that is made of a file, which has these itself, by a projection.
fn projected_schema(
    source: &dyn Format,
    (file, own): (&OpenFile, &ArrowSchema),
    projection: &Projection,
    target: &OutputSpec,
) -> Result<ArrowSchema, FormatError> {
    let mut columns = projection.schema(own)?;
    if source.id() == target.format.id() {
        let metadata = source.reader().metadata_for_own_format(file)?;
        *columns.metadata_mut() = projection.metadata_of(metadata);
    }
    Ok(columns)
}

/// The columns of a sound file whose values and types can all be projected.
fn projectable_schema(
    source: &dyn Format,
    file: &OpenFile,
    target: &OutputSpec,
) -> Result<ArrowSchema, FormatError> {
    let own = source.reader().readable_schema(file).map_err(|error| match error {
        FormatError::Undecodable {
            path,
            column,
            reason,
            ..
        } => FormatError::Undecodable {
            path,
            column,
            reason,
            hint: "files that are given other columns than their own are decoded: give the home files without the column",
        },
        other => other,
    })?;
    if source.id() == target.format.id() {
        source.reader().check_projectable(file)?;
    }
    Ok(own)
}

/// Files whose columns are not those of their flow.
pub trait ProjectedFiles: Sync {
    /// The columns that a file has for its flow.
    fn projection(&self, file: usize) -> Option<&Projection>;

    /// Which row of its file is the first of a piece.
    fn first_row(&self, piece: &Piece) -> u64;
}

/// A part that is made of files by their projections.
pub struct ProjectedPart<'a> {
    source: &'a dyn Format,
    files: &'a dyn ProjectedFiles,
    pieces: &'a [Piece],
    interrupted: &'a CancellationToken,
    inputs: ReadColumns<'a>,
}

impl<'a> ProjectedPart<'a> {
    /// The part of these pieces.
    pub fn new(
        source: &'a dyn Format,
        part: &PartPieces<'a>,
        files: &'a dyn ProjectedFiles,
    ) -> Self {
        let inputs = ReadColumns {
            source,
            inputs: part.inputs,
            files,
        };
        Self {
            source,
            files,
            pieces: part.pieces,
            interrupted: part.interrupted,
            inputs,
        }
    }

    fn part(&self) -> PartPieces<'_> {
        PartPieces {
            inputs: &self.inputs,
            pieces: self.pieces,
            interrupted: self.interrupted,
        }
    }

    fn projection(&self, file: usize) -> Result<&'a Projection, FormatError> {
        let projection = self.files.projection(file);
        projection.ok_or_else(|| FormatError::Encode("a file of it is not projected".into()))
    }

    /// The columns that come out.
    ///
    /// # Errors
    /// The first file cannot be read, or its columns do not fit what is to become of them.
    pub fn schema(&self, target: &OutputSpec) -> Result<ArrowSchema, FormatError> {
        let part = self.part();
        let first = part.open_first()?;
        let own = self.source.reader().arrow_schema(&first)?;
        let projection = self.projection(part.first_file())?;
        projected_schema(self.source, (&first, &own), projection, target)
    }

    /// Decodes the pieces, makes of each what its file's projection says, and hands that on.
    /// Gives how many rows there were, and how many of these were left out.
    ///
    /// # Errors
    /// A piece cannot be decoded, or has a value that its column cannot hold.
    pub fn decode(
        &self,
        each: &mut dyn FnMut(PlacedRows<'_>) -> Result<(), FormatError>,
    ) -> Result<(u64, u64), FormatError> {
        let (source, part) = (self.source, self.part());
        let (mut read, mut filtered) = (0, 0);
        // The pieces of one file are rows one behind the other.
        for pieces in part.pieces.chunk_by(|one, other| one.file == other.file) {
            let Some(first) = pieces.first() else {
                continue;
            };
            // What was read of its head is not read again for each of its runs.
            let opened = part.inputs.open(first.file)?;
            let inputs = OneFile {
                opened: &opened,
                shared: part.inputs.shared_groups(),
            };
            let part = PartPieces {
                inputs: &inputs,
                ..part
            };
            let own = source.reader().arrow_schema(&opened)?;
            let first_row = self.files.first_row(first);
            let mut rows = self
                .projection(first.file)?
                .rows(&own, &opened.path, first_row)?;
            let groups = match rows.filter_columns() {
                columns if columns.is_empty() => Vec::new(),
                columns => source.reader().group_bounds(&opened, &columns)?,
            };
            for run in runs_of(pieces, &groups, &rows) {
                match run {
                    Run::Decoded(pieces) => {
                        let pieces = PartPieces {
                            pieces: &pieces,
                            ..part
                        };
                        read += source.reader().decode(&pieces, &mut |batch| {
                            let placed = rows.next(&batch)?;
                            filtered += placed.shaped.filtered;
                            each(placed)
                        })?;
                    }
                    Run::Skipped(count) => {
                        rows.skip(count);
                        read += count;
                        filtered += count;
                    }
                }
            }
        }
        Ok((read, filtered))
    }

    /// The same, encoded.
    ///
    /// # Errors
    /// As [`ProjectedPart::decode`], or its rows cannot be written.
    pub fn recode(
        &self,
        target: &OutputSpec,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<RecodedRows, FormatError> {
        let columns = self.schema(target)?;
        let encoder = target.writer()?.begin(&columns, compression, out)?;
        encode_decoded(self.source, encoder, |each| {
            self.decode(&mut |placed| each(placed.shaped.rows))
        })
    }
}

/// What becomes of pieces of a file that stand one behind the other.
enum Run {
    /// They are decoded.
    Decoded(Vec<Piece>),
    /// None of their so many rows comes.
    Skipped(u64),
}

/// The pieces of a file, which has these groups where it says something of them, in their order.
fn runs_of(pieces: &[Piece], groups: &[GroupBounds], rows: &ProjectedRows<'_>) -> Vec<Run> {
    if groups.is_empty() {
        return vec![Run::Decoded(pieces.to_vec())];
    }
    let mut runs = Vec::new();
    for piece in single_groups(pieces, groups.len()) {
        let group = piece.group.and_then(|group| groups.get(group));
        let skipped = group.filter(|group| rows.leaves_out(&group.columns));
        match (skipped, runs.last_mut()) {
            (Some(group), _) => {
                let count = piece.rows.map_or(group.rows, |(_, count)| count);
                runs.push(Run::Skipped(count));
            }
            (None, Some(Run::Decoded(pieces))) => pieces.push(piece),
            (None, _) => runs.push(Run::Decoded(vec![piece])),
        }
    }
    runs
}

/// Pieces of which each lies in one group of a file, which has so many.
fn single_groups(pieces: &[Piece], groups: usize) -> Vec<Piece> {
    let groups_of = |piece: &Piece| match piece.group {
        Some(group) => group..group + 1,
        None => 0..groups,
    };
    let single = |piece: &Piece| {
        let piece = *piece;
        groups_of(&piece).map(move |group| Piece {
            group: Some(group),
            ..piece
        })
    };
    pieces.iter().flat_map(single).collect()
}

/// Joins batches, until they are large enough for a group.
pub struct JoinedGroups<'e> {
    encoder: Box<dyn Encoder + 'e>,
    waiting: Vec<RecordBatch>,
    rows: usize,
    bytes: u64,
}

impl<'e> JoinedGroups<'e> {
    /// Groups of a file.
    pub fn new(encoder: Box<dyn Encoder + 'e>) -> Self {
        Self {
            encoder,
            waiting: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// One more batch, whose values take so many bytes where that is to count.
    ///
    /// # Errors
    /// A group cannot be written.
    pub fn write(&mut self, batch: RecordBatch, bytes: u64) -> Result<(), FormatError> {
        self.rows += batch.height();
        self.bytes += bytes;
        self.waiting.push(batch);
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// What is waiting becomes a group.
    fn end_group(&mut self) -> Result<(), FormatError> {
        (self.rows, self.bytes) = (0, 0);
        match std::mem::take(&mut self.waiting) {
            waiting if waiting.is_empty() => Ok(()),
            waiting => self.encoder.write(concat_batches(waiting)?),
        }
    }

    /// Ends the file; gives its rows.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<u64, FormatError> {
        self.end_group()?;
        self.encoder.finish()
    }
}
