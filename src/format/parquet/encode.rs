//! Encoding: record batches become row groups. Polars encodes the pages; what a file says of them
//! is written here.
//!
//! Statistics are made in `statistics`: no option of a library, and no environment variable,
//! decides a byte.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars_arrow::array::{Array, BinaryViewArray, Utf8ViewArray, View};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema};
use polars_error::PolarsResult;
use polars_parquet::parquet::page::{DataPageHeader, DictPage, Page};
use polars_parquet::write::{Encoding, ParquetType, get_dtype_encoding};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::codec::PageCodec;
use super::footer::RowGroup;
use super::leaves::{Leaf, SortOrder, leaves};
use super::levels::Levels;
use super::pages::{self, OPTIONS, WITHOUT_BOUNDS};
use super::relocated::RelocatedChunk;
use super::schema::{FileSchema, encode_error};
use super::statistics::StatisticsBuilder;
use super::thrift::{self, ThriftStruct, ThriftValue};
use super::writer::FileWriter;
use crate::format::batch::RecordBatch;
use crate::format::{Encoder, FormatError};

const PLAIN: i32 = 0;
const RLE: i32 = 3;

/// Of columns with a longer value, bounds are found here: polars copies them several times.
const LONG_VALUE_BYTES: usize = 1 << 20;

/// Begins a file with these columns; `model` is where they come from, for errors.
pub(super) fn begin<'w>(
    schema: FileSchema,
    model: PathBuf,
    codec: &PageCodec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let FileSchema {
        arrow,
        types,
        footer,
    } = schema;
    let leaves = leaves(footer.list(2)).map_err(FormatError::Encode)?;
    let mut left = leaves.iter();
    // A dictionary of floating point numbers would make one of 0 and -0.
    let plain = |(encoding, leaf): (Encoding, &Leaf)| {
        if leaf.order == SortOrder::Float {
            Encoding::Plain
        } else {
            encoding
        }
    };
    let encodings = arrow
        .iter_values()
        .map(|field| get_dtype_encoding(&field.dtype));
    let encodings = encodings
        .map(|each| each.into_iter().zip(left.by_ref()).map(plain).collect())
        .collect();
    let mut dtypes = Vec::new();
    arrow
        .iter_values()
        .for_each(|field| leaf_types(&field.dtype, &mut dtypes));
    let is_ordered = dtypes
        .iter()
        .zip(&leaves)
        .map(|(dtype, leaf)| is_ordered_as(dtype, leaf.order))
        .collect();
    let writer = FileWriter::new(out, footer)?;
    Ok(Box::new(GroupWriter {
        writer,
        types,
        leaves,
        encodings,
        is_ordered,
        arrow,
        model,
        codec: *codec,
    }))
}

fn leaf_types<'t>(dtype: &'t ArrowDataType, found: &mut Vec<&'t ArrowDataType>) {
    match dtype {
        ArrowDataType::LargeList(inner) => leaf_types(&inner.dtype, found),
        ArrowDataType::Struct(fields) => fields
            .iter()
            .for_each(|field| leaf_types(&field.dtype, found)),
        leaf => found.push(leaf),
    }
}

/// True where polars finds the smallest and the largest of an array's values by the order of the
/// column.
fn is_ordered_as(dtype: &ArrowDataType, order: SortOrder) -> bool {
    use ArrowDataType::{
        BinaryView, Boolean, Decimal, Dictionary, FixedSizeBinary, Float16, Float32, Float64,
        UInt8, UInt16, UInt32, UInt64, Utf8View,
    };
    match dtype {
        Boolean | UInt8 | UInt16 | UInt32 | UInt64 => order == SortOrder::Unsigned,
        Float16 | Float32 | Float64 => order == SortOrder::Float,
        Utf8View | Dictionary(..) | BinaryView | FixedSizeBinary(_) => order == SortOrder::Bytes,
        Decimal(..) => matches!(order, SortOrder::Decimal | SortOrder::Signed),
        _ => order == SortOrder::Signed,
    }
}

struct GroupWriter<'w> {
    writer: FileWriter<'w>,
    types: Vec<ParquetType>,
    leaves: Vec<Leaf>,
    encodings: Vec<Vec<Encoding>>,
    /// Of each leaf.
    is_ordered: Vec<bool>,
    arrow: Arc<ArrowSchema>,
    model: PathBuf,
    codec: PageCodec,
}

/// A chunk whose places are counted from its own beginning.
struct EncodedChunk {
    buffers: Vec<Vec<u8>>,
    meta: ThriftStruct,
    column_index: Option<Vec<u8>>,
    /// Offset, size and first row of every data page.
    pages: Vec<(usize, usize, usize)>,
    dictionary: Option<usize>,
}

impl GroupWriter<'_> {
    /// Encodes and compresses the columns of one group, all at once: that is where the time goes.
    fn encode_columns(&self, batch: RecordBatch) -> Result<Vec<EncodedChunk>, FormatError> {
        let rows = batch.height();
        let arrays = batch.into_arrays();
        let long: Vec<Option<LongValues>> = arrays
            .iter()
            .map(|array| LongValues::from_array(array.as_ref()))
            .collect();
        let columns: Vec<_> = arrays
            .into_iter()
            .zip(self.types.iter().cloned())
            .zip(&self.encodings)
            .zip(&long)
            .collect();
        let pages = columns
            .into_par_iter()
            .map(|(((array, field), encodings), long)| {
                pages::encode_pages(
                    array,
                    field,
                    if long.is_some() {
                        WITHOUT_BOUNDS
                    } else {
                        OPTIONS
                    },
                    encodings,
                )
            })
            .collect::<PolarsResult<Vec<_>>>()
            .map_err(encode_error)?;
        // A column with long values has no columns in it.
        let long: Vec<_> = pages
            .iter()
            .zip(&long)
            .flat_map(|(pages, long)| pages.iter().map(move |_| long.as_ref()))
            .collect();
        let pages: Vec<_> = pages
            .into_iter()
            .flatten()
            .map(|pages| pages.collect::<PolarsResult<Vec<_>>>())
            .collect::<PolarsResult<_>>()
            .map_err(encode_error)?;
        if pages.len() != self.leaves.len() {
            return Err(FormatError::Encode(format!(
                "it has {} columns, and its schema {}",
                pages.len(),
                self.leaves.len()
            )));
        }
        let codec = self.codec;
        let columns: Vec<_> = pages
            .into_iter()
            .zip(&self.leaves)
            .zip(&self.is_ordered)
            .zip(long)
            .collect();
        columns
            .into_par_iter()
            .map(|(((pages, leaf), is_ordered), long)| {
                let encoded = encode_chunk(&codec, &pages, (leaf, *is_ordered), long, rows);
                encoded.map_err(|error| {
                    FormatError::Encode(format!("column {}: {error}", leaf.name()))
                })
            })
            .collect()
    }
}

/// Texts or bytes of a column, of which some are long.
enum LongValues {
    Texts(Utf8ViewArray),
    Bytes(BinaryViewArray),
}

impl LongValues {
    /// The values of a column, if one of them is long.
    fn from_array(array: &dyn Array) -> Option<Self> {
        let is_long = |views: &[View]| {
            views
                .iter()
                .any(|view| view.length as usize > LONG_VALUE_BYTES)
        };
        if let Some(texts) = array.as_any().downcast_ref::<Utf8ViewArray>() {
            return is_long(texts.views()).then(|| Self::Texts(texts.clone()));
        }
        let bytes = array.as_any().downcast_ref::<BinaryViewArray>()?;
        is_long(bytes.views()).then(|| Self::Bytes(bytes.clone()))
    }

    /// The smallest and the largest of some rows, by their bytes.
    fn min_max(&self, rows: Range<usize>) -> Option<(&[u8], &[u8])> {
        let value = |row: usize| match self {
            Self::Texts(texts) => texts.get(row).map(str::as_bytes),
            Self::Bytes(bytes) => bytes.get(row),
        };
        let mut values = rows.filter_map(value);
        let first = values.next()?;
        Some(values.fold((first, first), |(min, max), value| {
            (min.min(value), max.max(value))
        }))
    }
}

/// The pages of one column, packed, and what is said of them.
fn encode_chunk(
    codec: &PageCodec,
    pages: &[Page],
    (leaf, is_ordered): (&Leaf, bool),
    long: Option<&LongValues>,
    rows: usize,
) -> Result<EncodedChunk, String> {
    let mut chunk = ChunkWriter {
        codec,
        buffers: Vec::new(),
        length: 0,
        uncompressed: 0,
    };
    let mut collected = StatisticsBuilder::new(leaf);
    let (mut places, mut dictionary) = (Vec::new(), None);
    let (mut entries, mut begun) = (0, 0);
    let mut encodings = vec![RLE];
    for page in pages {
        let offset = chunk.length;
        match page {
            Page::Dict(page) => {
                encodings.push(PLAIN);
                chunk.write_dictionary_page(page)?;
                dictionary = Some(offset);
            }
            Page::Data(page) => {
                let DataPageHeader::V1(header) = page.header() else {
                    return Err("a page is of another version".into());
                };
                let own = data_page_header(header.num_values, header.encoding.0);
                let (counts, _) = Levels::default().add_v1(&own, page.buffer(), leaf)?;
                let found = match (long, &header.statistics) {
                    _ if !is_ordered => None,
                    (Some(long), _) => long.min_max(begun..begun + counts.rows),
                    (None, Some(found)) => {
                        found.min_value.as_deref().zip(found.max_value.as_deref())
                    }
                    (None, None) => None,
                };
                collected.add_page(counts, found);
                encodings.push(header.encoding.0);
                chunk.write_data_page(own, page.buffer())?;
                places.push((offset, chunk.length - offset, begun));
                entries += counts.entries;
                begun += counts.rows;
            }
        }
    }
    if begun != rows {
        return Err(format!("{rows} rows became {begun}"));
    }
    encodings.sort_unstable();
    encodings.dedup();
    let number = |number: usize| {
        i64::try_from(number)
            .map(ThriftValue::I64)
            .map_err(|error| error.to_string())
    };
    let mut meta = ThriftStruct::default();
    meta.set(
        1,
        ThriftValue::I32(
            i32::try_from(leaf.element.get_i32(1).unwrap_or_default())
                .map_err(|error| error.to_string())?,
        ),
    );
    meta.set(2, thrift::i32_list(encodings))
        .set(3, thrift::binary_list(leaf.path.iter().cloned()));
    meta.set(
        4,
        ThriftValue::I32(i32::try_from(codec.id).map_err(|error| error.to_string())?),
    );
    meta.set(5, number(entries)?)
        .set(6, number(chunk.uncompressed)?)
        .set(7, number(chunk.length)?);
    meta.set(12, collected.chunk_statistics());
    Ok(EncodedChunk {
        buffers: chunk.buffers,
        meta,
        column_index: collected.column_index(),
        pages: places,
        dictionary,
    })
}

/// What a data page says of itself.
fn data_page_header(entries: i32, encoding: i32) -> ThriftStruct {
    let mut own = ThriftStruct::default();
    own.set(1, ThriftValue::I32(entries))
        .set(2, ThriftValue::I32(encoding))
        .set(3, ThriftValue::I32(RLE))
        .set(4, ThriftValue::I32(RLE));
    own
}

/// The pages of a chunk as they are packed.
struct ChunkWriter<'a> {
    codec: &'a PageCodec,
    /// One after another; they are not joined, for one may be as large as all the rest.
    buffers: Vec<Vec<u8>>,
    /// The bytes of all of them.
    length: usize,
    uncompressed: usize,
}

impl ChunkWriter<'_> {
    fn write_data_page(&mut self, own: ThriftStruct, body: &[u8]) -> Result<(), String> {
        self.write_page(0, 5, own, body)
    }

    fn write_dictionary_page(&mut self, page: &DictPage) -> Result<(), String> {
        let entries = i32::try_from(page.num_values).map_err(|error| error.to_string())?;
        let mut own = ThriftStruct::default();
        own.set(1, ThriftValue::I32(entries))
            .set(2, ThriftValue::I32(PLAIN));
        self.write_page(2, 7, own, &page.buffer)
    }

    fn write_page(
        &mut self,
        kind: i32,
        id: i16,
        own: ThriftStruct,
        body: &[u8],
    ) -> Result<(), String> {
        let small = |number: usize| {
            i32::try_from(number)
                .map(ThriftValue::I32)
                .map_err(|_| format!("a page of {number} bytes is too large"))
        };
        let mut packed = Vec::new();
        self.codec.compress(body, &mut packed)?;
        let mut header = ThriftStruct::default();
        header
            .set(1, ThriftValue::I32(kind))
            .set(2, small(body.len())?)
            .set(3, small(packed.len())?)
            .set(id, ThriftValue::Struct(own));
        let header = header.to_bytes();
        self.uncompressed += header.len() + body.len();
        self.length += header.len() + packed.len();
        self.buffers.extend([header, packed]);
        Ok(())
    }
}

impl EncodedChunk {
    /// The chunk as it lies at `at`.
    fn into_relocated(self, at: u64) -> Result<RelocatedChunk, FormatError> {
        let number = |number: u64| {
            i64::try_from(number)
                .map(ThriftValue::I64)
                .map_err(encode_error)
        };
        let place = |offset: usize| number(at + offset as u64);
        let mut meta = self.meta;
        meta.set(
            9,
            place(self.pages.first().map_or(0, |(offset, ..)| *offset))?,
        );
        meta.set_or_remove(11, self.dictionary.map(place).transpose()?);
        let location =
            |(offset, size, row): &(usize, usize, usize)| -> Result<ThriftStruct, FormatError> {
                let mut location = ThriftStruct::default();
                location
                    .set(1, place(*offset)?)
                    .set(
                        2,
                        ThriftValue::I32(i32::try_from(*size).map_err(encode_error)?),
                    )
                    .set(3, number(*row as u64)?);
                Ok(location)
            };
        let mut index = ThriftStruct::default();
        index.set(
            1,
            thrift::struct_list(
                self.pages
                    .iter()
                    .map(location)
                    .collect::<Result<Vec<_>, _>>()?,
            ),
        );
        let mut fields = ThriftStruct::default();
        fields.set(2, ThriftValue::I64(0));
        Ok(RelocatedChunk {
            fields,
            meta,
            column_index: self.column_index,
            offset_index: Some(index),
        })
    }
}

impl Encoder for GroupWriter<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
        check_types(batch.schema(), &self.arrow, &self.model)?;
        if batch.height() == 0 {
            return Ok(());
        }
        let rows = batch.height() as u64;
        let mut chunks = Vec::new();
        for encoded in self.encode_columns(batch)? {
            let at = self.writer.position();
            encoded
                .buffers
                .iter()
                .try_for_each(|piece| self.writer.write_bytes(piece))?;
            chunks.push(encoded.into_relocated(at)?);
        }
        let mut fields = ThriftStruct::default();
        fields
            .set(
                3,
                ThriftValue::I64(i64::try_from(rows).map_err(encode_error)?),
            )
            .set(5, ThriftValue::I64(0))
            .set(6, ThriftValue::I64(0))
            .set(7, ThriftValue::I16(0));
        let filters = chunks.iter().map(|_| None).collect();
        self.writer.end_group(
            RowGroup {
                fields,
                rows,
                chunks: Vec::new(),
            },
            chunks,
            filters,
        )
    }

    fn finish(self: Box<Self>) -> Result<u64, FormatError> {
        self.writer.finish()
    }
}

/// Packed files may agree in parquet's types and still differ in what Arrow's metadata calls them.
fn check_types(found: &ArrowSchema, schema: &ArrowSchema, model: &Path) -> Result<(), FormatError> {
    match schema.iter_values().find(|field| {
        found
            .get(&field.name)
            .is_none_or(|found| found.dtype != field.dtype)
    }) {
        None => Ok(()),
        Some(field) => {
            let found = found.get(&field.name).map_or_else(
                || "missing".to_string(),
                |found| format!("{:?}", found.dtype),
            );
            Err(FormatError::Encode(format!(
                "column {} is {found}, and {:?} in {}",
                field.name,
                field.dtype,
                model.display()
            )))
        }
    }
}
