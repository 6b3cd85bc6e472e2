//! Columns that come to a table: whether they have a place there, before anything is read or written.

use polars_arrow::datatypes::ArrowSchema;

use super::work::Work;
use crate::error::Result;
use crate::flow::Flow;
use crate::format::{Format, Opened};

/// Has a flow's table judge the columns that come, by their types alone; gives what is to be known of them, in words.
///
/// # Errors
/// Columns that do not fit: all of them are named.
pub(super) fn check(flow: &Flow, format: &dyn Format, work: &Work, open: impl Fn(usize) -> Result<Opened>) -> Result<Vec<String>> {
    if flow.store.table().is_none() {
        return Ok(Vec::new());
    }
    let columns = match &work.table {
        Some(table) => Some(table.answer.columns.clone()),
        None if work.files.is_empty() => None,
        None => Some(of_file(format, &open(0)?)?),
    };
    Ok(columns.map(|columns| flow.store.check_columns(&columns, flow.mode.change())).transpose()?.unwrap_or_default())
}

/// The columns of a file whose values can all be read.
///
/// # Errors
/// It has a column whose values would be others.
pub(super) fn of_file(format: &dyn Format, file: &Opened) -> Result<ArrowSchema> {
    format.readable(file)?;
    Ok(format.arrow_columns(file)?)
}
