//! What parts say of their values is true of them, judged by pyarrow: nulls, bounds, orders,
//! filters and indexes, also where a part has more rows than one page.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox};

const CONFIG: &str = "flows:
  whole: {home: home/one_group, store: out/whole}
  recompressed: {home: home/one_group, store: {path: out/recompressed, compression: zstd}}
  recompressed_again: {home: home/some_groups, store: {path: out/recompressed_again, compression: gzip}}
  moved: {home: home/some_groups, store: {path: out/moved, rows_per_file: 300000}}
  packed: {home: home/small, store: {path: out/packed, rows_per_file: 100000}}
  packed_anew: {home: home/small, store: {path: out/packed_anew, rows_per_file: 100000, compression: lz4}}
  cut: {home: home/one_group, store: {path: out/cut, rows_per_file: 270000, compression: snappy}}
  cut_small: {home: home/one_group, store: {path: out/cut_small, rows_per_file: 60000}}
";

fn made() -> Sandbox {
    let sandbox = Sandbox::new(CONFIG);
    let home = sandbox.path("home");
    let made = peers::python("statistics.py", &[OsStr::new("--make"), home.as_os_str()]);
    assert_success(&made);
    sandbox
}

fn stores(sandbox: &Sandbox) -> Vec<PathBuf> {
    let names = CONFIG
        .lines()
        .filter_map(|line| line.trim().split_once(": {"))
        .map(|(name, _)| name);
    names
        .map(|name| sandbox.path(&format!("out/{name}")))
        .collect()
}

fn built(ran: &CommandOutput, flows: usize) {
    assert_eq!(
        (ran.code, ran.event("build_finished")["built"].as_u64()),
        (0, Some(flows as u64)),
        "{}",
        ran.text
    );
}

#[test]
fn statistics_are_those_of_the_rows() {
    let sandbox = made();
    let flows = stores(&sandbox);
    built(&sandbox.build(&[]), flows.len());
    let folders: Vec<&OsStr> = flows.iter().map(|folder| folder.as_os_str()).collect();
    let checked = peers::python("statistics.py", &folders);
    let (lines, errors) = (
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr),
    );
    assert!(
        checked.status.success() && lines.contains(" 0 wrong"),
        "{lines}{errors}"
    );
    // The one without rows that readers find by statistics is the one that has none.
    for (store, text) in [
        ("cut", "few_texts is not null"),
        ("cut", "u32 > 3000000000"),
        ("cut", "small_decimal < 0"),
        ("cut", "nan > 1e8"),
    ] {
        let query = format!(
            "import duckdb, sys; print(*[duckdb.execute(f\"select count(*) from \
             read_parquet('{{f}}') where {text}\").fetchone()[0] for f in sys.argv[1:]])"
        );
        let (home, cut) = (
            sandbox.path("home/one_group/*.parquet"),
            sandbox.path(&format!("out/{store}/*.parquet")),
        );
        let counted = peers::run(&query, &[home.as_os_str(), cut.as_os_str()]);
        let counted = String::from_utf8_lossy(&counted.stdout).into_owned();
        let counts: Vec<&str> = counted.split_whitespace().collect();
        assert!(
            matches!(counts.as_slice(), [wanted, found] if wanted == found && *wanted != "0"),
            "{text}: {counts:?}"
        );
    }
}

#[test]
fn no_environment_variable_decides_a_byte() {
    let sandbox = made();
    built(&sandbox.build(&[]), 8);
    let digests = |sandbox: &Sandbox| -> Vec<_> {
        stores(sandbox)
            .iter()
            .map(|store| {
                sandbox.digests(&format!(
                    "out/{}",
                    store.file_name().expect("a name").to_string_lossy()
                ))
            })
            .collect()
    };
    let first = digests(&sandbox);
    assert!(first.iter().all(|parts| !parts.is_empty()));
    let variables = [
        ("POLARS_PARQUET_BINARY_STATISTICS_TRUNCATE_LEN", "2"),
        ("POLARS_MAX_THREADS", "1"),
        ("POLARS_IDEAL_MORSEL_SIZE", "7"),
        ("POLARS_IMPORT_INTERVAL_AS_STRUCT", "1"),
        ("POLARS_ALLOW_PQ_EMPTY_STRUCT", "1"),
        ("POLARS_PRUNE_PARQUET_METADATA", "1"),
        ("POLARS_PQ_PREFILTERED_MASK", "pre"),
        ("POLARS_DISABLE_AVX512", "1"),
        ("POLARS_MEMORY_PREFETCH", "no_prefetch"),
        ("RAYON_NUM_THREADS", "1"),
    ];
    let ran = sandbox.run_with(&variables, &["build", "--format", "json", "--force"]);
    built(&ran, 8);
    assert_eq!(digests(&sandbox), first);
}
