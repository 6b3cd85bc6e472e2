//! What stands beside the columns of a home's files: logs of other programs, values in names of
//! folders, notes of writers.
//!
//! It reads footers and nothing else, and is asked for flows that are about to read.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::{Format, Layout, OpenFile};
use crate::home::{Home, HomeError};

/// Nothing is lost of what other programs keep beside files: a log that says which of them count,
/// values in names of folders.
pub(super) fn check_folder_values(
    home: &dyn Home,
    format: &dyn Format,
    names: &[&str],
    open: impl Fn(usize) -> Result<OpenFile>,
) -> Result<()> {
    let Some(home) = home.as_files() else {
        return Ok(());
    };
    home.check_not_in_table()?;
    // All files have the same columns, so that one of each kind of folders says it.
    let mut kinds: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        let columns: Vec<String> = home
            .hive_partition_values(name)
            .into_iter()
            .map(|(column, _)| column)
            .collect();
        if !columns.is_empty() {
            kinds.entry(columns).or_insert(number);
        }
    }
    for number in kinds.into_values() {
        let columns = format.reader().column_names(&open(number)?)?;
        let mut values = home.hive_partition_values(names[number]).into_iter();
        if let Some((column, value)) = values.find(|(column, _)| !columns.contains(column)) {
            return Err(HomeError::HivePartitionColumn {
                file: names[number].to_string(),
                column,
                value,
            }
            .into());
        }
    }
    Ok(())
}

/// Which files share no part with the one before them, and why: the first of them with all that is
/// to say, the others as a number.
pub(super) fn packing_remarks(
    format: &dyn Format,
    layouts: &[&Layout],
    names: &[&str],
    open: impl Fn(usize) -> Result<OpenFile>,
) -> Result<Vec<String>> {
    let filled: Vec<usize> = (0..layouts.len())
        .filter(|file| layouts[*file].rows.is_some_and(|rows| rows > 0))
        .collect();
    let apart: Vec<(usize, usize)> = filled
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|(one, other)| !layouts[*one].can_pack_with(layouts[*other]))
        .collect();
    let Some((one, other)) = apart.first().copied() else {
        return Ok(Vec::new());
    };
    let passthrough = format.passthrough();
    let difference = passthrough
        .map(|format| {
            format
                .packing_conflict(&open(one)?, &open(other)?)
                .map_err(Error::from)
        })
        .transpose()?
        .flatten();
    let difference = difference.unwrap_or_else(|| "what they say of their values differs".into());
    let more = match apart.len() - 1 {
        0 => String::new(),
        1 => "; a part ends so between two other files too".into(),
        more => format!("; parts end so between {} other files too", more + 1),
    };
    Ok(vec![format!(
        "a part ends between {} and {}, which cannot share one: {difference}{more}",
        names[one], names[other]
    )])
}
