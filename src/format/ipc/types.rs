//! Columns as their values are, and as they are stored: what files of one flow, and of one part,
//! must have in common.
//!
//! They are read from the schema's message itself, so that a file passes whole whose types nothing
//! here can decode.

use std::collections::HashSet;

use polars_arrow::io::ipc::format::ipc as flat;
use polars_arrow::io::ipc::format::ipc::planus;

use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::arrays::EXTENSION_NAME;
use crate::format::{FileColumn, column_tree};

/// For `map_err`: flatbuffers that do not hold together.
pub(super) fn damaged(error: impl std::fmt::Display) -> String {
    format!("a message cannot be read: {error}")
}

/// Schemas have fewer levels: they are walked down.
const MAX_DEPTH: usize = 100;

/// Schemas have fewer fields.
const MAX_FIELDS: usize = 1_000_000;

/// What a file says of all its columns, by name.
pub(super) type CustomMetadata = Vec<(String, String)>;

/// What is said under some names.
pub(super) fn custom_metadata<'a>(
    pairs: planus::Result<Option<planus::Vector<'a, planus::Result<flat::KeyValueRef<'a>>>>>,
) -> Result<CustomMetadata, String> {
    let mut notes = CustomMetadata::new();
    for pair in pairs.map_err(damaged)?.into_iter().flatten() {
        let pair = pair.map_err(damaged)?;
        let text = |found: Option<&str>| found.unwrap_or_default().to_string();
        notes.push((
            text(pair.key().map_err(damaged)?),
            text(pair.value().map_err(damaged)?),
        ));
    }
    Ok(notes)
}

/// A column, or a field of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IpcColumn {
    pub(super) name: String,
    /// What its values are, in words; equal words mean equal types.
    pub(super) kind: String,
    is_nullable: bool,
    /// How they are stored, whether nulls may come, and what is said of them.
    stored: String,
    /// Why it cannot be decoded, in words.
    pub(super) unreadable: Option<&'static str>,
    pub(super) fields: Vec<Self>,
}

impl column_tree::ColumnNode for IpcColumn {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> &[Self] {
        &self.fields
    }
}

impl column_tree::TypedColumn for IpcColumn {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn is_nullable(&self) -> bool {
        self.is_nullable
    }
}

/// The columns of a schema.
///
/// # Errors
/// It is damaged, or too deep.
pub(super) fn columns(schema: &flat::SchemaRef<'_>) -> Result<Vec<IpcColumn>, String> {
    let mut left = MAX_FIELDS;
    let fields = schema
        .fields()
        .map_err(damaged)?
        .ok_or("its schema has no fields")?;
    let (mut found, mut names) = (Vec::new(), HashSet::new());
    for field in fields {
        let mut column = column(&field.map_err(damaged)?, 0, &mut left)?;
        if !names.insert(column.name.clone()) {
            column.unreadable = Some("two columns have this name");
        }
        found.push(column);
    }
    Ok(found)
}

fn column(field: &flat::FieldRef<'_>, depth: usize, left: &mut usize) -> Result<IpcColumn, String> {
    *left = left
        .checked_sub(1)
        .filter(|_| depth < MAX_DEPTH)
        .ok_or("its schema is too large")?;
    let name = field
        .name()
        .map_err(damaged)?
        .unwrap_or_default()
        .to_string();
    let kind = field
        .type_()
        .map_err(damaged)?
        .ok_or_else(|| format!("column {name} has no type"))?;
    let mut fields = Vec::new();
    for child in field.children().map_err(damaged)?.into_iter().flatten() {
        fields.push(self::column(&child.map_err(damaged)?, depth + 1, left)?);
    }
    let (mut words, mut stored, unreadable) = type_names(&kind)?;
    // What only names the elements says nothing of values, and is of how they are stored.
    match &kind {
        flat::TypeRef::List(_) | flat::TypeRef::LargeList(_) | flat::TypeRef::FixedSizeList(_) => {
            fields
                .iter_mut()
                .for_each(|element| rename_field(element, "element", &mut stored));
        }
        flat::TypeRef::Map(_) => {
            fields
                .iter()
                .for_each(|entries| stored.push_str(&format!(" {:?}", entries.name)));
            fields = fields
                .into_iter()
                .flat_map(|entries| entries.fields)
                .collect();
            fields
                .iter_mut()
                .zip(["key", "value"])
                .for_each(|(field, name)| rename_field(field, name, &mut stored));
        }
        _ => {}
    }
    if let Some(dictionary) = field.dictionary().map_err(damaged)? {
        let keys = dictionary.index_type().map_err(damaged)?;
        let keys = keys
            .map(|keys| {
                Ok::<_, String>((
                    keys.bit_width().map_err(damaged)?,
                    keys.is_signed().map_err(damaged)?,
                ))
            })
            .transpose()?;
        let (bits, is_signed) = keys.unwrap_or((32, true));
        let order = if dictionary.is_ordered().map_err(damaged)? {
            " ordered"
        } else {
            ""
        };
        stored = format!(
            "dictionary of {stored} by {}int{bits}{order}",
            if is_signed { "" } else { "u" }
        );
    }
    let is_nullable = field.nullable().map_err(damaged)?;
    stored.push_str(if is_nullable { " null" } else { "" });
    let mut said = custom_metadata(field.custom_metadata())?;
    if let Some((_, extension)) = said.iter().find(|(key, _)| key == EXTENSION_NAME) {
        words = format!("{extension} in {words}");
    }
    said.sort();
    said.iter()
        .for_each(|(key, value)| stored.push_str(&format!(" {key:?}={value:?}")));
    Ok(IpcColumn {
        name,
        kind: words,
        is_nullable,
        stored,
        unreadable,
        fields,
    })
}

/// Calls a field by the name that it has in every file.
fn rename_field(field: &mut IpcColumn, name: &str, stored: &mut String) {
    stored.push_str(&format!(" of {:?}", field.name));
    field.name = name.into();
}

/// What values are, how they are stored, and why they cannot be decoded.
fn type_names(kind: &flat::TypeRef<'_>) -> Result<(String, String, Option<&'static str>), String> {
    use flat::TypeRef;
    let both = |words: String| Ok((words.clone(), words, None));
    let one = |words: &str, stored: &str| Ok((words.to_string(), stored.to_string(), None));
    match kind {
        TypeRef::Null(_) => one("null", "null"),
        TypeRef::Bool(_) => one("boolean", "boolean"),
        TypeRef::Int(int) => {
            let sign = if int.is_signed().map_err(damaged)? {
                ""
            } else {
                "u"
            };
            both(format!("{sign}int{}", int.bit_width().map_err(damaged)?))
        }
        TypeRef::FloatingPoint(float) => match float.precision().map_err(damaged)? {
            flat::Precision::Half => one("float16", "float16"),
            flat::Precision::Single => one("float", "float"),
            flat::Precision::Double => one("double", "double"),
        },
        TypeRef::Utf8(_) => one("string", "utf8"),
        TypeRef::LargeUtf8(_) => one("string", "large_utf8"),
        TypeRef::Utf8View(_) => one("string", "utf8_view"),
        TypeRef::Binary(_) => one("binary", "binary"),
        TypeRef::LargeBinary(_) => one("binary", "large_binary"),
        TypeRef::BinaryView(_) => one("binary", "binary_view"),
        TypeRef::FixedSizeBinary(fixed) => {
            both(format!("binary[{}]", fixed.byte_width().map_err(damaged)?))
        }
        TypeRef::Date(date) => match date.unit().map_err(damaged)? {
            flat::DateUnit::Day => one("date", "date32"),
            flat::DateUnit::Millisecond => one("date", "date64"),
        },
        TypeRef::Time(time) => both(format!("time({})", unit(time.unit().map_err(damaged)?))),
        TypeRef::Timestamp(time) => {
            let zone = time
                .timezone()
                .map_err(damaged)?
                .map_or_else(String::new, |zone| format!(", {zone}"));
            both(format!(
                "timestamp({}{zone})",
                unit(time.unit().map_err(damaged)?)
            ))
        }
        TypeRef::Duration(time) => {
            both(format!("duration({})", unit(time.unit().map_err(damaged)?)))
        }
        TypeRef::Interval(interval) => match interval.unit().map_err(damaged)? {
            flat::IntervalUnit::YearMonth => one("interval of months", "interval of months"),
            flat::IntervalUnit::DayTime => one("interval of days", "interval of days"),
            flat::IntervalUnit::MonthDayNano => one("interval", "interval"),
        },
        TypeRef::Decimal(decimal) => {
            let (precision, scale) = (
                decimal.precision().map_err(damaged)?,
                decimal.scale().map_err(damaged)?,
            );
            let words = format!("decimal({precision},{scale})");
            let unreadable = (scale < 0 || precision < 1)
                .then_some("its decimals have their point behind the last digit");
            Ok((
                words.clone(),
                format!("{words} of {} bits", decimal.bit_width().map_err(damaged)?),
                unreadable,
            ))
        }
        TypeRef::List(_) => one("list", "list"),
        TypeRef::LargeList(_) => one("list", "large_list"),
        TypeRef::FixedSizeList(list) => {
            let size = list.list_size().map_err(damaged)?;
            Ok((
                "list".into(),
                format!("list[{size}]"),
                (size < 1).then_some("its lists have no elements"),
            ))
        }
        TypeRef::Struct(_) => one("group", "group"),
        TypeRef::Map(map) => one(
            "map",
            if map.keys_sorted().map_err(damaged)? {
                "map sorted"
            } else {
                "map"
            },
        ),
        TypeRef::Union(union) => {
            let ids: Vec<i32> = union
                .type_ids()
                .map_err(damaged)?
                .into_iter()
                .flatten()
                .collect();
            Ok((
                "union".into(),
                format!("union {:?} {ids:?}", union.mode().map_err(damaged)?),
                None,
            ))
        }
        TypeRef::RunEndEncoded(_) => Ok((
            "runs".into(),
            "runs".into(),
            Some("it is stored as runs (run-end encoded)"),
        )),
        TypeRef::ListView(_) | TypeRef::LargeListView(_) => Ok((
            "list".into(),
            "list_view".into(),
            Some("it is a view of lists"),
        )),
    }
}

fn unit(unit: flat::TimeUnit) -> &'static str {
    match unit {
        flat::TimeUnit::Second => "seconds",
        flat::TimeUnit::Millisecond => "milliseconds",
        flat::TimeUnit::Microsecond => "microseconds",
        flat::TimeUnit::Nanosecond => "nanoseconds",
    }
}

/// The digest of names, order and types of values.
pub(super) fn logical_digest(columns: &[IpcColumn]) -> Fingerprint {
    digest_by(columns, |column| &column.kind)
}

/// The digest of names, order and how values are stored.
pub(super) fn stored_digest(columns: &[IpcColumn]) -> Fingerprint {
    digest_by(columns, |column| &column.stored)
}

fn digest_by(columns: &[IpcColumn], by: fn(&IpcColumn) -> &str) -> Fingerprint {
    fn walk(columns: &[IpcColumn], by: fn(&IpcColumn) -> &str, writer: &mut KeyWriter) {
        writer.count(columns.len());
        for column in columns {
            writer.text(&column.name).text(by(column));
            walk(&column.fields, by, writer);
        }
    }
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("ipc");
    walk(columns, by, &mut writer);
    writer.finish()
}

/// The digest of all that two files must have in common to share a part.
pub(super) fn packing_digest(columns: &[IpcColumn], notes: &CustomMetadata) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.digest(&stored_digest(columns)).count(notes.len());
    for (key, value) in notes {
        writer.text(key).text(value);
    }
    writer.finish()
}

/// The digest of names and types of values, whatever their order.
pub(super) fn column_set_digest(columns: &[IpcColumn]) -> Fingerprint {
    column_tree::set_digest(columns)
}

/// The first column in which the values of two files differ in name or type, and how; `None` where
/// they do not.
pub(super) fn difference(one: &[IpcColumn], other: &[IpcColumn]) -> Option<String> {
    column_tree::set_difference(one, other)
}

/// The columns that have values themselves.
pub(super) fn leaves(columns: &[IpcColumn]) -> Vec<FileColumn> {
    column_tree::leaves(columns)
}

/// What keeps two files from sharing a part, in words.
pub(super) fn packing_conflict(
    one: (&[IpcColumn], &CustomMetadata),
    other: (&[IpcColumn], &CustomMetadata),
) -> Option<String> {
    if let Some(difference) =
        column_tree::difference(one.0, other.0, &|column| column.stored.clone())
    {
        return Some(difference);
    }
    let key = one
        .1
        .iter()
        .find(|note| !other.1.contains(note))
        .or_else(|| other.1.iter().find(|note| !one.1.contains(note)));
    key.map(|(key, _)| format!("their metadata {key:?} differs"))
}

/// The first column that cannot be decoded, and why.
pub(super) fn first_unreadable<'c>(
    mut columns: impl Iterator<Item = &'c IpcColumn>,
) -> Option<(String, String)> {
    fn walk(above: &str, column: &IpcColumn) -> Option<(String, String)> {
        let path = format!("{above}{}", column.name);
        let own = column.unreadable.map(|why| (path.clone(), why.to_string()));
        own.or_else(|| {
            column
                .fields
                .iter()
                .find_map(|field| walk(&format!("{path}."), field))
        })
    }
    columns.find_map(|column| walk("", column))
}
