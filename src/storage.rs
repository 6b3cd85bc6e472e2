//! Storages: the places where files of homes lie. A storage lists files, tells by their versions
//! that one has changed, and reads their bytes. It never changes anything.
//!
//! A storage need not have folders, times, links or locks, and a file no path of this machine: what
//! only has names with slashes says what folders they would make. What is true of local files alone
//! stands in [`local`].

pub mod local;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Debug};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fingerprint::key::KeyWriter;
use crate::fingerprint::stat::UnixNanos;
use crate::fs::{FsError, Stat};

/// A place where files lie.
///
/// The same suite runs against each implementation (`tests/conformance/storage.rs`).
pub trait Storage: Debug + Send + Sync {
    /// What stands before `://` in the URLs of its files.
    fn scheme(&self) -> &'static str;

    /// What lies below a path, a folder before what is in it and otherwise in no order; `None` where
    /// nothing can lie below it. Names for which `skip` is true are passed over, with all that lies
    /// below them.
    ///
    /// # Errors
    /// Nobody knows what lies there.
    fn list(
        &self,
        path: &Path,
        depth: Depth,
        skip: fn(&str) -> bool,
    ) -> Result<Option<Vec<Entry>>, FsError>;

    /// What lies at a path; `None` where nothing does. It has the version that a listing gives.
    ///
    /// # Errors
    /// Nobody knows what lies there.
    fn head(&self, path: &Path) -> Result<Option<Entry>, FsError>;

    /// Opens a file. Everything that is read of it is of the version that it says it has at the end
    /// of reading, or reading fails.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    fn open(&self, path: &Path) -> Result<Arc<dyn RandomRead>, FsError>;

    /// The path by which this machine knows it, where it does: then it can be cloned, and a path
    /// of a store can lie above or below it.
    fn local_path<'p>(&self, _: &'p Path) -> Option<&'p Path> {
        None
    }
}

/// The bytes of a file, from any place on.
pub trait RandomRead: Debug + Send + Sync {
    /// The version that the bytes are of.
    ///
    /// # Errors
    /// It cannot be asked for.
    fn version(&self) -> io::Result<Version>;

    /// Reads some bytes from a place on, at most as many as the buffer has; none at the end.
    ///
    /// # Errors
    /// They cannot be read, or are of another version.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills the buffer from a place on.
    ///
    /// # Errors
    /// As [`RandomRead::read_at`], and where the file ends before.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads a file from its beginning to its end.
#[derive(Debug)]
pub struct SequentialReader<'f> {
    file: &'f dyn RandomRead,
    offset: u64,
}

impl<'f> SequentialReader<'f> {
    /// A reader of a file that stands at its beginning.
    pub fn new(file: &'f dyn RandomRead) -> Self {
        Self { file, offset: 0 }
    }
}

impl Read for SequentialReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// How deep a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What lies directly below.
    One,
    /// All that lies below.
    All,
    /// The folders of [`Depth::All`] alone: nothing is asked about files.
    Folders,
}

/// What a listing found.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path below what was listed.
    pub relative: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// True where a link leads there.
    pub is_link: bool,
    /// What tells that it has changed.
    pub version: Version,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, which can be read.
    File,
    /// Something below which others may lie.
    Folder,
    /// Something else: a socket, a link that leads nowhere.
    Other,
}

/// What tells, without reading a file, that it has changed: equal versions mean equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// How a local file looks. One that was changed a moment ago may be changed again unseen
    /// ([`Version::has_aged`]).
    Stat(Stat),
    /// What the storage calls these bytes of this file.
    Tag {
        /// Bytes.
        size: u64,
        /// An entity tag and the like.
        tag: Box<[u8]>,
    },
}

impl Version {
    /// How many bytes the file has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Stat(stat) => stat.size,
            Self::Tag { size, .. } => *size,
        }
    }

    /// True where a file of this version cannot change without getting another.
    pub fn has_aged(&self, now: UnixNanos) -> bool {
        match self {
            Self::Stat(stat) => now.has_aged(stat),
            Self::Tag { .. } => true,
        }
    }

    /// Writes it into a key.
    pub fn write_to(&self, writer: &mut KeyWriter) {
        match self {
            Self::Stat(stat) => writer.stat(stat),
            Self::Tag { size, tag } => writer.number(*size).bytes(tag),
        };
    }
}

/// Where a file lies, or files: a storage, and a path in it.
#[derive(Clone, Debug)]
pub struct Location {
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

impl Location {
    /// A path in a storage.
    pub fn new(storage: Arc<dyn Storage>, path: PathBuf) -> Self {
        Self { storage, path }
    }

    /// A path of this machine.
    pub fn local(path: PathBuf) -> Self {
        Self::new(local::storage(), path)
    }

    /// What lies below it by this name.
    #[must_use]
    pub fn join(&self, name: &Path) -> Self {
        Self::new(self.storage.clone(), self.path.join(name))
    }

    /// What it lies in.
    #[must_use]
    pub fn parent(&self) -> Self {
        let parent = self.path.parent().unwrap_or(&self.path);
        Self::new(self.storage.clone(), parent.to_path_buf())
    }

    /// Itself, and all that it lies in, from the inside out.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        self.path
            .ancestors()
            .map(|path| Self::new(self.storage.clone(), path.to_path_buf()))
    }

    /// Its last name.
    pub fn file_name(&self) -> Option<&OsStr> {
        self.path.file_name()
    }

    /// See [`Storage::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(
        &self,
        depth: Depth,
        skip: fn(&str) -> bool,
    ) -> Result<Option<Vec<Entry>>, FsError> {
        self.storage.list(&self.path, depth, skip)
    }

    /// See [`Storage::head`].
    ///
    /// # Errors
    /// As there.
    pub fn head(&self) -> Result<Option<Entry>, FsError> {
        self.storage.head(&self.path)
    }

    /// See [`Storage::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&self) -> Result<Arc<dyn RandomRead>, FsError> {
        self.storage.open(&self.path)
    }

    /// See [`Storage::local_path`].
    pub fn local_path(&self) -> Option<&Path> {
        self.storage.local_path(&self.path)
    }

    /// What people and records call it: the path of a local file, else its URL.
    pub fn display_path(&self) -> Cow<'_, Path> {
        self.local_path().map_or_else(
            || {
                let url = format!("{}://{}", self.storage.scheme(), self.path.display());
                PathBuf::from(url).into()
            },
            Cow::Borrowed,
        )
    }
}

impl Default for Location {
    /// The empty path of this machine: nothing lies there.
    fn default() -> Self {
        Self::local(PathBuf::new())
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.storage.scheme() == other.storage.scheme() && self.path == other.path
    }
}

impl Eq for Location {}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.display_path().display())
    }
}
