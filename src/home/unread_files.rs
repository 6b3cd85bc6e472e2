//! What lies in a home of files and is not read, although it may have been meant: other endings,
//! other letters, folders, links.
//!
//! It looks at names. What is read is decided in `files`.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder};

use super::HomeError;
use super::glob::{has_extension, is_recursive_glob};
use crate::config::listing::FORMAT_EXTENSIONS;
use crate::error::join_limited;
use crate::fs;
use crate::storage::{Depth, Entry, EntryKind, Location};

/// How many names are shown.
const SHOWN: usize = 3;

/// A home, as far as its names go.
pub(super) struct UnreadFiles<'h> {
    pub(super) folder: &'h Location,
    pub(super) glob: &'h str,
    /// None for the files of the format.
    pub(super) pattern: Option<&'h Glob>,
    /// The endings of the format.
    pub(super) endings: &'h [&'h str],
}

impl UnreadFiles<'_> {
    /// What is passed over, in words: a line for each reason.
    pub(super) fn describe(&self) -> Result<Vec<String>, HomeError> {
        let is_deep = is_recursive_glob(self.glob);
        let depth = if is_deep { Depth::All } else { Depth::One };
        let found = self.folder.list(depth, fs::is_hidden)?;
        let matcher = self.pattern.map(Glob::compile_matcher);
        let is_read = |path: &Path| match &matcher {
            Some(matcher) => matcher.is_match(path),
            None => has_extension(path, self.endings),
        };
        let (mut files, mut folders, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for entry in found.unwrap_or_default() {
            let Entry {
                relative,
                kind,
                is_link,
                ..
            } = entry;
            let (is_file, is_folder) = (kind == EntryKind::File, kind == EntryKind::Folder);
            if is_file && !is_read(&relative) && self.is_probably_meant(&relative) {
                files.push(relative);
            } else if is_folder && !is_deep {
                folders.push(relative);
            } else if is_folder && is_link {
                links.push(relative);
            }
        }
        let lines = [
            describe_group(files, |names| {
                format!(
                    "{names}: only names that match {} are, and large letters are other letters",
                    self.glob
                )
            }),
            describe_group(folders, |names| {
                format!(
                    "{names}: glob: \"**/{}\" reads what lies in folders",
                    self.glob.trim_start_matches('/')
                )
            }),
            describe_group(links, |names| {
                format!("{names}: links to folders are not followed below the home")
            }),
        ];
        Ok(lines.into_iter().flatten().collect())
    }

    /// True for a name that most likely was meant too.
    fn is_probably_meant(&self, path: &Path) -> bool {
        if self.pattern.is_some() {
            let loose = GlobBuilder::new(self.glob)
                .literal_separator(is_recursive_glob(self.glob))
                .case_insensitive(true)
                .build();
            return loose.is_ok_and(|glob| glob.compile_matcher().is_match(path));
        }
        let known = FORMAT_EXTENSIONS
            .iter()
            .find(|(format, _)| self.endings.first() == Some(format))
            .map_or(&[][..], |(_, endings)| endings);
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        known.contains(&ending.as_str())
    }
}

fn describe_group(mut names: Vec<PathBuf>, why: impl Fn(String) -> String) -> Option<String> {
    names.sort();
    let shown = join_limited(
        &names.iter().map(|name| name.display()).collect::<Vec<_>>(),
        SHOWN,
    );
    let verb = if names.len() == 1 { "is" } else { "are" };
    (!names.is_empty()).then(|| format!("not read {verb} {}", why(shown)))
}
