//! What SQLite keeps beside a file of its own: looked at before SQLite opens it, for it believes
//! whatever is there.
//!
//! It does not know what the file is for.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::{File, FsError, nofollow, with_suffix};

/// What the names of what it keeps end with: a log, the memory that is shared for it, a journal.
pub const SQLITE_SUFFIXES: [&str; 3] = ["-wal", "-shm", JOURNAL_SUFFIX];

const JOURNAL_SUFFIX: &str = "-journal";

/// What a journal ends with that names another one: its length, a sum and these bytes.
/// See <https://www.sqlite.org/fileformat.html#the_rollback_journal>.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// How many bytes that is.
const TRAILER_BYTES: usize = 16;

/// True where the journal of a file of SQLite's names another journal, as those of transactions in
/// several files do: SQLite removes the file of that name when it rolls back, wherever it lies. The
/// path is a real one.
///
/// # Errors
/// Something beside it is no file, which SQLite would wait for, or cannot be read.
pub fn has_super_journal(path: &Path) -> Result<bool, FsError> {
    let mut is_named = false;
    for ending in SQLITE_SUFFIXES {
        let path = with_suffix(path, ending);
        match nofollow::stat(&path)? {
            None => {}
            Some(found)
                if found.is_file
                    && (ending != JOURNAL_SUFFIX || found.stat.size < TRAILER_BYTES as u64) => {}
            // What it is instead of a file is an error of its own.
            Some(_) => match nofollow::open(&path) {
                Ok(file) if ending == JOURNAL_SUFFIX => {
                    is_named = ends_with_super_journal(&file).map_err(FsError::at("read", &path))?
                }
                // It was removed meanwhile.
                Err(error) if error.is_not_found() => {}
                opened => drop(opened?),
            },
        }
    }
    Ok(is_named)
}

fn ends_with_super_journal(mut journal: &File) -> io::Result<bool> {
    let mut trailer = [0; TRAILER_BYTES];
    if journal.metadata()?.len() < TRAILER_BYTES as u64 {
        return Ok(false);
    }
    journal.seek(SeekFrom::End(-(TRAILER_BYTES as i64)))?;
    journal.read_exact(&mut trailer)?;
    Ok(trailer[8..] == JOURNAL_MAGIC && trailer[..4] != [0; 4])
}
