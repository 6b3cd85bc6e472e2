//! Parquet files of one's own, where the samples do not fit.

use std::fs::{self, File};
use std::io::Cursor;
use std::ops::Range;

use polars_arrow::array::{Array, PrimitiveArray, Utf8ViewArray, new_empty_array};
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_arrow::record_batch::RecordBatch;
use polars_buffer::Buffer;
use polars_parquet::read::{
    BasicDecompressor, PageReader, column_iter_to_arrays, infer_schema, n_columns, read_metadata,
};
use polars_parquet::write::{
    CompressionOptions, FileWriter, RowGroupIterator, StatisticsOptions, Version, WriteOptions,
    get_dtype_encoding,
};

use super::sandbox::Sandbox;

/// A file with one column of integers in one row group.
pub(crate) fn ints(sandbox: &Sandbox, name: &str, values: Range<i64>) {
    ints_in_groups(
        sandbox,
        name,
        values,
        usize::MAX,
        CompressionOptions::Snappy,
    );
}

/// A file with one column of integers in row groups of this size.
pub(crate) fn ints_in_groups(
    sandbox: &Sandbox,
    name: &str,
    values: Range<i64>,
    group: usize,
    compression: CompressionOptions,
) {
    let ids: Vec<i64> = values.collect();
    let mut groups: Vec<Columns> = ids
        .chunks(group.min(ids.len().max(1)))
        .map(|ids| vec![("id", numbers(ids))])
        .collect();
    if groups.is_empty() {
        groups.push(vec![("id", numbers(&[]))]);
    }
    write(sandbox, name, groups, compression);
}

/// A file with a column of integers and one of texts.
pub(crate) fn ints_and_texts(sandbox: &Sandbox, name: &str, values: Range<i64>) {
    let ids: Vec<i64> = values.clone().collect();
    let texts = Utf8ViewArray::from_slice_values(
        values
            .map(|value| format!("text {}", value % 17))
            .collect::<Vec<_>>(),
    );
    write(
        sandbox,
        name,
        vec![vec![("id", numbers(&ids)), ("text", texts.boxed())]],
        CompressionOptions::Snappy,
    );
}

type Columns = Vec<(&'static str, Box<dyn Array>)>;

fn numbers(values: &[i64]) -> Box<dyn Array> {
    PrimitiveArray::from_slice(values).boxed()
}

fn write(sandbox: &Sandbox, name: &str, groups: Vec<Columns>, compression: CompressionOptions) {
    sandbox.write(name, "");
    let field = |(name, array): &(&str, Box<dyn Array>)| {
        Field::new((*name).into(), array.dtype().clone(), true)
    };
    let schema: ArrowSchema = groups[0]
        .iter()
        .map(field)
        .map(|field| (field.name.clone(), field))
        .collect();
    let (statistics, version) = (StatisticsOptions::default(), Version::V1);
    let options = WriteOptions {
        statistics,
        version,
        compression,
        data_page_size: None,
    };
    let encodings: Buffer<_> = schema
        .iter_values()
        .map(|field| get_dtype_encoding(&field.dtype))
        .collect::<Vec<_>>()
        .into();
    let batch = |columns: Columns| {
        let arrays: Vec<_> = columns.into_iter().map(|(_, array)| array).collect();
        (
            arrays[0].len(),
            RecordBatch::new(arrays[0].len(), schema.clone().into(), arrays),
        )
    };
    let (heights, batches): (Vec<_>, Vec<_>) = groups.into_iter().map(batch).unzip();
    let written =
        RowGroupIterator::try_new(batches.into_iter().map(Ok), &schema, options, encodings)
            .expect("a schema");
    let mut writer = FileWriter::try_new(
        File::create(sandbox.path(name)).expect("a file"),
        schema.clone(),
        options,
    )
    .expect("a writer");
    for (height, group) in heights.into_iter().zip(written) {
        writer
            .write(height as u64, group.expect("a group"))
            .expect("a written group");
    }
    writer.end(None).expect("a written file");
}

/// What is in a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    /// The columns, in their order.
    pub(crate) columns: Vec<(String, Box<dyn Array>)>,
    /// How many there are.
    pub(crate) rows: usize,
}

impl Read {
    /// The values of a column of integers without nulls.
    pub(crate) fn ints(&self, name: &str) -> Vec<i64> {
        let (_, array) = self
            .columns
            .iter()
            .find(|(found, _)| found == name)
            .expect("the column");
        let array = array
            .as_any()
            .downcast_ref::<PrimitiveArray<i64>>()
            .expect("integers");
        assert_eq!(array.null_count(), 0);
        array.values().as_slice().to_vec()
    }
}

/// What is in a file.
pub(crate) fn read(sandbox: &Sandbox, name: &str) -> Read {
    let bytes = Buffer::from(fs::read(sandbox.path(name)).expect("a file"));
    let metadata = read_metadata(&mut Cursor::new(&bytes)).expect("a sound file");
    let columns = infer_schema(&metadata).expect("a schema");
    let mut left = 0;
    let column = |field: &Field| {
        let leaves = left..left + n_columns(&field.dtype);
        left = leaves.end;
        let mut arrays = vec![new_empty_array(field.dtype.clone())];
        for group in &metadata.row_groups {
            let chunks = &group.parquet_columns()[leaves.clone()];
            let pages = chunks.iter().map(|chunk| {
                let range = chunk.byte_range();
                let bytes = Cursor::new(
                    bytes
                        .clone()
                        .sliced(range.start as usize..range.end as usize),
                );
                BasicDecompressor::new(
                    PageReader::new(bytes, chunk, Vec::new(), usize::MAX),
                    Vec::new(),
                )
            });
            let types = chunks
                .iter()
                .map(|chunk| &chunk.descriptor().descriptor.primitive_type)
                .collect();
            arrays.extend(
                column_iter_to_arrays(pages.collect(), types, field.clone(), None)
                    .expect("values")
                    .0,
            );
        }
        (
            field.name.to_string(),
            concatenate(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>()).expect("one array"),
        )
    };
    Read {
        columns: columns.iter_values().map(column).collect(),
        rows: metadata.num_rows,
    }
}

/// The columns of [`orders`].
pub(crate) const ORDERS: &str = "[('id', pa.int64()), ('Order Total', pa.decimal128(10, 2)), ('state', pa.string()), ('day', pa.date32()), ('secret', pa.string())]";

/// Ten orders in two files.
pub(crate) fn orders(sandbox: &Sandbox) {
    for (name, first) in [("a", 0), ("b", 5)] {
        let rows = format!(
            "[{{'id': i, 'Order Total': decimal.Decimal(i * 150).scaleb(-2), 'state': None if i % 4 == 3 else 'PAID' if i % 2 else 'sent', \
             'day': datetime.date(2026, 1, 1 + i), 'secret': 'x'}} for i in range({first}, {first} + 5)]"
        );
        super::peers::parquet(sandbox, &format!("home/{name}.parquet"), ORDERS, &rows);
    }
}
