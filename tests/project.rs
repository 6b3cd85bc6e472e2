//! Beginning a project, looking at it before the night, and what shells and editors want to know.

use std::fs;

use polars_parquet::write::CompressionOptions;
use serde_json::Value;

use crate::common::files;
use crate::common::sandbox::Sandbox;

#[test]
fn a_project_that_was_begun_builds_at_once() {
    let sandbox = Sandbox::new("");
    let begun = sandbox.run(&["init", "my shop"]);
    assert_eq!(begun.code, 0, "{}", begun.text);
    assert!(
        begun.text.contains("next: cd 'my shop'; hygge build"),
        "{}",
        begun.text
    );
    let built = sandbox.run(&["-f", "my shop/hygge.yml", "build"]);
    assert_eq!(built.code, 0, "{}", built.text);
    assert_eq!(sandbox.digests("my shop/data/store/numbers").len(), 2);
    assert_eq!(
        sandbox.run(&["-f", "my shop/hygge.yml", "build"]).text,
        "hygge: nothing to do, 2 flows are fresh\n"
    );
    assert_eq!(sandbox.run(&["-f", "my shop/hygge.yml", "check"]).code, 0);
    let config = fs::read_to_string(sandbox.path("my shop/hygge.yml")).expect("a config");
    assert!(
        config.starts_with("# yaml-language-server: $schema=hygge.schema.json\n")
            && config.contains("name: \"my shop\"")
    );
    let schema: Value = serde_json::from_slice(
        &fs::read(sandbox.path("my shop/hygge.schema.json")).expect("a schema"),
    )
    .expect("JSON");
    assert_eq!(schema["title"], "hygge.yml");
    // Every line that says something stands behind a comment.
    let lines: Vec<&str> = config
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    for pair in lines
        .windows(2)
        .filter(|pair| !pair[1].trim_start().starts_with('#'))
    {
        assert!(
            pair[0].trim_start().starts_with('#'),
            "{} is not explained",
            pair[1]
        );
    }
}

#[test]
fn nothing_is_overwritten() {
    let sandbox = Sandbox::new("mine");
    sandbox.write(".gitignore", "mine");
    let refused = sandbox.run(&["init"]);
    assert_eq!(refused.code, 2, "{}", refused.text);
    assert!(
        refused
            .text
            .contains("hygge.yml would be overwritten: nothing was written"),
        "{}",
        refused.text
    );
    assert!(!sandbox.path("data").exists() && !sandbox.path("hygge.schema.json").exists());
    fs::remove_file(sandbox.path("hygge.yml")).expect("a file");
    let begun = sandbox.run(&["init"]);
    assert_eq!(begun.code, 0, "{}", begun.text);
    assert!(
        begun.text.contains(".gitignore was there already"),
        "{}",
        begun.text
    );
    assert_eq!(
        fs::read(sandbox.path(".gitignore")).expect("a file"),
        b"mine"
    );
}

#[test]
fn a_check_says_one_line_for_each_thing() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         c: {home: out/b, store: out/c}\n",
    );
    sandbox.sample("north", "home/north.parquet");
    let shown = sandbox.run(&["check"]);
    assert_eq!(shown.code, 0, "{}", shown.text);
    insta::assert_snapshot!("check", shown.text);
    assert!(
        !sandbox.path("out").exists() && !sandbox.path(".hygge-cache").exists(),
        "nothing is changed by looking"
    );
    sandbox.build(&[]);
    assert!(
        sandbox
            .run(&["check"])
            .text
            .contains("store      a: can be written, has 180 rows of 2")
    );
}

#[test]
fn a_check_finds_what_would_fail_at_night() {
    let sandbox = Sandbox::new(
        "flows:\n  gone: {home: gone, store: out/1}\n  torn: {home: torn, store: out/2}\n  \
         mixed: {home: mixed, store: out/3}\n  \
         taken: {home: home, store: taken}\n  file: {home: home, store: a_file}\n  \
         nothing: {home: {path: home, glob: \"*.csv\"}, store: out/4}\n  \
         many: {home: many, store: {path: out/5, rows_per_file: 2}}\n",
    );
    sandbox.sample("north", "home/north.parquet");
    sandbox.write("torn/x.parquet", "PAR1 torn");
    files::ints(&sandbox, "mixed/a.parquet", 0..10);
    files::ints_and_texts(&sandbox, "mixed/b.parquet", 0..10);
    files::ints_in_groups(
        &sandbox,
        "many/a.parquet",
        0..10,
        10,
        CompressionOptions::Snappy,
    );
    files::ints_in_groups(
        &sandbox,
        "many/b.parquet",
        0..10,
        10,
        CompressionOptions::Zstd(None),
    );
    sandbox.write("taken/mine.txt", "mine");
    sandbox.write("a_file", "mine");
    let ran = sandbox.run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    let failed = |what: &str, name: &str| {
        let found = ran.events.iter().find(|event| {
            event["event"] == "checked" && event["what"] == what && event["name"] == name
        });
        found
            .and_then(|event| event["error"].as_str())
            .unwrap_or_default()
            .to_string()
    };
    for (what, name, words) in [
        ("home", "gone", "does not exist"),
        ("home", "torn", "not a sound parquet file"),
        ("home", "mixed", "has another schema than"),
        ("home", "nothing", "no file that matches *.csv"),
        ("home", "many", "have several compressions"),
        ("store", "taken", "did not make: mine.txt"),
        ("store", "file", "is not a folder"),
    ] {
        assert!(
            failed(what, name).contains(words),
            "{words:?} is not in {:?}",
            failed(what, name)
        );
    }
    assert_eq!(ran.event("check_finished")["failed"], 7);
    assert_eq!(ran.event("check_finished")["ok"], false);
    // What fails at night fails by the same words.
    let built = sandbox.build(&[]);
    for (_, name, _) in [
        ("home", "gone", ""),
        ("home", "torn", ""),
        ("store", "taken", ""),
    ] {
        assert_eq!(built.outcome(name), "failed");
    }
}

#[test]
fn a_store_that_nothing_may_be_written_to_is_found() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: disk/deep/a}\n");
    sandbox.sample("north", "home/north.parquet");
    let (code, text) =
        sandbox.with_mounts("mkdir disk && mount -t tmpfs -o ro none disk && \"$0\" check");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("failed  store      a: failed to write into")
            && text.contains("Read-only file system"),
        "{text}"
    );
}

#[test]
fn problems_of_a_config_are_objects_too() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, stor: out}\n");
    let ran = sandbox.run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 2);
    let problems = ran.event("check_finished")["problems"]
        .as_array()
        .expect("problems")
        .clone();
    assert_eq!(problems.len(), 1, "{}", ran.text);
    assert_eq!(problems[0]["hint"], "did you mean store?");
    assert_eq!(problems[0]["places"][0]["line"], 2);
    assert_eq!(problems[0]["places"][0]["file"], "hygge.yml");
}

#[test]
fn warnings_are_no_errors() {
    let sandbox = Sandbox::new(
        "connections: {shop: {url: 'sqlite::memory:'}}\nhomes: {lake: home}\n\
         stores: {pond: {path: out}}\n\
         flows:\n  a: {home: lak, store: $OUT/a}\n  b: {home: home, store: out/b, entities: []}\n  \
         c: {store: out/c, entities: {from: 'home/*', exclude: [zzz]}}\n",
    );
    sandbox.sample("north", "home/north.parquet");
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    insta::assert_snapshot!("warnings", ran.text);
}

#[test]
fn shells_and_manuals_are_told_every_command() {
    let sandbox = Sandbox::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = sandbox.run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        for word in ["check", "init", "dry-run", "offline"] {
            assert!(ran.text.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(sandbox.run(&["completions", "cmd"]).code, 2);
    let page = sandbox.run(&["man"]).text;
    for word in [".TH", "HYGGE BUILD", "HYGGE CHECK", "HYGGE INIT", "offline"] {
        assert!(page.contains(word), "the page does not have {word}");
    }
}

#[test]
fn a_depfile_has_every_file_and_folder_that_the_config_is_made_of() {
    let sandbox = Sandbox::new("options: {env_file: my.env}\n");
    sandbox.write("my.env", "A=1\n");
    sandbox.write(
        "flows/a/flow.yml",
        "store: out\nentities: {from: \"home/*\"}\n",
    );
    sandbox.sample("north", "home/x/north.parquet");
    assert_eq!(
        sandbox
            .run(&["build", "--stamp", "stamp", "--depfile", "deps.mk"])
            .code,
        0
    );
    let deps = fs::read_to_string(sandbox.path("deps.mk")).expect("a depfile");
    let root = sandbox
        .path("")
        .canonicalize()
        .expect("a folder")
        .display()
        .to_string();
    for needed in [
        "hygge.yml",
        "flows/a/flow.yml",
        &format!("{root}/flows"),
        &format!("{root}/flows/a"),
        &format!("{root}/my.env"),
        &format!("{root}/home"),
    ] {
        assert!(
            deps.lines()
                .any(|line| line.trim().trim_end_matches(" \\") == needed),
            "{needed} is not in\n{deps}"
        );
    }
}
