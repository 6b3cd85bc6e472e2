//! A model of hygge in a few rules, and random sequences of what happens to a project: both must
//! agree.
//!
//! `HYGGE_MODEL_CASES` sets the number of sequences.
//!
//! The rules:
//!
//! 1. A flow is fresh if its store is as it was published, and it was published with the same
//!    settings from inputs of the same names and digests. Times, tags, concurrency and the cache
//!    have no say in it. Every other flow that is built runs.
//! 2. A store that was built is, byte for byte, what a build from nothing makes of the same inputs
//!    with the same settings. Where that fails, so does the flow, and its store is left as it was.
//! 3. The inputs of `c` are the outputs of `a`. If `a` fails, `c` is skipped. If `a` is left alone
//!    by `--only`, `c` reads what `a` published, and fails if that is not there or not whole.
//! 4. A part is made only if the flow has not had one of equal key since the last mishap. Its key
//!    is the compression, `rows_per_file` and the digest of its input; with `rows_per_file` those
//!    of all inputs in order, as any of them may move the cuts. A mishap is whatever takes parts
//!    away: a kill, a loss, an alteration, damage.
//! 5. What is forced is made, all of it.
//! 6. What a killed build left in a store is the whole old set or the whole new one; only what
//!    someone altered may be gone from it. Whether its flows are fresh is not known until they are
//!    built again.
//! 7. What someone altered is found below `out/.hygge/displaced` when its flow has been built.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::common::files;
use crate::common::sandbox::{CommandOutput, Sandbox};
use crate::common::tree;

type Flow = &'static str;
type Checked = Result<(), TestCaseError>;
/// Names and bytes.
type Files = BTreeMap<String, Vec<u8>>;
/// Names and digests.
type Digests = BTreeMap<String, String>;
/// Compression, whether there is `rows_per_file`, digests of what it is made from.
type Part = (&'static str, bool, Vec<String>);

const FLOWS: &[Flow] = &["a", "b", "c"];
/// The flows that have a folder of inputs.
const HOMES: &[Flow] = &["a", "b"];
const NAMES: &[&str] = &["x.parquet", "y.parquet", "z.parquet"];
/// Few, so that equal bytes lie under two names and come back; the first two are hardly told apart
/// by a stat.
const CONTENTS: &[(i64, i64)] = &[(300, 310), (310, 320), (100, 130), (1000, 1100)];
/// The first is what a store has by itself. By the last two, parts may get one name: then the build
/// must fail.
const PATTERNS: &[&str] = &[
    "{sequence:020d}.parquet",
    "{sequence:05d}.parquet",
    "{sequence}-{stem}.parquet",
    "{stem}.parquet",
    "{digest}.parquet",
];
const COMPRESSIONS: &[&str] = &["keep", "zstd"];
const CONCURRENCIES: &[Option<u8>] = &[None, Some(1), Some(3)];
const JOBS: &[&[&str]] = &[&[], &["-j", "1"], &["-j", "3"]];

/// What may happen between two builds, and builds.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// A new input, or other bytes for one that is there, perhaps with the times that it had.
    Write {
        home: Flow,
        name: &'static str,
        content: usize,
        same_time: bool,
    },
    Touch {
        home: Flow,
        name: &'static str,
    },
    Rename {
        home: Flow,
        from: &'static str,
        to: &'static str,
    },
    Remove {
        home: Flow,
        name: &'static str,
    },
    Compress(&'static str),
    Cut(bool),
    Name(&'static str),
    Tag(bool),
    Concurrency(Option<u8>),
    LoseOutput {
        flow: Flow,
        number: usize,
    },
    /// Bytes are appended, to the file itself or to a new one of its name.
    AlterOutput {
        flow: Flow,
        number: usize,
        anew: bool,
    },
    LoseStore(Flow),
    LoseCache,
    /// A bit of some file in staging flips.
    Damage {
        number: usize,
        place: usize,
        bit: u8,
    },
    /// All files age, so that the next build may trust their times.
    Wait,
    Build(Build),
    Kill {
        build: Build,
        after: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Build {
    selection: Selection,
    jobs: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum Selection {
    All,
    One(Flow),
    Only(Flow),
    Force(Flow),
}

impl Build {
    const ALL: Self = Self {
        selection: Selection::All,
        jobs: &[],
    };

    fn arguments(self) -> Vec<&'static str> {
        let selected = match self.selection {
            Selection::All => vec![],
            Selection::One(flow) => vec![flow],
            Selection::Only(flow) => vec![flow, "--only"],
            Selection::Force(flow) => vec![flow, "--force"],
        };
        [&selected[..], self.jobs].concat()
    }

    /// What is selected with what it needs, upstreams first.
    fn flows(self) -> Vec<Flow> {
        match self.selection {
            Selection::All => FLOWS.to_vec(),
            Selection::One("c") | Selection::Force("c") => vec!["a", "c"],
            Selection::One(flow) | Selection::Only(flow) | Selection::Force(flow) => vec![flow],
        }
    }

    fn forces(self, flow: Flow) -> bool {
        matches!(self.selection, Selection::Force(forced) if forced == flow)
    }
}

fn build() -> impl Strategy<Value = Build> {
    let flow = || prop::sample::select(FLOWS);
    let selection = prop_oneof![
        4 => Just(Selection::All),
        1 => flow().prop_map(Selection::One),
        1 => flow().prop_map(Selection::Only),
        1 => flow().prop_map(Selection::Force),
    ];
    (selection, prop::sample::select(JOBS)).prop_map(|(selection, jobs)| Build { selection, jobs })
}

fn operation() -> impl Strategy<Value = Operation> {
    let (home, flow, name) = (
        || prop::sample::select(HOMES),
        || prop::sample::select(FLOWS),
        || prop::sample::select(NAMES),
    );
    prop_oneof![
        24 => build().prop_map(Operation::Build),
        5 => (build(), 0..=30_u64).prop_map(|(build, after)| Operation::Kill { build, after }),
        14 => (home(), name(), 0..CONTENTS.len(), any::<bool>())
            .prop_map(|(home, name, content, same_time)| Operation::Write { home, name, content, same_time }),
        2 => (home(), name()).prop_map(|(home, name)| Operation::Touch { home, name }),
        4 => (home(), name(), name()).prop_map(|(home, from, to)| Operation::Rename { home, from, to }),
        4 => (home(), name()).prop_map(|(home, name)| Operation::Remove { home, name }),
        2 => prop::sample::select(COMPRESSIONS).prop_map(Operation::Compress),
        2 => any::<bool>().prop_map(Operation::Cut),
        3 => prop::sample::select(PATTERNS).prop_map(Operation::Name),
        1 => any::<bool>().prop_map(Operation::Tag),
        1 => prop::sample::select(CONCURRENCIES).prop_map(Operation::Concurrency),
        3 => (flow(), 0..4_usize).prop_map(|(flow, number)| Operation::LoseOutput { flow, number }),
        4 => (flow(), 0..4_usize, any::<bool>()).prop_map(|(flow, number, anew)| Operation::AlterOutput { flow, number, anew }),
        2 => flow().prop_map(Operation::LoseStore),
        2 => Just(Operation::LoseCache),
        2 => (0..50_usize, 0..100_000_usize, 0..8_u8).prop_map(|(number, place, bit)| Operation::Damage { number, place, bit }),
        // Two seconds each: rare.
        1 => Just(Operation::Wait),
    ]
}

/// What of a store's config changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Settings {
    compression: &'static str,
    cut: bool,
    pattern: &'static str,
}

impl Settings {
    const PLAIN: Self = Self {
        compression: "keep",
        cut: false,
        pattern: PATTERNS[0],
    };

    fn store(self, path: &str) -> String {
        let Self {
            compression,
            cut,
            pattern,
        } = self;
        let rows = if cut { ", rows_per_file: 20" } else { "" };
        format!("{{path: {path}, compression: {compression}, file_pattern: \"{pattern}\"{rows}}}")
    }

    /// The keys of what is made from these inputs.
    fn parts(self, inputs: &Digests) -> Vec<Part> {
        let digests: Vec<String> = inputs.values().cloned().collect();
        let sources = if self.cut {
            vec![digests]
        } else {
            digests.into_iter().map(|digest| vec![digest]).collect()
        };
        sources
            .into_iter()
            .map(|source| (self.compression, self.cut, source))
            .collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

fn digests(files: &Files) -> Digests {
    files
        .iter()
        .map(|(name, bytes)| (name.clone(), digest(bytes)))
        .collect()
}

/// The files of a folder with their bytes.
fn contents(sandbox: &Sandbox, folder: &str) -> Files {
    let names = sandbox.digests(folder).into_keys();
    names
        .map(|name| {
            (
                name.clone(),
                fs::read(sandbox.path(folder).join(name)).expect("a file"),
            )
        })
        .collect()
}

/// What all sequences share: what inputs may have in them, and what builds from nothing made of
/// them.
struct Shared {
    contents: Vec<Vec<u8>>,
    made: RefCell<BTreeMap<(Settings, Digests), Option<Files>>>,
}

impl Shared {
    fn new() -> Self {
        let sandbox = Sandbox::new("");
        let content = |&(first, end): &(i64, i64)| {
            files::ints(&sandbox, "content", first..end);
            fs::read(sandbox.path("content")).expect("a file")
        };
        Self {
            contents: CONTENTS.iter().map(content).collect(),
            made: RefCell::default(),
        }
    }

    /// What a build from nothing makes of these inputs, or none where it fails.
    fn built_from_nothing(&self, settings: Settings, inputs: &Files) -> Option<Files> {
        let key = (settings, digests(inputs));
        let known = self.made.borrow().get(&key).cloned();
        known.unwrap_or_else(|| {
            let sandbox = Sandbox::new(&format!(
                "flows:\n  f: {{home: in, store: {}}}\n",
                settings.store("out")
            ));
            fs::create_dir(sandbox.path("in")).expect("a folder");
            inputs
                .iter()
                .for_each(|(name, bytes)| sandbox.write(&format!("in/{name}"), bytes));
            let ran = sandbox.build(&[]);
            assert!(ran.code == 0 || ran.code == 1, "{}", ran.text);
            let made = (ran.code == 0).then(|| contents(&sandbox, "out"));
            self.made.borrow_mut().insert(key, made.clone());
            made
        })
    }
}

/// What the model knows of a flow.
#[derive(Default)]
struct Known {
    published: Option<Published>,
    /// A build of it was killed: what is published is not known.
    unsure: bool,
    /// Those that were made since the last mishap.
    parts: BTreeSet<Part>,
    /// Digests of altered outputs that lie in the store, or must be found aside.
    altered: BTreeSet<String>,
}

#[derive(PartialEq)]
struct Published {
    settings: Settings,
    inputs: Digests,
    outputs: Digests,
}

impl Known {
    /// How many of these parts may be made, if all together are so many files.
    fn most(&self, parts: &[Part], files: usize) -> usize {
        let new = parts
            .iter()
            .filter(|part| !self.parts.contains(*part))
            .count();
        // With `rows_per_file` one key stands for all files.
        if parts.iter().any(|(_, cut, _)| *cut) && new > 0 {
            files
        } else {
            new
        }
    }

    /// A build of it has ended well, with something done or not.
    fn ended(&mut self, published: Published) {
        let parts = published.settings.parts(&published.inputs);
        self.parts.extend(parts);
        self.altered.clear();
        self.unsure = false;
        self.published = Some(published);
    }
}

const FRESH: &[&str] = &["none", "fresh"];
const RUNS: &[&str] = &["built", "restored"];
const ENDS_WELL: &[&str] = &["none", "fresh", "built", "restored"];
const ENDS: &[&str] = &["none", "fresh", "built", "restored", "failed"];

/// What a build should do to a flow.
struct Expected {
    outcomes: &'static [&'static str],
    inputs: Files,
    /// None where it cannot be built.
    outputs: Option<Files>,
}

impl Expected {
    fn nothing(outcomes: &'static [&'static str]) -> Self {
        Self {
            outcomes,
            inputs: Files::new(),
            outputs: None,
        }
    }
}

/// A project of three flows, of which the third reads what the first made, and what the model knows
/// of it.
struct Project<'a> {
    shared: &'a Shared,
    sandbox: Sandbox,
    inputs: BTreeMap<Flow, Files>,
    /// Those of `b`; the others are plain.
    settings: Settings,
    is_tagged: bool,
    concurrency: Option<u8>,
    known: BTreeMap<Flow, Known>,
    alterations: usize,
}

impl<'a> Project<'a> {
    fn new(shared: &'a Shared) -> Self {
        let project = Self {
            shared,
            sandbox: Sandbox::new(""),
            inputs: HOMES.iter().map(|home| (*home, Files::new())).collect(),
            settings: Settings::PLAIN,
            is_tagged: false,
            concurrency: None,
            known: FLOWS.iter().map(|flow| (*flow, Known::default())).collect(),
            alterations: 0,
        };
        for home in HOMES {
            fs::create_dir(project.sandbox.path(&format!("in_{home}"))).expect("a home");
        }
        project.configure(&project.sandbox);
        project
    }

    fn configure(&self, sandbox: &Sandbox) {
        let options = self
            .concurrency
            .map(|number| format!("options: {{concurrency: {number}}}\n"))
            .unwrap_or_default();
        let tags = if self.is_tagged {
            ", tags: [nightly]"
        } else {
            ""
        };
        let flows = [
            "  a: {home: in_a, store: out/a}\n".to_string(),
            format!(
                "  b: {{home: in_b, store: {}{tags}}}\n",
                self.settings.store("out/b")
            ),
            "  c: {home: {flow: a}, store: out/c}\n".to_string(),
        ];
        sandbox.write(
            "hygge.yml",
            format!("name: model\n{options}flows:\n{}", flows.concat()),
        );
    }

    fn known(&mut self, flow: Flow) -> &mut Known {
        self.known.get_mut(flow).expect("a flow")
    }

    fn inputs(&mut self, home: Flow) -> &mut Files {
        self.inputs.get_mut(home).expect("a home")
    }

    fn live(&self, flow: Flow) -> Digests {
        self.sandbox.digests(&format!("out/{flow}"))
    }

    fn lives(&self) -> BTreeMap<Flow, Digests> {
        FLOWS.iter().map(|flow| (*flow, self.live(flow))).collect()
    }

    /// Parts may be gone, also for flows that share them.
    fn mishap(&mut self) {
        self.known
            .values_mut()
            .for_each(|known| known.parts.clear());
    }

    fn lives_through(mut self, operations: Vec<Operation>) -> Checked {
        for operation in operations {
            self.happens(operation)?;
        }
        self.build(Build::ALL)?;
        self.is_as_built_from_nothing()
    }

    fn happens(&mut self, operation: Operation) -> Checked {
        match operation {
            Operation::Write {
                home,
                name,
                content,
                same_time,
            } => self.write(home, name, content, same_time),
            Operation::Touch { home, name } => {
                if self.inputs[home].contains_key(name) {
                    set_modified(
                        &self.sandbox.path(&format!("in_{home}/{name}")),
                        SystemTime::now(),
                    );
                }
            }
            Operation::Rename { home, from, to } => {
                if let Some(bytes) = self.inputs(home).remove(from) {
                    let path = |name: &str| self.sandbox.path(&format!("in_{home}/{name}"));
                    fs::rename(path(from), path(to)).expect("a rename");
                    self.inputs(home).insert(to.to_string(), bytes);
                }
            }
            Operation::Remove { home, name } => {
                if self.inputs(home).remove(name).is_some() {
                    fs::remove_file(self.sandbox.path(&format!("in_{home}/{name}")))
                        .expect("an input");
                }
            }
            Operation::Compress(compression) => self.settings.compression = compression,
            Operation::Cut(cut) => self.settings.cut = cut,
            Operation::Name(pattern) => self.settings.pattern = pattern,
            Operation::Tag(is_tagged) => self.is_tagged = is_tagged,
            Operation::Concurrency(number) => self.concurrency = number,
            Operation::LoseOutput { flow, number } => self.meddle(flow, number, None),
            Operation::AlterOutput { flow, number, anew } => self.meddle(flow, number, Some(anew)),
            Operation::LoseStore(flow) => {
                let gone = self.live(flow);
                self.known(flow)
                    .altered
                    .retain(|altered| !gone.values().any(|digest| digest == altered));
                drop(fs::remove_dir_all(
                    self.sandbox.path(&format!("out/{flow}")),
                ));
                self.mishap();
            }
            Operation::LoseCache => {
                drop(fs::remove_dir_all(self.sandbox.path(".hygge-cache")));
                self.mishap();
            }
            Operation::Damage { number, place, bit } => self.damage(number, place, bit),
            Operation::Wait => self.sandbox.let_files_age(),
            Operation::Build(build) => self.build(build)?,
            Operation::Kill { build, after } => self.kill(build, after)?,
        }
        self.configure(&self.sandbox);
        Ok(())
    }

    fn write(&mut self, home: Flow, name: &str, content: usize, same_time: bool) {
        let place = format!("in_{home}/{name}");
        let path = self.sandbox.path(&place);
        let modified = fs::metadata(&path).and_then(|found| found.modified()).ok();
        let bytes = self.shared.contents[content].clone();
        self.sandbox.write(&place, &bytes);
        if let Some(time) = modified.filter(|_| same_time) {
            set_modified(&path, time);
        }
        self.inputs(home).insert(name.to_string(), bytes);
    }

    /// Removes one of the outputs, or appends something to it.
    fn meddle(&mut self, flow: Flow, number: usize, alters_anew: Option<bool>) {
        let live = self.live(flow);
        let Some((name, before)) = live.iter().nth(number % live.len().max(1)) else {
            return;
        };
        let place = format!("out/{flow}/{name}");
        let mut bytes = fs::read(self.sandbox.path(&place)).expect("an output");
        self.known(flow).altered.remove(before);
        // What is written to as it is may be linked to the set before, whose file is altered with
        // it.
        if alters_anew.unwrap_or(true) {
            fs::remove_file(self.sandbox.path(&place)).expect("an output");
        }
        if alters_anew.is_some() {
            self.alterations += 1;
            bytes.extend(format!("mine {}", self.alterations).into_bytes());
            self.sandbox.write(&place, &bytes);
            self.known(flow).altered.insert(digest(&bytes));
        }
        self.mishap();
    }

    fn damage(&mut self, number: usize, place: usize, bit: u8) {
        let staging = self.sandbox.path(".hygge-cache/staging");
        let found = if staging.exists() {
            tree::files(&staging)
        } else {
            Vec::new()
        };
        let Some(path) = found.get(number % found.len().max(1)) else {
            return;
        };
        let mut bytes = fs::read(path).expect("a staged file");
        if !bytes.is_empty() {
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            fs::write(path, bytes).expect("a write");
        }
        self.mishap();
    }

    fn expected(&self, build: Build) -> BTreeMap<Flow, Expected> {
        let mut all: BTreeMap<Flow, Expected> = BTreeMap::new();
        for flow in build.flows() {
            let expected = self.expected_of(flow, all.get("a"));
            all.insert(flow, expected);
        }
        all
    }

    /// What a build should do to a flow, by what it should do to `a` if that is built too.
    fn expected_of(&self, flow: Flow, upstream: Option<&Expected>) -> Expected {
        let is_open = flow == "c" && upstream.is_none() && self.known["a"].unsure;
        let inputs = match (flow, upstream, &self.known["a"].published) {
            ("a" | "b", _, _) => self.inputs[flow].clone(),
            (_, Some(upstream), _) => match &upstream.outputs {
                Some(outputs) => outputs.clone(),
                None => return Expected::nothing(&["skipped"]),
            },
            (_, None, Some(published)) if !is_open && self.live("a") != published.outputs => {
                return Expected::nothing(&["failed"]);
            }
            (_, None, None) if !is_open => return Expected::nothing(&["failed"]),
            (_, None, _) => contents(&self.sandbox, "out/a"),
        };
        let settings = self.settings_of(flow);
        let outputs = self.shared.built_from_nothing(settings, &inputs);
        let known = &self.known[flow];
        let outcomes: &'static [&'static str] = match &outputs {
            _ if is_open => ENDS,
            None => &["failed"],
            Some(_) if known.unsure => ENDS_WELL,
            Some(outputs) => {
                let wanted = Published {
                    settings,
                    inputs: digests(&inputs),
                    outputs: digests(outputs),
                };
                if known.published.as_ref() == Some(&wanted) && self.live(flow) == wanted.outputs {
                    FRESH
                } else {
                    RUNS
                }
            }
        };
        Expected {
            outcomes,
            inputs,
            outputs,
        }
    }

    fn settings_of(&self, flow: Flow) -> Settings {
        if flow == "b" {
            self.settings
        } else {
            Settings::PLAIN
        }
    }

    fn build(&mut self, build: Build) -> Checked {
        let (before, expected) = (self.lives(), self.expected(build));
        let ran = self.sandbox.build(&build.arguments());
        let has_failed = FLOWS
            .iter()
            .any(|flow| ["failed", "skipped"].contains(&ran.outcome(flow)));
        prop_assert!(
            ran.code == i32::from(has_failed),
            "exit {}: {}",
            ran.code,
            ran.text
        );
        for &flow in FLOWS {
            match expected.get(flow) {
                Some(expected) => {
                    self.check(flow, build.forces(flow), expected, &before[flow], &ran)?
                }
                None => {
                    let is_as_before =
                        ran.outcome(flow) == "none" && self.live(flow) == before[flow];
                    prop_assert!(is_as_before, "{flow} was not asked for: {}", ran.text);
                }
            }
        }
        if ran.code == 0 && matches!(build.selection, Selection::All) {
            let again = self.sandbox.run(&["build"]);
            let is_fresh =
                again.code == 0 && again.text == "hygge: nothing to do, 3 flows are fresh\n";
            prop_assert!(is_fresh, "it was built twice: {}{}", ran.text, again.text);
        }
        Ok(())
    }

    /// Checks what a build did to a flow.
    fn check(
        &mut self,
        flow: Flow,
        is_forced: bool,
        expected: &Expected,
        before: &Digests,
        ran: &CommandOutput,
    ) -> Checked {
        let (live, outcome) = (self.live(flow), ran.outcome(flow));
        let outcomes: &[&str] = if is_forced && expected.outputs.is_some() {
            &["built"]
        } else {
            expected.outcomes
        };
        prop_assert!(
            outcomes.contains(&outcome),
            "{flow} is {outcome}, not one of {outcomes:?}: {}",
            ran.text
        );
        if outcome == "failed" || outcome == "skipped" {
            // What a killed build left may be settled all the same.
            prop_assert!(
                self.known[flow].unsure || live == *before,
                "{flow} was left as {live:?}: {}",
                ran.text
            );
            return Ok(());
        }
        let outputs = expected.outputs.as_ref().map(digests);
        prop_assert!(
            outputs.as_ref() == Some(&live),
            "{flow} is {live:?}, from nothing {outputs:?}: {}",
            ran.text
        );
        let published = Published {
            settings: self.settings_of(flow),
            inputs: digests(&expected.inputs),
            outputs: live,
        };
        let has_run = RUNS.contains(&outcome);
        if has_run {
            let ended = ran.finished(flow).expect("an end");
            let number = |field: &str| {
                ended[field]
                    .as_u64()
                    .and_then(|number| usize::try_from(number).ok())
                    .expect("a number")
            };
            let (made, kept, all) = (
                number("parts_made"),
                number("parts_kept"),
                published.outputs.len(),
            );
            prop_assert!(
                made + kept == all && (made == 0) == (outcome == "restored"),
                "{flow} has {all} files: {ended}"
            );
            let most = if is_forced {
                all
            } else {
                self.known[flow].most(&published.settings.parts(&published.inputs), all)
            };
            prop_assert!(
                made <= most && (made == most || !is_forced),
                "{flow}: {made} parts made, {most} expected: {}",
                ran.text
            );
        }
        let aside = self.displaced();
        let altered = &self.known[flow].altered;
        prop_assert!(
            altered.is_subset(&aside),
            "{flow}: an altered output is lost, {altered:?} of {aside:?}: {}",
            ran.text
        );
        self.known(flow).ended(published);
        Ok(())
    }

    /// Digests of everything that was put aside.
    fn displaced(&self) -> BTreeSet<String> {
        let folder = self.sandbox.path("out/.hygge/displaced");
        let found = if folder.exists() {
            tree::files(&folder)
        } else {
            Vec::new()
        };
        found
            .iter()
            .map(|path| digest(&fs::read(path).expect("a displaced file")))
            .collect()
    }

    fn kill(&mut self, build: Build, after: u64) -> Checked {
        let (before, expected) = (self.lives(), self.expected(build));
        let running = self.sandbox.start(&build.arguments());
        // It dies at any moment, whatever it is at.
        sleep(Duration::from_millis(after));
        running.signal("KILL");
        let ran = running.end();
        let upstream_was_unsure = self.known["a"].unsure;
        for &flow in FLOWS {
            let (live, before, known) = (self.live(flow), &before[flow], &self.known[flow]);
            let Some(expected) = expected.get(flow) else {
                prop_assert!(
                    live == *before,
                    "{flow} was not asked for, and is {live:?}: {}",
                    ran.text
                );
                continue;
            };
            // Altered files are put aside before the new set is in place.
            let outputs = known.published.as_ref().map(|published| &published.outputs);
            let is_own = |name: &str, digest: &str| {
                outputs
                    .and_then(|outputs| outputs.get(name))
                    .is_some_and(|own| own == digest)
            };
            let mut own = before.clone();
            own.retain(|name, digest| is_own(name, digest));
            let new = expected.outputs.as_ref().map(digests);
            let is_open = known.unsure || (flow == "c" && upstream_was_unsure);
            let is_whole = live == *before || live == own || Some(&live) == new.as_ref();
            prop_assert!(
                is_open || is_whole,
                "{flow} is {live:?}, neither {before:?} nor {new:?}: {}",
                ran.text
            );
            self.known(flow).unsure = true;
        }
        self.mishap();
        Ok(())
    }

    /// The same inputs with the same config in another folder give the same stores, but for those
    /// that cannot be built.
    fn is_as_built_from_nothing(&self) -> Checked {
        let sandbox = Sandbox::new("");
        self.configure(&sandbox);
        for (home, inputs) in &self.inputs {
            fs::create_dir(sandbox.path(&format!("in_{home}"))).expect("a home");
            inputs
                .iter()
                .for_each(|(name, bytes)| sandbox.write(&format!("in_{home}/{name}"), bytes));
        }
        let ran = sandbox.build(&[]);
        for &flow in FLOWS {
            let (live, other) = (self.live(flow), sandbox.digests(&format!("out/{flow}")));
            prop_assert!(
                other.is_empty() || live == other,
                "{flow} is {live:?}, elsewhere {other:?}: {}",
                ran.text
            );
        }
        Ok(())
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("another time");
}

fn cases() -> u32 {
    std::env::var("HYGGE_MODEL_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(40)
}

#[test]
fn whatever_happens_between_builds_the_model_knows_what_they_do() {
    let shared = Shared::new();
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let operations = prop::collection::vec(operation(), 1..15);
    let result = runner.run(&operations, |operations| {
        Project::new(&shared).lives_through(operations)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
