//! Entities that were given up: a mark beside the store of each, so that nobody misses them without
//! an index either.

use std::path::{Path, PathBuf};

use crate::fs::{self, FsError, own};

/// True for the path that stands for a table.
pub fn is_table(store: &Path) -> bool {
    store
        .parent()
        .is_some_and(|parent| parent.ends_with(".hygge/tables"))
}

/// True where the entity of a store was given up.
pub fn is_given_up(store: &Path) -> Result<bool, FsError> {
    Ok(own::stat(&mark(store))?.is_some())
}

/// Remembers that nobody misses the entity of a store any more, or that it is back or its store
/// gone.
pub fn give_up(store: &Path, is_given_up: bool) -> Result<(), FsError> {
    let mark = mark(store);
    if is_given_up {
        mark.parent().map_or(Ok(()), own::create_folder)?;
        own::write_atomically(&mark, b"")
    } else if own::stat(&mark)?.is_some() {
        fs::remove_file(&mark)
    } else {
        Ok(())
    }
}

fn mark(store: &Path) -> PathBuf {
    let name = fs::with_ending(Path::new(store.file_name().unwrap_or_default()), ".lost");
    // A table has nothing else of its own on the disk.
    if is_table(store) {
        store.with_file_name(name)
    } else {
        store.with_file_name(".hygge").join(name)
    }
}
