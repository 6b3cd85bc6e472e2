//! Files of other writers, old and odd: they arrive as they are, or are refused by their column;
//! judged by pyarrow and duckdb.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox};

/// Runs lines of Python in a folder of the sandbox; `handmade` is a module of tests/peers.
pub(crate) fn python(sandbox: &Sandbox, folder: &str, lines: &str) {
    std::fs::create_dir_all(sandbox.path(folder)).expect("a folder");
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
    let lines = format!(
        "import os, sys, json\nsys.path.insert(0, {peers:?})\n\
         import pyarrow as pa, pyarrow.parquet as pq, duckdb\nfrom handmade import *\n\
         os.chdir(sys.argv[1])\n{lines}"
    );
    let ran = peers::run(&lines, &[sandbox.path(folder).as_os_str()]);
    assert_success(&ran);
}

/// Builds one flow for each file of `home` with these fields of its store.
fn build_each(sandbox: &Sandbox, fields: &str) -> CommandOutput {
    let flow = |name: &String| {
        let stem = name.trim_end_matches(".parquet");
        format!("  {stem}: {{home: home/{name}, store: {{path: out/{stem}, {fields}}}}}\n")
    };
    let flows: String = sandbox.digests("home").keys().map(flow).collect();
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    sandbox.build(&[])
}

/// Every file with what it became, but for these.
fn pairs(sandbox: &Sandbox, without: &[&str]) -> Vec<(PathBuf, PathBuf)> {
    let pair = |name: String| {
        let stem = name.trim_end_matches(".parquet").to_string();
        (!without.contains(&stem.as_str())).then(|| {
            (
                sandbox.path(&format!("home/{name}")),
                sandbox.path(&format!("out/{stem}")),
            )
        })
    };
    sandbox
        .digests("home")
        .into_keys()
        .filter_map(pair)
        .collect()
}

fn handmade() -> Sandbox {
    let sandbox = Sandbox::new("");
    let made = peers::python("handmade.py", &[sandbox.path("home").as_os_str()]);
    assert_success(&made);
    sandbox
}

/// Types that are not decoded, each with the column that is named.
const NOT_DECODED: &[(&str, &str)] = &[];

#[test]
fn handmade_files_are_cut_exactly_or_refused_by_their_column() {
    let sandbox = handmade();
    let ran = build_each(&sandbox, "rows_per_file: 1");
    for (name, column) in NOT_DECODED {
        let error = ran
            .finished(name)
            .and_then(|event| event["error"].as_str())
            .unwrap_or_else(|| panic!("{name} was decoded"));
        assert!(error.contains(column), "{name}: {error}");
    }
    let mut names: Vec<&str> = NOT_DECODED.iter().map(|(name, _)| *name).collect();
    let failed: Vec<_> = ran
        .events
        .iter()
        .filter(|event| event["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), names.len(), "{failed:?}");
    names.extend(BY_PYARROW);
    let exact = pairs(&sandbox, &names);
    assert!(exact.len() > 25);
    peers::compare_all(&exact, &["--values-only"]);
    let read = "import sys, glob, pyarrow as pa, pyarrow.parquet as pq\n\
                read = lambda p: pa.concat_tables([pq.read_table(f) for f in sorted(glob.glob(p + \
                '/*') or [p])]).to_pylist()\n\
                assert read(sys.argv[1]) == read(sys.argv[2]), (read(sys.argv[1]), \
                read(sys.argv[2]))";
    for (from, to) in pairs(&sandbox, &[])
        .into_iter()
        .filter(|(_, to)| BY_PYARROW.iter().any(|name| to.ends_with(name)))
    {
        let ran = peers::run(read, &[from.as_os_str(), to.as_os_str()]);
        assert_success(&ran);
    }
}

/// Files with a repeated group of one field that is the element itself: duckdb takes the field for
/// the element, against the format.
const BY_PYARROW: [&str; 3] = [
    "list_avro_one_field",
    "list_thrift",
    "repeated_group_one_field",
];

#[test]
fn handmade_files_pass_with_another_compression_and_packed() {
    let sandbox = handmade();
    for fields in ["compression: zstd", "rows_per_file: 1000"] {
        let ran = build_each(&sandbox, fields);
        assert_eq!(ran.code, 0, "{}", ran.text);
        peers::compare_all(&pairs(&sandbox, &[]), &["--metadata"]);
    }
}

#[test]
fn files_of_duckdb_are_cut_exactly() {
    let sandbox = Sandbox::new("");
    python(
        &sandbox,
        "home",
        "columns = {'tiny': 'i::tinyint', 'small': 'i::smallint', 'plain': 'i::integer', 'big': \
         'i::bigint', 'unsigned': 'i::uinteger', \
         'ubig': 'i::ubigint', 'yes': 'i % 2 = 0', 'real_': 'i::real', 'double_': 'i::double', \
         'day': \"date '2024-01-01' + i::integer\", \
         'at': \"timestamp '2024-01-01' + to_hours(i)\", 'utc': \"(timestamp '2024-01-01' + \
         to_hours(i))::timestamptz\", \
         'narrow': 'i::decimal(9,2)', 'wide': 'i::decimal(38,10)', 'word': \"'w' || i\", 'bytes': \
         \"('b' || i)::blob\", \
         'uuid': \"('00000000-0000-0000-0000-' || lpad(i::varchar, 12, '0'))::uuid\", 'json': \
         \"('[' || i || ']')::json\", \
         'interval': 'to_months((i % 7)::integer) + to_days(i::integer)', 'time': \"time '10:00' + \
         to_microseconds(i)\", \
         'map': \"map {'k' || i: i::integer, 'z': null}\", 'maps': \"[map {i::integer: ['x', \
         null]}, null]\", \
         'uuids': \"[('00000000-0000-0000-0000-' || lpad(i::varchar, 12, '0'))::uuid, null]\", \
         'enum': \"(['a', 'b'])[i % 2 + 1]::enum('a', 'b')\", \
         'list': '[i, null, i + 1]::integer[]', 'pair': \"{'a': i::integer, 'b': 'x' || i}\", \
         'deep': \"[{'a': [i::integer]}, null]\"}\n\
         for name, made in columns.items():\n  \
         duckdb.sql(f\"copy (select case when i % 5 = 0 then null else {made} end as v, i::integer \
         as n from range(50) t(i)) to '{name}.parquet' (row_group_size 2048)\")",
    );
    let ran = build_each(&sandbox, "rows_per_file: 10");
    assert_eq!(ran.code, 0, "{}", ran.text);
    peers::compare_all(&pairs(&sandbox, &[]), &["--values-only"]);
}

#[test]
fn what_must_be_there_in_what_may_be_missing_stays_required() {
    let sandbox = handmade();
    build_each(&sandbox, "rows_per_file: 1");
    for name in [
        "required_in_optional",
        "required_in_required_in_optional",
        "optional_in_optional",
        "required_list_in_optional",
    ] {
        let schema = "import sys, glob, pyarrow.parquet as pq; print(sorted({str(pq.ParquetFile(f).schema_arrow) for f in sys.argv[1:]}))";
        let shown = |paths: Vec<PathBuf>| {
            let ran = peers::run(
                schema,
                &paths
                    .iter()
                    .map(|path| path.as_os_str())
                    .collect::<Vec<&OsStr>>(),
            );
            String::from_utf8_lossy(&ran.stdout).into_owned()
        };
        let parts = sandbox
            .digests(&format!("out/{name}"))
            .into_keys()
            .map(|part| sandbox.path(&format!("out/{name}/{part}")));
        assert_eq!(
            shown(vec![sandbox.path(&format!("home/{name}.parquet"))]),
            shown(parts.collect()),
            "{name}"
        );
    }
}
