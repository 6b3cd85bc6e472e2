//! Planning asks again only what a change touches, and trusts a stat only when it may.

use std::collections::BTreeMap;
use std::sync::Arc;

use hygge::config::loader;
use hygge::fingerprint::Fingerprint;
use hygge::fingerprint::key::{Components, KeyKind};
use hygge::fingerprint::stat::{FolderMemo, MemoEntry, UnixNanos};
use hygge::flow::FlowName;
use hygge::fs::Stat;
use hygge::plan::project::Project;

use crate::common::sandbox::Sandbox;

fn inputs(name: &str) -> Arc<BTreeMap<String, Fingerprint>> {
    Arc::new(BTreeMap::from([(
        name.to_string(),
        Fingerprint::hash_bytes(name.as_bytes()),
    )]))
}

fn executed(project: &Project) -> BTreeMap<String, usize> {
    project.take_query_counts()
}

#[test]
fn queries_run_only_for_what_changed() {
    let sandbox =
        Sandbox::new("flows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b}\n");
    let found = loader::load(
        Some(&sandbox.path("hygge.yml")),
        &sandbox.path(""),
        &BTreeMap::new(),
    )
    .expect("a config");
    let mut project = Project::new(Arc::new(found)).expect("a project");
    let once = ["flows", "graph", "resolved"].map(|query| (query.to_string(), 1));
    assert_eq!(executed(&project), BTreeMap::from(once));
    let (a, b) = (FlowName::from("a"), FlowName::from("b"));
    let first = project.flow_key(&a, inputs("x")).expect("a key");
    let counts = ["flow", "flow_key", "recipe"].map(|query| (query.to_string(), 1));
    assert_eq!(executed(&project), BTreeMap::from(counts.clone()));
    assert_eq!(project.flow_key(&a, inputs("x")), Some(first.clone()));
    assert_eq!(executed(&project), BTreeMap::new(), "nothing changed");
    assert_ne!(project.flow_key(&a, inputs("y")), Some(first.clone()));
    assert_eq!(
        executed(&project),
        BTreeMap::from([("flow_key".to_string(), 1)]),
        "other inputs, the same recipe"
    );
    assert_eq!(
        project.flow_key(&b, inputs("x")).expect("a key").key,
        first.key,
        "no name and no path is in a key"
    );
    assert_eq!(executed(&project), BTreeMap::from(counts));
}

#[test]
fn a_file_is_trusted_only_when_it_was_two_seconds_old() {
    const SECOND: i64 = 1_000_000_000;
    let stat = |mtime_ns, ctime_ns| Stat {
        size: 1,
        mtime_ns,
        ctime_ns,
        inode: 1,
    };
    let digest = Fingerprint::hash_bytes(b"1");
    for (stat, is_trusted) in [
        (stat(8 * SECOND, 8 * SECOND), true),
        (stat(8 * SECOND + 1, 8 * SECOND), false),
        (stat(8 * SECOND, 8 * SECOND + 1), false),
        (stat(20 * SECOND, 8 * SECOND), false),
    ] {
        let mut memo = FolderMemo::default();
        memo.insert(
            "f".into(),
            MemoEntry::new(stat, digest, UnixNanos::from_nanos(10 * SECOND)),
        );
        assert_eq!(
            memo.digest("f", &stat),
            is_trusted.then_some(digest),
            "{stat:?}"
        );
        for other in [
            Stat { size: 2, ..stat },
            Stat {
                mtime_ns: 1,
                ..stat
            },
            Stat {
                ctime_ns: 1,
                ..stat
            },
            Stat { inode: 2, ..stat },
        ] {
            assert_eq!(
                memo.digest("f", &other),
                None,
                "any difference means hash again"
            );
        }
    }
}

/// Whoever changes one of these gives every store of every user a new key: the version in the
/// key's context goes up with it.
#[test]
fn keys_are_what_they_were() {
    let mut components = Components::default();
    components.set("store.compression", "zstd");
    components
        .inputs
        .insert("a.parquet".into(), Fingerprint::hash_bytes(b"a"));
    let keys = [
        KeyKind::Flow,
        KeyKind::Part,
        KeyKind::Output,
        KeyKind::Schema,
    ]
    .map(|kind| components.key(kind).to_string());
    insta::assert_snapshot!("keys", keys.join("\n"));
}
