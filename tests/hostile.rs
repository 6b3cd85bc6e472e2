//! Names that would do something on a terminal, or look like lines of hygge's: in every command,
//! nothing of them does.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::common::databases::{Database, Kind};
use crate::common::locks::Held;
use crate::common::sandbox::{Sandbox, built};

/// What names are made of: all that does something on a terminal, lines that look like hygge's own,
/// and ordinary letters.
const PIECES: &[&str] = &[
    "\u{1b}]0;owned\u{7}",
    "\u{1b}[31m",
    "\u{1b}[2J",
    "\u{1b}",
    "\n",
    "\nfailed   b: forged",
    "\r",
    "\rhygge: all is well",
    "\t",
    "\u{8}",
    "\u{7f}",
    "\u{9b}31m",
    "\u{85}",
    "\u{9d}0;x\u{9c}",
    "\u{202e}",
    "\u{2066}",
    "\u{2069}",
    "\u{200f}",
    "\u{2028}",
    "\u{61c}",
    "a",
    "ü",
    "日本",
    " ",
    "%",
    "\\",
    "'",
    "\"",
    "{}",
];

/// Names that no two runs make otherwise.
fn hostile_names(count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 1000).expect("a small number")
    };
    let mut names = BTreeSet::new();
    while names.len() < count {
        let pieces: String = (0..2 + next() % 5)
            .map(|_| PIECES[next() % PIECES.len()])
            .collect();
        if pieces.contains(acts) {
            names.insert(format!("n{}{pieces}", names.len()));
        }
    }
    names.into_iter().collect()
}

fn acts(letter: char) -> bool {
    letter.is_control()
        || "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}"
            .contains(letter)
}

/// Runs a command, of which nothing may act on a terminal; gives its code and text.
fn looked_at(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String) {
    let ran = sandbox.run(arguments);
    let hostile = ran
        .text
        .chars()
        .find(|letter| *letter != '\n' && acts(*letter));
    assert!(
        hostile.is_none(),
        "{arguments:?} says {hostile:?}: {:?}",
        ran.text
    );
    let forged = ran
        .text
        .lines()
        .find(|line| line.starts_with("failed   b") || line.starts_with("hygge: all is well"));
    assert!(
        forged.is_none() || arguments.contains(&"check") && ran.code == 0,
        "{arguments:?} has a line that is not hygge's: {forged:?}"
    );
    (ran.code, ran.text)
}

/// All that a person may ask of the flow `a`; a build is the last.
const COMMANDS: &[&[&str]] = &[
    &["build", "--dry-run"],
    &["build", "--check"],
    &["why", "a"],
    &["why", "a", "--all"],
    &["why", "a", "--format", "json"],
    &["check"],
    &["check", "--format", "json"],
    &["graph"],
    &["graph", "--format", "json"],
    &["log"],
    &["log", "--format", "json"],
    &["cache", "stats"],
    &["cache", "gc"],
    &["cache", "verify"],
    &["restore", "a"],
    &["restore", "a", "--latest"],
    &["clean", "--stores", "a"],
    &["clean", "--orphans"],
    &["build", "--stamp", "stamp", "--depfile", "d.mk"],
    &["build", "--format", "json"],
    &["log"],
];

fn look_at_all(sandbox: &Sandbox) {
    for arguments in COMMANDS {
        looked_at(sandbox, arguments);
    }
}

#[test]
fn names_of_files_never_act_on_a_terminal() {
    let names = hostile_names(500);
    let sandbox = Sandbox::new(
        "flows: {a: {home: {path: home, glob: \"*\"}, store: {path: out, file_pattern: \
         \"{stem}.parquet\"}}}\n",
    );
    sandbox.sample("north", "home/ok.parquet");
    built(&sandbox);
    names
        .iter()
        .for_each(|name| sandbox.sample("north", &format!("home/{name}")));
    let (_, all) = looked_at(&sandbox, &["why", "a", "--all"]);
    assert_eq!(all.matches(" is new").count(), 500, "each has one line");
    let (_, objects) = looked_at(&sandbox, &["why", "a", "--format", "json"]);
    let why: Value = serde_json::from_str(&objects).expect("an object");
    let exact: BTreeSet<&str> = why["reasons"]
        .as_array()
        .expect("reasons")
        .iter()
        .filter_map(|reason| reason["name"].as_str())
        .collect();
    assert_eq!(
        exact,
        names.iter().map(String::as_str).collect(),
        "programs get them as they are"
    );
    look_at_all(&sandbox);
    let published: Vec<_> = fs::read_dir(sandbox.path("out"))
        .expect("a store")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(
        published.len() > 400,
        "{} files are published under their names",
        published.len()
    );
    for (number, path) in published.iter().enumerate() {
        // Some are gone, some are altered.
        if number % 2 == 0 {
            fs::remove_file(path).expect("a file")
        } else {
            fs::write(path, "altered").expect("a file")
        }
    }
    look_at_all(&sandbox);
    names
        .iter()
        .for_each(|name| fs::remove_file(sandbox.path(&format!("home/{name}"))).expect("a file"));
    look_at_all(&sandbox);
    sandbox.write(&format!("out/{}", names[0]), "added");
    let (_, text) = looked_at(&sandbox, &["build"]);
    assert!(text.contains("files that were added to it"), "{text}");
    look_at_all(&sandbox);
    fs::remove_file(sandbox.path(&format!("out/{}", names[0]))).expect("a file");
    for name in names.iter().step_by(25) {
        sandbox.write(&format!("home/{name}"), "junk");
        let (code, _) = looked_at(&sandbox, &["build"]);
        assert_eq!(code, 1);
        for arguments in [
            &["build", "--dry-run"][..],
            &["check"],
            &["why", "a"],
            &["log", "-n", "1"],
        ] {
            looked_at(&sandbox, arguments);
        }
        fs::remove_file(sandbox.path(&format!("home/{name}"))).expect("a file");
    }
}

#[test]
fn other_texts_of_others_never_act_on_a_terminal() {
    for name in hostile_names(20) {
        let sandbox = Sandbox::numbers();
        let config = fs::read_to_string(sandbox.path("hygge.yml"))
            .expect("a config")
            .replace("numbers", "a");
        sandbox.write("hygge.yml", config);
        built(&sandbox);
        // Whose a store was, and who builds into it.
        let receipt = fs::read_to_string(sandbox.path(".hygge/store.json")).expect("a receipt");
        let mut receipt: Value = serde_json::from_str(&receipt).expect("JSON");
        (receipt["flow"], receipt["project"]) = (json!(name), json!(name));
        sandbox.write(".hygge/store.json", receipt.to_string());
        sandbox.sample("north", "home/more.parquet");
        looked_at(&sandbox, &["build", "--dry-run"]);
        looked_at(&sandbox, &["clean", "--stores", "a"]);
        sandbox.write(".hygge/store.lock", &name);
        let held = Held::alone(&sandbox.path(".hygge/store.lock"));
        let (code, text) = looked_at(&sandbox, &["build", "--no-wait"]);
        assert!(code == 4 && text.contains("locked by"), "{text}");
        drop(held);
        look_at_all(&sandbox);
        // A config whose path, keys and values are such.
        let quoted = json!(name).to_string();
        for config in [
            format!("flows: {{a: {{home: {quoted}, store: out2, {quoted}: 1}}}}\n"),
            format!("flows: {{{quoted}: {{home: home, store: out3}}}}\n"),
            format!("flows: {{a: {{home: {quoted}, store: {quoted}, tags: [{quoted}]}}}}\n"),
            format!("flows: {{a: {{home: home, store: out4}}}} # {name}\n"),
        ] {
            let file = format!("{name}.yml");
            sandbox.write(&file, config);
            for command in ["check", "build"] {
                looked_at(&sandbox, &["-f", &file, command]);
            }
        }
        looked_at(&sandbox, &["why", &name]);
        looked_at(&sandbox, &["log", &name]);
        looked_at(&sandbox, &["build", &format!("--{name}")]);
    }
}

#[test]
fn names_of_tables_and_columns_never_act_on_a_terminal() {
    let shop = Database::new(Kind::Sqlite);
    let name = "t\u{1b}[31m\nfailed   b: forged\u{9b}\u{202e}";
    shop.run(&format!(
        "CREATE TABLE \"{name}\" (\"{name}\" INTEGER, x TEXT); \
         INSERT INTO \"{name}\" VALUES ('no number', 'x')"
    ));
    let quoted = json!(name).to_string();
    let config = |home: &str| {
        format!(
            "connections: {{s: {{url: \"{}\"}}}}\nflows: {{a: {{home: {{connection: s, {home}}}, \
             store: out}}}}\n",
            shop.url()
        )
    };
    for home in [
        format!("table: {quoted}"),
        format!("query: {}", json!(format!("select * from \"{name}x\""))),
        format!(
            "query: {}",
            json!(format!("select \"{name}\" from \"{name}\""))
        ),
        format!("table: {quoted}, slice: {{column: {quoted}, by: 10}}"),
        format!("table: {quoted}, columns: [{quoted}]"),
    ] {
        let sandbox = Sandbox::new(&config(&home));
        look_at_all(&sandbox);
    }
}
