//! Slices that were asked for by name, on the command line: which units of a table they mean.

use super::SqlError;
use super::ranges::{REST, first};
use super::window::Window;
use crate::config::words::Step;
use crate::connection::{Relation, calendar};
use crate::home::{Chosen, SliceRange};

/// Values from one up to another, without that.
type Span = (i128, i128);

/// Units that lie in what was asked for, wholly or in part. Where no slices are said, units are
/// windows.
pub(super) fn chosen(
    relation: &Relation,
    by: Option<Step>,
    asked: &SliceRange,
) -> Result<Chosen, SqlError> {
    let is_rest = asked.from == REST && asked.to == REST;
    // `2026` is a year, and a number: which of them is meant, the name of a unit says.
    let (numbers, moments) = (span(asked, numbers), span(asked, moments));
    let is_known = match by {
        Some(Step::Numbers(_)) => numbers.is_some(),
        Some(_) => moments.is_some(),
        None => numbers.is_some() || moments.is_some(),
    };
    if !is_known && !is_rest {
        let called = match by {
            Some(Step::Numbers(_)) => {
                "slices are called by the numbers in them, as in 5000 or 5000..9000"
            }
            _ => {
                "slices are called 2026-09-01, 2026-09 or 2026, ranges of them 2026-01..2026-09; those without a value null"
            }
        };
        return Err(SqlError::NoSlice {
            asked: asked.to_string(),
            of: relation.to_string(),
            called,
        });
    }
    Ok(Box::new(move |unit| {
        if is_rest || unit == REST {
            return is_rest && unit == REST;
        }
        let is_number = unit
            .split("..")
            .all(|bound| bound.is_empty() || bound.parse::<i128>().is_ok())
            && !matches!(by, Some(Step::Year));
        let span = if is_number { numbers } else { moments };
        span.zip(extent(unit, by)).is_some_and(
            |(
                (from, to),
                Window {
                    from: first,
                    to: end,
                },
            )| {
                first.is_none_or(|first| first < to) && end.is_none_or(|end| end > from)
            },
        )
    }))
}

/// What a unit holds, by its name.
fn extent(unit: &str, by: Option<Step>) -> Option<Window> {
    if let Some(window) = Window::parse(unit) {
        return Some(window);
    }
    let by = by?;
    let (from, to) = match by {
        Step::Numbers(width) => {
            let from = unit.parse::<i128>().ok()?;
            (from, from + i128::from(width))
        }
        by => {
            let number = i128::from(calendar::parse_name(by, unit)?);
            (first(by, number), first(by, number + 1))
        }
    };
    Some(Window {
        from: Some(from),
        to: Some(to),
    })
}

fn span(asked: &SliceRange, read: fn(&str) -> Option<Span>) -> Option<Span> {
    let ((from, _), (_, to)) = (read(&asked.from)?, read(&asked.to)?);
    (from < to).then_some((from, to))
}

fn numbers(text: &str) -> Option<Span> {
    let number: i128 = text.replace('_', "").parse().ok()?;
    Some((number, number + 1))
}

/// A day, a month or a year.
fn moments(text: &str) -> Option<Span> {
    [Step::Day, Step::Month, Step::Year]
        .into_iter()
        .find_map(|by| {
            let number = i128::from(calendar::parse_name(by, text)?);
            Some((first(by, number), first(by, number + 1)))
        })
}
