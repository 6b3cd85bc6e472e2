//! The block of a home in a database, as the config has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::watermark::Watermark;
use super::{DEFAULT_BATCH_ROWS, Probe, Slicing, SqlHome, config_sql, resolve_database_id};
use crate::config::block_reader::read_block;
use crate::config::connection::Connection;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::value_types::{
    BoundedNumber, ConfigDuration, Lag, SliceWidth, StringList, WatermarkValue,
};
use crate::connection::types::{SIMPLE_TYPES, read_types};
use crate::connection::{Dialect, Relation};
use crate::error::Result;

/// A home in a database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "sql", deny_unknown_fields)]
pub struct SqlHomeFields {
    /// The name of one of `connections`.
    #[schemars(example = &"shop", extend("x-default" = "required"))]
    connection: Option<String>,
    /// The table or view, with its schema if need be; a name with a dot or a quote in it stands in double quotes.
    #[schemars(example = &"public.orders", extend("x-default" = "required, or `query`"))]
    table: Option<String>,
    /// A SELECT instead of a table.
    #[schemars(example = &"select * from orders where paid", extend("x-default" = "none"))]
    query: Option<String>,
    /// The columns that are read, in this order.
    #[schemars(example = ["id", "total"], extend("x-default" = "all"))]
    columns: Option<StringList>,
    /// A condition that rows must meet, in the database's SQL.
    #[schemars(example = &"total > 0", extend("x-default" = "none"))]
    r#where: Option<String>,
    /// The units of reading, of resuming and of staleness.
    #[schemars(extend("x-default" = "by the first column of the primary key, if that is a whole number", "x-type" = "[slice](#a-slice)"))]
    slice: Option<SliceFields>,
    /// How to tell without reading whether something changed.
    #[schemars(extend("x-default" = "SQLite: how its file looks; else none, and every build reads", "x-type" = "[probe](#a-probe)"))]
    probe: Option<ProbeFields>,
    /// With `mode: append` or `merge`: what tells which rows are new.
    #[schemars(extend("x-default" = "none", "x-type" = "[watermark](#a-watermark)"))]
    watermark: Option<WatermarkFields>,
    /// Types of columns that the database does not say, or that shall arrive as others: see [types](types.md).
    #[schemars(example = serde_json::json!({ "price": "decimal(12,2)" }), extend("x-default" = "those of the database", "x-type" = "map of types"))]
    types: Option<BTreeMap<String, String>>,
    /// What becomes of a date or time that files do not have (infinity, before year 1, all zeros): it fails, or is null.
    #[serde(default)]
    #[schemars(example = &"null", extend("default" = "fail", "x-type" = "`fail` or `null`"))]
    on_invalid: OnInvalid,
    /// What becomes of a value of SQLite's that does not fit its column's type: it fails, or the column arrives as text.
    #[schemars(example = &"text", extend("default" = "fail"))]
    on_mismatch: Option<OnMismatch>,
    /// How many rows are handed on at once. It decides no bytes.
    #[schemars(example = 10_000, extend("default" = 16_384))]
    batch_size: Option<BoundedNumber<1, 1_000_000>>,
}

/// A slice: rows whose column lies between two fixed multiples.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "slice", deny_unknown_fields)]
pub(super) struct SliceFields {
    /// The column: a date, a time stamp or a whole number.
    #[schemars(example = &"created_at", extend("x-default" = "required"))]
    column: Option<String>,
    /// How wide a slice is: `day`, `month`, `year`, or for a whole number how many of them.
    #[schemars(example = &"month", extend("x-default" = "required"))]
    by: Option<SliceWidth>,
}

/// A probe: one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "probe", deny_unknown_fields)]
pub(super) struct ProbeFields {
    /// The number of rows, the largest values of these columns and a sum of their hashes: one query, for all slices.
    #[schemars(example = ["updated_at"], extend("x-default" = "none"))]
    columns: Option<StringList>,
    /// A query whose answer changes when the rows do.
    #[schemars(example = &"select max(version) from changes", extend("x-default" = "none"))]
    query: Option<String>,
    /// The table is read again once in each such time, counted from midnight UTC.
    #[schemars(example = &"6h", extend("x-default" = "none"))]
    every: Option<ConfigDuration>,
}

/// A watermark: a column that grows, by which rows are told that were read before.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "watermark", deny_unknown_fields)]
pub(super) struct WatermarkFields {
    /// The column: a date, a time stamp or a whole number.
    #[schemars(example = &"updated_at", extend("x-default" = "required"))]
    column: Option<String>,
    /// What rows of one value are sorted by.
    #[schemars(example = ["id"], extend("x-default" = "that of the table"))]
    primary_key: Option<StringList>,
    /// How far below the largest value rows may still come: what lies there is read anew by each build.
    #[schemars(example = &"1h", extend("default" = "0"))]
    lag: Option<Lag>,
    /// The smallest value that is read.
    #[schemars(example = &"2026-01-01", extend("x-default" = "all"))]
    start: Option<WatermarkValue>,
    /// What becomes of rows without a value: the flow fails, they are read in each build that reads anything, or left out.
    #[schemars(example = &"skip", extend("default" = "fail"))]
    nulls: Option<OnNull>,
}

/// What becomes of rows that have no watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnNull {
    /// The flow fails.
    #[default]
    Fail,
    /// They are read in each build that reads anything.
    IncludeEachTime,
    /// They are left out.
    Skip,
}

/// What becomes of a date or time that files do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnInvalid {
    /// The flow fails, and names the row.
    #[default]
    Fail,
    /// The row has no value there.
    Null,
}

/// `null` is a word here, which YAML reads as nothing.
impl<'de> Deserialize<'de> for OnInvalid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("null") => Ok(Self::Null),
            Some("fail") => Ok(Self::Fail),
            Some(other) => Err(serde::de::Error::unknown_variant(other, &["fail", "null"])),
        }
    }
}

/// What becomes of a value that does not fit its column's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnMismatch {
    /// The flow fails, and names the row.
    #[default]
    Fail,
    /// The whole column arrives as text.
    Text,
}

impl SqlHome {
    /// Reads a home's block.
    pub fn from_block(
        node: &Node,
        name: &str,
        connections: &[Connection],
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields: SqlHomeFields = read_block(node, name, &["type"], problems)?;
        let connection = find_connection(
            fields.connection.as_deref(),
            node,
            name,
            connections,
            problems,
        );
        let dialect = connection.as_ref().and_then(Dialect::from_connection);
        let relation = relation(&fields, dialect, node, name, problems);
        let condition = config_sql::parse_condition(
            dialect,
            fields.r#where.clone(),
            "where",
            node,
            name,
            problems,
        );
        let lists = [
            (node.get("columns"), format!("columns of {name}")),
            (
                node.get("probe").and_then(|probe| probe.get("columns")),
                format!("probe of {name}"),
            ),
            (
                node.get("watermark")
                    .and_then(|watermark| watermark.get("primary_key")),
                format!("primary_key of the watermark of {name}"),
            ),
        ];
        let are_distinct = lists
            .into_iter()
            .map(|(list, what)| config_sql::check_distinct(list, &what, problems))
            .filter(|is_sound| !is_sound)
            .count()
            == 0;
        let slice = slice(&fields, node, name, problems);
        let watermark = watermark(fields.watermark, node, name, problems);
        let slice = slice.zip(watermark.clone()).and_then(|(slice, watermark)| {
            check_same_column(slice, watermark.as_ref(), node, name, problems)
        });
        let probe = probe(fields.probe, dialect, node, name, problems);
        let words = SIMPLE_TYPES.iter().map(|(word, _)| *word);
        let words = words.chain(["decimal(12,2)", "list(text)"]);
        let types = read_types(fields.types, (node, "types"), name, words, problems);
        let connection = connection.filter(|_| are_distinct)?;
        let probe = match probe? {
            Probe::None if dialect.is_some_and(|dialect| super::engine(dialect).is_file()) => {
                Probe::File
            }
            probe => probe,
        };
        let (database, unknown) = resolve_database_id(&connection);
        let is_default_batch = fields.batch_size.is_none();
        let batch_rows = fields
            .batch_size
            .and_then(|size| usize::try_from(size.0).ok())
            .unwrap_or(DEFAULT_BATCH_ROWS);
        Some(Self {
            connection,
            database_id: database,
            url_error: unknown,
            relation: relation?,
            columns: fields.columns.map(|columns| columns.0),
            condition: condition?,
            pushed: None,
            slice: slice?,
            watermark: watermark?,
            probe,
            types: types?,
            on_invalid: fields.on_invalid,
            on_mismatch: fields.on_mismatch.unwrap_or_default(),
            batch_rows,
            is_default_batch,
        })
    }
}

/// The connection that a block names.
pub fn find_connection(
    wanted: Option<&str>,
    node: &Node,
    name: &str,
    connections: &[Connection],
    problems: &mut Problems,
) -> Option<Connection> {
    let Some(wanted) = wanted else {
        if node.get("connection").is_none() {
            let problem = Problem::new(
                node.at,
                format!("{name} has no connection"),
                "expected the key connection here",
            );
            problems.push(
                problem.with_hint(
                    "connection: NAME, and under connections of the config NAME: {url: …}",
                ),
            );
        }
        return None;
    };
    let found = connections
        .iter()
        .find(|connection| connection.name == wanted);
    if found.is_none() {
        let message = format!("{name} needs the connection {wanted:?}, which is not in the config");
        let problem = Problem::new(
            node.span_of("connection"),
            message,
            "expected the name of a connection",
        );
        let known: Vec<&str> = connections
            .iter()
            .map(|connection| connection.name.as_str())
            .collect();
        let otherwise = match known.as_slice() {
            [] => "write it under connections: {NAME: {url: \"${NAME_URL}\"}}".to_string(),
            known => format!("connections of the config: {}", known.join(", ")),
        };
        problems.push(problem.with_suggestion(wanted, known.iter().copied(), Some(otherwise)));
    }
    found.cloned()
}

fn relation(
    fields: &SqlHomeFields,
    dialect: Option<Dialect>,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Relation> {
    match (&fields.table, &fields.query) {
        (Some(_), Some(_)) => {
            let problem = Problem::new(
                node.span_of("query"),
                format!("{name} has a table and a query"),
                "expected one of them",
            );
            problems.push(problem.with_label(node.span_of("table"), "the other"));
            None
        }
        (None, None) if node.get("query").is_some() => None,
        (table, None) => config_sql::parse_table(
            table.as_deref(),
            node,
            name,
            "expected the key table, or query, here",
            problems,
        ),
        (None, Some(query)) => {
            let query = config_sql::parse_query(
                dialect,
                query,
                node.get("query").unwrap_or(node),
                name,
                problems,
            )?;
            let parsed = Relation::from_query(&query);
            if parsed.is_none() {
                problems.push(Problem::new(
                    node.span_of("query"),
                    format!("the query of {name} is empty"),
                    "expected a SELECT",
                ));
            }
            parsed
        }
    }
}

fn slice(
    fields: &SqlHomeFields,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Option<Slicing>> {
    let Some(slice) = &fields.slice else {
        return Some(None);
    };
    if let (Some(column), Some(by)) = (&slice.column, slice.by) {
        return Some(Some(Slicing {
            column: column.clone(),
            width: by,
        }));
    }
    let at = node.span_of("slice");
    let block = node.get("slice");
    let is_missing = |key| block.is_some_and(|block| block.get(key).is_none());
    for key in ["column", "by"].into_iter().filter(|key| is_missing(key)) {
        let problem = Problem::new(
            at,
            format!("slice of {name} has no {key}"),
            format!("expected the key {key} here"),
        );
        problems.push(
            problem.with_hint(
                "slice: {column: created_at, by: month}, or {column: id, by: 1_000_000}",
            ),
        );
    }
    None
}

fn watermark(
    fields: Option<WatermarkFields>,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Option<Watermark>> {
    let Some(fields) = fields else {
        return Some(None);
    };
    let Some(column) = fields.column else {
        let block = node.get("watermark");
        if block.is_some_and(|block| block.get("column").is_none()) {
            let at = block.map_or(node.at, |block| block.at);
            let problem = Problem::new(
                at,
                format!("watermark of {name} has no column"),
                "expected the key column here",
            );
            problems.push(problem.with_hint("watermark: {column: updated_at}"));
        }
        return None;
    };
    Some(Some(Watermark {
        column,
        primary_key: fields.primary_key.map(|words| words.0).unwrap_or_default(),
        lag: fields.lag.unwrap_or_default(),
        start: fields.start.map(|bound| bound.0),
        nulls: fields.nulls.unwrap_or_default(),
    }))
}

/// Windows are cut at slices, so both are of one column.
fn check_same_column(
    slice: Option<Slicing>,
    watermark: Option<&Watermark>,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Option<Slicing>> {
    let (Some(sliced), Some(watermark)) = (&slice, watermark) else {
        return Some(slice);
    };
    if sliced.column == watermark.column {
        return Some(slice);
    }
    let message = format!(
        "slice of {name} is by {}, and its watermark by {}",
        sliced.column, watermark.column
    );
    let problem = Problem::new(
        node.span_of("slice"),
        message,
        "expected slices of the watermark's column",
    );
    problems.push(problem.with_label(node.span_of("watermark"), "the watermark"));
    None
}

fn probe(
    probe: Option<ProbeFields>,
    dialect: Option<Dialect>,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Probe> {
    let Some(fields) = probe else {
        return Some(Probe::None);
    };
    let columns = fields.columns.map(|columns| Probe::Columns(columns.0));
    let query = match fields.query {
        Some(query) => {
            let at = node
                .get("probe")
                .and_then(|probe| probe.get("query"))
                .unwrap_or(node);
            Some(Probe::Query(config_sql::parse_query(
                dialect,
                &query,
                at,
                &format!("the probe of {name}"),
                problems,
            )?))
        }
        None => None,
    };
    let every = fields.every.map(|time| Probe::Every(time.0));
    let mut found: Vec<Probe> = columns.into_iter().chain(query).chain(every).collect();
    let written = node.get("probe").map_or(0, |block| block.entries().len());
    match (found.pop(), written) {
        (Some(Probe::Columns(columns)), _) if columns.is_empty() => {}
        (Some(probe), 1) => return Some(probe),
        // It could not be read, and that was said.
        (None, 1) => return None,
        _ => {}
    }
    let problem = Problem::new(
        node.span_of("probe"),
        format!("probe of {name} is not one probe"),
        "expected columns, query or every",
    );
    problems.push(problem.with_hint("probe: {columns: [updated_at]}"));
    None
}
