//! Looking: stats, listings, contents. Nothing here changes anything.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, RawDirEntry, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::unexpected_file::UnexpectedFile;
use super::{File, FsError, is_missing};

/// Bytes of names that are asked for at once.
const LIST_BUFFER_BYTES: usize = 16 << 10;

/// What tells, without reading it, that a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of content or inode, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// The inode's number.
    pub inode: u64,
}

impl Stat {
    /// How a file looks whose metadata was asked for.
    pub fn from_metadata(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns: nanoseconds(
                stat.st_mtime,
                i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
            ),
            ctime_ns: nanoseconds(
                stat.st_ctime,
                i64::try_from(stat.st_ctime_nsec).unwrap_or_default(),
            ),
            inode: stat.st_ino,
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// One entry that [`list`] or [`walk`] found.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The path below the folder.
    pub relative: PathBuf,
    /// True for a folder.
    pub is_folder: bool,
    /// True for a file; a socket or a link to nowhere is neither.
    pub is_file: bool,
    /// True where a link leads there, or where it is one.
    pub is_link: bool,
    /// The stat of the entry, links followed unless it says otherwise.
    pub stat: Stat,
}

impl DirEntry {
    pub(super) fn from_metadata(relative: PathBuf, metadata: &fs::Metadata) -> Self {
        let is_link = metadata.is_symlink();
        Self {
            relative,
            is_folder: metadata.is_dir(),
            is_file: metadata.is_file(),
            is_link,
            stat: Stat::from_metadata(metadata),
        }
    }

    fn from_stat(relative: PathBuf, is_link: bool, stat: &rustix::fs::Stat) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_link = is_link || kind.is_symlink();
        Self {
            relative,
            is_folder: kind.is_dir(),
            is_file: kind.is_file(),
            is_link,
            stat: Stat::from(stat),
        }
    }
}

/// What a path is, links followed; `None` where nothing is there.
pub fn stat(path: &Path) -> Result<Option<DirEntry>, FsError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(DirEntry::from_metadata(PathBuf::new(), &metadata))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// The stat of an open file.
pub fn stat_open(file: &File, path: &Path) -> Result<Stat, FsError> {
    Ok(Stat::from_metadata(
        &file.metadata().map_err(FsError::at("look at", path))?,
    ))
}

/// Names that are never read and never removed: other tools keep their notes under them, and so
/// does hygge.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Every entry of a folder, without order; names for which `skip` is true are left out. Links are
/// followed; one to nowhere is listed as what it is. `None` where no such folder is.
///
/// The names are looked at from the open folder: half the time of asking by whole paths, which
/// counts where a build has nothing else to do.
pub fn list(folder: &Path, skip: fn(&str) -> bool) -> Result<Option<Vec<DirEntry>>, FsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened: OwnedFd = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(FsError::at("list", folder)(errno)),
    };
    list_open(&opened, folder, skip, AtFlags::empty()).map(Some)
}

/// The entries of an open folder; `flags` say whether links are followed.
pub(super) fn list_open(
    opened: &OwnedFd,
    folder: &Path,
    skip: fn(&str) -> bool,
    flags: AtFlags,
) -> Result<Vec<DirEntry>, FsError> {
    let mut found = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); LIST_BUFFER_BYTES];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(FsError::at("list", folder))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." || name.to_str().is_some_and(skip) {
            continue;
        }
        let stat = match rustix::fs::statat(opened, entry.file_name(), flags) {
            Err(Errno::NOENT | Errno::LOOP) => {
                rustix::fs::statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            }
            other => other,
        };
        match stat {
            Ok(stat) => found.push(DirEntry::from_stat(
                PathBuf::from(name),
                is_entry_link(opened, &entry),
                &stat,
            )),
            // Gone between listing and looking: as if it had never been listed.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(FsError::at("look at", &folder.join(name))(errno)),
        }
    }
    Ok(found)
}

/// True for an entry that is a link. Nearly all filesystems say it with the name.
fn is_entry_link(opened: &OwnedFd, entry: &RawDirEntry<'_>) -> bool {
    match entry.file_type() {
        FileType::Unknown => {
            rustix::fs::statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
        }
        kind => kind.is_symlink(),
    }
}

/// Every entry below a folder however deep, without order; names for which `skip` is true are left
/// out, with all that is below them. Links to files are followed; links to folders are not walked.
/// `None` where no such folder is.
pub fn walk(folder: &Path, skip: fn(&str) -> bool) -> Result<Option<Vec<DirEntry>>, FsError> {
    walk_kinds(folder, skip, |_| true)
}

/// The folders of [`walk`] alone: at files nothing is looked.
pub fn walk_folders(
    folder: &Path,
    skip: fn(&str) -> bool,
) -> Result<Option<Vec<DirEntry>>, FsError> {
    walk_kinds(folder, skip, |kind| kind.is_dir())
}

fn walk_kinds(
    folder: &Path,
    skip: fn(&str) -> bool,
    is_wanted: fn(&fs::FileType) -> bool,
) -> Result<Option<Vec<DirEntry>>, FsError> {
    if !matches!(fs::metadata(folder), Ok(metadata) if metadata.is_dir()) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let entries = WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().to_str().is_some_and(skip));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                return Err(FsError::at("list", &path)(io::Error::from(error)));
            }
        };
        if !is_wanted(&entry.file_type()) {
            continue;
        }
        let metadata = if entry.path_is_symlink() {
            match fs::metadata(entry.path()) {
                // A link to nowhere is listed as what it is, so that it fails by its name.
                Err(error) if is_missing(&error) => entry.metadata().map_err(io::Error::from),
                other => other,
            }
        } else {
            match entry.metadata().map_err(io::Error::from) {
                // Gone between listing and looking: as if it had never been listed.
                Err(error) if is_missing(&error) => continue,
                other => other,
            }
        }
        .map_err(FsError::at("look at", entry.path()))?;
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        found.push(DirEntry {
            is_link: entry.path_is_symlink(),
            ..DirEntry::from_metadata(relative.to_path_buf(), &metadata)
        });
    }
    Ok(Some(found))
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, FsError> {
    File::open(path).map_err(FsError::at("open", path))
}

/// The bytes of a file of at most so many. What is no file, a pipe for one, is an error at once.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(FsError::at("read", path))?;
    let checked = opened
        .metadata()
        .and_then(|metadata| UnexpectedFile::check(&metadata, limit));
    // One byte more, so that one that grows meanwhile is not taken for whole.
    checked
        .and_then(|()| opened.take(limit + 1).read_to_end(&mut found))
        .map_err(FsError::at("read", path))?;
    match found.len() as u64 {
        length if length > limit => Err(FsError::at("read", path)(io::Error::other(
            UnexpectedFile::TooLarge {
                found: length,
                limit,
            },
        ))),
        _ => Ok(found),
    }
}

/// The path with every link resolved, as far as it exists; the rest is appended as written, where
/// `..` leads back out of what is not there.
pub fn real_path(path: &Path) -> Result<PathBuf, FsError> {
    let components: Vec<Component<'_>> = path.components().collect();
    let mut known = components.len();
    let mut real = loop {
        match fs::canonicalize(components[..known].iter().collect::<PathBuf>()) {
            Ok(real) => break real,
            Err(error) if is_missing(&error) && known > 1 => known -= 1,
            Err(error) => return Err(FsError::at("resolve", path)(error)),
        }
    };
    for component in &components[known..] {
        match component {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => real.push(name),
            _ => {}
        }
    }
    Ok(real)
}

/// True for a symbolic link.
pub fn is_link(path: &Path) -> Result<bool, FsError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_symlink()),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(FsError::at("look at", path)(error)),
    }
}

/// True for the root of a mount, bind mounts included: it cannot be renamed.
pub fn is_mount_point(folder: &Path) -> Result<bool, FsError> {
    let stat = rustix::fs::statx(CWD, folder, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .map_err(FsError::at("look at", folder))?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Filesystems that other machines may write to at the same time, by the number that `statfs`
/// gives: NFS, SMB and CIFS, Ceph, AFS, 9p, Lustre, GPFS, BeeGFS, GFS2, OCFS2, Coda, FUSE (which
/// may be sshfs).
const NETWORK_FILESYSTEMS: &[i64] = &[
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x00c3_6400,
    0x5346_414f,
    0x0102_1997,
    0x0bd0_0bd0,
    0x4750_4653,
    0x1983_0326,
    0x0116_1970,
    0x7461_636f,
    0x7375_7245,
    0x6573_5546,
];

/// OverlayFS.
const OVERLAY_FILESYSTEM: i64 = 0x794c_7630;

/// True where other machines may write to a folder too, by the type of its filesystem.
pub fn is_network_filesystem(folder: &Path) -> Result<bool, FsError> {
    Ok(NETWORK_FILESYSTEMS.contains(&filesystem_type(folder)?))
}

/// True on a filesystem of several layers, whose lower ones have folders that cannot be renamed.
pub fn is_overlay_filesystem(folder: &Path) -> Result<bool, FsError> {
    Ok(filesystem_type(folder)? == OVERLAY_FILESYSTEM)
}

fn filesystem_type(folder: &Path) -> Result<i64, FsError> {
    let kind = rustix::fs::statfs(folder)
        .map_err(FsError::at("look at", folder))?
        .f_type;
    #[cfg(feature = "failpoints")]
    if let Some(kind) = std::env::var("HYGGE_FILESYSTEM")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        return Ok(kind);
    }
    Ok(kind)
}

/// The bytes on the disk that are free when a file is removed: none while it has another name.
/// Blocks that are shared with a clone count too, because nothing says how many those are.
pub fn reclaimable_bytes(path: &Path) -> Result<u64, FsError> {
    let metadata = fs::symlink_metadata(path).map_err(FsError::at("look at", path))?;
    Ok(if metadata.nlink() > 1 {
        0
    } else {
        metadata.blocks() * 512
    })
}

/// Fails where nothing may be written into a folder, or it is none.
pub fn check_folder_writable(folder: &Path) -> Result<(), FsError> {
    if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
        return Err(FsError::at("write into", folder)(Errno::NOTDIR));
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(FsError::at("write into", folder))
}

/// The nearest of a path and the folders above it where something is.
pub fn nearest_existing(path: &Path) -> Result<&Path, FsError> {
    for above in path.ancestors() {
        if stat(above)?.is_some() || is_link(above)? {
            return Ok(above);
        }
    }
    Ok(path)
}

/// Fails where a file of hygge's own may not be written to, if it is there.
pub fn check_file_writable(path: &Path) -> Result<(), FsError> {
    match rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK) {
        Err(Errno::NOENT) => Ok(()),
        asked => asked.map_err(FsError::at("write to", path)),
    }
}

/// Fails where a name in a folder cannot be given to something else, or be taken away: nothing may
/// be written into the folder, or it is one as /tmp, where that is for the owners alone.
pub fn check_replaceable(path: &Path) -> Result<(), FsError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    check_folder_writable(folder)?;
    let above = fs::metadata(folder).map_err(FsError::at("look at", folder))?;
    let user = current_uid()?;
    // Who may do anything may do this too.
    if above.mode() & STICKY == 0 || user == 0 || above.uid() == user {
        return Ok(());
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.uid() != user => Err(FsError::at("replace", path)(io::Error::from(
            io::ErrorKind::PermissionDenied,
        ))),
        Err(error) if !is_missing(&error) => Err(FsError::at("look at", path)(error)),
        _ => Ok(()),
    }
}

/// The bit of a folder in which each may remove only what is his own.
const STICKY: u32 = 0o1000;

/// How many bytes the list of users may have.
const MAX_PASSWD_BYTES: u64 = 16 << 20;

/// The number of the user whose process this is.
fn current_uid() -> Result<u32, FsError> {
    let own = Path::new("/proc/self");
    Ok(fs::metadata(own)
        .map_err(FsError::at("look at", own))?
        .uid())
}

/// The name of the user whose process this is, as `/etc/passwd` has it; nothing where it does not.
pub fn current_user_name() -> Result<Option<String>, FsError> {
    let user = current_uid()?.to_string();
    let known = match read(Path::new("/etc/passwd"), MAX_PASSWD_BYTES) {
        Err(error) if error.is_not_found() => return Ok(None),
        known => known?,
    };
    let known = String::from_utf8_lossy(&known);
    let fields = known
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = fields.filter(|fields| fields.get(2) == Some(&user.as_str()));
    Ok(own.find_map(|fields| fields.first().map(ToString::to_string)))
}
