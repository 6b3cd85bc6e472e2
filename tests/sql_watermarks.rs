//! Watermarks: what came to a table since it was last read, the same for all kinds of databases.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox, built};

on_each_database!(
    only_new_rows_are_read,
    rows_of_the_largest_value_are_read_until_there_is_a_larger_one,
    rows_that_come_late_are_found_as_far_as_the_lag,
    rows_below_the_start_are_left_out,
    rows_without_a_value_fail_or_are_what_is_asked_for,
    a_lost_part_is_read_again,
    a_lost_cache_is_no_loss,
    an_empty_table_has_its_columns,
    the_first_reading_is_cut_into_slices,
    a_build_that_died_leaves_what_it_read,
    windows_are_read_again_by_the_slices_they_lie_in,
    all_is_read_anew_where_that_is_asked_for,
    rows_are_added_to_a_table_once,
    rows_that_changed_are_merged_into_a_table,
    another_watermark_is_refused,
    other_columns_are_refused,
    what_cannot_be_a_watermark_is_named,
);

/// A table `events` with a key, a time stamp and a text.
fn events(database: &Database) {
    let kind = if database.kind == Kind::Postgres {
        "timestamp"
    } else {
        "datetime"
    };
    database.run(&format!(
        "CREATE TABLE events (id integer NOT NULL PRIMARY KEY, at {kind}, name varchar(40))"
    ));
}

/// Rows of consecutive ids at a moment.
fn add(database: &Database, from: u32, to: u32, at: &str) {
    let rows: Vec<String> = (from..=to)
        .map(|id| format!("({id}, {at}, 'name {id}')"))
        .collect();
    database.run(&format!("INSERT INTO events VALUES {}", rows.join(", ")));
}

/// A flow that reads `events` with these fields of its home.
fn project(database: &Database, fields: &str) -> Sandbox {
    database.project(&format!("  a:\n    mode: append\n    home: {{connection: shop, table: events, {fields}}}\n    store: out\n"))
}

fn by_time(database: &Database, fields: &str) -> Sandbox {
    project(database, &format!("watermark: {{column: at{fields}}}"))
}

/// The numbers of parts that were made and kept; none where the flow was fresh.
fn made(ran: &CommandOutput) -> (u64, u64) {
    if matches!(ran.outcome("a"), "fresh" | "none") {
        return (0, 0);
    }
    let ended = ran.event("flow_finished");
    (
        ended["parts_made"].as_u64().expect("a number"),
        ended["parts_kept"].as_u64().expect("a number"),
    )
}

/// The ids of the rows in a store, in order.
fn ids(sandbox: &Sandbox) -> Vec<u32> {
    let lines = peers::rows(&sandbox.path("out")).lines();
    lines
        .iter()
        .filter_map(|line| line.split('|').next()?.parse().ok())
        .collect()
}

fn failed(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let mut all = vec!["build"];
    all.extend(arguments);
    let ran = sandbox.run(&all);
    assert_eq!(ran.code, 1, "{}", ran.text);
    ran.text
}

fn only_new_rows_are_read(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 5, "NULL");
    let sandbox = project(&database, "watermark: {column: id}");
    assert_eq!(made(&built(&sandbox)), (1, 0));
    let again = sandbox.run(&["build"]);
    assert_eq!(
        (again.code, again.text.trim()),
        (0, "hygge: nothing to do, 1 flow is fresh")
    );
    add(&database, 6, 8, "NULL");
    assert_eq!(made(&built(&sandbox)), (1, 1));
    // What was read once is not looked at again.
    database.run("UPDATE events SET name = 'other' WHERE id = 2; DELETE FROM events WHERE id = 3");
    assert_eq!(made(&built(&sandbox)).0, 0);
    add(&database, 9, 9, "NULL");
    assert_eq!(made(&built(&sandbox)), (1, 2));
    assert_eq!(ids(&sandbox), (1..=9).collect::<Vec<_>>());
    let files: Vec<String> = sandbox.digests("out").into_keys().collect();
    assert_eq!(files.len(), 3, "{files:?}");
}

fn rows_of_the_largest_value_are_read_until_there_is_a_larger_one(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 2, "'2026-01-10 10:00:00'");
    add(&database, 3, 3, "'2026-01-11 10:00:00'");
    let sandbox = by_time(&database, "");
    assert_eq!(made(&built(&sandbox)), (2, 0));
    assert_eq!(ids(&sandbox), [1, 2, 3]);
    // A transaction that was begun earlier is committed now, with the same time.
    add(&database, 4, 4, "'2026-01-11 10:00:00'");
    let ran = built(&sandbox);
    assert_eq!(
        (made(&ran), ids(&sandbox)),
        ((1, 1), vec![1, 2, 3, 4]),
        "{}",
        ran.text
    );
    add(&database, 5, 5, "'2026-01-12 10:00:00'");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2, 3, 4, 5]);
    assert_eq!(
        sandbox.run(&["build"]).text.trim(),
        "hygge: nothing to do, 1 flow is fresh"
    );
}

fn rows_that_come_late_are_found_as_far_as_the_lag(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    for (id, day) in (1..=9).zip(1..) {
        add(&database, id, id, &format!("'2026-01-0{day} 12:00:00'"));
    }
    let sandbox = by_time(&database, ", lag: 2d");
    built(&sandbox);
    add(&database, 10, 10, "'2026-01-08 00:00:01'");
    add(&database, 11, 11, "'2026-01-02 00:00:00'");
    built(&sandbox);
    // Sorted by their time within a window.
    assert_eq!(ids(&sandbox), [1, 2, 3, 4, 5, 6, 7, 10, 8, 9]);
    add(&database, 12, 12, "'2026-02-01 00:00:00'");
    built(&sandbox);
    assert_eq!(ids(&sandbox).len(), 11);
    assert!(!ids(&sandbox).contains(&11), "it came later than was said");
}

fn rows_below_the_start_are_left_out(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 3, "'2025-12-31 23:59:59'");
    add(&database, 4, 6, "'2026-01-01 00:00:00'");
    let sandbox = by_time(&database, ", start: 2026-01-01");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [4, 5, 6]);
    // What lies below an earlier start is still to be read.
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write("hygge.yml", config.replace("2026-01-01", "2025-01-01"));
    built(&sandbox);
    let mut found = ids(&sandbox);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4, 5, 6]);
}

fn rows_without_a_value_fail_or_are_what_is_asked_for(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 2, "'2026-01-01 00:00:00'");
    add(&database, 3, 4, "NULL");
    let text = failed(&by_time(&database, ""), &[]);
    assert!(
        text.contains("2 rows of events have no value in at") && text.contains("nulls"),
        "{text}"
    );
    let skipping = by_time(&database, ", nulls: skip");
    built(&skipping);
    assert_eq!(ids(&skipping), [1, 2]);
    let including = by_time(&database, ", nulls: include_each_time");
    built(&including);
    assert_eq!(ids(&including), [1, 2, 3, 4]);
    database.run("UPDATE events SET at = '2026-01-02 00:00:00' WHERE id = 3");
    built(&including);
    assert_eq!(ids(&including), [1, 2, 3, 4]);
    assert_eq!(made(&built(&including)).0, 0);
}

fn a_lost_part_is_read_again(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    let sandbox = project(&database, "watermark: {column: id}");
    for first in [1, 4, 7] {
        add(&database, first, first + 2, "NULL");
        built(&sandbox);
    }
    let files: Vec<String> = sandbox.digests("out").into_keys().collect();
    fs::remove_file(sandbox.path("out").join(&files[1])).expect("a file");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    fs::remove_dir_all(sandbox.path(".hygge/out.old")).expect("the set before");
    assert_eq!(made(&built(&sandbox)), (1, 2));
    let mut found = ids(&sandbox);
    found.sort_unstable();
    assert_eq!(found, (1..=9).collect::<Vec<_>>());
}

fn a_lost_cache_is_no_loss(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 5, "'2026-01-01 00:00:00'");
    let sandbox = by_time(&database, "");
    built(&sandbox);
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    let again = sandbox.run(&["build"]).text;
    assert!(
        again.ends_with("hygge: nothing to do, 1 flow is fresh\n"),
        "{again}"
    );
    add(&database, 6, 6, "'2026-01-02 00:00:00'");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2, 3, 4, 5, 6]);
}

fn an_empty_table_has_its_columns(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    let sandbox = by_time(&database, "");
    built(&sandbox);
    let found = peers::rows(&sandbox.path("out"));
    assert_eq!((found.schema.len(), found.rows.len()), (3, 0));
    assert_eq!(made(&built(&sandbox)), (0, 0));
    add(&database, 1, 2, "'2026-01-01 00:00:00'");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2]);
    database.run("DELETE FROM events");
    assert_eq!(sandbox.build(&["--accept-shrink"]).code, 0);
    assert_eq!(
        ids(&sandbox),
        Vec::<u32>::new(),
        "rows of the largest value are taken back where they are gone"
    );
}

fn the_first_reading_is_cut_into_slices(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    for (id, month) in (1..=6).zip(1..) {
        add(&database, id, id, &format!("'2026-0{month}-15 12:00:00'"));
    }
    database.run("DELETE FROM events WHERE id = 3");
    let sandbox = project(
        &database,
        "watermark: {column: at}, slice: {column: at, by: month}",
    );
    // Five months with rows, of which the last is not settled.
    assert_eq!(made(&built(&sandbox)), (5, 0));
    assert_eq!(ids(&sandbox), [1, 2, 4, 5, 6]);
    assert_eq!(made(&built(&sandbox)), (0, 0));
    add(&database, 7, 7, "'2026-07-15 12:00:00'");
    // That of June with its end now, and that of July.
    assert_eq!(made(&built(&sandbox)), (2, 4));
    assert_eq!(ids(&sandbox), [1, 2, 4, 5, 6, 7]);
}

fn a_build_that_died_leaves_what_it_read(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    for id in 1..=28 {
        add(&database, id, id, &format!("'2026-01-{id:02} 12:00:00'"));
    }
    let sandbox = project(
        &database,
        "watermark: {column: at}, slice: {column: at, by: day}",
    );
    let mut build = sandbox.start(&["-j", "1"]);
    build.wait_for("part_made");
    build.signal("KILL");
    build.end();
    // What comes meanwhile changes no window that lies before it.
    add(&database, 29, 29, "'2026-01-29 12:00:00'");
    let ran = built(&sandbox);
    let (again, kept) = made(&ran);
    assert!(kept >= 1 && again + kept == 29, "{}", ran.text);
    assert_eq!(ids(&sandbox), (1..=29).collect::<Vec<_>>());
}

fn windows_are_read_again_by_the_slices_they_lie_in(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    let sandbox = by_time(&database, "");
    for (id, month) in (1..=4).zip(1..) {
        add(&database, id, id, &format!("'2026-0{month}-15 12:00:00'"));
        built(&sandbox);
    }
    database.run("UPDATE events SET name = 'other' WHERE id IN (1, 2)");
    let ran = sandbox.build(&["a", "--slice", "2026-02"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let lines = peers::rows(&sandbox.path("out")).lines();
    let named = |name: &str| lines.iter().filter(|line| line.ends_with(name)).count();
    assert_eq!(
        (lines.len(), named("|name 3"), named("|name 4")),
        (4, 1, 1),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("2|") && line.ends_with("|other")),
        "{lines:?}"
    );
    assert_eq!(
        ids(&sandbox),
        [1, 2, 3, 4],
        "a part that is read again keeps its number"
    );
}

fn all_is_read_anew_where_that_is_asked_for(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    let sandbox = project(&database, "watermark: {column: id}");
    for id in 1..=3 {
        add(&database, id, id, "NULL");
        built(&sandbox);
    }
    database.run("UPDATE events SET name = 'other'");
    let ran = sandbox.build(&["--force"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(made(&ran), (1, 0));
    let lines = peers::rows(&sandbox.path("out")).lines();
    assert_eq!(lines, ["1||other", "2||other", "3||other"]);
}

/// A flow that reads `events` into the table `copy`.
fn into_a_table(database: &Database, mode: &str, watermark: &str) -> Sandbox {
    let key = if mode == "merge" { ", key: [id]" } else { "" };
    database.project(&format!(
        "  a:\n    mode: {mode}\n    home: {{connection: shop, table: events, watermark: \
         {watermark}}}\n    store: {{connection: shop, table: copy{key}}}\n"
    ))
}

fn rows_are_added_to_a_table_once(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 2, "'2026-01-01 00:00:00'");
    add(&database, 3, 3, "'2026-01-02 00:00:00'");
    let sandbox = into_a_table(&database, "append", "{column: at}");
    built(&sandbox);
    let found = || {
        database
            .ask("SELECT id FROM copy ORDER BY id")
            .replace('\n', " ")
    };
    // A row of the largest value could get company, and cannot be taken back.
    assert_eq!(found(), "1 2");
    let plan = sandbox.run(&["build", "--dry-run", "--force"]);
    assert!(
        plan.text.contains("would be added to its table once more"),
        "{}",
        plan.text
    );
    add(&database, 4, 4, "'2026-01-03 00:00:00'");
    built(&sandbox);
    assert_eq!(found(), "1 2 3");
    assert_eq!(made(&built(&sandbox)), (0, 0));
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    add(&database, 5, 5, "'2026-01-04 00:00:00'");
    built(&sandbox);
    assert_eq!(found(), "1 2 3 4");
    let by_key = into_a_table(&database, "append", "{column: id}");
    let refused = failed(&by_key, &[]);
    assert!(
        refused.contains("was filled by the watermark at"),
        "{refused}"
    );
    let ran = sandbox.run(&["build", "a", "--slice", "2026-01"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert!(
        ran.text
            .contains("cannot tell the rows of a slice from others"),
        "{}",
        ran.text
    );
}

fn rows_that_changed_are_merged_into_a_table(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 3, "'2026-01-01 00:00:00'");
    let sandbox = into_a_table(&database, "merge", "{column: at}");
    built(&sandbox);
    database.run("UPDATE events SET name = 'other', at = '2026-01-05 00:00:00' WHERE id = 2");
    add(&database, 4, 4, "'2026-01-06 00:00:00'");
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT id, name FROM copy ORDER BY id"),
        "1|name 1\n2|other\n3|name 3\n4|name 4"
    );
    assert_eq!(made(&built(&sandbox)), (0, 0));
}

fn another_watermark_is_refused(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 3, "'2026-01-01 00:00:00'");
    let sandbox = by_time(&database, "");
    built(&sandbox);
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write("hygge.yml", config.replace("column: at", "column: id"));
    let text = failed(&sandbox, &[]);
    assert!(
        text.contains("filled by the watermark at, and its home is read by the watermark id now"),
        "{text}"
    );
    assert_eq!(sandbox.build(&["--force"]).code, 0);
    assert_eq!(ids(&sandbox), [1, 2, 3]);
    sandbox.write(
        "hygge.yml",
        config
            .replace("mode: append", "mode: replace")
            .replace(", watermark: {column: at}", ""),
    );
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2, 3]);
}

fn other_columns_are_refused(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 3, "'2026-01-01 00:00:00'");
    add(&database, 4, 4, "'2026-01-02 00:00:00'");
    let sandbox = by_time(&database, "");
    built(&sandbox);
    database.run("ALTER TABLE events ADD COLUMN more integer");
    let text = failed(&sandbox, &[]);
    assert!(
        text.contains("other columns than what was moved before"),
        "{text}"
    );
    assert_eq!(ids(&sandbox), [1, 2, 3, 4]);
}

fn what_cannot_be_a_watermark_is_named(kind: Kind) {
    let database = Database::new(kind);
    events(&database);
    add(&database, 1, 3, "'2026-01-01 00:00:00'");
    let cases = [
        ("{column: name}", "column name is"),
        ("{column: nothing}", "events has no column nothing"),
        (
            "{column: id, lag: 1h}",
            "lag of the watermark is 3600s, and its column id is",
        ),
        (
            "{column: at, lag: 5}",
            "lag of the watermark is 5, and its column at is",
        ),
        (
            "{column: id, start: 2026-01-01}",
            "start of the watermark is 2026-01-01, and its column id is",
        ),
        (
            "{column: at, start: 5}",
            "start of the watermark is 5, and its column at is",
        ),
    ];
    for (watermark, expected) in cases {
        let text = failed(&project(&database, &format!("watermark: {watermark}")), &[]);
        assert!(text.contains(expected), "{watermark}: {text}");
    }
}

#[test]
fn a_watermark_and_the_mode_fit_together() {
    let cases = [
        (
            "mode: append\n    home: {connection: shop, table: t}",
            "nothing tells what is new",
        ),
        (
            "home: {connection: shop, table: t, watermark: {column: id}}",
            "has a watermark, and makes the whole set",
        ),
        (
            "mode: append\n    home: {connection: shop, table: t, watermark: {lag: 1h}}",
            "has no column",
        ),
        (
            "mode: append\n    on_changed: ignore\n    \
             home: {connection: shop, table: t, watermark: {column: id}}",
            "has on_changed, and its home is a table",
        ),
        (
            "mode: append\n    home: {connection: shop, table: t, watermark: {column: id}, slice: \
             {column: at, by: month}}",
            "is by at, and its watermark by id",
        ),
    ];
    for (flow, expected) in cases {
        let sandbox = Sandbox::new(&format!(
            "connections:\n  shop: {{url: \"sqlite:shop.db\"}}\nflows:\n  a:\n    {flow}\n    \
             store: out\n"
        ));
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{}", ran.text);
        assert!(ran.text.contains(expected), "{flow}: {}", ran.text);
    }
}
