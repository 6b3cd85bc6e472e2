//! Codecs: the words of `compression:`, what they are in files, and how pages are packed with them.

use std::ops::RangeInclusive;

use polars_parquet::parquet::compression as pages;
use polars_parquet::write::{BrotliLevel, CompressionOptions, GzipLevel, ZstdLevel};

/// Leaves the compression of every column chunk as it is.
pub(super) const KEEP: &str = "keep";

/// The words, the default first.
pub(super) const COMPRESSIONS: &[&str] = &[
    KEEP,
    "snappy",
    "gzip",
    "lz4",
    "brotli",
    "zstd",
    "uncompressed",
];

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

/// A codec by its number in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodecId {
    Uncompressed = 0,
    Snappy = 1,
    Gzip = 2,
    Lzo = 3,
    Brotli = 4,
    Lz4 = 5,
    Zstd = 6,
    Lz4Raw = 7,
}

impl CodecId {
    const ALL: [Self; 8] = [
        Self::Uncompressed,
        Self::Snappy,
        Self::Gzip,
        Self::Lzo,
        Self::Brotli,
        Self::Lz4,
        Self::Zstd,
        Self::Lz4Raw,
    ];

    /// The codec of a number; `None` where none has it.
    pub(super) fn new(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// The word for a codec that was found. `lz4` is LZ4_RAW; the older framed LZ4 is not written.
pub(super) fn codec_name(found: i64) -> &'static str {
    match CodecId::new(found) {
        Some(CodecId::Uncompressed) => "uncompressed",
        Some(CodecId::Snappy) => "snappy",
        Some(CodecId::Gzip) => "gzip",
        Some(CodecId::Lzo) => "lzo",
        Some(CodecId::Brotli) => "brotli",
        Some(CodecId::Lz4) => "lz4_hadoop",
        Some(CodecId::Zstd) => "zstd",
        Some(CodecId::Lz4Raw) => "lz4",
        None => "unknown",
    }
}

/// A codec with its level.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageCodec {
    /// True where what has the codec already is packed anew: its level cannot be told.
    pub(super) recompresses_all: bool,
    pub(super) options: CompressionOptions,
    /// Its number in files.
    pub(super) id: i64,
}

impl PageCodec {
    /// Leaves bytes as they are.
    pub(super) const NONE: Self = Self {
        recompresses_all: true,
        options: CompressionOptions::Uncompressed,
        id: CodecId::Uncompressed as i64,
    };

    /// The codec of a compression; `None` for one that is not written.
    pub(super) fn new(compression: super::Compression) -> Option<Self> {
        let super::Compression { name: word, level } = compression;
        let (options, number) = match word {
            "snappy" => (CompressionOptions::Snappy, CodecId::Snappy),
            "gzip" => (
                CompressionOptions::Gzip(Some(
                    GzipLevel::try_new(level.unwrap_or(GZIP_LEVEL)).ok()?,
                )),
                CodecId::Gzip,
            ),
            "lz4" => (CompressionOptions::Lz4Raw, CodecId::Lz4Raw),
            "brotli" => (
                CompressionOptions::Brotli(Some(
                    BrotliLevel::try_new(level.unwrap_or(BROTLI_LEVEL).into()).ok()?,
                )),
                CodecId::Brotli,
            ),
            "zstd" => (
                CompressionOptions::Zstd(Some(
                    ZstdLevel::try_new(level.unwrap_or(ZSTD_LEVEL).into()).ok()?,
                )),
                CodecId::Zstd,
            ),
            "uncompressed" => (CompressionOptions::Uncompressed, CodecId::Uncompressed),
            _ => return None,
        };
        Some(Self {
            recompresses_all: level.is_some(),
            options,
            id: number as i64,
        })
    }

    /// True where bytes stay as they are.
    pub(super) fn is_uncompressed(&self) -> bool {
        self.id == Self::NONE.id
    }

    /// Adds the packed bytes to `packed`.
    pub(super) fn compress(&self, bytes: &[u8], packed: &mut Vec<u8>) -> Result<(), String> {
        match self.options {
            CompressionOptions::Uncompressed => packed.extend_from_slice(bytes),
            options => {
                pages::compress(options, bytes, packed).map_err(|error| error.to_string())?
            }
        }
        Ok(())
    }
}
