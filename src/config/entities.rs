//! Entities: what makes one flow of the config several that run.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::block_reader::{block_keys, read_block};
use super::listing::{Listings, PatternMatches};
use super::named_blocks::path_block;
use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems, Span, closest_match};
use super::schema::{EntityFields, IfEmpty, PatternFields, SharedFields};
use super::{Document, Role};
use crate::error::join_limited;

/// Every `from` of a config with its place: the patterns that are to be listed.
pub fn patterns(documents: &[Document]) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let mut look = |flow: &Node| {
        for from in entities_node(flow)
            .into_iter()
            .flat_map(entity_items)
            .filter_map(|item| item.get("from"))
        {
            found.extend(from.text().map(|text| (text.to_string(), from.at)));
        }
    };
    for document in documents {
        match &document.role {
            Role::Project => document
                .tree
                .get("flows")
                .into_iter()
                .flat_map(Node::entries)
                .for_each(|(_, flow)| look(flow)),
            Role::Flow(_) => look(&document.tree),
            Role::Entity(..) => {}
        }
    }
    found
}

/// The entities of a flow, as they are written.
pub(super) fn entities_node(flow: &Node) -> Option<&Node> {
    flow.get("entities")
        .or_else(|| flow.get("options")?.get("entities"))
}

/// The items of `entities`, which may be one pattern.
fn entity_items(entities: &Node) -> &[Node] {
    match &entities.value {
        NodeValue::List(items) => items,
        NodeValue::Map(_) => std::slice::from_ref(entities),
        _ => &[],
    }
}

/// An entity as it is written.
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) at: Span,
    /// Its own keys.
    pub(super) block: Node,
    /// The path that a pattern found.
    found_path: Option<(String, Span)>,
}

/// The entities of a flow, and what is said of the patterns among them.
#[derive(Default)]
pub(super) struct FlowEntities {
    pub(super) list: Vec<Entity>,
    /// Whether the flow may have none: each of its patterns says so.
    pub(super) may_be_empty: bool,
    /// How many of a hundred may be gone that were published before; `None` where no pattern finds
    /// any.
    pub(super) max_lost: Option<u8>,
    /// What its patterns pass over, in words.
    pub(super) near_misses: Vec<String>,
}

/// Where the entities of a flow come from.
pub(super) struct EntityOrigin<'c> {
    /// The flow.
    pub(super) flow: &'c str,
    /// What `entities` says.
    pub(super) written: Option<&'c Node>,
    /// The files of entities, with their names.
    pub(super) files: &'c [(&'c str, &'c Node)],
    /// What patterns found.
    pub(super) listings: &'c Listings,
}

impl EntityOrigin<'_> {
    /// The entities: those of files, those that are written, and what patterns found besides them.
    pub(super) fn collect_entities(
        &self,
        problems: &mut Problems,
        warnings: &mut Vec<Problem>,
    ) -> FlowEntities {
        let mut named = self.entities_with_file(problems);
        let (mut found, mut near_misses) = (Vec::new(), Vec::new());
        let mut patterns: Vec<PatternFields> = Vec::new();
        if let Some(written) = self.written
            && !matches!(written.value, NodeValue::List(_) | NodeValue::Map(_))
        {
            problems.push(no_entities_problem(self.flow, written));
        }
        for item in self.written.into_iter().flat_map(entity_items) {
            match (
                &item.value,
                item.get("name").and_then(Node::text),
                item.get("from"),
            ) {
                (NodeValue::Text(name), ..) => named.push(Entity {
                    name: name.clone(),
                    at: item.at,
                    block: empty_map(item.at),
                    found_path: None,
                }),
                (NodeValue::Map(_), None, Some(_)) => patterns.extend(self.match_pattern(
                    item,
                    (&mut found, &mut near_misses),
                    problems,
                    warnings,
                )),
                (NodeValue::Map(_), Some(name), _) => {
                    named.push(Entity {
                        name: name.to_string(),
                        at: item.span_of("name"),
                        block: item.clone(),
                        found_path: None,
                    });
                }
                _ => self.report_invalid(item, problems),
            }
        }
        let may_be_empty = !patterns.is_empty()
            && patterns
                .iter()
                .all(|pattern| pattern.if_empty == Some(IfEmpty::Skip));
        // What may find nothing, and does, misses nothing.
        let max_lost = if may_be_empty && found.is_empty() {
            Some(100)
        } else {
            least_max_lost(&patterns)
        };
        // An entity that is written out goes before the same one of a pattern, and keeps its path.
        for entity in found {
            match named.iter_mut().find(|other| other.name == entity.name) {
                Some(written) => written.found_path = entity.found_path,
                None => named.push(entity),
            }
        }
        FlowEntities {
            list: named,
            may_be_empty,
            max_lost,
            near_misses,
        }
    }

    /// The entities that have a file of their own.
    fn entities_with_file(&self, problems: &mut Problems) -> Vec<Entity> {
        let mut named = Vec::new();
        for (name, tree) in self.files {
            check_file_name("entity", name, tree, problems);
            named.push(Entity {
                name: (*name).to_string(),
                at: file_start(tree),
                block: (*tree).clone(),
                found_path: None,
            });
        }
        named
    }

    fn report_invalid(&self, item: &Node, problems: &mut Problems) {
        let called = format!("an entity of flow {}", self.flow);
        let before = problems.count();
        if matches!(item.value, NodeValue::Map(_)) {
            let also = [block_keys::<SharedFields>(), block_keys::<PatternFields>()].concat();
            let _: Option<EntityFields> = read_block(item, &called, &also, problems);
        }
        let is_mistyped =
            |key: &Key| closest_match(&key.name, ["name", "from"].into_iter()).is_some();
        if problems.count() == before || !item.entries().iter().any(|(key, _)| is_mistyped(key)) {
            let (what, expected) = match &item.value {
                NodeValue::Map(_) => ("has no name".to_string(), "expected the key name, or from"),
                other => (
                    format!("is {}", other.describe()),
                    "expected a name, a map with name, or a map with from",
                ),
            };
            problems.push(
                Problem::new(item.at, format!("{called} {what}"), expected).with_hint(EXAMPLE),
            );
        }
    }

    /// The entities that a pattern found; gives what it says.
    fn match_pattern(
        &self,
        item: &Node,
        (found, passed_over): (&mut Vec<Entity>, &mut Vec<String>),
        problems: &mut Problems,
        warnings: &mut Vec<Problem>,
    ) -> Option<PatternFields> {
        let called = format!("entities of flow {}", self.flow);
        let fields: PatternFields = read_block(item, &called, &[], problems)?;
        let from = &fields.from.as_ref()?.0;
        let at = item.span_of("from");
        // A pattern that cannot be listed is a problem already.
        let Some(PatternMatches {
            entities: matches,
            near_misses: others,
        }) = self.listings.get(from)
        else {
            return Some(fields);
        };
        let mut is_any_left = false;
        let mut excluded = exclude_globs(item.get("exclude"), problems);
        for (name, path) in matches {
            let file = path.rsplit('/').next().unwrap_or(path);
            let mut is_out = false;
            for glob in excluded
                .iter_mut()
                .filter(|glob| glob.matcher.is_match(name) || glob.matcher.is_match(file))
            {
                (is_out, glob.is_used) = (true, true);
            }
            if is_out {
                continue;
            }
            is_any_left = true;
            if let Some((other, _)) = found
                .iter()
                .find(|other| other.name == *name)
                .and_then(|other| other.found_path.as_ref())
            {
                let problem = Problem::new(
                    at,
                    format!("{other} and {path} are both the entity {name}"),
                    "this pattern finds both",
                );
                problems.push(problem.with_hint("leave one of them out by exclude"));
                continue;
            }
            found.push(Entity {
                name: name.clone(),
                at,
                block: empty_map(at),
                found_path: Some((path.clone(), at)),
            });
        }
        let mut others = others.clone();
        others.retain(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let stem = Path::new(file).file_stem().unwrap_or_default();
            let mut is_out = false;
            for glob in excluded
                .iter_mut()
                .filter(|glob| glob.matcher.is_match(file) || glob.matcher.is_match(stem))
            {
                (is_out, glob.is_used) = (true, true);
            }
            !is_out
        });
        passed_over.extend(near_miss_message(&others, from));
        for ExcludeGlob { text, at, .. } in excluded.iter().filter(|glob| !glob.is_used) {
            let message = format!("exclude {text:?} of flow {} leaves nothing out", self.flow);
            warnings.push(Problem::new(*at, message, "no entity is called so"));
        }
        if !is_any_left && fields.if_empty != Some(IfEmpty::Skip) {
            problems.push(no_match_problem(self.flow, from, matches.len(), at));
        }
        Some(fields)
    }
}

fn no_entities_problem(flow: &str, written: &Node) -> Problem {
    let problem = Problem::new(
        written.at,
        format!("entities of flow {flow} is {}", written.value.describe()),
        "expected a list of names, or a map with from",
    );
    problem.with_hint(EXAMPLE)
}

/// What the strictest of the patterns allows.
fn least_max_lost(patterns: &[PatternFields]) -> Option<u8> {
    let allowed = |pattern: &PatternFields| {
        pattern
            .max_lost
            .map_or(DEFAULT_MAX_LOST, |percentage| percentage.0)
    };
    patterns.iter().map(allowed).min()
}

/// How many names are shown.
const MAX_SHOWN: usize = 3;

fn near_miss_message(others: &[String], pattern: &str) -> Option<String> {
    let names = join_limited(others, MAX_SHOWN);
    let (verb, them) = if others.len() == 1 {
        ("is", "it")
    } else {
        ("are", "them")
    };
    (!others.is_empty()).then(|| {
        format!(
            "no entity {verb} {names}: {pattern} does not match {them}, and large letters are \
             other letters"
        )
    })
}

/// A pattern that finds no entity: most likely it is mistyped, or a folder is not mounted.
fn no_match_problem(flow: &str, pattern: &str, excluded: usize, at: Span) -> Problem {
    let problem = match excluded {
        0 => Problem::new(
            at,
            format!("nothing matches {pattern:?}, and flow {flow} has no entity by it"),
            "expected folders or files",
        ),
        1 => Problem::new(
            at,
            format!(
                "exclude leaves out the one that {pattern:?} matches, and flow {flow} has no \
                 entity by it"
            ),
            "expected an entity",
        ),
        all => Problem::new(
            at,
            format!(
                "exclude leaves out all {all} that {pattern:?} matches, and flow {flow} has no \
                 entity by it"
            ),
            "expected an entity",
        ),
    };
    problem.with_hint(
        "paths are relative to the folder of hygge.yml; if_empty: skip beside from allows that \
         there is none",
    )
}

/// How many of a hundred entities may be gone where nothing is said.
const DEFAULT_MAX_LOST: u8 = 50;

const EXAMPLE: &str =
    "entities: [users, {name: orders, store: other/folder}], or entities: {from: \"data/home/*\"}";

/// A glob of names that are no entities.
struct ExcludeGlob {
    matcher: GlobMatcher,
    text: String,
    at: Span,
    is_used: bool,
}

fn exclude_globs(exclude: Option<&Node>, problems: &mut Problems) -> Vec<ExcludeGlob> {
    let mut globs = Vec::new();
    for (text, at) in exclude.map(Node::texts).unwrap_or_default() {
        match GlobBuilder::new(text).build() {
            Ok(glob) => globs.push(ExcludeGlob {
                matcher: glob.compile_matcher(),
                text: text.to_string(),
                at,
                is_used: false,
            }),
            Err(error) => {
                let message = format!("exclude {text:?} cannot be used: {}", error.kind());
                problems.push(Problem::new(
                    at,
                    message,
                    "expected a glob such as \"tmp*\"",
                ));
            }
        }
    }
    globs
}

fn empty_map(at: Span) -> Node {
    Node {
        value: NodeValue::Map(Vec::new()),
        at,
    }
}

/// Where a file begins.
pub(super) fn file_start(tree: &Node) -> Span {
    Span {
        offset: 0,
        length: 1,
        line: 1,
        column: 1,
        ..tree.at
    }
}

/// A file that repeats the name it has must repeat it as it is.
pub(super) fn check_file_name(what: &str, name: &str, tree: &Node, problems: &mut Problems) {
    if let Some(written) = tree.get("name")
        && written.text() != Some(name)
    {
        let message = format!("the {what} {name} is called {}", written.value.describe());
        let problem = Problem::new(written.at, message, format!("expected {name}"));
        problems
            .push(problem.with_hint("its name is that of its key, file or folder: take name out"));
    }
}

/// Joins an entity to the paths that it did not write itself, unless a placeholder keeps them
/// apart.
pub(super) fn join_entity(block: &mut Node, own: &Node, entity: &Entity) {
    let NodeValue::Map(entries) = &mut block.value else {
        return;
    };
    for (key, part) in entries
        .iter_mut()
        .filter(|(key, _)| matches!(key.name.as_str(), "home" | "store"))
    {
        if own
            .get(&key.name)
            .is_some_and(|own| own.get("path").is_some())
        {
            continue;
        }
        let found = entity.found_path.as_ref().filter(|_| key.name == "home");
        let path = part.get("path").and_then(Node::text).unwrap_or_default();
        let mut is_apart = path.contains("{flow") || path.contains("{entity}");
        if key.name == "home" {
            // A glob may choose an entity's files out of one folder.
            part.for_each_text(&mut |text, _| is_apart |= text.contains("{entity}"));
        }
        if part.get("connection").is_some() && entity.found_path.is_none() {
            join_table(part, &own_keys(own, &key.name), is_apart, entity);
            continue;
        }
        let NodeValue::Map(fields) = &mut part.value else {
            continue;
        };
        let path = fields
            .iter_mut()
            .find(|(key, _)| key.name == "path")
            .map(|(_, path)| path);
        match (found, path) {
            (Some((found, at)), Some(path)) => {
                *path = Node {
                    value: NodeValue::Text(found.clone()),
                    at: *at,
                }
            }
            (Some((found, at)), None) => fields.push(path_entry(found, *at)),
            (
                None,
                Some(Node {
                    value: NodeValue::Text(path),
                    ..
                }),
            ) if !is_apart => {
                *path = format!("{}/{}", path.trim_end_matches('/'), entity.name);
            }
            (None, _) => {}
        }
    }
    // What a pattern found is a home by itself.
    if let Some((found, at)) = &entity.found_path
        && !entries.iter().any(|(key, _)| key.name == "home")
    {
        let (key, path) = path_entry(found, *at);
        entries.push((
            Key {
                name: "home".into(),
                ..key
            },
            path_block(&path),
        ));
    }
}

/// The keys that an entity wrote itself.
fn own_keys<'o>(own: &'o Node, key: &str) -> Vec<&'o str> {
    own.get(key)
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, _)| key.name.as_str())
        .collect()
}

/// The table of an entity is called like it: behind a schema, if one is said.
fn join_table(part: &mut Node, own: &[&str], is_apart: bool, entity: &Entity) {
    let is_said =
        part.get("query").is_some() || own.iter().any(|key| matches!(*key, "table" | "query"));
    let at = part.at;
    let NodeValue::Map(fields) = &mut part.value else {
        return;
    };
    let name = if entity.name.contains(['.', '"']) {
        format!("\"{}\"", entity.name.replace('"', "\"\""))
    } else {
        entity.name.clone()
    };
    match fields
        .iter_mut()
        .find(|(key, _)| key.name == "table")
        .map(|(_, table)| table)
    {
        Some(Node {
            value: NodeValue::Text(table),
            ..
        }) if !is_said && !is_apart && !table.contains('{') => {
            *table = format!("{table}.{name}");
        }
        None if !is_said => {
            let key = Key {
                name: "table".into(),
                at,
                is_default: false,
            };
            fields.push((
                key,
                Node {
                    value: NodeValue::Text(name),
                    at,
                },
            ));
        }
        _ => {}
    }
}

fn path_entry(path: &str, at: Span) -> (Key, Node) {
    (
        Key {
            name: "path".into(),
            at,
            is_default: false,
        },
        Node {
            value: NodeValue::Text(path.to_string()),
            at,
        },
    )
}
