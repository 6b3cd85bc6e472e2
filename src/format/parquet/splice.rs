//! Moving row groups: column chunks are spliced into a new file, no value is decoded.
//!
//! What a footer says of a chunk is taken over as a tree, and only the places and sizes in it are
//! changed: so statistics, filters, indexes and types that no library of ours knows stay what they
//! were.

use std::io::Write;
use std::sync::Arc;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::codec::PageCodec;
use super::footer::{self, ColumnChunk, Footer, RowGroup};
use super::key_value_metadata;
use super::recompress::{self, recompress_chunk};
use super::relocated::{ChunkIndexes, RelocatedChunk};
use super::thrift::ThriftValue;
use super::writer::FileWriter;
use crate::format::{FormatError, OpenFile, PartPieces};

/// The bytes that are copied at once.
const BLOCK: u64 = 1 << 20;

/// Moves the pieces of a cut, whole groups all, into one file, with the codec that is asked for.
/// Gives the rows.
pub(super) fn move_groups(
    part: &PartPieces<'_>,
    codec: Option<&PageCodec>,
    out: Box<dyn Write + Send + '_>,
) -> Result<u64, FormatError> {
    let mut current = CurrentFile::open(part, 0)?;
    let first = StatisticsContext::new(&current);
    let mut file = current.footer.fields.clone();
    if let Some(notes) =
        key_value_metadata::edited_for_part(part, &current.source, &current.footer)?
    {
        file.set(5, notes);
    }
    let mut writer = FileWriter::new(out, file)?;
    for (number, piece) in part.pieces.iter().enumerate() {
        if part.pieces[current.piece].file != piece.file {
            current = CurrentFile::open(part, number)?;
        }
        let (source, footer) = (&current.source, &current.footer);
        let groups = match piece.group {
            Some(group) => group..group + 1,
            None => 0..footer.groups.len(),
        };
        for number in groups {
            if part.interrupted.is_cancelled() {
                return Err(FormatError::Interrupted);
            }
            let Some(group) = footer.groups.get(number) else {
                return Err(footer::unsound(
                    source,
                    format!("it has no row group {number}"),
                ));
            };
            // Writers leave empty groups without pages, and no reader asks for them.
            if group.rows > 0 {
                check_rows(source, footer, number)?;
                splice_group(
                    &mut writer,
                    source,
                    footer,
                    number,
                    codec,
                    first.same_as(&current),
                )?;
            }
        }
    }
    writer.finish()
}

/// A column without lists has as many values as its group has rows, and its levels are counted one
/// by one or not at all.
pub(super) fn check_rows(
    source: &OpenFile,
    footer: &Footer,
    number: usize,
) -> Result<(), FormatError> {
    let group = &footer.groups[number];
    let flat = footer
        .leaves
        .iter()
        .zip(&group.chunks)
        .filter(|(leaf, _)| leaf.max_repetition == 0);
    for (leaf, chunk) in flat {
        if chunk.values != group.rows {
            let (values, rows) = (chunk.values, group.rows);
            let what = format!(
                "row group {number}, column {}: it has {values} values, and the row group {rows} rows",
                leaf.name()
            );
            return Err(footer::unsound(source, what));
        }
    }
    for (leaf, chunk) in footer.leaves.iter().zip(&group.chunks) {
        let counted = |id: i16| {
            chunk
                .meta
                .get_struct(16)
                .map_or(0, |sizes| sizes.list(id).len())
        };
        for (id, most) in [(2, leaf.max_repetition), (3, leaf.max_definition)] {
            if ![0, most as usize + 1].contains(&counted(id)) {
                let what = format!(
                    "row group {number}, column {}: it counts {} levels of {}",
                    leaf.name(),
                    counted(id),
                    most + 1
                );
                return Err(footer::unsound(source, what));
            }
        }
    }
    Ok(())
}

/// The file that is moved from at the moment.
struct CurrentFile {
    piece: usize,
    source: OpenFile,
    footer: Arc<Footer>,
}

impl CurrentFile {
    fn open(part: &PartPieces<'_>, piece: usize) -> Result<Self, FormatError> {
        let source = part.inputs.open(part.pieces[piece].file)?;
        let footer = Footer::read(&source)?;
        Ok(Self {
            piece,
            source,
            footer,
        })
    }
}

/// By what readers judge the statistics of a part.
struct StatisticsContext {
    created_by: Option<ThriftValue>,
    column_orders: Option<ThriftValue>,
}

impl StatisticsContext {
    fn new(first: &CurrentFile) -> Self {
        let field = |id: i16| first.footer.fields.get(id).cloned();
        Self {
            created_by: field(6),
            column_orders: field(7),
        }
    }

    /// True where readers judge the statistics of another file as they should: by the name of the
    /// writer that made them, and by the order that the footer says for the columns.
    fn same_as(&self, other: &CurrentFile) -> bool {
        let file = &other.footer.fields;
        file.get(6) == self.created_by.as_ref() && file.get(7) == self.column_orders.as_ref()
    }
}

/// Takes a row group over; its chunks are packed anew where their codec is not the one asked for,
/// all at once: that is where the time goes.
fn splice_group(
    writer: &mut FileWriter<'_>,
    source: &OpenFile,
    footer: &Footer,
    number: usize,
    codec: Option<&PageCodec>,
    keeps_statistics: bool,
) -> Result<(), FormatError> {
    let group = &footer.groups[number];
    let in_column = |column: usize, error: String| {
        footer::unsound(
            source,
            format!(
                "row group {number}, column {}: {error}",
                footer.leaves[column].name()
            ),
        )
    };
    let packed = |column: usize| {
        let chunk = &group.chunks[column];
        let packs = codec
            .filter(|codec| codec.recompresses_all || codec.id != chunk.codec)
            .filter(|_| chunk.length > 0);
        let pack = |codec: &PageCodec| {
            let bytes = recompress::read_chunk(source.bytes.as_ref(), chunk)
                .map_err(FormatError::for_action("read", &source.path))?;
            recompress_chunk(&bytes, chunk, codec).map_err(|error| in_column(column, error))
        };
        packs.map(pack).transpose()
    };
    let columns = 0..group.chunks.len();
    let packed = columns
        .into_par_iter()
        .map(packed)
        .collect::<Result<Vec<_>, _>>()?;
    let mut chunks = Vec::new();
    let mut filters = Vec::new();
    for (column, (chunk, packed)) in group.chunks.iter().zip(packed).enumerate() {
        let beside = ChunkIndexes::read(source, chunk);
        filters.push(beside.filter.clone());
        let moved = match packed {
            Some(packed) => {
                let number = codec.map_or(chunk.codec, |codec| codec.id);
                let moved = RelocatedChunk::from_recompressed(
                    chunk,
                    beside,
                    &packed,
                    writer.position(),
                    number,
                );
                writer.write_bytes(&packed.bytes)?;
                moved
            }
            None => {
                let moved = RelocatedChunk::from_copied(chunk, beside, writer.position());
                copy(writer, source, chunk)?;
                moved
            }
        };
        let mut moved = moved.map_err(|error| in_column(column, error))?;
        if !keeps_statistics {
            moved.drop_statistics();
        }
        chunks.push(moved);
    }
    writer.end_group(
        RowGroup {
            chunks: Vec::new(),
            ..group.clone()
        },
        chunks,
        filters,
    )
}

/// Copies the bytes of a chunk as they are.
fn copy(
    writer: &mut FileWriter<'_>,
    source: &OpenFile,
    chunk: &ColumnChunk,
) -> Result<(), FormatError> {
    let mut block = vec![0; usize::try_from(chunk.length.min(BLOCK)).unwrap_or_default()];
    let mut done = 0;
    while done < chunk.length {
        let count = usize::try_from((chunk.length - done).min(BLOCK)).unwrap_or_default();
        source
            .bytes
            .read_exact_at(&mut block[..count], chunk.start + done)
            .map_err(FormatError::for_action("read", &source.path))?;
        writer.write_bytes(&block[..count])?;
        done += count as u64;
    }
    Ok(())
}
