//! The types that columns have between a database and a file.
//!
//! Each stands for exactly one type of Arrow and of parquet. What a database has besides arrives as
//! text.

use std::collections::BTreeMap;
use std::fmt;

use polars_arrow::datatypes::{ArrowDataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};

/// The digits of the widest decimal.
pub const MAX_PRECISION: u8 = 38;

/// Types have fewer levels: they are walked down.
const MAX_DEPTH: usize = 64;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 8 bits, signed.
    Int8,
    /// 16 bits, signed.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// 8 bits.
    UInt8,
    /// 16 bits.
    UInt16,
    /// 32 bits.
    UInt32,
    /// 64 bits.
    UInt64,
    /// 32 bits of IEEE 754.
    Float32,
    /// 64 bits of IEEE 754.
    Float64,
    /// A number of decimal digits.
    Decimal {
        /// All digits, at most 38.
        precision: u8,
        /// Those behind the point.
        scale: u8,
    },
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// Days.
    Date,
    /// Nanoseconds since midnight.
    Time,
    /// Microseconds since 1970 of a clock whose zone is not said.
    Timestamp,
    /// Microseconds since 1970, UTC.
    TimestampUtc,
    /// A list of one type.
    List(Box<ColumnType>),
}

impl ColumnType {
    /// The type that a word of the config means.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::from_lower_name(&word.trim().to_ascii_lowercase(), 0)
    }

    fn from_lower_name(word: &str, depth: usize) -> Option<Self> {
        let word = word.trim();
        let inside = |list: &str| word.strip_prefix(list)?.strip_suffix(')');
        if let Some(inner) = inside("list(").filter(|_| depth < MAX_DEPTH) {
            let inner = Self::from_lower_name(inner, depth + 1)?;
            return Some(Self::List(Box::new(inner)));
        }
        if let Some(digits) = word
            .strip_prefix("decimal(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            return ((1..=MAX_PRECISION).contains(&precision) && scale <= precision)
                .then_some(Self::Decimal { precision, scale });
        }
        SIMPLE_TYPES
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, kind)| kind.clone())
    }

    /// The type of an array that holds it.
    pub fn to_arrow(&self) -> ArrowDataType {
        match self {
            Self::Boolean => ArrowDataType::Boolean,
            Self::Int8 => ArrowDataType::Int8,
            Self::Int16 => ArrowDataType::Int16,
            Self::Int32 => ArrowDataType::Int32,
            Self::Int64 => ArrowDataType::Int64,
            Self::UInt8 => ArrowDataType::UInt8,
            Self::UInt16 => ArrowDataType::UInt16,
            Self::UInt32 => ArrowDataType::UInt32,
            Self::UInt64 => ArrowDataType::UInt64,
            Self::Float32 => ArrowDataType::Float32,
            Self::Float64 => ArrowDataType::Float64,
            Self::Decimal { precision, scale } => {
                ArrowDataType::Decimal(usize::from(*precision), usize::from(*scale))
            }
            Self::Text => ArrowDataType::Utf8View,
            Self::Binary => ArrowDataType::BinaryView,
            Self::Date => ArrowDataType::Date32,
            Self::Time => ArrowDataType::Time64(TimeUnit::Nanosecond),
            Self::Timestamp => ArrowDataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => {
                ArrowDataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Self::List(inner) => ArrowDataType::LargeList(Box::new(Field::new(
                "item".into(),
                inner.to_arrow(),
                true,
            ))),
        }
    }
}

/// Reads the types that a key of a block gives columns, by their words. `words` are those that are
/// offered for one that is none.
pub fn read_types<'w>(
    types: Option<BTreeMap<String, String>>,
    (node, key): (&Node, &str),
    name: &str,
    words: impl Iterator<Item = &'w str> + Clone,
    problems: &mut Problems,
) -> Option<BTreeMap<String, ColumnType>> {
    let mut known = BTreeMap::new();
    let mut is_sound = true;
    for (column, word) in types.unwrap_or_default() {
        let Some(kind) = ColumnType::from_name(&word) else {
            let at = node.get(key);
            let at = at.map_or(node.at, |types| types.span_of(&column));
            let message =
                format!("{key} of {name} gives the column {column} the unknown type {word:?}");
            let otherwise = words.clone().collect::<Vec<_>>().join(", ");
            let problem = Problem::new(at, message, "expected a type");
            let otherwise = Some(format!("types are {otherwise}"));
            problems.push(problem.with_suggestion(&word, words.clone(), otherwise));
            is_sound = false;
            continue;
        };
        known.insert(column, kind);
    }
    is_sound.then_some(known)
}

/// The types that need no more than a word.
pub const SIMPLE_TYPES: [(&str, ColumnType); 17] = [
    ("boolean", ColumnType::Boolean),
    ("int8", ColumnType::Int8),
    ("int16", ColumnType::Int16),
    ("int32", ColumnType::Int32),
    ("int64", ColumnType::Int64),
    ("uint8", ColumnType::UInt8),
    ("uint16", ColumnType::UInt16),
    ("uint32", ColumnType::UInt32),
    ("uint64", ColumnType::UInt64),
    ("float32", ColumnType::Float32),
    ("float64", ColumnType::Float64),
    ("text", ColumnType::Text),
    ("binary", ColumnType::Binary),
    ("date", ColumnType::Date),
    ("time", ColumnType::Time),
    ("timestamp", ColumnType::Timestamp),
    ("timestamp_utc", ColumnType::TimestampUtc),
];

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::List(inner) => write!(f, "list({inner})"),
            other => f.write_str(
                SIMPLE_TYPES
                    .iter()
                    .find(|(_, kind)| kind == other)
                    .map_or("", |(word, _)| word),
            ),
        }
    }
}

impl TryFrom<String> for ColumnType {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        Self::from_name(&word).ok_or_else(|| format!("{word:?} is no type"))
    }
}

impl From<ColumnType> for String {
    fn from(kind: ColumnType) -> Self {
        kind.to_string()
    }
}

/// A column of a table or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type as the database calls it.
    pub declared: String,
    /// What it becomes.
    pub kind: ColumnType,
    /// False where the database promises that it has a value in every row.
    pub nullable: bool,
    /// True where the database is asked for its text, because its type has no counterpart.
    pub is_read_as_text: bool,
}

impl SqlColumn {
    /// The field of a file that holds it.
    pub fn to_arrow(&self) -> Field {
        Field::new(
            self.name.as_str().into(),
            self.kind.to_arrow(),
            self.nullable,
        )
    }
}
