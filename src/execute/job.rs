//! Jobs: parts of files that are to be made, with all that is needed for it. Whoever can read the
//! files makes the same bytes of them: a thread of this process, or another process on another
//! machine (`hygge part --job FILE`).
//!
//! It knows no flow, no index and no store. Nobody publishes by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::task;
use crate::cache::index::PartRecord;
use crate::cache::staging::Staging;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::factory;
use crate::format::shared_groups::SharedGroups;
use crate::format::{Compression, Format, Layout, OutputSpec, Piece, TransferMode};
use crate::fs::nofollow;
use crate::plan::file_work::{FileWork, InspectedFiles};
use crate::plan::work::PlannedPart;
use crate::storage::{Location, Version};

/// The version of what a job says. A process that does not know it refuses the job.
const VERSION: u32 = 2;

/// How large the record of a part may be, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Parts that are to be made of some files. Those that are cut from one group stand in one job:
/// they share its decoding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    version: u32,
    /// The format of the files.
    home: FormatSpec,
    /// What the parts are to be.
    target: TargetSpec,
    files: Vec<FileSpec>,
    /// The parts.
    pub parts: Vec<PartSpec>,
}

/// The version of a job, whatever else it says.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A format, by its name and its options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatSpec {
    id: String,
    version: u32,
    made_version: u32,
    settings: Value,
}

/// What parts are to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetSpec {
    format: FormatSpec,
    compression: CompressionSpec,
    rows_per_file: Option<u64>,
}

/// A compression, by its word.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompressionSpec {
    word: String,
    level: Option<u8>,
}

/// A file as it was planned with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSpec {
    path: PathBuf,
    version: Version,
    digest: Fingerprint,
    layout: Layout,
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
pub struct PartSpec {
    /// Its key.
    pub key: Fingerprint,
    transfer: TransferSpec,
    pieces: Vec<Piece>,
    rows: Option<u64>,
}

/// What a part became: one file, or several of different kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedPart {
    /// Its key.
    pub key: Fingerprint,
    /// The files.
    pub outputs: Vec<PartOutput>,
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOutput {
    /// What it is for.
    pub kind: PartOutputKind,
    /// Its digest, rows and bytes.
    #[serde(flatten)]
    pub record: PartRecord,
}

/// What a file is for that was made for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOutputKind {
    /// The part's rows.
    Part,
}

impl FormatSpec {
    fn new(format: &dyn Format) -> Self {
        let (version, made_version) = (format.version(), format.output_version());
        Self {
            id: format.id().to_string(),
            version,
            made_version,
            settings: serde_json::json!(format.settings()),
        }
    }

    /// The format, where this hygge makes the same of it.
    fn format(&self) -> Result<Arc<dyn Format>> {
        let made = factory::format_from_settings(&self.id, &self.settings);
        made.filter(|format| {
            (format.version(), format.output_version()) == (self.version, self.made_version)
        })
        .ok_or_else(|| {
            unsupported_error(&format!(
                "the format {} of version {}",
                self.id, self.made_version
            ))
        })
    }
}

fn unsupported_error(what: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("the job has {what}, which this hygge does not know"),
    )
    .with_hint("the job was written by another version: use the same hygge on all machines")
}

impl CompressionSpec {
    fn new(compression: Compression) -> Self {
        Self {
            word: compression.name.to_string(),
            level: compression.level,
        }
    }

    fn compression(&self, format: &dyn Format) -> Result<Compression> {
        let words = format
            .writer()
            .map_or(&[][..], |writer| writer.compressions());
        let word = words.iter().copied().find(|word| *word == self.word);
        let word =
            word.ok_or_else(|| unsupported_error(&format!("the compression {}", self.word)))?;
        Ok(Compression {
            name: word,
            level: self.level,
        })
    }
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

    fn mode(&self, format: &dyn Format) -> Result<TransferMode> {
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

impl JobSpec {
    /// Parts of a flow that are made of files: these of its work.
    pub fn new(
        work: &FileWork,
        parts: &[&PlannedPart],
        home: &dyn Format,
        target: &OutputSpec,
    ) -> Self {
        let pieces = parts.iter().flat_map(|part| &part.slice.pieces);
        // Only the files that it needs stand in a job.
        let files: BTreeSet<usize> = pieces.map(|piece| piece.file).collect();
        let numbers: BTreeMap<usize, usize> = files.iter().copied().zip(0..).collect();
        let piece = |piece: &Piece| Piece {
            file: numbers[&piece.file],
            ..*piece
        };
        let part = |part: &&PlannedPart| PartSpec {
            key: part.key,
            transfer: TransferSpec::new(work.transfer),
            pieces: part.slice.pieces.iter().map(piece).collect(),
            rows: part.slice.rows,
        };
        let file = |number: usize| FileSpec {
            path: work.files[number].location.display_path().into_owned(),
            version: work.files[number].version.clone(),
            digest: work.files[number].digest,
            layout: work.layouts[number].clone(),
        };
        let target = TargetSpec {
            format: FormatSpec::new(target.format.as_ref()),
            compression: CompressionSpec::new(target.compression),
            rows_per_file: target.rows_per_file,
        };
        Self {
            version: VERSION,
            home: FormatSpec::new(home),
            target,
            files: files.iter().copied().map(file).collect(),
            parts: parts.iter().map(part).collect(),
        }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// It is none, or one of another version.
    pub fn read(text: &str) -> Result<Self> {
        let unreadable = |error| {
            Error::new(
                ErrorKind::Config,
                format!("the job cannot be read: {error}"),
            )
        };
        // What else it says depends on that.
        let Versioned { version } = serde_json::from_str(text).map_err(unreadable)?;
        if version != VERSION {
            return Err(unsupported_error(&format!("version {version}")));
        }
        let job: Self = serde_json::from_str(text).map_err(unreadable)?;
        let outside = job
            .parts
            .iter()
            .flat_map(|part| &part.pieces)
            .any(|piece| piece.file >= job.files.len());
        if outside {
            return Err(Error::new(
                ErrorKind::Config,
                "the job has a part of a file that is not in it",
            ));
        }
        Ok(job)
    }

    /// Makes all parts into a folder: each is named after its digest there, and has a record that
    /// is written once, last.
    ///
    /// # Errors
    /// A part cannot be made. Those that were made before stay.
    pub fn run(
        &self,
        folder: PathBuf,
        interrupted: &CancellationToken,
    ) -> Result<Vec<FinishedPart>> {
        let (home, format) = (self.home.format()?, self.target.format.format()?);
        let compression = self.target.compression.compression(format.as_ref())?;
        let target = OutputSpec {
            format,
            compression,
            rows_per_file: self.target.rows_per_file,
        };
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
        let done = folder.join("done");
        nofollow::create_folder(&done)?;
        let staging = Staging::new(folder);
        let mut made = Vec::new();
        for part in &self.parts {
            let place = done.join(format!("{}.json", part.key));
            if let Some(bytes) = nofollow::read(&place, MAX_RECORD_BYTES)? {
                // Another process, or this one before it died, has made it.
                made.push(
                    serde_json::from_slice(&bytes)
                        .map_err(|error| Error::new(ErrorKind::Flow, error))?,
                );
                continue;
            }
            let transfer = part.transfer.mode(target.format.as_ref())?;
            let (unfinished, record) = task::make_from_files(
                &files,
                transfer,
                (&part.pieces, part.rows),
                &target,
                &staging,
                interrupted,
            )?;
            staging.finish(unfinished, &record.digest)?;
            let part = FinishedPart {
                key: part.key,
                outputs: vec![PartOutput {
                    kind: PartOutputKind::Part,
                    record,
                }],
            };
            let text = serde_json::to_vec(&part).map_err(Error::internal)?;
            nofollow::write_atomically(&place, &text)?;
            made.push(part);
        }
        staging.end_run();
        Ok(made)
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
        }
    }

    fn inspected(&self) -> &InspectedFiles {
        self.checked
    }

    fn shared_groups(&self) -> &SharedGroups {
        self.shared
    }
}
