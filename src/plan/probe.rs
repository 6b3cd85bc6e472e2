//! Probing: what homes and stores hold, by digests. It reads the files that the memo does not know.
//!
//! The files of many flows are hashed in one round, so that one flow of many files uses all
//! processors too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::iter::{IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator};

use super::Hashing;
use super::look::{Look, StoreLook};
use super::memory::Memory;
use crate::cache::index::IndexedReceipt;
use crate::connection::within;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::{FolderMemo, Now, Remembered};
use crate::flow::Flow;
use crate::fs::{self, FsError, Stat};
use crate::store::Live;
use crate::store::receipt::{Published, Receipt};

/// One file of a home, with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name below the home.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// How it looked before it was hashed.
    pub stat: Stat,
    /// The digest of its bytes.
    pub digest: Fingerprint,
}

/// What is in a store.
#[derive(Clone, Debug, Default)]
pub struct StoreState {
    /// Its receipt.
    pub receipt: Option<Arc<Receipt>>,
    /// How the receipt's file looked.
    pub receipt_stat: Option<Stat>,
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
    pub is_lost: bool,
}

/// What a probe of one flow found.
#[derive(Debug)]
pub struct Observed {
    /// The files of its home by name; nothing where the home is another flow.
    pub inputs: Result<Vec<Input>>,
    /// What its store holds.
    pub store: Result<StoreState>,
}

/// One file whose digest is asked for.
struct Wanted {
    folder: PathBuf,
    name: String,
    stat: Stat,
    digest: Digest,
}

/// How the digest of a file is known.
enum Digest {
    /// The memo vouches for it.
    Remembered(Fingerprint),
    /// Nothing vouches for it yet.
    Unknown,
    /// The file was read.
    Hashed(Result<Remembered>),
}

/// A flow between looking and hashing.
struct Probed<'a> {
    real: &'a Path,
    inputs: Result<Vec<Wanted>>,
    store: Result<ProbedStore>,
}

struct ProbedStore {
    /// What it is called, where it is a table.
    table: Option<String>,
    receipt: Option<Arc<Receipt>>,
    receipt_stat: Option<Stat>,
    is_new: bool,
    is_lost: bool,
    live: Live,
    files: Vec<Wanted>,
}

/// Probes flows that were looked at, in their order; each comes with the real path of its store.
///
/// Where it is interrupted, what was not hashed by then is an error of its flow.
pub fn probe(
    looks: &[(&Flow, &Path, &Look)],
    memory: &mut Memory,
    interrupted: &AtomicBool,
) -> Vec<Observed> {
    // What is asked of databases is asked at once.
    let known = &*memory;
    let mut probed: Vec<Probed<'_>> = looks
        .par_iter()
        .map(|(flow, real, look)| Probed {
            real,
            inputs: inputs(look, known),
            store: store(flow, real, look, known),
        })
        .collect();
    let hashing = &memory.hashing;
    let wanted = probed.iter_mut().flat_map(Probed::wanted);
    let mut unknown: Vec<&mut Wanted> = wanted
        .filter(|wanted| matches!(wanted.digest, Digest::Unknown))
        .collect();
    hashing.expect(unknown.iter().map(|wanted| wanted.stat.size).sum());
    unknown
        .par_iter_mut()
        .for_each(|wanted| hash(wanted, hashing, interrupted));
    probed
        .into_iter()
        .map(|probed| probed.finish(memory))
        .collect()
}

impl Probed<'_> {
    fn wanted(&mut self) -> impl Iterator<Item = &mut Wanted> {
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

    fn finish(self, memory: &mut Memory) -> Observed {
        let inputs = self.inputs.and_then(|wanted| {
            let mut files = Vec::with_capacity(wanted.len());
            for wanted in wanted {
                let path = wanted.folder.join(&wanted.name);
                let (name, stat) = (wanted.name.clone(), wanted.stat);
                files.push(Input {
                    name,
                    path,
                    stat,
                    digest: remember(wanted, memory)?,
                });
            }
            Ok(files)
        });
        let store = self.store.and_then(|store| {
            match (store.is_new, store.receipt_stat, &store.receipt) {
                (true, Some(stat), Some(receipt)) => {
                    memory.set_receipt(
                        self.real,
                        IndexedReceipt {
                            stat,
                            receipt: receipt.clone(),
                        },
                    );
                }
                (_, None, _) if !store.is_lost => memory.forget_receipt(self.real),
                _ => {}
            }
            store.finish(memory)
        });
        Observed { inputs, store }
    }
}

impl ProbedStore {
    fn finish(self, memory: &mut Memory) -> Result<StoreState> {
        let published = self.receipt.as_deref().and_then(settled);
        let mut state = StoreState {
            exists: self.live.exists,
            is_lost: self.is_lost,
            ..StoreState::default()
        };
        let mut parts: HashMap<&str, &Fingerprint> = published
            .iter()
            .flat_map(|published| &published.manifest.parts)
            .map(|part| (part.name.as_str(), &part.digest))
            .collect();
        for wanted in self.files {
            let (name, stat) = (wanted.name.clone(), wanted.stat);
            if parts.remove(name.as_str()) != Some(&remember(wanted, memory)?) {
                state.altered.push(name);
            } else {
                state.intact.insert(name, stat);
            }
        }
        let names: HashSet<&str> = published
            .iter()
            .flat_map(|published| &published.manifest.parts)
            .map(|part| part.name.as_str())
            .collect();
        let visible = self.live.files.keys().chain(&self.live.folders);
        state.added = visible
            .filter(|name| !names.contains(name.as_str()))
            .cloned()
            .collect();
        state.added.sort();
        state.missing = parts.into_keys().map(String::from).collect();
        state.missing.sort();
        if let Some(table) = self.table {
            // What is in a table is told by its receipt, as long as there is a table.
            state.missing = if self.live.exists || published.is_none() {
                Vec::new()
            } else {
                vec![table]
            };
        }
        state.receipt = self.receipt;
        state.receipt_stat = self.receipt_stat;
        Ok(state)
    }
}

/// What a receipt says is published. One that died in the middle names two sets: the old one is
/// assumed until the store is settled, which needs its lock.
fn settled(receipt: &Receipt) -> Option<&Published> {
    receipt.published.as_ref()
}

fn inputs(look: &Look, memory: &Memory) -> Result<Vec<Wanted>> {
    let listing = look.home.as_ref().map_err(Error::clone)?;
    let memo = memory.memos.get(&listing.folder);
    let wanted = listing.files.iter().map(|file| Wanted {
        folder: listing.folder.clone(),
        name: file.name.clone(),
        stat: file.stat,
        digest: known(memo, &file.name, &file.stat),
    });
    Ok(wanted.collect())
}

fn store(flow: &Flow, real: &Path, look: &Look, memory: &Memory) -> Result<ProbedStore> {
    let StoreLook {
        receipt: receipt_stat,
        live,
    } = look.store.clone()?;
    let indexed = memory
        .receipts
        .get(real)
        .filter(|indexed| Some(indexed.stat) == receipt_stat);
    let (receipt, is_new) = match (indexed, receipt_stat) {
        (Some(indexed), _) => (Some(indexed.receipt.clone()), false),
        (None, Some(_)) => (
            within(flow.timeout, || flow.store.receipt(real))?.map(Arc::new),
            true,
        ),
        (None, None) => (None, false),
    };
    let memo = memory.memos.get(real);
    let published = receipt.as_deref().and_then(settled);
    let mut files = Vec::new();
    for part in published
        .map(|published| published.manifest.parts.as_slice())
        .unwrap_or_default()
    {
        let Some(stat) = live.files.get(&part.name) else {
            continue;
        };
        files.push(Wanted {
            folder: real.to_path_buf(),
            name: part.name.clone(),
            stat: *stat,
            digest: known(memo, &part.name, stat),
        });
    }
    // One that says of nothing that it was published was that of a first publication which died.
    let says_something = || {
        memory
            .receipts
            .get(real)
            .is_none_or(|indexed| indexed.receipt.published.is_some())
    };
    let is_lost = receipt_stat.is_none()
        && flow.mode.appends()
        && memory.stores.contains_key(real)
        && says_something();
    let table = flow.store.table().map(|table| table.names.join("."));
    Ok(ProbedStore {
        table,
        receipt,
        receipt_stat,
        is_new,
        is_lost,
        live,
        files,
    })
}

fn known(memo: Option<&FolderMemo>, name: &str, stat: &Stat) -> Digest {
    memo.and_then(|memo| memo.digest(name, stat))
        .map_or(Digest::Unknown, Digest::Remembered)
}

/// Hashes a file and checks that it looks the same before and after.
fn hash(wanted: &mut Wanted, hashing: &Hashing, interrupted: &AtomicBool) {
    let path = wanted.folder.join(&wanted.name);
    let now = Now::take();
    let digest = || -> Result<Remembered> {
        let file = fs::open(&path)?;
        let mut before = 0;
        let passed = |bytes: u64| {
            hashing.add(bytes - std::mem::replace(&mut before, bytes));
            fs::go_on(interrupted)
        };
        let (digest, _) =
            Fingerprint::of_file(&file, passed).map_err(FsError::at("read", &path))?;
        if fs::stat_open(&file, &path)? != wanted.stat {
            return Err(ProbeError::Changing(path.clone()).into());
        }
        Ok(Remembered::new(wanted.stat, digest, now))
    };
    wanted.digest = Digest::Hashed(digest());
}

/// Takes the digest of a file over into the memo.
fn remember(wanted: Wanted, memory: &mut Memory) -> Result<Fingerprint> {
    match wanted.digest {
        Digest::Remembered(digest) => Ok(digest),
        Digest::Hashed(found) => {
            let remembered = found?;
            memory.remember(&wanted.folder, wanted.name, remembered);
            Ok(remembered.digest)
        }
        Digest::Unknown => Err(ProbeError::Changing(wanted.folder.join(wanted.name)).into()),
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
        Self::new(ErrorKind::Flow, error).with_hint("build again when its writer is done")
    }
}
