//! One file of a config: read within bounds, parsed, and its secrets covered.

use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use super::node::Node;
use super::problem::Problem;
use super::secrets::{Secrets, extract_secrets};
use super::yaml;
use super::{FILE_NAMES, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::fs::UnexpectedFile;

/// How large a file of the config may be, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file of the config that was found.
pub(super) struct ConfigFile {
    pub(super) role: Role,
    pub(super) path: PathBuf,
    /// What is in it; secrets are covered once all files are parsed.
    pub(super) text: Arc<str>,
}

/// A file with the tree that is in it.
pub(super) struct ParsedFile {
    pub(super) file: ConfigFile,
    pub(super) tree: std::result::Result<Node, Problem>,
    /// Where its secrets stand.
    secret_ranges: Vec<std::ops::Range<usize>>,
}

impl ParsedFile {
    /// Parses a file, the config's file of this number.
    pub(super) fn new(file: ConfigFile, number: usize) -> Self {
        let tree = yaml::parse(&file.text, number);
        Self {
            file,
            tree,
            secret_ranges: Vec::new(),
        }
    }

    /// Takes the secrets out of sight.
    pub(super) fn extract_secrets(&mut self, secrets: &mut Secrets) {
        if let Ok(tree) = &mut self.tree {
            self.secret_ranges = extract_secrets(tree, &self.file.text, secrets);
        }
    }

    /// Covers them in the text, which is only shown from now on.
    pub(super) fn redact_secrets(&mut self, secrets: &Secrets) {
        if let Some(covered) =
            secrets.redact_file(&self.file.text, self.tree.is_ok(), &self.secret_ranges)
        {
            self.file.text = Arc::from(covered);
        }
    }
}

/// There is no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing was found on the way up.
    #[error("no {} in {} or any folder above it", FILE_NAMES[0], .0.display())]
    NotFound(PathBuf),
    /// A config is a text; the line is the first that is not.
    #[error("{}:{}: the config is not UTF-8", .0.display(), .1)]
    NotText(PathBuf, usize),
    /// The file that was named is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// What was named is no file.
    #[error("{} is a folder, not a file", .0.display())]
    Folder(PathBuf),
    /// A config is a file: what is piped cannot be read again, and may never come.
    #[error("{} is no file, but {}", .0.display(), .1)]
    NotAFile(PathBuf, &'static str),
    /// It is no config that anybody wrote.
    #[error("{} has {} bytes or more, and a config may have {MAX_FILE_BYTES}", .0.display(), .1)]
    TooLarge(PathBuf, u64),
}

/// The text of a file of the config; `None` where no file is.
pub(super) fn read_text(path: &Path, shown: &Path) -> Result<Option<Arc<str>>> {
    let Some(found) = fs::stat(path).map_err(startup_error)? else {
        return Ok(None);
    };
    if found.is_folder {
        let error = Error::new(ErrorKind::Start, LoadError::Folder(shown.to_path_buf()));
        return Err(error.with_hint(format!(
            "name the file: {}",
            shown.join(FILE_NAMES[0]).display()
        )));
    }
    let too_large = |size| {
        let error = LoadError::TooLarge(shown.to_path_buf(), size);
        Error::new(ErrorKind::Config, error)
            .with_hint("split it: each flow may have a folder of its own")
    };
    let bytes = fs::read(path, MAX_FILE_BYTES).map_err(|error| match error.unexpected_file() {
        Some(UnexpectedFile::TooLarge { found, .. }) => too_large(*found),
        Some(UnexpectedFile::NotAFile(what)) => Error::new(
            ErrorKind::Config,
            LoadError::NotAFile(shown.to_path_buf(), what),
        )
        .with_hint("write the config into a file, and name that"),
        _ => startup_error(error),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| not_utf8_error(shown, &error))?;
    // Some editors begin a file with a mark of its encoding.
    Ok(Some(Arc::from(
        text.strip_prefix('\u{feff}').unwrap_or(&text),
    )))
}

fn not_utf8_error(path: &Path, error: &FromUtf8Error) -> Error {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
    Error::new(
        ErrorKind::Config,
        LoadError::NotText(path.to_path_buf(), line),
    )
    .with_hint("save the file as UTF-8")
}

/// An error of the filesystem before anything began.
pub(super) fn startup_error(error: fs::FsError) -> Error {
    Error::from_fs(ErrorKind::Start, error)
}
