//! Parquet files of one's own, where the samples do not fit.

use std::fs::File;
use std::ops::Range;

use polars::prelude::{Column, DataFrame, ParquetCompression, ParquetReader, ParquetWriter, SerReader};

use super::sandbox::Sandbox;

/// A file with one column of integers in one row group.
pub(crate) fn ints(sandbox: &Sandbox, name: &str, values: Range<i64>) {
    ints_in_groups(sandbox, name, values, usize::MAX, ParquetCompression::Snappy);
}

/// A file with one column of integers in row groups of this size.
pub(crate) fn ints_in_groups(sandbox: &Sandbox, name: &str, values: Range<i64>, group: usize, compression: ParquetCompression) {
    sandbox.write(name, "");
    let values: Vec<i64> = values.collect();
    let mut frame = DataFrame::new(values.len(), vec![Column::new("id".into(), values)]).expect("a frame");
    let file = File::create(sandbox.path(name)).expect("a file");
    let group = Some(group.min(frame.height().max(1)));
    ParquetWriter::new(file).with_compression(compression).with_row_group_size(group).finish(&mut frame).expect("a written file");
}

/// A file with a column of integers and one of texts.
pub(crate) fn ints_and_texts(sandbox: &Sandbox, name: &str, values: Range<i64>) {
    sandbox.write(name, "");
    let texts: Vec<String> = values.clone().map(|value| format!("text {}", value % 17)).collect();
    let values: Vec<i64> = values.collect();
    let columns = vec![Column::new("id".into(), values), Column::new("text".into(), &texts)];
    let mut frame = DataFrame::new(texts.len(), columns).expect("a frame");
    let file = File::create(sandbox.path(name)).expect("a file");
    ParquetWriter::new(file).with_compression(ParquetCompression::Snappy).finish(&mut frame).expect("a written file");
}

/// What is in a file.
pub(crate) fn read(sandbox: &Sandbox, name: &str) -> DataFrame {
    let file = File::open(sandbox.path(name)).expect("a file");
    ParquetReader::new(file).finish().expect("a sound file")
}
