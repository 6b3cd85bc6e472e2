//! Rows of MySQL and MariaDB: what their tables have, and the values of the binary protocol.
//!
//! Values are as <https://mariadb.com/kb/en/resultset-row/#binary-resultset-row> has them.

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{
    AssertSqlSafe, Column as _, Decode, Executor, MySql as Driver, Row, SqlSafeStr, Statement,
    TypeInfo,
};
use tokio::sync::mpsc;

use super::batch_builder::{BatchBuilder, ColumnBuilder, ColumnValues};
use super::decimal;
use super::description::TableDescription;
use super::engine::{ColumnProbe, ListedTables, PartitionQuery, ProbeSql, ReadEngine, TestedType};
use super::read_error::{ConversionError, RowReadError};
use super::slices::{SliceNameSql, SliceSql, is_integer};
use super::{OnInvalid, SqlError, SqlHome};
use crate::config::value_types::SliceWidth;
use crate::connection::calendar::{self, MICROS_PER_DAY};
use crate::connection::types::{ColumnType, MAX_PRECISION, SqlColumn};
use crate::connection::{Dialect, DriverConnection, Session};
use crate::connection::{Relation, TableName};
use crate::error::Result;
use crate::home::PartBatch;

/// MySQL and MariaDB.
#[derive(Debug)]
pub(super) struct MySql;

impl SliceSql for MySql {
    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    /// A year is compared with 10 as if that were 2010.
    fn slice_column(&self, column: &SqlColumn) -> String {
        let name = self.dialect().quote_name(&column.name);
        if column.declared.starts_with("year") {
            format!("({name} + 0)")
        } else {
            name
        }
    }

    fn last_year(&self) -> i64 {
        calendar::LAST_SHORT_YEAR
    }

    /// Nothing can be added to a date that there is not.
    fn regular_condition(&self, column: &str, width: SliceWidth) -> Option<String> {
        match width {
            SliceWidth::Numbers(_) => None,
            _ => Some(format!("({column} + INTERVAL 0 DAY) IS NOT NULL")),
        }
    }
}

impl ReadEngine for MySql {
    fn begin<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(begin(home, session))
    }

    fn describe<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<TableDescription>> {
        Box::pin(describe(home, session))
    }

    fn read<'a>(
        &'a self,
        session: &'a mut Session,
        query: PartitionQuery<'a>,
        builder: &'a mut BatchBuilder,
        rows: &'a mpsc::Sender<PartBatch>,
    ) -> BoxFuture<'a, Result<(), RowReadError>> {
        Box::pin(async move {
            match &mut session.driver {
                DriverConnection::MySql(driver) => read(driver, query, builder, rows).await,
                _ => Err(SqlError::Protocol("it is no MySQL".into()).into()),
            }
        })
    }

    fn list_tables_sql(&self, schema: Option<&str>, which: ListedTables) -> String {
        let schema = schema.map_or_else(
            || "DATABASE()".to_string(),
            |schema| self.dialect().quote_text(schema),
        );
        let kinds = match which {
            ListedTables::Readable => "",
            ListedTables::Tables => {
                " AND table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE', 'TEMPORARY')"
            }
            ListedTables::TablesAndViews => " AND table_type NOT IN ('SEQUENCE', 'TEMPORARY')",
        };
        format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}{kinds}"
        )
    }

    fn select_expression(&self, column: &SqlColumn) -> String {
        let name = self.dialect().quote_name(&column.name);
        if column.declared == "geometry" || column.declared == "point" {
            format!("ST_AsText({name}) AS {name}")
        } else {
            name
        }
    }

    fn tested_type(&self, column: &SqlColumn) -> Option<TestedType> {
        let is_declared =
            |names: &[&str]| names.iter().any(|name| column.declared.starts_with(name));
        Some(match &column.kind {
            // A year is compared with 10 as if that were 2010.
            kind if is_integer(kind) && !is_declared(&["year"]) => TestedType::Integer,
            // JSON compares as JSON, and an enum's number may be meant.
            ColumnType::Text
                if is_declared(&[
                    "char",
                    "varchar",
                    "text",
                    "tinytext",
                    "mediumtext",
                    "longtext",
                ]) =>
            {
                TestedType::Text
            }
            ColumnType::Date => TestedType::Date,
            // That of time stamps hangs on the zone of the session.
            ColumnType::Timestamp => TestedType::Timestamp,
            _ => return None,
        })
    }

    fn column_probe(&self) -> ColumnProbe<'_> {
        ColumnProbe::Database(self)
    }
}

impl SliceNameSql for MySql {
    fn quotient(&self, dividend: &str, width: u64) -> String {
        format!("{dividend} DIV {width}")
    }

    fn calendar_name(&self, column: &str, width: SliceWidth) -> String {
        let form = match width {
            SliceWidth::Year => "%Y",
            SliceWidth::Month => "%Y-%m",
            _ => "%Y-%m-%d",
        };
        format!("DATE_FORMAT({column}, '{form}')")
    }
}

impl ProbeSql for MySql {
    fn expressions(&self, described: &TableDescription, columns: &[String]) -> Vec<String> {
        let names: Vec<String> = columns
            .iter()
            .map(|column| self.dialect().quote_name(column))
            .collect();
        let largest = names.iter().map(|name| format!("max({name})"));
        let mut asked: Vec<String> = largest.collect();
        let is_float = |column: &String| {
            described
                .all_columns
                .iter()
                .any(|known| known.name == *column && known.declared.starts_with("float"))
        };
        // The text of a number of 32 bits is rounded, that of one of 64 bits is not.
        let exact = |(column, name): (&String, &String)| {
            if is_float(column) {
                format!("({name} * 1e0)")
            } else {
                name.clone()
            }
        };
        let values: Vec<String> = columns.iter().zip(&names).map(exact).collect();
        let part = |value: &String| {
            format!("IF({value} IS NULL, 'n', CONCAT(LENGTH({value}), ':', {value}))")
        };
        let parts = values.iter().map(part).collect::<Vec<_>>().join(", ");
        let sums = values
            .iter()
            .map(|value| format!("IF({value} IS NULL, 'n', MD5({value}))"))
            .collect::<Vec<_>>()
            .join(", ");
        // Texts that are longer together than max_allowed_packet are none; then each of them is
        // looked at.
        let whole = format!("COALESCE(MD5(CONCAT({parts})), MD5(CONCAT({sums})))");
        let hash =
            |from: u32| format!("SUM(CAST(CONV(SUBSTR({whole}, {from}, 15), 16, 10) AS UNSIGNED))");
        asked.extend([hash(1), hash(16)]);
        asked
    }
}

/// Begins a transaction that sees one moment and only reads. The moment is taken by the first query
/// that looks at a row. The one here looks at none, and locks the tables: from then on nobody
/// changes their columns, which are asked for after it. Behind a moment they could become others,
/// in which values would be read as what they are not.
async fn begin(home: &SqlHome, session: &mut Session) -> Result<()> {
    session
        .execute(
            "begin a transaction",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        )
        .await?;
    session
        .begin("begin a transaction", "START TRANSACTION READ ONLY", None)
        .await?;
    let lock = format!(
        "SELECT NULL FROM {} LIMIT 0",
        home.relation.source_sql(Dialect::MySql)
    );
    match session.query_text("lock its tables", &lock).await {
        Err(error) if error.is_transient() => Err(error.into()),
        // Of what cannot be read is told where its columns are asked for.
        _ => Ok(()),
    }
}

/// What a table or query has.
async fn describe(home: &SqlHome, session: &mut Session) -> Result<TableDescription> {
    match &home.relation {
        Relation::Table(names) => table(home, session, names.as_slice().into()).await,
        Relation::Query(query) => describe_query(home, session, query).await,
    }
}

async fn table(
    home: &SqlHome,
    session: &mut Session,
    TableName { schema, name }: TableName<'_>,
) -> Result<TableDescription> {
    let dialect = Dialect::MySql;
    let text = |name: &str| dialect.quote_text(name);
    let (schema, name) = (
        schema.map_or_else(|| "DATABASE()".to_string(), text),
        text(name),
    );
    let place = format!("table_schema = {schema} AND table_name = {name}");
    let columns = format!(
        "SELECT column_name, data_type, column_type, numeric_precision, numeric_scale, is_nullable \
         FROM information_schema.columns WHERE {place} ORDER BY ordinal_position"
    );
    let mut all = Vec::new();
    for row in session.query_text("read its columns", &columns).await? {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten().unwrap_or_default();
        let (name, kind, declared, precision, scale, nullable) =
            (next(), next(), next(), next(), next(), next());
        let digits = precision.parse().ok().zip(scale.parse().ok());
        let found = type_from_name(
            &kind.to_ascii_lowercase(),
            declared.contains("unsigned"),
            digits,
        );
        // Geometries are asked for by a name that is no declaration.
        let declared = if is_geometry(&kind) {
            "geometry".to_string()
        } else {
            declared
        };
        all.push(column(home, name, declared, found, nullable != "NO")?);
    }
    if all.is_empty() {
        return Err(home.no_table_error(session).into());
    }
    let key = format!(
        "SELECT column_name FROM information_schema.statistics WHERE {place} \
         AND index_name = 'PRIMARY' ORDER BY seq_in_index"
    );
    let key = session.query_text("read its primary key", &key).await?;
    let key: Vec<String> = key
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect();
    let order = key
        .iter()
        .map(|column| dialect.quote_name(column))
        .collect();
    Ok(TableDescription {
        columns: [].into(),
        all_columns: all,
        primary_key: key,
        order_by: order,
        rowid: None,
        blocks: None,
    })
}

async fn describe_query(
    home: &SqlHome,
    session: &mut Session,
    query: &str,
) -> Result<TableDescription> {
    let DriverConnection::MySql(link) = &mut session.driver else {
        return Err(SqlError::Protocol("it is no MySQL".into()).into());
    };
    let prepared = link
        .as_mut()
        .prepare(AssertSqlSafe(query).into_sql_str())
        .await;
    let prepared = prepared.map_err(|error| session.error_for("understand its query", &error))?;
    let mut all = Vec::new();
    for known in prepared.columns() {
        let info = known.type_info();
        let name = info.name().to_ascii_lowercase();
        let base = match name.split(' ').next().unwrap_or_default() {
            // A width of one says nothing of what is in it.
            "boolean" => "tinyint",
            // The flag is set for texts with a binary collation too.
            "binary" | "varbinary" | "tinyblob" | "mediumblob" | "longblob" | "blob" => {
                match <str as sqlx::Type<Driver>>::compatible(info) {
                    true => "text",
                    false => "blob",
                }
            }
            other => other,
        };
        // Of tinyint(1), the name does not say whether it has a sign.
        let is_unsigned = name.contains("unsigned")
            || base == "tinyint" && <u64 as sqlx::Type<Driver>>::compatible(info);
        let found = type_from_name(base, is_unsigned, None);
        all.push(column(
            home,
            known.name().to_string(),
            name.clone(),
            found,
            true,
        )?);
    }
    if all.is_empty() {
        return Err(SqlError::Protocol("its query gives no columns".into()).into());
    }
    Ok(TableDescription {
        columns: [].into(),
        all_columns: all,
        primary_key: Vec::new(),
        order_by: Vec::new(),
        rowid: None,
        blocks: None,
    })
}

/// What a type becomes; `None` for those that have no counterpart, or of which it is not known how
/// many digits they have.
fn type_from_name(name: &str, is_unsigned: bool, digits: Option<(u8, u8)>) -> Option<ColumnType> {
    Some(match (name, is_unsigned) {
        ("tinyint" | "boolean", false) => ColumnType::Int8,
        ("tinyint", true) => ColumnType::UInt8,
        ("smallint" | "year", false) => ColumnType::Int16,
        ("smallint" | "year", true) => ColumnType::UInt16,
        ("mediumint" | "int", false) => ColumnType::Int32,
        ("mediumint" | "int", true) => ColumnType::UInt32,
        ("bigint", false) => ColumnType::Int64,
        ("bigint", true) => ColumnType::UInt64,
        ("float", _) => ColumnType::Float32,
        ("double" | "real", _) => ColumnType::Float64,
        ("decimal" | "numeric", _) => match digits {
            Some((precision, scale)) if precision <= MAX_PRECISION => {
                ColumnType::Decimal { precision, scale }
            }
            _ => return None,
        },
        ("date", _) => ColumnType::Date,
        ("datetime", _) => ColumnType::Timestamp,
        ("timestamp", _) => ColumnType::TimestampUtc,
        ("time", _) => ColumnType::Time,
        (
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" | "enum"
            | "set",
            _,
        ) => ColumnType::Text,
        (
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit"
            | "vector",
            _,
        ) => ColumnType::Binary,
        _ => return None,
    })
}

fn is_geometry(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "geomcollection",
    ]
    .iter()
    .any(|shape| kind.contains(shape))
}

fn column(
    home: &SqlHome,
    name: String,
    declared: String,
    found: Option<ColumnType>,
    nullable: bool,
) -> Result<SqlColumn, SqlError> {
    let is_invalid = |kind: &ColumnType| {
        matches!(
            kind,
            ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampUtc
        )
    };
    let nullable =
        nullable || home.on_invalid == OnInvalid::Null && found.as_ref().is_some_and(is_invalid);
    let is_decimal = declared.starts_with("decimal") || declared.starts_with("numeric");
    let mut column = SqlColumn {
        is_read_as_text: found.is_none(),
        kind: found.unwrap_or(ColumnType::Text),
        name,
        declared,
        nullable,
    };
    let Some(wanted) = home.types.get(&column.name) else {
        return Ok(column);
    };
    match (wanted, &column.kind) {
        (wanted, kind) if wanted == kind && !column.is_read_as_text => {}
        (ColumnType::Text, _) => (column.kind, column.is_read_as_text) = (ColumnType::Text, true),
        (ColumnType::Boolean, ColumnType::Int8 | ColumnType::UInt8) => {
            column.kind = ColumnType::Boolean
        }
        (ColumnType::Decimal { .. }, _) if is_decimal => {
            (column.kind, column.is_read_as_text) = (wanted.clone(), false)
        }
        _ => {
            return Err(SqlError::UnsupportedType {
                column: column.name,
                declared: column.declared,
                wanted: wanted.to_string(),
            });
        }
    }
    Ok(column)
}

/// Reads what a statement gives.
async fn read(
    link: &mut MySqlConnection,
    query: PartitionQuery<'_>,
    filling: &mut BatchBuilder,
    rows: &mpsc::Sender<PartBatch>,
) -> Result<(), RowReadError> {
    let PartitionQuery {
        statement,
        home,
        described,
    } = query;
    let mut stream = sqlx::query(AssertSqlSafe(statement))
        .persistent(false)
        .fetch(link);
    while let Some(row) = stream.try_next().await? {
        if row.len() != described.columns.len() {
            let words = format!(
                "a row has {} values, and the table {} columns",
                row.len(),
                described.columns.len()
            );
            return Err(SqlError::Protocol(words).into());
        }
        let mut bytes = 0;
        for number in 0..described.columns.len() {
            // A date of zeros is a value, which sqlx takes for none.
            let value = <&[u8] as Decode<Driver>>::decode(row.try_get_raw(number)?).ok();
            bytes += value.map_or(0, <[u8]>::len);
            let column = &described.columns[number];
            let builder = &mut filling.builders[number];
            let done = match value {
                None => {
                    builder.push_null();
                    Ok(())
                }
                Some(value) => push(builder, column, value, &row, number),
            };
            match done {
                Ok(()) => {}
                Err(ConversionError::Invalid(_)) if home.on_invalid == OnInvalid::Null => {
                    filling.builders[number].push_null()
                }
                Err(misfit) => {
                    return Err(misfit
                        .into_sql_error(
                            &column.name,
                            filling.total_rows() + 1,
                            row_location(home, described, &row),
                        )
                        .into());
                }
            }
        }
        if let Some(batch) = filling.end_row(bytes)? {
            // Nobody receives any more: the flow has failed, and this ends with it.
            if rows.send(batch).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The table with a row's key, if it has one that can be shown.
fn row_location(home: &SqlHome, described: &TableDescription, row: &MySqlRow) -> String {
    let mut shown = home.relation.to_string();
    for (number, column) in described
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| described.primary_key.contains(&column.name))
    {
        if let Some(value) = row
            .try_get_raw(number)
            .ok()
            .and_then(|value| <&[u8] as Decode<Driver>>::decode(value).ok())
            && let Some(text) = format_value(value, row, number)
        {
            shown.push_str(&format!(", {} = {text}", column.name));
        }
    }
    shown
}

/// Adds one value to its column.
fn push(
    builder: &mut ColumnBuilder,
    column: &SqlColumn,
    value: &[u8],
    row: &MySqlRow,
    number: usize,
) -> Result<(), ConversionError> {
    let kind = builder.kind().clone();
    match builder.values() {
        ColumnValues::Boolean(values) => match fixed::<1>(value)?[0] {
            flag @ (0 | 1) => values.push(Some(flag == 1)),
            other => {
                return Err(ConversionError::Mismatch(format!(
                    "{} is neither 0 nor 1",
                    i8::from_le_bytes([other])
                )));
            }
        },
        ColumnValues::Int8(values) => values.push_value(i8::from_le_bytes(fixed(value)?)),
        ColumnValues::Int16(values) => values.push_value(i16::from_le_bytes(fixed(value)?)),
        ColumnValues::UInt8(values) => values.push_value(u8::from_le_bytes(fixed(value)?)),
        ColumnValues::UInt16(values) => values.push_value(u16::from_le_bytes(fixed(value)?)),
        ColumnValues::UInt32(values) => values.push_value(u32::from_le_bytes(fixed(value)?)),
        ColumnValues::UInt64(values) => values.push_value(u64::from_le_bytes(fixed(value)?)),
        ColumnValues::Float32(values) => values.push_value(f32::from_le_bytes(fixed(value)?)),
        ColumnValues::Float64(values) => values.push_value(f64::from_le_bytes(fixed(value)?)),
        ColumnValues::Int32(values) => values.push_value(match kind {
            ColumnType::Date => {
                i32::try_from(decode_timestamp(value)?.0).map_err(|_| unexpected(value))?
            }
            _ => i32::from_le_bytes(fixed(value)?),
        }),
        ColumnValues::Int64(values) => values.push_value(match kind {
            ColumnType::Time => time(value)?,
            ColumnType::Timestamp | ColumnType::TimestampUtc => {
                let (days, micros) = decode_timestamp(value)?;
                days * MICROS_PER_DAY + micros
            }
            _ => i64::from_le_bytes(fixed(value)?),
        }),
        ColumnValues::Int128(values) => {
            let ColumnType::Decimal { precision, scale } = kind else {
                return Err(unexpected(value));
            };
            let text = std::str::from_utf8(value).map_err(|_| unexpected(value))?;
            values.push_value(
                decimal::parse(text, precision, scale).map_err(ConversionError::Mismatch)?,
            );
        }
        ColumnValues::Text(values) if !column.is_read_as_text => match std::str::from_utf8(value) {
            Ok(text) => values.push_value(text),
            Err(_) => return Err(ConversionError::Mismatch("its text is not UTF-8".into())),
        },
        ColumnValues::Text(values) => match format_value(value, row, number) {
            Some(text) => values.push_value(text),
            None => return Err(ConversionError::Mismatch("its text is not UTF-8".into())),
        },
        ColumnValues::Binary(values) => values.push_value(value),
        ColumnValues::List { .. } => return Err(unexpected(value)),
    }
    Ok(())
}

fn unexpected(value: &[u8]) -> ConversionError {
    ConversionError::Mismatch(format!(
        "a value of {} bytes is not what its type has",
        value.len()
    ))
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], ConversionError> {
    value.try_into().map_err(|_| unexpected(value))
}

/// Days since 1970 and microseconds of the day, behind a byte that says how many follow.
fn decode_timestamp(value: &[u8]) -> Result<(i64, i64), ConversionError> {
    let [year, month, day, hour, minute, second, micros] =
        fields(value).ok_or_else(|| unexpected(value))?;
    let number = |field: i64| u32::try_from(field).unwrap_or_default();
    if year < 1 || !calendar::is_valid_date(year, number(month), number(day)) {
        return Err(ConversionError::Invalid(format!(
            "{year:04}-{month:02}-{day:02} is no date"
        )));
    }
    Ok((
        calendar::days_from_date(year, number(month), number(day)),
        ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros,
    ))
}

fn fields(value: &[u8]) -> Option<[i64; 7]> {
    let (length, rest) = value.split_first()?;
    let rest = rest.get(..usize::from(*length))?;
    let mut fields = [0; 7];
    if let [low, high, month, day, time @ ..] = rest {
        fields[0] = i64::from(u16::from_le_bytes([*low, *high]));
        (fields[1], fields[2]) = (i64::from(*month), i64::from(*day));
        if let [hour, minute, second, micros @ ..] = time {
            (fields[3], fields[4], fields[5]) =
                (i64::from(*hour), i64::from(*minute), i64::from(*second));
            if !micros.is_empty() {
                fields[6] = i64::from(u32::from_le_bytes(micros.try_into().ok()?));
            }
        }
    }
    Some(fields)
}

/// A time as hours, minutes, seconds and microseconds, with its sign.
fn decode_time_fields(value: &[u8]) -> Option<(bool, i64, i64, i64, i64)> {
    let (length, rest) = value.split_first()?;
    let rest = rest.get(..usize::from(*length))?;
    let [sign, d0, d1, d2, d3, hour, minute, second, micros @ ..] = rest else {
        return rest.is_empty().then_some((false, 0, 0, 0, 0));
    };
    let days = i64::from(u32::from_le_bytes([*d0, *d1, *d2, *d3]));
    let micros = if micros.is_empty() {
        0
    } else {
        i64::from(u32::from_le_bytes(micros.try_into().ok()?))
    };
    Some((
        *sign != 0,
        days * 24 + i64::from(*hour),
        i64::from(*minute),
        i64::from(*second),
        micros,
    ))
}

/// Nanoseconds of the day.
fn time(value: &[u8]) -> Result<i64, ConversionError> {
    let (is_negative, hours, minutes, seconds, micros) =
        decode_time_fields(value).ok_or_else(|| unexpected(value))?;
    if is_negative || hours > 23 {
        return Err(ConversionError::Invalid(format!(
            "{} is no time of a day",
            format_time(value)
        )));
    }
    Ok((((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros) * 1000)
}

fn format_time(value: &[u8]) -> String {
    let (is_negative, hours, minutes, seconds, micros) =
        decode_time_fields(value).unwrap_or_default();
    let sign = if is_negative { "-" } else { "" };
    let fraction = if micros > 0 {
        format!(".{micros:06}")
    } else {
        String::new()
    };
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

/// A value as text, as the server would write it.
fn format_value(value: &[u8], row: &MySqlRow, number: usize) -> Option<String> {
    let info = row.columns().get(number)?.type_info();
    let name = info.name().to_string();
    // Of tinyint(1), the name does not say whether it has a sign.
    let is_unsigned = <u64 as sqlx::Type<Driver>>::compatible(info) || name.contains("UNSIGNED");
    let wide = |value: &[u8]| {
        let mut bytes = [if !is_unsigned && value.last()? & 0x80 != 0 {
            0xff
        } else {
            0
        }; 16];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(i128::from_le_bytes(bytes).to_string())
    };
    Some(match name.split(' ').next()? {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => wide(value)?,
        "YEAR" => format!("{:0>4}", wide(value)?),
        "FLOAT" => f32::from_le_bytes(value.try_into().ok()?).to_string(),
        "DOUBLE" => f64::from_le_bytes(value.try_into().ok()?).to_string(),
        "DATE" | "DATETIME" | "TIMESTAMP" => {
            let [year, month, day, hour, minute, second, micros] = fields(value)?;
            let date = format!("{year:04}-{month:02}-{day:02}");
            let fraction = if micros > 0 {
                format!(".{micros:06}")
            } else {
                String::new()
            };
            if name == "DATE" {
                date
            } else {
                format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}")
            }
        }
        "TIME" => format_time(value),
        // As bin() writes it.
        "BIT" => match value
            .iter()
            .map(|byte| format!("{byte:08b}"))
            .collect::<String>()
            .trim_start_matches('0')
        {
            "" => "0".to_string(),
            digits => digits.to_string(),
        },
        _ => String::from_utf8(value.to_vec()).ok()?,
    })
}
