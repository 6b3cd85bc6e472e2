//! Flows as they are written become flows as they run: defaults, named homes and stores and
//! entities are put in.

mod block;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::block_reader::{block_keys, read_block_with};
use super::entities::{EntityOrigin, FlowEntities, check_file_name, entities_node};
use super::entity_paths::join_entity;
use super::listing::Listings;
use super::loader::LoadedConfig;
use super::merge::KeyAliases;
use super::named_blocks::{NamedBlocks, UnusedBlock, without_keys};
use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems, SourceFiles, Span};
use super::schema::{EntityFields, FlowFields, SharedFields};
use super::table_entities::{leave_out_own_tables, table_name_problem, unlisted_flow};
use super::table_patterns::{TableListings, TableSource};
use super::yaml::MAX_VALUES;
use super::{FlowBlock, Role};
use crate::error::escape;

use block::{merge_flow, unused_home_and_store};

/// Other names of a flow's keys.
pub const FLOW_ALIASES: &KeyAliases = &[("depends_on", "needs")];

/// Makes the flows of a config.
pub(super) struct Expander<'c> {
    sources: SourceFiles,
    defaults: Node,
    homes: NamedBlocks<'c>,
    stores: NamedBlocks<'c>,
    listings: &'c Listings,
    table_listings: &'c TableListings,
    /// Where keys belong that are written into a flow and are none of its own.
    key_locations: &'c [(&'static str, &'static str)],
    /// Entities that have a file of their own, by flow.
    entity_files: HashMap<&'c str, Vec<(&'c str, &'c Node)>>,
}

/// The flows of a config, and what of it no flow uses.
#[derive(Default)]
pub(super) struct ExpandedFlows {
    pub(super) flows: Vec<FlowBlock>,
    /// Flows that have no entity, and so are none.
    pub(super) without_entities: Vec<String>,
    /// Flows with entities that a pattern finds, and how many of a hundred may be gone that were
    /// published before.
    pub(super) max_lost: BTreeMap<String, u8>,
    pub(super) near_misses: Vec<(String, String)>,
    pub(super) table_sources: BTreeSet<TableSource>,
    /// Flows with entities that are tables, of which it is not known which there are, and why.
    pub(super) unlisted: BTreeMap<String, String>,
    pub(super) unused_blocks: Vec<UnusedBlock>,
    pub(super) warnings: Vec<Problem>,
}

/// What one flow of the config became.
struct FlowExpansion {
    flows: Vec<FlowBlock>,
    is_empty: bool,
    max_lost: Option<u8>,
    near_misses: Vec<String>,
    table_sources: Vec<TableSource>,
    unlisted: Option<String>,
    unused_blocks: Vec<UnusedBlock>,
    problems: Problems,
    warnings: Vec<Problem>,
}

impl<'c> Expander<'c> {
    /// Gets ready with what all flows share.
    pub(super) fn new(
        project: &'c Node,
        found: &'c LoadedConfig,
        belongs: &'c [(&'static str, &'static str)],
        problems: &mut Problems,
    ) -> Self {
        let mut files: HashMap<&str, Vec<_>> = HashMap::new();
        for document in &found.documents {
            if let Role::Entity(flow, name) = &document.role {
                files
                    .entry(flow)
                    .or_default()
                    .push((name.as_str(), &document.tree));
            }
        }
        let mut expander = Self {
            sources: found.sources.clone(),
            defaults: Node {
                value: NodeValue::Map(Vec::new()),
                at: project.at,
            },
            homes: NamedBlocks::from_homes(project, problems),
            stores: NamedBlocks::from_stores(project, problems),
            listings: &found.listings,
            table_listings: &found.table_listings,
            key_locations: belongs,
            entity_files: files,
        };
        if let Some(defaults) = project.get("defaults") {
            expander.defaults = expander.as_defaults(defaults, "defaults", problems);
        }
        expander
    }

    /// Makes the flows. Each is made by itself, all processors at once; then they are put together.
    pub(super) fn expand(
        self,
        written: &[(&'c Key, &'c Node)],
        problems: &mut Problems,
    ) -> ExpandedFlows {
        let written = remove_duplicates(written, problems);
        if self.defaults.value_count() * written.len() > MAX_VALUES {
            let message = format!(
                "defaults of {} values for {} flows are more than a config may have",
                self.defaults.value_count(),
                written.len()
            );
            problems.push(
                Problem::new(self.defaults.at, message, "these")
                    .with_hint("give the long ones to the flows that need them"),
            );
            return ExpandedFlows::default();
        }
        let parts: Vec<FlowExpansion> = written
            .par_iter()
            .map(|(key, node)| self.expand_flow(key, node))
            .collect();
        let mut expanded = ExpandedFlows::default();
        let mut names: HashMap<String, Span> = HashMap::new();
        for (part, (key, _)) in parts.into_iter().zip(&written) {
            problems.append(part.problems);
            expanded.warnings.extend(part.warnings);
            expanded.unused_blocks.extend(part.unused_blocks);
            expanded.table_sources.extend(part.table_sources);
            expanded
                .unlisted
                .extend(part.unlisted.map(|reason| (key.name.clone(), reason)));
            if part.is_empty {
                expanded.without_entities.push(key.name.clone());
            }
            expanded
                .max_lost
                .extend(part.max_lost.map(|max_lost| (key.name.clone(), max_lost)));
            expanded.near_misses.extend(
                part.near_misses
                    .into_iter()
                    .map(|said| (key.name.clone(), said)),
            );
            for flow in part.flows {
                match names.insert(flow.name.clone(), flow.at) {
                    None => expanded.flows.push(flow),
                    Some(first) => problems.push(duplicate_flow(&flow.name, flow.at, first)),
                }
            }
        }
        self.resolve_references(&mut expanded, &names, problems);
        expanded
    }

    /// The flow, or the flows of its entities.
    fn expand_flow(&self, key: &Key, node: &Node) -> FlowExpansion {
        let mut part = FlowExpansion {
            flows: Vec::new(),
            is_empty: false,
            max_lost: None,
            near_misses: Vec::new(),
            table_sources: Vec::new(),
            unlisted: None,
            unused_blocks: Vec::new(),
            problems: Problems::new(&self.sources),
            warnings: Vec::new(),
        };
        let problems = &mut part.problems;
        check_name("flow", &key.name, key.at, problems);
        let called = format!("flow {}", key.name);
        // Defaults may say everything of a flow.
        let empty = Node {
            value: NodeValue::Map(Vec::new()),
            at: node.at,
        };
        let says_all = self.defaults.get("home").is_some() && self.defaults.get("store").is_some();
        let node = if node.value == NodeValue::Null && says_all {
            &empty
        } else {
            node
        };
        if !matches!(node.value, NodeValue::Map(_)) {
            problems.push(no_flow_problem(&key.name, node));
            return part;
        }
        check_file_name("flow", &key.name, node, problems);
        let own = self.normalize(node, &called, problems);
        let _: Option<FlowFields> = read_block_with(
            &own,
            &called,
            self.known_keys(block_keys::<SharedFields>()),
            problems,
        );
        let mut base = self.defaults.clone();
        if let Some(defaults) = own.get("defaults") {
            base = merge_flow(
                base,
                &self.as_defaults(defaults, &format!("defaults of {called}"), problems),
            );
        }
        let base = without_keys(merge_flow(base, &own), block_keys::<FlowFields>());
        let written = entities_node(node);
        let files = self.entity_files.get(key.name.as_str());
        if written.is_none() && files.is_none() {
            part.flows
                .extend(self.flow_block(key, None, &own, base, problems));
            return part;
        }
        let files = files.map(Vec::as_slice).unwrap_or_default();
        // What is wrong with it is said of each entity.
        let home = base.get("home");
        let home = home.map(|home| {
            self.homes
                .resolve_block(home, &called, &mut Problems::new(&self.sources))
        });
        self.expand_entities(
            key,
            &EntityOrigin {
                flow: &key.name,
                written,
                files,
                listings: self.listings,
                home: home.as_ref(),
                table_listings: self.table_listings,
            },
            &base,
            &mut part,
        );
        part
    }

    /// The flows of a flow's entities.
    fn expand_entities(
        &self,
        key: &Key,
        origin: &EntityOrigin<'_>,
        base: &Node,
        part: &mut FlowExpansion,
    ) {
        let called = format!("flow {}", key.name);
        let problems = &mut part.problems;
        let FlowEntities {
            list: entities,
            may_be_empty: may_be_none,
            max_lost,
            near_misses: passed_over,
            table_sources,
            unlisted,
            found_tables,
        } = origin.collect_entities(problems, &mut part.warnings);
        (part.max_lost, part.near_misses) = (max_lost, passed_over);
        let is_asked_for = |source: &TableSource| !self.table_listings.contains_key(source);
        let waits = entities.is_empty() && table_sources.iter().any(is_asked_for);
        (part.table_sources, part.unlisted) = (table_sources, unlisted);
        if waits {
            part.is_empty = true;
            return;
        }
        if entities.is_empty() {
            // One whose pattern may not find nothing is a problem already.
            if may_be_none {
                part.warnings.push(Problem::new(
                    key.at,
                    format!("nothing matches: {called} has no entities for now"),
                    "this flow",
                ));
            } else if max_lost.is_none() {
                let problem = Problem::new(
                    key.at,
                    format!("{called} has no entities: nothing can select it"),
                    "this flow",
                );
                part.warnings
                    .push(problem.with_hint("name some under entities, or take the flow out"));
            }
            part.is_empty = true;
            let _: Option<SharedFields> =
                read_block_with(base, &called, self.known_keys(&[]), problems);
            part.unused_blocks
                .extend(unused_home_and_store(base, &called));
        }
        if base.value_count() * entities.len() > MAX_VALUES {
            let message = format!(
                "{} values for {} entities are more than a config may have",
                base.value_count(),
                entities.len()
            );
            problems.push(
                Problem::new(key.at, message, "this flow")
                    .with_hint("give the long ones to the entities that need them"),
            );
            return;
        }
        for entity in entities {
            if found_tables.contains(&entity.name) && !is_name(&entity.name) {
                problems.push(table_name_problem(&entity.name, entity.at));
                continue;
            }
            let called = format!("entity {} of {called}", entity.name);
            check_name("entity", &entity.name, entity.at, problems);
            let own = self.normalize(&entity.block, &called, problems);
            let _: Option<EntityFields> = read_block_with(
                &own,
                &called,
                self.known_keys(block_keys::<SharedFields>()),
                problems,
            );
            let own = without_keys(own, block_keys::<EntityFields>());
            let mut block = merge_flow(base.clone(), &own);
            join_entity(&mut block, &own, &entity);
            part.flows
                .extend(self.flow_block(key, Some(entity), &own, block, problems));
        }
        leave_out_own_tables(&mut part.flows, &found_tables, problems, &mut part.warnings);
    }

    /// Flows that are named together become their names, and what is not used is said.
    fn resolve_references(
        &self,
        expanded: &mut ExpandedFlows,
        names: &HashMap<String, Span>,
        problems: &mut Problems,
    ) {
        let mut together: FlowsByEntity = HashMap::new();
        for flow in &expanded.flows {
            if let Some(entity) = &flow.entity {
                together
                    .entry(flow.flow.clone())
                    .or_default()
                    .insert(entity.clone(), flow.name.clone());
            }
        }
        // What a pattern may not find is no missing flow: that it finds nothing is said elsewhere,
        // or allowed.
        let found_none: HashSet<&String> = expanded
            .without_entities
            .iter()
            .filter(|name| expanded.max_lost.contains_key(*name))
            .collect();
        let mut edges = 0;
        for flow in &mut expanded.flows {
            let needs = std::mem::take(&mut flow.needs).into_iter();
            let members = |(name, at): (String, Span)| match together.get(&name) {
                Some(members) if edges + members.len() > MAX_VALUES => {
                    let message = format!(
                        "flow {} and others need {} flows by {name}, too many edges for a graph",
                        flow.name,
                        members.len()
                    );
                    let problem = Problem::new(at, message, "all entities of a flow");
                    problems.push(
                        problem
                            .with_hint(format!("{name}.{{entity}} is the one of the same entity")),
                    );
                    Vec::new()
                }
                Some(members) => {
                    edges += members.len();
                    members
                        .values()
                        .map(|member| (member.clone(), at))
                        .collect()
                }
                None if found_none.contains(&name) => Vec::new(),
                None if !names.contains_key(&name) => {
                    let name = unlisted_flow(&expanded.unlisted, &name).unwrap_or(name);
                    vec![(name, at)]
                }
                None => vec![(name, at)],
            };
            flow.needs = needs.flat_map(members).collect();
            resolve_upstream(flow, &together, names, &expanded.unlisted, problems);
        }
        let doubtful = expanded
            .flows
            .iter()
            .flat_map(|flow| self.ambiguous_paths(flow, names, &together));
        expanded.warnings.extend(doubtful);
        for (spare, warning) in self.homes.unused().into_iter().chain(self.stores.unused()) {
            expanded.unused_blocks.push(spare);
            expanded.warnings.push(warning);
        }
        expanded
            .unused_blocks
            .extend(unused_home_and_store(&self.defaults, "defaults"));
    }

    /// Texts that are taken for paths, and were most likely meant as names.
    fn ambiguous_paths(
        &self,
        flow: &FlowBlock,
        names: &HashMap<String, Span>,
        together: &FlowsByEntity,
    ) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (named, part) in [(&self.homes, &flow.home), (&self.stores, &flow.store)] {
            let Some(path) = part.as_ref().and_then(|part| part.get("path")) else {
                continue;
            };
            let Some(text) = path.text() else { continue };
            let is_flow =
                named.kind == "home" && (names.contains_key(text) || together.contains_key(text));
            let meant = match named.suggest_name(text) {
                _ if is_flow => format!("home: {{flow: {text}}}"),
                Some(near) => format!("{}: {near}", named.kind),
                None => continue,
            };
            let message = format!(
                "the {} of flow {} is the folder or file {text:?}",
                named.kind, flow.name
            );
            let problem = Problem::new(path.at, message, "taken as a path");
            warnings.push(problem.with_hint(format!(
                "did you mean {meant}? ./{text} is a path without doubt"
            )));
        }
        warnings
    }
}

/// The flows with entities: by entity the name of each.
type FlowsByEntity = HashMap<String, BTreeMap<String, String>>;

/// The flows by name, once each: one in `hygge.yml` and one in a folder of its own are twins.
fn remove_duplicates<'c>(
    written: &[(&'c Key, &'c Node)],
    problems: &mut Problems,
) -> Vec<(&'c Key, &'c Node)> {
    let mut first: HashMap<&str, Span> = HashMap::with_capacity(written.len());
    let mut kept = Vec::with_capacity(written.len());
    for (key, node) in written {
        match first.get(key.name.as_str()) {
            Some(before) => problems.push(duplicate_flow(&key.name, key.at, *before)),
            None => {
                first.insert(&key.name, key.at);
                kept.push((*key, *node));
            }
        }
    }
    kept
}

fn no_flow_problem(name: &str, node: &Node) -> Problem {
    let problem = Problem::new(
        node.at,
        format!("flow {name} is {}", node.value.describe()),
        "expected a map with the keys home and store",
    );
    let is_key = block_keys::<SharedFields>().contains(&name);
    problem.with_hint(if is_key {
        format!("if {name} belongs to the flow above it, indent it as far as the flow's other keys")
    } else {
        format!(
            "write:\n{}:\n  home: folder/to/read\n  store: folder/to/fill",
            escape::line(name)
        )
    })
}

fn duplicate_flow(name: &str, at: Span, first: Span) -> Problem {
    let problem = Problem::new(at, format!("two flows are called {name}"), "this one")
        .with_label(first, "and this one");
    problem.with_hint("give one of them another name")
}

/// Names that can be typed, selected, and be part of a path.
fn check_name(what: &str, name: &str, at: Span, problems: &mut Problems) {
    if is_name(name) {
        return;
    }
    let problem = Problem::new(
        at,
        format!("the {what} name {name:?} cannot be used"),
        "expected letters, digits, _, - and .",
    );
    problems.push(if name.starts_with(['.', '-']) {
        problem.with_hint("a name may not begin with . or -")
    } else {
        problem
    });
}

fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fits)
}

/// `flow: NAME` of a flow with entities means the one with this flow's entity.
fn resolve_upstream(
    flow: &mut FlowBlock,
    together: &FlowsByEntity,
    names: &HashMap<String, Span>,
    unlisted: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let Some(NodeValue::Map(entries)) = flow.home.as_mut().map(|home| &mut home.value) else {
        return;
    };
    let Some((_, upstream)) = entries.iter_mut().find(|(key, _)| key.name == "flow") else {
        return;
    };
    let name = upstream.text().unwrap_or_default();
    let members = together.get(name);
    let same = flow
        .entity
        .as_ref()
        .zip(members)
        .and_then(|(entity, members)| members.get(entity));
    let stand_in =
        || unlisted_flow(unlisted, name).filter(|_| members.is_some() || !names.contains_key(name));
    if let Some(member) = same.cloned().or_else(stand_in) {
        upstream.value = NodeValue::Text(member);
        return;
    }
    let Some(members) = members else {
        return;
    };
    let names: Vec<&str> = members.values().map(String::as_str).take(5).collect();
    let message = format!(
        "flow {} reads flow {name}, which is {} flows",
        flow.name,
        members.len()
    );
    let problem = Problem::new(upstream.at, message, "expected one flow");
    problems.push(problem.with_hint(format!("name one of them, such as {}", names.join(", "))));
    flow.home = None;
}
