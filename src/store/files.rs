//! A store of files: a folder that changes all at once.
//!
//! Beside the folder `NAME` stands one hidden folder `.hygge` for all stores of that parent:
//! `NAME.json` is the receipt, `NAME.lock` the lock, `NAME.next` the folder that is being laid out,
//! and `NAME.old` the one before, kept until the next build for those who still read it. While an
//! earlier set is published that was put back, `NAME.latest` has what only the latest set has.

mod clear;
mod folder;
mod in_place;
mod latest_set;
mod parts;
mod paths;
mod pattern;
mod previous_set;
mod publish;
mod receipt_file;
mod recover;
mod rights;
mod session;
mod set_folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Capabilities, PartNaming, Store, StoreError, StoreId, StoreLocation, StoreSession};
use crate::config::block_reader::read_block;
use crate::config::node::{Node, NodeValue};
use crate::config::problem::{Problem, Problems, Span};
use crate::config::schema::any_map;
use crate::config::value_types::{BoundedNumber, IgnoredValue, PathText, StringList};
use crate::config::{Settings, checked_path};
use crate::format::{Compression, Format, OutputSpec, PartitionBy};
use crate::fs;

use session::FilesSession;

/// A store of files.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "files", deny_unknown_fields)]
pub struct FilesStoreFields {
    /// The folder to fill: hygge's own, empty or missing.
    #[schemars(example = &"data/store/orders", extend("x-default" = "required"))]
    path: Option<PathText>,
    /// Of the column chunks, of Arrow IPC its buffers, of CSV whole files; files that have it already are taken over as they are, others are packed anew, in parquet without decoding a value.
    #[schemars(example = &"zstd", extend("default" = "keep"))]
    compression: Option<String>,
    /// How hard `gzip` (0 to 9), `brotli` (0 to 11), `zstd` (1 to 22) or `bzip2` (1 to 9) try. Files that have the compression already are packed anew too.
    #[schemars(example = 9, extend("x-default" = "6, 1, 3 and 9"))]
    compression_level: Option<BoundedNumber<0, 22>>,
    /// The name of each file, with [placeholders](#placeholders).
    #[schemars(example = &"orders_{sequence:05d}.parquet", extend("x-default" = "`{sequence:020d}.` and the ending of the format"))]
    file_pattern: Option<String>,
    /// About how many rows a file has: at least half and less than twice as many, but for the last; row groups of up to one and a half times as many are kept whole. Also `batch_size`.
    #[schemars(example = 1_000_000, extend("x-default" = "one file for each input file"))]
    rows_per_file: Option<BoundedNumber<1, { u64::MAX }>>,
    /// Columns whose values name the folders that rows go to, the outermost first: `country=DE/`. They are whole numbers, texts, dates or booleans, by their final names, and leave the files.
    #[schemars(example = json!(["country"]), extend("x-default" = "none"))]
    partition_by: Option<StringList>,
    /// Leaves the columns of `partition_by` in the files as well: programs guess the types of what stands in names of folders, each in its own way.
    #[schemars(example = true, extend("default" = false))]
    keep_column: Option<bool>,
    /// How many folders `partition_by` may make before the flow fails.
    #[schemars(example = 10_000, extend("default" = 1000))]
    max_partitions: Option<BoundedNumber<1, 1_000_000>>,
    /// What the Python hygge writes here: `hash_ids`, `columns`, `constants`, `add_row_marker`, `timestamps`, in [its order](#polish). New configs have keys of the [flow](#columns-and-rows) for it.
    #[schemars(schema_with = "any_map", example = json!({ "columns": { "case": "snake" } }), extend("x-default" = "none", "x-type" = "[map](#polish)"))]
    pub polish: Option<IgnoredValue>,
    /// How a new set takes the place of the old one: `exchange` both folders at once, or `in_place`, file by file, which is not atomic and works where the folder cannot be renamed (a mount point).
    #[schemars(example = &"in_place", extend("default" = "exchange"))]
    publish: Option<PublishStrategy>,
    /// Takes over a folder that holds what hygge did not make, once: what is there is put aside into `.hygge/displaced` beside it.
    #[schemars(example = true, extend("default" = false))]
    adopt: Option<bool>,
}

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
    partition_by: Option<PartitionBy>,
    strategy: PublishStrategy,
    adopt: bool,
}

/// How many folders there may be where nothing is said.
const DEFAULT_MAX_PARTITIONS: u64 = 1000;

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
        let partition_by = partition_by(&fields, node, name, problems);
        let file_pattern = fields.file_pattern.unwrap_or_else(|| {
            let ending = compression.and_then(|word| format.file_ending(word));
            let ending = ending.unwrap_or(format.extensions()[0]);
            format!("{{sequence:020d}}.{ending}")
        });
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
            partition_by,
            strategy: how,
            adopt,
        })
    }
}

/// A folder of no config, by its real path. What lies where is the same for both strategies, and a
/// mount point can be cleared too.
///
/// # Errors
/// There can be no store: its name is too long for what stands beside it.
pub fn open_folder(folder: &Path) -> Result<Arc<dyn StoreSession>, StoreError> {
    Ok(Arc::new(FilesSession::new(
        folder,
        PublishStrategy::InPlace,
        false,
    )?))
}

/// The folders that rows go to, where that is asked for.
fn partition_by(
    fields: &FilesStoreFields,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<PartitionBy> {
    let mut wrong = |key: &str, message: String, expected: &str, hint: &str| {
        let problem = Problem::new(node.span_of(key), message, expected);
        problems.push(problem.with_hint(hint));
    };
    let Some(StringList(columns)) = &fields.partition_by else {
        let keys = [
            ("keep_column", fields.keep_column.is_some()),
            ("max_partitions", fields.max_partitions.is_some()),
        ];
        for (key, _) in keys.into_iter().filter(|(_, is_said)| *is_said) {
            let message = format!("{key} of {name} is said without partition_by");
            let hint = "partition_by: [COLUMN] makes folders by the values of a column";
            wrong(key, message, "expected partition_by beside it", hint);
        }
        return None;
    };
    let is_twice = |(number, column): &(usize, &String)| columns[..*number].contains(column);
    // What is no text is a problem already.
    let is_empty = |node: &Node| matches!(&node.value, NodeValue::List(items) if items.is_empty());
    if columns.is_empty() && node.get("partition_by").is_some_and(is_empty) {
        let message = format!("partition_by of {name} names no column");
        wrong(
            "partition_by",
            message,
            "expected names of columns",
            "partition_by: [country]",
        );
    } else if let Some((_, column)) = columns.iter().enumerate().find(is_twice) {
        let message = format!("partition_by of {name} names the column {column} twice");
        wrong(
            "partition_by",
            message,
            "expected each column once",
            "leave one of them out",
        );
    } else if columns.iter().any(String::is_empty) {
        let message = format!("partition_by of {name} has a name without a letter");
        wrong(
            "partition_by",
            message,
            "expected names of columns",
            "partition_by: [country]",
        );
    } else if let Some(column) = columns.iter().find(|column| fs::is_hidden(column)) {
        let message = format!("partition_by of {name} names the column {column:?}");
        wrong(
            "partition_by",
            message,
            "expected a column whose name does not begin with . or _",
            "folders that begin so are not read: rename of the flow gives the column another name",
        );
    }
    if fields.publish == Some(PublishStrategy::InPlace) {
        let message = format!("{name} has partition_by, and is published in place");
        wrong(
            "publish",
            message,
            "expected publish: exchange, or no partition_by",
            "folders come and go all at once: that needs a folder that can be renamed",
        );
    }
    let max = fields.max_partitions.map(|number| number.0);
    Some(PartitionBy {
        columns: columns.clone(),
        keep_columns: fields.keep_column.unwrap_or_default(),
        max_partitions: max.unwrap_or(DEFAULT_MAX_PARTITIONS),
    })
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
        if let Some(partitions) = &self.partition_by {
            settings.extend(partitions.recipe());
            let max = partitions.max_partitions;
            settings
                .extend((max != DEFAULT_MAX_PARTITIONS).then(|| ("max_partitions", json!(max))));
        }
        settings.extend(
            (self.strategy != PublishStrategy::default())
                .then(|| ("publish", json!(self.strategy))),
        );
        settings.extend(self.adopt.then_some(("adopt", json!(true))));
        settings.extend(self.format.settings());
        settings
    }

    fn location(&self) -> StoreLocation<'_> {
        StoreLocation::Folder(&self.path)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parts_readable: true,
            append_revocable: true,
            can_merge: false,
            uses_connections: false,
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
            partition_by: self.partition_by.clone(),
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

    fn open(&self, id: &StoreId) -> Result<Arc<dyn StoreSession>, StoreError> {
        match id {
            StoreId::Folder(folder) => Ok(Arc::new(FilesSession::new(
                folder,
                self.strategy,
                self.adopt,
            )?)),
            StoreId::Table(_) => Err(StoreError::NotAFolder(id.index_key().into_owned())),
        }
    }
}
