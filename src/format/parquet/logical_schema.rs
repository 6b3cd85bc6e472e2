//! Columns as their values are, however a file stores them: what files of one flow must have in
//! common to pass whole.
//!
//! It knows nothing of how wide a decimal is stored, what a list calls its elements, whether nulls
//! may come, or by which of two ways a writer says the same type.

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::schema::types::Type;

use super::schema_nodes::{
    ListElement, fields, is_map, list_element, logical_type, logical_type_name,
};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::{FileColumn, column_tree};

/// A column, or a field of one.
struct LogicalColumn {
    name: String,
    kind: String,
    is_nullable: bool,
    fields: Vec<Self>,
}

impl column_tree::ColumnNode for LogicalColumn {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> &[Self] {
        &self.fields
    }
}

impl column_tree::TypedColumn for LogicalColumn {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn is_nullable(&self) -> bool {
        self.is_nullable
    }
}

/// The digest of a schema's names, order and logical types.
pub(super) fn digest(root: &Type) -> Fingerprint {
    fn walk(column: &LogicalColumn, writer: &mut KeyWriter) {
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

/// The columns that have values themselves.
pub(super) fn leaves(root: &Type) -> Vec<FileColumn> {
    column_tree::leaves(&columns(root))
}

/// The first column of a type that other formats have no word for, with what it is; the arrays of
/// its values do not say it.
pub(super) fn first_beyond_canonical(root: &Type) -> Option<(String, String)> {
    fn walk(above: &str, column: &LogicalColumn) -> Option<(String, String)> {
        let path = format!("{above}{}", column.name);
        let kind = column.kind.as_str();
        let annotation = kind.split_once(" in ").map(|(annotation, _)| annotation);
        let is_known = match annotation {
            // Inside of others, values that are all null are decoded as those of the stored type.
            Some("unknown") => above.is_empty(),
            Some(annotation) => KNOWN_ANNOTATIONS.contains(&annotation),
            None if column.fields.is_empty() => {
                !(kind.starts_with("time(") && kind.ends_with(", UTC)"))
            }
            None => ["list", "map", "group"].contains(&kind),
        };
        if !is_known {
            return Some((path, kind.to_string()));
        }
        let above = format!("{path}.");
        column.fields.iter().find_map(|field| walk(&above, field))
    }
    columns(root).iter().find_map(|column| walk("", column))
}

/// Annotations that arrays have too.
const KNOWN_ANNOTATIONS: [&str; 3] = ["uuid", "json", "float16"];

/// The digest of a schema's names and logical types, whatever their order.
pub(super) fn set_digest(root: &Type) -> Fingerprint {
    column_tree::set_digest(&columns(root))
}

/// The first column in which the values of two files differ in name or type, and how; `None` where
/// they do not.
pub(super) fn difference(one: &Type, other: &Type) -> Option<String> {
    column_tree::set_difference(&columns(one), &columns(other))
}

fn columns(root: &Type) -> Vec<LogicalColumn> {
    fields(root)
        .iter()
        .map(|field| column(field.name(), field))
        .collect()
}

fn column(name: &str, node: &Type) -> LogicalColumn {
    if has_repetition(node, Repetition::REPEATED) {
        return list(name, node, single_column("element", node));
    }
    match list_element(node) {
        Some(ListElement::Repeated(repeated)) => {
            list(name, node, single_column("element", repeated))
        }
        Some(ListElement::Inside(inside)) => list(name, node, column("element", inside)),
        None => single_column(name, node),
    }
}

fn has_repetition(node: &Type, repetition: Repetition) -> bool {
    let info = node.get_basic_info();
    info.has_repetition() && info.repetition() == repetition
}

fn list(name: &str, node: &Type, element: LogicalColumn) -> LogicalColumn {
    LogicalColumn {
        name: name.to_string(),
        kind: "list".into(),
        is_nullable: has_repetition(node, Repetition::OPTIONAL),
        fields: vec![element],
    }
}

/// A node as if it were there once.
fn single_column(name: &str, node: &Type) -> LogicalColumn {
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
    LogicalColumn {
        name: name.to_string(),
        kind: kind(node),
        is_nullable: has_repetition(node, Repetition::OPTIONAL),
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
    let logical = logical_type(node);
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
            logical.map_or_else(|| "group".into(), |logical| logical_type_name(&logical))
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
        ) => logical_type_name(&known),
        // Of others it is not known here that they may be stored in several ways.
        Some(other) => format!("{} in {stored}", logical_type_name(&other)),
    }
}
