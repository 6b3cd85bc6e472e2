//! Folders of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file below a folder, sorted; hidden ones and those that git ignores are passed over.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            _ if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.')) => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}
