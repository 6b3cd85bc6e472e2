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

use super::node::{Key, Node, UNSET, Value};
use super::problem::{Problem, Problems};
use super::schema::SharedFields;

/// What is known of the keys of a block besides its type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// Keys that others read.
    pub also: &'k [&'k str],
    /// Keys of other blocks, and in which they belong.
    pub belongs: &'k [(&'static str, &'static str)],
}

/// Reads a map into its type; `name` is how errors call it, `also` are keys that others read.
///
/// `None` where it is no map. Values that do not fit count as missing once they are reported.
pub fn read<T: DeserializeOwned>(
    node: &Node,
    name: &str,
    also: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    read_known(node, name, Known { also, belongs: &[] }, problems)
}

/// [`read`], knowing more of the keys.
pub fn read_known<T: DeserializeOwned>(
    node: &Node,
    name: &str,
    known: Known<'_>,
    problems: &mut Problems,
) -> Option<T> {
    let reading = Reading {
        found: RefCell::default(),
        left_out: RefCell::default(),
        unknown: RefCell::default(),
        known,
    };
    let place = At {
        key: None,
        of: name,
    };
    let value = loop {
        let before = reading.left_out.borrow().len();
        if before > MOST {
            break None;
        }
        match T::deserialize(Reader {
            node,
            place,
            reading: &reading,
        }) {
            Ok(value) => break Some(value),
            Err(error) if reading.left_out.borrow().len() == before => {
                reading.report(node, place, error);
                break None;
            }
            Err(_) => {}
        }
    };
    reading
        .found
        .into_inner()
        .into_iter()
        .for_each(|problem| problems.push(problem));
    value
}

/// How many wrong values of a block are reported: for each it is read once more.
const MOST: usize = 100;

/// The keys of a type's block, aliases included.
pub fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let keys = Cell::new(&[][..]);
    // It always fails: it only looks at which fields are asked for.
    drop(T::deserialize(KeysOf { keys: &keys }));
    keys.get()
}

/// What one call of [`read`] knows.
struct Reading<'p> {
    found: RefCell<Vec<Problem>>,
    /// Values that were reported.
    left_out: RefCell<HashSet<*const Node>>,
    /// Unknown keys that were reported.
    unknown: RefCell<HashSet<*const Key>>,
    known: Known<'p>,
}

impl Reading<'_> {
    fn report(&self, node: &Node, place: At<'_>, error: ReadError) {
        let (expected, hint) = match error {
            // The value in it is left out already.
            ReadError::Reported => return,
            ReadError::Expected(expected) => (expected, None),
            ReadError::Unusable(reason) => (reason, None),
            ReadError::Word(written, words) => (
                format!("one of {}", words.join(", ")),
                super::problem::nearest(&written, words.iter().copied()),
            ),
        };
        self.left_out.borrow_mut().insert(node);
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
                Value::Bool(_) | Value::Integer(_) | Value::Float(_)
            );
        self.found.borrow_mut().push(match hint {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None if needs_quotes => problem.hint("put it in quotes"),
            None if is_other_yaml => problem.hint("YAML 1.2 has true and false only"),
            None => problem,
        });
    }

    fn report_unknown(&self, key: &Key, block: &str, known: &[&str], is_top: bool) {
        if !self.unknown.borrow_mut().insert(key) {
            return;
        }
        let also = if is_top { self.known.also } else { &[] };
        let known = || known.iter().chain(also).copied();
        let problem = Problem::new(
            key.at,
            format!("{block} has the unknown key {:?}", key.name),
            "not a key of this block",
        );
        let elsewhere = self
            .known
            .belongs
            .iter()
            .find(|(other, _)| *other == key.name);
        let is_of_flow = keys_of::<SharedFields>().contains(&key.name.as_str());
        self.found.borrow_mut().push(match elsewhere {
            Some((name, place)) => problem.hint(format!("{name} belongs into {place}")),
            None if is_of_flow => problem.hint(format!(
                "{} belongs to a flow: is it indented too far?",
                key.name
            )),
            None => {
                let all = format!(
                    "known keys here: {}",
                    known().collect::<Vec<_>>().join(", ")
                );
                problem.did_you_mean(&key.name, known(), Some(all))
            }
        });
    }
}

const TEXT: &str = "a text";
const BOOLEAN: &str = "true or false";

/// How errors call a value: a key of a block, or the block.
#[derive(Clone, Copy)]
struct At<'p> {
    key: Option<&'p str>,
    of: &'p str,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{key} of {}", self.of),
            None => f.write_str(self.of),
        }
    }
}

/// Why a value does not fit.
#[derive(Debug, thiserror::Error)]
enum ReadError {
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
    Word(String, &'static [&'static str]),
}

impl de::Error for ReadError {
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
struct Reader<'r, 'p> {
    node: &'r Node,
    place: At<'p>,
    reading: &'p Reading<'p>,
}

fn expected<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Expected(what.into()))
}

impl Reader<'_, '_> {
    /// A whole number; YAML 1.2 reads `1_000_000` as a text, and so comes what a variable gives.
    fn integer(&self) -> Option<i64> {
        match &self.node.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.replace('_', "").parse().ok(),
            Value::Secret(secret) => secret.0.parse().ok(),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(*number),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::Secret(secret) => visitor.visit_str(&secret.0),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (&self.node.value, self.node.text()) {
            (Value::Bool(value), _) => visitor.visit_bool(*value),
            // What a variable gives is a text.
            (_, Some("true")) => visitor.visit_bool(true),
            (_, Some("false")) => visitor.visit_bool(false),
            _ => expected(BOOLEAN),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.integer().and_then(|number| u64::try_from(number).ok()) {
            Some(number) => visitor.visit_u64(number),
            None => expected(Described(&visitor).to_string()),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Secret(secret) => visitor.visit_str(&secret.0),
            _ => expected(TEXT),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.value == Value::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                reader: self,
            }),
            _ => expected("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.entries(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.entries(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.node.text() {
            Some(text) if words.contains(&text) => {
                let word: StrDeserializer<'_, ReadError> = text.into_deserializer();
                visitor.visit_enum(word)
            }
            Some(text) => Err(ReadError::Word(text.to_string(), words)),
            None => expected(format!("one of {}", words.join(", "))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

impl<'r> Reader<'r, '_> {
    fn entries<V: Visitor<'r>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else {
            return expected("a map of keys and values");
        };
        let block = self.place.to_string();
        visitor.visit_map(Entries {
            entries: entries.iter(),
            fields,
            block: &block,
            value: None,
            reader: self,
        })
    }
}

/// What a visitor expects, in its own words.
struct Described<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> fmt::Display for Described<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

struct Entries<'r, 'p> {
    entries: std::slice::Iter<'r, (Key, Node)>,
    /// The known keys; `None` where every key is one.
    fields: Option<&'static [&'static str]>,
    block: &'p str,
    value: Option<(&'r Key, &'r Node)>,
    reader: Reader<'r, 'p>,
}

impl<'r> MapAccess<'r> for Entries<'r, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'r>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let reading = self.reader.reading;
        for (key, node) in self.entries.by_ref() {
            let name = key.name.as_str();
            if self.fields.is_some_and(|fields| !fields.contains(&name)) {
                let is_top = self.reader.place.key.is_none();
                if !(is_top && reading.known.also.contains(&name)) {
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
                .left_out
                .borrow()
                .contains(&std::ptr::from_ref(node))
            {
                continue;
            }
            self.value = Some((key, node));
            let name: StrDeserializer<'_, ReadError> = name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'r>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let Some((key, node)) = self.value.take() else {
            return expected("a key before its value");
        };
        let place = At {
            key: Some(&key.name),
            of: self.block,
        };
        read_or_report(seed, node, place, self.reader.reading)
    }
}

struct Items<'r, 'p> {
    items: std::slice::Iter<'r, Node>,
    reader: Reader<'r, 'p>,
}

impl<'r> SeqAccess<'r> for Items<'r, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'r>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let reading = self.reader.reading;
        let is_left = |node: &&Node| {
            !reading
                .left_out
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
    place: At<'_>,
    reading: &Reading<'_>,
) -> Result<T::Value, ReadError> {
    seed.deserialize(Reader {
        node,
        place,
        reading,
    })
    .map_err(|error| {
        reading.report(node, place, error);
        ReadError::Reported
    })
}

/// Asks a type for its fields.
struct KeysOf<'k> {
    keys: &'k Cell<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for KeysOf<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::Reported)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        self.keys.set(keys);
        Err(ReadError::Reported)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
