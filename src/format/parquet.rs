//! Apache Parquet: whole files and column chunks pass undecoded, pages are packed with another
//! codec where that is all that differs, and only what is cut inside a row group is decoded.
//!
//! The format is that of <https://parquet.apache.org/docs/file-format/>. The `parquet` crate reads
//! and writes metadata and moves chunks; polars-parquet alone decodes and encodes values.

mod bounds;
mod canonical;
mod codec;
mod decode;
mod decompress;
mod encode;
mod footer;
mod key_value_metadata;
mod layout;
mod leaves;
mod levels;
mod list_schema;
mod logical_schema;
mod page_values;
mod pages;
mod polars_schema;
mod recompress;
mod relocated;
mod round_trip;
mod row_groups;
mod sanitize;
mod schema;
mod schema_nodes;
mod splice;
mod statistics;
mod stored_schema;
mod thrift;
mod writer;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::RangeInclusive;

use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::schema::types::Type;
use polars_arrow::datatypes::{ArrowSchema, Metadata};

use serde_json::json;

use codec::{KEEP, PageCodec};
use row_groups::{GroupSize, GroupedEncoder};

use super::batch::RecordBatch;
use super::{
    Compression, Encoder, FileColumn, Format, FormatError, GroupBounds, Layout, OpenFile,
    OutputSpec, PartPieces, Passthrough, Reader, RecodedRows, TransferMode, Writer,
};
use crate::config::Settings;
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};

pub use row_groups::ParquetStoreFields;

/// The parquet format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parquet {
    /// How large the row groups of its files are, where that is asked for.
    group_size: Option<GroupSize>,
}

impl Parquet {
    /// As it is where nothing is said.
    pub const PLAIN: Self = Self { group_size: None };

    /// Reads the options of a store's block.
    pub fn from_block(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        let fields: ParquetStoreFields = read_block(node, name, &[], problems)?;
        let group_size = match fields.row_groups {
            None => None,
            Some(groups) => {
                let size = groups.size();
                if size.is_none() {
                    let message = format!("row_groups of {name} has not one size");
                    let at = node.span_of("row_groups");
                    let problem = Problem::new(at, message, "expected rows or bytes");
                    problems
                        .push(problem.with_hint(
                            "row_groups: {rows: 100000}, or row_groups: {bytes: 128MB}",
                        ));
                }
                size
            }
        };
        Some(Self { group_size })
    }

    /// An encoder of groups of the size that is asked for.
    fn grouped<'w>(&self, encoder: Box<dyn Encoder + 'w>) -> Box<dyn Encoder + 'w> {
        match self.group_size {
            Some(size) => Box::new(GroupedEncoder::new(encoder, size)),
            None => encoder,
        }
    }
}

impl Format for Parquet {
    fn id(&self) -> &'static str {
        "parquet"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet"]
    }

    /// Version 1: the first.
    fn version(&self) -> u32 {
        1
    }

    /// Version 1: polars 0.55, parquet 60, zstd 1.5. Version 2: damaged pages are refused, and
    /// statistics and the order of columns are right, which they were not.
    fn output_version(&self) -> u32 {
        2
    }

    fn settings(&self) -> Settings {
        let size = self.group_size.map(|size| ("row_groups", json!(size)));
        size.into_iter().collect()
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

impl Reader for Parquet {
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError> {
        layout::inspect(source)
    }

    fn check_readable(&self, source: &OpenFile) -> Result<(), FormatError> {
        footer::check_annotations(source)?;
        round_trip::check_readable(source)
    }

    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        canonical::arrow_schema(source)
    }

    fn check_projectable(&self, source: &OpenFile) -> Result<(), FormatError> {
        let metadata = footer::read_metadata(source)?;
        let beyond = logical_schema::first_beyond_canonical(root(&metadata));
        match beyond.or_else(|| key_value_metadata::first_unknown_extension(source, &metadata)) {
            Some((column, found)) => Err(FormatError::LostType {
                path: source.path.clone(),
                column,
                found,
            }),
            None => Ok(()),
        }
    }

    fn metadata_for_own_format(&self, source: &OpenFile) -> Result<Metadata, FormatError> {
        let metadata = footer::read_metadata(source)?;
        Ok(key_value_metadata::for_projected_rows(&metadata))
    }

    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError> {
        Ok(root(footer::read_metadata(source)?.as_ref())
            .get_fields()
            .iter()
            .map(|field| field.name().to_string())
            .collect())
    }

    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError> {
        Ok(logical_schema::leaves(root(
            footer::read_metadata(source)?.as_ref(),
        )))
    }

    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        Ok(logical_schema::difference(
            root(footer::read_metadata(one)?.as_ref()),
            root(footer::read_metadata(other)?.as_ref()),
        ))
    }

    fn group_bounds(
        &self,
        source: &OpenFile,
        columns: &BTreeSet<String>,
    ) -> Result<Vec<GroupBounds>, FormatError> {
        bounds::group_bounds(source, columns)
    }

    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError> {
        canonical::decode(part, each)
    }
}

impl Writer for Parquet {
    fn compressions(&self) -> &'static [&'static str] {
        codec::COMPRESSIONS
    }

    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>> {
        codec::levels(compression)
    }

    fn default_compression(&self) -> Compression {
        Compression {
            name: "snappy",
            level: None,
        }
    }

    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        let encoder = canonical::begin(columns, &known_codec(compression)?, out)?;
        Ok(self.grouped(encoder))
    }
}

impl Passthrough for Parquet {
    fn transfer_mode(
        &self,
        layouts: &[&Layout],
        target: &OutputSpec,
    ) -> Result<TransferMode, FormatError> {
        let compression = target.compression;
        // No file says which level it was packed with.
        let same = |layout: &&Layout| {
            compression.level.is_none()
                && layout
                    .compressions
                    .iter()
                    .all(|found| found == compression.name)
        };
        let kept = compression.name == KEEP || layouts.iter().all(same);
        // Groups are joined and cut as values: each of their chunks has a dictionary of its own.
        let is_regrouped = self
            .group_size
            .is_some_and(|size| target.rows_per_file.is_some() || !size.fits(layouts));
        let cuts_inside = target.rows_per_file.is_some_and(|rows| {
            layouts
                .iter()
                .flat_map(|layout| &layout.groups)
                .any(|group| super::must_split(group.rows, rows))
        });
        let is_whole = kept && target.rows_per_file.is_none() && !is_regrouped;
        if !is_whole && layouts.iter().any(|layout| layout.encrypted) {
            return Err(FormatError::Encrypted);
        }
        match (kept, cuts_inside || is_regrouped) {
            (true, false) => Ok(TransferMode::Undecoded),
            (false, false) => Ok(TransferMode::Recompressed { compression }),
            (_, true) if compression.name != KEEP => Ok(TransferMode::Decoded { compression }),
            _ => Ok(TransferMode::Decoded {
                compression: super::common_compression(self, layouts)?,
            }),
        }
    }

    fn packing_conflict(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        Ok(key_value_metadata::packing_conflict(
            footer::read_metadata(one)?.as_ref(),
            footer::read_metadata(other)?.as_ref(),
        ))
    }

    fn move_groups(
        &self,
        part: &PartPieces<'_>,
        compression: Option<Compression>,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<u64, FormatError> {
        let codec = compression.map(known_codec).transpose()?;
        splice::move_groups(part, codec.as_ref(), out)
    }

    fn check_recodable(&self, source: &OpenFile) -> Result<(), FormatError> {
        footer::check_annotations(source)?;
        round_trip::check_recodable(source)
    }

    fn recode(
        &self,
        part: &PartPieces<'_>,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<RecodedRows, FormatError> {
        let model = part.open_first()?;
        let notes = key_value_metadata::for_part(part, footer::read_metadata(&model)?.as_ref())?;
        let encoder = decode::encoder(
            &model,
            notes.unwrap_or_default(),
            &known_codec(compression)?,
            out,
        )?;
        let mut encoder = self.grouped(encoder);
        let read = decode::decode(part, &mut |batch| encoder.write(batch))?;
        let written = encoder.finish()?;
        Ok(RecodedRows {
            read,
            filtered: 0,
            written,
        })
    }
}

fn known_codec(compression: Compression) -> Result<PageCodec, FormatError> {
    PageCodec::new(compression).ok_or_else(|| {
        FormatError::Encode(format!("parquet has no compression {}", compression.name))
    })
}

fn root(metadata: &ParquetMetaData) -> &Type {
    metadata.file_metadata().schema_descr().root_schema()
}
