//! Whether a set can be published where a store is. What belongs to another user would stop a build
//! at its end.

use super::PublishStrategy;
use super::paths::FilesStorePaths;
use super::set_folder;
use crate::fs::{self, nofollow};
use crate::store::StoreError;

/// Fails where something that a publication changes may not be changed. Changes nothing.
pub(super) fn check(paths: &FilesStorePaths) -> Result<(), StoreError> {
    let parent = paths
        .live
        .parent()
        .ok_or_else(|| StoreError::NotAFolder(paths.live.clone()))?;
    let has_hidden = nofollow::stat(&paths.hygge_folder)?.is_some();
    let is_there = fs::stat(&paths.live)?.is_some();
    if paths.strategy == PublishStrategy::Exchange || !has_hidden || !is_there {
        fs::check_folder_writable(fs::nearest_existing(parent)?)?;
    }
    if has_hidden {
        fs::check_folder_writable(&paths.hygge_folder)?;
        fs::check_file_writable(&paths.lock)?;
        [&paths.receipt, &paths.next, &paths.previous_set]
            .into_iter()
            .try_for_each(|path| fs::check_replaceable(path))?;
    }
    if is_there {
        // A folder that moves to another is written to as well.
        fs::check_folder_writable(&paths.live)?;
        for folder in set_folder::partitions(&paths.live)? {
            fs::check_folder_writable(&folder)?;
        }
        match paths.strategy {
            PublishStrategy::Exchange => fs::check_replaceable(&paths.live)?,
            PublishStrategy::InPlace if nofollow::stat(&paths.inner_hygge_folder)?.is_some() => {
                fs::check_folder_writable(&paths.inner_hygge_folder)?
            }
            PublishStrategy::InPlace => {}
        }
    }
    Ok(())
}
