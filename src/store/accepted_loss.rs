//! Entities whose loss was accepted: a mark beside the store of each, so that nobody misses them
//! without an index either.

use std::path::{Path, PathBuf};

use super::StoreId;
use crate::fs::{self, FsError, nofollow};

/// What the name of a mark ends with.
const LOST_SUFFIX: &str = ".lost";

/// True where the loss of a store's entity was accepted.
pub fn is_loss_accepted(store: &StoreId) -> Result<bool, FsError> {
    Ok(nofollow::stat(&marker_path(store))?.is_some())
}

/// Remembers that nobody misses the entity of a store any more, or that it is back or its store
/// gone.
pub fn set_loss_accepted(store: &StoreId, is_accepted: bool) -> Result<(), FsError> {
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

fn marker_path(store: &StoreId) -> PathBuf {
    match store {
        StoreId::Folder(folder) => {
            let name = Path::new(folder.file_name().unwrap_or_default());
            folder
                .with_file_name(".hygge")
                .join(fs::with_suffix(name, LOST_SUFFIX))
        }
        StoreId::Table(table) => table
            .files_folder()
            .join(format!("{}{LOST_SUFFIX}", table.name())),
    }
}
