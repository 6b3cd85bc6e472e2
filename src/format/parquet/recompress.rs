//! Recompressing: the pages of a column chunk are unpacked and packed with another codec.
//!
//! No value is decoded, so every type, encoding and level stays what it was, whoever wrote it. A
//! page header is that of <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use std::io::Cursor;
use std::os::unix::fs::FileExt;

use ::parquet::column::writer::ColumnCloseResult;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::page_index::offset_index::OffsetIndexMetaData;
use bytes::Bytes;
use polars_parquet::parquet::compression::DecompressionContext;
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol};
use polars_parquet_format::{PageHeader, PageType};

use super::codec::{self, Codec};
use crate::fs::File;

/// Offsets in the new chunk are counted from here: 0 would mean "none" to some readers.
const START: usize = 4;

/// A chunk in memory, and what its writer would have said of it.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// The chunk with every page packed anew.
pub(super) fn recompress(file: &File, close: ColumnCloseResult, codec: &Codec) -> Result<Chunk, ParquetError> {
    let (first, length) = close.metadata.byte_range();
    let mut bytes = vec![0; usize::try_from(length).map_err(general)?];
    // By offset, because other columns are read from the same file at the same time.
    file.read_exact_at(&mut bytes, first)?;
    let mut pages = Pages {
        from: &close.metadata,
        to: codec,
        context: DecompressionContext::Unset,
        packed: vec![0; START],
        unpacked: 0,
        dictionary: None,
        data: Vec::new(),
    };
    let mut rest = bytes.as_slice();
    let mut number = 0;
    while !rest.is_empty() {
        let used = pages.take(rest).map_err(|error| ParquetError::General(format!("page {number}: {error}")))?;
        rest = &rest[used..];
        number += 1;
    }
    pages.finish(close.clone())
}

struct Pages<'a> {
    from: &'a ColumnChunkMetaData,
    to: &'a Codec,
    context: DecompressionContext,
    packed: Vec<u8>,
    /// Bytes of all headers and of all pages before they were packed.
    unpacked: usize,
    dictionary: Option<usize>,
    /// Offset and size, the header with it, of every data page.
    data: Vec<(usize, usize)>,
}

impl Pages<'_> {
    /// Packs the first page of some bytes anew; gives how many bytes it had.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, ParquetError> {
        let mut cursor = Cursor::new(bytes);
        let mut protocol = TCompactInputProtocol::new(&mut cursor, bytes.len().saturating_mul(2) + 1024);
        let mut header = PageHeader::read_from_in_protocol(&mut protocol).map_err(general)?;
        let start = usize::try_from(cursor.position()).map_err(general)?;
        let length = size(header.compressed_page_size)?;
        let body = bytes.get(start..start + length).ok_or_else(|| general("it goes beyond the chunk"))?;
        check_crc(&header, body)?;
        let packed = match header.type_ {
            PageType::DATA_PAGE | PageType::DICTIONARY_PAGE => self.pack(body, size(header.uncompressed_page_size)?)?,
            PageType::DATA_PAGE_V2 => self.pack_second(&mut header, body)?,
            other => return Err(general(format!("its type is {}, which is none that holds data", other.0))),
        };
        header.compressed_page_size = i32::try_from(packed.len()).map_err(general)?;
        header.crc = header.crc.map(|_| crc32fast::hash(&packed).cast_signed());
        let offset = self.packed.len();
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut self.packed)).map_err(general)?;
        self.unpacked += self.packed.len() - offset + size(header.uncompressed_page_size)?;
        self.packed.extend_from_slice(&packed);
        match header.type_ {
            PageType::DICTIONARY_PAGE => self.dictionary = Some(offset),
            _ => self.data.push((offset, self.packed.len() - offset)),
        }
        Ok(start + length)
    }

    fn pack(&mut self, body: &[u8], size: usize) -> Result<Vec<u8>, ParquetError> {
        let unpacked = codec::unpack(self.from.compression(), body, size, &mut self.context)?;
        let mut packed = Vec::new();
        self.to.pack(&unpacked, &mut packed)?;
        Ok(packed)
    }

    /// A data page of the second version: its levels stand before its values and are never packed.
    fn pack_second(&mut self, header: &mut PageHeader, body: &[u8]) -> Result<Vec<u8>, ParquetError> {
        let all = size(header.uncompressed_page_size)?;
        let second = header.data_page_header_v2.as_mut().ok_or_else(|| general("it has no header of its version"))?;
        let levels = size(second.definition_levels_byte_length)? + size(second.repetition_levels_byte_length)?;
        let (levels, values) = body.split_at_checked(levels).ok_or_else(|| general("its levels go beyond it"))?;
        let left = all.checked_sub(levels.len()).ok_or_else(|| general("its levels are larger than it"))?;
        let mut packed = levels.to_vec();
        // Where there are no values there is nothing to unpack either.
        if left > 0 && second.is_compressed.unwrap_or(true) {
            packed.extend(self.pack(values, left)?);
        } else if left > 0 {
            self.to.pack(values, &mut packed)?;
        }
        second.is_compressed = Some(left > 0 && self.to.word != "uncompressed");
        Ok(packed)
    }

    fn finish(self, mut close: ColumnCloseResult) -> Result<Chunk, ParquetError> {
        let number = |number: usize| i64::try_from(number).map_err(general);
        let first = self.data.first().map_or(START, |(offset, _)| *offset);
        close.bytes_written = (self.packed.len() - START) as u64;
        close.metadata = close
            .metadata
            .into_builder()
            .set_compression(self.to.named)
            .set_total_compressed_size(number(self.packed.len() - START)?)
            .set_total_uncompressed_size(number(self.unpacked)?)
            .set_data_page_offset(number(first)?)
            .set_dictionary_page_offset(self.dictionary.map(number).transpose()?)
            .set_index_page_offset(None)
            .build()?;
        close.offset_index = close.offset_index.take().and_then(|index| moved(index, &self.data));
        if close.offset_index.is_none() {
            // One without the other is of no use.
            close.column_index = None;
        }
        Ok(Chunk { bytes: Bytes::from(self.packed), close })
    }
}

/// The index with the pages where they are now; `None` where it is not of these pages.
fn moved(mut index: OffsetIndexMetaData, pages: &[(usize, usize)]) -> Option<OffsetIndexMetaData> {
    if index.page_locations.len() != pages.len() {
        return None;
    }
    for (location, (offset, size)) in index.page_locations.iter_mut().zip(pages) {
        location.offset = i64::try_from(*offset).ok()?;
        location.compressed_page_size = i32::try_from(*size).ok()?;
    }
    Some(index)
}

fn check_crc(header: &PageHeader, body: &[u8]) -> Result<(), ParquetError> {
    match header.crc {
        Some(stated) if stated.cast_unsigned() != crc32fast::hash(body) => Err(general("its checksum is wrong")),
        _ => Ok(()),
    }
}

fn size(number: i32) -> Result<usize, ParquetError> {
    usize::try_from(number).map_err(|_| general(format!("its header has the size {number}")))
}

fn general(error: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(error.to_string())
}
