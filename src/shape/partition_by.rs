//! Rows by the folders that they belong to: `partition_by` of a store of files. It is the last that
//! becomes of rows, so that it knows their columns by their final names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use polars_arrow::array::{Array, BooleanArray, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema};
use polars_utils::IdxSize;

use super::cast::text_of;
use super::error::{RowError, ShapeError, nearest_column};
use super::filter::gather_rows;
use crate::format::PartitionBy;
use crate::format::batch::{RecordBatch, slice_batch};
use crate::format::canonical_schema::type_name;
use crate::format::projection::forget_names_of_columns;
use crate::home::{MAX_NAME_BYTES, NULL_FOLDER, folder_name};

/// How many letters of a value are shown.
const MAX_SHOWN_LETTERS: usize = 40;

/// The key of the config.
const KEY: &str = PartitionBy::KEY;

/// The folders of rows of certain columns.
#[derive(Debug)]
pub struct BoundPartitions {
    names: Vec<String>,
    places: Vec<usize>,
    kept: Vec<usize>,
    schema: Arc<ArrowSchema>,
}

/// Rows of one folder.
#[derive(Debug)]
pub struct FolderRows {
    /// The folder, below that of the store.
    pub folder: String,
    /// The rows, with the columns that files have.
    pub rows: RecordBatch,
    /// Which row of the batch that was split is the first of them.
    pub first: usize,
}

impl BoundPartitions {
    /// Those of rows with these columns.
    ///
    /// # Errors
    /// One of its columns does not come, has a type whose values have no one name, or no column is
    /// left for the files.
    pub fn new(partition_by: &PartitionBy, columns: &ArrowSchema) -> Result<Self, ShapeError> {
        let place = |name: &String| {
            let place = columns.index_of(name);
            let place = place.ok_or_else(|| {
                let known = columns.iter_names().map(|name| name.as_str());
                let message = format!("no column {name} comes to the store");
                let known: BTreeSet<&str> = known.collect();
                let hint = format!(
                    "columns have the names that they come out of the flow with: {}",
                    nearest_column(name, &known)
                );
                ShapeError::new(message).of_key(KEY).with_hint(hint)
            })?;
            let dtype = &columns
                .get_at_index(place)
                .map_or(&ArrowDataType::Null, |(_, field)| &field.dtype);
            if is_partition_type(dtype) {
                return Ok(place);
            }
            let message = format!(
                "column {name} is {}, and names of folders are whole numbers, texts, dates and booleans",
                type_name(dtype)
            );
            let hint = "cast of the flow gives it another type, where it can; or partition by another column";
            Err(ShapeError::new(message).of_key(KEY).with_hint(hint))
        };
        let places = partition_by
            .columns
            .iter()
            .map(place)
            .collect::<Result<Vec<_>, _>>()?;
        check_case(partition_by, columns)?;
        let is_kept = |place: &usize| partition_by.keep_columns || !places.contains(place);
        let kept: Vec<usize> = (0..columns.len()).filter(is_kept).collect();
        if kept.is_empty() {
            let error = ShapeError::new("no column is left for the files").of_key(KEY);
            return Err(error.with_hint("keep_column: true leaves the columns in the files too"));
        }
        let fields = kept.iter().filter_map(|place| columns.get_at_index(*place));
        let mut schema: ArrowSchema = fields
            .map(|(name, field)| (name.clone(), field.clone()))
            .collect();
        *schema.metadata_mut() = columns.metadata().clone();
        forget_names_of_columns(schema.metadata_mut());
        Ok(Self {
            names: partition_by.columns.clone(),
            places,
            kept,
            schema: Arc::new(schema),
        })
    }

    /// The columns that files have.
    pub fn schema(&self) -> &Arc<ArrowSchema> {
        &self.schema
    }

    /// The rows of each folder, in the order of the folders' names and, of one, in their own.
    ///
    /// # Errors
    /// The first row with a value that no folder can be called after.
    pub fn split(&self, batch: &RecordBatch) -> Result<Vec<FolderRows>, RowError> {
        let groups = self.groups(batch)?;
        let mut folders = BTreeMap::new();
        for (group, first) in groups.firsts.iter().enumerate() {
            folders.insert(self.folder(batch, *first)?, group);
        }
        let kept = self.kept.iter().map(|place| &batch.arrays()[*place]);
        let order = groups.rows_in_order(folders.values().copied());
        // Rows that stand in their order already are not copied.
        let arrays = kept.map(|array| match folders.len() {
            0 | 1 => Ok(array.clone()),
            _ => gather_rows(array.as_ref(), &order),
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let sorted = RecordBatch::try_new(batch.height(), self.schema.clone(), arrays)
            .map_err(|error| RowError::new(None, error.to_string()))?;
        let mut start = 0;
        let rows = folders.into_iter().map(|(folder, group)| {
            let count = groups.sizes[group];
            let rows = slice_batch(&sorted, start, count);
            start += count;
            FolderRows {
                folder,
                rows,
                first: groups.firsts[group],
            }
        });
        Ok(rows.collect())
    }

    /// Which rows have the same values in all columns.
    fn groups(&self, batch: &RecordBatch) -> Result<Groups, RowError> {
        let arrays = self.places.iter().map(|place| &batch.arrays()[*place]);
        let mut of_columns = arrays.map(|array| value_groups(array.as_ref()));
        let first = of_columns.next();
        let first = first.ok_or_else(|| RowError::new(None, "it has no column").of_key(KEY))??;
        of_columns.try_fold(first, |groups, column| {
            let column = column?;
            let pairs = groups.of_row.iter().zip(&column.of_row);
            Ok(Groups::new(pairs))
        })
    }

    /// The folder of a row.
    fn folder(&self, batch: &RecordBatch, row: usize) -> Result<String, RowError> {
        let mut folders = Vec::with_capacity(self.names.len());
        for (name, place) in self.names.iter().zip(&self.places) {
            let array = batch.arrays()[*place].as_ref();
            let wrong = |message: String| RowError::new(Some(row), message).of_key(KEY);
            let value = array.is_valid(row).then(|| {
                text_of(array, row).ok_or_else(|| {
                    wrong(format!(
                        "column {name} has a day that is not one of the years 1 to 9999"
                    ))
                })
            });
            let value = value.transpose()?;
            match value.as_deref() {
                Some("") => {
                    let message = format!(
                        "column {name} has an empty text, which is read as null in the name of a folder"
                    );
                    return Err(wrong(message));
                }
                Some(NULL_FOLDER) => {
                    let message = format!(
                        "column {name} has the text {NULL_FOLDER}, which stands for null in the name of a folder"
                    );
                    return Err(wrong(message));
                }
                _ => {}
            }
            let folder = folder_name(name, value.as_deref());
            if folder.len() > MAX_NAME_BYTES {
                let value = value.unwrap_or_default();
                let shown: String = value.chars().take(MAX_SHOWN_LETTERS).collect();
                let more = if shown.len() < value.len() { "…" } else { "" };
                return Err(wrong(format!(
                    "column {name} has the value {shown:?}{more}: its folder would have a name of {} bytes, and a name has at most {MAX_NAME_BYTES}",
                    folder.len()
                )));
            }
            folders.push(folder);
        }
        Ok(folders.join("/"))
    }
}

/// Readers that know names of columns in small and in large letters find one column for two.
fn check_case(partition_by: &PartitionBy, columns: &ArrowSchema) -> Result<(), ShapeError> {
    for name in &partition_by.columns {
        let is_twin =
            |other: &&str| **other != **name && other.to_lowercase() == name.to_lowercase();
        let mut others = columns.iter_names().map(|name| name.as_str());
        if let Some(twin) = others.find(is_twin) {
            let message = format!(
                "columns {name} and {twin} differ only by case, and readers such as DuckDB take the one in names of folders for both"
            );
            let error = ShapeError::new(message).of_key(KEY);
            return Err(error.with_hint("rename of the flow gives one of them another name"));
        }
    }
    Ok(())
}

/// True for types each of whose values has one name, which every reader of such folders takes for
/// the same value.
fn is_partition_type(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Date32
            | T::Utf8View
    )
}

/// Rows that have the same values, numbered as they come.
struct Groups {
    of_row: Vec<u32>,
    /// The first row of each.
    firsts: Vec<usize>,
    /// How many rows each has.
    sizes: Vec<u64>,
}

impl Groups {
    fn new<K: Eq + Hash + Copy>(values: impl Iterator<Item = K>) -> Self {
        let mut groups = Self {
            of_row: Vec::with_capacity(values.size_hint().0),
            firsts: Vec::new(),
            sizes: Vec::new(),
        };
        let mut known: HashMap<K, u32> = HashMap::new();
        let mut before: Option<(K, u32)> = None;
        for (row, value) in values.enumerate() {
            let group = match before {
                // Equal values often stand one behind the other.
                Some((last, group)) if last == value => group,
                _ => *known.entry(value).or_insert_with(|| {
                    groups.firsts.push(row);
                    groups.sizes.push(0);
                    groups.firsts.len() as u32 - 1
                }),
            };
            before = Some((value, group));
            groups.of_row.push(group);
            groups.sizes[group as usize] += 1;
        }
        groups
    }

    /// The rows, those of the first of these groups first.
    fn rows_in_order(&self, groups: impl Iterator<Item = usize>) -> Vec<IdxSize> {
        let mut next = vec![0; self.sizes.len()];
        let mut start = 0;
        for group in groups {
            next[group] = start;
            start += self.sizes[group] as usize;
        }
        let mut order = vec![0; self.of_row.len()];
        for (row, group) in (0..).zip(&self.of_row) {
            let place = &mut next[*group as usize];
            order[*place] = row;
            *place += 1;
        }
        order
    }
}

/// Which rows of a column have the same value.
fn value_groups(array: &dyn Array) -> Result<Groups, RowError> {
    let any = array.as_any();
    if let Some(texts) = any.downcast_ref::<Utf8ViewArray>() {
        return Ok(Groups::new(texts.iter()));
    }
    if let Some(values) = any.downcast_ref::<BooleanArray>() {
        return Ok(Groups::new(values.iter()));
    }
    macro_rules! numbers {
        ($($number:ty),*) => {
            $(if let Some(numbers) = any.downcast_ref::<PrimitiveArray<$number>>() {
                return Ok(Groups::new(numbers.iter().map(|number| number.copied())));
            })*
        };
    }
    numbers!(i32, i64, i8, i16, u8, u16, u32, u64);
    let message = format!("rows are not told apart by {}", type_name(array.dtype()));
    Err(RowError::new(None, message).of_key(KEY))
}

#[cfg(test)]
mod tests {
    use polars_arrow::datatypes::Field;

    use super::*;

    fn batch(columns: Vec<(&str, Box<dyn Array>)>) -> RecordBatch {
        let height = columns.first().map_or(0, |(_, array)| array.len());
        let fields = columns.iter().map(|(name, array)| {
            let name: polars_utils::pl_str::PlSmallStr = (*name).into();
            (name.clone(), Field::new(name, array.dtype().clone(), true))
        });
        let schema: ArrowSchema = fields.collect();
        let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
        RecordBatch::new(height, schema.into(), arrays)
    }

    fn texts(values: &[Option<&str>]) -> Box<dyn Array> {
        Utf8ViewArray::from_slice(values).boxed()
    }

    fn numbers(values: &[Option<i32>]) -> Box<dyn Array> {
        PrimitiveArray::from(values.to_vec()).boxed()
    }

    fn by(columns: &[&str]) -> PartitionBy {
        PartitionBy {
            columns: columns.iter().map(ToString::to_string).collect(),
            keep_columns: false,
            max_partitions: 10,
        }
    }

    #[test]
    fn each_row_comes_to_the_folder_of_its_values_in_its_order() {
        let rows = batch(vec![
            (
                "id",
                numbers(&[Some(0), Some(1), Some(2), Some(3), Some(4)]),
            ),
            (
                "land",
                texts(&[Some("fr"), Some("de"), Some("fr"), None, Some("de")]),
            ),
            (
                "year",
                numbers(&[Some(2), Some(-1), Some(2), None, Some(10)]),
            ),
        ]);
        let bound = BoundPartitions::new(&by(&["land", "year"]), rows.schema()).expect("columns");
        let split = bound.split(&rows).expect("folders");
        let found: Vec<(String, usize, Vec<i32>)> = split
            .into_iter()
            .map(|found| {
                assert_eq!(found.rows.schema().len(), 1);
                let ids = found.rows.arrays()[0]
                    .as_any()
                    .downcast_ref::<PrimitiveArray<i32>>();
                let ids = ids.expect("numbers").values_iter().copied().collect();
                (found.folder, found.first, ids)
            })
            .collect();
        let expected = [
            (
                "land=__HIVE_DEFAULT_PARTITION__/year=__HIVE_DEFAULT_PARTITION__",
                3,
                vec![3],
            ),
            ("land=de/year=-1", 1, vec![1]),
            ("land=de/year=10", 4, vec![4]),
            ("land=fr/year=2", 0, vec![0, 2]),
        ];
        let expected = expected.map(|(folder, first, ids)| (folder.to_string(), first, ids));
        assert_eq!(found, expected);
    }

    #[test]
    fn values_that_no_folder_can_have_are_refused_by_their_row() {
        let long = "é".repeat(150);
        for (value, part) in [
            ("", "an empty text"),
            (NULL_FOLDER, "stands for null"),
            (long.as_str(), "a name of 302 bytes"),
        ] {
            let rows = batch(vec![
                ("a", texts(&[Some("x"), Some(value)])),
                ("b", texts(&[None, None])),
            ]);
            let bound = BoundPartitions::new(&by(&["a"]), rows.schema()).expect("columns");
            let error = bound.split(&rows);
            let error = error.expect_err("a wrong value");
            assert_eq!(error.row, Some(1));
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn columns_that_cannot_be_are_refused() {
        let rows = batch(vec![
            ("land", texts(&[])),
            ("price", PrimitiveArray::<f64>::from_slice([]).boxed()),
        ]);
        for (columns, part) in [
            (&["lend"][..], "no column lend"),
            (&["price"], "column price is double"),
        ] {
            let error = BoundPartitions::new(&by(columns), rows.schema()).expect_err("a column");
            assert!(error.to_string().contains(part), "{error}");
        }
        let only = batch(vec![("land", texts(&[]))]);
        assert!(BoundPartitions::new(&by(&["land"]), only.schema()).is_err());
        let kept = PartitionBy {
            keep_columns: true,
            ..by(&["land"])
        };
        assert_eq!(
            BoundPartitions::new(&kept, only.schema())
                .expect("kept")
                .schema()
                .len(),
            1
        );
    }
}
