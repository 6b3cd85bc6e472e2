//! The folder with the flows that have a folder of their own: which files there are of the config.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::config_file::{ConfigFile, read_text, startup_error};
use super::interpolation;
use super::node::{Node, NodeValue};
use super::problem::Span;
use super::secrets::Secrets;
use super::variables::Variables;
use super::{Role, absolute};
use crate::error::Result;
use crate::fs;

/// The usual folder.
const FLOWS_FOLDER: &str = "flows";

/// The folder with the flows that have a folder of their own.
pub(super) struct FlowsFolder {
    pub(super) path: String,
    /// Where it is written; `None` where it is the usual one.
    pub(super) at: Option<Span>,
}

/// The files of flows that have a folder of their own.
#[derive(Default)]
pub(super) struct FlowFiles {
    pub(super) files: Vec<ConfigFile>,
    /// What lies there and is not read, in words.
    pub(super) unread_files: Vec<String>,
}

impl FlowsFolder {
    /// The folder that is written, or the usual one; `null` is none.
    pub(super) fn new(
        project: Option<&Node>,
        values: &Variables,
        secrets: &Secrets,
    ) -> Option<Self> {
        let written = project
            .into_iter()
            .flat_map(Node::entries)
            .find(|(key, _)| key.name == "flows_dir");
        match written.map(|(_, node)| (node.at, &node.value)) {
            Some((_, NodeValue::Null)) => None,
            Some((at, NodeValue::Text(text))) => {
                // A variable without a value is a problem where texts are filled in.
                let path = interpolation::interpolate_text(text, values, secrets).ok()?;
                Some(Self {
                    path: path.into_owned(),
                    at: Some(at),
                })
            }
            _ => Some(Self {
                path: FLOWS_FOLDER.into(),
                at: None,
            }),
        }
    }

    pub(super) fn files(&self, root: &Path, shown: &Path) -> Result<FlowFiles> {
        let flows = FolderContents::new(&absolute(root, &self.path))?;
        let found = flows
            .folders
            .par_iter()
            .map(|name| self.flow_files(root, shown, name))
            .collect::<Result<Vec<_>>>()?;
        let mut files = FlowFiles::default();
        for one in found {
            files.files.extend(one.files);
            files.unread_files.extend(one.unread_files);
        }
        files.unread_files.extend(
            flows
                .configs
                .iter()
                .chain(&flows.unrecognized)
                .map(|file| not_read_message(&Path::new(&self.path).join(file))),
        );
        Ok(files)
    }

    /// The files of one flow: its own first, then its entities'.
    fn flow_files(&self, root: &Path, shown: &Path, name: &str) -> Result<FlowFiles> {
        let folder = Path::new(&self.path).join(name);
        let at = |path: &Path| absolute(root, &path.to_string_lossy());
        let listed = FolderContents::new(&at(&folder))?;
        let (mut wanted, mut strays) = (Vec::new(), Vec::new());
        for file in &listed.configs {
            match file.as_str() {
                "flow.yml" | "flow.yaml" => {
                    wanted.push((Role::Flow(name.to_string()), folder.join(file)))
                }
                _ => strays.push(not_read_message(&folder.join(file))),
            }
        }
        strays.extend(
            listed
                .unrecognized
                .iter()
                .map(|file| not_read_message(&folder.join(file))),
        );
        let has_flow = !wanted.is_empty();
        for inner in &listed.folders {
            let below = folder.join(inner);
            let inside = FolderContents::new(&at(&below))?;
            strays.extend(
                inside
                    .unrecognized
                    .iter()
                    .map(|file| not_read_message(&below.join(file))),
            );
            for file in inside.configs {
                match file.rsplit_once('.') {
                    Some((entity, _)) if inner == "entities" && has_flow => {
                        wanted.push((
                            Role::Entity(name.to_string(), entity.to_string()),
                            below.join(&file),
                        ));
                    }
                    _ => strays.push(not_read_message(&below.join(&file))),
                }
            }
            for deeper in inside.folders {
                let lost = FolderContents::new(&at(&below.join(&deeper)))?
                    .configs
                    .into_iter();
                strays.extend(lost.map(|file| not_read_message(&below.join(&deeper).join(file))));
            }
        }
        let read = |(role, path): (Role, PathBuf)| {
            let path_shown = shown.join(&path);
            Ok(read_text(&at(&path), &path_shown)?.map(|text| ConfigFile {
                role,
                path: path_shown,
                text,
            }))
        };
        let files = wanted.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(FlowFiles {
            files: files.into_iter().flatten().collect(),
            unread_files: strays,
        })
    }
}

fn not_read_message(path: &Path) -> String {
    format!("{} is not read", path.display())
}

/// What a folder of the config has in it, sorted; hidden names are passed over.
struct FolderContents {
    folders: Vec<String>,
    /// Files that may be configs.
    configs: Vec<String>,
    /// What was most likely meant as one.
    unrecognized: Vec<String>,
}

impl FolderContents {
    fn new(folder: &Path) -> Result<Self> {
        let mut listed = Self {
            folders: Vec::new(),
            configs: Vec::new(),
            unrecognized: Vec::new(),
        };
        for entry in fs::list(folder, fs::is_hidden)
            .map_err(startup_error)?
            .unwrap_or_default()
        {
            let Ok(name) = entry.relative.into_os_string().into_string() else {
                continue;
            };
            let ending = Path::new(&name)
                .extension()
                .and_then(OsStr::to_str)
                .unwrap_or_default();
            match ending.to_lowercase().as_str() {
                _ if entry.is_folder => listed.folders.push(name),
                "yml" | "yaml" if matches!(ending, "yml" | "yaml") => {
                    // A pipe or a device is refused by its name when it is read; a link to nowhere
                    // is not there then.
                    if !entry.is_file && entry.is_link {
                        listed.unrecognized.push(name.clone());
                    }
                    listed.configs.push(name);
                }
                // Another case.
                "yml" | "yaml" => listed.unrecognized.push(name),
                _ => {}
            }
        }
        listed.folders.sort();
        listed.configs.sort();
        Ok(listed)
    }
}
