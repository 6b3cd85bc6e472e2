//! Files of a home, as their columns are compared.

use crate::error::Result;
use crate::format::{Format, FormatError, Layout, OpenFile};

/// Files of a home, as they are planned with.
pub(super) struct HomeFiles<'a> {
    /// Their format.
    pub(super) format: &'a dyn Format,
    /// Their names below the home.
    pub(super) names: &'a [&'a str],
    /// What is in them.
    pub(super) layouts: &'a [&'a Layout],
    /// Opens one of them.
    pub(super) open: &'a dyn Fn(usize) -> Result<OpenFile>,
}

impl HomeFiles<'_> {
    /// The values of all files have the same columns, in whatever order they stand.
    ///
    /// # Errors
    /// The first whose have not, with its column.
    pub(super) fn check_same_columns(&self) -> Result<()> {
        let Some(first) = self.layouts.first() else {
            return Ok(());
        };
        let Some(other) = self
            .layouts
            .iter()
            .position(|layout| !layout.has_columns_of(first))
        else {
            return Ok(());
        };
        // The odd one out is most likely the one to look at.
        let alike = self
            .layouts
            .iter()
            .filter(|layout| layout.has_columns_of(first))
            .count();
        let (odd, usual) = if alike * 2 < self.layouts.len() {
            (0, other)
        } else {
            (other, 0)
        };
        let (odd, usual) = ((self.open)(odd)?, (self.open)(usual)?);
        let difference = self
            .format
            .reader()
            .schema_difference(&odd, &usual)?
            .unwrap_or_else(|| "their schemas differ".into());
        Err(FormatError::SchemaMismatch {
            path: odd.path,
            sibling: usual.path,
            difference,
        }
        .into())
    }
}
