//! What is known of the homes and stores of flows: how they look, what they hold, and what was
//! remembered of both.
//!
//! It says what there is, and judges nothing. What tables hold is known elsewhere (`table_states`).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::context::{PlanContext, not_observed_error};
use super::index_cache::IndexCache;
use super::probe::{self, FlowState, Input, StoreState};
use super::project::Project;
use super::snapshot::{self, FlowStats, StatSnapshot};
use crate::cache::index::IndexedReceipt;
use crate::connection::run_with_grace_period;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::MemoEntry;
use crate::flow::{Flow, FlowName};
use crate::fs::Stat;
use crate::home::Listing;
use crate::store::receipt::Receipt;
use crate::store::{LiveContents, StoreId, StoreStats};

/// What is known of the homes and stores of flows.
#[derive(Debug)]
pub struct FlowStates {
    /// What was remembered, and what must be written back.
    pub(super) index_cache: IndexCache,
    stats: HashMap<FlowName, FlowStats>,
    states: HashMap<FlowName, FlowState>,
    /// Flows that look as they did when they were last found fresh, until they are observed.
    unchanged: HashSet<FlowName>,
    /// Flows whose stores the run has locked.
    locked: HashSet<FlowName>,
}

impl FlowStates {
    /// Nothing but how some flows look.
    pub(super) fn new(index_cache: IndexCache, stats: HashMap<FlowName, FlowStats>) -> Self {
        Self {
            index_cache,
            stats,
            states: HashMap::new(),
            unchanged: HashSet::new(),
            locked: HashSet::new(),
        }
    }

    /// Looks at flows anew, by names and stats only.
    pub(super) fn look(&mut self, project: &Project, names: &[FlowName]) {
        self.stats.extend(stat_flows(project, names));
    }

    /// Finds out what flows hold that were looked at; their flow homes' stores as well. Gives all
    /// flows that were observed.
    ///
    /// # Errors
    /// The index cannot be read, or the run shall end.
    pub(super) async fn observe(
        &mut self,
        context: &PlanContext,
        names: &[FlowName],
    ) -> Result<Vec<FlowName>> {
        let names = self.with_unknown_upstreams(context, names)?;
        let unseen: Vec<FlowName> = names
            .iter()
            .filter(|name| !self.stats.contains_key(*name))
            .cloned()
            .collect();
        self.look(&context.project, &unseen);
        let flows = names
            .iter()
            .map(|name| context.flow(name))
            .collect::<Result<Vec<_>>>()?;
        self.load_memory(context, &flows).await?;
        let looked_at: Vec<(&Flow, &StoreId, &FlowStats)> = flows
            .iter()
            .filter_map(|flow| {
                let stats = self.stats.get(&flow.name)?;
                Some((flow.as_ref(), context.project.store_id(flow), stats))
            })
            .collect();
        let interrupted = &context.request.interrupted;
        let observed = probe::probe(&looked_at, &mut self.index_cache, interrupted);
        if interrupted.is_cancelled() {
            return Err(Error::interrupted());
        }
        self.unchanged.retain(|name| !names.contains(name));
        let all = names.iter().cloned().collect();
        self.states.extend(names.into_iter().zip(observed));
        Ok(all)
    }

    /// These flows, and those of their homes that were not observed: what a flow home gave must be
    /// known, and of its own home too, for it is judged as well.
    fn with_unknown_upstreams(
        &self,
        context: &PlanContext,
        names: &[FlowName],
    ) -> Result<BTreeSet<FlowName>> {
        let mut wanted: BTreeSet<FlowName> = names.iter().cloned().collect();
        let mut ahead: Vec<FlowName> = names.to_vec();
        while let Some(name) = ahead.pop() {
            let upstream = context.flow(&name)?.upstream().map(FlowName::from);
            let unseen = upstream.filter(|upstream| !self.is_observed(upstream));
            ahead.extend(unseen.filter(|upstream| wanted.insert(upstream.clone())));
        }
        Ok(wanted)
    }

    /// Loads what was remembered of the homes and stores of these flows.
    async fn load_memory(&mut self, context: &PlanContext, flows: &[Arc<Flow>]) -> Result<()> {
        let stores: Vec<&StoreId> = flows
            .iter()
            .map(|flow| context.project.store_id(flow))
            .collect();
        let listings = flows
            .iter()
            .filter_map(|flow| self.stats.get(&flow.name)?.home.as_ref().ok());
        let homes: Vec<Cow<'_, Path>> = listings
            .map(|listing| listing.folder.display_path())
            .collect();
        let folders: Vec<&Path> = homes
            .iter()
            .map(AsRef::as_ref)
            .chain(stores.iter().filter_map(|store| store.folder()))
            .collect();
        Ok(self
            .index_cache
            .load(&context.cache.index, &folders, &stores)
            .await?)
    }

    /// Takes those flows for fresh that look as when they were found fresh; gives the others. What
    /// is asked for by name is never among the first.
    pub(super) fn take_unchanged(
        &mut self,
        context: &PlanContext,
        names: &[FlowName],
    ) -> Vec<FlowName> {
        let request = &context.request;
        let snapshots: Vec<StatSnapshot<'_>> = names
            .iter()
            .filter(|name| !request.is_forced(name) && !request.forgets_schema(name))
            .filter(|name| !request.is_restored(name))
            .filter_map(|name| self.snapshot(&context.project, name))
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
        names
            .iter()
            .filter(|name| !self.unchanged.contains(*name))
            .cloned()
            .collect()
    }

    fn snapshot<'a>(&'a self, project: &'a Project, name: &FlowName) -> Option<StatSnapshot<'a>> {
        let flow = project.graph.flow(name.as_str())?;
        let receipt = |name: &str| self.stats.get(name)?.store.as_ref().ok()?.receipt.as_ref();
        Some(StatSnapshot {
            flow,
            store: project.store_id(flow),
            input_format: project.input_format(flow),
            stats: self.stats.get(name)?,
            upstream_receipt: flow.upstream().and_then(receipt),
        })
    }

    /// Remembers by which stats a flow was found fresh, if all of it has aged.
    pub(super) fn record_fresh(&mut self, project: &Project, name: &FlowName) {
        let snapshot = self.snapshot(project, name).filter(StatSnapshot::has_aged);
        let digest = snapshot.and_then(|snapshot| snapshot.stat_digest());
        if let (Some(flow), Some(digest)) = (project.graph.flow(name.as_str()), digest) {
            self.index_cache
                .set_stat_digest(project.store_id(flow), digest);
        }
    }

    /// True for a flow that looks as it did when it was last found fresh.
    pub(super) fn is_unchanged(&self, name: &FlowName) -> bool {
        self.unchanged.contains(name)
    }

    /// True for a flow of which it is known what its home and its store hold.
    pub(super) fn is_observed(&self, name: &FlowName) -> bool {
        self.states.contains_key(name)
    }

    /// What a flow's home of files holds.
    ///
    /// # Errors
    /// What the probe met.
    pub fn inputs(&self, name: &FlowName) -> Result<&[Input]> {
        let inputs = self.state(name)?.inputs.as_ref();
        inputs.map(Vec::as_slice).map_err(Error::clone)
    }

    /// What is in a flow's store as it was last seen.
    ///
    /// # Errors
    /// What the probe met.
    pub fn store(&self, name: &FlowName) -> Result<&StoreState> {
        self.state(name)?.store.as_ref().map_err(Error::clone)
    }

    fn state(&self, name: &FlowName) -> Result<&FlowState> {
        self.states
            .get(name)
            .ok_or_else(|| not_observed_error(name))
    }

    /// What a flow's home lists.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn listing(&self, name: &FlowName) -> Result<&Listing> {
        let stats = self
            .stats
            .get(name)
            .ok_or_else(|| not_observed_error(name))?;
        stats.home.as_ref().map_err(Error::clone)
    }

    /// The receipt of a flow's store as it was last seen.
    pub fn receipt(&self, name: &FlowName) -> Option<&Arc<Receipt>> {
        self.states.get(name)?.store.as_ref().ok()?.receipt.as_ref()
    }

    /// True for a flow whose store the run has locked.
    pub(super) fn is_locked(&self, name: &FlowName) -> bool {
        self.locked.contains(name)
    }

    /// The run has locked the store of a flow: what is seen of it from now on stays.
    pub(super) fn on_locked(&mut self, name: &FlowName) {
        self.locked.insert(name.clone());
    }

    /// The run has let go of a flow's store, and what was seen of its home may have passed.
    pub(super) fn on_unlocked(&mut self, context: &PlanContext, name: &FlowName) {
        self.locked.remove(name);
        let flow = context.project.graph.flow(name.as_str());
        let upstream = flow.and_then(|flow| flow.upstream().map(FlowName::from));
        if let Some(upstream) = upstream.filter(|upstream| !self.locked.contains(upstream)) {
            self.states.remove(&upstream);
            self.stats.remove(&upstream);
        }
    }

    /// Takes over what was just published: its digests are known, nothing is read.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub(super) fn on_published(
        &mut self,
        project: &Project,
        flow: &Flow,
        receipt: Receipt,
    ) -> Result<()> {
        let store = project.open_store(flow)?;
        let StoreStats {
            receipt: receipt_version,
            live,
        } = run_with_grace_period(|| store.observe())?;
        self.carry_over(project, flow, &live);
        let published = receipt
            .published
            .iter()
            .flat_map(|published| &published.manifest.parts);
        let intact = published
            .filter_map(|part| Some((part.name.clone(), *live.files.get(&part.name)?)))
            .collect();
        let receipt = Arc::new(receipt);
        if let Some(version) = receipt_version.clone() {
            let receipt = receipt.clone();
            self.index_cache
                .set_receipt(project.store_id(flow), IndexedReceipt { version, receipt });
        }
        let state = StoreState {
            receipt: Some(receipt),
            receipt_version,
            exists: live.exists,
            intact,
            ..StoreState::default()
        };
        if let Some(observed) = self.states.get_mut(&flow.name) {
            observed.store = Ok(state);
        }
        Ok(())
    }

    /// The store of a flow was recovered: files that had second names look otherwise now, and are
    /// the same.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub(super) fn on_recovered(&mut self, project: &Project, flow: &Flow) -> Result<()> {
        // A table has no files; and where its home is open, a pooler may have no session left to
        // ask it by.
        if flow.store.capabilities().parts_readable {
            let stats = project.open_store(flow)?.observe()?;
            self.carry_over(project, flow, &stats.live);
        }
        Ok(())
    }

    /// Links and their removal change when a file was changed last, and nothing else of it: what
    /// the memo had the digest of before it has now. The store is locked. What was made just now
    /// is not in it: it is read once more.
    fn carry_over(&mut self, project: &Project, flow: &Flow, live: &LiveContents) {
        let state = self.states.get(&flow.name).map(|observed| &observed.store);
        let (Some(folder), Some(Ok(state))) = (project.store_id(flow).folder(), state) else {
            return;
        };
        let Some(memo) = self.index_cache.memos.get(folder) else {
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
            let entry = MemoEntry {
                stat: *stat,
                digest: *digest,
                aged: true,
            };
            is_same.then(|| (name.clone(), entry))
        });
        for (name, entry) in carried.collect::<Vec<_>>() {
            self.index_cache.set_memo(folder, name, entry);
        }
    }
}

/// Looks at flows of a project.
pub(super) fn stat_flows(project: &Project, names: &[FlowName]) -> HashMap<FlowName, FlowStats> {
    let flows: Vec<_> = names
        .iter()
        .filter_map(|name| project.graph.flow(name.as_str()))
        .map(|flow| (flow, project.store_id(flow)))
        .collect();
    let stats = snapshot::stat_flows(&flows, project.confined_root());
    flows
        .into_iter()
        .map(|(flow, _)| flow.name.clone())
        .zip(stats)
        .collect()
}
