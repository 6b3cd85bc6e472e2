//! CSV: texts in lines, of which the config says what else they are.
//!
//! A value is of the type that `types` gives its column, exactly, or an error with its line. Columns
//! that it does not name have the type that all of their values are of ([`facts`]), else they are
//! texts. How many rows a file has, only reading it tells.

mod blocks;
mod decode;
mod encode;
mod facts;
mod options;
mod records;
mod values;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::batch::RecordBatch;
use super::canonical_schema::{leaves, write_field};
use super::inference::{FactsOf, FileFacts, InferredType, InferredTypes};
use super::sniff::{SNIFF_LEN, sniff_beside_text};
use super::text::{PACKINGS, packing_levels};
use super::{
    Compression, Encoder, FileColumn, Format, FormatError, Layout, OpenFile, PartPieces,
    Passthrough, Reader, Writer,
};
use crate::config::node::Node;
use crate::config::problem::Problems;
use crate::config::{Settings, listing};
use crate::connection::types::ColumnType;
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};

use options::CsvOptions;
use records::{Record, RecordReader};

pub use options::{CsvHomeFields, CsvStoreFields};

/// What errors call it.
const NAME: &str = "CSV";

/// CSV.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    options: CsvOptions,
    /// Types of columns that were found in their values.
    inferred: Arc<InferredTypes>,
}

impl Csv {
    /// Reads the options of a home's block.
    pub fn from_home(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        CsvOptions::of_home(node, name, problems).map(Self::new)
    }

    /// Reads the options of a store's block.
    pub fn from_store(node: &Node, name: &str, problems: &mut Problems) -> Option<Self> {
        CsvOptions::of_store(node, name, problems).map(Self::new)
    }

    /// What stores write where nothing is said.
    pub fn plain_store() -> Self {
        Self::new(CsvOptions::of_plain_store())
    }

    fn new(options: CsvOptions) -> Self {
        Self {
            options,
            inferred: Arc::default(),
        }
    }

    /// The type of a column that was found in its values, where the config does not say one.
    fn inferred_type(&self, column: &str) -> Option<&InferredType> {
        let is_said = self.options.types.contains_key(column);
        self.inferred.0.get(column).filter(|_| !is_said)
    }

    /// The columns of a file, all of them, as far as the config says their types.
    fn all_columns(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        let read = source.head.get_or_read(|| {
            let failed = |error| of_record(source, error);
            let reader = RecordReader::new(source.bytes.as_ref(), &self.options);
            let mut reader = reader.map_err(failed)?;
            let head = reader.head(SNIFF_LEN).map_err(failed)?;
            if let Some(foreign) = sniff_beside_text(head) {
                return Err(FormatError::Foreign {
                    path: source.path.clone(),
                    format: NAME,
                    foreign,
                });
            }
            let mut first = Record::default();
            let is_there = reader
                .next(&mut first)
                .map_err(|error| of_record(source, error))?;
            if !is_there {
                return Err(unsound(source, "it has no line".into()));
            }
            self.columns_of(source, &first)
        })?;
        Ok((*read).clone())
    }

    /// The columns of a file that begins with this record.
    fn columns_of(&self, source: &OpenFile, first: &Record) -> Result<ArrowSchema, FormatError> {
        let fields = first.fields().map_err(|error| of_record(source, error))?;
        let mut columns = ArrowSchema::default();
        for (number, (value, _)) in (1..).zip(fields) {
            let name = if self.options.has_header {
                value.to_string()
            } else {
                format!("column_{number}")
            };
            if name.trim().is_empty() {
                let reason = format!("column {number} has no name in its header");
                return Err(of_line(source, first.line, reason));
            }
            let dtype = self.options.types.get(&name).map(ColumnType::to_arrow);
            let dtype = dtype.unwrap_or(ArrowDataType::Utf8View);
            let field = Field::new(name.as_str().into(), dtype, true);
            if columns.insert(name.as_str().into(), field).is_some() {
                let reason = format!("its header names two columns {name}");
                return Err(of_line(source, first.line, reason));
            }
        }
        let mut types = self.options.types.keys();
        if let Some(unknown) = types.find(|name| columns.get(name.as_str()).is_none()) {
            let path = source.path.clone();
            let names = columns.iter_names().map(|name| name.to_string());
            return Err(FormatError::UnknownColumn {
                path,
                key: "types",
                column: unknown.clone(),
                columns: names.collect(),
            });
        }
        Ok(columns)
    }
}

impl Format for Csv {
    fn id(&self) -> &'static str {
        "csv"
    }

    fn extensions(&self) -> &'static [&'static str] {
        listing::CSV_EXTENSIONS
    }

    /// Version 1: the first. Version 2: types are found in values.
    fn version(&self) -> u32 {
        2
    }

    fn output_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> Settings {
        self.options.settings()
    }

    fn file_ending(&self, compression: &str) -> Option<&'static str> {
        match compression {
            "gzip" => Some("csv.gz"),
            "zstd" => Some("csv.zst"),
            "bzip2" => Some("csv.bz2"),
            _ => None,
        }
    }

    fn names_columns(&self) -> bool {
        self.options.has_header
    }

    fn infers_types(&self) -> bool {
        self.options.infers
    }

    fn with_inferred(&self, types: Arc<InferredTypes>) -> Option<Arc<dyn Format>> {
        Some(Arc::new(Self {
            options: self.options.clone(),
            inferred: types,
        }))
    }

    fn inferred(&self) -> Option<&InferredTypes> {
        Some(self.inferred.as_ref())
    }

    fn reader(&self) -> &dyn Reader {
        self
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.options.written.as_ref().map(|_| self as _)
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }
}

impl Reader for Csv {
    fn inspect(&self, source: &OpenFile) -> Result<Layout, FormatError> {
        let columns = self.all_columns(source)?;
        let fields: Vec<&Field> = columns.iter_values().collect();
        let mut sorted = fields.clone();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Layout {
            rows: None,
            groups: Vec::new(),
            stored_digest: digest("csv", &fields),
            compressions: BTreeSet::new(),
            container: String::new(),
            encrypted: false,
            logical_digest: digest("csv in order", &fields),
            column_set_digest: digest("csv in any order", &sorted),
            packing_digest: None,
        })
    }

    fn facts(&self, source: &OpenFile, of: FactsOf) -> Result<FileFacts, FormatError> {
        facts::facts(self, source, of)
    }

    fn check_readable(&self, _: &OpenFile) -> Result<(), FormatError> {
        Ok(())
    }

    fn arrow_schema(&self, source: &OpenFile) -> Result<ArrowSchema, FormatError> {
        let columns = self.all_columns(source)?;
        let wanted = columns.into_iter().map(|(_, field)| field);
        let wanted = wanted.filter(|field| source.has_column(&field.name));
        let typed = wanted.map(|field| match self.inferred_type(&field.name) {
            Some(found) => Field {
                dtype: found.dtype.clone(),
                ..field
            },
            None => field,
        });
        Ok(typed.map(|field| (field.name.clone(), field)).collect())
    }

    fn column_names(&self, source: &OpenFile) -> Result<Vec<String>, FormatError> {
        let columns = self.arrow_schema(source)?;
        Ok(columns.iter_names().map(|name| name.to_string()).collect())
    }

    fn columns(&self, source: &OpenFile) -> Result<Vec<FileColumn>, FormatError> {
        Ok(leaves(&self.arrow_schema(source)?))
    }

    fn schema_difference(
        &self,
        one: &OpenFile,
        other: &OpenFile,
    ) -> Result<Option<String>, FormatError> {
        let (ours, theirs) = (self.arrow_schema(one)?, self.arrow_schema(other)?);
        let missing = theirs.iter_names().find(|name| ours.get(name).is_none());
        let besides = ours.iter_names().find(|name| theirs.get(name).is_none());
        Ok(missing
            .map(|name| format!("column {name} is missing"))
            .or_else(|| besides.map(|name| format!("column {name} is only here"))))
    }

    fn has_loose_batches(&self) -> bool {
        true
    }

    fn decode(
        &self,
        part: &PartPieces<'_>,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
    ) -> Result<u64, FormatError> {
        decode::decode(self, part, each)
    }
}

impl Writer for Csv {
    fn compressions(&self) -> &'static [&'static str] {
        PACKINGS
    }

    fn levels(&self, compression: &str) -> Option<RangeInclusive<u8>> {
        packing_levels(compression)
    }

    fn default_compression(&self) -> Compression {
        Compression {
            name: PACKINGS[0],
            level: None,
        }
    }

    fn begin<'w>(
        &self,
        columns: &ArrowSchema,
        compression: Compression,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Encoder + 'w>, FormatError> {
        encode::begin(&self.options, columns, compression, out)
    }
}

fn digest(what: &str, fields: &[&Field]) -> Fingerprint {
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text(what).count(fields.len());
    fields
        .iter()
        .for_each(|field| write_field(field, &mut writer));
    writer.finish()
}

fn unsound(source: &OpenFile, reason: String) -> FormatError {
    FormatError::Unsound {
        path: source.path.clone(),
        format: NAME,
        reason,
    }
}

/// The error of a line.
fn of_line(source: &OpenFile, line: u64, reason: String) -> FormatError {
    FormatError::Line {
        path: source.path.clone(),
        line,
        reason,
    }
}

fn of_record(source: &OpenFile, error: records::RecordError) -> FormatError {
    match error {
        records::RecordError::Unsound { line, reason } => of_line(source, line, reason),
        records::RecordError::Read(error) => FormatError::for_action("read", &source.path)(error),
    }
}
