//! Steps of make and of ninja: what they see of a build by its depfile and its stamps, and that no
//! name runs anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::Sandbox;

fn make(sandbox: &Sandbox) -> String {
    let output = Command::new("make")
        .current_dir(sandbox.path("samples/make"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HYGGE", env!("CARGO_BIN_EXE_hygge"))
        .output()
        .expect("make runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn make_runs_hygge_only_where_something_changed() {
    let sandbox = Sandbox::new("");
    for name in ["Makefile", "hygge.yml"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("samples/make")
            .join(name);
        sandbox.write(
            &format!("samples/make/{name}"),
            fs::read(from).expect("the sample"),
        );
    }
    for name in ["north", "east"] {
        sandbox.sample(name, &format!("data/home/numbers/{name}.parquet"));
    }
    assert!(make(&sandbox).contains("1 built"));
    let depfile = std::fs::read_to_string(sandbox.path("samples/make/.hygge/inputs.mk"))
        .expect("the depfile");
    let root = sandbox
        .path("")
        .canonicalize()
        .expect("the sandbox")
        .display()
        .to_string();
    insta::assert_snapshot!("depfile", depfile.replace(&root, "/project"));
    assert!(
        !make(&sandbox).contains("hygge:"),
        "a second make runs nothing"
    );
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

/// What make and ninja read of a depfile.
struct Step {
    sandbox: Sandbox,
    is_ninja: bool,
}

impl Step {
    /// A project with one flow of every file of `home`, built by make or by ninja.
    fn new(names: &[String], is_ninja: bool) -> Self {
        let sandbox = Sandbox::new(
            "flows: {a: {home: {path: home, glob: \"*\"}, store: out, max_shrink: 100%}}\n",
        );
        let build = format!(
            "{} build --stamp stamp --depfile d.mk",
            env!("CARGO_BIN_EXE_hygge")
        );
        sandbox.write(
            "Makefile",
            format!("all: stamp\nstamp:\n\t{build}\n-include d.mk\n"),
        );
        sandbox.write(
            "build.ninja",
            format!("rule h\n  command = {build}\n  depfile = d.mk\nbuild stamp: h\n"),
        );
        sandbox.sample("north", "home/ok.parquet");
        for name in names {
            sandbox.sample("north", &format!("home/{name}"));
        }
        let step = Self { sandbox, is_ninja };
        let (is_stale, text) = step.run(&[]);
        assert!(is_stale && text.contains("1 built"), "{text}");
        step
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(if self.is_ninja { "ninja" } else { "make" });
        command
            .args(arguments)
            .current_dir(self.sandbox.path(""))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let output = command.output().expect("it runs");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{text}");
        let is_fresh = text.contains("no work to do") || text.contains("Nothing to be done");
        (!is_fresh, text)
    }

    /// Whether it would run hygge, with all it would say.
    fn is_stale(&self) -> bool {
        let (is_stale, text) = self.run(&["-n"]);
        assert!(!text.contains("PWNED\n"), "{text}");
        is_stale
    }

    /// Whether a file that is written to makes the stamp stale.
    fn sees(&self, name: &str) -> bool {
        let file = fs::File::options()
            .write(true)
            .open(self.sandbox.path("home").join(name))
            .expect("a file");
        let before = file
            .metadata()
            .and_then(|found| found.modified())
            .expect("a time");
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60))
            .expect("a new time");
        let seen = self.is_stale();
        file.set_modified(before).expect("the old time");
        seen
    }
}

/// Names with every printable letter at each place, with those that mean something in pairs, and
/// some that are commands.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for letter in (' '..='~').filter(|letter| *letter != '/') {
        names.extend([
            format!("{letter}"),
            format!("a{letter}"),
            format!("{letter}b"),
            format!("a{letter}b{letter}c"),
            format!("{letter}{letter}"),
        ]);
    }
    const MEANINGFUL: &str = " #$%&()*:;=?[\\]|~@'\"";
    for one in MEANINGFUL.chars() {
        for other in MEANINGFUL.chars() {
            names.push(format!("x{one}{other}y{one}z"));
        }
    }
    let commands = [
        "a=;touch${IFS}PWNED;b",
        ";touch${IFS}PWNED;=",
        "x|touch${IFS}PWNED;y",
        "&touch${IFS}PWNED&",
        "t\ttouch${IFS}PWNED",
        "$(shell touch${IFS}PWNED)",
        "#`touch${IFS}PWNED`",
        "n\n\ttouch${IFS}PWNED",
        "c\r\ttouch PWNED",
        "v\u{b}w",
        "e\u{1b}[31m",
        "d\u{7f}",
        "u\u{85}v",
        "a := $(shell touch PWNED)",
        "eq = x",
        "include x",
        "größe",
        "日本 語",
        "a\u{a0}b",
        "a\u{2028}b",
    ];
    names.extend(commands.map(String::from));
    names.retain(|name| !name.starts_with(['.', '_']));
    names.sort();
    names.dedup();
    names
}

fn has_control(name: &str) -> bool {
    name.contains(char::is_control) || name.contains('\u{2028}')
}

/// Every name but those that cannot be written is seen, none runs anything, and one that is gone
/// stops nothing.
fn every_name_is_seen_or_left_out(is_ninja: bool, is_left_out: impl Fn(&str) -> bool) {
    let names = names();
    let step = Step::new(&names, is_ninja);
    let (is_stale, said) = step.run(&["-n"]);
    assert!(!is_stale, "it has settled: {said}");
    let wrong: Vec<&String> = names
        .iter()
        .filter(|name| step.sees(name) == is_left_out(name))
        .collect();
    assert!(wrong.is_empty(), "of {} names: {wrong:?}", names.len());
    let ran = step.sandbox.run(&[
        "build",
        "--stamp",
        "stamp",
        "--depfile",
        "e.mk",
        "--depfile-syntax",
        if is_ninja { "ninja" } else { "make" },
    ]);
    assert!(
        ran.code == 0 && ran.text.contains("cannot be told these names"),
        "{}",
        ran.text
    );
    assert!(!step.is_stale());
    for name in &names {
        fs::remove_file(step.sandbox.path("home").join(name)).expect("a file");
    }
    assert!(
        step.is_stale(),
        "what is gone is seen too, in the folder of those that are left out"
    );
    let (_, text) = step.run(&[]);
    assert!(
        text.contains("restored") || text.contains("built"),
        "{text}"
    );
    assert!(!step.is_stale());
    let there: Vec<String> = fs::read_dir(step.sandbox.path(""))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let own = [
        ".hygge",
        ".hygge-cache",
        "Makefile",
        "build.ninja",
        "d.mk",
        "e.mk",
        "home",
        "hygge.yml",
        "out",
        "stamp",
        ".ninja_log",
        ".ninja_deps",
    ];
    assert!(
        there.iter().all(|name| own.contains(&name.as_str())),
        "{there:?}"
    );
    assert_eq!(
        fs::read_dir(step.sandbox.path("home"))
            .expect("a folder")
            .count(),
        1
    );
}

#[test]
fn make_sees_every_name_that_it_can_be_told_and_runs_none() {
    every_name_is_seen_or_left_out(false, |name| {
        has_control(name) || name.contains([';', '|', '&', '\\']) || name.ends_with([' ', ')'])
    });
}

#[test]
fn ninja_sees_every_name_that_it_can_be_told() {
    every_name_is_seen_or_left_out(true, |name| {
        has_control(name)
            || name.contains(['"', '\'', '&', '*', ';', '<', '>', '?', '\\', '^', '`', '|'])
            || name.ends_with(':')
            || name.contains(": ")
    });
}

/// Through a script too; and the nearest of the two counts.
#[test]
fn the_depfile_is_for_whichever_of_make_and_ninja_runs_hygge() {
    let sandbox = Sandbox::new("flows: {a: {home: home, store: out}}\n");
    sandbox.sample("north", "home/a%b.parquet");
    let hygge = env!("CARGO_BIN_EXE_hygge");
    sandbox.write(
        "step.sh",
        format!("{hygge} build --stamp stamp --depfile $1\n:\n"),
    );
    sandbox.write("Makefile", "stamp:\n\tsh step.sh made.mk\n\tninja stamp2\n");
    sandbox.write(
        "build.ninja",
        "rule h\n  command = sh step.sh ninja.mk && touch stamp2\nbuild stamp2: h\n",
    );
    let output = Command::new("make")
        .current_dir(sandbox.path(""))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .expect("make runs");
    assert!(output.status.success(), "{output:?}");
    sandbox.run(&["build", "--stamp", "stamp", "--depfile", "neither.mk"]);
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).expect("a depfile");
    assert!(
        read("made.mk").contains("a\\%b.parquet:"),
        "{}",
        read("made.mk")
    );
    assert!(
        !read("ninja.mk").contains("a\\%b.parquet") && read("ninja.mk").contains("a%b.parquet"),
        "{}",
        read("ninja.mk")
    );
    assert_eq!(read("neither.mk"), read("made.mk"));
}

#[test]
fn folders_and_files_with_an_equals_sign_may_go() {
    let sandbox =
        Sandbox::new("flows: {a: {home: {path: home/year=2024, glob: \"*\"}, store: out}}\n");
    sandbox.sample("north", "home/year=2024/x=1.parquet");
    sandbox.sample("east", "home/year=2024/y=1.parquet");
    sandbox.write(
        "Makefile",
        format!(
            "all: stamp\nstamp:\n\t{} build --stamp $@ --depfile d.mk\n-include d.mk\n",
            env!("CARGO_BIN_EXE_hygge")
        ),
    );
    let step = Step {
        sandbox,
        is_ninja: false,
    };
    assert!(step.run(&[]).1.contains("1 built"));
    assert!(!step.is_stale());
    fs::remove_file(step.sandbox.path("home/year=2024/y=1.parquet")).expect("a file");
    assert!(step.run(&[]).1.contains("1 restored"));
    assert!(!step.is_stale());
}

#[test]
fn a_database_is_in_the_depfile_or_a_warning_says_why_not() {
    let shop = Database::new(Kind::Sqlite);
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let sandbox = shop.project("  a: {home: {connection: shop, table: t}, store: out}\n");
    for (syntax, is_ninja) in [("make", false), ("ninja", true)] {
        let ran = sandbox.run(&[
            "build",
            "--stamp",
            "stamp",
            "--depfile",
            "d.mk",
            "--depfile-syntax",
            syntax,
        ]);
        assert!(
            ran.code == 0 && !ran.text.contains("warning"),
            "{}",
            ran.text
        );
        let depfile = fs::read_to_string(sandbox.path("d.mk")).expect("a depfile");
        let file = shop.file().to_str().expect("a name");
        assert!(depfile.contains(&format!("\n  {file}")), "{depfile}");
        assert_eq!(
            depfile.contains(&format!("$(wildcard {file}-wal)")),
            !is_ninja,
            "{depfile}"
        );
    }
    sandbox.write("Makefile", "stamp:\n\t@echo RUN\n-include d.mk\n");
    sandbox.run(&["build", "--stamp", "stamp", "--depfile", "d.mk"]);
    let step = Step {
        sandbox,
        is_ninja: false,
    };
    let touch = |path: &Path| {
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .expect("a file");
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60))
            .expect("a time");
    };
    let old = fs::File::options()
        .append(true)
        .open(shop.file())
        .expect("a file");
    old.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .expect("a time");
    let (_, text) = step.run(&["-n"]);
    assert!(!text.contains("RUN"), "{text}");
    let log = shop.file().with_extension("db-wal");
    touch(&log);
    assert!(step.run(&["-n"]).1.contains("RUN"), "its log is written to");
    fs::remove_file(log).expect("a log");
    assert!(
        !step.run(&["-n"]).1.contains("RUN"),
        "a log that is gone changes nothing"
    );
    touch(shop.file());
    assert!(
        step.run(&["-n"]).1.contains("RUN"),
        "the database was written to"
    );

    let sandbox = Sandbox::new(
        "connections: {s: {url: \"postgres://u@127.0.0.1:1/x\"}}\n\
         flows: {a: {home: {connection: s, table: t}, store: out, retries: 0}}\n",
    );
    let ran = sandbox.run(&["build", "--stamp", "stamp", "--depfile", "d.mk"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("warning: make sees no change in the databases of flow a"),
        "{}",
        ran.text
    );
    assert!(ran.text.contains("--check"), "{}", ran.text);
}

#[test]
fn the_changed_stamp_is_touched_when_something_was_built_whatever_else_failed() {
    let sandbox = Sandbox::new(
        "flows:\n  one: {home: one, store: out/one}\n  two: {home: two, store: out/two}\n",
    );
    sandbox.sample("north", "one/a.parquet");
    sandbox.sample("north", "two/a.parquet");
    let build = || sandbox.run(&["build", "--stamp", "stamp", "--changed-stamp", "changed"]);
    let time = |name: &str| {
        fs::metadata(sandbox.path(name))
            .and_then(|found| found.modified())
            .expect("a stamp")
    };
    assert_eq!(build().code, 0);
    let (stamp, changed) = (time("stamp"), time("changed"));
    sandbox.sample("south", "one/b.parquet");
    fs::rename(sandbox.path("two"), sandbox.path("away")).expect("a folder");
    assert_eq!(build().code, 1);
    assert!(
        time("stamp") == stamp && time("changed") > changed,
        "one was built, and not all is well"
    );
    fs::rename(sandbox.path("away"), sandbox.path("two")).expect("a folder");
    let changed = time("changed");
    assert_eq!(build().code, 0);
    assert!(
        time("stamp") > stamp && time("changed") == changed,
        "all is fresh"
    );
}

#[test]
fn places_that_cannot_be_written_to_are_found_before_the_build() {
    let sandbox = Sandbox::numbers();
    for (arguments, said) in [
        (
            &["--stamp", "nope/st"][..],
            "the folder nope does not exist",
        ),
        (
            &["--stamp", "st", "--depfile", "nope/d.mk"],
            "the folder nope does not exist",
        ),
        (
            &["--stamp", "st", "--changed-stamp", "hygge.yml/c"],
            "is not a folder",
        ),
        (&["--stamp", "home"], "a folder is there"),
        (
            &["--stamp", "a;b", "--depfile", "d.mk"],
            "make cannot be told this name",
        ),
        (
            &[
                "--stamp",
                "a\"b",
                "--depfile",
                "d.mk",
                "--depfile-syntax",
                "ninja",
            ],
            "ninja cannot be told this name",
        ),
    ] {
        let ran = sandbox.run(&[&["build"], arguments].concat());
        assert!(
            ran.code == 2 && ran.text.contains(said),
            "{arguments:?}: {}",
            ran.text
        );
        assert!(!sandbox.path("store").exists(), "{arguments:?}");
    }
}

#[test]
fn make_makes_no_input_by_rules_of_its_own() {
    let step = Step::new(&[], false);
    // make would make x of x.sh, by a rule that it comes with.
    for ending in ["sh", "c", "f", "p", "y", "mod"] {
        step.sandbox
            .write(&format!("home/ok.parquet.{ending}"), "touch PWNED");
        step.sandbox
            .write(&format!("hygge.yml.{ending}"), "touch PWNED");
    }
    let (_, said) = step.run(&["-n"]);
    assert!(
        said.contains("build --stamp")
            && !said.contains("home/ok.parquet")
            && !said.contains("hygge.yml"),
        "{said}"
    );
    // Rules of the Makefile are made use of all the same.
    let own = fs::read_to_string(step.sandbox.path("Makefile")).expect("a Makefile")
        + "%.parquet: %.parquet.sh\n\techo mine\n";
    step.sandbox.write("Makefile", own);
    assert!(step.run(&["-n"]).1.contains("echo mine"));
}

#[test]
fn rules_for_make_run_nothing_that_the_name_of_a_config_says() {
    let sandbox = Sandbox::numbers();
    let name = "a\n\ttouch PWNED\nb.yml";
    fs::rename(sandbox.path("hygge.yml"), sandbox.path(name)).expect("a config");
    let ran = sandbox.run(&["-f", name, "graph", "--format", "make"]);
    assert!(
        ran.code == 2
            && ran
                .text
                .contains("make cannot be told the name of the config"),
        "{}",
        ran.text
    );
}

#[test]
fn a_depfile_that_cannot_be_written_in_the_end_hides_nothing_of_the_build() {
    let sandbox = Sandbox::numbers();
    // A name that is too long once it is written beside the old one.
    let name = "d".repeat(255);
    let ran = sandbox.run(&["build", "--stamp", "stamp", "--depfile", &name]);
    assert!(
        ran.code != 0
            && ran.text.contains("hygge: 1 built in ")
            && ran.text.contains("File name too long"),
        "{}",
        ran.text
    );
}

#[test]
fn a_depfile_that_cannot_be_written_leaves_no_stamp() {
    let sandbox = Sandbox::numbers();
    // A name that is too long once it is written beside the old one.
    let ran = sandbox.run(&[
        "build",
        "--stamp",
        "stamp",
        "--changed-stamp",
        "changed",
        "--depfile",
        &"d".repeat(255),
    ]);
    assert!(
        ran.code == 1 && ran.text.contains("File name too long"),
        "{}",
        ran.text
    );
    assert!(
        !sandbox.path("stamp").exists() && sandbox.path("changed").exists(),
        "the stamp says that all is done"
    );
    assert_eq!(
        sandbox
            .run(&["build", "--stamp", "stamp", "--depfile", "d.mk"])
            .code,
        0
    );
    assert!(sandbox.path("stamp").exists());
}

#[test]
fn a_stamp_is_a_file_of_its_own_that_can_be_touched() {
    let sandbox = Sandbox::numbers();
    let run = |arguments: &[&str]| sandbox.run(&[&["build"], arguments].concat());
    std::os::unix::fs::symlink("nowhere/at/all", sandbox.path("dangling")).expect("a link");
    std::os::unix::fs::symlink("stamp", sandbox.path("alias")).expect("a link");
    sandbox.write("stamp", "");
    assert!(
        Command::new("mkfifo")
            .arg(sandbox.path("pipe"))
            .status()
            .expect("mkfifo runs")
            .success()
    );
    for (arguments, said) in [
        (
            &["--stamp", "dangling"][..],
            "it is a link that leads nowhere",
        ),
        (&["--stamp", "pipe"], "it is no file"),
        (
            &["--stamp", "stamp", "--changed-stamp", "./stamp"],
            "it is the file of --stamp too",
        ),
        (
            &["--stamp", "stamp", "--changed-stamp", "alias"],
            "it is the file of --stamp too",
        ),
        (
            &["--stamp", "stamp", "--depfile", "stamp"],
            "it is the file of --stamp too",
        ),
        (&["--stamp", "hygge.yml"], "the build reads this file"),
        (
            &["--stamp", "stamp", "--depfile", "home/north.parquet"],
            "the build reads this file",
        ),
    ] {
        let ran = run(arguments);
        assert!(
            ran.code == 2 && ran.text.contains(said),
            "{arguments:?}: {}",
            ran.text
        );
        assert!(!sandbox.path("store").exists(), "{arguments:?}");
    }
    if std::os::unix::fs::chown(sandbox.path("stamp"), Some(65534), Some(65534)).is_ok() {
        let ran = sandbox.run_obedient(&["build", "--stamp", "stamp"]);
        assert!(
            ran.code == 3
                && ran.text.contains("failed to touch stamp")
                && !sandbox.path("store").exists(),
            "{}",
            ran.text
        );
    }
}

#[test]
fn rules_of_the_makefile_are_made_use_of_whatever_they_match() {
    for rule in ["%: %.in", "%.parquet: %.csv", "%: %.sh"] {
        let step = Step::new(&[], false);
        step.sandbox.write(
            "hygge.yml",
            "flows: {a: {home: {path: home, glob: ok.parquet}, store: out}}\n",
        );
        for name in ["home/ok.parquet.in", "home/ok.csv", "home/ok.parquet.sh"] {
            step.sandbox.write(name, "");
            let old = fs::File::options()
                .append(true)
                .open(step.sandbox.path(name))
                .expect("a file");
            old.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .expect("a time");
        }
        // Of make's own form it has to stand behind the depfile.
        let own = fs::read_to_string(step.sandbox.path("Makefile")).expect("a Makefile")
            + &format!("{rule}\n\techo mine $<\n");
        step.sandbox.write("Makefile", own);
        step.run(&[]);
        assert!(!step.is_stale(), "{rule}");
        let from = match rule {
            "%: %.in" => "home/ok.parquet.in",
            "%.parquet: %.csv" => "home/ok.csv",
            _ => "home/ok.parquet.sh",
        };
        let file = fs::File::options()
            .append(true)
            .open(step.sandbox.path(from))
            .expect("a file");
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60))
            .expect("a time");
        let (_, text) = step.run(&["-n"]);
        assert!(
            text.contains("echo mine ") && text.contains(from) && text.contains("build --stamp"),
            "{rule}: {text}"
        );
    }
}

#[test]
fn make_makes_no_name_with_an_ending_that_it_knows() {
    let names = [
        "a.c", "a.o", "a.tex", "a.dvi", "a.out", "a", "a.f", "a.p", "a.m", "a.r", "a.s", "a.info",
        "a.sym", "a.ln",
    ];
    let step = Step::new(&names.map(String::from), false);
    let letters = [
        "c", "y", "l", "w", "ch", "web", "ym", "S", "F", "r", "def", "texi", "txinfo", "texinfo",
        "sh", "cc", "C", "cpp", "mod",
    ];
    step.sandbox.write("known.mk", "");
    for ending in letters
        .iter()
        .filter(|ending| !names.contains(&format!("a.{ending}").as_str()))
    {
        step.sandbox
            .write(&format!("home/a.{ending}"), "touch PWNED");
    }
    for other in [
        "home/a,v",
        "home/RCS/a,v",
        "home/RCS/a",
        "home/s.a",
        "home/SCCS/s.a",
        "home/a.c,v",
    ] {
        step.sandbox.write(other, "touch PWNED");
    }
    for name in names {
        let file = fs::File::options()
            .append(true)
            .open(step.sandbox.path("home").join(name))
            .expect("a file");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("a time");
    }
    let (_, said) = step.run(&["-n"]);
    let is_hygge = |line: &str| line.contains(" build --stamp") || line.starts_with("make");
    assert!(
        said.contains("build --stamp") && said.lines().all(is_hygge),
        "{said}"
    );
}

#[test]
fn logs_of_databases_are_seen_whatever_their_names() {
    let names = [
        "shop data/s.db",
        "shop,data/s,1.db",
        "a=b/s=1.db",
        "$x/s$.db",
        "pc%/s%1.db",
        "co:l/s:1.db",
        "st*r/s?[1].db",
        "q'q/s\"1.db",
    ];
    for name in names {
        let sandbox = Sandbox::new("");
        let lines = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\n\
                     base.execute('CREATE TABLE t AS SELECT 1 AS id')\nbase.commit()";
        fs::create_dir_all(sandbox.path(name).parent().expect("a folder")).expect("a folder");
        assert!(
            peers::run(lines, &[sandbox.path(name).as_os_str()])
                .status
                .success()
        );
        let url: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        sandbox.write(
            "hygge.yml",
            format!(
                "connections: {{s: {{url: \"sqlite:{url}\"}}}}\n\
                 flows: {{a: {{home: {{connection: s, table: t}}, store: out}}}}\n"
            ),
        );
        sandbox.write("Makefile", "stamp:\n\t@echo RUN\n-include d.mk\n");
        let old = fs::File::options()
            .append(true)
            .open(sandbox.path(name))
            .expect("a file");
        old.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("a time");
        let ran = sandbox.run(&[
            "build",
            "--stamp",
            "stamp",
            "--depfile",
            "d.mk",
            "--depfile-syntax",
            "make",
        ]);
        assert!(
            ran.code == 0 && !ran.text.contains("warning"),
            "{name}: {}",
            ran.text
        );
        let step = Step {
            sandbox,
            is_ninja: false,
        };
        assert!(!step.run(&["-n"]).1.contains("RUN"), "{name}");
        let log = step.sandbox.path(&format!("{name}-wal"));
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .expect("a file");
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60))
            .expect("a time");
        assert!(
            step.run(&["-n"]).1.contains("RUN"),
            "{name}: its log is written to"
        );
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("a time");
        assert!(!step.run(&["-n"]).1.contains("RUN"), "{name}");
    }
    // What cannot be looked for is said.
    let sandbox = Sandbox::new(
        "connections: {s: {url: \"sqlite:a(b.db\"}}\n\
         flows: {a: {home: {connection: s, table: t}, store: out}}\n",
    );
    let lines = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\n\
                 base.execute('CREATE TABLE t AS SELECT 1 AS id')\nbase.commit()";
    assert!(
        peers::run(lines, &[sandbox.path("a(b.db").as_os_str()])
            .status
            .success()
    );
    let ran = sandbox.run(&[
        "build",
        "--stamp",
        "stamp",
        "--depfile",
        "d.mk",
        "--depfile-syntax",
        "make",
    ]);
    assert!(
        ran.code == 0
            && ran.text.contains("cannot be told these names")
            && ran.text.contains("a(b.db-wal"),
        "{}",
        ran.text
    );
}

#[test]
fn a_depfile_takes_the_place_of_a_file_only() {
    let sandbox = Sandbox::numbers();
    sandbox.write("kept/d.mk", "before");
    std::os::unix::fs::symlink("kept/d.mk", sandbox.path("link.mk")).expect("a link");
    std::os::unix::fs::symlink("nowhere", sandbox.path("nowhere.mk")).expect("a link");
    std::os::unix::fs::symlink("device.mk", sandbox.path("to_device.mk")).expect("a link");
    // One of its own: what has the name of the system's must never come to harm. Only root can make
    // one.
    let made = Command::new("mknod")
        .arg(sandbox.path("device.mk"))
        .args(["c", "1", "3"])
        .output()
        .expect("mknod runs");
    let devices: &[_] = if made.status.success() {
        &[("device.mk", "a device"), ("to_device.mk", "a device")]
    } else {
        &[]
    };
    assert!(
        Command::new("mkfifo")
            .arg(sandbox.path("pipe.mk"))
            .status()
            .expect("mkfifo runs")
            .success()
    );
    for (name, said) in [("pipe.mk", "a pipe"), ("nowhere.mk", "a link to nowhere")]
        .iter()
        .chain(devices)
        .copied()
    {
        let ran = sandbox.run(&["build", "--stamp", "stamp", "--depfile", name]);
        assert!(
            ran.code == 2 && ran.text.contains(said) && ran.text.contains("hint: "),
            "{name}: {}",
            ran.text
        );
        assert!(!sandbox.path("store").exists(), "{name}");
        assert!(
            !fs::symlink_metadata(sandbox.path(name))
                .expect("what was there")
                .is_file(),
            "{name}"
        );
    }
    // Links are followed, and no file of another name is touched.
    sandbox.write("kept/d.mk.tmp", "mine");
    let ran = sandbox.run(&["build", "--stamp", "stamp", "--depfile", "link.mk"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert!(sandbox.path("link.mk").is_symlink());
    assert!(
        fs::read_to_string(sandbox.path("kept/d.mk"))
            .expect("a depfile")
            .starts_with("stamp:")
    );
    assert_eq!(
        fs::read(sandbox.path("kept/d.mk.tmp")).expect("a file"),
        b"mine"
    );
    assert_eq!(
        fs::read_dir(sandbox.path("kept"))
            .expect("a folder")
            .count(),
        2
    );
}
