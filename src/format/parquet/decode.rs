//! Decoding by polars-parquet, one row group at a time.
//!
//! Only types that `round_trip` lets through come here. Each row group is lifted into memory by
//! plain reads, its pages are unpacked and walked over, and polars gets them from there: so memory
//! is bounded by a row group, a file that shrinks or is damaged is an error, and one that has more
//! rows than polars can count is no problem.

use std::io::{Cursor, Write};
use std::sync::Arc;

use ::parquet::file::metadata::KeyValue as Note;
use polars_arrow::array::{Array, new_empty_array};
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::ArrowSchema;
use polars_buffer::Buffer;
use polars_error::PolarsResult;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::read::PageMetaData;
use polars_parquet::read::{BasicDecompressor, PageReader, column_iter_to_arrays, n_columns};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::codec::PageCodec;
use super::encode;
use super::footer::{self, Footer, RowGroup, undecodable};
use super::polars_schema;
use super::recompress::{self, RewrittenChunk};
use super::schema::{self, DecodedSchema, FileSchema, KeyValuePairs};
use super::splice;
use super::thrift::ThriftStruct;
use super::writer::FileWriter;
use crate::error::catch_panic;
use crate::format::batch::{RecordBatch, slice_batch};
use crate::format::{Encoder, FormatError, OpenFile, PartPieces};

/// Decodes the pieces of a cut, group by group; gives the rows that their footers say there are.
pub(super) fn decode(
    part: &PartPieces<'_>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let mut rows = 0;
    let mut current: Option<(usize, OpenFile, Arc<Footer>, DecodedSchema)> = None;
    for piece in part.pieces {
        if current
            .as_ref()
            .is_none_or(|(file, ..)| *file != piece.file)
        {
            let source = part.inputs.open(piece.file)?;
            let footer = Footer::read(&source)?;
            let read = read_schema(&footer)
                .map_err(FormatError::for_action("read the schema of", &source.path))?;
            current = Some((piece.file, source, footer, read));
        }
        let Some((file, source, footer, read)) = &current else {
            continue;
        };
        let groups = match piece.group {
            Some(group) => group..group + 1,
            None => 0..footer.groups.len(),
        };
        for group in groups {
            if part.interrupted.is_cancelled() {
                return Err(FormatError::Interrupted);
            }
            let of_group = footer.groups.get(group).map_or(0, |group| group.rows);
            if of_group == 0 {
                continue;
            }
            rows += piece.rows.map_or(of_group, |(_, count)| count);
            match (piece.rows, part.inputs.shared_groups()) {
                (Some((first, count)), Some(shared)) => {
                    let batch = shared.get_or_decode((*file, group), || {
                        decode_group(source, footer, read, group)
                    })?;
                    each(slice_batch(&batch, first, count))?;
                }
                (Some((first, count)), None) => each(slice_batch(
                    &decode_group(source, footer, read, group)?,
                    first,
                    count,
                ))?,
                (None, _) => each(decode_group(source, footer, read, group)?)?,
            }
        }
    }
    Ok(rows)
}

fn decode_group(
    source: &OpenFile,
    footer: &Footer,
    read: &DecodedSchema,
    number: usize,
) -> Result<RecordBatch, FormatError> {
    splice::check_rows(source, footer, number)?;
    let group = &footer.groups[number];
    let rows =
        usize::try_from(group.rows).map_err(|error| footer::unsound(source, error.to_string()))?;
    if footer.leaves.is_empty() {
        return Ok(RecordBatch::new(rows, Arc::default(), Vec::new()));
    }
    let in_group = |what: String| footer::unsound(source, format!("row group {number}{what}"));
    let lift = |column: usize| {
        let (chunk, leaf) = (&group.chunks[column], &footer.leaves[column]);
        let bytes = recompress::read_chunk(source.bytes.as_ref(), chunk)
            .map_err(FormatError::for_action("read", &source.path))?;
        recompress::decompress_chunk(&bytes, chunk, leaf, group.rows)
            .map_err(|error| in_group(format!(", column {}: {error}", leaf.name())))
    };
    let columns = (0..group.chunks.len())
        .into_par_iter()
        .map(lift)
        .collect::<Result<Vec<_>, _>>()?;
    for (leaf, next) in (0..columns.len()).zip(1..columns.len()) {
        let (one, other) = (&footer.leaves[leaf], &footer.leaves[next]);
        if !columns[leaf]
            .levels
            .agrees_with(one, &columns[next].levels, other)
        {
            return Err(in_group(format!(
                ": columns {} and {} differ in what is null above them",
                one.name(),
                other.name()
            )));
        }
    }
    let nulls: Vec<usize> = columns.iter().map(|column| column.counts.nulls()).collect();
    let arrays = catch_panic(|| decode_columns(group, columns, read))
        .map_err(|panic| in_group(format!(" cannot be decoded: {panic}")))?
        .map_err(|error| in_group(format!(" cannot be decoded: {error}")))?;
    if let Some(array) = arrays.iter().find(|array| array.len() != rows) {
        return Err(in_group(format!(
            " has {rows} rows, and {} were decoded",
            array.len()
        )));
    }
    let tops = read.arrow.iter_values().scan(0, |leaf, field| {
        let first = *leaf;
        *leaf += n_columns(&field.dtype);
        Some(first)
    });
    for (array, first) in arrays.iter().zip(tops) {
        let leaf = &footer.leaves[first];
        let (found, nulls) = (array.null_count(), nulls[first]);
        if leaf.path.len() == 1 && leaf.max_repetition == 0 && found != nulls {
            return Err(in_group(format!(
                ", column {}: it has {nulls} nulls, and {found} were decoded",
                leaf.name()
            )));
        }
    }
    RecordBatch::try_new(rows, read.arrow.clone(), arrays)
        .map_err(|error| in_group(format!(" cannot be decoded: {error}")))
}

/// The arrays of a group of unpacked columns, all at once.
fn decode_columns(
    group: &RowGroup,
    columns: Vec<RewrittenChunk>,
    read: &DecodedSchema,
) -> PolarsResult<Vec<Box<dyn Array>>> {
    let pages = group.chunks.iter().zip(columns).zip(&read.leaves);
    let mut pages = pages.map(|((chunk, packed), leaf)| {
        let values = i64::try_from(chunk.values).unwrap_or(i64::MAX);
        let of_column = PageMetaData::new(0, values, Compression::Uncompressed, leaf.clone());
        let bytes = Cursor::new(Buffer::from(packed.bytes));
        (
            BasicDecompressor::new(
                PageReader::new_with_page_meta(bytes, of_column, Vec::new(), usize::MAX),
                Vec::new(),
            ),
            &leaf.primitive_type,
        )
    });
    let parts: Vec<_> = read
        .arrow
        .iter_values()
        .map(|field| (field, pages.by_ref().take(n_columns(&field.dtype)).unzip()))
        .collect();
    let decoded = parts.into_par_iter().map(|(field, (pages, types))| {
        let (mut arrays, _) = column_iter_to_arrays(pages, types, field.clone(), None)?;
        match arrays.len() {
            0 => Ok(new_empty_array(field.dtype.clone())),
            1 => Ok(arrays.remove(0)),
            _ => concatenate(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        }
    });
    decoded.collect()
}

/// A file with the schema of another and no rows, in the form that polars reads.
fn empty_file(footer: &Footer) -> Result<Vec<u8>, FormatError> {
    let mut file = ThriftStruct::default();
    for id in [1, 5, 6] {
        file.set_or_remove(id, footer.fields.get(id).cloned());
    }
    file.set(2, polars_schema::readable_elements(footer.fields.list(2)));
    let mut bytes = Vec::new();
    FileWriter::new(Box::new(&mut bytes), file)?.finish()?;
    // Lists get the form that polars reads; the levels of their values are the same.
    if footer.leaves.iter().all(|leaf| leaf.max_repetition == 0) {
        Ok(bytes)
    } else {
        polars_schema::with_readable_lists(bytes).map_err(schema::encode_error)
    }
}

fn read_schema(footer: &Footer) -> Result<DecodedSchema, FormatError> {
    schema::read_schema(&empty_file(footer)?)
}

/// The columns of a file as they are decoded.
pub(super) fn arrow_schema(source: &OpenFile) -> Result<ArrowSchema, FormatError> {
    let footer = Footer::read(source)?;
    if footer.leaves.is_empty() {
        return Ok(ArrowSchema::default());
    }
    let read = read_schema(&footer)
        .map_err(FormatError::for_action("read the schema of", &source.path))?;
    Ok(read.with_arrow_labels())
}

/// The columns of a file as they are decoded and encoded, with these texts of the new file's own.
pub(super) fn file_schema(
    source: &OpenFile,
    footer: &Footer,
    pairs: KeyValuePairs,
) -> Result<FileSchema, FormatError> {
    let read =
        read_schema(footer).map_err(FormatError::for_action("read the schema of", &source.path))?;
    FileSchema::from_file(
        read,
        footer::read_metadata(source)?.as_ref(),
        footer.fields.list(2),
        pairs,
    )
    .map_err(|found| undecodable(source, found))
}

/// Begins a parquet file with the schema of `model` and these notes: names, nullability, field ids
/// and Arrow's own types stay what they were.
pub(super) fn encoder<'w>(
    model: &OpenFile,
    notes: Vec<Note>,
    codec: &PageCodec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let pairs = notes
        .into_iter()
        .map(|note| (note.key, note.value))
        .collect();
    encode::begin(
        file_schema(model, Footer::read(model)?.as_ref(), pairs)?,
        model.path.clone(),
        codec,
        out,
    )
}
