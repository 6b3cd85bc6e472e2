//! A shape for rows of certain columns: which come out of it, and what each is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::fmt::strtime;
use polars_arrow::array::{
    Array, BooleanArray, MutableBinaryViewArray, PrimitiveArray, Utf8ViewArray,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use sha2::{Digest, Sha256};

use super::bind::bind_condition;
use super::cast::{cast, check_castable, text_of};
use super::error::{RowError, ShapeError};
use super::evaluate::{repeat, true_rows};
use super::filter::{chosen_row, filter_array};
use super::names::in_case;
use super::skip::is_never_true;
use super::template;
use super::typed::TypedNode;
use super::{AddedColumn, AddedValue, ColumnChoice, HashId, Shape};
use crate::config::schema::Casing;
use crate::format::ColumnBounds;
use crate::format::batch::RecordBatch;
use crate::format::widening::with_remarks_of;

/// A shape for rows of certain columns.
#[derive(Debug)]
pub struct BoundShape {
    filter: Option<TypedNode>,
    columns: Vec<ShapedColumn>,
    schema: ArrowSchema,
}

/// A column that comes out.
#[derive(Debug)]
struct ShapedColumn {
    source: ColumnSource,
    field: Field,
}

#[derive(Debug)]
enum ColumnSource {
    /// A column of the home, as another type where that is not its own.
    Own { name: String, is_cast: bool },
    /// One value, the same in every row.
    Constant(Box<dyn Array>),
    /// The digest of columns.
    HashId(Vec<HashedColumn>),
}

/// A column that is part of a digest, as the type that it is cast to.
#[derive(Debug)]
struct HashedColumn {
    name: String,
    dtype: ArrowDataType,
}

/// Rows that a shape lets through.
#[derive(Debug)]
pub struct ShapedRows {
    /// The rows.
    pub rows: RecordBatch,
    /// How many it did not let through.
    pub filtered: u64,
    /// Which it let through, where it did not all.
    chosen: Option<Bitmap>,
}

impl ShapedRows {
    /// Rows of which all came through.
    pub fn all(rows: RecordBatch) -> Self {
        Self {
            rows,
            filtered: 0,
            chosen: None,
        }
    }

    /// An error in one of the rows, by the row that it was before.
    pub fn error_before(&self, error: RowError) -> RowError {
        let before = |row: usize| match &self.chosen {
            None => Some(row),
            Some(chosen) => chosen_row(chosen, row),
        };
        RowError {
            row: error.row.and_then(before),
            ..error
        }
    }
}

impl BoundShape {
    /// The shape for rows of these columns, of a file with these values.
    pub(super) fn new(
        shape: &Shape,
        home: &ArrowSchema,
        file: &BTreeMap<String, String>,
    ) -> Result<Self, ShapeError> {
        let filter = shape.filter.as_ref();
        let filter = filter
            .map(|filter| bind_condition(&filter.root, home))
            .transpose()?;
        let types = cast_types(shape, home)?;
        let mut columns = own_columns(shape, home, &types)?;
        for added in &shape.added {
            columns.push(added_column(added, file, shape.run_time)?);
        }
        for hash in shape.all_hash_ids() {
            columns.push(hashed_column(hash, home, &types)?);
        }
        if let Some(polish) = &shape.polish {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let names = polish.names.apply_all(&names).into_iter();
            columns = names
                .zip(columns)
                .map(|(name, (_, column))| (name, column))
                .collect();
            for added in &polish.added {
                columns.push(added_column(added, file, shape.run_time)?);
            }
        }
        let columns = with_distinct_names(shape, columns)?;
        let fields = columns.iter().map(|column| column.field.clone());
        let mut schema: ArrowSchema = fields.map(|field| (field.name.clone(), field)).collect();
        *schema.metadata_mut() = home.metadata().clone();
        Ok(Self {
            filter,
            columns,
            schema,
        })
    }

    /// The columns that come out.
    pub fn schema(&self) -> &ArrowSchema {
        &self.schema
    }

    /// True where no row within these bounds comes out.
    pub fn leaves_out(&self, bounds: &ColumnBounds) -> bool {
        self.filter
            .as_ref()
            .is_some_and(|filter| is_never_true(filter, bounds))
    }

    /// Makes rows of the home's.
    ///
    /// # Errors
    /// The first row that has no value.
    pub fn apply(&self, batch: &RecordBatch) -> Result<ShapedRows, RowError> {
        let chosen = match &self.filter {
            None => None,
            Some(filter) => Some(true_rows(filter, batch)?),
        };
        let height = chosen
            .as_ref()
            .map_or(batch.height(), |chosen| chosen.set_bits());
        // The row of the batch that a row of what is left was.
        let row_before = |row: usize| match &chosen {
            None => Some(row),
            Some(chosen) => chosen_row(chosen, row),
        };
        let own = |name: &str| {
            let place = batch.schema().index_of(name);
            let array = place.map(|place| &batch.arrays()[place]);
            let array = array.ok_or_else(|| RowError::new(None, format!("no column {name}")))?;
            match &chosen {
                None => Ok::<_, RowError>(array.clone()),
                Some(chosen) => filter_array(array.as_ref(), chosen),
            }
        };
        let as_type = |name: &str, dtype: &ArrowDataType| {
            cast(own(name)?.as_ref(), dtype).map_err(|misfit| {
                let message = format!("column {name}: {}", misfit.describe(dtype));
                RowError::new(row_before(misfit.row), message).of_key("cast")
            })
        };
        let made = self.columns.iter().map(|column| match &column.source {
            ColumnSource::Own {
                name,
                is_cast: true,
            } => as_type(name, &column.field.dtype),
            ColumnSource::Own { name, .. } => own(name),
            ColumnSource::Constant(array) => Ok(repeat(array.as_ref(), height)),
            ColumnSource::HashId(of) => {
                let is_binary = column.field.dtype == ArrowDataType::BinaryView;
                let arrays = of.iter().map(|column| as_type(&column.name, &column.dtype));
                let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
                hashed(&arrays, height, is_binary).map_err(|(row, column)| {
                    let name = &of[column].name;
                    let message = format!("column {name} has a value without a text");
                    RowError::new(row_before(row), message).of_key("hash_id")
                })
            }
        });
        let arrays = made.collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatch::try_new(height, self.schema.clone().into(), arrays)
            .map_err(|error| RowError::new(None, error.to_string()))?;
        let filtered = (batch.height() - height) as u64;
        Ok(ShapedRows {
            rows,
            filtered,
            chosen,
        })
    }
}

/// A column that is not read, though it is asked for.
fn missing(name: &str) -> ShapeError {
    ShapeError::new(format!("its home has no column {name}")).of_key("columns")
}

/// The types that columns are cast to.
fn cast_types<'s>(
    shape: &'s Shape,
    home: &ArrowSchema,
) -> Result<BTreeMap<&'s str, ArrowDataType>, ShapeError> {
    let mut types = BTreeMap::new();
    for (name, kind) in &shape.casts {
        // What is left out need not be read.
        let Some(field) = home.get(name.as_str()) else {
            continue;
        };
        let dtype = kind.to_arrow();
        check_castable(&field.dtype, &dtype).map_err(|message| {
            ShapeError::new(format!("column {name}: {message}")).of_key("cast")
        })?;
        types.insert(name.as_str(), dtype);
    }
    Ok(types)
}

/// The home's columns that come out, with their new names.
fn own_columns(
    shape: &Shape,
    home: &ArrowSchema,
    types: &BTreeMap<&str, ArrowDataType>,
) -> Result<Vec<(String, ShapedColumn)>, ShapeError> {
    let all = || home.iter_names().map(|name| name.as_str());
    let chosen: Vec<&str> = match &shape.columns {
        None => all().collect(),
        Some(ColumnChoice::Only(names)) => names.iter().map(String::as_str).collect(),
        Some(ColumnChoice::Except(names)) => all()
            .filter(|name| !names.iter().any(|other| other == name))
            .collect(),
    };
    if let Some(name) = shape
        .renames
        .keys()
        .find(|name| !chosen.contains(&name.as_str()))
    {
        let message = format!("column {name} is left out by columns");
        return Err(ShapeError::new(message).of_key("rename"));
    }
    let column = |name: &str| {
        let field = home.get(name).ok_or_else(|| missing(name))?.clone();
        let to = types.get(name).filter(|to| **to != field.dtype);
        let renamed = shape.renames.get(name).cloned();
        let (is_cast, field) = match to {
            None => (false, field),
            Some(to) => {
                let plain = Field::new(field.name.clone(), to.clone(), field.is_nullable);
                (true, with_remarks_of(&plain, &field))
            }
        };
        let source = ColumnSource::Own {
            name: name.to_string(),
            is_cast,
        };
        let name = renamed.unwrap_or_else(|| name.to_string());
        Ok((name, ShapedColumn { source, field }))
    };
    chosen.into_iter().map(column).collect()
}

/// The columns by the names that they come out with, of which no two are the same.
fn with_distinct_names(
    shape: &Shape,
    columns: Vec<(String, ShapedColumn)>,
) -> Result<Vec<ShapedColumn>, ShapeError> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut named = Vec::with_capacity(columns.len());
    for (written, mut column) in columns {
        let name = match shape.case {
            Some(case) => in_case(case, &written),
            None => written.clone(),
        };
        let name = match shape.casing {
            Casing::Keep => name,
            Casing::Lower => name.to_lowercase(),
            Casing::Upper => name.to_uppercase(),
        };
        let (key, owner) = match &column.source {
            ColumnSource::Own { name, .. } => ("rename", format!("column {name}")),
            ColumnSource::Constant(_) => ("add", format!("the added column {written}")),
            ColumnSource::HashId(_) => ("hash_id", format!("the digest {written}")),
        };
        if let Some(first) = owners.insert(name.clone(), owner.clone()) {
            let message = format!("{first} and {owner} are both called {name}");
            let error = ShapeError::new(message).of_key(key);
            return Err(error.with_hint("rename one of them, or leave it out by columns"));
        }
        column.field.name = name.as_str().into();
        named.push(column);
    }
    if named.is_empty() {
        let message = "no column is left";
        return Err(ShapeError::new(message).of_key("columns"));
    }
    Ok(named)
}

/// A column that holds one value, by its name.
fn added_column(
    added: &AddedColumn,
    file: &BTreeMap<String, String>,
    run_time: Option<i64>,
) -> Result<(String, ShapedColumn), ShapeError> {
    let array = added_value(&added.value, file, run_time)?;
    let field = Field::new(added.name.as_str().into(), array.dtype().clone(), false);
    let source = ColumnSource::Constant(array);
    Ok((added.name.clone(), ShapedColumn { source, field }))
}

/// A column that holds the digest of others, by its name.
fn hashed_column(
    hash: &HashId,
    home: &ArrowSchema,
    types: &BTreeMap<&str, ArrowDataType>,
) -> Result<(String, ShapedColumn), ShapeError> {
    let of = hash.of.iter().map(|name| {
        let field = home.get(name.as_str()).ok_or_else(|| missing(name))?;
        let dtype = types.get(name.as_str()).unwrap_or(&field.dtype).clone();
        check_castable(&dtype, &ArrowDataType::Utf8View).map_err(|message| {
            ShapeError::new(format!("column {name}: {message}")).of_key("hash_id")
        })?;
        // What is null in every row is null as a text too.
        let is_nothing = dtype == ArrowDataType::Null;
        Ok(HashedColumn {
            name: name.clone(),
            dtype: if is_nothing {
                ArrowDataType::Utf8View
            } else {
                dtype
            },
        })
    });
    let of = of.collect::<Result<_, ShapeError>>()?;
    let dtype = if hash.is_binary {
        ArrowDataType::BinaryView
    } else {
        ArrowDataType::Utf8View
    };
    let field = Field::new(hash.name.as_str().into(), dtype, false);
    let source = ColumnSource::HashId(of);
    Ok((hash.name.clone(), ShapedColumn { source, field }))
}

/// One value of an added column.
fn added_value(
    value: &AddedValue,
    file: &BTreeMap<String, String>,
    run_time: Option<i64>,
) -> Result<Box<dyn Array>, ShapeError> {
    let run_time = run_time.unwrap_or_default();
    Ok(match value {
        AddedValue::Boolean(value) => BooleanArray::from_slice([*value]).boxed(),
        AddedValue::Integer(value) => PrimitiveArray::from_vec(vec![*value]).boxed(),
        AddedValue::Float(value) => PrimitiveArray::from_vec(vec![*value]).boxed(),
        AddedValue::RunTime => {
            let dtype = ArrowDataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            PrimitiveArray::new(dtype, vec![run_time].into(), None).boxed()
        }
        AddedValue::RunTimeText(format) => {
            let moment = Timestamp::from_microsecond(run_time).unwrap_or_default();
            let text = strtime::format(format, moment).map_err(|error| {
                ShapeError::new(format!("the format {format:?}: {error}")).of_key("polish")
            })?;
            Utf8ViewArray::from_slice([Some(text.as_str())]).boxed()
        }
        AddedValue::Text(text) => {
            let rendered = template::render(text, &mut |name| {
                if name == template::RUN_TIME {
                    let moment = Timestamp::from_microsecond(run_time);
                    return Ok(moment.map_or_else(|_| String::new(), |moment| moment.to_string()));
                }
                let value = file.get(name).cloned();
                value.ok_or_else(|| format!("{{{name}}} is of a file, and its home has none"))
            });
            let rendered = rendered.map_err(|message| ShapeError::new(message).of_key("add"))?;
            Utf8ViewArray::from_slice([Some(rendered.as_str())]).boxed()
        }
    })
}

/// SHA-256, in hexadecimal digits or as it is, of the values of each row as texts: each behind its
/// length in bytes and a colon, null as a minus. Fails with the row and the column of a value
/// without a text.
fn hashed(
    arrays: &[Box<dyn Array>],
    rows: usize,
    is_binary: bool,
) -> Result<Box<dyn Array>, (usize, usize)> {
    let digest_of = |row: usize| -> Result<[u8; 32], (usize, usize)> {
        let mut digest = Sha256::new();
        for (column, array) in arrays.iter().enumerate() {
            if array.is_null(row) {
                digest.update(b"-");
                continue;
            }
            let text = text_of(array.as_ref(), row).ok_or((row, column))?;
            digest.update(format!("{}:", text.len()).as_bytes());
            digest.update(text.as_bytes());
        }
        Ok(digest.finalize().into())
    };
    if is_binary {
        let mut made = MutableBinaryViewArray::<[u8]>::with_capacity(rows);
        for row in 0..rows {
            made.push_value(digest_of(row)?);
        }
        return Ok(made.freeze().boxed());
    }
    let mut made = MutableBinaryViewArray::<str>::with_capacity(rows);
    let mut digits = String::new();
    for row in 0..rows {
        digits.clear();
        for byte in digest_of(row)? {
            for half in [byte >> 4, byte & 15] {
                digits.extend(char::from_digit(half.into(), 16));
            }
        }
        made.push_value(digits.as_str());
    }
    Ok(made.freeze().boxed())
}
