//! Backfill: with `--slice` some slices of a table are read again, and everything else of the
//! published set stays as it is, whatever the table has there by now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Planner;
use super::db::FlowKey;
use super::probe::StoreState;
use super::schema;
use super::stale::Reason;
use super::table::{follows, recipe_of};
use super::work::{PlannedPart, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind};
use crate::flow::{Flow, FlowName};
use crate::home::{Answer, Chosen};
use crate::store::receipt::{Part, Published};

impl Planner {
    /// True where slices of a flow were asked for.
    pub(super) fn is_backfilled(&self, name: &FlowName) -> bool {
        self.request.slices.is_some() && self.request.selected.named.contains(name)
    }

    /// Which units of a flow were asked for; nothing where none were.
    pub(super) fn chosen(&self, flow: &Flow) -> Result<Option<Chosen>> {
        let slices = self
            .request
            .slices
            .as_ref()
            .filter(|_| self.is_backfilled(&flow.name));
        slices.map(|slices| flow.choose(slices)).transpose()
    }

    /// Why a flow is built of which slices were asked for.
    ///
    /// # Errors
    /// There is no set whose slices could be replaced.
    pub(super) fn reasons_of_slices(
        &self,
        flow: &Flow,
        key: Option<&FlowKey>,
        state: &StoreState,
    ) -> Result<Vec<Reason>> {
        let Some(slices) = &self.request.slices else {
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
            .rows()
            .is_none_or(|table| match table.watermark() {
                Some(_) => !follows(table, published),
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

    /// What is to be done where some slices are read again: the others are taken as they were
    /// published.
    pub(super) async fn work_of_slices(
        &mut self,
        flow: &Flow,
        key: &FlowKey,
        state: &StoreState,
        answer: Arc<Answer>,
        chosen: &Chosen,
    ) -> Result<Work> {
        let build = format!("hygge build {} reads what it needs of all", flow.name);
        let Some(published) = state.receipt.as_ref().and_then(|receipt| receipt.latest()) else {
            return Err(Error::new(ErrorKind::Flow, "it was never built"));
        };
        if published
            .schema
            .is_some_and(|schema| schema != answer.schema)
        {
            let told = match published.columns.as_slice() {
                [] => String::new(),
                before => format!(": {}", schema::changes(before, &answer.known).join("; ")),
            };
            return Err(Error::new(
                ErrorKind::Flow,
                format!("its columns have changed since it was built{told}"),
            )
            .with_hint(build));
        }
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
        let is_chosen = |unit: &usize| chosen(&answer.units[*unit].name);
        let units: Vec<usize> = (0..answer.units.len()).filter(is_chosen).collect();
        if units.is_empty() && gone.is_empty() {
            let names: Vec<&str> = answer.units.iter().map(|unit| unit.name.as_str()).collect();
            let asked = self
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
                ..PlannedPart::of(part)
            });
        }
        self.find_made(flow, state, &mut parts).await?;
        if let Some(part) = parts.iter().find(|part| part.made.is_none()) {
            let unit = part.inputs.first().map_or("", |input| input.name.as_str());
            return Err(Error::new(
                ErrorKind::Flow,
                format!("a part of slice {unit} is no longer at hand"),
            )
            .with_hint(build));
        }
        parts.extend(
            units
                .into_iter()
                .map(|unit| PlannedPart::to_read(unit, &answer.units[unit])),
        );
        sort(&mut parts, &answer);
        let components = components(published, &answer, chosen);
        let recipe = recipe_of(key);
        let mut work = Work::of_state(flow, key, state);
        work.key = components.key(KeyKind::Flow);
        work.components = components;
        work.schema = Some(answer.schema);
        work.columns = answer.known.clone();
        work.table = Some(self.table_work(flow, answer, recipe, &parts, state));
        work.parts = parts;
        work.names(flow, &[])?;
        Ok(work)
    }
}

/// What was recorded of the others stays recorded: the next build finds out what became of them.
fn components(published: &Published, answer: &Answer, chosen: &Chosen) -> Components {
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

/// Units come in the order of the table; what it has no more stays behind what it came behind.
fn sort(parts: &mut [PlannedPart], answer: &Answer) {
    let places: HashMap<&str, usize> = answer
        .units
        .iter()
        .enumerate()
        .map(|(place, unit)| (unit.name.as_str(), place))
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
