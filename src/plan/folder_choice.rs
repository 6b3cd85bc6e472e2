//! Which files of a home are read at all: those of folders that `where` leaves out are not, nor is
//! anything known of them but their names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use crate::flow::Flow;
use crate::format::OpenFile;
use crate::format::batch::RecordBatch;
use crate::format::projection::constant_array;
use crate::home::{FileSchema, FileSource, FolderValue, Listing, inferred_type};
use crate::shape::FolderFilter;

/// The folders of a home, with the values in their names.
type Folders<'a> = HashMap<&'a str, Vec<FolderValue>>;

/// The same listing without the files of folders that are left out. Where all are, the first stays:
/// its file says the columns.
///
/// Nothing is left out where inputs are moved once and stay, because what is left out would be moved
/// later, or be gone; nor of files that are united, because columns may come of any of them; nor by
/// a column that the files have themselves, because it is theirs; nor where columns would have other
/// types by the names of the folders that are left.
pub(super) fn without_left_out_folders(flow: &Flow, listing: Listing) -> Listing {
    let Some(files) = flow.home.as_files() else {
        return listing;
    };
    let is_asked = flow.shape.as_ref().is_some_and(|shape| shape.filters());
    if !is_asked || flow.mode.appends() || files.schema_rule() != FileSchema::Strict {
        return listing;
    }
    let Some(left) = folders_left(flow, files, &listing) else {
        return listing;
    };
    let mut listing = listing;
    let before = listing.files.len();
    listing
        .files
        .retain(|file| left.contains(folder_of(&file.name)));
    listing.left_out = before - listing.files.len();
    listing
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The folders whose files are read; nothing where those of all are.
fn folders_left(
    flow: &Flow,
    files: &dyn FileSource,
    listing: &Listing,
) -> Option<BTreeSet<String>> {
    let shape = flow.shape.as_ref()?;
    let mut folders = Folders::new();
    for file in &listing.files {
        let folder = folder_of(&file.name);
        folders
            .entry(folder)
            .or_insert_with(|| files.folder_values(&file.name));
    }
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
    if left.is_empty() {
        let folder = folder_of(&listing.files.first()?.name);
        left.insert(folder, folders[folder].clone());
    }
    let mut names = listing.files.iter().map(|file| file.name.as_str());
    let first = names.find(|name| left.contains_key(folder_of(name)))?;
    // What cannot be read is said where rows are planned with.
    let opened = OpenFile::new(&listing.location(first)).ok()?;
    let own = files.format().reader().column_names(&opened).ok()?;
    if own.iter().any(|name| filter.columns().contains(name)) {
        return None;
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
