//! Probing: what homes and stores hold, by digests. It reads the files that the memo does not know.
//!
//! The files of many flows are hashed in one round, so that one flow of many files uses all
//! processors too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator};
use tokio_util::sync::CancellationToken;

use super::HashProgress;
use super::index_cache::IndexCache;
use super::snapshot::FlowStats;
use crate::cache::index::IndexedReceipt;
use crate::connection::run_with_timeout;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::{FolderMemo, MemoEntry, UnixNanos};
use crate::flow::Flow;
use crate::format::OpenFile;
use crate::fs::{self, FsError, Stat};
use crate::storage::{Location, SequentialReader, Version};
use crate::store::receipt::{PublishedSet, Receipt};
use crate::store::{LiveContents, StoreId, StoreStats};

/// One file of a home, with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name below the home.
    pub name: String,
    /// Where it lies.
    pub location: Location,
    /// Its version before it was hashed.
    pub version: Version,
    /// The digest of its bytes.
    pub digest: Fingerprint,
}

impl Input {
    /// Opens it: it is the file that was fingerprinted, and nobody wrote to it since.
    ///
    /// # Errors
    /// It is another, or cannot be read.
    pub(super) fn open(&self) -> Result<OpenFile> {
        let opened = OpenFile::new(&self.location)?;
        self.check_unchanged(&opened)?;
        Ok(opened)
    }

    /// The open file still has the bytes that were fingerprinted.
    ///
    /// # Errors
    /// Somebody wrote to it.
    pub(super) fn check_unchanged(&self, opened: &OpenFile) -> Result<()> {
        if opened.version()? == self.version {
            Ok(())
        } else {
            Err(ProbeError::Changing(opened.path.clone()).into())
        }
    }
}

/// What is in a store.
#[derive(Clone, Debug, Default)]
pub struct StoreState {
    /// Its receipt.
    pub receipt: Option<Arc<Receipt>>,
    /// The version of the receipt.
    pub receipt_version: Option<Version>,
    /// True where there is a store, however empty.
    pub exists: bool,
    /// How the files look that are as they were published.
    pub intact: BTreeMap<String, Stat>,
    /// Published names that are gone.
    pub missing: Vec<String>,
    /// Published names that have other bytes.
    pub altered: Vec<String>,
    /// Visible names that hygge did not publish.
    pub added: Vec<String>,
    /// True where there is no receipt, and the index remembers one that nothing can make up for.
    pub is_receipt_lost: bool,
}

/// What a probe of one flow found.
#[derive(Debug)]
pub struct FlowState {
    /// The files of its home by name; nothing where the home is another flow.
    pub inputs: Result<Vec<Input>>,
    /// What its store holds.
    pub store: Result<StoreState>,
}

/// One file whose digest is asked for.
struct HashRequest {
    folder: Location,
    name: String,
    version: Version,
    digest: DigestState,
}

impl HashRequest {
    fn location(&self) -> Location {
        self.folder.join(Path::new(&self.name))
    }
}

/// How the digest of a file is known.
enum DigestState {
    /// The memo has it.
    Remembered(Fingerprint),
    /// It is not known yet.
    Unknown,
    /// The file was read.
    Hashed(Result<(Fingerprint, UnixNanos)>),
}

/// A flow between looking and hashing.
struct FlowProbe<'a> {
    id: &'a StoreId,
    inputs: Result<Vec<HashRequest>>,
    store: Result<StoreProbe>,
}

struct StoreProbe {
    receipt: Option<Arc<Receipt>>,
    receipt_version: Option<Version>,
    is_receipt_new: bool,
    is_receipt_lost: bool,
    live: LiveContents,
    files: Vec<HashRequest>,
}

/// Probes flows that were looked at, in their order; each comes with its store.
///
/// Where it is interrupted, what was not hashed by then is an error of its flow.
pub fn probe(
    flow_stats: &[(&Flow, &StoreId, &FlowStats)],
    index_cache: &mut IndexCache,
    interrupted: &CancellationToken,
) -> Vec<FlowState> {
    // What is asked of databases is asked at once.
    let known = &*index_cache;
    let mut probed: Vec<FlowProbe<'_>> = flow_stats
        .par_iter()
        .map(|(flow, id, look)| FlowProbe {
            id,
            inputs: probe_inputs(look, known),
            store: probe_store(flow, id, look, known),
        })
        .collect();
    let hashing = &index_cache.hash_progress;
    let wanted = probed.iter_mut().flat_map(FlowProbe::hash_requests);
    let mut unknown: Vec<&mut HashRequest> = wanted
        .filter(|wanted| matches!(wanted.digest, DigestState::Unknown))
        .collect();
    hashing.expect(unknown.iter().map(|wanted| wanted.version.size()).sum());
    unknown
        .par_iter_mut()
        .for_each(|wanted| hash_requested(wanted, hashing, interrupted));
    probed
        .into_iter()
        .map(|probed| probed.finish(index_cache))
        .collect()
}

impl FlowProbe<'_> {
    fn hash_requests(&mut self) -> impl Iterator<Item = &mut HashRequest> {
        let inputs = self
            .inputs
            .as_mut()
            .map(|files| files.iter_mut())
            .into_iter()
            .flatten();
        let outputs = self
            .store
            .as_mut()
            .map(|store| store.files.iter_mut())
            .into_iter()
            .flatten();
        inputs.chain(outputs)
    }

    fn finish(self, index_cache: &mut IndexCache) -> FlowState {
        let inputs = self.inputs.and_then(|wanted| {
            let mut files = Vec::with_capacity(wanted.len());
            for wanted in wanted {
                files.push(Input {
                    name: wanted.name.clone(),
                    location: wanted.location(),
                    version: wanted.version.clone(),
                    digest: take_digest(wanted, index_cache)?,
                });
            }
            Ok(files)
        });
        let store = self.store.and_then(|store| {
            match (store.is_receipt_new, &store.receipt_version, &store.receipt) {
                (true, Some(version), Some(receipt)) => {
                    index_cache.set_receipt(
                        self.id,
                        IndexedReceipt {
                            version: version.clone(),
                            receipt: receipt.clone(),
                        },
                    );
                }
                (_, None, _) if !store.is_receipt_lost => index_cache.forget_receipt(self.id),
                _ => {}
            }
            store.finish(index_cache)
        });
        FlowState { inputs, store }
    }
}

impl StoreProbe {
    fn finish(self, index_cache: &mut IndexCache) -> Result<StoreState> {
        let published = self.receipt.as_deref().and_then(assumed_published);
        let mut state = StoreState {
            exists: self.live.exists,
            is_receipt_lost: self.is_receipt_lost,
            ..StoreState::default()
        };
        let mut parts: HashMap<&str, &Fingerprint> = published
            .iter()
            .flat_map(|published| &published.manifest.parts)
            .map(|part| (part.name.as_str(), &part.digest))
            .collect();
        for wanted in self.files {
            let name = wanted.name.clone();
            let stat = self.live.files.get(&name).copied();
            if parts.remove(name.as_str()) != Some(&take_digest(wanted, index_cache)?) {
                state.altered.push(name);
            } else {
                state.intact.extend(stat.map(|stat| (name, stat)));
            }
        }
        // A folder of its parts may be empty: they are missing then.
        let folders = published.map(|published| published.manifest.folders());
        let names: HashSet<&str> = published
            .iter()
            .flat_map(|published| &published.manifest.parts)
            .map(|part| part.name.as_str())
            .chain(folders.into_iter().flatten())
            .collect();
        let visible = self.live.files.keys().chain(&self.live.folders);
        state.added = visible
            .filter(|name| !names.contains(name.as_str()))
            .cloned()
            .collect();
        state.added.sort();
        state.missing = parts.into_keys().map(String::from).collect();
        state.missing.sort();
        if let Some(whole) = self.live.whole {
            // What is in it is told by its receipt, as long as it is there.
            state.missing = if self.live.exists || published.is_none() {
                Vec::new()
            } else {
                vec![whole]
            };
        }
        state.receipt = self.receipt;
        state.receipt_version = self.receipt_version;
        Ok(state)
    }
}

/// What a receipt says is published. One that died in the middle names two sets: the old one is
/// assumed until the store is recovered, which needs its lock.
fn assumed_published(receipt: &Receipt) -> Option<&PublishedSet> {
    receipt.published.as_ref()
}

fn probe_inputs(look: &FlowStats, index_cache: &IndexCache) -> Result<Vec<HashRequest>> {
    let listing = look.home.as_ref().map_err(Error::clone)?;
    let memo = index_cache
        .memos
        .get(listing.folder.display_path().as_ref());
    let wanted = listing.files.iter().map(|file| HashRequest {
        folder: listing.folder.clone(),
        name: file.name.clone(),
        version: file.version.clone(),
        digest: memo_digest(memo, &file.name, &file.version),
    });
    Ok(wanted.collect())
}

fn probe_store(
    flow: &Flow,
    id: &StoreId,
    look: &FlowStats,
    index_cache: &IndexCache,
) -> Result<StoreProbe> {
    let StoreStats {
        receipt: receipt_version,
        live,
    } = look.store.clone()?;
    let indexed = index_cache
        .receipts
        .get(id)
        .filter(|indexed| Some(&indexed.version) == receipt_version.as_ref());
    let (receipt, is_new) = match (indexed, &receipt_version) {
        (Some(indexed), _) => (Some(indexed.receipt.clone()), false),
        (None, Some(_)) => (
            run_with_timeout(flow.timeout, || flow.store.open(id)?.receipt())?.map(Arc::new),
            true,
        ),
        (None, None) => (None, false),
    };
    let published = receipt.as_deref().and_then(assumed_published);
    let files = match (id.folder(), published) {
        (Some(folder), Some(published)) => published_files(folder, published, &live, index_cache),
        _ => Vec::new(),
    };
    // One that says of nothing that it was published was that of a first publication which died.
    let says_something = || {
        index_cache
            .receipts
            .get(id)
            .is_none_or(|indexed| indexed.receipt.published.is_some())
    };
    let is_lost = receipt_version.is_none()
        && flow.mode.appends()
        && index_cache.stores.contains_key(id)
        && says_something();
    Ok(StoreProbe {
        receipt,
        receipt_version,
        is_receipt_new: is_new,
        is_receipt_lost: is_lost,
        live,
        files,
    })
}

/// The files of a set that are there, whatever is in them.
fn published_files(
    folder: &Path,
    published: &PublishedSet,
    live: &LiveContents,
    index_cache: &IndexCache,
) -> Vec<HashRequest> {
    let memo = index_cache.memos.get(folder);
    let location = Location::local(folder.to_path_buf());
    let mut files = Vec::new();
    for part in &published.manifest.parts {
        let Some(stat) = live.files.get(&part.name) else {
            continue;
        };
        let version = Version::Stat(*stat);
        files.push(HashRequest {
            folder: location.clone(),
            name: part.name.clone(),
            digest: memo_digest(memo, &part.name, &version),
            version,
        });
    }
    files
}

/// The memo is of stats: what another storage says is not in it.
fn memo_digest(memo: Option<&FolderMemo>, name: &str, version: &Version) -> DigestState {
    let Version::Stat(stat) = version else {
        return DigestState::Unknown;
    };
    memo.and_then(|memo| memo.digest(name, stat))
        .map_or(DigestState::Unknown, DigestState::Remembered)
}

/// Hashes a file and checks that it has the same version before and after.
fn hash_requested(
    wanted: &mut HashRequest,
    hashing: &HashProgress,
    interrupted: &CancellationToken,
) {
    let now = UnixNanos::now();
    let digest = || -> Result<(Fingerprint, UnixNanos)> {
        let file = OpenFile::new(&wanted.location())?;
        let mut before = 0;
        let passed = |bytes: u64| {
            hashing.add(bytes - std::mem::replace(&mut before, bytes));
            fs::check_interrupted(interrupted)
        };
        let (digest, _) =
            Fingerprint::hash_reader(SequentialReader::new(file.bytes.as_ref()), passed)
                .map_err(FsError::at("read", &file.path))?;
        if file.version()? != wanted.version {
            return Err(ProbeError::Changing(file.path).into());
        }
        Ok((digest, now))
    };
    wanted.digest = DigestState::Hashed(digest());
}

/// Takes the digest of a file over into the memo.
fn take_digest(wanted: HashRequest, index_cache: &mut IndexCache) -> Result<Fingerprint> {
    match wanted.digest {
        DigestState::Remembered(digest) => Ok(digest),
        DigestState::Hashed(found) => {
            let (digest, now) = found?;
            if let Version::Stat(stat) = wanted.version {
                let entry = MemoEntry::new(stat, digest, now);
                index_cache.set_memo(&wanted.folder.display_path(), wanted.name, entry);
            }
            Ok(digest)
        }
        DigestState::Unknown => {
            Err(ProbeError::Changing(wanted.location().display_path().into_owned()).into())
        }
    }
}

/// A file that cannot be fingerprinted.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Somebody writes to it.
    #[error("{} changed while it was read", .0.display())]
    Changing(PathBuf),
}

impl From<ProbeError> for Error {
    fn from(error: ProbeError) -> Self {
        Self::new(ErrorKind::Flow, error)
            .with_hint("build again when its writer is done")
            .with_retry(Retry::UnderLock)
    }
}
