//! Places: which table a name means at this moment, in the database's own words.
//!
//! A name without a schema means what the database finds for it; two spellings may mean one table.
//! What is locked, written and recorded is what the name means.

use super::SqlStore;
use crate::connection::{Dialect, Relation, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;

/// A table by its schema and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedTable {
    /// The schema; in MySQL the database.
    pub(super) schema: String,
    pub(super) table: String,
    /// False where there is nothing of this name yet.
    pub(super) exists: bool,
}

impl ResolvedTable {
    /// The table, behind its schema.
    pub(super) fn relation(&self) -> Relation {
        Relation::Table(vec![self.schema.clone(), self.table.clone()])
    }

    /// Another table beside it.
    pub(super) fn sibling(&self, name: &str) -> Relation {
        Relation::Table(vec![self.schema.clone(), name.to_string()])
    }

    /// What tells its lock from others of the server.
    pub(super) fn lock_key(&self) -> Fingerprint {
        Fingerprint::hash_bytes(format!("hygge\0{}\0{}", self.schema, self.table).as_bytes())
    }

    /// What the name of a store's table means.
    pub(super) async fn resolve(store: &SqlStore, session: &mut Session) -> Result<Self> {
        let dialect = session.database().dialect;
        let (schema, name) = match store.relation.table_name().unwrap_or_default() {
            [schema, name] => (Some(schema.clone()), name.clone()),
            names => (None, names.last().cloned().unwrap_or_default()),
        };
        match dialect {
            Dialect::Postgres => resolve_postgres(store, schema, name, session).await,
            Dialect::MySql => resolve_mysql(schema, name, session).await,
            Dialect::Sqlite => resolve_sqlite(schema, name, session).await,
        }
    }
}

async fn resolve_postgres(
    store: &SqlStore,
    schema: Option<String>,
    name: String,
    session: &mut Session,
) -> Result<ResolvedTable> {
    let written = Dialect::Postgres.quote_text(&store.relation.source_sql(Dialect::Postgres));
    let asked = format!(
        "SELECT n.nspname, c.relname, current_schema() FROM (SELECT 1) AS one \
         LEFT JOIN pg_class c ON c.oid = to_regclass({written}) LEFT JOIN pg_namespace n ON n.oid = c.relnamespace"
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    let (found_schema, found_name, current) = (
        found.next().flatten(),
        found.next().flatten(),
        found.next().flatten(),
    );
    if let (Some(schema), Some(table)) = (found_schema, found_name) {
        return Ok(ResolvedTable {
            schema,
            table,
            exists: true,
        });
    }
    let schema = schema.or(current).ok_or_else(|| {
        let error = format!(
            "table {} has no schema: none of the user's search_path is there",
            store.relation
        );
        Error::new(ErrorKind::Flow, error).with_hint("name the schema: table: SCHEMA.TABLE")
    })?;
    Ok(ResolvedTable {
        schema,
        table: truncate_identifier(name),
        exists: false,
    })
}

/// A name as PostgreSQL keeps it: of more than 63 bytes it takes the first, in whole characters.
fn truncate_identifier(mut name: String) -> String {
    const MOST: usize = 63;
    if name.len() > MOST {
        name.truncate(name.floor_char_boundary(MOST));
    }
    name
}

async fn resolve_mysql(
    schema: Option<String>,
    name: String,
    session: &mut Session,
) -> Result<ResolvedTable> {
    let text = |text: &str| Dialect::MySql.quote_text(text);
    let wanted = schema.as_deref().map_or_else(|| "DATABASE()".into(), text);
    // What a backslash means in a text depends on the session's mode.
    let asked = format!(
        "SELECT {wanted}, (SELECT CONCAT(table_schema, CHAR(10), table_name) FROM information_schema.tables \
         WHERE table_schema = {wanted} AND table_name = {}), @@lower_case_table_names",
        text(&name)
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    let (schema, there, folds) = (
        found.next().flatten(),
        found.next().flatten(),
        found.next().flatten(),
    );
    if let Some((schema, table)) = there.as_deref().and_then(|there| there.split_once('\n')) {
        return Ok(ResolvedTable {
            schema: schema.to_string(),
            table: table.to_string(),
            exists: true,
        });
    }
    let schema = schema.ok_or_else(|| {
        Error::new(
            ErrorKind::Flow,
            "the URL of its connection names no database",
        )
        .with_hint("mysql://USER@HOST/DATABASE, or table: DATABASE.TABLE")
    })?;
    // Where names are kept in small letters, two spellings are one table.
    let table = if folds.as_deref() == Some("0") {
        name
    } else {
        name.to_lowercase()
    };
    Ok(ResolvedTable {
        schema,
        table,
        exists: false,
    })
}

async fn resolve_sqlite(
    schema: Option<String>,
    name: String,
    session: &mut Session,
) -> Result<ResolvedTable> {
    let schema = schema.unwrap_or_else(|| "main".into());
    let asked = format!(
        "SELECT schema, name FROM pragma_table_list({}) WHERE schema = {} COLLATE NOCASE",
        Dialect::Sqlite.quote_text(&name),
        Dialect::Sqlite.quote_text(&schema)
    );
    let found = session
        .query_text("look for its table", &asked)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut found = found.into_iter();
    match (found.next().flatten(), found.next().flatten()) {
        (Some(schema), Some(table)) => Ok(ResolvedTable {
            schema,
            table,
            exists: true,
        }),
        _ => Ok(ResolvedTable {
            schema,
            table: name,
            exists: false,
        }),
    }
}
