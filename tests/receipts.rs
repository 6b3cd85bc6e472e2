//! Receipts, histories, env files and configs that hygge did not write, or that are no files:
//! refused by their name, and nothing outside of a store is touched.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::assert_success;
use crate::common::files;
use crate::common::outside::{differences, record_files};
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox, built};

/// Names that no part has.
const NAMES: &[&str] = &[
    "../../precious/key.parquet",
    "ABSOLUTE",
    "",
    ".",
    "..",
    "a/b.parquet",
    "a=b/../../../precious/key.parquet",
    "a=b/../c.parquet",
    "../a=b/c.parquet",
    "/a=b/c.parquet",
    "a=b//c.parquet",
    "a=b/.hidden",
    "_a=b/c.parquet",
    "a=b/LONG",
    "../x",
    ".hidden",
    "_hidden",
    "nul\0",
    "LONG",
];

/// What a receipt may say of a part with such a name.
const KINDS: &[&str] = &["published", "gone", "previous", "latest", "pending"];

fn project(how: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!(
        "flows: {{a: {{home: home, store: {{path: p/out{how}}}}}}}\n"
    ));
    for rows in [10, 20] {
        files::ints(&sandbox, "home/a.parquet", 0..rows);
        assert_eq!(sandbox.build(&[]).code, 0);
    }
    let part = fs::read(sandbox.path("p/out/00000000000000000001.parquet")).expect("a part");
    sandbox.write("precious/key.parquet", part);
    sandbox
}

/// Writes a part of this name into a receipt, in one of the ways in which it may stand there.
fn forge(receipt: &mut Value, name: &str, kind: &str) {
    let mut part = receipt["published"]["manifest"]["parts"][0].clone();
    part["name"] = name.into();
    if kind == "gone" {
        part["digest"] = "0".repeat(64).into();
    }
    match kind {
        "previous" => {
            receipt["previous"] =
                json!({ "manifest": { "parts": [part] }, "at": "2999-01-01T00:00:00Z" })
        }
        "published" => receipt["published"]["manifest"]["parts"]
            .as_array_mut()
            .expect("parts")
            .push(part),
        _ => {
            let mut set = receipt["published"].clone();
            set["manifest"]["parts"] = json!([part]);
            receipt[if kind == "latest" {
                "latest"
            } else {
                "pending"
            }] = set;
            receipt["pending_in_place"] = true.into();
        }
    }
}

fn is_refused(ran: &CommandOutput, what: &str) {
    assert!(
        ran.code == 1 || ran.code == 3,
        "{what}: exit {}: {}",
        ran.code,
        ran.text
    );
    assert!(
        ran.text
            .contains("cannot be read: it has a part with the name"),
        "{what}: {}",
        ran.text
    );
}

#[test]
fn names_in_a_receipt_that_lead_elsewhere_are_refused() {
    let mut tried = 0;
    for how in ["", ", publish: in_place"] {
        let sandbox = project(how);
        let before = record_files(&sandbox.path("precious"));
        let path = sandbox.path("p/.hygge/out.json");
        let sound = fs::read(&path).expect("a receipt");
        let absolute = sandbox.path("precious/key.parquet").display().to_string();
        for name in NAMES {
            for kind in KINDS {
                let name = name
                    .replace("ABSOLUTE", &absolute)
                    .replace("LONG", &"x".repeat(300));
                let mut receipt: Value = serde_json::from_slice(&sound).expect("a receipt");
                forge(&mut receipt, &name, kind);
                fs::write(&path, receipt.to_string()).expect("a write");
                for command in [
                    &["build"][..],
                    &["build", "--force"],
                    &["clean", "--stores", "a", "--yes"],
                ] {
                    let what = format!("{name:?} as {kind}{how}, {command:?}");
                    let ran = sandbox.run(command);
                    is_refused(&ran, &what);
                    assert_eq!(
                        differences(&before, &sandbox.path("precious")),
                        [""; 0],
                        "{what}"
                    );
                    tried += 1;
                }
            }
        }
        // The sound one is the right one still.
        fs::write(&path, &sound).expect("a write");
        assert_eq!(sandbox.build(&[]).code, 0);
        assert_eq!(sandbox.digests("p/out").len(), 1);
    }
    assert_eq!(tried, 2 * NAMES.len() * KINDS.len() * 3);
}

#[test]
fn numbers_in_a_receipt_that_nothing_can_have_are_refused() {
    let sandbox = project("");
    let path = sandbox.path("p/.hygge/out.json");
    let sound = fs::read(&path).expect("a receipt");
    for (field, number) in [
        ("rows", u64::MAX),
        ("bytes", u64::MAX),
        ("sequence", u64::MAX),
        ("rows", 1 << 63),
    ] {
        let mut receipt: Value = serde_json::from_slice(&sound).expect("a receipt");
        receipt["published"]["manifest"]["parts"][0][field] = number.into();
        fs::write(&path, receipt.to_string()).expect("a write");
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 1 && ran.text.contains("cannot be read: it counts"),
            "{field} {number}: {}",
            ran.text
        );
    }
    let mut receipt: Value = serde_json::from_slice(&sound).expect("a receipt");
    let part = receipt["published"]["manifest"]["parts"][0].clone();
    receipt["published"]["manifest"]["parts"]
        .as_array_mut()
        .expect("parts")
        .push(part);
    fs::write(&path, receipt.to_string()).expect("a write");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1 && ran.text.contains("it has two parts with the name"),
        "{}",
        ran.text
    );
}

/// Runs statements in a SQLite file.
fn in_sqlite(sandbox: &Sandbox, file: &str, statement: &str) {
    let lines = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\n\
                 base.execute(sys.argv[2])\nbase.commit()\n\
                 assert base.total_changes > 0 or base.execute('SELECT count(*) \
                 FROM sqlite_master').fetchone()[0] == 1";
    let path = sandbox.path(file);
    let ran = peers::run(lines, &[path.as_os_str(), statement.as_ref()]);
    assert_success(&ran);
}

#[test]
fn a_set_of_the_history_with_such_a_name_is_not_put_back() {
    let sandbox = project("");
    let before = record_files(&sandbox.path("precious"));
    let name = "00000000000000000001.parquet";
    in_sqlite(
        &sandbox,
        ".hygge-cache/index.db",
        &format!(
            "UPDATE past_set SET record = replace(record, '\"{name}\"', \
             '\"../../precious/key.parquet\"')"
        ),
    );
    for command in [&["restore", "a"][..], &["restore", "a", "--build", "1"]] {
        let ran = sandbox.run(command);
        assert!(ran.code == 1 && ran.text.contains("hint: "), "{}", ran.text);
    }
    assert_eq!(differences(&before, &sandbox.path("precious")), [""; 0]);
    assert_eq!(sandbox.run(&["build"]).code, 0);
}

#[test]
fn the_receipt_of_a_table_is_believed_no_more_than_that_of_a_folder() {
    let sandbox = Sandbox::new(
        "connections: {shop: {url: \"sqlite:shop.db\"}}\n\
         flows: {a: {home: home, store: {connection: shop, table: ids}}}\n",
    );
    files::ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    in_sqlite(
        &sandbox,
        "shop.db",
        "UPDATE hygge_receipts SET receipt = replace(receipt, '\"part 1\"', '\"../../x\"'), digest \
         = lower(hex(randomblob(32)))",
    );
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("hygge_receipts"), "{}", ran.text);
    is_refused(&ran, "a table");
}

/// What may stand where a file should.
const ODD: &[&str] = &["pipe", "zero", "folder", "socket", "huge"];

fn put_odd(path: &Path, kind: &str) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("a folder");
    } else {
        drop(fs::remove_file(path));
    }
    match kind {
        "pipe" => {
            let made = Command::new("mkfifo")
                .arg(path)
                .status()
                .expect("mkfifo runs");
            assert!(made.success());
        }
        "zero" => symlink("/dev/zero", path).expect("a link"),
        "folder" => fs::create_dir(path).expect("a folder"),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).expect("a socket")),
        _ => File::create(path)
            .expect("a file")
            .set_len(3 << 40)
            .expect("a sparse file"),
    }
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let config = "options: {env_file: my.env}\nconnections: {shop: {url: \"sqlite:shop.db\"}}\n\
                  flows:\n  a: {home: home, store: p/out, tags: [\"${TAG}\"]}\n  \
                  t: {home: {connection: shop, table: ids}, store: p/t}\n";
    let sandbox = Sandbox::new(config);
    sandbox.write("my.env", "TAG=nightly\n");
    sandbox.write("flows/b/flow.yml", "home: home\nstore: p/b\n");
    in_sqlite(&sandbox, "shop.db", "CREATE TABLE ids AS SELECT 1 AS id");
    files::ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    let saved = sandbox.save();
    let names = [
        "p/.hygge/out.json",
        "my.env",
        "hygge.yml",
        "flows/b/flow.yml",
        ".hygge-cache/index.db",
        ".hygge-cache/staging/parts.log",
        ".hygge-cache/CACHEDIR.TAG",
        ".hygge-cache/lock",
        "p/.hygge/out.lock",
        "home/a.parquet",
        "shop.db",
    ];
    for name in names {
        for kind in ODD {
            // A lock, an input and a database may be as large as they like, and who builds
            // everything anew has no use for a ledger.
            let is_fine = *kind == "huge"
                && ["lock", ".db", ".log", ".parquet"]
                    .iter()
                    .any(|ending| name.ends_with(ending));
            if is_fine {
                continue;
            }
            sandbox.reset(&saved);
            put_odd(&sandbox.path(name), kind);
            for command in [
                &["build", "--force"][..],
                &["why", "a"],
                &["log"],
                &["check"],
            ] {
                let (code, text) = sandbox.run_bounded(4_000_000, 20, command);
                let what = format!("{name} is a {kind}, {command:?}: {text}");
                assert!(matches!(code, Some(0..=4)), "exit {code:?}: {what}");
                let is_build = command[0] == "build";
                // A folder of that name holds no flow.
                let is_lost = name == "flows/b/flow.yml" && *kind == "folder";
                assert!(!is_build || code != Some(0) || is_lost, "{what}");
                let file = name.rsplit('/').next().expect("a name");
                let is_named = text.contains(file)
                    || text.contains("connection shop")
                    || (file == "hygge.yml" && text.contains("hint: "));
                assert!(!is_build || is_named || is_lost, "{what}");
            }
        }
    }
}

/// Receipts, keys and digests mean what they meant when `tests/stored` was built, in November 2026:
/// each of its flows is another way in which parts are made.
#[test]
fn a_project_of_an_earlier_version_is_fresh() {
    let sandbox = Sandbox::stored();
    let ran = sandbox.build(&[]);
    let finished = ran.event("build_finished");
    assert_eq!(
        (ran.code, &finished["built"], &finished["fresh"]),
        (0, &json!(0), &json!(10)),
        "{}",
        ran.text
    );
    // Rows that it has already, under another name: parts are known by the keys that they had.
    fs::copy(
        sandbox.path("home/1.parquet"),
        sandbox.path("home/2.parquet"),
    )
    .expect("a copy");
    let ran = built(&sandbox);
    for flow in [
        "whole", "cut", "anew", "arrow", "next", "added", "table", "merged",
    ] {
        let finished = ran.finished(flow).expect("an end");
        assert_eq!(
            (&finished["outcome"], &finished["parts_made"]),
            (&json!("restored"), &json!(0)),
            "{flow}: {}",
            ran.text
        );
    }
}
