//! Which files of a home are read at all: those of folders that `where` leaves out are not, nor is
//! anything known of them but their names.

use std::collections::{BTreeMap, BTreeSet};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use crate::flow::Flow;
use crate::format::OpenFile;
use crate::format::batch::RecordBatch;
use crate::format::projection::constant_array;
use crate::home::{FileSchema, FileSource, FolderValue, HomeError, Listing, inferred_type};
use crate::shape::{FolderFilter, Shape};

/// The folders of a home, with the values in their names.
type Folders<'a> = BTreeMap<&'a str, Vec<FolderValue>>;

/// Lists the files of a home, but for those of folders that are left out: at them nothing is looked.
/// Where all are, the first stays: its file says the columns.
///
/// Nothing is left out where inputs are moved once and stay, because what is left out would be moved
/// later, or be gone; nor of files that are united, because columns may come of any of them; nor by
/// a column that the files have themselves, because it is theirs; nor where columns would have other
/// types by the names of the folders that are left.
///
/// # Errors
/// As [`FileSource::list`].
pub(super) fn list_files(flow: &Flow, files: &dyn FileSource) -> Result<Listing, HomeError> {
    let shape = flow.shape.as_ref().filter(|shape| shape.filters());
    let may_leave_out = !flow.mode.appends() && files.schema_rule() == FileSchema::Strict;
    let Some(shape) = shape.filter(|_| may_leave_out) else {
        return files.list();
    };
    let listing = files.list_in(&|folders| folders_left(shape, files, folders))?;
    if listing.folders_left_out > 0 && has_folder_column(shape, files, &listing) {
        return files.list();
    }
    Ok(listing)
}

/// True where the files have a column themselves that stands in names of folders and is asked for.
/// What cannot be read is said where rows are planned with.
fn has_folder_column(shape: &Shape, files: &dyn FileSource, listing: &Listing) -> bool {
    let Some(first) = listing.files.first() else {
        return false;
    };
    let own = OpenFile::new(&listing.location(&first.name))
        .ok()
        .and_then(|opened| files.format().reader().column_names(&opened).ok());
    let asked = shape.filter_columns();
    own.is_none_or(|own| {
        let values = files.folder_values(&first.name);
        let is_both =
            |value: &FolderValue| asked.contains(&value.column) && own.contains(&value.column);
        values.iter().any(is_both)
    })
}

/// The folders whose files are read; nothing where those of all are.
fn folders_left(
    shape: &Shape,
    files: &dyn FileSource,
    names: &[String],
) -> Option<BTreeSet<String>> {
    let values_of = |folder: &String| files.folder_values(&format!("{folder}/"));
    let folders: Folders<'_> = names
        .iter()
        .map(|folder| (folder.as_str(), values_of(folder)))
        .collect();
    let wanted = shape.filter_columns();
    let is_wanted = |value: &FolderValue| wanted.contains(&value.column);
    if !folders.values().flatten().any(is_wanted) {
        return None;
    }
    let types = types_of(files, &folders);
    let columns: ArrowSchema = types
        .iter()
        .map(|(name, dtype)| {
            let name = name.as_str();
            (name.into(), Field::new(name.into(), dtype.clone(), true))
        })
        .collect();
    let filter = shape.folder_filter(&columns)?;
    let mut left = folders.clone();
    left.retain(|_, values| !leaves_out(&filter, &columns, values));
    if left.len() == folders.len() {
        return None;
    }
    if !left.values().flatten().any(is_wanted) {
        // The first of those that lie deepest has files.
        let deepest = folders.values().map(Vec::len).max()?;
        let (name, values) = folders.iter().find(|(_, values)| values.len() == deepest)?;
        left.insert(name, values.clone());
    }
    let is_same = types_of(files, &left) == types;
    is_same.then(|| left.into_keys().map(str::to_string).collect())
}

/// The types of the columns in names of folders.
fn types_of(files: &dyn FileSource, folders: &Folders<'_>) -> BTreeMap<String, ArrowDataType> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for FolderValue { column, value } in folders.values().flatten() {
        values.entry(column).or_default().extend(value.as_deref());
    }
    let types = values.into_iter().map(|(column, values)| {
        let given = files.folder_types().get(column);
        let found = || inferred_type(values.iter().copied());
        (
            column.to_string(),
            given.cloned().unwrap_or_else(found).to_arrow(),
        )
    });
    types.collect()
}

/// True where no row comes of a folder with these values.
fn leaves_out(filter: &FolderFilter, columns: &ArrowSchema, values: &[FolderValue]) -> bool {
    let value_of = |column: &str| {
        let mut found = values.iter().filter(|value| value.column == column);
        found.next().filter(|_| found.next().is_none())
    };
    let array = |name: &str, dtype: &ArrowDataType| match value_of(name) {
        Some(found) => constant_array(dtype, found.value.as_deref(), 1),
        // It need not decide; where it does, nothing is known.
        None if filter.columns().contains(name) => None,
        None => constant_array(dtype, None, 1),
    };
    let arrays = columns
        .iter()
        .map(|(name, field)| array(name.as_str(), &field.dtype));
    let arrays: Option<Vec<_>> = arrays.collect();
    let row =
        arrays.and_then(|arrays| RecordBatch::try_new(1, columns.clone().into(), arrays).ok());
    row.is_some_and(|row| filter.leaves_out(&row))
}
