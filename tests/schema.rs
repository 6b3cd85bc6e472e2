//! The schema of a set: recorded with it, shown, and compared with those of earlier sets.

use std::fs;

use serde_json::{Value, json};

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers::{self, parquet};
use crate::common::sandbox::Sandbox;

/// Columns of several kinds, one of which is never null.
const SCHEMA: &str = "[pa.field('id', pa.int64(), nullable=False), ('name', pa.string()), \
                      ('price', pa.decimal128(9, 2)), ('at', pa.timestamp('us', tz='UTC')), \
                      ('tags', pa.list_(pa.string())), \
                      ('size', pa.struct([pa.field('w', pa.int32(), nullable=False)]))]";

/// What is said of the columns of a flow.
fn shown(sandbox: &Sandbox, flow: &str) -> Vec<String> {
    let ran = sandbox.run(&["show", flow, "--schema"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let lines = ran.text.lines().skip(1);
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn columns(sandbox: &Sandbox, flow: &str) -> Value {
    let ran = sandbox.run(&["show", flow, "--schema", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let event: Value = serde_json::from_str(&ran.text).expect("one object");
    assert_eq!(
        (&event["event"], &event["flow"]),
        (&json!("schema"), &json!(flow))
    );
    event["columns"].clone()
}

/// A receipt as an older hygge wrote it: without the columns, or without what it says of nulls.
fn age_receipt(sandbox: &Sandbox, name: &str, age: fn(&mut Value)) {
    let path = sandbox.path(name);
    let bytes = fs::read(&path).expect("a receipt");
    let mut receipt: Value = serde_json::from_slice(&bytes).expect("JSON");
    age(&mut receipt["published"]);
    fs::write(&path, serde_json::to_vec(&receipt).expect("JSON")).expect("a receipt");
}

#[test]
fn a_set_has_the_names_types_and_nullability_of_its_columns() {
    for format in ["parquet", "ipc"] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  a: {{home: home, store: {{type: {format}, path: out}}}}\n"
        ));
        parquet(
            &sandbox,
            "home/a.parquet",
            SCHEMA,
            "[{'id': 1, 'size': {'w': 2}}]",
        );
        assert_eq!(sandbox.build(&[]).code, 0);
        let expected = [
            "id int64 never null",
            "name string may be null",
            "price decimal(9,2) may be null",
            "at timestamp(microseconds, UTC) may be null",
            "tags.element string may be null",
            "size.w int32 may be null",
        ];
        assert_eq!(shown(&sandbox, "a"), expected, "{format}");
        let receipt = fs::read(sandbox.path(".hygge/out.json")).expect("a receipt");
        let receipt: Value = serde_json::from_slice(&receipt).expect("JSON");
        let recorded: Vec<_> = receipt["published"]["columns"]
            .as_array()
            .expect("columns")
            .iter()
            .map(|column| (column["name"].clone(), column["nullable"].clone()))
            .collect();
        let of_file = |name: &str| (json!(name), json!(name != "id"));
        let names = ["id", "name", "price", "at", "tags.element", "size.w"];
        assert_eq!(recorded, names.map(of_file), "{format}");
        assert_eq!(columns(&sandbox, "a")[2]["type"], "decimal(9,2)");
    }
}

#[test]
fn a_table_says_what_its_home_calls_a_type_and_what_that_becomes() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id integer PRIMARY KEY, name varchar(9) NOT NULL, at date)");
    database.run("INSERT INTO t VALUES (1, 'a', '2026-01-01')");
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: t}, store: out}\n  \
         b: {home: {flow: a}, store: {connection: shop, table: copy}}\n",
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let of_home = columns(&sandbox, "a");
    let told: Vec<_> = of_home
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| {
            let text = |key: &str| column[key].as_str().expect("a text").to_lowercase();
            (text("name"), text("declared"), column["nullable"].clone())
        })
        .collect();
    let column = |name: &str, declared: &str, nullable: bool| {
        (name.to_string(), declared.to_string(), json!(nullable))
    };
    assert_eq!(
        told,
        [
            column("id", "integer", false),
            column("name", "varchar(9)", false),
            column("at", "date", true),
        ]
    );
    // What fills a table is recorded as well.
    let names = columns(&sandbox, "b");
    let names: Vec<_> = names.as_array().expect("columns").iter().collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_receipt_that_does_not_say_it_is_fresh_and_takes_it_from_its_files() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: out}\n");
    parquet(&sandbox, "home/a.parquet", SCHEMA, "[{'id': 1}]");
    assert_eq!(sandbox.build(&[]).code, 0);
    let first = columns(&sandbox, "a");
    age_receipt(&sandbox, ".hygge/out.json", |set| {
        set.as_object_mut().expect("a set").remove("columns");
    });
    assert_eq!(columns(&sandbox, "a"), first);
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 0 && ran.text.contains("1 flow is fresh"),
        "{}",
        ran.text
    );
    // One that says the columns and nothing of nulls says what it knows.
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: out}\n");
    parquet(&sandbox, "home/a.parquet", SCHEMA, "[{'id': 1}]");
    assert_eq!(sandbox.build(&[]).code, 0);
    age_receipt(&sandbox, ".hygge/out.json", |set| {
        for column in set["columns"].as_array_mut().expect("columns") {
            column.as_object_mut().expect("a column").remove("nullable");
        }
    });
    assert_eq!(shown(&sandbox, "a")[0], "id int64");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 0 && ran.text.contains("1 flow is fresh"),
        "{}",
        ran.text
    );
}

#[test]
fn what_came_of_columns_is_told_by_the_runs_that_published_them() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: out, on_drift: {removed: allow, widened: allow}}\n",
    );
    let build = |schema: &str, rows: &str| {
        parquet(&sandbox, "home/a.parquet", schema, rows);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
    };
    build("[('id', pa.int32()), ('name', pa.string())]", "[{'id': 1}]");
    // Other rows are no other schema.
    build("[('id', pa.int32()), ('name', pa.string())]", "[{'id': 2}]");
    build("[('id', pa.int64()), ('name', pa.string())]", "[{'id': 2}]");
    build(
        "[pa.field('id', pa.int64(), nullable=False), ('city', pa.string())]",
        "[{'id': 2}]",
    );
    let ran = sandbox.run(&["show", "a", "--schema", "--history"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let told: Vec<&str> = ran
        .text
        .lines()
        .filter(|line| line.starts_with("run "))
        .map(|line| line.split_once(": ").expect("what changed").1)
        .collect();
    let expected = [
        "name is gone; city (string) is new; id is never null now",
        "id was int32, and is int64",
        "2 columns, the first that is remembered",
    ];
    assert_eq!(told, expected, "{}", ran.text);
    let ran = sandbox.run(&["show", "a", "--schema", "--history", "--format", "json"]);
    let events: Vec<Value> = ran
        .text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let changes = |event: &Value| (event["run"].clone(), event["changes"].clone());
    assert_eq!(
        events[1..].iter().map(changes).collect::<Vec<_>>()[1..],
        [
            (json!(3), json!(["id was int32, and is int64"])),
            (json!(1), json!([])),
        ]
    );
}

#[test]
fn what_has_no_schema_is_named() {
    let sandbox =
        Sandbox::new("flows:\n  a: {home: home, store: out}\n  b: {home: home, store: b}\n");
    let ran = sandbox.run(&["show", "a", "--schema"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("flow a was never built: it has no schema yet"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("hint: hygge build a makes its first set"),
        "{}",
        ran.text
    );
    let ran = sandbox.run(&["show", "*", "--schema"]);
    assert!(
        ran.code == 2 && ran.text.contains("hygge show is about one: a, b"),
        "{}",
        ran.text
    );
    let ran = sandbox.run(&["show", "c", "--schema"]);
    assert!(
        ran.code == 2 && ran.text.contains("names no flow"),
        "{}",
        ran.text
    );
    // Which of its columns are shown must be said.
    assert_eq!(sandbox.run(&["show", "a"]).code, 2);
}

/// The same columns in another order, with other rules for nulls and another layout of decimals.
const OTHER_ORDER: &str = "[('price', pa.decimal128(9, 2)), pa.field('name', pa.string(), \
                           nullable=False), ('id', pa.int64())]";

const ORDER: &str = "[('id', pa.int64()), ('name', pa.string()), ('price', pa.decimal128(9, 2))]";

/// Two files with the same columns in two orders.
fn two_orders(sandbox: &Sandbox) {
    let price = "__import__('decimal').Decimal";
    parquet(
        sandbox,
        "home/a.parquet",
        ORDER,
        &format!("[{{'id': i, 'name': f'n{{i}}', 'price': {price}(i)}} for i in range(5)]"),
    );
    parquet(
        sandbox,
        "home/b.parquet",
        OTHER_ORDER,
        &format!("[{{'id': i, 'name': f'n{{i}}', 'price': {price}(i)}} for i in range(5, 9)]"),
    );
}

/// What another reader finds in a folder, by the names of columns.
fn by_name(sandbox: &Sandbox, folder: &str, query: &str) -> String {
    let path = sandbox.path(folder);
    let lines =
        format!("import sys, duckdb\nprint(duckdb.sql({query:?} % sys.argv[1]).fetchall())");
    let ran = peers::run(&lines, &[path.as_os_str()]);
    assert_success(&ran);
    String::from_utf8(ran.stdout)
        .expect("UTF-8")
        .trim()
        .to_string()
}

const QUERY: &str = "select count(*), sum(id), sum(price)::int, string_agg(name, '' order by id) \
                     from '%s/*.parquet'";

const ROWS: &str = "[(9, 36, 36, 'n0n1n2n3n4n5n6n7n8')]";

#[test]
fn files_whose_columns_stand_in_another_order_pass_as_they_are() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: out}\n");
    two_orders(&sandbox);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    for (input, part) in [("a", 1), ("b", 2)] {
        assert_eq!(
            fs::read(sandbox.path(&format!("home/{input}.parquet"))).expect("an input"),
            fs::read(sandbox.path(&format!("out/{part:020}.parquet"))).expect("a part"),
        );
    }
    assert_eq!(by_name(&sandbox, "out", QUERY), ROWS);
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("1 flow is fresh"), "{}", ran.text);
    assert_eq!(sandbox.run(&["check"]).code, 0);
}

#[test]
fn columns_in_another_order_come_by_their_names_wherever_they_are_decoded() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  packed: {home: home, store: {path: packed, rows_per_file: 100}}\n  \
         cut: {home: home, store: {path: cut, rows_per_file: 2}}\n  \
         both: {home: home, store: {path: both, compression: zstd, rows_per_file: 100}}\n  \
         other: {home: {flow: ipc}, store: {type: ipc, path: other, rows_per_file: 100}}\n  \
         last: {home: {flow: other}, store: {path: last}}\n  \
         zstd: {home: home, store: {path: zstd, compression: zstd}}\n  \
         ipc: {home: home, store: {type: ipc, path: ipc, rows_per_file: 100}}\n  \
         back: {home: {flow: ipc}, store: {type: parquet, path: back}}\n  \
         table: {home: home, store: {connection: shop, table: t}}\n",
    );
    two_orders(&sandbox);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    for folder in ["packed", "cut", "both", "zstd", "back", "last"] {
        assert_eq!(by_name(&sandbox, folder, QUERY), ROWS, "{folder}");
    }
    let told = database.ask(
        "SELECT count(*), sum(id), CAST(sum(price) AS integer), max(name) FROM t \
         WHERE name = 'n' || id AND price + 0 = id",
    );
    let told: Vec<&str> = told
        .split(['|', '\t', '\n', ' '])
        .filter(|one| !one.is_empty())
        .collect();
    assert_eq!(told, ["9", "36", "36", "n8"]);
}

#[test]
fn an_input_that_is_added_may_have_another_order() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: out, mode: append}\n");
    two_orders(&sandbox);
    let later = sandbox.path("b.parquet");
    fs::rename(sandbox.path("home/b.parquet"), &later).expect("a file");
    assert_eq!(sandbox.build(&[]).code, 0);
    fs::rename(later, sandbox.path("home/b.parquet")).expect("a file");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(by_name(&sandbox, "out", QUERY), ROWS);
}

#[test]
fn another_type_is_named_whatever_the_order() {
    let sandbox = Sandbox::new("flows:\n  a: {home: home, store: out}\n");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64()), ('v', pa.string())]",
        "[{'id': 1}]",
    );
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('v', pa.int32()), ('id', pa.int64())]",
        "[{'id': 2}]",
    );
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1 && ran.text.contains("column v is ") && !ran.text.contains("stands where"),
        "{}",
        ran.text
    );
    assert!(!sandbox.path("out").exists());
    // Two columns of one name are compared in their order.
    let twice = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
                 columns = [pa.array([1]), pa.array(['a'])]\n\
                 if sys.argv[2] == '1': columns.reverse()\n\
                 pq.write_table(pa.Table.from_arrays(columns, names=['x', 'x']), sys.argv[1])";
    for (name, order) in [("a", "0"), ("b", "1")] {
        let path = sandbox.path(&format!("home/{name}.parquet"));
        assert_success(&peers::run(twice, &[path.as_os_str(), order.as_ref()]));
    }
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1 && ran.text.contains("column x is "),
        "{}",
        ran.text
    );
}

#[test]
fn a_column_that_may_be_null_in_one_of_the_files_may_be_null_in_the_set() {
    let never = "[pa.field('id', pa.int64(), nullable=False)]";
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: out}\n  b: {home: home, store: b, mode: append}\n",
    );
    let build = || {
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
    };
    parquet(&sandbox, "home/a.parquet", never, "[{'id': 1}]");
    build();
    assert_eq!(shown(&sandbox, "a"), ["id int64 never null"]);
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('id', pa.int64())]",
        "[{'id': None}]",
    );
    build();
    for flow in ["a", "b"] {
        assert_eq!(shown(&sandbox, flow), ["id int64 may be null"], "{flow}");
    }
    // What was added stays, whatever comes behind it.
    parquet(&sandbox, "home/c.parquet", never, "[{'id': 3}]");
    build();
    assert_eq!(shown(&sandbox, "b"), ["id int64 may be null"]);
}

#[test]
fn an_input_in_another_order_is_added_to_a_table_and_to_another_format() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  t: {home: home, store: {connection: shop, table: t}, mode: append}\n  \
         i: {home: home, store: {type: ipc, path: i}, mode: append}\n  \
         back: {home: {flow: i}, store: {type: parquet, path: back}}\n",
    );
    two_orders(&sandbox);
    let later = sandbox.path("b.parquet");
    fs::rename(sandbox.path("home/b.parquet"), &later).expect("a file");
    assert_eq!(sandbox.build(&[]).code, 0);
    fs::rename(later, sandbox.path("home/b.parquet")).expect("a file");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(by_name(&sandbox, "back", QUERY), ROWS);
    assert_eq!(
        database
            .ask("SELECT count(*) FROM t WHERE name = 'n' || id")
            .trim(),
        "9"
    );
}
