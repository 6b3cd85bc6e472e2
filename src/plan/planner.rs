//! The planner: everything that is known of a project while one command runs.
//!
//! It holds the queries, what was seen and what was remembered, and is asked again for a flow when
//! an upstream of it has run. How it judges stands in `judge`, what is to be done in `work`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::look::{self, Look, Sight};
use super::lost::{self, Lost};
use super::memory::Memory;
use super::orphans;
use super::probe::{self, Input, Observed, StoreState};
use super::project::Project;
use super::stale::Verdict;
use super::table::Seen;
use super::{Plan, Request, Step};
use crate::cache::index::{Batch, Begun, IndexedReceipt, PartRecord};
use crate::cache::{Access, Cache, CacheError};
use crate::connection::{Databases, finishing};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::Remembered;
use crate::flow::{Flow, FlowName};
use crate::format::Layout;
use crate::fs::Stat;
use crate::graph::selection::Selected;
use crate::home::{Listing, Reading};
use crate::store::given_up;
use crate::store::receipt::Receipt;
use crate::store::{Live, StoreError};

/// Judges flows, and judges them again when something has changed.
#[derive(Debug)]
pub struct Planner {
    /// The project.
    pub project: Project,
    /// The cache.
    pub cache: Arc<Cache>,
    pub(super) request: Request,
    pub(super) memory: Memory,
    pub(super) looks: HashMap<FlowName, Look>,
    /// Flows that look as they did when they were last found fresh, until they are observed.
    pub(super) vouched: HashSet<FlowName>,
    pub(super) observed: HashMap<FlowName, Observed>,
    pub(super) layouts: HashMap<Fingerprint, Layout>,
    pub(super) found: Batch,
    /// Parts that the index may not have yet: those of this run, and what the ledger has, once it
    /// was asked for.
    pub(super) noted: HashMap<Fingerprint, PartRecord>,
    pub(super) has_ledger: bool,
    /// False where it only looks, and nobody will lock a store.
    pub(super) is_building: bool,
    /// Flows whose stores the run has locked.
    pub(super) locked: HashSet<FlowName>,
    /// The databases of the config.
    pub databases: Arc<Databases>,
    /// What tables answered.
    pub(super) tables: HashMap<FlowName, Result<Seen>>,
    /// What tables are being read by.
    pub(super) readings: HashMap<FlowName, Arc<dyn Reading>>,
    /// Flows that have lost more entities than they allow.
    pub(super) lost: Vec<Lost>,
}

impl Planner {
    /// Opens the cache, and looks at the flows of the request meanwhile.
    pub async fn new(project: Project, request: Request, access: Access) -> Result<Self> {
        let folder = project.cache_folder();
        let is_building = matches!(access, Access::Build(_));
        let opening = tokio::spawn(async move {
            let mut cache = Cache::open(&folder, access).await?;
            let stores = std::mem::take(&mut cache.index.stores);
            Ok::<_, CacheError>((cache, stores))
        });
        let hashing = request.hashing.clone();
        let names: Vec<FlowName> = request.selected.flows.iter().cloned().collect();
        // An upstream that is not selected still says what its output is.
        let flows = names
            .iter()
            .filter_map(|name| project.graph.flow(name.as_str()));
        let upstreams = flows
            .filter_map(|flow| flow.upstream())
            .map(FlowName::from)
            .filter(|name| !request.selected.flows.contains(name));
        let looks = look(
            &project,
            &names.iter().cloned().chain(upstreams).collect::<Vec<_>>(),
        );
        let databases = Arc::new(Databases::new(project.root()));
        let (cache, stores) = opening
            .await
            .map_err(|error| Error::new(ErrorKind::Start, error))??;
        let mut planner = Self {
            project,
            cache: Arc::new(cache),
            request,
            memory: Memory::new(stores, hashing),
            looks,
            vouched: HashSet::new(),
            observed: HashMap::new(),
            layouts: HashMap::new(),
            found: Batch::default(),
            noted: HashMap::new(),
            has_ledger: false,
            is_building,
            locked: HashSet::new(),
            databases,
            tables: HashMap::new(),
            readings: HashMap::new(),
            lost: Vec::new(),
        };
        if planner.cache.index.begun.is_some()
            || orphans::is_elsewhere(&planner.project, &planner.memory.stores)
        {
            planner.find_receipts()?;
        }
        if is_building {
            for store in lost::found_again(&planner.project, &planner.memory.stores) {
                planner.give_up(&store, false)?;
            }
        }
        // All of them, whatever is selected: their number is the one to accept in every command.
        if planner.request.put_back.is_none() {
            planner.lost = lost::find(&planner.project, &planner.memory.stores);
        }
        planner.vouch_or_observe(&names).await?;
        Ok(planner)
    }

    /// The flows that the run is about.
    pub fn selected(&self) -> &Selected {
        &self.request.selected
    }

    /// Looks at flows anew, and at what they hold.
    pub async fn probe(&mut self, names: &[FlowName]) -> Result<()> {
        self.looks.extend(look(&self.project, names));
        self.observe(names).await
    }

    /// Looks at a flow anew, and at what its store holds; its table is asked when it is opened.
    pub async fn probe_store(&mut self, name: &FlowName) -> Result<()> {
        self.looks
            .extend(look(&self.project, std::slice::from_ref(name)));
        self.observe_files(std::slice::from_ref(name))
            .await
            .map(drop)
    }

    /// Finds out what flows hold that were looked at; their flow homes' stores as well.
    pub async fn observe(&mut self, names: &[FlowName]) -> Result<()> {
        let asked = self.observe_files(names).await?;
        self.ask_tables(&asked).await
    }

    /// The same without their tables; gives all flows that were looked at.
    async fn observe_files(&mut self, names: &[FlowName]) -> Result<Vec<FlowName>> {
        let mut wanted: BTreeSet<FlowName> = names.iter().cloned().collect();
        // What a flow home gave must be known, and of its own home too, for it is judged as well.
        let mut ahead: Vec<FlowName> = names.to_vec();
        while let Some(name) = ahead.pop() {
            let upstream = self.flow(&name)?.upstream().map(FlowName::from);
            let unseen = upstream.filter(|upstream| !self.observed.contains_key(upstream.as_str()));
            ahead.extend(unseen.filter(|upstream| wanted.insert(upstream.clone())));
        }
        let unseen: Vec<FlowName> = wanted
            .iter()
            .filter(|name| !self.looks.contains_key(*name))
            .cloned()
            .collect();
        self.looks.extend(look(&self.project, &unseen));
        let flows = wanted
            .iter()
            .map(|name| self.flow(name))
            .collect::<Result<Vec<_>>>()?;
        let stores: Vec<&Path> = flows
            .iter()
            .map(|flow| self.project.store_path(flow))
            .collect();
        let listings = wanted
            .iter()
            .filter_map(|name| self.looks.get(name)?.home.as_ref().ok());
        let folders: Vec<&Path> = listings
            .map(|listing| listing.folder.as_path())
            .chain(stores.iter().copied())
            .collect();
        self.memory
            .load(&self.cache.index, &folders, &stores)
            .await?;
        let looks: Vec<(&Flow, &Path, &Look)> = flows
            .iter()
            .filter_map(|flow| {
                Some((
                    flow.as_ref(),
                    self.project.store_path(flow),
                    self.looks.get(&flow.name)?,
                ))
            })
            .collect();
        let interrupted = self.request.interrupted.clone();
        let observed = probe::probe(&looks, &mut self.memory, &interrupted);
        if interrupted.load(Ordering::Relaxed) {
            // What was hashed by now need not be hashed again.
            self.write_back().await?;
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        self.vouched.retain(|name| !wanted.contains(name));
        let asked: Vec<FlowName> = wanted.iter().cloned().collect();
        self.observed.extend(wanted.into_iter().zip(observed));
        Ok(asked)
    }

    /// Takes those flows for fresh that a witness vouches for, and observes the others.
    pub(super) async fn vouch_or_observe(&mut self, names: &[FlowName]) -> Result<()> {
        let is_asked = |name: &FlowName| self.is_forced(name) || self.puts_back(name);
        let sights: Vec<Sight<'_>> = names
            .iter()
            .filter(|name| !is_asked(name))
            .filter_map(|name| self.sight(name))
            .collect();
        let memory = &self.memory;
        let vouches = |sight: &&Sight<'_>| {
            sight
                .witness()
                .is_some_and(|witness| memory.vouches(sight.store, &witness))
        };
        self.vouched = sights
            .par_iter()
            .filter(vouches)
            .map(|sight| sight.flow.name.clone())
            .collect();
        let unvouched: Vec<FlowName> = names
            .iter()
            .filter(|name| !self.vouched.contains(*name))
            .cloned()
            .collect();
        self.observe(&unvouched).await
    }

    fn sight(&self, name: &FlowName) -> Option<Sight<'_>> {
        let flow = self.project.graph.flow(name.as_str())?;
        let receipt = |name: &str| self.looks.get(name)?.store.as_ref().ok()?.receipt.as_ref();
        Some(Sight {
            flow,
            store: self.project.store_path(flow),
            input: self.project.input_format(flow),
            look: self.looks.get(name)?,
            upstream: flow.upstream().and_then(receipt),
        })
    }

    /// Lets a flow that was found fresh be vouched for from now on, if all of it has aged.
    pub(super) fn remember_fresh(&mut self, name: &FlowName) {
        let sight = self.sight(name).filter(Sight::has_aged);
        if let Some((store, witness)) =
            sight.and_then(|sight| Some((sight.store.to_path_buf(), sight.witness()?)))
        {
            self.memory.set_witness(&store, witness);
        }
    }

    /// Why the index was begun anew, where there was something to find again.
    pub fn begun_anew(&self) -> Option<&Begun> {
        let begun = self.cache.index.begun.as_ref()?;
        (*begun != Begun::Missing || !self.memory.stores.is_empty()).then_some(begun)
    }

    /// How many receipts are known.
    pub fn known_stores(&self) -> usize {
        self.memory.stores.len()
    }

    /// What a flow's home of files holds.
    ///
    /// # Errors
    /// What the probe met.
    pub fn inputs(&self, name: &FlowName) -> Result<&[Input]> {
        let inputs = self
            .observed
            .get(name)
            .ok_or_else(|| missing(name))?
            .inputs
            .as_ref();
        inputs.map(Vec::as_slice).map_err(Error::clone)
    }

    /// What a flow's home lists.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn listing(&self, name: &FlowName) -> Result<&Listing> {
        self.looks
            .get(name)
            .ok_or_else(|| missing(name))?
            .home
            .as_ref()
            .map_err(Error::clone)
    }

    /// The receipt of a flow's store as it was last seen.
    pub fn receipt(&self, name: &FlowName) -> Option<&Arc<Receipt>> {
        self.observed
            .get(name)?
            .store
            .as_ref()
            .ok()?
            .receipt
            .as_ref()
    }

    /// What is in a flow's store as it was last seen.
    ///
    /// # Errors
    /// What the probe met.
    pub fn store_state(&self, name: &FlowName) -> Result<&StoreState> {
        self.observed
            .get(name)
            .ok_or_else(|| missing(name))?
            .store
            .as_ref()
            .map_err(Error::clone)
    }

    /// The run has locked the store of a flow: what is seen of it from now on stays.
    pub fn note_locked(&mut self, name: &FlowName) {
        self.locked.insert(name.clone());
    }

    /// The run has let go of it, and what was seen of its home may have passed.
    pub fn note_unlocked(&mut self, name: &FlowName) {
        self.locked.remove(name);
        let upstream = self
            .flow(name)
            .ok()
            .and_then(|flow| flow.upstream().map(FlowName::from));
        if let Some(upstream) = upstream.filter(|upstream| !self.locked.contains(upstream)) {
            self.observed.remove(&upstream);
            self.looks.remove(&upstream);
        }
    }

    /// Takes over a part that was just made: others may need the same.
    pub fn note_made(&mut self, key: Fingerprint, record: PartRecord) {
        self.noted.insert(key, record);
    }

    /// Takes over what was just published: its digests are known, nothing is read.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn note_published(&mut self, name: &FlowName, receipt: Receipt) -> Result<()> {
        let flow = self.flow(name)?;
        let store = self.project.store_path(&flow).to_path_buf();
        let (live, receipt_stat) = finishing(|| {
            Ok::<_, StoreError>((flow.store.live(&store)?, flow.store.receipt_stat(&store)?))
        })?;
        self.carry_over(name, &store, &live);
        let published = receipt
            .published
            .iter()
            .flat_map(|published| &published.manifest.parts);
        let intact = published
            .filter_map(|part| Some((part.name.clone(), *live.files.get(&part.name)?)))
            .collect();
        let receipt = Arc::new(receipt);
        if let Some(stat) = receipt_stat {
            self.memory.set_receipt(
                &store,
                IndexedReceipt {
                    stat,
                    receipt: receipt.clone(),
                },
            );
        }
        let state = StoreState {
            receipt: Some(receipt),
            receipt_stat,
            exists: live.exists,
            intact,
            ..StoreState::default()
        };
        if let Some(observed) = self.observed.get_mut(name) {
            observed.store = Ok(state);
        }
        Ok(())
    }

    /// The store of a flow was settled: files that had second names look otherwise now, and are the
    /// same.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn note_settled(&mut self, name: &FlowName) -> Result<()> {
        let flow = self.flow(name)?;
        // It has no files; and where its home is open, a pooler may have no session left to ask it
        // by.
        if !flow.store.capabilities().parts_readable {
            return Ok(());
        }
        let store = self.project.store_path(&flow).to_path_buf();
        let live = flow.store.live(&store)?;
        self.carry_over(name, &store, &live);
        Ok(())
    }

    /// Links and their removal change when a file was changed last, and nothing else of it: what
    /// the memo vouched for before it vouches for now. The store is locked. What was made just now
    /// is not in it: it is read once more.
    fn carry_over(&mut self, name: &FlowName, store: &Path, live: &Live) {
        let Some(Ok(state)) = self.observed.get(name).map(|observed| &observed.store) else {
            return;
        };
        let Some(memo) = self.memory.memos.get(store) else {
            return;
        };
        let vouched = state
            .intact
            .iter()
            .filter_map(|(name, stat)| Some((stat.inode, (*stat, memo.digest(name, stat)?))));
        let vouched: HashMap<u64, (Stat, Fingerprint)> = vouched.collect();
        let carried = live.files.iter().filter_map(|(name, stat)| {
            let (before, digest) = vouched.get(&stat.inode)?;
            let is_same =
                (before.size, before.mtime_ns) == (stat.size, stat.mtime_ns) && before != stat;
            is_same.then(|| {
                (
                    name.clone(),
                    Remembered {
                        stat: *stat,
                        digest: *digest,
                        aged: true,
                    },
                )
            })
        });
        for (name, remembered) in carried.collect::<Vec<_>>() {
            self.memory.remember(store, name, remembered);
        }
    }

    /// A flow by its name.
    pub fn flow(&self, name: &FlowName) -> Result<Arc<Flow>> {
        self.project
            .graph
            .flow(name.as_str())
            .cloned()
            .ok_or_else(|| missing(name))
    }

    /// Bytes that were hashed because no memo vouched for them.
    pub fn hashed_bytes(&self) -> u64 {
        self.memory.hashing.bytes().0
    }

    /// What should be remembered: the stat memo, receipts that were read, layouts.
    pub fn take_changes(&mut self) -> Batch {
        let mut changes = self.memory.take_changes();
        changes.append(std::mem::take(&mut self.found));
        changes
    }

    /// Writes what should be remembered into the index.
    pub async fn write_back(&mut self) -> Result<()> {
        let changes = self.take_changes();
        if !self.cache.is_writable() {
            return Ok(());
        }
        match self.cache.index.apply(changes).await {
            // Who only looks has what was asked for.
            Err(_) if !self.is_building => Ok(()),
            applied => Ok(applied?),
        }
    }

    /// Closes the index, so that one file has everything.
    pub async fn close(self) -> Result<()> {
        match Arc::try_unwrap(self.cache) {
            Ok(cache) => Ok(cache.index.close().await?),
            // Somebody else still uses it: it is closed with the process.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn is_entity_of(&self, name: &FlowName, flow: &str) -> bool {
        self.project
            .graph
            .flow(name.as_str())
            .and_then(|flow| flow.entity.as_ref())
            .is_some_and(|(of, _)| of == flow)
    }

    /// True for an entity of a flow that has lost more than it allows.
    pub fn misses_entities_of(&self, name: &FlowName) -> bool {
        self.lost
            .iter()
            .any(|lost| self.is_entity_of(name, &lost.flow))
    }

    /// True where a plan publishes an entity of a flow for the first time.
    pub fn is_first_of(&self, plan: &Plan, flow: &str) -> bool {
        let is_new = |step: &Step| {
            step.verdict != Verdict::Fresh
                && self.is_entity_of(&step.flow, flow)
                && self.receipt(&step.flow).is_none()
        };
        plan.steps.iter().any(is_new)
    }

    /// Accepts that entities are lost, from now on, where they are as many.
    ///
    /// # Errors
    /// They are not.
    pub fn accept_lost(&mut self, number: usize) -> Result<()> {
        let lost = lost::count(&self.lost);
        if lost != number {
            let error = match lost {
                0 => format!(
                    "--accept-lost={number}, and no flow has lost more entities than it allows"
                ),
                lost => format!(
                    "--accept-lost={number}, and the number of entities that are lost is {lost}"
                ),
            };
            let hint = if lost == 0 {
                "leave --accept-lost out"
            } else {
                "hygge build --dry-run names them"
            };
            return Err(Error::new(ErrorKind::Config, error).with_hint(hint));
        }
        let stores = std::mem::take(&mut self.lost)
            .into_iter()
            .flat_map(|lost| lost.stores);
        if self.is_building {
            for store in stores.collect::<Vec<_>>() {
                self.give_up(&store, true)?;
            }
        }
        Ok(())
    }

    /// Remembers it beside the store, because the cache may be deleted, and in the cache, where it
    /// is asked.
    fn give_up(&mut self, store: &Path, is_given_up: bool) -> Result<()> {
        given_up::give_up(store, is_given_up)
            .map_err(|error| Error::new(ErrorKind::Start, error))?;
        self.memory.give_up(store, is_given_up);
        Ok(())
    }

    /// Without an index, the receipts beside all stores say what this project ever published.
    fn find_receipts(&mut self) -> Result<()> {
        for orphans::Found {
            store,
            stat,
            receipt,
            is_given_up,
        } in orphans::receipts(&self.project)?
        {
            self.memory.set_receipt(
                &store,
                IndexedReceipt {
                    stat,
                    receipt: Arc::new(receipt),
                },
            );
            if is_given_up {
                self.memory.give_up(&store, true);
            }
        }
        Ok(())
    }
}

/// Looks at flows of a project.
pub(super) fn look(project: &Project, names: &[FlowName]) -> HashMap<FlowName, Look> {
    let flows = names
        .iter()
        .filter_map(|name| project.graph.flow(name.as_str()));
    let flows: Vec<_> = flows
        .map(|flow| (flow.clone(), project.store_path(flow).to_path_buf()))
        .collect();
    let looks = look::look(&flows, project.confined());
    flows
        .into_iter()
        .map(|(flow, _)| flow.name.clone())
        .zip(looks)
        .collect()
}

pub(super) fn missing(name: &FlowName) -> Error {
    Error::new(ErrorKind::Flow, format!("flow {name} was not looked at"))
}
