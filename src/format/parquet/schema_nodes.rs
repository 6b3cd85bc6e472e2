//! Nodes of a schema: their children, what the elements of a list are, and what a node's
//! annotations mean, those of old too.

use std::sync::Arc;

use ::parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit};
use ::parquet::schema::types::Type;

/// The children of a node; a leaf has none.
pub(super) fn fields(node: &Type) -> &[Arc<Type>] {
    match node {
        Type::GroupType { fields, .. } => fields,
        Type::PrimitiveType { .. } => &[],
    }
}

/// Where the elements of a list are.
pub(super) enum ListElement<'s> {
    /// The repeated field is the element, which cannot be null: lists of two levels.
    Repeated(&'s Type),
    /// The element is the one field of the repeated group: lists of three levels.
    Inside(&'s Type),
}

/// The elements of a list; `None` for what is no list.
pub(super) fn list_element(node: &Type) -> Option<ListElement<'_>> {
    let info = node.get_basic_info();
    let is_list = matches!(info.logical_type_ref(), Some(LogicalType::List))
        || info.converted_type() == ConvertedType::LIST;
    let [repeated] = fields(node) else {
        return None;
    };
    if !is_list || !is_repeated(repeated) {
        return None;
    }
    let name = repeated.name();
    Some(match fields(repeated) {
        [inside]
            if !is_repeated(inside)
                && name != "array"
                && name != format!("{}_tuple", node.name()) =>
        {
            ListElement::Inside(inside)
        }
        _ => ListElement::Repeated(repeated),
    })
}

pub(super) fn is_repeated(node: &Type) -> bool {
    let info = node.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// True for a map, by its annotation of today or of old.
pub(super) fn is_map(node: &Type) -> bool {
    let info = node.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::Map))
        || matches!(
            info.converted_type(),
            ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
        )
}

/// The logical type of a node: that which it has, or what its old annotation means by
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md>.
pub(super) fn logical_type(node: &Type) -> Option<LogicalType> {
    let info = node.get_basic_info();
    if let Some(logical) = info.logical_type_ref() {
        return Some(logical.clone());
    }
    Some(match info.converted_type() {
        ConvertedType::UTF8 => LogicalType::String,
        ConvertedType::DATE => LogicalType::Date,
        ConvertedType::ENUM => LogicalType::Enum,
        ConvertedType::JSON => LogicalType::Json,
        ConvertedType::BSON => LogicalType::Bson,
        ConvertedType::LIST => LogicalType::List,
        ConvertedType::DECIMAL => {
            let Type::PrimitiveType {
                precision, scale, ..
            } = node
            else {
                return None;
            };
            LogicalType::decimal(*scale, *precision)
        }
        ConvertedType::TIME_MILLIS => LogicalType::time(true, TimeUnit::MILLIS),
        ConvertedType::TIME_MICROS => LogicalType::time(true, TimeUnit::MICROS),
        ConvertedType::TIMESTAMP_MILLIS => LogicalType::timestamp(true, TimeUnit::MILLIS),
        ConvertedType::TIMESTAMP_MICROS => LogicalType::timestamp(true, TimeUnit::MICROS),
        ConvertedType::INT_8 => LogicalType::integer(8, true),
        ConvertedType::INT_16 => LogicalType::integer(16, true),
        ConvertedType::INT_32 => LogicalType::integer(32, true),
        ConvertedType::INT_64 => LogicalType::integer(64, true),
        ConvertedType::UINT_8 => LogicalType::integer(8, false),
        ConvertedType::UINT_16 => LogicalType::integer(16, false),
        ConvertedType::UINT_32 => LogicalType::integer(32, false),
        ConvertedType::UINT_64 => LogicalType::integer(64, false),
        _ => return None,
    })
}

/// A logical type in words of the parquet documentation. Digests of schemas are made of them.
pub(super) fn logical_type_name(logical: &LogicalType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => "milliseconds",
        TimeUnit::MICROS => "microseconds",
        TimeUnit::NANOS => "nanoseconds",
    };
    let adjusted = |is_utc: bool| if is_utc { ", UTC" } else { "" };
    match logical {
        LogicalType::Time(time) => format!(
            "time({}{})",
            unit(&time.unit),
            adjusted(time.is_adjusted_to_u_t_c)
        ),
        LogicalType::Timestamp(time) => format!(
            "timestamp({}{})",
            unit(&time.unit),
            adjusted(time.is_adjusted_to_u_t_c)
        ),
        LogicalType::Integer(int) => format!(
            "{}int{}",
            if int.is_signed { "" } else { "u" },
            int.bit_width
        ),
        // Their digits stand beside them.
        LogicalType::Decimal(_) => "decimal".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}
