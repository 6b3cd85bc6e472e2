//! The columns that are made of a home's: what becomes of each file for them, and how they are
//! recorded.

use std::collections::{BTreeMap, HashSet};

use super::append::AppendError;
use super::file_work::FileWork;
use super::home_columns::HomeColumns;
use super::home_files::HomeFiles;
use super::planned_part::PlannedPart;
use super::schema_changes;
use super::work::SetColumns;
use crate::error::Result;
use crate::flow::Flow;
use crate::format::projection::Projection;
use crate::format::{Format, canonical_schema, flow_schema};
use crate::home::RecordedColumn;
use crate::shape::Shape;
use crate::store::receipt::PublishedSet;

/// What becomes of each file that does not pass as it is.
pub(super) fn shaped_projections(
    flow: &Flow,
    format: &dyn Format,
    work: &FileWork,
    columns: &HomeColumns,
) -> Result<BTreeMap<usize, Projection>> {
    let files = HomeFiles {
        format,
        names: &work.names(),
        layouts: &work.layouts.iter().collect::<Vec<_>>(),
        open: &|file| work.files[file].open(),
    };
    let shape = flow.shape.as_ref().map(Shape::for_run);
    columns.shaped_projections((shape.as_ref(), &flow.store.output_spec()), &files)
}

/// What is made of new files has the columns of the parts that stay, where other columns are made
/// of the home's, now or before.
///
/// # Errors
/// The columns that differ.
pub(super) fn check_stays_alike(
    columns: &SetColumns,
    published: Option<&PublishedSet>,
    stay: &[PlannedPart],
    files: &FileWork,
) -> Result<()> {
    let (Some(published), Some(file)) = (published, files.files.first()) else {
        return Ok(());
    };
    if !stay.iter().any(|part| part.name.is_some()) {
        return Ok(());
    }
    let changes = schema_changes::output_changes(published, columns);
    if changes.is_empty() {
        return Ok(());
    }
    Err(AppendError::Columns {
        input: file.name.clone(),
        difference: changes.join("; "),
    }
    .into())
}

/// The columns of all files, as they come to the flow's store and are recorded. What may be null in
/// one of them may be null in the set.
pub(super) fn output_columns(files: &FileWork, format: &dyn Format) -> Result<Vec<RecordedColumn>> {
    let mut distinct = HashSet::new();
    let mut recorded: Option<Vec<RecordedColumn>> = None;
    for (number, (file, layout)) in files.files.iter().zip(&files.layouts).enumerate() {
        if !distinct.insert(layout.stored_digest) {
            continue;
        }
        let columns = flow_schema(format, file.open()?, files.projection(number))?;
        let columns = schema_changes::recorded_leaves(canonical_schema::leaves(&columns));
        match &mut recorded {
            None => recorded = Some(columns),
            Some(recorded) => schema_changes::unite_nullability(recorded, &columns),
        }
    }
    Ok(recorded.unwrap_or_default())
}
