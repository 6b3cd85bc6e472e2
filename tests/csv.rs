//! CSV as a home: every value is what its writer meant, or an error with its line.

use std::ffi::OsStr;
use std::fs;

use serde_json::Value;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

/// A project whose home is of CSV with these keys.
fn project(keys: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: {{type: csv, path: home{keys}}}, store: out}}\n"
    ))
}

/// Random files in random dialects; `HYGGE_CSV_FILES` sets how many, `HYGGE_SEED` which.
#[test]
fn files_in_any_dialect_hold_what_was_written() {
    let setting = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.into());
    let (seed, count) = (setting("HYGGE_SEED", "1"), setting("HYGGE_CSV_FILES", "60"));
    let sandbox = Sandbox::new("");
    let folder = sandbox.path(".");
    let arguments = ["write", &seed, &count].map(OsStr::new);
    let arguments = [&arguments[..], &[folder.as_os_str()]].concat();
    assert_success(&peers::python("csv_files.py", &arguments));
    let dialects = fs::read(sandbox.path("dialects.json")).expect("dialects");
    let dialects: Vec<Value> = serde_json::from_slice(&dialects).expect("JSON");
    assert_eq!(dialects.len().to_string(), count);
    let flow = |(number, dialect): (usize, &Value)| {
        let (delimiter, quote) = (&dialect["delimiter"], &dialect["quote"]);
        format!(
            "  f{number}: {{home: {{type: csv, path: in/{number}, delimiter: {delimiter}, quote: {quote}, infer: false}}, store: out/{number}}}\n"
        )
    };
    let flows: String = dialects.iter().enumerate().map(flow).collect();
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    built(&sandbox);
    let arguments = [OsStr::new("compare"), folder.as_os_str()];
    assert_success(&peers::python("csv_files.py", &arguments));
    assert_eq!(
        sandbox.build(&[]).event("build_finished")["fresh"],
        dialects.len()
    );
}

#[test]
fn columns_have_the_types_that_the_config_says() {
    let sandbox = project(
        ", null_values: [NA, '-'], types: {id: int64, total: \"decimal(10,2)\", day: date, at: timestamp, seen: timestamp_utc, ratio: float64, ok: boolean}",
    );
    sandbox.write(
        "home/a.csv",
        "id,name,total,day,at,seen,ratio,ok\n\
         1,00501,1.50,2024-02-29,2024-01-31 12:00:00.5,2024-01-31T13:00:00+01:00,0.1,true\n\
         -9223372036854775808,\"NA\",-,NA,,,1e-3,FALSE\n\
         9223372036854775807,\"\",1e1,0001-01-01,9999-12-31T23:59:59,2024-01-31 12:00:00Z,-Infinity,\n",
    );
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 3);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "name is null, name");
    assert_eq!(
        columns,
        "id BIGINT, name VARCHAR, total DECIMAL(10,2), day DATE, at TIMESTAMP, seen TIMESTAMP WITH TIME ZONE, ratio DOUBLE, ok BOOLEAN"
    );
    let rows: Vec<String> = rows.iter().map(|row| row.replace("+00", "")).collect();
    assert_eq!(
        rows,
        [
            "9223372036854775807||10.00|0001-01-01|9999-12-31 23:59:59|2024-01-31 12:00:00|-inf|",
            "1|00501|1.50|2024-02-29|2024-01-31 12:00:00.5|2024-01-31 12:00:00|0.1|true",
            "-9223372036854775808|NA||||| 0.001|false"
                .replace("| 0", "|0")
                .as_str(),
        ]
    );
}

/// Texts, and the values that they are.
type Right = &'static [(&'static str, &'static str)];

/// Texts that are values of a type, as DuckDB shows those, and texts that are none.
const TEXTS: &[(&str, Right, &[&str])] = &[
    (
        "int16",
        &[
            ("7", "7"),
            ("-32768", "-32768"),
            ("+7", "7"),
            ("007", "7"),
            ("7.00", "7"),
            ("7e2", "700"),
        ],
        &[
            "32768", "7.5", " 7", "7 ", "1_000", "0x7", "seven", "-", "1e99",
        ],
    ),
    (
        "uint64",
        &[("18446744073709551615", "18446744073709551615"), ("0", "0")],
        &["-1", "18446744073709551616"],
    ),
    (
        "\"decimal(20,2)\"",
        &[
            ("1.5", "1.50"),
            ("1.500", "1.50"),
            ("-.5", "-0.50"),
            ("123456789012345678.99", "123456789012345678.99"),
            ("1e3", "1000.00"),
        ],
        &["1.505", "1234567890123456789", "1,5", "NaN"],
    ),
    (
        "float64",
        &[
            ("0.1", "0.1"),
            ("1e-3", "0.001"),
            ("-Infinity", "-inf"),
            ("NaN", "nan"),
            ("16777217", "16777217.0"),
            // As Python writes it; others write 0.3 at the end, which is as near.
            ("641664210798639.2", "641664210798639.2"),
            ("641664210798639.3", "641664210798639.2"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("0.1000000000000000055511", "0.1"),
            ("2.2250738585072014e-308", "2.2250738585072014e-308"),
            ("5e-324", "5e-324"),
        ],
        &["0.1000000000000000001", "9007199254740993", "1e400", "1.5f"],
    ),
    (
        "boolean",
        &[("true", "true"), ("FALSE", "false"), ("True", "true")],
        &["1", "yes", "t", "wahr"],
    ),
    (
        "date",
        &[
            ("2024-02-29", "2024-02-29"),
            ("0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-31"),
        ],
        &[
            "2024-02-30",
            "2024-2-9",
            "29.02.2024",
            "2024-02-29 00:00:01",
            "0000-01-01",
            "20240229",
        ],
    ),
    (
        "timestamp",
        &[
            ("2024-01-31 12:00:00.000001", "2024-01-31 12:00:00.000001"),
            ("2024-01-31T12:00", "2024-01-31 12:00:00"),
            ("2024-01-31", "2024-01-31 00:00:00"),
        ],
        &[
            "2024-01-31 12:00:00Z",
            "2024-01-31 24:00:00",
            "2024-01-31 12:00:00.0000001",
            "31/01/2024",
        ],
    ),
    (
        "timestamp_utc",
        &[
            ("2024-01-31T12:00:00Z", "2024-01-31 12:00:00+00"),
            ("2024-01-31 12:00:00-0530", "2024-01-31 17:30:00+00"),
        ],
        &["2024-01-31 12:00:00", "2024-01-31 12:00:00 CET"],
    ),
    (
        "time",
        &[
            ("23:59:59.999999", "23:59:59.999999"),
            ("12:00", "12:00:00"),
        ],
        &["24:00:00", "12", "12:00:00Z"],
    ),
];

#[test]
fn a_text_is_exactly_a_value_of_its_type_or_an_error() {
    for (kind, right, wrong) in TEXTS {
        let keys = format!(", delimiter: \"|\", types: {{x: {kind}}}");
        let sandbox = project(&keys);
        let rows: Vec<String> = right
            .iter()
            .enumerate()
            .map(|(row, (text, _))| format!("{row}|{text}\n"))
            .collect();
        sandbox.write("home/x.csv", format!("n|x\n{}", rows.concat()));
        built(&sandbox);
        let expected: Vec<String> = right
            .iter()
            .enumerate()
            .map(|(row, (_, value))| format!("{row}|{value}"))
            .collect();
        assert_eq!(
            peers::read_folder(&sandbox, "out", "n::int").1,
            expected,
            "{kind}"
        );
        for text in *wrong {
            let sandbox = project(&keys);
            sandbox.write("home/x.csv", format!("n|x\n1|{}\n2|{text}\n", right[0].0));
            let ran = failed(&sandbox);
            let words = format!("line 3: column x: '{text}' is no ");
            assert!(ran.error().contains(&words), "{kind}: {}", ran.text);
        }
    }
}

/// What stands in a file, and words of the error.
const WRONG: &[(&[u8], &str)] = &[
    (
        b"a,b\n1\n",
        "line 2: it has 1 field, and the file 2 columns: is another delimiter meant?",
    ),
    (
        b"a,b\n1,2\n1,2,3\n",
        "line 3: it has 3 fields, and the file 2 columns",
    ),
    (b"a,b\n\n1,2\n", "line 2: it is empty, and others follow"),
    (
        b"a,b\n1,\"x\n\ny,2\n",
        "line 2: a quote begins here that is not closed",
    ),
    (
        b"a,b\n\"x\ny\",\"z\n",
        "line 3: a quote begins here that is not closed",
    ),
    (b"a,b\n1,x\"y\"\n", "line 2: a quote stands inside a field"),
    (
        b"a,b\n1,\"x\"y\n",
        "line 2: something stands behind the quote that closes a field",
    ),
    (
        b"a,b\n1,\"x\" \n",
        "line 2: something stands behind the quote that closes a field",
    ),
    (b"a,b\r1,2\r", "line 1: a carriage return stands in it"),
    (b"a,b\n1,x\ry\n", "line 2: a carriage return stands in it"),
    (
        b"a,b\n1\xc3,\xa42\n",
        "line 2: the byte 0xa4 in it is not UTF-8",
    ),
    (b"a,b\n1,\xe4\n", "line 2: the byte 0xe4 in it is not UTF-8"),
    (b"a,b\n1,x\0y\n", "line 2: it has a NUL"),
    (b"a,a\n1,2\n", "line 1: its header names two columns a"),
    (b"a,\n1,2\n", "line 1: column 2 has no name in its header"),
    (b"\na,b\n", "line 1: column 1 has no name in its header"),
    (b"", "it is an empty file"),
    (
        b"\xff\xfea\0,\0b",
        "line 1: it ends inside of a letter of UTF-16",
    ),
    (
        b"\xff\xfea\0\n\0\x00\xdcx\0",
        "line 2: it has 0xdc00 alone, which is half of a letter",
    ),
    (b"PAR1\x15\0\x15\0PAR1", "it is a parquet file"),
    (b"<?xml version=\"1.0\"?>\n<a/>", "it is an XML document"),
    (
        b"version https://git-lfs.github.com/spec/v1\n",
        "it is a pointer of Git LFS",
    ),
    (
        b"a;b,c\n1;2,3\n",
        "line 1: it has ';' and ',': delimiter of its home says which",
    ),
    (
        b"\x1f\x8b\x08\0\0\0\0\0",
        "line 1: it is packed, and cut off",
    ),
    (b"\x28\xb5\x2f\xfd\0\0", "line 1: it is packed, and "),
    (
        b"BZh9\x31\x41\x59\x26\x53\x59",
        "line 1: it is packed, and ",
    ),
    (b"PK\x03\x04....", "it is a ZIP archive"),
    (b"<!DOCTYPE html>\n<html>", "it is an HTML page"),
    (b"a,b\nx,2\n", "line 2: column a: 'x' is no int64"),
    (
        b"a,b\n1,2\n\n1 ,2\n",
        "line 3: it is empty, and others follow",
    ),
    (b"a,b\n1 ,2\n", "line 2: column a: '1 ' is no int64"),
    (
        b"a,b\n9223372036854775808,2\n",
        "line 2: column a: '9223372036854775808' is no int64",
    ),
    (
        b"x,b\n1,2\n",
        "x.csv has no column a, which types of its home names",
    ),
];

#[test]
fn what_is_no_csv_is_named_with_its_line_and_nothing_is_published() {
    for (bytes, words) in WRONG {
        let sandbox = project(", types: {a: int64}");
        sandbox.write("home/x.csv", bytes);
        let ran = failed(&sandbox);
        let error = ran.error();
        assert!(
            error.contains("x.csv") && error.contains(words),
            "{words}: {error}"
        );
        assert!(!sandbox.path("out").exists(), "{words}");
    }
}

#[test]
fn what_is_unusual_and_right_is_read() {
    let rows = |keys: &str, bytes: &[u8]| {
        let sandbox = project(keys);
        sandbox.write("home/x.csv", bytes);
        built(&sandbox);
        peers::read_folder(&sandbox, "out", "all")
    };
    // Only a header, with and without an end of its line.
    for bytes in [
        &b"a,b"[..],
        b"a,b\n",
        b"\xef\xbb\xbfa,b\r\n",
        b"\"a\",\"b\"\n\n",
    ] {
        assert_eq!(rows("", bytes), ("a VARCHAR, b VARCHAR".into(), vec![]));
    }
    // One column: an empty line is a null, but for the last end of a line.
    assert_eq!(
        rows("", b"a\n\nx\n\n").1,
        ["", "", "x"]
            .map(String::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    // Without a header, and without quotes.
    let (columns, found) = rows(
        ", header: false, quote: none, delimiter: \"\\t\"",
        b"1\t\"x\n2\t'y\r\n",
    );
    assert_eq!(columns, "column_1 BIGINT, column_2 VARCHAR");
    assert_eq!(found, ["1|\"x", "2|'y"]);
    // The last line has no end, or half of one.
    for bytes in [
        &b"a,b\n1,\"x\""[..],
        b"a,b\n1,x",
        b"a,b\n1,x\r",
        b"a,b\n1,\"x\"\r",
    ] {
        assert_eq!(rows("", bytes).1, ["1|x"]);
    }
    assert_eq!(rows("", b"a,b\n1,").1, ["1|"]);
    // What stands between fields, where nothing is said.
    for (bytes, found) in [
        (&b"a;b\n1,5;2|3\n"[..], "1,5|2|3"),
        (b"a\tb\n1\t2\n", "1|2"),
        (b"\"a,;\"|b\n1|2\n", "1|2"),
        (b"\"a,b\"\t\"\"\"|\"\r\n1\t2\r\n", "1|2"),
        (b"a\n1;2\n", "1;2"),
    ] {
        assert_eq!(rows("", bytes).1, [found]);
    }
    assert_eq!(
        rows(", delimiter: \";\"", b"a,b;c\n1;2\n").0,
        "a,b BIGINT, c BIGINT"
    );
    // Words that other files begin with.
    for name in [
        "PARENT_ID",
        "ORC",
        "PAR1",
        "BZhours",
        "<TICKER>",
        "{id}",
        "SEQ",
    ] {
        let bytes = format!("{name},b\n1,2\n");
        assert_eq!(rows("", bytes.as_bytes()).1, ["1|2"], "{name}");
    }
}

#[test]
fn keys_say_how_files_are_written() {
    let rows = |keys: &str, bytes: &[u8]| {
        let sandbox = project(keys);
        sandbox.write("home/x.csv", bytes);
        built(&sandbox);
        peers::read_folder(&sandbox, "out", "all").1
    };
    let cases: &[(&str, &[u8], &[&str])] = &[
        (", encoding: latin1", b"a,b\n1,\xe4\x80\n", &["1|ä\u{80}"]),
        (", encoding: windows-1252", b"a,b\n1,\xe4\x80\n", &["1|ä€"]),
        (
            ", encoding: utf16",
            b"\xfe\xff\0a\0,\0b\0\n\x20\xac\0,\xd8\x34\xdd\x1e",
            &["€|𝄞"],
        ),
        // Its mark says it, whatever the config does.
        (
            ", encoding: latin1",
            b"\xef\xbb\xbfa,b\n1,\xc3\xa4\n",
            &["1|ä"],
        ),
        ("", b"\xff\xfea\0,\0b\0\n\0\x31\0,\0\xac\x20", &["1|€"]),
        (
            ", skip_rows: 2",
            b"a \"report\nof, today\na,b\n1,2\n",
            &["1|2"],
        ),
        (
            ", comment: \"#\"",
            b"# a,b\n#\na,b\n1,\"#2\"\n#1,2,\"3\n4,#5\n",
            &["1|#2", "4|#5"],
        ),
        (
            ", trim: true",
            b" a , b\n 1\t,\" x \" \n , \n2,\ty z \r\n",
            &["1| x ", "2|y z", "|"],
        ),
        (
            ", trim: true, delimiter: \"\\t\"",
            b"a\tb\n 1 \t\n",
            &["1|"],
        ),
    ];
    for (keys, bytes, expected) in cases {
        let found = rows(keys, bytes);
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        expected.sort_by_key(|row| (row.starts_with('|'), row.clone()));
        assert_eq!(found, expected, "{keys}");
    }
    for (keys, bytes, words) in [
        (
            ", encoding: windows-1252",
            &b"a\nx\n\x81\n"[..],
            "line 3: the byte 0x81 is no letter",
        ),
        (
            ", encoding: utf16",
            b"a,b\n",
            "line 1: it does not begin with the mark that UTF-16 has",
        ),
        (", skip_rows: 5", b"a\n1\n", "it has no line"),
        (
            ", comment: \";\"",
            b"a;b\n;3\n",
            "line 1: ';' stands between its fields, and comments begin with it",
        ),
        (", comment: \"#\"", b"#a\n", "it has no line"),
    ] {
        let sandbox = project(keys);
        sandbox.write("home/x.csv", bytes);
        let ran = failed(&sandbox);
        assert!(ran.error().contains(words), "{keys}: {}", ran.text);
    }
}

#[test]
fn values_are_written_as_the_home_says() {
    let keys = ", delimiter: \";\", decimal_comma: true, thousands: \".\", date_formats: [\"%d.%m.%Y\", \"%d-%m-%y\"], true_values: [ja, \"1\"], false_values: nein, \
                types: {n: int64, total: \"decimal(12,2)\", ratio: float64, day: date, paid: boolean}";
    let header = "n;total;ratio;day;paid;text\n";
    let sandbox = project(keys);
    sandbox.write(
        "home/x.csv",
        format!("{header}1.234;-1.234.567,50;0,25;29.02.2024;ja;1.5\n7;,5;1e3;01-02-26;true;\n;;;;nein;x\n"),
    );
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "n desc nulls last").1,
        [
            "1234|-1234567.50|0.25|2024-02-29|true|1.5",
            "7|0.50|1000.0|2026-02-01|true|",
            "||||false|x"
        ]
    );
    for (row, column) in [
        ("12.34;;;;;", "n"),
        ("1,5;;;;;", "n"),
        (";1.5;;;;", "total"),
        (";1,505;;;;", "total"),
        (";;0.25;;;", "ratio"),
        (";;;30.02.2024;;", "day"),
        (";;;2024-02-29;;", "day"),
        (";;;;yes;", "paid"),
    ] {
        let sandbox = project(keys);
        sandbox.write("home/x.csv", format!("{header}{row}\n"));
        let ran = failed(&sandbox);
        assert!(
            ran.error().contains(&format!("line 2: column {column}: '")),
            "{row}: {}",
            ran.text
        );
    }
    // As it is written out, it means the same.
    let checked = sandbox.run(&["check", "--offline", "--format", "json"]);
    sandbox.write("hygge.yml", checked.event("config")["config"].to_string());
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    for (keys, words) in [
        (
            ", thousands: \".\"",
            "thousands of home of flow f is what numbers have elsewhere",
        ),
        (
            ", decimal_comma: true, thousands: \",\"",
            "expected another character",
        ),
        (
            ", true_values: x, false_values: [y, X]",
            "\"x\" is true and false",
        ),
        (", true_values: \"FALSE\"", "\"false\" is true and false"),
        (", date_formats: \"%d.%m\"", "by which no day is read"),
        (", date_formats: \"%Q\"", "by which no day is read"),
    ] {
        let ran = project(keys).run(&["check", "--offline"]);
        assert!(
            ran.code == 2 && ran.text.contains(words),
            "{keys}: {}",
            ran.text
        );
    }
}

/// What Python packs, in one piece and in several.
#[test]
fn packed_files_are_read_as_what_is_in_them() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {type: csv, path: home, types: {id: int64}}, store: out}\n",
    );
    let lines = "import sys, gzip, bz2, pathlib, pyarrow\n\
                 home = pathlib.Path(sys.argv[1])\n\
                 home.mkdir()\n\
                 text = 'id,name\\n' + ''.join(f'{i},\"name {i}\"\\n' for i in range(200000))\n\
                 half = len(text) // 2\n\
                 halves = [text[:half].encode(), text[half:].encode()]\n\
                 zstd = lambda data: pyarrow.compress(data, codec='zstd', asbytes=True)\n\
                 for name, pack in [('gz', gzip.compress), ('bz2', bz2.compress), ('zst', zstd)]:\n    \
                     (home / f'whole.csv.{name}').write_bytes(pack(text.encode()))\n    \
                     (home / f'halves.csv.{name}').write_bytes(b''.join(map(pack, halves)))\n\
                 (home / 'plain.csv').write_text(text)";
    assert_success(&peers::run(lines, &[sandbox.path("home").as_os_str()]));
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 1_400_000);
    let query = format!(
        "select count(*), count(distinct id), sum(id), count(*) filter (name = 'name ' || id) from '{}/*.parquet'",
        sandbox.path("out").display()
    );
    let lines = "import sys, duckdb; print(duckdb.sql(sys.argv[1]).fetchall()[0])";
    let read = peers::run(lines, &[query.as_ref()]);
    assert_eq!(
        String::from_utf8_lossy(&read.stdout).trim(),
        "(1400000, 200000, 139999300000, 1400000)"
    );
    // Cut off anywhere, and with a bit that is another: it is never read as less.
    for name in ["whole.csv.gz", "halves.csv.bz2", "whole.csv.zst"] {
        let whole = fs::read(sandbox.path("home").join(name)).expect("a file");
        let mut odd = whole.clone();
        odd[whole.len() / 2] ^= 4;
        for bytes in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &odd] {
            let one = project("");
            one.write(&format!("home/{name}"), bytes);
            let ran = failed(&one);
            // A damaged one may be no CSV before it is no packed file.
            let is_packed = ran.error().contains("it is packed, and") || bytes == odd.as_slice();
            assert!(ran.error().contains(name) && is_packed, "{}", ran.text);
        }
    }
}

/// Memory is that of some values at once, however many columns there are.
#[test]
fn wide_files_are_read_in_few_rows_at_once() {
    let sandbox = project("");
    let names: Vec<String> = (0..3000).map(|column| format!("c{column}")).collect();
    let row = vec!["7"; 3000].join(",");
    sandbox.write(
        "home/x.csv",
        format!("{}\n{}", names.join(","), format!("{row}\n").repeat(4000)),
    );
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 4000);
    let lines = "import sys, glob, pyarrow.parquet as parquet\n\
                 file = parquet.ParquetFile(glob.glob(sys.argv[1] + '/*.parquet')[0])\n\
                 groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]\n\
                 print(file.metadata.num_columns, sum(groups), len(groups) > 1, max(groups) < 2500)";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    assert_eq!(
        String::from_utf8_lossy(&read.stdout).trim(),
        "3000 4000 True True"
    );
}

/// Fields that are longer than what is read at once, and lines that lie across its ends.
#[test]
fn files_of_any_size_are_read_as_they_are() {
    let sandbox = project(", types: {id: int64}");
    let mut text = String::from("id,name\n");
    for id in 0..200_000 {
        text.push_str(&format!("{id},\"name \"\"{id}\"\"\n\"\n"));
    }
    text.push_str(&format!("200000,\"{}\"\n", "long,\n".repeat(1_000_000)));
    sandbox.write("home/x.csv", &text);
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 200_001);
    let query = format!(
        "select count(*), sum(id), sum(length(name)), count(*) filter (name = 'name \"' || id || '\"' || chr(10)) from '{}/*.parquet'",
        sandbox.path("out").display()
    );
    let lines = "import sys, duckdb; print(duckdb.sql(sys.argv[1]).fetchall()[0])";
    let read = peers::run(lines, &[query.as_ref()]);
    assert_success(&read);
    let lengths: usize = (0..200_000)
        .map(|id: usize| id.to_string().len() + 8)
        .sum::<usize>()
        + 6_000_000;
    assert_eq!(
        String::from_utf8_lossy(&read.stdout).trim(),
        format!("(200001, 20000100000, {lengths}, 200000)")
    );
    // Line 400002 is the one behind all of these.
    sandbox.write("home/x.csv", format!("{text}x,y\n"));
    let ran = failed(&sandbox);
    let line = text.matches('\n').count() + 1;
    assert!(
        ran.error()
            .contains(&format!("line {line}: column id: 'x' is no int64")),
        "{}",
        ran.text
    );
}

#[test]
fn files_are_read_by_any_number_of_threads_as_by_one() {
    let row = |row: usize| match row % 7 {
        0 => format!(
            "{row},\"line\none, \"\"two\"\"\",{}\n",
            "x".repeat(row % 90)
        ),
        3 => format!("{row},,\"\"\n"),
        _ => format!("{row},{},{}.5\r\n", "y".repeat(row % 60), row % 1000),
    };
    let text: String = (0..150_000).map(row).collect();
    let mut made = Vec::new();
    for threads in ["1", "2", "7"] {
        let sandbox = project("");
        sandbox.write("home/x.csv", format!("id,text,number\n{text}"));
        let ran = sandbox.run_with(&[("RAYON_NUM_THREADS", threads)], &["build"]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        made.push(sandbox.digests("out"));
        // An error is that of the first line.
        sandbox.write(
            "home/x.csv",
            format!("id,text,number\n{text}\n1,\"2\n{text}"),
        );
        let ran = sandbox.run_with(&[("RAYON_NUM_THREADS", threads)], &["build"]);
        let line = text.matches('\n').count() + 2;
        assert!(
            ran.code == 1
                && ran
                    .text
                    .contains(&format!("line {line}: it is empty, and others follow")),
            "{line}: {}",
            ran.text
        );
    }
    assert_eq!((&made[0], &made[0]), (&made[1], &made[2]));
}

#[test]
fn files_of_one_flow_have_the_same_columns_and_new_ones_are_parts_of_their_own() {
    let sandbox = project("");
    sandbox.write("home/a.csv", "id,name\n1,x\n");
    sandbox.write("home/b.csv", "name,id\ny,2\n");
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(
        (columns.as_str(), rows),
        ("id BIGINT, name VARCHAR", vec!["1|x".into(), "2|y".into()])
    );
    sandbox.write("home/c.csv", "id,name\n3,z\n");
    let ran = built(&sandbox);
    let done = ran.finished("f").expect("the flow");
    assert_eq!(
        (&done["parts_made"], &done["parts_kept"], &done["rows"]),
        (&1.into(), &2.into(), &3.into())
    );
    sandbox.write("home/d.csv", "id,nam\n4,w\n");
    let ran = failed(&sandbox);
    assert!(
        ran.error().contains("column name is missing")
            || ran.error().contains("column nam is only here"),
        "{}",
        ran.text
    );
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: {type: csv, path: home, schema: union}, store: out, where: \"cast(id as int32) >= 3\", columns: [id, nam]}\n",
    );
    assert_eq!(sandbox.build(&["--accept-drift"]).code, 0);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "id");
    assert_eq!(
        (columns.as_str(), rows),
        ("id BIGINT, nam VARCHAR", vec!["3|".into(), "4|w".into()])
    );
}

#[test]
fn csv_comes_into_tables_and_other_formats() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  t: {home: {type: csv, path: home, types: {id: int64}}, store: {connection: shop, table: t, key: [id]}, mode: merge}\n  \
         arrow: {home: {type: csv, path: home, types: {id: int64}}, store: {path: arrow, type: ipc}}\n  \
         back: {home: {flow: arrow}, store: back, partition_by: [id]}\n",
    );
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write(
        "hygge.yml",
        config.replace(
            "store: back, partition_by: [id]",
            "store: {path: back, partition_by: [id]}",
        ),
    );
    sandbox.write("home/a.csv", "id,name\n1,\"it's, \"\"x\"\"\"\n2,\n3,\"\"\n");
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT id, quote(name) FROM t ORDER BY id"),
        "1|'it''s, \"x\"'\n2|NULL\n3|''"
    );
    assert_eq!(
        fs::read_dir(sandbox.path("back"))
            .expect("folders")
            .filter(
                |entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()
                    && !entry.file_name().to_string_lossy().starts_with('.'))
            )
            .count(),
        3
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 3);
    sandbox.write("home/a.csv", "id,name\n2,new\n4,four\n");
    assert_eq!(sandbox.build(&["--accept-shrink"]).code, 0);
    assert_eq!(
        database.ask("SELECT id, quote(name) FROM t ORDER BY id"),
        "1|'it''s, \"x\"'\n2|'new'\n3|''\n4|'four'"
    );
}

/// Files whose ending says what they are.
#[test]
fn a_home_needs_no_type_where_an_ending_says_it() {
    for home in [
        "home/a.csv",
        "{path: home/a.CSV}",
        "{path: home, glob: \"*.csv\", delimiter: \",\"}",
        "{path: home/a.csv.gz}",
    ] {
        let sandbox = Sandbox::new(&format!("flows:\n  f: {{home: {home}, store: out}}\n"));
        for name in ["a.csv", "a.CSV", "a.csv.gz"] {
            sandbox.write(&format!("home/{name}"), "id,name\n1,x\n");
        }
        built(&sandbox);
        assert_eq!(
            peers::read_folder(&sandbox, "out", "all").1,
            ["1|x"],
            "{home}"
        );
    }
    // What is said counts.
    let sandbox =
        Sandbox::new("flows:\n  f: {home: {type: parquet, path: home/a.csv}, store: out}\n");
    sandbox.write("home/a.csv", "id,name\n1,x\n");
    assert!(
        failed(&sandbox)
            .error()
            .contains("not a sound parquet file: it is a CSV file")
    );
}

#[test]
fn wrong_keys_are_said_with_their_place() {
    for (keys, words) in [
        (
            ", delimiter: \"::\"",
            "delimiter of home of flow f is \"::\"",
        ),
        (", delimiter: \"ä\"", "expected one ASCII character"),
        (
            ", delimiter: \",\", quote: \",\"",
            "delimiter, quote and comment of home of flow f are not all different",
        ),
        (", types: {a: integer64}", "the unknown type \"integer64\""),
        (
            ", types: {a: \"list(int64)\"}",
            "expected a type whose values are texts",
        ),
        (", header: maybe", "header"),
        (", delimitter: \";\"", "did you mean delimiter?"),
    ] {
        let ran = project(keys).run(&["check", "--offline"]);
        assert!(
            ran.code == 2 && ran.text.contains(words),
            "{keys}: {}",
            ran.text
        );
    }
    // A config that is written out means the same.
    let sandbox = project(
        ", delimiter: ';', quote: none, header: false, null_values: NA, types: {column_1: int64}",
    );
    sandbox.write("home/a.csv", "1;NA\n");
    built(&sandbox);
    let checked = sandbox.run(&["check", "--offline", "--format", "json"]);
    sandbox.write("hygge.yml", checked.event("config")["config"].to_string());
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    // Another option makes the parts anew.
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: {type: csv, path: home, delimiter: ';', header: false}, store: out}\n",
    );
    assert_eq!(sandbox.build(&["--accept-drift"]).outcome("f"), "built");
    assert_eq!(peers::read_folder(&sandbox, "out", "all").1, ["1|NA"]);
}
