//! The index: one SQLite file that says what was made from what, so that nothing is read again.
//!
//! Everything in it but the history can be found out again: receipts are in the stores, digests and
//! layouts in the files, parts in the ledger. So a damaged index is set aside, and a new one begun.

mod batch;
mod tables;

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

pub use batch::Batch;

use super::CacheError;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::FolderMemo;
use crate::format::{Format, Layout};
use crate::fs::{self, BESIDE, FsError, Stat, Step, own, step_async, with_ending};
use crate::store::receipt::Receipt;

/// What SQLite says of a file that is damaged (11) or none of its own (26), and of one whose tables
/// are others than those that are asked for: they are not there (1), hold other values (19, 20), or
/// larger ones than can be (18): <https://www.sqlite.org/rescode.html>.
const DAMAGED: &[u32] = &[1, 11, 18, 19, 20, 26];

/// What it says where there is no room.
const FULL: u32 = 13;

/// What the name of one that was set aside ends with.
pub(super) const DAMAGED_NAME: &str = ".damaged";

/// What it says of a file that is shorter than its head says.
const SHORT_READ: u32 = 522;

/// How long another process may write before it is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys in one query; SQLite allows many more.
const ASKED_AT_ONCE: usize = 500;

/// The open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    /// Why it was begun anew, if it was.
    pub begun: Option<Begun>,
    /// Every store that was known when it was opened.
    pub stores: HashMap<PathBuf, KnownStore>,
    /// The folder from which the history calls stores.
    root: PathBuf,
    pub(super) connection: Mutex<SqliteConnection>,
}

/// Where an index is, and what may be done there.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// It is made where it is missing, mended where it is damaged, and written to.
    Writable {
        /// Its file.
        path: &'a Path,
        /// True where other machines may use it too.
        is_network: bool,
    },
    /// It is only read; where it is missing, an empty one is taken that is nowhere.
    ReadOnly(&'a Path),
}

impl<'a> Place<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::Writable { path, .. } | Self::ReadOnly(path) => path,
        }
    }
}

/// Why an index was begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There was none.
    Missing,
    /// The one that was there could not be used, and has this name now.
    Damaged(PathBuf),
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
    /// True where its flow is the entity of a pattern that does not find it any more, and nobody
    /// misses it.
    pub is_given_up: bool,
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

/// No part has more rows or bytes, and all of a set can be counted.
const LARGEST: u64 = (u32::MAX as u64) << 16;

impl PartRecord {
    /// True where its numbers can be those of a part; of the others, nothing is believed.
    pub(super) fn can_be(&self) -> bool {
        self.rows <= LARGEST && self.bytes <= LARGEST
    }
}

/// The version of what a layout says. Version 2: columns as their values are, and what files have
/// in common that share parts. Version 3: how the file is built.
const LAYOUT: u32 = 3;

/// What a layout is kept under: the format, its version and its options, that of layouts and the
/// file's digest.
pub fn layout_key(format: &dyn Format, file: &Fingerprint) -> Fingerprint {
    let mut bytes = file.as_bytes().to_vec();
    // Layouts are found by what a format refuses, too, which changes with what it makes.
    bytes.extend(format!("{} {} {LAYOUT}", format.id(), format.made_version()).into_bytes());
    for (key, value) in format.settings() {
        bytes.extend(format!("\0{key}={value}").into_bytes());
    }
    Fingerprint::of_bytes(&bytes)
}

impl Index {
    /// Opens the index. One that is damaged or of an old version is set aside and a new one begun,
    /// unless nothing may be changed.
    pub async fn open(place: Place<'_>, root: &Path) -> Result<Self, CacheError> {
        let path = place.path();
        let exists = is_there(path)?;
        // Of one that is only read, nothing beside it is opened.
        let is_writable = matches!(place, Place::Writable { .. });
        // hygge works in one file at a time: a journal that names another is nobody's who means
        // well.
        if !(is_writable && fs::names_another_file(path)?) {
            match Self::connect(place, exists, root).await {
                Err(CacheError::Index {
                    is_damaged: true, ..
                }) if exists && is_writable => {}
                opened => return opened,
            }
        }
        let damaged = set_aside(path)?;
        let index = Self::connect(place, false, root).await?;
        Ok(Self {
            begun: Some(Begun::Damaged(damaged)),
            ..index
        })
    }

    async fn connect(place: Place<'_>, exists: bool, root: &Path) -> Result<Self, CacheError> {
        let path = place.path();
        let options = SqliteConnectOptions::new()
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let options = match place {
            // With WAL, `NORMAL` keeps the index whole in a power cut and loses at most the last
            // records, which are found again: no sync for each of them. WAL shares memory between
            // processes, which two machines cannot: <https://www.sqlite.org/wal.html>.
            Place::Writable { path, is_network } => {
                let journal = if is_network {
                    SqliteJournalMode::Truncate
                } else {
                    SqliteJournalMode::Wal
                };
                let options = options
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(journal);
                options.synchronous(SqliteSynchronous::Normal)
            }
            // Nobody can write to it, so that no log beside it matters.
            Place::ReadOnly(path) if exists => {
                options.filename(path).read_only(true).immutable(true)
            }
            Place::ReadOnly(_) => options.in_memory(true),
        };
        let fail = failed(path);
        let mut connection = options.connect().await.map_err(&fail)?;
        let found = if matches!(place, Place::ReadOnly(_)) && exists {
            tables::find(&mut connection).await
        } else {
            tables::set_up(&mut connection).await
        };
        let begun = match found.map_err(&fail)? {
            tables::Found::Ready => None,
            tables::Found::Empty => Some(Begun::Missing),
            tables::Found::TooOld(found) => {
                let reason = format!("it has the old version {found}");
                return Err(CacheError::Index {
                    path: path.to_path_buf(),
                    reason,
                    is_damaged: true,
                    is_full: false,
                });
            }
            tables::Found::Others => {
                let reason = "its tables are not those that hygge makes".to_string();
                return Err(CacheError::Index {
                    path: path.to_path_buf(),
                    reason,
                    is_damaged: true,
                    is_full: false,
                });
            }
            tables::Found::Newer(found) => {
                return Err(CacheError::Newer {
                    path: path.to_path_buf(),
                    found,
                    known: tables::VERSION,
                });
            }
        };
        let (path, root, connection) = (
            path.to_path_buf(),
            root.to_path_buf(),
            Mutex::new(connection),
        );
        let mut index = Self {
            path,
            begun,
            stores: HashMap::new(),
            root,
            connection,
        };
        // The first that every command asks for; what is damaged shows.
        index.stores = index.read_stores().await?;
        Ok(index)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How the history calls a store: by its path from the folder of the cache, so that a project
    /// that was moved has its history still.
    pub fn history_key(&self, store: &Path) -> PathBuf {
        store
            .strip_prefix(&self.root)
            .unwrap_or(store)
            .to_path_buf()
    }

    async fn read_stores(&self) -> Result<HashMap<PathBuf, KnownStore>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT path, project, flow, witness, is_given_up FROM store")
            .fetch_all(&mut *connection)
            .await;
        let known = rows
            .map_err(failed(&self.path))?
            .into_iter()
            .filter_map(|row| {
                let witness: Option<&[u8]> = row.try_get(3).ok()?;
                let witness = witness
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Fingerprint::from_bytes);
                let (project, flow, is_given_up) = (
                    row.try_get(1).ok()?,
                    row.try_get(2).ok()?,
                    row.try_get(4).ok()?,
                );
                Some((
                    path(row.try_get(0).ok()?),
                    KnownStore {
                        project,
                        flow,
                        witness,
                        is_given_up,
                    },
                ))
            });
        Ok(known.collect())
    }

    /// Every receipt.
    pub async fn receipts(&self) -> Result<HashMap<PathBuf, IndexedReceipt>, CacheError> {
        let mut receipts: HashMap<PathBuf, IndexedReceipt> =
            self.table("SELECT store, record FROM receipt").await?;
        receipts.retain(|_, indexed| indexed.receipt.check().is_ok());
        Ok(receipts)
    }

    /// Every memo.
    pub async fn memos(&self) -> Result<HashMap<PathBuf, FolderMemo>, CacheError> {
        self.table("SELECT folder, record FROM memo").await
    }

    async fn table<T: DeserializeOwned>(
        &self,
        query: &'static str,
    ) -> Result<HashMap<PathBuf, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(query)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed(&self.path))?;
        let record = |row: SqliteRow| {
            Some((
                path(row.try_get(0).ok()?),
                batch::decode(row.try_get(1).ok()?)?,
            ))
        };
        Ok(rows.into_iter().filter_map(record).collect())
    }

    /// The receipt of a store.
    pub async fn receipt(&self, store: &Path) -> Result<Option<IndexedReceipt>, CacheError> {
        let receipt = self
            .record(
                "SELECT record FROM receipt WHERE store = ?",
                store.as_os_str().as_bytes(),
            )
            .await?;
        Ok(receipt.filter(|indexed: &IndexedReceipt| indexed.receipt.check().is_ok()))
    }

    /// The memo of a folder.
    pub async fn memo(&self, folder: &Path) -> Result<Option<FolderMemo>, CacheError> {
        self.record(
            "SELECT record FROM memo WHERE folder = ?",
            folder.as_os_str().as_bytes(),
        )
        .await
    }

    /// The parts that were made under these keys.
    pub async fn parts(
        &self,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, PartRecord>, CacheError> {
        let parts = self
            .records("SELECT key, record FROM part WHERE key IN (", keys)
            .await?;
        Ok(parts
            .into_iter()
            .filter(|(_, part): &(_, PartRecord)| part.can_be())
            .collect())
    }

    /// The layouts under these [`layout_key`]s.
    pub async fn layouts(
        &self,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, Layout>, CacheError> {
        let layouts = self
            .records("SELECT key, record FROM layout WHERE key IN (", keys)
            .await?;
        Ok(layouts
            .into_iter()
            .filter(|(_, layout): &(_, Layout)| layout.adds_up())
            .collect())
    }

    async fn records<T: DeserializeOwned>(
        &self,
        query: &str,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let mut found = HashMap::new();
        for keys in keys.chunks(ASKED_AT_ONCE) {
            let mut builder = QueryBuilder::<Sqlite>::new(query);
            let mut values = builder.separated(", ");
            for key in keys {
                values.push_bind(key.as_bytes().to_vec());
            }
            values.push_unseparated(")");
            let rows = builder
                .build()
                .fetch_all(&mut *connection)
                .await
                .map_err(failed(&self.path))?;
            found.extend(rows.into_iter().filter_map(keyed));
        }
        Ok(found)
    }

    /// One record; one that cannot be read is as good as none.
    async fn record<T: DeserializeOwned>(
        &self,
        query: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let bytes: Option<Vec<u8>> = sqlx::query_scalar(query)
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed(&self.path))?;
        Ok(bytes.and_then(|bytes| batch::decode(&bytes)))
    }

    /// Writes changes, all or none of them.
    pub async fn apply(&self, batch: Batch) -> Result<(), CacheError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().await;
        let fail = failed(&self.path);
        let mut transaction = connection.begin().await.map_err(&fail)?;
        for write in batch::writes(&batch) {
            let mut query = sqlx::query(write.query);
            for value in write.values {
                query = query.bind(value);
            }
            query.execute(&mut *transaction).await.map_err(&fail)?;
        }
        step_async(Step::Commit(&self.path), transaction.commit())
            .await
            .map_err(&fail)
    }

    /// Every part with its key.
    pub async fn all_parts(&self) -> Result<HashMap<Fingerprint, PartRecord>, CacheError> {
        let parts = self.all("SELECT key, record FROM part").await?;
        Ok(parts
            .into_iter()
            .filter(|(_, part): &(_, PartRecord)| part.can_be())
            .collect())
    }

    /// The keys of all layouts.
    pub async fn all_layouts(&self) -> Result<Vec<Fingerprint>, CacheError> {
        Ok(self
            .all::<Layout>("SELECT key, record FROM layout")
            .await?
            .into_keys()
            .collect())
    }

    async fn all<T: DeserializeOwned>(
        &self,
        query: &'static str,
    ) -> Result<HashMap<Fingerprint, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(query)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed(&self.path))?;
        Ok(rows.into_iter().filter_map(keyed).collect())
    }

    /// Forgets parts, layouts and memos: they are found out again if they are asked for.
    pub async fn forget(
        &self,
        parts: &[Fingerprint],
        layouts: &[Fingerprint],
        memos: &[PathBuf],
    ) -> Result<(), CacheError> {
        let keys = |query: &'static str, keys: &[Fingerprint]| {
            keys.iter()
                .map(|key| (query, key.as_bytes().to_vec()))
                .collect::<Vec<_>>()
        };
        let mut all = keys("DELETE FROM part WHERE key = ?", parts);
        all.extend(keys("DELETE FROM layout WHERE key = ?", layouts));
        all.extend(memos.iter().map(|folder| {
            (
                "DELETE FROM memo WHERE folder = ?",
                folder.as_os_str().as_bytes().to_vec(),
            )
        }));
        if all.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().await;
        let fail = failed(&self.path);
        let mut transaction = connection.begin().await.map_err(&fail)?;
        for (query, value) in all {
            sqlx::query(query)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        step_async(Step::Commit(&self.path), transaction.commit())
            .await
            .map_err(&fail)
    }

    /// Ends the connection, which folds the write-ahead log into the file.
    pub async fn close(self) -> Result<(), CacheError> {
        self.connection
            .into_inner()
            .close()
            .await
            .map_err(failed(&self.path))
    }
}

/// A record with its key; one that cannot be read is as good as none.
fn keyed<T: DeserializeOwned>(row: SqliteRow) -> Option<(Fingerprint, T)> {
    let key: &[u8] = row.try_get(0).ok()?;
    Some((
        Fingerprint::from_bytes(key.try_into().ok()?),
        batch::decode(row.try_get(1).ok()?)?,
    ))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

pub(super) fn failed(path: &Path) -> impl Fn(sqlx::Error) -> CacheError {
    move |error| {
        if let sqlx::Error::Io(words) = &error
            && words.kind() == std::io::ErrorKind::WouldBlock
        {
            return CacheError::Threads(words.to_string());
        }
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .unwrap_or_default();
        // Extended codes have the plain one in their lowest byte.
        let code = code.parse::<u32>().unwrap_or_default();
        // What is damaged lets SQLite's driver panic too, and answers what nobody asked for.
        let is_damaged = match &error {
            sqlx::Error::Database(_) => DAMAGED.contains(&(code & 0xff)) || code == SHORT_READ,
            sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. } => true,
            sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::RowNotFound => true,
            _ => false,
        };
        CacheError::Index {
            path: path.to_path_buf(),
            reason: error.to_string(),
            is_damaged,
            is_full: code == FULL,
        }
    }
}

/// True where a file of the index is there.
fn is_there(path: &Path) -> Result<bool, FsError> {
    match own::stat(path)? {
        Some(found) if found.is_file => Ok(true),
        // What it is instead is an error of its own.
        Some(_) => own::open(path).map(|_| true),
        None => Ok(false),
    }
}

/// Renames a damaged index, and removes what SQLite keeps beside it.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, CacheError> {
    let mut damaged = with_ending(path, DAMAGED_NAME);
    if own::stat(&damaged)?.is_some_and(|found| !found.is_file) {
        // A folder is nothing that a file takes the place of.
        damaged = fs::free_name(
            path.parent().unwrap_or(path),
            &damaged.file_name().unwrap_or_default().to_string_lossy(),
        );
    }
    if own::stat(path)?.is_some() {
        fs::rename(path, &damaged)?;
    }
    for ending in BESIDE {
        fs::remove_file(&with_ending(path, ending))?;
    }
    Ok(damaged)
}
