//! Columns as their values are, however a file stores them: what files of one flow must have in common to pass whole.
//!
//! It knows nothing of how wide a decimal is stored, what a list calls its elements, whether nulls may come, or by which
//! of two ways a writer says the same type.

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::schema::types::Type;

use super::nodes::{Element, element, fields, is_map, logical, words};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

/// A column, or a field of one.
struct Column {
    name: String,
    kind: String,
    fields: Vec<Self>,
}

/// The digest of a schema's names, order and logical types.
pub(super) fn digest(root: &Type) -> Fingerprint {
    fn walk(column: &Column, writer: &mut KeyWriter) {
        writer.text(&column.name).text(&column.kind).count(column.fields.len());
        column.fields.iter().for_each(|field| walk(field, writer));
    }
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("logical");
    columns(root).iter().for_each(|column| walk(column, &mut writer));
    writer.finish()
}

/// The path of each column that has values itself, with their type.
pub(super) fn typed(root: &Type) -> Vec<(String, String)> {
    fn walk(above: &str, column: Column, typed: &mut Vec<(String, String)>) {
        let path = format!("{above}{}", column.name);
        if column.fields.is_empty() {
            return typed.push((path, column.kind));
        }
        column.fields.into_iter().for_each(|field| walk(&format!("{path}."), field, typed));
    }
    let mut typed = Vec::new();
    columns(root).into_iter().for_each(|column| walk("", column, &mut typed));
    typed
}

/// The first column in which the values of two files differ in name, order or type, and how; `None` where they do not.
pub(super) fn difference(one: &Type, other: &Type) -> Option<String> {
    compare("", &columns(one), &columns(other))
}

fn compare(above: &str, ours: &[Column], theirs: &[Column]) -> Option<String> {
    let has = |columns: &[Column], name: &str| columns.iter().any(|column| column.name == name);
    if let Some(missing) = theirs.iter().find(|column| !has(ours, &column.name)) {
        return Some(format!("column {above}{} is missing", missing.name));
    }
    if let Some(added) = ours.iter().find(|column| !has(theirs, &column.name)) {
        return Some(format!("column {above}{} is not in the other", added.name));
    }
    if ours.len() != theirs.len() {
        return Some(format!("it has {} columns, and the other {}", ours.len(), theirs.len()));
    }
    ours.iter().zip(theirs).find_map(|(column, sibling)| {
        let path = format!("{above}{}", column.name);
        if column.name != sibling.name {
            return Some(format!("column {path} stands where the other has {above}{}", sibling.name));
        }
        if column.kind != sibling.kind {
            return Some(format!("column {path} is {}, and {} in the other", column.kind, sibling.kind));
        }
        compare(&format!("{path}."), &column.fields, &sibling.fields)
    })
}

fn columns(root: &Type) -> Vec<Column> {
    fields(root).iter().map(|field| column(field.name(), field)).collect()
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
    Column { name: name.to_string(), kind: "list".into(), fields: vec![element] }
}

/// A node as if it were there once.
fn unrepeated(name: &str, node: &Type) -> Column {
    let inner = match map_entry(node) {
        Some(entry) => fields(entry).iter().zip(["key", "value"]).map(|(field, name)| column(name, field)).collect(),
        None => fields(node).iter().map(|field| column(field.name(), field)).collect(),
    };
    Column { name: name.to_string(), kind: kind(node), fields: inner }
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
    let Type::PrimitiveType { physical_type, type_length, precision, scale, .. } = node else {
        return if is_map(node) { "map".into() } else { logical.map_or_else(|| "group".into(), |logical| words(&logical)) };
    };
    let stored = match physical_type {
        Physical::FIXED_LEN_BYTE_ARRAY => format!("binary[{type_length}]"),
        Physical::BYTE_ARRAY => "binary".into(),
        Physical::INT32 => "int32".into(),
        Physical::INT64 => "int64".into(),
        other => other.to_string().to_lowercase(),
    };
    match logical {
        None if node.get_basic_info().converted_type() == ConvertedType::INTERVAL => "interval".into(),
        None => stored,
        Some(LogicalType::Decimal(_)) => format!("decimal({precision},{scale})"),
        Some(
            known @ (LogicalType::Integer(_) | LogicalType::String | LogicalType::Date | LogicalType::Time(_) | LogicalType::Timestamp(_)),
        ) => words(&known),
        // Of others it is not known here that they may be stored in several ways.
        Some(other) => format!("{} in {stored}", words(&other)),
    }
}
