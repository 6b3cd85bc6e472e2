//! Columns of a table: which types hold values exactly, and whether a table that is there can take them.

use std::collections::BTreeMap;

use super::SqlStore;
use crate::connection::Dialect;
use crate::connection::types::{Column, Type};
use crate::error::{Error, ErrorKind};

/// Columns as they come, with their types.
pub(super) type Coming = Vec<(String, Type)>;

/// A column as it comes and as the table has it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// What comes.
    pub(super) kind: Type,
    /// The table's type, in the database's words.
    pub(super) declared: String,
    /// True where what comes is what the table has, bit for bit.
    pub(super) is_same: bool,
}

/// The type of a column that holds the values exactly; `None` where there is none.
pub(super) fn declared(dialect: Dialect, kind: &Type, is_key: bool) -> Option<String> {
    let word = match (dialect, kind) {
        (_, Type::Boolean) => "boolean",
        (Dialect::Postgres, Type::Int8 | Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64) => return None,
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
        (_, Type::Decimal { precision, scale }) => return Some(format!("decimal({precision},{scale})")),
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
        (Dialect::Postgres, Type::List(inner)) => return declared(dialect, inner, false).map(|inner| format!("{inner}[]")),
        (_, Type::List(_)) => return None,
    };
    Some(word.to_string())
}

/// The columns of a table that is made.
pub(super) fn made(store: &SqlStore, dialect: Dialect, coming: &[(String, Type)]) -> Result<Vec<Target>, Error> {
    let target = |(name, kind): &(String, Type)| {
        let is_key = store.key.contains(name);
        let own = declared(dialect, kind, is_key);
        let wanted = store.columns.get(name).cloned();
        let is_same = wanted.is_none();
        let declared = wanted.or(own).ok_or_else(|| no_place(store, name, kind, "the database has no type that holds it exactly"))?;
        Ok(Target { name: name.clone(), kind: kind.clone(), declared, is_same })
    };
    coming.iter().map(target).collect()
}

/// The statement that makes the table.
pub(super) fn create(store: &SqlStore, dialect: Dialect, targets: &[Target]) -> String {
    let mut lines: Vec<String> = targets
        .iter()
        .map(|target| {
            let is_key = store.key.contains(&target.name) && target.is_same;
            format!("{} {}{}", dialect.quoted(&target.name), target.declared, if is_key { " NOT NULL" } else { "" })
        })
        .collect();
    if !store.key.is_empty() {
        let key: Vec<String> = store.key.iter().map(|column| dialect.quoted(column)).collect();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    // Texts are compared by their bytes.
    let rest = if dialect == Dialect::MySql { " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" } else { "" };
    format!("CREATE TABLE {} ({}){rest}", store.relation.from(dialect), lines.join(", "))
}

/// What comes and what a table has; and those that it does not have.
pub(super) fn matched(
    store: &SqlStore,
    dialect: Dialect,
    coming: &[(String, Type)],
    there: &[Column],
) -> Result<(Vec<Target>, Coming), Error> {
    let known: BTreeMap<&str, &Column> = there.iter().map(|column| (column.name.as_str(), column)).collect();
    let (mut targets, mut missing) = (Vec::new(), Vec::new());
    for (name, kind) in coming {
        let Some(column) = known.get(name.as_str()) else {
            missing.push((name.clone(), kind.clone()));
            continue;
        };
        let is_same = !column.as_text && column.kind == *kind;
        if !is_same && !takes(dialect, column, kind) {
            return Err(no_place(store, name, kind, &format!("it is {} there", column.declared)));
        }
        targets.push(Target { name: name.clone(), kind: kind.clone(), declared: column.declared.clone(), is_same });
    }
    Ok((targets, missing))
}

/// True where the database takes each value exactly, or refuses it.
fn takes(dialect: Dialect, column: &Column, kind: &Type) -> bool {
    if column.as_text {
        return *kind == Type::Text;
    }
    let is_checked = dialect != Dialect::Sqlite;
    match (kind, &column.kind) {
        (from, to) if is_whole(from) && is_whole(to) => is_checked || (width(from) <= width(to) && (is_signed(to) || !is_signed(from))),
        (Type::Boolean, Type::Int8) | (Type::Int8, Type::Boolean) => dialect == Dialect::MySql,
        (from, Type::Decimal { precision, scale }) if is_whole(from) => precision - scale >= 20,
        (Type::Float32, Type::Float64) => true,
        (Type::Decimal { precision: p, scale: s }, Type::Decimal { precision, scale }) => scale >= s && precision - scale >= p - s,
        _ => false,
    }
}

fn is_whole(kind: &Type) -> bool {
    width(kind) > 0
}

fn is_signed(kind: &Type) -> bool {
    width(kind) % 8 == 7
}

/// The bits of a whole number that are not its sign.
fn width(kind: &Type) -> u32 {
    match kind {
        Type::Int8 => 7,
        Type::UInt8 => 8,
        Type::Int16 => 15,
        Type::UInt16 => 16,
        Type::Int32 => 31,
        Type::UInt32 => 32,
        Type::Int64 => 63,
        Type::UInt64 => 64,
        _ => 0,
    }
}

/// A column that cannot be stored.
pub(super) fn no_place(store: &SqlStore, name: &str, kind: &Type, why: &str) -> Error {
    let error = format!("column {name} is {kind}, which has no place in table {}: {why}", store.relation);
    Error::new(ErrorKind::Flow, error)
        .with_hint("columns of the store gives a column of a new table another type; a table that is there may be altered by hand")
}
