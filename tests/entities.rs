//! Patterns of entities: what becomes of a flow whose pattern finds nothing, or far less than
//! before.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::sandbox::{CommandOutput, Sandbox, built};
use crate::common::{files, peers};

/// A project whose flow `landing` has so many entities by a pattern, all of them built.
fn landing(entities: usize, rest: &str) -> Sandbox {
    let sandbox = Sandbox::new(&config(rest));
    for number in 0..entities {
        files::ints(&sandbox, &format!("data/{number:02}/a.parquet"), 0..3);
    }
    built(&sandbox);
    sandbox
}

fn config(rest: &str) -> String {
    format!("name: p\nflows:\n  landing: {{store: lake, entities: {{from: \"data/*\"{rest}}}}}\n")
}

fn lose(sandbox: &Sandbox, entities: std::ops::Range<usize>) {
    for number in entities {
        fs::remove_dir_all(sandbox.path(&format!("data/{number:02}"))).expect("an entity");
    }
}

fn says(ran: &CommandOutput, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.text);
    for word in words {
        assert!(ran.text.contains(word), "{word} is not in {}", ran.text);
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_unless_it_may() {
    let other = "  other: {home: data, store: out, needs: landing}\n";
    let pattern = |rest: &str| {
        format!(
            "flows:\n  landing: {{store: lake, entities: {{from: \"data/lnding/*\"{rest}}}}}\n\
             {other}"
        )
    };
    let sandbox = Sandbox::new(&pattern(""));
    files::ints(&sandbox, "data/a.parquet", 0..3);
    let commands: [&[&str]; 6] = [
        &["build"],
        &["build", "--dry-run"],
        &["build", "other"],
        &["check"],
        &["check", "--offline"],
        &["clean", "--orphans", "--yes=1"],
    ];
    for command in commands {
        let ran = sandbox.run(command);
        says(
            &ran,
            2,
            &[
                "hygge.yml:2:43: nothing matches \"data/lnding/*\", and flow landing has no entity \
                 by it",
                "if_empty: skip",
            ],
        );
        assert!(
            ran.text.contains("1 problem in"),
            "it is the one thing that is wrong: {}",
            ran.text
        );
    }
    assert!(!sandbox.path("out").exists());
    // What is excluded is not found either.
    files::ints(&sandbox, "data/lnding/x.parquet", 0..3);
    sandbox.write("hygge.yml", pattern(", exclude: [\"*\"]"));
    says(
        &sandbox.run(&["build"]),
        2,
        &["exclude leaves out the one that \"data/lnding/*\" matches"],
    );
    // A list has patterns too, and each must find something.
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {store: lake, entities: [{from: \"data/*\"}, {from: \"daten/*\"}]}\n",
    );
    says(
        &sandbox.run(&["build"]),
        2,
        &["nothing matches \"daten/*\""],
    );
    sandbox.write("hygge.yml", pattern(", if_empty: skip, exclude: [\"*\"]"));
    says(
        &sandbox.run(&["build"]),
        0,
        &["flow landing has no entities"],
    );
    assert!(
        sandbox.path("out").exists(),
        "what needs it has nothing to wait for"
    );
    says(
        &sandbox.run(&["check", "--offline"]),
        0,
        &["nothing matches: flow landing has no entities for now"],
    );
}

#[test]
fn more_entities_than_max_lost_allows_are_missed_by_every_command() {
    for has_cache in [true, false] {
        let sandbox = landing(10, "");
        lose(&sandbox, 0..5);
        if !has_cache {
            fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        }
        assert_eq!(sandbox.run(&["build"]).code, 0, "half of them may be gone");
        lose(&sandbox, 5..6);
        sandbox.write(
            "data/09/b.parquet",
            fs::read(sandbox.path("data/09/a.parquet")).expect("a file"),
        );
        if !has_cache {
            fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        }
        let lost = "6 of the 10 entities that flow landing had are not found any more (00, 01, 02 \
                    and 3 more), and max_lost allows 50%";
        let hint = "hygge build --accept-lost=6";
        says(&sandbox.run(&["build", "--dry-run"]), 1, &[lost, hint]);
        says(&sandbox.run(&["build", "--check"]), 1, &[lost, hint]);
        says(&sandbox.run(&["why", "landing.09"]), 1, &[lost, hint]);
        says(
            &sandbox.run(&["check"]),
            1,
            &["failed  entities   landing", lost, hint],
        );
        says(&sandbox.run(&["build"]), 1, &[lost, hint]);
        assert_eq!(sandbox.digests("lake/09").len(), 1, "nothing was built");
        says(
            &sandbox.run(&["build", "--accept-lost=5"]),
            2,
            &["--accept-lost=5, and the number of entities that are lost is 6"],
        );
        says(
            &sandbox.run(&["build", "--dry-run", "--accept-lost=6"]),
            0,
            &["landing.09: 0 of 2 parts to make"],
        );
        says(&sandbox.run(&["build"]), 1, &[lost]);
        says(
            &sandbox.run(&["build", "--accept-lost=6"]),
            0,
            &["landing.09: 2 parts"],
        );
        says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
        says(
            &sandbox.run(&["build", "--accept-lost=6"]),
            2,
            &["no flow has lost more"],
        );
        // One that comes back is missed when it goes again.
        for number in 0..6 {
            files::ints(&sandbox, &format!("data/{number:02}/a.parquet"), 0..3);
        }
        assert_eq!(sandbox.run(&["build"]).code, 0);
        lose(&sandbox, 0..6);
        says(&sandbox.run(&["build"]), 1, &[lost]);
    }
}

#[test]
fn what_was_lost_on_purpose_is_no_loss() {
    let sandbox = landing(4, ", max_lost: 0%");
    lose(&sandbox, 0..1);
    says(
        &sandbox.run(&["build"]),
        1,
        &["1 of the 4 entities", "max_lost allows 0%"],
    );
    // Others are not held up, and what waits for them is.
    let rest = "  other: {home: data/03, store: other}\n  \
                behind: {home: data/03, store: behind, needs: landing}\n";
    sandbox.write("hygge.yml", config(", max_lost: 0%") + rest);
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.outcome("other"), ran.outcome("behind")),
        (1, "restored", "skipped"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.build(&["other"]).code, 0);
    // Who removed a store knows what is gone.
    sandbox.write("hygge.yml", config(", max_lost: 0%"));
    fs::remove_dir_all(sandbox.path("lake/00")).expect("a store");
    fs::remove_file(sandbox.path("lake/.hygge/00.json")).expect("a receipt");
    assert_eq!(sandbox.run(&["build"]).code, 0);
    lose(&sandbox, 1..2);
    says(&sandbox.run(&["build"]), 1, &["1 of the 3 entities"]);
    says(
        &sandbox.run(&["clean", "--orphans", "--yes=2"]),
        0,
        &["lake/01 of flow landing.01", "other of flow other"],
    );
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
    lose(&sandbox, 2..3);
    sandbox.write("hygge.yml", config(", max_lost: 100%"));
    assert_eq!(sandbox.run(&["build"]).code, 0);
}

#[test]
fn orphans_are_removed_by_their_number() {
    let sandbox = landing(6, ", if_empty: skip");
    lose(&sandbox, 0..6);
    // Without a flow that is left, and without the cache.
    for has_cache in [true, false] {
        if !has_cache {
            fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        }
        let listed = sandbox.run(&["clean", "--orphans"]);
        says(
            &listed,
            2,
            &[
                "would remove store",
                "lake/05 of flow landing.05",
                "flow landing: 6 stores",
                "nothing was removed yet",
                "--yes=6",
            ],
        );
        says(
            &sandbox.run(&["clean", "--orphans", "--yes"]),
            2,
            &["nothing was removed", "--yes=6"],
        );
        says(
            &sandbox.run(&["clean", "--orphans", "--yes=5"]),
            2,
            &["nothing was removed: --yes=5, and there are 6 stores"],
        );
        assert_eq!(
            (0..6)
                .filter(|number| sandbox.digests(&format!("lake/{number:02}")).len() == 1)
                .count(),
            6
        );
    }
    // A terminal is asked.
    let type_ = |answer: &str| {
        let script = "import os, pty, sys\n\
                      answer, left = sys.argv[3].encode() + b'\\n', []\n\
                      os.chdir(sys.argv[2])\n\
                      def read(fd):\n\
                      \x20   data = os.read(fd, 65536)\n\
                      \x20   if b'to remove them: ' in data: os.write(fd, answer)\n\
                      \x20   return data\n\
                      code = pty.spawn([sys.argv[1], 'clean', '--orphans'], read, lambda fd: b'')\n\
                      sys.exit(os.waitstatus_to_exitcode(code))\n";
        let folder = sandbox.path("");
        let ran = peers::run(
            script,
            &[
                env!("CARGO_BIN_EXE_hygge").as_ref(),
                folder.as_os_str(),
                answer.as_ref(),
            ],
        );
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
        )
    };
    let (code, text) = type_("5");
    assert!(
        code == Some(2)
            && text.contains("nothing was removed yet")
            && sandbox.path("lake/00").exists(),
        "{code:?} {text}"
    );
    let (code, text) = type_("6");
    assert!(
        code == Some(0) && text.matches("removed store").count() == 6,
        "{code:?} {text}"
    );
    assert!((0..6).all(|number| !sandbox.path(&format!("lake/{number:02}")).exists()));
    says(
        &sandbox.run(&["clean", "--orphans"]),
        0,
        &["there is nothing to remove"],
    );
}

#[test]
fn orphans_that_are_tables_are_found() {
    let pattern = "name: p\nconnections: {shop: {url: \"sqlite:shop.db\"}}\nflows:\n  \
                   landing: {store: {connection: shop, table: \"{entity}\"}, entities: {from: \
                   \"data/*\", if_empty: skip}}\n";
    let sandbox = Sandbox::new(pattern);
    for name in ["a", "b", "c"] {
        files::ints(&sandbox, &format!("data/{name}/a.parquet"), 0..3);
    }
    built(&sandbox);
    for name in ["a", "b"] {
        fs::remove_dir_all(sandbox.path(&format!("data/{name}"))).expect("an entity");
    }
    says(
        &sandbox.run(&["build"]),
        1,
        &["2 of the 3 entities that flow landing had"],
    );
    fs::remove_dir_all(sandbox.path("data/c")).expect("an entity");
    says(
        &sandbox.run(&["clean", "--orphans"]),
        2,
        &[
            "store table a of shop of flow landing.a: the table with its 3 rows",
            "flow landing: 3 stores",
        ],
    );
    says(
        &sandbox.run(&["clean", "--orphans", "--yes=3"]),
        0,
        &["removed store table c of shop"],
    );
    let tables = "import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1]).execute(\"select group_concat(name) from sqlite_master where type = 'table'\").fetchone()[0])";
    let left = peers::run(tables, &[sandbox.path("shop.db").as_os_str()]);
    assert_eq!(
        String::from_utf8_lossy(&left.stdout).trim(),
        "hygge_receipts"
    );
}

#[test]
fn a_selection_that_leaves_nothing_is_an_error() {
    let sandbox = Sandbox::numbers();
    for arguments in [
        &["build", "numbers", "--exclude", "numbers"][..],
        &["build", "--exclude", "n*"],
        &["build", "--dry-run", "--exclude", "numbers"],
    ] {
        says(
            &sandbox.run(arguments),
            2,
            &["nothing is selected: --exclude"],
        );
    }
    assert!(!sandbox.path("store").exists());
}

/// A project whose flow `landing` has tables in the database, one for each of its entities, all of
/// them built.
fn tables(database: &Database, entities: &[&str]) -> Sandbox {
    let flow = "  landing: {store: {connection: shop, table: \"{entity}\"}, entities: {from: \
                \"data/*\"}}\n";
    let sandbox = Sandbox::new(&format!("name: p\n{}", database.config(flow)));
    for name in entities {
        files::ints(&sandbox, &format!("data/{name}/a.parquet"), 0..3);
    }
    built(&sandbox);
    sandbox
}

on_each_database!(entities_that_are_tables_are_missed_and_found_without_a_cache);

fn entities_that_are_tables_are_missed_and_found_without_a_cache(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = tables(&database, &["a", "b", "c"]);
    let lost = "2 of the 3 entities that flow landing had";
    for name in ["a", "b"] {
        fs::remove_dir_all(sandbox.path(&format!("data/{name}"))).expect("an entity");
    }
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    says(&sandbox.run(&["check"]), 1, &[lost]);
    says(&sandbox.run(&["build", "--check"]), 1, &[lost]);
    says(
        &sandbox.run(&["clean", "--orphans"]),
        2,
        &["flow landing: 2 stores"],
    );
    says(&sandbox.run(&["build"]), 1, &[lost]);
    // Who drops one with its receipt does not miss it.
    database.run("DROP TABLE b");
    database.run("DELETE FROM hygge_receipts WHERE name = 'b'");
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
    says(
        &sandbox.run(&["clean", "--orphans", "--yes=1"]),
        0,
        &["removed store table a of shop"],
    );
    // By another spelling of its name, a table that a flow fills is no orphan.
    let schema = match kind {
        Kind::Postgres => "public.{entity}".to_string(),
        Kind::Sqlite => "main.{entity}".to_string(),
        Kind::MySql => format!("{}.{{entity}}", database.ask("SELECT DATABASE()")),
    };
    let config = fs::read_to_string(sandbox.path("hygge.yml"))
        .expect("a config")
        .replace("\"{entity}\"", &format!("\"{schema}\""));
    sandbox.write("hygge.yml", config);
    says(
        &sandbox.run(&["clean", "--orphans"]),
        0,
        &["there is nothing to remove"],
    );
    assert_eq!(database.ask("SELECT count(*) FROM c"), "3");
}

#[test]
fn what_was_accepted_stays_accepted_without_a_cache() {
    let sandbox = landing(4, ", max_lost: 0%");
    lose(&sandbox, 0..2);
    says(
        &sandbox.run(&["build", "--accept-lost=2"]),
        0,
        &["nothing to do"],
    );
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    says(&sandbox.run(&["check"]), 0, &["all is well"]);
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
    says(&sandbox.run(&["clean"]), 0, &[]);
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
    // One that came back is missed again.
    files::ints(&sandbox, "data/00/a.parquet", 0..3);
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
    lose(&sandbox, 0..1);
    says(&sandbox.run(&["clean"]), 0, &[]);
    says(&sandbox.run(&["build"]), 1, &["1 of the 3 entities"]);
    says(
        &sandbox.run(&["clean", "--orphans", "--yes=2"]),
        0,
        &["lake/00", "lake/01"],
    );
    assert!(
        !sandbox.path("lake/.hygge/01.lost").exists(),
        "the mark goes with the store"
    );
}

#[test]
fn the_number_to_accept_is_one_in_every_command() {
    let flow = |name: &str| {
        format!(
            "  {name}: {{store: lake/{name}, entities: {{from: \"{name}/*\", max_lost: 0%}}}}\n"
        )
    };
    let sandbox = Sandbox::new(&format!("name: p\nflows:\n{}{}", flow("a"), flow("b")));
    for name in ["a/x", "a/y", "b/x", "b/y"] {
        files::ints(&sandbox, &format!("{name}/1.parquet"), 0..3);
    }
    built(&sandbox);
    for name in ["a/x", "b/x"] {
        fs::remove_dir_all(sandbox.path(name)).expect("an entity");
    }
    for command in [
        &["build"][..],
        &["build", "a"],
        &["build", "--dry-run", "b"],
        &["why", "a.y"],
        &["check"],
    ] {
        says(&sandbox.run(command), 1, &["hygge build --accept-lost=2"]);
    }
    says(
        &sandbox.run(&["build", "--accept-lost=2"]),
        0,
        &["nothing to do"],
    );
}

#[test]
fn a_pattern_that_may_find_nothing_misses_nothing_beside_a_written_entity() {
    let config = "name: p\nflows:\n  landing:\n    store: lake\n    \
                  entities: [{name: own, home: own}, {from: \"data/*\", if_empty: skip}]\n";
    let sandbox = Sandbox::new(config);
    for name in ["own", "data/1", "data/2", "data/3"] {
        files::ints(&sandbox, &format!("{name}/a.parquet"), 0..3);
    }
    built(&sandbox);
    fs::remove_dir_all(sandbox.path("data")).expect("a folder");
    says(&sandbox.run(&["build"]), 0, &["nothing to do"]);
}

#[test]
fn a_project_that_was_moved_misses_what_it_had() {
    let sandbox = Sandbox::new("");
    let flow = "  landing: {store: lake, entities: {from: \"data/*\", max_lost: 0%}}\n";
    sandbox.write("old/hygge.yml", format!("flows:\n{flow}"));
    for number in 0..3 {
        files::ints(&sandbox, &format!("old/data/{number}/a.parquet"), 0..3);
    }
    says(&sandbox.run(&["-f", "old/hygge.yml", "build"]), 0, &[]);
    fs::rename(sandbox.path("old"), sandbox.path("new")).expect("a folder");
    fs::remove_dir_all(sandbox.path("new/data/0")).expect("an entity");
    says(
        &sandbox.run(&["-f", "new/hygge.yml", "build"]),
        1,
        &["1 of the 3 entities"],
    );
    fs::remove_dir_all(sandbox.path("new/.hygge-cache")).expect("a cache");
    says(
        &sandbox.run(&["-f", "new/hygge.yml", "build"]),
        1,
        &["1 of the 3 entities"],
    );
}

#[test]
fn orphans_are_counted_by_the_flows_of_the_config() {
    let config =
        |rest: &str| format!("name: p\nflows:\n  day.a: {{home: home, store: one}}\n{rest}");
    let sandbox = Sandbox::new(&config(
        "  day.b: {home: home, store: two}\n  day.c: {home: home, store: three}\n",
    ));
    files::ints(&sandbox, "home/a.parquet", 0..3);
    built(&sandbox);
    sandbox.write("hygge.yml", config(""));
    says(
        &sandbox.run(&["clean", "--orphans"]),
        2,
        &["flow day.b: 1 store", "flow day.c: 1 store"],
    );
    says(
        &sandbox.run(&["clean", "--yes"]),
        2,
        &["--yes is for --stores and --orphans"],
    );
    assert!(sandbox.path(".hygge-cache/index.db").exists());
}
