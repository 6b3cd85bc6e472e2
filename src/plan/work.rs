//! Work: the parts of one flow, which of them are at hand, and what the others are made from.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::file_work::FileWork;
use super::part_numbers::{self, FreedNumber, reuse_numbers};
use super::planned_part::{PartOutputs, PlannedPart};
use super::probe::StoreState;
use super::queries::FlowKey;
use super::table_work::TableWork;
use crate::cache::index::PartRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind};
use crate::flow::Flow;
use crate::format::OutputSpec;
use crate::format::projection::Projection;
use crate::home::RecordedColumn;
use crate::storage::Version;
use crate::store::PartNaming;
use crate::store::receipt::{Manifest, PartInput, PublishedSet};

/// What is to be done for one flow.
#[derive(Clone, Debug)]
pub struct FlowWork {
    /// The flow key.
    pub key: Fingerprint,
    /// What it covers.
    pub components: Components,
    /// What the publish key covers.
    pub placement: BTreeMap<String, String>,
    /// The schema of the input.
    pub schema: Option<Fingerprint>,
    /// The columns.
    pub columns: SetColumns,
    /// The digest of which home they are of, and of how that is read.
    pub home: Option<Fingerprint>,
    /// What the parts are made from.
    pub source: WorkSource,
    /// The parts in order.
    pub parts: Vec<PlannedPart>,
    /// The highest number in the name of a part that is taken as it is.
    pub sequence: u64,
    /// Numbers that parts may have once it is known for which folders they are.
    pub freed_numbers: Vec<FreedNumber>,
    /// What gave no row, where no part stands for it.
    pub empty_inputs: Vec<PartInput>,
    /// Rows that were read for parts which are left out, because none of them came.
    pub rows_left_out: u64,
    /// The run whose set this is, where it is an earlier one that shall stay.
    pub pinned: Option<i64>,
    /// Published names that someone altered.
    pub altered: Vec<String>,
    /// The version of the store's receipt when this was planned.
    pub receipt_version: Option<Version>,
    /// True where the flow is judged once its store is locked and recovered, because it cannot be
    /// before.
    pub is_recovery_only: bool,
    /// What its reader should know, in words.
    pub remarks: Vec<String>,
    /// The same, of what is said whenever the flow is built: a plan and its first build say more.
    pub warnings: Vec<String>,
}

/// The columns of a set, as they are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetColumns {
    /// All of them.
    pub recorded: Vec<RecordedColumn>,
    /// Those of the home, where something becomes of them on their way.
    pub of_home: Option<Vec<RecordedColumn>>,
    /// Those of the home that stand in names of folders.
    pub folder_columns: Vec<String>,
    /// Those that the home no longer has.
    pub absent: Vec<String>,
    /// All of the home's with their types, where files may differ.
    pub arrow_schema: Option<String>,
}

impl SetColumns {
    /// The columns that the home has.
    pub fn home_columns(&self) -> &[RecordedColumn] {
        self.of_home.as_deref().unwrap_or(&self.recorded)
    }

    /// Those that a set was published with.
    pub(super) fn from_published(published: &PublishedSet) -> Self {
        Self {
            recorded: published.columns.clone(),
            of_home: published.home_columns.clone(),
            folder_columns: published.folder_columns.clone(),
            absent: published.absent_columns.clone(),
            arrow_schema: published.arrow_schema.clone(),
        }
    }
}

/// What a flow's parts are made from.
#[derive(Clone, Debug)]
pub enum WorkSource {
    /// Nothing: all of them are at hand.
    AtHand,
    /// Files.
    Files(FileWork),
    /// Partitions of a table.
    Table(TableWork),
}

impl FlowWork {
    /// Work for a store as it was seen, without a part yet.
    pub(super) fn from_state(flow: &Flow, key: &FlowKey, state: &StoreState) -> Self {
        Self {
            key: key.key,
            components: key.components.clone(),
            placement: flow.placement(),
            altered: state.altered.clone(),
            receipt_version: state.receipt_version.clone(),
            ..Self::empty()
        }
    }

    /// Nothing but to have the store recovered: the flow is judged when that is done.
    pub(super) fn recovery_only(state: Option<&StoreState>) -> Self {
        Self {
            receipt_version: state.and_then(|state| state.receipt_version.clone()),
            is_recovery_only: true,
            ..Self::empty()
        }
    }

    /// Nothing to do.
    pub(super) fn empty() -> Self {
        let components = Components::default();
        Self {
            key: components.key(KeyKind::Flow),
            components,
            placement: BTreeMap::new(),
            schema: None,
            columns: SetColumns::default(),
            home: None,
            source: WorkSource::AtHand,
            parts: Vec::new(),
            sequence: 0,
            freed_numbers: Vec::new(),
            empty_inputs: Vec::new(),
            rows_left_out: 0,
            pinned: None,
            altered: Vec::new(),
            receipt_version: None,
            is_recovery_only: false,
            remarks: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The files that parts are made from, where it is those.
    pub fn files(&self) -> Option<&FileWork> {
        match &self.source {
            WorkSource::Files(files) => Some(files),
            WorkSource::AtHand | WorkSource::Table(_) => None,
        }
    }

    /// The table that parts are made from, where it is one.
    pub fn table(&self) -> Option<&TableWork> {
        match &self.source {
            WorkSource::Table(table) => Some(table),
            WorkSource::AtHand | WorkSource::Files(_) => None,
        }
    }

    /// The names of the columns of its home, where rows are made of them.
    pub(super) fn home_names(&self) -> Vec<String> {
        match &self.source {
            WorkSource::AtHand => Vec::new(),
            WorkSource::Table(table) => {
                let names = table.table_state.arrow_schema.iter_names();
                names.map(|name| name.to_string()).collect()
            }
            WorkSource::Files(files) => {
                let columns = files.projection(0).map_or(&[][..], Projection::columns);
                columns.iter().map(|column| column.name.clone()).collect()
            }
        }
    }

    /// True where a schema is that of one of the files, which may store their columns otherwise.
    pub fn has_schema(&self, schema: &Fingerprint) -> bool {
        self.columns.folder_columns.is_empty()
            && self.columns.arrow_schema.is_none()
            && self
                .files()
                .is_some_and(|work| work.layouts.iter().any(|layout| layout.has_schema(schema)))
    }

    /// The same work once its parts are there: what was planned as one is as many as it became.
    /// Parts without rows are left out where others have some, but for those of files that go to no
    /// folders; of a set without rows that goes to folders, the first stays.
    pub fn with_made_parts(
        &self,
        made: &[Vec<(Fingerprint, PartRecord)>],
        target: &OutputSpec,
    ) -> (Self, Vec<PartRecord>) {
        let mut whole = Self {
            parts: Vec::new(),
            ..self.clone()
        };
        let mut records = Vec::new();
        let has_rows = made.iter().flatten().any(|(_, record)| record.rows > 0);
        let has_folders = target.partition_by.is_some();
        let leaves_empty_out = has_folders || has_rows && self.table().is_some();
        for (part, made) in self.parts.iter().zip(made) {
            let before = whole.parts.len();
            for (number, (key, record)) in made.iter().enumerate() {
                let mut part = PlannedPart {
                    key: *key,
                    ..part.clone()
                };
                if part.outputs != PartOutputs::One {
                    part.take_output(number, record);
                    // The number that a partition had is that of its first part.
                    part.sequence = part.sequence.filter(|_| whole.parts.len() == before);
                }
                part.slice.rows.get_or_insert(record.rows);
                let stands_for_all = !has_rows && whole.parts.is_empty();
                if leaves_empty_out && record.rows == 0 && !stands_for_all {
                    whole.rows_left_out += part.slice.rows.unwrap_or_default();
                    // A window of a table is read again.
                    if self.table().is_none() {
                        whole.empty_inputs.append(&mut part.inputs);
                    }
                    continue;
                }
                whole.parts.push(part);
                records.push(record.clone());
            }
        }
        let in_parts: HashSet<&PartInput> =
            whole.parts.iter().flat_map(|part| &part.inputs).collect();
        let mut empty = std::mem::take(&mut whole.empty_inputs);
        empty.retain(|input| !in_parts.contains(input));
        empty.sort();
        empty.dedup();
        whole.empty_inputs = empty;
        if !self.freed_numbers.is_empty() {
            let new = whole.parts.iter_mut().filter(|part| part.name.is_none());
            reuse_numbers(new, &self.freed_numbers);
        }
        (whole, records)
    }

    /// How many rows all parts have; `None` where some must be read first.
    pub fn total_rows(&self) -> Option<u64> {
        let known = |part: &PlannedPart| {
            let existing = part.existing.as_ref().map(|made| made.record.rows);
            part.slice.expected_rows().or(existing)
        };
        self.parts.iter().map(known).sum()
    }

    /// How many parts must be made.
    pub fn parts_to_make(&self) -> usize {
        self.parts
            .iter()
            .filter(|part| part.existing.is_none())
            .count()
    }

    /// How many bytes of the home are read for that.
    pub fn bytes_to_read(&self) -> u64 {
        self.parts
            .iter()
            .filter(|part| part.existing.is_none())
            .map(|part| part.slice.bytes)
            .sum()
    }

    /// The parts' names once their digests are known.
    ///
    /// # Errors
    /// Two parts get one name.
    pub fn part_names(&self, flow: &Flow, digests: &[Fingerprint]) -> Result<Vec<String>> {
        let mut owners: HashMap<String, usize> = HashMap::new();
        let mut last: HashMap<String, usize> = HashMap::new();
        let mut names = Vec::with_capacity(self.parts.len());
        for (number, (part, sequence)) in self.parts.iter().zip(self.sequences()).enumerate() {
            let in_folder = |name: String| match part.folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            let name = match &part.name {
                Some(name) => name.clone(),
                None => in_folder(flow.store.part_name(&PartNaming {
                    sequence,
                    stem: &part.stem,
                    digest: digests.get(number),
                })?),
            };
            // Parts with the same bytes whose names are made of their digest, and parts whose name
            // one has that stays: they get a number.
            let is_twin = digests
                .get(number)
                .is_some_and(|digest| name.contains(&digest.to_string()));
            let stays = |owner: &usize| self.parts[*owner].name.is_some() && part.name.is_none();
            let name = match owners.get(&name) {
                Some(owner) if is_twin || stays(owner) => numbered_name(&name, &mut last, &owners),
                _ => name,
            };
            // For which folders it is, is known when it is made.
            let is_unknown = part.outputs == PartOutputs::Folders
                || digests.is_empty() && flow.store.names_by_digest();
            if let Some(first) = owners.insert(name.clone(), number)
                && !is_unknown
            {
                return Err(duplicate_name_error(
                    &name,
                    self.source_name(first),
                    self.source_name(number),
                ));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// The number of each part: that which it has, or the next of its folder.
    pub fn sequences(&self) -> Vec<u64> {
        part_numbers::sequences(&self.parts, self.sequence)
    }

    /// The highest number that a part has, or ever had.
    pub fn last_sequence(&self) -> u64 {
        self.sequences().into_iter().fold(self.sequence, u64::max)
    }

    /// Rows that all inputs of the parts have which are not taken as they are, and rows that are read
    /// for those parts; `None` where they are counted while they are read, part by part.
    pub fn rows_to_make(&self) -> Option<(u64, u64)> {
        let layouts = match &self.source {
            WorkSource::AtHand => &[][..],
            WorkSource::Files(work) => &work.layouts,
            WorkSource::Table(_) => return None,
        };
        let new = self.parts.iter().filter(|part| part.name.is_none());
        let read = layouts.iter().map(|layout| layout.rows).sum();
        // What is left out is counted part by part.
        let made = new.map(|part| part.slice.rows).sum::<Option<u64>>();
        Option::zip(read, made.map(|rows| rows + self.rows_left_out))
    }

    /// How many rows of files were left out of the parts that are not taken as they are, once these
    /// are in a manifest; `None` where none can be, or where they are not known.
    pub fn filtered_rows(&self, manifest: &Manifest) -> Option<u64> {
        let new = self.parts.iter().filter(|part| part.name.is_none());
        let can_filter = new.clone().any(|part| part.slice.is_filtered);
        let (read, _) = self.rows_to_make().filter(|_| can_filter)?;
        let stay = self.parts.iter().filter(|part| part.name.is_some());
        let stays: u64 = stay.map(|part| part.slice.rows).sum::<Option<u64>>()?;
        read.checked_sub(manifest.rows().checked_sub(stays)?)
    }

    fn source_name(&self, part: usize) -> &str {
        self.parts[part]
            .inputs
            .first()
            .map_or("", |input| input.name.as_str())
    }
}

pub(super) fn duplicate_name_error(name: &str, one: &str, other: &str) -> Error {
    let error =
        format!("file_pattern gives two parts the name {name:?}: those of {one} and {other}");
    Error::new(ErrorKind::Flow, error)
        .with_hint("use {sequence} or {digest} in file_pattern, so that names differ")
}

/// A name with a number that no part has; `last` are the numbers that were given.
fn numbered_name(
    name: &str,
    last: &mut HashMap<String, usize>,
    owners: &HashMap<String, usize>,
) -> String {
    // A dot in the name of its folder begins no ending.
    let (stem, ending) = name
        .rsplit_once('.')
        .filter(|(_, ending)| !ending.contains('/'))
        .map_or((name, String::new()), |(stem, ending)| {
            (stem, format!(".{ending}"))
        });
    let number = last.entry(name.to_string()).or_insert(1);
    loop {
        *number += 1;
        let numbered = format!("{stem}-{number}{ending}");
        if !owners.contains_key(&numbered) {
            return numbered;
        }
    }
}
