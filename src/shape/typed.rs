//! Parts of expressions whose types are known.

use polars_arrow::array::Array;
use polars_arrow::datatypes::ArrowDataType;
use regex::Regex;

use super::expression::{Operator, TextFunction};
use crate::home::Comparison;

/// A part of an expression whose type is known.
#[derive(Clone, Debug)]
pub(super) struct TypedNode {
    pub(super) kind: TypedKind,
    pub(super) dtype: ArrowDataType,
    /// As it is written.
    pub(super) text: String,
}

#[derive(Clone, Debug)]
pub(super) enum TypedKind {
    /// A column, by its name.
    Column(String),
    /// An array of one value.
    Constant(Box<dyn Array>),
    Not(Box<TypedNode>),
    Negate(Box<TypedNode>),
    All(Vec<TypedNode>),
    Any(Vec<TypedNode>),
    /// Both are of one type.
    Compare(Comparison, Box<TypedNode>, Box<TypedNode>),
    /// Both are of one type, or decimals of one scale, or of any scales where they are multiplied.
    Arithmetic(Operator, Box<TypedNode>, Box<TypedNode>),
    Concat(Box<TypedNode>, Box<TypedNode>),
    IsNull(Box<TypedNode>),
    IsTruth(Box<TypedNode>, bool),
    Like(Box<TypedNode>, Regex),
    Coalesce(Vec<TypedNode>),
    Text1(TextFunction, Box<TypedNode>),
    Cast(Box<TypedNode>),
    Widen(Box<TypedNode>),
}

impl TypedKind {
    /// What it is made of.
    pub(super) fn operands(&self) -> Vec<&TypedNode> {
        match self {
            Self::Column(_) | Self::Constant(_) => Vec::new(),
            Self::Not(one)
            | Self::Negate(one)
            | Self::IsNull(one)
            | Self::IsTruth(one, _)
            | Self::Like(one, _)
            | Self::Text1(_, one)
            | Self::Cast(one)
            | Self::Widen(one) => vec![one],
            Self::All(all) | Self::Any(all) | Self::Coalesce(all) => all.iter().collect(),
            Self::Compare(_, one, other)
            | Self::Arithmetic(_, one, other)
            | Self::Concat(one, other) => vec![one, other],
        }
    }
}

/// True for numbers of every kind.
pub(super) fn is_numeric(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    is_integer(dtype) || matches!(dtype, T::Decimal(..) | T::Float16 | T::Float32 | T::Float64)
}

/// True for whole numbers.
pub(super) fn is_integer(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64
    )
}
