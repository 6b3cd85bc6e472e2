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
mod expected_nodes;
mod messages;
pub mod spill;
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
    Compression, Encoder, FileColumn, Format, FormatError, Group, Layout, OpenFile, OutputSpec,
    PartPieces, Passthrough, Reader, RecodedRows, TransferMode, Writer, common_compression,
};
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::Problems;
use crate::config::{Settings, listing};

use body::BodyCodec;
use messages::IpcContents;

pub(super) use messages::is_readable_schema;

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
    fn name(self) -> &'static str {
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
        let fields: IpcStoreFields = read_block(node, name, &[], problems)?;
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
        listing::ARROW_EXTENSIONS
    }

    /// Version 1: the first.
    fn version(&self) -> u32 {
        1
    }

    /// Version 1: polars 0.55, zstd 1.5, lz4 1.10.
    fn output_version(&self) -> u32 {
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
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError> {
        let contents = IpcContents::read(source)?;
        let groups: Vec<Group> = contents
            .batches()
            .map(|batch| Group {
                rows: batch.rows,
                bytes: batch.body_length,
            })
            .collect();
        let compressions: BTreeSet<String> = contents
            .batches()
            .map(|batch| BodyCodec::codec_name(batch.codec).to_string())
            .collect();
        Ok(Layout {
            rows: Some(groups.iter().map(|group| group.rows).sum()),
            groups,
            stored_digest: types::stored_digest(&contents.columns),
            compressions,
            container: contents.container.name().to_string(),
            encrypted: false,
            logical_digest: types::logical_digest(&contents.columns),
            column_set_digest: types::column_set_digest(&contents.columns),
            packing_digest: Some(types::packing_digest(&contents.columns, &contents.metadata)),
        })
    }

    fn check_readable(&self, source: &OpenFile) -> Result<(), FormatError> {
        decode::canonical_schema(source, &IpcContents::read(source)?).map(drop)
    }

    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        decode::canonical_schema(source, &IpcContents::read_schema(source)?)
    }

    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError> {
        Ok(IpcContents::read(source)?
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect())
    }

    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError> {
        Ok(types::leaves(&IpcContents::read(source)?.columns))
    }

    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        Ok(types::difference(
            &IpcContents::read(one)?.columns,
            &IpcContents::read(other)?.columns,
        ))
    }

    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError> {
        decode::decode(part, each)
    }
}

/// The words, the default first.
const COMPRESSIONS: &[&str] = &["keep", "uncompressed", "lz4", "zstd"];

impl Writer for Ipc {
    fn compressions(&self) -> &'static [&'static str] {
        COMPRESSIONS
    }

    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>> {
        (compression == "zstd").then_some(1..=22)
    }

    fn default_compression(&self) -> Compression {
        Compression {
            name: "uncompressed",
            level: None,
        }
    }

    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        encode::begin(columns, self.container, BodyCodec::new(compression)?, out)
    }
}

impl Passthrough for Ipc {
    fn transfer_mode(
        &self,
        layouts: &[&Layout],
        target: &OutputSpec,
    ) -> Result<TransferMode, FormatError> {
        let compression = target.compression;
        let keeps = compression.name == "keep";
        // No file says which level it was packed with.
        let is_same = |layout: &&Layout| {
            compression.level.is_none()
                && layout
                    .compressions
                    .iter()
                    .all(|found| found == compression.name)
        };
        let is_built_so = layouts
            .iter()
            .all(|layout| layout.container == self.container.name());
        if target.rows_per_file.is_none() && is_built_so && (keeps || layouts.iter().all(is_same)) {
            return Ok(TransferMode::Undecoded);
        }
        Ok(TransferMode::Decoded {
            compression: if keeps {
                common_compression(self, layouts)?
            } else {
                compression
            },
        })
    }

    fn packing_conflict(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        let (one, other) = (IpcContents::read(one)?, IpcContents::read(other)?);
        Ok(types::packing_conflict(
            (&one.columns, &one.metadata),
            (&other.columns, &other.metadata),
        ))
    }

    fn check_recodable(&self, source: &OpenFile) -> Result<(), FormatError> {
        let contents = IpcContents::read(source)?;
        decode::check_decodable(source, &contents)?;
        encode::check_encodable(source, &contents)
    }

    fn recode(
        &self,
        part: &PartPieces<'_>,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<RecodedRows, FormatError> {
        encode::recode(part, self.container, BodyCodec::new(compression)?, out)
    }
}
