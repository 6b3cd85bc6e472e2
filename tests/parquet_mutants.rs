//! Damaged parquet files: each is refused by its name, or what is published of it reads as the file
//! itself does, by pyarrow.

use std::ffi::OsStr;
use std::fs;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::Sandbox;

/// How many mutants are tried where nothing is said; `HYGGE_TEST_MUTANTS` says more.
const FEW: usize = 320;

/// So many are tried at once: one process has them all.
const AT_ONCE: usize = 1000;

/// Packed anew twice, because what has a codec already is not packed by it, and cut.
const STORES: [(&str, &str); 3] = [
    ("packed", "compression: gzip"),
    ("unpacked", "compression: uncompressed"),
    ("cut", "rows_per_file: 20, compression: zstd"),
];

fn config() -> String {
    let flow = |(name, fields): &(&str, &str)| {
        let (home, entities) = ("mutants/{entity}.parquet", "{from: \"mutants/*.parquet\"}");
        format!(
            "  {name}: {{home: \"{home}\", store: {{path: \"{name}/{{entity}}\", {fields}}}, \
             entities: {entities}}}\n"
        )
    };
    format!("flows:\n{}", STORES.iter().map(flow).collect::<String>())
}

/// Tries some mutants; gives how many flows were built, and how many failed.
fn tried(first: usize, count: usize) -> (usize, usize) {
    let sandbox = Sandbox::new(&config());
    let mutants = sandbox.path("mutants");
    let numbers = [first.to_string(), count.to_string()];
    let make = [
        OsStr::new("--make"),
        mutants.as_os_str(),
        OsStr::new(&numbers[0]),
        OsStr::new(&numbers[1]),
    ];
    let made = peers::python("mutants.py", &make);
    assert_success(&made);
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.code,
        1,
        "the process ends as it should: {}",
        ran.text.chars().rev().take(2000).collect::<String>()
    );
    let ended: Vec<_> = ran
        .events
        .iter()
        .filter(|event| event["event"] == "flow_finished")
        .collect();
    assert_eq!(
        ended.len(),
        count * STORES.len(),
        "every flow comes to its end"
    );
    let failed: Vec<_> = ended
        .iter()
        .filter(|event| event["outcome"] == "failed")
        .collect();
    for event in &failed {
        let (flow, error) = (
            event["flow"].as_str().unwrap_or_default(),
            event["error"].as_str().unwrap_or_default(),
        );
        let mutant = flow.rsplit('.').next().unwrap_or_default();
        assert!(
            error.contains(&format!("mutants/{mutant}.parquet")) || error.contains("are encrypted"),
            "{flow}: {error}"
        );
        assert!(!error.contains("a library gave up"), "{flow}: {error}");
    }
    let stores: Vec<_> = STORES.iter().map(|(name, _)| sandbox.path(name)).collect();
    let mut compare = vec![OsStr::new("--compare"), mutants.as_os_str()];
    compare.extend(stores.iter().map(|store| store.as_os_str()));
    let compared = peers::python("mutants.py", &compare);
    let (lines, errors) = (
        String::from_utf8_lossy(&compared.stdout),
        String::from_utf8_lossy(&compared.stderr),
    );
    let wrong: Vec<&str> = lines
        .lines()
        .filter(|line| line.contains("\"wrong\""))
        .collect();
    if !compared.status.success() {
        // What was wrong can be looked at.
        let kept = std::env::temp_dir().join(format!("hygge-mutants-{first}"));
        drop(fs::remove_dir_all(&kept));
        drop(fs::rename(sandbox.path(""), &kept));
        panic!(
            "mutants of {}: {}{errors}",
            kept.display(),
            wrong.join("\n")
        );
    }
    (ended.len() - failed.len(), failed.len())
}

#[test]
#[expect(clippy::print_stdout, reason = "a long run tells its numbers")]
fn a_damaged_file_is_refused_or_arrives_as_others_read_it() {
    let all = std::env::var("HYGGE_TEST_MUTANTS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(FEW);
    let (mut built, mut failed) = (0, 0);
    for first in (0..all).step_by(AT_ONCE) {
        let (well, ill) = tried(first, AT_ONCE.min(all - first));
        (built, failed) = (built + well, failed + ill);
    }
    assert!(
        built > all / 2 && failed > all / 2,
        "{built} were built, and {failed} failed: they show nothing"
    );
    println!("{all} mutants: {built} flows built, {failed} failed");
}
