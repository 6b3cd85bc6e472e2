//! Random sequences of what happens to the inputs of a flow with `mode: append`, and what its store may hold then.
//!
//! `HYGGE_MODEL_CASES` sets the number of sequences. A file is one of a few contents; a store holds each so many times.
//! For every content, with `before` times in the store and `files` files that have it now:
//!
//! 1. `on_changed: rewrite, on_vanished: remove`: exactly `files`, as with `mode: replace`.
//! 2. `on_changed: fail, on_vanished: keep`: the greater of `before` and `files`. What was moved stays, and comes back
//!    under any name without being moved twice.
//! 3. `on_changed: ignore, on_vanished: keep`: at least `before`, at most the greater of both.
//! 4. `on_changed: rewrite, on_vanished: keep`: at least `files`, at most the greater of both.
//!
//! A build that fails says which input stands in the way, and leaves the store as it was.

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
        3 => (name(), name()).prop_map(|(from, to)| Operation::Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Operation::Copy(from, to)),
        2 => name().prop_map(Operation::Remove),
        1 => Just(Operation::LoseCache),
        1 => Just(Operation::LoseParts),
        5 => Just(Operation::Build),
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

struct Project {
    sandbox: Sandbox,
    policies: (&'static str, &'static str),
    files: BTreeMap<&'static str, i64>,
    stored: BTreeMap<i64, usize>,
}

impl Project {
    fn new(policies: (&'static str, &'static str), rows: &str) -> Self {
        let (changed, vanished) = policies;
        let flow = format!("home: home, store: {{path: store{rows}}}, mode: append, on_changed: {changed}, on_vanished: {vanished}");
        let sandbox = Sandbox::new(&format!("flows:\n  ids: {{{flow}, max_shrink: 100%}}\n"));
        sandbox.write("home/readme.txt", "");
        Self { sandbox, policies, files: BTreeMap::new(), stored: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.sandbox.path(&format!("home/{name}.parquet"))
    }

    fn happens(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Write(name, content) => {
                files::ints(&self.sandbox, &format!("home/{name}.parquet"), content * 10..content * 10 + 2);
                self.files.insert(name, content);
            }
            Operation::Rename(from, to) | Operation::Copy(from, to) if from != to => {
                let Some(content) = self.files.get(from).copied() else { return Ok(()) };
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
            // It comes back from the cache or from its input, or the build fails.
            Operation::LoseParts => {
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
        if ran.code != 0 {
            let is_empty = self.files.is_empty() && ran.error().contains("no file");
            let stands_in_the_way = ran.error().contains("has other bytes now") || ran.error().contains("is gone");
            let may_stand = self.policies != ("rewrite", "remove");
            prop_assert!(ran.code == 1 && (is_empty || stands_in_the_way && may_stand), "{}", ran.text);
            prop_assert_eq!(&before, &self.sandbox.digests("store"), "a failed build left something: {}", ran.text);
            return Ok(());
        }
        let again = self.sandbox.run(&["build"]);
        prop_assert!(again.code == 0 && again.text.ends_with("nothing to do, 1 flow is fresh\n"), "{}", again.text);
        let stored = counted(&self.sandbox, "store");
        for content in 0..CONTENTS {
            let before = self.stored.get(&content).copied().unwrap_or_default();
            let (files, now) =
                (self.files.values().filter(|has| **has == content).count(), stored.get(&content).copied().unwrap_or_default());
            let (least, most) = match self.policies {
                ("rewrite", "remove") => (files, files),
                ("fail", "keep") => (before.max(files), before.max(files)),
                ("ignore", _) => (before, before.max(files)),
                _ => (files, before.max(files)),
            };
            prop_assert!(
                (least..=most).contains(&now),
                "{:?}: {content} is {now} times in the store, {least} to {most} are right; {:?}: {}",
                self.policies,
                self.files,
                ran.text
            );
        }
        self.stored = stored;
        Ok(())
    }
}

#[test]
fn no_row_is_lost_or_doubled_whatever_becomes_of_the_inputs() {
    let cases = std::env::var("HYGGE_MODEL_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let policies = prop::sample::select(&[("rewrite", "remove"), ("fail", "keep"), ("ignore", "keep"), ("rewrite", "keep")]);
    let rows = prop::sample::select(&["", "", ", rows_per_file: 3", ", file_pattern: \"{digest}.parquet\""]);
    let sequence = (policies, rows, prop::collection::vec(operation(), 4..20));
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
