//! Trees of columns, whatever a format makes them of: how two differ, and what their leaves are.

use super::FileColumn;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

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
    if let Some(difference) = membership_difference(above, ours, theirs) {
        return Some(difference);
    }
    ours.iter().zip(theirs).find_map(|(column, sibling)| {
        if column.name() != sibling.name() {
            return Some(format!(
                "column {above}{} stands where the other has {above}{}",
                column.name(),
                sibling.name()
            ));
        }
        compare_column(above, column, sibling, kind)
    })
}

fn compare_column<C: ColumnNode>(
    above: &str,
    column: &C,
    sibling: &C,
    kind: &dyn Fn(&C) -> String,
) -> Option<String> {
    let path = format!("{above}{}", column.name());
    let (one, other) = (kind(column), kind(sibling));
    if one != other {
        return Some(format!("column {path} is {one}, and {other} in the other"));
    }
    compare(&format!("{path}."), column.fields(), sibling.fields(), kind)
}

/// The first column that one of two files has alone, or that they have another number of columns.
fn membership_difference<C: ColumnNode>(above: &str, ours: &[C], theirs: &[C]) -> Option<String> {
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
    None
}

/// The digest of columns as their values are, whatever the order in which they stand.
pub(super) fn set_digest<C: TypedColumn>(columns: &[C]) -> Fingerprint {
    fn walk<C: TypedColumn>(column: &C, writer: &mut KeyWriter) {
        writer
            .text(column.name())
            .text(column.kind())
            .count(column.fields().len());
        column.fields().iter().for_each(|field| walk(field, writer));
    }
    let mut sorted: Vec<&C> = columns.iter().collect();
    // Columns of one name keep their order.
    sorted.sort_by(|one, other| one.name().cmp(other.name()));
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("column set").count(sorted.len());
    sorted.iter().for_each(|column| walk(*column, &mut writer));
    writer.finish()
}

/// The first column in which the values of two files differ in name or type, and how; `None` where
/// they do not, whatever the order in which they stand.
pub(super) fn set_difference<C: TypedColumn>(ours: &[C], theirs: &[C]) -> Option<String> {
    let kind = |column: &C| column.kind().to_string();
    if let Some(difference) = membership_difference("", ours, theirs) {
        return Some(difference);
    }
    ours.iter().enumerate().find_map(|(place, column)| {
        // Columns of one name are compared in their order.
        let namesakes = ours[..place].iter();
        let number = namesakes
            .filter(|other| other.name() == column.name())
            .count();
        let mut siblings = theirs.iter().filter(|other| other.name() == column.name());
        match siblings.nth(number) {
            Some(sibling) => compare_column("", column, sibling, &kind),
            None => Some(format!(
                "column {} stands there more often than in the other",
                column.name()
            )),
        }
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
