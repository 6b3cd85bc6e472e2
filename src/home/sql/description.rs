//! What a database says of a table or a query, and what is to be read of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;

use crate::connection::types::SqlColumn;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

/// What a database says of a table or a query.
#[derive(Clone, Debug)]
pub(super) struct TableDescription {
    /// The columns that are read.
    pub columns: Arc<[SqlColumn]>,
    /// All columns that conditions may name.
    pub all_columns: Vec<SqlColumn>,
    /// The columns of the primary key.
    pub primary_key: Vec<String>,
    /// What rows are sorted by, as SQL.
    pub order_by: Vec<String>,
    /// What SQLite numbers the rows of a table by, as SQL.
    pub rowid: Option<String>,
    /// How many blocks it has, where PostgreSQL can be asked for some of them.
    pub blocks: Option<u64>,
}

impl TableDescription {
    /// The columns that are read, as files have them.
    pub(super) fn arrow_schema(&self) -> ArrowSchema {
        self.columns
            .iter()
            .map(|column| (column.name.as_str().into(), column.to_arrow()))
            .collect()
    }

    /// The same with those columns that are wanted, and those that tell rows apart in errors. The
    /// last is read in any case: rows must be counted.
    pub(super) fn narrowed(&self, is_wanted: &dyn Fn(&str) -> bool) -> Self {
        let is_read = |column: &&SqlColumn| {
            is_wanted(&column.name) || self.primary_key.contains(&column.name)
        };
        let mut columns: Vec<SqlColumn> = self.columns.iter().filter(is_read).cloned().collect();
        if columns.is_empty() {
            columns.extend(self.columns.last().cloned());
        }
        Self {
            columns: columns.into(),
            ..self.clone()
        }
    }

    /// The digest of columns: names, order, types, the primary key.
    pub(super) fn digest(&self) -> Fingerprint {
        let mut writer = KeyWriter::new(KeyKind::Schema);
        writer.count(self.columns.len());
        for column in self.columns.iter() {
            writer
                .text(&column.name)
                .text(&column.declared)
                .text(&column.kind.to_string());
            writer
                .number(u64::from(column.nullable))
                .number(u64::from(column.is_read_as_text));
        }
        writer.count(self.order_by.len());
        self.order_by
            .iter()
            .fold(&mut writer, |writer, order| writer.text(order))
            .finish()
    }
}

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRange {
    /// Its name among the ranges of the table.
    pub name: String,
    /// The condition that its rows meet; `None` for all rows.
    pub condition: Option<String>,
}

/// What is to be read, and what tells whether it has changed.
#[derive(Debug, Default)]
pub(super) struct PartitionSet {
    pub inputs: BTreeMap<String, Fingerprint>,
    pub ranges: Vec<RowRange>,
    /// One for each range.
    pub digests: Vec<Fingerprint>,
    /// How many rows each range has, where that was counted.
    pub row_counts: Vec<Option<u64>>,
    /// How many rows there are in all ranges, where that was counted.
    pub total_rows: Option<u64>,
    pub remarks: Vec<String>,
}

impl PartitionSet {
    pub(super) fn push(&mut self, range: RowRange, digest: Fingerprint, rows: Option<u64>) {
        self.ranges.push(range);
        self.digests.push(digest);
        self.row_counts.push(rows);
    }
}
