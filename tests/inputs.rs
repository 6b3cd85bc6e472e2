//! Inputs that change while they are read, and files that cannot be read or written.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::common::files;
use crate::common::locks::Held;
use crate::common::sandbox::Sandbox;

/// What somebody does to a file.
type Change<'a> = &'a dyn Fn(&Sandbox, &Path);

/// Somebody does something to an input after the build has planned with it.
fn meanwhile(store: &str, change: Change<'_>) {
    let sandbox = Sandbox::new(&format!("flows:\n  ids: {{home: home, store: {store}}}\n"));
    files::ints(&sandbox, "home/east.parquet", 0..2000);
    files::ints(&sandbox, "home/west.parquet", 2000..3000);
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    assert!(!before.is_empty());
    files::ints(&sandbox, "home/east.parquet", 1..2000);
    let lock = Held::alone(&sandbox.path(".hygge/store.lock"));
    let mut build = sandbox.start(&[]);
    build.wait_for("flow_waiting");
    change(&sandbox, &sandbox.path("home/east.parquet"));
    drop(lock);
    let ran = build.end();
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(ran.error().contains("east.parquet"), "{}", ran.text);
    assert_eq!(sandbox.digests("store"), before, "nothing is published");
    files::ints(&sandbox, "home/east.parquet", 2..2000);
    assert_eq!(
        sandbox.build(&[]).outcome("ids"),
        "built",
        "and nothing is lost"
    );
}

#[test]
fn an_input_that_changes_while_it_is_read_fails_its_flow() {
    let changes: [Change<'_>; 5] = [
        &|sandbox, _| files::ints(sandbox, "home/east.parquet", 5..10),
        &|_, path| {
            // The same size and nearly the same bytes: only its times tell.
            let mut bytes = fs::read(path).expect("an input");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("a write");
        },
        &|_, path| {
            File::options()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(1000))
                .expect("a cut")
        },
        &|_, path| fs::remove_file(path).expect("an input"),
        &|sandbox, path| {
            fs::copy(path, sandbox.path("home/_twin")).expect("a copy");
            fs::rename(sandbox.path("home/_twin"), path).expect("a rename");
        },
    ];
    let passed = "{path: store}";
    let (encoded, cut) = (
        "{path: store, compression: zstd}",
        "{path: store, rows_per_file: 300}",
    );
    let packed = "{path: store, rows_per_file: 5000}";
    for store in [passed, encoded, cut, packed] {
        for change in changes {
            meanwhile(store, change);
        }
    }
}

/// Runs the binary as somebody whom permissions hold: root reads and writes everything.
fn run_as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let binary = sandbox.path("hygge");
    fs::copy(env!("CARGO_BIN_EXE_hygge"), &binary).expect("a copy of the binary");
    fs::set_permissions(sandbox.path(""), PermissionsExt::from_mode(0o777)).expect("permissions");
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = if is_root {
        Command::new("setpriv")
    } else {
        Command::new(&binary)
    };
    if is_root {
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary);
    }
    let output = command
        .args(arguments)
        .current_dir(sandbox.path(""))
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn permit(sandbox: &Sandbox, name: &str, mode: u32) {
    fs::set_permissions(sandbox.path(name), PermissionsExt::from_mode(mode)).expect("permissions");
}

#[test]
fn an_input_that_may_not_be_read_is_named() {
    let sandbox = Sandbox::numbers();
    permit(&sandbox, "home/east.parquet", 0o000);
    let (code, text) = run_as_nobody(&sandbox, &["build"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("home/east.parquet") && text.contains("ermission denied"),
        "{text}"
    );
    assert!(!sandbox.path("store").exists());
    permit(&sandbox, "home", 0o000);
    let (code, text) = run_as_nobody(&sandbox, &["build"]);
    permit(&sandbox, "home", 0o755);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("home") && text.contains("ermission denied"),
        "{text}"
    );
}

#[test]
fn a_store_that_may_not_be_written_is_named() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  numbers: {home: home, store: out/store}\n  other: {home: home, store: fine}\n",
    );
    fs::create_dir(sandbox.path("out")).expect("a folder");
    permit(&sandbox, "out", 0o555);
    let (code, text) = run_as_nobody(&sandbox, &["build"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("out/.hygge") && text.contains("ermission denied"),
        "{text}"
    );
    assert!(
        text.contains("built    other"),
        "the other flow goes on: {text}"
    );
}

#[test]
fn a_cache_that_may_not_be_written_stops_the_run() {
    let sandbox = Sandbox::numbers();
    fs::create_dir(sandbox.path(".hygge-cache")).expect("a folder");
    permit(&sandbox, ".hygge-cache", 0o555);
    let (code, text) = run_as_nobody(&sandbox, &["build"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains(".hygge-cache") && text.contains("options.cache.dir"),
        "{text}"
    );
}

#[test]
fn damaged_pages_never_end_the_program() {
    let sandbox = Sandbox::new("");
    files::ints_and_texts(&sandbox, "whole.parquet", 0..200);
    let whole = fs::read(sandbox.path("whole.parquet")).expect("a file");
    let mut flows = String::new();
    for position in (4..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0b0101_1010;
        sandbox.write(&format!("home/{position}.parquet"), bytes);
        for (kind, store) in [
            ("cut", "rows_per_file: 20"),
            ("packed", "compression: zstd"),
            ("moved", "rows_per_file: 1000"),
        ] {
            flows.push_str(&format!(
                "  {kind}{position}: {{home: home/{position}.parquet, store: {{path: \
                 out/{kind}{position}, {store}}}}}\n"
            ));
        }
    }
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(!ran.text.contains("panicked"), "{}", ran.text);
    let ended: Vec<_> = ran
        .events
        .iter()
        .filter(|event| event["event"] == "flow_finished")
        .collect();
    assert_eq!(ended.len(), flows.lines().count());
    let errors = ended
        .iter()
        .filter_map(|event| Some((event["flow"].as_str()?, event["error"].as_str()?)));
    for (flow, error) in errors {
        // The damage is found before a library meets it.
        assert!(!error.contains("a library gave up"), "{flow}: {error}");
        let position = flow.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        assert!(
            error.contains(&format!("home/{position}.parquet")),
            "{flow}: {error}"
        );
    }
}

#[test]
fn one_bad_flow_does_not_stop_the_others_unless_asked() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: bad, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         c: {home: good, store: out/c, needs: []}\n",
    );
    sandbox.write("bad/x.parquet", "not parquet");
    files::ints(&sandbox, "good/x.parquet", 0..10);
    let ran = sandbox.build(&[]);
    assert_eq!(
        (
            ran.code,
            ran.outcome("a"),
            ran.outcome("b"),
            ran.outcome("c")
        ),
        (1, "failed", "skipped", "built"),
        "{}",
        ran.text
    );
    fs::remove_dir_all(sandbox.path("out")).expect("the stores");
    let ran = sandbox.build(&["--fail-fast", "-j", "1"]);
    assert_eq!(
        (ran.code, ran.outcome("a"), ran.outcome("c")),
        (1, "failed", "skipped"),
        "{}",
        ran.text
    );
}
