//! A store of files: a folder that changes all at once.
//!
//! Beside the folder `NAME` stands one hidden folder `.hygge` for all stores of that parent:
//! `NAME.json` is the receipt, `NAME.lock` the lock, `NAME.next` the folder that is being laid out,
//! and `NAME.old` the one before, kept until the next build for those who still read it. While an
//! earlier set is published that was put back, `NAME.latest` has what only the latest set has.

mod clear;
mod in_place;
mod latest_set;
mod parts;
mod pattern;
mod previous_set;
mod publish;
mod recover;
mod rights;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::PublishContext;
use super::receipt::Receipt;
use super::{Capabilities, LiveContents, PartNaming, Publication, RemovalPlan, Store, StoreError};
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Span};
use crate::config::value_types::{BoundedNumber, PathText};
use crate::config::{Settings, checked_path};
use crate::fingerprint::Fingerprint;
use crate::format::{Compression, Format, OutputSpec};
use crate::fs::{self, Lock, Stat, nofollow};

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
    compression_level: Option<BoundedNumber<0, 22>>,
    /// The name of each file, with [placeholders](#placeholders).
    #[schemars(example = &"orders_{sequence:05d}.parquet", extend("x-default" = "`{sequence:020d}.` and the ending of the format"))]
    file_pattern: Option<String>,
    /// About how many rows a file has: at least half and less than twice as many, but for the last; row groups of up to one and a half times as many are kept whole. Also `batch_size`.
    #[schemars(example = 1_000_000, extend("x-default" = "one file for each input file"))]
    rows_per_file: Option<BoundedNumber<1, { u64::MAX }>>,
    /// How a new set takes the place of the old one: `exchange` both folders at once, or `in_place`, file by file, which is not atomic and works where the folder cannot be renamed (a mount point).
    #[schemars(example = &"in_place", extend("default" = "exchange"))]
    publish: Option<PublishStrategy>,
    /// Takes over a folder that holds what hygge did not make, once: what is there is put aside into `.hygge/displaced` beside it.
    #[schemars(example = true, extend("default" = false))]
    adopt: Option<bool>,
}

/// How many bytes the name of a store may have: beside it stands `NAME.json.tmp`, and a name has at
/// most 255.
const MAX_NAME_BYTES: usize = 255 - ".json.tmp".len();

/// How large a receipt may be, in bytes: more than a million parts.
const MAX_RECEIPT_BYTES: u64 = 1 << 30;

/// How a new set takes the place of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum PublishStrategy {
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
    strategy: PublishStrategy,
    adopt: bool,
}

/// The paths of a store and of what stands beside it.
struct FilesStorePaths {
    live: PathBuf,
    hygge_folder: PathBuf,
    receipt: PathBuf,
    lock: PathBuf,
    next: PathBuf,
    previous_set: PathBuf,
    /// A hidden folder inside the live one, for what is published file by file.
    inner_hygge_folder: PathBuf,
    strategy: PublishStrategy,
    name: String,
}

impl FilesStorePaths {
    fn new(real: &Path, how: PublishStrategy) -> Result<Self, StoreError> {
        let (Some(parent), Some(name)) = (
            real.parent(),
            real.file_name().and_then(|name| name.to_str()),
        ) else {
            return Err(StoreError::NotAFolder(real.to_path_buf()));
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(StoreError::LongName {
                path: real.to_path_buf(),
                bytes: name.len(),
                most: MAX_NAME_BYTES,
            });
        }
        let hidden = parent.join(".hygge");
        let beside = |ending: &str| hidden.join(format!("{name}.{ending}"));
        Ok(Self {
            live: real.to_path_buf(),
            receipt: beside("json"),
            lock: beside("lock"),
            next: beside("next"),
            previous_set: beside("old"),
            inner_hygge_folder: real.join(".hygge"),
            strategy: how,
            name: name.to_string(),
            hygge_folder: hidden,
        })
    }

    /// Where files are put aside that hygge did not make, or that someone altered: on their
    /// filesystem.
    fn displaced_folder(&self) -> PathBuf {
        match self.strategy {
            PublishStrategy::Exchange => self.hygge_folder.join("displaced").join(&self.name),
            PublishStrategy::InPlace => self.inner_hygge_folder.join("displaced"),
        }
    }

    /// Where a set is laid out that is published file by file.
    fn inner_next(&self) -> PathBuf {
        self.inner_hygge_folder.join("next")
    }

    /// Where parts of the latest set wait that an earlier one has not, which was put back: on their
    /// filesystem.
    fn latest_set(&self) -> PathBuf {
        match self.strategy {
            PublishStrategy::Exchange => self.hygge_folder.join(format!("{}.latest", self.name)),
            PublishStrategy::InPlace => self.inner_hygge_folder.join("latest"),
        }
    }

    /// The same, however the store was published when they came there.
    fn latest_folders(&self) -> [PathBuf; 2] {
        [
            self.hygge_folder.join(format!("{}.latest", self.name)),
            self.inner_hygge_folder.join("latest"),
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
        let fields: FilesStoreFields =
            read_block(node, name, &[&["type"], keys].concat(), problems)?;
        if node.get("path").is_none() {
            let problem = Problem::new(
                node.at,
                format!("{name} has no path"),
                "expected the key path here",
            );
            problems.push(
                problem.with_hint("write the folder to fill, relative to the folder of the config"),
            );
        }
        let compression = parse_compression(
            format.as_ref(),
            fields.compression.as_deref(),
            node,
            problems,
        );
        let level = fields
            .compression_level
            .map(|level| (level, node.span_of("compression_level")));
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
                node.span_of("file_pattern"),
                message,
                "expected a file name with placeholders",
            );
            problems.push(problem.with_hint("placeholders are {sequence} or {sequence:05d}, {stem}, {flow}, {entity} and {digest}"));
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
            strategy: how,
            adopt,
        })
    }

    /// One of no config, which is asked about the folders of others.
    pub fn for_any_folder(format: Arc<dyn Format>) -> Self {
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
            strategy: PublishStrategy::InPlace,
            adopt: false,
        }
    }

    fn paths(&self, real: &Path) -> Result<FilesStorePaths, StoreError> {
        FilesStorePaths::new(real, self.strategy)
    }
}

/// The words of `compression:`.
fn known_compressions(format: &dyn Format) -> &'static [&'static str] {
    format.writer().map_or(&[], |writer| writer.compressions())
}

/// The compressions that have levels, in words.
fn compressions_with_levels(format: &dyn Format) -> String {
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

fn parse_compression(
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
            node.span_of("compression"),
            message,
            format!("expected one of {}", known.join(", ")),
        );
        problems.push(problem.with_suggestion(word, known.iter().copied(), None));
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
        Some(around) => problem.with_label(around, "of this compression"),
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
        problems.push(with(problem).with_hint(format!(
            "{} have levels: name one of them, or compression_level: null",
            compressions_with_levels(format)
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
        problems.push(
            with(problem).with_hint("compression_level: null takes the level of a default away"),
        );
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
        settings.extend(
            (self.strategy != PublishStrategy::default())
                .then(|| ("publish", json!(self.strategy))),
        );
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
            can_merge: false,
        }
    }

    fn output_spec(&self) -> OutputSpec {
        let compression = Compression {
            name: self.compression,
            level: self.level,
        };
        OutputSpec {
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

    fn part_name(&self, naming: &PartNaming<'_>) -> Result<String, StoreError> {
        let name = pattern::fill(&self.file_pattern, naming);
        let reason = match name.as_str() {
            "" => "which is empty",
            name if fs::is_hidden(name) => "and names that begin with . or _ are never read",
            name if name.contains(['/', '\0']) => "which leaves the store's folder",
            name if name.len() > 255 => "which is longer than a file name can be",
            _ => return Ok(name),
        };
        Err(StoreError::InvalidPartName {
            pattern: self.file_pattern.clone(),
            name,
            reason,
        })
    }

    fn names_by_digest(&self) -> bool {
        self.file_pattern.contains("{digest}")
    }

    fn receipt_stat(&self, real: &Path) -> Result<Option<Stat>, StoreError> {
        Ok(nofollow::stat(&self.paths(real)?.receipt)?.map(|found| found.stat))
    }

    fn receipt(&self, real: &Path) -> Result<Option<Receipt>, StoreError> {
        read_receipt(&self.paths(real)?)
    }

    fn sibling_receipts(&self, real: &Path) -> Result<Vec<(PathBuf, Stat, Receipt)>, StoreError> {
        let paths = self.paths(real)?;
        let mut neighbours = Vec::new();
        for entry in nofollow::list(&paths.hygge_folder, |_| false)?.unwrap_or_default() {
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
            if let Ok(Some(receipt)) = self.paths(&neighbour).and_then(|site| read_receipt(&site)) {
                neighbours.push((neighbour, entry.stat, receipt));
            }
        }
        Ok(neighbours)
    }

    fn live_contents(&self, real: &Path) -> Result<LiveContents, StoreError> {
        list_live(real)
    }

    fn check(&self, real: &Path) -> Result<(), StoreError> {
        let paths = self.paths(real)?;
        check_folder(&paths)?;
        rights::check(&paths)?;
        if read_receipt(&paths)?.is_none() && !self.adopt {
            let live = list_live(real)?;
            let names: Vec<String> = live.files.into_keys().chain(live.folders).take(3).collect();
            if !names.is_empty() {
                return Err(StoreError::Foreign {
                    path: paths.live,
                    names,
                });
            }
        }
        Ok(())
    }

    fn lock(&self, real: &Path, holder: &str) -> Result<Lock, StoreError> {
        let paths = self.paths(real)?;
        check_folder(&paths)?;
        nofollow::create_folder(&paths.hygge_folder)?;
        let lock = Lock::try_exclusive(&paths.lock, holder)?;
        let is_layered = self.strategy == PublishStrategy::Exchange
            && fs::stat(&paths.live)?.is_some()
            && fs::is_overlay_filesystem(&paths.live)?;
        if is_layered && !fs::can_be_renamed(&paths.live, &paths.hygge_folder)? {
            return Err(StoreError::LowerLayer(paths.live));
        }
        Ok(lock)
    }

    fn removable(&self, real: &Path) -> Result<RemovalPlan, StoreError> {
        clear::removal_plan(&self.paths(real)?)
    }

    fn clear(&self, real: &Path) -> Result<(), StoreError> {
        clear::clear(&self.paths(real)?)
    }

    fn latest_parts(
        &self,
        real: &Path,
        receipt: &Receipt,
    ) -> Result<HashSet<Fingerprint>, StoreError> {
        let paths = self.paths(real)?;
        let kept = latest_set::waiting_parts(&paths, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let old = previous_set::unaltered_parts(&paths, receipt)?
            .into_iter()
            .map(|(_, digest)| digest);
        let latest = latest_set::part_digests(receipt.latest.as_ref());
        Ok(kept
            .chain(old.filter(|digest| latest.contains(digest)))
            .collect())
    }

    fn previous_parts(
        &self,
        real: &Path,
        receipt: Option<&Receipt>,
    ) -> Result<HashSet<Fingerprint>, StoreError> {
        let paths = self.paths(real)?;
        let mut digests = HashSet::new();
        if let Some(receipt) = receipt {
            let latest = latest_set::part_digests(receipt.latest.as_ref());
            let old = previous_set::unaltered_parts(&paths, receipt)?
                .into_iter()
                .map(|(_, digest)| digest);
            digests.extend(old.filter(|digest| !latest.contains(digest)));
        }
        for next in [paths.next.clone(), paths.inner_next()]
            .iter()
            .chain(&paths.latest_folders())
        {
            digests.extend(previous_set::unpublished_digests(next)?);
        }
        Ok(digests)
    }

    fn recover(
        &self,
        real: &Path,
        context: &PublishContext<'_>,
    ) -> Result<Option<Receipt>, StoreError> {
        recover::recover(&self.paths(real)?, context)
    }

    fn publish(
        &self,
        real: &Path,
        publication: &Publication<'_>,
        context: &PublishContext<'_>,
    ) -> Result<Receipt, StoreError> {
        let paths = self.paths(real)?;
        match self.strategy {
            PublishStrategy::Exchange => publish::publish(&paths, publication, context),
            PublishStrategy::InPlace => in_place::publish(&paths, publication, context),
        }
    }
}

/// A folder that can be renamed, or nothing yet.
fn check_folder(paths: &FilesStorePaths) -> Result<(), StoreError> {
    if fs::is_link(&paths.live)? {
        return Err(StoreError::DanglingLink(paths.live.clone()));
    }
    match fs::stat(&paths.live)? {
        Some(found) if !found.is_folder => Err(StoreError::NotAFolder(paths.live.clone())),
        Some(_)
            if paths.strategy == PublishStrategy::Exchange && fs::is_mount_point(&paths.live)? =>
        {
            Err(StoreError::MountPoint(paths.live.clone()))
        }
        _ => Ok(()),
    }
}

/// The visible files of a folder.
fn list_live(folder: &Path) -> Result<LiveContents, StoreError> {
    let Some(found) = fs::list(folder, fs::is_hidden)? else {
        return match fs::stat(folder)? {
            Some(_) => Err(StoreError::NotAFolder(folder.to_path_buf())),
            None => Ok(LiveContents::default()),
        };
    };
    let mut live = LiveContents {
        exists: true,
        ..LiveContents::default()
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

fn read_receipt(paths: &FilesStorePaths) -> Result<Option<Receipt>, StoreError> {
    let Some(bytes) = nofollow::read(&paths.receipt, MAX_RECEIPT_BYTES)? else {
        return Ok(None);
    };
    let unreadable = |reason: String| StoreError::UnreadableReceipt {
        path: paths.receipt.clone(),
        reason,
    };
    let receipt: Receipt =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    receipt.check().map_err(unreadable)?;
    Ok(Some(receipt))
}

fn write_receipt(paths: &FilesStorePaths, receipt: &Receipt) -> Result<(), StoreError> {
    let path = &paths.receipt;
    let mut text =
        serde_json::to_vec_pretty(receipt).map_err(|error| StoreError::UnreadableReceipt {
            path: path.clone(),
            reason: error.to_string(),
        })?;
    text.push(b'\n');
    Ok(nofollow::write_atomically(path, &text)?)
}
