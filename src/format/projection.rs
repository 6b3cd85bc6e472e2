//! Projections: the columns of a file as its flow has them, where they are not the file's own. They
//! are taken by their names, widened, or hold one value in every row that stands in no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use polars_arrow::array::{
    Array, BooleanArray, MutableBinaryViewArray, PrimitiveArray, new_null_array,
};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, Metadata};
use polars_arrow::types::NativeType;
use serde::{Deserialize, Serialize};

use super::batch::RecordBatch;
use super::canonical_schema::{field_from_text, field_to_text, type_name, write_field};
use super::widening::{WideningError, widen, with_remarks_of};
use super::{ColumnBounds, FormatError};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::shape::{BoundShape, RowError, Shape, ShapedRows};

/// The columns that a file has for its flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The columns in order: the same for all files that have the same themselves.
    columns: Arc<[ProjectedColumn]>,
    /// What decides them.
    columns_digest: Fingerprint,
    /// The values of constants that are not null, by their columns: they are the file's own.
    values: BTreeMap<String, String>,
    /// What becomes of rows of these columns then, where something does.
    shape: Option<Arc<Shape>>,
    /// What that takes of the file.
    file_values: BTreeMap<String, String>,
}

/// One of the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectedColumn {
    /// Its name.
    pub name: String,
    /// Where its values come from.
    pub source: ColumnSource,
}

/// Notes of files that name their columns.
const NAMES_COLUMNS: [&str; 2] = ["pandas", "geo"];

/// Where other columns are made of those of a file, what names them would be of others, or of none.
pub fn forget_names_of_columns(metadata: &mut Metadata) {
    metadata.retain(|key, _| !NAMES_COLUMNS.contains(&key.as_str()));
}

/// Where the values of a column come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnSource {
    /// The file's column of that name, as it is.
    Column,
    /// The file's column of that name, as a type that holds its values exactly.
    Widened(#[serde(with = "field_text")] Field),
    /// One value in every row, which is the file's: null where it has none. How it is written is as
    /// in names of folders.
    Constant(#[serde(with = "field_text")] Field),
}

impl Projection {
    /// Columns, all of whose constants are null.
    pub fn new(columns: Vec<ProjectedColumn>) -> Self {
        let mut writer = KeyWriter::new(KeyKind::Schema);
        writer.text("projection").count(columns.len());
        for ProjectedColumn { name, source } in &columns {
            writer.text(name);
            match source {
                ColumnSource::Column => {
                    writer.text("column");
                }
                ColumnSource::Widened(field) => write_field(field, writer.text("widened")),
                ColumnSource::Constant(field) => write_field(field, writer.text("constant")),
            }
        }
        Self {
            columns: columns.into(),
            columns_digest: writer.finish(),
            values: BTreeMap::new(),
            shape: None,
            file_values: BTreeMap::new(),
        }
    }

    /// All columns of a file, as they are.
    pub fn of_own_columns(names: &[String]) -> Self {
        let column = |name: &String| ProjectedColumn {
            name: name.clone(),
            source: ColumnSource::Column,
        };
        Self::new(names.iter().map(column).collect())
    }

    /// The same with what becomes of rows of these columns, and what that takes of the file.
    pub fn with_shape(&self, shape: &Arc<Shape>, file_values: BTreeMap<String, String>) -> Self {
        Self {
            shape: Some(shape.clone()),
            file_values,
            ..self.clone()
        }
    }

    /// Which columns of a file that has these are read for it; `None` for all of them.
    pub(super) fn wanted(&self, names: &[String]) -> Option<Arc<BTreeSet<String>>> {
        self.shape.as_ref()?;
        let columns = self.read_columns().into_iter();
        let own = columns.filter(|column| !matches!(column.source, ColumnSource::Constant(_)));
        let read: BTreeSet<String> = own.map(|column| column.name.clone()).collect();
        let is_all = names.iter().all(|name| read.contains(name));
        (!is_all).then(|| Arc::new(read))
    }

    /// The columns that come to the shape, or come as they are.
    fn read_columns(&self) -> Vec<&ProjectedColumn> {
        let wanted = self.shape.as_ref().map(|shape| shape.wanted());
        let is_wanted = |column: &&ProjectedColumn| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.has(&column.name))
        };
        self.columns.iter().filter(is_wanted).collect()
    }

    /// True where rows may be left out.
    pub fn filters(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.filters())
    }

    /// The same columns with these values of constants.
    pub fn with_values(&self, values: BTreeMap<String, String>) -> Self {
        Self {
            values,
            ..self.clone()
        }
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[ProjectedColumn] {
        &self.columns
    }

    /// What decides the values that it makes of a file's, but for the shape: that is in the recipe.
    pub fn digest(&self) -> Fingerprint {
        let mut writer = KeyWriter::new(KeyKind::Schema);
        writer.text("projected").digest(&self.columns_digest);
        writer.map(&self.values);
        if !self.file_values.is_empty() {
            writer.text("of the file").map(&self.file_values);
        }
        writer.finish()
    }

    /// The columns that it makes of those of a file.
    ///
    /// # Errors
    /// The file lacks one of them, or they do not fit the shape.
    pub fn schema(&self, file: &ArrowSchema) -> Result<ArrowSchema, FormatError> {
        let columns = self.home_schema(file)?;
        Ok(match self.bind_shape(&columns)? {
            Some(shape) => shape.schema().clone(),
            None => columns,
        })
    }

    fn bind_shape(&self, columns: &ArrowSchema) -> Result<Option<BoundShape>, FormatError> {
        let shape = self.shape.as_ref();
        let bound = shape.map(|shape| shape.bind(columns, &self.file_values));
        Ok(bound.transpose()?)
    }

    /// The columns that a file has for its flow, before anything becomes of them.
    fn home_schema(&self, file: &ArrowSchema) -> Result<ArrowSchema, FormatError> {
        let mut columns = ArrowSchema::default();
        for column in self.read_columns() {
            let field = match &column.source {
                ColumnSource::Column => file.get(column.name.as_str()).cloned(),
                ColumnSource::Widened(field) => file
                    .get(column.name.as_str())
                    .map(|own| with_remarks_of(field, own)),
                ColumnSource::Constant(field) => Some(field.clone()),
            };
            let field = field.ok_or_else(|| missing_column(&column.name))?;
            columns.insert(column.name.as_str().into(), field);
        }
        *columns.metadata_mut() = self.metadata_of(file.metadata().clone());
        Ok(columns)
    }

    /// What a file says of its columns, as far as it is true of those that are made of them.
    pub(super) fn metadata_of(&self, mut metadata: Metadata) -> Metadata {
        if self.shape.is_some() {
            forget_names_of_columns(&mut metadata);
        }
        metadata
    }

    /// Makes rows of those of a file, which has these columns.
    ///
    /// # Errors
    /// The file lacks a column, or its columns do not fit the shape.
    pub(super) fn rows<'p>(
        &'p self,
        file: &ArrowSchema,
        path: &'p Path,
        first_row: u64,
    ) -> Result<ProjectedRows<'p>, FormatError> {
        let schema = self.home_schema(file)?;
        Ok(ProjectedRows {
            projection: self,
            columns: self.read_columns(),
            shape: self.bind_shape(&schema)?,
            schema: Arc::new(schema),
            path,
            next_row: first_row,
        })
    }
}

/// Rows that came out of those of a file.
pub struct PlacedRows<'p> {
    /// The rows.
    pub shaped: ShapedRows,
    path: &'p Path,
    first_row: u64,
}

impl PlacedRows<'_> {
    /// The error of one of them, by its row of the file.
    pub fn error(&self, error: RowError) -> FormatError {
        let error = self.shaped.error_before(error);
        FormatError::of_row(error, self.path.display().to_string(), self.first_row)
    }
}

/// Rows of a file on their way, one batch after another.
pub(super) struct ProjectedRows<'p> {
    projection: &'p Projection,
    /// Those of its columns that are read, and what they are.
    columns: Vec<&'p ProjectedColumn>,
    schema: Arc<ArrowSchema>,
    shape: Option<BoundShape>,
    path: &'p Path,
    next_row: u64,
}

impl<'p> ProjectedRows<'p> {
    /// The columns that decide which rows come; none where all do.
    pub(super) fn filter_columns(&self) -> BTreeSet<String> {
        let shape = self.projection.shape.as_ref();
        shape.map_or_else(BTreeSet::new, |shape| shape.filter_columns())
    }

    /// The next rows are passed over.
    pub(super) fn skip(&mut self, rows: u64) {
        self.next_row += rows;
    }

    /// True where no row comes whose columns in the file are within these bounds.
    pub(super) fn leaves_out(&self, bounds: &ColumnBounds) -> bool {
        let mut of_home = ColumnBounds::new();
        for ProjectedColumn { name, source } in self.projection.columns() {
            let own = || bounds.get(name).cloned();
            let found = match source {
                ColumnSource::Column => own(),
                ColumnSource::Widened(field) => own().and_then(|(smallest, largest)| {
                    let wide = |array: &dyn Array| widen(array, &field.dtype).ok();
                    Some((wide(smallest.as_ref())?, wide(largest.as_ref())?))
                }),
                ColumnSource::Constant(field) => {
                    let value = self.projection.values.get(name);
                    let array = constant_array(&field.dtype, value.map(String::as_str), 1);
                    array.map(|array| (array.clone(), array))
                }
            };
            of_home.extend(found.map(|found| (name.clone(), found)));
        }
        let shape = self.shape.as_ref();
        shape.is_some_and(|shape| shape.leaves_out(&of_home))
    }

    /// What becomes of the next rows.
    ///
    /// # Errors
    /// A row that has no value, by its number.
    pub(super) fn next(&mut self, batch: &RecordBatch) -> Result<PlacedRows<'p>, FormatError> {
        let (path, first_row) = (self.path, self.next_row);
        self.next_row += batch.height() as u64;
        let rows = self.home_columns(batch, first_row)?;
        let shaped = match &self.shape {
            None => ShapedRows::all(rows),
            Some(shape) => shape.apply(&rows).map_err(|error| {
                FormatError::of_row(error, path.display().to_string(), first_row)
            })?,
        };
        Ok(PlacedRows {
            shaped,
            path,
            first_row,
        })
    }

    /// The home's columns of rows of the file, of which the first is its row `first_row`.
    ///
    /// # Errors
    /// A value has no place in the wider type.
    fn home_columns(
        &self,
        batch: &RecordBatch,
        first_row: u64,
    ) -> Result<RecordBatch, FormatError> {
        let path = self.path;
        let column = |column: &ProjectedColumn| {
            let own = || {
                let place = batch.schema().index_of(column.name.as_str());
                let place = place.ok_or_else(|| missing_column(&column.name))?;
                Ok::<_, FormatError>(&batch.arrays()[place])
            };
            match &column.source {
                ColumnSource::Column => own().cloned(),
                ColumnSource::Widened(field) => {
                    let wide = widen(own()?.as_ref(), &field.dtype);
                    wide.map_err(|error| match error {
                        WideningError::Misfit(misfit) => FormatError::Misfit {
                            path: path.to_path_buf(),
                            column: column.name.clone(),
                            row: first_row + misfit.row as u64 + 1,
                            value: misfit.value,
                            wanted: type_name(&field.dtype),
                        },
                        WideningError::Type(error) => FormatError::Encode(format!(
                            "{}: column {}: {error}",
                            path.display(),
                            column.name
                        )),
                    })
                }
                ColumnSource::Constant(field) => {
                    let value = self.projection.values.get(&column.name).map(String::as_str);
                    let array = constant_array(&field.dtype, value, batch.height());
                    array.ok_or_else(|| {
                        let (value, wanted) = (value.unwrap_or_default(), type_name(&field.dtype));
                        FormatError::Encode(format!(
                            "{}: column {}: {value:?} is no {wanted}",
                            path.display(),
                            column.name
                        ))
                    })
                }
            }
        };
        let columns = self.columns.iter().copied();
        let arrays = columns.map(column).collect::<Result<_, _>>()?;
        RecordBatch::try_new(batch.height(), self.schema.clone(), arrays)
            .map_err(|error| FormatError::Encode(error.to_string()))
    }
}

fn missing_column(name: &str) -> FormatError {
    FormatError::Encode(format!("its file has no column {name}"))
}

/// True where a text can be a constant of this type.
pub fn is_constant_of(dtype: &ArrowDataType, value: &str) -> bool {
    constant_array(dtype, Some(value), 1).is_some()
}

/// The one way to write a constant of a type which may be written in several: `01` is `1` as a
/// number, and `True` is `true`.
pub fn plain_constant(dtype: &ArrowDataType, text: String) -> String {
    match dtype {
        ArrowDataType::Utf8View | ArrowDataType::Date32 => text,
        ArrowDataType::Boolean => text.to_lowercase(),
        _ => whole_number::<i128>(&text).map_or(text, |number| number.to_string()),
    }
}

/// The array of a value in so many rows; `None` where the text is none of the type.
pub(crate) fn constant_array(
    dtype: &ArrowDataType,
    value: Option<&str>,
    rows: usize,
) -> Option<Box<dyn Array>> {
    use ArrowDataType as T;
    let Some(text) = value else {
        return Some(new_null_array(dtype.clone(), rows));
    };
    Some(match dtype {
        T::Boolean => {
            let value = match text {
                "true" | "True" => true,
                "false" | "False" => false,
                _ => return None,
            };
            BooleanArray::from_slice(vec![value; rows]).boxed()
        }
        T::Int8 => repeated::<i8>(whole_number(text)?, dtype, rows),
        T::Int16 => repeated::<i16>(whole_number(text)?, dtype, rows),
        T::Int32 => repeated::<i32>(whole_number(text)?, dtype, rows),
        T::Int64 => repeated::<i64>(whole_number(text)?, dtype, rows),
        T::UInt8 => repeated::<u8>(whole_number(text)?, dtype, rows),
        T::UInt16 => repeated::<u16>(whole_number(text)?, dtype, rows),
        T::UInt32 => repeated::<u32>(whole_number(text)?, dtype, rows),
        T::UInt64 => repeated::<u64>(whole_number(text)?, dtype, rows),
        T::Date32 => repeated::<i32>(days_since_1970(text)?, dtype, rows),
        T::Utf8View => {
            // A long text is stored once.
            let mut texts = MutableBinaryViewArray::<str>::with_capacity(rows);
            texts.extend_constant(rows, Some(text));
            texts.freeze().boxed()
        }
        _ => return None,
    })
}

fn repeated<T: NativeType>(value: T, dtype: &ArrowDataType, rows: usize) -> Box<dyn Array> {
    PrimitiveArray::new(dtype.clone(), vec![value; rows].into(), None).boxed()
}

/// A whole number as names of folders have it: digits, behind a minus where it is negative.
fn whole_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|letter| letter.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// A day as `2026-01-31`.
fn days_since_1970(text: &str) -> Option<i32> {
    let mut numbers = text.split('-');
    let mut next = |width: usize| {
        let digits = numbers.next()?;
        let is_plain =
            digits.len() == width && digits.bytes().all(|letter| letter.is_ascii_digit());
        is_plain.then(|| digits.parse::<i16>().ok()).flatten()
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if numbers.next().is_some() || year == 0 {
        return None;
    }
    let day = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let days = day.since(Date::constant(1970, 1, 1)).ok()?.get_days();
    Some(days)
}

/// Fields as texts, by the messages that Arrow has for schemas.
mod field_text {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(field: &Field, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&field_to_text(field))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Field, D::Error> {
        let text = String::deserialize(from)?;
        field_from_text(&text).ok_or_else(|| D::Error::custom("no field of Arrow"))
    }
}
