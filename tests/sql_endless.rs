//! SQLite ends what takes too long, whatever it is in the middle of: when it is told to, and when
//! its time is over.

use crate::common::databases::{Database, Kind};
use crate::common::sandbox::Sandbox;
use crate::sql_faults::wait_until;

/// Homes over a view without an end, each of which is looked at in another way before a row is
/// read, and one that is read.
const HOMES: [(&str, &str); 7] = [
    ("the types of a view", "table: endless"),
    ("the types of a query", "query: 'select x from endless'"),
    (
        "values that do not fit",
        "table: rows_without_end, on_mismatch: text",
    ),
    ("a probe", "table: rows_without_end, probe: {columns: [id]}"),
    (
        "a probe of slices",
        "table: rows_without_end, slice: {column: id, by: 10}, probe: {columns: [id]}",
    ),
    (
        "the newest row",
        "table: rows_without_end, watermark: {column: id}",
    ),
    (
        "a sort",
        "query: 'select id from rows_without_end order by id desc'",
    ),
];

fn database() -> Database {
    let database = Database::new(Kind::Sqlite);
    let numbers = "with recursive c(x) as (select 1 union all select x + 1 from c)";
    database.run(&format!(
        "create table t (id integer primary key); insert into t values (1), (2); \
         create view endless as {numbers} select x from c; \
         create view rows_without_end as {numbers} select t.id as id from c, t"
    ));
    database
}

fn project(database: &Database, home: &str, connection: &str, flow: &str) -> Sandbox {
    let mode = if home.contains("watermark") {
        ", mode: append"
    } else {
        ""
    };
    let config = database.config(&format!(
        "  a: {{home: {{connection: shop, {home}}}, store: out{mode}, retries: 0{flow}}}\n"
    ));
    Sandbox::new(&config.replace("url:", &format!("{connection}url:")))
}

#[test]
fn a_statement_ends_when_its_time_is_over() {
    let database = database();
    for (what, home) in HOMES {
        let sandbox = project(&database, home, "statement_timeout: 1s, ", "");
        for command in [
            ["build"].as_slice(),
            &["check"],
            &["build", "--dry-run"],
            &["why", "a"],
        ] {
            let ran = sandbox.run(command);
            // A plan that needs no answer asks for none.
            assert!(
                matches!(ran.code, 0 | 1),
                "{what}, {command:?}: {}",
                ran.text
            );
            let is_asked = command == ["build"] || command == ["check"] && what != "a sort";
            assert!(
                ran.code == 1 || !is_asked,
                "{what}, {command:?}: {}",
                ran.text
            );
            assert!(
                ran.code == 0 || ran.text.contains("it ran into statement_timeout"),
                "{what}, {command:?}: {}",
                ran.text
            );
        }
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn a_signal_ends_it() {
    let database = database();
    for (number, (what, home)) in HOMES.into_iter().enumerate() {
        let sandbox = project(&database, home, "", "");
        let running = sandbox.start(&[]);
        wait_until(what, || running.processor_time() > 30);
        running.signal(if number % 2 == 0 { "TERM" } else { "INT" });
        let ran = running.end();
        assert_eq!(ran.code, 130, "{what}: {}", ran.text);
    }
}

#[test]
fn a_flow_ends_when_its_time_is_over() {
    let database = database();
    for (what, home) in HOMES
        .into_iter()
        .filter(|(_, home)| !home.contains("probe") && !home.contains("watermark"))
    {
        let ran = project(&database, home, "", ", timeout: 1s").build(&[]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.text);
        assert!(
            ran.error()
                .contains("it took longer than its timeout of 1s"),
            "{what}: {}",
            ran.error()
        );
    }
}

/// A trigger of a table that is filled.
#[test]
fn a_load_ends_when_it_is_told_to() {
    let database = database();
    database.run(
        "create table full (id integer primary key); create table other (x); \
         create trigger without_end after insert on full begin \
         insert into other with recursive c(x) as (select 1 union all select x + 1 from c) select \
         count(*) from c; end",
    );
    let flows = "  a: {home: {connection: shop, table: t}, store: {connection: shop, table: full}, \
                 retries: 0}\n";
    let sandbox = database.project(flows);
    let running = sandbox.start(&[]);
    wait_until("the load", || running.processor_time() > 50);
    running.signal("TERM");
    let ran = running.end();
    assert_eq!(ran.code, 130, "{}", ran.text);
    sandbox.write(
        "hygge.yml",
        database
            .config(flows)
            .replace("url:", "statement_timeout: 1s, url:"),
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text.contains("it ran into statement_timeout"),
        "{}",
        ran.text
    );
    assert_eq!(database.ask("select count(*) from full"), "0");
}

/// What the schema of a file calls is whoever's who wrote the file.
#[test]
fn what_a_view_may_not_call_is_named() {
    let database = database();
    database.run(
        "create view innocent as select id, abs(id) as a from t; \
         create view loads as select load_extension('/tmp/x') as x, id from t; create view behind \
         as select id, x from loads",
    );
    for view in ["loads", "behind"] {
        let sandbox = project(&database, &format!("table: {view}"), "", "");
        for command in [["build"], ["check"]] {
            let ran = sandbox.run(&command);
            assert_eq!(ran.code, 1, "{}", ran.text);
            for word in [
                "unsafe use of load_extension()",
                "view loads",
                "does not trust",
            ] {
                assert!(ran.text.contains(word), "{view}: {}", ran.text);
            }
        }
    }
    let ran = project(&database, "table: innocent", "", "").build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    database.run(
        "create table full (id integer primary key); create trigger calls after insert on full \
         begin select load_extension('x'); end",
    );
    let ran = database
        .project(
            "  a: {home: {connection: shop, table: t}, store: {connection: shop, table: full}, \
             retries: 0}\n",
        )
        .build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    for word in [
        "unsafe use of load_extension()",
        "trigger calls",
        "does not trust",
    ] {
        assert!(ran.text.contains(word), "{}", ran.text);
    }
}
