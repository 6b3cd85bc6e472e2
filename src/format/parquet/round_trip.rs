//! Which columns come out of decoding as they went in.
//!
//! Two things are asked, and nothing is decoded. Are there columns of which nobody can say what
//! they are? And would a file that is written of them have the same parquet types? An empty one is
//! made in memory, and its footer compared.

use std::sync::Arc;

use super::footer::{self, Footer, undecodable};
use super::leaves::SortOrder;
use super::thrift::ThriftValue;
use super::{decode, root, stored_schema};
use crate::format::{FormatError, OpenFile};

/// The physical type of bytes of a fixed length.
const FIXED_LEN_BYTE_ARRAY: i64 = 7;

/// The encodings that polars knows for them, but for half floats: PLAIN, and those of dictionaries
/// and levels.
const FIXED_ENCODINGS: [i64; 5] = [0, 2, 3, 4, 8];

/// Refuses a file that has a column which would not come out as it went in.
pub(super) fn check_recodable(source: &OpenFile) -> Result<(), FormatError> {
    let footer = check_decodable(source)?;
    decode::file_schema(source, &footer, Vec::new()).map(drop)
}

/// Refuses a file that has a column whose values would be others for who takes them as values.
pub(super) fn check_readable(source: &OpenFile) -> Result<(), FormatError> {
    check_decodable(source)?;
    stored_schema::first_misread(root(footer::read_metadata(source)?.as_ref()))
        .map_or(Ok(()), |found| Err(undecodable(source, found)))
}

/// What concerns both: columns that nobody can read, and encodings that polars does not know for
/// their type.
fn check_decodable(source: &OpenFile) -> Result<Arc<Footer>, FormatError> {
    if let Some(found) =
        stored_schema::first_unreadable(root(footer::read_metadata(source)?.as_ref()))
    {
        return Err(undecodable(source, found));
    }
    let footer = Footer::read(source)?;
    for group in &footer.groups {
        for (chunk, leaf) in group.chunks.iter().zip(&footer.leaves).filter(|(_, leaf)| {
            leaf.element.get_i32(1) == Some(FIXED_LEN_BYTE_ARRAY) && leaf.order != SortOrder::Float
        }) {
            let encodings = chunk
                .meta
                .list(2)
                .iter()
                .filter_map(ThriftValue::as_integer);
            if let Some(found) = encodings
                .into_iter()
                .find(|number| !FIXED_ENCODINGS.contains(number))
            {
                let reason = format!(
                    "its bytes of fixed length have the encoding {found}, which cannot be decoded"
                );
                return Err(undecodable(source, (leaf.name(), reason)));
            }
        }
    }
    Ok(footer)
}
