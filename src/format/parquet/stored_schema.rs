//! Columns as they are stored: the schema's digest, how two schemas differ, and which columns
//! polars takes for others.

use std::sync::Arc;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use ::parquet::schema::types::Type;

use super::schema_nodes::{
    ListElement, fields, is_map, is_repeated, list_element, logical_type, logical_type_name,
};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::column_tree;

/// The digits of the widest decimal that tables have.
const MAX_PRECISION: i32 = 38;

/// The digest of a schema: names, order, types and repetition, whatever the root is called.
pub(super) fn digest(root: &Type) -> Fingerprint {
    fn walk(node: &Type, writer: &mut KeyWriter) {
        writer
            .text(node.name())
            .text(&describe(node))
            .count(fields(node).len());
        for field in fields(node) {
            walk(field, writer);
        }
    }
    let mut writer = KeyWriter::new(KeyKind::Schema);
    for field in fields(root) {
        walk(field, &mut writer);
    }
    writer.finish()
}

impl column_tree::ColumnNode for Arc<Type> {
    fn name(&self) -> &str {
        Type::name(self)
    }

    fn fields(&self) -> &[Self] {
        fields(self)
    }
}

/// The first column that two files store in different ways, and how; `None` where they store all in
/// the same.
pub(super) fn storage_difference(one: &Type, other: &Type) -> Option<String> {
    column_tree::difference(fields(one), fields(other), &|node| describe(node))
}

/// The first column of which nobody can say what its values are, or that is called like another,
/// and why.
pub(super) fn first_unreadable(root: &Type) -> Option<(String, String)> {
    let names: Vec<&str> = fields(root).iter().map(|field| field.name()).collect();
    if let Some(double) = names
        .iter()
        .enumerate()
        .find(|(number, name)| names[..*number].contains(name))
    {
        return Some((double.1.to_string(), "two columns have this name".into()));
    }
    find_column(root, &|node| match node {
        Type::PrimitiveType {
            physical_type: Physical::INT96,
            ..
        } => Some("an INT96 timestamp"),
        Type::GroupType { fields, .. } if fields.is_empty() => Some("a group without fields"),
        _ => None,
    })
}

/// The first column whose values are another thing than the bytes that they are stored as, and what
/// it is.
pub(super) fn first_misread(root: &Type) -> Option<(String, String)> {
    find_column(root, &|node| match logical_type(node) {
        _ if is_map(node) && !has_entries(node) => Some("a map without entries of key and value"),
        Some(LogicalType::List) if list_element(node).is_none() => Some("a list without elements"),
        Some(LogicalType::_Unknown { .. }) => Some("a type that hygge does not know"),
        _ if matches!(node, Type::PrimitiveType { precision, .. } if *precision > MAX_PRECISION) => {
            Some("a decimal of more than 38 digits")
        }
        _ => None,
    })
}

/// True for a map whose entries have a key and a value.
fn has_entries(node: &Type) -> bool {
    matches!(fields(node), [entries] if is_repeated(entries) && fields(entries).len() == 2)
}

/// The first column in which something is found, and what it is. What only makes a list of its
/// elements has no name in the path.
fn find_column(
    root: &Type,
    what: &impl Fn(&Type) -> Option<&'static str>,
) -> Option<(String, String)> {
    fn walk(
        path: &str,
        node: &Type,
        what: &impl Fn(&Type) -> Option<&'static str>,
    ) -> Option<(String, String)> {
        if let Some(what) = what(node) {
            return Some((
                path.to_string(),
                format!("{what} is not read as what it is ({})", describe(node)),
            ));
        }
        let inner = match list_element(node) {
            Some(ListElement::Inside(inside)) => {
                return walk(&format!("{path}.{}", inside.name()), inside, what);
            }
            Some(ListElement::Repeated(repeated)) => {
                return walk(&format!("{path}.{}", repeated.name()), repeated, what);
            }
            None => fields(node),
        };
        inner
            .iter()
            .find_map(|field| walk(&format!("{path}.{}", field.name()), field, what))
    }
    fields(root)
        .iter()
        .find_map(|field| walk(field.name(), field, what))
}

/// The first of some columns that `written` has with another type than `source`, and how it would
/// change.
///
/// What a list calls its elements, how many levels it has and how wide a decimal is stored say
/// nothing about values.
pub(super) fn first_changed(
    source: &[Arc<Type>],
    written: &[Arc<Type>],
) -> Option<(String, String)> {
    changed_fields("", source, written)
}

fn changed_fields(
    above: &str,
    source: &[Arc<Type>],
    written: &[Arc<Type>],
) -> Option<(String, String)> {
    if source.len() != written.len() {
        return Some((
            above.trim_end_matches('.').to_string(),
            "its fields would change".into(),
        ));
    }
    source.iter().zip(written).find_map(|(source, written)| {
        let path = format!("{above}{}", source.name());
        if source.name() != written.name() {
            return Some((path, format!("it would be called {}", written.name())));
        }
        changed_field(&path, SchemaNode::new(source), SchemaNode::new(written))
    })
}

fn changed_field(
    path: &str,
    source: SchemaNode<'_>,
    written: SchemaNode<'_>,
) -> Option<(String, String)> {
    let (before, after) = (source.describe_values(), written.describe_values());
    if before != after {
        return Some((
            path.to_string(),
            format!("it is {before} and would become {after}"),
        ));
    }
    match (source.element(), written.element()) {
        (Some(source), Some(written)) => {
            changed_field(&format!("{path}.{}", source.node.name()), source, written)
        }
        _ => changed_fields(
            &format!("{path}."),
            fields(source.node),
            fields(written.node),
        ),
    }
}

/// A node with how often it is there, which is not what it says where it is the element of a list.
#[derive(Clone, Copy)]
struct SchemaNode<'s> {
    node: &'s Type,
    repetition: Repetition,
}

impl<'s> SchemaNode<'s> {
    fn new(node: &'s Type) -> Self {
        let info = node.get_basic_info();
        Self {
            node,
            repetition: if info.has_repetition() {
                info.repetition()
            } else {
                Repetition::REQUIRED
            },
        }
    }

    /// The elements, where it is a list.
    fn element(self) -> Option<Self> {
        let as_element = |node| Self {
            node,
            repetition: Repetition::REQUIRED,
        };
        if self.repetition == Repetition::REPEATED {
            return Some(as_element(self.node));
        }
        match list_element(self.node)? {
            ListElement::Repeated(repeated) => Some(as_element(repeated)),
            ListElement::Inside(inside) => Some(Self::new(inside)),
        }
    }

    /// What it is in words, where equal words mean equal values: old annotations as the new ones,
    /// and none as that of the plain type.
    fn describe_values(self) -> String {
        let Self { node, repetition } = self;
        let info = node.get_basic_info();
        let id = if info.has_id() {
            format!(" with id {}", info.id())
        } else {
            String::new()
        };
        if self.element().is_some() {
            let repetition = if repetition == Repetition::REPEATED {
                Repetition::REQUIRED
            } else {
                repetition
            };
            return format!("{repetition} list{id}");
        }
        let logical = match logical_type(node) {
            Some(LogicalType::Integer(int))
                if int.is_signed && int.bit_width == integer_bits(node) =>
            {
                None
            }
            other => other,
        };
        if let (
            Some(LogicalType::Decimal(_)),
            Type::PrimitiveType {
                precision, scale, ..
            },
        ) = (&logical, node)
        {
            return format!("{repetition} decimal({precision},{scale}){id}");
        }
        let logical = match (logical, info.converted_type()) {
            (Some(logical), _) => format!(" {}", logical_type_name(&logical)),
            (None, ConvertedType::NONE | ConvertedType::INT_32 | ConvertedType::INT_64) => {
                String::new()
            }
            (None, other) => format!(" {other}"),
        };
        match node {
            Type::PrimitiveType {
                physical_type,
                type_length,
                ..
            } => {
                let length = if *physical_type == Physical::FIXED_LEN_BYTE_ARRAY {
                    format!("[{type_length}]")
                } else {
                    String::new()
                };
                format!("{repetition} {physical_type}{length}{logical}{id}")
            }
            Type::GroupType { .. } => format!("{repetition} group{logical}{id}"),
        }
    }
}

/// The bits of a whole number that is stored as such.
fn integer_bits(node: &Type) -> i8 {
    match node {
        Type::PrimitiveType {
            physical_type: Physical::INT32,
            ..
        } => 32,
        Type::PrimitiveType {
            physical_type: Physical::INT64,
            ..
        } => 64,
        _ => 0,
    }
}

/// A node of a schema in words, without its name and its children.
pub(super) fn describe(node: &Type) -> String {
    let info = node.get_basic_info();
    let repetition = if info.has_repetition() {
        format!("{} ", info.repetition())
    } else {
        String::new()
    };
    let logical = match (info.logical_type_ref(), info.converted_type()) {
        (Some(logical), _) => format!(" {}", logical_type_name(logical)),
        (None, ConvertedType::NONE) => String::new(),
        (None, converted) => format!(" {converted}"),
    };
    match node {
        Type::PrimitiveType {
            physical_type,
            type_length,
            precision,
            scale,
            ..
        } => {
            let length = if *physical_type == Physical::FIXED_LEN_BYTE_ARRAY {
                format!("[{type_length}]")
            } else {
                String::new()
            };
            let digits = if *precision > 0 {
                format!(" {precision},{scale}")
            } else {
                String::new()
            };
            format!("{repetition}{physical_type}{length}{logical}{digits}")
        }
        Type::GroupType { .. } => format!("{repetition}group{logical}"),
    }
}
