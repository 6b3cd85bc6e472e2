//! Rows of CSV as arrays: texts first, then what the config says they are.

use std::collections::VecDeque;
use std::sync::Arc;

use polars_arrow::array::{Array, MutableBinaryViewArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::blocks::{BLOCK_BYTES, Block, BlockReader};
use super::facts::is_written_so;
use super::records::{self, Record, RecordReader};
use super::{Csv, of_line, of_record};
use crate::format::batch::RecordBatch;
use crate::format::canonical_schema::type_name;
use crate::format::inference::Guess;
use crate::format::{FormatError, OpenFile, PartPieces, Reader};
use crate::shape::cast_texts;
use crate::threads::read_ahead;

/// Hands the rows of files on; gives how many there are.
pub(super) fn decode(
    csv: &Csv,
    part: &PartPieces<'_>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let mut rows = 0;
    for piece in part.pieces {
        let source = part.inputs.open(piece.file)?;
        let mut batches = Batches::new(csv, &source)?;
        read_ahead(
            || batches.next(),
            |batch| {
                if part.interrupted.is_cancelled() {
                    return Err(FormatError::Interrupted);
                }
                rows += batch.height() as u64;
                each(batch)
            },
        )?;
    }
    Ok(rows)
}

/// The rows of a file, those of several blocks at once.
struct Batches<'f> {
    blocks: BlockReader<'f>,
    rows: BlockRows<'f>,
    /// What was read, in order.
    waiting: VecDeque<Result<ReadBlock, FormatError>>,
    /// The first of empty lines behind which only such may come.
    blank_line: Option<u64>,
}

/// What the rows of a block are read by.
struct BlockRows<'f> {
    csv: &'f Csv,
    source: &'f OpenFile,
    delimiter: u8,
    /// How many columns the file has.
    width: usize,
    /// Which of them are read.
    is_read: Vec<bool>,
    schema: Arc<ArrowSchema>,
}

/// The rows of a block.
struct ReadBlock {
    /// `None` where there is none.
    batch: Option<RecordBatch>,
    /// The first of the empty lines at its end.
    blank_line: Option<u64>,
}

impl<'f> Batches<'f> {
    fn new(csv: &'f Csv, source: &'f OpenFile) -> Result<Self, FormatError> {
        let all = csv.all_columns(source)?;
        let failed = |error| of_record(source, error);
        let mut reader = RecordReader::new(source.bytes.as_ref(), &csv.options).map_err(failed)?;
        if csv.options.has_header {
            reader.next(&mut Record::default()).map_err(failed)?;
        }
        let (blocks, delimiter) = reader.into_blocks(&csv.options).map_err(failed)?;
        let names = all.iter_names();
        let rows = BlockRows {
            csv,
            source,
            delimiter,
            width: all.len(),
            is_read: names.map(|name| source.has_column(name)).collect(),
            schema: Arc::new(csv.arrow_schema(source)?),
        };
        Ok(Self {
            blocks,
            rows,
            waiting: VecDeque::new(),
            blank_line: None,
        })
    }

    /// One for each thread; fewer where they are long.
    fn next_blocks(&mut self) -> Vec<Block> {
        let count = rayon::current_num_threads();
        let (mut blocks, mut bytes) = (Vec::with_capacity(count), 0);
        while blocks.len() < count && bytes < count * 2 * BLOCK_BYTES {
            let Some(block) = self.blocks.next() else {
                break;
            };
            bytes += block.bytes.len();
            blocks.push(block);
        }
        blocks
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        loop {
            if self.waiting.is_empty() {
                let blocks = self.next_blocks();
                if blocks.is_empty() {
                    return Ok(None);
                }
                let read = blocks.into_par_iter().map(|block| self.rows.read(block));
                self.waiting = read.collect::<Vec<_>>().into();
            }
            let Some(read) = self.waiting.pop_front() else {
                continue;
            };
            let has_more = match &read {
                Ok(block) => block.batch.is_some(),
                Err(error) => matches!(
                    error,
                    FormatError::Line { .. } | FormatError::InferredType { .. }
                ),
            };
            if let Some(line) = self.blank_line.filter(|_| has_more) {
                return Err(of_record(self.rows.source, records::blank_line(line)));
            }
            let ReadBlock { batch, blank_line } = read?;
            self.blank_line = self.blank_line.or(blank_line);
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }
}

impl BlockRows<'_> {
    /// Reads the rows of a block. Of errors, that of the first line counts.
    fn read(&self, block: Block) -> Result<ReadBlock, FormatError> {
        let mut columns: Vec<_> = (0..self.schema.len())
            .map(|_| MutableBinaryViewArray::<str>::new())
            .collect();
        let mut lines = Vec::new();
        let mut reader = RecordReader::of_block(block, self.delimiter, &self.csv.options);
        let read = self.read_texts(&mut reader, &mut columns, &mut lines);
        let fields: Vec<&Field> = self.schema.iter_values().collect();
        let arrays = columns.into_par_iter().zip(fields).map(|(texts, field)| {
            typed(self.csv, &texts.freeze(), field)
                .map_err(|wrong| (lines.get(wrong.row).copied().unwrap_or_default(), wrong))
        });
        let arrays: Vec<Result<_, (u64, WrongText)>> = arrays.collect();
        let wrong = arrays.iter().filter_map(|array| array.as_ref().err());
        if let Some((line, wrong)) = wrong.min_by_key(|(line, _)| *line) {
            return Err(self.wrong_text(*line, wrong));
        }
        read?;
        let arrays = arrays.into_iter().flatten().collect();
        let batch = RecordBatch::try_new(lines.len(), self.schema.clone(), arrays);
        let batch = batch.map_err(|error| FormatError::Encode(error.to_string()))?;
        Ok(ReadBlock {
            batch: (!lines.is_empty()).then_some(batch),
            blank_line: reader.blank_line(),
        })
    }

    /// Reads the texts of all columns, as far as the records are sound.
    fn read_texts(
        &self,
        reader: &mut RecordReader<'_>,
        columns: &mut [MutableBinaryViewArray<str>],
        lines: &mut Vec<u64>,
    ) -> Result<(), FormatError> {
        let failed = |error| of_record(self.source, error);
        let mut record = Record::default();
        while reader.next_row(&mut record, self.width).map_err(failed)? {
            self.check_width(&record)?;
            let fields = record.fields().map_err(failed)?;
            let read = fields.zip(&self.is_read).filter(|(_, is_read)| **is_read);
            for (column, ((value, is_quoted), _)) in columns.iter_mut().zip(read) {
                let is_null = !is_quoted && self.csv.options.is_null(value);
                column.push((!is_null).then_some(value));
            }
            lines.push(record.line);
        }
        Ok(())
    }

    fn wrong_text(&self, line: u64, wrong: &WrongText) -> FormatError {
        let WrongText { column, reason, .. } = wrong;
        match self.csv.inferred_type(column) {
            None => of_line(self.source, line, format!("column {column}: {reason}")),
            Some(found) => FormatError::InferredType {
                path: self.source.path.clone(),
                line,
                column: column.clone(),
                reason: reason.clone(),
                is_final: found.guess == Guess::Final,
            },
        }
    }

    fn check_width(&self, record: &Record) -> Result<(), FormatError> {
        let (found, wanted) = (record.len(), self.width);
        if found == wanted {
            return Ok(());
        }
        let fields = if found == 1 { "field" } else { "fields" };
        let mut reason = format!("it has {found} {fields}, and the file {wanted} columns");
        if found == 1 {
            reason.push_str(": is another delimiter meant?");
        }
        Err(of_line(self.source, record.line, reason))
    }
}

/// A text that is no value of its column's type.
struct WrongText {
    row: usize,
    column: String,
    reason: String,
}

/// Texts as values of the type of their column.
fn typed(csv: &Csv, texts: &Utf8ViewArray, field: &Field) -> Result<Box<dyn Array>, WrongText> {
    let (dtype, options) = (&field.dtype, &csv.options);
    let inferred = csv.inferred_type(&field.name);
    let is_value = |text: Option<&str>| text.is_some_and(|text| !options.is_null(text));
    let has_value = || texts.iter().position(is_value);
    if *dtype == ArrowDataType::Utf8View {
        let is_open = inferred.is_some_and(|found| found.guess == Guess::NoValue);
        return match is_open.then(has_value).flatten() {
            None => Ok(texts.clone().boxed()),
            Some(row) => Err(WrongText {
                row,
                column: field.name.to_string(),
                reason: format!("'{}' is its first value", texts.value(row)),
            }),
        };
    }
    let wrong = |row: usize, reason: String| WrongText {
        row,
        column: field.name.to_string(),
        reason,
    };
    let is_inferred = inferred.is_some();
    let is_own_form = options.forms.concern(dtype);
    let is_none = |row: usize| {
        let text = texts.get(row).unwrap_or_default();
        let said = if is_own_form {
            " as the home says it is written"
        } else {
            ""
        };
        wrong(row, format!("'{text}' is no {}{said}", type_name(dtype)))
    };
    // What says null in quotes is no value of other types than texts and their bytes.
    let is_null = |text: &str| *dtype != ArrowDataType::BinaryView && options.is_null(text);
    let says_null = |text: Option<&str>| text.is_some_and(is_null);
    let checked = |row: usize, text: &str, plain: &str| {
        let is_so = !is_inferred || is_written_so(&options.forms, (text, plain), dtype);
        if is_so { Ok(()) } else { Err(is_none(row)) }
    };
    if !is_own_form && !texts.iter().any(says_null) {
        for (row, text) in texts.iter().enumerate() {
            text.map_or(Ok(()), |text| checked(row, text, text))?;
        }
        return cast_texts(texts, dtype).map_err(|(row, reason)| wrong(row, reason));
    }
    let mut plain = MutableBinaryViewArray::<str>::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text.filter(|text| !is_null(text)) else {
            plain.push_null();
            continue;
        };
        let found = if is_own_form {
            options.forms.plain(text, dtype)
        } else {
            Some(text.into())
        };
        let found = found.ok_or_else(|| is_none(row))?;
        checked(row, text, &found)?;
        plain.push(Some(found));
    }
    cast_texts(&plain.freeze(), dtype).map_err(|(row, _)| is_none(row))
}
