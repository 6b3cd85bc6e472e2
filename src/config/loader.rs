//! Finding and reading a config: its files, the variables it uses, and what its patterns find.
//!
//! All I/O of the config begins here; what it means is found out from what is read.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::config_file::{ConfigFile, LoadError, ParsedFile, read_text, startup_error};
use super::entities;
use super::environment::load_variables;
use super::flows_folder::{FlowFiles, FlowsFolder};
use super::interpolation;
use super::listing::{self, Listings};
use super::node::{self, NodeValue};
use super::problem::{Problem, Problems, SourceFile, SourceFiles, Span};
use super::secrets::Secrets;
use super::table_patterns::TableListings;
use super::variables::{self, Variables};
use super::{CONNECTION_PREFIX, Document, FILE_NAMES, PGSSLMODE, Role, absolute, yaml};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// A config as it was read.
#[derive(Clone, PartialEq)]
pub struct LoadedConfig {
    /// Its files, the main one first.
    pub sources: SourceFiles,
    /// The folder of the main file, absolute: paths are relative to it.
    pub root: PathBuf,
    /// What is in the files, variables filled in, but for those of connections.
    pub documents: Vec<Document>,
    /// The variables that the config names.
    pub variables: Variables,
    /// What its patterns of entities found.
    pub listings: Listings,
    /// What databases say of the tables that its patterns may find, once they were asked.
    pub table_listings: TableListings,
    /// What was wrong so far.
    pub problems: Problems,
    /// What is no error.
    pub warnings: Vec<Problem>,
    /// The file of variables, if one was read.
    pub env_file: Option<PathBuf>,
    /// The folder with further flows, if there is one.
    pub flows_folder: Option<PathBuf>,
    /// With `confine`, files and folders of the config that lead out of its folder by a link.
    pub outside_links: Vec<PathBuf>,
    /// The folders whose entries decide what the config is.
    pub folders: BTreeSet<PathBuf>,
}

/// The texts are left out: they may have secrets in them.
impl fmt::Debug for LoadedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedConfig")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// Reads the config that is named, or the nearest one above `working`.
///
/// # Errors
/// Nothing is there, or it cannot be read. What is wrong in it is in [`LoadedConfig::problems`].
pub fn load(named: Option<&Path>, working: &Path, environment: &Variables) -> Result<LoadedConfig> {
    let (file, absolute_path) = read_main(named, working)?;
    let text = file.text.clone();
    let root = fs::real_path(absolute_path.parent().unwrap_or(working)).map_err(startup_error)?;
    let shown = file.path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut secrets = Secrets::default();
    connection_urls(environment).for_each(|(_, value)| secrets.add_connection_text(value));
    let mut main = ParsedFile::new(file, 0);
    main.extract_secrets(&mut secrets);
    secrets.resolve_variables(environment);
    let mut said = Vec::new();
    let (values, env_file) = match &main.tree {
        Ok(tree) => load_variables(tree, &root, environment, &secrets, &mut said)?,
        Err(_) => (environment.clone(), None),
    };
    // All that is a secret is known before anything more is read, or shown.
    connection_urls(&values)
        .filter(|(name, _)| !environment.contains_key(*name))
        .for_each(|(_, value)| secrets.add_connection_text(value));
    secrets.resolve_variables(&values);
    let folder = FlowsFolder::new(main.tree.as_ref().ok(), &values, &secrets);
    let FlowFiles {
        files: further,
        mut unread_files,
    } = folder.as_ref().map_or(Ok(FlowFiles::default()), |folder| {
        folder.files(&root, &shown)
    })?;
    unread_files.extend(unread_twin_file(&absolute_path)?);
    let flows_folder = folder
        .as_ref()
        .filter(|_| !further.is_empty())
        .map(|folder| absolute(&root, &folder.path));
    if flows_folder.is_none() {
        said.extend(folder.as_ref().and_then(no_flow_problem));
    }
    let further_folders = further
        .iter()
        .filter_map(|file| Some(root.join(file.path.strip_prefix(&shown).ok()?.parent()?)));
    let folders = flows_folder
        .iter()
        .cloned()
        .chain(further_folders)
        .collect();
    let files = parse_files(main, further, &values, &mut secrets);
    let sources = files
        .iter()
        .map(|ParsedFile { file, .. }| SourceFile {
            path: file.path.clone(),
            text: file.text.clone(),
        })
        .collect();
    let mut problems = Problems::new(&sources);
    said.into_iter().for_each(|problem| problems.push(problem));
    let mut found = LoadedConfig {
        documents: into_documents(files, &mut problems),
        sources,
        root,
        variables: Variables::new(),
        listings: Listings::new(),
        table_listings: TableListings::new(),
        problems,
        warnings: unread_files.into_iter().map(unread_file_warning).collect(),
        env_file,
        flows_folder,
        outside_links: Vec::new(),
        folders,
    };
    if is_confined(&found) {
        found.outside_links = find_outside_links(&found, &shown)?;
    }
    found.interpolate(&text, &values, &secrets);
    found.list_patterns()?;
    Ok(found)
}

/// The main file, and its absolute path.
fn read_main(named: Option<&Path>, working: &Path) -> Result<(ConfigFile, PathBuf)> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => find_config(working)?,
    };
    let absolute_path = working.join(&path);
    let text = read_text(&absolute_path, &path)?.ok_or_else(|| {
        Error::new(ErrorKind::Start, LoadError::Missing(path.clone()))
            .with_hint("check the path behind -f")
    })?;
    let role = Role::Project;
    Ok((ConfigFile { role, path, text }, absolute_path))
}

/// A folder of flows that was named and has none.
fn no_flow_problem(folder: &FlowsFolder) -> Option<Problem> {
    let problem = Problem::new(
        folder.at?,
        format!("{} has no flow", folder.path),
        "expected a folder with NAME/flow.yml in it",
    );
    Some(problem.with_hint("paths are relative to the folder of the config"))
}

/// Parses the further files, all processors at once, and puts them behind the main one. No secret
/// that any of them has can be seen in another afterwards.
fn parse_files(
    main: ParsedFile,
    further: Vec<ConfigFile>,
    values: &Variables,
    secrets: &mut Secrets,
) -> Vec<ParsedFile> {
    let further = further
        .into_par_iter()
        .enumerate()
        .map(|(number, file)| ParsedFile::new(file, number + 1));
    let mut files = further.collect::<Vec<_>>();
    files
        .iter_mut()
        .for_each(|file| file.extract_secrets(secrets));
    secrets.resolve_variables(values);
    files.insert(0, main);
    files
        .iter_mut()
        .for_each(|file| file.redact_secrets(secrets));
    files
}

/// The variables that are the URL of a connection.
fn connection_urls(variables: &Variables) -> impl Iterator<Item = (&String, &String)> {
    variables
        .iter()
        .filter(|(name, _)| name.starts_with(CONNECTION_PREFIX))
}

/// True where the config asks for nothing to leave its folder.
fn is_confined(found: &LoadedConfig) -> bool {
    let options = found
        .documents
        .first()
        .and_then(|main| main.tree.get("options"));
    options
        .and_then(|options| options.get("confine"))
        .is_some_and(|confine| confine.value != NodeValue::Bool(false))
}

/// What leads out of the folder of the config by a link, though it does not look so: the main file
/// is who asks.
fn find_outside_links(found: &LoadedConfig, shown: &Path) -> Result<Vec<PathBuf>> {
    let further = found.sources.iter().skip(1).map(|source| {
        found
            .root
            .join(source.path.strip_prefix(shown).unwrap_or(&source.path))
    });
    let places = found
        .flows_folder
        .iter()
        .chain(&found.env_file)
        .cloned()
        .chain(further)
        .filter(|path| path.starts_with(&found.root));
    let leaves = |path: &PathBuf| {
        Ok(!fs::real_path(path)
            .map_err(startup_error)?
            .starts_with(&found.root))
    };
    places
        .filter_map(|path| {
            leaves(&path)
                .map(|leaves| leaves.then_some(path))
                .transpose()
        })
        .collect()
}

/// The same file with the other ending, which is not read.
fn unread_twin_file(path: &Path) -> Result<Option<String>> {
    let is_first = path.file_name().is_some_and(|name| name == FILE_NAMES[0]);
    let there = fs::stat(&path.with_file_name(FILE_NAMES[1]))
        .map_err(startup_error)?
        .is_some();
    Ok((is_first && there).then(|| format!("{} is not read", FILE_NAMES[1])))
}

fn unread_file_warning(said: String) -> Problem {
    let at = Span {
        line: 1,
        column: 1,
        ..Span::default()
    };
    let problem = Problem::new(at, said, "a file of the config that is not read");
    problem.with_hint("flows are read from NAME/flow.yml, entities from NAME/entities/ENTITY.yml")
}

fn find_config(working: &Path) -> Result<PathBuf> {
    for folder in working.ancestors() {
        for name in FILE_NAMES {
            let path = folder.join(name);
            if fs::stat(&path)
                .map_err(startup_error)?
                .is_some_and(|found| found.is_file)
            {
                return Ok(if folder == working {
                    PathBuf::from(name)
                } else {
                    path
                });
            }
        }
    }
    let error = Error::new(ErrorKind::Start, LoadError::NotFound(working.to_path_buf()));
    Err(error.with_hint("hygge init begins a project here; -f FILE names a config elsewhere"))
}

/// What is YAML, of all files.
fn into_documents(files: Vec<ParsedFile>, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    for ParsedFile {
        file: ConfigFile { role, text, .. },
        tree,
        ..
    } in files
    {
        match tree {
            Ok(mut tree) => {
                // A further file may have nothing to say: that it is there is enough.
                if tree.value == NodeValue::Null && role != Role::Project {
                    tree.value = NodeValue::Map(Vec::new());
                }
                node::remove_duplicates(&mut tree, problems);
                yaml::report_special_chars(&mut tree, &text, problems);
                documents.push(Document { role, tree });
            }
            Err(problem) => problems.push(problem),
        }
    }
    documents
}

impl LoadedConfig {
    /// The main file, as it is shown.
    pub fn path(&self) -> &Path {
        &self.sources[0].path
    }

    /// Puts the variables in. Connections keep theirs until they are opened.
    fn interpolate(&mut self, main: &str, values: &Variables, secrets: &Secrets) {
        let further = self
            .sources
            .iter()
            .skip(1)
            .map(|source| source.text.as_ref());
        for text in std::iter::once(main).chain(further) {
            for name in variables::variable_names(text) {
                if let Some((name, value)) = values.get_key_value(name) {
                    self.variables.insert(name.clone(), value.clone());
                }
            }
        }
        let connections = values
            .iter()
            .filter(|(name, _)| name.starts_with(CONNECTION_PREFIX) || *name == PGSSLMODE);
        self.variables
            .extend(connections.map(|(name, value)| (name.clone(), value.clone())));
        for document in &mut self.documents {
            let mut fill = |key, node| {
                interpolation::interpolate_node(
                    key,
                    node,
                    &self.variables,
                    secrets,
                    &mut self.problems,
                    &mut self.warnings,
                )
            };
            // What is for anchors is filled in where it is used.
            if let NodeValue::Map(entries) = &mut document.tree.value {
                entries
                    .iter_mut()
                    .filter(|(key, _)| !key.name.starts_with("x-"))
                    .for_each(|(key, node)| fill(&key.name, node));
            }
        }
    }

    /// Lists what the patterns of entities match.
    fn list_patterns(&mut self) -> Result<()> {
        for (pattern, at) in entities::patterns(&self.documents) {
            if self.listings.contains_key(&pattern) {
                continue;
            }
            if let Err(reason) = listing::check_pattern(&pattern) {
                let problem = Problem::new(
                    at,
                    format!("from {pattern:?} cannot be used: {reason}"),
                    "expected a pattern of paths",
                );
                self.problems.push(
                    problem.with_hint(
                        "from: \"data/home/*\" finds every folder and file in data/home",
                    ),
                );
                continue;
            }
            let listed = listing::list_matches(&self.root, &pattern).map_err(startup_error)?;
            for refused in listed.invalid {
                let problem = Problem::new(at, refused.clone(), format!("it matches {pattern}"));
                self.problems.push(
                    problem.with_hint("move it away, or write a pattern that does not match it"),
                );
            }
            self.folders.extend(
                listed
                    .folders
                    .iter()
                    .map(|folder| absolute(&self.root, folder)),
            );
            self.listings.insert(pattern, listed.matched);
        }
        Ok(())
    }
}
