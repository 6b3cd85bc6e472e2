//! Globs of homes of files: which are the usual ones, and which can be used.

use std::path::Path;

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
    let name = path.file_name().and_then(|name| name.to_str());
    let ends = |ending: &&str| {
        let stem = name.and_then(|name| name.strip_suffix(*ending));
        stem.is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    };
    endings.iter().any(ends)
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
