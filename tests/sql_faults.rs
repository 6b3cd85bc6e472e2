//! What may go wrong between a database and a file: nothing is lost, nothing is published by half,
//! nothing goes on at the server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::databases::{Database, Kind, Server, on_servers};
use crate::common::files::ints;
use crate::common::peers;
use crate::common::sandbox::Sandbox;

/// How long a state may be waited for before the test fails.
const LONGEST: Duration = Duration::from_secs(60);

/// A flow of this home, with these fields.
fn flow(home: &str, fields: &str) -> String {
    format!("  a: {{home: {{connection: shop, {home}}}, store: out{fields}}}\n")
}

/// Rows that come slowly as long as the table `knob` says so.
fn slow(database: &Database) {
    database.run("CREATE TABLE knob (pause numeric(5,3)); INSERT INTO knob VALUES (0.05)");
    database.run("CREATE TABLE numbers (id integer PRIMARY KEY)");
    let rows: Vec<String> = (0..2000).map(|id| format!("({id})")).collect();
    database.run(&format!("INSERT INTO numbers VALUES {}", rows.join(", ")));
    match database.kind {
        // A function may see what was written since the snapshot was taken.
        Kind::Postgres => database.run(
            "CREATE FUNCTION pause() RETURNS int VOLATILE LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep((SELECT pause FROM knob)); RETURN 1; END $$",
        ),
        Kind::MySql | Kind::Sqlite => {}
    }
}

fn slow_home(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "query: 'select id, pause() as pause from numbers order by id'",
        _ => {
            "query: 'select id, sleep((select pause from knob)) as pause from numbers order by id'"
        }
    }
}

/// The numbers of sessions of hygge that are in the slow query.
fn queries(database: &Database) -> Vec<String> {
    let asked = match database.kind {
        Kind::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'hygge' AND state = 'active'"
        }
        _ => {
            "SELECT id FROM information_schema.processlist WHERE db = database() \
             AND info LIKE '%sleep((select%' AND id <> connection_id()"
        }
    };
    database.ask(asked).lines().map(String::from).collect()
}

pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONGEST, "{what} did not happen");
        // Nobody tells of it: it is a server that is looked at.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn whole(sandbox: &Sandbox) {
    let found = peers::rows(&sandbox.path("out")).lines();
    let wanted: Vec<String> = (0..2000).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = found
        .iter()
        .map(|line| line.split('|').next().unwrap_or_default())
        .collect();
    assert_eq!(ids, wanted, "every row is there once");
}

fn a_query_is_gone_after_an_interruption(kind: Kind) {
    let database = Database::new(kind);
    slow(&database);
    let sandbox = database.project(&flow(slow_home(kind), ""));
    let running = sandbox.start(&[]);
    wait_until("the query", || !queries(&database).is_empty());
    running.signal("INT");
    let ran = running.end();
    assert_eq!(ran.code, 130, "{}", ran.text);
    assert_eq!(
        queries(&database),
        Vec::<String>::new(),
        "it was ended before the process ended"
    );
    assert!(!sandbox.path("out").exists());
}

fn a_killed_session_is_tried_again(kind: Kind) {
    let database = Database::new(kind);
    slow(&database);
    let sandbox = database.project(&flow(slow_home(kind), ""));
    let running = sandbox.start(&[]);
    wait_until("the query", || !queries(&database).is_empty());
    let session = queries(&database).remove(0);
    database.run("UPDATE knob SET pause = 0");
    match kind {
        Kind::Postgres => drop(database.ask(&format!("SELECT pg_terminate_backend({session})"))),
        _ => database.run(&format!("KILL CONNECTION {session}")),
    }
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(ran.event("flow_retrying")["flow"], "a");
    whole(&sandbox);
}

fn a_flow_without_retries_fails_and_publishes_nothing(kind: Kind) {
    let database = Database::new(kind);
    slow(&database);
    let sandbox = database.project(&flow(slow_home(kind), ", retries: 0"));
    let running = sandbox.start(&[]);
    wait_until("the query", || !queries(&database).is_empty());
    let session = queries(&database).remove(0);
    match kind {
        Kind::Postgres => drop(database.ask(&format!("SELECT pg_terminate_backend({session})"))),
        _ => database.run(&format!("KILL CONNECTION {session}")),
    }
    let ran = running.end();
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error()
            .starts_with("connection shop failed to read its rows: "),
        "{}",
        ran.error()
    );
    assert!(!sandbox.path("out").exists());
}

fn a_restarted_server_is_waited_for(kind: Kind) {
    let server = Server::start(kind);
    let database = server.database();
    slow(&database);
    let sandbox = database.project(&flow(slow_home(kind), ", retries: 10"));
    outlives_a_restart(&server, &database, &sandbox, &[]);
}

/// Builds while the server goes and comes back in the middle of a query.
fn outlives_a_restart(server: &Server, database: &Database, sandbox: &Sandbox, arguments: &[&str]) {
    let running = sandbox.start(arguments);
    wait_until("the query", || !queries(database).is_empty());
    database.run("UPDATE knob SET pause = 0");
    server.stop();
    server.start_again();
    let ran = running.end();
    assert_eq!(ran.code, 0, "{}", ran.text);
    whole(sandbox);
}

fn a_cut_connection_loses_and_doubles_nothing(kind: Kind) {
    let database = Database::new(kind);
    slow(&database);
    database.run("UPDATE knob SET pause = 0");
    for after in [1, 100, 700, 1500, 3000, 9000, 20_000, 40_000] {
        let proxy = Proxy::new(database.port(), after);
        let user = if kind == Kind::Postgres {
            "postgres"
        } else {
            "root"
        };
        let config = database.config(&flow(
            "table: numbers, slice: {column: id, by: 500}, probe: {columns: [id]}",
            ", retries: 5",
        ));
        let sandbox =
            Sandbox::new(&config.replace(&database.url(), &database.url_of(user, &proxy.port)));
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "cut after {after} bytes: {}", ran.text);
        whole(&sandbox);
        assert!(
            proxy.cuts.load(Ordering::Relaxed) > 0 || after > 20_000,
            "cut after {after} bytes"
        );
    }
}

fn a_slow_statement_ends_in_time(kind: Kind) {
    let database = Database::new(kind);
    slow(&database);
    let config = database
        .config(&flow(slow_home(kind), ", retries: 0"))
        .replace("url:", "statement_timeout: 1s, url:");
    let sandbox = Sandbox::new(&config);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text
            .contains("it ran into statement_timeout of its connection"),
        "{}",
        ran.text
    );
    wait_until("the end of the query", || queries(&database).is_empty());
}

fn a_locked_table_is_waited_for(kind: Kind) {
    let database = Arc::new(Database::new(kind));
    slow(&database);
    let sandbox = database.project(&flow("table: numbers", ""));
    let holder = {
        let database = database.clone();
        std::thread::spawn(move || match kind {
            Kind::Postgres => database.run(
                "BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2); COMMIT",
            ),
            _ => database.run("LOCK TABLES numbers WRITE; SELECT SLEEP(2); UNLOCK TABLES"),
        })
    };
    wait_until("the lock", || is_locked(&database));
    let ran = sandbox.build(&[]);
    holder.join().expect("the lock's holder");
    assert_eq!(ran.code, 0, "{}", ran.text);
    whole(&sandbox);
}

fn a_wrong_password_is_not_shown(kind: Kind) {
    let database = Database::new(kind);
    let name = format!("keyed_{}", std::process::id());
    let user = match kind {
        Kind::Postgres => {
            database.run("DROP ROLE IF EXISTS keyed; CREATE ROLE keyed LOGIN PASSWORD 'right'");
            "keyed"
        }
        _ => {
            database.run(&format!(
                "CREATE OR REPLACE USER {name}@'127.0.0.1' IDENTIFIED BY 'right'"
            ));
            &name
        }
    };
    let config = database.config(&flow("table: t", ""));
    let sandbox = Sandbox::new(&config.replace(
        &database.url(),
        &database.url_of(&format!("{user}:hunter2"), database.port()),
    ));
    for command in [
        ["build"].as_slice(),
        &["build", "--format", "json"],
        &["check"],
    ] {
        let ran = sandbox.run(command);
        assert_eq!(ran.code, 1, "{}", ran.text);
        assert!(
            !ran.text.contains("hunter2") && !ran.text.contains(user),
            "{}",
            ran.text
        );
        assert!(
            !ran.text.contains("retrying") && !ran.text.contains("tried again"),
            "it would not pass: {}",
            ran.text
        );
    }
}

/// A server that takes connections and says nothing.
fn a_silent_server_is_not_waited_for_long(kind: Kind) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let scheme = if kind == Kind::Postgres {
        "postgres"
    } else {
        "mysql"
    };
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: '{scheme}://u@127.0.0.1:{port}/d', connect_timeout: 1s}}}}\n\
         flows:\n{}",
        flow("table: t", ", retries: 0")
    ));
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error()
            .contains("connection shop failed to open a session: it does not answer within 1s"),
        "{}",
        ran.error()
    );
}

/// What a server says may pass or not, and each flow has one more try.
fn what_may_pass_is_tried_again(kind: Kind) {
    let database = Database::new(kind);
    let (passing, staying) = match kind {
        Kind::Postgres => {
            database.run(
                "CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = code; RETURN 1; END $$",
            );
            let passing: &[&str] = &[
                "08006", "25P03", "26000", "40001", "40003", "40P01", "53300", "55P03", "57P01",
                "57P02", "57P03", "57P05", "72000",
            ];
            (passing, ["22012", "42501"])
        }
        _ => {
            database.run(
                "DELIMITER //\nCREATE FUNCTION fail(code int) RETURNS int BEGIN \
                 SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = code, MESSAGE_TEXT = 'no'; RETURN 1; \
                 END //",
            );
            let passing: &[&str] = &[
                "1020", "1040", "1203", "1205", "1213", "1226", "1412", "1614", "1637", "1927",
                "2006", "2013", "3169", "4031",
            ];
            (passing, ["1365", "1142"])
        }
    };
    let flow = |code: &&str| {
        format!(
            "  f{code}: {{home: {{connection: shop, query: \"select fail('{code}') as f\"}}, \
             store: out/f{code}, retries: 1}}\n"
        )
    };
    let ran = database
        .project(&passing.iter().chain(&staying).map(flow).collect::<String>())
        .build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    for code in passing.iter().chain(&staying) {
        let of_flow = |event: &str| {
            ran.events
                .iter()
                .filter(|told| told["event"] == event && told["flow"] == format!("f{code}"))
                .count()
        };
        assert_eq!(
            (of_flow("flow_retrying"), of_flow("flow_finished")),
            (usize::from(passing.contains(code)), 1),
            "{code}: {}",
            ran.text
        );
    }
}

/// Sessions that died while nobody used them are no failure of the flows that would have had them.
fn sessions_that_died_unused_cost_no_retry(kind: Kind) {
    let (server, database, killing) = match kind {
        Kind::Postgres => {
            let killing = "select count(pg_terminate_backend(pid)) as n from pg_stat_activity \
                           where application_name = ''hygge'' \
                           and datname = current_database() and pid <> pg_backend_pid() and state \
                           = ''idle''";
            (None, Database::new(kind), killing)
        }
        _ => {
            let server = Server::with_options(kind, &["--wait-timeout=1"]);
            let database = server.database();
            (Some(server), database, "select sleep(3) as n")
        }
    };
    database.run("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)");
    let flow = |name: &str, needs: &str| {
        format!(
            "  {name}: {{home: {{connection: shop, table: t}}, needs: [{needs}], store: {name}, \
             retries: 0}}\n"
        )
    };
    let flows = [
        flow("a", ""),
        flow("b", ""),
        flow("c", ""),
        flow("e", "d"),
        flow("f", "d"),
        flow("g", "d"),
    ]
    .concat();
    let killer = format!(
        "  d: {{home: {{connection: shop, query: '{killing}'}}, needs: [a, b, c], store: d, \
         retries: 0}}\n"
    );
    let ran = database.project(&(flows + &killer)).build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    drop(server);
}

/// Flows that had no session when the server went do not fail for it.
fn a_restart_fails_only_who_had_a_session(kind: Kind) {
    let server = Server::start(kind);
    let database = server.database();
    slow(&database);
    let others: String = (0..4)
        .map(|n| {
            format!(
                "  b{n}: {{home: {{connection: shop, table: numbers}}, store: b{n}, retries: 0}}\n"
            )
        })
        .collect();
    let flows = flow(slow_home(kind), ", retries: 9") + &others;
    let sandbox = Sandbox::new(
        &database
            .config(&flows)
            .replace("url:", "pool_size: 1, connect_timeout: 60s, url:"),
    );
    outlives_a_restart(&server, &database, &sandbox, &["-j", "8"]);
}

/// True where somebody has the table `numbers` locked.
fn is_locked(database: &Database) -> bool {
    let asked = match database.kind {
        Kind::Postgres => {
            "SELECT count(*) FROM pg_locks WHERE mode IN ('AccessExclusiveLock', 'ExclusiveLock') \
             AND granted AND relation = 'numbers'::regclass"
        }
        _ => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() \
             AND info LIKE 'SELECT SLEEP(%'"
        }
    };
    database.ask(asked) != "0"
}

/// A project that loads files into the table `numbers`, which is locked by another for a while.
fn with_a_locked_store(
    kind: Kind,
    test: impl FnOnce(&Sandbox, &Database, &dyn Fn() -> Vec<String>),
) {
    let database = Arc::new(Database::new(kind));
    let sandbox = database.project(
        "  a: {home: home, store: {connection: shop, table: numbers}, mode: append, retries: 9}\n",
    );
    ints(&sandbox, "home/a.parquet", 0..1000);
    assert_eq!(sandbox.build(&[]).code, 0);
    ints(&sandbox, "home/b.parquet", 1000..2000);
    let holder = {
        let database = database.clone();
        std::thread::spawn(move || match kind {
            Kind::Postgres => database
                .run("BEGIN; LOCK TABLE numbers IN EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT"),
            _ => database.run("LOCK TABLES numbers READ; SELECT SLEEP(3); UNLOCK TABLES"),
        })
    };
    wait_until("the lock", || is_locked(&database));
    let waiting = || {
        let asked = match kind {
            Kind::Postgres => {
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE 'COPY%'"
            }
            _ => {
                "SELECT id FROM information_schema.processlist WHERE db = database() \
                 AND info LIKE 'INSERT INTO%' AND id <> connection_id()"
            }
        };
        database
            .ask(asked)
            .lines()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    test(&sandbox, &database, &waiting);
    holder.join().expect("the lock's holder");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(
        database.ask("SELECT count(*), count(DISTINCT id) FROM numbers"),
        "2000|2000",
        "every row is there once"
    );
}

fn an_interrupted_load_ends_at_the_server(kind: Kind) {
    with_a_locked_store(kind, |sandbox, database, waiting| {
        let running = sandbox.start(&[]);
        wait_until("the load", || !waiting().is_empty());
        running.signal("INT");
        let ran = running.end();
        assert_eq!(ran.code, 130, "{}", ran.text);
        wait_until("the end of the load", || waiting().is_empty());
        assert_eq!(database.ask("SELECT count(*) FROM numbers"), "1000");
    });
}

fn a_load_whose_session_is_killed_is_tried_again(kind: Kind) {
    with_a_locked_store(kind, |sandbox, database, waiting| {
        let running = sandbox.start(&[]);
        wait_until("the load", || !waiting().is_empty());
        let session = waiting().remove(0);
        match kind {
            Kind::Postgres => {
                drop(database.ask(&format!("SELECT pg_terminate_backend({session})")))
            }
            _ => database.run(&format!("KILL CONNECTION {session}")),
        }
        let ran = running.end();
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert_eq!(ran.event("flow_retrying")["flow"], "a");
    });
}

/// A process that dies at any moment, also between the commit and its own record of it, has loaded
/// each part once or not at all.
fn a_build_that_is_killed_loads_nothing_twice(kind: Kind) {
    let database = Database::new(kind);
    let sandbox = database
        .project("  a: {home: home, store: {connection: shop, table: numbers}, mode: append}\n");
    for number in 0..12 {
        ints(
            &sandbox,
            &format!("home/{number:02}.parquet"),
            number * 500..(number + 1) * 500,
        );
        let running = sandbox.start(&[]);
        // It dies at any moment, whatever it is at.
        std::thread::sleep(Duration::from_millis(
            u64::try_from(number).expect("a number") * 12,
        ));
        running.signal("KILL");
        running.end();
    }
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(
        database.ask("SELECT count(*), count(DISTINCT id) FROM numbers"),
        "6000|6000"
    );
}

on_servers!(
    a_query_is_gone_after_an_interruption,
    a_killed_session_is_tried_again,
    what_may_pass_is_tried_again,
    sessions_that_died_unused_cost_no_retry,
    a_restart_fails_only_who_had_a_session,
    a_flow_without_retries_fails_and_publishes_nothing,
    a_restarted_server_is_waited_for,
    a_cut_connection_loses_and_doubles_nothing,
    a_slow_statement_ends_in_time,
    a_locked_table_is_waited_for,
    a_wrong_password_is_not_shown,
    a_silent_server_is_not_waited_for_long,
    an_interrupted_load_ends_at_the_server,
    a_load_whose_session_is_killed_is_tried_again,
    a_build_that_is_killed_loads_nothing_twice,
);

/// Passes bytes on between a client and a server, and cuts the connection in which so many have
/// come from the server; later connections pass.
struct Proxy {
    port: String,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    fn new(to: &str, after: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener
            .local_addr()
            .expect("an address")
            .port()
            .to_string();
        let (to, cuts) = (format!("127.0.0.1:{to}"), Arc::new(AtomicUsize::new(0)));
        let (left, counted) = (Arc::new(AtomicI64::new(after)), cuts.clone());
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(&to) else {
                    continue;
                };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone())
                else {
                    continue;
                };
                std::thread::spawn(move || pass(from_client, to_server, None));
                let (left, cuts) = (left.clone(), counted.clone());
                std::thread::spawn(move || pass(server, client, Some((&left, &cuts))));
            }
        });
        Self { port, cuts }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: Option<(&AtomicI64, &AtomicUsize)>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut length = read;
        if let Some((left, cuts)) = cut {
            let before = left.fetch_sub(i64::try_from(read).expect("a length"), Ordering::Relaxed);
            if before > 0 && before <= i64::try_from(read).expect("a length") {
                length = usize::try_from(before).expect("a length");
                cuts.fetch_add(1, Ordering::Relaxed);
                drop(to.write_all(&buffer[..length - 1]));
                break;
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(from.shutdown(std::net::Shutdown::Both));
    drop(to.shutdown(std::net::Shutdown::Both));
}
