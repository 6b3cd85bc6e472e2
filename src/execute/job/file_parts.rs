//! Parts that are made of files. Those that are cut from one group stand in one job: they share its
//! decoding.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::completion_records::CompletionRecords;
use super::error::JobError;
use super::finished_part::FinishedPart;
use super::format_spec::{CompressionSpec, FormatSpec, TargetSpec};
use crate::cache::staging::Staging;
use crate::error::Result;
use crate::execute::task;
use crate::fingerprint::Fingerprint;
use crate::format::projection::Projection;
use crate::format::shared_groups::SharedGroups;
use crate::format::{Format, Layout, OutputSpec, Piece, TransferMode};
use crate::plan::file_work::{FileWork, InspectedFiles};
use crate::plan::planned_part::PlannedPart;
use crate::storage::{Location, Version};

/// Parts that are to be made of some files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileParts {
    /// The format of the files.
    home: FormatSpec,
    /// What the parts are to be.
    target: TargetSpec,
    files: Vec<FileSpec>,
    parts: Vec<PartSpec>,
}

/// A file as it was planned with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSpec {
    path: PathBuf,
    version: Version,
    digest: Fingerprint,
    layout: Layout,
    /// The columns that it has for its flow, where they are not its own.
    projection: Option<Projection>,
}

/// How the files become parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum TransferSpec {
    Undecoded,
    Recompressed(CompressionSpec),
    Decoded(CompressionSpec),
}

/// One part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartSpec {
    key: Fingerprint,
    transfer: TransferSpec,
    pieces: Vec<Piece>,
    rows: Option<u64>,
}

impl TransferSpec {
    fn new(transfer: TransferMode) -> Self {
        match transfer {
            TransferMode::Undecoded => Self::Undecoded,
            TransferMode::Recompressed { compression } => {
                Self::Recompressed(CompressionSpec::new(compression))
            }
            TransferMode::Decoded { compression } => {
                Self::Decoded(CompressionSpec::new(compression))
            }
        }
    }

    fn mode(&self, format: &dyn Format) -> Result<TransferMode, JobError> {
        Ok(match self {
            Self::Undecoded => TransferMode::Undecoded,
            Self::Recompressed(spec) => TransferMode::Recompressed {
                compression: spec.compression(format)?,
            },
            Self::Decoded(spec) => TransferMode::Decoded {
                compression: spec.compression(format)?,
            },
        })
    }
}

impl FileParts {
    /// Parts of a flow that are made of files: these of its work.
    pub(super) fn new(work: &FileWork, parts: &[&PlannedPart], target: &OutputSpec) -> Self {
        let pieces = parts.iter().flat_map(|part| &part.slice.pieces);
        // Only the files that it needs stand in a job; a part without rows has the columns of the
        // first.
        let is_empty = |part: &&PlannedPart| part.slice.pieces.is_empty();
        let first = parts.iter().any(is_empty).then_some(0);
        let files: BTreeSet<usize> = pieces.map(|piece| piece.file).chain(first).collect();
        let numbers: BTreeMap<usize, usize> = files.iter().copied().zip(0..).collect();
        let piece = |piece: &Piece| Piece {
            file: numbers[&piece.file],
            ..*piece
        };
        let part = |part: &&PlannedPart| PartSpec {
            key: part.key,
            transfer: TransferSpec::new(work.part_transfer(&part.slice.pieces)),
            pieces: part.slice.pieces.iter().map(piece).collect(),
            rows: part.slice.expected_rows(),
        };
        let file = |number: usize| FileSpec {
            path: work.files[number].location.display_path().into_owned(),
            version: work.files[number].version.clone(),
            digest: work.files[number].digest,
            layout: work.layouts[number].clone(),
            projection: work.projection(number).cloned(),
        };
        Self {
            home: FormatSpec::new(work.format.as_ref()),
            target: TargetSpec::new(target),
            files: files.iter().copied().map(file).collect(),
            parts: parts.iter().map(part).collect(),
        }
    }

    /// Fails where it contradicts itself.
    pub(super) fn check(&self) -> Result<(), JobError> {
        self.parts
            .iter()
            .try_for_each(|part| part.check(&self.files))
            .map_err(|wrong| JobError::Wrong(wrong.into()))
    }

    /// Makes all parts that have no record yet.
    pub(super) fn run(
        &self,
        staging: &Staging,
        records: &CompletionRecords,
        interrupted: &CancellationToken,
    ) -> Result<Vec<FinishedPart>> {
        let (home, target) = (self.home.format()?, self.target.output_spec()?);
        let (checked, shared) = (
            InspectedFiles::default(),
            SharedGroups::for_parts(self.parts.iter().map(|part| part.pieces.as_slice())),
        );
        let files = JobFiles {
            files: &self.files,
            home: home.as_ref(),
            checked: &checked,
            shared: &shared,
        };
        let mut made = Vec::new();
        for part in &self.parts {
            if let Some(finished) = records.read(&part.key)? {
                made.push(finished);
                continue;
            }
            let made_files = task::make_from_files(
                &files,
                part.transfer.mode(target.format.as_ref())?,
                (&part.pieces, part.rows),
                &target,
                staging,
                interrupted,
            )?;
            let mut files = Vec::with_capacity(made_files.files.len());
            for (unfinished, record) in made_files.files {
                staging.finish(unfinished, &record.digest)?;
                files.push(record);
            }
            let finished = FinishedPart::new(part.key, files, made_files.filtered);
            records.write(&part.key, &finished)?;
            made.push(finished);
        }
        Ok(made)
    }
}

impl PartSpec {
    /// Fails where its pieces are not of these files.
    fn check(&self, files: &[FileSpec]) -> Result<(), &'static str> {
        if self.pieces.is_empty() && files.is_empty() {
            return Err("a part of no file");
        }
        let pieces = self.pieces.iter().map(|piece| files.get(piece.file));
        let pieces: Vec<&FileSpec> = pieces.flatten().collect();
        let can_share = |one: &FileSpec, other: &FileSpec| {
            one.projection.is_some() == other.projection.is_some()
                && (one.layout == other.layout || one.layout.can_pack_with(&other.layout))
        };
        if pieces.windows(2).any(|pair| !can_share(pair[0], pair[1])) {
            return Err("a part of files that cannot share one");
        }
        let mut rows = Some(0_u64);
        for piece in &self.pieces {
            let more = piece_rows(piece, files)?;
            rows = Option::zip(rows, more).map(|(rows, more)| rows.saturating_add(more));
        }
        let filters = |file: &&FileSpec| file.projection.as_ref().is_some_and(Projection::filters);
        let is_known = !pieces.iter().any(filters);
        if rows.filter(|_| is_known) == self.rows {
            Ok(())
        } else {
            Err("a part whose pieces have other rows than it")
        }
    }
}

/// How many rows a piece has; nothing where only reading it tells.
fn piece_rows(piece: &Piece, files: &[FileSpec]) -> Result<Option<u64>, &'static str> {
    let file = files.get(piece.file);
    let layout = &file.ok_or("a part of a file that is not in it")?.layout;
    let whole = match piece.group {
        Some(group) => {
            let group = layout.groups.get(group);
            let group = group.ok_or("a part of a group that its file does not have")?;
            Some(group.rows)
        }
        None => layout.rows,
    };
    let is_there = |first: u64, count: u64| {
        let end = first.checked_add(count);
        Option::zip(end, whole).is_some_and(|(end, whole)| end <= whole)
    };
    match piece.rows {
        None => Ok(whole),
        Some((first, count)) if is_there(first, count) => Ok(Some(count)),
        Some(_) => Err("a part of rows that its group does not have"),
    }
}

/// The files of a job.
struct JobFiles<'a> {
    files: &'a [FileSpec],
    home: &'a dyn Format,
    checked: &'a InspectedFiles,
    shared: &'a SharedGroups,
}

impl task::PlannedFiles for JobFiles<'_> {
    fn input_format(&self) -> &dyn Format {
        self.home
    }

    fn file(&self, file: usize) -> task::PlannedFile<'_> {
        let found = &self.files[file];
        task::PlannedFile {
            location: Location::local(found.path.clone()),
            version: &found.version,
            digest: found.digest,
            layout: &found.layout,
            projection: found.projection.as_ref(),
        }
    }

    fn inspected(&self) -> &InspectedFiles {
        self.checked
    }

    fn shared_groups(&self) -> &SharedGroups {
        self.shared
    }
}
