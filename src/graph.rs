//! The graph: which flow must be built before which, and what a selection means.
//!
//! Edges come from flow homes, from `needs`, and from homes that lie in another flow's store.

pub mod selection;

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::home::Place;

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
        let edges = |graph: &Self| graph.graph.raw_edges().iter().map(|edge| (edge.source(), edge.target())).collect::<Vec<_>>();
        self.order == other.order && self.graph.node_weights().eq(other.graph.node_weights()) && edges(self) == edges(other)
    }
}

impl Eq for Graph {}

impl Graph {
    /// Makes the graph. Cycles and stores that overlap are problems that name the flows; they are
    /// given with those that were found before.
    pub fn new(flows: &[Arc<Flow>], real: &RealPaths, root: &Path, config: &Config, mut problems: Problems) -> Result<Self, Problems> {
        let stores = StorePaths::new(flows, real);
        let cache = &config.options.cache_folder;
        for flow in flows {
            check_overlaps(flow, &stores, real, &mut problems);
            check_cache(flow, cache, real, &mut problems);
        }
        if config.options.confine {
            let root = real.get(root).map_or(root, PathBuf::as_path);
            check_confined("the cache", resolved(cache, real), config.options.cache_at, root, &mut problems);
            for flow in flows {
                if let Place::Path { path, .. } = flow.home.place() {
                    check_confined(&format!("the home of flow {}", flow.name), resolved(path, real), flow.at.home, root, &mut problems);
                }
                let store = resolved(flow.store.path(), real);
                check_confined(&format!("the store of flow {}", flow.name), store, flow.at.store, root, &mut problems);
            }
        }
        let mut graph = DiGraph::new();
        let nodes: HashMap<FlowName, NodeIndex> = flows.iter().map(|flow| (flow.name.clone(), graph.add_node(flow.clone()))).collect();
        for flow in flows {
            for upstream in upstreams(flow, &stores, real) {
                if let (Some(from), Some(to)) = (nodes.get(upstream), nodes.get(&flow.name)) {
                    graph.update_edge(*from, *to, ());
                }
            }
        }
        for circle in kosaraju_scc(&graph) {
            check_cycle(&graph, &circle, &mut problems);
        }
        let order = toposort(&graph, None).unwrap_or_default();
        let order = order.into_iter().map(|node| graph[node].name.clone()).collect();
        problems.or(Self { graph, nodes, order })
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
        let Some(start) = self.nodes.get(name) else { return BTreeSet::new() };
        let reversed = Reversed(&self.graph);
        let mut search = Bfs::new(reversed, *start);
        std::iter::from_fn(|| search.next(reversed)).map(|node| self.graph[node].name.clone()).collect()
    }

    /// The flow with everything that depends on it.
    pub fn with_downstreams(&self, name: &str) -> BTreeSet<FlowName> {
        let Some(start) = self.nodes.get(name) else { return BTreeSet::new() };
        let mut search = Bfs::new(&self.graph, *start);
        std::iter::from_fn(|| search.next(&self.graph)).map(|node| self.graph[node].name.clone()).collect()
    }

    fn neighbours(&self, name: &str, direction: petgraph::Direction) -> Vec<FlowName> {
        let Some(node) = self.nodes.get(name) else { return Vec::new() };
        let mut names: Vec<_> = self.graph.neighbors_directed(*node, direction).map(|other| self.graph[other].name.clone()).collect();
        names.sort();
        names
    }
}

/// The real paths of all stores in the order of their bytes: what lies below a path stands together.
struct StorePaths<'a> {
    owners: BTreeMap<&'a [u8], Vec<&'a Arc<Flow>>>,
}

impl<'a> StorePaths<'a> {
    fn new(flows: &'a [Arc<Flow>], real: &'a RealPaths) -> Self {
        let mut owners: BTreeMap<&[u8], Vec<&Arc<Flow>>> = BTreeMap::new();
        for flow in flows {
            owners.entry(resolved(flow.store.path(), real).as_os_str().as_bytes()).or_default().push(flow);
        }
        Self { owners }
    }

    /// The flows whose store is the path or a folder above it, the nearest first; of each folder only the
    /// first two, since more than one is a problem.
    fn around(&self, path: &'a Path) -> impl Iterator<Item = &'a Arc<Flow>> {
        path.ancestors().filter_map(|above| self.owners.get(above.as_os_str().as_bytes())).flat_map(|flows| flows.iter().take(2)).copied()
    }

    /// The flows whose store lies below the path.
    fn below(&self, path: &Path) -> impl Iterator<Item = &'a Arc<Flow>> {
        // `join("")` puts one slash at the end.
        let folder = path.join("").into_os_string().into_vec();
        let from = (Bound::Included(folder.as_slice()), Bound::Unbounded);
        let below: Vec<_> = self.owners.range::<[u8], _>(from).take_while(|(store, _)| store.starts_with(&folder)).collect();
        below.into_iter().flat_map(|(_, flows)| flows.iter().copied())
    }
}

fn resolved<'a>(path: &'a Path, real: &'a RealPaths) -> &'a Path {
    real.get(path).map_or(path, PathBuf::as_path)
}

fn check_overlaps(flow: &Arc<Flow>, stores: &StorePaths<'_>, real: &RealPaths, problems: &mut Problems) {
    let store = resolved(flow.store.path(), real);
    // Each flow is reported once, beside one other: the first of its folder, or the nearest around it.
    if let Some(other) = stores.around(store).find(|other| other.name != flow.name) {
        let same = resolved(other.store.path(), real) == store;
        let how = if same { "are the same folder" } else { "lie in one another" };
        if !same || other.at.name < flow.at.name {
            let message = format!("the stores of flows {} and {} {how}: {}", other.name, flow.name, store.display());
            let problem = Problem::new(flow.at.store, message, "this flow's store").also(other.at.store, "and this one's");
            problems.push(problem.hint("give each flow a folder of its own"));
        }
    }
    let Place::Path { path, .. } = flow.home.place() else { return };
    let home = resolved(path, real);
    if home.starts_with(store) || store.starts_with(home) {
        let how = match (home == store, home.starts_with(store)) {
            (true, _) => "are the same folder",
            (_, true) => "lie in one another: its home is in its store",
            _ => "lie in one another: its store is in its home",
        };
        problems.push(
            Problem::new(flow.at.store, format!("home and store of flow {} {how}", flow.name), "it would read what it writes")
                .also(flow.at.home, "its home")
                .hint("choose a store beside the home"),
        );
    }
}

/// Cache, homes and stores keep out of each other's folders.
fn check_cache(flow: &Arc<Flow>, cache: &Path, real: &RealPaths, problems: &mut Problems) {
    let store = resolved(flow.store.path(), real);
    if store.starts_with(cache) || cache.starts_with(store) {
        problems.push(
            Problem::new(
                flow.at.store,
                format!("the store of flow {} and the cache lie in one another: {}", flow.name, cache.display()),
                "its store",
            )
            .hint("options.cache.dir names another folder for the cache"),
        );
    }
    if store.file_name().is_some_and(|name| name == ".hygge") {
        problems.push(
            Problem::new(flow.at.store, format!("the store of flow {} is called .hygge", flow.name), "its store")
                .hint("that is the name of the folder in which receipts lie: choose another"),
        );
    }
    let Place::Path { path, deep } = flow.home.place() else { return };
    let home = resolved(path, real);
    // What is hidden is not read.
    let shows =
        |below: &Path| !below.iter().any(|name| name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"_"));
    if home.starts_with(cache) || cache.strip_prefix(home).is_ok_and(|below| deep && shows(below)) {
        problems.push(
            Problem::new(flow.at.home, format!("flow {} would read the cache: {}", flow.name, cache.display()), "its home")
                .hint("options.cache.dir names another folder for the cache"),
        );
    }
}

/// With `confine`, everything stays in the folder of the config.
fn check_confined(what: &str, path: &Path, at: Span, root: &Path, problems: &mut Problems) {
    if !path.starts_with(root) {
        let message = format!("{what} leaves the folder of the config: {}", path.display());
        let problem = Problem::new(at, message, "expected a path below it");
        problems.push(problem.hint("options.confine: true asks for that"));
    }
}

/// The names of the flows that a flow needs.
fn upstreams<'a>(flow: &'a Arc<Flow>, stores: &StorePaths<'a>, real: &'a RealPaths) -> Vec<&'a str> {
    let mut names: Vec<&str> = flow.needs.iter().map(FlowName::as_str).collect();
    match flow.home.place() {
        Place::Flow(name) => names.push(name),
        Place::Path { path, deep } => {
            let home = resolved(path, real);
            // That a flow reads its own store is a problem of its own.
            names.extend(stores.around(home).map(|other| other.name.as_str()).filter(|name| *name != flow.name.as_str()));
            if deep {
                names.extend(stores.below(home).map(|other| other.name.as_str()));
            }
        }
    }
    names
}

/// Reports a strongly connected group as the whole circle, once.
fn check_cycle(graph: &DiGraph<Arc<Flow>, ()>, circle: &[NodeIndex], problems: &mut Problems) {
    let Some(first) = circle.iter().copied().min() else { return };
    if circle.len() == 1 && !graph.contains_edge(first, first) {
        return;
    }
    let mut path = vec![first];
    let members: BTreeSet<_> = circle.iter().copied().collect();
    // Every member has a way back to the first: the shortest one is shown.
    let next = graph.neighbors(first).filter(|node| members.contains(node)).min();
    if let Some((_, way)) = next.and_then(|next| astar(graph, next, |node| node == first, |_| 1, |_| 0)) {
        path.extend(way);
    }
    let names: Vec<&str> = path.iter().map(|node| graph[*node].name.as_str()).collect();
    let message = if circle.len() == 1 {
        format!("flow {} needs itself", names[0])
    } else {
        format!("flows need each other in a circle: {}", names.join(" -> "))
    };
    let mut problem = Problem::new(graph[first].at.name, message, "the circle begins here");
    for node in path.iter().skip(1).filter(|node| **node != first) {
        problem = problem.also(graph[*node].at.name, "and comes by here");
    }
    problems.push(problem.hint("take one of the edges away: a needs:, or a home that lies in a store"));
}
