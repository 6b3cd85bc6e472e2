//! What `hygge check` looks at before a night: every home can be read, every store can be written.
//!
//! Nothing is fingerprinted, and nothing is changed.

use std::path::Path;
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::prepare::check_schemas;
use super::project::Project;
use crate::error::{Result, catch_panic};
use crate::flow::{Flow, FlowName};
use crate::format::{Format, Layout, Opened, Passage};
use crate::fs;
use crate::home::{HomeError, Listing, Place};

/// One thing that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// The flow.
    pub flow: FlowName,
    /// Its home or its store.
    pub part: Part,
    /// What was found, in words.
    pub found: Result<String>,
    /// How long that took.
    pub took: Duration,
}

/// A part of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where it reads.
    Home,
    /// Where it writes.
    Store,
}

impl Part {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Store => "store",
        }
    }
}

/// Looks at the homes and stores of all flows, in their order.
pub fn check(project: &Project) -> Vec<Checked> {
    let graph = &project.graph;
    let look = |name: &FlowName| {
        let flow = graph.flow(name.as_str())?;
        let upstreams = graph.upstreams(name.as_str()).into_iter();
        let stores =
            upstreams.filter_map(|name| Some((graph.flow(name.as_str())?, name))).map(|(flow, name)| (name, project.store_path(flow)));
        Some(Look { flow, format: project.input_format(flow), store: project.store_path(flow), upstreams: stores.collect() })
    };
    let looks: Vec<Look<'_>> = graph.order().iter().filter_map(look).collect();
    let checked: Vec<[Checked; 2]> = looks.par_iter().map(|look| [look.check(Part::Home, home), look.check(Part::Store, store)]).collect();
    checked.into_iter().flatten().collect()
}

/// A flow with what the project knows of it.
struct Look<'p> {
    flow: &'p Flow,
    format: &'static dyn Format,
    /// Its store, links resolved.
    store: &'p Path,
    /// The flows that it needs, with their stores.
    upstreams: Vec<(FlowName, &'p Path)>,
}

impl Look<'_> {
    fn check(&self, part: Part, look: fn(&Self) -> Result<String>) -> Checked {
        let began = Instant::now();
        let found = catch_panic(|| look(self)).flatten();
        Checked { flow: self.flow.name.clone(), part, found, took: began.elapsed() }
    }
}

fn home(look: &Look<'_>) -> Result<String> {
    let Look { flow, format, .. } = *look;
    if let Some(upstream) = flow.upstream() {
        return Ok(format!("is flow {upstream}"));
    }
    let listing = match flow.home.list() {
        Ok(listing) => listing,
        Err(error @ (HomeError::Missing(_) | HomeError::NothingMatches { .. })) => {
            return made_by(look).ok_or_else(|| error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let layouts = listing.files.par_iter().map(|file| inspect(format, &listing, &file.name)).collect::<Result<Vec<_>>>()?;
    passes(format, &listing, &layouts, flow)?;
    let rows: u64 = layouts.iter().map(|layout| layout.rows).sum();
    let files = if layouts.len() == 1 { "1 file".to_string() } else { format!("{} files", layouts.len()) };
    Ok(format!("{files}, {rows} rows"))
}

/// A home that another flow of the config will fill.
fn made_by(look: &Look<'_>) -> Option<String> {
    let Place::Path { path, .. } = look.flow.home.place() else { return None };
    let home = fs::real_path(path).ok()?;
    let (name, _) = look.upstreams.iter().find(|(_, store)| home.starts_with(store))?;
    Some(format!("will be made by flow {name}"))
}

fn open(listing: &Listing, name: &str) -> Result<Opened> {
    let path = listing.folder.join(name);
    Ok(Opened { file: fs::open(&path)?, path })
}

fn inspect(format: &dyn Format, listing: &Listing, name: &str) -> Result<Layout> {
    Ok(format.inspect(&open(listing, name)?)?)
}

/// The files can become parts of the store: one schema, and nothing that cannot be decoded where it must be.
fn passes(format: &dyn Format, listing: &Listing, layouts: &[Layout], flow: &Flow) -> Result<()> {
    let known: Vec<&Layout> = layouts.iter().collect();
    check_schemas(format, &known, |file| open(listing, &listing.files[file].name))?;
    if let Passage::Decoded { .. } = format.passage(&known, &flow.store.target())? {
        listing.files.par_iter().map(|file| Ok(format.decodable(&open(listing, &file.name)?)?)).collect::<Result<()>>()?;
    }
    Ok(())
}

fn store(look: &Look<'_>) -> Result<String> {
    look.flow.store.check(look.store)?;
    let receipt = look.flow.store.receipt(look.store)?;
    let published = receipt.as_ref().and_then(|receipt| receipt.published.as_ref());
    Ok(match published {
        Some(published) => format!("can be written, has {} rows of {}", published.manifest.rows(), published.at),
        None => "can be written, nothing was published yet".to_string(),
    })
}
