//! Canonical columns in words, in keys and as texts that can be read again.

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use polars_arrow::io::ipc::read::deserialize_schema;
use polars_arrow::io::ipc::write::{default_ipc_fields, schema_to_bytes};

use super::FileColumn;
use super::arrays::{EXTENSION_NAME, canonical_field, inner_fields, with_extension_type};
use super::ipc::is_readable_schema;
use crate::connection::types::ColumnType;
use crate::error::catch_panic;
use crate::fingerprint::key::KeyWriter;

/// What formats call units of time.
const UNIT_NAMES: [(TimeUnit, &str); 4] = [
    (TimeUnit::Second, "seconds"),
    (TimeUnit::Millisecond, "milliseconds"),
    (TimeUnit::Microsecond, "microseconds"),
    (TimeUnit::Nanosecond, "nanoseconds"),
];

/// What a type is called, as formats call it.
pub fn type_name(dtype: &ArrowDataType) -> String {
    use ArrowDataType as T;
    let unit = |unit: &TimeUnit| {
        let mut names = UNIT_NAMES.iter();
        names
            .find(|(known, _)| known == unit)
            .map_or("", |(_, name)| name)
    };
    match dtype {
        T::Null => "null".into(),
        T::Boolean => "boolean".into(),
        T::Int8 => "int8".into(),
        T::Int16 => "int16".into(),
        T::Int32 => "int32".into(),
        T::Int64 => "int64".into(),
        T::UInt8 => "uint8".into(),
        T::UInt16 => "uint16".into(),
        T::UInt32 => "uint32".into(),
        T::UInt64 => "uint64".into(),
        T::Float16 => "float16".into(),
        T::Float32 => "float".into(),
        T::Float64 => "double".into(),
        T::Utf8View => "string".into(),
        T::BinaryView => "binary".into(),
        T::FixedSizeBinary(width) => format!("binary[{width}]"),
        T::Date32 => "date".into(),
        T::Time32(of) | T::Time64(of) => format!("time({})", unit(of)),
        T::Timestamp(of, None) => format!("timestamp({})", unit(of)),
        T::Timestamp(of, Some(zone)) => format!("timestamp({}, {zone})", unit(of)),
        T::Duration(of) => format!("duration({})", unit(of)),
        T::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
        T::LargeList(_) => "list".into(),
        T::Struct(_) => "group".into(),
        T::Map(..) => "map".into(),
        other => format!("{other:?}"),
    }
}

/// The type that formats and databases call so; `None` for one that has others in it.
pub fn type_from_name(name: &str) -> Option<ArrowDataType> {
    use ArrowDataType as T;
    let inside = |word: &str| {
        name.strip_prefix(word)?
            .strip_prefix('(')?
            .strip_suffix(')')
    };
    let unit = |word: &str| {
        let mut names = UNIT_NAMES.iter();
        names.find(|(_, name)| *name == word).map(|(unit, _)| *unit)
    };
    if let Some(inside) = inside("timestamp") {
        let (of, zone) = match inside.split_once(", ") {
            Some((of, zone)) => (of, Some(zone.into())),
            None => (inside, None),
        };
        return Some(T::Timestamp(unit(of)?, zone));
    }
    if let Some(inside) = inside("time") {
        return Some(
            match unit(inside.split_once(", ").map_or(inside, |(of, _)| of))? {
                TimeUnit::Second => T::Time32(TimeUnit::Second),
                TimeUnit::Millisecond => T::Time32(TimeUnit::Millisecond),
                finer => T::Time64(finer),
            },
        );
    }
    if let Some(inside) = inside("duration") {
        return Some(T::Duration(unit(inside)?));
    }
    Some(match name {
        "null" | "unknown in int32" => T::Null,
        "float16" | "float16 in binary[2]" => T::Float16,
        "float" => T::Float32,
        "double" => T::Float64,
        "string" => T::Utf8View,
        other => ColumnType::from_name(other)?.to_arrow(),
    })
}

/// Writes all that a field is into a key.
pub fn write_field(field: &Field, writer: &mut KeyWriter) {
    writer
        .text(&field.name)
        .text(&type_name(&field.dtype))
        .count(usize::from(field.is_nullable));
    let said: Vec<_> = field.metadata.iter().flat_map(|said| said.iter()).collect();
    writer.count(said.len());
    for (key, value) in said {
        writer.text(key).text(value);
    }
    let inner = inner_fields(&field.dtype);
    if let ArrowDataType::Map(_, is_sorted) = &field.dtype {
        writer.count(usize::from(*is_sorted));
    }
    writer.count(inner.len());
    inner.iter().for_each(|field| write_field(field, writer));
}

/// The columns that have values themselves, in the words of [`type_name`].
pub fn leaves(columns: &ArrowSchema) -> Vec<FileColumn> {
    fn walk(path: String, field: &Field, is_nullable: bool, leaves: &mut Vec<FileColumn>) {
        let is_nullable = is_nullable || field.is_nullable;
        let inner: Vec<(&str, &Field)> = match &field.dtype {
            ArrowDataType::LargeList(element) => vec![("element", element)],
            ArrowDataType::Map(entries, _) => match &entries.dtype {
                ArrowDataType::Struct(fields) => ["key", "value"].into_iter().zip(fields).collect(),
                _ => Vec::new(),
            },
            ArrowDataType::Struct(fields) => fields
                .iter()
                .map(|field| (field.name.as_str(), field))
                .collect(),
            _ => Vec::new(),
        };
        if inner.is_empty() {
            let extension = field
                .metadata
                .iter()
                .flat_map(|said| said.get(EXTENSION_NAME));
            let own = type_name(&field.dtype);
            let kind = extension.fold(own, |own, name| format!("{name} in {own}"));
            return leaves.push(FileColumn {
                path,
                kind,
                is_nullable,
            });
        }
        for (name, field) in inner {
            walk(format!("{path}.{name}"), field, is_nullable, leaves);
        }
    }
    let mut found = Vec::new();
    for field in columns.iter_values() {
        walk(field.name.to_string(), field, false, &mut found);
    }
    found
}

/// Columns as a text: the message that Arrow has for schemas, in hexadecimal digits.
pub fn schema_to_text(columns: &ArrowSchema) -> String {
    let named = |field: &Field| (field.name.clone(), with_extension_types(field));
    let columns: ArrowSchema = columns.iter_values().map(named).collect();
    let message = schema_to_bytes(&columns, &default_ipc_fields(columns.iter_values()), None);
    message.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A field as messages have it: what is built upon another type is one, at every level.
fn with_extension_types(field: &Field) -> Field {
    use ArrowDataType as T;
    let inner = |field: &Field| Box::new(with_extension_types(field));
    let dtype = match &field.dtype {
        T::LargeList(element) => T::LargeList(inner(element)),
        T::Map(entries, is_sorted) => T::Map(inner(entries), *is_sorted),
        T::Struct(fields) => T::Struct(fields.iter().map(with_extension_types).collect()),
        other => other.clone(),
    };
    with_extension_type(Field {
        dtype,
        ..field.clone()
    })
}

/// The columns that a text says; `None` for one that [`schema_to_text`] does not write.
pub fn schema_from_text(text: &str) -> Option<ArrowSchema> {
    let digits = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    let message: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(digits)
        .collect::<Option<_>>()?;
    // It stands in files that others may write to.
    if !is_readable_schema(&message) {
        return None;
    }
    let schema = catch_panic(|| deserialize_schema(&message)).ok()?.ok()?.0;
    let fields = schema.iter_values().map(canonical_field);
    let named = fields.map(|field| field.map(|field| (field.name.clone(), field)));
    named.collect::<Result<_, _>>().ok()
}

/// A field as a text.
pub(super) fn field_to_text(field: &Field) -> String {
    schema_to_text(&ArrowSchema::from_iter([(
        field.name.clone(),
        field.clone(),
    )]))
}

/// The field that a text says.
pub(super) fn field_from_text(text: &str) -> Option<Field> {
    schema_from_text(text)?.iter_values().next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: Vec<Field>) -> ArrowSchema {
        let named = fields.into_iter().map(|field| (field.name.clone(), field));
        named.collect()
    }

    fn field(name: &str, dtype: ArrowDataType) -> Field {
        Field::new(name.into(), dtype, true)
    }

    #[test]
    fn columns_are_the_same_when_they_are_read_again() {
        use ArrowDataType as T;
        let identifier = |name: &str| {
            let uuid = [(EXTENSION_NAME.into(), "arrow.uuid".into())];
            field(name, T::FixedSizeBinary(16)).with_metadata(uuid.into())
        };
        let entries = T::Struct(vec![
            Field::new("key".into(), T::Utf8View, false),
            field("value", T::Int64),
        ]);
        let columns = schema(vec![
            field("null", T::Null),
            field("text", T::Utf8View),
            field("bytes", T::BinaryView),
            field("half", T::Float16),
            field("decimal", T::Decimal(38, 10)),
            field("time", T::Time64(TimeUnit::Nanosecond)),
            field(
                "at",
                T::Timestamp(TimeUnit::Microsecond, Some("Asia/Kolkata".into())),
            ),
            field("took", T::Duration(TimeUnit::Millisecond)),
            identifier("id"),
            field("list", T::LargeList(Box::new(field("item", T::Utf8View)))),
            field("ids", T::LargeList(Box::new(identifier("item")))),
            field(
                "map",
                T::Map(
                    Box::new(Field::new("entries".into(), entries, false)),
                    false,
                ),
            ),
            Field::new(
                "group".into(),
                T::Struct(vec![field("x", T::BinaryView)]),
                false,
            ),
        ]);
        assert_eq!(schema_from_text(&schema_to_text(&columns)), Some(columns));
    }

    #[test]
    fn texts_that_are_no_columns_are_none() {
        for text in ["", "0", "zz", "00", "ffffffff", "++"] {
            assert_eq!(schema_from_text(text), None, "{text}");
        }
        let mut deep = field("x", ArrowDataType::Int8);
        for _ in 0..1000 {
            deep = field("x", ArrowDataType::LargeList(Box::new(deep)));
        }
        assert_eq!(schema_from_text(&schema_to_text(&schema(vec![deep]))), None);
    }

    #[test]
    fn types_are_known_by_their_names() {
        use ArrowDataType as T;
        for dtype in [
            T::Boolean,
            T::UInt16,
            T::Float16,
            T::Float32,
            T::Float64,
            T::Utf8View,
            T::BinaryView,
            T::Date32,
            T::Decimal(9, 2),
            T::Time32(TimeUnit::Millisecond),
            T::Time64(TimeUnit::Microsecond),
            T::Timestamp(TimeUnit::Nanosecond, None),
            T::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            T::Duration(TimeUnit::Second),
        ] {
            assert_eq!(type_from_name(&type_name(&dtype)), Some(dtype));
        }
        assert_eq!(type_from_name("list"), None);
    }
}
