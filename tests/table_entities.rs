//! Entities that are tables of a database: `entities: {from: "public.*"}` of a home with a connection.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::sandbox::{Sandbox, built, failed};

/// A flow of all tables that match, and one that has nothing to do with the database.
fn project(database: &Database, entities: &str) -> Sandbox {
    let sandbox = database.project(&format!(
        "  landing:\n    home: {{connection: shop}}\n    store: lake\n    entities: {entities}\n  files: {{home: home, store: out}}\n"
    ));
    crate::common::files::ints(&sandbox, "home/a.parquet", 0..10);
    sandbox
}

fn tables(database: &Database, names: &[&str]) {
    for name in names {
        let name = database.quoted(name);
        database.run(&format!(
            "CREATE TABLE {name} (id integer PRIMARY KEY); INSERT INTO {name} VALUES (1)"
        ));
    }
}

/// The entities that have a store.
fn stores(sandbox: &Sandbox) -> Vec<String> {
    let Ok(found) = fs::read_dir(sandbox.path("lake")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = found
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The flows of the config, as a command that reads nothing shows them.
fn flows(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let ran = sandbox.run(&[&["graph", "--format", "json"], arguments].concat());
    assert_eq!(ran.code, 0, "{}", ran.text);
    let flows = ran.event("graph")["flows"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut names: Vec<String> = flows
        .iter()
        .map(|flow| {
            flow["name"]
                .as_str()
                .or(flow["flow"].as_str())
                .expect("a name")
                .to_string()
        })
        .collect();
    names.sort();
    names
}

/// The database is somewhere else for a while.
fn out_of_reach(sandbox: &Sandbox, database: &Database) {
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    let url = database.url();
    assert!(config.contains(&url), "{config}");
    let nowhere = match database.kind {
        Kind::Sqlite => "sqlite:nowhere.db".to_string(),
        _ => url.replace(&format!(":{}", database.port()), ":1"),
    };
    sandbox.write("hygge.yml", config.replace(&url, &nowhere));
}

fn each_table_that_matches_is_an_entity(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["orders", "Users", "tmp_a", "a.b"]);
    database.run("CREATE VIEW totals AS SELECT 1 AS one");
    // A name that no entity can have is left out by its name, or is an error.
    let sandbox = project(&database, "{from: \"*\", exclude: [tmp_*]}");
    built(&sandbox);
    assert_eq!(stores(&sandbox), ["Users", "a.b", "orders"]);
    built(&sandbox);
    let sandbox = project(&database, "{from: \"*r*\", views: true}");
    built(&sandbox);
    assert_eq!(stores(&sandbox), ["Users", "orders"]);
    let sandbox = project(
        &database,
        "[{from: \"t*\", views: true, exclude: tmp_a}, {name: orders, tags: [nightly]}]",
    );
    assert_eq!(sandbox.build(&["tag:nightly"]).code, 0);
    assert_eq!(stores(&sandbox), ["orders"]);
    built(&sandbox);
    assert_eq!(stores(&sandbox), ["orders", "totals"]);
    // hygge's own receipts are no entity.
    let schema = match kind {
        Kind::Postgres => "public.",
        Kind::MySql => "",
        Kind::Sqlite => "main.",
    };
    let copies = database.project(&format!(
        "  copy: {{home: {{connection: shop}}, store: {{connection: shop, table: \"copy_{{entity}}\"}}, entities: {{from: \"{schema}[oU]*\"}}}}\n"
    ));
    built(&copies);
    assert_eq!(database.ask("SELECT count(*) FROM copy_orders").trim(), "1");
    let all = project(&database, "{from: \"*\", exclude: [\"[!hc]*\"]}");
    built(&all);
    assert_eq!(stores(&all), ["copy_Users", "copy_orders"]);
}

fn what_came_and_went_is_said_and_counts(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["a", "b", "c"]);
    let sandbox = project(&database, "{from: \"*\", max_lost: 50%}");
    assert!(!built(&sandbox).text.contains("tables_changed"));
    tables(&database, &["d"]);
    database.run("DROP TABLE a");
    let dry = sandbox.run(&["build", "--dry-run"]);
    for said in [
        "new in shop since the last build: d",
        "gone in shop since the last build: a",
    ] {
        assert!(dry.text.contains(said), "{}", dry.text);
    }
    assert!(
        built(&sandbox)
            .text
            .contains("new in shop since the last build: d")
    );
    assert!(!built(&sandbox).text.contains("since the last build"));
    assert_eq!(stores(&sandbox), ["a", "b", "c", "d"]);
    // Three of four that were published are gone now.
    database.run("DROP TABLE b; DROP TABLE c");
    let ran = failed(&sandbox);
    assert!(
        ran.text
            .contains("3 of the 4 entities that flow landing had are not found any more"),
        "{}",
        ran.text
    );
    assert_eq!(sandbox.build(&["--accept-lost=3"]).code, 0);
    assert_eq!(flows(&sandbox, &[]), ["files", "landing.d"]);
    database.run("DROP TABLE d");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 2 && ran.text.contains("no table of shop matches \"*\""),
        "{}",
        ran.text
    );
}

fn a_database_out_of_reach_fails_its_own_flows_only(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["a", "b"]);
    let sandbox = project(&database, "{from: \"*\"}");
    built(&sandbox);
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    out_of_reach(&sandbox, &database);
    // The last build knows the tables.
    crate::common::files::ints(&sandbox, "home/a.parquet", 0..20);
    let ran = failed(&sandbox);
    for flow in ["landing.a", "landing.b"] {
        assert_eq!(ran.outcome(flow), "failed", "{}", ran.text);
    }
    assert_eq!(ran.outcome("files"), "built", "{}", ran.text);
    assert_eq!(flows(&sandbox, &[]), ["files", "landing.a", "landing.b"]);
    let checked = sandbox.run(&["check", "--offline"]);
    assert!(
        checked.code == 0
            && checked
                .text
                .contains("the tables of shop are those of the last build"),
        "{}",
        checked.text
    );
    // Nobody knows them: nothing is an orphan because of that.
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    let ran = failed(&sandbox);
    assert_eq!(ran.outcome("landing.unlisted"), "failed", "{}", ran.text);
    assert!(
        ran.error().contains("the tables of shop are not known"),
        "{}",
        ran.text
    );
    assert_eq!(ran.outcome("files"), "fresh", "{}", ran.text);
    assert!(!ran.text.contains("orphan"), "{}", ran.text);
    let cleaned = sandbox.run(&["clean", "--orphans"]);
    assert!(!cleaned.text.contains("lake"), "{}", cleaned.text);
    assert_eq!(stores(&sandbox), ["a", "b"]);
    // It answers again, and nobody asks.
    sandbox.write("hygge.yml", config);
    assert_eq!(
        flows(&sandbox, &["--offline"]),
        ["files", "landing.unlisted"]
    );
    built(&sandbox);
    assert_eq!(
        flows(&sandbox, &["--offline"]),
        ["files", "landing.a", "landing.b"]
    );
}

/// What needs a table that nobody knows waits for it, and everything else goes on.
fn what_needs_tables_that_nobody_knows_waits(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["a", "unlisted"]);
    let sandbox = project(&database, "{from: \"*\"}");
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    let config = format!(
        "{config}  next: {{home: {{flow: landing.a}}, store: next}}\n  each: {{home: {{flow: landing}}, store: each, entities: [a]}}\n  \
         after: {{home: home, store: after, needs: [landing.a]}}\n"
    );
    sandbox.write("hygge.yml", config);
    out_of_reach(&sandbox, &database);
    let ran = failed(&sandbox);
    assert_eq!(ran.outcome("files"), "built", "{}", ran.text);
    assert_eq!(ran.outcome("landing.unlisted"), "failed", "{}", ran.text);
    for flow in ["next", "each.a", "after"] {
        assert_eq!(ran.outcome(flow), "skipped", "{}", ran.text);
    }
    let ran = sandbox.build(&["landing.a"]);
    assert!(
        ran.code == 1
            && ran.text.contains(
                "nobody knows whether flow landing has landing.a: the tables of shop are not known"
            ),
        "{}",
        ran.text
    );
    // A table may be called like what stands for all of them: it is not built without asking.
    let offline = project(&database, "{from: \"*\"}");
    let ran = offline.build(&["--offline"]);
    assert_eq!(
        (ran.code, ran.outcome("landing.unlisted")),
        (1, "failed"),
        "{}",
        ran.text
    );
    assert_eq!(stores(&offline), Vec::<String>::new());
    built(&offline);
    assert_eq!(stores(&offline), ["a", "unlisted"]);
}

fn homes_are_merged_with_their_defaults(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["a", "b"]);
    let ran = project(&database, "{from: \"nope.*\"}").run(&["build"]);
    assert!(
        ran.code == 2
            && ran.text.contains(
                "shop has no table in a schema nope, and flow landing has no entity by \"nope.*\""
            ),
        "{}",
        ran.text
    );
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: \"{}\"}}}}\ndefaults: {{home: {{connection: shop}}}}\n\
         flows: {{m: {{home: {{batch_size: 1000}}, store: lake, entities: {{from: \"*\"}}}}}}\n",
        database.url()
    ));
    built(&sandbox);
    assert_eq!(stores(&sandbox), ["a", "b"]);
    // A placeholder says the name of the table, and is no schema.
    let placed = database.project(
        "  m: {home: {connection: shop, table: \"{entity}\"}, store: lake, entities: {from: \"[ab]\"}}\n",
    );
    built(&placed);
    assert_eq!(stores(&placed), ["a", "b"]);
}

/// What a flow fills is found by its own pattern in the next build.
fn tables_that_a_flow_fills_are_not_filled_on(kind: Kind) {
    let database = Database::new(kind);
    tables(&database, &["a", "b"]);
    let copies = |pattern: &str| {
        database.project(&format!(
            "  m: {{home: {{connection: shop}}, store: {{connection: shop, table: \"copy_{{entity}}\"}}, entities: {{from: \"{pattern}\"}}}}\n"
        ))
    };
    let sandbox = copies("*");
    for _ in 0..3 {
        built(&sandbox);
        assert_eq!(flows(&sandbox, &[]), ["m.a", "m.b"]);
    }
    let checked = sandbox.run(&["check"]);
    assert!(
        checked
            .text
            .contains("copy_a is filled by flow m.a, and so no entity of flow m"),
        "{}",
        checked.text
    );
    let schema = match kind {
        Kind::Postgres => "public.*",
        Kind::Sqlite => "main.*",
        Kind::MySql => return,
    };
    let ran = copies(schema).run(&["build"]);
    assert!(
        ran.code == 2 && ran.text.contains("and flow m.a fills that"),
        "{}",
        ran.text
    );
}

on_each_database!(
    what_needs_tables_that_nobody_knows_waits,
    homes_are_merged_with_their_defaults,
    tables_that_a_flow_fills_are_not_filled_on,
    each_table_that_matches_is_an_entity,
    what_came_and_went_is_said_and_counts,
    a_database_out_of_reach_fails_its_own_flows_only,
);

mod postgres_schemas {
    use super::*;

    #[test]
    fn postgres_tables_of_a_schema_are_found_and_of_partitions_the_whole() {
        let database = Database::new(Kind::Postgres);
        tables(&database, &["here"]);
        database.run(
            "CREATE SCHEMA \"my.sales\"; CREATE SCHEMA sales; CREATE TABLE sales.orders (id integer, at date) PARTITION BY RANGE (at);
             CREATE TABLE sales.orders_1 PARTITION OF sales.orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             INSERT INTO sales.orders VALUES (7, '2024-05-05'); CREATE TABLE sales.here (id integer); INSERT INTO sales.here VALUES (8);
             CREATE MATERIALIZED VIEW sales.sums AS SELECT 1 AS one",
        );
        let sandbox = project(&database, "{from: \"sales.*\"}");
        built(&sandbox);
        assert_eq!(stores(&sandbox), ["here", "orders"]);
        let read = crate::common::peers::rows(&sandbox.path("lake/here"));
        assert_eq!(read.lines(), ["8"]);
        let sandbox = project(
            &database,
            "[{from: \"sales.*\", exclude: [sales.here], views: true}, {from: \"public.*\"}]",
        );
        built(&sandbox);
        assert_eq!(stores(&sandbox), ["here", "orders", "sums"]);
        assert_eq!(
            crate::common::peers::rows(&sandbox.path("lake/here")).lines(),
            ["1"]
        );
        // What an entity says of its own table holds.
        let sandbox = project(
            &database,
            "[{from: \"sales.*\", exclude: orders}, {name: here, home: {table: public.here}}]",
        );
        built(&sandbox);
        assert_eq!(
            crate::common::peers::rows(&sandbox.path("lake/here")).lines(),
            ["1"]
        );
        // The schema is that of the pattern also where the table is not there (any more).
        let sandbox = project(&database, "[{from: \"sales.*\"}, {name: users, tags: [x]}]");
        tables(&database, &["users"]);
        let ran = failed(&sandbox);
        assert_eq!(ran.outcome("landing.users"), "failed", "{}", ran.text);
        assert!(ran.error().contains("sales.users"), "{}", ran.text);
        // One entity has one table.
        let sandbox = project(&database, "[{from: \"sales.*\"}, {from: \"public.*\"}]");
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 2
                && ran
                    .text
                    .contains("sales.here and public.here are both the entity here"),
            "{}",
            ran.text
        );
    }
}

#[test]
fn patterns_that_cannot_be_are_said() {
    let database = Database::new(Kind::Sqlite);
    tables(&database, &["a", "b c"]);
    for (entities, said) in [
        ("{from: a}", "it has no * and so finds at most one"),
        ("{from: \"*.a*\"}", "the schema before the dot is one name"),
        ("{from: \"x*\"}", "no table of shop matches \"x*\""),
        (
            "{from: \"*\", exclude: \"*\"}",
            "exclude leaves out all 2 tables of shop",
        ),
        ("{from: \"*\"}", "the entity name \"b c\" cannot be used"),
        ("{from: \"*\"}", "exclude: [\"b c\"] leaves it out"),
    ] {
        let sandbox = project(&database, entities);
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 2 && ran.text.contains(said),
            "{entities}: {}",
            ran.text
        );
    }
    let skipped = project(&database, "{from: \"x*\", if_empty: skip}");
    assert_eq!(skipped.build(&[]).code, 0);
    let query = database.project(
        "  a: {home: {connection: shop, query: select 1}, store: out, entities: {from: \"*\"}}\n",
    );
    assert!(query.run(&["build"]).text.contains("its home has a query"));
    let folders =
        Sandbox::new("flows: {a: {store: out, entities: {from: \"home/*\", views: true}}}\n");
    crate::common::files::ints(&folders, "home/a/a.parquet", 0..1);
    assert!(
        folders
            .run(&["build"])
            .text
            .contains("its entities are folders and files")
    );
}
