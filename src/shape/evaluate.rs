//! Evaluates expressions, a batch of rows at once.
//!
//! Comparisons, filters and the logic of three values are those of polars-compute: NaN equals
//! itself and is more than every other number, as in PostgreSQL and DuckDB. What can fail names its
//! row, which no library does: arithmetic (`arithmetic`) and casts (`cast`) are here.

use polars_arrow::array::builder::{ArrayBuilder, ShareStrategy, make_builder};
use polars_arrow::array::{
    Array, BinaryViewArray, BooleanArray, MutableBinaryViewArray, NullArray, PrimitiveArray,
    Utf8ViewArray, new_null_array,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::bitmap::utils::SlicesIterator;
use polars_arrow::compute::utils::combine_validities_and;
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::types::NativeType;
use polars_compute::boolean;
use polars_compute::comparisons::{TotalEqKernel, TotalOrdKernel};
use regex::Regex;

use super::arithmetic::{calculate, negate};
use super::cast::cast;
use super::error::RowError;
use super::expression::TextFunction;
use super::filter::{chosen_row, filter_batch, scatter};
use super::typed::{TypedKind, TypedNode};
use crate::format::batch::RecordBatch;
use crate::format::widening::{WideningError, widen};
use crate::home::Comparison;

/// What an expression is for the rows of a batch.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// The same for each of them: an array of one value.
    One(Box<dyn Array>),
    /// An array of as many values as there are rows.
    Each(Box<dyn Array>),
}

impl Operand {
    pub(super) fn array(&self) -> &dyn Array {
        match self {
            Self::One(array) | Self::Each(array) => array.as_ref(),
        }
    }

    /// A row of the batch for a row of the array.
    fn row(&self, row: usize) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Each(_) => Some(row),
        }
    }

    /// The same kind of operand with the values of another array.
    fn with(&self, array: Box<dyn Array>) -> Self {
        match self {
            Self::One(_) => Self::One(array),
            Self::Each(_) => Self::Each(array),
        }
    }

    /// The array of so many rows.
    pub(super) fn into_rows(self, rows: usize) -> Box<dyn Array> {
        match self {
            Self::Each(array) => array,
            Self::One(array) => repeat(array.as_ref(), rows),
        }
    }
}

/// One value in so many rows.
pub(super) fn repeat(array: &dyn Array, rows: usize) -> Box<dyn Array> {
    let mut builder = make_builder(array.dtype());
    builder.subslice_extend_each_repeated(array, 0, 1, rows, ShareStrategy::Always);
    builder.freeze()
}

/// The values of an expression for the rows of a batch.
///
/// # Errors
/// The first row that has none.
pub(super) fn evaluate(node: &TypedNode, batch: &RecordBatch) -> Result<Operand, RowError> {
    use TypedKind as K;
    let one = |node: &TypedNode| evaluate(node, batch);
    let truths = |node: &TypedNode| {
        let operand = evaluate(node, batch)?;
        let array = boolean(operand.array())?.clone();
        Ok::<_, RowError>((operand, array))
    };
    Ok(match &node.kind {
        K::Column(name) => {
            let place = batch.schema().index_of(name);
            let place = place.ok_or_else(|| unexpected("no such column"))?;
            Operand::Each(batch.arrays()[place].clone())
        }
        K::Constant(array) => Operand::One(array.clone()),
        K::Not(inner) => {
            let (operand, array) = truths(inner)?;
            operand.with(boolean::not(&array).boxed())
        }
        K::Negate(inner) => {
            let operand = one(inner)?;
            let array = negate(operand.array()).map_err(|(row, what)| {
                RowError::new(operand.row(row), format!("{what} (in {})", node.text))
            })?;
            operand.with(array)
        }
        K::All(all) => logic(all, batch, boolean::and, false)?,
        K::Any(all) => logic(all, batch, boolean::or, true)?,
        K::Compare(how, left, right) => compare(*how, &one(left)?, &one(right)?)?,
        K::Arithmetic(operator, left, right) => {
            let (left, right) = aligned(one(left)?, one(right)?);
            let array = calculate(*operator, left.array(), right.array(), &node.dtype);
            let array = array.map_err(|(row, what)| {
                RowError::new(left.row(row), format!("{what} (in {})", node.text))
            })?;
            left.with(array)
        }
        K::Concat(left, right) => {
            let (left, right) = aligned(one(left)?, one(right)?);
            let (ours, theirs) = (text(left.array())?, text(right.array())?);
            let mut made = MutableBinaryViewArray::<str>::with_capacity(ours.len());
            let mut whole = String::new();
            for (one, other) in ours.iter().zip(theirs.iter()) {
                made.push(one.zip(other).map(|(one, other)| {
                    whole.clear();
                    whole.push_str(one);
                    whole.push_str(other);
                    whole.as_str()
                }));
            }
            left.with(made.freeze().boxed())
        }
        K::IsNull(inner) => {
            let operand = one(inner)?;
            let array = operand.array();
            let nulls = match array.validity() {
                _ if array.as_any().is::<NullArray>() => Bitmap::new_with_value(true, array.len()),
                Some(valid) => !valid,
                None => Bitmap::new_zeroed(array.len()),
            };
            operand.with(truth(nulls, None))
        }
        K::IsTruth(inner, wanted) => {
            let (operand, array) = truths(inner)?;
            operand.with(truth(rows_with(&array, *wanted), None))
        }
        K::Like(inner, pattern) => {
            let operand = one(inner)?;
            let made = like(text(operand.array())?, pattern);
            operand.with(made)
        }
        K::Coalesce(all) => coalesce(all, &node.dtype, batch)?,
        K::Text1(function, inner) => {
            let operand = one(inner)?;
            let made = text_function(*function, text(operand.array())?);
            operand.with(made)
        }
        K::Cast(inner) => {
            let operand = one(inner)?;
            let array = cast(operand.array(), &node.dtype).map_err(|misfit| {
                let told = format!("{} (in {})", misfit.describe(&node.dtype), node.text);
                RowError::new(operand.row(misfit.row), told)
            })?;
            operand.with(array)
        }
        K::Widen(inner) => {
            let operand = one(inner)?;
            let array = widen(operand.array(), &node.dtype).map_err(|error| match error {
                WideningError::Misfit(misfit) => {
                    let row = operand.row(misfit.row);
                    RowError::new(
                        row,
                        format!("{} is too large (in {})", misfit.value, node.text),
                    )
                }
                WideningError::Type(found) => unexpected(&found),
            })?;
            operand.with(array)
        }
    })
}

/// Both with as many values, where one of them has one for each row.
fn aligned(one: Operand, other: Operand) -> (Operand, Operand) {
    match (&one, &other) {
        (Operand::Each(array), Operand::One(_)) => {
            let rows = array.len();
            (one, Operand::Each(other.into_rows(rows)))
        }
        (Operand::One(_), Operand::Each(array)) => {
            let rows = array.len();
            (Operand::Each(one.into_rows(rows)), other)
        }
        _ => (one, other),
    }
}

/// What the binder rules out.
fn unexpected(found: &str) -> RowError {
    RowError::new(
        None,
        format!("an expression of other types than planned: {found}"),
    )
}

/// The rows that hold this truth; null is neither.
fn rows_with(truths: &BooleanArray, wanted: bool) -> Bitmap {
    let values = if wanted {
        truths.values().clone()
    } else {
        !truths.values()
    };
    match truths.validity() {
        Some(valid) => &values & valid,
        None => values,
    }
}

/// Which rows a condition is true for.
pub(super) fn true_rows(condition: &TypedNode, batch: &RecordBatch) -> Result<Bitmap, RowError> {
    let truths = evaluate(condition, batch)?.into_rows(batch.height());
    Ok(rows_with(boolean(truths.as_ref())?, true))
}

fn boolean(array: &dyn Array) -> Result<&BooleanArray, RowError> {
    let found = array.as_any().downcast_ref();
    found.ok_or_else(|| unexpected("no truth"))
}

fn text(array: &dyn Array) -> Result<&Utf8ViewArray, RowError> {
    let found = array.as_any().downcast_ref();
    found.ok_or_else(|| unexpected("no text"))
}

fn truth(values: Bitmap, validity: Option<Bitmap>) -> Box<dyn Array> {
    BooleanArray::new(ArrowDataType::Boolean, values, validity).boxed()
}

/// Conditions that are joined, from left to right. One that fails is looked at once more, for the
/// rows that those before it do not decide: so it may be guarded by them.
fn logic(
    all: &[TypedNode],
    batch: &RecordBatch,
    join: fn(&BooleanArray, &BooleanArray) -> BooleanArray,
    deciding: bool,
) -> Result<Operand, RowError> {
    let mut whole: Option<Operand> = None;
    for node in all {
        let Some(before) = whole else {
            whole = Some(evaluate(node, batch)?);
            continue;
        };
        let (before, next) = match evaluate(node, batch) {
            Ok(next) => aligned(before, next),
            Err(error) => {
                let before = before.into_rows(batch.height());
                let decided = rows_with(boolean(before.as_ref())?, deciding);
                let next = evaluate_where(node, batch, &!&decided, error)?;
                (Operand::Each(before), Operand::Each(next))
            }
        };
        let joined = join(boolean(before.array())?, boolean(next.array())?);
        whole = Some(before.with(joined.boxed()));
    }
    whole.ok_or_else(|| unexpected("nothing to join"))
}

/// The values of an expression for some rows of a batch, null for the others. `error` is how it
/// failed for all of them.
fn evaluate_where(
    node: &TypedNode,
    batch: &RecordBatch,
    needed: &Bitmap,
    error: RowError,
) -> Result<Box<dyn Array>, RowError> {
    if needed.unset_bits() == 0 {
        return Err(error);
    }
    let some = filter_batch(batch, needed)?;
    let found = evaluate(node, &some).map_err(|error| RowError {
        row: error.row.and_then(|row| chosen_row(needed, row)),
        ..error
    })?;
    Ok(scatter(found.into_rows(some.height()).as_ref(), needed))
}

fn compare(how: Comparison, one: &Operand, other: &Operand) -> Result<Operand, RowError> {
    use ArrowDataType as T;
    macro_rules! typed {
        ($($array:ty),*) => {
            match one.array().dtype() {
                T::Null => Ok(null_truths(one, other)),
                $(_ if one.array().as_any().is::<$array>() => compared::<$array>(how, one, other),)*
                _ => Err(unexpected("nothing that compares")),
            }
        };
    }
    typed!(
        BooleanArray,
        Utf8ViewArray,
        BinaryViewArray,
        PrimitiveArray<i8>,
        PrimitiveArray<i16>,
        PrimitiveArray<i32>,
        PrimitiveArray<i64>,
        PrimitiveArray<i128>,
        PrimitiveArray<u8>,
        PrimitiveArray<u16>,
        PrimitiveArray<u32>,
        PrimitiveArray<u64>,
        PrimitiveArray<f32>,
        PrimitiveArray<f64>
    )
}

fn null_truths(one: &Operand, other: &Operand) -> Operand {
    let (shape, rows) = match (one, other) {
        (_, Operand::Each(array)) => (other, array.len()),
        _ => (one, one.array().len()),
    };
    shape.with(new_null_array(ArrowDataType::Boolean, rows))
}

/// An array that compares with one value.
trait Scalars: TotalEqKernel {
    /// Its first value.
    fn first(&self) -> &Self::Scalar;
}

impl<T: NativeType> Scalars for PrimitiveArray<T>
where
    Self: TotalEqKernel<Scalar = T>,
{
    fn first(&self) -> &T {
        &self.values()[0]
    }
}

impl Scalars for BooleanArray {
    fn first(&self) -> &bool {
        if self.value(0) { &true } else { &false }
    }
}

impl Scalars for Utf8ViewArray {
    fn first(&self) -> &str {
        self.value(0)
    }
}

impl Scalars for BinaryViewArray {
    fn first(&self) -> &[u8] {
        self.value(0)
    }
}

/// Compares arrays of one kind.
fn compared<A>(how: Comparison, one: &Operand, other: &Operand) -> Result<Operand, RowError>
where
    A: Scalars + TotalOrdKernel<Scalar = <A as TotalEqKernel>::Scalar>,
{
    use Comparison as C;
    let two_types = || unexpected("two types that are compared");
    let ours: &A = one.array().as_any().downcast_ref().ok_or_else(two_types)?;
    let theirs: &A = other
        .array()
        .as_any()
        .downcast_ref()
        .ok_or_else(two_types)?;
    let (values, validity) = match (one, other) {
        (Operand::Each(_), Operand::One(_)) => {
            if theirs.is_null(0) {
                return Ok(null_truths(one, other));
            }
            let scalar = theirs.first();
            let values = match how {
                C::Equal => ours.tot_eq_kernel_broadcast(scalar),
                C::NotEqual => ours.tot_ne_kernel_broadcast(scalar),
                C::Less => ours.tot_lt_kernel_broadcast(scalar),
                C::LessOrEqual => ours.tot_le_kernel_broadcast(scalar),
                C::Greater => ours.tot_gt_kernel_broadcast(scalar),
                C::GreaterOrEqual => ours.tot_ge_kernel_broadcast(scalar),
            };
            (values, ours.validity().cloned())
        }
        (Operand::One(_), Operand::Each(_)) => {
            return compared::<A>(how.turned(), other, one);
        }
        _ => {
            let values = match how {
                C::Equal => ours.tot_eq_kernel(theirs),
                C::NotEqual => ours.tot_ne_kernel(theirs),
                C::Less => ours.tot_lt_kernel(theirs),
                C::LessOrEqual => ours.tot_le_kernel(theirs),
                C::Greater => ours.tot_gt_kernel(theirs),
                C::GreaterOrEqual => ours.tot_ge_kernel(theirs),
            };
            let validity = combine_validities_and(ours.validity(), theirs.validity());
            (values, validity)
        }
    };
    Ok(one.with(truth(values, validity)))
}

fn like(texts: &Utf8ViewArray, pattern: &Regex) -> Box<dyn Array> {
    let found = |text: Option<&str>| text.map(|text| pattern.is_match(text));
    texts.iter().map(found).collect::<BooleanArray>().boxed()
}

fn text_function(function: TextFunction, texts: &Utf8ViewArray) -> Box<dyn Array> {
    let mut made = MutableBinaryViewArray::<str>::with_capacity(texts.len());
    for text in texts.iter() {
        match (function, text) {
            (_, None) => made.push_null(),
            (TextFunction::Lower, Some(text)) => made.push_value(text.to_lowercase()),
            (TextFunction::Upper, Some(text)) => made.push_value(text.to_uppercase()),
            (TextFunction::Trim, Some(text)) => made.push_value(text.trim_matches(' ')),
        }
    }
    made.freeze().boxed()
}

/// The first value of each row that is not null. One that fails is looked at once more, for the rows
/// that need it.
fn coalesce(
    all: &[TypedNode],
    dtype: &ArrowDataType,
    batch: &RecordBatch,
) -> Result<Operand, RowError> {
    let mut whole: Option<Operand> = None;
    for node in all {
        let Some(before) = whole else {
            whole = Some(evaluate(node, batch)?);
            continue;
        };
        let (before, next) = match evaluate(node, batch) {
            Ok(next) => aligned(before, next),
            Err(error) => {
                let before = before.into_rows(batch.height());
                let valid = before.validity();
                let needed = valid.map_or_else(|| Bitmap::new_zeroed(before.len()), |valid| !valid);
                let next = evaluate_where(node, batch, &needed, error)?;
                (Operand::Each(before), Operand::Each(next))
            }
        };
        whole = Some(match before.array().validity() {
            None => before,
            Some(valid) => {
                let made = choose(valid, before.array(), next.array());
                before.with(made)
            }
        });
    }
    let whole = whole.ok_or_else(|| unexpected("nothing to choose from"))?;
    if whole.array().dtype() == dtype {
        Ok(whole)
    } else {
        Err(unexpected("values of several types"))
    }
}

/// The values of an array where it has some, and of another where it has not.
fn choose(valid: &Bitmap, array: &dyn Array, other: &dyn Array) -> Box<dyn Array> {
    let mut made = make_builder(array.dtype());
    made.reserve(array.len());
    let mut end = 0;
    for (start, length) in SlicesIterator::new(valid) {
        made.subslice_extend(other, end, start - end, ShareStrategy::Always);
        made.subslice_extend(array, start, length, ShareStrategy::Always);
        end = start + length;
    }
    made.subslice_extend(other, end, array.len() - end, ShareStrategy::Always);
    made.freeze()
}
