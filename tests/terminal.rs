//! Builds on a terminal: the line of progress leaves nothing behind, and Ctrl-C is answered.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::sandbox::Sandbox;

/// Steps on a terminal of its own, and what it shows: see `tests/peers/terminal.py`.
fn on_a_terminal(sandbox: &Sandbox, steps: &Value, arguments: &[&str]) -> Value {
    let python = std::env::var_os("HYGGE_TEST_PYTHON").expect("a Python");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/terminal.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_hygge"))
        .args(arguments)
        .current_dir(sandbox.path(""));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(steps.to_string().as_bytes())
        .expect("the steps");
    let ran = child.wait_with_output().expect("an end");
    assert_success(&ran);
    serde_json::from_slice(&ran.stdout).expect("what it shows")
}

fn rows(rows: &Value) -> Vec<&str> {
    rows.as_array()
        .expect("rows")
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// Rows of the screen that belong to the line of progress.
fn of_progress<'a>(shown: &'a [&str]) -> Vec<&'a &'a str> {
    let is_of_it = |row: &&&str| {
        row.contains(['█', '░'])
            || row.contains(" of ") && row.contains(" parts")
            || row.contains("looking at")
    };
    shown.iter().filter(is_of_it).collect()
}

/// Two flows whose parts take a while each.
fn slow(database: &Database) -> Sandbox {
    database.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); \
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 999) INSERT INTO t SELECT i FROM n",
    );
    let query = "select id, (with recursive n(i) as (select 1 union all select i + 1 from n where \
                 i < 3000000) select max(i) from n) as m from t";
    let home = format!(
        "home: {{connection: shop, query: {}, types: {{id: int64, m: int64}}, slice: {{column: id, \
         by: 20}}}}",
        json!(query)
    );
    database.project(&format!(
        "  a: {{{home}, store: out/a}}\n  b: {{{home}, store: out/b}}\n"
    ))
}

#[test]
fn nothing_of_the_line_of_progress_is_left_behind() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    for (columns, keys, said) in [
        (200, "\u{3}", "once more ends it"),
        (80, "\u{3}\u{3}", "once more ends it|$"),
        (30, "\u{3}", "once more ends it"),
    ] {
        let steps = json!([{"columns": columns}, {"wait": "[1-9][0-9]* of [0-9]+ parts"}, {"type": keys}, {"wait": said}, {"end": true}]);
        let shown = on_a_terminal(&sandbox, &steps, &["build"]);
        let (left, raw) = (rows(&shown["rows"]), shown["raw"].as_str().expect("a text"));
        assert!(of_progress(&left).is_empty(), "{columns}: {left:?}");
        assert_eq!(shown["code"], 130, "{left:?}");
        assert!(
            !raw.contains(" of 0 parts"),
            "there is no line before there are parts"
        );
        if keys.len() == 1 {
            assert!(
                left.join("")
                    .contains("interrupted: what is being published is finished"),
                "{left:?}"
            );
        }
    }
}

#[test]
fn a_terminal_that_becomes_narrow_has_one_line_of_progress() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    let parts = json!({"wait": "[1-9][0-9]* of [0-9]+ parts"});
    let steps = json!([{"columns": 200}, parts, {"columns": 50}, parts, parts, {"columns": 20}, parts, parts, {"type": "\u{3}"}, {"end": true}]);
    let shown = on_a_terminal(&sandbox, &steps, &["build"]);
    let seen = shown["seen"].as_array().expect("screens");
    for (step, screen) in seen.iter().enumerate().take(8).skip(4) {
        let screen = rows(screen);
        let step_is_drawn = ![6].contains(&step);
        assert!(
            !step_is_drawn || screen.iter().filter(|row| row.contains(" of ")).count() == 1,
            "{step}: {screen:?}"
        );
        assert!(
            screen.join("").contains("building a: never built"),
            "{step}: nothing above it is lost: {screen:?}"
        );
    }
    assert!(of_progress(&rows(&shown["rows"])).is_empty());
}

#[test]
fn a_long_planning_is_seen_and_can_be_interrupted() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n where i < \
                   300000000) select max(i) from n";
    let sandbox = database.project(&format!(
        "  a: {{home: {{connection: shop, table: t, probe: {{query: {}}}}}, store: out}}\n",
        json!(endless)
    ));
    for arguments in [&["build", "--dry-run"][..], &["why", "a"]] {
        let steps = json!([{"wait": "looking at what is there"}, {"type": "\u{3}"}, {"wait": "interrupted|$"}, {"type": "\u{3}"}, {"end": true}]);
        let shown = on_a_terminal(&sandbox, &steps, arguments);
        let left = rows(&shown["rows"]);
        assert!(
            shown["code"] == 130 && of_progress(&left).is_empty(),
            "{arguments:?}: {left:?}"
        );
    }
}

#[test]
fn a_build_on_a_terminal_ends_with_its_lines_and_names_do_not_act() {
    let sandbox = Sandbox::new("flows: {a: {home: {path: home, glob: \"*\"}, store: out}}\n");
    sandbox.sample("north", "home/ok.parquet");
    sandbox.sample("north", "home/n\u{1b}[31m\nfailed   b: forged\u{202e}");
    let shown = on_a_terminal(&sandbox, &json!([{"end": true}]), &["build"]);
    let left = rows(&shown["rows"]);
    assert!(
        shown["code"] == 0 && left.iter().any(|row| row.starts_with("hygge: 1 built in ")),
        "{left:?}"
    );
    fs::write(sandbox.path("home/n\u{1b}]0;owned\u{7}"), "junk").expect("a file");
    let shown = on_a_terminal(&sandbox, &json!([{"end": true}]), &["build"]);
    assert_eq!(shown["code"], 1, "{shown}");
}

#[test]
fn boxes_are_drawn_with_letters_where_the_locale_has_no_others() {
    let sandbox = Sandbox::new("flows: {n: {hom: x}}\n");
    let ran = sandbox.run_with(&[("LC_ALL", "C")], &["check"]);
    assert!(
        ran.code == 2 && ran.text.contains("did you mean home?") && ran.text.is_ascii(),
        "{}",
        ran.text
    );
    assert!(
        sandbox
            .run_with(&[("LANG", "de_DE.UTF-8")], &["check"])
            .text
            .contains('╭')
    );
}

#[test]
fn a_terminal_that_can_only_add_lines_has_no_line_of_progress() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    let steps = json!([{"term": "dumb"}, {"wait": "building b"}, {"type": "\u{3}"}, {"end": true}]);
    let shown = on_a_terminal(&sandbox, &steps, &["build"]);
    let raw = shown["raw"].as_str().expect("a text");
    assert!(
        shown["code"] == 130 && !raw.contains('\u{1b}') && !raw.contains(" of 50 parts"),
        "{raw}"
    );
}

#[test]
fn who_is_waited_for_says_since_when() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = slow(&database);
    let mut build = sandbox.start(&["a"]);
    build.wait_for("part_made");
    let ran = sandbox.run(&["build", "a", "--no-wait", "--format", "json"]);
    let error = ran.error();
    assert!(
        ran.code == 4
            && error.contains("locked by hygge, process ")
            && error.contains(" since 2")
            && error.contains("flow a of"),
        "{error}"
    );
    build.signal("INT");
    assert_eq!(build.end().code, 130);
}

#[test]
fn names_stay_what_they_are_where_boxes_are_drawn_with_letters() {
    let sandbox = Sandbox::new("flows: {\"a·b─c\": {hom: \"│…\"}}\n");
    let ran = sandbox.run_with(&[("LC_ALL", "C")], &["check"]);
    assert!(
        ran.text.contains("a·b─c")
            && ran.text.contains("│…")
            && !ran.text.contains('╭')
            && !ran.text.contains('╰'),
        "{}",
        ran.text
    );
    let sandbox = Sandbox::new("flows: {a: {home: \"x·y\", store: st}}\n");
    let ran = sandbox.run_with(&[("LC_ALL", "C")], &["build"]);
    assert!(ran.text.contains("x·y"), "{}", ran.text);
}
