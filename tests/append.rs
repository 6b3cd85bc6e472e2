//! `mode: append`: every input is moved once, whatever becomes of names, bytes, the cache and the
//! store.

use std::fs;

use crate::common::files;
use crate::common::sandbox::{CommandOutput, Sandbox};

/// A flow that adds, with these further keys of the flow and of its store.
fn adding(keys: &str, store: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  ids: {{home: home, store: {{path: store{store}}}, mode: append{keys}}}\n"
    ))
}

/// The ids of a store, sorted.
pub(crate) fn ids(sandbox: &Sandbox, store: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for name in sandbox.digests(store).keys() {
        ids.extend(files::read(sandbox, &format!("{store}/{name}")).ints("id"));
    }
    ids.sort_unstable();
    ids
}

fn built(sandbox: &Sandbox) -> CommandOutput {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let again = sandbox.run(&["build"]);
    assert!(
        again.text.ends_with("fresh\n") && again.code == 0,
        "{}",
        again.text
    );
    ran
}

fn rename(sandbox: &Sandbox, from: &str, to: &str) {
    fs::rename(
        sandbox.path(&format!("home/{from}.parquet")),
        sandbox.path(&format!("home/{to}.parquet")),
    )
    .expect("a rename");
}

fn remove(sandbox: &Sandbox, name: &str) {
    fs::remove_file(sandbox.path(&format!("home/{name}.parquet"))).expect("an input");
}

fn input(sandbox: &Sandbox, name: &str, values: std::ops::Range<i64>) {
    files::ints(sandbox, &format!("home/{name}.parquet"), values);
}

#[test]
fn what_was_not_moved_yet_is_added_and_nothing_else_is_made() {
    let sandbox = adding("", "");
    input(&sandbox, "b", 0..2);
    built(&sandbox);
    let before = sandbox.digests("store");
    input(&sandbox, "a", 10..12);
    let ran = built(&sandbox);
    let ended = ran.event("flow_finished");
    assert_eq!(
        (ended["parts_made"].as_u64(), ended["parts_kept"].as_u64()),
        (Some(1), Some(1)),
        "{}",
        ran.text
    );
    let now = sandbox.digests("store");
    assert!(
        before.iter().all(|(name, digest)| now[name] == *digest),
        "what was there keeps its name"
    );
    assert_eq!(ids(&sandbox, "store"), [0, 1, 10, 11]);
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    assert_eq!(
        sandbox.build(&["--check"]).code,
        0,
        "a lost cache changes nothing"
    );
}

#[test]
fn equal_bytes_are_moved_under_each_of_their_names() {
    for pattern in [
        "",
        ", file_pattern: \"{digest}.parquet\"",
        ", file_pattern: \"{stem}.parquet\"",
    ] {
        let sandbox = adding("", pattern);
        input(&sandbox, "a", 0..2);
        built(&sandbox);
        input(&sandbox, "b", 0..2);
        input(&sandbox, "c", 0..2);
        built(&sandbox);
        assert_eq!(ids(&sandbox, "store"), [0, 0, 0, 1, 1, 1], "{pattern}");
    }
}

#[test]
fn a_renamed_input_was_moved_already_and_is_known_by_its_new_name() {
    for (on_changed, code, expected) in [
        ("fail", 1, &[0, 1][..]),
        ("rewrite", 0, &[0, 1, 2]),
        ("ignore", 0, &[0, 1]),
    ] {
        let sandbox = adding(&format!(", on_changed: {on_changed}"), "");
        input(&sandbox, "a", 0..2);
        built(&sandbox);
        rename(&sandbox, "a", "b");
        assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 0);
        input(&sandbox, "b", 0..3);
        assert_eq!(sandbox.build(&[]).code, code, "{on_changed}");
        assert_eq!(ids(&sandbox, "store"), expected, "{on_changed}");
    }
}

#[test]
fn files_that_move_up_when_a_new_one_comes_are_not_moved_twice() {
    for on_changed in ["fail", "rewrite", "ignore"] {
        for builds_between in [false, true] {
            let sandbox = adding(&format!(", on_changed: {on_changed}"), "");
            input(&sandbox, "log", 0..2);
            input(&sandbox, "log1", 10..12);
            built(&sandbox);
            rename(&sandbox, "log1", "log2");
            rename(&sandbox, "log", "log1");
            if builds_between {
                built(&sandbox);
            }
            input(&sandbox, "log", 20..22);
            built(&sandbox);
            assert_eq!(
                ids(&sandbox, "store"),
                [0, 1, 10, 11, 20, 21],
                "{on_changed} {builds_between}"
            );
        }
    }
}

#[test]
fn a_name_may_have_been_that_of_several_inputs() {
    for (keys, expected) in [
        ("", &[0, 1, 10, 11, 20, 21, 30, 31][..]),
        (", on_vanished: remove", &[10, 11, 20, 21, 30, 31]),
    ] {
        let sandbox = adding(keys, "");
        for (name, values) in [("log2", 0..2), ("log1", 10..12), ("log", 20..22)] {
            input(&sandbox, name, values);
        }
        built(&sandbox);
        // The oldest is overwritten.
        rename(&sandbox, "log1", "log2");
        rename(&sandbox, "log", "log1");
        input(&sandbox, "log", 30..32);
        built(&sandbox);
        assert_eq!(ids(&sandbox, "store"), expected, "{keys}");
        // Its bytes come back under another name: they were moved already, if their rows are still
        // there.
        input(&sandbox, "old", 0..2);
        built(&sandbox);
        assert_eq!(
            ids(&sandbox, "store"),
            [0, 1, 10, 11, 20, 21, 30, 31],
            "{keys}"
        );
        // An input that takes the name of one with other rows is the one that changes.
        input(&sandbox, "log2", 40..42);
        let ran = sandbox.build(&[]);
        assert!(
            ran.code == 1 && ran.error().contains("input log2.parquet was moved already"),
            "{}",
            ran.text
        );
    }
}

#[test]
fn equal_bytes_under_another_name_are_said_or_added() {
    for (keys, expected) in [
        ("", &[0, 1][..]),
        (", on_repeated: skip", &[0, 1]),
        (", on_repeated: add", &[0, 0, 1, 1]),
    ] {
        for rows in [
            "",
            ", rows_per_file: 100",
            ", file_pattern: \"{digest}.parquet\"",
            ", compression: zstd",
        ] {
            let sandbox = adding(keys, rows);
            input(&sandbox, "day1", 0..2);
            built(&sandbox);
            // The first is archived, and one of the same bytes comes.
            rename(&sandbox, "day1", "day2");
            let said = "input day2.parquet has the bytes of day1.parquet, which was added before: \
                        skipped; on_repeated: add adds it";
            for command in [&["build", "--dry-run"][..], &["build"]] {
                let ran = sandbox.run(command);
                assert_eq!(
                    (ran.code, ran.text.contains(said)),
                    (0, !keys.contains("add")),
                    "{keys}{rows}: {}",
                    ran.text
                );
            }
            assert_eq!(ids(&sandbox, "store"), expected, "{keys}{rows}");
            drop(fs::remove_dir_all(sandbox.path(".hygge-cache")));
            assert!(
                sandbox.run(&["build"]).text.contains("nothing to do"),
                "{keys}{rows}: once"
            );
            assert_eq!(ids(&sandbox, "store"), expected, "{keys}{rows}");
        }
    }
}

#[test]
fn equal_files_come_into_a_table_each() {
    let config = |keys: &str| {
        format!(
            "connections: {{db: {{url: 'sqlite:db.sqlite'}}}}\nflows:\n  \
             ids: {{home: home, store: {{connection: db, table: ids}}, mode: append{keys}}}\n"
        )
    };
    let count = |sandbox: &Sandbox| {
        let ask = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from ids').fetchone()[0])";
        let ran = crate::common::peers::run(ask, &[sandbox.path("db.sqlite").as_os_str()]);
        String::from_utf8_lossy(&ran.stdout)
            .trim()
            .parse::<usize>()
            .expect("a number")
    };
    for cache in [true, false] {
        // The other one is still there, or was taken away.
        for keys in ["", ", on_repeated: add"] {
            let sandbox = Sandbox::new(&config(keys));
            input(&sandbox, "day1", 0..2);
            built(&sandbox);
            input(&sandbox, "day2", 0..2);
            if !keys.is_empty() {
                remove(&sandbox, "day1");
            }
            if !cache {
                fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
            }
            built(&sandbox);
            assert_eq!(count(&sandbox), 4, "{keys} {cache}");
            assert!(sandbox.run(&["build"]).text.contains("nothing to do"));
            input(&sandbox, "day3", 5..6);
            built(&sandbox);
            assert_eq!(count(&sandbox), 5, "{keys} {cache}");
        }
    }
}

#[test]
fn what_is_repeated_is_not_added_from_a_flow_that_renames_its_parts() {
    let config = |mode: &str| {
        format!(
            "flows:\n  up: {{home: home, store: out/up{mode}}}\n  \
             down: {{home: {{flow: up}}, store: out/down, mode: append, on_repeated: add}}\n"
        )
    };
    let sandbox = Sandbox::new(&config(""));
    input(&sandbox, "a", 0..2);
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 2 && ran.text.contains("makes its set anew"),
        "{}",
        ran.text
    );
    sandbox.write("hygge.yml", config(", mode: append"));
    assert_eq!(sandbox.build(&[]).code, 0);
}

#[test]
fn on_changed_decides_about_an_input_with_other_bytes() {
    for (on_changed, code, expected) in [
        ("fail", 1, &[0, 1, 10][..]),
        ("rewrite", 0, &[5, 10]),
        ("ignore", 0, &[0, 1, 10]),
    ] {
        for rows in ["", ", rows_per_file: 100"] {
            let sandbox = adding(&format!(", on_changed: {on_changed}"), rows);
            input(&sandbox, "a", 0..2);
            input(&sandbox, "b", 10..11);
            built(&sandbox);
            input(&sandbox, "a", 5..6);
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, code, "{on_changed}{rows}: {}", ran.text);
            assert!(
                code == 0 || ran.error().contains("input a.parquet was moved already"),
                "{}",
                ran.text
            );
            assert_eq!(ids(&sandbox, "store"), expected, "{on_changed}{rows}");
        }
    }
}

#[test]
fn on_vanished_decides_about_the_rows_of_an_input_that_is_gone() {
    for (on_vanished, expected) in [("keep", &[0, 1, 10][..]), ("remove", &[10])] {
        for rows in ["", ", rows_per_file: 100"] {
            let sandbox = adding(&format!(", on_vanished: {on_vanished}"), rows);
            input(&sandbox, "a", 0..2);
            input(&sandbox, "b", 10..11);
            built(&sandbox);
            remove(&sandbox, "a");
            built(&sandbox);
            assert_eq!(ids(&sandbox, "store"), expected, "{on_vanished}{rows}");
        }
    }
}

#[test]
fn a_home_that_was_emptied_has_nothing_to_add() {
    let sandbox = adding("", "");
    assert_eq!(sandbox.build(&[]).code, 1, "but it cannot begin so");
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    remove(&sandbox, "a");
    assert_eq!(
        sandbox.run(&["build"]).text,
        "hygge: nothing to do, 1 flow is fresh\n"
    );
    input(&sandbox, "b", 2..3);
    built(&sandbox);
    assert_eq!(ids(&sandbox, "store"), [0, 1, 2]);
}

#[test]
fn who_reads_what_was_rewritten_learns_of_it() {
    let config = |downstream: &str| {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  up: {{home: home, store: out/up, mode: append, on_changed: rewrite}}\n  \
             down: {{home: {{flow: up}}, store: out/down, mode: append{downstream}}}\n"
        ));
        input(&sandbox, "a", 0..2);
        input(&sandbox, "b", 10..12);
        assert_eq!(sandbox.build(&[]).code, 0);
        input(&sandbox, "a", 0..3);
        sandbox
    };
    let sandbox = config("");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1
            && ran.outcome("up") == "built"
            && ran.error().contains("has other bytes now"),
        "{}",
        ran.text
    );
    let sandbox = config(", on_changed: rewrite");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(ids(&sandbox, "out/down"), [0, 1, 2, 10, 11]);
}

#[test]
fn a_lost_output_comes_back_from_its_input_or_the_flow_fails() {
    let sandbox = adding("", "");
    input(&sandbox, "a", 0..2);
    input(&sandbox, "b", 10..12);
    built(&sandbox);
    let before = sandbox.digests("store");
    fs::remove_file(sandbox.path("store/00000000000000000001.parquet")).expect("a part");
    built(&sandbox);
    assert_eq!(sandbox.digests("store"), before);
    remove(&sandbox, "a");
    fs::remove_file(sandbox.path("store/00000000000000000001.parquet")).expect("a part");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1 && ran.error().contains("its input a.parquet is gone"),
        "{}",
        ran.text
    );
}

#[test]
fn new_columns_are_refused_by_name() {
    let sandbox = adding("", "");
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    files::ints_and_texts(&sandbox, "home/b.parquet", 0..2);
    remove(&sandbox, "a");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1 && ran.error().contains("input b.parquet") && ran.error().contains("text"),
        "{}",
        ran.text
    );
}

#[test]
fn inputs_without_rows_are_moved_too() {
    for rows in ["", ", rows_per_file: 10"] {
        let sandbox = adding("", rows);
        input(&sandbox, "a", 0..0);
        built(&sandbox);
        input(&sandbox, "b", 0..0);
        input(&sandbox, "c", 0..25);
        input(&sandbox, "d", 0..0);
        built(&sandbox);
        assert_eq!(
            ids(&sandbox, "store"),
            (0..25).collect::<Vec<i64>>(),
            "{rows}"
        );
    }
}

#[test]
fn a_flow_may_begin_to_add_and_may_end_to() {
    let sandbox = adding("", "");
    let adds = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write("hygge.yml", adds.replace(", mode: append", ""));
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    sandbox.write("hygge.yml", &adds);
    remove(&sandbox, "a");
    input(&sandbox, "b", 10..12);
    built(&sandbox);
    assert_eq!(ids(&sandbox, "store"), [0, 1, 10, 11]);
    sandbox.write("hygge.yml", adds.replace(", mode: append", ""));
    built(&sandbox);
    assert_eq!(ids(&sandbox, "store"), [10, 11]);
}

#[test]
fn a_store_without_a_receipt_is_not_begun_again() {
    let sandbox = adding("", "");
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    fs::remove_dir_all(sandbox.path(".hygge")).expect("receipts");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1 && ran.error().contains("that hygge did not make"),
        "{}",
        ran.text
    );
    assert!(
        sandbox
            .run(&["build"])
            .text
            .contains("bring .hygge/store.json along")
    );
    assert_eq!(ids(&sandbox, "store"), [0, 1]);
}

#[test]
fn what_is_forced_is_made_from_the_inputs_that_are_there() {
    let sandbox = adding("", ", compression: zstd");
    input(&sandbox, "a", 0..2);
    input(&sandbox, "b", 10..12);
    built(&sandbox);
    let before = sandbox.digests("store");
    remove(&sandbox, "a");
    let ran = sandbox.build(&["--force"]);
    assert_eq!(
        (ran.code, ran.event("flow_finished")["parts_made"].as_u64()),
        (0, Some(1)),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.digests("store"), before);
}

#[test]
fn what_cannot_be_made_again_stays_where_all_is_forced() {
    let sandbox = adding("", ", rows_per_file: 100");
    for (name, values) in [
        ("a", 0..50),
        ("b", 50..100),
        ("c", 100..150),
        ("d", 150..200),
        ("e", 200..300),
    ] {
        input(&sandbox, name, values);
    }
    built(&sandbox);
    remove(&sandbox, "c");
    let ran = sandbox.build(&["--force", "ids"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let ended = ran.event("flow_finished");
    assert_eq!(
        (ended["parts_made"].as_u64(), ended["parts_kept"].as_u64()),
        (Some(2), Some(1)),
        "{}",
        ran.text
    );
    assert_eq!(ids(&sandbox, "store"), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_name_that_is_taken_by_a_part_that_stays_gets_a_number() {
    let sandbox = adding("", ", file_pattern: \"{stem}.parquet\"");
    input(&sandbox, "log", 0..2);
    built(&sandbox);
    for round in 1..4 {
        rename(&sandbox, "log", &format!("log{round}"));
        input(&sandbox, "log", round * 10..round * 10 + 2);
        built(&sandbox);
    }
    let names: Vec<String> = sandbox.digests("store").into_keys().collect();
    assert_eq!(
        names,
        [
            "log-2.parquet",
            "log-3.parquet",
            "log-4.parquet",
            "log.parquet"
        ]
    );
    assert_eq!(ids(&sandbox, "store"), [0, 1, 10, 11, 20, 21, 30, 31]);
    assert_eq!(sandbox.build(&["--force", "ids"]).code, 0);
    assert_eq!(ids(&sandbox, "store"), [0, 1, 10, 11, 20, 21, 30, 31]);
}

#[test]
fn a_store_that_is_gone_with_its_receipt_is_not_begun_again() {
    let sandbox = Sandbox::new("flows:\n  ids: {home: home, store: out/store, mode: append}\n");
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    remove(&sandbox, "a");
    input(&sandbox, "b", 10..12);
    fs::rename(sandbox.path("out"), sandbox.path("away")).expect("a folder");
    for _ in 0..2 {
        let ran = sandbox.build(&[]);
        assert!(
            ran.code == 1 && ran.error().contains("is gone with its receipt"),
            "{}",
            ran.text
        );
    }
    drop(fs::remove_dir_all(sandbox.path("out")));
    fs::rename(sandbox.path("away"), sandbox.path("out")).expect("a folder");
    built(&sandbox);
    assert_eq!(ids(&sandbox, "out/store"), [0, 1, 10, 11]);
    // Who removes it by hygge, or forces it, knows.
    assert_eq!(sandbox.run(&["clean", "--stores", "ids", "--yes"]).code, 0);
    built(&sandbox);
    assert_eq!(ids(&sandbox, "out/store"), [10, 11]);
    fs::remove_dir_all(sandbox.path("out")).expect("a folder");
    assert_eq!(sandbox.build(&["--force", "ids"]).code, 0);
    assert_eq!(ids(&sandbox, "out/store"), [10, 11]);
}

#[test]
fn what_stays_is_not_read_again() {
    let sandbox = adding("", "");
    for number in 0..5 {
        input(
            &sandbox,
            &number.to_string(),
            number * 10_000..number * 10_000 + 5_000,
        );
    }
    built(&sandbox);
    sandbox.let_files_age();
    assert!(sandbox.run(&["build"]).text.ends_with("fresh\n"));
    for number in 5..8 {
        input(&sandbox, &number.to_string(), number..number + 1);
        let ran = sandbox.build(&[]);
        let (hashed, small) = (
            ran.event("build_finished")["bytes_hashed"]
                .as_u64()
                .expect("bytes"),
            8 * 1024,
        );
        assert!(hashed < small, "{hashed} bytes were hashed: {}", ran.text);
    }
}

#[test]
fn a_first_publication_that_died_is_begun_again() {
    let sandbox = adding("", "");
    input(&sandbox, "a", 0..2);
    built(&sandbox);
    let receipt = fs::read_to_string(sandbox.path(".hygge/store.json")).expect("a receipt");
    let mut receipt: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    receipt["pending"] = receipt["published"].take();
    sandbox.write(".hygge/store.json", receipt.to_string());
    fs::rename(sandbox.path("store"), sandbox.path(".hygge/store.next")).expect("a folder");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(ids(&sandbox, "store"), [0, 1]);
}
