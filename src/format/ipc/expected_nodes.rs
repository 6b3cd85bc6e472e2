//! What each message must have by the schema: a node for every column and every field of one, and
//! the buffers of each.
//!
//! Readers take both in this order. What does not fit gives them other rows, or fewer, and no
//! error.

use std::collections::HashMap;
use std::ops::Range;

use polars_arrow::io::ipc::format::ipc as flat;

use super::types::damaged;

/// The nodes of a batch, and of each dictionary by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedNodes {
    batch: Vec<ExpectedNode>,
    dictionaries: HashMap<i64, Vec<ExpectedNode>>,
}

/// A column, or a field of one, as a message has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedNode {
    /// It is a column itself, and has the rows of its message.
    is_column: bool,
    buffers: usize,
    values: BufferKind,
}

/// What stands in the buffers of a node, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferKind {
    Any,
    /// Keys of a dictionary, of so many bytes.
    Keys(usize),
    /// Texts, behind offsets of so many bytes.
    Texts(usize),
    /// Views: how many buffers they look into, the message says itself.
    Views,
    /// A union, which had nulls of its own before version 5.
    Union,
}

impl ExpectedNode {
    fn buffers(&self, is_version_4: bool) -> usize {
        self.buffers + usize::from(is_version_4 && self.values == BufferKind::Union)
    }
}

impl ExpectedNodes {
    /// Those of a schema, which is not too deep: its columns were read.
    pub(super) fn from_schema(schema: &flat::SchemaRef<'_>) -> Result<Self, String> {
        let mut found = Self::default();
        let mut batch = Vec::new();
        for field in schema.fields().map_err(damaged)?.into_iter().flatten() {
            found.add_field(&field.map_err(damaged)?, true, &mut batch)?;
        }
        found.batch = batch;
        Ok(found)
    }

    fn add_field(
        &mut self,
        field: &flat::FieldRef<'_>,
        is_column: bool,
        nodes: &mut Vec<ExpectedNode>,
    ) -> Result<(), String> {
        let Some(dictionary) = field.dictionary().map_err(damaged)? else {
            return self.add_values(field, is_column, nodes);
        };
        let keys = dictionary
            .index_type()
            .map_err(damaged)?
            .map(|keys| keys.bit_width().map_err(damaged))
            .transpose()?;
        let bytes = usize::try_from(keys.unwrap_or(32) / 8).map_err(damaged)?;
        nodes.push(ExpectedNode {
            is_column,
            buffers: 2,
            values: BufferKind::Keys(bytes),
        });
        let mut own = Vec::new();
        self.add_values(field, true, &mut own)?;
        self.dictionaries
            .entry(dictionary.id().map_err(damaged)?)
            .or_insert(own);
        Ok(())
    }

    /// A field that is no dictionary, or the values of one.
    fn add_values(
        &mut self,
        field: &flat::FieldRef<'_>,
        is_column: bool,
        nodes: &mut Vec<ExpectedNode>,
    ) -> Result<(), String> {
        use flat::TypeRef as T;
        let kind = field
            .type_()
            .map_err(damaged)?
            .ok_or("a column has no type")?;
        let (buffers, values) = match kind {
            T::Null(_) | T::RunEndEncoded(_) => (0, BufferKind::Any),
            T::Struct(_) | T::FixedSizeList(_) => (1, BufferKind::Any),
            T::Union(union) => match union.mode().map_err(damaged)? {
                flat::UnionMode::Sparse => (1, BufferKind::Union),
                flat::UnionMode::Dense => (2, BufferKind::Union),
            },
            T::Utf8(_) => (3, BufferKind::Texts(4)),
            T::LargeUtf8(_) => (3, BufferKind::Texts(8)),
            T::Binary(_) | T::LargeBinary(_) | T::ListView(_) | T::LargeListView(_) => {
                (3, BufferKind::Any)
            }
            T::Utf8View(_) | T::BinaryView(_) => (2, BufferKind::Views),
            _ => (2, BufferKind::Any),
        };
        nodes.push(ExpectedNode {
            is_column,
            buffers,
            values,
        });
        for child in field.children().map_err(damaged)?.into_iter().flatten() {
            self.add_field(&child.map_err(damaged)?, false, nodes)?;
        }
        Ok(())
    }

    /// Those of a message: of a dictionary, or of a batch.
    pub(super) fn for_message(&self, dictionary: Option<i64>) -> Result<&[ExpectedNode], String> {
        match dictionary {
            None => Ok(&self.batch),
            Some(number) => {
                let found = self.dictionaries.get(&number).map(Vec::as_slice);
                found.ok_or_else(|| format!("no column has a dictionary of the number {number}"))
            }
        }
    }
}

/// Refuses a batch, or the data of a dictionary, that has other nodes or buffers than its schema
/// needs.
pub(super) fn check_batch(
    batch: &flat::RecordBatchRef<'_>,
    is_version_4: bool,
    body: u64,
    nodes: &[ExpectedNode],
) -> Result<(), String> {
    let rows = batch.length().map_err(damaged)?;
    let found: Vec<flat::FieldNodeRef<'_>> = batch
        .nodes()
        .map_err(damaged)?
        .into_iter()
        .flatten()
        .collect();
    if found.len() != nodes.len() {
        return Err(format!(
            "has {} nodes of columns and fields, and its schema has {}",
            found.len(),
            nodes.len()
        ));
    }
    for (found, node) in found.iter().zip(nodes) {
        let (length, nulls) = (found.length(), found.null_count());
        if length < 0 || (node.is_column && length != rows) {
            return Err(format!(
                "says that it has {rows} rows, and one of its columns has {length}"
            ));
        }
        if !(0..=length).contains(&nulls) {
            return Err(format!("says that {nulls} of {length} values are null"));
        }
    }
    let views = batch
        .variadic_buffer_counts()
        .map_err(damaged)?
        .into_iter()
        .flatten();
    let views = views
        .map(|count| usize::try_from(count).map_err(damaged))
        .collect::<Result<Vec<_>, _>>()?;
    if views.len()
        != nodes
            .iter()
            .filter(|node| node.values == BufferKind::Views)
            .count()
    {
        return Err("does not say how many buffers each of its views has".into());
    }
    let most = nodes
        .iter()
        .map(|node| node.buffers(is_version_4))
        .chain(views)
        .fold(0_usize, usize::saturating_add);
    let mut behind = 0;
    let mut count = 0_usize;
    for buffer in batch.buffers().map_err(damaged)?.into_iter().flatten() {
        count += 1;
        let bounds = u64::try_from(buffer.offset())
            .ok()
            .zip(u64::try_from(buffer.length()).ok());
        let ends = bounds
            .and_then(|(start, length)| start.checked_add(length))
            .filter(|end| *end <= body);
        let (Some((start, length)), Some(end)) = (bounds, ends) else {
            return Err("has a buffer that does not lie in it".into());
        };
        if length > 0 {
            if start < behind || start % 8 != 0 {
                return Err(
                    "has buffers that overlap, or begin between two words of 8 bytes".into(),
                );
            }
            behind = end;
        }
    }
    if count != most {
        return Err(format!("has {count} buffers, and its schema needs {most}"));
    }
    Ok(())
}

/// Empties what stands behind nulls, where a reader that looks at it may find no key and no text.
///
/// The message was checked.
pub(super) fn zero_nulls(
    body: &mut [u8],
    batch: &flat::RecordBatch,
    is_version_4: bool,
    nodes: &[ExpectedNode],
) {
    let mut buffers = batch.buffers.iter().flatten();
    let mut views = batch.variadic_buffer_counts.iter().flatten();
    for (found, node) in batch.nodes.iter().flatten().zip(nodes) {
        let own: Vec<Range<usize>> = buffers
            .by_ref()
            .take(node.buffers(is_version_4))
            .filter_map(buffer_range)
            .collect();
        if node.values == BufferKind::Views {
            let count = views
                .next()
                .and_then(|count| usize::try_from(*count).ok())
                .unwrap_or_default();
            buffers.by_ref().take(count).for_each(drop);
        }
        let (Ok(length), [nulls, places, ..]) = (usize::try_from(found.length), own.as_slice())
        else {
            continue;
        };
        if found.null_count == 0 || nulls.len() < length.div_ceil(8) {
            continue;
        }
        let bytes = match node.values {
            BufferKind::Any | BufferKind::Union => continue,
            BufferKind::Keys(bytes) | BufferKind::Texts(bytes) => bytes,
            BufferKind::Views => 16,
        };
        for row in (0..length).take_while(|row| (row + 1) * bytes <= places.len()) {
            if body[nulls.start + row / 8] >> (row % 8) & 1 == 1 {
                continue;
            }
            let at = |row: usize| places.start + row * bytes..places.start + (row + 1) * bytes;
            let emptied = match (node.values, own.get(2)) {
                (BufferKind::Texts(_), Some(texts)) => {
                    let offset = |row| {
                        usize::try_from(
                            body.get(at(row))
                                .filter(|_| at(row).end <= places.end)
                                .map(read_uint)?,
                        )
                        .ok()
                    };
                    let bounds = offset(row)
                        .zip(offset(row + 1))
                        .filter(|(start, end)| start <= end && *end <= texts.len());
                    bounds.map_or(0..0, |(start, end)| texts.start + start..texts.start + end)
                }
                _ => at(row),
            };
            body[emptied].fill(0);
        }
    }
}

/// A number of up to eight bytes.
fn read_uint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Where a buffer is in its body.
pub(super) fn buffer_range(buffer: &flat::Buffer) -> Option<Range<usize>> {
    let start = usize::try_from(buffer.offset).ok()?;
    Some(start..start.checked_add(usize::try_from(buffer.length).ok()?)?)
}
