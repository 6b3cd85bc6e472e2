//! Records: what stands between the delimiters of a file, and in which line.
//!
//! RFC 4180 to the letter. Libraries read more than it allows, and say of `"a"b` that it is `ab`:
//! here whatever is no CSV is an error with its line, so that no value is another one than its
//! writer meant.

use std::fmt::{self, Debug};
use std::io::{self, Read};

use memchr::{memchr, memchr3};

use super::CsvOptions;
use super::blocks::{Block, BlockReader, MAX_RECORD_BYTES};
use crate::format::text::text_reader;
use crate::storage::RandomRead;

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// No file has more columns.
const MAX_FIELDS: usize = 100_000;

/// What stands between fields where the config does not say it.
const DELIMITERS: &[u8] = b",;\t|";

/// What is wrong with a record.
#[derive(Debug)]
pub(super) enum RecordError {
    /// It is no CSV.
    Unsound {
        /// The line, counted from 1.
        line: u64,
        reason: String,
    },
    /// The file cannot be read.
    Read(io::Error),
}

/// An error of reading, behind so many lines.
fn read_error(line: u64, error: io::Error) -> RecordError {
    match error.kind() {
        io::ErrorKind::InvalidData => unsound(line, error.to_string()),
        _ => RecordError::Read(error),
    }
}

pub(super) fn unsound(line: u64, reason: impl Into<String>) -> RecordError {
    RecordError::Unsound {
        line,
        reason: reason.into(),
    }
}

/// The error of an empty line that others follow.
pub(super) fn blank_line(line: u64) -> RecordError {
    unsound(line, "it is empty, and others follow")
}

/// A record: its fields, without quotes.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The line in which it begins.
    pub(super) line: u64,
    bytes: Vec<u8>,
    fields: Vec<FieldEnd>,
}

#[derive(Clone, Copy, Debug)]
struct FieldEnd {
    end: usize,
    is_quoted: bool,
}

impl Record {
    /// How many fields it has.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// True for a line on which nothing stands.
    fn is_blank(&self) -> bool {
        self.bytes.is_empty()
            && matches!(
                self.fields[..],
                [FieldEnd {
                    is_quoted: false,
                    ..
                }]
            )
    }

    /// The fields, and whether they stand in quotes.
    pub(super) fn fields(&self) -> Result<impl Iterator<Item = (&str, bool)>, RecordError> {
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => {
                let byte = self.bytes[error.valid_up_to()];
                return Err(unsound(
                    self.line,
                    format!("the byte {byte:#04x} in it is not UTF-8"),
                ));
            }
        };
        // Two fields may be letters together, of which neither is one.
        if let Some(cut) = self
            .fields
            .iter()
            .find(|field| !text.is_char_boundary(field.end))
        {
            let byte = self.bytes[cut.end];
            return Err(unsound(
                self.line,
                format!("the byte {byte:#04x} in it is not UTF-8"),
            ));
        }
        if memchr(0, &self.bytes).is_some() {
            return Err(unsound(self.line, "it has a NUL, which no text has"));
        }
        let mut start = 0;
        Ok(self.fields.iter().map(move |field| {
            let value = text.get(start..field.end).unwrap_or_default();
            start = field.end;
            (value, field.is_quoted)
        }))
    }
}

/// Fails once, and is at its end then.
struct FailingReader(Option<io::Error>);

impl Read for FailingReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Reads the records of a file, one after another.
pub(super) struct RecordReader<'f> {
    text: Box<dyn Read + Send + 'f>,
    is_at_end: bool,
    /// What is wrong behind what was read.
    error: Option<io::Error>,
    /// What was read, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The line at `start`.
    line: u64,
    /// `None` until the first record says it, where the config does not.
    delimiter: Option<u8>,
    quote: Option<u8>,
    comment: Option<u8>,
    trims: bool,
    /// How many lines are passed over before the first record.
    skipped_lines: u64,
    /// True where more of the text was not taken.
    is_cut: bool,
    /// The first of the empty lines at the end.
    blank_line: Option<u64>,
}

impl Debug for RecordReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<'f> RecordReader<'f> {
    /// Begins at the beginning of a file.
    pub(super) fn new(file: &'f dyn RandomRead, options: &CsvOptions) -> Result<Self, RecordError> {
        let text = text_reader(file, options.encoding).map_err(|error| read_error(1, error))?;
        Ok(Self {
            text,
            is_at_end: false,
            error: None,
            buffer: Vec::new(),
            start: 0,
            line: 1,
            delimiter: options.delimiter,
            quote: options.quote,
            comment: options.comment,
            trims: options.trims,
            skipped_lines: options.skip_rows,
            is_cut: false,
            blank_line: None,
        })
    }

    /// The records of a block of a file with this delimiter.
    pub(super) fn of_block(block: Block, delimiter: u8, options: &CsvOptions) -> Self {
        Self {
            text: Box::new(io::empty()),
            is_at_end: !block.is_cut && block.error.is_none(),
            error: block.error,
            buffer: block.bytes,
            start: 0,
            line: block.line,
            delimiter: Some(delimiter),
            quote: options.quote,
            comment: options.comment,
            trims: options.trims,
            skipped_lines: 0,
            is_cut: block.is_cut,
            blank_line: None,
        }
    }

    /// What stands behind the records that were read, in blocks; and what stands between fields,
    /// where there is something.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn into_blocks(
        mut self,
        options: &CsvOptions,
    ) -> Result<(BlockReader<'f>, u8), RecordError> {
        let is_there = self.begin_record()?;
        let delimiter = match self.delimiter {
            Some(delimiter) => delimiter,
            None if is_there => self.find_delimiter()?,
            None => b',',
        };
        let rest = self.buffer.split_off(self.start);
        let text: Box<dyn Read + Send + 'f> = match self.error.take() {
            None => self.text,
            Some(error) => Box::new(FailingReader(Some(error))),
        };
        Ok((
            BlockReader::new(text, (rest, self.line), options),
            delimiter,
        ))
    }

    /// The first bytes of the text, before anything of it is read; fewer at its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn head(&mut self, count: usize) -> Result<&[u8], RecordError> {
        while self.buffer.is_empty() && !self.is_at_end {
            self.read_more()?;
        }
        Ok(&self.buffer[..self.buffer.len().min(count)])
    }

    /// Reads the next record; false at the end.
    ///
    /// # Errors
    /// It is no CSV, or cannot be read.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, RecordError> {
        if !self.begin_record()? {
            return Ok(false);
        }
        let delimiter = match self.delimiter {
            Some(delimiter) => delimiter,
            None => self.find_delimiter()?,
        };
        if self.comment == Some(delimiter) {
            let reason = format!(
                "{:?} stands between its fields, and comments begin with it: delimiter of its home says what is meant",
                char::from(delimiter)
            );
            return Err(unsound(self.line, reason));
        }
        self.delimiter = Some(delimiter);
        loop {
            if let Some((length, lines)) = self.parse(record, delimiter)? {
                self.start += length;
                self.line += lines;
                return Ok(true);
            }
            self.read_more()?;
        }
    }

    /// Goes to the first byte of the next record; false at the end.
    fn begin_record(&mut self) -> Result<bool, RecordError> {
        while self.skipped_lines > 0 && self.skip_line()? {
            self.skipped_lines -= 1;
        }
        loop {
            match self.buffer.get(self.start) {
                Some(byte) if Some(*byte) == self.comment => drop(self.skip_line()?),
                Some(_) => return Ok(true),
                None if self.is_at_end => return Ok(false),
                None => self.read_more()?,
            }
        }
    }

    /// The one usual delimiter that the next record has outside of quotes; a comma where it has none.
    ///
    /// # Errors
    /// It has several.
    fn find_delimiter(&mut self) -> Result<u8, RecordError> {
        loop {
            let (mut is_quoted, mut is_whole) = (false, self.is_at_end);
            let mut found = Vec::new();
            for byte in &self.buffer[self.start..] {
                if Some(*byte) == self.quote {
                    is_quoted = !is_quoted;
                } else if !is_quoted && *byte == b'\n' {
                    is_whole = true;
                    break;
                } else if !is_quoted && DELIMITERS.contains(byte) && !found.contains(byte) {
                    found.push(*byte);
                }
            }
            if !is_whole {
                self.read_more()?;
                continue;
            }
            return match found[..] {
                [] => Ok(b','),
                [one] => Ok(one),
                [..] => {
                    let found: Vec<String> = found
                        .iter()
                        .map(|byte| format!("{:?}", char::from(*byte)))
                        .collect();
                    let found = found.join(" and ");
                    let reason = format!(
                        "it has {found}: delimiter of its home says which of them stands between fields"
                    );
                    Err(unsound(self.line, reason))
                }
            };
        }
    }

    /// Passes over a line, whatever stands on it; false at the end.
    fn skip_line(&mut self) -> Result<bool, RecordError> {
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer[self.start..]) {
                self.start += end + 1;
                self.line += 1;
                return Ok(true);
            }
            self.start = self.buffer.len();
            if self.is_at_end {
                return Ok(false);
            }
            self.read_more()?;
        }
    }

    /// Reads a record of which something must stand on every line but the last ones: files end with
    /// empty lines where somebody has edited them. With one column an empty line is a value.
    ///
    /// # Errors
    /// As [`RecordReader::next`], and where a line is empty that others follow.
    pub(super) fn next_row(
        &mut self,
        record: &mut Record,
        columns: usize,
    ) -> Result<bool, RecordError> {
        if !self.next(record)? {
            return Ok(false);
        }
        if columns == 1 || !record.is_blank() {
            return Ok(true);
        }
        let line = record.line;
        self.blank_line = Some(line);
        loop {
            match self.next(record) {
                Ok(true) if record.is_blank() => {}
                Ok(false) => return Ok(false),
                // What is wrong further down is not the first that is.
                Ok(true) | Err(RecordError::Unsound { .. }) => return Err(blank_line(line)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The first of the empty lines at the end, where there are some.
    pub(super) fn blank_line(&self) -> Option<u64> {
        self.blank_line
    }

    fn read_more(&mut self) -> Result<(), RecordError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if let Some(error) = self.error.take() {
            let lines = memchr::memchr_iter(b'\n', &self.buffer).count() as u64;
            return Err(read_error(self.line + lines, error));
        }
        if self.is_cut {
            return Err(self.too_long());
        }
        if self.buffer.len() > MAX_RECORD_BYTES {
            return Err(self.too_long());
        }
        let before = self.buffer.len();
        // A long record is not looked through once for each block of it.
        let more = before.max(BLOCK_BYTES);
        let length = (before + more).min(MAX_RECORD_BYTES + BLOCK_BYTES);
        self.buffer.resize(length, 0);
        let mut end = before;
        while end < self.buffer.len() {
            match self.text.read(&mut self.buffer[end..]) {
                Ok(0) => {
                    self.is_at_end = true;
                    break;
                }
                Ok(read) => end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        self.buffer.truncate(end);
        Ok(())
    }

    fn too_long(&self) -> RecordError {
        let reason = format!(
            "a record begins here that does not end within {} MiB: a quote is not closed, as it seems",
            MAX_RECORD_BYTES >> 20
        );
        unsound(self.line, reason)
    }

    /// Takes the record at the beginning of what was read; gives how many bytes and how many ends of
    /// lines it has. `None` where its end was not read yet.
    fn parse(
        &self,
        record: &mut Record,
        delimiter: u8,
    ) -> Result<Option<(usize, u64)>, RecordError> {
        record.line = self.line;
        record.bytes.clear();
        record.fields.clear();
        let bytes = &self.buffer[self.start..];
        let (mut place, mut lines) = (0, 0);
        loop {
            place += self.blanks(&bytes[place..], delimiter);
            let rest = &bytes[place..];
            let is_quoted = self.quote.is_some_and(|quote| rest.first() == Some(&quote));
            let length = if is_quoted {
                match self.quoted(rest, delimiter, record, &mut lines)? {
                    Some(length) => length,
                    None => return Ok(None),
                }
            } else {
                match self.unquoted(rest, delimiter, record, lines)? {
                    Some(length) => length,
                    None => return Ok(None),
                }
            };
            record.fields.push(FieldEnd {
                end: record.bytes.len(),
                is_quoted,
            });
            if record.fields.len() > MAX_FIELDS {
                let reason = format!("it has more than {MAX_FIELDS} fields");
                return Err(unsound(record.line, reason));
            }
            place += length;
            match bytes[place..] {
                [] => return Ok(Some((place, lines))),
                [b'\n', ..] => return Ok(Some((place + 1, lines + 1))),
                [b'\r', b'\n', ..] => return Ok(Some((place + 2, lines + 1))),
                [b'\r'] => return Ok(Some((place + 1, lines))),
                // The delimiter.
                _ => place += 1,
            }
            if place == bytes.len() && !self.is_at_end {
                return Ok(None);
            }
        }
    }

    /// How many blanks stand at the beginning that are no part of a field.
    fn blanks(&self, rest: &[u8], delimiter: u8) -> usize {
        let is_blank = |byte: &&u8| matches!(**byte, b' ' | b'\t') && **byte != delimiter;
        if self.trims {
            rest.iter().take_while(is_blank).count()
        } else {
            0
        }
    }

    /// Takes a field without quotes; gives its length.
    fn unquoted(
        &self,
        rest: &[u8],
        delimiter: u8,
        record: &mut Record,
        lines: u64,
    ) -> Result<Option<usize>, RecordError> {
        let quote = self.quote.unwrap_or(b'\n');
        let found = memchr3(delimiter, b'\n', quote, rest);
        let end = match found {
            Some(end) => end,
            None if self.is_at_end => rest.len(),
            None => return Ok(None),
        };
        let at_end = rest.get(end).copied();
        if at_end == self.quote && at_end.is_some() {
            return Err(unsound(
                record.line + lines,
                "a quote stands inside a field that does not begin with one",
            ));
        }
        let mut field = &rest[..end];
        if at_end != Some(delimiter) {
            // At the end of a file a line may end with half of what ends lines.
            field = field.strip_suffix(b"\r").unwrap_or(field);
        }
        let length = if at_end == Some(b'\n') {
            field.len()
        } else {
            end
        };
        if self.trims {
            while let [before @ .., b' ' | b'\t'] = field {
                field = before;
            }
        }
        if memchr(b'\r', field).is_some() {
            return Err(unsound(
                record.line + lines,
                "a carriage return stands in it and does not end it: lines end with a line feed, or with both",
            ));
        }
        record.bytes.extend_from_slice(field);
        Ok(Some(length))
    }

    /// Takes a field in quotes; gives its length with them.
    fn quoted(
        &self,
        rest: &[u8],
        delimiter: u8,
        record: &mut Record,
        lines: &mut u64,
    ) -> Result<Option<usize>, RecordError> {
        let quote = rest[0];
        let began = record.line + *lines;
        let mut place = 1;
        loop {
            let Some(length) = memchr(quote, &rest[place..]) else {
                if self.is_at_end {
                    return Err(unsound(began, "a quote begins here that is not closed"));
                }
                return Ok(None);
            };
            let inside = &rest[place..place + length];
            *lines += memchr::memchr_iter(b'\n', inside).count() as u64;
            record.bytes.extend_from_slice(inside);
            place += length + 1;
            if rest.get(place) == Some(&quote) {
                record.bytes.push(quote);
                place += 1;
                continue;
            }
            place += self.blanks(&rest[place..], delimiter);
            match rest[place..] {
                [next, ..] if next == delimiter || next == b'\n' => return Ok(Some(place)),
                [b'\r', b'\n', ..] => return Ok(Some(place)),
                [] if self.is_at_end => return Ok(Some(place)),
                [b'\r'] if self.is_at_end => return Ok(Some(place)),
                [] | [b'\r'] => return Ok(None),
                _ => {
                    return Err(unsound(
                        record.line + *lines,
                        "something stands behind the quote that closes a field: a quote inside of it is written twice",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a block, up to its first error.
    fn records(
        block: Block,
        options: &CsvOptions,
        width: usize,
    ) -> (Vec<String>, Option<u64>, Option<String>) {
        let mut reader = RecordReader::of_block(block, b',', options);
        let (mut record, mut found) = (Record::default(), Vec::new());
        loop {
            match reader.next_row(&mut record, width) {
                Ok(true) => {
                    let fields = record.fields().expect("a text").collect::<Vec<_>>();
                    found.push(format!("{} {fields:?}", record.line));
                }
                Ok(false) => return (found, reader.blank_line(), None),
                Err(error) => return (found, None, Some(format!("{error:?}"))),
            }
        }
    }

    /// All records of blocks, up to the first error.
    fn of_blocks(
        text: &str,
        least: usize,
        options: &CsvOptions,
        width: usize,
    ) -> (Vec<String>, Option<String>) {
        let text_reader = Box::new(text.as_bytes());
        let blocks = BlockReader::new(text_reader, (Vec::new(), 1), options);
        let mut blocks = blocks.with_least(least);
        let (mut all, mut blank, mut length) = (Vec::new(), None, 0);
        while let Some(block) = blocks.next() {
            length += block.bytes.len();
            let (found, blank_here, error) = records(block, options, width);
            if let Some(line) = blank.filter(|_| !found.is_empty() || error.is_some()) {
                return (all, Some(format!("{:?}", blank_line(line))));
            }
            all.extend(found);
            if error.is_some() {
                return (all, error);
            }
            blank = blank.or(blank_here);
        }
        assert_eq!(length, text.len());
        (all, None)
    }

    #[test]
    fn blocks_have_the_records_that_the_whole_has() {
        let pieces = [
            "a", ",", "\n", "\r\n", "\"", "\"\"", "\"x\ny\"", "#", "\n\n", " ", "ä",
        ];
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % below
        };
        let plain = CsvOptions::default();
        let all = [
            CsvOptions {
                comment: Some(b'#'),
                ..plain.clone()
            },
            CsvOptions {
                quote: None,
                ..plain.clone()
            },
            CsvOptions {
                trims: true,
                ..plain.clone()
            },
            plain,
        ];
        let mut sound = 0;
        for _ in 0..20_000 {
            let text: String = (0..next(30)).map(|_| pieces[next(pieces.len())]).collect();
            let options = &all[next(all.len())];
            let width = 1 + next(2);
            let whole = Block {
                bytes: text.clone().into_bytes(),
                line: 1,
                is_cut: false,
                error: None,
            };
            let (records, _, error) = records(whole, options, width);
            sound += usize::from(error.is_none());
            for least in [1, 2, 5, 17] {
                let found = of_blocks(&text, least, options, width);
                assert_eq!(
                    found,
                    (records.clone(), error.clone()),
                    "{text:?} in blocks of {least}: {options:?}"
                );
            }
        }
        assert!(sound > 2_000, "{sound}");
    }
}
