//! Rows into MySQL: INSERTs of many rows each, sized by their bytes.

use std::fmt::Write;

use futures_util::future::BoxFuture;

use super::catalog::{self, Cascade, CatalogTable};
use super::cells::Cell;
use super::engine::{SCRATCH_TABLE, ScratchTable, TableLock, WriteEngine, assignments};
use super::receipts::{TABLE, output_query};
use super::resolved_table::ResolvedTable;
use super::target::{TargetColumn, TargetRows, quoted_list};
use crate::connection::digits::put_decimal;
use crate::connection::session::SqlParameter;
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, Relation, Session, TableName, calendar};
use crate::error::{Error, ErrorKind, Result};

/// After as many bytes a statement ends; servers take sixteen times as much.
const STATEMENT_BYTES: usize = 1 << 20;

/// A longer text, or more bytes, is sent beside a statement and not in it.
const LONG_VALUE_BYTES: usize = 1 << 18;

/// What a session that fills tables is set to: no value is cut or made another, and no number
/// stands for the next one.
const STRICT_MODE: &str =
    "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO";

/// The modes that say what SQL means. See <https://mariadb.com/kb/en/sql-mode/>.
const SYNTAX_MODES: [&str; 8] = [
    "ANSI_QUOTES",
    "EMPTY_STRING_IS_NULL",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "NO_BACKSLASH_ESCAPES",
    "NO_UNSIGNED_SUBTRACTION",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
];

/// MySQL and MariaDB.
#[derive(Debug)]
pub(super) struct MySql;

impl WriteEngine for MySql {
    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn set_own_mode<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<()>> {
        Box::pin(set_own_mode(session))
    }

    fn set_user_mode<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<()>> {
        Box::pin(set_user_mode(session))
    }

    fn lock(&self) -> TableLock {
        TableLock::Session
    }

    fn begin_sql(&self) -> &'static str {
        "START TRANSACTION"
    }

    fn try_lock_sql(&self, resolved: &ResolvedTable) -> Option<String> {
        Some(format!("SELECT GET_LOCK('{}', 0)", lock_name(resolved)))
    }

    fn unlock_sql(&self, resolved: &ResolvedTable) -> Option<String> {
        Some(format!("SELECT RELEASE_LOCK('{}')", lock_name(resolved)))
    }

    fn resolve<'a>(
        &'a self,
        table: TableName<'a>,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<ResolvedTable>> {
        Box::pin(resolve(table, session))
    }

    fn table_exists_sql(&self, table: TableName<'_>) -> String {
        let schema = schema_sql(table);
        format!(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = {schema} \
             AND table_name = {}",
            self.dialect().quote_text(table.name)
        )
    }

    fn read_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>> {
        Box::pin(catalog::mysql::read_table(resolved, session))
    }

    fn read_scratch_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>> {
        Box::pin(async move {
            let name = self.dialect().quote_name(&resolved.table);
            catalog::mysql::read_temp_table(&name, session)
                .await
                .map(Some)
        })
    }

    fn cascades<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Vec<Cascade>>> {
        Box::pin(catalog::mysql::cascades(resolved, session))
    }

    fn declared_type(&self, kind: &ColumnType, is_key: bool) -> Option<String> {
        let word = match kind {
            ColumnType::Boolean => "boolean",
            ColumnType::Int8 => "tinyint",
            ColumnType::UInt8 => "tinyint unsigned",
            ColumnType::Int16 => "smallint",
            ColumnType::UInt16 => "smallint unsigned",
            ColumnType::Int32 => "integer",
            ColumnType::UInt32 => "integer unsigned",
            ColumnType::Int64 => "bigint",
            ColumnType::UInt64 => "bigint unsigned",
            ColumnType::Float32 => "float",
            ColumnType::Float64 => "double",
            ColumnType::Decimal { scale, .. } if *scale > 30 => return None,
            ColumnType::Decimal { precision, scale } => {
                return Some(format!("decimal({precision},{scale})"));
            }
            ColumnType::Text if is_key => "varchar(255)",
            ColumnType::Text => "longtext",
            ColumnType::Binary if is_key => "varbinary(255)",
            ColumnType::Binary => "longblob",
            ColumnType::Date => "date",
            ColumnType::Time => "time(6)",
            ColumnType::Timestamp => "datetime(6)",
            // Without NULL, one column of this type would be set to the time of each change.
            ColumnType::TimestampUtc => "timestamp(6) NULL DEFAULT NULL",
            ColumnType::List(_) => return None,
        };
        Some(word.to_string())
    }

    fn widen_column_sql(
        &self,
        table: &str,
        column: &str,
        declared: &str,
        is_nullable: bool,
    ) -> Option<String> {
        let null = if is_nullable { "" } else { " NOT NULL" };
        Some(format!(
            "ALTER TABLE {table} MODIFY COLUMN {column} {declared}{null}"
        ))
    }

    fn lost_attributes_sql(&self, resolved: &ResolvedTable, column: &str) -> Option<String> {
        let text = |text: &str| self.dialect().quote_text(text);
        Some(format!(
            "SELECT 1 FROM information_schema.columns WHERE table_schema = {} AND table_name = {} \
             AND column_name = {} AND (coalesce(nullif(column_default, 'NULL'), '') <> '' \
             OR extra <> '' OR column_comment <> '')",
            text(&resolved.schema),
            text(&resolved.table),
            text(column)
        ))
    }

    fn table_collation<'a>(
        &'a self,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(table_collation(session))
    }

    /// Texts are compared by their bytes; whatever the server's own engine is, this one has
    /// transactions.
    fn table_options(&self, collation: Option<&str>) -> String {
        collation.map_or_else(String::new, |collation| {
            format!(" ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation}")
        })
    }

    fn scratch_table(&self, _: &str) -> ScratchTable {
        ScratchTable {
            // The catalog has none of it.
            schema: String::new(),
            name: SCRATCH_TABLE.into(),
            relation: Relation::Table(vec![SCRATCH_TABLE.into()]),
            begin: None,
            is_in_memory: false,
        }
    }

    fn drop_scratch_sql(&self, relation: &str) -> Option<String> {
        Some(format!("DROP TEMPORARY TABLE {relation}"))
    }

    fn scratch_statement(&self, statement: String) -> String {
        statement.replacen("CREATE TABLE", "CREATE TEMPORARY TABLE", 1)
    }

    fn receipt_tables_sql(&self) -> String {
        format!(
            "SELECT table_schema, CASE WHEN table_schema = DATABASE() THEN 1 END \
             FROM information_schema.tables WHERE table_name = '{TABLE}'"
        )
    }

    fn receipt_types(&self) -> (&'static str, &'static str, &'static str) {
        (
            "varchar(190)",
            "longtext",
            " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
    }

    fn publication_probe(&self, table: TableName<'_>) -> String {
        let name = self.dialect().quote_text(table.name);
        // There, a server may keep names in small letters.
        format!(
            "{} OR (@@lower_case_table_names <> 0 AND name = LOWER({name}))",
            output_query(self.dialect(), table.schema, &name)
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

    fn temp_schema(&self, resolved: &ResolvedTable) -> String {
        resolved.schema.clone()
    }

    fn create_temp_sql(&self, temp: &str, table: &str, targets: &[TargetColumn]) -> String {
        format!(
            "CREATE TEMPORARY TABLE {temp} AS SELECT {} FROM {table} LIMIT 0",
            quoted_list(self.dialect(), targets)
        )
    }

    fn delete_by_key_sql(&self, table: &str, rows: &str, alias: &str, same: &str) -> String {
        format!("DELETE {table} FROM {table} JOIN {rows} AS {alias} ON {same}")
    }

    fn update_by_key_sql(
        &self,
        table: &str,
        columns: &[String],
        rows: &str,
        alias: &str,
        same: &str,
    ) -> String {
        format!(
            "UPDATE {table} JOIN {rows} AS {alias} ON {same} SET {}",
            assignments(&format!("{table}."), columns, alias)
        )
    }

    fn equal_sql(&self, one: &str, other: &str) -> String {
        format!("{one} <=> {other}")
    }

    fn differing_key_sql(&self, old: &str, new: &str, _: &TargetColumn) -> String {
        format!("CAST({old} AS BINARY) <> CAST({new} AS BINARY)")
    }
}

/// Sets a session to what statements of hygge's own are written for. What the server set it to is
/// kept in a variable of it.
async fn set_own_mode(session: &mut Session) -> Result<()> {
    let action = "set up its session";
    session
        .execute(
            action,
            "SET @hygge_sql_mode = COALESCE(@hygge_sql_mode, @@SESSION.sql_mode)",
        )
        .await?;
    Ok(session
        .execute(action, &format!("SET SESSION sql_mode = '{STRICT_MODE}'"))
        .await?)
}

/// Sets a session that was set up so that SQL which the config has means what the server says;
/// values stay exact.
async fn set_user_mode(session: &mut Session) -> Result<()> {
    let meanings = SYNTAX_MODES
        .map(|mode| format!(", IF(FIND_IN_SET('{mode}', @hygge_sql_mode), '{mode}', NULL)"))
        .concat();
    Ok(session
        .execute(
            "set up its session",
            &format!("SET SESSION sql_mode = CONCAT_WS(',', '{STRICT_MODE}'{meanings})"),
        )
        .await?)
}

/// The collation of tables that are made: texts are compared by their bytes, blanks at their end
/// among them, where the server has such a one.
async fn table_collation(session: &mut Session) -> Result<Option<String>> {
    let asked = "SELECT collation_name FROM information_schema.collations \
                 WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') ORDER BY 1 \
                 LIMIT 1";
    let found = session
        .query_text("look for a collation", asked)
        .await?
        .into_iter()
        .flatten()
        .next()
        .flatten();
    Ok(Some(found.unwrap_or_else(|| "utf8mb4_bin".into())))
}

/// Inserts rows into a table.
async fn write(session: &mut Session, into: &Relation, rows: &TargetRows<'_>) -> Result<u64> {
    let dialect = Dialect::MySql;
    let mut written = 0;
    let head = format!(
        "INSERT INTO {} ({}) VALUES ",
        into.source_sql(dialect),
        rows.quoted_list(dialect)
    );
    let most = max_packet_bytes(session).await?;
    let mut statement = head.clone();
    for row in 0..rows.height {
        let before = statement.len();
        let mut long = Vec::new();
        statement.push_str(if statement.len() == head.len() {
            "("
        } else {
            ",("
        });
        for (number, (target, cells)) in rows.columns.iter().enumerate() {
            if number > 0 {
                statement.push(',');
            }
            let put = cells.cell(row).and_then(|cell| {
                target.check(&cell)?;
                put_value(&mut statement, &cell, &cells.kind, &mut long)
            });
            put.map_err(|reason| rows.value_error(number, row, &reason))?;
        }
        statement.push(')');
        if !long.is_empty() {
            // Its row goes by itself, behind those that came before.
            let own = statement.split_off(before);
            if before > head.len() {
                written += session.execute_update("write its rows", &statement).await?;
                statement.truncate(head.len());
            }
            let own = format!("{head}{}", own.trim_start_matches(','));
            let length = own.len() + long.iter().map(SqlParameter::len).sum::<usize>();
            if length >= most {
                return Err(rows.row_too_long(row, length, most));
            }
            written += session
                .execute_with_parameters("write its rows", &own, &long)
                .await?;
            continue;
        }
        if statement.len() >= most && before > head.len() {
            // It may be a statement of its own; the comma in front of it is not.
            let rest = statement.split_off(before);
            written += session.execute_update("write its rows", &statement).await?;
            statement.truncate(head.len());
            statement.push_str(&rest[1..]);
        }
        if statement.len() >= most {
            return Err(rows.row_too_long(row, statement.len(), most));
        }
        if statement.len() >= STATEMENT_BYTES {
            written += session.execute_update("write its rows", &statement).await?;
            statement.truncate(head.len());
        }
    }
    if statement.len() > head.len() {
        written += session.execute_update("write its rows", &statement).await?;
    }
    Ok(written)
}

/// How long a statement may be for the server, in bytes: it closes the connection to who sends a
/// longer one.
async fn max_packet_bytes(session: &mut Session) -> Result<usize> {
    let asked = session
        .query_text(
            "ask how long a statement may be",
            "SELECT @@max_allowed_packet",
        )
        .await?;
    let most = asked
        .into_iter()
        .flatten()
        .next()
        .flatten()
        .and_then(|most| most.parse().ok());
    Ok(most.unwrap_or(usize::MAX))
}

/// Writes a value as SQL, or a mark for a long one.
fn put_value<'c>(
    out: &mut String,
    cell: &Cell<'c>,
    kind: &ColumnType,
    long: &mut Vec<SqlParameter<'c>>,
) -> Result<(), String> {
    match cell {
        Cell::Text(value) if value.len() > LONG_VALUE_BYTES => {
            out.push('?');
            long.push(SqlParameter::Text(value));
        }
        Cell::Binary(value) if value.len() > LONG_VALUE_BYTES => {
            out.push('?');
            long.push(SqlParameter::Bytes(value));
        }
        Cell::Null => out.push_str("NULL"),
        Cell::Boolean(value) => out.push(if *value { '1' } else { '0' }),
        Cell::Integer(value) => put_decimal(out, (*value).into(), 0),
        Cell::Unsigned(value) => put_decimal(out, (*value).into(), 0),
        // The server reads a number of 64 bits and rounds it: the shortest form of the largest one
        // of 32 bits lies above it.
        Cell::Float32(value) if value.is_finite() => {
            out.push_str(&format!("{:e}", f64::from(*value)))
        }
        Cell::Float64(value) if value.is_finite() => out.push_str(&format!("{value:e}")),
        Cell::Float32(_) | Cell::Float64(_) => {
            return Err("MySQL has neither NaN nor infinity".into());
        }
        Cell::Decimal(value) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            put_decimal(out, *value, scale);
        }
        Cell::Text(value) => {
            out.push('\'');
            let mut rest = *value;
            while let Some(place) = rest.find(['\'', '\\', '\0']) {
                let (plain, special) = rest.split_at(place);
                out.push_str(plain);
                out.push_str(match special.as_bytes()[0] {
                    b'\'' => "''",
                    b'\\' => "\\\\",
                    _ => "\\0",
                });
                rest = &special[1..];
            }
            out.push_str(rest);
            out.push('\'');
        }
        Cell::Binary(value) => {
            out.push_str("x'");
            // Writing to a text cannot fail.
            value
                .iter()
                .try_for_each(|byte| write!(out, "{byte:02x}"))
                .map_err(|error| error.to_string())?;
            out.push('\'');
        }
        Cell::Date(days) => put_quoted(out, |out| calendar::put_date(out, i64::from(*days)))?,
        Cell::Time(micros) => put_quoted(out, |out| {
            calendar::put_time(out, *micros);
            Ok(())
        })?,
        Cell::Timestamp(micros) => put_quoted(out, |out| calendar::put_timestamp(out, *micros))?,
        Cell::List(_) => return Err("MySQL has no lists".into()),
    }
    Ok(())
}

fn put_quoted(
    out: &mut String,
    put: impl FnOnce(&mut String) -> Result<(), String>,
) -> Result<(), String> {
    out.push('\'');
    put(out)?;
    out.push('\'');
    Ok(())
}

/// The schema of a name; where none is said, that of the session.
fn schema_sql(table: TableName<'_>) -> String {
    let quoted = |schema| Dialect::MySql.quote_text(schema);
    table.schema.map_or_else(|| "DATABASE()".into(), quoted)
}

async fn resolve(table: TableName<'_>, session: &mut Session) -> Result<ResolvedTable> {
    let wanted = schema_sql(table);
    // What a backslash means in a text depends on the session's mode.
    let asked = format!(
        "SELECT {wanted}, (SELECT CONCAT(table_schema, CHAR(10), table_name) \
         FROM information_schema.tables \
         WHERE table_schema = {wanted} AND table_name = {}), @@lower_case_table_names",
        Dialect::MySql.quote_text(table.name)
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    let (schema, there, folds) = (
        found.next().flatten(),
        found.next().flatten(),
        found.next().flatten(),
    );
    if let Some((schema, table)) = there.as_deref().and_then(|there| there.split_once('\n')) {
        return Ok(ResolvedTable {
            schema: schema.to_string(),
            table: table.to_string(),
            exists: true,
        });
    }
    let schema = schema.ok_or_else(|| {
        Error::new(
            ErrorKind::Flow,
            "the URL of its connection names no database",
        )
        .with_hint("mysql://USER@HOST/DATABASE, or table: DATABASE.TABLE")
    })?;
    // Where names are kept in small letters, two spellings are one table.
    let table = if folds.as_deref() == Some("0") {
        table.name.to_string()
    } else {
        table.name.to_lowercase()
    };
    Ok(ResolvedTable {
        schema,
        table,
        exists: false,
    })
}

/// Locks of MySQL have names of up to 64 letters, for the whole server.
fn lock_name(resolved: &ResolvedTable) -> String {
    format!("hygge:{}", &resolved.lock_key().to_string()[..32])
}
