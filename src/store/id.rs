//! What tells a store from every other: a folder by its real path, a table by its database and its
//! name.
//!
//! It looks at nothing: whether there is such a store it does not know.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::fingerprint::Fingerprint;

/// Where hygge keeps what it has of tables on this machine, below the folder of the config.
const TABLES_FOLDER: &str = ".hygge/tables";

/// How many letters of a table's name are in what its files are called.
const MAX_NAME_LETTERS: usize = 60;

/// A file name has at most 255 bytes, and the table's is one of its pieces.
const MAX_NAME_BYTES: usize = 200;

/// What tells a store from every other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreId {
    /// A folder, by its absolute path with links resolved.
    Folder(PathBuf),
    /// A table.
    Table(TableId),
}

/// What tells a table from every other that a project fills. The table itself lies in its database;
/// on this machine there is a lock of it, and a mark where it is not missed any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// The folder of these files.
    folder: PathBuf,
    /// What they are called: the table's name, as far as it is plain, and a digest.
    name: String,
}

impl StoreId {
    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Table(_) => None,
        }
    }

    /// What the index knows it by.
    pub fn index_key(&self) -> Cow<'_, Path> {
        match self {
            Self::Folder(folder) => Cow::Borrowed(folder),
            Self::Table(table) => Cow::Owned(table.folder.join(&table.name)),
        }
    }

    /// The store that the index knows by this.
    pub fn from_index_key(key: PathBuf) -> Self {
        match (key.parent(), key.file_name().and_then(|name| name.to_str())) {
            (Some(folder), Some(name)) if folder.ends_with(TABLES_FOLDER) => Self::Table(TableId {
                folder: folder.to_path_buf(),
                name: name.to_string(),
            }),
            _ => Self::Folder(key),
        }
    }
}

impl TableId {
    /// A table of a project whose config is in this folder: `database` tells its database from
    /// others, `table` is its name as it is written, `plain_name` is for people.
    pub fn new(root: &Path, database: &str, table: &str, plain_name: &str) -> Self {
        let digest = Fingerprint::hash_bytes(format!("{database}\0{table}").as_bytes()).short();
        let mut plain: String = plain_name
            .chars()
            .filter(|letter| letter.is_alphanumeric() || *letter == '_')
            .take(MAX_NAME_LETTERS)
            .collect();
        plain.truncate(plain.floor_char_boundary(MAX_NAME_BYTES));
        Self {
            folder: root.join(TABLES_FOLDER),
            name: format!("{plain}-{digest}"),
        }
    }

    /// The folder of its files on this machine.
    pub fn files_folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the config.
    pub fn config_folder(&self) -> &Path {
        self.folder.ancestors().nth(2).unwrap_or(&self.folder)
    }

    /// What its files are called, without their endings. Another checkout of the project calls them
    /// the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of its lock.
    pub fn lock_file(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_key_is_that_of_one_store() {
        let table = TableId::new(
            Path::new("/p"),
            "pg://h/d",
            "public.orders",
            "public.orders",
        );
        assert_eq!(table.config_folder(), Path::new("/p"));
        assert!(table.name().starts_with("publicorders-"), "{table:?}");
        assert_eq!(
            table.lock_file(),
            PathBuf::from(format!("/p/.hygge/tables/{}.lock", table.name()))
        );
        for id in [
            StoreId::Table(table),
            StoreId::Folder("/p/data/orders".into()),
            StoreId::Folder("/p/.hygge/other/orders".into()),
        ] {
            assert_eq!(StoreId::from_index_key(id.index_key().into_owned()), id);
        }
    }

    #[test]
    fn names_of_tables_are_bounded_and_tell_databases_apart() {
        let long = "ä".repeat(300);
        let one = TableId::new(Path::new("/p"), "one", &long, &long);
        let other = TableId::new(Path::new("/p"), "other", &long, &long);
        assert!(one.name().len() < 230, "{}", one.name().len());
        assert_ne!(one, other);
    }
}
