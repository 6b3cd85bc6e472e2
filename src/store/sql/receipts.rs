//! The receipts of a database's tables: one row each, in a table of hygge's beside them.

use super::SqlStore;
use crate::connection::Relation;
use crate::connection::{ConnectionError, Database, Dialect, Failure, Session};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::store::receipt::Receipt;

/// The table of receipts, in the schema of the table that they are for.
pub(super) const TABLE: &str = "hygge_receipts";

/// The lock of who makes it in PostgreSQL: any number that nobody else uses.
const MAKING: i64 = 0x6879_6767_6500;

/// The table of receipts beside a store's table.
pub(super) fn relation(store: &SqlStore) -> Relation {
    let mut names: Vec<String> = store.relation.table().map(<[String]>::to_vec).unwrap_or_default();
    names.pop();
    names.push(TABLE.into());
    Relation::Table(names)
}

/// What a table is called in its row.
fn name(store: &SqlStore) -> &str {
    store.relation.table().and_then(<[String]>::last).map_or("", String::as_str)
}

/// The digest of the receipt, if there is one.
pub(super) async fn digest(store: &SqlStore, database: &std::sync::Arc<Database>) -> Result<Option<Fingerprint>, Error> {
    Ok(field(store, database, "digest").await?.and_then(|digest| digest.parse().ok()))
}

/// The receipt, if there is one.
pub(super) async fn text(store: &SqlStore, database: &std::sync::Arc<Database>) -> Result<Option<String>, Error> {
    field(store, database, "receipt").await
}

async fn field(store: &SqlStore, database: &std::sync::Arc<Database>, field: &str) -> Result<Option<String>, Error> {
    // A database that is not there yet has none.
    if database.is_missing()? {
        return Ok(None);
    }
    let mut session = super::load::reading_session(database).await?;
    let found = field_in(store, &mut session, field).await;
    session.end().await;
    found
}

/// The same in a session, which may be in a transaction.
pub(super) async fn field_in(store: &SqlStore, session: &mut Session, field: &str) -> Result<Option<String>, Error> {
    let dialect = session.database().dialect;
    let relation = relation(store);
    if !super::load::is_there(&relation, session).await? {
        return Ok(None);
    }
    let asked = format!("SELECT {field} FROM {} WHERE name = {}", relation.from(dialect), dialect.text(name(store)));
    let found = session.ask("read its receipt", &asked).await?;
    Ok(found.into_iter().flatten().next().flatten())
}

/// Makes the table of receipts where there is none.
pub(super) async fn make_table(store: &SqlStore, session: &mut Session) -> Result<(), Error> {
    let dialect = session.database().dialect;
    let relation = relation(store);
    if super::load::is_there(&relation, session).await? {
        return Ok(());
    }
    if dialect == Dialect::Postgres {
        // Two who make it at once would be in each other's way.
        session.execute("lock the table of receipts", &format!("SELECT pg_advisory_xact_lock({MAKING})")).await?;
        if super::load::is_there(&relation, session).await? {
            return Ok(());
        }
    }
    let (short, long, rest) = match dialect {
        Dialect::MySql => ("varchar(190)", "longtext", " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        _ => ("text", "text", ""),
    };
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS {} (name {short} NOT NULL PRIMARY KEY, project {short}, flow {short}, output {short}, \
         row_count bigint, published_at {short}, digest {short} NOT NULL, receipt {long} NOT NULL){rest}",
        relation.from(dialect)
    );
    Ok(session.execute("make the table of receipts", &statement).await?)
}

/// Writes a receipt within the transaction that changes the rows.
pub(super) async fn write(store: &SqlStore, session: &mut Session, receipt: &Receipt) -> Result<(), Error> {
    let dialect = session.database().dialect;
    let text = serde_json::to_string(receipt).map_err(|error| Error::new(crate::error::ErrorKind::Flow, error))?;
    let published = receipt.published.as_ref();
    let output = published.map_or_else(String::new, |published| published.manifest.output().to_string());
    let at = published.map_or("", |published| published.at.as_str());
    let rows = published.map_or(0, |published| published.manifest.rows());
    remove(store, session).await?;
    let values: Vec<String> = [name(store), &receipt.project, &receipt.flow, &output].into_iter().map(|text| dialect.text(text)).collect();
    let statement = format!(
        "INSERT INTO {} (name, project, flow, output, row_count, published_at, digest, receipt) VALUES ({}, {rows}, {}, {}, {})",
        relation(store).from(dialect),
        values.join(", "),
        dialect.text(at),
        dialect.text(&Fingerprint::of_bytes(text.as_bytes()).to_string()),
        dialect.text(&text),
    );
    Ok(session.execute("write its receipt", &statement).await?)
}

/// Removes a receipt.
pub(super) async fn remove(store: &SqlStore, session: &mut Session) -> Result<(), Error> {
    let dialect = session.database().dialect;
    let statement = format!("DELETE FROM {} WHERE name = {}", relation(store).from(dialect), dialect.text(name(store)));
    Ok(session.execute("remove its receipt", &statement).await?)
}

/// The query whose answer changes when something else is published.
pub(super) fn probe(store: &SqlStore, dialect: Dialect) -> String {
    format!("SELECT output FROM {} WHERE name = {}", relation(store).from(dialect), dialect.text(name(store)))
}

/// Another process has published since it was looked at: what was planned may be wrong by now.
pub(super) fn overtaken(connection: &str) -> ConnectionError {
    let words = "another process has published to its table meanwhile".to_string();
    ConnectionError::Failed { connection: connection.to_string(), action: "publish".into(), failure: Failure::of_words(words, true) }
}
