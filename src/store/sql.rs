//! A store in a database: a table that is filled from staged parts, and a row beside it that says
//! with what.
//!
//! Rows and receipt change in one transaction: who reads the table sees the old set or the new one,
//! and a process that dies between the commit and the index's record has published, as the next
//! build finds out. What the databases do differently stands in a file for each.

mod alter;
mod cascade;
mod catalog;
mod cells;
mod check;
mod clear;
mod columns;
mod engine;
mod feed;
mod json;
mod load;
mod lock;
mod merge;
mod mysql;
mod new_parts;
mod postgres;
mod receipts;
mod resolved_table;
mod rule;
mod session;
mod sqlite;
mod table_contents;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Capabilities, PartNaming, Store, StoreError, StoreId, StoreLocation, StoreSession, TableId,
    TargetTable,
};
use crate::config::Settings;
use crate::config::block_reader::read_block;
use crate::config::connection::Connection;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::schema::any_map;
use crate::config::value_types::{BoundedNumber, IgnoredValue, StringList};
use crate::connection::lexer::{StatementEnd, find_statement_end};
use crate::connection::{self, Database, Databases, Dialect, Relation, Session, TableName};
use crate::error::{Error, ErrorKind};
use crate::format::parquet::Parquet;
use crate::format::{Compression, OutputSpec};
use crate::home::Home;
use crate::home::sql::{SqlHome, find_connection, parse_condition, parse_table};

use engine::WriteEngine;

/// The table in which hygge keeps its receipts, wherever it fills one.
pub const RECEIPTS_TABLE: &str = receipts::TABLE;

/// A store in a database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "sql", deny_unknown_fields)]
pub struct SqlStoreFields {
    /// The name of one of `connections`.
    #[schemars(example = &"shop", extend("x-default" = "required"))]
    connection: Option<String>,
    /// The table, with its schema if need be; a name with a dot or a quote in it stands in double quotes.
    #[schemars(example = &"public.orders", extend("x-default" = "required"))]
    table: Option<String>,
    /// `auto` makes the table, and adds columns that it does not have; `never` needs it as it is.
    #[schemars(example = &"never", extend("default" = "auto"))]
    create: Option<TableCreation>,
    /// `auto` adds columns that the table does not have, and widens those that the flow filled when its home had a narrower type; `never` leaves the columns as they are.
    #[schemars(example = &"never", extend("default" = "auto"))]
    alter: Option<TableAlteration>,
    /// What the Python hygge writes here: `hash_ids`, `columns`, `constants`, `add_row_marker`, `timestamps`, in [its order](#polish). New configs have keys of the [flow](#columns-and-rows) for it.
    #[schemars(schema_with = "any_map", example = json!({ "columns": { "case": "snake" } }), extend("x-default" = "none", "x-type" = "[map](#polish)"))]
    pub polish: Option<IgnoredValue>,
    /// Types of columns, in the database's words, where the table is made.
    #[schemars(example = json!({ "name": "varchar(40) not null" }), extend("x-default" = "those that hold the values exactly", "x-type" = "map of types"))]
    columns: Option<BTreeMap<String, String>>,
    /// With `mode: merge`: the columns that tell rows apart.
    #[schemars(example = ["id"], extend("x-default" = "none"))]
    key: Option<StringList>,
    /// With `mode: merge`: a condition on a new row, in the database's SQL; where it is met, the row of that key is removed.
    #[schemars(example = &"deleted", extend("x-default" = "none"))]
    delete_where: Option<String>,
    /// About how many rows a part has that is loaded.
    #[schemars(example = 1_000_000, extend("x-default" = "one part for each input file"))]
    rows_per_file: Option<BoundedNumber<1, { u64::MAX }>>,
    /// Takes over a table that holds rows which hygge did not put there; with `mode: replace` they are replaced.
    #[schemars(example = true, extend("default" = false))]
    adopt: Option<bool>,
    /// Allows that rows of other tables go or change with those that are replaced or removed, by `ON DELETE CASCADE` and its like.
    #[schemars(example = true, extend("default" = false))]
    cascade: Option<bool>,
}

/// Whether tables are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TableCreation {
    /// Where there is none, and columns where they are missing.
    #[default]
    Auto,
    /// It must be there.
    Never,
}

/// Whether columns of a table are altered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TableAlteration {
    /// They are added where they are missing, and widened where what comes became wider.
    #[default]
    Auto,
    /// The flow fails.
    Never,
}

/// A table of a database.
#[derive(Clone, Debug)]
pub struct SqlStore {
    connection: Connection,
    databases: Arc<Databases>,
    /// What tells the database from others.
    identity: String,
    relation: Relation,
    id: TableId,
    create: TableCreation,
    alter: TableAlteration,
    columns: BTreeMap<String, String>,
    key: Vec<String>,
    delete_where: Option<String>,
    rows_per_file: Option<u64>,
    adopt: bool,
    cascade: bool,
}

/// The parts are loaded in this format.
const FORMAT: Parquet = Parquet::PLAIN;

impl SqlStore {
    /// Reads a store's block.
    pub fn from_block(
        node: &Node,
        name: &str,
        root: &Path,
        (connections, databases): (&[Connection], &Arc<Databases>),
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields: SqlStoreFields = read_block(node, name, &["type"], problems)?;
        let connection = find_connection(
            fields.connection.as_deref(),
            node,
            name,
            connections,
            problems,
        );
        let relation = parse_table(
            fields.table.as_deref(),
            node,
            name,
            "expected the key table here",
            problems,
        );
        let dialect = connection.as_ref().and_then(Dialect::from_connection);
        let delete_where = parse_condition(
            dialect,
            fields.delete_where,
            "delete_where",
            node,
            name,
            problems,
        );
        let columns = fields.columns.unwrap_or_default();
        let is_statement = |written: &&String| {
            dialect.is_some_and(|dialect| {
                find_statement_end(dialect, written) != StatementEnd::EndOfText
            })
        };
        if let Some((column, _)) = columns.iter().find(|(_, written)| is_statement(written)) {
            let at = node
                .get("columns")
                .map_or(node.at, |columns| columns.span_of(column));
            let message =
                format!("columns of {name} gives the column {column} a type with a semicolon");
            problems.push(Problem::new(at, message, "expected a type of the database"));
            return None;
        }
        if let Some(table) = relation
            .as_ref()
            .and_then(|relation| Some(relation.table()?.name))
            .filter(|table| table.eq_ignore_ascii_case(receipts::TABLE))
        {
            let message = format!("{name} is {table}, in which hygge keeps its receipts");
            problems.push(Problem::new(
                node.span_of("table"),
                message,
                "expected another table",
            ));
            return None;
        }
        Some(Self {
            create: fields.create.unwrap_or_default(),
            alter: fields.alter.unwrap_or_default(),
            columns,
            key: fields.key.map(|words| words.0).unwrap_or_default(),
            delete_where: delete_where?,
            rows_per_file: fields.rows_per_file.map(|rows| rows.0),
            adopt: fields.adopt.unwrap_or_default(),
            cascade: fields.cascade.unwrap_or_default(),
            ..Self::with_defaults(connection?, relation?, root, databases)
        })
    }

    /// A table of no flow, by its name; nothing where that is none.
    pub fn for_table(
        connection: &Connection,
        table: &str,
        root: &Path,
        databases: &Arc<Databases>,
    ) -> Option<Self> {
        Some(Self::with_defaults(
            connection.clone(),
            Relation::parse_table(table)?,
            root,
            databases,
        ))
    }

    fn with_defaults(
        connection: Connection,
        relation: Relation,
        root: &Path,
        databases: &Arc<Databases>,
    ) -> Self {
        let identity =
            connection::database_id(&connection).unwrap_or_else(|_| connection.name.clone());
        let id = TableId::new(
            root,
            &identity,
            &relation.to_string(),
            &relation.file_stem(),
        );
        Self {
            id,
            connection,
            databases: databases.clone(),
            identity,
            relation,
            create: TableCreation::default(),
            alter: TableAlteration::default(),
            columns: BTreeMap::new(),
            key: Vec::new(),
            delete_where: None,
            rows_per_file: None,
            adopt: false,
            cascade: false,
        }
    }

    fn target_table(&self) -> TargetTable<'_> {
        TargetTable {
            id: &self.id,
            database: &self.identity,
            relation: &self.relation,
            connection: &self.connection,
            key: &self.key,
        }
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self
            .databases
            .for_connection(&self.connection)
            .map_err(Error::from)?;
        database.check_writable().map_err(Error::from)?;
        Ok(database)
    }

    fn foreign_rows_error(&self) -> StoreError {
        let error = format!(
            "table {} holds rows that hygge did not put there",
            self.relation
        );
        let hint = "choose another table, empty it, or adopt: true of the store";
        Error::new(ErrorKind::Flow, error).with_hint(hint).into()
    }

    fn no_table_error(&self) -> StoreError {
        let error = format!("there is no table {}, and create: never", self.relation);
        Error::new(ErrorKind::Flow, error)
            .with_hint("make it, or create: auto of the store")
            .into()
    }

    /// What its table is called: a store is never a query.
    fn table_name(&self) -> TableName<'_> {
        self.relation.table().unwrap_or_default()
    }
}

/// The databases whose tables are filled.
fn engine(dialect: Dialect) -> &'static dyn WriteEngine {
    match dialect {
        Dialect::Sqlite => &sqlite::Sqlite,
        Dialect::Postgres => &postgres::Postgres,
        Dialect::MySql => &mysql::MySql,
    }
}

fn engine_of(session: &Session) -> &'static dyn WriteEngine {
    engine(session.database().dialect)
}

impl Store for SqlStore {
    fn kind(&self) -> &'static str {
        "sql"
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::from([
            ("connection", json!(self.connection.name)),
            ("table", json!(self.relation.to_string())),
        ]);
        settings.extend(
            (self.create != TableCreation::default()).then(|| ("create", json!(self.create))),
        );
        settings.extend(
            (self.alter != TableAlteration::default()).then(|| ("alter", json!(self.alter))),
        );
        settings.extend((!self.columns.is_empty()).then(|| ("columns", json!(self.columns))));
        settings.extend((!self.key.is_empty()).then(|| ("key", json!(self.key))));
        settings.extend(
            self.delete_where
                .as_ref()
                .map(|condition| ("delete_where", json!(condition))),
        );
        settings.extend(
            self.rows_per_file
                .map(|rows| ("rows_per_file", json!(rows))),
        );
        settings.extend(self.adopt.then_some(("adopt", json!(true))));
        settings.extend(self.cascade.then_some(("cascade", json!(true))));
        settings
    }

    fn location(&self) -> StoreLocation<'_> {
        StoreLocation::Table(self.target_table())
    }

    /// Rows that were added cannot be told from others.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts_readable: false,
            append_revocable: false,
            can_merge: !self.key.is_empty(),
            uses_connections: true,
        }
    }

    fn as_home(&self) -> Option<Arc<dyn Home>> {
        let dialect = Dialect::from_connection(&self.connection).unwrap_or(Dialect::Sqlite);
        let probe = receipts::probe_query(self, dialect);
        Some(Arc::new(SqlHome::for_table(
            &self.connection,
            self.relation.clone(),
            Some(probe),
        )))
    }

    fn output_spec(&self) -> OutputSpec {
        OutputSpec {
            format: Arc::new(FORMAT),
            compression: Compression {
                name: "keep",
                level: None,
            },
            rows_per_file: self.rows_per_file,
            partition_by: None,
        }
    }

    fn placement(&self) -> BTreeMap<String, String> {
        let mut placement =
            BTreeMap::from([("store.table".to_string(), self.relation.to_string())]);
        placement.extend(
            (!self.columns.is_empty())
                .then(|| ("store.columns".into(), json!(self.columns).to_string())),
        );
        placement.extend((!self.key.is_empty()).then(|| ("store.key".into(), self.key.join(", "))));
        placement.extend(
            self.delete_where
                .clone()
                .map(|condition| ("store.delete_where".into(), condition)),
        );
        placement
    }

    fn close_idle(&self) {
        self.databases.close_idle();
    }

    fn adopts(&self) -> bool {
        self.adopt
    }

    /// Parts have no names in a table; what stands for them tells them apart.
    fn part_name(&self, naming: &PartNaming<'_>) -> Result<String, StoreError> {
        Ok(format!("part {}", naming.sequence))
    }

    fn open(&self, _: &StoreId) -> Result<Arc<dyn StoreSession>, StoreError> {
        // Its database is asked where it is named: there is nothing to resolve.
        Ok(Arc::new(self.clone()))
    }
}
