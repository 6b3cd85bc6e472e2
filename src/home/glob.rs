//! Globs of homes of files: which are the usual ones, and which can be used.

use std::path::Path;

use crate::config::listing::has_ending;
use crate::format::Format;

/// The glob of the files of a format.
pub(super) fn default_glob(format: &dyn Format) -> String {
    match format.extensions() {
        [one] => format!("*.{one}"),
        several => format!("*.{{{}}}", several.join(",")),
    }
}

/// True for a file that the usual glob of a format with these endings finds.
pub(super) fn has_extension(path: &Path, endings: &[&str]) -> bool {
    path.file_name()
        .is_some_and(|name| has_ending(name.as_encoded_bytes(), endings))
}

/// Refuses a glob that no file below the home can match.
pub(super) fn check_glob(glob: &str) -> Result<(), String> {
    match glob {
        "" => Err("it is empty".into()),
        glob if glob.starts_with('/') => {
            Err("it begins at the root, and is relative to the home".into())
        }
        glob if glob.split('/').any(|part| part == "." || part == "..") => {
            Err("it has . or .., and is relative to the home".into())
        }
        _ => Ok(()),
    }
}

/// True where a pattern asks for files in folders below.
pub(super) fn is_recursive_glob(glob: &str) -> bool {
    glob.contains('/') || glob.contains("**")
}
