//! Windows of a column that grows: their names, and the conditions that rows in them meet.
//!
//! Values are counted as whole numbers, or as microseconds since 1970. It asks nothing.

use std::collections::BTreeSet;

use super::SqlError;
use super::description::RowRange;
use super::slices::{SliceSql, is_calendar, is_integer};
use crate::config::value_types::Lag;
use crate::connection::calendar::{self, MICROS_PER_DAY};
use crate::connection::types::{ColumnType, SqlColumn};

/// Between the bounds in a window's name.
const BOUND_SEPARATOR: &str = "..";

/// Behind the days in names of windows that end by the instant, where rows say how far their clocks
/// are ahead. Before, such windows ended by the days of those clocks.
pub(super) const UTC_SUFFIX: char = 'Z';

/// The function that gives the instant of a text in SQLite, and nothing where that is no time
/// stamp.
pub(super) const INSTANT_FUNCTION: &str = "hygge_instant";

/// True for the name of a window that has an end.
pub(super) fn is_closed(name: &str) -> bool {
    name.split_once(BOUND_SEPARATOR)
        .is_some_and(|(_, to)| !to.is_empty())
}

/// Some rows of the column; no bound means no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub from: Option<i128>,
    pub to: Option<i128>,
}

impl Window {
    /// Reads the name of a window: its bounds are whole numbers, or microseconds since 1970.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (from, to) = name.split_once(BOUND_SEPARATOR)?;
        let named = |text: &str| {
            parse_bound(
                text.strip_suffix(UTC_SUFFIX)
                    .filter(|day| day.len() == 10)
                    .unwrap_or(text),
            )
        };
        let bound = |text: &str| {
            if text.is_empty() {
                Some(None)
            } else {
                named(text).map(Some)
            }
        };
        Some(Self {
            from: bound(from)?,
            to: bound(to)?,
        })
    }

    /// Windows that end at these bounds, as far as they lie within.
    pub(super) fn split_at_bounds(self, bounds: &BTreeSet<i128>) -> Vec<Self> {
        let is_within = |bound: &&i128| {
            self.from.is_none_or(|from| from < **bound) && self.to.is_none_or(|to| **bound < to)
        };
        let mut cut = Vec::new();
        let mut from = self.from;
        for to in bounds
            .iter()
            .filter(is_within)
            .copied()
            .map(Some)
            .chain([self.to])
        {
            cut.push(Self { from, to });
            from = to;
        }
        cut
    }
}

/// A whole number, or the microseconds since 1970 of a date or time stamp, of which the zone is
/// UTC.
pub(super) fn parse_bound(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    calendar::parse_timestamp(text).map(|moment| moment.utc_micros())
}

/// How the values of a column are counted, and where windows may end.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatermarkScale<'a> {
    pub engine: &'static dyn SliceSql,
    pub column: &'a SqlColumn,
    /// Bounds are multiples of it: SQLite compares time stamps as texts, whose form only the day
    /// has for sure.
    granularity: i128,
    /// True for time stamps of SQLite's that may say how far their clocks are ahead: their texts
    /// are in another order than they are.
    pub compares_instants: bool,
}

impl<'a> WatermarkScale<'a> {
    pub(super) fn new(
        engine: &'static dyn SliceSql,
        column: &'a SqlColumn,
    ) -> Result<Self, SqlError> {
        let is_daily =
            column.kind == ColumnType::Date || engine.has_text_dates() && is_calendar(&column.kind);
        if !is_integer(&column.kind) && !is_calendar(&column.kind) {
            return Err(SqlError::NoWatermark {
                column: column.name.clone(),
                declared: column.declared.clone(),
            });
        }
        let is_instant = engine.has_text_dates() && column.kind == ColumnType::TimestampUtc;
        Ok(Self {
            engine,
            column,
            granularity: if is_daily {
                i128::from(MICROS_PER_DAY)
            } else {
                1
            },
            compares_instants: is_instant,
        })
    }

    pub(super) fn is_calendar(&self) -> bool {
        is_calendar(&self.column.kind)
    }

    pub(super) fn floor(&self, value: i128) -> i128 {
        value.div_euclid(self.granularity) * self.granularity
    }

    /// How far behind the largest value rows may still come.
    pub(super) fn lag(&self, lag: Lag) -> Result<i128, SqlError> {
        if lag.is_unitless == self.is_calendar() && lag.value > 0 {
            let (column, declared) = (self.column.name.clone(), self.column.declared.clone());
            return Err(SqlError::InvalidBound {
                what: "lag",
                value: lag.to_config_text(),
                column,
                declared,
            });
        }
        Ok(i128::from(lag.value) * if self.is_calendar() { 1_000_000 } else { 1 })
    }

    pub(super) fn start(&self, start: &str) -> Result<i128, SqlError> {
        let has_form = start.parse::<i128>().is_err() == self.is_calendar();
        let bound = parse_bound(start).filter(|bound| has_form && self.floor(*bound) == *bound);
        bound.ok_or_else(|| SqlError::InvalidBound {
            what: "start",
            value: start.to_string(),
            column: self.column.name.clone(),
            declared: self.column.declared.clone(),
        })
    }

    /// A bound as names have it.
    fn name(&self, bound: i128) -> String {
        match self.bound_timestamp(bound) {
            Some(moment) if self.granularity == 1 => moment
                .trim_end_matches('0')
                .trim_end_matches('.')
                .replace(' ', "T"),
            Some(moment) if self.compares_instants => format!("{}{UTC_SUFFIX}", date_part(&moment)),
            Some(moment) => date_part(&moment).to_string(),
            None => bound.to_string(),
        }
    }

    /// A bound as the database compares it.
    pub(super) fn literal(&self, bound: i128) -> String {
        match self.bound_timestamp(bound) {
            Some(moment) if self.granularity == 1 => self.engine.dialect().quote_text(&moment),
            Some(moment) => self.engine.dialect().quote_text(date_part(&moment)),
            None => bound.to_string(),
        }
    }

    /// What is true for values from a bound on.
    fn lower_condition(&self, bound: i128) -> String {
        let column = self.engine.dialect().quote_name(&self.column.name);
        if !self.compares_instants {
            return format!("{column} >= {}", self.literal(bound));
        }
        // No clock is ahead or behind by more than a day: so far, an index of the texts finds the
        // rows.
        let near = self.literal(bound - i128::from(MICROS_PER_DAY));
        format!(
            "{column} >= {near} AND {}",
            self.instant_condition(bound, ">=")
        )
    }

    /// What is true for values below a bound.
    fn upper_condition(&self, bound: i128) -> String {
        let column = self.engine.dialect().quote_name(&self.column.name);
        if !self.compares_instants {
            return format!("{column} < {}", self.literal(bound));
        }
        let far = bound + i128::from(MICROS_PER_DAY);
        let near =
            format_bound_micros(far).map(|_| format!("{column} < {} AND ", self.literal(far)));
        format!(
            "{}{}",
            near.unwrap_or_default(),
            self.instant_condition(bound, "<")
        )
    }

    /// Compares instants; what is no time stamp has its place as a text, and fails when it is read
    /// there.
    fn instant_condition(&self, bound: i128, comparison: &str) -> String {
        let column = self.engine.dialect().quote_name(&self.column.name);
        format!(
            "coalesce({INSTANT_FUNCTION}({column}) {comparison} {bound}, {column} {comparison} {})",
            self.literal(bound)
        )
    }

    fn bound_timestamp(&self, bound: i128) -> Option<String> {
        // Bounds come from values that have a year from 1 to 9999; what is taken from them may lie
        // below.
        self.is_calendar().then(|| {
            format_bound_micros(bound).unwrap_or_else(|| "0001-01-01 00:00:00.000000".into())
        })
    }

    pub(super) fn range(&self, Window { from, to }: Window) -> RowRange {
        let mut conditions = Vec::new();
        conditions.extend(from.map(|from| self.lower_condition(from)));
        conditions.extend(to.map(|to| self.upper_condition(to)));
        if let Some(finite) = self.engine.finite_condition(self.column) {
            // Infinite values are with those that are null.
            conditions.push(finite);
        } else if conditions.is_empty() {
            let column = self.engine.dialect().quote_name(&self.column.name);
            conditions.push(format!("{column} IS NOT NULL"));
        }
        let name = |bound: Option<i128>| bound.map_or_else(String::new, |bound| self.name(bound));
        RowRange {
            name: format!("{}{BOUND_SEPARATOR}{}", name(from), name(to)),
            condition: Some(conditions.join(" AND ")),
        }
    }

    /// Where everything is closed below a value that no other row will have.
    pub(super) fn bound_after(&self, value: i128) -> Option<i128> {
        let is_whole_day = self.column.kind == ColumnType::Date;
        let behind = (self.granularity == 1 || is_whole_day).then_some(value + self.granularity);
        behind.filter(|behind| !self.is_calendar() || format_bound_micros(*behind).is_some())
    }
}

/// Microseconds since 1970 as databases write them; nothing for a year that is not one from 1 to
/// 9999.
pub(super) fn format_bound_micros(bound: i128) -> Option<String> {
    calendar::format_timestamp(i64::try_from(bound).ok()?).ok()
}

fn date_part(moment: &str) -> &str {
    moment.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Dialect;

    fn column(kind: ColumnType) -> SqlColumn {
        SqlColumn {
            name: "at".into(),
            declared: String::new(),
            kind,
            nullable: true,
            is_read_as_text: false,
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (dialect, kind, from, to, name) in [
            (
                Dialect::Postgres,
                ColumnType::Int64,
                Some("-5"),
                Some("10"),
                "-5..10",
            ),
            (
                Dialect::Postgres,
                ColumnType::Timestamp,
                Some("2026-01-01"),
                Some("2026-01-01T10:00:00.5"),
                "2026-01-01T00:00:00..2026-01-01T10:00:00.5",
            ),
            (
                Dialect::MySql,
                ColumnType::Date,
                Some("2026-01-01"),
                None,
                "2026-01-01..",
            ),
            (
                Dialect::Sqlite,
                ColumnType::Timestamp,
                None,
                Some("2026-02-01"),
                "..2026-02-01",
            ),
            (
                Dialect::Sqlite,
                ColumnType::TimestampUtc,
                Some("2026-01-01"),
                Some("2026-02-01"),
                "2026-01-01Z..2026-02-01Z",
            ),
        ] {
            let column = column(kind);
            let scale =
                WatermarkScale::new(crate::home::sql::engine(dialect), &column).expect("a scale");
            let window = Window {
                from: from.and_then(parse_bound),
                to: to.and_then(parse_bound),
            };
            let range = scale.range(window);
            assert_eq!(range.name, name);
            assert_eq!(Window::parse(&range.name), Some(window), "{name}");
            assert_eq!(is_closed(&range.name), to.is_some(), "{name}");
        }
        for none in ["", "5", "a..b", "2026-13-01..", "5..x"] {
            assert_eq!(Window::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_window_is_cut_at_the_bounds_within_it() {
        let bounds = BTreeSet::from([0, 10, 20, 30]);
        let window = |from, to| Window { from, to };
        assert_eq!(
            window(Some(0), Some(20)).split_at_bounds(&bounds),
            [window(Some(0), Some(10)), window(Some(10), Some(20))]
        );
        assert_eq!(
            window(Some(25), None).split_at_bounds(&bounds),
            [window(Some(25), Some(30)), window(Some(30), None)]
        );
        assert_eq!(
            window(Some(11), Some(12)).split_at_bounds(&bounds),
            [window(Some(11), Some(12))]
        );
        assert_eq!(
            window(None, None).split_at_bounds(&BTreeSet::new()),
            [window(None, None)]
        );
    }

    #[test]
    fn what_no_other_row_will_have_is_behind_the_value() {
        let (number, day, moment) = (
            column(ColumnType::Int32),
            column(ColumnType::Date),
            column(ColumnType::Timestamp),
        );
        let behind = |dialect, column: &SqlColumn, bound: &str| {
            WatermarkScale::new(crate::home::sql::engine(dialect), column)
                .expect("a scale")
                .bound_after(parse_bound(bound).expect("a bound"))
        };
        assert_eq!(behind(Dialect::Postgres, &number, "41"), Some(42));
        assert_eq!(
            behind(Dialect::Postgres, &day, "2026-01-31"),
            parse_bound("2026-02-01")
        );
        assert_eq!(
            behind(Dialect::Sqlite, &moment, "2026-01-31"),
            None,
            "more of that day may come"
        );
        assert_eq!(
            behind(Dialect::Postgres, &day, "9999-12-31"),
            None,
            "there is no day behind it"
        );
    }
}
