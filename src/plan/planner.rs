//! The planner: everything that is known of a project while one command runs.
//!
//! It holds what was seen and what was remembered, and is asked again for a flow when an upstream of
//! it has run. How it judges stands in `judge`, what is to be done in `prepare`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::context::PlanContext;
use super::existing_parts::PartFinder;
use super::flow_states::{FlowStates, stat_flows};
use super::index_cache::IndexCache;
use super::layout_cache::LayoutCache;
use super::lost_entities::{self, EntityLosses};
use super::orphans::{self, RemovableStore};
use super::planned_part::PlannedPart;
use super::prepare::Preparer;
use super::project::Project;
use super::stale::Verdict;
use super::store_owners;
use super::table_states::{ProbedTable, TableStates};
use super::view::PlanView;
use super::{Plan, PlanRequest, PlannedFlow};
use crate::cache::index::{IndexChanges, IndexReset, IndexedReceipt, KnownStore, PartRecord};
use crate::cache::{Cache, CacheAccess, CacheError};
use crate::connection::{Databases, with_timeout};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, FlowName};
use crate::home::{PreviousRead, ReadSession, TableState};
use crate::store::receipt::Receipt;
use crate::store::{StoreId, accepted_loss};

/// Judges flows, and judges them again when something has changed.
#[derive(Debug)]
pub struct Planner {
    /// The project, what was asked, and what that is answered by.
    pub context: PlanContext,
    /// What is known of homes and stores.
    pub flows: FlowStates,
    /// What tables answered, and by what they are read.
    pub(super) tables: TableStates,
    pub(super) parts: PartFinder,
    pub(super) layouts: LayoutCache,
    pub(super) losses: EntityLosses,
    /// The flows of whose files all values are looked at.
    looks_at_all: HashSet<FlowName>,
}

impl Planner {
    /// Opens the cache, and looks at the flows of the request meanwhile.
    ///
    /// # Errors
    /// The cache cannot be used.
    pub async fn new(project: Project, request: PlanRequest, access: CacheAccess) -> Result<Self> {
        let is_building = matches!(access, CacheAccess::Build(_));
        let folder = project.cache_folder();
        let opening = tokio::spawn(async move {
            let mut cache = Cache::open(&folder, access).await?;
            let stores = std::mem::take(&mut cache.index.stores);
            Ok::<_, CacheError>((cache, stores))
        });
        let names: Vec<FlowName> = request.selected.flows.iter().cloned().collect();
        let stats = stat_flows(&project, &with_upstreams(&project, &names));
        let databases = Arc::new(Databases::new(project.root()));
        let (cache, stores) = opening
            .await
            .map_err(|error| Error::new(ErrorKind::Start, error))??;
        let index_cache = IndexCache::new(stores, request.hash_progress.clone());
        let mut planner = Self {
            context: PlanContext {
                project,
                request,
                cache: Arc::new(cache),
                databases,
                is_building,
            },
            flows: FlowStates::new(index_cache, stats),
            tables: TableStates::default(),
            parts: PartFinder::default(),
            layouts: LayoutCache::default(),
            losses: EntityLosses::default(),
            looks_at_all: HashSet::new(),
        };
        planner.find_known_stores()?;
        planner.observe_changed(&names).await?;
        Ok(planner)
    }

    /// Finds out what this project ever published, and which of it is lost.
    fn find_known_stores(&mut self) -> Result<()> {
        let PlanContext {
            project,
            cache,
            request,
            ..
        } = &self.context;
        let stores = &self.flows.index_cache.stores;
        let index = &cache.index;
        let has_lost_receipts = index.reset.is_some() || index.is_migrated;
        if has_lost_receipts || store_owners::is_moved_project(project, stores) {
            find_receipts(project, &mut self.flows.index_cache)?;
        }
        if self.context.is_building {
            for store in lost_entities::reappeared_stores(project, self.known_stores()) {
                set_accepted_loss(&mut self.flows.index_cache, &store, false)?;
            }
        }
        // All of them, whatever is selected: their number is the one to accept in every command.
        if request.restore.is_none() {
            self.losses = EntityLosses::find(project, self.known_stores());
        }
        Ok(())
    }

    /// What is known, to be read.
    pub(super) fn view(&self) -> PlanView<'_> {
        PlanView {
            context: &self.context,
            flows: &self.flows,
            tables: &self.tables,
        }
    }

    /// What finds out what is to be done.
    pub(super) fn preparer(&mut self) -> Preparer<'_> {
        Preparer {
            context: &self.context,
            flows: &mut self.flows,
            tables: &self.tables,
            parts: &mut self.parts,
            layouts: &mut self.layouts,
            looks_at_all: &self.looks_at_all,
        }
    }

    /// From now on all values of a flow's files say which types its columns have; false where they
    /// did before.
    pub fn look_at_all(&mut self, flow: &FlowName) -> bool {
        self.looks_at_all.insert(flow.clone())
    }

    /// Looks at flows anew, and at what they hold.
    ///
    /// # Errors
    /// The index cannot be read, or the run shall end.
    pub async fn refresh(&mut self, names: &[FlowName]) -> Result<()> {
        self.flows.look(&self.context.project, names);
        self.observe(names).await
    }

    /// Looks at a flow anew, and at what its store holds; its table is asked when it is opened.
    ///
    /// # Errors
    /// As [`Planner::refresh`].
    pub async fn refresh_store(&mut self, name: &FlowName) -> Result<()> {
        self.flows
            .look(&self.context.project, std::slice::from_ref(name));
        self.observe_files(std::slice::from_ref(name))
            .await
            .map(drop)
    }

    /// Finds out what flows hold that were looked at; their flow homes' stores as well.
    ///
    /// # Errors
    /// As [`Planner::refresh`].
    pub async fn observe(&mut self, names: &[FlowName]) -> Result<()> {
        let observed = self.observe_files(names).await?;
        self.probe_tables(&observed).await
    }

    /// The same without their tables; gives all flows that were looked at.
    async fn observe_files(&mut self, names: &[FlowName]) -> Result<Vec<FlowName>> {
        let observed = self.flows.observe(&self.context, names).await;
        if matches!(&observed, Err(error) if error.kind() == ErrorKind::Interrupted) {
            // What was hashed by now need not be hashed again.
            self.write_back().await?;
        }
        observed
    }

    /// Takes those flows for fresh that look as when they were found fresh, and observes the
    /// others.
    pub(super) async fn observe_changed(&mut self, names: &[FlowName]) -> Result<()> {
        let changed = self.flows.take_unchanged(&self.context, names);
        self.observe(&changed).await
    }

    /// Asks the tables of flows what they hold, all at once, but for those that are read whatever
    /// they say.
    pub(super) async fn probe_tables(&mut self, names: &[FlowName]) -> Result<()> {
        let view = self.view();
        let asked: Vec<Arc<Flow>> = names
            .iter()
            .filter(|name| view.needs_probe(name))
            .filter_map(|name| self.context.flow(name).ok())
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let mut questions = Vec::with_capacity(asked.len());
        for flow in asked {
            let (before, stay) = self.preparer().closed_partitions(&flow).await?;
            questions.push((before, stay, flow));
        }
        let databases = self.context.databases.clone();
        let probes = questions.iter().filter_map(|(before, stay, flow)| {
            let table = flow.home.as_rows()?;
            let databases = &databases;
            let seen = |answer: TableState| ProbedTable {
                table_state: Arc::new(answer),
                is_from_session: false,
                retained: stay.clone(),
            };
            // While it is planned, no clock of the flow counts.
            Some(async move {
                (
                    flow.name.clone(),
                    with_timeout(flow.timeout, table.probe(databases, before))
                        .await
                        .flatten()
                        .map(seen),
                )
            })
        });
        let interrupted = self.context.request.interrupted.clone();
        let answers = tokio::select! {
            answers = join_all(probes) => Some(answers),
            () = interrupted.cancelled() => None,
        };
        let Some(answers) = answers else {
            self.context.databases.wait_for_cancellations().await;
            return Err(Error::interrupted());
        };
        self.tables.extend(answers);
        Ok(())
    }

    /// How to ask a table that is about to be opened, and which parts of the published set stay.
    pub async fn previous_read(
        &mut self,
        name: &FlowName,
    ) -> Result<(PreviousRead, Arc<[PlannedPart]>)> {
        let flow = self.context.flow(name)?;
        self.preparer().closed_partitions(&flow).await
    }

    /// True where a flow's table must be opened before it is known what is to be done.
    pub fn must_open(&self, name: &FlowName) -> bool {
        self.view().must_open(name)
    }

    /// What a flow's table holds is known from a reading.
    pub fn on_table_opened(
        &mut self,
        name: &FlowName,
        reading: Arc<dyn ReadSession>,
        stay: Arc<[PlannedPart]>,
    ) {
        self.tables.open(name, reading, stay);
    }

    /// All that a flow needs of its table was read: its sessions are free for others.
    pub fn close_session(&mut self, name: &FlowName) -> Option<JoinHandle<()>> {
        self.tables.close_session(name)
    }

    /// The flow has ended: what its table holds may be something else by now.
    pub fn forget_table(&mut self, name: &FlowName) {
        self.tables.forget(name);
    }

    /// Why the index was begun anew, where there was something to find again.
    pub fn index_reset(&self) -> Option<&IndexReset> {
        let begun = self.context.cache.index.reset.as_ref()?;
        (*begun != IndexReset::Missing || !self.known_stores().is_empty()).then_some(begun)
    }

    /// The stores that are known.
    pub fn known_stores(&self) -> &HashMap<StoreId, KnownStore> {
        &self.flows.index_cache.stores
    }

    /// The run has locked the store of a flow: what is seen of it from now on stays.
    pub fn on_locked(&mut self, name: &FlowName) {
        self.flows.on_locked(name);
    }

    /// The run has let go of it, and what was seen of its home may have passed.
    pub fn on_unlocked(&mut self, name: &FlowName) {
        self.flows.on_unlocked(&self.context, name);
    }

    /// Takes over a part that was just made: others may need the same.
    pub fn on_part_made(&mut self, key: Fingerprint, record: PartRecord) {
        self.parts.on_part_made(key, record);
    }

    /// Takes over what was just published: its digests are known, nothing is read.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn on_published(&mut self, name: &FlowName, receipt: Receipt) -> Result<()> {
        let flow = self.context.flow(name)?;
        self.flows
            .on_published(&self.context.project, &flow, receipt)
    }

    /// The store of a flow was recovered.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn on_recovered(&mut self, name: &FlowName) -> Result<()> {
        let flow = self.context.flow(name)?;
        self.flows.on_recovered(&self.context.project, &flow)
    }

    /// Bytes that were hashed because no memo had their digest.
    pub fn hashed_bytes(&self) -> u64 {
        self.flows.index_cache.hash_progress.bytes().0
    }

    /// What should be remembered: the stat memo, receipts that were read, layouts.
    pub fn take_changes(&mut self) -> IndexChanges {
        let mut changes = self.flows.index_cache.take_changes();
        changes.layouts = self.layouts.take_new();
        changes.facts = self.layouts.take_new_facts();
        changes
    }

    /// Writes what should be remembered into the index.
    ///
    /// # Errors
    /// It cannot be written to.
    pub async fn write_back(&mut self) -> Result<()> {
        let changes = self.take_changes();
        if !self.context.cache.is_writable() {
            return Ok(());
        }
        match self.context.cache.index.apply(changes).await {
            // Who only looks has what was asked for.
            Err(_) if !self.context.is_building => Ok(()),
            applied => Ok(applied?),
        }
    }

    /// Closes the index, so that one file has everything.
    ///
    /// # Errors
    /// It cannot be closed.
    pub async fn close(self) -> Result<()> {
        match Arc::try_unwrap(self.context.cache) {
            Ok(cache) => Ok(cache.index.close().await?),
            // Somebody else still uses it: it is closed with the process.
            Err(_) => Ok(()),
        }
    }

    /// Folders and tables of this project that no flow owns, with what reads and clears each; those
    /// of tables whose connection the config has no more are in the second list, by their flows.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn removable_stores(&mut self) -> Result<(Vec<RemovableStore>, Vec<String>)> {
        orphans::removable_stores(&self.context, &mut self.flows.index_cache).await
    }

    /// True for an entity of a flow that has lost more than it allows.
    pub fn has_lost_entities(&self, name: &FlowName) -> bool {
        let flow = self.context.project.graph.flow(name.as_str());
        flow.is_some_and(|flow| self.losses.error(flow).is_some())
    }

    /// True where a plan publishes an entity of a flow for the first time.
    pub fn publishes_first_entity(&self, plan: &Plan, flow: &str) -> bool {
        let is_entity = |name: &FlowName| {
            let entity = self.context.project.graph.flow(name.as_str());
            entity.is_some_and(|entity| lost_entities::is_entity_of(entity, flow))
        };
        let is_new = |step: &PlannedFlow| {
            step.verdict != Verdict::Fresh
                && is_entity(&step.flow)
                && self.flows.receipt(&step.flow).is_none()
        };
        plan.flows.iter().any(is_new)
    }

    /// Accepts that entities are lost, from now on, where they are as many.
    ///
    /// # Errors
    /// They are not.
    pub fn accept_lost(&mut self, number: usize) -> Result<()> {
        let stores = self.losses.accept(number)?;
        if self.context.is_building {
            for store in stores {
                set_accepted_loss(&mut self.flows.index_cache, &store, true)?;
            }
        }
        Ok(())
    }
}

/// These flows, and those of their homes that are not among them: an upstream that is not selected
/// still says what its output is.
fn with_upstreams(project: &Project, names: &[FlowName]) -> Vec<FlowName> {
    let selected: HashSet<&FlowName> = names.iter().collect();
    let flows = names
        .iter()
        .filter_map(|name| project.graph.flow(name.as_str()));
    let upstreams = flows
        .filter_map(|flow| flow.upstream())
        .map(FlowName::from)
        .filter(|name| !selected.contains(name));
    names.iter().cloned().chain(upstreams).collect()
}

/// Without an index, the receipts beside all stores say what a project ever published.
fn find_receipts(project: &Project, index_cache: &mut IndexCache) -> Result<()> {
    for found in store_owners::store_receipts(project)? {
        let sibling = found.sibling;
        index_cache.set_receipt(
            &sibling.store,
            IndexedReceipt {
                version: sibling.version,
                receipt: Arc::new(sibling.receipt),
            },
        );
        if found.is_loss_accepted {
            index_cache.set_accepted_loss(&sibling.store, true);
        }
    }
    Ok(())
}

/// Remembers it beside the store, because the cache may be deleted, and in the cache, where it is
/// asked.
fn set_accepted_loss(index_cache: &mut IndexCache, store: &StoreId, accepted: bool) -> Result<()> {
    accepted_loss::set_loss_accepted(store, accepted)
        .map_err(|error| Error::new(ErrorKind::Start, error))?;
    index_cache.set_accepted_loss(store, accepted);
    Ok(())
}
