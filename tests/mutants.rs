//! Mutated receipts, ledgers, indexes, env files and configs: whatever they say, nothing outside of
//! the project is touched, nothing panics, hangs or is aborted, and what is built without an error
//! is right.
//!
//! `HYGGE_FILE_MUTANTS` sets how many there are; where it is not set, a small share of them is
//! tried.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::files;
use crate::common::outside::{differences, record_files};
use crate::common::sandbox::Sandbox;

/// How many mutants are tried where nothing is said.
const FEW: u64 = 100;

/// For how many seconds a command may run before it is taken for one that hangs.
const PATIENCE: &str = "90";

const CONFIG: &str = "name: shop
options: {env_file: my.env, confine: true}
connections: {shop: {url: \"sqlite:shop.db\"}}
flows:
  ids: {home: home, store: {path: lake/ids, compression: zstd}, tags: [\"${TAG}\"]}
  place: {home: home, store: {path: lake/place, compression: zstd, publish: in_place}}
  more: {home: home, store: lake/more, mode: append}
  kept: {home: home, store: {path: lake/kept, compression: gzip}}
  table: {home: home, store: {connection: shop, table: ids}}
  copy: {home: {flow: ids}, store: lake/copy}
";

/// Stores whose content follows from the homes alone, whatever their receipts say.
const JUDGED: &[&str] = &["lake/ids", "lake/place", "lake/copy"];

/// Numbers that differ with each seed, and are the same for each:
/// <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).expect("a small number")
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A project in which everything has happened, and files beside it that are none of its own.
fn project() -> Sandbox {
    let sandbox = Sandbox::new("");
    fs::remove_file(sandbox.path("hygge.yml")).expect("a file");
    sandbox.write("project/hygge.yml", CONFIG);
    sandbox.write("project/my.env", "TAG=nightly\nOTHER='a b'\n");
    let run = |arguments: &[&str]| {
        let ran = sandbox.run(&[&["-f", "project/hygge.yml"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.text);
    };
    for rows in [10, 20, 30] {
        files::ints(
            &sandbox,
            &format!("project/home/{rows}.parquet"),
            rows..2 * rows,
        );
        run(&["build"]);
    }
    sandbox.write("project/lake/ids/00000000000000000002.parquet", "altered");
    run(&["build", "ids"]);
    run(&["restore", "kept", "--build", "2"]);
    let part =
        fs::read(sandbox.path("project/lake/ids/00000000000000000001.parquet")).expect("a part");
    for name in [
        "key.parquet",
        "folder/00000000000000000001.parquet",
        "folder/deep/key.parquet",
        "lock",
    ] {
        sandbox.write(&format!("outside/{name}"), &part);
    }
    sandbox
}

/// What is changed in a mutant.
#[derive(Clone, Copy, Debug)]
enum Target {
    Receipt,
    Ledger,
    Index,
    EnvFile,
    Config,
}

const TARGETS: &[Target] = &[
    Target::Receipt,
    Target::Receipt,
    Target::Ledger,
    Target::Index,
    Target::Index,
    Target::EnvFile,
    Target::Config,
];

fn file_of(target: Target, random: &mut Random) -> String {
    let receipts = ["ids", "place", "more", "kept", "copy"];
    match target {
        Target::Receipt => format!("project/lake/.hygge/{}.json", random.one_of(&receipts)),
        Target::Ledger => "project/.hygge-cache/staging/parts.log".into(),
        Target::Index => "project/.hygge-cache/index.db".into(),
        Target::EnvFile => "project/my.env".into(),
        Target::Config => "project/hygge.yml".into(),
    }
}

/// Other bytes, by one of the ways in which a file is spoiled.
fn spoiled(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let place = random.below(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(place),
        1 => bytes[place] ^= 1 << random.below(8),
        2 => (0..1 + random.below(20)).for_each(|_| {
            let place = random.below(bytes.len());
            bytes[place] = u8::try_from(random.below(256)).expect("a byte");
        }),
        3 => {
            let end = (place + random.below(64)).min(bytes.len());
            bytes.drain(place..end);
        }
        4 => {
            let piece: Vec<u8> = bytes[place..]
                .iter()
                .take(1 + random.below(200))
                .copied()
                .collect();
            let other = random.below(bytes.len());
            bytes.splice(other..other, piece);
        }
        5 => {
            let end = (place + 1 + random.below(4096)).min(bytes.len());
            bytes[place..end].fill(*random.one_of(&[0, 0xff, b'/', b'.']));
        }
        6 => {
            let end = (place + 1 + random.below(512)).min(bytes.len());
            let piece: Vec<u8> = bytes[place..end].to_vec();
            let other = random.below(bytes.len() - piece.len() + 1);
            bytes[other..other + piece.len()].copy_from_slice(&piece);
        }
        _ => bytes.insert(place, *random.one_of(b"\0\n\"'{}[]:,&*!|>%@`#\xff\xc3/.$")),
    }
    bytes
}

/// A receipt that is JSON still, and says something else.
fn forged(bytes: &[u8], root: &Path, random: &mut Random) -> Vec<u8> {
    let mut receipt: Value = serde_json::from_slice(bytes).expect("a receipt");
    for _ in 0..=random.below(3) {
        // What it was made before may be anything.
        if !receipt.is_object() || !receipt["published"].is_object() {
            break;
        }
        match random.below(4) {
            0 => name_elsewhere(&mut receipt, root, random),
            1 => move_sets(&mut receipt, random),
            _ => {
                let places = places(&receipt, String::new());
                let place = random.one_of(&places).clone();
                let value = another_value(
                    receipt.pointer(&place).unwrap_or(&Value::Null),
                    root,
                    random,
                );
                if let Some(found) = receipt.pointer_mut(&place) {
                    *found = value;
                }
            }
        }
    }
    receipt.to_string().into_bytes()
}

/// Every value of a document, as a pointer.
fn places(value: &Value, at: String) -> Vec<String> {
    let below: Vec<String> = match value {
        Value::Object(fields) => {
            let key = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            fields
                .iter()
                .flat_map(|(name, value)| places(value, key(name)))
                .collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(number, value)| places(value, format!("{at}/{number}")))
            .collect(),
        _ => Vec::new(),
    };
    std::iter::once(at).chain(below).collect()
}

fn another_value(value: &Value, root: &Path, random: &mut Random) -> Value {
    let elsewhere = root.join("outside/key.parquet").display().to_string();
    let texts = [
        "",
        ".",
        "..",
        "../../../outside/key.parquet",
        &elsewhere,
        "a/b",
        ".hygge",
        "00000000000000000001.parquet",
        "nul\0",
        "2999-01-01T00:00:00Z",
    ];
    match (value, random.below(6)) {
        (_, 0) => Value::Null,
        (_, 1) => json!([]),
        (Value::Number(_), _) => {
            json!(*random.one_of(&[0, 1, 7, u64::from(u32::MAX), i64::MAX as u64, u64::MAX]))
        }
        (Value::Bool(known), _) => json!(!known),
        (Value::String(known), 2) if !known.is_empty() => {
            Value::String(known.chars().rev().collect())
        }
        (Value::String(_), _) => Value::String((*random.one_of(&texts)).to_string()),
        (Value::Array(items), 2 | 3) if !items.is_empty() => {
            let mut items = items.clone();
            let again = random.one_of(&items).clone();
            items.push(again);
            Value::Array(items)
        }
        (Value::Array(items), _) => Value::Array(items.iter().skip(1).cloned().collect()),
        _ => json!({}),
    }
}

/// A part of one of the sets has a name that leads out, and perhaps another digest.
fn name_elsewhere(receipt: &mut Value, root: &Path, random: &mut Random) {
    let depth = random.one_of(&[
        "../../outside/",
        "../../../outside/",
        "../outside/",
        "./",
        "/",
    ]);
    let absolute = root.join("outside/key.parquet").display().to_string();
    let name = if random.below(3) == 0 {
        absolute
    } else {
        format!(
            "{depth}{}",
            random.one_of(&["key.parquet", "folder", "folder/deep/key.parquet"])
        )
    };
    let set = *random.one_of(&["published", "pending", "previous", "latest"]);
    if receipt[set].is_null() {
        receipt[set] = receipt["published"].clone();
    }
    let Some(parts) = receipt[set]
        .pointer_mut("/manifest/parts")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let Some(mut part) = parts.first().cloned().filter(Value::is_object) else {
        return;
    };
    part["name"] = name.into();
    if random.below(2) == 0 {
        part["digest"] = "0".repeat(64).into();
    }
    if random.below(2) == 0 {
        parts.push(part)
    } else {
        parts[0] = part
    }
}

/// One of the sets stands where another one should.
fn move_sets(receipt: &mut Value, random: &mut Random) {
    let sets = ["published", "pending", "previous", "latest"];
    let (from, to) = (*random.one_of(&sets), *random.one_of(&sets));
    receipt[to] = receipt[from].clone();
    receipt["pending_in_place"] = (random.below(2) == 0).into();
    receipt["pending_inode"] = random
        .one_of(&[Value::Null, json!(1), json!(u64::MAX)])
        .clone();
}

/// A whole page of the index is another one, or names in the history lead out.
fn spoiled_index(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    const PAGE: usize = 4096;
    let pages = bytes.len() / PAGE;
    let (one, other) = (random.below(pages) * PAGE, random.below(pages) * PAGE);
    match random.below(6) {
        0 => bytes.copy_within(one..one + PAGE, other),
        1 => bytes[one..one + PAGE].fill(0),
        // Numbers of pages, where trees find what is below them: also one that is above.
        2 => {
            let page = u8::try_from(random.below(pages + 2)).unwrap_or(1);
            bytes[one + random.below(16)] = page;
            bytes[one + random.below(200)] = page;
        }
        3 => {
            let elsewhere = b"../../outside/key.parquet...";
            for place in 0..bytes.len() - elsewhere.len() {
                if bytes[place..].starts_with(b"00000000000000000001.parquet") {
                    bytes[place..place + elsewhere.len()].copy_from_slice(elsewhere);
                }
            }
        }
        4 => bytes[96..100].rotate_left(1 + random.below(3)),
        // The version of the tables, and all that stands in the head.
        _ => bytes[random.below(100)] = u8::try_from(random.below(256)).expect("a byte"),
    }
    bytes
}

fn mutant(target: Target, bytes: Vec<u8>, root: &Path, random: &mut Random) -> Vec<u8> {
    match target {
        Target::Receipt if random.below(3) > 0 => forged(&bytes, root, random),
        Target::Index if random.below(2) > 0 => spoiled_index(bytes, random),
        _ => spoiled(bytes, random),
    }
}

const COMMANDS: &[&[&str]] = &[
    &["build", "--force"],
    &["build", "--check"],
    &["restore", "ids"],
    &["restore", "place"],
    &["restore", "kept", "--latest"],
    &["log"],
    &["log", "ids"],
    &["why", "ids"],
    &["why", "more"],
    &["check"],
    &["cache", "stats"],
    &["cache", "verify"],
    &["cache", "gc", "--max-age", "0"],
    &["clean"],
    &["clean", "--stores", "ids", "place", "kept", "more", "--yes"],
    &["clean", "--orphans"],
];

/// What became of all mutants.
#[derive(Debug, Default)]
struct Counts {
    right: u64,
    refused: u64,
    commands: u64,
    wrong: u64,
}

/// A copy of the project, in which one mutant after the other is tried.
struct Lab {
    sandbox: Sandbox,
    saved: tempfile::TempDir,
    expected: BTreeMap<&'static str, BTreeMap<String, String>>,
}

impl Lab {
    fn new() -> Self {
        let sandbox = project();
        let expected = JUDGED
            .iter()
            .map(|store| (*store, sandbox.digests(&format!("project/{store}"))))
            .collect();
        let saved = sandbox.save();
        Self {
            sandbox,
            saved,
            expected,
        }
    }

    /// Runs a command; gives its exit code, and what it said.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("timeout");
        command
            .args([
                "-k",
                "5",
                PATIENCE,
                env!("CARGO_BIN_EXE_hygge"),
                "-f",
                "project/hygge.yml",
            ])
            .args(arguments);
        let output = command
            .current_dir(self.sandbox.path(""))
            .env_clear()
            .output()
            .expect("timeout runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    }

    fn try_one(&self, seed: u64, counts: &mut Counts) {
        let mut random = Random(seed);
        self.sandbox.reset(&self.saved);
        let root: PathBuf = self.sandbox.path("");
        let target = *random.one_of(TARGETS);
        let file = file_of(target, &mut random);
        let bytes = fs::read(self.sandbox.path(&file)).expect("a file");
        fs::write(
            self.sandbox.path(&file),
            mutant(target, bytes, &root, &mut random),
        )
        .expect("a write");
        if random.below(3) == 0 {
            files::ints(&self.sandbox, "project/home/10.parquet", 10..20);
        }
        let before = record_files(&self.sandbox.path("outside"));
        let further = *random.one_of(COMMANDS);
        let order: [&[&str]; 3] = if random.below(2) == 0 {
            [&["build"], further, &["build"]]
        } else {
            [further, &["build"], &["build"]]
        };
        let mut said = Vec::new();
        for command in order {
            let (code, text) = self.run(command);
            let case =
                format!("mutant {seed} ({target:?}, {file}), {command:?}: exit {code:?}: {text}");
            assert!(matches!(code, Some(0 | 1 | 2 | 3 | 4 | 10)), "{case}");
            assert!(
                !text.contains("panicked") && !text.contains("a library gave up"),
                "{case}"
            );
            assert!(
                code == Some(0)
                    || text.contains("error")
                    || text.contains("failed")
                    || text.contains("blocked")
                    || command.contains(&"--check"),
                "without a word: {case}"
            );
            assert_eq!(
                differences(&before, &self.sandbox.path("outside")),
                [""; 0],
                "{case}"
            );
            let names: Vec<_> = fs::read_dir(self.sandbox.path(""))
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            assert_eq!(names.len(), 2, "{names:?}: {case}");
            counts.commands += 1;
            said.push(format!("{command:?}: {code:?} {text}"));
            if command == ["build"] {
                counts.refused += u64::from(code != Some(0));
                counts.right += u64::from(code == Some(0));
                // A config that says something else asks for something else.
                if code == Some(0)
                    && !matches!(target, Target::Config)
                    && !further.contains(&"restore")
                {
                    for (store, expected) in &self.expected {
                        assert_eq!(
                            &self.sandbox.digests(&format!("project/{store}")),
                            expected,
                            "{store} is wrong without an error: {case}\n{said:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_outside_is_touched_whatever_a_file_of_hygges_says() {
    let all = std::env::var("HYGGE_FILE_MUTANTS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(FEW);
    // Two copies, so that two processors have something to do.
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let tried = |first: u64| {
            let lab = Lab::new();
            let mut counts = Counts::default();
            for seed in (first..all).step_by(2) {
                // All of them are tried, whatever is wrong with one.
                let tried = catch_unwind(AssertUnwindSafe(|| lab.try_one(seed, &mut counts)));
                counts.wrong += u64::from(tried.is_err());
            }
            counts
        };
        let labs: Vec<_> = (0..2)
            .map(|first| scope.spawn(move || tried(first)))
            .collect();
        labs.into_iter()
            .map(|lab| lab.join().expect("all mutants are harmless"))
            .collect()
    });
    let sum = |count: fn(&Counts) -> u64| counts.iter().map(count).sum::<u64>();
    let (right, refused, commands) = (
        sum(|counts| counts.right),
        sum(|counts| counts.refused),
        sum(|counts| counts.commands),
    );
    drop(writeln!(
        std::io::stderr(),
        "{all} mutants, {commands} commands: {right} builds right, {refused} refused"
    ));
    assert_eq!(
        sum(|counts| counts.wrong),
        0,
        "mutants are not harmless: see above"
    );
    assert!(
        right > all / 4 && refused > all / 20,
        "{right} builds of {all} mutants are right, {refused} are refused"
    );
}
