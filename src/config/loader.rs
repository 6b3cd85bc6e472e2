//! Finding and reading a config: its files, the variables it uses, and what its patterns find.
//!
//! All I/O of the config is here; what it means is found out from what is read.

use std::borrow::Cow;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use globset::GlobBuilder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::entities::{self, Listings, Matches};
use super::node::{self, Node, Value};
use super::problem::{Problem, Problems, Source, Sources, Span, covered, covered_by_guess};
use super::variables::{self, Variables};
use super::{Document, Role, absolute};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The names that are looked for, the first one first.
pub const FILE_NAMES: [&str; 2] = ["hygge.yml", "hygge.yaml"];

/// The folder with the flows that have a folder of their own.
const FLOWS_FOLDER: &str = "flows";

/// How large a file of the config may be, in bytes.
const FILE_BYTES: u64 = 16 << 20;

/// What a variable's name begins with that gives a connection its URL.
pub const CONNECTION_PREFIX: &str = "HYGGE_CONNECTION_";

/// A config as it was read.
#[derive(Clone, PartialEq)]
pub struct Found {
    /// Its files, the main one first.
    pub sources: Sources,
    /// The folder of the main file, absolute: paths are relative to it.
    pub root: PathBuf,
    /// What is in the files, variables filled in, but for those of connections.
    pub documents: Vec<Document>,
    /// The variables that the config names.
    pub variables: Variables,
    /// What its patterns of entities found.
    pub listings: Listings,
    /// What was wrong so far.
    pub problems: Problems,
    /// What is no error.
    pub warnings: Vec<Problem>,
    /// The file of variables, if one was read.
    pub env_file: Option<PathBuf>,
    /// The folder with further flows, if there is one.
    pub flows_folder: Option<PathBuf>,
}

/// The texts are left out: they may have secrets in them.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// There is no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing was found on the way up.
    #[error("no {} in {} or any folder above it", FILE_NAMES[0], .0.display())]
    NotFound(PathBuf),
    /// A config is a text; the line is the first that is not.
    #[error("{}:{}: the config is not UTF-8", .0.display(), .1)]
    NotText(PathBuf, usize),
    /// The file that was named is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// What was named is no file.
    #[error("{} is a folder, not a file", .0.display())]
    Folder(PathBuf),
    /// It is no config that anybody wrote.
    #[error("{} has {} bytes or more, and a config may have {FILE_BYTES}", .0.display(), .1)]
    TooLarge(PathBuf, u64),
}

/// A file of the config that was found.
struct File {
    role: Role,
    path: PathBuf,
    text: Arc<str>,
}

/// Reads the config that is named, or the nearest one above `working`.
///
/// # Errors
/// Nothing is there, or it cannot be read. What is wrong in it is in [`Found::problems`].
pub fn load(named: Option<&Path>, working: &Path, environment: &Variables) -> Result<Found> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => search(working)?,
    };
    let absolute_path = working.join(&path);
    let text = read(&absolute_path, &path)?
        .ok_or_else(|| Error::new(ErrorKind::Start, LoadError::Missing(path.clone())).with_hint("check the path behind -f"))?;
    let root = fs::real_path(absolute_path.parent().unwrap_or(working)).map_err(start)?;
    let shown = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let main = File { role: Role::Project, path, text };
    let mut parsed = node::parse(&main.text, 0);
    let mut main = main;
    let original = main.text.clone();
    main.text = match &mut parsed {
        Ok(tree) => Arc::from(covered(&original, &keep_secrets(tree))),
        Err(_) => Arc::from(covered_by_guess(&original)),
    };
    let flows_dir = parsed.as_ref().ok().and_then(|tree| tree.get("flows_dir"));
    let written = flows_dir.and_then(Node::text).unwrap_or(FLOWS_FOLDER);
    let folder = variables::filled(written, environment).map_or_else(|_| written.to_string(), Cow::into_owned);
    let FlowFiles { further, strays } = flow_files(&root, &shown, &folder)?;
    let sources = sources(&main, &further);
    let mut problems = Problems::new(&sources);
    let flows_folder = (!further.is_empty()).then(|| absolute(&root, &folder));
    if let (Some(at), None) = (flows_dir, &flows_folder) {
        let problem = Problem::new(at.at, format!("{folder} has no flow"), "expected a folder with NAME/flow.yml in it");
        problems.push(problem.hint("paths are relative to the folder of the config"));
    }
    let documents = documents(parsed, further, &mut problems);
    let mut found = Found {
        sources,
        root,
        documents,
        variables: Variables::new(),
        listings: Listings::new(),
        problems,
        warnings: Vec::new(),
        env_file: None,
        flows_folder,
    };
    for stray in strays {
        let at = Span { line: 1, column: 1, ..Span::default() };
        found.warnings.push(
            Problem::new(at, stray, "a file of the config that is not read")
                .hint("flows are read from NAME/flow.yml, entities from NAME/entities/ENTITY.yml"),
        );
    }
    found.fill(&original, environment)?;
    found.list()?;
    Ok(found)
}

/// The text of a file of the config; `None` where no file is.
fn read(path: &Path, shown: &Path) -> Result<Option<Arc<str>>> {
    let Some(found) = fs::stat(path).map_err(start)? else { return Ok(None) };
    if found.is_folder {
        let error = Error::new(ErrorKind::Start, LoadError::Folder(shown.to_path_buf()));
        return Err(error.with_hint(format!("name the file: {}", shown.join(FILE_NAMES[0]).display())));
    }
    let too_large = |size| {
        let error = LoadError::TooLarge(shown.to_path_buf(), size);
        Error::new(ErrorKind::Config, error).with_hint("split it: each flow may have a folder of its own")
    };
    if found.stat.size > FILE_BYTES {
        return Err(too_large(found.stat.size));
    }
    // What is no file has no size: a pipe, for one.
    let bytes = fs::read_at_most(path, FILE_BYTES + 1).map_err(start)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(shown, &error))?;
    // Some editors begin a file with a mark of its encoding.
    Ok(Some(Arc::from(text.strip_prefix('\u{feff}').unwrap_or(&text))))
}

fn not_text(path: &Path, error: &FromUtf8Error) -> Error {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
    Error::new(ErrorKind::Config, LoadError::NotText(path.to_path_buf(), line)).with_hint("save the file as UTF-8")
}

fn search(working: &Path) -> Result<PathBuf> {
    for folder in working.ancestors() {
        for name in FILE_NAMES {
            let path = folder.join(name);
            if fs::stat(&path).map_err(start)?.is_some_and(|found| found.is_file) {
                return Ok(if folder == working { PathBuf::from(name) } else { path });
            }
        }
    }
    let error = Error::new(ErrorKind::Start, LoadError::NotFound(working.to_path_buf()));
    Err(error.with_hint("hygge init begins a project here; -f FILE names a config elsewhere"))
}

fn start(error: fs::FsError) -> Error {
    Error::new(ErrorKind::Start, error)
}

/// Takes the connections' texts out of sight; gives where they stand.
fn keep_secrets(tree: &mut Node) -> Vec<Span> {
    let mut places = Vec::new();
    if let Value::Map(entries) = &mut tree.value {
        let connections = entries.iter_mut().filter(|(key, _)| key.name == "connections");
        connections.for_each(|(_, node)| node.keep_secret(&mut places));
    }
    places
}

/// The files of flows that have a folder of their own.
struct FlowFiles {
    further: Vec<File>,
    /// What lies there and is not read, in words.
    strays: Vec<String>,
}

fn flow_files(root: &Path, shown: &Path, folder: &str) -> Result<FlowFiles> {
    let mut wanted = Vec::new();
    let mut strays = Vec::new();
    let is_config = |name: &str| name.ends_with(".yml") || name.ends_with(".yaml");
    let flows = absolute(root, folder);
    for name in names(&flows, true)? {
        let of_flow = Path::new(folder).join(&name);
        let before = wanted.len();
        for file in names(&flows.join(&name), false)?.into_iter().filter(|file| is_config(file)) {
            match file.as_str() {
                "flow.yml" | "flow.yaml" => wanted.push((Role::Flow(name.clone()), of_flow.join(file))),
                _ => strays.push(format!("{} is not read", of_flow.join(file).display())),
            }
        }
        if wanted.len() == before {
            strays.push(format!("{} has no flow.yml: it is no flow", of_flow.display()));
            continue;
        }
        for inner in names(&flows.join(&name), true)? {
            let files = names(&flows.join(&name).join(&inner), false)?.into_iter().filter(|file| is_config(file));
            for file in files {
                let path = of_flow.join(&inner).join(&file);
                match file.rsplit_once('.') {
                    Some((entity, _)) if inner == "entities" => wanted.push((Role::Entity(name.clone(), entity.to_string()), path)),
                    _ => strays.push(format!("{} is not read", path.display())),
                }
            }
        }
    }
    if wanted.is_empty() {
        // A folder that happens to be called so.
        return Ok(FlowFiles { further: Vec::new(), strays: Vec::new() });
    }
    let loose = names(&flows, false)?.into_iter().filter(|file| is_config(file));
    strays.extend(loose.map(|file| format!("{} is not read", Path::new(folder).join(file).display())));
    let read = |(role, path): (Role, PathBuf)| {
        let path_shown = shown.join(&path);
        let text = read(&absolute(root, &path.to_string_lossy()), &path_shown)?;
        Ok(text.map(|text| File { role, path: path_shown, text }))
    };
    let files = wanted.into_par_iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(FlowFiles { further: files.into_iter().flatten().collect(), strays })
}

/// The names in a folder, sorted; hidden ones are passed over.
fn names(folder: &Path, folders: bool) -> Result<Vec<String>> {
    let found = fs::list(folder, |name| name.starts_with(['.', '_'])).map_err(start)?.unwrap_or_default();
    let wanted = found.into_iter().filter(|entry| if folders { entry.is_folder } else { entry.is_file });
    let mut names: Vec<String> = wanted.filter_map(|entry| entry.relative.into_os_string().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn sources(main: &File, further: &[File]) -> Sources {
    let files = std::iter::once(main).chain(further);
    files.map(|file| Source { path: file.path.clone(), text: file.text.clone() }).collect()
}

/// Parses the further files, and takes from all what is YAML.
fn documents(main: std::result::Result<Node, Problem>, further: Vec<File>, problems: &mut Problems) -> Vec<Document> {
    let parse = |(number, file): (usize, File)| (file.role, node::parse(&file.text, number + 1));
    let further: Vec<_> = further.into_iter().enumerate().collect::<Vec<_>>().into_par_iter().map(parse).collect();
    let mut documents = Vec::new();
    for (role, tree) in std::iter::once((Role::Project, main)).chain(further) {
        match tree {
            Ok(mut tree) => {
                // A further file may have nothing to say: that it is there is enough.
                if tree.value == Value::Null && role != Role::Project {
                    tree.value = Value::Map(Vec::new());
                }
                node::take_duplicates(&mut tree, problems);
                documents.push(Document { role, tree });
            }
            Err(problem) => problems.push(problem),
        }
    }
    documents
}

impl Found {
    /// The main file, as it is shown.
    pub fn path(&self) -> &Path {
        &self.sources[0].path
    }

    /// Puts the variables in. Connections keep theirs until they are opened.
    fn fill(&mut self, main: &str, environment: &Variables) -> Result<()> {
        let mut values = self.env_file(environment)?;
        values.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        let further = self.sources.iter().skip(1).map(|source| source.text.as_ref());
        for text in std::iter::once(main).chain(further) {
            for name in variables::names_in(text) {
                if let Some((name, value)) = values.get_key_value(name) {
                    self.variables.insert(name.clone(), value.clone());
                }
            }
        }
        let connections = values.iter().filter(|(name, _)| name.starts_with(CONNECTION_PREFIX));
        self.variables.extend(connections.map(|(name, value)| (name.clone(), value.clone())));
        for document in &mut self.documents {
            match (&document.role, &mut document.tree.value) {
                (Role::Project, Value::Map(entries)) => {
                    for (_, value) in entries.iter_mut().filter(|(key, _)| key.name != "connections") {
                        variables::fill(value, &self.variables, &mut self.problems);
                    }
                }
                _ => variables::fill(&mut document.tree, &self.variables, &mut self.problems),
            }
        }
        Ok(())
    }

    /// The variables of the file that `options.env_file` names.
    fn env_file(&mut self, environment: &Variables) -> Result<Variables> {
        let project = self.documents.first().filter(|document| document.role == Role::Project);
        let named = project.and_then(|document| document.tree.get("options")?.get("env_file"));
        let Some((named, text)) = named.and_then(|node| Some((node, node.text()?))) else { return Ok(Variables::new()) };
        let Ok(text) = variables::filled(text, environment) else { return Ok(Variables::new()) };
        let path = absolute(&self.root, &text);
        let Some(bytes) = fs::read(&path).map_err(start)? else {
            let problem = Problem::new(named.at, format!("env_file {text} does not exist"), "expected a file with lines of NAME=value");
            self.problems.push(problem.hint("it is relative to the folder of the config"));
            return Ok(Variables::new());
        };
        let mut values = Variables::new();
        for line in dotenvy::from_read_iter(bytes.as_slice()) {
            match line {
                Ok((name, value)) => drop(values.insert(name, value)),
                // The line is not shown: it may be a secret.
                Err(error) => {
                    let number = match error {
                        dotenvy::Error::LineParse(line, _) => {
                            let found = String::from_utf8_lossy(&bytes).lines().position(|other| other.contains(line.trim()));
                            format!(", line {}", found.unwrap_or_default() + 1)
                        }
                        _ => String::new(),
                    };
                    let problem = Problem::new(named.at, format!("env_file {text}{number} cannot be read"), "expected lines of NAME=value");
                    self.problems.push(problem.hint("put a value with spaces or # in quotes"));
                }
            }
        }
        self.env_file = Some(path);
        Ok(values)
    }

    /// Lists what the patterns of entities match.
    fn list(&mut self) -> Result<()> {
        for (pattern, at) in entities::patterns(&self.documents) {
            if self.listings.contains_key(&pattern) {
                continue;
            }
            match check_pattern(&pattern) {
                Ok(()) => drop(self.listings.insert(pattern.clone(), matches(&self.root, &pattern)?)),
                Err(reason) => {
                    let problem = Problem::new(at, format!("from {pattern:?} cannot be used: {reason}"), "expected a pattern of paths");
                    self.problems.push(problem.hint("from: \"data/home/*\" finds every folder and file in data/home"));
                }
            }
        }
        Ok(())
    }
}

fn check_pattern(pattern: &str) -> std::result::Result<(), String> {
    if !pattern.contains(['*', '?', '[', '{']) {
        return Err("it has no * and so finds at most one".into());
    }
    for part in pattern.split('/') {
        if part.contains("**") {
            return Err("** is not known here: write a * for each folder".into());
        }
        GlobBuilder::new(part).build().map_err(|error| error.kind().to_string())?;
    }
    Ok(())
}

/// The folders and files that match a pattern: entity and path, sorted by path.
fn matches(root: &Path, pattern: &str) -> Result<Matches> {
    let mut found: Vec<String> = vec![if pattern.starts_with('/') { "/".into() } else { String::new() }];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for part in &parts {
        let joined = |folder: &str, name: &str| {
            if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
        };
        if !part.contains(['*', '?', '[', '{']) {
            found.iter_mut().for_each(|folder| *folder = joined(folder, part));
            continue;
        }
        let Ok(glob) = GlobBuilder::new(part).literal_separator(true).build() else { return Ok(Vec::new()) };
        let glob = glob.compile_matcher();
        let mut next = Vec::new();
        for folder in &found {
            let listed = fs::list(&absolute(root, folder), |name| name.starts_with(['.', '_'])).map_err(start)?;
            let names = listed.unwrap_or_default().into_iter().filter_map(|entry| entry.relative.into_os_string().into_string().ok());
            next.extend(names.filter(|name| glob.is_match(name)).map(|name| joined(folder, &name)));
        }
        found = next;
    }
    found.sort();
    let mut matches = Matches::new();
    for path in found {
        let absolute = absolute(root, &path);
        let Some(entry) = fs::stat(&absolute).map_err(start)? else { continue };
        let last = Path::new(&path).components().next_back();
        let Some(Component::Normal(name)) = last else { continue };
        let stem = if entry.is_file { Path::new(name).file_stem().unwrap_or(name) } else { name };
        matches.push((stem.to_string_lossy().into_owned(), path));
    }
    Ok(matches)
}
