//! Work: the parts of one flow, which of them are at hand, and what the others are made from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::Planner;
use super::db::FlowKey;
use super::probe::{Input, ProbeError, StoreState};
use super::slice::{self, Slice};
use crate::cache::index::{PartRecord, layout_key};
use crate::error::{Error, ErrorKind, Result, catch_panic};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind};
use crate::flow::{Flow, FlowName};
use crate::format::{Format, FormatError, Layout, Opened, Passage};
use crate::fs::{self, Stat};
use crate::store::Naming;
use crate::store::receipt::Part;

/// What is to be done for one flow.
#[derive(Clone, Debug)]
pub struct Work {
    /// The flow key.
    pub key: Fingerprint,
    /// What it covers.
    pub components: Components,
    /// What the publish key covers.
    pub placement: BTreeMap<String, String>,
    /// The schema of the input.
    pub schema: Option<Fingerprint>,
    /// The input files.
    pub files: Vec<Input>,
    /// What is in each of them.
    pub layouts: Vec<Layout>,
    /// How they become parts.
    pub passage: Passage,
    /// The parts in order.
    pub parts: Vec<PlannedPart>,
    /// Published names that someone altered.
    pub altered: Vec<String>,
    /// How the store's receipt looked when this was planned.
    pub receipt_stat: Option<Stat>,
}

/// One part of a flow.
#[derive(Clone, Debug)]
pub struct PlannedPart {
    /// Its key.
    pub key: Fingerprint,
    /// What it is made from.
    pub slice: Slice,
    /// The name of its first input file without folder and ending.
    pub stem: String,
    /// The part, where it was made before and is at hand.
    pub made: Option<Made>,
}

/// A part that need not be made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The part.
    pub record: PartRecord,
    /// Where it is.
    pub place: MadeAt,
}

/// Where a part is that need not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeAt {
    /// In the store that is to be published, untouched.
    Live,
    /// In staging: it is digested before it is used.
    Staged,
    /// In another store of this project: it is copied and digested on the way.
    Elsewhere(PathBuf),
}

impl Work {
    /// How many parts must be made.
    pub fn parts_to_make(&self) -> usize {
        self.parts.iter().filter(|part| part.made.is_none()).count()
    }

    /// How many bytes of the home are read for that.
    pub fn bytes_to_read(&self) -> u64 {
        self.parts.iter().filter(|part| part.made.is_none()).map(|part| part.slice.bytes).sum()
    }

    /// The parts' names once their digests are known.
    ///
    /// # Errors
    /// Two parts get one name.
    pub fn names(&self, flow: &Flow, digests: &[Fingerprint]) -> Result<Vec<String>> {
        let mut owners: HashMap<String, usize> = HashMap::new();
        let mut names = Vec::with_capacity(self.parts.len());
        for (number, part) in self.parts.iter().enumerate() {
            let naming = Naming { sequence: number + 1, stem: &part.stem, digest: digests.get(number) };
            let name = flow.store.part_name(&naming)?;
            if let Some(first) = owners.insert(name.clone(), number)
                && !(digests.is_empty() && name.contains('?'))
            {
                return Err(same_name(&name, self.source(first), self.source(number)));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn source(&self, part: usize) -> &str {
        let piece = self.parts[part].slice.pieces.first();
        piece.and_then(|piece| self.files.get(piece.file)).map_or("", |file| file.name.as_str())
    }
}

fn same_name(name: &str, one: &str, other: &str) -> Error {
    let error = format!("file_pattern gives two parts the name {name:?}: those of {one} and {other}");
    Error::new(ErrorKind::Flow, error).with_hint("use {sequence} or {digest} in file_pattern, so that names differ")
}

impl Planner {
    /// Finds out what is to be done for a flow that is not fresh.
    pub(super) async fn work(&mut self, name: &FlowName, key: &FlowKey) -> Result<Work> {
        let flow = self.flow(name)?;
        let (files, format) = (self.sources(&flow)?, self.project.input_format(&flow));
        let layouts = self.layouts(format, &files).await?;
        let known: Vec<&Layout> = layouts.iter().collect();
        check_schemas(format, &known, |file| open(&files[file]))?;
        let target = flow.store.target();
        let passage = format.passage(&known, &target)?;
        let sizes: Vec<u64> = files.iter().map(|file| file.stat.size).collect();
        let digests: Vec<Fingerprint> = files.iter().map(|file| file.digest).collect();
        let recipe = Components { settings: key.components.settings.clone(), ..Components::default() }.key(KeyKind::Flow);
        let mut parts = Vec::new();
        for slice in slice::slices(&known, &sizes, target.rows_per_file) {
            let key = slice::part_key(&recipe, &passage, &slice, &digests);
            let first = slice.pieces.first().and_then(|piece| files.get(piece.file));
            let stem = first.map_or("", |file| file.name.as_str());
            let stem = Path::new(stem).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            parts.push(PlannedPart { key, slice, stem, made: None });
        }
        let state = self.observed.get(name).and_then(|observed| observed.store.as_ref().ok()).cloned().unwrap_or_default();
        let forced = self.request.force && self.request.selected.named.contains(name);
        if !forced {
            self.find_made(&flow, &state, &mut parts).await?;
        }
        let work = Work {
            key: key.key,
            components: key.components.clone(),
            placement: flow.store.placement(),
            schema: layouts.first().map(|layout| layout.schema),
            files,
            layouts,
            passage,
            parts,
            altered: state.altered,
            receipt_stat: state.receipt_stat,
        };
        work.names(&flow, &[])?;
        if matches!(work.passage, Passage::Decoded { .. }) {
            check_decodable(format, &work)?;
        }
        Ok(work)
    }

    /// The files that a flow reads.
    fn sources(&self, flow: &Flow) -> Result<Vec<Input>> {
        let Some(upstream) = flow.upstream() else {
            return Ok(self.inputs(&flow.name)?.to_vec());
        };
        let upstream = self.flow(&FlowName::from(upstream))?;
        let folder = self.project.store_path(&upstream);
        let state = self.store_state(&upstream.name)?;
        let published = state.receipt.as_ref().and_then(|receipt| receipt.published.as_ref());
        let parts = published.map(|published| published.manifest.parts.as_slice()).unwrap_or_default();
        let input = |part: &Part| {
            // Only what looks as it did when its digest was found is what the manifest says.
            let stat = *state.intact.get(&part.name)?;
            Some(Input { name: part.name.clone(), path: folder.join(&part.name), stat, digest: part.digest })
        };
        let files: Option<Vec<Input>> = parts.iter().map(input).collect();
        files.ok_or_else(|| super::judge::not_as_built(upstream.name.as_str()))
    }

    /// The layouts of files: from the index where their bytes were seen before.
    async fn layouts(&mut self, format: &'static dyn Format, files: &[Input]) -> Result<Vec<Layout>> {
        let keys: Vec<Fingerprint> = files.iter().map(|file| layout_key(format, &file.digest)).collect();
        let unknown: Vec<Fingerprint> = keys.iter().filter(|key| !self.layouts.contains_key(key)).copied().collect();
        self.layouts.extend(self.cache.index.layouts(&unknown).await?);
        let new: BTreeMap<Fingerprint, &Input> =
            keys.iter().copied().zip(files).filter(|(key, _)| !self.layouts.contains_key(key)).collect();
        let inspect = |file: &Input| catch_panic(|| inspect(format, file)).flatten();
        let inspected = new.into_par_iter().map(|(key, file)| Ok((key, inspect(file)?))).collect::<Result<Vec<_>>>()?;
        for (key, layout) in inspected {
            self.layouts.insert(key, layout.clone());
            self.found.layouts.push((key, layout));
        }
        Ok(keys.iter().filter_map(|key| self.layouts.get(key)).cloned().collect())
    }

    /// Finds the parts that were made before and are at hand.
    async fn find_made(&mut self, flow: &Flow, state: &StoreState, parts: &mut [PlannedPart]) -> Result<()> {
        let published = state.receipt.as_ref().and_then(|receipt| receipt.published.as_ref());
        let intact = |name: &String| !state.missing.contains(name) && !state.altered.contains(name);
        let live: HashSet<Fingerprint> = published
            .iter()
            .flat_map(|published| &published.manifest.parts)
            .filter(|part| intact(&part.name))
            .map(|part| part.digest)
            .collect();
        let mut elsewhere: Option<HashMap<Fingerprint, PathBuf>> = None;
        // The receipt knows its parts by their keys too, so that a lost index costs nothing.
        let known = published.iter().flat_map(|published| &published.manifest.parts);
        let known: HashMap<Fingerprint, PartRecord> =
            known.map(|part| (part.key, PartRecord { digest: part.digest, rows: part.rows, bytes: part.bytes })).collect();
        let others: Vec<Fingerprint> = parts.iter().map(|part| part.key).filter(|key| !known.contains_key(key)).collect();
        let made = self.cache.index.parts(&others).await?;
        for part in parts.iter_mut() {
            let Some(record) = known.get(&part.key).or_else(|| made.get(&part.key)).copied() else { continue };
            let place = if live.contains(&record.digest) {
                MadeAt::Live
            } else if self.cache.staging.size(&record.digest)? == Some(record.bytes) {
                MadeAt::Staged
            } else {
                if elsewhere.is_none() {
                    elsewhere = Some(self.parts_of_other_stores(flow).await?);
                }
                match elsewhere.as_ref().and_then(|places| places.get(&record.digest)) {
                    Some(path) => MadeAt::Elsewhere(path.clone()),
                    None => continue,
                }
            };
            part.made = Some(Made { record, place });
        }
        Ok(())
    }

    /// Where the parts of all other stores of this project lie.
    async fn parts_of_other_stores(&mut self, flow: &Flow) -> Result<HashMap<Fingerprint, PathBuf>> {
        self.memory.load_receipts(&self.cache.index, &self.project.config.name).await?;
        let own = self.project.store_path(flow);
        let others = self
            .memory
            .receipts
            .iter()
            .filter(|(store, indexed)| store.as_path() != own && indexed.receipt.project == self.project.config.name);
        let parts = others.flat_map(|(store, indexed)| {
            let published = indexed.receipt.published.iter();
            published.flat_map(|published| &published.manifest.parts).map(move |part| (part, store.join(&part.name)))
        });
        let there = parts.filter(|(part, path)| matches!(fs::stat(path), Ok(Some(found)) if found.stat.size == part.bytes));
        Ok(there.map(|(part, path)| (part.digest, path)).collect())
    }
}

fn open(file: &Input) -> Result<Opened> {
    let opened = Opened { file: fs::open(&file.path)?, path: file.path.clone() };
    still(file, &opened)?;
    Ok(opened)
}

/// The open file is the one that was fingerprinted, and nobody wrote to it since.
fn still(file: &Input, opened: &Opened) -> Result<()> {
    if fs::stat_open(&opened.file, &opened.path)? == file.stat { Ok(()) } else { Err(ProbeError::Changing(file.path.clone()).into()) }
}

fn inspect(format: &dyn Format, file: &Input) -> Result<Layout> {
    let opened = open(file)?;
    let layout = format.inspect(&opened)?;
    // It is recorded under the digest of these bytes.
    still(file, &opened)?;
    Ok(layout)
}

/// All files of a flow have one schema; the first that has not is named with its column.
pub(super) fn check_schemas(format: &dyn Format, layouts: &[&Layout], open: impl Fn(usize) -> Result<Opened>) -> Result<()> {
    let Some(first) = layouts.first() else { return Ok(()) };
    let Some(other) = layouts.iter().position(|layout| layout.schema != first.schema) else { return Ok(()) };
    // The odd one out is most likely the one to look at.
    let alike = layouts.iter().filter(|layout| layout.schema == first.schema).count();
    let (odd, usual) = if alike * 2 < layouts.len() { (0, other) } else { (other, 0) };
    let (odd, usual) = (open(odd)?, open(usual)?);
    let difference = format.difference(&odd, &usual)?.unwrap_or_else(|| "their schemas differ".into());
    Err(FormatError::Schema { path: odd.path, sibling: usual.path, difference }.into())
}

/// Nothing is decoded before every file of every part that must be made was found decodable.
fn check_decodable(format: &dyn Format, work: &Work) -> Result<()> {
    let mut files: Vec<usize> =
        work.parts.iter().filter(|part| part.made.is_none()).flat_map(|part| &part.slice.pieces).map(|piece| piece.file).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        format.decodable(&open(&work.files[file])?)?;
    }
    Ok(())
}
