//! What each database does in its own way where its rows are read: one implementation for each, in
//! a file of its own.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::SqlHome;
use super::batch_builder::BatchBuilder;
use super::description::TableDescription;
use super::read_error::RowReadError;
use super::slices::{SliceNameSql, SliceSql, Slicer};
use crate::connection::Session;
use crate::connection::types::SqlColumn;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::home::PartBatch;

/// Which tables are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListedTables {
    /// All that can be read by a name.
    Readable,
    /// Those that hold rows themselves, each row in one of them.
    Tables,
    /// The same, and views.
    TablesAndViews,
}

/// A database, as homes use it.
pub(super) trait ReadEngine: SliceSql {
    /// Begins a transaction that sees one moment and only reads. As far as the database can be told
    /// so, nobody changes the columns of what is read until it ends.
    fn begin<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<()>>;

    /// What a table or query has.
    fn describe<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<TableDescription>>;

    /// Reads what a statement gives.
    fn read<'a>(
        &'a self,
        session: &'a mut Session,
        query: PartitionQuery<'a>,
        builder: &'a mut BatchBuilder,
        rows: &'a mpsc::Sender<PartBatch>,
    ) -> BoxFuture<'a, Result<(), RowReadError>>;

    /// How several sessions see one moment; `None` where one session reads everything.
    fn snapshot(&self) -> Option<SnapshotSql> {
        None
    }

    /// The query that gives the names of tables of a schema, or of those that need none.
    fn list_tables_sql(&self, schema: Option<&str>, which: ListedTables) -> String;

    /// True where a database is a file of this machine, whose stat tells that it has changed.
    fn is_file(&self) -> bool {
        false
    }

    /// True where any value may be in any column but a rowid, whatever type is declared.
    fn has_dynamic_types(&self) -> bool {
        false
    }

    /// True where a column that is read as text is cast in the statement, and not by the reader.
    fn casts_to_text(&self) -> bool {
        false
    }

    /// A column as it is selected.
    fn select_expression(&self, column: &SqlColumn) -> String {
        self.dialect().quote_name(&column.name)
    }

    /// What values of a column compare as where the database tests them; `None` where that is not
    /// what hygge compares, or may be an error.
    fn tested_type(&self, column: &SqlColumn) -> Option<TestedType>;

    /// True for values of a column that are not of its type, as SQL of its name; `None` where there
    /// are none.
    fn other_values_condition(&self, _: TestedType, _name: &str) -> Option<String> {
        None
    }

    /// In which order rows come that nothing orders.
    fn natural_order(&self) -> &'static str {
        "as the database gives them"
    }

    /// Who answers a probe of columns.
    fn column_probe(&self) -> ColumnProbe<'_>;

    /// The query for the smallest and the largest value of a column, of rows that are given from
    /// FROM on.
    fn min_max_sql(&self, name: &str, rows: &str) -> String {
        format!("SELECT min({name}), max({name}) FROM {rows}")
    }

    /// The same for rows of a table, which may have an index.
    fn table_min_max_sql(&self, name: &str, rows: &str) -> String {
        self.min_max_sql(name, rows)
    }
}

/// What values of a column compare as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestedType {
    Integer,
    Boolean,
    Text,
    Date,
    Timestamp,
    TimestampUtc,
}

/// What is read by one query.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartitionQuery<'a> {
    pub statement: &'a str,
    pub home: &'a SqlHome,
    pub described: &'a TableDescription,
}

/// How a session lets others see its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotSql {
    /// Gives the name of the moment.
    pub export: &'static str,
    /// Begins a transaction that sees the moment of this name.
    pub join: fn(&str) -> String,
}

/// Who answers a probe of columns.
#[derive(Clone, Copy, Debug)]
pub(super) enum ColumnProbe<'e> {
    /// The database, which has functions for it.
    Database(&'e dyn ProbeSql),
    /// hygge, which reads the columns.
    Reader(&'e dyn ProbeReader),
}

/// A database that answers probes by itself.
pub(super) trait ProbeSql: SliceNameSql {
    /// The largest values of columns and sums of hashes of all their values, as SQL. There is at
    /// least one column.
    fn expressions(&self, described: &TableDescription, columns: &[String]) -> Vec<String>;
}

/// What answers probes by reading.
pub(super) trait ProbeReader: Debug + Send + Sync {
    /// Counts rows and sums hashes of columns, for each slice; without slices, for all rows.
    fn probe_slices<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
        columns: &'a [String],
        slices: Option<&'a Slicer<'a>>,
        condition: Option<&'a str>,
    ) -> BoxFuture<'a, Result<SliceProbeResult>>;
}

/// What a probe answered for some rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// It changes when the rows do.
    pub digest: Fingerprint,
    /// How many there are.
    pub rows: u64,
}

/// What a probe answered slice by slice.
#[derive(Debug, Default)]
pub(super) struct SliceProbeResult {
    /// Those with rows, in order.
    pub slices: Vec<(i128, ProbeResult)>,
    /// The rows that lie in no slice.
    pub rest: Option<ProbeResult>,
    /// True where some of these have a value, but none that slices are made of. Servers do not say.
    pub has_irregular: bool,
}
