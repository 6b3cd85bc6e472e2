//! The graph: which flow must be built before which, and what a selection means.
//!
//! Edges come from flow homes, from `needs`, and from homes that lie in another flow's store.

mod overlaps;
pub mod selection;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use petgraph::algo::{astar, kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Bfs, Reversed};

use crate::config::Config;
use crate::config::problem::{Problem, Problems};
use crate::flow::{Flow, FlowName};
use crate::store::{StoreId, StoreLocation};

use overlaps::{
    FlowPaths, StorePaths, check_cache_overlap, check_confined, check_overlaps,
    check_shared_tables, lookup_real_path,
};

pub use overlaps::RealPaths;

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

/// What tells a flow's store from every other.
pub fn store_id(flow: &Flow, real: &RealPaths) -> StoreId {
    match flow.store.location() {
        StoreLocation::Folder(path) => StoreId::Folder(lookup_real_path(path, real).to_path_buf()),
        StoreLocation::Table(table) => StoreId::Table(table.id.clone()),
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
