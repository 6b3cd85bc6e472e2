//! Tests of rows that a database makes itself, where that rules out no row that comes.
//!
//! What it lets through is tested once more. So a collation may take two texts for one, and a value
//! that its column cannot hold is let through, to be refused by name.

use std::fmt::Write;

use super::description::TableDescription;
use super::engine::{ReadEngine, TestedType};
use super::{OnInvalid, SqlHome};
use crate::connection::Relation;
use crate::connection::calendar::{self, MICROS_PER_DAY};
use crate::connection::types::ColumnType;
use crate::home::{Comparison, RowTest, TestValue};

/// A statement has no more comparisons than these: SQLite walks down chains of them.
const MAX_COMPARISONS: usize = 300;

impl SqlHome {
    /// The condition that rows of a table meet by the first of these tests, as SQL.
    ///
    /// A query is read as it is: it has an order of its own, which it would lose. So is a view: what
    /// computes its columns might be asked of rows that it leaves out, and fail; tables are told from
    /// views by their primary key. And so is a table with a watermark: which rows are settled hangs
    /// on all of them.
    pub(super) fn pushed_condition(
        &self,
        engine: &dyn ReadEngine,
        described: &TableDescription,
        tests: &[RowTest],
    ) -> Option<String> {
        let is_query = matches!(self.relation, Relation::Query(_));
        if is_query || described.primary_key.is_empty() || self.watermark.is_some() {
            return None;
        }
        let mut writer = ConditionWriter {
            home: self,
            engine,
            described,
            comparisons: 0,
        };
        let conditions: Vec<String> = tests.iter().map_while(|test| writer.test(test)).collect();
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }
}

struct ConditionWriter<'a> {
    home: &'a SqlHome,
    engine: &'a dyn ReadEngine,
    described: &'a TableDescription,
    /// How many comparisons there are up to here.
    comparisons: usize,
}

impl ConditionWriter<'_> {
    /// A test as SQL; `None` where the database might rule out what hygge does not.
    fn test(&mut self, test: &RowTest) -> Option<String> {
        match test {
            RowTest::Compare {
                column,
                comparison,
                value,
            } => {
                let (name, tested) = self.column(column)?;
                let value = self.value(tested, *comparison, value)?;
                let condition = format!("{name} {} {value}", comparison.sql());
                Some(self.with_others(tested, &name, condition))
            }
            RowTest::IsNull(column) => {
                self.count()?;
                let (name, tested) = self.column(column)?;
                // What has no place in its column is null then.
                if self.home.on_invalid == OnInvalid::Null {
                    return None;
                }
                Some(self.with_others(tested, &name, format!("{name} IS NULL")))
            }
            RowTest::IsNotNull(column) => {
                self.count()?;
                let (name, _) = self.column(column)?;
                Some(format!("{name} IS NOT NULL"))
            }
            RowTest::All(tests) => match values_of_one_column(tests, Comparison::NotEqual) {
                Some((column, values)) => self.in_list(column, Comparison::NotEqual, &values),
                None => self.joined(tests, " AND "),
            },
            RowTest::Any(tests) => match values_of_one_column(tests, Comparison::Equal) {
                Some((column, values)) => self.in_list(column, Comparison::Equal, &values),
                None => self.joined(tests, " OR "),
            },
        }
    }

    fn joined(&mut self, tests: &[RowTest], by: &str) -> Option<String> {
        let tests: Option<Vec<String>> = tests.iter().map(|test| self.test(test)).collect();
        Some(format!("({})", tests?.join(by)))
    }

    fn in_list(
        &mut self,
        column: &str,
        comparison: Comparison,
        values: &[&TestValue],
    ) -> Option<String> {
        let (name, tested) = self.column(column)?;
        let values: Option<Vec<String>> = values
            .iter()
            .map(|value| self.value(tested, comparison, value))
            .collect();
        let word = if comparison == Comparison::Equal {
            "IN"
        } else {
            "NOT IN"
        };
        let condition = format!("{name} {word} ({})", values?.join(", "));
        Some(self.with_others(tested, &name, condition))
    }

    /// One more comparison; `None` where there are too many.
    fn count(&mut self) -> Option<()> {
        self.comparisons += 1;
        (self.comparisons <= MAX_COMPARISONS).then_some(())
    }

    /// The name of a column that is read, as SQL, and what its values are compared as.
    fn column(&self, name: &str) -> Option<(String, TestedType)> {
        let columns = &self.described.columns;
        let column = columns.iter().find(|column| column.name == name)?;
        // As another type it compares otherwise.
        if column.is_read_as_text || self.home.types.contains_key(name) {
            return None;
        }
        let tested = self.engine.tested_type(column)?;
        Some((self.engine.dialect().quote_name(name), tested))
    }

    /// A condition, or values that are none of their column's type.
    fn with_others(&self, tested: TestedType, name: &str, condition: String) -> String {
        match self.engine.other_values_condition(tested, name) {
            Some(others) => format!("({condition} OR {others})"),
            None => condition,
        }
    }

    fn value(
        &mut self,
        tested: TestedType,
        comparison: Comparison,
        value: &TestValue,
    ) -> Option<String> {
        self.count()?;
        let text = |wanted: ColumnType| match value {
            TestValue::Text(text) => Some(text),
            TestValue::Typed(of, text) if *of == wanted => Some(text),
            _ => None,
        };
        match tested {
            TestedType::Integer => match value {
                TestValue::Number(digits) => Some(digits.parse::<i64>().ok()?.to_string()),
                _ => None,
            },
            TestedType::Boolean => match (value, comparison) {
                (TestValue::Boolean(value), Comparison::Equal | Comparison::NotEqual) => {
                    Some(if *value { "TRUE" } else { "FALSE" }.into())
                }
                _ => None,
            },
            // Collations have an order of their own, and may take two texts for one: only those
            // that they tell apart are two.
            TestedType::Text => {
                let text = text(ColumnType::Text)?;
                (comparison == Comparison::Equal && is_plain(text))
                    .then(|| self.engine.dialect().quote_text(text))
            }
            TestedType::Date => {
                let micros = micros(text(ColumnType::Date)?, false)?;
                let days = (micros % MICROS_PER_DAY == 0).then_some(micros / MICROS_PER_DAY)?;
                let mut sql = String::from("DATE '");
                calendar::put_date(&mut sql, days).ok()?;
                sql.push('\'');
                Some(sql)
            }
            TestedType::Timestamp => {
                let micros = micros(text(ColumnType::Timestamp)?, false)?;
                let moment = calendar::format_timestamp(micros).ok()?;
                Some(format!("TIMESTAMP '{moment}'"))
            }
            TestedType::TimestampUtc => {
                let micros = micros(text(ColumnType::TimestampUtc)?, true)?;
                let mut sql = String::from("TIMESTAMP WITH TIME ZONE '");
                let moment = calendar::format_timestamp(micros).ok()?;
                write!(sql, "{moment}+00'").ok()?;
                Some(sql)
            }
        }
    }
}

/// The values that tests compare one column with, all in this way: a long chain would have too many
/// levels for some. `None` where they are something else.
fn values_of_one_column(tests: &[RowTest], wanted: Comparison) -> Option<(&str, Vec<&TestValue>)> {
    let compared = tests.iter().map(|test| match test {
        RowTest::Compare {
            column,
            comparison,
            value,
        } if *comparison == wanted => Some((column.as_str(), value)),
        _ => None,
    });
    let compared: Vec<(&str, &TestValue)> = compared.collect::<Option<_>>()?;
    let (column, _) = *compared.first()?;
    let is_one = compared.iter().all(|(other, _)| *other == column);
    is_one.then(|| {
        (
            column,
            compared.into_iter().map(|(_, value)| value).collect(),
        )
    })
}

/// True for a text that is the same in every character set and mode of a server: some have other
/// letters in place of `@[\\]^{|}~` and of the backtick, and some take an empty text for null.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' '..=b'?' | b'_');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Microseconds since 1970 of a text that says a clock's zone, or does not.
fn micros(text: &str, has_zone: bool) -> Option<i64> {
    let found = calendar::parse_timestamp(text)?;
    if found.offset.is_some() != has_zone {
        return None;
    }
    i64::try_from(found.utc_micros()).ok()
}
