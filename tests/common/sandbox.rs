//! A project of its own in a temporary folder, and the real binary with a cleared environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// For so long a file that was changed may be changed once more and look the same.
const RACY_WINDOW: Duration = Duration::from_secs(2);

/// A temporary project.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command gave.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) events: Vec<Value>,
}

impl Sandbox {
    /// An empty project with this config.
    pub(crate) fn new(config: &str) -> Self {
        let sandbox = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
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

    /// A project that an earlier hygge has built, without its cache.
    pub(crate) fn stored() -> Self {
        let sandbox = Self::new("");
        copy_all(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored"),
            sandbox.folder.path(),
        );
        sandbox
    }

    /// A copy of all files, with their times.
    pub(crate) fn save(&self) -> tempfile::TempDir {
        let saved = tempfile::tempdir().expect("a temporary folder");
        copy_all(self.folder.path(), saved.path());
        saved
    }

    /// Makes everything as it was when it was saved.
    pub(crate) fn reset(&self, saved: &tempfile::TempDir) {
        self.clear();
        copy_all(saved.path(), self.folder.path());
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        fs::remove_dir_all(self.folder.path()).expect("a folder");
        fs::create_dir(self.folder.path()).expect("a folder");
    }

    /// A file of this name somewhere below a folder.
    pub(crate) fn find(&self, folder: &str, name: &str) -> Option<PathBuf> {
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.ends_with(name) {
                    return Some(path);
                }
            }
        }
        None
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
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/home/numbers/{name}.parquet"));
        self.write(to, fs::read(from).expect("a sample"));
    }

    /// Waits until every file that is there now is so old that its stat vouches for its bytes. The
    /// kernel alone writes down when an inode was changed, so that nobody can set it back.
    pub(crate) fn let_files_age(&self) {
        let aged = last_change(self.folder.path()) + RACY_WINDOW;
        // The clock may be set while it is waited for.
        while let Ok(left) = aged.duration_since(SystemTime::now())
            && !left.is_zero()
        {
            std::thread::sleep(left);
        }
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.run_with(&[], arguments)
    }

    /// Runs the binary with these variables and no others.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
        let output = command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(variables.iter().copied())
            .output();
        ran(&output.expect("the binary runs"))
    }

    /// Runs the binary without the right to read and write what its owner may not.
    pub(crate) fn run_obedient(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new("setpriv");
        command.args([
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        ]);
        command
            .arg(env!("CARGO_BIN_EXE_hygge"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear();
        ran(&command.output().expect("setpriv runs"))
    }

    /// Runs the binary with so many KiB of address space and so many seconds of processor time.
    pub(crate) fn run_bounded(
        &self,
        memory: usize,
        seconds: usize,
        arguments: &[&str],
    ) -> (Option<i32>, String) {
        let script = format!("ulimit -v {memory} && ulimit -t {seconds} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_hygge")])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear();
        let output = command.output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Runs a shell script in which `$0` is the binary, with mounts of its own that go with it.
    /// Gives the exit code and everything that it printed.
    pub(crate) fn with_mounts(&self, script: &str) -> (Option<i32>, String) {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            script,
            env!("CARGO_BIN_EXE_hygge"),
        ]);
        let output = command
            .current_dir(self.folder.path())
            .output()
            .expect("unshare runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// Begins a build with events, which goes on while the test does.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.begin(&[&["build", "--format", "json"], arguments].concat())
    }

    /// Begins any command, which goes on while the test does.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Running {
            child,
            lines,
            text: String::new(),
        }
    }

    /// Builds with events.
    pub(crate) fn build(&self, arguments: &[&str]) -> CommandOutput {
        self.run(&[&["build", "--format", "json"], arguments].concat())
    }

    /// The digests of the files in a folder, and in folders of it that are called after values.
    pub(crate) fn digests(&self, folder: &str) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return BTreeMap::new();
        };
        let mut found = BTreeMap::new();
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_file() {
                let bytes = fs::read(entry.path()).expect("a file");
                found.insert(name, blake3::hash(&bytes).to_string());
            } else if name.contains('=') {
                let inside = self.digests(&format!("{folder}/{name}"));
                found.extend(
                    inside
                        .into_iter()
                        .map(|(file, digest)| (format!("{name}/{file}"), digest)),
                );
            }
        }
        found
    }
}

/// Builds a project, which is done.
pub(crate) fn built(sandbox: &Sandbox) -> CommandOutput {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    ran
}

/// Builds a project, of which something fails.
pub(crate) fn failed(sandbox: &Sandbox) -> CommandOutput {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    ran
}

/// When a file or folder, or anything below it, was changed last.
fn last_change(path: &Path) -> SystemTime {
    let found = fs::symlink_metadata(path).expect("a file");
    let seconds = u64::try_from(found.ctime()).expect("seconds since 1970");
    let nanos = u32::try_from(found.ctime_nsec()).expect("nanoseconds");
    let own = UNIX_EPOCH + Duration::new(seconds, nanos);
    if !found.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).expect("a folder");
    let below = entries.map(|entry| last_change(&entry.expect("an entry").path()));
    below.fold(own, SystemTime::max)
}

fn copy_all(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .expect("cp runs");
    assert!(copied.success());
}

fn ran(output: &Output) -> CommandOutput {
    CommandOutput::new(
        output.status.code(),
        &String::from_utf8_lossy(&output.stdout),
        &String::from_utf8_lossy(&output.stderr),
    )
}

/// A build that is under way.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    text: String,
}

impl Running {
    /// Waits until the build says that something happened.
    pub(crate) fn wait_for(&mut self, event: &str) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("a line") > 0 {
            self.text.push_str(&line);
            if line.contains(&format!("\"event\":\"{event}\"")) {
                return;
            }
            line.clear();
        }
        panic!("the build ended without {event}: {}", self.text);
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "{name} was not sent");
    }

    /// How long it has worked so far, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        [fields[11], fields[12]]
            .map(|field| field.parse::<u64>().expect("a number"))
            .iter()
            .sum()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> CommandOutput {
        let mut errors = String::new();
        self.lines
            .read_to_string(&mut self.text)
            .expect("the output");
        self.child
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut errors)
            .expect("the errors");
        let status = self.child.wait().expect("an end");
        CommandOutput::new(status.code(), &self.text, &errors)
    }
}

impl CommandOutput {
    fn new(code: Option<i32>, stdout: &str, stderr: &str) -> Self {
        let events = stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Self {
            code: code.unwrap_or(-1),
            text: format!("{stdout}{stderr}"),
            events,
        }
    }

    /// The error of the flow that failed last.
    pub(crate) fn error(&self) -> &str {
        let failed = self
            .events
            .iter()
            .rev()
            .find(|event| event["outcome"] == "failed");
        failed
            .and_then(|event| event["error"].as_str())
            .unwrap_or_else(|| panic!("nothing failed: {}", self.text))
    }

    /// The last event of a kind.
    pub(crate) fn event(&self, kind: &str) -> &Value {
        self.events
            .iter()
            .rev()
            .find(|event| event["event"] == kind)
            .unwrap_or_else(|| panic!("no {kind} in {}", self.text))
    }

    /// What is said of one flow at its end; nothing where it did not run.
    pub(crate) fn finished(&self, flow: &str) -> Option<&Value> {
        self.events
            .iter()
            .find(|event| event["event"] == "flow_finished" && event["flow"] == flow)
    }

    /// How one flow ended.
    pub(crate) fn outcome(&self, flow: &str) -> &str {
        self.finished(flow)
            .and_then(|event| event["outcome"].as_str())
            .unwrap_or("none")
    }
}
