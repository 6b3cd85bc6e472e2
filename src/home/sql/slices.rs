//! Ranges: which rows one query reads. Slices are fixed multiples of a column, so that a new row
//! moves none of them.

use super::SqlError;
use crate::config::value_types::SliceWidth;
use crate::connection::Dialect;
use crate::connection::calendar;
use crate::connection::types::{ColumnType, SqlColumn};

/// More slices than these are most likely a mistake.
const MAX_SLICES: usize = 100_000;

/// Where there may be more slices than these, it is asked which of them have rows.
const MAX_LISTED_SLICES: u128 = 500;

/// How many whole numbers a slice of a primary key has, as long as that gives no more than
/// `MOST_OF_KEY` slices.
const KEY_SLICE_WIDTH: u64 = 1_000_000;

/// A primary key has no more slices than these: where its values are far apart, slices are ten
/// times as wide, and so on.
const MAX_KEY_SLICES: u128 = 1000;

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowRange {
    /// Its name among the ranges of the table.
    pub name: String,
    /// The condition that its rows meet; `None` for all rows.
    pub condition: Option<String>,
}

/// The column that slices are made of, and how wide they are.
#[derive(Clone, Debug)]
pub(super) struct Slicer<'a> {
    pub dialect: Dialect,
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
        dialect: Dialect,
        column: &'a SqlColumn,
        by: SliceWidth,
    ) -> Result<Self, SqlError> {
        let fits = match by {
            SliceWidth::Day | SliceWidth::Month | SliceWidth::Year => is_calendar(&column.kind),
            SliceWidth::Numbers(_) => is_integer(&column.kind),
        };
        if fits {
            return Ok(Self {
                dialect,
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
    pub(super) fn for_key(dialect: Dialect, column: &'a SqlColumn, from: i128, to: i128) -> Self {
        let spread = to.abs_diff(from);
        let mut width = KEY_SLICE_WIDTH;
        while spread / u128::from(width) >= MAX_KEY_SLICES {
            width = width.saturating_mul(10);
        }
        Self {
            dialect,
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

    /// The column as it is compared and counted with.
    fn column_expression(&self) -> String {
        let name = self.dialect.quote_name(&self.column.name);
        match self.dialect {
            // A year is compared with 10 as if that were 2010.
            Dialect::MySql if self.column.declared.starts_with("year") => format!("({name} + 0)"),
            _ => name,
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
                let has_slice = (1..=self.last_year()).contains(&year) && !rest.ends_with("BC");
                has_slice.then(|| {
                    i128::from(calendar::slice_number(
                        by,
                        calendar::days_from_date(year, month, day),
                    ))
                })
            }
        }
    }

    /// Behind it there are no slices: the database has no later year, or compares it otherwise.
    fn last_year(&self) -> i64 {
        match self.dialect {
            // That of its time stamps; dates may have later ones, which its to_char does not take.
            Dialect::Postgres => 294_275,
            Dialect::Sqlite | Dialect::MySql => calendar::LAST_SHORT_YEAR,
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
        let column = self.column_expression();
        let mut conditions = vec![format!(
            "{column} >= {}",
            self.slice_start_sql(number).unwrap_or_default()
        )];
        match self.slice_start_sql(number + 1) {
            Some(bound) => conditions.push(format!("{column} < {bound}")),
            // The last slice of all.
            None if self.dialect == Dialect::Sqlite => conditions.push(format!("{column} < ':'")),
            None => {}
        }
        // In PostgreSQL, a value between two of a type is always one that it says it is.
        conditions.extend(
            self.regular_condition()
                .filter(|_| self.is_strict && self.dialect != Dialect::Postgres),
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
                // PostgreSQL makes an oid of it.
                let is_oid =
                    self.dialect == Dialect::Postgres && self.column.kind == ColumnType::UInt32;
                (!is_oid || bound <= i128::from(u32::MAX)).then(|| bound.to_string())
            }
            by => {
                let (year, month, day) =
                    calendar::first_day(by, i64::try_from(number).unwrap_or_default());
                // PostgreSQL has a year more than there are slices of.
                let has_year =
                    year <= self.last_year() + i64::from(self.dialect == Dialect::Postgres);
                has_year.then(|| {
                    self.dialect
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
        let name = self.dialect.quote_name(&self.column.name);
        match (self.width, self.dialect) {
            (SliceWidth::Numbers(_), Dialect::Sqlite) => {
                Some(format!("typeof({name}) = 'integer'"))
            }
            (SliceWidth::Numbers(_), _) => None,
            (_, Dialect::Sqlite) => Some(format!("{DAY_FUNCTION}({name}) IS NOT NULL")),
            (_, Dialect::Postgres) => {
                let end = self.last_year() + 1;
                Some(format!(
                    "({name} >= '0001-01-01' AND {name} < '{end}-01-01')"
                ))
            }
            // Nothing can be added to a date that there is not.
            (_, Dialect::MySql) => Some(format!("({name} + INTERVAL 0 DAY) IS NOT NULL")),
        }
    }

    /// What the slice of a row is called, or nothing, as SQL of a server.
    pub(super) fn expression(&self) -> String {
        // Oids have no division.
        let is_oid = self.dialect == Dialect::Postgres && self.column.kind == ColumnType::UInt32;
        let column = if is_oid {
            format!("({}::int8)", self.column_expression())
        } else {
            self.column_expression()
        };
        let SliceWidth::Numbers(width) = self.width else {
            let (year, month, day, call) = match self.dialect {
                Dialect::MySql => ("%Y", "%Y-%m", "%Y-%m-%d", "DATE_FORMAT"),
                _ => ("YYYY", "YYYY-MM", "YYYY-MM-DD", "to_char"),
            };
            let form = match self.width {
                SliceWidth::Year => year,
                SliceWidth::Month => month,
                _ => day,
            };
            return format!(
                "CASE WHEN {} THEN {call}({column}, '{form}') END",
                self.regular_condition().unwrap_or_default()
            );
        };
        // Division drops what is behind the point; for numbers below zero that is one too many.
        let divided = if self.dialect == Dialect::MySql {
            format!("{column} DIV {width}")
        } else {
            format!("{column} / {width}")
        };
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
            None => null_range(self.dialect, self.column),
        }
    }

    /// The rows that lie in none of the slices from one up to another.
    pub(super) fn outside(&self, first: i128, last: i128) -> RowRange {
        let column = self.column_expression();
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

/// The rows that lie in no slice: those without a value, and where values may have no end, those
/// with such a one.
pub(super) fn null_range(dialect: Dialect, column: &SqlColumn) -> RowRange {
    let name = dialect.quote_name(&column.name);
    let condition = match dialect == Dialect::Postgres && is_calendar(&column.kind) {
        true => format!("({name} IS NULL OR NOT isfinite({name}))"),
        false => format!("{name} IS NULL"),
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
