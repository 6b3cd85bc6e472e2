//! The way out: everything that a command says passes here, on standard output or standard error.
//!
//! It keeps the line of progress below what is said, and notes what could not be written: a reader
//! that has gone is no error, a full disk is one. It knows no flow and no plan.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::escape;

/// Back to the beginning of the line of progress, and nothing behind it.
const CLEAR_LINE: &str = "\r\x1b[J";

/// How wide a terminal is that does not say so.
const DEFAULT_WIDTH: usize = 80;

/// What stands for signs that draw boxes where a terminal has none of them.
const ASCII_BOXES: [(char, char); 17] = [
    ('─', '-'),
    ('│', '|'),
    ('╭', ','),
    ('╰', '`'),
    ('╮', '.'),
    ('╯', '\''),
    ('├', '|'),
    ('┤', '|'),
    ('┼', '+'),
    ('┬', '-'),
    ('┴', '-'),
    ('·', ':'),
    ('▲', '^'),
    ('▶', '>'),
    ('…', '~'),
    ('█', '#'),
    ('░', '.'),
];

/// One of both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// What was asked for.
    Standard,
    /// What happens meanwhile, and errors.
    Error,
}

/// What the process has said, and how: there is one terminal.
struct Screen {
    /// The line of progress, where one is shown.
    progress: Option<String>,
    /// Why something could not be written.
    write_error: Option<io::Error>,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    progress: None,
    write_error: None,
});

/// Whether signs that draw boxes are shown as letters.
static USE_ASCII_BOXES: AtomicBool = AtomicBool::new(false);

/// Whether lines can only be added to what a terminal shows.
static IS_APPEND_ONLY: AtomicBool = AtomicBool::new(false);

impl OutputStream {
    /// Says a line, in which others have a part.
    pub fn write_line(self, text: &str) {
        self.write_bytes(format!("{}\n", escape::line(text)).as_bytes());
    }

    /// Says lines that are hygge's own, as they are set, with what it draws at the beginning of
    /// each.
    pub fn write_lines(self, text: &str) {
        let text = escape::lines(text);
        let text = if USE_ASCII_BOXES.load(Ordering::Relaxed) {
            text.split('\n')
                .map(ascii_margin)
                .collect::<Vec<_>>()
                .join("\n")
        } else {
            text.into()
        };
        self.write_bytes(format!("{text}\n").as_bytes());
    }

    /// Writes what programs read, as it is.
    pub fn write_bytes(self, bytes: &[u8]) {
        screen().write(self, bytes);
    }
}

impl Write for OutputStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on boxes are drawn with letters.
pub fn use_ascii_boxes() {
    USE_ASCII_BOXES.store(true, Ordering::Relaxed);
}

/// From now on no line is drawn that goes again.
pub fn disable_redraw() {
    IS_APPEND_ONLY.store(true, Ordering::Relaxed);
}

/// Whether somebody may look at standard error, and a line of progress can be drawn there.
pub fn is_terminal() -> bool {
    !IS_APPEND_ONLY.load(Ordering::Relaxed) && io::stderr().is_terminal()
}

/// What could not be written by now, if anything.
pub fn take_write_error() -> Option<io::Error> {
    let mut screen = screen();
    let flushed = io::stdout().flush();
    screen.record_error(flushed);
    screen.write_error.take()
}

/// Shows the line of progress; one that is longer than the terminal is wide is cut.
pub(super) fn show_progress(text: &str) {
    let text = if USE_ASCII_BOXES.load(Ordering::Relaxed) {
        to_ascii_boxes(text)
    } else {
        text.to_string()
    };
    // The last column stays free, so that the cursor does not go on to the next line.
    let shown: String = text.chars().take(terminal_width() - 1).collect();
    let mut screen = screen();
    let drawn = redraw_sequence(&shown);
    screen.progress = Some(shown);
    screen.write_raw(OutputStream::Error, drawn.as_bytes());
}

/// Takes the line of progress away.
pub fn clear_progress() {
    let mut screen = screen();
    if screen.progress.take().is_some() {
        screen.write_raw(OutputStream::Error, CLEAR_LINE.as_bytes());
    }
}

/// Takes the line of progress away before the process ends in the middle of something.
pub fn clear_progress_on_exit() {
    // Who is writing may wait for a reader, and never end.
    if let Ok(mut screen) = SCREEN.try_lock()
        && screen.progress.take().is_some()
    {
        screen.write_raw(OutputStream::Error, CLEAR_LINE.as_bytes());
    }
}

/// How wide the terminal is now.
pub(super) fn terminal_width() -> usize {
    let size = console::Term::stderr().size_checked();
    size.map(|(_, columns)| usize::from(columns))
        .filter(|columns| *columns > 1)
        .unwrap_or(DEFAULT_WIDTH)
}

/// The cursor rests at the beginning: what the terminal writes there by itself is overwritten by
/// the next line, and a line that a narrower terminal breaks into several goes as a whole.
fn redraw_sequence(line: &str) -> String {
    format!("\r{line}\x1b[J\r")
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn write(&mut self, output: OutputStream, bytes: &[u8]) {
        let Some(line) = self.progress.clone() else {
            return self.write_raw(output, bytes);
        };
        if output == OutputStream::Error {
            // At once, so that nothing flickers.
            return self.write_raw(
                output,
                &[
                    CLEAR_LINE.as_bytes(),
                    bytes,
                    redraw_sequence(&line).as_bytes(),
                ]
                .concat(),
            );
        }
        self.write_raw(OutputStream::Error, CLEAR_LINE.as_bytes());
        self.write_raw(output, bytes);
        self.write_raw(OutputStream::Error, redraw_sequence(&line).as_bytes());
    }

    fn write_raw(&mut self, output: OutputStream, bytes: &[u8]) {
        let written = match output {
            OutputStream::Standard => io::stdout().write_all(bytes),
            OutputStream::Error => io::stderr().write_all(bytes),
        };
        self.record_error(written);
    }

    fn record_error(&mut self, result: io::Result<()>) {
        // Who closed our output does not want to read more.
        if let Err(error) = result
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.write_error.get_or_insert(error);
        }
    }
}

/// A line whose margin is drawn with letters. Behind that, and behind the number of a line, stands
/// what others have written.
fn ascii_margin(line: &str) -> String {
    let is_drawn = |letter: char| {
        letter == ' '
            || letter.is_ascii_digit()
            || ASCII_BOXES.iter().any(|(sign, _)| *sign == letter)
    };
    let has_number = line
        .trim_start()
        .starts_with(|letter: char| letter.is_ascii_digit());
    let end = match line.split_once('│').filter(|_| has_number) {
        Some((number, _)) if number.chars().all(is_drawn) => number.len() + '│'.len_utf8(),
        _ => line.find(|letter| !is_drawn(letter)).unwrap_or(line.len()),
    };
    to_ascii_boxes(&line[..end]) + &line[end..]
}

fn to_ascii_boxes(text: &str) -> String {
    let letter = |letter: char| {
        ASCII_BOXES
            .iter()
            .find(|(sign, _)| *sign == letter)
            .map_or(letter, |(_, plain)| *plain)
    };
    text.chars().map(letter).collect()
}
