//! Slices of tables: every row lies in one of them, whatever its value, and is read once.

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

on_each_database!(
    every_row_is_read_once_whatever_its_value,
    values_that_slices_are_not_made_of_are_null_where_that_is_asked_for,
    a_date_far_from_all_others_costs_little,
    rows_that_differ_from_those_that_were_counted_fail,
);

/// The ids of the rows in a store, from the smallest.
fn ids(sandbox: &Sandbox, store: &str) -> Vec<i64> {
    let lines = peers::rows(&sandbox.path(store)).lines();
    let mut ids: Vec<i64> = lines
        .iter()
        .filter_map(|line| line.split('|').next()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids
}

/// A column by its type, how it is sliced, and values as SQL.
struct Case(
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const DATES: &[&str] = &["day", "month", "year"];
const NUMBERS: &[&str] = &["1", "10", "1000", "1000000"];

/// Values at the ends of types, and those that are none of their type.
const SQLITE: &[Case] = &[
    Case(
        "integer",
        NUMBERS,
        &[
            "5",
            "'abc'",
            "25",
            "'7x'",
            "x'616263'",
            "5.5",
            "-3",
            "-10",
            "NULL",
            "''",
            "9223372036854775807",
        ],
    ),
    Case(
        "integer",
        &["10"],
        &["-9223372036854775808", "0", "9e999", "-9e999", "1e300"],
    ),
    Case("tinyint", &["10"], &["1", "300", "'x'"]),
    Case(
        "date",
        DATES,
        &[
            "'2026-01-15'",
            "'2026-01'",
            "'2024'",
            "'2026-02-31'",
            "'2026-13-01'",
            "'2026-01-00'",
            "'2025-12-31'",
            "NULL",
            "''",
            "'abc'",
        ],
    ),
    Case(
        "date",
        DATES,
        &[
            "'9999-12-31'",
            "'10000-01-01'",
            "'1000-06-01'",
            "'1001-01-01'",
            "'0001-01-01'",
            "'0000-01-01'",
            "'0000-00-00'",
        ],
    ),
    Case(
        "date",
        DATES,
        &[
            "'2026-01-15'",
            "20260115",
            "2461000.5",
            "x'323032362d30312d3135'",
            "'2026-01-15 junk'",
            "'-001-01-01'",
            "' 2026-01-01'",
        ],
    ),
    Case(
        "text_date date",
        &["day"],
        &["'00002026-01-01'", "'2026-01-01'", "'99999999999-01-01'"],
    ),
    Case(
        "datetime",
        DATES,
        &[
            "'2026-01-31 23:59:59.999999'",
            "'2026-01-31T23:59:59.999999'",
            "'2026-02-01'",
            "'2026-02-01T00:00'",
            "'9999-12-31 23:59:59.999999'",
        ],
    ),
    Case(
        "timestamptz",
        DATES,
        &[
            "'2026-01-31T23:30:00-05:00'",
            "'2026-02-01T00:30:00+05:00'",
            "'2026-02-01T00:00:00Z'",
            "'2026-01-31'",
        ],
    ),
];

const POSTGRES: &[Case] = &[
    Case(
        "smallint",
        NUMBERS,
        &["-32768", "32767", "0", "-1", "-10", "NULL"],
    ),
    Case(
        "integer",
        &["1000", "1000000"],
        &["-2147483648", "2147483647", "0", "-1", "NULL"],
    ),
    Case(
        "bigint",
        &["1000000"],
        &[
            "-9223372036854775808",
            "9223372036854775807",
            "0",
            "-1",
            "NULL",
        ],
    ),
    Case("oid", &["10", "1000000"], &["0", "4294967295", "15"]),
    Case("date", DATES, &["'2026-01-31'", "'2026-02-01'", "NULL"]),
    Case(
        "date",
        DATES,
        &[
            "'2026-01-31'",
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'0044-03-15'",
            "'0001-01-01'",
            "'4713-01-01 BC'",
        ],
    ),
    Case(
        "date",
        DATES,
        &[
            "'9999-12-31'",
            "'10000-01-01'",
            "'294275-12-31'",
            "'294276-01-01'",
            "'294277-01-01'",
            "'5874897-12-31'",
        ],
    ),
    Case(
        "timestamp",
        DATES,
        &[
            "'2026-01-31 23:59:59.999999'",
            "'2026-02-01'",
            "'294276-12-31 23:59:59.999999'",
            "'294275-12-31 23:59:59.999999'",
            "'4713-01-01 BC'",
            "'infinity'",
        ],
    ),
    Case(
        "timestamptz",
        DATES,
        &[
            "'2026-01-31 23:30:00-05'",
            "'2026-02-01 00:30:00+05'",
            "'2026-02-01 00:00:00+00'",
            "'0001-12-31 23:59:59 BC'",
            "'-infinity'",
            "NULL",
        ],
    ),
];

const MYSQL: &[Case] = &[
    Case("tinyint unsigned", NUMBERS, &["0", "255", "10", "NULL"]),
    Case(
        "bigint",
        &["1000000"],
        &[
            "-9223372036854775808",
            "9223372036854775807",
            "0",
            "-1",
            "-1000000",
        ],
    ),
    Case(
        "bigint unsigned",
        &["1000000"],
        &["0", "18446744073709551615", "9223372036854775808"],
    ),
    Case(
        "year",
        &["1", "10", "100"],
        &[
            "0", "1901", "1999", "2000", "2005", "2069", "2070", "2155", "NULL",
        ],
    ),
    Case(
        "date",
        DATES,
        &["'2026-01-31'", "'2026-02-01'", "NULL", "'9999-12-31'"],
    ),
    Case(
        "date",
        DATES,
        &[
            "'2026-05-00'",
            "'2026-05-01'",
            "'2026-04-30'",
            "'2026-02-31'",
            "'2026-00-00'",
            "'0000-00-00'",
            "'0000-01-01'",
            "'2025-12-31'",
        ],
    ),
    Case("date", DATES, &["'2026-05-00'", "'2026-07-01'"]),
    Case(
        "datetime(6)",
        DATES,
        &[
            "'2026-01-31 23:59:59.999999'",
            "'2026-02-01'",
            "'9999-12-31 23:59:59.999999'",
            "'0000-00-00'",
            "'2026-06-00 10:00:00'",
        ],
    ),
    Case(
        "timestamp(6) NULL",
        DATES,
        &[
            "'2026-01-31 23:59:59.999999'",
            "'2026-02-01'",
            "'0000-00-00'",
            "NULL",
        ],
    ),
];

fn every_row_is_read_once_whatever_its_value(kind: Kind) {
    let database = Database::new(kind);
    let (cases, mode) = match kind {
        Kind::Sqlite => (SQLITE, ""),
        Kind::Postgres => (POSTGRES, "SET timezone = 'UTC';"),
        Kind::MySql => (
            MYSQL,
            "SET sql_mode = 'ALLOW_INVALID_DATES'; SET time_zone = '+00:00';",
        ),
    };
    let mut flows = String::new();
    let mut wanted = Vec::new();
    for (number, Case(declared, steps, values)) in cases.iter().enumerate() {
        let column = if declared.contains(' ') && kind == Kind::Sqlite {
            (*declared).to_string()
        } else {
            format!("v {declared}")
        };
        let name = column.split(' ').next().expect("a name").to_string();
        let rows: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(row, value)| format!("({row}, {value})"))
            .collect();
        database.run(&format!(
            "{mode} CREATE TABLE t{number} (id integer, {column}); INSERT INTO t{number} VALUES {}",
            rows.join(", ")
        ));
        for step in *steps {
            for (place, probe) in ["", "probe: {columns: [id]}, ", "probe: {every: 100d}, "]
                .iter()
                .enumerate()
            {
                let flow = format!("t{number}-{step}-{place}");
                // The column itself is not read, so that nothing but the slices decides.
                flows.push_str(&format!(
                    "  {flow}: {{home: {{connection: shop, table: t{number}, columns: [id], \
                     {probe}slice: {{column: {name}, by: {step}}}}}, store: out/{flow}}}\n"
                ));
                wanted.push((flow, values.len()));
            }
        }
    }
    let sandbox = database.project(&flows);
    built(&sandbox);
    for (flow, rows) in wanted {
        let all: Vec<i64> = (0..rows)
            .map(|id| i64::try_from(id).expect("a number"))
            .collect();
        assert_eq!(ids(&sandbox, &format!("out/{flow}")), all, "{flow}");
    }
}

fn values_that_slices_are_not_made_of_are_null_where_that_is_asked_for(kind: Kind) {
    let database = Database::new(kind);
    let values = match kind {
        Kind::Sqlite => {
            "(1, '2026-01-15'), (2, '0000-00-00'), (3, '2026-02-31'), (4, '2026-13-01')"
        }
        Kind::Postgres => {
            "(1, '2026-01-15'), (2, 'infinity'), (3, '-infinity'), (4, '0044-03-15 BC')"
        }
        Kind::MySql => "(1, '2026-01-15'), (2, '0000-00-00'), (3, '2026-02-31'), (4, '2026-05-00')",
    };
    let mode = if kind == Kind::MySql {
        "SET sql_mode = 'ALLOW_INVALID_DATES';"
    } else {
        ""
    };
    database.run(&format!(
        "{mode} CREATE TABLE t (id integer, at date); INSERT INTO t VALUES {values}"
    ));
    for step in DATES {
        for probe in ["", "probe: {columns: [id]}, "] {
            let home =
                format!("connection: shop, table: t, {probe}slice: {{column: at, by: {step}}}");
            let text =
                failed(&database.project(&format!("  a: {{home: {{{home}}}, store: out}}\n")))
                    .error()
                    .to_string();
            assert!(text.contains("column at, row"), "{text}");
            let sandbox = database.project(&format!(
                "  a: {{home: {{{home}, on_invalid: null}}, store: out}}\n"
            ));
            built(&sandbox);
            let mut found = peers::rows(&sandbox.path("out")).lines();
            found.sort();
            assert_eq!(found, ["1|2026-01-15", "2|", "3|", "4|"], "{step} {probe}");
        }
    }
}

fn a_date_far_from_all_others_costs_little(kind: Kind) {
    let database = Database::new(kind);
    database.run(
        "CREATE TABLE t (id integer, at date); \
         INSERT INTO t VALUES (1, '2026-01-01'), (2, '9999-12-31'), (3, NULL)",
    );
    for step in DATES {
        let home = format!("connection: shop, table: t, slice: {{column: at, by: {step}}}");
        let sandbox = database.project(&format!("  a: {{home: {{{home}}}, store: out}}\n"));
        let ran = built(&sandbox);
        // One for each slice that has a row: nobody asks for the others, of which there are
        // millions.
        assert_eq!(ran.event("flow_finished")["parts_made"], 3, "{}", ran.text);
        assert_eq!(ids(&sandbox, "out"), [1, 2, 3]);
        let names: Vec<String> = sandbox.digests("out").into_keys().collect();
        assert_eq!(names.len(), 3);
    }
}

fn rows_that_differ_from_those_that_were_counted_fail(kind: Kind) {
    let database = Database::new(kind);
    let rows: Vec<String> = (0..2000).map(|id| format!("({id})")).collect();
    database.run(&format!(
        "CREATE TABLE t (id integer); INSERT INTO t VALUES {}",
        rows.join(", ")
    ));
    let random = match kind {
        Kind::Sqlite => "random() % 2 = 0",
        Kind::Postgres => "random() < 0.5",
        Kind::MySql => "rand() < 0.5",
    };
    for slice in ["", ", slice: {column: id, by: 100}"] {
        let home = format!(
            "connection: shop, table: t, where: '{random}', probe: {{columns: [id]}}{slice}"
        );
        // That twenty counts are the same twice by chance does not happen; that one is, does now
        // and then.
        let sandbox = database.project(&format!("  a: {{home: {{{home}}}, store: out}}\n"));
        let failures = (0..4)
            .filter(|_| sandbox.build(&["--force"]).code == 1)
            .count();
        assert!(failures > 0, "{home}");
        let text = sandbox.build(&["--force"]);
        assert!(
            text.code == 0 || text.error().contains("counted, and"),
            "{}",
            text.text
        );
    }
}

/// A value that is none of its column's type is named with its row.
#[test]
fn a_value_in_no_slice_is_named() {
    let database = Database::new(Kind::Sqlite);
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, n integer, at date); \
         INSERT INTO t VALUES (1, 5, '2026-01-01'), (7, 'abc', '2026-02'), (9, 25, '2026-03-01')",
    );
    for (slice, value) in [
        ("{column: n, by: 10}", "\"abc\""),
        ("{column: at, by: month}", "\"2026-02\""),
    ] {
        for probe in ["", "probe: {columns: [id]}, "] {
            let column = if value.contains("abc") { "n" } else { "at" };
            let home = format!(
                "connection: shop, table: t, columns: [id, {column}], {probe}slice: {slice}"
            );
            let text =
                failed(&database.project(&format!("  a: {{home: {{{home}}}, store: out}}\n")))
                    .error()
                    .to_string();
            assert!(
                text.contains("rowid 7")
                    && text.contains(value)
                    && text.contains(&format!("column {column}")),
                "{text}"
            );
        }
    }
}

/// Keys of SQLite's may be null, or of another type than is declared; which is none, SQLite says.
#[test]
fn keys_of_sqlite_are_read_whatever_they_are() {
    let cases = [
        (
            "id integer primary key desc, v text",
            "(null, 'n'), (1, 'a'), (2, 'b')",
            true,
        ),
        (
            "id integer, v text, primary key (id desc)",
            "(1, 'a'), (2, 'b'), (3, 'n')",
            false,
        ),
        (
            "id integer primary key, v text",
            "(1, 'a'), (2, 'b'), (3000000, 'n')",
            false,
        ),
        (
            "id int primary key, v text",
            "(null, 'n'), (1, 'a'), (2, 'b'), (null, 'm')",
            true,
        ),
        (
            "id integer, v text, primary key (id, v)",
            "(null, 'n'), (1, 'a'), (5000000, 'b')",
            true,
        ),
        (
            "id integer not null, v text, primary key (id, v)",
            "(-7, 'n'), (1, 'a'), (5000000, 'b')",
            false,
        ),
        (
            "id integer primary key, v text) without rowid; --",
            "(1, 'a'), (2, 'b'), (9000000, 'n')",
            false,
        ),
        (
            "id integer primary key, v text) strict; --",
            "(1, 'a'), (2, 'b'), (9000000, 'n')",
            false,
        ),
    ];
    for (columns, values, is_nullable) in cases {
        let database = Database::new(Kind::Sqlite);
        database.run(&format!("CREATE TABLE t ({columns}\n)").replace("--\n)", ""));
        database.run(&format!("INSERT INTO t VALUES {values}"));
        for probe in ["", ", probe: {columns: [v]}"] {
            let sandbox = database.project(&format!(
                "  a: {{home: {{connection: shop, table: t{probe}}}, store: out}}\n"
            ));
            built(&sandbox);
            let found = peers::rows(&sandbox.path("out"));
            let not_null = if is_nullable { "" } else { " not null" };
            assert_eq!(found.schema[0], format!("id: int64{not_null}"), "{columns}");
            let mut lines = found.lines();
            lines.sort();
            let mut wanted: Vec<String> = database
                .ask("SELECT * FROM t")
                .lines()
                .map(String::from)
                .collect();
            wanted.sort();
            assert_eq!(lines, wanted, "{columns}{probe}");
        }
    }
    // Texts sort behind all numbers, so that no slice would reach them.
    for key in [
        "id integer, k integer, primary key (id, k)",
        "id integer, k integer, primary key (id, k)) without rowid; --",
    ] {
        let database = Database::new(Kind::Sqlite);
        database.run(&format!("CREATE TABLE t ({key}\n)").replace("--\n)", ""));
        database.run("INSERT INTO t VALUES (1, 1), ('x', 2), (2000000, 3), (2.5, 4)");
        for probe in ["", ", probe: {columns: [k]}"] {
            let sandbox = database.project(&format!(
                "  a: {{home: {{connection: shop, table: t, columns: [k]{probe}}}, store: out}}\n"
            ));
            built(&sandbox);
            assert_eq!(ids(&sandbox, "out"), [1, 2, 3, 4], "{key}{probe}");
        }
    }
}

/// What tables of SQLite have besides ordinary columns and rows arrives too.
#[test]
fn odd_tables_of_sqlite_arrive_whole() {
    let database = Database::new(Kind::Sqlite);
    database.run(
        "CREATE TABLE g (id integer PRIMARY KEY, a integer, rowid integer AS (a * 2), s text AS (a \
         || 'x') STORED)",
    );
    database.run("INSERT INTO g (id, a) VALUES (2, 5), (1, 7)");
    database.run(
        "CREATE VIRTUAL TABLE f USING fts5(a, b); \
         INSERT INTO f VALUES ('one', 'two'), ('three', NULL)",
    );
    database.run(
        "CREATE TABLE \"a.b \"\"c\"\" ';-- [d]\" (\"x.y\" integer, \"\" text); \
         INSERT INTO \"a.b \"\"c\"\" ';-- [d]\" VALUES (1, 'z')",
    );
    database.run("CREATE VIEW v AS SELECT a, a + 1 AS b, NULL AS c FROM g");
    let sandbox = database.project(
        "  g: {home: {connection: shop, table: g}, store: g}\n  \
           f: {home: {connection: shop, table: f}, store: f}\n  \
           v: {home: {connection: shop, table: v}, store: v}\n  \
           n: {home: {connection: shop, table: '\"a.b \"\"c\"\" '';-- [d]\"'}, store: n}\n",
    );
    built(&sandbox);
    let lines = |store: &str| {
        let mut lines = peers::rows(&sandbox.path(store)).lines();
        lines.sort();
        lines
    };
    assert_eq!(lines("g"), ["1|7|14|7x", "2|5|10|5x"]);
    assert_eq!(lines("f"), ["one|two", "three|"]);
    assert_eq!(lines("v"), ["5|6|", "7|8|"]);
    assert_eq!(lines("n"), ["1|z"]);
}

/// What a table of PostgreSQL's promises need not hold for tables that inherit from it.
#[test]
fn rows_of_tables_that_inherit_arrive() {
    let database = Database::new(Kind::Postgres);
    database.run(
        "CREATE TABLE t (id integer NOT NULL PRIMARY KEY, v text); \
         CREATE TABLE child () INHERITS (t)",
    );
    let is_droppable = database.try_run("ALTER TABLE child ALTER COLUMN id DROP NOT NULL");
    database.run(
        "INSERT INTO t VALUES (1, 'a'), (5000000, 'b'); \
         INSERT INTO child VALUES (7, 'c'), (7, 'd')",
    );
    database.run("CREATE TABLE parts (id integer, at date) PARTITION BY RANGE (at)");
    database.run(
        "CREATE TABLE p1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); \
         CREATE TABLE p2 PARTITION OF parts DEFAULT",
    );
    database.run("INSERT INTO parts VALUES (1, '2026-01-15'), (2, '2027-01-01'), (3, NULL)");
    if is_droppable {
        database.run("INSERT INTO child VALUES (NULL, 'e')");
    }
    let sandbox = database.project(
        "  t: {home: {connection: shop, table: t, columns: [v, id]}, store: t}\n  \
           p: {home: {connection: shop, table: parts, slice: {column: at, by: month}}, store: p}\n",
    );
    built(&sandbox);
    let mut found: Vec<String> = peers::rows(&sandbox.path("t")).lines();
    found.sort();
    let wanted = database.ask("SELECT v, id FROM t ORDER BY v");
    assert_eq!(found, wanted.lines().collect::<Vec<_>>());
    assert_eq!(ids(&sandbox, "p"), [1, 2, 3]);
}
