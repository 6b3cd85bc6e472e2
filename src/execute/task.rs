//! Making one part of files: open them, move or recode their rows into staging, check everything.
//!
//! It runs on a thread of its own and knows nothing of the run it is part of.

use std::io::{self, Write};
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::folder_files::{FolderFiles, UnfinishedFiles};
use super::part_file::write_part;
use crate::cache::index::PartRecord;
use crate::cache::staging::{Staging, UnfinishedPart};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::fingerprint::Fingerprint;
use crate::format::projection::Projection;
use crate::format::shared_groups::SharedGroups;
use crate::format::{
    Format, FormatError, InputFiles, Layout, OpenFile, OutputSpec, PartPieces, PartitionBy, Piece,
    ProjectedFiles, ProjectedPart, RecodedRows, TransferMode, move_groups, recode,
};
use crate::fs::{self, FsError, nofollow};
use crate::plan::file_work::{FileWork, InspectedFiles};
use crate::storage::{Location, SequentialReader, Version};

/// What may happen to an input while it is read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not the file that was planned with.
    #[error("input {} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// What the index knows of it is not what is in it.
    #[error("the index is wrong about input {}", .0.display())]
    WrongLayout(PathBuf),
    /// The rows that were read are not the rows that were written.
    #[error("{read} rows were read, and {written} written")]
    RowCount {
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
            InputError::WrongLayout(_) => {
                "delete the cache: what is fresh stays fresh; nothing was published"
            }
            InputError::RowCount { .. } => {
                "this is a fault of hygge: please report it; nothing was published"
            }
        };
        let retry = match error {
            InputError::Changed(_) => Retry::Reread,
            InputError::WrongLayout(_) | InputError::RowCount { .. } => Retry::Never,
        };
        Self::new(ErrorKind::Flow, error)
            .with_hint(hint)
            .with_retry(retry)
    }
}

/// Files that parts are made from, as they were planned with.
pub(super) trait PlannedFiles: Sync {
    /// Their format.
    fn input_format(&self) -> &dyn Format;

    /// One of them.
    fn file(&self, file: usize) -> PlannedFile<'_>;

    /// Which of them hold what their layouts say.
    fn inspected(&self) -> &InspectedFiles;

    /// Groups from which several of the parts are cut.
    fn shared_groups(&self) -> &SharedGroups;
}

/// A file as it was planned with.
pub(super) struct PlannedFile<'a> {
    pub(super) location: Location,
    pub(super) version: &'a Version,
    pub(super) digest: Fingerprint,
    pub(super) layout: &'a Layout,
    /// The columns that it has for its flow, where they are not its own.
    pub(super) projection: Option<&'a Projection>,
}

/// Makes the files of a part of these pieces, which have so many rows where that is known before.
/// They are not finished: whoever asked for them takes them into staging.
pub(super) fn make_from_files(
    files: &dyn PlannedFiles,
    transfer: TransferMode,
    (pieces, rows): (&[Piece], Option<u64>),
    target: &OutputSpec,
    staging: &Staging,
    interrupted: &CancellationToken,
) -> Result<MadeFiles> {
    let sources = PlannedInputs(files);
    let cut = PartPieces {
        inputs: &sources,
        pieces,
        interrupted,
    };
    let (files_made, decoded) = match &target.partition_by {
        Some(partition_by) => {
            let (made, decoded) =
                write_to_folders(files, transfer, &cut, (target, partition_by), staging)?;
            (made, Some(decoded))
        }
        None => {
            let unfinished = staging.begin_part()?;
            let (record, decoded) = match whole_file(transfer, pieces) {
                Some(file) => {
                    let (digest, bytes) = sources.copy(file, &unfinished, staging, interrupted)?;
                    let rows = match rows {
                        Some(rows) => rows,
                        None => files
                            .input_format()
                            .reader()
                            .decode(&cut, &mut |_| Ok(()))?,
                    };
                    (PartRecord::new(digest, rows, bytes), None)
                }
                None => {
                    let mut decoded = None;
                    let record = write_part(&unfinished, |out| {
                        let (counted, written) =
                            write_pieces(files, transfer, &cut, target, Box::new(out))?;
                        decoded = counted;
                        Ok(written)
                    })?;
                    (record, decoded)
                }
            };
            (vec![(unfinished, record)], decoded)
        }
    };
    sources.check_unchanged(pieces)?;
    let written: u64 = files_made.iter().map(|(_, record)| record.rows).sum();
    let kept = |decoded: RecodedRows| decoded.read.saturating_sub(decoded.filtered);
    let mut counts = rows.into_iter().chain(decoded.map(kept));
    if let Some(read) = counts.find(|read| *read != written) {
        return Err(InputError::RowCount { read, written }.into());
    }
    // What is left out was read.
    let expected = decoded.zip(piece_rows(files, pieces));
    if let Some((decoded, expected)) = expected.filter(|(decoded, rows)| decoded.read != *rows) {
        let (read, written) = (expected, decoded.read);
        return Err(InputError::RowCount { read, written }.into());
    }
    Ok(MadeFiles {
        files: files_made,
        filtered: decoded.map_or(0, |decoded| decoded.filtered),
    })
}

/// The files that were made for a part, one behind the other.
pub(super) struct MadeFiles {
    pub(super) files: UnfinishedFiles,
    /// How many rows were read for them and left out.
    pub(super) filtered: u64,
}

/// The file that is a part as it is.
fn whole_file(transfer: TransferMode, pieces: &[Piece]) -> Option<usize> {
    match (transfer, pieces) {
        (
            TransferMode::Undecoded,
            [
                Piece {
                    file,
                    group: None,
                    rows: None,
                },
            ],
        ) => Some(*file),
        _ => None,
    }
}

/// Decodes pieces, and writes a file for each folder that a row of them belongs to.
fn write_to_folders(
    files: &dyn PlannedFiles,
    transfer: TransferMode,
    pieces: &PartPieces<'_>,
    (target, partition_by): (&OutputSpec, &PartitionBy),
    staging: &Staging,
) -> Result<(UnfinishedFiles, RecodedRows)> {
    let TransferMode::Decoded { compression } = transfer else {
        return Err(Error::internal("rows of folders are not decoded"));
    };
    let projected = Projected(files);
    let part = ProjectedPart::new(files.input_format(), pieces, &projected);
    let mut folders = FolderFiles::new(
        partition_by,
        part.schema(target)?,
        (target, compression),
        staging,
        pieces.interrupted,
    )?;
    let (read, filtered) =
        part.decode(&mut |placed| folders.push(&placed.shaped.rows, |error| placed.error(error)))?;
    let made = folders.finish()?;
    let written = made.iter().map(|(_, record)| record.rows).sum();
    let rows = RecodedRows {
        read,
        filtered,
        written,
    };
    Ok((made, rows))
}

/// How many rows the layouts of files say pieces of them have; `None` where they do not say.
fn piece_rows(files: &dyn PlannedFiles, pieces: &[Piece]) -> Option<u64> {
    let rows = |piece: &Piece| match (piece.rows, piece.group) {
        (Some((_, count)), _) => Some(count),
        (None, Some(group)) => {
            let layout = files.file(piece.file).layout;
            layout.groups.get(group).map(|group| group.rows)
        }
        (None, None) => files.file(piece.file).layout.rows,
    };
    pieces.iter().map(rows).sum()
}

/// Moves or recodes pieces; gives what was counted where they were decoded, and the rows written.
fn write_pieces(
    files: &dyn PlannedFiles,
    transfer: TransferMode,
    pieces: &PartPieces<'_>,
    target: &OutputSpec,
    out: Box<dyn Write + Send + '_>,
) -> Result<(Option<RecodedRows>, u64), FormatError> {
    let home = files.input_format();
    let compression = match transfer {
        TransferMode::Decoded { compression } => {
            let first = pieces.pieces.first().map_or(0, |piece| piece.file);
            let rows = if files.file(first).projection.is_some() {
                let projected = Projected(files);
                ProjectedPart::new(home, pieces, &projected).recode(target, compression, out)?
            } else {
                recode(home, pieces, target, compression, out)?
            };
            return Ok((Some(rows), rows.written));
        }
        TransferMode::Undecoded => None,
        TransferMode::Recompressed { compression } => Some(compression),
    };
    Ok((None, move_groups(home, pieces, target, compression, out)?))
}

/// The columns that files have for their flow.
struct Projected<'a>(&'a dyn PlannedFiles);

impl ProjectedFiles for Projected<'_> {
    fn projection(&self, file: usize) -> Option<&Projection> {
        self.0.file(file).projection
    }

    fn first_row(&self, piece: &Piece) -> u64 {
        let layout = self.0.file(piece.file).layout;
        let before = layout.groups.iter().take(piece.group.unwrap_or_default());
        let before: u64 = before.map(|group| group.rows).sum();
        before + piece.rows.map_or(0, |(first, _)| first)
    }
}

/// The files of a flow that is being built.
pub(super) struct WorkFiles<'a>(pub(super) &'a FileWork);

impl PlannedFiles for WorkFiles<'_> {
    fn input_format(&self) -> &dyn Format {
        self.0.format.as_ref()
    }

    fn file(&self, file: usize) -> PlannedFile<'_> {
        let input = &self.0.files[file];
        PlannedFile {
            location: input.location.clone(),
            version: &input.version,
            digest: input.digest,
            layout: &self.0.layouts[file],
            projection: self.0.projection(file),
        }
    }

    fn inspected(&self) -> &InspectedFiles {
        &self.0.inspected
    }

    fn shared_groups(&self) -> &SharedGroups {
        &self.0.shared_groups
    }
}

/// Opens files that are as they were planned with.
struct PlannedInputs<'a>(&'a dyn PlannedFiles);

impl InputFiles for PlannedInputs<'_> {
    fn open(&self, file: usize) -> Result<OpenFile> {
        let planned = self.0.file(file);
        let opened = OpenFile::new(&planned.location)?;
        if opened.version()? != *planned.version {
            return Err(InputError::Changed(opened.path).into());
        }
        if self.0.inspected().contains(file) {
            return Ok(opened);
        }
        // What the index knows of the file decided which of its rows are read.
        if self.0.input_format().reader().inspect(&opened)? != *planned.layout {
            return Err(InputError::WrongLayout(opened.path).into());
        }
        self.0.inspected().insert(file);
        Ok(opened)
    }

    fn shared_groups(&self) -> Option<&SharedGroups> {
        Some(self.0.shared_groups())
    }
}

impl PlannedInputs<'_> {
    /// Copies a whole file; what is copied is what was planned with.
    fn copy(
        &self,
        file: usize,
        unfinished: &UnfinishedPart,
        staging: &Staging,
        interrupted: &CancellationToken,
    ) -> Result<(Fingerprint, u64)> {
        let (planned, opened) = (self.0.file(file), self.open(file)?);
        let location = &planned.location;
        let copied = copy_whole(&opened, location, unfinished, staging, interrupted)?;
        if copied.0 != planned.digest {
            return Err(InputError::Changed(location.display_path().into_owned()).into());
        }
        Ok(copied)
    }

    /// What the paths of a part's files lead to looks as it did when it was fingerprinted.
    fn check_unchanged(&self, pieces: &[Piece]) -> Result<()> {
        let mut files: Vec<usize> = pieces.iter().map(|piece| piece.file).collect();
        files.dedup();
        for planned in files.into_iter().map(|file| self.0.file(file)) {
            let found = planned.location.head()?.map(|found| found.version);
            if found.as_ref() != Some(planned.version) {
                return Err(
                    InputError::Changed(planned.location.display_path().into_owned()).into(),
                );
            }
        }
        Ok(())
    }
}

/// Takes a file over as it is: a clone where the filesystem can, else a copy. What is digested is
/// what lies in staging.
fn copy_whole(
    source: &OpenFile,
    location: &Location,
    unfinished: &UnfinishedPart,
    staging: &Staging,
    interrupted: &CancellationToken,
) -> Result<(Fingerprint, u64)> {
    let local = location.local_path();
    if local.is_some_and(|path| staging.try_clone_file(unfinished, path)) {
        let staged = nofollow::open(unfinished.path())?;
        return Ok(
            Fingerprint::hash_reader(&staged, |_| fs::check_interrupted(interrupted))
                .map_err(FsError::at("read", unfinished.path()))?,
        );
    }
    let target = unfinished.create()?;
    let (digest, bytes) = fs::copy_opened(
        SequentialReader::new(source.bytes.as_ref()),
        &target,
        |_| fs::check_interrupted(interrupted),
    )
    .map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FsError::at("write", unfinished.path())(error)
        }
        _ => FsError::at("copy", &source.path)(error),
    })?;
    Ok((Fingerprint::from_bytes(digest), bytes))
}
