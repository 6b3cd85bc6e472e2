//! The graph: which flow must be built before which, and what a selection means.
//!
//! Edges come from flow homes, from `needs`, and from homes that lie in another flow's store.

pub mod selection;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use petgraph::algo::{astar, kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Bfs, Reversed};

use crate::config::Config;
use crate::config::problem::{Problem, Problems, Span};
use crate::flow::{Flow, FlowName};
use crate::fs;
use crate::store::{StoreId, StoreLocation, TableId};

/// Paths of homes and stores as the config has them, with links resolved.
pub type RealPaths = HashMap<PathBuf, PathBuf>;

/// The flows of a project with their edges. There are no cycles.
#[derive(Clone, Debug)]
pub struct Graph {
    graph: DiGraph<Arc<Flow>, ()>,
    nodes: HashMap<FlowName, NodeIndex>,
    order: Vec<FlowName>,
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        let edges = |graph: &Self| {
            graph
                .graph
                .raw_edges()
                .iter()
                .map(|edge| (edge.source(), edge.target()))
                .collect::<Vec<_>>()
        };
        self.order == other.order
            && self.graph.node_weights().eq(other.graph.node_weights())
            && edges(self) == edges(other)
    }
}

impl Eq for Graph {}

impl Graph {
    /// Makes the graph. Cycles and stores that overlap are problems that name the flows; they are
    /// given with those that were found before.
    pub fn new(
        flows: &[Arc<Flow>],
        real: &RealPaths,
        root: &Path,
        config: &Config,
        mut problems: Problems,
    ) -> Result<Self, Problems> {
        let placed: Vec<FlowPaths<'_>> = flows
            .iter()
            .map(|flow| FlowPaths::new(flow, real))
            .collect();
        let stores = StorePaths::new(&placed);
        let cache = lookup_real_path(&config.options.cache_folder, real);
        for place in &placed {
            check_overlaps(place, &stores, &mut problems);
            check_cache_overlap(place, cache, &mut problems);
        }
        check_shared_tables(flows, &mut problems);
        if config.options.confine {
            check_confined(
                "the cache",
                cache,
                config.options.cache_at,
                root,
                &mut problems,
            );
            for FlowPaths { flow, home, store } in &placed {
                if let Some((home, _)) = home {
                    check_confined(
                        &format!("the home of flow {}", flow.name),
                        home,
                        flow.spans.home,
                        root,
                        &mut problems,
                    );
                }
                if let Some(store) = store {
                    check_confined(
                        &format!("the store of flow {}", flow.name),
                        store,
                        flow.spans.store,
                        root,
                        &mut problems,
                    );
                }
            }
        }
        let tables = TableWriters::new(flows);
        let mut graph = DiGraph::new();
        let nodes: HashMap<FlowName, NodeIndex> = flows
            .iter()
            .map(|flow| (flow.name.clone(), graph.add_node(flow.clone())))
            .collect();
        for place in &placed {
            for upstream in upstreams(place, &stores)
                .into_iter()
                .chain(table_writer(place, &tables))
            {
                if let (Some(from), Some(to)) = (nodes.get(upstream), nodes.get(&place.flow.name)) {
                    graph.update_edge(*from, *to, ());
                }
            }
        }
        for circle in kosaraju_scc(&graph) {
            check_cycle(&graph, &circle, &mut problems);
        }
        let order = toposort(&graph, None).unwrap_or_default();
        let order = order
            .into_iter()
            .map(|node| graph[node].name.clone())
            .collect();
        problems.into_result(Self {
            graph,
            nodes,
            order,
        })
    }

    /// The flows, each behind all that it needs.
    pub fn order(&self) -> &[FlowName] {
        &self.order
    }

    /// A flow by its name.
    pub fn flow(&self, name: &str) -> Option<&Arc<Flow>> {
        self.nodes.get(name).map(|node| &self.graph[*node])
    }

    /// All flows, in the order of the config.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.graph.node_weights()
    }

    /// The flows that a flow needs, one edge away, by name.
    pub fn upstreams(&self, name: &str) -> Vec<FlowName> {
        self.neighbours(name, petgraph::Direction::Incoming)
    }

    /// The flows that need a flow, one edge away, by name.
    pub fn downstreams(&self, name: &str) -> Vec<FlowName> {
        self.neighbours(name, petgraph::Direction::Outgoing)
    }

    /// The flow with everything that it needs.
    pub fn with_upstreams(&self, name: &str) -> BTreeSet<FlowName> {
        let Some(start) = self.nodes.get(name) else {
            return BTreeSet::new();
        };
        let reversed = Reversed(&self.graph);
        let mut search = Bfs::new(reversed, *start);
        std::iter::from_fn(|| search.next(reversed))
            .map(|node| self.graph[node].name.clone())
            .collect()
    }

    /// The flow with everything that depends on it.
    pub fn with_downstreams(&self, name: &str) -> BTreeSet<FlowName> {
        let Some(start) = self.nodes.get(name) else {
            return BTreeSet::new();
        };
        let mut search = Bfs::new(&self.graph, *start);
        std::iter::from_fn(|| search.next(&self.graph))
            .map(|node| self.graph[node].name.clone())
            .collect()
    }

    fn neighbours(&self, name: &str, direction: petgraph::Direction) -> Vec<FlowName> {
        let Some(node) = self.nodes.get(name) else {
            return Vec::new();
        };
        let mut names: Vec<_> = self
            .graph
            .neighbors_directed(*node, direction)
            .map(|other| self.graph[other].name.clone())
            .collect();
        names.sort();
        names
    }
}

/// A flow with the real paths of its home and its store.
struct FlowPaths<'a> {
    flow: &'a Arc<Flow>,
    /// The path, and whether folders below it are read as well; `None` for another flow's output.
    home: Option<(&'a Path, bool)>,
    /// The folder that is filled; `None` for a table.
    store: Option<&'a Path>,
}

impl<'a> FlowPaths<'a> {
    fn new(flow: &'a Arc<Flow>, real: &'a RealPaths) -> Self {
        let home = flow.home.as_files().and_then(|files| {
            let path = files.location().local_path()?;
            Some((lookup_real_path(path, real), files.is_recursive()))
        });
        Self {
            flow,
            home,
            store: flow
                .store
                .as_folder()
                .map(|path| lookup_real_path(path, real)),
        }
    }
}

/// The flows that fill tables, by database and the table's own name.
struct TableWriters<'a>(HashMap<(&'a str, &'a str), Vec<&'a Flow>>);

impl<'a> TableWriters<'a> {
    fn new(flows: &'a [Arc<Flow>]) -> Self {
        let mut tables: HashMap<_, Vec<&Flow>> = HashMap::new();
        for flow in flows {
            if let Some(table) = flow.store.as_table()
                && let Some(name) = table.names().last()
            {
                tables
                    .entry((table.database, name.as_str()))
                    .or_default()
                    .push(flow);
            }
        }
        Self(tables)
    }
}

/// The flow that fills the table which a home reads. Schemas are compared where both say one.
fn table_writer<'a>(place: &FlowPaths<'a>, tables: &TableWriters<'a>) -> Option<&'a str> {
    let rows = place.flow.home.as_rows()?;
    let names = rows.table()?;
    let flows = tables
        .0
        .get(&(rows.database_id(), names.last()?.as_str()))?;
    let fits = |flow: &&&Flow| {
        flow.store
            .as_table()
            .is_some_and(|table| table.names().len() != names.len() || table.names() == names)
    };
    flows.iter().find(fits).map(|flow| flow.name.as_str())
}

/// The stores by their real paths.
struct StorePaths<'a> {
    owners: HashMap<&'a [u8], Vec<&'a FlowPaths<'a>>>,
    /// The same in the order of their bytes: what lies below a path stands together.
    ordered: BTreeSet<&'a [u8]>,
}

impl<'a> StorePaths<'a> {
    fn new(placed: &'a [FlowPaths<'a>]) -> Self {
        let mut owners: HashMap<&[u8], Vec<&FlowPaths<'_>>> = HashMap::with_capacity(placed.len());
        for place in placed {
            if let Some(store) = place.store {
                owners
                    .entry(store.as_os_str().as_bytes())
                    .or_default()
                    .push(place);
            }
        }
        let is_needed = placed
            .iter()
            .any(|place| matches!(place.home, Some((_, true))));
        let ordered = if is_needed {
            owners.keys().copied().collect()
        } else {
            BTreeSet::new()
        };
        Self { owners, ordered }
    }

    /// The flows whose store is the path or a folder above it, the nearest first; of each folder
    /// only the first two, since more than one is a problem.
    fn enclosing(&self, path: &'a Path) -> impl Iterator<Item = &'a FlowPaths<'a>> {
        let mut end = Some(path.as_os_str().as_bytes());
        let folders = std::iter::from_fn(move || {
            let folder = end?;
            end = folder
                .iter()
                .rposition(|byte| *byte == b'/')
                .filter(|slash| *slash > 0)
                .map(|slash| &folder[..slash]);
            Some(folder)
        });
        folders
            .filter_map(|folder| self.owners.get(folder))
            .flat_map(|flows| flows.iter().take(2))
            .copied()
    }

    /// The flows whose store lies below the path.
    fn below(&self, path: &Path) -> impl Iterator<Item = &'a FlowPaths<'a>> {
        // `join("")` puts one slash at the end.
        let folder = path.join("").into_os_string().into_vec();
        let from = (Bound::Included(folder.as_slice()), Bound::Unbounded);
        let below: Vec<&[u8]> = self
            .ordered
            .range::<[u8], _>(from)
            .copied()
            .take_while(|store| store.starts_with(&folder))
            .collect();
        below
            .into_iter()
            .filter_map(|store| self.owners.get(store))
            .flatten()
            .copied()
    }
}

/// What tells a flow's store from every other.
pub fn store_id(flow: &Flow, real: &RealPaths) -> StoreId {
    match flow.store.location() {
        StoreLocation::Folder(path) => StoreId::Folder(lookup_real_path(path, real).to_path_buf()),
        StoreLocation::Table(table) => StoreId::Table(table.id.clone()),
    }
}

fn lookup_real_path<'a>(path: &'a Path, real: &'a RealPaths) -> &'a Path {
    real.get(path).map_or(path, PathBuf::as_path)
}

fn check_overlaps(place: &FlowPaths<'_>, stores: &StorePaths<'_>, problems: &mut Problems) {
    let FlowPaths {
        flow,
        home,
        store: Some(store),
    } = *place
    else {
        return;
    };
    // Each flow is reported once, beside one other: the first of its folder, or the nearest around
    // it.
    if let Some(other) = stores
        .enclosing(store)
        .find(|other| other.flow.name != flow.name)
    {
        let is_same = other.store == Some(store);
        let how = if is_same {
            "are the same folder"
        } else {
            "lie in one another"
        };
        if !is_same || other.flow.spans.name < flow.spans.name {
            problems.push(shared_store_problem(
                (other.flow, flow),
                &format!("{how}: {}", store.display()),
                "give each flow a folder of its own",
            ));
        }
    }
    let Some((home, _)) = home else { return };
    if home.starts_with(store) || store.starts_with(home) {
        let how = match (home == store, home.starts_with(store)) {
            (true, _) => "are the same folder",
            (_, true) => "lie in one another: its home is in its store",
            _ => "lie in one another: its store is in its home",
        };
        let message = format!("home and store of flow {} {how}", flow.name);
        let problem = Problem::new(flow.spans.store, message, "it would read what it writes")
            .with_label(flow.spans.home, "its home");
        problems.push(problem.with_hint("choose a store beside the home"));
    }
}

/// No two flows fill one table, by one spelling of its name; by two of them, their database finds
/// out.
fn check_shared_tables(flows: &[Arc<Flow>], problems: &mut Problems) {
    let mut owners: HashMap<&TableId, &Flow> = HashMap::new();
    for flow in flows {
        let Some(table) = flow.store.as_table() else {
            continue;
        };
        if let Some(first) = owners.get(table.id) {
            problems.push(shared_store_problem(
                (first, flow),
                &format!("are the same table: {table}"),
                "give each flow a table of its own",
            ));
        } else {
            owners.insert(table.id, flow);
        }
    }
}

fn shared_store_problem((first, flow): (&Flow, &Flow), how: &str, hint: &'static str) -> Problem {
    let message = format!("the stores of flows {} and {} {how}", first.name, flow.name);
    Problem::new(flow.spans.store, message, "this flow's store")
        .with_label(first.spans.store, "and this one's")
        .with_hint(hint)
}

/// Cache, homes and stores keep out of each other's folders.
fn check_cache_overlap(place: &FlowPaths<'_>, cache: &Path, problems: &mut Problems) {
    let FlowPaths { flow, home, store } = *place;
    let other_cache = "options.cache.dir names another folder for the cache";
    if store.is_some_and(|store| store.starts_with(cache) || cache.starts_with(store)) {
        let message = format!(
            "the store of flow {} and the cache lie in one another: {}",
            flow.name,
            cache.display()
        );
        problems.push(Problem::new(flow.spans.store, message, "its store").with_hint(other_cache));
    }
    if store
        .and_then(Path::file_name)
        .is_some_and(|name| name == ".hygge")
    {
        let problem = Problem::new(
            flow.spans.store,
            format!("the store of flow {} is called .hygge", flow.name),
            "its store",
        );
        problems.push(
            problem
                .with_hint("that is the name of the folder in which receipts lie: choose another"),
        );
    }
    let Some((home, deep)) = home else { return };
    // What is hidden is not read.
    let is_hidden = |name: &OsStr| name.to_str().is_some_and(fs::is_hidden);
    if home.starts_with(cache)
        || cache
            .strip_prefix(home)
            .is_ok_and(|below| deep && !below.iter().any(is_hidden))
    {
        let message = format!(
            "flow {} would read the cache: {}",
            flow.name,
            cache.display()
        );
        problems.push(Problem::new(flow.spans.home, message, "its home").with_hint(other_cache));
    }
}

/// With `confine`, everything stays in the folder of the config.
fn check_confined(what: &str, path: &Path, at: Span, root: &Path, problems: &mut Problems) {
    if !path.starts_with(root) {
        let message = format!("{what} leaves the folder of the config: {}", path.display());
        let problem = Problem::new(at, message, "expected a path below it");
        problems.push(problem.with_hint("options.confine: true asks for that"));
    }
}

/// The names of the flows that a flow needs.
fn upstreams<'a>(place: &'a FlowPaths<'a>, stores: &StorePaths<'a>) -> Vec<&'a str> {
    let flow = place.flow;
    let mut names: Vec<&str> = flow
        .needs
        .iter()
        .map(FlowName::as_str)
        .chain(flow.upstream())
        .collect();
    if let Some((home, deep)) = place.home {
        // That a flow reads its own store is a problem of its own.
        let around = stores
            .enclosing(home)
            .filter(|other| other.flow.name != flow.name);
        names.extend(around.map(|other| other.flow.name.as_str()));
        if deep {
            names.extend(stores.below(home).map(|other| other.flow.name.as_str()));
        }
    }
    names
}

/// Reports a strongly connected group as the whole circle, once.
fn check_cycle(graph: &DiGraph<Arc<Flow>, ()>, cycle: &[NodeIndex], problems: &mut Problems) {
    let Some(first) = cycle.iter().copied().min() else {
        return;
    };
    if cycle.len() == 1 && !graph.contains_edge(first, first) {
        return;
    }
    let mut path = vec![first];
    let members: BTreeSet<_> = cycle.iter().copied().collect();
    // Every member has a way back to the first: the shortest one is shown.
    let next = graph
        .neighbors(first)
        .filter(|node| members.contains(node))
        .min();
    if let Some((_, way)) =
        next.and_then(|next| astar(graph, next, |node| node == first, |_| 1, |_| 0))
    {
        path.extend(way);
    }
    let names: Vec<&str> = path.iter().map(|node| graph[*node].name.as_str()).collect();
    let message = if cycle.len() == 1 {
        format!("flow {} needs itself", names[0])
    } else {
        format!("flows need each other in a circle: {}", names.join(" -> "))
    };
    let mut problem = Problem::new(graph[first].spans.name, message, "the circle begins here");
    for node in path.iter().skip(1).filter(|node| **node != first) {
        problem = problem.with_label(graph[*node].spans.name, "and comes by here");
    }
    problems.push(
        problem.with_hint("take one of the edges away: a needs:, or a home that lies in a store"),
    );
}
