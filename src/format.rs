//! Formats: what files are made of, decoded and encoded or moved as they are.
//!
//! It knows bytes and columns; where files lie and who owns them is for homes and stores.

pub(crate) mod arrays;
pub mod batch;
pub mod canonical_schema;
mod column_tree;
pub mod csv;
mod error;
pub mod inference;
pub mod ipc;
pub mod parquet;
mod partition_by;
pub mod projection;
pub mod shared_groups;
mod shared_heads;
pub mod sniff;
mod text;
mod transfer;
pub mod widening;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use batch::RecordBatch;
use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowSchema, Metadata};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::fs::FsError;
use crate::storage::{Location, RandomRead, Version};
use inference::{FactsOf, FileFacts, InferredTypes};
use shared_groups::SharedGroups;

pub use error::FormatError;
pub use partition_by::PartitionBy;
pub use transfer::{
    JoinedGroups, ProjectedFiles, ProjectedPart, RecodedRows, TransferMode, check_recodable,
    flow_schema, move_groups, recode,
};

/// A file format, made from the options that the config gives it.
///
/// Where home and store have one format, its [`Passthrough`] moves files; else what the [`Reader`]
/// of one decodes goes through the [`Writer`] of the other.
pub trait Format: Debug + Send + Sync {
    /// The `type:` in the config.
    fn id(&self) -> &'static str;

    /// The endings of the files that a home reads, without the dot; the first is that of files that
    /// are made.
    fn extensions(&self) -> &'static [&'static str];

    /// The version of everything: it goes up when what passed whole before would not be the same
    /// today.
    fn version(&self) -> u32;

    /// The version of what this format makes of rows: it goes up when equal input gives other bytes
    /// where groups are packed, compressed anew or decoded, or where what was made so must be made
    /// again. What passed whole stays as it is.
    fn output_version(&self) -> u32;

    /// The options that are not the default, by the words of the config. Each may decide bytes:
    /// they are in the recipe, and in what layouts are kept under.
    fn settings(&self) -> Settings {
        Settings::new()
    }

    /// The ending of files that are made with a compression, where it is not the first of
    /// [`Format::extensions`].
    fn file_ending(&self, _compression: &str) -> Option<&'static str> {
        None
    }

    /// True where files name their columns.
    fn names_columns(&self) -> bool {
        true
    }

    /// True where types of columns are found in their values.
    fn infers_types(&self) -> bool {
        false
    }

    /// The same format where columns have types that were found in their values; `None` where files
    /// say types themselves.
    fn with_inferred(&self, _types: Arc<InferredTypes>) -> Option<Arc<dyn Format>> {
        None
    }

    /// The types that were found, where it has been given some.
    fn inferred(&self) -> Option<&InferredTypes> {
        None
    }

    /// Reads its files.
    fn reader(&self) -> &dyn Reader;

    /// Writes its files; `None` where they are only read.
    fn writer(&self) -> Option<&dyn Writer>;

    /// Moves files of the same format, whatever their options, into its own; `None` where
    /// everything is decoded.
    fn passthrough(&self) -> Option<&dyn Passthrough>;
}

/// Reads files of a format.
///
/// A reader checks before anything is moved: [`Reader::inspect`] refuses a file that is not sound,
/// so that what passes undecoded is as good as what was decoded. Nothing here maps a file into
/// memory: a file that is cut off while it is read is an error and not a crash.
pub trait Reader: Send + Sync {
    /// Reads what is needed to check and to slice a file, and none of its values.
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError>;

    /// What the values of a file's columns could be, where [`Format::infers_types`]. Where it is not
    /// sound, as far as it is: that is said where it is decoded.
    fn facts(&self, _source: &OpenFile, _of: FactsOf) -> Result<FileFacts, FormatError> {
        Ok(FileFacts::default())
    }

    /// Refuses a sound file that has a column whose values would not be the same once they are
    /// decoded, into whatever they are written afterwards. Nothing is decoded to find that out.
    fn check_readable(&self, source: &OpenFile) -> Result<(), FormatError>;

    /// The columns of a sound file, as [`Reader::decode`] gives them.
    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError>;

    /// The columns of a sound file whose values can all be read.
    ///
    /// # Errors
    /// [`Reader::check_readable`] refuses it.
    fn readable_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        self.check_readable(source)?;
        self.arrow_schema(source)
    }

    /// Refuses a sound file that has a column of which its own format says more than
    /// [`Reader::decode`] hands on: what is projected would lose it on the way into that format.
    fn check_projectable(&self, _: &OpenFile) -> Result<(), FormatError> {
        Ok(())
    }

    /// What a sound file says of all its columns, as far as that is true of its rows in another file
    /// of its format.
    fn metadata_for_own_format(&self, source: &OpenFile) -> Result<Metadata, FormatError> {
        Ok(self.arrow_schema(source)?.metadata().clone())
    }

    /// The names of a sound file's columns, in order.
    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError>;

    /// The columns of a sound file as their values are: those that have values themselves, in
    /// order.
    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError>;

    /// Names the first column in which the values of two sound files differ in name or type, and
    /// how; nothing where they only stand in another order.
    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError>;

    /// The groups of a sound file, with the bounds of those of these columns of which it says some
    /// that hold: of whole numbers, decimals, days and instants. None where it says of no group.
    fn group_bounds(
        &self,
        _source: &OpenFile,
        _columns: &BTreeSet<String>,
    ) -> Result<Vec<GroupBounds>, FormatError> {
        Ok(Vec::new())
    }

    /// True where batches are of any size, and groups are made of them by their bytes too.
    fn has_loose_batches(&self) -> bool {
        false
    }

    /// Decodes pieces and hands their rows on, one group at a time and in order. Arrays are those
    /// that all formats and stores know: of numbers, texts and bytes as views, lists with offsets
    /// of 64 bits, and groups of them. Gives the rows that the pieces have.
    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError>;
}

/// Which columns of a home are read for a flow; others may come all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WantedColumns {
    /// All of them.
    #[default]
    All,
    /// These.
    Only(BTreeSet<String>),
    /// All but these.
    Except(BTreeSet<String>),
}

impl WantedColumns {
    /// True for a column that is read.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
            Self::Except(names) => !names.contains(name),
        }
    }
}

/// The smallest and the largest value of columns, nulls aside, each as an array of one.
pub type ColumnBounds = BTreeMap<String, (Box<dyn Array>, Box<dyn Array>)>;

/// A group of a file, with the smallest and the largest value of columns.
#[derive(Debug)]
pub struct GroupBounds {
    /// How many rows it has.
    pub rows: u64,
    /// The bounds.
    pub columns: ColumnBounds,
}

/// Writes files of a format.
pub trait Writer: Send + Sync {
    /// The words that `compression:` may be, the default first.
    fn compressions(&self) -> &'static [&'static str];

    /// The levels of a compression; `None` for one that has none.
    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>>;

    /// The compression of files whose rows come from no file of the format, where none is asked
    /// for.
    fn default_compression(&self) -> Compression;

    /// Begins a file with these columns; each batch that is written becomes one group.
    ///
    /// # Errors
    /// A column that the format cannot hold as it is, by its name.
    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError>;
}

/// Moves files into files of the same format.
pub trait Passthrough: Send + Sync {
    /// How files of these layouts become parts of `target`, which has this format: never decoded
    /// where they need not be. Those whose rows are not known have no groups that could be moved:
    /// they pass whole, or are decoded.
    fn transfer_mode(
        &self,
        layouts: &[&Layout],
        target: &OutputSpec,
    ) -> Result<TransferMode, FormatError>;

    /// Says what keeps the groups of two sound files out of one part, in words.
    fn packing_conflict(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError>;

    /// Moves whole groups into one file without decoding them, with another compression where one
    /// is given. Gives the rows. Only asked for where [`Passthrough::transfer_mode`] says so.
    fn move_groups(
        &self,
        _: &PartPieces<'_>,
        _: Option<Compression>,
        _: Box<dyn Write + Send + '_>,
    ) -> Result<u64, FormatError> {
        Err(FormatError::Encode(
            "files of this format are only moved whole".into(),
        ))
    }

    /// Refuses a sound file that has a column which would not come out of [`Passthrough::recode`]
    /// as it went in. Nothing is decoded to find that out.
    fn check_recodable(&self, source: &OpenFile) -> Result<(), FormatError>;

    /// Decodes pieces and encodes their rows. The file takes over the schema and the metadata of
    /// the first piece's.
    fn recode(
        &self,
        part: &PartPieces<'_>,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<RecodedRows, FormatError>;
}

/// Writes record batches into one file.
pub trait Encoder {
    /// Writes one group of rows.
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError>;

    /// Ends the file; gives the rows that it has.
    fn finish(self: Box<Self>) -> Result<u64, FormatError>;
}

/// An input file that is open: the bytes that are inspected are those that are read.
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// Its bytes.
    pub bytes: Arc<dyn RandomRead>,
    /// What errors call it.
    pub path: PathBuf,
    /// The columns that are looked at, where that is not all: the others are as if they were not
    /// there.
    pub columns: Option<Arc<BTreeSet<String>>>,
    /// What its format has read of its head.
    pub head: FileHead,
}

/// What a format has read of the head of a file that is open: it is read once, whichever of its
/// columns are looked at.
#[derive(Clone, Default)]
pub struct FileHead(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl FileHead {
    /// The head, which is read now where it was not before.
    pub(crate) fn get_or_read<T: Any + Send + Sync, E>(
        &self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.0.get().and_then(|head| head.clone().downcast().ok()) {
            return Ok(found);
        }
        let head = Arc::new(read()?);
        // Another thread may have read it meanwhile, which is the same.
        let _ = self.0.set(head.clone());
        Ok(head)
    }
}

impl Debug for FileHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileHead").finish_non_exhaustive()
    }
}

impl OpenFile {
    /// Opens a file where it lies.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub fn new(location: &Location) -> Result<Self, FsError> {
        Ok(Self {
            bytes: location.open()?,
            path: location.display_path().into_owned(),
            columns: None,
            head: FileHead::default(),
        })
    }

    /// The same, of which only these columns are looked at.
    #[must_use]
    pub fn with_columns(self, columns: Option<Arc<BTreeSet<String>>>) -> Self {
        Self { columns, ..self }
    }

    /// True where a column is looked at.
    pub(crate) fn has_column(&self, name: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.contains(name))
    }

    /// The version of what is open.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn version(&self) -> Result<Version, FsError> {
        self.bytes
            .version()
            .map_err(FsError::at("look at", &self.path))
    }
}

/// A column of a file that has values itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name, behind those of the columns that it is a field of, with dots.
    pub path: String,
    /// Its type in words; equal words mean equal types.
    pub kind: String,
    /// True where nulls may come, of it or of what it is a field of.
    pub is_nullable: bool,
}

/// What a format found in a file. It depends on nothing but the file's bytes and the format's
/// options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// All rows; `None` where only decoding tells them.
    pub rows: Option<u64>,
    /// The groups that can be moved or decoded one by one; none where the rows are not known.
    pub groups: Vec<Group>,
    /// The digest of the schema as it is stored: equal where the columns are the same in name,
    /// order and every detail.
    #[serde(rename = "schema")]
    pub stored_digest: Fingerprint,
    /// The compressions that occur in the file, as `compression:` names them.
    pub compressions: BTreeSet<String>,
    /// How the file is built, where its format knows several ways; empty where it knows one.
    pub container: String,
    /// True where some of it is encrypted: it can only pass whole.
    pub encrypted: bool,
    /// The digest of the columns as their values are, in order.
    #[serde(rename = "columns")]
    pub logical_digest: Fingerprint,
    /// The same whatever their order: equal where files can be of one flow.
    pub column_set_digest: Fingerprint,
    /// The digest of what files must have in common whose groups come into one part; `None` for one
    /// that shares none.
    #[serde(rename = "packing")]
    pub packing_digest: Option<Fingerprint>,
}

impl Layout {
    /// True where a digest of a schema is that of this file: of its columns as their values are,
    /// whatever their order, or, as older receipts have it, in order or as they are stored.
    pub fn has_schema(&self, schema: &Fingerprint) -> bool {
        [
            self.column_set_digest,
            self.logical_digest,
            self.stored_digest,
        ]
        .contains(schema)
    }

    /// True where both files have the same columns, in whatever order.
    pub fn has_columns_of(&self, other: &Self) -> bool {
        self.column_set_digest == other.column_set_digest
    }

    /// True where its numbers can be those of a file: its groups have its rows, and all can be
    /// counted.
    pub fn is_consistent(&self) -> bool {
        let Some(rows) = self.rows else {
            return self.groups.is_empty();
        };
        let sum = |number: fn(&Group) -> u64| {
            self.groups
                .iter()
                .try_fold(0_u64, |sum, group| sum.checked_add(number(group)))
        };
        let bytes = sum(|group| group.bytes).filter(|bytes| i64::try_from(*bytes).is_ok());
        sum(|group| group.rows) == Some(rows) && i64::try_from(rows).is_ok() && bytes.is_some()
    }

    /// True where groups of both files can come into one part.
    pub fn can_pack_with(&self, other: &Self) -> bool {
        self.packing_digest.is_some() && self.packing_digest == other.packing_digest
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
    pub name: &'static str,
    /// How hard it tries; `None` for the format's own choice.
    pub level: Option<u8>,
}

/// What parts are to be.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// Their format.
    pub format: Arc<dyn Format>,
    /// Their compression.
    pub compression: Compression,
    /// How many rows a part should have; `None` for one part a file.
    pub rows_per_file: Option<u64>,
    /// The columns that say in which folder a row lies, where that is asked for.
    pub partition_by: Option<PartitionBy>,
}

/// The files of a flow, opened one at a time: a part may be packed from more of them than a process
/// may have open.
pub trait InputFiles: Sync {
    /// Opens one of the files, which is as it was when it was planned with.
    ///
    /// # Errors
    /// It cannot be opened, or it is not as it was.
    fn open(&self, file: usize) -> Result<OpenFile, Error>;

    /// Where groups and heads are kept that several parts read; `None` where each part reads them
    /// for itself.
    fn shared_groups(&self) -> Option<&SharedGroups> {
        None
    }
}

/// The pieces of one part, with the files that they are in.
pub struct PartPieces<'a> {
    /// The files of the flow.
    pub inputs: &'a dyn InputFiles,
    /// The pieces, in order.
    pub pieces: &'a [Piece],
    /// Looked at between groups: cancelled, it ends the work.
    pub interrupted: &'a CancellationToken,
}

impl PartPieces<'_> {
    /// The file of the first piece.
    fn first_file(&self) -> usize {
        self.pieces.first().map_or(0, |piece| piece.file)
    }

    fn open_first(&self) -> Result<OpenFile, Error> {
        self.inputs.open(self.first_file())
    }
}

/// Some rows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Which of the flow's files.
    pub file: usize,
    /// Which group of the file; `None` for the whole file.
    pub group: Option<usize>,
    /// The first row of the group and the number of rows; `None` for all of them.
    pub rows: Option<(u64, u64)>,
}

/// True where a group is so large that parts of about `rows` rows need it to be cut inside.
///
/// Groups up to one and a half times the asked size are taken whole.
pub fn must_split(group: u64, rows: u64) -> bool {
    group > rows.saturating_add(rows / 2)
}

/// The compression that `keep` means where files are decoded: the one that all of them have.
///
/// # Errors
/// They have several.
fn common_compression(
    writer: &dyn Writer,
    layouts: &[&Layout],
) -> Result<Compression, FormatError> {
    let mut found: Vec<&str> = layouts
        .iter()
        .flat_map(|layout| &layout.compressions)
        .map(String::as_str)
        .collect();
    found.sort_unstable();
    found.dedup();
    let known = |name: &str| {
        writer
            .compressions()
            .iter()
            .copied()
            .find(|word| *word == name)
    };
    match found.as_slice() {
        [one] => known(one).map(|word| Compression {
            name: word,
            level: None,
        }),
        // Rows without columns.
        [] => Some(writer.default_compression()),
        _ => None,
    }
    .ok_or_else(|| FormatError::MixedCompressions(found.join(", ")))
}
