//! Files of this machine, by their paths; links are followed.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{Depth, Entry, EntryKind, RandomRead, Storage, Version};
use crate::fs::{self, DirEntry, File, FsError, Stat};

/// The storage of local files: there is one.
pub fn storage() -> Arc<dyn Storage> {
    static STORAGE: OnceLock<Arc<dyn Storage>> = OnceLock::new();
    STORAGE.get_or_init(|| Arc::new(LocalStorage)).clone()
}

#[derive(Debug)]
struct LocalStorage;

impl Storage for LocalStorage {
    fn scheme(&self) -> &'static str {
        "file"
    }

    fn list(
        &self,
        path: &Path,
        depth: Depth,
        skip: fn(&str) -> bool,
    ) -> Result<Option<Vec<Entry>>, FsError> {
        let found = match depth {
            Depth::One => fs::list(path, skip),
            Depth::All => fs::walk(path, skip),
            Depth::Folders => fs::walk_folders(path, skip),
        };
        Ok(found?.map(|found| found.into_iter().map(Entry::from).collect()))
    }

    fn head(&self, path: &Path) -> Result<Option<Entry>, FsError> {
        Ok(fs::stat(path)?.map(Entry::from))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn RandomRead>, FsError> {
        Ok(Arc::new(fs::open(path)?))
    }

    fn local_path<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        Some(path)
    }
}

impl From<DirEntry> for Entry {
    fn from(entry: DirEntry) -> Self {
        let kind = match (entry.is_file, entry.is_folder) {
            (true, _) => EntryKind::File,
            (_, true) => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        Self {
            relative: entry.relative,
            kind,
            is_link: entry.is_link,
            version: Version::Stat(entry.stat),
        }
    }
}

impl RandomRead for File {
    fn version(&self) -> io::Result<Version> {
        self.metadata()
            .map(|metadata| Version::Stat(Stat::from_metadata(&metadata)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}
