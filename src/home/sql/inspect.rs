//! Asking: which columns a table has, which ranges are to be read, and whether they have changed.

use std::collections::BTreeSet;

use super::description::{PartitionSet, RowRange, TableDescription};
use super::engine::{ProbeResult, ReadEngine};
use super::probe::{digest_number, unique_digest};
use super::slices::{Slicer, is_integer};
use super::watermark::Watermark;
use super::{Probe, SqlError, SqlHome, engine_of};
use crate::connection::Relation;
use crate::connection::types::SqlColumn;
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::home::{
    PROBE_INPUT, PreviousRead, ReadPartition, RecordedColumn, SCHEMA_INPUT, TableState,
};

/// Blocks of PostgreSQL that one query reads of a table without a key that slices are made of: 128
/// MB.
const BLOCKS_PER_PARTITION: u64 = 1 << 14;

/// What was asked, and how to read it.
#[derive(Clone, Debug)]
pub(super) struct InspectedTable {
    pub state: TableState,
    pub description: TableDescription,
    /// What the database tests of rows for the flow, as SQL.
    pub pushed: Option<String>,
    /// One for each partition.
    pub ranges: Vec<RowRange>,
    /// How many rows each partition has, where that was counted.
    pub row_counts: Vec<Option<u64>>,
    /// How many rows all of them have, where that was counted.
    pub total_rows: Option<u64>,
}

impl SqlHome {
    /// Asks within a transaction that only reads, which the session is in afterwards.
    pub(super) async fn inspect(
        &self,
        session: &mut Session,
        before: &PreviousRead,
    ) -> Result<InspectedTable> {
        // Before the transaction begins: what is written in between shows at the next build.
        let look = self.file_stat_digest(session)?;
        let engine = engine_of(session);
        engine.begin(self, session).await?;
        let mut described = self.describe(session).await?;
        // What is asked from here on is asked of the rows that come.
        let home = Self {
            pushed: self.pushed_condition(engine, &described, &before.tests),
            ..self.clone()
        };
        let mut found = match &home.watermark {
            Some(watermark) => {
                described.order_by = sorted_by(&described, engine.dialect(), watermark);
                // What is behind the windows says more than how the file looks.
                let told = home.probe_without_columns(session, None).await?;
                home.window_partitions(session, &described, watermark, before, told)
                    .await?
            }
            None => {
                home.whole_table_partitions(session, &described, look)
                    .await?
            }
        };
        let schema = described.digest();
        found.inputs.insert(SCHEMA_INPUT.to_string(), schema);
        // An empty table still has columns.
        if found.ranges.is_empty()
            && let Some(range) = self.empty_range(before)
        {
            found.push(range, schema, None);
        }
        let state = TableState {
            schema_digest: schema,
            arrow_schema: described.arrow_schema(),
            recorded_columns: described.columns.iter().map(RecordedColumn::from).collect(),
            inputs: found.inputs,
            partitions: self.read_partitions(&found.ranges, found.digests),
            remarks: home
                .remarks(&described, engine)
                .into_iter()
                .chain(found.remarks)
                .collect(),
        };
        Ok(InspectedTable {
            state,
            description: described,
            pushed: home.pushed,
            ranges: found.ranges,
            row_counts: found.row_counts,
            total_rows: found.total_rows,
        })
    }

    /// What is read of a table without rows; nothing where parts are at hand that have the columns.
    fn empty_range(&self, before: &PreviousRead) -> Option<RowRange> {
        let (name, condition) = match self.watermark {
            None => ("rows", None),
            Some(_) if before.closed.is_empty() => ("..", Some("1 = 0".to_string())),
            Some(_) => return None,
        };
        Some(RowRange {
            name: name.into(),
            condition,
        })
    }

    /// Ranges as they are planned by: where the config says slices or a watermark, files are called
    /// after them.
    fn read_partitions(
        &self,
        ranges: &[RowRange],
        digests: Vec<Fingerprint>,
    ) -> Vec<ReadPartition> {
        let is_named = self.slice.is_some() || self.watermark.is_some();
        let partition = |(range, digest): (&RowRange, Fingerprint)| ReadPartition {
            name: range.name.clone(),
            file_stem: if is_named {
                range.name.replace(['/', ':'], "_")
            } else {
                self.relation.file_stem()
            },
            digest,
        };
        ranges.iter().zip(digests).map(partition).collect()
    }

    /// What is to be read of a table that is read as a whole, and what tells whether that has
    /// changed.
    async fn whole_table_partitions(
        &self,
        session: &mut Session,
        described: &TableDescription,
        look: Option<Fingerprint>,
    ) -> Result<PartitionSet> {
        let mut found = PartitionSet::default();
        let slices = self.find_slicer(session, described).await?;
        if let (Probe::Columns(columns), Some(slices)) = (&self.probe, &slices) {
            for (range, probed) in self
                .counted_slices(session, slices, described, columns)
                .await?
                .0
            {
                found.inputs.insert(range.name.clone(), probed.digest);
                found.push(range, probed.digest, Some(probed.rows));
            }
            return Ok(found);
        }
        let digest = match &self.probe {
            Probe::Columns(columns) => {
                let probed = self.probe_rows(session, described, columns, None).await?;
                found.total_rows = Some(probed.map_or(0, |probed| probed.rows));
                Some(probed.map_or_else(|| digest_number(0), |probed| probed.digest))
            }
            _ => self.probe_without_columns(session, look).await?,
        };
        found
            .inputs
            .extend(digest.map(|digest| (PROBE_INPUT.to_string(), digest)));
        let (ranges, has_odd) = match &slices {
            Some(slices) => {
                self.slices_between_bounds(session, slices, described)
                    .await?
            }
            None => (
                self.block_ranges(described)
                    .into_iter()
                    .map(|range| (range, None))
                    .collect(),
                false,
            ),
        };
        // In SQLite a value may be of another type than its column, but for a rowid.
        if slices.as_ref().is_some_and(|slices| {
            engine_of(session).has_dynamic_types() && self.slice.is_none() && slices.column.nullable
        }) {
            found.total_rows = Some(self.count_rows(session).await?);
        }
        let mut digest = digest.unwrap_or_else(unique_digest);
        if has_odd {
            // Before there were strict ranges, such rows were in other partitions, whose parts may
            // be at hand.
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
    async fn counted_slices(
        &self,
        session: &mut Session,
        slices: &Slicer<'_>,
        described: &TableDescription,
        columns: &[String],
    ) -> Result<(Vec<(RowRange, ProbeResult)>, bool)> {
        let probed = self
            .probe_slices(session, slices, described, columns, None)
            .await?;
        let slices =
            slices.with_strict(probed.has_irregular || !engine_of(session).has_dynamic_types());
        let has_odd = slices.is_strict && probed.rest.is_some();
        let numbers = probed
            .slices
            .into_iter()
            .map(|(number, probed)| (slices.range(number), probed));
        Ok((
            numbers
                .chain(probed.rest.map(|probed| (slices.null_range(), probed)))
                .collect(),
            has_odd,
        ))
    }

    /// The number of all rows.
    async fn count_rows(&self, session: &mut Session) -> Result<u64> {
        let asked = format!(
            "SELECT count(*) FROM {}{}",
            self.relation.source_sql(session.database().dialect),
            self.where_clause(None)
        );
        let counted = session.query_text("count its rows", &asked).await?;
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
    pub(super) async fn describe(&self, session: &mut Session) -> Result<TableDescription> {
        let mut described = match engine_of(session).describe(self, session).await {
            Ok(described) => described,
            Err(error) => {
                let error = session.name_untrusted_caller(error).await;
                return Err(self.with_suggested_table(session, error).await);
            }
        };
        let relation = self.relation.to_string();
        let names: Vec<String> = described
            .all_columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let mut seen = BTreeSet::new();
        if let Some(double) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(SqlError::DuplicateColumn {
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
        let chosen: Vec<SqlColumn> = match &self.columns {
            Some(columns) => {
                let chosen = columns
                    .iter()
                    .map(|column| Ok(described.all_columns[position(column)?].clone()));
                chosen.collect::<Result<_, SqlError>>()?
            }
            None => described.all_columns.clone(),
        };
        described.columns = chosen.into();
        Ok(described)
    }

    /// What slices are made of: what the config says, or a primary key of whole numbers.
    async fn find_slicer<'d>(
        &self,
        session: &mut Session,
        described: &'d TableDescription,
    ) -> Result<Option<Slicer<'d>>> {
        let engine = engine_of(session);
        if let Some(slice) = &self.slice {
            return Ok(Some(Slicer::new(
                engine,
                self.find_column(described, &slice.column)?,
                slice.width,
            )?));
        }
        let key = described
            .primary_key
            .first()
            .filter(|_| matches!(self.relation, Relation::Table(_)));
        let Some(column) = key.and_then(|key| {
            described
                .all_columns
                .iter()
                .find(|column| column.name == *key)
        }) else {
            return Ok(None);
        };
        if !is_integer(&column.kind) {
            return Ok(None);
        }
        let bounds = self.min_max(session, column, None).await?;
        let Some((from, to)) =
            bounds.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        else {
            return Ok(None);
        };
        Ok(Some(Slicer::for_key(engine, column, from, to)))
    }

    /// A column that the config names.
    pub(super) fn find_column<'d>(
        &self,
        described: &'d TableDescription,
        name: &str,
    ) -> Result<&'d SqlColumn, SqlError> {
        let known = || {
            described
                .all_columns
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
            .all_columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(missing)
    }

    /// The smallest and the largest value of a column.
    pub(super) async fn min_max(
        &self,
        session: &mut Session,
        column: &SqlColumn,
        condition: Option<&str>,
    ) -> Result<Option<(String, String)>> {
        let engine = engine_of(session);
        let rows = format!(
            "{}{}",
            self.relation.source_sql(engine.dialect()),
            self.where_clause(condition)
        );
        let name = engine.dialect().quote_name(&column.name);
        let asked = match self.relation {
            Relation::Table(_) => engine.table_min_max_sql(&name, &rows),
            Relation::Query(_) => engine.min_max_sql(&name, &rows),
        };
        let answer = session
            .query_text("find the bounds of its slices", &asked)
            .await?;
        let mut row = answer.into_iter().next().unwrap_or_default().into_iter();
        Ok(row.next().flatten().zip(row.next().flatten()))
    }

    /// The slices between the smallest and the largest value, and the rows that lie in none. Where
    /// it is asked which have rows, these are counted too. True where ranges are strict, and some
    /// rows lie in none of them.
    async fn slices_between_bounds(
        &self,
        session: &mut Session,
        slices: &Slicer<'_>,
        described: &TableDescription,
    ) -> Result<(Vec<(RowRange, Option<u64>)>, bool)> {
        let engine = engine_of(session);
        let is_dynamic = engine.has_dynamic_types() && self.slice.is_some();
        let place = |(from, to): (String, String)| {
            Some((slices.slice_number(&from)?, slices.slice_number(&to)?))
        };
        let bounds = if is_dynamic {
            None
        } else {
            self.min_max(session, slices.column, None).await?
        };
        let mut rest = slices.null_range();
        let mut ends = None;
        if let Some(bounds) = bounds {
            ends = place(bounds);
            if ends.is_none() {
                // Values that lie in no slice are the smallest or the largest.
                let regular = self
                    .min_max(
                        session,
                        slices.column,
                        slices.regular_condition().as_deref(),
                    )
                    .await?;
                ends = regular.and_then(place);
                rest = match ends {
                    Some((first, last)) => slices.outside(first, last),
                    None => slices.with_strict(true).null_range(),
                };
            }
        }
        let numbers = ends.map_or(Some(Vec::new()), |(first, last)| {
            Slicer::between(first, last)
        });
        let Some(numbers) = numbers.filter(|_| !is_dynamic) else {
            let (counted, has_odd) = self.counted_slices(session, slices, described, &[]).await?;
            return Ok((
                counted
                    .into_iter()
                    .map(|(range, probed)| (range, Some(probed.rows)))
                    .collect(),
                has_odd,
            ));
        };
        let mut ranges: Vec<(RowRange, Option<u64>)> = numbers
            .into_iter()
            .map(|number| (slices.range(number), None))
            .collect();
        if slices.column.nullable || self.slice.is_some() {
            let from = self.relation.source_sql(engine.dialect());
            let asked = format!(
                "SELECT 1 FROM {from}{} LIMIT 1",
                self.where_clause(rest.condition.as_deref())
            );
            if !session
                .query_text("look for rows that lie in no slice", &asked)
                .await?
                .is_empty()
            {
                ranges.push((rest, None));
            }
        }
        Ok((ranges, false))
    }

    /// One range, or several of PostgreSQL's blocks.
    fn block_ranges(&self, described: &TableDescription) -> Vec<RowRange> {
        let Some(blocks) = described
            .blocks
            .filter(|blocks| *blocks > BLOCKS_PER_PARTITION)
        else {
            return vec![RowRange {
                name: "rows".into(),
                condition: None,
            }];
        };
        let range = |number: u64| {
            let (from, to) = (
                number * BLOCKS_PER_PARTITION,
                (number + 1) * BLOCKS_PER_PARTITION,
            );
            // What is added meanwhile is not in the snapshot; the last one has no end all the same.
            let end = if to < blocks {
                format!(" AND ctid < '({to},0)'::tid")
            } else {
                String::new()
            };
            RowRange {
                name: format!("block {from}"),
                condition: Some(format!("ctid >= '({from},0)'::tid{end}")),
            }
        };
        (0..blocks.div_ceil(BLOCKS_PER_PARTITION))
            .map(range)
            .collect()
    }

    fn remarks(&self, described: &TableDescription, engine: &dyn ReadEngine) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(pushed) = &self.pushed {
            remarks.push(format!("the database filters by {pushed}"));
        }
        for column in described
            .columns
            .iter()
            .filter(|column| column.is_read_as_text)
        {
            remarks.push(format!(
                "column {} is {}, and arrives as text",
                column.name, column.declared
            ));
        }
        if matches!(self.relation, Relation::Table(_)) && described.order_by.is_empty() {
            let why = engine.natural_order();
            remarks.push(format!(
                "{} has no primary key: rows come {why}, an order that may change",
                self.relation
            ));
        }
        remarks
    }
}

/// Rows come in the order of a watermark, and of what tells rows of one value apart.
fn sorted_by(described: &TableDescription, dialect: Dialect, watermark: &Watermark) -> Vec<String> {
    let key = if watermark.primary_key.is_empty() {
        &described.primary_key
    } else {
        &watermark.primary_key
    };
    let others = key.iter().filter(|column| **column != watermark.column);
    std::iter::once(&watermark.column)
        .chain(others)
        .map(|column| dialect.quote_name(column))
        .collect()
}
