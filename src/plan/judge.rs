//! Judging: which flows must run, and why.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::not_observed_error;
use super::orphans;
use super::planner::Planner;
use super::queries::FlowKey;
use super::schema_changes;
use super::stale::{Reason, Verdict};
use super::work::FlowWork;
use super::{Plan, PlannedFlow};
use crate::config::table_entities::UNLISTED;
use crate::error::{Error, ErrorKind, Result};
use crate::flow::{Flow, FlowName};
use crate::publish::check_shrink;
use crate::store::receipt::PublishedSet;

/// What a comparison of a flow with what is recorded gave.
enum Comparison {
    /// Why it must run, and the key of what it reads.
    Complete(Vec<Reason>, Arc<FlowKey>),
    /// The same as far as it is known before its upstreams are done.
    AwaitingUpstreams(Vec<Reason>),
}

impl Planner {
    /// Judges every selected flow.
    pub async fn plan(&mut self) -> Result<Plan> {
        let mut steps: Vec<PlannedFlow> = Vec::new();
        let mut will_run = BTreeSet::new();
        let mut blocked = BTreeSet::new();
        let order: Vec<FlowName> = self
            .context
            .project
            .graph
            .order()
            .iter()
            .filter(|name| self.context.request.selected.flows.contains(*name))
            .cloned()
            .collect();
        for name in order {
            let upstreams = self.context.project.graph.upstreams(name.as_str());
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
                Some(upstream) => {
                    let error = format!("its upstream {upstream} is blocked");
                    PlannedFlow::blocked(&name, &Error::new(ErrorKind::Flow, error))
                }
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
            .filter_map(|step| Some((step.flow.clone(), self.view().pinned_run(&step.flow)?)))
            .collect();
        Ok(Plan {
            flows: steps,
            orphans: orphans::orphans(&self.context.project, self.known_stores()),
            pinned,
            has_probed_tables: !self.tables.is_empty(),
        })
    }

    /// Judges the flows that are not selected, as if nothing were done to the others.
    pub async fn judge_others(&mut self) -> Result<Vec<PlannedFlow>> {
        let order = self.context.project.graph.order().to_vec();
        let others: Vec<FlowName> = order
            .into_iter()
            .filter(|name| !self.context.request.selected.flows.contains(name))
            .collect();
        self.flows.look(&self.context.project, &others);
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
        if self.context.is_building
            || matches!(step.verdict, Verdict::Fresh | Verdict::Blocked { .. })
        {
            return Ok(step);
        }
        match self.check_publication(&step) {
            Ok(()) => Ok(step),
            Err(error) => Ok(PlannedFlow::blocked(name, &error)),
        }
    }

    /// What is planned can be published, as far as that is known.
    fn check_publication(&self, step: &PlannedFlow) -> Result<()> {
        let flow = self.context.flow(&step.flow)?;
        self.context.project.open_store(&flow)?.check()?;
        let work = step
            .work
            .as_ref()
            .filter(|work| !work.is_recovery_only && !self.context.request.accept_shrink);
        match work.and_then(|work| work.total_rows()) {
            Some(rows) => {
                check_shrink(&flow, self.flows.receipt(&step.flow).map(Arc::as_ref), rows)
            }
            None => Ok(()),
        }
    }

    /// Why a flow is not built that stands for tables that nobody knows.
    fn unlisted_error(&self, flow: &Flow) -> Option<Error> {
        let (of, _) = flow
            .entity
            .as_ref()
            .filter(|(_, entity)| entity == UNLISTED)?;
        let reason = self.context.project.config.unlisted.get(of)?;
        Some(
            Error::new(ErrorKind::Flow, reason.clone())
                .with_hint("it stands for all of them, until a command can ask the database"),
        )
    }

    async fn judge_flow(&mut self, name: &FlowName, waits: &[FlowName]) -> Result<PlannedFlow> {
        let flow = self.context.flow(name)?;
        if let Some(error) = self.losses.error(&flow) {
            return Ok(PlannedFlow::blocked(name, &error));
        }
        if let Some(error) = self.unlisted_error(&flow) {
            return Ok(PlannedFlow::blocked(name, &error));
        }
        if waits.is_empty() && self.flows.is_unchanged(name) {
            return Ok(PlannedFlow::new(name, Verdict::Fresh));
        }
        if !self.flows.is_observed(name) {
            self.observe(std::slice::from_ref(name)).await?;
        }
        if self.view().must_recover(name)? {
            let reasons = vec![Reason::Interrupted];
            return Ok(self.recover_first(name, reasons));
        }
        let pinned = self.view().pinned_run(name);
        if let (true, Some(run)) = (self.context.request.is_backfilled(name), pinned) {
            let error = Error::new(ErrorKind::Flow, format!("it stays at the set of run {run}"))
                .with_hint(format!("hygge restore {name} --latest ends that"));
            return Ok(PlannedFlow::blocked(name, &error));
        }
        if let Some(published) = self.view().fixed_set(name) {
            return blocked_if_failed(name, self.judge_restore(&flow, published).await);
        }
        let (reasons, key) = match self.compare(&flow, waits) {
            Ok(Comparison::Complete(reasons, key)) => (reasons, key),
            Ok(Comparison::AwaitingUpstreams(reasons)) => {
                let upstreams = waits.to_vec();
                let verdict = Verdict::Maybe { upstreams, reasons };
                return Ok(PlannedFlow::new(name, verdict));
            }
            Err(error) if self.view().may_be_transient(name, &error) => {
                return Ok(self.recover_first(name, Vec::new()));
            }
            Err(error) => return Ok(PlannedFlow::blocked(name, &error)),
        };
        if reasons.is_empty() {
            self.flows.record_fresh(&self.context.project, name);
            return Ok(PlannedFlow::new(name, Verdict::Fresh));
        }
        if flow.home.as_rows().is_some() && self.tables.session(name).is_none() {
            // Only what reads it can say what it holds.
            if self.context.is_building {
                return Ok(self.recover_first(name, reasons));
            }
            if self.tables.get(name).is_none() {
                return Ok(PlannedFlow::new(name, Verdict::Stale { reasons }));
            }
        }
        blocked_if_failed(name, self.prepare(&flow, &key, reasons).await)
    }

    /// Compares what is recorded of a flow with what is there.
    fn compare(&mut self, flow: &Flow, waits: &[FlowName]) -> Result<Comparison> {
        let inputs = self.view().comparable_inputs(flow, waits.is_empty())?;
        let key = inputs.and_then(|inputs| self.context.project.flow_key(&flow.name, inputs));
        let reasons = self.view().reasons(flow, key.as_deref())?;
        match key {
            Some(key) => Ok(Comparison::Complete(reasons, key)),
            None if waits.is_empty() => Err(not_observed_error(&flow.name)),
            None => Ok(Comparison::AwaitingUpstreams(reasons)),
        }
    }

    /// A flow that is judged when its store is locked and recovered.
    fn recover_first(&self, name: &FlowName, reasons: Vec<Reason>) -> PlannedFlow {
        let work = FlowWork::recovery_only(self.flows.store(name).ok());
        PlannedFlow {
            work: Some(Arc::new(work)),
            ..PlannedFlow::new(name, Verdict::Stale { reasons })
        }
    }

    /// Finds out what is to be done for a flow that must run.
    async fn prepare(
        &mut self,
        flow: &Flow,
        key: &FlowKey,
        mut reasons: Vec<Reason>,
    ) -> Result<PlannedFlow> {
        let work = self.preparer().flow_work(flow, key).await?;
        let published = self
            .flows
            .receipt(&flow.name)
            .and_then(|receipt| receipt.published.as_ref());
        let old = published.and_then(|published| published.schema_digest);
        // The digest says nothing of their order.
        let is_reordered = published.is_some_and(|published| {
            let now = work.columns.home_columns();
            schema_changes::stand_in_another_order(published.home_columns(), now)
        });
        // Nor does it say which of them may be null.
        let is_nullable = published.is_some_and(|published| {
            let now = work.columns.home_columns();
            !schema_changes::nullability_changes(published.home_columns(), now).is_empty()
        });
        // Columns that are united have digests of their own.
        let is_comparable = published.is_none_or(|published| {
            let (before, now) = (published.home_columns(), &work.columns);
            published.arrow_schema.is_some() == now.arrow_schema.is_some()
                || before.is_empty()
                || !schema_changes::column_changes(before, now.home_columns()).is_empty()
        });
        if let (Some(old), Some(new)) = (old, work.schema)
            && (is_reordered
                || is_nullable
                || is_comparable && old != new && !work.has_schema(&old))
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
        self.view()
            .describe_schema_reason(flow, &work, &mut reasons);
        let verdict = if work.parts_to_make() == 0 {
            Verdict::Restore { reasons }
        } else {
            Verdict::Stale { reasons }
        };
        Ok(PlannedFlow {
            work: Some(Arc::new(work)),
            ..PlannedFlow::new(&flow.name, verdict)
        })
    }

    /// Judges a flow whose set is given.
    async fn judge_restore(&mut self, flow: &Flow, published: PublishedSet) -> Result<PlannedFlow> {
        let reasons = self.view().restore_reasons(flow, &published)?;
        if reasons.is_empty() {
            return Ok(PlannedFlow::new(&flow.name, Verdict::Fresh));
        }
        let work = self.preparer().restore_work(flow, published).await?;
        Ok(PlannedFlow {
            work: Some(Arc::new(work)),
            ..PlannedFlow::new(&flow.name, Verdict::Restore { reasons })
        })
    }
}

/// What is wrong with a flow blocks it; what is wrong with the run ends that.
fn blocked_if_failed(name: &FlowName, judged: Result<PlannedFlow>) -> Result<PlannedFlow> {
    match judged {
        Err(error) if error.kind() != ErrorKind::Start => Ok(PlannedFlow::blocked(name, &error)),
        judged => judged,
    }
}

impl PlannedFlow {
    fn new(flow: &FlowName, verdict: Verdict) -> Self {
        Self {
            flow: flow.clone(),
            verdict,
            work: None,
        }
    }

    fn blocked(flow: &FlowName, error: &Error) -> Self {
        let verdict = Verdict::Blocked {
            error: error.to_string(),
            hint: error.hint().map(String::from),
        };
        Self::new(flow, verdict)
    }
}
