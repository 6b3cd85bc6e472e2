//! `hygge restore` and `hygge log`: earlier sets come back, stay, and end to stay.

use std::fs;

use crate::common::files;
use crate::common::sandbox::Sandbox;

fn three_sets(config: &str) -> (Sandbox, Vec<std::collections::BTreeMap<String, String>>) {
    let sandbox = Sandbox::new(config);
    let mut sets = Vec::new();
    for rows in [10, 20, 30] {
        files::ints_and_texts(&sandbox, "home/a.parquet", 0..rows);
        files::ints_and_texts(&sandbox, &format!("home/{rows}.parquet"), 0..rows);
        assert_eq!(sandbox.build(&[]).code, 0);
        sets.push(sandbox.digests("store"));
    }
    (sandbox, sets)
}

const ZSTD: &str = "flows:\n  ids: {home: home, store: {path: store, compression: zstd}}\n";
const FRESH: &str = "hygge: nothing to do, 1 flow is fresh\n";

#[test]
fn an_earlier_set_comes_back_and_stays_until_it_is_let_go() {
    let in_place = ZSTD.replace("zstd}", "zstd, publish: in_place}");
    for config in [ZSTD, &in_place] {
        let (sandbox, sets) = three_sets(config);
        for (arguments, expected) in [
            (&["restore", "ids"][..], 1),
            (&["restore", "ids"], 0),
            (&["restore", "ids", "--build", "2"], 1),
        ] {
            let ran = sandbox.run(arguments);
            assert_eq!(ran.code, 0, "{}", ran.text);
            assert_eq!(sandbox.digests("store"), sets[expected], "{arguments:?}");
        }
        files::ints_and_texts(&sandbox, "home/new.parquet", 0..5);
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 0
                && ran.text.contains("stays at the set of run 2")
                && ran.text.ends_with(FRESH),
            "{}",
            ran.text
        );
        assert_eq!(sandbox.digests("store"), sets[1]);
        assert!(
            sandbox
                .run(&["why", "ids"])
                .text
                .contains("stays at the set of run 2")
        );
        assert_eq!(sandbox.run(&["restore", "ids", "--latest"]).code, 0);
        assert_eq!(sandbox.digests("store"), sets[2]);
        assert_eq!(
            sandbox.build(&[]).event("flow_finished")["parts_made"],
            1,
            "the new input"
        );
    }
}

#[test]
fn a_forced_build_ends_the_stay() {
    let (sandbox, sets) = three_sets(ZSTD);
    assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
    assert_eq!(sandbox.run(&["build", "--force", "ids"]).code, 0);
    assert_eq!(sandbox.digests("store"), sets[2]);
    assert_eq!(sandbox.run(&["build"]).text, FRESH);
}

#[test]
fn a_set_that_stays_is_kept_whole() {
    let (sandbox, sets) = three_sets(ZSTD);
    assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
    let name = sets[1].keys().next().expect("a part").clone();
    sandbox.write(&format!("store/{name}"), "altered");
    assert_eq!(
        sandbox.build(&[]).outcome("ids"),
        "restored",
        "another part has the same bytes"
    );
    assert_eq!(sandbox.digests("store"), sets[1]);
    sets[1]
        .keys()
        .for_each(|name| sandbox.write(&format!("store/{name}"), "altered"));
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1 && ran.error().contains("no longer at hand"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.run(&["build", "--force", "ids"]).code, 0);
    assert_eq!(sandbox.digests("store"), sets[2]);
    assert!(sandbox.find(".hygge/displaced", &name).is_some());
}

#[test]
fn the_cache_keeps_what_stays_and_what_was_the_latest() {
    let (sandbox, sets) = three_sets(&format!("options: {{cache: {{keep: always}}}}\n{ZSTD}"));
    assert_eq!(sandbox.run(&["restore", "ids", "--build", "1"]).code, 0);
    // A build ends by letting go of what nothing needs, and so does this.
    assert_eq!(
        sandbox
            .run(&["cache", "gc", "--max-age", "0", "--max-size", "0"])
            .code,
        0
    );
    sets[0]
        .keys()
        .for_each(|name| sandbox.write(&format!("store/{name}"), "altered"));
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 0 && ran.outcome("ids") == "restored",
        "{}",
        ran.text
    );
    assert_eq!(sandbox.digests("store"), sets[0]);
    let ran = sandbox.run(&["restore", "ids", "--latest"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(sandbox.digests("store"), sets[2]);
}

#[test]
fn rows_of_inputs_that_are_gone_survive_going_back_and_forth() {
    let configs = [
        ("", ""),
        ("options: {cache: {keep: always}}\n", ""),
        ("", ", publish: in_place"),
    ];
    let ways = [
        &["restore", "ids", "--latest"][..],
        &["build", "--force", "ids"],
    ];
    for ((config, store), back) in configs
        .into_iter()
        .flat_map(|config| ways.map(|back| (config, back)))
    {
        let sandbox = Sandbox::new(&format!(
            "{config}flows:\n  ids: {{home: home, store: {{path: store{store}}}, mode: append}}\n"
        ));
        files::ints(&sandbox, "home/a.parquet", 0..2);
        assert_eq!(sandbox.build(&[]).code, 0);
        let first = sandbox.digests("store");
        files::ints(&sandbox, "home/b.parquet", 10..12);
        assert_eq!(sandbox.build(&[]).code, 0);
        let second = sandbox.digests("store");
        fs::remove_file(sandbox.path("home/b.parquet")).expect("an input");
        assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
        assert_eq!(sandbox.digests("store"), first);
        assert_eq!(
            sandbox
                .run(&["cache", "gc", "--max-age", "0", "--max-size", "0"])
                .code,
            0
        );
        // A build looks at the store, and what is beside it comes to rest.
        let live = first.keys().next().expect("a part");
        fs::remove_file(sandbox.path("store").join(live)).expect("a part");
        // The folder before has it too, where there is one.
        assert_eq!(sandbox.build(&[]).code, i32::from(!store.is_empty()));
        sandbox.write(
            &format!("store/{live}"),
            fs::read(sandbox.path("home/a.parquet")).expect("an input"),
        );
        // Receipt and store have all of it.
        fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        let ran = sandbox.run(back);
        assert_eq!(ran.code, 0, "{back:?}: {}", ran.text);
        assert_eq!(sandbox.digests("store"), second, "{config}{store} {back:?}");
        assert!(sandbox.run(&["build"]).text.ends_with(FRESH));
        files::ints(&sandbox, "home/c.parquet", 20..22);
        assert_eq!(sandbox.build(&[]).event("flow_finished")["parts_made"], 1);
        for left in [".hygge/store.latest", "store/.hygge/latest"] {
            assert!(!sandbox.path(left).exists(), "{left} is left");
        }
    }
}

#[test]
fn the_latest_set_is_what_the_receipt_says_and_nothing_happens_where_it_is_there() {
    let (sandbox, sets) = three_sets(ZSTD);
    // Its history is another one's: the set of a lost cache.
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    let ran = sandbox.run(&["restore", "ids", "--latest"]);
    assert!(ran.code == 0 && ran.text.ends_with(FRESH), "{}", ran.text);
    assert_eq!(sandbox.digests("store"), sets[2]);
}

#[test]
fn a_set_whose_parts_may_be_nowhere_else_is_not_left_while_one_is_missing() {
    let sandbox = Sandbox::new("flows:\n  ids: {home: home, store: store, mode: append}\n");
    for name in ["a", "b"] {
        files::ints(&sandbox, &format!("home/{name}.parquet"), 0..2);
        assert_eq!(sandbox.build(&[]).code, 0);
    }
    let part = sandbox.path("store/00000000000000000002.parquet");
    fs::remove_file(&part).expect("a part");
    let ran = sandbox.run(&["restore", "ids"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("00000000000000000002.parquet of the latest set is missing"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.build(&[]).code, 0, "it is made again");
    assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
    assert!(!part.exists());
}

#[test]
fn a_flow_that_takes_a_store_over_does_not_stay_where_the_other_did() {
    for mode in ["", ", mode: append"] {
        let flow = |name: &str, store: &str| {
            format!("  {name}: {{home: home, store: {{path: {store}, compression: zstd}}{mode}}}\n")
        };
        let (sandbox, _) = three_sets(&format!(
            "flows:\n{}",
            flow("ids", "store").replace(", mode: append", "")
        ));
        let latest = sandbox.digests("store");
        assert_eq!(sandbox.run(&["restore", "ids"]).code, 0);
        sandbox.write(
            "hygge.yml",
            format!(
                "flows:\n{}{}",
                flow("numbers", "store"),
                flow("ids", "elsewhere")
            ),
        );
        let ran = sandbox.build(&["numbers"]);
        assert_eq!(
            (ran.code, ran.outcome("numbers")),
            (0, "restored"),
            "{mode}: {}",
            ran.text
        );
        assert_eq!(sandbox.digests("store"), latest, "{mode}");
    }
}

#[test]
fn the_set_of_a_run_that_was_killed_is_remembered() {
    let sandbox = Sandbox::new(ZSTD);
    files::ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    let first = sandbox.digests("store");
    files::ints(&sandbox, "home/a.parquet", 0..20);
    let saved = sandbox.save();
    let mut killed_late = 0;
    for step in 1.. {
        sandbox.reset(&saved);
        if sandbox
            .run_with(&[("HYGGE_FAIL", &format!("abort:{step}"))], &["build"])
            .code
            == 0
        {
            break;
        }
        let second = sandbox.digests("store");
        if second == first {
            continue;
        }
        killed_late += 1;
        files::ints(&sandbox, "home/a.parquet", 0..30);
        assert_eq!(sandbox.build(&[]).code, 0);
        let ran = sandbox.run(&["restore", "ids"]);
        assert_eq!(
            (ran.code, sandbox.digests("store")),
            (0, second),
            "step {step}: {}",
            ran.text
        );
    }
    assert!(
        killed_late > 2,
        "only {killed_late} builds were killed behind the exchange"
    );
}

#[test]
fn a_set_that_was_never_there_is_refused_with_those_that_were() {
    let (sandbox, sets) = three_sets(ZSTD);
    let ran = sandbox.run(&["restore", "ids", "--build", "77"]);
    assert!(
        ran.code == 1 && ran.text.contains("sets of runs: 3, 2, 1"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.run(&["restore", "nobody"]).code, 2);
    assert_eq!(sandbox.digests("store"), sets[2]);
}

#[test]
fn the_history_survives_a_move_of_the_project() {
    let sandbox = Sandbox::new("");
    sandbox.write("one/hygge.yml", ZSTD);
    for rows in [10, 20] {
        files::ints(&sandbox, "one/home/a.parquet", 0..rows);
        assert_eq!(sandbox.build(&["-f", "one/hygge.yml"]).code, 0);
    }
    fs::rename(sandbox.path("one"), sandbox.path("two")).expect("a rename");
    assert_eq!(
        sandbox.run(&["restore", "ids", "-f", "two/hygge.yml"]).code,
        0
    );
    assert_eq!(
        files::read(&sandbox, "two/store/00000000000000000001.parquet").rows,
        10
    );
}

#[test]
fn the_log_tells_what_ran_and_why_and_what_failed() {
    let sandbox = Sandbox::new(
        "name: p\nflows:\n  good: {home: home, store: out/good}\n  \
         bad: {home: bad, store: out/bad}\n",
    );
    assert_eq!(
        sandbox.run(&["log"]).text,
        "no run had anything to do yet\n"
    );
    assert!(
        !sandbox.path(".hygge-cache").exists(),
        "who only looks makes no cache"
    );
    files::ints(&sandbox, "home/a.parquet", 0..5);
    sandbox.write("bad/a.parquet", "no parquet");
    assert_eq!(sandbox.build(&[]).code, 1);
    let log = sandbox.run(&["log", "--format", "json"]);
    let run = log.event("run");
    assert_eq!(
        (
            run["run"].as_i64(),
            run["project"].as_str(),
            run["ended"].is_string()
        ),
        (Some(1), Some("p"), true),
        "{}",
        log.text
    );
    let flow = |name: &str| {
        run["flows"]
            .as_array()
            .expect("flows")
            .iter()
            .find(|flow| flow["flow"] == name)
            .expect("a flow")
            .clone()
    };
    assert_eq!(
        (
            flow("good")["outcome"].as_str(),
            flow("good")["rows"].as_u64()
        ),
        (Some("built"), Some(5))
    );
    assert!(
        flow("bad")["outcome"] == "failed"
            && flow("bad")["error"]
                .as_str()
                .is_some_and(|error| error.contains("a.parquet"))
    );
    let text = sandbox.run(&["log", "good"]).text;
    assert!(
        text.contains("built    good: 1 part made")
            && text.contains("never built")
            && !text.contains("bad"),
        "{text}"
    );
    assert_eq!(sandbox.run(&["build", "good"]).code, 0);
    assert_eq!(
        sandbox.run(&["log", "--format", "json"]).events.len(),
        1,
        "a build with nothing to do is no run"
    );
    assert_eq!(sandbox.run(&["log", "nobody"]).code, 2);
}

/// An append flow with rows whose input is gone, at whose first set it stays.
fn stays_at_the_first_set(store: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!(
        "name: p\nflows:\n  ids: {{home: home, store: {{path: out/store{store}}}, mode: append}}\n"
    ));
    for (name, values) in [("a", 0..2), ("b", 10..12), ("c", 20..22)] {
        files::ints(&sandbox, &format!("home/{name}.parquet"), values);
        assert_eq!(sandbox.build(&[]).code, 0);
    }
    fs::remove_file(sandbox.path("home/b.parquet")).expect("an input");
    fs::remove_file(sandbox.path("home/c.parquet")).expect("an input");
    assert_eq!(sandbox.run(&["restore", "ids", "--build", "1"]).code, 0);
    assert_eq!(crate::append::ids(&sandbox, "out/store"), [0, 1]);
    sandbox
}

const ALL: [i64; 6] = [0, 1, 10, 11, 20, 21];

#[test]
fn the_latest_set_comes_back_whatever_became_of_the_way_it_is_published() {
    for (one, other) in [("", ", publish: in_place"), (", publish: in_place", "")] {
        for in_between in [false, true] {
            let sandbox = stays_at_the_first_set(one);
            if in_between {
                // A build has something to do, and settles the store.
                fs::remove_file(sandbox.path("out/store/00000000000000000001.parquet"))
                    .expect("a part");
                sandbox.build(&[]);
                fs::copy(
                    sandbox.path("home/a.parquet"),
                    sandbox.path("out/store/00000000000000000001.parquet"),
                )
                .expect("a part");
            }
            let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
            sandbox.write(
                "hygge.yml",
                config.replace(&format!("out/store{one}"), &format!("out/store{other}")),
            );
            let ran = sandbox.run(&["restore", "ids", "--latest"]);
            assert_eq!(ran.code, 0, "{one} {other} {in_between}: {}", ran.text);
            assert_eq!(
                crate::append::ids(&sandbox, "out/store"),
                ALL,
                "{one} {other} {in_between}"
            );
            assert!(sandbox.run(&["build"]).text.ends_with(FRESH));
        }
    }
}

#[test]
fn a_part_that_was_touched_or_copied_is_the_part() {
    let touched = stays_at_the_first_set("");
    let copied = Sandbox::new("");
    for name in ["out", "home", "hygge.yml", ".hygge-cache"] {
        let from = touched.path(name);
        let script = format!("cp -r {} {}", from.display(), copied.path("").display());
        assert!(
            std::process::Command::new("sh")
                .args(["-c", &script])
                .status()
                .expect("sh")
                .success()
        );
    }
    let script = format!(
        "find {} -name '*.parquet' -exec touch {{}} +",
        touched.path("out").display()
    );
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .expect("sh")
            .success()
    );
    for sandbox in [touched, copied] {
        let ran = sandbox.run(&["restore", "ids", "--latest"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert_eq!(crate::append::ids(&sandbox, "out/store"), ALL);
        assert!(!ran.text.contains("altered"), "{}", ran.text);
        assert!(
            !sandbox.path("out/.hygge/displaced").exists(),
            "nothing is put aside"
        );
    }
}

#[test]
fn a_part_of_the_latest_set_that_waits_is_found_after_it_was_let_go() {
    let sandbox = stays_at_the_first_set("");
    assert_eq!(sandbox.run(&["restore", "ids", "--latest"]).code, 0);
    fs::remove_file(sandbox.path("out/store/00000000000000000003.parquet")).expect("a part");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(crate::append::ids(&sandbox, "out/store"), ALL);
}

#[test]
fn a_set_stays_when_the_project_or_the_flow_gets_another_name() {
    for (old, new) in [("name: p", "name: q"), ("  ids:", "  numbers:")] {
        let sandbox = stays_at_the_first_set("");
        let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
        sandbox.write("hygge.yml", config.replace(old, new));
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 0 && ran.text.contains("stays at the set of run 1"),
            "{new}: {}",
            ran.text
        );
        assert_eq!(crate::append::ids(&sandbox, "out/store"), [0, 1], "{new}");
        assert_eq!(
            sandbox
                .run(&[
                    "build",
                    "--force",
                    if new.contains("numbers") {
                        "numbers"
                    } else {
                        "ids"
                    }
                ])
                .code,
            0
        );
        assert_eq!(crate::append::ids(&sandbox, "out/store"), ALL, "{new}");
    }
}

#[test]
fn what_is_there_already_is_no_run() {
    let (sandbox, _) = three_sets(ZSTD);
    assert_eq!(sandbox.run(&["restore", "ids", "--latest"]).code, 0);
    assert_eq!(sandbox.run(&["log", "--format", "json"]).events.len(), 3);
}
