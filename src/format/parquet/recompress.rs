//! Pages: those of a column chunk are walked over, unpacked, checked, and packed with another
//! codec.
//!
//! No value is decoded, so every type, encoding and level stays what it was, whoever wrote it. A
//! page header is that of
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>; what is
//! not known of it is kept.

use std::io;

use super::codec::PageCodec;
use super::decompress::decompress;
use super::footer::ColumnChunk;
use super::leaves::Leaf;
use super::levels::{Levels, PageCounts, header_count};
use super::page_values;
use super::thrift::{self, ThriftStruct, ThriftValue};
use crate::storage::RandomRead;

/// The pages of a chunk, packed anew.
#[derive(Debug, Default)]
pub(super) struct RewrittenChunk {
    /// Them all, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// The bytes of all headers, and of all pages before they were packed.
    pub(super) uncompressed: usize,
    /// Where the dictionary is.
    pub(super) dictionary_offset: Option<usize>,
    /// Offset and size, the header with it, of every data page.
    pub(super) data_pages: Vec<(usize, usize)>,
    /// What is in all pages together, where they were looked into.
    pub(super) counts: PageCounts,
    /// Its levels, where they were looked into.
    pub(super) levels: Levels,
}

/// The bytes of a chunk. By offset, because other columns are read from the same file at the same
/// time.
pub(super) fn read_chunk(file: &dyn RandomRead, chunk: &ColumnChunk) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(chunk.length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, chunk.start)?;
    Ok(bytes)
}

/// The chunk with every page packed by `codec`.
pub(super) fn recompress_chunk(
    bytes: &[u8],
    chunk: &ColumnChunk,
    codec: &PageCodec,
) -> Result<RewrittenChunk, String> {
    PageRewriter {
        chunk,
        codec,
        checked_leaf: None,
        output: RewrittenChunk::default(),
        dictionary_entries: None,
        buffers: PageBuffers::default(),
    }
    .rewrite_all(bytes)
}

/// The chunk with every page unpacked and looked into, so that a decoder finds what it is told.
/// Statistics are left out: nobody asks for those of single pages.
pub(super) fn decompress_chunk(
    bytes: &[u8],
    chunk: &ColumnChunk,
    leaf: &Leaf,
    rows: u64,
) -> Result<RewrittenChunk, String> {
    // A hint that is believed as far as such bytes can become so many; only what is used of it is
    // memory.
    let room = header_count(chunk.meta.get_i32(6))
        .unwrap_or_default()
        .min(bytes.len().saturating_mul(MAX_EXPANSION));
    let packed = RewrittenChunk {
        bytes: Vec::with_capacity(room),
        ..RewrittenChunk::default()
    };
    let walk = PageRewriter {
        chunk,
        codec: &PageCodec::NONE,
        checked_leaf: Some(leaf),
        output: packed,
        dictionary_entries: None,
        buffers: PageBuffers::default(),
    };
    let packed = walk.rewrite_all(bytes)?;
    if packed.counts.rows as u64 != rows {
        return Err(format!(
            "its pages have {} rows, and its row group {rows}",
            packed.counts.rows
        ));
    }
    packed.levels.check_lists(leaf)?;
    Ok(packed)
}

/// How many times as large as its packed bytes a chunk is expected to be at most.
const MAX_EXPANSION: usize = 16;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

struct PageRewriter<'a> {
    chunk: &'a ColumnChunk,
    codec: &'a PageCodec,
    checked_leaf: Option<&'a Leaf>,
    output: RewrittenChunk,
    /// The entries of its dictionary.
    dictionary_entries: Option<usize>,
    buffers: PageBuffers,
}

/// The body of the page that is looked at: room that all pages share.
#[derive(Default)]
struct PageBuffers {
    uncompressed: Vec<u8>,
    compressed: Vec<u8>,
}

impl PageRewriter<'_> {
    fn rewrite_all(mut self, bytes: &[u8]) -> Result<RewrittenChunk, String> {
        let mut rest = bytes;
        let mut number = 0;
        let mut values = 0_u64;
        while !rest.is_empty() {
            let in_page = |error| format!("page {number}: {error}");
            // Behind the last value there may be padding.
            let may_end = values == self.chunk.values && number > 0;
            let (header, start) = match thrift::read(rest) {
                Ok((header, _)) if may_end && header.get_i32(1).is_none() => break,
                Ok(found) => found,
                Err(_) if may_end => break,
                Err(error) => return Err(in_page(format!("its header cannot be read: {error}"))),
            };
            let length = header_count(header.get_i32(3)).map_err(in_page)?;
            let body = rest[start..]
                .get(..length)
                .ok_or_else(|| in_page("it goes beyond the chunk".into()))?;
            values = self.rewrite_page(header, body, values).map_err(in_page)?;
            rest = &rest[start + length..];
            number += 1;
        }
        if values != self.chunk.values {
            return Err(format!(
                "its pages have {values} values, and its footer says {}",
                self.chunk.values
            ));
        }
        Ok(self.output)
    }

    /// Packs a page anew; gives the values of the pages up to it.
    fn rewrite_page(
        &mut self,
        mut header: ThriftStruct,
        body: &[u8],
        before: u64,
    ) -> Result<u64, String> {
        check_crc(&header, body)?;
        check_header(&header)?;
        let size = header_count(header.get_i32(2))?;
        let offset = self.output.bytes.len();
        match header.get_i32(1) {
            Some(DATA) => {
                let own = header.get_struct(5).ok_or("it has no header of its kind")?;
                let values = self.values_up_to(own, before)?;
                self.decompress(self.chunk.codec, body, size)?;
                if let Some(leaf) = self.checked_leaf {
                    let (counts, values) =
                        self.output
                            .levels
                            .add_v1(own, &self.buffers.uncompressed, leaf)?;
                    page_values::check(
                        own.get_i32(2),
                        values,
                        counts.present,
                        leaf,
                        self.dictionary_entries,
                    )?;
                    self.add_counts(counts);
                    if let Some(own) = header.get_struct_mut(5) {
                        own.remove(5);
                    }
                }
                self.write_page(header, size, &[])?;
                self.output
                    .data_pages
                    .push((offset, self.output.bytes.len() - offset));
                Ok(values)
            }
            Some(DATA_V2) => {
                let own = header
                    .get_struct(8)
                    .ok_or("it has no header of its version")?;
                let values = self.values_up_to(own, before)?;
                let levels = self.rewrite_v2(&mut header, size, body)?;
                self.write_page(header, size, levels)?;
                self.output
                    .data_pages
                    .push((offset, self.output.bytes.len() - offset));
                Ok(values)
            }
            Some(DICTIONARY) => {
                if self.output.dictionary_offset.is_some() || !self.output.data_pages.is_empty() {
                    return Err("a dictionary stands where there can be none".into());
                }
                let own = header.get_struct(7).ok_or("it has no header of its kind")?;
                header_count(own.get_i32(1))?;
                self.decompress(self.chunk.codec, body, size)?;
                if let Some(leaf) = self.checked_leaf {
                    self.dictionary_entries = Some(page_values::check_dictionary(
                        own,
                        &self.buffers.uncompressed,
                        leaf,
                    )?);
                }
                self.write_page(header, size, &[])?;
                self.output.dictionary_offset = Some(offset);
                Ok(before)
            }
            // Readers pass over what holds no data.
            Some(_) => Ok(before),
            None => Err("its header does not say what it is".into()),
        }
    }

    fn decompress(&mut self, codec: i64, body: &[u8], size: usize) -> Result<(), String> {
        self.buffers.uncompressed.clear();
        decompress(codec, body, size, &mut self.buffers.uncompressed)
    }

    /// The values of the pages up to one, which are no more than the chunk has.
    fn values_up_to(&self, own: &ThriftStruct, before: u64) -> Result<u64, String> {
        let values = before.saturating_add(header_count(own.get_i32(1))? as u64);
        if values > self.chunk.values {
            return Err(format!(
                "there are {values} values up to it, and its footer says {} of the chunk",
                self.chunk.values
            ));
        }
        Ok(values)
    }

    /// A data page of the second version: its levels stand before its values and are never packed.
    fn rewrite_v2<'b>(
        &mut self,
        header: &mut ThriftStruct,
        size: usize,
        body: &'b [u8],
    ) -> Result<&'b [u8], String> {
        let own = header
            .get_struct(8)
            .ok_or("it has no header of its version")?;
        let (entries, nulls, rows) = (
            header_count(own.get_i32(1))?,
            header_count(own.get_i32(2))?,
            header_count(own.get_i32(3))?,
        );
        if nulls > entries || rows > entries {
            return Err(format!(
                "it should have {nulls} nulls in {rows} rows, and has {entries} values"
            ));
        }
        let levels = header_count(own.get_i32(5))?.saturating_add(header_count(own.get_i32(6))?);
        let (levels, values) = body
            .split_at_checked(levels)
            .ok_or("its levels go beyond it")?;
        let left = size
            .checked_sub(levels.len())
            .ok_or("its levels are larger than it")?;
        let is_packed = own.get_bool(7).unwrap_or(true);
        self.decompress(
            if is_packed {
                self.chunk.codec
            } else {
                PageCodec::NONE.id
            },
            values,
            left,
        )?;
        let values = &self.buffers.uncompressed;
        let counts = match self.checked_leaf {
            Some(leaf) => {
                let counts = self.output.levels.add_v2(own, levels, leaf)?;
                page_values::check(
                    own.get_i32(4),
                    values,
                    counts.present,
                    leaf,
                    self.dictionary_entries,
                )?;
                Some(counts)
            }
            None => None,
        };
        let own = header
            .get_struct_mut(8)
            .ok_or("it has no header of its version")?;
        own.set(
            7,
            ThriftValue::Bool(
                !self.buffers.uncompressed.is_empty() && !self.codec.is_uncompressed(),
            ),
        );
        if let Some(counts) = counts {
            // What a writer got wrong here would be believed.
            let small = |number: usize| {
                i32::try_from(number)
                    .map(ThriftValue::I32)
                    .map_err(|error| error.to_string())
            };
            own.set(2, small(counts.nulls())?)
                .set(3, small(counts.rows)?)
                .remove(8);
            self.add_counts(counts);
        }
        Ok(levels)
    }

    fn add_counts(&mut self, page: PageCounts) {
        let all = &mut self.output.counts;
        all.entries += page.entries;
        all.present += page.present;
        all.rows += page.rows;
    }

    /// Adds a page: levels that are never packed, and behind them the body that was unpacked.
    fn write_page(
        &mut self,
        mut header: ThriftStruct,
        size: usize,
        levels: &[u8],
    ) -> Result<(), String> {
        let PageBuffers {
            uncompressed: unpacked,
            compressed: packed,
        } = &mut self.buffers;
        // Where there are no values behind levels, there is nothing to pack.
        let is_bare = unpacked.is_empty() && header.get_i32(1) == Some(DATA_V2);
        let body = if self.codec.is_uncompressed() || is_bare {
            unpacked
        } else {
            packed.clear();
            self.codec.compress(unpacked, packed)?;
            packed
        };
        header.set(
            3,
            ThriftValue::I32(
                i32::try_from(levels.len() + body.len()).map_err(|error| error.to_string())?,
            ),
        );
        if self.checked_leaf.is_some() {
            // It was compared, and a decoder would compare it again.
            header.remove(4);
        } else if header.get(4).is_some() {
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(levels);
            checksum.update(body);
            header.set(4, ThriftValue::I32(checksum.finalize().cast_signed()));
        }
        let before = self.output.bytes.len();
        header.write(&mut self.output.bytes);
        self.output.uncompressed += self.output.bytes.len() - before + size;
        self.output.bytes.extend_from_slice(levels);
        self.output.bytes.extend_from_slice(body);
        Ok(())
    }
}

/// What no reader does without.
fn check_header(header: &ThriftStruct) -> Result<(), String> {
    let has = |fields: Option<&ThriftStruct>, ids: std::ops::RangeInclusive<i16>| {
        fields.is_some_and(|fields| ids.into_iter().all(|id| fields.get_i32(id).is_some()))
    };
    let is_whole = match header.get_i32(1) {
        Some(DATA) => has(header.get_struct(5), 1..=4),
        Some(DATA_V2) => has(header.get_struct(8), 1..=6),
        Some(DICTIONARY) => has(header.get_struct(7), 1..=2),
        kind => kind.is_some(),
    };
    if is_whole {
        Ok(())
    } else {
        Err("its header leaves something out".into())
    }
}

fn check_crc(header: &ThriftStruct, body: &[u8]) -> Result<(), String> {
    match header.get_i32(4) {
        // Some writers say it without a sign.
        Some(stated) if stated & 0xFFFF_FFFF != i64::from(crc32fast::hash(body)) => {
            Err("its checksum is wrong".into())
        }
        _ => Ok(()),
    }
}
