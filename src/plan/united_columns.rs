//! `schema: union` and `schema: first`: one schema for files whose columns differ, and what is made
//! of each of them. What fits the schema is not touched.

use std::collections::{BTreeMap, HashMap, HashSet};

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};

use super::folder_values::{FolderValues, check_value};
use super::home_files::HomeFiles;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::fingerprint::key::{KeyKind, KeyWriter};
use crate::format::canonical_schema::{leaves, type_from_name, type_name, write_field};
use crate::format::projection::{ColumnSource, ProjectedColumn, Projection};
use crate::format::widening::{
    bare_field, common_field, common_type, is_same_type, without_remarks,
};
use crate::format::{FormatError, OpenFile, Reader};
use crate::home::FileSchema;

/// The schema of files that differ.
pub(super) struct UnitedColumns {
    /// The columns, in order.
    pub(super) schema: ArrowSchema,
    /// The files that do not fit it, by their number.
    pub(super) projections: BTreeMap<usize, Projection>,
    /// What of the schema no file has, by the paths of columns that have values themselves.
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
    /// What their format calls the types in each column.
    words: HashMap<String, Vec<String>>,
    /// Those in names of their folders.
    folders: Vec<Field>,
}

/// The files of a home, by their columns.
pub(super) struct FileKinds {
    kinds: Vec<FileKind>,
    /// Which kind each file is of.
    kind_of: Vec<usize>,
}

impl FileKind {
    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.own.iter_values().chain(&self.folders)
    }

    /// True where a column is stored in seconds, which are milliseconds in arrays.
    fn has_seconds(&self, column: &str) -> bool {
        use ArrowDataType as T;
        let Some([word]) = self.words.get(column).map(Vec::as_slice) else {
            return false;
        };
        let seconds = TimeUnit::Second;
        match type_from_name(word) {
            Some(T::Time32(unit) | T::Timestamp(unit, _)) => unit == seconds,
            _ => false,
        }
    }

    fn field(&self, name: &str) -> Option<&Field> {
        let folder = || self.folders.iter().find(|field| field.name == name);
        self.own.get(name).or_else(folder)
    }
}

impl FileKinds {
    /// Reads the columns of all files, those of each kind once. Where a column has no form that other
    /// formats know, the error of its file is given.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn new(
        files: &HomeFiles<'_>,
        folders: &FolderValues<'_>,
        folder_fields: &[Field],
    ) -> Result<Result<Self, FormatError>> {
        let mut numbers = HashMap::new();
        let (mut kinds, mut kind_of) = (Vec::new(), Vec::new());
        for (file, layout) in files.layouts.iter().enumerate() {
            let values = folders.values_of(file).iter();
            let columns: Vec<&str> = values.map(|value| value.column.as_str()).collect();
            // How a type is stored does not say all of it: some of it stands in metadata.
            let kind = (layout.stored_digest, layout.packing_digest, columns.clone());
            let next = kinds.len();
            let number = *numbers.entry(kind).or_insert(next);
            kind_of.push(number);
            if number < next {
                continue;
            }
            let (reader, opened) = (files.format.reader(), (files.open)(file)?);
            let own = match reader.readable_schema(&opened) {
                Ok(own) => own,
                Err(
                    error @ (FormatError::Undecodable { .. }
                    | FormatError::NoCanonicalType { .. }
                    | FormatError::Encrypted),
                ) => return Ok(Err(error)),
                Err(error) => return Err(error.into()),
            };
            let of_folder = |field: &&Field| columns.contains(&field.name.as_str());
            kinds.push(FileKind {
                file,
                words: type_words(reader, &opened)?,
                own,
                folders: folder_fields.iter().filter(of_folder).cloned().collect(),
            });
        }
        Ok(Ok(Self { kinds, kind_of }))
    }
}

/// What the types in each column of a file are called, by the column's name.
fn type_words(reader: &dyn Reader, file: &OpenFile) -> Result<HashMap<String, Vec<String>>> {
    let mut words: HashMap<String, Vec<String>> = HashMap::new();
    let names = reader.column_names(file)?;
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    for column in reader.columns(file)? {
        // The name may have dots itself.
        let ends = column.path.match_indices('.').map(|(end, _)| end);
        let tops = ends
            .chain([column.path.len()])
            .map(|end| &column.path[..end]);
        let top = tops.rev().find(|top| names.contains(top));
        let top = top.unwrap_or(&column.path).to_string();
        words.entry(top).or_default().push(column.kind);
    }
    Ok(words)
}

/// Unites the columns of files with those that were recorded.
///
/// # Errors
/// Files have types for one column that no type holds both: all such columns are named.
pub(super) fn unite(
    rule: FileSchema,
    files: &HomeFiles<'_>,
    FileKinds { kinds, kind_of }: &FileKinds,
    folders: &FolderValues<'_>,
    recorded: (Option<&ArrowSchema>, bool),
) -> Result<UnitedColumns> {
    let (schema, dropped) = united_schema(rule, files.names, kinds, recorded)?;
    let mixed_units = columns_of_mixed_units(kinds);
    let of_kind = kinds
        .iter()
        .map(|kind| projection_of_kind(kind, &schema, &mixed_units));
    let of_kind: Vec<Option<Projection>> = of_kind.collect();
    let mut projections = BTreeMap::new();
    for (file, kind) in kind_of.iter().enumerate() {
        if let Some(projection) = &of_kind[*kind] {
            let mut values = folders.texts_of(file);
            values.retain(|column, _| schema.get(column.as_str()).is_some());
            for (column, value) in &values {
                if let Some(field) = schema.get(column.as_str()) {
                    check_value(files.names[file], column, value, &field.dtype)?;
                }
            }
            projections.insert(file, projection.with_values(values));
        }
    }
    let there: HashSet<String> = kinds
        .iter()
        .flat_map(|kind| leaves(&kind.fields().map(named).collect()))
        .map(|leaf| leaf.path)
        .collect();
    let all = leaves(&schema).into_iter().map(|leaf| leaf.path);
    Ok(UnitedColumns {
        absent: all.filter(|path| !there.contains(path)).collect(),
        schema,
        projections,
        dropped,
    })
}

fn named(field: &Field) -> (polars_utils::pl_str::PlSmallStr, Field) {
    (field.name.clone(), field.clone())
}

/// The schema, and which columns it leaves out, each with the first file that has it.
fn united_schema(
    rule: FileSchema,
    names: &[&str],
    kinds: &[FileKind],
    (recorded, is_final): (Option<&ArrowSchema>, bool),
) -> Result<(ArrowSchema, Vec<(String, usize)>)> {
    let (files, dropped) = match (rule, recorded) {
        (FileSchema::First, Some(recorded)) => fit_columns(recorded, None, names, kinds)?,
        (FileSchema::First, None) => {
            let first = kinds.first().map(|kind| kind.fields().map(named).collect());
            fit_columns(&first.unwrap_or_default(), Some(0), names, kinds)?
        }
        _ => (union_columns(names, kinds)?, Vec::new()),
    };
    let mut schema = ArrowSchema::default();
    let recorded = recorded.filter(|_| rule == FileSchema::Union);
    let mut conflicts = Vec::new();
    for field in recorded.into_iter().flat_map(ArrowSchema::iter_values) {
        let now = files.get(&field.name);
        let common = now.map_or_else(|| Some(field.clone()), |now| common_field(field, now));
        let field = match (common, now) {
            (Some(common), _) => common,
            // What has a type that does not fit what was published is told as drift.
            (None, Some(now)) if !is_final => now.clone(),
            (None, _) => {
                let kind = kinds.iter().find(|kind| kind.field(&field.name).is_some());
                conflicts.extend(kind.map(|kind| {
                    let known = (type_name(&field.dtype), PUBLISHED);
                    describe_conflict(&field.name, (kind, names), known)
                }));
                continue;
            }
        };
        schema.insert(field.name.clone(), field);
    }
    no_common_type(&conflicts)?;
    for field in files.iter_values() {
        if schema.get(&field.name).is_none() {
            schema.insert(field.name.clone(), field.clone());
        }
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for field in kinds.iter().flat_map(FileKind::fields) {
        *counts.entry(field.name.as_str()).or_default() += 1;
    }
    let united = schema.iter_values().map(|field| {
        let is_missing = counts.get(field.name.as_str()) != Some(&kinds.len());
        let field = Field {
            is_nullable: field.is_nullable || is_missing,
            ..field.clone()
        };
        (field.name.clone(), field)
    });
    Ok((united.collect(), dropped))
}

/// All columns of all files.
fn union_columns(names: &[&str], kinds: &[FileKind]) -> Result<ArrowSchema> {
    let (mut union, mut conflicts) = (ArrowSchema::default(), Vec::new());
    // The kind of files that each column has its type from.
    let mut origins: HashMap<&str, usize> = HashMap::new();
    // Those of folders stand behind those of files.
    for of_folders in [false, true] {
        for (number, kind, field) in fields_of_kinds(kinds, of_folders) {
            let name = field.name.as_str();
            let (Some(known), Some(origin)) = (union.get_mut(name), origins.get_mut(name)) else {
                origins.insert(name, number);
                union.insert(field.name.clone(), without_remarks(field));
                continue;
            };
            let other = &kinds[*origin];
            // Types that arrays do not tell apart are no less two types.
            let words = Option::zip(kind.words.get(name), other.words.get(name));
            let is_other = is_same_type(&known.dtype, &field.dtype)
                && words.is_some_and(|(ours, theirs)| ours != theirs && !are_units(ours, theirs));
            match common_field(known, field).filter(|_| !is_other) {
                Some(common) => {
                    if !is_same_type(&common.dtype, &known.dtype) {
                        *origin = number;
                    }
                    *known = common;
                }
                None => {
                    let known = (describe_type(other, name), names[other.file]);
                    conflicts.push(describe_conflict(name, (kind, names), known));
                }
            }
        }
    }
    no_common_type(&conflicts)?;
    Ok(union)
}

/// The columns of each kind of files: those of their folders, or their own.
fn fields_of_kinds(
    kinds: &[FileKind],
    of_folders: bool,
) -> impl Iterator<Item = (usize, &FileKind, &Field)> {
    kinds.iter().enumerate().flat_map(move |(number, kind)| {
        let own = kind.own.iter_values().filter(move |_| !of_folders);
        let folders = kind.folders.iter().filter(move |_| of_folders);
        own.chain(folders).map(move |field| (number, kind, field))
    })
}

/// Fails where there are columns without a common type.
fn no_common_type(conflicts: &[String]) -> Result<()> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let error = format!(
        "files have columns for whose values there is no common type: {}",
        conflicts.join("; ")
    );
    Err(Error::new(ErrorKind::Flow, error).with_hint(
        "types are widened as docs/types.md says, never to text and never to floats: give those files a flow of their own",
    ))
}

/// The columns of which some files store seconds, and others do not.
fn columns_of_mixed_units(kinds: &[FileKind]) -> HashSet<&str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for kind in kinds {
        for field in kind
            .own
            .iter_values()
            .filter(|field| kind.has_seconds(&field.name))
        {
            *counts.entry(field.name.as_str()).or_default() += 1;
        }
    }
    counts.retain(|_, count| *count < kinds.len());
    counts.into_keys().collect()
}

/// True where arrays have one unit of time for both of these types: seconds are milliseconds there.
fn are_units(ours: &[String], theirs: &[String]) -> bool {
    let ([ours], [theirs]) = (ours, theirs) else {
        return false;
    };
    let types = Option::zip(type_from_name(ours), type_from_name(theirs));
    types.is_some_and(|(ours, theirs)| {
        !is_same_type(&ours, &theirs) && common_type(&ours, &theirs).is_some()
    })
}

/// Where a column is known from that is in what was published.
const PUBLISHED: &str = "what was published";

/// What the type of a column is in files of a kind, and as it is known from elsewhere, in words.
fn describe_conflict(
    column: &str,
    (kind, names): (&FileKind, &[&str]),
    (known, place): (String, &str),
) -> String {
    let (found, file) = (describe_type(kind, column), names[kind.file]);
    format!("column {column} is {found} in {file}, and {known} in {place}")
}

fn describe_type(kind: &FileKind, column: &str) -> String {
    match kind.words.get(column).map(Vec::as_slice) {
        Some([word]) => word.clone(),
        _ => kind
            .field(column)
            .map_or_else(|| "another type".into(), |field| type_name(&field.dtype)),
    }
}

/// These columns, where the values of all files fit into them; and those that files have besides.
/// `from` is the kind of files that they are of, where they are not what was published.
fn fit_columns(
    columns: &ArrowSchema,
    from: Option<usize>,
    names: &[&str],
    kinds: &[FileKind],
) -> Result<(ArrowSchema, Vec<(String, usize)>)> {
    let (mut dropped, mut conflicts) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut fields: ArrowSchema = columns
        .iter_values()
        .map(|field| named(&without_remarks(field)))
        .collect();
    for kind in kinds {
        for field in kind.fields() {
            let Some(known) = fields.get_mut(&field.name) else {
                if seen.insert(field.name.clone()) {
                    dropped.push((field.name.to_string(), kind.file));
                }
                continue;
            };
            let common = common_field(known, field);
            match common.filter(|common| is_same_type(&common.dtype, &known.dtype)) {
                Some(common) => known.is_nullable |= common.is_nullable,
                None => {
                    let place = from.map_or(PUBLISHED, |from| names[kinds[from].file]);
                    let known = (type_name(&known.dtype), place);
                    conflicts.push(describe_conflict(&field.name, (kind, names), known));
                }
            }
        }
    }
    if conflicts.is_empty() {
        return Ok((fields, dropped));
    }
    let error = format!(
        "files have columns whose values the schema cannot hold: {}",
        conflicts.join("; ")
    );
    Err(Error::new(ErrorKind::Flow, error).with_hint(
        "schema: first takes the recorded columns, or else those of the first file; schema: union widens types, and hygge build --forget-schema begins with the first file of today",
    ))
}

/// What is made of the files of a kind; `None` where they fit.
fn projection_of_kind(
    kind: &FileKind,
    schema: &ArrowSchema,
    mixed_units: &HashSet<&str>,
) -> Option<Projection> {
    let fits = kind.own.len() == schema.len()
        && schema.iter_values().all(|wanted| {
            let own = kind.own.get(&wanted.name);
            let is_same = own.is_some_and(|own| is_same_type(&own.dtype, &wanted.dtype));
            is_same
                && !(mixed_units.contains(wanted.name.as_str()) && kind.has_seconds(&wanted.name))
        });
    if fits {
        return None;
    }
    let column = |wanted: &Field| {
        let source = match kind.own.get(&wanted.name) {
            // Whether nulls may come is as it is in the file, whatever becomes of others.
            None => ColumnSource::Constant(Field {
                is_nullable: true,
                ..wanted.clone()
            }),
            Some(own) if is_same_type(&own.dtype, &wanted.dtype) => ColumnSource::Column,
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
    Some(Projection::new(schema.iter_values().map(column).collect()))
}

/// The digest of a united schema: names and types, whatever their order.
pub(super) fn schema_digest(schema: &ArrowSchema) -> Fingerprint {
    let mut fields: Vec<Field> = schema.iter_values().map(bare_field).collect();
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    let mut writer = KeyWriter::new(KeyKind::Schema);
    writer.text("united").count(fields.len());
    fields
        .iter()
        .for_each(|field| write_field(field, &mut writer));
    writer.finish()
}
