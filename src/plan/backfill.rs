//! Backfill: with `--slice` some slices of a table are read again, and everything else of the
//! published set stays as it is, whatever the table has there by now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::append;
use super::planned_part::PlannedPart;
use super::prepare::Preparer;
use super::probe::StoreState;
use super::queries::FlowKey;
use super::schema_changes;
use super::stale::Reason;
use super::table::table_columns;
use super::table_work::has_same_watermark;
use super::view::PlanView;
use super::work::{FlowWork, WorkSource};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind};
use crate::flow::Flow;
use crate::home::{PartitionFilter, TableState};
use crate::store::receipt::{Part, PublishedSet};

impl PlanView<'_> {
    /// Why a flow is built of which slices were asked for.
    ///
    /// # Errors
    /// There is no set whose slices could be replaced.
    pub(super) fn backfill_reasons(
        &self,
        flow: &Flow,
        key: Option<&FlowKey>,
        state: &StoreState,
    ) -> Result<Vec<Reason>> {
        let Some(slices) = &self.context.request.slices else {
            return Ok(Vec::new());
        };
        let build = format!("hygge build {}", flow.name);
        let Some(published) = state.receipt.as_ref().and_then(|receipt| receipt.latest()) else {
            return Err(Error::new(
                ErrorKind::Flow,
                "it was never built: there are no slices to replace",
            )
            .with_hint(build));
        };
        let settings = key.map(|key| &key.components.settings);
        let is_other = flow
            .home
            .as_rows()
            .is_none_or(|table| match table.watermark() {
                Some(_) => !has_same_watermark(table, published),
                None => settings != Some(&published.components.settings),
            });
        if is_other {
            let error = "its config has changed since it was built, so that all of it must be read";
            return Err(Error::new(ErrorKind::Flow, error).with_hint(build));
        }
        Ok(vec![Reason::Slices {
            slices: slices.to_string(),
        }])
    }
}

impl Preparer<'_> {
    /// What is to be done where some slices are read again: the others are taken as they were
    /// published.
    pub(super) async fn backfill_work(
        &mut self,
        flow: &Flow,
        key: &FlowKey,
        state: &StoreState,
        answer: Arc<TableState>,
        chosen: &PartitionFilter,
    ) -> Result<FlowWork> {
        let build = format!("hygge build {} reads what it needs of all", flow.name);
        let Some(published) = state.receipt.as_ref().and_then(|receipt| receipt.latest()) else {
            return Err(Error::new(ErrorKind::Flow, "it was never built"));
        };
        if published
            .schema_digest
            .is_some_and(|schema| schema != answer.schema_digest)
        {
            let told = match published.home_columns() {
                [] => String::new(),
                before => format!(
                    ": {}",
                    schema_changes::describe_changes(before, &answer.recorded_columns).join("; ")
                ),
            };
            return Err(Error::new(
                ErrorKind::Flow,
                format!("its columns have changed since it was built{told}"),
            )
            .with_hint(build));
        }
        append::check_same_folders(published, key)?;
        let unit_of = |part: &Part| {
            part.inputs
                .first()
                .map_or("", |input| input.name.as_str())
                .to_string()
        };
        let (gone, stay): (Vec<&Part>, Vec<&Part>) = published
            .manifest
            .parts
            .iter()
            .partition(|part| chosen(&unit_of(part)));
        let is_chosen = |partition: &usize| chosen(&answer.partitions[*partition].name);
        let partitions: Vec<usize> = (0..answer.partitions.len()).filter(is_chosen).collect();
        if partitions.is_empty() && gone.is_empty() {
            let names: Vec<&str> = answer
                .partitions
                .iter()
                .map(|partition| partition.name.as_str())
                .collect();
            let asked = self
                .context
                .request
                .slices
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let hint = match names.as_slice() {
                [] => "the table has no rows".to_string(),
                [first, .., last] => format!(
                    "the table has {} slices, from {first} to {last}",
                    names.len()
                ),
                [only] => format!("the table has the slice {only}"),
            };
            return Err(
                Error::new(ErrorKind::Flow, format!("it has no slice in {asked}")).with_hint(hint),
            );
        }
        let mut parts = Vec::with_capacity(stay.len());
        for part in stay {
            // It may get another number, as in every build.
            let stem = unit_of(part).replace(['/', ':'], "_");
            parts.push(PlannedPart {
                stem,
                name: None,
                sequence: None,
                ..PlannedPart::from_published(part)
            });
        }
        self.find_existing(flow, state, &mut parts).await?;
        if let Some(part) = parts.iter().find(|part| part.existing.is_none()) {
            let partition = part.inputs.first().map_or("", |input| input.name.as_str());
            return Err(Error::new(
                ErrorKind::Flow,
                format!("a part of slice {partition} is no longer at hand"),
            )
            .with_hint(build));
        }
        parts.extend(
            partitions.into_iter().map(|partition| {
                PlannedPart::for_partition(partition, &answer.partitions[partition])
            }),
        );
        sort_by_partition(&mut parts, &answer);
        let components = merge_components(published, &answer, chosen);
        let recipe = key.recipe_digest();
        let mut work = FlowWork::from_state(flow, key, state);
        work.key = components.key(KeyKind::Flow);
        work.components = components;
        work.schema = Some(answer.schema_digest);
        work.columns = table_columns(flow, &answer, Some(published))?;
        let table = self.view().table_work(flow, answer, recipe, &parts, state);
        work.source = WorkSource::Table(table);
        work.parts = parts;
        work.part_names(flow, &[])?;
        Ok(work)
    }
}

/// What was recorded of the others stays recorded: the next build finds out what became of them.
fn merge_components(
    published: &PublishedSet,
    answer: &TableState,
    chosen: &PartitionFilter,
) -> Components {
    let mut inputs: BTreeMap<String, Fingerprint> = published.components.inputs.clone();
    inputs.retain(|name, _| !chosen(name));
    inputs.extend(
        answer
            .inputs
            .iter()
            .filter(|(name, _)| chosen(name))
            .map(|(name, digest)| (name.clone(), *digest)),
    );
    Components {
        settings: published.components.settings.clone(),
        inputs,
    }
}

/// Partitions come in the order of the table; what it has no more stays behind what it came behind.
fn sort_by_partition(parts: &mut [PlannedPart], answer: &TableState) {
    let places: HashMap<&str, usize> = answer
        .partitions
        .iter()
        .enumerate()
        .map(|(place, partition)| (partition.name.as_str(), place))
        .collect();
    let mut last = 0;
    let mut keys: HashMap<String, usize> = HashMap::new();
    for part in parts.iter() {
        let Some(input) = part.inputs.first() else {
            continue;
        };
        last = places.get(input.name.as_str()).copied().unwrap_or(last);
        keys.insert(input.name.clone(), last);
    }
    parts.sort_by_key(|part| {
        part.inputs
            .first()
            .and_then(|input| keys.get(&input.name))
            .copied()
            .unwrap_or(0)
    });
}
