//! The keys of a flow that say what becomes of rows and columns.

use std::collections::BTreeMap;

use super::expression::{Expression, SyntaxError, type_named};
use super::polish::read_polish;
use super::template::{PLACEHOLDERS, RUN_TIME, placeholders};
use super::{AddedColumn, AddedValue, ColumnChoice, HashId, Shape};
use crate::config::block_reader::read_block;
use crate::config::node::{Node, NodeValue};
use crate::config::problem::{Problem, Problems, Span};
use crate::config::schema::SharedFields;
use crate::connection::types::ColumnType;

/// Reads them; `node` has no other keys. What is wrong is reported, and left out.
pub fn read_shape(node: &Node, name: &str, problems: &mut Problems) -> Shape {
    // What has another type than it should was reported with the other keys of the flow.
    let fields: SharedFields =
        read_block(node, name, &[], &mut problems.empty_like()).unwrap_or_default();
    let mut reader = ShapeReader {
        node,
        name,
        problems,
    };
    Shape {
        filter: fields
            .filter
            .and_then(|text| reader.expression("where", &text)),
        casts: reader.casts(fields.cast.unwrap_or_default()),
        added: reader.added(),
        hash_ids: reader.hash_ids(),
        columns: reader.columns(),
        renames: reader.renames(fields.rename.unwrap_or_default()),
        case: fields.case,
        casing: fields.casing.unwrap_or_default(),
        polish: None,
        run_time: None,
    }
}

/// True for a column of a list: its name and its value.
fn is_named_value(item: &Node) -> bool {
    let is_known = |key: &str| matches!(key, "name" | "value");
    let mut keys = item.entries().iter();
    item.get("name").and_then(Node::text).is_some()
        && item.get("value").is_some()
        && keys.all(|(key, _)| is_known(&key.name))
}

/// True for a text that is the moment of the run, and nothing else.
fn is_run_time(text: &str) -> bool {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim() == RUN_TIME)
}

/// Adds what the store's `polish` asks for. It stands for keys of the flow that do the same in
/// another order, and not beside them.
pub fn with_polish(shape: Shape, polish: &Node, name: &str, problems: &mut Problems) -> Shape {
    let rivals = [
        ("add", !shape.added.is_empty()),
        ("hash_id", !shape.hash_ids.is_empty()),
        ("rename", !shape.renames.is_empty()),
        ("case", shape.case.is_some()),
    ];
    if let Some((key, _)) = rivals.iter().find(|(_, is_said)| *is_said) {
        let message = format!("{name} has {key}, and its store has polish");
        let problem = Problem::new(polish.at, message, "expected one of them");
        problems.push(problem.with_hint(
            "polish does what add, hash_id, rename and case do, in an order of its own",
        ));
    }
    Shape {
        polish: Some(read_polish(polish, name, problems)),
        ..shape
    }
}

struct ShapeReader<'a> {
    node: &'a Node,
    name: &'a str,
    problems: &'a mut Problems,
}

impl ShapeReader<'_> {
    fn report(&mut self, at: Span, message: String, label: &str, hint: Option<String>) {
        let problem = Problem::new(at, message, label);
        self.problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    fn expression(&mut self, key: &str, text: &str) -> Option<Expression> {
        match Expression::parse(text) {
            Ok(expression) => Some(expression),
            Err(SyntaxError {
                message,
                hint,
                place,
            }) => {
                let whole = self.node.span_of(key);
                let at = place.map_or(whole, |place| {
                    let source = self.problems.source(whole).text.clone();
                    whole.within(&source, text, (place.line, place.column, place.length))
                });
                let message = format!("{key} of {}: {message}", self.name);
                self.report(at, message, "expected an expression", hint);
                None
            }
        }
    }

    fn casts(&mut self, written: BTreeMap<String, String>) -> BTreeMap<String, ColumnType> {
        let mut casts = BTreeMap::new();
        for (column, word) in written {
            match type_named(&word) {
                Ok(kind) => drop(casts.insert(column, kind)),
                Err(SyntaxError { hint, .. }) => {
                    let at = self
                        .node
                        .get("cast")
                        .map_or(self.node.at, |cast| cast.span_of(&column));
                    let message = format!(
                        "cast of {} gives the column {column} the unknown type {word:?}",
                        self.name
                    );
                    self.report(at, message, "expected a type", hint);
                }
            }
        }
        casts
    }

    fn added(&mut self) -> Vec<AddedColumn> {
        let Some(node) = self.node.get("add") else {
            return Vec::new();
        };
        let mut columns: Vec<(String, &Node)> = Vec::new();
        match &node.value {
            NodeValue::Map(entries) => {
                columns.extend(entries.iter().map(|(key, value)| (key.name.clone(), value)));
            }
            NodeValue::List(items) if items.iter().all(is_named_value) => {
                let named = |item| {
                    Some((
                        Node::text(Node::get(item, "name")?)?.to_string(),
                        Node::get(item, "value")?,
                    ))
                };
                columns.extend(items.iter().filter_map(named));
            }
            other => {
                let message = format!("add of {} is {}", self.name, other.describe());
                let hint = "add: {loaded_from: \"{file.name}\", batch: 7}".to_string();
                let label = "expected a map of columns and values";
                self.report(node.at, message, label, Some(hint));
            }
        }
        let mut added = Vec::new();
        for (name, value) in columns {
            if name.trim().is_empty() {
                let message = format!("add of {} has a column without a name", self.name);
                self.report(value.at, message, "expected a name before it", None);
                continue;
            }
            let value = self.added_value(&name, value);
            added.extend(value.map(|value| AddedColumn { name, value }));
        }
        added
    }

    fn added_value(&mut self, column: &str, value: &Node) -> Option<AddedValue> {
        let Some(text) = value.text() else {
            let found = AddedValue::from_node(&value.value);
            if found.is_none() {
                let found = value.value.describe();
                let message = format!("add of {} gives the column {column} {found}", self.name);
                let label = "expected a text, a number or a boolean";
                self.report(value.at, message, label, None);
            }
            return found;
        };
        match placeholders(text) {
            Ok(_) if is_run_time(text) => Some(AddedValue::RunTime),
            Ok(_) => Some(AddedValue::Text(text.to_string())),
            Err(unknown) => {
                let message = format!("add of {} has {unknown} in the column {column}", self.name);
                let known: Vec<String> = PLACEHOLDERS
                    .iter()
                    .map(|(known, _)| format!("{{{known}}}"))
                    .collect();
                let hint = format!(
                    "there are {}; a brace itself is written twice: {{{{",
                    known.join(", ")
                );
                let label = "expected something else in braces";
                self.report(value.at, message, label, Some(hint));
                None
            }
        }
    }

    fn hash_ids(&mut self) -> Vec<HashId> {
        let Some(node) = self.node.get("hash_id") else {
            return Vec::new();
        };
        let items = match &node.value {
            NodeValue::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut found = Vec::new();
        for item in items {
            let name = item.get("name").and_then(Node::text);
            let of = item.get("of").filter(|of| !of.texts().is_empty());
            let is_known = |key: &str| matches!(key, "name" | "of");
            let unknown = item.entries().iter().find(|(key, _)| !is_known(&key.name));
            let (Some(name), Some(of), None) = (name, of, unknown) else {
                let at = unknown.map_or(item.at, |(key, _)| key.at);
                let message = format!("hash_id of {} cannot be used", self.name);
                let hint = "hash_id: {name: id, of: [country, number]}".to_string();
                self.report(at, message, "expected a map with name and of", Some(hint));
                continue;
            };
            let Some(of) = of.only_texts().filter(|_| !name.trim().is_empty()) else {
                let message = format!("hash_id of {} has what is no name of a column", self.name);
                self.report(
                    item.at,
                    message,
                    "expected texts",
                    Some("names that are numbers stand in quotes".into()),
                );
                continue;
            };
            found.push(HashId {
                is_binary: false,
                name: name.to_string(),
                of: of
                    .into_iter()
                    .map(|(column, _)| column.to_string())
                    .collect(),
            });
        }
        found
    }

    fn columns(&mut self) -> Option<ColumnChoice> {
        let node = self.node.get("columns")?;
        let excluded = matches!(node.value, NodeValue::Map(_)).then(|| node.get("exclude"));
        let is_alone = node.entries().iter().all(|(key, _)| key.name == "exclude");
        let list = match excluded {
            Some(list) => list.filter(|_| is_alone),
            None => Some(node),
        };
        let Some(names) = list.and_then(Node::only_texts) else {
            let message = format!("columns of {} cannot be used", self.name);
            let hint = "columns: [id, name], or columns: {exclude: [password]}".to_string();
            self.report(node.at, message, "expected names of columns", Some(hint));
            return None;
        };
        for (place, (name, at)) in names.iter().enumerate() {
            if names[..place].iter().any(|(other, _)| other == name) {
                let message = format!("columns of {} names the column {name} twice", self.name);
                self.report(*at, message, "expected each column once", None);
            }
        }
        let names = names
            .into_iter()
            .map(|(name, _)| name.to_string())
            .collect();
        Some(if excluded.is_some() {
            ColumnChoice::Except(names)
        } else {
            ColumnChoice::Only(names)
        })
    }

    fn renames(&mut self, written: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (old, new) in &written {
            if new.trim().is_empty() {
                let at = self
                    .node
                    .get("rename")
                    .map_or(self.node.at, |node| node.span_of(old));
                let message = format!("rename of {} gives the column {old} no name", self.name);
                self.report(at, message, "expected a name", None);
            }
        }
        written
    }
}
