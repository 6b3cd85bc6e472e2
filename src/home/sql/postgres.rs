//! What PostgreSQL says of its tables, and a moment of them that does not change.

mod copy;

use copy::read;
use futures_util::future::BoxFuture;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{AssertSqlSafe, Column as _, Executor, Row as _, raw_sql};
use tokio::sync::mpsc;

use super::batch_builder::BatchBuilder;
use super::description::TableDescription;
use super::engine::{
    ColumnProbe, ListedTables, PartitionQuery, ProbeSql, ReadEngine, SnapshotSql, TestedType,
};
use super::read_error::RowReadError;
use super::slices::{SliceNameSql, SliceSql, is_calendar};
use super::{OnInvalid, SqlError, SqlHome};
use crate::config::value_types::SliceWidth;
use crate::connection::Relation;
use crate::connection::types::{ColumnType, MAX_PRECISION, SqlColumn};
use crate::connection::{ConnectionError, Dialect, DriverConnection, Session};
use crate::error::Result;
use crate::home::PartBatch;

/// Begins a transaction that sees one moment and only reads.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// PostgreSQL.
#[derive(Debug)]
pub(super) struct Postgres;

impl SliceSql for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    /// That of its time stamps; dates may have later ones, which its to_char does not take.
    fn last_year(&self) -> i64 {
        294_275
    }

    /// It has a year more than there are slices of.
    fn last_literal_year(&self) -> i64 {
        self.last_year() + 1
    }

    /// It makes an oid of the number.
    fn largest_number(&self, column: &SqlColumn) -> Option<i128> {
        (column.kind == ColumnType::UInt32).then(|| i128::from(u32::MAX))
    }

    fn regular_condition(&self, column: &str, width: SliceWidth) -> Option<String> {
        let end = self.last_year() + 1;
        match width {
            SliceWidth::Numbers(_) => None,
            _ => Some(format!(
                "({column} >= '0001-01-01' AND {column} < '{end}-01-01')"
            )),
        }
    }

    fn compares_by_type(&self) -> bool {
        true
    }

    fn finite_condition(&self, column: &SqlColumn) -> Option<String> {
        let name = self.dialect().quote_name(&column.name);
        is_calendar(&column.kind).then(|| format!("isfinite({name})"))
    }
}

impl ReadEngine for Postgres {
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
                DriverConnection::Postgres(driver) => read(driver, query, builder, rows).await,
                _ => Err(SqlError::Protocol("it is no PostgreSQL".into()).into()),
            }
        })
    }

    fn snapshot(&self) -> Option<SnapshotSql> {
        Some(SnapshotSql {
            export: "SELECT pg_export_snapshot()",
            join: |name| {
                let name = Dialect::Postgres.quote_text(name);
                format!("{BEGIN_SNAPSHOT}; SET TRANSACTION SNAPSHOT {name}")
            },
        })
    }

    fn list_tables_sql(&self, schema: Option<&str>, which: ListedTables) -> String {
        let of_schema = schema.map_or_else(
            || {
                "pg_table_is_visible(c.oid) \
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
                    .to_string()
            },
            |schema| format!("n.nspname = {}", self.dialect().quote_text(schema)),
        );
        let kinds = match which {
            ListedTables::Readable => "c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            // The rows of a partition are those of its table.
            ListedTables::Tables => "c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition",
            ListedTables::TablesAndViews => {
                "c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition"
            }
        };
        format!(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE {kinds} AND {of_schema}"
        )
    }

    fn casts_to_text(&self) -> bool {
        true
    }

    fn select_expression(&self, column: &SqlColumn) -> String {
        let name = self.dialect().quote_name(&column.name);
        if column.is_read_as_text {
            format!("{name}::text AS {name}")
        } else {
            name
        }
    }

    fn tested_type(&self, column: &SqlColumn) -> Option<TestedType> {
        let declared = column.declared.split('(').next().unwrap_or_default();
        Some(match (&column.kind, declared.trim_end()) {
            (ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64, _) => TestedType::Integer,
            (ColumnType::Boolean, _) => TestedType::Boolean,
            // Others are no text to the server: JSON has no `=`.
            (ColumnType::Text, "text" | "character varying" | "character") => TestedType::Text,
            (ColumnType::Date, _) => TestedType::Date,
            (ColumnType::Timestamp, _) => TestedType::Timestamp,
            (ColumnType::TimestampUtc, _) => TestedType::TimestampUtc,
            _ => return None,
        })
    }

    fn natural_order(&self) -> &'static str {
        "as they are stored"
    }

    fn column_probe(&self) -> ColumnProbe<'_> {
        ColumnProbe::Database(self)
    }

    fn min_max_sql(&self, name: &str, rows: &str) -> String {
        format!("SELECT min({name})::text, max({name})::text FROM {rows}")
    }
}

impl SliceNameSql for Postgres {
    /// Oids have no division.
    fn dividend(&self, column: &SqlColumn) -> String {
        let name = self.slice_column(column);
        if column.kind == ColumnType::UInt32 {
            format!("({name}::int8)")
        } else {
            name
        }
    }

    fn calendar_name(&self, column: &str, width: SliceWidth) -> String {
        let form = match width {
            SliceWidth::Year => "YYYY",
            SliceWidth::Month => "YYYY-MM",
            _ => "YYYY-MM-DD",
        };
        format!("to_char({column}, '{form}')")
    }
}

impl ProbeSql for Postgres {
    fn expressions(&self, described: &TableDescription, columns: &[String]) -> Vec<String> {
        let dialect = self.dialect();
        // Not every type has a largest value; the sum of hashes has them all.
        let has_largest = |column: &&String| {
            described
                .all_columns
                .iter()
                .any(|known| known.name == **column && !known.is_read_as_text && has_max(known))
        };
        let largest = columns
            .iter()
            .filter(has_largest)
            .map(|column| format!("max({})::text", dialect.quote_name(column)));
        let mut asked: Vec<String> = largest.collect();
        let texts: Vec<String> = columns
            .iter()
            .map(|column| format!("{}::text", dialect.quote_name(column)))
            .collect();
        let whole = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("ROW({})::text", texts.join(", "))
        };
        // What a collation takes for one is two values, and the word null is none that is missing.
        let seed = format!("CASE WHEN {whole} COLLATE \"C\" = 'null' THEN 1 ELSE 0 END");
        asked.push(format!(
            "sum(hashtextextended(coalesce({whole}, 'null') COLLATE \"C\", {seed})::numeric)::text"
        ));
        asked
    }
}

fn has_max(column: &SqlColumn) -> bool {
    !matches!(
        column.kind,
        ColumnType::Boolean | ColumnType::List(_) | ColumnType::Binary
    )
}

/// Begins a transaction that sees one moment, which lies behind every change of the columns that
/// are read. Where somebody changed them after it, a table that was written anew would be empty,
/// and a column another one than the catalog of that moment says:
/// <https://www.postgresql.org/docs/current/mvcc-caveats.html>. So the tables are locked before the
/// moment is taken; until the transaction ends, who wants to change their columns waits.
async fn begin(home: &SqlHome, session: &mut Session) -> Result<()> {
    let tables = lockable_tables(home, session).await?;
    // What looked for them ends in the same message.
    let begin = format!("ROLLBACK; {BEGIN_SNAPSHOT}");
    if tables.is_empty() {
        return Ok(session.begin("begin a transaction", &begin, None).await?);
    }
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    let is_gone = |error: &ConnectionError| {
        matches!(error, ConnectionError::Failed { failure, .. }
            if failure.code.as_deref() == Some("42P01"))
    };
    // What is gone since is not looked for any more when this is tried again.
    let passing = |error| {
        if is_gone(&error) {
            error.into_transient()
        } else {
            error
        }
    };
    Ok(session
        .begin("lock its tables", &begin, Some(&lock))
        .await
        .map_err(passing)?)
}

/// The tables that are read, those behind views and partitions among them, as far as they may be
/// locked. The session is in a transaction afterwards.
async fn lockable_tables(home: &SqlHome, session: &mut Session) -> Result<Vec<String>> {
    session
        .begin("begin a transaction", "BEGIN READ ONLY", None)
        .await?;
    let from = home.relation.source_sql(Dialect::Postgres);
    let asked = format!(
        "SELECT NULL FROM {from} LIMIT 0; \
         SELECT DISTINCT format('ONLY %I.%I', n.nspname, c.relname) \
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n \
         ON n.oid = c.relnamespace \
         WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p') \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
         AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1"
    );
    match session
        .query_text("find the tables that it reads", &asked)
        .await
    {
        Ok(rows) => Ok(rows.into_iter().flatten().flatten().collect()),
        // Of a table that is not there, or a query that is none, is told where its columns are
        // asked for.
        Err(ConnectionError::Failed { failure, .. })
            if failure
                .code
                .as_deref()
                .is_some_and(|code| code.starts_with("42")) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// What a table or query has.
async fn describe(home: &SqlHome, session: &mut Session) -> Result<TableDescription> {
    match &home.relation {
        Relation::Table(_) => table(home, session).await,
        Relation::Query(query) => describe_query(home, session, query).await,
    }
}

async fn table(home: &SqlHome, session: &mut Session) -> Result<TableDescription> {
    let dialect = Dialect::Postgres;
    let name = dialect.quote_text(&home.relation.source_sql(dialect));
    let found = format!(
        "SELECT c.oid, c.relkind, c.relhassubclass, pg_relation_size(c.oid) / \
         current_setting('block_size')::int8, \
         current_setting('server_version_num')::int \
         FROM pg_class c WHERE c.oid = to_regclass({name})"
    );
    let found = session.query_text("find its table", &found).await?;
    let Some(
        [
            Some(oid),
            Some(kind),
            Some(has_children),
            blocks,
            Some(version),
        ],
    ) = found.first().map(Vec::as_slice)
    else {
        return Err(home.no_table_error(session).into());
    };
    // What a table promises need not hold for tables that inherit from it, nor for rows that were
    // there before.
    let mut promised = format!(
        "attnotnull AND NOT EXISTS (SELECT 1 FROM pg_constraint c \
         WHERE c.conrelid = {oid} AND c.contype = 'n' AND NOT c.convalidated \
         AND c.conkey = ARRAY[a.attnum])"
    );
    if has_children == "t" {
        promised.push_str(&format!(
            " AND NOT EXISTS (WITH RECURSIVE heirs AS (SELECT inhrelid AS heir FROM pg_inherits \
             WHERE inhparent = {oid} \
             UNION SELECT i.inhrelid FROM pg_inherits i JOIN heirs h ON i.inhparent = h.heir) \
             SELECT 1 FROM heirs h JOIN pg_attribute o ON o.attrelid = h.heir \
             AND o.attname = a.attname \
             WHERE NOT o.attnotnull AND NOT o.attisdropped)"
        ));
    }
    let columns = format!(
        "SELECT attnum, attname, atttypid, atttypmod, {promised} AS attnotnull FROM pg_attribute a \
         WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped"
    );
    let all = read_columns(home, session, &columns).await?;
    let key = format!(
        "SELECT a.attname FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, \
         place), pg_attribute a \
         WHERE i.indrelid = {oid} AND i.indisprimary AND a.attrelid = i.indrelid \
         AND a.attnum = k.attnum ORDER BY k.place"
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
    // Ranges of blocks are read by themselves since version 14; tables of one file only have them.
    let has_blocks = matches!(kind.as_str(), "r" | "m")
        && has_children == "f"
        && version
            .parse::<u32>()
            .is_ok_and(|version| version >= 140_000);
    let blocks = blocks
        .as_ref()
        .filter(|_| has_blocks && key.is_empty())
        .and_then(|blocks| blocks.parse().ok());
    Ok(TableDescription {
        columns: [].into(),
        all_columns: all,
        primary_key: key,
        order_by: order,
        rowid: None,
        blocks,
    })
}

/// The columns of a query, which no statement that stays with the server is prepared for: behind a
/// pooler, that would be in the way of others. One row comes, of nothing but nulls, and with it the
/// names and types.
async fn describe_query(
    home: &SqlHome,
    session: &mut Session,
    query: &str,
) -> Result<TableDescription> {
    let asked = format!(
        "SELECT hygge_query.* FROM (SELECT) AS hygge_one LEFT JOIN (SELECT * FROM ({query}\n\
         ) AS hygge_query LIMIT 0) AS hygge_query ON true"
    );
    let DriverConnection::Postgres(link) = &mut session.driver else {
        return Err(SqlError::Protocol("it is no PostgreSQL".into()).into());
    };
    let row = match link
        .as_mut()
        .fetch_one(raw_sql(AssertSqlSafe(asked.as_str())))
        .await
    {
        Ok(row) => row,
        Err(error) => {
            let failed = session.error_for("understand its query", &error);
            return Err(locate_syntax_error(&asked, query, &error, failed).into());
        }
    };
    let rows: Vec<String> = row
        .columns()
        .iter()
        .enumerate()
        .map(|(number, column)| {
            let oid = column.type_info().oid().map_or(0, |oid| oid.0);
            let table = column.relation_id().map_or(0, |oid| oid.0);
            let place = column.relation_attribute_no().unwrap_or(0);
            let name = Dialect::Postgres.quote_text(column.name());
            format!("({number}, {name}, {oid}::oid, {table}::oid, {place}::int2)")
        })
        .collect();
    if rows.is_empty() {
        return Err(SqlError::Protocol("its query gives no columns".into()).into());
    }
    let columns = format!(
        "SELECT q.attnum, q.attname, q.atttypid, coalesce(a.atttypmod, -1) AS atttypmod, false AS \
         attnotnull \
         FROM (VALUES {}) AS q(attnum, attname, atttypid, attrelid, place) \
         LEFT JOIN pg_attribute a ON a.attrelid = q.attrelid AND a.attnum = q.place AND a.atttypid \
         = q.atttypid",
        rows.join(", ")
    );
    let all = read_columns(home, session, &columns).await?;
    Ok(TableDescription {
        columns: [].into(),
        all_columns: all,
        primary_key: Vec::new(),
        order_by: Vec::new(),
        rowid: None,
        blocks: None,
    })
}

/// What the server says of a query that it does not understand. It sees what stands around the
/// query too, and may find the fault behind its end; else it is told what stands before the fault.
fn locate_syntax_error(
    asked: &str,
    query: &str,
    error: &sqlx::Error,
    failed: ConnectionError,
) -> ConnectionError {
    const SHOWN: usize = 40;
    let said = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let Some(PgErrorPosition::Original(place)) = said
        .filter(|said| said.code() == "42601")
        .and_then(PgDatabaseError::position)
    else {
        return failed;
    };
    let (
        ConnectionError::Failed {
            connection,
            action,
            mut failure,
        },
        Some(start),
    ) = (failed.clone(), asked.find(query))
    else {
        return failed;
    };
    // The place counts letters from 1.
    let within = place
        .saturating_sub(1)
        .checked_sub(asked[..start].chars().count());
    match within {
        Some(within) if within < query.chars().count() => {
            let before: Vec<char> = query.chars().take(within).collect();
            let shown: String = before[before.len().saturating_sub(SHOWN)..]
                .iter()
                .collect();
            failure.message = format!("{}, behind {:?}", failure.message, shown.trim());
        }
        Some(_) => failure.message = "syntax error at the end of the query (code 42601)".into(),
        None => {}
    }
    ConnectionError::Failed {
        connection,
        action,
        failure,
    }
}

/// Columns by their number, name, type and its modifier: a domain is what it is made of, a list is
/// told by its elements.
async fn read_columns(
    home: &SqlHome,
    session: &mut Session,
    columns: &str,
) -> Result<Vec<SqlColumn>> {
    let asked = format!(
        "WITH RECURSIVE columns AS ({columns}), bases AS (\
         SELECT attnum, attname, attnotnull, format_type(atttypid, atttypmod) AS declared, \
         atttypid AS oid, atttypmod AS typmod FROM columns \
         UNION ALL \
         SELECT b.attnum, b.attname, b.attnotnull, b.declared, t.typbasetype, t.typtypmod \
         FROM bases b JOIN pg_type t ON t.oid = b.oid \
         WHERE t.typtype = 'd') \
         SELECT b.attname, b.attnotnull, b.declared, b.typmod, t.typname, e.typname, n.nspname \
         FROM bases b \
         JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd' \
         JOIN pg_namespace n ON n.oid = t.typnamespace \
         LEFT JOIN pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem AND e.typnamespace = \
         t.typnamespace \
         ORDER BY b.attnum"
    );
    let mut all = Vec::new();
    for row in session.query_text("read its columns", &asked).await? {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten().unwrap_or_default();
        let (name, not_null, declared, typmod, base, element, namespace) =
            (next(), next(), next(), next(), next(), next(), next());
        let typmod: i32 = typmod.parse().unwrap_or(-1);
        let is_own = namespace == "pg_catalog";
        let found = if element.is_empty() {
            type_from_name(&base, typmod)
        } else {
            type_from_name(&element, typmod).map(|inner| ColumnType::List(Box::new(inner)))
        };
        let found = found.filter(|_| is_own);
        all.push(column(
            home,
            name,
            declared,
            found,
            not_null != "t",
            base == "numeric" || element == "numeric",
        )?);
    }
    Ok(all)
}

/// What a type of PostgreSQL's own becomes; `None` for those that have no counterpart.
fn type_from_name(name: &str, typmod: i32) -> Option<ColumnType> {
    Some(match name {
        "bool" => ColumnType::Boolean,
        "int2" => ColumnType::Int16,
        "int4" => ColumnType::Int32,
        "int8" => ColumnType::Int64,
        "oid" => ColumnType::UInt32,
        "float4" => ColumnType::Float32,
        "float8" => ColumnType::Float64,
        "text" | "varchar" | "bpchar" | "name" | "json" | "xml" => ColumnType::Text,
        "bytea" => ColumnType::Binary,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "timestamp" => ColumnType::Timestamp,
        "timestamptz" => ColumnType::TimestampUtc,
        "numeric" => return decimal(typmod),
        _ => return None,
    })
}

/// The digits that a modifier says: 16 bits of precision, 11 of scale with a sign.
fn decimal(typmod: i32) -> Option<ColumnType> {
    let packed = u32::try_from(typmod.checked_sub(4)?).ok()?;
    let precision = u8::try_from(packed >> 16)
        .ok()
        .filter(|precision| *precision <= MAX_PRECISION)?;
    let scale = packed & 0x7ff;
    let scale = u8::try_from(scale)
        .ok()
        .filter(|scale| scale <= &precision)?;
    Some(ColumnType::Decimal { precision, scale })
}

/// A column, with what the config wants it to be.
fn column(
    home: &SqlHome,
    name: String,
    declared: String,
    found: Option<ColumnType>,
    nullable: bool,
    is_numeric: bool,
) -> Result<SqlColumn, SqlError> {
    let nullable = nullable
        || home.on_invalid == OnInvalid::Null && found.as_ref().is_some_and(may_be_invalid);
    let mut column = SqlColumn {
        is_read_as_text: found.is_none(),
        kind: found.clone().unwrap_or(ColumnType::Text),
        name,
        declared,
        nullable,
    };
    let Some(wanted) = home.types.get(&column.name) else {
        return Ok(column);
    };
    match (wanted, &column.kind) {
        (ColumnType::Text, ColumnType::Text) => {}
        (ColumnType::Text, _) => (column.kind, column.is_read_as_text) = (ColumnType::Text, true),
        (wanted, kind) if wanted == kind && !column.is_read_as_text => {}
        (ColumnType::Decimal { .. }, _)
            if is_numeric && !matches!(found, Some(ColumnType::List(_))) =>
        {
            (column.kind, column.is_read_as_text) = (wanted.clone(), false);
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

/// True for types that have values which files do not have.
fn may_be_invalid(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::Date
            | ColumnType::Time
            | ColumnType::Timestamp
            | ColumnType::TimestampUtc
            | ColumnType::Decimal { .. }
            | ColumnType::List(_)
    )
}
