//! Files that are none of a project's: what they are, to see that nothing becomes of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What one name is: its inode, permissions, number of names, size, time and bytes, or where it
/// leads as a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRecord {
    stat: (u64, u32, u64, u64, i64, i64),
    content: Vec<u8>,
}

/// Everything below a folder.
pub(crate) fn record_files(folder: &Path) -> BTreeMap<PathBuf, FileRecord> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_path_buf()];
    while let Some(path) = ahead.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a name");
        let content = if metadata.is_symlink() {
            fs::read_link(&path)
                .expect("a link")
                .into_os_string()
                .into_encoded_bytes()
        } else if metadata.is_file() {
            fs::read(&path).expect("a file")
        } else {
            Vec::new()
        };
        if metadata.is_dir() {
            ahead.extend(
                fs::read_dir(&path)
                    .expect("a folder")
                    .map(|entry| entry.expect("an entry").path()),
            );
        }
        let stat = (
            metadata.ino(),
            metadata.mode(),
            metadata.nlink(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        found.insert(path, FileRecord { stat, content });
    }
    found
}

/// What became of the names of a folder since they were seen, in words.
pub(crate) fn differences(before: &BTreeMap<PathBuf, FileRecord>, folder: &Path) -> Vec<String> {
    let now = record_files(folder);
    let gone = before
        .keys()
        .filter(|path| !now.contains_key(*path))
        .map(|path| format!("{} is gone", path.display()));
    let others = now
        .iter()
        .filter(|(path, seen)| before.get(*path) != Some(*seen));
    let others = others.map(|(path, seen)| {
        format!(
            "{} is {:?}, was {:?}",
            path.display(),
            seen.stat,
            before.get(path).map(|seen| seen.stat)
        )
    });
    gone.chain(others).collect()
}
