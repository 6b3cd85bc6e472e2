//! Rows of SQLite: what its tables declare, and its values, each of which may be of another type
//! than is declared.
//!
//! What is declared decides. Where nothing is, what is stored decides: see
//! <https://www.sqlite.org/datatype3.html>.

mod slice_probe;
mod values;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::batch_builder::{BatchBuilder, ColumnBuilder};
use super::description::TableDescription;
use super::engine::{
    ColumnProbe, ListedTables, PartitionQuery, ProbeReader, ReadEngine, SliceProbeResult,
    TestedType,
};
use super::read_error::{ConversionError, RowReadError};
use super::slices::{DAY_FUNCTION, SliceSql, Slicer};
use super::{OnInvalid, OnMismatch, SqlError, SqlHome};
use crate::config::value_types::SliceWidth;
use crate::connection::calendar;
use crate::connection::session::TextRows;
use crate::connection::sqlite_statement::{SqliteRows, SqliteValue};
use crate::connection::types::{ColumnType, MAX_PRECISION, SqlColumn};
use crate::connection::{ConnectionError, Database, Dialect, Failure, Session};
use crate::connection::{Relation, TableName};
use crate::error::Result;
use crate::home::PartBatch;

use values::{push, read};

/// SQLite.
#[derive(Debug)]
pub(super) struct Sqlite;

impl SliceSql for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn last_year(&self) -> i64 {
        calendar::LAST_SHORT_YEAR
    }

    fn regular_condition(&self, column: &str, width: SliceWidth) -> Option<String> {
        Some(match width {
            SliceWidth::Numbers(_) => format!("typeof({column}) = 'integer'"),
            _ => format!("{DAY_FUNCTION}({column}) IS NOT NULL"),
        })
    }

    fn has_text_dates(&self) -> bool {
        true
    }
}

impl ReadEngine for Sqlite {
    fn begin<'a>(&'a self, _: &'a SqlHome, session: &'a mut Session) -> BoxFuture<'a, Result<()>> {
        Box::pin(begin(session))
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
        Box::pin(read(session, query, builder, rows))
    }

    fn list_tables_sql(&self, schema: Option<&str>, which: ListedTables) -> String {
        let schema = self.dialect().quote_text(schema.unwrap_or("main"));
        // Shadows are where virtual tables keep what they have.
        let kinds = match which {
            ListedTables::Readable => "'table', 'virtual', 'shadow', 'view'",
            ListedTables::Tables => "'table', 'virtual'",
            ListedTables::TablesAndViews => "'table', 'virtual', 'view'",
        };
        format!(
            "SELECT name FROM pragma_table_list WHERE schema = {schema} AND type IN ({kinds}) \
             AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        )
    }

    fn is_file(&self) -> bool {
        true
    }

    fn has_dynamic_types(&self) -> bool {
        true
    }

    /// Dates are texts here, of many forms.
    fn tested_type(&self, column: &SqlColumn) -> Option<TestedType> {
        match column.kind {
            ColumnType::Int64 => Some(TestedType::Integer),
            ColumnType::Text => Some(TestedType::Text),
            _ => None,
        }
    }

    /// Values of any type may be in any column.
    fn other_values_condition(&self, tested: TestedType, name: &str) -> Option<String> {
        let own = if tested == TestedType::Integer {
            "integer"
        } else {
            "text"
        };
        Some(format!("typeof({name}) NOT IN ('{own}', 'null')"))
    }

    fn column_probe(&self) -> ColumnProbe<'_> {
        ColumnProbe::Reader(self)
    }

    /// It looks for one of them by an index, and for both through the whole table.
    fn table_min_max_sql(&self, name: &str, rows: &str) -> String {
        format!("SELECT (SELECT min({name}) FROM {rows}), (SELECT max({name}) FROM {rows})")
    }
}

impl ProbeReader for Sqlite {
    fn probe_slices<'a>(
        &'a self,
        home: &'a SqlHome,
        session: &'a mut Session,
        columns: &'a [String],
        slices: Option<&'a Slicer<'a>>,
        condition: Option<&'a str>,
    ) -> BoxFuture<'a, Result<SliceProbeResult>> {
        Box::pin(slice_probe::probe_slices(
            home, session, columns, slices, condition,
        ))
    }
}

/// Begins a transaction, for which functions of hygge's are at hand. Sessions are opened for
/// reading.
async fn begin(session: &mut Session) -> Result<()> {
    let database = session.database().clone();
    let action = "begin a transaction";
    let added = session
        .with_handle(
            action,
            || true,
            |handle, _| slice_probe::register_functions(handle),
        )
        .await?;
    added
        .unwrap_or(Ok(()))
        .map_err(|failure| connection_error(&database, action, failure))?;
    Ok(session.begin(action, "BEGIN", None).await?)
}

/// Calls `work` with the rows of a statement.
async fn with_rows<T>(
    session: &mut Session,
    action: &str,
    sql: &str,
    work: impl FnOnce(&mut SqliteRows<'_, '_>) -> Result<T, RowReadError>,
) -> Result<T, RowReadError> {
    let database = session.database().clone();
    let done = session.with_handle(
        action,
        || true,
        |handle, _| {
            let mut rows = SqliteRows::new(handle, sql)
                .map_err(|failure| connection_error(&database, action, failure))?;
            work(&mut rows)
        },
    );
    done.await?
        .unwrap_or_else(|| Err(SqlError::Protocol("it is no SQLite".into()).into()))
}

fn connection_error(database: &Database, action: &str, failure: Failure) -> ConnectionError {
    ConnectionError::Failed {
        connection: database.name.clone(),
        action: action.to_string(),
        failure,
    }
}

/// What a table or query has.
async fn describe(home: &SqlHome, session: &mut Session) -> Result<TableDescription> {
    let dialect = Dialect::Sqlite;
    let mut described = TableDescription {
        columns: [].into(),
        all_columns: Vec::new(),
        primary_key: Vec::new(),
        order_by: Vec::new(),
        rowid: None,
        blocks: None,
    };
    let select = match &home.relation {
        Relation::Table(_) => format!("SELECT * FROM {}", home.relation.source_sql(dialect)),
        Relation::Query(query) => query.clone(),
    };
    let table = match &home.relation {
        Relation::Table(names) => Some(find_table(home, session, names.as_slice().into()).await?),
        Relation::Query(_) => None,
    };
    let declared = declared_types(session, &select).await?;
    let not_null = match &table {
        Some(table) => describe_keys(session, table, &mut described).await?,
        None => Vec::new(),
    };
    let unknown: Vec<usize> = (0..declared.len())
        .filter(|number| declared[*number].1.is_empty())
        .collect();
    let stored = if unknown.is_empty() {
        BTreeMap::new()
    } else {
        scan_storage_classes(session, &select, &unknown).await?
    };
    for (number, (name, declared)) in declared.into_iter().enumerate() {
        let (found, declared) = match stored.get(&number) {
            Some(stored) => (type_from_storage(home, &name, stored)?, stored.to_string()),
            None => (type_from_declaration(&declared), declared),
        };
        let nullable = !not_null.contains(&name) || home.on_invalid == OnInvalid::Null;
        described
            .all_columns
            .push(column(home, name, declared, found, nullable));
    }
    if home.on_mismatch == OnMismatch::Text {
        widen_to_text(home, session, &select, &mut described).await?;
    }
    Ok(described)
}

/// A table as the catalog has it; its name and schema are texts of SQL.
struct CatalogTable {
    name: String,
    schema: String,
    /// True for what is neither a view nor virtual.
    is_ordinary: bool,
    is_without_rowid: bool,
}

async fn find_table(
    home: &SqlHome,
    session: &mut Session,
    TableName { schema, name }: TableName<'_>,
) -> Result<CatalogTable> {
    let dialect = Dialect::Sqlite;
    let name = dialect.quote_text(name);
    let schema = dialect.quote_text(schema.unwrap_or("main"));
    let asked = format!(
        "SELECT type, wr FROM pragma_table_list WHERE schema = {schema} \
         AND name = {name} COLLATE NOCASE"
    );
    let found = session.query_text("find its table", &asked).await?;
    let Some([Some(kind), Some(without_rowid)]) = found.first().map(Vec::as_slice) else {
        return Err(home.no_table_error(session).into());
    };
    Ok(CatalogTable {
        name,
        schema,
        is_ordinary: kind == "table",
        is_without_rowid: without_rowid == "1",
    })
}

/// Finds what a table's rows are told apart and sorted by; gives the columns that are never null.
async fn describe_keys(
    session: &mut Session,
    table: &CatalogTable,
    described: &mut TableDescription,
) -> Result<Vec<String>> {
    let CatalogTable { name, schema, .. } = table;
    // Generated columns are columns too, and so are hidden ones of a virtual table, which no
    // other statement names.
    let asked = format!(
        "SELECT name, type, \"notnull\" AND hidden = 0, pk \
         FROM pragma_table_xinfo({name}, {schema}) ORDER BY pk, cid"
    );
    let info = session.query_text("read its columns", &asked).await?;
    let has = |wanted: &str| {
        info.iter().any(|row| {
            row[0]
                .as_deref()
                .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        })
    };
    let keys = info.iter().filter(|row| row[3].as_deref() != Some("0"));
    described.primary_key = keys.filter_map(|row| row[0].clone()).collect();
    let mut not_null: Vec<String> = info
        .iter()
        .filter(|row| row[2].as_deref() == Some("1"))
        .filter_map(|row| row[0].clone())
        .collect();
    if table.is_without_rowid || is_rowid(session, &info, name, schema).await? {
        not_null.extend(described.primary_key.iter().cloned());
    }
    if table.is_ordinary && !table.is_without_rowid {
        described.rowid = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| !has(name))
            .map(String::from);
    }
    described.order_by = described
        .primary_key
        .iter()
        .map(|column| Dialect::Sqlite.quote_name(column))
        .collect();
    if described.order_by.is_empty() {
        described.order_by.extend(described.rowid.clone());
    }
    Ok(not_null)
}

/// The columns of a statement, with the types that are declared for them.
async fn declared_types(session: &mut Session, select: &str) -> Result<Vec<(String, String)>> {
    let (database, action) = (session.database().clone(), "understand its query");
    let columns = with_rows(session, action, select, |rows| {
        let column = |column| Ok((rows.name(column)?, rows.declared(column)));
        let columns: Result<Vec<_>, Failure> = (0..rows.column_count()).map(column).collect();
        columns.map_err(|failure| connection_error(&database, action, failure).into())
    });
    columns.await.map_err(RowReadError::into_error)
}

/// True where the primary key is the rowid under another name, which is a number and never null.
/// Other keys of ordinary tables may be null. SQLite makes an index of each key but that one:
/// `INTEGER PRIMARY KEY DESC`, for one, is none.
async fn is_rowid(
    session: &mut Session,
    info: &TextRows,
    name: &str,
    schema: &str,
) -> Result<bool> {
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
        .query_text("read its primary key", &asked)
        .await?
        .is_empty())
}

/// Which classes of values a column holds.
#[derive(Clone, Copy, Debug, Default)]
struct StorageClasses {
    integers: bool,
    reals: bool,
    texts: bool,
    blobs: bool,
}

impl std::fmt::Display for StorageClasses {
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
async fn scan_storage_classes(
    session: &mut Session,
    select: &str,
    columns: &[usize],
) -> Result<BTreeMap<usize, StorageClasses>> {
    let database = session.database().clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut stored: BTreeMap<usize, StorageClasses> = columns
            .iter()
            .map(|column| (*column, StorageClasses::default()))
            .collect();
        while rows
            .step()
            .map_err(|failure| connection_error(&database, "look at its values", failure))?
        {
            for (column, stored) in &mut stored {
                match rows
                    .value(*column)
                    .map_err(|failure| connection_error(&database, "look at its values", failure))?
                {
                    SqliteValue::Null => {}
                    SqliteValue::Integer(_) => stored.integers = true,
                    SqliteValue::Real(_) => stored.reals = true,
                    SqliteValue::Text(_) => stored.texts = true,
                    SqliteValue::Blob(_) => stored.blobs = true,
                }
            }
        }
        Ok(stored)
    });
    looked.await.map_err(RowReadError::into_error)
}

/// The type of a column by what is stored in it.
fn type_from_storage(
    home: &SqlHome,
    name: &str,
    stored: &StorageClasses,
) -> Result<Option<ColumnType>, SqlError> {
    Ok(
        match (stored.integers, stored.reals, stored.texts, stored.blobs) {
            (true, false, false, false) => Some(ColumnType::Int64),
            (_, true, false, false) => Some(ColumnType::Float64),
            (false, false, _, false) => Some(ColumnType::Text),
            (false, false, false, true) => Some(ColumnType::Binary),
            _ if home.on_mismatch == OnMismatch::Text || home.types.contains_key(name) => None,
            _ => {
                return Err(SqlError::InvalidValue {
                    column: name.to_string(),
                    row: 0,
                    location: home.relation.to_string(),
                    reason: format!("it holds {stored}, and no type is declared for it"),
                    hint: "types of the home gives it one; on_mismatch: text makes it text",
                });
            }
        },
    )
}

/// What a declared type becomes; `None` for one that has no counterpart.
pub(super) fn type_from_declaration(declared: &str) -> Option<ColumnType> {
    let declared = declared.trim().to_ascii_uppercase();
    let (base, digits) = match declared.split_once('(') {
        Some((base, digits)) => (base.trim(), digits.split(')').next().unwrap_or_default()),
        None => (declared.as_str(), ""),
    };
    let is_unsigned = declared.contains("UNSIGNED");
    let whole = |signed: ColumnType, unsigned: ColumnType| {
        Some(if is_unsigned { unsigned } else { signed })
    };
    let has = |part: &str| base.contains(part);
    match base
        .split_whitespace()
        .find(|word| *word != "UNSIGNED")
        .unwrap_or_default()
    {
        "BOOL" | "BOOLEAN" => Some(ColumnType::Boolean),
        "TINYINT" | "INT1" => whole(ColumnType::Int8, ColumnType::UInt8),
        "SMALLINT" | "INT2" => whole(ColumnType::Int16, ColumnType::UInt16),
        "MEDIUMINT" | "INT4" => whole(ColumnType::Int32, ColumnType::UInt32),
        "DATE" => Some(ColumnType::Date),
        "DATETIME" => Some(ColumnType::Timestamp),
        "TIMESTAMP" if declared.contains("WITH TIME ZONE") && !declared.contains("WITHOUT") => {
            Some(ColumnType::TimestampUtc)
        }
        "TIMESTAMP" => Some(ColumnType::Timestamp),
        "TIMESTAMPTZ" => Some(ColumnType::TimestampUtc),
        "TIME" => Some(ColumnType::Time),
        "FLOAT4" => Some(ColumnType::Float32),
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DECIMAL_TEXT" => {
            let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            ((1..=MAX_PRECISION).contains(&precision) && scale <= precision)
                .then_some(ColumnType::Decimal { precision, scale })
        }
        // As SQLite finds a column's affinity.
        _ if has("INT") => whole(ColumnType::Int64, ColumnType::UInt64),
        _ if has("CHAR") || has("CLOB") || has("TEXT") => Some(ColumnType::Text),
        _ if has("BLOB") || has("BINARY") => Some(ColumnType::Binary),
        _ if has("REAL") || has("FLOA") || has("DOUB") => Some(ColumnType::Float64),
        _ => None,
    }
}

fn column(
    home: &SqlHome,
    name: String,
    declared: String,
    found: Option<ColumnType>,
    nullable: bool,
) -> SqlColumn {
    let wanted = home.types.get(&name).cloned();
    let as_text = wanted.is_none() && found.is_none();
    // As text, every value has its own form.
    SqlColumn {
        is_read_as_text: as_text,
        kind: wanted.or(found).unwrap_or(ColumnType::Text),
        name,
        declared,
        nullable,
    }
}

/// Makes text of the columns that hold a value which does not fit.
async fn widen_to_text(
    home: &SqlHome,
    session: &mut Session,
    select: &str,
    described: &mut TableDescription,
) -> Result<()> {
    let database = session.database().clone();
    let all = described.all_columns.clone();
    let looked = with_rows(session, "look at its values", select, |rows| {
        let mut builders: Vec<ColumnBuilder> = all
            .iter()
            .map(|column| ColumnBuilder::new(&column.kind, 0))
            .collect();
        let mut unfit = vec![false; all.len()];
        let mut since = 0;
        while rows
            .step()
            .map_err(|failure| connection_error(&database, "look at its values", failure))?
        {
            for (number, builder) in builders
                .iter_mut()
                .enumerate()
                .filter(|(number, _)| !all[*number].is_read_as_text)
            {
                let value = rows.value(number).map_err(|failure| {
                    connection_error(&database, "look at its values", failure)
                })?;
                if !unfit[number]
                    && matches!(
                        push(builder, &all[number], value),
                        Err(ConversionError::Mismatch(_))
                    )
                {
                    unfit[number] = true;
                }
            }
            since += 1;
            if since == SCRATCH_ROWS {
                builders = all
                    .iter()
                    .map(|column| ColumnBuilder::new(&column.kind, 0))
                    .collect();
                since = 0;
            }
        }
        Ok(unfit)
    });
    let unfit = looked.await.map_err(RowReadError::into_error)?;
    for (column, _) in described
        .all_columns
        .iter_mut()
        .zip(unfit)
        .filter(|(_, is_unfit)| *is_unfit)
    {
        if !home.types.contains_key(&column.name) {
            (column.kind, column.is_read_as_text) = (ColumnType::Text, true);
        }
    }
    Ok(())
}

/// How many rows are looked at before they are forgotten.
const SCRATCH_ROWS: usize = 1 << 12;
