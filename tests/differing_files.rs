//! Files of one flow whose columns differ: `schema: union` and `schema: first`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers::{self, parquet, rows};
use crate::common::sandbox::{Sandbox, built};
use crate::others::python;

fn sandbox(schema: &str, more: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: {{path: home, schema: {schema}}}, store: {{path: out}}{more}}}\n"
    ))
}

fn remove(sandbox: &Sandbox, name: &str) {
    fs::remove_file(sandbox.path(name)).expect("a file");
}

/// The rows as DuckDB unites them: what a store holds, and its columns.
fn united(sandbox: &Sandbox, order: &str) -> (Vec<String>, Vec<String>) {
    let lines = format!(
        "import sys, duckdb\n\
         found = duckdb.sql(\"select * from read_parquet('\" + sys.argv[1] + \"/*.parquet', union_by_name = true) order by {order}\")\n\
         print(';'.join(f'{{name}}: {{kind}}' for name, kind in zip(found.columns, found.types)))\n\
         for row in found.fetchall(): print('|'.join('' if value is None else str(value) for value in row))"
    );
    let read = peers::run(&lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let mut lines = text.lines();
    let columns = lines
        .next()
        .unwrap_or_default()
        .split(';')
        .map(String::from);
    (columns.collect(), lines.map(String::from).collect())
}

#[test]
fn missing_columns_are_null_and_types_are_widened() {
    let sandbox = sandbox("union", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int32()), ('n', pa.int64()), ('d', pa.date32())]",
        "[{'id': 1, 'n': 9223372036854775807, 'd': datetime.date(2024, 1, 2)}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64()), ('n', pa.decimal128(6, 3)), ('d', pa.timestamp('us')), ('s', pa.string())]",
        "[{'id': 2**40, 'n': decimal.Decimal('1.125'), 'd': datetime.datetime(2024, 1, 2, 3), 's': 'x'}]",
    );
    parquet(
        &sandbox,
        "home/c.parquet",
        "[('s', pa.string())]",
        "[{'s': 'y'}]",
    );
    let ran = built(&sandbox);
    assert!(
        ran.text.contains(
            "files whose columns are not those of the flow are decoded: a.parquet (id becomes int64, "
        ),
        "{}",
        ran.text
    );
    let read = rows(&sandbox.path("out"));
    assert_eq!(
        read.schema,
        [
            "id: int64",
            "n: decimal128(22, 3)",
            "d: timestamp[us]",
            "s: string"
        ]
    );
    assert_eq!(
        read.lines(),
        [
            "1|9223372036854775807.000|2024-01-02T00:00:00|",
            "1099511627776|1.125|2024-01-02T03:00:00|x",
            "|||y"
        ]
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn what_fits_passes_as_it_is_and_keeps_its_bytes() {
    let sandbox = sandbox("union", "");
    let wide = "[('id', pa.int64()), ('s', pa.string())]";
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64())]",
        "[{'id': 1}]",
    );
    parquet(&sandbox, "home/b.parquet", wide, "[{'id': 2, 's': 'x'}]");
    built(&sandbox);
    let out: Vec<String> = sandbox.digests("out").into_keys().collect();
    let bytes = |name: &str| fs::read(sandbox.path(name)).expect("a file");
    assert_eq!(bytes("home/b.parquet"), bytes(&format!("out/{}", out[1])));
    assert_ne!(bytes("home/a.parquet"), bytes(&format!("out/{}", out[0])));
    // A file that fits is one part more, and a column more makes the others again.
    parquet(&sandbox, "home/c.parquet", wide, "[{'id': 3, 's': 'y'}]");
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 1);
    parquet(
        &sandbox,
        "home/d.parquet",
        "[('id', pa.int64()), ('s', pa.string()), ('z', pa.bool_())]",
        "[{'id': 4, 's': 'z', 'z': True}]",
    );
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 4);
    assert_eq!(
        rows(&sandbox.path("out")).lines(),
        ["1||", "2|x|", "3|y|", "4|z|true"]
    );
    // All of it again, from nothing but the home and what is recorded, has the same bytes.
    let before = sandbox.digests("out");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    assert_eq!(sandbox.build(&["--force"]).code, 0);
    assert_eq!(sandbox.digests("out"), before);
}

#[test]
fn a_united_schema_does_not_narrow_until_it_is_forgotten() {
    let sandbox = sandbox("union", ", on_drift: {removed: warn}");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int32())]",
        "[{'id': 1}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64()), ('s', pa.list_(pa.string()))]",
        "[{'id': 2, 's': ['x']}]",
    );
    built(&sandbox);
    remove(&sandbox, "home/b.parquet");
    let ran = built(&sandbox);
    assert!(
        ran.text.contains("column s.element is in no file any more"),
        "{}",
        ran.text
    );
    let read = rows(&sandbox.path("out"));
    assert_eq!(
        (read.schema, read.rows.len()),
        (
            vec!["id: int64".into(), "s: list<element: string>".into()],
            1
        )
    );
    // It is said once: what is gone is known.
    parquet(
        &sandbox,
        "home/c.parquet",
        "[('id', pa.int32())]",
        "[{'id': 3}]",
    );
    let ran = built(&sandbox);
    assert!(!ran.text.contains("s.element is gone"), "{}", ran.text);
    let ran = sandbox.build(&["f", "--forget-schema"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(rows(&sandbox.path("out")).schema, ["id: int32"]);
}

#[test]
fn first_takes_the_columns_of_the_first_file_and_then_those_recorded() {
    let sandbox = sandbox("first", "");
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64()), ('s', pa.string())]",
        "[{'id': 1, 's': 'x'}]",
    );
    parquet(
        &sandbox,
        "home/c.parquet",
        "[('id', pa.int32()), ('t', pa.string())]",
        "[{'id': 2, 't': 'y'}]",
    );
    let ran = built(&sandbox);
    assert!(
        ran.text.contains("column t of c.parquet is left out"),
        "{}",
        ran.text
    );
    let read = rows(&sandbox.path("out"));
    assert_eq!(
        (read.lines(), read.schema),
        (
            vec!["1|x".into(), "2|".into()],
            vec!["id: int64".into(), "s: string".into()]
        )
    );
    // A file that is the first by its name now does not change them.
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('t', pa.string())]",
        "[{'t': 'z'}]",
    );
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 1);
    assert_eq!(rows(&sandbox.path("out")).lines(), ["|", "1|x", "2|"]);
    // What the recorded columns cannot hold is named.
    parquet(
        &sandbox,
        "home/d.parquet",
        "[('id', pa.string())]",
        "[{'id': 'z'}]",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.text
            .contains("column id is string in d.parquet, and int64 in what was published"),
        "{}",
        ran.text
    );
    assert_eq!(rows(&sandbox.path("out")).rows.len(), 3);
}

#[test]
fn types_without_a_common_one_are_named_all_at_once() {
    let sandbox = sandbox("union", "");
    let first = "[('a', pa.int64()), ('b', pa.string()), ('c', pa.float64()), ('d', pa.decimal128(38, 10))]";
    let other = "[('a', pa.float64()), ('b', pa.int8()), ('c', pa.float32()), ('d', pa.int64())]";
    parquet(&sandbox, "home/a.parquet", first, "[]");
    parquet(&sandbox, "home/b.parquet", other, "[]");
    for command in [&["build"][..], &["build", "--dry-run"], &["check"]] {
        let ran = sandbox.run(command);
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.text);
        for expected in [
            "column a is double in b.parquet, and int64 in a.parquet",
            "column b is int8 in b.parquet, and string in a.parquet",
        ] {
            assert!(ran.text.contains(expected), "{command:?}: {}", ran.text);
        }
        assert!(!ran.text.contains("column c is"), "{}", ran.text);
    }
}

#[test]
fn every_pair_of_types_is_united_exactly_or_refused() {
    // A value of each type, and which types hold it.
    let types = BTreeMap::from([
        ("pa.int8()", "-128"),
        ("pa.int16()", "-32768"),
        ("pa.int32()", "-2147483648"),
        ("pa.int64()", "-9223372036854775808"),
        ("pa.uint8()", "255"),
        ("pa.uint16()", "65535"),
        ("pa.uint32()", "4294967295"),
        ("pa.uint64()", "18446744073709551615"),
        ("pa.float32()", "0.10000000149011612"),
        ("pa.float64()", "0.1"),
        ("pa.decimal128(5, 2)", "decimal.Decimal('123.45')"),
        (
            "pa.decimal128(20, 9)",
            "decimal.Decimal('12345678901.123456789')",
        ),
        ("pa.date32()", "datetime.date(1, 1, 1)"),
        (
            "pa.timestamp('ms')",
            "datetime.datetime(1, 1, 1, 2, 3, 4, 5000)",
        ),
        (
            "pa.timestamp('us')",
            "datetime.datetime(9999, 12, 31, 2, 3, 4, 5)",
        ),
        (
            "pa.timestamp('us', tz='UTC')",
            "datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)",
        ),
        ("pa.time32('ms')", "datetime.time(1, 2, 3, 4000)"),
        ("pa.time64('us')", "datetime.time(1, 2, 3, 4)"),
        ("pa.string()", "'x'"),
        ("pa.binary()", "b'x'"),
        ("pa.bool_()", "True"),
    ]);
    let names: Vec<&str> = types.keys().copied().collect();
    let sandbox = Sandbox::new(&{
        let flow = |pair: usize| {
            format!(
                "  f{pair}: {{home: {{path: home/{pair}, schema: union}}, store: out/{pair}}}\n"
            )
        };
        let flows: String = (0..names.len() * names.len()).map(flow).collect();
        format!("flows:\n{flows}")
    });
    let told = json!(types).to_string();
    let lines = "import sys, json, os, datetime, decimal, pyarrow as pa, pyarrow.parquet as pq\n\
         types = json.loads(sys.argv[2]); names = sorted(types)\n\
         for one, a in enumerate(names):\n    \
             for other, b in enumerate(names):\n        \
                 folder = f'{sys.argv[1]}/{one * len(names) + other}'\n        \
                 os.makedirs(folder)\n        \
                 for file, name in (('a', a), ('b', b)):\n            \
                     table = pa.table({'v': pa.array([eval(types[name]), None], eval(name))})\n            \
                     pq.write_table(table, f'{folder}/{file}.parquet')";
    assert_success(&peers::run(
        lines,
        &[sandbox.path("home").as_os_str(), told.as_ref()],
    ));
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "some pairs are refused");
    let judge = "import sys, json, os, glob, datetime, decimal, pyarrow as pa, pyarrow.parquet as pq\n\
         types = json.loads(sys.argv[2]); names = sorted(types); united = []\n\
         for one, a in enumerate(names):\n    \
             for other, b in enumerate(names):\n        \
                 files = sorted(glob.glob(f'{sys.argv[1]}/{one * len(names) + other}/*.parquet'))\n        \
                 if not files: continue\n        \
                 tables = [pq.read_table(file) for file in files]\n        \
                 kinds = [table.schema.field('v').type for table in tables]\n        \
                 assert len(kinds) == 2 and kinds[0] == kinds[1], (a, b, kinds)\n        \
                 for table, name in zip(tables, (a, b)):\n            \
                     found, wanted = table.column('v').to_pylist(), eval(types[name])\n            \
                     if isinstance(wanted, datetime.date) and not isinstance(wanted, datetime.datetime) and isinstance(found[0], datetime.datetime):\n                \
                         wanted = datetime.datetime(wanted.year, wanted.month, wanted.day)\n            \
                     assert found == [wanted, None] and (isinstance(found[0], float) == isinstance(wanted, float)), (a, b, found, wanted)\n        \
                 if one < other: united.append(f'{a} {b} {kinds[0]}')\n\
         print('\\n'.join(united))";
    let judged = peers::run(judge, &[sandbox.path("out").as_os_str(), told.as_ref()]);
    assert_success(&judged);
    insta::assert_snapshot!(String::from_utf8_lossy(&judged.stdout).trim());
}

#[test]
fn added_files_may_have_other_columns_where_they_are_united() {
    let sandbox = sandbox("union", ", mode: append");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int32())]",
        "[{'id': 1}]",
    );
    built(&sandbox);
    let first = sandbox.digests("out");
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64()), ('s', pa.string())]",
        "[{'id': 2, 's': 'x'}]",
    );
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 1);
    // Old parts stay as they are, and a new one has all columns there ever were.
    parquet(
        &sandbox,
        "home/c.parquet",
        "[('id', pa.int32())]",
        "[{'id': 3}]",
    );
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 1);
    let now = sandbox.digests("out");
    assert!(first.iter().all(|part| now.get(part.0) == Some(part.1)));
    let (columns, lines) = united(&sandbox, "id");
    assert_eq!(columns, ["id: BIGINT", "s: VARCHAR"]);
    assert_eq!(lines, ["1|", "2|x", "3|"]);
}

#[test]
fn a_table_gets_the_columns_of_all_files() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database
        .project("  f: {home: {path: home, schema: union}, store: {connection: shop, table: t}}\n");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64())]",
        "[{'id': 1}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('s', pa.string()), ('id', pa.int64())]",
        "[{'id': 2, 's': 'x'}]",
    );
    built(&sandbox);
    assert_eq!(database.ask("SELECT id, s FROM t ORDER BY id"), "1|\n2|x");
}

#[test]
fn a_value_that_the_wider_type_cannot_hold_is_named_with_its_row() {
    let sandbox = sandbox("union", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('d', pa.date32())]",
        "[{'d': datetime.date(2024, 1, 1)}, {'d': datetime.date(9999, 1, 1)}]",
    );
    let path = sandbox.path("home/b.parquet");
    let lines = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
         pq.write_table(pa.table({'d': pa.array([1], pa.timestamp('ns'))}), sys.argv[1])";
    assert_success(&peers::run(lines, &[path.as_os_str()]));
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.text.contains(
            "a.parquet: row 2 of column d is 2932532, which timestamp(nanoseconds) cannot hold"
        ),
        "{}",
        ran.text
    );
    assert!(!sandbox.path("out").exists());
}

#[test]
fn fields_of_groups_are_united_too() {
    let sandbox = sandbox("union", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('g', pa.struct([('x', pa.int32())])), ('l', pa.list_(pa.int8()))]",
        "[{'g': {'x': 1}, 'l': [1, None]}, {'g': None, 'l': None}, {'g': {'x': None}, 'l': []}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('g', pa.struct([('y', pa.string()), ('x', pa.int64())])), ('l', pa.list_(pa.int64()))]",
        "[{'g': {'x': 2, 'y': 'z'}, 'l': [2**40]}]",
    );
    built(&sandbox);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         found = [row for name in sorted(glob.glob(sys.argv[1] + '/*.parquet')) for row in pq.read_table(name).to_pylist()]\n\
         expected = [{'g': {'x': 1, 'y': None}, 'l': [1, None]}, {'g': None, 'l': None}, {'g': {'x': None, 'y': None}, 'l': []}, {'g': {'x': 2, 'y': 'z'}, 'l': [2**40]}]\n\
         assert found == expected, found";
    assert_success(&peers::run(lines, &[sandbox.path("out").as_os_str()]));
}

#[test]
fn a_type_that_does_not_fit_what_is_there_never_changes_a_value() {
    let cases = [
        (
            "pa.decimal128(38, 0)",
            "decimal.Decimal(10**20)",
            "pa.decimal128(5, 2)",
            "decimal.Decimal('1.25')",
        ),
        (
            "pa.timestamp('us', tz='UTC')",
            "datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)",
            "pa.timestamp('ms')",
            "datetime.datetime(2024, 1, 1)",
        ),
        (
            "pa.timestamp('us')",
            "datetime.datetime(2024, 1, 1)",
            "pa.time64('us')",
            "datetime.time(1)",
        ),
        ("pa.string()", "'a'", "pa.int64()", "1"),
        (
            "pa.duration('us')",
            "datetime.timedelta(1)",
            "pa.int64()",
            "1",
        ),
    ];
    for (old, one, new, other) in cases {
        let sandbox = sandbox("union", ", on_drift: {retyped: allow}");
        parquet(
            &sandbox,
            "home/a.parquet",
            &format!("[('x', {old})]"),
            &format!("[{{'x': {one}}}]"),
        );
        built(&sandbox);
        let before = sandbox.digests("out");
        parquet(
            &sandbox,
            "home/b.parquet",
            &format!("[('x', {new})]"),
            &format!("[{{'x': {other}}}]"),
        );
        for arguments in [&[][..], &["--accept-drift"]] {
            let ran = sandbox.build(arguments);
            assert_eq!(ran.code, 1, "{old}, {new}: {}", ran.text);
            assert!(
                ran.text.contains("there is no common type: column x is"),
                "{}",
                ran.text
            );
        }
        assert_eq!(sandbox.digests("out"), before, "{old}, {new}");
        // Where all files have the new type, that can be accepted.
        remove(&sandbox, "home/a.parquet");
        built(&sandbox);
        assert_eq!(rows(&sandbox.path("out")).rows.len(), 1);
    }
}

#[test]
fn what_is_added_fits_the_parts_that_stay() {
    for first in ["strict", "union"] {
        let sandbox = sandbox(first, ", mode: append, on_drift: {retyped: allow}");
        parquet(
            &sandbox,
            "home/a.parquet",
            "[('x', pa.int64())]",
            "[{'x': 1}]",
        );
        built(&sandbox);
        sandbox.write(
            "hygge.yml",
            "flows:\n  f: {home: {path: home, schema: union}, store: {path: out}, mode: append, \
             on_drift: {retyped: allow}}\n",
        );
        parquet(
            &sandbox,
            "home/b.parquet",
            "[('x', pa.string())]",
            "[{'x': 'a'}]",
        );
        let ran = sandbox.build(&["--accept-drift"]);
        assert_eq!(ran.code, 1, "{first}: {}", ran.text);
        assert!(
            ran.text
                .contains("column x is string in b.parquet, and int64 in what was published"),
            "{first}: {}",
            ran.text
        );
        parquet(
            &sandbox,
            "home/b.parquet",
            "[('x', pa.int8()), ('y', pa.int8())]",
            "[{'x': 2}]",
        );
        built(&sandbox);
        assert_eq!(united(&sandbox, "x").1, ["1|", "2|"]);
        let ran = sandbox.build(&["f", "--forget-schema"]);
        assert_eq!(ran.code, 1, "{first}: {}", ran.text);
        assert!(
            ran.text.contains("parts that stay"),
            "{first}: {}",
            ran.text
        );
    }
}

#[test]
fn what_is_said_of_a_column_decides_no_bytes_of_other_files() {
    let sandbox = sandbox("union", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64())]",
        "[{'id': 1}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64()), pa.field('s', pa.int64(), metadata={'unit': 'm'})]",
        "[{'id': 2, 's': 3}]",
    );
    built(&sandbox);
    let before = sandbox.digests("out");
    assert_eq!(sandbox.build(&["f", "--force"]).code, 0);
    assert_eq!(sandbox.digests("out"), before);
    parquet(
        &sandbox,
        "home/c.parquet",
        "[('id', pa.int64())]",
        "[{'id': 3}]",
    );
    assert_eq!(built(&sandbox).event("flow_finished")["parts_made"], 1);
}

#[test]
fn types_that_only_parquet_has_are_not_lost() {
    let sandbox = sandbox("union", "");
    let lines = "mood = lambda name: leaf(name, BYTE_ARRAY, converted=ENUM)\n\
         write('a.parquet', [mood('m')], [{'m': 'a'}])\n\
         write('b.parquet', [mood('m')], [{'m': 'b'}])\n\
         write('c.parquet', [mood('m'), leaf('n', INT32)], [{'m': 'c', 'n': 1}])";
    python(&sandbox, "home", lines);
    for command in [&["build"][..], &["build", "--dry-run"], &["check"]] {
        let ran = sandbox.run(command);
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.text);
        let told =
            "column m is enum in binary, which is lost where the file is given other columns";
        assert!(ran.text.contains(told), "{command:?}: {}", ran.text);
    }
    // Where all files have the same columns they pass with it.
    remove(&sandbox, "home/c.parquet");
    built(&sandbox);
    let out: Vec<String> = sandbox.digests("out").into_keys().collect();
    let bytes = |name: &str| fs::read(sandbox.path(name)).expect("a file");
    assert_eq!(bytes("home/a.parquet"), bytes(&format!("out/{}", out[0])));
}

#[test]
fn what_is_said_of_a_column_stays_with_it() {
    let sandbox = sandbox("union", "");
    let kilograms = "[pa.field('x', pa.int32(), metadata={'unit': 'kg'})]";
    parquet(&sandbox, "home/a.parquet", kilograms, "[{'x': 1}]");
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('x', pa.int64())]",
        "[{'x': 2}]",
    );
    built(&sandbox);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         for name in sorted(glob.glob(sys.argv[1] + '/*.parquet')):\n    \
             field = pq.read_schema(name).field('x')\n    \
             print(field.type, (field.metadata or {}).get(b'unit'))";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    let told = String::from_utf8_lossy(&read.stdout).into_owned();
    assert_eq!(told, "int64 b'kg'\nint64 None\n");
    // A type that is only noted would be lost.
    let lines = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
         flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8()))\n\
         pq.write_table(pa.table({'flag': flags}), sys.argv[1])";
    let path = sandbox.path("home/c.parquet");
    assert_success(&peers::run(lines, &[path.as_os_str()]));
    let refused = sandbox.run(&["build"]);
    let expected =
        "column flag is arrow.bool8, which is lost where the file is given other columns";
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(refused.text.contains(expected), "{}", refused.text);
}

#[test]
fn instants_are_one_type_whatever_their_zone_is_called() {
    let sandbox = sandbox("union", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('t', pa.timestamp('us', tz='UTC'))]",
        "[{'t': datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('t', pa.timestamp('us', tz='+00:00')), ('y', pa.int64())]",
        "[{'t': datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc), 'y': 5}]",
    );
    built(&sandbox);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         for name in sorted(glob.glob(sys.argv[1] + '/*.parquet')):\n    \
             for row in pq.read_table(name).to_pylist(): print(row['t'].timestamp(), row['y'])";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    assert_eq!(
        String::from_utf8_lossy(&read.stdout),
        "1704067200.0 None\n1704153600.0 5\n"
    );
}

#[test]
fn files_of_arrow_are_united_too() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {type: ipc, path: home, schema: union}, store: {type: ipc, path: out}}\n  \
         g: {home: {type: ipc, path: home, schema: union}, store: parquet}\n",
    );
    let lines = "import sys, os, datetime as dt, pyarrow as pa, pyarrow.ipc as ipc\n\
         os.makedirs(sys.argv[1])\n\
         times = lambda unit: {'at': pa.array([dt.time(1)], pa.time32(unit)), 't': pa.array([dt.datetime(2024, 1, 1)], pa.timestamp(unit))}\n\
         both = {'d': pa.array(['x']).dictionary_encode()}\n\
         for name, table in (('a', {**times('s'), **both}), ('b', {**times('ms'), **both}), ('c', {**times('s'), **both, 'n': [1]})):\n    \
             table = pa.table(table)\n    \
             writer = ipc.new_file(f'{sys.argv[1]}/{name}.arrow', table.schema); writer.write_table(table); writer.close()";
    assert_success(&peers::run(lines, &[sandbox.path("home").as_os_str()]));
    built(&sandbox);
    let lines = "import sys, glob, datetime as dt, pyarrow as pa, pyarrow.ipc as ipc, pyarrow.parquet as pq\n\
         ipcs = [ipc.open_file(name).read_all() for name in sorted(glob.glob(sys.argv[1] + '/out/*.arrow'))]\n\
         parts = [pq.read_table(name) for name in sorted(glob.glob(sys.argv[1] + '/parquet/*.parquet'))]\n\
         for tables in (ipcs, parts):\n    \
             found = [row for table in tables for row in table.select(['at', 't', 'd', 'n']).to_pylist()]\n    \
             row = {'at': dt.time(1), 't': dt.datetime(2024, 1, 1), 'd': 'x', 'n': None}\n    \
             assert found == [row, row, {**row, 'n': 1}], found\n    \
             assert len({(str(table.schema.field('at').type), str(table.schema.field('t').type)) for table in tables}) == 1, tables";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 2);
}

#[test]
fn types_that_are_built_upon_others_are_recorded_as_such() {
    let sandbox = sandbox("union", ", mode: append");
    let write = |name: &str, more: &str| {
        let path = sandbox.path(&format!("home/{name}.parquet"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let lines = format!(
            "import sys, uuid, pyarrow as pa, pyarrow.parquet as pq\n\
             ids = pa.array([uuid.UUID(int=7).bytes], pa.uuid())\n\
             pq.write_table(pa.table({{'u': ids, 'j': pa.array(['{{}}'], pa.json_()){more}}}), sys.argv[1])"
        );
        assert_success(&peers::run(&lines, &[path.as_os_str()]));
    };
    write("a", "");
    built(&sandbox);
    write("b", ", 'x': [1]");
    built(&sandbox);
    write("c", "");
    built(&sandbox);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         for name in sorted(glob.glob(sys.argv[1] + '/*.parquet')):\n    \
             schema = pq.ParquetFile(name).schema\n    \
             print([str(schema.column(number).logical_type) for number in (0, 1)])";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    let told = String::from_utf8_lossy(&read.stdout).into_owned();
    assert_eq!(told, "['UUID', 'JSON']\n".repeat(3));
}
