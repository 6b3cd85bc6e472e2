//! Dictionaries of the files of one part, which may differ, made one: a file with a footer has one
//! for each column.

use std::collections::{HashMap, HashSet};

use polars_arrow::array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray,
    PrimitiveArray, Utf8Array, Utf8ViewArray,
};
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, PhysicalType};
use polars_arrow::io::ipc::IpcField;
use polars_arrow::io::ipc::write::default_ipc_fields;
use polars_arrow::types::NativeType;
use polars_arrow::{match_integer_type, with_match_primitive_type_full};

use super::decode::{BatchReader, undecodable};
use super::messages::IpcContents;
use crate::format::arrays::{inner_arrays, with_inner_arrays};
use crate::format::batch::RecordBatch;
use crate::format::{FormatError, PartPieces};

/// The dictionaries of a part, by the numbers that they have in it.
pub(super) struct UnifiedDictionaries {
    ids: Vec<IpcField>,
    /// What they became, or why that cannot be.
    unified: HashMap<i64, Result<UnifiedDictionary, String>>,
}

/// What several dictionaries became.
struct UnifiedDictionary {
    values: Box<dyn Array>,
    /// Where each value stands.
    positions: HashMap<ValueBytes, usize>,
}

/// A value by its bytes; nothing where a dictionary has a null.
type ValueBytes = Option<Vec<u8>>;

impl UnifiedDictionaries {
    /// Reads the dictionaries of all files of a cut. Without any there is nothing to do.
    ///
    /// # Errors
    /// One cannot be read, or they have more values than their keys can count.
    pub(super) fn collect(
        part: &PartPieces<'_>,
        columns: &ArrowSchema,
    ) -> Result<Self, FormatError> {
        let numbers = default_ipc_fields(columns.iter_values());
        let mut found: HashMap<i64, Vec<Box<dyn Array>>> = HashMap::new();
        if !numbers.iter().any(IpcField::contains_dictionary) {
            return Ok(Self {
                ids: numbers,
                unified: HashMap::new(),
            });
        }
        let mut files: Vec<usize> = part.pieces.iter().map(|piece| piece.file).collect();
        files.dedup();
        for file in files {
            let opened = part.inputs.open(file)?;
            let contents = IpcContents::read_shared(part, file, &opened)?;
            let mut source = BatchReader::new(file, &opened, &contents)?;
            for place in 1..=contents.messages.len() {
                let Some(own) = contents.messages[place - 1].dictionary else {
                    continue;
                };
                source.load_dictionaries(place)?;
                let Some(values) = source.dictionaries.get(&own) else {
                    continue;
                };
                for number in id_pairs(&source.metadata.ipc_schema.fields, &numbers)
                    .into_iter()
                    .filter(|(other, _)| *other == own)
                {
                    let arrays = found.entry(number.1).or_default();
                    if arrays
                        .last()
                        .is_none_or(|last| last.as_ref() != values.as_ref())
                    {
                        arrays.push(values.clone());
                    }
                }
            }
        }
        let mut ordered = HashSet::new();
        columns
            .iter_values()
            .zip(&numbers)
            .for_each(|(field, number)| collect_ordered_ids(&field.dtype, number, &mut ordered));
        let made = found.into_iter().map(|(number, arrays)| {
            (
                number,
                UnifiedDictionary::new(&arrays, ordered.contains(&number)),
            )
        });
        Ok(Self {
            ids: numbers,
            unified: made.collect(),
        })
    }

    /// The same rows by the dictionaries of the part.
    pub(super) fn apply(
        &self,
        source: &BatchReader<'_>,
        number: usize,
        batch: RecordBatch,
    ) -> Result<RecordBatch, FormatError> {
        if self.unified.is_empty() {
            return Ok(batch);
        }
        let own = &source.metadata.ipc_schema.fields;
        let columns = batch
            .arrays()
            .iter()
            .zip(own)
            .zip(&self.ids)
            .zip(&source.contents.columns);
        let arrays = columns.map(|(((array, own), number), column)| {
            let made = self.rekey(array.as_ref(), own, number);
            made.map_err(|reason| undecodable(source.open_file, column.name.clone(), reason))
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let height = batch.height();
        let (schema, _) = batch.into_schema_and_arrays();
        RecordBatch::try_new(height, schema, arrays)
            .map_err(|error| source.batch_error(number, &format!(": {error}")))
    }

    /// An array whose keys are those of the part's dictionaries.
    fn rekey(
        &self,
        array: &dyn Array,
        own: &IpcField,
        number: &IpcField,
    ) -> Result<Box<dyn Array>, String> {
        if !own.contains_dictionary() {
            return Ok(array.to_boxed());
        }
        let inner = inner_arrays(array);
        if !inner.is_empty() {
            let fields = own.fields.iter().zip(&number.fields);
            let made = inner
                .into_iter()
                .zip(fields)
                .map(|(values, (own, number))| self.rekey(values, own, number));
            return with_inner_arrays(
                array,
                array.dtype().clone(),
                made.collect::<Result<_, _>>()?,
            );
        }
        let PhysicalType::Dictionary(keys) = array.dtype().to_physical_type() else {
            return Err("its dictionaries lie in a union, where they are not made one".into());
        };
        let dictionary = number
            .dictionary_id
            .and_then(|number| self.unified.get(&number))
            .ok_or("its dictionary is gone")?
            .as_ref()?;
        match_integer_type!(keys, |$T| {
            let array: &DictionaryArray<$T> = array.as_any().downcast_ref().ok_or("its keys are of another type")?;
            dictionary.rekey_array(array)
        })
    }
}

/// The numbers of those dictionaries whose values have an order.
fn collect_ordered_ids(dtype: &ArrowDataType, number: &IpcField, found: &mut HashSet<i64>) {
    use ArrowDataType as T;
    match dtype {
        T::Dictionary(_, _, true) => found.extend(number.dictionary_id),
        T::Extension(extension) => collect_ordered_ids(&extension.inner, number, found),
        T::List(inner) | T::LargeList(inner) | T::FixedSizeList(inner, _) | T::Map(inner, _) => {
            number
                .fields
                .iter()
                .for_each(|number| collect_ordered_ids(&inner.dtype, number, found));
        }
        T::Struct(fields) => fields
            .iter()
            .zip(&number.fields)
            .for_each(|(field, number)| collect_ordered_ids(&field.dtype, number, found)),
        _ => {}
    }
}

/// The numbers of each dictionary in a file and in the part.
fn id_pairs(own: &[IpcField], numbers: &[IpcField]) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for (own, number) in own.iter().zip(numbers) {
        found.extend(own.dictionary_id.zip(number.dictionary_id));
        found.extend(id_pairs(&own.fields, &number.fields));
    }
    found
}

impl UnifiedDictionary {
    /// Values keep the order in which they are met first. Where that says which is more, one
    /// dictionary must go on where others end.
    fn new(arrays: &[Box<dyn Array>], is_ordered: bool) -> Result<Self, String> {
        let longest = arrays
            .iter()
            .max_by_key(|array| array.len())
            .filter(|_| is_ordered);
        let begins = |array: &dyn Array| {
            longest.is_none_or(|longest| longest.sliced(0, array.len()).as_ref() == array)
        };
        if !arrays.iter().all(|array| begins(array.as_ref())) {
            return Err(
                "its values are ordered, in one batch or file in another order than in the next"
                    .into(),
            );
        }
        // One that is alone stays what it was, whatever stands in it twice.
        let is_one = arrays.len() == 1;
        let arrays = longest.map_or(arrays, std::slice::from_ref);
        let all = concatenate(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            .map_err(error_text)?;
        let (mut places, mut kept) = (HashMap::new(), Vec::new());
        for row in 0..all.len() {
            let value = value_bytes(all.as_ref(), row)?;
            places.entry(value).or_insert_with(|| {
                kept.push(row);
                kept.len() - 1
            });
        }
        let values = if is_one || kept.len() == all.len() {
            all
        } else {
            select_rows(all.as_ref(), &kept)?
        };
        if is_one {
            places.clear();
        }
        Ok(Self {
            values,
            positions: places,
        })
    }

    fn rekey_array<K: polars_arrow::array::DictionaryKey>(
        &self,
        array: &DictionaryArray<K>,
    ) -> Result<Box<dyn Array>, String> {
        if self.positions.is_empty() {
            return Ok(Box::new(array.clone()));
        }
        let own = array.values();
        let moved = (0..own.len()).map(|row| {
            Ok(self
                .positions
                .get(&value_bytes(own.as_ref(), row)?)
                .copied())
        });
        let moved: Vec<Option<usize>> = moved.collect::<Result<_, String>>()?;
        let mut keys = Vec::with_capacity(array.len());
        for key in array.keys_iter() {
            let place = match key {
                Some(key) => moved
                    .get(key)
                    .copied()
                    .flatten()
                    .ok_or("a key has no value")?,
                None => 0,
            };
            let most = || {
                format!(
                    "its dictionaries have together {} values, more than their keys can count",
                    self.values.len()
                )
            };
            keys.push(K::try_from(place).map_err(|_| most())?);
        }
        let keys = PrimitiveArray::new(
            K::PRIMITIVE.into(),
            keys.into(),
            array.keys().validity().cloned(),
        );
        DictionaryArray::try_new(array.dtype().clone(), keys, self.values.clone())
            .map(|array| array.boxed())
            .map_err(error_text)
    }
}

/// Some of the values, which are in order.
fn select_rows(all: &dyn Array, rows: &[usize]) -> Result<Box<dyn Array>, String> {
    let pieces: Vec<_> = rows
        .chunk_by(|one, next| one + 1 == *next)
        .map(|run| all.sliced(run[0], run.len()))
        .collect();
    concatenate(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(error_text)
}

fn error_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A value by its bytes.
fn value_bytes(array: &dyn Array, row: usize) -> Result<ValueBytes, String> {
    fn primitive_bytes<T: NativeType>(array: &dyn Array, row: usize) -> Option<Vec<u8>> {
        Some(
            array
                .as_any()
                .downcast_ref::<PrimitiveArray<T>>()?
                .value(row)
                .to_le_bytes()
                .as_ref()
                .to_vec(),
        )
    }
    if array.is_null(row) {
        return Ok(None);
    }
    let any = array.as_any();
    let bytes = match array.dtype().to_physical_type() {
        PhysicalType::Utf8 => any
            .downcast_ref::<Utf8Array<i32>>()
            .map(|array| array.value(row).as_bytes().to_vec()),
        PhysicalType::LargeUtf8 => any
            .downcast_ref::<Utf8Array<i64>>()
            .map(|array| array.value(row).as_bytes().to_vec()),
        PhysicalType::Utf8View => any
            .downcast_ref::<Utf8ViewArray>()
            .map(|array| array.value(row).as_bytes().to_vec()),
        PhysicalType::Binary => any
            .downcast_ref::<BinaryArray<i32>>()
            .map(|array| array.value(row).to_vec()),
        PhysicalType::LargeBinary => any
            .downcast_ref::<BinaryArray<i64>>()
            .map(|array| array.value(row).to_vec()),
        PhysicalType::BinaryView => any
            .downcast_ref::<BinaryViewArray>()
            .map(|array| array.value(row).to_vec()),
        PhysicalType::FixedSizeBinary => any
            .downcast_ref::<FixedSizeBinaryArray>()
            .map(|array| array.value(row).to_vec()),
        PhysicalType::Boolean => any
            .downcast_ref::<BooleanArray>()
            .map(|array| vec![array.value(row).into()]),
        PhysicalType::Primitive(kind) => {
            with_match_primitive_type_full!(kind, |$T| primitive_bytes::<$T>(array, row))
        }
        PhysicalType::Null => None,
        other => return Err(format!("its dictionary has values of {other:?}")),
    };
    bytes.map(Some).ok_or_else(|| {
        format!(
            "its dictionary has values of {:?}",
            ArrowDataType::clone(array.dtype())
        )
    })
}
