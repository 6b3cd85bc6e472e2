//! What MySQL and MariaDB say of a table.

use super::{Cascade, CatalogColumn, CatalogTable, StorageType, WireType};
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::store::sql::resolved_table::ResolvedTable;
use crate::store::sql::rule::{ByteLength, DecimalDigits, TextForm, TextRule, TrailingBlanks};

pub(in crate::store::sql) async fn read_table(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Option<CatalogTable>> {
    let text = |name: &str| Dialect::MySql.quote_text(name);
    let here = format!(
        "table_schema = {} AND table_name = {}",
        text(&resolved.schema),
        text(&resolved.table)
    );
    let asked = format!(
        "SELECT t.engine, t.table_type, (SELECT max(e.transactions) \
         FROM information_schema.engines e WHERE e.engine = t.engine), \
         (SELECT count(*) FROM information_schema.triggers \
         WHERE event_object_schema = t.table_schema AND event_object_table = t.table_name) \
         FROM information_schema.tables t WHERE {here}"
    );
    let found = session.query_text("find its table", &asked).await?;
    let Some([engine, kind, transactions, triggers]) = found.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let refused = match (engine, transactions.as_deref()) {
        _ if kind.as_deref() == Some("VIEW") => {
            Some("is a view: whether the tables behind it have transactions cannot be told".into())
        }
        (Some(_), Some("YES")) => None,
        (engine, _) => {
            let engine = engine.as_deref().unwrap_or("unknown");
            Some(format!(
                "has the engine {engine}, which has no transactions: a load that fails would leave \
                 half of its rows"
            ))
        }
    };
    let asked = format!(
        "SELECT column_name, data_type, column_type, character_maximum_length, \
         character_octet_length, numeric_precision, \
         numeric_scale, datetime_precision, character_set_name, collation_name, is_nullable, \
         extra, column_default \
         FROM information_schema.columns WHERE {here} ORDER BY ordinal_position"
    );
    let rows = session.query_text("read its columns", &asked).await?;
    let columns = rows.into_iter().map(column_from_schema).collect();
    Ok(Some(CatalogTable {
        columns,
        has_triggers: triggers.as_deref() != Some("0"),
        refusal: refused,
    }))
}

/// A table of this session alone, which only `SHOW COLUMNS` describes.
pub(in crate::store::sql) async fn read_temp_table(
    relation: &str,
    session: &mut Session,
) -> Result<CatalogTable> {
    let rows = session
        .query_text(
            "read its columns",
            &format!("SHOW FULL COLUMNS FROM {relation}"),
        )
        .await?;
    Ok(CatalogTable {
        columns: rows.into_iter().map(column_from_show).collect(),
        has_triggers: false,
        refusal: None,
    })
}

/// What `information_schema.columns` would have of a column, by its type as the server writes it.
fn column_from_show(row: Vec<Option<String>>) -> CatalogColumn {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let (name, declared, collation, nullable, _, default, extra) =
        (next(), next(), next(), next(), next(), next(), next());
    let declared = declared.unwrap_or_default();
    let kind: String = declared
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let inside = declared
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(inside, _)| inside);
    let mut numbers = inside.split(',').map(|number| {
        number
            .trim()
            .parse::<u64>()
            .ok()
            .map(|number| number.to_string())
    });
    let (first, second) = (numbers.next().flatten(), numbers.next().flatten());
    let long = |bytes: u64| (None, Some(bytes.to_string()));
    let (characters, octets) = match kind.as_str() {
        "tinytext" | "tinyblob" => long((1 << 8) - 1),
        "text" | "blob" => long((1 << 16) - 1),
        "mediumtext" | "mediumblob" => long((1 << 24) - 1),
        "longtext" | "longblob" => long((1 << 32) - 1),
        "binary" | "varbinary" => (None, first.clone()),
        _ => (first.clone(), None),
    };
    let charset = collation
        .as_ref()
        .and_then(|collation| collation.split('_').next().map(String::from));
    let (precision, fraction) = (first.clone(), first);
    column_from_schema(vec![
        name,
        Some(kind),
        Some(declared),
        characters,
        octets,
        precision,
        second,
        fraction,
        charset,
        collation,
        nullable,
        extra,
        default,
    ])
}

fn column_from_schema(row: Vec<Option<String>>) -> CatalogColumn {
    let column = SchemaColumn::parse(row);
    let is_generated = ["virtual generated", "stored generated", "persistent"]
        .iter()
        .any(|word| column.extra.contains(word));
    // Only these compare texts as they are, with blanks at their end.
    let is_exact = column.collation.is_empty()
        || matches!(column.collation.as_str(), "utf8mb4_0900_bin" | "binary")
        || column.collation.ends_with("_nopad_bin");
    CatalogColumn {
        storage: column.storage(),
        is_nullable: column.is_nullable && !column.extra.contains("auto_increment"),
        is_required: !column.is_nullable && !column.has_default,
        is_computed: is_generated,
        is_identity: false,
        has_loose_collation: !is_exact,
        wire: WireType::Text,
        name: column.name,
        declared_type: column.declared,
    }
}

/// A column as `information_schema.columns` has it.
struct SchemaColumn {
    name: String,
    kind: String,
    declared: String,
    characters: Option<u64>,
    octets: Option<u64>,
    precision: Option<u32>,
    scale: Option<i32>,
    fraction: u32,
    charset: String,
    collation: String,
    is_nullable: bool,
    extra: String,
    has_default: bool,
}

impl SchemaColumn {
    fn parse(row: Vec<Option<String>>) -> Self {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten().unwrap_or_default();
        let (name, kind, declared) = (next(), next().to_ascii_lowercase(), next());
        let (characters, octets) = (next().parse().ok(), next().parse().ok());
        let (precision, scale) = (next().parse().ok(), next().parse().ok());
        let fraction = next().parse().unwrap_or(0);
        let (charset, collation) = (next(), next());
        let (nullable, extra) = (next(), next().to_ascii_lowercase());
        Self {
            has_default: row.next().flatten().is_some()
                || extra.contains("auto_increment")
                || extra.contains("generated"),
            name,
            kind,
            declared,
            characters,
            octets,
            precision,
            scale,
            fraction,
            charset,
            collation,
            is_nullable: nullable == "YES",
            extra,
        }
    }

    /// What the column holds.
    fn storage(&self) -> StorageType {
        match self.kind.as_str() {
            "tinyint" => self.integer(8),
            "smallint" => self.integer(16),
            "mediumint" => self.integer(24),
            "int" => self.integer(32),
            "bigint" => self.integer(64),
            "year" => StorageType::Year,
            "float" | "double" => self.float(),
            "decimal" => StorageType::Decimal(DecimalDigits {
                precision: self.precision,
                scale: self.scale.unwrap_or_default(),
                as_double: false,
            }),
            "uuid" => StorageType::CastFromText {
                is_compared: false,
                form: TextForm::Any,
            },
            "binary" => StorageType::Bytes(self.octets.map(ByteLength::Exactly)),
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                StorageType::Bytes(self.octets.map(ByteLength::AtMost))
            }
            "bit" => StorageType::Bits(self.precision.unwrap_or(1)),
            "date" => StorageType::Date,
            "time" => StorageType::Time(self.fraction),
            "datetime" => StorageType::Timestamp(self.fraction),
            "timestamp" => StorageType::TimestampUtc(self.fraction),
            _ => self
                .text_rule()
                .map_or(StorageType::Unsupported, StorageType::Text),
        }
    }

    fn integer(&self, bits: u32) -> StorageType {
        let (least, most) = if self.declared.contains("unsigned") {
            (0, (1 << bits) - 1)
        } else {
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        };
        StorageType::Integer { least, most }
    }

    fn float(&self) -> StorageType {
        let is_single = self.kind == "float";
        match (self.precision, self.scale) {
            (Some(digits), Some(scale)) => StorageType::Rounded {
                digits: u8::try_from(digits).unwrap_or(u8::MAX),
                scale: u8::try_from(scale).unwrap_or_default(),
                is_single,
            },
            _ if is_single => StorageType::Float32,
            _ => StorageType::Float64,
        }
    }

    /// What a text must be like; `None` for types that hold no texts.
    fn text_rule(&self) -> Option<TextRule> {
        let characters = |trailing_blanks, form| TextRule {
            characters: self.characters,
            bytes: None,
            trailing_blanks,
            form,
        };
        let any_length = |form| TextRule {
            form,
            ..TextRule::default()
        };
        Some(match self.kind.as_str() {
            "char" => characters(TrailingBlanks::Trimmed, TextForm::Any),
            "varchar" => characters(TrailingBlanks::Kept, TextForm::Any),
            "enum" => characters(
                TrailingBlanks::Kept,
                TextForm::OneOf(enum_members(&self.declared)),
            ),
            "set" => characters(
                TrailingBlanks::Kept,
                TextForm::SetOf(enum_members(&self.declared)),
            ),
            "tinytext" | "text" | "mediumtext" | "longtext" => self.long_text_rule(),
            "json" => any_length(TextForm::Json {
                numbers_of_64_bits: true,
            }),
            "inet4" => any_length(TextForm::Inet4),
            "inet6" => any_length(TextForm::Inet6),
            _ => return None,
        })
    }

    /// The length of a text is in bytes; of character sets with one for each letter there are as
    /// many.
    fn long_text_rule(&self) -> TextRule {
        let (characters, bytes) = if self.charset.starts_with("utf8") {
            (None, self.octets)
        } else {
            (self.octets, None)
        };
        TextRule {
            characters,
            bytes,
            ..TextRule::default()
        }
    }
}

/// The values of `enum('a','b')`, or of a set. A quote in one of them stands twice.
fn enum_members(declared: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut rest = declared.split_once('(').map_or("", |(_, rest)| rest);
    while let Some(quoted) = rest.trim_start_matches(',').strip_prefix('\'') {
        let mut member = String::new();
        let mut signs = quoted.char_indices().peekable();
        let mut end = quoted.len();
        while let Some((place, sign)) = signs.next() {
            if sign != '\'' {
                member.push(sign);
            } else if signs.next_if(|(_, next)| *next == '\'').is_some() {
                member.push('\'');
            } else {
                end = place + 1;
                break;
            }
        }
        members.push(member);
        rest = &quoted[end..];
    }
    members
}

pub(in crate::store::sql) async fn cascades(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Vec<Cascade>> {
    let text = |name: &str| Dialect::MySql.quote_text(name);
    let (schema, name) = (text(&resolved.schema), text(&resolved.table));
    if !may_be_referenced(resolved, session).await {
        return Ok(Vec::new());
    }
    let asked = format!(
        "SELECT CONCAT(r.constraint_schema, '.', r.table_name), r.delete_rule, r.update_rule, \
         (SELECT GROUP_CONCAT(k.referenced_column_name SEPARATOR '\\n') \
         FROM information_schema.key_column_usage k \
         WHERE k.constraint_schema = r.constraint_schema \
         AND k.constraint_name = r.constraint_name AND k.table_name = r.table_name) \
         FROM information_schema.referential_constraints r \
         WHERE r.unique_constraint_schema = {schema} AND r.referenced_table_name = {name} \
         AND NOT (r.constraint_schema = {schema} AND r.table_name = {name}) ORDER BY 1"
    );
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
            .flat_map(|columns| columns.split('\n').map(String::from))
            .collect();
        for (rule, verb, is_of_delete) in [(delete, "DELETE", true), (update, "UPDATE", false)] {
            if matches!(rule.as_str(), "CASCADE" | "SET NULL" | "SET DEFAULT") {
                let (table, columns) = (table.clone(), columns.clone());
                found.push(Cascade {
                    table,
                    rule: format!("ON {verb} {rule}"),
                    is_on_delete: is_of_delete,
                    columns,
                });
            }
        }
    }
    Ok(found)
}

/// False where no table refers to this one. To know which do, MariaDB opens every table of the
/// server; its engine has them in one list, which only some users may ask, and MySQL does not have.
async fn may_be_referenced(resolved: &ResolvedTable, session: &mut Session) -> bool {
    // Other letters are spelt in a way of its own there.
    let is_plain = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    };
    if !is_plain(&resolved.schema) || !is_plain(&resolved.table) {
        return true;
    }
    let name = Dialect::MySql.quote_text(&format!("{}/{}", resolved.schema, resolved.table));
    let asked = format!(
        "SELECT COUNT(*) FROM information_schema.innodb_sys_foreign \
         WHERE LOWER(ref_name) = LOWER({name})"
    );
    let found = session
        .query_text("look for tables that refer to it", &asked)
        .await;
    found.map_or(true, |rows| {
        rows.into_iter()
            .flatten()
            .next()
            .flatten()
            .is_none_or(|count| count != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::enum_members;

    #[test]
    fn members_are_read_from_their_declaration() {
        assert_eq!(
            enum_members("enum('a','b c','it''s',',','')"),
            ["a", "b c", "it's", ",", ""]
        );
        assert_eq!(enum_members("set('x')"), ["x"]);
    }
}
