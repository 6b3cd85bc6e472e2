//! Columns of a table: which types hold what comes exactly, and whether a table that is there holds
//! it.

use std::collections::{BTreeMap, BTreeSet};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::SqlStore;
use super::catalog::{CatalogColumn, CatalogTable};
use super::cells::type_from_arrow;
use super::engine::WriteEngine;
use super::target::TargetColumn;
use crate::connection::types::ColumnType;
use crate::error::{Error, ErrorKind, Result};

/// A column as it comes, with its type.
pub(super) type IncomingColumn = (String, ColumnType);

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
    engine: &dyn WriteEngine,
    made: &[IncomingColumn],
    coming: &[IncomingColumn],
) -> Vec<String> {
    let made = made
        .iter()
        .filter(|(name, kind)| engine.widens(kind) && !store.columns.contains_key(name));
    let remark = |(name, kind): &IncomingColumn| {
        let declared = engine.declared_type(kind, false).unwrap_or_default();
        format!(
            "column {name} is {kind}, and becomes {declared} in table {}: \
             the next wider type of {}",
            store.relation,
            engine.dialect().name()
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
    engine: &dyn WriteEngine,
    relation: &str,
    collation: Option<&str>,
    coming: &[IncomingColumn],
) -> Result<String> {
    let columns = definitions(store, engine, coming)?;
    let mut lines: Vec<String> = columns
        .into_iter()
        .map(|(name, definition)| {
            let is_key = store.key.contains(&name) && !store.columns.contains_key(&name);
            format!(
                "{} {definition}{}",
                engine.dialect().quote_name(&name),
                if is_key { " NOT NULL" } else { "" }
            )
        })
        .collect();
    if !store.key.is_empty() {
        let key: Vec<String> = store
            .key
            .iter()
            .map(|column| engine.dialect().quote_name(column))
            .collect();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let rest = engine.table_options(collation);
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
    engine: &dyn WriteEngine,
    coming: &[IncomingColumn],
) -> Result<Vec<(String, String)>> {
    let mut misfits = ColumnErrors::new(store);
    let mut definitions = Vec::new();
    for (name, kind) in coming {
        let own = engine.declared_type(kind, store.key.contains(name));
        match store.columns.get(name).cloned().or(own) {
            Some(declared) => definitions.push((name.clone(), declared)),
            None => misfits.add(name, kind, "the database has no type that holds it exactly"),
        }
    }
    check_names(engine, coming, &[], &mut misfits);
    misfits.finish()?;
    Ok(definitions)
}

/// What comes and what a table has; and those that it does not have.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) fn match_columns(
    store: &SqlStore,
    engine: &dyn WriteEngine,
    coming: &[IncomingColumn],
    table: &CatalogTable,
) -> Result<(Vec<TargetColumn>, Vec<IncomingColumn>)> {
    if let Some(refused) = &table.refusal {
        let error = format!("table {} {refused}", store.relation);
        return Err(Error::new(ErrorKind::Flow, error)
            .with_hint("choose another table, or change this one: ALTER TABLE … ENGINE = InnoDB"));
    }
    let known: BTreeMap<String, &CatalogColumn> = table
        .columns
        .iter()
        .map(|column| (folded_name(engine, &column.name), column))
        .collect();
    let (mut targets, mut missing, mut misfits) =
        (Vec::new(), Vec::new(), ColumnErrors::new(store));
    for (name, kind) in coming {
        let Some(column) = known.get(&folded_name(engine, name)) else {
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
    check_names(engine, coming, &table.columns, &mut misfits);
    misfits.finish()?;
    Ok((targets, missing))
}

/// A name as the database tells columns apart: most take names that differ by case for one.
fn folded_name(engine: &dyn WriteEngine, name: &str) -> String {
    if engine.has_case_sensitive_names() {
        name.to_string()
    } else {
        name.to_lowercase()
    }
}

/// The column of a table that has this name.
pub(super) fn find_column<'t>(
    engine: &dyn WriteEngine,
    table: &'t CatalogTable,
    name: &str,
) -> Option<&'t CatalogColumn> {
    let name = folded_name(engine, name);
    let mut columns = table.columns.iter();
    columns.find(|column| folded_name(engine, &column.name) == name)
}

/// What a table needs of each row comes, or something may give it a value.
///
/// # Errors
/// Columns that do not come: all of them are named.
pub(super) fn check_required(
    store: &SqlStore,
    engine: &dyn WriteEngine,
    coming: &[IncomingColumn],
    table: &CatalogTable,
) -> Result<()> {
    let is_same = |one: &str, other: &str| {
        if engine.has_case_sensitive_names() {
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
    engine: &dyn WriteEngine,
    coming: &[IncomingColumn],
    there: &[CatalogColumn],
    misfits: &mut ColumnErrors<'_>,
) {
    let comes: BTreeSet<&str> = coming.iter().map(|(name, _)| name.as_str()).collect();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, kind) in coming {
        match seen.insert(name.to_lowercase(), name) {
            Some(other) if !engine.has_case_sensitive_names() => {
                misfits.add(
                    name,
                    kind,
                    &format!(
                        "{} takes it and {other} for one column",
                        engine.dialect().name()
                    ),
                );
            }
            _ => {}
        }
        if let Some(longest) = engine
            .longest_name()
            .filter(|longest| name.len() > *longest)
        {
            misfits.add(
                name,
                kind,
                &format!(
                    "{} keeps {longest} bytes of a name, and this one has {}",
                    engine.dialect().name(),
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
        if engine.has_case_sensitive_names()
            && !is_there
            && let Some(column) = there.iter().find(is_nearly)
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
        self.list.push(describe_misfit(self.store, name, kind, why));
    }

    fn finish(self) -> Result<()> {
        misfit_error(self.list)
    }
}

/// Why a column has no place in its table, in words.
pub(super) fn describe_misfit(
    store: &SqlStore,
    name: &str,
    kind: &ColumnType,
    why: &str,
) -> String {
    let table = &store.relation;
    format!("column {name} is {kind}, which has no place in table {table}: {why}")
}

/// Fails where there are columns that have no place.
///
/// # Errors
/// All of them, as they are described.
pub(super) fn misfit_error(misfits: Vec<String>) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Flow, misfits.join("; ")).with_hint(
        "columns of the store gives a column of a new table another type; a table that is there \
         may be altered by hand",
    ))
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
