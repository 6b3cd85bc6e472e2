//! A store of files: a folder that changes all at once.
//!
//! Beside the folder `NAME` stands one hidden folder `.hygge` for all stores of that parent:
//! `NAME.json` is the receipt, `NAME.lock` the lock, `NAME.next` the folder that is being laid
//! out, and `NAME.old` the one before, kept until the next build for those who still read it.

mod old;
mod publish;
mod settle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::receipt::{self, Receipt};
use super::{Live, Naming, Publication, Room, Store, StoreError};
use crate::config::absolute;
use crate::config::problem::{Problem, Problems};
use crate::config::schema::{Block, nearest};
use crate::format::{Format, Target};
use crate::fs::{self, Lock, Stat};

/// A folder of files of one format.
#[derive(Debug)]
pub struct FilesStore {
    format: &'static dyn Format,
    path: PathBuf,
    compression: &'static str,
    file_pattern: String,
    rows_per_file: Option<u64>,
}

/// The paths of a store and of what stands beside it.
struct Site {
    live: PathBuf,
    hidden: PathBuf,
    receipt: PathBuf,
    lock: PathBuf,
    next: PathBuf,
    old: PathBuf,
}

impl Site {
    fn new(real: &Path) -> Result<Self, StoreError> {
        let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
            return Err(StoreError::NotAFolder(real.to_path_buf()));
        };
        let hidden = parent.join(".hygge");
        let beside = |ending: &str| hidden.join(format!("{name}.{ending}"));
        Ok(Self {
            live: real.to_path_buf(),
            receipt: beside("json"),
            lock: beside("lock"),
            next: beside("next"),
            old: beside("old"),
            hidden,
        })
    }
}

impl FilesStore {
    /// Reads the fields of a store's block; paths are relative to `root`.
    pub fn from_block(format: &'static dyn Format, block: &mut Block<'_>, root: &Path, problems: &mut Problems) -> Option<Self> {
        let path = block.text("path", problems);
        if path.is_none() {
            block.required("path", "write the folder to fill, relative to this file", problems);
        }
        let compression = compression(format, block, problems);
        let pattern = block.text("file_pattern", problems);
        let file_pattern = pattern.map_or_else(|| format!("{{sequence:020d}}.{}", format.extension()), |(pattern, _)| pattern.to_string());
        if let (Err(reason), Some((_, at))) = (check_pattern(&file_pattern), pattern) {
            problems.push(
                Problem::new(
                    at,
                    format!("file_pattern {file_pattern:?} cannot be used: {reason}"),
                    "expected a file name with placeholders",
                )
                .hint("placeholders are {sequence} or {sequence:05d}, {stem}, {flow}, {entity} and {digest}"),
            );
            return None;
        }
        let rows_per_file = block.number("rows_per_file", 1, problems);
        Some(Self { format, path: absolute(root, path?.0), compression: compression?, file_pattern, rows_per_file })
    }
}

fn compression(format: &'static dyn Format, block: &mut Block<'_>, problems: &mut Problems) -> Option<&'static str> {
    let known = format.compressions();
    let Some((word, at)) = block.text("compression", problems) else {
        return known.first().copied();
    };
    let found = known.iter().copied().find(|known| *known == word);
    if found.is_none() {
        let problem =
            Problem::new(at, format!("{} has no compression {word:?}", format.name()), format!("expected one of {}", known.join(", ")));
        problems.push(match nearest(word, known.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem,
        });
    }
    found
}

impl Store for FilesStore {
    fn kind(&self) -> &'static str {
        self.format.name()
    }

    fn settings(&self) -> BTreeMap<&'static str, String> {
        let mut settings = BTreeMap::from([
            ("path", self.path.display().to_string()),
            ("compression", self.compression.to_string()),
            ("file_pattern", self.file_pattern.clone()),
        ]);
        if let Some(rows) = self.rows_per_file {
            settings.insert("rows_per_file", rows.to_string());
        }
        settings
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn target(&self) -> Target {
        Target { format: self.format, compression: self.compression, rows_per_file: self.rows_per_file }
    }

    fn placement(&self, flow: &str) -> BTreeMap<String, String> {
        let mut pattern = self.file_pattern.clone();
        for placeholder in ["{flow}", "{flow_name}", "{entity}"] {
            pattern = pattern.replace(placeholder, flow);
        }
        BTreeMap::from([("mode".to_string(), "replace".to_string()), ("store.file_pattern".to_string(), pattern)])
    }

    fn part_name(&self, naming: &Naming<'_>) -> Result<String, StoreError> {
        let name = fill(&self.file_pattern, naming);
        let reason = match name.as_str() {
            "" => "which is empty",
            name if name.starts_with(['.', '_']) => "and names that begin with . or _ are never read",
            name if name.contains(['/', '\0']) => "which leaves the store's folder",
            name if name.len() > 255 => "which is longer than a file name can be",
            _ => return Ok(name),
        };
        Err(StoreError::Name { pattern: self.file_pattern.clone(), name, reason })
    }

    fn receipt_stat(&self, real: &Path) -> Result<Option<Stat>, StoreError> {
        Ok(fs::stat(&Site::new(real)?.receipt)?.map(|found| found.stat))
    }

    fn receipt(&self, real: &Path) -> Result<Option<Receipt>, StoreError> {
        read_receipt(&Site::new(real)?)
    }

    fn neighbours(&self, real: &Path) -> Result<Vec<(PathBuf, Stat, Receipt)>, StoreError> {
        let site = Site::new(real)?;
        let mut neighbours = Vec::new();
        for entry in fs::list(&site.hidden, |_| false)?.unwrap_or_default() {
            let name = entry.relative.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(name) = name.filter(|_| entry.is_file) else { continue };
            let neighbour = real.with_file_name(name);
            // One that cannot be read is reported by the flow that owns it, if there is one.
            if let Ok(Some(receipt)) = read_receipt(&Site::new(&neighbour)?) {
                neighbours.push((neighbour, entry.stat, receipt));
            }
        }
        Ok(neighbours)
    }

    fn live(&self, real: &Path) -> Result<Live, StoreError> {
        live(real)
    }

    fn lock(&self, real: &Path, holder: &str) -> Result<Lock, StoreError> {
        let site = Site::new(real)?;
        if fs::is_link(&site.live)? {
            return Err(StoreError::LinkToNowhere(site.live));
        }
        if let Some(found) = fs::stat(&site.live)? {
            if !found.is_folder {
                return Err(StoreError::NotAFolder(site.live));
            }
            if fs::is_mount_point(&site.live)? {
                return Err(StoreError::MountPoint(site.live));
            }
        }
        fs::create_folder(&site.hidden)?;
        Ok(Lock::try_exclusive(&site.lock, holder)?)
    }

    fn settle(&self, real: &Path, room: &Room<'_>) -> Result<Option<Receipt>, StoreError> {
        settle::settle(&Site::new(real)?, room)
    }

    fn publish(&self, real: &Path, publication: &Publication<'_>, room: &Room<'_>) -> Result<Receipt, StoreError> {
        publish::publish(&Site::new(real)?, publication, room)
    }
}

/// The visible files of a folder.
fn live(folder: &Path) -> Result<Live, StoreError> {
    let Some(found) = fs::list(folder, is_hidden)? else {
        return match fs::stat(folder)? {
            Some(_) => Err(StoreError::NotAFolder(folder.to_path_buf())),
            None => Ok(Live::default()),
        };
    };
    let mut live = Live { exists: true, ..Live::default() };
    for entry in found {
        let name = entry.relative.into_os_string().into_string().unwrap_or_else(|name| name.to_string_lossy().into_owned());
        if entry.is_file {
            live.files.insert(name, entry.stat);
        } else {
            live.folders.push(name);
        }
    }
    Ok(live)
}

/// Names that readers of a store pass over, so that they may be there: notes, `.gitkeep`.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn read_receipt(site: &Site) -> Result<Option<Receipt>, StoreError> {
    let Some(bytes) = fs::read(&site.receipt)? else { return Ok(None) };
    let unreadable = |reason: String| StoreError::Receipt { path: site.receipt.clone(), reason };
    let receipt: Receipt = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    if receipt.version != receipt::VERSION {
        let reason = format!("it has version {}, and this hygge knows version {}", receipt.version, receipt::VERSION);
        return Err(unreadable(reason));
    }
    Ok(Some(receipt))
}

fn write_receipt(site: &Site, receipt: &Receipt) -> Result<(), StoreError> {
    let path = &site.receipt;
    let mut text =
        serde_json::to_vec_pretty(receipt).map_err(|error| StoreError::Receipt { path: path.clone(), reason: error.to_string() })?;
    text.push(b'\n');
    Ok(fs::write_atomically(path, &text)?)
}

/// Fills the placeholders of a pattern. `{sequence:05d}` is padded with zeros to five digits.
fn fill(pattern: &str, naming: &Naming<'_>) -> String {
    let mut name = String::new();
    for piece in pieces(pattern) {
        match piece {
            Ok(text) => name.push_str(text),
            Err(placeholder) => name.push_str(&match placeholder {
                "stem" => naming.stem.to_string(),
                "flow" | "flow_name" => naming.flow.to_string(),
                "entity" => naming.entity.to_string(),
                "digest" => naming.digest.map_or_else(|| "?".repeat(64), ToString::to_string),
                other => format!("{:0width$}", naming.sequence, width = sequence_width(other).unwrap_or(0)),
            }),
        }
    }
    name
}

/// Refuses a pattern that no part name can come from.
fn check_pattern(pattern: &str) -> Result<(), String> {
    for piece in pieces(pattern) {
        match piece {
            Ok(text) if text.contains(['{', '}']) => return Err("a brace is not closed".into()),
            Ok(text) if text.contains('/') => return Err("it has a slash, and a store is one folder".into()),
            Err("stem" | "flow" | "flow_name" | "entity" | "digest") | Ok(_) => {}
            Err(other) if sequence_width(other).is_some() => {}
            Err(other) => return Err(format!("{{{other}}} is no placeholder")),
        }
    }
    if pattern.is_empty() { Err("it is empty".into()) } else { Ok(()) }
}

/// The width of `sequence` or `sequence:05d`; `None` for anything else.
fn sequence_width(placeholder: &str) -> Option<usize> {
    let rest = placeholder.strip_prefix("sequence")?;
    if rest.is_empty() {
        return Some(0);
    }
    rest.strip_prefix(":0")?.strip_suffix('d')?.parse().ok().filter(|width| *width <= 200)
}

/// A pattern as texts (`Ok`) and placeholders (`Err`), in order.
fn pieces(pattern: &str) -> Vec<Result<&str, &str>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else { break };
        pieces.push(Ok(&rest[..open]));
        pieces.push(Err(&rest[open + 1..open + length]));
        rest = &rest[open + length + 1..];
    }
    pieces.push(Ok(rest));
    pieces
}
