//! What waits for a database ends: when it is told to, when its time is over, and where it would
//! wait for itself.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::databases::{Database, Kind, on_each_database, on_servers};
use crate::common::files::ints;
use crate::common::sandbox::Sandbox;
use crate::sql_faults::wait_until;

/// Far less than anything here waits for, and more than an end takes on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// A port that takes connections and says nothing; it counts them.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, seen) = (
        listener
            .local_addr()
            .expect("an address")
            .port()
            .to_string(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counted = seen.clone();
    std::thread::spawn(move || {
        let mut kept: Vec<TcpStream> = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::Relaxed);
            kept.push(client);
        }
    });
    (port, seen)
}

fn scheme(kind: Kind) -> &'static str {
    if kind == Kind::Postgres {
        "postgres"
    } else {
        "mysql"
    }
}

/// Every command that looks at a database, in a project that was built before.
const COMMANDS: [&[&str]; 6] = [
    &["build", "--format", "json"],
    &["build", "--dry-run"],
    &["check"],
    &["why", "a"],
    &["restore", "a"],
    &["clean", "--stores", "a"],
];

/// Tells a command to end once it waits, and has it end soon.
fn ends_when_told(sandbox: &Sandbox, command: &[&str], signal: &str, waits: impl Fn() -> bool) {
    let running = sandbox.begin(command);
    wait_until(&format!("the wait of {command:?}"), waits);
    running.signal(signal);
    let told = Instant::now();
    let ran = running.end();
    assert!(
        told.elapsed() < SOON,
        "{command:?} went on for {:?}: {}",
        told.elapsed(),
        ran.text
    );
    assert!(ran.code != 0, "{command:?}: {}", ran.text);
}

fn a_signal_ends_a_wait_for_a_silent_server(kind: Kind) {
    let (port, seen) = silent();
    for (number, flow) in [
        "home: home, store: {connection: shop, table: t}",
        "home: {connection: shop, table: t, probe: {columns: [a]}}, store: out",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: '{}://u@127.0.0.1:{port}/d', connect_timeout: 10m}}}}\n\
             flows:\n  a: {{{flow}}}\n",
            scheme(kind)
        ));
        ints(&sandbox, "home/a.parquet", 0..10);
        for command in COMMANDS {
            // Of a flow into files these ask nobody.
            if number == 1 && matches!(command[0], "restore" | "clean") {
                continue;
            }
            let before = seen.load(Ordering::Relaxed);
            ends_when_told(
                &sandbox,
                command,
                if number == 0 { "INT" } else { "TERM" },
                || seen.load(Ordering::Relaxed) > before,
            );
        }
    }
}

/// It is asked when all flows have been planned with and looked at.
fn a_signal_ends_a_check_of_a_connection_that_no_flow_uses(kind: Kind) {
    let (port, seen) = silent();
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: '{}://u@127.0.0.1:{port}/d', connect_timeout: 10m}}}}\nflows:\n  a: {{home: home, store: out}}\n",
        scheme(kind)
    ));
    ints(&sandbox, "home/a.parquet", 0..10);
    ends_when_told(&sandbox, &["check"], "INT", || {
        seen.load(Ordering::Relaxed) > 0
    });
}

/// Somebody has the table of receipts, or the file, for a long time.
fn a_signal_ends_a_wait_for_a_lock(kind: Kind) {
    let database = Database::new(kind);
    if kind == Kind::Sqlite {
        database.run("PRAGMA journal_mode = delete");
    }
    let sandbox =
        database.project("  a: {home: home, store: {connection: shop, table: numbers}}\n");
    ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    let holder = match kind {
        Kind::Postgres => database
            .hold("BEGIN; LOCK TABLE hygge_receipts, numbers IN ACCESS EXCLUSIVE MODE; SELECT 1"),
        Kind::MySql => database.hold("LOCK TABLES hygge_receipts WRITE, numbers WRITE"),
        Kind::Sqlite => database.hold("BEGIN EXCLUSIVE"),
    };
    let waiting = || {
        match kind {
        Kind::Postgres => database.ask("SELECT pid FROM pg_locks WHERE NOT granted \
                                        AND relation = 'hygge_receipts'::regclass"),
        Kind::MySql => database.ask("SELECT id FROM information_schema.processlist WHERE db = database() AND state LIKE 'Waiting for%'"),
        Kind::Sqlite => String::new(),
    }
    };
    for command in COMMANDS {
        ends_when_told(&sandbox, command, "INT", || {
            kind == Kind::Sqlite || !waiting().is_empty()
        });
        // Who is gone may still wait at the server.
        for session in waiting().lines() {
            match kind {
                Kind::Postgres => {
                    drop(database.ask(&format!("SELECT pg_terminate_backend({session})")))
                }
                _ => drop(database.try_run(&format!("KILL {session}"))),
            }
        }
        wait_until("the end of the wait", || waiting().is_empty());
    }
    holder.end();
    assert_eq!(sandbox.build(&[]).code, 0);
}

/// The clock of a flow counts while it is planned too.
fn a_flow_waits_no_longer_than_its_timeout(kind: Kind) {
    let database = Database::new(kind);
    database.run(
        "CREATE TABLE numbers (id integer PRIMARY KEY); INSERT INTO numbers VALUES (1); \
         CREATE TABLE free (id integer PRIMARY KEY)",
    );
    let home = |name: &str, table: &str, fields: &str| {
        format!(
            "  {name}: {{home: {{connection: shop, table: {table}, probe: {{columns: [id]}}}}, \
             store: {name}, retries: 0{fields}}}\n"
        )
    };
    let flows = home("a", "numbers", ", timeout: 1s") + &home("b", "free", "");
    let sandbox = database.project(&flows);
    assert_eq!(sandbox.build(&[]).code, 0);
    database.run("INSERT INTO free VALUES (1)");
    let holder = match kind {
        Kind::Postgres => {
            database.hold("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE; SELECT 1")
        }
        _ => database.hold("LOCK TABLES numbers WRITE"),
    };
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.outcome("a"), ran.outcome("b")),
        (1, "failed", "built"),
        "{}",
        ran.text
    );
    assert!(
        ran.error().contains("longer than its timeout of 1s"),
        "{}",
        ran.error()
    );
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1 && ran.text.contains("longer than its timeout of 1s"),
        "{}",
        ran.text
    );
    holder.end();
}

/// One failure to open a database is that of all flows at that moment.
fn a_dead_database_is_asked_once(kind: Kind) {
    let (port, seen) = silent();
    let flows: String = (0..40)
        .map(|n| {
            format!(
                "  s{n}: {{home: home, store: {{connection: shop, table: t{n}}}, retries: 0}}\n  \
                     h{n}: {{home: {{connection: shop, table: t, probe: {{columns: [a]}}}}, store: \
                     h{n}, retries: 0}}\n"
            )
        })
        .collect();
    let url = format!("{}://u@127.0.0.1:{port}/d", scheme(kind));
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: '{url}', connect_timeout: 1s, pool_size: 2}}}}\n\
         options: {{continue_on_error: true}}\nflows:\n{flows}"
    ));
    ints(&sandbox, "home/a.parquet", 0..10);
    let ran = sandbox.run(&["build", "--dry-run"]);
    assert!(
        ran.text.contains("it does not answer within 1s"),
        "{}",
        ran.text
    );
    assert!(
        seen.load(Ordering::Relaxed) <= 20,
        "{} of 80 flows asked",
        seen.load(Ordering::Relaxed)
    );
}

/// A limit beyond what the server takes is the longest that it takes.
fn a_long_limit_is_one(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)");
    for limit in ["25d", "30d", "365d"] {
        let flows = "  a: {home: {connection: shop, table: t}, store: {connection: shop, table: \
                     copy}, retries: 0}\n";
        let sandbox = Sandbox::new(
            &database
                .config(flows)
                .replace("url:", &format!("statement_timeout: {limit}, url:")),
        );
        let ran = sandbox.build(&["--force"]);
        assert_eq!(ran.code, 0, "{limit}: {}", ran.text);
    }
}

on_each_database!(a_signal_ends_a_wait_for_a_lock, a_long_limit_is_one);

mod servers {
    use super::*;
    on_servers!(
        a_signal_ends_a_wait_for_a_silent_server,
        a_signal_ends_a_check_of_a_connection_that_no_flow_uses,
        a_flow_waits_no_longer_than_its_timeout,
        a_dead_database_is_asked_once
    );
}

mod poolers {
    mod postgres {
        use super::super::*;

        /// A table that waits for a job keeps no transaction that a server would end.
        #[test]
        fn a_table_that_waits_for_a_job_is_not_open() {
            let database = Database::new(Kind::Postgres);
            database.run(
                "CREATE TABLE t (id integer PRIMARY KEY); \
                 INSERT INTO t SELECT generate_series(1, 10); \
                 DO $$ BEGIN EXECUTE format('ALTER DATABASE %I \
                 SET idle_in_transaction_session_timeout = ''1s''', current_database()); END $$",
            );
            let flows: String = (0..4)
                .map(|n| {
                    format!(
                        "  a{n}: {{home: {{connection: shop, query: 'select id, \
                         pg_sleep(0.1)::text as s from t'}}, store: a{n}, retries: 0}}\n"
                    )
                })
                .collect();
            let ran = database.project(&flows).build(&["-j", "1"]);
            assert_eq!(ran.code, 0, "{}", ran.text);
        }

        /// Who ends a session in the middle of a COPY says why.
        #[test]
        fn the_cause_of_an_ended_copy_is_told() {
            let database = Database::new(Kind::Postgres);
            let end = "EXECUTE format('SELECT pg_terminate_backend(%s)', pg_backend_pid())";
            database.run(&format!(
                "CREATE FUNCTION ended(i integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN IF \
                 i > 50000 THEN {end}; END IF; RETURN i; END $$; \
                 CREATE FUNCTION ending() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.id > \
                 50000 THEN {end}; END IF; RETURN new; END $$; \
                 CREATE TABLE t (id bigint); CREATE TRIGGER t BEFORE INSERT \
                 ON t FOR EACH ROW EXECUTE FUNCTION ending()"
            ));
            let sandbox = database.project(
                "  a: {home: {connection: shop, query: 'select ended(i) as i from \
                   generate_series(1, 100000) as i'}, store: out, retries: 0}\n  \
                   b: {home: home, store: {connection: shop, table: t}, retries: 0}\n",
            );
            ints(&sandbox, "home/a.parquet", 0..3_000_000);
            for flow in ["a", "b"] {
                let ran = sandbox.build(&[flow]);
                assert_eq!(ran.code, 1, "{}", ran.text);
                assert!(
                    ran.error().contains(
                        "terminating connection due to administrator command (code 57P01)"
                    ),
                    "{}",
                    ran.error()
                );
            }
            assert!(!sandbox.path("out").exists());
        }
    }
}
