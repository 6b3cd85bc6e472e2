//! A home in a database: a table, or what a query gives.
//!
//! What all databases have in common stands here and in `reading`; how each describes and sends its rows
//! stands in a file of its own.

mod answer;
mod decimal;
mod misfit;
mod mysql;
mod postgres;
mod ranges;
mod reading;
mod rows;
mod sqlite;
mod statement;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Home, HomeError, Listing, Place, Reading, Table};
use crate::config::Settings;
use crate::config::connection::Connection;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::read::read;
use crate::config::words::{Number, Step, Time, Words};
use crate::connection::types::{Column, Type, WORDS};
use crate::connection::{self, Databases, Dialect, Relation, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;

use reading::{Guarded, SqlReading};

/// A home in a database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "sql", deny_unknown_fields)]
pub struct SqlHomeFields {
    /// The name of one of `connections`.
    #[schemars(example = &"shop", extend("x-default" = "required"))]
    connection: Option<String>,
    /// The table or view, with its schema if need be; a name with a dot or a quote in it stands in double quotes.
    #[schemars(example = &"public.orders", extend("x-default" = "required, or `query`"))]
    table: Option<String>,
    /// A SELECT instead of a table.
    #[schemars(example = &"select * from orders where paid", extend("x-default" = "none"))]
    query: Option<String>,
    /// The columns that are read, in this order.
    #[schemars(example = ["id", "total"], extend("x-default" = "all"))]
    columns: Option<Words>,
    /// A condition that rows must meet, in the database's SQL.
    #[schemars(example = &"total > 0", extend("x-default" = "none"))]
    r#where: Option<String>,
    /// The units of reading, of resuming and of staleness.
    #[schemars(extend("x-default" = "by the first column of the primary key, if that is a whole number", "x-type" = "[slice](#a-slice)"))]
    slice: Option<SliceFields>,
    /// How to tell without reading whether something changed.
    #[schemars(extend("x-default" = "SQLite: how its file looks; else none, and every build reads", "x-type" = "[probe](#a-probe)"))]
    probe: Option<ProbeFields>,
    /// Types of columns that the database does not say, or that shall arrive as others: see [types](types.md).
    #[schemars(example = &"{price: \"decimal(12,2)\"}", extend("x-default" = "those of the database", "x-type" = "map of types"))]
    types: Option<BTreeMap<String, String>>,
    /// What becomes of a date or time that files do not have (infinity, before year 1, all zeros): it fails, or is null.
    #[serde(default)]
    #[schemars(example = &"null", extend("default" = "fail", "x-type" = "`fail` or `null`"))]
    on_invalid: OnInvalid,
    /// What becomes of a value of SQLite's that does not fit its column's type: it fails, or the column arrives as text.
    #[schemars(example = &"text", extend("default" = "fail"))]
    on_mismatch: Option<OnMismatch>,
    /// How many rows are handed on at once. It decides no bytes.
    #[schemars(example = 10_000, extend("default" = 16_384))]
    batch_size: Option<Number<1, 1_000_000>>,
}

/// A slice: rows whose column lies between two fixed multiples.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "slice", deny_unknown_fields)]
pub struct SliceFields {
    /// The column: a date, a time stamp or a whole number.
    #[schemars(example = &"created_at", extend("x-default" = "required"))]
    column: Option<String>,
    /// How wide a slice is: `day`, `month`, `year`, or for a whole number how many of them.
    #[schemars(example = &"month", extend("x-default" = "required"))]
    by: Option<Step>,
}

/// A probe: one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "probe", deny_unknown_fields)]
pub struct ProbeFields {
    /// The number of rows, the largest values of these columns and a sum of their hashes: one query, for all slices.
    #[schemars(example = ["updated_at"], extend("x-default" = "none"))]
    columns: Option<Words>,
    /// A query whose answer changes when the rows do.
    #[schemars(example = &"select max(version) from changes", extend("x-default" = "none"))]
    query: Option<String>,
    /// The table is read again once in each such time, counted from midnight UTC.
    #[schemars(example = &"6h", extend("x-default" = "none"))]
    every: Option<Time>,
}

/// What becomes of a date or time that files do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnInvalid {
    /// The flow fails, and names the row.
    #[default]
    Fail,
    /// The row has no value there.
    Null,
}

/// `null` is a word here, which YAML reads as nothing.
impl<'de> Deserialize<'de> for OnInvalid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("null") => Ok(Self::Null),
            Some("fail") => Ok(Self::Fail),
            Some(other) => Err(serde::de::Error::unknown_variant(other, &["fail", "null"])),
        }
    }
}

/// What becomes of a value that does not fit its column's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnMismatch {
    /// The flow fails, and names the row.
    #[default]
    Fail,
    /// The whole column arrives as text.
    Text,
}

/// A slice as the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slicing {
    column: String,
    by: Step,
}

/// A probe as the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Probe {
    /// Nothing is asked: each build reads.
    None,
    /// SQLite: how the file looks.
    File,
    Columns(Vec<String>),
    Query(String),
    Every(std::time::Duration),
}

/// Rows of a table or a query.
#[derive(Clone, Debug)]
pub struct SqlHome {
    connection: Connection,
    /// What tells the database from others; the name of the connection while its URL is not known.
    database: String,
    relation: Relation,
    columns: Option<Vec<String>>,
    condition: Option<String>,
    slice: Option<Slicing>,
    probe: Probe,
    types: BTreeMap<String, Type>,
    on_invalid: OnInvalid,
    on_mismatch: OnMismatch,
    batch_rows: usize,
    is_default_batch: bool,
}

/// How many rows a batch has where nothing is said.
const BATCH_ROWS: usize = 1 << 14;

/// Version of what is made of rows: it goes up when equal rows become other parts.
const VERSION: u32 = 1;

impl SqlHome {
    /// Reads a home's block.
    pub fn from_block(node: &Node, name: &str, connections: &[Connection], problems: &mut Problems) -> Option<Self> {
        let fields: SqlHomeFields = read(node, name, &["type"], problems)?;
        let connection = connection_of(fields.connection.as_deref(), node, name, connections, problems);
        let relation = relation(&fields, node, name, problems);
        let slice = slice(&fields, node, name, problems);
        let probe = probe(fields.probe, node, name, problems);
        let types = types(fields.types, node, name, problems);
        let connection = connection?;
        let probe = match probe? {
            Probe::None if Dialect::of_connection(&connection) == Some(Dialect::Sqlite) => Probe::File,
            probe => probe,
        };
        let database = connection::identity(&connection).unwrap_or_else(|_| connection.name.clone());
        let is_default_batch = fields.batch_size.is_none();
        let batch_rows = fields.batch_size.and_then(|size| usize::try_from(size.0).ok()).unwrap_or(BATCH_ROWS);
        Some(Self {
            connection,
            database,
            relation: relation?,
            columns: fields.columns.map(|columns| columns.0),
            condition: fields.r#where,
            slice: slice?,
            probe,
            types: types?,
            on_invalid: fields.on_invalid,
            on_mismatch: fields.on_mismatch.unwrap_or_default(),
            batch_rows,
            is_default_batch,
        })
    }
}

/// The connection that a block names.
pub fn connection_of(
    wanted: Option<&str>,
    node: &Node,
    name: &str,
    connections: &[Connection],
    problems: &mut Problems,
) -> Option<Connection> {
    let Some(wanted) = wanted else {
        if node.get("connection").is_none() {
            let problem = Problem::new(node.at, format!("{name} has no connection"), "expected the key connection here");
            problems.push(problem.hint("connection: NAME, and under connections of the config NAME: {url: …}"));
        }
        return None;
    };
    let found = connections.iter().find(|connection| connection.name == wanted);
    if found.is_none() {
        let message = format!("{name} needs the connection {wanted:?}, which is not in the config");
        let problem = Problem::new(node.place_of("connection"), message, "expected the name of a connection");
        let known: Vec<&str> = connections.iter().map(|connection| connection.name.as_str()).collect();
        let otherwise = match known.as_slice() {
            [] => "write it under connections: {NAME: {url: \"${NAME_URL}\"}}".to_string(),
            known => format!("connections of the config: {}", known.join(", ")),
        };
        problems.push(problem.did_you_mean(wanted, known.iter().copied(), Some(otherwise)));
    }
    found.cloned()
}

fn relation(fields: &SqlHomeFields, node: &Node, name: &str, problems: &mut Problems) -> Option<Relation> {
    match (&fields.table, &fields.query) {
        (Some(_), Some(_)) => {
            let problem = Problem::new(node.place_of("query"), format!("{name} has a table and a query"), "expected one of them");
            problems.push(problem.also(node.place_of("table"), "the other"));
            None
        }
        (None, None) => {
            if node.get("table").is_none() && node.get("query").is_none() {
                let problem = Problem::new(node.at, format!("{name} has no table"), "expected the key table, or query, here");
                problems.push(problem.hint("table: orders, or table: schema.orders"));
            }
            None
        }
        (Some(table), None) => {
            let parsed = Relation::of_table(table);
            if parsed.is_none() {
                let problem = Problem::new(node.place_of("table"), format!("{table:?} names no table"), "expected TABLE or SCHEMA.TABLE");
                problems.push(problem.hint("a name with a dot in it stands in double quotes: '\"my.schema\".orders'"));
            }
            parsed
        }
        (None, Some(query)) => {
            let parsed = Relation::of_query(query);
            if parsed.is_none() {
                problems.push(Problem::new(node.place_of("query"), format!("the query of {name} is empty"), "expected a SELECT"));
            }
            parsed
        }
    }
}

fn slice(fields: &SqlHomeFields, node: &Node, name: &str, problems: &mut Problems) -> Option<Option<Slicing>> {
    let Some(slice) = &fields.slice else { return Some(None) };
    if let (Some(column), Some(by)) = (&slice.column, slice.by) {
        return Some(Some(Slicing { column: column.clone(), by }));
    }
    let at = node.place_of("slice");
    let block = node.get("slice");
    let is_missing = |key| block.is_some_and(|block| block.get(key).is_none());
    for key in ["column", "by"].into_iter().filter(|key| is_missing(key)) {
        let problem = Problem::new(at, format!("slice of {name} has no {key}"), format!("expected the key {key} here"));
        problems.push(problem.hint("slice: {column: created_at, by: month}, or {column: id, by: 1_000_000}"));
    }
    None
}

fn probe(probe: Option<ProbeFields>, node: &Node, name: &str, problems: &mut Problems) -> Option<Probe> {
    let Some(fields) = probe else { return Some(Probe::None) };
    let columns = fields.columns.map(|columns| Probe::Columns(columns.0));
    let query = fields.query.map(Probe::Query);
    let every = fields.every.map(|time| Probe::Every(time.0));
    let mut found: Vec<Probe> = columns.into_iter().chain(query).chain(every).collect();
    let written = node.get("probe").map_or(0, |block| block.entries().len());
    match (found.pop(), written) {
        (Some(Probe::Columns(columns)), _) if columns.is_empty() => {}
        (Some(probe), 1) => return Some(probe),
        // It could not be read, and that was said.
        (None, 1) => return None,
        _ => {}
    }
    let problem = Problem::new(node.place_of("probe"), format!("probe of {name} is not one probe"), "expected columns, query or every");
    problems.push(problem.hint("probe: {columns: [updated_at]}"));
    None
}

fn types(types: Option<BTreeMap<String, String>>, node: &Node, name: &str, problems: &mut Problems) -> Option<BTreeMap<String, Type>> {
    let mut known = BTreeMap::new();
    let mut is_sound = true;
    for (column, word) in types.unwrap_or_default() {
        match Type::of_word(&word) {
            Some(kind) => drop(known.insert(column, kind)),
            None => {
                let at = node.get("types").map_or(node.at, |types| types.place_of(&column));
                let words = WORDS.iter().map(|(word, _)| *word).chain(["decimal(12,2)", "list(text)"]);
                let message = format!("types of {name} gives the column {column} the unknown type {word:?}");
                let otherwise = format!("types are {}", words.clone().collect::<Vec<_>>().join(", "));
                problems.push(Problem::new(at, message, "expected a type").did_you_mean(&word, words, Some(otherwise)));
                is_sound = false;
            }
        }
    }
    is_sound.then_some(known)
}

impl SqlHome {
    /// All rows of a table, which is asked by a query whether it changed.
    pub fn of_table(connection: &Connection, relation: Relation, probe: Option<String>) -> Self {
        let database = connection::identity(connection).unwrap_or_else(|_| connection.name.clone());
        let probe = probe.map_or(Probe::None, Probe::Query);
        Self {
            connection: connection.clone(),
            database,
            relation,
            columns: None,
            condition: None,
            slice: None,
            probe,
            types: BTreeMap::new(),
            on_invalid: OnInvalid::default(),
            on_mismatch: OnMismatch::default(),
            batch_rows: BATCH_ROWS,
            is_default_batch: true,
        }
    }
}

/// The columns of a table, as a home reads them; `None` where there is no table.
///
/// # Errors
/// The database fails.
pub async fn columns_of_table(connection: &Connection, relation: &Relation, session: &mut Session) -> Result<Option<Vec<Column>>> {
    let home = SqlHome::of_table(connection, relation.clone(), None);
    match home.describe(session).await {
        Ok(described) => Ok(Some(described.all)),
        Err(error) if matches!(error.cause(), Some(SqlError::NoTable { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Home for SqlHome {
    fn kind(&self) -> &'static str {
        "sql"
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::from([("connection", json!(self.connection.name))]);
        match &self.relation {
            Relation::Table(_) => settings.insert("table", json!(self.relation.to_string())),
            Relation::Query(query) => settings.insert("query", json!(query)),
        };
        if let Some(columns) = &self.columns {
            settings.insert("columns", json!(columns));
        }
        if let Some(condition) = &self.condition {
            settings.insert("where", json!(condition));
        }
        if let Some(Slicing { column, by }) = &self.slice {
            settings.insert("slice", json!({ "column": column, "by": by }));
        }
        match &self.probe {
            Probe::None | Probe::File => {}
            Probe::Columns(columns) => drop(settings.insert("probe", json!({ "columns": columns }))),
            Probe::Query(query) => drop(settings.insert("probe", json!({ "query": query }))),
            Probe::Every(time) => drop(settings.insert("probe", json!({ "every": format!("{}s", time.as_secs()) }))),
        }
        if !self.types.is_empty() {
            let types: BTreeMap<&String, String> = self.types.iter().map(|(column, kind)| (column, kind.to_string())).collect();
            settings.insert("types", json!(types));
        }
        if self.on_invalid != OnInvalid::default() {
            settings.insert("on_invalid", json!(self.on_invalid));
        }
        if self.on_mismatch != OnMismatch::default() {
            settings.insert("on_mismatch", json!(self.on_mismatch));
        }
        if !self.is_default_batch {
            settings.insert("batch_size", json!(self.batch_rows));
        }
        settings
    }

    fn place(&self) -> Place<'_> {
        Place::Table { database: &self.database, table: self.relation.table() }
    }

    fn format(&self) -> Option<&'static dyn Format> {
        None
    }

    fn table(&self) -> Option<&dyn Table> {
        Some(self)
    }

    /// It has no files.
    fn list(&self) -> Result<Listing, HomeError> {
        Ok(Listing::default())
    }
}

impl Table for SqlHome {
    fn recipe(&self) -> BTreeMap<String, String> {
        let mut recipe = BTreeMap::from([
            ("home.sql.version".to_string(), VERSION.to_string()),
            ("home.database".to_string(), crate::fingerprint::Fingerprint::of_bytes(self.database.as_bytes()).to_string()),
        ]);
        match &self.relation {
            Relation::Table(_) => recipe.insert("home.table".into(), self.relation.to_string()),
            Relation::Query(query) => recipe.insert("home.query".into(), query.clone()),
        };
        let mut set = |name: &str, value: Option<String>| recipe.extend(value.map(|value| (name.to_string(), value)));
        set("home.columns", self.columns.as_ref().map(|columns| json!(columns).to_string()));
        set("home.where", self.condition.clone());
        set("home.slice", self.slice.as_ref().map(|slice| format!("{} by {}", slice.column, slice.by)));
        set("home.on_invalid", (self.on_invalid == OnInvalid::Null).then(|| "null".into()));
        set("home.on_mismatch", (self.on_mismatch == OnMismatch::Text).then(|| "text".into()));
        let mut types = String::new();
        for (column, kind) in &self.types {
            types.push_str(&format!("{column}: {kind}\n"));
        }
        set("home.types", (!types.is_empty()).then_some(types));
        recipe
    }

    fn is_probed(&self) -> bool {
        self.probe != Probe::None
    }

    fn probe<'a>(&'a self, databases: &'a Databases) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let database = databases.of(&self.connection)?;
            let mut session = database.session().await?;
            let guard = Guarded::new(&session);
            let asked = guard.finish(self.ask(&mut session)).await;
            session.end().await;
            Ok(asked?.answer)
        })
    }

    fn open<'a>(&'a self, databases: &'a Databases) -> BoxFuture<'a, Result<std::sync::Arc<dyn Reading>>> {
        Box::pin(async move {
            let database = databases.of(&self.connection)?;
            Ok(std::sync::Arc::new(SqlReading::open(self, &database).await?) as _)
        })
    }
}

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
    SameName {
        /// The table or query.
        relation: String,
        /// The column.
        column: String,
    },
    /// A type cannot be had from a column.
    #[error("column {column} is {declared}, which cannot arrive as {wanted}")]
    NotThatType {
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
        slices: u128,
        /// What the config asks for.
        by: String,
    },
    /// A value has no place in its column.
    #[error("column {column}, row {row} of {of}: {reason}")]
    Value {
        /// The column.
        column: String,
        /// Which row, from 1, in the order of reading.
        row: u64,
        /// The table and the slice.
        of: String,
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
            SqlError::NoTable { .. } => "check home.table; a table of another schema is SCHEMA.TABLE".to_string(),
            SqlError::NoColumn { columns, .. } => format!("it has {}", columns.join(", ")),
            SqlError::SameName { .. } => "give them names of their own: select a.id, b.id as b_id …".into(),
            SqlError::NotThatType { .. } => "take it out of types, or make it text".into(),
            SqlError::NoSlices { .. } => "slice by a date or time stamp (day, month, year), or by a whole number (a width)".into(),
            SqlError::ManySlices { .. } => "make the slices wider, or leave odd values out by where".into(),
            SqlError::Value { hint, .. } => (*hint).to_string(),
            SqlError::Protocol(_) => "build again; nothing was published".into(),
        };
        Self::new(ErrorKind::Flow, error).with_hint(hint)
    }
}
