//! Row groups of a size that is asked for.

use std::fs;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

/// Files of so many rows in groups of so many.
fn files(sandbox: &Sandbox, count: usize, rows: usize, group: usize) {
    let lines = "import sys, os, pyarrow as pa, pyarrow.parquet as pq\n\
         os.makedirs(sys.argv[1])\n\
         count, rows, group = map(int, sys.argv[2:])\n\
         for file in range(count):\n    \
             ids = range(file * rows, (file + 1) * rows)\n    \
             table = pa.table({'id': ids, 's': [f'{i % 7}' for i in ids], 'l': [[i] * (i % 3) for i in ids]})\n    \
             pq.write_table(table, f'{sys.argv[1]}/{file:05d}.parquet', row_group_size=group, compression='zstd')";
    let numbers = [count, rows, group].map(|number| number.to_string());
    let home = sandbox.path("home");
    let mut arguments = vec![home.as_os_str()];
    arguments.extend(numbers.iter().map(std::ffi::OsStr::new));
    assert_success(&peers::run(lines, &arguments));
}

/// The rows of each group of each part in order, the compression, and all ids.
fn groups(sandbox: &Sandbox) -> (Vec<Vec<u64>>, String, Vec<u64>) {
    let lines = "import sys, glob, json, pyarrow.parquet as pq\n\
         parts = [pq.ParquetFile(name) for name in sorted(glob.glob(sys.argv[1] + '/*.parquet'))]\n\
         groups = [[part.metadata.row_group(group).num_rows for group in range(part.num_row_groups)] for part in parts]\n\
         rows = [row for part in parts for row in part.read().to_pylist()]\n\
         assert all(row.get('s') in (None, str(row['id'] % 7)) and row.get('l') in (None, [row['id']] * (row['id'] % 3)) for row in rows)\n\
         print(json.dumps([groups, parts[0].metadata.row_group(0).column(0).compression, [row['id'] for row in rows]]))";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    serde_json::from_slice(&read.stdout).expect("JSON")
}

fn project(store: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{path: out, {store}}}}}\n"
    ))
}

#[test]
fn tiny_groups_are_packed() {
    let sandbox = project("rows_per_file: 10000, row_groups: {rows: 150}");
    files(&sandbox, 200, 2, 2);
    built(&sandbox);
    let (found, compression, ids) = groups(&sandbox);
    assert_eq!(found, [[150, 150, 100]]);
    assert_eq!((compression.as_str(), ids), ("ZSTD", (0..400).collect()));
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn large_groups_are_cut_and_what_fits_passes() {
    let sandbox = project("row_groups: {rows: 40}");
    files(&sandbox, 2, 100, 1000);
    built(&sandbox);
    let (found, _, ids) = groups(&sandbox);
    assert_eq!(found, [[40, 40, 20], [40, 40, 20]]);
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    // Groups of that size are not touched.
    fs::remove_dir_all(sandbox.path("home")).expect("a folder");
    files(&sandbox, 1, 100, 40);
    built(&sandbox);
    let out: Vec<String> = sandbox.digests("out").into_keys().collect();
    let bytes = |name: &str| fs::read(sandbox.path(name)).expect("a file");
    assert_eq!(
        bytes("home/00000.parquet"),
        bytes(&format!("out/{}", out[0]))
    );
    // Another size is another recipe.
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: home, store: {path: out, row_groups: {rows: 60}, compression: gzip}}\n",
    );
    let why = sandbox.run(&["why", "f"]).text;
    assert!(why.contains("row_groups"), "{why}");
    built(&sandbox);
    let (found, compression, _) = groups(&sandbox);
    assert_eq!((found, compression.as_str()), (vec![vec![60, 40]], "GZIP"));
}

#[test]
fn groups_have_a_size_in_memory() {
    let sandbox = project("row_groups: {bytes: 4kB}, rows_per_file: 100000");
    files(&sandbox, 10, 100, 7);
    built(&sandbox);
    let (found, _, ids) = groups(&sandbox);
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    let [groups] = found.as_slice() else {
        panic!("{found:?}");
    };
    let (_, whole) = groups.split_last().expect("groups");
    assert!(
        whole.iter().all(|rows| (60..=260).contains(rows)),
        "{groups:?}"
    );
}

#[test]
fn rows_of_tables_and_shaped_rows_have_groups_too() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id int); WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 24) INSERT INTO t SELECT i FROM n");
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t}, store: {path: out, row_groups: {rows: 10}}, where: id <> 3}\n",
    );
    built(&sandbox);
    let (found, _, ids) = groups(&sandbox);
    assert_eq!((found, ids.len()), (vec![vec![10, 10, 4]], 24));
}

#[test]
fn a_size_is_one_size() {
    for groups in [
        "{}",
        "{rows: 1, bytes: 1MB}",
        "{bytes: 0}",
        "{rows: 0}",
        "{row: 1}",
        "7",
    ] {
        let sandbox = project(&format!("row_groups: {groups}"));
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{groups}: {}", ran.text);
        assert!(ran.text.contains("row"), "{groups}: {}", ran.text);
    }
}
