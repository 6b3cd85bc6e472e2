//! Random sequences of what happens to the inputs of a flow with `mode: append`, and a model of
//! what its store holds.
//!
//! `HYGGE_MODEL_CASES` sets the number of sequences. The rules, for inputs that are known by name
//! and content:
//!
//! 1. An input whose name has another content, or none, is gone. A file that has the content of one
//!    that is gone is that one, and gives it its name: of several the one whose name comes first.
//! 2. Another file whose name is that of an input that is gone has changed: the build fails, or its
//!    rows take the place of the old ones, or are left out. Every other file that is no input yet
//!    becomes one.
//! 3. Inputs that are gone keep their rows, or lose them. One whose name belongs to another input
//!    now is known by its content only.
//!
//! Where a part is lost, or is made of several inputs, and one of them is gone, a build may also
//! fail over that. A build that fails leaves the store as it was.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::append::ids;
use crate::common::files;
use crate::common::sandbox::Sandbox;

const NAMES: &[&str] = &["a", "b", "c", "d"];
const CONTENTS: i64 = 5;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Write(&'static str, i64),
    Rename(&'static str, &'static str),
    Copy(&'static str, &'static str),
    Remove(&'static str),
    LoseCache,
    LoseParts,
    Build,
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(NAMES);
    prop_oneof![
        3 => (name(), 0..CONTENTS).prop_map(|(name, content)| Operation::Write(name, content)),
        4 => (name(), name()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Operation::Copy(from, to)),
        2 => name().prop_map(Operation::Remove),
        1 => Just(Operation::LoseCache),
        1 => Just(Operation::LoseParts),
        7 => Just(Operation::Build),
    ]
}

/// How often a store has each content.
fn counted(sandbox: &Sandbox, store: &str) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for id in ids(sandbox, store).into_iter().filter(|id| id % 10 == 0) {
        *counts.entry(id / 10).or_default() += 1;
    }
    counts
}

/// An input that was moved.
#[derive(Clone, Debug)]
struct Moved {
    name: &'static str,
    content: i64,
    has_name: bool,
}

struct Project {
    sandbox: Sandbox,
    on_changed: &'static str,
    on_vanished: &'static str,
    on_repeated: &'static str,
    files: BTreeMap<&'static str, i64>,
    moved: Vec<Moved>,
    /// Whether a part may have to be made again from inputs that are gone.
    may_lack: bool,
}

impl Project {
    fn new(
        (on_changed, on_vanished, on_repeated): (&'static str, &'static str, &'static str),
        rows: &str,
    ) -> Self {
        let policies = format!(
            "on_changed: {on_changed}, on_vanished: {on_vanished}, on_repeated: {on_repeated}"
        );
        let flow = format!("home: home, store: {{path: store{rows}}}, mode: append, {policies}");
        let sandbox = Sandbox::new(&format!("flows:\n  ids: {{{flow}, max_shrink: 100%}}\n"));
        sandbox.write("home/readme.txt", "");
        Self {
            sandbox,
            on_changed,
            on_vanished,
            on_repeated,
            files: BTreeMap::new(),
            moved: Vec::new(),
            may_lack: rows.contains("rows_per_file"),
        }
    }

    /// What will have been moved after a build; nothing where it fails.
    fn after_a_build(&self) -> Option<Vec<Moved>> {
        let has = |moved: &Moved| self.files.get(moved.name) == Some(&moved.content);
        let (mut there, mut gone): (Vec<Moved>, Vec<Moved>) =
            self.moved.iter().cloned().partition(has);
        gone.sort_by_key(|moved| (moved.name, !moved.has_name));
        let mut others = Vec::new();
        for (name, content) in &self.files {
            if there.iter().any(|moved| moved.name == *name) {
                continue;
            }
            match gone
                .iter()
                .position(|moved| moved.content == *content && self.on_repeated == "skip")
            {
                Some(place) => drop(gone.remove(place)),
                None => {
                    others.push((*name, *content));
                    continue;
                }
            }
            there.push(Moved {
                name,
                content: *content,
                has_name: true,
            });
        }
        let mut ignored = Vec::new();
        for (name, content) in others {
            let changed = gone
                .iter()
                .position(|moved| moved.name == name && moved.has_name);
            match (changed, self.on_changed) {
                (Some(_), "fail") => return None,
                (Some(place), "ignore") => {
                    ignored.push(gone.remove(place));
                    continue;
                }
                (Some(place), _) => drop(gone.remove(place)),
                (None, _) => {}
            }
            there.push(Moved {
                name,
                content,
                has_name: true,
            });
        }
        there.iter_mut().for_each(|moved| moved.has_name = true);
        if self.on_vanished == "keep" {
            for moved in &mut gone {
                moved.has_name &= !self.files.contains_key(moved.name)
                    || ignored.iter().any(|other| other.name == moved.name);
            }
            there.append(&mut gone);
        }
        there.append(&mut ignored);
        Some(there)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.sandbox.path(&format!("home/{name}.parquet"))
    }

    fn happens(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Write(name, content) => {
                files::ints(
                    &self.sandbox,
                    &format!("home/{name}.parquet"),
                    content * 10..content * 10 + 2,
                );
                self.files.insert(name, content);
            }
            Operation::Rename(from, to) | Operation::Copy(from, to) if from != to => {
                let Some(content) = self.files.get(from).copied() else {
                    return Ok(());
                };
                if matches!(operation, Operation::Rename(..)) {
                    fs::rename(self.path(from), self.path(to)).expect("a rename");
                    self.files.remove(from);
                } else {
                    fs::copy(self.path(from), self.path(to)).expect("a copy");
                }
                self.files.insert(to, content);
            }
            Operation::Rename(..) | Operation::Copy(..) => {}
            Operation::Remove(name) => {
                if self.files.remove(name).is_some() {
                    fs::remove_file(self.path(name)).expect("an input");
                }
            }
            Operation::LoseCache => drop(fs::remove_dir_all(self.sandbox.path(".hygge-cache"))),
            Operation::LoseParts => {
                self.may_lack = true;
                let parts = self.sandbox.digests("store").into_keys();
                if let Some(part) = parts.into_iter().last() {
                    fs::remove_file(self.sandbox.path(&format!("store/{part}"))).expect("a part");
                }
            }
            Operation::Build => return self.build(),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<(), TestCaseError> {
        let before = self.sandbox.digests("store");
        let ran = self.sandbox.build(&[]);
        let after = self.after_a_build();
        if ran.code != 0 {
            let error = ran.error();
            let is_expected =
                (self.moved.is_empty() && self.files.is_empty() && error.contains("no file"))
                    || (after.is_none() && error.contains("was moved already"))
                    || (self.may_lack && error.contains("must be made again"));
            prop_assert!(
                ran.code == 1 && is_expected,
                "{:?} {:?}: {}",
                self.moved,
                self.files,
                ran.text
            );
            prop_assert_eq!(
                &before,
                &self.sandbox.digests("store"),
                "a failed build left something: {}",
                ran.text
            );
            return Ok(());
        }
        let Some(after) = after else {
            return Err(TestCaseError::fail(format!(
                "an input changed: {:?} {:?}: {}",
                self.moved, self.files, ran.text
            )));
        };
        let mut expected = BTreeMap::new();
        after
            .iter()
            .for_each(|moved| *expected.entry(moved.content).or_default() += 1);
        prop_assert_eq!(
            counted(&self.sandbox, "store"),
            expected,
            "{:?} {:?}: {}",
            self.moved,
            self.files,
            ran.text
        );
        let again = self.sandbox.run(&["build"]);
        prop_assert!(
            again.code == 0 && again.text.ends_with("nothing to do, 1 flow is fresh\n"),
            "{}",
            again.text
        );
        self.moved = after;
        Ok(())
    }
}

#[test]
fn whatever_becomes_of_inputs_the_store_has_what_the_model_says() {
    let cases = std::env::var("HYGGE_MODEL_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(80);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let policies = prop::sample::select(&[
        ("rewrite", "remove", "skip"),
        ("fail", "keep", "skip"),
        ("ignore", "keep", "skip"),
        ("rewrite", "keep", "skip"),
        ("ignore", "keep", "add"),
        ("rewrite", "remove", "add"),
    ]);
    let rows = prop::sample::select(&[
        "",
        "",
        ", rows_per_file: 3",
        ", file_pattern: \"{digest}.parquet\"",
    ]);
    let sequence = (policies, rows, prop::collection::vec(operation(), 5..40));
    let played = runner.run(&sequence, |(policies, rows, operations)| {
        let mut project = Project::new(policies, rows);
        for operation in operations.into_iter().chain([Operation::Build]) {
            project.happens(operation)?;
        }
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
