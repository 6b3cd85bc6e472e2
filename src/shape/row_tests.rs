//! What of an expression a database may test: comparisons of a column with what is written out.
//!
//! Only what stands first is taken. An expression is computed from left to right, and what stands
//! behind may be asked of a row for which something before it fails: that must be seen.

use super::expression::{Expression, Node, NodeKind};
use crate::home::{Comparison, RowTest, TestValue};

/// The tests that an expression begins with, all of which are met by the rows for which it is true.
pub(super) fn row_tests(filter: &Expression) -> Vec<RowTest> {
    let conditions = filter.root.conjuncts().into_iter();
    conditions.map_while(|node| test(node, false)).collect()
}

/// A condition as a test, or its contrary where that is asked for.
fn test(node: &Node, is_negated: bool) -> Option<RowTest> {
    use NodeKind as K;
    let compare = |comparison: Comparison, column: &str, value: TestValue| RowTest::Compare {
        column: column.to_string(),
        comparison: if is_negated {
            comparison.negated()
        } else {
            comparison
        },
        value,
    };
    Some(match &node.kind {
        K::Column(column) => compare(Comparison::Equal, column, TestValue::Boolean(true)),
        K::Not(one) => test(one, !is_negated)?,
        K::IsNull(one) => match (&one.kind, is_negated) {
            (K::Column(column), false) => RowTest::IsNull(column.clone()),
            (K::Column(column), true) => RowTest::IsNotNull(column.clone()),
            _ => return None,
        },
        K::Compare(how, one, other) => match (&one.kind, &other.kind) {
            (K::Column(column), written) => compare(*how, column, value(written)?),
            (written, K::Column(column)) => compare(how.turned(), column, value(written)?),
            _ => return None,
        },
        K::All(all) | K::Any(all) => {
            let tests = all.iter().map(|node| test(node, is_negated));
            let tests = tests.collect::<Option<Vec<_>>>()?;
            if matches!(node.kind, K::All(_)) == is_negated {
                RowTest::Any(tests)
            } else {
                RowTest::All(tests)
            }
        }
        _ => return None,
    })
}

/// A value that is written out; null is none.
fn value(node: &NodeKind) -> Option<TestValue> {
    Some(match node {
        NodeKind::Boolean(value) => TestValue::Boolean(*value),
        NodeKind::Number(digits) => TestValue::Number(digits.clone()),
        NodeKind::Text(text) => TestValue::Text(text.clone()),
        NodeKind::Typed(of, text) => TestValue::Typed(of.clone(), text.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        fn one(test: &RowTest) -> String {
            let list = |tests: &[RowTest], by: &str| {
                let tests: Vec<String> = tests.iter().map(one).collect();
                format!("({})", tests.join(by))
            };
            match test {
                RowTest::Compare {
                    column,
                    comparison,
                    value,
                } => format!("{column} {} {value:?}", comparison.sql()),
                RowTest::IsNull(column) => format!("{column} is null"),
                RowTest::IsNotNull(column) => format!("{column} is not null"),
                RowTest::All(tests) => list(tests, " and "),
                RowTest::Any(tests) => list(tests, " or "),
            }
        }
        let filter = Expression::parse(text).expect("an expression");
        row_tests(&filter).iter().map(one).collect()
    }

    #[test]
    fn what_stands_before_the_first_other_condition_is_tested() {
        for (text, tests) in [
            (
                "a > 1 and 2 >= b",
                &[r#"a > Number("1")"#, r#"b <= Number("2")"#][..],
            ),
            ("not a < 1", &[r#"a >= Number("1")"#]),
            (
                "not (a = 1 and b is null)",
                &[r#"(a <> Number("1") or b is not null)"#],
            ),
            (
                "a not in (1, 2)",
                &[r#"(a <> Number("1") and a <> Number("2"))"#],
            ),
            (
                "paid and not gone",
                &["paid = Boolean(true)", "gone <> Boolean(true)"],
            ),
            (
                "a = 1 and cast(b as int32) = 1 and a = 2",
                &[r#"a = Number("1")"#],
            ),
            ("(a = 1 and b + 1 = 2) and a = 3", &[r#"a = Number("1")"#]),
            ("b + 1 = 2 and a = 1", &[]),
            ("a = 1 or b + 1 = 2", &[]),
            ("a = null", &[]),
            ("a = b", &[]),
            (
                "a = 'x' or (a = date '2026-01-31' and a is not null)",
                &[r#"(a = Text("x") or (a = Typed(Date, "2026-01-31") and a is not null))"#],
            ),
        ] {
            assert_eq!(shown(text), tests, "{text}");
        }
    }
}
