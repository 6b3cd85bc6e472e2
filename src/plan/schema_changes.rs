//! Columns: what came of them since a set was published, by their names.
//!
//! With a watermark rows are never read again: where columns differ, those rows would have nothing
//! in a column that came, and the new ones nothing in one that went.

use std::collections::HashMap;

use super::stale::Reason;
use super::view::PlanView;
use super::work::{FlowWork, SetColumns};
use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::format::{FileColumn, Format, OpenFile};
use crate::home::{RecordedColumn, TableState};
use crate::store::receipt::PublishedSet;

/// More columns of files than this are not recorded: all receipts have them, and the history.
const MAX_RECORDED_COLUMNS: usize = 100_000;

/// The columns of a file, as they are recorded; none of one that has too many.
///
/// # Errors
/// The file cannot be read.
pub(super) fn file_columns(format: &dyn Format, file: &OpenFile) -> Result<Vec<RecordedColumn>> {
    Ok(recorded_leaves(format.reader().columns(file)?))
}

/// Columns that have values themselves, as they are recorded; none of too many.
pub(super) fn recorded_leaves(columns: Vec<FileColumn>) -> Vec<RecordedColumn> {
    let recorded = |column: FileColumn| RecordedColumn {
        name: column.path,
        declared: column.kind.clone(),
        target_type: column.kind,
        nullable: Some(column.is_nullable),
    };
    if columns.len() > MAX_RECORDED_COLUMNS {
        return Vec::new();
    }
    columns.into_iter().map(recorded).collect()
}

impl PlanView<'_> {
    /// Says of changed columns which they are, as far as it is known what there was.
    pub(super) fn describe_schema_reason(
        &self,
        flow: &Flow,
        work: &FlowWork,
        reasons: &mut [Reason],
    ) {
        let named = reasons.iter_mut().find_map(|reason| match reason {
            Reason::Schema { columns, .. } => Some(columns),
            _ => None,
        });
        let Some(named) = named.filter(|_| !work.columns.home_columns().is_empty()) else {
            return;
        };
        let published = self
            .flows
            .receipt(&flow.name)
            .and_then(|receipt| receipt.latest());
        let before = published
            .map(|published| published.home_columns().to_vec())
            .unwrap_or_default();
        if !before.is_empty() {
            *named = describe_changes(&before, work.columns.home_columns());
        } else if let Some(before) = self.published_columns(flow) {
            // What a database or another format calls a type is known of neither.
            let without = |columns: &[RecordedColumn]| {
                columns
                    .iter()
                    .map(|column| RecordedColumn::from_name(&column.name))
                    .collect::<Vec<_>>()
            };
            let is_other = flow.home.as_rows().is_some()
                || self.context.project.input_format(flow).id()
                    != flow.store.output_spec().format.id();
            *named = if is_other {
                describe_changes(&without(&before), &without(work.columns.home_columns()))
            } else {
                describe_changes(&before, work.columns.home_columns())
            };
        }
    }

    /// The columns of a part that is published, where that is a file: receipts of earlier versions
    /// do not say them.
    fn published_columns(&self, flow: &Flow) -> Option<Vec<RecordedColumn>> {
        let part = self.flows.store(&flow.name).ok()?.intact.keys().next()?;
        let opened = self.open_published(flow, part)?;
        file_columns(flow.store.output_spec().format.as_ref(), &opened).ok()
    }
}

/// What came of columns, in words.
pub(super) fn describe_changes(before: &[RecordedColumn], now: &[RecordedColumn]) -> Vec<String> {
    let mut told = column_changes(before, now);
    told.extend(nullability_changes(before, now));
    if told.is_empty() && stand_in_another_order(before, now) {
        told.push("they stand in another order".into());
    }
    told
}

/// True where columns that are known do not come by the same names in the same order.
pub(super) fn stand_in_another_order(before: &[RecordedColumn], now: &[RecordedColumn]) -> bool {
    let names = |columns: &[RecordedColumn]| {
        columns
            .iter()
            .map(|column| column.name.clone())
            .collect::<Vec<_>>()
    };
    !before.is_empty() && !now.is_empty() && names(before) != names(now)
}

/// The home has the columns that were moved.
///
/// # Errors
/// It has others; they are named.
pub(super) fn check_unchanged_columns(
    published: &PublishedSet,
    answer: &TableState,
    flow: &Flow,
) -> Result<()> {
    if published
        .schema_digest
        .is_none_or(|schema| schema == answer.schema_digest)
    {
        return Ok(());
    }
    let is_table = !flow.store.capabilities().parts_readable;
    let named = |column: &RecordedColumn| format!("{} ({})", column.name, column.declared);
    let mut told: Vec<String> = column_changes(published.home_columns(), &answer.recorded_columns);
    if published.home_columns().is_empty() {
        // The receipt is of a time when it did not say which they were.
        told = vec![format!(
            "it has {} now",
            answer
                .recorded_columns
                .iter()
                .map(named)
                .collect::<Vec<_>>()
                .join(", ")
        )];
    } else if told.is_empty() && is_table {
        // A table takes them by their names, and says itself which may be null.
        return Ok(());
    } else if told.is_empty() {
        told = vec!["their order, their key, or whether they may be null has changed".to_string()];
    }
    let error = format!(
        "its home has other columns than what was moved before: {}",
        told.join("; ")
    );
    let hint = match (is_table, flow.is_append_only()) {
        (false, _) => "a store has one schema: name the columns by columns, or read everything anew by hygge build --force".to_string(),
        (true, false) => format!(
            "rows that were moved before have nothing of them: name the columns by columns, or read everything anew by hygge build --force {}",
            flow.name
        ),
        (true, true) => format!(
            "rows that were moved before have nothing of them: name the columns by columns, or empty the table by hygge clean --stores {} and build again",
            flow.name
        ),
    };
    Err(Error::new(ErrorKind::Flow, error).with_hint(hint))
}

/// What differs between the columns that were made of the home's and those that are made now; nothing
/// where they are the home's own.
pub(super) fn output_changes(published: &PublishedSet, columns: &SetColumns) -> Vec<String> {
    let is_shaped = published.home_columns.is_some() || columns.of_home.is_some();
    if is_shaped {
        column_changes(&published.columns, &columns.recorded)
    } else {
        Vec::new()
    }
}

/// What is made of the home's columns is what was made of those of rows that stay.
///
/// # Errors
/// It is not: the columns that differ are named.
pub(super) fn check_same_output(
    published: &PublishedSet,
    columns: &SetColumns,
    flow: &Flow,
) -> Result<()> {
    let changes = output_changes(published, columns);
    if changes.is_empty() || published.columns.is_empty() {
        return Ok(());
    }
    let error = format!(
        "rows that stay have other columns than what is made of the home now: {}",
        changes.join("; ")
    );
    Err(Error::new(ErrorKind::Flow, error).with_hint(format!(
        "hygge build --force {} reads everything anew",
        flow.name
    )))
}

/// Makes nullable what may be null in others of the set: what these do not say is not known.
pub(super) fn unite_nullability(columns: &mut [RecordedColumn], others: &[RecordedColumn]) {
    let others: HashMap<&str, &RecordedColumn> = first_of_each_name(others);
    for column in columns {
        let other = others.get(column.name.as_str());
        column.nullable = match (column.nullable, other.and_then(|other| other.nullable)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
}

fn first_of_each_name(columns: &[RecordedColumn]) -> HashMap<&str, &RecordedColumn> {
    let mut named = HashMap::with_capacity(columns.len());
    for column in columns {
        named.entry(column.name.as_str()).or_insert(column);
    }
    named
}

/// Which columns may be null that never were, or the other way round, in words.
pub(super) fn nullability_changes(
    before: &[RecordedColumn],
    now: &[RecordedColumn],
) -> Vec<String> {
    let now = first_of_each_name(now);
    let change = |old: &RecordedColumn| {
        let new = now.get(old.name.as_str())?;
        match (old.nullable?, new.nullable?) {
            (false, true) => Some(format!("{} may be null now", old.name)),
            (true, false) => Some(format!("{} is never null now", old.name)),
            _ => None,
        }
    };
    before.iter().filter_map(change).collect()
}

/// A column, and which of those of its name it is.
pub(super) type NamedColumn<'c> = ((&'c str, usize), &'c RecordedColumn);

/// Columns by their names: of several of one name each is the one that stands at its place among
/// them.
pub(super) fn with_namesakes<'c>(
    columns: impl Iterator<Item = &'c RecordedColumn>,
) -> Vec<NamedColumn<'c>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let named = columns.map(|column| {
        let count = counts.entry(&column.name).or_default();
        *count += 1;
        ((column.name.as_str(), *count), column)
    });
    named.collect()
}

/// What came of each column, in words.
pub(super) fn column_changes(before: &[RecordedColumn], now: &[RecordedColumn]) -> Vec<String> {
    let (before, now) = (with_namesakes(before.iter()), with_namesakes(now.iter()));
    let there: HashMap<_, _> = now.iter().copied().collect();
    let were_there: HashMap<_, _> = before.iter().copied().collect();
    let mut told = Vec::new();
    for (name, old) in &before {
        match there.get(name) {
            None => told.push(format!("{} is gone", old.name)),
            Some(new) if new.declared != old.declared => {
                told.push(format!(
                    "{} was {}, and is {}",
                    old.name, old.declared, new.declared
                ));
            }
            Some(new) if new.target_type != old.target_type => {
                told.push(format!(
                    "{} arrived as {}, and would arrive as {}",
                    old.name, old.target_type, new.target_type
                ));
            }
            Some(_) => {}
        }
    }
    let came = now
        .iter()
        .filter(|(name, _)| !were_there.contains_key(name));
    told.extend(came.map(|(_, new)| match new.declared.as_str() {
        "" => format!("{} is new", new.name),
        declared => format!("{} ({declared}) is new", new.name),
    }));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(told: &[(&str, &str, &str)]) -> Vec<RecordedColumn> {
        told.iter()
            .map(|(name, declared, becomes)| RecordedColumn {
                name: (*name).into(),
                declared: (*declared).into(),
                target_type: (*becomes).into(),
                nullable: None,
            })
            .collect()
    }

    #[test]
    fn what_came_of_columns_is_told_by_their_names() {
        let before = columns(&[
            ("id", "integer", "int64"),
            ("a", "integer", "int64"),
            ("b", "text", "text"),
            ("c", "numeric", "text"),
        ]);
        let now = columns(&[
            ("c", "numeric", "decimal(9,2)"),
            ("a", "bigint", "int64"),
            ("id", "integer", "int64"),
            ("d", "text", "text"),
        ]);
        let told = [
            "a was integer, and is bigint",
            "b is gone",
            "c arrived as text, and would arrive as decimal(9,2)",
            "d (text) is new",
        ];
        assert_eq!(column_changes(&before, &now), told);
        assert!(
            column_changes(&before, &before.iter().rev().cloned().collect::<Vec<_>>()).is_empty(),
            "their order is another matter"
        );
    }

    #[test]
    fn columns_of_one_name_are_compared_in_their_order() {
        let before = columns(&[("a", "int64", "int64"), ("a", "string", "string")]);
        assert!(column_changes(&before, &before.clone()).is_empty());
        let now = columns(&[("a", "int64", "int64")]);
        assert_eq!(column_changes(&before, &now), ["a is gone"]);
    }

    #[test]
    fn columns_that_may_be_null_now_are_named_where_it_is_known() {
        let with = |nullable: [Option<bool>; 3]| {
            let mut columns = columns(&[
                ("a", "text", "text"),
                ("b", "text", "text"),
                ("c", "text", "text"),
            ]);
            for (column, nullable) in columns.iter_mut().zip(nullable) {
                column.nullable = nullable;
            }
            columns
        };
        let before = with([Some(false), Some(true), None]);
        let now = with([Some(true), Some(false), Some(true)]);
        let told = ["a may be null now", "b is never null now"];
        assert_eq!(describe_changes(&before, &now), told);
    }
}
