//! Which columns come out of decoding as they went in.
//!
//! Two things are asked, and nothing is decoded. Are there columns of which nobody can say what they are? And would a file that is
//! written of them have the same parquet types? An empty one is made in memory, and its footer compared.

use super::footer::{self, Footer};
use super::{columns, recode, root};
use crate::format::{FormatError, Opened};

/// Refuses a file that has a column which would not come out as it went in.
pub(super) fn decodable(source: &Opened) -> Result<(), FormatError> {
    let metadata = footer::read(source)?;
    if let Some(found) = columns::unreadable(root(&metadata)) {
        return Err(undecodable(source, found));
    }
    recode::schema(source, &Footer::read(source)?, Vec::new()).map(drop)
}

/// Refuses a file that has a column whose values would be others for who takes them as values.
pub(super) fn readable(source: &Opened) -> Result<(), FormatError> {
    let metadata = footer::read(source)?;
    match columns::unreadable(root(&metadata)).or_else(|| columns::misread(root(&metadata))) {
        Some(found) => Err(undecodable(source, found)),
        None => Ok(()),
    }
}

pub(super) fn undecodable(source: &Opened, (column, reason): (String, String)) -> FormatError {
    FormatError::Undecodable { path: source.path.clone(), column, reason }
}
