//! Rows as CSV: what is read back as the same, by whoever keeps to RFC 4180.
//!
//! Null is nothing, or the text that the store says; a text that would be read as null stands in
//! quotes.

use std::io::Write;

use memchr::memchr;
use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::NAME;
use super::options::{CsvOptions, WrittenForm};
use crate::format::batch::RecordBatch;
use crate::format::canonical_schema::type_name;
use crate::format::text::{Packer, is_nested, packed, put_json, put_text};
use crate::format::{Compression, Encoder, FormatError};

/// Begins a file: its header stands in it.
///
/// # Errors
/// A column that is no text and cannot be one.
pub(super) fn begin<'w>(
    options: &CsvOptions,
    columns: &ArrowSchema,
    compression: Compression,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let Some(form) = options.written.clone() else {
        return Err(FormatError::Encode("it is only read".into()));
    };
    let cells = CellForm {
        delimiter: options.delimiter.unwrap_or(b','),
        quote: options.quote.unwrap_or(b'"'),
        form,
        is_alone: columns.len() == 1,
    };
    for field in columns.iter_values() {
        cells.check_column(field)?;
    }
    let out = packed(out, compression).map_err(written)?;
    let mut encoder = CsvEncoder {
        cells,
        fields: columns.iter_values().cloned().collect(),
        out,
        line: String::new(),
        rows: 0,
    };
    if options.has_header {
        encoder.write_header()?;
    }
    Ok(Box::new(encoder))
}

fn written(error: std::io::Error) -> FormatError {
    FormatError::Encode(error.to_string())
}

/// How values are written.
struct CellForm {
    delimiter: u8,
    quote: u8,
    form: WrittenForm,
    /// True for the only column.
    is_alone: bool,
}

/// The cells of a column, one behind the other, with the end of each.
struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl CellForm {
    fn check_column(&self, field: &Field) -> Result<(), FormatError> {
        let is_text = put_text(&mut String::new(), &field.dtype, None).is_ok();
        let is_json = self.form.nests_json && is_nested(&field.dtype);
        let reason = if field.name.trim().is_empty() {
            "it has no name"
        } else if memchr(0, field.name.as_bytes()).is_some() {
            "its name has a NUL"
        } else if is_text || is_json {
            return Ok(());
        } else {
            return Err(FormatError::UnsupportedType {
                column: field.name.to_string(),
                found: type_name(&field.dtype),
                format: NAME,
            });
        };
        let name = &field.name;
        Err(FormatError::Encode(format!(
            "column {name:?} cannot stand in a header of CSV: {reason}"
        )))
    }

    /// Where a text does not stand as it is.
    fn needs_quotes(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let is_sign = |byte: &u8| {
            *byte == self.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r')
        };
        let is_null = self.form.null.as_deref() == Some(text);
        text.is_empty() || is_null || text.starts_with('\u{feff}') || bytes.iter().any(is_sign)
    }

    /// Puts quotes around what was written from a place on, where it needs them.
    fn quote(&self, text: &mut String, start: usize) {
        if !self.needs_quotes(&text[start..]) {
            return;
        }
        let quote = char::from(self.quote);
        let plain = text.split_off(start);
        text.push(quote);
        for letter in plain.chars() {
            if letter == quote {
                text.push(quote);
            }
            text.push(letter);
        }
        text.push(quote);
    }

    /// The cells of a column, behind so many rows of the part.
    fn cells(&self, array: &dyn Array, field: &Field, before: u64) -> Result<Cells, FormatError> {
        use ArrowDataType as T;
        let is_json = is_nested(&field.dtype);
        let is_text = is_json || matches!(field.dtype, T::Utf8View | T::BinaryView);
        let mut cells = Cells {
            text: String::with_capacity(array.len() * 8),
            ends: Vec::with_capacity(array.len()),
        };
        for row in 0..array.len() {
            let fail = |reason: String| {
                let (name, row) = (&field.name, before + row as u64 + 1);
                FormatError::Encode(format!("row {row}: column {name}: {reason}"))
            };
            let start = cells.text.len();
            if array.is_null(row) {
                match &self.form.null {
                    Some(null) => cells.text.push_str(null),
                    None if self.is_alone => {
                        return Err(fail("null in the only column would be an empty line, which many programs pass over: null_value of the store says what is written for it".into()));
                    }
                    None => {}
                }
            } else {
                let put = if is_json {
                    put_json(&mut cells.text, array, row)
                } else {
                    put_text(&mut cells.text, &field.dtype, Some((array, row)))
                };
                put.map_err(fail)?;
                if memchr(0, &cells.text.as_bytes()[start..]).is_some() {
                    return Err(fail("a text has a NUL, which no CSV has".into()));
                }
                if !is_text && self.form.null.as_deref() == Some(&cells.text[start..]) {
                    // Programs that read null in quotes as null would lose it.
                    let reason = format!(
                        "{} is a value, and what null_value of the store writes for null",
                        &cells.text[start..]
                    );
                    return Err(fail(reason));
                }
                self.quote(&mut cells.text, start);
            }
            cells.ends.push(cells.text.len());
        }
        Ok(cells)
    }
}

struct CsvEncoder<'w> {
    cells: CellForm,
    fields: Vec<Field>,
    out: Box<dyn Packer + 'w>,
    /// What is written next.
    line: String,
    rows: u64,
}

impl CsvEncoder<'_> {
    fn write_header(&mut self) -> Result<(), FormatError> {
        for (number, field) in self.fields.iter().enumerate() {
            if number > 0 {
                self.line.push(char::from(self.cells.delimiter));
            }
            let start = self.line.len();
            self.line.push_str(&field.name);
            self.cells.quote(&mut self.line, start);
        }
        self.line.push('\n');
        self.flush()
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        self.out.write_all(self.line.as_bytes()).map_err(written)?;
        self.line.clear();
        Ok(())
    }
}

/// How much is written at once.
const BLOCK_BYTES: usize = 1 << 20;

impl Encoder for CsvEncoder<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
        let (form, before) = (&self.cells, self.rows);
        let columns = batch.arrays().into_par_iter().zip(&self.fields);
        let columns = columns.map(|(array, field)| form.cells(array.as_ref(), field, before));
        let columns = columns.collect::<Result<Vec<Cells>, _>>()?;
        let mut starts = vec![0; columns.len()];
        for row in 0..batch.height() {
            for (number, (cells, start)) in columns.iter().zip(&mut starts).enumerate() {
                if number > 0 {
                    self.line.push(char::from(self.cells.delimiter));
                }
                let end = cells.ends[row];
                self.line.push_str(&cells.text[*start..end]);
                *start = end;
            }
            self.line.push('\n');
            if self.line.len() >= BLOCK_BYTES {
                self.flush()?;
            }
        }
        self.rows += batch.height() as u64;
        self.flush()
    }

    fn finish(self: Box<Self>) -> Result<u64, FormatError> {
        self.out.finish().map_err(written)?;
        Ok(self.rows)
    }
}
