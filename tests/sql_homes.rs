//! Homes in databases: the same for all kinds of them.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox, built};

on_each_database!(
    a_table_that_is_nearly_called_so_is_proposed,
    a_table_arrives_in_the_order_of_its_key,
    names_need_not_be_tame,
    a_probe_says_what_is_fresh,
    a_late_commit_with_an_older_value_shows,
    only_slices_that_changed_are_read,
    a_slice_of_rows_without_a_value_is_read_too,
    keys_are_sliced_by_fixed_multiples,
    queries_columns_and_conditions,
    an_empty_table_has_its_columns,
    another_column_makes_it_stale,
    without_a_probe_it_is_read_each_time,
    a_probe_of_time_and_one_of_a_query,
    what_is_not_there_is_named,
    a_rebuild_from_nothing_gives_the_same_bytes,
    invalid_dates_fail_by_their_row_or_are_null,
    a_check_and_a_dry_run_say_what_is_to_be_known,
    parts_end_where_they_are_told,
    flows_share_the_sessions_of_a_connection,
    two_columns_of_one_name_are_refused,
);

/// A table of so many rows with a key, a text and a day in each month of a year.
fn orders(database: &Database, rows: u32) {
    database.run("CREATE TABLE orders (id integer PRIMARY KEY, name varchar(40), at date)");
    add(database, 1, rows);
}

fn add(database: &Database, from: u32, to: u32) {
    let rows: Vec<String> = (from..=to)
        .map(|id| format!("({id}, 'name {id}', '2024-{:02}-15')", id % 12 + 1))
        .collect();
    database.run(&format!("INSERT INTO orders VALUES {}", rows.join(", ")));
}

/// How a flow ended; one that is fresh from the beginning is not spoken of.
fn outcome<'r>(ran: &'r CommandOutput, flow: &str) -> &'r str {
    match ran.outcome(flow) {
        "none" => "fresh",
        ended => ended,
    }
}

fn made(ran: &CommandOutput) -> (u64, u64) {
    let ended = ran.event("flow_finished");
    (
        ended["parts_made"].as_u64().unwrap_or(0),
        ended["parts_kept"].as_u64().unwrap_or(0),
    )
}

fn lines(sandbox: &Sandbox, store: &str) -> Vec<String> {
    peers::rows(&sandbox.path(store)).lines()
}

fn a_table_arrives_in_the_order_of_its_key(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE orders (id integer PRIMARY KEY, name varchar(40))");
    database.run("INSERT INTO orders VALUES (3, 'c'), (1, 'a'), (2, NULL)");
    let sandbox = database.project("  a: {home: {connection: shop, table: orders}, store: out}\n");
    built(&sandbox);
    let found = peers::rows(&sandbox.path("out"));
    let id = if kind == Kind::Sqlite {
        "int64"
    } else {
        "int32"
    };
    assert_eq!(
        found.schema,
        [format!("id: {id} not null"), "name: string".into()]
    );
    assert_eq!(found.lines(), ["1|a", "2|", "3|c"]);
}

fn names_need_not_be_tame(kind: Kind) {
    let database = Database::new(kind);
    let table = database.quoted("we\"ird; drop table x");
    let column = database.quoted("a `b` \"c\" 'd' --");
    database.run(&format!(
        "CREATE TABLE x (id integer); CREATE TABLE {table} (id integer PRIMARY KEY, {column} \
         varchar(9))"
    ));
    database.run(&format!("INSERT INTO {table} VALUES (1, 'it''s')"));
    let sandbox = database.project(
        "  a:\n    home: {connection: shop, table: 'we\"ird; drop table x', probe: {columns: [\"a \
         `b` \\\"c\\\" 'd' --\"]}}\n    store: out\n",
    );
    built(&sandbox);
    let found = peers::rows(&sandbox.path("out"));
    assert_eq!(found.schema[1], "a `b` \"c\" 'd' --: string");
    assert_eq!(found.lines(), ["1|it's"]);
    assert_eq!(database.ask("SELECT count(*) FROM x"), "0");
    assert_eq!(outcome(&built(&sandbox), "a"), "fresh");
}

fn a_probe_says_what_is_fresh(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 50);
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {columns: [name]}}, store: out}\n",
    );
    built(&sandbox);
    let again = sandbox.run(&["build"]);
    assert_eq!(
        (again.code, again.text.trim()),
        (0, "hygge: nothing to do, 1 flow is fresh")
    );
    database.run("UPDATE orders SET name = 'other' WHERE id = 7");
    let ran = built(&sandbox);
    assert_eq!(outcome(&ran, "a"), "built");
    assert!(lines(&sandbox, "out").contains(&"7|other|2024-08-15".to_string()));
    assert_eq!(outcome(&built(&sandbox), "a"), "fresh");
    database.run("DELETE FROM orders WHERE id = 7");
    assert_eq!(outcome(&built(&sandbox), "a"), "built");
    assert_eq!(lines(&sandbox, "out").len(), 49);
}

fn a_late_commit_with_an_older_value_shows(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 5);
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {columns: [at]}}, store: out}\n",
    );
    built(&sandbox);
    // The number of rows and the largest value stay as they are.
    database.run(
        "DELETE FROM orders WHERE id = 1; INSERT INTO orders VALUES (6, 'late', '2023-01-01')",
    );
    assert_eq!(outcome(&built(&sandbox), "a"), "built");
    assert!(lines(&sandbox, "out").contains(&"6|late|2023-01-01".to_string()));
}

fn only_slices_that_changed_are_read(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 60);
    let sandbox = database.project(
        "  a:\n    home: {connection: shop, table: orders, probe: {columns: [name]}, slice: \
         {column: at, by: month}}\n    store: out\n",
    );
    assert_eq!(made(&built(&sandbox)), (12, 0));
    assert_eq!(lines(&sandbox, "out").len(), 60);
    database.run("UPDATE orders SET name = 'other' WHERE id = 7");
    assert_eq!(made(&built(&sandbox)), (1, 11));
    database.run("INSERT INTO orders VALUES (100, 'next year', '2025-03-01')");
    assert_eq!(made(&built(&sandbox)), (1, 12));
    database.run("DELETE FROM orders WHERE at < '2024-02-01'");
    let ran = built(&sandbox);
    assert_eq!(made(&ran), (0, 12), "{}", ran.text);
    let reasons = &ran.event("flow_started")["reasons"];
    assert_eq!(
        (&reasons[0]["kind"], &reasons[0]["name"]),
        (&"input_removed".into(), &"2024-01".into())
    );
    let wanted = database.ask("SELECT id, name, at FROM orders ORDER BY id");
    let mut found = lines(&sandbox, "out");
    found.sort_by_key(|line| line.split('|').next().and_then(|id| id.parse::<u32>().ok()));
    assert_eq!(found, wanted.lines().collect::<Vec<_>>());
}

fn a_slice_of_rows_without_a_value_is_read_too(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 12);
    database.run("INSERT INTO orders VALUES (13, 'none', NULL)");
    for probe in ["probe: {columns: [id]}", "probe: {every: 100d}"] {
        let sandbox = database.project(&format!(
            "  a:\n    home: {{connection: shop, table: orders, slice: {{column: at, by: year}}, \
             {probe}}}\n    store: out\n"
        ));
        assert_eq!(made(&built(&sandbox)), (2, 0));
        assert_eq!(lines(&sandbox, "out").last().expect("a row"), "13|none|");
        assert_eq!(lines(&sandbox, "out").len(), 13);
        assert_eq!(outcome(&built(&sandbox), "a"), "fresh");
    }
}

fn keys_are_sliced_by_fixed_multiples(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 25);
    database.run("INSERT INTO orders VALUES (-3, 'below zero', '2024-01-01')");
    let sandbox = database.project(
        "  a:\n    home: {connection: shop, table: orders, probe: {columns: [name]}, slice: \
         {column: id, by: 10}}\n    store: out\n",
    );
    assert_eq!(made(&built(&sandbox)), (4, 0));
    database.run("DELETE FROM orders WHERE id IN (1, 2)");
    // A range from the smallest to the largest would have moved all slices.
    assert_eq!(made(&built(&sandbox)), (1, 3));
    let found = lines(&sandbox, "out");
    assert_eq!(
        (found.len(), found[0].as_str()),
        (24, "-3|below zero|2024-01-01")
    );
    assert_eq!(outcome(&built(&sandbox), "a"), "fresh");
}

fn queries_columns_and_conditions(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 30);
    let sandbox = database.project(
        "  a: {home: {connection: shop, query: 'select name, id as number from orders where id > \
           27 -- the last ones', probe: {columns: [name]}}, store: a}\n  \
           b: {home: {connection: shop, table: orders, columns: [at, id], where: 'id <= 2 -- the \
           first', probe: {columns: [name]}}, store: b}\n",
    );
    built(&sandbox);
    let mut found = lines(&sandbox, "a");
    found.sort();
    assert_eq!(found, ["name 28|28", "name 29|29", "name 30|30"]);
    assert_eq!(lines(&sandbox, "b"), ["2024-02-15|1", "2024-03-15|2"]);
    database.run("UPDATE orders SET name = 'x' WHERE id = 15");
    let ran = built(&sandbox);
    assert_eq!(
        (outcome(&ran, "a"), outcome(&ran, "b")),
        ("fresh", "fresh"),
        "nothing that they read has changed"
    );
}

fn an_empty_table_has_its_columns(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 1);
    database.run("DELETE FROM orders");
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {columns: [id]}}, store: a}\n  \
           b: {home: {connection: shop, table: orders, probe: {columns: [id]}, slice: {column: at, \
           by: month}}, store: b}\n",
    );
    built(&sandbox);
    for store in ["a", "b"] {
        let found = peers::rows(&sandbox.path(store));
        assert_eq!((found.schema.len(), found.rows.len()), (3, 0));
    }
    assert_eq!(outcome(&built(&sandbox), "b"), "fresh");
    add(&database, 1, 1);
    built(&sandbox);
    assert_eq!(lines(&sandbox, "b"), ["1|name 1|2024-02-15"]);
}

fn another_column_makes_it_stale(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 3);
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {columns: [id]}}, store: out}\n",
    );
    built(&sandbox);
    database.run("ALTER TABLE orders ADD COLUMN paid integer");
    let ran = built(&sandbox);
    assert_eq!(ran.event("flow_started")["reasons"][0]["kind"], "schema");
    assert_eq!(lines(&sandbox, "out")[0], "1|name 1|2024-02-15|");
}

fn without_a_probe_it_is_read_each_time(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 3);
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders}, store: out}\n  \
         b: {home: {flow: a}, store: b}\n",
    );
    built(&sandbox);
    let again = built(&sandbox);
    if kind == Kind::Sqlite {
        // A file that changed just now could change once more and look the same. Who wrote it last
        // has left its log.
        assert!(
            database
                .file()
                .with_extension("db-wal")
                .metadata()
                .is_ok_and(|log| log.len() > 0)
        );
        let ages = (0..1000).any(|_| outcome(&built(&sandbox), "a") == "fresh");
        return assert!(ages, "how the file looks says enough");
    }
    assert_eq!(
        again.event("flow_started")["reasons"][0]["kind"],
        "no_probe"
    );
    assert_eq!(outcome(&again, "a"), "built");
    assert_eq!(outcome(&again, "b"), "fresh", "equal bytes stop there");
    let plan = sandbox.run(&["build", "--dry-run"]);
    assert!(
        plan.text
            .contains("add probe: {columns: [...]} to its home"),
        "{}",
        plan.text
    );
}

fn a_probe_of_time_and_one_of_a_query(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 3);
    database.run("CREATE TABLE changes (version integer); INSERT INTO changes VALUES (1)");
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {every: 100d}}, store: a}\n  \
           b: {home: {connection: shop, table: orders, probe: {query: 'select version from \
           changes'}}, store: b}\n",
    );
    built(&sandbox);
    database.run("UPDATE orders SET name = 'x'");
    let ran = built(&sandbox);
    assert_eq!((outcome(&ran, "a"), outcome(&ran, "b")), ("fresh", "fresh"));
    database.run("UPDATE changes SET version = 2");
    let ran = built(&sandbox);
    assert_eq!((outcome(&ran, "a"), outcome(&ran, "b")), ("fresh", "built"));
    assert_eq!(ran.event("flow_started")["reasons"][0]["kind"], "probe");
    assert_eq!(lines(&sandbox, "b")[0], "1|x|2024-02-15");
}

fn what_is_not_there_is_named(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 3);
    let cases = [
        ("table: ordres", "has no table ordres"),
        (
            "table: orders, columns: [id, nmae]",
            "orders has no column nmae",
        ),
        (
            "table: orders, probe: {columns: [changed]}",
            "orders has no column changed",
        ),
        (
            "table: orders, slice: {column: day, by: month}",
            "orders has no column day",
        ),
        (
            "table: orders, slice: {column: name, by: month}",
            "has no slices by month",
        ),
        (
            "table: orders, types: {nmae: text}",
            "orders has no column nmae",
        ),
        ("table: orders, columns: [ID]", "did you mean id?"),
        ("table: orders, types: {Name: text}", "did you mean name?"),
        (
            "table: orders, slice: {column: AT, by: month}",
            "did you mean at?",
        ),
        ("table: orders, probe: {columns: [Id]}", "did you mean id?"),
        (
            "table: orders, watermark: {column: at, primary_key: [ID]}}, mode: append, options: \
             {retries: 0",
            "did you mean id?",
        ),
        ("table: orders, where: 'nothing = 1'", "nothing"),
        ("query: 'selekt 1'", "selekt"),
        (
            "table: orders, types: {name: int64}",
            if kind == Kind::Sqlite {
                ""
            } else {
                "cannot arrive as int64"
            },
        ),
    ];
    for (home, wanted) in cases {
        let sandbox = database.project(&format!(
            "  a: {{home: {{connection: shop, {home}}}, store: out}}\n"
        ));
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 1, "{home}: {}", ran.text);
        let said = format!(
            "{}; {}",
            ran.error(),
            ran.event("flow_finished")["hint"]
                .as_str()
                .unwrap_or_default()
        );
        assert!(said.contains(wanted), "{home}: {said}");
        assert!(!sandbox.path("out").exists());
    }
}

fn a_rebuild_from_nothing_gives_the_same_bytes(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 500);
    for home in [
        "probe: {columns: [name]}",
        "probe: {columns: [name]}, batch_size: 7",
        "slice: {column: id, by: 100}",
    ] {
        let config =
            format!("  a: {{home: {{connection: shop, table: orders, {home}}}, store: out}}\n");
        let sandbox = database.project(&config);
        built(&sandbox);
        let before = sandbox.digests("out");
        sandbox.clear();
        sandbox.write("hygge.yml", database.config(&config));
        built(&sandbox);
        assert_eq!(sandbox.digests("out"), before);
    }
    let of = |batch: &str| {
        let sandbox = database.project(&format!(
            "  a: {{home: {{connection: shop, table: orders{batch}}}, store: out}}\n"
        ));
        built(&sandbox);
        sandbox.digests("out")
    };
    assert_eq!(
        of(""),
        of(", batch_size: 3"),
        "how many rows are handed on decides no bytes"
    );
}

fn invalid_dates_fail_by_their_row_or_are_null(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 2);
    let (insert, wanted) = match kind {
        Kind::Sqlite => (
            "INSERT INTO orders VALUES (3, 'odd', '0000-00-00')",
            "\"0000-00-00\" does not fit date",
        ),
        Kind::Postgres => (
            "INSERT INTO orders VALUES (3, 'odd', 'infinity')",
            "the date is infinity",
        ),
        Kind::MySql => (
            "SET sql_mode = ''; INSERT INTO orders VALUES (3, 'odd', '0000-00-00')",
            "0000-00-00 is no date",
        ),
    };
    database.run(insert);
    let sandbox = database.project("  a: {home: {connection: shop, table: orders}, store: out}\n");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    let error = ran.error();
    let row = if kind == Kind::Sqlite {
        "rowid 3"
    } else {
        "id = 3"
    };
    assert!(
        error.contains("column at, row 3 of orders")
            && error.contains(row)
            && error.contains(wanted),
        "{error}"
    );
    let sandbox = database
        .project("  a: {home: {connection: shop, table: orders, on_invalid: null}, store: out}\n");
    built(&sandbox);
    assert_eq!(
        lines(&sandbox, "out"),
        ["1|name 1|2024-02-15", "2|name 2|2024-03-15", "3|odd|"]
    );
}

fn a_check_and_a_dry_run_say_what_is_to_be_known(kind: Kind) {
    let database = Database::new(kind);
    let odd = match kind {
        Kind::Sqlite => "span interval",
        Kind::Postgres => "span interval",
        Kind::MySql => "span uuid",
    };
    database.run(&format!(
        "CREATE TABLE events (name varchar(9), {odd}); INSERT INTO events (name) VALUES ('a')"
    ));
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: events, probe: {columns: [name]}}, store: out}\n",
    );
    let text = if kind == Kind::Sqlite {
        ""
    } else {
        "column span is "
    };
    for command in [["check"].as_slice(), &["build", "--dry-run"]] {
        let ran = sandbox.run(command);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert!(
            kind == Kind::Sqlite || ran.text.contains("events has no primary key: rows come"),
            "{}",
            ran.text
        );
        assert!(
            ran.text.contains(text) && !ran.text.contains("no flow uses"),
            "{}",
            ran.text
        );
    }
    assert!(
        sandbox
            .run(&["build", "--dry-run"])
            .text
            .contains("nothing was done but to ask probes")
    );
    assert!(!sandbox.path("out").exists());
}

fn parts_end_where_they_are_told(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 25);
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: orders, probe: {columns: [id]}}, store: {path: out, \
         rows_per_file: 10}}\n",
    );
    assert_eq!(made(&built(&sandbox)), (3, 0));
    assert_eq!(lines(&sandbox, "out").len(), 25);
    assert_eq!(outcome(&built(&sandbox), "a"), "fresh");
    fs::remove_file(sandbox.path("out/00000000000000000002.parquet")).expect("a part");
    built(&sandbox);
    assert_eq!(lines(&sandbox, "out").len(), 25);
}

fn flows_share_the_sessions_of_a_connection(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 100);
    let flow = |number: u32| {
        format!(
            "  f{number}: {{home: {{connection: shop, table: orders, slice: {{column: id, by: \
             10}}}}, store: out/{number}}}\n"
        )
    };
    let config = database
        .config(&(0..8).map(flow).collect::<String>())
        .replace("url:", "pool_size: 1, url:");
    let sandbox = Sandbox::new(&config);
    built(&sandbox);
    for number in 0..8 {
        assert_eq!(lines(&sandbox, &format!("out/{number}")).len(), 100);
    }
}

fn two_columns_of_one_name_are_refused(kind: Kind) {
    let database = Database::new(kind);
    orders(&database, 2);
    let sandbox = database.project(
        "  a: {home: {connection: shop, query: 'select id, name as id from orders'}, store: out}\n",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.error().contains("two columns the name id"),
        "{}",
        ran.error()
    );
}

/// A home of SQLite's is never changed, nor is its log worked in.
#[test]
fn a_sqlite_database_stays_as_it_is() {
    let database = Database::new(Kind::Sqlite);
    orders(&database, 50);
    let digest = || {
        (
            blake3::hash(&fs::read(database.file()).expect("a file")),
            fs::metadata(database.file())
                .expect("a file")
                .modified()
                .ok(),
        )
    };
    let before = digest();
    let sandbox = database.project("  a: {home: {connection: shop, table: orders}, store: out}\n");
    built(&sandbox);
    assert_eq!(digest(), before);
    let sandbox = Sandbox::new(
        "connections: {shop: {url: 'sqlite:none.db'}}\n\
         flows: {a: {home: {connection: shop, table: t}, store: out}}\n",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.error(),
        "there is no SQLite database at its path (connection shop)"
    );
    assert!(!sandbox.path("none.db").exists());
}

/// What a connection may have besides its URL is read, and is no secret.
#[test]
fn a_connection_is_told_how_to_be_opened() {
    let fields = "connect_timeout: 5s, statement_timeout: 10m, pool_size: 2, sslmode: verify-full, \
                  sslrootcert: a.pem, identity: shop";
    let config = |fields: &str| {
        format!(
            "connections: {{shop: {{url: 'sqlite:s.db', {fields}}}}}\n\
             flows: {{a: {{home: h, store: s}}}}\n"
        )
    };
    let ran = Sandbox::new(&config(fields)).run(&["check", "--offline"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let ran = Sandbox::new(&config("sslmode: verify-al")).run(&["check", "--offline"]);
    assert!(
        ran.code == 2 && ran.text.contains("verify-al") && ran.text.contains("verify-full"),
        "{}",
        ran.text
    );
    let ran =
        Sandbox::new(&config("sslmode: 'postgres://u:hunter2@h/d'")).run(&["check", "--offline"]);
    assert!(
        ran.code == 2 && !ran.text.contains("hunter2"),
        "{}",
        ran.text
    );
}

/// A condition that says nothing is none.
#[test]
fn a_condition_of_a_store_says_something() {
    let store = "store: {connection: shop, table: t, key: [id], delete_where: ' '}";
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: 'sqlite:s.db'}}}}\nflows:\n  \
         a: {{home: numbers, mode: merge, {store}}}\n"
    ));
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert!(
        ran.text
            .contains("delete_where of store of flow a is empty")
            && ran.text.contains("hygge.yml:3:"),
        "{}",
        ran.text
    );
}

fn flow_name(flow: &serde_json::Value) -> &str {
    flow["flow"].as_str().expect("a name")
}

/// Fifty tables in three lines.
#[test]
fn entities_are_tables() {
    let database = Database::new(Kind::Sqlite);
    orders(&database, 3);
    database.run("CREATE TABLE users (id integer PRIMARY KEY); INSERT INTO users VALUES (1)");
    let tables = |flows: &str| {
        let ran = database.project(flows).run(&["graph", "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let of = |flow: &serde_json::Value, part: &str| {
            flow[part]["settings"]["table"]
                .as_str()
                .unwrap_or("-")
                .to_string()
        };
        let graph = ran.event("graph");
        let flows = graph["flows"].as_array().expect("flows").iter();
        let shown = |flow| {
            format!(
                "{} {} {}",
                flow_name(flow),
                of(flow, "home"),
                of(flow, "store")
            )
        };
        let mut tables: Vec<String> = flows.map(shown).collect();
        tables.sort();
        tables
    };
    let named = "  shop: {home: {connection: shop}, store: data, entities: [orders, users]}\n";
    assert_eq!(
        tables(named),
        ["shop.orders orders -", "shop.users users -"]
    );
    assert_eq!(
        tables(
            "  s: {home: {connection: shop, table: main}, store: data, entities: [orders, a.b, \
             {name: users, home: {table: other}}]}\n"
        ),
        [
            "s.a.b main.\"a.b\" -",
            "s.orders main.orders -",
            "s.users other -"
        ]
    );
    assert_eq!(
        tables(
            "  s: {home: data, store: {connection: shop, table: 'raw_{entity}'}, entities: \
             [orders]}\n"
        ),
        ["s.orders - raw_orders"]
    );
    let sandbox = database.project(named);
    built(&sandbox);
    assert_eq!(lines(&sandbox, "data/orders").len(), 3);
    assert_eq!(lines(&sandbox, "data/users"), ["1"]);
}

/// Defaults of another kind are passed over.
#[test]
fn defaults_may_name_a_connection() {
    let database = Database::new(Kind::Sqlite);
    orders(&database, 3);
    let flows =
        "  a: {home: {table: orders}, store: out}\n  b: {home: numbers, store: {path: other}}\n";
    let config = format!(
        "defaults: {{home: {{connection: shop}}}}\n{}",
        database.config(flows)
    );
    let sandbox = Sandbox::new(&config);
    sandbox.sample("north", "numbers/north.parquet");
    built(&sandbox);
    assert_eq!(lines(&sandbox, "out").len(), 3);
    assert!(sandbox.path("other").exists());
}

/// What the config says of a table is checked before anything is asked.
#[test]
fn a_config_with_a_table_is_checked() {
    let cases = [
        ("home: {connection: shop}", "home of flow a has no table"),
        (
            "home: {connection: shop, table: t, query: select 1}",
            "has a table and a query",
        ),
        (
            "home: {connection: shpo, table: t}",
            "needs the connection \"shpo\"",
        ),
        ("home: {type: sql, table: t}", "has no connection"),
        ("home: {table: t}", "home of flow a has no connection"),
        (
            "home: {query: select 1}",
            "home of flow a has no connection",
        ),
        ("home: {connection: shop, table: a.b.c}", "names no table"),
        (
            "home: {connection: shop, table: t, slice: {column: at}}",
            "slice of home of flow a has no by",
        ),
        (
            "home: {connection: shop, table: t, slice: {column: at, by: week}}",
            "week",
        ),
        (
            "home: {connection: shop, table: t, probe: {columns: [a], every: 6h}}",
            "is not one probe",
        ),
        (
            "home: {connection: shop, table: t, types: {a: strng}}",
            "the unknown type \"strng\"",
        ),
        (
            "home: {connection: shop, table: t, on_invalid: skip}",
            "skip",
        ),
        ("home: {connection: shop, tabel: t}", "tabel"),
        (
            "home: {connection: shop, table: t, columns: [id, name, id]}",
            "names the column id twice",
        ),
        (
            "home: {connection: shop, table: t, columns: []}",
            "names no column",
        ),
        (
            "home: {connection: shop, table: t, probe: {columns: [a, a]}}",
            "names the column a twice",
        ),
        (
            "home: {connection: shop, table: t, watermark: {column: a, primary_key: [b, b]}}, \
             mode: append",
            "names the column b twice",
        ),
        (
            "home: {connection: shop, table: t, where: ''}",
            "where of home of flow a is empty",
        ),
        (
            "home: {connection: shop, table: t, where: ' -- id = 1'}",
            "where of home of flow a is empty",
        ),
        (
            "home: {connection: shop, query: 'select 1; delete from t'}",
            "another statement behind its first: delete from t",
        ),
        (
            "home: {connection: shop, table: t, probe: {query: 'select 1; delete from t'}}",
            "another statement behind its first",
        ),
    ];
    for (home, wanted) in cases {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: 'sqlite:s.db'}}}}\nflows:\n  a: {{{home}, store: out}}\n"
        ));
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{home}: {}", ran.text);
        assert!(ran.text.contains(wanted), "{home}: {}", ran.text);
        assert!(ran.text.contains("hygge.yml:3:"), "{home}: {}", ran.text);
    }
}

fn a_table_that_is_nearly_called_so_is_proposed(kind: Kind) {
    let database = Database::new(kind);
    database.run("CREATE TABLE customers (id integer); CREATE TABLE zebra (id integer)");
    for (table, wanted) in [
        ("custmers", "did you mean customers?"),
        ("Customer", "did you mean customers?"),
        ("nothing", "check home.table"),
    ] {
        let sandbox = database.project(&format!(
            "  a: {{home: {{connection: shop, table: {table}}}, store: out}}\n"
        ));
        for command in ["check", "build"] {
            let ran = sandbox.run(&[command]);
            assert!(
                ran.code == 1 && ran.text.contains(wanted),
                "{table}: {}",
                ran.text
            );
        }
    }
}
