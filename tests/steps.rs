//! Every step on the disk: a process that ends at any of them, and a power cut after any of them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::common::disk::{Disk, SeededRandom};
use crate::common::files;
use crate::common::sandbox::{CommandOutput, Sandbox};

/// Something that changes a disk, and the project that it begins with.
struct Case {
    name: &'static str,
    config: &'static str,
    prepare: fn(&Sandbox),
    command: &'static [&'static str],
    /// What goes on where the command ended.
    again: &'static [&'static str],
}

const REPLACE: &str = "flows:\n  ids: {home: home, store: {path: store, compression: zstd}}\n";
const APPEND: &str =
    "flows:\n  ids: {home: home, store: {path: store, compression: zstd}, mode: append}\n";
const IN_PLACE: &str =
    "flows:\n  ids: {home: home, store: {path: store, compression: zstd, publish: in_place}}\n";
const ADOPT: &str =
    "flows:\n  ids: {home: home, store: {path: store, compression: zstd, adopt: true}}\n";
const FOLDERS: &str = "flows:\n  ids: {home: home, store: {path: store, partition_by: text}, where: \"text in ('text 1', 'text 2', 'text 3')\"}\n";
const APPEND_TO_FOLDERS: &str = "flows:\n  ids: {home: home, store: {path: store, partition_by: [text]}, mode: append, where: \"text in ('text 1', 'text 2')\"}\n";
const BUILD: &[&str] = &["build", "--format", "json", "-j", "1"];

const CASES: &[Case] = &[
    Case {
        name: "first build",
        config: REPLACE,
        prepare: three,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "rebuild",
        config: REPLACE,
        prepare: changed,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "append",
        config: APPEND,
        prepare: one_more,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "folders",
        config: FOLDERS,
        prepare: changed,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "restore folders",
        config: FOLDERS,
        prepare: built_twice,
        command: &["restore", "ids", "--format", "json"],
        again: &["restore", "ids", "--build", "1", "--format", "json"],
    },
    Case {
        name: "append to folders",
        config: APPEND_TO_FOLDERS,
        prepare: one_more,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "in place",
        config: IN_PLACE,
        prepare: changed,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "adopt",
        config: ADOPT,
        prepare: foreign,
        command: BUILD,
        again: BUILD,
    },
    Case {
        name: "restore",
        config: REPLACE,
        prepare: built_twice,
        command: &["restore", "ids", "--format", "json"],
        again: &["restore", "ids", "--build", "1", "--format", "json"],
    },
    Case {
        name: "restore in place",
        config: IN_PLACE,
        prepare: built_twice,
        command: &["restore", "ids", "--format", "json"],
        again: &["restore", "ids", "--build", "1", "--format", "json"],
    },
    Case {
        name: "latest again",
        config: APPEND,
        prepare: put_back,
        command: &["restore", "ids", "--latest", "--format", "json"],
        again: &["restore", "ids", "--latest", "--format", "json"],
    },
    Case {
        name: "gc",
        config: REPLACE,
        prepare: built_thrice,
        command: &["cache", "gc", "--max-age", "0", "--format", "json"],
        again: &["cache", "gc", "--max-age", "0", "--format", "json"],
    },
];

fn three(sandbox: &Sandbox) {
    for (name, values) in [("a", 0..40), ("b", 40..90), ("c", 90..120)] {
        files::ints_and_texts(sandbox, &format!("home/{name}.parquet"), values);
    }
}

fn changed(sandbox: &Sandbox) {
    three(sandbox);
    assert_eq!(sandbox.run(BUILD).code, 0);
    files::ints_and_texts(sandbox, "home/a.parquet", 200..270);
    fs::remove_file(sandbox.path("home/b.parquet")).expect("an input");
    files::ints_and_texts(sandbox, "home/d.parquet", 300..310);
}

fn one_more(sandbox: &Sandbox) {
    three(sandbox);
    assert_eq!(sandbox.run(BUILD).code, 0);
    files::ints_and_texts(sandbox, "home/b2.parquet", 300..310);
}

fn foreign(sandbox: &Sandbox) {
    three(sandbox);
    sandbox.write("store/mine.txt", "mine");
}

fn built_twice(sandbox: &Sandbox) {
    changed(sandbox);
    assert_eq!(sandbox.run(BUILD).code, 0);
}

/// The latest set has rows that are nowhere else.
fn put_back(sandbox: &Sandbox) {
    one_more(sandbox);
    assert_eq!(sandbox.run(BUILD).code, 0);
    fs::remove_file(sandbox.path("home/b2.parquet")).expect("an input");
    assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
}

fn built_thrice(sandbox: &Sandbox) {
    built_twice(sandbox);
    files::ints_and_texts(sandbox, "home/e.parquet", 400..410);
    assert_eq!(sandbox.run(BUILD).code, 0);
}

impl Case {
    fn prepared(&self) -> Sandbox {
        let sandbox = Sandbox::new(self.config);
        (self.prepare)(&sandbox);
        sandbox
    }

    /// Nothing is half done any more, and the store is what an undisturbed run gives.
    fn is_mended(&self, sandbox: &Sandbox, undisturbed: &Sandbox, moment: &str) -> CommandOutput {
        let ran = sandbox.run(self.again);
        assert_eq!(ran.code, 0, "{}, {moment}: {}", self.name, ran.text);
        assert_eq!(
            sandbox.digests("store"),
            undisturbed.digests("store"),
            "{}, {moment}: {}",
            self.name,
            ran.text
        );
        let fresh = sandbox.run(&["build"]);
        assert!(
            fresh.code == 0
                && fresh
                    .text
                    .ends_with("hygge: nothing to do, 1 flow is fresh\n"),
            "{}, {moment}: {}",
            self.name,
            fresh.text
        );
        for left in [".hygge/store.next", "store/.hygge/next"] {
            assert!(
                !sandbox.path(left).exists(),
                "{}, {moment}: {left} is left",
                self.name
            );
        }
        let runs = fs::read_dir(sandbox.path(".hygge-cache/staging/tmp"))
            .into_iter()
            .flatten()
            .map(|run| run.expect("an entry").path());
        let unfinished: usize = runs
            .map(|run| fs::read_dir(run).map_or(0, Iterator::count))
            .sum();
        assert_eq!(
            unfinished, 0,
            "{}, {moment}: parts are left unfinished",
            self.name
        );
        if self.name == "adopt" {
            let aside = sandbox.find(".hygge", "mine.txt");
            assert_eq!(
                aside
                    .map(|path| fs::read(path).expect("my file"))
                    .as_deref(),
                Some(&b"mine"[..]),
                "{moment}"
            );
        }
        ran
    }
}

fn made(ran: &CommandOutput) -> usize {
    ran.events
        .iter()
        .filter(|event| event["event"] == "part_made")
        .count()
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the counts are what a reader wants to see"
)]
fn a_process_that_ends_at_any_step_is_made_good_by_the_next() {
    for case in CASES {
        let (sandbox, undisturbed) = (case.prepared(), case.prepared());
        let (saved, before) = (sandbox.save(), sandbox.digests("store"));
        let ran = undisturbed.run(case.command);
        assert_eq!(ran.code, 0, "{}: {}", case.name, ran.text);
        let needed = made(&ran);
        let mut twice = 0;
        let mut step = 0;
        loop {
            step += 1;
            sandbox.reset(&saved);
            let ended = sandbox.run_with(&[("HYGGE_FAIL", &format!("abort:{step}"))], case.command);
            if ended.code == 0 {
                break;
            }
            let moment = format!("step {step}");
            assert_eq!(ended.code, -1, "{}, {moment}: {}", case.name, ended.text);
            if !case.name.contains("in place") {
                let seen = sandbox.digests("store");
                let is_one_set = seen == before || seen == undisturbed.digests("store");
                assert!(
                    is_one_set,
                    "{}, {moment}: a reader finds {seen:?}",
                    case.name
                );
            }
            let ran = case.is_mended(&sandbox, &undisturbed, &moment);
            let again = made(&ended) + made(&ran);
            // Without an event the part was in flight.
            assert!(
                again <= needed + 1,
                "{}, {moment}: {again} parts were made, {needed} are needed",
                case.name
            );
            twice = twice.max(again.saturating_sub(needed));
        }
        println!(
            "{:<16} ended at each of {:>3} steps: equal to an undisturbed run, at most {twice} \
             part made twice",
            case.name,
            step - 1
        );
        assert!(step > 4, "{} has only {step} steps", case.name);
    }
}

/// Copied folders have other inode numbers, and one that the receipt has may be another's.
#[test]
fn an_inode_number_that_is_another_folders_by_chance_misleads_nobody() {
    let mut tried = 0;
    for case in CASES
        .iter()
        .filter(|case| case.name == "rebuild" || case.name == "latest again")
    {
        let (sandbox, undisturbed) = (case.prepared(), case.prepared());
        let saved = sandbox.save();
        assert_eq!(undisturbed.run(case.command).code, 0);
        for step in 1.. {
            let mut is_over = false;
            for folder in ["store", ".hygge/store.next"] {
                sandbox.reset(&saved);
                let fail = format!("abort:{step}");
                is_over = sandbox
                    .run_with(&[("HYGGE_FAIL", &fail)], case.command)
                    .code
                    == 0;
                let text =
                    fs::read_to_string(sandbox.path(".hygge/store.json")).expect("a receipt");
                let mut receipt: Value = serde_json::from_str(&text).expect("JSON");
                let Ok(found) = fs::metadata(sandbox.path(folder)) else {
                    continue;
                };
                if receipt["pending"].is_null() {
                    continue;
                }
                receipt["pending_inode"] = found.ino().into();
                sandbox.write(".hygge/store.json", receipt.to_string());
                case.is_mended(&sandbox, &undisturbed, &format!("step {step}, {folder}"));
                tried += 1;
            }
            if is_over {
                break;
            }
        }
    }
    assert!(tried > 8, "only {tried} were tried");
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the counts are what a reader wants to see"
)]
fn a_power_cut_after_any_step_loses_nothing() {
    // More of them, and others, for who has the time.
    let number = |name: &str, otherwise: u64| {
        std::env::var(name)
            .ok()
            .map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let mut random = SeededRandom::new(number("HYGGE_CUTS_SEED", 7));
    let at_each_step = number("HYGGE_CUTS", 2);
    for case in CASES {
        let (sandbox, undisturbed) = (case.prepared(), case.prepared());
        let (saved, before) = (sandbox.save(), sandbox.digests("store"));
        let steps = tempfile::tempdir().expect("a folder");
        let ran = sandbox.run_with(
            &[("HYGGE_STEPS", &steps.path().display().to_string())],
            case.command,
        );
        assert_eq!(ran.code, 0, "{}: {}", case.name, ran.text);
        assert_eq!(undisturbed.run(case.command).code, 0);
        let text = fs::read_to_string(steps.path().join("steps.jsonl")).expect("steps");
        let written: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a step"))
            .collect();
        let mut cuts = 0;
        for end in 0..=written.len() {
            for _ in 0..at_each_step {
                let disk = Disk::new(saved.path(), &sandbox, steps.path());
                sandbox.clear();
                let said = disk.after_a_cut(&written[..end], &mut random, &sandbox);
                let moment = format!("cut after step {end}: {said}");
                if !case.name.contains("in place") {
                    let seen = sandbox.digests("store");
                    let is_one_set = seen == before || seen == undisturbed.digests("store");
                    assert!(
                        is_one_set,
                        "{}, {moment}: a reader finds {seen:?}",
                        case.name
                    );
                }
                case.is_mended(&sandbox, &undisturbed, &moment);
                cuts += 1;
            }
        }
        println!(
            "{:<16} {:>3} power cuts: equal to an undisturbed run",
            case.name, cuts
        );
    }
}
