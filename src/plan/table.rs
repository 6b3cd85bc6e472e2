//! Tables: what databases answer, and how the units that they are read in become parts.
//!
//! A unit may become several parts, and how many is known only when it was read. So each part's key says where in its
//! unit it stands and whether it is the last: a unit is used again where all of its parts are at hand, the last included.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::Planner;
use super::db::FlowKey;
use super::probe::StoreState;
use super::work::{PlannedPart, Work};
use crate::connection::{ConnectionError, until};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind, KeyWriter};
use crate::flow::{Flow, FlowName};
use crate::home::{Answer, Reading, Unit};
use crate::store::receipt::Moved;

/// How many rows a part has that is made from a table, where nothing is said.
pub const ROWS_PER_PART: u64 = 1_000_000;

/// What is known of a table.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it answered.
    pub answer: Arc<Answer>,
    /// True where that was in the reading from which its parts are made.
    pub is_read: bool,
}

/// The key of a part: where in its unit it stands, and whether the unit ends with it.
pub fn part_key(recipe: &Fingerprint, answer: &Answer, unit: &Unit, number: usize, is_last: bool) -> Fingerprint {
    let mut key = KeyWriter::new(KeyKind::Part);
    key.digest(recipe).text("unit").text(&unit.name).digest(&unit.digest).digest(&answer.schema);
    key.count(number).number(u64::from(is_last));
    key.finish()
}

/// True for a failure of a database that may pass.
pub fn is_transient(error: &Error) -> bool {
    error.cause::<ConnectionError>().is_some_and(ConnectionError::is_transient)
}

/// What a flow with a table is made of.
#[derive(Clone, Debug)]
pub struct TableWork {
    /// What the table has.
    pub answer: Arc<Answer>,
    /// What keys of parts are made with.
    pub recipe: Fingerprint,
    /// What reads it; `None` where it is only planned.
    pub reading: Option<Arc<dyn Reading>>,
}

impl Planner {
    /// Asks the tables of flows what they hold, all at once, but for those that are read whatever they say.
    pub(super) async fn ask_tables(&mut self, names: &[FlowName]) -> Result<()> {
        let asked: Vec<Arc<Flow>> = names.iter().filter(|name| self.asks(name)).filter_map(|name| self.flow(name).ok()).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let databases = self.databases.clone();
        let probes = asked.iter().filter_map(|flow| {
            let table = flow.home.table()?;
            let databases = &databases;
            Some(async move { (flow.name.clone(), table.probe(databases).await) })
        });
        let interrupted = self.request.interrupted.clone();
        let answers = tokio::select! {
            answers = join_all(probes) => answers,
            () = until(&interrupted) => return Err(Error::new(ErrorKind::Interrupted, "interrupted")),
        };
        let seen = |answer: Answer| Seen { answer: Arc::new(answer), is_read: false };
        self.tables.extend(answers.into_iter().map(|(name, answer)| (name, answer.map(seen))));
        Ok(())
    }

    /// True where a probe says something that is not known anyway.
    fn asks(&self, name: &FlowName) -> bool {
        let is_probed = self.flow(name).is_ok_and(|flow| flow.home.table().is_some_and(|table| table.is_probed()));
        let is_read = matches!(self.tables.get(name), Some(Ok(seen)) if seen.is_read);
        let is_certain = self.is_building && (self.is_forced(name) || self.receipt(name).is_none());
        is_probed && !is_read && !is_certain
    }

    /// True where a flow's table must be opened before it is known what is to be done.
    pub fn must_open(&self, name: &FlowName) -> bool {
        let is_table = self.flow(name).is_ok_and(|flow| flow.home.table().is_some());
        let is_read = matches!(self.tables.get(name), Some(Ok(seen)) if seen.is_read);
        is_table && !is_read && self.stays_at(name).is_none()
    }

    /// What a flow's table holds is known from a reading.
    pub fn note_opened(&mut self, name: &FlowName, reading: Arc<dyn Reading>) {
        self.tables.insert(name.clone(), Ok(Seen { answer: reading.answer().clone(), is_read: true }));
        self.readings.insert(name.clone(), reading);
    }

    /// All that a flow needs of its table was read: its sessions are free for others.
    pub fn end_reading(&mut self, name: &FlowName) {
        if let Some(reading) = self.readings.remove(name) {
            tokio::spawn(async move { reading.close().await });
        }
    }

    /// The flow has ended: what its table holds may be something else by now.
    pub fn forget_table(&mut self, name: &FlowName) {
        self.end_reading(name);
        self.tables.remove(name);
    }

    /// What a flow's table holds, as components of its key; what was published where it was not asked.
    pub(super) fn table_inputs(&self, name: &FlowName) -> Result<BTreeMap<String, Fingerprint>> {
        match self.tables.get(name) {
            Some(Ok(seen)) => Ok(seen.answer.inputs.clone()),
            Some(Err(error)) => Err(error.clone()),
            None => {
                let published = self.receipt(name).and_then(|receipt| receipt.published.as_ref());
                Ok(published.map(|published| published.components.inputs.clone()).unwrap_or_default())
            }
        }
    }

    /// Finds out what is to be done for a flow with a table that answered.
    pub(super) async fn work_of_table(&mut self, flow: &Flow, key: &FlowKey, state: StoreState, answer: Arc<Answer>) -> Result<Work> {
        let recipe = Components { settings: key.components.settings.clone(), ..Components::default() }.key(KeyKind::Flow);
        let parts = self.unit_parts(flow, &state, &recipe, &answer).await?;
        let reading = self.readings.get(&flow.name).cloned();
        let mut work = Work::of_state(flow, key, &state);
        work.schema = Some(answer.schema);
        work.parts = parts;
        work.table = Some(TableWork { answer, recipe, reading });
        work.names(flow, &[])?;
        Ok(work)
    }

    /// The parts of units that are at hand, and one for each unit that must be read.
    async fn unit_parts(&mut self, flow: &Flow, state: &StoreState, recipe: &Fingerprint, answer: &Answer) -> Result<Vec<PlannedPart>> {
        let mut found: Vec<Vec<PlannedPart>> = vec![Vec::new(); answer.units.len()];
        let mut whole = vec![false; answer.units.len()];
        let mut open: Vec<usize> = if self.is_forced(&flow.name) { Vec::new() } else { (0..answer.units.len()).collect() };
        while !open.is_empty() {
            let mut asked = Vec::with_capacity(open.len() * 2);
            for unit in &open {
                for is_last in [true, false] {
                    let described = &answer.units[*unit];
                    asked.push(PlannedPart::of_unit(part_key(recipe, answer, described, found[*unit].len(), is_last), described));
                }
            }
            self.find_made(flow, state, &mut asked).await?;
            let mut next = Vec::new();
            for (unit, pair) in open.into_iter().zip(asked.chunks_exact(2)) {
                let Some((part, is_last)) = pair.iter().zip([true, false]).find(|(part, _)| part.made.is_some()) else { continue };
                let mut part = part.clone();
                part.slice.rows = part.made.as_ref().map_or(0, |made| made.record.rows);
                found[unit].push(part);
                whole[unit] = is_last;
                if !is_last {
                    next.push(unit);
                }
            }
            open = next;
        }
        let mut parts = Vec::new();
        for (number, (found, is_whole)) in found.into_iter().zip(whole).enumerate() {
            if is_whole {
                parts.extend(found);
            } else {
                let unit = &answer.units[number];
                parts.push(PlannedPart { unit: Some(number), ..PlannedPart::of_unit(unit.digest, unit) });
            }
        }
        Ok(parts)
    }
}

impl PlannedPart {
    /// A part of a unit.
    pub(super) fn of_unit(key: Fingerprint, unit: &Unit) -> Self {
        let inputs = vec![Moved { name: unit.name.clone(), digest: unit.digest, is_replaced: false }];
        Self { key, slice: Default::default(), stem: unit.stem.clone(), name: None, sequence: None, inputs, made: None, unit: None }
    }
}
