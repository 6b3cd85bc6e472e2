//! A store in a database: a table that is filled from staged parts, and a row beside it that says
//! with what.
//!
//! Rows and receipt change in one transaction: who reads the table sees the old set or the new one,
//! and a process that dies between the commit and the index's record has published, as the next
//! build finds out. What the databases do differently stands in a file for each.

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
mod postgres;
mod receipts;
mod resolved_table;
mod rule;
mod sqlite;
mod table_contents;
mod target;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::PublishContext;
use super::receipt::{PublishedSet, Receipt};
use super::{
    Capabilities, LiveContents, PartNaming, Publication, RemovalPlan, Store, StoreError,
    StoreUpdate, TargetTable,
};
use crate::config::Settings;
use crate::config::block_reader::read_block;
use crate::config::connection::Connection;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::value_types::{BoundedNumber, StringList};
use crate::connection::Relation;
use crate::connection::lexer::{StatementEnd, find_statement_end};
use crate::connection::{self, Database, Databases, Dialect, Session, block_on};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::format::parquet::Parquet;
use crate::format::{Compression, OutputSpec};
use crate::fs::{self, Lock, Stat, nofollow};
use crate::home::Home;
use crate::home::sql::{SqlHome, find_connection, parse_condition, parse_table};

use engine::WriteEngine;

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

/// A table of a database.
#[derive(Clone, Debug)]
pub struct SqlStore {
    connection: Connection,
    databases: Arc<Databases>,
    /// What tells the database from others.
    identity: String,
    relation: Relation,
    /// What stands for it where stores are folders: nothing but its lock is there.
    path: PathBuf,
    create: TableCreation,
    columns: BTreeMap<String, String>,
    key: Vec<String>,
    delete_where: Option<String>,
    rows_per_file: Option<u64>,
    adopt: bool,
    cascade: bool,
}

/// The parts are loaded in this format.
const FORMAT: Parquet = Parquet;

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
            .and_then(|relation| relation.table_name()?.last())
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
        let place = Fingerprint::hash_bytes(format!("{identity}\0{relation}").as_bytes()).short();
        let mut plain: String = relation
            .file_stem()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || *letter == '_')
            .take(60)
            .collect();
        // A file name has at most 255 bytes, and this one is one of its pieces.
        plain.truncate(plain.floor_char_boundary(200));
        Self {
            path: root
                .join(".hygge")
                .join("tables")
                .join(format!("{plain}-{place}")),
            connection,
            databases: databases.clone(),
            identity,
            relation,
            create: TableCreation::default(),
            columns: BTreeMap::new(),
            key: Vec::new(),
            delete_where: None,
            rows_per_file: None,
            adopt: false,
            cascade: false,
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

    /// Asks the database, whatever thread this is.
    fn run_blocking<T, F>(
        &self,
        work: impl FnOnce(Self, Arc<Database>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked = work(self.clone(), self.database()?);
        Ok(block_on(asked)??)
    }

    /// The folder of the config.
    fn config_folder(&self) -> &Path {
        self.path.ancestors().nth(3).unwrap_or(&self.path)
    }

    fn lock_file(&self, real: &Path) -> PathBuf {
        real.with_extension("lock")
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

    fn path(&self) -> &Path {
        &self.path
    }

    fn table(&self) -> Option<TargetTable<'_>> {
        let names = self.relation.table_name()?;
        Some(TargetTable {
            database: &self.identity,
            names,
            connection: &self.connection,
            key: &self.key,
        })
    }

    /// Rows that were added cannot be told from others.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts_readable: false,
            append_revocable: false,
            can_merge: !self.key.is_empty(),
        }
    }

    fn display_name(&self, _: &Path) -> String {
        format!("table {} of {}", self.relation, self.connection.name)
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

    fn receipt_stat(&self, _: &Path) -> Result<Option<Stat>, StoreError> {
        let found =
            self.run_blocking(
                |store, database| async move { receipts::read(&store, &database).await },
            )?;
        Ok(found.and_then(|found| found.to_stat()))
    }

    fn receipt(&self, real: &Path) -> Result<Option<Receipt>, StoreError> {
        if real.file_name() != self.path.file_name() {
            return Ok(None);
        }
        let found =
            self.run_blocking(
                |store, database| async move { receipts::read(&store, &database).await },
            )?;
        found
            .map(|found| self.parse_receipt(&found.text))
            .transpose()
    }

    fn sibling_receipts(&self, real: &Path) -> Result<Vec<(PathBuf, Stat, Receipt)>, StoreError> {
        let rows =
            self.run_blocking(|_, database| async move { receipts::read_all(&database).await })?;
        let neighbour = |row: receipts::ReceiptRow| {
            // One that cannot be read is reported by the flow that owns it, if there is one.
            let receipt = self.parse_receipt(&row.receipt.text).ok()?;
            let relation =
                Relation::parse_table(receipt.published.as_ref()?.placement.get("store.table")?)?;
            let is_here = match relation.table_name()? {
                [schema, _] => schema.eq_ignore_ascii_case(&row.schema),
                _ => row.is_default,
            };
            // A path by the name as it was written is that of the store, wherever the project lies.
            let path = Self::with_defaults(
                self.connection.clone(),
                relation,
                self.config_folder(),
                &self.databases,
            )
            .path;
            Some((
                real.with_file_name(path.file_name().filter(|_| is_here)?),
                row.receipt.to_stat()?,
                receipt,
            ))
        };
        Ok(rows.into_iter().filter_map(neighbour).collect())
    }

    fn live_contents(&self, _: &Path) -> Result<LiveContents, StoreError> {
        let exists = self.run_blocking(|store, database| async move {
            table_contents::store_table_exists(&store, &database).await
        })?;
        Ok(LiveContents {
            exists,
            ..LiveContents::default()
        })
    }

    fn check(&self, real: &Path) -> Result<(), StoreError> {
        self.check_rights(real)?;
        self.check_existing_rows(real)
    }

    fn check_columns(
        &self,
        columns: &ArrowSchema,
        change: StoreUpdate,
    ) -> Result<Vec<String>, StoreError> {
        let coming = columns::incoming_columns(columns)?;
        self.run_blocking(|store, database| async move {
            check::check_columns(&store, &database, &coming, change).await
        })
    }

    fn lock(&self, real: &Path, holder: &str) -> Result<Lock, StoreError> {
        // The links that lead to it were resolved, and in hygge's own folder there are none.
        let place = self
            .path
            .with_file_name(real.file_name().unwrap_or_default());
        if let Some(folder) = place.parent() {
            nofollow::create_folder(folder)?;
        }
        let lock = Lock::try_exclusive(&self.lock_file(&place), holder)?;
        self.check_existing_rows(real)?;
        Ok(lock)
    }

    fn latest_parts(&self, _: &Path, _: &Receipt) -> Result<HashSet<Fingerprint>, StoreError> {
        Ok(HashSet::new())
    }

    fn previous_parts(
        &self,
        _: &Path,
        _: Option<&Receipt>,
    ) -> Result<HashSet<Fingerprint>, StoreError> {
        Ok(HashSet::new())
    }

    /// A transaction that died has left nothing.
    fn recover(&self, real: &Path, _: &PublishContext<'_>) -> Result<Option<Receipt>, StoreError> {
        self.receipt(real)
    }

    fn removable(&self, _: &Path) -> Result<RemovalPlan, StoreError> {
        let table = self.run_blocking(|store, database| async move {
            clear::describe_removal(&store, &database).await
        })?;
        Ok(RemovalPlan {
            table_summary: table,
            ..RemovalPlan::default()
        })
    }

    fn clear(&self, _: &Path) -> Result<(), StoreError> {
        self.run_blocking(|store, database| async move { clear::clear(&store, &database).await })
    }

    fn publish(
        &self,
        real: &Path,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError> {
        // What is compared under the lock is its digest as it is stored, not a receipt that is
        // written again.
        let before =
            self.run_blocking(
                |store, database| async move { receipts::read(&store, &database).await },
            )?;
        let known = before
            .as_ref()
            .map(|found| self.parse_receipt(&found.text))
            .transpose()?;
        if known.as_ref() != publication.receipt {
            return Err(receipts::concurrent_publish(&self.display_name(real)).into());
        }
        let mut receipt = publication
            .receipt
            .cloned()
            .unwrap_or_else(|| Receipt::blank(publication.project, publication.flow));
        (receipt.project, receipt.flow) = (
            publication.project.to_string(),
            publication.flow.to_string(),
        );
        receipt.promote(publication.next.clone());
        load::publish(self, publication, (before, receipt), context)
    }
}

impl SqlStore {
    /// The lock and the file of SQLite may be written to, or be made.
    fn check_rights(&self, real: &Path) -> Result<(), StoreError> {
        let lock = self.lock_file(
            &self
                .path
                .with_file_name(real.file_name().unwrap_or_default()),
        );
        let database = self.database()?;
        for file in [Some(&lock), database.file.as_ref()].into_iter().flatten() {
            let there = fs::nearest_existing(file)?;
            let folder = if there == file {
                file.parent().unwrap_or(there)
            } else {
                there
            };
            fs::check_folder_writable(folder)?;
            fs::check_file_writable(file)?;
        }
        Ok(())
    }

    /// No rows of others are where its own shall be.
    fn check_existing_rows(&self, real: &Path) -> Result<(), StoreError> {
        let has_receipt = self.receipt(real)?.is_some();
        let is_foreign = !has_receipt && !self.adopt;
        let found = self.run_blocking(move |store, database| async move {
            table_contents::read_contents(&store, &database).await
        })?;
        match found {
            table_contents::TableContents::HasRows if is_foreign => Err(self.foreign_rows_error()),
            table_contents::TableContents::Absent if self.create == TableCreation::Never => {
                Err(self.no_table_error())
            }
            _ => Ok(()),
        }
    }

    fn parse_receipt(&self, text: &str) -> Result<Receipt, StoreError> {
        let receipt: Receipt = serde_json::from_str(text)
            .map_err(|error| self.unreadable_receipt(error.to_string()))?;
        receipt
            .check()
            .map_err(|reason| self.unreadable_receipt(reason))?;
        Ok(receipt)
    }

    fn unreadable_receipt(&self, reason: String) -> StoreError {
        StoreError::UnreadableReceipt {
            path: PathBuf::from(format!("of table {} in {}", self.relation, receipts::TABLE)),
            reason,
        }
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
}

/// Which parts of a set a table does not have yet.
fn new_parts<'p>(
    next: &'p PublishedSet,
    before: Option<&Receipt>,
) -> Vec<&'p super::receipt::Part> {
    let published = before.and_then(|receipt| receipt.published.as_ref());
    // Files of equal bytes are equal parts, and each of them is there for itself.
    let mut known: HashMap<(Fingerprint, Fingerprint), usize> = HashMap::new();
    for part in published
        .iter()
        .flat_map(|published| &published.manifest.parts)
    {
        *known.entry((part.key, part.digest)).or_default() += 1;
    }
    let mut is_known = |part: &&super::receipt::Part| match known.get_mut(&(part.key, part.digest))
    {
        Some(number) if *number > 0 => {
            *number -= 1;
            true
        }
        _ => false,
    };
    next.manifest
        .parts
        .iter()
        .filter(|part| !is_known(part))
        .collect()
}
