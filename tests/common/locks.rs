//! Locks that a test holds as another process would.

use std::fs::File;
use std::path::Path;

/// A lock that is held until this is dropped. What only closes its file would not always let go of
/// it: a process that another test starts at this moment has the file open too, from its fork to
/// its exec.
pub(crate) struct Held(File);

impl Held {
    /// As who builds into a store has its lock, or who cleans a cache.
    pub(crate) fn alone(path: &Path) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("a lock");
        file.try_lock().expect("nobody holds it");
        Self(file)
    }

    /// As a build has that of its cache.
    pub(crate) fn shared(path: &Path) -> Self {
        let file = File::open(path).expect("a lock");
        file.try_lock_shared().expect("nobody holds it alone");
        Self(file)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.unlock().expect("it was held");
    }
}
