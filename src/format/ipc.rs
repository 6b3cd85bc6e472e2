//! Arrow IPC: whole files pass undecoded; what is packed, cut, compressed or built in another way
//! is decoded.
//!
//! The format is that of
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>:
//! a file with a footer, or a stream of messages. polars-arrow decodes and encodes arrays; messages
//! are read, bounded and packed here.

mod body;
mod decode;
mod dictionaries;
mod encode;
mod messages;
mod nodes;
mod types;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::RangeInclusive;

use polars_arrow::datatypes::ArrowSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::batch::RecordBatch;
use super::{
    Compression, Cut, Encoder, Format, FormatError, Group, Layout, Opened, Passthrough, Reader,
    Target, TransferMode, Writer, kept_compression,
};
use crate::config::node::Node;
use crate::config::problem::Problems;
use crate::config::read::read;
use crate::config::{Settings, listing};

use body::Codec;
use messages::Contents;

/// What errors call it.
const NAME: &str = "Arrow IPC";

/// What a store of Arrow IPC may say besides what all files have.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "ipc", deny_unknown_fields)]
pub struct IpcStoreFields {
    /// How files are built: `file`, with a footer that leads to each batch, or `stream`, which is read from its beginning. A home reads both.
    #[schemars(example = &"stream", extend("default" = "file"))]
    container: Option<Container>,
}

/// How a file is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Container {
    /// With a footer that leads to each batch.
    #[default]
    File,
    /// Messages one after another.
    Stream,
}

impl Container {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Stream => "stream",
        }
    }
}

/// Arrow IPC, which pandas and others call Feather.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ipc {
    /// How its files are built where they are made.
    container: Container,
}

impl Ipc {
    /// Reads the options of a store's block.
    pub fn from_block(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: IpcStoreFields = read(node, name, &[], problems)?;
        Some(Self {
            container: fields.container.unwrap_or_default(),
        })
    }
}

impl Format for Ipc {
    fn id(&self) -> &'static str {
        "ipc"
    }

    fn extensions(&self) -> &'static [&'static str] {
        listing::ARROW
    }

    /// Version 1: the first.
    fn version(&self) -> u32 {
        1
    }

    /// Version 1: polars 0.55, zstd 1.5, lz4 1.10.
    fn made_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Settings {
        let is_default = self.container == Container::default();
        (!is_default)
            .then(|| ("container", json!(self.container)))
            .into_iter()
            .collect()
    }

    fn reader(&self) -> &dyn Reader {
        self
    }

    fn writer(&self) -> Option<&dyn Writer> {
        Some(self)
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        Some(self)
    }
}

impl Reader for Ipc {
    fn inspect(&self, source: &Opened) -> Result<Layout, FormatError> {
        let contents = Contents::read(source)?;
        let groups: Vec<Group> = contents
            .batches()
            .map(|batch| Group {
                rows: batch.rows,
                bytes: batch.body,
            })
            .collect();
        let compressions: BTreeSet<String> = contents
            .batches()
            .map(|batch| Codec::word(batch.codec).to_string())
            .collect();
        Ok(Layout {
            rows: groups.iter().map(|group| group.rows).sum(),
            groups,
            schema: types::stored_digest(&contents.columns),
            compressions,
            container: contents.container.word().to_string(),
            encrypted: false,
            columns: types::digest(&contents.columns),
            packing: Some(types::packing(&contents.columns, &contents.notes)),
        })
    }

    fn readable(&self, source: &Opened) -> Result<(), FormatError> {
        self.arrow_columns(source).map(drop)
    }

    fn arrow_columns(&self, source: &Opened) -> Result<ArrowSchema, FormatError> {
        decode::plain_columns(source, &Contents::read(source)?)
    }

    fn columns(&self, source: &Opened) -> Result<Vec<String>, FormatError> {
        Ok(Contents::read(source)?
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect())
    }

    fn typed_columns(&self, source: &Opened) -> Result<Vec<(String, String)>, FormatError> {
        Ok(types::typed(&Contents::read(source)?.columns))
    }

    fn difference(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError> {
        Ok(types::difference(
            &Contents::read(one)?.columns,
            &Contents::read(other)?.columns,
        ))
    }

    fn decode(
        &self,
        cut: &Cut<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        decode::decode(cut, each)
    }
}

/// The words, the default first.
const WORDS: &[&str] = &["keep", "uncompressed", "lz4", "zstd"];

impl Writer for Ipc {
    fn compressions(&self) -> &'static [&'static str] {
        WORDS
    }

    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>> {
        (compression == "zstd").then_some(1..=22)
    }

    fn own_compression(&self) -> Compression {
        Compression {
            word: "uncompressed",
            level: None,
        }
    }

    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        encode::begin(columns, self.container, Codec::new(compression)?, out)
    }
}

impl Passthrough for Ipc {
    fn transfer(&self, layouts: &[&Layout], target: &Target) -> Result<TransferMode, FormatError> {
        let compression = target.compression;
        let keeps = compression.word == "keep";
        // No file says which level it was packed with.
        let is_same = |layout: &&Layout| {
            compression.level.is_none()
                && layout
                    .compressions
                    .iter()
                    .all(|found| found == compression.word)
        };
        let is_built_so = layouts
            .iter()
            .all(|layout| layout.container == self.container.word());
        if target.rows_per_file.is_none() && is_built_so && (keeps || layouts.iter().all(is_same)) {
            return Ok(TransferMode::Undecoded);
        }
        Ok(TransferMode::Decoded {
            compression: if keeps {
                kept_compression(self, layouts)?
            } else {
                compression
            },
        })
    }

    fn apart(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError> {
        let (one, other) = (Contents::read(one)?, Contents::read(other)?);
        Ok(types::apart(
            (&one.columns, &one.notes),
            (&other.columns, &other.notes),
        ))
    }

    fn recodable(&self, source: &Opened) -> Result<(), FormatError> {
        let contents = Contents::read(source)?;
        decode::check(source, &contents)?;
        encode::check(source, &contents)
    }

    fn recode(
        &self,
        cut: &Cut<'_>,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<u64, FormatError> {
        encode::recode(cut, self.container, Codec::new(compression)?, out)
    }
}
