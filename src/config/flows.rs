//! Flows as they are written become flows as they run: defaults, named homes and stores and
//! entities are put in.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::entities::{Entities, Entity, Origin, check_file_name, entities_of, join};
use super::listing::Listings;
use super::loader::Found;
use super::merge::{Aliases, flattened, mark_defaults, merge};
use super::named::{Named, Spare, without};
use super::node::{Key, Node, Value};
use super::problem::{Problem, Problems, Sources, Span, nearest};
use super::read::{Known, keys_of, read_known};
use super::schema::{EntityFields, FlowFields, SharedFields};
use super::words::Words;
use super::yaml::VALUES;
use super::{FlowBlock, Role};
use crate::error::escape;

/// Other names of a flow's keys.
pub const FLOW_ALIASES: &Aliases = &[("depends_on", "needs")];

/// Makes the flows of a config.
pub(super) struct Expander<'c> {
    sources: Sources,
    defaults: Node,
    homes: Named<'c>,
    stores: Named<'c>,
    listings: &'c Listings,
    /// Where keys belong that are written into a flow and are none of its own.
    belongs: &'c [(&'static str, &'static str)],
    /// Entities that have a file of their own, by flow.
    files: HashMap<&'c str, Vec<(&'c str, &'c Node)>>,
}

/// The flows of a config, and what of it no flow uses.
#[derive(Default)]
pub(super) struct Expanded {
    pub(super) flows: Vec<FlowBlock>,
    /// Flows that have no entity, and so are none.
    pub(super) without_entities: Vec<String>,
    /// Flows with entities that a pattern finds, and how many of a hundred may be gone that were
    /// published before.
    pub(super) max_lost: BTreeMap<String, u8>,
    pub(super) passed_over: Vec<(String, String)>,
    pub(super) spare: Vec<Spare>,
    pub(super) warnings: Vec<Problem>,
}

/// What one flow of the config became.
struct Part {
    flows: Vec<FlowBlock>,
    is_empty: bool,
    max_lost: Option<u8>,
    passed_over: Vec<String>,
    spare: Vec<Spare>,
    problems: Problems,
    warnings: Vec<Problem>,
}

impl<'c> Expander<'c> {
    /// Gets ready with what all flows share.
    pub(super) fn new(
        project: &'c Node,
        found: &'c Found,
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
                value: Value::Map(Vec::new()),
                at: project.at,
            },
            homes: Named::homes(project, problems),
            stores: Named::stores(project, problems),
            listings: &found.listings,
            belongs,
            files,
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
    ) -> Expanded {
        let written = take_twins(written, problems);
        if self.defaults.size() * written.len() > VALUES {
            let message = format!(
                "defaults of {} values for {} flows are more than a config may have",
                self.defaults.size(),
                written.len()
            );
            problems.push(
                Problem::new(self.defaults.at, message, "these")
                    .hint("give the long ones to the flows that need them"),
            );
            return Expanded::default();
        }
        let parts: Vec<Part> = written
            .par_iter()
            .map(|(key, node)| self.part(key, node))
            .collect();
        let mut expanded = Expanded::default();
        let mut names: HashMap<String, Span> = HashMap::new();
        for (part, (key, _)) in parts.into_iter().zip(&written) {
            problems.append(part.problems);
            expanded.warnings.extend(part.warnings);
            expanded.spare.extend(part.spare);
            if part.is_empty {
                expanded.without_entities.push(key.name.clone());
            }
            expanded
                .max_lost
                .extend(part.max_lost.map(|max_lost| (key.name.clone(), max_lost)));
            expanded.passed_over.extend(
                part.passed_over
                    .into_iter()
                    .map(|said| (key.name.clone(), said)),
            );
            for flow in part.flows {
                match names.insert(flow.name.clone(), flow.at) {
                    None => expanded.flows.push(flow),
                    Some(first) => problems.push(twins(&flow.name, flow.at, first)),
                }
            }
        }
        self.finish(&mut expanded, &names, problems);
        expanded
    }

    /// The flow, or the flows of its entities.
    fn part(&self, key: &Key, node: &Node) -> Part {
        let mut part = Part {
            flows: Vec::new(),
            is_empty: false,
            max_lost: None,
            passed_over: Vec::new(),
            spare: Vec::new(),
            problems: Problems::new(&self.sources),
            warnings: Vec::new(),
        };
        let problems = &mut part.problems;
        check_name("flow", &key.name, key.at, problems);
        let called = format!("flow {}", key.name);
        // A flow of which defaults say everything.
        let nothing = Node {
            value: Value::Map(Vec::new()),
            at: node.at,
        };
        let says_all = self.defaults.get("home").is_some() && self.defaults.get("store").is_some();
        let node = if node.value == Value::Null && says_all {
            &nothing
        } else {
            node
        };
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("{called} is {}", node.value.describe());
            let problem = Problem::new(
                node.at,
                message,
                "expected a map with the keys home and store",
            );
            let is_key = keys_of::<SharedFields>().contains(&key.name.as_str());
            problems.push(problem.hint(match is_key {
                true => format!(
                    "if {} belongs to the flow above it, indent it as far as the flow's other keys",
                    key.name
                ),
                false => format!(
                    "write:\n{}:\n  home: folder/to/read\n  store: folder/to/fill",
                    escape::line(&key.name)
                ),
            }));
            return part;
        }
        check_file_name("flow", &key.name, node, problems);
        let own = self.shared(node, &called, problems);
        let _: Option<FlowFields> = read_known(
            &own,
            &called,
            self.known(keys_of::<SharedFields>()),
            problems,
        );
        let mut base = self.defaults.clone();
        if let Some(defaults) = own.get("defaults") {
            base = merge_flow(
                base,
                &self.as_defaults(defaults, &format!("defaults of {called}"), problems),
            );
        }
        let base = without(merge_flow(base, &own), keys_of::<FlowFields>());
        let written = entities_of(node);
        let files = self.files.get(key.name.as_str());
        if written.is_none() && files.is_none() {
            part.flows
                .extend(self.block(key, None, &own, base, problems));
            return part;
        }
        let files = files.map(Vec::as_slice).unwrap_or_default();
        self.entities(
            key,
            &Origin {
                flow: &key.name,
                written,
                files,
                listings: self.listings,
            },
            &base,
            &mut part,
        );
        part
    }

    /// The flows of a flow's entities.
    fn entities(&self, key: &Key, origin: &Origin<'_>, base: &Node, part: &mut Part) {
        let called = format!("flow {}", key.name);
        let problems = &mut part.problems;
        let Entities {
            list: entities,
            may_be_none,
            max_lost,
            passed_over,
        } = origin.entities(problems, &mut part.warnings);
        (part.max_lost, part.passed_over) = (max_lost, passed_over);
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
                    .push(problem.hint("name some under entities, or take the flow out"));
            }
            part.is_empty = true;
            let _: Option<SharedFields> = read_known(base, &called, self.known(&[]), problems);
            part.spare.extend(spare_parts(base, &called));
        }
        if base.size() * entities.len() > VALUES {
            let message = format!(
                "{} values for {} entities are more than a config may have",
                base.size(),
                entities.len()
            );
            problems.push(
                Problem::new(key.at, message, "this flow")
                    .hint("give the long ones to the entities that need them"),
            );
            return;
        }
        for entity in entities {
            let called = format!("entity {} of {called}", entity.name);
            check_name("entity", &entity.name, entity.at, problems);
            let own = self.shared(&entity.block, &called, problems);
            let _: Option<EntityFields> = read_known(
                &own,
                &called,
                self.known(keys_of::<SharedFields>()),
                problems,
            );
            let own = without(own, keys_of::<EntityFields>());
            let mut block = merge_flow(base.clone(), &own);
            join(&mut block, &own, &entity);
            part.flows
                .extend(self.block(key, Some(entity), &own, block, problems));
        }
    }

    /// Flows that are named together become their names, and what is not used is said.
    fn finish(
        &self,
        expanded: &mut Expanded,
        names: &HashMap<String, Span>,
        problems: &mut Problems,
    ) {
        let mut together: Together = HashMap::new();
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
                Some(members) if edges + members.len() > VALUES => {
                    let message = format!(
                        "flow {} and others need {} flows by {name}, too many edges for a graph",
                        flow.name,
                        members.len()
                    );
                    let problem = Problem::new(at, message, "all entities of a flow");
                    problems.push(
                        problem.hint(format!("{name}.{{entity}} is the one of the same entity")),
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
                None => vec![(name, at)],
            };
            flow.needs = needs.flat_map(members).collect();
            choose_upstream(flow, &together, problems);
        }
        let doubtful = expanded
            .flows
            .iter()
            .flat_map(|flow| self.doubtful_paths(flow, names, &together));
        expanded.warnings.extend(doubtful);
        for (spare, warning) in self.homes.unused().into_iter().chain(self.stores.unused()) {
            expanded.spare.push(spare);
            expanded.warnings.push(warning);
        }
        expanded
            .spare
            .extend(spare_parts(&self.defaults, "defaults"));
    }

    fn known<'k>(&'k self, also: &'k [&'k str]) -> Known<'k> {
        Known {
            also,
            belongs: self.belongs,
        }
    }

    /// The flow as it runs.
    fn block(
        &self,
        flow: &Key,
        entity: Option<Entity>,
        own: &Node,
        mut block: Node,
        problems: &mut Problems,
    ) -> Option<FlowBlock> {
        let at = entity.as_ref().map_or(flow.at, |entity| entity.at);
        let entity = entity.map(|entity| entity.name);
        let name = entity.as_ref().map_or_else(
            || flow.name.clone(),
            |entity| format!("{}.{entity}", flow.name),
        );
        let stand_in = entity.as_deref().unwrap_or(&flow.name);
        block.each_text(&mut |text, _| {
            if text.contains('{') {
                *text = text
                    .replace("{entity}", stand_in)
                    .replace("{flow}", &name)
                    .replace("{flow_name}", &name);
            }
        });
        let called = format!("flow {name}");
        let fields = read_known::<SharedFields>(&block, &called, self.known(&[]), problems)?;
        let mut end = |key| self.end(key, &called, at, own, &block, problems);
        let (home, store) = (end("home"), end("store"));
        let places = |key: &str, words: Option<Words>| {
            let at = block.get(key).map(Node::texts).unwrap_or_default();
            words
                .unwrap_or_default()
                .0
                .into_iter()
                .zip(at.into_iter().map(|(_, at)| at))
                .collect()
        };
        Some(FlowBlock {
            flow: flow.name.clone(),
            entity,
            at,
            needs: places("needs", fields.needs),
            tags: fields.tags.unwrap_or_default().0,
            mode: fields.mode,
            on_changed: fields.on_changed,
            on_vanished: fields.on_vanished,
            on_repeated: fields.on_repeated,
            max_shrink: fields.max_shrink,
            timeout: fields.timeout,
            queue_size: fields.queue_size,
            retries: fields.retries,
            continue_on_error: fields.continue_on_error,
            home,
            store,
            name,
        })
    }

    /// The home or the store of a flow. That it is missing is said, unless it is there and was
    /// refused.
    fn end(
        &self,
        key: &'static str,
        called: &str,
        at: Span,
        own: &Node,
        block: &Node,
        problems: &mut Problems,
    ) -> Option<Node> {
        // Settings that only defaults say are no home and no store yet.
        let is_place =
            |key: &Key| !key.is_default || matches!(key.name.as_str(), "path" | "flow" | "table");
        let is_written = |node: &&Node| {
            node.entries().is_empty() || node.entries().iter().any(|(key, _)| is_place(key))
        };
        let found = block.get(key).filter(is_written);
        let Some(found) = found else {
            let is_mistyped = block.entries().iter().any(|(other, _)| {
                !keys_of::<SharedFields>().contains(&other.name.as_str())
                    && nearest(&other.name, std::iter::once(key)).is_some()
            });
            let place = own
                .entries()
                .iter()
                .find(|(other, _)| other.name == key)
                .map(|(key, _)| key.at);
            if !is_mistyped {
                let problem = match place {
                    Some(place) => Problem::new(
                        place,
                        format!("{key} of {called} is nothing"),
                        "expected a path behind it",
                    ),
                    None => Problem::new(
                        at,
                        format!("{called} has no {key}"),
                        format!("expected the key {key} here"),
                    ),
                };
                problems.push(problem.hint(if key == "home" {
                    "home: folder/to/read"
                } else {
                    "store: folder/to/fill"
                }));
            }
            return None;
        };
        // What is no map was reported where it is written.
        Some(found)
            .filter(|node| matches!(node.value, Value::Map(_)))
            .cloned()
    }

    /// A flow's or an entity's keys, with home and store as maps.
    fn shared(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = flattened(node, called, FLOW_ALIASES, problems);
        if let Value::Map(entries) = &mut node.value {
            for (key, value) in entries {
                let named = match key.name.as_str() {
                    "home" => &self.homes,
                    "store" => &self.stores,
                    _ => continue,
                };
                *value = named.block(value, &format!("{} of {called}", named.what), problems);
            }
        }
        node
    }

    fn as_defaults(&self, node: &Node, called: &str, problems: &mut Problems) -> Node {
        let mut node = self.shared(node, called, problems);
        let _: Option<SharedFields> = read_known(&node, called, self.known(&[]), problems);
        if let Value::Map(entries) = &mut node.value {
            let blocks = entries
                .iter_mut()
                .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"));
            blocks.for_each(|(_, block)| mark_defaults(block));
        }
        node
    }

    /// Texts that are taken for paths, and were most likely meant as names.
    fn doubtful_paths(
        &self,
        flow: &FlowBlock,
        names: &HashMap<String, Span>,
        together: &Together,
    ) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (named, part) in [(&self.homes, &flow.home), (&self.stores, &flow.store)] {
            let Some(path) = part.as_ref().and_then(|part| part.get("path")) else {
                continue;
            };
            let Some(text) = path.text() else { continue };
            let is_flow =
                named.what == "home" && (names.contains_key(text) || together.contains_key(text));
            let meant = match named.likely(text) {
                _ if is_flow => format!("home: {{flow: {text}}}"),
                Some(near) => format!("{}: {near}", named.what),
                None => continue,
            };
            let message = format!(
                "the {} of flow {} is the folder or file {text:?}",
                named.what, flow.name
            );
            let problem = Problem::new(path.at, message, "taken as a path");
            warnings.push(problem.hint(format!(
                "did you mean {meant}? ./{text} is a path without doubt"
            )));
        }
        warnings
    }
}

/// Keys that say where a home or a store is, and of which kind.
const PLACES: [&str; 6] = ["path", "flow", "type", "connection", "table", "query"];

/// [`merge`] for the keys of flows: a nearer home of another kind takes the place of the far one.
fn merge_flow(mut far: Node, near: &Node) -> Node {
    let kind = |block: &Node| {
        let is_table = || {
            ["connection", "table", "query"]
                .iter()
                .any(|key| block.get(key).is_some())
        };
        let marked = block
            .get("flow")
            .map(|_| "flow")
            .or_else(|| is_table().then_some("sql"));
        block
            .get("type")
            .and_then(Node::text)
            .or(marked)
            .map(str::to_string)
    };
    if let Value::Map(entries) = &mut far.value {
        for (key, block) in entries
            .iter_mut()
            .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"))
        {
            let Some(near) = near.get(&key.name) else {
                continue;
            };
            let is_other = match (kind(block), kind(near)) {
                (far, Some(near)) => {
                    far.as_deref() != Some(&near)
                        && (far.is_some() || near == "flow" || near == "sql")
                }
                (Some(far), None) => (far == "flow" || far == "sql") && near.get("path").is_some(),
                (None, None) => false,
            };
            if let (true, Value::Map(fields)) = (is_other, &mut block.value) {
                fields.retain(|(key, _)| key.is_default && !PLACES.contains(&key.name.as_str()));
            }
        }
    }
    merge(far, near)
}

/// The flows with entities: by entity the name of each.
type Together = HashMap<String, BTreeMap<String, String>>;

/// The home and the store of what is no flow.
fn spare_parts(block: &Node, called: &str) -> Vec<Spare> {
    let part = |what| {
        Some(Spare {
            what,
            called: format!("{what} of {called}"),
            block: block.get(what)?.clone(),
        })
    };
    ["home", "store"].into_iter().filter_map(part).collect()
}

/// The flows by name, once each: one in `hygge.yml` and one in a folder of its own are twins.
fn take_twins<'c>(
    written: &[(&'c Key, &'c Node)],
    problems: &mut Problems,
) -> Vec<(&'c Key, &'c Node)> {
    let mut first: HashMap<&str, Span> = HashMap::with_capacity(written.len());
    let mut kept = Vec::with_capacity(written.len());
    for (key, node) in written {
        match first.get(key.name.as_str()) {
            Some(before) => problems.push(twins(&key.name, key.at, *before)),
            None => {
                first.insert(&key.name, key.at);
                kept.push((*key, *node));
            }
        }
    }
    kept
}

fn twins(name: &str, at: Span, first: Span) -> Problem {
    let problem = Problem::new(at, format!("two flows are called {name}"), "this one")
        .also(first, "and this one");
    problem.hint("give one of them another name")
}

/// Names that can be typed, selected, and be part of a path.
fn check_name(what: &str, name: &str, at: Span, problems: &mut Problems) {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fits) {
        return;
    }
    let problem = Problem::new(
        at,
        format!("the {what} name {name:?} cannot be used"),
        "expected letters, digits, _, - and .",
    );
    problems.push(if name.starts_with(['.', '-']) {
        problem.hint("a name may not begin with . or -")
    } else {
        problem
    });
}

/// `flow: NAME` of a flow with entities means the one with this flow's entity.
fn choose_upstream(flow: &mut FlowBlock, together: &Together, problems: &mut Problems) {
    let Some(Value::Map(entries)) = flow.home.as_mut().map(|home| &mut home.value) else {
        return;
    };
    let Some((_, upstream)) = entries.iter_mut().find(|(key, _)| key.name == "flow") else {
        return;
    };
    let Some(members) = upstream.text().and_then(|name| together.get(name)) else {
        return;
    };
    if let Some(member) = flow.entity.as_ref().and_then(|entity| members.get(entity)) {
        upstream.value = Value::Text(member.clone());
        return;
    }
    let name = upstream.text().unwrap_or_default();
    let names: Vec<&str> = members.values().map(String::as_str).take(5).collect();
    let message = format!(
        "flow {} reads flow {name}, which is {} flows",
        flow.name,
        members.len()
    );
    let problem = Problem::new(upstream.at, message, "expected one flow");
    problems.push(problem.hint(format!("name one of them, such as {}", names.join(", "))));
    flow.home = None;
}
