//! The folder of a store as readers see it.

use std::path::Path;

use super::PublishStrategy;
use super::paths::FilesStorePaths;
use super::set_folder;
use crate::fs;
use crate::store::{LiveContents, StoreError};

/// There is a folder that can be replaced by a new set, or nothing yet.
pub(super) fn check_replaceable(paths: &FilesStorePaths) -> Result<(), StoreError> {
    if fs::is_link(&paths.live)? {
        return Err(StoreError::DanglingLink(paths.live.clone()));
    }
    match fs::stat(&paths.live)? {
        Some(found) if !found.is_folder => Err(StoreError::NotAFolder(paths.live.clone())),
        Some(_)
            if paths.strategy == PublishStrategy::Exchange && fs::is_mount_point(&paths.live)? =>
        {
            Err(StoreError::MountPoint(paths.live.clone()))
        }
        _ => Ok(()),
    }
}

/// The visible files of a folder.
pub(super) fn list_live(folder: &Path) -> Result<LiveContents, StoreError> {
    let Some(found) = set_folder::list_live(folder, fs::is_hidden)? else {
        return match fs::stat(folder)? {
            Some(_) => Err(StoreError::NotAFolder(folder.to_path_buf())),
            None => Ok(LiveContents::default()),
        };
    };
    let mut live = LiveContents {
        exists: true,
        ..LiveContents::default()
    };
    for entry in found {
        let name = entry
            .relative
            .into_os_string()
            .into_string()
            .unwrap_or_else(|name| name.to_string_lossy().into_owned());
        if entry.is_file {
            live.files.insert(name, entry.stat);
        } else {
            live.folders.push(name);
        }
    }
    Ok(live)
}
