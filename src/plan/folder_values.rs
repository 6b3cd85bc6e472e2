//! Values in names of folders: which columns they are of, of which types, and what each file has of
//! them.

use std::collections::BTreeMap;

use polars_arrow::datatypes::{ArrowDataType, Field};

use crate::error::Result;
use crate::format::canonical_schema::{type_from_name, type_name};
use crate::format::projection::{ColumnSource, ProjectedColumn, Projection, is_constant_of};
use crate::home::{FileSource, FolderValue, HomeError, folder_values, inferred_type};
use crate::store::receipt::PublishedSet;

/// A column that stands in names of folders.
#[derive(Clone, Debug)]
pub(super) struct FolderColumn {
    /// The column. Nulls may come in it, also where none has come yet: a folder of null changes
    /// nothing in what is made of the others.
    pub(super) field: Field,
    /// True where one of the folders says null.
    pub(super) has_null: bool,
}

/// The values in names of folders of columns that the files do not have themselves.
pub(super) struct FolderValues<'a> {
    names: &'a [&'a str],
    values: Vec<Vec<FolderValue>>,
    /// The types that columns are given, whatever their values.
    types: BTreeMap<String, ArrowDataType>,
}

/// What names of folders may say.
pub(super) struct FolderNames {
    values: Vec<Vec<FolderValue>>,
    types: BTreeMap<String, ArrowDataType>,
}

impl FolderNames {
    /// True where the folders of a file say nothing.
    pub(super) fn is_empty(&self, file: usize) -> bool {
        self.values[file].is_empty()
    }

    /// In a home of files, of which these are listed.
    pub(super) fn of_home(home: &dyn FileSource, names: &[&str]) -> Self {
        let types = home.folder_types().iter();
        Self {
            values: names.iter().map(|name| home.folder_values(name)).collect(),
            types: types
                .map(|(name, kind)| (name.clone(), kind.to_arrow()))
                .collect(),
        }
    }

    /// In what a flow has published: its columns, with the types that they have there.
    pub(super) fn of_published(published: &PublishedSet, names: &[&str]) -> Self {
        let types: BTreeMap<String, ArrowDataType> = published
            .columns
            .iter()
            .filter_map(|column| Some((column.name.clone(), type_from_name(&column.target_type)?)))
            .collect();
        let values = names.iter().map(|name| {
            let values = folder_values(name).map(|(_, value)| value);
            values
                .filter(|value| types.contains_key(&value.column))
                .collect()
        });
        Self {
            values: values.collect(),
            types,
        }
    }
}

impl<'a> FolderValues<'a> {
    /// Those of columns that `is_own` does not call a file's own.
    ///
    /// # Errors
    /// Two folders around a file say one column.
    pub(super) fn new(
        names: &'a [&'a str],
        FolderNames { mut values, types }: FolderNames,
        is_own: &dyn Fn(usize, &str) -> bool,
    ) -> Result<Self> {
        for (file, values) in values.iter_mut().enumerate() {
            values.retain(|value| !is_own(file, &value.column));
            let twice = (1..values.len()).find(|number| {
                let column = &values[*number].column;
                let before = &values[..*number];
                before.iter().any(|other| other.column == *column)
            });
            if let Some(number) = twice {
                return Err(HomeError::TwoFolderValues {
                    file: names[file].to_string(),
                    column: values[number].column.clone(),
                }
                .into());
            }
        }
        Ok(Self {
            names,
            values,
            types,
        })
    }

    /// Those of a file.
    pub(super) fn values_of(&self, file: usize) -> &[FolderValue] {
        &self.values[file]
    }

    /// The folders of all files say the same columns.
    ///
    /// # Errors
    /// A file that lacks one.
    pub(super) fn check_same_columns(&self) -> Result<()> {
        let lacking = |file: usize, sibling: usize| {
            let has = |column: &str| self.values[file].iter().any(|value| value.column == column);
            let missing = self.values[sibling]
                .iter()
                .find(|value| !has(&value.column));
            missing.map(|value| HomeError::NoFolderValue {
                file: self.names[file].to_string(),
                column: value.column.clone(),
                sibling: self.names[sibling].to_string(),
            })
        };
        let odd =
            (1..self.values.len()).find_map(|file| lacking(file, 0).or_else(|| lacking(0, file)));
        match odd {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// The values of a column.
    fn of<'v>(&'v self, column: &'v str) -> impl Iterator<Item = Option<&'v str>> + Clone {
        let values = self.values.iter().flatten();
        let values = values.filter(move |value| value.column == column);
        values.map(|value| value.value.as_deref())
    }

    /// The columns, in the order of the folders of the first file that has them. They have the types
    /// that they are given, else those that are recorded, where these hold all values.
    ///
    /// # Errors
    /// A value is none of the type that its column is given.
    pub(super) fn columns(
        &self,
        recorded: &BTreeMap<String, ArrowDataType>,
    ) -> Result<Vec<FolderColumn>> {
        let mut columns: Vec<FolderColumn> = Vec::new();
        for FolderValue { column, .. } in self.values.iter().flatten() {
            if columns
                .iter()
                .any(|known| known.field.name == column.as_str())
            {
                continue;
            }
            let given = self.types.get(column).cloned();
            let holds = |dtype: &&ArrowDataType| {
                let mut values = self.of(column).flatten();
                values.all(|value| is_constant_of(dtype, value))
            };
            let known = given.or_else(|| recorded.get(column).filter(holds).cloned());
            let inferred = || inferred_type(self.of(column).flatten()).to_arrow();
            let dtype = known.unwrap_or_else(inferred);
            let files = self.names.iter().zip(&self.values);
            for (file, values) in files {
                let own = values.iter().filter(|value| value.column == *column);
                own.filter_map(|value| value.value.as_deref())
                    .try_for_each(|value| check_value(file, column, value, &dtype))?;
            }
            columns.push(FolderColumn {
                field: Field::new(column.as_str().into(), dtype, true),
                has_null: self.of(column).any(|value| value.is_none()),
            });
        }
        Ok(columns)
    }

    /// What each file has where all have the same: its own columns, then those of its folders.
    pub(super) fn projections(
        &self,
        own: &[String],
        columns: &[FolderColumn],
    ) -> BTreeMap<usize, Projection> {
        let own = own.iter().map(|name| ProjectedColumn {
            name: name.clone(),
            source: ColumnSource::Column,
        });
        let folders = columns.iter().map(|column| ProjectedColumn {
            name: column.field.name.to_string(),
            source: ColumnSource::Constant(column.field.clone()),
        });
        let all = Projection::new(own.chain(folders).collect());
        let projection = |file: usize| (file, all.with_values(self.texts_of(file)));
        (0..self.values.len()).map(projection).collect()
    }

    /// The values of a file that are not null, by their columns.
    pub(super) fn texts_of(&self, file: usize) -> BTreeMap<String, String> {
        let values = self.values[file].iter();
        let texts = values.filter_map(|value| Some((value.column.clone(), value.value.clone()?)));
        texts.collect()
    }
}

/// A value in the name of a file's folder is one of its column's type.
///
/// # Errors
/// It is none.
pub(super) fn check_value(
    file: &str,
    column: &str,
    value: &str,
    dtype: &ArrowDataType,
) -> Result<()> {
    if is_constant_of(dtype, value) {
        return Ok(());
    }
    Err(HomeError::FolderValue {
        file: file.to_string(),
        column: column.to_string(),
        value: value.to_string(),
        wanted: type_name(dtype),
    }
    .into())
}
