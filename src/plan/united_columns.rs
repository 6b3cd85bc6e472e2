//! `schema: union` and `schema: first`: one schema for files whose columns differ, and what is made
//! of each of them. What fits the schema is not touched.

use std::collections::{BTreeMap, HashMap};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};

use super::folder_values::FolderValues;
use super::home_files::HomeFiles;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::canonical_schema::{type_name, write_field};
use crate::format::projection::{ColumnSource, ProjectedColumn, Projection, is_constant_of};
use crate::format::widening::common_field;
use crate::home::{FileSchema, FolderValue, HomeError};

/// The schema of files that differ.
pub(super) struct UnitedColumns {
    /// The columns, in order.
    pub(super) schema: ArrowSchema,
    /// The files that do not fit it, by their number.
    pub(super) projections: BTreeMap<usize, Projection>,
    /// Columns of the recorded schema that no file has.
    pub(super) absent: Vec<String>,
    /// Columns that files have and the schema has not, with the first of these files.
    pub(super) dropped: Vec<(String, usize)>,
}

/// Files whose columns are the same.
struct FileKind {
    /// The first of them.
    file: usize,
    /// Their columns as they are decoded.
    own: ArrowSchema,
    /// Those in names of their folders.
    folders: Vec<Field>,
}

impl FileKind {
    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.own.iter_values().chain(&self.folders)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields().find(|field| field.name == name)
    }
}

/// Unites the columns of files with those that were recorded.
///
/// # Errors
/// Files have types for one column that no type holds both: all such columns are named.
pub(super) fn unite(
    rule: FileSchema,
    files: &HomeFiles<'_>,
    folders: (&FolderValues<'_>, &[Field]),
    recorded: Option<&ArrowSchema>,
) -> Result<UnitedColumns> {
    let (kinds, kind_of) = file_kinds(files, folders)?;
    let (schema, dropped) = united_schema(rule, files.names, &kinds, recorded)?;
    let projections = kinds
        .iter()
        .enumerate()
        .map(|(number, kind)| projection_of_kind(kind, &schema).map(|columns| (number, columns)));
    let projections: HashMap<usize, Vec<ProjectedColumn>> = projections.flatten().collect();
    let mut found = BTreeMap::new();
    for (file, kind) in kind_of.iter().enumerate() {
        let Some(columns) = projections.get(kind) else {
            continue;
        };
        let values = folders.0.values_of(file);
        let columns = with_folder_values(files.names[file], columns, &kinds[*kind], values)?;
        found.insert(file, Projection { columns });
    }
    let is_absent = |name: &str| kinds.iter().all(|kind| kind.field(name).is_none());
    let names = schema.iter_names().map(|name| name.to_string());
    Ok(UnitedColumns {
        absent: names.filter(|name| is_absent(name)).collect(),
        schema,
        projections: found,
        dropped,
    })
}

/// The kinds of files by their columns, and that of each file.
fn file_kinds(
    files: &HomeFiles<'_>,
    (folders, folder_fields): (&FolderValues<'_>, &[Field]),
) -> Result<(Vec<FileKind>, Vec<usize>)> {
    let mut numbers: HashMap<(Fingerprint, Vec<&str>), usize> = HashMap::new();
    let (mut kinds, mut kind_of) = (Vec::new(), Vec::new());
    for (file, layout) in files.layouts.iter().enumerate() {
        let values = folders.values_of(file).iter();
        let columns: Vec<&str> = values.map(|value| value.column.as_str()).collect();
        let next = kinds.len();
        let number = *numbers
            .entry((layout.stored_digest, columns.clone()))
            .or_insert(next);
        kind_of.push(number);
        if number < next {
            continue;
        }
        let of_folder = |field: &&Field| columns.contains(&field.name.as_str());
        kinds.push(FileKind {
            file,
            own: files
                .format
                .reader()
                .readable_schema(&(files.open)(file)?)?,
            folders: folder_fields.iter().filter(of_folder).cloned().collect(),
        });
    }
    Ok((kinds, kind_of))
}

/// The schema, and which columns it leaves out, each with the first file that has it.
fn united_schema(
    rule: FileSchema,
    names: &[&str],
    kinds: &[FileKind],
    recorded: Option<&ArrowSchema>,
) -> Result<(ArrowSchema, Vec<(String, usize)>)> {
    // Where each column has its type from.
    let mut united: Vec<(Field, Option<usize>)> = match (rule, recorded) {
        (_, Some(recorded)) => recorded
            .iter_values()
            .map(|field| (field.clone(), None))
            .collect(),
        (FileSchema::First, None) => {
            let first = kinds.first().into_iter().flat_map(FileKind::fields);
            first.map(|field| (field.clone(), Some(0))).collect()
        }
        _ => Vec::new(),
    };
    let (mut dropped, mut conflicts) = (Vec::<(String, usize)>::new(), Vec::new());
    for (number, kind) in kinds.iter().enumerate() {
        for field in kind.fields() {
            let found = united
                .iter_mut()
                .find(|(known, _)| known.name == field.name);
            let Some((known, from)) = found else {
                if rule == FileSchema::First {
                    if !dropped.iter().any(|(name, _)| *name == field.name) {
                        dropped.push((field.name.to_string(), kind.file));
                    }
                } else {
                    let is_nullable = field.is_nullable || number > 0;
                    let field = Field {
                        is_nullable,
                        ..field.clone()
                    };
                    united.push((field, Some(number)));
                }
                continue;
            };
            let common = common_field(known, field);
            let may_widen = rule == FileSchema::Union;
            match common.filter(|common| may_widen || is_same_type(&common.dtype, &known.dtype)) {
                Some(common) => {
                    if !is_same_type(&common.dtype, &known.dtype) {
                        *from = Some(number);
                    }
                    *known = common;
                }
                // The files have it otherwise than what was published: that is told as drift.
                None if from.is_none() && rule == FileSchema::Union => {
                    (*known, *from) = (field.clone(), Some(number));
                }
                None => {
                    let other = match from {
                        Some(other) => format!("in {}", names[kinds[*other].file]),
                        None => "in what was published".into(),
                    };
                    conflicts.push(format!(
                        "column {} is {} in {}, and {} {other}",
                        field.name,
                        type_name(&field.dtype),
                        names[kind.file],
                        type_name(&known.dtype),
                    ));
                }
            }
        }
    }
    if !conflicts.is_empty() {
        let (error, hint) = match rule {
            FileSchema::First => (
                "files have columns whose values the recorded columns, or those of the first file, cannot hold",
                "schema: union widens types as docs/types.md says; hygge build --forget-schema takes the columns of the first file",
            ),
            _ => (
                "files have columns for whose values there is no common type",
                "types are widened as docs/types.md says, never to text and never to floats: give those files a flow of their own",
            ),
        };
        let error = format!("{error}: {}", conflicts.join("; "));
        return Err(Error::new(ErrorKind::Flow, error).with_hint(hint));
    }
    let field = |(mut field, _): (Field, Option<usize>)| {
        field.is_nullable |= kinds.iter().any(|kind| kind.field(&field.name).is_none());
        (field.name.clone(), field)
    };
    Ok((united.into_iter().map(field).collect(), dropped))
}

/// What is made of the files of a kind; `None` where they fit. Values of folders are still to come.
fn projection_of_kind(kind: &FileKind, schema: &ArrowSchema) -> Option<Vec<ProjectedColumn>> {
    let has_others = kind.own.iter_names().any(|name| schema.get(name).is_none());
    let fits = !has_others
        && kind.own.len() == schema.len()
        && schema.iter_values().all(|wanted| {
            let own = kind.own.get(&wanted.name);
            own.is_some_and(|own| is_same_type(&own.dtype, &wanted.dtype))
        });
    if fits {
        return None;
    }
    let column = |wanted: &Field| {
        let constant = || ColumnSource::Constant {
            field: Field {
                is_nullable: true,
                ..wanted.clone()
            },
            value: None,
        };
        let source = match kind.own.get(&wanted.name) {
            None => constant(),
            Some(own) if is_same_type(&own.dtype, &wanted.dtype) => ColumnSource::Column,
            // Whether nulls may come is as it is in the file, whatever becomes of others.
            Some(own) => ColumnSource::Widened(Field {
                is_nullable: own.is_nullable,
                ..wanted.clone()
            }),
        };
        ProjectedColumn {
            name: wanted.name.to_string(),
            source,
        }
    };
    Some(schema.iter_values().map(column).collect())
}

/// The columns of a file of a kind, with the values of its own folders.
fn with_folder_values(
    name: &str,
    columns: &[ProjectedColumn],
    kind: &FileKind,
    values: &[FolderValue],
) -> Result<Vec<ProjectedColumn>> {
    let mut columns = columns.to_vec();
    for column in &mut columns {
        let own = values.iter().find(|value| value.column == column.name);
        let is_own = kind.own.get(column.name.as_str()).is_some();
        let ColumnSource::Constant { field, value } = &mut column.source else {
            continue;
        };
        let Some(own) = own.filter(|_| !is_own) else {
            continue;
        };
        if let Some(text) = own
            .value
            .as_deref()
            .filter(|text| !is_constant_of(&field.dtype, text))
        {
            return Err(HomeError::FolderValue {
                file: name.to_string(),
                column: own.column.clone(),
                value: text.to_string(),
                wanted: type_name(&field.dtype),
            }
            .into());
        }
        value.clone_from(&own.value);
    }
    Ok(columns)
}

/// True where two types have the same values, whatever is said of nulls and besides.
pub(super) fn is_same_type(one: &ArrowDataType, other: &ArrowDataType) -> bool {
    let digest = |dtype: &ArrowDataType| {
        let field = without_remarks(&Field::new("".into(), dtype.clone(), true));
        let mut writer = KeyWriter::new(KeyKind::Schema);
        write_field(&field, &mut writer);
        writer.finish()
    };
    one == other || digest(one) == digest(other)
}

/// A field that may be null at every level, and of which nothing is said but what it is.
fn without_remarks(field: &Field) -> Field {
    use ArrowDataType as T;
    let inner = |field: &Field| Box::new(without_remarks(field));
    let dtype = match &field.dtype {
        T::LargeList(element) => T::LargeList(inner(&Field {
            name: "element".into(),
            ..element.as_ref().clone()
        })),
        T::Map(entries, _) => T::Map(inner(entries), false),
        T::Struct(fields) => T::Struct(fields.iter().map(without_remarks).collect()),
        other => other.clone(),
    };
    Field::new(field.name.clone(), dtype, true)
}

/// The digest of a united schema: names and types, whatever their order.
pub(super) fn schema_digest(schema: &ArrowSchema) -> Fingerprint {
    let mut fields: Vec<Field> = schema.iter_values().map(without_remarks).collect();
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("united").count(fields.len());
    fields
        .iter()
        .for_each(|field| write_field(field, &mut writer));
    writer.finish()
}
