//! Columns of a table: which types hold what comes exactly, and whether a table that is there holds
//! it.

use std::collections::{BTreeMap, BTreeSet};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::SqlStore;
use super::catalog::{CatalogColumn, CatalogTable, StorageType, WireType};
use super::cells::{Cell, type_from_arrow};
use super::rule::Rule;
use crate::connection::Dialect;
use crate::connection::types::ColumnType;
use crate::error::{Error, ErrorKind, Result};

/// A column as it comes, with its type.
pub(super) type IncomingColumn = (String, ColumnType);

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
    fn new(column: &CatalogColumn, kind: &ColumnType, rule: Option<Rule>) -> Self {
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

/// What comes, as the columns of a file or of a table say it.
///
/// # Errors
/// There are none, or databases have no type for some: all of these are named.
pub(super) fn incoming_columns(columns: &ArrowSchema) -> Result<Vec<IncomingColumn>> {
    if columns.is_empty() {
        let error = Error::new(
            ErrorKind::Flow,
            "its home has no columns, and a table has some",
        );
        return Err(error.with_hint("a store of files takes rows without columns"));
    }
    let (mut coming, mut unknown) = (Vec::new(), Vec::new());
    for Field { name, dtype, .. } in columns.iter_values() {
        match type_from_arrow(dtype) {
            Some((kind, _)) => coming.push((name.to_string(), kind)),
            None => unknown.push(format!(
                "column {name} is {}, which has no place in a table",
                describe_type(dtype)
            )),
        }
    }
    if unknown.is_empty() {
        return Ok(coming);
    }
    let hint = "databases have no type that holds it exactly: give the home files without it";
    Err(Error::new(ErrorKind::Flow, unknown.join("; ")).with_hint(hint))
}

/// A type that no column of a table has, in words.
fn describe_type(dtype: &ArrowDataType) -> String {
    use ArrowDataType as T;
    match dtype {
        T::Null => "null in every row, of no type".into(),
        T::Duration(_) => "a duration".into(),
        T::Struct(_) => "a group of fields".into(),
        T::Map(..) => "a map".into(),
        T::FixedSizeList(..) => "a list of a fixed number of elements".into(),
        T::LargeList(element) => match &element.dtype {
            T::LargeList(_) => "a list of lists".into(),
            dtype => format!("a list, of which each element is {}", describe_type(dtype)),
        },
        dtype => format!("{dtype:?}"),
    }
}

/// The type of a column that holds the values exactly; `None` where there is none.
pub(super) fn declared_type(dialect: Dialect, kind: &ColumnType, is_key: bool) -> Option<String> {
    let word = match (dialect, kind) {
        (_, ColumnType::Boolean) => "boolean",
        // The next wider type.
        (Dialect::Postgres, ColumnType::Int8 | ColumnType::UInt8) => "smallint",
        (Dialect::Postgres, ColumnType::UInt16) => "integer",
        (Dialect::Postgres, ColumnType::UInt32) => "bigint",
        (Dialect::Postgres, ColumnType::UInt64) => "numeric(20,0)",
        (Dialect::MySql, ColumnType::Int8) => "tinyint",
        (Dialect::MySql, ColumnType::UInt8) => "tinyint unsigned",
        (_, ColumnType::Int16) => "smallint",
        (Dialect::MySql, ColumnType::UInt16) => "smallint unsigned",
        (Dialect::Postgres | Dialect::MySql, ColumnType::Int32) => "integer",
        (Dialect::MySql, ColumnType::UInt32) => "integer unsigned",
        (_, ColumnType::Int64) => "bigint",
        (Dialect::MySql, ColumnType::UInt64) => "bigint unsigned",
        (Dialect::Sqlite, ColumnType::Int8) => "tinyint",
        (Dialect::Sqlite, ColumnType::UInt8) => "tinyint unsigned",
        (Dialect::Sqlite, ColumnType::UInt16) => "smallint unsigned",
        (Dialect::Sqlite, ColumnType::Int32) => "int4",
        (Dialect::Sqlite, ColumnType::UInt32) => "int4 unsigned",
        (Dialect::Sqlite, ColumnType::UInt64) => "bigint unsigned",
        (Dialect::Postgres, ColumnType::Float32) => "real",
        (Dialect::MySql, ColumnType::Float32) => "float",
        (Dialect::Sqlite, ColumnType::Float32) => "float4",
        (Dialect::MySql, ColumnType::Float64) => "double",
        (_, ColumnType::Float64) => "double precision",
        // A number with a point has fifteen digits in SQLite.
        (Dialect::Sqlite, ColumnType::Decimal { precision, scale }) if *precision > 15 => {
            return Some(format!("decimal_text({precision},{scale})"));
        }
        (Dialect::MySql, ColumnType::Decimal { scale, .. }) if *scale > 30 => return None,
        (_, ColumnType::Decimal { precision, scale }) => {
            return Some(format!("decimal({precision},{scale})"));
        }
        (Dialect::MySql, ColumnType::Text) if is_key => "varchar(255)",
        (Dialect::MySql, ColumnType::Text) => "longtext",
        (_, ColumnType::Text) => "text",
        (Dialect::Postgres, ColumnType::Binary) => "bytea",
        (Dialect::MySql, ColumnType::Binary) if is_key => "varbinary(255)",
        (Dialect::MySql, ColumnType::Binary) => "longblob",
        (Dialect::Sqlite, ColumnType::Binary) => "blob",
        (_, ColumnType::Date) => "date",
        (Dialect::Sqlite, ColumnType::Time) => "time",
        (_, ColumnType::Time) => "time(6)",
        (Dialect::Postgres, ColumnType::Timestamp) => "timestamp(6)",
        (Dialect::MySql, ColumnType::Timestamp) => "datetime(6)",
        (Dialect::Sqlite, ColumnType::Timestamp) => "datetime",
        (Dialect::Postgres, ColumnType::TimestampUtc) => "timestamp(6) with time zone",
        // Without NULL, one column of this type would be set to the time of each change.
        (Dialect::MySql, ColumnType::TimestampUtc) => "timestamp(6) NULL DEFAULT NULL",
        (Dialect::Sqlite, ColumnType::TimestampUtc) => "timestamptz",
        (Dialect::Postgres, ColumnType::List(inner)) => {
            return declared_type(dialect, inner, false).map(|inner| format!("{inner}[]"));
        }
        (_, ColumnType::List(_)) => return None,
    };
    Some(word.to_string())
}

/// What rows are told apart by comes.
///
/// # Errors
/// A column of the key does not.
pub(super) fn check_key(store: &SqlStore, coming: &[IncomingColumn]) -> Result<()> {
    match store
        .key
        .iter()
        .find(|key| !coming.iter().any(|(name, _)| name == *key))
    {
        None => Ok(()),
        Some(key) => {
            let error = format!(
                "the key of table {} has the column {key}, which does not come",
                store.relation
            );
            Err(Error::new(ErrorKind::Flow, error).with_hint("check key of the store"))
        }
    }
}

/// What is said of columns whose type is wider in a table that is made.
pub(super) fn remarks(
    store: &SqlStore,
    dialect: Dialect,
    made: &[IncomingColumn],
    coming: &[IncomingColumn],
) -> Vec<String> {
    let is_wider = |kind: &ColumnType| {
        dialect == Dialect::Postgres
            && matches!(
                kind,
                ColumnType::Int8
                    | ColumnType::UInt8
                    | ColumnType::UInt16
                    | ColumnType::UInt32
                    | ColumnType::UInt64
            )
    };
    let made = made
        .iter()
        .filter(|(name, kind)| is_wider(kind) && !store.columns.contains_key(name));
    let remark = |(name, kind): &IncomingColumn| {
        let declared = declared_type(dialect, kind, false).unwrap_or_default();
        format!(
            "column {name} is {kind}, and becomes {declared} in table {}: the next wider type of {}",
            store.relation,
            dialect.name()
        )
    };
    let absent = store
        .columns
        .keys()
        .filter(|name| !coming.iter().any(|(coming, _)| coming == *name));
    let absent = absent.map(|name| {
        format!("columns of the store gives column {name} a type, and no such column comes")
    });
    made.map(remark).chain(absent).collect()
}

/// The statement that makes the table.
///
/// # Errors
/// Columns that the database has no type for: all of them are named.
pub(super) fn create_statement(
    store: &SqlStore,
    dialect: Dialect,
    relation: &str,
    collation: Option<&str>,
    coming: &[IncomingColumn],
) -> Result<String> {
    let columns = definitions(store, dialect, coming)?;
    let mut lines: Vec<String> = columns
        .into_iter()
        .map(|(name, definition)| {
            let is_key = store.key.contains(&name) && !store.columns.contains_key(&name);
            format!(
                "{} {definition}{}",
                dialect.quote_name(&name),
                if is_key { " NOT NULL" } else { "" }
            )
        })
        .collect();
    if !store.key.is_empty() {
        let key: Vec<String> = store
            .key
            .iter()
            .map(|column| dialect.quote_name(column))
            .collect();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    // Texts are compared by their bytes; whatever the server's own engine is, this one has
    // transactions.
    let rest = match collation {
        Some(collation) if dialect == Dialect::MySql => {
            format!(" ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation}")
        }
        _ => String::new(),
    };
    Ok(format!(
        "CREATE TABLE {relation} ({}){rest}",
        lines.join(", ")
    ))
}

/// The columns with their types, as they stand in a statement.
///
/// # Errors
/// Columns that the database has no type for: all of them are named.
pub(super) fn definitions(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[IncomingColumn],
) -> Result<Vec<(String, String)>> {
    let mut misfits = ColumnErrors::new(store);
    let mut definitions = Vec::new();
    for (name, kind) in coming {
        let own = declared_type(dialect, kind, store.key.contains(name));
        match store.columns.get(name).cloned().or(own) {
            Some(declared) => definitions.push((name.clone(), declared)),
            None => misfits.add(name, kind, "the database has no type that holds it exactly"),
        }
    }
    check_names(dialect, coming, &[], &mut misfits);
    misfits.finish()?;
    Ok(definitions)
}

/// What comes and what a table has; and those that it does not have.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) fn match_columns(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[IncomingColumn],
    table: &CatalogTable,
) -> Result<(Vec<TargetColumn>, Vec<IncomingColumn>)> {
    if let Some(refused) = &table.refusal {
        let error = format!("table {} {refused}", store.relation);
        return Err(Error::new(ErrorKind::Flow, error)
            .with_hint("choose another table, or change this one: ALTER TABLE … ENGINE = InnoDB"));
    }
    // Elsewhere, names that differ by case are one column.
    let key = |name: &str| {
        if dialect == Dialect::Postgres {
            name.to_string()
        } else {
            name.to_lowercase()
        }
    };
    let known: BTreeMap<String, &CatalogColumn> = table
        .columns
        .iter()
        .map(|column| (key(&column.name), column))
        .collect();
    let (mut targets, mut missing, mut misfits) =
        (Vec::new(), Vec::new(), ColumnErrors::new(store));
    for (name, kind) in coming {
        let Some(column) = known.get(&key(name)) else {
            missing.push((name.clone(), kind.clone()));
            continue;
        };
        if column.is_computed {
            misfits.add(
                name,
                kind,
                "the database computes it there (leave it out by columns of the home)",
            );
            continue;
        }
        match column.storage.rule_for(kind) {
            Ok(rule) => targets.push(TargetColumn::new(column, kind, rule)),
            Err(()) => misfits.add(name, kind, &format!("it is {} there", column.declared_type)),
        }
    }
    check_names(dialect, coming, &table.columns, &mut misfits);
    misfits.finish()?;
    Ok((targets, missing))
}

/// What a table needs of each row comes, or something may give it a value.
///
/// # Errors
/// Columns that do not come: all of them are named.
pub(super) fn check_required(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[IncomingColumn],
    table: &CatalogTable,
) -> Result<()> {
    let is_same = |one: &str, other: &str| {
        if dialect == Dialect::Postgres {
            one == other
        } else {
            one.eq_ignore_ascii_case(other)
        }
    };
    let comes = |column: &CatalogColumn| coming.iter().any(|(name, _)| is_same(name, &column.name));
    let needed = table
        .columns
        .iter()
        .filter(|column| column.is_required && !table.has_triggers && !comes(column));
    let said = |column: &CatalogColumn| {
        format!(
            "column {} of table {} takes no null and has no default, and does not come",
            column.name, store.relation
        )
    };
    let list: Vec<String> = needed.map(said).collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Flow, list.join("; "))
        .with_hint("let it come from the home, or give the column a default by hand"))
}

/// Names that the database would take for others, or would keep as others.
fn check_names(
    dialect: Dialect,
    coming: &[IncomingColumn],
    there: &[CatalogColumn],
    misfits: &mut ColumnErrors<'_>,
) {
    const LONGEST: usize = 63;
    let comes: BTreeSet<&str> = coming.iter().map(|(name, _)| name.as_str()).collect();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, kind) in coming {
        match seen.insert(name.to_lowercase(), name) {
            Some(other) if dialect != Dialect::Postgres => {
                misfits.add(
                    name,
                    kind,
                    &format!("{} takes it and {other} for one column", dialect.name()),
                );
            }
            _ => {}
        }
        if dialect == Dialect::Postgres && name.len() > LONGEST {
            misfits.add(
                name,
                kind,
                &format!(
                    "PostgreSQL keeps {LONGEST} bytes of a name, and this one has {}",
                    name.len()
                ),
            );
        }
        let is_nearly = |column: &&CatalogColumn| {
            column.name != *name
                && column.name.to_lowercase() == name.to_lowercase()
                && !comes.contains(column.name.as_str())
        };
        let is_there = there.iter().any(|column| column.name == *name);
        if let (Dialect::Postgres, false, Some(column)) =
            (dialect, is_there, there.iter().find(is_nearly))
        {
            misfits.add(
                name,
                kind,
                &format!("the table has {}, which is another name", column.name),
            );
        }
    }
}

/// Columns that cannot be stored, each in words.
#[derive(Debug)]
struct ColumnErrors<'s> {
    store: &'s SqlStore,
    list: Vec<String>,
}

impl<'s> ColumnErrors<'s> {
    fn new(store: &'s SqlStore) -> Self {
        Self {
            store,
            list: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, kind: &ColumnType, why: &str) {
        self.list.push(format!(
            "column {name} is {kind}, which has no place in table {}: {why}",
            self.store.relation
        ));
    }

    fn finish(self) -> Result<()> {
        if self.list.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Flow, self.list.join("; "))
            .with_hint("columns of the store gives a column of a new table another type; a table that is there may be altered by hand"))
    }
}

/// A column that cannot be stored.
pub(super) fn unstorable_columns(store: &SqlStore, missing: &[IncomingColumn], why: &str) -> Error {
    let mut misfits = ColumnErrors::new(store);
    missing
        .iter()
        .for_each(|(name, kind)| misfits.add(name, kind, why));
    let found = misfits.finish().err();
    found.unwrap_or_else(|| {
        Error::new(
            ErrorKind::Flow,
            format!("no column comes to table {}", store.relation),
        )
    })
}
