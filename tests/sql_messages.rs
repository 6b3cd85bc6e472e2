//! What is said where a database, or the way to it, refuses: what is needed, and where.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::databases::{Database, Kind};
use crate::common::files;
use crate::common::sandbox::Sandbox;

/// A project whose flow fills a table of a server as another user, who may do so much.
fn limited(database: &Database, user: &str, rest: &str) -> Sandbox {
    let sandbox = Sandbox::new(&format!(
        "connections: {{shop: {{url: \"{}\"}}}}\nflows: {{f: {{home: home, store: {{connection: \
         shop, table: t}}, retries: 0{rest}}}}}\n",
        database.url_of(user, database.port())
    ));
    files::ints(&sandbox, "home/a.parquet", 0..3);
    sandbox
}

#[test]
fn what_a_user_must_be_allowed_to_do_is_said() {
    let database = Database::new(Kind::Postgres);
    let user = format!("hygge_limited_{}", std::process::id());
    database.run(&format!(
        "CREATE ROLE {user} LOGIN; CREATE TABLE t (id bigint); \
         REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT SELECT, INSERT ON t TO {user}"
    ));
    let sandbox = limited(&database, &user, "");
    let says = |words: &str| {
        let ran = sandbox.run(&["build"]);
        assert!(
            ran.code == 1 && ran.text.contains(words),
            "{words} is not in {}",
            ran.text
        );
    };
    says("needs CREATE on the schema, in which hygge keeps the table hygge_receipts");
    database.run(&format!("GRANT CREATE ON SCHEMA public TO {user}"));
    says("needs SELECT, INSERT, UPDATE and DELETE on the table that it fills");
    database.run(&format!(
        "GRANT DELETE ON t TO {user}; REVOKE INSERT ON t FROM {user}"
    ));
    says("needs SELECT, INSERT, UPDATE and DELETE on the table that it fills");
    database.run(&format!(
        "GRANT INSERT ON t TO {user}; ALTER TABLE hygge_receipts OWNER TO postgres"
    ));
    says(
        "needs SELECT, INSERT, UPDATE and DELETE on hygge_receipts, which another user may have \
         made",
    );
    database.run(&format!("GRANT ALL ON hygge_receipts TO {user}"));
    assert_eq!(sandbox.run(&["build"]).code, 0);
    database.run(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
    let database = Database::new(Kind::MySql);
    database.run(&format!(
        "CREATE USER {user}@'%'; CREATE TABLE t (id bigint); GRANT SELECT ON t TO {user}@'%'"
    ));
    let sandbox = limited(&database, &user, "");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1
            && ran.text.contains(
                "needs CREATE on the schema, in which hygge keeps the table hygge_receipts"
            ),
        "{}",
        ran.text
    );
    database.run(&format!("DROP USER {user}@'%'"));
}

#[test]
fn a_row_that_is_longer_than_the_server_takes_is_named() {
    let database = Database::new(Kind::MySql);
    let most: usize = database
        .ask("SELECT @@global.max_allowed_packet")
        .parse()
        .expect("a number");
    let sandbox =
        database.project("  f: {home: home, store: {connection: shop, table: t}, retries: 1}\n");
    crate::common::peers::run(
        "import pyarrow as pa, pyarrow.parquet as pq, os, sys\n\
         os.makedirs(sys.argv[1])\n\
         texts = ['a'] * 5 + ['b' * int(sys.argv[2])] + ['c'] * 3\n\
         pq.write_table(pa.table({'id': list(range(9)), 'text': texts}), sys.argv[1] + \
         '/a.parquet')",
        &[sandbox.path("home").as_os_str(), most.to_string().as_ref()],
    );
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text.contains("row 6 of")
            && ran
                .text
                .contains(&format!("max_allowed_packet of the server is {most}")),
        "{}",
        ran.text
    );
    assert!(!ran.text.contains("tried again"), "{}", ran.text);
    assert_eq!(database.ask("SELECT count(*) FROM t"), "0");
}

#[test]
fn statements_end_before_they_are_too_long() {
    let database = Database::new(Kind::MySql);
    let most: usize = database
        .ask("SELECT @@global.max_allowed_packet")
        .parse()
        .expect("a number");
    let sandbox =
        database.project("  f: {home: home, store: {connection: shop, table: t}, retries: 0}\n");
    // Two rows that fit, each alone.
    crate::common::peers::run(
        "import pyarrow as pa, pyarrow.parquet as pq, os, sys\n\
         os.makedirs(sys.argv[1])\n\
         pq.write_table(pa.table({'id': [1, 2, 3], 'text': ['a' * 1000, 'b' * (int(sys.argv[2]) - \
         500), 'c']}), sys.argv[1] + '/a.parquet')",
        &[sandbox.path("home").as_os_str(), most.to_string().as_ref()],
    );
    assert_eq!(sandbox.run(&["build"]).code, 0);
    assert_eq!(
        database.ask("SELECT group_concat(length(text) ORDER BY id) FROM t"),
        format!("1000,{},1", most - 500)
    );
}

#[test]
fn a_log_on_media_that_cannot_be_written_to_is_said() {
    let database = Database::new(Kind::Sqlite);
    database.run(
        "CREATE TABLE t (id integer); INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let sandbox = Sandbox::new(
        "connections: {shop: {url: \"sqlite:media/shop.db\"}}\n\
         flows: {f: {home: {connection: shop, table: t}, store: out, retries: 0}}\n",
    );
    sandbox.write("media/shop.db", fs::read(database.file()).expect("a file"));
    fs::set_permissions(sandbox.path("media"), fs::Permissions::from_mode(0o555)).expect("rights");
    let ran = sandbox.run_obedient(&["build"]);
    assert!(
        ran.code == 1 && ran.text.contains("sqlite:FILE?immutable=1"),
        "{}",
        ran.text
    );
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write(
        "hygge.yml",
        config.replace("shop.db", "shop.db?immutable=1"),
    );
    let ran = sandbox.run_obedient(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    fs::set_permissions(sandbox.path("media"), fs::Permissions::from_mode(0o755)).expect("rights");
    // The same of a mount.
    sandbox.write("hygge.yml", config);
    let script = "mkdir disk && mount -t tmpfs none disk && cp media/shop.db disk && mount -o \
                  remount,ro disk && sed -i s/media/disk/ hygge.yml && \"$0\" build f --force; \
                  \"$0\" check";
    let (_, text) = sandbox.with_mounts(script);
    assert!(
        text.matches("sqlite:FILE?immutable=1").count() >= 2,
        "{text}"
    );
}

#[test]
fn texts_that_are_not_utf8_are_said_to_be_bytes() {
    let database = Database::new(Kind::Sqlite);
    database.run(
        "CREATE TABLE t (id integer primary key, name text); \
         INSERT INTO t VALUES (1, CAST(X'ff41' AS text))",
    );
    let sandbox = database.project("  f: {home: {connection: shop, table: t}, store: out}\n");
    let ran = sandbox.run(&["build"]);
    assert!(
        ran.code == 1
            && ran.text.contains("column name, row 1")
            && ran.text.contains("cast(x as blob)"),
        "{}",
        ran.text
    );
    let sandbox = database.project(
        "  f: {home: {connection: shop, query: \"select id, cast(name as blob) as name from t\", \
         types: {name: binary}}, store: out}\n",
    );
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    let (postgres, mysql) = (Database::new(Kind::Postgres), Database::new(Kind::MySql));
    let said = |connection: &str| {
        let ran = Sandbox::new(&format!(
            "connections: {{shop: {connection}}}\nflows: {{f: {{home: {{connection: shop, table: \
             t}}, store: out}}}}\n"
        ))
        .run(&["check"]);
        assert_eq!(ran.code, 1, "{connection}: {}", ran.text);
        ran.text
    };
    let url = postgres.url();
    for (connection, words) in [
        (
            format!("{{url: '{url}?sslmode=nonsense'}}"),
            "its sslmode is none of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        (
            "{url: 'mysql://u@h/db?ssl-mode=x'}".into(),
            "its sslmode is none of disabled, preferred",
        ),
        (
            "{url: 'postgres://u@h:port/db'}".into(),
            "its port is no number",
        ),
        (
            "{url: 'postgres://u@[::1/db'}".into(),
            "its host is no address",
        ),
        (
            "{url: 'sqlite:a.db?mode=x'}".into(),
            "its mode is none of ro, rw, rwc and memory",
        ),
        (
            "{url: 'sqlite:a.db?nolock=1'}".into(),
            "a parameter that SQLite does not have",
        ),
        (
            format!("{{url: '{url}', sslrootcert: certificates/ca.pem}}"),
            "its sslrootcert certificates/ca.pem does not exist",
        ),
        (
            format!("{{url: '{url}?sslrootcert=/nowhere/ca.pem'}}"),
            "the file does not exist that sslrootcert in its URL names",
        ),
        (
            format!("{{url: '{}?ssl-ca=/nowhere/ca.pem'}}", mysql.url()),
            "the file does not exist that ssl-ca in its URL names",
        ),
        (
            format!(
                "{{url: 'postgres://root@127.0.0.1:{}/x?sslmode=require'}}",
                mysql.port()
            ),
            "what answers there is no PostgreSQL server",
        ),
        (
            format!(
                "{{url: 'postgres://127.0.0.1:{}/{}'}}",
                postgres.port(),
                "nowhere"
            ),
            "role \"root\" does not exist",
        ),
    ] {
        let text = said(&connection);
        assert!(
            text.contains(words) && text.contains("hint:") && !text.contains("nonsense"),
            "{words} is not said of {connection}: {text}"
        );
    }
    // Parameters that nobody reads.
    for (connection, name, hint) in [
        (
            "mysql://u@h/db?unix_socket=/run/s",
            "unix_socket",
            "did you mean socket?",
        ),
        (
            "postgres://u@h/db?target_session_attrs=any&sslmode=require",
            "target_session_attrs",
            "parameters that are read: sslmode",
        ),
        (
            "postgres://u@h/db?sslmod=require",
            "sslmod",
            "did you mean sslmode?",
        ),
    ] {
        let ran = Sandbox::new(&format!(
            "connections: {{shop: {{url: '{connection}'}}}}\n\
             flows: {{f: {{home: h, store: out}}}}\n"
        ))
        .run(&["check", "--offline"]);
        assert!(
            ran.code == 0
                && ran
                    .text
                    .contains(&format!("has the parameter {name}, which nobody reads"))
                && ran.text.contains(hint),
            "{}",
            ran.text
        );
    }
}

#[test]
fn a_socket_is_reached_as_libpq_writes_it() {
    let database = Database::new(Kind::Postgres);
    let folder = database.ask("SHOW unix_socket_directories");
    let folder = folder.split(',').next().unwrap_or_default().trim();
    database.run("CREATE TABLE t (id bigint primary key); INSERT INTO t VALUES (1)");
    let name = database.ask("SELECT current_database()");
    for url in [
        format!(
            "postgres://postgres@/{name}?host={folder}&port={}",
            database.port()
        ),
        format!(
            "postgres://postgres@:{}/{name}?host={folder}",
            database.port()
        ),
        format!(
            "postgres:///{name}?host={folder}&port={}&user=postgres",
            database.port()
        ),
    ] {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: \"{url}\"}}}}\n\
             flows: {{f: {{home: {{connection: shop, table: t}}, store: out}}}}\n"
        ));
        let ran = sandbox.run(&["build"]);
        assert_eq!(ran.code, 0, "{url}: {}", ran.text);
    }
}

#[test]
fn types_of_columns_that_do_not_come_are_said() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  f: {home: home, store: {connection: shop, table: t, columns: {id: integer, other: \
         text}}}\n",
    );
    files::ints(&sandbox, "home/a.parquet", 0..3);
    for _ in 0..2 {
        let ran = sandbox.run(&["check"]);
        assert!(
            ran.code == 0
                && ran.text.contains(
                    "columns of the store gives column other a type, and no such column comes"
                ),
            "{}",
            ran.text
        );
        assert!(!ran.text.contains("column id a type"), "{}", ran.text);
        assert_eq!(sandbox.run(&["build"]).code, 0);
    }
}

fn with_two_files(database: &Database, flows: &str) -> Sandbox {
    let sandbox = database.project(flows);
    files::ints(&sandbox, "home/a.parquet", 0..3);
    files::ints(&sandbox, "home/b.parquet", 3..5);
    sandbox
}

#[test]
fn check_fails_where_a_build_would() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::MySql] {
        let database = Database::new(kind);
        database.run("CREATE TABLE t (id bigint PRIMARY KEY)");
        database.run(
            "CREATE TABLE child (id bigint, FOREIGN KEY (id) REFERENCES t (id) ON DELETE CASCADE)",
        );
        database.run("CREATE TABLE made (id bigint PRIMARY KEY)");
        database.run(&format!(
            "CREATE TABLE dates (id {})",
            if kind == Kind::Sqlite {
                "date"
            } else {
                "date NULL"
            }
        ));
        for (flows, said) in [
            (
                "  f: {home: home, mode: merge, store: {connection: shop, table: made, key: \
                 [nope]}}\n",
                "the key of table made has the column nope, which does not come",
            ),
            (
                "  f: {home: home, store: {connection: shop, table: t}}\n",
                "child (ON DELETE CASCADE)",
            ),
            (
                "  f: {home: home, mode: merge, store: {connection: shop, table: made, key: [id], \
                 delete_where: nope > 1}}\n",
                "nope",
            ),
            (
                "  f: {home: home, mode: merge, store: {connection: shop, table: other, key: [id], \
                 delete_where: nope > 1}}\n",
                "nope",
            ),
            (
                "  u: {home: home, store: u}\n  f: {home: {flow: u}, store: {connection: shop, \
                 table: dates}}\n",
                "column id is int64, which has no place in table dates",
            ),
            (
                "  f: {home: home, store: {path: out, file_pattern: x.parquet}}\n",
                "file_pattern gives two parts the name \"x.parquet\": those of a.parquet and \
                 b.parquet",
            ),
        ] {
            let sandbox = with_two_files(&database, flows);
            let checked = sandbox.run(&["check"]);
            assert!(
                checked.code == 1 && checked.text.contains(said),
                "{kind:?} {flows}: {}",
                checked.text
            );
            let built = sandbox.run(&["build"]);
            assert!(
                built.code == 1 && built.text.contains(said),
                "{kind:?} {flows}: {}",
                built.text
            );
        }
        // And it does not where one would not.
        for flows in [
            "  f: {home: home, mode: merge, store: {connection: shop, table: made, key: [id], \
             delete_where: id > 3}}\n",
            "  f: {home: home, mode: merge, store: {connection: shop, table: others, key: [id], \
             delete_where: id > 3 and id < 9}}\n",
            "  u: {home: home, store: u}\n  f: {home: {flow: u}, store: {connection: shop, table: \
             more}}\n",
            "  f: {home: home, mode: merge, store: {connection: shop, table: t, key: [id]}}\n",
            "  f: {home: home, store: {path: out, file_pattern: \"{stem}-{digest}.parquet\"}}\n",
        ] {
            let sandbox = with_two_files(&database, flows);
            let checked = sandbox.run(&["check"]);
            assert_eq!(checked.code, 0, "{kind:?} {flows}: {}", checked.text);
            let built = sandbox.run(&["build"]);
            assert_eq!(built.code, 0, "{kind:?} {flows}: {}", built.text);
        }
        let sandbox = database
            .project("  f: {home: home, store: {connection: shop, table: Hygge_Receipts}}\n");
        let ran = sandbox.run(&["check", "--offline"]);
        assert!(
            ran.code == 2 && ran.text.contains("in which hygge keeps its receipts"),
            "{}",
            ran.text
        );
    }
}
