//! What is wrong with a shape, for the columns of a home or in one of its rows.

use std::collections::BTreeSet;

use crate::config::problem::closest_match;
use crate::error::{Error, ErrorKind};

/// How many columns a hint names.
const MAX_SHOWN_COLUMNS: usize = 20;

/// A shape does not fit the columns that it is to be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ShapeError {
    /// The key of the config.
    pub(super) key: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl ShapeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            key: "where",
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The same, of another key.
    pub(super) fn of_key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<ShapeError> for Error {
    fn from(error: ShapeError) -> Self {
        let hint = error.hint.clone();
        let error = Self::new(ErrorKind::Flow, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// A column that a home does not have, which has these.
pub(super) fn unknown_column(name: &str, known: &BTreeSet<&str>) -> ShapeError {
    ShapeError::new(format!("its home has no column {name}")).with_hint(nearest_column(name, known))
}

/// Which of these columns may be meant by a name.
pub(crate) fn nearest_column(name: &str, known: &BTreeSet<&str>) -> String {
    match closest_match(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            let shown: Vec<&str> = known.iter().copied().take(MAX_SHOWN_COLUMNS).collect();
            format!("it has {}", shown.join(", "))
        }
    }
}

/// Why a row has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct RowError {
    /// The row of the batch; none where no row is needed to tell.
    pub row: Option<usize>,
    /// The key of the config.
    pub key: &'static str,
    /// What is wrong, in words.
    pub message: String,
}

impl RowError {
    pub(super) fn new(row: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            row,
            key: "where",
            message: message.into(),
        }
    }

    pub(super) fn of_key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.key {
            "cast" => {
                "values stay what they are: choose a type that holds all of them, or leave such rows out by where"
            }
            "where" => {
                "every part is computed for every row: a wider type holds more, cast(.. as TYPE)"
            }
            "max_partitions" => {
                "partition by a column with fewer values, or raise max_partitions of the store"
            }
            "partition_by" => {
                "give such rows another value, leave them out by where, or partition by another column"
            }
            _ => "leave such rows out by where",
        }
    }
}
