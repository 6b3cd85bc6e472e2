//! The footer: whether a file is sound, and what is in it. No page is read.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use ::parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use polars_parquet_format::FileMetaData;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;

use super::{codec, columns, logical, notes};
use crate::format::foreign::{Foreign, LOOKED_AT, recognise};
use crate::format::{FormatError, Group, Layout, Opened};
use crate::fs;

const MAGIC: &[u8; 4] = b"PAR1";

/// The magic at both ends and the footer's length.
const SMALLEST: u64 = 12;

/// Checks that a file is whole and says what is in it.
///
/// Sound means: the magic at both ends, a footer that parses, every column chunk of every row
/// group between magic and footer, and as many rows in the groups as in the file.
pub(super) fn inspect(source: &Opened) -> Result<Layout, FormatError> {
    let unsound = |reason: String| unsound(source, reason);
    let end = data_end(source)?;
    let metadata = read(source)?;
    let encrypted = is_encrypted(source, end)?;
    let mut groups = Vec::new();
    let mut compressions = BTreeSet::new();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let mut bytes = 0;
        for chunk in group.columns() {
            bytes += inside(chunk, end)
                .map_err(|what| unsound(format!("row group {number}, column {}: {what}", chunk.column_path().string())))?;
            compressions.insert(codec::word(chunk.compression()).to_string());
        }
        let rows = group.num_rows();
        let rows = u64::try_from(rows).map_err(|_| unsound(format!("row group {number} has {rows} rows")))?;
        groups.push(Group { rows, bytes });
    }
    let rows: u64 = groups.iter().map(|group| group.rows).sum();
    let stated = metadata.file_metadata().num_rows();
    if u64::try_from(stated) != Ok(rows) {
        return Err(unsound(format!("its footer says {stated} rows, and its row groups have {rows}")));
    }
    let root = super::root(&metadata);
    let (schema, columns) = (columns::digest(root), logical::digest(root));
    Ok(Layout { rows, groups, schema, compressions, encrypted, columns, packing: notes::packing(&metadata) })
}

/// Checks both ends of the file; gives the offset at which the footer begins.
fn data_end(source: &Opened) -> Result<u64, FormatError> {
    let size = fs::stat_open(&source.file, &source.path)?.size;
    if let Some(foreign) = foreign(source)? {
        return Err(FormatError::Foreign { path: source.path.clone(), format: "parquet", foreign });
    }
    if size < SMALLEST {
        return Err(unsound(source, format!("it has {size} bytes, and the smallest has {SMALLEST}")));
    }
    let bytes_at = |offset: u64| -> Result<[u8; 4], FormatError> {
        let mut bytes = [0; 4];
        source.file.read_exact_at(&mut bytes, offset).map_err(FormatError::at("read", &source.path))?;
        Ok(bytes)
    };
    if bytes_at(0)? != *MAGIC {
        return Err(unsound(source, "it does not begin with PAR1".into()));
    }
    if bytes_at(size - 4)? != *MAGIC {
        return Err(unsound(source, "it does not end with PAR1, as if it were cut off".into()));
    }
    let footer = u64::from(u32::from_le_bytes(bytes_at(size - 8)?));
    (size - 8)
        .checked_sub(footer)
        .filter(|end| *end >= 4)
        .ok_or_else(|| unsound(source, format!("its footer should have {footer} bytes, and the file has {size}")))
}

/// What a file seems to be that does not begin as it should.
fn foreign(source: &Opened) -> Result<Option<Foreign>, FormatError> {
    let failed = FormatError::at("read", &source.path);
    let mut head = [0; LOOKED_AT];
    let read = source.file.read_at(&mut head, 0).map_err(failed)?;
    Ok(if head[..read].starts_with(MAGIC) { None } else { recognise(&head[..read]) })
}

/// True where the footer can be read, and columns are encrypted: the parquet crate does not say so.
fn is_encrypted(source: &Opened, end: u64) -> Result<bool, FormatError> {
    let size = fs::stat_open(&source.file, &source.path)?.size;
    let mut footer = vec![0; usize::try_from(size - 8 - end).unwrap_or_default()];
    source.file.read_exact_at(&mut footer, end).map_err(FormatError::at("read", &source.path))?;
    let limit = footer.len().saturating_mul(16) + 1024;
    let parsed = FileMetaData::read_from_in_protocol(&mut TCompactInputProtocol::new(footer.as_slice(), limit));
    Ok(parsed.is_ok_and(|footer| {
        let mut chunks = footer.row_groups.iter().flat_map(|group| &group.columns);
        footer.encryption_algorithm.is_some() || chunks.any(|chunk| chunk.crypto_metadata.is_some())
    }))
}

/// The parsed footer.
pub(super) fn read(source: &Opened) -> Result<ParquetMetaData, FormatError> {
    parse(source, PageIndexPolicy::Skip)
}

/// The parsed footer with the page indexes, where the file has them.
pub(super) fn read_with_page_index(source: &Opened) -> Result<ParquetMetaData, FormatError> {
    parse(source, PageIndexPolicy::Optional)
}

fn parse(source: &Opened, page_index: PageIndexPolicy) -> Result<ParquetMetaData, FormatError> {
    ParquetMetaDataReader::new()
        .with_page_index_policy(page_index)
        .parse_and_finish(&source.file)
        .map_err(|error| unsound(source, format!("its footer cannot be read: {error}")))
}

fn unsound(source: &Opened, reason: String) -> FormatError {
    FormatError::Unsound { path: source.path.clone(), format: "parquet", reason }
}

/// The bytes of a chunk, which must lie between the magic and the footer.
fn inside(chunk: &ColumnChunkMetaData, end: u64) -> Result<u64, String> {
    if let Some(path) = chunk.file_path() {
        return Err(format!("its data is in another file, {path:?}"));
    }
    let dictionary = chunk.dictionary_page_offset().filter(|offset| *offset > 0);
    let start = dictionary.unwrap_or_else(|| chunk.data_page_offset());
    let length = chunk.compressed_size();
    if length == 0 && chunk.num_values() == 0 {
        return Ok(0);
    }
    match (u64::try_from(start), u64::try_from(length)) {
        (Ok(first), Ok(bytes)) if first >= 4 && first.checked_add(bytes).is_some_and(|last| last <= end) => Ok(bytes),
        _ => Err(format!("its data should be {length} bytes at {start}, and the file has data up to {end}")),
    }
}
