//! Trees of columns, whatever a format makes them of: how two differ, and what their leaves are.

use super::FileColumn;

/// A column, or a field of one.
pub(super) trait ColumnNode: Sized {
    fn name(&self) -> &str;

    fn fields(&self) -> &[Self];
}

/// One that says what its values are.
pub(super) trait TypedColumn: ColumnNode {
    /// What its values are, in words; equal words mean equal types.
    fn kind(&self) -> &str;

    /// True where nulls may come.
    fn is_nullable(&self) -> bool;
}

/// The first column in which two files differ in name, order or what `kind` says of it, and how;
/// `None` where they do not.
pub(super) fn difference<C: ColumnNode>(
    ours: &[C],
    theirs: &[C],
    kind: &dyn Fn(&C) -> String,
) -> Option<String> {
    compare("", ours, theirs, kind)
}

fn compare<C: ColumnNode>(
    above: &str,
    ours: &[C],
    theirs: &[C],
    kind: &dyn Fn(&C) -> String,
) -> Option<String> {
    let has = |columns: &[C], name: &str| columns.iter().any(|column| column.name() == name);
    if let Some(missing) = theirs.iter().find(|column| !has(ours, column.name())) {
        return Some(format!("column {above}{} is missing", missing.name()));
    }
    if let Some(added) = ours.iter().find(|column| !has(theirs, column.name())) {
        return Some(format!(
            "column {above}{} is not in the other",
            added.name()
        ));
    }
    if ours.len() != theirs.len() {
        return Some(format!(
            "it has {} columns, and the other {}",
            ours.len(),
            theirs.len()
        ));
    }
    ours.iter().zip(theirs).find_map(|(column, sibling)| {
        let path = format!("{above}{}", column.name());
        if column.name() != sibling.name() {
            return Some(format!(
                "column {path} stands where the other has {above}{}",
                sibling.name()
            ));
        }
        let (one, other) = (kind(column), kind(sibling));
        if one != other {
            return Some(format!("column {path} is {one}, and {other} in the other"));
        }
        compare(&format!("{path}."), column.fields(), sibling.fields(), kind)
    })
}

/// The columns that have values themselves.
pub(super) fn leaves<C: TypedColumn>(columns: &[C]) -> Vec<FileColumn> {
    fn walk<C: TypedColumn>(
        above: &str,
        column: &C,
        is_above_nullable: bool,
        leaves: &mut Vec<FileColumn>,
    ) {
        let path = format!("{above}{}", column.name());
        let is_nullable = is_above_nullable || column.is_nullable();
        if column.fields().is_empty() {
            return leaves.push(FileColumn {
                path,
                kind: column.kind().to_string(),
                is_nullable,
            });
        }
        let above = format!("{path}.");
        for field in column.fields() {
            walk(&above, field, is_nullable, leaves);
        }
    }
    let mut leaves = Vec::new();
    for column in columns {
        walk("", column, false, &mut leaves);
    }
    leaves
}
