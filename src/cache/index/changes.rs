//! Batches: changes of the index that are written together, all or none of them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{IndexedReceipt, PartRecord};
use crate::cache::history::{FlowRun, MAX_SETS, PastSet};
use crate::config::table_patterns::TableSource;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::FolderMemo;
use crate::format::Layout;
use crate::format::inference::FileFacts;
use crate::store::StoreId;

/// Changes that are written together.
#[derive(Debug, Default)]
pub struct IndexChanges {
    /// Parts by their key.
    pub parts: Vec<(Fingerprint, PartRecord)>,
    /// Layouts by [`layout_key`].
    pub layouts: Vec<(Fingerprint, Layout)>,
    /// What the values of files could be, by [`facts_key`](super::facts_key): beside their layouts.
    pub facts: Vec<(Fingerprint, FileFacts)>,
    /// Receipts by store; `None` forgets one.
    pub receipts: Vec<(StoreId, Option<IndexedReceipt>)>,
    /// Memos by folder.
    pub memos: Vec<(PathBuf, FolderMemo)>,
    /// Digests of stats by store; one whose receipt is in the same batch belongs to the new
    /// receipt.
    pub stat_digests: Vec<(StoreId, Fingerprint)>,
    /// Stores whose entities are gone and not missed any more, or are back.
    pub accepted_losses: Vec<(StoreId, bool)>,
    /// How flows ended, by run.
    pub flow_runs: Vec<(i64, FlowRun)>,
    /// Sets that were published, by store.
    pub past_sets: Vec<(PathBuf, PastSet)>,
    /// Tables of databases.
    pub table_lists: Vec<(TableSource, Vec<String>)>,
}

impl IndexChanges {
    /// True where there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let records = self.parts.is_empty()
            && self.layouts.is_empty()
            && self.facts.is_empty()
            && self.receipts.is_empty()
            && self.memos.is_empty();
        records
            && self.stat_digests.is_empty()
            && self.accepted_losses.is_empty()
            && self.flow_runs.is_empty()
            && self.past_sets.is_empty()
            && self.table_lists.is_empty()
    }

    /// Adds the changes of another batch.
    pub fn append(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
        self.layouts.append(&mut other.layouts);
        self.facts.append(&mut other.facts);
        self.receipts.append(&mut other.receipts);
        self.memos.append(&mut other.memos);
        self.stat_digests.append(&mut other.stat_digests);
        self.accepted_losses.append(&mut other.accepted_losses);
        self.flow_runs.append(&mut other.flow_runs);
        self.past_sets.append(&mut other.past_sets);
        self.table_lists.append(&mut other.table_lists);
    }
}

/// A statement with its values.
pub(super) struct SqlWrite {
    pub(super) query: &'static str,
    pub(super) values: Vec<Vec<u8>>,
}

/// What writes a batch, in order.
pub(super) fn sql_writes(batch: &IndexChanges) -> Vec<SqlWrite> {
    let mut writes = Vec::new();
    let mut put = |query, values| writes.push(SqlWrite { query, values });
    let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let key = |store: &StoreId| path(&store.index_key());
    for (part, record) in &batch.parts {
        put(
            "INSERT OR REPLACE INTO part VALUES (?, ?)",
            vec![part.as_bytes().to_vec(), encode(record)],
        );
    }
    let layouts = batch
        .layouts
        .iter()
        .map(|(key, record)| (key, encode(record)));
    let facts = batch
        .facts
        .iter()
        .map(|(key, record)| (key, encode(record)));
    for (key, record) in layouts.chain(facts) {
        put(
            "INSERT OR REPLACE INTO layout VALUES (?, ?)",
            vec![key.as_bytes().to_vec(), record],
        );
    }
    for (store, record) in &batch.receipts {
        let Some(record) = record else {
            put("DELETE FROM receipt WHERE store = ?", vec![key(store)]);
            put("DELETE FROM store WHERE path = ?", vec![key(store)]);
            continue;
        };
        let owner = &record.receipt;
        put(
            "INSERT OR REPLACE INTO receipt VALUES (?, ?)",
            vec![key(store), encode(record)],
        );
        put(
            "INSERT OR REPLACE INTO store VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), NULL, 0)",
            vec![
                key(store),
                owner.project.clone().into_bytes(),
                owner.flow.clone().into_bytes(),
            ],
        );
    }
    for (folder, record) in &batch.memos {
        put(
            "INSERT OR REPLACE INTO memo VALUES (?, ?)",
            vec![path(folder), encode(record)],
        );
    }
    for (store, stat_digest) in &batch.stat_digests {
        put(
            "UPDATE store SET witness = ? WHERE path = ?",
            vec![stat_digest.as_bytes().to_vec(), key(store)],
        );
    }
    for (store, is_given_up) in &batch.accepted_losses {
        let statement = match is_given_up {
            true => "UPDATE store SET is_given_up = 1 WHERE path = ?",
            false => "UPDATE store SET is_given_up = 0 WHERE path = ?",
        };
        put(statement, vec![key(store)]);
    }
    for (source, tables) in &batch.table_lists {
        put(
            "INSERT OR REPLACE INTO table_list VALUES (?, ?)",
            vec![source_key(source), encode(&(source, tables))],
        );
    }
    let number = |number: i64| number.to_string().into_bytes();
    for (run, flow) in &batch.flow_runs {
        let record = serde_json::to_vec(flow).unwrap_or_default();
        put(
            "INSERT OR REPLACE INTO flow_run VALUES (CAST(? AS INTEGER), CAST(? AS TEXT), CAST(? AS TEXT))",
            vec![number(*run), flow.flow.clone().into_bytes(), record],
        );
    }
    for (store, set) in &batch.past_sets {
        let record = serde_json::to_vec(&set.published).unwrap_or_default();
        put(
            "INSERT OR REPLACE INTO past_set VALUES (?, CAST(? AS INTEGER), ?)",
            vec![path(store), number(set.run), record],
        );
        put(
            "DELETE FROM past_set WHERE store = ?1 AND run NOT IN (SELECT run FROM past_set WHERE store = ?1 ORDER BY run DESC LIMIT CAST(?2 AS INTEGER))",
            vec![path(store), number(MAX_SETS)],
        );
    }
    writes
}

/// What a list of tables is kept under.
fn source_key(source: &TableSource) -> Vec<u8> {
    Fingerprint::hash_bytes(&encode(source)).as_bytes().to_vec()
}

/// The compact form of a record. Records are plain data, which postcard can always write.
fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    with_checksum(postcard::to_stdvec(record).unwrap_or_default())
}

/// How many bytes of its digest a record ends with: SQLite does not notice a bit that flips in a
/// value.
const CHECKSUM_BYTES: usize = 8;

/// A record with its seal.
pub(super) fn with_checksum(mut record: Vec<u8>) -> Vec<u8> {
    let digest = Fingerprint::hash_bytes(&record);
    record.extend(&digest.as_bytes()[..CHECKSUM_BYTES]);
    record
}

/// A record as it was written; one that is not is as good as none.
pub(super) fn decode<T: DeserializeOwned>(sealed: &[u8]) -> Option<T> {
    postcard::from_bytes(without_checksum(sealed)?).ok()
}

/// A record without its seal, where that is the right one.
pub(super) fn without_checksum(sealed: &[u8]) -> Option<&[u8]> {
    let (record, seal) = sealed.split_at(sealed.len().checked_sub(CHECKSUM_BYTES)?);
    let is_whole = Fingerprint::hash_bytes(record).as_bytes().starts_with(seal);
    is_whole.then_some(record)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::index::PartRecord;
    use crate::fs::Stat;
    use crate::home::RecordedColumn;
    use crate::storage::Version;
    use crate::store::receipt::{
        AdoptedFiles, Manifest, Part, PartInput, PreviousSet, PublishedSet, Receipt, TableRows,
    };

    #[test]
    fn every_record_comes_back_as_it_was_written() {
        let digest = Fingerprint::hash_bytes(b"digest");
        let moved = |is_replaced| PartInput {
            name: "a.parquet".into(),
            digest,
            is_replaced,
        };
        for (inputs, columns) in [
            (vec![], vec![]),
            (vec![moved(false), moved(true)], vec![column()]),
        ] {
            let part = Part {
                name: "part".into(),
                key: digest,
                digest,
                rows: 1,
                bytes: 2,
                sequence: 3,
                inputs,
            };
            let published = PublishedSet {
                key: digest,
                components: crate::fingerprint::key::Components::default(),
                schema_digest: Some(digest),
                columns,
                home_columns: Some(vec![column()]),
                folder_columns: vec!["year".into()],
                absent_columns: vec!["b".into()],
                arrow_schema: Some("00".into()),
                home: Some(digest),
                placement: [("path".to_string(), "store".to_string())].into(),
                manifest: Manifest { parts: vec![part] },
                empty_inputs: vec![moved(false)],
                max_sequence: 3,
                pinned: Some(1),
                at: "2026-01-01T00:00:00Z".into(),
            };
            let receipt = Receipt {
                published: Some(published.clone()),
                pending: Some(published.clone()),
                pending_inode: Some(1),
                previous: Some(PreviousSet::from(published.clone())),
                latest: Some(published),
                adopted: Some(AdoptedFiles {
                    names: vec!["old".into()],
                    at: "2026-01-01T00:00:00Z".into(),
                }),
                table: Some(TableRows {
                    created_by_hygge: true,
                    rows: 1,
                    foreign_rows: 0,
                }),
                ..Receipt::blank("project", "flow")
            };
            let stat = Stat {
                size: 1,
                mtime_ns: 2,
                ctime_ns: 3,
                inode: 4,
            };
            let tag = Version::Tag {
                size: 1,
                tag: Box::new([2]),
            };
            for (receipt, version) in [
                (receipt, Version::Stat(stat)),
                (Receipt::blank("project", "flow"), tag),
            ] {
                let indexed = IndexedReceipt {
                    version,
                    receipt: Arc::new(receipt),
                };
                assert_eq!(decode::<IndexedReceipt>(&encode(&indexed)), Some(indexed));
            }
        }
        let part = PartRecord {
            digest,
            rows: 1,
            bytes: 2,
            folder: "country=DE".into(),
        };
        assert_eq!(decode::<PartRecord>(&encode(&part)), Some(part.clone()));
    }

    fn column() -> RecordedColumn {
        RecordedColumn {
            name: "id".into(),
            declared: "int".into(),
            target_type: "int32".into(),
            nullable: Some(true),
        }
    }
}
