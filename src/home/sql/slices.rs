//! Ranges: which rows one query reads. Slices are fixed multiples of a column, so that a new row
//! moves none of them.

use std::fmt::Debug;

use super::SqlError;
use super::description::RowRange;
use crate::config::value_types::SliceWidth;
use crate::connection::types::{ColumnType, SqlColumn};
use crate::connection::{Dialect, calendar};

/// More slices than these are most likely a mistake.
const MAX_SLICES: usize = 100_000;

/// Where there may be more slices than these, it is asked which of them have rows.
const MAX_LISTED_SLICES: u128 = 500;

/// How many whole numbers a slice of a primary key has, as long as that gives no more than
/// `MAX_KEY_SLICES` slices.
const KEY_SLICE_WIDTH: u64 = 1_000_000;

/// A primary key has no more slices than these: where its values are far apart, slices are ten
/// times as wide, and so on.
const MAX_KEY_SLICES: u128 = 1000;

/// What databases do in their own way with the values that slices and windows are made of.
pub(super) trait SliceSql: Debug + Send + Sync {
    /// How it writes names and texts.
    fn dialect(&self) -> Dialect;

    /// The column that slices are made of, as it is compared.
    fn slice_column(&self, column: &SqlColumn) -> String {
        self.dialect().quote_name(&column.name)
    }

    /// The last year that has slices: behind it there is none, or it compares otherwise.
    fn last_year(&self) -> i64;

    /// The last year that a literal may have.
    fn last_literal_year(&self) -> i64 {
        self.last_year()
    }

    /// The largest number that a column can be compared with, where that is not any.
    fn largest_number(&self, _: &SqlColumn) -> Option<i128> {
        None
    }

    /// What is true for values that are what their type says, and lie in the slice that they are
    /// called after; `None` where all are.
    fn regular_condition(&self, column: &str, width: SliceWidth) -> Option<String>;

    /// True where a value between two of its type is always one that its type says it is.
    fn compares_by_type(&self) -> bool {
        false
    }

    /// What is true for values that are not infinite; `None` where no value of the column may be.
    fn finite_condition(&self, _: &SqlColumn) -> Option<String> {
        None
    }

    /// True where dates and time stamps are texts: only the day has a form for sure, and clocks may
    /// be ahead.
    fn has_text_dates(&self) -> bool {
        false
    }
}

/// A database that says by itself in which slice a row lies.
pub(super) trait SliceNameSql: SliceSql {
    /// The column that slices are made of, as it is divided.
    fn dividend(&self, column: &SqlColumn) -> String {
        self.slice_column(column)
    }

    /// The quotient without what is behind the point.
    fn quotient(&self, dividend: &str, width: u64) -> String {
        format!("{dividend} / {width}")
    }

    /// The name of a slice by a part of the calendar, as SQL of a column.
    fn calendar_name(&self, column: &str, width: SliceWidth) -> String;
}

/// The column that slices are made of, and how wide they are.
#[derive(Clone, Debug)]
pub(super) struct Slicer<'a> {
    pub engine: &'static dyn SliceSql,
    pub column: &'a SqlColumn,
    pub width: SliceWidth,
    /// True where ranges hold only values that are what their type says; all others are in the
    /// rest.
    pub is_strict: bool,
    /// True where SQLite's time stamps are counted by their instants, as windows are, and not by
    /// the days that their texts have.
    pub uses_instants: bool,
}

/// The name of the slice of rows that have no value, or one without end.
pub(super) const NULL_SLICE: &str = "null";

impl<'a> Slicer<'a> {
    /// Slices by what the config says.
    pub(super) fn new(
        engine: &'static dyn SliceSql,
        column: &'a SqlColumn,
        by: SliceWidth,
    ) -> Result<Self, SqlError> {
        let fits = match by {
            SliceWidth::Day | SliceWidth::Month | SliceWidth::Year => is_calendar(&column.kind),
            SliceWidth::Numbers(_) => is_integer(&column.kind),
        };
        if fits {
            return Ok(Self {
                engine,
                column,
                width: by,
                is_strict: false,
                uses_instants: false,
            });
        }
        let (column, declared) = (column.name.clone(), column.declared.clone());
        Err(SqlError::NoSlices {
            column,
            declared,
            by: by.to_string(),
        })
    }

    /// Slices of a primary key whose values lie between two.
    pub(super) fn for_key(
        engine: &'static dyn SliceSql,
        column: &'a SqlColumn,
        from: i128,
        to: i128,
    ) -> Self {
        let spread = to.abs_diff(from);
        let mut width = KEY_SLICE_WIDTH;
        while spread / u128::from(width) >= MAX_KEY_SLICES {
            width = width.saturating_mul(10);
        }
        Self {
            engine,
            column,
            width: SliceWidth::Numbers(width),
            is_strict: false,
            uses_instants: false,
        }
    }

    /// The same, of which ranges hold only values that are what their type says.
    pub(super) fn with_strict(&self, is_strict: bool) -> Self {
        Self {
            is_strict,
            ..self.clone()
        }
    }

    /// The number of the slice that a value lies in, as the database writes it.
    pub(super) fn slice_number(&self, text: &str) -> Option<i128> {
        match self.width {
            SliceWidth::Numbers(width) => {
                Some(text.parse::<i128>().ok()?.div_euclid(i128::from(width)))
            }
            by => {
                let (year, month, day, rest) = calendar::parse_date(text)?;
                let has_slice =
                    (1..=self.engine.last_year()).contains(&year) && !rest.ends_with("BC");
                has_slice.then(|| {
                    i128::from(calendar::slice_number(
                        by,
                        calendar::days_from_date(year, month, day),
                    ))
                })
            }
        }
    }

    /// How a slice is called.
    pub(super) fn name(&self, number: i128) -> String {
        match self.width {
            SliceWidth::Numbers(width) => (number * i128::from(width)).to_string(),
            by => calendar::slice_name(by, i64::try_from(number).unwrap_or_default()),
        }
    }

    /// One slice.
    pub(super) fn range(&self, number: i128) -> RowRange {
        let column = self.engine.slice_column(self.column);
        let mut conditions = vec![format!(
            "{column} >= {}",
            self.slice_start_sql(number).unwrap_or_default()
        )];
        match self.slice_start_sql(number + 1) {
            Some(bound) => conditions.push(format!("{column} < {bound}")),
            // The last slice of all. Dates that are texts are below the sign behind all digits.
            None if self.engine.has_text_dates() => conditions.push(format!("{column} < ':'")),
            None => {}
        }
        conditions.extend(
            self.regular_condition()
                .filter(|_| self.is_strict && !self.engine.compares_by_type()),
        );
        RowRange {
            name: self.name(number),
            condition: Some(conditions.join(" AND ")),
        }
    }

    /// The value that a slice begins with, as SQL; nothing where the database has none.
    fn slice_start_sql(&self, number: i128) -> Option<String> {
        match self.width {
            SliceWidth::Numbers(width) => {
                let bound = number * i128::from(width);
                let largest = self.engine.largest_number(self.column);
                largest
                    .is_none_or(|largest| bound <= largest)
                    .then(|| bound.to_string())
            }
            by => {
                let (year, month, day) =
                    calendar::first_day(by, i64::try_from(number).unwrap_or_default());
                (year <= self.engine.last_literal_year()).then(|| {
                    self.engine
                        .dialect()
                        .quote_text(&format!("{year:04}-{month:02}-{day:02}"))
                })
            }
        }
    }

    /// The value that a slice begins with.
    pub(super) fn slice_start(&self, number: i128) -> i128 {
        slice_start(self.width, number)
    }

    /// What is true for values that are what their type says, and lie in the slice that they are
    /// called after.
    pub(super) fn regular_condition(&self) -> Option<String> {
        let name = self.engine.dialect().quote_name(&self.column.name);
        self.engine.regular_condition(&name, self.width)
    }

    /// What the slice of a row is called, or nothing, as SQL of a server.
    pub(super) fn expression(&self, sql: &dyn SliceNameSql) -> String {
        let column = sql.dividend(self.column);
        let SliceWidth::Numbers(width) = self.width else {
            return format!(
                "CASE WHEN {} THEN {} END",
                self.regular_condition().unwrap_or_default(),
                sql.calendar_name(&column, self.width)
            );
        };
        // Division drops what is behind the point; for numbers below zero that is one too many.
        let divided = sql.quotient(&column, width);
        let below =
            format!("CASE WHEN {column} < 0 AND mod({column}, {width}) <> 0 THEN 1 ELSE 0 END");
        // Of unsigned numbers, nothing can be taken away.
        if is_unsigned(&self.column.kind) {
            divided
        } else {
            format!("({divided} - {below})")
        }
    }

    /// The slice that a row's answer to [`Slicer::expression`] means.
    pub(super) fn parse_slice_number(&self, text: &str) -> Option<i128> {
        match self.width {
            SliceWidth::Numbers(_) => text.parse().ok(),
            by => calendar::parse_slice_name(by, text).map(i128::from),
        }
    }

    /// All slices between two of them; nothing where they are so many that it should be asked which
    /// have rows.
    pub(super) fn between(first: i128, last: i128) -> Option<Vec<i128>> {
        (last.abs_diff(first) < MAX_LISTED_SLICES).then(|| (first..=last).collect())
    }

    /// There are not more slices than are meant most likely.
    pub(super) fn check_number(&self, numbers: &[i128]) -> Result<(), SqlError> {
        let (Some(first), Some(last)) = (numbers.iter().min(), numbers.iter().max()) else {
            return Ok(());
        };
        if numbers.len() <= MAX_SLICES {
            return Ok(());
        }
        let (column, by) = (self.column.name.clone(), self.width.to_string());
        Err(SqlError::ManySlices {
            column,
            from: self.name(*first),
            to: self.name(*last),
            slices: numbers.len(),
            by,
        })
    }

    /// The rows that lie in no slice: those without a value, and those whose value is none that
    /// slices are made of.
    pub(super) fn null_range(&self) -> RowRange {
        match self.regular_condition().filter(|_| self.is_strict) {
            Some(regular) => RowRange {
                name: NULL_SLICE.into(),
                condition: Some(format!("({regular}) IS NOT TRUE")),
            },
            None => null_range(self.engine, self.column),
        }
    }

    /// The rows that lie in none of the slices from one up to another.
    pub(super) fn outside(&self, first: i128, last: i128) -> RowRange {
        let column = self.engine.slice_column(self.column);
        let mut conditions = vec![format!("{column} IS NULL")];
        conditions.extend(
            self.slice_start_sql(first)
                .map(|bound| format!("{column} < {bound}")),
        );
        conditions.extend(
            self.slice_start_sql(last + 1)
                .map(|bound| format!("{column} >= {bound}")),
        );
        RowRange {
            name: NULL_SLICE.into(),
            condition: Some(format!("({})", conditions.join(" OR "))),
        }
    }
}

/// The function that gives the day of a text in SQLite, and nothing where it does not begin with
/// one.
pub(super) const DAY_FUNCTION: &str = "hygge_day";

/// The value that a slice begins with: a whole number, or microseconds since 1970.
pub(super) fn slice_start(by: SliceWidth, number: i128) -> i128 {
    match by {
        SliceWidth::Numbers(width) => number * i128::from(width),
        by => {
            let (year, month, day) =
                calendar::first_day(by, i64::try_from(number).unwrap_or_default());
            i128::from(calendar::days_from_date(year, month, day))
                * i128::from(calendar::MICROS_PER_DAY)
        }
    }
}

/// The rows that lie in no slice: those without a value, and those whose value is infinite.
pub(super) fn null_range(engine: &dyn SliceSql, column: &SqlColumn) -> RowRange {
    let name = engine.dialect().quote_name(&column.name);
    let condition = match engine.finite_condition(column) {
        Some(finite) => format!("({name} IS NULL OR NOT {finite})"),
        None => format!("{name} IS NULL"),
    };
    RowRange {
        name: NULL_SLICE.into(),
        condition: Some(condition),
    }
}

/// Dates and time stamps.
pub(super) fn is_calendar(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampUtc
    )
}

fn is_unsigned(kind: &ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64
    )
}

/// Whole numbers.
pub(super) fn is_integer(kind: &ColumnType) -> bool {
    is_unsigned(kind)
        || matches!(
            kind,
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::sql::engine;

    fn column(kind: ColumnType) -> SqlColumn {
        SqlColumn {
            name: "c".into(),
            declared: String::new(),
            kind,
            nullable: true,
            is_read_as_text: false,
        }
    }

    #[test]
    fn a_value_lies_in_the_slice_that_begins_at_or_below_it() {
        let (number, day) = (column(ColumnType::Int64), column(ColumnType::Date));
        for (width, column, value, name) in [
            (SliceWidth::Numbers(10), &number, "0", Some("0")),
            (SliceWidth::Numbers(10), &number, "9", Some("0")),
            (SliceWidth::Numbers(10), &number, "-1", Some("-10")),
            (SliceWidth::Numbers(10), &number, "-10", Some("-10")),
            (SliceWidth::Numbers(10), &number, "-11", Some("-20")),
            (
                SliceWidth::Numbers(1),
                &number,
                "-9223372036854775808",
                Some("-9223372036854775808"),
            ),
            (SliceWidth::Numbers(10), &number, "x", None),
            (SliceWidth::Day, &day, "2024-02-29", Some("2024-02-29")),
            (SliceWidth::Month, &day, "2024-02-29", Some("2024-02")),
            (SliceWidth::Year, &day, "1969-12-31", Some("1969")),
            (SliceWidth::Year, &day, "0044-03-15 BC", None),
            (SliceWidth::Year, &day, "10000-01-01", None),
        ] {
            let slicer =
                Slicer::new(engine(Dialect::MySql), column, width).expect("a column of slices");
            let found = slicer.slice_number(value).map(|number| slicer.name(number));
            assert_eq!(found.as_deref(), name, "{value} by {width}");
            if let Some(name) = name {
                let number = slicer.slice_number(value);
                assert_eq!(slice_number_of(&slicer, name), number, "{name} by {width}");
            }
        }
        assert!(Slicer::new(engine(Dialect::Sqlite), &number, SliceWidth::Day).is_err());
        assert!(Slicer::new(engine(Dialect::Sqlite), &day, SliceWidth::Numbers(1)).is_err());
    }

    /// The slice that begins with what it is called after.
    fn slice_number_of(slicer: &Slicer<'_>, name: &str) -> Option<i128> {
        match slicer.width {
            SliceWidth::Numbers(_) => slicer.slice_number(name),
            _ => slicer.parse_slice_number(name),
        }
    }

    #[test]
    fn each_database_is_asked_for_the_rows_of_a_slice_in_its_own_way() {
        let (number, day, oid) = (
            column(ColumnType::Int64),
            column(ColumnType::Date),
            column(ColumnType::UInt32),
        );
        let condition = |dialect, column: &SqlColumn, width, number| {
            let slicer = Slicer::new(engine(dialect), column, width).expect("a column of slices");
            let range = slicer.with_strict(true).range(number);
            range.condition.expect("a condition")
        };
        let tens = SliceWidth::Numbers(10);
        for (found, wanted) in [
            (
                condition(Dialect::Postgres, &number, tens, -1),
                r#""c" >= -10 AND "c" < 0"#,
            ),
            (
                condition(Dialect::MySql, &number, tens, 2),
                "`c` >= 20 AND `c` < 30",
            ),
            (
                condition(Dialect::Sqlite, &number, tens, 0),
                r#""c" >= 0 AND "c" < 10 AND typeof("c") = 'integer'"#,
            ),
            (
                condition(Dialect::Postgres, &day, SliceWidth::Month, 1970 * 12),
                r#""c" >= E'1970-01-01' AND "c" < E'1970-02-01'"#,
            ),
            (
                condition(Dialect::MySql, &day, SliceWidth::Month, 1970 * 12),
                "`c` >= '1970-01-01' AND `c` < '1970-02-01' AND (`c` + INTERVAL 0 DAY) IS NOT NULL",
            ),
            (
                condition(Dialect::Postgres, &oid, SliceWidth::Numbers(1 << 31), 1),
                r#""c" >= 2147483648"#,
            ),
        ] {
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_key_has_slices_as_wide_as_its_values_are_far_apart() {
        let key = column(ColumnType::Int64);
        for (from, to, width) in [
            (0, 10, 1_000_000),
            (0, 999_999_999, 1_000_000),
            (0, 1_000_000_000, 10_000_000),
            (
                i128::from(i64::MIN),
                i128::from(i64::MAX),
                100_000_000_000_000_000,
            ),
        ] {
            let slicer = Slicer::for_key(engine(Dialect::Sqlite), &key, from, to);
            assert_eq!(slicer.width, SliceWidth::Numbers(width), "{from}..{to}");
        }
    }
}
