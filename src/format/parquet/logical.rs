//! Columns as their values are, however a file stores them: what files of one flow must have in
//! common to pass whole.
//!
//! It knows nothing of how wide a decimal is stored, what a list calls its elements, whether nulls
//! may come, or by which of two ways a writer says the same type.

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::schema::types::Type;

use super::nodes::{Element, element, fields, is_map, logical, words};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::columns;

/// A column, or a field of one.
struct Column {
    name: String,
    kind: String,
    fields: Vec<Self>,
}

impl columns::Column for Column {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> &[Self] {
        &self.fields
    }
}

/// The digest of a schema's names, order and logical types.
pub(super) fn digest(root: &Type) -> Fingerprint {
    fn walk(column: &Column, writer: &mut KeyWriter) {
        writer
            .text(&column.name)
            .text(&column.kind)
            .count(column.fields.len());
        column.fields.iter().for_each(|field| walk(field, writer));
    }
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("logical");
    columns(root)
        .iter()
        .for_each(|column| walk(column, &mut writer));
    writer.finish()
}

/// The path of each column that has values itself, with their type.
pub(super) fn typed(root: &Type) -> Vec<(String, String)> {
    columns::typed(&columns(root), &|column| column.kind.clone())
}

/// The first column in which the values of two files differ in name, order or type, and how; `None`
/// where they do not.
pub(super) fn difference(one: &Type, other: &Type) -> Option<String> {
    columns::difference(&columns(one), &columns(other), &|column| {
        column.kind.clone()
    })
}

fn columns(root: &Type) -> Vec<Column> {
    fields(root)
        .iter()
        .map(|field| column(field.name(), field))
        .collect()
}

fn column(name: &str, node: &Type) -> Column {
    let info = node.get_basic_info();
    if info.has_repetition() && info.repetition() == Repetition::REPEATED {
        return list(name, unrepeated("element", node));
    }
    match element(node) {
        Some(Element::Repeated(repeated)) => list(name, unrepeated("element", repeated)),
        Some(Element::Inside(inside)) => list(name, column("element", inside)),
        None => unrepeated(name, node),
    }
}

fn list(name: &str, element: Column) -> Column {
    Column {
        name: name.to_string(),
        kind: "list".into(),
        fields: vec![element],
    }
}

/// A node as if it were there once.
fn unrepeated(name: &str, node: &Type) -> Column {
    let inner = match map_entry(node) {
        Some(entry) => fields(entry)
            .iter()
            .zip(["key", "value"])
            .map(|(field, name)| column(name, field))
            .collect(),
        None => fields(node)
            .iter()
            .map(|field| column(field.name(), field))
            .collect(),
    };
    Column {
        name: name.to_string(),
        kind: kind(node),
        fields: inner,
    }
}

/// The group of key and value of a map, whatever the three are called.
fn map_entry(node: &Type) -> Option<&Type> {
    if !is_map(node) {
        return None;
    }
    let [entry] = fields(node) else { return None };
    (fields(entry).len() <= 2).then_some(entry)
}

/// The type of a node's values in words, where equal words mean equal types.
fn kind(node: &Type) -> String {
    let logical = logical(node);
    let Type::PrimitiveType {
        physical_type,
        type_length,
        precision,
        scale,
        ..
    } = node
    else {
        return if is_map(node) {
            "map".into()
        } else {
            logical.map_or_else(|| "group".into(), |logical| words(&logical))
        };
    };
    let stored = match physical_type {
        Physical::FIXED_LEN_BYTE_ARRAY => format!("binary[{type_length}]"),
        Physical::BYTE_ARRAY => "binary".into(),
        Physical::INT32 => "int32".into(),
        Physical::INT64 => "int64".into(),
        other => other.to_string().to_lowercase(),
    };
    match logical {
        None if node.get_basic_info().converted_type() == ConvertedType::INTERVAL => {
            "interval".into()
        }
        None => stored,
        Some(LogicalType::Decimal(_)) => format!("decimal({precision},{scale})"),
        Some(
            known @ (LogicalType::Integer(_)
            | LogicalType::String
            | LogicalType::Date
            | LogicalType::Time(_)
            | LogicalType::Timestamp(_)),
        ) => words(&known),
        // Of others it is not known here that they may be stored in several ways.
        Some(other) => format!("{} in {stored}", words(&other)),
    }
}
