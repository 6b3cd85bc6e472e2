//! A home of files: one file, or the files of a folder that match a glob.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::{Home, HomeError, ListedFile, Listing, Place};
use crate::config::absolute;
use crate::config::problem::{Problem, Problems};
use crate::config::schema::Block;
use crate::format::Format;
use crate::fs;

/// Files of one format.
#[derive(Debug)]
pub struct FilesHome {
    format: &'static dyn Format,
    path: PathBuf,
    glob: String,
    /// None for the files of the format: most homes have no pattern, and making one takes long.
    matcher: Option<GlobMatcher>,
}

impl FilesHome {
    /// Reads `path` and `glob` of a home's block; paths are relative to `root`.
    pub fn from_block(format: &'static dyn Format, block: &mut Block<'_>, root: &Path, problems: &mut Problems) -> Option<Self> {
        let path = block.text("path", problems);
        if path.is_none() {
            block.required("path", "write the folder or file to read, relative to this file", problems);
        }
        let written = block.text("glob", problems);
        let glob = written.map_or_else(|| format!("*.{}", format.extension()), |(glob, _)| glob.to_string());
        let path = path.map(|(path, _)| absolute(root, path));
        let Some((_, at)) = written else {
            return Some(Self { format, path: path?, glob, matcher: None });
        };
        let built = GlobBuilder::new(&glob).literal_separator(is_deep(&glob)).build();
        match built {
            Ok(built) => Some(Self { format, path: path?, glob, matcher: Some(built.compile_matcher()) }),
            Err(error) => {
                problems.push(Problem::new(
                    at,
                    format!("glob {glob:?} cannot be used: {}", error.kind()),
                    "expected a glob such as \"**/*.parquet\"",
                ));
                None
            }
        }
    }

    fn matches(&self, relative: &Path) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(relative),
            None => relative.extension().is_some_and(|ending| ending == self.format.extension()),
        }
    }

    fn list_folder(&self, found: Vec<fs::Found>) -> Result<Listing, HomeError> {
        let mut listing = Listing { folder: self.path.clone(), folders: vec![self.path.clone()], ..Listing::default() };
        let mut others = Vec::new();
        for fs::Found { relative, is_folder, is_file, stat } in found {
            if is_folder {
                others.push(relative.join(""));
                listing.folders.push(self.path.join(relative));
            } else if !self.matches(&relative) {
                others.push(relative);
            } else if !is_file {
                return Err(HomeError::NotAFile(self.path.join(relative)));
            } else {
                let name = relative.into_os_string().into_string();
                listing.files.push(ListedFile { name: name.map_err(|name| HomeError::NotUtf8(self.path.join(name)))?, stat });
            }
        }
        if listing.files.is_empty() {
            let mut others: Vec<String> = others.iter().map(|other| other.display().to_string()).collect();
            others.sort();
            others.truncate(3);
            return Err(HomeError::NothingMatches { path: self.path.clone(), glob: self.glob.clone(), others });
        }
        listing.files.sort_by(|a, b| a.name.cmp(&b.name));
        listing.folders.sort();
        Ok(listing)
    }
}

impl Home for FilesHome {
    fn kind(&self) -> &'static str {
        self.format.name()
    }

    fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("path", self.path.display().to_string()), ("glob", self.glob.clone())])
    }

    fn place(&self) -> Place<'_> {
        Place::Path { path: &self.path, deep: is_deep(&self.glob) }
    }

    fn format(&self) -> Option<&'static dyn Format> {
        Some(self.format)
    }

    fn list(&self) -> Result<Listing, HomeError> {
        let found = if is_deep(&self.glob) { fs::walk(&self.path, is_hidden) } else { fs::list(&self.path, is_hidden) };
        if let Some(found) = found? {
            return self.list_folder(found);
        }
        let Some(found) = fs::stat(&self.path)? else {
            return Err(HomeError::Missing(self.path.clone()));
        };
        if !found.is_file {
            return Err(HomeError::NotAFile(self.path.clone()));
        }
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| HomeError::NotUtf8(self.path.clone()))?;
        let folder = self.path.parent().unwrap_or(&self.path).to_path_buf();
        Ok(Listing { folder, files: vec![ListedFile { name: name.to_string(), stat: found.stat }], folders: Vec::new() })
    }
}

/// True where a pattern asks for files in folders below.
fn is_deep(glob: &str) -> bool {
    glob.contains('/') || glob.contains("**")
}

/// Names that are never read: other tools keep their notes under them, and so does hygge.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}
