//! Journals of SQLite's that name another file, and what stands where it keeps its logs: nothing
//! outside is removed, nothing waits.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::common::files;
use crate::common::outside::{differences, record_files};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

/// What ends each part of a journal, and all of it.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Puts a journal beside a file of SQLite's, as a program leaves it that died in a transaction in
/// several files: SQLite rolls back and removes the file that it names.
fn put_journal(database: &Path, victim: &Path) {
    let bytes = fs::read(database).expect("a database");
    let size = match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65536,
        size => u32::from(size),
    };
    let pages = u32::try_from(bytes.len()).expect("a small file") / size;
    let number = |number: u32| number.to_be_bytes();
    let mut journal = [
        &MAGIC[..],
        &number(0),
        &number(1234),
        &number(pages),
        &number(512),
        &number(size),
    ]
    .concat();
    journal.resize(512, 0);
    let name = victim.to_str().expect("a name").as_bytes();
    let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
    let length = u32::try_from(name.len()).expect("a short name");
    let trailer = [
        &number(0x4000_0000 / size + 1)[..],
        name,
        &number(length),
        &number(sum),
        &MAGIC,
    ]
    .concat();
    journal.extend(trailer);
    let mut path = database.as_os_str().to_os_string();
    path.push("-journal");
    fs::write(path, journal).expect("a journal");
}

/// A folder that is none of the project's, with a file that journals name.
fn outside() -> tempfile::TempDir {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("precious"), "precious").expect("a file");
    outside
}

#[test]
fn a_journal_beside_the_index_removes_no_file_of_others() {
    let sandbox = Sandbox::new("flows: {ids: {home: home, store: out/ids}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    let (saved, outside) = (sandbox.save(), outside());
    let before = record_files(outside.path());
    for command in [
        &["build"][..],
        &["build", "--check"],
        &["log"],
        &["why", "ids"],
        &["check"],
        &["cache", "stats"],
        &["clean"],
    ] {
        sandbox.reset(&saved);
        put_journal(
            &sandbox.path(".hygge-cache/index.db"),
            &outside.path().join("precious"),
        );
        let ran = sandbox.run(command);
        assert_eq!(
            differences(&before, outside.path()),
            [""; 0],
            "{command:?}: {}",
            ran.text
        );
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.text);
        assert!(
            command != ["build"] || ran.text.contains("index.db.damaged"),
            "it is said: {}",
            ran.text
        );
        // Not every command opens the index.
        assert!(
            sandbox
                .run(&["build"])
                .text
                .ends_with("hygge: nothing to do, 1 flow is fresh\n"),
            "{command:?}"
        );
        assert_eq!(differences(&before, outside.path()), [""; 0], "{command:?}");
    }
}

const STORE: &str = "connections: {shop: {url: \"sqlite:shop.db\"}}\n\
     flows: {ids: {home: home, store: {connection: shop, table: ids}}}\n";

#[test]
fn a_journal_beside_a_database_that_is_filled_removes_no_file_of_others() {
    for confine in ["", "options: {confine: true}\n"] {
        let (sandbox, outside) = (Sandbox::new(&format!("{confine}{STORE}")), outside());
        files::ints(&sandbox, "home/a.parquet", 0..10);
        built(&sandbox);
        fs::rename(sandbox.path("shop.db"), sandbox.path("real.db")).expect("a database");
        symlink("real.db", sandbox.path("shop.db")).expect("a link");
        put_journal(&sandbox.path("real.db"), &outside.path().join("precious"));
        let before = record_files(outside.path());
        files::ints(&sandbox, "home/b.parquet", 0..10);
        for command in [&["check"][..], &["build"], &["build", "--force"]] {
            let ran = sandbox.run(command);
            assert_eq!(
                differences(&before, outside.path()),
                [""; 0],
                "{command:?}: {}",
                ran.text
            );
            assert!(
                ran.code == 1 && ran.text.contains("connection shop names another file"),
                "{command:?}: {}",
                ran.text
            );
            assert!(ran.text.contains("hint: "), "{}", ran.text);
        }
        // What the hint says helps.
        fs::remove_file(sandbox.path("real.db-journal")).expect("a journal");
        built(&sandbox);
    }
}

#[test]
fn an_ordinary_journal_of_a_program_that_died_is_rolled_back_as_ever() {
    let sandbox = Sandbox::new(STORE);
    files::ints(&sandbox, "home/a.parquet", 0..10);
    built(&sandbox);
    let lines = "
import os, sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute('PRAGMA journal_mode = DELETE')
base.execute('PRAGMA cache_size = 1')
base.execute('BEGIN IMMEDIATE')
base.execute('CREATE TABLE big AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) SELECT i, hex(randomblob(99)) FROM n')
os._exit(7)
";
    let died = peers::run(lines, &[sandbox.path("shop.db").as_os_str()]);
    assert_eq!(
        died.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&died.stderr)
    );
    assert!(
        fs::metadata(sandbox.path("shop.db-journal"))
            .expect("a journal")
            .len()
            > 512
    );
    files::ints(&sandbox, "home/b.parquet", 0..10);
    built(&sandbox);
}

#[test]
fn what_is_no_file_beside_a_file_of_sqlites_is_no_reason_to_wait() {
    let sandbox = Sandbox::new(STORE);
    files::ints(&sandbox, "home/a.parquet", 0..10);
    built(&sandbox);
    let saved = sandbox.save();
    for (file, named) in [
        (".hygge-cache/index.db", ".hygge-cache/index.db"),
        ("shop.db", "connection shop"),
    ] {
        for ending in ["-wal", "-shm", "-journal"] {
            for kind in ["pipe", "folder", "link"] {
                sandbox.reset(&saved);
                let path = sandbox.path(&format!("{file}{ending}"));
                drop(fs::remove_file(&path));
                match kind {
                    "pipe" => assert!(
                        Command::new("mkfifo")
                            .arg(&path)
                            .status()
                            .expect("mkfifo runs")
                            .success()
                    ),
                    "folder" => fs::create_dir(&path).expect("a folder"),
                    _ => symlink(sandbox.path("home/a.parquet"), &path).expect("a link"),
                }
                let mut command = Command::new("timeout");
                command
                    .args(["20", env!("CARGO_BIN_EXE_hygge"), "build", "--force"])
                    .current_dir(sandbox.path(""))
                    .env_clear();
                let output = command.output().expect("timeout runs");
                let text = String::from_utf8_lossy(&output.stderr);
                let is_refused = matches!(output.status.code(), Some(1 | 3))
                    && text.contains(named)
                    && text.contains("hint: ");
                assert!(
                    is_refused,
                    "{file}{ending} is a {kind}: exit {:?}: {text}",
                    output.status.code()
                );
                assert_eq!(files::read(&sandbox, "home/a.parquet").rows, 10);
            }
        }
    }
}
