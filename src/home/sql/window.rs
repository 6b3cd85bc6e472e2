//! Windows of a column that grows: their names, and the conditions that rows in them meet.
//!
//! Values are counted as whole numbers, or as microseconds since 1970. It asks nothing.

use std::collections::BTreeSet;

use super::SqlError;
use super::ranges::{Range, is_calendar, is_whole};
use crate::config::words::Lag;
use crate::connection::Dialect;
use crate::connection::calendar::{self, DAY_MICROS};
use crate::connection::types::{Column, Type};

/// Between the bounds in a window's name.
const TO: &str = "..";

/// Behind the days in names of windows that end by the instant, where rows say how far their clocks
/// are ahead. Before, such windows ended by the days of those clocks.
pub(super) const UTC: char = 'Z';

/// The function that gives the instant of a text in SQLite, and nothing where that is no time
/// stamp.
pub(super) const INSTANT: &str = "hygge_instant";

/// True for the name of a window that has an end.
pub(super) fn is_settled(name: &str) -> bool {
    name.split_once(TO).is_some_and(|(_, to)| !to.is_empty())
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
        let (from, to) = name.split_once(TO)?;
        let named = |text: &str| {
            value(
                text.strip_suffix(UTC)
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
    pub(super) fn cut(self, bounds: &BTreeSet<i128>) -> Vec<Self> {
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
pub(super) fn value(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    calendar::parse_moment(text).map(|moment| moment.instant())
}

/// How the values of a column are counted, and where windows may end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    pub dialect: Dialect,
    pub column: &'a Column,
    /// Bounds are multiples of it: SQLite compares time stamps as texts, whose form only the day
    /// has for sure.
    grain: i128,
    /// True for time stamps of SQLite's that may say how far their clocks are ahead: their texts
    /// are in another order than they are.
    pub is_instant: bool,
}

impl<'a> Scale<'a> {
    pub(super) fn new(dialect: Dialect, column: &'a Column) -> Result<Self, SqlError> {
        let is_daily =
            column.kind == Type::Date || dialect == Dialect::Sqlite && is_calendar(&column.kind);
        if !is_whole(&column.kind) && !is_calendar(&column.kind) {
            return Err(SqlError::NoWatermark {
                column: column.name.clone(),
                declared: column.declared.clone(),
            });
        }
        let is_instant = dialect == Dialect::Sqlite && column.kind == Type::TimestampUtc;
        Ok(Self {
            dialect,
            column,
            grain: if is_daily { i128::from(DAY_MICROS) } else { 1 },
            is_instant,
        })
    }

    pub(super) fn is_calendar(&self) -> bool {
        is_calendar(&self.column.kind)
    }

    pub(super) fn floor(&self, value: i128) -> i128 {
        value.div_euclid(self.grain) * self.grain
    }

    /// How far behind the largest value rows may still come.
    pub(super) fn lag(&self, lag: Lag) -> Result<i128, SqlError> {
        if lag.is_plain == self.is_calendar() && lag.value > 0 {
            let (column, declared) = (self.column.name.clone(), self.column.declared.clone());
            return Err(SqlError::NoBound {
                what: "lag",
                value: lag.shown(),
                column,
                declared,
            });
        }
        Ok(i128::from(lag.value) * if self.is_calendar() { 1_000_000 } else { 1 })
    }

    pub(super) fn start(&self, start: &str) -> Result<i128, SqlError> {
        let has_form = start.parse::<i128>().is_err() == self.is_calendar();
        let bound = value(start).filter(|bound| has_form && self.floor(*bound) == *bound);
        bound.ok_or_else(|| SqlError::NoBound {
            what: "start",
            value: start.to_string(),
            column: self.column.name.clone(),
            declared: self.column.declared.clone(),
        })
    }

    /// A bound as names have it.
    fn name(&self, bound: i128) -> String {
        match self.moment(bound) {
            Some(moment) if self.grain == 1 => moment
                .trim_end_matches('0')
                .trim_end_matches('.')
                .replace(' ', "T"),
            Some(moment) if self.is_instant => format!("{}{UTC}", day_of(&moment)),
            Some(moment) => day_of(&moment).to_string(),
            None => bound.to_string(),
        }
    }

    /// A bound as the database compares it.
    pub(super) fn literal(&self, bound: i128) -> String {
        match self.moment(bound) {
            Some(moment) if self.grain == 1 => self.dialect.text(&moment),
            Some(moment) => self.dialect.text(day_of(&moment)),
            None => bound.to_string(),
        }
    }

    /// What is true for values from a bound on.
    fn from(&self, bound: i128) -> String {
        let column = self.dialect.quoted(&self.column.name);
        if !self.is_instant {
            return format!("{column} >= {}", self.literal(bound));
        }
        // No clock is ahead or behind by more than a day: so far, an index of the texts finds the
        // rows.
        let near = self.literal(bound - i128::from(DAY_MICROS));
        format!("{column} >= {near} AND {}", self.by_instant(bound, ">="))
    }

    /// What is true for values below a bound.
    fn below(&self, bound: i128) -> String {
        let column = self.dialect.quoted(&self.column.name);
        if !self.is_instant {
            return format!("{column} < {}", self.literal(bound));
        }
        let far = bound + i128::from(DAY_MICROS);
        let near = shown(far).map(|_| format!("{column} < {} AND ", self.literal(far)));
        format!(
            "{}{}",
            near.unwrap_or_default(),
            self.by_instant(bound, "<")
        )
    }

    /// Compares instants; what is no time stamp has its place as a text, and fails when it is read
    /// there.
    fn by_instant(&self, bound: i128, comparison: &str) -> String {
        let column = self.dialect.quoted(&self.column.name);
        format!(
            "coalesce({INSTANT}({column}) {comparison} {bound}, {column} {comparison} {})",
            self.literal(bound)
        )
    }

    fn moment(&self, bound: i128) -> Option<String> {
        // Bounds come from values that have a year from 1 to 9999; what is taken from them may lie
        // below.
        self.is_calendar()
            .then(|| shown(bound).unwrap_or_else(|| "0001-01-01 00:00:00.000000".into()))
    }

    pub(super) fn range(&self, Window { from, to }: Window) -> Range {
        let column = self.dialect.quoted(&self.column.name);
        let mut conditions = Vec::new();
        conditions.extend(from.map(|from| self.from(from)));
        conditions.extend(to.map(|to| self.below(to)));
        match (self.dialect, self.is_calendar()) {
            // Those without an end are with those without a value.
            (Dialect::Postgres, true) => conditions.push(format!("isfinite({column})")),
            _ if conditions.is_empty() => conditions.push(format!("{column} IS NOT NULL")),
            _ => {}
        }
        let name = |bound: Option<i128>| bound.map_or_else(String::new, |bound| self.name(bound));
        Range {
            name: format!("{}{TO}{}", name(from), name(to)),
            condition: Some(conditions.join(" AND ")),
        }
    }

    /// Where everything is settled below a value that no other row will have.
    pub(super) fn behind(&self, value: i128) -> Option<i128> {
        let is_whole_day = self.column.kind == Type::Date;
        let behind = (self.grain == 1 || is_whole_day).then_some(value + self.grain);
        behind.filter(|behind| !self.is_calendar() || shown(*behind).is_some())
    }
}

/// Microseconds since 1970 as databases write them; nothing for a year that is not one from 1 to
/// 9999.
pub(super) fn shown(bound: i128) -> Option<String> {
    calendar::shown_moment(i64::try_from(bound).ok()?).ok()
}

fn day_of(moment: &str) -> &str {
    moment.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Type) -> Column {
        Column {
            name: "at".into(),
            declared: String::new(),
            kind,
            nullable: true,
            as_text: false,
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (dialect, kind, from, to, name) in [
            (
                Dialect::Postgres,
                Type::Int64,
                Some("-5"),
                Some("10"),
                "-5..10",
            ),
            (
                Dialect::Postgres,
                Type::Timestamp,
                Some("2026-01-01"),
                Some("2026-01-01T10:00:00.5"),
                "2026-01-01T00:00:00..2026-01-01T10:00:00.5",
            ),
            (
                Dialect::MySql,
                Type::Date,
                Some("2026-01-01"),
                None,
                "2026-01-01..",
            ),
            (
                Dialect::Sqlite,
                Type::Timestamp,
                None,
                Some("2026-02-01"),
                "..2026-02-01",
            ),
            (
                Dialect::Sqlite,
                Type::TimestampUtc,
                Some("2026-01-01"),
                Some("2026-02-01"),
                "2026-01-01Z..2026-02-01Z",
            ),
        ] {
            let column = column(kind);
            let scale = Scale::new(dialect, &column).expect("a scale");
            let window = Window {
                from: from.and_then(value),
                to: to.and_then(value),
            };
            let range = scale.range(window);
            assert_eq!(range.name, name);
            assert_eq!(Window::parse(&range.name), Some(window), "{name}");
            assert_eq!(is_settled(&range.name), to.is_some(), "{name}");
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
            window(Some(0), Some(20)).cut(&bounds),
            [window(Some(0), Some(10)), window(Some(10), Some(20))]
        );
        assert_eq!(
            window(Some(25), None).cut(&bounds),
            [window(Some(25), Some(30)), window(Some(30), None)]
        );
        assert_eq!(
            window(Some(11), Some(12)).cut(&bounds),
            [window(Some(11), Some(12))]
        );
        assert_eq!(
            window(None, None).cut(&BTreeSet::new()),
            [window(None, None)]
        );
    }

    #[test]
    fn what_no_other_row_will_have_is_behind_the_value() {
        let (number, day, moment) = (
            column(Type::Int32),
            column(Type::Date),
            column(Type::Timestamp),
        );
        let behind = |dialect, column: &Column, bound: &str| {
            Scale::new(dialect, column)
                .expect("a scale")
                .behind(value(bound).expect("a bound"))
        };
        assert_eq!(behind(Dialect::Postgres, &number, "41"), Some(42));
        assert_eq!(
            behind(Dialect::Postgres, &day, "2026-01-31"),
            value("2026-02-01")
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
