//! Windows of a watermark: time stamps by their instants, columns that are not what they were, values without a place.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{Ran, Sandbox};

on_each_database!(columns_that_came_or_went_are_named, a_receipt_of_before_knows_no_columns,);

fn built(sandbox: &Sandbox) -> Ran {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    ran
}

fn failed(sandbox: &Sandbox) -> String {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    ran.text
}

fn ids(sandbox: &Sandbox) -> Vec<u32> {
    let lines = peers::rows(&sandbox.path("out")).lines();
    let mut ids: Vec<u32> = lines.iter().filter_map(|line| line.split('|').next()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn events(database: &Database, kind: &str) {
    database.run(&format!("CREATE TABLE events (id integer NOT NULL PRIMARY KEY, at {kind}, name varchar(40))"));
}

/// Flows that read `events`: into files, and into tables by merging and adding.
fn everywhere(database: &Database, fields: &str) -> Sandbox {
    let home = format!("home: {{connection: shop, table: events, watermark: {{column: at{fields}}}}}");
    database.project(&format!(
        "  files:\n    mode: append\n    {home}\n    store: out\n  \
           merged:\n    mode: merge\n    {home}\n    store: {{connection: shop, table: merged, key: [id]}}\n  \
           added:\n    mode: append\n    {home}\n    store: {{connection: shop, table: added}}\n"
    ))
}

fn columns_that_came_or_went_are_named(kind: Kind) {
    let retype = match kind {
        Kind::Sqlite => "ALTER TABLE events DROP COLUMN name; ALTER TABLE events ADD COLUMN name blob",
        Kind::Postgres => "ALTER TABLE events ALTER COLUMN name TYPE text",
        Kind::MySql => "ALTER TABLE events MODIFY COLUMN name longtext",
    };
    let cases: [(&str, &[&str]); 4] = [
        ("ALTER TABLE events ADD COLUMN extra integer DEFAULT 7", &["extra (", "is new"]),
        ("ALTER TABLE events DROP COLUMN name", &["name is gone"]),
        ("ALTER TABLE events RENAME COLUMN name TO title", &["name is gone", "title (", "is new"]),
        (retype, &["name was", "and is"]),
    ];
    for (change, wanted) in cases {
        let database = Database::new(kind);
        events(&database, "date");
        database.run("INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b'), (3, '2026-01-03', 'c')");
        let sandbox = everywhere(&database, "");
        built(&sandbox);
        database.run(change);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 1, "{change}: {}", ran.text);
        for flow in ["files", "merged", "added"] {
            let ran = sandbox.build(&[flow]);
            assert_eq!(ran.code, 1, "{change}: {}", ran.text);
            assert!(ran.error().contains("other columns than what was moved before"), "{change}: {}", ran.error());
            assert!(wanted.iter().all(|word| ran.error().contains(word)), "{change}: {}", ran.error());
        }
        assert_eq!(database.ask("SELECT id FROM merged ORDER BY id"), "1\n2\n3", "nothing was changed");
        if kind == Kind::Sqlite && !change.contains("RENAME") {
            continue;
        }
        // All of it anew is right again.
        assert_eq!(sandbox.build(&["--force", "files"]).code, 0);
        assert_eq!(ids(&sandbox), [1, 2, 3]);
    }
}

fn a_receipt_of_before_knows_no_columns(kind: Kind) {
    let database = Database::new(kind);
    events(&database, "date");
    database.run("INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b'), (3, '2026-01-03', 'c')");
    let sandbox = database.project(
        "  files: {mode: append, home: {connection: shop, table: events, watermark: {column: at}, probe: {columns: [name]}}, store: out}\n",
    );
    built(&sandbox);
    let receipt = sandbox.path(".hygge/out.json");
    let mut read: serde_json::Value = serde_json::from_slice(&fs::read(&receipt).expect("a receipt")).expect("JSON");
    let columns = read["published"].as_object_mut().expect("a map").remove("columns").expect("columns");
    assert_eq!(columns[2]["name"], "name");
    fs::write(&receipt, serde_json::to_vec(&read).expect("JSON")).expect("a receipt");
    let again = sandbox.run(&["build"]).text;
    assert!(again.ends_with("hygge: nothing to do, 1 flow is fresh\n"), "{again}");
    database.run("ALTER TABLE events ADD COLUMN extra integer");
    let text = failed(&sandbox);
    assert!(["other columns than what was moved before", "name (", "extra ("].iter().all(|word| text.contains(word)), "{text}");
}
