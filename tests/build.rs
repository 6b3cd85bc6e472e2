//! The main job: build, build again, change something, lose something.

use std::fs;
use std::path::Path;

use polars_parquet::write::CompressionOptions;

use crate::common::files;
use crate::common::sandbox::Sandbox;

#[test]
fn the_second_build_does_nothing_and_says_so_in_one_line() {
    let sandbox = Sandbox::numbers();
    assert_eq!(sandbox.build(&[]).outcome("numbers"), "built");
    let before = sandbox.digests("store");
    assert_eq!(before.len(), 4);
    let again = sandbox.run(&["build"]);
    assert_eq!(
        (again.code, again.text.as_str()),
        (0, "hygge: nothing to do, 1 flow is fresh\n")
    );
    assert_eq!(sandbox.digests("store"), before);
}

#[test]
fn whole_files_pass_as_they_are() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let mut home: Vec<String> = sandbox.digests("home").into_values().collect();
    let mut store: Vec<String> = sandbox.digests("store").into_values().collect();
    home.sort();
    store.sort();
    assert_eq!(home, store);
}

#[test]
fn a_changed_input_makes_one_part_and_keeps_the_others() {
    let sandbox = Sandbox::new("flows:\n  numbers: {home: home, store: store}\n");
    for (name, to) in [("north", "a"), ("east", "b"), ("south", "c")] {
        sandbox.sample(name, &format!("home/{to}.parquet"));
    }
    sandbox.build(&[]);
    sandbox.sample("west", "home/b.parquet");
    let before = sandbox.digests("store");
    let dry = sandbox.run(&["build", "--dry-run"]);
    assert!(
        dry.text.contains("input b.parquet changed") && dry.text.contains("1 of 3 parts to make"),
        "{}",
        dry.text
    );
    assert_eq!(sandbox.digests("store"), before, "a dry run does nothing");
    assert_eq!(sandbox.run(&["build", "--check"]).code, 10);
    let ran = sandbox.build(&[]);
    let ended = ran.event("flow_finished");
    assert_eq!(
        (ended["parts_made"].as_u64(), ended["parts_kept"].as_u64()),
        (Some(1), Some(2)),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.run(&["build", "--check"]).code, 0);
}

#[test]
fn a_lost_cache_costs_nothing() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    let ran = sandbox.run(&["build"]);
    assert_eq!(
        ran.text,
        "note: the cache is new: 1 receipt found beside the stores\n\
         hygge: nothing to do, 1 flow is fresh\n"
    );
}

#[test]
fn a_renamed_flow_stays_fresh() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    sandbox.write(
        "hygge.yml",
        "flows:\n  figures: {home: home, store: store}\n",
    );
    assert_eq!(
        sandbox.run(&["build"]).text,
        "hygge: nothing to do, 1 flow is fresh\n"
    );
    sandbox.sample("north", "home/more.parquet");
    let plan = sandbox.run(&["build", "--dry-run"]);
    assert!(
        plan.text.contains("flow figures of")
            && plan
                .text
                .contains("takes the store over from flow numbers of"),
        "{}",
        plan.text
    );
}

#[test]
fn a_deleted_output_is_made_again() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    fs::remove_file(sandbox.path("store/00000000000000000002.parquet")).expect("an output");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(sandbox.digests("store"), before);
}

#[test]
fn an_altered_output_is_kept_aside_and_made_again() {
    let sandbox = Sandbox::numbers();
    sandbox.build(&[]);
    let before = sandbox.digests("store");
    sandbox.write("store/00000000000000000002.parquet", "mine");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(sandbox.digests("store"), before);
    let folder = ran.event("displaced")["folder"]
        .as_str()
        .expect("a folder")
        .to_string();
    assert_eq!(
        fs::read(format!("{folder}/00000000000000000002.parquet")).expect("the displaced file"),
        b"mine"
    );
}

#[test]
fn jobs_do_not_change_the_bytes() {
    let config = "flows:\n  numbers: {home: home, store: {path: store, rows_per_file: 100}}\n";
    let digests: Vec<_> = ["1", "4"]
        .into_iter()
        .map(|jobs| {
            let sandbox = Sandbox::numbers();
            sandbox.write("hygge.yml", config);
            let ran = sandbox.build(&["-j", jobs]);
            assert_eq!(ran.code, 0, "{}", ran.text);
            sandbox.digests("store")
        })
        .collect();
    assert!(digests[0].len() > 4);
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn an_upstream_rebuilt_to_equal_bytes_runs_nothing_downstream() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         c: {home: out/b, store: out/c}\n",
    );
    let first = sandbox.build(&[]);
    assert_eq!(
        (first.outcome("a"), first.outcome("b"), first.outcome("c")),
        ("built", "restored", "restored"),
        "{}",
        first.text
    );
    let dry = sandbox.run(&["build", "--dry-run", "--force", "a+"]);
    assert!(dry.text.contains("maybe    b"), "{}", dry.text);
    let forced = sandbox.build(&["a+", "--force"]);
    assert_eq!(
        (
            forced.outcome("a"),
            forced.outcome("b"),
            forced.outcome("c")
        ),
        ("built", "fresh", "fresh"),
        "{}",
        forced.text
    );
}

#[test]
fn a_changed_input_whose_output_is_equal_runs_nothing_downstream() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: {path: out/a, compression: zstd}}\n  \
         b: {home: {flow: a}, store: {path: out/b, compression: gzip}}\n  \
         c: {home: out/b, store: {path: out/c, rows_per_file: 10}}\n",
    );
    files::ints_in_groups(
        &sandbox,
        "home/x.parquet",
        0..100,
        100,
        CompressionOptions::Snappy,
    );
    let first = sandbox.build(&[]);
    assert_eq!(
        (first.outcome("a"), first.outcome("b"), first.outcome("c")),
        ("built", "built", "built"),
        "{}",
        first.text
    );
    // The same pages, packed in another way.
    files::ints_in_groups(
        &sandbox,
        "home/x.parquet",
        0..100,
        100,
        CompressionOptions::Uncompressed,
    );
    let dry = sandbox.build(&["--dry-run"]);
    let verdicts: Vec<&str> = dry
        .events
        .iter()
        .filter_map(|event| event["verdict"].as_str())
        .collect();
    assert_eq!(verdicts, ["stale", "maybe", "maybe"], "{}", dry.text);
    let again = sandbox.build(&[]);
    assert_eq!(
        (again.outcome("a"), again.outcome("b"), again.outcome("c")),
        ("built", "fresh", "fresh"),
        "{}",
        again.text
    );
}

#[test]
fn only_leaves_alone_what_is_not_selected_and_names_what_is_stale() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         d: {home: home, store: out/d}\n",
    );
    sandbox.build(&[]);
    sandbox.sample("north", "home/more.parquet");
    let ran = sandbox.build(&["b", "--only"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let mut alone: Vec<&str> = ran
        .events
        .iter()
        .filter(|event| event["event"] == "left_alone")
        .filter_map(|event| event["flow"].as_str())
        .collect();
    alone.sort_unstable();
    assert_eq!(alone, ["a", "d"], "{}", ran.text);
    assert_eq!(ran.outcome("a"), "none", "{}", ran.text);
    assert_eq!(sandbox.digests("out/a").len(), 4);
    let ran = sandbox.build(&["missing"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert!(ran.text.contains("names no flow"), "{}", ran.text);
}

#[test]
fn the_sample_does_what_the_readme_says() {
    let sandbox = Sandbox::new("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sandbox.write(
        "samples/minimal.yml",
        fs::read(root.join("samples/minimal.yml")).expect("the sample"),
    );
    for name in ["north", "east", "south", "west"] {
        sandbox.sample(name, &format!("data/home/numbers/{name}.parquet"));
    }
    let readme = fs::read_to_string(root.join("README.md")).expect("the readme");
    let shown = |text: &str| {
        text.lines()
            .filter_map(|line| line.split(" -> ").next())
            .next()
            .map(str::to_string)
    };
    let first = sandbox.run(&["-f", "samples/minimal.yml", "build"]);
    assert_eq!(first.code, 0, "{}", first.text);
    for line in [
        "building numbers: never built",
        "built    numbers: 4 parts, 820 rows, 175.1 kB",
        "hygge: 1 built in",
    ] {
        assert!(
            first.text.contains(line) && readme.contains(line),
            "{line} is not in {} or not in the readme",
            first.text
        );
    }
    let second = sandbox.run(&["-f", "samples/minimal.yml", "build"]);
    let line = shown(&second.text).expect("a line");
    assert!(readme.contains(&line), "{line} is not in the readme");
    assert!(
        !first.text.contains(".."),
        "paths are shown as they are: {}",
        first.text
    );
}

#[test]
fn selections_are_those_of_make() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b, tags: [nightly]}\n  c: {home: {flow: b}, store: out/c}\n",
    );
    let planned = |arguments: &[&str]| {
        let ran = sandbox.build(&[&["--dry-run"], arguments].concat());
        let flows = ran.events.iter().filter(|event| event["event"] == "plan");
        flows
            .map(|event| event["flow"].as_str().expect("a flow").to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (arguments, flows) in [
        (&["b"][..], "a b"),
        (&["b+"], "a b c"),
        (&["b", "--only"], "b"),
        (&["tag:nightly"], "a b"),
        (&["c,tag:nightly"], ""),
        (&["*", "--exclude", "c"], "a b"),
    ] {
        assert_eq!(planned(arguments), flows, "{arguments:?}");
    }
}

#[test]
fn an_upstream_that_someone_altered_is_not_read_as_if_it_were_whole() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: mid}\n  \
         b: {home: {flow: a}, store: {path: out, compression: zstd}}\n",
    );
    files::ints(&sandbox, "home/x.parquet", 0..100);
    sandbox.build(&[]);
    let before = sandbox.digests("out");
    files::ints(&sandbox, "mid/00000000000000000001.parquet", 5000..5100);
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("the config");
    sandbox.write("hygge.yml", config.replace("zstd", "gzip"));
    let ran = sandbox.build(&["b", "--only"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error().contains("flow a, is not as it was published"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.digests("out"), before);
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.outcome("a"), ran.outcome("b")),
        (0, "built", "built"),
        "{}",
        ran.text
    );
    assert_eq!(
        files::read(&sandbox, "out/00000000000000000001.parquet").rows,
        100
    );
}

#[test]
fn the_end_of_a_long_chain_is_built_alone() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: {flow: a}, store: out/b}\n  \
         c: {home: {flow: b}, store: out/c}\n",
    );
    sandbox.build(&[]);
    // Everything has aged, so that witnesses vouch for all flows.
    sandbox.let_files_age();
    sandbox.build(&[]);
    assert_eq!(
        sandbox.build(&[]).event("build_finished")["bytes_hashed"],
        0,
        "witnesses vouch"
    );
    fs::remove_file(sandbox.path("out/c/00000000000000000001.parquet")).expect("a part");
    let ran = sandbox.build(&[]);
    let outcomes = (ran.outcome("a"), ran.outcome("b"), ran.outcome("c"));
    assert_eq!(
        (ran.code, outcomes),
        (0, ("fresh", "fresh", "restored")),
        "{}",
        ran.text
    );
}

#[test]
fn packing_remakes_only_what_stands_behind_a_change() {
    let config = "flows:\n  ids: {home: home, store: {path: store, rows_per_file: 100}}\n";
    let sandbox = Sandbox::new(config);
    // Thirty small files, and a large one in their midst behind which packing begins anew.
    for number in 0..30 {
        let rows = if number == 15 { 100 } else { 25 };
        files::ints(
            &sandbox,
            &format!("home/{number:02}.parquet"),
            number * 1000..number * 1000 + rows,
        );
    }
    assert_eq!(sandbox.build(&[]).event("flow_finished")["parts_made"], 9);
    let parts_made = |what: &str, most: u64| {
        let ran = sandbox.build(&[]);
        let made = ran.event("flow_finished")["parts_made"]
            .as_u64()
            .expect("a number");
        assert!(
            made >= 1 && made <= most,
            "{what}: {made} parts were made, at most {most} are allowed"
        );
        let nothing = Sandbox::new(config);
        for entry in fs::read_dir(sandbox.path("home")).expect("a home") {
            let path = entry.expect("an entry").path();
            nothing.write(
                &format!(
                    "home/{}",
                    path.file_name().expect("a name").to_string_lossy()
                ),
                fs::read(&path).expect("an input"),
            );
        }
        assert_eq!(nothing.build(&[]).code, 0);
        assert_eq!(
            sandbox.digests("store"),
            nothing.digests("store"),
            "{what}: as if it were built from nothing"
        );
    };
    files::ints(&sandbox, "home/05.parquet", 0..25);
    parts_made("other values in one file", 1);
    files::ints(&sandbox, "home/30.parquet", 0..25);
    parts_made("one more at the end", 1);
    files::ints(&sandbox, "home/00a.parquet", 7..32);
    parts_made("one more at the beginning, up to the large one", 5);
    fs::remove_file(sandbox.path("home/20.parquet")).expect("an input");
    parts_made("one less behind the large one", 4);
    files::ints(&sandbox, "home/15.parquet", 0..101);
    parts_made("the large one", 1);
}
