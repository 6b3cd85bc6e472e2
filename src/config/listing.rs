//! Listing what the patterns of entities match.

use std::path::{Component, Path};

use globset::GlobBuilder;

use super::absolute;
use super::entities::Matches;
use crate::fs::{self, FsError};

/// What a pattern found, and where it looked.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) matches: Matches,
    /// The folders that were listed.
    pub(super) folders: Vec<String>,
    /// Something that matches and cannot be an entity, in words.
    pub(super) refused: Vec<String>,
}

/// Signs that make a part of a path a pattern.
const SIGNS: [char; 4] = ['*', '?', '[', '{'];

/// Refuses a pattern that finds nothing or means something else.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if !pattern.contains(SIGNS) {
        return Err("it has no * and so finds at most one".into());
    }
    for part in pattern.split('/') {
        if part.contains("**") {
            return Err("** is not known here: write a * for each folder".into());
        }
        GlobBuilder::new(part).build().map_err(|error| error.kind().to_string())?;
    }
    Ok(())
}

/// The folders and files that match a pattern: entity and path, sorted by path.
pub(super) fn list(root: &Path, pattern: &str) -> Result<Listed, FsError> {
    let mut listed = Listed::default();
    let mut found: Vec<String> = vec![if pattern.starts_with('/') { "/".into() } else { String::new() }];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let Some(glob) = part.contains(SIGNS).then(|| GlobBuilder::new(part).literal_separator(true).build()).transpose().unwrap_or(None)
        else {
            found.iter_mut().for_each(|folder| *folder = joined(folder, part));
            continue;
        };
        let glob = glob.compile_matcher();
        let mut next = Vec::new();
        for folder in found {
            let entries = fs::list(&absolute(root, &folder), fs::is_hidden)?.unwrap_or_default();
            for entry in entries.into_iter().filter(|entry| glob.is_match(&entry.relative)) {
                match entry.relative.to_str() {
                    Some(name) if entry.is_folder || entry.is_file => next.push(joined(&folder, name)),
                    Some(name) => listed.refused.push(format!("{} is neither a folder nor a file", joined(&folder, name))),
                    None => listed.refused.push(format!("the name {} is not UTF-8", joined(&folder, &entry.relative.to_string_lossy()))),
                }
            }
            listed.folders.push(folder);
        }
        found = next;
    }
    found.sort();
    for path in found {
        let Some(entry) = fs::stat(&absolute(root, &path))? else { continue };
        let Some(Component::Normal(name)) = Path::new(&path).components().next_back() else { continue };
        let stem = if entry.is_file { Path::new(name).file_stem().unwrap_or(name) } else { name };
        listed.matches.push((stem.to_string_lossy().into_owned(), path));
    }
    Ok(listed)
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}
