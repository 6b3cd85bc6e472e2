//! YAML as written: every value with the place where it stands.
//!
//! It knows YAML and no key of hygge's.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::{Problem, Problems, Source, Span};

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is written.
    pub value: Value,
    /// Where.
    pub at: Span,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Where it stands.
    pub at: Span,
}

impl Value {
    /// How an error names this value.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => format!("the text {text:?}"),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a map".into(),
        }
    }
}

/// Parses one YAML document. As YAML 1.2 has it, only `true` and `false` are booleans: a folder may
/// be called `no`.
pub fn parse(source: &Source) -> Result<Node, Problems> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options::<Raw>(&source.text, options).map(|raw| raw.0).map_err(|error| {
        let at = error.location().map_or(Span::default(), |location| span(&location));
        let message = error.without_snippet().to_string();
        // The location is shown with the lines themselves, and nobody here sets options of the parser.
        let message = message.split(" at line ").next().unwrap_or(&message);
        let message = message.split(", set ").next().unwrap_or(message);
        let message = message.split("; use from_str").next().unwrap_or(message).to_string();
        let hint = YAML_HINTS.iter().find(|(word, _)| message.contains(word)).map(|(_, hint)| *hint);
        let problem = Problem::new(at.within(&source.text), message, "here");
        Problems::one(source, if let Some(hint) = hint { problem.hint(hint) } else { problem })
    })
}

/// What to do about errors that the parser words for those who know YAML well.
const YAML_HINTS: &[(&str, &str)] = &[
    ("multiple YAML documents", "take out the --- between them"),
    ("duplicate mapping key", "a key may stand only once in a map"),
    ("tabs disallowed", "indent with spaces"),
];

struct Raw(Node);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Node { value: spanned.value.0, at: span(&spanned.referenced) }))
    }
}

struct RawValue(Value);

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Raw(node)) = items.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let Raw(node) = entries.next_value()?;
            map.push((Key { at: span(&key.referenced), name: key.value }, node));
        }
        Ok(Value::Map(map))
    }
}

fn span(location: &serde_saphyr::Location) -> Span {
    let number = |value: u64| usize::try_from(value).unwrap_or_default();
    let span = location.span();
    Span {
        offset: number(span.byte_offset().unwrap_or_default()),
        length: number(span.byte_len().unwrap_or_default()),
        line: number(location.line()),
        column: number(location.column()),
    }
}
