//! What the SQL of a home means: as the server says it, whatever hygge's own sessions have, and one
//! statement.

use crate::common::databases::{Database, Kind, Server};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

fn lines(sandbox: &Sandbox, store: &str) -> Vec<String> {
    let mut lines = peers::rows(&sandbox.path(store)).lines();
    lines.sort();
    lines
}

/// `||` is an or to the server, before and after a store had a session.
#[test]
fn the_sql_of_a_home_means_what_the_server_says() {
    let database = Database::new(Kind::MySql);
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer); \
         INSERT INTO t VALUES (1, 1, 0), (2, 0, 1), (3, 0, 0)",
    );
    let home = "home: {connection: shop, table: t, where: \"a = 1 || b = 1\"}";
    let flows = format!(
        "  a: {{{home}, store: a}}\n  b: {{{home}, needs: a, store: {{connection: shop, table: \
           copy}}}}\n  c: {{{home}, needs: b, store: c}}\n  \
           d: {{home: {{connection: shop, query: \"select @@sql_mode as mode, @@time_zone as \
           zone\"}}, needs: c, store: d}}\n"
    );
    for pool in [1, 4] {
        let sandbox = Sandbox::new(
            &database
                .config(&flows)
                .replace("url:", &format!("pool_size: {pool}, url:")),
        );
        for _ in 0..2 {
            let ran = sandbox.build(&["--force"]);
            assert_eq!(ran.code, 0, "{}", ran.text);
            let wanted = database.ask("SELECT id FROM t WHERE a = 1 || b = 1 ORDER BY id");
            for store in ["a", "c"] {
                let ids: Vec<String> = lines(&sandbox, store)
                    .iter()
                    .map(|line| line[..1].to_string())
                    .collect();
                assert_eq!(ids.join("\n"), wanted);
            }
            assert_eq!(database.ask("SELECT id FROM copy ORDER BY id"), wanted);
            // Its time zone is what makes time stamps exact.
            assert_eq!(
                lines(&sandbox, "d"),
                [format!("{}|+00:00", database.ask("SELECT @@sql_mode"))]
            );
        }
        database.run("DROP TABLE copy, hygge_receipts");
    }
}

/// So is what a store's condition and types mean, whatever its own statements are written for.
#[test]
fn the_sql_of_a_store_means_what_the_server_says() {
    let server = Server::with_options(Kind::MySql, &["--sql-mode=ANSI,NO_BACKSLASH_ESCAPES"]);
    let database = server.database();
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, name varchar(20), v float); \
         INSERT INTO t VALUES (1, 'ab\\', 1.5), (2, 'c\\''d', 2.5)",
    );
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: t}, store: a}\n  \
           b: {home: {flow: a}, mode: merge, store: {connection: shop, table: copy, key: id, \
           columns: {v: real}, \
           delete_where: \"\\\"name\\\" = 'a' || 'b\\\\'\"}}\n",
    );
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT id, name, v FROM copy"),
        database.ask("SELECT id, name, v FROM t WHERE id = 2")
    );
    assert_eq!(
        database.ask(
            "SELECT data_type FROM information_schema.columns WHERE table_name = 'copy' \
             AND column_name = 'v'"
        ),
        "float"
    );
}

/// What a backslash means is not the same in each session.
#[test]
fn a_name_with_a_backslash_is_found_in_any_mode() {
    for mode in [
        "NO_BACKSLASH_ESCAPES",
        "ORACLE",
        "ANSI",
        "STRICT_ALL_TABLES",
    ] {
        let server = Server::with_options(Kind::MySql, &[&format!("--sql-mode={mode}")]);
        let database = server.database();
        database.run(
            "CREATE TABLE `a\\b'c``d\\\\` (id integer PRIMARY KEY, `x\\y` varchar(20)); \
             INSERT INTO `a\\b'c``d\\\\` VALUES (1, 'z')",
        );
        let sandbox = database.project(
            "  a: {home: {connection: shop, table: '\"a\\b''c`d\\\\\"', probe: {columns: \
               ['x\\y']}}, store: out}\n  \
               b: {home: out, needs: a, store: {connection: shop, table: '\"e\\f''\"'}}\n  \
               c: {home: {connection: shop, table: '\"e\\f''\"'}, needs: b, store: again}\n",
        );
        built(&sandbox);
        for store in ["out", "again"] {
            assert_eq!(
                (
                    lines(&sandbox, store),
                    peers::rows(&sandbox.path(store)).schema[1].as_str()
                ),
                (vec!["1|z".into()], "x\\y: string"),
                "{mode}"
            );
        }
    }
}

/// Texts that are made of values are those of the server.
#[test]
fn values_of_mysql_as_texts_are_exact() {
    let database = Database::new(Kind::MySql);
    database.run(
        "CREATE TABLE t (id integer PRIMARY KEY, b bit(8), w bit(64), y year, t tinyint(1) \
         unsigned, u bigint unsigned, s set('a', 'b'), d datetime(6))",
    );
    database.run(
        "INSERT INTO t VALUES (1, 0, 0, 0, 200, 18446744073709551615, '', '2026-01-01 \
         00:00:00.000001'), \
         (2, 5, 18446744073709551615, 2155, 1, 0, 'a,b', '2026-01-01 00:00:00.5'), (3, 255, 256, \
         1901, 0, 1, 'b', '9999-12-31 23:59:59.999999')",
    );
    let sandbox = database.project(
        "  a: {home: {connection: shop, table: t, types: {b: text, w: text, y: text, t: text, u: \
           text, s: text}}, store: a}\n  \
           q: {home: {connection: shop, query: \"select id, t, u, y from t\"}, store: q}\n",
    );
    built(&sandbox);
    let asked = "SELECT id, bin(b), bin(w), y, t, u, s FROM t ORDER BY id";
    let found: Vec<String> = lines(&sandbox, "a")
        .iter()
        .map(|line| line.rsplit_once('|').expect("a date").0.to_string())
        .collect();
    assert_eq!(found.join("\n"), database.ask(asked));
    assert_eq!(
        lines(&sandbox, "q").join("\n"),
        database.ask("SELECT id, t, u, y + 0 FROM t ORDER BY id")
    );
    assert_eq!(
        peers::rows(&sandbox.path("q")).schema[1..3],
        ["t: uint8", "u: uint64"]
    );
}

/// Two values that a probe takes for one would never arrive.
#[test]
fn a_probe_tells_all_values_apart() {
    let changes = [
        (Kind::MySql, "float", "1.2345678", "1.2345679"),
        (
            Kind::MySql,
            "double",
            "1.23456789012345678",
            "1.2345678901234567",
        ),
        (Kind::MySql, "varchar(9)", "'a'", "'A'"),
        (Kind::MySql, "varchar(9)", "'null'", "NULL"),
        (Kind::MySql, "varchar(9)", "'n'", "NULL"),
        (
            Kind::MySql,
            "longtext",
            "repeat('x', 9000000)",
            "concat(repeat('x', 8999999), 'y')",
        ),
        (Kind::Postgres, "real", "1.2345678", "1.2345679"),
        (Kind::Postgres, "double precision", "0", "'-0'"),
        (Kind::Postgres, "text", "'null'", "NULL"),
        (Kind::Postgres, "text COLLATE folded", "'a'", "'A'"),
        (Kind::Postgres, "jsonb", "'{\"a\": 1.0}'", "'{\"a\": 1.00}'"),
        (Kind::Sqlite, "text", "'null'", "NULL"),
        (Kind::Sqlite, "text COLLATE NOCASE", "'a'", "'A'"),
        (Kind::Sqlite, "real", "0.1", "0.10000000000000002"),
        (Kind::Sqlite, "", "'5'", "5"),
    ];
    for (kind, declared, before, after) in changes {
        let database = Database::new(kind);
        if declared.contains("folded") {
            database.run(
                "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', \
                 deterministic = false)",
            );
        }
        database.run(&format!(
            "CREATE TABLE t (id integer PRIMARY KEY, v {declared}, w {declared}); \
             INSERT INTO t VALUES (1, {before}, {before})"
        ));
        if database.ask(&format!("SELECT count(*) FROM t WHERE v = {before}")) == "1"
            && declared == "double"
        {
            continue;
        }
        let on_mismatch = if kind == Kind::Sqlite {
            ", on_mismatch: text"
        } else {
            ""
        };
        for columns in ["[v]", "[v, w]"] {
            database.run(&format!("UPDATE t SET v = {before}"));
            let sandbox = database.project(&format!(
                "  a: {{home: {{connection: shop, table: t, columns: [id], probe: {{columns: \
                 {columns}}}{on_mismatch}}}, store: out}}\n"
            ));
            built(&sandbox);
            assert_eq!(
                sandbox.run(&["build"]).text.trim(),
                "hygge: nothing to do, 1 flow is fresh",
                "{declared}"
            );
            database.run(&format!("UPDATE t SET v = {after}"));
            let ran = sandbox.run(&["build", "--check"]);
            assert_eq!(
                ran.code, 10,
                "{kind:?} {declared} {columns}: {before} became {after}: {}",
                ran.text
            );
        }
    }
}

/// What stands behind the first statement would never be run.
#[test]
fn a_query_is_one_statement() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::MySql] {
        let database = Database::new(kind);
        database.run("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
        for (query, wanted) in [
            ("select id from t; select 2", Some("select 2")),
            ("select id from t; drop table t -- x", Some("drop table t")),
            ("select id from t;", None),
            ("select id from t ; -- the end", None),
            ("select id from t; /* ; */ ;", None),
            ("select id from t where '';'' <> ''a''", None),
        ] {
            let sandbox = database.project(&format!(
                "  a:\n    home: {{connection: shop, query: '{query}'}}\n    store: out\n"
            ));
            let checked = sandbox.run(&["check", "--offline"]);
            match wanted {
                Some(rest) => {
                    assert_eq!(checked.code, 2, "{query}: {}", checked.text);
                    assert!(
                        checked.text.contains("another statement behind its first")
                            && checked.text.contains(rest),
                        "{}",
                        checked.text
                    );
                    assert!(checked.text.contains("hygge.yml:5:"), "{}", checked.text);
                }
                None => {
                    built(&sandbox);
                    assert_eq!(lines(&sandbox, "out"), ["1"], "{query}");
                }
            }
        }
        assert_eq!(database.ask("SELECT count(*) FROM t"), "1");
    }
}

/// SQLite makes another letter of half a letter, and of a name that is no UTF-8 something else.
#[test]
fn texts_of_sqlite_that_are_none_are_refused() {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute(\"PRAGMA encoding = 'UTF-16le'\")\n\
                  db.execute('CREATE TABLE t (id integer PRIMARY KEY, v text)')\n\
                  db.execute('INSERT INTO t VALUES (1, ?), (2, ?)', ('é 😀', ''))\n\
                  db.execute(\"INSERT INTO t VALUES (3, CAST(x'61003dd86200' AS TEXT))\") if \
                  sys.argv[2] == 'half' else None\n\
                  db.execute('CREATE TABLE n (id integer)')\n\
                  db.execute('INSERT INTO n VALUES (1)')\n";
    for half in ["whole", "half"] {
        let database = Database::new(Kind::Sqlite);
        let file = database.file().with_file_name("wide.db");
        assert!(
            peers::run(script, &[file.as_os_str(), half.as_ref()])
                .status
                .success()
        );
        let config = |home: &str| {
            format!(
                "connections: {{shop: {{url: 'sqlite:{}'}}}}\n\
                 flows: {{a: {{home: {{connection: shop, {home}}}, store: out}}}}\n",
                file.display()
            )
        };
        let sandbox = Sandbox::new(&config("table: t"));
        if half == "whole" {
            built(&sandbox);
            assert_eq!(lines(&sandbox, "out"), ["1|é 😀", "2|"]);
        } else {
            let text = failed(&sandbox).error().to_string();
            assert!(
                text.contains("column v has a text with half a letter of UTF-16 in it, 0xd83d"),
                "{text}"
            );
            built(&Sandbox::new(&config("query: select id from t")));
        }
    }
    let database = Database::new(Kind::Sqlite);
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('CREATE TABLE t (id integer, name text)')\n\
                  db.execute('INSERT INTO t VALUES (1, 2)')\n\
                  db.execute('PRAGMA writable_schema = on')\n\
                  db.execute(\"UPDATE sqlite_master \
                  SET sql = CAST(replace(CAST(sql AS BLOB), 'name', x'6e61ff65') AS TEXT) \
                  WHERE name = 't'\")\n";
    assert!(
        peers::run(script, &[database.file().as_os_str()])
            .status
            .success()
    );
    let text = failed(&database.project("  a: {home: {connection: shop, table: t}, store: out}\n"))
        .error()
        .to_string();
    assert!(
        text.contains("name of column 2") && text.contains("not UTF-8"),
        "{text}"
    );
    built(
        &database.project("  a: {home: {connection: shop, query: select id from t}, store: out}\n"),
    );
}

/// Whatever SQL stands in a config, and however a server reads it: no command runs another
/// statement than it names.
#[test]
fn no_sql_of_a_config_changes_a_row() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::MySql] {
        let database = Database::new(kind);
        database.run("CREATE TABLE victim (a integer); INSERT INTO victim VALUES (1), (2), (3)");
        let escaped = match kind {
            Kind::Postgres => "select E'\\'' as a; commit; delete from victim",
            Kind::MySql => "select '\\'' as a; commit; delete from victim",
            Kind::Sqlite => "select $a('), 1; delete from victim; --')",
        };
        let queries = [
            escaped,
            "select 1 as a /*! ; commit; delete from victim */",
            "select 1 as a -- \u{a0}\n; commit; delete from victim",
            "select 1 as a) as x; commit; delete from victim; select * from (select 1",
            "analyze delete from victim where a = 3",
            "delete from victim where a = 2 returning a",
            "explain analyze delete from victim where a = 1",
        ];
        let shown = |text: &str| serde_json::to_string(text).expect("a text");
        let homes = queries.iter().flat_map(|query| {
            let condition = format!(
                "1 = 1); commit; delete from victim where ({}",
                query.split(';').next().unwrap_or_default()
            );
            [
                format!("home: {{connection: shop, query: {}}}", shown(query)),
                format!(
                    "home: {{connection: shop, table: victim, probe: {{query: {}}}}}",
                    shown(query)
                ),
                format!(
                    "home: {{connection: shop, query: {}, probe: {{every: 1h}}}}",
                    shown(query)
                ),
                format!(
                    "home: {{connection: shop, table: victim, where: {}}}",
                    shown(&condition)
                ),
            ]
        });
        for home in homes {
            let sandbox = database.project(&format!("  a: {{{home}, store: out, retries: 0}}\n"));
            for arguments in [
                ["build"].as_slice(),
                &["check"],
                &["build", "--dry-run"],
                &["build"],
                &["why", "a"],
            ] {
                sandbox.run(arguments);
                assert_eq!(
                    database.ask("SELECT count(*) FROM victim"),
                    "3",
                    "{arguments:?}: {home}"
                );
            }
        }
        let stores = [
            "delete_where: 'a = 1); delete from victim; select (1'",
            "columns: {a: 'integer); drop table victim; create table x (b integer'}",
        ];
        for fields in stores {
            let flows = format!(
                "  a: {{home: {{connection: shop, table: victim, watermark: {{column: a}}}}, mode: \
                 merge, \
                 store: {{connection: shop, table: copy, key: a, {fields}}}}}\n"
            );
            let ran = database.project(&flows).build(&[]);
            assert_eq!(ran.code, 2, "{fields}: {}", ran.text);
            assert_eq!(database.ask("SELECT count(*) FROM victim"), "3", "{fields}");
        }
    }
}

/// What is written behind the `?` of a URL changes no value.
mod parameters {
    mod mysql {
        use super::super::*;

        #[test]
        fn of_a_url_decide_no_value() {
            let database = Database::new(Kind::MySql);
            let name = "sm\u{f8}r \u{1d11e} \u{20ac}";
            database.run(&format!(
                "SET time_zone = '+00:00'; CREATE TABLE t (id integer PRIMARY KEY, at \
                 timestamp(6), name varchar(40)) CHARACTER SET utf8mb4; \
                 INSERT INTO t VALUES (1, '2026-01-02 03:04:05', '{name}')"
            ));
            let flows = "  a: {home: {connection: shop, table: t}, store: a}\n  \
                         b: {home: {flow: a}, store: {connection: shop, table: copy, columns: \
                         {name: varchar(40)}}}\n";
            let mut plain = None;
            for query in [
                "",
                "?timezone=%2B02:00",
                "?time-zone=-05:00&charset=latin1",
                "?charset=utf8",
                "?collation=latin1_swedish_ci&ch%61rset=latin1",
            ] {
                let sandbox = Sandbox::new(
                    &database
                        .config(flows)
                        .replace(&database.url(), &(database.url() + query)),
                );
                built(&sandbox);
                let found = (
                    lines(&sandbox, "a"),
                    database.ask("SET time_zone = '+00:00'; SELECT at, name FROM copy"),
                );
                assert!(
                    found.0[0].contains("03:04:05") && found.0[0].contains(name),
                    "{query}: {found:?}"
                );
                assert!(
                    found.1.contains("03:04:05") && found.1.contains(name),
                    "{query}: {found:?}"
                );
                assert_eq!(
                    plain.get_or_insert_with(|| found.clone()),
                    &found,
                    "{query}"
                );
                database.run("DROP TABLE copy, hygge_receipts");
                let checked = sandbox.run(&["check"]);
                assert_eq!(
                    checked
                        .text
                        .contains("hygge's sessions have UTC and utf8mb4"),
                    !query.is_empty(),
                    "{query}: {}",
                    checked.text
                );
            }
        }
    }
}

/// The order of day and month is that of the database, of the role or of the URL, also behind a
/// pooler; what values look like is not.
mod days_and_months {
    mod postgres {
        use super::super::*;
        use crate::common::databases::Pooler;

        #[test]
        fn are_in_the_order_of_the_database() {
            let database = Database::new(Kind::Postgres);
            database.run(
                "CREATE TABLE t (id integer PRIMARY KEY, d date, r daterange); \
                 INSERT INTO t VALUES (1, '2026-02-03', '[2026-02-03,2026-02-05)'), (2, \
                 '2026-03-02', '[2026-03-02,2026-03-05)'); \
                 DO $$ BEGIN EXECUTE format('ALTER DATABASE %I \
                 SET datestyle = %L', current_database(), 'SQL, DMY'); END $$",
            );
            let flows = "  a: {home: {connection: shop, table: t, where: \"d = '03/02/2026'\"}, \
                         store: a}\n  \
                         b: {home: {connection: shop, query: \"select *, '03/02/2026'::date as s \
                         from t where d = '03/02/2026'\"}, store: b}\n  \
                         c: {home: {connection: shop, table: t, watermark: {column: id}}, mode: \
                         merge, \
                         store: {connection: shop, table: copy, key: id, delete_where: \"d = \
                         '03/02/2026'\"}}\n";
            let pooler = Pooler::start(&[]);
            for database in [&database, &database.by(&pooler.port)] {
                let sandbox = database.project(flows);
                built(&sandbox);
                assert_eq!(
                    lines(&sandbox, "a"),
                    ["1|2026-02-03|[2026-02-03,2026-02-05)"]
                );
                assert_eq!(
                    lines(&sandbox, "b"),
                    ["1|2026-02-03|[2026-02-03,2026-02-05)|2026-02-03"]
                );
                assert_eq!(database.ask("SELECT id FROM copy"), "2");
                database.run("DROP TABLE copy, hygge_receipts");
            }
        }

        #[test]
        fn are_in_the_order_of_the_url() {
            let database = Database::new(Kind::Postgres);
            let flows = "  a: {home: {connection: shop, query: \"select '03/02/2026'::date as \
                         d\"}, store: a}\n";
            let url = database.url() + "?options=-c%20datestyle=SQL,DMY";
            let sandbox = Sandbox::new(&database.config(flows).replace(&database.url(), &url));
            built(&sandbox);
            assert_eq!(lines(&sandbox, "a"), ["2026-02-03"]);
        }
    }
}

mod faults_of_queries {
    mod postgres {
        use super::super::*;

        #[test]
        fn are_told_as_of_the_query_alone() {
            let database = Database::new(Kind::Postgres);
            for (query, wanted) in [
                (
                    "select 1 as a from",
                    "syntax error at the end of the query (code 42601)",
                ),
                (
                    "select 1 as a, (2",
                    "syntax error at the end of the query (code 42601)",
                ),
                ("selec 1 as a", "syntax error at or near"),
                ("delete from pg_class", "syntax error at or near"),
            ] {
                let flows = format!(
                    "  a: {{home: {{connection: shop, query: '{query}'}}, store: a, retries: 0}}\n"
                );
                let ran = failed(&database.project(&flows));
                assert!(ran.error().contains(wanted), "{query}: {}", ran.error());
            }
        }
    }
}

/// No table is filled where its rows would be lost, or its URL says that nobody writes.
#[test]
fn a_database_that_is_not_for_writing_is_refused_by_name() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)");
    let file = database.url();
    for (url, wanted) in [
        (format!("{file}?mode=ro"), "its URL says mode=ro"),
        (
            format!("{file}?immutable=1"),
            "its URL says that nobody changes it",
        ),
        ("sqlite::memory:".to_string(), "in memory only"),
        ("sqlite:a.db?mode=memory".to_string(), "in memory only"),
    ] {
        let config = format!(
            "connections:\n  shop: {{url: '{file}'}}\n  other: {{url: '{url}'}}\nflows:\n  \
             a: {{home: {{connection: shop, table: t}}, store: {{connection: other, table: \
             copy}}}}\n"
        );
        let sandbox = Sandbox::new(&config);
        for arguments in [["check"].as_slice(), &["build", "--dry-run"], &["build"]] {
            let ran = sandbox.run(arguments);
            assert!(
                ran.text.contains(wanted),
                "{url}, {arguments:?}: {} {}",
                ran.code,
                ran.text
            );
            assert!(
                ran.code == 1 || arguments.len() == 2,
                "{url}, {arguments:?}: {} {}",
                ran.code,
                ran.text
            );
        }
    }
    assert_eq!(database.ask("SELECT count(*) FROM sqlite_master"), "1");
}
