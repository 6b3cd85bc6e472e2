//! The index: one SQLite file that says what was made from what, so that nothing is read again.
//!
//! Everything in it can be found out again: receipts are in the stores, digests and layouts in the
//! files, and a part that is not recorded is made again. So a damaged index is set aside.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::Mutex;

use super::CacheError;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::FolderMemo;
use crate::format::{Format, Layout};
use crate::fs::{self, Stat};
use crate::store::receipt::Receipt;

/// The version of the tables and of the records in them. Version 1: the first. Version 2: stores
/// with their witnesses, so that a build with nothing to do loads no receipts and no memos. Version 3:
/// receipts say where their folder is, layouts whether a file is encrypted.
const VERSION: i64 = 3;

/// What SQLite says of a file that is damaged (11) or none of its own (26): <https://www.sqlite.org/rescode.html>.
const DAMAGED: &[u32] = &[11, 26];

/// How long another process may write before it is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys in one query; SQLite allows many more.
const ASKED_AT_ONCE: usize = 500;

const TABLES: &str = "
    CREATE TABLE store (path BLOB PRIMARY KEY, project TEXT NOT NULL, flow TEXT NOT NULL, witness BLOB) WITHOUT ROWID;
    CREATE TABLE receipt (store BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE memo (folder BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE part (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE layout (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
";

/// The open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    /// True where there was none, or it was set aside.
    pub is_new: bool,
    connection: Mutex<SqliteConnection>,
}

/// A receipt as it was when its file looked like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedReceipt {
    /// How the receipt's file looked.
    pub stat: Stat,
    /// The receipt.
    pub receipt: Arc<Receipt>,
}

/// What is known of a store without its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStore {
    /// The project that published there last.
    pub project: String,
    /// Its flow.
    pub flow: String,
    /// What vouches for the flow, if it was found fresh since.
    pub witness: Option<Fingerprint>,
}

/// What is known of a part that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The digest of its bytes, which is its name in staging.
    pub digest: Fingerprint,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Parts by their key.
    pub parts: Vec<(Fingerprint, PartRecord)>,
    /// Layouts by [`layout_key`].
    pub layouts: Vec<(Fingerprint, Layout)>,
    /// Receipts by store; `None` forgets one.
    pub receipts: Vec<(PathBuf, Option<IndexedReceipt>)>,
    /// Memos by folder.
    pub memos: Vec<(PathBuf, FolderMemo)>,
    /// Witnesses by store; one whose receipt is in the same batch belongs to the new receipt.
    pub witnesses: Vec<(PathBuf, Fingerprint)>,
}

impl Batch {
    /// True where there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.layouts.is_empty() && self.receipts.is_empty() && self.memos.is_empty() && self.witnesses.is_empty()
    }

    /// Adds the changes of another batch.
    pub fn append(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
        self.layouts.append(&mut other.layouts);
        self.receipts.append(&mut other.receipts);
        self.memos.append(&mut other.memos);
        self.witnesses.append(&mut other.witnesses);
    }
}

/// What a layout is kept under: the format, its version and the file's digest.
pub fn layout_key(format: &dyn Format, file: &Fingerprint) -> Fingerprint {
    let mut bytes = file.as_bytes().to_vec();
    bytes.extend(format!("{} {}", format.name(), format.version()).into_bytes());
    Fingerprint::of_bytes(&bytes)
}

impl Index {
    /// Opens the index; one that is damaged or of an old version is set aside, and a new one begun.
    /// Gives every store that is known, too.
    pub async fn open(path: &Path) -> Result<(Self, HashMap<PathBuf, KnownStore>), CacheError> {
        let missing = fs::stat(path)?.is_none();
        match Self::read(path, missing).await {
            Err(CacheError::Index { is_damaged: true, .. }) if !missing => {
                set_aside(path)?;
                Self::read(path, true).await
            }
            other => other,
        }
    }

    async fn read(path: &Path, is_new: bool) -> Result<(Self, HashMap<PathBuf, KnownStore>), CacheError> {
        let index = Self { path: path.to_path_buf(), is_new, connection: Mutex::new(Self::connect(path).await?) };
        let stores = index.stores().await?;
        Ok((index, stores))
    }

    async fn connect(path: &Path) -> Result<SqliteConnection, CacheError> {
        // With WAL, `NORMAL` keeps the index whole in a power cut and loses at most the last
        // records, which are found again: no sync for each of them.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let fail = failed(path);
        let mut connection = options.connect().await.map_err(&fail)?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(&fail)?;
        match version {
            VERSION => {}
            0 => {
                let setup = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT");
                sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(&mut connection).await.map_err(&fail)?;
            }
            found if found < VERSION => {
                let reason = format!("it has the old version {found}");
                return Err(CacheError::Index { path: path.to_path_buf(), reason, is_damaged: true });
            }
            found => return Err(CacheError::Newer { path: path.to_path_buf(), found, known: VERSION }),
        }
        Ok(connection)
    }

    async fn stores(&self) -> Result<HashMap<PathBuf, KnownStore>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT path, project, flow, witness FROM store").fetch_all(&mut *connection).await;
        let known = rows.map_err(failed(&self.path))?.into_iter().filter_map(|row| {
            let witness: Option<&[u8]> = row.try_get(3).ok()?;
            let witness = witness.and_then(|bytes| bytes.try_into().ok()).map(Fingerprint::from_bytes);
            Some((path(row.try_get(0).ok()?), KnownStore { project: row.try_get(1).ok()?, flow: row.try_get(2).ok()?, witness }))
        });
        Ok(known.collect())
    }

    /// Every receipt.
    pub async fn receipts(&self) -> Result<HashMap<PathBuf, IndexedReceipt>, CacheError> {
        self.table("SELECT store, record FROM receipt").await
    }

    /// Every memo.
    pub async fn memos(&self) -> Result<HashMap<PathBuf, FolderMemo>, CacheError> {
        self.table("SELECT folder, record FROM memo").await
    }

    async fn table<T: DeserializeOwned>(&self, query: &'static str) -> Result<HashMap<PathBuf, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(query).fetch_all(&mut *connection).await.map_err(failed(&self.path))?;
        let record = |row: SqliteRow| Some((path(row.try_get(0).ok()?), postcard::from_bytes(row.try_get(1).ok()?).ok()?));
        Ok(rows.into_iter().filter_map(record).collect())
    }

    /// The receipt of a store.
    pub async fn receipt(&self, store: &Path) -> Result<Option<IndexedReceipt>, CacheError> {
        self.record("SELECT record FROM receipt WHERE store = ?", store.as_os_str().as_bytes()).await
    }

    /// The memo of a folder.
    pub async fn memo(&self, folder: &Path) -> Result<Option<FolderMemo>, CacheError> {
        self.record("SELECT record FROM memo WHERE folder = ?", folder.as_os_str().as_bytes()).await
    }

    /// The parts that were made under these keys.
    pub async fn parts(&self, keys: &[Fingerprint]) -> Result<HashMap<Fingerprint, PartRecord>, CacheError> {
        self.records("SELECT key, record FROM part WHERE key IN (", keys).await
    }

    /// The layouts under these [`layout_key`]s.
    pub async fn layouts(&self, keys: &[Fingerprint]) -> Result<HashMap<Fingerprint, Layout>, CacheError> {
        self.records("SELECT key, record FROM layout WHERE key IN (", keys).await
    }

    async fn records<T: DeserializeOwned>(&self, query: &str, keys: &[Fingerprint]) -> Result<HashMap<Fingerprint, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let mut found = HashMap::new();
        for keys in keys.chunks(ASKED_AT_ONCE) {
            let mut builder = QueryBuilder::<Sqlite>::new(query);
            let mut values = builder.separated(", ");
            for key in keys {
                values.push_bind(key.as_bytes().to_vec());
            }
            values.push_unseparated(")");
            let rows = builder.build().fetch_all(&mut *connection).await.map_err(failed(&self.path))?;
            found.extend(rows.into_iter().filter_map(|row| {
                let key: &[u8] = row.try_get(0).ok()?;
                Some((Fingerprint::from_bytes(key.try_into().ok()?), postcard::from_bytes(row.try_get(1).ok()?).ok()?))
            }));
        }
        Ok(found)
    }

    /// One record; one that cannot be read is as good as none.
    async fn record<T: DeserializeOwned>(&self, query: &'static str, key: &[u8]) -> Result<Option<T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let bytes: Option<Vec<u8>> =
            sqlx::query_scalar(query).bind(key).fetch_optional(&mut *connection).await.map_err(failed(&self.path))?;
        Ok(bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()))
    }

    /// Writes changes, all or none of them.
    pub async fn apply(&self, batch: Batch) -> Result<(), CacheError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().await;
        let fail = failed(&self.path);
        let mut transaction = connection.begin().await.map_err(&fail)?;
        for write in writes(&batch) {
            let mut query = sqlx::query(write.query);
            for value in write.values {
                query = query.bind(value);
            }
            query.execute(&mut *transaction).await.map_err(&fail)?;
        }
        transaction.commit().await.map_err(&fail)
    }

    /// Ends the connection, which folds the write-ahead log into the file.
    pub async fn close(self) -> Result<(), CacheError> {
        self.connection.into_inner().close().await.map_err(failed(&self.path))
    }
}

/// A statement with its values.
struct Write {
    query: &'static str,
    values: Vec<Vec<u8>>,
}

fn writes(batch: &Batch) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut put = |query, values| writes.push(Write { query, values });
    let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
    for (key, record) in &batch.parts {
        put("INSERT OR REPLACE INTO part VALUES (?, ?)", vec![key.as_bytes().to_vec(), encode(record)]);
    }
    for (key, record) in &batch.layouts {
        put("INSERT OR REPLACE INTO layout VALUES (?, ?)", vec![key.as_bytes().to_vec(), encode(record)]);
    }
    for (store, record) in &batch.receipts {
        let Some(record) = record else {
            put("DELETE FROM receipt WHERE store = ?", vec![path(store)]);
            put("DELETE FROM store WHERE path = ?", vec![path(store)]);
            continue;
        };
        let owner = &record.receipt;
        put("INSERT OR REPLACE INTO receipt VALUES (?, ?)", vec![path(store), encode(record)]);
        put(
            "INSERT OR REPLACE INTO store VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), NULL)",
            vec![path(store), owner.project.clone().into_bytes(), owner.flow.clone().into_bytes()],
        );
    }
    for (folder, record) in &batch.memos {
        put("INSERT OR REPLACE INTO memo VALUES (?, ?)", vec![path(folder), encode(record)]);
    }
    for (store, witness) in &batch.witnesses {
        put("UPDATE store SET witness = ? WHERE path = ?", vec![witness.as_bytes().to_vec(), path(store)]);
    }
    writes
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// The compact form of a record. Records are plain data, which postcard can always write.
fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_stdvec(record).unwrap_or_default()
}

fn failed(path: &Path) -> impl Fn(sqlx::Error) -> CacheError {
    move |error| {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        // Extended codes have the plain one in their lowest byte.
        let code = code.parse::<u32>().map_or(0, |code| code & 0xff);
        CacheError::Index { path: path.to_path_buf(), reason: error.to_string(), is_damaged: DAMAGED.contains(&code) }
    }
}

/// Renames a damaged index, with what SQLite keeps beside it.
fn set_aside(path: &Path) -> Result<(), CacheError> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    fs::rename(path, &beside(".damaged"))?;
    fs::remove_file(&beside("-wal"))?;
    fs::remove_file(&beside("-shm"))?;
    Ok(())
}
