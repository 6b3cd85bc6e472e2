//! Shapes: which rows and columns come, as which types and under which names.

use std::fs;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::files::{ORDERS, orders};
use crate::common::peers::{self, parquet};
use crate::common::sandbox::{Sandbox, built, failed};

on_each_database!(
    rows_of_tables_are_shaped_too,
    shaped_rows_come_into_tables,
    what_is_added_by_a_watermark_is_shaped
);

/// A project with one flow of these keys.
fn project(keys: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!("flows:\n  f: {{home: home, store: out{keys}}}\n"));
    orders(&sandbox);
    sandbox
}

const ALL_KEYS: &str = ", where: \"id between 2 and 8 and (lower(state) = 'paid' or state is null)\", \
    cast: {id: text, Order Total: \"decimal(12,3)\"}, add: {source: \"{file.stem}\", batch: 7, ratio: 0.5, ok: true}, \
    hash_id: {name: key, of: [id, state]}, columns: {exclude: [secret]}, rename: {day: orderedOn}, case: snake";

#[test]
fn every_key_does_what_it_says_in_their_order() {
    let sandbox = project(ALL_KEYS);
    let checked = sandbox.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.text);
    let ran = built(&sandbox);
    let done = ran.finished("f").expect("the flow");
    assert_eq!(
        (&done["rows"], &done["rows_filtered"]),
        (&3.into(), &7.into())
    );
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(
        columns,
        "id VARCHAR, order_total DECIMAL(12,3), state VARCHAR, ordered_on DATE, source VARCHAR, batch BIGINT, ratio DOUBLE, ok BOOLEAN, key VARCHAR"
    );
    let row = |id: i32, total: &str, state: &str, hashed: &str, source: &str| {
        let key = peers::sha256(hashed);
        format!(
            "{id}|{total}|{state}|2026-01-{:02}|{source}|7|0.5|true|{key}",
            id + 1
        )
    };
    assert_eq!(
        rows,
        [
            row(3, "4.500", "", "1:3-", "a"),
            row(5, "7.500", "PAID", "1:54:PAID", "b"),
            row(7, "10.500", "", "1:7-", "b"),
        ]
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    // The receipt says both: what was published, and what the home had.
    let shown = sandbox.run(&["show", "f", "--schema"]).text;
    assert!(shown.contains("ordered_on"), "{shown}");
    let receipt = fs::read_to_string(sandbox.path(".hygge/out.json")).expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    let home = receipt["published"]["home_columns"]
        .as_array()
        .expect("columns");
    assert_eq!(home.len(), 5);
    // A rebuild from nothing gives the same bytes.
    let before = sandbox.digests("out");
    fs::remove_dir_all(sandbox.path("out")).expect("a folder");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a folder");
    built(&sandbox);
    assert_eq!(sandbox.digests("out"), before);
}

#[test]
fn formats_do_not_matter() {
    let config = format!(
        "flows:\n  arrow: {{home: home, store: {{type: ipc, path: arrow}}{ALL_KEYS}}}\n  \
         back: {{home: {{flow: arrow}}, store: back, where: \"key is not null\"}}\n  \
         own: {{home: {{flow: arrow}}, store: {{type: ipc, path: own}}, columns: [ordered_on, id]}}\n  \
         plain: {{home: home, store: plain{ALL_KEYS}}}\n"
    );
    let sandbox = Sandbox::new(&config);
    orders(&sandbox);
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "back", "id"),
        peers::read_folder(&sandbox, "plain", "id")
    );
    let lines = "import sys, glob, pyarrow.ipc as ipc\n\
         for name in sorted(glob.glob(sys.argv[1] + '/*')):\n    \
             for row in ipc.open_file(name).read_all().to_pylist(): print(row)";
    let own = peers::run(lines, &[sandbox.path("own").as_os_str()]);
    assert_success(&own);
    let expected = [(4, 3), (6, 5), (8, 7)].map(|(day, id)| {
        format!("{{'ordered_on': datetime.date(2026, 1, {day}), 'id': '{id}'}}\n")
    });
    assert_eq!(String::from_utf8_lossy(&own.stdout), expected.concat());
}

#[test]
fn names_of_columns_are_those_of_the_home_or_refused() {
    for (keys, told) in [
        (", where: stat = 'x'", "where: its home has no column stat"),
        (", cast: {idd: text}", "cast: its home has no column idd"),
        (
            ", columns: [id, sate]",
            "columns: its home has no column sate",
        ),
        (
            ", columns: {exclude: [sate]}",
            "columns: its home has no column sate",
        ),
        (", rename: {dey: d}", "rename: its home has no column dey"),
        (
            ", hash_id: {name: h, of: [id, stat]}",
            "hash_id: its home has no column stat",
        ),
    ] {
        let sandbox = project(keys);
        for command in [&["check"][..], &["build", "--dry-run"], &["build"]] {
            let ran = sandbox.run(command);
            assert_eq!(ran.code, 1, "{keys}: {command:?}: {}", ran.text);
            assert!(ran.text.contains(told), "{keys}: {command:?}: {}", ran.text);
            assert!(ran.text.contains("did you mean"), "{keys}: {}", ran.text);
        }
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn what_does_not_go_together_is_said_before_anything_is_read() {
    for (keys, told) in [
        (
            ", rename: {id: day}",
            "rename: column id and column day are both called day",
        ),
        (
            ", add: {id: 7}",
            "add: column id and the added column id are both called id",
        ),
        (
            ", case: snake, add: {order_total: 1}",
            "column Order Total and the added column order_total are both called order_total",
        ),
        (
            ", casing: upper, add: {ID: 1}",
            "column id and the added column ID are both called ID",
        ),
        (
            ", hash_id: {name: day, of: [id]}",
            "column day and the digest day are both called day",
        ),
        (
            ", columns: [id], rename: {day: d}",
            "rename: column day is left out by columns",
        ),
        (", where: id", "where: id is int64, expected a condition"),
        (
            ", where: id = 'x'",
            "where: id and 'x' do not compare: id is int64, 'x' is string",
        ),
        (
            ", where: day = '2026-13-01'",
            "day and '2026-13-01' do not compare",
        ),
        (
            ", where: state + 1 = 2",
            "+ does not take these types: state is string, 1 is int32",
        ),
        (", where: lower(id) = '1'", "id is int64, expected text"),
        (
            ", where: cast(day as int32) = 1",
            "date cannot be cast to int32",
        ),
        (
            ", where: id = 2147483647 + 1",
            "2147483647 + 1 does not fit into int32",
        ),
        (
            ", where: \"day = date '2026-02-30'\"",
            "'2026-02-30' is no date",
        ),
        (", where: state like state", "which the pattern of like is"),
        (
            ", cast: {day: boolean}",
            "cast: column day: date cannot be cast to boolean",
        ),
    ] {
        let sandbox = project(keys);
        let ran = failed(&sandbox);
        assert!(ran.text.contains(told), "{keys}: {}", ran.text);
        let checked = sandbox.run(&["check"]);
        assert!(checked.text.contains(told), "{keys}: {}", checked.text);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn wrong_keys_are_said_with_their_place() {
    for (keys, told, place) in [
        (
            ", where: id betwen 3",
            "nothing can follow here, and betwen does",
            "hygge.yml:2:41",
        ),
        (", where: \"\"", "it is empty", "hygge.yml:2:38"),
        (
            ", where: id / 2 = 1",
            "there is no division",
            "hygge.yml:2:38",
        ),
        (
            ", where: id = (select 1)",
            "expressions do not have",
            "hygge.yml:2:",
        ),
        (
            ", where: now() > day",
            "expressions do not have now()",
            "hygge.yml:2:38",
        ),
        (
            ", where: state ilike 'x'",
            "there is no ilike",
            "hygge.yml:2:38",
        ),
        (
            ", where: a.b = 1",
            "a.b is a field of a column",
            "hygge.yml:2:38",
        ),
        (", where: \"state = 'x\"", "unterminated", "hygge.yml:2:"),
        (
            ", where: cast(id as int128) = 1",
            "int128 is no type",
            "hygge.yml:2:",
        ),
        (
            ", cast: {id: number}",
            "gives the column id the unknown type \"number\"",
            "hygge.yml:2:42",
        ),
        (
            ", add: {x: \"{file.size}\"}",
            "add of flow f has {file.size} in the column x",
            "hygge.yml:2:40",
        ),
        (", add: [x]", "add of flow f is a list", "hygge.yml:2:36"),
        (
            ", add: {x: [1]}",
            "gives the column x a list",
            "hygge.yml:2:40",
        ),
        (
            ", hash_id: {of: [id]}",
            "hash_id of flow f cannot be used",
            "hygge.yml:2:",
        ),
        (
            ", hash_id: {name: h, of: [id, 2024]}",
            "has what is no name of a column",
            "hygge.yml:2:",
        ),
        (
            ", add: {\"\": 1}",
            "has a column without a name",
            "hygge.yml:2:",
        ),
        (
            ", columns: {exclud: [id]}",
            "columns of flow f cannot be used",
            "hygge.yml:2:",
        ),
        (
            ", columns: [id, id]",
            "columns of flow f names the column id twice",
            "hygge.yml:2:",
        ),
        (
            ", rename: {id: \"\"}",
            "rename of flow f gives the column id no name",
            "hygge.yml:2:",
        ),
        (", case: kebab", "case of flow f is", "hygge.yml:2:"),
    ] {
        let sandbox = project(keys);
        let ran = sandbox.run(&["build"]);
        assert_eq!(ran.code, 2, "{keys}: {}", ran.text);
        let text = ran.text.to_lowercase();
        assert!(text.contains(&told.to_lowercase()), "{keys}: {}", ran.text);
        assert!(ran.text.contains(place), "{keys}: {}", ran.text);
    }
}

#[test]
fn a_row_without_a_value_is_named_and_nothing_is_published() {
    for (keys, told) in [
        (
            ", where: id < 5, cast: {Order Total: \"decimal(4,0)\"}",
            "home/a.parquet: row 2: cast: column Order Total: 1.50 is no decimal(4,0)",
        ),
        (
            ", where: \"id between 2 and 4\", cast: {state: boolean}",
            "home/a.parquet: row 3: cast: column state: 'sent' is no boolean",
        ),
        (
            ", where: \"id = 4 and cast(state as int32) = 1\"",
            "home/a.parquet: row 5: where: 'sent' is no int32 (in ",
        ),
        (
            ", where: \"id > 4 or id * 9223372036854775807 > 0\"",
            "home/a.parquet: row 3: where: 2 * 9223372036854775807 does not fit into int64",
        ),
    ] {
        let sandbox = project(keys);
        let ran = failed(&sandbox);
        let text = ran
            .text
            .replace(&format!("{}/", sandbox.path("").display()), "");
        assert!(text.contains(told), "{keys}: {}", ran.text);
        assert!(!sandbox.path("out").exists());
    }
    // What a condition rules out before need not have a value.
    let sandbox =
        project(", where: \"state <> 'sent' and state <> 'PAID' and cast(state as int32) = 1\"");
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 0);
}

#[test]
fn columns_that_are_not_wanted_are_not_read() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: home, store: out, columns: [id], where: \"name = 'b'\"}\n  \
         g: {home: home, store: arrow, columns: {exclude: [old]}, cast: {id: text}}\n",
    );
    let lines = "import sys, os, datetime, pyarrow as pa, pyarrow.parquet as pq\n\
         os.makedirs(sys.argv[1])\n\
         table = pa.table({'id': [1, 2], 'old': pa.array([datetime.datetime(2026, 1, 1)] * 2, pa.timestamp('ns')), 'g': [{'x': [1], 'y': 'a'}, None], 'name': ['a', 'b']})\n\
         pq.write_table(table, sys.argv[1] + '/a.parquet', use_deprecated_int96_timestamps=True)";
    assert_success(&peers::run(lines, &[sandbox.path("home").as_os_str()]));
    let checked = sandbox.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.text);
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "id"),
        ("id BIGINT".into(), vec!["2".to_string()])
    );
    let (columns, rows) = peers::read_folder(&sandbox, "arrow", "id");
    assert_eq!(
        columns,
        "id VARCHAR, g STRUCT(x BIGINT[], y VARCHAR), name VARCHAR"
    );
    assert_eq!(rows, ["1|{'x': [1], 'y': a}|a", "2||b"]);
    // What is wanted is refused as ever.
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: home, store: out, columns: [id, old]}\n",
    );
    let ran = failed(&sandbox);
    assert!(ran.text.contains("column old"), "{}", ran.text);
}

/// Groups of ten rows: of each, what a condition leaves is what it leaves of all rows at once.
#[test]
fn groups_that_are_passed_over_have_no_row_that_comes() {
    let conditions = [
        "n < 25",
        "25 > n and s is not null",
        "n between 31 and 38 or n = 77",
        "n not in (1, 2)",
        "d >= '2026-02-01' and n > 0",
        "x > 12.5",
        "u > 95",
        "t < '1970-01-01 00:00:03'",
        "f > 40",
        "n = 1000",
        "n is null",
        "n < 15 is not true",
        "zone = 'b' and n >= 50",
        "w < -80",
        "null",
    ];
    let flow = |(number, condition): (usize, &&str)| {
        format!(
            "  f{number}: {{home: {{path: home, glob: \"**/*.parquet\"}}, store: out/f{number}, where: \"{condition}\", columns: [n, zone]}}\n"
        )
    };
    let flows: String = conditions.iter().enumerate().map(flow).collect();
    let sandbox = Sandbox::new(&format!("flows:\n{flows}"));
    let lines = "import sys, os, decimal, datetime, duckdb, pyarrow as pa, pyarrow.parquet as pq\n\
         rows = range(100)\n\
         day = lambda i: datetime.date(2026, 1, 1) + datetime.timedelta(i)\n\
         whole = pa.table({'n': pa.array([None if i % 7 == 3 or 60 <= i < 70 else i for i in rows], pa.int32()), 's': ['x'] * 100, \
             'd': [day(i) for i in rows], 'x': pa.array([decimal.Decimal(i) / 4 for i in rows], pa.decimal128(20, 2)), \
             'u': pa.array(rows, pa.uint8()), 't': pa.array([i * 100_000 for i in rows], pa.timestamp('us')), \
             'f': [float('nan') if i == 5 else float(i) for i in rows], 'w': pa.array([decimal.Decimal(-i) for i in rows], pa.decimal128(4, 0))})\n\
         for zone in 'ab':\n    \
             os.makedirs(f'{sys.argv[1]}/zone={zone}')\n    \
             pq.write_table(whole, f'{sys.argv[1]}/zone={zone}/x.parquet', row_group_size=10, store_decimal_as_integer=zone == 'a')\n\
         for condition in sys.argv[2:]:\n    \
             # Of files, DuckDB passes over a group with NaN in it, which is more than every bound.\n    \
             found = duckdb.sql(f\"select n, zone from whole, (values ('a'), ('b')) zones(zone) where {condition} order by all\").fetchall()\n    \
             print(found)";
    let home = sandbox.path("home");
    let mut arguments = vec![home.as_os_str()];
    arguments.extend(conditions.iter().map(std::ffi::OsStr::new));
    let expected = peers::run(lines, &arguments);
    assert_success(&expected);
    let expected = String::from_utf8_lossy(&expected.stdout).into_owned();
    built(&sandbox);
    let lines = "import sys, duckdb\n\
         for folder in sys.argv[1:]: print(duckdb.sql(f\"select n, zone from '{folder}/*.parquet' order by all\").fetchall())";
    let folders: Vec<_> = (0..conditions.len())
        .map(|number| sandbox.path(&format!("out/f{number}")))
        .collect();
    let folders: Vec<_> = folders.iter().map(|folder| folder.as_os_str()).collect();
    let found = peers::run(lines, &folders);
    assert_success(&found);
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    for (condition, (found, expected)) in conditions.iter().zip(found.lines().zip(expected.lines()))
    {
        assert_eq!(found, expected, "{condition}");
    }
    assert_eq!(found.lines().count(), conditions.len());
}

#[test]
fn another_shape_makes_the_set_anew_and_is_no_drift() {
    let sandbox = project(", where: id < 4");
    built(&sandbox);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1.len(), 4);
    let config = |keys: &str| {
        sandbox.write(
            "hygge.yml",
            format!("flows:\n  f: {{home: home, store: out{keys}}}\n"),
        );
    };
    config(", where: id < 5, columns: [id]");
    let why = sandbox.run(&["why", "f"]).text;
    assert!(why.contains("where") && why.contains("columns"), "{why}");
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!((columns.as_str(), rows.len()), ("id BIGINT", 5));
    config("");
    built(&sandbox);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1.len(), 10);
    // A column of the home that goes is drift, also where it is not wanted.
    config(", columns: [id]");
    built(&sandbox);
    let narrow = ORDERS.replace(", ('secret', pa.string())", "");
    for name in ["a", "b"] {
        parquet(
            &sandbox,
            &format!("home/{name}.parquet"),
            &narrow,
            "[{'id': 1}]",
        );
    }
    let ran = failed(&sandbox);
    assert!(
        ran.text.contains("secret is gone (removed)"),
        "{}",
        ran.text
    );
    let ran = sandbox.run(&["build", "--accept-drift"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
}

#[test]
fn what_is_added_has_the_columns_of_what_stays() {
    let sandbox = project(", mode: append, where: id < 7, columns: [id]");
    built(&sandbox);
    parquet(&sandbox, "home/c.parquet", ORDERS, "[{'id': 6}, {'id': 9}]");
    built(&sandbox);
    let (_, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(rows, ["0", "1", "2", "3", "4", "5", "6", "6"]);
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: home, store: out, mode: append, columns: [id, day]}\n",
    );
    parquet(&sandbox, "home/d.parquet", ORDERS, "[{'id': 10}]");
    let ran = failed(&sandbox);
    assert!(ran.text.contains("day"), "{}", ran.text);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1.len(), 8);
}

#[test]
fn values_of_files_and_of_runs_come_with_the_rows() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {path: home, glob: \"**/*.parquet\"}, store: out, columns: [id, zone], \
         add: {from: \"{file.folder}/{file.name}\", path: \"{file.path}\", braces: \"{{x}}\", at: \"{run.time}\", text: \"at {run.time}\"}}\n",
    );
    for zone in ["north", "south"] {
        parquet(
            &sandbox,
            &format!("home/zone={zone}/a.parquet"),
            "[('id', pa.int64())]",
            "[{'id': 1}]",
        );
    }
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.text.contains("column at holds the moment"),
        "{}",
        ran.text
    );
    let before = peers::today();
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "zone");
    assert_eq!(
        columns,
        "id BIGINT, zone VARCHAR, from VARCHAR, path VARCHAR, braces VARCHAR, at TIMESTAMP WITH TIME ZONE, text VARCHAR"
    );
    assert_eq!(rows.len(), 2);
    assert!(
        rows[0].starts_with("1|north|zone=north/a.parquet|zone=north/a.parquet|{x}|"),
        "{}",
        rows[0]
    );
    assert!(
        rows[0].contains(&format!("|at {before}")),
        "{before}: {}",
        rows[0]
    );
    // The moment makes nothing stale; another name of a file makes its part anew.
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    fs::rename(
        sandbox.path("home/zone=south/a.parquet"),
        sandbox.path("home/zone=south/b.parquet"),
    )
    .expect("a new name");
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.finished("f").expect("the flow")["parts_made"],
        1,
        "{}",
        ran.text
    );
    let (_, rows) = peers::read_folder(&sandbox, "out", "zone");
    assert!(rows[1].contains("zone=south/b.parquet"), "{}", rows[1]);
}

#[test]
fn files_that_differ_are_united_before_they_are_shaped() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {path: home, schema: union}, store: out, where: \"n is null or n > 1\", cast: {id: text}, rename: {n: number}}\n",
    );
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int32())]",
        "[{'id': 1}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('n', pa.int64()), ('id', pa.int64())]",
        "[{'id': 2**40, 'n': 1}, {'id': 3, 'n': 2}]",
    );
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(columns, "id VARCHAR, number BIGINT");
    assert_eq!(rows, ["1|", "3|2"]);
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn files_of_any_size_are_made_of_the_rows_that_are_left() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: home, store: {path: out, rows_per_file: 100}, where: \"id <> 50 and id < 250\", columns: [id]}\n",
    );
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64()), ('s', pa.string())]",
        "[{'id': i, 's': 'x'} for i in range(300)]",
    );
    built(&sandbox);
    let (_, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(rows.len(), 249);
    let read = peers::rows(&sandbox.path("out"));
    assert_eq!(read.rows.len(), 249);
    assert_eq!(sandbox.digests("out").len(), 3);
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn what_names_columns_that_are_others_is_not_said_any_more() {
    let sandbox = Sandbox::new("flows:\n  f: {home: home, store: out, rename: {id: key}}\n");
    let lines = "import sys, os, pyarrow as pa, pyarrow.parquet as pq\n\
         os.makedirs(sys.argv[1])\n\
         table = pa.table({'id': [1]}).replace_schema_metadata({'pandas': '{\"index_columns\": [\"id\"], \"columns\": []}', 'unit': 'kg'})\n\
         pq.write_table(table, sys.argv[1] + '/a.parquet')";
    assert_success(&peers::run(lines, &[sandbox.path("home").as_os_str()]));
    built(&sandbox);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         schema = pq.read_schema(glob.glob(sys.argv[1] + '/*.parquet')[0])\n\
         print(schema.names, sorted(schema.metadata))";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_eq!(String::from_utf8_lossy(&read.stdout), "['key'] [b'unit']\n");
}

#[test]
fn a_config_that_is_written_out_means_the_same() {
    let sandbox = project(ALL_KEYS);
    built(&sandbox);
    let checked = sandbox.run(&["check", "--offline", "--format", "json"]);
    let written = checked.event("config")["config"].to_string();
    sandbox.write("hygge.yml", written);
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn entities_and_defaults_have_shapes() {
    let sandbox = Sandbox::new(
        "flows:\n  f:\n    home: home\n    store: out\n    defaults: {case: snake, add: {entity: \"{entity}\"}}\n    \
         entities: [{name: a, columns: [id, Order Total]}, {name: b, case: null, columns: [id]}]\n",
    );
    orders(&sandbox);
    for name in ["a", "b"] {
        fs::create_dir_all(sandbox.path(&format!("home/{name}"))).expect("a folder");
        fs::rename(
            sandbox.path(&format!("home/{name}.parquet")),
            sandbox.path(&format!("home/{name}/x.parquet")),
        )
        .expect("a move");
    }
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out/a", "id").0,
        "id BIGINT, order_total DECIMAL(10,2), entity VARCHAR"
    );
    assert_eq!(
        peers::read_folder(&sandbox, "out/b", "id").0,
        "id BIGINT, entity VARCHAR"
    );
}

fn rows_of_tables_are_shaped_too(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE t (id int primary key, name varchar(20), total decimal(10,2), secret varchar(9)); \
                  INSERT INTO t VALUES (1, 'A', 1.50, 'x'), (2, 'B', 2.50, 'x'), (3, NULL, 3.00, 'x')");
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t}, store: out, where: \"name is null or name <> 'A'\", \
         cast: {total: \"decimal(12,3)\"}, add: {batch: 1}, hash_id: {name: h, of: name}, columns: [total, id], rename: {id: key}}\n",
    );
    let checked = sandbox.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.text);
    let ran = built(&sandbox);
    let done = ran.finished("f").expect("the flow");
    assert_eq!(
        (&done["rows"], &done["rows_filtered"]),
        (&2.into(), &1.into())
    );
    let (columns, rows) = peers::read_folder(&sandbox, "out", "key");
    assert!(
        columns.starts_with("total DECIMAL(12,3), key "),
        "{columns}"
    );
    assert!(columns.ends_with(", batch BIGINT, h VARCHAR"), "{columns}");
    assert_eq!(
        rows,
        [
            format!("2.500|2|1|{}", peers::sha256("1:B")),
            format!("3.000|3|1|{}", peers::sha256("-"))
        ]
    );
    let config = |keys: &str| {
        let flows = format!("  f: {{home: {{connection: shop, table: t}}, store: out, {keys}}}\n");
        sandbox.write("hygge.yml", database.config(&flows));
    };
    config("cast: {total: int32}");
    let ran = failed(&sandbox);
    assert!(
        ran.text.contains("row 1: cast: column total: 1.50") && ran.text.contains("is no int32"),
        "{}",
        ran.text
    );
    config("columns: [id, nam]");
    let ran = failed(&sandbox);
    assert!(
        ran.text.contains("columns: its home has no column nam"),
        "{}",
        ran.text
    );
    config("add: {x: \"{file.name}\"}");
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert!(ran.text.contains("its home is a table"), "{}", ran.text);
}

fn shaped_rows_come_into_tables(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project(
        "  f: {home: home, store: {connection: shop, table: t}, key_column: no, mode: merge, where: \"id >= 3\", \
         columns: [id, state], rename: {id: no}, add: {file: \"{file.name}\"}}\n",
    );
    orders(&sandbox);
    let checked = sandbox.run(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.text);
    built(&sandbox);
    let query = "SELECT no, state, file FROM t WHERE no < 6 ORDER BY no";
    let null = if kind == Kind::MySql { "NULL" } else { "" };
    assert_eq!(
        database.ask(query),
        format!("3|{null}|a.parquet\n4|sent|a.parquet\n5|PAID|b.parquet")
    );
    assert_eq!(database.ask("SELECT count(*) FROM t"), "7");
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    parquet(
        &sandbox,
        "home/a.parquet",
        ORDERS,
        "[{'id': 3, 'state': 'new'}, {'id': 1}]",
    );
    built(&sandbox);
    assert_eq!(database.ask("SELECT state FROM t WHERE no = 3"), "new");
}

fn what_is_added_by_a_watermark_is_shaped(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE t (id int primary key, n int not null); INSERT INTO t VALUES (1, 10), (2, 20)");
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t, watermark: {column: id}}, store: out, mode: append, where: \"n <> 20\", rename: {n: number}}\n",
    );
    built(&sandbox);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1, ["1|10"]);
    database.run("INSERT INTO t VALUES (3, 30), (4, 20)");
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert!(columns.contains("number"), "{columns}");
    assert_eq!(rows, ["1|10", "3|30"]);
    // Rows that stay keep their columns.
    database.run("INSERT INTO t VALUES (5, 50)");
    sandbox.write(
        "hygge.yml",
        database.config("  f: {home: {connection: shop, table: t, watermark: {column: id}}, store: out, mode: append, where: \"n <> 20\", rename: {n: num}}\n"),
    );
    let ran = failed(&sandbox);
    assert!(
        ran.text.contains("rows that stay have other columns") && ran.text.contains("num"),
        "{}",
        ran.text
    );
}

#[test]
fn names_are_folded_in_the_end() {
    let sandbox =
        project(", case: snake, casing: upper, add: {batchNo: 1}, columns: [id, Order Total]");
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "1").0,
        "ID BIGINT, ORDER_TOTAL DECIMAL(10,2), BATCH_NO BIGINT"
    );
}

#[test]
fn the_order_of_added_columns_is_part_of_the_recipe() {
    let sandbox = project(", columns: [id], add: {b: 1, a: two}");
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "id").0,
        "id BIGINT, b BIGINT, a VARCHAR"
    );
    let checked = sandbox.run(&["check", "--offline", "--format", "json"]);
    sandbox.write("hygge.yml", checked.event("config")["config"].to_string());
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: home, store: out, columns: [id], add: [{name: a, value: two}, {name: b, value: 1}]}\n",
    );
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "id").0,
        "id BIGINT, a VARCHAR, b BIGINT"
    );
}

#[test]
fn columns_of_every_kind_pass_a_condition() {
    let sandbox =
        Sandbox::new("flows:\n  f: {home: home, store: out, where: \"id <> 2 and id <> 5\"}\n");
    let lines = "import sys, os, pyarrow as pa, pyarrow.parquet as pq\n\
         os.makedirs(sys.argv[1])\n\
         rows = range(8)\n\
         table = pa.table({'id': rows, 'm': pa.array([{'a': i} if i % 3 else None for i in rows], pa.map_(pa.string(), pa.int64())), \
             'g': [{'x': [i], 'm': 'y'} for i in rows], 'l': pa.array([[{'k': i}] for i in rows], pa.list_(pa.map_(pa.string(), pa.int64()))), \
             'f': pa.array([bytes([i] * 5) for i in rows], pa.binary(5)), 't': ['long enough to be no short one ' + str(i) for i in rows]})\n\
         pq.write_table(table, sys.argv[1] + '/a.parquet')";
    assert_success(&peers::run(lines, &[sandbox.path("home").as_os_str()]));
    built(&sandbox);
    let lines = "import sys, glob, pyarrow as pa, pyarrow.parquet as pq\n\
         whole = pq.read_table(sys.argv[1] + '/home/a.parquet')\n\
         left = pq.read_table(glob.glob(sys.argv[1] + '/out/*.parquet')[0])\n\
         assert left.to_pylist() == [row for row in whole.to_pylist() if row['id'] not in (2, 5)], left.to_pylist()";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
}

#[test]
fn long_conditions_are_read_or_refused() {
    let ids: Vec<String> = (0..20_000).map(|id| id.to_string()).collect();
    let sandbox = project(&format!(
        ", where: \"id in ({})\", columns: [id]",
        ids.join(", ")
    ));
    built(&sandbox);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1.len(), 10);
    for (long, told) in [
        (
            format!("id{} = '1'", "::text".repeat(20_000)),
            "more than 2000 operators",
        ),
        (
            format!("{}id > 0", "not ".repeat(500)),
            "expected an expression",
        ),
        (
            format!("{}id{} > 0", "(".repeat(500), ")".repeat(500)),
            "too many levels",
        ),
        (
            vec!["id = 1"; 5000].join(" or "),
            "more than 2000 operators",
        ),
    ] {
        let sandbox = project(&format!(", where: \"{long}\""));
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{told}");
        assert!(ran.text.contains(told), "{told}: {}", &ran.text[..500]);
    }
    let sandbox = project(&format!(
        ", where: \"{}\"",
        vec!["id = 1"; 900].join(" or ")
    ));
    built(&sandbox);
    assert_eq!(peers::read_folder(&sandbox, "out", "id").1.len(), 1);
}

#[test]
fn files_of_which_no_column_is_read_have_their_rows() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: {type: ipc, path: arrow, glob: \"**/*.arrow\"}, store: a, columns: [year]}\n  \
         b: {home: {path: plain, glob: \"**/*.parquet\"}, store: b, columns: [year], where: year > 2025}\n",
    );
    let lines = "import sys, os, pyarrow as pa, pyarrow.ipc as ipc, pyarrow.parquet as pq\n\
         table = pa.table({'id': [1, 2, 3]})\n\
         for year in (2025, 2026):\n    \
             for kind in ('arrow', 'plain'): os.makedirs(f'{sys.argv[1]}/{kind}/year={year}')\n    \
             writer = ipc.new_file(f'{sys.argv[1]}/arrow/year={year}/a.arrow', table.schema); writer.write_table(table); writer.close()\n    \
             pq.write_table(table, f'{sys.argv[1]}/plain/year={year}/a.parquet')";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
    built(&sandbox);
    let years = |folder: &str| peers::read_folder(&sandbox, folder, "1").1.join(" ");
    assert_eq!(years("a"), "2025 2025 2025 2026 2026 2026");
    assert_eq!(years("b"), "2026 2026 2026");
}

#[test]
fn a_file_under_another_name_brings_rows_of_its_own() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: home, store: out, mode: append, add: {file: \"{file.name}\"}}\n",
    );
    parquet(
        &sandbox,
        "home/day1.parquet",
        "[('id', pa.int64())]",
        "[{'id': 1}]",
    );
    built(&sandbox);
    fs::rename(
        sandbox.path("home/day1.parquet"),
        sandbox.path("home/day2.parquet"),
    )
    .expect("a new name");
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "file").1,
        ["1|day1.parquet", "1|day2.parquet"]
    );
}

#[test]
fn a_row_fails_whatever_its_file_says_of_its_columns() {
    for statistics in ["True", "False"] {
        let sandbox = Sandbox::new(
            "flows:\n  f: {home: home, store: out, where: \"a > 5 and cast(b as int32) > 0\"}\n",
        );
        let lines = format!(
            "import sys, os, pyarrow as pa, pyarrow.parquet as pq\n\
             os.makedirs(sys.argv[1])\n\
             pq.write_table(pa.table({{'a': [1, None], 'b': ['1', 'x']}}), sys.argv[1] + '/a.parquet', write_statistics={statistics})"
        );
        assert_success(&peers::run(&lines, &[sandbox.path("home").as_os_str()]));
        let ran = failed(&sandbox);
        assert!(
            ran.text.contains("row 2: where: 'x' is no int32"),
            "{}",
            ran.text
        );
    }
}

#[test]
fn floats_come_back_from_texts() {
    let sandbox = Sandbox::new(
        "flows:\n  there: {home: home, store: there, cast: {d: text, f: text}}\n  \
         back: {home: {flow: there}, store: back, cast: {d: float64, f: float32}}\n",
    );
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('d', pa.float64()), ('f', pa.float32())]",
        "[{'d': x, 'f': x} for x in (1e23, 1.2345678901234568e20, 0.1, -0.0, 5e-324, 1.7976931348623157e308, float('nan'), float('inf'), -float('inf'), 16777217.0, 3.0, None)]",
    );
    built(&sandbox);
    let lines = "import sys, glob, struct, pyarrow.parquet as pq\n\
         whole, back = (pq.read_table(glob.glob(f'{sys.argv[1]}/{folder}/*.parquet')[0]) for folder in ('home', 'back'))\n\
         bits = lambda value: None if value is None else struct.pack('d', value)\n\
         for name in ('d', 'f'):\n    \
             assert whole.schema.field(name).type == back.schema.field(name).type\n    \
             assert [*map(bits, whole[name].to_pylist())] == [*map(bits, back[name].to_pylist())], back[name]";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
}
