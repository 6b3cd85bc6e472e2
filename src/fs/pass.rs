//! Bytes that pass from a reader to a writer, and are digested and counted on the way.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::File;

/// Bytes that are read and written at once: large enough that BLAKE3 hashes at full width.
const BUFFER: usize = 1 << 20;

/// A writer that digests and counts what passes through it.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
    /// The system's number of the error that ended it.
    failed: Option<i32>,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps a writer; nothing has passed yet.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            failed: None,
        }
    }

    /// Why nothing more could be written, whatever became of the error on its way through
    /// libraries.
    pub fn failure(&self) -> Option<io::Error> {
        self.failed.map(io::Error::from_raw_os_error)
    }

    /// The writer, the BLAKE3 digest and the number of all bytes that passed.
    pub fn finish(mut self) -> io::Result<(W, [u8; 32], u64)> {
        self.inner.flush()?;
        Ok((self.inner, *self.hasher.finalize().as_bytes(), self.bytes))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self
            .inner
            .write(buffer)
            .inspect_err(|error| self.failed = error.raw_os_error())?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies the bytes of an open file into another, and digests them on the way; see
/// [`copy`](super::copy).
pub fn copy_open(
    source: &File,
    target: &File,
    each: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    pass(source, target, each)
}

/// Digests a reader to its end: the digest and the number of bytes.
pub fn digest(
    reader: impl Read,
    each: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    pass(reader, io::sink(), each)
}

thread_local! {
    /// What passes: to clear a new one for each small file would take longer than to hash it.
    static PASSING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Passes a reader's bytes on to a writer, and digests and counts them on the way.
fn pass(
    mut reader: impl Read,
    writer: impl Write,
    mut each: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    let mut writer = DigestWriter::new(writer);
    PASSING.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER, 0);
        loop {
            match reader.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    writer.write_all(&buffer[..read])?;
                    each(writer.bytes)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })?;
    let (_, digest, bytes) = writer.finish()?;
    Ok((digest, bytes))
}

/// Fails where a run shall end: for work that goes on for long.
pub fn go_on(interrupted: &AtomicBool) -> io::Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        Err(io::ErrorKind::Interrupted.into())
    } else {
        Ok(())
    }
}
