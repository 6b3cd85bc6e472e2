//! Where the rows of SQLite lie: in which slice, by the value that is stored, whatever is declared.
//!
//! What is told here of a value, ranges ask of it in SQL: by functions that look at it in the same
//! way.

use std::collections::BTreeMap;

use sqlx::sqlite::LockedSqliteHandle;

use super::{failed, with_rows};
use crate::config::words::Step;
use crate::connection::stepping::{Value, add_function};
use crate::connection::{Dialect, Failure, Session, calendar};
use crate::error::Result;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::sql::SqlHome;
use crate::home::sql::misfit::ReadError;
use crate::home::sql::probe::{Probed, ProbedSlices};
use crate::home::sql::ranges::Slices;

/// Adds what ranges ask of values: see `ranges::DAY` and `window::INSTANT`.
pub(super) fn add_functions(handle: &mut LockedSqliteHandle<'_>) -> Result<(), Failure> {
    add_function(handle, c"hygge_day", day)?;
    add_function(handle, c"hygge_instant", instant)
}

fn text(value: Value<'_>) -> Option<&str> {
    if let Value::Text(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else {
        None
    }
}

/// The day since 1970 that a text begins with, if that is one of four digits for the year: days
/// compare as texts do.
fn day(value: Value<'_>) -> Option<i64> {
    let text = text(value)?;
    let (year, month, day, _) = calendar::parse_date(text.get(..10)?)?;
    Some(calendar::days(year, month, day))
}

/// The microseconds since 1970 of a time stamp, as the home reads it.
fn instant(value: Value<'_>) -> Option<i64> {
    i64::try_from(calendar::parse_moment(text(value)?)?.instant()).ok()
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// In a slice.
    Slice(i128),
    /// In none: it has no value, or it is not asked for slices.
    Nowhere,
    /// In none: its value is not what slices are made of.
    Odd,
}

fn place(slices: &Slices<'_>, value: Value<'_>) -> Place {
    let number = match (slices.by, value) {
        (_, Value::Null) => return Place::Nowhere,
        (Step::Numbers(width), Value::Integer(number)) => {
            Some(i128::from(number).div_euclid(i128::from(width)))
        }
        (Step::Numbers(_), _) => None,
        (by, value) if slices.is_by_instant => instant(value)
            .map(|micros| calendar::step_of(by, micros.div_euclid(calendar::DAY_MICROS)).into()),
        (by, value) => day(value).map(|days| calendar::step_of(by, days).into()),
    };
    number.map_or(Place::Odd, Place::Slice)
}

/// What is known of the rows of one place.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    rows: u64,
    hashes: [u64; 4],
}

impl Sum {
    fn add(&mut self, rows: u64, hashes: [u64; 4]) {
        self.rows += rows;
        self.hashes
            .iter_mut()
            .zip(hashes)
            .for_each(|(sum, hash)| *sum = sum.wrapping_add(hash));
    }

    fn probed(self) -> Probed {
        let mut writer = KeyWriter::new(KeyKind::Probe);
        self.hashes
            .into_iter()
            .fold(writer.number(self.rows), KeyWriter::number);
        Probed {
            digest: writer.finish(),
            rows: self.rows,
        }
    }
}

/// Counts the rows and sums hashes of columns, for each slice; without slices, for all rows.
pub(in crate::home::sql) async fn probe(
    home: &SqlHome,
    session: &mut Session,
    columns: &[String],
    slices: Option<&Slices<'_>>,
    condition: Option<&str>,
) -> Result<ProbedSlices> {
    let (database, action) = (session.database().clone(), "ask its probe");
    let dialect = Dialect::Sqlite;
    let names = columns.iter().map(|column| dialect.quoted(column));
    let sliced = slices.map_or_else(
        || "NULL".to_string(),
        |slices| dialect.quoted(&slices.column.name),
    );
    let list: Vec<String> = std::iter::once(sliced).chain(names).collect();
    let select = format!(
        "SELECT {} FROM {}{}",
        list.join(", "),
        home.relation.from(dialect),
        home.filter(condition)
    );
    let probed = with_rows(session, action, &select, |rows| {
        let failed = |failure| ReadError::from(failed(&database, action, failure));
        let mut sums: BTreeMap<Place, Sum> = BTreeMap::new();
        while rows.step().map_err(failed)? {
            let place = match slices {
                Some(slices) => place(slices, rows.value(0).map_err(failed)?),
                None => Place::Nowhere,
            };
            let mut hashes = [0; 4];
            if rows.width() > 1 {
                let mut writer = KeyWriter::new(KeyKind::Probe);
                for column in 1..rows.width() {
                    match rows.value(column).map_err(failed)? {
                        Value::Null => writer.number(0),
                        Value::Integer(number) => writer.number(1).number(number.cast_unsigned()),
                        Value::Real(number) => writer.number(2).number(number.to_bits()),
                        Value::Text(bytes) => writer.number(3).bytes(bytes),
                        Value::Blob(bytes) => writer.number(4).bytes(bytes),
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
    let mut found = ProbedSlices::default();
    let mut rest = Sum::default();
    for (place, sum) in probed.await.map_err(ReadError::into_error)? {
        match place {
            Place::Slice(number) => found.slices.push((number, sum.probed())),
            Place::Nowhere | Place::Odd => rest.add(sum.rows, sum.hashes),
        }
        found.has_odd |= place == Place::Odd;
    }
    found.rest = (rest.rows > 0).then(|| rest.probed());
    Ok(found)
}
