//! Apache Parquet: whole files and column chunks pass undecoded, pages are packed with another
//! codec where that is all that differs, and only what is cut inside a row group is decoded.
//!
//! The format is that of <https://parquet.apache.org/docs/file-format/>. The `parquet` crate reads
//! and writes metadata and moves chunks; polars-parquet alone decodes and encodes values.

mod chunks;
mod codec;
mod columns;
mod encode;
mod exact;
mod footer;
mod layout;
mod leaves;
mod levels;
mod lists;
mod logical;
mod moved;
mod nodes;
mod notes;
mod pages;
mod plain;
mod recode;
mod recompress;
mod schema;
mod shape;
mod statistics;
mod strict;
mod thrift;
mod unpack;
mod values;
mod writer;

use std::io::Write;
use std::ops::RangeInclusive;

use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::schema::types::Type;
use polars_arrow::datatypes::ArrowSchema;

use codec::{Codec, KEEP};

use super::batch::RecordBatch;
use super::{
    Compression, Cut, Encoder, Format, FormatError, Layout, Opened, Passthrough, Reader, Target,
    TransferMode, Writer,
};

/// The parquet format.
#[derive(Debug)]
pub struct Parquet;

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
    fn made_version(&self) -> u32 {
        2
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
    fn inspect(&self, source: &Opened) -> Result<Layout, FormatError> {
        layout::inspect(source)
    }

    fn readable(&self, source: &Opened) -> Result<(), FormatError> {
        footer::check_annotations(source)?;
        exact::readable(source)
    }

    fn arrow_columns(&self, source: &Opened) -> Result<ArrowSchema, FormatError> {
        plain::columns(source)
    }

    fn columns(&self, source: &Opened) -> Result<Vec<String>, FormatError> {
        Ok(root(&footer::read(source)?)
            .get_fields()
            .iter()
            .map(|field| field.name().to_string())
            .collect())
    }

    fn typed_columns(&self, source: &Opened) -> Result<Vec<(String, String)>, FormatError> {
        Ok(logical::typed(root(&footer::read(source)?)))
    }

    fn difference(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError> {
        Ok(logical::difference(
            root(&footer::read(one)?),
            root(&footer::read(other)?),
        ))
    }

    fn decode(
        &self,
        cut: &Cut<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        plain::decode(cut, each)
    }
}

impl Writer for Parquet {
    fn compressions(&self) -> &'static [&'static str] {
        codec::WORDS
    }

    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>> {
        codec::levels(compression)
    }

    fn own_compression(&self) -> Compression {
        Compression {
            word: "snappy",
            level: None,
        }
    }

    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        plain::begin(columns, &known_codec(compression)?, out)
    }
}

impl Passthrough for Parquet {
    fn transfer(&self, layouts: &[&Layout], target: &Target) -> Result<TransferMode, FormatError> {
        let compression = target.compression;
        // No file says which level it was packed with.
        let same = |layout: &&Layout| {
            compression.level.is_none()
                && layout
                    .compressions
                    .iter()
                    .all(|found| found == compression.word)
        };
        let kept = compression.word == KEEP || layouts.iter().all(same);
        let cuts_inside = target.rows_per_file.is_some_and(|rows| {
            layouts
                .iter()
                .flat_map(|layout| &layout.groups)
                .any(|group| super::must_cut(group.rows, rows))
        });
        let is_whole = kept && target.rows_per_file.is_none();
        if !is_whole && layouts.iter().any(|layout| layout.encrypted) {
            return Err(FormatError::Encrypted);
        }
        match (kept, cuts_inside) {
            (true, false) => Ok(TransferMode::Undecoded),
            (false, false) => Ok(TransferMode::Recompressed { compression }),
            (_, true) if compression.word != KEEP => Ok(TransferMode::Decoded { compression }),
            _ => Ok(TransferMode::Decoded {
                compression: super::kept_compression(self, layouts)?,
            }),
        }
    }

    fn apart(&self, one: &Opened, other: &Opened) -> Result<Option<String>, FormatError> {
        Ok(notes::apart(&footer::read(one)?, &footer::read(other)?))
    }

    fn move_groups(
        &self,
        cut: &Cut<'_>,
        compression: Option<Compression>,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<u64, FormatError> {
        let codec = compression.map(known_codec).transpose()?;
        chunks::move_groups(cut, codec.as_ref(), out)
    }

    fn recodable(&self, source: &Opened) -> Result<(), FormatError> {
        footer::check_annotations(source)?;
        exact::decodable(source)
    }

    fn recode(
        &self,
        cut: &Cut<'_>,
        compression: Compression,
        out: Box<dyn Write + Send + '_>,
    ) -> Result<u64, FormatError> {
        let model = cut.open_first()?;
        let notes = notes::of_cut(cut, &footer::read(&model)?)?;
        let mut encoder = recode::encoder(
            &model,
            notes.unwrap_or_default(),
            &known_codec(compression)?,
            out,
        )?;
        let mut rows = 0;
        recode::decode(cut, &mut |batch| {
            rows += batch.height() as u64;
            encoder.write(batch)
        })?;
        encoder.finish()?;
        Ok(rows)
    }
}

fn known_codec(compression: Compression) -> Result<Codec, FormatError> {
    Codec::new(compression).ok_or_else(|| {
        FormatError::Encode(format!("parquet has no compression {}", compression.word))
    })
}

fn root(metadata: &ParquetMetaData) -> &Type {
    metadata.file_metadata().schema_descr().root_schema()
}
