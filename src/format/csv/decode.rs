//! Rows of CSV as arrays: texts first, then what the config says they are.

use std::sync::Arc;

use polars_arrow::array::{Array, MutableBinaryViewArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::records::{Record, RecordReader};
use super::values::ValueForms;
use super::{Csv, of_line, of_record};
use crate::format::batch::{RecordBatch, VIEW_BYTES};
use crate::format::canonical_schema::type_name;
use crate::format::{FormatError, OpenFile, PartPieces, Reader};
use crate::shape::cast_texts;
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
                let is_null = !is_quoted && self.is_null(value);
                column.push((!is_null).then_some(value));
            }
            lines.push(self.record.line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let forms = &self.csv.options.forms;
        let fields: Vec<&Field> = self.schema.iter_values().collect();
        let arrays = columns.into_par_iter().zip(fields).map(|(texts, field)| {
            let (name, dtype) = (&field.name, &field.dtype);
            typed(forms, &texts.freeze(), (name, dtype), &lines)
        });
        // The error of the first line.
        let arrays: Vec<Result<_, (u64, String)>> = arrays.collect();
        let wrong = arrays.iter().filter_map(|array| array.as_ref().err());
        if let Some((line, reason)) = wrong.min_by_key(|(line, _)| *line) {
            return Err(of_line(source, *line, reason.clone()));
        }
        let arrays = arrays.into_iter().flatten().collect();
        let batch = RecordBatch::try_new(lines.len(), self.schema.clone(), arrays);
        batch
            .map(Some)
            .map_err(|error| FormatError::Encode(error.to_string()))
    }

    fn is_null(&self, value: &str) -> bool {
        value.is_empty()
            || self
                .csv
                .options
                .null_values
                .iter()
                .any(|null| null == value)
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

/// Texts as values of a type; where one is none, its line and what is wrong with it.
fn typed(
    forms: &ValueForms,
    texts: &Utf8ViewArray,
    (name, dtype): (&str, &ArrowDataType),
    lines: &[u64],
) -> Result<Box<dyn Array>, (u64, String)> {
    if *dtype == ArrowDataType::Utf8View {
        return Ok(texts.clone().boxed());
    }
    let at_line = |row: usize, reason: String| {
        let line = lines.get(row).copied().unwrap_or_default();
        (line, format!("column {name}: {reason}"))
    };
    if !forms.concern(dtype) {
        return cast_texts(texts, dtype).map_err(|(row, reason)| at_line(row, reason));
    }
    let is_none = |text: &str| {
        format!(
            "'{text}' is no {} as the home says it is written",
            type_name(dtype)
        )
    };
    let mut plain = MutableBinaryViewArray::<str>::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            plain.push_null();
            continue;
        };
        let found = forms.plain(text, dtype);
        plain.push(Some(found.ok_or_else(|| at_line(row, is_none(text)))?));
    }
    cast_texts(&plain.freeze(), dtype)
        .map_err(|(row, _)| at_line(row, is_none(texts.get(row).unwrap_or_default())))
}
