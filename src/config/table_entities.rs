//! Entities that are tables of a database, as patterns find them.

use std::collections::{BTreeMap, BTreeSet};

use super::FlowBlock;
use super::block_reader::read_block;
use super::entities::{
    Entity, EntityOrigin, empty_map, exclude_globs, is_excluded, warn_of_unused,
};
use super::node::Node;
use super::problem::{Problem, Problems, Span};
use super::schema::{IfEmpty, PatternFields};
use super::table_patterns::{TableListing, TablePattern};

/// The entity of a flow whose tables nobody knows: it is never built.
pub const UNLISTED: &str = "unlisted";

/// Tables that a pattern finds.
pub(super) struct FoundTables {
    pub(super) entities: Vec<Entity>,
    /// Why nobody knows which there are, in words.
    pub(super) unlisted: Option<String>,
    /// What it is.
    pub(super) pattern: TablePattern,
    /// What the pattern says.
    pub(super) fields: PatternFields,
}

impl EntityOrigin<'_> {
    /// The tables that a pattern finds.
    pub(super) fn match_tables(
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
            unlisted: None,
            pattern: pattern.clone(),
            fields,
        };
        let entity = |name: &str| Entity {
            found_schema: pattern.schema.clone(),
            ..Entity::written(name, at, empty_map(at))
        };
        let Some(listing) = self.table_listings.get(&pattern.source) else {
            // They are asked for when the whole config is known.
            tables.unlisted = Some("nobody has asked for them".into());
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
                let unlisted = format!("the tables of {connection} are not known: {reason}");
                warnings.push(Problem::new(at, unlisted.clone(), "this pattern"));
                tables.unlisted = Some(unlisted);
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
        warn_of_unused(self.flow, &excluded, warnings);
        if tables.entities.is_empty() && tables.fields.if_empty != Some(IfEmpty::Skip) {
            let schema = pattern.source.schema.as_deref();
            let empty_schema = schema.filter(|_| listing.tables().is_empty());
            problems.push(no_table_problem(
                self.flow,
                (&from, empty_schema),
                connection,
                matching.len(),
                at,
            ));
        }
        Some(tables)
    }

    /// An entity that a pattern found, unless another found it already.
    pub(super) fn add_found(
        &self,
        found: &mut Vec<Entity>,
        entity: Entity,
        problems: &mut Problems,
    ) {
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
}

/// A pattern that finds no table, with its schema where that has none at all.
fn no_table_problem(
    flow: &str,
    (from, empty_schema): (&str, Option<&str>),
    connection: &str,
    excluded: usize,
    at: Span,
) -> Problem {
    let message = match (excluded, empty_schema) {
        (0, Some(schema)) => format!(
            "{connection} has no table in a schema {schema}, and flow {flow} has no entity by {from:?}"
        ),
        (0, None) => format!(
            "no table of {connection} matches {from:?}, and flow {flow} has no entity by it"
        ),
        (all, _) => format!(
            "exclude leaves out all {all} tables of {connection} that {from:?} matches, and flow {flow} has no entity by it"
        ),
    };
    Problem::new(at, message, "expected tables").with_hint(
        "views: true finds views as well; if_empty: skip beside from allows that there is none",
    )
}

/// Takes out tables that a pattern found and that the flow fills itself, because each build would
/// find the copies of the last one.
pub(super) fn leave_out_own_tables(
    flows: &mut Vec<FlowBlock>,
    found: &BTreeSet<String>,
    problems: &mut Problems,
    warnings: &mut Vec<Problem>,
) {
    let table_of = |end: &Option<Node>| {
        let text = |key| Some(end.as_ref()?.get(key)?.text()?.to_string());
        Some((text("connection")?, text("table")?))
    };
    let filled = flows.iter();
    let filled: Vec<_> = filled
        .filter_map(|flow| Some((table_of(&flow.store)?, flow.name.clone())))
        .collect();
    flows.retain(|flow| {
        let is_found = flow.entity.as_ref().is_some_and(|name| found.contains(name));
        let Some((connection, table)) = table_of(&flow.home).filter(|_| is_found) else {
            return true;
        };
        let others = filled.iter().filter(|(end, by)| end.0 == connection && *by != flow.name);
        for ((_, other), by) in others {
            if *other == table {
                let message = format!("{table} is filled by flow {by}, and so no entity of flow {}", flow.flow);
                warnings.push(Problem::new(flow.at, message, "this pattern"));
                return false;
            }
            let name = |table: &str| table.rsplit('.').next().map(str::to_string);
            if table.contains('.') != other.contains('.') && name(&table) == name(other) {
                let message = format!(
                    "flow {} would read {table}, which is {other} as it seems, and flow {by} fills that",
                    flow.name
                );
                let problem = Problem::new(flow.at, message, "this pattern finds it");
                problems.push(problem.with_hint(format!(
                    "exclude: {} leaves it out; or say the schema in store.table as well",
                    flow.entity.as_deref().unwrap_or_default()
                )));
                return true;
            }
        }
        true
    });
}

/// A table that a pattern found, and whose name no entity can have.
pub(super) fn table_name_problem(name: &str, at: Span) -> Problem {
    let problem = Problem::new(
        at,
        format!("the table {name:?} can be no entity: the entity name {name:?} cannot be used"),
        "this pattern finds it",
    );
    problem.with_hint(format!("exclude: [{name:?}] leaves it out"))
}

/// What stands for the entities of a flow, or for one of them, while nobody knows which there are.
pub(super) fn unlisted_flow(unlisted: &BTreeMap<String, String>, name: &str) -> Option<String> {
    let is_meant = |flow: &&String| {
        let entity = name.strip_prefix(flow.as_str());
        entity.is_some_and(|entity| entity.is_empty() || entity.starts_with('.'))
    };
    let flow = unlisted.keys().find(is_meant)?;
    Some(format!("{flow}.{UNLISTED}"))
}
