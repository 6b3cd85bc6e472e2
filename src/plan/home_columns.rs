//! The columns of a home's files: those that the files have themselves, and those that stand in
//! names of their folders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::compare::first_names;
use super::folder_values::{FolderColumn, FolderNames, FolderValues};
use super::home_files::HomeFiles;
use super::inferred_types::with_types_digest;
use super::united_columns::{self, FileKinds, UnitedColumns};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::canonical_schema::{schema_from_text, type_from_name, type_name};
use crate::format::projection::{ColumnSource, ProjectedColumn, Projection};
use crate::format::{Format, Layout, OutputSpec};
use crate::home::{FileSchema, Home, RecordedColumn};
use crate::shape::Shape;
use crate::store::receipt::PublishedSet;

/// How many names of files are said.
const SHOWN_NAMES: usize = 3;

/// The columns that files have for their flow.
#[derive(Debug, Default)]
pub(super) struct HomeColumns {
    /// Their digest; `None` without a file.
    pub(super) digest: Option<Fingerprint>,
    /// Those that stand in names of folders and in no file.
    pub(super) folder_columns: Vec<FolderColumn>,
    /// The files whose columns are not their own alone, by their number.
    pub(super) projections: BTreeMap<usize, Projection>,
    /// All of them in order, where files may differ and do, or did.
    pub(super) united: Option<ArrowSchema>,
    /// What of the united no file has any more, by the paths of columns that have values themselves.
    pub(super) absent: Vec<String>,
    /// Columns that files have and the flow has not, with the first file of each.
    pub(super) dropped: Vec<(String, usize)>,
    /// True where types of columns were found in values.
    are_inferred: bool,
}

/// What is recorded of the columns of the set that a flow goes on from.
#[derive(Debug, Default)]
pub(super) struct RecordedTypes {
    /// All columns, where files may differ.
    pub(super) arrow_schema: Option<ArrowSchema>,
    /// True where parts that have them stay, so that no column may become another.
    pub(super) is_final: bool,
    /// The types of those that stand in names of folders.
    folder_types: BTreeMap<String, ArrowDataType>,
}

impl RecordedTypes {
    /// Types that are found in values are known better than what is recorded of them.
    pub(super) fn set_found_types(&mut self, format: &dyn Format) {
        let found = format.inferred().map(|types| &types.0);
        let fields = self
            .arrow_schema
            .iter_mut()
            .flat_map(|schema| schema.iter_values_mut());
        for field in fields {
            if let Some(found) = found.and_then(|found| found.get(field.name.as_str())) {
                field.dtype = found.dtype.clone();
            }
        }
    }

    /// What a published set says.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn from_published(published: &PublishedSet) -> Result<Self> {
        let unreadable = || {
            let error = "the columns that its receipt says cannot be read";
            Error::new(ErrorKind::Flow, error)
                .with_hint("hygge build FLOW --forget-schema begins with those of today's files")
        };
        let text = published.arrow_schema.as_deref();
        let schema = text.map(|text| schema_from_text(text).ok_or_else(unreadable));
        let folder_type = |name: &String| {
            let column = published
                .home_columns()
                .iter()
                .find(|column| column.name == *name)?;
            Some((name.clone(), type_from_name(&column.target_type)?))
        };
        let folder_columns = published.folder_columns.iter();
        Ok(Self {
            arrow_schema: schema.transpose()?,
            is_final: false,
            folder_types: folder_columns.filter_map(folder_type).collect(),
        })
    }
}

impl HomeColumns {
    /// Compares the columns of all files, takes from names of folders what is in no file, and unites
    /// what differs where the config asks for that, with what is recorded of the set before. Of a
    /// home that is another flow, `upstream` is what that has published.
    ///
    /// # Errors
    /// Files differ in their columns, or other programs say which of the files count.
    pub(super) fn new(
        home: &dyn Home,
        files: &HomeFiles<'_>,
        recorded: &RecordedTypes,
        upstream: Option<&PublishedSet>,
    ) -> Result<Self> {
        let columns = Self::of_files(home, files, recorded, upstream)?;
        // The united columns have their types.
        let digest = |own| match columns.united {
            Some(_) => own,
            None => with_types_digest(own, files.format),
        };
        let digest = columns.digest.map(digest);
        Ok(Self {
            are_inferred: digest != columns.digest,
            digest,
            ..columns
        })
    }

    fn of_files(
        home: &dyn Home,
        files: &HomeFiles<'_>,
        recorded: &RecordedTypes,
        upstream: Option<&PublishedSet>,
    ) -> Result<Self> {
        let rule = home
            .as_files()
            .map_or(FileSchema::Strict, |home| home.schema_rule());
        if rule == FileSchema::Strict {
            files.check_same_columns()?;
        }
        let Some(first) = files.layouts.first() else {
            return Ok(Self::default());
        };
        let own = Self {
            digest: Some(first.column_set_digest),
            ..Self::default()
        };
        let folders = match (home.as_files(), upstream) {
            (Some(home), _) => {
                home.check_not_in_table()?;
                FolderNames::of_home(home, files.names)
            }
            (None, Some(upstream)) => FolderNames::of_published(upstream, files.names),
            (None, None) => return Ok(own),
        };
        let values = folder_values(folders, files)?;
        let folder_columns = values.columns(&recorded.folder_types)?;
        if rule == FileSchema::Strict {
            values.check_same_columns()?;
        } else {
            let fields = folder_columns.iter().map(|column| column.field.clone());
            let fields: Vec<Field> = fields.collect();
            let is_final = recorded.is_final;
            let recorded = recorded.arrow_schema.as_ref();
            match FileKinds::new(files, &values, &fields)? {
                Ok(kinds) => {
                    let united =
                        united_columns::unite(rule, files, &kinds, &values, (recorded, is_final))?;
                    return Ok(Self::from_united(united, folder_columns));
                }
                // A type that nothing here decodes passes whole where all files have it.
                Err(error) => {
                    let is_same = files.check_same_columns().is_ok();
                    if recorded.is_some() || !is_same {
                        return Err(error.into());
                    }
                }
            }
        }
        if folder_columns.is_empty() {
            return Ok(own);
        }
        // All files have the same columns.
        let names = files.format.reader().column_names(&(files.open)(0)?)?;
        Ok(Self {
            digest: Some(digest_with_folders(
                &first.column_set_digest,
                &folder_columns,
            )),
            projections: values.projections(&names, &folder_columns),
            folder_columns,
            ..Self::default()
        })
    }

    fn from_united(united: UnitedColumns, folder_columns: Vec<FolderColumn>) -> Self {
        Self {
            digest: Some(united_columns::schema_digest(&united.schema)),
            folder_columns,
            projections: united.projections,
            absent: united.absent,
            dropped: united.dropped,
            united: Some(united.schema),
            are_inferred: false,
        }
    }

    /// What becomes of each file that does not pass as it is: of those whose columns are not the
    /// flow's, or of all where its rows are shaped, or go to folders.
    pub(super) fn shaped_projections(
        &self,
        (shape, target): (Option<&Arc<Shape>>, &OutputSpec),
        files: &HomeFiles<'_>,
    ) -> Result<BTreeMap<usize, Projection>> {
        let passes = shape.is_none() && target.partition_by.is_none();
        if passes || files.layouts.is_empty() {
            return Ok(self.projections.clone());
        }
        // Columns are taken by their names, in the order of the united, or of the first file.
        let names = match &self.united {
            Some(united) => united.iter_names().map(|name| name.to_string()).collect(),
            None => files.format.reader().column_names(&(files.open)(0)?)?,
        };
        let own = Projection::of_own_columns(&names);
        // Those of all files have the same names.
        let columns = self.projections.values().next().unwrap_or(&own).columns();
        let names = columns.iter().map(|column| column.name.as_str());
        if let Some(shape) = shape {
            shape.check_names(&names.collect())?;
        }
        let shaped = (0..files.layouts.len()).map(|file| {
            let projection = self.projections.get(&file).unwrap_or(&own);
            let projection = match shape {
                None => projection.clone(),
                Some(shape) => {
                    let values = shape.file_values(files.names[file]);
                    projection.with_shape(shape, values)
                }
            };
            (file, projection)
        });
        Ok(shaped.collect())
    }

    /// True where a digest of a schema is that of these columns, which files may store otherwise.
    pub(super) fn have_schema(&self, schema: &Fingerprint, layouts: &[Layout]) -> bool {
        if self.folder_columns.is_empty() && self.united.is_none() && !self.are_inferred {
            layouts.iter().any(|layout| layout.has_schema(schema))
        } else {
            self.digest == Some(*schema)
        }
    }

    /// The columns that stand in names of folders, as they are recorded.
    pub(super) fn recorded_folder_columns(&self) -> impl Iterator<Item = RecordedColumn> {
        self.folder_columns.iter().map(|column| RecordedColumn {
            name: column.field.name.to_string(),
            declared: type_name(&column.field.dtype),
            target_type: type_name(&column.field.dtype),
            nullable: Some(column.has_null),
        })
    }

    /// The names of the columns that stand in names of folders.
    pub(super) fn folder_names(&self) -> Vec<String> {
        let names = self.folder_columns.iter();
        names.map(|column| column.field.name.to_string()).collect()
    }

    /// Columns that are left out, and those that no file has any more, as far as that is new.
    pub(super) fn warnings(&self, names: &[&str], published: Option<&PublishedSet>) -> Vec<String> {
        let known = published.map_or(&[][..], |published| published.absent_columns.as_slice());
        let absent = self.absent.iter().filter(|column| !known.contains(column));
        let absent = absent.map(|column| {
            format!(
                "column {column} is in no file any more: it is null in what is made from now on"
            )
        });
        let dropped = self.dropped.iter().map(|(column, file)| {
            let file = names[*file];
            format!("column {column} of {file} is left out: the schema has no such column")
        });
        absent.chain(dropped).collect()
    }

    /// Which files are decoded because their columns are not those of the flow.
    pub(super) fn describe_decoded_files(&self, names: &[&str]) -> Option<String> {
        self.united.as_ref()?;
        if self.projections.is_empty() {
            return None;
        }
        let folders = self.folder_names();
        let describe = |(file, projection): (&usize, &Projection)| {
            let mut told = Vec::new();
            for ProjectedColumn { name, source } in projection.columns() {
                match source {
                    ColumnSource::Constant(_) if !folders.contains(name) => {
                        told.push(format!("it lacks {name}"));
                    }
                    ColumnSource::Widened(field) => {
                        told.push(format!("{name} becomes {}", type_name(&field.dtype)));
                    }
                    ColumnSource::Constant(_) | ColumnSource::Column => {}
                }
            }
            match told.as_slice() {
                [] => names[*file].to_string(),
                told => format!("{} ({})", names[*file], first_names(told).join(", ")),
            }
        };
        let shown: Vec<String> = self
            .projections
            .iter()
            .take(SHOWN_NAMES)
            .map(describe)
            .collect();
        let more = match self.projections.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "files whose columns are not those of the flow are decoded: {}{more}",
            shown.join(", ")
        ))
    }

    /// What is to be said of columns in names of folders, and of types for such as there are none.
    pub(super) fn remarks(&self, home: &dyn Home) -> Vec<String> {
        let Some(home) = home.as_files() else {
            return Vec::new();
        };
        let types = home.folder_types();
        let remark = |column: &FolderColumn| {
            let (name, kind) = (&column.field.name, type_name(&column.field.dtype));
            let by = if types.contains_key(name.as_str()) {
                "as hive_types says"
            } else {
                "by all of its values; hive_types of the home gives it another type"
            };
            format!("column {name} comes from names of folders, as {kind}: {by}")
        };
        let is_there = |name: &str| self.folder_names().iter().any(|column| column == name);
        let unused = types.keys().filter(|name| !is_there(name));
        let unused = unused.map(|name| {
            format!("hive_types of the home gives column {name} a type, and no folder says such a column that is in no file")
        });
        self.folder_columns
            .iter()
            .map(remark)
            .chain(unused)
            .collect()
    }
}

/// The values in names of folders of columns that the files below them do not have.
fn folder_values<'a>(folders: FolderNames, files: &'a HomeFiles<'_>) -> Result<FolderValues<'a>> {
    let mut own: HashMap<Fingerprint, Vec<String>> = HashMap::new();
    for (file, layout) in files.layouts.iter().enumerate() {
        if !folders.is_empty(file) && !own.contains_key(&layout.column_set_digest) {
            let names = files.format.reader().column_names(&(files.open)(file)?)?;
            own.insert(layout.column_set_digest, names);
        }
    }
    let is_own = |file: usize, column: &str| {
        let own = own.get(&files.layouts[file].column_set_digest);
        own.is_some_and(|own| own.iter().any(|name| name == column))
    };
    FolderValues::new(files.names, folders, &is_own)
}

/// The digest of columns of files and of those in names of folders, whatever their order.
fn digest_with_folders(own: &Fingerprint, columns: &[FolderColumn]) -> Fingerprint {
    let fields = columns.iter().map(|column| &column.field);
    let mut sorted: Vec<_> = fields
        .map(|field| (field.name.as_str(), type_name(&field.dtype)))
        .collect();
    sorted.sort_unstable();
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("with folders").digest(own).count(sorted.len());
    for (name, kind) in sorted {
        writer.text(name).text(&kind);
    }
    writer.finish()
}
