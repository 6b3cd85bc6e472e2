//! Reading a block of the config into its type: every wrong value and unknown key is a problem with
//! a place, not only the first.
//!
//! The type says what there may be: its fields are the known keys, and serde reads them. A value
//! that does not fit is reported, left out, and the block is read again, until the rest fits.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use super::node::{Key, Node, NodeValue, UNSET};
use super::problem::{Problem, Problems};
use super::schema::SharedFields;

/// What is known of the keys of a block besides its type.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownKeys<'k> {
    /// Keys that others read.
    pub extra: &'k [&'k str],
    /// Keys of other blocks, and in which they belong.
    pub key_locations: &'k [(&'static str, &'static str)],
}

/// Reads a map into its type; `name` is how errors call it, `also` are keys that others read.
///
/// `None` where it is no map. Values that do not fit count as missing once they are reported.
pub fn read_block<T: DeserializeOwned>(
    node: &Node,
    name: &str,
    also: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    read_block_with(
        node,
        name,
        KnownKeys {
            extra: also,
            key_locations: &[],
        },
        problems,
    )
}

/// [`read_block`], knowing more of the keys.
pub fn read_block_with<T: DeserializeOwned>(
    node: &Node,
    name: &str,
    known: KnownKeys<'_>,
    problems: &mut Problems,
) -> Option<T> {
    let reading = ReadContext {
        problems: RefCell::default(),
        reported_values: RefCell::default(),
        reported_keys: RefCell::default(),
        known,
    };
    let place = ValueLabel {
        key: None,
        block: name,
    };
    let value = loop {
        let before = reading.reported_values.borrow().len();
        if before > MAX_REPORTED {
            break None;
        }
        match T::deserialize(NodeDeserializer {
            node,
            place,
            reading: &reading,
        }) {
            Ok(value) => break Some(value),
            Err(error) if reading.reported_values.borrow().len() == before => {
                reading.report(node, place, error);
                break None;
            }
            Err(_) => {}
        }
    };
    reading
        .problems
        .into_inner()
        .into_iter()
        .for_each(|problem| problems.push(problem));
    value
}

/// How many wrong values of a block are reported: for each it is read once more.
const MAX_REPORTED: usize = 100;

/// The keys of a type's block, aliases included.
pub fn block_keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let keys = Cell::new(&[][..]);
    // It always fails: it only looks at which fields are asked for.
    drop(T::deserialize(FieldCollector { keys: &keys }));
    keys.get()
}

/// What one call of [`read_block`] knows.
struct ReadContext<'p> {
    problems: RefCell<Vec<Problem>>,
    /// Values that were reported.
    reported_values: RefCell<HashSet<*const Node>>,
    /// Unknown keys that were reported.
    reported_keys: RefCell<HashSet<*const Key>>,
    known: KnownKeys<'p>,
}

impl ReadContext<'_> {
    fn report(&self, node: &Node, place: ValueLabel<'_>, error: FieldError) {
        let (expected, hint) = match error {
            // The value in it is left out already.
            FieldError::Reported => return,
            FieldError::Expected(expected) => (expected, None),
            FieldError::Unusable(reason) => (reason, None),
            FieldError::UnknownWord(written, words) => (
                format!("one of {}", words.join(", ")),
                super::problem::closest_match(&written, words.iter().copied()),
            ),
        };
        self.reported_values.borrow_mut().insert(node);
        if node.text() == Some(UNSET) {
            return;
        }
        let message = format!("{place} is {}", node.value.describe());
        let problem = Problem::new(node.at, message, format!("expected {expected}"));
        let is_other_yaml = expected == BOOLEAN
            && matches!(
                node.text(),
                Some("yes" | "no" | "on" | "off" | "Yes" | "No" | "True" | "False")
            );
        let needs_quotes = expected == TEXT
            && matches!(
                node.value,
                NodeValue::Bool(_) | NodeValue::Integer(_) | NodeValue::Float(_)
            );
        self.problems.borrow_mut().push(match hint {
            Some(near) => problem.with_hint(format!("did you mean {near}?")),
            None if needs_quotes => problem.with_hint("put it in quotes"),
            None if is_other_yaml => problem.with_hint("YAML 1.2 has true and false only"),
            None => problem,
        });
    }

    fn report_unknown(&self, key: &Key, block: &str, known: &[&str], is_top: bool) {
        if !self.reported_keys.borrow_mut().insert(key) {
            return;
        }
        let also = if is_top { self.known.extra } else { &[] };
        let known = || known.iter().chain(also).copied();
        let problem = Problem::new(
            key.at,
            format!("{block} has the unknown key {:?}", key.name),
            "not a key of this block",
        );
        let elsewhere = self
            .known
            .key_locations
            .iter()
            .find(|(other, _)| *other == key.name);
        let is_of_flow = block_keys::<SharedFields>().contains(&key.name.as_str());
        self.problems.borrow_mut().push(match elsewhere {
            Some((name, place)) => problem.with_hint(format!("{name} belongs into {place}")),
            None if is_of_flow => problem.with_hint(format!(
                "{} belongs to a flow: is it indented too far?",
                key.name
            )),
            None => {
                let all = format!(
                    "known keys here: {}",
                    known().collect::<Vec<_>>().join(", ")
                );
                problem.with_suggestion(&key.name, known(), Some(all))
            }
        });
    }
}

const TEXT: &str = "a text";
const BOOLEAN: &str = "true or false";

/// How errors call a value: a key of a block, or the block.
#[derive(Clone, Copy)]
struct ValueLabel<'p> {
    key: Option<&'p str>,
    block: &'p str,
}

impl fmt::Display for ValueLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{key} of {}", self.block),
            None => f.write_str(self.block),
        }
    }
}

/// Why a value does not fit.
#[derive(Debug, thiserror::Error)]
enum FieldError {
    /// It was said already.
    #[error("reported")]
    Reported,
    /// What there should be.
    #[error("expected {0}")]
    Expected(String),
    /// The type's own words.
    #[error("{0}")]
    Unusable(String),
    /// No such word; the words there are.
    #[error("unknown word {0}")]
    UnknownWord(String, &'static [&'static str]),
}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Unusable(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }
}

/// One value, being read.
#[derive(Clone, Copy)]
struct NodeDeserializer<'r, 'p> {
    node: &'r Node,
    place: ValueLabel<'p>,
    reading: &'p ReadContext<'p>,
}

fn expected<T>(what: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::Expected(what.into()))
}

impl NodeDeserializer<'_, '_> {
    /// A whole number; YAML 1.2 reads `1_000_000` as a text, and so comes what a variable gives.
    fn integer(&self) -> Option<i64> {
        match &self.node.value {
            NodeValue::Integer(number) => Some(*number),
            NodeValue::Text(text) => text.replace('_', "").parse().ok(),
            NodeValue::Secret(secret) => secret.0.parse().ok(),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de, '_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match &self.node.value {
            NodeValue::Null => visitor.visit_unit(),
            NodeValue::Bool(value) => visitor.visit_bool(*value),
            NodeValue::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(*number),
            },
            NodeValue::Float(number) => visitor.visit_f64(*number),
            NodeValue::Text(text) => visitor.visit_str(text),
            NodeValue::Secret(secret) => visitor.visit_str(&secret.0),
            NodeValue::List(_) => self.deserialize_seq(visitor),
            NodeValue::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match (&self.node.value, self.node.text()) {
            (NodeValue::Bool(value), _) => visitor.visit_bool(*value),
            // What a variable gives is a text.
            (_, Some("true")) => visitor.visit_bool(true),
            (_, Some("false")) => visitor.visit_bool(false),
            _ => expected(BOOLEAN),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.integer().and_then(|number| u64::try_from(number).ok()) {
            Some(number) => visitor.visit_u64(number),
            None => expected(Expectation(&visitor).to_string()),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match &self.node.value {
            NodeValue::Text(text) => visitor.visit_str(text),
            NodeValue::Secret(secret) => visitor.visit_str(&secret.0),
            _ => expected(TEXT),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        if self.node.value == NodeValue::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match &self.node.value {
            NodeValue::List(items) => visitor.visit_seq(ListReader {
                items: items.iter(),
                reader: self,
            }),
            _ => expected("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit_entries(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.visit_entries(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self.node.text() {
            Some(text) if words.contains(&text) => {
                let word: StrDeserializer<'_, FieldError> = text.into_deserializer();
                visitor.visit_enum(word)
            }
            Some(text) => Err(FieldError::UnknownWord(text.to_string(), words)),
            None => expected(format!("one of {}", words.join(", "))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl<'r> NodeDeserializer<'r, '_> {
    fn visit_entries<V: Visitor<'r>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let NodeValue::Map(entries) = &self.node.value else {
            return expected("a map of keys and values");
        };
        let block = self.place.to_string();
        visitor.visit_map(MapReader {
            entries: entries.iter(),
            fields,
            block: &block,
            value: None,
            reader: self,
        })
    }
}

/// What a visitor expects, in its own words.
struct Expectation<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> fmt::Display for Expectation<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

struct MapReader<'r, 'p> {
    entries: std::slice::Iter<'r, (Key, Node)>,
    /// The known keys; `None` where every key is one.
    fields: Option<&'static [&'static str]>,
    block: &'p str,
    value: Option<(&'r Key, &'r Node)>,
    reader: NodeDeserializer<'r, 'p>,
}

impl<'r> MapAccess<'r> for MapReader<'r, '_> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'r>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FieldError> {
        let reading = self.reader.reading;
        for (key, node) in self.entries.by_ref() {
            let name = key.name.as_str();
            if self.fields.is_some_and(|fields| !fields.contains(&name)) {
                let is_top = self.reader.place.key.is_none();
                if !(is_top && reading.known.extra.contains(&name)) {
                    reading.report_unknown(
                        key,
                        self.block,
                        self.fields.unwrap_or_default(),
                        is_top,
                    );
                }
                continue;
            }
            if reading
                .reported_values
                .borrow()
                .contains(&std::ptr::from_ref(node))
            {
                continue;
            }
            self.value = Some((key, node));
            let name: StrDeserializer<'_, FieldError> = name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'r>>(&mut self, seed: T) -> Result<T::Value, FieldError> {
        let Some((key, node)) = self.value.take() else {
            return expected("a key before its value");
        };
        let place = ValueLabel {
            key: Some(&key.name),
            block: self.block,
        };
        read_or_report(seed, node, place, self.reader.reading)
    }
}

struct ListReader<'r, 'p> {
    items: std::slice::Iter<'r, Node>,
    reader: NodeDeserializer<'r, 'p>,
}

impl<'r> SeqAccess<'r> for ListReader<'r, '_> {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'r>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldError> {
        let reading = self.reader.reading;
        let is_left = |node: &&Node| {
            !reading
                .reported_values
                .borrow()
                .contains(&std::ptr::from_ref::<Node>(node))
        };
        let Some(node) = self.items.by_ref().find(is_left) else {
            return Ok(None);
        };
        read_or_report(seed, node, self.reader.place, reading).map(Some)
    }
}

/// Reads one value; what does not fit is reported with its place.
fn read_or_report<'r, T: DeserializeSeed<'r>>(
    seed: T,
    node: &'r Node,
    place: ValueLabel<'_>,
    reading: &ReadContext<'_>,
) -> Result<T::Value, FieldError> {
    seed.deserialize(NodeDeserializer {
        node,
        place,
        reading,
    })
    .map_err(|error| {
        reading.report(node, place, error);
        FieldError::Reported
    })
}

/// Asks a type for its fields.
struct FieldCollector<'k> {
    keys: &'k Cell<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for FieldCollector<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldError> {
        Err(FieldError::Reported)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FieldError> {
        self.keys.set(keys);
        Err(FieldError::Reported)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
