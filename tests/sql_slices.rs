//! Slices of tables: every row lies in one of them, whatever its value, and is read once.

use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::{Ran, Sandbox};

fn built(sandbox: &Sandbox) -> Ran {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    ran
}

/// The ids of the rows in a store, from the smallest.
fn ids(sandbox: &Sandbox, store: &str) -> Vec<i64> {
    let lines = peers::rows(&sandbox.path(store)).lines();
    let mut ids: Vec<i64> = lines.iter().filter_map(|line| line.split('|').next()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

/// What a table of PostgreSQL's promises need not hold for tables that inherit from it.
#[test]
fn rows_of_tables_that_inherit_arrive() {
    let database = Database::new(Kind::Postgres);
    database.run("CREATE TABLE t (id integer NOT NULL PRIMARY KEY, v text); CREATE TABLE child () INHERITS (t)");
    let is_droppable = database.try_run("ALTER TABLE child ALTER COLUMN id DROP NOT NULL");
    database.run("INSERT INTO t VALUES (1, 'a'), (5000000, 'b'); INSERT INTO child VALUES (7, 'c'), (7, 'd')");
    database.run("CREATE TABLE parts (id integer, at date) PARTITION BY RANGE (at)");
    database.run(
        "CREATE TABLE p1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); CREATE TABLE p2 PARTITION OF parts DEFAULT",
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
