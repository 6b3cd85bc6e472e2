//! Types of columns that no file says: they are found in its values, and hold for all of them.

use std::collections::BTreeMap;

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WantedColumns;
use super::canonical_schema::{schema_from_text, schema_to_text, write_field};
use crate::connection::types::ColumnType;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

/// The types that are found in texts: the first that all texts of a column are is its type, and text
/// where they are none of them.
const KINDS: [ColumnType; 8] = [
    ColumnType::Boolean,
    ColumnType::Int64,
    ColumnType::Decimal {
        precision: 38,
        scale: 0,
    },
    ColumnType::Float64,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::Timestamp,
    ColumnType::TimestampUtc,
];

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactsOf {
    /// Its beginning.
    Beginning,
    /// All of it.
    All,
}

/// What the values of a file's columns could be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The columns whose types the file does not say, in order.
    pub columns: Vec<(String, ValueFacts)>,
    /// True where all values were looked at.
    pub is_whole: bool,
}

/// What all of some texts could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueFacts {
    /// Which of the kinds they are, bit by bit.
    kinds: u8,
    /// True where one of them has a digit: `NaN` alone makes no floats.
    has_digit: bool,
    /// True where there are some.
    has_value: bool,
}

impl Default for ValueFacts {
    /// Of no text.
    fn default() -> Self {
        Self {
            kinds: u8::MAX,
            has_digit: false,
            has_value: false,
        }
    }
}

impl ValueFacts {
    /// One more text, of which it is known whether it is one of a type.
    pub(super) fn observe(&mut self, text: &str, is_of: impl Fn(&ColumnType) -> bool) {
        self.has_value = true;
        if self.kinds == 0 {
            return;
        }
        self.has_digit |= text.bytes().any(|byte| byte.is_ascii_digit());
        for (number, kind) in KINDS.iter().enumerate() {
            let bit = 1 << number;
            if self.kinds & bit != 0 && !is_of(kind) {
                self.kinds &= !bit;
            }
        }
    }

    /// Of these texts and others.
    fn join(&mut self, other: &Self) {
        self.kinds &= other.kinds;
        self.has_digit |= other.has_digit;
        self.has_value |= other.has_value;
    }

    /// True where all of them are of a type.
    fn are(&self, dtype: &ArrowDataType) -> bool {
        let mut possible = self.possible();
        !self.has_value
            || *dtype == ArrowDataType::Utf8View
            || possible.any(|kind| kind.to_arrow() == *dtype)
    }

    fn possible(&self) -> impl Iterator<Item = &'static ColumnType> {
        let numbered = KINDS.iter().enumerate();
        numbered
            .filter(|(number, kind)| {
                let is_told = self.has_digit || **kind != ColumnType::Float64;
                self.kinds & (1 << number) != 0 && is_told
            })
            .map(|(_, kind)| kind)
    }

    /// True where they say a type.
    fn are_decided(&self) -> bool {
        self.has_value && (self.kinds == 0 || self.possible().next().is_some())
    }

    /// Their type: text where there are none, or nothing else holds them all.
    fn dtype(&self) -> ArrowDataType {
        let found = self.possible().next().filter(|_| self.has_value);
        found.unwrap_or(&ColumnType::Text).to_arrow()
    }
}

/// What the values of several files could be, by their columns.
#[derive(Clone, Debug, Default)]
pub struct JoinedFacts {
    columns: BTreeMap<String, ValueFacts>,
    /// True where all values were looked at.
    are_whole: bool,
}

impl JoinedFacts {
    /// Of all of these files.
    pub fn new(files: &[FileFacts]) -> Self {
        let mut columns: BTreeMap<String, ValueFacts> = BTreeMap::new();
        for (name, facts) in files.iter().flat_map(|file| &file.columns) {
            columns.entry(name.clone()).or_default().join(facts);
        }
        let are_whole = files.iter().all(|file| file.is_whole);
        Self { columns, are_whole }
    }

    /// True where values may come that say another type.
    fn may_find_more(&self, facts: &ValueFacts) -> bool {
        !facts.are_decided() && (!self.are_whole || !facts.has_value)
    }

    /// The type of each column: the one that is known, whatever its values are, or only as long as
    /// they are of it where it `may_widen`; else the one that is found.
    ///
    /// A column that is not wanted has none.
    pub fn types(
        &self,
        known: &dyn Fn(&str) -> Option<ArrowDataType>,
        may_widen: bool,
        wanted: &WantedColumns,
    ) -> InferredTypes {
        let column = |(name, facts): (&String, &ValueFacts)| {
            if !wanted.has(name) {
                let (dtype, guess) = (ArrowDataType::Null, Guess::NoValue);
                return (name.clone(), InferredType { dtype, guess });
            }
            let known = known(name).filter(|known| !may_widen || facts.are(known));
            let guess = match &known {
                Some(_) if !may_widen => Guess::Final,
                None if self.may_find_more(facts) => Guess::NoValue,
                _ => Guess::OfFirst,
            };
            let dtype = known.unwrap_or_else(|| facts.dtype());
            (name.clone(), InferredType { dtype, guess })
        };
        InferredTypes(self.columns.iter().map(column).collect())
    }
}

/// The type of a column that was found in values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferredType {
    /// The type.
    pub dtype: ArrowDataType,
    /// How sure it is.
    pub guess: Guess,
}

/// How sure a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guess {
    /// It stays: a value of another type is an error.
    Final,
    /// The first values are of it: one of another type is a reason to look at all.
    OfFirst,
    /// None of the first values says one: any value is a reason to look at all.
    NoValue,
}

/// Types that were found for the columns of a flow's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InferredTypes(pub BTreeMap<String, InferredType>);

impl InferredTypes {
    /// True for a column of which no value has said what it is: others may.
    pub fn is_open(&self, column: &str) -> bool {
        let found = self.0.get(column);
        found.is_some_and(|found| found.guess == Guess::NoValue)
    }

    /// What decides values; nothing where all are texts, as they stand.
    pub fn digest(&self) -> Option<Fingerprint> {
        let typed = self.fields();
        let typed = typed.filter(|field| field.dtype != ArrowDataType::Utf8View);
        let typed: Vec<Field> = typed.collect();
        let mut writer = KeyWriter::new(KeyKind::Schema);
        writer.text("inferred").count(typed.len());
        typed
            .iter()
            .for_each(|field| write_field(field, &mut writer));
        (!typed.is_empty()).then(|| writer.finish())
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        let columns = self.0.iter();
        columns.map(|(name, found)| Field::new(name.as_str().into(), found.dtype.clone(), true))
    }
}

/// As it is written into a job.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTypes {
    schema: String,
    guesses: BTreeMap<String, Guess>,
}

impl Serialize for InferredTypes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let columns = self.fields().map(|field| (field.name.clone(), field));
        let guesses = self.0.iter();
        let written = WrittenTypes {
            schema: schema_to_text(&columns.collect::<ArrowSchema>()),
            guesses: guesses
                .map(|(name, found)| (name.clone(), found.guess))
                .collect(),
        };
        written.serialize(to)
    }
}

impl<'de> Deserialize<'de> for InferredTypes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = WrittenTypes::deserialize(from)?;
        let schema = schema_from_text(&written.schema);
        let schema = schema.ok_or_else(|| D::Error::custom("no schema of Arrow"))?;
        let columns = schema.into_iter().map(|(name, field)| {
            let guess = written.guesses.get(name.as_str());
            let guess = *guess.ok_or_else(|| D::Error::custom("a type without a guess"))?;
            let dtype = field.dtype;
            Ok((name.to_string(), InferredType { dtype, guess }))
        });
        Ok(Self(columns.collect::<Result<_, D::Error>>()?))
    }
}
