//! The ledger: which part was made under which key, a line for each as it happens.
//!
//! A line costs one small write, so that a killed build loses only what was in flight. It may say
//! too much after a power cut: the index records a part only when its data is on the disk, and what
//! only the ledger knows is compared with what lies in staging. From it a lost index finds parts
//! again.

use std::collections::HashMap;
use std::path::PathBuf;

use super::index::PartRecord;
use crate::fingerprint::Fingerprint;
use crate::fs::{FsError, nofollow};

/// How large it may be, in bytes: more than five million lines.
const MAX_LEDGER_BYTES: u64 = 1 << 30;

/// How many digits of its digest a line ends with.
const CHECKSUM_DIGITS: usize = 8;

/// The file with the lines.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger at a path, which is made with its first line.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds a line.
    pub fn add(&self, key: &Fingerprint, record: &PartRecord) -> Result<(), FsError> {
        nofollow::append(&self.path, format_line(key, record).as_bytes())
    }

    /// All lines that are whole; of two with one key the last.
    pub fn read(&self) -> Result<HashMap<Fingerprint, PartRecord>, FsError> {
        let bytes = nofollow::read(&self.path, MAX_LEDGER_BYTES)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(parse_line)
            .collect())
    }

    /// Has these lines and no others from now on. Nobody else may be building.
    pub fn rewrite(&self, lines: &HashMap<Fingerprint, PartRecord>) -> Result<(), FsError> {
        if nofollow::stat(&self.path)?.is_none() && lines.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = lines
            .iter()
            .map(|(key, record)| format_line(key, record))
            .collect();
        lines.sort_unstable();
        nofollow::write_atomically(&self.path, lines.concat().as_bytes())
    }
}

fn format_line(key: &Fingerprint, record: &PartRecord) -> String {
    let mut text = format!("{key} {} {} {}", record.digest, record.rows, record.bytes);
    // Names of folders have no spaces.
    if !record.folder.is_empty() {
        text.extend([" ", &record.folder]);
    }
    let check = Fingerprint::hash_bytes(text.as_bytes()).to_string();
    // A line that was cut off spoils only itself.
    format!("\n{text} {}\n", &check[..CHECKSUM_DIGITS])
}

fn parse_line(line: &str) -> Option<(Fingerprint, PartRecord)> {
    let (text, check) = line.rsplit_once(' ')?;
    if !Fingerprint::hash_bytes(text.as_bytes())
        .to_string()
        .starts_with(check)
        || check.len() != CHECKSUM_DIGITS
    {
        return None;
    }
    let mut words = text.split(' ');
    let mut word = || words.next();
    let (key, digest) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let (rows, bytes) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let record = PartRecord {
        digest,
        rows,
        bytes,
        folder: word().unwrap_or_default().to_string(),
    };
    record.is_plausible().then_some((key, record))
}
