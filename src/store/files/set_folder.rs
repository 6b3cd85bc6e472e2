//! What lies in the folder of a set: files, and files in folders that are called after values
//! (`country=DE`). All other folders are looked at from outside.

use std::path::{Path, PathBuf};

use crate::fs::{self, DirEntry, FsError, nofollow};
use crate::home::is_partition_path;

/// Lists one folder.
type ListFolder = fn(&Path, fn(&str) -> bool) -> Result<Option<Vec<DirEntry>>, FsError>;

/// Everything in the folder of a set of hygge's own, links as such; `None` where no folder is. A
/// folder that is called after a value is listed itself where nothing is in it.
pub(super) fn list_own(
    folder: &Path,
    skip: fn(&str) -> bool,
) -> Result<Option<Vec<DirEntry>>, FsError> {
    list_with(nofollow::list, folder, skip)
}

/// The same of the folder that readers see, where a link is what it leads to.
pub(super) fn list_live(
    folder: &Path,
    skip: fn(&str) -> bool,
) -> Result<Option<Vec<DirEntry>>, FsError> {
    list_with(fs::list, folder, skip)
}

fn list_with(
    list: ListFolder,
    folder: &Path,
    skip: fn(&str) -> bool,
) -> Result<Option<Vec<DirEntry>>, FsError> {
    let Some(listed) = list(folder, skip)? else {
        return Ok(None);
    };
    // Nearly all sets have none.
    if !listed.iter().any(is_partition) {
        return Ok(Some(listed));
    }
    let (mut partitions, mut found): (Vec<_>, Vec<_>) = listed.into_iter().partition(is_partition);
    while let Some(partition) = partitions.pop() {
        let inside = list(&folder.join(&partition.relative), |_| false)?.unwrap_or_default();
        if inside.is_empty() {
            found.push(partition);
            continue;
        }
        for entry in inside {
            if entry.relative.to_str().is_some_and(skip) {
                continue;
            }
            let entry = DirEntry {
                relative: partition.relative.join(&entry.relative),
                ..entry
            };
            let place = if is_partition(&entry) {
                &mut partitions
            } else {
                &mut found
            };
            place.push(entry);
        }
    }
    Ok(Some(found))
}

/// True for a folder that is called after a value.
pub(super) fn is_partition(entry: &DirEntry) -> bool {
    let name = entry.relative.file_name().and_then(|name| name.to_str());
    entry.is_folder && !entry.is_link && name.is_some_and(is_partition_path)
}

/// True for what has a hidden name, in whichever folder.
pub(super) fn is_hidden(relative: &Path) -> bool {
    let name = relative.file_name().and_then(|name| name.to_str());
    name.is_some_and(fs::is_hidden)
}

/// The folder of a file in it, which is made where it is missing.
pub(super) fn create_parent(file: &Path) -> Result<(), FsError> {
    file.parent().map_or(Ok(()), nofollow::create_folder)
}

/// Removes folders of a set that parts lay in and that hold nothing now.
pub(super) fn remove_empty_partitions<'f>(
    folder: &Path,
    partitions: impl DoubleEndedIterator<Item = &'f str>,
) -> Result<(), FsError> {
    // One below another comes behind it.
    for partition in partitions.rev() {
        let path = folder.join(partition);
        if nofollow::list(&path, |_| false)?.is_some_and(|found| found.is_empty()) {
            fs::remove_empty_folder(&path)?;
        }
    }
    Ok(())
}

/// The same of all in a folder that hygge has laid out.
pub(super) fn remove_own_partitions(folder: &Path) -> Result<(), FsError> {
    for partition in partitions(folder)?.iter().rev() {
        if nofollow::list(partition, |_| false)?.is_some_and(|found| found.is_empty()) {
            fs::remove_empty_folder(partition)?;
        }
    }
    Ok(())
}

/// The folders in it that are called after values, one below another behind it.
pub(super) fn partitions(folder: &Path) -> Result<Vec<PathBuf>, FsError> {
    let mut partitions: Vec<PathBuf> = vec![folder.to_path_buf()];
    let mut next = 0;
    while let Some(outer) = partitions.get(next).cloned() {
        let found = nofollow::list(&outer, |_| false)?.unwrap_or_default();
        let inner = found.iter().filter(|entry| is_partition(entry));
        partitions.extend(inner.map(|entry| outer.join(&entry.relative)));
        next += 1;
    }
    partitions.remove(0);
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_empty_folders_are_found_in_folders_of_values_and_no_others() {
        let set = tempfile::tempdir().expect("a folder");
        let files = [
            "a.parquet",
            "x=1/a.parquet",
            "x=1/_b",
            "x=1/y=2/a.parquet",
            "x=1/other/a.parquet",
            "other/x=1/a.parquet",
        ];
        for file in files {
            let path = set.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        std::fs::create_dir_all(set.path().join("x=3/y=4")).expect("made");
        std::os::unix::fs::symlink(set.path().join("x=1"), set.path().join("x=5")).expect("linked");
        for list in [list_own as ListFolder, list_live] {
            let found = list(set.path(), |_| false).expect("listed").expect("there");
            let mut names: Vec<String> = found
                .iter()
                .map(|entry| entry.relative.to_string_lossy().into_owned())
                .collect();
            names.sort();
            let expected = [
                "a.parquet",
                "other",
                "x=1/_b",
                "x=1/a.parquet",
                "x=1/other",
                "x=1/y=2/a.parquet",
                "x=3/y=4",
                "x=5",
            ];
            assert_eq!(names, expected);
        }
        assert!(is_hidden(Path::new("x=1/_b")) && !is_hidden(Path::new("x=1/b")));
        remove_empty_partitions(set.path(), ["x=1", "x=1/y=2"].into_iter()).expect("removed");
        assert!(set.path().join("x=3/y=4").exists());
        remove_own_partitions(set.path()).expect("removed");
        assert!(!set.path().join("x=3").exists());
        assert!(files.iter().all(|file| set.path().join(file).exists()));
        assert!(set.path().join("x=5").is_symlink());
        assert_eq!(
            list_own(&set.path().join("none"), |_| false)
                .expect("listed")
                .map(|found| found.len()),
            None
        );
    }
}
