//! Rows of CSV as arrays: texts first, then what the config says they are.

use std::sync::Arc;

use polars_arrow::array::{Array, MutableBinaryViewArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::facts::is_plain;
use super::records::{Record, RecordReader};
use super::{Csv, of_line, of_record};
use crate::format::batch::{RecordBatch, VIEW_BYTES};
use crate::format::canonical_schema::type_name;
use crate::format::inference::Guess;
use crate::format::{FormatError, OpenFile, PartPieces, Reader};
use crate::shape::{cast_texts, is_text_of};
use crate::threads::read_ahead;

/// How many rows are handed on at once.
const BATCH_ROWS: usize = 1 << 16;

/// About how many bytes are enough for a batch.
const BATCH_BYTES: usize = 32 << 20;

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

/// The rows of a file, some at once.
struct Batches<'f> {
    csv: &'f Csv,
    source: &'f OpenFile,
    reader: RecordReader<'f>,
    record: Record,
    /// How many columns the file has.
    width: usize,
    /// Which of them are read.
    is_read: Vec<bool>,
    schema: Arc<ArrowSchema>,
}

impl<'f> Batches<'f> {
    fn new(csv: &'f Csv, source: &'f OpenFile) -> Result<Self, FormatError> {
        let all = csv.all_columns(source)?;
        let names = all.iter_names();
        let reader = RecordReader::new(source.bytes.as_ref(), &csv.options);
        let mut batches = Self {
            csv,
            source,
            reader: reader.map_err(|error| of_record(source, error))?,
            record: Record::default(),
            width: all.len(),
            is_read: names.map(|name| source.has_column(name)).collect(),
            schema: Arc::new(csv.arrow_schema(source)?),
        };
        if csv.options.has_header {
            let read = batches.reader.next(&mut batches.record);
            read.map_err(|error| of_record(source, error))?;
        }
        Ok(batches)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, FormatError> {
        let source = self.source;
        let mut columns: Vec<_> = (0..self.schema.len())
            .map(|_| MutableBinaryViewArray::<str>::new())
            .collect();
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let read = self.reader.next_row(&mut self.record, self.width);
            if !read.map_err(|error| of_record(source, error))? {
                break;
            }
            self.check_width()?;
            let fields = self.record.fields();
            let fields = fields.map_err(|error| of_record(source, error))?;
            let read = fields.zip(&self.is_read).filter(|(_, is_read)| **is_read);
            for (column, ((value, is_quoted), _)) in columns.iter_mut().zip(read) {
                bytes += value.len() + VIEW_BYTES;
                let is_null = !is_quoted && self.csv.options.is_null(value);
                column.push((!is_null).then_some(value));
            }
            lines.push(self.record.line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let fields: Vec<&Field> = self.schema.iter_values().collect();
        let arrays = columns.into_par_iter().zip(fields).map(|(texts, field)| {
            typed(self.csv, &texts.freeze(), field)
                .map_err(|wrong| (lines.get(wrong.row).copied().unwrap_or_default(), wrong))
        });
        // The error of the first line.
        let arrays: Vec<Result<_, (u64, WrongText)>> = arrays.collect();
        let wrong = arrays.iter().filter_map(|array| array.as_ref().err());
        if let Some((line, WrongText { column, reason, .. })) = wrong.min_by_key(|(line, _)| *line)
        {
            return Err(match self.csv.inferred_type(column) {
                None => of_line(source, *line, format!("column {column}: {reason}")),
                Some(found) => FormatError::InferredType {
                    path: source.path.clone(),
                    line: *line,
                    column: column.clone(),
                    reason: reason.clone(),
                    is_final: found.guess == Guess::Final,
                },
            });
        }
        let arrays = arrays.into_iter().flatten().collect();
        let batch = RecordBatch::try_new(lines.len(), self.schema.clone(), arrays);
        batch
            .map(Some)
            .map_err(|error| FormatError::Encode(error.to_string()))
    }

    fn check_width(&self) -> Result<(), FormatError> {
        let (found, wanted) = (self.record.len(), self.width);
        if found == wanted {
            return Ok(());
        }
        let fields = if found == 1 { "field" } else { "fields" };
        let mut reason = format!("it has {found} {fields}, and the file {wanted} columns");
        if found == 1 {
            reason.push_str(": is another delimiter meant?");
        }
        Err(of_line(self.source, self.record.line, reason))
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
    let has_value = || texts.iter().position(|text| text.is_some());
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
    // In quotes it may be a value all the same.
    let says_null = |text: Option<&str>| text.is_some_and(|text| options.is_null(text));
    let is_null = |text: &str| options.is_null(text) && !is_text_of(text, dtype);
    let checked = |row: usize, text: &str| {
        let is_plain = !is_inferred || is_plain(text, dtype);
        if is_plain { Ok(()) } else { Err(is_none(row)) }
    };
    if !is_own_form && !texts.iter().any(says_null) {
        for (row, text) in texts.iter().enumerate() {
            text.map_or(Ok(()), |text| checked(row, text))?;
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
        checked(row, &found)?;
        plain.push(Some(found));
    }
    cast_texts(&plain.freeze(), dtype).map_err(|(row, _)| is_none(row))
}
