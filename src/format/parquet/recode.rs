//! Decoding through polars, one row group at a time.
//!
//! Only types that `exact` lets through come here. Each row group is lifted into memory by plain reads, its pages are
//! unpacked and walked over, and polars gets them as a file of its own: so memory is bounded by a row group, a file that
//! shrinks or is damaged is an error, and one that has more rows than polars can count is no problem.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::parquet::errors::ParquetError as ParquetFailure;
use ::parquet::file::metadata::{FileMetaData, KeyValue as Note, ParquetMetaData, ParquetMetaDataWriter};
use ::parquet::schema::types::{SchemaDescriptor, Type};
use polars::prelude::{ArrowSchema, DataFrame, ParallelStrategy, ParquetReader, PolarsError, PolarsResult, Schema, SchemaExt, SerReader};
use polars_parquet::read::{infer_schema, read_metadata};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::chunks;
use super::codec::Codec;
use super::encode;
use super::footer::{self, Footer, RowGroup};
use super::moved::{Beside, Moved};
use super::notes;
use super::recompress::{self, Packed};
use super::shape;
use super::strict;
use super::thrift::{Fields, Value};
use super::writer::FileWriter;
use crate::error::catch_panic;
use crate::format::{Cut, Encoder, FormatError, Opened};

/// The bytes of a footer, about.
const ROOM: usize = 1 << 16;

/// Decodes the pieces of a cut, group by group.
pub(super) fn decode(cut: &Cut<'_>, each: &mut dyn FnMut(DataFrame) -> Result<(), FormatError>) -> Result<(), FormatError> {
    let mut current: Option<(usize, Opened, Footer)> = None;
    for piece in cut.pieces {
        if current.as_ref().is_none_or(|(file, ..)| *file != piece.file) {
            let source = cut.sources.open(piece.file)?;
            let footer = Footer::read(&source)?;
            current = Some((piece.file, source, footer));
        }
        let Some((file, source, footer)) = &current else { continue };
        let groups = match piece.group {
            Some(group) => group..group + 1,
            None => 0..footer.groups.len(),
        };
        for group in groups {
            if cut.interrupted.load(Ordering::Relaxed) {
                return Err(FormatError::Interrupted);
            }
            if footer.groups.get(group).is_none_or(|group| group.rows == 0) {
                continue;
            }
            match (piece.rows, cut.sources.shared()) {
                (Some((first, count)), Some(shared)) => {
                    let frame = shared.frame((*file, group), || decode_group(source, footer, group))?;
                    each(sliced(&frame, first, count))?;
                }
                (Some((first, count)), None) => each(sliced(&decode_group(source, footer, group)?, first, count))?,
                (None, _) => each(decode_group(source, footer, group)?)?,
            }
        }
    }
    Ok(())
}

fn sliced(frame: &DataFrame, first: u64, count: u64) -> DataFrame {
    frame.slice(i64::try_from(first).unwrap_or(i64::MAX), usize::try_from(count).unwrap_or(usize::MAX))
}

fn decode_group(source: &Opened, footer: &Footer, number: usize) -> Result<DataFrame, FormatError> {
    chunks::check_rows(source, footer, number)?;
    let group = &footer.groups[number];
    let rows = usize::try_from(group.rows).map_err(|error| footer::unsound(source, error.to_string()))?;
    if footer.leaves.is_empty() {
        return Ok(DataFrame::empty_with_height(rows));
    }
    let in_group = |what: String| footer::unsound(source, format!("row group {number}{what}"));
    let lift = |column: usize| {
        let (chunk, leaf) = (&group.chunks[column], &footer.leaves[column]);
        let bytes = recompress::read(&source.file, chunk).map_err(FormatError::at("read", &source.path))?;
        recompress::unpacked(&bytes, chunk, leaf, group.rows).map_err(|error| in_group(format!(", column {}: {error}", leaf.name())))
    };
    let columns = (0..group.chunks.len()).into_par_iter().map(lift).collect::<Result<Vec<_>, _>>()?;
    for (leaf, next) in (0..columns.len()).zip(1..columns.len()) {
        let (one, other) = (&footer.leaves[leaf], &footer.leaves[next]);
        if !columns[leaf].levels.agree(one, &columns[next].levels, other) {
            return Err(in_group(format!(": columns {} and {} differ in what is null above them", one.name(), other.name())));
        }
    }
    let nulls: Vec<usize> = columns.iter().map(|column| column.counts.nulls()).collect();
    let file = lifted(footer, Some((group, columns))).map_err(FormatError::at("read a row group of", &source.path))?;
    let frame = catch_panic(|| decode_file(file))
        .map_err(|panic| in_group(format!(" cannot be decoded: {panic}")))?
        .map_err(|error| in_group(format!(" cannot be decoded: {error}")))?;
    if frame.height() != rows {
        return Err(in_group(format!(" has {rows} rows, and {} were decoded", frame.height())));
    }
    // Polars makes null of what it takes for no value: a time outside a day.
    for (leaf, nulls) in footer.leaves.iter().zip(nulls).filter(|(leaf, _)| leaf.path.len() == 1 && leaf.max_repetition == 0) {
        let found = frame.column(&leaf.name()).map_or(0, polars::prelude::Column::null_count);
        if found != nulls {
            return Err(in_group(format!(", column {}: it has {nulls} nulls, and {found} were decoded", leaf.name())));
        }
    }
    Ok(frame)
}

fn decode_file(file: Vec<u8>) -> PolarsResult<DataFrame> {
    ParquetReader::new(Cursor::new(file)).read_parallel(ParallelStrategy::Columns).finish()
}

/// A group of unpacked columns as a file of its own in memory, which is what polars decodes; without a group, a file that
/// has the schema and no rows.
fn lifted(footer: &Footer, group: Option<(&RowGroup, Vec<Packed>)>) -> Result<Vec<u8>, FormatError> {
    let mut file = Fields::default();
    for id in [1, 5, 6] {
        file.set_or_remove(id, footer.file.get(id).cloned());
    }
    file.set(2, strict::schema(footer.file.list(2)));
    if footer.leaves.iter().any(|leaf| leaf.max_repetition > 0) {
        // Lists get the form that polars reads; the levels of their values are the same.
        let empty = whole(file.clone(), None)?;
        let empty = shape::with_readable_lists(empty).map_err(|error| FormatError::Encode(error.to_string()))?;
        file.set_or_remove(2, encode::footer_of(&empty)?.get(2).cloned());
    }
    whole(file, group)
}

fn whole(file: Fields, group: Option<(&RowGroup, Vec<Packed>)>) -> Result<Vec<u8>, FormatError> {
    // Pages of a large group are copied once, not again each time that there is no more room.
    let room = group.iter().flat_map(|(_, columns)| columns).map(|packed| packed.bytes.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(room + ROOM);
    let mut writer = FileWriter::new(Box::new(&mut bytes), file)?;
    if let Some((group, columns)) = group {
        let mut chunks = Vec::new();
        for (chunk, packed) in group.chunks.iter().zip(columns) {
            let mut moved =
                Moved::packed(chunk, Beside::default(), &packed, writer.at(), Codec::NONE.number).map_err(FormatError::Encode)?;
            moved.forget_statistics();
            // Of values and of places outside: nothing that a decoder needs.
            moved.meta.remove(8).remove(13).remove(16);
            writer.add(&packed.bytes)?;
            chunks.push(moved);
        }
        let mut fields = Fields::default();
        fields.set(3, Value::I64(i64::try_from(group.rows).unwrap_or(i64::MAX)));
        let filters = chunks.iter().map(|_| None).collect();
        writer.end_group(RowGroup { fields, rows: group.rows, chunks: Vec::new() }, chunks, filters)?;
    }
    writer.finish()?;
    Ok(bytes)
}

/// A frame with the columns of a file, and no rows.
pub(super) fn without_rows(source: &Opened) -> Result<DataFrame, FormatError> {
    empty(source, &Footer::read(source)?)
}

fn empty(source: &Opened, footer: &Footer) -> Result<DataFrame, FormatError> {
    if footer.leaves.is_empty() {
        return Ok(DataFrame::empty());
    }
    decode_file(lifted(footer, None)?).map_err(FormatError::at("decode", &source.path))
}

/// The schema of a file as polars reads it, with Arrow's metadata and without.
pub(super) fn arrow_schemas(source: &Opened, _: &ParquetMetaData) -> Result<(ArrowSchema, ArrowSchema), FormatError> {
    schemas(source, &Footer::read(source)?)
}

/// The same of a footer that was read.
fn schemas(source: &Opened, footer: &Footer) -> Result<(ArrowSchema, ArrowSchema), FormatError> {
    let bytes = lifted(footer, None)?;
    schemas_of(bytes).map_err(FormatError::at("read the schema of", &source.path))
}

fn schemas_of(file: Vec<u8>) -> PolarsResult<(ArrowSchema, ArrowSchema)> {
    let mut metadata = read_metadata(&mut Cursor::new(file))?;
    let labelled = infer_schema(&metadata)?;
    metadata.key_value_metadata = None;
    Ok((labelled, infer_schema(&metadata)?))
}

/// Reads and writes one column of a file without rows, by itself and with what Arrow's metadata says of it.
pub(super) fn copy_of_column(metadata: &ParquetMetaData, column: Arc<Type>) -> Result<(), FormatError> {
    let failed = |error: ParquetFailure| FormatError::Encode(error.to_string());
    let of_polars = |error: PolarsError| FormatError::Encode(error.to_string());
    let label = notes::arrow_schema_of(metadata, column.name());
    let file = metadata.file_metadata();
    let root = Type::group_type_builder("schema").with_fields(vec![column]).build().map_err(failed)?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let alone = FileMetaData::new(file.version(), 0, file.created_by().map(String::from), label, schema, None);
    let mut bytes = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut bytes, &ParquetMetaData::new(alone, Vec::new())).finish().map_err(failed)?;
    let bytes = shape::with_readable_lists(bytes).map_err(failed)?;
    let frame = decode_file(bytes.clone()).map_err(of_polars)?;
    let (labelled, plain) = schemas_of(bytes).map_err(of_polars)?;
    if labelled.len() != frame.width() {
        return Err(FormatError::Encode("it is no column for polars".into()));
    }
    let written = encode::as_in_source(frame.schema(), &plain);
    encode::begin(written, frame.schema().as_ref().clone(), Vec::new(), PathBuf::new(), &Codec::NONE, Box::new(Vec::new())).map(drop)
}

/// Begins a parquet file with the schema of `model` and these notes: names, nullability, field ids and Arrow's own types
/// stay what they were.
pub(super) fn encoder<'w>(
    model: &Opened,
    notes: Vec<Note>,
    codec: &Codec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let footer = Footer::read(model)?;
    let frame = empty(model, &footer)?;
    let (_, plain) = schemas(model, &footer)?;
    let schema = frame.schema().as_ref().clone();
    let written = encode::as_in_source(&schema, &plain);
    let pairs = notes.into_iter().map(|note| (note.key, note.value)).collect();
    encode::begin(written, schema, pairs, model.path.clone(), codec, out)
}

/// Begins a parquet file with columns that come from no file.
pub(super) fn encoder_of<'w>(
    columns: &ArrowSchema,
    codec: &Codec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let schema = Schema::from_arrow_schema(columns);
    encode::begin(columns.clone(), schema, Vec::new(), PathBuf::from("the columns of the home"), codec, out)
}
