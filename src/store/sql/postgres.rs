//! Rows into PostgreSQL: its binary COPY.
//!
//! The format is that of
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY>; values are
//! as the receive functions of their types read them.

use futures_util::future::BoxFuture;

use super::catalog::{self, Cascade, CatalogTable, StorageType, WireType};
use super::cells::Cell;
use super::engine::{SCRATCH_TABLE, ScratchTable, TableLock, WriteEngine};
use super::receipts::{TABLE, output_query};
use super::resolved_table::ResolvedTable;
use super::target::{TargetColumn, TargetRows};
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, DriverConnection, Relation, Session, TableName};
use crate::error::{Error, ErrorKind, Result};

/// After as many bytes a message is sent.
const MESSAGE_BYTES: usize = 1 << 20;

/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The groups of four digits that a decimal has at most: 39 digits, and three more so that the
/// point lies between two.
const MAX_GROUPS: usize = 11;

/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

/// The schema of tables that go with the session.
const TEMP_SCHEMA: &str = "pg_temp";

/// The bytes of a name that it keeps.
const NAME_BYTES: usize = 63;

/// The lock of who makes the table of receipts: any number that nobody else uses.
const CREATE_LOCK_ID: i64 = 0x6879_6767_6500;

/// PostgreSQL.
#[derive(Debug)]
pub(super) struct Postgres;

impl WriteEngine for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn lock(&self) -> TableLock {
        TableLock::Transaction
    }

    fn begin_sql(&self) -> &'static str {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    }

    fn try_lock_sql(&self, resolved: &ResolvedTable) -> Option<String> {
        Some(format!(
            "SELECT pg_try_advisory_xact_lock({})::int",
            lock_id(resolved)
        ))
    }

    fn resolve<'a>(
        &'a self,
        table: TableName<'a>,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<ResolvedTable>> {
        Box::pin(resolve(table, session))
    }

    fn table_exists_sql(&self, table: TableName<'_>) -> String {
        format!("SELECT 1 WHERE {} IS NOT NULL", to_regclass(table))
    }

    fn read_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>> {
        Box::pin(catalog::postgres::read_table(resolved, session))
    }

    fn cascades<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Vec<Cascade>>> {
        Box::pin(catalog::postgres::cascades(resolved, session))
    }

    /// Where there is no such type, the next wider one.
    fn declared_type(&self, kind: &ColumnType, _: bool) -> Option<String> {
        let word = match kind {
            ColumnType::Boolean => "boolean",
            ColumnType::Int8 | ColumnType::UInt8 | ColumnType::Int16 => "smallint",
            ColumnType::UInt16 | ColumnType::Int32 => "integer",
            ColumnType::UInt32 | ColumnType::Int64 => "bigint",
            ColumnType::UInt64 => "numeric(20,0)",
            ColumnType::Float32 => "real",
            ColumnType::Float64 => "double precision",
            ColumnType::Decimal { precision, scale } => {
                return Some(format!("decimal({precision},{scale})"));
            }
            ColumnType::Text => "text",
            ColumnType::Binary => "bytea",
            ColumnType::Date => "date",
            ColumnType::Time => "time(6)",
            ColumnType::Timestamp => "timestamp(6)",
            ColumnType::TimestampUtc => "timestamp(6) with time zone",
            ColumnType::List(inner) => {
                return self
                    .declared_type(inner, false)
                    .map(|inner| format!("{inner}[]"));
            }
        };
        Some(word.to_string())
    }

    fn widen_column_sql(
        &self,
        table: &str,
        column: &str,
        declared: &str,
        _: bool,
    ) -> Option<String> {
        Some(format!(
            "ALTER TABLE {table} ALTER COLUMN {column} TYPE {declared}"
        ))
    }

    fn widens(&self, kind: &ColumnType) -> bool {
        matches!(
            kind,
            ColumnType::Int8
                | ColumnType::UInt8
                | ColumnType::UInt16
                | ColumnType::UInt32
                | ColumnType::UInt64
        )
    }

    fn has_case_sensitive_names(&self) -> bool {
        true
    }

    fn longest_name(&self) -> Option<usize> {
        Some(NAME_BYTES)
    }

    fn typed_null(&self, declared: &str) -> String {
        format!("NULL::{declared}")
    }

    fn scratch_table(&self, _: &str) -> ScratchTable {
        ScratchTable {
            schema: TEMP_SCHEMA.into(),
            name: SCRATCH_TABLE.into(),
            relation: Relation::Table(vec![TEMP_SCHEMA.into(), SCRATCH_TABLE.into()]),
            begin: Some("BEGIN"),
            is_in_memory: false,
        }
    }

    fn receipt_tables_sql(&self) -> String {
        format!(
            "SELECT n.nspname, CASE WHEN n.nspname = ANY(current_schemas(false)) THEN 1 END \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = '{TABLE}' AND c.relkind IN ('r', 'p') \
             AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
        )
    }

    fn guarded_creation(&self, statement: String) -> String {
        format!("BEGIN; SELECT pg_advisory_xact_lock({CREATE_LOCK_ID}); {statement}; COMMIT")
    }

    /// Beside a table of the same name, it is the receipt of that one.
    fn stray_receipt_sql(&self, resolved: &ResolvedTable) -> Option<String> {
        Some(format!(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.oid = to_regclass('{TABLE}') AND n.nspname <> {} \
             AND NOT EXISTS (SELECT 1 FROM pg_class t WHERE t.relnamespace = n.oid \
             AND t.relname = {})",
            self.dialect().quote_text(&resolved.schema),
            self.dialect().quote_text(&resolved.table)
        ))
    }

    /// The table is found by the user's search_path, and its receipt beside it.
    fn publication_probe(&self, table: TableName<'_>) -> String {
        if table.schema.is_none() {
            let asked =
                format!("'SELECT output FROM %I.{TABLE} WHERE name = %L', n.nspname, c.relname");
            let output = format!(
                "(xpath('/row/output/text()', query_to_xml(format({asked}), true, true, \
                 '')))[1]::text"
            );
            return format!(
                "SELECT r.output FROM (SELECT CASE WHEN to_regclass(format('%I.{TABLE}', \
                 n.nspname)) IS NOT NULL THEN {output} END AS output \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid = {}) AS r \
                 WHERE r.output IS NOT NULL",
                to_regclass(table)
            );
        }
        let dialect = self.dialect();
        output_query(dialect, table.schema, &dialect.quote_text(table.name))
    }

    fn casts_from_text(&self, target: &TargetColumn) -> bool {
        target.storage.is_cast_from_text()
    }

    fn write<'a>(
        &'a self,
        session: &'a mut Session,
        into: &'a Relation,
        rows: &'a TargetRows<'a>,
        is_temp: bool,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(write(session, into, rows, is_temp))
    }

    fn temp_schema(&self, _: &ResolvedTable) -> String {
        TEMP_SCHEMA.into()
    }

    fn create_temp_sql(&self, temp: &str, _: &str, targets: &[TargetColumn]) -> String {
        let columns = targets.iter().map(|target| {
            let name = self.dialect().quote_name(&target.name);
            format!("{name} {}", temp_type(&target.wire))
        });
        format!(
            "CREATE TEMP TABLE {temp} ({}) ON COMMIT DROP",
            columns.collect::<Vec<_>>().join(", ")
        )
    }

    fn cast_column(&self, target: &TargetColumn) -> String {
        let name = self.dialect().quote_name(&target.name);
        format!("{name}::{} AS {name}", target.declared_type)
    }

    fn cast_back(&self, target: &TargetColumn) -> Option<String> {
        if !target.storage.needs_comparison() {
            return None;
        }
        let (name, declared) = (
            self.dialect().quote_name(&target.name),
            &target.declared_type,
        );
        let is_list = matches!(
            (&target.kind, &target.storage),
            (ColumnType::List(_), StorageType::List(_))
        );
        Some(if is_list {
            format!("{name}::{declared}::text[]")
        } else {
            format!("{name}::{declared}::text")
        })
    }

    fn equal_sql(&self, one: &str, other: &str) -> String {
        format!("{one}::text IS NOT DISTINCT FROM {other}::text")
    }

    fn differing_key_sql(&self, old: &str, new: &str, target: &TargetColumn) -> String {
        let length = if matches!(target.storage, StorageType::Text(_)) {
            format!(" OR octet_length({old}) <> octet_length({new})")
        } else {
            String::new()
        };
        format!("({old}::text COLLATE \"C\" <> {new}::text COLLATE \"C\"{length})")
    }
}

/// The type that values have before they are cast.
fn temp_type(wire: &WireType) -> String {
    match wire {
        WireType::Boolean => "boolean",
        WireType::Int2 => "smallint",
        WireType::Int4 => "integer",
        WireType::Int8 => "bigint",
        WireType::Oid => "oid",
        WireType::Float4 => "real",
        WireType::Float8 => "double precision",
        WireType::Numeric => "numeric",
        WireType::Text => "text",
        WireType::Bytes => "bytea",
        WireType::Date => "date",
        WireType::Time => "time(6)",
        WireType::Timestamp => "timestamp(6)",
        WireType::TimestampUtc => "timestamp(6) with time zone",
        WireType::List(inner, _) => return format!("{}[]", temp_type(inner)),
    }
    .to_string()
}

/// Copies rows into a table, or into the one beside it; gives how many the server took.
async fn write(
    session: &mut Session,
    into: &Relation,
    rows: &TargetRows<'_>,
    is_side: bool,
) -> Result<u64> {
    let dialect = Dialect::Postgres;
    let statement = format!(
        "COPY {} ({}) FROM STDIN (FORMAT BINARY)",
        into.source_sql(dialect),
        rows.quoted_list(dialect)
    );
    let database = session.database().clone();
    let failed = |error: sqlx::Error| Error::from(database.error_for("write its rows", &error));
    let DriverConnection::Postgres(link) = &mut session.driver else {
        return Ok(0);
    };
    let mut copy = link.copy_in_raw(&statement).await.map_err(failed)?;
    let mut message = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let width = i16::try_from(rows.columns.len())
        .map_err(|_| rows.value_error(0, 0, "there are too many columns"))?;
    for row in 0..rows.height {
        message.extend(width.to_be_bytes());
        for (number, (target, cells)) in rows.columns.iter().enumerate() {
            let sent = cells.cell(row).and_then(|cell| {
                target.check(&cell)?;
                put_field(&mut message, &cell, &cells.kind, &target.wire, is_side)
            });
            if let Err(reason) = sent {
                drop(copy.abort("a value has no place").await);
                return Err(rows.value_error(number, row, &reason));
            }
        }
        if message.len() >= MESSAGE_BYTES {
            let full = std::mem::replace(
                &mut message,
                Vec::with_capacity(MESSAGE_BYTES + MESSAGE_BYTES / 8),
            );
            // A row may be much longer, and may come in several messages: each is copied once more
            // on its way.
            for piece in full.chunks(MESSAGE_BYTES) {
                copy.send(piece).await.map_err(failed)?;
            }
        }
    }
    message.extend((-1_i16).to_be_bytes());
    copy.send(message).await.map_err(failed)?;
    copy.finish().await.map_err(failed)
}

/// Writes a value behind its length.
fn put_field(
    out: &mut Vec<u8>,
    cell: &Cell<'_>,
    kind: &ColumnType,
    wire: &WireType,
    is_side: bool,
) -> Result<(), String> {
    if *cell == Cell::Null {
        out.extend((-1_i32).to_be_bytes());
        return Ok(());
    }
    let start = out.len();
    out.extend([0; 4]);
    put_value(out, cell, kind, wire, is_side)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| "the value is longer than 2 GiB".to_string())?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_value(
    out: &mut Vec<u8>,
    cell: &Cell<'_>,
    kind: &ColumnType,
    wire: &WireType,
    is_side: bool,
) -> Result<(), String> {
    let too_large = |_| "the number is too large".to_string();
    match (wire, cell) {
        (WireType::Boolean, Cell::Boolean(value)) => out.push(u8::from(*value)),
        (WireType::Int2, cell) => out.extend(
            i16::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Int4, cell) => out.extend(
            i32::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Int8, cell) => out.extend(
            i64::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Oid, cell) => out.extend(
            u32::try_from(integer(cell)?)
                .map_err(too_large)?
                .to_be_bytes(),
        ),
        (WireType::Float4, Cell::Float32(value)) => out.extend(value.to_be_bytes()),
        (WireType::Float8, Cell::Float32(value)) => out.extend(f64::from(*value).to_be_bytes()),
        (WireType::Float8, Cell::Float64(value)) => out.extend(value.to_be_bytes()),
        (WireType::Numeric, Cell::Decimal(value)) => {
            let scale = if let ColumnType::Decimal { scale, .. } = kind {
                *scale
            } else {
                0
            };
            put_numeric(out, *value, scale);
        }
        (WireType::Numeric, cell) => put_numeric(out, integer(cell)?, 0),
        (WireType::Text, Cell::Text(value)) if value.as_bytes().contains(&0) => {
            return Err("PostgreSQL has no texts with a zero in them".into());
        }
        (WireType::Text, Cell::Text(value)) => out.extend(value.as_bytes()),
        (WireType::Bytes, Cell::Binary(value)) => out.extend(*value),
        (WireType::Date, Cell::Date(days)) => {
            let days = days.checked_sub(EPOCH_DAYS).filter(|days| *days > i32::MIN);
            out.extend(days.ok_or("the date lies too far away")?.to_be_bytes());
        }
        (WireType::Time, Cell::Time(micros)) => out.extend(micros.to_be_bytes()),
        (WireType::Timestamp | WireType::TimestampUtc, Cell::Timestamp(micros)) => {
            let micros = micros
                .checked_sub(EPOCH_MICROS)
                .filter(|micros| *micros > i64::MIN);
            out.extend(
                micros
                    .ok_or("the time stamp lies too far away")?
                    .to_be_bytes(),
            );
        }
        (WireType::List(inner, number), Cell::List(elements)) => {
            let ColumnType::List(kind) = kind else {
                return Err("it is no list".into());
            };
            // Beside the table, elements have the types that they are sent in.
            put_array(
                out,
                elements,
                (kind, inner),
                if is_side { type_oid(inner) } else { *number },
                is_side,
            )?;
        }
        _ => return Err("the value is not of the type that was planned with".into()),
    }
    Ok(())
}

/// A whole number.
fn integer(cell: &Cell<'_>) -> Result<i128, String> {
    match cell {
        Cell::Integer(value) => Ok((*value).into()),
        Cell::Unsigned(value) => Ok((*value).into()),
        // Its digits behind the point are none, which was looked at.
        Cell::Decimal(value) => Ok(*value),
        _ => Err("the value is not of the type that was planned with".into()),
    }
}

/// An array of one dimension that begins at 1; `number` is that of its elements' type.
fn put_array(
    out: &mut Vec<u8>,
    elements: &[Cell<'_>],
    (kind, wire): (&ColumnType, &WireType),
    number: u32,
    is_side: bool,
) -> Result<(), String> {
    let has_nulls = elements.contains(&Cell::Null);
    let dimensions = i32::from(!elements.is_empty());
    out.extend(dimensions.to_be_bytes());
    out.extend(i32::from(has_nulls).to_be_bytes());
    out.extend(number.to_be_bytes());
    if dimensions == 1 {
        let length =
            i32::try_from(elements.len()).map_err(|_| "the list is too long".to_string())?;
        out.extend(length.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
    }
    elements
        .iter()
        .try_for_each(|element| put_field(out, element, kind, wire, is_side))
}

/// The number of a type, from PostgreSQL's pg_type.dat.
fn type_oid(wire: &WireType) -> u32 {
    match wire {
        WireType::Boolean => 16,
        WireType::Bytes => 17,
        WireType::Int8 => 20,
        WireType::Int2 => 21,
        WireType::Int4 => 23,
        WireType::Text | WireType::List(..) => 25,
        WireType::Oid => 26,
        WireType::Float4 => 700,
        WireType::Float8 => 701,
        WireType::Date => 1082,
        WireType::Time => 1083,
        WireType::Timestamp => 1114,
        WireType::TimestampUtc => 1184,
        WireType::Numeric => 1700,
    }
}

/// A numeric: groups of four decimal digits around the point, the first with its weight.
fn put_numeric(out: &mut Vec<u8>, value: i128, scale: u8) {
    let scale_groups = u32::from(scale).div_ceil(4);
    // So that the point lies between two groups; 38 digits and 3 more fit into 128 bits without a
    // sign but for the largest.
    let padding = scale_groups * 4 - u32::from(scale);
    let mut rest = value.unsigned_abs();
    let (mut groups, mut first) = ([0_u16; MAX_GROUPS], MAX_GROUPS);
    let mut put = |group: u16| {
        first -= 1;
        groups[first] = group;
    };
    // The last group has fewer digits of the number than four where the scale is no multiple of
    // that.
    if padding > 0 {
        let factor = 10_u128.pow(padding);
        let split = 10_u128.pow(4 - padding);
        put(u16::try_from((rest % split) * factor).unwrap_or_default());
        rest /= split;
    }
    while rest > u128::from(u64::MAX) {
        put(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    // Most numbers are no larger, and are divided several times as fast.
    let mut rest = u64::try_from(rest).unwrap_or_default();
    while rest > 0 {
        put(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    let groups = &groups[first..];
    let count = i32::try_from(groups.len()).unwrap_or_default();
    let weight = count - 1 - i32::try_from(scale_groups).unwrap_or_default();
    // Neither zeros before the first group nor behind the last are sent.
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let weight = weight - i32::try_from(leading).unwrap_or_default();
    let mut groups = &groups[leading..];
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    let weight = if groups.is_empty() { 0 } else { weight };
    out.extend(
        i16::try_from(groups.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    out.extend(i16::try_from(weight).unwrap_or_default().to_be_bytes());
    out.extend(
        if value < 0 && !groups.is_empty() {
            0x4000_u16
        } else {
            0
        }
        .to_be_bytes(),
    );
    out.extend(u16::from(scale).to_be_bytes());
    groups
        .iter()
        .for_each(|group| out.extend(group.to_be_bytes()));
}

/// What the server takes a name for: the table, or null.
fn to_regclass(table: TableName<'_>) -> String {
    let written = table.source_sql(Dialect::Postgres);
    format!("to_regclass({})", Dialect::Postgres.quote_text(&written))
}

async fn resolve(table: TableName<'_>, session: &mut Session) -> Result<ResolvedTable> {
    let asked = format!(
        "SELECT n.nspname, c.relname, current_schema() FROM (SELECT 1) AS one \
         LEFT JOIN pg_class c ON c.oid = {} LEFT JOIN pg_namespace n ON n.oid = c.relnamespace",
        to_regclass(table)
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    let (found_schema, found_name, current) = (
        found.next().flatten(),
        found.next().flatten(),
        found.next().flatten(),
    );
    if let (Some(schema), Some(table)) = (found_schema, found_name) {
        return Ok(ResolvedTable {
            schema,
            table,
            exists: true,
        });
    }
    let schema = table.schema.map(String::from).or(current);
    let schema = schema.ok_or_else(|| {
        let error = format!("table {table} has no schema: none of the user's search_path is there");
        Error::new(ErrorKind::Flow, error).with_hint("name the schema: table: SCHEMA.TABLE")
    })?;
    Ok(ResolvedTable {
        schema,
        table: truncate_identifier(table.name.to_string()),
        exists: false,
    })
}

/// A name as PostgreSQL keeps it: of more than 63 bytes it takes the first, in whole characters.
fn truncate_identifier(mut name: String) -> String {
    if name.len() > NAME_BYTES {
        name.truncate(name.floor_char_boundary(NAME_BYTES));
    }
    name
}

/// Locks of PostgreSQL are numbers, those of one database by themselves.
fn lock_id(resolved: &ResolvedTable) -> i64 {
    resolved.lock_key().as_bytes()[..8]
        .iter()
        .fold(0_i64, |number, byte| number << 8 | i64::from(*byte))
}
