//! Tests of rows that a database can make before it sends them.
//!
//! They only save work: what they let through is tested again by the flow. So a database may let
//! through more rows than come, never fewer.

use crate::connection::types::ColumnType;

/// A test that the rows of a flow meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowTest {
    /// A column compares so with a value that is written out.
    Compare {
        /// The column.
        column: String,
        /// How.
        comparison: Comparison,
        /// The value.
        value: TestValue,
    },
    /// A column is null.
    IsNull(String),
    /// A column has a value.
    IsNotNull(String),
    /// All of these are met.
    All(Vec<RowTest>),
    /// One of these is met.
    Any(Vec<RowTest>),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`.
    Equal,
    /// `<>`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}

impl Comparison {
    /// The same with its two sides exchanged.
    pub fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// What is true where it is false.
    pub fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A value that is written out in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestValue {
    /// `true`, `false`.
    Boolean(bool),
    /// Digits, with a sign, a point or an exponent where there is one.
    Number(String),
    /// A text, which beside a date or a time stamp is one.
    Text(String),
    /// A text that is a value of a type.
    Typed(ColumnType, String),
}
