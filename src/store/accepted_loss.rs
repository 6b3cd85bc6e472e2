//! Entities whose loss was accepted: a mark beside the store of each, so that nobody misses them
//! without an index either.

use std::path::{Path, PathBuf};

use crate::fs::{self, FsError, nofollow};

/// True for the path that stands for a table.
pub fn is_table_path(store: &Path) -> bool {
    store
        .parent()
        .is_some_and(|parent| parent.ends_with(".hygge/tables"))
}

/// True where the loss of a store's entity was accepted.
pub fn is_loss_accepted(store: &Path) -> Result<bool, FsError> {
    Ok(nofollow::stat(&marker_path(store))?.is_some())
}

/// Remembers that nobody misses the entity of a store any more, or that it is back or its store
/// gone.
pub fn set_loss_accepted(store: &Path, is_accepted: bool) -> Result<(), FsError> {
    let mark = marker_path(store);
    if is_accepted {
        mark.parent().map_or(Ok(()), nofollow::create_folder)?;
        nofollow::write_atomically(&mark, b"")
    } else if nofollow::stat(&mark)?.is_some() {
        fs::remove_file(&mark)
    } else {
        Ok(())
    }
}

fn marker_path(store: &Path) -> PathBuf {
    let name = fs::with_suffix(Path::new(store.file_name().unwrap_or_default()), ".lost");
    // A table has nothing else of its own on the disk.
    if is_table_path(store) {
        store.with_file_name(name)
    } else {
        store.with_file_name(".hygge").join(name)
    }
}
