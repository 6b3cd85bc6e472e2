//! Decoding by polars-arrow, one batch at a time.
//!
//! Each message is lifted into memory by plain reads and unpacked there: so memory is bounded by a
//! batch, and a file that shrinks or is damaged is an error.

use std::io::Cursor;
use std::sync::Arc;

use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_arrow::io::ipc::IpcSchema;
use polars_arrow::io::ipc::format::ipc::Block;
use polars_arrow::io::ipc::read::{
    Dictionaries, FileMetadata, deserialize_schema, read_batch, read_dictionary_block,
};
use polars_error::PolarsResult;
use polars_utils::bool::UnsafeBool;

use super::body::{self, DecompressedMessage};
use super::messages::{IpcContents, IpcMessage, unsound};
use super::types;
use crate::error::catch_panic;
use crate::format::arrays::{canonical_type, storage_type, to_canonical};
use crate::format::batch::{RecordBatch, slice_batch};
use crate::format::{FormatError, OpenFile, PartPieces};

/// How a column passes that cannot be decoded.
const PASS_HINT: &str = "files pass whole into a store of type ipc: without rows_per_file, with compression: keep, and with their container";

/// Refuses a file that has a column which nobody can decode.
pub(super) fn check_decodable(
    source: &OpenFile,
    contents: &IpcContents,
) -> Result<(), FormatError> {
    let wanted = contents
        .columns
        .iter()
        .filter(|column| source.has_column(&column.name));
    types::first_unreadable(wanted).map_or(Ok(()), |(column, reason)| {
        Err(undecodable(source, column, reason))
    })
}

pub(super) fn undecodable(source: &OpenFile, column: String, reason: String) -> FormatError {
    FormatError::Undecodable {
        path: source.path.clone(),
        column,
        reason,
        hint: PASS_HINT,
    }
}

/// The columns as [`decode`] gives them.
pub(super) fn canonical_schema(
    source: &OpenFile,
    contents: &IpcContents,
) -> Result<ArrowSchema, FormatError> {
    check_decodable(source, contents)?;
    let (columns, _) = arrow_schema(source, contents)?;
    let plain = |field: &Field| match canonical_type(&field.dtype) {
        Ok(dtype) => Ok((
            field.name.clone(),
            Field {
                dtype,
                ..field.clone()
            },
        )),
        Err(found) => Err(FormatError::NoCanonicalType {
            path: source.path.clone(),
            column: field.name.to_string(),
            found,
        }),
    };
    let wanted = columns
        .iter_values()
        .filter(|field| source.has_column(&field.name));
    let mut columns: ArrowSchema = wanted.map(plain).collect::<Result<_, _>>()?;
    *columns.metadata_mut() = contents
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    Ok(columns)
}

/// A field of the type whose arrays hold its values.
pub(super) fn storage_field(field: &Field) -> Field {
    Field {
        dtype: storage_type(&field.dtype),
        ..field.clone()
    }
}

/// The columns as polars-arrow has them, with the numbers of their dictionaries.
pub(super) fn arrow_schema(
    source: &OpenFile,
    contents: &IpcContents,
) -> Result<(ArrowSchema, IpcSchema), FormatError> {
    let read = catch_panic(|| deserialize_schema(&contents.schema_message))
        .map_err(|panic| unsound(source, panic.to_string()))?;
    read.map(|(columns, numbers, _)| (columns, numbers))
        .map_err(|error| unsound(source, error.to_string()))
}

/// Decodes the pieces of a cut into canonical arrays, batch by batch; gives their rows.
pub(super) fn decode(
    part: &PartPieces<'_>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let mut columns: Option<(usize, Arc<ArrowSchema>)> = None;
    for_each_batch(
        part,
        &mut |source, number| {
            if columns
                .as_ref()
                .is_none_or(|(file, _)| *file != source.file)
            {
                columns = Some((
                    source.file,
                    Arc::new(canonical_schema(source.open_file, source.contents)?),
                ));
            }
            let batch = source.decode_batch(number)?;
            let arrays = batch
                .iter()
                .zip(source.columns.iter_values())
                .map(|(array, field)| {
                    let made = catch_panic(|| to_canonical(array.as_ref(), &field.dtype))
                        .map_err(|panic| panic.to_string())
                        .and_then(|made| made);
                    made.map_err(|found| {
                        source.batch_error(number, &format!(", column {}: {found}", field.name))
                    })
                });
            let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
            let columns = columns
                .as_ref()
                .map(|(_, columns)| columns.clone())
                .unwrap_or_default();
            RecordBatch::try_new(batch.height(), columns, arrays)
                .map_err(|error| source.batch_error(number, &format!(": {error}")))
        },
        each,
    )
}

/// Hands on what `decoded` makes of the batches of a cut, and the rows of those of which it has
/// only some; gives the rows that the messages say there are.
pub(super) fn for_each_batch(
    part: &PartPieces<'_>,
    decoded: &mut dyn FnMut(&mut BatchReader<'_>, usize) -> Result<RecordBatch, FormatError>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let (mut rows, mut next) = (0, 0);
    while let Some(first) = part.pieces.get(next) {
        let pieces = part.pieces[next..]
            .iter()
            .take_while(|piece| piece.file == first.file);
        let opened = part.inputs.open(first.file)?;
        let contents = IpcContents::read_shared(part, first.file, &opened)?;
        let mut source = BatchReader::new(first.file, &opened, &contents)?;
        for piece in pieces {
            next += 1;
            let batches = match piece.group {
                Some(batch) => batch..batch + 1,
                None => 0..source.batches.len(),
            };
            for number in batches {
                if part.interrupted.is_cancelled() {
                    return Err(FormatError::Interrupted);
                }
                let of_batch = source
                    .batches
                    .get(number)
                    .map_or(0, |(_, batch)| batch.rows);
                if of_batch == 0 {
                    continue;
                }
                rows += piece.rows.map_or(of_batch, |(_, count)| count);
                match (piece.rows, part.inputs.shared_groups()) {
                    (None, _) => each(decoded(&mut source, number)?)?,
                    (Some((start, count)), Some(shared)) => {
                        let batch = shared
                            .get_or_decode((piece.file, number), || decoded(&mut source, number))?;
                        each(slice_batch(&batch, start, count))?;
                    }
                    (Some((start, count)), None) => {
                        each(slice_batch(&decoded(&mut source, number)?, start, count))?
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// A file whose batches are decoded, with the dictionaries that hold for them.
pub(super) struct BatchReader<'a> {
    /// Which of the flow's files.
    pub(super) file: usize,
    pub(super) open_file: &'a OpenFile,
    pub(super) contents: &'a IpcContents,
    /// The columns; arrays of some types only hold their values.
    columns: ArrowSchema,
    /// Which of the file's they are, where that is not all.
    chosen: Option<Vec<usize>>,
    pub(super) metadata: FileMetadata,
    pub(super) dictionaries: Dictionaries,
    /// Each batch, with its place among the messages.
    batches: Vec<(usize, IpcMessage)>,
    /// How many of the messages have been looked at for dictionaries.
    loaded_messages: usize,
}

impl<'a> BatchReader<'a> {
    pub(super) fn new(
        file: usize,
        opened: &'a OpenFile,
        contents: &'a IpcContents,
    ) -> Result<Self, FormatError> {
        check_decodable(opened, contents)?;
        let (columns, ipc_schema) = arrow_schema(opened, contents)?;
        let metadata = FileMetadata {
            schema: Arc::new(
                columns
                    .iter_values()
                    .map(|field| (field.name.clone(), storage_field(field)))
                    .collect(),
            ),
            custom_schema_metadata: None,
            custom_metadata: None,
            ipc_schema,
            blocks: Vec::new(),
            dictionaries: None,
            size: 0,
        };
        let is_wanted = |field: &&Field| opened.has_column(&field.name);
        let chosen = opened.columns.as_ref().map(|_| {
            let fields = columns.iter_values().enumerate();
            fields
                .filter(|(_, field)| is_wanted(field))
                .map(|(number, _)| number)
                .collect()
        });
        let columns = columns.iter_values().filter(is_wanted).cloned();
        let columns = columns.map(|field| (field.name.clone(), field)).collect();
        let batches = contents
            .messages
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, message)| message.dictionary.is_none())
            .collect();
        Ok(Self {
            file,
            open_file: opened,
            contents,
            columns,
            chosen,
            metadata,
            dictionaries: Dictionaries::default(),
            batches,
            loaded_messages: 0,
        })
    }

    pub(super) fn batch_error(&self, number: usize, what: &str) -> FormatError {
        unsound(self.open_file, format!("batch {number}{what}"))
    }

    /// Decodes a batch, with the types that the file has.
    pub(super) fn decode_batch(&mut self, number: usize) -> Result<RecordBatch, FormatError> {
        let found = self.batches.get(number).copied();
        let (place, message) = found.ok_or_else(|| self.batch_error(number, " is not there"))?;
        if self.chosen.as_ref().is_some_and(Vec::is_empty) {
            let rows = usize::try_from(message.rows)
                .map_err(|error| self.batch_error(number, &format!(": {error}")))?;
            return Ok(RecordBatch::new(rows, Arc::default(), Vec::new()));
        }
        self.load_dictionaries(place)?;
        let decoded = |only: Option<&[usize]>| {
            self.with_message(&message, |metadata, dictionaries, bytes| {
                let (mut head, mut scratch) = (Vec::new(), Vec::new());
                read_batch(
                    bytes,
                    dictionaries,
                    metadata,
                    only,
                    None,
                    0,
                    true,
                    &mut head,
                    &mut scratch,
                    with_validation(),
                )
            })
        };
        let batch = decoded(self.chosen.as_deref()).map_err(|error| {
            let place =
                |column: usize| self.chosen.as_ref().map_or(column, |chosen| chosen[column]);
            let alone = (0..self.columns.len())
                .find_map(|column| Some((column, decoded(Some(&[place(column)])).err()?)));
            let name = |column: usize| {
                self.columns
                    .get_at_index(column)
                    .map_or_else(String::new, |(name, _)| format!(", column {name},"))
            };
            let (column, error) = alone.map_or_else(
                || (String::new(), error),
                |(column, error)| (name(column), error),
            );
            self.batch_error(number, &format!("{column} cannot be decoded: {error}"))
        })?;
        if batch.height() as u64 != message.rows {
            return Err(self.batch_error(
                number,
                &format!(
                    " has {} rows, and {} were decoded",
                    message.rows,
                    batch.height()
                ),
            ));
        }
        let mut columns = batch.iter().zip(self.columns.iter_values());
        if let Some((array, field)) =
            columns.find(|(array, field)| !field.is_nullable && array.null_count() > 0)
        {
            let nulls = array.null_count();
            return Err(self.batch_error(
                number,
                &format!(
                    ", column {}: {nulls} values are null, and its schema says none is",
                    field.name
                ),
            ));
        }
        Ok(batch)
    }

    /// Reads the dictionaries that stand before a message. In a file with a footer all of them do.
    pub(super) fn load_dictionaries(&mut self, place: usize) -> Result<(), FormatError> {
        if place < self.loaded_messages {
            self.dictionaries.clear();
            self.loaded_messages = 0;
        }
        let messages =
            &self.contents.messages[self.loaded_messages..place.max(self.loaded_messages)];
        for message in messages
            .iter()
            .filter(|message| message.dictionary.is_some())
        {
            let mut dictionaries = std::mem::take(&mut self.dictionaries);
            let read = self.with_message(message, |metadata, _, bytes| {
                let (mut head, mut scratch) = (Vec::new(), Vec::new());
                let block = metadata.blocks[0];
                read_dictionary_block(
                    bytes,
                    metadata,
                    &block,
                    true,
                    &mut dictionaries,
                    &mut head,
                    &mut scratch,
                    with_validation(),
                )
            });
            read.map_err(|error| {
                unsound(
                    self.open_file,
                    format!("a dictionary cannot be decoded: {error}"),
                )
            })?;
            self.dictionaries = dictionaries;
        }
        self.loaded_messages = place.max(self.loaded_messages);
        Ok(())
    }

    /// Unpacks a message, and has something done with it as the only one of its file.
    fn with_message<T>(
        &self,
        message: &IpcMessage,
        work: impl FnOnce(&FileMetadata, &Dictionaries, &mut Cursor<Vec<u8>>) -> PolarsResult<T>,
    ) -> Result<T, String> {
        let DecompressedMessage { bytes, head } =
            body::read_message(self.open_file, message, &self.contents.nodes)?;
        let too_large = |error: std::num::TryFromIntError| error.to_string();
        let body_length = i64::try_from(bytes.len() - head).map_err(too_large)?;
        let block = Block {
            offset: 0,
            meta_data_length: i32::try_from(head).map_err(too_large)?,
            body_length,
        };
        let metadata = FileMetadata {
            blocks: vec![block],
            ..self.metadata.clone()
        };
        let worked = catch_panic(|| work(&metadata, &self.dictionaries, &mut Cursor::new(bytes)));
        worked
            .map_err(|panic| panic.to_string())?
            .map_err(|error| error.to_string())
    }
}

/// That texts are UTF-8 and offsets lie where they should: polars-arrow looks.
fn with_validation() -> UnsafeBool {
    UnsafeBool::default()
}
