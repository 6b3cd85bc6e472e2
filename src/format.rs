//! Formats: what files are made of, decoded and encoded or moved as they are.
//!
//! It knows bytes and columns; where files lie and who owns them is for homes and stores.

pub mod batch;
pub mod foreign;
pub mod parquet;
pub mod shared;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use batch::RecordBatch;
use foreign::Foreign;
use polars_arrow::datatypes::ArrowSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::fs::{File, FsError};
use shared::Shared;

/// A file format: one value for the whole process.
///
/// A format checks before it moves: [`Format::inspect`] refuses a file that is not sound, so that
/// what passes undecoded is as good as what was decoded. Nothing here maps a file into memory: a
/// file that is cut off while it is read is an error and not a crash.
pub trait Format: Debug + Send + Sync {
    /// The `type:` in the config.
    fn name(&self) -> &'static str;

    /// The ending of its files, without the dot.
    fn extension(&self) -> &'static str;

    /// The version of everything: it goes up when what passed whole before would not be the same today.
    fn version(&self) -> u32;

    /// The version of what this format makes of rows: it goes up when equal input gives other bytes where groups are packed,
    /// compressed anew or decoded, or where what was made so must be made again. What passed whole stays as it is.
    fn made_version(&self) -> u32;

    /// The words that `compression:` may be, the default first.
    fn compressions(&self) -> &'static [&'static str];

    /// The levels of a compression; `None` for one that has none.
    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>>;

    /// Reads what is needed to check and to slice a file, and none of its values.
    fn inspect(&self, source: &Opened) -> Result<Layout, FormatError>;

    /// Refuses a sound file that has a column which would not come out of the decoder as it went
    /// in. Nothing is decoded to find that out.
    fn decodable(&self, source: &Opened) -> Result<(), FormatError>;

    /// Refuses a sound file that has a column whose values would not be the same once they are decoded, into
    /// whatever they are written afterwards. Nothing is decoded to find that out.
    fn readable(&self, source: &Opened) -> Result<(), FormatError>;

    /// The columns of a sound file, as they are decoded.
    fn arrow_columns(&self, source: &Opened) -> Result<ArrowSchema, FormatError>;

    /// The names of a sound file's columns, in order.
    fn columns(&self, source: &Opened) -> Result<Vec<String>, FormatError>;

    /// The columns of a sound file as their values are: the path of each that has values itself, and its type, in order.
    fn typed_columns(&self, source: &Opened) -> Result<Vec<(String, String)>, FormatError>;

    /// Names the first column in which the values of two sound files differ in name, order or type, and how.
    fn difference(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError>;

    /// Says what keeps the groups of two sound files out of one part, in words.
    fn apart(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError>;

    /// How files of these layouts become parts of `target`: never decoded where they need not be.
    fn passage(&self, layouts: &[&Layout], target: &Target) -> Result<Passage, FormatError>;

    /// Moves whole groups into one file without decoding them, with another compression where one is
    /// given. Gives the rows.
    fn move_groups(&self, cut: &Cut<'_>, compression: Option<Compression>, out: Box<dyn Write + Send + '_>) -> Result<u64, FormatError>;

    /// Decodes pieces and hands their rows on, one group at a time and in order.
    fn decode(&self, cut: &Cut<'_>, each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>) -> Result<(), FormatError>;

    /// Begins a file of `target`'s format with these columns, for rows that come from no file; each batch that is written
    /// becomes one group.
    fn encoder_of<'w>(
        &self,
        columns: &ArrowSchema,
        target: &Target,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError>;

    /// The compression of files whose rows come from no file, where none is asked for.
    fn own_compression(&self) -> Compression;

    /// Begins a file of `target`'s format; each batch that is written becomes one group.
    /// `model` is the first file of `cut`, whose schema and metadata the new file takes over.
    fn encoder<'w>(
        &self,
        model: &Opened,
        cut: &Cut<'_>,
        target: &Target,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError>;
}

/// Writes record batches into one file.
pub trait Encoder {
    /// Writes one group of rows.
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError>;

    /// Ends the file.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// An input file that is open: the handle that is inspected is the one that is read.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// Its path, for errors.
    pub path: PathBuf,
}

/// What a format found in a file. It depends on nothing but the file's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// All rows.
    pub rows: u64,
    /// The groups that can be moved or decoded one by one.
    pub groups: Vec<Group>,
    /// The digest of the schema as it is stored: equal where the columns are the same in name, order and every detail.
    pub schema: Fingerprint,
    /// The compressions that occur in the file, as `compression:` names them.
    pub compressions: BTreeSet<String>,
    /// True where some of it is encrypted: it can only pass whole.
    pub encrypted: bool,
    /// The digest of the columns as their values are: equal where files can be of one flow.
    pub columns: Fingerprint,
    /// The digest of what files must have in common whose groups come into one part; `None` for one that shares none.
    pub packing: Option<Fingerprint>,
}

impl Layout {
    /// True where a digest of a schema is that of this file: of its columns as their values are, or, as older receipts have
    /// it, as they are stored.
    pub fn is_of(&self, schema: &Fingerprint) -> bool {
        *schema == self.columns || *schema == self.schema
    }

    /// True where its numbers can be those of a file: its groups have its rows, and all can be counted.
    pub fn adds_up(&self) -> bool {
        let sum = |number: fn(&Group) -> u64| self.groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(number(group)));
        let bytes = sum(|group| group.bytes).filter(|bytes| i64::try_from(*bytes).is_ok());
        sum(|group| group.rows) == Some(self.rows) && i64::try_from(self.rows).is_ok() && bytes.is_some()
    }

    /// True where groups of both files can come into one part.
    pub fn packs_with(&self, other: &Self) -> bool {
        self.packing.is_some() && self.packing == other.packing
    }
}

/// One group of rows in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Rows.
    pub rows: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// One of a format's compressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The format's word for it.
    pub word: &'static str,
    /// How hard it tries; `None` for the format's own choice.
    pub level: Option<u8>,
}

/// What parts are to be.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Their format.
    pub format: &'static dyn Format,
    /// Their compression.
    pub compression: Compression,
    /// How many rows a part should have; `None` for one part a file.
    pub rows_per_file: Option<u64>,
}

impl Target {
    /// The same for rows that come from no file, whose compression cannot be kept.
    pub fn of_rows(self) -> Self {
        let compression = if self.compression.word == "keep" { self.format.own_compression() } else { self.compression };
        Self { compression, ..self }
    }
}

/// How data gets from home to part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Nothing is decoded: files pass whole, or as groups where they are cut or packed.
    Undecoded,
    /// Groups pass, and what is in them is packed with another compression; no value is decoded.
    Recompressed {
        /// One of the target format's.
        compression: Compression,
    },
    /// Everything is decoded and encoded with this compression.
    Decoded {
        /// One of the target format's.
        compression: Compression,
    },
}

/// The files of a flow, opened one at a time: a part may be packed from more of them than a process
/// may have open.
pub trait Sources: Sync {
    /// Opens one of the files, which is as it was when it was planned with.
    ///
    /// # Errors
    /// It cannot be opened, or it is not as it was.
    fn open(&self, file: usize) -> Result<Opened, Error>;

    /// Where decoded groups are kept from which several parts are cut; `None` where each is decoded for itself.
    fn shared(&self) -> Option<&Shared> {
        None
    }
}

/// The pieces of one part, with the files that they are in.
pub struct Cut<'a> {
    /// The files of the flow.
    pub sources: &'a dyn Sources,
    /// The pieces, in order.
    pub pieces: &'a [Piece],
    /// Looked at between groups: true ends the work.
    pub interrupted: &'a AtomicBool,
}

/// Some rows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of the flow's files.
    pub file: usize,
    /// Which group of the file; `None` for the whole file.
    pub group: Option<usize>,
    /// The first row of the group and the number of rows; `None` for all of them.
    pub rows: Option<(u64, u64)>,
}

/// Why a format cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file is not what its name says, or not whole.
    #[error("{} is not a sound {format} file: {reason}", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// The format it should be.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is something else.
    #[error("{} is not a sound {format} file: it is {}", path.display(), foreign.what)]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The format it should be.
        format: &'static str,
        /// What it seems to be.
        foreign: Foreign,
    },
    /// Some columns would not arrive as they were.
    #[error("{} cannot be decoded without changing it: column {column}: {reason}", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What would be lost.
        reason: String,
    },
    /// `keep` has no answer, because the input has several compressions and must be decoded.
    #[error("compression: keep cannot be kept: the files must be cut inside a group, and have several compressions ({0})")]
    MixedCompressions(String),
    /// What is encrypted can be neither packed nor cut nor compressed anew.
    #[error("the files are encrypted, and could only pass whole: without rows_per_file, with compression: keep")]
    Encrypted,
    /// The files of one flow differ in their columns.
    #[error("{} has another schema than {}: {difference}", path.display(), sibling.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The file it is compared with.
        sibling: PathBuf,
        /// The column, and how it differs.
        difference: String,
    },
    /// A file or a part could not be read or written.
    #[error("failed to {action} {}: {reason}", path.display())]
    Codec {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// The part could not be written.
    #[error("failed to encode a part: {0}")]
    Encode(String),
    /// The work was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A file of the flow cannot be opened, or is not what it was.
    #[error(transparent)]
    Source(#[from] Error),
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl FormatError {
    /// For `map_err`: the error of one action on one file.
    pub fn at<E: std::fmt::Display>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Codec { action, path: path.to_path_buf(), reason: error.to_string() }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsound { .. } => Some("write the file again, or move it out of the home; a name that begins with _ is not read"),
            Self::Foreign { foreign, .. } => Some(foreign.hint),
            Self::Undecodable { .. } => {
                Some("leave rows_per_file out or make it larger: row groups that are not cut inside are moved without decoding them")
            }
            Self::MixedCompressions(_) => Some("name one compression, such as compression: zstd"),
            Self::Schema { .. } => Some(
                "files of one flow need the same columns in the same order; give the others a flow of their own, or choose them by glob",
            ),
            _ => None,
        }
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        if let FormatError::Source(error) = error {
            return error;
        }
        let kind = if matches!(error, FormatError::Interrupted) { ErrorKind::Interrupted } else { ErrorKind::Flow };
        let hint = error.hint();
        let error = Self::new(kind, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// True where a group is so large that parts of about `rows` rows need it to be cut inside.
///
/// Groups up to one and a half times the asked size are taken whole.
pub fn must_cut(group: u64, rows: u64) -> bool {
    group > rows.saturating_add(rows / 2)
}
