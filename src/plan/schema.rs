//! Columns of a table with a watermark: what came of them since rows were read that are never read again.
//!
//! Where they differ, those rows would have nothing in a column that came, and the new ones nothing in one that went.

use crate::error::{Error, ErrorKind, Result};
use crate::flow::Flow;
use crate::home::{Answer, KnownColumn};
use crate::store::receipt::Published;

/// The home has the columns that were moved.
///
/// # Errors
/// It has others; they are named.
pub(super) fn check(published: &Published, answer: &Answer, flow: &Flow) -> Result<()> {
    if published.schema.is_none_or(|schema| schema == answer.schema) {
        return Ok(());
    }
    let is_table = flow.store.table().is_some();
    let named = |column: &KnownColumn| format!("{} ({})", column.name, column.declared);
    let mut told: Vec<String> = differences(&published.columns, &answer.known);
    if published.columns.is_empty() {
        // The receipt is of a time when it did not say which they were.
        told = vec![format!("it has {} now", answer.known.iter().map(named).collect::<Vec<_>>().join(", "))];
    } else if told.is_empty() && is_table {
        // A table takes them by their names, and says itself which may be null.
        return Ok(());
    } else if told.is_empty() {
        told = vec!["their order, their key, or whether they may be null has changed".to_string()];
    }
    let error = format!("its home has other columns than what was moved before: {}", told.join("; "));
    let hint = match (is_table, flow.is_final()) {
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

/// What came of each column, in words.
fn differences(before: &[KnownColumn], now: &[KnownColumn]) -> Vec<String> {
    let find = |columns: &[KnownColumn], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let mut told = Vec::new();
    for old in before {
        match find(now, &old.name) {
            None => told.push(format!("{} is gone", old.name)),
            Some(new) if new.declared != old.declared => {
                told.push(format!("{} was {}, and is {}", old.name, old.declared, new.declared));
            }
            Some(new) if new.becomes != old.becomes => {
                told.push(format!("{} arrived as {}, and would arrive as {}", old.name, old.becomes, new.becomes));
            }
            Some(_) => {}
        }
    }
    let came = now.iter().filter(|new| find(before, &new.name).is_none());
    told.extend(came.map(|new| format!("{} ({}) is new", new.name, new.declared)));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(told: &[(&str, &str, &str)]) -> Vec<KnownColumn> {
        told.iter()
            .map(|(name, declared, becomes)| KnownColumn { name: (*name).into(), declared: (*declared).into(), becomes: (*becomes).into() })
            .collect()
    }

    #[test]
    fn what_came_of_columns_is_told_by_their_names() {
        let before = columns(&[("id", "integer", "int64"), ("a", "integer", "int64"), ("b", "text", "text"), ("c", "numeric", "text")]);
        let now = columns(&[("c", "numeric", "decimal(9,2)"), ("a", "bigint", "int64"), ("id", "integer", "int64"), ("d", "text", "text")]);
        let told = ["a was integer, and is bigint", "b is gone", "c arrived as text, and would arrive as decimal(9,2)", "d (text) is new"];
        assert_eq!(differences(&before, &now), told);
        assert!(differences(&before, &before.iter().rev().cloned().collect::<Vec<_>>()).is_empty(), "their order is another matter");
    }
}
