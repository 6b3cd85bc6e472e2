//! Rows into SQLite: one prepared statement, run for each row on the handle of the session.

use futures_util::future::BoxFuture;

use super::catalog::{self, Cascade, CatalogTable};
use super::cells::Cell;
use super::engine::{DeadWriterProbe, ScratchTable, TableLock, WriteEngine, assignments};
use super::receipts::{TABLE, output_query};
use super::resolved_table::ResolvedTable;
use super::target::{TargetColumn, TargetRows, quoted_list};
use crate::connection::digits::put_decimal;
use crate::connection::sqlite_statement::{PreparedInsert, SqliteValue};
use crate::connection::types::ColumnType;
use crate::connection::{ConnectionError, Dialect, Relation, Session, TableName, calendar};
use crate::error::{Error, Result};

/// The schema of a database's own file.
const MAIN_SCHEMA: &str = "main";

/// SQLite.
#[derive(Debug)]
pub(super) struct Sqlite;

impl WriteEngine for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn lock(&self) -> TableLock {
        TableLock::Database
    }

    fn begin_sql(&self) -> &'static str {
        "BEGIN IMMEDIATE"
    }

    /// It tells a reader of the journal of a dead writer:
    /// <https://www.sqlite.org/rescode.html#readonly_rollback>.
    fn dead_writer_probe(&self) -> Option<DeadWriterProbe> {
        Some(DeadWriterProbe {
            query: "SELECT 1 FROM sqlite_master LIMIT 1",
            failure_code: "776",
        })
    }

    fn resolve<'a>(
        &'a self,
        table: TableName<'a>,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<ResolvedTable>> {
        Box::pin(resolve(table, session))
    }

    fn table_exists_sql(&self, table: TableName<'_>) -> String {
        format!(
            "SELECT 1 FROM pragma_table_list({}) WHERE schema = {}",
            self.dialect().quote_text(table.name),
            self.dialect()
                .quote_text(table.schema.unwrap_or(MAIN_SCHEMA))
        )
    }

    fn read_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>> {
        Box::pin(catalog::sqlite::read_table(resolved, session))
    }

    fn cascades<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Vec<Cascade>>> {
        Box::pin(catalog::sqlite::cascades(resolved, session))
    }

    fn declared_type(&self, kind: &ColumnType, _: bool) -> Option<String> {
        let word = match kind {
            ColumnType::Boolean => "boolean",
            ColumnType::Int8 => "tinyint",
            ColumnType::UInt8 => "tinyint unsigned",
            ColumnType::Int16 => "smallint",
            ColumnType::UInt16 => "smallint unsigned",
            ColumnType::Int32 => "int4",
            ColumnType::UInt32 => "int4 unsigned",
            ColumnType::Int64 => "bigint",
            ColumnType::UInt64 => "bigint unsigned",
            ColumnType::Float32 => "float4",
            ColumnType::Float64 => "double precision",
            // A number with a point has fifteen digits.
            ColumnType::Decimal { precision, scale } if *precision > 15 => {
                return Some(format!("decimal_text({precision},{scale})"));
            }
            ColumnType::Decimal { precision, scale } => {
                return Some(format!("decimal({precision},{scale})"));
            }
            ColumnType::Text => "text",
            ColumnType::Binary => "blob",
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "datetime",
            ColumnType::TimestampUtc => "timestamptz",
            ColumnType::List(_) => return None,
        };
        Some(word.to_string())
    }

    fn scratch_table(&self, stem: &str) -> ScratchTable {
        ScratchTable {
            schema: MAIN_SCHEMA.into(),
            name: stem.into(),
            relation: Relation::Table(vec![MAIN_SCHEMA.into(), stem.into()]),
            begin: None,
            is_in_memory: true,
        }
    }

    fn receipt_tables_sql(&self) -> String {
        format!(
            "SELECT schema, 1 FROM pragma_table_list('{TABLE}') WHERE schema = '{MAIN_SCHEMA}' \
             AND type = 'table'"
        )
    }

    fn publication_probe(&self, table: TableName<'_>) -> String {
        let dialect = self.dialect();
        let name = dialect.quote_text(table.name);
        let schema = table.schema.unwrap_or(MAIN_SCHEMA);
        let table = format!(
            "(SELECT t.name FROM pragma_table_list t WHERE t.schema = {} COLLATE NOCASE \
             AND t.name = {name} COLLATE NOCASE)",
            dialect.quote_text(schema)
        );
        format!(
            "{} OR name = {table}",
            output_query(dialect, Some(schema), &name)
        )
    }

    fn write<'a>(
        &'a self,
        session: &'a mut Session,
        into: &'a Relation,
        rows: &'a TargetRows<'a>,
        _: bool,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(write(session, into, rows))
    }

    fn temp_schema(&self, _: &ResolvedTable) -> String {
        "temp".into()
    }

    fn create_temp_sql(&self, temp: &str, table: &str, targets: &[TargetColumn]) -> String {
        format!(
            "CREATE TABLE {temp} AS SELECT {} FROM {table} LIMIT 0",
            quoted_list(self.dialect(), targets)
        )
    }

    /// What the table says of conflicts is overridden: a row that is in the way is an error.
    fn update_by_key_sql(
        &self,
        table: &str,
        columns: &[String],
        rows: &str,
        alias: &str,
        same: &str,
    ) -> String {
        format!(
            "UPDATE OR ABORT {table} SET {} FROM {rows} AS {alias} WHERE {same}",
            assignments("", columns, alias)
        )
    }

    fn equal_sql(&self, one: &str, other: &str) -> String {
        format!("{one} IS {other}")
    }

    fn differing_key_sql(&self, old: &str, new: &str, _: &TargetColumn) -> String {
        format!("{old} <> {new} COLLATE BINARY")
    }
}

/// Inserts rows into a table.
async fn write(session: &mut Session, into: &Relation, rows: &TargetRows<'_>) -> Result<u64> {
    let dialect = Dialect::Sqlite;
    let marks = vec!["?"; rows.columns.len()].join(", ");
    // What the table says of conflicts is overridden: a row that is in the way is an error.
    let sql = format!(
        "INSERT OR ABORT INTO {} ({}) VALUES ({marks})",
        into.source_sql(dialect),
        rows.quoted_list(dialect)
    );
    let action = "write its rows";
    let database = session.database().clone();
    let failed = |failure| {
        Error::from(ConnectionError::Failed {
            connection: database.name.clone(),
            action: action.into(),
            failure,
        })
    };
    let written = session.with_handle(
        action,
        || true,
        |handle, statement| {
            let mut insert = PreparedInsert::new(handle, &sql).map_err(failed)?;
            let (mut written, mut text) = (0, String::new());
            for row in 0..rows.height {
                for (number, (target, cells)) in rows.columns.iter().enumerate() {
                    let misfit = |reason: String| rows.value_error(number, row, &reason);
                    let cell = cells.cell(row).map_err(misfit)?;
                    target.check(&cell).map_err(misfit)?;
                    text.clear();
                    let value = value(&cell, target, &mut text).map_err(misfit)?;
                    insert.bind(number, value).map_err(failed)?;
                }
                statement.restart();
                written += insert.run().map_err(failed)?;
            }
            Ok(written)
        },
    );
    written.await?.unwrap_or(Ok(0))
}

/// A value as SQLite stores it; `text` holds what is made of it.
fn value<'v>(
    cell: &Cell<'v>,
    target: &TargetColumn,
    text: &'v mut String,
) -> Result<SqliteValue<'v>, String> {
    let kind = &target.kind;
    let number = match cell {
        Cell::Null => return Ok(SqliteValue::Null),
        Cell::Boolean(value) => return Ok(SqliteValue::Integer(i64::from(*value))),
        Cell::Integer(value) => return Ok(SqliteValue::Integer(*value)),
        Cell::Unsigned(value) => {
            let value = i64::try_from(*value)
                .map_err(|_| "SQLite has no whole number above 2^63-1".to_string())?;
            return Ok(SqliteValue::Integer(value));
        }
        Cell::Text(value) => return Ok(SqliteValue::Text(value.as_bytes())),
        Cell::Binary(value) => return Ok(SqliteValue::Blob(value)),
        Cell::Float32(value) => f64::from(*value),
        Cell::Float64(value) => *value,
        Cell::Decimal(value) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            // Of a text with a point SQLite would make a number of fifteen digits.
            if let Some(number) =
                whole(*value, scale).filter(|_| target.storage.has_numeric_affinity())
            {
                return Ok(SqliteValue::Integer(number));
            }
            put_decimal(text, *value, scale);
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Date(days) => {
            calendar::put_date(text, i64::from(*days))?;
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Time(micros) => {
            calendar::put_time(text, *micros);
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::Timestamp(micros) => {
            calendar::put_timestamp(text, *micros)?;
            if *kind == ColumnType::TimestampUtc {
                text.push('Z');
            }
            return Ok(SqliteValue::Text(text.as_bytes()));
        }
        Cell::List(_) => return Err("SQLite has no lists".into()),
    };
    // It would become null.
    if number.is_nan() {
        Err("SQLite has no NaN".into())
    } else {
        Ok(SqliteValue::Real(number))
    }
}

/// A decimal without anything behind its point.
fn whole(value: i128, scale: u8) -> Option<i64> {
    let unit = 10_i128.checked_pow(scale.into())?;
    if value % unit == 0 {
        i64::try_from(value / unit).ok()
    } else {
        None
    }
}

async fn resolve(
    TableName { schema, name }: TableName<'_>,
    session: &mut Session,
) -> Result<ResolvedTable> {
    let schema = schema.unwrap_or(MAIN_SCHEMA);
    let asked = format!(
        "SELECT schema, name FROM pragma_table_list({}) WHERE schema = {} COLLATE NOCASE",
        Dialect::Sqlite.quote_text(name),
        Dialect::Sqlite.quote_text(schema)
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    match (found.next().flatten(), found.next().flatten()) {
        (Some(schema), Some(table)) => Ok(ResolvedTable {
            schema,
            table,
            exists: true,
        }),
        _ => Ok(ResolvedTable {
            schema: schema.into(),
            table: name.into(),
            exists: false,
        }),
    }
}
