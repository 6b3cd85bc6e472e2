//! Probes: what is asked to know whether a table has changed, without reading it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::description::TableDescription;
use super::engine::{ColumnProbe, ProbeResult, ProbeSql, SliceProbeResult};
use super::slices::Slicer;
use super::{Probe, SqlError, SqlHome, engine_of};
use crate::connection::Session;
use crate::connection::session::TextRows;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::fingerprint::stat::UnixNanos;
use crate::fs;

impl SqlHome {
    /// What a probe answers that looks at no columns.
    pub(super) async fn probe_without_columns(
        &self,
        session: &mut Session,
        look: Option<Fingerprint>,
    ) -> Result<Option<Fingerprint>> {
        Ok(match &self.probe {
            Probe::Query(query) => Some(digest_rows(
                &session
                    .query_text("ask the query of its probe", query)
                    .await?,
            )),
            Probe::Every(time) => Some(digest_number(nanos_since_epoch() / time.as_nanos().max(1))),
            Probe::File => look,
            Probe::None | Probe::Columns(_) => None,
        })
    }

    /// How the file of a SQLite database looks, with its log.
    pub(super) fn file_stat_digest(&self, session: &Session) -> Result<Option<Fingerprint>> {
        let Some(file) = session
            .database()
            .file
            .as_ref()
            .filter(|_| self.probe == Probe::File)
        else {
            return Ok(None);
        };
        let log = fs::with_suffix(file, "-wal");
        let now = UnixNanos::now();
        let mut writer = KeyWriter::new(KeyKind::Probe);
        for path in [file, &log] {
            let Some(found) = fs::stat(path)?.filter(|found| found.stat.size > 0) else {
                writer.text("nothing");
                continue;
            };
            let mut stat = found.stat;
            if *path == log {
                // For root, SQLite gives the log to the owner of the database each time it opens
                // it.
                stat.ctime_ns = stat.mtime_ns;
            }
            writer
                .number(stat.size)
                .number(stat.mtime_ns.cast_unsigned())
                .number(stat.ctime_ns.cast_unsigned())
                .number(stat.inode);
            if !now.has_aged(&stat) {
                // It could change once more and look the same.
                writer.text(&nanos_since_epoch().to_string());
            }
        }
        Ok(Some(writer.finish()))
    }

    /// The probe of columns for all rows that meet a condition; nothing where there are none.
    pub(super) async fn probe_rows(
        &self,
        session: &mut Session,
        described: &TableDescription,
        columns: &[String],
        condition: Option<&str>,
    ) -> Result<Option<ProbeResult>> {
        self.check_probe(described, columns)?;
        let sql = match engine_of(session).column_probe() {
            ColumnProbe::Database(sql) => sql,
            ColumnProbe::Reader(reader) => {
                let probed = reader.probe_slices(self, session, columns, None, condition);
                return Ok(probed.await?.rest);
            }
        };
        let asked = self.probe_statement(sql, described, columns, None, condition);
        let answer = session.query_text("ask its probe", &asked).await?;
        let rows = answer
            .first()
            .and_then(|row| parse_row_count(row))
            .ok_or_else(no_number)?;
        Ok((rows > 0).then(|| ProbeResult {
            digest: digest_rows(&answer),
            rows,
        }))
    }

    /// The probe of columns, slice by slice, in order; and that of the rows that lie in no slice.
    /// Without columns, rows are counted.
    pub(super) async fn probe_slices(
        &self,
        session: &mut Session,
        slices: &Slicer<'_>,
        described: &TableDescription,
        columns: &[String],
        condition: Option<&str>,
    ) -> Result<SliceProbeResult> {
        self.check_probe(described, columns)?;
        let mut found = match engine_of(session).column_probe() {
            ColumnProbe::Reader(reader) => {
                reader
                    .probe_slices(self, session, columns, Some(slices), condition)
                    .await?
            }
            ColumnProbe::Database(sql) => {
                let expression = slices.expression(sql);
                let asked =
                    self.probe_statement(sql, described, columns, Some(&expression), condition);
                let answer = session.query_text("ask its probe", &asked).await?;
                self.parse_slices(slices, answer)?
            }
        };
        found.slices.sort_unstable_by_key(|(number, _)| *number);
        slices.check_number(
            &found
                .slices
                .iter()
                .map(|(number, _)| *number)
                .collect::<Vec<_>>(),
        )?;
        Ok(found)
    }

    /// What a database answered, a row for each slice.
    fn parse_slices(
        &self,
        slices: &Slicer<'_>,
        answer: TextRows,
    ) -> Result<SliceProbeResult, SqlError> {
        let mut found = SliceProbeResult::default();
        for mut row in answer {
            let name = if row.is_empty() { None } else { row.remove(0) };
            let rows = parse_row_count(&row).ok_or_else(no_number)?;
            let probed = ProbeResult {
                digest: digest_rows(&vec![row]),
                rows,
            };
            let Some(name) = name else {
                found.rest = Some(probed);
                continue;
            };
            let number =
                slices
                    .parse_slice_number(&name)
                    .ok_or_else(|| SqlError::InvalidValue {
                        column: slices.column.name.clone(),
                        row: 0,
                        location: self.relation.to_string(),
                        reason: format!("{name} lies in no slice by {}", slices.width),
                        hint: "leave such values out by where, or slice by another column",
                    })?;
            found.slices.push((number, probed));
        }
        Ok(found)
    }

    fn check_probe(
        &self,
        described: &TableDescription,
        columns: &[String],
    ) -> Result<(), SqlError> {
        columns
            .iter()
            .try_for_each(|column| self.find_column(described, column).map(drop))
    }

    /// The number of rows, the largest values and a sum of hashes; with the slice before them where
    /// they are asked for by slice.
    fn probe_statement(
        &self,
        sql: &dyn ProbeSql,
        described: &TableDescription,
        columns: &[String],
        slice: Option<&str>,
        condition: Option<&str>,
    ) -> String {
        let mut asked: Vec<String> = slice.iter().map(|slice| (*slice).to_string()).collect();
        asked.push("count(*)".into());
        if !columns.is_empty() {
            asked.extend(sql.expressions(described, columns));
        }
        let group = if slice.is_some() { " GROUP BY 1" } else { "" };
        format!(
            "SELECT {} FROM {}{}{group}",
            asked.join(", "),
            self.relation.source_sql(sql.dialect()),
            self.where_clause(condition)
        )
    }
}

/// The number of rows, which stands first.
fn parse_row_count(row: &[Option<String>]) -> Option<u64> {
    row.first()?.as_deref()?.parse().ok()
}

fn no_number() -> SqlError {
    SqlError::Protocol("it was asked for the number of its rows, and gave none".into())
}

fn digest_rows(answer: &TextRows) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Probe);
    writer.count(answer.len());
    for row in answer {
        writer.count(row.len());
        for value in row {
            match value {
                Some(text) => writer.number(1).text(text),
                None => writer.number(0),
            };
        }
    }
    writer.finish()
}

/// What cannot be compared is read anew each time.
pub(super) fn unique_digest() -> Fingerprint {
    digest_number(nanos_since_epoch() ^ u128::from(std::process::id()))
}

/// The digest of a number.
pub(super) fn digest_number(number: u128) -> Fingerprint {
    Fingerprint::hash_bytes(&number.to_le_bytes())
}

fn nanos_since_epoch() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}
