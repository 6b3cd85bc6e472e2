//! Homes: where data lives. A home lists what it holds; it never changes anything.
//!
//! It knows nothing of flows: keys, slices and verdicts are made from what it lists.

pub mod files;
pub mod flow;
mod glob;
mod hive;
mod row_test;
pub mod sql;
mod table_formats;
mod unread_files;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use polars_arrow::datatypes::ArrowSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::config::connection::Connection;
use crate::connection::Databases;
use crate::connection::types::{ColumnType, SqlColumn};
use crate::error::{Error, ErrorKind, Result as Outcome};
use crate::fingerprint::Fingerprint;
use crate::format::batch::RecordBatch;
use crate::format::sniff::sniff_extension;
use crate::format::{Format, WantedColumns};
use crate::fs::{self, FsError};
use crate::storage::{Location, Version};

pub use hive::{
    FolderValue, MAX_NAME_BYTES, NULL_FOLDER, folder_name, folder_values, inferred_type,
    is_partition_path,
};
pub use row_test::{Comparison, RowTest, TestValue};
pub use sql::{PartitionSpec, join_partition};
pub use table_formats::TableFormat;

/// A source of data, as the config describes it.
///
/// Two homes are the same where their kinds and their settings are: a home holds nothing else.
pub trait Home: Debug + Send + Sync {
    /// The `type:` in the config.
    fn kind(&self) -> &'static str;

    /// Every field of the config, resolved, in order.
    fn settings(&self) -> Settings;

    /// What the config says and this home has no use for, in words for `hygge check`.
    fn ineffective_settings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it is made of.
    fn source(&self) -> Source<'_>;
}

/// What a home is made of: that decides how it is planned, read and compared.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Files, which are listed.
    Files(&'a dyn FileSource),
    /// Rows of a database, which are asked for.
    Rows(&'a dyn RowSource),
    /// What another flow has published, by its name. That is known from its manifest, never from
    /// its folder.
    Flow(&'a str),
}

impl dyn Home + '_ {
    /// Its files, where it has some.
    pub fn as_files(&self) -> Option<&dyn FileSource> {
        if let Source::Files(files) = self.source() {
            Some(files)
        } else {
            None
        }
    }

    /// Its rows, where a database has them.
    pub fn as_rows(&self) -> Option<&dyn RowSource> {
        if let Source::Rows(rows) = self.source() {
            Some(rows)
        } else {
            None
        }
    }

    /// The flow that it is, by its name.
    pub fn as_flow(&self) -> Option<&str> {
        if let Source::Flow(flow) = self.source() {
            Some(flow)
        } else {
            None
        }
    }
}

/// Files that are listed.
pub trait FileSource: Debug + Send + Sync {
    /// Where they are: a file or a folder, by its absolute path, links not resolved.
    fn location(&self) -> &Location;

    /// True where folders below it are read as well.
    fn is_recursive(&self) -> bool;

    /// Their format.
    fn format(&self) -> Arc<dyn Format>;

    /// What is there now, sorted by name. Nothing is read but folders and stats.
    ///
    /// # Errors
    /// Nothing is there, nothing matches, or a name is not UTF-8.
    fn list(&self) -> Result<Listing, HomeError>;

    /// The same, where `choose` is given all folders, by their sorted paths below its place, which
    /// is the empty one, and says in which of them files are listed; `None` for all. Of the others
    /// no file is looked at.
    ///
    /// # Errors
    /// As [`FileSource::list`].
    fn list_in(
        &self,
        choose: &dyn Fn(&[String]) -> Option<BTreeSet<String>>,
    ) -> Result<Listing, HomeError>;

    /// Looks around the place for what another program keeps there, and which says that not all
    /// files count. A few stats for each folder above, so that it is asked only for a flow that is
    /// about to read.
    ///
    /// # Errors
    /// There is such a thing, by its name.
    fn check_not_in_table(&self) -> Result<(), HomeError>;

    /// What lies there and is not read, although it may have been meant, in words. The place is
    /// listed once more, so that it is asked only where somebody checks, or builds for the first
    /// time.
    ///
    /// # Errors
    /// It cannot be listed.
    fn describe_unread_files(&self) -> Result<Vec<String>, HomeError>;

    /// Values that stand in the names of the folders of a file that was listed, from above, and may
    /// be in no file.
    fn folder_values(&self, name: &str) -> Vec<FolderValue>;

    /// The types that columns in names of folders shall have.
    fn folder_types(&self) -> &BTreeMap<String, ColumnType>;

    /// What becomes of columns in which its files differ.
    fn schema_rule(&self) -> FileSchema;

    /// True where a type that was found in values becomes another when a value is not of it.
    fn widens_types(&self) -> bool {
        false
    }

    /// Which columns its files have for a flow, by words of the config.
    fn column_settings(&self) -> Settings;
}

/// What becomes of columns in which the files of a home differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FileSchema {
    #[default]
    /// The flow fails.
    Strict,
    /// All columns come: they are null where a file lacks them, and types are widened.
    Union,
    /// The columns that are recorded come, or else those of the first file.
    First,
}

impl PartialEq for dyn Home {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.settings() == other.settings()
    }
}

impl Eq for dyn Home {}

/// Rows that a database gives.
pub trait RowSource: Debug + Send + Sync {
    /// The connection to its database.
    fn connection(&self) -> &Connection;

    /// What tells the database from others.
    fn database_id(&self) -> &str;

    /// The table, with its schema if that is said; `None` for a query.
    fn table(&self) -> Option<&[String]>;

    /// What decides its rows and what they become, field by field.
    fn recipe(&self) -> BTreeMap<String, String>;

    /// True where it can be told without reading whether something changed.
    fn detects_changes(&self) -> bool;

    /// Fails where it is not known which database is meant: then nothing can be compared with what
    /// was read before.
    ///
    /// # Errors
    /// A variable of its connection is not set, or its URL cannot be used.
    fn check_database_known(&self) -> Outcome<()>;

    /// What it adds by, where it has a watermark: then a build reads what has come since, and what
    /// it settled stays.
    fn watermark(&self) -> Option<&str> {
        None
    }

    /// True for the name of a unit whose rows are never read again, of a table with a watermark.
    fn is_closed(&self, unit: &str) -> bool;

    /// Which units slices mean that were asked for.
    ///
    /// # Errors
    /// It has no slices, or they are called otherwise.
    fn partition_filter(&self, slices: &SliceRange) -> Outcome<PartitionFilter>;

    /// Asks what is there now. No rows are read but those that the probe needs.
    fn probe<'a>(
        &'a self,
        databases: &'a Databases,
        before: &'a PreviousRead,
    ) -> BoxFuture<'a, Outcome<TableState>>;

    /// Opens a reading: everything that is read in it, its own answer included, is of one moment.
    fn open_session<'a>(
        &'a self,
        databases: &'a Databases,
        before: &'a PreviousRead,
    ) -> BoxFuture<'a, Outcome<Arc<dyn ReadSession>>>;
}

/// What was read before of a table with a watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousRead {
    /// The names of units that are settled and at hand.
    pub closed: BTreeSet<String>,
    /// The names of those that were, and shall be read again as the same units.
    pub reread: BTreeSet<String>,
    /// True where no row can be taken back: what is not settled must wait.
    pub is_append_only: bool,
    /// Which columns of its rows are wanted.
    pub columns: WantedColumns,
    /// What all wanted rows meet, in the order in which it is tested: a row need not come that the
    /// first so many of these rule out.
    pub tests: Vec<RowTest>,
}

/// Slices that were asked for, by their names: from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRange {
    /// The first.
    pub from: String,
    /// The last.
    pub to: String,
}

impl FromStr for SliceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let is_empty = from.trim().is_empty() || to.trim().is_empty();
        if is_empty {
            return Err(
                "expected a slice such as 2026-09, or a range such as 2026-01..2026-09".into(),
            );
        }
        Ok(Self {
            from: from.trim().to_string(),
            to: to.trim().to_string(),
        })
    }
}

impl fmt::Display for SliceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            f.write_str(&self.from)
        } else {
            write!(f, "{}..{}", self.from, self.to)
        }
    }
}

/// Says of the name of a unit whether it was asked for.
pub type PartitionFilter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Rows of one moment.
pub trait ReadSession: Debug + Send + Sync {
    /// What is there at that moment.
    fn table_state(&self) -> &Arc<TableState>;

    /// Reads a unit and sends its rows in order, in parts of no more than so many; gives their
    /// number. A unit without rows is one batch without rows. Dropped, it ends the query, at the
    /// server too.
    ///
    /// # Errors
    /// The database fails, or a value has no place in its column.
    fn read_partition(
        self: Arc<Self>,
        partition: usize,
        rows_per_part: u64,
        rows: mpsc::Sender<PartBatch>,
    ) -> BoxFuture<'static, Outcome<u64>>;

    /// A unit as another process may read it, which joins the moment as long as the reading has not
    /// ended; `None` where only this process sees it.
    fn partition_spec(&self, _partition: usize) -> Option<PartitionSpec> {
        None
    }

    /// Another process has read so many rows of a unit.
    ///
    /// # Errors
    /// These are not as many as were counted in the same moment.
    fn on_partition_read(&self, partition: usize, rows: u64) -> Outcome<()>;

    /// Ends the reading.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The name of a table's columns among its inputs: no slice is called so.
pub const SCHEMA_INPUT: &str = "/schema";

/// The name of the answer to a probe of the whole table.
pub const PROBE_INPUT: &str = "/probe";

/// What a table holds, as far as it can be told without reading it.
#[derive(Clone, Debug)]
pub struct TableState {
    /// The digest of its columns.
    pub schema_digest: Fingerprint,
    /// The columns as files have them.
    pub arrow_schema: ArrowSchema,
    /// The columns as they are told apart and named.
    pub recorded_columns: Vec<RecordedColumn>,
    /// What decides whether it changed, by name.
    pub inputs: BTreeMap<String, Fingerprint>,
    /// What is read, in order.
    pub partitions: Vec<ReadPartition>,
    /// What its reader should know, in words: order, types without a counterpart.
    pub remarks: Vec<String>,
}

/// A column, as far as it is recorded: what came of it can be told later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedColumn {
    /// Its name.
    pub name: String,
    /// Its type as the database calls it, or as the values of the file are.
    pub declared: String,
    /// What it becomes.
    #[serde(rename = "becomes")]
    pub target_type: String,
    /// True where nulls may come; `None` where a receipt of an earlier version does not say it.
    #[serde(default)]
    pub nullable: Option<bool>,
}

impl RecordedColumn {
    /// One of which nothing but the name is known.
    pub fn from_name(name: &str) -> Self {
        Self {
            name: name.to_string(),
            declared: String::new(),
            target_type: String::new(),
            nullable: None,
        }
    }
}

impl From<&SqlColumn> for RecordedColumn {
    fn from(column: &SqlColumn) -> Self {
        Self {
            name: column.name.clone(),
            declared: column.declared.clone(),
            target_type: column.kind.to_string(),
            nullable: Some(column.nullable),
        }
    }
}

/// Some rows that are read by one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPartition {
    /// Its name, which no other unit of the table has.
    pub name: String,
    /// What names of files may be made of.
    pub file_stem: String,
    /// The digest of what was answered for it. Equal answers mean equal rows.
    pub digest: Fingerprint,
}

/// Some rows of a unit.
#[derive(Debug)]
pub struct PartBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// True where a group of the file ends behind them.
    pub ends_group: bool,
    /// True where the file ends behind them.
    pub ends_part: bool,
}

/// What a home holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The folder to which names are relative.
    pub folder: Location,
    /// The files, sorted by name.
    pub files: Vec<ListedFile>,
    /// Every folder of this machine that was listed.
    pub folders: Vec<PathBuf>,
    /// How many folders there are besides of which no row comes, not counting those in them.
    pub folders_left_out: usize,
}

/// A file of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path below the home's folder, with `/`.
    pub name: String,
    /// Its version when it was listed.
    pub version: Version,
    /// True where a link leads to it.
    pub is_link: bool,
}

impl Listing {
    /// Of a folder in which nothing is.
    pub fn empty(folder: &Location) -> Self {
        let local = folder.local_path().map(Path::to_path_buf);
        Self {
            folder: folder.clone(),
            files: Vec::new(),
            folders: local.into_iter().collect(),
            folders_left_out: 0,
        }
    }

    /// Where a file of it lies.
    pub fn location(&self, name: &str) -> Location {
        self.folder.join(Path::new(name))
    }

    /// Folders that are not read, in words.
    pub fn describe_left_out(&self) -> Option<String> {
        match self.folders_left_out {
            0 => None,
            1 => Some("1 folder is not read: where leaves out all rows of its files".to_string()),
            count => Some(format!(
                "{count} folders are not read: where leaves out all rows of their files"
            )),
        }
    }

    /// Fails where a link of the home leads out of a folder; nothing is looked at but links.
    ///
    /// # Errors
    /// The link, and where it leads.
    pub fn check_confined(&self, root: &Path) -> Result<(), HomeError> {
        for file in self.files.iter().filter(|file| file.is_link) {
            let location = self.location(&file.name);
            let Some(link) = location.local_path() else {
                continue;
            };
            let leads_to = fs::real_path(link)?;
            if !leads_to.starts_with(root) {
                return Err(HomeError::Outside {
                    link: link.to_path_buf(),
                    leads_to,
                });
            }
        }
        Ok(())
    }
}

/// Why a home has nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is nothing at the path.
    #[error("home {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The folder has no file of the kind.
    #[error("home {} has no file that matches {glob}{}", path.display(), listed(.others))]
    NothingMatches {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        glob: String,
        /// Some names that are there.
        others: Vec<String>,
    },
    /// Files whose program says elsewhere which of them count.
    #[error("{} is {table_format}: that says which of its files count, and hygge does not read it yet", folder.display())]
    ForeignTable {
        /// The folder.
        folder: PathBuf,
        /// What it is.
        table_format: TableFormat,
    },
    /// A value in the name of a folder is none of its column's type.
    #[error("{file}: the folder {column}={value} says no {wanted}, which column {column} is")]
    FolderValue {
        /// The file, below the home.
        file: String,
        /// The column.
        column: String,
        /// Its value in that folder.
        value: String,
        /// Its type.
        wanted: String,
    },
    /// Folders that say other columns than those of another file.
    #[error("{file}: no folder around it says the column {column}, as the folders of {sibling} do")]
    NoFolderValue {
        /// The file, below the home.
        file: String,
        /// The column.
        column: String,
        /// The other file.
        sibling: String,
    },
    /// Two folders around a file, of one column.
    #[error("{file}: two folders around it say the column {column}")]
    TwoFolderValues {
        /// The file, below the home.
        file: String,
        /// The column.
        column: String,
    },
    /// A name that cannot be kept.
    #[error("the name {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A link that leads nowhere, a socket and the like.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// With `confine`, a link that leads somewhere else.
    #[error("{} is a link that leaves the folder of the config: it leads to {}", link.display(), leads_to.display())]
    Outside {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        leads_to: PathBuf,
    },
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => ", it is empty".into(),
        names => format!(", it has {}", names.join(", ")),
    }
}

impl From<HomeError> for Error {
    fn from(error: HomeError) -> Self {
        let of_kind = |others: &[String]| {
            let foreign = others.iter().find_map(|name| sniff_extension(name))?;
            let verb = if foreign.is_supported() {
                "is another format"
            } else {
                "is not read from files here"
            };
            Some(format!("{} {verb}: {}", foreign.description, foreign.hint))
        };
        let hint = match &error {
            HomeError::NothingMatches { others, .. } if of_kind(others).is_some() => {
                let error_hint = of_kind(others).unwrap_or_default();
                return Self::new(ErrorKind::Flow, error).with_hint(error_hint);
            }
            HomeError::ForeignTable { .. } => Some(
                "read as plain files, rows that were removed would come back: let a program that reads such tables write its rows into another folder, and make that the home",
            ),
            HomeError::FolderValue { .. } => Some(
                "hive_types of the home gives the column another type, such as text; or rename the folder",
            ),
            HomeError::NoFolderValue { .. } | HomeError::TwoFolderValues { .. } => Some(
                "all files of a home lie below folders of the same columns: move the file, or choose the others by glob",
            ),
            HomeError::Missing(path) if path.to_string_lossy().contains('*') => Some(
                "a glob stands beside the path: {path: folder, glob: \"*.parquet\"}; entities: {from: \"folder/*\"} makes one flow of each",
            ),
            HomeError::Missing(_) => {
                Some("check home.path; it is relative to the folder of the config file")
            }
            HomeError::NothingMatches { .. } => Some(
                "name the files by glob:, for example glob: \"**/*.parquet\"; names that begin with . or _ are never read",
            ),
            HomeError::NotUtf8(_) => Some("rename the file"),
            HomeError::NotAFile(_) => Some("remove it, or choose the files by glob:"),
            HomeError::Outside { .. } => Some(
                "options.confine: true asks for that: remove the link, or put the file itself there",
            ),
            HomeError::Fs(error) => error.hint(),
        };
        let error = Self::new(ErrorKind::Flow, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
