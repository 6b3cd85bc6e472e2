//! Homes: where data lives. A home lists what it holds; it never changes anything.
//!
//! It knows nothing of flows: keys, slices and verdicts are made from what it lists.

pub mod files;
pub mod flow;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::fs::{FsError, Stat};

/// A source of data, as the config describes it.
///
/// Two homes are the same where their kinds and their settings are: a home holds nothing else.
pub trait Home: Debug + Send + Sync {
    /// The `type:` in the config.
    fn kind(&self) -> &'static str;

    /// Every field of the config, resolved, in order.
    fn settings(&self) -> Settings;

    /// What the config says and this home has no use for, in words for `hygge check`.
    fn without_effect(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where it looks.
    fn place(&self) -> Place<'_>;

    /// The format of its files; `None` where another flow's store decides it.
    fn format(&self) -> Option<&'static dyn Format>;

    /// What is there now, sorted by name. Nothing is read but folders and stats.
    ///
    /// # Errors
    /// Nothing is there, nothing matches, or a name is not UTF-8.
    fn list(&self) -> Result<Listing, HomeError>;
}

impl PartialEq for dyn Home {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.settings() == other.settings()
    }
}

impl Eq for dyn Home {}

/// Where a home looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A file or a folder.
    Path {
        /// The absolute path, links not resolved.
        path: &'a Path,
        /// True where folders below it are read as well.
        deep: bool,
    },
    /// The store of another flow.
    Flow(&'a str),
}

/// What a home holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The folder to which names are relative.
    pub folder: PathBuf,
    /// The files, sorted by name.
    pub files: Vec<ListedFile>,
    /// Every folder that was listed.
    pub folders: Vec<PathBuf>,
}

/// A file of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path below the home's folder, with `/`.
    pub name: String,
    /// How it looked when it was listed.
    pub stat: Stat,
}

/// Why a home has nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is nothing at the path.
    #[error("home {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The folder has no file of the kind.
    #[error("home {} has no file that matches {glob}{}", path.display(), listed(.others))]
    NothingMatches {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        glob: String,
        /// Some names that are there.
        others: Vec<String>,
    },
    /// A name that cannot be kept.
    #[error("the name {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A link that leads nowhere, a socket and the like.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// The filesystem said no.
    #[error(transparent)]
    Fs(#[from] FsError),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => ", it is empty".into(),
        names => format!(", it has {}", names.join(", ")),
    }
}

impl From<HomeError> for Error {
    fn from(error: HomeError) -> Self {
        let hint = match &error {
            HomeError::Missing(path) if path.to_string_lossy().contains('*') => Some(
                "a glob stands beside the path: {path: folder, glob: \"*.parquet\"}; entities: {from: \"folder/*\"} makes one flow of each",
            ),
            HomeError::Missing(_) => Some("check home.path; it is relative to the folder of the config file"),
            HomeError::NothingMatches { .. } => {
                Some("name the files by glob:, for example glob: \"**/*.parquet\"; names that begin with . or _ are never read")
            }
            HomeError::NotUtf8(_) => Some("rename the file"),
            HomeError::NotAFile(_) => Some("remove it, or choose the files by glob:"),
            HomeError::Fs(_) => None,
        };
        let error = Self::new(ErrorKind::Flow, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
