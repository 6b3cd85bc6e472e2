//! Stores in databases: the same for all kinds of them.

use std::ffi::OsStr;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built};

on_each_database!(
    a_table_is_made_and_filled_once,
    a_set_takes_the_place_of_the_one_before,
    what_stands_on_a_table_stays,
    new_inputs_are_added_once,
    rows_are_merged_by_their_keys,
    keys_that_are_none_are_refused,
    a_lost_cache_is_no_loss,
    a_table_that_is_gone_comes_back,
    a_failed_load_changes_nothing_and_asks_the_home_no_more,
    a_file_that_cannot_be_read_is_named_and_changes_nothing,
    a_table_of_others_is_refused,
    columns_that_do_not_fit_are_named,
    a_new_column_is_added_or_refused,
    too_much_may_not_vanish,
    a_flow_reads_the_table_that_another_fills,
    what_a_home_reads_of_a_table_follows_the_flow_that_fills_it,
    two_flows_of_one_table_are_refused,
    every_type_comes_back_as_it_was,
    times_of_every_unit_come_by_their_values,
    a_sets_earlier_one_can_be_put_back,
    an_emptied_store_is_forgotten,
);

/// Rows `id, name` in a parquet file.
fn file(sandbox: &Sandbox, name: &str, rows: &[(i64, &str)]) {
    sandbox.write(name, "");
    let rows: Vec<String> = rows
        .iter()
        .map(|(id, name)| format!("({id}, {name:?})"))
        .collect();
    table(
        sandbox,
        name,
        &format!(
            "rows = [{}]; table = pa.table({{'id': pa.array([r[0] for r in rows], pa.int64()), \
             'name': pa.array([r[1] for r in rows], pa.string())}})",
            rows.join(", ")
        ),
    );
}

/// A parquet file of what some lines of Python call `table`.
fn table(sandbox: &Sandbox, name: &str, lines: &str) {
    sandbox.write(name, "");
    let script = format!(
        "import sys, datetime as dt, decimal\nimport pyarrow as pa, pyarrow.parquet as pq\n\
         {lines}\npq.write_table(table, sys.argv[1])"
    );
    let written = peers::run(&script, &[OsStr::new(&sandbox.path(name))]);
    assert_success(&written);
}

/// A flow from the folder `home` to the table `people`.
fn project(database: &Database, store: &str, fields: &str) -> Sandbox {
    database.project(&format!(
        "  a: {{home: home, store: {{connection: shop, table: people{store}}}{fields}}}\n"
    ))
}

fn rows(database: &Database) -> Vec<String> {
    database
        .ask("SELECT id, name FROM people ORDER BY id, name")
        .lines()
        .map(String::from)
        .collect()
}

fn a_table_is_made_and_filled_once(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(
        &sandbox,
        "home/a.parquet",
        &[(1, "Ann"), (2, "O'Neil \\ \"x\" \u{1d11e}")],
    );
    file(&sandbox, "home/b.parquet", &[(3, "")]);
    let ran = built(&sandbox);
    assert_eq!(ran.outcome("a"), "built");
    assert_eq!(ran.event("flow_finished")["store"], "table people of shop");
    assert_eq!(
        database.ask("SELECT count(*) FROM people WHERE name = ''"),
        "1"
    );
    assert_eq!(database.ask("SELECT name FROM people WHERE id = 1"), "Ann");
    let again = sandbox.run(&["build"]);
    assert_eq!(
        (again.code, again.text.trim()),
        (0, "hygge: nothing to do, 1 flow is fresh")
    );
    assert_eq!(
        database.ask("SELECT name, flow, row_count FROM hygge_receipts"),
        "people|a|3"
    );
}

fn a_set_takes_the_place_of_the_one_before(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a"), (2, "b")]);
    file(&sandbox, "home/b.parquet", &[(3, "c")]);
    built(&sandbox);
    file(&sandbox, "home/b.parquet", &[(4, "d")]);
    let ran = built(&sandbox);
    let ended = ran.event("flow_finished");
    assert_eq!(
        (&ended["parts_made"], &ended["parts_kept"]),
        (&1.into(), &1.into()),
        "only the part that changed is made"
    );
    assert_eq!(rows(&database), ["1|a", "2|b", "4|d"]);
}

fn what_stands_on_a_table_stays(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    database.run("CREATE INDEX by_id ON people (id); CREATE VIEW names AS SELECT name FROM people");
    if kind == Kind::Postgres {
        database.run(
            "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT ON people TO reader",
        );
    }
    file(&sandbox, "home/a.parquet", &[(2, "b")]);
    built(&sandbox);
    assert_eq!(database.ask("SELECT name FROM names"), "b");
    let indexes = match kind {
        Kind::Sqlite => {
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = 'by_id'"
        }
        Kind::Postgres => "SELECT count(*) FROM pg_indexes WHERE indexname = 'by_id'",
        Kind::MySql => {
            "SELECT count(*) FROM information_schema.statistics WHERE table_schema = database() \
             AND index_name = 'by_id'"
        }
    };
    assert_eq!(database.ask(indexes), "1");
    if kind == Kind::Postgres {
        assert_eq!(
            database.ask("SELECT has_table_privilege('reader', 'people', 'SELECT')"),
            "t"
        );
        database.run("DROP OWNED BY reader; DROP ROLE reader");
    }
}

fn new_inputs_are_added_once(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", ", mode: append");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    file(&sandbox, "home/b.parquet", &[(2, "b")]);
    built(&sandbox);
    std::fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("the cache");
    built(&sandbox);
    std::fs::remove_file(sandbox.path("home/a.parquet")).expect("an input");
    file(&sandbox, "home/c.parquet", &[(3, "c")]);
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a", "2|b", "3|c"]);
    assert_eq!(
        sandbox.run(&["build"]).text.trim(),
        "hygge: nothing to do, 1 flow is fresh"
    );
    for (fields, wanted) in [
        (", mode: append, on_changed: rewrite", "on_changed: rewrite"),
        (", mode: append, on_vanished: remove", "on_vanished: remove"),
    ] {
        let ran = project(&database, "", fields).run(&["check", "--offline"]);
        assert!(ran.code == 2 && ran.text.contains(wanted), "{}", ran.text);
    }
}

fn rows_are_merged_by_their_keys(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(
        &database,
        ", key: id, delete_where: \"name = 'gone' -- says the source\"",
        ", mode: merge",
    );
    file(&sandbox, "home/1.parquet", &[(1, "a"), (2, "b"), (3, "c")]);
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a", "2|b", "3|c"]);
    file(
        &sandbox,
        "home/2.parquet",
        &[(2, "other"), (3, "gone"), (4, "d")],
    );
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a", "2|other", "4|d"]);
    // A part that was merged is not merged again, and a smaller home removes nothing.
    database.run("UPDATE people SET name = 'by hand' WHERE id = 1");
    std::fs::remove_file(sandbox.path("home/1.parquet")).expect("an input");
    file(&sandbox, "home/3.parquet", &[(5, "e")]);
    built(&sandbox);
    assert_eq!(rows(&database), ["1|by hand", "2|other", "4|d", "5|e"]);
    // A column that does not come keeps its values.
    database
        .run("ALTER TABLE people ADD COLUMN note integer; UPDATE people SET note = 7 WHERE id = 2");
    file(&sandbox, "home/4.parquet", &[(2, "again")]);
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT name, note FROM people WHERE id = 2"),
        "again|7"
    );
}

fn keys_that_are_none_are_refused(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, ", key: id", ", mode: merge");
    file(&sandbox, "home/1.parquet", &[(1, "a"), (1, "b")]);
    let ran = sandbox.build(&[]);
    assert!(
        ran.error()
            .contains("two rows of one part come to table people with the key id = 1"),
        "{}",
        ran.text
    );
    table(
        &sandbox,
        "home/1.parquet",
        "table = pa.table({'id': pa.array([None], pa.int64()), 'name': ['a']})",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    file(&sandbox, "home/1.parquet", &[(1, "a")]);
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a"]);
    for (store, fields, wanted) in [
        ("", ", mode: merge", "its store has no key"),
        (", key: nr", ", mode: merge", "the column nr"),
    ] {
        let other = Database::new(kind);
        let sandbox = project(&other, store, fields);
        file(&sandbox, "home/1.parquet", &[(1, "a")]);
        let ran = sandbox.run(&["build"]);
        assert!(ran.code != 0 && ran.text.contains(wanted), "{}", ran.text);
    }
}

fn a_lost_cache_is_no_loss(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    std::fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("the cache");
    let again = sandbox.run(&["build"]);
    assert_eq!(again.code, 0);
    assert!(
        again
            .text
            .trim()
            .ends_with("hygge: nothing to do, 1 flow is fresh"),
        "{}",
        again.text
    );
}

fn a_table_that_is_gone_comes_back(kind: Kind) {
    for fields in ["", ", mode: append"] {
        let database = Database::new(kind);
        let sandbox = project(&database, "", fields);
        file(&sandbox, "home/a.parquet", &[(1, "a")]);
        built(&sandbox);
        database.run("DROP TABLE people");
        let plan = sandbox.run(&["build", "--dry-run"]);
        assert!(
            plan.text.contains("output people is missing"),
            "{}",
            plan.text
        );
        built(&sandbox);
        assert_eq!(rows(&database), ["1|a"]);
    }
}

fn a_failed_load_changes_nothing_and_asks_the_home_no_more(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    match kind {
        Kind::Sqlite => database.run(
            "CREATE TRIGGER no BEFORE INSERT ON people WHEN NEW.id = 3 BEGIN \
             SELECT RAISE(ABORT, 'not this one'); END",
        ),
        Kind::Postgres => database.run("ALTER TABLE people ADD CONSTRAINT no CHECK (id <> 3)"),
        Kind::MySql => database.run("ALTER TABLE people ADD CONSTRAINT no CHECK (id <> 3)"),
    }
    file(&sandbox, "home/b.parquet", &[(2, "b"), (3, "c")]);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error()
            .starts_with("connection shop failed to write its rows: "),
        "{}",
        ran.error()
    );
    assert_eq!(rows(&database), ["1|a"], "nothing of it is there");
    match kind {
        Kind::Sqlite => database.run("DROP TRIGGER no"),
        _ => database.run("ALTER TABLE people DROP CONSTRAINT no"),
    }
    let ran = built(&sandbox);
    assert_eq!(
        ran.outcome("a"),
        "restored",
        "its parts were staged: {}",
        ran.text
    );
    assert_eq!(rows(&database), ["1|a", "2|b", "3|c"]);
}

/// A page in the middle of it: rows were sent by then.
fn a_file_that_cannot_be_read_is_named_and_changes_nothing(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    sandbox.write("home/b.parquet", "");
    let script = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
                  rows = {'id': pa.array(range(2000), pa.int64()), 'name': [str(n) for n in \
                  range(2000)]}\n\
                  pq.write_table(pa.table(rows), sys.argv[1], compression='gzip', \
                  row_group_size=1000, use_dictionary=False)\n\
                  column = pq.ParquetFile(sys.argv[1]).metadata.row_group(1).column(1)\n\
                  with open(sys.argv[1], 'r+b') as file:\n \
                  file.seek(column.data_page_offset + column.total_compressed_size - 100)\n \
                  file.write(b'\\xff' * 100)";
    let written = peers::run(script, &[sandbox.path("home/b.parquet").as_os_str()]);
    assert_success(&written);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    let named = "b.parquet is not a sound parquet file: row group 1, column name: page 0: ";
    assert!(ran.error().starts_with(named), "{}", ran.error());
    assert_eq!(rows(&database), ["1|a"], "nothing of it is there");
}

fn a_table_of_others_is_refused(kind: Kind) {
    let database = Database::new(kind);
    database.run(
        "CREATE TABLE people (id bigint, name varchar(40)); INSERT INTO people VALUES (9, 'ours')",
    );
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    for command in [["check"].as_slice(), &["build"]] {
        let ran = sandbox.run(command);
        assert!(
            ran.code == 1
                && ran
                    .text
                    .contains("table people holds rows that hygge did not put there"),
            "{}",
            ran.text
        );
    }
    assert_eq!(rows(&database), ["9|ours"]);
    sandbox.write(
        "hygge.yml",
        database
            .config("  a: {home: home, store: {connection: shop, table: people, adopt: true}}\n"),
    );
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a"]);
}

fn columns_that_do_not_fit_are_named(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE people (id date, name varchar(40))");
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    let ran = sandbox.build(&[]);
    assert!(
        ran.error()
            .contains("column id is int64, which has no place in table people"),
        "{}",
        ran.text
    );
    let cases = [
        (
            "pa.array([dt.timedelta(1)])",
            "column v is a duration",
            true,
        ),
        (
            "pa.array([{'a': 1}])",
            "column v is a group of fields",
            true,
        ),
        ("pa.array([float('nan')])", "NaN", kind != Kind::Postgres),
        ("pa.array([[1, 2]])", "list", kind != Kind::Postgres),
        (
            "pa.array([2**64-1], pa.uint64())",
            "column v",
            kind == Kind::Sqlite,
        ),
        (
            "pa.array(['a\\0b'])",
            "with a zero in them",
            kind == Kind::Postgres,
        ),
        ("pa.array([1], pa.timestamp('ns'))", "nanoseconds", true),
        ("pa.array([b'a' * 16], pa.uuid())", "column v", true),
    ];
    for (values, wanted, fails) in cases {
        let database = Database::new(kind);
        let sandbox = project(&database, "", "");
        table(
            &sandbox,
            "home/a.parquet",
            &format!("table = pa.table({{'v': {values}}})"),
        );
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, i32::from(fails), "{values}: {}", ran.text);
        assert!(
            !fails || ran.error().contains(wanted),
            "{values}: {}",
            ran.error()
        );
    }
}

fn a_new_column_is_added_or_refused(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    table(
        &sandbox,
        "home/a.parquet",
        "table = pa.table({'id': [1], 'name': ['a'], 'age': pa.array([40], pa.int16())})",
    );
    built(&sandbox);
    assert_eq!(database.ask("SELECT id, name, age FROM people"), "1|a|40");
    let other = Database::new(kind);
    let sandbox = project(&other, ", create: never", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    let ran = sandbox.build(&[]);
    assert!(
        ran.error()
            .contains("there is no table people, and create: never"),
        "{}",
        ran.text
    );
    other.run("CREATE TABLE people (id bigint)");
    let ran = sandbox.build(&[]);
    assert!(
        ran.error().contains("column name is text") && ran.error().contains("create: never"),
        "{}",
        ran.text
    );
    let declared = Database::new(kind);
    let sandbox = project(&declared, ", columns: {name: varchar(7) not null}", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    assert_eq!(rows(&declared), ["1|a"]);
    let refused = declared.try_run("INSERT INTO people (id) VALUES (2)");
    assert!(!refused, "the column is declared as the flow says");
}

fn too_much_may_not_vanish(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a"), (2, "b")]);
    built(&sandbox);
    file(&sandbox, "home/a.parquet", &[]);
    let ran = sandbox.build(&[]);
    assert!(
        ran.error()
            .contains("the store has 2 rows, and would have 0"),
        "{}",
        ran.text
    );
    assert_eq!(rows(&database).len(), 2);
    assert_eq!(sandbox.build(&["--accept-shrink"]).code, 0);
    assert_eq!(database.ask("SELECT count(*) FROM people"), "0");
}

fn a_flow_reads_the_table_that_another_fills(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project(
        "  a: {home: home, store: {connection: shop, table: people}}\n  \
         b: {home: {flow: a}, store: out}\n",
    );
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    assert_eq!(peers::rows(&sandbox.path("out")).lines(), ["1|a"]);
    let again = sandbox.run(&["build"]);
    assert_eq!(again.text.trim(), "hygge: nothing to do, 2 flows are fresh");
    file(&sandbox, "home/a.parquet", &[(2, "b")]);
    let ran = built(&sandbox);
    assert_eq!((ran.outcome("a"), ran.outcome("b")), ("built", "built"));
    assert_eq!(peers::rows(&sandbox.path("out")).lines(), ["2|b"]);
}

fn what_a_home_reads_of_a_table_follows_the_flow_that_fills_it(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project(
        "  reader: {home: {connection: shop, table: people, probe: {columns: [id]}}, store: \
           {connection: shop, table: copied}}\n  \
           writer: {home: home, store: {connection: shop, table: people}}\n",
    );
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    let graph = sandbox.run(&["graph", "--format", "json"]);
    let edge = graph.event("graph")["flows"]
        .as_array()
        .expect("flows")
        .iter()
        .find(|flow| flow["flow"] == "reader")
        .cloned();
    assert_eq!(
        edge.expect("the reader")["upstreams"],
        serde_json::json!(["writer"])
    );
    built(&sandbox);
    assert_eq!(database.ask("SELECT id, name FROM copied"), "1|a");
}

fn two_flows_of_one_table_are_refused(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database.project(
        "  a: {home: home, store: {connection: shop, table: people}}\n  \
         b: {home: home, store: {connection: shop, table: people}}\n",
    );
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.text
            .contains("the stores of flows a and b are the same table: table people of shop"),
        "{}",
        ran.text
    );
}

/// parquet -> database -> parquet: values and types are the same.
fn every_type_comes_back_as_it_was(kind: Kind) {
    let mut columns = vec![
        ("i16", "pa.array([-32768, None, 32767], pa.int16())"),
        ("i32", "pa.array([-2**31, None, 2**31-1], pa.int32())"),
        ("i64", "pa.array([-2**63, None, 2**63-1], pa.int64())"),
        (
            "f32",
            "pa.array([3.4028234663852886e38, None, -0.1], pa.float32())",
        ),
        ("f64", "pa.array([0.1, None, -1e300], pa.float64())"),
        (
            "d9",
            "pa.array([decimal.Decimal('-1234567.89'), None, decimal.Decimal('0.01')], \
             pa.decimal128(9, 2))",
        ),
        (
            "d38",
            "pa.array([decimal.Decimal('9999999999999999999999999999.9999999999'), None, decimal.Decimal('-1E-10')], pa.decimal128(38, 10))",
        ),
        (
            "text",
            "pa.array(['', None, 'sm\u{f8}r \\' \\\\ \u{1d11e} \\n'], pa.string())",
        ),
        (
            "blob",
            "pa.array([b'', None, bytes(range(256))], pa.binary())",
        ),
        (
            "date",
            "pa.array([dt.date(1000, 1, 1), None, dt.date(9999, 12, 31)], pa.date32())",
        ),
        (
            "clock",
            "pa.array([0, None, 86399999999000], pa.time64('ns'))",
        ),
        (
            "ts",
            "pa.array([dt.datetime(1000, 1, 1), None, dt.datetime(2024, 2, 29, 23, 59, 59, \
             999999)], pa.timestamp('us'))",
        ),
        (
            "utc",
            "pa.array([dt.datetime(1970, 1, 2), None, dt.datetime(2024, 2, 29, 23, 59, 59, \
             999999)], pa.timestamp('us', 'UTC'))",
        ),
    ];
    match kind {
        Kind::Postgres => columns.extend([
            ("bool", "pa.array([True, None, False], pa.bool_())"),
            (
                "inf",
                "pa.array([float('nan'), float('inf'), float('-inf')], pa.float64())",
            ),
            (
                "list",
                "pa.array([[1, None], None, []], pa.list_(pa.int32()))",
            ),
            (
                "names",
                "pa.array([['a', ''], None, []], pa.list_(pa.string()))",
            ),
        ]),
        _ => columns.extend([
            ("i8", "pa.array([-128, None, 127], pa.int8())"),
            ("u8", "pa.array([0, None, 255], pa.uint8())"),
            ("u16", "pa.array([0, None, 65535], pa.uint16())"),
            ("u32", "pa.array([0, None, 2**32-1], pa.uint32())"),
            ("u64", "pa.array([0, None, 2**63-1], pa.uint64())"),
        ]),
    }
    if kind == Kind::Sqlite {
        columns.extend([
            ("bool", "pa.array([True, None, False], pa.bool_())"),
            (
                "inf",
                "pa.array([0.0, float('inf'), float('-inf')], pa.float64())",
            ),
        ]);
    }
    let database = Database::new(kind);
    let sandbox = database.project(
        "  a: {home: home, store: {connection: shop, table: people}}\n  \
         b: {home: {flow: a}, store: out}\n",
    );
    let fields: Vec<String> = columns
        .iter()
        .map(|(name, values)| format!("'{name}': {values}"))
        .collect();
    table(
        &sandbox,
        "home/a.parquet",
        &format!("table = pa.table({{{}}})", fields.join(", ")),
    );
    built(&sandbox);
    let (before, after) = (
        peers::rows(&sandbox.path("home")),
        peers::rows(&sandbox.path("out")),
    );
    assert_eq!(after.schema, before.schema);
    assert_eq!(after.rows, before.rows);
}

fn times_of_every_unit_come_by_their_values(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", ", mode: replace");
    let write = |ms: &str| {
        // Without statistics nothing is known of them before they are read.
        let lines = format!(
            "table = pa.table({{'ms': pa.array([0, None, {ms}], pa.time32('ms')), 'us': \
             pa.array([1, None, 86399999999], pa.time64('us')), \
             'ns': pa.array([1000, None, 86399999999000], pa.time64('ns'))}})\n\
             write = pq.write_table\npq.write_table = lambda table, path: write(table, path, \
             write_statistics=False)"
        );
        table(&sandbox, "home/a.parquet", &lines);
    };
    write("86399999");
    built(&sandbox);
    let found = match kind {
        Kind::Sqlite => {
            "select group_concat(coalesce(ms, 'none') || ' ' || coalesce(us, '') || ' ' || \
             coalesce(ns, ''), ';') from people order by 1"
        }
        Kind::Postgres => {
            "select string_agg(concat_ws(' ', coalesce(ms::text, 'none'), us::text, ns::text), ';' \
             order by ms) from people"
        }
        Kind::MySql => {
            "select group_concat(concat_ws(' ', coalesce(ms, 'none'), us, ns) order by ms is null, \
             ms separator ';') from people"
        }
    };
    let said = database.ask(found);
    for time in [
        "00:00:00",
        "23:59:59.999",
        "00:00:00.000001",
        "23:59:59.999999",
        "none",
    ] {
        assert!(said.contains(time), "{time}: {said}");
    }
    write("86400000");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1
            && ran.error().contains("column ms, row 3 of a.parquet")
            && ran.error().contains("no time of a day"),
        "{}",
        ran.text
    );
    assert_eq!(database.ask(found), said);
}

mod sqlite_files {
    use super::*;

    #[test]
    fn what_a_process_that_died_left_is_undone() {
        let database = Database::new(Kind::Sqlite);
        database.run("PRAGMA journal_mode = delete");
        let sandbox = project(&database, "", "");
        file(&sandbox, "home/a.parquet", &[(1, "a")]);
        built(&sandbox);
        let dies = "import os, signal, sqlite3, sys\n\
                    db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                    db.execute('PRAGMA cache_size = 1')\n\
                    db.execute('BEGIN')\n\
                    db.executemany('INSERT INTO people \
                    VALUES (?, ?)', [(id, 'x' * 1000) for id in range(1000)])\n\
                    os.kill(os.getpid(), signal.SIGKILL)";
        peers::run(dies, &[database.file().as_os_str()]);
        assert!(
            database.file().with_extension("db-journal").exists(),
            "it died in the middle"
        );
        // A home is never written to.
        let ran = database
            .project("  b: {home: {connection: shop, table: people}, store: out}\n")
            .run(&["build"]);
        assert!(
            ran.code == 1 && ran.text.contains("somebody died while writing to it"),
            "{}",
            ran.text
        );
        assert_eq!(
            sandbox.run(&["build"]).text,
            "hygge: nothing to do, 1 flow is fresh\n"
        );
        assert_eq!(rows(&database), ["1|a"]);
    }

    #[test]
    fn who_reads_a_file_has_ended_before_it_is_written_to() {
        let database = Database::new(Kind::Sqlite);
        database.run(
            "PRAGMA journal_mode = delete; CREATE TABLE events (id integer PRIMARY KEY, n integer \
             NOT NULL)",
        );
        database.run("INSERT INTO events VALUES (1, 0), (2, 5), (3, 20)");
        let home = "{connection: shop, table: events, watermark: {column: n, lag: 10}}";
        let flow = format!(
            "  a: {{mode: append, home: {home}, store: {{connection: shop, table: people}}}}\n"
        );
        let sandbox = database.project(&flow);
        built(&sandbox);
        // Nothing of it is to be read, and something is to be noted.
        database.run("INSERT INTO events VALUES (4, 22)");
        let ran = sandbox.build(&[]);
        assert_eq!(
            (ran.code, ran.outcome("a")),
            (0, "restored"),
            "{}",
            ran.text
        );
        assert_eq!(
            database.ask("SELECT id, n FROM people ORDER BY id"),
            "1|0\n2|5"
        );
    }
}

fn a_sets_earlier_one_can_be_put_back(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    file(&sandbox, "home/a.parquet", &[(2, "b")]);
    built(&sandbox);
    let ran = sandbox.run(&["restore", "a"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(rows(&database), ["1|a"]);
    let ran = sandbox.run(&["restore", "a", "--latest"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(rows(&database), ["2|b"]);
}

fn an_emptied_store_is_forgotten(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    file(&sandbox, "home/a.parquet", &[(1, "a")]);
    built(&sandbox);
    let ran = sandbox.run(&["clean", "--stores", "a"]);
    assert!(
        ran.text.contains("would remove store table people of shop"),
        "{}",
        ran.text
    );
    assert_eq!(rows(&database), ["1|a"]);
    let ran = sandbox.run(&["clean", "--stores", "a", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(database.ask("SELECT count(*) FROM hygge_receipts"), "0");
    assert!(!database.try_run("SELECT * FROM people"));
    built(&sandbox);
    assert_eq!(rows(&database), ["1|a"]);
}
