//! Bounds of row groups, as their footer says them: only those that every writer means the same by.
//! Floats have values beside every order, and what stands in the first two fields of statistics was
//! ordered in ways of its own.

use std::collections::BTreeSet;

use polars_arrow::array::{Array, PrimitiveArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_arrow::types::NativeType;

use super::canonical;
use super::footer::{ColumnChunk, Footer};
use super::leaves::{Leaf, SortOrder};
use super::thrift::{ThriftStruct, ThriftValue};
use crate::format::{ColumnBounds, FormatError, GroupBounds, OpenFile};

/// A column of which groups may have bounds.
struct BoundedColumn<'a> {
    /// Which of the leaves it is.
    number: usize,
    leaf: &'a Leaf,
    field: Field,
}

/// The groups of a file with the bounds of these columns.
pub(super) fn group_bounds(
    source: &OpenFile,
    columns: &BTreeSet<String>,
) -> Result<Vec<GroupBounds>, FormatError> {
    let footer = Footer::read(source)?;
    let schema = canonical::arrow_schema(source)?;
    let orders = footer.fields.list(7);
    let is_ordered = |number: usize| {
        let order = orders.get(number).and_then(ThriftValue::as_struct);
        order.is_some_and(|order| order.get_struct(1).is_some())
    };
    let leaves = footer.leaves.iter().enumerate();
    let bounded = leaves.filter_map(|(number, leaf)| {
        let [name] = leaf.path.as_slice() else {
            return None;
        };
        let name = std::str::from_utf8(name).ok()?;
        let field = schema.get(name).filter(|_| columns.contains(name))?;
        let is_plain = leaf.max_repetition == 0 && is_ordered(number);
        is_plain.then(|| BoundedColumn {
            number,
            leaf,
            field: field.clone(),
        })
    });
    let bounded: Vec<BoundedColumn<'_>> = bounded.collect();
    if bounded.is_empty() {
        return Ok(Vec::new());
    }
    let groups = footer.groups.iter().map(|group| {
        let bounds = bounded.iter().filter_map(|column| {
            let found = chunk_bounds(group.chunks.get(column.number)?, column)?;
            Some((column.field.name.to_string(), found))
        });
        GroupBounds {
            rows: group.rows,
            columns: bounds.collect::<ColumnBounds>(),
        }
    });
    Ok(groups.collect())
}

/// The smallest and the largest value of a chunk.
fn chunk_bounds(
    chunk: &ColumnChunk,
    column: &BoundedColumn<'_>,
) -> Option<(Box<dyn Array>, Box<dyn Array>)> {
    let statistics: &ThriftStruct = chunk.meta.get_struct(12)?;
    // Writers may cut bounds short, and say so.
    if [7, 8]
        .iter()
        .any(|exact| statistics.get_bool(*exact) == Some(false))
    {
        return None;
    }
    let number = |id: i16| number(statistics.binary(id)?, column.leaf);
    let (smallest, largest) = (number(6)?, number(5)?);
    if smallest > largest {
        return None;
    }
    let dtype = &column.field.dtype;
    Some((one_value(smallest, dtype)?, one_value(largest, dtype)?))
}

/// The number that bytes are in a column.
fn number(bytes: &[u8], leaf: &Leaf) -> Option<i128> {
    let physical = leaf.element.get_i32(1)?;
    Some(match (leaf.order, physical, bytes.len()) {
        (SortOrder::Signed, 1, 4) => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        (SortOrder::Signed, 2, 8) => i64::from_le_bytes(bytes.try_into().ok()?).into(),
        (SortOrder::Unsigned, 1, 4) => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        (SortOrder::Unsigned, 2, 8) => u64::from_le_bytes(bytes.try_into().ok()?).into(),
        (SortOrder::Decimal, 7, length @ 1..=16)
            if leaf.element.get_i32(2) == i64::try_from(length).ok() =>
        {
            let is_negative = bytes.first().is_some_and(|first| first & 0x80 > 0);
            let fill = if is_negative { 0xff } else { 0 };
            let mut whole = [fill; 16];
            whole[16 - bytes.len()..].copy_from_slice(bytes);
            i128::from_be_bytes(whole)
        }
        _ => return None,
    })
}

/// A number as an array of one value of a type.
fn one_value(number: i128, dtype: &ArrowDataType) -> Option<Box<dyn Array>> {
    use ArrowDataType as T;
    fn one<T: NativeType + TryFrom<i128>>(
        number: i128,
        dtype: &ArrowDataType,
    ) -> Option<Box<dyn Array>> {
        let value = T::try_from(number).ok()?;
        let array = PrimitiveArray::try_new(dtype.clone(), vec![value].into(), None);
        array.ok().map(|array| array.boxed())
    }
    match dtype {
        T::Int8 => one::<i8>(number, dtype),
        T::Int16 => one::<i16>(number, dtype),
        T::Int32 | T::Date32 => one::<i32>(number, dtype),
        T::Int64 | T::Timestamp(..) => one::<i64>(number, dtype),
        T::UInt8 => one::<u8>(number, dtype),
        T::UInt16 => one::<u16>(number, dtype),
        T::UInt32 => one::<u32>(number, dtype),
        T::UInt64 => one::<u64>(number, dtype),
        T::Decimal(..) => one::<i128>(number, dtype),
        _ => None,
    }
}
