//! Lists and maps: what their elements are, by the rules for files of old, and a schema in which
//! polars finds them.
//!
//! The rules are those of
//! <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists>.

use std::sync::Arc;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::Type;

use super::schema_nodes::{ListElement, fields, is_map, is_repeated, list_element};

/// The same columns with the same levels, each list in the form in which polars takes its elements
/// for what they are; `None` where all are already.
///
/// polars knows lists of three levels by the name `list`, and takes the nullability of elements
/// from there; groups of two levels it takes for three where they have one field. A repeated field
/// that is no list's is one of required elements, and a map is a list of its entries. Something
/// required around any of them is no level of its own. What is annotated as a list or a map and has
/// not the form of one is a group.
pub(super) fn normalize_lists(root: &Type) -> Result<Option<Type>, ParquetError> {
    let made = fields(root)
        .iter()
        .map(normalize_field)
        .collect::<Result<Vec<_>, _>>()?;
    if made
        .iter()
        .zip(fields(root))
        .all(|(made, field)| made == field)
    {
        return Ok(None);
    }
    Ok(Some(
        Type::group_type_builder(root.name())
            .with_fields(made)
            .build()?,
    ))
}

fn normalize_field(node: &Arc<Type>) -> Result<Arc<Type>, ParquetError> {
    if is_repeated(node) {
        let list = Type::group_type_builder(node.name())
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![wrap_repeated(node)?]);
        return Ok(Arc::new(list.build()?));
    }
    match list_element(node) {
        Some(ListElement::Repeated(_)) => {
            let [found] = fields(node) else {
                return Ok(node.clone());
            };
            list_group(node, vec![wrap_repeated(found)?])
        }
        Some(ListElement::Inside(inside)) => {
            let [found] = fields(node) else {
                return Ok(node.clone());
            };
            let [child] = fields(found) else {
                return Ok(node.clone());
            };
            let made = normalize_field(child)?;
            if found.name() == "list" && made.as_ref() == inside {
                return Ok(node.clone());
            }
            list_group(
                node,
                vec![plain_group(
                    found,
                    "list",
                    Repetition::REPEATED,
                    vec![made],
                )?],
            )
        }
        None if node.is_group() => {
            if let ([entries], true) = (fields(node), is_map(node))
                && is_repeated(entries)
            {
                return list_group(node, vec![wrap_repeated(entries)?]);
            }
            let made = fields(node)
                .iter()
                .map(normalize_field)
                .collect::<Result<Vec<_>, _>>()?;
            let is_group = node.get_basic_info().converted_type() == ConvertedType::NONE
                && node.get_basic_info().logical_type_ref().is_none();
            let is_same = is_group
                && made
                    .iter()
                    .zip(fields(node))
                    .all(|(made, field)| made == field);
            if is_same {
                Ok(node.clone())
            } else {
                plain_group(node, node.name(), node.get_basic_info().repetition(), made)
            }
        }
        None => Ok(node.clone()),
    }
}

/// A repeated field that is the element itself gets a group around it, which is there as often.
fn wrap_repeated(node: &Arc<Type>) -> Result<Arc<Type>, ParquetError> {
    let element = match node.as_ref() {
        Type::GroupType {
            basic_info: info,
            fields,
        } => {
            let element = Type::group_type_builder("element")
                .with_repetition(Repetition::REQUIRED)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_id(info.has_id().then(|| info.id()))
                .with_fields(fields.clone());
            normalize_field(&Arc::new(element.build()?))?
        }
        Type::PrimitiveType { .. } => required_leaf(node, "element")?,
    };
    let around = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
    Ok(Arc::new(around.with_fields(vec![element]).build()?))
}

/// A column that must be there, and all else of another.
fn required_leaf(node: &Type, name: &str) -> Result<Arc<Type>, ParquetError> {
    let Type::PrimitiveType {
        basic_info: info,
        physical_type,
        type_length,
        scale,
        precision,
    } = node
    else {
        return Err(ParquetError::General(format!(
            "{} is no column",
            node.name()
        )));
    };
    let made = Type::primitive_type_builder(name, *physical_type)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_length(*type_length)
        .with_precision(*precision)
        .with_scale(*scale)
        .with_id(info.has_id().then(|| info.id()));
    Ok(Arc::new(made.build()?))
}

/// A group with other fields and no annotation, and all else of another.
fn plain_group(
    like: &Type,
    name: &str,
    repetition: Repetition,
    fields: Vec<Arc<Type>>,
) -> Result<Arc<Type>, ParquetError> {
    let info = like.get_basic_info();
    let made = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_id(info.has_id().then(|| info.id()))
        .with_fields(fields);
    Ok(Arc::new(made.build()?))
}

/// A list with the name and all else of a group.
fn list_group(like: &Type, fields: Vec<Arc<Type>>) -> Result<Arc<Type>, ParquetError> {
    let info = like.get_basic_info();
    let made = Type::group_type_builder(like.name())
        .with_repetition(info.repetition())
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_id(info.has_id().then(|| info.id()))
        .with_fields(fields);
    Ok(Arc::new(made.build()?))
}
