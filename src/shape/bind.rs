//! Expressions of typed columns: every part of an expression gets its type before a row is read.
//!
//! Types are widened as those of files that differ are (`format/widening.rs`): never to a float and
//! never to text. What is written as a number or a text takes the type of what it stands beside.

use polars_arrow::array::{Array, BooleanArray, PrimitiveArray, Utf8ViewArray, new_null_array};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema};
use regex::Regex;

use super::cast::{self, check_castable};
use super::error::ShapeError;
use super::evaluate::{Operand, evaluate};
use super::exact_number::ExactNumber;
use super::expression::{Node, NodeKind, Operator};
use super::moment::is_moment;
use super::typed::{TypedKind, TypedNode, is_integer, is_numeric};
use crate::connection::types::ColumnType;
use crate::format::arrays::MAX_PRECISION;
use crate::format::batch;
use crate::format::canonical_schema::type_name;
use crate::format::widening::{common_type, is_same_type};

/// Gives every part of a condition its type.
///
/// # Errors
/// A column that is not there, types that do not go together, a constant that has no value; what is
/// neither true nor false.
pub(super) fn bind_condition(
    condition: &Node,
    columns: &ArrowSchema,
) -> Result<TypedNode, ShapeError> {
    Binder { columns }.condition(condition)
}

struct Binder<'a> {
    columns: &'a ArrowSchema,
}

impl Binder<'_> {
    fn condition(&self, node: &Node) -> Result<TypedNode, ShapeError> {
        let typed = self.node(node)?;
        match typed.dtype {
            ArrowDataType::Boolean => Ok(typed),
            ArrowDataType::Null => widened(typed, &ArrowDataType::Boolean),
            _ => Err(wrong(
                node,
                format!(
                    "{} is {}, expected a condition",
                    typed.text,
                    type_name(&typed.dtype)
                ),
            )),
        }
    }

    fn node(&self, node: &Node) -> Result<TypedNode, ShapeError> {
        let typed = self.unfolded(node)?;
        typed.folded()
    }

    fn unfolded(&self, node: &Node) -> Result<TypedNode, ShapeError> {
        use ArrowDataType as T;
        use NodeKind as K;
        let typed = |kind: TypedKind, dtype: ArrowDataType| TypedNode {
            kind,
            dtype,
            text: node.text.clone(),
        };
        Ok(match &node.kind {
            K::Column(name) => {
                let Some(field) = self.columns.get(name.as_str()) else {
                    return Err(ShapeError::new(format!("its home has no column {name}")));
                };
                typed(TypedKind::Column(name.clone()), field.dtype.clone())
            }
            K::Null => typed(TypedKind::Constant(new_null_array(T::Null, 1)), T::Null),
            K::Boolean(value) => typed(
                TypedKind::Constant(BooleanArray::from_slice([*value]).boxed()),
                T::Boolean,
            ),
            K::Text(text) => typed(TypedKind::Constant(one_text(text)), T::Utf8View),
            K::Number(digits) => number(digits).ok_or_else(|| {
                wrong(
                    node,
                    format!("{digits} has more than {MAX_PRECISION} digits"),
                )
            })?,
            K::Typed(to, text) => self.typed_constant(node, text, to)?,
            K::Not(one) => typed(TypedKind::Not(Box::new(self.condition(one)?)), T::Boolean),
            K::Negate(one) => {
                let one = self.node(one)?;
                let dtype = match &one.dtype {
                    T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
                        common_type(&one.dtype, &T::Int8).unwrap_or(T::Int64)
                    }
                    T::Float16 => T::Float32,
                    numeric if is_numeric(numeric) => numeric.clone(),
                    _ => return Err(no_operator(node, "-", &[&one])),
                };
                let one = widened(one, &dtype)?;
                typed(TypedKind::Negate(Box::new(one)), dtype)
            }
            K::All(all) => typed(TypedKind::All(self.conditions(all)?), T::Boolean),
            K::Any(all) => typed(TypedKind::Any(self.conditions(all)?), T::Boolean),
            K::Compare(how, one, other) => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                let (one, other) = self.comparable(node, one, other)?;
                typed(
                    TypedKind::Compare(*how, Box::new(one), Box::new(other)),
                    T::Boolean,
                )
            }
            K::Arithmetic(operator, one, other) => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                let (one, other, dtype) = arithmetic(node, *operator, one, other)?;
                typed(
                    TypedKind::Arithmetic(*operator, Box::new(one), Box::new(other)),
                    dtype,
                )
            }
            K::Concat(one, other) => {
                let (one, other) = (self.text(node, one)?, self.text(node, other)?);
                typed(
                    TypedKind::Concat(Box::new(one), Box::new(other)),
                    T::Utf8View,
                )
            }
            K::IsNull(one) => typed(TypedKind::IsNull(Box::new(self.node(one)?)), T::Boolean),
            K::IsTruth(one, truth) => typed(
                TypedKind::IsTruth(Box::new(self.condition(one)?), *truth),
                T::Boolean,
            ),
            K::Like {
                value,
                pattern,
                escape,
            } => {
                let (value, pattern) = (self.text(node, value)?, self.text(node, pattern)?);
                let Some(pattern) = pattern.constant_text() else {
                    let message = format!("{} is no text that is written out", pattern.text);
                    return Err(wrong(
                        node,
                        format!("{message}, which the pattern of like is"),
                    ));
                };
                match pattern {
                    None => typed(
                        TypedKind::Constant(new_null_array(T::Boolean, 1)),
                        T::Boolean,
                    ),
                    Some(pattern) => {
                        let pattern = like_pattern(&pattern, *escape)
                            .map_err(|message| wrong(node, message))?;
                        typed(TypedKind::Like(Box::new(value), pattern), T::Boolean)
                    }
                }
            }
            K::Coalesce(all) => {
                let mut values: Vec<TypedNode> = all
                    .iter()
                    .map(|one| self.node(one))
                    .collect::<Result<_, _>>()?;
                // What is written out takes the type of the others, where it is one.
                let mut dtype = T::Null;
                for of_constants in [false, true] {
                    for value in &mut values {
                        if value.is_written() != of_constants {
                            continue;
                        }
                        if let Some(taken) = value.as_type(&dtype).filter(|_| of_constants) {
                            *value = taken;
                        }
                        let common = common_type(&dtype, &value.dtype);
                        let other = || no_operator(node, "coalesce", &[value]);
                        dtype = common.filter(is_comparable).ok_or_else(other)?;
                    }
                }
                let values = values.into_iter().map(|value| widened(value, &dtype));
                let values = values.collect::<Result<_, _>>()?;
                typed(TypedKind::Coalesce(values), dtype)
            }
            K::Text1(function, one) => {
                let one = self.text(node, one)?;
                typed(TypedKind::Text1(*function, Box::new(one)), T::Utf8View)
            }
            K::Cast(one, to) => {
                let one = self.node(one)?;
                let to = to.to_arrow();
                check_castable(&one.dtype, &to).map_err(|message| wrong(node, message))?;
                typed(TypedKind::Cast(Box::new(one)), to)
            }
        })
    }

    fn conditions(&self, nodes: &[Node]) -> Result<Vec<TypedNode>, ShapeError> {
        nodes.iter().map(|node| self.condition(node)).collect()
    }

    /// A part that is a text.
    fn text(&self, whole: &Node, node: &Node) -> Result<TypedNode, ShapeError> {
        let typed = self.node(node)?;
        match typed.dtype {
            ArrowDataType::Utf8View => Ok(typed),
            ArrowDataType::Null => widened(typed, &ArrowDataType::Utf8View),
            _ => {
                let message = format!(
                    "{} is {}, expected text",
                    typed.text,
                    type_name(&typed.dtype)
                );
                let error = wrong(whole, message);
                let hint = format!("cast({} as text)", typed.text);
                Err(error.with_hint(hint))
            }
        }
    }

    /// `date '2026-01-31'`.
    fn typed_constant(
        &self,
        node: &Node,
        text: &str,
        to: &ColumnType,
    ) -> Result<TypedNode, ShapeError> {
        let written = TypedNode {
            kind: TypedKind::Constant(one_text(text)),
            dtype: ArrowDataType::Utf8View,
            text: node.text.clone(),
        };
        let to = to.to_arrow();
        written
            .as_type(&to)
            .ok_or_else(|| wrong(node, format!("'{text}' is no {}", type_name(&to))))
    }

    /// Both sides of a comparison, of one type.
    fn comparable(
        &self,
        node: &Node,
        one: TypedNode,
        other: TypedNode,
    ) -> Result<(TypedNode, TypedNode), ShapeError> {
        let (one, other) = as_beside(one, other);
        let common = common_type(&one.dtype, &other.dtype);
        let Some(common) = common.filter(is_comparable) else {
            let error = no_comparison(node, &one, &other);
            return Err(error);
        };
        // Half floats have no comparison of their own.
        let common = if common == ArrowDataType::Float16 {
            ArrowDataType::Float32
        } else {
            common
        };
        Ok((widened(one, &common)?, widened(other, &common)?))
    }
}

impl TypedNode {
    /// True for a number or a text as it is written, whose type is not said.
    fn is_written(&self) -> bool {
        match &self.kind {
            TypedKind::Constant(_) => {
                matches!(
                    self.dtype,
                    ArrowDataType::Int32
                        | ArrowDataType::Int64
                        | ArrowDataType::Decimal(..)
                        | ArrowDataType::Utf8View
                )
            }
            _ => false,
        }
    }

    /// The text of a constant; null is `Some(None)`.
    fn constant_text(&self) -> Option<Option<String>> {
        let TypedKind::Constant(array) = &self.kind else {
            return None;
        };
        let texts = array.as_any().downcast_ref::<Utf8ViewArray>()?;
        Some(texts.get(0).map(str::to_string))
    }

    /// What is written as a value of another type, where it is one: a number as a float, a text as a
    /// moment.
    fn as_type(&self, to: &ArrowDataType) -> Option<Self> {
        use ArrowDataType as T;
        let TypedKind::Constant(array) = &self.kind else {
            return None;
        };
        let from = &self.dtype;
        let digits = || cast::text_of(array.as_ref(), 0);
        let taken = match (from, to) {
            (T::Utf8View, to) if is_moment(to) || *to == T::Boolean => {
                cast::cast(array.as_ref(), to).ok()?
            }
            (T::Utf8View, _) => return None,
            (from, T::Float64) if is_numeric(from) => float::<f64>(&digits()?, to)?,
            (from, T::Float16 | T::Float32) if is_numeric(from) => {
                float::<f32>(&digits()?, &T::Float32)?
            }
            // No more digits than it has.
            (T::Int32 | T::Int64, T::Decimal(..)) => {
                let count = digits()?.trim_start_matches('-').len();
                cast::cast(array.as_ref(), &T::Decimal(count, 0)).ok()?
            }
            _ => return None,
        };
        Some(Self {
            dtype: taken.dtype().clone(),
            kind: TypedKind::Constant(taken),
            text: self.text.clone(),
        })
    }

    /// The same where all that it is made of is constant: what it is.
    fn folded(self) -> Result<Self, ShapeError> {
        let is_constant = match &self.kind {
            TypedKind::Column(_) | TypedKind::Constant(_) => false,
            kind => kind
                .operands()
                .iter()
                .all(|operand| matches!(operand.kind, TypedKind::Constant(_))),
        };
        if !is_constant {
            return Ok(self);
        }
        let nothing = batch::empty(&ArrowSchema::default());
        let value = evaluate(&self, &nothing).map_err(|error| ShapeError::new(error.message))?;
        Ok(match value {
            Operand::One(array) => Self {
                kind: TypedKind::Constant(array),
                ..self
            },
            Operand::Each(_) => self,
        })
    }
}

/// Both, of which one that is written out has the type of the other, where it is a value of that.
fn as_beside(one: TypedNode, other: TypedNode) -> (TypedNode, TypedNode) {
    let taken = |written: &TypedNode, beside: &TypedNode| {
        written
            .is_written()
            .then(|| written.as_type(&beside.dtype))
            .flatten()
    };
    if let Some(taken) = taken(&other, &one) {
        (one, taken)
    } else if let Some(taken) = taken(&one, &other) {
        (taken, other)
    } else {
        (one, other)
    }
}

fn one_text(text: &str) -> Box<dyn Array> {
    Utf8ViewArray::from_slice([Some(text)]).boxed()
}

fn float<T: polars_arrow::types::NativeType + std::str::FromStr>(
    text: &str,
    dtype: &ArrowDataType,
) -> Option<Box<dyn Array>> {
    let value: T = text.parse().ok()?;
    Some(PrimitiveArray::new(dtype.clone(), vec![value].into(), None).boxed())
}

/// What is wrong with a part of an expression, which is named where the message does not.
fn wrong(node: &Node, message: String) -> ShapeError {
    if message.contains(&node.text) {
        ShapeError::new(message)
    } else {
        ShapeError::new(format!("{message} (in {})", node.text))
    }
}

fn no_operator(node: &Node, operator: &str, operands: &[&TypedNode]) -> ShapeError {
    let operands: Vec<String> = operands
        .iter()
        .map(|operand| format!("{} is {}", operand.text, type_name(&operand.dtype)))
        .collect();
    wrong(
        node,
        format!(
            "{operator} does not take these types: {}",
            operands.join(", ")
        ),
    )
}

fn no_comparison(node: &Node, one: &TypedNode, other: &TypedNode) -> ShapeError {
    let message = format!(
        "{} and {} do not compare: {} is {}, {} is {}",
        one.text,
        other.text,
        one.text,
        type_name(&one.dtype),
        other.text,
        type_name(&other.dtype)
    );
    let hint = match (&one.kind, &other.kind) {
        (_, TypedKind::Constant(_)) if is_moment(&one.dtype) => {
            "moments are written '2026-01-31' and '2026-01-31 12:00:00', with Z or an offset behind it beside instants".into()
        }
        (_, TypedKind::Constant(_)) if is_numeric(&one.dtype) => {
            format!("write the number without quotes, or cast({} as text)", one.text)
        }
        _ => format!("cast({} as TYPE) makes one of the other", one.text),
    };
    wrong(node, message).with_hint(hint)
}

fn widened(node: TypedNode, to: &ArrowDataType) -> Result<TypedNode, ShapeError> {
    if node.dtype == *to {
        return Ok(node);
    }
    let text = node.text.clone();
    if is_same_type(&node.dtype, to) {
        return Ok(node);
    }
    TypedNode {
        kind: TypedKind::Widen(Box::new(node)),
        dtype: to.clone(),
        text,
    }
    .folded()
}

fn is_comparable(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    is_numeric(dtype)
        || is_moment(dtype)
        || matches!(
            dtype,
            T::Null | T::Boolean | T::Utf8View | T::BinaryView | T::Duration(_)
        )
}

/// The smallest type of what is written: of whole numbers, those of 32 and of 64 bits.
fn number(digits: &str) -> Option<TypedNode> {
    use ArrowDataType as T;
    let constant = |array: Box<dyn Array>| TypedNode {
        dtype: array.dtype().clone(),
        kind: TypedKind::Constant(array),
        text: digits.to_string(),
    };
    if let Ok(value) = digits.parse::<i32>() {
        return Some(constant(PrimitiveArray::from_vec(vec![value]).boxed()));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Some(constant(PrimitiveArray::from_vec(vec![value]).boxed()));
    }
    let decimal = ExactNumber::parse(digits)?;
    // Zeros behind the point are written for a reason.
    let scale = match digits.split_once('.') {
        Some((_, fraction)) if fraction.bytes().all(|digit| digit.is_ascii_digit()) => {
            fraction.len()
        }
        _ => usize::try_from(decimal.scale.max(0)).ok()?,
    };
    let value = decimal.at_scale(scale)?;
    let precision = value.unsigned_abs().to_string().len().max(scale).max(1);
    if precision > MAX_PRECISION {
        return None;
    }
    let dtype = T::Decimal(precision, scale);
    let array = PrimitiveArray::try_new(dtype, vec![value].into(), None).ok()?;
    Some(constant(array.boxed()))
}

/// Both sides of an operator with the type of its result.
fn arithmetic(
    node: &Node,
    operator: Operator,
    one: TypedNode,
    other: TypedNode,
) -> Result<(TypedNode, TypedNode, ArrowDataType), ShapeError> {
    use ArrowDataType as T;
    let sign = operator.sign().to_string();
    let is_number = |node: &TypedNode| is_numeric(&node.dtype) || node.dtype == T::Null;
    let (one, other) = if is_number(&one) && is_number(&other) {
        as_beside(one, other)
    } else {
        (one, other)
    };
    let common = common_type(&one.dtype, &other.dtype);
    let Some(common) = common.filter(|_| is_number(&one) && is_number(&other)) else {
        return Err(no_operator(node, &sign, &[&one, &other]));
    };
    let digits = |dtype: &T| match dtype {
        T::Decimal(precision, scale) => Some((*precision, *scale)),
        dtype if is_integer(dtype) => match common_type(dtype, &T::Decimal(1, 0)) {
            Some(T::Decimal(precision, _)) => Some((precision, 0)),
            _ => None,
        },
        _ => None,
    };
    let dtype = match &common {
        T::Float16 => T::Float32,
        T::Null => T::Int32,
        T::Decimal(..) => {
            let (Some((ours, our_scale)), Some((theirs, their_scale))) =
                (digits(&one.dtype), digits(&other.dtype))
            else {
                return Err(no_operator(node, &sign, &[&one, &other]));
            };
            let (precision, scale) = match operator {
                Operator::Multiply => (ours + theirs, our_scale + their_scale),
                Operator::Add | Operator::Subtract => {
                    let scale = our_scale.max(their_scale);
                    (
                        ours.saturating_sub(our_scale)
                            .max(theirs.saturating_sub(their_scale))
                            + scale
                            + 1,
                        scale,
                    )
                }
            };
            if scale > MAX_PRECISION {
                let message = format!(
                    "the product has {scale} digits behind the point, and no decimal has more than {MAX_PRECISION}"
                );
                return Err(wrong(node, message));
            }
            let precision = precision.min(MAX_PRECISION);
            if operator == Operator::Multiply {
                let as_decimal = |node: TypedNode, (precision, scale): (usize, usize)| {
                    widened(node, &T::Decimal(precision, scale))
                };
                let one = as_decimal(one, (ours, our_scale))?;
                let other = as_decimal(other, (theirs, their_scale))?;
                return Ok((one, other, T::Decimal(precision, scale)));
            }
            T::Decimal(precision, scale)
        }
        integer => integer.clone(),
    };
    Ok((widened(one, &dtype)?, widened(other, &dtype)?, dtype))
}

/// The pattern of `like` as a regular expression: `%` is any letters, `_` is one.
fn like_pattern(pattern: &str, escape: Option<char>) -> Result<Regex, String> {
    let mut regex = String::from("(?s)\\A");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if Some(letter) == escape => {
                let next = letters.next().ok_or_else(|| {
                    format!("the pattern '{pattern}' ends with its escape {letter}")
                })?;
                regex.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            letter => regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str("\\z");
    Regex::new(&regex).map_err(|error| format!("the pattern '{pattern}': {error}"))
}
