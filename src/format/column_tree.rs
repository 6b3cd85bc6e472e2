//! Trees of columns, whatever a format makes them of: how two differ, and what their leaves are.

/// A column, or a field of one.
pub(super) trait ColumnNode: Sized {
    fn name(&self) -> &str;

    fn fields(&self) -> &[Self];
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

/// The path of each column that has values itself, with what `kind` says of it.
pub(super) fn leaf_types<C: ColumnNode>(
    columns: &[C],
    kind: &dyn Fn(&C) -> String,
) -> Vec<(String, String)> {
    fn walk<C: ColumnNode>(
        above: &str,
        column: &C,
        kind: &dyn Fn(&C) -> String,
        typed: &mut Vec<(String, String)>,
    ) {
        let path = format!("{above}{}", column.name());
        if column.fields().is_empty() {
            return typed.push((path, kind(column)));
        }
        column
            .fields()
            .iter()
            .for_each(|field| walk(&format!("{path}."), field, kind, typed));
    }
    let mut found = Vec::new();
    columns
        .iter()
        .for_each(|column| walk("", column, kind, &mut found));
    found
}
