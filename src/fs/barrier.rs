//! Durability in groups: one `syncfs` serves everyone who waits for one.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::disk_change::{DiskChange, apply_change};
use super::{FsError, nofollow};

/// The barriers of all filesystems that a run writes to.
#[derive(Debug, Default)]
pub struct Barriers {
    by_device: Mutex<HashMap<u64, (PathBuf, Arc<Barrier>)>>,
}

impl Barriers {
    /// The barrier of the filesystem that holds a folder.
    pub fn for_folder(&self, folder: &Path) -> Result<Arc<Barrier>, FsError> {
        let device = fs::metadata(folder)
            .map_err(FsError::at("look at", folder))?
            .dev();
        let mut known = self
            .by_device
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, barrier)) = known.get(&device) {
            return Ok(barrier.clone());
        }
        let barrier = Arc::new(Barrier::open(folder)?);
        known.insert(device, (folder.to_path_buf(), barrier.clone()));
        Ok(barrier)
    }

    /// Returns when everything that was written to the filesystems of these folders before the call
    /// is on disk.
    pub fn wait_for(&self, folders: &[&Path]) -> Result<(), FsError> {
        let mut waited: Vec<Arc<Barrier>> = Vec::new();
        for folder in folders {
            let barrier = self.for_folder(folder)?;
            if !waited.iter().any(|other| Arc::ptr_eq(other, &barrier)) {
                barrier.wait(folder)?;
                waited.push(barrier);
            }
        }
        Ok(())
    }

    /// Returns when everything that was written to any of them before the call is on disk.
    pub fn wait_all(&self) -> Result<(), FsError> {
        let known: Vec<_> = self
            .by_device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        known
            .iter()
            .try_for_each(|(folder, barrier)| barrier.wait(folder))
    }
}

/// Waits until what was written to one filesystem is on its disk.
///
/// A thousand small flows would need thousands of `fsync`s, one behind the other. `syncfs` costs
/// about as much as one of them, so all who ask while one runs are served by the next. It also
/// reports write errors that happened since the barrier was opened (Linux 5.8 and later).
#[derive(Debug)]
pub struct Barrier {
    folder: OwnedFd,
    rounds: Mutex<SyncRounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct SyncRounds {
    started: u64,
    ended: u64,
    /// The last round that failed, with the error's number.
    failed: Option<(u64, Errno)>,
}

impl Barrier {
    /// The barrier of the filesystem that holds a folder.
    pub fn open(folder: &Path) -> Result<Self, FsError> {
        let fd = nofollow::open_at(
            "open folder",
            folder,
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )?;
        Ok(Self {
            folder: fd,
            rounds: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Returns when everything that was written before the call is on the disk.
    pub fn wait(&self, path: &Path) -> Result<(), FsError> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // A round that is under way may have passed what the caller wrote: the next one counts.
        let mine = rounds.started + 1;
        while rounds.ended < mine {
            if rounds.started == rounds.ended {
                rounds.started += 1;
                let round = rounds.started;
                drop(rounds);
                let result = apply_change(DiskChange::SyncAll(path), || {
                    Ok(rustix::fs::syncfs(&self.folder)?)
                });
                rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
                rounds.ended = round;
                if let Err(error) = result {
                    rounds.failed =
                        Some((round, Errno::from_io_error(&error).unwrap_or(Errno::IO)));
                }
                self.ended.notify_all();
            } else {
                rounds = self
                    .ended
                    .wait(rounds)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        match rounds.failed {
            Some((round, errno)) if round >= mine => Err(FsError::at("sync", path)(errno)),
            _ => Ok(()),
        }
    }
}
