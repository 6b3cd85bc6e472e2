//! Schemas: as which types of Arrow the columns of a file are decoded, and as which types of
//! parquet they are encoded.
//!
//! Values are decoded by the types that parquet's schema gives them. What the file's Arrow metadata
//! calls them decides no value, only what is known besides: that a number is a duration, that texts
//! come from a dictionary. A column is encoded by the type that polars gives to its arrays, where
//! that means the same as the source's, and else by the source's own: then the bytes of its values
//! pass through arrays that only hold them.

use std::io::Cursor;
use std::sync::Arc;

use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use bytes::Bytes;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, Metadata};
use polars_error::PolarsResult;
use polars_parquet::parquet::metadata::{Descriptor, KeyValue, SchemaDescriptor};
use polars_parquet::read::{PrimitiveLogicalType, infer_schema, read_metadata};
use polars_parquet::write::{FileWriter, ParquetType, to_parquet_type};
use polars_utils::pl_str::PlSmallStr;

use super::leaves::column_elements;
use super::pages::OPTIONS;
use super::thrift::{self, ThriftStruct, ThriftValue};
use super::{root, schema_nodes, stored_schema};
use crate::error::catch_panic;
use crate::format::FormatError;

/// The file's own texts, by their keys.
pub(super) type KeyValuePairs = Vec<(String, Option<String>)>;

/// The columns of a file, as they are decoded and encoded.
#[derive(Clone, Debug)]
pub(super) struct FileSchema {
    /// Their arrays.
    pub(super) arrow: Arc<ArrowSchema>,
    /// What pages are made of.
    pub(super) types: Vec<ParquetType>,
    /// A footer without row groups.
    pub(super) footer: ThriftStruct,
}

/// The columns of a file without rows that polars can read.
pub(super) struct DecodedSchema {
    /// Their arrays.
    pub(super) arrow: Arc<ArrowSchema>,
    /// Their leaves.
    pub(super) leaves: Vec<Descriptor>,
    types: Vec<ParquetType>,
    /// What Arrow's metadata calls them.
    labelled: Option<ArrowSchema>,
}

/// Reads the columns of a file without rows, which has the form that polars reads
/// (`polars_schema`).
///
/// # Errors
/// It has columns that polars does not know.
pub(super) fn read_schema(file: &[u8]) -> Result<DecodedSchema, FormatError> {
    let read = catch_panic(|| -> PolarsResult<_> {
        let mut metadata = read_metadata(&mut Cursor::new(file.to_vec()))?;
        // Panics on types that it does not know: extensions.
        let labelled = catch_panic(|| infer_schema(&metadata));
        metadata.key_value_metadata = None;
        Ok((labelled, infer_schema(&metadata)?, metadata.schema_descr))
    });
    let (labelled, plain, stored) = read.map_err(encode_error)?.map_err(encode_error)?;
    let labelled = labelled.ok().and_then(Result::ok);
    let arrow: ArrowSchema = match &labelled {
        Some(labelled) => plain
            .iter_values()
            .map(|field| with_label_types(labelled.get(&field.name), field, false))
            .map(name_and_field)
            .collect(),
        None => plain,
    };
    let leaves: Vec<Descriptor> = stored
        .columns()
        .iter()
        .map(|column| column.descriptor.clone())
        .collect();
    let mut left = leaves.iter();
    let arrow: ArrowSchema = arrow
        .iter_values()
        .map(|field| name_and_field(with_logical_types(field, &mut left)))
        .collect();
    Ok(DecodedSchema {
        arrow: Arc::new(arrow),
        leaves,
        types: stored.fields().to_vec(),
        labelled,
    })
}

impl DecodedSchema {
    /// The columns with the names of their time zones and what is said of each, which are in
    /// Arrow's metadata and nowhere else.
    pub(super) fn with_arrow_labels(&self) -> ArrowSchema {
        let label = |field: &Field| self.labelled.as_ref()?.get(&field.name);
        let column = |field: &Field| match label(field) {
            Some(label) => with_label_metadata(label, with_label_zones(label, field)),
            None => field.clone(),
        };
        self.arrow
            .iter_values()
            .map(|field| name_and_field(column(field)))
            .collect()
    }
}

/// A field with what is said of its label. Types that are built upon others are of arrays that
/// other formats have not.
fn with_label_metadata(label: &Field, field: Field) -> Field {
    let mut said = Metadata::clone(label.metadata.as_deref().unwrap_or(&Metadata::default()));
    said.retain(|key, _| !key.starts_with("ARROW:extension:"));
    said.extend(field.metadata.iter().flat_map(|own| Metadata::clone(own)));
    Field {
        metadata: (!said.is_empty()).then(|| Arc::new(said)),
        ..field
    }
}

fn with_label_zones(label: &Field, field: &Field) -> Field {
    use ArrowDataType::{FixedSizeList, LargeList, List, Struct, Timestamp};
    let dtype = match (&label.dtype, &field.dtype) {
        (Timestamp(_, Some(zone)), Timestamp(unit, Some(_))) => {
            Timestamp(*unit, Some(zone.clone()))
        }
        (List(label) | LargeList(label) | FixedSizeList(label, _), LargeList(inner)) => {
            LargeList(Box::new(with_label_zones(label, inner)))
        }
        (Struct(labels), Struct(fields)) if labels.len() == fields.len() => Struct(
            labels
                .iter()
                .zip(fields)
                .map(|(label, field)| with_label_zones(label, field))
                .collect(),
        ),
        (_, same) => same.clone(),
    };
    Field {
        dtype,
        ..field.clone()
    }
}

/// polars reads half floats as what they are only where Arrow's metadata says so too, and JSON as
/// bytes.
fn with_logical_types<'l>(
    field: &Field,
    leaves: &mut impl Iterator<Item = &'l Descriptor>,
) -> Field {
    let dtype = match &field.dtype {
        ArrowDataType::LargeList(inner) => {
            ArrowDataType::LargeList(Box::new(with_logical_types(inner, leaves)))
        }
        ArrowDataType::Struct(fields) => ArrowDataType::Struct(
            fields
                .iter()
                .map(|field| with_logical_types(field, leaves))
                .collect(),
        ),
        leaf => match (
            leaf,
            leaves
                .next()
                .and_then(|leaf| leaf.primitive_type.logical_type),
        ) {
            (ArrowDataType::FixedSizeBinary(2), Some(PrimitiveLogicalType::Float16)) => {
                ArrowDataType::Float16
            }
            (ArrowDataType::BinaryView, Some(PrimitiveLogicalType::Json)) => {
                ArrowDataType::Utf8View
            }
            (leaf, _) => leaf.clone(),
        },
    };
    Field {
        dtype,
        ..field.clone()
    }
}

fn name_and_field(field: Field) -> (PlSmallStr, Field) {
    (field.name.clone(), field)
}

/// A field with what Arrow's metadata says of it, as far as that changes no value.
fn with_label_types(label: Option<&Field>, plain: &Field, is_inside: bool) -> Field {
    use ArrowDataType::{
        Dictionary, Duration, FixedSizeList, Int32, Int64, LargeList, Null, Struct, Utf8View,
    };
    let Some(label) = label else {
        return plain.clone();
    };
    let inner = |label: &Field, plain: &Field| Box::new(with_label_types(Some(label), plain, true));
    let dtype = match (&label.dtype, &plain.dtype) {
        (Duration(unit), Int64) => Duration(*unit),
        // Whether all of its values are null is known of a column that lies in no other.
        (Null, Int32) if !is_inside => Null,
        // polars finds the dictionary of texts by itself, but not inside of others.
        (Dictionary(keys, values, is_ordered), Utf8View) if is_inside && **values == Utf8View => {
            Dictionary(*keys, values.clone(), *is_ordered)
        }
        (LargeList(label) | FixedSizeList(label, _), LargeList(plain)) => {
            LargeList(inner(label, plain))
        }
        (Struct(labels), Struct(fields)) if labels.len() == fields.len() => Struct(
            labels
                .iter()
                .zip(fields)
                .map(|(label, field)| *inner(label, field))
                .collect(),
        ),
        (_, plain) => plain.clone(),
    };
    Field {
        dtype,
        ..plain.clone()
    }
}

impl FileSchema {
    /// Those of a file: `read` from it, with its schema and what polars cannot read of it as they
    /// are.
    ///
    /// # Errors
    /// A column cannot be encoded as it is; its name, and why.
    pub(super) fn from_file(
        read: DecodedSchema,
        source: &ParquetMetaData,
        elements: &[ThriftValue],
        pairs: KeyValuePairs,
    ) -> Result<Self, (String, String)> {
        let names: Vec<String> = read
            .arrow
            .iter_values()
            .map(|field| field.name.to_string())
            .collect();
        let of_file = |error: FormatError| (names.join(", "), error.to_string());
        if names.len() != schema_nodes::fields(root(source)).len() {
            return Err((names.join(", "), "its fields would change".into()));
        }
        let derived = |field: &Field| {
            catch_panic(|| to_parquet_type(field))
                .ok()
                .and_then(Result::ok)
        };
        let mut types: Vec<ParquetType> = read
            .arrow
            .iter_values()
            .zip(&read.types)
            .map(|(field, own)| derived(field).unwrap_or_else(|| own.clone()))
            .collect();
        let footer = empty_footer(&read.arrow, &types, &pairs).map_err(of_file)?;
        let written = parse_metadata(&footer).map_err(of_file)?;
        let (source, written) = (
            schema_nodes::fields(root(source)),
            schema_nodes::fields(root(&written)),
        );
        let own: Vec<usize> = (0..types.len())
            .filter(|number| {
                stored_schema::first_changed(
                    &source[*number..=*number],
                    &written[*number..=*number],
                )
                .is_some()
            })
            .collect();
        if own.is_empty() {
            return Ok(Self {
                arrow: read.arrow,
                types,
                footer,
            });
        }
        for number in &own {
            let field = read.arrow.get_at_index(*number).map(|(_, field)| field);
            if let Some(reason) = field.and_then(|field| unwritable_reason(field, false)) {
                return Err((names[*number].clone(), reason));
            }
            types[*number] = read.types[*number].clone();
        }
        let mut footer = self::empty_footer(&read.arrow, &types, &pairs).map_err(of_file)?;
        let (made, of_source) = (column_elements(footer.list(2)), column_elements(elements));
        let mut schema: Vec<ThriftValue> = footer.list(2).first().into_iter().cloned().collect();
        for number in 0..types.len() {
            let from = if own.contains(&number) {
                &of_source
            } else {
                &made
            };
            schema.extend_from_slice(from.get(number).copied().unwrap_or_default());
        }
        footer.set(
            2,
            thrift::struct_list(schema.iter().filter_map(ThriftValue::as_struct).cloned()),
        );
        Ok(Self {
            arrow: read.arrow,
            types,
            footer,
        })
    }

    /// Those of columns that come from no file: their arrays, what pages are made of, what the file
    /// says that they are, and what it notes besides.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn from_columns(
        arrow: Arc<ArrowSchema>,
        types: Vec<ParquetType>,
        stored: &[ParquetType],
        pairs: KeyValuePairs,
    ) -> Result<Self, FormatError> {
        let footer = empty_footer(&arrow, stored, &pairs)?;
        Ok(Self {
            arrow,
            types,
            footer,
        })
    }
}

/// Why the values of a field cannot be written by its own type; `None` where they can.
fn unwritable_reason(field: &Field, is_inside: bool) -> Option<String> {
    match &field.dtype {
        // polars writes these by arrays of numbers of the same bits.
        ArrowDataType::FixedSizeBinary(2 | 16) => None,
        ArrowDataType::FixedSizeBinary(width) if is_inside => Some(format!(
            "{} has {width} bytes of fixed length inside of a list or a group, which cannot be written",
            field.name
        )),
        ArrowDataType::LargeList(inner) => unwritable_reason(inner, true),
        ArrowDataType::Struct(fields) => fields
            .iter()
            .find_map(|field| unwritable_reason(field, true)),
        _ => None,
    }
}

/// The footer of an empty file, without row groups: its schema, its texts and the order of its
/// columns.
fn empty_footer(
    arrow: &ArrowSchema,
    types: &[ParquetType],
    pairs: &KeyValuePairs,
) -> Result<ThriftStruct, FormatError> {
    let mut empty = Vec::new();
    let descriptor = SchemaDescriptor::new("root".into(), types.to_vec());
    let mut writer =
        FileWriter::new_with_parquet_schema(&mut empty, arrow.clone(), descriptor, OPTIONS);
    let pairs = pairs
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.clone(),
            value: value.clone(),
        })
        .collect();
    writer.end(Some(pairs)).map_err(encode_error)?;
    drop(writer);
    parse_footer(&empty)
}

/// The footer of a file without row groups.
pub(super) fn parse_footer(file: &[u8]) -> Result<ThriftStruct, FormatError> {
    let damaged = || FormatError::Encode("an empty file could not be written".into());
    let (rest, tail) = file.split_last_chunk::<8>().ok_or_else(damaged)?;
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    let start = rest.len().checked_sub(length).ok_or_else(damaged)?;
    let (mut footer, _) = thrift::read(&rest[start..]).map_err(FormatError::Encode)?;
    footer.remove(4);
    Ok(footer)
}

fn parse_metadata(footer: &ThriftStruct) -> Result<ParquetMetaData, FormatError> {
    let mut file = footer.clone();
    file.set(4, thrift::struct_list(Vec::new()));
    ParquetMetaDataReader::decode_metadata(&Bytes::from(file.to_bytes())).map_err(encode_error)
}

pub(super) fn encode_error(error: impl std::fmt::Display) -> FormatError {
    FormatError::Encode(error.to_string())
}
