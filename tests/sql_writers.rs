//! One table, one writer: checkouts, machines and spellings of one server do not get in each
//! other's way, and rows of others stay.

use std::path::Path;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, Server, on_each_database, on_servers};
use crate::common::peers;
use crate::common::sandbox::{Running, Sandbox, built};

on_each_database!(
    two_checkouts_fill_one_table_once,
    tables_that_refer_to_it_keep_their_rows,
    rows_that_a_trigger_swallows_are_missed,
    tables_called_as_hygge_calls_its_own_are_filled,
    keys_that_a_collation_takes_for_one_are_refused,
    clean_removes_what_hygge_wrote_and_nothing_else,
    all_columns_that_do_not_fit_are_named_before_a_build,
);

mod servers {
    use super::{
        a_table_that_another_fills_is_waited_for, flows_of_one_build_do_not_lock_each_other_out,
        on_servers,
    };
    on_servers!(
        a_table_that_another_fills_is_waited_for,
        flows_of_one_build_do_not_lock_each_other_out
    );
}

/// `id`s from one to another in a parquet file.
fn ids(sandbox: &Sandbox, name: &str, from: i64, to: i64) {
    rows(
        sandbox,
        name,
        &format!("'id': pa.array(range({from}, {to}), pa.int64())"),
    );
}

/// A parquet file of columns in Python.
fn rows(sandbox: &Sandbox, name: &str, columns: &str) {
    sandbox.write(name, "");
    let script = format!(
        "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
         pq.write_table(pa.table({{{columns}}}), sys.argv[1])"
    );
    let written = peers::run(&script, &[sandbox.path(name).as_os_str()]);
    assert_success(&written);
}

/// The same server by another name of this machine.
fn spelled_otherwise(database: &Database) -> String {
    database
        .url()
        .replace("127.0.0.1", "localhost")
        .replace("/shop.db", "/./shop.db")
}

/// `HYGGE_WRITERS` sets how often both build at once, for each mode.
fn two_checkouts_fill_one_table_once(kind: Kind) {
    let rounds = std::env::var("HYGGE_WRITERS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(3);
    for mode in ["replace", "append", "merge"] {
        let database = Database::new(kind);
        let checkout = |url: &str| {
            let key = if mode == "merge" { ", key: id" } else { "" };
            Sandbox::new(&format!(
                "name: shop\nconnections:\n  shop: {{url: \"{url}\"}}\nflows:\n  \
                   a: {{home: home, mode: {mode}, store: {{connection: shop, table: \
                   people{key}}}}}\n"
            ))
        };
        let checkouts = [
            checkout(&database.url()),
            checkout(&spelled_otherwise(&database)),
        ];
        for round in 0..rounds {
            for sandbox in &checkouts {
                ids(
                    sandbox,
                    &format!("home/{round}.parquet"),
                    round * 5000,
                    (round + 1) * 5000,
                );
            }
            let running: Vec<Running> =
                checkouts.iter().map(|sandbox| sandbox.start(&[])).collect();
            for ran in running.into_iter().map(Running::end) {
                assert_eq!(ran.code, 0, "{mode}, round {round}: {}", ran.text);
            }
            let wanted = (round + 1) * 5000;
            assert_eq!(
                database.ask("SELECT count(*), count(DISTINCT id) FROM people"),
                format!("{wanted}|{wanted}"),
                "{mode}, round {round}"
            );
        }
        for sandbox in &checkouts {
            assert_eq!(
                sandbox.run(&["build"]).text.lines().last(),
                Some("hygge: nothing to do, 1 flow is fresh"),
                "{mode}"
            );
        }
        assert_eq!(database.ask("SELECT count(*) FROM hygge_receipts"), "1");
    }
}

fn tables_that_refer_to_it_keep_their_rows(kind: Kind) {
    for (rule, others) in [
        ("ON DELETE CASCADE", "child"),
        ("ON DELETE SET NULL", "child"),
    ] {
        let database = Database::new(kind);
        database.run("CREATE TABLE people (id bigint PRIMARY KEY)");
        let flow = |more: &str| {
            database.config(&format!(
                "  a: {{home: home, store: {{connection: shop, table: people{more}}}}}\n"
            ))
        };
        let sandbox = Sandbox::new(&flow(""));
        ids(&sandbox, "home/a.parquet", 1, 3);
        built(&sandbox);
        database.run(&format!(
            "CREATE TABLE child (p bigint, note varchar(9), FOREIGN KEY (p) REFERENCES people (id) \
             {rule}); INSERT INTO child VALUES (1, 'mine')"
        ));
        ids(&sandbox, "home/a.parquet", 2, 5);
        let ran = sandbox.build(&[]);
        assert!(
            ran.code == 1 && ran.error().contains(others) && ran.error().contains(rule),
            "{}",
            ran.text
        );
        assert_eq!(database.ask("SELECT p, note FROM child"), "1|mine");
        assert_eq!(database.ask("SELECT count(*) FROM people"), "2");
        sandbox.write("hygge.yml", flow(", cascade: true"));
        built(&sandbox);
        assert_eq!(database.ask("SELECT count(*) FROM people"), "3");
        let left = if rule == "ON DELETE CASCADE" {
            ""
        } else {
            "|mine"
        };
        assert_eq!(
            database
                .ask("SELECT p, note FROM child")
                .replace("NULL", ""),
            left
        );
    }
    // Who only adds rows, or merges them by the key that is referred to, changes no other table.
    let database = Database::new(kind);
    database.run(
        "CREATE TABLE people (id bigint PRIMARY KEY); INSERT INTO people VALUES (1); \
         CREATE TABLE child (p bigint, FOREIGN KEY (p) REFERENCES people (id) ON DELETE CASCADE \
         ON UPDATE CASCADE); INSERT INTO child VALUES (1)",
    );
    let sandbox = database.project(
        "  a: {home: home, mode: merge, store: {connection: shop, table: people, key: id, adopt: \
         true}}\n",
    );
    ids(&sandbox, "home/a.parquet", 1, 4);
    built(&sandbox);
    assert_eq!(database.ask("SELECT p FROM child"), "1");
}

fn rows_that_a_trigger_swallows_are_missed(kind: Kind) {
    let swallowing = match kind {
        Kind::Sqlite => vec![
            "CREATE TRIGGER less BEFORE INSERT ON people WHEN NEW.id = 2 BEGIN \
             SELECT RAISE(IGNORE); END",
            "CREATE TRIGGER less AFTER INSERT ON people WHEN NEW.id = 2 BEGIN DELETE FROM people \
             WHERE id = 2; END",
        ],
        Kind::Postgres => vec![
            "CREATE FUNCTION less() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 2 THEN \
             RETURN NULL; END IF; RETURN NEW; END'; \
             CREATE TRIGGER less BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION less()",
            "CREATE FUNCTION less() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM people \
             WHERE id = 2; RETURN NULL; END'; \
             CREATE TRIGGER less AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION less()",
        ],
        // There, a trigger can only refuse a row.
        Kind::MySql => return,
    };
    for mode in ["replace", "append", "merge"] {
        for trigger in &swallowing {
            let database = Database::new(kind);
            database.run("CREATE TABLE people (id bigint PRIMARY KEY)");
            let key = if mode == "merge" { ", key: id" } else { "" };
            let sandbox = database.project(&format!(
                "  a: {{home: home, mode: {mode}, store: {{connection: shop, table: \
                 people{key}}}}}\n"
            ));
            ids(&sandbox, "home/a.parquet", 0, 2);
            built(&sandbox);
            database.run(trigger);
            ids(&sandbox, "home/b.parquet", 2, 4);
            let ran = sandbox.build(&[]);
            assert!(
                ran.code == 1
                    && ran
                        .error()
                        .contains("table people does not keep what it is given"),
                "{mode}, {trigger}: {}",
                ran.text
            );
            assert_eq!(
                database.ask("SELECT count(*) FROM people"),
                "2",
                "{mode}, {trigger}"
            );
        }
    }
}

fn tables_called_as_hygge_calls_its_own_are_filled(kind: Kind) {
    let database = Database::new(kind);
    let names = ["hygge_side", "s", "a", "hygge_receipt", "order"];
    let flow = |name: &&str| {
        format!(
            "  f_{name}: {{home: home, mode: merge, store: {{connection: shop, table: {name}, key: \
             id, delete_where: \"id = 3\"}}}}\n"
        )
    };
    let sandbox = database.project(&names.iter().map(flow).collect::<String>());
    ids(&sandbox, "home/a.parquet", 0, 3);
    built(&sandbox);
    ids(&sandbox, "home/b.parquet", 2, 5);
    built(&sandbox);
    for name in names {
        assert_eq!(
            database.ask(&format!(
                "SELECT count(*), sum(id) FROM {}",
                database.quoted(name)
            )),
            "4|7",
            "{name}"
        );
    }
}

fn keys_that_a_collation_takes_for_one_are_refused(kind: Kind) {
    let project = |database: &Database| {
        database.project(
            "  a: {home: home, mode: merge, store: {connection: shop, table: people, key: id, \
             adopt: true}}\n",
        )
    };
    // In a table that hygge makes, texts are compared by their bytes.
    let database = Database::new(kind);
    let sandbox = project(&database);
    for (number, key) in ["a", "A", "a ", "\u{e4}", "a\u{308}"].iter().enumerate() {
        rows(
            &sandbox,
            &format!("home/{number}.parquet"),
            &format!("'id': ['{key}'], 'n': [{number}]"),
        );
        built(&sandbox);
    }
    assert_eq!(database.ask("SELECT count(*), sum(n) FROM people"), "5|10");
    let declared = match kind {
        Kind::Sqlite => "varchar(9) COLLATE NOCASE",
        Kind::Postgres => "text COLLATE folded",
        Kind::MySql => "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    };
    let database = Database::new(kind);
    if kind == Kind::Postgres {
        database.run(
            "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = \
             false)",
        );
    }
    database.run(&format!(
        "CREATE TABLE people (id {declared} PRIMARY KEY, n bigint)"
    ));
    let sandbox = project(&database);
    rows(&sandbox, "home/0.parquet", "'id': ['a'], 'n': [0]");
    built(&sandbox);
    rows(&sandbox, "home/1.parquet", "'id': ['a', 'b'], 'n': [1, 2]");
    built(&sandbox);
    rows(&sandbox, "home/2.parquet", "'id': ['c', 'A'], 'n': [3, 4]");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1
            && ran.error().contains("\"A\"")
            && ran.error().contains("the key of another row"),
        "{}",
        ran.text
    );
    assert_eq!(
        database.ask("SELECT id, n FROM people ORDER BY n"),
        "a|1\nb|2"
    );
}

fn clean_removes_what_hygge_wrote_and_nothing_else(kind: Kind) {
    let count = |database: &Database| database.ask("SELECT count(*) FROM people");
    // Rows of others beside those of hygge.
    let database = Database::new(kind);
    database
        .run("CREATE TABLE people (id bigint PRIMARY KEY); INSERT INTO people VALUES (90), (91)");
    let sandbox = database.project(
        "  a: {home: home, mode: merge, store: {connection: shop, table: people, key: id, adopt: \
         true}}\n",
    );
    ids(&sandbox, "home/a.parquet", 0, 3);
    built(&sandbox);
    let ran = sandbox.run(&["clean", "--stores", "a", "--yes"]);
    assert!(
        ran.code == 1 && ran.text.contains("has 5 rows, and hygge wrote 3 of them"),
        "{}",
        ran.text
    );
    assert_eq!(count(&database), "5");
    // A table that hygge did not make stays, without the rows that it wrote.
    let database = Database::new(kind);
    database.run("CREATE TABLE people (id bigint PRIMARY KEY)");
    let sandbox = database.project("  a: {home: home, store: {connection: shop, table: people}}\n");
    ids(&sandbox, "home/a.parquet", 0, 3);
    built(&sandbox);
    let ran = sandbox.run(&["clean", "--stores", "a"]);
    assert!(ran.text.contains("3 rows; the table stays"), "{}", ran.text);
    assert_eq!(count(&database), "3");
    let ran = sandbox.run(&["clean", "--stores", "a", "--yes"]);
    assert_eq!(
        (ran.code, count(&database).as_str()),
        (0, "0"),
        "{}",
        ran.text
    );
    // One that it made goes, unless somebody else wrote to it.
    let database = Database::new(kind);
    let sandbox = database.project(
        "  a: {home: home, mode: merge, store: {connection: shop, table: people, key: id}}\n",
    );
    ids(&sandbox, "home/a.parquet", 0, 3);
    built(&sandbox);
    ids(&sandbox, "home/b.parquet", 2, 4);
    built(&sandbox);
    database.run("INSERT INTO people VALUES (77)");
    let ran = sandbox.run(&["clean", "--stores", "a", "--yes"]);
    assert!(
        ran.code == 1 && ran.text.contains("has 5 rows, and hygge wrote 4 of them"),
        "{}",
        ran.text
    );
    database.run("DELETE FROM people WHERE id = 77");
    let ran = sandbox.run(&["clean", "--stores", "a", "--yes"]);
    assert!(
        ran.code == 0 && ran.text.contains("the table with its 4 rows"),
        "{}",
        ran.text
    );
    assert!(
        !database.try_run("SELECT * FROM people"),
        "the table is gone"
    );
}

fn all_columns_that_do_not_fit_are_named_before_a_build(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE people (id bigint, a date, b integer)");
    let sandbox = database.project("  a: {home: home, store: {connection: shop, table: people}}\n");
    rows(
        &sandbox,
        "home/a.parquet",
        "'id': [1], 'a': ['x'], 'b': ['y']",
    );
    for command in [["check"].as_slice(), &["build", "--dry-run"], &["build"]] {
        let ran = sandbox.run(command);
        assert_ne!(ran.code, 10, "{}", ran.text);
        for column in [
            "column a is text, which has no place in table people",
            "column b is text, which has no place in table people",
        ] {
            assert!(ran.text.contains(column), "{command:?}: {}", ran.text);
        }
    }
    assert_eq!(database.ask("SELECT count(*) FROM people"), "0");
}

/// Holds the lock of a load at a server that is its own.
fn a_table_that_another_fills_is_waited_for(kind: Kind) {
    let server = Server::start(kind);
    let database = server.database();
    database.run("CREATE TABLE people (id bigint)");
    let sandbox = database.project("  a: {home: home, store: {connection: shop, table: people}}\n");
    ids(&sandbox, "home/a.parquet", 0, 3);
    built(&sandbox);
    ids(&sandbox, "home/a.parquet", 0, 4);
    // As another checkout would, in the middle of its load.
    let mut holder = database.session();
    match kind {
        Kind::Postgres => holder.say("BEGIN; LOCK TABLE people IN SHARE MODE"),
        _ => holder.say("LOCK TABLES people READ"),
    }
    crate::sql_faults::wait_until("the lock", || {
        match kind {
            Kind::Postgres => {
                database.ask("SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND granted")
                    != "0"
            }
            // It has said all that it was told.
            _ => {
                database.ask(
                    "SELECT count(*) FROM information_schema.processlist WHERE command = 'Sleep' \
                     AND db = DATABASE()",
                ) != "0"
            }
        }
    });
    let other = Sandbox::new(
        &std::fs::read_to_string(sandbox.path("hygge.yml"))
            .expect("a config")
            .replace("127.0.0.1", "localhost"),
    );
    copy(&sandbox.path("home/a.parquet"), &other.path("home"));
    let first = sandbox.start(&[]);
    let is_locked = || match kind {
        Kind::Postgres => {
            database.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
                != "0"
        }
        _ => !database
            .ask("SELECT id FROM information_schema.processlist WHERE info LIKE 'DELETE FROM%'")
            .is_empty(),
    };
    crate::sql_faults::wait_until("the load", is_locked);
    let ran = other.run(&["build", "--no-wait"]);
    assert_eq!(ran.code, 4, "{}", ran.text);
    assert!(
        ran.text
            .contains("people is being filled by another process"),
        "{}",
        ran.text
    );
    holder.say(if kind == Kind::Postgres {
        "ROLLBACK"
    } else {
        "UNLOCK TABLES"
    });
    holder.end();
    assert_eq!(first.end().code, 0);
    assert_eq!(database.ask("SELECT count(*) FROM people"), "4");
}

fn copy(file: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::copy(file, folder.join(file.file_name().expect("a name"))).expect("a copy");
}

fn flows_of_one_build_do_not_lock_each_other_out(kind: Kind) {
    let database = Database::new(kind);
    let flow = |number: usize| {
        format!(
            "  f{number}: {{home: home, store: {{connection: shop, table: t{number}}}, retries: \
             0}}\n"
        )
    };
    let sandbox = database.project(&(0..24).map(flow).collect::<String>());
    ids(&sandbox, "home/a.parquet", 0, 3);
    let ran = sandbox.build(&["-j", "8"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(database.ask("SELECT count(*) FROM hygge_receipts"), "24");
}

mod mysql_engines {
    use super::*;

    #[test]
    fn mysql_tables_without_transactions_are_refused() {
        let database = Database::new(Kind::MySql);
        for (number, engine) in ["MyISAM", "Aria"].into_iter().enumerate() {
            database.run(&format!(
                "CREATE TABLE t{number} (id bigint) ENGINE = {engine}"
            ));
            let sandbox = database.project(&format!(
                "  a: {{home: home, mode: append, store: {{connection: shop, table: t{number}}}}}\n"
            ));
            ids(&sandbox, "home/a.parquet", 0, 3);
            for command in ["build", "check"] {
                let ran = sandbox.run(&[command]);
                assert!(
                    ran.code == 1
                        && ran.text.contains(&format!(
                            "has the engine {engine}, which has no transactions"
                        )),
                    "{}",
                    ran.text
                );
            }
            assert_eq!(
                database.ask(&format!("SELECT count(*) FROM t{number}")),
                "0"
            );
        }
    }
}

mod postgres_schemas {
    use super::*;

    /// The version before wrote a receipt into the first schema of the search_path.
    #[test]
    fn postgres_a_receipt_of_another_schema_is_taken_over() {
        let database = Database::new(Kind::Postgres);
        database.run(
            "CREATE SCHEMA first; CREATE SCHEMA second; CREATE TABLE second.people (id bigint)",
        );
        let url = format!("{}?options=-c%20search_path%3Dfirst,second", database.url());
        let config = |table: &str| {
            format!(
                "name: shop\nconnections:\n  shop: {{url: \"{url}\"}}\nflows:\n  \
                 a: {{home: home, mode: append, store: {{connection: shop, table: {table}}}}}\n"
            )
        };
        let sandbox = Sandbox::new(&config("people"));
        ids(&sandbox, "home/a.parquet", 0, 3);
        built(&sandbox);
        assert_eq!(
            database.ask("SELECT name FROM second.hygge_receipts"),
            "people"
        );
        database.run("ALTER TABLE second.hygge_receipts SET SCHEMA first");
        let again = sandbox.run(&["build"]);
        assert_eq!(
            again.text.lines().last(),
            Some("hygge: nothing to do, 1 flow is fresh")
        );
        ids(&sandbox, "home/b.parquet", 3, 5);
        built(&sandbox);
        assert_eq!(database.ask("SELECT count(*) FROM second.people"), "5");
        assert_eq!(database.ask("SELECT (SELECT count(*) FROM first.hygge_receipts), (SELECT count(*) FROM second.hygge_receipts)"), "0|1");
        // The same table by its whole name.
        let other = Sandbox::new(&config("second.people"));
        for name in ["a", "b"] {
            copy(
                &sandbox.path(&format!("home/{name}.parquet")),
                &other.path("home"),
            );
        }
        ids(&other, "home/c.parquet", 5, 6);
        built(&other);
        assert_eq!(database.ask("SELECT count(*) FROM second.people"), "6");
    }
}
