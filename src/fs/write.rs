//! Changing: files are written whole beside their place and renamed into it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::disk_change::{DiskChange, apply_change};
use super::unexpected_file::UnexpectedFile;
use super::{File, FsError, ignore_missing, is_missing, nofollow, with_suffix};

/// A folder that somebody has named, with all its parents, whether it was there or not.
pub fn create_folder(path: &Path) -> Result<(), FsError> {
    if path.is_dir() {
        return Ok(());
    }
    apply_change(DiskChange::CreateFolder(path), || fs::create_dir_all(path))
        .map_err(FsError::at("create folder", path))
}

/// Writes a small file that somebody has named beside its place, under a name that nothing has,
/// syncs it and renames it: readers see old or new. Links that lead there are followed.
///
/// # Errors
/// What is there is no file: nothing takes the place of a device, a pipe or a folder.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let place = resolve_for_writing(path)?;
    let (folder, name) = nofollow::open_parent("write", &place)?;
    let temp_path = unused_path(
        place.parent().unwrap_or(&place),
        &with_suffix(Path::new(name), ".tmp").to_string_lossy(),
    );
    nofollow::write_and_rename(
        &folder,
        name,
        &place,
        temp_path.file_name().unwrap_or_default(),
        bytes,
    )
}

/// Where a file that somebody has named is written: where links lead.
///
/// # Errors
/// What is there is no file, or a link leads to nowhere.
pub fn resolve_for_writing(path: &Path) -> Result<PathBuf, FsError> {
    let place =
        super::real_path(&std::path::absolute(path).map_err(FsError::at("resolve", path))?)?;
    match fs::symlink_metadata(&place) {
        Ok(found) if found.is_symlink() => Err(FsError::at("write", path)(io::Error::other(
            "it is a link to nowhere",
        ))),
        Ok(found) => UnexpectedFile::check(&found, u64::MAX)
            .map(|()| place)
            .map_err(FsError::at("write", path)),
        Err(error) if is_missing(&error) => Ok(place),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// Renames within one filesystem; an existing file of the new name is replaced. Both paths are real
/// ones.
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    let ((source, old), (target, new)) = (
        nofollow::open_parent("rename", from)?,
        nofollow::open_parent("rename to", to)?,
    );
    let renamed = apply_change(DiskChange::Rename(from, to), || {
        Ok(rustix::fs::renameat(&source, old, &target, new)?)
    });
    renamed.map_err(FsError::at("rename to", to))
}

/// Copies the bytes of a file into a new one and digests them on the way: the digest and the number
/// of the bytes that were written. `each` is told how many, from time to time, and may end it.
/// Links that lead to `from` are followed.
pub fn copy(
    from: &Path,
    to: &Path,
    on_progress: impl FnMut(u64) -> io::Result<()>,
) -> Result<([u8; 32], u64), FsError> {
    nofollow::copy_from(
        &File::open(from).map_err(FsError::at("open", from))?,
        to,
        on_progress,
    )
}

/// The permissions of a path; `None` where nothing is there.
pub fn permissions_of(path: &Path) -> Result<Option<Permissions>, FsError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// Sets the permissions of a folder of hygge's own.
pub fn set_permissions(path: &Path, permissions: Permissions) -> Result<(), FsError> {
    let action = "set the permissions of";
    let folder = nofollow::open_at(
        action,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    )?;
    File::from(folder)
        .set_permissions(permissions)
        .map_err(FsError::at(action, path))
}

/// Removes a file; one that is not there is no error.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    let Some((folder, name)) = open_existing_parent("remove", path)? else {
        return Ok(());
    };
    let remove = || Ok(rustix::fs::unlinkat(&folder, name, AtFlags::empty())?);
    ignore_missing(apply_change(DiskChange::Remove(path), remove))
        .map_err(FsError::at("remove", path))
}

/// Removes a folder that is empty; one that is not there is no error.
pub fn remove_empty_folder(path: &Path) -> Result<(), FsError> {
    let Some((folder, name)) = open_existing_parent("remove folder", path)? else {
        return Ok(());
    };
    let remove = || Ok(rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR)?);
    ignore_missing(apply_change(DiskChange::Remove(path), remove))
        .map_err(FsError::at("remove folder", path))
}

/// A path in a folder that nothing has: the name, or the name with a number.
pub fn unused_path(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|number| folder.join(format!("{name}.{number}")));
    let mut names = std::iter::once(folder.join(name)).chain(numbered);
    names
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| folder.join(name))
}

/// Removes a folder with everything in it; of a link in it, only the link.
pub fn remove_folder(path: &Path) -> Result<(), FsError> {
    drop(open_existing_parent("remove folder", path)?);
    ignore_missing(apply_change(DiskChange::Remove(path), || {
        fs::remove_dir_all(path)
    }))
    .map_err(FsError::at("remove folder", path))
}

/// Sets the time of a file's last change; makes it where it is missing.
pub fn touch(path: &Path, changed: SystemTime) -> Result<(), FsError> {
    // A pipe that nobody reads is no reason to wait.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(nonblocking)
        .open(path);
    opened
        .and_then(|file| file.set_modified(changed))
        .map_err(FsError::at("touch", path))
}

/// Fails where [`touch`] would of a file that is there, whose times stay what they are.
pub fn check_touchable(path: &Path) -> Result<(), FsError> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new()
        .append(true)
        .custom_flags(nonblocking)
        .open(path);
    let touched = opened.and_then(|file| file.set_modified(file.metadata()?.modified()?));
    touched.map_err(FsError::at("touch", path))
}

/// The folder in which something is to be removed; nothing where that is not there.
fn open_existing_parent<'p>(
    action: &'static str,
    path: &'p Path,
) -> Result<Option<(OwnedFd, &'p OsStr)>, FsError> {
    match nofollow::open_parent(action, path) {
        Err(error) if error.is_not_found() => Ok(None),
        opened => opened.map(Some),
    }
}
