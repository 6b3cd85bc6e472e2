//! A project of its own in a temporary folder, and the real binary with a cleared environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A temporary project.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) events: Vec<Value>,
}

impl Sandbox {
    /// An empty project with this config.
    pub(crate) fn new(config: &str) -> Self {
        let sandbox = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        sandbox.write("hygge.yml", config);
        sandbox
    }

    /// A project whose flow `numbers` moves the sample files from `home` to `store`.
    pub(crate) fn numbers() -> Self {
        let sandbox = Self::new("flows:\n  numbers: {home: home, store: store}\n");
        for name in ["north", "east", "south", "west"] {
            sandbox.sample(name, &format!("home/{name}.parquet"));
        }
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a written file");
    }

    /// Puts a sample file at a place.
    pub(crate) fn sample(&self, name: &str, to: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/home/numbers/{name}.parquet"));
        self.write(to, fs::read(from).expect("a sample"));
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_hygge")).args(arguments).current_dir(self.folder.path()).env_clear().output();
        ran(&output.expect("the binary runs"))
    }

    /// Builds with events.
    pub(crate) fn build(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["build", "--format", "json"], arguments].concat())
    }

    /// The digests of the visible files below a folder.
    pub(crate) fn digests(&self, folder: &str) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return BTreeMap::new() };
        let files = entries.map(|entry| entry.expect("an entry")).filter(|entry| entry.path().is_file());
        files
            .map(|entry| {
                let bytes = fs::read(entry.path()).expect("a file");
                (entry.file_name().to_string_lossy().into_owned(), blake3::hash(&bytes).to_string())
            })
            .collect()
    }
}

fn ran(output: &Output) -> Ran {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Ran { code: output.status.code().unwrap_or(-1), text, events }
}

impl Ran {
    /// The last event of a kind.
    pub(crate) fn event(&self, kind: &str) -> &Value {
        self.events.iter().rev().find(|event| event["event"] == kind).unwrap_or_else(|| panic!("no {kind} in {}", self.text))
    }

    /// How one flow ended.
    pub(crate) fn outcome(&self, flow: &str) -> &str {
        let ended = self.events.iter().find(|event| event["event"] == "flow_finished" && event["flow"] == flow);
        ended.and_then(|event| event["outcome"].as_str()).unwrap_or("none")
    }
}
