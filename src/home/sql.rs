//! A home in a database: a table, or what a query gives.
//!
//! What all databases have in common stands here and in `read_session`; how each describes and
//! sends its rows stands in a file of its own.

mod batch_builder;
mod cancel_guard;
mod config_fields;
mod config_sql;
mod decimal;
mod description;
mod engine;
mod error;
mod inspect;
mod list_tables;
mod mysql;
mod partition_filter;
mod partition_spec;
mod postgres;
mod probe;
mod pushdown;
mod read_error;
mod read_session;
mod slices;
mod sqlite;
mod statement;
mod suggest_table;
mod watermark;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::{
    Home, PartitionFilter, PreviousRead, ReadSession, RowSource, SliceRange, Source, TableState,
};
use crate::config::Settings;
use crate::config::connection::Connection;
use crate::config::value_types::SliceWidth;
use crate::connection::lexer::{StatementEnd, find_enclosed_end};
use crate::connection::types::ColumnType;
use crate::connection::{self, ConnectionError, Databases, Dialect, Relation, Session};
use crate::error::{Error, ErrorKind, Result};

pub use config_fields::{OnInvalid, OnMismatch, OnNull, SqlHomeFields, find_connection};
pub use config_sql::{parse_condition, parse_table};
pub use error::SqlError;
pub use list_tables::list_tables;
pub use partition_spec::PartitionSpec;

use engine::ReadEngine;
use read_session::SqlReadSession;
use watermark::Watermark;

/// A slice as the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slicing {
    column: String,
    width: SliceWidth,
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
    database_id: String,
    /// Why its URL is not known.
    url_error: Option<ConnectionError>,
    relation: Relation,
    columns: Option<Vec<String>>,
    condition: Option<String>,
    /// What the database tests of rows for the flow, as far as that is known.
    pushed: Option<String>,
    slice: Option<Slicing>,
    watermark: Option<Watermark>,
    probe: Probe,
    types: BTreeMap<String, ColumnType>,
    on_invalid: OnInvalid,
    on_mismatch: OnMismatch,
    batch_rows: usize,
    is_default_batch: bool,
}

/// How many rows a batch has where nothing is said.
const DEFAULT_BATCH_ROWS: usize = 1 << 14;

/// Version of what is made of rows: it goes up when equal rows become other parts.
const RECIPE_VERSION: u32 = 1;

impl SqlHome {
    /// All rows of a table, which is asked by a query whether it changed.
    pub fn for_table(connection: &Connection, relation: Relation, probe: Option<String>) -> Self {
        let (database, unknown) = resolve_database_id(connection);
        let probe = probe.map_or(Probe::None, Probe::Query);
        Self {
            connection: connection.clone(),
            database_id: database,
            url_error: unknown,
            relation,
            columns: None,
            condition: None,
            pushed: None,
            slice: None,
            watermark: None,
            probe,
            types: BTreeMap::new(),
            on_invalid: OnInvalid::default(),
            on_mismatch: OnMismatch::default(),
            batch_rows: DEFAULT_BATCH_ROWS,
            is_default_batch: true,
        }
    }
}

/// What tells the database of a connection from others; its name while its URL is not known, and
/// why it is not.
fn resolve_database_id(connection: &Connection) -> (String, Option<ConnectionError>) {
    match connection::database_id(connection) {
        Ok(identity) => (identity, None),
        Err(error) => (connection.name.clone(), Some(error)),
    }
}

/// What a type becomes that is declared in SQLite; `None` for one that has no counterpart.
pub fn sqlite_type(declared: &str) -> Option<ColumnType> {
    sqlite::type_from_declaration(declared)
}

/// The databases that rows are read from.
fn engine(dialect: Dialect) -> &'static dyn ReadEngine {
    match dialect {
        Dialect::Sqlite => &sqlite::Sqlite,
        Dialect::Postgres => &postgres::Postgres,
        Dialect::MySql => &mysql::MySql,
    }
}

/// Opens a reading of one partition, in the moment of one that another process holds.
///
/// # Errors
/// The database does not answer, or the moment is over.
pub async fn join_partition(
    spec: &PartitionSpec,
    connection: &Connection,
    databases: &Databases,
) -> Result<Arc<dyn ReadSession>> {
    let database = databases.for_connection(connection)?;
    // It is read in parentheses, by rights that whoever wrote the job need not have.
    if find_enclosed_end(database.dialect, spec.statement()) != StatementEnd::EndOfText {
        let error = "the job has more than one statement to read by";
        return Err(Error::new(ErrorKind::Config, error)
            .with_hint("it was not written by hygge, or altered since"));
    }
    Ok(Arc::new(
        SqlReadSession::join(spec, connection, &database).await?,
    ))
}

fn engine_of(session: &Session) -> &'static dyn ReadEngine {
    engine(session.database().dialect)
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
        if let Some(Slicing { column, width: by }) = &self.slice {
            settings.insert("slice", json!({ "column": column, "by": by }));
        }
        if let Some(Watermark {
            column,
            primary_key,
            lag,
            start,
            nulls,
        }) = &self.watermark
        {
            let mut watermark = json!({ "column": column, "lag": lag, "nulls": nulls });
            watermark["primary_key"] = if primary_key.is_empty() {
                json!(null)
            } else {
                json!(primary_key)
            };
            watermark["start"] = json!(start);
            settings.insert("watermark", watermark);
        }
        match &self.probe {
            Probe::None | Probe::File => {}
            Probe::Columns(columns) => {
                drop(settings.insert("probe", json!({ "columns": columns })))
            }
            Probe::Query(query) => drop(settings.insert("probe", json!({ "query": query }))),
            Probe::Every(time) => {
                drop(settings.insert("probe", json!({ "every": format!("{}s", time.as_secs()) })))
            }
        }
        if !self.types.is_empty() {
            let types: BTreeMap<&String, String> = self
                .types
                .iter()
                .map(|(column, kind)| (column, kind.to_string()))
                .collect();
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

    fn source(&self) -> Source<'_> {
        Source::Rows(self)
    }
}

impl RowSource for SqlHome {
    fn database_id(&self) -> &str {
        &self.database_id
    }

    fn table(&self) -> Option<&[String]> {
        self.relation.table_name()
    }

    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn recipe(&self) -> BTreeMap<String, String> {
        let mut recipe = BTreeMap::from([
            ("home.sql.version".to_string(), RECIPE_VERSION.to_string()),
            (
                "home.database".to_string(),
                crate::fingerprint::Fingerprint::hash_bytes(self.database_id.as_bytes())
                    .to_string(),
            ),
        ]);
        match &self.relation {
            Relation::Table(_) => recipe.insert("home.table".into(), self.relation.to_string()),
            Relation::Query(query) => recipe.insert("home.query".into(), query.clone()),
        };
        let mut set = |name: &str, value: Option<String>| {
            recipe.extend(value.map(|value| (name.to_string(), value)))
        };
        set(
            "home.columns",
            self.columns
                .as_ref()
                .map(|columns| json!(columns).to_string()),
        );
        set("home.where", self.condition.clone());
        set(
            "home.slice",
            self.slice
                .as_ref()
                .map(|slice| format!("{} by {}", slice.column, slice.width)),
        );
        set(
            "home.watermark",
            self.watermark
                .as_ref()
                .map(|watermark| watermark.column.clone()),
        );
        let sorted = self
            .watermark
            .as_ref()
            .filter(|watermark| !watermark.primary_key.is_empty());
        set(
            "home.primary_key",
            sorted.map(|watermark| json!(watermark.primary_key).to_string()),
        );
        set(
            "home.on_invalid",
            (self.on_invalid == OnInvalid::Null).then(|| "null".into()),
        );
        set(
            "home.on_mismatch",
            (self.on_mismatch == OnMismatch::Text).then(|| "text".into()),
        );
        let mut types = String::new();
        for (column, kind) in &self.types {
            types.push_str(&format!("{column}: {kind}\n"));
        }
        set("home.types", (!types.is_empty()).then_some(types));
        recipe
    }

    fn check_database_known(&self) -> Result<()> {
        self.url_error.clone().map_or(Ok(()), |error| {
            Err(error.with_connection(&self.connection.name).into())
        })
    }

    fn detects_changes(&self) -> bool {
        self.probe != Probe::None || self.watermark.is_some()
    }

    fn watermark(&self) -> Option<&str> {
        self.watermark
            .as_ref()
            .map(|watermark| watermark.column.as_str())
    }

    fn is_closed(&self, partition: &str) -> bool {
        window::is_closed(partition)
    }

    fn partition_filter(&self, asked: &SliceRange) -> Result<PartitionFilter> {
        if self.slice.is_some() || self.watermark.is_some() {
            return Ok(partition_filter::partition_filter(
                &self.relation,
                self.slice.as_ref().map(|slice| slice.width),
                asked,
            )?);
        }
        let error = format!("{} has no slices that could be asked for", self.relation);
        Err(Error::new(ErrorKind::Config, error)
            .with_hint("slice: {column: created_at, by: month} in its home makes some"))
    }

    fn probe<'a>(
        &'a self,
        databases: &'a Databases,
        before: &'a PreviousRead,
    ) -> BoxFuture<'a, Result<TableState>> {
        Box::pin(async move {
            let database = databases.for_connection(&self.connection)?;
            let (session, asked) =
                read_session::inspect_in_task(self, database.session().await?, before).await?;
            session.release().await;
            Ok(asked?.state)
        })
    }

    fn open_session<'a>(
        &'a self,
        databases: &'a Databases,
        before: &'a PreviousRead,
    ) -> BoxFuture<'a, Result<Arc<dyn ReadSession>>> {
        Box::pin(async move {
            let database = databases.for_connection(&self.connection)?;
            Ok(Arc::new(SqlReadSession::open(self, &database, before).await?) as _)
        })
    }
}
