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
use crate::connection::types::{ColumnType, SqlColumn};
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
                let (column, tested) = self.column(column)?;
                let value = self.value(tested, *comparison, value)?;
                let name = self.engine.dialect().quote_name(&column.name);
                let condition = format!("{name} {} {value}", comparison.sql());
                Some(self.with_others(tested, &name, condition))
            }
            RowTest::IsNull(column) => {
                self.count()?;
                let (column, tested) = self.column(column)?;
                // What has no place in its column is null then.
                if self.home.on_invalid == OnInvalid::Null {
                    return None;
                }
                let name = self.engine.dialect().quote_name(&column.name);
                Some(self.with_others(tested, &name, format!("{name} IS NULL")))
            }
            RowTest::IsNotNull(column) => {
                self.count()?;
                let (column, _) = self.column(column)?;
                let name = self.engine.dialect().quote_name(&column.name);
                Some(format!("{name} IS NOT NULL"))
            }
            RowTest::All(tests) => match self.list(tests, Comparison::NotEqual) {
                Some(list) => list,
                None => self.joined(tests, " AND "),
            },
            RowTest::Any(tests) => match self.list(tests, Comparison::Equal) {
                Some(list) => list,
                None => self.joined(tests, " OR "),
            },
        }
    }

    fn joined(&mut self, tests: &[RowTest], by: &str) -> Option<String> {
        let tests: Option<Vec<String>> = tests.iter().map(|test| self.test(test)).collect();
        Some(format!("({})", tests?.join(by)))
    }

    /// Tests that are a list of values of one column: a long chain would have too many levels for
    /// some. `None` where they are something else.
    fn list(&mut self, tests: &[RowTest], wanted: Comparison) -> Option<Option<String>> {
        let mut values = Vec::with_capacity(tests.len());
        let mut of = None;
        for test in tests {
            let RowTest::Compare {
                column,
                comparison,
                value,
            } = test
            else {
                return None;
            };
            if *comparison != wanted || of.is_some_and(|of| of != column) {
                return None;
            }
            of = Some(column);
            values.push(value);
        }
        let of = of?;
        Some(self.in_list(of, wanted, &values))
    }

    fn in_list(
        &mut self,
        column: &str,
        comparison: Comparison,
        values: &[&TestValue],
    ) -> Option<String> {
        let (column, tested) = self.column(column)?;
        let values: Option<Vec<String>> = values
            .iter()
            .map(|value| self.value(tested, comparison, value))
            .collect();
        let name = self.engine.dialect().quote_name(&column.name);
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

    /// A column that is read, and what its values are compared as.
    fn column(&self, name: &str) -> Option<(SqlColumn, TestedType)> {
        let columns = &self.described.columns;
        let column = columns.iter().find(|column| column.name == name)?;
        // As another type it compares otherwise.
        if column.is_read_as_text || self.home.types.contains_key(name) {
            return None;
        }
        Some((column.clone(), self.engine.tested_type(column)?))
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
