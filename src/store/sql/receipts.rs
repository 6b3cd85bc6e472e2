//! The receipts of a database's tables: one row each, in a table of hygge's beside them.
//!
//! A receipt is replaced only where it is still the one that was planned with, by the digest that
//! is stored beside it.

use std::sync::Arc;

use super::resolved_table::ResolvedTable;
use super::{SqlStore, engine, engine_of};
use crate::connection::{Database, Dialect, Relation, Session, TableName};
use crate::error::{Error, ErrorKind};
use crate::fingerprint::Fingerprint;
use crate::storage::Version;
use crate::store::StoreError;
use crate::store::receipt::Receipt;

/// The table of receipts, in the schema of the table that they are for.
pub(super) const TABLE: &str = "hygge_receipts";

/// A receipt, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredReceipt {
    /// The table of receipts.
    relation: Relation,
    /// What its table is called there.
    name: String,
    /// The digest that is stored beside it.
    pub(super) digest: String,
    /// Itself, as it was written.
    pub(super) text: String,
}

/// A receipt of a database.
pub(super) struct ReceiptRow {
    /// The schema that it stands in.
    pub(super) schema: String,
    /// True where a name without a schema may mean a table of that.
    pub(super) is_default: bool,
    pub(super) receipt: StoredReceipt,
}

impl StoredReceipt {
    /// What tells it from another: its digest.
    pub(super) fn version(&self) -> Option<Version> {
        let digest = self.digest.parse::<Fingerprint>().ok()?;
        Some(Version::Tag {
            size: self.text.len() as u64,
            tag: digest.as_bytes().as_slice().into(),
        })
    }
}

/// All receipts of a database that its user may read.
pub(super) async fn read_all(database: &Arc<Database>) -> Result<Vec<ReceiptRow>, Error> {
    if database.is_missing()? {
        return Ok(Vec::new());
    }
    let mut session = super::table_contents::reading_session(database).await?;
    let found = read_all_in_session(&mut session).await;
    session.release().await;
    found
}

async fn read_all_in_session(session: &mut Session) -> Result<Vec<ReceiptRow>, Error> {
    let dialect = session.database().dialect;
    let tables = engine_of(session).receipt_tables_sql();
    let mut found = Vec::new();
    for table in session.query_text("look for receipts", &tables).await? {
        let mut table = table.into_iter();
        let (Some(schema), is_default) = (table.next().flatten(), table.next().flatten().is_some())
        else {
            continue;
        };
        let relation = Relation::Table(vec![schema.clone(), TABLE.into()]);
        let asked = format!(
            "SELECT name, digest, receipt FROM {}",
            relation.source_sql(dialect)
        );
        for row in session.query_text("read its receipts", &asked).await? {
            if let Ok([Some(name), Some(digest), Some(text)]) = <[Option<String>; 3]>::try_from(row)
            {
                let found_here = StoredReceipt {
                    relation: relation.clone(),
                    name,
                    digest,
                    text,
                };
                found.push(ReceiptRow {
                    schema: schema.clone(),
                    is_default,
                    receipt: found_here,
                });
            }
        }
    }
    Ok(found)
}

/// The receipt, if there is one.
pub(super) async fn read(
    store: &SqlStore,
    database: &Arc<Database>,
) -> Result<Option<StoredReceipt>, Error> {
    // A database that is not there yet has none.
    if database.is_missing()? {
        return Ok(None);
    }
    let mut session = super::table_contents::reading_session(database).await?;
    let found = match ResolvedTable::resolve(store, &mut session).await {
        Ok(resolved) => find_in_session(store, &resolved, &mut session).await,
        Err(error) => Err(error),
    };
    session.release().await;
    found
}

/// The same in a session, which may be in a transaction. Receipts of the version before stand under
/// the name of the config, in the first schema of the user's `search_path` that had a table of
/// them.
pub(super) async fn find_in_session(
    store: &SqlStore,
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<Option<StoredReceipt>, Error> {
    let relation = resolved.sibling(TABLE);
    if let Some(found) = read_row(&relation, &resolved.table, session).await? {
        return Ok(Some(found));
    }
    let TableName {
        schema,
        name: written,
    } = store.table_name();
    if written != resolved.table
        && let Some(found) = read_row(&relation, written, session).await?
    {
        return Ok(Some(found));
    }
    let engine = engine_of(session);
    let Some(elsewhere) = engine
        .stray_receipt_sql(resolved)
        .filter(|_| schema.is_none())
    else {
        return Ok(None);
    };
    let elsewhere = session
        .query_text("look for its receipt", &elsewhere)
        .await?
        .into_iter()
        .flatten()
        .next()
        .flatten();
    match elsewhere {
        Some(schema) => {
            read_row(
                &Relation::Table(vec![schema, TABLE.into()]),
                written,
                session,
            )
            .await
        }
        None => Ok(None),
    }
}

async fn read_row(
    relation: &Relation,
    name: &str,
    session: &mut Session,
) -> Result<Option<StoredReceipt>, Error> {
    let dialect = session.database().dialect;
    if !super::table_contents::table_exists(relation, session).await? {
        return Ok(None);
    }
    let asked = format!(
        "SELECT digest, receipt FROM {} WHERE name = {}",
        relation.source_sql(dialect),
        dialect.quote_text(name)
    );
    let row = session
        .query_text("read its receipt", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut row = row.into_iter();
    let (digest, text) = (row.next().flatten(), row.next().flatten());
    Ok(digest.zip(text).map(|(digest, text)| StoredReceipt {
        relation: relation.clone(),
        name: name.to_string(),
        digest,
        text,
    }))
}

/// Makes the table of receipts where there is none, before any transaction: two flows that begin at
/// once wait for each other no longer than that takes.
pub(super) async fn create_table(
    resolved: &ResolvedTable,
    session: &mut Session,
) -> Result<(), Error> {
    let engine = engine_of(session);
    let relation = resolved.sibling(TABLE);
    if super::table_contents::table_exists(&relation, session).await? {
        return Ok(());
    }
    let (short, long, rest) = engine.receipt_types();
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS {} (name {short} NOT NULL PRIMARY KEY, project {short}, flow \
         {short}, output {short}, \
         row_count bigint, published_at {short}, digest {short} NOT NULL, receipt {long} NOT \
         NULL){rest}",
        relation.source_sql(engine.dialect())
    );
    let statement = engine.guarded_creation(statement);
    Ok(session
        .execute("make the table of receipts", &statement)
        .await?)
}

/// Writes a receipt within the transaction that changes the rows, in the place of the one that was
/// planned with.
///
/// # Errors
/// Another process has published since.
pub(super) async fn write(
    resolved: &ResolvedTable,
    session: &mut Session,
    before: Option<&StoredReceipt>,
    receipt: &Receipt,
    shown: &str,
) -> Result<(), Error> {
    let dialect = session.database().dialect;
    let text =
        serde_json::to_string(receipt).map_err(|error| Error::new(ErrorKind::Flow, error))?;
    let published = receipt.published.as_ref();
    let output = published.map_or_else(String::new, |published| {
        published.manifest.output_digest().to_string()
    });
    let rows = published
        .map_or(0, |published| published.manifest.rows())
        .to_string();
    let at = published.map_or("", |published| published.at.as_str());
    let digest = Fingerprint::hash_bytes(text.as_bytes()).to_string();
    let quoted = |text: &str| dialect.quote_text(text);
    let fields = [
        ("name", quoted(&resolved.table)),
        ("project", quoted(&receipt.project)),
        ("flow", quoted(&receipt.flow)),
        ("output", quoted(&output)),
        ("row_count", rows),
        ("published_at", quoted(at)),
        ("digest", quoted(&digest)),
        ("receipt", quoted(&text)),
    ];
    let relation = resolved.sibling(TABLE);
    let is_here = |found: &&StoredReceipt| found.relation == relation;
    let statement = if let Some(before) = before.filter(is_here) {
        let set: Vec<String> = fields
            .iter()
            .map(|(field, value)| format!("{field} = {value}"))
            .collect();
        format!(
            "UPDATE {} SET {} WHERE name = {} AND digest = {}",
            relation.source_sql(dialect),
            set.join(", "),
            quoted(&before.name),
            quoted(&before.digest)
        )
    } else {
        if let Some(elsewhere) = before {
            remove(session, elsewhere, shown).await?;
        }
        let (names, values): (Vec<&str>, Vec<String>) = fields.into_iter().unzip();
        format!(
            "INSERT INTO {} ({}) VALUES ({})",
            relation.source_sql(dialect),
            names.join(", "),
            values.join(", ")
        )
    };
    if session
        .execute_update("write its receipt", &statement)
        .await?
        == 1
    {
        Ok(())
    } else {
        Err(concurrent_publish(shown))
    }
}

/// Removes a receipt that is still the one that was found.
///
/// # Errors
/// Another process has published since.
pub(super) async fn remove(
    session: &mut Session,
    found: &StoredReceipt,
    shown: &str,
) -> Result<(), Error> {
    let dialect = session.database().dialect;
    let statement = format!(
        "DELETE FROM {} WHERE name = {} AND digest = {}",
        found.relation.source_sql(dialect),
        dialect.quote_text(&found.name),
        dialect.quote_text(&found.digest)
    );
    if session
        .execute_update("remove its receipt", &statement)
        .await?
        == 1
    {
        Ok(())
    } else {
        Err(concurrent_publish(shown))
    }
}

/// The query whose answer changes when something else is published.
pub(super) fn probe_query(store: &SqlStore, dialect: Dialect) -> String {
    engine(dialect).publication_probe(store.table_name())
}

/// The query for what was published by a name, which is given as SQL.
pub(super) fn output_query(dialect: Dialect, schema: Option<&str>, name: &str) -> String {
    let table = TableName {
        schema,
        name: TABLE,
    };
    format!(
        "SELECT output FROM {} WHERE name = {name}",
        table.source_sql(dialect)
    )
}

/// Another process has published since it was looked at: what was planned may be wrong by now.
pub(super) fn concurrent_publish(shown: &str) -> Error {
    StoreError::ConcurrentPublish(shown.to_string()).into()
}
