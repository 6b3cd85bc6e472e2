//! Where a store of files lies, and what stands beside it.

use std::path::{Path, PathBuf};

use super::PublishStrategy;
use crate::store::StoreError;

/// How many bytes the name of a store may have: beside it stands `NAME.json.tmp`, and a name has at
/// most 255.
const MAX_NAME_BYTES: usize = 255 - ".json.tmp".len();

/// The paths of a store and of what stands beside it.
#[derive(Debug)]
pub(super) struct FilesStorePaths {
    pub(super) live: PathBuf,
    pub(super) hygge_folder: PathBuf,
    pub(super) receipt: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) next: PathBuf,
    pub(super) previous_set: PathBuf,
    /// A hidden folder inside the live one, for what is published file by file.
    pub(super) inner_hygge_folder: PathBuf,
    pub(super) strategy: PublishStrategy,
    pub(super) name: String,
}

impl FilesStorePaths {
    pub(super) fn new(real: &Path, how: PublishStrategy) -> Result<Self, StoreError> {
        let (Some(parent), Some(name)) = (
            real.parent(),
            real.file_name().and_then(|name| name.to_str()),
        ) else {
            return Err(StoreError::NotAFolder(real.to_path_buf()));
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(StoreError::LongName {
                path: real.to_path_buf(),
                bytes: name.len(),
                most: MAX_NAME_BYTES,
            });
        }
        let hidden = parent.join(".hygge");
        let beside = |ending: &str| hidden.join(format!("{name}.{ending}"));
        Ok(Self {
            live: real.to_path_buf(),
            receipt: beside("json"),
            lock: beside("lock"),
            next: beside("next"),
            previous_set: beside("old"),
            inner_hygge_folder: real.join(".hygge"),
            strategy: how,
            name: name.to_string(),
            hygge_folder: hidden,
        })
    }

    /// Where files are put aside that hygge did not make, or that someone altered: on their
    /// filesystem.
    pub(super) fn displaced_folder(&self) -> PathBuf {
        match self.strategy {
            PublishStrategy::Exchange => self.hygge_folder.join("displaced").join(&self.name),
            PublishStrategy::InPlace => self.inner_hygge_folder.join("displaced"),
        }
    }

    /// Where a set is laid out that is published file by file.
    pub(super) fn inner_next(&self) -> PathBuf {
        self.inner_hygge_folder.join("next")
    }

    /// Where parts of the latest set wait that an earlier one has not, which was put back: on their
    /// filesystem.
    pub(super) fn latest_set(&self) -> PathBuf {
        match self.strategy {
            PublishStrategy::Exchange => self.hygge_folder.join(format!("{}.latest", self.name)),
            PublishStrategy::InPlace => self.inner_hygge_folder.join("latest"),
        }
    }

    /// The same, however the store was published when they came there.
    pub(super) fn latest_folders(&self) -> [PathBuf; 2] {
        [
            self.hygge_folder.join(format!("{}.latest", self.name)),
            self.inner_hygge_folder.join("latest"),
        ]
    }
}
