//! Loading: rows come through a bounded queue and are written, in one transaction with the receipt.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use polars_arrow::array::Array;
use polars_arrow::datatypes::ArrowSchema;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::catalog;
use super::cells::CellColumn;
use super::columns::{self, TargetColumn};
use super::feed::{LoadMessage, send_parts};
use super::lock::{self, TableLockWait};
use super::merge::TempTable;
use super::receipts::{self, StoredReceipt as FoundReceipt};
use super::resolved_table::ResolvedTable;
use super::table_contents::{TableContents, count_rows, read_contents_in_session};
use super::{SqlStore, TableCreation, cascade, mysql, new_parts, postgres, sqlite};
use crate::connection::{Database, Dialect, Session, spawn, wait_for_interrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::RecordBatch;
use crate::fs;
use crate::store::context::PublishContext;
use crate::store::receipt::{Part, Receipt, TableRows};
use crate::store::{Publication, Store, StoreError, StoreUpdate};

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
        StoreUpdate::Append | StoreUpdate::Merge if store.live_contents(&store.path)?.exists => {
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
    let job = TableLoad {
        store: store.clone(),
        update: publication.update,
        planned_receipt: before,
        planned_rows: rows_before,
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
        return Err(Error::new(ErrorKind::Interrupted, "interrupted").into());
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

/// What a load does to the number of a table's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowChanges {
    pub(super) added: u64,
    pub(super) removed: u64,
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
        let opening = async {
            // Flows of this process that fill one SQLite database wait for each other here, as long
            // as it takes.
            let turn = match database.dialect {
                Dialect::Sqlite => Some(database.write_lock.lock().await),
                _ => None,
            };
            Ok::<_, Error>((turn, database.writing_session().await?))
        };
        let (_turn, mut session) = tokio::select! {
            opened = opening => opened?,
            () = wait_for_interrupt(&interrupted) => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        };
        let canceller = session.canceller();
        let mut watching = JoinSet::new();
        if database.dialect == Dialect::Sqlite {
            // A thread may be in the middle of a statement, and with it the task that waits here.
            let (canceller, interrupted) = (canceller.clone(), interrupted.clone());
            watching.spawn(async move {
                wait_for_interrupt(&interrupted).await;
                canceller.cancel().await;
            });
        }
        let loaded = tokio::select! {
            loaded = self.load_locked(&mut session, &mut messages) => loaded,
            () = wait_for_interrupt(&interrupted) => {
                canceller.cancel().await;
                Err(Error::new(ErrorKind::Interrupted, "interrupted"))
            }
        };
        drop(watching);
        let loaded = match loaded {
            Err(_) if interrupted.load(Ordering::Relaxed) => {
                Err(Error::new(ErrorKind::Interrupted, "interrupted"))
            }
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
        mysql::set_own_mode(session).await?;
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
        let dialect = session.database().dialect;
        if dialect == Dialect::Sqlite {
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
        if dialect == Dialect::MySql {
            // What changes tables has been done: it ends a transaction before each of that.
            session
                .begin("begin a transaction", "START TRANSACTION", None)
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
        let (store, dialect) = (&self.store, session.database().dialect);
        let coming = columns::incoming_columns(columns)?;
        columns::check_key(store, &coming)?;
        let relation = resolved.relation().source_sql(dialect);
        let (missing, is_made) = match catalog::read_table(resolved, session).await? {
            None if store.create == TableCreation::Never => {
                return Err(store.no_table_error().into());
            }
            None => {
                let collation = mysql::table_collation(session).await?;
                let statement = columns::create_statement(
                    store,
                    dialect,
                    &relation,
                    collation.as_deref(),
                    &coming,
                )?;
                mysql::set_user_mode(session).await?;
                session.execute("make its table", &statement).await?;
                mysql::set_own_mode(session).await?;
                (coming.clone(), true)
            }
            Some(table) => match columns::match_columns(store, dialect, &coming, &table)? {
                (targets, missing) if missing.is_empty() => {
                    return Ok((
                        PreparedTable {
                            targets,
                            has_triggers: table.has_triggers,
                            is_new: false,
                        },
                        Vec::new(),
                    ));
                }
                (_, missing) if store.create == TableCreation::Never => {
                    return Err(columns::unstorable_columns(
                        store,
                        &missing,
                        "the table has no such column, and create: never",
                    ));
                }
                (_, missing) => {
                    mysql::set_user_mode(session).await?;
                    for (name, definition) in columns::definitions(store, dialect, &missing)? {
                        let statement = format!(
                            "ALTER TABLE {relation} ADD COLUMN {} {definition}",
                            dialect.quote_name(&name)
                        );
                        session
                            .execute("add a column to its table", &statement)
                            .await?;
                    }
                    mysql::set_own_mode(session).await?;
                    (missing, false)
                }
            },
        };
        let remarks = columns::remarks(store, dialect, &missing, &coming);
        let table = catalog::read_table(resolved, session).await?;
        let Some(table) = table else {
            return Err(columns::unstorable_columns(
                store,
                &coming,
                "the table that was made is not there",
            ));
        };
        let (targets, still_missing) = columns::match_columns(store, dialect, &coming, &table)?;
        if !still_missing.is_empty() {
            return Err(columns::unstorable_columns(
                store,
                &still_missing,
                "the table has no such column",
            ));
        }
        Ok((
            PreparedTable {
                targets,
                has_triggers: table.has_triggers,
                is_new: is_made,
            },
            remarks,
        ))
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
        let dialect = session.database().dialect;
        let is_direct = self.update != StoreUpdate::Merge
            && targets
                .iter()
                .all(|target| dialect != Dialect::Postgres || !target.storage.is_cast_from_text());
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
                    let written = match dialect {
                        Dialect::Postgres => {
                            postgres::write(session, &into, &rows, side.is_some()).await?
                        }
                        Dialect::MySql => mysql::write(session, &into, &rows).await?,
                        Dialect::Sqlite => sqlite::write(session, &into, &rows).await?,
                    };
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

/// Rows that are written, with what their columns must be like.
pub(super) struct TargetRows<'t> {
    pub(super) columns: Vec<(&'t TargetColumn, CellColumn)>,
    pub(super) height: usize,
    part: Arc<str>,
    /// How many rows of the part came before.
    rows_before: u64,
    table: String,
}

impl<'t> TargetRows<'t> {
    fn new(
        batch: &RecordBatch,
        store: &SqlStore,
        targets: &'t [TargetColumn],
        part: Arc<str>,
        before: u64,
    ) -> Result<Self> {
        let cells = |(name, array): (&str, &dyn Array)| {
            let cells = CellColumn::new(array)
                .map_err(|kind| Error::new(ErrorKind::Flow, format!("column {name} is {kind}")))?;
            let named = targets.iter().find(|target| target.name == name);
            // Elsewhere than in PostgreSQL, a table may write a name in other letters.
            let named = named.or_else(|| {
                targets
                    .iter()
                    .find(|target| target.name.to_lowercase() == name.to_lowercase())
            });
            let hint = "its type is annotated in the old way there, or not at all: give those files a flow of their own";
            let target = named.ok_or_else(|| {
                let error = format!("column {name} of {part} does not come in the files before it");
                Error::new(ErrorKind::Flow, error)
                    .with_hint("files of one flow need the same columns of the same types")
            })?;
            if target.kind != cells.kind {
                let error = format!(
                    "column {name} of {part} is {}, and {} in the files before it",
                    cells.kind, target.kind
                );
                return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
            }
            Ok((target, cells))
        };
        let names = batch.schema().iter_names().map(|name| name.as_str());
        let columns: Vec<_> = names
            .zip(batch.arrays().iter().map(AsRef::as_ref))
            .map(cells)
            .collect::<Result<_>>()?;
        if let Some(target) = targets
            .iter()
            .find(|target| !columns.iter().any(|(other, _)| other.name == target.name))
        {
            let error = format!(
                "column {} does not come in {part}, and did in the parts before",
                target.name
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint("files of one flow need the same columns of the same types"));
        }
        Ok(Self {
            columns,
            height: batch.height(),
            part,
            rows_before: before,
            table: store.relation.to_string(),
        })
    }

    /// A row that is longer than the server takes.
    pub(super) fn row_too_long(&self, row: usize, bytes: usize, most: usize) -> Error {
        let row = self.rows_before + row as u64 + 1;
        let error = format!(
            "row {row} of {}, which comes to table {}, takes {bytes} bytes of SQL, and max_allowed_packet of the server is {most}",
            self.part, self.table
        );
        Error::new(ErrorKind::Flow, error).with_hint(
            "nothing was published; raise max_allowed_packet of the server, which may be 1 GB",
        )
    }

    /// A value of a row that its column holds; the reason where it does not.
    pub(super) fn value_error(&self, column: usize, row: usize, reason: &str) -> Error {
        let name = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.name.as_str());
        let row = self.rows_before + row as u64 + 1;
        let error = format!(
            "column {name}, row {row} of {}, which comes to table {}: {reason}",
            self.part, self.table
        );
        let declared = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.declared_type.as_str());
        let hint = format!(
            "nothing was published; change the value or the column, which is {declared}, or leave the column out"
        );
        Error::new(ErrorKind::Flow, error).with_hint(hint)
    }
}
