//! Columns of a table: which types hold what comes exactly, and whether a table that is there holds
//! it.

use std::collections::{BTreeMap, BTreeSet};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::SqlStore;
use super::catalog::{Column, Holds, Table, Wire};
use super::cells::{Cell, type_of};
use super::rule::Rule;
use crate::connection::Dialect;
use crate::connection::types::Type;
use crate::error::{Error, ErrorKind, Result};

/// A column as it comes, with its type.
pub(super) type Coming = (String, Type);

/// A column as it comes and as the table has it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// What comes.
    pub(super) kind: Type,
    /// The table's type, in the database's words.
    pub(super) declared: String,
    /// What a value must be like, where the column does not hold all that may come.
    pub(super) rule: Option<Rule>,
    pub(super) takes_null: bool,
    pub(super) is_numbered: bool,
    pub(super) folds: bool,
    pub(super) holds: Holds,
    pub(super) wire: Wire,
}

impl Target {
    fn new(column: &Column, kind: &Type, rule: Option<Rule>) -> Self {
        Self {
            name: column.name.clone(),
            kind: kind.clone(),
            declared: column.declared.clone(),
            rule,
            takes_null: column.takes_null,
            is_numbered: column.is_numbered,
            folds: column.folds,
            holds: column.holds.clone(),
            // Lists of types of the database's own come as texts too.
            wire: if *kind == Type::Text {
                Wire::Text
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
            _ if *cell == Cell::Null && !self.takes_null => {
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
pub(super) fn coming(columns: &ArrowSchema) -> Result<Vec<Coming>> {
    if columns.is_empty() {
        let error = Error::new(
            ErrorKind::Flow,
            "its home has no columns, and a table has some",
        );
        return Err(error.with_hint("a store of files takes rows without columns"));
    }
    let (mut coming, mut unknown) = (Vec::new(), Vec::new());
    for Field { name, dtype, .. } in columns.iter_values() {
        match type_of(dtype) {
            Some((kind, _)) => coming.push((name.to_string(), kind)),
            None => unknown.push(format!(
                "column {name} is {}, which has no place in a table",
                words(dtype)
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
fn words(dtype: &ArrowDataType) -> String {
    use ArrowDataType as T;
    match dtype {
        T::Null => "null in every row, of no type".into(),
        T::Duration(_) => "a duration".into(),
        T::Struct(_) => "a group of fields".into(),
        T::Map(..) => "a map".into(),
        T::FixedSizeList(..) => "a list of a fixed number of elements".into(),
        T::LargeList(element) => match &element.dtype {
            T::LargeList(_) => "a list of lists".into(),
            dtype => format!("a list, of which each element is {}", words(dtype)),
        },
        dtype => format!("{dtype:?}"),
    }
}

/// The type of a column that holds the values exactly; `None` where there is none.
pub(super) fn declared(dialect: Dialect, kind: &Type, is_key: bool) -> Option<String> {
    let word = match (dialect, kind) {
        (_, Type::Boolean) => "boolean",
        // The next wider type.
        (Dialect::Postgres, Type::Int8 | Type::UInt8) => "smallint",
        (Dialect::Postgres, Type::UInt16) => "integer",
        (Dialect::Postgres, Type::UInt32) => "bigint",
        (Dialect::Postgres, Type::UInt64) => "numeric(20,0)",
        (Dialect::MySql, Type::Int8) => "tinyint",
        (Dialect::MySql, Type::UInt8) => "tinyint unsigned",
        (_, Type::Int16) => "smallint",
        (Dialect::MySql, Type::UInt16) => "smallint unsigned",
        (Dialect::Postgres | Dialect::MySql, Type::Int32) => "integer",
        (Dialect::MySql, Type::UInt32) => "integer unsigned",
        (_, Type::Int64) => "bigint",
        (Dialect::MySql, Type::UInt64) => "bigint unsigned",
        (Dialect::Sqlite, Type::Int8) => "tinyint",
        (Dialect::Sqlite, Type::UInt8) => "tinyint unsigned",
        (Dialect::Sqlite, Type::UInt16) => "smallint unsigned",
        (Dialect::Sqlite, Type::Int32) => "int4",
        (Dialect::Sqlite, Type::UInt32) => "int4 unsigned",
        (Dialect::Sqlite, Type::UInt64) => "bigint unsigned",
        (Dialect::Postgres, Type::Float32) => "real",
        (Dialect::MySql, Type::Float32) => "float",
        (Dialect::Sqlite, Type::Float32) => "float4",
        (Dialect::MySql, Type::Float64) => "double",
        (_, Type::Float64) => "double precision",
        // A number with a point has fifteen digits in SQLite.
        (Dialect::Sqlite, Type::Decimal { precision, scale }) if *precision > 15 => {
            return Some(format!("decimal_text({precision},{scale})"));
        }
        (Dialect::MySql, Type::Decimal { scale, .. }) if *scale > 30 => return None,
        (_, Type::Decimal { precision, scale }) => {
            return Some(format!("decimal({precision},{scale})"));
        }
        (Dialect::MySql, Type::Text) if is_key => "varchar(255)",
        (Dialect::MySql, Type::Text) => "longtext",
        (_, Type::Text) => "text",
        (Dialect::Postgres, Type::Binary) => "bytea",
        (Dialect::MySql, Type::Binary) if is_key => "varbinary(255)",
        (Dialect::MySql, Type::Binary) => "longblob",
        (Dialect::Sqlite, Type::Binary) => "blob",
        (_, Type::Date) => "date",
        (Dialect::Sqlite, Type::Time) => "time",
        (_, Type::Time) => "time(6)",
        (Dialect::Postgres, Type::Timestamp) => "timestamp(6)",
        (Dialect::MySql, Type::Timestamp) => "datetime(6)",
        (Dialect::Sqlite, Type::Timestamp) => "datetime",
        (Dialect::Postgres, Type::TimestampUtc) => "timestamp(6) with time zone",
        // Without NULL, one column of this type would be set to the time of each change.
        (Dialect::MySql, Type::TimestampUtc) => "timestamp(6) NULL DEFAULT NULL",
        (Dialect::Sqlite, Type::TimestampUtc) => "timestamptz",
        (Dialect::Postgres, Type::List(inner)) => {
            return declared(dialect, inner, false).map(|inner| format!("{inner}[]"));
        }
        (_, Type::List(_)) => return None,
    };
    Some(word.to_string())
}

/// What rows are told apart by comes.
///
/// # Errors
/// A column of the key does not.
pub(super) fn check_key(store: &SqlStore, coming: &[Coming]) -> Result<()> {
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
    made: &[Coming],
    coming: &[Coming],
) -> Vec<String> {
    let is_wider = |kind: &Type| {
        dialect == Dialect::Postgres
            && matches!(
                kind,
                Type::Int8 | Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64
            )
    };
    let made = made
        .iter()
        .filter(|(name, kind)| is_wider(kind) && !store.columns.contains_key(name));
    let remark = |(name, kind): &Coming| {
        let declared = declared(dialect, kind, false).unwrap_or_default();
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
pub(super) fn create(
    store: &SqlStore,
    dialect: Dialect,
    relation: &str,
    collation: Option<&str>,
    coming: &[Coming],
) -> Result<String> {
    let columns = definitions(store, dialect, coming)?;
    let mut lines: Vec<String> = columns
        .into_iter()
        .map(|(name, definition)| {
            let is_key = store.key.contains(&name) && !store.columns.contains_key(&name);
            format!(
                "{} {definition}{}",
                dialect.quoted(&name),
                if is_key { " NOT NULL" } else { "" }
            )
        })
        .collect();
    if !store.key.is_empty() {
        let key: Vec<String> = store
            .key
            .iter()
            .map(|column| dialect.quoted(column))
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
    coming: &[Coming],
) -> Result<Vec<(String, String)>> {
    let mut misfits = Misfits::new(store);
    let mut definitions = Vec::new();
    for (name, kind) in coming {
        let own = declared(dialect, kind, store.key.contains(name));
        match store.columns.get(name).cloned().or(own) {
            Some(declared) => definitions.push((name.clone(), declared)),
            None => misfits.add(name, kind, "the database has no type that holds it exactly"),
        }
    }
    names(dialect, coming, &[], &mut misfits);
    misfits.finish()?;
    Ok(definitions)
}

/// What comes and what a table has; and those that it does not have.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) fn matched(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[Coming],
    table: &Table,
) -> Result<(Vec<Target>, Vec<Coming>)> {
    if let Some(refused) = &table.refused {
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
    let known: BTreeMap<String, &Column> = table
        .columns
        .iter()
        .map(|column| (key(&column.name), column))
        .collect();
    let (mut targets, mut missing, mut misfits) = (Vec::new(), Vec::new(), Misfits::new(store));
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
        match column.holds.fit(kind) {
            Ok(rule) => targets.push(Target::new(column, kind, rule)),
            Err(()) => misfits.add(name, kind, &format!("it is {} there", column.declared)),
        }
    }
    names(dialect, coming, &table.columns, &mut misfits);
    misfits.finish()?;
    Ok((targets, missing))
}

/// What a table needs of each row comes, or something may give it a value.
///
/// # Errors
/// Columns that do not come: all of them are named.
pub(super) fn check_needed(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[Coming],
    table: &Table,
) -> Result<()> {
    let is_same = |one: &str, other: &str| {
        if dialect == Dialect::Postgres {
            one == other
        } else {
            one.eq_ignore_ascii_case(other)
        }
    };
    let comes = |column: &Column| coming.iter().any(|(name, _)| is_same(name, &column.name));
    let needed = table
        .columns
        .iter()
        .filter(|column| column.is_needed && !table.has_triggers && !comes(column));
    let said = |column: &Column| {
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
fn names(dialect: Dialect, coming: &[Coming], there: &[Column], misfits: &mut Misfits<'_>) {
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
        let is_nearly = |column: &&Column| {
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
struct Misfits<'s> {
    store: &'s SqlStore,
    list: Vec<String>,
}

impl<'s> Misfits<'s> {
    fn new(store: &'s SqlStore) -> Self {
        Self {
            store,
            list: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, kind: &Type, why: &str) {
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
pub(super) fn no_place(store: &SqlStore, missing: &[Coming], why: &str) -> Error {
    let mut misfits = Misfits::new(store);
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
