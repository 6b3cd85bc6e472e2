//! A step of make: the sample Makefile with real make.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::sandbox::Sandbox;

fn make(sandbox: &Sandbox) -> String {
    let output = Command::new("make")
        .current_dir(sandbox.path("samples/make"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HYGGE", env!("CARGO_BIN_EXE_hygge"))
        .output()
        .expect("make runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn make_runs_hygge_only_where_something_changed() {
    let sandbox = Sandbox::new("");
    for name in ["Makefile", "hygge.yml"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/make").join(name);
        sandbox.write(&format!("samples/make/{name}"), fs::read(from).expect("the sample"));
    }
    for name in ["north", "east"] {
        sandbox.sample(name, &format!("data/home/numbers/{name}.parquet"));
    }
    assert!(make(&sandbox).contains("1 built"));
    let depfile = std::fs::read_to_string(sandbox.path("samples/make/.hygge/inputs.mk")).expect("the depfile");
    let root = sandbox.path("").canonicalize().expect("the sandbox").display().to_string();
    insta::assert_snapshot!("depfile", depfile.replace(&root, "/project"));
    assert!(!make(&sandbox).contains("hygge:"), "a second make runs nothing");
    sandbox.sample("east", "data/home/numbers/east.parquet");
    assert!(make(&sandbox).contains("nothing to do"), "equal bytes");
    assert!(!make(&sandbox).contains("hygge:"), "and it has settled");
    sandbox.sample("south", "data/home/numbers/east.parquet");
    assert!(make(&sandbox).contains("1 built"), "changed");
    sandbox.sample("west", "data/home/numbers/west.parquet");
    assert!(make(&sandbox).contains("1 built"), "added");
    fs::remove_file(sandbox.path("data/home/numbers/north.parquet")).expect("an input");
    assert!(make(&sandbox).contains("1 restored"), "removed");
}
