//! Encoding: record batches become messages, which are packed here.

use std::io::Write;
use std::sync::Arc;

use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, Metadata};
use polars_arrow::io::ipc::IpcField;
use polars_arrow::io::ipc::write::common_sync::{write_continuation, write_message};
use polars_arrow::io::ipc::write::{
    DictionaryTracker, EncodedData, FileWriter, WriteOptions, default_ipc_fields,
    encode_new_dictionaries, encode_record_batch, schema_to_bytes,
};
use polars_error::PolarsResult;

use super::Container;
use super::body::{BodyCodec, compress_message};
use super::decode::{self, for_each_batch, undecodable};
use super::dictionaries::UnifiedDictionaries;
use super::messages::IpcContents;
use crate::error::catch_panic;
use crate::format::arrays::{
    canonical_type, to_canonical, type_without_views, with_extension_type, without_views,
};
use crate::format::batch::RecordBatch;
use crate::format::{Encoder, FormatError, OpenFile, PartPieces, RecodedRows};

/// Polars packs nothing, and so takes no option that decides bytes.
const OPTIONS: WriteOptions = WriteOptions { compression: None };

/// Begins a file with columns that come from no file of Arrow's.
pub(super) fn begin<'w>(
    columns: &ArrowSchema,
    container: Container,
    codec: BodyCodec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let written = |field: &Field| match canonical_type(&field.dtype) {
        Ok(plain) => Ok((
            field.name.clone(),
            with_extension_type(Field {
                dtype: type_without_views(&plain),
                ..field.clone()
            }),
        )),
        Err(found) => Err(FormatError::UnsupportedType {
            column: field.name.to_string(),
            found,
            format: super::NAME,
        }),
    };
    let notes = columns.metadata().clone();
    let columns: ArrowSchema = columns
        .iter_values()
        .map(written)
        .collect::<Result<_, FormatError>>()?;
    Ok(Box::new(IpcEncoder(BatchWriter::begin(
        Arc::new(columns),
        notes,
        container,
        codec,
        out,
    )?)))
}

/// Writes rows whose arrays are plain.
struct IpcEncoder<'w>(BatchWriter<'w>);

impl Encoder for IpcEncoder<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
        let made = |(array, field): (&dyn Array, &Field)| {
            let made =
                to_canonical(array, array.dtype()).and_then(|array| without_views(array.as_ref()));
            let mut made = made
                .map_err(|error| FormatError::Encode(format!("column {}: {error}", field.name)))?;
            if let (ArrowDataType::Extension(extension), true) =
                (&field.dtype, *made.dtype() != field.dtype)
                && *made.dtype() == extension.inner
            {
                *made.dtype_mut() = field.dtype.clone();
            }
            Ok(made)
        };
        let arrays = batch
            .arrays()
            .iter()
            .map(AsRef::as_ref)
            .zip(self.0.columns.iter_values())
            .map(made)
            .collect::<Result<_, FormatError>>()?;
        self.0.write(batch.height(), arrays)
    }

    fn finish(self: Box<Self>) -> Result<u64, FormatError> {
        self.0.finish()
    }
}

/// Refuses a sound file that has a column which cannot be written as it is.
pub(super) fn check_encodable(
    source: &OpenFile,
    contents: &IpcContents,
) -> Result<(), FormatError> {
    let (columns, _) = decode::arrow_schema(source, contents)?;
    match columns
        .iter_values()
        .find_map(|field| Some((field, unwritable_reason(&field.dtype, true)?)))
    {
        Some((field, reason)) => Err(undecodable(source, field.name.to_string(), reason.into())),
        None => Ok(()),
    }
}

/// Why polars-arrow cannot write a type; it counts the buffers of views in some types only.
fn unwritable_reason(dtype: &ArrowDataType, counts_views: bool) -> Option<&'static str> {
    use ArrowDataType as T;
    match dtype {
        T::Utf8View | T::BinaryView if !counts_views => {
            Some("it has views of texts or bytes inside of lists, maps or unions")
        }
        T::LargeList(inner) | T::FixedSizeList(inner, _) => {
            unwritable_reason(&inner.dtype, counts_views)
        }
        T::Struct(fields) => fields
            .iter()
            .find_map(|field| unwritable_reason(&field.dtype, counts_views)),
        T::List(inner) | T::Map(inner, _) => unwritable_reason(&inner.dtype, false),
        T::Union(union) => union
            .fields
            .iter()
            .find_map(|field| unwritable_reason(&field.dtype, false)),
        T::Extension(extension) => unwritable_reason(&extension.inner, counts_views),
        T::Dictionary(_, values, _) if values.is_nested() => {
            Some("it has dictionaries of lists or groups")
        }
        _ => None,
    }
}

/// Decodes the pieces of a cut and encodes their rows: types, and what the first file says of them,
/// stay what they were.
pub(super) fn recode(
    part: &PartPieces<'_>,
    container: Container,
    codec: BodyCodec,
    out: Box<dyn Write + Send + '_>,
) -> Result<RecodedRows, FormatError> {
    let model = part.open_first()?;
    let contents = IpcContents::read_shared(part, part.first_file(), &model)?;
    let (columns, _) = decode::arrow_schema(&model, &contents)?;
    let unified = UnifiedDictionaries::collect(part, &columns)?;
    let notes = contents
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    let mut writer = BatchWriter::begin(Arc::new(columns), notes, container, codec, out)?;
    let mut decoded = |source: &mut decode::BatchReader<'_>, number: usize| {
        let batch = source.decode_batch(number)?;
        unified.apply(source, number, batch)
    };
    let read = for_each_batch(part, &mut decoded, &mut |batch| {
        writer.write(batch.height(), batch.into_arrays())
    })?;
    let written = writer.finish()?;
    Ok(RecodedRows {
        read,
        filtered: 0,
        written,
    })
}

/// Writes batches of one schema.
struct BatchWriter<'w> {
    columns: Arc<ArrowSchema>,
    /// The types of the arrays, some of which only hold the values of their columns.
    storage_schema: Arc<ArrowSchema>,
    /// The numbers of dictionaries.
    dictionary_ids: Vec<IpcField>,
    tracker: DictionaryTracker,
    codec: BodyCodec,
    rows: u64,
    out: ContainerWriter<'w>,
}

enum ContainerWriter<'w> {
    File(Box<FileWriter<Box<dyn Write + Send + 'w>>>),
    Stream(Box<dyn Write + Send + 'w>),
}

impl<'w> BatchWriter<'w> {
    fn begin(
        columns: Arc<ArrowSchema>,
        notes: Metadata,
        container: Container,
        codec: BodyCodec,
        mut out: Box<dyn Write + Send + 'w>,
    ) -> Result<Self, FormatError> {
        let numbers = default_ipc_fields(columns.iter_values());
        let out = match container {
            Container::File => {
                let mut writer =
                    FileWriter::new(out, columns.clone(), Some(numbers.clone()), OPTIONS);
                writer.set_custom_schema_metadata(Arc::new(notes));
                writer.start().map_err(encode_error)?;
                ContainerWriter::File(Box::new(writer))
            }
            Container::Stream => {
                let ipc_message = schema_to_bytes(&columns, &numbers, Some(&notes));
                write_message(
                    &mut out,
                    &EncodedData {
                        ipc_message,
                        arrow_data: Vec::new(),
                    },
                )
                .map_err(encode_error)?;
                ContainerWriter::Stream(out)
            }
        };
        let tracker = DictionaryTracker {
            dictionaries: Default::default(),
            cannot_replace: true,
        };
        let held = columns
            .iter_values()
            .map(|field| (field.name.clone(), decode::storage_field(field)));
        Ok(Self {
            storage_schema: Arc::new(held.collect()),
            columns,
            dictionary_ids: numbers,
            tracker,
            codec,
            rows: 0,
            out,
        })
    }

    fn write(&mut self, rows: usize, arrays: Vec<Box<dyn Array>>) -> Result<(), FormatError> {
        let mut held = self.storage_schema.iter_values().zip(&arrays);
        if let Some((field, array)) = held.find(|(field, array)| field.dtype != *array.dtype()) {
            return Err(FormatError::Encode(format!(
                "column {} is {:?}, and should be {:?}",
                field.name,
                array.dtype(),
                field.dtype
            )));
        }
        let batch = RecordBatch::try_new(rows, self.storage_schema.clone(), arrays)
            .map_err(encode_error)?;
        let (numbers, tracker) = (&self.dictionary_ids, &mut self.tracker);
        let encoded = catch_panic(|| -> PolarsResult<_> {
            let (mut dictionaries, mut message) = (Vec::new(), EncodedData::default());
            for (number, array) in numbers.iter().zip(batch.arrays()) {
                encode_new_dictionaries(
                    number,
                    array.as_ref(),
                    &OPTIONS,
                    tracker,
                    &mut dictionaries,
                )?;
            }
            encode_record_batch(&batch, &OPTIONS, &mut message);
            Ok((dictionaries, message))
        });
        let (dictionaries, message) = encoded.map_err(encode_error)?.map_err(encode_error)?;
        let dictionaries = dictionaries
            .into_iter()
            .map(|message| compress_message(message, self.codec))
            .collect::<Result<Vec<_>, _>>()?;
        let message = compress_message(message, self.codec)?;
        self.rows += rows as u64;
        match &mut self.out {
            ContainerWriter::File(writer) => writer
                .write_encoded(&dictionaries, &message)
                .map_err(encode_error),
            ContainerWriter::Stream(out) => dictionaries
                .iter()
                .chain([&message])
                .try_for_each(|message| write_message(out, message).map(drop))
                .map_err(encode_error),
        }
    }

    /// Ends the file; gives the rows that it has.
    fn finish(self) -> Result<u64, FormatError> {
        match self.out {
            ContainerWriter::File(mut writer) => writer.finish(),
            ContainerWriter::Stream(mut out) => write_continuation(&mut out, 0).map(drop),
        }
        .map(|()| self.rows)
        .map_err(encode_error)
    }
}

fn encode_error(error: impl std::fmt::Display) -> FormatError {
    FormatError::Encode(error.to_string())
}
