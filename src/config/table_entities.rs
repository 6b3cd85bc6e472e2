//! Entities that are tables of a database, as patterns find them.

use super::block_reader::read_block;
use super::entities::{
    Entity, EntityOrigin, empty_map, exclude_globs, is_excluded, warn_of_unused,
};
use super::node::Node;
use super::problem::{Problem, Problems, Span};
use super::schema::{IfEmpty, PatternFields};
use super::table_patterns::{TableListing, TablePattern, TableSource};

/// The entity of a flow whose tables nobody knows: it fails, because its database does not answer.
const UNLISTED: &str = "unlisted";

/// Tables that a pattern finds.
pub(super) struct FoundTables {
    pub(super) entities: Vec<Entity>,
    /// True where nobody knows which there are.
    pub(super) is_unlisted: bool,
    /// Among which it finds them.
    pub(super) source: Option<TableSource>,
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
        warn_of_unused(self.flow, &excluded, warnings);
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
