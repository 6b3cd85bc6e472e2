//! A home of files: one file, or the files of a folder that match a glob.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::{Home, HomeError, ListedFile, Listing, Place};
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
    matcher: GlobMatcher,
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
        match GlobBuilder::new(&glob).literal_separator(true).build() {
            Ok(built) => Some(Self { format, path: root.join(path?.0), matcher: built.compile_matcher(), glob }),
            Err(error) => {
                let at = written.map_or(block.at(), |(_, at)| at);
                problems.push(Problem::new(
                    at,
                    format!("glob {glob:?} cannot be used: {}", error.kind()),
                    "expected a glob such as \"**/*.parquet\"",
                ));
                None
            }
        }
    }

    fn is_deep(&self) -> bool {
        self.glob.contains('/') || self.glob.contains("**")
    }

    fn list_folder(&self, found: Vec<fs::Found>) -> Result<Listing, HomeError> {
        let mut listing = Listing { folder: self.path.clone(), folders: vec![self.path.clone()], ..Listing::default() };
        let mut others = Vec::new();
        for entry in found {
            let path = self.path.join(&entry.relative);
            if entry.is_folder {
                listing.folders.push(path);
            } else if self.matcher.is_match(&entry.relative) {
                let name = entry.relative.to_str().ok_or_else(|| HomeError::NotUtf8(path.clone()))?;
                if !entry.is_file {
                    return Err(HomeError::NotAFile(path));
                }
                listing.files.push(ListedFile { name: name.to_string(), stat: entry.stat });
            } else {
                others.push(entry.relative.to_string_lossy().into_owned());
            }
        }
        if listing.files.is_empty() {
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
        Place::Path { path: &self.path, deep: self.is_deep() }
    }

    fn format(&self) -> Option<&'static dyn Format> {
        Some(self.format)
    }

    fn list(&self) -> Result<Listing, HomeError> {
        let depth = if self.is_deep() { usize::MAX } else { 1 };
        if let Some(found) = fs::walk(&self.path, depth, is_hidden)? {
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

/// Names that are never read: other tools keep their notes under them, and so does hygge.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}
