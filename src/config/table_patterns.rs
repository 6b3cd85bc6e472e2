//! Patterns of entities that are tables of a database: which lists of tables they need. It asks no
//! database.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::listing::GLOB_CHARS;
use super::node::Node;

/// Tables that are listed by one query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableSource {
    /// The connection, by its name.
    pub connection: String,
    /// The schema; `None` for the tables that need none.
    pub schema: Option<String>,
    /// True where views are listed as well.
    pub has_views: bool,
}

/// What is known of the tables of a database.
#[derive(Clone, Debug, PartialEq)]
pub enum TableListing {
    /// These are there, in order.
    Listed(Vec<String>),
    /// These were there when they were listed last: now nobody could ask.
    Remembered {
        /// The tables.
        tables: Vec<String>,
        /// Why nobody could ask, in words.
        reason: String,
    },
    /// Nobody could ever ask.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

impl TableListing {
    /// The tables, as far as they are known.
    pub fn tables(&self) -> &[String] {
        match self {
            Self::Listed(tables) | Self::Remembered { tables, .. } => tables,
            Self::Unknown { .. } => &[],
        }
    }
}

/// All that the config asks for.
pub type TableListings = BTreeMap<TableSource, TableListing>;

/// The tables of a source whose names match.
#[derive(Clone)]
pub(super) struct TablePattern {
    pub(super) source: TableSource,
    /// What stands before their names in the pattern.
    pub(super) schema: Option<String>,
    pub(super) glob: GlobMatcher,
}

impl TablePattern {
    /// A pattern over a home of a connection, such as `public.*`.
    ///
    /// # Errors
    /// It finds nothing, or means something else.
    pub(super) fn parse(home: &Node, from: &str, has_views: bool) -> Result<Self, String> {
        let connection = home_connection(home).unwrap_or_default().to_string();
        let (schema, name) = match from.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, from),
        };
        if schema.is_some_and(|schema| schema.is_empty() || schema.contains(GLOB_CHARS)) {
            return Err("the schema before the dot is one name, as in public.*".into());
        }
        if !name.contains(GLOB_CHARS) {
            return Err("it has no * and so finds at most one".into());
        }
        let glob = GlobBuilder::new(name).build();
        let glob = glob.map_err(|error| error.kind().to_string())?;
        // A home may say the schema for all of its entities.
        let table = home.get("table").and_then(Node::text);
        let of_home = || table.filter(|table| !table.contains('{'));
        Ok(Self {
            source: TableSource {
                connection,
                schema: schema.or_else(of_home).map(str::to_string),
                has_views,
            },
            schema: schema.map(str::to_string),
            glob: glob.compile_matcher(),
        })
    }
}

/// The connection of a home, where it is in a database.
pub(super) fn home_connection(home: &Node) -> Option<&str> {
    home.get("connection").and_then(Node::text)
}
