//! What SQLite says of a table. Its columns have an affinity, by which values may become others:
//! see <https://www.sqlite.org/datatype3.html>.

use super::{Cascade, CatalogColumn, CatalogTable, StorageType, WireType};
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::home::sql::sqlite_type;
use crate::store::sql::resolved_table::ResolvedTable;
use crate::store::sql::rule::{DecimalDigits, TextRule};

pub(in crate::store::sql) async fn read_table(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Option<CatalogTable>> {
    let (schema, name) = (
        Dialect::Sqlite.quote_text(&resolved.schema),
        Dialect::Sqlite.quote_text(&resolved.table),
    );
    let found =
        format!("SELECT type, strict FROM pragma_table_list({name}) WHERE schema = {schema}");
    let found = session.query_text("find its table", &found).await?;
    let Some([Some(kind), Some(is_strict)]) = found.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let asked = format!(
        "SELECT name, type, \"notnull\", pk, hidden, dflt_value \
         FROM pragma_table_xinfo({name}, {schema}) ORDER BY cid"
    );
    let info = session.query_text("read its columns", &asked).await?;
    // A key that has an index of its own does not number the rows.
    let indexed = format!("SELECT 1 FROM pragma_index_list({name}, {schema}) WHERE origin = 'pk'");
    let keys = info
        .iter()
        .filter(|row| row[3].as_deref() != Some("0"))
        .count();
    let numbers_rows = keys == 1
        && session
            .query_text("read its key", &indexed)
            .await?
            .is_empty();
    let triggers = format!(
        "SELECT count(*) FROM {}.sqlite_master WHERE type = 'trigger' \
         AND tbl_name = {name} COLLATE NOCASE",
        Dialect::Sqlite.quote_name(&resolved.schema)
    );
    let triggers = session
        .query_text("look for its triggers", &triggers)
        .await?;
    let has_triggers = triggers.first().and_then(|row| row.first()?.as_deref()) != Some("0");
    let columns = info
        .into_iter()
        .map(|row| column_from_row(row, is_strict == "1", numbers_rows))
        .collect();
    let refused = (kind == "shadow").then(|| "belongs to a virtual table".to_string());
    Ok(Some(CatalogTable {
        columns,
        has_triggers,
        refusal: refused,
    }))
}

fn column_from_row(row: Vec<Option<String>>, is_strict: bool, numbers_rows: bool) -> CatalogColumn {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten().unwrap_or_default();
    let (name, declared, not_null, key, hidden, default) =
        (next(), next(), next(), next(), next(), next());
    let is_number = numbers_rows && key != "0" && declared.eq_ignore_ascii_case("integer");
    CatalogColumn {
        storage: storage_type(&declared, is_strict),
        is_nullable: not_null != "1" && !is_number,
        is_required: not_null == "1" && !is_number && default.is_empty() && hidden == "0",
        is_computed: matches!(hidden.as_str(), "2" | "3"),
        is_identity: false,
        // Which order its indexes have, the rows themselves are asked for.
        has_loose_collation: true,
        wire: WireType::Text,
        name,
        declared_type: declared,
    }
}

fn storage_type(declared: &str, is_strict: bool) -> StorageType {
    let affinity = Affinity::from_declared(declared);
    let as_double = affinity != Affinity::Text;
    let Some(kind) = sqlite_type(declared) else {
        return match affinity {
            Affinity::None => StorageType::Anything,
            _ if is_strict => StorageType::Anything,
            _ => StorageType::NumericAffinity,
        };
    };
    match kind {
        ColumnType::Boolean => StorageType::Boolean,
        ColumnType::UInt64 => StorageType::Integer {
            least: 0,
            most: i64::MAX.into(),
        },
        ColumnType::Float32 => StorageType::Float32,
        ColumnType::Float64 => StorageType::Float64,
        ColumnType::Decimal { precision, scale } => StorageType::Decimal(DecimalDigits {
            precision: Some(precision.into()),
            scale: scale.into(),
            as_double,
        }),
        ColumnType::Text => StorageType::Text(TextRule::default()),
        ColumnType::Binary => StorageType::Bytes(None),
        ColumnType::Date => StorageType::Date,
        ColumnType::Time => StorageType::Time(6),
        ColumnType::Timestamp => StorageType::Timestamp(6),
        ColumnType::TimestampUtc => StorageType::TimestampUtc(6),
        kind => StorageType::for_integer_type(&kind).unwrap_or(StorageType::Unsupported),
    }
}

/// What SQLite makes of values of a column, by its declared type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    /// Nothing.
    None,
    /// Texts.
    Text,
    /// Numbers, where a text is one.
    Numeric,
}

impl Affinity {
    fn from_declared(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Self::Numeric
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::None
        } else {
            Self::Numeric
        }
    }
}

/// Foreign keys of other tables: hygge's sessions mind them, whether others do or not.
pub(in crate::store::sql) async fn cascades(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Vec<Cascade>> {
    let (schema, name) = (
        Dialect::Sqlite.quote_text(&resolved.schema),
        Dialect::Sqlite.quote_text(&resolved.table),
    );
    let asked = format!(
        "SELECT t.name, k.on_delete, k.on_update, k.\"to\" FROM pragma_table_list t \
         JOIN pragma_foreign_key_list(t.name, t.schema) k \
         WHERE t.schema = {schema} AND t.type = 'table' AND k.\"table\" = {name} COLLATE NOCASE \
         AND t.name <> {name} COLLATE NOCASE ORDER BY 1"
    );
    let mut found: Vec<Cascade> = Vec::new();
    for row in session
        .query_text("look for tables that refer to it", &asked)
        .await?
    {
        let [Some(table), Some(delete), Some(update), column] = row.as_slice() else {
            continue;
        };
        for (rule, verb, is_of_delete) in [(delete, "DELETE", true), (update, "UPDATE", false)] {
            if !matches!(rule.as_str(), "CASCADE" | "SET NULL" | "SET DEFAULT") {
                continue;
            }
            let cascade = Cascade {
                table: table.clone(),
                rule: format!("ON {verb} {rule}"),
                is_on_delete: is_of_delete,
                // Where none is named, it is the key.
                columns: column.iter().cloned().collect(),
            };
            if !found.contains(&cascade) {
                found.push(cascade);
            }
        }
    }
    Ok(found)
}
