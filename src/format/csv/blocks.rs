//! A file in blocks of whole records, so that several threads read it at once.
//!
//! Ends of lines are ends of records where an even number of quotes stands before them. Where what is
//! read is no CSV, that may be wrong for what stands behind: it is the first error that counts, and
//! the block with it is cut rightly. Where blocks end depends on the text alone.

use std::io::{self, Read};

use memchr::{memchr_iter, memchr2};

use super::options::CsvOptions;

/// A longer record is most likely a quote that is not closed.
pub(super) const MAX_RECORD_BYTES: usize = 256 << 20;

/// A block is at least so long, but for the last.
pub(super) const BLOCK_BYTES: usize = 2 << 20;

/// Records that stand behind each other in a file.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// The line at their beginning.
    pub(super) line: u64,
    /// True where the last of them is cut off: it is too long.
    pub(super) is_cut: bool,
    /// Why the file cannot be read on behind them.
    pub(super) error: Option<io::Error>,
}

/// Cuts the text of a file into blocks.
pub(super) struct BlockReader<'f> {
    text: Box<dyn Read + Send + 'f>,
    is_at_end: bool,
    /// What is wrong behind what was read.
    error: Option<io::Error>,
    /// What was read and is in no block.
    rest: Vec<u8>,
    line: u64,
    quote: Option<u8>,
    comment: Option<u8>,
    /// How long a block is at least.
    least: usize,
}

/// Where a search for the end of a block stands.
#[derive(Clone, Copy)]
struct Search {
    place: usize,
    is_quoted: bool,
}

impl<'f> BlockReader<'f> {
    /// Goes on where records begin: with what was read already, and the text behind it.
    pub(super) fn new(
        text: Box<dyn Read + Send + 'f>,
        (rest, line): (Vec<u8>, u64),
        options: &CsvOptions,
    ) -> Self {
        Self {
            text,
            is_at_end: false,
            error: None,
            rest,
            line,
            quote: options.quote,
            comment: options.comment,
            least: BLOCK_BYTES,
        }
    }

    /// The same in blocks of another length.
    #[cfg(test)]
    pub(super) fn with_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// The next block; nothing at the end.
    pub(super) fn next(&mut self) -> Option<Block> {
        let mut search = Search {
            place: 0,
            is_quoted: false,
        };
        let end = loop {
            if let Some(end) = self.find_end(&mut search) {
                break end;
            }
            if self.is_at_end {
                break self.rest.len();
            }
            if self.rest.len() > MAX_RECORD_BYTES + self.least {
                return Some(self.take(self.rest.len(), true));
            }
            self.read_more();
        };
        let is_last = self.is_at_end && end == self.rest.len();
        let error = self.error.take_if(|_| is_last);
        (end > 0 || error.is_some()).then(|| Block {
            error,
            ..self.take(end, false)
        })
    }

    fn take(&mut self, end: usize, is_cut: bool) -> Block {
        let behind = self.rest.split_off(end);
        let bytes = std::mem::replace(&mut self.rest, behind);
        let line = self.line;
        self.line += memchr_iter(b'\n', &bytes).count() as u64;
        Block {
            bytes,
            line,
            is_cut,
            error: None,
        }
    }

    /// The end of the first record that ends behind the least length of a block.
    fn find_end(&self, search: &mut Search) -> Option<usize> {
        if self.comment.is_some() {
            return self.find_end_beside_comments(search);
        }
        let bytes = &self.rest;
        let Some(quote) = self.quote else {
            let from = search.place.max(self.least - 1);
            search.place = bytes.len();
            let found = bytes
                .get(from..)
                .and_then(|rest| memchr::memchr(b'\n', rest));
            return found.map(|length| from + length + 1);
        };
        // Up to the least length, quotes are only counted.
        let least = bytes.len().min(self.least - 1);
        if search.place < least {
            let quotes = memchr_iter(quote, &bytes[search.place..least]).count();
            search.is_quoted ^= quotes % 2 == 1;
            search.place = least;
        }
        while let Some(length) = memchr2(quote, b'\n', &bytes[search.place..]) {
            let found = bytes[search.place + length];
            search.place += length + 1;
            if found == quote {
                search.is_quoted = !search.is_quoted;
            } else if !search.is_quoted && search.place >= self.least {
                return Some(search.place);
            }
        }
        search.place = bytes.len();
        None
    }

    /// The same where lines may be comments, whose quotes are none: each record is looked at.
    fn find_end_beside_comments(&self, search: &mut Search) -> Option<usize> {
        let bytes = &self.rest;
        // From the last record on that was not seen whole.
        while let Some(first) = bytes.get(search.place) {
            let quote = self.quote.filter(|_| Some(*first) != self.comment);
            let mut is_quoted = false;
            let mut place = search.place;
            let end = loop {
                let rest = &bytes[place..];
                let found = match quote {
                    Some(quote) => memchr2(quote, b'\n', rest),
                    None => memchr::memchr(b'\n', rest),
                };
                let found = found?;
                place += found + 1;
                if bytes[place - 1] != b'\n' {
                    is_quoted = !is_quoted;
                } else if !is_quoted {
                    break place;
                }
            };
            search.place = end;
            if end >= self.least {
                return Some(end);
            }
        }
        None
    }

    fn read_more(&mut self) {
        let before = self.rest.len();
        // A long record is not looked through once for each block of it.
        let more = before.max(self.least).min(MAX_RECORD_BYTES);
        self.rest.resize(before + more, 0);
        let mut end = before;
        while end < self.rest.len() {
            match self.text.read(&mut self.rest[end..]) {
                Ok(0) => {
                    self.is_at_end = true;
                    break;
                }
                Ok(read) => end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    (self.is_at_end, self.error) = (true, Some(error));
                    break;
                }
            }
        }
        self.rest.truncate(end);
    }
}
