//! The history of runs: what `hygge log` shows, and the sets that `hygge restore` can publish
//! again.

use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row};

use super::CacheError;
use super::index::{Index, index_error};
use crate::fs::{DiskChange, apply_change_async};
use crate::store::StoreId;
use crate::store::receipt::PublishedSet;

/// How many runs are remembered.
pub const MAX_RUNS: i64 = 1000;

/// A number that no run comes to.
const RUN_NUMBER_LIMIT: i64 = 1 << 48;

/// How many sets of each store are remembered.
pub const MAX_SETS: i64 = 10;

/// One run of `hygge build` or `hygge restore` that had something to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its number, from 1, in the order in which runs began.
    pub run: i64,
    /// The project.
    pub project: String,
    /// When it began, in RFC 3339.
    pub began: String,
    /// When it ended; none where it was killed, or has not ended yet.
    pub ended: Option<String>,
    /// How its flows ended.
    pub flows: Vec<FlowRun>,
}

/// How a flow ended in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowRun {
    /// The flow.
    pub flow: String,
    /// `built`, `restored`, `failed` or `skipped`.
    pub outcome: String,
    /// Why it ran, as `--dry-run --format json` has it.
    pub reasons: Vec<Value>,
    /// The same in words.
    pub why: Vec<String>,
    /// Parts that were made.
    pub parts_made: u64,
    /// Parts that were at hand.
    pub parts_kept: u64,
    /// Rows of the set.
    pub rows: u64,
    /// Bytes of the set.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// What to do, where that is known. Earlier versions did not write it down.
    #[serde(default)]
    pub hint: Option<String>,
    /// How often it was tried again.
    #[serde(default)]
    pub retries: u64,
    /// Its place among the flows of its run, in the order in which they ended.
    #[serde(default)]
    pub number: u64,
}

/// A set that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSet {
    /// The run that made it.
    pub run: i64,
    /// The set.
    pub published: PublishedSet,
}

impl Index {
    /// Writes down that a run begins; gives its number. The oldest runs are forgotten.
    pub async fn begin_run(&self, project: &str, now: &str) -> Result<i64, CacheError> {
        let mut connection = self.connection.lock().await;
        let fail = index_error(self.path());
        // Runs are numbered from 1: one that nobody reaches is none of hygge's, and behind the last
        // there is no room for another. It is asked outside of the transaction: one that begins by
        // reading is refused as soon as somebody else has written.
        let last = "SELECT max(coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'run'), 0), coalesce((SELECT max(id) FROM run), 0))";
        let last: i64 = sqlx::query_scalar(last)
            .fetch_one(&mut *connection)
            .await
            .map_err(&fail)?;
        if !(0..RUN_NUMBER_LIMIT).contains(&last) {
            return Err(fail(sqlx::Error::Protocol(
                "its runs have numbers that hygge gives none".into(),
            )));
        }
        let mut transaction = connection.begin().await.map_err(&fail)?;
        let begun = sqlx::query("INSERT INTO run (project, began) VALUES (?, ?)")
            .bind(project)
            .bind(now)
            .execute(&mut *transaction)
            .await;
        let run = begun.map_err(&fail)?.last_insert_rowid();
        for table in [
            "DELETE FROM run WHERE id <= ?",
            "DELETE FROM flow_run WHERE run <= ?",
        ] {
            sqlx::query(table)
                .bind(run - MAX_RUNS)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        apply_change_async(DiskChange::Commit(self.path()), transaction.commit())
            .await
            .map_err(&fail)?;
        Ok(run)
    }

    /// The number of the run that began last; 0 where none did.
    pub async fn last_run(&self) -> Result<i64, CacheError> {
        let mut connection = self.connection.lock().await;
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM run")
            .fetch_one(&mut *connection)
            .await
            .map_err(index_error(self.path()))?;
        Ok(last.unwrap_or_default())
    }

    /// The last run of a project before this one, if it was killed.
    pub async fn killed_run(&self, project: &str, before: i64) -> Result<Option<i64>, CacheError> {
        let mut connection = self.connection.lock().await;
        let last = "SELECT CASE WHEN ended IS NULL THEN id END FROM run WHERE project = ? AND id < ? ORDER BY id DESC LIMIT 1";
        let query = sqlx::query_scalar(last).bind(project).bind(before);
        let killed: Option<Option<i64>> = query
            .fetch_optional(&mut *connection)
            .await
            .map_err(index_error(self.path()))?;
        Ok(killed.flatten())
    }

    /// Writes down that a run has ended.
    pub async fn end_run(&self, run: i64, now: &str) -> Result<(), CacheError> {
        let mut connection = self.connection.lock().await;
        let ended = sqlx::query("UPDATE run SET ended = ? WHERE id = ?")
            .bind(now)
            .bind(run)
            .execute(&mut *connection)
            .await;
        ended.map(drop).map_err(index_error(self.path()))
    }

    /// The flows that runs of a project had to do with, whatever became of them.
    pub async fn flows(&self, project: &str) -> Result<Vec<String>, CacheError> {
        let mut connection = self.connection.lock().await;
        let query = "SELECT DISTINCT flow FROM flow_run WHERE run IN (SELECT id FROM run WHERE project = ?) ORDER BY flow";
        sqlx::query_scalar(query)
            .bind(project)
            .fetch_all(&mut *connection)
            .await
            .map_err(index_error(self.path()))
    }

    /// The last runs of a project, or those of them that had to do with one of these flows, the
    /// newest first.
    pub async fn runs(
        &self,
        project: &str,
        flows: Option<&[String]>,
        most: i64,
    ) -> Result<Vec<Run>, CacheError> {
        let flows = flows.map(|flows| Value::from(flows).to_string());
        let mut connection = self.connection.lock().await;
        let fail = index_error(self.path());
        let query = "SELECT id, began, ended FROM run WHERE project = ?1
            AND (?2 IS NULL OR EXISTS (SELECT 1 FROM flow_run WHERE run = id AND flow IN (SELECT value FROM json_each(?2)))) ORDER BY id DESC LIMIT ?3";
        let rows = sqlx::query(query)
            .bind(project)
            .bind(&flows)
            .bind(most)
            .fetch_all(&mut *connection)
            .await
            .map_err(&fail)?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let run = row.try_get(0).map_err(&fail)?;
            let records: Vec<String> = sqlx::query_scalar(
                "SELECT record FROM flow_run WHERE run = ?1 AND (?2 IS NULL OR flow IN (SELECT value FROM json_each(?2))) ORDER BY flow",
            )
            .bind(run)
            .bind(&flows)
            .fetch_all(&mut *connection)
            .await
            .map_err(&fail)?;
            let mut flows: Vec<FlowRun> = records
                .iter()
                .filter_map(|record| serde_json::from_str(record).ok())
                .collect();
            // Causes stand before what they caused.
            flows.sort_by_key(|flow| flow.number);
            let (began, ended) = (
                row.try_get(1).map_err(&fail)?,
                row.try_get(2).map_err(&fail)?,
            );
            runs.push(Run {
                run,
                project: project.to_string(),
                began,
                ended,
                flows,
            });
        }
        Ok(runs)
    }

    /// Every set that is remembered.
    pub async fn all_past_sets(&self) -> Result<Vec<PublishedSet>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows: Result<Vec<Vec<u8>>, _> = sqlx::query_scalar("SELECT record FROM past_set")
            .fetch_all(&mut *connection)
            .await;
        let rows = rows.map_err(index_error(self.path()))?;
        Ok(rows.iter().filter_map(|record| parse_set(record)).collect())
    }

    /// The sets that were published to a store, the newest first.
    pub async fn past_sets(&self, store: &StoreId) -> Result<Vec<PastSet>, CacheError> {
        let mut connection = self.connection.lock().await;
        let query =
            sqlx::query("SELECT run, record FROM past_set WHERE store = ? ORDER BY run DESC");
        let store = self.history_key(store);
        let rows = query
            .bind(store.as_os_str().as_bytes())
            .fetch_all(&mut *connection)
            .await
            .map_err(index_error(self.path()))?;
        let past = |row: SqliteRow| {
            let record: &[u8] = row.try_get(1).ok()?;
            Some(PastSet {
                run: row.try_get(0).ok()?,
                published: parse_set(record)?,
            })
        };
        Ok(rows.into_iter().filter_map(past).collect())
    }
}

/// A set as it was written; one that hygge did not write is as good as none.
fn parse_set(record: &[u8]) -> Option<PublishedSet> {
    serde_json::from_slice(record)
        .ok()
        .filter(|set: &PublishedSet| set.check().is_ok())
}
