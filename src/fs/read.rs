//! Looking: stats, listings, contents. Nothing here changes anything.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::{File, FsError};

/// What tells, without reading it, that a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of content or inode, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// The inode's number.
    pub inode: u64,
}

impl Stat {
    fn of(metadata: &fs::Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: metadata.size(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// One entry that [`walk`] found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The path below the walked folder.
    pub relative: PathBuf,
    /// True for a folder.
    pub is_folder: bool,
    /// True for a file; a socket or a link to nowhere is neither.
    pub is_file: bool,
    /// The stat of the entry, links followed.
    pub stat: Stat,
}

impl Found {
    fn new(relative: PathBuf, metadata: &fs::Metadata) -> Self {
        Self { relative, is_folder: metadata.is_dir(), is_file: metadata.is_file(), stat: Stat::of(metadata) }
    }
}

/// What a path is, links followed; `None` where nothing is there.
pub fn stat(path: &Path) -> Result<Option<Found>, FsError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Found::new(PathBuf::new(), &metadata))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// The stat of an open file.
pub fn stat_open(file: &File, path: &Path) -> Result<Stat, FsError> {
    Ok(Stat::of(&file.metadata().map_err(FsError::at("look at", path))?))
}

/// Every entry below a folder down to `depth` levels, without order; names for which `skip` is
/// true are left out, with all that is below them. Links to files are followed; links to folders
/// are not walked. `None` where no such folder is.
pub fn walk(folder: &Path, depth: usize, skip: fn(&str) -> bool) -> Result<Option<Vec<Found>>, FsError> {
    if !matches!(fs::metadata(folder), Ok(metadata) if metadata.is_dir()) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let entries = WalkDir::new(folder)
        .min_depth(1)
        .max_depth(depth)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().to_str().is_some_and(skip));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                return Err(FsError::at("list", &path)(io::Error::from(error)));
            }
        };
        let metadata = if entry.path_is_symlink() {
            match fs::metadata(entry.path()) {
                // A link to nowhere is listed as what it is, so that it fails by its name.
                Err(error) if is_absent(&error) => entry.metadata().map_err(io::Error::from),
                other => other,
            }
        } else {
            match entry.metadata().map_err(io::Error::from) {
                // Gone between listing and looking: as if it had never been listed.
                Err(error) if is_absent(&error) => continue,
                other => other,
            }
        }
        .map_err(FsError::at("look at", entry.path()))?;
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        found.push(Found::new(relative.to_path_buf(), &metadata));
    }
    Ok(Some(found))
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, FsError> {
    File::open(path).map_err(FsError::at("open", path))
}

/// The bytes of a file; `None` where no file is.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(FsError::at("read", path)(error)),
    }
}

/// The text of a file.
pub fn read_text(path: &Path) -> Result<String, FsError> {
    fs::read_to_string(path).map_err(FsError::at("read", path))
}

/// The path with every link resolved, as far as it exists; the rest is appended as written.
pub fn real_path(path: &Path) -> Result<PathBuf, FsError> {
    let mut existing = path;
    let mut rest = Vec::new();
    loop {
        match fs::canonicalize(existing) {
            Ok(real) => {
                // `join("")` would leave a slash at the end.
                return Ok(rest.iter().rev().fold(real, |path, name| path.join(name)));
            }
            Err(error) if is_absent(&error) => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(FsError::at("resolve", path)(error));
                };
                rest.push(name);
                existing = parent;
            }
            Err(error) => return Err(FsError::at("resolve", path)(error)),
        }
    }
}

/// True for a symbolic link.
pub fn is_link(path: &Path) -> Result<bool, FsError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_symlink()),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// True for the root of a mount, bind mounts included: it cannot be renamed.
pub fn is_mount_point(folder: &Path) -> Result<bool, FsError> {
    let stat = rustix::fs::statx(CWD, folder, AtFlags::empty(), StatxFlags::BASIC_STATS).map_err(FsError::at("look at", folder))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
