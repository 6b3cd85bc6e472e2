//! Rows that a condition is true for none of, as far as the smallest and the largest value of its
//! columns tell.

use polars_arrow::array::{Array, BooleanArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::evaluate::evaluate;
use super::typed::{TypedKind, TypedNode, is_integer};
use crate::format::ColumnBounds;
use crate::format::batch::RecordBatch;
use crate::home::Comparison;

/// True where a condition is true for no row within these bounds. What could fail for a row is not
/// passed over: whether it does must not depend on what a file says of its columns.
pub(super) fn is_never_true(node: &TypedNode, bounds: &ColumnBounds) -> bool {
    match &node.kind {
        TypedKind::Constant(array) => truth_of(array.as_ref()) != Some(true),
        // Where nothing decides for a row whose value is null, what stands behind it is computed.
        TypedKind::All(all) => {
            !all.iter().any(can_fail) && all.iter().any(|node| is_never_true(node, bounds))
        }
        TypedKind::Any(all) => all.iter().all(|node| is_never_true(node, bounds)),
        TypedKind::Compare(how, one, other) => match (&one.kind, &other.kind) {
            (_, TypedKind::Constant(_)) => is_outside(*how, one, other, bounds),
            (TypedKind::Constant(_), _) => is_outside(how.turned(), other, one, bounds),
            _ => false,
        },
        _ => false,
    }
}

/// True where no value of a column within its bounds compares so with a constant.
fn is_outside(
    how: Comparison,
    column: &TypedNode,
    constant: &TypedNode,
    bounds: &ColumnBounds,
) -> bool {
    use Comparison as C;
    let name = match &column.kind {
        TypedKind::Column(name) => name,
        TypedKind::Widen(inner) if !can_fail(column) => match &inner.kind {
            TypedKind::Column(name) => name,
            _ => return false,
        },
        _ => return false,
    };
    let Some((smallest, largest)) = bounds.get(name) else {
        return false;
    };
    // `Some(false)` only: what cannot be told rules nothing out.
    let is_false = |how: Comparison, value: &dyn Array| {
        let compared = TypedNode {
            kind: TypedKind::Compare(how, Box::new(column.clone()), Box::new(constant.clone())),
            dtype: ArrowDataType::Boolean,
            text: String::new(),
        };
        let field = Field::new(name.as_str().into(), value.dtype().clone(), true);
        let schema = ArrowSchema::from_iter([(field.name.clone(), field)]);
        let batch = RecordBatch::try_new(1, schema.into(), vec![value.to_boxed()]);
        let Some(found) = batch
            .ok()
            .and_then(|batch| evaluate(&compared, &batch).ok())
        else {
            return false;
        };
        truth_of(found.array()) == Some(false)
    };
    match how {
        C::Less | C::LessOrEqual => is_false(how, smallest.as_ref()),
        C::Greater | C::GreaterOrEqual => is_false(how, largest.as_ref()),
        C::Equal => {
            is_false(C::LessOrEqual, smallest.as_ref())
                || is_false(C::GreaterOrEqual, largest.as_ref())
        }
        C::NotEqual => false,
    }
}

/// The one truth of an array.
fn truth_of(array: &dyn Array) -> Option<bool> {
    array.as_any().downcast_ref::<BooleanArray>()?.get(0)
}

/// True for a part that may have no value for a row.
fn can_fail(node: &TypedNode) -> bool {
    let may = match &node.kind {
        TypedKind::Arithmetic(..) | TypedKind::Negate(_) | TypedKind::Cast(_) => true,
        TypedKind::Widen(inner) => {
            use ArrowDataType as T;
            let is_exact = is_integer(&inner.dtype)
                || matches!(
                    inner.dtype,
                    T::Decimal(..) | T::Float16 | T::Float32 | T::Float64 | T::Null
                );
            !is_exact
        }
        _ => false,
    };
    may || node.kind.operands().iter().any(|operand| can_fail(operand))
}
