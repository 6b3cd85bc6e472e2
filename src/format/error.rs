//! Why a format cannot do what was asked, and what to do then.

use std::path::{Path, PathBuf};

use super::sniff::ForeignFile;
use crate::error::{Error, ErrorKind, Retry};
use crate::fs::FsError;
use crate::shape::{RowError, ShapeError, nearest_column};

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
    #[error("{} is not a sound {format} file: it is {}", path.display(), foreign.description)]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The format it should be.
        format: &'static str,
        /// What it seems to be.
        foreign: ForeignFile,
    },
    /// A line of a file is not what its format says.
    #[error("{}: line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is not of the type that was found in others.
    #[error("{}: line {line}: column {column}: {reason}", path.display())]
    InferredType {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
        /// True where the type stays.
        is_final: bool,
    },
    /// A key of the home names a column that a file does not have.
    #[error("{} has no column {column}, which {key} of its home names", path.display())]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The column.
        column: String,
        /// Those that it has.
        columns: Vec<String>,
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
        /// How it could pass.
        hint: &'static str,
    },
    /// A column has a type that only its own format has.
    #[error("{}: column {column} is {found}, which other formats do not have", path.display())]
    NoCanonicalType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column has a type that files of the target's format cannot hold as it is.
    #[error("column {column} is {found}, which {format} has no type for")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The format of the target.
        format: &'static str,
    },
    /// A column has a type that would not be said any more where its file is projected.
    #[error("{}: column {column} is {found}, which is lost where the file is given other columns than its own", path.display())]
    LostType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A value has no place in the type that its column has in the flow.
    #[error("{}: row {row} of column {column} is {value}, which {wanted} cannot hold", path.display())]
    Misfit {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The row, counted from 1.
        row: u64,
        /// The value.
        value: String,
        /// The type.
        wanted: String,
    },
    /// The columns do not fit what is to become of them.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Nothing can become of a row.
    #[error("{place}: {}{error}", row_text(*row))]
    Row {
        /// The file, or the table.
        place: String,
        /// The row, counted from 1; none where it is not one row alone.
        row: Option<u64>,
        /// What is wrong with it.
        error: RowError,
    },
    /// `keep` has no answer, because the input has several compressions and must be decoded.
    #[error(
        "compression: keep cannot be kept: the files must be decoded, and have several compressions ({0})"
    )]
    MixedCompressions(String),
    /// What is encrypted can be neither packed nor cut nor compressed anew.
    #[error(
        "the files are encrypted, and could only pass whole: without rows_per_file, with compression: keep"
    )]
    Encrypted,
    /// The files of one flow differ in their columns.
    #[error("{} has another schema than {}: {difference}", path.display(), sibling.display())]
    SchemaMismatch {
        /// The file.
        path: PathBuf,
        /// The file it is compared with.
        sibling: PathBuf,
        /// The column, and how it differs.
        difference: String,
    },
    /// A file or a part could not be read or written.
    #[error("failed to {action} {}: {reason}", path.display())]
    Operation {
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
    Input(#[from] Error),
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl FormatError {
    /// Nothing can become of a row of a batch, whose first is the row `first_row` of a place.
    pub(crate) fn of_row(error: RowError, place: String, first_row: u64) -> Self {
        let row = error.row.map(|row| first_row + row as u64 + 1);
        Self::Row { place, row, error }
    }

    /// For `map_err`: the error of one action on one file.
    pub fn for_action<E: std::fmt::Display>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self::Operation {
            action,
            path: path.to_path_buf(),
            reason: error.to_string(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unsound { .. } => Some(
                "write the file again, or move it out of the home; a name that begins with _ is not read",
            ),
            Self::Line { .. } => Some(
                "mend the line, or say by keys of the home how its files are written (delimiter, quote, header, null_values, types)",
            ),
            Self::InferredType { is_final: true, .. } => Some(
                "mend the value, or give the column another type: types of the home says one; hygge build FLOW --infer and on_mismatch: widen find one for all values, unless parts stay (mode: append)",
            ),
            Self::InferredType { .. } => Some("types of the home says which type the column has"),
            Self::Foreign { foreign, .. } => Some(foreign.hint),
            Self::NoCanonicalType { .. } => {
                Some("give the home files without the column, or the store the format of the home")
            }
            Self::Undecodable { hint, .. } => Some(hint),
            Self::UnsupportedType {
                format: "CSV",
                found,
                ..
            } if matches!(found.as_str(), "list" | "group" | "map") => {
                Some("nested: json of the store writes lists, groups and maps as texts of JSON")
            }
            Self::UnsupportedType { .. } => {
                Some("give the home files without the column, or the store another format")
            }
            Self::LostType { .. } => Some(
                "files pass with it where all of them have the same columns, in one folder: give the home the folder itself, or files without the column",
            ),
            Self::MixedCompressions(_) => Some("name one compression, such as compression: zstd"),
            Self::SchemaMismatch { .. } => Some(
                "schema: union of a home of files makes one schema of columns that differ (path: the store, where the home is a flow); or choose the files by glob",
            ),
            Self::Row { error, .. } => Some(error.hint()),
            _ => None,
        }
    }
}

fn row_text(row: Option<u64>) -> String {
    row.map_or_else(String::new, |row| format!("row {row}: "))
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Input(error) => return error,
            FormatError::Shape(error) => return error.into(),
            FormatError::UnknownColumn {
                ref column,
                ref columns,
                ..
            } => {
                let names = columns.iter().map(String::as_str).collect();
                let hint = nearest_column(column, &names);
                return Self::new(ErrorKind::Flow, error).with_hint(hint);
            }
            _ => {}
        }
        let kind = if matches!(error, FormatError::Interrupted) {
            ErrorKind::Interrupted
        } else {
            ErrorKind::Flow
        };
        let hint = error.hint();
        let is_guess = matches!(
            error,
            FormatError::InferredType {
                is_final: false,
                ..
            }
        );
        let error = Self::new(kind, error);
        let error = if is_guess {
            error.with_retry(Retry::LookAtAll)
        } else {
            error
        };
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
