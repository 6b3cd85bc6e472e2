//! A store of files: a folder that changes all at once.
//!
//! Beside the folder `NAME` stands one hidden folder `.hygge` for all stores of that parent:
//! `NAME.json` is the receipt, `NAME.lock` the lock, `NAME.next` the folder that is being laid out,
//! and `NAME.old` the one before, kept until the next build for those who still read it. While an
//! earlier set is published that was put back, `NAME.latest` has what only the latest set has.

mod clear;
mod in_place;
mod latest;
mod old;
mod parts;
mod pattern;
mod publish;
mod rights;
mod settle;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::receipt::Receipt;
use super::room::Room;
use super::{Capabilities, Clearing, Live, Naming, Publication, Store, StoreError};
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Span};
use crate::config::read::read;
use crate::config::words::{Number, PathText};
use crate::config::{Settings, checked_path};
use crate::fingerprint::Fingerprint;
use crate::format::{Compression, Format, Target};
use crate::fs::{self, Lock, Stat, own};

/// A store of files.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "files", deny_unknown_fields)]
pub struct FilesStoreFields {
    /// The folder to fill: hygge's own, empty or missing.
    #[schemars(example = &"data/store/orders", extend("x-default" = "required"))]
    path: Option<PathText>,
    /// Of the column chunks, of Arrow IPC its buffers; files that have it already are taken over as they are, others are packed anew, in parquet without decoding a value.
    #[schemars(example = &"zstd", extend("default" = "keep"))]
    compression: Option<String>,
    /// How hard `gzip` (0 to 9), `brotli` (0 to 11) or `zstd` (1 to 22) try. Files that have the compression already are packed anew too.
    #[schemars(example = 9, extend("x-default" = "6, 1 and 3"))]
    compression_level: Option<Number<0, 22>>,
    /// The name of each file, with [placeholders](#placeholders).
    #[schemars(example = &"orders_{sequence:05d}.parquet", extend("x-default" = "`{sequence:020d}.` and the ending of the format"))]
    file_pattern: Option<String>,
    /// About how many rows a file has: at least half and less than twice as many, but for the last; row groups of up to one and a half times as many are kept whole. Also `batch_size`.
    #[schemars(example = 1_000_000, extend("x-default" = "one file for each input file"))]
    rows_per_file: Option<Number<1, { u64::MAX }>>,
    /// How a new set takes the place of the old one: `exchange` both folders at once, or `in_place`, file by file, which is not atomic and works where the folder cannot be renamed (a mount point).
    #[schemars(example = &"in_place", extend("default" = "exchange"))]
    publish: Option<How>,
    /// Takes over a folder that holds what hygge did not make, once: what is there is put aside into `.hygge/displaced` beside it.
    #[schemars(example = true, extend("default" = false))]
    adopt: Option<bool>,
}

/// How many bytes the name of a store may have: beside it stands `NAME.json.tmp`, and a name has at most 255.
const LONGEST_NAME: usize = 255 - ".json.tmp".len();

/// How large a receipt may be, in bytes: more than a million parts.
const RECEIPT_BYTES: u64 = 1 << 30;

/// How a new set takes the place of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum How {
    #[default]
    /// Both folders change places at once.
    Exchange,
    /// File by file.
    InPlace,
}

/// A folder of files of one format.
#[derive(Debug)]
pub struct FilesStore {
    format: Arc<dyn Format>,
    path: PathBuf,
    compression: &'static str,
    level: Option<u8>,
    file_pattern: String,
    rows_per_file: Option<u64>,
    how: How,
    adopt: bool,
}

/// The paths of a store and of what stands beside it.
struct Site {
    live: PathBuf,
    hidden: PathBuf,
    receipt: PathBuf,
    lock: PathBuf,
    next: PathBuf,
    old: PathBuf,
    /// A hidden folder inside the live one, for what is published file by file.
    inside: PathBuf,
    how: How,
    name: String,
}

impl Site {
    fn new(real: &Path, how: How) -> Result<Self, StoreError> {
        let (Some(parent), Some(name)) = (
            real.parent(),
            real.file_name().and_then(|name| name.to_str()),
        ) else {
            return Err(StoreError::NotAFolder(real.to_path_buf()));
        };
        if name.len() > LONGEST_NAME {
            return Err(StoreError::LongName {
                path: real.to_path_buf(),
                bytes: name.len(),
                most: LONGEST_NAME,
            });
        }
        let hidden = parent.join(".hygge");
        let beside = |ending: &str| hidden.join(format!("{name}.{ending}"));
        Ok(Self {
            live: real.to_path_buf(),
            receipt: beside("json"),
            lock: beside("lock"),
            next: beside("next"),
            old: beside("old"),
            inside: real.join(".hygge"),
            how,
            name: name.to_string(),
            hidden,
        })
    }

    /// Where files are put aside that hygge did not make, or that someone altered: on their filesystem.
    fn displaced(&self) -> PathBuf {
        match self.how {
            How::Exchange => self.hidden.join("displaced").join(&self.name),
            How::InPlace => self.inside.join("displaced"),
        }
    }

    /// Where a set is laid out that is published file by file.
    fn next_inside(&self) -> PathBuf {
        self.inside.join("next")
    }

    /// Where parts of the latest set wait that an earlier one has not, which was put back: on their filesystem.
    fn latest(&self) -> PathBuf {
        match self.how {
            How::Exchange => self.hidden.join(format!("{}.latest", self.name)),
            How::InPlace => self.inside.join("latest"),
        }
    }

    /// The same, however the store was published when they came there.
    fn latests(&self) -> [PathBuf; 2] {
        [
            self.hidden.join(format!("{}.latest", self.name)),
            self.inside.join("latest"),
        ]
    }
}

impl FilesStore {
    /// Reads a store's block, of which `keys` are the format's; paths are relative to `root`.
    pub fn from_block(
        format: Arc<dyn Format>,
        keys: &[&str],
        node: &Node,
        name: &str,
        root: &Path,
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields: FilesStoreFields = read(node, name, &[&["type"], keys].concat(), problems)?;
        if node.get("path").is_none() {
            let problem = Problem::new(
                node.at,
                format!("{name} has no path"),
                "expected the key path here",
            );
            problems.push(
                problem.hint("write the folder to fill, relative to the folder of the config"),
            );
        }
        let compression = compression(
            format.as_ref(),
            fields.compression.as_deref(),
            node,
            problems,
        );
        let level = fields
            .compression_level
            .map(|level| (level, node.place_of("compression_level")));
        let around = node.get("compression").map(|node| node.at);
        let level = level.zip(compression).and_then(|((level, at), word)| {
            check_level(format.as_ref(), word, level.0, (at, around), problems)
        });
        let file_pattern = fields
            .file_pattern
            .unwrap_or_else(|| format!("{{sequence:020d}}.{}", format.extensions()[0]));
        if let Err(reason) = pattern::check(&file_pattern) {
            let message = format!("file_pattern {file_pattern:?} cannot be used: {reason}");
            let problem = Problem::new(
                node.place_of("file_pattern"),
                message,
                "expected a file name with placeholders",
            );
            problems.push(problem.hint("placeholders are {sequence} or {sequence:05d}, {stem}, {flow}, {entity} and {digest}"));
            return None;
        }
        let rows_per_file = fields.rows_per_file.map(|rows| rows.0);
        let path = checked_path(root, node, &fields.path?.0, problems);
        let (how, adopt) = (
            fields.publish.unwrap_or_default(),
            fields.adopt.unwrap_or_default(),
        );
        Some(Self {
            format,
            path,
            compression: compression?,
            level,
            file_pattern,
            rows_per_file,
            how,
            adopt,
        })
    }

    /// One of no config, which is asked about the folders of others.
    pub fn of_any(format: Arc<dyn Format>) -> Self {
        let compression = known_compressions(format.as_ref())
            .first()
            .copied()
            .unwrap_or_default();
        Self {
            format,
            path: PathBuf::new(),
            compression,
            level: None,
            file_pattern: String::new(),
            rows_per_file: None,
            // What lies where is the same in both, and a mount point can be cleared too.
            how: How::InPlace,
            adopt: false,
        }
    }

    fn site(&self, real: &Path) -> Result<Site, StoreError> {
        Site::new(real, self.how)
    }
}

/// The words of `compression:`.
fn known_compressions(format: &dyn Format) -> &'static [&'static str] {
    format.writer().map_or(&[], |writer| writer.compressions())
}

/// The compressions that have levels, in words.
fn with_levels(format: &dyn Format) -> String {
    let has_levels = |word: &&str| {
        format
            .writer()
            .is_some_and(|writer| writer.levels(word).is_some())
    };
    let words: Vec<&str> = known_compressions(format)
        .iter()
        .copied()
        .filter(has_levels)
        .collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => words.join(""),
    }
}

fn compression(
    format: &dyn Format,
    written: Option<&str>,
    node: &Node,
    problems: &mut Problems,
) -> Option<&'static str> {
    let known = known_compressions(format);
    let Some(word) = written else {
        return known.first().copied();
    };
    let found = known.iter().copied().find(|known| *known == word);
    if found.is_none() {
        let message = format!("{} has no compression {word:?}", format.id());
        let problem = Problem::new(
            node.place_of("compression"),
            message,
            format!("expected one of {}", known.join(", ")),
        );
        problems.push(problem.did_you_mean(word, known.iter().copied(), None));
    }
    found
}

/// A level that the compression has.
fn check_level(
    format: &dyn Format,
    compression: &str,
    level: u64,
    (at, around): (Span, Option<Span>),
    problems: &mut Problems,
) -> Option<u8> {
    let with = |problem: Problem| match around {
        Some(around) => problem.also(around, "of this compression"),
        None => problem,
    };
    let Some(levels) = format
        .writer()
        .and_then(|writer| writer.levels(compression))
    else {
        let problem = Problem::new(
            at,
            format!("compression {compression} has no levels"),
            "expected no level",
        );
        problems.push(with(problem).hint(format!(
            "{} have levels: name one of them, or compression_level: null",
            with_levels(format)
        )));
        return None;
    };
    let found = u8::try_from(level)
        .ok()
        .filter(|level| levels.contains(level));
    if found.is_none() {
        let expected = format!(
            "expected a whole number from {} to {}",
            levels.start(),
            levels.end()
        );
        let problem = Problem::new(
            at,
            format!("compression {compression} has no level {level}"),
            expected,
        );
        problems
            .push(with(problem).hint("compression_level: null takes the level of a default away"));
    }
    found
}

impl Store for FilesStore {
    fn kind(&self) -> &'static str {
        self.format.id()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::from([
            ("path", json!(self.path.display().to_string())),
            ("compression", json!(self.compression)),
            ("file_pattern", json!(self.file_pattern)),
        ]);
        settings.extend(self.level.map(|level| ("compression_level", json!(level))));
        settings.extend(
            self.rows_per_file
                .map(|rows| ("rows_per_file", json!(rows))),
        );
        settings.extend((self.how != How::default()).then(|| ("publish", json!(self.how))));
        settings.extend(self.adopt.then_some(("adopt", json!(true))));
        settings.extend(self.format.settings());
        settings
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts_readable: true,
            append_revocable: true,
            merges: false,
        }
    }

    fn target(&self) -> Target {
        let compression = Compression {
            word: self.compression,
            level: self.level,
        };
        Target {
            format: self.format.clone(),
            compression,
            rows_per_file: self.rows_per_file,
        }
    }

    fn placement(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("store.file_pattern".to_string(), self.file_pattern.clone())])
    }

    fn adopts(&self) -> bool {
        self.adopt
    }

    fn part_name(&self, naming: &Naming<'_>) -> Result<String, StoreError> {
        let name = pattern::fill(&self.file_pattern, naming);
        let reason = match name.as_str() {
            "" => "which is empty",
            name if fs::is_hidden(name) => "and names that begin with . or _ are never read",
            name if name.contains(['/', '\0']) => "which leaves the store's folder",
            name if name.len() > 255 => "which is longer than a file name can be",
            _ => return Ok(name),
        };
        Err(StoreError::Name {
            pattern: self.file_pattern.clone(),
            name,
            reason,
        })
    }

    fn names_by_digest(&self) -> bool {
        self.file_pattern.contains("{digest}")
    }

    fn receipt_stat(&self, real: &Path) -> Result<Option<Stat>, StoreError> {
        Ok(own::stat(&self.site(real)?.receipt)?.map(|found| found.stat))
    }

    fn receipt(&self, real: &Path) -> Result<Option<Receipt>, StoreError> {
        read_receipt(&self.site(real)?)
    }

    fn neighbours(&self, real: &Path) -> Result<Vec<(PathBuf, Stat, Receipt)>, StoreError> {
        let site = self.site(real)?;
        let mut neighbours = Vec::new();
        for entry in own::list(&site.hidden, |_| false)?.unwrap_or_default() {
            let name = entry
                .relative
                .to_str()
                .and_then(|name| name.strip_suffix(".json"));
            // A link is none of hygge's, and a name such as `..` would be that of another folder.
            let Some(name) = name.filter(|name| entry.is_file && !matches!(*name, "" | "." | ".."))
            else {
                continue;
            };
            let neighbour = real.with_file_name(name);
            // One that cannot be read is reported by the flow that owns it, if there is one.
            if let Ok(Some(receipt)) = self.site(&neighbour).and_then(|site| read_receipt(&site)) {
                neighbours.push((neighbour, entry.stat, receipt));
            }
        }
        Ok(neighbours)
    }

    fn live(&self, real: &Path) -> Result<Live, StoreError> {
        live(real)
    }

    fn check(&self, real: &Path) -> Result<(), StoreError> {
        let site = self.site(real)?;
        check_place(&site)?;
        rights::check(&site)?;
        if read_receipt(&site)?.is_none() && !self.adopt {
            let live = live(real)?;
            let names: Vec<String> = live.files.into_keys().chain(live.folders).take(3).collect();
            if !names.is_empty() {
                return Err(StoreError::Foreign {
                    path: site.live,
                    names,
                });
            }
        }
        Ok(())
    }

    fn lock(&self, real: &Path, holder: &str) -> Result<Lock, StoreError> {
        let site = self.site(real)?;
        check_place(&site)?;
        own::create_folder(&site.hidden)?;
        let lock = Lock::try_exclusive(&site.lock, holder)?;
        let is_layered = self.how == How::Exchange
            && fs::stat(&site.live)?.is_some()
            && fs::is_overlay(&site.live)?;
        if is_layered && !fs::can_be_renamed(&site.live, &site.hidden)? {
            return Err(StoreError::LowerLayer(site.live));
        }
        Ok(lock)
    }

    fn clearing(&self, real: &Path) -> Result<Clearing, StoreError> {
        clear::look(&self.site(real)?)
    }

    fn clear(&self, real: &Path) -> Result<(), StoreError> {
        clear::clear(&self.site(real)?)
    }

    fn kept(&self, real: &Path, receipt: &Receipt) -> Result<HashSet<Fingerprint>, StoreError> {
        let site = self.site(real)?;
        let kept = latest::parts(&site, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let old = old::parts(&site, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let latest = latest::digests(receipt.latest.as_ref());
        Ok(kept
            .chain(old.filter(|digest| latest.contains(digest)))
            .collect())
    }

    fn beside(
        &self,
        real: &Path,
        receipt: Option<&Receipt>,
    ) -> Result<HashSet<Fingerprint>, StoreError> {
        let site = self.site(real)?;
        let mut digests = HashSet::new();
        if let Some(receipt) = receipt {
            let latest = latest::digests(receipt.latest.as_ref());
            let old = old::parts(&site, receipt)?
                .into_iter()
                .map(|(_, digest)| digest);
            digests.extend(old.filter(|digest| !latest.contains(digest)));
        }
        for next in [site.next.clone(), site.next_inside()]
            .iter()
            .chain(&site.latests())
        {
            digests.extend(old::laid_out(next)?);
        }
        Ok(digests)
    }

    fn settle(&self, real: &Path, room: &Room<'_>) -> Result<Option<Receipt>, StoreError> {
        settle::settle(&self.site(real)?, room)
    }

    fn publish(
        &self,
        real: &Path,
        publication: &Publication<'_>,
        room: &Room<'_>,
    ) -> Result<Receipt, StoreError> {
        let site = self.site(real)?;
        match self.how {
            How::Exchange => publish::publish(&site, publication, room),
            How::InPlace => in_place::publish(&site, publication, room),
        }
    }
}

/// A folder that can be renamed, or nothing yet.
fn check_place(site: &Site) -> Result<(), StoreError> {
    if fs::is_link(&site.live)? {
        return Err(StoreError::LinkToNowhere(site.live.clone()));
    }
    match fs::stat(&site.live)? {
        Some(found) if !found.is_folder => Err(StoreError::NotAFolder(site.live.clone())),
        Some(_) if site.how == How::Exchange && fs::is_mount_point(&site.live)? => {
            Err(StoreError::MountPoint(site.live.clone()))
        }
        _ => Ok(()),
    }
}

/// The visible files of a folder.
fn live(folder: &Path) -> Result<Live, StoreError> {
    let Some(found) = fs::list(folder, fs::is_hidden)? else {
        return match fs::stat(folder)? {
            Some(_) => Err(StoreError::NotAFolder(folder.to_path_buf())),
            None => Ok(Live::default()),
        };
    };
    let mut live = Live {
        exists: true,
        ..Live::default()
    };
    for entry in found {
        let name = entry
            .relative
            .into_os_string()
            .into_string()
            .unwrap_or_else(|name| name.to_string_lossy().into_owned());
        if entry.is_file {
            live.files.insert(name, entry.stat);
        } else {
            live.folders.push(name);
        }
    }
    Ok(live)
}

fn read_receipt(site: &Site) -> Result<Option<Receipt>, StoreError> {
    let Some(bytes) = own::read(&site.receipt, RECEIPT_BYTES)? else {
        return Ok(None);
    };
    let unreadable = |reason: String| StoreError::Receipt {
        path: site.receipt.clone(),
        reason,
    };
    let receipt: Receipt =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    receipt.check().map_err(unreadable)?;
    Ok(Some(receipt))
}

fn write_receipt(site: &Site, receipt: &Receipt) -> Result<(), StoreError> {
    let path = &site.receipt;
    let mut text = serde_json::to_vec_pretty(receipt).map_err(|error| StoreError::Receipt {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(own::write_atomically(path, &text)?)
}
