//! A parquet file that is being written, from chunks that are packed already: its row groups, what
//! stands beside them, and its footer.

use std::io::Write;

use super::footer::RowGroup;
use super::relocated::RelocatedChunk;
use super::thrift::{self, ThriftStruct, ThriftValue};
use crate::format::FormatError;

const MAGIC: &[u8; 4] = b"PAR1";

/// Indexes of a column, and the group and column they are of.
struct PendingIndexes {
    group: usize,
    column: usize,
    column_index: Option<Vec<u8>>,
    offset_index: Option<Vec<u8>>,
}

/// A file to which row groups are added.
pub(super) struct FileWriter<'w> {
    out: Box<dyn Write + Send + 'w>,
    at: u64,
    /// The footer's own fields.
    footer: ThriftStruct,
    groups: Vec<(ThriftStruct, Vec<ThriftStruct>)>,
    indexes: Vec<PendingIndexes>,
    rows: u64,
}

impl<'w> FileWriter<'w> {
    /// Begins a file whose footer has these fields.
    pub(super) fn new(
        out: Box<dyn Write + Send + 'w>,
        file: ThriftStruct,
    ) -> Result<Self, FormatError> {
        let mut writer = Self {
            out,
            at: 0,
            footer: file,
            groups: Vec::new(),
            indexes: Vec::new(),
            rows: 0,
        };
        writer.write_bytes(MAGIC)?;
        Ok(writer)
    }

    /// Where the next bytes will lie.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Adds bytes.
    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.out
            .write_all(bytes)
            .map_err(|error| FormatError::Encode(error.to_string()))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Ends a group whose chunks lie there already; their filters follow.
    pub(super) fn end_group(
        &mut self,
        group: RowGroup,
        chunks: Vec<RelocatedChunk>,
        filters: Vec<Option<Vec<u8>>>,
    ) -> Result<(), FormatError> {
        let number = self.groups.len();
        let total = |id: i16| {
            chunks
                .iter()
                .filter_map(|chunk| chunk.meta.get_integer(id))
                .fold(0, i64::saturating_add)
        };
        let mut fields = group.fields;
        let start = chunks.first().and_then(|chunk| {
            chunk
                .meta
                .get_integer(11)
                .or_else(|| chunk.meta.get_integer(9))
        });
        fields.set(2, ThriftValue::I64(total(6)));
        if fields.get(5).is_some() {
            fields.set_or_remove(5, start.map(ThriftValue::I64));
        }
        if fields.get(6).is_some() {
            fields.set(6, ThriftValue::I64(total(7)));
        }
        if fields.get(7).is_some() {
            fields.set_or_remove(7, i16::try_from(number).ok().map(ThriftValue::I16));
        }
        let mut columns = Vec::new();
        for (column, (mut chunk, filter)) in chunks.into_iter().zip(filters).enumerate() {
            if let Some(filter) = filter {
                let length = i32::try_from(filter.len())
                    .map_err(|error| FormatError::Encode(error.to_string()))?;
                chunk
                    .meta
                    .set(14, self.position_value()?)
                    .set(15, ThriftValue::I32(length));
                self.write_bytes(&filter)?;
            }
            chunk.fields.set(3, ThriftValue::Struct(chunk.meta));
            columns.push(chunk.fields);
            let places = chunk.offset_index.map(|index| index.to_bytes());
            self.indexes.push(PendingIndexes {
                group: number,
                column,
                column_index: chunk.column_index,
                offset_index: places,
            });
        }
        self.groups.push((fields, columns));
        self.rows += group.rows;
        Ok(())
    }

    fn position_value(&self) -> Result<ThriftValue, FormatError> {
        i64::try_from(self.at)
            .map(ThriftValue::I64)
            .map_err(|error| FormatError::Encode(error.to_string()))
    }

    /// Writes the indexes and the footer; gives the rows.
    pub(super) fn finish(mut self) -> Result<u64, FormatError> {
        let encode = |error: std::num::TryFromIntError| FormatError::Encode(error.to_string());
        let indexes = std::mem::take(&mut self.indexes);
        for (id, is_places) in [(6, false), (4, true)] {
            for index in &indexes {
                let Some(bytes) = (if is_places {
                    &index.offset_index
                } else {
                    &index.column_index
                }) else {
                    continue;
                };
                let (place, length) = (
                    self.position_value()?,
                    i32::try_from(bytes.len()).map_err(encode)?,
                );
                self.write_bytes(bytes)?;
                self.groups[index.group].1[index.column]
                    .set(id, place)
                    .set(id + 1, ThriftValue::I32(length));
            }
        }
        let groups = std::mem::take(&mut self.groups)
            .into_iter()
            .map(|(mut group, columns)| {
                group.set(1, thrift::struct_list(columns));
                group
            });
        let groups: Vec<ThriftStruct> = groups.collect();
        let mut file = std::mem::take(&mut self.footer);
        file.set(
            3,
            ThriftValue::I64(i64::try_from(self.rows).map_err(encode)?),
        )
        .set(4, thrift::struct_list(groups));
        let footer = file.to_bytes();
        self.write_bytes(&footer)?;
        let length = u32::try_from(footer.len()).map_err(encode)?;
        self.write_bytes(&length.to_le_bytes())?;
        self.write_bytes(MAGIC)?;
        self.out
            .flush()
            .map_err(|error| FormatError::Encode(error.to_string()))?;
        Ok(self.rows)
    }
}
