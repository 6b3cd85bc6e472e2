//! Planning: what must be done, with reasons, before anything is done.
//!
//! The planner holds everything that is known of a project: the queries, what probes found, and
//! what was remembered. It is asked again for a flow when an upstream of it has run.

pub mod db;
pub mod memory;
pub mod probe;
pub mod slice;
pub mod stale;
pub mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use salsa::Setter;
use serde::Serialize;

use crate::cache::Cache;
use crate::cache::index::{Batch, IndexedReceipt};
use crate::config::Config;
use crate::config::loader::Found;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::stat::{Now, Remembered};
use crate::flow::{Flow, FlowName};
use crate::format::Layout;
use crate::fs;
use crate::graph::selection::Selected;
use crate::graph::{Graph, RealPaths};
use crate::home::Place;
use crate::store::StoreError;
use crate::store::receipt::Receipt;

use db::{ConfigText, Database, FlowId, FlowKey, HomeState, Paths};
use memory::Memory;
use probe::{Inputs, Observed, StoreState};
use stale::{Reason, UPSTREAM, Verdict};
use work::Work;

/// A project whose config is understood.
#[derive(Debug)]
pub struct Project {
    database: Database,
    text: ConfigText,
    paths: Paths,
    /// The config.
    pub config: Arc<Config>,
    /// The flows and their order.
    pub graph: Arc<Graph>,
    real: RealPaths,
}

impl Project {
    /// Understands a config.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(found: &Found) -> Result<Self> {
        let database = Database::new();
        let text = ConfigText::new(&database, found.source.clone(), found.root.clone());
        let config = db::config(&database, text)?;
        let real = real_paths(&db::flows(&database, text)?)?;
        let paths = Paths::new(&database, real.clone());
        let graph = db::graph(&database, text, paths)?;
        Ok(Self { database, text, paths, config, graph, real })
    }

    /// The real path of a flow's store.
    pub fn store_path<'a>(&'a self, flow: &'a Flow) -> &'a Path {
        let path = flow.store.path();
        self.real.get(path).map_or(path, PathBuf::as_path)
    }

    /// How often each query ran since the last call.
    pub fn take_executed(&self) -> BTreeMap<String, usize> {
        self.database.take_executed()
    }
}

/// Resolves the links of every home and store. A parent is resolved once for all that lie in it.
fn real_paths(flows: &[Arc<Flow>]) -> Result<RealPaths> {
    let mut parents: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut real = RealPaths::new();
    let homes = flows.iter().filter_map(|flow| match flow.home.place() {
        Place::Path { path, .. } => Some(path),
        Place::Flow(_) => None,
    });
    for path in homes.chain(flows.iter().map(|flow| flow.store.path())) {
        if real.contains_key(path) {
            continue;
        }
        let resolved = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !fs::is_link(path)? => {
                let parent = match parents.get(parent) {
                    Some(known) => known.clone(),
                    None => parents.entry(parent.to_path_buf()).or_insert(fs::real_path(parent)?).clone(),
                };
                parent.join(name)
            }
            _ => fs::real_path(path)?,
        };
        real.insert(path.to_path_buf(), resolved);
    }
    Ok(real)
}

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Request {
    /// The flows.
    pub selected: Selected,
    /// Make the named ones whatever is recorded.
    pub force: bool,
}

/// The steps of a run in order.
#[derive(Debug)]
pub struct Plan {
    /// One step for each selected flow, each behind those that it needs.
    pub steps: Vec<Step>,
    /// Stores that no flow owns any more.
    pub orphans: Vec<Orphan>,
}

/// One flow of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// The flow.
    pub flow: FlowName,
    /// Whether it must run.
    pub verdict: Verdict,
    /// What is to be done, where that is known.
    pub work: Option<Arc<Work>>,
}

/// A store with a receipt of this project that no flow of its config owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The store.
    pub store: PathBuf,
    /// The flow that made it.
    pub flow: String,
}

/// Judges flows, and judges them again when something has changed.
#[derive(Debug)]
pub struct Planner {
    /// The project.
    pub project: Project,
    /// The cache.
    pub cache: Arc<Cache>,
    request: Request,
    memory: Memory,
    observed: HashMap<FlowName, Observed>,
    homes: HashMap<FlowName, HomeState>,
    layouts: HashMap<Fingerprint, Layout>,
    found: Batch,
}

impl Planner {
    /// Reads what is remembered, and probes the flows of the request.
    pub async fn new(project: Project, cache: Arc<Cache>, request: Request) -> Result<Self> {
        let memory = Memory::new(cache.index.memos().await?, cache.index.receipts().await?);
        let mut planner = Self {
            project,
            cache,
            request,
            memory,
            observed: HashMap::new(),
            homes: HashMap::new(),
            layouts: HashMap::new(),
            found: Batch::default(),
        };
        if planner.cache.index.is_new {
            planner.adopt_receipts()?;
        }
        // An upstream that is not selected still says what its output is.
        let mut names = planner.request.selected.flows.clone();
        for name in &planner.request.selected.flows {
            names.extend(planner.project.graph.flow(name.as_str()).and_then(|flow| flow.upstream()).map(FlowName::from));
        }
        planner.probe(&names.into_iter().collect::<Vec<_>>());
        Ok(planner)
    }

    /// The flows that the run is about.
    pub fn selected(&self) -> &Selected {
        &self.request.selected
    }

    /// Looks at homes and stores of flows anew.
    pub fn probe(&mut self, names: &[FlowName]) {
        let flows: Vec<_> = names
            .iter()
            .filter_map(|name| self.project.graph.flow(name.as_str()))
            .map(|flow| (flow.clone(), self.project.store_path(flow).to_path_buf()))
            .collect();
        self.observed.extend(probe::probe(&flows, &mut self.memory));
    }

    /// Judges every selected flow.
    pub async fn plan(&mut self) -> Result<Plan> {
        let mut steps: Vec<Step> = Vec::new();
        let mut will_run = BTreeSet::new();
        let mut blocked = BTreeSet::new();
        let order: Vec<FlowName> =
            self.project.graph.order().iter().filter(|name| self.request.selected.flows.contains(*name)).cloned().collect();
        for name in order {
            let upstreams = self.project.graph.upstreams(name.as_str());
            let waits: Vec<FlowName> = upstreams.iter().filter(|name| will_run.contains(*name)).cloned().collect();
            let stuck = upstreams.iter().find(|name| blocked.contains(*name)).cloned();
            let step = match stuck {
                Some(upstream) => Step {
                    flow: name,
                    verdict: Verdict::Blocked { error: format!("its upstream {upstream} is blocked"), hint: None },
                    work: None,
                },
                None => self.judge(&name, &waits).await?,
            };
            match step.verdict {
                Verdict::Blocked { .. } => drop(blocked.insert(step.flow.clone())),
                Verdict::Fresh => {}
                _ => drop(will_run.insert(step.flow.clone())),
            }
            steps.push(step);
        }
        Ok(Plan { steps, orphans: self.orphans() })
    }

    /// Judges the flows that are not selected, as if nothing were done to the others.
    pub async fn judge_others(&mut self) -> Result<Vec<Step>> {
        let order = self.project.graph.order().to_vec();
        let others: Vec<FlowName> = order.into_iter().filter(|name| !self.request.selected.flows.contains(name)).collect();
        self.probe(&others);
        let mut steps = Vec::new();
        for name in others {
            steps.push(self.judge(&name, &[]).await?);
        }
        Ok(steps)
    }

    /// Judges one flow, whose upstreams are done but for those it waits for.
    pub async fn judge(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<Step> {
        let blocked = |error: &Error| Verdict::Blocked { error: error.to_string(), hint: error.hint().map(String::from) };
        let judged = match self.compare(name, waits) {
            Ok(judged) => judged,
            Err(error) => return Ok(Step { flow: name.clone(), verdict: blocked(&error), work: None }),
        };
        let (mut reasons, key) = match judged {
            Judged::Waits(reasons) => {
                let verdict = Verdict::Maybe { upstreams: waits.to_vec(), reasons };
                return Ok(Step { flow: name.clone(), verdict, work: None });
            }
            Judged::Known(reasons, key) => (reasons, key),
        };
        if reasons.is_empty() {
            return Ok(Step { flow: name.clone(), verdict: Verdict::Fresh, work: None });
        }
        match self.work(name, &key).await {
            Ok(work) => {
                let old = self.receipt(name).and_then(|receipt| receipt.published.as_ref()).and_then(|published| published.schema);
                if let (Some(old), Some(new)) = (old, work.schema)
                    && old != new
                {
                    reasons.push(Reason::Schema { old, new });
                }
                let verdict = if work.parts_to_make() == 0 { Verdict::Restore { reasons } } else { Verdict::Stale { reasons } };
                Ok(Step { flow: name.clone(), verdict, work: Some(Arc::new(work)) })
            }
            Err(error) if error.kind() == ErrorKind::Start => Err(error),
            Err(error) => Ok(Step { flow: name.clone(), verdict: blocked(&error), work: None }),
        }
    }

    /// Compares what is recorded with what is there.
    fn compare(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<Judged> {
        let flow = self.flow(name)?;
        let inputs = if waits.is_empty() { Some(self.home_inputs(&flow)?) } else { None };
        let observed = self.observed.get(name).ok_or_else(|| missing(name))?;
        let state = observed.store.as_ref().map_err(Error::clone)?;
        let store = self.project.store_path(&flow);
        if state.receipt.is_none() && !state.added.is_empty() {
            return Err(StoreError::Foreign { path: store.to_path_buf(), names: some_of(&state.added) }.into());
        }
        let interrupted = state.receipt.as_ref().is_some_and(|receipt| receipt.pending.is_some());
        if !state.added.is_empty() && !interrupted {
            return Err(StoreError::Added { path: store.to_path_buf(), names: some_of(&state.added) }.into());
        }
        let placement = flow.store.placement(flow.name.as_str());
        let key = inputs.and_then(|inputs| self.key(name, inputs));
        let state = self.observed.get(name).and_then(|observed| observed.store.as_ref().ok()).ok_or_else(|| missing(name))?;
        let mut reasons = stale::reasons(key.as_ref().map(|key| &key.components), &placement, state);
        if self.request.force && self.request.selected.named.contains(name) {
            reasons.push(Reason::Forced);
        }
        match key {
            Some(key) => Ok(Judged::Known(reasons, key)),
            None if waits.is_empty() => Err(missing(name)),
            None => Ok(Judged::Waits(reasons)),
        }
    }

    /// The digests of what a flow's home holds.
    fn home_inputs(&self, flow: &Flow) -> Result<Arc<BTreeMap<String, Fingerprint>>> {
        let mut inputs = BTreeMap::new();
        if let Some(upstream) = flow.upstream() {
            let published = self.receipt(&FlowName::from(upstream)).and_then(|receipt| receipt.published.as_ref());
            let published = published.ok_or_else(|| not_built(upstream))?;
            inputs.insert(format!("{UPSTREAM}{upstream}"), published.manifest.output());
        } else {
            inputs.extend(self.inputs(&flow.name)?.files.iter().map(|file| (file.name.clone(), file.digest)));
        }
        Ok(Arc::new(inputs))
    }

    /// Asks for a flow's key, and tells the queries only what differs.
    fn key(&mut self, name: &FlowName, inputs: Arc<BTreeMap<String, Fingerprint>>) -> Option<Arc<FlowKey>> {
        let database = &mut self.project.database;
        let state = match self.homes.get(name) {
            Some(state) => {
                if state.inputs(database).as_ref() != Some(&inputs) {
                    state.set_inputs(database).to(Some(inputs));
                }
                *state
            }
            None => *self.homes.entry(name.clone()).or_insert_with(|| HomeState::new(database, Some(inputs))),
        };
        let database = &self.project.database;
        db::flow_key(database, self.project.text, self.project.paths, FlowId::new(database, name.clone()), state)
    }

    /// What a flow's home of files holds.
    ///
    /// # Errors
    /// What the probe met.
    pub fn inputs(&self, name: &FlowName) -> Result<&Inputs> {
        self.observed.get(name).ok_or_else(|| missing(name))?.inputs.as_ref().map_err(Error::clone)
    }

    /// The receipt of a flow's store as it was last seen.
    pub fn receipt(&self, name: &FlowName) -> Option<&Arc<Receipt>> {
        self.observed.get(name)?.store.as_ref().ok()?.receipt.as_ref()
    }

    /// What is in a flow's store as it was last seen.
    ///
    /// # Errors
    /// What the probe met.
    pub fn store_state(&self, name: &FlowName) -> Result<&StoreState> {
        self.observed.get(name).ok_or_else(|| missing(name))?.store.as_ref().map_err(Error::clone)
    }

    /// Takes over what was just published: its digests are known, nothing is read.
    ///
    /// # Errors
    /// The store cannot be looked at.
    pub fn note_published(&mut self, name: &FlowName, receipt: Receipt) -> Result<()> {
        let flow = self.flow(name)?;
        let store = self.project.store_path(&flow).to_path_buf();
        let now = Now::take();
        let live = flow.store.live(&store)?;
        for part in receipt.published.iter().flat_map(|published| &published.manifest.parts) {
            if let Some(stat) = live.files.get(&part.name) {
                self.memory.remember(&store, part.name.clone(), Remembered::new(*stat, part.digest, now));
            }
        }
        let receipt_stat = flow.store.receipt_stat(&store)?;
        if let Some(stat) = receipt_stat {
            self.memory.set_receipt(&store, Some(IndexedReceipt { stat, receipt: receipt.clone() }));
        }
        let state = StoreState { receipt: Some(Arc::new(receipt)), receipt_stat, exists: live.exists, ..StoreState::default() };
        if let Some(observed) = self.observed.get_mut(name) {
            observed.store = Ok(state);
        }
        Ok(())
    }

    /// A flow by its name.
    pub fn flow(&self, name: &FlowName) -> Result<Arc<Flow>> {
        self.project.graph.flow(name.as_str()).cloned().ok_or_else(|| missing(name))
    }

    /// Bytes that were hashed because no memo vouched for them.
    pub fn hashed_bytes(&self) -> u64 {
        self.memory.hashed.load(Ordering::Relaxed)
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
        Ok(self.cache.index.apply(changes).await?)
    }

    /// Stores of this project that no flow owns.
    fn orphans(&self) -> Vec<Orphan> {
        let owned: BTreeSet<&Path> = self.project.graph.flows().map(|flow| self.project.store_path(flow)).collect();
        let ours = self
            .memory
            .receipts
            .iter()
            .filter(|(store, indexed)| indexed.receipt.project == self.project.config.name && !owned.contains(store.as_path()));
        let there = ours.filter(|(store, _)| fs::stat(store).is_ok_and(|found| found.is_some()));
        let mut orphans: Vec<_> =
            there.map(|(store, indexed)| Orphan { store: store.clone(), flow: indexed.receipt.flow.clone() }).collect();
        orphans.sort_by(|a, b| a.store.cmp(&b.store));
        orphans
    }

    /// Without an index, the receipts beside all stores say what this project ever published.
    fn adopt_receipts(&mut self) -> Result<()> {
        for flow in self.project.graph.flows() {
            let neighbours = flow.store.neighbours(self.project.store_path(flow))?;
            for (store, stat, receipt) in neighbours {
                self.memory.set_receipt(&store, Some(IndexedReceipt { stat, receipt }));
            }
        }
        Ok(())
    }
}

enum Judged {
    Known(Vec<Reason>, Arc<FlowKey>),
    Waits(Vec<Reason>),
}

fn missing(name: &FlowName) -> Error {
    Error::new(ErrorKind::Flow, format!("flow {name} was not looked at"))
}

fn not_built(upstream: &str) -> Error {
    Error::new(ErrorKind::Flow, format!("its home, flow {upstream}, was never built")).with_hint(format!("hygge build {upstream}"))
}

fn some_of(names: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = names.iter().take(3).cloned().collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown
}
