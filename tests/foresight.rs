//! What would stop a build is said before one: by `hygge check`, and by plans that nobody carries
//! out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::files;
use crate::common::sandbox::{Sandbox, built};

on_each_database!(
    a_type_that_the_config_says_is_judged,
    what_a_table_needs_and_does_not_come_is_said,
    rows_of_others_are_found
);

/// `check` and a dry run fail, and say the same of it.
fn stops(sandbox: &Sandbox, said: &str) {
    for command in [&["check"][..], &["build", "--dry-run"]] {
        let ran = sandbox.run(command);
        assert!(
            ran.code == 1 && ran.text.contains(said),
            "{command:?}: {said} is not in {} {}",
            ran.code,
            ran.text
        );
    }
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1 && ran.text.contains(said),
        "{said} is not in {}",
        ran.text
    );
}

#[test]
fn what_blocks_a_plan_fails_the_check() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  numbers: {home: home, store: store, max_shrink: 50%}\n",
    );
    built(&sandbox);
    sandbox.write("store/mine.txt", "x");
    sandbox.sample("north", "home/more.parquet");
    stops(&sandbox, "holds files that were added to it: mine.txt");
    let text = sandbox.run(&["check"]).text;
    assert!(
        text.contains("hint: move them away") && !text.contains("can be written"),
        "{text}"
    );
    fs::remove_file(sandbox.path("store/mine.txt")).expect("a file");
    for name in ["more", "north", "east", "south"] {
        fs::remove_file(sandbox.path(&format!("home/{name}.parquet"))).expect("a file");
    }
    stops(&sandbox, "more than max_shrink (50%) allows");
    assert_eq!(
        sandbox.run(&["build", "--dry-run", "--accept-shrink"]).code,
        0
    );
    let sandbox = Sandbox::new(
        "flows:\n  numbers: {home: home, store: store, mode: append}\n  \
         behind: {home: {flow: numbers}, store: behind}\n",
    );
    sandbox.sample("north", "home/a.parquet");
    built(&sandbox);
    sandbox.sample("south", "home/a.parquet");
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("failed  store      numbers: input a.parquet was moved already"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("ok      store      behind"),
        "the first of a chain says it: {}",
        ran.text
    );
}

#[test]
fn a_cache_that_cannot_be_used_fails_the_check() {
    let sandbox = Sandbox::numbers();
    assert!(
        sandbox
            .run(&["check"])
            .text
            .contains("ok      cache      .hygge-cache: can be used")
    );
    assert!(!sandbox.path(".hygge-cache").exists(), "nothing is made");
    sandbox.write(".hygge-cache/mine", "x");
    for _ in 0..2 {
        let ran = sandbox.run(&["check"]);
        assert!(
            ran.code == 1
                && ran.text.contains("failed  cache      .hygge-cache: ")
                && ran.text.contains("options.cache.dir"),
            "{}",
            ran.text
        );
        fs::remove_dir_all(sandbox.path(".hygge-cache"))
            .or_else(|_| fs::remove_file(sandbox.path(".hygge-cache")))
            .expect("a cache");
        sandbox.write(".hygge-cache", "a file");
    }
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 3 && !ran.text.contains("another user"),
        "a file in a folder's place is no matter of rights: {}",
        ran.text
    );
}

#[test]
fn what_belongs_to_another_user_is_found_before_a_build() {
    let config = "connections: {shop: {url: \"sqlite:db/shop.db\"}}\nflows:\n  \
                  numbers: {home: home, store: out/store}\n  \
                  rows: {home: home, store: {connection: shop, table: rows}}\n  \
                  place: {home: home, store: {path: out/place, publish: in_place}}\n";
    let sandbox = Sandbox::new(config);
    files::ints(&sandbox, "home/a.parquet", 0..3);
    built(&sandbox);
    files::ints(&sandbox, "home/b.parquet", 3..6);
    for (name, code) in [
        ("out", 1),
        ("out/.hygge", 1),
        ("out/.hygge/store.lock", 1),
        ("out/store", 1),
        ("out/place", 1),
        ("db", 1),
        ("db/shop.db", 1),
        (".hygge/tables", 1),
        (".hygge-cache", 3),
        (".hygge-cache/lock", 3),
        (".hygge-cache/index.db", 3),
    ] {
        let path = sandbox.path(name);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        if chown(&path, Some(65534), Some(65534)).is_err() {
            return;
        }
        for command in [&["check"][..], &["build", "--dry-run"]] {
            let ran = sandbox.run_obedient(command);
            let expected = if command[0] == "check" { 1 } else { code };
            assert!(
                ran.code == expected && ran.text.contains("ermission denied"),
                "{name}, {command:?}: {} {}",
                ran.code,
                ran.text
            );
        }
        chown(&path, Some(0), Some(0)).expect("root");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("root");
    }
    assert_eq!(sandbox.run_obedient(&["check"]).code, 0);
    assert_eq!(sandbox.run_obedient(&["build"]).code, 0);
}

#[test]
fn columns_are_judged_through_all_flows_that_they_pass() {
    let database = Database::new(Kind::Sqlite);
    let flows = "  a: {home: home, store: a}\n  b: {home: {flow: a}, store: b}\n  \
                 c: {home: b, store: c, needs: b}\n  \
                 d: {home: {flow: c}, store: {connection: shop, table: t}}\n";
    let sandbox = database.project(flows);
    files::ints_and_texts(&sandbox, "home/a.parquet", 0..3);
    database.run("CREATE TABLE t (id bigint, text date)");
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1
            && ran.text.contains("failed  store      d: column text is")
            && ran.text.contains("it is date there"),
        "{}",
        ran.text
    );
}

fn a_type_that_the_config_says_is_judged(kind: Kind) {
    let database = Database::new(kind);
    let store = |declared: &str| {
        format!(
            "  a: {{home: home, store: {{connection: shop, table: t, columns: {{text: \
             {declared}}}}}}}\n"
        )
    };
    let sandbox = database.project(&store("date"));
    files::ints_and_texts(&sandbox, "home/a.parquet", 0..3);
    stops(&sandbox, "column text is");
    sandbox.write("hygge.yml", database.config(&store("varchar(40)")));
    assert_eq!(sandbox.run(&["check"]).code, 0);
    built(&sandbox);
    assert_eq!(database.ask("SELECT count(*) FROM t"), "3");
}

fn what_a_table_needs_and_does_not_come_is_said(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project("  a: {home: home, store: {connection: shop, table: t}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..3);
    database
        .run("CREATE TABLE t (id bigint, note integer NOT NULL, at integer NOT NULL DEFAULT 5)");
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1
            && ran.text.contains(
                "column note of table t takes no null and has no default, and does not come"
            ),
        "{}",
        ran.text
    );
    assert!(!ran.text.contains("column at"), "{}", ran.text);
    assert_eq!(sandbox.run(&["build"]).code, 1);
}

fn rows_of_others_are_found(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project("  a: {home: home, store: {connection: shop, table: t}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..3);
    database.run("CREATE TABLE t (id bigint)");
    database.run("INSERT INTO t VALUES (1)");
    stops(&sandbox, "holds rows that hygge did not put there");
}

#[test]
fn a_condition_is_understood_before_there_is_a_file() {
    let condition = |condition: &str| {
        format!(
            "connections: {{shop: {{url: \"sqlite:shop.db\"}}}}\nflows:\n  \
             a: {{home: home, mode: merge, store: {{connection: shop, table: t, key: id, \
             delete_where: \"{condition}\"}}}}\n"
        )
    };
    let sandbox = Sandbox::new(&condition("nosuch > 1"));
    files::ints(&sandbox, "home/a.parquet", 0..3);
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1 && ran.text.contains("delete_where") && ran.text.contains("nosuch"),
        "{}",
        ran.text
    );
    sandbox.write("hygge.yml", condition("id > 1"));
    assert_eq!(sandbox.run(&["check"]).code, 0);
    assert!(!sandbox.path("shop.db").exists(), "nothing is made");
}

#[test]
fn names_that_two_parts_would_have_are_found() {
    let same = "file_pattern gives two parts the name";
    let flow = |rest: &str| format!("flows:\n  a: {{home: home, store: {{path: a, {rest}}}}}\n");
    let sandbox = Sandbox::new(&flow("file_pattern: all.parquet, rows_per_file: 10"));
    files::ints(&sandbox, "home/a.parquet", 0..100);
    stops(&sandbox, same);
    sandbox.write("hygge.yml", flow("file_pattern: \"{stem}.parquet\""));
    fs::remove_dir_all(sandbox.path("home")).expect("a home");
    for name in ["x/what?.parquet", "y/what?.parquet"] {
        files::ints(&sandbox, &format!("home/{name}"), 0..3);
    }
    sandbox.write(
        "hygge.yml",
        flow("file_pattern: \"{stem}.parquet\"")
            .replace("home: home", "home: {path: home, glob: \"**/*.parquet\"}"),
    );
    stops(&sandbox, same);
    // What another flow will give.
    let behind = "  b: {home: {flow: a}, store: {path: b, file_pattern: all.parquet}}\n";
    sandbox.write(
        "hygge.yml",
        flow("file_pattern: \"{sequence}.parquet\"")
            .replace("home: home", "home: {path: home, glob: \"**/*.parquet\"}")
            + behind,
    );
    let ran = sandbox.run(&["check"]);
    assert!(ran.code == 1 && ran.text.contains(same), "{}", ran.text);
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id integer)");
    database.run("INSERT INTO t VALUES (1), (2), (3), (4)");
    let home = "{connection: shop, table: t, slice: {column: id, by: 2}}";
    let sandbox = database.project(&format!(
        "  a: {{home: {home}, store: {{path: a, file_pattern: all.parquet}}}}\n"
    ));
    let ran = sandbox.run(&["check"]);
    assert!(ran.code == 1 && ran.text.contains(same), "{}", ran.text);
}

#[test]
fn names_that_a_pattern_of_entities_passes_over_are_said() {
    let sandbox = Sandbox::new(
        "flows:\n  landing: {store: lake, entities: {from: \"data/*.parquet\", exclude: \
         [\"tmp*\"]}}\n",
    );
    for name in [
        "a.parquet",
        "B.PARQUET",
        "c.parq",
        "tmp.pq",
        "sub/d.parquet",
    ] {
        files::ints(&sandbox, &format!("data/{name}"), 0..3);
    }
    sandbox.write("data/readme.txt", "x");
    let said = "flow landing: no entity are data/B.PARQUET, data/c.parq, data/sub: data/*.parquet \
                does not match them";
    for command in [
        &["check"][..],
        &["check", "--offline"],
        &["build", "--dry-run"],
        &["build"],
    ] {
        let ran = sandbox.run(command);
        assert!(
            ran.code == 0 && ran.text.contains(said),
            "{command:?}: {}",
            ran.text
        );
    }
    assert!(!sandbox.run(&["build"]).text.contains(said), "once");
}
