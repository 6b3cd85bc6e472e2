//! Rows of SQLite: what its tables declare, and its values, each of which may be of another type
//! than is declared.
//!
//! What is declared decides. Where nothing is, what is stored decides: see
//! <https://www.sqlite.org/datatype3.html>.

mod places;
mod values;

use std::collections::BTreeMap;

use super::answer::Described;
use super::misfit::{Misfit, ReadError};
use super::rows::Builder;
use super::{OnInvalid, OnMismatch, SqlError, SqlHome};
use crate::connection::Relation;
use crate::connection::session::Texts;
use crate::connection::stepping::{Rows, Value};
use crate::connection::types::{Column, MAX_PRECISION, Type};
use crate::connection::{ConnectionError, Database, Dialect, Failure, Session};
use crate::error::Result;

pub(super) use places::probe;
pub(super) use values::read;

use values::push;

/// Begins a transaction, for which functions of hygge's are at hand. Sessions are opened for
/// reading.
pub(super) async fn begin(session: &mut Session) -> Result<()> {
    let database = session.database().clone();
    let action = "begin a transaction";
    let added = session
        .with_handle(action, || true, |handle, _| places::add_functions(handle))
        .await?;
    added
        .unwrap_or(Ok(()))
        .map_err(|failure| failed(&database, action, failure))?;
    Ok(session.begin(action, "BEGIN", None).await?)
}

/// Calls `work` with the rows of a statement.
async fn with_rows<T>(
    session: &mut Session,
    action: &str,
    sql: &str,
    work: impl FnOnce(&mut Rows<'_, '_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let database = session.database().clone();
    let done = session.with_handle(
        action,
        || true,
        |handle, _| {
            let mut rows =
                Rows::new(handle, sql).map_err(|failure| failed(&database, action, failure))?;
            work(&mut rows)
        },
    );
    done.await?
        .unwrap_or_else(|| Err(SqlError::Protocol("it is no SQLite".into()).into()))
}

fn failed(database: &Database, action: &str, failure: Failure) -> ConnectionError {
    ConnectionError::Failed {
        connection: database.name.clone(),
        action: action.to_string(),
        failure,
    }
}

/// What a table or query has.
pub(super) async fn describe(home: &SqlHome, session: &mut Session) -> Result<Described> {
    let dialect = Dialect::Sqlite;
    let mut described = Described {
        columns: [].into(),
        all: Vec::new(),
        key: Vec::new(),
        order: Vec::new(),
        rowid: None,
        blocks: None,
    };
    let mut not_null: Vec<String> = Vec::new();
    let select = match &home.relation {
        Relation::Table(_) => format!("SELECT * FROM {}", home.relation.from(dialect)),
        Relation::Query(query) => query.clone(),
    };
    let mut place = None;
    if let Relation::Table(names) = &home.relation {
        let name = dialect.text(names.last().map_or("", String::as_str));
        let schema = if let [schema, _] = names.as_slice() {
            dialect.text(schema)
        } else {
            "'main'".into()
        };
        let found = format!(
            "SELECT type, wr FROM pragma_table_list WHERE schema = {schema} AND name = {name} COLLATE NOCASE"
        );
        let found = session.ask("find its table", &found).await?;
        let Some([Some(kind), Some(without_rowid)]) = found.first().map(Vec::as_slice) else {
            let (database, table) = (session.database().name.clone(), home.relation.to_string());
            return Err(SqlError::NoTable {
                database,
                table,
                near: None,
            }
            .into());
        };
        place = Some((name, schema, kind == "table", without_rowid == "1"));
    }
    let declared = told(session, &select).await?;
    if let Some((name, schema, is_ordinary, is_without_rowid)) = place {
        // Generated columns are columns too, and so are hidden ones of a virtual table, which no
        // other statement names.
        let info = format!(
            "SELECT name, type, \"notnull\" AND hidden = 0, pk FROM pragma_table_xinfo({name}, {schema}) ORDER BY pk, cid"
        );
        let info = session.ask("read its columns", &info).await?;
        let has = |wanted: &str| {
            info.iter().any(|row| {
                row[0]
                    .as_deref()
                    .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            })
        };
        let keys = info.iter().filter(|row| row[3].as_deref() != Some("0"));
        described.key = keys.clone().filter_map(|row| row[0].clone()).collect();
        not_null = info
            .iter()
            .filter(|row| row[2].as_deref() == Some("1"))
            .filter_map(|row| row[0].clone())
            .collect();
        if is_without_rowid || is_rowid(session, &info, &name, &schema).await? {
            not_null.extend(described.key.iter().cloned());
        }
        if is_ordinary && !is_without_rowid {
            described.rowid = ["rowid", "_rowid_", "oid"]
                .into_iter()
                .find(|name| !has(name))
                .map(String::from);
        }
        described.order = described
            .key
            .iter()
            .map(|column| dialect.quoted(column))
            .collect();
        if described.order.is_empty() {
            described.order.extend(described.rowid.clone());
        }
    }
    let unknown: Vec<usize> = (0..declared.len())
        .filter(|number| declared[*number].1.is_empty())
        .collect();
    let stored = if unknown.is_empty() {
        BTreeMap::new()
    } else {
        stored(session, &select, &unknown).await?
    };
    for (number, (name, declared)) in declared.into_iter().enumerate() {
        let (found, declared) = match stored.get(&number) {
            Some(stored) => (of_stored(home, &name, stored)?, stored.to_string()),
            None => (of_declared(&declared), declared),
        };
        let nullable = !not_null.contains(&name) || home.on_invalid == OnInvalid::Null;
        described
            .all
            .push(column(home, name, declared, found, nullable));
    }
    if home.on_mismatch == OnMismatch::Text {
        widen(home, session, &select, &mut described).await?;
    }
    Ok(described)
}

/// The columns of a statement, with the types that are declared for them.
async fn told(session: &mut Session, select: &str) -> Result<Vec<(String, String)>> {
    let (database, action) = (session.database().clone(), "understand its query");
    let columns = with_rows(session, action, select, |rows| {
        let column = |column| Ok((rows.name(column)?, rows.declared(column)));
        let columns: Result<Vec<_>, Failure> = (0..rows.width()).map(column).collect();
        columns.map_err(|failure| failed(&database, action, failure).into())
    });
    columns.await.map_err(ReadError::into_error)
}

/// True where the primary key is the rowid under another name, which is a number and never null.
/// Other keys of ordinary tables may be null. SQLite makes an index of each key but that one:
/// `INTEGER PRIMARY KEY DESC`, for one, is none.
async fn is_rowid(session: &mut Session, info: &Texts, name: &str, schema: &str) -> Result<bool> {
    let mut keys = info.iter().filter(|row| row[3].as_deref() != Some("0"));
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Ok(false);
    };
    if !key[1]
        .as_deref()
        .is_some_and(|declared| declared.eq_ignore_ascii_case("integer"))
    {
        return Ok(false);
    }
    let asked = format!("SELECT 1 FROM pragma_index_list({name}, {schema}) WHERE origin = 'pk'");
    Ok(session
        .ask("read its primary key", &asked)
        .await?
        .is_empty())
}

/// Which classes of values a column holds.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    integers: bool,
    reals: bool,
    texts: bool,
    blobs: bool,
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let classes = [
            ("integer", self.integers),
            ("real", self.reals),
            ("text", self.texts),
            ("blob", self.blobs),
        ];
        let found: Vec<&str> = classes
            .into_iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(class, _)| class)
            .collect();
        f.write_str(&if found.is_empty() {
            "null".to_string()
        } else {
            found.join(" and ")
        })
    }
}

/// Looks at all values of columns for which no type is declared.
async fn stored(
    session: &mut Session,
    select: &str,
    columns: &[usize],
) -> Result<BTreeMap<usize, Stored>> {
    let database = session.database().clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut stored: BTreeMap<usize, Stored> = columns
            .iter()
            .map(|column| (*column, Stored::default()))
            .collect();
        while rows
            .step()
            .map_err(|failure| failed(&database, "look at its values", failure))?
        {
            for (column, stored) in &mut stored {
                match rows
                    .value(*column)
                    .map_err(|failure| failed(&database, "look at its values", failure))?
                {
                    Value::Null => {}
                    Value::Integer(_) => stored.integers = true,
                    Value::Real(_) => stored.reals = true,
                    Value::Text(_) => stored.texts = true,
                    Value::Blob(_) => stored.blobs = true,
                }
            }
        }
        Ok(stored)
    });
    looked.await.map_err(ReadError::into_error)
}

/// The type of a column by what is stored in it.
fn of_stored(home: &SqlHome, name: &str, stored: &Stored) -> Result<Option<Type>, SqlError> {
    Ok(
        match (stored.integers, stored.reals, stored.texts, stored.blobs) {
            (true, false, false, false) => Some(Type::Int64),
            (_, true, false, false) => Some(Type::Float64),
            (false, false, _, false) => Some(Type::Text),
            (false, false, false, true) => Some(Type::Binary),
            _ if home.on_mismatch == OnMismatch::Text || home.types.contains_key(name) => None,
            _ => {
                return Err(SqlError::Value {
                    column: name.to_string(),
                    row: 0,
                    of: home.relation.to_string(),
                    reason: format!("it holds {stored}, and no type is declared for it"),
                    hint: "types of the home gives it one; on_mismatch: text makes it text",
                });
            }
        },
    )
}

/// What a declared type becomes; `None` for one that has no counterpart.
pub(super) fn of_declared(declared: &str) -> Option<Type> {
    let declared = declared.trim().to_ascii_uppercase();
    let (base, digits) = match declared.split_once('(') {
        Some((base, digits)) => (base.trim(), digits.split(')').next().unwrap_or_default()),
        None => (declared.as_str(), ""),
    };
    let is_unsigned = declared.contains("UNSIGNED");
    let whole = |signed: Type, unsigned: Type| Some(if is_unsigned { unsigned } else { signed });
    let has = |part: &str| base.contains(part);
    match base
        .split_whitespace()
        .find(|word| *word != "UNSIGNED")
        .unwrap_or_default()
    {
        "BOOL" | "BOOLEAN" => Some(Type::Boolean),
        "TINYINT" | "INT1" => whole(Type::Int8, Type::UInt8),
        "SMALLINT" | "INT2" => whole(Type::Int16, Type::UInt16),
        "MEDIUMINT" | "INT4" => whole(Type::Int32, Type::UInt32),
        "DATE" => Some(Type::Date),
        "DATETIME" => Some(Type::Timestamp),
        "TIMESTAMP" if declared.contains("WITH TIME ZONE") && !declared.contains("WITHOUT") => {
            Some(Type::TimestampUtc)
        }
        "TIMESTAMP" => Some(Type::Timestamp),
        "TIMESTAMPTZ" => Some(Type::TimestampUtc),
        "TIME" => Some(Type::Time),
        "FLOAT4" => Some(Type::Float32),
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DECIMAL_TEXT" => {
            let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            ((1..=MAX_PRECISION).contains(&precision) && scale <= precision)
                .then_some(Type::Decimal { precision, scale })
        }
        // As SQLite finds a column's affinity.
        _ if has("INT") => whole(Type::Int64, Type::UInt64),
        _ if has("CHAR") || has("CLOB") || has("TEXT") => Some(Type::Text),
        _ if has("BLOB") || has("BINARY") => Some(Type::Binary),
        _ if has("REAL") || has("FLOA") || has("DOUB") => Some(Type::Float64),
        _ => None,
    }
}

fn column(
    home: &SqlHome,
    name: String,
    declared: String,
    found: Option<Type>,
    nullable: bool,
) -> Column {
    let wanted = home.types.get(&name).cloned();
    let as_text = wanted.is_none() && found.is_none();
    // As text, every value has its own form.
    Column {
        as_text,
        kind: wanted.or(found).unwrap_or(Type::Text),
        name,
        declared,
        nullable,
    }
}

/// Makes text of the columns that hold a value which does not fit.
async fn widen(
    home: &SqlHome,
    session: &mut Session,
    select: &str,
    described: &mut Described,
) -> Result<()> {
    let database = session.database().clone();
    let all = described.all.clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut builders: Vec<Builder> = all
            .iter()
            .map(|column| Builder::new(&column.kind, 0))
            .collect();
        let mut unfit = vec![false; all.len()];
        let mut since = 0;
        while rows
            .step()
            .map_err(|failure| failed(&database, "look at its values", failure))?
        {
            for (number, builder) in builders
                .iter_mut()
                .enumerate()
                .filter(|(number, _)| !all[*number].as_text)
            {
                let value = rows
                    .value(number)
                    .map_err(|failure| failed(&database, "look at its values", failure))?;
                if !unfit[number]
                    && matches!(push(builder, &all[number], value), Err(Misfit::Unfit(_)))
                {
                    unfit[number] = true;
                }
            }
            since += 1;
            if since == SCRATCH_ROWS {
                builders = all
                    .iter()
                    .map(|column| Builder::new(&column.kind, 0))
                    .collect();
                since = 0;
            }
        }
        Ok(unfit)
    });
    let unfit = looked.await.map_err(ReadError::into_error)?;
    for (column, _) in described
        .all
        .iter_mut()
        .zip(unfit)
        .filter(|(_, is_unfit)| *is_unfit)
    {
        if !home.types.contains_key(&column.name) {
            (column.kind, column.as_text) = (Type::Text, true);
        }
    }
    Ok(())
}

/// How many rows are looked at before they are forgotten.
const SCRATCH_ROWS: usize = 1 << 12;
