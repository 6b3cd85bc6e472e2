//! Types of databases: what each becomes, and values at their edges.

use crate::common::databases::{Database, Kind};
use crate::common::peers;

/// A column by its type, what pyarrow calls it, and values with what arrives.
struct Case {
    declared: &'static str,
    arrives: &'static str,
    values: &'static [(&'static str, &'static str)],
}

const fn case(
    declared: &'static str,
    arrives: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Case {
    Case {
        declared,
        arrives,
        values,
    }
}

/// One table for each case, with every value and a null behind them, read in one build.
fn all_arrive(kind: Kind, before: &str, cases: &[Case]) {
    let database = Database::new(kind);
    database.run(before);
    let mut flows = String::new();
    for (number, case) in cases.iter().enumerate() {
        let rows: Vec<String> = case
            .values
            .iter()
            .enumerate()
            .map(|(row, (value, _))| format!("({row}, {value})"))
            .collect();
        let all = [rows.join(", "), format!("({}, NULL)", rows.len())].join(", ");
        let mode = if kind == Kind::MySql {
            "SET sql_mode = 'ANSI_QUOTES'; SET time_zone = '+00:00';"
        } else {
            ""
        };
        let null = if kind == Kind::MySql && case.declared.starts_with("timestamp") {
            " NULL"
        } else {
            ""
        };
        database.run(&format!(
            "{mode} CREATE TABLE t{number} (id integer PRIMARY KEY, v {}{null}); \
             INSERT INTO t{number} VALUES {all}",
            case.declared
        ));
        flows.push_str(&format!(
            "  f{number}: {{home: {{connection: shop, table: t{number}, columns: [v]}}, store: \
             out/{number}}}\n"
        ));
    }
    let sandbox = database.project(&flows);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    for (number, case) in cases.iter().enumerate() {
        let found = peers::rows(&sandbox.path(&format!("out/{number}")));
        assert_eq!(
            found.schema,
            [format!("v: {}", case.arrives)],
            "{}",
            case.declared
        );
        let mut wanted: Vec<&str> = case.values.iter().map(|(_, wanted)| *wanted).collect();
        wanted.push("");
        assert_eq!(found.lines(), wanted, "{}", case.declared);
        assert_eq!(
            found.rows.last().and_then(|row| row[0].as_deref()),
            None,
            "{}",
            case.declared
        );
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn every_type_arrives_exactly() {
        all_arrive(
            Kind::Sqlite,
            "",
            &[
                case(
                    "bigint",
                    "int64",
                    &[
                        ("-9223372036854775808", "-9223372036854775808"),
                        ("9223372036854775807", "9223372036854775807"),
                    ],
                ),
                case("int", "int64", &[("0", "0"), ("'12'", "12"), ("3.0", "3")]),
                case(
                    "smallint",
                    "int16",
                    &[("-32768", "-32768"), ("32767", "32767")],
                ),
                case("tinyint", "int8", &[("-128", "-128"), ("127", "127")]),
                case("int4", "int32", &[("-2147483648", "-2147483648")]),
                case("tinyint unsigned", "uint8", &[("255", "255")]),
                case(
                    "bigint unsigned",
                    "uint64",
                    &[("9223372036854775807", "9223372036854775807")],
                ),
                case(
                    "boolean",
                    "bool",
                    &[("0", "false"), ("1", "true"), ("true", "true")],
                ),
                case(
                    "real",
                    "double",
                    &[
                        ("0.1", "0.1"),
                        ("-1e308", "-1e+308"),
                        ("9e999", "inf"),
                        ("5", "5.0"),
                    ],
                ),
                case("double precision", "double", &[("-9e999", "-inf")]),
                case(
                    "decimal(10,2)",
                    "decimal128(10, 2)",
                    &[
                        ("12", "12.00"),
                        ("'12.34'", "12.34"),
                        ("0.1", "0.10"),
                        ("-99999999.99", "-99999999.99"),
                    ],
                ),
                case(
                    "text",
                    "string",
                    &[
                        ("''", ""),
                        ("'a'", "a"),
                        ("'sm\u{f8}r \u{1d11e}'", "sm\u{f8}r \u{1d11e}"),
                    ],
                ),
                case(
                    "varchar(3)",
                    "string",
                    &[("'longer than three'", "longer than three"), ("12", "12")],
                ),
                case("blob", "binary", &[("x'00ff'", "x00ff"), ("x''", "x")]),
                case(
                    "date",
                    "date32[day]",
                    &[
                        ("'0001-01-01'", "0001-01-01"),
                        ("'9999-12-31'", "9999-12-31"),
                        ("'2024-02-29'", "2024-02-29"),
                    ],
                ),
                case(
                    "datetime",
                    "timestamp[us]",
                    &[
                        ("'2024-02-29 23:59:59.999999'", "2024-02-29T23:59:59.999999"),
                        ("'2024-02-29T01:02'", "2024-02-29T01:02:00"),
                        ("'2024-02-29'", "2024-02-29T00:00:00"),
                    ],
                ),
                case(
                    "timestamptz",
                    "timestamp[us, tz=UTC]",
                    &[
                        ("'2024-02-29 01:00:00+02:00'", "2024-02-28T23:00:00+00:00"),
                        ("'2024-02-29T01:00:00Z'", "2024-02-29T01:00:00+00:00"),
                    ],
                ),
                case(
                    "time",
                    "time64[ns]",
                    &[
                        ("'23:59:59.999999'", "23:59:59.999999"),
                        ("'00:00'", "00:00:00"),
                    ],
                ),
                case("json", "string", &[("'{\"a\": 1}'", "{\"a\": 1}")]),
            ],
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_or_widens_its_column() {
        let cases = [
            ("int", "'many'", "many"),
            ("int", "1.5", "1.5"),
            ("smallint", "40000", "40000"),
            ("tinyint unsigned", "-1", "-1"),
            ("boolean", "2", "2"),
            ("decimal(4,2)", "1.234", "1.234"),
            ("decimal(4,2)", "123.4", "123.4"),
            ("date", "'soon'", "soon"),
            ("datetime", "'2024-02-30 00:00:00'", "2024-02-30"),
            ("text", "x'ff'", "ff"),
        ];
        for (declared, value, shown) in cases {
            let database = Database::new(Kind::Sqlite);
            database.run(&format!(
                "CREATE TABLE t (id integer PRIMARY KEY, v {declared}); \
                 INSERT INTO t VALUES (7, NULL), (9, {value})"
            ));
            let sandbox =
                database.project("  a: {home: {connection: shop, table: t}, store: out}\n");
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, 1, "{declared} {value}: {}", ran.text);
            let error = ran.error();
            assert!(
                error.contains("column v, row 2 of t, rowid 9") && error.contains(shown),
                "{declared} {value}: {error}"
            );
            if declared == "text" || shown == "2024-02-30" {
                continue;
            }
            let sandbox = database.project(
                "  a: {home: {connection: shop, table: t, on_mismatch: text}, store: out}\n",
            );
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, 0, "{declared} {value}: {}", ran.text);
            let found = peers::rows(&sandbox.path("out"));
            assert_eq!(found.schema[1], "v: string", "{declared} {value}");
            assert_eq!(
                found.lines(),
                ["7|".to_string(), format!("9|{shown}")],
                "{declared} {value}"
            );
        }
    }
}

mod postgres {
    use super::*;

    #[test]
    fn every_type_arrives_exactly() {
        all_arrive(
            Kind::Postgres,
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); \
             CREATE DOMAIN positive AS integer CHECK (value > 0); \
             CREATE TYPE pair AS (a int, b text)",
            &[
                case(
                    "smallint",
                    "int16",
                    &[("-32768", "-32768"), ("32767", "32767")],
                ),
                case(
                    "integer",
                    "int32",
                    &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")],
                ),
                case(
                    "bigint",
                    "int64",
                    &[
                        ("-9223372036854775808", "-9223372036854775808"),
                        ("9223372036854775807", "9223372036854775807"),
                    ],
                ),
                case("oid", "uint32", &[("4294967295", "4294967295")]),
                case("boolean", "bool", &[("true", "true"), ("false", "false")]),
                case(
                    "real",
                    "float",
                    &[
                        ("'nan'", "nan"),
                        ("'-infinity'", "-inf"),
                        ("1.5", "1.5"),
                        ("'-0'", "-0.0"),
                    ],
                ),
                case(
                    "double precision",
                    "double",
                    &[
                        ("'nan'", "nan"),
                        ("'infinity'", "inf"),
                        ("0.1", "0.1"),
                        ("5e-324", "5e-324"),
                    ],
                ),
                case(
                    "numeric(38,10)",
                    "decimal128(38, 10)",
                    &[
                        (
                            "9999999999999999999999999999.9999999999",
                            "9999999999999999999999999999.9999999999",
                        ),
                        ("-0.0000000001", "-1E-10"),
                        ("0", "0E-10"),
                        ("10000", "10000.0000000000"),
                        ("123456789.00012", "123456789.0001200000"),
                    ],
                ),
                case(
                    "numeric(5,0)",
                    "decimal128(5, 0)",
                    &[("-99999", "-99999"), ("10000", "10000")],
                ),
                case(
                    "numeric",
                    "string",
                    &[
                        (
                            "12345678901234567890123456789012345678901234567890.123456789",
                            "12345678901234567890123456789012345678901234567890.123456789",
                        ),
                        ("'NaN'", "NaN"),
                    ],
                ),
                case(
                    "text",
                    "string",
                    &[
                        ("''", ""),
                        ("'sm\u{f8}r \u{1d11e}'", "sm\u{f8}r \u{1d11e}"),
                        ("E'a\\nb'", "a\nb"),
                    ],
                ),
                case("varchar(5)", "string", &[("'abcde'", "abcde")]),
                case("char(3)", "string", &[("'a'", "a  ")]),
                case("name", "string", &[("'a'", "a")]),
                case("bytea", "binary", &[("'\\x00ff'", "x00ff"), ("''", "x")]),
                case(
                    "date",
                    "date32[day]",
                    &[
                        ("'0001-01-01'", "0001-01-01"),
                        ("'9999-12-31'", "9999-12-31"),
                        ("'1970-01-01'", "1970-01-01"),
                    ],
                ),
                case(
                    "time",
                    "time64[ns]",
                    &[
                        ("'00:00'", "00:00:00"),
                        ("'23:59:59.999999'", "23:59:59.999999"),
                    ],
                ),
                case(
                    "time with time zone",
                    "string",
                    &[("'12:00+02'", "12:00:00+02")],
                ),
                case(
                    "timestamp",
                    "timestamp[us]",
                    &[
                        ("'0001-01-01'", "0001-01-01T00:00:00"),
                        ("'1999-12-31 23:59:59.999999'", "1999-12-31T23:59:59.999999"),
                    ],
                ),
                case(
                    "timestamptz",
                    "timestamp[us, tz=UTC]",
                    &[("'2024-02-29 01:00+02'", "2024-02-28T23:00:00+00:00")],
                ),
                case(
                    "interval",
                    "string",
                    &[
                        ("'1 year 2 days 03:04:05.6'", "P1Y2DT3H4M5.6S"),
                        ("'-1 second'", "PT-1S"),
                    ],
                ),
                case(
                    "uuid",
                    "string",
                    &[(
                        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
                        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                    )],
                ),
                case("json", "string", &[("'{\"b\":  1}'", "{\"b\":  1}")]),
                case("jsonb", "string", &[("'{\"b\":  1}'", "{\"b\": 1}")]),
                case("xml", "string", &[("'<a/>'", "<a/>")]),
                case("mood", "string", &[("'sad'", "sad")]),
                case("positive", "int32", &[("5", "5")]),
                case(
                    "inet",
                    "string",
                    &[("'10.0.0.1/8'", "10.0.0.1/8"), ("'::1'", "::1/128")],
                ),
                case("cidr", "string", &[("'10.0.0.0/8'", "10.0.0.0/8")]),
                case(
                    "macaddr",
                    "string",
                    &[("'08:00:2b:01:02:03'", "08:00:2b:01:02:03")],
                ),
                case("bit(5)", "string", &[("B'10101'", "10101")]),
                case("bit varying", "string", &[("B'1'", "1")]),
                case("money", "string", &[("12.34", "$12.34")]),
                case("int4range", "string", &[("'[1,5)'", "[1,5)")]),
                case("point", "string", &[("'(1,2)'", "(1,2)")]),
                case("tsvector", "string", &[("'a b'", "'a' 'b'")]),
                case("pair", "string", &[("ROW(1, 'x')", "(1,x)")]),
                case(
                    "integer[]",
                    "list<element: int32>",
                    &[("ARRAY[1, NULL, 3]", "[1, None, 3]"), ("'{}'", "[]")],
                ),
                case(
                    "text[]",
                    "list<element: string>",
                    &[("ARRAY['a', '']", "[a, ]")],
                ),
                case(
                    "date[]",
                    "list<element: date32[day]>",
                    &[("ARRAY['2024-02-29'::date]", "[2024-02-29]")],
                ),
                case(
                    "numeric(4,1)[]",
                    "list<element: decimal128(4, 1)>",
                    &[("ARRAY[1.5, -2]", "[1.5, -2.0]")],
                ),
                case(
                    "boolean[]",
                    "list<element: bool>",
                    &[("ARRAY[true, false]", "[true, false]")],
                ),
                case(
                    "uuid[]",
                    "string",
                    &[(
                        "ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]",
                        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
                    )],
                ),
                case("mood[]", "string", &[("ARRAY['sad'::mood]", "{sad}")]),
            ],
        );
    }

    #[test]
    fn a_value_without_a_place_is_named() {
        let cases = [
            ("date", "'infinity'", "the date is infinity", true),
            ("date", "'0044-03-15 BC'", "before year 1", true),
            ("time", "'24:00'", "the time is 24:00:00", true),
            (
                "timestamp",
                "'-infinity'",
                "the time stamp is -infinity",
                true,
            ),
            (
                "timestamptz",
                "'4714-11-24 00:00:00+00 BC'",
                "before year 1",
                true,
            ),
            ("numeric(5,1)", "'NaN'", "the number is NaN", true),
            (
                "integer[]",
                "'{{1,2},{3,4}}'",
                "the array has 2 dimensions",
                false,
            ),
            ("integer[]", "'[0:1]={1,2}'", "the array begins at 0", false),
        ];
        for (declared, value, wanted, may_be_null) in cases {
            let database = Database::new(Kind::Postgres);
            database.run(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, v {declared} NOT NULL); \
                 INSERT INTO t VALUES (7, {value})"
            ));
            let sandbox =
                database.project("  a: {home: {connection: shop, table: t}, store: out}\n");
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, 1, "{declared} {value}: {}", ran.text);
            let error = ran.error();
            assert!(
                error.contains("column v, row 1 of t, id = 7") && error.contains(wanted),
                "{declared} {value}: {error}"
            );
            let sandbox = database.project(
                "  a: {home: {connection: shop, table: t, on_invalid: null}, store: out}\n",
            );
            let ran = sandbox.build(&[]);
            assert_eq!(
                ran.code == 0,
                may_be_null,
                "{declared} {value}: {}",
                ran.text
            );
            if may_be_null {
                assert_eq!(peers::rows(&sandbox.path("out")).lines(), ["7|"]);
            }
        }
    }

    #[test]
    fn a_numeric_without_digits_is_declared_by_the_flow() {
        let database = Database::new(Kind::Postgres);
        database.run(
            "CREATE TABLE t (id int PRIMARY KEY, v numeric); \
             INSERT INTO t VALUES (1, 1.25), (2, 10000000)",
        );
        let flow = |digits: &str| {
            format!(
                "  a: {{home: {{connection: shop, table: t, types: {{v: \"{digits}\"}}}}, store: \
                 out}}\n"
            )
        };
        let sandbox = database.project(&flow("decimal(12,3)"));
        assert_eq!(sandbox.build(&[]).code, 0);
        let found = peers::rows(&sandbox.path("out"));
        assert_eq!(
            (found.schema[1].as_str(), found.lines().join(" ").as_str()),
            ("v: decimal128(12, 3)", "1|1.250 2|10000000.000")
        );
        let ran = database.project(&flow("decimal(12,1)")).build(&[]);
        assert!(
            ran.error().contains(
                "row 1 of t, id = 1: the number has more digits than decimal(12,1) holds"
            ),
            "{}",
            ran.text
        );
    }

    #[test]
    fn texts_of_another_encoding_are_converted() {
        let database = Database::new(Kind::Postgres);
        database
            .run("CREATE DATABASE latin_of_hygge ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
        let url = database.url();
        let latin = url
            .rsplit_once('/')
            .map(|(server, _)| format!("{server}/latin_of_hygge"))
            .expect("a URL");
        let sandbox = crate::common::sandbox::Sandbox::new(&format!(
            "connections: {{shop: {{url: '{latin}'}}}}\n\
             flows: {{a: {{home: {{connection: shop, query: \"select 'sm' || chr(248) || 'r' as \
             v\"}}, store: out}}}}\n"
        ));
        let ran = sandbox.build(&[]);
        database.run("DROP DATABASE latin_of_hygge");
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert_eq!(peers::rows(&sandbox.path("out")).lines(), ["sm\u{f8}r"]);
    }
}

mod mysql {
    use super::*;

    #[test]
    fn every_type_arrives_exactly() {
        all_arrive(
            Kind::MySql,
            "",
            &[
                case("tinyint", "int8", &[("-128", "-128"), ("127", "127")]),
                case("tinyint unsigned", "uint8", &[("255", "255")]),
                case("boolean", "int8", &[("true", "1"), ("2", "2")]),
                case("smallint", "int16", &[("-32768", "-32768")]),
                case("smallint unsigned", "uint16", &[("65535", "65535")]),
                case(
                    "mediumint",
                    "int32",
                    &[("-8388608", "-8388608"), ("8388607", "8388607")],
                ),
                case("mediumint unsigned", "uint32", &[("16777215", "16777215")]),
                case("int", "int32", &[("-2147483648", "-2147483648")]),
                case("int unsigned", "uint32", &[("4294967295", "4294967295")]),
                case(
                    "bigint",
                    "int64",
                    &[("-9223372036854775808", "-9223372036854775808")],
                ),
                case(
                    "bigint unsigned",
                    "uint64",
                    &[("18446744073709551615", "18446744073709551615")],
                ),
                case("float", "float", &[("1.5", "1.5")]),
                case("double", "double", &[("0.1", "0.1"), ("-1e308", "-1e+308")]),
                case(
                    "decimal(38,10)",
                    "decimal128(38, 10)",
                    &[
                        (
                            "9999999999999999999999999999.9999999999",
                            "9999999999999999999999999999.9999999999",
                        ),
                        ("-0.0000000001", "-1E-10"),
                        ("12", "12.0000000000"),
                    ],
                ),
                case(
                    "decimal(50,5)",
                    "string",
                    &[(
                        "123456789012345678901234567890123456789012345.12345",
                        "123456789012345678901234567890123456789012345.12345",
                    )],
                ),
                case("year", "int16", &[("2024", "2024")]),
                case(
                    "date",
                    "date32[day]",
                    &[
                        ("'1000-01-01'", "1000-01-01"),
                        ("'9999-12-31'", "9999-12-31"),
                    ],
                ),
                case(
                    "datetime(6)",
                    "timestamp[us]",
                    &[
                        ("'2024-02-29 23:59:59.999999'", "2024-02-29T23:59:59.999999"),
                        ("'2024-02-29'", "2024-02-29T00:00:00"),
                    ],
                ),
                case(
                    "timestamp(6)",
                    "timestamp[us, tz=UTC]",
                    &[(
                        "'2024-02-29 01:00:00.5'",
                        "2024-02-29T01:00:00.500000+00:00",
                    )],
                ),
                case(
                    "time(6)",
                    "time64[ns]",
                    &[
                        ("'23:59:59.999999'", "23:59:59.999999"),
                        ("'0'", "00:00:00"),
                    ],
                ),
                case("char(5)", "string", &[("'a'", "a")]),
                case(
                    "varchar(20) character set latin1",
                    "string",
                    &[("'sm\u{f8}r'", "sm\u{f8}r")],
                ),
                case(
                    "varchar(20) collate utf8mb4_bin",
                    "string",
                    &[("'\u{1d11e}'", "\u{1d11e}")],
                ),
                case("text", "string", &[("''", ""), ("'a''b'", "a'b")]),
                case("blob", "binary", &[("x'00ff'", "x00ff")]),
                case("binary(3)", "binary", &[("x'01'", "x010000")]),
                case("enum('a','b')", "string", &[("'b'", "b")]),
                case("set('x','y')", "string", &[("'y,x'", "x,y")]),
                case("json", "string", &[("'{\"b\":  1}'", "{\"b\":  1}")]),
                case("bit(10)", "binary", &[("b'1010101010'", "x02aa")]),
                case(
                    "uuid",
                    "string",
                    &[(
                        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
                        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                    )],
                ),
                case("inet6", "string", &[("'::1'", "::1")]),
                case(
                    "geometry",
                    "string",
                    &[("ST_GeomFromText('POINT(1 2)')", "POINT(1 2)")],
                ),
            ],
        );
    }

    #[test]
    fn a_value_without_a_place_is_named() {
        let cases = [
            ("date", "'0000-00-00'", "0000-00-00 is no date", true),
            (
                "datetime",
                "'2024-00-01 00:00:00'",
                "2024-00-01 is no date",
                true,
            ),
            ("time", "'-01:00:00'", "-01:00:00 is no time of a day", true),
            ("time", "'838:59:59'", "838:59:59 is no time of a day", true),
        ];
        for (declared, value, wanted, _) in cases {
            let database = Database::new(Kind::MySql);
            database.run(&format!(
                "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, v {declared} NOT NULL); \
                 INSERT INTO t VALUES (7, {value})"
            ));
            let sandbox =
                database.project("  a: {home: {connection: shop, table: t}, store: out}\n");
            let ran = sandbox.build(&[]);
            assert_eq!(ran.code, 1, "{declared} {value}: {}", ran.text);
            let error = ran.error();
            assert!(
                error.contains("column v, row 1 of t, id = 7") && error.contains(wanted),
                "{declared} {value}: {error}"
            );
            let sandbox = database.project(
                "  a: {home: {connection: shop, table: t, types: {v: text}}, store: out}\n",
            );
            assert_eq!(sandbox.build(&[]).code, 0);
            assert_eq!(
                peers::rows(&sandbox.path("out")).lines(),
                [format!("7|{}", value.trim_matches('\''))]
            );
        }
    }
}
