//! What a person reads: nothing of others acts on the terminal, nothing is lost in silence, the line of progress leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::databases::{Database, Kind};
use crate::common::locks::Held;
use crate::common::sandbox::{Sandbox, built};

/// What names are made of: all that does something on a terminal, lines that look like hygge's own, and ordinary letters.
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
        let pieces: String = (0..2 + next() % 5).map(|_| PIECES[next() % PIECES.len()]).collect();
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
    let hostile = ran.text.chars().find(|letter| *letter != '\n' && acts(*letter));
    assert!(hostile.is_none(), "{arguments:?} says {hostile:?}: {:?}", ran.text);
    let forged = ran.text.lines().find(|line| line.starts_with("failed   b") || line.starts_with("hygge: all is well"));
    assert!(forged.is_none() || arguments.contains(&"check") && ran.code == 0, "{arguments:?} has a line that is not hygge's: {forged:?}");
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
    let sandbox = Sandbox::new("flows: {a: {home: {path: home, glob: \"*\"}, store: {path: out, file_pattern: \"{stem}.parquet\"}}}\n");
    sandbox.sample("north", "home/ok.parquet");
    built(&sandbox);
    names.iter().for_each(|name| sandbox.sample("north", &format!("home/{name}")));
    let (_, all) = looked_at(&sandbox, &["why", "a", "--all"]);
    assert_eq!(all.matches(" is new").count(), 500, "each has one line");
    let (_, objects) = looked_at(&sandbox, &["why", "a", "--format", "json"]);
    let why: Value = serde_json::from_str(&objects).expect("an object");
    let exact: BTreeSet<&str> = why["reasons"].as_array().expect("reasons").iter().filter_map(|reason| reason["name"].as_str()).collect();
    assert_eq!(exact, names.iter().map(String::as_str).collect(), "programs get them as they are");
    look_at_all(&sandbox);
    let published: Vec<_> = fs::read_dir(sandbox.path("out")).expect("a store").map(|entry| entry.expect("an entry").path()).collect();
    assert!(published.len() > 400, "{} files are published under their names", published.len());
    for (number, path) in published.iter().enumerate() {
        // Some are gone, some are altered.
        if number % 2 == 0 { fs::remove_file(path).expect("a file") } else { fs::write(path, "altered").expect("a file") }
    }
    look_at_all(&sandbox);
    names.iter().for_each(|name| fs::remove_file(sandbox.path(&format!("home/{name}"))).expect("a file"));
    look_at_all(&sandbox);
    sandbox.write(&format!("out/{}", names[0]), "added");
    let (_, text) = looked_at(&sandbox, &["build"]);
    assert!(text.contains("files that were added to it"), "{text}");
    look_at_all(&sandbox);
    fs::remove_file(sandbox.path(&format!("out/{}", names[0]))).expect("a file");
    for name in names.iter().step_by(50) {
        sandbox.write(&format!("home/{name}"), "junk");
        let (code, _) = looked_at(&sandbox, &["build"]);
        assert_eq!(code, 1);
        look_at_all(&sandbox);
        fs::remove_file(sandbox.path(&format!("home/{name}"))).expect("a file");
    }
}

#[test]
fn other_texts_of_others_never_act_on_a_terminal() {
    for name in hostile_names(40) {
        let sandbox = Sandbox::numbers();
        let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config").replace("numbers", "a");
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
    shop.run(&format!("CREATE TABLE \"{name}\" (\"{name}\" INTEGER, x TEXT); INSERT INTO \"{name}\" VALUES ('no number', 'x')"));
    let quoted = json!(name).to_string();
    let config = |home: &str| {
        format!("connections: {{s: {{url: \"{}\"}}}}\nflows: {{a: {{home: {{connection: s, {home}}}, store: out}}}}\n", shop.url())
    };
    for home in [
        format!("table: {quoted}"),
        format!("query: {}", json!(format!("select * from \"{name}x\""))),
        format!("query: {}", json!(format!("select \"{name}\" from \"{name}\""))),
        format!("table: {quoted}, slice: {{column: {quoted}, by: 10}}"),
        format!("table: {quoted}, columns: [{quoted}]"),
    ] {
        let sandbox = Sandbox::new(&config(&home));
        look_at_all(&sandbox);
    }
}

/// A project with something for every command to say.
fn project() -> Sandbox {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    sandbox.sample("north", "home/more.parquet");
    sandbox
}

/// Every command that says something, with the code it ends with.
const SAYING: &[(&[&str], i32)] = &[
    (&["--help"], 0),
    (&["--version"], 0),
    (&["build", "--help"], 0),
    (&["check"], 0),
    (&["check", "--format", "json"], 0),
    (&["why", "numbers"], 0),
    (&["why", "numbers", "--format", "json"], 0),
    (&["graph"], 0),
    (&["graph", "--format", "json"], 0),
    (&["graph", "--format", "make"], 0),
    (&["log"], 0),
    (&["log", "--format", "json"], 0),
    (&["schema"], 0),
    (&["completions", "bash"], 0),
    (&["man"], 0),
    (&["cache", "stats"], 0),
    (&["cache", "gc", "--format", "json"], 0),
    (&["cache", "verify"], 0),
    (&["clean", "--orphans"], 0),
    (&["clean", "--stores", "numbers"], 2),
    (&["build", "--dry-run", "--format", "json"], 0),
    (&["build", "--check", "--format", "json"], 10),
    (&["build", "--format", "json"], 0),
    (&["build", "--force", "--format", "json"], 0),
    (&["restore", "numbers", "--format", "json"], 0),
    (&["init", "new"], 0),
    (&["clean"], 0),
];

fn with_output(sandbox: &Sandbox, arguments: &[&str], output: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    command.args(arguments).current_dir(sandbox.path("")).env_clear().stdout(output).stderr(Stdio::piped());
    let ran = command.output().expect("the binary runs");
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let sandbox = project();
    for (arguments, code) in SAYING {
        let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
        let (ended, errors) = with_output(&sandbox, arguments, full);
        let expected = if *code == 2 { 2 } else { 3 };
        assert_eq!(ended, Some(expected), "{arguments:?}: {errors}");
        assert!(*code == 2 || errors.contains("failed to write the output: No space left on device"), "{arguments:?}: {errors}");
    }
    // What happens in a build is said on standard error.
    sandbox.sample("south", "home/another.parquet");
    let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    let ended = command.arg("build").current_dir(sandbox.path("")).env_clear().stderr(full).status().expect("the binary runs");
    assert_eq!(ended.code(), Some(3));
    assert_eq!(sandbox.build(&[]).outcome("numbers"), "none", "it was built all the same");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let sandbox = project();
    for (arguments, code) in SAYING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (ended, errors) = with_output(&sandbox, arguments, writer);
        assert_eq!(ended, Some(*code), "{arguments:?}: {errors}");
        assert!(!errors.to_lowercase().contains("pipe"), "{arguments:?}: {errors}");
    }
    sandbox.sample("south", "home/another.parquet");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    let ended = command.arg("build").current_dir(sandbox.path("")).env_clear().stderr(writer).status().expect("the binary runs");
    assert_eq!(ended.code(), Some(0));
    assert!(sandbox.path("store").exists());
}

/// Steps on a terminal of its own, and what it shows: see `tests/peers/terminal.py`.
fn on_a_terminal(sandbox: &Sandbox, steps: &Value, arguments: &[&str]) -> Value {
    let python = std::env::var_os("HYGGE_TEST_PYTHON").expect("a Python");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/terminal.py");
    let mut command = Command::new(python);
    command.arg(script).arg(env!("CARGO_BIN_EXE_hygge")).args(arguments).current_dir(sandbox.path(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python runs");
    child.stdin.take().expect("a pipe").write_all(steps.to_string().as_bytes()).expect("the steps");
    let ran = child.wait_with_output().expect("an end");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).expect("what it shows")
}

fn rows(rows: &Value) -> Vec<&str> {
    rows.as_array().expect("rows").iter().filter_map(Value::as_str).collect()
}

/// Rows of the screen that belong to the line of progress.
fn of_progress<'a>(shown: &'a [&str]) -> Vec<&'a &'a str> {
    let is_of_it = |row: &&&str| row.contains(['█', '░']) || row.contains(" of ") && row.contains(" parts") || row.contains("looking at");
    shown.iter().filter(is_of_it).collect()
}

/// Two flows whose parts take a while each.
fn slow(database: &Database) -> Sandbox {
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY); WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) INSERT INTO t SELECT i FROM n");
    let query =
        "select id, (with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000000) select max(i) from n) as m from t";
    let home =
        format!("home: {{connection: shop, query: {}, types: {{id: int64, m: int64}}, slice: {{column: id, by: 20}}}}", json!(query));
    database.project(&format!("  a: {{{home}, store: out/a}}\n  b: {{{home}, store: out/b}}\n"))
}

#[test]
fn nothing_of_the_line_of_progress_is_left_behind() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    for (columns, keys, said) in
        [(200, "\u{3}", "once more ends it"), (80, "\u{3}\u{3}", "once more ends it|$"), (30, "\u{3}", "once more ends it")]
    {
        let steps = json!([{"columns": columns}, {"wait": "[1-9][0-9]* of [0-9]+ parts"}, {"type": keys}, {"wait": said}, {"end": true}]);
        let shown = on_a_terminal(&sandbox, &steps, &["build"]);
        let (left, raw) = (rows(&shown["rows"]), shown["raw"].as_str().expect("a text"));
        assert!(of_progress(&left).is_empty(), "{columns}: {left:?}");
        assert_eq!(shown["code"], 130, "{left:?}");
        assert!(!raw.contains(" of 0 parts"), "there is no line before there are parts");
        if keys.len() == 1 {
            assert!(left.join("").contains("interrupted: what is being published is finished"), "{left:?}");
        }
    }
}

#[test]
fn a_terminal_that_becomes_narrow_has_one_line_of_progress() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    let parts = json!({"wait": "[1-9][0-9]* of [0-9]+ parts"});
    let steps =
        json!([{"columns": 200}, parts, {"columns": 50}, parts, parts, {"columns": 20}, parts, parts, {"type": "\u{3}"}, {"end": true}]);
    let shown = on_a_terminal(&sandbox, &steps, &["build"]);
    let seen = shown["seen"].as_array().expect("screens");
    for (step, screen) in seen.iter().enumerate().take(8).skip(4) {
        let screen = rows(screen);
        let step_is_drawn = ![6].contains(&step);
        assert!(!step_is_drawn || screen.iter().filter(|row| row.contains(" of ")).count() == 1, "{step}: {screen:?}");
        assert!(screen.join("").contains("building a: never built"), "{step}: nothing above it is lost: {screen:?}");
    }
    assert!(of_progress(&rows(&shown["rows"])).is_empty());
}

#[test]
fn a_long_planning_is_seen_and_can_be_interrupted() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000000) select max(i) from n";
    let sandbox =
        database.project(&format!("  a: {{home: {{connection: shop, table: t, probe: {{query: {}}}}}, store: out}}\n", json!(endless)));
    for arguments in [&["build", "--dry-run"][..], &["why", "a"]] {
        let steps =
            json!([{"wait": "looking at what is there"}, {"type": "\u{3}"}, {"wait": "interrupted|$"}, {"type": "\u{3}"}, {"end": true}]);
        let shown = on_a_terminal(&sandbox, &steps, arguments);
        let left = rows(&shown["rows"]);
        assert!(shown["code"] == 130 && of_progress(&left).is_empty(), "{arguments:?}: {left:?}");
    }
}

#[test]
fn a_build_on_a_terminal_ends_with_its_lines_and_names_do_not_act() {
    let sandbox = Sandbox::new("flows: {a: {home: {path: home, glob: \"*\"}, store: out}}\n");
    sandbox.sample("north", "home/ok.parquet");
    sandbox.sample("north", "home/n\u{1b}[31m\nfailed   b: forged\u{202e}");
    let shown = on_a_terminal(&sandbox, &json!([{"end": true}]), &["build"]);
    let left = rows(&shown["rows"]);
    assert!(shown["code"] == 0 && left.iter().any(|row| row.starts_with("hygge: 1 built in ")), "{left:?}");
    fs::write(sandbox.path("home/n\u{1b}]0;owned\u{7}"), "junk").expect("a file");
    let shown = on_a_terminal(&sandbox, &json!([{"end": true}]), &["build"]);
    assert_eq!(shown["code"], 1, "{shown}");
}

#[test]
fn boxes_are_drawn_with_letters_where_the_locale_has_no_others() {
    let sandbox = Sandbox::new("flows: {n: {hom: x}}\n");
    let ran = sandbox.run_with(&[("LC_ALL", "C")], &["check"]);
    assert!(ran.code == 2 && ran.text.contains("did you mean home?") && ran.text.is_ascii(), "{}", ran.text);
    assert!(sandbox.run_with(&[("LANG", "de_DE.UTF-8")], &["check"]).text.contains('╭'));
}

/// Begins a command, and gives the first line that it says on standard error.
fn first_error_line(sandbox: &Sandbox, arguments: &[&str]) -> (std::process::Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    command.args(arguments).current_dir(sandbox.path("")).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
    (child, line)
}

#[test]
fn who_waits_says_for_whom_and_since_when() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let process = format!("process {}", std::process::id());
    for arguments in [&["cache", "gc"][..], &["cache", "verify"], &["clean"]] {
        let held = Held::shared(&sandbox.path(".hygge-cache/lock"));
        let ran = sandbox.run(&[arguments, &["--no-wait"]].concat());
        assert!(ran.code == 4 && ran.text.contains(&process) && ran.text.contains(" UTC"), "{arguments:?}: {}", ran.text);
        let (mut child, line) = first_error_line(&sandbox, arguments);
        assert!(line.starts_with("waiting ") && line.contains(&process) && line.contains(" since 2"), "{arguments:?}: {line}");
        drop(held);
        assert!(child.wait().expect("an end").success(), "{arguments:?}");
    }
    built(&sandbox);
    for arguments in [&["build"][..], &["restore", "numbers", "--latest"]] {
        let held = Held::alone(&sandbox.path(".hygge-cache/lock"));
        let (mut child, line) = first_error_line(&sandbox, arguments);
        assert!(line.starts_with("waiting ") && line.contains(&process), "{arguments:?}: {line}");
        drop(held);
        assert!(child.wait().expect("an end").success(), "{arguments:?}");
    }
    let held = Held::alone(&sandbox.path(".hygge/store.lock"));
    let (mut child, line) = first_error_line(&sandbox, &["clean", "--stores", "numbers", "--yes"]);
    assert!(line.contains("waiting  for store") && line.contains(&process), "{line}");
    drop(held);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn a_build_that_waits_for_the_cache_says_so_to_programs() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let held = Held::alone(&sandbox.path(".hygge-cache/lock"));
    let mut build = sandbox.start(&[]);
    build.wait_for("cache_waiting");
    drop(held);
    let ran = build.end();
    let holder = ran.event("cache_waiting")["holder"].as_str().expect("who").to_string();
    assert!(ran.code == 0 && holder.contains(&format!("process {}", std::process::id())), "{holder}");
}

#[test]
fn who_is_waited_for_says_since_when() {
    let sandbox = Sandbox::numbers();
    let database = Database::new(Kind::Sqlite);
    drop(sandbox);
    let sandbox = slow(&database);
    let mut build = sandbox.start(&["a"]);
    build.wait_for("part_made");
    let ran = sandbox.run(&["build", "a", "--no-wait", "--format", "json"]);
    let error = ran.error();
    assert!(
        ran.code == 4 && error.contains("locked by hygge, process ") && error.contains(" since 2") && error.contains("flow a of"),
        "{error}"
    );
    build.signal("INT");
    assert_eq!(build.end().code, 130);
}

#[test]
fn a_plan_lists_some_reasons_and_says_how_to_see_all() {
    let sandbox = Sandbox::new("flows: {n: {home: home, store: {path: out, file_pattern: \"{stem}.parquet\"}}}\n");
    (0..60).for_each(|number| sandbox.sample("north", &format!("home/f{number}.parquet")));
    built(&sandbox);
    (0..60).for_each(|number| fs::remove_file(sandbox.path(&format!("out/f{number}.parquet"))).expect("a file"));
    for (arguments, reasons, more) in [
        (&["build", "--dry-run"][..], 5, "and 55 more: hygge why n --all"),
        (&["build", "--check"], 5, "and 55 more: hygge why n --all"),
        (&["why", "n"], 20, "and 40 more: --all lists them"),
        (&["why", "n", "--all"], 60, ""),
    ] {
        let text = sandbox.run(arguments).text;
        assert!(text.matches(" is missing").count() == reasons && text.contains(more), "{arguments:?}: {text}");
    }
    let whole = sandbox.build(&["--dry-run"]);
    assert_eq!(whole.event("plan")["reasons"].as_array().map(Vec::len), Some(60), "programs get all");
}

#[test]
fn why_and_log_speak_of_the_last_failure_in_the_order_of_its_causes() {
    let sandbox = Sandbox::new("flows:\n  z: {home: home, store: out/z, max_shrink: 1%}\n  a: {home: {flow: z}, store: out/a}\n");
    (0..4).for_each(|number| sandbox.sample("north", &format!("home/f{number}.parquet")));
    built(&sandbox);
    let before = sandbox.run(&["why", "z"]).text;
    assert!(!before.contains("its last run"), "{before}");
    (1..4).for_each(|number| fs::remove_file(sandbox.path(&format!("home/f{number}.parquet"))).expect("a file"));
    assert_eq!(sandbox.build(&[]).code, 1);
    let why = sandbox.run(&["why", "z"]).text;
    assert!(why.contains("its last run, 2 of ") && why.contains(" UTC: failed: ") && why.contains("max_shrink"), "{why}");
    assert!(why.contains("hint: ") && why.contains("--accept-shrink"), "{why}");
    let why = sandbox.run(&["why", "a"]).text;
    assert!(why.contains("skipped: its upstream z did not end well"), "{why}");
    let log = sandbox.run(&["log"]).text;
    let place = |word: &str| log.find(word).unwrap_or_else(|| panic!("{word:?} is not in {log}"));
    assert!(place("failed   z") < place("skipped  a"), "causes stand first: {log}");
    assert!(log.contains("hint: ") && log.lines().filter(|line| line.starts_with("run ")).all(|line| line.ends_with(" UTC")), "{log}");
    let ran = sandbox.run(&["why", "z", "--format", "json"]);
    assert_eq!(ran.event("why")["last_failure"]["run"], 2);
    let ran = sandbox.run(&["build", "--accept-shrink"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let why = sandbox.run(&["why", "z"]).text;
    assert!(!why.contains("its last run") && why.contains(" UTC, 1 part, "), "it has ended well since: {why}");
}

#[test]
fn retries_and_what_they_took_count() {
    let config =
        "connections: {s: {url: \"postgres://u@127.0.0.1:1/x\"}}\nflows: {a: {home: {connection: s, table: t}, store: out, retries: 1}}\n";
    let sandbox = Sandbox::new(config);
    let ran = sandbox.build(&[]);
    let ended = ran.event("flow_finished");
    assert!(ended["retries"] == 1 && ended["seconds"].as_f64() > Some(1.0), "{ended}");
    assert!(ran.event("build_finished")["seconds"].as_f64() >= ended["seconds"].as_f64());
    let log = sandbox.run(&["log"]).text;
    assert!(log.contains(", after 1 retry"), "{log}");
    let ran = sandbox.run(&["log", "--format", "json"]);
    let flow = &ran.event("run")["flows"][0];
    assert!(flow["retries"] == 1 && flow["seconds"].as_f64() > Some(1.0), "{flow}");
}

#[test]
fn planning_is_a_part_of_the_time_of_a_build() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let ran = built(&sandbox);
    assert!(ran.event("build_finished")["seconds"].as_f64() > Some(0.0), "nothing was to do, and that was found out: {}", ran.text);
}

#[test]
fn what_is_published_for_the_first_time_does_not_come_back() {
    let sandbox = Sandbox::numbers();
    sandbox.write("hygge.yml", "flows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b, needs: [a]}\n");
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("built    b: 4 parts (0 made, 4 kept)") && ran.text.contains("hygge: 2 built in "), "{}", ran.text);
    assert!(!ran.text.contains("restored"), "{}", ran.text);
    fs::remove_dir_all(sandbox.path("out/b")).expect("a store");
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("restored b") && ran.text.contains("1 restored, 1 fresh"), "{}", ran.text);
}

#[test]
fn why_there_is_no_set_to_restore_agrees_with_the_sets_that_there_are() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(
        ran.code == 1 && ran.text.contains("every set of flow numbers that is remembered has the parts that are published now"),
        "{}",
        ran.text
    );
    sandbox.sample("north", "home/more.parquet");
    built(&sandbox);
    assert_eq!(sandbox.run(&["restore", "numbers"]).code, 0);
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(ran.text.contains("stays at the set of run 1, and none is remembered that is older"), "{}", ran.text);
    assert!(ran.text.contains("sets of runs: 2, 1; --build 2"), "{}", ran.text);
    fs::remove_dir_all(sandbox.path("store")).expect("a store");
    fs::remove_file(sandbox.path(".hygge/store.json")).expect("a receipt");
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(ran.text.contains("nothing of flow numbers is published") && ran.text.contains("sets of runs: 2, 1"), "{}", ran.text);
}
