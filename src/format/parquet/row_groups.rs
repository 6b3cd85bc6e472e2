//! Row groups of a size that is asked for: what comes in other batches is joined and cut.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value_types::{BoundedNumber, ByteSize};
use crate::format::batch::{RecordBatch, batch_bytes, concat_batches, slice_batch};
use crate::format::{Encoder, FormatError, Layout};

/// What a store of parquet may say besides what all files have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "parquet", deny_unknown_fields)]
pub struct ParquetStoreFields {
    /// How large the row groups of its files are: `rows`, or `bytes` of their values in memory. Files whose groups are of other sizes are decoded for it.
    #[schemars(example = serde_json::json!({ "rows": 100_000 }), extend("x-type" = "`{rows: N}` or `{bytes: SIZE}`", "x-default" = "as in the files that they come from; of tables, 131,072 rows or 64 MiB"))]
    pub(super) row_groups: Option<RowGroupsFields>,
}

/// `row_groups`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "row_groups", deny_unknown_fields)]
pub(super) struct RowGroupsFields {
    /// How many rows a group has; the last of a file may have fewer.
    rows: Option<BoundedNumber<1, { u32::MAX as u64 }>>,
    /// About how many bytes its values have in memory.
    bytes: Option<ByteSize>,
}

impl RowGroupsFields {
    /// The size that is asked for; `None` where that is none, or more than one.
    pub(super) fn size(self) -> Option<GroupSize> {
        match (self.rows, self.bytes) {
            (Some(rows), None) => Some(GroupSize::Rows(rows.0)),
            (None, Some(bytes)) if bytes.0 > 0 => Some(GroupSize::Bytes(bytes.0)),
            _ => None,
        }
    }
}

/// How large row groups are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GroupSize {
    /// So many rows.
    Rows(u64),
    /// About so many bytes in memory.
    Bytes(u64),
}

impl GroupSize {
    /// True for files whose groups are of this size already, so that they need not be decoded. How
    /// many bytes values have, no footer says.
    pub(super) fn fits(self, layouts: &[&Layout]) -> bool {
        let Self::Rows(wanted) = self else {
            return false;
        };
        let fits = |layout: &&Layout| match layout.groups.split_last() {
            None => true,
            Some((last, others)) => {
                last.rows <= wanted && others.iter().all(|group| group.rows == wanted)
            }
        };
        layouts.iter().all(fits)
    }
}

/// Joins and cuts what is written into groups of a size.
pub(super) struct GroupedEncoder<'w> {
    encoder: Box<dyn Encoder + 'w>,
    size: GroupSize,
    pending: Vec<RecordBatch>,
    rows: u64,
    bytes: u64,
}

impl<'w> GroupedEncoder<'w> {
    pub(super) fn new(encoder: Box<dyn Encoder + 'w>, size: GroupSize) -> Self {
        Self {
            encoder,
            size,
            pending: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Writes what is waiting, as groups of so many rows; what is left waits on, unless it is the
    /// end.
    fn flush(&mut self, group_rows: u64, is_end: bool) -> Result<(), FormatError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = concat_batches(std::mem::take(&mut self.pending))?;
        let height = batch.height() as u64;
        let mut first = 0;
        while height - first >= group_rows || is_end && first < height {
            let count = group_rows.min(height - first);
            self.encoder.write(slice_batch(&batch, first, count))?;
            first += count;
        }
        (self.rows, self.bytes) = (0, 0);
        if first < height {
            self.wait(slice_batch(&batch, first, height - first));
        }
        Ok(())
    }

    fn wait(&mut self, batch: RecordBatch) {
        self.rows += batch.height() as u64;
        self.bytes += batch_bytes(&batch);
        self.pending.push(batch);
    }

    /// How many rows a group has, by what is waiting.
    fn group_rows(&self) -> u64 {
        match self.size {
            GroupSize::Rows(rows) => rows,
            GroupSize::Bytes(bytes) => {
                let rows =
                    u128::from(self.rows) * u128::from(bytes) / u128::from(self.bytes.max(1));
                u64::try_from(rows).unwrap_or(u64::MAX).max(1)
            }
        }
    }
}

impl Encoder for GroupedEncoder<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
        if batch.height() == 0 {
            return Ok(());
        }
        self.wait(batch);
        let is_enough = match self.size {
            GroupSize::Rows(rows) => self.rows >= rows,
            GroupSize::Bytes(bytes) => self.bytes >= bytes,
        };
        if is_enough {
            self.flush(self.group_rows(), false)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, FormatError> {
        self.flush(self.group_rows(), true)?;
        self.encoder.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use polars_arrow::array::PrimitiveArray;
    use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

    use super::*;

    /// Groups as they are written, by their values.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<Vec<i64>>>>);

    impl Encoder for Written {
        fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
            let array = batch.arrays()[0]
                .as_any()
                .downcast_ref::<PrimitiveArray<i64>>();
            let values = array.expect("numbers").values_iter().copied().collect();
            self.0.lock().expect("groups").push(values);
            Ok(())
        }

        fn finish(self: Box<Self>) -> Result<u64, FormatError> {
            let groups = self.0.lock().expect("groups");
            Ok(groups.iter().map(|group| group.len() as u64).sum())
        }
    }

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let field = Field::new("n".into(), ArrowDataType::Int64, false);
        let schema = ArrowSchema::from_iter([(field.name.clone(), field)]);
        let array = PrimitiveArray::from_vec(values.clone().collect()).boxed();
        let height = usize::try_from(values.end - values.start).expect("rows");
        RecordBatch::new(height, Arc::new(schema), vec![array])
    }

    #[test]
    fn batches_of_any_size_become_groups_of_one() {
        for sizes in [
            vec![1; 25],
            vec![25],
            vec![9, 1, 15],
            vec![10, 10, 5],
            vec![0, 24, 0, 1],
        ] {
            let written = Written::default();
            let encoder = Box::new(written.clone());
            let mut grouped = Box::new(GroupedEncoder::new(encoder, GroupSize::Rows(10)));
            let mut next = 0;
            for size in &sizes {
                grouped.write(batch(next..next + size)).expect("a batch");
                next += size;
            }
            assert_eq!(grouped.finish().expect("an end"), 25, "{sizes:?}");
            let groups = written.0.lock().expect("groups").clone();
            let lengths: Vec<usize> = groups.iter().map(Vec::len).collect();
            assert_eq!(lengths, [10, 10, 5], "{sizes:?}");
            assert_eq!(groups.concat(), (0..25).collect::<Vec<_>>(), "{sizes:?}");
        }
    }

    #[test]
    fn groups_have_about_so_many_bytes() {
        let written = Written::default();
        let size = GroupSize::Bytes(800);
        let mut grouped = Box::new(GroupedEncoder::new(Box::new(written.clone()), size));
        for first in (0..1000).step_by(10) {
            grouped.write(batch(first..first + 10)).expect("a batch");
        }
        assert_eq!(grouped.finish().expect("an end"), 1000);
        let groups = written.0.lock().expect("groups").clone();
        assert_eq!(groups.len(), 10);
        assert!(groups.iter().all(|group| group.len() == 100));
        assert_eq!(groups.concat(), (0..1000).collect::<Vec<_>>());
    }
}
