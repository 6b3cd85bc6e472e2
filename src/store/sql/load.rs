//! Loading: rows come through a bounded queue and are written, in one transaction with the receipt.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use polars_arrow::array::Array;
use polars_arrow::datatypes::ArrowSchema;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::catalog;
use super::cells::Cells;
use super::columns::{self, Target};
use super::feed::{Message, feed};
use super::lock::{self, Patience};
use super::look::{Found, count, look_in};
use super::merge::Side;
use super::place::Place;
use super::receipts::{self, Found as FoundReceipt};
use super::{Create, SqlStore, cascade, mysql, new_parts, postgres, sqlite};
use crate::connection::{Database, Dialect, Session, spawn, until};
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::RecordBatch;
use crate::fs;
use crate::store::receipt::{Part, Receipt, TableRows};
use crate::store::room::Room;
use crate::store::{Change, Publication, Store, StoreError};

/// How many groups of rows wait between the decoder and the database.
const QUEUE: usize = 2;

/// Publishes a set: all its parts, or those that the table does not have.
pub(super) fn publish(
    store: &SqlStore,
    publication: &Publication<'_>,
    (before, receipt): (Option<FoundReceipt>, Receipt),
    room: &Room<'_>,
) -> Result<Receipt, StoreError> {
    let parts: Vec<&Part> = match publication.change {
        Change::Add | Change::Merge if store.live(&store.path)?.exists => {
            new_parts(publication.next, publication.receipt)
        }
        _ => publication.next.manifest.parts.iter().collect(),
    };
    let patience = Patience {
        limit: publication.wait,
        interrupted: publication.interrupted.clone(),
        waiting: publication.waiting.clone(),
    };
    let rows_before = publication.receipt.and_then(|receipt| receipt.table);
    let job = Job {
        store: store.clone(),
        change: publication.change,
        before,
        rows_before,
        receipt,
        patience,
    };
    let (sender, coming) = mpsc::channel(QUEUE);
    let database = store.database()?;
    let loading = spawn(async move { job.load(&database, coming).await });
    let fed = feed(&parts, room, publication.interrupted, &sender);
    if fed.is_ok() {
        // Where nobody listens, the other side says why.
        drop(sender.blocking_send(Message::Done));
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
        .for_each(|remark| room.note_remark(remark));
    Ok(receipt)
}

/// What is written, and in which way.
struct Job {
    store: SqlStore,
    change: Change,
    /// The receipt that was planned with.
    before: Option<FoundReceipt>,
    /// What it says of the table's rows.
    rows_before: Option<TableRows>,
    receipt: Receipt,
    patience: Patience,
}

/// A table that is ready for rows.
struct Prepared {
    targets: Vec<Target>,
    has_triggers: bool,
    /// True where this load made it.
    is_made: bool,
}

/// What a load does to the number of a table's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// The receipt that was written, and what is to be said once; nothing where not all rows came, of
/// which the other side says why.
type Loaded = Option<(Receipt, Vec<String>)>;

impl Job {
    async fn load(
        self,
        database: &Arc<Database>,
        mut coming: mpsc::Receiver<Message>,
    ) -> Result<Loaded> {
        if let Some(folder) = database.file.as_deref().and_then(Path::parent) {
            fs::create_folder(folder)?;
        }
        let interrupted = self.patience.interrupted.clone();
        let opening = async {
            // Flows of this process that fill one SQLite database wait for each other here, as long
            // as it takes.
            let turn = match database.dialect {
                Dialect::Sqlite => Some(database.writing.lock().await),
                _ => None,
            };
            Ok::<_, Error>((turn, database.writing_session().await?))
        };
        let (_turn, mut session) = tokio::select! {
            opened = opening => opened?,
            () = until(&interrupted) => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        };
        let canceller = session.canceller();
        let mut watching = JoinSet::new();
        if database.dialect == Dialect::Sqlite {
            // A thread may be in the middle of a statement, and with it the task that waits here.
            let (canceller, interrupted) = (canceller.clone(), interrupted.clone());
            watching.spawn(async move {
                until(&interrupted).await;
                canceller.cancel().await;
            });
        }
        let loaded = tokio::select! {
            loaded = self.load_locked(&mut session, &mut coming) => loaded,
            () = until(&interrupted) => {
                canceller.cancel().await;
                Err(Error::new(ErrorKind::Interrupted, "interrupted"))
            }
        };
        drop(watching);
        let loaded = match loaded {
            Err(_) if interrupted.load(Ordering::Relaxed) => {
                Err(Error::new(ErrorKind::Interrupted, "interrupted"))
            }
            Err(error) => Err(session.with_origin(error).await),
            loaded => loaded,
        };
        // A session in the middle of something is closed, which ends its transaction.
        if loaded.is_ok() {
            session.end().await;
        }
        loaded
    }

    async fn load_locked(
        &self,
        session: &mut Session,
        coming: &mut mpsc::Receiver<Message>,
    ) -> Result<Loaded> {
        mysql::set_up(session).await?;
        let place = lock::lock(&self.store, session, &self.patience).await?;
        let loaded = self.load_in(&place, session, coming).await?;
        lock::unlock(session, &place).await?;
        Ok(loaded)
    }

    async fn load_in(
        &self,
        place: &Place,
        session: &mut Session,
        coming: &mut mpsc::Receiver<Message>,
    ) -> Result<Loaded> {
        let dialect = session.database().dialect;
        if dialect == Dialect::Sqlite {
            receipts::make_table(place, session).await?;
        }
        self.check_receipt(place, session).await?;
        let first = coming.recv().await;
        let prepared = match &first {
            Some(Message::Rows(batch, ..)) => {
                Some(self.prepare(place, session, batch.schema()).await?)
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
            Some((prepared, _)) => self.fill(place, session, prepared, first, coming).await?,
            None => matches!(first, Some(Message::Done)).then_some(self.rows_before),
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
            place,
            session,
            self.before.as_ref(),
            &receipt,
            &self.shown(),
        )
        .await?;
        session.commit().await?;
        Ok(Some((
            receipt,
            prepared.map(|(_, remarks)| remarks).unwrap_or_default(),
        )))
    }

    fn shown(&self) -> String {
        format!("table {}", self.store.relation)
    }

    /// Nobody has published since it was looked at, and nothing is overwritten that is not ours.
    async fn check_receipt(&self, place: &Place, session: &mut Session) -> Result<()> {
        let found = receipts::find(&self.store, place, session).await?;
        if found != self.before {
            return Err(receipts::overtaken(&self.shown()));
        }
        if found.is_none()
            && !self.store.adopt
            && look_in(&place.relation(), session).await? == Found::Rows
        {
            return Err(self.store.foreign().into());
        }
        cascade::check(&self.store, place, session, self.change).await
    }

    /// The table is there, with a place for every column. Gives what is to be said of it once.
    async fn prepare(
        &self,
        place: &Place,
        session: &mut Session,
        columns: &ArrowSchema,
    ) -> Result<(Prepared, Vec<String>)> {
        let (store, dialect) = (&self.store, session.database().dialect);
        let coming = columns::coming(columns)?;
        columns::check_key(store, &coming)?;
        let relation = place.relation().from(dialect);
        let (missing, is_made) = match catalog::table(place, session).await? {
            None if store.create == Create::Never => return Err(store.no_table().into()),
            None => {
                let collation = mysql::collation(session).await?;
                let statement =
                    columns::create(store, dialect, &relation, collation.as_deref(), &coming)?;
                mysql::speak_as_user(session).await?;
                session.execute("make its table", &statement).await?;
                mysql::set_up(session).await?;
                (coming.clone(), true)
            }
            Some(table) => match columns::matched(store, dialect, &coming, &table)? {
                (targets, missing) if missing.is_empty() => {
                    return Ok((
                        Prepared {
                            targets,
                            has_triggers: table.has_triggers,
                            is_made: false,
                        },
                        Vec::new(),
                    ));
                }
                (_, missing) if store.create == Create::Never => {
                    return Err(columns::no_place(
                        store,
                        &missing,
                        "the table has no such column, and create: never",
                    ));
                }
                (_, missing) => {
                    mysql::speak_as_user(session).await?;
                    for (name, definition) in columns::definitions(store, dialect, &missing)? {
                        let statement = format!(
                            "ALTER TABLE {relation} ADD COLUMN {} {definition}",
                            dialect.quoted(&name)
                        );
                        session
                            .execute("add a column to its table", &statement)
                            .await?;
                    }
                    mysql::set_up(session).await?;
                    (missing, false)
                }
            },
        };
        let remarks = columns::remarks(store, dialect, &missing, &coming);
        let table = catalog::table(place, session).await?;
        let Some(table) = table else {
            return Err(columns::no_place(
                store,
                &coming,
                "the table that was made is not there",
            ));
        };
        let (targets, still_missing) = columns::matched(store, dialect, &coming, &table)?;
        if !still_missing.is_empty() {
            return Err(columns::no_place(
                store,
                &still_missing,
                "the table has no such column",
            ));
        }
        Ok((
            Prepared {
                targets,
                has_triggers: table.has_triggers,
                is_made,
            },
            remarks,
        ))
    }

    /// Puts the rows into their table; gives what is known of all its rows then, or nothing where
    /// not all have come.
    async fn fill(
        &self,
        place: &Place,
        session: &mut Session,
        prepared: &Prepared,
        first: Option<Message>,
        coming: &mut mpsc::Receiver<Message>,
    ) -> Result<Option<Option<TableRows>>> {
        let relation = place.relation();
        let table = relation.from(session.database().dialect);
        let is_whole = self.change == Change::Whole;
        let mut before = self.rows_before.filter(|_| !prepared.is_made);
        if is_whole {
            session
                .execute(
                    "remove the rows of the set before",
                    &format!("DELETE FROM {table}"),
                )
                .await?;
            if prepared.has_triggers && look_in(&relation, session).await? == Found::Rows {
                return Err(
                    self.swallowed("rows of the set before stay in it although they were deleted")
                );
            }
            let is_made = before.map_or(self.before.is_some() && !self.store.adopt, |before| {
                before.is_made
            });
            before = Some(TableRows {
                is_made: is_made || prepared.is_made,
                rows: 0,
                of_others: 0,
            });
        } else if prepared.is_made {
            before = Some(TableRows {
                is_made: true,
                rows: 0,
                of_others: 0,
            });
        } else if self.before.is_none() {
            let rows = count(&table, session).await?;
            before = Some(TableRows {
                is_made: false,
                rows,
                of_others: rows,
            });
        }
        let counted = if prepared.has_triggers {
            Some(count(&table, session).await?)
        } else {
            None
        };
        let Some(changes) = self
            .write(place, session, &prepared.targets, first, coming)
            .await?
        else {
            return Ok(None);
        };
        if let Some(counted) = counted {
            let (now, wanted) = (
                count(&table, session).await?,
                (counted + changes.added).saturating_sub(changes.removed),
            );
            if now < wanted {
                return Err(self.swallowed(&format!(
                    "it has {now} rows afterwards, and should have {wanted}"
                )));
            }
        }
        Ok(Some(before.map(|before| {
            before.after(changes.added, changes.removed)
        })))
    }

    /// A trigger or a rule of its owner does something else with rows.
    fn swallowed(&self, what: &str) -> Error {
        let error = format!(
            "table {} does not keep what it is given: {what}",
            self.store.relation
        );
        Error::new(ErrorKind::Flow, error)
            .with_hint("look for triggers and rules of the table; nothing was published")
    }

    /// Writes rows as they come; nothing where not all have come.
    async fn write(
        &self,
        place: &Place,
        session: &mut Session,
        targets: &[Target],
        first: Option<Message>,
        coming: &mut mpsc::Receiver<Message>,
    ) -> Result<Option<Changes>> {
        let dialect = session.database().dialect;
        let is_direct = self.change != Change::Merge
            && targets
                .iter()
                .all(|target| dialect != Dialect::Postgres || !target.holds.is_own());
        let side = if is_direct {
            None
        } else {
            Some(Side::make(&self.store, place, session, targets).await?)
        };
        let into = side
            .as_ref()
            .map_or_else(|| place.relation(), |side| side.relation.clone());
        let (mut changes, mut staged) = (Changes::default(), 0);
        let mut next = first;
        while let Some(message) = next {
            match (message, &side) {
                (Message::Rows(batch, part, before), side) => {
                    let rows = Rows::new(&batch, &self.store, targets, part, before)?;
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
                        return Err(self.swallowed(&words));
                    }
                    *(if side.is_some() {
                        &mut staged
                    } else {
                        &mut changes.added
                    }) += written;
                }
                (Message::Part, None) => {}
                (Message::Part, Some(side)) => {
                    let rows = std::mem::take(&mut staged);
                    let done = match self.change {
                        Change::Merge => side.merge(session, rows).await?,
                        _ => side.move_rows(session, rows).await?,
                    };
                    changes.added += done.added;
                    changes.removed += done.removed;
                }
                (Message::Done, _) => return Ok(Some(changes)),
            }
            next = coming.recv().await;
        }
        Ok(None)
    }
}

/// Rows that are written, with what their columns must be like.
pub(super) struct Rows<'t> {
    pub(super) columns: Vec<(&'t Target, Cells)>,
    pub(super) height: usize,
    part: Arc<str>,
    /// How many rows of the part came before.
    before: u64,
    table: String,
}

impl<'t> Rows<'t> {
    fn new(
        batch: &RecordBatch,
        store: &SqlStore,
        targets: &'t [Target],
        part: Arc<str>,
        before: u64,
    ) -> Result<Self> {
        let cells = |(name, array): (&str, &dyn Array)| {
            let cells = Cells::new(array)
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
            before,
            table: store.relation.to_string(),
        })
    }

    /// A row that is longer than the server takes.
    pub(super) fn too_long(&self, row: usize, bytes: usize, most: usize) -> Error {
        let row = self.before + row as u64 + 1;
        let error = format!(
            "row {row} of {}, which comes to table {}, takes {bytes} bytes of SQL, and max_allowed_packet of the server is {most}",
            self.part, self.table
        );
        Error::new(ErrorKind::Flow, error).with_hint(
            "nothing was published; raise max_allowed_packet of the server, which may be 1 GB",
        )
    }

    /// A value of a row that its column holds; the reason where it does not.
    pub(super) fn misfit(&self, column: usize, row: usize, reason: &str) -> Error {
        let name = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.name.as_str());
        let row = self.before + row as u64 + 1;
        let error = format!(
            "column {name}, row {row} of {}, which comes to table {}: {reason}",
            self.part, self.table
        );
        let declared = self
            .columns
            .get(column)
            .map_or("", |(target, _)| target.declared.as_str());
        let hint = format!(
            "nothing was published; change the value or the column, which is {declared}, or leave the column out"
        );
        Error::new(ErrorKind::Flow, error).with_hint(hint)
    }
}
