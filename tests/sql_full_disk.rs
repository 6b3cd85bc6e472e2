//! A database whose disk is full: the flow fails with its words and is not tried again; what was
//! there stays, and what was made is loaded once there is room.

use crate::common::databases::{Kind, Server, on_servers};
use crate::common::files::ints;
use crate::common::peers;
use crate::common::sandbox::Sandbox;

on_servers!(a_full_disk_of_a_server_is_named);

const FLOW: &str = "  a: {home: home, store: {connection: shop, table: numbers}}\n";

/// Options of MariaDB's: all tables in one file that grows to this size.
fn in_one_file(size: &str) -> [String; 2] {
    [
        "--innodb-file-per-table=0".into(),
        format!("--innodb-data-file-path=ibdata1:12M:autoextend:max:{size}"),
    ]
}

fn a_full_disk_of_a_server_is_named(kind: Kind) {
    let (server, place, words) = match kind {
        Kind::Postgres => (
            Server::with_disk("2m"),
            "TABLESPACE small",
            ["No space left on device", "53100"],
        ),
        // A table of MariaDB's that alone is on a full disk may end the server. All tables in one
        // file that may not grow do not.
        _ => (
            Server::with_options(kind, &in_one_file("20M").each_ref().map(String::as_str)),
            "",
            ["is full", "1114"],
        ),
    };
    let database = server.database();
    if kind == Kind::Postgres {
        database.run(&format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            server.disk().display()
        ));
    }
    database.run(&format!("CREATE TABLE numbers (id bigint) {place}"));
    let sandbox = database.project(FLOW);
    ints(&sandbox, "home/a.parquet", 0..10);
    assert_eq!(sandbox.build(&[]).code, 0);
    let receipt = || database.ask("SELECT row_count, output, published_at FROM hygge_receipts");
    let before = receipt();
    ints(&sandbox, "home/b.parquet", 10..200_000);
    for _ in 0..2 {
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 1, "{}", ran.text);
        assert!(
            ran.error()
                .starts_with("connection shop failed to write its rows: "),
            "{}",
            ran.error()
        );
        assert!(
            words.iter().all(|word| ran.error().contains(word)),
            "{}",
            ran.error()
        );
        assert!(
            !ran.text.contains("flow_retrying"),
            "it would not pass: {}",
            ran.text
        );
        assert_eq!(
            database.ask("SELECT count(*), min(id), max(id) FROM numbers"),
            "10|0|9",
            "nothing is published"
        );
        assert_eq!(receipt(), before);
    }
    match kind {
        Kind::Postgres => server.resize_disk("200m"),
        _ => server.restart_with(&in_one_file("200M").each_ref().map(String::as_str)),
    }
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.outcome("a")),
        (0, "restored"),
        "its parts were staged: {}",
        ran.text
    );
    assert_eq!(
        database.ask("SELECT count(*), count(DISTINCT id) FROM numbers"),
        "200000|200000"
    );
    if kind == Kind::Postgres {
        // A server cannot be stopped well before what lies on the disk is gone.
        database.run("DROP TABLE numbers; DROP TABLESPACE small");
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        let sandbox = Sandbox::new(&format!(
            "connections: {{shop: {{url: 'sqlite:disk/shop.db'}}}}\nflows:\n{FLOW}"
        ));
        ints(&sandbox, "home/a.parquet", 0..10);
        ints(&sandbox, "more/b.parquet", 10..200_000);
        let (_, text) = sandbox.with_mounts(
            "mkdir disk && mount -t tmpfs -o size=400k none disk && \"$0\" build && cp \
             more/b.parquet home && \
             \"$0\" build --format json; echo \"code $?\"; cp -r disk full; \
             mount -o remount,size=100m none disk && \"$0\" build --format json; echo \"then $?\"; \
             cp -r disk saved",
        );
        let (first, then) = text
            .split_once("code 1\n")
            .unwrap_or_else(|| panic!("it fails: {text}"));
        assert!(
            first.contains(
                "connection shop failed to write its rows: database or disk is full (code 13)"
            ),
            "{text}"
        );
        assert!(
            !first.contains("flow_retrying"),
            "it would not pass: {text}"
        );
        assert!(
            then.contains("then 0") && then.contains("\"outcome\":\"restored\""),
            "its parts were staged: {text}"
        );
        let asked = "import sqlite3, sys\nfor (row,) in sqlite3.connect(sys.argv[1]).execute(\n\
                     'SELECT count(*) || \" \" || count(DISTINCT id) FROM numbers UNION ALL \
                     SELECT row_count FROM hygge_receipts'): print(row)";
        for (folder, wanted) in [
            ("full", "10 10\n10\n"),
            ("saved", "200000 200000\n200000\n"),
        ] {
            let found = peers::run(asked, &[sandbox.path(folder).join("shop.db").as_os_str()]);
            assert_eq!(
                String::from_utf8_lossy(&found.stdout),
                wanted,
                "{folder}: {}",
                String::from_utf8_lossy(&found.stderr)
            );
        }
    }
}
