//! Windows of a watermark: time stamps by their instants, columns that are not what they were,
//! values without a place.

use std::fs;

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

on_each_database!(
    columns_that_came_or_went_are_named,
    a_receipt_of_before_knows_no_columns,
    the_last_day_of_the_calendar_is_a_watermark,
    rows_that_lie_in_no_slice_lie_in_a_window,
);

fn ids(sandbox: &Sandbox) -> Vec<u32> {
    let lines = peers::rows(&sandbox.path("out")).lines();
    let mut ids: Vec<u32> = lines
        .iter()
        .filter_map(|line| line.split('|').next()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids
}

fn events(database: &Database, kind: &str) {
    database.run(&format!(
        "CREATE TABLE events (id integer NOT NULL PRIMARY KEY, at {kind}, name varchar(40))"
    ));
}

/// Flows that read `events`: into files, and into tables by merging and adding.
fn everywhere(database: &Database, fields: &str) -> Sandbox {
    let home =
        format!("home: {{connection: shop, table: events, watermark: {{column: at{fields}}}}}");
    database.project(&format!(
        "  files:\n    mode: append\n    {home}\n    store: out\n  \
           merged:\n    mode: merge\n    {home}\n    \
           store: {{connection: shop, table: merged, key: [id]}}\n  \
           added:\n    mode: append\n    {home}\n    store: {{connection: shop, table: added}}\n"
    ))
}

fn columns_that_came_or_went_are_named(kind: Kind) {
    let retype = match kind {
        Kind::Sqlite => {
            "ALTER TABLE events DROP COLUMN name; ALTER TABLE events ADD COLUMN name blob"
        }
        Kind::Postgres => "ALTER TABLE events ALTER COLUMN name TYPE text",
        Kind::MySql => "ALTER TABLE events MODIFY COLUMN name longtext",
    };
    let cases: [(&str, &[&str]); 4] = [
        (
            "ALTER TABLE events ADD COLUMN extra integer DEFAULT 7",
            &["extra (", "is new"],
        ),
        ("ALTER TABLE events DROP COLUMN name", &["name is gone"]),
        (
            "ALTER TABLE events RENAME COLUMN name TO title",
            &["name is gone", "title (", "is new"],
        ),
        (retype, &["name was", "and is"]),
    ];
    for (change, wanted) in cases {
        let database = Database::new(kind);
        events(&database, "date");
        database.run(
            "INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b'), (3, \
             '2026-01-03', 'c')",
        );
        let sandbox = everywhere(&database, "");
        built(&sandbox);
        database.run(change);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 1, "{change}: {}", ran.text);
        for flow in ["files", "merged", "added"] {
            let ran = sandbox.build(&[flow]);
            assert_eq!(ran.code, 1, "{change}: {}", ran.text);
            assert!(
                ran.error()
                    .contains("other columns than what was moved before"),
                "{change}: {}",
                ran.error()
            );
            assert!(
                wanted.iter().all(|word| ran.error().contains(word)),
                "{change}: {}",
                ran.error()
            );
        }
        assert_eq!(
            database.ask("SELECT id FROM merged ORDER BY id"),
            "1\n2\n3",
            "nothing was changed"
        );
        if kind == Kind::Sqlite && !change.contains("RENAME") {
            continue;
        }
        // All of it anew is right again.
        assert_eq!(sandbox.build(&["--force", "files"]).code, 0);
        assert_eq!(ids(&sandbox), [1, 2, 3]);
    }
}

fn a_receipt_of_before_knows_no_columns(kind: Kind) {
    let database = Database::new(kind);
    events(&database, "date");
    database.run(
        "INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'b'), (3, \
         '2026-01-03', 'c')",
    );
    let sandbox = database.project(
        "  files: {mode: append, home: {connection: shop, table: events, watermark: {column: at}, \
         probe: {columns: [name]}}, store: out}\n",
    );
    built(&sandbox);
    let receipt = sandbox.path(".hygge/out.json");
    let mut read: serde_json::Value =
        serde_json::from_slice(&fs::read(&receipt).expect("a receipt")).expect("JSON");
    let columns = read["published"]
        .as_object_mut()
        .expect("a map")
        .remove("columns")
        .expect("columns");
    assert_eq!(columns[2]["name"], "name");
    fs::write(&receipt, serde_json::to_vec(&read).expect("JSON")).expect("a receipt");
    let again = sandbox.run(&["build"]).text;
    assert!(
        again.ends_with("hygge: nothing to do, 1 flow is fresh\n"),
        "{again}"
    );
    database.run("ALTER TABLE events ADD COLUMN extra integer");
    let text = failed(&sandbox).text;
    assert!(
        [
            "other columns than what was moved before",
            "name (",
            "extra ("
        ]
        .iter()
        .all(|word| text.contains(word)),
        "{text}"
    );
}

fn the_last_day_of_the_calendar_is_a_watermark(kind: Kind) {
    let database = Database::new(kind);
    database
        .run("CREATE TABLE events (id integer, at date NOT NULL PRIMARY KEY, name varchar(40))");
    database.run("INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '9999-12-31', 'b')");
    let sandbox = everywhere(&database, "");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2]);
    database.run("INSERT INTO events VALUES (3, '9999-12-30', 'late'), (4, '2026-01-05', 'late')");
    built(&sandbox);
    // Nothing can come behind that day; what comes before it is late.
    assert_eq!(ids(&sandbox), [1, 2]);
    assert_eq!(
        database.ask("SELECT id FROM added ORDER BY id"),
        "1",
        "a row of the last day could get company"
    );
    if kind == Kind::Postgres {
        database.run("INSERT INTO events VALUES (5, '5874897-12-31', 'far')");
        for command in [
            ["build", "files"].as_slice(),
            &["check"],
            &["build", "--dry-run"],
            &["why", "files"],
        ] {
            let ran = sandbox.run(command);
            assert!(
                matches!(ran.code, 0 | 1 | 2 | 10) && !ran.text.contains("panicked"),
                "{}",
                ran.text
            );
        }
        assert!(
            failed(&sandbox)
                .text
                .contains("5874897-12-31 cannot be a watermark")
        );
    }
}

fn rows_that_lie_in_no_slice_lie_in_a_window(kind: Kind) {
    let database = Database::new(kind);
    events(&database, "date");
    let odd = match kind {
        Kind::Sqlite => "'2026-02-31'",
        Kind::Postgres => "'0044-03-15 BC'",
        Kind::MySql => "'2026-05-00'",
    };
    let mode = if kind == Kind::MySql {
        "SET sql_mode = 'ALLOW_INVALID_DATES';"
    } else {
        ""
    };
    database.run(&format!(
        "{mode} INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, {odd}, 'b'), (3, \
         '2026-08-01', 'c'), (4, '2026-09-01', 'd')"
    ));
    let home =
        "connection: shop, table: events, watermark: {column: at}, slice: {column: at, by: month}";
    let flow = |more: &str| {
        database.project(&format!(
            "  a: {{mode: append, home: {{{home}{more}}}, store: out}}\n"
        ))
    };
    assert!(failed(&flow("")).text.contains("column at, row"));
    let sandbox = flow(", on_invalid: null");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2, 3, 4]);
    let sandbox = flow(", columns: [id]");
    built(&sandbox);
    assert_eq!(ids(&sandbox), [1, 2, 3, 4]);
}

/// Days since 1970 as a date.
fn date(day: i64) -> String {
    let script = "import sys, datetime; print(datetime.date(1970, 1, 1) + \
                  datetime.timedelta(int(sys.argv[1])))";
    String::from_utf8_lossy(&peers::run(script, &[day.to_string().as_ref()]).stdout)
        .trim()
        .to_string()
}

/// A text of an instant, in microseconds since 1970, by a clock that is so many minutes ahead.
fn text_of(instant: i64, ahead: i64, form: usize, dates: &[String], first: i64) -> String {
    let local = instant + ahead * 60_000_000;
    let (day, micros) = (
        local.div_euclid(86_400_000_000),
        local.rem_euclid(86_400_000_000),
    );
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}").trim_end_matches('0').to_string()
    };
    let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs());
    let offset = match form % 3 {
        _ if ahead == 0 && form.is_multiple_of(2) => "Z".to_string(),
        0 => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        1 => format!("{sign}{:02}{:02}", minutes / 60, minutes % 60),
        _ => format!(" {sign}{:02}:{:02}", minutes / 60, minutes % 60),
    };
    let between = if form.is_multiple_of(2) { 'T' } else { ' ' };
    format!(
        "{}{between}{clock}{fraction}{offset}",
        dates[usize::try_from(day - first).expect("a day")]
    )
}

/// Rows come in the order of their instants, each by a clock of its own: none is lost or doubled.
#[test]
fn time_stamps_of_sqlite_compare_by_their_instants() {
    let first = 20_400;
    let dates: Vec<String> = (first..first + 40).map(date).collect();
    for fields in ["", ", lag: 10h", ", lag: 3d"] {
        let database = Database::new(Kind::Sqlite);
        events(&database, "timestamptz");
        database.run("CREATE INDEX by_at ON events (at)");
        let sandbox = everywhere(&database, fields);
        let mut random: u64 = 42 + fields.len() as u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((random >> 33) % below).expect("a small number")
        };
        let mut instant = (first + 5) * 86_400_000_000;
        let mut id = 0;
        for round in 0..8 {
            let mut rows = Vec::new();
            for _ in 0..12 {
                id += 1;
                // Often at midnight of UTC, and a microsecond before it.
                instant = match next(6) {
                    0 => (instant.div_euclid(86_400_000_000) + 1) * 86_400_000_000,
                    1 => (instant.div_euclid(86_400_000_000) + 1) * 86_400_000_000 - 1,
                    _ => instant + next(14_400_000_000),
                };
                let ahead = (next(113) - 56) * 15;
                let form = usize::try_from(next(6)).expect("a number");
                rows.push(format!(
                    "({id}, '{}', 'n')",
                    text_of(instant, ahead, form, &dates, first)
                ));
            }
            database.run(&format!("INSERT INTO events VALUES {}", rows.join(", ")));
            built(&sandbox);
            let all: Vec<u32> = (1..=id).collect();
            assert_eq!(ids(&sandbox), all, "round {round}{fields}");
            let merged = database.ask("SELECT id FROM merged ORDER BY id");
            assert_eq!(
                merged
                    .lines()
                    .map(|id| id.parse().expect("a number"))
                    .collect::<Vec<u32>>(),
                all,
                "round {round}{fields}"
            );
            // What was added is no row twice, and all that is settled.
            assert_eq!(
                database.ask(
                    "SELECT count(*) - count(DISTINCT id), count(*) - coalesce(max(id), 0) \
                     FROM added"
                ),
                "0|0"
            );
        }
        let last = date(first + 39);
        database.run(&format!(
            "INSERT INTO events VALUES ({}, '{last}T12:00:00Z', 'n')",
            id + 1
        ));
        built(&sandbox);
        assert_eq!(
            database.ask("SELECT count(*), count(DISTINCT id), max(id) FROM added"),
            format!("{id}|{id}|{id}")
        );
    }
}

/// Windows of an earlier hygge ended by the days of local clocks. They stay, unless a row lies on
/// another side of their end.
#[test]
fn windows_of_before_are_taken_over_where_they_hold_the_same_rows() {
    for (more, is_taken) in [
        ("('2026-01-03T22:00:00Z')", true),
        ("('2026-01-04T22:00:00-05:00')", false),
        ("('2026-01-05T01:00:00+02:00')", false),
    ] {
        let database = Database::new(Kind::Sqlite);
        database.run("CREATE TABLE events (id integer PRIMARY KEY, at timestamptz)");
        database.run(
            "INSERT INTO events (at) VALUES ('2026-01-01T10:00:00Z'), ('2026-01-05T10:00:00Z')",
        );
        database.run(&format!("INSERT INTO events (at) VALUES {more}"));
        let sandbox = database.project(
            "  a: {mode: append, home: {connection: shop, table: events, watermark: {column: at}}, \
             store: out}\n",
        );
        built(&sandbox);
        let receipt = sandbox.path(".hygge/out.json");
        let text = fs::read_to_string(&receipt).expect("a receipt");
        assert!(text.contains("..2026-01-05Z\""), "{text}");
        fs::write(&receipt, text.replace("2026-01-05Z", "2026-01-05")).expect("a receipt");
        if is_taken {
            assert!(
                sandbox
                    .run(&["build"])
                    .text
                    .ends_with("hygge: nothing to do, 1 flow is fresh\n")
            );
        }
        database.run("INSERT INTO events (at) VALUES ('2026-01-09T10:00:00+03:00')");
        if is_taken {
            built(&sandbox);
            assert_eq!(ids(&sandbox), [1, 2, 3, 4]);
            let text = fs::read_to_string(&receipt).expect("a receipt");
            assert!(
                text.contains("2026-01-05Z..2026-01-09Z\"") && text.contains("\"..2026-01-05\""),
                "{text}"
            );
            built(&sandbox);
        } else {
            let text = failed(&sandbox).text;
            assert!(
                text.contains("days of local clocks") && text.contains("--force"),
                "{text}"
            );
            assert_eq!(sandbox.build(&["--force"]).code, 0);
            assert_eq!(ids(&sandbox), [1, 2, 3, 4]);
        }
    }
}

/// Numbers among dates lie below all of them, where no later build looks.
#[test]
fn what_lies_in_no_window_is_named() {
    for value in [
        "1767225600",
        "2461000.5",
        "'-2026-01-01'",
        "' 2026-01-01'",
        "''",
    ] {
        for declared in ["date", "datetime", "timestamptz"] {
            let database = Database::new(Kind::Sqlite);
            events(&database, declared);
            database
                .run("INSERT INTO events VALUES (1, '2026-01-01', 'a'), (2, '2026-01-05', 'b')");
            let sandbox = everywhere(&database, "");
            built(&sandbox);
            database.run(&format!("INSERT INTO events VALUES (3, {value}, 'odd')"));
            let text = failed(&sandbox).text;
            assert!(
                text.contains("rowid 3") && text.contains("lies in no window"),
                "{declared} {value}: {text}"
            );
        }
    }
}
