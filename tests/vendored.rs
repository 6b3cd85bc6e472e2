//! What is vendored is the release with its patch, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::assert_success;

/// The files below a folder, but for the licences, as `sha256sum` names and digests them.
fn sums(folder: &Path) -> BTreeMap<String, String> {
    let script = "find . -type f ! -name 'LICENSE-*' ! -name '.cargo*' ! -name 'Cargo.lock' ! \
                  -name 'Cargo.toml.orig' | xargs sha256sum";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .expect("sh runs");
    assert_success(&output);
    listed(&String::from_utf8(output.stdout).expect("names"))
}

fn listed(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        line.split_once("  ")
            .map(|(digest, name)| (name.to_string(), digest.to_string()))
            .expect("a digest and a name")
    };
    text.lines().map(line).collect()
}

/// The patch of each file, with its name.
fn files(patch: &str) -> Vec<(&str, &str)> {
    let parts = patch.split("--- a/").skip(1);
    parts
        .map(|part| part.split_at(part.find('\n').expect("a line")))
        .collect()
}

/// Takes back a patch of one file: what it put there is replaced by what was there.
fn taken_back(text: &str, patch: &str) -> String {
    let (mut text, mut hunks) = (text.to_string(), 0);
    for hunk in patch.split("\n@@ ").skip(1) {
        let side = |sign: char| -> String {
            let lines = hunk
                .lines()
                .skip(1)
                .filter(|line| line.starts_with([' ', sign]));
            lines.map(|line| format!("{}\n", &line[1..])).collect()
        };
        let (before, after) = (side('-'), side('+'));
        assert_eq!(
            text.matches(&after).count(),
            1,
            "the patch is not in the file once: {hunk}"
        );
        text = text.replace(&after, &before);
        hunks += 1;
    }
    assert!(hunks > 0, "the patch changes something");
    text
}

/// The copy of the registry, if cargo has fetched it.
fn registry(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    let sources = fs::read_dir(home.join("registry/src")).ok()?;
    sources
        .map(|source| {
            source
                .expect("a source")
                .path()
                .join(format!("{name}-0.9.0"))
        })
        .find(|folder| folder.is_dir())
}

fn is_its_release_with_the_patch(name: &str, wanted: &[&str]) {
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor");
    let read = |name: &str| fs::read_to_string(vendor.join(name)).expect("a file");
    let (released, patch) = (
        listed(&read(&format!("{name}.sums"))),
        read(&format!("{name}.patch")),
    );
    let patched = files(&patch);
    assert_eq!(
        patched.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        wanted,
        "the patch is of these files only"
    );

    let work = tempfile::tempdir().expect("a temporary folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(vendor.join(name).join("."))
        .arg(work.path())
        .status()
        .expect("cp runs");
    assert!(copied.success());
    assert_ne!(sums(work.path()), released, "the patch is in it");
    for (name, patch) in patched {
        let file = work.path().join(name);
        let text = fs::read_to_string(&file).expect("a source");
        fs::write(&file, taken_back(&text, patch)).expect("a written file");
    }
    assert_eq!(sums(work.path()), released);
    assert!(released.len() > 100, "{}", released.len());
    if let Some(registry) = registry(name) {
        assert_eq!(
            sums(&registry),
            released,
            "of the registry's copy at {}",
            registry.display()
        );
    }
}

#[test]
fn sqlx_core_is_its_release_with_the_patch() {
    is_its_release_with_the_patch("sqlx-core", &["src/net/socket/mod.rs"]);
}

#[test]
fn sqlx_postgres_is_its_release_with_the_patch() {
    is_its_release_with_the_patch(
        "sqlx-postgres",
        &["src/connection/establish.rs", "src/copy.rs"],
    );
}

#[test]
fn they_are_what_is_built_with() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("a lock");
    for name in ["sqlx-core", "sqlx-postgres"] {
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")))
            .expect("an entry");
        assert!(
            entry.contains("\nversion = \"0.9.0\"\n"),
            "the patch goes with the next release: see vendor/README.md"
        );
        assert!(
            !entry.contains("\nsource = "),
            "it comes from a registry: {entry}"
        );
    }
}
