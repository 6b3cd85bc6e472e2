//! What the options of a flow and of a store do: timeouts, going on without a flow, levels.

use std::fs;
use std::time::Duration;

use polars_parquet::write::CompressionOptions;

use crate::common::files;
use crate::common::sandbox::{CommandOutput, Sandbox};

#[test]
fn a_flow_that_takes_too_long_fails_and_the_next_build_goes_on() {
    let sandbox = Sandbox::new(
        "flows:\n  slow: {home: home, store: {path: store, compression: zstd, compression_level: 22}, timeout: 1s}\n  quick: {home: quick, store: out}\n",
    );
    for part in 0..6 {
        files::ints_and_texts(
            &sandbox,
            &format!("home/{part}.parquet"),
            part * 200_000..(part + 1) * 200_000,
        );
    }
    files::ints(&sandbox, "quick/a.parquet", 0..10);
    let ran = sandbox.build(&["-j", "1"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error()
            .contains("it took longer than its timeout of 1s"),
        "{}",
        ran.text
    );
    assert_eq!(ran.outcome("quick"), "built");
    assert!(!sandbox.path("store").exists(), "nothing is published");
    let took = Duration::from_secs_f64(
        ran.event("build_finished")["seconds"]
            .as_f64()
            .expect("a time"),
    );
    let made = ran
        .events
        .iter()
        .filter(|event| event["event"] == "part_made" && event["flow"] == "slow")
        .count();
    assert!(made < 6, "{took:?}");
    sandbox.write(
        "hygge.yml",
        "flows:\n  slow: {home: home, store: {path: store, compression: zstd, compression_level: \
         22}, timeout: 10m}\n",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_kept"],
        made,
        "{}",
        ran.text
    );
}

#[test]
fn waiting_for_others_is_no_part_of_a_timeout() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: {path: a, compression: zstd, compression_level: 22}}\n  \
         b: {home: quick, store: b, timeout: 1s, needs: []}\n",
    );
    for part in 0..4 {
        files::ints_and_texts(
            &sandbox,
            &format!("home/{part}.parquet"),
            part * 200_000..(part + 1) * 200_000,
        );
    }
    files::ints(&sandbox, "quick/a.parquet", 0..10);
    let ran = sandbox.build(&["-j", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
}

#[test]
fn a_flow_says_whether_others_go_on_without_it() {
    let flows = "  a: {home: missing, store: a, AAA}\n  b: {home: {flow: c}, store: b}\n  \
                 c: {home: home, store: c}\n";
    let built = |options: &str, own: &str, arguments: &[&str]| -> CommandOutput {
        let sandbox = Sandbox::new(&format!(
            "options: {{{options}}}\nflows:\n{}",
            flows.replace("AAA", own)
        ));
        sandbox.sample("north", "home/north.parquet");
        sandbox.build(&[&["-j", "1"], arguments].concat())
    };
    for (options, own, arguments, goes_on) in [
        ("", "", &[][..], true),
        ("continue_on_error: false", "", &[], false),
        (
            "continue_on_error: false",
            "continue_on_error: true",
            &[],
            true,
        ),
        ("", "continue_on_error: false", &[], false),
        ("", "options: {continue_on_error: false}", &[], false),
        ("", "continue_on_error: true", &["--fail-fast"], false),
    ] {
        let ran = built(options, own, arguments);
        assert_eq!(ran.code, 1, "{}", ran.text);
        assert_eq!(
            ran.outcome("b") == "skipped",
            !goes_on,
            "{options} {own}: {}",
            ran.text
        );
    }
}

#[test]
fn a_level_packs_anew_what_has_the_compression_already() {
    let size = |level: &str| {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  a: {{home: home, store: {{path: store, compression: zstd{level}}}}}\n"
        ));
        files::ints_in_groups(
            &sandbox,
            "home/a.parquet",
            0..200_000,
            usize::MAX,
            CompressionOptions::Zstd(None),
        );
        let home = fs::metadata(sandbox.path("home/a.parquet"))
            .expect("a file")
            .len();
        assert_eq!(sandbox.build(&[]).code, 0);
        let store = sandbox.path("store/00000000000000000001.parquet");
        assert_eq!(
            files::read(&sandbox, "store/00000000000000000001.parquet"),
            files::read(&sandbox, "home/a.parquet")
        );
        (home, fs::metadata(store).expect("a file").len())
    };
    let (home, same) = size("");
    assert_eq!(same, home, "it has zstd already");
    let (home, smaller) = size(", compression_level: 19");
    assert!(smaller < home, "{smaller} {home}");
}
