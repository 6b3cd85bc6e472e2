//! Every value into every type of column: it is there as it came, or the flow fails and names the
//! column, the row and the value.
//!
//! Pairs of a kind of values and a type that have something in common are tried, by `mode: replace`
//! and `mode: merge`; `HYGGE_TARGETS=all` tries all pairs. What the database made of a value is
//! judged by `tests/peers/targets.py`.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::Sandbox;

on_each_database!(every_value_is_exact_or_refused);

/// A type of columns, how its values are judged, how they are asked for, and the kinds of values
/// that some of fit.
struct Target {
    declared: &'static str,
    family: &'static str,
    asked: &'static str,
    kinds: &'static [&'static str],
}

const fn target(
    declared: &'static str,
    family: &'static str,
    asked: &'static str,
    kinds: &'static [&'static str],
) -> Target {
    Target {
        declared,
        family,
        asked,
        kinds,
    }
}

const NUMBERS: &[&str] = &[
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "decimal", "bool",
];
const TEXTS: &[&str] = &["text"];
const FLOATS: &[&str] = &["float32", "float64"];

const PG_HEX: &str = "encode(convert_to(v::text, 'UTF8'), 'hex')";
const PG_LIST: &str = "encode(convert_to(to_json(v)::text, 'UTF8'), 'hex')";

const POSTGRES: &[Target] = &[
    target("smallint", "number", "v::text", NUMBERS),
    target("integer not null", "number", "v::text", NUMBERS),
    target("bigint", "number", "v::text", NUMBERS),
    target("oid", "number", "v::text", NUMBERS),
    target("numeric", "number", "v::text", NUMBERS),
    target("numeric(5,2)", "number", "v::text", NUMBERS),
    target("numeric(3,-2)", "number", "v::text", NUMBERS),
    target("numeric(50,20)", "number", "v::text", NUMBERS),
    target("real", "single", "v::text", FLOATS),
    target("double precision", "number", "v::text", FLOATS),
    target("boolean", "bool", "v::text", &["bool", "int8"]),
    target("text", "bytes", PG_HEX, TEXTS),
    target("varchar(3)", "bytes", PG_HEX, TEXTS),
    target("char(3)", "bytes", "encode(bpcharsend(v), 'hex')", TEXTS),
    target("bpchar", "bytes", "encode(bpcharsend(v), 'hex')", TEXTS),
    target("\"char\"", "bytes", PG_HEX, TEXTS),
    target("name", "bytes", PG_HEX, TEXTS),
    target("json", "bytes", PG_HEX, TEXTS),
    target("jsonb", "json", PG_HEX, TEXTS),
    target("xml", "bytes", PG_HEX, TEXTS),
    target("uuid", "uuid", PG_HEX, TEXTS),
    target("bit(3)", "bytes", PG_HEX, TEXTS),
    target("varbit(3)", "bytes", PG_HEX, TEXTS),
    target("interval", "bytes", PG_HEX, TEXTS),
    target(
        "inet",
        "bytes",
        "encode(convert_to(host(v) || CASE WHEN v::text LIKE '%/%' THEN '/' || masklen(v) ELSE '' \
         END, 'UTF8'), 'hex')",
        TEXTS,
    ),
    target("cidr", "bytes", PG_HEX, TEXTS),
    target("money", "bytes", PG_HEX, TEXTS),
    target("int4range", "bytes", PG_HEX, TEXTS),
    target("mood", "bytes", PG_HEX, TEXTS),
    target("short", "bytes", PG_HEX, TEXTS),
    target("price", "number", "v::text", NUMBERS),
    target("bytea", "bytes", "encode(v, 'hex')", &["bytes"]),
    target("date", "date", "v::text", &["date", "timestamp"]),
    target("time(0)", "time", "v::text", &["time"]),
    target("time", "time", "v::text", &["time"]),
    target(
        "timestamp(0)",
        "moment",
        "v::text",
        &["timestamp", "date", "timestamp_utc"],
    ),
    target("timestamp(3)", "moment", "v::text", &["timestamp"]),
    target("timestamp", "moment", "v::text", &["timestamp"]),
    target(
        "timestamptz(0)",
        "moment",
        "(v AT TIME ZONE 'UTC')::text",
        &["timestamp_utc"],
    ),
    target(
        "timestamptz not null",
        "moment",
        "(v AT TIME ZONE 'UTC')::text",
        &["timestamp_utc", "timestamp"],
    ),
    target("text[]", "list", PG_LIST, &["list_text", "list_int"]),
    target("varchar(3)[]", "list", PG_LIST, &["list_text", "text"]),
    target("integer[]", "list", PG_LIST, &["list_int"]),
    target("timestamp(0)[]", "list", PG_LIST, &["list_timestamp"]),
    target("uuid[]", "list", PG_LIST, &["list_text"]),
    target("mood[]", "list", PG_LIST, &["list_text"]),
    target(
        "integer GENERATED ALWAYS AS IDENTITY",
        "number",
        "v::text",
        NUMBERS,
    ),
];

const MYSQL: &[Target] = &[
    target("tinyint", "number", "v", NUMBERS),
    target("smallint unsigned", "number", "v", NUMBERS),
    target("mediumint", "number", "v", NUMBERS),
    target("int not null", "number", "v", NUMBERS),
    target("bigint", "number", "v", NUMBERS),
    target("bigint unsigned", "number", "v", NUMBERS),
    target(
        "bigint NOT NULL AUTO_INCREMENT UNIQUE",
        "number",
        "v",
        NUMBERS,
    ),
    target("year", "number", "v", NUMBERS),
    target("decimal(5,2)", "number", "v", NUMBERS),
    target("decimal(65,30)", "number", "v", NUMBERS),
    target("float", "single", "CAST(v AS double)", FLOATS),
    target("float(7,2)", "single", "CAST(v AS double)", FLOATS),
    target("double", "number", "v", FLOATS),
    // A cast would cut it.
    target("double(8,2)", "number", "v + 0e0", FLOATS),
    target("bit(10)", "bytes", "LPAD(HEX(v), 4, '0')", &["bytes"]),
    target("char(3)", "bytes", "HEX(v)", TEXTS),
    target("varchar(3)", "bytes", "HEX(v)", TEXTS),
    target(
        "varchar(3) CHARACTER SET latin1",
        "bytes",
        "HEX(CONVERT(v USING utf8mb4))",
        TEXTS,
    ),
    target("tinytext", "bytes", "HEX(v)", TEXTS),
    target("text", "bytes", "HEX(v)", TEXTS),
    target("longtext", "bytes", "HEX(v)", TEXTS),
    target("enum('red','blue','1')", "bytes", "HEX(v)", TEXTS),
    target("set('red','blue')", "bytes", "HEX(v)", TEXTS),
    // In MariaDB it is a text.
    target("json", "bytes", "HEX(v)", TEXTS),
    target("uuid", "uuid", "HEX(CONCAT(v))", TEXTS),
    target("inet4", "bytes", "HEX(CONCAT(v))", TEXTS),
    target("inet6", "bytes", "HEX(CONCAT(v))", TEXTS),
    target("binary(3)", "bytes", "HEX(v)", &["bytes"]),
    target("varbinary(3)", "bytes", "HEX(v)", &["bytes"]),
    target("tinyblob", "bytes", "HEX(v)", &["bytes"]),
    target("longblob", "bytes", "HEX(v)", &["bytes"]),
    target("date", "date", "v", &["date", "timestamp"]),
    target("time", "time", "v", &["time"]),
    target("time(6)", "time", "v", &["time"]),
    target("datetime", "moment", "v", &["timestamp", "date"]),
    target("datetime(3)", "moment", "v", &["timestamp"]),
    target(
        "datetime(6)",
        "moment",
        "v",
        &["timestamp", "timestamp_utc"],
    ),
    target("timestamp NOT NULL", "moment", "v", &["timestamp_utc"]),
    target(
        "timestamp(6) NULL",
        "moment",
        "v",
        &["timestamp_utc", "timestamp"],
    ),
];

const SQLITE_ASKED: &str = "typeof(v) || ':' || CASE typeof(v) WHEN 'text' THEN hex(v) WHEN 'blob' \
     THEN hex(v) WHEN 'real' THEN printf('%!.20g', v) ELSE v END";
const ANY: &[&str] = &[
    "int64",
    "uint64",
    "decimal",
    "bool",
    "text",
    "float64",
    "bytes",
    "date",
    "time",
    "timestamp",
    "timestamp_utc",
];

const fn lite(declared: &'static str) -> Target {
    target(declared, "sqlite", SQLITE_ASKED, ANY)
}

const SQLITE: &[Target] = &[
    lite(""),
    lite("integer"),
    lite("integer UNIQUE NOT NULL"),
    lite("smallint"),
    lite("bigint unsigned"),
    lite("boolean"),
    lite("real"),
    lite("float4"),
    lite("numeric"),
    lite("decimal(5,2)"),
    lite("decimal(30,4)"),
    // hygge's own: decimals as texts.
    target("decimal_text(30,4)", "sqlite_text", SQLITE_ASKED, ANY),
    lite("text"),
    lite("text COLLATE NOCASE"),
    lite("varchar(3)"),
    lite("STRING"),
    lite("uuid"),
    lite("json"),
    lite("blob"),
    lite("date"),
    lite("datetime"),
    lite("timestamptz"),
    lite("time"),
];

fn every_value_is_exact_or_refused(kind: Kind) {
    let targets = match kind {
        Kind::Sqlite => SQLITE,
        Kind::Postgres => POSTGRES,
        Kind::MySql => MYSQL,
    };
    // SQLite reads all that it knows of its tables each time that it is opened.
    let databases: Vec<Database> = targets
        .iter()
        .take(if kind == Kind::Sqlite {
            targets.len()
        } else {
            1
        })
        .map(|_| Database::new(kind))
        .collect();
    let place = |target: usize| if kind == Kind::Sqlite { target } else { 0 };
    if kind == Kind::Postgres {
        databases[0].run(
            "CREATE TYPE mood AS ENUM ('red', 'blue'); CREATE DOMAIN short AS varchar(2); \
             CREATE DOMAIN price AS numeric(4,1)",
        );
    }
    let sandbox = Sandbox::new("");
    let written = peers::python(
        "targets.py",
        &[OsStr::new("write"), sandbox.path("values").as_os_str()],
    );
    assert_success(&written);
    let kinds: Vec<String> = serde_json::from_slice(&written.stdout).expect("a line of JSON");
    let is_all = std::env::var("HYGGE_TARGETS").is_ok_and(|wanted| wanted == "all");
    let (mut config, mut pairs) = ("connections:\n".to_string(), Vec::new());
    // Most of the time is the way to the server.
    databases.iter().enumerate().for_each(|(number, database)| {
        config.push_str(&format!(
            "  shop{number}: {{pool_size: 16, url: \"{}\"}}\n",
            database.url()
        ));
    });
    config.push_str("flows:\n");
    for (position, target) in targets.iter().enumerate() {
        let mut tables = Vec::new();
        for (value, _) in kinds
            .iter()
            .enumerate()
            .filter(|(_, found)| is_all || target.kinds.contains(&found.as_str()))
        {
            let number = pairs.len();
            let charset = if kind == Kind::MySql {
                " CHARACTER SET utf8mb4"
            } else {
                ""
            };
            tables.push(format!(
                "CREATE TABLE t{number} (k bigint PRIMARY KEY, v {}){charset};",
                target.declared
            ));
            // Which of both it is changes from value to value, and from type to type.
            let (mode, key) = if number % 2 == 0 {
                ("replace", "")
            } else {
                ("merge", "key: k, ")
            };
            let store = format!(
                "{{connection: shop{}, {key}table: t{number}}}",
                place(position)
            );
            config.push_str(&format!(
                "  f{number}: {{mode: {mode}, home: values/{value}, store: {store}}}\n"
            ));
            pairs.push((value, position));
        }
        let (begin, end) = if kind == Kind::Sqlite {
            ("BEGIN; ", "COMMIT")
        } else {
            ("", "")
        };
        databases[place(position)].run(&format!("{begin}{}{end}", tables.join(" ")));
    }
    sandbox.write("hygge.yml", config);
    let ran = sandbox.build(&[]);
    assert!(ran.code <= 1, "{}", ran.text);
    let (mut built, mut refused) = (Vec::new(), 0);
    for (number, (_, position)) in pairs.iter().enumerate() {
        let ended = ran.events.iter().find(|event| {
            event["event"] == "flow_finished" && event["flow"] == format!("f{number}")
        });
        let ended = ended.unwrap_or_else(|| panic!("f{number} did not end: {}", ran.text));
        if ended["outcome"] == "built" || ended["outcome"] == "restored" {
            built.push(number);
        } else {
            refused += 1;
            let error = ended["error"].as_str().unwrap_or_default();
            assert!(
                !error.contains("library") && !error.contains("fault of hygge"),
                "{}: {error}",
                targets[*position].declared
            );
        }
    }
    let settings = match kind {
        Kind::Sqlite => "",
        Kind::Postgres => "SET intervalstyle = iso_8601; ",
        Kind::MySql => "SET time_zone = '+00:00'; ",
    };
    let mut lines = String::new();
    for (position, target) in targets.iter().enumerate() {
        let its: Vec<usize> = built
            .iter()
            .copied()
            .filter(|number| pairs[*number].1 == position)
            .collect();
        for chunk in its.chunks(100) {
            let asked = |number: &usize| {
                format!(
                    "SELECT {number} AS n, coalesce(CAST(({}) AS {}), 'none') AS a FROM t{number}",
                    target.asked,
                    text(kind)
                )
            };
            let asked: Vec<String> = chunk.iter().map(asked).collect();
            let answers =
                databases[place(position)].ask(&format!("{settings}{}", asked.join(" UNION ALL ")));
            assert_eq!(
                answers.lines().count(),
                chunk.len(),
                "each table has its row"
            );
            for line in answers.lines() {
                let (number, answer) = line.split_once('|').expect("two values");
                let (value, _) = pairs[number.parse::<usize>().expect("a number")];
                lines.push_str(&format!("{value}|{}|{answer}\n", target.family));
            }
        }
    }
    assert!(
        built.len() > pairs.len() / 10 && refused > pairs.len() / 10,
        "{} of {} are built",
        built.len(),
        pairs.len()
    );
    let interpreter = std::env::var_os("HYGGE_TEST_PYTHON").expect("a Python");
    let mut judge = Command::new(interpreter);
    judge
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/peers/targets.py"
        ))
        .arg("judge")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut judge = judge.spawn().expect("Python runs");
    judge
        .stdin
        .take()
        .expect("a pipe")
        .write_all(lines.as_bytes())
        .expect("what is judged");
    let judged = judge.wait_with_output().expect("an end");
    assert!(
        judged.status.success(),
        "{} built, {refused} refused:\n{}",
        built.len(),
        String::from_utf8_lossy(&judged.stdout)
    );
}

/// What a text is called in a cast.
fn text(kind: Kind) -> &'static str {
    if kind == Kind::MySql { "char" } else { "text" }
}
