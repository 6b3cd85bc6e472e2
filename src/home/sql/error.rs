//! Why a table cannot be read.

use crate::config::problem::closest_match;
use crate::error::{Error, ErrorKind};

/// Why a table cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SqlError {
    /// There is no such table.
    #[error("{database} has no table {table}")]
    NoTable {
        /// The connection.
        database: String,
        /// The table.
        table: String,
        /// One that is there, and nearly called so.
        suggestion: Option<String>,
    },
    /// There is no such column.
    #[error("{relation} has no column {column}")]
    NoColumn {
        /// The table or query.
        relation: String,
        /// The column.
        column: String,
        /// Those that there are.
        columns: Vec<String>,
    },
    /// Two columns have one name.
    #[error("{relation} gives two columns the name {column}")]
    DuplicateColumn {
        /// The table or query.
        relation: String,
        /// The column.
        column: String,
    },
    /// A type cannot be had from a column.
    #[error("column {column} is {declared}, which cannot arrive as {wanted}")]
    UnsupportedType {
        /// The column.
        column: String,
        /// Its type in the database.
        declared: String,
        /// What the config asks for.
        wanted: String,
    },
    /// Slices cannot be made of a column.
    #[error("column {column} is {declared}, which has no slices by {by}")]
    NoSlices {
        /// The column.
        column: String,
        /// Its type in the database.
        declared: String,
        /// What the config asks for.
        by: String,
    },
    /// Too many slices.
    #[error("column {column} has values from {from} to {to}: that is {slices} slices by {by}")]
    ManySlices {
        /// The column.
        column: String,
        /// The smallest value.
        from: String,
        /// The largest.
        to: String,
        /// How many slices that is.
        slices: usize,
        /// What the config asks for.
        by: String,
    },
    /// A column cannot say what is new.
    #[error("column {column} is {declared}, which cannot be a watermark")]
    NoWatermark {
        /// The column.
        column: String,
        /// Its type in the database.
        declared: String,
    },
    /// A bound is not of the column's type.
    #[error("{what} of the watermark is {value}, and its column {column} is {declared}")]
    InvalidBound {
        /// Which bound.
        what: &'static str,
        /// What the config says.
        value: String,
        /// The column.
        column: String,
        /// Its type in the database.
        declared: String,
    },
    /// Rows have no watermark.
    #[error("{rows} {} of {table} {} no value in {column}, which tells what is new{}", if *rows == 1 { "row" } else { "rows" },
        if *rows == 1 { "has" } else { "have" }, if *is_append_only { ", and would be added to the table by each build" } else { "" })]
    NullWatermark {
        /// The column.
        column: String,
        /// How many.
        rows: u64,
        /// The table.
        table: String,
        /// True where they were asked for, and cannot be taken back.
        is_append_only: bool,
    },
    /// Rows lie on another side of where their windows end than they did.
    #[error(
        "its windows end by the days of local clocks, as an earlier hygge had them: {value} in \
         {column} of {table} lies on another side of {edge} by its instant"
    )]
    MovedAcrossWindow {
        /// The column.
        column: String,
        /// The table.
        table: String,
        /// The value.
        value: String,
        /// Where a window ends.
        edge: String,
    },
    /// As many rows were not read as were counted in the same moment.
    #[error("{location}: {counted} {} counted, and {read} read, in one moment", if *counted == 1 { "row was" } else { "rows were" })]
    RowCountMismatch {
        /// The table, with the slice.
        location: String,
        /// How many were counted.
        counted: u64,
        /// How many were read.
        read: u64,
    },
    /// Slices were asked for that there cannot be.
    #[error("{requested} is no slice of {table}")]
    UnknownSlice {
        /// What was asked for.
        requested: String,
        /// The table.
        table: String,
        /// How slices of it are called.
        naming_hint: &'static str,
    },
    /// A value has no place in its column.
    #[error("column {column}, row {row} of {location}: {reason}")]
    InvalidValue {
        /// The column.
        column: String,
        /// Which row, from 1, in the order of reading.
        row: u64,
        /// The table and the slice.
        location: String,
        /// What it is, and what was expected.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// What came is not what the protocol says.
    #[error("{0}")]
    Protocol(String),
}

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        let hint = match &error {
            SqlError::NoTable {
                suggestion: Some(near),
                ..
            } => format!("did you mean {near}?"),
            SqlError::NoTable { .. } => {
                "check home.table; a table of another schema is SCHEMA.TABLE".into()
            }
            SqlError::NoColumn {
                column, columns, ..
            } => match closest_match(column, columns.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}? it has {}", columns.join(", ")),
                None => format!("it has {}", columns.join(", ")),
            },
            SqlError::DuplicateColumn { .. } => {
                "give them names of their own: select a.id, b.id as b_id …".into()
            }
            SqlError::UnsupportedType { .. } => "take it out of types, or make it text".into(),
            SqlError::NoSlices { .. } => {
                "slice by a date or time stamp (day, month, year), or by a whole number (a width)"
                    .into()
            }
            SqlError::ManySlices { .. } => {
                "make the slices wider, or leave odd values out by where".into()
            }
            SqlError::NoWatermark { .. } => {
                "a watermark is a date, a time stamp or a whole number that grows".into()
            }
            SqlError::InvalidBound { what: "lag", .. } => {
                "of whole numbers, lag is a number: lag: 1000; of a date or a time stamp it is a \
                 time: lag: 1h"
                    .into()
            }
            SqlError::InvalidBound { .. } => {
                "a date is 2026-01-31, a time stamp 2026-01-31T12:00:00 (in SQLite a date), a \
                 number 1000"
                    .into()
            }
            SqlError::NullWatermark {
                is_append_only: true,
                ..
            } => {
                "nulls: skip of the watermark leaves them out; mode: merge can take them each time"
                    .into()
            }
            SqlError::NullWatermark { .. } => {
                "nulls of the watermark says what becomes of them: skip, or include_each_time; or \
                 leave them out by where"
                    .into()
            }
            SqlError::MovedAcrossWindow { .. } => {
                "hygge build --force reads everything anew; a table that rows are added to is \
                 emptied first by hygge clean --stores"
                    .into()
            }
            SqlError::RowCountMismatch { .. } => {
                "a where or a query that gives other rows each time (random, now) has no probe and \
                 no slices; if it has none of these, please report it"
                    .into()
            }
            SqlError::UnknownSlice {
                naming_hint: called,
                ..
            } => (*called).into(),
            SqlError::InvalidValue { hint, .. } => (*hint).to_string(),
            SqlError::Protocol(_) => "build again; nothing was published".into(),
        };
        // It stands on the command line.
        let kind = if matches!(error, SqlError::UnknownSlice { .. }) {
            ErrorKind::Config
        } else {
            ErrorKind::Flow
        };
        Self::new(kind, error).with_hint(hint)
    }
}
