//! `hygge build FLOW --slice`: some slices of a table are read again, the same for all kinds of
//! databases.

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox};

on_each_database!(
    a_slice_is_read_again_and_nothing_else,
    a_range_of_slices_is_read_again,
    what_came_elsewhere_is_left_to_the_next_build,
    slices_of_numbers_and_rows_without_a_value_are_meant_too,
    slices_that_there_are_not_are_refused,
    what_else_has_changed_is_built_first,
    a_table_of_slices_is_filled_anew,
);

/// A table with a row in each month of a year, one row without a month, and a column that no probe
/// looks at.
fn months(database: &Database) {
    database
        .run("CREATE TABLE orders (id integer NOT NULL PRIMARY KEY, at date, name varchar(40))");
    let rows: Vec<String> = (1..=12)
        .map(|id| format!("({id}, '2024-{id:02}-15', 'old')"))
        .collect();
    database.run(&format!(
        "INSERT INTO orders VALUES {}, (13, NULL, 'old')",
        rows.join(", ")
    ));
}

fn project(database: &Database, slice: &str, probe: &str) -> Sandbox {
    database.project(&format!(
        "  a:\n    home: {{connection: shop, table: orders, slice: {slice}{probe}}}\n    \
         store: out\n"
    ))
}

const BY_MONTH: &str = "{column: at, by: month}";

const PROBE: &str = ", probe: {columns: [id]}";

fn built(sandbox: &Sandbox, arguments: &[&str]) -> CommandOutput {
    let ran = sandbox.build(arguments);
    assert_eq!(ran.code, 0, "{}", ran.text);
    ran
}

fn made(ran: &CommandOutput) -> (u64, u64) {
    let ended = ran.event("flow_finished");
    (
        ended["parts_made"].as_u64().expect("a number"),
        ended["parts_kept"].as_u64().expect("a number"),
    )
}

/// The ids of the rows that were read since their name changed.
fn read_again(sandbox: &Sandbox) -> Vec<u32> {
    let lines = peers::rows(&sandbox.path("out")).lines();
    assert_eq!(lines.len(), 13, "{lines:?}");
    lines
        .iter()
        .filter(|line| line.ends_with("|new"))
        .filter_map(|line| line.split('|').next()?.parse().ok())
        .collect()
}

fn a_slice_is_read_again_and_nothing_else(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    for probe in [
        PROBE,
        ", probe: {every: 100d}",
        ", probe: {query: 'select 1'}",
    ] {
        let sandbox = project(&database, BY_MONTH, probe);
        database.run("UPDATE orders SET name = 'old'");
        built(&sandbox, &[]);
        database.run("UPDATE orders SET name = 'new'");
        assert!(
            built(&sandbox, &[]).outcome("a") != "built",
            "no probe looks at names"
        );
        let plan = sandbox.run(&["build", "a", "--slice", "2024-09", "--dry-run"]);
        assert!(
            plan.text.contains("slices 2024-09 were asked for"),
            "{}",
            plan.text
        );
        let ran = built(&sandbox, &["a", "--slice", "2024-09"]);
        assert_eq!(
            (made(&ran), read_again(&sandbox)),
            ((1, 12), vec![9]),
            "{}",
            ran.text
        );
        assert_eq!(
            sandbox.run(&["build"]).text,
            "hygge: nothing to do, 1 flow is fresh\n"
        );
    }
}

fn a_range_of_slices_is_read_again(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = project(&database, BY_MONTH, PROBE);
    built(&sandbox, &[]);
    database.run("UPDATE orders SET name = 'new'");
    built(&sandbox, &["a", "--slice", "2024-02..2024-04"]);
    assert_eq!(read_again(&sandbox), [2, 3, 4]);
    built(&sandbox, &["a", "--slice", "2024-05-31..2024-06-01"]);
    assert_eq!(
        read_again(&sandbox),
        [2, 3, 4, 5, 6],
        "a slice is read as a whole"
    );
    built(&sandbox, &["a", "--slice", "2024"]);
    assert_eq!(read_again(&sandbox), (1..=12).collect::<Vec<_>>());
}

fn what_came_elsewhere_is_left_to_the_next_build(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = project(&database, BY_MONTH, PROBE);
    built(&sandbox, &[]);
    database.run(
        "UPDATE orders SET name = 'new'; INSERT INTO orders \
         VALUES (20, '2024-03-03', 'new'), (21, '2025-01-01', 'new')",
    );
    database.run("DELETE FROM orders WHERE id = 7");
    built(&sandbox, &["a", "--slice", "2024-09"]);
    assert_eq!(read_again(&sandbox), [9]);
    let ran = built(&sandbox, &[]);
    assert_eq!(made(&ran).0, 2, "{}", ran.text);
    let lines = peers::rows(&sandbox.path("out")).lines();
    assert!(
        lines.contains(&"20|2024-03-03|new".to_string())
            && lines.contains(&"21|2025-01-01|new".to_string()),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 14, "{lines:?}");
}

fn slices_of_numbers_and_rows_without_a_value_are_meant_too(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = project(&database, "{column: id, by: 5}", PROBE);
    built(&sandbox, &[]);
    database.run("UPDATE orders SET name = 'new'");
    built(&sandbox, &["a", "--slice", "7"]);
    assert_eq!(read_again(&sandbox), [5, 6, 7, 8, 9]);
    let sandbox = project(&database, BY_MONTH, PROBE);
    database.run("UPDATE orders SET name = 'old'");
    built(&sandbox, &[]);
    database.run("UPDATE orders SET name = 'new'");
    built(&sandbox, &["a", "--slice", "null"]);
    assert_eq!(read_again(&sandbox), [13]);
}

fn slices_that_there_are_not_are_refused(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = project(&database, BY_MONTH, PROBE);
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let mut all = vec!["build"];
        all.extend(arguments);
        let ran = sandbox.run(&all);
        assert_eq!(ran.code, code, "{}", ran.text);
        assert!(ran.text.contains(expected), "{}", ran.text);
    };
    refused(&["a", "--slice", "2024-09"], 1, "it was never built");
    built(&sandbox, &[]);
    refused(&["--slice", "2024-09"], 2, "<SELECTION>");
    refused(
        &["a", "--slice", "2031-01"],
        1,
        "it has no slice in 2031-01",
    );
    refused(
        &["a", "--slice", "September"],
        2,
        "September is no slice of orders",
    );
    refused(
        &["a", "--slice", "2024-09..2024-01"],
        2,
        "is no slice of orders",
    );
    refused(&["a", "--slice", "2024-09.."], 2, "expected a slice");
    sandbox.write(
        "hygge.yml",
        database.config("  a: {home: {connection: shop, table: orders}, store: out}\n"),
    );
    refused(
        &["a", "--slice", "2024-09"],
        2,
        "has no slices that could be asked for",
    );
}

fn what_else_has_changed_is_built_first(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = project(&database, BY_MONTH, PROBE);
    built(&sandbox, &[]);
    let config = std::fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write(
        "hygge.yml",
        config.replace("table: orders,", "table: orders, where: 'id > 0',"),
    );
    let ran = sandbox.build(&["a", "--slice", "2024-09"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("its config has changed since it was built"),
        "{}",
        ran.text
    );
    sandbox.write("hygge.yml", config);
    database.run("ALTER TABLE orders ADD COLUMN more integer");
    let ran = sandbox.build(&["a", "--slice", "2024-09"]);
    assert!(
        ran.code == 1 && ran.text.contains("its columns have changed"),
        "{}",
        ran.text
    );
}

fn a_table_of_slices_is_filled_anew(kind: Kind) {
    let database = Database::new(kind);
    months(&database);
    let sandbox = database.project(&format!(
        "  a:\n    home: {{connection: shop, table: orders, slice: {BY_MONTH}{PROBE}}}\n    \
         store: {{connection: shop, table: copy}}\n"
    ));
    built(&sandbox, &[]);
    database.run("UPDATE orders SET name = 'new'");
    built(&sandbox, &["a", "--slice", "2024-09"]);
    assert_eq!(database.ask("SELECT id FROM copy WHERE name = 'new'"), "9");
    assert_eq!(database.ask("SELECT count(*) FROM copy"), "13");
}
