//! Columns: the schema's digest, and how two schemas differ.

use std::sync::Arc;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::schema::types::Type;

use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

/// The digits of the widest decimal that polars knows.
const MAX_PRECISION: i32 = 38;

/// The digest of a schema: names, order, types and repetition, whatever the root is called.
pub(super) fn digest(root: &Type) -> Fingerprint {
    fn walk(node: &Type, writer: &mut KeyWriter) {
        writer.text(node.name()).text(&describe(node)).count(fields(node).len());
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

/// The first column in which two schemas differ, and how; `None` where they are the same.
pub(super) fn difference(one: &Type, other: &Type) -> Option<String> {
    compare("", one, other)
}

fn compare(above: &str, one: &Type, other: &Type) -> Option<String> {
    let names = |node: &Type| fields(node).iter().map(|field| field.name().to_string()).collect::<Vec<_>>();
    let (ours, theirs) = (names(one), names(other));
    if let Some(missing) = theirs.iter().find(|name| !ours.contains(name)) {
        return Some(format!("column {above}{missing} is missing"));
    }
    if let Some(added) = ours.iter().find(|name| !theirs.contains(name)) {
        return Some(format!("column {above}{added} is not in the other"));
    }
    if ours.len() != theirs.len() {
        return Some(format!("it has {} columns, and the other {}", ours.len(), theirs.len()));
    }
    for (field, sibling) in fields(one).iter().zip(fields(other)) {
        let path = format!("{above}{}", field.name());
        if field.name() != sibling.name() {
            return Some(format!("column {path} stands where the other has {above}{}", sibling.name()));
        }
        let (ours, theirs) = (describe(field), describe(sibling));
        if ours != theirs {
            return Some(format!("column {path} is {ours}, and {theirs} in the other"));
        }
        if let Some(difference) = compare(&format!("{path}."), field, sibling) {
            return Some(difference);
        }
    }
    None
}

/// The first column whose type polars reads as another, by types alone, and what it is.
///
/// Lists that are not written as `list.element` are read wrongly by some of the old rules for them.
pub(super) fn misread(root: &Type) -> Option<(String, String)> {
    fn walk(path: &str, node: &Type) -> Option<(String, String)> {
        let info = node.get_basic_info();
        let found = |what: &str| Some((path.to_string(), format!("{what} is not read as what it is ({})", describe(node))));
        match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Map), _) | (_, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => return found("a map"),
            (Some(LogicalType::List), _) | (_, ConvertedType::LIST) => {
                let [repeated] = fields(node) else { return found("a list of an old form") };
                let [element] = fields(repeated) else { return found("a list of an old form") };
                if repeated.name() != "list" {
                    return found("a list of an old form");
                }
                return walk(&format!("{path}.{}", element.name()), element);
            }
            _ => {}
        }
        if let Type::PrimitiveType { physical_type: Physical::INT96, .. } = node {
            return found("an INT96 timestamp");
        }
        if matches!(node, Type::PrimitiveType { precision, .. } if *precision > MAX_PRECISION) {
            return found("a decimal of more than 38 digits");
        }
        if info.has_repetition() && info.repetition() == Repetition::REPEATED {
            return found("a repeated field");
        }
        fields(node).iter().find_map(|field| walk(&format!("{path}.{}", field.name()), field))
    }
    let names: Vec<&str> = fields(root).iter().map(|field| field.name()).collect();
    if let Some(double) = names.iter().enumerate().find(|(number, name)| names[..*number].contains(name)) {
        return Some((double.1.to_string(), "two columns have this name".into()));
    }
    fields(root).iter().find_map(|field| walk(field.name(), field))
}

/// The first column that `written` has with another type than `source`, and how it would change.
///
/// What a list calls its elements and how wide a decimal is stored say nothing about values.
pub(super) fn changed(source: &Type, written: &Type) -> Option<(String, String)> {
    fn walk(path: &str, source: &Type, written: &Type) -> Option<(String, String)> {
        let (before, after) = (meaning(source), meaning(written));
        if before != after {
            return Some((path.to_string(), format!("it is {before} and would become {after}")));
        }
        if fields(source).len() != fields(written).len() {
            return Some((path.to_string(), "its fields would change".into()));
        }
        let is_list = matches!(source.get_basic_info().logical_type_ref(), Some(LogicalType::List));
        fields(source).iter().zip(fields(written)).find_map(|(source, written)| {
            let path = if path.is_empty() { source.name().to_string() } else { format!("{path}.{}", source.name()) };
            let in_list =
                is_list || source.get_basic_info().has_repetition() && source.get_basic_info().repetition() == Repetition::REPEATED;
            let renamed = source.name() != written.name() && !in_list && !path.ends_with(".list.item");
            if renamed { Some((path, format!("it would be called {}", written.name()))) } else { walk(&path, source, written) }
        })
    }
    walk("", source, written)
}

/// A node in words, where equal words mean equal values: old annotations as the new ones.
fn meaning(node: &Type) -> String {
    let info = node.get_basic_info();
    let repetition = if info.has_repetition() { format!("{} ", info.repetition()) } else { String::new() };
    let id = if info.has_id() { format!(" with id {}", info.id()) } else { String::new() };
    let decimal = matches!(info.logical_type_ref(), Some(LogicalType::Decimal(_))) || info.converted_type() == ConvertedType::DECIMAL;
    if let (true, Type::PrimitiveType { precision, scale, .. }) = (decimal, node) {
        return format!("{repetition}decimal({precision},{scale}){id}");
    }
    let old = match (info.logical_type_ref(), info.converted_type()) {
        (None, ConvertedType::UTF8) => Some(LogicalType::String),
        (None, ConvertedType::DATE) => Some(LogicalType::Date),
        (None, ConvertedType::LIST) => Some(LogicalType::List),
        (None, ConvertedType::INT_8) => Some(LogicalType::integer(8, true)),
        (None, ConvertedType::INT_16) => Some(LogicalType::integer(16, true)),
        (None, ConvertedType::INT_32) => Some(LogicalType::integer(32, true)),
        (None, ConvertedType::INT_64) => Some(LogicalType::integer(64, true)),
        (None, ConvertedType::UINT_8) => Some(LogicalType::integer(8, false)),
        (None, ConvertedType::UINT_16) => Some(LogicalType::integer(16, false)),
        (None, ConvertedType::UINT_32) => Some(LogicalType::integer(32, false)),
        (None, ConvertedType::UINT_64) => Some(LogicalType::integer(64, false)),
        (None, ConvertedType::NONE) => None,
        (None, other) => return format!("{repetition}{other}{id}"),
        (Some(logical), _) => Some(logical.clone()),
    };
    let logical = old.map_or_else(String::new, |logical| format!(" {}", words(&logical)));
    match node {
        Type::PrimitiveType { physical_type, type_length, .. } => {
            let length = if *physical_type == Physical::FIXED_LEN_BYTE_ARRAY { format!("[{type_length}]") } else { String::new() };
            format!("{repetition}{physical_type}{length}{logical}{id}")
        }
        Type::GroupType { .. } => format!("{repetition}group{logical}{id}"),
    }
}

/// A node of a schema in words, without its name and its children.
pub(super) fn describe(node: &Type) -> String {
    let info = node.get_basic_info();
    let repetition = if info.has_repetition() { format!("{} ", info.repetition()) } else { String::new() };
    let logical = match (info.logical_type_ref(), info.converted_type()) {
        (Some(logical), _) => format!(" {}", words(logical)),
        (None, ConvertedType::NONE) => String::new(),
        (None, converted) => format!(" {converted}"),
    };
    match node {
        Type::PrimitiveType { physical_type, type_length, precision, scale, .. } => {
            let length = if *physical_type == Physical::FIXED_LEN_BYTE_ARRAY { format!("[{type_length}]") } else { String::new() };
            let digits = if *precision > 0 { format!(" {precision},{scale}") } else { String::new() };
            format!("{repetition}{physical_type}{length}{logical}{digits}")
        }
        Type::GroupType { .. } => format!("{repetition}group{logical}"),
    }
}

/// A logical type in words of the parquet documentation. Digests of schemas are made of them.
fn words(logical: &LogicalType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => "milliseconds",
        TimeUnit::MICROS => "microseconds",
        TimeUnit::NANOS => "nanoseconds",
    };
    let adjusted = |is_utc: bool| if is_utc { ", UTC" } else { "" };
    match logical {
        LogicalType::Time(time) => format!("time({}{})", unit(&time.unit), adjusted(time.is_adjusted_to_u_t_c)),
        LogicalType::Timestamp(time) => format!("timestamp({}{})", unit(&time.unit), adjusted(time.is_adjusted_to_u_t_c)),
        LogicalType::Integer(int) => format!("{}int{}", if int.is_signed { "" } else { "u" }, int.bit_width),
        // Their digits stand beside them.
        LogicalType::Decimal(_) => "decimal".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The children of a node; a leaf has none.
pub(super) fn fields(node: &Type) -> &[Arc<Type>] {
    match node {
        Type::GroupType { fields, .. } => fields,
        Type::PrimitiveType { .. } => &[],
    }
}
