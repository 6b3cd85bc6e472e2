//! Output that cannot be written is an error, and a reader that has gone is none.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::sandbox::{Sandbox, built};

/// A project with something for every command to say.
fn project() -> Sandbox {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    sandbox.sample("north", "home/more.parquet");
    sandbox
}

/// Every command that says something, with the code it ends with.
const SAYING: &[(&[&str], i32)] = &[
    (&["--help"], 0),
    (&["--version"], 0),
    (&["build", "--help"], 0),
    (&["check"], 0),
    (&["check", "--format", "json"], 0),
    (&["why", "numbers"], 0),
    (&["why", "numbers", "--format", "json"], 0),
    (&["graph"], 0),
    (&["graph", "--format", "json"], 0),
    (&["graph", "--format", "make"], 0),
    (&["log"], 0),
    (&["log", "--format", "json"], 0),
    (&["schema"], 0),
    (&["completions", "bash"], 0),
    (&["man"], 0),
    (&["cache", "stats"], 0),
    (&["cache", "gc", "--format", "json"], 0),
    (&["cache", "verify"], 0),
    (&["clean", "--orphans"], 0),
    (&["clean", "--stores", "numbers"], 2),
    (&["build", "--dry-run", "--format", "json"], 0),
    (&["build", "--check", "--format", "json"], 10),
    (&["build", "--format", "json"], 0),
    (&["build", "--force", "--format", "json"], 0),
    (&["restore", "numbers", "--format", "json"], 0),
    (&["init", "new"], 0),
    (&["clean"], 0),
];

fn with_output(
    sandbox: &Sandbox,
    arguments: &[&str],
    output: impl Into<Stdio>,
) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    command
        .args(arguments)
        .current_dir(sandbox.path(""))
        .env_clear()
        .stdout(output)
        .stderr(Stdio::piped());
    let ran = command.output().expect("the binary runs");
    (
        ran.status.code(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
    )
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let sandbox = project();
    for (arguments, code) in SAYING {
        let full = fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full disk");
        let (ended, errors) = with_output(&sandbox, arguments, full);
        let expected = if *code == 2 { 2 } else { 3 };
        assert_eq!(ended, Some(expected), "{arguments:?}: {errors}");
        assert!(
            *code == 2 || errors.contains("failed to write the output: No space left on device"),
            "{arguments:?}: {errors}"
        );
    }
    // What happens in a build is said on standard error.
    sandbox.sample("south", "home/another.parquet");
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("a full disk");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    let ended = command
        .arg("build")
        .current_dir(sandbox.path(""))
        .env_clear()
        .stderr(full)
        .status()
        .expect("the binary runs");
    assert_eq!(ended.code(), Some(3));
    assert_eq!(
        sandbox.build(&[]).outcome("numbers"),
        "none",
        "it was built all the same"
    );
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let sandbox = project();
    for (arguments, code) in SAYING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (ended, errors) = with_output(&sandbox, arguments, writer);
        assert_eq!(ended, Some(*code), "{arguments:?}: {errors}");
        assert!(
            !errors.to_lowercase().contains("pipe"),
            "{arguments:?}: {errors}"
        );
    }
    sandbox.sample("south", "home/another.parquet");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    let ended = command
        .arg("build")
        .current_dir(sandbox.path(""))
        .env_clear()
        .stderr(writer)
        .status()
        .expect("the binary runs");
    assert_eq!(ended.code(), Some(0));
    assert!(sandbox.path("store").exists());
}

#[test]
fn a_working_directory_that_is_gone_is_named() {
    let sandbox = Sandbox::numbers();
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" build";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_hygge")])
        .current_dir(sandbox.path(""))
        .env_clear();
    let ran = command.output().expect("sh runs");
    let text = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.code() == Some(3)
            && text.contains("the working directory cannot be used")
            && text.contains("hint: "),
        "{text}"
    );
}

#[test]
fn output_that_cannot_be_written_is_said_beside_a_failure() {
    let sandbox = project();
    sandbox.write("store/mine", "x");
    for arguments in [
        &["build", "--format", "json"][..],
        &["check"],
        &["build", "--dry-run", "--format", "json"],
    ] {
        let full = fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full disk");
        let (ended, errors) = with_output(&sandbox, arguments, full);
        assert!(
            ended == Some(1) && errors.contains("failed to write the output"),
            "{arguments:?}: {ended:?} {errors}"
        );
    }
}
