//! Why a flow would be built, and what became of it: plans, `why`, `log`, and what there is to
//! restore.

use std::fs;

use crate::common::sandbox::{Sandbox, built};

#[test]
fn a_plan_lists_some_reasons_and_says_how_to_see_all() {
    let sandbox = Sandbox::new(
        "flows: {n: {home: home, store: {path: out, file_pattern: \"{stem}.parquet\"}}}\n",
    );
    (0..60).for_each(|number| sandbox.sample("north", &format!("home/f{number}.parquet")));
    built(&sandbox);
    (0..60).for_each(|number| {
        fs::remove_file(sandbox.path(&format!("out/f{number}.parquet"))).expect("a file")
    });
    for (arguments, reasons, more) in [
        (
            &["build", "--dry-run"][..],
            5,
            "and 55 more: hygge why n --all",
        ),
        (&["build", "--check"], 5, "and 55 more: hygge why n --all"),
        (&["why", "n"], 20, "and 40 more: --all lists them"),
        (&["why", "n", "--all"], 60, ""),
    ] {
        let text = sandbox.run(arguments).text;
        assert!(
            text.matches(" is missing").count() == reasons && text.contains(more),
            "{arguments:?}: {text}"
        );
    }
    let whole = sandbox.build(&["--dry-run"]);
    assert_eq!(
        whole.event("plan")["reasons"].as_array().map(Vec::len),
        Some(60),
        "programs get all"
    );
}

#[test]
fn why_and_log_speak_of_the_last_failure_in_the_order_of_its_causes() {
    let sandbox = Sandbox::new(
        "flows:\n  z: {home: home, store: out/z, max_shrink: 1%}\n  \
         a: {home: {flow: z}, store: out/a}\n",
    );
    (0..4).for_each(|number| sandbox.sample("north", &format!("home/f{number}.parquet")));
    built(&sandbox);
    let before = sandbox.run(&["why", "z"]).text;
    assert!(!before.contains("its last run"), "{before}");
    (1..4).for_each(|number| {
        fs::remove_file(sandbox.path(&format!("home/f{number}.parquet"))).expect("a file")
    });
    assert_eq!(sandbox.build(&[]).code, 1);
    let why = sandbox.run(&["why", "z"]).text;
    assert!(
        why.contains("its last run, 2 of ")
            && why.contains(" UTC: failed: ")
            && why.contains("max_shrink"),
        "{why}"
    );
    assert!(
        why.contains("hint: ") && why.contains("--accept-shrink"),
        "{why}"
    );
    let why = sandbox.run(&["why", "a"]).text;
    assert!(
        why.contains("skipped: its upstream z did not end well"),
        "{why}"
    );
    let log = sandbox.run(&["log"]).text;
    let place = |word: &str| {
        log.find(word)
            .unwrap_or_else(|| panic!("{word:?} is not in {log}"))
    };
    assert!(
        place("failed   z") < place("skipped  a"),
        "causes stand first: {log}"
    );
    assert!(
        log.contains("hint: ")
            && log
                .lines()
                .filter(|line| line.starts_with("run "))
                .all(|line| line.ends_with(" UTC")),
        "{log}"
    );
    let ran = sandbox.run(&["why", "z", "--format", "json"]);
    assert_eq!(ran.event("why")["last_failure"]["run"], 2);
    let ran = sandbox.run(&["build", "--accept-shrink"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let why = sandbox.run(&["why", "z"]).text;
    assert!(
        !why.contains("its last run") && why.contains(" UTC, 1 part, "),
        "it has ended well since: {why}"
    );
}

#[test]
fn retries_and_what_they_took_count() {
    let config = "connections: {s: {url: \"postgres://u@127.0.0.1:1/x\"}}\n\
                  flows: {a: {home: {connection: s, table: t}, store: out, retries: 1}}\n";
    let sandbox = Sandbox::new(config);
    let ran = sandbox.build(&[]);
    let ended = ran.event("flow_finished");
    assert!(
        ended["retries"] == 1 && ended["seconds"].as_f64() > Some(1.0),
        "{ended}"
    );
    assert!(ran.event("build_finished")["seconds"].as_f64() >= ended["seconds"].as_f64());
    let log = sandbox.run(&["log"]).text;
    assert!(log.contains(", after 1 retry"), "{log}");
    let ran = sandbox.run(&["log", "--format", "json"]);
    let flow = &ran.event("run")["flows"][0];
    assert!(
        flow["retries"] == 1 && flow["seconds"].as_f64() > Some(1.0),
        "{flow}"
    );
}

#[test]
fn planning_is_a_part_of_the_time_of_a_build() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let ran = built(&sandbox);
    assert!(
        ran.event("build_finished")["seconds"].as_f64() > Some(0.0),
        "nothing was to do, and that was found out: {}",
        ran.text
    );
}

#[test]
fn what_is_published_for_the_first_time_does_not_come_back() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: out/a}\n  b: {home: home, store: out/b, needs: [a]}\n",
    );
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.text.contains("built    b: 4 parts (0 made, 4 kept)")
            && ran.text.contains("hygge: 2 built in "),
        "{}",
        ran.text
    );
    assert!(!ran.text.contains("restored"), "{}", ran.text);
    fs::remove_dir_all(sandbox.path("out/b")).expect("a store");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.text.contains("restored b") && ran.text.contains("1 restored, 1 fresh"),
        "{}",
        ran.text
    );
}

#[test]
fn why_there_is_no_set_to_restore_agrees_with_the_sets_that_there_are() {
    let sandbox = Sandbox::numbers();
    built(&sandbox);
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(
        ran.code == 1
            && ran.text.contains(
                "every set of flow numbers that is remembered has the parts that are published now"
            ),
        "{}",
        ran.text
    );
    sandbox.sample("north", "home/more.parquet");
    built(&sandbox);
    assert_eq!(sandbox.run(&["restore", "numbers"]).code, 0);
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(
        ran.text
            .contains("stays at the set of run 1, and none is remembered that is older"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("sets of runs: 2, 1; --build 2"),
        "{}",
        ran.text
    );
    fs::remove_dir_all(sandbox.path("store")).expect("a store");
    fs::remove_file(sandbox.path(".hygge/store.json")).expect("a receipt");
    let ran = sandbox.run(&["restore", "numbers"]);
    assert!(
        ran.text.contains("nothing of flow numbers is published")
            && ran.text.contains("sets of runs: 2, 1"),
        "{}",
        ran.text
    );
}
