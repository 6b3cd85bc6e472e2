//! Reading YAML into a tree, within bounds, and what its parser says in the words of those who do
//! not know YAML well.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::node::{Key, NON_TEXT_PREFIX, Node, NodeValue, UNSET};
use super::problem::{Problem, Problems, Span};

/// How deep a config may be nested: hygge's own keys need ten.
pub const MAX_DEPTH: usize = 64;
/// How many values a file may have, what aliases repeat included.
pub const MAX_VALUES: usize = 1_000_000;
/// How many values aliases may repeat.
const MAX_ALIAS_VALUES: usize = 300_000;

/// Parses one YAML document, the config's file of this number. As YAML 1.2 has it, only `true` and
/// `false` are booleans: a folder may be called `no`. Aliases, depth and size are bounded.
///
/// # Errors
/// It is not YAML.
pub(super) fn parse(text: &str, file: usize) -> Result<Node, Problem> {
    let mut options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    };
    options.alias_limits.max_total_replayed_events = MAX_ALIAS_VALUES;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = MAX_DEPTH;
        budget.flow_nesting_limit = MAX_DEPTH;
        budget.max_nodes = MAX_VALUES;
        budget.max_events = 2 * MAX_VALUES;
        budget.max_recorded_anchor_events = 2 * MAX_VALUES;
        // One anchor may be merged into thousands of flows.
        budget.enforce_alias_anchor_ratio = false;
    }
    match serde_saphyr::from_str_with_options::<RawNode>(text, options) {
        Ok(RawNode(mut node)) => {
            node.restore_key_texts(text);
            if file > 0 {
                node.set_file(file);
            }
            Ok(node)
        }
        Err(error) => {
            let at = error
                .location()
                .map_or(Span::default(), |location| to_span(&location));
            let message = error.without_snippet().to_string();
            Err(parse_problem(
                &message,
                Span {
                    file,
                    ..at.with_offset_in(text)
                },
            ))
        }
    }
}

/// The error of a key that is no text.
const KEY_ERROR: &str = "a key is a list or a map";

/// Words of the parser, what is said instead (or its own words), and what to do.
const PARSER_HINTS: &[(&str, Option<&str>, &str)] = &[
    (
        "multiple YAML documents",
        None,
        "take out the --- between them",
    ),
    (
        "tab",
        None,
        "indent with spaces, and put spaces between values: YAML has no tabs there",
    ),
    (
        "unknown anchor",
        Some("a text begins with *, which YAML takes for an alias"),
        "put it in quotes, such as \"*.parquet\"; or name an anchor that is written above, in the \
         same file",
    ),
    (
        "unexpected character",
        None,
        "put a text in quotes that begins with @, %, ` or another sign",
    ),
    (
        "unknown escape",
        None,
        "put the text in single quotes, or write / for \\",
    ),
    (
        "mapping values are not allowed",
        None,
        "put a text in quotes that has \": \" in it; keys of one map begin in one column",
    ),
    (
        "did not find expected key",
        None,
        "keys of one map begin in one column; put a text in quotes that begins with { or [",
    ),
    (
        "did not find expected ',' or",
        None,
        "close the bracket, put a comma between its items, and put a text in quotes that begins \
         with { or [",
    ),
    ("unclosed bracket", None, "close the bracket"),
    ("quoted scalar", None, "close the quote"),
    ("simple key", None, "a key ends with a colon and a space"),
    (
        KEY_ERROR,
        None,
        "put a key in quotes that begins with { or [",
    ),
    (
        "recursive references",
        Some("an alias stands in what it repeats"),
        "repeat something else, or write it out",
    ),
    (
        "recursion limit",
        Some("it is nested more than 64 levels deep"),
        "a config needs ten: is something missing a closing bracket?",
    ),
    (
        "Depth",
        Some("it is nested more than 64 levels deep"),
        "a config needs ten: is something missing a closing bracket?",
    ),
    (
        "nesting",
        Some("it is nested more than 64 levels deep"),
        "a config needs ten: is something missing a closing bracket?",
    ),
    (
        "budget",
        Some("it has more values than a config may have, those that aliases repeat included"),
        "split it: each flow may have a folder of its own",
    ),
    (
        "replay",
        Some("its aliases repeat more values than a config may have"),
        "use fewer aliases in aliases",
    ),
];

/// Signs that YAML takes for something else, and that leave nothing of a text behind them.
const SPECIAL_CHARS: &[(char, &str)] = &[('&', "an anchor"), ('!', "a tag")];

/// Finds texts that begin with a sign by which YAML reads nothing. Each is a problem, and what
/// reads it says nothing more.
pub(super) fn report_special_chars(node: &mut Node, text: &str, problems: &mut Problems) {
    match &mut node.value {
        NodeValue::List(items) => items
            .iter_mut()
            .for_each(|item| report_special_chars(item, text, problems)),
        NodeValue::Map(entries) => {
            for (key, value) in entries {
                let sign = if value.value == NodeValue::Null {
                    special_char_after(key, text)
                } else {
                    None
                };
                match sign {
                    Some((at, word, what)) => {
                        let message = format!(
                            "{} begins with {}, which YAML takes for {what}",
                            key.name,
                            &word[..1]
                        );
                        problems.push(
                            Problem::new(at, message, "read as nothing")
                                .with_hint(format!("put it in quotes: \"{word}\"")),
                        );
                        value.value = NodeValue::Text(UNSET.into());
                    }
                    None => report_special_chars(value, text, problems),
                }
            }
        }
        _ => {}
    }
}

/// The word behind a key that begins with such a sign, with its place and what YAML takes it for.
fn special_char_after<'t>(key: &Key, text: &'t str) -> Option<(Span, &'t str, &'static str)> {
    let line = text.get(key.at.offset..)?.lines().next()?;
    let behind = line
        .get(key.at.length..)?
        .trim_start_matches(['"', '\'', ' ', '\t'])
        .strip_prefix(':')?
        .trim_start();
    let word = behind.split([' ', '\t', ',', '}', ']']).next()?;
    let (_, what) = SPECIAL_CHARS
        .iter()
        .find(|(sign, _)| word.starts_with(*sign))?;
    // An anchor that is used somewhere is one, and two ! are a type of YAML's own.
    if word.len() < 2 || word.starts_with("!!") || text.contains(&format!("*{}", &word[1..])) {
        return None;
    }
    let before = &line[..line.len() - behind.len()];
    let (offset, column) = (
        key.at.offset + before.len(),
        key.at.column + before.chars().count(),
    );
    Some((
        Span {
            offset,
            column,
            length: word.len(),
            ..key.at
        },
        word,
        what,
    ))
}

/// The problem that a parser's error is.
fn parse_problem(said: &str, at: Span) -> Problem {
    let known = PARSER_HINTS.iter().find(|(word, ..)| said.contains(word));
    // The location is shown with the lines themselves, and nobody here sets options of the parser.
    let own = said.split(" at line ").next().unwrap_or(said);
    let own = own.split(", set ").next().unwrap_or(own);
    let own = own.split("; use ").next().unwrap_or(own);
    match known {
        Some((_, words, hint)) => Problem::new(at, words.unwrap_or(own), "here").with_hint(*hint),
        None => Problem::new(at, own, "here").with_hint(
            "this is where YAML could not be read; the cause may stand on the line above",
        ),
    }
}

struct RawNode(Node);

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Node {
            value: spanned.value.0,
            at: to_span(&spanned.referenced),
        }))
    }
}

struct RawValue(NodeValue);

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = NodeValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_none<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeValue, E> {
        Ok(NodeValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<NodeValue, E> {
        Ok(NodeValue::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<NodeValue, E> {
        Ok(i64::try_from(value).map_or(NodeValue::Float(value as f64), NodeValue::Integer))
    }

    fn visit_i128<E>(self, value: i128) -> Result<NodeValue, E> {
        Ok(i64::try_from(value).map_or(NodeValue::Float(value as f64), NodeValue::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<NodeValue, E> {
        Ok(NodeValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<NodeValue, A::Error> {
        let mut list = Vec::new();
        while let Some(RawNode(node)) = items.next_element()? {
            list.push(node);
        }
        Ok(NodeValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<NodeValue, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<RawNode>()? {
            let RawNode(node) = entries.next_value()?;
            let name = match key.0.value {
                NodeValue::Text(text) => text,
                NodeValue::Null => format!("{NON_TEXT_PREFIX}null"),
                NodeValue::Bool(value) => format!("{NON_TEXT_PREFIX}{value}"),
                NodeValue::Integer(number) => format!("{NON_TEXT_PREFIX}{number}"),
                NodeValue::Float(number) => format!("{NON_TEXT_PREFIX}{number}"),
                NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Secret(_) => {
                    return Err(serde::de::Error::custom(KEY_ERROR));
                }
            };
            map.push((
                Key {
                    at: key.0.at,
                    name,
                    is_default: false,
                },
                node,
            ));
        }
        Ok(NodeValue::Map(map))
    }
}

fn to_span(location: &serde_saphyr::Location) -> Span {
    let number = |value: u64| usize::try_from(value).unwrap_or_default();
    let span = location.span();
    Span {
        file: 0,
        offset: number(span.byte_offset().unwrap_or_default()),
        length: number(span.byte_len().unwrap_or_default()),
        line: number(location.line()),
        column: number(location.column()),
    }
}
