//! Windows: what came to a table since it was last read, by a column that grows.
//!
//! A window goes from one bound up to another, which it does not have itself, and is called after them. What lies below
//! the largest value by more than `lag` is settled: it is read once, as a window with two ends. What lies behind it
//! may still get company: it is a window without an end, which each build reads anew in its place.

use std::collections::BTreeSet;

use super::answer::{Described, Found};
use super::probe::unknown;
use super::ranges::{self, Range, Slices, is_calendar, is_whole};
use super::{Nulls, Probe, SqlError, SqlHome};
use crate::config::words::Lag;
use crate::connection::calendar::{self, DAY_MICROS};
use crate::connection::types::{Column, Type};
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::{Before, PROBE};

/// Between the bounds in a window's name.
const TO: &str = "..";

/// A watermark as the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub column: String,
    /// What rows of one value are sorted by; that of the table where nothing is said.
    pub primary_key: Vec<String>,
    pub lag: Lag,
    pub start: Option<String>,
    pub nulls: Nulls,
}

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
        let bound = |text: &str| if text.is_empty() { Some(None) } else { value(text).map(Some) };
        Some(Self { from: bound(from)?, to: bound(to)? })
    }

    /// Windows that end at these bounds, as far as they lie within.
    fn cut(self, bounds: &BTreeSet<i128>) -> Vec<Self> {
        let is_within = |bound: &&i128| self.from.is_none_or(|from| from < **bound) && self.to.is_none_or(|to| **bound < to);
        let mut cut = Vec::new();
        let mut from = self.from;
        for to in bounds.iter().filter(is_within).copied().map(Some).chain([self.to]) {
            cut.push(Self { from, to });
            from = to;
        }
        cut
    }
}

/// A whole number, or the microseconds since 1970 of a date or time stamp, of which the zone is UTC.
pub(super) fn value(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let moment = calendar::parse_moment(text)?;
    Some(i128::from(moment.days * DAY_MICROS + moment.micros - moment.offset.unwrap_or(0)))
}

/// How the values of a column are counted, and where windows may end.
#[derive(Clone, Copy, Debug)]
struct Scale<'a> {
    dialect: Dialect,
    column: &'a Column,
    /// Bounds are multiples of it: SQLite compares time stamps as texts, whose form only the day has for sure.
    grain: i128,
}

impl<'a> Scale<'a> {
    fn new(dialect: Dialect, column: &'a Column) -> Result<Self, SqlError> {
        let is_daily = column.kind == Type::Date || dialect == Dialect::Sqlite && is_calendar(&column.kind);
        if !is_whole(&column.kind) && !is_calendar(&column.kind) {
            return Err(SqlError::NoWatermark { column: column.name.clone(), declared: column.declared.clone() });
        }
        Ok(Self { dialect, column, grain: if is_daily { i128::from(DAY_MICROS) } else { 1 } })
    }

    fn is_calendar(&self) -> bool {
        is_calendar(&self.column.kind)
    }

    fn floor(&self, value: i128) -> i128 {
        value.div_euclid(self.grain) * self.grain
    }

    /// How far behind the largest value rows may still come.
    fn lag(&self, lag: Lag) -> Result<i128, SqlError> {
        if self.is_calendar() {
            return Ok(i128::from(lag.value) * 1_000_000);
        }
        if !lag.is_plain && lag.value > 0 {
            let (column, declared) = (self.column.name.clone(), self.column.declared.clone());
            return Err(SqlError::NoBound { what: "lag", value: format!("{}s", lag.value), column, declared });
        }
        Ok(i128::from(lag.value))
    }

    fn start(&self, start: &str) -> Result<i128, SqlError> {
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
            Some(moment) if self.grain == 1 => moment.trim_end_matches('0').trim_end_matches('.').replace(' ', "T"),
            Some(moment) => moment.split(' ').next().unwrap_or_default().to_string(),
            None => bound.to_string(),
        }
    }

    /// A bound as the database compares it.
    fn literal(&self, bound: i128) -> String {
        match self.moment(bound) {
            Some(moment) if self.grain == 1 => self.dialect.text(&moment),
            Some(_) => self.dialect.text(&self.name(bound)),
            None => bound.to_string(),
        }
    }

    fn moment(&self, bound: i128) -> Option<String> {
        // Bounds come from values that have a year from 1 to 9999; what is taken from them may lie below.
        let shown = |bound: i128| calendar::shown_moment(i64::try_from(bound).unwrap_or(i64::MIN)).ok();
        self.is_calendar().then(|| shown(bound).unwrap_or_else(|| "0001-01-01 00:00:00.000000".into()))
    }

    fn range(&self, Window { from, to }: Window) -> Range {
        let column = self.dialect.quoted(&self.column.name);
        let mut conditions = Vec::new();
        conditions.extend(from.map(|from| format!("{column} >= {}", self.literal(from))));
        conditions.extend(to.map(|to| format!("{column} < {}", self.literal(to))));
        match (self.dialect, self.is_calendar()) {
            // Those without an end are with those without a value.
            (Dialect::Postgres, true) => conditions.push(format!("isfinite({column})")),
            _ if conditions.is_empty() => conditions.push(format!("{column} IS NOT NULL")),
            _ => {}
        }
        let name = |bound: Option<i128>| bound.map_or_else(String::new, |bound| self.name(bound));
        Range { name: format!("{}{TO}{}", name(from), name(to)), condition: Some(conditions.join(" AND ")) }
    }

    /// Where everything is settled below a value that no other row will have.
    fn behind(&self, value: i128) -> Option<i128> {
        let is_whole_day = self.column.kind == Type::Date;
        (self.grain == 1 || is_whole_day).then_some(value + self.grain)
    }
}

impl SqlHome {
    /// What is to be read of a table with a watermark, and what tells whether that has changed.
    pub(super) async fn windows(
        &self,
        session: &mut Session,
        described: &Described,
        watermark: &Watermark,
        before: &Before,
        told: Option<Fingerprint>,
    ) -> Result<Found> {
        let column = self.column(described, &watermark.column)?;
        let scale = Scale::new(session.database().dialect, column)?;
        let start = watermark.start.as_deref().map(|start| scale.start(start)).transpose()?;
        let windows = |names: &BTreeSet<String>| names.iter().filter_map(|name| Window::parse(name)).collect::<Vec<_>>();
        let mut settled = windows(&before.settled);
        settled.sort_by_key(|window| (window.from, window.to));
        let again: BTreeSet<i128> = windows(&before.again).iter().flat_map(|window| [window.from, window.to]).flatten().collect();
        let reached = settled.iter().filter_map(|window| window.to).chain(start).max();
        let lag = scale.lag(watermark.lag)?;
        let is_unique = lag == 0 && described.key == [column.name.clone()];
        let newest = self.newest(session, scale, reached).await?;
        let settles = newest.map(|newest| {
            let behind = if is_unique { scale.behind(newest) } else { None };
            behind.unwrap_or_else(|| scale.floor(newest - lag))
        });
        let settles = settles.into_iter().chain(reached).max();

        let mut found = Found::default();
        let probed = self.probed(&column.name);
        for gap in gaps(start, &settled, settles).into_iter().flat_map(|gap| gap.cut(&again)) {
            for (range, digest) in self.pieces(session, described, scale, gap, &probed).await? {
                found.push(range, digest);
            }
        }
        let open = scale.range(Window { from: settles, to: None });
        let (open_name, mut open_digest) = (open.name.clone(), None);
        if before.is_final {
            found.remarks.extend((!is_unique).then(|| {
                let behind = if lag > 0 { format!(" by more than {}", watermark.lag.shown()) } else { String::new() };
                let of = &column.name;
                format!("rows wait until their {of} is below the largest{behind}: what is added to a table is not taken back (mode: merge has them at once)")
            }));
        } else if let Some(digest) = self.probe_rows(session, described, &probed, open.condition.as_deref()).await? {
            open_digest = Some(digest);
            found.push(open, digest);
        }
        let without = self.without_value(session, scale, watermark, before).await?;
        if without > 0 && watermark.nulls == Nulls::IncludeEachTime {
            found.push(ranges::rest(scale.dialect, column), unknown());
        }

        let mut writer = KeyWriter::new(KeyKind::Probe);
        writer.text(watermark.start.as_deref().unwrap_or_default()).number(u64::from(before.is_final));
        match told {
            Some(told) => writer.digest(&told),
            None => writer.text(&open_name).text(&open_digest.map_or_else(String::new, |digest| digest.to_string())).number(without),
        };
        found.inputs.insert(PROBE.to_string(), writer.finish());
        Ok(found)
    }

    /// The columns whose hashes tell whether the rows of a window have changed.
    fn probed(&self, column: &str) -> Vec<String> {
        let mut probed = if let Probe::Columns(columns) = &self.probe { columns.clone() } else { Vec::new() };
        if !probed.iter().any(|probed| probed == column) {
            probed.push(column.to_string());
        }
        probed
    }

    /// The largest value that is not below a bound.
    async fn newest(&self, session: &mut Session, scale: Scale<'_>, reached: Option<i128>) -> Result<Option<i128>> {
        let range = scale.range(Window { from: reached, to: None });
        let Some((_, newest)) = self.bounds(session, scale.column, range.condition.as_deref()).await? else { return Ok(None) };
        let has_year =
            |value: &i128| !scale.is_calendar() || i64::try_from(*value).is_ok_and(|value| calendar::shown_moment(value).is_ok());
        let value = value(&newest).filter(has_year).ok_or_else(|| SqlError::Value {
            column: scale.column.name.clone(),
            row: 0,
            of: self.relation.to_string(),
            reason: format!("its largest value {newest} cannot be a watermark"),
            hint: "leave such values out by where, or choose another column",
        })?;
        Ok(Some(value))
    }

    /// The windows that a gap is read in; those without a row are taken by the next.
    async fn pieces(
        &self,
        session: &mut Session,
        described: &Described,
        scale: Scale<'_>,
        gap: Window,
        probed: &[String],
    ) -> Result<Vec<(Range, Fingerprint)>> {
        let range = scale.range(gap);
        let Some(slices) = self.steps(session, scale, gap).await? else {
            let digest = self.probe_rows(session, described, probed, range.condition.as_deref()).await?;
            return Ok(digest.map(|digest| (range, digest)).into_iter().collect());
        };
        let (numbers, _) = self.probe_slices(session, &slices, described, probed, range.condition.as_deref()).await?;
        let mut pieces = Vec::with_capacity(numbers.len());
        let (mut from, last) = (gap.from, numbers.len().saturating_sub(1));
        for (place, (number, digest)) in numbers.into_iter().enumerate() {
            let to = if place == last { gap.to } else { Some(slices.first(number + 1)) };
            pieces.push((scale.range(Window { from, to }), digest));
            from = to;
        }
        Ok(pieces)
    }

    /// How a gap is cut: as the config says, or else by whole numbers.
    async fn steps<'c>(&self, session: &mut Session, scale: Scale<'c>, gap: Window) -> Result<Option<Slices<'c>>> {
        if let Some(slice) = &self.slice {
            return Ok(Some(Slices::new(scale.dialect, scale.column, slice.by)?));
        }
        if scale.is_calendar() {
            return Ok(None);
        }
        let bounds = self.bounds(session, scale.column, scale.range(gap).condition.as_deref()).await?;
        let bounds = bounds.and_then(|(from, to)| value(&from).zip(value(&to)));
        Ok(bounds.map(|(from, to)| Slices::of_key(scale.dialect, scale.column, from, to)))
    }

    /// How many rows have no value in the column, or one without end.
    async fn without_value(&self, session: &mut Session, scale: Scale<'_>, watermark: &Watermark, before: &Before) -> Result<u64> {
        let may_lack = scale.column.nullable || scale.dialect == Dialect::Postgres && scale.is_calendar();
        if watermark.nulls == Nulls::Skip || !may_lack {
            return Ok(0);
        }
        let from = self.relation.from(scale.dialect);
        let rest = ranges::rest(scale.dialect, scale.column);
        let asked = format!("SELECT count(*) FROM {from}{}", self.filter(rest.condition.as_deref()));
        let counted = session.ask("look for rows without a watermark", &asked).await?;
        let rows = counted.into_iter().flatten().flatten().next().and_then(|count| count.parse().ok()).unwrap_or(0);
        if rows > 0 && (watermark.nulls == Nulls::Fail || before.is_final) {
            let (column, of) = (watermark.column.clone(), self.relation.to_string());
            return Err(SqlError::NoValue { column, rows, of, is_added: before.is_final && watermark.nulls != Nulls::Fail }.into());
        }
        Ok(rows)
    }
}

/// What no settled window has between a start and the bound below which all is settled.
fn gaps(start: Option<i128>, settled: &[Window], settles: Option<i128>) -> Vec<Window> {
    let mut gaps = Vec::new();
    // Nothing stands for what lies before all values.
    let mut at = start;
    for window in settled {
        let is_before = |from: i128| at.is_none_or(|at| at < from);
        if let Some(from) = window.from.filter(|from| is_before(*from)) {
            gaps.push(Window { from: at, to: Some(from) });
        }
        at = at.max(window.to);
    }
    if settles.is_some() && at < settles {
        gaps.push(Window { from: at, to: settles });
    }
    gaps
}
