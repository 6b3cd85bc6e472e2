//! What PostgreSQL says of a table, and how its types are sent.

use super::{CatalogColumn, CatalogTable, StorageType};
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::store::sql::resolved_table::ResolvedTable;
use crate::store::sql::rule::{DecimalDigits, TextForm, TextRule, TrailingBlanks};

/// How a value is sent to PostgreSQL: as the receive function of its type reads it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store::sql) enum WireType {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// As text, whatever becomes of it.
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampUtc,
    /// A list, with the number of its elements' type.
    List(Box<WireType>, u32),
}

/// Rows of another table that go or change with rows of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::sql) struct Cascade {
    /// The other table.
    pub(in crate::store::sql) table: String,
    /// The rule, in SQL's words: `ON DELETE CASCADE`.
    pub(in crate::store::sql) rule: String,
    /// True for what a removed row does, false for one whose key changes.
    pub(in crate::store::sql) is_on_delete: bool,
    /// The columns of this table that are referred to.
    pub(in crate::store::sql) columns: Vec<String>,
}

pub(in crate::store::sql) async fn read_table(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Option<CatalogTable>> {
    let dialect = Dialect::Postgres;
    let name = dialect.quote_text(&resolved.relation().source_sql(dialect));
    let asked = format!(
        "SELECT c.oid, c.relkind, \
         EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal \
         AND t.tgenabled <> 'D') \
         OR EXISTS (SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid \
         AND r.rulename <> '_RETURN') \
         FROM pg_class c WHERE c.oid = to_regclass({name})"
    );
    let found = session.query_text("find its table", &asked).await?;
    let Some([Some(oid), Some(kind), has_triggers]) = found.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let refused = match kind.as_str() {
        "r" | "p" | "v" | "f" => None,
        "m" => Some("is a materialized view, which takes no rows"),
        _ => Some("takes no rows"),
    };
    let columns = read_columns(oid, session).await?;
    Ok(Some(CatalogTable {
        columns,
        has_triggers: has_triggers.as_deref() == Some("t"),
        refusal: refused.map(String::from),
    }))
}

/// The columns: a domain is what it is made of, a list is told by its elements.
async fn read_columns(oid: &str, session: &mut Session) -> Result<Vec<CatalogColumn>> {
    let asked = format!(
        "WITH RECURSIVE bases AS (\
         SELECT a.attnum, a.attname, a.attnotnull AS filled, a.attidentity, a.attgenerated, \
         a.attcollation, a.atthasdef AS given, \
         format_type(a.atttypid, a.atttypmod) AS declared, a.atttypid AS oid, a.atttypmod AS \
         typmod \
         FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL \
         SELECT b.attnum, b.attname, b.filled \
         OR t.typnotnull, b.attidentity, b.attgenerated, b.attcollation, b.given \
         OR t.typdefault IS NOT NULL, b.declared, \
         t.typbasetype, t.typtypmod FROM bases b JOIN pg_type t ON t.oid = b.oid \
         WHERE t.typtype = 'd') \
         SELECT b.attname, b.declared, b.typmod, b.filled, b.attidentity, b.attgenerated, \
         t.typname, n.nspname, \
         e.typname, e.oid, coalesce(o.collisdeterministic, true), b.given \
         FROM bases b JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd' JOIN pg_namespace n \
         ON n.oid = t.typnamespace \
         LEFT JOIN pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem AND t.typlen = -1 \
         LEFT JOIN pg_collation o ON o.oid = b.attcollation \
         ORDER BY b.attnum"
    );
    let rows = session.query_text("read its columns", &asked).await?;
    Ok(rows.into_iter().map(column_from_row).collect())
}

fn column_from_row(row: Vec<Option<String>>) -> CatalogColumn {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten().unwrap_or_default();
    let (name, declared, typmod, filled, identity, computed) =
        (next(), next(), next(), next(), next(), next());
    let (base, namespace, element, element_oid, is_deterministic, given) =
        (next(), next(), next(), next(), next(), next());
    let typmod: i32 = typmod.parse().unwrap_or(-1);
    let (storage, wire) = if namespace != "pg_catalog" {
        cast_from_text(true, TextForm::Any)
    } else if element.is_empty() {
        scalar_type(&base, typmod)
    } else {
        list_type(&element, &element_oid, typmod)
    };
    CatalogColumn {
        has_loose_collation: is_deterministic == "f"
            || matches!(base.as_str(), "bpchar" | "citext")
            || namespace != "pg_catalog",
        is_nullable: filled != "t",
        is_required: filled == "t" && given != "t" && identity.is_empty() && computed.is_empty(),
        is_computed: !computed.is_empty(),
        is_identity: identity == "a",
        name,
        declared_type: declared,
        storage,
        wire,
    }
}

fn cast_from_text(is_compared: bool, form: TextForm) -> (StorageType, WireType) {
    (
        StorageType::CastFromText { is_compared, form },
        WireType::Text,
    )
}

/// A type of PostgreSQL's own.
fn scalar_type(name: &str, typmod: i32) -> (StorageType, WireType) {
    let from_text = || match name {
        // It has the same digits in all its forms.
        "uuid" => cast_from_text(false, TextForm::Any),
        // It loses blanks, the order of its names, and names that stand twice.
        "jsonb" => cast_from_text(
            false,
            TextForm::Json {
                numbers_of_64_bits: false,
            },
        ),
        _ => cast_from_text(true, TextForm::Any),
    };
    builtin_type(name, typmod).unwrap_or_else(from_text)
}

/// A list, by the type of its elements.
fn list_type(element: &str, element_oid: &str, typmod: i32) -> (StorageType, WireType) {
    let (holds, wire) =
        builtin_type(element, typmod).unwrap_or_else(|| cast_from_text(true, TextForm::Any));
    let number = if matches!(holds, StorageType::CastFromText { .. }) {
        TEXT_OID
    } else {
        element_oid.parse().unwrap_or(TEXT_OID)
    };
    (
        StorageType::List(Box::new(holds)),
        WireType::List(Box::new(wire), number),
    )
}

/// The number of `text` in pg_type.dat.
const TEXT_OID: u32 = 25;

/// The types of PostgreSQL's own that have a counterpart. Modifiers are lengths with 4 more, or
/// digits.
fn builtin_type(name: &str, typmod: i32) -> Option<(StorageType, WireType)> {
    let whole = |least: i128, most: i128| StorageType::Integer { least, most };
    let fraction = || u32::try_from(typmod).unwrap_or(6);
    let length = || u64::try_from(typmod.checked_sub(4)?).ok();
    Some(match name {
        "bool" => (StorageType::Boolean, WireType::Boolean),
        "int2" => (whole(i16::MIN.into(), i16::MAX.into()), WireType::Int2),
        "int4" => (whole(i32::MIN.into(), i32::MAX.into()), WireType::Int4),
        "int8" => (whole(i64::MIN.into(), i64::MAX.into()), WireType::Int8),
        "oid" => (whole(0, u32::MAX.into()), WireType::Oid),
        "float4" => (StorageType::Float32, WireType::Float4),
        "float8" => (StorageType::Float64, WireType::Float8),
        "text" | "json" => (StorageType::Text(TextRule::default()), WireType::Text),
        "varchar" => (
            StorageType::Text(TextRule {
                characters: length(),
                ..TextRule::default()
            }),
            WireType::Text,
        ),
        "bpchar" => {
            let blanks = if length().is_some() {
                TrailingBlanks::Padded
            } else {
                TrailingBlanks::Kept
            };
            (
                StorageType::Text(TextRule {
                    characters: length(),
                    trailing_blanks: blanks,
                    ..TextRule::default()
                }),
                WireType::Text,
            )
        }
        "name" => (
            StorageType::Text(TextRule {
                bytes: Some(63),
                ..TextRule::default()
            }),
            WireType::Text,
        ),
        "bytea" => (StorageType::Bytes(None), WireType::Bytes),
        "date" => (StorageType::Date, WireType::Date),
        "time" => (StorageType::Time(fraction()), WireType::Time),
        "timestamp" => (StorageType::Timestamp(fraction()), WireType::Timestamp),
        "timestamptz" => (
            StorageType::TimestampUtc(fraction()),
            WireType::TimestampUtc,
        ),
        "numeric" => (
            StorageType::Decimal(digits_from_typmod(typmod)),
            WireType::Numeric,
        ),
        _ => return None,
    })
}

/// The digits that a modifier says: 16 bits of precision, 11 of scale with a sign.
fn digits_from_typmod(typmod: i32) -> DecimalDigits {
    let none = DecimalDigits {
        precision: None,
        scale: 0,
        as_double: false,
    };
    let Some(packed) = typmod.checked_sub(4).filter(|packed| *packed >= 0) else {
        return none;
    };
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    DecimalDigits {
        precision: u32::try_from(packed >> 16).ok(),
        scale,
        as_double: false,
    }
}

pub(in crate::store::sql) async fn cascades(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Vec<Cascade>> {
    let dialect = Dialect::Postgres;
    let name = dialect.quote_text(&resolved.relation().source_sql(dialect));
    // Of a table with partitions or children, rows of those go too.
    let asked = format!(
        "WITH RECURSIVE family AS (SELECT to_regclass({name})::oid AS oid UNION SELECT i.inhrelid \
         FROM pg_inherits i JOIN family f ON i.inhparent = f.oid) \
         SELECT DISTINCT k.conrelid::regclass::text, k.confdeltype, k.confupdtype, \
         (SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_attribute a \
         WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)) \
         FROM pg_constraint k JOIN family f ON k.confrelid = f.oid \
         WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT oid FROM family) \
         AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')) \
         ORDER BY 1"
    );
    let word = |code: &str| match code {
        "c" => Some("CASCADE"),
        "n" => Some("SET NULL"),
        "d" => Some("SET DEFAULT"),
        _ => None,
    };
    let mut found = Vec::new();
    for row in session
        .query_text("look for tables that refer to it", &asked)
        .await?
    {
        let [Some(table), Some(delete), Some(update), columns] = row.as_slice() else {
            continue;
        };
        let columns: Vec<String> = columns
            .iter()
            .flat_map(|columns| columns.split(',').map(String::from))
            .collect();
        for (code, verb, is_of_delete) in [(delete, "DELETE", true), (update, "UPDATE", false)] {
            if let Some(word) = word(code) {
                let (table, columns) = (table.clone(), columns.clone());
                found.push(Cascade {
                    table,
                    rule: format!("ON {verb} {word}"),
                    is_on_delete: is_of_delete,
                    columns,
                });
            }
        }
    }
    Ok(found)
}
