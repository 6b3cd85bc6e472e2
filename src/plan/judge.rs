//! Judging: which flows must run, and why.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::append::AppendError;
use super::lost_entities;
use super::planner::{Planner, not_observed_error, stat_named_flows};
use super::queries::FlowKey;
use super::stale::{self, Reason, UPSTREAM_PREFIX, Verdict};
use super::table_work::{WATERMARK_SETTING, has_same_watermark};
use super::upstream::{altered_upstream_error, unbuilt_upstream_error};
use super::{Plan, PlannedFlow, append};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::fingerprint::Fingerprint;
use crate::flow::{Flow, FlowName};
use crate::home::RowSource;
use crate::publish::check_shrink;
use crate::store::StoreError;
use crate::store::receipt::PublishedSet;

enum Comparison {
    Complete(Vec<Reason>, Arc<FlowKey>),
    AwaitingUpstreams(Vec<Reason>),
}

impl Planner {
    /// Judges every selected flow.
    pub async fn plan(&mut self) -> Result<Plan> {
        let mut steps: Vec<PlannedFlow> = Vec::new();
        let mut will_run = BTreeSet::new();
        let mut blocked = BTreeSet::new();
        let order: Vec<FlowName> = self
            .project
            .graph
            .order()
            .iter()
            .filter(|name| self.request.selected.flows.contains(*name))
            .cloned()
            .collect();
        for name in order {
            let upstreams = self.project.graph.upstreams(name.as_str());
            let waits: Vec<FlowName> = upstreams
                .iter()
                .filter(|name| will_run.contains(*name))
                .cloned()
                .collect();
            let stuck = upstreams
                .iter()
                .find(|name| blocked.contains(*name))
                .cloned();
            let step = match stuck {
                Some(upstream) => PlannedFlow {
                    flow: name,
                    verdict: Verdict::Blocked {
                        error: format!("its upstream {upstream} is blocked"),
                        hint: None,
                    },
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
        let pinned = steps
            .iter()
            .filter_map(|step| Some((step.flow.clone(), self.pinned_run(&step.flow)?)))
            .collect();
        Ok(Plan {
            flows: steps,
            orphans: self.orphans(),
            pinned,
            has_probed_tables: !self.tables.is_empty(),
        })
    }

    /// Judges the flows that are not selected, as if nothing were done to the others.
    pub async fn judge_others(&mut self) -> Result<Vec<PlannedFlow>> {
        let order = self.project.graph.order().to_vec();
        let others: Vec<FlowName> = order
            .into_iter()
            .filter(|name| !self.request.selected.flows.contains(name))
            .collect();
        self.flow_stats
            .extend(stat_named_flows(&self.project, &others));
        self.observe_changed(&others).await?;
        let mut steps = Vec::new();
        for name in others {
            steps.push(self.judge(&name, &[]).await?);
        }
        Ok(steps)
    }

    /// Judges one flow, whose upstreams are done but for those it waits for. Where nobody will
    /// build, what would stop a build at its end is found too.
    pub async fn judge(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<PlannedFlow> {
        let step = self.judge_flow(name, waits).await?;
        if self.is_building || matches!(step.verdict, Verdict::Fresh | Verdict::Blocked { .. }) {
            return Ok(step);
        }
        match self.check_publication(&step) {
            Ok(()) => Ok(step),
            Err(error) => Ok(PlannedFlow {
                verdict: blocked_verdict(&error),
                work: None,
                ..step
            }),
        }
    }

    /// What is planned can be published, as far as that is known.
    fn check_publication(&self, step: &PlannedFlow) -> Result<()> {
        let flow = self.flow(&step.flow)?;
        self.project.open_store(&flow)?.check()?;
        let work = step
            .work
            .as_ref()
            .filter(|work| !work.is_recovery_only && !self.request.accept_shrink);
        match work.and_then(|work| work.total_rows()) {
            Some(rows) => check_shrink(&flow, self.receipt(&step.flow).map(Arc::as_ref), rows),
            None => Ok(()),
        }
    }

    async fn judge_flow(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<PlannedFlow> {
        let step = |verdict, work| PlannedFlow {
            flow: name.clone(),
            verdict,
            work,
        };
        if let Some(lost) = self
            .lost_entities
            .iter()
            .find(|lost| self.is_entity_of(name, &lost.flow))
        {
            return Ok(step(
                blocked_verdict(&lost.error(lost_entities::count_lost(&self.lost_entities))),
                None,
            ));
        }
        if waits.is_empty() && self.unchanged.contains(name) {
            return Ok(step(Verdict::Fresh, None));
        }
        if !self.flow_states.contains_key(name) {
            self.observe(std::slice::from_ref(name)).await?;
        }
        if self.must_recover(name)? {
            return Ok(step(
                Verdict::Stale {
                    reasons: vec![Reason::Interrupted],
                },
                Some(Arc::new(self.recovery_work(name))),
            ));
        }
        if let (true, Some(run)) = (self.is_backfilled(name), self.pinned_run(name)) {
            let error = Error::new(ErrorKind::Flow, format!("it stays at the set of run {run}"));
            return Ok(step(
                blocked_verdict(
                    &error.with_hint(format!("hygge restore {name} --latest ends that")),
                ),
                None,
            ));
        }
        if let Some(published) = self.fixed_set(name) {
            return match self.judge_restore(name, published).await {
                Err(error) if error.kind() != ErrorKind::Start => {
                    Ok(step(blocked_verdict(&error), None))
                }
                judged => judged,
            };
        }
        let judged = match self.compare_flow(name, waits) {
            Ok(judged) => judged,
            Err(error) if self.may_be_transient(name, &error) => {
                return Ok(step(
                    Verdict::Stale {
                        reasons: Vec::new(),
                    },
                    Some(Arc::new(self.recovery_work(name))),
                ));
            }
            Err(error) => return Ok(step(blocked_verdict(&error), None)),
        };
        let (mut reasons, key) = match judged {
            Comparison::AwaitingUpstreams(reasons) => {
                let verdict = Verdict::Maybe {
                    upstreams: waits.to_vec(),
                    reasons,
                };
                return Ok(step(verdict, None));
            }
            Comparison::Complete(reasons, key) => (reasons, key),
        };
        if reasons.is_empty() {
            self.record_fresh(name);
            return Ok(step(Verdict::Fresh, None));
        }
        let is_table = self.flow(name)?.home.as_rows().is_some();
        if is_table && self.tables.session(name).is_none() {
            // Only what reads it can say what it holds.
            if self.is_building {
                return Ok(step(
                    Verdict::Stale { reasons },
                    Some(Arc::new(self.recovery_work(name))),
                ));
            }
            if self.tables.get(name).is_none() {
                return Ok(step(Verdict::Stale { reasons }, None));
            }
        }
        match self.flow_work(name, &key).await {
            Ok(work) => {
                let old = self
                    .receipt(name)
                    .and_then(|receipt| receipt.published.as_ref())
                    .and_then(|published| published.schema_digest);
                if let (Some(old), Some(new)) = (old, work.schema)
                    && old != new
                    && !work.layouts.iter().any(|layout| layout.has_schema(&old))
                    && !reasons
                        .iter()
                        .any(|reason| matches!(reason, Reason::Schema { .. }))
                {
                    reasons.push(Reason::Schema {
                        old,
                        new,
                        columns: Vec::new(),
                    });
                }
                self.describe_schema_reason(self.flow(name)?.as_ref(), &work, &mut reasons);
                let verdict = if work.parts_to_make() == 0 {
                    Verdict::Restore { reasons }
                } else {
                    Verdict::Stale { reasons }
                };
                Ok(step(verdict, Some(Arc::new(work))))
            }
            Err(error) if error.kind() == ErrorKind::Start => Err(error),
            Err(error) => Ok(step(blocked_verdict(&error), None)),
        }
    }

    /// True where only the recovered store can say what is at hand, and what was moved: it is
    /// recovered, and judged again.
    fn must_recover(&self, name: &FlowName) -> Result<bool> {
        let is_interrupted = self
            .receipt(name)
            .is_some_and(|receipt| receipt.pending.is_some());
        Ok(is_interrupted
            && (self.is_restored(name)
                || self.pinned_run(name).is_some()
                || self.flow(name)?.mode.appends()))
    }

    /// True where another process may be publishing to the store, or to that of its home, as long
    /// as nobody has waited for its lock: what was seen may be neither the old nor the new.
    fn may_be_transient(&self, name: &FlowName, error: &Error) -> bool {
        let is_unsteady = matches!(error.retry(), Retry::Later | Retry::UnderLock)
            || self.store_state(name).is_err();
        is_unsteady && self.is_building && !self.locked.contains(name)
    }

    /// The set that a flow shall have whatever its home holds: one that is to be put back, or that
    /// was.
    pub(super) fn fixed_set(&self, name: &FlowName) -> Option<PublishedSet> {
        if let Some(put_back) = self
            .request
            .restore
            .as_ref()
            .filter(|_| self.is_restored(name))
        {
            let Some(set) = &put_back.set else {
                let latest = self.receipt(name)?.latest()?;
                return Some(PublishedSet {
                    pinned: None,
                    ..latest.clone()
                });
            };
            return Some(PublishedSet {
                pinned: put_back.pinned.then_some(set.run),
                ..set.published.clone()
            });
        }
        self.pinned_run(name)?;
        self.receipt(name)?.published.clone()
    }

    /// True where the run is about an earlier set of this flow.
    pub fn is_restored(&self, name: &FlowName) -> bool {
        self.request
            .restore
            .as_ref()
            .is_some_and(|put_back| put_back.flow == *name)
    }

    /// The run at whose set a flow stays.
    fn pinned_run(&self, name: &FlowName) -> Option<i64> {
        let receipt = self.receipt(name)?;
        // Another flow's is let go when this one takes the store over; one that is no more had
        // another name.
        let is_taken_over = receipt.flow != name.as_str()
            && receipt.project == self.project.config.name
            && self.project.graph.flow(&receipt.flow).is_some();
        receipt
            .published
            .as_ref()?
            .pinned
            .filter(|_| !is_taken_over && !self.is_forced(name))
    }

    /// Judges a flow whose set is given.
    async fn judge_restore(
        &mut self,
        name: &FlowName,
        published: PublishedSet,
    ) -> Result<PlannedFlow> {
        let flow = self.flow(name)?;
        self.check_foreign_files(&flow)?;
        let state = self.store_state(name)?;
        let now = state
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref());
        let mut reasons = stale::reasons(None, &published.placement, state);
        reasons.retain(|reason| !matches!(reason, Reason::Placement { .. }));
        if let Some(put_back) = self
            .request
            .restore
            .as_ref()
            .filter(|_| self.is_restored(name))
        {
            let is_there = now.is_some_and(|now| {
                now.manifest == published.manifest && now.pinned == published.pinned
            });
            if !is_there {
                let run = put_back.set.as_ref().map_or(0, |set| set.run);
                reasons.push(Reason::PutBack {
                    run,
                    pinned: put_back.pinned,
                });
            }
            let leaves = now.filter(|now| !is_there && now.pinned.is_none() && flow.mode.appends());
            if let Some(lost) = leaves.and(state.missing.iter().chain(&state.altered).next()) {
                let error = format!(
                    "output {lost} of the latest set is missing or was altered: it may be nowhere else"
                );
                return Err(Error::new(ErrorKind::Flow, error).with_hint(format!(
                    "first make the latest set whole: hygge build {name}"
                )));
            }
        }
        if reasons.is_empty() {
            return Ok(PlannedFlow {
                flow: name.clone(),
                verdict: Verdict::Fresh,
                work: None,
            });
        }
        let work = self.restore_work(&flow, published).await?;
        Ok(PlannedFlow {
            flow: name.clone(),
            verdict: Verdict::Restore { reasons },
            work: Some(Arc::new(work)),
        })
    }

    /// Nothing is in a flow's store that hygge did not make, unless it takes the folder over.
    fn check_foreign_files(&self, flow: &Flow) -> Result<()> {
        let state = self.store_state(&flow.name)?;
        // Nobody sees the parts of a table one by one.
        let Some(folder) = self.project.store_id(flow).folder() else {
            return Ok(());
        };
        let (path, names) = (folder.to_path_buf(), first_names(&state.added));
        match &state.receipt {
            _ if names.is_empty() => Ok(()),
            None if flow.store.adopts() => Ok(()),
            None if flow.mode.appends() => {
                let error = Error::from(StoreError::Foreign { path, names });
                let receipt = format!(".hygge/{}.json", path_name(folder));
                Err(error.with_hint(format!(
                    "if the folder was moved here, bring {receipt} along from where it stood, which says what was added; else move the files away: mode: append begins with an empty folder, or with one that was built by mode: replace"
                )))
            }
            None => Err(StoreError::Foreign { path, names }.into()),
            Some(receipt) if receipt.pending.is_some() => Ok(()),
            Some(_) => Err(StoreError::Added { path, names }.into()),
        }
    }

    /// Compares what is recorded with what is there.
    fn compare_flow(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<Comparison> {
        let flow = self.flow(name)?;
        if let Some(table) = flow.home.as_rows() {
            table.check_database_known()?;
        }
        let inputs = if waits.is_empty() {
            Some(self.home_inputs(&flow)?)
        } else {
            None
        };
        self.check_foreign_files(&flow)?;
        let key = inputs.and_then(|inputs| self.project.flow_key(name, inputs));
        let state = self.store_state(name)?;
        if state.is_receipt_lost && !self.is_forced(name) {
            let store = self.project.open_store(&flow)?.display_name();
            return Err(AppendError::ReceiptLost(store).into());
        }
        let published = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        let watermark = flow
            .home
            .as_rows()
            .filter(|table| table.watermark().is_some());
        let mut reasons = match published.filter(|_| flow.mode.appends() || watermark.is_some()) {
            _ if self.is_backfilled(name) => self.backfill_reasons(&flow, key.as_deref(), state)?,
            Some(published) => {
                let mut reasons = stale::reasons(None, &published.placement, state);
                if state
                    .receipt
                    .as_ref()
                    .is_some_and(|receipt| receipt.latest.is_some())
                {
                    reasons.push(Reason::PutBack {
                        run: 0,
                        pinned: false,
                    });
                }
                if let Some(table) = watermark {
                    self.check_watermark(&flow, table, published)?;
                    if let Some(key) = &key {
                        stale::compare_inputs(published, &key.components, &mut reasons);
                    }
                } else if waits.is_empty() {
                    let digests = self.input_digests(&flow)?;
                    reasons.extend(
                        append::append_plan(&digests, published, flow.mode, &HashSet::new())?
                            .reasons,
                    );
                    let again = stale::outdated_parts(&flow, published, &digests);
                    reasons.extend(
                        stale::outdated_reason(&flow, published).filter(|_| !again.is_empty()),
                    );
                }
                reasons
            }
            None => {
                let mut reasons = stale::reasons(
                    key.as_ref().map(|key| &key.components),
                    &flow.placement(),
                    state,
                );
                reasons.extend(
                    published
                        .filter(|_| key.is_some())
                        .and_then(|published| stale::outdated_reason(&flow, published)),
                );
                reasons
            }
        };
        if reasons.is_empty()
            && flow
                .home
                .as_rows()
                .is_some_and(|table| !table.detects_changes())
        {
            reasons.push(Reason::NoProbe);
        }
        if state.receipt.is_none() && !state.added.is_empty() {
            reasons.push(Reason::Adopted {
                names: first_names(&state.added),
            });
        }
        if self.is_forced(name) {
            reasons.push(Reason::Forced);
        }
        if let (false, Some(receipt)) = (reasons.is_empty(), &state.receipt) {
            let owner = |flow: &str, project: &str| format!("flow {flow} of {project}");
            let (old, new) = (
                owner(&receipt.flow, &receipt.project),
                owner(name.as_str(), &self.project.config.name),
            );
            if old != new {
                reasons.push(Reason::Owner { old, new });
            }
        }
        match key {
            Some(key) => Ok(Comparison::Complete(reasons, key)),
            None if waits.is_empty() => Err(not_observed_error(name)),
            None => Ok(Comparison::AwaitingUpstreams(reasons)),
        }
    }

    /// What was read by another watermark says nothing of this one.
    fn check_watermark(
        &self,
        flow: &Flow,
        table: &dyn RowSource,
        published: &PublishedSet,
    ) -> Result<()> {
        if self.is_forced(&flow.name) && flow.is_append_only() {
            let error = "everything would be added to its table once more";
            return Err(Error::new(ErrorKind::Flow, error).with_hint(format!(
                "hygge clean --stores {} empties it first; mode: merge can be forced",
                flow.name
            )));
        }
        if self.is_forced(&flow.name) || has_same_watermark(table, published) {
            return Ok(());
        }
        let of = |watermark: Option<&str>| {
            watermark.map_or("without a watermark".to_string(), |column| {
                format!("by the watermark {column}")
            })
        };
        let before = published
            .components
            .settings
            .get(WATERMARK_SETTING)
            .map(String::as_str);
        let error = format!(
            "its store was filled {}, and its home is read {} now",
            of(before),
            of(table.watermark())
        );
        let hint = format!(
            "hygge build --force {0} reads everything anew; a table is emptied first by hygge clean --stores {0}",
            flow.name
        );
        Err(Error::new(ErrorKind::Flow, error).with_hint(hint))
    }

    /// True where a flow shall be made whatever is recorded.
    pub(super) fn is_forced(&self, name: &FlowName) -> bool {
        self.request.force && self.request.selected.named.contains(name)
    }

    /// The digests of what a flow reads, file by file.
    pub(super) fn input_digests(&self, flow: &Flow) -> Result<BTreeMap<String, Fingerprint>> {
        Ok(self
            .input_files(flow)?
            .into_iter()
            .map(|file| (file.name, file.digest))
            .collect())
    }

    /// The digests of what a flow's home holds.
    fn home_inputs(&self, flow: &Flow) -> Result<Arc<BTreeMap<String, Fingerprint>>> {
        let mut inputs = BTreeMap::new();
        if let Some(upstream) = flow.upstream() {
            let published = self
                .receipt(&FlowName::from(upstream))
                .and_then(|receipt| receipt.published.as_ref());
            let published = published.ok_or_else(|| unbuilt_upstream_error(upstream))?;
            let state = self.store_state(&FlowName::from(upstream))?;
            if !state.missing.is_empty() || !state.altered.is_empty() {
                return Err(altered_upstream_error(upstream));
            }
            inputs.insert(
                format!("{UPSTREAM_PREFIX}{upstream}"),
                published.manifest.output_digest(),
            );
        } else if flow.home.as_rows().is_some() {
            inputs = self.table_inputs(&flow.name)?;
        } else {
            inputs.extend(
                self.inputs(&flow.name)?
                    .iter()
                    .map(|file| (file.name.clone(), file.digest)),
            );
        }
        Ok(Arc::new(inputs))
    }
}

fn blocked_verdict(error: &Error) -> Verdict {
    Verdict::Blocked {
        error: error.to_string(),
        hint: error.hint().map(String::from),
    }
}

fn path_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn first_names(names: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = names.iter().take(3).cloned().collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown
}
