//! What a footer says of a chunk once its pages lie elsewhere: places and sizes are changed, and
//! nothing else.

use super::footer::ColumnChunk;
use super::recompress::RewrittenChunk;
use super::thrift::{self, ThriftStruct, ThriftValue};
use crate::format::OpenFile;

/// The bytes in which the header of a filter is looked for.
const FILTER_HEADER: u64 = 64;

/// A chunk at its new place, with the indexes that are to be written.
#[derive(Debug)]
pub(super) struct RelocatedChunk {
    /// Its footer's fields, without places of what stands beside it.
    pub(super) fields: ThriftStruct,
    /// Its metadata.
    pub(super) meta: ThriftStruct,
    /// The index of its pages' values, which has no places in it.
    pub(super) column_index: Option<Vec<u8>>,
    /// The index of its pages' places.
    pub(super) offset_index: Option<ThriftStruct>,
}

/// What stands in a file beside a chunk.
#[derive(Debug, Default)]
pub(super) struct ChunkIndexes {
    /// The filter, its header with it.
    pub(super) filter: Option<Vec<u8>>,
    column_index: Option<Vec<u8>>,
    offset_index: Option<ThriftStruct>,
}

impl ChunkIndexes {
    /// Reads it; what is not sound is left out, because readers do without it.
    pub(super) fn read(source: &OpenFile, chunk: &ColumnChunk) -> Self {
        let offset_index = read_range(source, chunk.fields.get_i64(4), chunk.fields.get_i32(5));
        let offset_index = offset_index
            .and_then(|bytes| thrift::read(&bytes).ok())
            .map(|(index, _)| index);
        let offset_index = offset_index.filter(|index| is_index_of(index, chunk));
        // One without the other is of no use.
        let column_index = offset_index
            .as_ref()
            .and_then(|_| read_range(source, chunk.fields.get_i64(6), chunk.fields.get_i32(7)));
        let column_index = column_index.filter(|bytes| thrift::read(bytes).is_ok());
        Self {
            filter: read_filter(source, &chunk.meta),
            column_index,
            offset_index,
        }
    }
}

/// Bytes of the file, where it has them.
fn read_range(source: &OpenFile, offset: Option<i64>, length: Option<i64>) -> Option<Vec<u8>> {
    let (offset, length) = (u64::try_from(offset?).ok()?, u64::try_from(length?).ok()?);
    let size = source.version().ok()?.size();
    if offset < 4 || offset.checked_add(length)? > size {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    source.bytes.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// A filter says its size in its header; its length in the footer came later.
fn read_filter(source: &OpenFile, meta: &ThriftStruct) -> Option<Vec<u8>> {
    let offset = meta.get_i64(14)?;
    let size = source.version().ok()?.size();
    let left = size.checked_sub(u64::try_from(offset).ok()?)?;
    let head = read_range(
        source,
        Some(offset),
        i64::try_from(left.min(FILTER_HEADER)).ok(),
    )?;
    let (header, used) = thrift::read(&head).ok()?;
    let length = i64::try_from(used)
        .ok()?
        .checked_add(header.get_i32(1).filter(|bytes| *bytes > 0)?)?;
    if meta.get_i32(15).is_some_and(|stated| stated != length) {
        return None;
    }
    read_range(source, Some(offset), Some(length))
}

/// True where an index of places is one of this chunk's.
fn is_index_of(index: &ThriftStruct, chunk: &ColumnChunk) -> bool {
    let end = chunk.start.saturating_add(chunk.length);
    let is_in = |location: &ThriftValue| {
        let Some(location) = location.as_struct() else {
            return false;
        };
        let place = location
            .get_i64(1)
            .and_then(|offset| u64::try_from(offset).ok());
        let size = location
            .get_i32(2)
            .and_then(|size| u64::try_from(size).ok());
        place.zip(size).is_some_and(|(place, size)| {
            place >= chunk.start && place.checked_add(size).is_some_and(|last| last <= end)
        })
    };
    !index.list(1).is_empty() && index.list(1).iter().all(is_in)
}

impl RelocatedChunk {
    /// A chunk whose bytes are copied to `at`.
    pub(super) fn from_copied(
        chunk: &ColumnChunk,
        beside: ChunkIndexes,
        at: u64,
    ) -> Result<Self, String> {
        let mut moved = Self::new(chunk, beside);
        let shifted = |place: i64| -> Result<i64, String> {
            let shifted = i128::from(place) - i128::from(chunk.start) + i128::from(at);
            i64::try_from(shifted).map_err(|error| error.to_string())
        };
        if chunk.length == 0 {
            return Ok(moved);
        }
        for id in [9, 10, 11] {
            // Some writers say 0 where there is none.
            let place = moved
                .meta
                .get_i64(id)
                .filter(|place| *place > 0)
                .map(shifted)
                .transpose()?;
            moved.meta.set_or_remove(id, place.map(ThriftValue::I64));
        }
        if let Some(index) = &mut moved.offset_index {
            let locations = index
                .list(1)
                .iter()
                .filter_map(ThriftValue::as_struct)
                .cloned();
            let shift = |mut location: ThriftStruct| -> Result<ThriftStruct, String> {
                location.set(
                    1,
                    ThriftValue::I64(shifted(location.get_i64(1).unwrap_or_default())?),
                );
                Ok(location)
            };
            let locations = locations.map(shift).collect::<Result<Vec<_>, _>>()?;
            index.set(1, thrift::struct_list(locations));
        }
        Ok(moved)
    }

    /// A chunk whose pages were packed by the codec of this number and are written to `at`.
    pub(super) fn from_recompressed(
        chunk: &ColumnChunk,
        beside: ChunkIndexes,
        packed: &RewrittenChunk,
        at: u64,
        codec: i64,
    ) -> Result<Self, String> {
        let mut moved = Self::new(chunk, beside);
        let place = |offset: usize| {
            i64::try_from(at + offset as u64)
                .map(ThriftValue::I64)
                .map_err(|error| error.to_string())
        };
        let number = |number: usize| {
            i64::try_from(number)
                .map(ThriftValue::I64)
                .map_err(|error| error.to_string())
        };
        let codec = i32::try_from(codec).map_err(|error| error.to_string())?;
        let first = packed.data_pages.first().map_or(0, |(offset, _)| *offset);
        moved
            .meta
            .set(4, ThriftValue::I32(codec))
            .set(6, number(packed.uncompressed)?)
            .set(7, number(packed.bytes.len())?);
        moved
            .meta
            .set(9, place(first)?)
            .remove(10)
            .set_or_remove(11, packed.dictionary_offset.map(place).transpose()?);
        moved.offset_index = moved
            .offset_index
            .take()
            .filter(|index| index.list(1).len() == packed.data_pages.len());
        if moved.offset_index.is_none() {
            moved.column_index = None;
        }
        if let Some(index) = &mut moved.offset_index {
            let locations = index
                .list(1)
                .iter()
                .filter_map(ThriftValue::as_struct)
                .cloned()
                .zip(&packed.data_pages);
            let locate = |(mut location, (offset, size)): (ThriftStruct, &(usize, usize))| -> Result<ThriftStruct, String> {
                let size = i32::try_from(*size).map_err(|error| error.to_string())?;
                location.set(1, place(*offset)?).set(2, ThriftValue::I32(size));
                Ok(location)
            };
            let locations = locations.map(locate).collect::<Result<Vec<_>, _>>()?;
            index.set(1, thrift::struct_list(locations));
        }
        Ok(moved)
    }

    fn new(chunk: &ColumnChunk, beside: ChunkIndexes) -> Self {
        let (mut fields, mut meta) = (chunk.fields.clone(), chunk.meta.clone());
        // Where the metadata stands a second time, which it does not.
        fields
            .set(2, ThriftValue::I64(0))
            .remove(4)
            .remove(5)
            .remove(6)
            .remove(7);
        meta.remove(14).remove(15);
        Self {
            fields,
            meta,
            column_index: beside.column_index,
            offset_index: beside.offset_index,
        }
    }

    /// Takes away what readers would judge by the name of another writer, or by another order.
    pub(super) fn drop_statistics(&mut self) {
        self.meta.remove(12).remove(17);
        self.column_index = None;
        self.offset_index = None;
    }
}
