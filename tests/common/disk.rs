//! A disk that loses what was not synced, as a filesystem may when the power fails.
//!
//! Everything before the last sync of the whole filesystem is there. Of the changes of names since
//! then, any may be missing, as long as what is left can be done in its order. Of the data since
//! then that was not synced by itself, a file may have all, a part, nothing, or zeros.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::sandbox::Sandbox;

/// Numbers that are the same in every run: xorshift.
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below the limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % limit
    }
}

/// What is in a file: shared by all its names.
#[derive(Clone)]
struct Data {
    bytes: Vec<u8>,
    is_synced: bool,
}

/// What has a name.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Folder,
    File(usize),
}

/// Names and data.
#[derive(Clone, Default)]
struct State {
    names: BTreeMap<PathBuf, Entry>,
    data: Vec<Data>,
}

/// A disk as it was before a command, and what the command wrote.
pub(crate) struct Disk<'a> {
    state: State,
    /// The folder in which the command ran.
    root: PathBuf,
    kept: &'a Path,
}

impl<'a> Disk<'a> {
    /// The disk with the files of `before`; `ran` is where the steps happened that `kept` has.
    pub(crate) fn new(before: &Path, ran: &Sandbox, kept: &'a Path) -> Self {
        let mut state = State::default();
        state.read(before, Path::new(""));
        Self {
            state,
            root: ran.path(""),
            kept,
        }
    }

    /// Plays the steps and cuts the power; what is left is put into a sandbox. Says what was lost.
    pub(crate) fn after_a_cut(
        mut self,
        steps: &[Value],
        random: &mut SeededRandom,
        into: &Sandbox,
    ) -> String {
        let synced = steps
            .iter()
            .rposition(|step| step["step"] == "sync_all")
            .map_or(0, |last| last + 1);
        for step in &steps[..synced] {
            self.apply(step);
        }
        self.state
            .data
            .iter_mut()
            .for_each(|data| data.is_synced = true);
        let pending = &steps[synced..];
        // As a journal has it, all up to a moment; or any of them.
        let all_up_to = random.below(pending.len() as u64 + 1);
        let in_order = random.below(2) == 0;
        let mut lost = Vec::new();
        for (number, step) in pending.iter().enumerate() {
            let stays = if in_order {
                (number as u64) < all_up_to
            } else {
                random.below(3) > 0
            };
            let is_data = matches!(step["step"].as_str(), Some("write" | "sync_file"));
            // Data is lost below; a sync that has come back is no promise that can be broken.
            if stays || is_data {
                self.apply(step);
            } else {
                lost.push(format!("{} {}", step["step"], step["path"]));
            }
        }
        let mut state = self.state;
        for data in state.data.iter_mut().filter(|data| !data.is_synced) {
            match random.below(4) {
                0 => data.bytes.clear(),
                1 => data.bytes.truncate(data.bytes.len() / 2),
                2 => data.bytes.fill(0),
                _ => {}
            }
        }
        state.write(into);
        format!(
            "{} of {} names lost: {}",
            lost.len(),
            pending.len(),
            lost.join(", ")
        )
    }

    fn path(&self, step: &Value, field: &str) -> Option<PathBuf> {
        Some(
            Path::new(step[field].as_str()?)
                .strip_prefix(&self.root)
                .ok()?
                .to_path_buf(),
        )
    }

    fn written(&self, step: &Value, ending: &str) -> Option<Vec<u8>> {
        fs::read(self.kept.join(format!("{}{ending}", step["number"]))).ok()
    }

    /// Does a step, if what it needs is there.
    fn apply(&mut self, step: &Value) {
        let Some(path) = self.path(step, "path") else {
            return;
        };
        let to = self.path(step, "to");
        let content = self.written(step, "");
        let state = &mut self.state;
        match (step["step"].as_str().unwrap_or_default(), to) {
            ("create", _) => state.create(&path, Vec::new()),
            ("folder", _) => state.folder(&path),
            ("write", _) => match (content, state.names.get(&path)) {
                (Some(bytes), Some(Entry::File(file))) => {
                    state.data[*file] = Data {
                        bytes,
                        is_synced: false,
                    }
                }
                (Some(bytes), _) => state.create(&path, bytes),
                _ => {}
            },
            ("sync_file", _) => {
                if let Some(Entry::File(file)) = state.names.get(&path) {
                    state.data[*file].is_synced = true;
                }
            }
            ("rename", Some(to)) => {
                if let (Some(bytes), Some(Entry::File(file))) =
                    (content, state.names.get(&path).copied())
                    && !state.data[file].is_synced
                {
                    state.data[file].bytes = bytes;
                }
                state.rename(&path, &to);
            }
            ("link", Some(to)) => {
                if let Some(entry) = state
                    .names
                    .get(&path)
                    .copied()
                    .filter(|_| state.has_parent(&to))
                {
                    state.names.insert(to, entry);
                }
            }
            ("exchange", Some(to))
                if state.names.contains_key(&path) && state.names.contains_key(&to) =>
            {
                let between = PathBuf::from("between");
                state.rename(&path, &between);
                state.rename(&to, &path);
                state.rename(&between, &to);
            }
            // A folder goes only when nothing is in it, in whichever order the rest was written.
            ("remove", _)
                if state
                    .names
                    .keys()
                    .any(|name| name.starts_with(&path) && *name != path) => {}
            ("remove", _) => drop(state.names.remove(&path)),
            ("commit", _) => {
                let log = PathBuf::from(format!("{}-wal", path.display()));
                let logged = self.written(step, "-wal");
                for (name, bytes) in [(path, content), (log, logged)] {
                    // SQLite's own order of writes is SQLite's to test: a transaction is there or
                    // not.
                    self.state.create(&name, bytes.unwrap_or_default());
                    self.state
                        .data
                        .iter_mut()
                        .next_back()
                        .expect("a file")
                        .is_synced = true;
                }
            }
            _ => {}
        }
    }
}

impl State {
    fn read(&mut self, folder: &Path, below: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = below.join(path.file_name().expect("a name"));
            if path.is_dir() {
                self.names.insert(name.clone(), Entry::Folder);
                self.read(&path, &name);
            } else {
                self.create(&name, fs::read(&path).expect("a file"));
            }
        }
    }

    fn has_parent(&self, path: &Path) -> bool {
        path.parent().is_none_or(|parent| {
            parent.as_os_str().is_empty() || self.names.get(parent) == Some(&Entry::Folder)
        })
    }

    fn create(&mut self, path: &Path, bytes: Vec<u8>) {
        if self.has_parent(path) {
            self.data.push(Data {
                bytes,
                is_synced: false,
            });
            self.names
                .insert(path.to_path_buf(), Entry::File(self.data.len() - 1));
        }
    }

    fn folder(&mut self, path: &Path) {
        for folder in path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            self.names
                .entry(folder.to_path_buf())
                .or_insert(Entry::Folder);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if !self.names.contains_key(from) || !self.has_parent(to) {
            return;
        }
        let moved: Vec<(PathBuf, Entry)> = self
            .names
            .iter()
            .filter(|(name, _)| name.starts_with(from))
            .map(|(name, entry)| (name.clone(), *entry))
            .collect();
        self.names.retain(|name, _| !name.starts_with(from));
        for (name, entry) in moved {
            let rest = name.strip_prefix(from).expect("below it");
            self.names.insert(
                if rest.as_os_str().is_empty() {
                    to.to_path_buf()
                } else {
                    to.join(rest)
                },
                entry,
            );
        }
    }

    /// Writes everything as it is after the cut. Files keep their age, as they do on a real disk.
    fn write(&self, into: &Sandbox) {
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let mut first: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (name, entry) in &self.names {
            let path = into.path("").join(name);
            match entry {
                Entry::Folder => fs::create_dir_all(&path).expect("a folder"),
                Entry::File(file) if first.contains_key(file) => {
                    fs::hard_link(&first[file], &path).expect("a second name")
                }
                Entry::File(file) => {
                    fs::write(&path, &self.data[*file].bytes).expect("a file");
                    File::options()
                        .append(true)
                        .open(&path)
                        .and_then(|file| file.set_modified(an_hour_ago))
                        .expect("a time");
                    first.insert(*file, path);
                }
            }
        }
    }
}
