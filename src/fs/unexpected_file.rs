//! What stands where a file should be.

use std::fs::Metadata;
use std::io;

/// What stands where a file should be.
#[derive(Debug, thiserror::Error)]
pub enum UnexpectedFile {
    /// A link, where hygge puts none.
    #[error("it is a link, and nothing of hygge's own is opened through one")]
    Link,
    /// A folder, a pipe, a device or a socket.
    #[error("it is no file, but {0}")]
    NotAFile(&'static str),
    /// Nobody wrote that.
    #[error("it has {found} bytes, and may have {limit}")]
    TooLarge {
        /// Its bytes.
        found: u64,
        /// How many it may have.
        limit: u64,
    },
}

impl UnexpectedFile {
    /// Fails where it is no file, or a larger one than `limit`.
    pub(super) fn check(metadata: &Metadata, limit: u64) -> io::Result<()> {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        let what = match kind {
            _ if kind.is_file() && metadata.len() > limit => {
                return Err(io::Error::other(Self::TooLarge {
                    found: metadata.len(),
                    limit,
                }));
            }
            _ if kind.is_file() => return Ok(()),
            _ if kind.is_dir() => "a folder",
            _ if kind.is_symlink() => return Err(io::Error::other(Self::Link)),
            _ if kind.is_fifo() => "a pipe",
            _ if kind.is_socket() => "a socket",
            _ => "a device",
        };
        Err(io::Error::other(Self::NotAFile(what)))
    }
}
