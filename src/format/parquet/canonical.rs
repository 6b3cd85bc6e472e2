//! What other formats and tables get of columns, and what they bring: canonical arrays, in which
//! maps are maps, JSON is text, and UUIDs are called so. In files, and in what polars-parquet
//! decodes and encodes, a map is a list of its entries.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::basic::LogicalType;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::schema::types::Type;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, Metadata};
use polars_parquet::parquet::schema::Repetition;
use polars_parquet::parquet::schema::types::{
    FieldInfo, GroupConvertedType, GroupLogicalType, PrimitiveConvertedType, PrimitiveLogicalType,
};
use polars_parquet::write::{ParquetType, schema_to_metadata_key, to_parquet_type};

use super::codec::PageCodec;
use super::footer;
use super::schema::{FileSchema, KeyValuePairs};
use super::schema_nodes::{ListElement, fields, is_map, is_repeated, list_element, logical_type};
use super::{decode, encode, key_value_metadata, root};
use crate::format::arrays::{
    self, EXTENSION_NAME, canonical_type, maps_to_lists, to_canonical, type_with_maps_as_lists,
    type_without_views,
};
use crate::format::batch::RecordBatch;
use crate::format::{Encoder, FormatError, OpenFile, PartPieces};

/// The types that parquet has and Arrow calls so.
const UUID: &str = "arrow.uuid";
const JSON: &str = "arrow.json";

/// A column as it is decoded, with its maps, and as it is given to others.
struct CanonicalColumn {
    decoded_type: ArrowDataType,
    field: Field,
}

fn canonical_columns(
    source: &OpenFile,
    metadata: &ParquetMetaData,
) -> Result<Vec<CanonicalColumn>, FormatError> {
    let decoded = decode::arrow_schema(source)?;
    let column = |(field, node): (&Field, &Arc<Type>)| {
        let decoded = type_with_maps(&field.dtype, node);
        let dtype = canonical_type(&decoded);
        let dtype = dtype.map_err(|found| FormatError::NoCanonicalType {
            path: source.path.clone(),
            column: field.name.to_string(),
            found,
        })?;
        let extension = match logical_type(node) {
            Some(LogicalType::Uuid) => Some(UUID),
            Some(LogicalType::Json) => Some(JSON),
            _ => None,
        };
        let given = Field {
            dtype,
            ..field.clone()
        };
        let given = match extension {
            Some(name) => {
                let mut said =
                    Metadata::clone(given.metadata.as_deref().unwrap_or(&Metadata::default()));
                said.insert(EXTENSION_NAME.into(), name.into());
                given.with_metadata(said)
            }
            None => given,
        };
        Ok(CanonicalColumn {
            decoded_type: decoded,
            field: given,
        })
    };
    decoded
        .iter_values()
        .zip(fields(root(metadata)))
        .map(column)
        .collect()
}

/// The columns of a file as [`decode`] gives them.
pub(super) fn arrow_schema(source: &OpenFile) -> Result<ArrowSchema, FormatError> {
    let metadata = footer::read_metadata(source)?;
    let given = canonical_columns(source, &metadata)?.into_iter();
    let mut columns: ArrowSchema = given
        .map(|column| (column.field.name.clone(), column.field))
        .collect();
    *columns.metadata_mut() = key_value_metadata::for_all_columns(&metadata);
    Ok(columns)
}

/// Decodes the pieces of a cut into canonical arrays, group by group; gives their rows.
pub(super) fn decode(
    part: &PartPieces<'_>,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), FormatError>,
) -> Result<u64, FormatError> {
    let Some(first) = part.pieces.first() else {
        return Ok(0);
    };
    let first = part.inputs.open(first.file)?;
    let columns = canonical_columns(&first, footer::read_metadata(&first)?.as_ref())?;
    let schema: ArrowSchema = columns
        .iter()
        .map(|column| (column.field.name.clone(), column.field.clone()))
        .collect();
    let schema = Arc::new(schema);
    decode::decode(part, &mut |batch| {
        let made = batch.arrays().iter().zip(&columns).map(|(array, column)| {
            if *array.dtype() == column.field.dtype {
                return Ok(array.clone());
            }
            let made = arrays::lists_to_maps(array.as_ref(), &column.decoded_type)
                .and_then(|array| to_canonical(array.as_ref(), &column.decoded_type));
            made.map_err(|error| {
                FormatError::Encode(format!("column {}: {error}", column.field.name))
            })
        });
        let arrays = made.collect::<Result<Vec<_>, _>>()?;
        each(
            RecordBatch::try_new(batch.height(), schema.clone(), arrays)
                .map_err(|error| FormatError::Encode(error.to_string()))?,
        )
    })
}

/// The type of a column in which maps, which are decoded as lists of their entries, are maps.
fn type_with_maps(dtype: &ArrowDataType, node: &Type) -> ArrowDataType {
    let ArrowDataType::LargeList(inner) = dtype else {
        return struct_with_maps(dtype, node);
    };
    if is_map(node)
        && let [entries] = fields(node)
        && let ([key, value], ArrowDataType::Struct(found)) = (fields(entries), &inner.dtype)
        && let [of_key, of_value] = found.as_slice()
    {
        let field = |field: &Field, node: &Type| Field {
            dtype: type_with_maps(&field.dtype, node),
            ..field.clone()
        };
        // Arrow's maps have no key that is null, and no entry either.
        let key = Field {
            is_nullable: false,
            ..field(of_key, key)
        };
        let entries = Field::new(
            "entries".into(),
            ArrowDataType::Struct(vec![key, field(of_value, value)]),
            false,
        );
        return ArrowDataType::Map(Box::new(entries), false);
    }
    let inner_type = match list_element(node) {
        _ if is_repeated(node) => struct_with_maps(&inner.dtype, node),
        Some(ListElement::Inside(inside)) => type_with_maps(&inner.dtype, inside),
        Some(ListElement::Repeated(repeated)) => struct_with_maps(&inner.dtype, repeated),
        None => inner.dtype.clone(),
    };
    ArrowDataType::LargeList(Box::new(Field {
        dtype: inner_type,
        ..inner.as_ref().clone()
    }))
}

/// The same for a node as if it were there once.
fn struct_with_maps(dtype: &ArrowDataType, node: &Type) -> ArrowDataType {
    match dtype {
        ArrowDataType::Struct(found) if found.len() == fields(node).len() => {
            let field = |(field, node): (&Field, &Arc<Type>)| Field {
                dtype: type_with_maps(&field.dtype, node),
                ..field.clone()
            };
            ArrowDataType::Struct(found.iter().zip(fields(node)).map(field).collect())
        }
        other => other.clone(),
    }
}

fn error_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Begins a file with columns that come from no file of parquet.
///
/// # Errors
/// A column that parquet has no type for.
pub(super) fn begin<'w>(
    columns: &ArrowSchema,
    codec: &PageCodec,
    out: Box<dyn Write + Send + 'w>,
) -> Result<Box<dyn Encoder + 'w>, FormatError> {
    let (mut arrow, mut types, mut stored) = (ArrowSchema::default(), Vec::new(), Vec::new());
    for field in columns.iter_values() {
        let no_type = |found: String| FormatError::UnsupportedType {
            column: field.name.to_string(),
            found,
            format: "parquet",
        };
        let field = Field {
            dtype: canonical_type(&field.dtype).map_err(no_type)?,
            ..field.clone()
        };
        if let Some(found) = unsupported_type(&field.dtype, false) {
            return Err(no_type(found));
        }
        stored.push(parquet_type(&field).map_err(no_type)?);
        let field = Field {
            dtype: type_with_maps_as_lists(&field.dtype),
            ..field
        };
        types.push(parquet_type(&field).map_err(no_type)?);
        arrow.insert(field.name.clone(), field);
    }
    let arrow = Arc::new(arrow);
    let schema = FileSchema::from_columns(
        arrow.clone(),
        types,
        &stored,
        arrow_metadata_pairs(columns)?,
    )?;
    Ok(Box::new(CanonicalEncoder {
        arrow,
        encoder: encode::begin(schema, PathBuf::from("the columns of the home"), codec, out)?,
    }))
}

/// Durations are numbers in parquet, and instants have no name of a zone. That they are more, and
/// what is said of a column, is noted beside the columns, as all who know Arrow do.
fn arrow_metadata_pairs(columns: &ArrowSchema) -> Result<KeyValuePairs, FormatError> {
    let mut pairs: KeyValuePairs = columns
        .metadata()
        .iter()
        .map(|(key, value)| (key.to_string(), Some(value.to_string())))
        .collect();
    if !columns
        .iter_values()
        .any(|field| needs_arrow_metadata(&field.dtype) || has_own_metadata(field))
    {
        return Ok(pairs);
    }
    let noted = |field: &Field| {
        let dtype = canonical_type(&field.dtype).map_err(FormatError::Encode)?;
        Ok((
            field.name.clone(),
            Field {
                dtype: type_without_views(&dtype),
                ..field.clone()
            },
        ))
    };
    let mut noted: ArrowSchema = columns
        .iter_values()
        .map(noted)
        .collect::<Result<_, FormatError>>()?;
    *noted.metadata_mut() = columns.metadata().clone();
    let pair = schema_to_metadata_key(&noted);
    pairs.push((pair.key, pair.value));
    Ok(pairs)
}

/// Whether more is said of a column than which type of parquet's it has.
fn has_own_metadata(field: &Field) -> bool {
    field
        .metadata
        .iter()
        .flat_map(|said| said.keys())
        .any(|key| *key != EXTENSION_NAME)
}

fn needs_arrow_metadata(dtype: &ArrowDataType) -> bool {
    match dtype {
        ArrowDataType::Duration(_) => true,
        ArrowDataType::Timestamp(_, Some(zone)) => zone != "UTC",
        ArrowDataType::Struct(fields) => fields
            .iter()
            .any(|field| needs_arrow_metadata(&field.dtype)),
        ArrowDataType::List(inner)
        | ArrowDataType::LargeList(inner)
        | ArrowDataType::FixedSizeList(inner, _) => needs_arrow_metadata(&inner.dtype),
        ArrowDataType::Map(inner, _) => needs_arrow_metadata(&inner.dtype),
        _ => false,
    }
}

/// Why parquet has no type for the values of a column, in words.
fn unsupported_type(dtype: &ArrowDataType, is_inside: bool) -> Option<String> {
    use ArrowDataType as T;
    match dtype {
        T::Struct(fields) if fields.is_empty() => Some("a group without fields".into()),
        // polars writes bytes of other lengths by arrays that it does not take out of lists and
        // groups.
        T::FixedSizeBinary(width) if is_inside && ![2, 16].contains(width) => Some(format!(
            "{width} bytes of fixed length in a list or a group"
        )),
        T::FixedSizeBinary(0) => Some("bytes of no length".into()),
        T::Struct(fields) => fields
            .iter()
            .find_map(|field| unsupported_type(&field.dtype, true)),
        T::LargeList(inner) | T::Map(inner, _) => unsupported_type(&inner.dtype, true),
        _ => None,
    }
}

fn has_maps(dtype: &ArrowDataType) -> bool {
    type_with_maps_as_lists(dtype) != *dtype
}

/// The type of a field in a file.
fn parquet_type(field: &Field) -> Result<ParquetType, String> {
    let repetition = if field.is_nullable {
        Repetition::Optional
    } else {
        Repetition::Required
    };
    let group = |name: &str,
                 repetition,
                 kinds: (Option<GroupLogicalType>, Option<GroupConvertedType>),
                 fields| ParquetType::GroupType {
        field_info: FieldInfo {
            name: name.into(),
            repetition,
            id: None,
        },
        logical_type: kinds.0,
        converted_type: kinds.1,
        fields,
    };
    match &field.dtype {
        ArrowDataType::Map(entries, _) => {
            let ArrowDataType::Struct(fields) = &entries.dtype else {
                return Err("a map without entries".into());
            };
            let fields = fields.iter().zip(["key", "value"]).map(|(field, name)| {
                let is_nullable = field.is_nullable && name != "key";
                parquet_type(&Field {
                    name: name.into(),
                    is_nullable,
                    ..field.clone()
                })
            });
            let entries = group(
                "key_value",
                Repetition::Repeated,
                (None, None),
                fields.collect::<Result<_, _>>()?,
            );
            let kinds = (Some(GroupLogicalType::Map), Some(GroupConvertedType::Map));
            Ok(group(&field.name, repetition, kinds, vec![entries]))
        }
        ArrowDataType::LargeList(inner) if has_maps(&inner.dtype) => {
            let element = parquet_type(&Field {
                name: "element".into(),
                ..inner.as_ref().clone()
            })?;
            let kinds = (Some(GroupLogicalType::List), Some(GroupConvertedType::List));
            Ok(group(
                &field.name,
                repetition,
                kinds,
                vec![group(
                    "list",
                    Repetition::Repeated,
                    (None, None),
                    vec![element],
                )],
            ))
        }
        ArrowDataType::Struct(fields) if has_maps(&field.dtype) => Ok(group(
            &field.name,
            repetition,
            (None, None),
            fields.iter().map(parquet_type).collect::<Result<_, _>>()?,
        )),
        _ => {
            let mut made = to_parquet_type(field).map_err(error_text)?;
            let extension = field
                .metadata
                .as_ref()
                .and_then(|said| said.get(EXTENSION_NAME));
            if let (ParquetType::PrimitiveType(made), Some(extension)) = (&mut made, extension) {
                match (extension.as_str(), &field.dtype) {
                    (UUID, ArrowDataType::FixedSizeBinary(16)) => {
                        made.logical_type = Some(PrimitiveLogicalType::Uuid)
                    }
                    (JSON, ArrowDataType::Utf8View) => {
                        (made.logical_type, made.converted_type) = (
                            Some(PrimitiveLogicalType::Json),
                            Some(PrimitiveConvertedType::Json),
                        );
                    }
                    _ => {}
                }
            }
            Ok(made)
        }
    }
}

/// Writes canonical arrays.
struct CanonicalEncoder<'w> {
    /// The columns as they are encoded.
    arrow: Arc<ArrowSchema>,
    encoder: Box<dyn Encoder + 'w>,
}

impl Encoder for CanonicalEncoder<'_> {
    fn write(&mut self, batch: RecordBatch) -> Result<(), FormatError> {
        let height = batch.height();
        let arrays = batch
            .into_arrays()
            .into_iter()
            .zip(self.arrow.iter_values())
            .map(|(array, field)| {
                if *array.dtype() == field.dtype {
                    return Ok(array);
                }
                let made = to_canonical(array.as_ref(), array.dtype())
                    .and_then(|array| maps_to_lists(array.as_ref(), &field.dtype));
                made.map_err(|error| FormatError::Encode(format!("column {}: {error}", field.name)))
            });
        let arrays = arrays.collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(height, self.arrow.clone(), arrays);
        self.encoder
            .write(batch.map_err(|error| FormatError::Encode(error.to_string()))?)
    }

    fn finish(self: Box<Self>) -> Result<u64, FormatError> {
        self.encoder.finish()
    }
}
