//! Asking: which columns a table has, which ranges are to be read, and whether they have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::probe::{Probed, number, unknown};
use super::ranges::{Range, Slices, is_whole};
use super::watermark::Watermark;
use super::{Probe, SqlError, SqlHome, mysql, postgres, sqlite};
use crate::connection::Relation;
use crate::connection::types::Column;
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::{Answer, Before, KnownColumn, PROBE, SCHEMA, Unit};

/// Blocks of PostgreSQL that one query reads of a table without a key that slices are made of: 128
/// MB.
const BLOCKS: u64 = 1 << 14;

/// What a database says of a table or a query.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// The columns that are read.
    pub columns: Arc<[Column]>,
    /// All columns that conditions may name.
    pub all: Vec<Column>,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// What rows are sorted by, as SQL.
    pub order: Vec<String>,
    /// What SQLite numbers the rows of a table by, as SQL.
    pub rowid: Option<String>,
    /// How many blocks it has, where PostgreSQL can be asked for some of them.
    pub blocks: Option<u64>,
}

/// What was asked, and how to read it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub answer: Answer,
    pub described: Described,
    /// One for each unit.
    pub ranges: Vec<Range>,
    /// How many rows each unit has, where that was counted.
    pub rows: Vec<Option<u64>>,
    /// How many rows all of them have, where that was counted.
    pub total: Option<u64>,
}

/// What is to be read, and what tells whether it has changed.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub inputs: BTreeMap<String, Fingerprint>,
    pub ranges: Vec<Range>,
    /// One for each range.
    pub digests: Vec<Fingerprint>,
    /// How many rows each range has, where that was counted.
    pub rows: Vec<Option<u64>>,
    /// How many rows there are in all ranges, where that was counted.
    pub total: Option<u64>,
    pub remarks: Vec<String>,
}

impl Found {
    pub(super) fn push(&mut self, range: Range, digest: Fingerprint, rows: Option<u64>) {
        self.ranges.push(range);
        self.digests.push(digest);
        self.rows.push(rows);
    }
}

impl Described {
    /// Rows come in the order of a watermark, and of what tells rows of one value apart.
    fn sort_by(&mut self, dialect: Dialect, watermark: &Watermark) {
        let key = if watermark.primary_key.is_empty() {
            &self.key
        } else {
            &watermark.primary_key
        };
        let others = key.iter().filter(|column| **column != watermark.column);
        self.order = std::iter::once(&watermark.column)
            .chain(others)
            .map(|column| dialect.quoted(column))
            .collect();
    }
}

impl SqlHome {
    /// Asks within a transaction that only reads, which the session is in afterwards.
    pub(super) async fn ask(&self, session: &mut Session, before: &Before) -> Result<Asked> {
        // Before the transaction begins: what is written in between shows at the next build.
        let look = self.look(session)?;
        match session.database().dialect {
            // Its sessions are opened for reading.
            Dialect::Sqlite => sqlite::begin(session).await?,
            Dialect::Postgres => postgres::begin(self, session).await?,
            Dialect::MySql => mysql::begin(self, session).await?,
        }
        let mut described = self.describe(session).await?;
        let mut found = match &self.watermark {
            Some(watermark) => {
                described.sort_by(session.database().dialect, watermark);
                // What is behind the windows says more than how the file looks.
                let told = self.told(session, None).await?;
                self.windows(session, &described, watermark, before, told)
                    .await?
            }
            None => self.whole(session, &described, look).await?,
        };
        let schema = schema(&described);
        found.inputs.insert(SCHEMA.to_string(), schema);
        // An empty table still has columns.
        if found.ranges.is_empty() && self.watermark.is_none() {
            found.push(
                Range {
                    name: "rows".into(),
                    condition: None,
                },
                schema,
                None,
            );
        } else if found.ranges.is_empty() && before.settled.is_empty() {
            found.push(
                Range {
                    name: "..".into(),
                    condition: Some("1 = 0".into()),
                },
                schema,
                None,
            );
        }
        let Found {
            inputs,
            ranges,
            digests,
            rows,
            total,
            remarks,
        } = found;
        let is_named = self.slice.is_some() || self.watermark.is_some();
        let unit = |(range, digest): (&Range, Fingerprint)| {
            let stem = if is_named {
                range.name.replace(['/', ':'], "_")
            } else {
                self.relation.stem()
            };
            Unit {
                name: range.name.clone(),
                stem,
                digest,
            }
        };
        let units = ranges.iter().zip(digests).map(unit).collect();
        let columns = described
            .columns
            .iter()
            .map(|column| (column.name.as_str().into(), column.to_arrow()))
            .collect();
        let remarks = self
            .remarks(&described, session.database().dialect)
            .into_iter()
            .chain(remarks)
            .collect();
        let known = described.columns.iter().map(KnownColumn::from).collect();
        let answer = Answer {
            schema,
            columns,
            known,
            inputs,
            units,
            remarks,
        };
        Ok(Asked {
            answer,
            described,
            ranges,
            rows,
            total,
        })
    }

    /// What is to be read of a table that is read as a whole, and what tells whether that has
    /// changed.
    async fn whole(
        &self,
        session: &mut Session,
        described: &Described,
        look: Option<Fingerprint>,
    ) -> Result<Found> {
        let mut found = Found::default();
        let slices = self.slices(session, described).await?;
        if let (Probe::Columns(columns), Some(slices)) = (&self.probe, &slices) {
            for (range, probed) in self.counted(session, slices, described, columns).await?.0 {
                found.inputs.insert(range.name.clone(), probed.digest);
                found.push(range, probed.digest, Some(probed.rows));
            }
            return Ok(found);
        }
        let digest = match &self.probe {
            Probe::Columns(columns) => {
                let probed = self.probe_rows(session, described, columns, None).await?;
                found.total = Some(probed.map_or(0, |probed| probed.rows));
                Some(probed.map_or_else(|| number(0), |probed| probed.digest))
            }
            _ => self.told(session, look).await?,
        };
        found
            .inputs
            .extend(digest.map(|digest| (PROBE.to_string(), digest)));
        let (ranges, has_odd) = match &slices {
            Some(slices) => self.bounded(session, slices, described).await?,
            None => (
                self.blocks(described)
                    .into_iter()
                    .map(|range| (range, None))
                    .collect(),
                false,
            ),
        };
        // In SQLite a value may be of another type than its column, but for a rowid.
        if slices.as_ref().is_some_and(|slices| {
            slices.dialect == Dialect::Sqlite && self.slice.is_none() && slices.column.nullable
        }) {
            found.total = Some(self.count(session).await?);
        }
        let mut digest = digest.unwrap_or_else(unknown);
        if has_odd {
            // Before there were strict ranges, such rows were in other units, whose parts may be at
            // hand.
            digest = KeyWriter::new(KeyKind::Probe)
                .text("strict")
                .digest(&digest)
                .finish();
        }
        ranges
            .into_iter()
            .for_each(|(range, rows)| found.push(range, digest, rows));
        Ok(found)
    }

    /// The slices that have rows, and the rows that lie in none, with what a probe says of them.
    /// True where ranges are strict, and some rows lie in none of them.
    async fn counted(
        &self,
        session: &mut Session,
        slices: &Slices<'_>,
        described: &Described,
        columns: &[String],
    ) -> Result<(Vec<(Range, Probed)>, bool)> {
        let probed = self
            .probe_slices(session, slices, described, columns, None)
            .await?;
        let slices = slices.strict(probed.has_odd || slices.dialect != Dialect::Sqlite);
        let has_odd = slices.is_strict && probed.rest.is_some();
        let numbers = probed
            .slices
            .into_iter()
            .map(|(number, probed)| (slices.range(number), probed));
        Ok((
            numbers
                .chain(probed.rest.map(|probed| (slices.rest(), probed)))
                .collect(),
            has_odd,
        ))
    }

    /// The number of all rows.
    async fn count(&self, session: &mut Session) -> Result<u64> {
        let asked = format!(
            "SELECT count(*) FROM {}{}",
            self.relation.from(session.database().dialect),
            self.filter(None)
        );
        let counted = session.ask("count its rows", &asked).await?;
        let rows = counted
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .and_then(|count| count.parse().ok());
        Ok(rows.ok_or_else(|| {
            SqlError::Protocol("it was asked for the number of its rows, and gave none".into())
        })?)
    }

    /// The columns, and those of them that are read.
    pub(super) async fn describe(&self, session: &mut Session) -> Result<Described> {
        let described = match session.database().dialect {
            Dialect::Sqlite => sqlite::describe(self, session).await,
            Dialect::Postgres => postgres::describe(self, session).await,
            Dialect::MySql => mysql::describe(self, session).await,
        };
        let mut described = match described {
            Ok(described) => described,
            Err(error) => {
                let error = session.with_origin(error).await;
                return Err(self.with_nearest(session, error).await);
            }
        };
        let relation = self.relation.to_string();
        let names: Vec<String> = described
            .all
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let mut seen = BTreeSet::new();
        if let Some(double) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(SqlError::SameName {
                relation,
                column: double.clone(),
            }
            .into());
        }
        let missing = |column: &String| SqlError::NoColumn {
            relation: relation.clone(),
            column: column.clone(),
            columns: names.clone(),
        };
        let position = |column: &String| {
            names
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| missing(column))
        };
        self.types
            .keys()
            .try_for_each(|column| position(column).map(drop))?;
        let chosen: Vec<Column> = match &self.columns {
            Some(columns) => {
                let chosen = columns
                    .iter()
                    .map(|column| Ok(described.all[position(column)?].clone()));
                chosen.collect::<Result<_, SqlError>>()?
            }
            None => described.all.clone(),
        };
        described.columns = chosen.into();
        Ok(described)
    }

    /// What slices are made of: what the config says, or a primary key of whole numbers.
    async fn slices<'d>(
        &self,
        session: &mut Session,
        described: &'d Described,
    ) -> Result<Option<Slices<'d>>> {
        let dialect = session.database().dialect;
        if let Some(slice) = &self.slice {
            return Ok(Some(Slices::new(
                dialect,
                self.column(described, &slice.column)?,
                slice.by,
            )?));
        }
        let key = described
            .key
            .first()
            .filter(|_| matches!(self.relation, Relation::Table(_)));
        let Some(column) =
            key.and_then(|key| described.all.iter().find(|column| column.name == *key))
        else {
            return Ok(None);
        };
        if !is_whole(&column.kind) {
            return Ok(None);
        }
        let bounds = self.bounds(session, column, None).await?;
        let Some((from, to)) =
            bounds.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        else {
            return Ok(None);
        };
        Ok(Some(Slices::of_key(dialect, column, from, to)))
    }

    /// A column that the config names.
    pub(super) fn column<'d>(
        &self,
        described: &'d Described,
        name: &str,
    ) -> Result<&'d Column, SqlError> {
        let known = || {
            described
                .all
                .iter()
                .map(|column| column.name.clone())
                .collect()
        };
        let missing = || SqlError::NoColumn {
            relation: self.relation.to_string(),
            column: name.to_string(),
            columns: known(),
        };
        described
            .all
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(missing)
    }

    /// The smallest and the largest value of a column.
    pub(super) async fn bounds(
        &self,
        session: &mut Session,
        column: &Column,
        condition: Option<&str>,
    ) -> Result<Option<(String, String)>> {
        let dialect = session.database().dialect;
        let name = dialect.quoted(&column.name);
        let text = if dialect == Dialect::Postgres {
            "::text"
        } else {
            ""
        };
        let rows = format!("{}{}", self.relation.from(dialect), self.filter(condition));
        let asked = match (dialect, &self.relation) {
            // It looks for one of them by an index, and for both through the whole table.
            (Dialect::Sqlite, Relation::Table(_)) => {
                format!("SELECT (SELECT min({name}) FROM {rows}), (SELECT max({name}) FROM {rows})")
            }
            _ => format!("SELECT min({name}){text}, max({name}){text} FROM {rows}"),
        };
        let answer = session.ask("find the bounds of its slices", &asked).await?;
        let mut row = answer.into_iter().next().unwrap_or_default().into_iter();
        Ok(row.next().flatten().zip(row.next().flatten()))
    }

    /// The slices between the smallest and the largest value, and the rows that lie in none. Where
    /// it is asked which have rows, these are counted too. True where ranges are strict, and some
    /// rows lie in none of them.
    async fn bounded(
        &self,
        session: &mut Session,
        slices: &Slices<'_>,
        described: &Described,
    ) -> Result<(Vec<(Range, Option<u64>)>, bool)> {
        let dialect = session.database().dialect;
        let is_dynamic = dialect == Dialect::Sqlite && self.slice.is_some();
        let place =
            |(from, to): (String, String)| Some((slices.number(&from)?, slices.number(&to)?));
        let bounds = if is_dynamic {
            None
        } else {
            self.bounds(session, slices.column, None).await?
        };
        let mut rest = slices.rest();
        let mut ends = None;
        if let Some(bounds) = bounds {
            ends = place(bounds);
            if ends.is_none() {
                // Values that lie in no slice are the smallest or the largest.
                let regular = self
                    .bounds(session, slices.column, slices.regular().as_deref())
                    .await?;
                ends = regular.and_then(place);
                rest = match ends {
                    Some((first, last)) => slices.outside(first, last),
                    None => slices.strict(true).rest(),
                };
            }
        }
        let numbers = ends.map_or(Some(Vec::new()), |(first, last)| {
            Slices::between(first, last)
        });
        let Some(numbers) = numbers.filter(|_| !is_dynamic) else {
            let (counted, has_odd) = self.counted(session, slices, described, &[]).await?;
            return Ok((
                counted
                    .into_iter()
                    .map(|(range, probed)| (range, Some(probed.rows)))
                    .collect(),
                has_odd,
            ));
        };
        let mut ranges: Vec<(Range, Option<u64>)> = numbers
            .into_iter()
            .map(|number| (slices.range(number), None))
            .collect();
        if slices.column.nullable || self.slice.is_some() {
            let from = self.relation.from(dialect);
            let asked = format!(
                "SELECT 1 FROM {from}{} LIMIT 1",
                self.filter(rest.condition.as_deref())
            );
            if !session
                .ask("look for rows that lie in no slice", &asked)
                .await?
                .is_empty()
            {
                ranges.push((rest, None));
            }
        }
        Ok((ranges, false))
    }

    /// One range, or several of PostgreSQL's blocks.
    fn blocks(&self, described: &Described) -> Vec<Range> {
        let Some(blocks) = described.blocks.filter(|blocks| *blocks > BLOCKS) else {
            return vec![Range {
                name: "rows".into(),
                condition: None,
            }];
        };
        let range = |number: u64| {
            let (from, to) = (number * BLOCKS, (number + 1) * BLOCKS);
            // What is added meanwhile is not in the snapshot; the last one has no end all the same.
            let end = if to < blocks {
                format!(" AND ctid < '({to},0)'::tid")
            } else {
                String::new()
            };
            Range {
                name: format!("block {from}"),
                condition: Some(format!("ctid >= '({from},0)'::tid{end}")),
            }
        };
        (0..blocks.div_ceil(BLOCKS)).map(range).collect()
    }

    fn remarks(&self, described: &Described, dialect: Dialect) -> Vec<String> {
        let mut remarks = Vec::new();
        for column in described.columns.iter().filter(|column| column.as_text) {
            remarks.push(format!(
                "column {} is {}, and arrives as text",
                column.name, column.declared
            ));
        }
        if matches!(self.relation, Relation::Table(_)) && described.order.is_empty() {
            let why = if dialect == Dialect::Postgres {
                "as they are stored"
            } else {
                "as the database gives them"
            };
            remarks.push(format!(
                "{} has no primary key: rows come {why}, an order that may change",
                self.relation
            ));
        }
        remarks
    }
}

/// The digest of columns: names, order, types, the primary key.
fn schema(described: &Described) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.count(described.columns.len());
    for column in described.columns.iter() {
        writer
            .text(&column.name)
            .text(&column.declared)
            .text(&column.kind.to_string());
        writer
            .number(u64::from(column.nullable))
            .number(u64::from(column.as_text));
    }
    writer.count(described.order.len());
    described
        .order
        .iter()
        .fold(&mut writer, |writer, order| writer.text(order))
        .finish()
}
