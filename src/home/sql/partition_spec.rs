//! One partition of a table as another process reads it: the statement, the columns that come, and
//! the moment that is joined.
//!
//! It has the connection's name and nothing else of it.

use serde::{Deserialize, Serialize};

use super::description::{RowRange, TableDescription};
use super::inspect::InspectedTable;
use super::{OnInvalid, SqlHome};
use crate::config::connection::Connection;
use crate::connection::Relation;
use crate::connection::types::{ColumnType, SqlColumn};
use crate::fingerprint::Fingerprint;
use crate::home::{ReadPartition, TableState};

/// No table of a database that is read has more columns.
const MAX_COLUMNS: usize = 10_000;

/// How long the name of a type may be: lists of lists are the longest.
const MAX_TYPE_LENGTH: usize = 200;

/// How long the name of a snapshot may be.
const MAX_SNAPSHOT_LENGTH: usize = 100;

/// As `batch_size` of the config.
const MAX_BATCH_ROWS: usize = 1_000_000;

/// A partition, with all that is needed to read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionSpec {
    connection: String,
    /// The digest of what tells its database from others.
    database: Fingerprint,
    /// The name of the moment.
    snapshot: String,
    relation: Relation,
    columns: Vec<ColumnSpec>,
    /// Those of them that the statement gives.
    read: Vec<String>,
    primary_key: Vec<String>,
    order_by: Vec<String>,
    /// The digest of the columns.
    schema: Fingerprint,
    /// The name of the partition.
    name: String,
    /// The digest of what was answered for it.
    digest: Fingerprint,
    statement: String,
    /// How many rows it has, where that was counted.
    rows: Option<u64>,
    on_invalid: OnInvalid,
    batch_rows: usize,
}

/// A column.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnSpec {
    name: String,
    declared: String,
    /// The type that it has in files, by its name.
    becomes: String,
    nullable: bool,
    as_text: bool,
}

impl ColumnSpec {
    fn new(column: &SqlColumn) -> Self {
        Self {
            name: column.name.clone(),
            declared: column.declared.clone(),
            becomes: column.kind.to_string(),
            nullable: column.nullable,
            as_text: column.is_read_as_text,
        }
    }

    fn column(&self) -> Option<SqlColumn> {
        if self.becomes.len() > MAX_TYPE_LENGTH {
            return None;
        }
        Some(SqlColumn {
            name: self.name.clone(),
            declared: self.declared.clone(),
            kind: ColumnType::from_name(&self.becomes)?,
            nullable: self.nullable,
            is_read_as_text: self.as_text,
        })
    }
}

impl PartitionSpec {
    /// One of the partitions that were found in a moment of this name.
    pub(super) fn new(
        home: &SqlHome,
        (inspected, read): (&InspectedTable, &TableDescription),
        number: usize,
        statement: &str,
        snapshot: &str,
    ) -> Self {
        let (described, partition) = (&inspected.description, &inspected.state.partitions[number]);
        Self {
            connection: home.connection.name.clone(),
            database: Fingerprint::hash_bytes(home.database_id.as_bytes()),
            snapshot: snapshot.to_string(),
            relation: home.relation.clone(),
            columns: described.columns.iter().map(ColumnSpec::new).collect(),
            read: read
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            primary_key: described.primary_key.clone(),
            order_by: described.order_by.clone(),
            schema: inspected.state.schema_digest,
            name: partition.name.clone(),
            digest: partition.digest,
            statement: statement.to_string(),
            rows: inspected.row_counts[number],
            on_invalid: home.on_invalid,
            batch_rows: home.batch_rows,
        }
    }

    /// Says what is wrong with it, in words that fit after "it has".
    ///
    /// # Errors
    /// Something is.
    pub fn check(&self) -> Result<(), String> {
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
        let snapshot = &self.snapshot;
        if snapshot.is_empty()
            || snapshot.len() > MAX_SNAPSHOT_LENGTH
            || !snapshot.bytes().all(is_name)
        {
            return Err(format!(
                "the snapshot {snapshot:?}, which is no name of one"
            ));
        }
        if !(1..=MAX_BATCH_ROWS).contains(&self.batch_rows) {
            let rows = self.batch_rows;
            return Err(format!(
                "batches of {rows} rows, expected 1 to {MAX_BATCH_ROWS}"
            ));
        }
        if self.columns.is_empty() || self.columns.len() > MAX_COLUMNS {
            let columns = self.columns.len();
            return Err(format!("{columns} columns, expected 1 to {MAX_COLUMNS}"));
        }
        if let Some(unknown) = self.columns.iter().find(|column| column.column().is_none()) {
            let ColumnSpec { name, becomes, .. } = unknown;
            let becomes: String = becomes.chars().take(MAX_TYPE_LENGTH).collect();
            return Err(format!("the column {name} of the unknown type {becomes:?}"));
        }
        let has = |name: &String| self.columns.iter().any(|column| column.name == *name);
        if let Some(unknown) = self.read.iter().find(|name| !has(name)) {
            return Err(format!(
                "a statement for the column {unknown}, which its table has not"
            ));
        }
        if self.description().digest() != self.schema {
            return Err("other columns than those that its parts are to have".into());
        }
        if self.statement.trim().is_empty() || self.statement.contains('\0') {
            return Err("no statement that could be read by".into());
        }
        Ok(())
    }

    /// The name of its connection.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// True for what tells its database from others.
    pub fn is_of_database(&self, database_id: &str) -> bool {
        self.database == Fingerprint::hash_bytes(database_id.as_bytes())
    }

    /// True for a column that its statement gives.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.read.iter().any(|read| read == name)
    }

    pub(super) fn statement(&self) -> &str {
        &self.statement
    }

    pub(super) fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// The home, as far as its rows need it.
    pub(super) fn home(&self, connection: &Connection) -> SqlHome {
        let relation = self.relation.clone();
        SqlHome {
            on_invalid: self.on_invalid,
            batch_rows: self.batch_rows,
            ..SqlHome::for_table(connection, relation, None)
        }
    }

    fn description(&self) -> TableDescription {
        let columns = self.columns.iter().filter_map(ColumnSpec::column);
        TableDescription {
            columns: columns.collect(),
            all_columns: Vec::new(),
            primary_key: self.primary_key.clone(),
            order_by: self.order_by.clone(),
            rowid: None,
            blocks: None,
        }
    }

    /// The table as if it had this partition only.
    pub(super) fn inspected(&self) -> InspectedTable {
        let description = self.description();
        let partition = ReadPartition {
            name: self.name.clone(),
            file_stem: String::new(),
            digest: self.digest,
        };
        let range = RowRange {
            name: self.name.clone(),
            condition: None,
        };
        InspectedTable {
            state: TableState {
                schema_digest: self.schema,
                arrow_schema: description.arrow_schema(),
                recorded_columns: Vec::new(),
                inputs: Default::default(),
                partitions: vec![partition],
                remarks: Vec::new(),
            },
            description,
            pushed: None,
            ranges: vec![range],
            row_counts: vec![self.rows],
            total_rows: None,
        }
    }
}
