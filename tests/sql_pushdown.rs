//! Conditions that a database tests: what comes is what hygge alone would let through, whatever a
//! database makes of its values.

use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

on_each_database!(
    what_is_tested_by_the_database_is_what_hygge_lets_through,
    rows_that_hygge_refuses_are_not_hidden,
    what_is_no_plain_table_is_read_as_it_is,
    a_change_of_rows_that_do_not_come_is_no_change,
    random_conditions_let_the_same_rows_through,
);

/// A table with values that compare in odd ways.
fn table(database: &Database) {
    let (moment, boolean, zoned) = match database.kind {
        Kind::Sqlite => ("timestamp", "boolean", "timestamptz"),
        Kind::Postgres => ("timestamp", "boolean", "timestamptz"),
        Kind::MySql => ("datetime(6)", "tinyint", "timestamp(6) NULL"),
    };
    database.run(&format!(
        "CREATE TABLE t (id bigint primary key, small smallint, name varchar(20), code char(4), day date, at {moment}, seen {zoned}, paid {boolean})"
    ));
    let plus = if database.kind == Kind::MySql {
        ""
    } else {
        "+00"
    };
    let rows = [
        "1, 7, 'a', 'x', '2024-01-31', '2024-01-31 12:00:00', '2024-01-31 12:00:00Z', TRUE",
        "2, -7, 'A', 'X', '2024-02-01', '2024-01-31 12:00:00.000001', '2024-01-31 12:00:01Z', FALSE",
        "3, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
        "4, 0, 'a ', 'x  ', '0999-12-31', '2038-01-01 00:00:00', '2030-01-01 00:00:00Z', TRUE",
        "5, 32767, '', '', '2100-01-01', '1969-12-31 23:59:59.999999', '1999-12-31 23:59:59.5Z', NULL",
        "9223372036854775807, 1, 'it''s', 'O''N', '2024-01-01', '2024-01-01 00:00:00', '2024-01-01 00:00:00Z', FALSE",
        "-9223372036854775807, 2, 'ä', 'ß', '2024-12-31', '2024-12-31 23:59:59', '2024-12-31 23:59:59Z', TRUE",
    ];
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("({})", row.replace('Z', plus)))
        .collect();
    database.run(&format!("INSERT INTO t VALUES {}", rows.join(", ")));
}

/// The keys of what came into each store below a folder, in the order of the stores' numbers.
fn keys(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let lines = "import sys, os, duckdb\n\
                 for name in sorted(filter(str.isdigit, os.listdir(sys.argv[1])), key=int):\n    \
                     found = duckdb.sql(f\"select id from '{sys.argv[1]}/{name}/*.parquet' order by id\").fetchall()\n    \
                     print(' '.join(str(row[0]) for row in found))";
    let read = peers::run(lines, &[sandbox.path(folder).as_os_str()]);
    assert_success(&read);
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    text.lines().map(String::from).collect()
}

/// A flow by a condition, and one by the same in which the database tests nothing.
fn flows(number: usize, condition: &str) -> String {
    let condition = condition.replace('"', "\\\"");
    let home = "home: {connection: shop, table: t, probe: {columns: [id]}}";
    format!(
        "  asked_{number}: {{{home}, store: asked/{number}, where: \"{condition}\"}}\n  \
         alone_{number}: {{{home}, store: alone/{number}, where: \"1 = 1 and ({condition})\"}}\n"
    )
}

fn what_is_tested_by_the_database_is_what_hygge_lets_through(kind: Kind) {
    let database = Database::new(kind);
    table(&database);
    // What each database is asked, in the order SQLite, PostgreSQL, MySQL; nothing where it is not.
    let cases: &[(&str, [&str; 3])] = &[
        (
            "id > 2",
            [
                r#"("id" > 2 OR typeof("id") NOT IN ('integer', 'null'))"#,
                r#""id" > 2"#,
                "`id` > 2",
            ],
        ),
        (
            "2 >= id and id <> 1",
            [
                r#"("id" <= 2 OR typeof("id") NOT IN ('integer', 'null')) AND ("id" <> 1 OR typeof("id") NOT IN ('integer', 'null'))"#,
                r#""id" <= 2 AND "id" <> 1"#,
                "`id` <= 2 AND `id` <> 1",
            ],
        ),
        (
            "id in (1, 3, 9223372036854775807)",
            [
                r#"("id" IN (1, 3, 9223372036854775807) OR typeof("id") NOT IN ('integer', 'null'))"#,
                r#""id" IN (1, 3, 9223372036854775807)"#,
                "`id` IN (1, 3, 9223372036854775807)",
            ],
        ),
        (
            "id not in (1, 3)",
            [
                r#"("id" NOT IN (1, 3) OR typeof("id") NOT IN ('integer', 'null'))"#,
                r#""id" NOT IN (1, 3)"#,
                "`id` NOT IN (1, 3)",
            ],
        ),
        ("id > 1.5", ["", "", ""]),
        ("id < 9223372036854775808 and small > 0", ["", "", ""]),
        (
            "small is null or small between -7 and 1",
            [
                "",
                r#"("small" IS NULL OR ("small" >= -7 AND "small" <= 1))"#,
                "(`small` IS NULL OR (`small` >= -7 AND `small` <= 1))",
            ],
        ),
        (
            "not small is null",
            ["", r#""small" IS NOT NULL"#, "`small` IS NOT NULL"],
        ),
        (
            "name = 'a'",
            [
                r#"("name" = 'a' OR typeof("name") NOT IN ('text', 'null'))"#,
                r#""name" = E'a'"#,
                "`name` = 'a'",
            ],
        ),
        (
            "name in ('A', 'it''s', 'x_1')",
            [
                r#"("name" IN ('A', 'it''s', 'x_1') OR typeof("name") NOT IN ('text', 'null'))"#,
                r#""name" IN (E'A', E'it''s', E'x_1')"#,
                "`name` IN ('A', 'it''s', 'x_1')",
            ],
        ),
        // A server's mode or character set may take these for something else.
        ("name in ('a', '')", ["", "", ""]),
        ("name = 'a' or name = 'x@y'", ["", "", ""]),
        ("name <> 'a'", ["", "", ""]),
        ("name > 'a'", ["", "", ""]),
        ("name = 'ä'", ["", "", ""]),
        (
            "code = 'x'",
            [
                r#"("code" = 'x' OR typeof("code") NOT IN ('text', 'null'))"#,
                r#""code" = E'x'"#,
                "`code` = 'x'",
            ],
        ),
        (
            "day >= '2024-01-31'",
            [
                "",
                r#""day" >= DATE '2024-01-31'"#,
                "`day` >= DATE '2024-01-31'",
            ],
        ),
        (
            "day = date '2024-02-01' or day < '1000-01-01'",
            [
                "",
                r#"("day" = DATE '2024-02-01' OR "day" < DATE '1000-01-01')"#,
                "(`day` = DATE '2024-02-01' OR `day` < DATE '1000-01-01')",
            ],
        ),
        (
            "at > '2024-01-31 12:00:00'",
            [
                "",
                r#""at" > TIMESTAMP '2024-01-31 12:00:00.000000'"#,
                "`at` > TIMESTAMP '2024-01-31 12:00:00.000000'",
            ],
        ),
        ("at is null", ["", r#""at" IS NULL"#, "`at` IS NULL"]),
        (
            "seen <= '2024-01-31T13:00:01+01:00'",
            [
                "",
                r#""seen" <= TIMESTAMP WITH TIME ZONE '2024-01-31 12:00:01.000000+00'"#,
                "",
            ],
        ),
        (
            "id > 1 and lower(name) = 'a' and id < 4",
            [
                r#"("id" > 1 OR typeof("id") NOT IN ('integer', 'null'))"#,
                r#""id" > 1"#,
                "`id` > 1",
            ],
        ),
    ];
    let mut cases = cases.to_vec();
    if kind != Kind::MySql {
        cases.extend([
            ("paid", ["", r#""paid" = TRUE"#, ""]),
            ("not paid", ["", r#""paid" <> TRUE"#, ""]),
            (
                "paid = false or paid is null",
                ["", r#"("paid" = FALSE OR "paid" IS NULL)"#, ""],
            ),
        ]);
    }
    let all: String = cases
        .iter()
        .enumerate()
        .map(|(number, (condition, _))| flows(number, condition))
        .collect();
    let sandbox = database.project(&all);
    let planned = sandbox.build(&["--dry-run"]);
    let filters = |flow: String| {
        let mut plans = planned
            .events
            .iter()
            .filter(|event| event["event"] == "plan");
        let plan = plans.find(|event| event["flow"] == flow.as_str());
        let remarks = plan
            .and_then(|plan| plan["remarks"].as_array())
            .unwrap_or_else(|| panic!("{flow}: {}", planned.text));
        let mut remarks = remarks.iter().filter_map(|remark| remark.as_str());
        let said = remarks.find_map(|remark| remark.strip_prefix("the database filters by "));
        said.unwrap_or_default().to_string()
    };
    let place = match kind {
        Kind::Sqlite => 0,
        Kind::Postgres => 1,
        Kind::MySql => 2,
    };
    for (number, (condition, asked)) in cases.iter().enumerate() {
        assert_eq!(
            filters(format!("asked_{number}")),
            asked[place],
            "{condition}"
        );
        assert_eq!(filters(format!("alone_{number}")), "", "{condition}");
    }
    let ran = built(&sandbox);
    let (came, alone) = (keys(&sandbox, "asked"), keys(&sandbox, "alone"));
    for (number, (condition, asked)) in cases.iter().enumerate() {
        assert_eq!(came[number], alone[number], "{condition}");
        let count = came[number].split_whitespace().count();
        // PostgreSQL fills a char up with blanks, which are letters to hygge.
        let is_none = kind == Kind::Postgres && condition.starts_with("code");
        assert!(
            count < 7 && (count == 0) == is_none,
            "{condition}: {count} rows"
        );
        // What the database left out was not read.
        let filtered = |flow: String| {
            ran.finished(&flow).expect("a flow")["rows_filtered"]
                .as_u64()
                .unwrap_or(0)
        };
        assert_eq!(
            filtered(format!("alone_{number}")),
            7 - count as u64,
            "{condition}"
        );
        if asked[place].is_empty() {
            assert_eq!(
                filtered(format!("asked_{number}")),
                7 - count as u64,
                "{condition}"
            );
        }
    }
}

/// A value that hygge refuses comes, where the flow wants its row.
fn rows_that_hygge_refuses_are_not_hidden(kind: Kind) {
    let database = Database::new(kind);
    let (odd, condition, error) = match kind {
        Kind::Sqlite => (
            "INSERT INTO t (id, name) VALUES (10, 'b'), ('many', 'b')",
            "id > 9 and id < 11",
            "many",
        ),
        Kind::Postgres => (
            "INSERT INTO t (id, day) VALUES (10, 'infinity')",
            "day > '2024-01-01'",
            "infinity",
        ),
        Kind::MySql => (
            "SET sql_mode = ''; INSERT INTO t (id, day) VALUES (10, '2024-00-00')",
            "day < '2024-01-02'",
            "2024-00-00",
        ),
    };
    table(&database);
    database.run(odd);
    let sandbox = database.project(&format!(
        "  f: {{home: {{connection: shop, table: t}}, store: out, where: \"{condition}\"}}\n"
    ));
    let ran = failed(&sandbox);
    assert!(ran.error().contains(error), "{}", ran.text);
}

/// What might be asked of rows that a view leaves out, what settles by all rows, and what would be
/// too long is not tested by the database.
fn what_is_no_plain_table_is_read_as_it_is(kind: Kind) {
    let database = Database::new(kind);
    let cast = if kind == Kind::MySql {
        "signed"
    } else {
        "integer"
    };
    database.run(&format!(
        "CREATE TABLE kinds (id int primary key, kind varchar(9)); INSERT INTO kinds VALUES (1, 'int'), (2, 'text'); \
         CREATE TABLE attr (id int primary key, kind_id int, val varchar(9)); INSERT INTO attr VALUES (1, 1, '5'), (2, 2, 'abc'), (3, 1, '77'); \
         CREATE VIEW ints AS SELECT a.id, cast(a.val AS {cast}) AS n FROM attr a JOIN kinds k ON k.id = a.kind_id WHERE k.kind = 'int'; \
         CREATE TABLE l (id bigint primary key, i bigint, k bigint); INSERT INTO l VALUES (1, 1, 1), (2, 2, NULL), (3, NULL, 3)"
    ));
    let chain = |one: &str, other: &str| {
        let all: Vec<&str> = (0..600)
            .map(|number| if number % 2 == 0 { one } else { other })
            .collect();
        all.join(" or ")
    };
    let sandbox = database.project(&format!(
        "  view: {{home: {{connection: shop, table: ints, types: {{n: int64}}}}, store: kept/1, where: \"cast(n as int64) > 6\"}}\n  \
         plain: {{home: {{connection: shop, table: ints}}, store: kept/2, where: \"id is not null\"}}\n  \
         nulls: {{home: {{connection: shop, table: l}}, store: kept/3, where: \"{}\"}}\n  \
         values: {{home: {{connection: shop, table: l}}, store: kept/4, where: \"{}\"}}\n  \
         grows: {{home: {{connection: shop, table: l, watermark: {{column: id}}}}, store: kept/5, mode: append, where: \"i = 1\"}}\n",
        chain("i is null", "k is null"),
        chain("i = 1", "k = 3"),
    ).replace(", types: {n: int64}", ""));
    built(&sandbox);
    assert_eq!(keys(&sandbox, "kept"), ["3", "1 3", "2 3", "1 3", "1"]);
    // Rows are settled up to the last one, whichever come: what is asked for later comes from there.
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write(
        "hygge.yml",
        config.replace("i = 1\"}\n", "i in (1, 2)\"}\n"),
    );
    database.run("INSERT INTO l VALUES (4, 2, 4)");
    let ran = sandbox.build(&["grows"]);
    assert_eq!(
        (ran.code, keys(&sandbox, "kept")[4].as_str()),
        (0, "1 4"),
        "{}",
        ran.text
    );
}

/// The probe is asked of the rows that come.
fn a_change_of_rows_that_do_not_come_is_no_change(kind: Kind) {
    let database = Database::new(kind);
    table(&database);
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t, probe: {columns: [name]}}, store: out, where: \"id < 4\"}\n",
    );
    assert_eq!(built(&sandbox).finished("f").expect("the flow")["rows"], 4);
    database.run("UPDATE t SET name = 'other' WHERE id = 5; DELETE FROM t WHERE id = 4");
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    database.run("UPDATE t SET name = 'other' WHERE id = 1");
    assert_eq!(built(&sandbox).outcome("f"), "built");
}

/// Conditions of all that may be tested, drawn at random.
fn conditions() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec![
        "-9223372036854775807",
        "-7",
        "0",
        "1",
        "2",
        "4",
        "5",
        "9223372036854775807",
    ]);
    let text = prop::sample::select(vec!["'a'", "'A'", "'a '", "''", "'it''s'", "'ä'", "'x'"]);
    let day = prop::sample::select(vec![
        "'2024-01-31'",
        "'0999-12-31'",
        "'2100-01-01'",
        "date '2024-02-01'",
    ]);
    let how = || prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        ("id|small", how(), number)
            .prop_map(|(column, how, value)| format!("{column} {how} {value}")),
        ("name|code", how(), text)
            .prop_map(|(column, how, value)| format!("{value} {how} {column}")),
        (how(), day).prop_map(|(how, value)| format!("day {how} {value}")),
        ("name|small|day|at", any::<bool>())
            .prop_map(|(column, not)| format!("{column} is {}null", if not { "not " } else { "" })),
        Just("id + 1 > 3 and id < 100".to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("not ({one})")),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(" and "))),
            prop::collection::vec(inner, 2..4).prop_map(|all| format!("({})", all.join(" or "))),
        ]
    })
}

fn random_conditions_let_the_same_rows_through(kind: Kind) {
    let database = Database::new(kind);
    table(&database);
    // What overflows would fail.
    database.run("DELETE FROM t WHERE id = 9223372036854775807");
    let mut runner = TestRunner::deterministic();
    let drawn: Vec<String> = (0..60)
        .map(|_| {
            conditions()
                .new_tree(&mut runner)
                .expect("a condition")
                .current()
        })
        .collect();
    let all: String = drawn
        .iter()
        .enumerate()
        .map(|(number, condition)| flows(number, condition))
        .collect();
    let sandbox = database.project(&all);
    built(&sandbox);
    let (came, alone) = (keys(&sandbox, "asked"), keys(&sandbox, "alone"));
    assert_eq!(came.len(), drawn.len());
    for (number, condition) in drawn.iter().enumerate() {
        assert_eq!(came[number], alone[number], "{condition}");
    }
    let some = came
        .iter()
        .filter(|keys| (1..6).contains(&keys.split_whitespace().count()));
    assert!(some.count() > drawn.len() / 4, "{came:?}");
}
