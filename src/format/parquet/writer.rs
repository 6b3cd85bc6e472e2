//! A parquet file that is being written, from chunks that are packed already: its row groups, what
//! stands beside them, and its footer.

use std::io::Write;

use super::footer::RowGroup;
use super::moved::Moved;
use super::thrift::{self, Fields, Value};
use crate::format::FormatError;

const MAGIC: &[u8; 4] = b"PAR1";

/// Indexes of a column, and the group and column they are of.
struct Indexes {
    group: usize,
    column: usize,
    values: Option<Vec<u8>>,
    places: Option<Vec<u8>>,
}

/// A file to which row groups are added.
pub(super) struct FileWriter<'w> {
    out: Box<dyn Write + Send + 'w>,
    at: u64,
    /// The footer's own fields.
    file: Fields,
    groups: Vec<(Fields, Vec<Fields>)>,
    indexes: Vec<Indexes>,
    rows: u64,
}

impl<'w> FileWriter<'w> {
    /// Begins a file whose footer has these fields.
    pub(super) fn new(out: Box<dyn Write + Send + 'w>, file: Fields) -> Result<Self, FormatError> {
        let mut writer = Self {
            out,
            at: 0,
            file,
            groups: Vec::new(),
            indexes: Vec::new(),
            rows: 0,
        };
        writer.add(MAGIC)?;
        Ok(writer)
    }

    /// Where the next bytes will lie.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
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
        chunks: Vec<Moved>,
        filters: Vec<Option<Vec<u8>>>,
    ) -> Result<(), FormatError> {
        let number = self.groups.len();
        let total = |id: i16| {
            chunks
                .iter()
                .filter_map(|chunk| chunk.meta.number(id))
                .fold(0, i64::saturating_add)
        };
        let mut fields = group.fields;
        let start = chunks
            .first()
            .and_then(|chunk| chunk.meta.number(11).or_else(|| chunk.meta.number(9)));
        fields.set(2, Value::I64(total(6)));
        if fields.get(5).is_some() {
            fields.set_or_remove(5, start.map(Value::I64));
        }
        if fields.get(6).is_some() {
            fields.set(6, Value::I64(total(7)));
        }
        if fields.get(7).is_some() {
            fields.set_or_remove(7, i16::try_from(number).ok().map(Value::I16));
        }
        let mut columns = Vec::new();
        for (column, (mut chunk, filter)) in chunks.into_iter().zip(filters).enumerate() {
            if let Some(filter) = filter {
                let length = i32::try_from(filter.len())
                    .map_err(|error| FormatError::Encode(error.to_string()))?;
                chunk
                    .meta
                    .set(14, self.place()?)
                    .set(15, Value::I32(length));
                self.add(&filter)?;
            }
            chunk.fields.set(3, Value::Struct(chunk.meta));
            columns.push(chunk.fields);
            let places = chunk.offset_index.map(|index| index.to_bytes());
            self.indexes.push(Indexes {
                group: number,
                column,
                values: chunk.column_index,
                places,
            });
        }
        self.groups.push((fields, columns));
        self.rows += group.rows;
        Ok(())
    }

    fn place(&self) -> Result<Value, FormatError> {
        i64::try_from(self.at)
            .map(Value::I64)
            .map_err(|error| FormatError::Encode(error.to_string()))
    }

    /// Writes the indexes and the footer; gives the rows.
    pub(super) fn finish(mut self) -> Result<u64, FormatError> {
        let encode = |error: std::num::TryFromIntError| FormatError::Encode(error.to_string());
        let indexes = std::mem::take(&mut self.indexes);
        for (id, is_places) in [(6, false), (4, true)] {
            for index in &indexes {
                let Some(bytes) = (if is_places {
                    &index.places
                } else {
                    &index.values
                }) else {
                    continue;
                };
                let (place, length) = (self.place()?, i32::try_from(bytes.len()).map_err(encode)?);
                self.add(bytes)?;
                self.groups[index.group].1[index.column]
                    .set(id, place)
                    .set(id + 1, Value::I32(length));
            }
        }
        let groups = std::mem::take(&mut self.groups)
            .into_iter()
            .map(|(mut group, columns)| {
                group.set(1, thrift::structs(columns));
                group
            });
        let groups: Vec<Fields> = groups.collect();
        let mut file = std::mem::take(&mut self.file);
        file.set(3, Value::I64(i64::try_from(self.rows).map_err(encode)?))
            .set(4, thrift::structs(groups));
        let footer = file.to_bytes();
        self.add(&footer)?;
        let length = u32::try_from(footer.len()).map_err(encode)?;
        self.add(&length.to_le_bytes())?;
        self.add(MAGIC)?;
        self.out
            .flush()
            .map_err(|error| FormatError::Encode(error.to_string()))?;
        Ok(self.rows)
    }
}
