//! The order of the modules, and the one user of `std::fs`.

use std::fs;
use std::path::{Path, PathBuf};

/// A module uses only what stands in an earlier group or in its own.
const GROUPS: &[&[&str]] = &[
    &["error", "fs", "threads", "fingerprint"],
    &["config"],
    &["connection", "format", "home", "store"],
    &["flow", "graph"],
    &["cache"],
    &["plan", "publish"],
    &["execute"],
    &["report"],
    &["cli"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let group = |module: &str| GROUPS.iter().position(|group| group.contains(&module));
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src");
        let first = relative.components().next().expect("a component").as_os_str().to_string_lossy();
        let module = first.strip_suffix(".rs").unwrap_or(&first).to_string();
        let Some(own) = group(&module) else { continue };
        let text = fs::read_to_string(&file).expect("a source");
        for used in text.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            if let Some(other) = group(&name) {
                assert!(other <= own, "{} uses {name}, which stands behind {module}", file.display());
                checked += 1;
            }
        }
        assert!(module == "fs" || !text.contains("std::fs"), "{} uses std::fs", file.display());
    }
    assert!(checked > 100);
}
