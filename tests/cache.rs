//! The cache: it saves work, says the truth, and may be damaged or deleted at any time.

use std::fs;

use crate::common::files;
use crate::common::sandbox::{Sandbox, built};

const FRESH: &str = "hygge: nothing to do, 1 flow is fresh\n";

fn staged(sandbox: &Sandbox) -> usize {
    let folders = fs::read_dir(sandbox.path(".hygge-cache/staging"))
        .expect("staging")
        .map(|entry| entry.expect("an entry").path());
    folders
        .filter(|folder| folder.is_dir() && !folder.ends_with("tmp"))
        .map(|folder| fs::read_dir(folder).expect("a folder").count())
        .sum()
}

#[test]
fn a_damaged_index_is_set_aside_and_what_is_fresh_stays_fresh() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let index = sandbox.path(".hygge-cache/index.db");
    for damage in [
        &b"this is no database at all, but it is long enough to look like one to somebody"[..],
        b"",
    ] {
        fs::write(&index, damage).expect("a write");
        let ran = sandbox.run(&["build"]);
        assert!(ran.code == 0 && ran.text.ends_with(FRESH), "{}", ran.text);
        assert!(
            ran.text
                .contains("begun anew from 1 receipt; the old one is ")
                || damage.is_empty(),
            "{}",
            ran.text
        );
    }
    assert!(sandbox.path(".hygge-cache/index.db.damaged").exists());
}

#[test]
fn an_index_of_a_newer_hygge_is_refused() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let index = sandbox.path(".hygge-cache/index.db");
    let mut bytes = fs::read(&index).expect("an index");
    // SQLite keeps the user version in these four bytes: https://www.sqlite.org/fileformat.html
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&index, &bytes).expect("a write");
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 3, "{}", ran.text);
    assert!(
        ran.text.contains("version 99") && ran.text.contains("delete the cache"),
        "{}",
        ran.text
    );
    assert_eq!(
        fs::read(&index).expect("an index"),
        bytes,
        "it is left alone"
    );
}

#[test]
fn an_index_of_an_older_hygge_is_begun_anew() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let index = sandbox.path(".hygge-cache/index.db");
    let mut bytes = fs::read(&index).expect("an index");
    bytes[60..64].copy_from_slice(&1_u32.to_be_bytes());
    fs::write(&index, &bytes).expect("a write");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 0 && ran.text.contains("begun anew") && ran.text.ends_with(FRESH),
        "{}",
        ran.text
    );
}

#[test]
fn a_damaged_part_in_staging_is_noticed_and_made_again() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, compression: zstd}}\n");
    files::ints(&sandbox, "home/a.parquet", 0..1000);
    files::ints(&sandbox, "home/b.parquet", 0..10);
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    // What only the old set had goes to staging when the set after next is published.
    let bytes = fs::read(sandbox.path("home/a.parquet")).expect("an input");
    for values in [0..500, 0..600] {
        files::ints(&sandbox, "home/a.parquet", values);
        assert_eq!(sandbox.build(&[]).code, 0);
    }
    assert_eq!(staged(&sandbox), 1);
    for folder in fs::read_dir(sandbox.path(".hygge-cache/staging")).expect("staging") {
        let folder = folder.expect("an entry").path();
        for part in fs::read_dir(&folder).into_iter().flatten() {
            let part = part.expect("an entry").path();
            let mut bytes = fs::read(&part).expect("a part");
            bytes[10] ^= 1;
            fs::write(&part, bytes).expect("a write");
        }
    }
    sandbox.write("home/a.parquet", bytes);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(sandbox.digests("store"), before);
}

#[test]
fn what_was_published_before_comes_back_without_reading_the_home() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, compression: zstd}}\n");
    for values in [0..1000, 0..2000, 0..3000, 0..1000] {
        files::ints(&sandbox, "home/a.parquet", values.clone());
        let ran = sandbox.build(&[]);
        let again = values == (0..1000) && ran.outcome("ids") == "restored";
        assert!(again || ran.outcome("ids") == "built", "{}", ran.text);
    }
    assert_eq!(
        sandbox.build(&["--force"]).outcome("ids"),
        "built",
        "what is forced is made"
    );
}

#[test]
fn keep_decides_whether_staging_has_its_own_copy() {
    for (keep, copies) in [("always", 4), ("never", 0)] {
        let sandbox = Sandbox::numbers();
        let config = format!(
            "options: {{cache: {{keep: {keep}}}}}\nflows:\n  \
             numbers: {{home: home, store: store}}\n"
        );
        sandbox.write("hygge.yml", config);
        sandbox.build(&[]);
        assert_eq!(staged(&sandbox), copies, "{keep}");
        fs::remove_file(sandbox.path("store/00000000000000000002.parquet")).expect("an output");
        let expected = if copies > 0 { "restored" } else { "built" };
        assert_eq!(sandbox.build(&[]).outcome("numbers"), expected, "{keep}");
        assert_eq!(sandbox.digests("store").len(), 4);
    }
}

#[test]
fn a_project_that_was_moved_is_as_fresh_as_before() {
    let sandbox = Sandbox::new("");
    sandbox.write(
        "one/hygge.yml",
        "name: p\nflows:\n  numbers: {home: home, store: store}\n",
    );
    sandbox.sample("north", "one/home/north.parquet");
    assert_eq!(sandbox.build(&["-f", "one/hygge.yml"]).code, 0);
    fs::rename(sandbox.path("one"), sandbox.path("two")).expect("a rename");
    let ran = sandbox.run(&["build", "-f", "two/hygge.yml"]);
    assert_eq!((ran.code, ran.text.as_str()), (0, FRESH));
}

#[test]
fn inputs_that_have_aged_are_not_read_again() {
    // The samples of the repository are older than two seconds, what was just published is not.
    let home = concat!(env!("CARGO_MANIFEST_DIR"), "/data/home/numbers");
    let sandbox = Sandbox::new(&format!(
        "flows:\n  numbers: {{home: {home}, store: store}}\n"
    ));
    let first = sandbox.build(&[]);
    let published = first.event("flow_finished")["bytes"]
        .as_u64()
        .expect("a number");
    assert_eq!(
        first.event("build_finished")["bytes_hashed"].as_u64(),
        Some(published),
        "the inputs, which pass as they are"
    );
    let second = sandbox.build(&[]);
    assert_eq!(
        second.event("build_finished")["bytes_hashed"].as_u64(),
        Some(published),
        "the outputs, which are too young"
    );
    fs::remove_dir_all(sandbox.path("store")).expect("the store");
    let third = sandbox.build(&["--dry-run"]);
    assert_eq!(third.event("plan")["verdict"], "stale", "{}", third.text);
    let fourth = sandbox.build(&[]);
    assert_eq!(
        fourth.event("build_finished")["bytes_hashed"].as_u64(),
        Some(0),
        "neither inputs nor outputs"
    );
}

#[test]
fn a_dry_run_and_a_check_write_no_store() {
    let sandbox = Sandbox::numbers();
    assert_eq!(sandbox.build(&["--dry-run"]).code, 0);
    assert_eq!(sandbox.build(&["--check"]).code, 10);
    assert!(!sandbox.path("store").exists() && !sandbox.path(".hygge").exists());
}

#[test]
fn an_index_with_a_bad_page_is_set_aside() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let index = sandbox.path(".hygge-cache/index.db");
    let mut bytes = fs::read(&index).expect("an index");
    bytes[4096..].fill(0x5a);
    fs::write(&index, bytes).expect("a write");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 0 && ran.text.contains("begun anew") && ran.text.ends_with(FRESH),
        "{}",
        ran.text
    );
}

#[test]
fn who_only_looks_needs_no_right_to_write_the_index() {
    use std::os::unix::fs::chown;
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    for name in ["index.db", "index.lock"] {
        if chown(
            sandbox.path(&format!(".hygge-cache/{name}")),
            Some(65534),
            Some(65534),
        )
        .is_err()
        {
            return;
        }
        for arguments in [
            &["log"][..],
            &["why", "numbers"],
            &["build", "--dry-run"],
            &["cache", "stats"],
            &["graph"],
        ] {
            let ran = sandbox.run_obedient(arguments);
            assert_eq!(ran.code, 0, "{name}, {arguments:?}: {}", ran.text);
        }
    }
}
