//! No input makes the loader panic, hang or use unbounded memory; what it understood is a config.
//!
//! `HYGGE_LOADER_CASES` sets the number of cases; CI has a few thousand, a million take some
//! minutes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use hygge::config::loader;
use hygge::flow::resolved::resolved_config;
use hygge::plan::project::Project;

use crate::common::tree;

/// What one config gave: the problems as they are printed, or the config as it was understood.
fn load(folder: &Path, text: &[u8]) -> Result<serde_json::Value, String> {
    let file = folder.join("hygge.yml");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let variables = BTreeMap::from([
        ("ROWS".to_string(), "100".to_string()),
        ("LAKE".to_string(), "lake".to_string()),
    ]);
    let found = loader::load(Some(&file), folder, &variables).map_err(|error| error.to_string())?;
    let project = Project::new(Arc::new(found)).map_err(|error| error.to_string())?;
    let flows: Vec<_> = project.graph.flows().cloned().collect();
    Ok(resolved_config(&project.config, &flows))
}

/// Loads it; if it is a config, what it was resolved to is one too and means the same.
fn check(folder: &Path, text: &[u8]) -> Result<(), TestCaseError> {
    match load(folder, text) {
        Err(said) => prop_assert!(
            !said.is_empty() && said.len() < 2_000_000,
            "{} bytes are said",
            said.len()
        ),
        Ok(config) => {
            let again = load(folder, config.to_string().as_bytes());
            prop_assert_eq!(again, Ok(config));
        }
    }
    Ok(())
}

/// Words that configs are made of, and signs that YAML gives a meaning to.
const WORDS: &[&str] = &[
    "flows",
    "home",
    "store",
    "entities",
    "defaults",
    "options",
    "homes",
    "stores",
    "connections",
    "name",
    "path",
    "type",
    "parquet",
    "flow",
    "use",
    "from",
    "exclude",
    "needs",
    "depends_on",
    "tags",
    "timeout",
    "10m",
    "queue_size",
    "compression",
    "zstd",
    "compression_level",
    "rows_per_file",
    "batch_size",
    "file_pattern",
    "\"{sequence:05d}.parquet\"",
    "glob",
    "\"*.parquet\"",
    "max_shrink",
    "50%",
    "continue_on_error",
    "true",
    "false",
    "null",
    "~",
    "a",
    "b",
    "c",
    "a.b",
    "x/y",
    "../z",
    "'{entity}'",
    "\"{flow}\"",
    "${LAKE}",
    "\"${ROWS}\"",
    "${NONE:-d}",
    "$$",
    "url",
    "\"sqlite:x\"",
    "&a",
    "*a",
    "<<",
    "1",
    "-1",
    "1_000",
    "0.5",
    ".inf",
    "1e300",
    "é",
    "日本",
    "🦀",
    "confine",
    "cache",
    "dir",
    "keep",
    "flows_dir",
    "env_file",
    "x-y",
    "\u{0}",
    "\u{1b}[31m",
    "\u{2028}",
    "\r",
    "data/home/*",
];
const SIGNS: &[&str] = &[
    ": ",
    ":\n  ",
    ":\n    ",
    ":\n      ",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "\n  - ",
    ", ",
    "{",
    "}",
    "[",
    "]",
    "- ",
    "# ",
    "\t",
    "---\n",
    "| ",
    "> ",
    "\"",
    "'",
    "? ",
    "!!str ",
    "%",
    "@",
    "`",
    " ",
];

/// Texts of words and signs in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![3 => prop::sample::select(WORDS), 4 => prop::sample::select(SIGNS)];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Configs whose shape is right and whose values are of any kind.
fn shaped() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::sample::select(WORDS).prop_map(str::to_string);
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((prop::sample::select(WORDS), inner), 0..4).prop_map(|entries| {
                let entries: Vec<String> = entries
                    .into_iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    });
    let block = prop::collection::vec((prop::sample::select(WORDS), value.clone()), 0..5);
    let flows = prop::collection::vec(
        (prop::sample::select(&["a", "b", "c", "d-e"][..]), block),
        1..4,
    );
    (
        flows,
        prop::collection::vec((prop::sample::select(WORDS), value), 0..3),
    )
        .prop_map(|(flows, top)| {
            let mut text = String::from("flows:\n");
            for (name, block) in flows {
                text.push_str(&format!(
                    "  {name}:\n    home: h/{name}\n    store: s/{name}\n"
                ));
                block
                    .iter()
                    .for_each(|(key, value)| text.push_str(&format!("    {key}: {value}\n")));
            }
            top.iter()
                .for_each(|(key, value)| text.push_str(&format!("{key}: {value}\n")));
            text.into_bytes()
        })
}

/// The samples with some bytes changed, taken out or doubled.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let samples: Vec<Vec<u8>> = tree::files(&root)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "yml"))
        .map(|file| fs::read(file).expect("a sample"))
        .collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (
        prop::sample::select(samples),
        prop::collection::vec(change, 1..6),
    )
        .prop_map(|(mut text, changes)| {
            for (place, byte, how) in changes {
                if text.is_empty() {
                    break;
                }
                let place = place.index(text.len());
                match how {
                    0 => text[place] = byte,
                    1 => drop(text.remove(place)),
                    2 => text.insert(place, byte),
                    _ => text.truncate(place),
                }
            }
            text
        })
}

fn cases() -> u32 {
    std::env::var("HYGGE_LOADER_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(3_000)
}

fn run(strategy: impl Strategy<Value = Vec<u8>>, cases: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    // A panic would be shown with the case; none is caught before.
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    });
    let result = runner.run(&strategy, |text| {
        check(folder.path(), &text).map_err(|error| {
            TestCaseError::fail(format!("{error}\n{}", String::from_utf8_lossy(&text)))
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// The most memory that this process ever had, in KiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn words_in_any_order() {
    run(soup(), cases());
}

#[test]
fn values_of_any_kind() {
    run(shaped(), cases());
}

#[test]
fn damaged_samples() {
    run(damaged(), cases());
}

#[test]
fn any_bytes() {
    run(prop::collection::vec(any::<u8>(), 0..300), cases());
}

/// All kinds one after the other in a process of their own, whose memory and time are bounded.
#[test]
fn memory_and_time_are_bounded() {
    if std::env::var_os("HYGGE_LOADER_CHILD").is_some() {
        let before = peak();
        run(soup(), cases());
        run(shaped(), cases());
        run(damaged(), cases());
        let grown = peak() - before;
        assert!(grown < 100_000, "{grown} KiB more");
        return;
    }
    let limit = 60 + cases() / 100;
    let script = format!("ulimit -v 4000000 && ulimit -t {limit} && exec \"$0\" \"$@\"");
    let child = std::env::current_exe().expect("this binary");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(child)
        .args([
            "--exact",
            "loader::memory_and_time_are_bounded",
            "--nocapture",
        ])
        .env("HYGGE_LOADER_CHILD", "1")
        .output()
        .expect("the child runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
