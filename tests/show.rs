//! What a person reads: the graph in every form, reasons, and errors of the config.

use std::fs;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::Sandbox;

fn chain() -> Sandbox {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: out/a, tags: [x]}\n  \
         b-b: {home: {flow: a}, store: out/b}\n  \
         c: {home: out/b, store: out/c, needs: [a]}\n  d: {home: out/b, store: out/d}\n",
    );
    sandbox
}

#[test]
fn the_graph_can_be_shown_in_every_form() {
    let sandbox = chain();
    let shown = |format| {
        sandbox
            .run(&["graph", "--format", format])
            .text
            .replace(&sandbox.path("").display().to_string(), "/project/")
    };
    insta::assert_snapshot!("graph_dot", shown("dot"));
    insta::assert_snapshot!("graph_mermaid", shown("mermaid"));
    insta::assert_snapshot!("graph_json", shown("json").replace("}},{", "}},\n{"));
    insta::assert_snapshot!("graph_make", shown("make"));
}

#[test]
fn why_says_what_differs() {
    let sandbox = chain();
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: out/a}\n",
    );
    let mut shown = String::new();
    let mut why =
        |what: &str| shown.push_str(&format!("# {what}\n{}", sandbox.run(&["why", "a"]).text));
    why("never built");
    sandbox.build(&[]);
    why("fresh");
    sandbox.sample("north", "home/more.parquet");
    sandbox.sample("west", "home/north.parquet");
    fs::remove_file(sandbox.path("home/south.parquet")).expect("an input");
    fs::remove_file(sandbox.path("out/a/00000000000000000001.parquet")).expect("an output");
    sandbox.write("out/a/00000000000000000002.parquet", "mine");
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: {path: out/a, rows_per_file: 500, file_pattern: \
         \"{stem}_{sequence}.parquet\"}}\n",
    );
    why("everything is different");
    insta::assert_snapshot!("why", without_times(&shown));
}

/// Times differ from run to run.
fn without_times(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("published 2") {
            Some((before, rest)) => {
                format!(
                    "{before}published TIME{}",
                    rest.split_once(',')
                        .map_or(String::new(), |(_, rest)| format!(",{rest}"))
                )
            }
            None => line.to_string(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_help_names_every_option() {
    let sandbox = Sandbox::new("");
    insta::assert_snapshot!("help_build", sandbox.run(&["build", "--help"]).text);
}

/// Writes a parquet file by pyarrow: `{'id': [1]}` and the like.
fn parquet(sandbox: &Sandbox, name: &str, columns: &str) {
    let path = sandbox.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let lines = format!(
        "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
         pq.write_table(pa.table({columns}), sys.argv[1])"
    );
    let ran = peers::run(&lines, &[path.as_os_str()]);
    assert_success(&ran);
}

/// What a receipt of an earlier version does not say.
fn forget_columns(sandbox: &Sandbox) {
    let path = sandbox.path(".hygge/out.json");
    let mut receipt: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("a receipt")).expect("JSON");
    assert!(
        receipt["published"]["columns"]
            .as_array()
            .is_some_and(|columns| !columns.is_empty()),
        "{receipt}"
    );
    receipt["published"]
        .as_object_mut()
        .expect("a set")
        .remove("columns");
    std::fs::write(path, receipt.to_string()).expect("a receipt");
}

#[test]
fn columns_that_came_went_or_changed_are_named() {
    let sandbox = Sandbox::new(
        "flows: {a: {home: home, store: out, on_drift: {removed: allow, retyped: allow, widened: allow}}}\n",
    );
    for is_old in [false, true] {
        parquet(
            &sandbox,
            "home/f.parquet",
            "{'id': [1], 'gone': ['x'], 'n': pa.array([1], pa.int32()), 's': [{'in': 1, 'out': 2}]}",
        );
        assert_eq!(sandbox.build(&[]).code, 0);
        if is_old {
            forget_columns(&sandbox);
        }
        parquet(
            &sandbox,
            "home/f.parquet",
            "{'id': [1], 'n': pa.array([1], pa.int64()), 's': [{'in': 1, 'new': 2}], 'came': [1.5]}",
        );
        for arguments in [&["why", "a"][..], &["build", "--dry-run"], &["build"]] {
            let text = sandbox.run(arguments).text;
            let named = "the columns changed: gone is gone; n was int32, and is int64; s.out is \
                         gone; s.new (int64) is new; came (double) is new";
            assert!(text.contains(named), "{arguments:?}: {text}");
        }
        let fresh = sandbox.run(&["why", "a"]).text;
        assert!(
            fresh.contains(
                "columns id (int64), n (int64), s.in (int64), s.new (int64), came (double)"
            ),
            "{fresh}"
        );
        let ran = sandbox.run(&["log", "--format", "json", "-n", "1"]);
        let reasons = ran.event("run")["flows"][0]["reasons"]
            .as_array()
            .expect("reasons")
            .clone();
        assert!(
            reasons
                .iter()
                .any(|reason| reason["kind"] == "schema" && reason["columns"][0] == "gone is gone"),
            "{reasons:?}"
        );
    }
    parquet(
        &sandbox,
        "home/f.parquet",
        "{'n': pa.array([1], pa.int64()), 'id': [1], 's': [{'in': 1, 'new': 2}], 'came': [1.5]}",
    );
    assert!(
        sandbox
            .run(&["why", "a"])
            .text
            .contains("the columns changed: they stand in another order")
    );
}

#[test]
fn columns_of_a_table_that_came_went_or_changed_are_named() {
    let shop = Database::new(Kind::Sqlite);
    let create = |columns: &str| {
        shop.run(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t ({columns}); INSERT INTO t (id) VALUES (1)"
        ))
    };
    for store in ["out", "{connection: shop, table: copied}"] {
        let sandbox = shop.project(&format!(
            "  a: {{home: {{connection: shop, table: t}}, store: {store}, on_drift: {{removed: allow, \
             retyped: allow}}}}\n"
        ));
        for is_old in [false, true] {
            if is_old && store != "out" {
                continue;
            }
            shop.run("DROP TABLE IF EXISTS copied");
            create("id INTEGER PRIMARY KEY, gone TEXT, n INTEGER");
            let ran = sandbox.build(&["--force"]);
            assert_eq!(ran.code, 0, "{}", ran.text);
            if is_old {
                forget_columns(&sandbox);
            }
            // A table that is there may not hold another type.
            create(if store == "out" {
                "id INTEGER PRIMARY KEY, n TEXT, came REAL"
            } else {
                "id INTEGER PRIMARY KEY, n INTEGER, came REAL"
            });
            let text = sandbox.run(&["why", "a"]).text;
            let named = match (store, is_old) {
                ("out", false) => {
                    "the columns changed: gone is gone; n was INTEGER, and is TEXT; came (REAL) is \
                     new"
                }
                ("out", true) => "the columns changed: gone is gone; came is new",
                _ => "the columns changed: gone is gone; came (REAL) is new",
            };
            assert!(text.contains(named), "{store}: {text}");
        }
    }
}

#[test]
fn another_database_is_said_in_words() {
    let (shop, other) = (Database::new(Kind::Sqlite), Database::new(Kind::Sqlite));
    for database in [&shop, &other] {
        database.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    }
    let flow = "  a: {home: {connection: shop, table: t}, store: out}\n";
    let sandbox = shop.project(flow);
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write("hygge.yml", other.config(flow));
    let text = sandbox.run(&["why", "a"]).text;
    assert!(
        text.contains(
            "home.database is another than it was: the kind, the host, the port, the name or the \
             path of its connection"
        ),
        "{text}"
    );
}

#[test]
fn the_history_is_asked_by_what_selects_flows() {
    let config = |entities: &str| {
        format!(
            "name: p\nflows:\n  l: {{home: in, store: out, entities: [{entities}]}}\n  \
             m: {{home: in/a, store: m}}\n"
        )
    };
    let sandbox = Sandbox::new(&config("a, b"));
    for name in ["a", "b"] {
        sandbox.sample("north", &format!("in/{name}/x.parquet"));
    }
    assert_eq!(sandbox.run(&["build"]).code, 0);
    let flows = |asked: &str| {
        let ran = sandbox.run(&["log", asked, "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let flows = ran.event("run")["flows"].as_array().expect("flows").clone();
        let mut names: Vec<String> = flows
            .iter()
            .map(|flow| flow["flow"].as_str().expect("a name").to_string())
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(
        (flows("l"), flows("l.a"), flows("*")),
        ("l.a l.b".into(), "l.a".into(), "l.a l.b m".into())
    );
    // What the config has no more is known by the history.
    sandbox.write("hygge.yml", "name: p\nflows: {m: {home: in/a, store: m}}\n");
    assert_eq!(flows("l"), "l.a l.b");
    for arguments in [&["log", "u"][..], &["log", "u", "--format", "json"]] {
        let ran = sandbox.run(arguments);
        assert!(
            ran.code == 2
                && ran
                    .text
                    .contains("flow \"u\" is neither in the config nor in the history"),
            "{}",
            ran.text
        );
    }
}

#[test]
fn a_failure_that_is_over_is_not_shown() {
    let sandbox = Sandbox::numbers();
    assert_eq!(sandbox.run(&["build"]).code, 0);
    sandbox.write("store/mine", "x");
    sandbox.sample("north", "home/more.parquet");
    assert_eq!(sandbox.run(&["build"]).code, 1);
    assert!(
        sandbox
            .run(&["why", "numbers"])
            .text
            .contains("its last run")
    );
    std::fs::remove_file(sandbox.path("store/mine")).expect("a file");
    std::fs::remove_file(sandbox.path("home/more.parquet")).expect("a file");
    let ran = sandbox.run(&["why", "numbers"]);
    assert!(
        ran.text.contains("fresh") && !ran.text.contains("its last run"),
        "{}",
        ran.text
    );
}
