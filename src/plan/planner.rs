//! The planner: everything that is known of a project while one command runs.
//!
//! It holds the queries, what was seen and what was remembered, and is asked again for a flow when
//! an upstream of it has run. How it judges stands in `judge`, what is to be done in `work`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::index_cache::IndexCache;
use super::lost_entities::{self, LostEntities};
use super::probe::{self, FlowState, Input, StoreState};
use super::project::Project;
use super::snapshot::{self, FlowStats, StatSnapshot};
use super::stale::Verdict;
use super::store_owners;
use super::table_states::TableStates;
use super::{Plan, PlanRequest, PlannedFlow};
use crate::cache::index::{IndexChanges, IndexReset, IndexedReceipt, PartRecord};
use crate::cache::resolver::PartResolver;
use crate::cache::{Cache, CacheAccess, CacheError};
use crate::connection::{Databases, run_with_grace_period};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::MemoEntry;
use crate::flow::{Flow, FlowName};
use crate::format::Layout;
use crate::fs::Stat;
use crate::graph::selection::SelectedFlows;
use crate::home::Listing;
use crate::store::accepted_loss;
use crate::store::receipt::Receipt;
use crate::store::{LiveContents, StoreId, StoreStats};

/// Judges flows, and judges them again when something has changed.
#[derive(Debug)]
pub struct Planner {
    /// The project.
    pub project: Project,
    /// The cache.
    pub cache: Arc<Cache>,
    pub(super) request: PlanRequest,
    pub(super) index_cache: IndexCache,
    pub(super) flow_stats: HashMap<FlowName, FlowStats>,
    /// Flows that look as they did when they were last found fresh, until they are observed.
    pub(super) unchanged: HashSet<FlowName>,
    pub(super) flow_states: HashMap<FlowName, FlowState>,
    pub(super) layouts: HashMap<Fingerprint, Layout>,
    pub(super) new_records: IndexChanges,
    pub(super) resolver: PartResolver,
    /// False where it only looks, and nobody will lock a store.
    pub(super) is_building: bool,
    /// Flows whose stores the run has locked.
    pub(super) locked: HashSet<FlowName>,
    /// The databases of the config.
    pub databases: Arc<Databases>,
    /// What tables answered, and by what they are read.
    pub(super) tables: TableStates,
    /// Flows that have lost more entities than they allow.
    pub(super) lost_entities: Vec<LostEntities>,
}

impl Planner {
    /// Opens the cache, and looks at the flows of the request meanwhile.
    pub async fn new(project: Project, request: PlanRequest, access: CacheAccess) -> Result<Self> {
        let folder = project.cache_folder();
        let is_building = matches!(access, CacheAccess::Build(_));
        let opening = tokio::spawn(async move {
            let mut cache = Cache::open(&folder, access).await?;
            let stores = std::mem::take(&mut cache.index.stores);
            Ok::<_, CacheError>((cache, stores))
        });
        let hashing = request.hash_progress.clone();
        let names: Vec<FlowName> = request.selected.flows.iter().cloned().collect();
        // An upstream that is not selected still says what its output is.
        let flows = names
            .iter()
            .filter_map(|name| project.graph.flow(name.as_str()));
        let upstreams = flows
            .filter_map(|flow| flow.upstream())
            .map(FlowName::from)
            .filter(|name| !request.selected.flows.contains(name));
        let flow_stats = stat_named_flows(
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
            index_cache: IndexCache::new(stores, hashing),
            flow_stats,
            unchanged: HashSet::new(),
            flow_states: HashMap::new(),
            layouts: HashMap::new(),
            new_records: IndexChanges::default(),
            resolver: PartResolver::default(),
            is_building,
            locked: HashSet::new(),
            databases,
            tables: TableStates::default(),
            lost_entities: Vec::new(),
        };
        if planner.cache.index.reset.is_some()
            || store_owners::is_moved_project(&planner.project, &planner.index_cache.stores)
        {
            planner.find_receipts()?;
        }
        if is_building {
            for store in
                lost_entities::reappeared_stores(&planner.project, &planner.index_cache.stores)
            {
                planner.set_accepted_loss(&store, false)?;
            }
        }
        // All of them, whatever is selected: their number is the one to accept in every command.
        if planner.request.restore.is_none() {
            planner.lost_entities =
                lost_entities::find_lost(&planner.project, &planner.index_cache.stores);
        }
        planner.observe_changed(&names).await?;
        Ok(planner)
    }

    /// The flows that the run is about.
    pub fn selected(&self) -> &SelectedFlows {
        &self.request.selected
    }

    /// Looks at flows anew, and at what they hold.
    pub async fn refresh(&mut self, names: &[FlowName]) -> Result<()> {
        self.flow_stats
            .extend(stat_named_flows(&self.project, names));
        self.observe(names).await
    }

    /// Looks at a flow anew, and at what its store holds; its table is asked when it is opened.
    pub async fn refresh_store(&mut self, name: &FlowName) -> Result<()> {
        self.flow_stats
            .extend(stat_named_flows(&self.project, std::slice::from_ref(name)));
        self.observe_files(std::slice::from_ref(name))
            .await
            .map(drop)
    }

    /// Finds out what flows hold that were looked at; their flow homes' stores as well.
    pub async fn observe(&mut self, names: &[FlowName]) -> Result<()> {
        let asked = self.observe_files(names).await?;
        self.probe_tables(&asked).await
    }

    /// The same without their tables; gives all flows that were looked at.
    async fn observe_files(&mut self, names: &[FlowName]) -> Result<Vec<FlowName>> {
        let mut wanted: BTreeSet<FlowName> = names.iter().cloned().collect();
        // What a flow home gave must be known, and of its own home too, for it is judged as well.
        let mut ahead: Vec<FlowName> = names.to_vec();
        while let Some(name) = ahead.pop() {
            let upstream = self.flow(&name)?.upstream().map(FlowName::from);
            let unseen =
                upstream.filter(|upstream| !self.flow_states.contains_key(upstream.as_str()));
            ahead.extend(unseen.filter(|upstream| wanted.insert(upstream.clone())));
        }
        let unseen: Vec<FlowName> = wanted
            .iter()
            .filter(|name| !self.flow_stats.contains_key(*name))
            .cloned()
            .collect();
        self.flow_stats
            .extend(stat_named_flows(&self.project, &unseen));
        let flows = wanted
            .iter()
            .map(|name| self.flow(name))
            .collect::<Result<Vec<_>>>()?;
        let stores: Vec<&StoreId> = flows
            .iter()
            .map(|flow| self.project.store_id(flow))
            .collect();
        let listings = wanted
            .iter()
            .filter_map(|name| self.flow_stats.get(name)?.home.as_ref().ok());
        let homes: Vec<Cow<'_, Path>> = listings
            .map(|listing| listing.folder.display_path())
            .collect();
        let folders: Vec<&Path> = homes
            .iter()
            .map(AsRef::as_ref)
            .chain(stores.iter().filter_map(|store| store.folder()))
            .collect();
        self.index_cache
            .load(&self.cache.index, &folders, &stores)
            .await?;
        let flow_stats: Vec<(&Flow, &StoreId, &FlowStats)> = flows
            .iter()
            .filter_map(|flow| {
                Some((
                    flow.as_ref(),
                    self.project.store_id(flow),
                    self.flow_stats.get(&flow.name)?,
                ))
            })
            .collect();
        let interrupted = self.request.interrupted.clone();
        let observed = probe::probe(&flow_stats, &mut self.index_cache, &interrupted);
        if interrupted.is_cancelled() {
            // What was hashed by now need not be hashed again.
            self.write_back().await?;
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        self.unchanged.retain(|name| !wanted.contains(name));
        let asked: Vec<FlowName> = wanted.iter().cloned().collect();
        self.flow_states.extend(wanted.into_iter().zip(observed));
        Ok(asked)
    }

    /// Takes those flows for fresh that look as when they were found fresh, and observes the
    /// others.
    pub(super) async fn observe_changed(&mut self, names: &[FlowName]) -> Result<()> {
        let is_asked = |name: &FlowName| self.is_forced(name) || self.is_restored(name);
        let snapshots: Vec<StatSnapshot<'_>> = names
            .iter()
            .filter(|name| !is_asked(name))
            .filter_map(|name| self.stat_snapshot(name))
            .collect();
        let index_cache = &self.index_cache;
        let looks_fresh = |snapshot: &&StatSnapshot<'_>| {
            snapshot.stat_digest().is_some_and(|stat_digest| {
                index_cache.has_stat_digest(snapshot.store, &stat_digest)
            })
        };
        self.unchanged = snapshots
            .par_iter()
            .filter(looks_fresh)
            .map(|snapshot| snapshot.flow.name.clone())
            .collect();
        let changed: Vec<FlowName> = names
            .iter()
            .filter(|name| !self.unchanged.contains(*name))
            .cloned()
            .collect();
        self.observe(&changed).await
    }

    fn stat_snapshot(&self, name: &FlowName) -> Option<StatSnapshot<'_>> {
        let flow = self.project.graph.flow(name.as_str())?;
        let receipt = |name: &str| {
            self.flow_stats
                .get(name)?
                .store
                .as_ref()
                .ok()?
                .receipt
                .as_ref()
        };
        Some(StatSnapshot {
            flow,
            store: self.project.store_id(flow),
            input_format: self.project.input_format(flow),
            stats: self.flow_stats.get(name)?,
            upstream_receipt: flow.upstream().and_then(receipt),
        })
    }

    /// Remembers by which stats a flow was found fresh, if all of it has aged.
    pub(super) fn record_fresh(&mut self, name: &FlowName) {
        let snapshot = self.stat_snapshot(name).filter(StatSnapshot::has_aged);
        if let Some((store, stat_digest)) =
            snapshot.and_then(|snapshot| Some((snapshot.store.clone(), snapshot.stat_digest()?)))
        {
            self.index_cache.set_stat_digest(&store, stat_digest);
        }
    }

    /// Why the index was begun anew, where there was something to find again.
    pub fn index_reset(&self) -> Option<&IndexReset> {
        let begun = self.cache.index.reset.as_ref()?;
        (*begun != IndexReset::Missing || !self.index_cache.stores.is_empty()).then_some(begun)
    }

    /// How many receipts are known.
    pub fn known_stores(&self) -> usize {
        self.index_cache.stores.len()
    }

    /// What a flow's home of files holds.
    ///
    /// # Errors
    /// What the probe met.
    pub fn inputs(&self, name: &FlowName) -> Result<&[Input]> {
        let inputs = self
            .flow_states
            .get(name)
            .ok_or_else(|| not_observed_error(name))?
            .inputs
            .as_ref();
        inputs.map(Vec::as_slice).map_err(Error::clone)
    }

    /// What a flow's home lists.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn listing(&self, name: &FlowName) -> Result<&Listing> {
        self.flow_stats
            .get(name)
            .ok_or_else(|| not_observed_error(name))?
            .home
            .as_ref()
            .map_err(Error::clone)
    }

    /// The receipt of a flow's store as it was last seen.
    pub fn receipt(&self, name: &FlowName) -> Option<&Arc<Receipt>> {
        self.flow_states
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
        self.flow_states
            .get(name)
            .ok_or_else(|| not_observed_error(name))?
            .store
            .as_ref()
            .map_err(Error::clone)
    }

    /// The run has locked the store of a flow: what is seen of it from now on stays.
    pub fn on_locked(&mut self, name: &FlowName) {
        self.locked.insert(name.clone());
    }

    /// The run has let go of it, and what was seen of its home may have passed.
    pub fn on_unlocked(&mut self, name: &FlowName) {
        self.locked.remove(name);
        let upstream = self
            .flow(name)
            .ok()
            .and_then(|flow| flow.upstream().map(FlowName::from));
        if let Some(upstream) = upstream.filter(|upstream| !self.locked.contains(upstream)) {
            self.flow_states.remove(&upstream);
            self.flow_stats.remove(&upstream);
        }
    }

    /// Takes over a part that was just made: others may need the same.
    pub fn on_part_made(&mut self, key: Fingerprint, record: PartRecord) {
        self.resolver.insert(key, record);
    }

    /// Takes over what was just published: its digests are known, nothing is read.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn on_published(&mut self, name: &FlowName, receipt: Receipt) -> Result<()> {
        let flow = self.flow(name)?;
        let store = self.project.open_store(&flow)?;
        let StoreStats {
            receipt: receipt_version,
            live,
        } = run_with_grace_period(|| store.observe())?;
        self.carry_over(&flow, &live);
        let published = receipt
            .published
            .iter()
            .flat_map(|published| &published.manifest.parts);
        let intact = published
            .filter_map(|part| Some((part.name.clone(), *live.files.get(&part.name)?)))
            .collect();
        let receipt = Arc::new(receipt);
        if let Some(version) = receipt_version.clone() {
            self.index_cache.set_receipt(
                self.project.store_id(&flow),
                IndexedReceipt {
                    version,
                    receipt: receipt.clone(),
                },
            );
        }
        let state = StoreState {
            receipt: Some(receipt),
            receipt_version,
            exists: live.exists,
            intact,
            ..StoreState::default()
        };
        if let Some(observed) = self.flow_states.get_mut(name) {
            observed.store = Ok(state);
        }
        Ok(())
    }

    /// The store of a flow was recovered: files that had second names look otherwise now, and are
    /// the same.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn on_recovered(&mut self, name: &FlowName) -> Result<()> {
        let flow = self.flow(name)?;
        // It has no files; and where its home is open, a pooler may have no session left to ask it
        // by.
        if !flow.store.capabilities().parts_readable {
            return Ok(());
        }
        let stats = self.project.open_store(&flow)?.observe()?;
        self.carry_over(&flow, &stats.live);
        Ok(())
    }

    /// Links and their removal change when a file was changed last, and nothing else of it: what
    /// the memo had the digest of before it has now. The store is locked. What was made just now
    /// is not in it: it is read once more.
    fn carry_over(&mut self, flow: &Flow, live: &LiveContents) {
        let Some(store) = self.project.store_id(flow).folder() else {
            return;
        };
        let Some(Ok(state)) = self
            .flow_states
            .get(&flow.name)
            .map(|observed| &observed.store)
        else {
            return;
        };
        let Some(memo) = self.index_cache.memos.get(store) else {
            return;
        };
        let known = state
            .intact
            .iter()
            .filter_map(|(name, stat)| Some((stat.inode, (*stat, memo.digest(name, stat)?))));
        let known: HashMap<u64, (Stat, Fingerprint)> = known.collect();
        let carried = live.files.iter().filter_map(|(name, stat)| {
            let (before, digest) = known.get(&stat.inode)?;
            let is_same =
                (before.size, before.mtime_ns) == (stat.size, stat.mtime_ns) && before != stat;
            is_same.then(|| {
                (
                    name.clone(),
                    MemoEntry {
                        stat: *stat,
                        digest: *digest,
                        aged: true,
                    },
                )
            })
        });
        for (name, remembered) in carried.collect::<Vec<_>>() {
            self.index_cache.set_memo(store, name, remembered);
        }
    }

    /// A flow by its name.
    pub fn flow(&self, name: &FlowName) -> Result<Arc<Flow>> {
        self.project
            .graph
            .flow(name.as_str())
            .cloned()
            .ok_or_else(|| not_observed_error(name))
    }

    /// Bytes that were hashed because no memo had their digest.
    pub fn hashed_bytes(&self) -> u64 {
        self.index_cache.hash_progress.bytes().0
    }

    /// What should be remembered: the stat memo, receipts that were read, layouts.
    pub fn take_changes(&mut self) -> IndexChanges {
        let mut changes = self.index_cache.take_changes();
        changes.append(std::mem::take(&mut self.new_records));
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
    pub fn has_lost_entities(&self, name: &FlowName) -> bool {
        self.lost_entities
            .iter()
            .any(|lost| self.is_entity_of(name, &lost.flow))
    }

    /// True where a plan publishes an entity of a flow for the first time.
    pub fn publishes_first_entity(&self, plan: &Plan, flow: &str) -> bool {
        let is_new = |step: &PlannedFlow| {
            step.verdict != Verdict::Fresh
                && self.is_entity_of(&step.flow, flow)
                && self.receipt(&step.flow).is_none()
        };
        plan.flows.iter().any(is_new)
    }

    /// Accepts that entities are lost, from now on, where they are as many.
    ///
    /// # Errors
    /// They are not.
    pub fn accept_lost(&mut self, number: usize) -> Result<()> {
        let lost = lost_entities::count_lost(&self.lost_entities);
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
        let stores = std::mem::take(&mut self.lost_entities)
            .into_iter()
            .flat_map(|lost| lost.stores);
        if self.is_building {
            for store in stores.collect::<Vec<_>>() {
                self.set_accepted_loss(&store, true)?;
            }
        }
        Ok(())
    }

    /// Remembers it beside the store, because the cache may be deleted, and in the cache, where it
    /// is asked.
    fn set_accepted_loss(&mut self, store: &StoreId, is_given_up: bool) -> Result<()> {
        accepted_loss::set_loss_accepted(store, is_given_up)
            .map_err(|error| Error::new(ErrorKind::Start, error))?;
        self.index_cache.set_accepted_loss(store, is_given_up);
        Ok(())
    }

    /// Without an index, the receipts beside all stores say what this project ever published.
    fn find_receipts(&mut self) -> Result<()> {
        for store_owners::StoreReceipt {
            sibling,
            is_loss_accepted,
        } in store_owners::store_receipts(&self.project)?
        {
            self.index_cache.set_receipt(
                &sibling.store,
                IndexedReceipt {
                    version: sibling.version,
                    receipt: Arc::new(sibling.receipt),
                },
            );
            if is_loss_accepted {
                self.index_cache.set_accepted_loss(&sibling.store, true);
            }
        }
        Ok(())
    }
}

/// Looks at flows of a project.
pub(super) fn stat_named_flows(
    project: &Project,
    names: &[FlowName],
) -> HashMap<FlowName, FlowStats> {
    let flows = names
        .iter()
        .filter_map(|name| project.graph.flow(name.as_str()));
    let flows: Vec<_> = flows.map(|flow| (flow, project.store_id(flow))).collect();
    let flow_stats = snapshot::stat_flows(&flows, project.confined_root());
    flows
        .into_iter()
        .map(|(flow, _)| flow.name.clone())
        .zip(flow_stats)
        .collect()
}

pub(super) fn not_observed_error(name: &FlowName) -> Error {
    Error::new(ErrorKind::Flow, format!("flow {name} was not looked at"))
}
