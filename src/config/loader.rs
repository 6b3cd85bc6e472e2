//! Finding the config: `-f FILE`, or `hygge.yml` in the working directory or above it.

use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use super::problem::Source;
use crate::error::{Error, ErrorKind};
use crate::fs;

/// The name that is looked for.
pub const FILE_NAME: &str = "hygge.yml";

/// A config file with the folder that its paths are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file and its text.
    pub source: Source,
    /// Its folder, absolute.
    pub root: PathBuf,
}

/// There is no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing was found on the way up.
    #[error("no {FILE_NAME} in {} or any folder above it", .0.display())]
    NotFound(PathBuf),
    /// A config is a text; the line is the first that is not.
    #[error("{}:{}: the config is not UTF-8", .0.display(), .1)]
    NotText(PathBuf, usize),
    /// The file that was named is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
}

/// Reads the config that is named, or the nearest one above `working`.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub fn load(named: Option<&Path>, working: &Path) -> Result<Found, Error> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => search(working)?,
    };
    let absolute = working.join(&path);
    if fs::stat(&absolute).map_err(start)?.is_none() {
        return Err(Error::new(ErrorKind::Start, LoadError::Missing(path)).with_hint("check the path behind -f"));
    }
    let bytes = fs::read(&absolute).map_err(start)?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|error| not_text(&path, &error))?;
    let folder = absolute.parent().unwrap_or(working);
    let root = fs::real_path(folder).map_err(start)?;
    Ok(Found { source: Source { path, text: Arc::from(text) }, root })
}

fn not_text(path: &Path, error: &FromUtf8Error) -> Error {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
    Error::new(ErrorKind::Config, LoadError::NotText(path.to_path_buf(), line)).with_hint("save the file as UTF-8")
}

fn search(working: &Path) -> Result<PathBuf, Error> {
    for folder in working.ancestors() {
        let path = folder.join(FILE_NAME);
        if fs::stat(&path).map_err(start)?.is_some_and(|found| found.is_file) {
            return Ok(if folder == working { PathBuf::from(FILE_NAME) } else { path });
        }
    }
    let error = Error::new(ErrorKind::Start, LoadError::NotFound(working.to_path_buf()));
    Err(error
        .with_hint("name a config by -f FILE, or write a hygge.yml:\nflows:\n  NAME:\n    home: folder/to/read\n    store: folder/to/fill"))
}

fn start(error: fs::FsError) -> Error {
    Error::new(ErrorKind::Start, error)
}
