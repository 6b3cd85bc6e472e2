//! Which columns come out of decoding as they went in.
//!
//! Two things are asked, and nothing is decoded. Are there columns of which nobody can say what
//! they are? And would a file that is written of them have the same parquet types? An empty one is
//! made in memory, and its footer compared.

use super::footer::{self, Footer, undecodable};
use super::leaves::Order;
use super::thrift::Value;
use super::{columns, recode, root};
use crate::format::{FormatError, Opened};

/// The physical type of bytes of a fixed length.
const FIXED: i64 = 7;

/// The encodings that polars knows for them, but for half floats: PLAIN, and those of dictionaries
/// and levels.
const OF_FIXED: [i64; 5] = [0, 2, 3, 4, 8];

/// Refuses a file that has a column which would not come out as it went in.
pub(super) fn decodable(source: &Opened) -> Result<(), FormatError> {
    let footer = check(source)?;
    recode::schema(source, &footer, Vec::new()).map(drop)
}

/// Refuses a file that has a column whose values would be others for who takes them as values.
pub(super) fn readable(source: &Opened) -> Result<(), FormatError> {
    check(source)?;
    columns::misread(root(&footer::read(source)?))
        .map_or(Ok(()), |found| Err(undecodable(source, found)))
}

/// What concerns both: columns that nobody can read, and encodings that polars does not know for
/// their type.
fn check(source: &Opened) -> Result<Footer, FormatError> {
    if let Some(found) = columns::unreadable(root(&footer::read(source)?)) {
        return Err(undecodable(source, found));
    }
    let footer = Footer::read(source)?;
    for group in &footer.groups {
        for (chunk, leaf) in
            group.chunks.iter().zip(&footer.leaves).filter(|(_, leaf)| {
                leaf.element.small(1) == Some(FIXED) && leaf.order != Order::Float
            })
        {
            let encodings = chunk.meta.list(2).iter().filter_map(Value::number);
            if let Some(found) = encodings
                .into_iter()
                .find(|number| !OF_FIXED.contains(number))
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
