//! Making one part: open the inputs, move or recode their rows into staging, check everything.
//!
//! It runs on a thread of its own and knows nothing of the run it is part of.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::index::PartRecord;
use crate::cache::staging::{Staging, Unfinished};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::format::{Cut, Format, FormatError, Opened, Passage, Piece, Target};
use crate::fs::{self, DigestWriter, FsError};
use crate::plan::probe::Input;
use crate::plan::work::{Made, MadeAt, PlannedPart, Work};

/// The bytes that are gathered before they are hashed and written.
const BUFFER: usize = 1 << 20;

/// What may happen to an input while it is read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not the file that was planned with.
    #[error("input {} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The rows that were read are not the rows that were written.
    #[error("{read} rows were read, and {written} written")]
    Rows {
        /// Rows that the input has.
        read: u64,
        /// Rows in the part.
        written: u64,
    },
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        let hint = match &error {
            InputError::Changed(_) => "build again when its writer is done; nothing was published",
            InputError::Rows { .. } => "this is a fault of hygge: please report it; nothing was published",
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Makes a part, or makes sure of one that is at hand. The part lies in staging afterwards, or is
/// still in the store where it is published.
pub(super) fn make(
    work: &Work,
    part: &PlannedPart,
    format: &'static dyn Format,
    target: &Target,
    staging: &Staging,
    interrupted: &AtomicBool,
) -> Result<PartRecord> {
    if let Some(made) = &part.made
        && ensure(made, staging, interrupted)?
    {
        return Ok(made.record);
    }
    let mut numbers: Vec<usize> = part.slice.pieces.iter().map(|piece| piece.file).collect();
    numbers.dedup();
    let inputs: Vec<&Input> = numbers.iter().filter_map(|number| work.files.get(*number)).collect();
    let files = inputs.iter().map(|input| open(input)).collect::<Result<Vec<_>>>()?;
    let within = |piece: &Piece| numbers.iter().position(|number| *number == piece.file).unwrap_or_default();
    let pieces: Vec<Piece> = part.slice.pieces.iter().map(|piece| Piece { file: within(piece), ..*piece }).collect();
    let cut = Cut { files: &files, pieces: &pieces, interrupted };
    let unfinished = staging.begin();
    let written = match (&work.passage, inputs.as_slice(), pieces.as_slice()) {
        (Passage::Undecoded, [input], [Piece { group: None, rows: None, .. }]) => {
            let (digest, bytes) = pass_whole(&files[0], &unfinished, staging, interrupted)?;
            if digest != input.digest {
                return Err(InputError::Changed(input.path.clone()).into());
            }
            Written { digest, bytes, rows: part.slice.rows }
        }
        (Passage::Undecoded, ..) => write(&unfinished, |out| format.move_groups(&cut, None, Box::new(out)))?,
        (Passage::Recompressed { compression }, ..) => {
            write(&unfinished, |out| format.move_groups(&cut, Some(compression), Box::new(out)))?
        }
        (Passage::Decoded { compression }, ..) => {
            let target = Target { compression, ..*target };
            write(&unfinished, |out| recode(format, &cut, &target, out))?
        }
    };
    for (input, file) in inputs.iter().zip(&files) {
        check_unchanged(input, file)?;
    }
    if written.rows != part.slice.rows {
        return Err(InputError::Rows { read: part.slice.rows, written: written.rows }.into());
    }
    staging.finish(unfinished, &written.digest)?;
    Ok(PartRecord { digest: written.digest, rows: written.rows, bytes: written.bytes })
}

/// Makes sure of a part that was made by an earlier run; false where it must be made again.
fn ensure(made: &Made, staging: &Staging, interrupted: &AtomicBool) -> Result<bool> {
    match &made.place {
        MadeAt::Live => Ok(true),
        MadeAt::Staged => Ok(staging.verify(&made.record.digest)?),
        MadeAt::Elsewhere(path) => {
            let unfinished = staging.begin();
            let (digest, _) = fs::copy(path, unfinished.path(), |_| go_on(interrupted))?;
            let is_whole = Fingerprint::from_bytes(digest) == made.record.digest;
            if is_whole {
                staging.finish(unfinished, &made.record.digest)?;
            }
            Ok(is_whole)
        }
    }
}

struct Written {
    digest: Fingerprint,
    bytes: u64,
    rows: u64,
}

/// Takes a file over as it is: a clone where the filesystem can, else a copy. What is digested is
/// what lies in staging.
fn pass_whole(source: &Opened, unfinished: &Unfinished, staging: &Staging, interrupted: &AtomicBool) -> Result<(Fingerprint, u64)> {
    if staging.clone_into(unfinished, &source.path) {
        let staged = fs::open(unfinished.path())?;
        return Ok(Fingerprint::of_file(&staged, |_| go_on(interrupted)).map_err(FsError::at("read", unfinished.path()))?);
    }
    let target = unfinished.create()?;
    let (digest, bytes) = fs::copy_open(&source.file, &target, |_| go_on(interrupted)).map_err(FsError::at("copy", &source.path))?;
    Ok((Fingerprint::from_bytes(digest), bytes))
}

fn go_on(interrupted: &AtomicBool) -> io::Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// Writes a part through `fill`, which gives the rows, and digests it on the way.
fn write(
    unfinished: &Unfinished,
    fill: impl FnOnce(&mut BufWriter<DigestWriter<fs::File>>) -> Result<u64, FormatError>,
) -> Result<Written> {
    let mut out = BufWriter::with_capacity(BUFFER, DigestWriter::new(unfinished.create()?));
    let rows = fill(&mut out)?;
    let failed = |error: io::Error| FsError::at("write", unfinished.path())(error);
    let (_, digest, bytes) = out.into_inner().map_err(|error| failed(error.into_error()))?.finish().map_err(failed)?;
    Ok(Written { digest: Fingerprint::from_bytes(digest), bytes, rows })
}

fn recode(format: &dyn Format, cut: &Cut<'_>, target: &Target, out: &mut BufWriter<DigestWriter<fs::File>>) -> Result<u64, FormatError> {
    let mut encoder = target.format.encoder(&cut.files[0], target, Box::new(out))?;
    let mut rows = 0;
    format.decode(cut, &mut |frame| {
        rows += frame.height() as u64;
        encoder.write(frame)
    })?;
    encoder.finish()?;
    Ok(rows)
}

fn open(input: &Input) -> Result<Opened> {
    let opened = Opened { file: fs::open(&input.path)?, path: input.path.clone() };
    check_unchanged(input, &opened)?;
    Ok(opened)
}

/// The open file, and what its path leads to, look as they did when the input was fingerprinted.
fn check_unchanged(input: &Input, opened: &Opened) -> Result<()> {
    let now = fs::stat_open(&opened.file, &opened.path)?;
    let there = fs::stat(&input.path)?.map(|found| found.stat);
    if now == input.stat && there == Some(input.stat) { Ok(()) } else { Err(InputError::Changed(input.path.clone()).into()) }
}
