//! Which folders are left out by `where`: those whose values, which stand in their names, rule out
//! every row below them.

use std::collections::BTreeSet;

use polars_arrow::datatypes::ArrowSchema;

use super::bind::bind_condition;
use super::evaluate::true_rows;
use super::expression::Expression;
use super::typed::TypedNode;
use crate::format::batch::RecordBatch;

/// Conditions that values in names of folders decide alone.
#[derive(Debug)]
pub struct FolderFilter {
    conditions: Vec<TypedNode>,
    columns: BTreeSet<String>,
}

impl FolderFilter {
    /// Those of a condition that need no other columns than these. One that does not go with their
    /// types decides nothing: that is said where rows are planned with.
    pub(super) fn new(filter: &Expression, columns: &ArrowSchema) -> Self {
        let (mut conditions, mut used) = (Vec::new(), BTreeSet::new());
        for node in filter.root.conjuncts() {
            let mut names = Vec::new();
            node.collect_columns(&mut names);
            if names.is_empty() || !names.iter().all(|name| columns.contains(name)) {
                continue;
            }
            if let Ok(condition) = bind_condition(node, columns) {
                conditions.push(condition);
                used.extend(names.into_iter().map(str::to_string));
            }
        }
        Self {
            conditions,
            columns: used,
        }
    }

    /// The columns that decide; none where nothing can be left out.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// True where no row comes that has these values, which are one row of the columns.
    pub fn leaves_out(&self, values: &RecordBatch) -> bool {
        let is_true = |condition: &TypedNode| {
            true_rows(condition, values).map_or(true, |rows| rows.set_bits() > 0)
        };
        !self.conditions.iter().all(is_true)
    }
}
