//! Marks that other programs leave beside files, by which not every file counts.
//!
//! It knows names only; what is in a log or a table's metadata it does not read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::fs::{self, FsError};
use crate::storage::{Depth, EntryKind, Location};

/// A program's table, whose own notes say which files are of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Delta Lake: `_delta_log/`.
    Delta,
    /// Apache Iceberg: `metadata/*.metadata.json`.
    Iceberg,
    /// Apache Hudi: `.hoodie/`.
    Hudi,
    /// What Spark streams into a folder: `_spark_metadata/`.
    SparkSink,
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "a Delta table (it has _delta_log/)",
            Self::Iceberg => "an Iceberg table (it has metadata/*.metadata.json)",
            Self::Hudi => "a Hudi table (it has .hoodie/)",
            Self::SparkSink => "the folder of a Spark stream (it has _spark_metadata/)",
        })
    }
}

/// The folders that mark the one that they lie in.
const MARKER_FOLDERS: &[(&str, TableFormat)] = &[
    ("_delta_log", TableFormat::Delta),
    (".hoodie", TableFormat::Hudi),
    ("_spark_metadata", TableFormat::SparkSink),
];

/// The folder of a table of Iceberg's in which its metadata is.
const METADATA: &str = "metadata";

/// True for names that are not listed: hidden ones that mark nothing.
pub(super) fn is_skipped(name: &str) -> bool {
    fs::is_hidden(name) && format_of_marker(name).is_none()
}

fn format_of_marker(name: &str) -> Option<TableFormat> {
    MARKER_FOLDERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, marked)| *marked)
}

/// The folders of a listing that are marked.
#[derive(Debug, Default)]
pub(super) struct MarkerScan {
    tables: Vec<(PathBuf, TableFormat)>,
    marker_folders: Vec<PathBuf>,
}

impl MarkerScan {
    /// Looks at an entry, by its path below the home; true where it is none of the home's, because
    /// it is a mark or in one.
    pub(super) fn visit_entry(&mut self, relative: &Path, is_folder: bool) -> bool {
        let (name, parent) = (
            relative.file_name().and_then(|name| name.to_str()),
            relative.parent().unwrap_or(Path::new("")),
        );
        let Some(name) = name else { return false };
        if fs::is_hidden(name) {
            if let Some(marked) = format_of_marker(name).filter(|_| is_folder) {
                self.tables.push((parent.to_path_buf(), marked));
                self.marker_folders.push(relative.to_path_buf());
            }
            return true;
        }
        if !is_folder
            && is_iceberg_metadata(name)
            && parent.file_name().is_some_and(|name| name == METADATA)
        {
            self.tables.push((
                parent.parent().unwrap_or(Path::new("")).to_path_buf(),
                TableFormat::Iceberg,
            ));
        }
        self.marker_folders
            .iter()
            .any(|hidden| relative.starts_with(hidden))
    }

    /// The first marked folder that a file lies in.
    pub(super) fn table_of_file(&self, name: &str) -> Option<&(PathBuf, TableFormat)> {
        self.tables
            .iter()
            .find(|(folder, _)| Path::new(name).starts_with(folder))
    }

    /// The first marked folder.
    pub(super) fn first(&self) -> Option<&(PathBuf, TableFormat)> {
        self.tables.first()
    }
}

/// The nearest folder around a location, itself included, that is marked.
pub(super) fn find_enclosing_table(
    location: &Location,
) -> Result<Option<(PathBuf, TableFormat)>, FsError> {
    let is_folder = |place: &Location| -> Result<bool, FsError> {
        Ok(place
            .head()?
            .is_some_and(|found| found.kind == EntryKind::Folder))
    };
    for folder in location.ancestors() {
        for (name, marked) in MARKER_FOLDERS {
            if is_folder(&folder.join(Path::new(name)))? {
                return Ok(Some((folder.display_path().into_owned(), *marked)));
            }
        }
        let metadata = folder.join(Path::new(METADATA));
        // Folders above one's own may be closed to us, and then say nothing.
        let listed = if is_folder(&metadata)? {
            metadata.list(Depth::One, fs::is_hidden).unwrap_or_default()
        } else {
            None
        };
        if listed
            .into_iter()
            .flatten()
            .any(|found| found.relative.to_str().is_some_and(is_iceberg_metadata))
        {
            return Ok(Some((
                folder.display_path().into_owned(),
                TableFormat::Iceberg,
            )));
        }
    }
    Ok(None)
}

/// True for names such as `v3.metadata.json` and `00002-9c12….metadata.json`.
fn is_iceberg_metadata(name: &str) -> bool {
    let Some(version) = name
        .strip_suffix(".metadata.json")
        .or_else(|| name.strip_suffix(".gz.metadata.json"))
    else {
        return false;
    };
    let number = version
        .strip_prefix('v')
        .unwrap_or(version)
        .split(['-', '.'])
        .next()
        .unwrap_or_default();
    !number.is_empty() && number.bytes().all(|letter| letter.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_iceberg_is_known_by_its_name() {
        for name in [
            "v1.metadata.json",
            "00000-5f1d.metadata.json",
            "v12.gz.metadata.json",
        ] {
            assert!(is_iceberg_metadata(name), "{name}");
        }
        for name in [
            "metadata.json",
            "x.metadata.json",
            "v.metadata.json",
            "snap-1.avro",
            "file.parquet",
        ] {
            assert!(!is_iceberg_metadata(name), "{name}");
        }
    }
}
