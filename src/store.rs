//! Stores: where data settles. A store says what it holds and changes all at once or not at all.
//!
//! [`Store`] is what the config says of it, [`StoreSession`] the store itself. Neither knows flows
//! and homes: they are told what to publish, and by whom.

pub mod accepted_loss;
pub mod context;
mod error;
pub mod files;
mod id;
pub mod receipt;
mod session;
pub mod sql;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::Path;
use std::sync::Arc;

use crate::config::Settings;
use crate::config::connection::Connection;
use crate::connection::Relation;
use crate::fingerprint::Fingerprint;
use crate::format::OutputSpec;
use crate::home::Home;

pub use error::StoreError;
pub use id::{StoreId, TableId};
pub use session::{
    LiveContents, Publication, RemovalPlan, SiblingReceipt, StoreSession, StoreStats, StoreUpdate,
};

/// A destination, as the config describes it.
///
/// Two stores are the same where their kinds and their settings are: a store holds nothing else.
pub trait Store: Debug + Send + Sync {
    /// The `type:` in the config.
    fn kind(&self) -> &'static str;

    /// Every field of the config, resolved, in order.
    fn settings(&self) -> Settings;

    /// Where it lies, as the config says it.
    fn location(&self) -> StoreLocation<'_>;

    /// What it can do, by which flows are planned.
    fn capabilities(&self) -> Capabilities;

    /// What its parts are made of.
    fn output_spec(&self) -> OutputSpec;

    /// What decides how a flow's parts are published: their names. The path is not in it: a
    /// receipt stands beside its store, so that a project that was moved is as fresh as before.
    fn placement(&self) -> BTreeMap<String, String>;

    /// True where it takes over a place that holds what hygge did not make.
    fn adopts(&self) -> bool;

    /// The name of a part. Two parts of one set must not get the same name: the caller checks.
    ///
    /// # Errors
    /// The pattern gives a name that no part may have.
    fn part_name(&self, naming: &PartNaming<'_>) -> Result<String, StoreError>;

    /// True where a part's name has its digest in it, which nobody knows before it is made.
    fn names_by_digest(&self) -> bool {
        false
    }

    /// The home that reads what it holds, where that is no files.
    fn as_home(&self) -> Option<Arc<dyn Home>> {
        None
    }

    /// Its flow rests: what it keeps open at a server and has no use for meanwhile is closed.
    fn close_idle(&self) {}

    /// The store where it really lies, by its location with links resolved. Nothing is looked at
    /// yet.
    ///
    /// # Errors
    /// There can be no store: its name is too long for what stands beside it.
    fn open(&self, id: &StoreId) -> Result<Arc<dyn StoreSession>, StoreError>;
}

impl dyn Store + '_ {
    /// The folder, where it is one.
    pub fn as_folder(&self) -> Option<&Path> {
        match self.location() {
            StoreLocation::Folder(folder) => Some(folder),
            StoreLocation::Table(_) => None,
        }
    }

    /// The table, where it is one.
    pub fn as_table(&self) -> Option<TargetTable<'_>> {
        match self.location() {
            StoreLocation::Folder(_) => None,
            StoreLocation::Table(table) => Some(table),
        }
    }
}

impl PartialEq for dyn Store {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.settings() == other.settings()
    }
}

impl Eq for dyn Store {}

/// Where a store lies, as the config says it.
#[derive(Clone, Copy, Debug)]
pub enum StoreLocation<'a> {
    /// A folder of this machine: its absolute path, links not resolved.
    Folder(&'a Path),
    /// A table of a database.
    Table(TargetTable<'a>),
}

/// A table that a store fills.
#[derive(Clone, Copy, Debug)]
pub struct TargetTable<'a> {
    /// What tells it from every other table.
    pub id: &'a TableId,
    /// What tells its database from others.
    pub database: &'a str,
    /// Its name, behind its schema if that is said.
    pub relation: &'a Relation,
    /// The connection by which it is filled.
    pub connection: &'a Connection,
    /// The columns by which rows are merged.
    pub key: &'a [String],
}

impl<'a> TargetTable<'a> {
    /// Its name, behind its schema if that is said.
    pub fn names(&self) -> &'a [String] {
        self.relation.table_name().unwrap_or_default()
    }

    /// True where both may be one table, by two spellings of its name.
    pub fn may_be(&self, other: &TargetTable<'_>) -> bool {
        let (Some(name), Some(other_name)) = (self.names().last(), other.names().last()) else {
            return false;
        };
        self.database == other.database && name.eq_ignore_ascii_case(other_name)
    }
}

impl fmt::Display for TargetTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} of {}", self.relation, self.connection.name)
    }
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Its parts are files that others read as they are: one that was published can be published
    /// again, and its bytes are known.
    pub parts_readable: bool,
    /// What was added to it can be taken back.
    pub append_revocable: bool,
    /// Rows can be merged by a key.
    pub can_merge: bool,
    /// It is asked through connections, of which a server may have few.
    pub uses_connections: bool,
}

/// What a part's name may be made of.
#[derive(Clone, Copy, Debug)]
pub struct PartNaming<'a> {
    /// The part's number in its set, from 1.
    pub sequence: u64,
    /// The name of its first input file without folder and ending.
    pub stem: &'a str,
    /// The part's digest; `None` while it is not made.
    pub digest: Option<&'a Fingerprint>,
}
