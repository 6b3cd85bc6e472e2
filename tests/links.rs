//! Links where hygge keeps its own files: none of them is opened, and the cache and the stores may
//! lie behind others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::files;
use crate::common::outside::{differences, record_files};
use crate::common::sandbox::Sandbox;

const CONFIG: &str = "
connections: {shop: {url: \"sqlite:shop.db\"}}
flows:
  ids: {home: home, store: {path: out/ids, compression: zstd}}
  place: {home: home, store: {path: out/place, compression: zstd, publish: in_place}}
  table: {home: home, store: {connection: shop, table: ids}}
";

/// Files of hygge's own.
const FILES: &[&str] = &[
    "out/.hygge/ids.json",
    "out/.hygge/ids.json.tmp",
    "out/.hygge/ids.lock",
    "out/.hygge/place.json",
    "out/.hygge/place.lock",
    ".hygge/tables/TABLE.lock",
    ".hygge-cache/lock",
    ".hygge-cache/index.lock",
    ".hygge-cache/index.db",
    ".hygge-cache/index.db-wal",
    ".hygge-cache/index.db-shm",
    ".hygge-cache/index.db-journal",
    ".hygge-cache/CACHEDIR.TAG",
    ".hygge-cache/staging/parts.log",
    ".hygge-cache/staging/parts.log.tmp",
    ".hygge-cache/staging/AB/DIGEST",
    ".hygge-cache/staging/tmp/run/lock",
];

/// Folders of hygge's own.
const FOLDERS: &[&str] = &[
    "out/.hygge",
    "out/.hygge/ids.next",
    "out/.hygge/ids.old",
    "out/.hygge/ids.latest",
    "out/.hygge/displaced",
    "out/.hygge/displaced/ids",
    "out/place/.hygge",
    "out/place/.hygge/next",
    "out/place/.hygge/latest",
    "out/place/.hygge/displaced",
    ".hygge",
    ".hygge/tables",
    ".hygge-cache/staging",
    ".hygge-cache/staging/tmp",
    ".hygge-cache/staging/tmp/run",
    ".hygge-cache/staging/AB",
    ".hygge-cache/damaged",
];

/// Those that a build meets: it names them. The others are replaced by what should be there, or are
/// looked for by other commands.
const REFUSED: &[&str] = &[
    "out/.hygge",
    "out/.hygge/ids.lock",
    "out/.hygge/ids.json",
    "out/.hygge/displaced",
    "out/place/.hygge",
    ".hygge",
    ".hygge-cache/lock",
    ".hygge-cache/index.db",
    ".hygge-cache/index.db-wal",
    ".hygge-cache/staging",
    ".hygge-cache/staging/parts.log",
];

const COMMANDS: &[&[&str]] = &[
    &["build"],
    &["build", "--force"],
    &["restore", "ids"],
    &["restore", "place"],
    &["log"],
    &["why", "ids"],
    &["cache", "verify"],
    &["cache", "gc", "--max-age", "0"],
    &["clean", "--stores", "ids", "place", "table", "--yes"],
    &["clean"],
];

/// A project that was built three times, and a folder beside it that is not its own.
fn project() -> Sandbox {
    let sandbox = Sandbox::new("");
    sandbox.write("project/hygge.yml", CONFIG);
    for rows in [10, 20, 30] {
        files::ints(&sandbox, "project/home/a.parquet", 0..rows);
        files::ints(&sandbox, &format!("project/home/{rows}.parquet"), 0..rows);
        let ran = sandbox.run(&["-f", "project/hygge.yml", "build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
    }
    // The next build has something to publish, to put aside and to make.
    files::ints(&sandbox, "project/home/40.parquet", 0..40);
    sandbox.write("project/out/ids/00000000000000000001.parquet", "altered");
    sandbox.write("project/out/place/00000000000000000001.parquet", "altered");
    let part =
        fs::read(sandbox.path("project/out/ids/00000000000000000002.parquet")).expect("a part");
    for name in [
        "file",
        "folder/00000000000000000001.parquet",
        "folder/deep/file",
        "folder/next/a.parquet",
        "folder/lock",
    ] {
        sandbox.write(&format!("outside/{name}"), &part);
    }
    sandbox.write(
        "outside/index.db",
        fs::read(sandbox.path("project/.hygge-cache/index.db")).expect("an index"),
    );
    sandbox
}

/// The place of hygge's own that a name of the lists stands for.
fn place(sandbox: &Sandbox, name: &str) -> String {
    let first = |folder: &str, fits: fn(&str) -> bool| {
        let names = fs::read_dir(sandbox.path(&format!("project/{folder}"))).expect("a folder");
        let mut names: Vec<_> = names
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
            .into_iter()
            .find(|name| fits(name))
            .unwrap_or_else(|| panic!("{folder} has no such name"))
    };
    let mut name = name.to_string();
    if name.contains("TABLE") {
        name = name.replace(
            "TABLE.lock",
            &first(".hygge/tables", |name| name.ends_with(".lock")),
        );
    }
    if name.contains("AB") {
        let folder = first(".hygge-cache/staging", |name| name.len() == 2);
        name = name
            .replace(
                "DIGEST",
                &first(&format!(".hygge-cache/staging/{folder}"), |name| {
                    name.len() == 64
                }),
            )
            .replace("AB", &folder);
    }
    format!("project/{name}")
}

/// Puts a link to something outside there, and whatever was there beside what the link leads to.
fn put_link(sandbox: &Sandbox, place: &str, to: &Path) {
    let path = sandbox.path(place);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    if path.is_dir() {
        fs::remove_dir_all(&path).expect("a folder");
    } else {
        drop(fs::remove_file(&path));
    }
    symlink(to, &path).expect("a link");
}

/// Gives how many commands named the link.
fn tried(sandbox: &Sandbox, name: &str, commands: &[&[&str]], variables: &[(&str, &str)]) -> usize {
    let place = place(sandbox, name);
    let target = match name {
        _ if FOLDERS.contains(&name) => "outside/folder",
        ".hygge-cache/index.db" => "outside/index.db",
        _ => "outside/file",
    };
    put_link(sandbox, &place, &sandbox.path(target));
    let before = record_files(&sandbox.path("outside"));
    let mut named = 0;
    for command in commands {
        let ran = sandbox.run_with(
            variables,
            &[&["-f", "project/hygge.yml"], *command].concat(),
        );
        assert!(
            [0, 1, 2, 3, 4].contains(&ran.code),
            "{name}, {command:?}: {}",
            ran.text
        );
        assert!(
            !ran.text.contains("panicked") && !ran.text.contains("a library gave up"),
            "{name}, {command:?}: {}",
            ran.text
        );
        assert_eq!(
            differences(&before, &sandbox.path("outside")),
            [""; 0],
            "{name}, {command:?}: {}",
            ran.text
        );
        // What the history says of an earlier command is no error of this one.
        if ran.code != 0 && ran.text.contains("it is a link") {
            assert!(
                ran.text.contains("hint: ")
                    && ran
                        .text
                        .contains(sandbox.path(&place).to_str().expect("a path")),
                "{}",
                ran.text
            );
            named += 1;
        }
    }
    named
}

#[test]
fn nothing_of_hygges_own_is_opened_through_a_link() {
    let sandbox = project();
    let saved = sandbox.save();
    let mut refused = Vec::new();
    for name in FILES.iter().chain(FOLDERS) {
        sandbox.reset(&saved);
        if tried(&sandbox, name, COMMANDS, &[]) > 0 {
            refused.push(*name);
        }
    }
    for name in REFUSED {
        assert!(
            refused.contains(name),
            "{name} is refused by its name; those that are: {refused:?}"
        );
        // The same where the kernel has no openat2.
        sandbox.reset(&saved);
        assert!(
            tried(&sandbox, name, &COMMANDS[..3], &[("HYGGE_NO_OPENAT2", "1")]) > 0,
            "{name} is refused by its name"
        );
    }
}

#[test]
fn the_cache_and_the_folders_of_stores_may_be_links() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: out/ids, compression: zstd}}\n");
    for (link, to) in [("out", "disk/out"), (".hygge-cache", "disk/cache")] {
        fs::create_dir_all(sandbox.path(to)).expect("a folder");
        symlink(sandbox.path(to), sandbox.path(link)).expect("a link");
    }
    let mut sets = Vec::new();
    for rows in [10, 20] {
        files::ints(&sandbox, "home/a.parquet", 0..rows);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        sets.push(sandbox.digests("out/ids"));
    }
    assert_eq!(
        sandbox.run(&["build"]).text,
        "hygge: nothing to do, 1 flow is fresh\n"
    );
    assert!(
        sandbox.path("disk/cache/CACHEDIR.TAG").is_file()
            && sandbox.path("disk/out/.hygge/ids.json").is_file()
    );
    // The history calls stores as before, wherever the cache is.
    let ran = sandbox.run(&["restore", "ids"]);
    assert_eq!(
        (ran.code, sandbox.digests("out/ids")),
        (0, sets.remove(0)),
        "{}",
        ran.text
    );
    // A store that is a link itself fills the folder that it leads to.
    symlink("../far", sandbox.path("out/link")).expect("a link");
    fs::create_dir(sandbox.path("disk/far")).expect("a folder");
    sandbox.write(
        "hygge.yml",
        "flows:\n  ids: {home: home, store: out/link}\n",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, sandbox.digests("disk/far").len()),
        (0, 1),
        "{}",
        ran.text
    );
}

#[test]
fn a_link_in_a_store_is_read_and_never_moved_on() {
    for how in ["", ", publish: in_place"] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  ids: {{home: home, store: {{path: store{how}}}}}\n"
        ));
        files::ints(&sandbox, "home/a.parquet", 0..10);
        assert_eq!(sandbox.build(&[]).code, 0);
        fs::rename(
            sandbox.path("store/00000000000000000001.parquet"),
            sandbox.path("moved.parquet"),
        )
        .expect("a rename");
        symlink(
            sandbox.path("moved.parquet"),
            sandbox.path("store/00000000000000000001.parquet"),
        )
        .expect("a link");
        files::ints(&sandbox, "home/b.parquet", 0..20);
        for _ in 0..2 {
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, 0, "{}", ran.text);
            assert_eq!(sandbox.digests("store").len(), 2, "{}", ran.text);
            files::ints(&sandbox, "home/b.parquet", 0..30);
        }
        let part = fs::symlink_metadata(sandbox.path("store/00000000000000000001.parquet"))
            .expect("a part");
        assert!(how.is_empty() || part.is_file() || part.is_symlink());
        assert_eq!(
            files::read(&sandbox, "moved.parquet").rows,
            10,
            "what the link leads to stays"
        );
        let staged = sandbox
            .find(".hygge-cache", "lock")
            .map(|_| sandbox.path(".hygge-cache/staging"));
        for folder in fs::read_dir(staged.expect("a cache")).expect("staging") {
            let folder = folder.expect("an entry").path();
            for part in fs::read_dir(&folder).into_iter().flatten() {
                assert!(
                    !part.expect("an entry").path().is_symlink(),
                    "no link comes into the cache"
                );
            }
        }
    }
}

#[test]
fn a_link_or_a_file_where_the_folder_before_was_becomes_no_store() {
    for how in ["", ", publish: in_place"] {
        for kind in ["link", "file"] {
            for name in ["old", "next"] {
                let sandbox = Sandbox::new(&format!(
                    "flows:\n  ids: {{home: home, store: {{path: store{how}}}}}\n"
                ));
                for rows in [10, 20] {
                    files::ints(&sandbox, "home/a.parquet", 0..rows);
                    assert_eq!(sandbox.build(&[]).code, 0);
                }
                // As a build leaves it that died between two renames.
                let receipt = sandbox.path(".hygge/store.json");
                let mut said: serde_json::Value =
                    serde_json::from_slice(&fs::read(&receipt).expect("a receipt")).expect("JSON");
                said["pending"] = said["published"].clone();
                if !how.is_empty() {
                    said["pending_in_place"] = true.into();
                }
                let part = said["published"]["manifest"]["parts"][0].clone();
                fs::rename(sandbox.path("store"), sandbox.path("away")).expect("a store");
                sandbox.write(".hygge/store.json", said.to_string());
                let place = match (how, name) {
                    ("", name) => format!(".hygge/store.{name}"),
                    (_, "old") => continue,
                    _ => format!(
                        "store/.hygge/next/{}",
                        part["name"].as_str().expect("a name")
                    ),
                };
                sandbox.write("outside/theirs", "theirs");
                sandbox.write(&format!("{place}.tmp"), "");
                let path = sandbox.path(&place);
                fs::remove_file(sandbox.path(&format!("{place}.tmp"))).expect("a file");
                drop(fs::remove_dir_all(&path));
                // A link has as many bytes as the name that it leads to.
                let target = match how {
                    "" => sandbox
                        .path("outside")
                        .to_str()
                        .expect("a path")
                        .to_string(),
                    _ => format!(
                        "{:0>width$}",
                        "outside",
                        width = part["bytes"].as_u64().expect("bytes") as usize
                    ),
                };
                match kind {
                    "link" => symlink(&target, &path).expect("a link"),
                    _ => sandbox.write(&place, "theirs"),
                }
                let before = record_files(&sandbox.path("outside"));
                let ran = sandbox.build(&[]);
                assert_eq!(
                    differences(&before, &sandbox.path("outside")),
                    [""; 0],
                    "{how}, {kind}, {name}: {}",
                    ran.text
                );
                assert!(
                    !sandbox.path("store").is_symlink() && !sandbox.path("store").is_file(),
                    "{how}, {kind}, {name}: {}",
                    ran.text
                );
                let parts = fs::read_dir(sandbox.path("store"))
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.expect("an entry").path());
                assert!(
                    parts.into_iter().all(|part| !part.is_symlink()),
                    "{how}, {kind}, {name}: {}",
                    ran.text
                );
                assert!(
                    ran.code == 0 || ran.error().contains(".hygge"),
                    "{how}, {kind}, {name}: {}",
                    ran.text
                );
            }
        }
    }
}
