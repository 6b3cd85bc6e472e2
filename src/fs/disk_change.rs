//! Steps: every change of a disk passes here, one after the other as it happens.
//!
//! In the shipped binary that is all. Built for the tests (feature `failpoints`), a step can end
//! the process or fail, and all steps can be written down, so that a power cut can be played.

use std::io;
use std::path::Path;

/// A change of a disk.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "failpoints"),
    expect(dead_code, reason = "only the tests look into steps")
)]
pub(crate) enum DiskChange<'a> {
    /// A file is made, empty.
    Create(&'a Path),
    /// What was written to a file since it was made, or all of a small one.
    Write(&'a Path),
    /// A folder is made.
    CreateFolder(&'a Path),
    /// A file's data is put on the disk.
    SyncFile(&'a Path),
    /// Everything on the filesystem of a folder is put on the disk.
    SyncAll(&'a Path),
    /// A name becomes another one, whose file is replaced.
    Rename(&'a Path, &'a Path),
    /// A file gets a second name.
    Link(&'a Path, &'a Path),
    /// Two folders change places.
    Exchange(&'a Path, &'a Path),
    /// A file or an empty folder is removed.
    Remove(&'a Path),
    /// A transaction of the index.
    Commit(&'a Path),
}

/// Does a change.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn apply_change<T>(
    _step: DiskChange<'_>,
    change: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    change()
}

/// Does a change, unless the process shall end or the change shall fail here, and writes it down.
#[cfg(feature = "failpoints")]
pub(crate) fn apply_change<T>(
    step: DiskChange<'_>,
    change: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    failpoints::apply_change(step, change)
}

/// As `step`, for a change that is waited for.
#[cfg(not(feature = "failpoints"))]
pub(crate) async fn apply_change_async<T, E>(
    _step: DiskChange<'_>,
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    change.await
}

/// As `step`, for a change that is waited for; it cannot be made to fail.
#[cfg(feature = "failpoints")]
pub(crate) async fn apply_change_async<T, E>(
    step: DiskChange<'_>,
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    failpoints::apply_change_async(step, change).await
}

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::fs::{self, OpenOptions};
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{LazyLock, Mutex, PoisonError};

    use serde_json::{Value, json};

    use super::DiskChange;

    /// `HYGGE_FAIL=abort:7` ends the process before its seventh step, `full:7` lets the disk be
    /// full from there on.
    #[derive(Clone, Copy)]
    enum Failpoint {
        Abort(u64),
        Full(u64),
    }

    /// What was asked for, and how many steps there were.
    struct FailpointState {
        fail: Option<Failpoint>,
        /// `HYGGE_STEPS=FOLDER` writes every step down there, with what it wrote.
        steps: Option<PathBuf>,
        count: u64,
    }

    static FAILPOINT_STATE: LazyLock<Mutex<FailpointState>> = LazyLock::new(|| {
        let fail = std::env::var("HYGGE_FAIL").ok().and_then(|text| {
            let (kind, number) = text.split_once(':')?;
            let number = number.parse().ok()?;
            if kind == "abort" {
                Some(Failpoint::Abort(number))
            } else {
                Some(Failpoint::Full(number))
            }
        });
        let steps = std::env::var_os("HYGGE_STEPS").map(PathBuf::from);
        Mutex::new(FailpointState {
            fail,
            steps,
            count: 0,
        })
    });

    pub(super) fn apply_change<T>(
        step: DiskChange<'_>,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut watch = FAILPOINT_STATE
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        watch.begin(step)?;
        if watch.steps.is_none() {
            drop(watch);
            return change();
        }
        // One after the other, so that they are written down in the order in which they happen.
        watch.record_before(step)?;
        let changed = change()?;
        watch.record_after(step)?;
        Ok(changed)
    }

    pub(super) async fn apply_change_async<T, E>(
        step: DiskChange<'_>,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        // A transaction fails by itself where the disk is really full.
        drop(
            FAILPOINT_STATE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .begin(step),
        );
        let changed = change.await?;
        let watch = FAILPOINT_STATE
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if watch.steps.is_some() {
            drop(watch.record_after(step));
        }
        Ok(changed)
    }

    impl FailpointState {
        fn begin(&mut self, step: DiskChange<'_>) -> io::Result<()> {
            self.count += 1;
            match self.fail {
                Some(Failpoint::Abort(number)) if number == self.count => std::process::abort(),
                Some(Failpoint::Full(number)) if number <= self.count => match step {
                    DiskChange::Create(_)
                    | DiskChange::Write(_)
                    | DiskChange::CreateFolder(_)
                    | DiskChange::Link(..) => Err(io::ErrorKind::StorageFull.into()),
                    _ => Ok(()),
                },
                _ => Ok(()),
            }
        }

        fn copy_path(&self) -> PathBuf {
            self.steps
                .clone()
                .unwrap_or_default()
                .join(self.count.to_string())
        }

        /// Keeps what is in a file whose name will be lost.
        fn record_before(&self, step: DiskChange<'_>) -> io::Result<()> {
            match step {
                DiskChange::Rename(from, _) if from.is_file() => {
                    fs::hard_link(from, self.copy_path())
                        .or_else(|_| fs::copy(from, self.copy_path()).map(drop))
                }
                _ => Ok(()),
            }
        }

        fn record_after(&self, step: DiskChange<'_>) -> io::Result<()> {
            let Some(folder) = &self.steps else {
                return Ok(());
            };
            if let DiskChange::Write(path) = step {
                fs::copy(path, self.copy_path())?;
            }
            if let DiskChange::Commit(path) = step {
                let log = PathBuf::from(format!("{}-wal", path.display()));
                fs::copy(path, self.copy_path())?;
                if log.exists() {
                    fs::copy(log, format!("{}-wal", self.copy_path().display()))?;
                }
            }
            let mut line = self.describe(step);
            line["number"] = self.count.into();
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("steps.jsonl"))?;
            writeln!(file, "{line}")
        }

        fn describe(&self, step: DiskChange<'_>) -> Value {
            let one = |what: &str, path: &Path| json!({ "step": what, "path": path });
            let two = |what: &str, from: &Path, to: &Path| json!({ "step": what, "path": from, "to": to });
            match step {
                DiskChange::Create(path) => one("create", path),
                DiskChange::Write(path) => one("write", path),
                DiskChange::CreateFolder(path) => one("folder", path),
                DiskChange::SyncFile(path) => one("sync_file", path),
                DiskChange::SyncAll(path) => one("sync_all", path),
                DiskChange::Rename(from, to) => two("rename", from, to),
                DiskChange::Link(from, to) => two("link", from, to),
                DiskChange::Exchange(from, to) => two("exchange", from, to),
                DiskChange::Remove(path) => one("remove", path),
                DiskChange::Commit(path) => one("commit", path),
            }
        }
    }
}
