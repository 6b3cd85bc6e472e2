//! The file of a part that is being made: what is written is digested on the way.

use std::io::{self, BufWriter};

use crate::cache::index::PartRecord;
use crate::cache::staging::UnfinishedPart;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::format::FormatError;
use crate::fs::{self, DigestWriter, FsError};

/// The bytes that are gathered before they are hashed and written.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes a part through `fill`, which gives the rows, and digests it on the way.
pub(super) fn write_part(
    unfinished: &UnfinishedPart,
    fill: impl FnOnce(&mut BufWriter<DigestWriter<fs::File>>) -> Result<u64, FormatError>,
) -> Result<PartRecord> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, DigestWriter::new(unfinished.create()?));
    let rows = fill(&mut out).map_err(|error| match out.get_ref().write_error() {
        Some(failure) => FsError::at("write", unfinished.path())(failure).into(),
        None => Error::from(error),
    })?;
    let failed = |error: io::Error| FsError::at("write", unfinished.path())(error);
    let (_, digest, bytes) = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?
        .finish()
        .map_err(failed)?;
    Ok(PartRecord::new(
        Fingerprint::from_bytes(digest),
        rows,
        bytes,
    ))
}
