//! Codecs: the words of `compression:`, what they are in files, and how pages are packed with them.

use std::ops::RangeInclusive;

use ::parquet::basic::{BrotliLevel as ParquetBrotli, Compression, GzipLevel as ParquetGzip, ZstdLevel as ParquetZstd};
use ::parquet::errors::ParquetError;
use polars_parquet::parquet::compression::{self as pages, DecompressionContext};
use polars_parquet::write::{BrotliLevel, CompressionOptions, GzipLevel, ZstdLevel};

/// Leaves the compression of every column chunk as it is.
pub(super) const KEEP: &str = "keep";

/// The words, the default first.
pub(super) const WORDS: &[&str] = &[KEEP, "snappy", "gzip", "lz4", "brotli", "zstd", "uncompressed"];

// The levels are those that polars takes where nothing is said.
const GZIP_LEVEL: u8 = 6;
const BROTLI_LEVEL: u8 = 1;
const ZSTD_LEVEL: u8 = 3;

/// The levels of a word that has some.
pub(super) fn levels(word: &str) -> Option<RangeInclusive<u8>> {
    match word {
        "gzip" => Some(0..=9),
        "brotli" => Some(0..=11),
        "zstd" => Some(1..=22),
        _ => None,
    }
}

/// The word for a codec that was found. `lz4` is LZ4_RAW; the older framed LZ4 is not written.
pub(super) fn word(found: Compression) -> &'static str {
    match found {
        Compression::UNCOMPRESSED => "uncompressed",
        Compression::SNAPPY => "snappy",
        Compression::GZIP(_) => "gzip",
        Compression::LZO => "lzo",
        Compression::BROTLI(_) => "brotli",
        Compression::LZ4 => "lz4_hadoop",
        Compression::ZSTD(_) => "zstd",
        Compression::LZ4_RAW => "lz4",
    }
}

/// A codec with its level, as both libraries call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec {
    pub(super) word: &'static str,
    /// True where what has the codec already is packed anew: its level cannot be told.
    pub(super) packs_all: bool,
    pub(super) options: CompressionOptions,
    pub(super) named: Compression,
}

impl Codec {
    /// The codec of a compression; `None` for one that is not written.
    pub(super) fn new(compression: super::Compression) -> Option<Self> {
        let super::Compression { word, level } = compression;
        let (options, named) = match word {
            "snappy" => (CompressionOptions::Snappy, Compression::SNAPPY),
            "gzip" => {
                let level = level.unwrap_or(GZIP_LEVEL);
                let named = ParquetGzip::try_new(level.into()).ok()?;
                (CompressionOptions::Gzip(Some(GzipLevel::try_new(level).ok()?)), Compression::GZIP(named))
            }
            "lz4" => (CompressionOptions::Lz4Raw, Compression::LZ4_RAW),
            "brotli" => {
                let level = level.unwrap_or(BROTLI_LEVEL).into();
                let named = ParquetBrotli::try_new(level).ok()?;
                (CompressionOptions::Brotli(Some(BrotliLevel::try_new(level).ok()?)), Compression::BROTLI(named))
            }
            "zstd" => {
                let level = level.unwrap_or(ZSTD_LEVEL).into();
                let named = ParquetZstd::try_new(level).ok()?;
                (CompressionOptions::Zstd(Some(ZstdLevel::try_new(level).ok()?)), Compression::ZSTD(named))
            }
            "uncompressed" => (CompressionOptions::Uncompressed, Compression::UNCOMPRESSED),
            _ => return None,
        };
        Some(Self { word, packs_all: level.is_some(), options, named })
    }

    /// Adds the packed bytes to `packed`.
    pub(super) fn pack(&self, bytes: &[u8], packed: &mut Vec<u8>) -> Result<(), ParquetError> {
        match self.options {
            CompressionOptions::Uncompressed => packed.extend_from_slice(bytes),
            options => pages::compress(options, bytes, packed).map_err(general)?,
        }
        Ok(())
    }
}

/// Unpacks bytes of which it is known how many they are.
pub(super) fn unpack(from: Compression, bytes: &[u8], size: usize, context: &mut DecompressionContext) -> Result<Vec<u8>, ParquetError> {
    use polars_parquet::parquet::compression::Compression as Known;
    let from = match from {
        Compression::UNCOMPRESSED => return exactly(bytes.to_vec(), size),
        _ if bytes.is_empty() => return exactly(Vec::new(), size),
        Compression::SNAPPY => {
            let stated = snap::raw::decompress_len(bytes).map_err(general)?;
            if stated != size {
                return Err(general(format!("it has {stated} bytes, and its header says {size}")));
            }
            Known::Snappy
        }
        Compression::GZIP(_) => Known::Gzip,
        Compression::LZO => Known::Lzo,
        Compression::BROTLI(_) => Known::Brotli,
        Compression::LZ4 => Known::Lz4,
        Compression::ZSTD(_) => Known::Zstd,
        Compression::LZ4_RAW => Known::Lz4Raw,
    };
    let mut unpacked = vec![0; size];
    pages::decompress(from, bytes, &mut unpacked, context).map_err(general)?;
    Ok(unpacked)
}

fn exactly(bytes: Vec<u8>, size: usize) -> Result<Vec<u8>, ParquetError> {
    if bytes.len() == size { Ok(bytes) } else { Err(general(format!("it has {} bytes, and its header says {size}", bytes.len()))) }
}

fn general(error: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(error.to_string())
}
