//! A home of files: one file, or the files of a folder that match a glob.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::glob::{check_glob, default_glob, has_extension, is_recursive_glob};
use super::hive::{self, FolderValue};
use super::table_formats::{self, MarkerScan};
use super::unread_files::UnreadFiles;
use super::{FileSchema, FileSource, Home, HomeError, ListedFile, Listing, Source};
use crate::config::block_reader::read_block;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems};
use crate::config::value_types::{BoundedNumber, PathText};
use crate::config::{Settings, checked_path};
use crate::connection::types::{ColumnType, SIMPLE_TYPES, read_types};
use crate::format::Format;
use crate::fs;
use crate::storage::{Depth, Entry, EntryKind, Location};

/// A home of files.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "files", deny_unknown_fields)]
pub struct FilesHomeFields {
    /// A folder or a file.
    #[schemars(example = &"data/home/numbers", extend("x-default" = "required"))]
    path: Option<PathText>,
    /// Which files of the folder; `**` goes deeper.
    #[schemars(example = &"**/*.parquet", extend("x-default" = "`*.` and the endings of the format", "x-type" = "glob"))]
    glob: Option<String>,
    /// How many rows are read at once. Parquet is read a row group at a time, Arrow IPC a batch at a time and CSV about 2 MiB at a time, whatever it says.
    #[schemars(example = 10_000, extend("x-default" = "what the format has"))]
    batch_size: Option<BoundedNumber<1, { u64::MAX }>>,
    /// Types of columns that stand in names of folders, as in `year=2024`: whole numbers, `text`, `date` or `boolean`.
    #[schemars(example = json!({ "zip": "text" }), extend("x-default" = "by their values", "x-type" = "map of types"))]
    hive_types: Option<BTreeMap<String, String>>,
    /// What becomes of files whose columns differ: the flow fails, they are united, or those of the first file count.
    #[schemars(example = &"union", extend("default" = "strict"))]
    schema: Option<FileSchema>,
    /// What becomes of a type that was found in the values of earlier files, where a value is not of it: the flow fails, or the column has the type of all values.
    #[schemars(example = &"widen", extend("default" = "fail"))]
    on_mismatch: Option<OnMismatch>,
}

/// What becomes of types where a value is of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum OnMismatch {
    /// The flow fails.
    #[default]
    Fail,
    /// Columns have the types of all their values.
    Widen,
}

/// Files of one format.
#[derive(Debug)]
pub struct FilesHome {
    format: Arc<dyn Format>,
    location: Location,
    glob: String,
    /// None for the files of the format, as most homes have it. It is compiled when the home is
    /// listed.
    pattern: Option<Glob>,
    batch_size: Option<u64>,
    hive_types: BTreeMap<String, ColumnType>,
    schema: FileSchema,
    on_mismatch: OnMismatch,
}

impl FilesHome {
    /// Reads a home's block, of which `keys` are the format's; paths are relative to `root`.
    pub fn from_block(
        format: Arc<dyn Format>,
        keys: &[&str],
        node: &Node,
        name: &str,
        root: &Path,
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields: FilesHomeFields =
            read_block(node, name, &[&["type"], keys].concat(), problems)?;
        if node.get("path").is_none() {
            let problem = Problem::new(
                node.at,
                format!("{name} has no path"),
                "expected the key path here",
            );
            problems.push(problem.with_hint(
                "write the folder or file to read, relative to the folder of the config",
            ));
        }
        let location = fields
            .path
            .map(|path| Location::local(checked_path(root, node, &path.0, problems)));
        let batch_size = fields.batch_size.map(|size| size.0);
        let hive_types = hive_types(fields.hive_types, node, name, problems)?;
        let schema = fields.schema.unwrap_or_default();
        let on_mismatch = fields.on_mismatch.unwrap_or_default();
        let usual = default_glob(format.as_ref());
        let Some(glob) = fields.glob.filter(|glob| *glob != usual) else {
            return Some(Self {
                format,
                location: location?,
                glob: usual,
                pattern: None,
                batch_size,
                hive_types,
                schema,
                on_mismatch,
            });
        };
        let built = check_glob(&glob).and_then(|()| {
            let built = GlobBuilder::new(&glob)
                .literal_separator(is_recursive_glob(&glob))
                .build();
            built.map_err(|error| error.kind().to_string())
        });
        match built {
            Ok(pattern) => Some(Self {
                format,
                location: location?,
                glob,
                pattern: Some(pattern),
                batch_size,
                hive_types,
                schema,
                on_mismatch,
            }),
            Err(reason) => {
                let example = format!(
                    "expected a glob such as \"**/{}\"",
                    default_glob(format.as_ref())
                );
                problems.push(Problem::new(
                    node.span_of("glob"),
                    format!("glob {glob:?} cannot be used: {reason}"),
                    example,
                ));
                None
            }
        }
    }

    fn matches(&self, matcher: Option<&GlobMatcher>, relative: &Path) -> bool {
        match matcher {
            Some(matcher) => matcher.is_match(relative),
            None => has_extension(relative, self.format.extensions()),
        }
    }

    fn list_folder(&self, found: Vec<Entry>) -> Result<Listing, HomeError> {
        let mut listing = Listing::empty(&self.location);
        let path_of = |relative: &Path| self.location.join(relative).display_path().into_owned();
        let (mut others, mut marks) = (Vec::new(), MarkerScan::default());
        let matcher = self.pattern.as_ref().map(Glob::compile_matcher);
        for Entry {
            relative,
            kind,
            is_link,
            version,
        } in found
        {
            let is_folder = kind == EntryKind::Folder;
            if marks.visit_entry(&relative, is_folder) {
                continue;
            }
            if is_folder {
                others.push(relative.join(""));
                let folder = self.location.join(&relative);
                listing
                    .folders
                    .extend(folder.local_path().map(Path::to_path_buf));
            } else if !self.matches(matcher.as_ref(), &relative) {
                others.push(relative);
            } else if kind != EntryKind::File {
                return Err(HomeError::NotAFile(path_of(&relative)));
            } else {
                let name = relative.into_os_string().into_string();
                listing.files.push(ListedFile {
                    name: name.map_err(|name| HomeError::NotUtf8(path_of(Path::new(&name))))?,
                    version,
                    is_link,
                });
            }
        }
        // What counts is said elsewhere for files that lie there, and for a home without files of
        // its own.
        let marked = if listing.files.is_empty() {
            marks.first()
        } else {
            listing
                .files
                .iter()
                .find_map(|file| marks.table_of_file(&file.name))
        };
        if let Some((folder, marked)) = marked {
            let folder = if folder.as_os_str().is_empty() {
                self.location.display_path().into_owned()
            } else {
                path_of(folder)
            };
            return Err(HomeError::ForeignTable {
                folder,
                table_format: *marked,
            });
        }
        if listing.files.is_empty() {
            // An Iceberg table has its files a folder further down.
            if others.iter().any(|other| other.as_os_str() == "metadata/") {
                self.check_not_in_table()?;
            }
            let mut others: Vec<String> = others
                .iter()
                .map(|other| other.display().to_string())
                .collect();
            others.sort();
            others.truncate(3);
            return Err(HomeError::NothingMatches {
                path: self.location.display_path().into_owned(),
                glob: self.glob.clone(),
                others,
            });
        }
        listing.files.sort_by(|a, b| a.name.cmp(&b.name));
        listing.folders.sort();
        Ok(listing)
    }
}

fn hive_types(
    types: Option<BTreeMap<String, String>>,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<BTreeMap<String, ColumnType>> {
    let words = || {
        let simple = SIMPLE_TYPES.iter();
        let simple = simple.filter(|(_, kind)| hive::is_folder_type(kind));
        simple.map(|(word, _)| *word)
    };
    let known = read_types(types, (node, "hive_types"), name, words(), problems)?;
    let odd = known.iter().find(|(_, kind)| !hive::is_folder_type(kind));
    let Some((column, kind)) = odd else {
        return Some(known);
    };
    let at = node.get("hive_types");
    let at = at.map_or(node.at, |types| types.span_of(column));
    let problem = Problem::new(
        at,
        format!("hive_types of {name} gives the column {column} the type {kind}"),
        "expected a type whose values stand in names of folders",
    );
    let words = words().collect::<Vec<_>>().join(", ");
    problems.push(problem.with_hint(format!("such types are {words}")));
    None
}

impl Home for FilesHome {
    fn kind(&self) -> &'static str {
        self.format.id()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::from([
            ("path", json!(self.location.to_string())),
            ("glob", json!(self.glob)),
        ]);
        if let Some(rows) = self.batch_size {
            settings.insert("batch_size", json!(rows));
        }
        if self.on_mismatch != OnMismatch::Fail {
            settings.insert("on_mismatch", json!(self.on_mismatch));
        }
        settings.extend(self.column_settings());
        settings.extend(self.format.settings());
        settings
    }

    fn ineffective_settings(&self) -> Vec<String> {
        let note = || {
            format!(
                "batch_size of its home has no effect: {} is read in the groups that its files have",
                self.format.id()
            )
        };
        let unused = || {
            format!(
                "on_mismatch of its home has no effect: files of {} say the types of their columns",
                self.format.id()
            )
        };
        let is_unused = self.widens_types() && !self.format.infers_types();
        let notes = [self.batch_size.map(|_| note()), is_unused.then(unused)];
        notes.into_iter().flatten().collect()
    }

    fn source(&self) -> Source<'_> {
        Source::Files(self)
    }
}

impl FileSource for FilesHome {
    fn location(&self) -> &Location {
        &self.location
    }

    fn is_recursive(&self) -> bool {
        is_recursive_glob(&self.glob)
    }

    fn format(&self) -> Arc<dyn Format> {
        self.format.clone()
    }

    fn list(&self) -> Result<Listing, HomeError> {
        let skip = table_formats::is_skipped;
        let depth = if is_recursive_glob(&self.glob) {
            Depth::All
        } else {
            Depth::One
        };
        if let Some(found) = self.location.list(depth, skip)? {
            return self.list_folder(found);
        }
        let path = || self.location.display_path().into_owned();
        let found = self
            .location
            .head()?
            .ok_or_else(|| HomeError::Missing(path()))?;
        if found.kind != EntryKind::File {
            return Err(HomeError::NotAFile(path()));
        }
        let name = self.location.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| HomeError::NotUtf8(path()))?;
        Ok(Listing {
            folder: self.location.parent(),
            files: vec![ListedFile {
                name: name.to_string(),
                version: found.version,
                is_link: false,
            }],
            folders: Vec::new(),
            folders_left_out: 0,
        })
    }

    fn list_in(
        &self,
        choose: &dyn Fn(&[String]) -> Option<BTreeSet<String>>,
    ) -> Result<Listing, HomeError> {
        let skip = table_formats::is_skipped;
        let folders = if self.is_recursive() {
            self.location.list(Depth::Folders, skip)?
        } else {
            None
        };
        let Some(mut found) = folders else {
            return self.list();
        };
        // A name that is no UTF-8 is said where its files are listed.
        let name = |folder: &Entry| folder.relative.to_str().map(str::to_string);
        let mut names: Vec<String> = found.iter().filter_map(name).collect();
        let is_named = names.len() == found.len();
        names.push(String::new());
        names.sort();
        let Some(chosen) = choose(&names).filter(|_| is_named) else {
            return self.list();
        };
        for folder in &chosen {
            let folder = Path::new(folder);
            let listed = self.location.join(folder).list(Depth::One, skip)?;
            let files = listed.into_iter().flatten();
            let files = files.filter(|entry| entry.kind != EntryKind::Folder);
            found.extend(files.map(|entry| Entry {
                relative: folder.join(entry.relative),
                ..entry
            }));
        }
        let is_left_out = |name: &&String| {
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            !chosen.contains(*name) && chosen.contains(parent)
        };
        let folders_left_out = names.iter().filter(is_left_out).count();
        match self.list_folder(found) {
            // The first folder says the columns where all are left out.
            Err(HomeError::NothingMatches { .. }) => self.list(),
            listed => Ok(Listing {
                folders_left_out,
                ..listed?
            }),
        }
    }

    fn check_not_in_table(&self) -> Result<(), HomeError> {
        let location = match self.location.local_path() {
            Some(path) => Location::local(fs::real_path(path)?),
            None => self.location.clone(),
        };
        match table_formats::find_enclosing_table(&location)? {
            Some((folder, marked)) => Err(HomeError::ForeignTable {
                folder,
                table_format: marked,
            }),
            None => Ok(()),
        }
    }

    fn describe_unread_files(&self) -> Result<Vec<String>, HomeError> {
        UnreadFiles {
            folder: &self.location,
            glob: &self.glob,
            pattern: self.pattern.as_ref(),
            endings: self.format.extensions(),
        }
        .describe()
    }

    fn folder_values(&self, name: &str) -> Vec<FolderValue> {
        // Who names the folder has chosen the value.
        let is_named = |folder: &str| self.glob.split('/').any(|part| part == folder);
        let values = hive::folder_values(name).filter(|(folder, _)| !is_named(folder));
        values.map(|(_, value)| value).collect()
    }

    fn folder_types(&self) -> &BTreeMap<String, ColumnType> {
        &self.hive_types
    }

    fn schema_rule(&self) -> FileSchema {
        self.schema
    }

    fn widens_types(&self) -> bool {
        self.on_mismatch == OnMismatch::Widen
    }

    fn column_settings(&self) -> Settings {
        let types = self.hive_types.iter();
        let types: BTreeMap<&str, String> = types
            .map(|(column, kind)| (column.as_str(), kind.to_string()))
            .collect();
        let types = (!types.is_empty()).then(|| ("hive_types", json!(types)));
        let differs = self.schema != FileSchema::default();
        let schema = differs.then(|| ("schema", json!(self.schema)));
        types.into_iter().chain(schema).collect()
    }
}
