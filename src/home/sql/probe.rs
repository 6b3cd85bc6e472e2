//! Probes: what is asked to know whether a table has changed, without reading it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::answer::Described;
use super::ranges::Slices;
use super::{Probe, SqlError, SqlHome, sqlite};
use crate::connection::session::Texts;
use crate::connection::types::{Column, Type};
use crate::connection::{Dialect, Session};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::fingerprint::stat::Now;
use crate::fs;

impl SqlHome {
    /// What a probe answers that looks at no columns.
    pub(super) async fn told(&self, session: &mut Session, look: Option<Fingerprint>) -> Result<Option<Fingerprint>> {
        Ok(match &self.probe {
            Probe::Query(query) => Some(digest_of(&session.ask("ask the query of its probe", query).await?)),
            Probe::Every(time) => Some(number(since_1970() / time.as_nanos().max(1))),
            Probe::File => look,
            Probe::None | Probe::Columns(_) => None,
        })
    }

    /// How the file of a SQLite database looks, with its log.
    pub(super) fn look(&self, session: &Session) -> Result<Option<Fingerprint>> {
        let Some(file) = session.database().file.as_ref().filter(|_| self.probe == Probe::File) else { return Ok(None) };
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        let now = Now::take();
        let mut writer = KeyWriter::new(KeyKind::Probe);
        for path in [file, std::path::Path::new(&log)] {
            let Some(found) = fs::stat(path)?.filter(|found| found.stat.size > 0) else {
                writer.text("nothing");
                continue;
            };
            let mut stat = found.stat;
            if path == std::path::Path::new(&log) {
                // For root, SQLite gives the log to the owner of the database each time it opens it.
                stat.ctime_ns = stat.mtime_ns;
            }
            writer.number(stat.size).number(stat.mtime_ns.cast_unsigned()).number(stat.ctime_ns.cast_unsigned()).number(stat.inode);
            if !now.has_aged(&stat) {
                // It could change once more and look the same.
                writer.text(&since_1970().to_string());
            }
        }
        Ok(Some(writer.finish()))
    }

    /// The probe of columns for all rows that meet a condition; nothing where there are none.
    pub(super) async fn probe_rows(
        &self,
        session: &mut Session,
        described: &Described,
        columns: &[String],
        condition: Option<&str>,
    ) -> Result<Option<Fingerprint>> {
        self.check_probe(described, columns)?;
        if session.database().dialect == Dialect::Sqlite {
            let answers = sqlite::probe(self, session, columns, None, condition).await?;
            return Ok(answers.into_values().next());
        }
        let asked = self.probe_statement(session.database().dialect, described, columns, None, condition);
        let answer = session.ask("ask its probe", &asked).await?;
        let is_empty = answer.first().and_then(|row| row.first()?.as_deref()) == Some("0");
        Ok((!is_empty).then(|| digest_of(&answer)))
    }

    /// The probe of columns, slice by slice, in order; and that of the rows that lie in no slice.
    pub(super) async fn probe_slices(
        &self,
        session: &mut Session,
        slices: &Slices<'_>,
        described: &Described,
        columns: &[String],
        condition: Option<&str>,
    ) -> Result<(Vec<(i128, Fingerprint)>, Option<Fingerprint>)> {
        self.check_probe(described, columns)?;
        let expression = slices.expression();
        let answers: BTreeMap<Option<String>, Fingerprint> = if session.database().dialect == Dialect::Sqlite {
            sqlite::probe(self, session, columns, Some(&expression), condition).await?
        } else {
            let asked = self.probe_statement(session.database().dialect, described, columns, Some(&expression), condition);
            let rows = session.ask("ask its probe", &asked).await?;
            rows.into_iter().map(|mut row| (row.remove(0), digest_of(&vec![row]))).collect()
        };
        let mut found = Vec::new();
        let mut rest = None;
        for (name, digest) in answers {
            let Some(name) = name else {
                rest = Some(digest);
                continue;
            };
            let number = slices.answered(&name).ok_or_else(|| SqlError::Value {
                column: slices.column.name.clone(),
                row: 0,
                of: self.relation.to_string(),
                reason: format!("{name} lies in no slice by {}", slices.by),
                hint: "leave such values out by where, or slice by another column",
            })?;
            found.push((number, digest));
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        Ok((found, rest))
    }

    fn check_probe(&self, described: &Described, columns: &[String]) -> Result<(), SqlError> {
        columns.iter().try_for_each(|column| self.column(described, column).map(drop))
    }

    /// The number of rows, the largest values and a sum of hashes; with the slice before them where they are asked for by slice.
    fn probe_statement(
        &self,
        dialect: Dialect,
        described: &Described,
        columns: &[String],
        slice: Option<&str>,
        condition: Option<&str>,
    ) -> String {
        let names: Vec<String> = columns.iter().map(|column| dialect.quoted(column)).collect();
        let mut asked: Vec<String> = slice.iter().map(|slice| (*slice).to_string()).collect();
        asked.push("count(*)".into());
        match dialect {
            Dialect::Postgres => {
                // Not every type has a largest value; the sum of hashes has them all.
                let has_largest =
                    |column: &&String| described.all.iter().any(|known| known.name == **column && !known.as_text && has_order(known));
                let largest = columns.iter().filter(has_largest).map(|column| format!("max({})::text", dialect.quoted(column)));
                asked.extend(largest);
                let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
                let whole = if texts.len() == 1 { texts[0].clone() } else { format!("ROW({})::text", texts.join(", ")) };
                asked.push(format!("sum(hashtextextended(coalesce({whole}, 'null'), 0)::numeric)::text"));
            }
            _ => {
                asked.extend(names.iter().map(|name| format!("max({name})")));
                let parts: Vec<String> =
                    names.iter().map(|name| format!("IF({name} IS NULL, 'n', CONCAT(LENGTH({name}), ':', {name}))")).collect();
                let hash =
                    |from: u32| format!("SUM(CAST(CONV(SUBSTR(MD5(CONCAT({})), {from}, 15), 16, 10) AS UNSIGNED))", parts.join(", "));
                asked.extend([hash(1), hash(16)]);
            }
        }
        let group = if slice.is_some() { " GROUP BY 1" } else { "" };
        format!("SELECT {} FROM {}{}{group}", asked.join(", "), self.relation.from(dialect), self.filter(condition))
    }
}

fn has_order(column: &Column) -> bool {
    !matches!(column.kind, Type::Boolean | Type::List(_) | Type::Binary)
}

fn digest_of(answer: &Texts) -> Fingerprint {
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

/// What nothing vouches for is read anew each time.
pub(super) fn unknown() -> Fingerprint {
    number(since_1970() ^ u128::from(std::process::id()))
}

/// The digest of a number.
pub(super) fn number(number: u128) -> Fingerprint {
    Fingerprint::of_bytes(&number.to_le_bytes())
}

fn since_1970() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}
