//! Footers in the form that the parquet crate takes: numbers of the width that it expects, and
//! nothing that it refuses.
//!
//! Writers differ: lists say other widths for their numbers, old annotations have numbers that no
//! version of the format gives them, new ones have fields with types of their own. Other readers
//! pass over them. Nothing here is written.

use super::thrift::{self, Fields, Value};

/// What a field should be.
enum Shape {
    Truth,
    I16,
    I32,
    I64,
    Binary,
    /// Whatever it is.
    Any,
    /// A whole number between 0 and this; another is left out.
    Upto(i64),
    Structs(&'static [(i16, Shape)]),
    Struct(&'static [(i16, Shape)]),
    Numbers(&'static Shape),
    Texts,
}

use Shape::{Any, Binary, I16, I32, I64, Numbers, Struct, Structs, Texts, Truth, Upto};

/// The last old annotation: INTERVAL.
pub(super) const LAST_CONVERTED: i64 = 21;
/// The last encoding that the parquet crate knows.
const LAST_ENCODING: i64 = 9;

const PAIR: &[(i16, Shape)] = &[(1, Binary), (2, Binary)];
const ELEMENT: &[(i16, Shape)] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, Upto(LAST_CONVERTED)),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, Any),
];
const STATISTICS: &[(i16, Shape)] = &[
    (1, Binary),
    (2, Binary),
    (3, I64),
    (4, I64),
    (5, Binary),
    (6, Binary),
    (7, Truth),
    (8, Truth),
];
const META: &[(i16, Shape)] = &[
    (1, I32),
    (2, Numbers(&Upto(LAST_ENCODING))),
    (3, Texts),
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
const CHUNK: &[(i16, Shape)] = &[
    (1, Binary),
    (2, I64),
    (3, Struct(META)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
];
const SORTING: &[(i16, Shape)] = &[(1, I32), (2, Truth), (3, Truth)];
const GROUP: &[(i16, Shape)] = &[
    (1, Structs(CHUNK)),
    (2, I64),
    (3, I64),
    (4, Structs(SORTING)),
    (5, I64),
    (6, I64),
    (7, I16),
];
/// Field 7, the order of each column, is not asked for; nor are the fields of encryption.
const FILE: &[(i16, Shape)] = &[
    (1, I32),
    (2, Structs(ELEMENT)),
    (3, I64),
    (4, Structs(GROUP)),
    (5, Structs(PAIR)),
    (6, Binary),
];

// What no reader does without, by structs.
const OF_FILE: &[(i16, Shape)] = &[(1, I32), (2, Any), (3, I64), (4, Any)];
const OF_ELEMENT: &[(i16, Shape)] = &[(4, Binary)];
const OF_GROUP: &[(i16, Shape)] = &[(1, Any), (2, I64), (3, I64)];
const OF_CHUNK: &[(i16, Shape)] = &[(2, I64)];
const OF_META: &[(i16, Shape)] = &[
    (1, I32),
    (2, Any),
    (3, Texts),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (9, I64),
];
const OF_PAIR: &[(i16, Shape)] = &[(1, Binary)];
const OF_ENCODING: &[(i16, Shape)] = &[(1, I32), (2, I32), (3, I32)];
const OF_SORTING: &[(i16, Shape)] = &[(1, I32), (2, Truth), (3, Truth)];

/// Refuses a footer that leaves out what it must say.
pub(super) fn check(file: &Fields) -> Result<(), String> {
    require(file, OF_FILE, "the footer")?;
    all(file.list(2), |element| {
        require(element, OF_ELEMENT, "an element of the schema")
    })?;
    all(file.list(5), |pair| {
        require(pair, OF_PAIR, "a pair of texts")
    })?;
    all(file.list(4), |group| {
        require(group, OF_GROUP, "a row group")?;
        all(group.list(4), |sorting| {
            require(sorting, OF_SORTING, "the order of a row group")
        })?;
        all(group.list(1), |chunk| {
            require(chunk, OF_CHUNK, "a column of a row group")?;
            let Some(meta) = chunk.fields(3) else {
                return Ok(());
            };
            require(meta, OF_META, "the metadata of a column")?;
            all(meta.list(8), |pair| {
                require(pair, OF_PAIR, "a pair of texts")
            })?;
            all(meta.list(13), |encoding| {
                require(encoding, OF_ENCODING, "the encodings of a column")
            })
        })
    })
}

fn all(list: &[Value], check: impl Fn(&Fields) -> Result<(), String>) -> Result<(), String> {
    list.iter().try_for_each(|value| {
        value.fields().map_or_else(
            || Err("a list has something else than structs".into()),
            &check,
        )
    })
}

fn require(fields: &Fields, required: &[(i16, Shape)], what: &str) -> Result<(), String> {
    let missing = required.iter().find(|(id, shape)| {
        fields
            .get(*id)
            .and_then(|value| fitted(value, shape))
            .is_none()
    });
    missing.map_or(Ok(()), |(id, _)| Err(format!("{what} has no field {id}")))
}

/// A footer.
pub(super) fn file(fields: &Fields) -> Fields {
    shaped(fields, FILE)
}

/// A schema's elements.
pub(super) fn schema(elements: &[Value]) -> Value {
    thrift::structs(
        elements
            .iter()
            .filter_map(Value::fields)
            .map(|element| shaped(element, ELEMENT)),
    )
}

/// A row group whose columns say nothing of their values.
pub(super) fn without_statistics(mut group: Fields) -> Fields {
    if let Some(Value::List(_, chunks)) = group.get_mut(1) {
        for chunk in chunks {
            if let Value::Struct(chunk) = chunk
                && let Some(meta) = chunk.fields_mut(3)
            {
                meta.remove(12);
            }
        }
    }
    group
}

fn shaped(fields: &Fields, shapes: &[(i16, Shape)]) -> Fields {
    let mut known = Fields::default();
    for (id, shape) in shapes {
        known.set_or_remove(*id, fields.get(*id).and_then(|value| fitted(value, shape)));
    }
    known
}

fn fitted(value: &Value, shape: &Shape) -> Option<Value> {
    let number = || value.number();
    match shape {
        Any => Some(value.clone()),
        Truth => matches!(value, Value::Bool(_)).then(|| value.clone()),
        Binary => matches!(value, Value::Binary(_)).then(|| value.clone()),
        I16 => matches!(value, Value::I16(_)).then(|| value.clone()),
        I32 => matches!(value, Value::I32(_)).then(|| value.clone()),
        I64 => matches!(value, Value::I64(_)).then(|| value.clone()),
        // In lists the width that is said does not matter.
        Upto(last) => Some(Value::I32(
            i32::try_from(number().filter(|number| (0..=*last).contains(number))?).ok()?,
        )),
        Struct(shapes) => Some(Value::Struct(shaped(value.fields()?, shapes))),
        Structs(shapes) => Some(thrift::structs(
            value
                .elements()?
                .iter()
                .filter_map(Value::fields)
                .map(|fields| shaped(fields, shapes)),
        )),
        Numbers(shape) => Some(thrift::numbers(value.elements()?.iter().filter_map(
            |value| match fitted(value, shape)? {
                Value::I32(number) => Some(number),
                _ => None,
            },
        ))),
        Texts => Some(thrift::texts(value.elements()?.iter().filter_map(
            |value| match value {
                Value::Binary(bytes) => Some(bytes.clone()),
                _ => None,
            },
        ))),
    }
}
