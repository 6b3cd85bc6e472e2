//! What a footer says of a chunk once its pages lie elsewhere: places and sizes are changed, and
//! nothing else.

use std::os::unix::fs::FileExt;

use super::footer::Chunk;
use super::recompress::Packed;
use super::thrift::{self, Fields, Value};
use crate::format::Opened;

/// The bytes in which the header of a filter is looked for.
const FILTER_HEADER: u64 = 64;

/// A chunk at its new place, with the indexes that are to be written.
#[derive(Debug)]
pub(super) struct Moved {
    /// Its footer's fields, without places of what stands beside it.
    pub(super) fields: Fields,
    /// Its metadata.
    pub(super) meta: Fields,
    /// The index of its pages' values, which has no places in it.
    pub(super) column_index: Option<Vec<u8>>,
    /// The index of its pages' places.
    pub(super) offset_index: Option<Fields>,
}

/// What stands in a file beside a chunk.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The filter, its header with it.
    pub(super) filter: Option<Vec<u8>>,
    column_index: Option<Vec<u8>>,
    offset_index: Option<Fields>,
}

impl Beside {
    /// Reads it; what is not sound is left out, because readers do without it.
    pub(super) fn read(source: &Opened, chunk: &Chunk) -> Self {
        let offset_index = part(source, chunk.fields.long(4), chunk.fields.small(5));
        let offset_index = offset_index
            .and_then(|bytes| thrift::read(&bytes).ok())
            .map(|(index, _)| index);
        let offset_index = offset_index.filter(|index| lies_in(index, chunk));
        // One without the other is of no use.
        let column_index = offset_index
            .as_ref()
            .and_then(|_| part(source, chunk.fields.long(6), chunk.fields.small(7)));
        let column_index = column_index.filter(|bytes| thrift::read(bytes).is_ok());
        Self {
            filter: filter(source, &chunk.meta),
            column_index,
            offset_index,
        }
    }
}

/// Bytes of the file, where it has them.
fn part(source: &Opened, offset: Option<i64>, length: Option<i64>) -> Option<Vec<u8>> {
    let (offset, length) = (u64::try_from(offset?).ok()?, u64::try_from(length?).ok()?);
    let size = source.file.metadata().ok()?.len();
    if offset < 4 || offset.checked_add(length)? > size {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    source.file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// A filter says its size in its header; its length in the footer came later.
fn filter(source: &Opened, meta: &Fields) -> Option<Vec<u8>> {
    let offset = meta.long(14)?;
    let size = source.file.metadata().ok()?.len();
    let left = size.checked_sub(u64::try_from(offset).ok()?)?;
    let head = part(
        source,
        Some(offset),
        i64::try_from(left.min(FILTER_HEADER)).ok(),
    )?;
    let (header, used) = thrift::read(&head).ok()?;
    let length = i64::try_from(used)
        .ok()?
        .checked_add(header.small(1).filter(|bytes| *bytes > 0)?)?;
    if meta.small(15).is_some_and(|stated| stated != length) {
        return None;
    }
    part(source, Some(offset), Some(length))
}

/// True where an index of places is one of this chunk's.
fn lies_in(index: &Fields, chunk: &Chunk) -> bool {
    let end = chunk.start.saturating_add(chunk.length);
    let is_in = |location: &Value| {
        let Some(location) = location.fields() else {
            return false;
        };
        let place = location
            .long(1)
            .and_then(|offset| u64::try_from(offset).ok());
        let size = location.small(2).and_then(|size| u64::try_from(size).ok());
        place.zip(size).is_some_and(|(place, size)| {
            place >= chunk.start && place.checked_add(size).is_some_and(|last| last <= end)
        })
    };
    !index.list(1).is_empty() && index.list(1).iter().all(is_in)
}

impl Moved {
    /// A chunk whose bytes are copied to `at`.
    pub(super) fn copied(chunk: &Chunk, beside: Beside, at: u64) -> Result<Self, String> {
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
                .long(id)
                .filter(|place| *place > 0)
                .map(shifted)
                .transpose()?;
            moved.meta.set_or_remove(id, place.map(Value::I64));
        }
        if let Some(index) = &mut moved.offset_index {
            let locations = index.list(1).iter().filter_map(Value::fields).cloned();
            let shift = |mut location: Fields| -> Result<Fields, String> {
                location.set(
                    1,
                    Value::I64(shifted(location.long(1).unwrap_or_default())?),
                );
                Ok(location)
            };
            let locations = locations.map(shift).collect::<Result<Vec<_>, _>>()?;
            index.set(1, thrift::structs(locations));
        }
        Ok(moved)
    }

    /// A chunk whose pages were packed by the codec of this number and are written to `at`.
    pub(super) fn packed(
        chunk: &Chunk,
        beside: Beside,
        packed: &Packed,
        at: u64,
        codec: i64,
    ) -> Result<Self, String> {
        let mut moved = Self::new(chunk, beside);
        let place = |offset: usize| {
            i64::try_from(at + offset as u64)
                .map(Value::I64)
                .map_err(|error| error.to_string())
        };
        let number = |number: usize| {
            i64::try_from(number)
                .map(Value::I64)
                .map_err(|error| error.to_string())
        };
        let codec = i32::try_from(codec).map_err(|error| error.to_string())?;
        let first = packed.data.first().map_or(0, |(offset, _)| *offset);
        moved
            .meta
            .set(4, Value::I32(codec))
            .set(6, number(packed.unpacked)?)
            .set(7, number(packed.bytes.len())?);
        moved
            .meta
            .set(9, place(first)?)
            .remove(10)
            .set_or_remove(11, packed.dictionary.map(place).transpose()?);
        moved.offset_index = moved
            .offset_index
            .take()
            .filter(|index| index.list(1).len() == packed.data.len());
        if moved.offset_index.is_none() {
            moved.column_index = None;
        }
        if let Some(index) = &mut moved.offset_index {
            let locations = index
                .list(1)
                .iter()
                .filter_map(Value::fields)
                .cloned()
                .zip(&packed.data);
            let locate = |(mut location, (offset, size)): (Fields, &(usize, usize))| -> Result<Fields, String> {
                let size = i32::try_from(*size).map_err(|error| error.to_string())?;
                location.set(1, place(*offset)?).set(2, Value::I32(size));
                Ok(location)
            };
            let locations = locations.map(locate).collect::<Result<Vec<_>, _>>()?;
            index.set(1, thrift::structs(locations));
        }
        Ok(moved)
    }

    fn new(chunk: &Chunk, beside: Beside) -> Self {
        let (mut fields, mut meta) = (chunk.fields.clone(), chunk.meta.clone());
        // Where the metadata stands a second time, which it does not.
        fields
            .set(2, Value::I64(0))
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
    pub(super) fn forget_statistics(&mut self) {
        self.meta.remove(12).remove(17);
        self.column_index = None;
        self.offset_index = None;
    }
}
