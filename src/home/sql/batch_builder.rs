//! Rows on their way from a database to an encoder: columns that are being filled, cut into
//! batches.
//!
//! Where groups and files end depends on the rows alone, never on how they came.

use std::sync::Arc;

use polars_arrow::array::{
    Array, BooleanArray, ListArray, MutableBinaryViewArray, MutableBooleanArray,
    MutablePrimitiveArray, PrimitiveArray,
};
use polars_arrow::bitmap::MutableBitmap;
use polars_arrow::datatypes::ArrowSchema;
use polars_arrow::offset::Offsets;
use polars_arrow::types::NativeType;

use crate::connection::types::{ColumnType, SqlColumn};
use crate::error::{Error, ErrorKind};
use crate::format::batch::RecordBatch;
use crate::home::PartBatch;

/// After as many rows a group ends.
const GROUP_ROWS: usize = 1 << 17;

/// After as many bytes of values a group ends.
const GROUP_BYTES: usize = 64 << 20;

/// After as many bytes of values a batch ends.
const BATCH_BYTES: usize = 4 << 20;

/// A column that is being filled.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    values: ColumnValues,
    kind: ColumnType,
    capacity: usize,
}

/// What has come so far.
#[derive(Debug)]
pub(super) enum ColumnValues {
    /// True or false.
    Boolean(MutableBooleanArray),
    /// Of 8 bits.
    Int8(MutablePrimitiveArray<i8>),
    /// Of 16 bits.
    Int16(MutablePrimitiveArray<i16>),
    /// Of 32 bits, dates among them.
    Int32(MutablePrimitiveArray<i32>),
    /// Of 64 bits, times among them.
    Int64(MutablePrimitiveArray<i64>),
    /// Of 128 bits: decimals.
    Int128(MutablePrimitiveArray<i128>),
    /// Of 8 bits.
    UInt8(MutablePrimitiveArray<u8>),
    /// Of 16 bits.
    UInt16(MutablePrimitiveArray<u16>),
    /// Of 32 bits.
    UInt32(MutablePrimitiveArray<u32>),
    /// Of 64 bits.
    UInt64(MutablePrimitiveArray<u64>),
    /// Of 32 bits.
    Float32(MutablePrimitiveArray<f32>),
    /// Of 64 bits.
    Float64(MutablePrimitiveArray<f64>),
    /// UTF-8.
    Text(MutableBinaryViewArray<str>),
    /// Bytes.
    Binary(MutableBinaryViewArray<[u8]>),
    /// Lists.
    List {
        /// Where each ends.
        ends: Offsets<i64>,
        /// Which of them are there; nothing as long as all are.
        validity: Option<MutableBitmap>,
        /// What is in them.
        inner: Box<ColumnBuilder>,
    },
}

impl ColumnValues {
    fn new(kind: &ColumnType, room: usize) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(MutableBooleanArray::with_capacity(room)),
            ColumnType::Int8 => Self::Int8(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Int16 => Self::Int16(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Int32 | ColumnType::Date => {
                Self::Int32(MutablePrimitiveArray::with_capacity(room))
            }
            ColumnType::Int64
            | ColumnType::Time
            | ColumnType::Timestamp
            | ColumnType::TimestampUtc => Self::Int64(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Decimal { .. } => Self::Int128(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::UInt8 => Self::UInt8(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::UInt16 => Self::UInt16(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::UInt32 => Self::UInt32(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::UInt64 => Self::UInt64(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Float32 => Self::Float32(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Float64 => Self::Float64(MutablePrimitiveArray::with_capacity(room)),
            ColumnType::Text => Self::Text(MutableBinaryViewArray::with_capacity(room)),
            ColumnType::Binary => Self::Binary(MutableBinaryViewArray::with_capacity(room)),
            ColumnType::List(inner) => Self::List {
                ends: Offsets::with_capacity(room),
                validity: None,
                inner: Box::new(ColumnBuilder::new(inner, room)),
            },
        }
    }
}

impl ColumnBuilder {
    /// An empty column.
    pub(super) fn new(kind: &ColumnType, room: usize) -> Self {
        Self {
            values: ColumnValues::new(kind, room),
            kind: kind.clone(),
            capacity: room,
        }
    }

    /// What it holds.
    pub(super) fn kind(&self) -> &ColumnType {
        &self.kind
    }

    /// What has come so far, to add to.
    pub(super) fn values(&mut self) -> &mut ColumnValues {
        &mut self.values
    }

    /// Adds a row without a value.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            ColumnValues::Boolean(values) => values.push(None),
            ColumnValues::Int8(values) => values.push(None),
            ColumnValues::Int16(values) => values.push(None),
            ColumnValues::Int32(values) => values.push(None),
            ColumnValues::Int64(values) => values.push(None),
            ColumnValues::Int128(values) => values.push(None),
            ColumnValues::UInt8(values) => values.push(None),
            ColumnValues::UInt16(values) => values.push(None),
            ColumnValues::UInt32(values) => values.push(None),
            ColumnValues::UInt64(values) => values.push(None),
            ColumnValues::Float32(values) => values.push(None),
            ColumnValues::Float64(values) => values.push(None),
            ColumnValues::Text(values) => values.push_null(),
            ColumnValues::Binary(values) => values.push_null(),
            ColumnValues::List { ends, validity, .. } => {
                let before = ends.len_proxy();
                ends.extend_constant(1);
                validity
                    .get_or_insert_with(|| MutableBitmap::from_len_set(before))
                    .push(false);
            }
        }
    }

    /// Ends a list whose values were added to the inner column.
    pub(super) fn end_list(&mut self) {
        if let ColumnValues::List {
            ends,
            validity,
            inner,
        } = &mut self.values
        {
            let added = inner.len() - usize::try_from(*ends.last()).unwrap_or_default();
            // Offsets of 64 bits hold whatever fits into memory.
            ends.try_push(added).unwrap_or_default();
            if let Some(validity) = validity {
                validity.push(true);
            }
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            ColumnValues::Boolean(values) => values.values().len(),
            ColumnValues::Int8(values) => values.values().len(),
            ColumnValues::Int16(values) => values.values().len(),
            ColumnValues::Int32(values) => values.values().len(),
            ColumnValues::Int64(values) => values.values().len(),
            ColumnValues::Int128(values) => values.values().len(),
            ColumnValues::UInt8(values) => values.values().len(),
            ColumnValues::UInt16(values) => values.values().len(),
            ColumnValues::UInt32(values) => values.values().len(),
            ColumnValues::UInt64(values) => values.values().len(),
            ColumnValues::Float32(values) => values.values().len(),
            ColumnValues::Float64(values) => values.values().len(),
            ColumnValues::Text(values) => values.len(),
            ColumnValues::Binary(values) => values.len(),
            ColumnValues::List { ends, .. } => ends.len_proxy(),
        }
    }

    /// Takes out what has come so far.
    fn finish_array(&mut self) -> Box<dyn Array> {
        fn primitive<T: NativeType>(
            values: MutablePrimitiveArray<T>,
            kind: &ColumnType,
        ) -> Box<dyn Array> {
            PrimitiveArray::from(values).to(kind.to_arrow()).boxed()
        }
        let kind = &self.kind;
        match std::mem::replace(&mut self.values, ColumnValues::new(kind, self.capacity)) {
            ColumnValues::Boolean(values) => BooleanArray::from(values).boxed(),
            ColumnValues::Int8(values) => primitive(values, kind),
            ColumnValues::Int16(values) => primitive(values, kind),
            ColumnValues::Int32(values) => primitive(values, kind),
            ColumnValues::Int64(values) => primitive(values, kind),
            ColumnValues::Int128(values) => primitive(values, kind),
            ColumnValues::UInt8(values) => primitive(values, kind),
            ColumnValues::UInt16(values) => primitive(values, kind),
            ColumnValues::UInt32(values) => primitive(values, kind),
            ColumnValues::UInt64(values) => primitive(values, kind),
            ColumnValues::Float32(values) => primitive(values, kind),
            ColumnValues::Float64(values) => primitive(values, kind),
            ColumnValues::Text(values) => values.freeze().boxed(),
            ColumnValues::Binary(values) => values.freeze().boxed(),
            ColumnValues::List {
                ends,
                validity,
                mut inner,
            } => ListArray::<i64>::new(
                kind.to_arrow(),
                ends.into(),
                inner.finish_array(),
                validity.map(Into::into),
            )
            .boxed(),
        }
    }
}

/// How rows are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// A part has no more rows.
    pub rows_per_part: u64,
    /// A batch has no more rows.
    pub batch_rows: usize,
}

/// Fills columns row by row, and says when a batch is full.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    schema: Arc<ArrowSchema>,
    /// The columns, in their order.
    pub builders: Vec<ColumnBuilder>,
    limits: BatchLimits,
    width: usize,
    batch: (usize, usize),
    group: (usize, usize),
    part: u64,
    total_rows: u64,
}

impl BatchBuilder {
    /// Columns without a row.
    pub(super) fn new(columns: Arc<[SqlColumn]>, limits: BatchLimits) -> Self {
        let builders: Vec<ColumnBuilder> = columns
            .iter()
            .map(|column| ColumnBuilder::new(&column.kind, limits.batch_rows))
            .collect();
        let width = columns.iter().map(|column| fixed_width(&column.kind)).sum();
        let arrow = columns
            .iter()
            .map(SqlColumn::to_arrow)
            .map(|field| (field.name.clone(), field))
            .collect();
        Self {
            schema: Arc::new(arrow),
            builders,
            limits,
            width,
            batch: (0, 0),
            group: (0, 0),
            part: 0,
            total_rows: 0,
        }
    }

    /// All rows so far.
    pub(super) fn total_rows(&self) -> u64 {
        self.total_rows
    }

    /// A row is whole; `bytes` are those of its texts and lists. Gives a batch when it is full.
    pub(super) fn end_row(&mut self, bytes: usize) -> Result<Option<PartBatch>, Error> {
        let bytes = bytes + self.width;
        let grown = |(rows, sum): (usize, usize)| (rows + 1, sum + bytes);
        (self.batch, self.group) = (grown(self.batch), grown(self.group));
        (self.part, self.total_rows) = (self.part + 1, self.total_rows + 1);
        let ends_part = self.part >= self.limits.rows_per_part;
        let ends_group = ends_part || self.group.0 >= GROUP_ROWS || self.group.1 >= GROUP_BYTES;
        let is_full =
            ends_group || self.batch.0 >= self.limits.batch_rows || self.batch.1 >= BATCH_BYTES;
        if is_full {
            self.build_batch(ends_group, ends_part).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The rows that are left, or one batch without rows where there never was one.
    pub(super) fn finish(&mut self) -> Result<Option<PartBatch>, Error> {
        if self.batch.0 > 0 || self.total_rows == 0 {
            self.build_batch(true, true).map(Some)
        } else {
            Ok(None)
        }
    }

    fn build_batch(&mut self, ends_group: bool, ends_part: bool) -> Result<PartBatch, Error> {
        let height = self.batch.0;
        let arrays = self
            .builders
            .iter_mut()
            .map(ColumnBuilder::finish_array)
            .collect();
        let rows = RecordBatch::try_new(height, self.schema.clone(), arrays)
            .map_err(|error| Error::new(ErrorKind::Flow, error.to_string()))?;
        self.batch = (0, 0);
        if ends_group {
            self.group = (0, 0);
        }
        if ends_part {
            self.part = 0;
        }
        Ok(PartBatch {
            rows,
            ends_group,
            ends_part,
        })
    }
}

/// The bytes of a value in memory, but for those of texts and lists.
fn fixed_width(kind: &ColumnType) -> usize {
    match kind {
        ColumnType::Boolean | ColumnType::Int8 | ColumnType::UInt8 => 1,
        ColumnType::Int16 | ColumnType::UInt16 => 2,
        ColumnType::Int32 | ColumnType::UInt32 | ColumnType::Float32 | ColumnType::Date => 4,
        ColumnType::Int64
        | ColumnType::UInt64
        | ColumnType::Float64
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::TimestampUtc => 8,
        ColumnType::Decimal { .. }
        | ColumnType::Text
        | ColumnType::Binary
        | ColumnType::List(_) => 16,
    }
}
