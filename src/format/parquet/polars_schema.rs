//! The schema of a file in the form that polars reads, which decides how the pages of others are
//! decoded: lists and maps as it knows them, and columns of types that it does not hold as the
//! bytes that they are stored as.

use std::sync::Arc;

use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use ::parquet::schema::types::SchemaDescriptor;
use bytes::Bytes;

use super::thrift::{self, ThriftStruct, ThriftValue};
use super::{list_schema, root, sanitize};

/// The digits of the widest decimal that polars holds.
const MAX_PRECISION: i64 = 38;

/// The bytes of the widest.
const MAX_WIDTH: i64 = 16;

/// The last logical type that polars knows, FLOAT16.
const LAST_LOGICAL: i16 = 15;

/// The elements of a schema, without the annotations that polars does not know or takes for
/// something else.
pub(super) fn readable_elements(elements: &[ThriftValue]) -> ThriftValue {
    thrift::struct_list(
        sanitize::sanitize_schema(elements)
            .as_list()
            .unwrap_or_default()
            .iter()
            .filter_map(ThriftValue::as_struct)
            .map(readable_element),
    )
}

fn readable_element(element: &ThriftStruct) -> ThriftStruct {
    const DECIMAL: i64 = 5;
    const INTERVAL: i64 = 21;
    let mut element = element.clone();
    let logical = element.get_struct(10);
    let is_unknown = logical.is_some_and(|logical| {
        logical
            .iter()
            .any(|(variant, _)| !(1..=LAST_LOGICAL).contains(&variant))
    });
    let is_decimal = logical.is_some_and(|logical| logical.get(DECIMAL as i16).is_some())
        || element.get_i32(6) == Some(DECIMAL);
    let digits = logical
        .and_then(|logical| logical.get_struct(DECIMAL as i16)?.get_i32(2))
        .or(element.get_i32(8))
        .unwrap_or_default();
    let is_wide = is_decimal
        && (digits > MAX_PRECISION || element.get_i32(2).is_some_and(|width| width > MAX_WIDTH));
    if is_unknown {
        element.remove(10);
    }
    if is_wide || element.get_i32(6) == Some(INTERVAL) {
        element.remove(6).remove(7).remove(8).remove(10);
    }
    element
}

/// Gives a file without rows lists that polars reads for what they are. The levels of values are
/// the same in both.
pub(super) fn with_readable_lists(file: Vec<u8>) -> Result<Vec<u8>, ParquetError> {
    let file = Bytes::from(file);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
    let Some(readable) = list_schema::normalize_lists(root(&metadata))? else {
        return Ok(Vec::from(file));
    };
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(readable)));
    let of_file = metadata.file_metadata();
    let (pairs, writer) = (
        of_file.key_value_metadata().cloned(),
        of_file.created_by().map(String::from),
    );
    let reshaped = ParquetMetaData::new(
        FileMetaData::new(of_file.version(), 0, writer, pairs, schema, None),
        Vec::new(),
    );
    let mut shaped = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut shaped, &reshaped).finish()?;
    Ok(shaped)
}
