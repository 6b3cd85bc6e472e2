//! Windows: what came to a table since it was last read, by a column that grows.
//!
//! A window goes from one bound up to another, which it does not have itself, and is called after
//! them. What lies below the largest value by more than `lag` is closed: it is read once, as a
//! window with two ends. What lies behind it may still get company: it is a window without an end,
//! which each build reads anew in its place.

use std::collections::BTreeSet;

use super::description::{PartitionSet, RowRange, TableDescription};
use super::engine::ProbeResult;
use super::probe::unique_digest;
use super::slices::{self, Slicer};
use super::window::{
    INSTANT_FUNCTION, UTC_SUFFIX, WatermarkScale, Window, format_bound_micros, parse_bound,
};
use super::{OnNull, Probe, SqlError, SqlHome, engine_of};
use crate::config::value_types::Lag;
use crate::connection::Session;
use crate::connection::calendar::MICROS_PER_DAY;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::{PROBE_INPUT, PreviousRead};

/// A watermark as the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub column: String,
    /// What rows of one value are sorted by; that of the table where nothing is said.
    pub primary_key: Vec<String>,
    pub lag: Lag,
    pub start: Option<String>,
    pub nulls: OnNull,
}

impl SqlHome {
    /// What is to be read of a table with a watermark, and what tells whether that has changed.
    pub(super) async fn window_partitions(
        &self,
        session: &mut Session,
        described: &TableDescription,
        watermark: &Watermark,
        before: &PreviousRead,
        told: Option<Fingerprint>,
    ) -> Result<PartitionSet> {
        let column = self.find_column(described, &watermark.column)?;
        let scale = WatermarkScale::new(engine_of(session), column)?;
        watermark
            .primary_key
            .iter()
            .try_for_each(|name| self.find_column(described, name).map(drop))?;
        let start = watermark
            .start
            .as_deref()
            .map(|start| scale.start(start))
            .transpose()?;
        let mut settled = parse_windows(&before.closed);
        settled.sort_by_key(|window| (window.from, window.to));
        let reached = settled
            .iter()
            .filter_map(|window| window.to)
            .chain(start)
            .max();
        self.check_texts(session, described, scale).await?;
        self.check_window_edges(session, scale, &before.closed)
            .await?;
        let lag = scale.lag(watermark.lag)?;
        let is_unique = lag == 0 && described.primary_key == [column.name.clone()];
        let newest = self.newest_value(session, scale, reached).await?;
        let settles = newest.map(|newest| settled_bound(scale, newest, lag, is_unique));
        let settles = settles.into_iter().chain(reached).max();

        let mut found = PartitionSet::default();
        let probed = self.probed_columns(&column.name);
        let cuts = bounds(&parse_windows(&before.reread));
        for gap in unread_gaps(start, &settled, settles)
            .into_iter()
            .flat_map(|gap| gap.split_at_bounds(&cuts))
        {
            for (range, digest, rows) in self
                .gap_partitions(session, described, scale, gap, &probed)
                .await?
            {
                found.push(range, digest, rows);
            }
        }
        let open = scale.range(Window {
            from: settles,
            to: None,
        });
        let open_name = open.name.clone();
        let mut open_digest = None;
        if before.is_append_only {
            let waits = (!is_unique).then(|| wait_remark(watermark, lag));
            found.remarks.extend(waits);
        } else if let Some(ProbeResult { digest, rows }) = self
            .probe_rows(session, described, &probed, open.condition.as_deref())
            .await?
        {
            open_digest = Some(digest);
            found.push(open, digest, Some(rows));
        }
        let without = self
            .count_without_watermark(session, scale, watermark, before)
            .await?;
        if without > 0 && watermark.nulls == OnNull::IncludeEachTime {
            let range = slices::null_range(scale.engine, column);
            found.push(range, unique_digest(), Some(without));
        }
        let digest = told.map_or_else(
            || windows_digest(watermark, before, (&open_name, open_digest), without),
            |told| watermark_writer(watermark, before).digest(&told).finish(),
        );
        found.inputs.insert(PROBE_INPUT.to_string(), digest);
        Ok(found)
    }

    /// The columns whose hashes tell whether the rows of a window have changed.
    fn probed_columns(&self, column: &str) -> Vec<String> {
        let mut probed = if let Probe::Columns(columns) = &self.probe {
            columns.clone()
        } else {
            Vec::new()
        };
        if !probed.iter().any(|probed| probed == column) {
            probed.push(column.to_string());
        }
        probed
    }

    /// The largest value that is not below a bound.
    async fn newest_value(
        &self,
        session: &mut Session,
        scale: WatermarkScale<'_>,
        reached: Option<i128>,
    ) -> Result<Option<i128>> {
        let range = scale.range(Window {
            from: reached,
            to: None,
        });
        let newest = if scale.compares_instants {
            let column = scale.engine.dialect().quote_name(&scale.column.name);
            let asked = format!(
                "SELECT max({INSTANT_FUNCTION}({column})) FROM {}{}",
                self.relation.source_sql(scale.engine.dialect()),
                self.where_clause(range.condition.as_deref())
            );
            session
                .query_text("look for its newest row", &asked)
                .await?
                .into_iter()
                .flatten()
                .flatten()
                .next()
        } else {
            self.min_max(session, scale.column, range.condition.as_deref())
                .await?
                .map(|(_, newest)| newest)
        };
        let Some(newest) = newest else {
            return Ok(None);
        };
        let has_year = |value: &i128| !scale.is_calendar() || format_bound_micros(*value).is_some();
        // A number among dates is none.
        let has_form =
            scale.compares_instants || newest.parse::<i128>().is_err() == scale.is_calendar();
        let value = parse_bound(&newest)
            .filter(|value| has_form && has_year(value))
            .ok_or_else(|| SqlError::InvalidValue {
                column: scale.column.name.clone(),
                row: 0,
                location: self.relation.to_string(),
                reason: format!("its largest value {newest} cannot be a watermark"),
                hint: "leave such values out by where, or choose another column",
            })?;
        Ok(Some(value))
    }

    /// In SQLite, numbers and some texts lie below all dates, where nobody would ever look for them
    /// again.
    async fn check_texts(
        &self,
        session: &mut Session,
        described: &TableDescription,
        scale: WatermarkScale<'_>,
    ) -> Result<()> {
        if !scale.engine.has_text_dates() || !scale.is_calendar() {
            return Ok(());
        }
        let name = scale.engine.dialect().quote_name(&scale.column.name);
        // What stands before digits; as a word, so that no column of numbers makes a number of it.
        let below = format!("{name} < '/~'");
        let rowid = described.rowid.as_deref().unwrap_or("NULL");
        let asked = format!(
            "SELECT quote({name}), {rowid} FROM {}{} LIMIT 1",
            self.relation.source_sql(scale.engine.dialect()),
            self.where_clause(Some(&below))
        );
        let Some(row) = session
            .query_text("look for rows that lie in no window", &asked)
            .await?
            .into_iter()
            .next()
        else {
            return Ok(());
        };
        let mut row = row.into_iter();
        let value = row.next().flatten().unwrap_or_default();
        let place = row
            .next()
            .flatten()
            .map_or_else(String::new, |rowid| format!(", rowid {rowid}"));
        Err(SqlError::InvalidValue {
            column: scale.column.name.clone(),
            row: 0,
            location: format!("{}{place}", self.relation),
            reason: format!("the value {value} is no date, and lies in no window"),
            hint: "leave such values out by where, or choose another column",
        }
        .into())
    }

    /// Windows that were closed by the days of local clocks have the same rows by their instants,
    /// where they end.
    async fn check_window_edges(
        &self,
        session: &mut Session,
        scale: WatermarkScale<'_>,
        settled: &BTreeSet<String>,
    ) -> Result<()> {
        if !scale.compares_instants {
            return Ok(());
        }
        let windows: Vec<(Window, bool)> = settled
            .iter()
            .filter_map(|name| Some((Window::parse(name)?, name.contains(UTC_SUFFIX))))
            .collect();
        let has_neighbour = |bound: &i128, end: fn(&Window) -> Option<i128>| {
            windows
                .iter()
                .any(|(window, _)| end(window) == Some(*bound))
        };
        let old = || {
            windows
                .iter()
                .filter(|(_, is_by_instant)| !is_by_instant)
                .map(|(window, _)| window)
        };
        let ends = old()
            .filter_map(|window| window.to)
            .filter(|to| !has_neighbour(to, |window| window.from));
        let begins = old()
            .filter_map(|window| window.from)
            .filter(|from| !has_neighbour(from, |window| window.to));
        for edge in ends.chain(begins) {
            let name = scale.engine.dialect().quote_name(&scale.column.name);
            let day = i128::from(MICROS_PER_DAY);
            let near = scale
                .range(Window {
                    from: Some(edge - day),
                    to: Some(edge + day),
                })
                .condition
                .unwrap_or_default();
            let other = format!(
                "{near} AND ({name} < {}) <> ({INSTANT_FUNCTION}({name}) < {edge})",
                scale.literal(edge)
            );
            let asked = format!(
                "SELECT {name} FROM {}{} LIMIT 1",
                self.relation.source_sql(scale.engine.dialect()),
                self.where_clause(Some(&other))
            );
            if let Some(value) = session
                .query_text("look where its windows end", &asked)
                .await?
                .into_iter()
                .flatten()
                .flatten()
                .next()
            {
                let (column, of) = (scale.column.name.clone(), self.relation.to_string());
                return Err(SqlError::MovedAcrossWindow {
                    column,
                    table: of,
                    value,
                    edge: scale.literal(edge),
                }
                .into());
            }
        }
        Ok(())
    }

    /// The windows that a gap is read in; those without a row are taken by the next.
    async fn gap_partitions(
        &self,
        session: &mut Session,
        described: &TableDescription,
        scale: WatermarkScale<'_>,
        gap: Window,
        probed: &[String],
    ) -> Result<Vec<(RowRange, Fingerprint, Option<u64>)>> {
        let range = scale.range(gap);
        let whole = |range: RowRange, ProbeResult { digest, rows }| (range, digest, Some(rows));
        let Some(slices) = self.gap_slicer(session, scale, gap).await? else {
            let probed = self
                .probe_rows(session, described, probed, range.condition.as_deref())
                .await?;
            return Ok(probed
                .map(|probed| whole(range, probed))
                .into_iter()
                .collect());
        };
        let found = self
            .probe_slices(
                session,
                &slices,
                described,
                probed,
                range.condition.as_deref(),
            )
            .await?;
        if found.slices.is_empty() {
            return Ok(found
                .rest
                .map(|probed| whole(range, probed))
                .into_iter()
                .collect());
        }
        let mut pieces = Vec::with_capacity(found.slices.len());
        let (mut from, last) = (gap.from, found.slices.len() - 1);
        for (place, (number, probed)) in found.slices.into_iter().enumerate() {
            let to = if place == last {
                gap.to
            } else {
                Some(slices.slice_start(number + 1))
            };
            let range = scale.range(Window { from, to });
            pieces.push(match &found.rest {
                None => whole(range, probed),
                // Rows that lie in no slice lie in windows all the same, but nobody knows in which.
                Some(rest) => {
                    let mut writer = KeyWriter::new(KeyKind::Probe);
                    (
                        range,
                        writer.digest(&probed.digest).digest(&rest.digest).finish(),
                        None,
                    )
                }
            });
            from = to;
        }
        Ok(pieces)
    }

    /// How a gap is cut: as the config says, or else by whole numbers.
    async fn gap_slicer<'c>(
        &self,
        session: &mut Session,
        scale: WatermarkScale<'c>,
        gap: Window,
    ) -> Result<Option<Slicer<'c>>> {
        if let Some(slice) = &self.slice {
            let slices = Slicer::new(scale.engine, scale.column, slice.width)?;
            return Ok(Some(Slicer {
                uses_instants: scale.compares_instants,
                ..slices
            }));
        }
        if scale.is_calendar() {
            return Ok(None);
        }
        let bounds = self
            .min_max(session, scale.column, scale.range(gap).condition.as_deref())
            .await?;
        let bounds = bounds.and_then(|(from, to)| parse_bound(&from).zip(parse_bound(&to)));
        Ok(bounds.map(|(from, to)| Slicer::for_key(scale.engine, scale.column, from, to)))
    }

    /// How many rows have no value in the column, or one without end.
    async fn count_without_watermark(
        &self,
        session: &mut Session,
        scale: WatermarkScale<'_>,
        watermark: &Watermark,
        before: &PreviousRead,
    ) -> Result<u64> {
        let may_lack =
            scale.column.nullable || scale.engine.finite_condition(scale.column).is_some();
        if watermark.nulls == OnNull::Skip || !may_lack {
            return Ok(0);
        }
        let from = self.relation.source_sql(scale.engine.dialect());
        let rest = slices::null_range(scale.engine, scale.column);
        let asked = format!(
            "SELECT count(*) FROM {from}{}",
            self.where_clause(rest.condition.as_deref())
        );
        let counted = session
            .query_text("look for rows without a watermark", &asked)
            .await?;
        let rows = counted
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        if rows > 0 && (watermark.nulls == OnNull::Fail || before.is_append_only) {
            let (column, of) = (watermark.column.clone(), self.relation.to_string());
            return Err(SqlError::NullWatermark {
                column,
                rows,
                table: of,
                is_append_only: before.is_append_only && watermark.nulls != OnNull::Fail,
            }
            .into());
        }
        Ok(rows)
    }
}

fn parse_windows(names: &BTreeSet<String>) -> Vec<Window> {
    names
        .iter()
        .filter_map(|name| Window::parse(name))
        .collect()
}

fn bounds(windows: &[Window]) -> BTreeSet<i128> {
    windows
        .iter()
        .flat_map(|window| [window.from, window.to])
        .flatten()
        .collect()
}

/// Where everything is closed below, once there is a row of this value.
fn settled_bound(scale: WatermarkScale<'_>, newest: i128, lag: i128, is_unique: bool) -> i128 {
    let behind = if is_unique {
        scale.bound_after(newest)
    } else {
        None
    };
    behind.unwrap_or_else(|| scale.floor(newest - lag))
}

/// Says which rows an append-only store does not get yet.
fn wait_remark(Watermark { column, lag, .. }: &Watermark, distance: i128) -> String {
    let behind = if distance > 0 {
        format!(" by more than {}", lag.to_config_text())
    } else {
        String::new()
    };
    format!(
        "rows wait until their {column} is below the largest{behind}: \
         what is added to a table is not taken back (mode: merge has them at once)"
    )
}

/// What tells whether windows have changed, where no query of the config does.
fn windows_digest(
    watermark: &Watermark,
    before: &PreviousRead,
    (open_name, open_digest): (&str, Option<Fingerprint>),
    without: u64,
) -> Fingerprint {
    // What it answers is the same for windows of before, which had no mark.
    watermark_writer(watermark, before)
        .text(&open_name.replace(UTC_SUFFIX, ""))
        .text(&open_digest.map_or_else(String::new, |digest| digest.to_string()))
        .number(without)
        .finish()
}

/// What the config says, at the head of what tells whether windows have changed.
fn watermark_writer(watermark: &Watermark, before: &PreviousRead) -> KeyWriter {
    let mut writer = KeyWriter::new(KeyKind::Probe);
    writer
        .text(watermark.start.as_deref().unwrap_or_default())
        .number(u64::from(before.is_append_only));
    writer
}

/// What no closed window has between a start and the bound below which all is closed.
fn unread_gaps(start: Option<i128>, settled: &[Window], settles: Option<i128>) -> Vec<Window> {
    let mut gaps = Vec::new();
    // Nothing stands for what lies before all values.
    let mut at = start;
    for window in settled {
        let is_before = |from: i128| at.is_none_or(|at| at < from);
        if let Some(from) = window.from.filter(|from| is_before(*from)) {
            gaps.push(Window {
                from: at,
                to: Some(from),
            });
        }
        at = at.max(window.to);
    }
    if settles.is_some() && at < settles {
        gaps.push(Window {
            from: at,
            to: settles,
        });
    }
    gaps
}
