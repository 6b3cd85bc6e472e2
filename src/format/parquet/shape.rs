//! A row group in memory whose lists have the form that polars reads: its pages stay, its footer is written anew.

use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use ::parquet::schema::types::{SchemaDescriptor, Type};
use bytes::Bytes;

use super::{lists, root};

/// The length of a footer and the magic behind it.
const TAIL: usize = 8;

/// Gives a file that is whole in memory lists that polars reads for what they are. The levels of all values stay as they are.
pub(super) fn with_readable_lists(file: Vec<u8>) -> Result<Vec<u8>, ParquetError> {
    let file = Bytes::from(file);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
    let Some(readable) = lists::readable(root(&metadata))? else { return Ok(Vec::from(file)) };
    let footer = file.len().checked_sub(TAIL).map(|at| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize);
    let data = footer.and_then(|footer| file.len().checked_sub(TAIL + footer));
    let Some(data) = data else { return Err(ParquetError::General("it has no footer".into())) };
    let mut shaped = file[..data].to_vec();
    ParquetMetaDataWriter::new(&mut shaped, &reshaped(&metadata, readable)?).finish()?;
    Ok(shaped)
}

/// The metadata of the same pages by another schema.
fn reshaped(metadata: &ParquetMetaData, root: Type) -> Result<ParquetMetaData, ParquetError> {
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let chunk = |(number, chunk): (usize, &ColumnChunkMetaData)| {
        ColumnChunkMetaData::builder(schema.column(number))
            .set_compression_codec(chunk.compression_codec())
            .set_encodings_mask(*chunk.encodings_mask())
            .set_num_values(chunk.num_values())
            .set_total_compressed_size(chunk.compressed_size())
            .set_total_uncompressed_size(chunk.uncompressed_size())
            .set_data_page_offset(chunk.data_page_offset())
            .set_dictionary_page_offset(chunk.dictionary_page_offset())
            .build()
    };
    let group = |group: &RowGroupMetaData| {
        let chunks = group.columns().iter().enumerate().map(chunk).collect::<Result<Vec<_>, _>>()?;
        RowGroupMetaData::builder(schema.clone())
            .set_num_rows(group.num_rows())
            .set_total_byte_size(group.total_byte_size())
            .set_column_metadata(chunks)
            .build()
    };
    let groups = metadata.row_groups().iter().map(group).collect::<Result<Vec<_>, _>>()?;
    let file = metadata.file_metadata();
    let (pairs, writer) = (file.key_value_metadata().cloned(), file.created_by().map(String::from));
    Ok(ParquetMetaData::new(FileMetaData::new(file.version(), file.num_rows(), writer, pairs, schema, None), groups))
}
