//! Publishing: all or nothing, whatever happens, and nothing of anybody else's is lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use hygge::fs::{ExchangeMethod, exchange_by_renames, exchange_folders};
use serde_json::Value;

use crate::common::files;
use crate::common::sandbox::Sandbox;

/// A project after its second build, with copies of everything as it was after the first.
struct Twice {
    sandbox: Sandbox,
    first: Set,
    second: Set,
}

struct Set {
    files: BTreeMap<String, Vec<u8>>,
    receipt: Value,
}

impl Set {
    fn of(sandbox: &Sandbox) -> Self {
        let names = sandbox
            .digests("store")
            .into_keys()
            .filter(|name| !name.starts_with('_'));
        let files = names
            .map(|name| {
                (
                    name.clone(),
                    fs::read(sandbox.path("store").join(name)).expect("a part"),
                )
            })
            .collect();
        Self {
            files,
            receipt: serde_json::from_slice(
                &fs::read(sandbox.path(".hygge/store.json")).expect("a receipt"),
            )
            .expect("JSON"),
        }
    }

    fn put(&self, sandbox: &Sandbox, folder: &str) {
        fs::create_dir_all(sandbox.path(folder)).expect("a folder");
        for (name, bytes) in &self.files {
            sandbox.write(&format!("{folder}/{name}"), bytes);
        }
    }
}

impl Twice {
    fn new() -> Self {
        let sandbox = Sandbox::numbers();
        sandbox.build(&[]);
        let first = Set::of(&sandbox);
        fs::remove_file(sandbox.path("home/east.parquet")).expect("an input");
        sandbox.sample("west", "home/north.parquet");
        assert_eq!(sandbox.build(&[]).code, 0);
        let second = Set::of(&sandbox);
        assert_ne!(first.files, second.files);
        Self {
            sandbox,
            first,
            second,
        }
    }

    /// The moment between writing the intent and writing that it was done, with nothing in place.
    fn dies(&self) {
        for folder in ["store", ".hygge/store.next", ".hygge/store.old"] {
            drop(fs::remove_dir_all(self.sandbox.path(folder)));
        }
        let mut receipt = self.second.receipt.clone();
        receipt["pending"] = receipt["published"].take();
        receipt["published"] = self.first.receipt["published"].clone();
        receipt["previous"] = Value::Null;
        self.sandbox.write(".hygge/store.json", receipt.to_string());
    }

    /// Builds, and finds the second set and no leftovers of its publication.
    fn mends(&self, case: &str) {
        let dry = self.sandbox.build(&["--dry-run"]);
        assert!(
            dry.event("plan")["reasons"]
                .to_string()
                .contains("interrupted"),
            "{case}: {}",
            dry.text
        );
        let ran = self.sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{case}: {}", ran.text);
        assert_eq!(Set::of(&self.sandbox).files, self.second.files, "{case}");
        assert!(!self.sandbox.path(".hygge/store.next").exists(), "{case}");
        assert_eq!(
            self.sandbox.run(&["build"]).text,
            "hygge: nothing to do, 1 flow is fresh\n",
            "{case}"
        );
    }
}

#[test]
fn a_publication_that_died_is_finished_or_undone() {
    let twice = Twice::new();
    let (sandbox, first, second) = (&twice.sandbox, &twice.first, &twice.second);

    twice.dies();
    first.put(sandbox, "store");
    second.put(sandbox, ".hygge/store.next");
    twice.mends("before the exchange");

    twice.dies();
    second.put(sandbox, "store");
    first.put(sandbox, ".hygge/store.next");
    twice.mends("exchanged, the old folder not yet in its place");

    twice.dies();
    second.put(sandbox, "store");
    first.put(sandbox, ".hygge/store.old");
    twice.mends("exchanged");

    twice.dies();
    second.put(sandbox, ".hygge/store.next");
    first.put(sandbox, ".hygge/store.old");
    twice.mends("between two renames");

    twice.dies();
    first.put(sandbox, "store");
    second.put(sandbox, ".hygge/store.next");
    fs::remove_file(
        sandbox
            .path(".hygge/store.next")
            .join(second.files.keys().next().expect("a part")),
    )
    .expect("a part");
    twice.mends("not all laid out");
}

#[test]
fn a_first_publication_that_died_leaves_no_claim() {
    let twice = Twice::new();
    twice.dies();
    let mut receipt = twice.second.receipt.clone();
    receipt["pending"] = receipt["published"].take();
    twice
        .sandbox
        .write(".hygge/store.json", receipt.to_string());
    twice.second.put(&twice.sandbox, ".hygge/store.next");
    twice.mends("nothing was there before");
}

#[test]
fn a_build_that_is_killed_at_any_moment_is_mended_by_the_next() {
    let undisturbed = Sandbox::numbers();
    undisturbed.sample("west", "home/more.parquet");
    undisturbed.build(&[]);
    let sandbox = Sandbox::numbers();
    for delay in 0..30 {
        sandbox.build(&[]);
        if sandbox.path("home/more.parquet").exists() {
            fs::remove_file(sandbox.path("home/more.parquet")).expect("an input");
        } else {
            sandbox.sample("west", "home/more.parquet");
        }
        let build = sandbox.start(&[]);
        // It dies at any moment, whatever it is at.
        std::thread::sleep(std::time::Duration::from_millis(delay));
        build.signal("KILL");
        build.end();
    }
    sandbox.sample("west", "home/more.parquet");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(sandbox.digests("store"), undisturbed.digests("store"));
}

/// All files of a folder that is open, by the handle and not by its path.
fn read_open(folder: &fs::File) -> BTreeMap<String, u64> {
    let through = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let mut rows = BTreeMap::new();
    for entry in fs::read_dir(&through).expect("the open folder") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let mut bytes = Vec::new();
        let mut file =
            fs::File::open(Path::new(&through).join(&name)).expect("a file that was listed");
        file.read_to_end(&mut bytes).expect("its bytes");
        rows.insert(name, bytes.len() as u64);
    }
    rows
}

#[test]
fn a_reader_that_opens_the_folder_once_sees_one_set() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let one = read_open(&fs::File::open(sandbox.path("store")).expect("a store"));
    sandbox.sample("west", "home/more.parquet");
    sandbox.build(&[]);
    let other = read_open(&fs::File::open(sandbox.path("store")).expect("a store"));
    assert_ne!(one, other);
    let (mut seen, mut round) = (Vec::new(), 0);
    while round < 12 {
        let build = sandbox.start(&["--force"]);
        for _ in 0..40 {
            let folder = fs::File::open(sandbox.path("store")).expect("there is always a store");
            seen.push(read_open(&folder));
        }
        assert_eq!(build.end().code, 0);
        round += 1;
        if round % 2 == 1 {
            fs::remove_file(sandbox.path("home/more.parquet")).expect("an input");
        } else {
            sandbox.sample("west", "home/more.parquet");
        }
    }
    assert!(seen.contains(&one) && seen.contains(&other));
    assert!(seen.iter().all(|set| *set == one || *set == other));
}

#[test]
fn folders_change_places_also_where_the_filesystem_knows_no_exchange() {
    for (exchange, how) in [
        (
            exchange_folders as fn(&Path, &Path, &Path) -> _,
            ExchangeMethod::Atomic,
        ),
        (exchange_by_renames, ExchangeMethod::TwoRenames),
    ] {
        let sandbox = Sandbox::new("");
        sandbox.write("next/new", "");
        sandbox.write("live/old", "");
        let (next, live, old) = (
            sandbox.path("next"),
            sandbox.path("live"),
            sandbox.path("old"),
        );
        assert_eq!(exchange(&next, &live, &old).expect("an exchange"), how);
        assert!(live.join("new").exists() && old.join("old").exists() && !next.exists());
    }
}

#[test]
fn a_store_that_is_a_mount_point_is_refused_before_any_work() {
    let sandbox = Sandbox::numbers();
    fs::create_dir(sandbox.path("store")).expect("a folder");
    let (code, text) =
        sandbox.with_mounts("mount -t tmpfs none store && exec \"$0\" build --format json");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is a mount point"), "{text}");
    assert!(!text.contains("part_made"), "{text}");
}

#[test]
fn a_build_that_would_empty_a_store_is_refused_until_it_is_accepted() {
    let sandbox = Sandbox::new("flows:\n  ids: {home: home, store: store}\n");
    files::ints(&sandbox, "home/a.parquet", 0..100);
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    files::ints(&sandbox, "home/a.parquet", 0..0);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error().contains("100 rows") && ran.error().contains("would have 0"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.digests("store"), before);
    assert_eq!(
        sandbox.build(&["--accept-shrink"]).event("flow_finished")["rows"],
        0
    );
}

#[test]
fn max_shrink_says_how_much_may_vanish() {
    for (allowed, code) in [("50%", 0), ("49%", 1), ("0%", 1)] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  ids: {{home: home, store: store, max_shrink: {allowed}}}\n"
        ));
        files::ints(&sandbox, "home/a.parquet", 0..100);
        sandbox.build(&[]);
        files::ints(&sandbox, "home/a.parquet", 0..50);
        assert_eq!(sandbox.build(&[]).code, code, "{allowed}");
    }
}

#[test]
fn a_home_without_rows_publishes_its_columns() {
    for store in [
        "store",
        "{path: store, compression: zstd}",
        "{path: store, rows_per_file: 10}",
    ] {
        let sandbox = Sandbox::new(&format!("flows:\n  ids: {{home: home, store: {store}}}\n"));
        files::ints(&sandbox, "home/a.parquet", 0..0);
        let ran = sandbox.build(&[]);
        assert_eq!(
            (ran.code, ran.event("flow_finished")["rows"].as_u64()),
            (0, Some(0)),
            "{store}: {}",
            ran.text
        );
        let found = files::read(&sandbox, "store/00000000000000000001.parquet");
        assert_eq!(
            (found.rows, found.columns[0].0.as_str()),
            (0, "id"),
            "{store}"
        );
    }
}

#[test]
fn a_store_that_no_flow_owns_any_more_is_named_and_left_alone() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b}\n",
    );
    sandbox.build(&[]);
    sandbox.write(
        "hygge.yml",
        "name: p\nflows:\n  a: {home: home, store: out/a}\n",
    );
    for _ in 0..2 {
        let ran = sandbox.build(&[]);
        assert_eq!(
            (ran.code, ran.event("orphan")["flow"].as_str()),
            (0, Some("b")),
            "{}",
            ran.text
        );
        assert_eq!(sandbox.digests("out/b").len(), 4);
        // The receipts say so too, without an index.
        fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    }
}

#[test]
fn what_others_put_into_a_store_survives_a_publication_that_died() {
    for (case, live_is_second) in [
        ("exchanged, old still called next", true),
        ("not exchanged", false),
    ] {
        let twice = Twice::new();
        let (sandbox, first, second) = (&twice.sandbox, &twice.first, &twice.second);
        twice.dies();
        let (live, next) = if live_is_second {
            (second, first)
        } else {
            (first, second)
        };
        live.put(sandbox, "store");
        next.put(sandbox, ".hygge/store.next");
        let before = if live_is_second {
            ".hygge/store.next"
        } else {
            "store"
        };
        sandbox.write(&format!("{before}/_notes/mine.txt"), "mine");
        sandbox.write(&format!("{before}/_mine.txt"), "mine");
        twice.mends(case);
        sandbox.sample("east", "home/east.parquet");
        assert_eq!(sandbox.build(&[]).code, 0, "{case}: and the build after it");
        for name in ["store/_notes/mine.txt", "store/_mine.txt"] {
            assert_eq!(
                fs::read(sandbox.path(name)).expect("my file"),
                b"mine",
                "{case}"
            );
        }
    }
}

#[test]
fn what_came_into_the_old_folder_at_the_last_moment_is_put_aside() {
    let twice = Twice::new();
    let sandbox = &twice.sandbox;
    // As if both had been written while the folders were exchanged.
    sandbox.write(".hygge/store.old/added.txt", "mine");
    let altered = fs::read_dir(sandbox.path(".hygge/store.old"))
        .expect("the folder before")
        .map(|entry| entry.expect("an entry").path());
    let altered = altered
        .filter(|path| path.extension().is_some_and(|ending| ending == "parquet"))
        .min()
        .expect("a part");
    fs::remove_file(&altered).expect("a part");
    fs::write(&altered, "mine too").expect("a write");
    sandbox.sample("east", "home/east.parquet");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let folder = ran.event("displaced")["folder"]
        .as_str()
        .expect("a folder")
        .to_string();
    assert_eq!(
        fs::read(format!("{folder}/added.txt")).expect("the added file"),
        b"mine"
    );
    assert_eq!(
        fs::read(Path::new(&folder).join(altered.file_name().expect("a name")))
            .expect("the altered file"),
        b"mine too"
    );
}

#[test]
fn an_unpublished_set_is_not_taken_for_published_because_the_old_one_has_its_files() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let first = Set::of(&sandbox);
    fs::remove_file(sandbox.path("home/west.parquet")).expect("the last input");
    sandbox.build(&[]);
    let second = Set::of(&sandbox);
    let twice = Twice {
        sandbox,
        first,
        second,
    };
    twice.dies();
    twice.first.put(&twice.sandbox, "store");
    twice.second.put(&twice.sandbox, ".hygge/store.next");
    twice.mends("the new set is part of the old one");
}

#[test]
fn a_store_that_is_a_link_to_nowhere_is_refused() {
    let sandbox = Sandbox::numbers();
    std::os::unix::fs::symlink("not/mounted", sandbox.path("store")).expect("a link");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.error().contains("leads nowhere"), "{}", ran.text);
    assert!(sandbox.path("store").is_symlink());
}

#[test]
fn a_hidden_link_follows_its_store() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    std::os::unix::fs::symlink("nobody@host.1", sandbox.path("store/.#notes")).expect("a link");
    for name in ["one", "two", "three"] {
        sandbox.sample("west", &format!("home/{name}.parquet"));
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert!(!ran.text.contains("displaced"), "{}", ran.text);
        assert!(sandbox.path("store/.#notes").is_symlink());
    }
}

#[test]
fn what_is_altered_again_and_again_is_kept_each_time() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    let mut kept = Vec::new();
    for text in ["one", "two", "three"] {
        sandbox.write("store/00000000000000000002.parquet", text);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let told: Vec<_> = ran
            .events
            .iter()
            .filter(|event| event["event"] == "displaced")
            .collect();
        assert_eq!(told.len(), 1, "{}", ran.text);
        let folder = told[0]["folder"].as_str().expect("a folder").to_string();
        kept.push(
            fs::read_to_string(format!("{folder}/00000000000000000002.parquet"))
                .expect("what was kept"),
        );
    }
    assert_eq!(kept, ["one", "two", "three"]);
    sandbox.sample("west", "home/more.parquet");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 0 && !ran.text.contains("displaced"),
        "nobody altered anything: {}",
        ran.text
    );
    assert!(before.iter().all(|(_, digest)| {
        sandbox
            .digests("store")
            .values()
            .any(|other| other == digest)
    }));
}

/// All visible files of a folder, listed and then opened by their paths; none where one was gone
/// meanwhile.
fn read_by_path(folder: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).ok()? {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        files.insert(name.clone(), fs::read(folder.join(name)).ok()?);
    }
    Some(files)
}

#[test]
fn who_lists_and_opens_by_path_never_finds_a_partial_file() {
    for (pattern, names_last) in [("", false), (", file_pattern: \"{digest}.parquet\"", true)] {
        let sandbox = Sandbox::numbers();
        sandbox.write(
            "hygge.yml",
            format!("flows:\n  numbers: {{home: home, store: {{path: store{pattern}}}}}\n"),
        );
        let mut known: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut legal = std::collections::BTreeSet::new();
        for name in ["north", "east", "south", "west"] {
            legal
                .insert(fs::read(sandbox.path(&format!("home/{name}.parquet"))).expect("an input"));
        }
        assert_eq!(sandbox.build(&[]).code, 0);
        let mut whole = 0;
        for round in 0..10 {
            // Names without a digest get other contents: every input moves up by one.
            if round % 2 == 0 {
                sandbox.sample("west", "home/a.parquet");
            } else {
                fs::remove_file(sandbox.path("home/a.parquet")).expect("an input");
            }
            let build = sandbox.start(&["--force"]);
            for _ in 0..30 {
                let Some(files) = read_by_path(&sandbox.path("store")) else {
                    continue;
                };
                whole += 1;
                for (name, bytes) in files {
                    assert!(
                        legal.contains(&bytes),
                        "{name} is not the whole of any part"
                    );
                    if names_last {
                        let before = known.entry(name.clone()).or_insert_with(|| bytes.clone());
                        assert_eq!(*before, bytes, "{name} changed its content");
                    }
                }
            }
            assert_eq!(build.end().code, 0);
        }
        assert!(whole > 50, "{whole}");
    }
}
