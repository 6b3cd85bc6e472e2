//! A file without rows whose lists have the form that polars reads: its schema decides how the pages of others are decoded.

use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use ::parquet::schema::types::SchemaDescriptor;
use bytes::Bytes;

use super::{lists, root};

/// Gives a file without rows lists that polars reads for what they are. The levels of values are the same in both.
pub(super) fn with_readable_lists(file: Vec<u8>) -> Result<Vec<u8>, ParquetError> {
    let file = Bytes::from(file);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
    let Some(readable) = lists::readable(root(&metadata))? else { return Ok(Vec::from(file)) };
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(readable)));
    let of_file = metadata.file_metadata();
    let (pairs, writer) = (of_file.key_value_metadata().cloned(), of_file.created_by().map(String::from));
    let reshaped = ParquetMetaData::new(FileMetaData::new(of_file.version(), 0, writer, pairs, schema, None), Vec::new());
    let mut shaped = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut shaped, &reshaped).finish()?;
    Ok(shaped)
}
