//! Tables whose columns change under a build: what is published is what one moment had, with the
//! columns of that moment.

use crate::common::databases::{Database, Kind, on_servers};
use crate::common::locks::Held;
use crate::common::peers;
use crate::sql_faults::wait_until;

on_servers!(
    columns_that_change_behind_the_plan_arrive_as_they_are,
    a_table_that_changes_while_it_is_waited_for_arrives_as_it_is,
    a_table_that_is_read_is_not_changed_meanwhile,
);

mod sqlite {
    #[test]
    fn columns_that_change_behind_the_plan_arrive_as_they_are() {
        super::columns_that_change_behind_the_plan_arrive_as_they_are(super::Kind::Sqlite);
    }
}

/// A change of columns, and the rows afterwards.
type Change = (&'static str, &'static [&'static str]);

fn changes(kind: Kind) -> [Change; 4] {
    let [other_type, other_column] = match kind {
        Kind::Postgres => [
            "ALTER TABLE t ALTER COLUMN v TYPE text",
            "ALTER TABLE t DROP COLUMN v, ADD COLUMN v real DEFAULT 1.5",
        ],
        Kind::MySql => [
            "ALTER TABLE t MODIFY v varchar(20)",
            "ALTER TABLE t DROP COLUMN v, ADD COLUMN v float DEFAULT 1.5",
        ],
        Kind::Sqlite => [
            "ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t ADD COLUMN v text; \
             UPDATE t SET v = w; ALTER TABLE t DROP COLUMN w",
            "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v real DEFAULT 1.5",
        ],
    };
    [
        (
            "ALTER TABLE t ADD COLUMN w integer DEFAULT 7",
            &["1|10|7", "2|20|7", "3|30|7"],
        ),
        (other_type, &["1|10", "2|20", "3|30"]),
        (other_column, &["1|1.5", "2|1.5", "3|1.5"]),
        ("ALTER TABLE t DROP COLUMN v", &["1", "2", "3"]),
    ]
}

/// A table of whole numbers.
fn numbers(kind: Kind) -> Database {
    let database = Database::new(kind);
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer); INSERT INTO t VALUES (1, 10), (2, 20)",
    );
    database
}

fn columns_that_change_behind_the_plan_arrive_as_they_are(kind: Kind) {
    for (change, wanted) in changes(kind) {
        let database = numbers(kind);
        let sandbox = database.project(
            "  a: {home: {connection: shop, table: t, probe: {columns: [id]}}, store: out, \
             on_drift: {removed: allow, retyped: allow}}\n",
        );
        assert_eq!(sandbox.build(&[]).code, 0);
        database.run("INSERT INTO t VALUES (3, 30)");
        let held = Held::alone(&sandbox.path(".hygge/out.lock"));
        let mut build = sandbox.start(&[]);
        build.wait_for("flow_waiting");
        database.run(change);
        drop(held);
        let ran = build.end();
        assert_eq!(ran.code, 0, "{change}: {}", ran.text);
        assert_eq!(
            peers::rows(&sandbox.path("out")).lines(),
            wanted,
            "{change}"
        );
        assert_eq!(
            sandbox.run(&["build"]).text,
            "hygge: nothing to do, 1 flow is fresh\n",
            "{change}: what was read is recorded"
        );
    }
}

/// Who has the table locked changes it, and a build that has begun to ask goes on behind that.
fn a_table_that_changes_while_it_is_waited_for_arrives_as_it_is(kind: Kind) {
    let homes = ["table: t", "query: select * from t order by id"];
    let cases = changes(kind)
        .into_iter()
        .flat_map(|change| homes.map(|home| (change, home)));
    // Its rows are written anew, and the view has the columns that it had.
    let seen = (
        (
            "ALTER TABLE t ADD COLUMN w double precision DEFAULT rand()",
            ["1|10", "2|20", "3|30"].as_slice(),
        ),
        "table: seen, slice: {column: id, by: 2}",
    );
    for ((change, wanted), home) in cases.chain([seen]) {
        let database = numbers(kind);
        database.run("INSERT INTO t VALUES (3, 30); CREATE VIEW seen AS SELECT id, v FROM t");
        if !home.contains("seen") {
            database.run("DROP VIEW seen");
        }
        let sandbox = database.project(&format!(
            "  a: {{home: {{connection: shop, {home}}}, store: out}}\n"
        ));
        let mut other = database.session();
        other.say(if kind == Kind::Postgres {
            "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE"
        } else {
            "LOCK TABLES t WRITE"
        });
        wait_until("the lock", || !may_be_read(&database));
        let build = sandbox.start(&[]);
        wait_until("a build that waits", || is_waited_for(&database));
        other.say(&if kind == Kind::Postgres {
            change.replace("rand()", "random()")
        } else {
            change.to_string()
        });
        other.say(if kind == Kind::Postgres {
            "COMMIT"
        } else {
            "UNLOCK TABLES"
        });
        other.end();
        let ran = build.end();
        assert_eq!(ran.code, 0, "{change}, {home}: {}", ran.text);
        assert_eq!(
            peers::rows(&sandbox.path("out")).lines(),
            wanted,
            "{change}, {home}"
        );
    }
}

/// True where somebody else may read the table at once.
fn may_be_read(database: &Database) -> bool {
    database.try_run(match database.kind {
        Kind::Postgres => "SET lock_timeout = 1; SELECT count(*) FROM t",
        _ => "SET lock_wait_timeout = 0; SELECT count(*) FROM t",
    })
}

/// True where a session waits for the table.
fn is_waited_for(database: &Database) -> bool {
    let asked = match database.kind {
        Kind::Postgres => {
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
        }
        _ => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() \
             AND state LIKE 'Waiting for table metadata lock%'"
        }
    };
    database.ask(asked) != "0"
}

/// As long as one moment is read, nobody changes the columns of its tables.
fn a_table_that_is_read_is_not_changed_meanwhile(kind: Kind) {
    let database = numbers(kind);
    // Its rows pass a gate that somebody else holds shut.
    let (shut, pass, waits, briefly) = match kind {
        Kind::Postgres => (
            "SELECT pg_advisory_lock(7)",
            "pg_advisory_xact_lock_shared(7)::text",
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
             WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()",
            "SET lock_timeout = 1",
        ),
        _ => (
            "SELECT GET_LOCK(database(), 0)",
            "get_lock(database(), 100)",
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() \
             AND state = 'User lock'",
            "SET lock_wait_timeout = 0",
        ),
    };
    let sandbox = database.project(&format!(
        "  a: {{home: {{connection: shop, query: 'select id, v, {pass} as gate from t order by \
         id'}}, store: out}}\n"
    ));
    let mut other = database.session();
    other.say(shut);
    let is_shut = match kind {
        Kind::Postgres => {
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
             WHERE locktype = 'advisory' AND datname = current_database()"
        }
        _ => "SELECT coalesce(is_used_lock(database()), 0)",
    };
    wait_until("the gate", || database.ask(is_shut) != "0");
    let running = sandbox.start(&[]);
    wait_until("a build that reads", || database.ask(waits) != "0");
    for change in [
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ADD COLUMN w integer DEFAULT 7",
        "DROP TABLE t",
    ] {
        assert!(
            !database.try_run(&format!("{briefly}; {change}")),
            "{change} has to wait"
        );
    }
    other.end();
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.text);
    let found = peers::rows(&sandbox.path("out")).rows;
    let found: Vec<String> = found
        .into_iter()
        .map(|row| {
            row.into_iter()
                .take(2)
                .flatten()
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect();
    assert_eq!(found, ["1|10", "2|20"]);
    database.run("ALTER TABLE t DROP COLUMN v");
}
