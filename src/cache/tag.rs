//! What is a cache: a folder that hygge has marked as one.

use std::path::Path;

use super::lock_wait::lock_for_opening;
use super::{CacheError, CacheLockWait, OPEN_LOCK_NAME, index};
use crate::fs::{self, DirEntry, FsError, nofollow};

/// What marks a folder as a cache: <https://bford.info/cachedir/>.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is the cache of hygge, and may be deleted at any time.\n";

/// The name of the file that marks it.
pub(super) const TAG_NAME: &str = "CACHEDIR.TAG";

/// Where it is written first.
const UNFINISHED_TAG: &str = "CACHEDIR.TAG.tmp";

/// True for what hygge puts into a cache: the index with what SQLite keeps beside it and what was
/// set aside of it, the locks, parts, and the marks.
pub(super) fn is_cache_entry(name: &str) -> bool {
    is_index_file(name)
        || matches!(
            name,
            OPEN_LOCK_NAME
                | "lock"
                | "staging"
                | "damaged"
                | TAG_NAME
                | UNFINISHED_TAG
                | ".gitignore"
        )
}

fn is_index_file(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("index.db") else {
        return false;
    };
    // Where one is set aside and something else has the name, the next one has a number.
    let is_number = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix('.')
                .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    rest.is_empty()
        || fs::SQLITE_SUFFIXES.contains(&rest)
        || rest
            .strip_prefix(index::DAMAGED_SUFFIX)
            .is_some_and(is_number)
}

/// What may be in a folder that becomes a cache: what is never removed, and what was made before
/// the mark when a process died.
fn is_allowed_untagged(folder: &Path, entry: &DirEntry) -> Result<bool, FsError> {
    Ok(match entry.relative.to_str() {
        Some("lock" | OPEN_LOCK_NAME) => entry.is_file && entry.stat.size == 0,
        Some(UNFINISHED_TAG) if entry.is_file && entry.stat.size <= TAG.len() as u64 => {
            let found = nofollow::read(&folder.join(UNFINISHED_TAG), TAG.len() as u64)?;
            // A power cut leaves the beginning of what was written, and zeros for what was not.
            found.is_some_and(|found| {
                found
                    .iter()
                    .zip(TAG.as_bytes())
                    .all(|(byte, written)| *byte == 0 || byte == written)
            })
        }
        name => fs::is_hidden(&name.map_or_else(|| entry.relative.to_string_lossy(), Into::into)),
    })
}

/// True where a folder is a cache of hygge's, by the one thing that says it: hygge's own mark.
/// Refuses one that somebody else uses, because a cache is emptied one day.
pub(super) fn is_cache_folder(folder: &Path) -> Result<bool, CacheError> {
    // Somebody else's mark may be as long: its bytes are read before anything is opened, made or
    // set aside.
    if has_tag(folder)? {
        return Ok(true);
    }
    let Some(found) = nofollow::list(folder, |_| false)? else {
        return Ok(false);
    };
    for entry in &found {
        if is_allowed_untagged(folder, entry)? {
            continue;
        }
        // Another process may have made it a cache while its names were listed.
        let name = entry.relative.to_string_lossy().into_owned();
        return if has_tag(folder)? {
            Ok(true)
        } else {
            Err(CacheError::Foreign {
                folder: folder.to_path_buf(),
                name,
            })
        };
    }
    Ok(false)
}

/// True where the mark of a folder is hygge's.
pub(super) fn has_tag(folder: &Path) -> Result<bool, FsError> {
    match nofollow::read(&folder.join(TAG_NAME), TAG.len() as u64) {
        Err(error)
            if matches!(
                error.unexpected_file(),
                Some(fs::UnexpectedFile::TooLarge { .. })
            ) =>
        {
            Ok(false)
        }
        read => Ok(read?.as_deref() == Some(TAG.as_bytes())),
    }
}

pub(super) fn check_tag(folder: &Path) -> Result<(), CacheError> {
    if has_tag(folder)? {
        Ok(())
    } else {
        Err(CacheError::Foreign {
            folder: folder.to_path_buf(),
            name: "files".into(),
        })
    }
}

/// Makes a folder a cache: from then on, and only then, is anything of it removed. It also tells
/// backups that it need not be kept, and git that it is not its business.
pub(super) async fn write_tag(folder: &Path, wait: &CacheLockWait) -> Result<(), CacheError> {
    // Another who begins at the same time may have done it by now.
    let _marking = lock_for_opening(folder, wait).await?;
    if is_cache_folder(folder)? {
        return Ok(());
    }
    nofollow::write_atomically(&folder.join(TAG_NAME), TAG.as_bytes())?;
    let ignored = folder.join(".gitignore");
    if nofollow::stat(&ignored)?.is_none() {
        nofollow::write_atomically(&ignored, b"*\n")?;
    }
    // What comes into the folder from here on must not outlive the mark in a power cut.
    fs::Barrier::open(folder)?.wait(folder)?;
    Ok(())
}
