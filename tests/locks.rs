//! Locks and interruptions: who waits, who gives up, and what is left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::files;
use crate::common::locks::Held;
use crate::common::sandbox::{Sandbox, built};

/// Holds the lock of the store `store`, as another process that builds into it would.
fn hold(sandbox: &Sandbox) -> Held {
    sandbox.write("out/.hygge/store.lock", "somebody, process 7");
    Held::alone(&sandbox.path("out/.hygge/store.lock"))
}

fn locked() -> Sandbox {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  numbers: {home: home, store: out/store}\n",
    );
    sandbox
}

#[test]
fn a_held_lock_ends_a_build_that_does_not_wait_and_names_the_holder() {
    let sandbox = locked();
    let held = hold(&sandbox);
    for arguments in [&["--no-wait"][..], &["--wait", "0s"]] {
        let ran = sandbox.build(arguments);
        assert_eq!(ran.code, 4, "{}", ran.text);
        assert!(ran.error().contains("somebody, process 7"), "{}", ran.text);
    }
    assert!(!sandbox.path("out/store").exists());
    drop(held);
    assert_eq!(sandbox.build(&["--no-wait"]).outcome("numbers"), "built");
}

#[test]
fn a_build_waits_for_a_lock_and_says_for_whom() {
    let sandbox = locked();
    let held = hold(&sandbox);
    let mut build = sandbox.start(&[]);
    build.wait_for("flow_waiting");
    assert_eq!(
        sandbox.build(&["--dry-run"]).event("plan")["verdict"],
        "stale",
        "readers never wait"
    );
    drop(held);
    let ran = build.end();
    assert_eq!(
        (ran.code, ran.outcome("numbers")),
        (0, "built"),
        "{}",
        ran.text
    );
    assert_eq!(ran.event("flow_waiting")["holder"], "somebody, process 7");
}

#[test]
fn who_waited_plans_again_with_what_the_other_has_built() {
    let sandbox = locked();
    let held = hold(&sandbox);
    let mut waits = sandbox.start(&[]);
    waits.wait_for("flow_waiting");
    drop(held);
    let (one, other) = (sandbox.build(&[]), waits.end());
    assert_eq!((one.code, other.code), (0, 0), "{}{}", one.text, other.text);
    let mut outcomes = [one.outcome("numbers"), other.outcome("numbers")];
    outcomes.sort_unstable();
    assert!(
        matches!(outcomes, ["built", "fresh" | "none"]),
        "{outcomes:?}: one builds, the other finds it fresh"
    );
}

#[test]
fn an_interrupted_build_ends_with_130_and_publishes_nothing() {
    let sandbox = locked();
    let held = hold(&sandbox);
    let mut build = sandbox.start(&[]);
    build.wait_for("flow_waiting");
    build.signal("INT");
    let ran = build.end();
    assert_eq!(
        (ran.code, ran.outcome("numbers")),
        (130, "skipped"),
        "{}",
        ran.text
    );
    assert!(
        ran.event("build_finished")["interrupted"]
            .as_bool()
            .expect("a flag"),
        "{}",
        ran.text
    );
    assert!(!sandbox.path("out/store").exists());
    drop(held);
}

/// A project with so many parts to encode that it can be stopped in the middle.
fn many_parts() -> Sandbox {
    let sandbox =
        Sandbox::new("flows:\n  numbers: {home: home, store: {path: store, compression: zstd}}\n");
    for number in 0..60 {
        files::ints(
            &sandbox,
            &format!("home/{number:02}.parquet"),
            number * 1000..number * 1000 + 1000,
        );
    }
    sandbox
}

#[test]
fn what_was_made_before_a_build_was_stopped_is_not_made_again() {
    let undisturbed = many_parts();
    undisturbed.build(&[]);
    for (signal, code) in [("INT", 130), ("KILL", -1)] {
        let sandbox = many_parts();
        let mut build = sandbox.start(&["-j", "1"]);
        for _ in 0..10 {
            build.wait_for("part_made");
        }
        build.signal(signal);
        let stopped = build.end();
        assert_eq!(stopped.code, code, "{}", stopped.text);
        assert!(!sandbox.path("store").exists(), "nothing is published");
        let made = stopped
            .events
            .iter()
            .filter(|event| event["event"] == "part_made")
            .count() as u64;
        let ran = sandbox.build(&[]);
        let kept = ran.event("flow_finished")["parts_kept"]
            .as_u64()
            .expect("a number");
        // Killed, the record of what was just made may be lost; interrupted, nothing is.
        assert!(
            if signal == "INT" {
                kept == made
            } else {
                kept > 0
            },
            "{signal}: {made} were made, {kept} kept"
        );
        assert_eq!(
            sandbox.digests("store"),
            undisturbed.digests("store"),
            "{signal}"
        );
        let left = fs::read_dir(sandbox.path(".hygge-cache/staging/tmp"))
            .expect("staging")
            .count();
        assert_eq!(left, 0, "{signal}: half done parts are gone");
    }
}

#[test]
fn builds_that_begin_at_once_do_not_disturb_each_other() {
    for _ in 0..5 {
        let sandbox = Sandbox::numbers();
        sandbox.write(
            "hygge.yml",
            "flows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b}\n",
        );
        let builds: Vec<_> = [&["a"][..], &["b"], &[], &["a"]]
            .into_iter()
            .map(|flows| sandbox.start(flows))
            .collect();
        for build in builds {
            let ran = build.end();
            assert_eq!(ran.code, 0, "{}", ran.text);
        }
        assert_eq!(
            (
                sandbox.digests("out/a").len(),
                sandbox.digests("out/b").len()
            ),
            (4, 4)
        );
        assert!(!sandbox.path(".hygge-cache/index.db.damaged").exists());
    }
}

#[test]
fn builds_of_the_same_flows_that_begin_at_once_all_end_well() {
    let sandbox = Sandbox::new("");
    (0..4).for_each(|number| files::ints(&sandbox, &format!("home/old{number}.parquet"), 0..100));
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         c: {home: {flow: b}, store: {path: out/c, file_pattern: \"{digest}.parquet\"}}\n",
    );
    for round in 0..15 {
        files::ints(&sandbox, "home/old1.parquet", 0..10 + round);
        files::ints(&sandbox, &format!("home/{round}.parquet"), 0..10);
        let builds: Vec<_> = (0..4).map(|_| sandbox.start(&[])).collect();
        for build in builds {
            let ran = build.end();
            assert_eq!(ran.code, 0, "round {round}: {}", ran.text);
        }
        assert_eq!(
            sandbox.digests("out/c").len(),
            5 + usize::try_from(round).expect("a number")
        );
    }
}

#[test]
fn who_holds_the_cache_is_not_who_held_it_before() {
    let sandbox = locked();
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(sandbox.run(&["clean"]).code, 0);
    fs::remove_dir_all(sandbox.path("out/store")).expect("a store");
    let held = hold(&sandbox);
    let mut build = sandbox.start(&[]);
    build.wait_for("flow_waiting");
    let ran = sandbox.run(&["clean", "--no-wait"]);
    assert!(
        ran.code == 4 && !ran.text.contains("which cleans it"),
        "{}",
        ran.text
    );
    let ran = sandbox.run(&["clean", "--stores", "numbers", "--no-wait", "--yes"]);
    assert!(
        ran.code == 4 && ran.text.contains("somebody, process 7"),
        "{}",
        ran.text
    );
    drop(held);
    assert_eq!(build.end().code, 0);
}

#[test]
fn a_build_that_waits_for_the_cache_can_be_interrupted() {
    let sandbox = locked();
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.write(".hygge-cache/lock", "somebody, process 7");
    let held = Held::alone(&sandbox.path(".hygge-cache/lock"));
    assert_eq!(sandbox.build(&["--no-wait"]).code, 4);
    for signal in ["INT", "TERM"] {
        let mut build = sandbox.start(&[]);
        build.wait_for("cache_waiting");
        build.signal(signal);
        let ran = build.end();
        assert_eq!(ran.code, 130, "{signal}: {}", ran.text);
    }
    drop(held);
    assert_eq!(sandbox.build(&[]).code, 0);
}

#[test]
fn flows_whose_parts_are_equal_do_not_take_them_from_each_other() {
    let flows: String = (0..30)
        .map(|number| format!("  f{number}: {{home: home, store: out/f{number}}}\n"))
        .collect();
    let sandbox = Sandbox::new(&format!("flows:\n{flows}"));
    for number in 0..20 {
        files::ints(
            &sandbox,
            &format!("home/{number:02}.parquet"),
            number..number + 10,
        );
    }
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert!(
        (0..30)
            .all(|number| sandbox.digests(&format!("out/f{number}")) == sandbox.digests("out/f0"))
    );
    assert_eq!(
        ran.events
            .iter()
            .filter(|event| event["event"] == "flow_started")
            .count(),
        30,
        "each begins once"
    );
}

#[test]
fn two_projects_that_build_into_one_store_wait_for_each_other() {
    let sandbox = Sandbox::numbers();
    // By another path, through a link, with a cache of its own.
    std::os::unix::fs::symlink("out", sandbox.path("way")).expect("a link");
    sandbox.write(
        "hygge.yml",
        "name: one\nflows:\n  numbers: {home: home, store: out/store}\n",
    );
    sandbox.write(
        "two.yml",
        "name: two\noptions: {cache: {dir: other-cache}}\nflows:\n  \
         figures: {home: home, store: way/store}\n",
    );
    let held = hold(&sandbox);
    let mut waits = sandbox.start(&["-f", "two.yml"]);
    waits.wait_for("flow_waiting");
    assert_eq!(sandbox.build(&["--no-wait"]).code, 4);
    drop(held);
    assert_eq!(waits.end().outcome("figures"), "built");
    assert!(
        sandbox
            .run(&["build"])
            .text
            .ends_with("nothing to do, 1 flow is fresh\n")
    );
}

#[test]
fn builds_of_different_flows_run_together() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: elsewhere/store}\n",
    );
    fs::create_dir_all(sandbox.path("out/.hygge")).expect("a folder");
    let lock = Held::alone(&sandbox.path("out/.hygge/a.lock"));
    let mut waits = sandbox.start(&["a"]);
    waits.wait_for("flow_waiting");
    assert_eq!(
        sandbox.build(&["b", "--no-wait"]).outcome("b"),
        "built",
        "while the other is under way"
    );
    drop(lock);
    assert_eq!(waits.end().outcome("a"), "built");
}

#[test]
fn several_configs_may_share_one_cache() {
    let sandbox = Sandbox::numbers();
    let config = |name: &str| {
        format!(
            "name: {name}\nflows:\n  f: {{home: home, store: {{path: out/{name}, compression: \
             zstd}}}}\n"
        )
    };
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}.yml"), config(name));
    }
    assert_eq!(
        sandbox.build(&["-f", "one.yml"]).event("flow_finished")["parts_made"],
        4
    );
    assert_eq!(sandbox.build(&["-f", "two.yml"]).code, 0);
    assert_eq!(sandbox.digests("out/one"), sandbox.digests("out/two"));
    for name in ["one", "two"] {
        let config = format!("{name}.yml");
        assert_eq!(
            sandbox.run(&["build", "-f", &config]).text,
            "hygge: nothing to do, 1 flow is fresh\n"
        );
        let runs = sandbox.run(&["log", "-f", &config, "--format", "json"]);
        assert!(
            runs.events.len() == 1 && runs.event("run")["project"] == name,
            "{}",
            runs.text
        );
    }
}

#[test]
fn gc_leaves_alone_what_a_running_build_counts_on() {
    let sandbox = locked();
    sandbox.write(
        "hygge.yml",
        "options: {cache: {keep: always}}\nflows:\n  numbers: {home: home, store: out/store}\n",
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    for folder in ["out/store", "out/.hygge/store.old"] {
        drop(fs::remove_dir_all(sandbox.path(folder)));
    }
    let held = hold(&sandbox);
    let mut build = sandbox.start(&[]);
    build.wait_for("flow_waiting");
    assert_eq!(
        sandbox
            .run(&["cache", "gc", "--max-age", "0", "--no-wait"])
            .code,
        4,
        "the build has looked the parts up"
    );
    drop(held);
    let ran = build.end();
    assert_eq!(ran.event("flow_finished")["parts_made"], 0, "{}", ran.text);
}

/// Begins a command, and gives the first line that it says on standard error.
fn first_error_line(sandbox: &Sandbox, arguments: &[&str]) -> (std::process::Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hygge"));
    command
        .args(arguments)
        .current_dir(sandbox.path(""))
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    (child, line)
}

#[test]
fn who_waits_says_for_whom_and_since_when() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let process = format!("process {}", std::process::id());
    for arguments in [&["cache", "gc"][..], &["cache", "verify"], &["clean"]] {
        let held = Held::shared(&sandbox.path(".hygge-cache/lock"));
        let ran = sandbox.run(&[arguments, &["--no-wait"]].concat());
        assert!(
            ran.code == 4 && ran.text.contains(&process) && ran.text.contains(" UTC"),
            "{arguments:?}: {}",
            ran.text
        );
        let (mut child, line) = first_error_line(&sandbox, arguments);
        assert!(
            line.starts_with("waiting ") && line.contains(&process) && line.contains(" since 2"),
            "{arguments:?}: {line}"
        );
        drop(held);
        assert!(child.wait().expect("an end").success(), "{arguments:?}");
    }
    built(&sandbox);
    for arguments in [&["build"][..], &["restore", "numbers", "--latest"]] {
        let held = Held::alone(&sandbox.path(".hygge-cache/lock"));
        let (mut child, line) = first_error_line(&sandbox, arguments);
        assert!(
            line.starts_with("waiting ") && line.contains(&process),
            "{arguments:?}: {line}"
        );
        drop(held);
        assert!(child.wait().expect("an end").success(), "{arguments:?}");
    }
    let held = Held::alone(&sandbox.path(".hygge/store.lock"));
    let (mut child, line) = first_error_line(&sandbox, &["clean", "--stores", "numbers", "--yes"]);
    assert!(
        line.contains("waiting  for store") && line.contains(&process),
        "{line}"
    );
    drop(held);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn a_build_that_waits_for_the_cache_says_so_to_programs() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let held = Held::alone(&sandbox.path(".hygge-cache/lock"));
    let mut build = sandbox.start(&[]);
    build.wait_for("cache_waiting");
    drop(held);
    let ran = build.end();
    let holder = ran.event("cache_waiting")["holder"]
        .as_str()
        .expect("who")
        .to_string();
    assert!(
        ran.code == 0 && holder.contains(&format!("process {}", std::process::id())),
        "{holder}"
    );
}
