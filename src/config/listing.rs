//! Listing what the patterns of entities match.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use globset::{GlobBuilder, GlobMatcher};

use super::absolute;
use crate::fs::{self, FsError};

/// What a pattern of entities found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatternMatches {
    /// Each entity's name and its path, in order.
    pub entities: Vec<(String, String)>,
    /// Paths that it does not match, and that may have been meant.
    pub near_misses: Vec<String>,
}

/// What each pattern of the config found.
pub type Listings = BTreeMap<String, PatternMatches>;

/// What a pattern found, and where it looked.
#[derive(Debug, Default)]
pub(super) struct PatternListing {
    pub(super) matched: PatternMatches,
    /// The folders that were listed.
    pub(super) folders: Vec<String>,
    /// Something that matches and cannot be an entity, in words.
    pub(super) invalid: Vec<String>,
}

/// Signs that make a part of a path a pattern.
pub(super) const GLOB_CHARS: [char; 4] = ['*', '?', '[', '{'];

/// Endings of files of Arrow IPC.
pub const ARROW_EXTENSIONS: &[&str] = &["arrow", "arrows", "feather", "ipc"];

/// Endings of files of CSV.
pub const CSV_EXTENSIONS: &[&str] = &[
    "csv", "tsv", "psv", "csv.gz", "csv.zst", "csv.bz2", "tsv.gz", "tsv.zst", "tsv.bz2", "psv.gz",
    "psv.zst", "psv.bz2",
];

/// True for a name, which need not be UTF-8, that ends with a point and one of these endings.
pub fn has_ending(name: &[u8], endings: &[&str]) -> bool {
    let ends = |ending: &&str| {
        let stem = name.strip_suffix(ending.as_bytes());
        stem.is_some_and(|stem| stem.len() > 1 && stem.ends_with(b"."))
    };
    endings.iter().any(ends)
}

/// Endings that files of a format also have, in small letters.
pub const FORMAT_EXTENSIONS: &[(&str, &[&str])] = &[
    ("parquet", &["parquet", "parq", "pq", "par"]),
    ("arrow", ARROW_EXTENSIONS),
    ("csv", CSV_EXTENSIONS),
];

/// Refuses a pattern that finds nothing or means something else.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    if !pattern.contains(GLOB_CHARS) {
        return Err("it has no * and so finds at most one".into());
    }
    for part in pattern.split('/') {
        if part.contains("**") {
            return Err("** is not known here: write a * for each folder".into());
        }
        GlobBuilder::new(part)
            .build()
            .map_err(|error| error.kind().to_string())?;
    }
    Ok(())
}

/// The folders and files that match a pattern: entity and path, sorted by path.
pub(super) fn list_matches(root: &Path, pattern: &str) -> Result<PatternListing, FsError> {
    let mut listed = PatternListing::default();
    let mut found: Vec<String> = vec![if pattern.starts_with('/') {
        "/".into()
    } else {
        String::new()
    }];
    let parts: Vec<&str> = pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    for (number, part) in parts.iter().copied().enumerate() {
        let Some(glob) = part
            .contains(GLOB_CHARS)
            .then(|| GlobBuilder::new(part).literal_separator(true).build())
            .transpose()
            .unwrap_or(None)
        else {
            found
                .iter_mut()
                .for_each(|folder| *folder = join_path(folder, part));
            continue;
        };
        let glob = glob.compile_matcher();
        let alike = NearMissMatcher::new(part, number + 1 == parts.len());
        let mut next = Vec::new();
        for folder in found {
            let entries = fs::list(&absolute(root, &folder), fs::is_hidden)?.unwrap_or_default();
            for entry in entries {
                match entry.relative.to_str() {
                    name if !glob.is_match(&entry.relative) => {
                        listed.matched.near_misses.extend(
                            name.filter(|name| alike.is_near_miss(name, entry.is_folder))
                                .map(|name| join_path(&folder, name)),
                        );
                    }
                    Some(name) if entry.is_folder || entry.is_file => {
                        next.push(join_path(&folder, name))
                    }
                    Some(name) => listed.invalid.push(format!(
                        "{} is neither a folder nor a file",
                        join_path(&folder, name)
                    )),
                    None => listed.invalid.push(format!(
                        "the name {} is not UTF-8",
                        join_path(&folder, &entry.relative.to_string_lossy())
                    )),
                }
            }
            listed.folders.push(folder);
        }
        found = next;
    }
    found.sort();
    listed.matched.near_misses.sort();
    for path in found {
        let Some(entry) = fs::stat(&absolute(root, &path))? else {
            continue;
        };
        let Some(Component::Normal(name)) = Path::new(&path).components().next_back() else {
            continue;
        };
        let stem = if entry.is_file {
            Path::new(name).file_stem().unwrap_or(name)
        } else {
            name
        };
        listed
            .matched
            .entities
            .push((stem.to_string_lossy().into_owned(), path));
    }
    Ok(listed)
}

/// Names that a part of a pattern does not match, although they may have been meant: with other
/// letters, and of files with another ending of the format, or folders.
struct NearMissMatcher {
    globs: Vec<GlobMatcher>,
    has_extension: bool,
}

impl NearMissMatcher {
    fn new(part: &str, is_last: bool) -> Self {
        let of_format = part
            .rsplit_once('.')
            .filter(|_| is_last)
            .and_then(|(stem, ending)| {
                let (_, endings) = FORMAT_EXTENSIONS
                    .iter()
                    .find(|(format, _)| *format == ending)?;
                Some(
                    endings
                        .iter()
                        .map(|ending| format!("{stem}.{ending}"))
                        .collect::<Vec<_>>(),
                )
            });
        let is_of_files = of_format.is_some();
        let texts = of_format.unwrap_or_else(|| vec![part.to_string()]);
        let glob = |text: &String| {
            GlobBuilder::new(text)
                .literal_separator(true)
                .case_insensitive(true)
                .build()
                .ok()
        };
        Self {
            globs: texts
                .iter()
                .filter_map(glob)
                .map(|glob| glob.compile_matcher())
                .collect(),
            has_extension: is_of_files,
        }
    }

    fn is_near_miss(&self, name: &str, is_folder: bool) -> bool {
        is_folder && self.has_extension || self.globs.iter().any(|glob| glob.is_match(name))
    }
}

fn join_path(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') {
        format!("{folder}{name}")
    } else {
        format!("{folder}/{name}")
    }
}
