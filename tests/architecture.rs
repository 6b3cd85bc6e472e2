//! The plan of the house: the order of the modules, files that need each other, the rooms in which
//! kinds are named, and the one user of `std::fs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::common::tree;

/// A module uses only what stands in an earlier group or in its own.
const GROUPS: &[&[&str]] = &[
    &["error", "fs", "threads", "fingerprint"],
    &["config"],
    &["storage"],
    &["connection", "format", "home", "shape", "store"],
    &["flow", "graph"],
    &["cache"],
    &["plan", "publish"],
    &["execute"],
    &["report"],
    &["app"],
    &["cli"],
];

/// Words that name one kind of homes, stores, formats or databases, and the modules in which they
/// may stand, or in those around them, which register them.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "Parquet",
        &["format::parquet", "flow::factory", "store::sql"],
    ),
    ("Ipc", &["format::ipc", "flow::factory"]),
    ("LocalStorage", &["storage::local"]),
    ("FilesHome", &["home::files", "flow::factory"]),
    ("FilesStore", &["store::files", "flow::factory"]),
    ("SqlHome", &["home::sql", "flow::factory", "store::sql"]),
    ("SqlStore", &["store::sql", "flow::factory"]),
    (
        "Postgres",
        &[
            "connection",
            "home::sql::postgres",
            "store::sql::postgres",
            "store::sql::catalog::postgres",
        ],
    ),
    (
        "MySql",
        &[
            "connection",
            "home::sql::mysql",
            "store::sql::mysql",
            "store::sql::catalog::mysql",
        ],
    ),
    (
        "Sqlite",
        &[
            "connection",
            "home::sql::sqlite",
            "store::sql::sqlite",
            "store::sql::catalog::sqlite",
            "cache::index",
        ],
    ),
];

/// The modules of the library by their paths, with their texts without tests and comments.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for file in tree::files(&root)
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
    {
        let relative = file
            .strip_prefix(&root)
            .expect("below src")
            .with_extension("");
        let name = relative
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("::");
        let text = fs::read_to_string(file).expect("a source");
        let text = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_string();
        modules.insert(name, text.lines().map(code).collect::<Vec<_>>().join("\n"));
    }
    assert!(modules.len() > 200);
    modules
}

/// The paths that a tree of `use` has: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(start) = tree.find('{') else {
        return vec![
            tree.split(" as ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_string(),
        ];
    };
    let inner = tree[start + 1..]
        .trim_end()
        .strip_suffix('}')
        .unwrap_or_else(|| panic!("{tree}"));
    let (mut depth, mut last, mut pieces) = (0, 0, Vec::new());
    for (place, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(&inner[last..place]);
                last = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&inner[last..]);
    let above = &tree[..start];
    pieces
        .into_iter()
        .filter(|piece| !piece.trim().is_empty())
        .flat_map(|piece| paths(&format!("{above}{}", piece.trim())))
        .collect()
}

/// The paths below `crate` that a module uses.
fn used(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tree in ["\nuse ", "\npub use ", "\npub(crate) use "]
        .into_iter()
        .flat_map(|word| text.split(word).skip(1))
    {
        found.extend(paths(tree.split(';').next().unwrap_or_default()));
    }
    for root in ["crate::", "super::"] {
        let starts = text.match_indices(root).map(|(place, _)| &text[place..]);
        found.extend(starts.map(|rest| {
            rest.chars()
                .take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | ':'))
                .collect()
        }));
    }
    let own: Vec<&str> = name.split("::").collect();
    let below = |path: String| {
        let mut pieces: Vec<&str> = path.split("::").map(str::trim).collect();
        let mut above = own.clone();
        match *pieces.first()? {
            "crate" => above.clear(),
            "self" => {}
            "super" => {
                while pieces.first() == Some(&"super") {
                    pieces.remove(0);
                    above.pop();
                }
                pieces.insert(0, "");
            }
            // A module of one's own, or another crate.
            _ => pieces.insert(0, ""),
        }
        above.extend(&pieces[1..]);
        Some(above.join("::"))
    };
    found.into_iter().filter_map(below).collect()
}

/// The modules that each module uses, but for those that lie in it, and those in which it lies.
fn edges(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let module_of = |path: &str| {
        let mut path = path;
        loop {
            if let Some((name, _)) = modules.get_key_value(path) {
                return Some(name.as_str());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let is_in = |inner: &str, outer: &str| {
        inner == outer
            || inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with("::"))
    };
    let of = |(name, text): (&'_ String, &'_ String)| {
        let targets = used(name, text)
            .into_iter()
            .filter_map(|path| module_of(&path));
        targets
            .filter(|target| !is_in(name, target) && !is_in(target, name))
            .collect::<BTreeSet<&str>>()
    };
    modules
        .iter()
        .map(|(name, text)| (name.as_str(), of((name, text))))
        .collect()
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let modules = modules();
    let group = |path: &str| {
        GROUPS
            .iter()
            .position(|group| group.contains(&path.split("::").next().unwrap_or_default()))
    };
    let mut checked = 0;
    for (name, text) in &modules {
        let Some(own) = group(name) else { continue };
        for path in used(name, text) {
            let Some(other) = group(&path) else { continue };
            assert!(other <= own, "{name} uses {path}, which stands behind it");
            checked += 1;
        }
        assert!(
            name.starts_with("fs") || !text.contains("std::fs"),
            "{name} uses std::fs"
        );
    }
    assert!(checked > 1000, "{checked}");
    assert_eq!(
        paths("crate::{a::{b, c as d}, e}"),
        ["crate::a::b", "crate::a::c", "crate::e"]
    );
}

/// Two files that need each other are one file in two places. A module and what lies in it do not
/// count.
#[test]
fn no_files_need_each_other() {
    let modules = modules();
    let edges = edges(&modules);
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_string()]);
        while let Some(name) = next.pop() {
            for target in edges.get(name.as_str()).into_iter().flatten() {
                if seen.insert(*target) {
                    next.push(target.to_string());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|name| (*name, reach(name))).collect();
    for (name, others) in &reached {
        let circle: Vec<&&str> = others
            .iter()
            .filter(|other| *other != name && reached[*other].contains(name))
            .collect();
        assert!(
            circle.is_empty(),
            "{name} and these files need each other: {circle:?}"
        );
    }
    // The test sees what a file needs.
    assert!(reached["execute::part_task"].contains("plan::work") && edges["cli"].contains("error"));
}

#[test]
fn kinds_are_named_in_their_rooms() {
    let mut unseen: BTreeSet<&str> = ROOMS.iter().map(|(word, _)| *word).collect();
    for (name, text) in &modules() {
        let words: BTreeSet<&str> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .collect();
        for (word, rooms) in ROOMS {
            let is_room = rooms
                .iter()
                .any(|room| name.starts_with(room) || room.starts_with(&format!("{name}::")));
            assert!(!words.contains(word) || is_room, "{name} names {word}");
        }
        unseen.retain(|word| !words.contains(word));
    }
    assert!(unseen.is_empty(), "nothing is called {unseen:?} any more");
}
