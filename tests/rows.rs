//! `rows_per_file`: parts of the asked size, every row once and in order, judged by another reader.

use std::collections::BTreeSet;

use hygge::fingerprint::Fingerprint;
use hygge::format::{Group, Layout, Piece};
use hygge::plan::slice::{Slice, slices};
use polars_parquet::write::CompressionOptions;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, any, prop_oneof, proptest};

use crate::common::assert_success;
use crate::common::files;
use crate::common::peers;
use crate::common::sandbox::Sandbox;

/// A file with groups of so many rows, which shares parts with those of its kind; of kind 0 with
/// none.
fn layout(groups: &[u64], kind: u8) -> Layout {
    Layout {
        rows: Some(groups.iter().sum()),
        groups: groups
            .iter()
            .map(|rows| Group {
                rows: *rows,
                bytes: rows * 8,
            })
            .collect(),
        stored_digest: Fingerprint::hash_bytes(b"schema"),
        compressions: BTreeSet::new(),
        container: String::new(),
        encrypted: false,
        logical_digest: Fingerprint::hash_bytes(b"columns"),
        column_set_digest: Fingerprint::hash_bytes(b"columns"),
        packing_digest: (kind > 0).then(|| Fingerprint::hash_bytes(&[kind])),
    }
}

/// The rows of a piece as (file, group, first row, rows).
fn rows_of(piece: &Piece, files: &[Vec<u64>]) -> Vec<(usize, usize, u64, u64)> {
    let groups = &files[piece.file];
    match (piece.group, piece.rows) {
        (Some(group), Some((first, rows))) => vec![(piece.file, group, first, rows)],
        (Some(group), None) => vec![(piece.file, group, 0, groups[group])],
        (None, _) => groups
            .iter()
            .enumerate()
            .map(|(group, rows)| (piece.file, group, 0, *rows))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn slices_have_every_row_once_and_in_order(
        files in vec(vec(prop_oneof![Just(0_u64), 1..20_u64, 1..500_u64], 0..6), 1..8),
        kinds in prop_oneof![Just(vec![1; 8]), vec(0..4_u8, 8)],
        asked in 1..200_u64,
        is_asked in any::<bool>(),
    ) {
        let layouts = files.iter().zip(&kinds).map(|(groups, kind)| layout(groups, *kind));
        let layouts: Vec<Layout> = layouts.collect();
        let layouts: Vec<&Layout> = layouts.iter().collect();
        let sizes = vec![1000; files.len()];
        let can_share = |one: usize, other: usize| layouts[one].can_pack_with(layouts[other]);
        let slices = slices(&layouts, &sizes, is_asked.then_some(asked), &can_share);
        let total: u64 = files.iter().flatten().sum();
        assert_eq!(slices.iter().map(|slice| slice.rows).sum::<Option<u64>>(), Some(total));
        // One after the other, the pieces are all rows of all groups.
        let mut next = (0, 0, 0);
        let pieces = slices.iter().flat_map(|slice| &slice.pieces);
        for (file, group, first, rows) in pieces.flat_map(|piece| rows_of(piece, &files)) {
            if rows == 0 {
                continue;
            }
            while next.2 == files[next.0].get(next.1).copied().unwrap_or_default() {
                next = if next.1 + 1 < files[next.0].len() {
                    (next.0, next.1 + 1, 0)
                } else {
                    (next.0 + 1, 0, 0)
                };
            }
            assert_eq!((file, group, first), next);
            next.2 += rows;
        }
        if is_asked {
            assert!(
                slices.iter().all(|slice| slice.rows < Some(2 * asked)),
                "a part is less than twice as large as asked"
            );
            let shares = |one: usize, other: usize| {
                one == other || kinds[one] > 0 && kinds[one] == kinds[other]
            };
            for slice in &slices {
                let files: Vec<_> = slice.pieces.iter().map(|piece| piece.file).collect();
                assert!(
                    files.windows(2).all(|pair| shares(pair[0], pair[1])),
                    "files that differ share no part"
                );
            }
            let small = slices.windows(2).filter(|pair| {
                pair[0].rows.is_some_and(|rows| rows * 2 < asked)
            });
            let ends = |pair: &[Slice]| {
                let last = &pair[0].pieces[pair[0].pieces.len() - 1];
                shares(last.file, pair[1].pieces[0].file)
            };
            assert!(
                !small.into_iter().any(ends),
                "only the last part, and the last of files that share one, may be less than half as \
                 large"
            );
        } else {
            assert_eq!(slices.len(), files.len());
        }
    }
}

#[test]
fn packed_and_cut_files_have_the_same_rows_for_other_readers() {
    for rows_per_file in [1_000_000, 900, 450, 100, 7] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  ids: {{home: home, store: {{path: store, rows_per_file: \
             {rows_per_file}}}}}\n"
        ));
        files::ints_in_groups(
            &sandbox,
            "home/a.parquet",
            0..1000,
            450,
            CompressionOptions::Snappy,
        );
        files::ints_in_groups(
            &sandbox,
            "home/b.parquet",
            1000..1100,
            450,
            CompressionOptions::Snappy,
        );
        files::ints_in_groups(
            &sandbox,
            "home/c.parquet",
            1100..1100,
            450,
            CompressionOptions::Snappy,
        );
        files::ints_in_groups(
            &sandbox,
            "home/d.parquet",
            1100..3100,
            900,
            CompressionOptions::Snappy,
        );
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert_eq!(ran.event("flow_finished")["rows"], 3100);
        let parts: Vec<usize> = sandbox
            .digests("store")
            .into_keys()
            .map(|name| files::read(&sandbox, &format!("store/{name}")).rows)
            .collect();
        assert!(
            parts.iter().all(|rows| *rows < 2 * rows_per_file),
            "{rows_per_file}: {parts:?}"
        );
        assert!(
            parts
                .iter()
                .rev()
                .skip(1)
                .all(|rows| rows * 2 >= rows_per_file),
            "{rows_per_file}: {parts:?}"
        );
        peers::compare(
            &sandbox.path("home"),
            &sandbox.path("store"),
            &["--values-only"],
        );
    }
}

#[test]
fn samples_of_all_types_can_be_packed_and_cut() {
    for rows_per_file in [10_000, 100] {
        let sandbox = Sandbox::numbers();
        let config = format!(
            "flows:\n  numbers: {{home: home, store: {{path: store, rows_per_file: \
             {rows_per_file}}}}}\n"
        );
        sandbox.write("hygge.yml", config);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        peers::compare(
            &sandbox.path("home"),
            &sandbox.path("store"),
            &["--values-only", "--metadata"],
        );
    }
}

#[test]
fn a_part_may_be_packed_from_more_files_than_may_be_open() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, rows_per_file: 100000}}\n");
    for number in 0..300 {
        files::ints(
            &sandbox,
            &format!("home/{number:03}.parquet"),
            number * 2..number * 2 + 2,
        );
    }
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 100 && exec \"$0\" build",
            env!("CARGO_BIN_EXE_hygge"),
        ])
        .current_dir(sandbox.path(""))
        .output()
        .expect("sh runs");
    assert_success(&output);
    assert_eq!(
        files::read(&sandbox, "store/00000000000000000001.parquet").rows,
        600
    );
}

#[test]
fn an_index_that_is_wrong_about_a_file_loses_no_row() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, rows_per_file: 1000}}\n");
    files::ints_in_groups(
        &sandbox,
        "home/a.parquet",
        0..200,
        100,
        CompressionOptions::Snappy,
    );
    files::ints_in_groups(
        &sandbox,
        "home/b.parquet",
        200..300,
        100,
        CompressionOptions::Snappy,
    );
    sandbox.build(&[]);
    // Each file gets what is known of the other.
    let swap = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); (a,x),(b,y)=c.execute('select \
                key,record from layout').fetchall(); \
                c.execute('update layout set record=? where key=?',(y,a)); c.execute('update \
                layout set record=? where key=?',(x,b)); \
                c.execute('delete from part'); c.commit()";
    let index = sandbox.path(".hygge-cache/index.db");
    let swapped = std::process::Command::new("python3")
        .args(["-c", swap])
        .arg(index)
        .status()
        .expect("python3 runs");
    assert!(swapped.success());
    let ran = sandbox.build(&["--force"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error().contains("the index is wrong about"),
        "{}",
        ran.text
    );
    std::fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("the cache");
    assert_eq!(
        sandbox.build(&["--force"]).event("flow_finished")["rows"],
        300
    );
}

#[test]
fn files_of_pandas_can_be_packed() {
    let sandbox =
        Sandbox::new("flows:\n  ids: {home: home, store: {path: store, rows_per_file: 1000}}\n");
    std::fs::create_dir(sandbox.path("home")).expect("a folder");
    let write = "import sys, json, pyarrow as pa, pyarrow.parquet as pq\n\
                 for n, rows in enumerate([3, 4]):\n  \
                 notes = {'pandas': json.dumps({'index_columns': [{'kind': 'range', 'start': 0, \
                 'stop': rows, 'step': 1}]})}\n  \
                 pq.write_table(pa.table({'a': list(range(rows))}).replace_schema_metadata(notes), \
                 f'{sys.argv[1]}/{n}.parquet')";
    let written = peers::run(write, &[sandbox.path("home").as_os_str()]);
    assert_success(&written);
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.event("flow_finished")["rows"].as_u64()),
        (0, Some(7)),
        "{}",
        ran.text
    );
    peers::compare(
        &sandbox.path("home"),
        &sandbox.path("store"),
        &["--values-only"],
    );
}
