//! What rows come to: columns of a table with what their values must be like, and rows for them.

use std::sync::Arc;

use polars_arrow::array::Array;

use super::SqlStore;
use super::catalog::{CatalogColumn, StorageType, WireType};
use super::cells::{Cell, CellColumn};
use super::rule::Rule;
use crate::connection::Dialect;
use crate::connection::types::ColumnType;
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::RecordBatch;

/// A column as it comes and as the table has it.
#[derive(Clone, Debug)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    /// What comes.
    pub(super) kind: ColumnType,
    /// The table's type, in the database's words.
    pub(super) declared_type: String,
    /// What a value must be like, where the column does not hold all that may come.
    pub(super) rule: Option<Rule>,
    pub(super) is_nullable: bool,
    pub(super) is_identity: bool,
    pub(super) has_loose_collation: bool,
    pub(super) storage: StorageType,
    pub(super) wire: WireType,
}

impl TargetColumn {
    pub(super) fn new(column: &CatalogColumn, kind: &ColumnType, rule: Option<Rule>) -> Self {
        Self {
            name: column.name.clone(),
            kind: kind.clone(),
            declared_type: column.declared_type.clone(),
            rule,
            is_nullable: column.is_nullable,
            is_identity: column.is_identity,
            has_loose_collation: column.has_loose_collation,
            storage: column.storage.clone(),
            // Lists of types of the database's own come as texts too.
            wire: if *kind == ColumnType::Text {
                WireType::Text
            } else {
                column.wire.clone()
            },
        }
    }

    /// Says why the column does not hold a value exactly.
    ///
    /// # Errors
    /// It does not, in words that follow "column x, row 1: ".
    pub(super) fn check(&self, cell: &Cell<'_>) -> Result<(), String> {
        match &self.rule {
            _ if *cell == Cell::Null && !self.is_nullable => {
                Err("the value is null, and the column takes none".into())
            }
            Some(rule) => rule.check(cell, &self.kind),
            None => Ok(()),
        }
    }
}

/// Rows that are written, with what their columns must be like.
pub(super) struct TargetRows<'t> {
    pub(super) columns: Vec<(&'t TargetColumn, CellColumn)>,
    pub(super) height: usize,
    part: Arc<str>,
    /// How many rows of the part came before.
    rows_before: u64,
    table: String,
}

impl<'t> TargetRows<'t> {
    pub(super) fn new(
        batch: &RecordBatch,
        store: &SqlStore,
        targets: &'t [TargetColumn],
        part: Arc<str>,
        before: u64,
    ) -> Result<Self> {
        let cells = |(name, array): (&str, &dyn Array)| {
            let cells = CellColumn::new(array)
                .map_err(|kind| Error::new(ErrorKind::Flow, format!("column {name} is {kind}")))?;
            let named = targets.iter().find(|target| target.name == name);
            // Elsewhere than in PostgreSQL, a table may write a name in other letters.
            let named = named.or_else(|| {
                targets
                    .iter()
                    .find(|target| target.name.to_lowercase() == name.to_lowercase())
            });
            let hint = "its type is annotated in the old way there, or not at all: give those \
                        files a flow of their own";
            let target = named.ok_or_else(|| {
                let error = format!("column {name} of {part} does not come in the files before it");
                Error::new(ErrorKind::Flow, error)
                    .with_hint("files of one flow need the same columns of the same types")
            })?;
            if target.kind != cells.kind {
                let error = format!(
                    "column {name} of {part} is {}, and {} in the files before it",
                    cells.kind, target.kind
                );
                return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
            }
            Ok((target, cells))
        };
        let names = batch.schema().iter_names().map(|name| name.as_str());
        let columns: Vec<_> = names
            .zip(batch.arrays().iter().map(AsRef::as_ref))
            .map(cells)
            .collect::<Result<_>>()?;
        if let Some(target) = targets
            .iter()
            .find(|target| !columns.iter().any(|(other, _)| other.name == target.name))
        {
            let error = format!(
                "column {} does not come in {part}, and did in the parts before",
                target.name
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint("files of one flow need the same columns of the same types"));
        }
        Ok(Self {
            columns,
            height: batch.height(),
            part,
            rows_before: before,
            table: store.relation.to_string(),
        })
    }

    /// The names of the columns, in quotes.
    pub(super) fn quoted_list(&self, dialect: Dialect) -> String {
        quoted_list(dialect, self.columns.iter().map(|(target, _)| *target))
    }

    /// A row that is longer than the server takes.
    pub(super) fn row_too_long(&self, row: usize, bytes: usize, most: usize) -> Error {
        let row = self.rows_before + row as u64 + 1;
        let error = format!(
            "row {row} of {}, which comes to table {}, takes {bytes} bytes of SQL, and \
             max_allowed_packet of the server is {most}",
            self.part, self.table
        );
        Error::new(ErrorKind::Flow, error).with_hint(
            "nothing was published; raise max_allowed_packet of the server, which may be 1 GB",
        )
    }

    /// A value of a row that its column holds; the reason where it does not.
    pub(super) fn value_error(&self, column: usize, row: usize, reason: &str) -> Error {
        let name = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.name.as_str());
        let row = self.rows_before + row as u64 + 1;
        let error = format!(
            "column {name}, row {row} of {}, which comes to table {}: {reason}",
            self.part, self.table
        );
        let declared = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.declared_type.as_str());
        let hint = format!(
            "nothing was published; change the value or the column, which is {declared}, or leave \
             the column out"
        );
        Error::new(ErrorKind::Flow, error).with_hint(hint)
    }
}

/// Names of columns in quotes, as a list.
pub(super) fn quoted_list<'t>(
    dialect: Dialect,
    targets: impl IntoIterator<Item = &'t TargetColumn>,
) -> String {
    targets
        .into_iter()
        .map(|target| dialect.quote_name(&target.name))
        .collect::<Vec<_>>()
        .join(", ")
}
