//! Loading: rows come through a bounded queue and are written, in one transaction with the receipt.

use std::path::Path;
use std::sync::Arc;

use polars_arrow::datatypes::ArrowSchema;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::columns::{self, IncomingColumn};
use super::engine::TableLock;
use super::feed::{LoadMessage, send_parts};
use super::lock::{self, TableLockWait};
use super::merge::{RowChanges, TempTable};
use super::new_parts::new_parts;
use super::receipts::{self, StoredReceipt as FoundReceipt};
use super::resolved_table::ResolvedTable;
use super::table_contents::{TableContents, count_rows, read_contents_in_session};
use super::target::{TargetColumn, TargetRows};
use super::{SqlStore, TableCreation, alter, cascade, engine, engine_of};
use crate::connection::{Database, Session, spawn};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::home::RecordedColumn;
use crate::store::context::PublishContext;
use crate::store::receipt::{Part, Receipt, TableRows};
use crate::store::{Publication, StoreError, StoreUpdate};

/// How many groups of rows wait between the decoder and the database.
const QUEUE_LENGTH: usize = 2;

/// Publishes a set: all its parts, or those that the table does not have.
pub(super) fn publish(
    store: &SqlStore,
    publication: &Publication<'_>,
    (before, receipt): (Option<FoundReceipt>, Receipt),
    context: &PublishContext<'_>,
) -> Result<Receipt, StoreError> {
    let parts: Vec<&Part> = match publication.update {
        StoreUpdate::Append | StoreUpdate::Merge if store.table_exists()? => {
            new_parts(publication.next, publication.receipt)
        }
        _ => publication.next.manifest.parts.iter().collect(),
    };
    let patience = TableLockWait {
        timeout: publication.lock_timeout,
        interrupted: publication.interrupted.clone(),
        wait_notices: publication.wait_notices.clone(),
    };
    let rows_before = publication.receipt.and_then(|receipt| receipt.table);
    let published = publication.receipt.and_then(|receipt| receipt.latest());
    let job = TableLoad {
        store: store.clone(),
        update: publication.update,
        planned_receipt: before,
        planned_rows: rows_before,
        published_columns: published.map_or_else(Vec::new, |published| published.columns.clone()),
        receipt,
        lock_wait: patience,
    };
    let (sender, messages) = mpsc::channel(QUEUE_LENGTH);
    let database = store.database()?;
    let loading = spawn(async move { job.load(&database, messages).await });
    let fed = send_parts(&parts, context, publication.interrupted, &sender);
    if fed.is_ok() {
        // Where nobody listens, the other side says why.
        drop(sender.blocking_send(LoadMessage::Done));
    }
    drop(sender);
    // What ended the other side first ended this one too.
    let loaded = loading.wait()??;
    fed?;
    let Some((receipt, remarks)) = loaded else {
        return Err(Error::interrupted().into());
    };
    remarks
        .into_iter()
        .for_each(|remark| context.note_remark(remark));
    Ok(receipt)
}

/// What is written, and in which way.
struct TableLoad {
    store: SqlStore,
    update: StoreUpdate,
    /// The receipt that was planned with.
    planned_receipt: Option<FoundReceipt>,
    /// What it says of the table's rows.
    planned_rows: Option<TableRows>,
    /// The columns of the set that it says is published.
    published_columns: Vec<RecordedColumn>,
    receipt: Receipt,
    lock_wait: TableLockWait,
}

/// A table that is ready for rows.
struct PreparedTable {
    targets: Vec<TargetColumn>,
    has_triggers: bool,
    /// True where this load made it.
    is_new: bool,
}

/// The receipt that was written, and what is to be said once; nothing where not all rows came, of
/// which the other side says why.
type LoadOutcome = Option<(Receipt, Vec<String>)>;

impl TableLoad {
    async fn load(
        self,
        database: &Arc<Database>,
        mut messages: mpsc::Receiver<LoadMessage>,
    ) -> Result<LoadOutcome> {
        if let Some(folder) = database.file.as_deref().and_then(Path::parent) {
            fs::create_folder(folder)?;
        }
        let interrupted = self.lock_wait.interrupted.clone();
        let engine = engine(database.dialect);
        let opening = async {
            // Flows of this process that fill one SQLite database wait for each other here, as long
            // as it takes.
            let turn = if engine.lock() == TableLock::Database {
                Some(database.write_lock.lock().await)
            } else {
                None
            };
            Ok::<_, Error>((turn, database.writing_session().await?))
        };
        let (_turn, mut session) = tokio::select! {
            opened = opening => opened?,
            () = interrupted.cancelled() => return Err(Error::interrupted()),
        };
        let canceller = session.canceller();
        let mut watching = JoinSet::new();
        if engine.lock() == TableLock::Database {
            // A thread may be in the middle of a statement, and with it the task that waits here.
            let (canceller, interrupted) = (canceller.clone(), interrupted.clone());
            watching.spawn(async move {
                interrupted.cancelled().await;
                canceller.cancel().await;
            });
        }
        let loaded = tokio::select! {
            loaded = self.load_locked(&mut session, &mut messages) => loaded,
            () = interrupted.cancelled() => {
                canceller.cancel().await;
                Err(Error::interrupted())
            }
        };
        drop(watching);
        let loaded = match loaded {
            Err(_) if interrupted.is_cancelled() => Err(Error::interrupted()),
            Err(error) => Err(session.name_untrusted_caller(error).await),
            loaded => loaded,
        };
        // A session in the middle of something is closed, which ends its transaction.
        if loaded.is_ok() {
            session.release().await;
        }
        loaded
    }

    async fn load_locked(
        &self,
        session: &mut Session,
        messages: &mut mpsc::Receiver<LoadMessage>,
    ) -> Result<LoadOutcome> {
        engine_of(session).set_own_mode(session).await?;
        let resolved = lock::lock(&self.store, session, &self.lock_wait).await?;
        let loaded = self
            .load_in_transaction(&resolved, session, messages)
            .await?;
        lock::unlock(session, &resolved).await?;
        Ok(loaded)
    }

    async fn load_in_transaction(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        messages: &mut mpsc::Receiver<LoadMessage>,
    ) -> Result<LoadOutcome> {
        let engine = engine_of(session);
        if engine.lock() == TableLock::Database {
            receipts::create_table(resolved, session).await?;
        }
        self.check_receipt(resolved, session).await?;
        let first = messages.recv().await;
        let prepared = match &first {
            Some(LoadMessage::Rows(batch, ..)) => {
                Some(self.prepare(resolved, session, batch.schema()).await?)
            }
            _ => None,
        };
        if engine.lock() == TableLock::Session {
            // What changes tables has been done: it ends a transaction before each of that.
            session
                .begin("begin a transaction", engine.begin_sql(), None)
                .await?;
        }
        let loaded = match &prepared {
            Some((prepared, _)) => {
                self.fill(resolved, session, prepared, first, messages)
                    .await?
            }
            None => matches!(first, Some(LoadMessage::Done)).then_some(self.planned_rows),
        };
        let Some(rows) = loaded else {
            session.roll_back("undo what was written").await?;
            return Ok(None);
        };
        let receipt = Receipt {
            table: rows,
            ..self.receipt.clone()
        };
        receipts::write(
            resolved,
            session,
            self.planned_receipt.as_ref(),
            &receipt,
            &self.display_name(),
        )
        .await?;
        session.commit().await?;
        Ok(Some((
            receipt,
            prepared.map(|(_, remarks)| remarks).unwrap_or_default(),
        )))
    }

    fn display_name(&self) -> String {
        format!("table {}", self.store.relation)
    }

    /// Nobody has published since it was looked at, and nothing is overwritten that is not ours.
    async fn check_receipt(&self, resolved: &ResolvedTable, session: &mut Session) -> Result<()> {
        let found = receipts::find_in_session(&self.store, resolved, session).await?;
        if found != self.planned_receipt {
            return Err(receipts::concurrent_publish(&self.display_name()));
        }
        if found.is_none()
            && !self.store.adopt
            && read_contents_in_session(&resolved.relation(), session).await?
                == TableContents::HasRows
        {
            return Err(self.store.foreign_rows_error().into());
        }
        cascade::check(&self.store, resolved, session, self.update).await
    }

    /// The table is there, with a place for every column. Gives what is to be said of it once.
    async fn prepare(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        columns: &ArrowSchema,
    ) -> Result<(PreparedTable, Vec<String>)> {
        let (store, engine) = (&self.store, engine_of(session));
        let coming = columns::incoming_columns(columns)?;
        columns::check_key(store, &coming)?;
        let mut remarks = Vec::new();
        let (missing, is_new) = match engine.read_table(resolved, session).await? {
            None => {
                self.make_table(resolved, session, &coming).await?;
                (coming.clone(), true)
            }
            Some(table) => {
                let widened = alter::columns_to_widen(
                    store,
                    engine,
                    &coming,
                    &table,
                    &self.published_columns,
                );
                let table = alter::with_widened(table, &widened);
                let (targets, missing) = columns::match_columns(store, engine, &coming, &table)?;
                alter::check_alteration(store, &missing, &widened)?;
                if missing.is_empty() && widened.is_empty() {
                    let prepared = PreparedTable {
                        targets,
                        has_triggers: table.has_triggers,
                        is_new: false,
                    };
                    return Ok((prepared, Vec::new()));
                }
                alter::widen(store, resolved, session, &widened).await?;
                self.add_columns(resolved, session, &missing).await?;
                remarks = alter::remarks(store, &widened);
                (missing, false)
            }
        };
        let unstorable =
            |columns: &[IncomingColumn], why| Err(columns::unstorable_columns(store, columns, why));
        let Some(table) = engine.read_table(resolved, session).await? else {
            return unstorable(&coming, "the table that was made is not there");
        };
        let (targets, still_missing) = columns::match_columns(store, engine, &coming, &table)?;
        if !still_missing.is_empty() {
            return unstorable(&still_missing, "the table has no such column");
        }
        let prepared = PreparedTable {
            targets,
            has_triggers: table.has_triggers,
            is_new,
        };
        remarks.extend(columns::remarks(store, engine, &missing, &coming));
        Ok((prepared, remarks))
    }

    async fn make_table(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        coming: &[IncomingColumn],
    ) -> Result<()> {
        let (store, engine) = (&self.store, engine_of(session));
        if store.create == TableCreation::Never {
            return Err(store.no_table_error().into());
        }
        let relation = resolved.relation().source_sql(engine.dialect());
        let collation = engine.table_collation(session).await?;
        let statement =
            columns::create_statement(store, engine, &relation, collation.as_deref(), coming)?;
        engine.set_user_mode(session).await?;
        session.execute("make its table", &statement).await?;
        engine.set_own_mode(session).await
    }

    async fn add_columns(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        missing: &[IncomingColumn],
    ) -> Result<()> {
        let (store, engine) = (&self.store, engine_of(session));
        let relation = resolved.relation().source_sql(engine.dialect());
        engine.set_user_mode(session).await?;
        for (name, definition) in columns::definitions(store, engine, missing)? {
            let name = engine.dialect().quote_name(&name);
            let statement = format!("ALTER TABLE {relation} ADD COLUMN {name} {definition}");
            session
                .execute("add a column to its table", &statement)
                .await?;
        }
        engine.set_own_mode(session).await
    }

    /// Puts the rows into their table; gives what is known of all its rows then, or nothing where
    /// not all have come.
    async fn fill(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        prepared: &PreparedTable,
        first: Option<LoadMessage>,
        messages: &mut mpsc::Receiver<LoadMessage>,
    ) -> Result<Option<Option<TableRows>>> {
        let relation = resolved.relation();
        let table = relation.source_sql(session.database().dialect);
        let is_whole = self.update == StoreUpdate::Replace;
        let mut before = self.planned_rows.filter(|_| !prepared.is_new);
        if is_whole {
            session
                .execute(
                    "remove the rows of the set before",
                    &format!("DELETE FROM {table}"),
                )
                .await?;
            if prepared.has_triggers
                && read_contents_in_session(&relation, session).await? == TableContents::HasRows
            {
                return Err(self.rows_lost_error(
                    "rows of the set before stay in it although they were deleted",
                ));
            }
            let is_made = before.map_or(
                self.planned_receipt.is_some() && !self.store.adopt,
                |before| before.created_by_hygge,
            );
            before = Some(TableRows {
                created_by_hygge: is_made || prepared.is_new,
                rows: 0,
                foreign_rows: 0,
            });
        } else if prepared.is_new {
            before = Some(TableRows {
                created_by_hygge: true,
                rows: 0,
                foreign_rows: 0,
            });
        } else if self.planned_receipt.is_none() {
            let rows = count_rows(&table, session).await?;
            before = Some(TableRows {
                created_by_hygge: false,
                rows,
                foreign_rows: rows,
            });
        }
        let counted = if prepared.has_triggers {
            Some(count_rows(&table, session).await?)
        } else {
            None
        };
        let Some(changes) = self
            .write_rows(resolved, session, &prepared.targets, first, messages)
            .await?
        else {
            return Ok(None);
        };
        if let Some(counted) = counted {
            let (now, wanted) = (
                count_rows(&table, session).await?,
                (counted + changes.added).saturating_sub(changes.removed),
            );
            if now < wanted {
                return Err(self.rows_lost_error(&format!(
                    "it has {now} rows afterwards, and should have {wanted}"
                )));
            }
        }
        Ok(Some(before.map(|before| {
            before.with_changes(changes.added, changes.removed)
        })))
    }

    /// A trigger or a rule of its owner does something else with rows.
    fn rows_lost_error(&self, what: &str) -> Error {
        let error = format!(
            "table {} does not keep what it is given: {what}",
            self.store.relation
        );
        Error::new(ErrorKind::Flow, error)
            .with_hint("look for triggers and rules of the table; nothing was published")
    }

    /// Writes rows as they come; nothing where not all have come.
    async fn write_rows(
        &self,
        resolved: &ResolvedTable,
        session: &mut Session,
        targets: &[TargetColumn],
        first: Option<LoadMessage>,
        messages: &mut mpsc::Receiver<LoadMessage>,
    ) -> Result<Option<RowChanges>> {
        let engine = engine_of(session);
        let is_direct = self.update != StoreUpdate::Merge
            && !targets.iter().any(|target| engine.casts_from_text(target));
        let side = if is_direct {
            None
        } else {
            Some(TempTable::create(&self.store, resolved, session, targets).await?)
        };
        let into = side
            .as_ref()
            .map_or_else(|| resolved.relation(), |side| side.relation.clone());
        let (mut changes, mut staged) = (RowChanges::default(), 0);
        let mut next = first;
        while let Some(message) = next {
            match (message, &side) {
                (LoadMessage::Rows(batch, part, before), side) => {
                    let rows = TargetRows::new(&batch, &self.store, targets, part, before)?;
                    let written = engine.write(session, &into, &rows, side.is_some()).await?;
                    if written != rows.height as u64 {
                        let words = format!(
                            "{} rows were sent, and the database says that it took {written}",
                            rows.height
                        );
                        return Err(self.rows_lost_error(&words));
                    }
                    *(if side.is_some() {
                        &mut staged
                    } else {
                        &mut changes.added
                    }) += written;
                }
                (LoadMessage::PartEnd, None) => {}
                (LoadMessage::PartEnd, Some(side)) => {
                    let rows = std::mem::take(&mut staged);
                    let done = match self.update {
                        StoreUpdate::Merge => side.merge(session, rows).await?,
                        _ => side.insert_rows(session, rows).await?,
                    };
                    changes.added += done.added;
                    changes.removed += done.removed;
                }
                (LoadMessage::Done, _) => return Ok(Some(changes)),
            }
            next = messages.recv().await;
        }
        Ok(None)
    }
}
