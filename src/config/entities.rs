//! Entities: what makes one flow of the config several that run.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::block_reader::{block_keys, read_block};
use super::listing::{Listings, PatternMatches};
use super::named_blocks::path_block;
use super::node::{Key, Node, NodeValue};
use super::problem::{Problem, Problems, Span, closest_match};
use super::schema::{EntityFields, IfEmpty, PatternFields, SharedFields};
use super::table_patterns::{
    TableListing, TableListings, TablePattern, TableSource, home_connection,
};
use super::{Document, Role};
use crate::error::join_limited;

/// Every `from` of a config with its place: the patterns that are to be listed.
pub fn patterns(documents: &[Document]) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let project = documents.first().map(|document| &document.tree);
    let mut look = |flow: &Node| {
        // Tables are no folders.
        if project.is_some_and(|project| reads_tables(project, flow)) {
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
        reads_tables(project, flow) && items.into_iter().any(|item| item.get("from").is_some())
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

/// True for a flow whose home is in a database, wherever that is said.
fn reads_tables(project: &Node, flow: &Node) -> bool {
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
    let mut connections = homes.map(|home| home_connection(&home).is_some());
    connections.next().unwrap_or_default()
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
    /// The schema of a table that a pattern found.
    found_schema: Option<String>,
}

impl Entity {
    fn written(name: &str, at: Span, block: Node) -> Self {
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
    /// True where it is not known which of them there are.
    pub(super) is_unlisted: bool,
}

/// The entity of a flow whose tables nobody knows: it fails, because its database does not answer.
const UNLISTED: &str = "unlisted";

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
        let (mut table_sources, mut is_unlisted) = (Vec::new(), false);
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
                        is_unlisted |= tables.is_unlisted;
                        table_sources.extend(tables.source);
                        for entity in tables.entities {
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
        let max_lost = if is_unlisted {
            None
        } else if may_be_empty && found.is_empty() {
            Some(100)
        } else {
            least_max_lost(&patterns)
        };
        // An entity that is written out goes before the same one of a pattern, and keeps its path.
        for entity in found {
            match named.iter_mut().find(|other| other.name == entity.name) {
                Some(written) => {
                    written.found_path = entity.found_path;
                    written.found_schema = entity.found_schema;
                }
                None => named.push(entity),
            }
        }
        FlowEntities {
            list: named,
            may_be_empty,
            max_lost,
            near_misses,
            table_sources,
            is_unlisted,
        }
    }

    /// The tables that a pattern finds.
    fn match_tables(
        &self,
        item: &Node,
        home: Option<&Node>,
        problems: &mut Problems,
        warnings: &mut Vec<Problem>,
    ) -> Option<FoundTables> {
        let called = format!("entities of flow {}", self.flow);
        let fields: PatternFields = read_block(item, &called, &[], problems)?;
        let (from, at) = (fields.from.as_ref()?.0.clone(), item.span_of("from"));
        let has_views = fields.views.unwrap_or_default();
        let home = home?;
        if home.get("query").is_some() {
            let problem = Problem::new(
                at,
                format!("{called} are tables, and its home has a query"),
                "expected a home without query",
            );
            problems
                .push(problem.with_hint("home: {connection: NAME} reads each table that is found"));
            return None;
        }
        let pattern = match TablePattern::parse(home, &from, has_views) {
            Ok(pattern) => pattern,
            Err(reason) => {
                let message = format!("from {from:?} cannot be used: {reason}");
                let problem = Problem::new(at, message, "expected a pattern of tables");
                problems.push(problem.with_hint(
                    "from: \"public.*\" finds the tables of a schema, from: \"*\" those that need none",
                ));
                return None;
            }
        };
        let mut tables = FoundTables {
            entities: Vec::new(),
            is_unlisted: false,
            source: Some(pattern.source.clone()),
            fields,
        };
        let entity = |name: &str| Entity {
            found_schema: pattern.schema.clone(),
            ..Entity::written(name, at, empty_map(at))
        };
        let Some(listing) = self.table_listings.get(&pattern.source) else {
            // They are asked for when the whole config is known.
            tables.is_unlisted = true;
            return Some(tables);
        };
        let connection = &pattern.source.connection;
        match listing {
            TableListing::Listed(_) => {}
            TableListing::Remembered { reason, .. } => warnings.push(Problem::new(
                at,
                format!("the tables of {connection} are those of the last build: {reason}"),
                "this pattern",
            )),
            TableListing::Unknown { reason } => {
                warnings.push(Problem::new(
                    at,
                    format!("the tables of {connection} are not known: {reason}"),
                    "this pattern",
                ));
                tables.is_unlisted = true;
                tables.entities.push(entity(UNLISTED));
                return Some(tables);
            }
        }
        let mut excluded = exclude_globs(item.get("exclude"), problems);
        let matching = listing.tables().iter();
        let matching: Vec<&String> = matching
            .filter(|name| pattern.glob.is_match(name))
            .collect();
        for name in &matching {
            let whole = match &pattern.source.schema {
                Some(schema) => format!("{schema}.{name}"),
                None => (*name).clone(),
            };
            if !is_excluded(&mut excluded, [name.as_str(), whole.as_str()]) {
                tables.entities.push(entity(name));
            }
        }
        self.warn_of_unused(&excluded, warnings);
        if tables.entities.is_empty() && tables.fields.if_empty != Some(IfEmpty::Skip) {
            problems.push(no_table_problem(
                self.flow,
                &from,
                connection,
                matching.len(),
                at,
            ));
        }
        Some(tables)
    }

    /// An entity that a pattern found, unless another found it already.
    fn add_found(&self, found: &mut Vec<Entity>, entity: Entity, problems: &mut Problems) {
        let Some(other) = found.iter().find(|other| other.name == entity.name) else {
            found.push(entity);
            return;
        };
        let schema = |entity: &Entity| entity.found_schema.clone().unwrap_or_default();
        if schema(other) != schema(&entity) {
            let message = format!(
                "{}.{name} and {}.{name} are both the entity {name}",
                schema(other),
                schema(&entity),
                name = entity.name
            );
            let problem = Problem::new(entity.at, message, "this pattern finds one of them");
            problems.push(problem.with_hint("leave one of them out by exclude"));
        }
    }

    fn warn_of_unused(&self, excluded: &[ExcludeGlob], warnings: &mut Vec<Problem>) {
        for ExcludeGlob { text, at, .. } in excluded.iter().filter(|glob| !glob.is_used) {
            let message = format!("exclude {text:?} of flow {} leaves nothing out", self.flow);
            warnings.push(Problem::new(*at, message, "no entity is called so"));
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
        self.warn_of_unused(&excluded, warnings);
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

/// Tables that a pattern finds.
struct FoundTables {
    entities: Vec<Entity>,
    /// True where nobody knows which there are.
    is_unlisted: bool,
    /// Among which it finds them.
    source: Option<TableSource>,
    /// What the pattern says.
    fields: PatternFields,
}

/// A pattern that finds no table.
fn no_table_problem(
    flow: &str,
    from: &str,
    connection: &str,
    excluded: usize,
    at: Span,
) -> Problem {
    let message = match excluded {
        0 => format!(
            "no table of {connection} matches {from:?}, and flow {flow} has no entity by it"
        ),
        all => format!(
            "exclude leaves out all {all} tables of {connection} that {from:?} matches, and flow {flow} has no entity by it"
        ),
    };
    Problem::new(at, message, "expected tables").with_hint(
        "views: true finds views as well; if_empty: skip beside from allows that there is none",
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

/// True where one of the globs leaves out something that has these names.
fn is_excluded<N: AsRef<Path>>(globs: &mut [ExcludeGlob], names: [N; 2]) -> bool {
    let mut is_out = false;
    for glob in globs {
        if names.iter().any(|name| glob.matcher.is_match(name)) {
            (is_out, glob.is_used) = (true, true);
        }
    }
    is_out
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
        if key.name == "home"
            && let Some(schema) = &entity.found_schema
        {
            set_table(part, schema, entity);
            continue;
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

/// The table that a pattern found, behind its schema.
fn set_table(part: &mut Node, schema: &str, entity: &Entity) {
    let table = format!("{}.{}", quoted(schema), quoted(&entity.name));
    let NodeValue::Map(fields) = &mut part.value else {
        return;
    };
    fields.retain(|(key, _)| key.name != "table");
    let (key, table) = path_entry(&table, entity.at);
    fields.push((
        Key {
            name: "table".into(),
            ..key
        },
        table,
    ));
}

/// A name as it stands in `table`.
fn quoted(name: &str) -> String {
    if name.contains(['.', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_string()
    }
}

/// The table of an entity is called like it: behind a schema, if one is said.
fn join_table(part: &mut Node, own: &[&str], is_apart: bool, entity: &Entity) {
    let is_said =
        part.get("query").is_some() || own.iter().any(|key| matches!(*key, "table" | "query"));
    let at = part.at;
    let NodeValue::Map(fields) = &mut part.value else {
        return;
    };
    let name = quoted(&entity.name);
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
