//! Random tables and files with a column of every type: no value changes on its way from a database
//! into parquet, nor from parquet through a database into parquet.
//!
//! `HYGGE_TYPE_CASES` sets the number of tables of each kind, which have a hundred rows each.
//! Values are the texts of `tests/peers/exact.py`, in which pyarrow writes and reads them; the
//! client of each database inserts them.

use std::ffi::OsStr;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::common::assert_success;
use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::Sandbox;
use crate::common::values::{self, Floats, Values, literal};

on_each_database!(
    values_of_every_type_arrive_as_they_were,
    files_come_back_as_they_were
);

const ROWS: usize = 100;

/// A column, and which values it has.
#[derive(Clone)]
struct Column {
    /// Its type in the database.
    declared: String,
    /// Its type in the file, as pyarrow calls it.
    kind: String,
    values: Values,
    /// Where values are literals, which arrive as the database's own text: how the client asks for
    /// that of the column `{}`.
    text: Option<&'static str>,
}

/// A column with the values that were drawn for it.
#[derive(Clone, Debug)]
struct Filled {
    declared: String,
    kind: String,
    text: Option<&'static str>,
    values: Vec<Option<String>>,
}

fn column(declared: impl Into<String>, kind: impl Into<String>, values: Values) -> Column {
    Column {
        declared: declared.into(),
        kind: kind.into(),
        values,
        text: None,
    }
}

/// A column that arrives as the text that the database makes of it.
fn as_text(
    declared: &str,
    text: &'static str,
    literals: impl Strategy<Value = String> + 'static,
) -> Column {
    Column {
        declared: declared.into(),
        kind: "string".into(),
        values: literals.boxed(),
        text: Some(text),
    }
}

fn filled(columns: Vec<Column>) -> impl Strategy<Value = Vec<Filled>> {
    let filled = |Column {
                      declared,
                      kind,
                      values,
                      text,
                  }: Column| {
        let values = prop::collection::vec(prop::option::weighted(0.9, values), ROWS);
        values.prop_map(move |values| Filled {
            declared: declared.clone(),
            kind: kind.clone(),
            text,
            values,
        })
    };
    columns.into_iter().map(filled).collect::<Vec<_>>()
}

/// Digits of decimals, before and behind the point.
fn digits(most: u8, most_behind: u8) -> impl Strategy<Value = Vec<(u8, u8)>> {
    let some = (1..=most).prop_flat_map(move |all| (Just(all), 0..=all.min(most_behind)));
    prop::collection::vec(some, 3)
        .prop_map(move |some| [some, vec![(most, 0), (most, most.min(most_behind))]].concat())
}

fn run<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
    test: impl Fn(T) -> Result<(), TestCaseError>,
) {
    let cases = std::env::var("HYGGE_TYPE_CASES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(4);
    // What is said of a failure names its value; a smaller table would not say more.
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    });
    runner
        .run(&strategy.prop_map(Quiet), |case| test(case.0))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A case that is not shown when it fails: it is long.
struct Quiet<T>(T);

impl<T> std::fmt::Debug for Quiet<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table")
    }
}

/// What pyarrow reads: the schema and the columns.
fn read(folder: &Path) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let read = peers::python("exact.py", &[OsStr::new("read"), folder.as_os_str()]);
    assert_success(&read);
    let read: Value = serde_json::from_slice(&read.stdout).expect("a line of JSON");
    let schema = serde_json::from_value(read["schema"].clone()).expect("a schema");
    (
        schema,
        serde_json::from_value(read["columns"].clone()).expect("columns"),
    )
}

/// What the database keeps of a value: neither SQLite nor MySQL has a zero with a sign.
fn kept(database: Kind, kind: &str, value: &str) -> String {
    let has_sign = matches!(kind, "float" | "double")
        && value.starts_with('8')
        && value[1..].bytes().all(|digit| digit == b'0');
    if has_sign && database != Kind::Postgres {
        value.replace('8', "0")
    } else {
        value.to_string()
    }
}

fn same(
    name: &str,
    wanted: &[Option<String>],
    found: &[Option<String>],
    literals: &[Option<String>],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(wanted.len(), found.len(), "{}", name);
    for (row, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        prop_assert_eq!(wanted, found, "{}, row {}: {:?}", name, row, literals[row]);
    }
    Ok(())
}

/// Types that all databases have by these names.
fn everywhere(kind: Kind) -> Vec<Column> {
    let floats = match kind {
        Kind::Postgres => Floats::All,
        Kind::MySql => Floats::Finite,
        Kind::Sqlite => Floats::WithoutNan,
    };
    vec![
        column(
            "smallint",
            "int16",
            values::whole(i16::MIN.into(), i16::MAX.into()),
        ),
        column(
            "bigint",
            "int64",
            values::whole(i64::MIN.into(), i64::MAX.into()),
        ),
        column("double precision", "double", values::doubles(floats)),
        column("date", "date32[day]", values::days()),
        column(
            if kind == Kind::Sqlite {
                "time"
            } else {
                "time(6)"
            },
            "time64[ns]",
            values::times(values::clocks(), 1000),
        ),
        column("varchar(40)", "string", values::words(20)),
    ]
}

fn postgres(digits: &[(u8, u8)]) -> Vec<Column> {
    const TEXT: &str = "{}::text";
    let mut columns = everywhere(Kind::Postgres);
    let (wide, moments) = (
        values::whole(-719_162, 2_145_042_905),
        values::whole(-62_135_596_800_000_000, i64::MAX.into()),
    );
    let without_zero = |sign| sign != '\0';
    columns.extend([
        column(
            "boolean",
            "bool",
            any::<bool>().prop_map(|flag| flag.to_string()).boxed(),
        ),
        column(
            "integer",
            "int32",
            values::whole(i32::MIN.into(), i32::MAX.into()),
        ),
        column("oid", "uint32", values::whole(0, u32::MAX.into())),
        column("positive", "int32", values::whole(1, i32::MAX.into())),
        column("real", "float", values::singles(Floats::All)),
        column("text", "string", values::texts(without_zero)),
        column("name", "string", values::words(30)),
        column(
            "json",
            "string",
            values::texts(without_zero)
                .prop_map(|text| json!({ "a": text.replace('\0', "") }).to_string())
                .boxed(),
        ),
        column(
            "xml",
            "string",
            values::words(30)
                .prop_map(|text| format!("<a>{text}</a>"))
                .boxed(),
        ),
        column("bytea", "binary", values::bytes(0..=60)),
        column("date", "date32[day]", wide.clone()),
        column("timestamp", "timestamp[us]", moments.clone()),
        column(
            "timestamp with time zone",
            "timestamp[us, tz=UTC]",
            moments.clone(),
        ),
    ]);
    columns.extend(
        digits
            .iter()
            .map(|(all, behind)| decimals_of(&format!("numeric({all},{behind})"), *all, *behind)),
    );
    let lists: Vec<Column> = columns
        .iter()
        .filter(|column| column.declared != "positive")
        .map(list)
        .collect();
    columns.extend(lists);
    let number =
        |whole: usize, behind: usize| format!("-?[1-9][0-9]{{0,{whole}}}(\\.[0-9]{{1,{behind}}})?");
    let micros = || {
        prop_oneof![
            any::<i32>().prop_map(i64::from),
            -400_000_000_000..400_000_000_000_i64
        ]
    };
    let uuid = || {
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            .prop_map(|uuid| format!("'{uuid}'::uuid"))
    };
    let quoted = move || {
        values::texts(without_zero).prop_map(|text| literal(Kind::Postgres, "string", &text))
    };
    let mood = || {
        prop::sample::select(&["'sad'::mood", "'very ''happy'", "'\u{f8}'"][..])
            .prop_map(String::from)
    };
    let interval = move || {
        (any::<i16>(), any::<i16>(), micros()).prop_map(|(months, days, micros)| {
            format!("'{months} months {days} days {micros} microseconds'::interval")
        })
    };
    columns.extend([
        as_text("char(9)", "rpad({}, 9)", values::words(8).prop_map(|text| format!("'{text}'"))),
        as_text("numeric", TEXT, prop_oneof![9 => values_of(&number(70, 70)), 1 => prop::sample::select(&["'NaN'", "'infinity'", "'-infinity'", "0", "0.000"][..]).prop_map(String::from)]),
        as_text("numeric(60,30)", TEXT, values_of(&number(28, 29))),
        as_text("numeric(3,5)", TEXT, "-?0\\.00[0-9]{3}"),
        as_text("numeric(5,-2)", TEXT, values_of("-?[1-9][0-9]{0,6}")),
        as_text("jsonb", TEXT, values::texts(without_zero).prop_map(|text| literal(Kind::Postgres, "string", &json!({ "b": [text], "a": 1.50 }).to_string()))),
        as_text("uuid", TEXT, uuid()),
        as_text("uuid[]", TEXT, prop::collection::vec(uuid(), 0..3).prop_map(|list| format!("ARRAY[{}]::uuid[]", list.join(", ")))),
        as_text("mood", TEXT, mood()),
        as_text("mood[]", TEXT, prop::collection::vec(mood(), 0..3).prop_map(|list| format!("ARRAY[{}]::mood[]", list.join(", ")))),
        as_text("interval", TEXT, interval()),
        as_text("interval[]", TEXT, interval().prop_map(|interval| format!("ARRAY[{interval}, NULL]"))),
        as_text("time with time zone", TEXT, ("[01][0-9]:[0-5][0-9]:[0-5][0-9]", 0..1_000_000, "[-+]1[0-4]:[0-5][0-9]").prop_map(|(clock, micros, zone)| format!("'{clock}.{micros:06}{zone}'"))),
        as_text("inet", "host({}) || '/' || masklen({})", prop_oneof![(any::<[u8; 4]>(), 0..33).prop_map(|([a, b, c, d], mask)| format!("'{a}.{b}.{c}.{d}/{mask}'")), (any::<[u16; 2]>(), 0..129).prop_map(|([a, b], mask)| format!("'{a:x}::{b:x}/{mask}'"))]),
        as_text("cidr", TEXT, any::<[u8; 3]>().prop_map(|[a, b, c]| format!("'{a}.{b}.{c}.0/24'"))),
        as_text("macaddr", TEXT, "([0-9a-f]{2}:){5}[0-9a-f]{2}".prop_map(|mac| format!("'{mac}'"))),
        as_text("bit(9)", TEXT, "[01]{9}".prop_map(|bits| format!("B'{bits}'"))),
        as_text("bit varying", TEXT, "[01]{0,80}".prop_map(|bits| format!("B'{bits}'"))),
        as_text("money", TEXT, any::<i64>().prop_map(|cents| format!("'{}'::numeric::money", values::decimal(&cents.to_string(), 2)))),
        as_text("int4range", TEXT, (any::<i16>(), any::<u16>()).prop_map(|(from, width)| format!("int4range({from}, {from} + {width}, '[]')"))),
        as_text("tstzrange", TEXT, any::<i32>().prop_map(|second| format!("tstzrange(to_timestamp({second}), NULL)"))),
        as_text("point", TEXT, (values::doubles(Floats::Finite), values::doubles(Floats::Finite)).prop_map(|(x, y)| format!("point({}, {})", literal(Kind::Postgres, "double", &x), literal(Kind::Postgres, "double", &y)))),
        as_text("tsvector", TEXT, values::words(20).prop_map(|text| format!("to_tsvector('simple', '{text} {text}')"))),
        as_text("pair", TEXT, (any::<i32>(), quoted()).prop_map(|(number, text)| format!("ROW({number}, {text})::pair"))),
        as_text("pair[]", TEXT, quoted().prop_map(|text| format!("ARRAY[ROW(1, {text})::pair, NULL]"))),
    ]);
    columns
}

fn values_of(pattern: &str) -> Values {
    proptest::string::string_regex(pattern)
        .expect("a pattern")
        .boxed()
}

fn decimals_of(declared: &str, all: u8, behind: u8) -> Column {
    column(
        declared,
        format!("decimal128({all}, {behind})"),
        values::decimals(all),
    )
}

fn list(of: &Column) -> Column {
    column(
        format!("{}[]", of.declared),
        format!("list<element: {}>", of.kind),
        values::lists(of.values.clone()),
    )
}

fn mysql(digits: &[(u8, u8)]) -> Vec<Column> {
    let mut columns = everywhere(Kind::MySql);
    let text = || values::texts(|_| true);
    let seconds = |column: Values| {
        column
            .prop_map(|micros| {
                (values::number(&micros).div_euclid(1_000_000) * 1_000_000).to_string()
            })
            .boxed()
    };
    let utc = || values::whole(1_000_000, 2_147_483_647_999_999);
    columns.extend([
        column("boolean", "int8", values::whole(-128, 127)),
        column("tinyint", "int8", values::whole(-128, 127)),
        column("tinyint unsigned", "uint8", values::whole(0, 255)),
        column(
            "smallint unsigned",
            "uint16",
            values::whole(0, u16::MAX.into()),
        ),
        column("mediumint", "int32", values::whole(-8_388_608, 8_388_607)),
        column("mediumint unsigned", "uint32", values::whole(0, 16_777_215)),
        column(
            "integer",
            "int32",
            values::whole(i32::MIN.into(), i32::MAX.into()),
        ),
        column(
            "integer unsigned zerofill",
            "uint32",
            values::whole(0, u32::MAX.into()),
        ),
        column(
            "bigint unsigned",
            "uint64",
            values::whole(0, u64::MAX.into()),
        ),
        column(
            "year",
            "int16",
            prop_oneof![Just("0".to_string()), values::whole(1901, 2155)].boxed(),
        ),
        column("float", "float", values::singles(Floats::Finite)),
        column("longtext", "string", text()),
        column(
            "varchar(3000) collate utf8mb4_bin",
            "string",
            values::texts(|sign| sign != ' '),
        ),
        column(
            "varchar(40) character set latin1",
            "string",
            values::words(20),
        ),
        column("char(40)", "string", values::words(20)),
        column(
            "json",
            "string",
            text().prop_map(|text| json!([text]).to_string()).boxed(),
        ),
        column(
            "enum('a','\u{f8}','''')",
            "string",
            prop::sample::select(&["a", "\u{f8}", "'"][..])
                .prop_map(String::from)
                .boxed(),
        ),
        column(
            "set('x','y')",
            "string",
            prop::sample::select(&["", "x", "x,y"][..])
                .prop_map(String::from)
                .boxed(),
        ),
        column("longblob", "binary", values::bytes(0..=60)),
        column("varbinary(60)", "binary", values::bytes(0..=60)),
        column("binary(5)", "binary", values::bytes(5..=5)),
        column("bit(64)", "binary", values::bytes(8..=8)),
        column("datetime(6)", "timestamp[us]", values::moments()),
        column("datetime", "timestamp[us]", seconds(values::moments())),
        column("timestamp(6)", "timestamp[us, tz=UTC]", utc()),
        column("timestamp", "timestamp[us, tz=UTC]", seconds(utc())),
        column(
            "time",
            "time64[ns]",
            values::times(seconds(values::clocks()), 1000),
        ),
        as_text(
            "decimal(65,30)",
            "CAST({} AS char)",
            values_of("-?[1-9][0-9]{0,34}(\\.[0-9]{1,30})?"),
        ),
        as_text(
            "uuid",
            "CAST({} AS char)",
            "[1-9a-f][0-9a-f]{7}-[0-9a-f]{4}-1[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"
                .prop_map(|uuid| format!("'{uuid}'")),
        ),
        as_text(
            "inet4",
            "CAST({} AS char)",
            any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("'{a}.{b}.{c}.{d}'")),
        ),
        as_text(
            "inet6",
            "CAST({} AS char)",
            any::<[u16; 2]>().prop_map(|[a, b]| format!("'{a:x}::{b:x}'")),
        ),
        as_text(
            "geometry",
            "ST_AsText({})",
            (any::<i32>(), any::<i16>())
                .prop_map(|(x, y)| format!("ST_GeomFromText('LINESTRING({x} {y},0.25 {x})')")),
        ),
    ]);
    columns.extend(
        digits
            .iter()
            .map(|(all, behind)| decimals_of(&format!("decimal({all},{behind})"), *all, *behind)),
    );
    columns
}

fn sqlite(digits: &[(u8, u8)]) -> Vec<Column> {
    let mut columns = everywhere(Kind::Sqlite);
    let any_text = || values::texts(|_| true);
    columns.extend([
        column(
            "boolean",
            "bool",
            any::<bool>().prop_map(|flag| flag.to_string()).boxed(),
        ),
        column("tinyint", "int8", values::whole(-128, 127)),
        column("tinyint unsigned", "uint8", values::whole(0, 255)),
        column(
            "smallint unsigned",
            "uint16",
            values::whole(0, u16::MAX.into()),
        ),
        column(
            "mediumint",
            "int32",
            values::whole(i32::MIN.into(), i32::MAX.into()),
        ),
        column("int4 unsigned", "uint32", values::whole(0, u32::MAX.into())),
        column(
            "bigint unsigned",
            "uint64",
            values::whole(0, i64::MAX.into()),
        ),
        column("float4", "float", values::singles(Floats::WithoutNan)),
        column("text", "string", any_text()),
        column("blob", "binary", values::bytes(0..=60)),
        column("datetime", "timestamp[us]", values::moments()),
        column("timestamptz", "timestamp[us, tz=UTC]", values::moments()),
        column(
            "json",
            "string",
            any_text()
                .prop_map(|text| json!([text]).to_string())
                .boxed(),
        ),
    ]);
    columns.extend(digits.iter().map(|(all, behind)| {
        // A number with a point has fifteen digits.
        let name = if *all > 15 { "decimal_text" } else { "decimal" };
        decimals_of(&format!("{name}({all},{behind})"), *all, *behind)
    }));
    columns
}

fn values_of_every_type_arrive_as_they_were(kind: Kind) {
    let columns = digits(38, 38).prop_flat_map(move |digits| {
        filled(match kind {
            Kind::Postgres => postgres(&digits),
            Kind::MySql => mysql(&digits),
            Kind::Sqlite => sqlite(&digits),
        })
    });
    run(columns, |columns| {
        let database = Database::new(kind);
        if kind == Kind::Postgres {
            database.run(
                "CREATE TYPE mood AS ENUM ('sad', 'very ''happy', '\u{f8}'); \
                 CREATE DOMAIN positive AS integer CHECK (value > 0); \
                 CREATE TYPE pair AS (a int, b text)",
            );
        }
        let literals: Vec<Vec<Option<String>>> =
            columns.iter().map(|column| in_sql(kind, column)).collect();
        insert(&database, &columns, &literals);
        // Slices and batches end in the middle.
        let home = "{connection: shop, table: t, batch_size: 13, slice: {column: id, by: 40}}";
        let sandbox = database.project(&format!("  a: {{home: {home}, store: out}}\n"));
        let ran = sandbox.build(&[]);
        prop_assert_eq!(ran.code, 0, "{}", ran.text);
        let (schema, found) = read(&sandbox.path("out"));
        for (number, column) in columns.iter().enumerate() {
            prop_assert_eq!(
                &schema[number + 1],
                &format!("c{number}: {}", column.kind),
                "{}",
                column.declared
            );
            let wanted = match column.text {
                None => column
                    .values
                    .iter()
                    .map(|value| value.as_ref().map(|value| kept(kind, &column.kind, value)))
                    .collect(),
                Some(text) => told(&database, &format!("c{number}"), text),
            };
            same(
                &column.declared,
                &wanted,
                &found[number + 1],
                &literals[number],
            )?;
        }
        Ok(())
    });
}

/// The values of a column as SQL.
fn in_sql(kind: Kind, column: &Filled) -> Vec<Option<String>> {
    let shown = |value: &String| match column.text {
        Some(_) => value.clone(),
        // Elements do not say what they are.
        None if column.declared.ends_with("[]") => format!(
            "{}::{}",
            literal(kind, &column.kind, value),
            column.declared
        ),
        None => literal(kind, &column.kind, value),
    };
    column
        .values
        .iter()
        .map(|value| value.as_ref().map(shown))
        .collect()
}

fn insert(database: &Database, columns: &[Filled], literals: &[Vec<Option<String>>]) {
    let mode = if database.kind == Kind::MySql {
        "SET sql_mode = 'STRICT_ALL_TABLES'; SET time_zone = '+00:00'; "
    } else {
        ""
    };
    // One column of this type would be set to the time of each change.
    let null = |column: &Filled| {
        if column.declared.starts_with("timestamp") && database.kind == Kind::MySql {
            " NULL"
        } else {
            ""
        }
    };
    let names: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(number, column)| format!(", c{number} {}{}", column.declared, null(column)))
        .collect();
    database.run(&format!(
        "CREATE TABLE t (id integer PRIMARY KEY{})",
        names.concat()
    ));
    for first in (0..ROWS).step_by(10) {
        let row = |row: usize| {
            let values = literals
                .iter()
                .map(|values| values[row].as_deref().unwrap_or("NULL"));
            format!("({row}, {})", values.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = (first..first + 10).map(row).collect();
        database.run(&format!("{mode}INSERT INTO t VALUES {}", rows.join(", ")));
    }
}

/// What the client of the database says that a column holds, row by row.
fn told(database: &Database, column: &str, text: &str) -> Vec<Option<String>> {
    let text = text.replace("{}", column);
    let asked = match database.kind {
        Kind::Postgres => format!(
            "SET intervalstyle = iso_8601; SET lc_monetary = 'C'; SET timezone = 'UTC'; \
             SELECT coalesce('x' || encode(convert_to({text}, 'UTF8'), 'hex'), '-') FROM t \
             ORDER BY id"
        ),
        _ => format!("SELECT coalesce(concat('x', hex({text})), '-') FROM t ORDER BY id"),
    };
    let value = |line: &str| {
        let digits = line.strip_prefix('x')?;
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("a byte");
        Some(String::from_utf8((0..digits.len()).step_by(2).map(byte).collect()).expect("a text"))
    };
    database.ask(&asked).lines().map(value).collect()
}

/// A column of a file, and what comes back.
struct Trip {
    column: Column,
    back: &'static str,
    /// How many of the units in which it comes back one of the file's has.
    factor: (i128, i128),
}

fn files_come_back_as_they_were(kind: Kind) {
    let most_behind = if kind == Kind::MySql { 30 } else { 38 };
    let trips = digits(38, most_behind).prop_flat_map(move |digits| {
        let trips = trips(kind, &digits);
        let ways: Vec<(&'static str, (i128, i128))> =
            trips.iter().map(|trip| (trip.back, trip.factor)).collect();
        (
            filled(trips.into_iter().map(|trip| trip.column).collect()),
            Just(ways),
        )
    });
    run(trips, |(columns, ways)| {
        let database = Database::new(kind);
        let given: Vec<String> = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.declared.is_empty())
            .map(|(number, column)| format!("c{number}: \"{}\"", column.declared))
            .collect();
        let sandbox = database.project(&format!(
            "  a: {{home: home, store: {{connection: shop, table: t, columns: {{{}}}}}}}\n  \
             b: {{home: {{connection: shop, table: t}}, store: out}}\n",
            given.join(", ")
        ));
        write(&sandbox, &columns);
        let ran = sandbox.build(&[]);
        prop_assert_eq!(ran.code, 0, "{}", ran.text);
        let (schema, mut found) = read(&sandbox.path("out"));
        // A table without a key has no order.
        let ids: Vec<usize> = found[0]
            .iter()
            .map(|id| {
                id.as_deref()
                    .and_then(|id| id.parse().ok())
                    .expect("a row's number")
            })
            .collect();
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|row| ids[*row]);
        for (number, (column, (back, (times, over)))) in columns.iter().zip(&ways).enumerate() {
            let kind = if back.is_empty() {
                column.kind.as_str()
            } else {
                back
            };
            prop_assert_eq!(
                &schema[number + 1],
                &format!("c{number}: {kind}"),
                "{}",
                column.kind
            );
            let wanted = |value: &String| match (column.kind.as_str(), *back) {
                ("bool", "int8") => u8::from(value == "true").to_string(),
                _ if times == over => kept(database.kind, &column.kind, value),
                _ => (values::number(value) * times / over).to_string(),
            };
            let wanted: Vec<Option<String>> = column
                .values
                .iter()
                .map(|value| value.as_ref().map(wanted))
                .collect();
            let found = std::mem::take(&mut found[number + 1]);
            let found: Vec<Option<String>> = order.iter().map(|row| found[*row].clone()).collect();
            same(&column.kind, &wanted, &found, &column.values)?;
        }
        Ok(())
    });
}

/// A file of two, so that rows of several parts come together.
fn write(sandbox: &Sandbox, columns: &[Filled]) {
    for (name, rows) in [
        ("home/a.parquet", 0..ROWS / 3),
        ("home/b.parquet", ROWS / 3..ROWS),
    ] {
        let ids: Vec<String> = rows.clone().map(|row| row.to_string()).collect();
        let mut all = vec![json!({ "name": "id", "type": "int32", "values": ids })];
        for (number, column) in columns.iter().enumerate() {
            all.push(json!({ "name": format!("c{number}"), "type": column.kind, "values": column.values[rows.clone()] }));
        }
        sandbox.write(name, "");
        sandbox.write("columns.json", Value::from(all).to_string());
        let written = peers::python(
            "exact.py",
            &[
                "write".as_ref(),
                sandbox.path(name).as_os_str(),
                sandbox.path("columns.json").as_os_str(),
            ],
        );
        assert_success(&written);
    }
}

fn trips(kind: Kind, digits: &[(u8, u8)]) -> Vec<Trip> {
    let same = |column: Column| Trip {
        column,
        back: "",
        factor: (1, 1),
    };
    // The file's type; a type of the table is said where the database has none of its own.
    let plain = |name: &str, values: Values| same(column("", name, values));
    let other = |name: &str, values: Values, back: &'static str, factor| Trip {
        column: column("", name, values),
        back,
        factor,
    };
    let wider = |name: &str, values: Values, declared: &str, back: &'static str| Trip {
        column: column(declared, name, values),
        back,
        factor: (1, 1),
    };
    let floats = match kind {
        Kind::Postgres => Floats::All,
        Kind::MySql => Floats::Finite,
        Kind::Sqlite => Floats::WithoutNan,
    };
    let flags = || any::<bool>().prop_map(|flag| flag.to_string()).boxed();
    let utc = move || {
        if kind == Kind::MySql {
            values::whole(1_000_000, 2_147_483_647_999_999)
        } else {
            values::moments()
        }
    };
    let nanos = || values::whole(-9_223_372_036_854_775, 9_223_372_036_854_775);
    let mut trips = vec![
        plain("int16", values::whole(i16::MIN.into(), i16::MAX.into())),
        plain("int32", values::whole(i32::MIN.into(), i32::MAX.into())),
        plain("int64", values::whole(i64::MIN.into(), i64::MAX.into())),
        plain("float", values::singles(floats)),
        plain("double", values::doubles(floats)),
        plain(
            "string",
            values::texts(if kind == Kind::Postgres {
                |sign| sign != '\0'
            } else {
                |_| true
            }),
        ),
        plain("binary", values::bytes(0..=60)),
        plain("date32[day]", values::days()),
        plain("time64[ns]", values::times(values::clocks(), 1000)),
        plain("timestamp[us]", values::moments()),
        plain("timestamp[us, tz=UTC]", utc()),
        other("time64[us]", values::clocks(), "time64[ns]", (1000, 1)),
        other(
            "timestamp[ns]",
            values::times(nanos(), 1000),
            "timestamp[us]",
            (1, 1000),
        ),
        other(
            "timestamp[ms]",
            values::whole(-62_135_596_800_000, 253_402_300_799_999),
            "timestamp[us]",
            (1000, 1),
        ),
    ];
    trips.extend(digits.iter().map(|(all, behind)| {
        plain(
            &format!("decimal128({all}, {behind})"),
            values::decimals(*all),
        )
    }));
    if kind == Kind::Postgres {
        let lists: Vec<Trip> = trips
            .iter()
            .filter(|trip| trip.back.is_empty())
            .map(|trip| {
                plain(
                    &format!("list<element: {}>", trip.column.kind),
                    values::lists(trip.column.values.clone()),
                )
            })
            .collect();
        trips.extend(lists);
        trips.extend([
            plain("list<element: bool>", values::lists(flags())),
            wider("int8", values::whole(-128, 127), "smallint", "int16"),
            wider("uint8", values::whole(0, 255), "smallint", "int16"),
            wider(
                "uint16",
                values::whole(0, u16::MAX.into()),
                "integer",
                "int32",
            ),
            wider(
                "uint32",
                values::whole(0, u32::MAX.into()),
                "bigint",
                "int64",
            ),
            wider(
                "uint64",
                values::whole(0, u64::MAX.into()),
                "numeric(20,0)",
                "decimal128(20, 0)",
            ),
        ]);
    } else {
        let largest = if kind == Kind::MySql {
            u64::MAX.into()
        } else {
            i64::MAX.into()
        };
        trips.extend([
            plain("int8", values::whole(-128, 127)),
            plain("uint8", values::whole(0, 255)),
            plain("uint16", values::whole(0, u16::MAX.into())),
            plain("uint32", values::whole(0, u32::MAX.into())),
            plain("uint64", values::whole(0, largest)),
        ]);
    }
    trips.push(match kind {
        Kind::MySql => other("bool", flags(), "int8", (1, 1)),
        _ => plain("bool", flags()),
    });
    trips
}
