//! Finding and reading a config: its files, the variables it uses, and what its patterns find.
//!
//! All I/O of the config is here; what it means is found out from what is read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::entities::{self, Listings};
use super::listing;
use super::node::{self, Node, Secret, Value};
use super::problem::{Problem, Problems, Source, Sources, Span, nearest};
use super::secrets::{Secrets, covered, covered_by_guess};
use super::variables::{self, Variables};
use super::{Document, Role, absolute, yaml};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The names that are looked for, the first one first.
pub const FILE_NAMES: [&str; 2] = ["hygge.yml", "hygge.yaml"];

/// The folder with the flows that have a folder of their own.
const FLOWS_FOLDER: &str = "flows";

/// How large a file of the config may be, in bytes.
pub const FILE_BYTES: u64 = 16 << 20;

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
    /// The folders whose entries decide what the config is.
    pub folders: BTreeSet<PathBuf>,
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
    let mut parsed = yaml::parse(&text, 0);
    let mut secrets = Secrets::default();
    environment.iter().filter(|(name, _)| name.starts_with(CONNECTION_PREFIX)).for_each(|(_, value)| secrets.add(value));
    let places = keep_secrets(&mut parsed, &text, &mut secrets);
    let main_name = path.file_name().map(ToOwned::to_owned);
    let mut main = File { role: Role::Project, path, text: text.clone() };
    let mut said = Vec::new();
    let (values, env_file) = match &parsed {
        Ok(tree) => variables_of(tree, &root, environment, &secrets, &mut said)?,
        Err(_) => (environment.clone(), None),
    };
    let folder = FlowsFolder::new(parsed.as_ref().ok(), &values, &secrets);
    let FlowFiles { mut further, mut strays } = folder.as_ref().map_or(Ok(FlowFiles::default()), |folder| folder.files(&root, &shown))?;
    let parse = |(number, file): (usize, &File)| yaml::parse(&file.text, number + 1);
    let mut trees: Vec<_> = further.par_iter().enumerate().map(parse).collect();
    let all_places: Vec<_> = trees.iter_mut().zip(&further).map(|(tree, file)| keep_secrets(tree, &file.text, &mut secrets)).collect();
    cover(&mut main, &parsed, &places, &secrets);
    for ((file, tree), places) in further.iter_mut().zip(&trees).zip(&all_places) {
        cover(file, tree, places, &secrets);
    }
    let sources = sources(&main, &further);
    let mut problems = Problems::new(&sources);
    said.into_iter().for_each(|problem| problems.push(problem));
    if let (true, Some(FlowsFolder { path, at: Some(at) })) = (further.is_empty(), &folder) {
        let problem = Problem::new(*at, format!("{path} has no flow"), "expected a folder with NAME/flow.yml in it");
        problems.push(problem.hint("paths are relative to the folder of the config"));
    }
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    let flows_folder = folder.as_ref().filter(|_| !further.is_empty()).map(|folder| absolute(&root, &folder.path));
    if let Some(folder) = &flows_folder {
        folders.insert(folder.clone());
        folders.extend(further.iter().filter_map(|file| Some(root.join(file.path.strip_prefix(&shown).ok()?.parent()?))));
    }
    let twin = absolute_path.with_file_name(FILE_NAMES[1]);
    if main_name == Some(FILE_NAMES[0].into()) && fs::stat(&twin).map_err(start)?.is_some() {
        strays.push(format!("{} is not read", FILE_NAMES[1]));
    }
    let parsed = std::iter::once((Role::Project, parsed)).chain(further.into_iter().map(|file| file.role).zip(trees));
    let documents = documents(parsed, &mut problems);
    let (variables, listings) = (Variables::new(), Listings::new());
    let mut found =
        Found { sources, root, documents, variables, listings, problems, warnings: Vec::new(), env_file, flows_folder, folders };
    for stray in strays {
        let at = Span { line: 1, column: 1, ..Span::default() };
        let problem = Problem::new(at, stray, "a file of the config that is not read");
        found.warnings.push(problem.hint("flows are read from NAME/flow.yml, entities from NAME/entities/ENTITY.yml"));
    }
    found.fill(&text, &values, &secrets);
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
fn keep_secrets(parsed: &mut std::result::Result<Node, Problem>, text: &str, secrets: &mut Secrets) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    if let Ok(tree) = parsed {
        keep_secrets_below(tree, true, &mut places);
        places
            .iter()
            .filter_map(|place: &Range<usize>| text.get(place.clone()))
            .for_each(|text| secrets.add(text.trim_matches(['"', '\''])));
        tree_secrets(tree, secrets);
    }
    places
}

/// Also what is mistyped or stands in the wrong place; a flow may be called `url` or `connections`.
fn keep_secrets_below(node: &mut Node, is_top: bool, places: &mut Vec<Range<usize>>) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| keep_secrets_below(item, false, places)),
        Value::Map(entries) => {
            for (key, node) in entries {
                let is_block = matches!(node.value, Value::Map(_) | Value::List(_));
                let is_connections = is_top && nearest(&key.name, std::iter::once("connections")).is_some();
                if is_connections || !is_block && SECRET_KEYS.contains(&key.name.as_str()) {
                    node.keep_secret(places);
                } else {
                    keep_secrets_below(node, is_top && key.name == "options", places);
                }
            }
        }
        _ => {}
    }
}

/// Keys whose texts are secret, wherever they stand.
const SECRET_KEYS: [&str; 3] = ["url", "password", "dsn"];

/// What connections say, as it is after YAML was read.
fn tree_secrets(node: &Node, secrets: &mut Secrets) {
    match &node.value {
        Value::Secret(Secret(text)) => secrets.add(text),
        Value::List(items) => items.iter().for_each(|item| tree_secrets(item, secrets)),
        Value::Map(entries) => entries.iter().for_each(|(_, node)| tree_secrets(node, secrets)),
        _ => {}
    }
}

/// Covers the secrets in the text of a file, which is only shown from now on.
fn cover(file: &mut File, parsed: &std::result::Result<Node, Problem>, places: &[Range<usize>], secrets: &Secrets) {
    if parsed.is_err() {
        file.text = Arc::from(secrets.covered(&covered_by_guess(&file.text)));
    } else if !places.is_empty() || secrets.are_in(&file.text) {
        file.text = Arc::from(secrets.covered(&covered(&file.text, places)));
    }
}

/// The folder with the flows that have a folder of their own.
struct FlowsFolder {
    path: String,
    /// Where it is written; `None` where it is the usual one.
    at: Option<Span>,
}

/// The files of flows that have a folder of their own.
#[derive(Default)]
struct FlowFiles {
    further: Vec<File>,
    /// What lies there and is not read, in words.
    strays: Vec<String>,
}

impl FlowsFolder {
    /// The folder that is written, or the usual one; `null` is none.
    fn new(project: Option<&Node>, values: &Variables, secrets: &Secrets) -> Option<Self> {
        let written = project.into_iter().flat_map(Node::entries).find(|(key, _)| key.name == "flows_dir");
        match written.map(|(_, node)| (node.at, &node.value)) {
            Some((_, Value::Null)) => None,
            Some((at, Value::Text(text))) => {
                // A variable without a value is a problem where texts are filled in.
                let path = variables::filled(text, values, secrets).ok()?;
                Some(Self { path: path.into_owned(), at: Some(at) })
            }
            _ => Some(Self { path: FLOWS_FOLDER.into(), at: None }),
        }
    }

    fn files(&self, root: &Path, shown: &Path) -> Result<FlowFiles> {
        let flows = Listed::new(&absolute(root, &self.path))?;
        let found = flows.folders.par_iter().map(|name| self.flow(root, shown, name)).collect::<Result<Vec<_>>>()?;
        let mut files = FlowFiles::default();
        for one in found {
            files.further.extend(one.further);
            files.strays.extend(one.strays);
        }
        files.strays.extend(flows.configs.iter().chain(&flows.lost).map(|file| not_read(&Path::new(&self.path).join(file))));
        Ok(files)
    }

    /// The files of one flow: its own first, then its entities'.
    fn flow(&self, root: &Path, shown: &Path, name: &str) -> Result<FlowFiles> {
        let folder = Path::new(&self.path).join(name);
        let at = |path: &Path| absolute(root, &path.to_string_lossy());
        let listed = Listed::new(&at(&folder))?;
        let (mut wanted, mut strays) = (Vec::new(), Vec::new());
        for file in &listed.configs {
            match file.as_str() {
                "flow.yml" | "flow.yaml" => wanted.push((Role::Flow(name.to_string()), folder.join(file))),
                _ => strays.push(not_read(&folder.join(file))),
            }
        }
        strays.extend(listed.lost.iter().map(|file| not_read(&folder.join(file))));
        let has_flow = !wanted.is_empty();
        for inner in &listed.folders {
            let below = folder.join(inner);
            let inside = Listed::new(&at(&below))?;
            strays.extend(inside.lost.iter().map(|file| not_read(&below.join(file))));
            for file in inside.configs {
                match file.rsplit_once('.') {
                    Some((entity, _)) if inner == "entities" && has_flow => {
                        wanted.push((Role::Entity(name.to_string(), entity.to_string()), below.join(&file)));
                    }
                    _ => strays.push(not_read(&below.join(&file))),
                }
            }
            for deeper in inside.folders {
                let lost = Listed::new(&at(&below.join(&deeper)))?.configs.into_iter();
                strays.extend(lost.map(|file| not_read(&below.join(&deeper).join(file))));
            }
        }
        let read = |(role, path): (Role, PathBuf)| {
            let path_shown = shown.join(&path);
            Ok(read(&at(&path), &path_shown)?.map(|text| File { role, path: path_shown, text }))
        };
        let files = wanted.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(FlowFiles { further: files.into_iter().flatten().collect(), strays })
    }
}

fn not_read(path: &Path) -> String {
    format!("{} is not read", path.display())
}

/// What a folder of the config has in it, sorted; hidden names are passed over.
struct Listed {
    folders: Vec<String>,
    /// Files that may be configs.
    configs: Vec<String>,
    /// What was most likely meant as one.
    lost: Vec<String>,
}

impl Listed {
    fn new(folder: &Path) -> Result<Self> {
        let mut listed = Self { folders: Vec::new(), configs: Vec::new(), lost: Vec::new() };
        for entry in fs::list(folder, fs::is_hidden).map_err(start)?.unwrap_or_default() {
            let Ok(name) = entry.relative.into_os_string().into_string() else { continue };
            let ending = Path::new(&name).extension().and_then(OsStr::to_str).unwrap_or_default();
            match ending.to_lowercase().as_str() {
                _ if entry.is_folder => listed.folders.push(name),
                "yml" | "yaml" if entry.is_file && matches!(ending, "yml" | "yaml") => listed.configs.push(name),
                // Another case, or a link to nowhere.
                "yml" | "yaml" => listed.lost.push(name),
                _ => {}
            }
        }
        listed.folders.sort();
        listed.configs.sort();
        Ok(listed)
    }
}

fn sources(main: &File, further: &[File]) -> Sources {
    let files = std::iter::once(main).chain(further);
    files.map(|file| Source { path: file.path.clone(), text: file.text.clone() }).collect()
}

/// What is YAML, of all files.
fn documents(parsed: impl Iterator<Item = (Role, std::result::Result<Node, Problem>)>, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    for (role, tree) in parsed {
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
    fn fill(&mut self, main: &str, values: &Variables, secrets: &Secrets) {
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
            let mut fill = |node| variables::fill(node, &self.variables, secrets, &mut self.problems, &mut self.warnings);
            // What is for anchors is filled in where it is used.
            if let Value::Map(entries) = &mut document.tree.value {
                entries.iter_mut().filter(|(key, _)| !key.name.starts_with("x-")).for_each(|(_, node)| fill(node));
            }
        }
    }

    /// Lists what the patterns of entities match.
    fn list(&mut self) -> Result<()> {
        for (pattern, at) in entities::patterns(&self.documents) {
            if self.listings.contains_key(&pattern) {
                continue;
            }
            if let Err(reason) = listing::check(&pattern) {
                let problem = Problem::new(at, format!("from {pattern:?} cannot be used: {reason}"), "expected a pattern of paths");
                self.problems.push(problem.hint("from: \"data/home/*\" finds every folder and file in data/home"));
                continue;
            }
            let listed = listing::list(&self.root, &pattern).map_err(start)?;
            for refused in listed.refused {
                let problem = Problem::new(at, refused.clone(), format!("it matches {pattern}"));
                self.problems.push(problem.hint("move it away, or write a pattern that does not match it"));
            }
            self.folders.extend(listed.folders.iter().map(|folder| absolute(&self.root, folder)));
            self.listings.insert(pattern, listed.matches);
        }
        Ok(())
    }
}

/// The environment, behind it the variables of the file that `options.env_file` names, and that file.
fn variables_of(
    tree: &Node,
    root: &Path,
    environment: &Variables,
    secrets: &Secrets,
    said: &mut Vec<Problem>,
) -> Result<(Variables, Option<PathBuf>)> {
    let named = tree.get("options").and_then(|options| options.get("env_file"));
    let named = named.and_then(|node| Some((node.at, variables::filled(node.text()?, environment, secrets).ok()?)));
    let Some((at, text)) = named else { return Ok((environment.clone(), None)) };
    let path = absolute(root, &text);
    let is_file = fs::stat(&path).map_err(start)?.is_some_and(|found| !found.is_folder);
    if !is_file {
        let problem = Problem::new(at, format!("env_file {text} does not exist"), "expected a file with lines of NAME=value");
        said.push(problem.hint("it is relative to the folder of the config"));
        return Ok((environment.clone(), None));
    }
    let bytes = fs::read_at_most(&path, FILE_BYTES).map_err(start)?;
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
                let problem = Problem::new(at, format!("env_file {text}{number} cannot be read"), "expected lines of NAME=value");
                said.push(problem.hint("put a value with spaces or # in quotes"));
            }
        }
    }
    values.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok((values, Some(path)))
}
