//! Decoding and encoding through polars, one row group at a time.
//!
//! Only types that `exact` lets through come here. Each row group is lifted into memory by plain
//! reads and handed to polars as a file of its own: so memory is bounded by a row group, a file
//! that shrinks is an error, and one that has more rows than polars can count is no problem.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::parquet::errors::ParquetError as ParquetFailure;
use ::parquet::file::metadata::{FileMetaData, KeyValue as Note, ParquetMetaData};
use ::parquet::schema::types::{SchemaDescriptor, Type};
use polars::prelude::{
    ArrowDataType, ArrowField, ArrowSchema, CompatLevel, DataFrame, ParallelStrategy, ParquetReader, PolarsError, PolarsResult, Schema,
    SchemaExt, SerReader, StatisticsOptions,
};
use polars_parquet::parquet::error::ParquetError;
use polars_parquet::parquet::metadata::KeyValue;
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::read::{infer_schema, read_metadata};
use polars_parquet::write::{
    CompressionOptions, Compressor, DynIter, DynStreamingIterator, Encoding, FileWriter, Version, WriteOptions, get_dtype_encoding,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::codec::Codec;
use super::{chunks, footer, notes, required, shape};
use crate::format::{Cut, Encoder, FormatError, Opened};

/// The bytes of an encoded page before compression, set so that no environment variable sets it.
const PAGE_BYTES: usize = 1 << 20;

/// Decodes the pieces of a cut, group by group.
pub(super) fn decode(cut: &Cut<'_>, each: &mut dyn FnMut(DataFrame) -> Result<(), FormatError>) -> Result<(), FormatError> {
    let mut current: Option<(usize, Opened, ParquetMetaData)> = None;
    for piece in cut.pieces {
        if current.as_ref().is_none_or(|(file, ..)| *file != piece.file) {
            let source = cut.sources.open(piece.file)?;
            let metadata = footer::read(&source)?;
            current = Some((piece.file, source, metadata));
        }
        let Some((_, source, metadata)) = &current else { continue };
        let groups = match piece.group {
            Some(group) => group..group + 1,
            None => 0..metadata.num_row_groups(),
        };
        for group in groups {
            if cut.interrupted.load(Ordering::Relaxed) {
                return Err(FormatError::Interrupted);
            }
            if metadata.row_group(group).num_rows() > 0 {
                each(decode_group(source, metadata, Some(group), piece.rows)?)?;
            }
        }
    }
    Ok(())
}

fn decode_group(
    source: &Opened,
    metadata: &ParquetMetaData,
    group: Option<usize>,
    rows: Option<(u64, u64)>,
) -> Result<DataFrame, FormatError> {
    let bytes = lift(source, metadata, group)?;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let slice = if group.is_none() { Some((0, 0)) } else { rows.map(|(first, count)| (number(first), number(count))) };
    ParquetReader::new(Cursor::new(bytes))
        .read_parallel(ParallelStrategy::Columns)
        .with_slice(slice)
        .finish()
        .map_err(FormatError::at("decode", &source.path))
}

/// A row group as a file of its own, with lists that polars reads; without a group, a file without rows.
fn lift(source: &Opened, metadata: &ParquetMetaData, group: Option<usize>) -> Result<Vec<u8>, FormatError> {
    let bytes = chunks::lift_group(source, metadata, group)?;
    shape::with_readable_lists(bytes).map_err(FormatError::at("read a row group of", &source.path))
}

/// A frame with the columns of a file, and no rows.
pub(super) fn without_rows(source: &Opened) -> Result<DataFrame, FormatError> {
    decode_group(source, &footer::read(source)?, None, None)
}

/// Reads and writes one column of a file without rows, by itself and with what Arrow's metadata says of it.
pub(super) fn copy_of_column(source: &Opened, metadata: &ParquetMetaData, column: Arc<Type>) -> Result<(), FormatError> {
    let failed = |error: ParquetFailure| FormatError::Encode(error.to_string());
    let label = notes::arrow_schema_of(metadata, column.name());
    let file = metadata.file_metadata();
    let root = Type::group_type_builder("schema").with_fields(vec![column]).build().map_err(failed)?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let alone = FileMetaData::new(file.version(), 0, file.created_by().map(String::from), label, schema, None);
    let alone = ParquetMetaData::new(alone, Vec::new());
    let frame = decode_group(source, &alone, None, None)?;
    let (labelled, _) = arrow_schemas(source, &alone)?;
    let written = frame.schema().iter_fields().map(|field| field.to_arrow(CompatLevel::newest())).map(|field| (field.name.clone(), field));
    let options = WriteOptions {
        statistics: StatisticsOptions::default(),
        version: Version::V1,
        compression: CompressionOptions::Uncompressed,
        data_page_size: None,
    };
    FileWriter::try_new(Vec::new(), written.collect(), options).map_err(encode)?;
    if labelled.len() == frame.width() { Ok(()) } else { Err(FormatError::Encode("it is no column for polars".into())) }
}

/// The schema of a file as polars reads it, with Arrow's metadata and without.
pub(super) fn arrow_schemas(source: &Opened, metadata: &ParquetMetaData) -> Result<(ArrowSchema, ArrowSchema), FormatError> {
    let read = || -> PolarsResult<(ArrowSchema, ArrowSchema)> {
        let bytes = lift(source, metadata, None).map_err(|error| PolarsError::ComputeError(error.to_string().into()))?;
        let mut metadata = read_metadata(&mut Cursor::new(bytes))?;
        let labelled = infer_schema(&metadata)?;
        metadata.key_value_metadata = None;
        Ok((labelled, infer_schema(&metadata)?))
    };
    read().map_err(FormatError::at("read the schema of", &source.path))
}

/// Begins a parquet file with the schema of `model` and these notes: names, nullability, field ids and Arrow's own types
/// stay what they were.
pub(super) fn encoder<'w>(
    model: &Opened,
    notes: Vec<Note>,
    codec: &Codec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let metadata = footer::read(model)?;
    let frame = decode_group(model, &metadata, None, None)?;
    let (_, plain) = arrow_schemas(model, &metadata)?;
    let schema = frame.schema().as_ref().clone();
    let written: ArrowSchema = schema
        .iter_fields()
        .map(|field| {
            let field = field.to_arrow(CompatLevel::newest());
            let field = match plain.get(&field.name) {
                Some(source) => as_in_source(field, source),
                None => field,
            };
            (field.name.clone(), field)
        })
        .collect();
    let pairs = notes.into_iter().map(|pair| KeyValue { key: pair.key, value: pair.value }).collect();
    begin(written, schema, pairs, model.path.clone(), codec, out)
}

/// Begins a parquet file with columns that come from no file.
pub(super) fn encoder_of<'w>(
    columns: &ArrowSchema,
    codec: &Codec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let schema = Schema::from_arrow_schema(columns);
    begin(columns.clone(), schema, Vec::new(), PathBuf::from("the columns of the home"), codec, out)
}

fn begin<'w>(
    written: ArrowSchema,
    schema: Schema,
    pairs: Vec<KeyValue>,
    model: PathBuf,
    codec: &Codec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let encodings = written.iter_values().map(|field| get_dtype_encoding(&field.dtype)).collect();
    let options = WriteOptions {
        statistics: StatisticsOptions::default(),
        version: Version::V1,
        compression: codec.options,
        data_page_size: Some(PAGE_BYTES),
    };
    let writer = FileWriter::try_new(out, written, options).map_err(encode)?;
    Ok(Box::new(GroupWriter { writer, encodings, options, schema, pairs, model }))
}

/// Gives a field, and the fields in it, the nullability and the ids that it had in the source.
fn as_in_source(mut field: ArrowField, source: &ArrowField) -> ArrowField {
    field.is_nullable = source.is_nullable;
    field.metadata = source.metadata.clone();
    field.dtype = match (field.dtype, &source.dtype) {
        (ArrowDataType::LargeList(inner), ArrowDataType::LargeList(from)) => ArrowDataType::LargeList(Box::new(as_in_source(*inner, from))),
        (ArrowDataType::FixedSizeList(inner, width), ArrowDataType::FixedSizeList(from, _) | ArrowDataType::LargeList(from)) => {
            ArrowDataType::FixedSizeList(Box::new(as_in_source(*inner, from)), width)
        }
        (ArrowDataType::Struct(fields), ArrowDataType::Struct(from)) if fields.len() == from.len() => {
            ArrowDataType::Struct(fields.into_iter().zip(from).map(|(field, from)| as_in_source(field, from)).collect())
        }
        (other, _) => other,
    };
    field
}

struct GroupWriter<'w> {
    writer: FileWriter<Box<dyn Write + Send + 'w>>,
    encodings: Vec<Vec<Encoding>>,
    options: WriteOptions,
    schema: Schema,
    pairs: Vec<KeyValue>,
    model: PathBuf,
}

impl GroupWriter<'_> {
    /// Encodes and compresses the columns of one group, all at once: that is where the time goes.
    fn pages(&self, frame: &DataFrame) -> PolarsResult<Vec<Vec<CompressedPage>>> {
        let options = self.options;
        let mut groups = Vec::new();
        for batch in frame.iter_chunks(CompatLevel::newest(), false) {
            let fields = self.writer.parquet_schema().fields();
            let columns: Vec<_> = batch.into_arrays().into_iter().zip(fields).zip(&self.encodings).collect();
            let leaves = columns
                .into_par_iter()
                .map(|((array, field), encodings)| required::pages(array, field.clone(), options, encodings))
                .collect::<PolarsResult<Vec<_>>>()?;
            let leaves: Vec<_> =
                leaves.into_iter().flatten().map(|pages| pages.collect::<PolarsResult<Vec<_>>>()).collect::<PolarsResult<_>>()?;
            let compressed = leaves
                .into_par_iter()
                .map(|pages| {
                    let pages = pages.into_iter().map(Ok::<_, ParquetError>);
                    let compressed = Compressor::new(pages, options.compression, Vec::new());
                    Ok(compressed.collect::<Result<Vec<_>, _>>()?)
                })
                .collect::<PolarsResult<Vec<_>>>()?;
            groups.extend(compressed);
        }
        Ok(groups)
    }
}

impl Encoder for GroupWriter<'_> {
    fn write(&mut self, mut frame: DataFrame) -> Result<(), FormatError> {
        check_types(&frame, &self.schema, &self.model)?;
        if frame.height() == 0 {
            return Ok(());
        }
        // One chunk, so that it becomes one row group.
        frame.rechunk_mut_par();
        let columns = self.pages(&frame).map_err(encode)?;
        let columns = columns.iter().map(|pages| {
            let pages = polars_parquet::parquet::fallible_streaming_iterator::convert(pages.iter().map(PolarsResult::Ok));
            Ok(DynStreamingIterator::new(pages))
        });
        self.writer.write(frame.height() as u64, DynIter::new(columns)).map_err(encode)
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        let pairs = std::mem::take(&mut self.pairs);
        self.writer.end(Some(pairs)).map(drop).map_err(encode)
    }
}

/// Packed files may agree in parquet's types and still differ in Arrow's, time zones among them.
fn check_types(frame: &DataFrame, schema: &Schema, model: &Path) -> Result<(), FormatError> {
    let found = frame.schema();
    match schema.iter().find(|(name, dtype)| found.get(name) != Some(dtype)) {
        None => Ok(()),
        Some((name, dtype)) => {
            let found = found.get(name).map_or_else(|| "missing".to_string(), |found| format!("{found:?}"));
            Err(FormatError::Encode(format!("column {name} is {found}, and {dtype:?} in {}", model.display())))
        }
    }
}

fn encode(error: impl std::fmt::Display) -> FormatError {
    FormatError::Encode(error.to_string())
}
