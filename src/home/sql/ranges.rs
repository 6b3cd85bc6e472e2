//! Ranges: which rows one query reads. Slices are fixed multiples of a column, so that a new row moves none of them.

use super::SqlError;
use crate::config::words::Step;
use crate::connection::Dialect;
use crate::connection::calendar;
use crate::connection::types::{Column, Type};

/// More slices than these are most likely a mistake.
const MOST: u128 = 100_000;

/// How many whole numbers a slice of a primary key has, as long as that gives no more than `MOST_OF_KEY` slices.
const KEY_WIDTH: u64 = 1_000_000;

/// A primary key has no more slices than these: where its values are far apart, slices are ten times as wide, and so on.
const MOST_OF_KEY: u128 = 1000;

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Its name among the ranges of the table.
    pub name: String,
    /// The condition that its rows meet; `None` for all rows.
    pub condition: Option<String>,
}

/// The column that slices are made of, and how wide they are.
#[derive(Clone, Debug)]
pub(super) struct Slices<'a> {
    pub dialect: Dialect,
    pub column: &'a Column,
    pub by: Step,
}

/// The name of the slice of rows that have no value, or one without end.
pub(super) const REST: &str = "null";

impl<'a> Slices<'a> {
    /// Slices by what the config says.
    pub(super) fn new(dialect: Dialect, column: &'a Column, by: Step) -> Result<Self, SqlError> {
        let fits = match by {
            Step::Day | Step::Month | Step::Year => is_calendar(&column.kind),
            Step::Numbers(_) => is_whole(&column.kind),
        };
        if fits {
            return Ok(Self { dialect, column, by });
        }
        let (column, declared) = (column.name.clone(), column.declared.clone());
        Err(SqlError::NoSlices { column, declared, by: by.to_string() })
    }

    /// Slices of a primary key whose values lie between two.
    pub(super) fn of_key(dialect: Dialect, column: &'a Column, from: i128, to: i128) -> Self {
        let spread = to.abs_diff(from);
        let mut width = KEY_WIDTH;
        while spread / u128::from(width) >= MOST_OF_KEY {
            width = width.saturating_mul(10);
        }
        Self { dialect, column, by: Step::Numbers(width) }
    }

    fn quoted(&self) -> String {
        self.dialect.quoted(&self.column.name)
    }

    /// The number of the slice that a value lies in, as the database writes it.
    pub(super) fn number(&self, text: &str) -> Option<i128> {
        match self.by {
            Step::Numbers(width) => Some(text.parse::<i128>().ok()?.div_euclid(i128::from(width))),
            by => {
                let (year, month, day, rest) = calendar::parse_date(text)?;
                let is_before_christ = rest.ends_with("BC");
                (!is_before_christ).then(|| i128::from(calendar::step_of(by, calendar::days(year, month, day))))
            }
        }
    }

    /// How a slice is called.
    pub(super) fn name(&self, number: i128) -> String {
        match self.by {
            Step::Numbers(width) => (number * i128::from(width)).to_string(),
            by => calendar::name(by, i64::try_from(number).unwrap_or_default()),
        }
    }

    /// One slice.
    pub(super) fn range(&self, number: i128) -> Range {
        let column = self.quoted();
        let (from, to) = match self.by {
            Step::Numbers(width) => {
                let width = i128::from(width);
                ((number * width).to_string(), ((number + 1) * width).to_string())
            }
            by => {
                let first = |number: i128| {
                    let (year, month, day) = calendar::first_day(by, i64::try_from(number).unwrap_or_default());
                    self.dialect.text(&format!("{year:04}-{month:02}-{day:02}"))
                };
                (first(number), first(number + 1))
            }
        };
        Range { name: self.name(number), condition: Some(format!("{column} >= {from} AND {column} < {to}")) }
    }

    /// The value that a slice begins with.
    pub(super) fn first(&self, number: i128) -> i128 {
        first(self.by, number)
    }

    /// What the slice of a row is called, or nothing, as SQL.
    pub(super) fn expression(&self) -> String {
        let column = self.quoted();
        match (self.by, self.dialect) {
            (Step::Numbers(width), dialect) => {
                // Division drops what is behind the point; for numbers below zero that is one too many.
                let divided = if dialect == Dialect::MySql { format!("{column} DIV {width}") } else { format!("{column} / {width}") };
                let below = format!("CASE WHEN {column} < 0 AND {column} % {width} <> 0 THEN 1 ELSE 0 END");
                // Of unsigned numbers, nothing can be taken away.
                if is_unsigned(&self.column.kind) { divided } else { format!("({divided} - {below})") }
            }
            (by, Dialect::Postgres) => {
                let form = match by {
                    Step::Year => "YYYY",
                    Step::Month => "YYYY-MM",
                    _ => "YYYY-MM-DD",
                };
                format!("CASE WHEN isfinite({column}) THEN to_char({column}, '{form}') END")
            }
            (by, Dialect::MySql) => {
                let form = match by {
                    Step::Year => "%Y",
                    Step::Month => "%Y-%m",
                    _ => "%Y-%m-%d",
                };
                format!("DATE_FORMAT({column}, '{form}')")
            }
            (by, Dialect::Sqlite) => {
                let length = match by {
                    Step::Year => 4,
                    Step::Month => 7,
                    _ => 10,
                };
                format!("substr({column}, 1, {length})")
            }
        }
    }

    /// The slice that a row's answer to [`Slices::expression`] means.
    pub(super) fn answered(&self, text: &str) -> Option<i128> {
        match self.by {
            Step::Numbers(_) => text.parse().ok(),
            by => calendar::parse_name(by, text).map(i128::from),
        }
    }

    /// All slices between two values, as the database writes them.
    pub(super) fn between(&self, from: &str, to: &str) -> Result<Vec<i128>, SqlError> {
        let value = |text: &str| {
            self.number(text).ok_or_else(|| SqlError::Value {
                column: self.column.name.clone(),
                row: 0,
                of: "the table".into(),
                reason: format!("{text} lies in no slice by {}", self.by),
                hint: "leave such values out by where, or slice by another column",
            })
        };
        let (first, last) = (value(from)?, value(to)?);
        let slices = last.abs_diff(first) + 1;
        if slices > MOST {
            let (column, by) = (self.column.name.clone(), self.by.to_string());
            return Err(SqlError::ManySlices { column, from: from.into(), to: to.into(), slices, by });
        }
        Ok((first..=last).collect())
    }
}

/// The value that a slice begins with: a whole number, or microseconds since 1970.
pub(super) fn first(by: Step, number: i128) -> i128 {
    match by {
        Step::Numbers(width) => number * i128::from(width),
        by => {
            let (year, month, day) = calendar::first_day(by, i64::try_from(number).unwrap_or_default());
            i128::from(calendar::days(year, month, day) * calendar::DAY_MICROS)
        }
    }
}

/// The rows that lie in no slice: those without a value, and where values may have no end, those with such a one.
pub(super) fn rest(dialect: Dialect, column: &Column) -> Range {
    let name = dialect.quoted(&column.name);
    let condition = match dialect == Dialect::Postgres && is_calendar(&column.kind) {
        true => format!("({name} IS NULL OR NOT isfinite({name}))"),
        false => format!("{name} IS NULL"),
    };
    Range { name: REST.into(), condition: Some(condition) }
}

/// Dates and time stamps.
pub(super) fn is_calendar(kind: &Type) -> bool {
    matches!(kind, Type::Date | Type::Timestamp | Type::TimestampUtc)
}

fn is_unsigned(kind: &Type) -> bool {
    matches!(kind, Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64)
}

/// Whole numbers.
pub(super) fn is_whole(kind: &Type) -> bool {
    is_unsigned(kind) || matches!(kind, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64)
}
