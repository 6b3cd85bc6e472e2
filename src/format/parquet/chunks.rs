//! Moving row groups: column chunks are spliced into a new file, no value is decoded.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::parquet::bloom_filter::Sbbf;
use ::parquet::column::writer::ColumnCloseResult;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, ParquetMetaData, SortingColumn};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::codec::{self, Codec};
use super::footer;
use super::notes;
use super::recompress::{Chunk, recompress};
use crate::format::{Cut, FormatError, Opened};

type ChunkWriter<'w> = SerializedFileWriter<Box<dyn Write + Send + 'w>>;

/// Moves the pieces of a cut, whole groups all, into one file, with the codec that is asked for.
/// Gives the rows.
pub(super) fn move_groups(cut: &Cut<'_>, codec: Option<&Codec>, out: Box<dyn Write + Send + '_>) -> Result<u64, FormatError> {
    let mut current = Current::open(cut, 0)?;
    let is_one_file = cut.pieces.iter().all(|piece| piece.file == cut.pieces[0].file);
    let created_by = current.metadata.file_metadata().created_by().map(String::from);
    let sorting = if is_one_file { sorting(&current.metadata) } else { None };
    let notes = notes::of_cut(cut, &current.metadata)?;
    let mut writer = writer(&current.metadata, notes, sorting, out).map_err(encode)?;
    for (number, piece) in cut.pieces.iter().enumerate() {
        if cut.pieces[current.piece].file != piece.file {
            current = Current::open(cut, number)?;
        }
        let (source, metadata) = (&current.source, &current.metadata);
        let groups = match piece.group {
            Some(group) => group..group + 1,
            None => 0..metadata.num_row_groups(),
        };
        for group in groups {
            if cut.interrupted.load(Ordering::Relaxed) {
                return Err(FormatError::Interrupted);
            }
            // Writers leave empty groups without pages, which cannot be spliced.
            if metadata.row_group(group).num_rows() > 0 {
                let keeps_statistics = created_by.as_deref() == metadata.file_metadata().created_by();
                splice(&mut writer, source, metadata, group, codec, keeps_statistics)
                    .map_err(FormatError::at("move a row group of", &source.path))?;
            }
        }
    }
    let written = writer.close().map_err(encode)?;
    u64::try_from(written.file_metadata().num_rows()).map_err(|error| FormatError::Encode(error.to_string()))
}

/// The file that is moved from at the moment.
struct Current {
    piece: usize,
    source: Opened,
    metadata: ParquetMetaData,
}

impl Current {
    fn open(cut: &Cut<'_>, piece: usize) -> Result<Self, FormatError> {
        let source = cut.sources.open(cut.pieces[piece].file)?;
        let metadata = footer::read_with_page_index(&source)?;
        Ok(Self { piece, source, metadata })
    }
}

/// The columns by which every group of a file is sorted.
fn sorting(metadata: &ParquetMetaData) -> Option<Vec<SortingColumn>> {
    let sorting = metadata.row_groups().first().and_then(|group| group.sorting_columns());
    sorting.filter(|_| metadata.row_groups().iter().all(|group| group.sorting_columns() == sorting)).cloned()
}

/// One row group as a file of its own in memory, which is what polars decodes; without a group, a
/// file that has the schema and no rows.
pub(super) fn lift_group(source: &Opened, metadata: &ParquetMetaData, group: Option<usize>) -> Result<Vec<u8>, FormatError> {
    let lift = || -> Result<Vec<u8>, ParquetError> {
        let mut bytes = Vec::new();
        let notes = metadata.file_metadata().key_value_metadata().cloned();
        let mut writer = writer(metadata, notes, None, Box::new(&mut bytes))?;
        if let Some(group) = group {
            splice(&mut writer, source, metadata, group, None, true)?;
        }
        writer.close()?;
        Ok(bytes)
    };
    lift().map_err(FormatError::at("read a row group of", &source.path))
}

fn writer<'w>(
    model: &ParquetMetaData,
    notes: Option<Vec<KeyValue>>,
    sorting: Option<Vec<SortingColumn>>,
    out: Box<dyn Write + Send + 'w>,
) -> Result<ChunkWriter<'w>, ParquetError> {
    let file = model.file_metadata();
    let mut properties = WriterProperties::builder().set_key_value_metadata(notes).set_sorting_columns(sorting);
    // Readers judge old statistics by the name of the writer that made them.
    if let Some(name) = file.created_by() {
        properties = properties.set_created_by(name.to_string());
    }
    SerializedFileWriter::new(out, file.schema_descr().root_schema_ptr(), Arc::new(properties.build()))
}

/// Takes a row group over; its chunks are packed anew where their codec is not the one asked for,
/// all at once: that is where the time goes.
fn splice(
    writer: &mut ChunkWriter<'_>,
    source: &Opened,
    metadata: &ParquetMetaData,
    group: usize,
    codec: Option<&Codec>,
    keeps_statistics: bool,
) -> Result<(), ParquetError> {
    let columns = 0..metadata.row_group(group).num_columns();
    let chunks = columns.map(|column| chunk(source, metadata, group, column, keeps_statistics)).collect::<Result<Vec<_>, _>>()?;
    let packed = |close: ColumnCloseResult| -> Result<(ColumnCloseResult, Option<Chunk>), ParquetError> {
        let codec = codec.filter(|codec| codec.packs_all || codec::word(close.metadata.compression()) != codec.word);
        let in_column = |error| ParquetError::General(format!("column {}: {error}", close.metadata.column_path().string()));
        let packed = codec.map(|codec| recompress(&source.file, close.clone(), codec)).transpose().map_err(in_column)?;
        Ok((close, packed))
    };
    let chunks = chunks.into_par_iter().map(packed).collect::<Result<Vec<_>, _>>()?;
    let mut to = writer.next_row_group()?;
    for (close, packed) in chunks {
        match packed {
            Some(packed) => to.append_column(&packed.bytes, packed.close)?,
            None => to.append_column(&source.file, close)?,
        }
    }
    to.close()?;
    Ok(())
}

/// What the writer of a chunk said of it.
fn chunk(
    source: &Opened,
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    keeps_statistics: bool,
) -> Result<ColumnCloseResult, ParquetError> {
    let from = metadata.row_group(group);
    let chunk = from.column(column).clone();
    // Some writers say 0 where there is no dictionary.
    let dictionary = chunk.dictionary_page_offset().filter(|offset| *offset > 0);
    let chunk = chunk.into_builder().set_dictionary_page_offset(dictionary);
    let chunk = if keeps_statistics { chunk } else { chunk.clear_statistics() }.build()?;
    let indexes = metadata.page_index().filter(|_| keeps_statistics);
    Ok(ColumnCloseResult {
        bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or_default(),
        rows_written: u64::try_from(from.num_rows()).unwrap_or_default(),
        bloom_filter: Sbbf::read_from_column_chunk(&chunk, &source.file)?,
        metadata: chunk,
        column_index: indexes.and_then(|index| index.column_index(group, column)).cloned(),
        offset_index: indexes.and_then(|index| index.offset_index(group, column)).cloned(),
    })
}

fn encode(error: ParquetError) -> FormatError {
    FormatError::Encode(error.to_string())
}
