//! Pages: those of a column chunk are walked over, unpacked, checked, and packed with another
//! codec.
//!
//! No value is decoded, so every type, encoding and level stays what it was, whoever wrote it. A
//! page header is that of
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>; what is
//! not known of it is kept.

use std::io;
use std::os::unix::fs::FileExt;

use super::codec::Codec;
use super::footer::Chunk;
use super::leaves::Leaf;
use super::levels::{Counts, Levels, count};
use super::thrift::{self, Fields, Value};
use super::unpack::unpack;
use super::values;
use crate::fs::File;

/// The pages of a chunk, packed anew.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Them all, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// The bytes of all headers, and of all pages before they were packed.
    pub(super) unpacked: usize,
    /// Where the dictionary is.
    pub(super) dictionary: Option<usize>,
    /// Offset and size, the header with it, of every data page.
    pub(super) data: Vec<(usize, usize)>,
    /// What is in all pages together, where they were looked into.
    pub(super) counts: Counts,
    /// Its levels, where they were looked into.
    pub(super) levels: Levels,
}

/// The bytes of a chunk. By offset, because other columns are read from the same file at the same
/// time.
pub(super) fn read(file: &File, chunk: &Chunk) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(chunk.length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, chunk.start)?;
    Ok(bytes)
}

/// The chunk with every page packed by `codec`.
pub(super) fn recompress(bytes: &[u8], chunk: &Chunk, codec: &Codec) -> Result<Packed, String> {
    Walk {
        chunk,
        to: codec,
        looks_into: None,
        packed: Packed::default(),
        dictionary: None,
        bodies: Bodies::default(),
    }
    .all(bytes)
}

/// The chunk with every page unpacked and looked into, so that a decoder finds what it is told.
/// Statistics are left out: nobody asks for those of single pages.
pub(super) fn unpacked(
    bytes: &[u8],
    chunk: &Chunk,
    leaf: &Leaf,
    rows: u64,
) -> Result<Packed, String> {
    // A hint that is believed as far as such bytes can become so many; only what is used of it is
    // memory.
    let room = count(chunk.meta.small(6))
        .unwrap_or_default()
        .min(bytes.len().saturating_mul(MOST_ROOM));
    let packed = Packed {
        bytes: Vec::with_capacity(room),
        ..Packed::default()
    };
    let walk = Walk {
        chunk,
        to: &Codec::NONE,
        looks_into: Some(leaf),
        packed,
        dictionary: None,
        bodies: Bodies::default(),
    };
    let packed = walk.all(bytes)?;
    if packed.counts.rows as u64 != rows {
        return Err(format!(
            "its pages have {} rows, and its row group {rows}",
            packed.counts.rows
        ));
    }
    packed.levels.check(leaf)?;
    Ok(packed)
}

/// How many times as large as its packed bytes a chunk is expected to be at most.
const MOST_ROOM: usize = 16;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

struct Walk<'a> {
    chunk: &'a Chunk,
    to: &'a Codec,
    looks_into: Option<&'a Leaf>,
    packed: Packed,
    /// The entries of its dictionary.
    dictionary: Option<usize>,
    bodies: Bodies,
}

/// The body of the page that is looked at: room that all pages share.
#[derive(Default)]
struct Bodies {
    unpacked: Vec<u8>,
    packed: Vec<u8>,
}

impl Walk<'_> {
    fn all(mut self, bytes: &[u8]) -> Result<Packed, String> {
        let mut rest = bytes;
        let mut number = 0;
        let mut values = 0_u64;
        while !rest.is_empty() {
            let in_page = |error| format!("page {number}: {error}");
            // Behind the last value there may be padding.
            let may_end = values == self.chunk.values && number > 0;
            let (header, start) = match thrift::read(rest) {
                Ok((header, _)) if may_end && header.small(1).is_none() => break,
                Ok(found) => found,
                Err(_) if may_end => break,
                Err(error) => return Err(in_page(format!("its header cannot be read: {error}"))),
            };
            let length = count(header.small(3)).map_err(in_page)?;
            let body = rest[start..]
                .get(..length)
                .ok_or_else(|| in_page("it goes beyond the chunk".into()))?;
            values = self.take(header, body, values).map_err(in_page)?;
            rest = &rest[start + length..];
            number += 1;
        }
        if values != self.chunk.values {
            return Err(format!(
                "its pages have {values} values, and its footer says {}",
                self.chunk.values
            ));
        }
        Ok(self.packed)
    }

    /// Packs a page anew; gives the values of the pages up to it.
    fn take(&mut self, mut header: Fields, body: &[u8], before: u64) -> Result<u64, String> {
        check_crc(&header, body)?;
        require(&header)?;
        let size = count(header.small(2))?;
        let offset = self.packed.bytes.len();
        match header.small(1) {
            Some(DATA) => {
                let own = header.fields(5).ok_or("it has no header of its kind")?;
                let values = self.values(own, before)?;
                self.unpack(self.chunk.codec, body, size)?;
                if let Some(leaf) = self.looks_into {
                    let (counts, values) =
                        self.packed.levels.first(own, &self.bodies.unpacked, leaf)?;
                    values::check(own.small(2), values, counts.present, leaf, self.dictionary)?;
                    self.note(counts);
                    if let Some(own) = header.fields_mut(5) {
                        own.remove(5);
                    }
                }
                self.add(header, size, &[])?;
                self.packed
                    .data
                    .push((offset, self.packed.bytes.len() - offset));
                Ok(values)
            }
            Some(DATA_V2) => {
                let own = header.fields(8).ok_or("it has no header of its version")?;
                let values = self.values(own, before)?;
                let levels = self.second(&mut header, size, body)?;
                self.add(header, size, levels)?;
                self.packed
                    .data
                    .push((offset, self.packed.bytes.len() - offset));
                Ok(values)
            }
            Some(DICTIONARY) => {
                if self.packed.dictionary.is_some() || !self.packed.data.is_empty() {
                    return Err("a dictionary stands where there can be none".into());
                }
                let own = header.fields(7).ok_or("it has no header of its kind")?;
                count(own.small(1))?;
                self.unpack(self.chunk.codec, body, size)?;
                if let Some(leaf) = self.looks_into {
                    self.dictionary = Some(values::dictionary(own, &self.bodies.unpacked, leaf)?);
                }
                self.add(header, size, &[])?;
                self.packed.dictionary = Some(offset);
                Ok(before)
            }
            // Readers pass over what holds no data.
            Some(_) => Ok(before),
            None => Err("its header does not say what it is".into()),
        }
    }

    fn unpack(&mut self, codec: i64, body: &[u8], size: usize) -> Result<(), String> {
        self.bodies.unpacked.clear();
        unpack(codec, body, size, &mut self.bodies.unpacked)
    }

    /// The values of the pages up to one, which are no more than the chunk has.
    fn values(&self, own: &Fields, before: u64) -> Result<u64, String> {
        let values = before.saturating_add(count(own.small(1))? as u64);
        if values > self.chunk.values {
            return Err(format!(
                "there are {values} values up to it, and its footer says {} of the chunk",
                self.chunk.values
            ));
        }
        Ok(values)
    }

    /// A data page of the second version: its levels stand before its values and are never packed.
    fn second<'b>(
        &mut self,
        header: &mut Fields,
        size: usize,
        body: &'b [u8],
    ) -> Result<&'b [u8], String> {
        let own = header.fields(8).ok_or("it has no header of its version")?;
        let (entries, nulls, rows) = (
            count(own.small(1))?,
            count(own.small(2))?,
            count(own.small(3))?,
        );
        if nulls > entries || rows > entries {
            return Err(format!(
                "it should have {nulls} nulls in {rows} rows, and has {entries} values"
            ));
        }
        let levels = count(own.small(5))?.saturating_add(count(own.small(6))?);
        let (levels, values) = body
            .split_at_checked(levels)
            .ok_or("its levels go beyond it")?;
        let left = size
            .checked_sub(levels.len())
            .ok_or("its levels are larger than it")?;
        let is_packed = own.truth(7).unwrap_or(true);
        self.unpack(
            if is_packed {
                self.chunk.codec
            } else {
                Codec::NONE.number
            },
            values,
            left,
        )?;
        let values = &self.bodies.unpacked;
        let counts = match self.looks_into {
            Some(leaf) => {
                let counts = self.packed.levels.second(own, levels, leaf)?;
                values::check(own.small(4), values, counts.present, leaf, self.dictionary)?;
                Some(counts)
            }
            None => None,
        };
        let own = header
            .fields_mut(8)
            .ok_or("it has no header of its version")?;
        own.set(
            7,
            Value::Bool(!self.bodies.unpacked.is_empty() && !self.to.is_none()),
        );
        if let Some(counts) = counts {
            // What a writer got wrong here would be believed.
            let small = |number: usize| {
                i32::try_from(number)
                    .map(Value::I32)
                    .map_err(|error| error.to_string())
            };
            own.set(2, small(counts.nulls())?)
                .set(3, small(counts.rows)?)
                .remove(8);
            self.note(counts);
        }
        Ok(levels)
    }

    fn note(&mut self, page: Counts) {
        let all = &mut self.packed.counts;
        all.entries += page.entries;
        all.present += page.present;
        all.rows += page.rows;
    }

    /// Adds a page: levels that are never packed, and behind them the body that was unpacked.
    fn add(&mut self, mut header: Fields, size: usize, levels: &[u8]) -> Result<(), String> {
        let Bodies { unpacked, packed } = &mut self.bodies;
        // Where there are no values behind levels, there is nothing to pack.
        let is_bare = unpacked.is_empty() && header.small(1) == Some(DATA_V2);
        let body = if self.to.is_none() || is_bare {
            unpacked
        } else {
            packed.clear();
            self.to.pack(unpacked, packed)?;
            packed
        };
        header.set(
            3,
            Value::I32(
                i32::try_from(levels.len() + body.len()).map_err(|error| error.to_string())?,
            ),
        );
        if self.looks_into.is_some() {
            // It was compared, and a decoder would compare it again.
            header.remove(4);
        } else if header.get(4).is_some() {
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(levels);
            checksum.update(body);
            header.set(4, Value::I32(checksum.finalize().cast_signed()));
        }
        let before = self.packed.bytes.len();
        header.write(&mut self.packed.bytes);
        self.packed.unpacked += self.packed.bytes.len() - before + size;
        self.packed.bytes.extend_from_slice(levels);
        self.packed.bytes.extend_from_slice(body);
        Ok(())
    }
}

/// What no reader does without.
fn require(header: &Fields) -> Result<(), String> {
    let has = |fields: Option<&Fields>, ids: std::ops::RangeInclusive<i16>| {
        fields.is_some_and(|fields| ids.into_iter().all(|id| fields.small(id).is_some()))
    };
    let is_whole = match header.small(1) {
        Some(DATA) => has(header.fields(5), 1..=4),
        Some(DATA_V2) => has(header.fields(8), 1..=6),
        Some(DICTIONARY) => has(header.fields(7), 1..=2),
        kind => kind.is_some(),
    };
    if is_whole {
        Ok(())
    } else {
        Err("its header leaves something out".into())
    }
}

fn check_crc(header: &Fields, body: &[u8]) -> Result<(), String> {
    match header.small(4) {
        // Some writers say it without a sign.
        Some(stated) if stated & 0xFFFF_FFFF != i64::from(crc32fast::hash(body)) => {
            Err("its checksum is wrong".into())
        }
        _ => Ok(()),
    }
}
