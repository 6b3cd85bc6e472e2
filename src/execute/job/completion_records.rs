//! Records of what a job has made: each is written once, when all that it tells of lies there.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::JobError;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fs::nofollow;

/// How large a record may be, in bytes.
const MAX_BYTES: u64 = 1 << 26;

/// The records of a folder.
pub(super) struct CompletionRecords {
    folder: PathBuf,
}

impl CompletionRecords {
    /// The folder is made where it is missing.
    pub(super) fn new(folder: PathBuf) -> Result<Self> {
        nofollow::create_folder(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, key: &Fingerprint) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }

    /// What another process, or this one before it died, has made.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &Fingerprint) -> Result<Option<T>> {
        let path = self.path(key);
        let Some(bytes) = nofollow::read(&path, MAX_BYTES)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        Ok(Some(
            read.map_err(|source| JobError::Record { path, source })?,
        ))
    }

    pub(super) fn write(&self, key: &Fingerprint, made: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(made).map_err(Error::internal)?;
        Ok(nofollow::write_atomically(&self.path(key), &text)?)
    }
}
