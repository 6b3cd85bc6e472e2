//! The depfile: what a build depends on, as rules that make can include.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::loader::Found;
use crate::error::Result;
use crate::fs;
use crate::plan::Planner;

/// Writes the rules: the stamp depends on the config, on every input file and on every folder that
/// is listed. Each is also a target without a recipe, so that one that is gone is no error.
///
/// What other flows make is left out: hygge looks after it itself.
pub(super) fn write(path: &Path, stamp: &Path, found: &Found, planner: &Planner) -> Result<()> {
    let made: BTreeSet<&Path> = planner.project.graph.flows().map(|flow| planner.project.store_path(flow)).collect();
    let is_made = |path: &Path| path.ancestors().any(|above| made.contains(above));
    let mut needed: BTreeSet<PathBuf> = found.sources.iter().map(|source| source.path.clone()).collect();
    needed.extend(found.folders.iter().cloned());
    needed.extend(found.env_file.clone());
    for name in &planner.selected().flows {
        // A home that cannot be read has failed its flow; there is nothing to depend on.
        let Ok(listing) = planner.listing(name) else { continue };
        let files = listing.files.iter().map(|file| listing.folder.join(&file.name));
        let paths = files.chain(listing.folders.iter().cloned());
        needed.extend(paths.filter(|path| !fs::real_path(path).is_ok_and(|real| is_made(&real))));
    }
    let written: Vec<String> = needed.iter().filter_map(|path| target(path)).collect();
    // Only in a target does a percent sign mean a pattern.
    let prerequisites: Vec<String> = written.iter().map(|path| path.replace("\\%", "%")).collect();
    let mut text = format!("{}: \\\n  {}\n", target(stamp).unwrap_or_default(), prerequisites.join(" \\\n  "));
    for path in &written {
        text.push_str(&format!("\n{path}:\n"));
    }
    Ok(fs::write_atomically(path, text.as_bytes())?)
}

/// A path as make reads it; `None` for one that make has no way to write.
fn target(path: &Path) -> Option<String> {
    let path: PathBuf = path.components().collect();
    path.to_str().filter(|path| !path.contains('\n')).map(escape)
}

/// Escapes what make gives a meaning to.
pub(super) fn escape(path: &str) -> String {
    let mut escaped = String::new();
    for letter in path.chars() {
        match letter {
            '$' => escaped.push_str("$$"),
            ' ' | '#' | '%' | ':' | '\\' | '*' | '?' | '[' | '~' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}
