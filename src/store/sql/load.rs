//! Loading: staged parts are decoded on one side of a bounded queue and written on the other, in one transaction with the receipt.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use polars::prelude::DataFrame;
use tokio::sync::mpsc;

use super::cells::{self, Cells};
use super::columns::{self, Target};
use super::{Create, FORMAT, SqlStore, merge, mysql, new_parts, postgres, receipts, sqlite};
use crate::connection::Relation;
use crate::connection::types::Type;
use crate::connection::{ConnectionError, Database, Dialect, Session, spawn, until};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::format::{Cut, FormatError, Opened, Piece, Sources};
use crate::fs;
use crate::home::sql::columns_of_table;
use crate::store::receipt::{Part, Receipt};
use crate::store::room::Room;
use crate::store::{Change, Publication, Store, StoreError};

/// How many groups of rows wait between the decoder and the database.
const QUEUE: usize = 2;

/// The table that rows come into first, where they cannot come into their table at once.
pub(super) const SIDE: &str = "hygge_side";

/// What is in the place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    NoRows,
    Rows,
}

/// True where there is a table.
pub(super) async fn exists(store: &SqlStore, database: &Arc<Database>) -> Result<bool> {
    Ok(look(store, database).await? != Found::Nothing)
}

/// What SQLite says to who only reads where somebody died while writing: <https://www.sqlite.org/rescode.html#readonly_rollback>.
const CUT_OFF: &str = "776";

/// A session that reads. Where a process died in the middle of a load, SQLite first undoes that, which takes one that writes.
pub(super) async fn reading_session(database: &Arc<Database>) -> Result<Session> {
    let mut session = database.session().await?;
    if database.dialect != Dialect::Sqlite {
        return Ok(session);
    }
    let (action, any) = ("look into it", "SELECT 1 FROM sqlite_master LIMIT 1");
    let looked = session.ask(action, any).await;
    if !matches!(&looked, Err(ConnectionError::Failed { failure, .. }) if failure.code.as_deref() == Some(CUT_OFF)) {
        // Whatever else is amiss shows again where something is looked for.
        return Ok(session);
    }
    // Another may be the last that there is room for.
    drop(session);
    let mut session = database.writing_session().await?;
    session.ask(action, any).await?;
    session.end().await;
    Ok(database.session().await?)
}

/// What is in the place of the table.
pub(super) async fn look(store: &SqlStore, database: &Arc<Database>) -> Result<Found> {
    if database.is_missing()? {
        return Ok(Found::Nothing);
    }
    let mut session = reading_session(database).await?;
    let found = look_in(store, &mut session).await;
    session.end().await;
    found
}

async fn look_in(store: &SqlStore, session: &mut Session) -> Result<Found> {
    if !is_there(&store.relation, session).await? {
        return Ok(Found::Nothing);
    }
    let asked = format!("SELECT 1 FROM {} LIMIT 1", store.relation.from(session.database().dialect));
    let found = session.ask("look at its table", &asked).await?;
    Ok(if found.is_empty() { Found::NoRows } else { Found::Rows })
}

/// True where there is a table of this name.
pub(super) async fn is_there(relation: &Relation, session: &mut Session) -> Result<bool> {
    let dialect = session.database().dialect;
    let Some([rest @ .., name]) = relation.table() else { return Ok(false) };
    let asked = match dialect {
        Dialect::Postgres => format!("SELECT 1 WHERE to_regclass({}) IS NOT NULL", dialect.text(&relation.from(dialect))),
        Dialect::Sqlite => {
            let schema = rest.first().map_or_else(|| "'main'".into(), |schema| dialect.text(schema));
            format!("SELECT 1 FROM pragma_table_list WHERE schema = {schema} AND name = {} COLLATE NOCASE", dialect.text(name))
        }
        Dialect::MySql => {
            let schema = rest.first().map_or_else(|| "DATABASE()".into(), |schema| dialect.text(schema));
            format!("SELECT 1 FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {}", dialect.text(name))
        }
    };
    Ok(!session.ask("look for its table", &asked).await?.is_empty())
}

/// Removes the table and its receipt.
pub(super) async fn clear(store: &SqlStore, database: &Arc<Database>) -> Result<()> {
    let mut session = database.writing_session().await?;
    let drop = format!("DROP TABLE IF EXISTS {}", store.relation.from(database.dialect));
    session.execute("remove its table", &drop).await?;
    if is_there(&receipts::relation(store), &mut session).await? {
        receipts::remove(store, &mut session).await?;
    }
    session.end().await;
    Ok(())
}

/// What comes through the queue.
enum Message {
    Rows(DataFrame),
    /// A part has come whole.
    Part,
    /// All have: what was written shall stay.
    Done,
}

/// Publishes a set: all its parts, or those that the table does not have.
pub(super) fn publish(store: &SqlStore, publication: &Publication<'_>, receipt: &Receipt, room: &Room<'_>) -> Result<(), StoreError> {
    let parts: Vec<&Part> = match publication.change {
        Change::Add | Change::Merge if store.live(&store.path)?.exists => new_parts(publication.next, publication.receipt),
        _ => publication.next.manifest.parts.iter().collect(),
    };
    let (before, interrupted) = (publication.receipt.cloned(), publication.interrupted.clone());
    let job = Job { store: store.clone(), change: publication.change, before, receipt: receipt.clone(), interrupted };
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
    loading.wait()??;
    Ok(fed?)
}

/// Decodes parts and sends their rows.
fn feed(parts: &[&Part], room: &Room<'_>, interrupted: &AtomicBool, sender: &mpsc::Sender<Message>) -> Result<()> {
    let mut kinds = None;
    for part in parts {
        let shown = part.inputs.first().map_or(part.name.as_str(), |input| input.name.as_str());
        let sources = Staged { path: room.staged.place(&part.digest)?, shown: PathBuf::from(shown), digest: part.digest };
        let opened = sources.open(0)?;
        FORMAT.readable(&opened).map_err(|error| match error {
            FormatError::Undecodable { .. } => {
                Error::from(error).with_hint("rows come into a table as values: give the home files without the column")
            }
            other => other.into(),
        })?;
        let pieces = [Piece { file: 0, group: None, rows: None }];
        let mut rows = 0;
        let mut is_heard = true;
        if part.rows == 0 {
            // A table without rows still has columns.
            drop(sender.blocking_send(Message::Rows(FORMAT.without_rows(&opened)?)));
        }
        FORMAT.decode(&Cut { sources: &sources, pieces: &pieces, interrupted }, &mut |frame| {
            rows += frame.height() as u64;
            check_kinds(&mut kinds, &frame, shown)?;
            is_heard = is_heard && sender.blocking_send(Message::Rows(frame)).is_ok();
            if is_heard { Ok(()) } else { Err(FormatError::Encode("nobody takes its rows".into())) }
        })?;
        if rows != part.rows {
            let error = format!("{} has {rows} rows, and should have {}", part.name, part.rows);
            return Err(Error::new(ErrorKind::Flow, error).with_hint("this is a fault of hygge: please report it; nothing was published"));
        }
        drop(sender.blocking_send(Message::Part));
    }
    Ok(())
}

/// Files of one flow may store a type in several ways, which are one for the decoder too; what it takes for two is refused.
fn check_kinds(kinds: &mut Option<Vec<Option<Type>>>, frame: &DataFrame, shown: &str) -> Result<(), FormatError> {
    let found: Vec<Option<Type>> = frame.columns().iter().map(cells::kind_of).collect();
    let known = kinds.get_or_insert_with(|| found.clone());
    let differs = frame.columns().iter().zip(&found).zip(known.iter()).find(|((_, found), known)| found != known);
    let Some(((column, found), known)) = differs else { return Ok(()) };
    let word = |kind: &Option<Type>| kind.as_ref().map_or_else(|| "of another type".to_string(), Type::to_string);
    let error = format!("column {} of {shown} is {}, and {} in the files before it", column.name(), word(found), word(known));
    let hint = "its type is annotated in the old way there, or not at all: give those files a flow of their own";
    Err(Error::new(ErrorKind::Flow, error).with_hint(hint).into())
}

/// One staged part.
struct Staged {
    path: PathBuf,
    /// What errors call it.
    shown: PathBuf,
    digest: Fingerprint,
}

impl Sources for Staged {
    fn open(&self, _: usize) -> Result<Opened> {
        match fs::open(&self.path) {
            Ok(file) => Ok(Opened { file, path: self.shown.clone() }),
            Err(error) if error.is_absent() => Err(StoreError::Part(self.digest.short()).into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is written, and in which way.
struct Job {
    store: SqlStore,
    change: Change,
    before: Option<Receipt>,
    receipt: Receipt,
    interrupted: Arc<AtomicBool>,
}

impl Job {
    async fn load(self, database: &Arc<Database>, mut coming: mpsc::Receiver<Message>) -> Result<()> {
        if let Some(folder) = database.file.as_deref().and_then(Path::parent) {
            fs::create_folder(folder)?;
        }
        let mut session = database.writing_session().await?;
        let canceller = session.canceller();
        let loaded = tokio::select! {
            loaded = self.load_locked(&mut session, &mut coming) => loaded,
            () = until(&self.interrupted) => {
                canceller.cancel().await;
                Err(Error::new(ErrorKind::Interrupted, "interrupted"))
            }
        };
        // A session in the middle of something is closed, which ends its transaction.
        if loaded.is_ok() {
            session.end().await;
        }
        loaded
    }

    async fn load_locked(&self, session: &mut Session, coming: &mut mpsc::Receiver<Message>) -> Result<()> {
        let name = format!("hygge {}", self.store.path.display());
        lock(session, &name).await?;
        self.load_in(session, coming).await?;
        unlock(session, &name).await
    }

    async fn load_in(&self, session: &mut Session, coming: &mut mpsc::Receiver<Message>) -> Result<()> {
        let first = coming.recv().await;
        let targets = match &first {
            Some(Message::Rows(frame)) => Some(self.prepare(session, frame).await?),
            _ => None,
        };
        receipts::make_table(&self.store, session).await?;
        begin_writing(session).await?;
        self.check_receipt(session).await?;
        if self.change == Change::Whole && targets.is_some() {
            let statement = format!("DELETE FROM {}", self.store.relation.from(session.database().dialect));
            session.execute("remove the rows of the set before", &statement).await?;
        }
        let is_done = match targets {
            Some(targets) => self.write(session, &targets, first, coming).await?,
            None => matches!(first, Some(Message::Done)),
        };
        if !is_done {
            // The other side ended before its end, and says why.
            return Ok(session.execute("undo what was written", "ROLLBACK").await?);
        }
        receipts::write(&self.store, session, &self.receipt).await?;
        Ok(session.execute("commit", "COMMIT").await?)
    }

    /// Nobody has published since it was looked at, and nothing is overwritten that is not ours.
    async fn check_receipt(&self, session: &mut Session) -> Result<()> {
        let found = receipts::field_in(&self.store, session, "receipt").await?;
        let found = found.map(|text| self.store.understood(&text)).transpose()?;
        if found != self.before {
            return Err(receipts::overtaken(&self.store.connection.name).into());
        }
        if found.is_none() && !self.store.adopt && look_in(&self.store, session).await? == Found::Rows {
            return Err(self.store.foreign().into());
        }
        Ok(())
    }

    /// The table is there, with a place for every column.
    async fn prepare(&self, session: &mut Session, frame: &DataFrame) -> Result<Vec<Target>> {
        let (store, dialect) = (&self.store, session.database().dialect);
        let mut coming = Vec::new();
        for column in frame.columns() {
            let kind = Cells::new(column).map(|cells| cells.kind);
            let no_type = |kind: String| {
                Error::new(ErrorKind::Flow, format!("column {} is {kind}, which has no place in a table", column.name()))
                    .with_hint("databases have no type that holds it exactly: give the home files without it")
            };
            coming.push((column.name().to_string(), kind.map_err(no_type)?));
        }
        if let Some(key) = store.key.iter().find(|key| !coming.iter().any(|(name, _)| name == *key)) {
            let error = format!("the key of table {} has the column {key}, which does not come", store.relation);
            return Err(Error::new(ErrorKind::Flow, error).with_hint("check key of the store"));
        }
        let Some(there) = columns_of_table(&store.connection, &store.relation, session).await? else {
            if store.create == Create::Never {
                return Err(store.no_table().into());
            }
            let targets = columns::made(store, dialect, &coming)?;
            session.execute("make its table", &columns::create(store, dialect, &targets)).await?;
            return self.found(session, &coming).await;
        };
        let (targets, missing) = columns::matched(store, dialect, &coming, &there)?;
        if missing.is_empty() {
            return Ok(targets);
        }
        for target in &self.added(dialect, &missing)? {
            let statement =
                format!("ALTER TABLE {} ADD COLUMN {} {}", store.relation.from(dialect), dialect.quoted(&target.name), target.declared);
            session.execute("add a column to its table", &statement).await?;
        }
        self.found(session, &coming).await
    }

    /// What comes and what the table has, now that it has all of it.
    async fn found(&self, session: &mut Session, coming: &[(String, Type)]) -> Result<Vec<Target>> {
        let there = columns_of_table(&self.store.connection, &self.store.relation, session).await?.unwrap_or_default();
        let (targets, missing) = columns::matched(&self.store, session.database().dialect, coming, &there)?;
        match missing.first() {
            Some((name, kind)) => Err(columns::no_place(&self.store, name, kind, "the table has no such column")),
            None => Ok(targets),
        }
    }

    fn added(&self, dialect: Dialect, missing: &[(String, Type)]) -> Result<Vec<Target>> {
        match missing.first() {
            Some((name, kind)) if self.store.create == Create::Never => {
                Err(columns::no_place(&self.store, name, kind, "the table has no such column, and create: never"))
            }
            _ => columns::made(&self.store, dialect, missing),
        }
    }

    /// Writes rows as they come; true where all have come.
    async fn write(
        &self,
        session: &mut Session,
        targets: &[Target],
        first: Option<Message>,
        coming: &mut mpsc::Receiver<Message>,
    ) -> Result<bool> {
        let dialect = session.database().dialect;
        let is_direct = self.change != Change::Merge && (dialect != Dialect::Postgres || targets.iter().all(postgres::is_direct));
        let into = if is_direct { self.store.relation.clone() } else { Relation::Table(vec![SIDE.into()]) };
        if !is_direct {
            session.execute("make a table beside it", &merge::side(&self.store, dialect, targets)).await?;
        }
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Rows(frame) => {
                    let rows = Rows::new(&frame, &self.store)?;
                    match dialect {
                        Dialect::Postgres => postgres::write(session, &into, targets, &rows).await?,
                        Dialect::MySql => mysql::write(session, &into, targets, &rows).await?,
                        Dialect::Sqlite => sqlite::write(session, &into, targets, &rows).await?,
                    }
                }
                Message::Part if is_direct => {}
                Message::Part if self.change == Change::Merge => merge::merge(&self.store, session, targets).await?,
                Message::Part => merge::move_rows(&self.store, session, targets).await?,
                Message::Done => return Ok(true),
            }
            next = coming.recv().await;
        }
        Ok(false)
    }
}

/// Rows that are written.
pub(super) struct Rows {
    pub(super) columns: Vec<(String, Cells)>,
    pub(super) height: usize,
    pub(super) table: String,
}

impl Rows {
    fn new(frame: &DataFrame, store: &SqlStore) -> Result<Self> {
        let cells = |column: &polars::prelude::Column| {
            let cells = Cells::new(column).map_err(|kind| Error::new(ErrorKind::Flow, format!("column {} is {kind}", column.name())))?;
            Ok((column.name().to_string(), cells))
        };
        let columns = frame.columns().iter().map(cells).collect::<Result<_>>()?;
        Ok(Self { columns, height: frame.height(), table: store.relation.to_string() })
    }

    /// A value that has no place.
    pub(super) fn misfit(&self, column: usize, row: usize, reason: &str) -> Error {
        let name = self.columns.get(column).map_or("", |(name, _)| name.as_str());
        let error = format!("column {name}, row {} of those that come to table {}: {reason}", row + 1, self.table);
        Error::new(ErrorKind::Flow, error).with_hint("nothing was published; change the value, or leave the column out")
    }
}

/// Two processes never write to one table at once.
async fn lock(session: &mut Session, name: &str) -> Result<()> {
    let action = "lock its table";
    match session.database().dialect {
        Dialect::Sqlite => session.execute(action, "BEGIN IMMEDIATE").await?,
        Dialect::Postgres => {
            let number =
                Fingerprint::of_bytes(name.as_bytes()).as_bytes()[..8].iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
            session.execute(action, &format!("BEGIN; SELECT pg_advisory_xact_lock({number})")).await?;
        }
        Dialect::MySql => {
            let modes = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'";
            session.execute(action, modes).await?;
            let name = Dialect::MySql.text(&Fingerprint::of_bytes(name.as_bytes()).short());
            session.ask(action, &format!("SELECT GET_LOCK({name}, 3600)")).await?;
        }
    }
    Ok(())
}

async fn unlock(session: &mut Session, name: &str) -> Result<()> {
    if session.database().dialect == Dialect::MySql {
        let name = Dialect::MySql.text(&Fingerprint::of_bytes(name.as_bytes()).short());
        session.ask("unlock its table", &format!("SELECT RELEASE_LOCK({name})")).await?;
    }
    Ok(())
}

/// What changes tables has been done: MySQL ends a transaction before each of that.
async fn begin_writing(session: &mut Session) -> Result<()> {
    if session.database().dialect == Dialect::MySql {
        session.execute("begin a transaction", "START TRANSACTION").await?;
    }
    Ok(())
}
