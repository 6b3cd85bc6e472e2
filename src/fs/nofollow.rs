//! Files of hygge's own, below `.hygge` and in the cache: nothing of them is opened through a link.
//!
//! Paths that come here are real ones: the links that lead to a store or to the cache were resolved
//! before. So a link on one of them is not hygge's, and is refused by its name. It does not know
//! what the files are for.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::digest_writer::copy_opened;
use super::disk_change::{DiskChange, apply_change};
use super::unexpected_file::UnexpectedFile;
use super::{DirEntry, File, FsError, with_suffix};

/// What a new file may be used for where its creator's mask allows it.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// The same of a folder.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

/// Opens a file for reading. What is no file is an error, at once.
pub fn open(path: &Path) -> Result<File, FsError> {
    open_file("open", path, OFlags::RDONLY)
}

/// The bytes of a file of at most so many; `None` where nothing is.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FsError> {
    let file = match open(path) {
        Err(error) if super::is_missing(&error.source) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let filled = file
        .metadata()
        .and_then(|metadata| UnexpectedFile::check(&metadata, limit))
        .and_then(|()| (&file).take(limit).read_to_end(&mut bytes));
    filled.map_err(FsError::at("read", path))?;
    Ok(Some(bytes))
}

/// What a path is, a link as such; `None` where nothing is there.
pub fn stat(path: &Path) -> Result<Option<DirEntry>, FsError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(DirEntry::from_metadata(PathBuf::new(), &metadata))),
        Err(error) if super::is_missing(&error) => Ok(None),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// Every entry of a folder, without order, links as such; names for which `skip` is true are left
/// out. `None` where no folder is.
pub fn list(folder: &Path, skip: fn(&str) -> bool) -> Result<Option<Vec<DirEntry>>, FsError> {
    match open_at(
        "list",
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    ) {
        Ok(opened) => {
            super::read::list_open(&opened, folder, skip, AtFlags::SYMLINK_NOFOLLOW).map(Some)
        }
        Err(error) if super::is_missing(&error.source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A folder with all its parents, whether it was there or not.
pub fn create_folder(path: &Path) -> Result<(), FsError> {
    if folder_exists(path)? {
        return Ok(());
    }
    apply_change(DiskChange::CreateFolder(path), || {
        Ok(create_missing_folders(path))
    })
    .map_err(FsError::at("create folder", path))?
}

fn create_missing_folders(path: &Path) -> Result<(), FsError> {
    let Some(above) = path.parent() else {
        return Ok(());
    };
    if !folder_exists(above)? {
        create_missing_folders(above)?;
    }
    let (folder, name) = open_parent("create folder", path)?;
    match rustix::fs::mkdirat(&folder, name, FOLDER_MODE) {
        // Somebody else made it meanwhile, or it is no folder.
        Err(Errno::EXIST) => open_folder("create folder", path).map(drop),
        made => made.map_err(FsError::at("create folder", path)),
    }
}

fn folder_exists(path: &Path) -> Result<bool, FsError> {
    match open_folder("create folder", path) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new, empty file for writing; whatever has the name is an error.
pub fn create(path: &Path) -> Result<File, FsError> {
    let (folder, name) = open_parent("create", path)?;
    let made = apply_change(DiskChange::Create(path), || create_in(&folder, name));
    made.map_err(FsError::at("create", path))
}

pub(super) fn create_in(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        folder, name, flags, FILE_MODE,
    )?))
}

/// A file for reading and writing, which is made where it is missing.
pub(super) fn open_or_create(path: &Path) -> Result<File, FsError> {
    open_file("open", path, OFlags::RDWR | OFlags::CREATE)
}

/// Adds bytes to the end of a file, which is made where it is missing; all of them in one go,
/// whoever else adds.
pub fn append(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let file = open_file(
        "write",
        path,
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
    )?;
    apply_change(DiskChange::Write(path), || {
        io::Write::write_all(&mut &file, bytes)
    })
    .map_err(FsError::at("write", path))
}

/// Writes a small file beside its place, syncs it and renames it: readers see old or new. Only one
/// may write it at a time; what a killed one left is replaced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let (folder, name) = open_parent("write", path)?;
    let temp_name = with_suffix(Path::new(name), ".tmp").into_os_string();
    super::ignore_missing(
        rustix::fs::unlinkat(&folder, &temp_name, AtFlags::empty()).map_err(Into::into),
    )
    .map_err(FsError::at("write", &path.with_file_name(&temp_name)))?;
    write_and_rename(&folder, name, path, &temp_name, bytes)
}

/// Writes a file under a name that nothing has, and renames it.
pub(super) fn write_and_rename(
    folder: &OwnedFd,
    name: &OsStr,
    path: &Path,
    temp_name: &OsStr,
    bytes: &[u8],
) -> Result<(), FsError> {
    let shown = path.with_file_name(temp_name);
    let file = apply_change(DiskChange::Create(&shown), || create_in(folder, temp_name))
        .map_err(FsError::at("write", &shown))?;
    let written = (|| {
        apply_change(DiskChange::Write(&shown), || {
            io::Write::write_all(&mut &file, bytes)
        })?;
        apply_change(DiskChange::SyncFile(&shown), || file.sync_data())
    })();
    let renamed = written
        .map_err(FsError::at("write", &shown))
        .and_then(|()| {
            let renamed = apply_change(DiskChange::Rename(&shown, path), || {
                Ok(rustix::fs::renameat(folder, temp_name, folder, name)?)
            });
            renamed.map_err(FsError::at("rename to", path))
        });
    if renamed.is_err() {
        // Why it failed is what matters.
        rustix::fs::unlinkat(folder, temp_name, AtFlags::empty()).ok();
    }
    renamed
}

/// Copies a file of hygge's own; see [`copy`](super::copy).
pub fn copy(
    from: &Path,
    to: &Path,
    on_progress: impl FnMut(u64) -> io::Result<()>,
) -> Result<([u8; 32], u64), FsError> {
    copy_from(&open(from)?, to, on_progress)
}

/// [`copy`] of a file that is open.
pub(super) fn copy_from(
    source: &File,
    to: &Path,
    on_progress: impl FnMut(u64) -> io::Result<()>,
) -> Result<([u8; 32], u64), FsError> {
    let target = create(to)?;
    let copied = copy_opened(source, &target, on_progress);
    copied
        .and_then(|copied| apply_change(DiskChange::Write(to), || Ok(copied)))
        .map_err(FsError::at("copy to", to))
}

/// A folder, opened to name what is in it.
pub(super) fn open_folder(action: &'static str, path: &Path) -> Result<OwnedFd, FsError> {
    open_at(
        action,
        path,
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )
}

/// The folder of a path, opened, and the name in it.
pub(super) fn open_parent<'p>(
    action: &'static str,
    path: &'p Path,
) -> Result<(OwnedFd, &'p OsStr), FsError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((open_folder(action, parent)?, name)),
        _ => Err(FsError::at(action, path)(Errno::INVAL)),
    }
}

fn open_file(action: &'static str, path: &Path, flags: OFlags) -> Result<File, FsError> {
    // A pipe that nobody writes to is no reason to wait.
    let file = match open_at(action, path, flags | OFlags::NONBLOCK, FILE_MODE) {
        // What it is, and not what cannot be done with it.
        Err(error)
            if Errno::from_io_error(&error.source)
                .is_some_and(|errno| matches!(errno, Errno::NXIO | Errno::ISDIR)) =>
        {
            let odd = std::fs::symlink_metadata(path)
                .and_then(|metadata| UnexpectedFile::check(&metadata, u64::MAX));
            return Err(odd.err().map_or(error, FsError::at(action, path)));
        }
        opened => File::from(opened?),
    };
    let checked = file
        .metadata()
        .and_then(|metadata| UnexpectedFile::check(&metadata, u64::MAX));
    checked.map_err(FsError::at(action, path))?;
    Ok(file)
}

/// Opens a path on which no link is.
pub(super) fn open_at(
    action: &'static str,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, FsError> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) {
        mode
    } else {
        Mode::empty()
    };
    open_without_links(path, flags, mode).map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => match first_link(path) {
            Some(link) => FsError::at(action, &link)(io::Error::other(UnexpectedFile::Link)),
            None => FsError::at(action, path)(errno),
        },
        errno => FsError::at(action, path)(errno),
    })
}

/// Kernels before 5.6 have no `openat2`, and some containers forbid it.
static HAS_OPENAT2: AtomicBool = AtomicBool::new(true);

fn open_without_links(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    if !HAS_OPENAT2.load(Ordering::Relaxed) || is_openat2_disabled() {
        return open_by_components(path, flags, mode);
    }
    match rustix::fs::openat2(CWD, path, flags, mode, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOSYS) => {
            HAS_OPENAT2.store(false, Ordering::Relaxed);
            open_by_components(path, flags, mode)
        }
        Err(Errno::PERM) => open_by_components(path, flags, mode),
        opened => opened,
    }
}

/// For the tests: as if the kernel had no `openat2`.
#[cfg(feature = "failpoints")]
fn is_openat2_disabled() -> bool {
    static FORBIDDEN: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("HYGGE_NO_OPENAT2").is_some());
    *FORBIDDEN
}

#[cfg(not(feature = "failpoints"))]
fn is_openat2_disabled() -> bool {
    false
}

/// Opens a path one name after the other, each from the folder before it.
fn open_by_components(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let start = if path.is_absolute() { "/" } else { "." };
    let names: Vec<Component<'_>> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .collect();
    let Some((last, above)) = names.split_last() else {
        return rustix::fs::openat(CWD, start, flags, mode);
    };
    let mut folder = rustix::fs::openat(CWD, start, through, Mode::empty())?;
    for name in above {
        folder = rustix::fs::openat(folder.as_fd(), name.as_os_str(), through, Mode::empty())?;
    }
    rustix::fs::openat(&folder, last.as_os_str(), flags, mode)
}

/// The first link on a path.
fn first_link(path: &Path) -> Option<PathBuf> {
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    let is_link =
        |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    ancestors.into_iter().find(is_link).map(Path::to_path_buf)
}
