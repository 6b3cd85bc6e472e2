//! What `hygge check` looks at before a night: every home can be read, every store can be written.
//!
//! Nothing is fingerprinted, and nothing is changed.

mod files;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use polars_arrow::datatypes::ArrowSchema;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use files::{
    check_files, check_upstream_files, home_columns, home_files, inspect, open_listed, typed_format,
};

use super::folder_choice::list_files;
use super::home_files::HomeFiles;
use super::inferred_types::{check_columns_named, describe_types};
use super::project::Project;
use crate::connection::{Databases, run_with_timeout, with_timeout};
use crate::error::{Error, ErrorKind, Result, catch_panic};
use crate::flow::{Flow, FlowName};
use crate::format::{Format, flow_schema};
use crate::fs;
use crate::graph::Graph;
use crate::home::{HomeError, PreviousRead, TableState};
use crate::store::StoreId;

/// One thing that was looked at.
#[derive(Debug)]
pub struct CheckResult {
    /// The flow.
    pub flow: FlowName,
    /// Its home or its store.
    pub endpoint: Endpoint,
    /// What was found, in words.
    pub outcome: Result<String>,
    /// What its reader should know, in words.
    pub remarks: Vec<String>,
    /// How long that took.
    pub elapsed: Duration,
}

/// A part of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Where it reads.
    Home,
    /// Where it writes.
    Store,
}

impl Endpoint {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Store => "store",
        }
    }
}

/// What tables answered, by flow, with the time that each took.
pub type TableStates = BTreeMap<FlowName, (Result<TableState>, Duration)>;

/// Asks the tables of all flows what they hold, all at once.
pub async fn probe_tables(project: &Project) -> TableStates {
    let databases = Databases::new(project.root());
    let asked = project.graph.flows().filter_map(|flow| {
        let (table, databases) = (flow.home.as_rows()?, &databases);
        let before = PreviousRead {
            is_append_only: flow.is_append_only(),
            columns: flow.wanted_columns(),
            tests: flow.row_tests(),
            ..PreviousRead::default()
        };
        Some(async move {
            let began = Instant::now();
            let answer = with_timeout(flow.timeout, table.probe(databases, &before))
                .await
                .flatten();
            (flow.name.clone(), (answer, began.elapsed()))
        })
    });
    join_all(asked).await.into_iter().collect()
}

/// Looks at the homes and stores of all flows, in their order.
pub fn check<'p>(project: &'p Project, answers: &TableStates) -> Vec<CheckResult> {
    let graph = &project.graph;
    let place = |flow: &'p Arc<Flow>| {
        (
            flow.name.as_str(),
            (project.store_id(flow), project.input_format(flow)),
        )
    };
    let places: FlowLocations<'_> = graph.flows().map(place).collect();
    let look = |name: &FlowName| {
        let flow = graph.flow(name.as_str())?;
        let (store, format) = places
            .get(name.as_str())
            .map(|(store, format)| (*store, format))?;
        Some(FlowChecker {
            graph,
            locations: &places,
            confined_root: project.confined_root(),
            root: project.root(),
            flow,
            format,
            store,
            table_state: answers.get(name),
            table_states: answers,
        })
    };
    let looks: Vec<FlowChecker<'_>> = graph.order().iter().filter_map(look).collect();
    let checked: Vec<[CheckResult; 2]> = looks
        .par_iter()
        .map(|look| {
            [
                look.check_endpoint(Endpoint::Home, check_home),
                look.check_endpoint(Endpoint::Store, check_store),
            ]
        })
        .collect();
    checked.into_iter().flatten().collect()
}

/// The store of each flow, and the format of what it reads.
type FlowLocations<'p> = HashMap<&'p str, (&'p StoreId, Arc<dyn Format>)>;

/// A flow with what the project knows of it.
struct FlowChecker<'p> {
    graph: &'p Graph,
    locations: &'p FlowLocations<'p>,
    /// The folder that no link of its home may leave.
    confined_root: Option<&'p Path>,
    /// The folder of the config.
    root: &'p Path,
    flow: &'p Flow,
    format: &'p Arc<dyn Format>,
    /// Its store.
    store: &'p StoreId,
    /// What its table answered.
    table_state: Option<&'p (Result<TableState>, Duration)>,
    /// The same of all tables.
    table_states: &'p TableStates,
}

impl<'p> FlowChecker<'p> {
    /// The flows that a flow needs, with their stores.
    fn upstreams(&self, flow: &Flow) -> impl Iterator<Item = (&'p Flow, &'p StoreId)> {
        let (graph, places) = (self.graph, self.locations);
        let upstreams = graph
            .upstreams(flow.name.as_str())
            .into_iter()
            .filter_map(|name| graph.flow(name.as_str()));
        upstreams.filter_map(|flow| Some((flow.as_ref(), places.get(flow.name.as_str())?.0)))
    }

    /// The format of what a flow reads.
    fn input_format(&self, flow: &Flow) -> &'p Arc<dyn Format> {
        self.locations
            .get(flow.name.as_str())
            .map_or(self.format, |(_, format)| format)
    }

    /// The flow whose files a flow reads, or will read once they are there; nothing where its home
    /// is no other's store.
    fn source_flow(&self, flow: &Flow) -> Option<&'p Flow> {
        match flow.upstream() {
            Some(upstream) => self.graph.flow(upstream).map(|flow| flow.as_ref()),
            None if flow
                .home
                .as_files()
                .is_some_and(|files| files.list().is_err()) =>
            {
                self.filling_flow(flow)
            }
            None => None,
        }
    }

    /// The flow that will fill a home which is not there yet.
    fn filling_flow(&self, flow: &Flow) -> Option<&'p Flow> {
        let home = flow.home.as_files()?.location().local_path()?;
        let home = fs::real_path(home).ok()?;
        self.upstreams(flow)
            .find(|(_, store)| {
                store
                    .folder()
                    .is_some_and(|folder| home.starts_with(folder))
            })
            .map(|(flow, _)| flow)
    }

    /// The flows that files go through before they come to this one, the nearest first, and last
    /// the one whose home is no other's store. Files have the columns there that they will have
    /// here.
    fn source_flows(&self) -> Vec<&'p Flow> {
        let mut sources: Vec<&Flow> = Vec::new();
        let mut next = self.source_flow(self.flow);
        // Without cycles, no flow comes twice.
        while let Some(flow) = next.filter(|flow| flow.store.capabilities().parts_readable) {
            sources.push(flow);
            next = self.source_flow(flow);
        }
        sources
    }

    fn check_endpoint(
        &self,
        part: Endpoint,
        look: fn(&Self) -> Result<CheckOutcome>,
    ) -> CheckResult {
        let began = Instant::now();
        let seen = catch_panic(|| run_with_timeout(self.flow.timeout, || look(self))).flatten();
        let answer = self.table_state.filter(|_| part == Endpoint::Home);
        let of_table = answer
            .and_then(|(answer, _)| answer.as_ref().ok())
            .map(|answer| answer.remarks.clone());
        let took = began.elapsed() + answer.map_or(Duration::ZERO, |(_, took)| *took);
        let mut remarks = of_table.unwrap_or_default();
        let found = seen.map(|seen| {
            remarks.extend(seen.remarks);
            seen.summary
        });
        CheckResult {
            flow: self.flow.name.clone(),
            endpoint: part,
            outcome: found,
            remarks,
            elapsed: took,
        }
    }
}

/// What was found of a part of a flow that can be used.
struct CheckOutcome {
    /// In words.
    summary: String,
    /// What its reader should know.
    remarks: Vec<String>,
}

impl From<String> for CheckOutcome {
    fn from(found: String) -> Self {
        Self {
            summary: found,
            remarks: Vec::new(),
        }
    }
}

fn check_home(look: &FlowChecker<'_>) -> Result<CheckOutcome> {
    let FlowChecker { flow, format, .. } = *look;
    if let Some(upstream) = flow.upstream() {
        check_columns_named(flow, format.as_ref())?;
        check_upstream_files(look)?;
        // Columns that are not known yet are none that are wrong.
        incoming_columns(look)?;
        return Ok(format!("is flow {upstream}").into());
    }
    if let Some((answer, _)) = look.table_state {
        return match answer {
            Ok(answer) => check_table(flow, answer).map(CheckOutcome::from),
            // One that another flow fills may not be there yet.
            Err(error) => describe_table_writer(look)
                .map(CheckOutcome::from)
                .ok_or_else(|| error.clone()),
        };
    }
    let Some(files) = flow.home.as_files() else {
        return Err(Error::new(
            ErrorKind::Flow,
            "its home is neither files nor rows",
        ));
    };
    let listing = match list_files(flow, files) {
        Ok(listing) => listing,
        Err(error @ (HomeError::Missing(_) | HomeError::NothingMatches { .. })) => {
            let maker = look.filling_flow(flow).ok_or(error)?;
            check_upstream_files(look)?;
            return Ok(format!("will be made by flow {}", maker.name).into());
        }
        Err(error) => return Err(error.into()),
    };
    look.confined_root
        .map_or(Ok(()), |root| listing.check_confined(root))?;
    let layouts = listing
        .files
        .par_iter()
        .map(|file| inspect(format.as_ref(), &listing, &file.name))
        .collect::<Result<Vec<_>>>()?;
    let format = typed_format(look, (flow, Some(look.store)), &listing)?;
    let mut remarks = check_files(format.as_ref(), &listing, &layouts, (flow, look.store))?;
    remarks.extend(describe_types(format.as_ref()));
    remarks.extend(files.describe_unread_files()?);
    remarks.extend(listing.describe_left_out());
    let rows: Option<u64> = layouts.iter().map(|layout| layout.rows).sum();
    let files = if layouts.len() == 1 {
        "1 file".to_string()
    } else {
        format!("{} files", layouts.len())
    };
    Ok(CheckOutcome {
        summary: match rows {
            Some(rows) => format!("{files}, {rows} rows"),
            None => files,
        },
        remarks,
    })
}

/// The columns can be written into the store's files.
fn check_table(flow: &Flow, answer: &TableState) -> Result<String> {
    let target = flow.store.output_spec();
    let columns = shaped_by(flow, answer.arrow_schema.clone())?;
    target.check_columns(&columns)?;
    let counted = |number: usize, what: &str| {
        if number == 1 {
            format!("1 {what}")
        } else {
            format!("{number} {what}s")
        }
    };
    Ok(format!(
        "{}, read in {}",
        counted(answer.arrow_schema.len(), "column"),
        counted(answer.partitions.len(), "query").replace("querys", "queries")
    ))
}

/// The columns that a flow makes of those of its home.
fn shaped_by(flow: &Flow, home: ArrowSchema) -> Result<ArrowSchema> {
    Ok(match &flow.shape {
        Some(shape) => shape.output_schema(&home)?,
        None => home,
    })
}

/// A table that another flow of the config will make.
fn describe_table_writer(look: &FlowChecker<'_>) -> Option<String> {
    let is_to_come = |flow: &Flow, id: &StoreId| {
        let receipt = || flow.store.open(id)?.receipt();
        !flow.store.capabilities().parts_readable && matches!(receipt(), Ok(None))
    };
    let (flow, _) = look
        .upstreams(look.flow)
        .find(|(flow, store)| is_to_come(flow, store))?;
    Some(format!("will be made by flow {}", flow.name))
}

fn check_store(look: &FlowChecker<'_>) -> Result<CheckOutcome> {
    let store = look.flow.store.open(look.store)?;
    store.check()?;
    // Where the home cannot be read, that is said of the home.
    let columns = if look.flow.store.capabilities().parts_readable {
        None
    } else {
        incoming_columns(look).ok().flatten()
    };
    let change = look.flow.mode.store_update();
    let remarks = columns
        .map(|columns| store.check_columns(&columns, change))
        .transpose()?
        .unwrap_or_default();
    let receipt = store.receipt()?;
    let published = receipt
        .as_ref()
        .and_then(|receipt| receipt.published.as_ref());
    let found = match published {
        Some(published) => format!(
            "can be written, has {} rows of {}",
            published.manifest.rows(),
            published.at
        ),
        None => "can be written, nothing was published yet".to_string(),
    };
    Ok(CheckOutcome {
        summary: found,
        remarks,
    })
}

/// The columns that come to the store, as far as they can be told before a build.
fn incoming_columns(look: &FlowChecker<'_>) -> Result<Option<ArrowSchema>> {
    let sources = look.source_flows();
    let first = sources.last().copied().unwrap_or(look.flow);
    let Some(mut columns) = flow_columns(look, first)? else {
        return Ok(None);
    };
    // From flow to flow.
    let flows = sources.iter().rev().copied().chain([look.flow]);
    for flow in flows.skip(1) {
        columns = shaped_by(flow, columns)?;
    }
    Ok(Some(columns))
}

/// The columns that a flow makes of those of its home, as far as they can be told.
fn flow_columns(look: &FlowChecker<'_>, flow: &Flow) -> Result<Option<ArrowSchema>> {
    if flow.home.as_rows().is_some() {
        let answer = look.table_states.get(&flow.name);
        let state = answer.and_then(|(answer, _)| answer.as_ref().ok());
        let columns = state.map(|state| shaped_by(flow, state.arrow_schema.clone()));
        return columns.transpose();
    }
    let Some((listing, layouts)) = home_files(look, flow) else {
        return Ok(None);
    };
    let Some(first) = listing.files.first() else {
        return Ok(None);
    };
    let store = (flow.name == look.flow.name).then_some(look.store);
    let format = typed_format(look, (flow, store), &listing)?;
    let format = format.as_ref();
    let home = home_columns((flow, store), format, &listing, &layouts)?;
    let names: Vec<&str> = listing
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let projections = home.shaped_projections(
        (flow.shape.as_ref(), &flow.store.output_spec()),
        &HomeFiles {
            format,
            names: &names,
            layouts: &layouts.iter().collect::<Vec<_>>(),
            open: &|file| open_listed(&listing, names[file]),
        },
    )?;
    let first = open_listed(&listing, &first.name)?;
    Ok(Some(flow_schema(format, first, projections.get(&0))?))
}
