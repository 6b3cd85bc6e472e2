//! A table in its database: what its receipt says, its lock, and how its rows change.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;

use super::table_contents::TableContents;
use super::{SqlStore, TableCreation, check, clear, columns, load, receipts, table_contents};
use crate::connection::{Database, Relation, block_on};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Lock, nofollow};
use crate::storage::Version;
use crate::store::context::PublishContext;
use crate::store::receipt::Receipt;
use crate::store::{
    LiveContents, Publication, RemovalPlan, SiblingReceipt, StoreError, StoreId, StoreSession,
    StoreStats, StoreUpdate, TableId,
};

impl StoreSession for SqlStore {
    fn display_name(&self) -> String {
        self.target_table().to_string()
    }

    fn observe(&self) -> Result<StoreStats, StoreError> {
        let receipt = self.receipt_version()?;
        let live = LiveContents {
            exists: self.table_exists()?,
            whole: self.relation.table_name().map(|names| names.join(".")),
            ..LiveContents::default()
        };
        Ok(StoreStats { receipt, live })
    }

    fn receipt_version(&self) -> Result<Option<Version>, StoreError> {
        Ok(self.stored_receipt()?.and_then(|stored| stored.version()))
    }

    fn receipt(&self) -> Result<Option<Receipt>, StoreError> {
        self.stored_receipt()?
            .map(|stored| self.parse_receipt(&stored.text))
            .transpose()
    }

    fn sibling_receipts(&self) -> Result<Vec<SiblingReceipt>, StoreError> {
        let rows =
            self.run_blocking(|_, database| async move { receipts::read_all(&database).await })?;
        Ok(rows
            .into_iter()
            .filter_map(|row| self.sibling(&row))
            .collect())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.check_rights()?;
        self.check_existing_rows()
    }

    fn check_columns(
        &self,
        columns: &ArrowSchema,
        change: StoreUpdate,
    ) -> Result<Vec<String>, StoreError> {
        let coming = columns::incoming_columns(columns)?;
        self.run_blocking(|store, database| async move {
            check::check_columns(&store, &database, &coming, change).await
        })
    }

    fn lock(&self, holder: &str) -> Result<Lock, StoreError> {
        nofollow::create_folder(self.id.files_folder())?;
        let lock = Lock::try_exclusive(&self.id.lock_file(), holder)?;
        self.check_existing_rows()?;
        Ok(lock)
    }

    fn folders(&self) -> Vec<PathBuf> {
        vec![self.id.files_folder().to_path_buf()]
    }

    fn latest_parts(&self, _: &Receipt) -> Result<HashSet<Fingerprint>, StoreError> {
        Ok(HashSet::new())
    }

    fn previous_parts(&self, _: Option<&Receipt>) -> Result<HashSet<Fingerprint>, StoreError> {
        Ok(HashSet::new())
    }

    /// A transaction that died has left nothing.
    fn recover(&self, _: &PublishContext<'_>) -> Result<Option<Receipt>, StoreError> {
        self.receipt()
    }

    fn publish(
        &self,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError> {
        // What is compared under the lock is its digest as it is stored, not a receipt that is
        // written again.
        let before = self.stored_receipt()?;
        let known = before
            .as_ref()
            .map(|stored| self.parse_receipt(&stored.text))
            .transpose()?;
        if known.as_ref() != publication.receipt {
            return Err(receipts::concurrent_publish(&self.display_name()).into());
        }
        let mut receipt = publication
            .receipt
            .cloned()
            .unwrap_or_else(|| Receipt::blank(publication.project, publication.flow));
        (receipt.project, receipt.flow) = (
            publication.project.to_string(),
            publication.flow.to_string(),
        );
        receipt.promote(publication.next.clone());
        load::publish(self, publication, (before, receipt), context)
    }

    fn removable(&self) -> Result<RemovalPlan, StoreError> {
        let table_summary = self.run_blocking(|store, database| async move {
            clear::describe_removal(&store, &database).await
        })?;
        Ok(RemovalPlan {
            table_summary,
            ..RemovalPlan::default()
        })
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.run_blocking(|store, database| async move { clear::clear(&store, &database).await })
    }
}

impl SqlStore {
    /// Asks the database, whatever thread this is.
    fn run_blocking<T, F>(
        &self,
        work: impl FnOnce(Self, Arc<Database>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked = work(self.clone(), self.database()?);
        Ok(block_on(asked)??)
    }

    fn stored_receipt(&self) -> Result<Option<receipts::StoredReceipt>, StoreError> {
        self.run_blocking(|store, database| async move { receipts::read(&store, &database).await })
    }

    /// True where there is a table, whoever made it.
    pub(super) fn table_exists(&self) -> Result<bool, StoreError> {
        self.run_blocking(|store, database| async move {
            table_contents::store_table_exists(&store, &database).await
        })
    }

    /// The receipt of a row, where that is for a table that this project may know.
    fn sibling(&self, row: &receipts::ReceiptRow) -> Option<SiblingReceipt> {
        // One that cannot be read is reported by the flow that owns it, if there is one.
        let receipt = self.parse_receipt(&row.receipt.text).ok()?;
        let written = receipt.published.as_ref()?.placement.get("store.table")?;
        let relation = Relation::parse_table(written)?;
        let is_here = match relation.table_name()? {
            [schema, _] => schema.eq_ignore_ascii_case(&row.schema),
            _ => row.is_default,
        };
        if !is_here {
            return None;
        }
        // By the name as it was written it is that of the store, wherever the project lies.
        let table = TableId::new(
            self.id.config_folder(),
            &self.identity,
            &relation.to_string(),
            &relation.file_stem(),
        );
        Some(SiblingReceipt {
            store: StoreId::Table(table),
            version: row.receipt.version()?,
            receipt,
        })
    }

    /// The lock and the file of SQLite may be written to, or be made.
    fn check_rights(&self) -> Result<(), StoreError> {
        let lock = self.id.lock_file();
        let database = self.database()?;
        for file in [Some(&lock), database.file.as_ref()].into_iter().flatten() {
            let there = fs::nearest_existing(file)?;
            let folder = if there == file {
                file.parent().unwrap_or(there)
            } else {
                there
            };
            fs::check_folder_writable(folder)?;
            fs::check_file_writable(file)?;
        }
        Ok(())
    }

    /// No rows of others are where its own shall be.
    fn check_existing_rows(&self) -> Result<(), StoreError> {
        let contents = self.run_blocking(|store, database| async move {
            table_contents::read_contents(&store, &database).await
        })?;
        match contents {
            // The receipt second: another process that published meanwhile has committed both.
            TableContents::HasRows if !self.adopt && self.receipt()?.is_none() => {
                Err(self.foreign_rows_error())
            }
            TableContents::Absent if self.create == TableCreation::Never => {
                Err(self.no_table_error())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn parse_receipt(&self, text: &str) -> Result<Receipt, StoreError> {
        let receipt: Receipt = serde_json::from_str(text)
            .map_err(|error| self.unreadable_receipt(error.to_string()))?;
        receipt
            .check()
            .map_err(|reason| self.unreadable_receipt(reason))?;
        Ok(receipt)
    }

    fn unreadable_receipt(&self, reason: String) -> StoreError {
        StoreError::UnreadableReceipt {
            receipt: format!("of table {} in {}", self.relation, receipts::TABLE),
            reason,
        }
    }
}
