//! Places: which table a name means at this moment, in the database's own words.
//!
//! A name without a schema means what the database finds for it; two spellings may mean one table.
//! What is locked, written and recorded is what the name means.

use super::{SqlStore, engine_of};
use crate::connection::{Relation, Session};
use crate::error::Result;
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
        engine_of(session)
            .resolve(store.table_name(), session)
            .await
    }
}
