//! The index: one SQLite file that says what was made from what, so that nothing is read again.
//!
//! Everything in it but the history can be found out again: receipts are in the stores, digests and
//! layouts in the files, parts in the ledger. So a damaged index is set aside, and a new one begun.

mod changes;
mod tables;

use std::collections::{BTreeMap, HashMap};
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

pub use changes::IndexChanges;

use super::CacheError;
use crate::config::table_patterns::TableSource;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::FolderMemo;
use crate::format::inference::{FactsOf, FileFacts};
use crate::format::{Format, Layout};
use crate::fs::{
    self, DiskChange, FsError, SQLITE_SUFFIXES, apply_change_async, nofollow, with_suffix,
};
use crate::home::is_partition_path;
use crate::storage::Version;
use crate::store::StoreId;
use crate::store::receipt::Receipt;

/// What SQLite says of a file that is damaged (11) or none of its own (26), and of one whose tables
/// are others than those that are asked for: they are not there (1), hold other values (19, 20), or
/// larger ones than can be (18): <https://www.sqlite.org/rescode.html>.
const DAMAGE_CODES: &[u32] = &[1, 11, 18, 19, 20, 26];

/// What it says where there is no room.
const FULL_CODE: u32 = 13;

/// What the name of one that was set aside ends with.
pub(super) const DAMAGED_SUFFIX: &str = ".damaged";

/// What it says of a file that is shorter than its head says.
const SHORT_READ: u32 = 522;

/// How long another process may write before it is an error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Keys in one query; SQLite allows many more.
const KEYS_PER_QUERY: usize = 500;

/// The open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    /// Why it was begun anew, if it was.
    pub reset: Option<IndexReset>,
    /// True where it was that of an older hygge, whose receipts are read again where they stand.
    pub is_migrated: bool,
    /// Every store that was known when it was opened.
    pub stores: HashMap<StoreId, KnownStore>,
    /// The folder from which the history calls stores.
    root: PathBuf,
    pub(super) connection: Mutex<SqliteConnection>,
}

/// Where an index is, and what may be done there.
#[derive(Clone, Copy, Debug)]
pub enum IndexLocation<'a> {
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

impl<'a> IndexLocation<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::Writable { path, .. } | Self::ReadOnly(path) => path,
        }
    }
}

/// Why an index was begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexReset {
    /// There was none.
    Missing,
    /// The one that was there could not be used, and has this name now.
    Damaged(PathBuf),
}

/// A receipt as it was when it had this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedReceipt {
    /// What tells that it has changed.
    pub version: Version,
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
    /// The digest of the stats by which the flow was last found fresh.
    pub stat_digest: Option<Fingerprint>,
    /// True where its flow is the entity of a pattern that does not find it any more, and nobody
    /// misses it.
    pub is_loss_accepted: bool,
}

/// What is known of a part that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The digest of its bytes, which is its name in staging.
    pub digest: Fingerprint,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// The folder of its store that its rows belong to, as `country=DE`; empty for the store's own.
    pub folder: String,
}

/// No part has more rows or bytes, and all of a set can be counted.
const MAX_COUNT: u64 = (u32::MAX as u64) << 16;

impl PartRecord {
    /// A part for the folder of its store itself.
    pub fn new(digest: Fingerprint, rows: u64, bytes: u64) -> Self {
        Self {
            digest,
            rows,
            bytes,
            folder: String::new(),
        }
    }

    /// True where its numbers and its folder can be those of a part; of the others, nothing is
    /// believed.
    pub(super) fn is_plausible(&self) -> bool {
        let has_folder = self.folder.is_empty() || is_partition_path(&self.folder);
        self.rows <= MAX_COUNT && self.bytes <= MAX_COUNT && has_folder
    }
}

/// The version of what a layout says. Version 2: columns as their values are, and what files have
/// in common that share parts. Version 3: how the file is built. Version 4: whether its rows are
/// known.
const LAYOUT_VERSION: u32 = 4;

/// What facts are kept under, beside the layout of their file. Those of its beginning stay what they
/// are, whatever else was found in it.
pub fn facts_key(format: &dyn Format, file: &Fingerprint, of: FactsOf) -> Fingerprint {
    let layout = layout_key(format, file);
    let what: &[u8] = match of {
        FactsOf::Beginning => b"facts 1 of the beginning",
        FactsOf::All => b"facts 1 of all",
    };
    Fingerprint::hash_bytes(&[layout.as_bytes().as_slice(), what].concat())
}

/// What a layout is kept under: the format, its version and its options, that of layouts and the
/// file's digest.
pub fn layout_key(format: &dyn Format, file: &Fingerprint) -> Fingerprint {
    let mut bytes = file.as_bytes().to_vec();
    // Layouts are found by what a format refuses, too, which changes with what it makes.
    bytes.extend(
        format!(
            "{} {} {LAYOUT_VERSION}",
            format.id(),
            format.output_version()
        )
        .into_bytes(),
    );
    for (key, value) in format.settings() {
        bytes.extend(format!("\0{key}={value}").into_bytes());
    }
    Fingerprint::hash_bytes(&bytes)
}

impl Index {
    /// Opens the index. One that is damaged or of an old version is set aside and a new one begun,
    /// unless nothing may be changed.
    pub async fn open(place: IndexLocation<'_>, root: &Path) -> Result<Self, CacheError> {
        let path = place.path();
        let exists = index_exists(path)?;
        // Of one that is only read, nothing beside it is opened.
        let is_writable = matches!(place, IndexLocation::Writable { .. });
        // hygge works in one file at a time: a journal that names another is nobody's who means
        // well.
        if !(is_writable && fs::has_super_journal(path)?) {
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
            reset: Some(IndexReset::Damaged(damaged)),
            ..index
        })
    }

    async fn connect(
        place: IndexLocation<'_>,
        exists: bool,
        root: &Path,
    ) -> Result<Self, CacheError> {
        let path = place.path();
        let options = SqliteConnectOptions::new()
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let options = match place {
            // With WAL, `NORMAL` keeps the index whole in a power cut and loses at most the last
            // records, which are found again: no sync for each of them. WAL shares memory between
            // processes, which two machines cannot: <https://www.sqlite.org/wal.html>.
            IndexLocation::Writable { path, is_network } => {
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
            IndexLocation::ReadOnly(path) if exists => {
                options.filename(path).read_only(true).immutable(true)
            }
            IndexLocation::ReadOnly(_) => options.in_memory(true),
        };
        let fail = index_error(path);
        let mut connection = options.connect().await.map_err(&fail)?;
        let found = if matches!(place, IndexLocation::ReadOnly(_)) && exists {
            tables::check_schema(&mut connection).await
        } else {
            tables::set_up(&mut connection).await
        };
        let state = found.map_err(&fail)?;
        let is_migrated = matches!(state, tables::SchemaState::Migrated);
        let begun = match state {
            tables::SchemaState::Ready | tables::SchemaState::Migrated => None,
            tables::SchemaState::Empty => Some(IndexReset::Missing),
            tables::SchemaState::TooOld(found) => {
                let reason = format!("it has the old version {found}");
                return Err(CacheError::Index {
                    path: path.to_path_buf(),
                    reason,
                    is_damaged: true,
                    is_full: false,
                });
            }
            tables::SchemaState::Foreign => {
                let reason = "its tables are not those that hygge makes".to_string();
                return Err(CacheError::Index {
                    path: path.to_path_buf(),
                    reason,
                    is_damaged: true,
                    is_full: false,
                });
            }
            tables::SchemaState::Newer(found) => {
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
            reset: begun,
            is_migrated,
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
    pub fn history_key(&self, store: &StoreId) -> PathBuf {
        let key = store.index_key();
        key.strip_prefix(&self.root).unwrap_or(&key).to_path_buf()
    }

    async fn read_stores(&self) -> Result<HashMap<StoreId, KnownStore>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT path, project, flow, witness, is_given_up FROM store")
            .fetch_all(&mut *connection)
            .await;
        let known = rows
            .map_err(index_error(&self.path))?
            .into_iter()
            .filter_map(|row| {
                let stat_digest: Option<&[u8]> = row.try_get(3).ok()?;
                let stat_digest = stat_digest
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Fingerprint::from_bytes);
                let (project, flow, is_given_up) = (
                    row.try_get(1).ok()?,
                    row.try_get(2).ok()?,
                    row.try_get(4).ok()?,
                );
                Some((
                    StoreId::from_index_key(path_from_bytes(row.try_get(0).ok()?)),
                    KnownStore {
                        project,
                        flow,
                        stat_digest,
                        is_loss_accepted: is_given_up,
                    },
                ))
            });
        Ok(known.collect())
    }

    /// Every receipt.
    pub async fn receipts(&self) -> Result<HashMap<StoreId, IndexedReceipt>, CacheError> {
        let receipts: HashMap<PathBuf, IndexedReceipt> = self
            .records_by_path("SELECT store, record FROM receipt")
            .await?;
        Ok(receipts
            .into_iter()
            .filter(|(_, indexed)| indexed.receipt.check().is_ok())
            .map(|(key, indexed)| (StoreId::from_index_key(key), indexed))
            .collect())
    }

    /// The tables of databases as they were last listed.
    pub async fn table_lists(&self) -> Result<BTreeMap<TableSource, Vec<String>>, CacheError> {
        let lists: HashMap<PathBuf, (TableSource, Vec<String>)> = self
            .records_by_path("SELECT source, record FROM table_list")
            .await?;
        Ok(lists.into_values().collect())
    }

    /// Every memo.
    pub async fn memos(&self) -> Result<HashMap<PathBuf, FolderMemo>, CacheError> {
        self.records_by_path("SELECT folder, record FROM memo")
            .await
    }

    async fn records_by_path<T: DeserializeOwned>(
        &self,
        query: &'static str,
    ) -> Result<HashMap<PathBuf, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(query)
            .fetch_all(&mut *connection)
            .await
            .map_err(index_error(&self.path))?;
        let record = |row: SqliteRow| {
            Some((
                path_from_bytes(row.try_get(0).ok()?),
                changes::decode(row.try_get(1).ok()?)?,
            ))
        };
        Ok(rows.into_iter().filter_map(record).collect())
    }

    /// The receipt of a store.
    pub async fn receipt(&self, store: &StoreId) -> Result<Option<IndexedReceipt>, CacheError> {
        let receipt = self
            .record_by_key(
                "SELECT record FROM receipt WHERE store = ?",
                store.index_key().as_os_str().as_bytes(),
            )
            .await?;
        Ok(receipt.filter(|indexed: &IndexedReceipt| indexed.receipt.check().is_ok()))
    }

    /// The memo of a folder.
    pub async fn memo(&self, folder: &Path) -> Result<Option<FolderMemo>, CacheError> {
        self.record_by_key(
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
            .records_by_keys("SELECT key, record FROM part WHERE key IN (", keys)
            .await?;
        Ok(parts
            .into_iter()
            .filter(|(_, part): &(_, PartRecord)| part.is_plausible())
            .collect())
    }

    /// The layouts under these [`layout_key`]s.
    pub async fn layouts(
        &self,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, Layout>, CacheError> {
        let layouts = self
            .records_by_keys("SELECT key, record FROM layout WHERE key IN (", keys)
            .await?;
        Ok(layouts
            .into_iter()
            .filter(|(_, layout): &(_, Layout)| layout.is_consistent())
            .collect())
    }

    /// What the values of files could be, under these [`facts_key`]s.
    pub async fn facts(
        &self,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, FileFacts>, CacheError> {
        self.records_by_keys("SELECT key, record FROM layout WHERE key IN (", keys)
            .await
    }

    async fn records_by_keys<T: DeserializeOwned>(
        &self,
        query: &str,
        keys: &[Fingerprint],
    ) -> Result<HashMap<Fingerprint, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let mut found = HashMap::new();
        for keys in keys.chunks(KEYS_PER_QUERY) {
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
                .map_err(index_error(&self.path))?;
            found.extend(rows.into_iter().filter_map(keyed_record));
        }
        Ok(found)
    }

    /// One record; one that cannot be read is as good as none.
    async fn record_by_key<T: DeserializeOwned>(
        &self,
        query: &'static str,
        key: &[u8],
    ) -> Result<Option<T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let bytes: Option<Vec<u8>> = sqlx::query_scalar(query)
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(index_error(&self.path))?;
        Ok(bytes.and_then(|bytes| changes::decode(&bytes)))
    }

    /// Writes changes, all or none of them.
    pub async fn apply(&self, batch: IndexChanges) -> Result<(), CacheError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().await;
        let fail = index_error(&self.path);
        let mut transaction = connection.begin().await.map_err(&fail)?;
        for write in changes::sql_writes(&batch) {
            let mut query = sqlx::query(write.query);
            for value in write.values {
                query = query.bind(value);
            }
            query.execute(&mut *transaction).await.map_err(&fail)?;
        }
        apply_change_async(DiskChange::Commit(&self.path), transaction.commit())
            .await
            .map_err(&fail)
    }

    /// Every part with its key.
    pub async fn all_parts(&self) -> Result<HashMap<Fingerprint, PartRecord>, CacheError> {
        let parts = self.all_records("SELECT key, record FROM part").await?;
        Ok(parts
            .into_iter()
            .filter(|(_, part): &(_, PartRecord)| part.is_plausible())
            .collect())
    }

    /// The keys of all layouts, also of those that an older hygge wrote and nobody reads.
    pub async fn all_layouts(&self) -> Result<Vec<Fingerprint>, CacheError> {
        let mut connection = self.connection.lock().await;
        let keys: Vec<Vec<u8>> = sqlx::query_scalar("SELECT key FROM layout")
            .fetch_all(&mut *connection)
            .await
            .map_err(index_error(&self.path))?;
        let keys = keys.into_iter().filter_map(|key| key.try_into().ok());
        Ok(keys.map(Fingerprint::from_bytes).collect())
    }

    async fn all_records<T: DeserializeOwned>(
        &self,
        query: &'static str,
    ) -> Result<HashMap<Fingerprint, T>, CacheError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(query)
            .fetch_all(&mut *connection)
            .await
            .map_err(index_error(&self.path))?;
        Ok(rows.into_iter().filter_map(keyed_record).collect())
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
        let fail = index_error(&self.path);
        let mut transaction = connection.begin().await.map_err(&fail)?;
        for (query, value) in all {
            sqlx::query(query)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        apply_change_async(DiskChange::Commit(&self.path), transaction.commit())
            .await
            .map_err(&fail)
    }

    /// Ends the connection, which folds the write-ahead log into the file.
    pub async fn close(self) -> Result<(), CacheError> {
        self.connection
            .into_inner()
            .close()
            .await
            .map_err(index_error(&self.path))
    }
}

/// A record with its key; one that cannot be read is as good as none.
fn keyed_record<T: DeserializeOwned>(row: SqliteRow) -> Option<(Fingerprint, T)> {
    let key: &[u8] = row.try_get(0).ok()?;
    Some((
        Fingerprint::from_bytes(key.try_into().ok()?),
        changes::decode(row.try_get(1).ok()?)?,
    ))
}

fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

pub(super) fn index_error(path: &Path) -> impl Fn(sqlx::Error) -> CacheError {
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
            sqlx::Error::Database(_) => DAMAGE_CODES.contains(&(code & 0xff)) || code == SHORT_READ,
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
            is_full: code == FULL_CODE,
        }
    }
}

/// True where a file of the index is there.
fn index_exists(path: &Path) -> Result<bool, FsError> {
    match nofollow::stat(path)? {
        Some(found) if found.is_file => Ok(true),
        // What it is instead is an error of its own.
        Some(_) => nofollow::open(path).map(|_| true),
        None => Ok(false),
    }
}

/// Renames a damaged index, and removes what SQLite keeps beside it.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, CacheError> {
    let mut damaged = with_suffix(path, DAMAGED_SUFFIX);
    if nofollow::stat(&damaged)?.is_some_and(|found| !found.is_file) {
        // A folder is nothing that a file takes the place of.
        damaged = fs::unused_path(
            path.parent().unwrap_or(path),
            &damaged.file_name().unwrap_or_default().to_string_lossy(),
        );
    }
    if nofollow::stat(path)?.is_some() {
        fs::rename(path, &damaged)?;
    }
    for ending in SQLITE_SUFFIXES {
        fs::remove_file(&with_suffix(path, ending))?;
    }
    Ok(damaged)
}
