//! Damage: whatever becomes of a file of the cache, what is published is right, and what was fresh
//! is fresh.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::files;
use crate::common::locks::Held;
use crate::common::outside::{differences, record_files};
use crate::common::sandbox::Sandbox;

const CONFIG: &str = "options: {cache: {keep: always}}\nflows:\n  \
     ids: {home: home, store: {path: store, compression: zstd}}\n";
const FRESH: &str = "hygge: nothing to do, 1 flow is fresh\n";

/// Something that can become of a file.
type Damage = (&'static str, fn(&Path));

/// What can become of a file.
const DAMAGES: &[Damage] = &[
    ("truncated", |path| {
        let bytes = fs::read(path).expect("a file");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("a write");
    }),
    ("bits flipped", |path| {
        let mut bytes = fs::read(path).expect("a file");
        let step = (bytes.len() / 40).max(1);
        bytes
            .iter_mut()
            .step_by(step)
            .for_each(|byte| *byte ^= 0x10);
        fs::write(path, bytes).expect("a write");
    }),
    ("one bit flipped", |path| {
        let mut bytes = fs::read(path).expect("a file");
        let place = bytes.len() / 3;
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1;
        }
        fs::write(path, bytes).expect("a write");
    }),
    ("emptied", |path| fs::write(path, "").expect("a write")),
    ("deleted", |path| fs::remove_file(path).expect("a file")),
    ("made a folder", |path| {
        fs::remove_file(path).expect("a file");
        fs::create_dir(path).expect("a folder");
    }),
    ("unreadable", |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("permissions")
    }),
];

fn all_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all_files(&path, found)
        } else {
            found.push(path)
        }
    }
}

fn built() -> Sandbox {
    let sandbox = Sandbox::new(CONFIG);
    for rows in [10, 20, 30] {
        files::ints_and_texts(&sandbox, &format!("home/{rows}.parquet"), 0..rows);
        assert_eq!(sandbox.build(&[]).code, 0);
    }
    sandbox
}

/// The command, or why it was refused: by the name of a file of the cache and with a hint.
fn ends_well(sandbox: &Sandbox, arguments: &[&str], case: &str) -> bool {
    // Also for root, what may not be read is not read.
    let ran = sandbox.run_obedient(arguments);
    assert!(!ran.text.contains("panicked"), "{case}: {}", ran.text);
    if ran.code == 0 {
        return true;
    }
    assert!(
        ran.text.contains(".hygge-cache") && ran.text.contains("hint: "),
        "{case} is neither mended nor refused by name: {}",
        ran.text
    );
    false
}

/// False where it is refused instead.
fn is_mended(sandbox: &Sandbox, first: &BTreeMap<String, String>, case: &str) -> bool {
    if !ends_well(sandbox, &["build"], case) {
        return false;
    }
    assert!(sandbox.run(&["build"]).text.ends_with(FRESH), "{case}");
    assert_eq!(
        sandbox.digests("store"),
        *first,
        "{case}: what was fresh is fresh"
    );
    // A part that is needed from the cache is what it says, or made again.
    fs::remove_file(sandbox.path("store/00000000000000000002.parquet")).expect("a part");
    let mut is_mended = ends_well(sandbox, &["build"], case);
    files::ints_and_texts(sandbox, "home/20.parquet", 0..25);
    is_mended &= ends_well(sandbox, &["build"], case);
    files::ints_and_texts(sandbox, "home/20.parquet", 0..20);
    is_mended &= ends_well(sandbox, &["build"], case);
    assert!(!is_mended || sandbox.digests("store") == *first, "{case}");
    is_mended
}

#[test]
fn each_file_of_the_cache_may_be_damaged() {
    let sandbox = built();
    let (saved, first) = (sandbox.save(), sandbox.digests("store"));
    let mut found = Vec::new();
    all_files(&sandbox.path(".hygge-cache"), &mut found);
    assert!(
        found.iter().any(|path| path.ends_with("parts.log")) && found.len() > 6,
        "{found:?}"
    );
    let mut refused = Vec::new();
    for path in &found {
        for (damage, spoil) in DAMAGES {
            sandbox.reset(&saved);
            spoil(path);
            let case = format!("{} {damage}", path.display());
            if !is_mended(&sandbox, &first, &case) {
                refused.push(case);
            }
        }
    }
    // What is a file and can be read is always mended, but for the mark: without it, nobody knows
    // that the folder may be emptied.
    let may_be_refused = |case: &String| {
        case.ends_with("made a folder")
            || case.ends_with("unreadable")
            || case.contains("CACHEDIR.TAG")
    };
    assert!(
        refused.iter().all(may_be_refused) && refused.len() < 2 * found.len(),
        "{refused:?}"
    );
}

#[test]
fn verify_finds_what_is_damaged_and_the_next_build_makes_it_again() {
    let sandbox = built();
    let sound = sandbox.run(&["cache", "verify"]);
    assert!(
        sound.code == 0
            && sound.text.contains("verified 3 parts")
            && sound.text.contains("0 damaged"),
        "{}",
        sound.text
    );
    let mut found = Vec::new();
    all_files(&sandbox.path(".hygge-cache/staging"), &mut found);
    let part = found
        .iter()
        .find(|path| path.file_name().is_some_and(|name| name.len() == 64))
        .expect("a part");
    let mut bytes = fs::read(part).expect("a part");
    bytes[5] ^= 1;
    fs::write(part, &bytes).expect("a write");
    let ran = sandbox.run(&["cache", "verify", "--format", "json"]);
    let damaged = &ran.event("cache_verify")["damaged"];
    assert_eq!(
        (ran.code, damaged.as_array().map(Vec::len)),
        (1, Some(1)),
        "{}",
        ran.text
    );
    assert_eq!(
        fs::read(damaged[0]["now"].as_str().expect("a path")).expect("what was set aside"),
        bytes
    );
    assert_eq!(
        sandbox.run(&["cache", "verify"]).code,
        0,
        "it is found once"
    );
    let before = sandbox.digests("store");
    for folder in ["store", ".hygge/store.old"] {
        fs::remove_dir_all(sandbox.path(folder)).expect("a store");
    }
    let ran = sandbox.build(&[]);
    assert_eq!(ran.event("flow_finished")["parts_made"], 1, "{}", ran.text);
    assert_eq!(sandbox.digests("store"), before);
    let some = sandbox.run(&["cache", "verify", "--sample", "1%"]);
    assert_eq!(some.code, 0, "{}", some.text);
}

#[test]
fn what_is_in_the_cache_is_let_go_by_age_and_by_size() {
    let sandbox = built();
    let stats = |sandbox: &Sandbox| {
        sandbox
            .run(&["cache", "stats", "--format", "json"])
            .event("cache_stats")["parts"]
            .as_u64()
    };
    assert_eq!(stats(&sandbox), Some(3));
    let dry = sandbox.run(&[
        "cache",
        "gc",
        "--max-size",
        "1",
        "--dry-run",
        "--format",
        "json",
    ]);
    assert_eq!(
        (dry.event("cache_gc")["parts"].as_u64(), stats(&sandbox)),
        (Some(3), Some(3)),
        "{}",
        dry.text
    );
    let one = sandbox.run(&["cache", "gc", "--max-size", "9kB", "--format", "json"]);
    let gone = one.event("cache_gc");
    assert_eq!(
        (
            gone["parts"].as_u64(),
            gone["bytes"].as_u64(),
            stats(&sandbox)
        ),
        (Some(1), Some(4096), Some(2)),
        "{}",
        one.text
    );
    let old = sandbox.run(&["cache", "gc", "--max-age", "1d", "--format", "json"]);
    assert_eq!(old.event("cache_gc")["parts"], 0, "nothing is a day old");
    assert_eq!(sandbox.run(&["cache", "gc", "--max-age", "0"]).code, 0);
    assert_eq!(stats(&sandbox), Some(0));
    assert_eq!(sandbox.run(&["build"]).text, FRESH);
}

#[test]
fn a_build_keeps_the_limits_by_itself() {
    let sandbox = Sandbox::new(&CONFIG.replace("keep: always", "keep: always, max_size: 5kB"));
    for rows in [10, 20, 30] {
        files::ints_and_texts(&sandbox, "home/a.parquet", 0..rows);
        assert_eq!(sandbox.build(&[]).code, 0);
        let stats = sandbox.run(&["cache", "stats", "--format", "json"]);
        assert!(
            stats.event("cache_stats")["parts"].as_u64() <= Some(1),
            "{}",
            stats.text
        );
    }
}

#[test]
fn what_was_made_and_not_published_is_not_let_go_for_its_size() {
    let sandbox = Sandbox::new(
        "flows:\n  ids: {home: home, store: {path: store, compression: zstd}, max_shrink: 0%}\n",
    );
    files::ints(&sandbox, "home/a.parquet", 0..100);
    assert_eq!(sandbox.build(&[]).code, 0);
    files::ints(&sandbox, "home/a.parquet", 0..50);
    assert_eq!(sandbox.build(&[]).code, 1, "it would shrink");
    assert_eq!(sandbox.run(&["cache", "gc", "--max-size", "0"]).code, 0);
    let ran = sandbox.build(&["--accept-shrink"]);
    assert_eq!(
        (ran.code, ran.event("flow_finished")["parts_made"].as_u64()),
        (0, Some(0)),
        "{}",
        ran.text
    );
}

#[test]
fn gc_waits_for_builds_or_gives_up() {
    let sandbox = built();
    let lock = Held::shared(&sandbox.path(".hygge-cache/lock"));
    let ran = sandbox.run(&["cache", "gc", "--max-age", "0", "--no-wait"]);
    assert_eq!(ran.code, 4, "{}", ran.text);
    assert_eq!(sandbox.run(&["build", "--dry-run"]).code, 0);
    drop(lock);
    let _lock = Held::alone(&sandbox.path(".hygge-cache/lock"));
    assert_eq!(sandbox.run(&["build", "--no-wait"]).code, 4);
    assert_eq!(sandbox.run(&["log"]).code, 0, "readers never wait");
}

#[test]
fn the_cache_says_what_it_is() {
    let sandbox = built();
    let tag = fs::read_to_string(sandbox.path(".hygge-cache/CACHEDIR.TAG")).expect("a tag");
    assert!(
        tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"),
        "{tag}"
    );
    assert_eq!(
        fs::read_to_string(sandbox.path(".hygge-cache/.gitignore")).expect("a list"),
        "*\n"
    );
}

#[test]
fn on_a_network_filesystem_the_index_has_no_log_that_needs_shared_memory() {
    let sandbox = Sandbox::numbers();
    // NFS, as statfs calls it.
    let nfs = [("HYGGE_FILESYSTEM", "26985")];
    fs::create_dir(sandbox.path(".hygge-cache")).expect("a cache");
    let mut build = sandbox.run_with(&nfs, &["build"]);
    assert_eq!(build.code, 0, "{}", build.text);
    let header = fs::read(sandbox.path(".hygge-cache/index.db")).expect("an index");
    // Bytes 18 and 19 say whether there is a log: https://www.sqlite.org/fileformat.html
    assert_eq!(header[18..20], [1, 1]);
    build = sandbox.run_with(&nfs, &["build"]);
    assert_eq!(build.text, "hygge: nothing to do, 1 flow is fresh\n");
}

#[test]
fn an_index_of_the_version_before_is_taken_over() {
    let sandbox = built();
    let lines = "
import sqlite3, sys
index = sqlite3.connect(sys.argv[1])
for table in ['run', 'flow_run', 'past_set']:
    index.execute('DROP TABLE ' + table)
for table in ['memo', 'part', 'layout', 'receipt']:
    key = {'memo': 'folder', 'receipt': 'store'}.get(table, 'key')
    for name, record in index.execute(f'SELECT {key}, record FROM {table}').fetchall():
        # Without its seal and, of a part, without its folder.
        old = record[:-9] if table == 'part' else record[:-8]
        index.execute(f'UPDATE {table} SET record = ? WHERE {key} = ?', (old, name))
index.execute('ALTER TABLE store DROP COLUMN is_given_up')
index.execute('PRAGMA user_version = 3')
index.commit()
print(index.execute('SELECT count(*) FROM part').fetchone()[0])
";
    let index = sandbox.path(".hygge-cache/index.db");
    let old = crate::common::peers::run(lines, &[index.as_os_str()]);
    assert_success(&old);
    assert_eq!(String::from_utf8_lossy(&old.stdout).trim(), "3");
    assert_eq!(sandbox.run(&["build"]).text, FRESH);
    fs::remove_file(sandbox.path(".hygge-cache/staging/parts.log")).expect("a ledger");
    fs::remove_dir_all(sandbox.path("store")).expect("a store");
    fs::remove_file(sandbox.path(".hygge/store.json")).expect("a receipt");
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_made"],
        0,
        "its parts are known: {}",
        ran.text
    );
}

/// An index as the version before wrote it, as far as that matters: the records of its receipts are
/// others.
fn make_version_6(sandbox: &Sandbox) {
    let lines = "
import sqlite3, sys
index = sqlite3.connect(sys.argv[1])
index.execute('UPDATE receipt SET record = record || record')
index.execute('PRAGMA user_version = 6')
index.commit()
";
    let index = sandbox.path(".hygge-cache/index.db");
    assert_success(&crate::common::peers::run(lines, &[index.as_os_str()]));
}

#[test]
fn an_index_of_version_6_knows_its_receipts_again_also_those_that_no_flow_has() {
    let database = Database::new(Kind::Sqlite);
    let stays = "  c: {home: home, store: {connection: shop, table: c}}\n";
    let flows = format!(
        "  a: {{home: home, store: {{connection: shop, table: t}}}}\n  \
         b: {{home: home, store: out/b}}\n{stays}"
    );
    let sandbox = database.project(&flows);
    files::ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write(
        "hygge.yml",
        database.config(&format!("{stays}  d: {{home: home, store: out/d}}\n")),
    );
    make_version_6(&sandbox);
    // Its parts are those of stores that no flow has: nothing is made.
    let ran = sandbox.build(&["d"]);
    assert_eq!(ran.event("flow_finished")["parts_made"], 0, "{}", ran.text);
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("2 flows are fresh"), "{}", ran.text);
    assert!(
        sandbox.run(&["log", "c"]).text.contains("run 1"),
        "its history stays"
    );
    let ran = sandbox.run(&["clean", "--orphans"]);
    assert!(
        ran.text.contains("table t of shop") && !ran.text.contains("no connection"),
        "{}",
        ran.text
    );
    let ran = sandbox.run(&["clean", "--orphans", "--yes=2"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert!(!database.try_run("SELECT 1 FROM t"), "{}", ran.text);
}

#[test]
fn an_index_of_a_killed_build_that_was_cut_off_anywhere_is_begun_anew() {
    let sandbox = Sandbox::new(CONFIG);
    for number in 0..40 {
        files::ints_and_texts(
            &sandbox,
            &format!("home/{number}.parquet"),
            number * 100..number * 100 + 2000,
        );
    }
    assert_eq!(sandbox.build(&[]).code, 0);
    for number in 0..40 {
        files::ints_and_texts(
            &sandbox,
            &format!("home/{number}.parquet"),
            number * 100..number * 100 + 2100,
        );
    }
    let mut build = sandbox.start(&["-j", "1"]);
    for _ in 0..20 {
        build.wait_for("part_made");
    }
    build.signal("KILL");
    build.end();
    let saved = sandbox.save();
    let pages = fs::metadata(sandbox.path(".hygge-cache/index.db"))
        .expect("an index")
        .len()
        / 4096;
    assert!(pages > 4, "{pages} pages");
    let mut begun_anew = 0;
    for page in 0..pages {
        for log in [true, false] {
            sandbox.reset(&saved);
            let index = fs::OpenOptions::new()
                .write(true)
                .open(sandbox.path(".hygge-cache/index.db"))
                .expect("an index");
            index.set_len(page * 4096).expect("a cut");
            if !log {
                drop(fs::remove_file(sandbox.path(".hygge-cache/index.db-wal")));
            }
            let ran = sandbox.build(&[]);
            assert_eq!(
                ran.code, 0,
                "{page} of {pages} pages are left, log {log}: {}",
                ran.text
            );
            begun_anew += usize::from(
                ran.events
                    .iter()
                    .any(|event| event["event"] == "index_anew"),
            );
            assert!(
                sandbox.run(&["build"]).text.ends_with(FRESH),
                "{page} pages, log {log}"
            );
        }
    }
    assert!(begun_anew > 2, "begun anew {begun_anew} times");
}

/// What may have become of the tables of an index that SQLite finds sound.
const OTHERS: &[&str] = &[
    "PRAGMA user_version = 0",
    "DROP TABLE store",
    "DROP TABLE part",
    "DROP TABLE run",
    "ALTER TABLE store RENAME COLUMN witness TO other",
    "ALTER TABLE flow_run DROP COLUMN record",
    "DROP TABLE run; CREATE TABLE run (id TEXT, project BLOB, began BLOB, ended BLOB); \
     INSERT INTO run VALUES ('x', 'y', 'z', x'ff')",
    "DROP TABLE layout; CREATE VIEW layout AS SELECT 1",
    "CREATE TRIGGER other AFTER INSERT ON run BEGIN DELETE FROM past_set; END",
    "CREATE TABLE other (x)",
    "DROP TABLE part; CREATE TABLE part (key INTEGER PRIMARY KEY, record INTEGER CHECK (record > \
     7))",
    "PRAGMA writable_schema = 1; UPDATE sqlite_master \
     SET sql = replace(sql, 'TEXT NOT NULL', 'x\u{00ff}y NOT NULL') WHERE name = 'run'",
];

#[test]
fn an_index_with_other_tables_is_begun_anew() {
    let sandbox = built();
    let (saved, first) = (sandbox.save(), sandbox.digests("store"));
    let lines = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                 base.executescript(sys.argv[2])";
    for change in OTHERS {
        for command in ["build", "log", "why"] {
            sandbox.reset(&saved);
            let index = sandbox.path(".hygge-cache/index.db");
            let changed = crate::common::peers::run(lines, &[index.as_os_str(), change.as_ref()]);
            assert!(
                changed.status.success(),
                "{change}: {}",
                String::from_utf8_lossy(&changed.stderr)
            );
            let ran = sandbox.run(if command == "why" {
                &["why", "ids"]
            } else {
                std::slice::from_ref(&command)
            });
            assert_eq!(ran.code, 0, "{change}, {command}: {}", ran.text);
            assert!(
                command != "build" || ran.text.contains("index.db.damaged"),
                "{change}: it is said: {}",
                ran.text
            );
            assert!(
                sandbox.path(".hygge-cache/index.db.damaged").is_file(),
                "{change}, {command}: it is set aside"
            );
            files::ints_and_texts(&sandbox, "home/20.parquet", 0..25);
            assert_eq!(sandbox.build(&[]).code, 0, "{change}, {command}");
            files::ints_and_texts(&sandbox, "home/20.parquet", 0..20);
            assert_eq!(sandbox.build(&[]).code, 0, "{change}, {command}");
            assert_eq!(sandbox.digests("store"), first, "{change}, {command}");
            assert_eq!(
                sandbox.run(&["log"]).text.matches("run ").count(),
                2,
                "{change}, {command}: the history begins anew"
            );
        }
    }
}

#[test]
fn a_cache_whose_mark_is_another_is_nobodys_to_empty() {
    let sandbox = built();
    let (saved, tag) = (sandbox.save(), ".hygge-cache/CACHEDIR.TAG");
    let ours = fs::read(sandbox.path(tag)).expect("a tag");
    let cargos = b"Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This file is a cache directory tag created by cargo.\n"
        .to_vec();
    let same_size: Vec<u8> = cargos.iter().copied().cycle().take(ours.len()).collect();
    for (other, has_index) in [
        (Vec::new(), true),
        (cargos, true),
        (same_size.clone(), true),
        (same_size, false),
    ] {
        sandbox.reset(&saved);
        fs::write(sandbox.path(tag), &other).expect("a write");
        if !has_index {
            fs::remove_file(sandbox.path(".hygge-cache/index.db")).expect("an index");
        }
        for command in [&["clean"][..], &["cache", "gc", "--max-age", "0"]] {
            let ran = sandbox.run(command);
            assert!(
                ran.code == 3 && ran.text.contains("without hygge's own CACHEDIR.TAG"),
                "{command:?}: {}",
                ran.text
            );
        }
        assert!(sandbox.path(".hygge-cache/staging/parts.log").is_file());
        assert!(
            fs::read_dir(sandbox.path(".hygge-cache/staging"))
                .expect("staging")
                .count()
                > 2,
            "nothing is removed"
        );
        // What the hint says helps.
        fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        assert!(sandbox.run(&["build"]).text.ends_with(FRESH));
    }
}

/// What somebody else keeps in a folder, by a name that hygge has a use for too.
#[test]
fn a_folder_with_such_names_of_others_becomes_no_cache_and_nothing_becomes_of_them() {
    let ours = fs::read(built().path(".hygge-cache/CACHEDIR.TAG")).expect("a tag");
    let cargos = b"Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This file is a cache directory tag created by cargo.\n";
    let same_size: Vec<u8> = cargos.iter().copied().cycle().take(ours.len()).collect();
    for names in [
        &[("CACHEDIR.TAG", &same_size[..]), ("index.db", b"theirs")][..],
        &[("CACHEDIR.TAG", &same_size[..]), ("index.db", b"")],
        &[("lock", b"theirs")],
        &[("index.lock", b"theirs")],
        &[("CACHEDIR.TAG.tmp", b"theirs")],
        &[("CACHEDIR.TAG.tmp", &same_size[..])],
    ] {
        for command in [
            &["build"][..],
            &["log"],
            &["build", "--check"],
            &["clean"],
            &["cache", "gc"],
        ] {
            let sandbox = Sandbox::new(CONFIG);
            files::ints(&sandbox, "home/a.parquet", 0..10);
            names
                .iter()
                .for_each(|(name, bytes)| sandbox.write(&format!(".hygge-cache/{name}"), bytes));
            let before = record_files(&sandbox.path(".hygge-cache"));
            let ran = sandbox.run(command);
            assert_eq!(
                differences(&before, &sandbox.path(".hygge-cache")),
                [""; 0],
                "{names:?}, {command:?}: {}",
                ran.text
            );
            assert!(
                ran.code == 3 && ran.text.contains("without hygge's own CACHEDIR.TAG"),
                "{names:?}, {command:?}: {}",
                ran.text
            );
        }
    }
    // What a process leaves that died while it made one.
    let sandbox = Sandbox::new(CONFIG);
    files::ints(&sandbox, "home/a.parquet", 0..10);
    for (name, bytes) in [
        ("CACHEDIR.TAG.tmp", &ours[..20]),
        ("index.lock", b""),
        (".gitignore.tmp", b"*"),
    ] {
        sandbox.write(&format!(".hygge-cache/{name}"), bytes);
    }
    assert_eq!(sandbox.run(&["build"]).code, 0);
}

#[test]
fn what_has_the_name_of_an_index_that_was_set_aside_is_no_obstacle() {
    let sandbox = built();
    for number in [2, 3] {
        sandbox.write(".hygge-cache/index.db.damaged/theirs", "theirs");
        fs::write(sandbox.path(".hygge-cache/index.db"), "no index").expect("a write");
        drop(fs::remove_file(sandbox.path(".hygge-cache/index.db-wal")));
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 0 && ran.text.contains(&format!("index.db.damaged.{number}")),
            "{}",
            ran.text
        );
    }
    assert_eq!(
        fs::read(sandbox.path(".hygge-cache/index.db.damaged/theirs")).expect("a file"),
        b"theirs"
    );
    assert_eq!(sandbox.run(&["build"]).text, FRESH);
    assert_eq!(sandbox.run(&["clean"]).code, 0);
    assert!(!sandbox.path(".hygge-cache/index.db.damaged.2").exists());
}

#[test]
fn the_lock_of_what_takes_a_moment_is_not_waited_for_without_end() {
    let sandbox = built();
    files::ints_and_texts(&sandbox, "home/20.parquet", 0..25);
    let held = Held::alone(&sandbox.path(".hygge-cache/index.lock"));
    let mut command = std::process::Command::new("timeout");
    command
        .args(["60", env!("CARGO_BIN_EXE_hygge"), "build", "--no-wait"])
        .current_dir(sandbox.path(""))
        .env_clear();
    let output = command.output().expect("timeout runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(4) && text.contains("index.lock is locked by"),
        "{text}"
    );
    // Whoever waits says so, and ends when asked to.
    let mut build = sandbox.start(&[]);
    build.wait_for("cache_waiting");
    build.signal("INT");
    let ran = build.end();
    assert_eq!(ran.code, 130, "{}", ran.text);
    drop(held);
    assert_eq!(sandbox.run(&["build"]).code, 0);
}

#[test]
fn an_index_whose_runs_have_numbers_that_none_has_is_begun_anew() {
    for statement in [
        "UPDATE run SET id = 9223372036854775807 WHERE id = 1",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    ] {
        let sandbox = built();
        let lines = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], \
                     isolation_level=None)\nbase.execute(sys.argv[2])";
        let changed = crate::common::peers::run(
            lines,
            &[
                sandbox.path(".hygge-cache/index.db").as_os_str(),
                statement.as_ref(),
            ],
        );
        assert_success(&changed);
        files::ints_and_texts(&sandbox, "home/20.parquet", 0..25);
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 0 && ran.text.contains("index.db.damaged"),
            "{statement}: {}",
            ran.text
        );
        assert_eq!(sandbox.run(&["build"]).text, FRESH);
    }
}

/// A number as postcard writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a number");
        *bytes = rest;
        number |= u64::from(first & 127) << shift;
        if first & 128 == 0 {
            break;
        }
    }
    number
}

/// What a layout may say of its groups that nothing adds up to; sealed as the index seals it.
fn forged(
    record: &[u8],
    change: impl Fn(u64, Vec<(u64, u64)>) -> (u64, Vec<(u64, u64)>),
) -> Vec<u8> {
    let mut rest = &record[..record.len() - 8];
    // One byte says that the rows are known.
    assert_eq!(read_varint(&mut rest), 1);
    let rows = read_varint(&mut rest);
    let count = read_varint(&mut rest);
    let groups = (0..count)
        .map(|_| (read_varint(&mut rest), read_varint(&mut rest)))
        .collect();
    let (rows, groups) = change(rows, groups);
    let mut forged = [varint(1), varint(rows), varint(groups.len() as u64)].concat();
    groups
        .iter()
        .for_each(|(rows, bytes)| forged.extend([varint(*rows), varint(*bytes)].concat()));
    forged.extend(rest);
    let seal = blake3::hash(&forged);
    forged.extend(&seal.as_bytes()[..8]);
    forged
}

type Groups = Vec<(u64, u64)>;

/// What becomes of a layout's rows and groups.
type Change = fn(u64, Groups) -> (u64, Groups);

#[test]
fn a_layout_whose_groups_do_not_add_up_is_read_again() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, rows_per_file: 10}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..100);
    assert_eq!(sandbox.build(&[]).code, 0);
    let (saved, first) = (sandbox.save(), sandbox.digests("store"));
    let changes: [Change; 5] = [
        |rows, groups| {
            (
                rows,
                groups
                    .iter()
                    .cycle()
                    .take(3)
                    .map(|group| (1 << 63, group.1))
                    .collect(),
            )
        },
        |rows, groups| {
            (
                rows,
                groups.iter().map(|group| (1 << 60, group.1)).collect(),
            )
        },
        |_, groups| {
            (
                1,
                groups
                    .iter()
                    .map(|group| (1, group.1))
                    .chain([(7, 1)])
                    .collect(),
            )
        },
        |_, groups| (u64::MAX, groups),
        |rows, groups| {
            (
                rows,
                groups.iter().map(|group| (group.0, u64::MAX)).collect(),
            )
        },
    ];
    let lines = "
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
if len(sys.argv) == 2:
    print(base.execute('SELECT hex(record) FROM layout').fetchone()[0])
else:
    base.execute('UPDATE layout SET record = ?', (bytes.fromhex(sys.argv[2]),))
    base.execute('DELETE FROM part')
    base.commit()
";
    for (number, change) in changes.into_iter().enumerate() {
        sandbox.reset(&saved);
        let index = sandbox.path(".hygge-cache/index.db");
        let record = crate::common::peers::run(lines, &[index.as_os_str()]);
        let record = String::from_utf8(record.stdout).expect("a record");
        let digits = record
            .trim()
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).expect("digits"));
        let record: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(pair, 16).expect("a byte"))
            .collect();
        let record: String = forged(&record, change)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let changed = crate::common::peers::run(lines, &[index.as_os_str(), record.as_ref()]);
        assert_success(&changed);
        fs::remove_file(sandbox.path(".hygge-cache/staging/parts.log")).expect("a ledger");
        let (code, text) = sandbox.run_bounded(4_000_000, 60, &["build", "--force"]);
        assert_eq!(
            (code, sandbox.digests("store")),
            (Some(0), first.clone()),
            "change {number}: {text}"
        );
    }
}
