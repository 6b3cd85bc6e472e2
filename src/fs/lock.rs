//! Locks between processes: held by an open file, gone with the process.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{File, FsError, lock_holders, nofollow};

/// How many bytes of a holder's words are read.
const MAX_HOLDER_BYTES: u64 = 4096;

/// A lock that is held until this value is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// True where who has it is written into its file.
    has_holder_text: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.has_holder_text {
            // The next who shares it signs nothing. What a killed process wrote is wiped by the
            // first who does.
            drop(self.file.set_len(0));
        }
        // Closing the file is not enough: a child that this process is just about to start has it
        // open too, until it becomes the other program.
        drop(self.file.unlock());
    }
}

/// Who holds a lock, as the holder wrote it into the lock's file.
#[derive(Clone, Debug)]
pub struct LockHolder {
    /// The lock's file.
    pub path: PathBuf,
    /// The holder's own words; empty where it wrote none.
    pub holder: String,
}

impl LockHolder {
    /// Who has it: in the holder's words, else as the machine says it.
    pub fn describe(&self) -> String {
        if !self.holder.is_empty() {
            return self.holder.clone();
        }
        lock_holders::find_holders(&self.path).unwrap_or_else(|| "another process".into())
    }
}

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is locked by {}", .0.path.display(), .0.describe())]
    Held(LockHolder),
    /// The lock's file cannot be used.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Lock {
    /// Takes the lock alone, or says at once who has it. `holder` is written for others to read.
    pub fn try_exclusive(path: &Path, holder: &str) -> Result<Self, LockError> {
        let mut file = nofollow::open_or_create(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held(read_holder(&mut file, path)));
            }
            Err(TryLockError::Error(error)) => return Err(FsError::at("lock", path)(error).into()),
        }
        // The words are for people only: a lock that says nothing is a lock all the same.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(FsError::at("write", path))?;
        Ok(Self {
            file,
            has_holder_text: true,
        })
    }

    /// The same without a word of who has it: for what takes a moment.
    pub fn try_exclusive_anonymous(path: &Path) -> Result<Self, LockError> {
        let mut file = nofollow::open_or_create(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file,
                has_holder_text: false,
            }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(read_holder(&mut file, path))),
            Err(TryLockError::Error(error)) => Err(FsError::at("lock", path)(error).into()),
        }
    }

    /// Takes a file inside a folder as a lock on the folder, if nobody has it and it is still
    /// there; `None` if not.
    ///
    /// On network filesystems a folder cannot be locked itself.
    pub fn try_lock_folder(folder: &Path) -> Result<Option<Self>, FsError> {
        let path = folder.join("lock");
        let file = match nofollow::open_or_create(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(FsError::at("lock", &path)(error)),
        }
        // Who had it before may have removed it.
        let there = nofollow::stat(&path)?.map(|found| found.stat.inode);
        let is_there =
            there.is_some_and(|inode| file.metadata().is_ok_and(|own| own.ino() == inode));
        Ok(is_there.then_some(Self {
            file,
            has_holder_text: false,
        }))
    }

    /// Takes the lock together with others who share it, or says at once who has it alone.
    pub fn try_shared(path: &Path) -> Result<Self, LockError> {
        let mut file = nofollow::open_or_create(path)?;
        match file.try_lock_shared() {
            Ok(()) => {
                if file.metadata().is_ok_and(|found| found.len() > 0) {
                    drop(file.set_len(0));
                }
                Ok(Self {
                    file,
                    has_holder_text: false,
                })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held(read_holder(&mut file, path))),
            Err(TryLockError::Error(error)) => Err(FsError::at("lock", path)(error).into()),
        }
    }
}

fn read_holder(file: &mut File, path: &Path) -> LockHolder {
    let mut holder = String::new();
    if file
        .take(MAX_HOLDER_BYTES)
        .read_to_string(&mut holder)
        .is_err()
    {
        holder.clear();
    }
    LockHolder {
        path: path.to_path_buf(),
        holder: holder.trim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_although_a_child_has_its_file_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let lock = Lock::try_exclusive(&path, "the first").expect("a lock");
        let of_child = lock.file.try_clone().expect("the same open file");
        assert!(Lock::try_exclusive_anonymous(&path).is_err());
        drop(lock);
        Lock::try_exclusive(&path, "the second").expect("it is free");
        drop(of_child);
    }
}
