//! Whether the parts of staging are what their names say. What is not is set aside, never used.

use std::collections::HashSet;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{Cache, CacheError};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, FsError, nofollow};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Parts that were read.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Parts that are damaged, and where they are now.
    pub damaged: Vec<(Fingerprint, PathBuf)>,
}

impl Cache {
    /// Reads so many of a hundred parts and compares each with its name. A damaged part is moved to
    /// `damaged/`, and what is recorded of it is forgotten. Which parts a sample has is another
    /// matter each day.
    ///
    /// # Errors
    /// A part cannot be read or moved, or the index not be written.
    pub async fn verify(
        &self,
        percent: u8,
        interrupted: &CancellationToken,
    ) -> Result<VerifyReport, CacheError> {
        let mut verified = VerifyReport::default();
        let day = jiff::Timestamp::now().as_second() / 86_400;
        for (digest, path, found) in self.staging.parts()? {
            let draw = Fingerprint::hash_bytes(
                &[digest.as_bytes().as_slice(), &day.to_le_bytes()].concat(),
            )
            .as_bytes()[0];
            if u32::from(draw) * 100 >= u32::from(percent) * 256 {
                continue;
            }
            let file = nofollow::open(&path)?;
            let read = Fingerprint::hash_reader(&file, |_| fs::check_interrupted(interrupted));
            if interrupted.is_cancelled() {
                break;
            }
            verified.parts += 1;
            verified.bytes += found.stat.size;
            // What cannot be read is damaged too.
            if matches!(read, Ok((read, _)) if read == digest) {
                continue;
            }
            if !self.is_writable() {
                verified.damaged.push((digest, path));
                continue;
            }
            let folder = self.folder().join("damaged");
            nofollow::create_folder(&folder)?;
            let place = fs::unused_path(&folder, &digest.to_string());
            fs::rename(&path, &place)?;
            verified.damaged.push((digest, place));
        }
        self.forget_damaged(&verified.damaged).await?;
        Ok(verified)
    }

    async fn forget_damaged(&self, damaged: &[(Fingerprint, PathBuf)]) -> Result<(), CacheError> {
        if damaged.is_empty() || !self.is_writable() {
            return Ok(());
        }
        let damaged: HashSet<&Fingerprint> = damaged.iter().map(|(digest, _)| digest).collect();
        let is_damaged = |digest: &Fingerprint| damaged.contains(digest);
        let recorded = self.index.all_parts().await?;
        let keys: Vec<_> = recorded
            .iter()
            .filter(|(_, record)| is_damaged(&record.digest))
            .map(|(key, _)| *key)
            .collect();
        self.index.forget(&keys, &[], &[]).await?;
        let mut noted = self.ledger.read()?;
        noted.retain(|_, record| !is_damaged(&record.digest));
        self.ledger
            .rewrite(&noted)
            .map_err(|error: FsError| error.into())
    }
}
