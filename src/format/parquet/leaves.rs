//! Leaves: the columns that a schema's flat list describes, with their levels and the order of
//! their values.
//!
//! The list is read without recursion, so that no depth of it costs a stack. What a column is
//! called by Arrow is not known here.

use super::thrift::{ThriftStruct, ThriftValue};

/// How deep groups may lie in each other: libraries read a schema by recursion.
const MAX_DEPTH: usize = 100;

const REQUIRED: i64 = 0;
const REPEATED: i64 = 2;

/// How a page's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueWidth {
    /// One bit each.
    Boolean,
    /// So many bytes each.
    Fixed(usize),
    /// A length of four bytes, and so many bytes.
    Variable,
}

/// The order by which a column's smallest and largest values are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SortOrder {
    /// Whole numbers with a sign, little-endian.
    Signed,
    /// Whole numbers without a sign, little-endian; truths too.
    Unsigned,
    /// Floating point numbers, little-endian.
    Float,
    /// Whole numbers with a sign, big-endian: decimals.
    Decimal,
    /// Bytes, as they stand.
    Bytes,
    /// None that readers agree on.
    Undefined,
}

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The names from the root down, which is not among them.
    pub(super) path: Vec<Vec<u8>>,
    /// The levels of definition and of repetition of each of them.
    pub(super) levels: Vec<(u32, u32)>,
    /// The level at which a value is there.
    pub(super) max_definition: u32,
    /// How many lists it lies in.
    pub(super) max_repetition: u32,
    /// How its values are stored.
    pub(super) value_width: ValueWidth,
    /// How they are ordered.
    pub(super) order: SortOrder,
    /// The schema's element.
    pub(super) element: ThriftStruct,
}

impl Leaf {
    /// Its names, joined as messages show them.
    pub(super) fn name(&self) -> String {
        let names: Vec<_> = self
            .path
            .iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        names.join(".")
    }
}

/// True for a column that has values itself. A group without fields is one all the same, where it
/// has no type of its own.
pub(super) fn is_leaf(element: &ThriftStruct) -> bool {
    let children = element.get_i32(5).unwrap_or_default();
    children <= 0 && element.get_i32(1).is_some()
}

/// A group whose children are still to come.
struct OpenGroup {
    children: i64,
    definition: u32,
    repetition: u32,
}

/// The leaves of a schema, in order.
pub(super) fn leaves(schema: &[ThriftValue]) -> Result<Vec<Leaf>, String> {
    let mut elements = schema.iter().map(|element| {
        element
            .as_struct()
            .ok_or_else(|| "its schema is no list of structs".to_string())
    });
    let root = elements.next().ok_or("it has no schema")??;
    let mut open = vec![OpenGroup {
        children: root.get_i32(5).unwrap_or_default(),
        definition: 0,
        repetition: 0,
    }];
    let mut path: Vec<Vec<u8>> = Vec::new();
    let mut levels: Vec<(u32, u32)> = Vec::new();
    let mut found = Vec::new();
    for element in elements {
        let element = element?;
        while open.last().is_some_and(|group| group.children <= 0) {
            open.pop();
            path.pop();
            levels.pop();
        }
        let depth = open.len();
        let Some(above) = open.last_mut() else {
            return Err("its schema has more columns than its groups say".into());
        };
        above.children -= 1;
        let repeats = element.get_i32(3).unwrap_or(REQUIRED);
        let definition = above.definition + u32::from(repeats != REQUIRED);
        let repetition = above.repetition + u32::from(repeats == REPEATED);
        path.push(element.binary(4).unwrap_or_default().to_vec());
        levels.push((definition, repetition));
        let children = element.get_i32(5).unwrap_or_default();
        if !is_leaf(element) {
            if depth >= MAX_DEPTH {
                return Err(format!("its schema is more than {MAX_DEPTH} groups deep"));
            }
            open.push(OpenGroup {
                children,
                definition,
                repetition,
            });
            continue;
        }
        let physical = value_width(element)?;
        found.push(Leaf {
            path: path.clone(),
            levels: levels.clone(),
            max_definition: definition,
            max_repetition: repetition,
            value_width: physical,
            order: order(element),
            element: element.clone(),
        });
        path.pop();
        levels.pop();
    }
    if open.iter().any(|group| group.children > 0) {
        return Err("its schema has fewer columns than its groups say".into());
    }
    Ok(found)
}

/// The elements of each of a schema's columns: of the fields of its root, with all that lies in
/// them.
pub(super) fn column_elements(schema: &[ThriftValue]) -> Vec<&[ThriftValue]> {
    let mut columns = Vec::new();
    let mut start = 1;
    while start < schema.len() {
        let (mut end, mut left) = (start, 1);
        while left > 0 && end < schema.len() {
            left += schema[end]
                .as_struct()
                .and_then(|element| element.get_i32(5))
                .unwrap_or_default()
                - 1;
            end += 1;
        }
        columns.push(&schema[start..end]);
        start = end;
    }
    columns
}

fn value_width(element: &ThriftStruct) -> Result<ValueWidth, String> {
    Ok(match element.get_i32(1) {
        Some(0) => ValueWidth::Boolean,
        Some(1 | 4) => ValueWidth::Fixed(4),
        Some(2 | 5) => ValueWidth::Fixed(8),
        Some(3) => ValueWidth::Fixed(12),
        Some(6) => ValueWidth::Variable,
        Some(7) => match element.get_i32(2).map(usize::try_from) {
            Some(Ok(width)) => ValueWidth::Fixed(width),
            _ => return Err("a column of fixed length has no length".into()),
        },
        other => {
            return Err(format!(
                "a column has the type {}",
                other.unwrap_or_default()
            ));
        }
    })
}

/// The order that the format defines for a type:
/// <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.
fn order(element: &ThriftStruct) -> SortOrder {
    const DECIMAL: i64 = 5;
    const UNSIGNED: std::ops::RangeInclusive<i64> = 11..=14;
    const INTERVAL: i64 = 21;
    let converted = element.get_i32(6);
    let logical = element.get_struct(10);
    let has = |variant: i16| logical.is_some_and(|logical| logical.get(variant).is_some());
    let is_known = logical.is_none_or(|logical| {
        logical
            .iter()
            .all(|(variant, _)| (1..=15).contains(&variant))
    });
    match element.get_i32(1) {
        _ if !is_known => SortOrder::Undefined,
        Some(0) => SortOrder::Unsigned,
        Some(1 | 2) => {
            let is_unsigned = logical
                .and_then(|logical| logical.get_struct(10))
                .is_some_and(|integer| integer.get_bool(2) == Some(false));
            let is_old = logical.is_none()
                && converted.is_some_and(|converted| UNSIGNED.contains(&converted));
            if is_unsigned || is_old {
                SortOrder::Unsigned
            } else {
                SortOrder::Signed
            }
        }
        Some(4 | 5) => SortOrder::Float,
        Some(6 | 7) if has(5) || logical.is_none() && converted == Some(DECIMAL) => {
            SortOrder::Decimal
        }
        Some(7) if has(15) => SortOrder::Float,
        Some(6 | 7) if converted == Some(INTERVAL) => SortOrder::Undefined,
        Some(6 | 7) => SortOrder::Bytes,
        _ => SortOrder::Undefined,
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, SortOrder, ThriftStruct, ThriftValue, leaves};

    fn element(name: &str, fields: &[(i16, i32)]) -> ThriftValue {
        let mut element = ThriftStruct::default();
        element.set(4, ThriftValue::Binary(name.as_bytes().to_vec()));
        for (id, number) in fields {
            element.set(*id, ThriftValue::I32(*number));
        }
        ThriftValue::Struct(element)
    }

    #[test]
    fn levels_follow_from_the_groups_above() {
        let schema = [
            element("root", &[(5, 3)]),
            element("a", &[(1, 1), (3, 0)]),
            element("l", &[(3, 1), (5, 1)]),
            element("list", &[(3, 2), (5, 1)]),
            element("element", &[(1, 6), (3, 1)]),
            element("u", &[(1, 1), (3, 1), (6, 13)]),
        ];
        let found = leaves(&schema).expect("a schema");
        let seen: Vec<_> = found
            .iter()
            .map(|leaf| {
                (
                    leaf.name(),
                    leaf.max_definition,
                    leaf.max_repetition,
                    leaf.order,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("a".to_string(), 0, 0, SortOrder::Signed),
                ("l.list.element".to_string(), 3, 1, SortOrder::Bytes),
                ("u".to_string(), 1, 0, SortOrder::Unsigned)
            ]
        );
    }

    #[test]
    fn schemas_that_are_none_are_refused() {
        assert!(leaves(&[]).is_err());
        assert!(
            leaves(&[element("root", &[(5, 2)]), element("a", &[(1, 1)])]).is_err(),
            "too few"
        );
        assert!(
            leaves(&[element("root", &[(5, 0)]), element("a", &[(1, 1)])]).is_err(),
            "too many"
        );
        assert!(
            leaves(&[element("root", &[(5, 0)])])
                .expect("no columns")
                .is_empty()
        );
        let deep = |depth: usize| {
            let mut schema = vec![element("root", &[(5, 1)])];
            schema.extend((0..depth).map(|_| element("g", &[(3, 0), (5, 1)])));
            schema.push(element("x", &[(1, 2)]));
            leaves(&schema)
        };
        assert!(deep(MAX_DEPTH - 1).is_ok());
        assert!(deep(10_000).is_err_and(|error| error.contains("groups deep")));
    }
}
