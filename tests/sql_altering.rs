//! Tables whose columns are widened and added when what comes becomes wider.

use crate::common::databases::{Database, Kind, on_each_database, on_servers};
use crate::common::peers::parquet;
use crate::common::sandbox::{Sandbox, built, failed};

on_each_database!(columns_stay_as_they_are_where_they_may_not_be_altered);

mod servers {
    use super::*;

    on_servers!(
        columns_hold_what_comes_when_it_becomes_wider,
        decimals_and_days_become_wider,
        what_stands_on_a_column_is_not_lost,
    );

    fn columns_hold_what_comes_when_it_becomes_wider(kind: Kind) {
        super::columns_hold_what_comes_when_it_becomes_wider(kind);
    }

    fn decimals_and_days_become_wider(kind: Kind) {
        super::decimals_and_days_become_wider(kind);
    }

    fn what_stands_on_a_column_is_not_lost(kind: Kind) {
        super::what_stands_on_a_column_is_not_lost(kind);
    }
}

/// Columns of a narrow and of a wide type.
const NARROW: &str = "[('id', pa.int32()), ('n', pa.int16()), ('f', pa.float32())]";

const WIDE: &str =
    "[('id', pa.int64()), ('n', pa.int32()), ('f', pa.float64()), ('s', pa.string())]";

fn project(database: &Database, store: &str, more: &str) -> Sandbox {
    database.project(&format!(
        "  f: {{home: {{path: home, schema: union}}, store: {{connection: shop, table: t{store}}}{more}}}\n"
    ))
}

fn columns_hold_what_comes_when_it_becomes_wider(kind: Kind) {
    for (mode, store) in [("replace", ""), ("append", ""), ("merge", ", key: [id]")] {
        let database = Database::new(kind);
        let sandbox = project(&database, store, &format!(", mode: {mode}"));
        parquet(
            &sandbox,
            "home/a.parquet",
            NARROW,
            "[{'id': 1, 'n': 2, 'f': 0.5}]",
        );
        built(&sandbox);
        parquet(
            &sandbox,
            "home/b.parquet",
            WIDE,
            "[{'id': 2**40, 'n': 70000, 'f': 0.25, 's': 'x'}]",
        );
        let plan = sandbox.run(&["build", "--dry-run"]).text;
        let ran = built(&sandbox);
        if kind != Kind::Sqlite {
            // SQLite's columns hold whole numbers of any width.
            for text in [&plan, &ran.text] {
                assert!(
                    text.contains("column id of table t becomes bigint"),
                    "{mode}: {text}"
                );
            }
        }
        let query = "SELECT id, n, f, s FROM t ORDER BY id";
        let rows = database.ask(query);
        let null = if kind == Kind::MySql { "NULL" } else { "" };
        assert_eq!(
            rows,
            format!("1|2|0.5|{null}\n1099511627776|70000|0.25|x"),
            "{mode}"
        );
        assert_eq!(
            sandbox.build(&[]).event("build_finished")["fresh"],
            1,
            "{mode}"
        );
    }
}

fn columns_stay_as_they_are_where_they_may_not_be_altered(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, ", alter: never", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        NARROW,
        "[{'id': 1, 'n': 2, 'f': 0.5}]",
    );
    built(&sandbox);
    parquet(&sandbox, "home/b.parquet", WIDE, "[{'id': 2, 'n': 3}]");
    let ran = failed(&sandbox);
    // SQLite has no statement that gives a column another type: values are compared with it.
    let misfits = match kind {
        Kind::Sqlite => vec!["column f is float64"],
        _ => vec![
            "column s is text",
            "column id is int64",
            "column n is int32",
        ],
    };
    for misfit in misfits {
        assert!(ran.text.contains(misfit), "{misfit}: {}", ran.text);
        let is_told = ran.text.contains("alter: never");
        assert!(is_told || kind == Kind::Sqlite, "{}", ran.text);
        let text = sandbox.run(&["build", "--dry-run"]).text;
        assert!(text.contains(misfit), "{misfit}: {text}");
    }
    assert_eq!(database.ask("SELECT id, n, f FROM t"), "1|2|0.5");
}

fn decimals_and_days_become_wider(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('i', pa.int32()), ('d', pa.decimal128(5, 2)), ('day', pa.date32())]",
        "[{'i': 1, 'd': decimal.Decimal('123.45'), 'day': datetime.date(2024, 1, 2)}]",
    );
    built(&sandbox);
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('i', pa.decimal128(20, 3)), ('d', pa.decimal128(20, 6)), ('day', pa.timestamp('us'))]",
        "[{'i': decimal.Decimal('12345678901234567.125'), 'd': decimal.Decimal('12345678901234.123456'), \
           'day': datetime.datetime(2024, 1, 2, 3, 4, 5)}]",
    );
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT i, d FROM t ORDER BY i"),
        "1.000|123.450000\n12345678901234567.125|12345678901234.123456"
    );
    let hours = database.ask("SELECT count(*) FROM t WHERE day >= '2024-01-02 03:00:00'");
    assert_eq!(hours, "1");
}

/// What somebody has said of a column is not forgotten, and what depends on it stays.
fn what_stands_on_a_column_is_not_lost(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = project(&database, "", "");
    parquet(&sandbox, "home/a.parquet", NARROW, "[{'id': 1, 'n': 2}]");
    built(&sandbox);
    let (statement, told) = match kind {
        Kind::MySql => (
            "ALTER TABLE t MODIFY COLUMN n smallint COMMENT 'pieces'",
            "column n of table t must become integer, and has a default, a comment",
        ),
        _ => ("CREATE VIEW v AS SELECT n FROM t", "used by a view"),
    };
    database.run(statement);
    parquet(
        &sandbox,
        "home/b.parquet",
        "[('n', pa.int32())]",
        "[{'n': 70000}]",
    );
    let ran = failed(&sandbox);
    assert!(ran.text.contains(told), "{}", ran.text);
    assert_eq!(database.ask("SELECT id, n FROM t"), "1|2");
}
