//! Builds that are killed at random moments, while someone reads a store all the time.
//!
//! `HYGGE_KILLS` says how many builds, `HYGGE_KILLS_SEED` with which random numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::disk::SeededRandom;
use crate::common::files;
use crate::common::sandbox::Sandbox;

const CONFIG: &str = "\
flows:
  a: {home: home/a, store: out/a}
  b: {home: home/b, store: {path: out/b, compression: zstd}}
  c: {home: home/c, store: out/c, mode: append}
  d: {home: {flow: a}, store: {path: out/d, rows_per_file: 150}}
  e: {home: home/b, store: {path: out/e, partition_by: [text]}}
";

const HOMES: [&str; 3] = ["home/a", "home/b", "home/c"];
const STORES: [&str; 5] = ["out/a", "out/b", "out/c", "out/d", "out/e"];
const FRESH: &str = "hygge: nothing to do, 5 flows are fresh\n";

/// How many files a home keeps.
const FEW: usize = 10;

/// The files of a store: names and digests.
type Set = BTreeMap<String, String>;

/// All visible files of a folder, by one handle of it and not by its path.
fn read_open(path: &Path) -> Result<Set, String> {
    let folder = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let mut set = Set::new();
    for entry in fs::read_dir(&through).map_err(|error| format!("the open folder: {error}"))? {
        let name = entry
            .map_err(|error| format!("the open folder: {error}"))?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with(['.', '_']) {
            let bytes = fs::read(through.join(&name))
                .map_err(|error| format!("{name}, which was listed: {error}"))?;
            set.insert(name, blake3::hash(&bytes).to_string());
        }
    }
    Ok(set)
}

/// Someone who reads a store all the time, until dropped.
struct Reader(Arc<Reading>);

struct Reading {
    store: PathBuf,
    /// Goes up where whoever is just reading may notice something; odd as long as there are no
    /// promises.
    moment: AtomicU64,
    is_over: AtomicBool,
    log: Mutex<ReaderLog>,
}

#[derive(Default)]
struct ReaderLog {
    sets: BTreeSet<Set>,
    faults: Vec<String>,
}

impl Reader {
    /// Someone who begins to look when there is a store.
    fn of(store: PathBuf) -> Self {
        let (moment, is_over, log) = (AtomicU64::new(1), AtomicBool::new(false), Mutex::default());
        let reading = Arc::new(Reading {
            store,
            moment,
            is_over,
            log,
        });
        let other = Arc::clone(&reading);
        thread::spawn(move || other.go_on());
        Self(reading)
    }

    fn there_is_a_store(&self) {
        self.0.moment.fetch_add(1, Ordering::SeqCst);
    }

    /// A build begins: it removes the folder before the live one, which someone may still have
    /// open.
    fn a_build_begins(&self) {
        self.0.moment.fetch_add(2, Ordering::SeqCst);
    }

    /// Does something to the store that is no build.
    fn unseen<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.moment.fetch_add(1, Ordering::SeqCst);
        let done = act();
        self.0.moment.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// What was seen since it was asked for last.
    fn log(&self) -> ReaderLog {
        std::mem::take(&mut *self.0.log.lock().expect("what was seen"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl Reading {
    fn go_on(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let moment = self.moment.load(Ordering::SeqCst);
            let read = read_open(&self.store);
            if moment % 2 == 1 || moment != self.moment.load(Ordering::SeqCst) {
                continue;
            }
            let mut seen = self.log.lock().expect("what was seen");
            match read {
                Ok(set) => {
                    seen.sets.insert(set);
                }
                Err(fault) => seen.faults.push(fault),
            }
        }
    }
}

/// A project that changes and is built again and again.
struct Project {
    reader: Reader,
    sandbox: Sandbox,
    random: SeededRandom,
    /// What `out/a` may have: its home as it was at some moment, and what was left when we deleted
    /// a file.
    legal: BTreeSet<Set>,
    /// All that the reader saw.
    seen: BTreeSet<Set>,
    /// The id of the next row: no two are the same.
    next: i64,
    /// How long a build takes now.
    usual: Duration,
}

impl Project {
    /// A project after its first build and a few small ones.
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::new(CONFIG);
        let reader = Reader::of(sandbox.path("out/a"));
        let (legal, seen, usual) = (BTreeSet::new(), BTreeSet::new(), Duration::ZERO);
        let mut project = Self {
            reader,
            sandbox,
            random: SeededRandom::new(seed),
            legal,
            seen,
            next: 0,
            usual,
        };
        for home in HOMES {
            for _ in 0..12 {
                project.add(home);
            }
        }
        project.remember();
        project.builds("the first build");
        project.reader.there_is_a_store();
        for _ in 0..3 {
            let what = project.change();
            let begun = Instant::now();
            project.builds(&what);
            project.usual += begun.elapsed() / 3;
        }
        project
    }

    fn builds(&self, moment: &str) -> String {
        self.reader.a_build_begins();
        let ran = self.sandbox.run(&["build"]);
        assert_eq!(ran.code, 0, "{moment}: {}", ran.text);
        ran.text
    }

    /// What `out/a` has when it is fresh: the files of its home, numbered by their names.
    fn due(&self) -> Set {
        let digests = self.sandbox.digests("home/a").into_values();
        digests
            .zip(1..)
            .map(|(digest, number)| (format!("{number:020}.parquet"), digest))
            .collect()
    }

    fn remember(&mut self) {
        let due = self.due();
        self.legal.insert(due);
    }

    fn number_of(&self, folder: &str) -> usize {
        self.sandbox.digests(folder).len()
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.random.below(of.len() as u64) as usize]
    }

    /// One of the files of a folder.
    fn pick_file(&mut self, folder: &str) -> String {
        let mut names: Vec<String> = self.sandbox.digests(folder).into_keys().collect();
        assert!(!names.is_empty(), "{folder} has no files");
        let name = names.swap_remove(self.random.below(names.len() as u64) as usize);
        format!("{folder}/{name}")
    }

    /// Writes a file whose rows were nowhere before.
    fn fill(&mut self, name: &str) {
        let rows = 5 + self.random.below(200) as i64;
        files::ints_and_texts(&self.sandbox, name, self.next..self.next + rows);
        self.next += rows;
    }

    /// A new file, anywhere in the order of names.
    fn add(&mut self, home: &str) -> String {
        let name = loop {
            let name = format!("{home}/{:05}.parquet", self.random.below(100_000));
            if !self.sandbox.path(&name).exists() {
                break name;
            }
        };
        self.fill(&name);
        format!("{name} is new")
    }

    fn replace(&mut self, home: &str) -> String {
        let name = self.pick_file(home);
        self.fill(&name);
        format!("{name} is another")
    }

    fn remove(&mut self, home: &str) -> String {
        let name = self.pick_file(home);
        fs::remove_file(self.sandbox.path(&name)).expect("an input");
        format!("{name} is gone")
    }

    /// Deletes a file of a store.
    fn lose(&mut self, store: &str) -> String {
        let name = self.pick_file(store);
        let path = self.sandbox.path(&name);
        self.reader
            .unseen(|| fs::remove_file(path))
            .expect("an output");
        if store == "out/a" {
            // It was one of the legal sets: that is looked at after every build.
            self.legal
                .insert(read_open(&self.sandbox.path(store)).expect("a store"));
        }
        format!("{name} is lost")
    }

    /// Something small becomes different. Says what.
    fn change(&mut self) -> String {
        let home = self.pick(&["home/a", "home/b"]);
        let what = match self.random.below(4) {
            0 => {
                let home = self.pick(&HOMES);
                self.add(home)
            }
            1 => self.replace(home),
            2 if self.number_of(home) > FEW => self.remove(home),
            2 => self.add(home),
            _ => {
                let store = self.pick(&STORES);
                self.lose(store)
            }
        };
        self.remember();
        what
    }

    /// Begins a build of some flows and kills it. Says what became of it, and whether it was still
    /// at work.
    fn kill_a_build(&mut self) -> (String, bool) {
        let mut arguments: Vec<&str> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .filter(|_| self.random.below(2) == 0)
            .collect();
        let is_alone = !arguments.is_empty() && self.random.below(2) == 0;
        if is_alone {
            arguments.push("--only");
        }
        arguments.extend(["-j", self.pick(&["1", "2", "3", "4"])]);
        let delay = self
            .usual
            .mul_f64(1.2 * self.random.below(1000) as f64 / 1000.0);
        let log = File::create(self.sandbox.path("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
        command
            .args(["build", "--format", "json"])
            .args(&arguments)
            .current_dir(self.sandbox.path(""))
            .env_clear();
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.reader.a_build_begins();
        let mut child = command.spawn().expect("the binary runs");
        // It dies at any moment, whatever it is at.
        thread::sleep(delay);
        child.kill().expect("a signal");
        let status = child.wait().expect("an end");
        let was_killed = status.signal() == Some(9);
        // Load comes and goes: about two of three builds shall not come to their end.
        self.usual = self.usual.mul_f64(if was_killed { 1.05 } else { 0.9 });
        let said = fs::read_to_string(self.sandbox.path("log")).expect("a log");
        let text = format!(
            "build {} had {delay:?} and ended with {status}: {said}",
            arguments.join(" ")
        );
        // Alone, `d` is refused where a file of `out/a` is lost.
        assert!(was_killed || status.success() || is_alone, "{text}");
        (text, was_killed)
    }

    /// Every set that was seen is one that was published as a whole.
    fn is_explained(&mut self, moment: &str) {
        let ReaderLog { mut sets, faults } = self.reader.log();
        assert!(faults.is_empty(), "a reader met {faults:?}; {moment}");
        let live = read_open(&self.sandbox.path("out/a")).expect("a store");
        for set in sets.iter().chain([&live]) {
            assert!(
                self.legal.contains(set),
                "a reader saw {set:?}, which was never a state of the home; {moment}"
            );
        }
        self.seen.append(&mut sets);
    }

    /// A build that is not killed makes everything good.
    fn is_mended(&self, moment: &str) {
        let text = self.builds(moment);
        let undisturbed = self.undisturbed();
        for store in ["out/a", "out/b", "out/d", "out/e"] {
            assert_eq!(
                self.sandbox.digests(store),
                undisturbed.digests(store),
                "{store}: {text}; {moment}"
            );
        }
        assert_eq!(
            read_open(&self.sandbox.path("out/a")),
            Ok(self.due()),
            "out/a: {text}; {moment}"
        );
        let (moved, due) = (ids(&self.sandbox, "out/c"), ids(&self.sandbox, "home/c"));
        assert!(
            moved == due,
            "out/c has {} rows, its home {}, or others: {text}; {moment}",
            moved.len(),
            due.len()
        );
        assert_eq!(self.builds(moment), FRESH, "after {text}; {moment}");
        let left = fs::read_dir(self.sandbox.path(".hygge-cache/staging/tmp"))
            .expect("staging")
            .count();
        assert_eq!(left, 0, "what was half done is gone: {text}; {moment}");
        for flow in ["a", "b", "c", "d", "e"] {
            assert!(
                !self
                    .sandbox
                    .path(&format!("out/.hygge/{flow}.next"))
                    .exists(),
                "{flow}: {text}; {moment}"
            );
        }
    }

    /// Another project with the same homes, built once.
    fn undisturbed(&self) -> Sandbox {
        let other = Sandbox::new(CONFIG);
        for home in HOMES {
            for name in self.sandbox.digests(home).into_keys() {
                let path = format!("{home}/{name}");
                other.write(&path, fs::read(self.sandbox.path(&path)).expect("an input"));
            }
        }
        let ran = other.run(&["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        other
    }
}

/// The ids in all files of a folder, sorted.
fn ids(sandbox: &Sandbox, folder: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for name in sandbox.digests(folder).into_keys() {
        ids.extend(files::read(sandbox, &format!("{folder}/{name}")).ints("id"));
    }
    ids.sort_unstable();
    ids
}

fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the counts are what a reader wants to see"
)]
fn builds_that_are_killed_at_any_moment_harm_nothing_and_no_reader_notices() {
    let (runs, seed) = (asked("HYGGE_KILLS", 300), asked("HYGGE_KILLS_SEED", 1));
    let mut project = Project::new(seed);
    let mut killed = 0;
    for run in 1..=runs {
        let what = project.change();
        let (build, was_killed) = project.kill_a_build();
        killed += u64::from(was_killed);
        let moment = format!("seed {seed}, run {run}: {what}; {build}");
        project.is_explained(&moment);
        if run % 25 == 0 || run == runs {
            project.is_mended(&moment);
            project.is_explained(&moment);
        }
    }
    let sets = project.seen.len();
    println!("{runs} builds, {killed} of them killed before their end; the reader saw {sets} sets");
    assert!(
        killed * 3 >= runs,
        "seed {seed}: only {killed} of {runs} were killed before their end"
    );
    assert!(sets >= 3, "seed {seed}: the reader saw {sets} sets");
}

#[test]
fn a_build_that_is_killed_late_repeats_only_what_was_in_flight() {
    // So hard to pack that the last ten parts are not all done before the signal is there.
    let store = "{path: store, compression: zstd, compression_level: 22}";
    let sandbox = Sandbox::new(&format!("flows:\n  ids: {{home: home, store: {store}}}\n"));
    for number in 0..100 {
        files::ints_and_texts(
            &sandbox,
            &format!("home/{number:02}.parquet"),
            number * 4000..number * 4000 + 4000,
        );
    }
    let mut build = sandbox.start(&["-j", "2"]);
    for _ in 0..90 {
        build.wait_for("part_made");
    }
    build.signal("KILL");
    let killed = build.end();
    assert_eq!(killed.code, -1, "{}", killed.text);
    let told = killed
        .events
        .iter()
        .filter(|event| event["event"] == "part_made")
        .count() as u64;
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let number = |field: &str| {
        ran.event("flow_finished")[field]
            .as_u64()
            .expect("a number")
    };
    let (made, kept) = (number("parts_made"), number("parts_kept"));
    assert_eq!(made + kept, 100, "{}", ran.text);
    assert!(
        told >= 90 && made <= 100 - told + 2 && kept + 2 >= told,
        "{told} were told of, {made} made, {kept} kept: {}",
        ran.text
    );
}
