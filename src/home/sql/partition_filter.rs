//! Slices that were asked for by name, on the command line: which partitions of a table they mean.

use super::SqlError;
use super::slices::{NULL_SLICE, slice_start};
use super::window::Window;
use crate::config::value_types::SliceWidth;
use crate::connection::{Relation, calendar};
use crate::home::{PartitionFilter, SliceRange};

/// Values from one up to another, without that.
type ValueSpan = (i128, i128);

/// Partitions that lie in what was asked for, wholly or in part. Where no slices are said,
/// partitions are windows.
pub(super) fn partition_filter(
    relation: &Relation,
    by: Option<SliceWidth>,
    asked: &SliceRange,
) -> Result<PartitionFilter, SqlError> {
    let is_rest = asked.from == NULL_SLICE && asked.to == NULL_SLICE;
    // `2026` is a year, and a number: which of them is meant, the name of a partition says.
    let (numbers, moments) = (
        requested_span(asked, parse_number),
        requested_span(asked, parse_period),
    );
    let is_known = match by {
        Some(SliceWidth::Numbers(_)) => numbers.is_some(),
        Some(_) => moments.is_some(),
        None => numbers.is_some() || moments.is_some(),
    };
    if !is_known && !is_rest {
        let called = match by {
            Some(SliceWidth::Numbers(_)) => {
                "slices are called by the numbers in them, as in 5000 or 5000..9000"
            }
            _ => {
                "slices are called 2026-09-01, 2026-09 or 2026, ranges of them 2026-01..2026-09; \
                 those without a value null"
            }
        };
        return Err(SqlError::UnknownSlice {
            requested: asked.to_string(),
            table: relation.to_string(),
            naming_hint: called,
        });
    }
    Ok(Box::new(move |partition| {
        if is_rest || partition == NULL_SLICE {
            return is_rest && partition == NULL_SLICE;
        }
        let is_number = partition
            .split("..")
            .all(|bound| bound.is_empty() || bound.parse::<i128>().is_ok())
            && !matches!(by, Some(SliceWidth::Year));
        let span = if is_number { numbers } else { moments };
        span.zip(partition_window(partition, by)).is_some_and(
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

/// What a partition holds, by its name.
fn partition_window(partition: &str, by: Option<SliceWidth>) -> Option<Window> {
    if let Some(window) = Window::parse(partition) {
        return Some(window);
    }
    let by = by?;
    let (from, to) = match by {
        SliceWidth::Numbers(width) => {
            let from = partition.parse::<i128>().ok()?;
            (from, from + i128::from(width))
        }
        by => {
            let number = i128::from(calendar::parse_slice_name(by, partition)?);
            (slice_start(by, number), slice_start(by, number + 1))
        }
    };
    Some(Window {
        from: Some(from),
        to: Some(to),
    })
}

fn requested_span(asked: &SliceRange, read: fn(&str) -> Option<ValueSpan>) -> Option<ValueSpan> {
    let ((from, _), (_, to)) = (read(&asked.from)?, read(&asked.to)?);
    (from < to).then_some((from, to))
}

fn parse_number(text: &str) -> Option<ValueSpan> {
    let number: i128 = text.replace('_', "").parse().ok()?;
    Some((number, number + 1))
}

/// A day, a month or a year.
fn parse_period(text: &str) -> Option<ValueSpan> {
    [SliceWidth::Day, SliceWidth::Month, SliceWidth::Year]
        .into_iter()
        .find_map(|by| {
            let number = i128::from(calendar::parse_slice_name(by, text)?);
            Some((slice_start(by, number), slice_start(by, number + 1)))
        })
}
