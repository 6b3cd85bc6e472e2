//! Packs texts as they are written.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::format::Compression;

/// The words for what texts are packed with, the default first.
pub(crate) const PACKINGS: &[&str] = &["uncompressed", "gzip", "zstd", "bzip2"];

/// The levels of a packing; `None` where it has none.
pub(crate) fn packing_levels(packing: &str) -> Option<RangeInclusive<u8>> {
    match packing {
        "gzip" => Some(0..=9),
        "bzip2" => Some(1..=9),
        "zstd" => Some(1..=22),
        _ => None,
    }
}

/// Packs what is written; ended, it gives what is below.
pub(crate) trait Packer: Write {
    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes texts packed, or as they are. The same text gives the same bytes.
///
/// # Errors
/// The library does not begin.
pub(crate) fn packed<'w>(
    out: Box<dyn Write + Send + 'w>,
    compression: Compression,
) -> io::Result<Box<dyn Packer + 'w>> {
    let level = |usual: u8| u32::from(compression.level.unwrap_or(usual));
    Ok(match compression.name {
        "gzip" => Box::new(GzEncoder::new(out, flate2::Compression::new(level(6)))),
        "bzip2" => Box::new(BzEncoder::new(out, bzip2::Compression::new(level(9)))),
        "zstd" => {
            let level = i32::from(compression.level.unwrap_or(3));
            Box::new(ZstdEncoder::new(out, level)?)
        }
        _ => Box::new(Plain(out)),
    })
}

/// Writes as it is told.
struct Plain<W>(W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Packer for Plain<W> {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Packer for GzEncoder<W> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        (*self).finish()?.flush()
    }
}

impl<W: Write> Packer for BzEncoder<W> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        (*self).finish()?.flush()
    }
}

impl<W: Write> Packer for ZstdEncoder<'_, W> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        (*self).finish()?.flush()
    }
}
