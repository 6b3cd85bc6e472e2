//! Probes: what is asked to know whether a table has changed, without reading it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::inspect::TableDescription;
use super::slices::Slicer;
use super::{Probe, SqlError, SqlHome, sqlite};
use crate::connection::session::TextRows;
use crate::connection::types::{ColumnType, SqlColumn};
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::fingerprint::stat::UnixNanos;
use crate::fs;

/// What a probe answered for some rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// It changes when the rows do.
    pub digest: Fingerprint,
    /// How many there are.
    pub rows: u64,
}

/// What a probe answered slice by slice.
#[derive(Debug, Default)]
pub(super) struct SliceProbeResult {
    /// Those with rows, in order.
    pub slices: Vec<(i128, ProbeResult)>,
    /// The rows that lie in no slice.
    pub rest: Option<ProbeResult>,
    /// True where some of these have a value, but none that slices are made of. Servers do not say.
    pub has_irregular: bool,
}

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
        if session.database().dialect == Dialect::Sqlite {
            return Ok(
                sqlite::probe_slices(self, session, columns, None, condition)
                    .await?
                    .rest,
            );
        }
        let asked = self.probe_statement(
            session.database().dialect,
            described,
            columns,
            None,
            condition,
        );
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
        let mut found = SliceProbeResult::default();
        if session.database().dialect == Dialect::Sqlite {
            found = sqlite::probe_slices(self, session, columns, Some(slices), condition).await?;
        } else {
            let expression = slices.expression();
            let asked = self.probe_statement(
                session.database().dialect,
                described,
                columns,
                Some(&expression),
                condition,
            );
            for mut row in session.query_text("ask its probe", &asked).await? {
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
        }
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
        dialect: Dialect,
        described: &TableDescription,
        columns: &[String],
        slice: Option<&str>,
        condition: Option<&str>,
    ) -> String {
        let names: Vec<String> = columns
            .iter()
            .map(|column| dialect.quote_name(column))
            .collect();
        let mut asked: Vec<String> = slice.iter().map(|slice| (*slice).to_string()).collect();
        asked.push("count(*)".into());
        match dialect {
            _ if columns.is_empty() => {}
            Dialect::Postgres => {
                // Not every type has a largest value; the sum of hashes has them all.
                let has_largest = |column: &&String| {
                    described.all_columns.iter().any(|known| {
                        known.name == **column && !known.is_read_as_text && has_max(known)
                    })
                };
                let largest = columns
                    .iter()
                    .filter(has_largest)
                    .map(|column| format!("max({})::text", dialect.quote_name(column)));
                asked.extend(largest);
                let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
                let whole = if texts.len() == 1 {
                    texts[0].clone()
                } else {
                    format!("ROW({})::text", texts.join(", "))
                };
                // What a collation takes for one is two values, and the word null is none that is
                // missing.
                let seed = format!("CASE WHEN {whole} COLLATE \"C\" = 'null' THEN 1 ELSE 0 END");
                asked.push(format!("sum(hashtextextended(coalesce({whole}, 'null') COLLATE \"C\", {seed})::numeric)::text"));
            }
            _ => {
                asked.extend(names.iter().map(|name| format!("max({name})")));
                let is_float = |column: &String| {
                    described
                        .all_columns
                        .iter()
                        .any(|known| known.name == *column && known.declared.starts_with("float"))
                };
                // The text of a number of 32 bits is rounded, that of one of 64 bits is not.
                let exact = |(column, name): (&String, &String)| {
                    if is_float(column) {
                        format!("({name} * 1e0)")
                    } else {
                        name.clone()
                    }
                };
                let values: Vec<String> = columns.iter().zip(&names).map(exact).collect();
                let part = |value: &String| {
                    format!("IF({value} IS NULL, 'n', CONCAT(LENGTH({value}), ':', {value}))")
                };
                let parts = values.iter().map(part).collect::<Vec<_>>().join(", ");
                let sums = values
                    .iter()
                    .map(|value| format!("IF({value} IS NULL, 'n', MD5({value}))"))
                    .collect::<Vec<_>>()
                    .join(", ");
                // Texts that are longer together than max_allowed_packet are none; then each of
                // them is looked at.
                let whole = format!("COALESCE(MD5(CONCAT({parts})), MD5(CONCAT({sums})))");
                let hash = |from: u32| {
                    format!("SUM(CAST(CONV(SUBSTR({whole}, {from}, 15), 16, 10) AS UNSIGNED))")
                };
                asked.extend([hash(1), hash(16)]);
            }
        }
        let group = if slice.is_some() { " GROUP BY 1" } else { "" };
        format!(
            "SELECT {} FROM {}{}{group}",
            asked.join(", "),
            self.relation.source_sql(dialect),
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

fn has_max(column: &SqlColumn) -> bool {
    !matches!(
        column.kind,
        ColumnType::Boolean | ColumnType::List(_) | ColumnType::Binary
    )
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
