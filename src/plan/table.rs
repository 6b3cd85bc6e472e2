//! Tables: what databases answer, and how the partitions that they are read in become parts.

use std::collections::HashSet;
use std::sync::Arc;

use super::append;
use super::chain_place::ChainPlace;
use super::part_numbers::{FreedNumber, reuse_numbers};
use super::planned_part::{PartOutputs, PlannedPart};
use super::prepare::Preparer;
use super::probe::StoreState;
use super::queries::FlowKey;
use super::schema_changes;
use super::table_states::ProbedTable;
use super::table_work::{TableWork, has_same_watermark, partition_part_key};
use super::view::PlanView;
use super::work::{FlowWork, SetColumns, WorkSource};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::flow::Flow;
use crate::format::canonical_schema;
use crate::home::{PreviousRead, ReadPartition, TableState};
use crate::shape::Shape;
use crate::store::receipt::{PartInput, PublishedSet};

impl PlanView<'_> {
    /// How parts of a table are made.
    pub(super) fn table_work(
        &self,
        flow: &Flow,
        answer: Arc<TableState>,
        recipe: Fingerprint,
        parts: &[PlannedPart],
        state: &StoreState,
    ) -> TableWork {
        let reading = self.tables.session(&flow.name).cloned();
        let mut remarks = answer.remarks.clone();
        let published = state
            .receipt
            .iter()
            .flat_map(|receipt| &receipt.published)
            .flat_map(|published| &published.manifest.parts);
        let known: HashSet<Fingerprint> = published.map(|part| part.key).collect();
        let goes_on = parts
            .iter()
            .filter(|part| part.existing.is_some() && !known.contains(&part.key))
            .count();
        if goes_on > 0 && parts.iter().any(|part| part.outputs != PartOutputs::One) {
            remarks.push(format!(
                "{goes_on} {} of an earlier build {} used again, as the probe answers what it did; the rest is read of a later moment",
                if goes_on == 1 { "part" } else { "parts" },
                if goes_on == 1 { "is" } else { "are" },
            ));
        }
        TableWork {
            table_state: answer,
            recipe,
            shape: flow.shape.as_ref().map(Shape::for_run),
            session: reading,
            remarks,
        }
    }
}

impl Preparer<'_> {
    /// The parts that a table with a watermark closed, and that are at hand: what they hold is not
    /// read again.
    pub(super) async fn closed_partitions(
        &mut self,
        flow: &Flow,
    ) -> Result<(PreviousRead, Arc<[PlannedPart]>)> {
        let mut before = PreviousRead {
            is_append_only: flow.is_append_only(),
            columns: flow.wanted_columns(),
            tests: flow.row_tests(),
            ..PreviousRead::default()
        };
        let Some(table) = flow.home.as_rows().filter(|table| {
            table.watermark().is_some() && !self.context.request.is_forced(&flow.name)
        }) else {
            return Ok((before, Arc::default()));
        };
        // What cannot be seen is told when the flow is judged.
        let Ok(state) = self.flows.store(&flow.name).cloned() else {
            return Ok((before, Arc::default()));
        };
        let published = state
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.latest())
            .filter(|published| has_same_watermark(table, published));
        let parts = published
            .map(|published| published.manifest.parts.as_slice())
            .unwrap_or_default();
        let settled = parts.iter().filter(|part| {
            !part.inputs.is_empty() && part.inputs.iter().all(|input| table.is_closed(&input.name))
        });
        let mut parts: Vec<PlannedPart> = settled.map(PlannedPart::from_published).collect();
        self.find_existing(flow, &state, &mut parts).await?;
        // A partition of which a part is lost is read again as a whole.
        let chosen = self.context.request.partition_filter(flow)?;
        for part in &parts {
            let is_lost = |input: &PartInput| {
                part.existing.is_none() || chosen.as_ref().is_some_and(|chosen| chosen(&input.name))
            };
            before.reread.extend(
                part.inputs
                    .iter()
                    .filter(|input| is_lost(input))
                    .map(|input| input.name.clone()),
            );
        }
        parts.retain(|part| {
            part.inputs
                .iter()
                .all(|input| !before.reread.contains(&input.name))
        });
        before.closed.extend(
            parts
                .iter()
                .flat_map(|part| &part.inputs)
                .map(|input| input.name.clone()),
        );
        Ok((before, parts.into()))
    }

    /// Finds out what is to be done for a flow with a table that answered.
    pub(super) async fn table_flow_work(
        &mut self,
        flow: &Flow,
        key: &FlowKey,
        state: StoreState,
        seen: ProbedTable,
    ) -> Result<FlowWork> {
        let ProbedTable {
            table_state: answer,
            retained: stay,
            ..
        } = seen;
        let published = state.receipt.as_ref().and_then(|receipt| receipt.latest());
        if let Some(chosen) = self.context.request.partition_filter(flow)?.filter(|_| {
            flow.home
                .as_rows()
                .is_some_and(|table| table.watermark().is_none())
        }) {
            return self.backfill_work(flow, key, &state, answer, &chosen).await;
        }
        let has_watermark = flow
            .home
            .as_rows()
            .is_some_and(|table| table.watermark().is_some());
        // Rows of a file are read again where nothing of the set stays; those of a table stay
        // whatever is read.
        let stays = if !flow.store.capabilities().parts_readable {
            has_watermark && !self.context.request.is_forced(&flow.name)
        } else {
            !stay.is_empty()
        };
        if let Some(published) = published.filter(|_| stays) {
            schema_changes::check_unchanged_columns(published, &answer, flow)?;
        }
        let recipe = key.recipe_digest();
        let mut new = self.partition_parts(flow, &state, &recipe, &answer).await?;
        let mut work = FlowWork::from_state(flow, key, &state);
        work.schema = Some(answer.schema_digest);
        work.columns = table_columns(flow, &answer, published.filter(|_| stays))?;
        if let Some(published) = published.filter(|_| !stay.is_empty()) {
            append::check_same_folders(published, key)?;
        }
        if let Some(published) = published.filter(|_| stays) {
            schema_changes::check_same_output(published, &work.columns, flow)?;
        }
        if let Some(published) = published.filter(|_| !stay.is_empty()) {
            work.sequence = published.highest_number();
            let stays: HashSet<&str> = stay
                .iter()
                .filter_map(|part| part.name.as_deref())
                .collect();
            let parts = published.manifest.parts.iter();
            let gone = parts.filter(|part| !stays.contains(part.name.as_str()));
            let freed: Vec<FreedNumber> = gone.filter_map(FreedNumber::of_part).collect();
            if flow.store.output_spec().partition_by.is_some() {
                work.freed_numbers = freed;
            } else {
                reuse_numbers(new.iter_mut(), &freed);
            }
        }
        work.parts = stay.iter().cloned().chain(new).collect();
        let table = self
            .view()
            .table_work(flow, answer, recipe, &work.parts, &state);
        work.source = WorkSource::Table(table);
        work.part_names(flow, &[])?;
        Ok(work)
    }

    /// The parts of partitions that are at hand, and one for each partition that must be read.
    async fn partition_parts(
        &mut self,
        flow: &Flow,
        state: &StoreState,
        recipe: &Fingerprint,
        answer: &TableState,
    ) -> Result<Vec<PlannedPart>> {
        let chosen = self.context.request.partition_filter(flow)?;
        let is_asked_for = |partition: &usize| {
            chosen
                .as_ref()
                .is_some_and(|chosen| chosen(&answer.partitions[*partition].name))
        };
        let is_forced = self.context.request.is_forced(&flow.name);
        let partitions = 0..answer.partitions.len();
        let open = partitions.filter(|partition| !is_forced && !is_asked_for(partition));
        let part = |partition: usize, place: ChainPlace<'_>| {
            let described = &answer.partitions[partition];
            let key = partition_part_key(recipe, answer, described, place);
            PlannedPart::partition_part(key, described)
        };
        let found = self.find_chains((flow, state), open, &part).await?;
        let described = answer.partitions.iter().enumerate();
        let mut parts: Vec<Vec<PlannedPart>> = described
            .map(|(number, partition)| vec![PlannedPart::for_partition(number, partition)])
            .collect();
        for (partition, outputs) in found {
            parts[partition] = outputs;
        }
        Ok(parts.into_iter().flatten().collect())
    }
}

/// The columns of a table and those that are made of them, as they are recorded; what may be null in
/// parts that stay may be null in the set.
pub(super) fn table_columns(
    flow: &Flow,
    answer: &TableState,
    stays: Option<&PublishedSet>,
) -> Result<SetColumns> {
    let mut of_home = answer.recorded_columns.clone();
    if let Some(published) = stays {
        schema_changes::unite_nullability(&mut of_home, published.home_columns());
    }
    let Some(shape) = &flow.shape else {
        return Ok(SetColumns {
            recorded: of_home,
            ..SetColumns::default()
        });
    };
    let columns = shape.output_schema(&answer.arrow_schema)?;
    let mut recorded = schema_changes::recorded_leaves(canonical_schema::leaves(&columns));
    if let Some(published) = stays {
        schema_changes::unite_nullability(&mut recorded, &published.columns);
    }
    Ok(SetColumns {
        recorded,
        of_home: Some(of_home),
        ..SetColumns::default()
    })
}

impl PlannedPart {
    /// All parts of a partition that must be read.
    pub(super) fn for_partition(number: usize, partition: &ReadPartition) -> Self {
        Self {
            outputs: PartOutputs::Partition(number),
            ..Self::partition_part(partition.digest, partition)
        }
    }

    /// A part of a partition.
    pub(super) fn partition_part(key: Fingerprint, partition: &ReadPartition) -> Self {
        let inputs = vec![PartInput {
            name: partition.name.clone(),
            digest: partition.digest,
            is_replaced: false,
        }];
        Self {
            key,
            slice: Default::default(),
            stem: partition.file_stem.clone(),
            name: None,
            sequence: None,
            inputs,
            existing: None,
            folder: String::new(),
            outputs: PartOutputs::One,
        }
    }
}
