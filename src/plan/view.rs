//! What is known while a project is planned: to be read by those who judge and prepare.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::PlanContext;
use super::flow_states::FlowStates;
use super::probe::Input;
use super::stale::UPSTREAM_PREFIX;
use super::table_states::TableStates;
use super::upstream::{altered_upstream_error, unbuilt_upstream_error};
use crate::error::{Error, Result, Retry};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::flow::{Flow, FlowName};
use crate::format::OpenFile;
use crate::home::RecordedColumn;
use crate::storage::{Location, Version};
use crate::store::receipt::{Part, PublishedSet};

/// What is known while a project is planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanView<'a> {
    pub(super) context: &'a PlanContext,
    pub(super) flows: &'a FlowStates,
    pub(super) tables: &'a TableStates,
}

impl PlanView<'_> {
    /// The set that a flow shall have whatever its home holds: one that is to be put back, or that
    /// was.
    pub(super) fn fixed_set(&self, name: &FlowName) -> Option<PublishedSet> {
        if let Some(target) = self.context.request.restored(name) {
            let Some(set) = &target.set else {
                let latest = self.flows.receipt(name)?.latest()?;
                return Some(PublishedSet {
                    pinned: None,
                    ..latest.clone()
                });
            };
            return Some(PublishedSet {
                pinned: target.pinned.then_some(set.run),
                ..set.published.clone()
            });
        }
        self.pinned_run(name)?;
        self.flows.receipt(name)?.published.clone()
    }

    /// The run at whose set a flow stays.
    pub(super) fn pinned_run(&self, name: &FlowName) -> Option<i64> {
        let receipt = self.flows.receipt(name)?;
        // Another flow's is let go when this one takes the store over; one that is no more had
        // another name.
        let is_taken_over = receipt.flow != name.as_str()
            && receipt.project == self.context.project.config.name
            && self.context.project.graph.flow(&receipt.flow).is_some();
        receipt
            .published
            .as_ref()?
            .pinned
            .filter(|_| !is_taken_over && !self.context.request.is_forced(name))
    }

    /// True where only the recovered store can say what is at hand, and what was moved: it is
    /// recovered, and judged again.
    pub(super) fn must_recover(&self, name: &FlowName) -> Result<bool> {
        let is_interrupted = self
            .flows
            .receipt(name)
            .is_some_and(|receipt| receipt.pending.is_some());
        Ok(is_interrupted
            && (self.context.request.is_restored(name)
                || self.pinned_run(name).is_some()
                || self.context.flow(name)?.mode.appends()))
    }

    /// True where another process may be publishing to the store, or to that of its home, as long
    /// as nobody has waited for its lock: what was seen may be neither the old nor the new.
    pub(super) fn may_be_transient(&self, name: &FlowName, error: &Error) -> bool {
        let is_unsteady = matches!(error.retry(), Retry::Later | Retry::UnderLock)
            || self.flows.store(name).is_err();
        is_unsteady && self.context.is_building && !self.flows.is_locked(name)
    }

    /// True where a probe says something that is not known anyway.
    pub(super) fn needs_probe(&self, name: &FlowName) -> bool {
        let is_probed = self.context.flow(name).is_ok_and(|flow| {
            flow.home
                .as_rows()
                .is_some_and(|table| table.detects_changes())
        });
        let is_read = self.tables.is_from_session(name);
        let is_certain = self.context.is_building
            && (self.context.request.is_forced(name) || self.flows.receipt(name).is_none());
        is_probed && !is_read && !is_certain
    }

    /// True where a flow's table must be opened before it is known what is to be done.
    pub(super) fn must_open(&self, name: &FlowName) -> bool {
        let is_table = self
            .context
            .flow(name)
            .is_ok_and(|flow| flow.home.as_rows().is_some());
        is_table && !self.tables.is_from_session(name) && self.fixed_set(name).is_none()
    }

    /// The files that a flow reads.
    pub(super) fn input_files(&self, flow: &Flow) -> Result<Vec<Input>> {
        let Some(upstream) = flow.upstream() else {
            return Ok(self.flows.inputs(&flow.name)?.to_vec());
        };
        let upstream = self.context.flow(&FlowName::from(upstream))?;
        let location = self.context.project.store_id(&upstream).folder();
        let state = self.flows.store(&upstream.name)?;
        let published = state
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.published.as_ref());
        let parts = published
            .map(|published| published.manifest.parts.as_slice())
            .unwrap_or_default();
        let input = |part: &Part| {
            // Only what looks as it did when its digest was found is what the manifest says.
            let stat = *state.intact.get(&part.name)?;
            Some(Input {
                name: part.name.clone(),
                location: Location::local(location?.join(&part.name)),
                version: Version::Stat(stat),
                digest: part.digest,
            })
        };
        let files: Option<Vec<Input>> = parts.iter().map(input).collect();
        files.ok_or_else(|| altered_upstream_error(upstream.name.as_str()))
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
    pub(super) fn home_inputs(&self, flow: &Flow) -> Result<Arc<BTreeMap<String, Fingerprint>>> {
        let mut inputs = BTreeMap::new();
        if let Some(upstream) = flow.upstream() {
            let published = self
                .flows
                .receipt(&FlowName::from(upstream))
                .and_then(|receipt| receipt.published.as_ref());
            let published = published.ok_or_else(|| unbuilt_upstream_error(upstream))?;
            let state = self.flows.store(&FlowName::from(upstream))?;
            if !state.missing.is_empty() || !state.altered.is_empty() {
                return Err(altered_upstream_error(upstream));
            }
            let digest = published.manifest.output_digest();
            // Texts do not say which types they are of: what was published does.
            let finds_types = self.context.project.input_format(flow).infers_types();
            let digest = if finds_types {
                with_columns(digest, &published.columns)
            } else {
                digest
            };
            inputs.insert(format!("{UPSTREAM_PREFIX}{upstream}"), digest);
        } else if flow.home.as_rows().is_some() {
            inputs = self.table_inputs(&flow.name)?;
        } else {
            inputs.extend(
                self.flows
                    .inputs(&flow.name)?
                    .iter()
                    .map(|file| (file.name.clone(), file.digest)),
            );
        }
        Ok(Arc::new(inputs))
    }

    /// What a flow's table holds, as components of its key; what was published where it was not
    /// asked.
    pub(super) fn table_inputs(&self, name: &FlowName) -> Result<BTreeMap<String, Fingerprint>> {
        match self.tables.get(name) {
            Some(Ok(seen)) => Ok(seen.table_state.inputs.clone()),
            Some(Err(error)) => Err(error.clone()),
            None => {
                let published = self
                    .flows
                    .receipt(name)
                    .and_then(|receipt| receipt.published.as_ref());
                Ok(published
                    .map(|published| published.components.inputs.clone())
                    .unwrap_or_default())
            }
        }
    }

    /// A part as it is published, where that is a file that can be read.
    pub(super) fn open_published(&self, flow: &Flow, part: &str) -> Option<OpenFile> {
        let folder = self.context.project.store_id(flow).folder()?;
        OpenFile::new(&Location::local(folder.join(part))).ok()
    }
}

/// A digest of texts, and of the types that they are of.
fn with_columns(texts: Fingerprint, columns: &[RecordedColumn]) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("texts").digest(&texts).count(columns.len());
    for column in columns {
        writer.text(&column.name).text(&column.target_type);
    }
    writer.finish()
}
