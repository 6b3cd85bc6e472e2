//! Where the rows of SQLite lie: in which slice, by the value that is stored, whatever is declared.
//!
//! What is told here of a value, ranges ask of it in SQL: by functions that look at it in the same
//! way.

use std::collections::BTreeMap;

use sqlx::sqlite::LockedSqliteHandle;

use super::{connection_error, with_rows};
use crate::config::value_types::SliceWidth;
use crate::connection::sqlite_statement::{SqliteValue, add_function};
use crate::connection::{Dialect, Failure, Session, calendar};
use crate::error::Result;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::sql::SqlHome;
use crate::home::sql::engine::{ProbeResult, SliceProbeResult};
use crate::home::sql::read_error::RowReadError;
use crate::home::sql::slices::Slicer;

/// Adds what ranges ask of values: see `slices::DAY_FUNCTION` and
/// `window::INSTANT_FUNCTION`.
pub(super) fn register_functions(handle: &mut LockedSqliteHandle<'_>) -> Result<(), Failure> {
    add_function(handle, c"hygge_day", day_of_text)?;
    add_function(handle, c"hygge_instant", instant_of_text)
}

fn text(value: SqliteValue<'_>) -> Option<&str> {
    if let SqliteValue::Text(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    }
}

/// The day since 1970 that a text begins with, if that is one of four digits for the year: days
/// compare as texts do.
fn day_of_text(value: SqliteValue<'_>) -> Option<i64> {
    let text = text(value)?;
    let (year, month, day, _) = calendar::parse_date(text.get(..10)?)?;
    Some(calendar::days_from_date(year, month, day))
}

/// The microseconds since 1970 of a time stamp, as the home reads it.
fn instant_of_text(value: SqliteValue<'_>) -> Option<i64> {
    i64::try_from(calendar::parse_timestamp(text(value)?)?.utc_micros()).ok()
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SlicePosition {
    /// In a slice.
    Slice(i128),
    /// In none: it has no value, or it is not asked for slices.
    NoValue,
    /// In none: its value is not what slices are made of.
    Irregular,
}

fn find_slice(slices: &Slicer<'_>, value: SqliteValue<'_>) -> SlicePosition {
    let number = match (slices.width, value) {
        (_, SqliteValue::Null) => return SlicePosition::NoValue,
        (SliceWidth::Numbers(width), SqliteValue::Integer(number)) => {
            Some(i128::from(number).div_euclid(i128::from(width)))
        }
        (SliceWidth::Numbers(_), _) => None,
        (by, value) if slices.uses_instants => instant_of_text(value).map(|micros| {
            calendar::slice_number(by, micros.div_euclid(calendar::MICROS_PER_DAY)).into()
        }),
        (by, value) => day_of_text(value).map(|days| calendar::slice_number(by, days).into()),
    };
    number.map_or(SlicePosition::Irregular, SlicePosition::Slice)
}

/// What is known of the rows of one place.
#[derive(Clone, Copy, Debug, Default)]
struct ProbeSum {
    rows: u64,
    hashes: [u64; 4],
}

impl ProbeSum {
    fn add(&mut self, rows: u64, hashes: [u64; 4]) {
        self.rows += rows;
        self.hashes
            .iter_mut()
            .zip(hashes)
            .for_each(|(sum, hash)| *sum = sum.wrapping_add(hash));
    }

    fn into_result(self) -> ProbeResult {
        let mut writer = KeyWriter::new(KeyKind::Probe);
        self.hashes
            .into_iter()
            .fold(writer.number(self.rows), KeyWriter::number);
        ProbeResult {
            digest: writer.finish(),
            rows: self.rows,
        }
    }
}

/// Counts the rows and sums hashes of columns, for each slice; without slices, for all rows.
pub(in crate::home::sql) async fn probe_slices(
    home: &SqlHome,
    session: &mut Session,
    columns: &[String],
    slices: Option<&Slicer<'_>>,
    condition: Option<&str>,
) -> Result<SliceProbeResult> {
    let (database, action) = (session.database().clone(), "ask its probe");
    let dialect = Dialect::Sqlite;
    let names = columns.iter().map(|column| dialect.quote_name(column));
    let sliced = slices.map_or_else(
        || "NULL".to_string(),
        |slices| dialect.quote_name(&slices.column.name),
    );
    let list: Vec<String> = std::iter::once(sliced).chain(names).collect();
    let select = format!(
        "SELECT {} FROM {}{}",
        list.join(", "),
        home.relation.source_sql(dialect),
        home.where_clause(condition)
    );
    let probed = with_rows(session, action, &select, |rows| {
        let failed = |failure| RowReadError::from(connection_error(&database, action, failure));
        let mut sums: BTreeMap<SlicePosition, ProbeSum> = BTreeMap::new();
        while rows.step().map_err(failed)? {
            let place = match slices {
                Some(slices) => find_slice(slices, rows.value(0).map_err(failed)?),
                None => SlicePosition::NoValue,
            };
            let mut hashes = [0; 4];
            if rows.column_count() > 1 {
                let mut writer = KeyWriter::new(KeyKind::Probe);
                for column in 1..rows.column_count() {
                    match rows.value(column).map_err(failed)? {
                        SqliteValue::Null => writer.number(0),
                        SqliteValue::Integer(number) => {
                            writer.number(1).number(number.cast_unsigned())
                        }
                        SqliteValue::Real(number) => writer.number(2).number(number.to_bits()),
                        SqliteValue::Text(bytes) => writer.number(3).bytes(bytes),
                        SqliteValue::Blob(bytes) => writer.number(4).bytes(bytes),
                    };
                }
                for (hash, part) in hashes
                    .iter_mut()
                    .zip(writer.finish().as_bytes().chunks_exact(8))
                {
                    *hash = part
                        .iter()
                        .fold(0, |number, byte| number << 8 | u64::from(*byte));
                }
            }
            sums.entry(place).or_default().add(1, hashes);
        }
        Ok(sums)
    });
    let mut found = SliceProbeResult::default();
    let mut rest = ProbeSum::default();
    for (place, sum) in probed.await.map_err(RowReadError::into_error)? {
        match place {
            SlicePosition::Slice(number) => found.slices.push((number, sum.into_result())),
            SlicePosition::NoValue | SlicePosition::Irregular => rest.add(sum.rows, sum.hashes),
        }
        found.has_irregular |= place == SlicePosition::Irregular;
    }
    found.rest = (rest.rows > 0).then(|| rest.into_result());
    Ok(found)
}
