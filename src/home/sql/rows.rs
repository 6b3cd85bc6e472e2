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

use crate::connection::types::{Column, Type};
use crate::error::{Error, ErrorKind};
use crate::format::batch::RecordBatch;
use crate::home::Batch;

/// After as many rows a group ends.
const GROUP_ROWS: usize = 1 << 17;

/// After as many bytes of values a group ends.
const GROUP_BYTES: usize = 64 << 20;

/// After as many bytes of values a batch ends.
const BATCH_BYTES: usize = 4 << 20;

/// A column that is being filled.
#[derive(Debug)]
pub(super) struct Builder {
    values: Values,
    kind: Type,
    room: usize,
}

/// What has come so far.
#[derive(Debug)]
pub(super) enum Values {
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
        inner: Box<Builder>,
    },
}

impl Values {
    fn new(kind: &Type, room: usize) -> Self {
        match kind {
            Type::Boolean => Self::Boolean(MutableBooleanArray::with_capacity(room)),
            Type::Int8 => Self::Int8(MutablePrimitiveArray::with_capacity(room)),
            Type::Int16 => Self::Int16(MutablePrimitiveArray::with_capacity(room)),
            Type::Int32 | Type::Date => Self::Int32(MutablePrimitiveArray::with_capacity(room)),
            Type::Int64 | Type::Time | Type::Timestamp | Type::TimestampUtc => {
                Self::Int64(MutablePrimitiveArray::with_capacity(room))
            }
            Type::Decimal { .. } => Self::Int128(MutablePrimitiveArray::with_capacity(room)),
            Type::UInt8 => Self::UInt8(MutablePrimitiveArray::with_capacity(room)),
            Type::UInt16 => Self::UInt16(MutablePrimitiveArray::with_capacity(room)),
            Type::UInt32 => Self::UInt32(MutablePrimitiveArray::with_capacity(room)),
            Type::UInt64 => Self::UInt64(MutablePrimitiveArray::with_capacity(room)),
            Type::Float32 => Self::Float32(MutablePrimitiveArray::with_capacity(room)),
            Type::Float64 => Self::Float64(MutablePrimitiveArray::with_capacity(room)),
            Type::Text => Self::Text(MutableBinaryViewArray::with_capacity(room)),
            Type::Binary => Self::Binary(MutableBinaryViewArray::with_capacity(room)),
            Type::List(inner) => Self::List {
                ends: Offsets::with_capacity(room),
                validity: None,
                inner: Box::new(Builder::new(inner, room)),
            },
        }
    }
}

impl Builder {
    /// An empty column.
    pub(super) fn new(kind: &Type, room: usize) -> Self {
        Self {
            values: Values::new(kind, room),
            kind: kind.clone(),
            room,
        }
    }

    /// What it holds.
    pub(super) fn kind(&self) -> &Type {
        &self.kind
    }

    /// What has come so far, to add to.
    pub(super) fn values(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Adds a row without a value.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.push(None),
            Values::Int8(values) => values.push(None),
            Values::Int16(values) => values.push(None),
            Values::Int32(values) => values.push(None),
            Values::Int64(values) => values.push(None),
            Values::Int128(values) => values.push(None),
            Values::UInt8(values) => values.push(None),
            Values::UInt16(values) => values.push(None),
            Values::UInt32(values) => values.push(None),
            Values::UInt64(values) => values.push(None),
            Values::Float32(values) => values.push(None),
            Values::Float64(values) => values.push(None),
            Values::Text(values) => values.push_null(),
            Values::Binary(values) => values.push_null(),
            Values::List { ends, validity, .. } => {
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
        if let Values::List {
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
            Values::Boolean(values) => values.values().len(),
            Values::Int8(values) => values.values().len(),
            Values::Int16(values) => values.values().len(),
            Values::Int32(values) => values.values().len(),
            Values::Int64(values) => values.values().len(),
            Values::Int128(values) => values.values().len(),
            Values::UInt8(values) => values.values().len(),
            Values::UInt16(values) => values.values().len(),
            Values::UInt32(values) => values.values().len(),
            Values::UInt64(values) => values.values().len(),
            Values::Float32(values) => values.values().len(),
            Values::Float64(values) => values.values().len(),
            Values::Text(values) => values.len(),
            Values::Binary(values) => values.len(),
            Values::List { ends, .. } => ends.len_proxy(),
        }
    }

    /// Takes out what has come so far.
    fn take(&mut self) -> Box<dyn Array> {
        fn primitive<T: NativeType>(
            values: MutablePrimitiveArray<T>,
            kind: &Type,
        ) -> Box<dyn Array> {
            PrimitiveArray::from(values).to(kind.to_arrow()).boxed()
        }
        let kind = &self.kind;
        match std::mem::replace(&mut self.values, Values::new(kind, self.room)) {
            Values::Boolean(values) => BooleanArray::from(values).boxed(),
            Values::Int8(values) => primitive(values, kind),
            Values::Int16(values) => primitive(values, kind),
            Values::Int32(values) => primitive(values, kind),
            Values::Int64(values) => primitive(values, kind),
            Values::Int128(values) => primitive(values, kind),
            Values::UInt8(values) => primitive(values, kind),
            Values::UInt16(values) => primitive(values, kind),
            Values::UInt32(values) => primitive(values, kind),
            Values::UInt64(values) => primitive(values, kind),
            Values::Float32(values) => primitive(values, kind),
            Values::Float64(values) => primitive(values, kind),
            Values::Text(values) => values.freeze().boxed(),
            Values::Binary(values) => values.freeze().boxed(),
            Values::List {
                ends,
                validity,
                mut inner,
            } => ListArray::<i64>::new(
                kind.to_arrow(),
                ends.into(),
                inner.take(),
                validity.map(Into::into),
            )
            .boxed(),
        }
    }
}

/// How rows are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A part has no more rows.
    pub rows_per_part: u64,
    /// A batch has no more rows.
    pub batch_rows: usize,
}

/// Fills columns row by row, and says when a batch is full.
#[derive(Debug)]
pub(super) struct Filling {
    arrow: Arc<ArrowSchema>,
    /// The columns, in their order.
    pub builders: Vec<Builder>,
    limits: Limits,
    width: usize,
    batch: (usize, usize),
    group: (usize, usize),
    part: u64,
    rows: u64,
}

impl Filling {
    /// Columns without a row.
    pub(super) fn new(columns: Arc<[Column]>, limits: Limits) -> Self {
        let builders: Vec<Builder> = columns
            .iter()
            .map(|column| Builder::new(&column.kind, limits.batch_rows))
            .collect();
        let width = columns.iter().map(|column| width(&column.kind)).sum();
        let arrow = columns
            .iter()
            .map(Column::to_arrow)
            .map(|field| (field.name.clone(), field))
            .collect();
        Self {
            arrow: Arc::new(arrow),
            builders,
            limits,
            width,
            batch: (0, 0),
            group: (0, 0),
            part: 0,
            rows: 0,
        }
    }

    /// All rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// A row is whole; `bytes` are those of its texts and lists. Gives a batch when it is full.
    pub(super) fn end_row(&mut self, bytes: usize) -> Result<Option<Batch>, Error> {
        let bytes = bytes + self.width;
        let grown = |(rows, sum): (usize, usize)| (rows + 1, sum + bytes);
        (self.batch, self.group) = (grown(self.batch), grown(self.group));
        (self.part, self.rows) = (self.part + 1, self.rows + 1);
        let ends_part = self.part >= self.limits.rows_per_part;
        let ends_group = ends_part || self.group.0 >= GROUP_ROWS || self.group.1 >= GROUP_BYTES;
        let is_full =
            ends_group || self.batch.0 >= self.limits.batch_rows || self.batch.1 >= BATCH_BYTES;
        if is_full {
            self.batch(ends_group, ends_part).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The rows that are left, or one batch without rows where there never was one.
    pub(super) fn finish(&mut self) -> Result<Option<Batch>, Error> {
        if self.batch.0 > 0 || self.rows == 0 {
            self.batch(true, true).map(Some)
        } else {
            Ok(None)
        }
    }

    fn batch(&mut self, ends_group: bool, ends_part: bool) -> Result<Batch, Error> {
        let height = self.batch.0;
        let arrays = self.builders.iter_mut().map(Builder::take).collect();
        let rows = RecordBatch::try_new(height, self.arrow.clone(), arrays)
            .map_err(|error| Error::new(ErrorKind::Flow, error.to_string()))?;
        self.batch = (0, 0);
        if ends_group {
            self.group = (0, 0);
        }
        if ends_part {
            self.part = 0;
        }
        Ok(Batch {
            rows,
            ends_group,
            ends_part,
        })
    }
}

/// The bytes of a value in memory, but for those of texts and lists.
fn width(kind: &Type) -> usize {
    match kind {
        Type::Boolean | Type::Int8 | Type::UInt8 => 1,
        Type::Int16 | Type::UInt16 => 2,
        Type::Int32 | Type::UInt32 | Type::Float32 | Type::Date => 4,
        Type::Int64
        | Type::UInt64
        | Type::Float64
        | Type::Time
        | Type::Timestamp
        | Type::TimestampUtc => 8,
        Type::Decimal { .. } | Type::Text | Type::Binary | Type::List(_) => 16,
    }
}
