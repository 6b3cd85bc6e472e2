//! Rows of SQLite: what its tables declare, and its values, each of which may be of another type than is declared.
//!
//! What is declared decides. Where nothing is, what is stored decides: see <https://www.sqlite.org/datatype3.html>.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::answer::Described;
use super::decimal;
use super::misfit::{Misfit, ReadError};
use super::rows::{Builder, Filling, Values};
use super::{OnInvalid, OnMismatch, SqlError, SqlHome};
use crate::connection::Relation;
use crate::connection::calendar::{self, DAY_MICROS};
use crate::connection::stepping::{Rows, Value};
use crate::connection::types::{Column, MAX_PRECISION, Type};
use crate::connection::{ConnectionError, Database, Dialect, Failure, Link, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::Batch;

/// Calls `work` with the rows of a statement. The thread may wait meanwhile.
async fn with_rows<T>(
    session: &mut Session,
    action: &str,
    sql: &str,
    work: impl FnOnce(&mut Rows<'_, '_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let database = session.database().clone();
    let Link::Sqlite(link) = &mut session.link else { return Err(SqlError::Protocol("it is no SQLite".into()).into()) };
    let mut handle = link.lock_handle().await.map_err(|error| database.failed(action, &error))?;
    tokio::task::block_in_place(|| {
        let mut rows = Rows::new(&mut handle, sql).map_err(|failure| failed(&database, action, failure))?;
        work(&mut rows)
    })
}

fn failed(database: &Database, action: &str, failure: Failure) -> ConnectionError {
    ConnectionError::Failed { connection: database.name.clone(), action: action.to_string(), failure }
}

/// What a table or query has.
pub(super) async fn describe(home: &SqlHome, session: &mut Session) -> Result<Described> {
    let dialect = Dialect::Sqlite;
    let mut described = Described { columns: [].into(), all: Vec::new(), key: Vec::new(), order: Vec::new(), rowid: None, blocks: None };
    let mut not_null: Vec<String> = Vec::new();
    if let Relation::Table(names) = &home.relation {
        let name = dialect.text(names.last().map_or("", String::as_str));
        let schema = if let [schema, _] = names.as_slice() { dialect.text(schema) } else { "'main'".into() };
        let found = format!("SELECT type, wr FROM pragma_table_list WHERE schema = {schema} AND name = {name} COLLATE NOCASE");
        let found = session.ask("find its table", &found).await?;
        let Some([Some(kind), Some(without_rowid)]) = found.first().map(Vec::as_slice) else {
            let (database, table) = (session.database().name.clone(), home.relation.to_string());
            return Err(SqlError::NoTable { database, table }.into());
        };
        let info = format!("SELECT name, type, \"notnull\", pk FROM pragma_table_info({name}, {schema}) ORDER BY pk, cid");
        let info = session.ask("read its columns", &info).await?;
        let has = |wanted: &str| info.iter().any(|row| row[0].as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
        let keys = info.iter().filter(|row| row[3].as_deref() != Some("0"));
        described.key = keys.clone().filter_map(|row| row[0].clone()).collect();
        not_null = info.iter().filter(|row| row[2].as_deref() == Some("1")).filter_map(|row| row[0].clone()).collect();
        let is_rowid = keys.clone().count() == 1
            && keys.clone().all(|row| row[1].as_deref().is_some_and(|declared| declared.eq_ignore_ascii_case("integer")));
        if is_rowid || without_rowid == "1" {
            not_null.extend(described.key.iter().cloned());
        }
        if kind == "table" && without_rowid == "0" {
            described.rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !has(name)).map(String::from);
        }
        described.order = described.key.iter().map(|column| dialect.quoted(column)).collect();
        if described.order.is_empty() {
            described.order.extend(described.rowid.clone());
        }
    }
    let select = match &home.relation {
        Relation::Table(_) => format!("SELECT * FROM {}", home.relation.from(dialect)),
        Relation::Query(query) => query.clone(),
    };
    let declared = with_rows(session, "understand its query", &select, |rows| {
        Ok((0..rows.width()).map(|column| (rows.name(column), rows.declared(column))).collect::<Vec<_>>())
    });
    let declared = declared.await.map_err(ReadError::into_error)?;
    let unknown: Vec<usize> = (0..declared.len()).filter(|number| declared[*number].1.is_empty()).collect();
    let stored = if unknown.is_empty() { BTreeMap::new() } else { stored(session, &select, &unknown).await? };
    for (number, (name, declared)) in declared.into_iter().enumerate() {
        let (found, declared) = match stored.get(&number) {
            Some(stored) => (of_stored(home, &name, stored)?, stored.to_string()),
            None => (of_declared(&declared), declared),
        };
        let nullable = !not_null.contains(&name) || home.on_invalid == OnInvalid::Null;
        described.all.push(column(home, name, declared, found, nullable));
    }
    if home.on_mismatch == OnMismatch::Text {
        widen(home, session, &select, &mut described).await?;
    }
    Ok(described)
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
        let classes = [("integer", self.integers), ("real", self.reals), ("text", self.texts), ("blob", self.blobs)];
        let found: Vec<&str> = classes.into_iter().filter(|(_, is_there)| *is_there).map(|(class, _)| class).collect();
        f.write_str(&if found.is_empty() { "null".to_string() } else { found.join(" and ") })
    }
}

/// Looks at all values of columns for which no type is declared.
async fn stored(session: &mut Session, select: &str, columns: &[usize]) -> Result<BTreeMap<usize, Stored>> {
    let database = session.database().clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut stored: BTreeMap<usize, Stored> = columns.iter().map(|column| (*column, Stored::default())).collect();
        while rows.step().map_err(|failure| failed(&database, "look at its values", failure))? {
            for (column, stored) in &mut stored {
                match rows.value(*column) {
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
    Ok(match (stored.integers, stored.reals, stored.texts, stored.blobs) {
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
    })
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
    match base.split_whitespace().find(|word| *word != "UNSIGNED").unwrap_or_default() {
        "BOOL" | "BOOLEAN" => Some(Type::Boolean),
        "TINYINT" | "INT1" => whole(Type::Int8, Type::UInt8),
        "SMALLINT" | "INT2" => whole(Type::Int16, Type::UInt16),
        "MEDIUMINT" | "INT4" => whole(Type::Int32, Type::UInt32),
        "DATE" => Some(Type::Date),
        "DATETIME" => Some(Type::Timestamp),
        "TIMESTAMP" if declared.contains("WITH TIME ZONE") && !declared.contains("WITHOUT") => Some(Type::TimestampUtc),
        "TIMESTAMP" => Some(Type::Timestamp),
        "TIMESTAMPTZ" => Some(Type::TimestampUtc),
        "TIME" => Some(Type::Time),
        "FLOAT4" => Some(Type::Float32),
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DECIMAL_TEXT" => {
            let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            ((1..=MAX_PRECISION).contains(&precision) && scale <= precision).then_some(Type::Decimal { precision, scale })
        }
        // As SQLite finds a column's affinity.
        _ if has("INT") => whole(Type::Int64, Type::UInt64),
        _ if has("CHAR") || has("CLOB") || has("TEXT") => Some(Type::Text),
        _ if has("BLOB") || has("BINARY") => Some(Type::Binary),
        _ if has("REAL") || has("FLOA") || has("DOUB") => Some(Type::Float64),
        _ => None,
    }
}

fn column(home: &SqlHome, name: String, declared: String, found: Option<Type>, nullable: bool) -> Column {
    let wanted = home.types.get(&name).cloned();
    let as_text = wanted.is_none() && found.is_none();
    // As text, every value has its own form.
    Column { as_text, kind: wanted.or(found).unwrap_or(Type::Text), name, declared, nullable }
}

/// Makes text of the columns that hold a value which does not fit.
async fn widen(home: &SqlHome, session: &mut Session, select: &str, described: &mut Described) -> Result<()> {
    let database = session.database().clone();
    let all = described.all.clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut builders: Vec<Builder> = all.iter().map(|column| Builder::new(&column.kind, 0)).collect();
        let mut unfit = vec![false; all.len()];
        let mut since = 0;
        while rows.step().map_err(|failure| failed(&database, "look at its values", failure))? {
            for (number, builder) in builders.iter_mut().enumerate().filter(|(number, _)| !all[*number].as_text) {
                if !unfit[number] && matches!(push(builder, &all[number], rows.value(number)), Err(Misfit::Unfit(_))) {
                    unfit[number] = true;
                }
            }
            since += 1;
            if since == SCRATCH_ROWS {
                builders = all.iter().map(|column| Builder::new(&column.kind, 0)).collect();
                since = 0;
            }
        }
        Ok(unfit)
    });
    let unfit = looked.await.map_err(ReadError::into_error)?;
    for (column, _) in described.all.iter_mut().zip(unfit).filter(|(_, is_unfit)| *is_unfit) {
        if !home.types.contains_key(&column.name) {
            (column.kind, column.as_text) = (Type::Text, true);
        }
    }
    Ok(())
}

/// How many rows are looked at before they are forgotten.
const SCRATCH_ROWS: usize = 1 << 12;

/// Counts the rows and sums hashes of columns, for each answer to an expression.
pub(super) async fn probe(
    home: &SqlHome,
    session: &mut Session,
    columns: &[String],
    slice: Option<&str>,
    condition: Option<&str>,
) -> Result<BTreeMap<Option<String>, Fingerprint>> {
    let database = session.database().clone();
    let dialect = Dialect::Sqlite;
    let names = columns.iter().map(|column| dialect.quoted(column));
    let list: Vec<String> = [slice.unwrap_or("NULL").to_string()].into_iter().chain(names).collect();
    let select = format!("SELECT {} FROM {}{}", list.join(", "), home.relation.from(dialect), home.filter(condition));
    let probed = with_rows(session, "ask its probe", &select, |rows| {
        let mut sums: BTreeMap<Option<String>, (u64, [u64; 4])> = BTreeMap::new();
        while rows.step().map_err(|failure| failed(&database, "ask its probe", failure))? {
            let name = match rows.value(0) {
                Value::Null => None,
                value => Some(text_of(value).unwrap_or_default()),
            };
            let mut writer = KeyWriter::new(KeyKind::Probe);
            for column in 1..rows.width() {
                match rows.value(column) {
                    Value::Null => writer.number(0),
                    Value::Integer(number) => writer.number(1).number(number.cast_unsigned()),
                    Value::Real(number) => writer.number(2).number(number.to_bits()),
                    Value::Text(bytes) => writer.number(3).bytes(bytes),
                    Value::Blob(bytes) => writer.number(4).bytes(bytes),
                };
            }
            let (count, sum) = sums.entry(name).or_default();
            *count += 1;
            for (sum, part) in sum.iter_mut().zip(writer.finish().as_bytes().chunks_exact(8)) {
                *sum = sum.wrapping_add(part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
            }
        }
        Ok(sums)
    });
    let sums = probed.await.map_err(ReadError::into_error)?;
    let digest = |(count, sum): (u64, [u64; 4])| {
        let mut writer = KeyWriter::new(KeyKind::Probe);
        sum.into_iter().fold(writer.number(count), KeyWriter::number);
        writer.finish()
    };
    Ok(sums.into_iter().map(|(name, sum)| (name, digest(sum))).collect())
}

/// Reads what a statement gives.
pub(super) async fn read(
    session: &mut Session,
    statement: &str,
    home: &SqlHome,
    described: &Described,
    filling: &mut Filling,
    sender: &mpsc::Sender<Batch>,
) -> Result<(), ReadError> {
    let action = "read its rows";
    let database = session.database().clone();
    let Link::Sqlite(link) = &mut session.link else { return Err(SqlError::Protocol("it is no SQLite".into()).into()) };
    let mut handle = link.lock_handle().await.map_err(|error| database.failed(action, &error))?;
    // A sort may take long before the first row comes.
    let receiver = sender.downgrade();
    handle.set_progress_handler(PROGRESS, move || receiver.upgrade().is_some_and(|sender| !sender.is_closed()));
    let done = tokio::task::block_in_place(|| {
        let mut rows = Rows::new(&mut handle, statement).map_err(|failure| failed(&database, action, failure))?;
        let width = described.columns.len();
        while rows.step().map_err(|failure| failed(&database, action, failure))? {
            let mut bytes = 0;
            for (number, column) in described.columns.iter().enumerate() {
                let value = rows.value(number);
                if let Value::Text(text) | Value::Blob(text) = value {
                    bytes += text.len();
                }
                match push(&mut filling.builders[number], column, value) {
                    Ok(()) => {}
                    Err(Misfit::Invalid(_)) if home.on_invalid == OnInvalid::Null => filling.builders[number].push_null(),
                    Err(misfit) => {
                        let mut of = home.relation.to_string();
                        if let (true, Value::Integer(rowid)) = (described.rowid.is_some(), rows.value(width)) {
                            of = format!("{of}, rowid {rowid}");
                        }
                        return Err(misfit.named(&column.name, filling.rows() + 1, of).into());
                    }
                }
            }
            if let Some(batch) = filling.end_row(bytes)? {
                // Nobody receives any more: the flow has failed, and this ends with it.
                if sender.blocking_send(batch).is_err() {
                    break;
                }
            }
        }
        Ok(())
    });
    handle.remove_progress_handler();
    done
}

/// After as many of SQLite's instructions it is asked whether anyone still waits.
const PROGRESS: i32 = 100_000;

/// Adds one value to its column.
fn push(builder: &mut Builder, column: &Column, value: Value<'_>) -> Result<(), Misfit> {
    let kind = &column.kind;
    let unfit = || {
        let words = format!("the value {} does not fit {}, which arrives as {kind}", shown(value), declared(column));
        let is_calendar = matches!(kind, Type::Date | Type::Timestamp | Type::TimestampUtc);
        if is_calendar && text(value).is_some_and(calendar::looks_like_a_date) { Misfit::Invalid(words) } else { Misfit::Unfit(words) }
    };
    let integer = || if let Value::Integer(number) = value { Ok(number) } else { Err(unfit()) };
    macro_rules! whole {
        ($values:ident) => {
            $values.push_value(integer()?.try_into().map_err(|_| unfit())?)
        };
    }
    if value == Value::Null {
        builder.push_null();
        return Ok(());
    }
    match builder.values() {
        Values::Boolean(values) => match value {
            Value::Integer(flag @ (0 | 1)) => values.push(Some(flag == 1)),
            _ => return Err(unfit()),
        },
        Values::Int8(values) => whole!(values),
        Values::Int16(values) => whole!(values),
        Values::UInt8(values) => whole!(values),
        Values::UInt16(values) => whole!(values),
        Values::UInt32(values) => whole!(values),
        Values::UInt64(values) => whole!(values),
        Values::Int32(values) => match kind {
            Type::Date => {
                let moment = text(value).and_then(calendar::parse_moment).filter(|moment| moment.micros == 0 && moment.offset.is_none());
                let moment = moment.ok_or_else(unfit)?;
                values.push_value(i32::try_from(moment.days).map_err(|_| unfit())?);
            }
            _ => whole!(values),
        },
        Values::Int64(values) => match kind {
            Type::Time => values.push_value(text(value).and_then(calendar::parse_time).ok_or_else(unfit)? * 1000),
            Type::Timestamp => {
                let moment = text(value).and_then(calendar::parse_moment).filter(|moment| moment.offset.is_none()).ok_or_else(unfit)?;
                values.push_value(moment.days * DAY_MICROS + moment.micros);
            }
            Type::TimestampUtc => {
                let moment = text(value).and_then(calendar::parse_moment).ok_or_else(unfit)?;
                values.push_value(moment.days * DAY_MICROS + moment.micros - moment.offset.unwrap_or(0));
            }
            _ => values.push_value(integer()?),
        },
        Values::Int128(values) => {
            let Type::Decimal { precision, scale } = *kind else { return Err(unfit()) };
            let number = match value {
                Value::Real(number) => decimal::of_real(number, precision, scale),
                Value::Integer(number) => decimal::of_integer(number, precision, scale),
                _ => None,
            };
            if let Some(number) = number {
                values.push_value(number);
                return Ok(());
            }
            let text = text_of(value).filter(|_| !matches!(value, Value::Blob(_))).ok_or_else(unfit)?;
            values.push_value(decimal::parse(&text, precision, scale).map_err(|_| unfit())?);
        }
        Values::Float32(values) => match value {
            Value::Real(number) if f64::from(number as f32) == number => values.push_value(number as f32),
            _ => return Err(unfit()),
        },
        Values::Float64(values) => match value {
            Value::Real(number) => values.push_value(number),
            // Whole numbers up to 2^53 are numbers with a point too.
            Value::Integer(number) if number.unsigned_abs() <= 1 << 53 => values.push_value(number as f64),
            _ => return Err(unfit()),
        },
        Values::Text(values) => match value {
            Value::Text(bytes) => values.push_value(std::str::from_utf8(bytes).map_err(|_| Misfit::Unfit("its text is not UTF-8".into()))?),
            value if column.as_text => values.push_value(text_of(value).ok_or_else(unfit)?),
            _ => return Err(unfit()),
        },
        Values::Binary(values) => match value {
            Value::Blob(bytes) => values.push_value(bytes),
            _ => return Err(unfit()),
        },
        Values::List { .. } => return Err(unfit()),
    }
    Ok(())
}

fn declared(column: &Column) -> &str {
    if column.declared.is_empty() { "a column without a type" } else { &column.declared }
}

/// A value in words, shortened.
fn shown(value: Value<'_>) -> String {
    let short = |text: String| if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text };
    match value {
        Value::Text(bytes) => format!("{:?}", short(String::from_utf8_lossy(bytes).into_owned())),
        Value::Blob(bytes) if bytes.len() <= 16 => format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Blob(bytes) => format!("of {} bytes", bytes.len()),
        value => text_of(value).unwrap_or_default(),
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    if let Value::Text(bytes) = value { std::str::from_utf8(bytes).ok() } else { None }
}

/// A value as text: a number with a point in the shortest form that is read as the same number.
fn text_of(value: Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(bytes) | Value::Blob(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
    })
}
