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
pub(crate) enum Step<'a> {
    /// A file is made, empty.
    Create(&'a Path),
    /// What was written to a file since it was made, or all of a small one.
    Write(&'a Path),
    /// A folder is made.
    Folder(&'a Path),
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
pub(crate) fn step<T>(_step: Step<'_>, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    change()
}

/// Does a change, unless the process shall end or the change shall fail here, and writes it down.
#[cfg(feature = "failpoints")]
pub(crate) fn step<T>(step: Step<'_>, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    failpoints::step(step, change)
}

/// As `step`, for a change that is waited for.
#[cfg(not(feature = "failpoints"))]
pub(crate) async fn step_async<T, E>(
    _step: Step<'_>,
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    change.await
}

/// As `step`, for a change that is waited for; it cannot be made to fail.
#[cfg(feature = "failpoints")]
pub(crate) async fn step_async<T, E>(
    step: Step<'_>,
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    failpoints::step_async(step, change).await
}

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::fs::{self, OpenOptions};
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{LazyLock, Mutex, PoisonError};

    use serde_json::{Value, json};

    use super::Step;

    /// `HYGGE_FAIL=abort:7` ends the process before its seventh step, `full:7` lets the disk be
    /// full from there on.
    #[derive(Clone, Copy)]
    enum Fail {
        Abort(u64),
        Full(u64),
    }

    /// What was asked for, and how many steps there were.
    struct Watch {
        fail: Option<Fail>,
        /// `HYGGE_STEPS=FOLDER` writes every step down there, with what it wrote.
        steps: Option<PathBuf>,
        count: u64,
    }

    static WATCH: LazyLock<Mutex<Watch>> = LazyLock::new(|| {
        let fail = std::env::var("HYGGE_FAIL").ok().and_then(|text| {
            let (kind, number) = text.split_once(':')?;
            let number = number.parse().ok()?;
            if kind == "abort" {
                Some(Fail::Abort(number))
            } else {
                Some(Fail::Full(number))
            }
        });
        let steps = std::env::var_os("HYGGE_STEPS").map(PathBuf::from);
        Mutex::new(Watch {
            fail,
            steps,
            count: 0,
        })
    });

    pub(super) fn step<T>(step: Step<'_>, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        watch.begin(step)?;
        if watch.steps.is_none() {
            drop(watch);
            return change();
        }
        // One after the other, so that they are written down in the order in which they happen.
        watch.before(step)?;
        let changed = change()?;
        watch.after(step)?;
        Ok(changed)
    }

    pub(super) async fn step_async<T, E>(
        step: Step<'_>,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        // A transaction fails by itself where the disk is really full.
        drop(
            WATCH
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .begin(step),
        );
        let changed = change.await?;
        let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.steps.is_some() {
            drop(watch.after(step));
        }
        Ok(changed)
    }

    impl Watch {
        fn begin(&mut self, step: Step<'_>) -> io::Result<()> {
            self.count += 1;
            match self.fail {
                Some(Fail::Abort(number)) if number == self.count => std::process::abort(),
                Some(Fail::Full(number)) if number <= self.count => match step {
                    Step::Create(_) | Step::Write(_) | Step::Folder(_) | Step::Link(..) => {
                        Err(io::ErrorKind::StorageFull.into())
                    }
                    _ => Ok(()),
                },
                _ => Ok(()),
            }
        }

        fn kept(&self) -> PathBuf {
            self.steps
                .clone()
                .unwrap_or_default()
                .join(self.count.to_string())
        }

        /// Keeps what is in a file whose name will be lost.
        fn before(&self, step: Step<'_>) -> io::Result<()> {
            match step {
                Step::Rename(from, _) if from.is_file() => fs::hard_link(from, self.kept())
                    .or_else(|_| fs::copy(from, self.kept()).map(drop)),
                _ => Ok(()),
            }
        }

        fn after(&self, step: Step<'_>) -> io::Result<()> {
            let Some(folder) = &self.steps else {
                return Ok(());
            };
            if let Step::Write(path) = step {
                fs::copy(path, self.kept())?;
            }
            if let Step::Commit(path) = step {
                let log = PathBuf::from(format!("{}-wal", path.display()));
                fs::copy(path, self.kept())?;
                if log.exists() {
                    fs::copy(log, format!("{}-wal", self.kept().display()))?;
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

        fn describe(&self, step: Step<'_>) -> Value {
            let one = |what: &str, path: &Path| json!({ "step": what, "path": path });
            let two = |what: &str, from: &Path, to: &Path| json!({ "step": what, "path": from, "to": to });
            match step {
                Step::Create(path) => one("create", path),
                Step::Write(path) => one("write", path),
                Step::Folder(path) => one("folder", path),
                Step::SyncFile(path) => one("sync_file", path),
                Step::SyncAll(path) => one("sync_all", path),
                Step::Rename(from, to) => two("rename", from, to),
                Step::Link(from, to) => two("link", from, to),
                Step::Exchange(from, to) => two("exchange", from, to),
                Step::Remove(path) => one("remove", path),
                Step::Commit(path) => one("commit", path),
            }
        }
    }
}
