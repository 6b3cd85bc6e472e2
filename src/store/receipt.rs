//! What a store carries to say who published what there.
//!
//! The receipt and not the cache says who owns a store and what is in it: the cache may be
//! deleted at any time.
//!
//! Every field is always written: the index keeps receipts in a form without names (postcard), in
//! which one that is left out makes the rest unreadable.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{Components, KeyKind, KeyWriter};
use crate::fs::is_hidden;
use crate::home::{MAX_NAME_BYTES, RecordedColumn, is_partition_path};

/// The version of the receipt's form. Version 1: the first. Version 2: parts say which inputs they
/// were made from, which `mode: append` needs; sets that were put back stay. Version 3: parts may
/// lie in folders.
pub const VERSION: u32 = 3;

/// That of receipts without such parts, which an older hygge reads as well.
const VERSION_WITHOUT_FOLDERS: u32 = 2;

/// The oldest version that is still understood.
pub const MIN_VERSION: u32 = 1;

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this form.
    pub version: u32,
    /// The project whose flow published last.
    pub project: String,
    /// The flow that published last.
    pub flow: String,
    /// What is published.
    pub published: Option<PublishedSet>,
    /// What was about to be published when this was written: it is there, or it is not.
    pub pending: Option<PublishedSet>,
    /// The inode of the folder with what was about to be published: where it is says which.
    #[serde(default)]
    pub pending_inode: Option<u64>,
    /// True where that is published file by file.
    #[serde(default)]
    pub pending_in_place: bool,
    /// The set before, which the folder beside the store still holds.
    pub previous: Option<PreviousSet>,
    /// While an earlier set is published that was put back: the latest, from which builds go on.
    #[serde(default)]
    pub latest: Option<PublishedSet>,
    /// What was there when the folder was taken over.
    #[serde(default)]
    pub adopted: Option<AdoptedFiles>,
    /// Of a table: how many rows it has, and whose they are. Receipts of the version before do not
    /// say.
    #[serde(default)]
    pub table: Option<TableRows>,
}

/// The rows of a table, as the last publication left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// True where hygge made the table.
    #[serde(rename = "is_made")]
    pub created_by_hygge: bool,
    /// All its rows.
    pub rows: u64,
    /// Those that were there when hygge took the table over.
    #[serde(rename = "of_others")]
    pub foreign_rows: u64,
}

impl TableRows {
    /// The same after so many rows were added and removed.
    #[must_use]
    pub fn with_changes(self, added: u64, removed: u64) -> Self {
        Self {
            rows: (self.rows + added).saturating_sub(removed),
            ..self
        }
    }
}

impl Receipt {
    /// The same, with the version that is needed for what it says.
    #[must_use]
    pub fn with_version(self) -> Self {
        let sets = [&self.published, &self.pending, &self.latest].into_iter();
        let previous = self.previous.as_ref().map(|previous| &previous.manifest);
        let manifests = sets.flatten().map(|set| &set.manifest).chain(previous);
        let has_folders = manifests
            .flat_map(|manifest| &manifest.parts)
            .any(|part| !part.folder().is_empty());
        let version = if has_folders {
            VERSION
        } else {
            VERSION_WITHOUT_FOLDERS
        };
        Self { version, ..self }
    }

    /// One that says nothing yet.
    pub fn blank(project: &str, flow: &str) -> Self {
        Self {
            version: VERSION_WITHOUT_FOLDERS,
            project: project.to_string(),
            flow: flow.to_string(),
            published: None,
            pending: None,
            pending_inode: None,
            pending_in_place: false,
            previous: None,
            latest: None,
            adopted: None,
            table: None,
        }
    }

    /// Fails where it says what hygge never writes: then nothing of it is believed.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        if !(MIN_VERSION..=VERSION).contains(&self.version) {
            return Err(format!(
                "it has version {}, and this hygge knows version {VERSION}",
                self.version
            ));
        }
        for set in [&self.published, &self.pending, &self.latest]
            .into_iter()
            .flatten()
        {
            set.check()?;
        }
        for name in self.adopted.iter().flat_map(|adopted| &adopted.names) {
            if name.is_empty() || name.contains(['/', '\0']) {
                return Err(format!(
                    "it has a file that was there before with the name {name:?}, and no file has such a name"
                ));
            }
        }
        self.previous
            .as_ref()
            .map_or(Ok(()), |previous| previous.manifest.check())?;
        check_number(
            "rows",
            self.table
                .map_or(0, |table| table.rows.max(table.foreign_rows)),
        )
    }

    /// The set that builds go on from: what is published, unless that is an earlier set that was
    /// put back.
    pub fn latest(&self) -> Option<&PublishedSet> {
        let published = self.published.as_ref()?;
        Some(
            self.latest
                .as_ref()
                .filter(|_| published.pinned.is_some())
                .unwrap_or(published),
        )
    }

    /// What was about to be published is; gives the set before.
    pub fn promote(&mut self, next: PublishedSet) -> Option<PublishedSet> {
        self.latest = next.pinned.and_then(|_| self.latest().cloned());
        self.previous = None;
        (self.pending_inode, self.pending_in_place) = (None, false);
        self.published.replace(next)
    }
}

/// What was in a folder that hygge had not made, when it was told to take it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptedFiles {
    /// The names, which were put aside.
    pub names: Vec<String>,
    /// When, in RFC 3339.
    pub at: String,
}

/// The set before the one that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSet {
    /// Its parts.
    pub manifest: Manifest,
    /// When it was published, in RFC 3339.
    pub at: String,
}

impl From<PublishedSet> for PreviousSet {
    fn from(published: PublishedSet) -> Self {
        Self {
            manifest: published.manifest,
            at: published.at,
        }
    }
}

/// A published set and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSet {
    /// The flow key.
    pub key: Fingerprint,
    /// What the flow key covers.
    pub components: Components,
    /// The digest of the input's schema.
    #[serde(rename = "schema")]
    pub schema_digest: Option<Fingerprint>,
    /// The columns. Receipts of earlier versions say only those of tables with a watermark, and of
    /// files no more than a thousand.
    #[serde(default)]
    pub columns: Vec<RecordedColumn>,
    /// Those of the home, where something becomes of them on their way.
    #[serde(default)]
    pub home_columns: Option<Vec<RecordedColumn>>,
    /// Those of the home that stand in names of its folders, and in no file.
    #[serde(default)]
    pub folder_columns: Vec<String>,
    /// Those of them that the home no longer has.
    #[serde(default)]
    pub absent_columns: Vec<String>,
    /// All of the home's with their types, where its files may differ: what is made of a file
    /// that differs is decided by them.
    #[serde(default)]
    pub arrow_schema: Option<String>,
    /// The digest of which home it was made of, and of how that was read.
    #[serde(default)]
    pub home: Option<Fingerprint>,
    /// What the publish key covers.
    pub placement: BTreeMap<String, String>,
    /// The parts.
    pub manifest: Manifest,
    /// What was moved and gave no row, where no part stands for it.
    #[serde(default)]
    pub empty_inputs: Vec<PartInput>,
    /// The highest number that a part of the store ever had in its name: with `mode: append` the
    /// next goes on from there.
    #[serde(default)]
    #[serde(rename = "sequence")]
    pub max_sequence: u64,
    /// The run that made it, where it was put back by `hygge restore`, and stays until something
    /// else is asked for.
    #[serde(default)]
    pub pinned: Option<i64>,
    /// When, in RFC 3339.
    pub at: String,
}

impl PublishedSet {
    /// The highest number that a part ever had in its name. Receipts of version 1 do not say it: it
    /// was that of their last part.
    pub fn highest_number(&self) -> u64 {
        match self.max_sequence {
            0 => self.manifest.parts.len() as u64,
            highest => highest,
        }
    }

    /// The columns that the home had.
    pub fn home_columns(&self) -> &[RecordedColumn] {
        self.home_columns.as_deref().unwrap_or(&self.columns)
    }

    /// Fails where it says what hygge never writes.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        check_number("parts", self.max_sequence)?;
        self.components
            .inputs
            .keys()
            .chain(self.empty_inputs.iter().map(|input| &input.name))
            .try_for_each(|name| check_input_name(name))?;
        self.manifest.check()
    }
}

/// The largest number in a receipt: no file has more bytes, and sums of two stay numbers.
const MAX_NUMBER: u64 = i64::MAX as u64;

fn check_number(what: &str, number: u64) -> Result<(), String> {
    if number > MAX_NUMBER {
        Err(format!("it counts {number} {what}"))
    } else {
        Ok(())
    }
}

/// Fails where a name is not one plain name, below folders that are called after values: another
/// would lead out of the store, or to what is never read.
fn check_part_name(path: &str) -> Result<(), String> {
    let (folder, name) = match path.rsplit_once('/') {
        Some((folder, name)) => (Some(folder), name),
        None => (None, path),
    };
    let is_plain = !name.is_empty()
        && !is_hidden(name)
        && !name.contains('\0')
        && name.len() <= MAX_NAME_BYTES;
    if !is_plain || !folder.is_none_or(is_partition_path) {
        let name = path;
        return Err(format!(
            "it has a part with the name {name:?}, and hygge gives no part such a name"
        ));
    }
    Ok(())
}

/// The longest name of an input: a path, or the bounds of a window.
const MAX_INPUT_NAME_BYTES: usize = 1 << 20;

fn check_input_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_INPUT_NAME_BYTES {
        Err(format!(
            "it has an input whose name has {} bytes",
            name.len()
        ))
    } else {
        Ok(())
    }
}

/// The parts of a set in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The parts.
    pub parts: Vec<Part>,
}

/// One published part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its file's name, with the folder that it lies in below that of the store: `country=DE/1.parquet`.
    pub name: String,
    /// The part key: under which it is found again, even without an index.
    pub key: Fingerprint,
    /// The digest of its bytes.
    pub digest: Fingerprint,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// The number in its name, if it may have one; 0 in receipts of version 1.
    #[serde(default)]
    pub sequence: u64,
    /// What it was made from, as `mode: append` must know it. Receipts of version 1 do not say.
    #[serde(default)]
    pub inputs: Vec<PartInput>,
}

/// An input that was moved: equal bytes under another name are another input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartInput {
    /// Its path below the home.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Fingerprint,
    /// True where its rows stay although its name belongs to other bytes of the set since.
    #[serde(default, rename = "replaced")]
    pub is_replaced: bool,
}

impl Part {
    /// The folder that its file lies in, below that of the store; empty for the store's own.
    pub fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl Manifest {
    /// Each part has a name of its own in the store, and all can be counted.
    fn check(&self) -> Result<(), String> {
        let mut names = HashSet::with_capacity(self.parts.len());
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        for part in &self.parts {
            check_part_name(&part.name)?;
            if !names.insert(part.name.as_str()) {
                return Err(format!("it has two parts with the name {:?}", part.name));
            }
            check_number("parts", part.sequence)?;
            part.inputs
                .iter()
                .try_for_each(|input| check_input_name(&input.name))?;
            (rows, bytes) = (
                rows.saturating_add(part.rows),
                bytes.saturating_add(part.bytes),
            );
        }
        check_number("rows", rows)?;
        check_number("bytes", bytes)
    }

    /// The flow's output digest: what a flow that reads this store depends on.
    pub fn output_digest(&self) -> Fingerprint {
        let mut writer = KeyWriter::new(KeyKind::Output);
        writer.count(self.parts.len());
        for part in &self.parts {
            writer
                .text(&part.name)
                .digest(&part.digest)
                .number(part.rows)
                .number(part.bytes);
        }
        writer.finish()
    }

    /// The folders that parts lie in, but for the store's own, in order: one below another comes
    /// behind it.
    pub fn folders(&self) -> BTreeSet<&str> {
        let mut folders = BTreeSet::new();
        for part in &self.parts {
            let folder = part.folder();
            let ends = folder.match_indices('/').map(|(end, _)| end);
            folders.extend(ends.chain([folder.len()]).map(|end| &folder[..end]));
        }
        folders.remove("");
        folders
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}
