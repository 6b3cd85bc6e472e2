//! Footers in the form that the parquet crate takes: numbers of the width that it expects, and
//! nothing that it refuses.
//!
//! Writers differ: lists say other widths for their numbers, old annotations have numbers that no
//! version of the format gives them, new ones have fields with types of their own. Other readers
//! pass over them. Nothing here is written.

use super::thrift::{self, ThriftStruct, ThriftValue};

/// What a field should be.
enum FieldShape {
    Bool,
    I16,
    I32,
    I64,
    Binary,
    /// Whatever it is.
    Any,
    /// A whole number between 0 and this; another is left out.
    UpTo(i64),
    StructList(&'static [(i16, FieldShape)]),
    Struct(&'static [(i16, FieldShape)]),
    I32List(&'static FieldShape),
    BinaryList,
}

use FieldShape::{Any, Binary, BinaryList, Bool, I16, I32, I32List, I64, Struct, StructList, UpTo};

/// The last old annotation: INTERVAL.
pub(super) const LAST_CONVERTED: i64 = 21;
/// The last encoding that the parquet crate knows.
const LAST_ENCODING: i64 = 9;

const PAIR: &[(i16, FieldShape)] = &[(1, Binary), (2, Binary)];
const ELEMENT: &[(i16, FieldShape)] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, UpTo(LAST_CONVERTED)),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, Any),
];
const STATISTICS: &[(i16, FieldShape)] = &[
    (1, Binary),
    (2, Binary),
    (3, I64),
    (4, I64),
    (5, Binary),
    (6, Binary),
    (7, Bool),
    (8, Bool),
];
const META: &[(i16, FieldShape)] = &[
    (1, I32),
    (2, I32List(&UpTo(LAST_ENCODING))),
    (3, BinaryList),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (14, I64),
    (15, I32),
];
const CHUNK: &[(i16, FieldShape)] = &[
    (1, Binary),
    (2, I64),
    (3, Struct(META)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
];
const SORTING: &[(i16, FieldShape)] = &[(1, I32), (2, Bool), (3, Bool)];
const GROUP: &[(i16, FieldShape)] = &[
    (1, StructList(CHUNK)),
    (2, I64),
    (3, I64),
    (4, StructList(SORTING)),
    (5, I64),
    (6, I64),
    (7, I16),
];
/// Field 7, the order of each column, is not asked for; nor are the fields of encryption.
const FILE: &[(i16, FieldShape)] = &[
    (1, I32),
    (2, StructList(ELEMENT)),
    (3, I64),
    (4, StructList(GROUP)),
    (5, StructList(PAIR)),
    (6, Binary),
];

// What no reader does without, by structs.
const REQUIRED_IN_FILE: &[(i16, FieldShape)] = &[(1, I32), (2, Any), (3, I64), (4, Any)];
const REQUIRED_IN_ELEMENT: &[(i16, FieldShape)] = &[(4, Binary)];
const REQUIRED_IN_GROUP: &[(i16, FieldShape)] = &[(1, Any), (2, I64), (3, I64)];
const REQUIRED_IN_CHUNK: &[(i16, FieldShape)] = &[(2, I64)];
const REQUIRED_IN_META: &[(i16, FieldShape)] = &[
    (1, I32),
    (2, Any),
    (3, BinaryList),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (9, I64),
];
const REQUIRED_IN_PAIR: &[(i16, FieldShape)] = &[(1, Binary)];
const REQUIRED_IN_ENCODING: &[(i16, FieldShape)] = &[(1, I32), (2, I32), (3, I32)];
const REQUIRED_IN_SORTING: &[(i16, FieldShape)] = &[(1, I32), (2, Bool), (3, Bool)];

/// Refuses a footer that leaves out what it must say.
pub(super) fn check(file: &ThriftStruct) -> Result<(), String> {
    check_required(file, REQUIRED_IN_FILE, "the footer")?;
    check_all(file.list(2), |element| {
        check_required(element, REQUIRED_IN_ELEMENT, "an element of the schema")
    })?;
    check_all(file.list(5), |pair| {
        check_required(pair, REQUIRED_IN_PAIR, "a pair of texts")
    })?;
    check_all(file.list(4), |group| {
        check_required(group, REQUIRED_IN_GROUP, "a row group")?;
        check_all(group.list(4), |sorting| {
            check_required(sorting, REQUIRED_IN_SORTING, "the order of a row group")
        })?;
        check_all(group.list(1), |chunk| {
            check_required(chunk, REQUIRED_IN_CHUNK, "a column of a row group")?;
            let Some(meta) = chunk.get_struct(3) else {
                return Ok(());
            };
            check_required(meta, REQUIRED_IN_META, "the metadata of a column")?;
            check_all(meta.list(8), |pair| {
                check_required(pair, REQUIRED_IN_PAIR, "a pair of texts")
            })?;
            check_all(meta.list(13), |encoding| {
                check_required(encoding, REQUIRED_IN_ENCODING, "the encodings of a column")
            })
        })
    })
}

fn check_all(
    list: &[ThriftValue],
    check: impl Fn(&ThriftStruct) -> Result<(), String>,
) -> Result<(), String> {
    list.iter().try_for_each(|value| {
        value.as_struct().map_or_else(
            || Err("a list has something else than structs".into()),
            &check,
        )
    })
}

fn check_required(
    fields: &ThriftStruct,
    required: &[(i16, FieldShape)],
    what: &str,
) -> Result<(), String> {
    let missing = required.iter().find(|(id, shape)| {
        fields
            .get(*id)
            .and_then(|value| sanitize_value(value, shape))
            .is_none()
    });
    missing.map_or(Ok(()), |(id, _)| Err(format!("{what} has no field {id}")))
}

/// A footer.
pub(super) fn sanitize_footer(fields: &ThriftStruct) -> ThriftStruct {
    sanitize_struct(fields, FILE)
}

/// A schema's elements.
pub(super) fn sanitize_schema(elements: &[ThriftValue]) -> ThriftValue {
    thrift::struct_list(
        elements
            .iter()
            .filter_map(ThriftValue::as_struct)
            .map(|element| sanitize_struct(element, ELEMENT)),
    )
}

/// A row group whose columns say nothing of their values.
pub(super) fn without_statistics(mut group: ThriftStruct) -> ThriftStruct {
    if let Some(ThriftValue::List(_, chunks)) = group.get_mut(1) {
        for chunk in chunks {
            if let ThriftValue::Struct(chunk) = chunk
                && let Some(meta) = chunk.get_struct_mut(3)
            {
                meta.remove(12);
            }
        }
    }
    group
}

fn sanitize_struct(fields: &ThriftStruct, shapes: &[(i16, FieldShape)]) -> ThriftStruct {
    let mut known = ThriftStruct::default();
    for (id, shape) in shapes {
        known.set_or_remove(
            *id,
            fields
                .get(*id)
                .and_then(|value| sanitize_value(value, shape)),
        );
    }
    known
}

fn sanitize_value(value: &ThriftValue, shape: &FieldShape) -> Option<ThriftValue> {
    let number = || value.as_integer();
    match shape {
        Any => Some(value.clone()),
        Bool => matches!(value, ThriftValue::Bool(_)).then(|| value.clone()),
        Binary => matches!(value, ThriftValue::Binary(_)).then(|| value.clone()),
        I16 => matches!(value, ThriftValue::I16(_)).then(|| value.clone()),
        I32 => matches!(value, ThriftValue::I32(_)).then(|| value.clone()),
        I64 => matches!(value, ThriftValue::I64(_)).then(|| value.clone()),
        // In lists the width that is said does not matter.
        UpTo(last) => Some(ThriftValue::I32(
            i32::try_from(number().filter(|number| (0..=*last).contains(number))?).ok()?,
        )),
        Struct(shapes) => Some(ThriftValue::Struct(sanitize_struct(
            value.as_struct()?,
            shapes,
        ))),
        StructList(shapes) => Some(thrift::struct_list(
            value
                .as_list()?
                .iter()
                .filter_map(ThriftValue::as_struct)
                .map(|fields| sanitize_struct(fields, shapes)),
        )),
        I32List(shape) => Some(thrift::i32_list(value.as_list()?.iter().filter_map(
            |value| match sanitize_value(value, shape)? {
                ThriftValue::I32(number) => Some(number),
                _ => None,
            },
        ))),
        BinaryList => Some(thrift::binary_list(value.as_list()?.iter().filter_map(
            |value| match value {
                ThriftValue::Binary(bytes) => Some(bytes.clone()),
                _ => None,
            },
        ))),
    }
}
