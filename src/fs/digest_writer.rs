//! Bytes that pass from a reader to a writer, and are digested and counted on the way.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use tokio_util::sync::CancellationToken;

use super::File;

/// Bytes that are read and written at once: large enough that BLAKE3 hashes at full width.
const BUFFER_BYTES: usize = 1 << 20;

/// A writer that digests and counts what passes through it.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
    /// The system's number of the error that ended it.
    error_code: Option<i32>,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps a writer; nothing has passed yet.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            error_code: None,
        }
    }

    /// Why nothing more could be written, whatever became of the error on its way through
    /// libraries.
    pub fn write_error(&self) -> Option<io::Error> {
        self.error_code.map(io::Error::from_raw_os_error)
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
            .inspect_err(|error| self.error_code = error.raw_os_error())?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies all that a reader gives into an open file, and digests it on the way; see
/// [`copy`](super::copy).
pub fn copy_opened(
    source: impl Read,
    target: &File,
    on_progress: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    copy_and_digest(source, target, on_progress)
}

/// Digests a reader to its end: the digest and the number of bytes.
pub fn digest_reader(
    reader: impl Read,
    on_progress: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    copy_and_digest(reader, io::sink(), on_progress)
}

thread_local! {
    /// What passes: to clear a new one for each small file would take longer than to hash it.
    static COPY_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Passes a reader's bytes on to a writer, and digests and counts them on the way.
fn copy_and_digest(
    mut reader: impl Read,
    writer: impl Write,
    mut on_progress: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    let mut writer = DigestWriter::new(writer);
    COPY_BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER_BYTES, 0);
        loop {
            match reader.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    writer.write_all(&buffer[..read])?;
                    on_progress(writer.bytes)?;
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
pub fn check_interrupted(interrupted: &CancellationToken) -> io::Result<()> {
    if interrupted.is_cancelled() {
        Err(io::ErrorKind::Interrupted.into())
    } else {
        Ok(())
    }
}
