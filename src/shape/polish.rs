//! `store.polish`, as the Python hygge wrote it: ids, then names, then constants and time stamps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::names::in_case;
use super::{AddedColumn, AddedValue, HashId};
use crate::config::node::{Node, NodeValue};
use crate::config::problem::{Problem, Problems, Span};
use crate::config::schema::NameCase;

/// The column of `add_row_marker`, and its value where none is given.
const ROW_MARKER: &str = "__rowMarker__";
const DEFAULT_MARKER: i64 = 4;

/// The form of a time stamp that is a text, where none is given.
const DEFAULT_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// What `store.polish` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polish {
    /// Columns that hold the digest of others.
    pub hash_ids: Vec<HashId>,
    /// How the names of all columns are written, those of ids included.
    pub names: NameRules,
    /// Constants and time stamps, whose names stay as they are.
    pub added: Vec<AddedColumn>,
}

/// How names of columns are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRules {
    /// What is no letter, digit, blank, `_` or `-` goes; what stands in parentheses comes last.
    pub remove_special: bool,
    /// Blanks go.
    pub remove_spaces: bool,
    /// The case of words.
    pub case: Option<NameCase>,
}

impl NameRules {
    /// A name by these rules; one that would be empty stays.
    fn apply(self, name: &str) -> String {
        let mut made = name.to_string();
        if self.remove_special {
            made = without_special(&made);
        }
        if let Some(case) = self.case {
            made = in_case(case, &made);
        }
        if self.remove_spaces {
            made.retain(|letter| !letter.is_whitespace());
        }
        if made.trim().is_empty() {
            name.to_string()
        } else {
            made
        }
    }

    /// Says which of these names get a number, because another is written like them.
    pub(super) fn describe_numbered(self, names: &[&str]) -> Vec<String> {
        let made = self.apply_all(names);
        let numbered = names
            .iter()
            .zip(&made)
            .filter(|(name, made)| self.apply(name) != **made);
        let describe = |(name, made): (&&str, &String)| {
            format!(
                "polish: column {name} is {made}: {} is another column already",
                self.apply(name)
            )
        };
        numbered.map(describe).collect()
    }

    /// Names by these rules, of which no two are the same: the second gets `_1`.
    pub(super) fn apply_all(self, names: &[&str]) -> Vec<String> {
        let mut used: BTreeSet<String> = BTreeSet::new();
        let distinct = |name: &&str| {
            let made = self.apply(name);
            let numbered = (1..).map(|number: u64| format!("{made}_{number}"));
            let mut free = std::iter::once(made.clone()).chain(numbered);
            let name = free.find(|name| !used.contains(name)).unwrap_or_default();
            used.insert(name.clone());
            name
        };
        names.iter().map(distinct).collect()
    }
}

/// What stands in parentheses is a word at the end; letters, digits, blanks, `_` and `-` stay.
fn without_special(name: &str) -> String {
    let (mut plain, mut inside, mut depth) = (String::new(), Vec::new(), 0_usize);
    for letter in name.chars() {
        match letter {
            '(' => {
                depth += 1;
                inside.push(String::new());
            }
            ')' => depth = depth.saturating_sub(1),
            letter => match inside.last_mut().filter(|_| depth > 0) {
                Some(word) => word.push(letter),
                None => plain.push(letter),
            },
        }
    }
    let is_kept = |letter: &char| {
        letter.is_alphanumeric() || letter.is_whitespace() || matches!(letter, '_' | '-')
    };
    let words = std::iter::once(plain).chain(inside);
    let words = words.map(|word| word.chars().filter(is_kept).collect::<String>());
    let words: Vec<String> = words
        .map(|word| word.trim().to_string())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

impl Polish {
    /// As it is written.
    pub(super) fn to_json(&self) -> Value {
        let hash = |hash: &HashId| json!({ "name": hash.name, "from_columns": hash.of, "hex": !hash.is_binary });
        let mut written = json!({
            "hash_ids": self.hash_ids.iter().map(hash).collect::<Vec<_>>(),
            "columns": { "remove_special": self.names.remove_special, "remove_spaces": self.names.remove_spaces },
        });
        if let Some(case) = self.names.case {
            written["columns"]["case"] = json!(case);
        }
        let (mut constants, mut timestamps) = (Vec::new(), Vec::new());
        for AddedColumn { name, value } in &self.added {
            match value {
                AddedValue::RunTime => timestamps.push(json!({ "name": name, "type": "datetime" })),
                AddedValue::RunTimeText(format) => {
                    timestamps.push(json!({ "name": name, "type": "string", "format": format }));
                }
                AddedValue::Text(text) => {
                    let text = text.replace("{{", "{").replace("}}", "}");
                    constants.push(json!({ "name": name, "value": text }));
                }
                value => constants.push(json!({ "name": name, "value": value.to_json() })),
            }
        }
        written["constants"] = constants.into();
        written["timestamps"] = timestamps.into();
        written
    }
}

/// Reads it; what is wrong is reported, and left out.
pub(super) fn read_polish(node: &Node, name: &str, problems: &mut Problems) -> Polish {
    let mut reader = PolishReader { name, problems };
    reader.check_keys(
        node,
        &[
            "hash_ids",
            "columns",
            "constants",
            "add_row_marker",
            "timestamps",
        ],
    );
    let mut added = reader.constants(node);
    added.extend(reader.row_marker(node));
    added.extend(reader.timestamps(node));
    Polish {
        hash_ids: reader.hash_ids(node),
        names: reader.names(node),
        added,
    }
}

struct PolishReader<'a> {
    name: &'a str,
    problems: &'a mut Problems,
}

impl PolishReader<'_> {
    fn report(&mut self, at: Span, what: impl std::fmt::Display, label: &str, hint: &str) {
        let message = format!("polish of {} {what}", self.name);
        let problem = Problem::new(at, message, label);
        self.problems.push(problem.with_hint(hint));
    }

    fn check_keys(&mut self, node: &Node, known: &[&str]) {
        if !matches!(node.value, NodeValue::Map(_)) {
            let what = format!("has {}", node.value.describe());
            self.report(
                node.at,
                what,
                "expected a map",
                &format!("its keys are {}", known.join(", ")),
            );
        }
        for (key, _) in node.entries() {
            if !known.contains(&key.name.as_str()) {
                let what = format!("has the unknown key {:?}", key.name);
                self.report(
                    key.at,
                    what,
                    "not a key of this block",
                    &format!("its keys are {}", known.join(", ")),
                );
            }
        }
    }

    fn items<'n>(&mut self, node: &'n Node, key: &str, known: &[&str]) -> Vec<&'n Node> {
        let items = match node.get(key).map(|list| &list.value) {
            Some(NodeValue::List(items)) => items.iter().collect(),
            Some(_) => node.get(key).into_iter().collect(),
            None => Vec::new(),
        };
        for item in &items {
            self.check_keys(item, known);
        }
        items
    }

    /// A value that is true or false.
    fn flag(&mut self, node: &Node, key: &str, default: bool) -> bool {
        match node.get(key).map(|node| &node.value) {
            None => default,
            Some(NodeValue::Bool(value)) => *value,
            Some(other) => {
                let what = format!("has {} as {key}", other.describe());
                let hint = format!("{key}: true");
                self.report(node.span_of(key), what, "expected true or false", &hint);
                default
            }
        }
    }

    /// A value that is a text.
    fn word<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        let found = node.get(key)?;
        if found.text().is_none() {
            let what = format!("has {} as {key}", found.value.describe());
            let hint = "texts that are numbers stand in quotes";
            self.report(found.at, what, "expected a text", hint);
        }
        found.text()
    }

    fn column_name(&mut self, item: &Node) -> Option<String> {
        let name = item.get("name").and_then(Node::text);
        let name = name.filter(|name| !name.trim().is_empty());
        if name.is_none() {
            self.report(
                item.at,
                "has a column without a name",
                "expected the key name here",
                "name: loaded_at",
            );
        }
        name.map(str::to_string)
    }

    fn hash_ids(&mut self, node: &Node) -> Vec<HashId> {
        let mut found = Vec::new();
        for item in self.items(node, "hash_ids", &["name", "from_columns", "algo", "hex"]) {
            let of = item.get("from_columns").and_then(Node::only_texts);
            if of.is_none() {
                self.report(
                    item.at,
                    "has an id of what is no column",
                    "expected the key from_columns here",
                    "from_columns: [country, number]",
                );
            }
            let algorithm = self.word(item, "algo").unwrap_or("sha256");
            if algorithm != "sha256" {
                let at = item.span_of("algo");
                self.report(
                    at,
                    format!("has the algorithm {algorithm:?}"),
                    "expected sha256",
                    "algo: sha256",
                );
            }
            let is_hex = self.flag(item, "hex", true);
            found.extend(self.column_name(item).map(|name| {
                HashId {
                    name,
                    of: of
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.to_string())
                        .collect(),
                    is_binary: !is_hex,
                }
            }));
        }
        found
    }

    fn names(&mut self, node: &Node) -> NameRules {
        let Some(columns) = node.get("columns") else {
            return NameRules::default();
        };
        self.check_keys(columns, &["remove_special", "remove_spaces", "case"]);
        let case = match self.word(columns, "case") {
            None => None,
            Some("snake") => Some(NameCase::Snake),
            Some("camel") => Some(NameCase::Camel),
            Some("pascal") => Some(NameCase::Pascal),
            Some(other) => {
                let at = columns.span_of("case");
                self.report(
                    at,
                    format!("has the case {other:?}"),
                    "expected snake, camel or pascal",
                    "case: snake",
                );
                None
            }
        };
        NameRules {
            remove_special: self.flag(columns, "remove_special", false),
            remove_spaces: self.flag(columns, "remove_spaces", false),
            case,
        }
    }

    fn constants(&mut self, node: &Node) -> Vec<AddedColumn> {
        let mut found = Vec::new();
        for item in self.items(node, "constants", &["name", "value"]) {
            let value = match item.get("value").map(|node| &node.value) {
                // Nothing stands for something else in it.
                Some(NodeValue::Text(text)) => {
                    Some(AddedValue::Text(text.replace('{', "{{").replace('}', "}}")))
                }
                other => other.and_then(AddedValue::from_node),
            };
            let Some(value) = value else {
                self.report(
                    item.at,
                    "has a constant without a value",
                    "expected a text, a number or a boolean",
                    "value: 7",
                );
                continue;
            };
            found.extend(
                self.column_name(item)
                    .map(|name| AddedColumn { name, value }),
            );
        }
        found
    }

    fn row_marker(&mut self, node: &Node) -> Option<AddedColumn> {
        let marker = node.get("add_row_marker")?;
        let (enabled, value) = match &marker.value {
            NodeValue::Bool(enabled) => (*enabled, None),
            _ => {
                self.check_keys(marker, &["enabled", "value"]);
                (self.flag(marker, "enabled", false), marker.get("value"))
            }
        };
        let value = match value.map(|node| &node.value) {
            None => DEFAULT_MARKER,
            Some(NodeValue::Integer(value)) => *value,
            Some(other) => {
                let what = format!("has the row marker {}", other.describe());
                self.report(
                    marker.span_of("value"),
                    what,
                    "expected a whole number",
                    "value: 4",
                );
                return None;
            }
        };
        enabled.then(|| AddedColumn {
            name: ROW_MARKER.into(),
            value: AddedValue::Integer(value),
        })
    }

    fn timestamps(&mut self, node: &Node) -> Vec<AddedColumn> {
        let mut found = Vec::new();
        for item in self.items(node, "timestamps", &["name", "source", "type", "format"]) {
            if self
                .word(item, "source")
                .is_some_and(|source| source != "now_utc")
            {
                let at = item.span_of("source");
                self.report(
                    at,
                    "has a time stamp of another clock than UTC",
                    "expected now_utc",
                    "source: now_utc; a rebuild on another machine would have another zone",
                );
            }
            let format = self.word(item, "format").unwrap_or(DEFAULT_FORMAT);
            let value = match self.word(item, "type").unwrap_or("datetime") {
                "datetime" => AddedValue::RunTime,
                "string" => AddedValue::RunTimeText(format.to_string()),
                other => {
                    let at = item.span_of("type");
                    self.report(
                        at,
                        format!("has a time stamp of the type {other:?}"),
                        "expected datetime or string",
                        "type: datetime",
                    );
                    continue;
                }
            };
            found.extend(
                self.column_name(item)
                    .map(|name| AddedColumn { name, value }),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_polished() {
        let rules = |remove_special, remove_spaces, case| NameRules {
            remove_special,
            remove_spaces,
            case,
        };
        let special = rules(true, false, None);
        assert_eq!(special.apply("Effective-Date (UTC)"), "Effective-Date UTC");
        assert_eq!(
            special.apply("#%"),
            "#%",
            "a name that would be empty stays"
        );
        assert_eq!(
            rules(true, false, Some(NameCase::Snake)).apply("Effective-Date (UTC)"),
            "effective_date_utc"
        );
        assert_eq!(rules(false, true, None).apply("Order Total"), "OrderTotal");
        let twins =
            rules(true, true, Some(NameCase::Pascal)).apply_all(&["a b", "a-b", "A_B", "c"]);
        assert_eq!(twins, ["AB", "AB_1", "AB_2", "C"]);
        let told =
            rules(true, true, Some(NameCase::Pascal)).describe_numbered(&["a b", "a-b", "c"]);
        assert_eq!(
            told,
            ["polish: column a-b is AB_1: AB is another column already"]
        );
    }
}
