//! Comparing: what is recorded of a flow with what is there. Where nothing differs, it is fresh.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::append::{self, AppendError};
use super::probe::StoreState;
use super::queries::FlowKey;
use super::stale::{self, Reason};
use super::table_work::{WATERMARK_SETTING, has_same_watermark};
use super::view::PlanView;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::flow::Flow;
use crate::home::RowSource;
use crate::store::receipt::PublishedSet;
use crate::store::{StoreError, StoreLocation};

impl PlanView<'_> {
    /// Nothing is in a flow's store that hygge did not make, unless it takes the folder over.
    pub(super) fn check_foreign_files(&self, flow: &Flow) -> Result<()> {
        let state = self.flows.store(&flow.name)?;
        // Nobody sees the parts of a table one by one.
        let Some(folder) = self.context.project.store_id(flow).folder() else {
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

    /// What a flow's home holds, where all of it is there, if the flow can be compared at all.
    ///
    /// # Errors
    /// It cannot: what it reads cannot be told, or what it would replace is not hygge's.
    pub(super) fn comparable_inputs(
        &self,
        flow: &Flow,
        is_complete: bool,
    ) -> Result<Option<Arc<BTreeMap<String, Fingerprint>>>> {
        if let Some(table) = flow.home.as_rows() {
            table.check_database_known()?;
        }
        let inputs = is_complete.then(|| self.home_inputs(flow)).transpose()?;
        self.check_foreign_files(flow)?;
        Ok(inputs)
    }

    /// Why a flow must run; nothing where it is fresh. Without a key, what its upstreams will give is
    /// not known yet.
    ///
    /// # Errors
    /// What is recorded forbids to build.
    pub(super) fn reasons(&self, flow: &Flow, key: Option<&FlowKey>) -> Result<Vec<Reason>> {
        let request = &self.context.request;
        let state = self.flows.store(&flow.name)?;
        if state.is_receipt_lost && !request.is_forced(&flow.name) {
            let store = match flow.store.location() {
                StoreLocation::Folder(_) => {
                    let folder = self.context.project.store_id(flow).index_key();
                    format!("store {}", folder.display())
                }
                StoreLocation::Table(table) => table.to_string(),
            };
            return Err(AppendError::ReceiptLost(store).into());
        }
        let table = flow.home.as_rows();
        let watermark = table.filter(|table| table.watermark().is_some());
        let published = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        let mut reasons = match published.filter(|_| flow.mode.appends() || watermark.is_some()) {
            _ if request.is_backfilled(&flow.name) => self.backfill_reasons(flow, key, state)?,
            Some(published) => self.reasons_to_add(flow, key, published, watermark)?,
            None => {
                let components = key.map(|key| &key.components);
                let mut reasons = stale::reasons(components, &flow.placement(), state);
                reasons.extend(
                    published
                        .filter(|_| key.is_some())
                        .and_then(|published| stale::outdated_reason(flow, published)),
                );
                reasons
            }
        };
        if reasons.is_empty() && table.is_some_and(|table| !table.detects_changes()) {
            reasons.push(Reason::NoProbe);
        }
        if state.receipt.is_none() && !state.added.is_empty() {
            reasons.push(Reason::Adopted {
                names: first_names(&state.added),
            });
        }
        if request.is_forced(&flow.name) {
            reasons.push(Reason::Forced);
        }
        let infers = || self.context.project.input_format(flow).infers_types();
        let has_schema =
            published.is_some_and(|published| published.arrow_schema.is_some() || infers());
        if has_schema && request.forgets_schema(&flow.name) {
            reasons.push(Reason::SchemaForgotten);
        }
        if !reasons.is_empty() {
            reasons.extend(self.owner_reason(flow, state));
        }
        Ok(reasons)
    }

    /// Why something must be added to a set, or made again in it.
    fn reasons_to_add(
        &self,
        flow: &Flow,
        key: Option<&FlowKey>,
        published: &PublishedSet,
        watermark: Option<&dyn RowSource>,
    ) -> Result<Vec<Reason>> {
        let state = self.flows.store(&flow.name)?;
        let mut reasons = stale::reasons(None, &published.placement, state);
        let receipt = state.receipt.as_ref();
        if receipt.is_some_and(|receipt| receipt.latest.is_some()) {
            reasons.push(Reason::PutBack {
                run: 0,
                pinned: false,
            });
        }
        if let Some(table) = watermark {
            self.check_watermark(flow, table, published)?;
            if let Some(key) = key {
                stale::compare_inputs(published, &key.components, &mut reasons);
            }
        } else if key.is_some() {
            let digests = self.input_digests(flow)?;
            let plan = append::append_plan(&digests, published, flow, &HashSet::new())?;
            reasons.extend(plan.reasons);
            let again = stale::outdated_parts(flow, published, &digests);
            reasons.extend(stale::outdated_reason(flow, published).filter(|_| !again.is_empty()));
        }
        Ok(reasons)
    }

    /// Another flow published to the store before.
    fn owner_reason(&self, flow: &Flow, state: &StoreState) -> Option<Reason> {
        let receipt = state.receipt.as_ref()?;
        let owner = |flow: &str, project: &str| format!("flow {flow} of {project}");
        let (old, new) = (
            owner(&receipt.flow, &receipt.project),
            owner(flow.name.as_str(), &self.context.project.config.name),
        );
        (old != new).then_some(Reason::Owner { old, new })
    }

    /// Why a set that is given must be published; nothing where it is there.
    ///
    /// # Errors
    /// It would take the place of what is nowhere else.
    pub(super) fn restore_reasons(
        &self,
        flow: &Flow,
        published: &PublishedSet,
    ) -> Result<Vec<Reason>> {
        self.check_foreign_files(flow)?;
        let state = self.flows.store(&flow.name)?;
        let now = state
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref());
        let mut reasons = stale::reasons(None, &published.placement, state);
        reasons.retain(|reason| !matches!(reason, Reason::Placement { .. }));
        let Some(target) = self.context.request.restored(&flow.name) else {
            return Ok(reasons);
        };
        let is_there = now.is_some_and(|now| {
            now.manifest == published.manifest && now.pinned == published.pinned
        });
        if !is_there {
            let run = target.set.as_ref().map_or(0, |set| set.run);
            let pinned = target.pinned;
            reasons.push(Reason::PutBack { run, pinned });
        }
        let leaves = now.filter(|now| !is_there && now.pinned.is_none() && flow.mode.appends());
        if let Some(lost) = leaves.and(state.missing.iter().chain(&state.altered).next()) {
            let error = format!(
                "output {lost} of the latest set is missing or was altered: it may be nowhere else"
            );
            return Err(Error::new(ErrorKind::Flow, error).with_hint(format!(
                "first make the latest set whole: hygge build {}",
                flow.name
            )));
        }
        Ok(reasons)
    }

    /// What was read by another watermark says nothing of this one.
    fn check_watermark(
        &self,
        flow: &Flow,
        table: &dyn RowSource,
        published: &PublishedSet,
    ) -> Result<()> {
        if self.context.request.is_forced(&flow.name) && flow.is_append_only() {
            let error = "everything would be added to its table once more";
            return Err(Error::new(ErrorKind::Flow, error).with_hint(format!(
                "hygge clean --stores {} empties it first; mode: merge can be forced",
                flow.name
            )));
        }
        if self.context.request.is_forced(&flow.name) || has_same_watermark(table, published) {
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
}

fn path_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn first_names(names: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = names.iter().take(3).cloned().collect();
    if names.len() > shown.len() {
        shown.push(format!("and {} more", names.len() - shown.len()));
    }
    shown
}
