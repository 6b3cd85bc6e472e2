//! Entities: what makes one flow of the config several that run.

use std::collections::BTreeSet;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::block_reader::{block_keys, read_block};
use super::listing::{Listings, PatternMatches};
use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems, Span, closest_match};
use super::schema::{EntityFields, IfEmpty, PatternFields, SharedFields};
use super::table_patterns::{TableListings, TableSource, home_connection};
use super::{Document, Role};
use crate::error::join_limited;

/// Every `from` of a config with its place: the patterns that are to be listed.
pub fn patterns(documents: &[Document]) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let project = documents.first().map(|document| &document.tree);
    let mut look = |flow: &Node| {
        // Tables are no folders.
        if project.is_some_and(|project| homes_in_databases(project, flow).first() == Some(&true)) {
            return;
        }
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

/// True where a pattern of a config may find tables.
pub fn may_find_tables(documents: &[Document]) -> bool {
    let Some(project) = documents.first().map(|document| &document.tree) else {
        return false;
    };
    let has_pattern = |flow: &Node| {
        let items = entities_node(flow).into_iter().flat_map(entity_items);
        homes_in_databases(project, flow).contains(&true)
            && items.into_iter().any(|item| item.get("from").is_some())
    };
    documents.iter().any(|document| match &document.role {
        Role::Project => {
            let flows = document.tree.get("flows").into_iter();
            flows
                .flat_map(Node::entries)
                .any(|(_, flow)| has_pattern(flow))
        }
        Role::Flow(_) => has_pattern(&document.tree),
        Role::Entity(..) => false,
    })
}

/// Whether what is said of the home of a flow names a connection: what the flow says, and what
/// defaults do, which are merged with it key by key.
fn homes_in_databases(project: &Node, flow: &Node) -> Vec<bool> {
    let of = |block: &Node| -> Option<Node> {
        let home = block
            .get("home")
            .or_else(|| block.get("options")?.get("home"))?;
        let name = home.text().or_else(|| home.get("use")?.text());
        let named = name.and_then(|name| project.get("homes")?.get(name));
        Some(named.unwrap_or(home).clone())
    };
    let defaults = flow
        .get("defaults")
        .into_iter()
        .chain(project.get("defaults"));
    let homes = std::iter::once(flow).chain(defaults).filter_map(of);
    homes.map(|home| home_connection(&home).is_some()).collect()
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
    pub(super) found_path: Option<(String, Span)>,
    /// The schema of a table that a pattern found.
    pub(super) found_schema: Option<String>,
}

impl Entity {
    pub(super) fn written(name: &str, at: Span, block: Node) -> Self {
        Self {
            name: name.to_string(),
            at,
            block,
            found_path: None,
            found_schema: None,
        }
    }
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
    /// Tables that its patterns find some among.
    pub(super) table_sources: Vec<TableSource>,
    /// Why it is not known which of them there are, in words.
    pub(super) unlisted: Option<String>,
    /// Those of them that are entities because a pattern found them.
    pub(super) found_tables: BTreeSet<String>,
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
    /// The home of the flow, before an entity is joined to it.
    pub(super) home: Option<&'c Node>,
    /// What databases say of their tables.
    pub(super) table_listings: &'c TableListings,
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
        let (mut table_patterns, mut unlisted) = (Vec::new(), None);
        let mut found_tables = BTreeSet::new();
        let table_home = self.home.filter(|home| home_connection(home).is_some());
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
                (NodeValue::Text(name), ..) => {
                    named.push(Entity::written(name, item.at, empty_map(item.at)));
                }
                (NodeValue::Map(_), None, Some(_)) if table_home.is_some() => {
                    let tables = self.match_tables(item, table_home, problems, warnings);
                    if let Some(tables) = tables {
                        unlisted = unlisted.or(tables.unlisted);
                        table_patterns.push(tables.pattern);
                        for entity in tables.entities {
                            found_tables.insert(entity.name.clone());
                            self.add_found(&mut found, entity, problems);
                        }
                        patterns.push(tables.fields);
                    }
                }
                (NodeValue::Map(_), None, Some(_)) => patterns.extend(self.match_pattern(
                    item,
                    (&mut found, &mut near_misses),
                    problems,
                    warnings,
                )),
                (NodeValue::Map(_), Some(name), _) => {
                    named.push(Entity::written(name, item.span_of("name"), item.clone()));
                }
                _ => self.report_invalid(item, problems),
            }
        }
        let may_be_empty = !patterns.is_empty()
            && patterns
                .iter()
                .all(|pattern| pattern.if_empty == Some(IfEmpty::Skip));
        // What may find nothing, and does, misses nothing; nor does what nobody could look for.
        let max_lost = if unlisted.is_some() {
            None
        } else if may_be_empty && found.is_empty() {
            Some(100)
        } else {
            least_max_lost(&patterns)
        };
        // The table of one that is written out is of the schema of the pattern, there or not.
        for written in &mut named {
            let mut patterns = table_patterns.iter();
            let pattern = patterns.find(|pattern| pattern.glob.is_match(&written.name));
            written.found_schema = pattern.and_then(|pattern| pattern.schema.clone());
        }
        // An entity that is written out goes before the same one of a pattern, and keeps its path.
        for entity in found {
            match named.iter_mut().find(|other| other.name == entity.name) {
                Some(written) => {
                    written.found_path = entity.found_path;
                    written.found_schema = entity.found_schema;
                    found_tables.remove(&written.name);
                }
                None => named.push(entity),
            }
        }
        FlowEntities {
            list: named,
            may_be_empty,
            max_lost,
            near_misses,
            table_sources: table_patterns
                .into_iter()
                .map(|pattern| pattern.source)
                .collect(),
            unlisted,
            found_tables,
        }
    }

    /// The entities that have a file of their own.
    fn entities_with_file(&self, problems: &mut Problems) -> Vec<Entity> {
        let mut named = Vec::new();
        for (name, tree) in self.files {
            check_file_name("entity", name, tree, problems);
            named.push(Entity::written(name, file_start(tree), (*tree).clone()));
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
            if is_excluded(&mut excluded, [name, file]) {
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
                found_path: Some((path.clone(), at)),
                ..Entity::written(name, at, empty_map(at))
            });
        }
        let mut others = others.clone();
        others.retain(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let stem = Path::new(file).file_stem().unwrap_or_default();
            !is_excluded(&mut excluded, [file.as_ref(), stem])
        });
        passed_over.extend(near_miss_message(&others, from));
        warn_of_unused(self.flow, &excluded, warnings);
        if fields.views.is_some() {
            let problem = Problem::new(
                item.span_of("views"),
                format!("views of {called} is said, and its entities are folders and files"),
                "expected no views",
            );
            problems.push(problem.with_hint("home: {connection: NAME} of the flow finds tables"));
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
pub(super) struct ExcludeGlob {
    matcher: GlobMatcher,
    text: String,
    at: Span,
    is_used: bool,
}

/// Globs that leave nothing out are most likely mistyped.
pub(super) fn warn_of_unused(flow: &str, excluded: &[ExcludeGlob], warnings: &mut Vec<Problem>) {
    for ExcludeGlob { text, at, .. } in excluded.iter().filter(|glob| !glob.is_used) {
        let message = format!("exclude {text:?} of flow {} leaves nothing out", flow);
        warnings.push(Problem::new(*at, message, "no entity is called so"));
    }
}

/// True where one of the globs leaves out something that has these names.
pub(super) fn is_excluded<N: AsRef<Path>>(globs: &mut [ExcludeGlob], names: [N; 2]) -> bool {
    let mut is_out = false;
    for glob in globs {
        if names.iter().any(|name| glob.matcher.is_match(name)) {
            (is_out, glob.is_used) = (true, true);
        }
    }
    is_out
}

pub(super) fn exclude_globs(exclude: Option<&Node>, problems: &mut Problems) -> Vec<ExcludeGlob> {
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

pub(super) fn empty_map(at: Span) -> Node {
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
