//! What SQLite says of a table. Its columns have an affinity, by which values may become others:
//! see <https://www.sqlite.org/datatype3.html>.

use super::{Cascade, Column, Holds, Table, Wire};
use crate::connection::types::Type;
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::home::sql::type_in_sqlite;
use crate::store::sql::place::Place;
use crate::store::sql::rule::{Digits, Texts};

pub(super) async fn table(place: &Place, session: &mut Session) -> Result<Option<Table>> {
    let (schema, name) = (
        Dialect::Sqlite.text(&place.schema),
        Dialect::Sqlite.text(&place.table),
    );
    let found =
        format!("SELECT type, strict FROM pragma_table_list({name}) WHERE schema = {schema}");
    let found = session.ask("find its table", &found).await?;
    let Some([Some(kind), Some(is_strict)]) = found.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let asked = format!(
        "SELECT name, type, \"notnull\", pk, hidden, dflt_value FROM pragma_table_xinfo({name}, {schema}) ORDER BY cid"
    );
    let info = session.ask("read its columns", &asked).await?;
    // A key that has an index of its own does not number the rows.
    let indexed = format!("SELECT 1 FROM pragma_index_list({name}, {schema}) WHERE origin = 'pk'");
    let keys = info
        .iter()
        .filter(|row| row[3].as_deref() != Some("0"))
        .count();
    let numbers_rows = keys == 1 && session.ask("read its key", &indexed).await?.is_empty();
    let triggers = format!(
        "SELECT count(*) FROM {}.sqlite_master WHERE type = 'trigger' AND tbl_name = {name} COLLATE NOCASE",
        Dialect::Sqlite.quoted(&place.schema)
    );
    let triggers = session.ask("look for its triggers", &triggers).await?;
    let has_triggers = triggers.first().and_then(|row| row.first()?.as_deref()) != Some("0");
    let columns = info
        .into_iter()
        .map(|row| column(row, is_strict == "1", numbers_rows))
        .collect();
    let refused = (kind == "shadow").then(|| "belongs to a virtual table".to_string());
    Ok(Some(Table {
        columns,
        has_triggers,
        refused,
    }))
}

fn column(row: Vec<Option<String>>, is_strict: bool, numbers_rows: bool) -> Column {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten().unwrap_or_default();
    let (name, declared, not_null, key, hidden, default) =
        (next(), next(), next(), next(), next(), next());
    let is_number = numbers_rows && key != "0" && declared.eq_ignore_ascii_case("integer");
    Column {
        holds: holds(&declared, is_strict),
        takes_null: not_null != "1" && !is_number,
        is_needed: not_null == "1" && !is_number && default.is_empty() && hidden == "0",
        is_computed: matches!(hidden.as_str(), "2" | "3"),
        is_numbered: false,
        // Which order its indexes have, the rows themselves are asked for.
        folds: true,
        wire: Wire::Text,
        name,
        declared,
    }
}

fn holds(declared: &str, is_strict: bool) -> Holds {
    let affinity = Affinity::of(declared);
    let as_double = affinity != Affinity::Text;
    let Some(kind) = type_in_sqlite(declared) else {
        return match affinity {
            Affinity::None => Holds::Anything,
            _ if is_strict => Holds::Anything,
            _ => Holds::Numeric,
        };
    };
    match kind {
        Type::Boolean => Holds::Boolean,
        Type::UInt64 => Holds::Whole {
            least: 0,
            most: i64::MAX.into(),
        },
        Type::Float32 => Holds::Float32,
        Type::Float64 => Holds::Float64,
        Type::Decimal { precision, scale } => Holds::Decimal(Digits {
            precision: Some(precision.into()),
            scale: scale.into(),
            as_double,
        }),
        Type::Text => Holds::Text(Texts::default()),
        Type::Binary => Holds::Bytes(None),
        Type::Date => Holds::Date,
        Type::Time => Holds::Time(6),
        Type::Timestamp => Holds::Timestamp(6),
        Type::TimestampUtc => Holds::TimestampUtc(6),
        kind => Holds::of_whole(&kind).unwrap_or(Holds::Nothing),
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
    fn of(declared: &str) -> Self {
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
pub(super) async fn cascades(place: &Place, session: &mut Session) -> Result<Vec<Cascade>> {
    let (schema, name) = (
        Dialect::Sqlite.text(&place.schema),
        Dialect::Sqlite.text(&place.table),
    );
    let asked = format!(
        "SELECT t.name, k.on_delete, k.on_update, k.\"to\" FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name, t.schema) k \
         WHERE t.schema = {schema} AND t.type = 'table' AND k.\"table\" = {name} COLLATE NOCASE AND t.name <> {name} COLLATE NOCASE ORDER BY 1"
    );
    let mut found: Vec<Cascade> = Vec::new();
    for row in session
        .ask("look for tables that refer to it", &asked)
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
                is_of_delete,
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
