//! What files say of their values is never said of the values of others, and files that store equal
//! types in different ways are of one flow.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::Sandbox;
use crate::others::python;

/// A project with a flow `f` of the files that lines of Python write.
fn project(store: &str, lines: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{path: store, {store}}}}}\n"
    ));
    python(&sandbox, "home", lines);
    sandbox
}

/// The rows of each part, with what the part says under a key of its metadata.
fn parts(sandbox: &Sandbox, key: &str) -> Vec<(Vec<Value>, String)> {
    let lines = "import sys, glob, json, pyarrow.parquet as pq\n\
                 for f in sorted(glob.glob(sys.argv[1] + '/*')):\n  \
                 t = pq.ParquetFile(f); m = (t.metadata.metadata or {}).get(sys.argv[2].encode(), \
                 b'').decode()\n  \
                 print(json.dumps([[list(r.values())[0] for r in t.read().to_pylist()], m]))";
    let ran = peers::run(
        lines,
        &[sandbox.path("store").as_os_str(), std::ffi::OsStr::new(key)],
    );
    assert_success(&ran);
    String::from_utf8_lossy(&ran.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn index(said: &str) -> Value {
    serde_json::from_str::<Value>(said).expect("JSON")["index_columns"].clone()
}

/// A frame's table as pandas notes it, whose index is a range.
const OF_PANDAS: &str = "def frame(name, rows, start=0, step=1, **options):\n  \
     note = {'index_columns': [{'kind': 'range', 'name': None, 'start': start, 'stop': start + \
     rows * step, 'step': step}], 'columns': []}\n  \
     pq.write_table(pa.table({'a': list(range(rows))}).replace_schema_metadata({'pandas': \
     json.dumps(note)}), name, **options)\n";

#[test]
fn files_with_other_metadata_share_no_part() {
    let write = "for name, unit in (('a', 'metre'), ('b', 'metre'), ('c', 'foot'), ('d', 'metre'), \
                 ('e', None)):\n  \
                 pq.write_table(pa.table({'height': [ord(name)]}).replace_schema_metadata({'unit': \
                 unit} if unit else None), name + '.parquet')";
    for compression in ["keep", "zstd"] {
        let sandbox = project(
            &format!("rows_per_file: 100, compression: {compression}"),
            write,
        );
        let ran = sandbox.run(&["build", "--dry-run"]);
        assert!(
            ran.text
                .contains("a part ends between b.parquet and c.parquet")
                && ran.text.contains("\"unit\" is \"metre\" and \"foot\""),
            "{}",
            ran.text
        );
        let ran = sandbox.run(&["check"]);
        assert!(
            ran.code == 0
                && ran
                    .text
                    .contains("a part ends between b.parquet and c.parquet"),
            "{}",
            ran.text
        );
        assert_eq!(sandbox.build(&[]).code, 0);
        let found: Vec<_> = parts(&sandbox, "unit");
        let expected = [
            (vec![97, 98], "metre"),
            (vec![99], "foot"),
            (vec![100], "metre"),
            (vec![101], ""),
        ];
        assert_eq!(
            found,
            expected.map(|(rows, unit)| (
                rows.into_iter().map(Value::from).collect(),
                unit.to_string()
            ))
        );
        assert!(sandbox.run(&["build"]).text.ends_with("fresh\n"));
    }
}

#[test]
fn files_with_other_metadata_share_no_part_where_they_are_cut() {
    let write = "for name, unit in (('a', 'metre'), ('b', 'foot')):\n  \
                 pq.write_table(pa.table({'height': \
                 list(range(25))}).replace_schema_metadata({'unit': unit}), name + '.parquet')";
    let sandbox = project("rows_per_file: 10", write);
    assert_eq!(sandbox.build(&[]).code, 0);
    let found: BTreeMap<String, usize> =
        parts(&sandbox, "unit")
            .into_iter()
            .fold(BTreeMap::new(), |mut found, (rows, unit)| {
                *found.entry(unit).or_default() += rows.len();
                found
            });
    assert_eq!(
        found,
        BTreeMap::from([("metre".into(), 25), ("foot".into(), 25)])
    );
}

#[test]
fn text_and_dictionaries_share_no_part_and_arrive_as_what_they_are() {
    let write = "t = pa.table({'v': ['x', 'y']})\npq.write_table(t, 'a.parquet')\n\
                 pq.write_table(pa.table({'v': t['v'].combine_chunks().dictionary_encode()}), \
                 'b.parquet')\n\
                 for n, zone in (('c', 'UTC'), ('d', 'Europe/Copenhagen')):\n  \
                 os.makedirs('../zones', exist_ok=True); pq.write_table(pa.table({'v': \
                 pa.array([1, 2], pa.timestamp('us', zone))}), f'../zones/{n}.parquet')";
    let sandbox = project("rows_per_file: 100", write);
    let ran = sandbox.run(&["build", "--dry-run"]);
    assert!(
        ran.text
            .contains("column v has other types in Arrow's metadata"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(sandbox.digests("store").len(), 2);
    for (from, part) in [("home/a.parquet", "1"), ("home/b.parquet", "2")] {
        peers::compare(
            &sandbox.path(from),
            &sandbox.path(&format!("store/0000000000000000000{part}.parquet")),
            &["--metadata"],
        );
    }
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: zones, store: {path: store, rows_per_file: 100}}\n",
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    for (from, part) in [("zones/c.parquet", "1"), ("zones/d.parquet", "2")] {
        peers::compare(
            &sandbox.path(from),
            &sandbox.path(&format!("store/0000000000000000000{part}.parquet")),
            &["--metadata"],
        );
    }
}

#[test]
fn an_index_of_pandas_counts_the_rows_of_each_part() {
    // Cut, each part has its piece of the index; packed, rows are counted from 0 again.
    let sandbox = project(
        "rows_per_file: 10",
        &format!("{OF_PANDAS}frame('a.parquet', 25, 100, 2)"),
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let found = parts(&sandbox, "pandas");
    for (rows, said) in &found {
        let (first, count) = (
            rows[0].as_i64().expect("a number"),
            i64::try_from(rows.len()).expect("few"),
        );
        let said = &index(said)[0];
        assert_eq!(
            (said["start"].as_i64(), said["stop"].as_i64()),
            (Some(100 + first * 2), Some(100 + (first + count) * 2))
        );
    }
    assert!(found.len() > 1);
    let sandbox = project(
        "rows_per_file: 100",
        &format!("{OF_PANDAS}frame('a.parquet', 3)\nframe('b.parquet', 4)"),
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let found = parts(&sandbox, "pandas");
    assert_eq!(
        (found.len(), found[0].0.len(), index(&found[0].1)),
        (1, 7, serde_json::json!([]))
    );
    // An index that says more than the number of a row stays with its rows.
    let sandbox = project(
        "rows_per_file: 100",
        &format!(
            "{OF_PANDAS}frame('a.parquet', 2, 100)\nframe('b.parquet', 2, 100)\n\
             frame('c.parquet', 2)"
        ),
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let starts: Vec<_> = parts(&sandbox, "pandas")
        .iter()
        .map(|(_, said)| index(said)[0]["start"].as_i64())
        .collect();
    assert_eq!(starts, [Some(100), Some(100), Some(0)]);
    // Groups that are moved, and are not all of their file.
    let sandbox = project(
        "rows_per_file: 10",
        &format!("{OF_PANDAS}frame('a.parquet', 30, row_group_size=10)"),
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let starts: Vec<_> = parts(&sandbox, "pandas")
        .iter()
        .map(|(_, said)| index(said)[0]["start"].as_i64())
        .collect();
    assert_eq!(starts, [Some(0), Some(10), Some(20)]);
}

#[test]
fn boxes_of_geoparquet_are_around_all_rows_and_systems_are_not_mixed() {
    let write = "def geo(name, crs, bbox):\n  \
                 note = {'version': '1.1.0', 'primary_column': 'g', 'columns': {'g': {'encoding': \
                 'WKB', 'geometry_types': [], 'crs': crs, 'bbox': bbox}}}\n  \
                 pq.write_table(pa.table({'g': [name.encode()]}).replace_schema_metadata({'geo': \
                 json.dumps(note)}), name)\n\
                 geo('a.parquet', 'EPSG:4326', [0, 0, 1, 1])\n\
                 geo('b.parquet', 'EPSG:4326', [-1, 0.5, 0.5, 9])\n\
                 geo('c.parquet', 'EPSG:3857', [0, 0, 1, 1])";
    let sandbox = project(
        "rows_per_file: 100",
        &write.replace("[name.encode()]", "[name]"),
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let found = parts(&sandbox, "geo");
    let column =
        |said: &str| serde_json::from_str::<Value>(said).expect("JSON")["columns"]["g"].clone();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].0.len(), column(&found[0].1)["crs"].as_str()),
        (2, Some("EPSG:4326"))
    );
    assert_eq!(
        column(&found[0].1)["bbox"],
        serde_json::json!([-1.0, 0.0, 1.0, 9.0])
    );
    assert_eq!(
        (found[1].0.len(), column(&found[1].1)["crs"].as_str()),
        (1, Some("EPSG:3857"))
    );
}

/// Files whose columns are of the same types, stored in different ways.
const ONE_TYPE: &str = "from decimal import Decimal\n\
     money = pa.table({'v': pa.array([Decimal('1.25'), None], pa.decimal128(9, 2))})\n\
     def pair(name, *files):\n  os.makedirs('../' + name, exist_ok=True)\n  \
     return ['../%s/%d.parquet' % (name, n) for n in range(2)]\n\
     a, b = pair('decimals')\npq.write_table(money, a, store_decimal_as_integer=True); \
     pq.write_table(money, b)\n\
     a, b = pair('nulls')\npq.write_table(pa.table({'v': [1, None]}), a)\n\
     pq.write_table(pa.table({'v': [3]}, schema=pa.schema([pa.field('v', pa.int64(), \
     nullable=False)])), b)\n\
     a, b = pair('dictionaries')\npq.write_table(pa.table({'v': ['x', 'x']}), a, \
     use_dictionary=False); pq.write_table(pa.table({'v': pa.array(['y']).dictionary_encode()}), \
     b)\n\
     a, b = pair('ids')\npq.write_table(pa.table({'v': [1]}), a)\n\
     pq.write_table(pa.table({'v': [2]}, schema=pa.schema([pa.field('v', pa.int64(), \
     metadata={'PARQUET:field_id': '7'})])), b)\n\
     a, b = pair('annotations')\nwrite(a, [leaf('v', INT32, converted=INT_32)], [{'v': 1}]); \
     write(b, [leaf('v', INT32)], [{'v': 2}])\n\
     a, b = pair('texts')\nwrite(a, [leaf('v', BYTE_ARRAY, converted=UTF8)], [{'v': 'x'}]); \
     pq.write_table(pa.table({'v': ['y']}), b)\n\
     a, b = pair('lists')\nwrite(a, *CASES['list_hive']); write(b, *CASES['list_two_levels'])\n\
     a, b = pair('timestamps')\nwrite(a, [leaf('v', INT64, converted=TIMESTAMP_MILLIS)], [{'v': \
     1}])\n\
     write(b, [leaf('v', INT64, logical={8: {1: True, 2: {1: {}}}})], [{'v': 2}])\n\
     a, b = pair('engines')\nduckdb.sql(f\"copy (select 1::integer as v) to '{a}'\"); \
     pq.write_table(pa.table({'v': pa.array([2], pa.int32())}), b)\n";

const KINDS: [&str; 9] = [
    "decimals",
    "nulls",
    "dictionaries",
    "ids",
    "annotations",
    "texts",
    "lists",
    "timestamps",
    "engines",
];

#[test]
fn files_of_one_flow_may_store_a_type_in_several_ways() {
    let sandbox = Sandbox::new("");
    python(&sandbox, "x", ONE_TYPE);
    for fields in [
        "compression: keep",
        "compression: zstd",
        "rows_per_file: 1000",
    ] {
        let flow = |kind: &&str| {
            format!("  {kind}: {{home: {kind}, store: {{path: out/{kind}, {fields}}}}}\n")
        };
        sandbox.write(
            "hygge.yml",
            format!("flows:\n{}", KINDS.iter().map(flow).collect::<String>()),
        );
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{fields}: {}", ran.text);
        for kind in KINDS {
            // File by file, for readers do not all take the files of one folder together.
            let names = |folder: &str| {
                sandbox
                    .digests(folder)
                    .into_keys()
                    .map(|name| sandbox.path(&format!("{folder}/{name}")))
                    .collect::<Vec<_>>()
            };
            let (from, to) = (names(kind), names(&format!("out/{kind}")));
            assert_eq!(to.len(), 2, "{kind} {fields}");
            peers::compare_all(
                &from.into_iter().zip(to).collect::<Vec<_>>(),
                &["--metadata"],
            );
        }
    }
}

#[test]
fn types_that_differ_are_named() {
    let sandbox = project(
        "rows_per_file: 1000",
        "write('a.parquet', [leaf('v', INT32, converted=DECIMAL, precision=9, scale=2)], [{'v': \
         1}])\nwrite('b.parquet', [leaf('v', INT32, converted=DECIMAL, precision=9, scale=3)], \
         [{'v': 1}])",
    );
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1
            && ran
                .error()
                .contains("column v is decimal(9,3), and decimal(9,2) in the other"),
        "{}",
        ran.text
    );
}

#[test]
fn an_append_goes_on_with_files_that_store_a_type_otherwise() {
    let sandbox = Sandbox::new("flows:\n  f: {home: home, store: store, mode: append}\n");
    let write = |name: &str, option: &str| {
        let lines = format!(
            "from decimal import Decimal\npq.write_table(pa.table({{'v': \
             pa.array([Decimal('1.25')], pa.decimal128(9, 2)), 'n': ['{name}']}}), \
             '{name}.parquet'{option})"
        );
        python(&sandbox, "home", &lines);
    };
    write("a", "");
    assert_eq!(sandbox.build(&[]).code, 0);
    write("b", ", store_decimal_as_integer=True");
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, sandbox.digests("store").len()),
        (0, 2),
        "{}",
        ran.text
    );
    // A receipt of before knows how the columns were stored, and nothing of their types.
    let receipt = std::fs::read_to_string(sandbox.path(".hygge/store.json")).expect("a receipt");
    let mut receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    receipt["published"]["schema"] = "00".repeat(32).into();
    sandbox.write(".hygge/store.json", receipt.to_string());
    write("c", "");
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, sandbox.digests("store").len()),
        (0, 3),
        "{}",
        ran.text
    );
}

#[test]
fn a_type_that_is_stored_in_several_ways_comes_into_a_table() {
    let sandbox = Sandbox::new("");
    python(&sandbox, "x", ONE_TYPE);
    let flow = |kind: &&str| {
        format!("  {kind}: {{home: {kind}, store: {{connection: db, table: {kind}}}}}\n")
    };
    let kinds = KINDS.iter().filter(|kind| **kind != "lists");
    sandbox.write(
        "hygge.yml",
        format!(
            "connections: {{db: {{url: 'sqlite:db.sqlite'}}}}\nflows:\n{}",
            kinds.map(flow).collect::<String>()
        ),
    );
    let ran = sandbox.build(&[]);
    // What was stamped in the old way is UTC by the format, and has no zone for polars.
    assert_eq!(
        (ran.code, ran.outcome("timestamps")),
        (1, "failed"),
        "{}",
        ran.text
    );
    assert!(
        ran.error().contains(
            "column v of 1.parquet is timestamp_utc, and timestamp in the files before it"
        ),
        "{}",
        ran.text
    );
    let read = "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\n\
                for t in ('decimals', 'nulls', 'dictionaries', 'ids', 'annotations', 'texts', \
                'engines'):\n  \
                print(t, [r[0] for r in d.execute(f'select v from {t} order by rowid')])";
    let read = peers::run(read, &[sandbox.path("db.sqlite").as_os_str()]);
    let expected = "decimals [1.25, None, 1.25, None]\nnulls [1, None, 3]\n\
                    dictionaries ['x', 'x', 'y']\nids [1, 2]\nannotations [1, 2]\n\
                    texts ['x', 'y']\nengines [1, 2]\n";
    assert_eq!(
        String::from_utf8_lossy(&read.stdout),
        expected,
        "{}{}",
        ran.text,
        String::from_utf8_lossy(&read.stderr)
    );
}
