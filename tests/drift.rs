//! Columns of a home that have changed since its flow was published.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers::{parquet, rows};
use crate::common::sandbox::{Sandbox, built};

on_each_database!(a_table_that_changed_is_drift_too);

fn sandbox(more: &str) -> Sandbox {
    Sandbox::new(&format!("flows:\n  f: {{home: home, store: out{more}}}\n"))
}

fn file(sandbox: &Sandbox, schema: &str, rows: &str) {
    parquet(sandbox, "home/a.parquet", &format!("[{schema}]"), rows);
}

const BEFORE: &str = "('id', pa.int64()), ('n', pa.int32()), ('s', pa.string())";

/// Each kind of change, what is said of it, and what becomes of it where nothing is said.
const CHANGES: [(&str, &str, &str, bool); 5] = [
    (
        "added",
        "('id', pa.int64()), ('n', pa.int32()), ('s', pa.string()), ('z', pa.bool_())",
        "z (boolean) is new (added)",
        true,
    ),
    (
        "removed",
        "('id', pa.int64()), ('s', pa.string())",
        "n is gone (removed)",
        false,
    ),
    (
        "retyped",
        "('id', pa.int64()), ('n', pa.string()), ('s', pa.string())",
        "n was int32, and is string (retyped)",
        false,
    ),
    (
        "widened",
        "('id', pa.int64()), ('n', pa.int64()), ('s', pa.string())",
        "n was int32, and is int64 (widened)",
        false,
    ),
    (
        "reordered",
        "('s', pa.string()), ('id', pa.int64()), ('n', pa.int32())",
        "they stand in another order",
        true,
    ),
];

#[test]
fn each_change_is_decided_before_anything_is_published() {
    for (kind, after, told, is_allowed) in CHANGES {
        let sandbox = sandbox("");
        file(&sandbox, BEFORE, "[{'id': 1}]");
        built(&sandbox);
        let before = sandbox.digests("out");
        file(&sandbox, after, "[{'id': 1}, {'id': 2}]");
        if is_allowed {
            let ran = built(&sandbox);
            assert!(
                !ran.text.contains("a column of its home has changed"),
                "{kind}: {}",
                ran.text
            );
            assert_ne!(sandbox.digests("out"), before, "{kind}");
            continue;
        }
        for command in [
            &["build"][..],
            &["build", "--dry-run"],
            &["build", "--check"],
            &["why", "f"],
            &["check"],
        ] {
            let ran = sandbox.run(command);
            assert!(ran.text.contains(told), "{kind}, {command:?}: {}", ran.text);
            assert!(
                ran.text.contains("--accept-drift f"),
                "{kind}, {command:?}: {}",
                ran.text
            );
            assert_ne!(ran.code, 0, "{kind}, {command:?}: {}", ran.text);
        }
        assert_eq!(sandbox.digests("out"), before, "{kind}");
        // It is accepted once, and recorded.
        let ran = sandbox.build(&["--accept-drift"]);
        assert_eq!(ran.code, 0, "{kind}: {}", ran.text);
        assert!(ran.text.contains(told), "{kind}: {}", ran.text);
        assert_eq!(rows(&sandbox.path("out")).rows.len(), 2, "{kind}");
        file(&sandbox, after, "[{'id': 1}, {'id': 2}, {'id': 3}]");
        built(&sandbox);
        file(&sandbox, "('id', pa.string())", "[{'id': 'x'}]");
        assert_eq!(
            sandbox.build(&[]).code,
            1,
            "{kind}: the next change is another"
        );
    }
}

#[test]
fn the_config_says_what_becomes_of_each_kind_of_change() {
    for (kind, after, told, _) in CHANGES.into_iter().filter(|change| change.0 != "reordered") {
        for rule in ["allow", "warn", "fail"] {
            let sandbox = sandbox(&format!(", on_drift: {{{kind}: {rule}}}"));
            file(&sandbox, BEFORE, "[{'id': 1}]");
            built(&sandbox);
            file(&sandbox, after, "[{'id': 1}, {'id': 2}]");
            let ran = sandbox.build(&[]);
            assert_eq!(
                ran.code == 0,
                rule != "fail",
                "{kind}: {rule}: {}",
                ran.text
            );
            let is_said = ran.text.contains(told);
            assert_eq!(is_said, rule != "allow", "{kind}: {rule}: {}", ran.text);
        }
    }
}

#[test]
fn all_changes_are_named_at_once() {
    let sandbox = sandbox("");
    file(&sandbox, BEFORE, "[{'id': 1}]");
    built(&sandbox);
    file(
        &sandbox,
        "('n', pa.string()), ('x', pa.int8())",
        "[{'x': 1}]",
    );
    let ran = sandbox.build(&[]);
    for told in ["id is gone", "s is gone", "n was int32, and is string"] {
        assert!(ran.text.contains(told), "{told}: {}", ran.text);
    }
}

#[test]
fn another_home_may_have_other_columns() {
    let sandbox = sandbox("");
    file(&sandbox, BEFORE, "[{'id': 1}]");
    built(&sandbox);
    parquet(
        &sandbox,
        "other/a.parquet",
        "[('x', pa.string())]",
        "[{'x': 'y'}]",
    );
    sandbox.write("hygge.yml", "flows:\n  f: {home: other, store: out}\n");
    built(&sandbox);
    // What hygge makes of it is not the home.
    parquet(
        &sandbox,
        "other/a.parquet",
        "[('y', pa.string())]",
        "[{'y': 'y'}]",
    );
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: other, store: {path: out, compression: zstd}}\n",
    );
    assert_eq!(sandbox.build(&[]).code, 1);
}

#[test]
fn an_older_receipt_says_nothing_of_columns_and_is_no_change() {
    let sandbox = sandbox("");
    file(&sandbox, BEFORE, "[{'id': 1}]");
    built(&sandbox);
    let path = sandbox.path(".hygge/out.json");
    let mut receipt: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("a receipt")).expect("JSON");
    let published = receipt["published"].as_object_mut().expect("a set");
    for key in [
        "columns",
        "folder_columns",
        "absent_columns",
        "arrow_schema",
        "home",
    ] {
        published.remove(key).expect("a field");
    }
    fs::write(&path, serde_json::to_vec(&receipt).expect("JSON")).expect("a receipt");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    file(&sandbox, "('id', pa.string())", "[{'id': 'x'}]");
    built(&sandbox);
}

#[test]
fn a_later_set_is_compared_and_never_one_that_was_put_back() {
    let sandbox = sandbox("");
    file(&sandbox, "('id', pa.int32())", "[{'id': 1}]");
    built(&sandbox);
    file(&sandbox, "('id', pa.int64())", "[{'id': 2}]");
    assert_eq!(sandbox.build(&["--accept-drift"]).code, 0);
    let ran = sandbox.run(&["restore", "f"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(rows(&sandbox.path("out")).schema, ["id: int32"]);
    file(&sandbox, "('id', pa.int64())", "[{'id': 3}]");
    let ran = sandbox.run(&["restore", "f", "--latest"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    built(&sandbox);
    assert_eq!(rows(&sandbox.path("out")).lines(), ["3"]);
}

fn a_table_that_changed_is_drift_too(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE t (id integer PRIMARY KEY, n integer)");
    database.run("INSERT INTO t VALUES (1, 2)");
    let sandbox = database.project("  f: {home: {connection: shop, table: t}, store: out}\n");
    built(&sandbox);
    database.run("ALTER TABLE t ADD COLUMN z integer");
    built(&sandbox);
    database.run("ALTER TABLE t DROP COLUMN n");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.text.contains("n is gone (removed)"), "{}", ran.text);
    let ran = sandbox.build(&["--accept-drift"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    // Other columns that are asked for are another home.
    let config =
        database.config("  f: {home: {connection: shop, table: t, columns: [id]}, store: out}\n");
    sandbox.write("hygge.yml", config);
    built(&sandbox);
}

#[test]
fn a_rule_that_is_none_is_refused_where_it_stands() {
    let sandbox = sandbox(", on_drift: {removed: maybe}");
    let ran = sandbox.run(&["check"]);
    assert_ne!(ran.code, 0);
    for told in ["hygge.yml:2:", "maybe", "allow", "warn", "fail"] {
        assert!(ran.text.contains(told), "{told}: {}", ran.text);
    }
}

#[test]
fn a_column_that_becomes_a_list_or_a_group_is_retyped() {
    let shapes = [
        ("pa.string()", "pa.list_(pa.string())"),
        ("pa.list_(pa.string())", "pa.string()"),
        ("pa.int64()", "pa.struct([('x', pa.int64())])"),
        (
            "pa.map_(pa.string(), pa.int64())",
            "pa.struct([pa.field('key', pa.string(), nullable=False), ('value', pa.int64())])",
        ),
    ];
    for (old, new) in shapes {
        let sandbox = sandbox(", on_drift: {removed: allow}");
        file(
            &sandbox,
            &format!("('id', pa.int64()), ('s', {old})"),
            "[{'id': 1}]",
        );
        built(&sandbox);
        file(
            &sandbox,
            &format!("('id', pa.int64()), ('s', {new})"),
            "[{'id': 2}]",
        );
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 1, "{old}, {new}: {}", ran.text);
        assert!(ran.text.contains("(retyped)"), "{old}, {new}: {}", ran.text);
    }
}

#[test]
fn a_column_that_was_gone_comes_back_with_its_type() {
    let config = |rule: &str| {
        format!(
            "flows:\n  f: {{home: {{path: home, schema: union}}, store: out, on_drift: {{removed: {rule}}}}}\n"
        )
    };
    let sandbox = Sandbox::new(&config("allow"));
    file(
        &sandbox,
        "('id', pa.int64()), ('y', pa.int64())",
        "[{'id': 1}]",
    );
    built(&sandbox);
    file(&sandbox, "('id', pa.int64())", "[{'id': 1}]");
    built(&sandbox);
    file(
        &sandbox,
        "('id', pa.int64()), ('y', pa.string())",
        "[{'id': 1}]",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text.contains("y was int64, and is string (retyped)"),
        "{}",
        ran.text
    );
    // A field of a group that no file has is gone as a column is.
    let sandbox = Sandbox::new(&config("fail"));
    file(
        &sandbox,
        "('g', pa.struct([('x', pa.int64()), ('y', pa.int64())]))",
        "[{'g': {'x': 1}}]",
    );
    built(&sandbox);
    file(
        &sandbox,
        "('g', pa.struct([('x', pa.int64())]))",
        "[{'g': {'x': 1}}]",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.text.contains("g.y is gone (removed)"), "{}", ran.text);
}

#[test]
fn that_a_column_may_be_null_now_is_said() {
    let sandbox = sandbox("");
    file(
        &sandbox,
        "pa.field('id', pa.int64(), nullable=False)",
        "[{'id': 1}]",
    );
    built(&sandbox);
    file(&sandbox, "('id', pa.int64())", "[{'id': 1}, {'id': None}]");
    for command in [&["build", "--dry-run"][..], &["why", "f"], &["build"]] {
        let ran = sandbox.run(command);
        assert!(
            ran.text.contains("id may be null now"),
            "{command:?}: {}",
            ran.text
        );
    }
}

#[test]
fn what_another_flow_published_was_decided_there() {
    let sandbox =
        Sandbox::new("flows:\n  a: {home: home, store: out}\n  b: {home: {flow: a}, store: b}\n");
    file(&sandbox, BEFORE, "[{'id': 1}]");
    built(&sandbox);
    file(&sandbox, "('id', pa.int64())", "[{'id': 1}]");
    assert_eq!(sandbox.build(&[]).code, 1);
    assert_eq!(sandbox.build(&["a", "--accept-drift"]).code, 0);
    built(&sandbox);
    assert_eq!(rows(&sandbox.path("b")).schema, ["id: int64"]);
}

#[test]
fn a_query_without_rows_says_nothing_of_its_types() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id integer PRIMARY KEY, x integer)");
    let sandbox = database.project(
        "  f: {home: {connection: shop, query: \"select id, x + 1 as y from t\"}, store: out}\n",
    );
    built(&sandbox);
    database.run("INSERT INTO t VALUES (1, 2)");
    built(&sandbox);
    database.run("UPDATE t SET x = NULL");
    built(&sandbox);
}

#[test]
fn a_receipt_with_types_of_any_depth_is_no_danger() {
    let sandbox = sandbox("");
    file(&sandbox, BEFORE, "[{'id': 1}]");
    built(&sandbox);
    let path = sandbox.path(".hygge/out.json");
    let text = fs::read_to_string(&path).expect("a receipt");
    let deep = format!("{}int32{}", "list(".repeat(100_000), ")".repeat(100_000));
    fs::write(&path, text.replace("\"int32\"", &format!("\"{deep}\""))).expect("a receipt");
    file(&sandbox, BEFORE, "[{'id': 1}, {'id': 2}]");
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.code,
        1,
        "it is another type, or no receipt: {}",
        ran.text.len()
    );
}
