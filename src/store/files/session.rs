//! A store of files where it really lies: what it holds, its lock, and how its set changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::folder::{check_replaceable, list_live};
use super::paths::FilesStorePaths;
use super::receipt_file::read_receipt;
use super::{PublishStrategy, clear, in_place, latest_set, previous_set, publish, recover, rights};
use crate::fingerprint::Fingerprint;
use crate::fs::{self, Lock, nofollow};
use crate::storage::Version;
use crate::store::context::PublishContext;
use crate::store::receipt::Receipt;
use crate::store::{
    Publication, RemovalPlan, SiblingReceipt, StoreError, StoreId, StoreSession, StoreStats,
};

/// A folder of files, and what stands beside it.
#[derive(Debug)]
pub(super) struct FilesSession {
    paths: FilesStorePaths,
    adopts: bool,
}

impl FilesSession {
    /// The store in a folder, by its real path.
    pub(super) fn new(
        folder: &Path,
        strategy: PublishStrategy,
        adopts: bool,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            paths: FilesStorePaths::new(folder, strategy)?,
            adopts,
        })
    }
}

impl StoreSession for FilesSession {
    fn display_name(&self) -> String {
        self.paths.live.display().to_string()
    }

    fn observe(&self) -> Result<StoreStats, StoreError> {
        Ok(StoreStats {
            receipt: self.receipt_version()?,
            live: list_live(&self.paths.live)?,
        })
    }

    fn receipt_version(&self) -> Result<Option<Version>, StoreError> {
        let found = nofollow::stat(&self.paths.receipt)?;
        Ok(found.map(|found| Version::Stat(found.stat)))
    }

    fn receipt(&self) -> Result<Option<Receipt>, StoreError> {
        read_receipt(&self.paths)
    }

    fn sibling_receipts(&self) -> Result<Vec<SiblingReceipt>, StoreError> {
        let folder = &self.paths.hygge_folder;
        let mut siblings = Vec::new();
        for entry in nofollow::list(folder, |_| false)?.unwrap_or_default() {
            let name = entry
                .relative
                .to_str()
                .and_then(|name| name.strip_suffix(".json"));
            // A link is none of hygge's, and a name such as `..` would be that of another folder.
            let Some(name) = name.filter(|name| entry.is_file && !matches!(*name, "" | "." | ".."))
            else {
                continue;
            };
            let sibling = self.paths.live.with_file_name(name);
            let receipt = FilesStorePaths::new(&sibling, self.paths.strategy)
                .and_then(|paths| read_receipt(&paths));
            // One that cannot be read is reported by the flow that owns it, if there is one.
            if let Ok(Some(receipt)) = receipt {
                siblings.push(SiblingReceipt {
                    store: StoreId::Folder(sibling),
                    version: Version::Stat(entry.stat),
                    receipt,
                });
            }
        }
        Ok(siblings)
    }

    fn check(&self) -> Result<(), StoreError> {
        let paths = &self.paths;
        check_replaceable(paths)?;
        rights::check(paths)?;
        if read_receipt(paths)?.is_none() && !self.adopts {
            let live = list_live(&paths.live)?;
            let names: Vec<String> = live.files.into_keys().chain(live.folders).take(3).collect();
            if !names.is_empty() {
                return Err(StoreError::Foreign {
                    path: paths.live.clone(),
                    names,
                });
            }
        }
        Ok(())
    }

    fn lock(&self, holder: &str) -> Result<Lock, StoreError> {
        let paths = &self.paths;
        check_replaceable(paths)?;
        nofollow::create_folder(&paths.hygge_folder)?;
        let lock = Lock::try_exclusive(&paths.lock, holder)?;
        let is_layered = paths.strategy == PublishStrategy::Exchange
            && fs::stat(&paths.live)?.is_some()
            && fs::is_overlay_filesystem(&paths.live)?;
        if is_layered && !fs::can_be_renamed(&paths.live, &paths.hygge_folder)? {
            return Err(StoreError::LowerLayer(paths.live.clone()));
        }
        Ok(lock)
    }

    fn folders(&self) -> Vec<PathBuf> {
        let live = &self.paths.live;
        let parent = live.parent().map(Path::to_path_buf);
        parent.into_iter().chain([live.clone()]).collect()
    }

    fn latest_parts(&self, receipt: &Receipt) -> Result<HashSet<Fingerprint>, StoreError> {
        let paths = &self.paths;
        let waiting = latest_set::waiting_parts(paths, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let previous = previous_set::unaltered_parts(paths, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let latest = latest_set::part_digests(receipt.latest.as_ref());
        Ok(waiting
            .chain(previous.filter(|digest| latest.contains(digest)))
            .collect())
    }

    fn previous_parts(
        &self,
        receipt: Option<&Receipt>,
    ) -> Result<HashSet<Fingerprint>, StoreError> {
        let paths = &self.paths;
        let mut digests = HashSet::new();
        if let Some(receipt) = receipt {
            let latest = latest_set::part_digests(receipt.latest.as_ref());
            let previous = previous_set::unaltered_parts(paths, receipt)?
                .into_iter()
                .map(|(_, digest)| digest);
            digests.extend(previous.filter(|digest| !latest.contains(digest)));
        }
        for next in [paths.next.clone(), paths.inner_next()]
            .iter()
            .chain(&paths.latest_folders())
        {
            digests.extend(previous_set::unpublished_digests(next)?);
        }
        Ok(digests)
    }

    fn recover(&self, context: &PublishContext<'_>) -> Result<Option<Receipt>, StoreError> {
        recover::recover(&self.paths, context)
    }

    fn publish(
        &self,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError> {
        match self.paths.strategy {
            PublishStrategy::Exchange => publish::publish(&self.paths, publication, context),
            PublishStrategy::InPlace => in_place::publish(&self.paths, publication, context),
        }
    }

    fn removable(&self) -> Result<RemovalPlan, StoreError> {
        clear::removal_plan(&self.paths)
    }

    fn clear(&self) -> Result<(), StoreError> {
        clear::clear(&self.paths)
    }
}
