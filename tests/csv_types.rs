//! Types of columns of CSV that no one says: they are what all values are, and nothing is lost by
//! them.

use std::ffi::OsStr;
use std::fs;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

/// A project whose home is of CSV with these keys, and whose flow has those.
fn project(keys: &str, of_flow: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: {{type: csv, path: home{keys}}}, store: out{of_flow}}}\n"
    ))
}

/// The columns of the store with their types, and its rows in the order of the first.
fn found(sandbox: &Sandbox) -> (String, Vec<String>) {
    peers::read_folder(sandbox, "out", "1")
}

/// The texts of a column, the type that it has, as DuckDB calls it, and the values.
const FOUND: &[(&[&str], &str, &[&str])] = &[
    (&["7", "-7", "0"], "BIGINT", &["7", "-7", "0"]),
    (&["00501", "10115"], "VARCHAR", &["00501", "10115"]),
    (&["+49", "7"], "VARCHAR", &["+49", "7"]),
    (&["-0", "1"], "DOUBLE", &["-0.0", "1.0"]),
    (&["10000-01-01"], "VARCHAR", &["10000-01-01"]),
    (
        &["9999-12-31T23:59:59-05:00"],
        "VARCHAR",
        &["9999-12-31T23:59:59-05:00"],
    ),
    (
        &["12345678901234567890", "1"],
        "DECIMAL(38,0)",
        &["12345678901234567890", "1"],
    ),
    (
        &["123456789012345678901234567890123456789"],
        "VARCHAR",
        &["123456789012345678901234567890123456789"],
    ),
    (&["1.50", "2"], "DOUBLE", &["1.5", "2.0"]),
    (&["1e3", "7"], "DOUBLE", &["1000.0", "7.0"]),
    (
        &["0.1", "9007199254740993"],
        "VARCHAR",
        &["0.1", "9007199254740993"],
    ),
    (
        &["0.1234567890123456789012"],
        "VARCHAR",
        &["0.1234567890123456789012"],
    ),
    (
        &["0.5", "NaN", "-Infinity"],
        "DOUBLE",
        &["0.5", "nan", "-inf"],
    ),
    (&["NaN"], "VARCHAR", &["NaN"]),
    (&["TRUE", "false"], "BOOLEAN", &["true", "false"]),
    (&["TRUE", "yes"], "VARCHAR", &["TRUE", "yes"]),
    (&["t", "f"], "VARCHAR", &["t", "f"]),
    (&["1", "0", "true"], "VARCHAR", &["1", "0", "true"]),
    (&["2024-02-29"], "DATE", &["2024-02-29"]),
    (&["2024-02-30"], "VARCHAR", &["2024-02-30"]),
    (&["31.01.2024"], "VARCHAR", &["31.01.2024"]),
    (
        &["2024-01-31", "31.01.2024"],
        "VARCHAR",
        &["2024-01-31", "31.01.2024"],
    ),
    (
        &["2024-01-31", "2024-01-31T12:00:00.5"],
        "TIMESTAMP",
        &["2024-01-31 00:00:00", "2024-01-31 12:00:00.5"],
    ),
    (
        &["2024-01-31 12:00:00.1234567"],
        "VARCHAR",
        &["2024-01-31 12:00:00.1234567"],
    ),
    (
        &["2024-01-31T12:00:00Z", "2024-01-31T12:00:00+02:00"],
        "TIMESTAMP WITH TIME ZONE",
        &["2024-01-31 12:00:00+00", "2024-01-31 10:00:00+00"],
    ),
    (
        &["2024-01-31T12:00:00Z", "2024-01-31T12:00:00"],
        "VARCHAR",
        &["2024-01-31T12:00:00Z", "2024-01-31T12:00:00"],
    ),
    (&["23:59", "12:00:00"], "TIME_NS", &["23:59:00", "12:00:00"]),
    (&["", ""], "VARCHAR", &["", ""]),
    (&["\"\"", "7"], "BIGINT", &["", "7"]),
    (&["\"\"", "x"], "VARCHAR", &["", "x"]),
    (&["\"7\"", "8"], "BIGINT", &["7", "8"]),
    (&[" 7", "8"], "VARCHAR", &[" 7", "8"]),
    (&["7 ", "8"], "VARCHAR", &["7 ", "8"]),
];

#[test]
fn the_type_of_a_column_is_what_all_of_its_texts_are() {
    for (texts, kind, values) in FOUND {
        let sandbox = project("", "");
        let rows = texts.iter().enumerate();
        let rows: Vec<String> = rows.map(|(row, text)| format!("{row},{text}\n")).collect();
        sandbox.write("home/x.csv", format!("n,x\n{}", rows.concat()));
        built(&sandbox);
        let (columns, rows) = found(&sandbox);
        assert_eq!(columns, format!("n BIGINT, x {kind}"), "{texts:?}");
        let expected = values.iter().enumerate();
        let expected: Vec<String> = expected
            .map(|(row, value)| format!("{row}|{value}"))
            .collect();
        assert_eq!(rows, expected, "{texts:?}");
        assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    }
}

/// Random columns in random files; `HYGGE_CSV_FILES` sets how many flows, `HYGGE_SEED` which.
#[test]
fn random_columns_have_the_types_and_values_that_python_finds() {
    let setting = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.into());
    let (seed, count) = (setting("HYGGE_SEED", "1"), setting("HYGGE_CSV_FILES", "60"));
    let sandbox = Sandbox::new("");
    let folder = sandbox.path(".");
    let arguments = ["write", &seed, &count].map(OsStr::new);
    let arguments = [&arguments[..], &[folder.as_os_str()]].concat();
    assert_success(&peers::python("csv_types.py", &arguments));
    let count: usize = count.parse().expect("a number");
    let flow = |number: usize| {
        format!("  f{number}: {{home: {{type: csv, path: in/{number}}}, store: out/{number}}}\n")
    };
    let flows: String = (0..count).map(flow).collect();
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    built(&sandbox);
    let arguments = [OsStr::new("compare"), folder.as_os_str()];
    assert_success(&peers::python("csv_types.py", &arguments));
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], count);
}

/// So many rows that what follows them is not looked at before parts are made.
fn many_rows() -> String {
    (0..30_000).map(|row| format!("{row},{row}\n")).collect()
}

#[test]
fn a_type_that_does_not_hold_for_all_rows_is_found_anew_once() {
    let sandbox = project("", "");
    sandbox.write("home/a.csv", "id,x\n-1,1\n");
    sandbox.write("home/b.csv", format!("id,x\n{}30000,00501\n", many_rows()));
    let planned = sandbox.run(&["build", "--dry-run"]);
    assert!(planned.text.contains("x is int64"), "{}", planned.text);
    let ran = built(&sandbox);
    assert!(
        ran.text.contains("b.csv: line 30002: column x: '00501' is no int64: types are inferred from all rows now, and parts are made again"),
        "{}",
        ran.text
    );
    let (columns, rows) = found(&sandbox);
    assert_eq!(columns, "id BIGINT, x VARCHAR");
    assert_eq!((rows.len(), rows[0].as_str()), (30_002, "-1|1"));
    assert!(rows.contains(&"30000|00501".to_string()));
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn a_column_whose_values_come_late_has_their_type() {
    let sandbox = project("", "");
    let empty: String = (0..30_000)
        .map(|row| format!("{row},,\"\",NaN\n"))
        .collect();
    sandbox.write("home/a.csv", format!("id,x,y,z\n{empty}30000,7,,NaN\n"));
    let ran = built(&sandbox);
    assert!(
        ran.text.contains("types are inferred from all rows now"),
        "{}",
        ran.text
    );
    let (columns, rows) = found(&sandbox);
    assert_eq!(columns, "id BIGINT, x BIGINT, y VARCHAR, z VARCHAR");
    assert_eq!(
        (rows.len(), rows[30_000].as_str()),
        (30_001, "30000|7||NaN")
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    // Nothing is looked at again for what never has a value.
    let sandbox = project("", "");
    let empty: String = (0..30_000).map(|row| format!("{row},\n")).collect();
    sandbox.write("home/a.csv", format!("id,x\n{empty}"));
    let ran = built(&sandbox);
    assert!(!ran.text.contains("inferred from all rows"), "{}", ran.text);
    assert_eq!(found(&sandbox).0, "id BIGINT, x VARCHAR");
}

#[test]
fn a_column_is_text_until_a_value_says_another_type() {
    let sandbox = project("", "");
    sandbox.write("home/a.csv", "id,x\n");
    built(&sandbox);
    assert_eq!(found(&sandbox).0, "id VARCHAR, x VARCHAR");
    sandbox.write("home/b.csv", "id,x\n1,\n");
    built(&sandbox);
    assert_eq!(found(&sandbox).0, "id BIGINT, x VARCHAR");
    sandbox.write("home/c.csv", "id,x\n2,2024-01-31\n");
    let ran = built(&sandbox);
    assert!(
        ran.text.contains("x was string, and is date"),
        "{}",
        ran.text
    );
    assert_eq!(
        found(&sandbox),
        (
            "id BIGINT, x DATE".into(),
            vec!["1|".into(), "2|2024-01-31".into()]
        )
    );
    sandbox.write("home/d.csv", "id,x\n3,x\n");
    assert!(failed(&sandbox).error().contains("'x' is no date"));
}

#[test]
fn what_a_flow_does_not_read_has_no_type() {
    let sandbox = project("", ", columns: [id]");
    sandbox.write("home/a.csv", format!("id,n\n{}30000,x\n", many_rows()));
    let ran = built(&sandbox);
    assert!(!ran.text.contains("n is"), "{}", ran.text);
    let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
    sandbox.write("hygge.yml", config.replace(", columns: [id]", ""));
    built(&sandbox);
    assert_eq!(found(&sandbox).0, "id BIGINT, n VARCHAR");
}

#[test]
fn fields_in_quotes_are_null_where_they_say_so() {
    let sandbox = project(", null_values: [\"-999\", NA]", "");
    sandbox.write(
        "home/a.csv",
        "\"i\",\"d\",\"t\"\n\"1\",\"2024-01-01\",\"x\"\n\"-999\",\"NA\",\"NA\"\n\"\",\"\",\"\"\n",
    );
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "out", "t"),
        (
            "i BIGINT, d DATE, t VARCHAR".into(),
            vec!["||".into(), "||NA".into(), "1|2024-01-01|x".into()]
        )
    );
}

#[test]
fn a_recorded_type_stays_and_a_value_of_another_is_an_error() {
    let sandbox = project("", "");
    sandbox.write("home/a.csv", "id,x,t\n1,1,abc\n");
    built(&sandbox);
    // What is text stays text, whatever comes.
    sandbox.write("home/b.csv", "id,x,t\n2,2,7\n");
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["parts_kept"], 1);
    assert_eq!(found(&sandbox).0, "id BIGINT, x BIGINT, t VARCHAR");
    for text in ["00501", "1.0", "x", "1e3", "9223372036854775808", "+7"] {
        sandbox.write("home/c.csv", format!("id,x,t\n3,3,\n4,{text},\n"));
        let ran = failed(&sandbox);
        let words = format!("c.csv: line 3: column x: '{text}' is no int64");
        assert!(ran.error().contains(&words), "{}", ran.text);
        assert!(
            ran.text
                .contains("hygge build FLOW --infer and on_mismatch: widen find one"),
            "{}",
            ran.text
        );
        assert_eq!(found(&sandbox).1.len(), 2);
    }
    // Anew, all values say the types.
    assert_eq!(sandbox.build(&["f", "--infer"]).code, 0);
    assert_eq!(found(&sandbox).0, "id BIGINT, x VARCHAR, t VARCHAR");
    sandbox.write("home/c.csv", "id,x,t\n3,3,\n");
    built(&sandbox);
    assert_eq!(found(&sandbox).0, "id BIGINT, x VARCHAR, t VARCHAR");
    assert_eq!(sandbox.build(&["f", "--infer"]).code, 0);
    assert_eq!(found(&sandbox).0, "id BIGINT, x BIGINT, t VARCHAR");
    // Another home has other types.
    sandbox.write("home/c.csv", "id,x,t\n3,NA,\n");
    failed(&sandbox);
    sandbox.write(
        "hygge.yml",
        "flows:\n  f: {home: {type: csv, path: home, null_values: [NA, abc]}, store: out}\n",
    );
    built(&sandbox);
    assert_eq!(
        found(&sandbox),
        (
            "id BIGINT, x BIGINT, t BIGINT".into(),
            vec!["1|1|".into(), "2|2|7".into(), "3||".into()]
        )
    );
}

#[test]
fn types_widen_where_the_home_says_so() {
    let sandbox = project(", on_mismatch: widen", "");
    sandbox.write("home/a.csv", "id,x\n1,1\n");
    built(&sandbox);
    let late = format!("id,x\n{}30000,1.5\n", many_rows());
    for (name, text, kind) in [
        ("b.csv", "id,x\n2,0.5\n", "DOUBLE"),
        ("c.csv", "id,x\n3,3\n", "DOUBLE"),
        ("d.csv", "id,x\n4,abc\n", "VARCHAR"),
        ("e.csv", "id,x\n5,5\n", "VARCHAR"),
        ("f.csv", late.as_str(), "VARCHAR"),
    ] {
        let before = found(&sandbox).0;
        sandbox.write(&format!("home/{name}"), text);
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let columns = format!("id BIGINT, x {kind}");
        let is_same = before == columns;
        assert_eq!(found(&sandbox).0, columns, "{name}");
        let kept = &ran.finished("f").expect("the flow")["parts_kept"];
        assert_eq!(*kept != 0, is_same, "{name}: {}", ran.text);
        assert_eq!(
            ran.text.contains("x was "),
            !is_same,
            "{name}: {}",
            ran.text
        );
    }
    let rows = found(&sandbox).1;
    assert!(rows.contains(&"2|0.5".to_string()) && rows.contains(&"30000|1.5".to_string()));
    // Also where the columns are those of the first file.
    let sandbox = project(", schema: first, on_mismatch: widen", "");
    sandbox.write("home/a.csv", "id,n\n1,1\n");
    built(&sandbox);
    sandbox.write("home/b.csv", "id,n\nx,2\n");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(found(&sandbox).0, "id VARCHAR, n BIGINT");
    // A value that is far behind widens as well.
    let sandbox = project(", on_mismatch: widen", "");
    sandbox.write("home/a.csv", "id,x\n1,1\n");
    built(&sandbox);
    sandbox.write("home/b.csv", &late);
    assert_eq!(sandbox.build(&[]).code, 0);
    let (columns, rows) = found(&sandbox);
    assert_eq!(
        (columns.as_str(), rows.len()),
        ("id BIGINT, x DOUBLE", 30_002)
    );
}

#[test]
fn types_of_parts_that_stay_are_final() {
    for keys in ["", ", on_mismatch: widen"] {
        let sandbox = project(keys, ", mode: append");
        sandbox.write("home/a.csv", "id,x\n1,1\n");
        built(&sandbox);
        fs::remove_file(sandbox.path("home/a.csv")).expect("a file");
        sandbox.write("home/b.csv", "id,x\n2,x\n");
        let ran = failed(&sandbox);
        assert!(
            ran.error()
                .contains("b.csv: line 2: column x: 'x' is no int64"),
            "{}",
            ran.text
        );
        sandbox.write("home/b.csv", "id,x\n2,2\n");
        built(&sandbox);
        assert_eq!(
            found(&sandbox),
            (
                "id BIGINT, x BIGINT".into(),
                vec!["1|1".into(), "2|2".into()]
            )
        );
    }
}

#[test]
fn the_config_says_types_and_that_none_are_found() {
    let sandbox = project(", types: {x: text, y: \"decimal(12,2)\"}", "");
    sandbox.write("home/a.csv", "id,x,y\n1,1,1.50\n");
    built(&sandbox);
    assert_eq!(found(&sandbox).0, "id BIGINT, x VARCHAR, y DECIMAL(12,2)");
    let sandbox = project(", infer: false, types: {y: float64}", "");
    sandbox.write("home/a.csv", "id,x,y\n1,1,1.50\n");
    let ran = built(&sandbox);
    assert!(!ran.text.contains("types are inferred"), "{}", ran.text);
    assert_eq!(found(&sandbox).0, "id VARCHAR, x VARCHAR, y DOUBLE");
    // What numbers and days look like is said too.
    let sandbox = project(
        ", delimiter: \";\", decimal_comma: true, thousands: \".\", date_formats: [\"%d.%m.%Y\"], true_values: [ja], false_values: [nein]",
        "",
    );
    sandbox.write(
        "home/a.csv",
        "n;x;d;b;z\n1;1.234,5;31.01.2024;ja;007\n2;7;01.02.2024;nein;1\n",
    );
    built(&sandbox);
    assert_eq!(
        found(&sandbox),
        (
            "n BIGINT, x DOUBLE, d DATE, b BOOLEAN, z VARCHAR".into(),
            vec![
                "1|1234.5|2024-01-31|true|007".into(),
                "2|7.0|2024-02-01|false|1".into()
            ]
        )
    );
}

#[test]
fn digits_that_are_days_by_a_format_are_no_numbers() {
    let sandbox = project(", date_formats: [\"%Y%m%d\"]", "");
    sandbox.write("home/a.csv", "id,d,m\n1,20240131,20240131\n2,20240201,7\n");
    built(&sandbox);
    assert_eq!(
        found(&sandbox),
        (
            "id BIGINT, d DATE, m VARCHAR".into(),
            vec!["1|2024-01-31|20240131".into(), "2|2024-02-01|7".into()]
        )
    );
}

#[test]
fn a_type_depends_on_nothing_but_the_file_and_what_is_recorded() {
    let config = |flows: &str| {
        format!(
            "flows:\n{}",
            flows.replace(
                "HOME",
                "{type: csv, path: home, date_formats: [\"%Y%m%d\"]}"
            )
        )
    };
    let (one, both) = (
        "  b: {home: HOME, store: out, columns: [n]}\n",
        "  a: {home: HOME, store: all}\n",
    );
    let numbers: String = (0..30_000)
        .map(|row| format!("99{row:06},{row}\n"))
        .collect();
    let text = format!("n,m\n{numbers}20240101,x\n");
    let kinds = [vec![one], vec![both, one]].map(|order| {
        let sandbox = Sandbox::new("");
        sandbox.write("home/x.csv", &text);
        let mut flows = String::new();
        for flow in order {
            flows.push_str(flow);
            sandbox.write("hygge.yml", config(&flows));
            built(&sandbox);
        }
        found(&sandbox).0
    });
    assert_eq!(kinds, ["n VARCHAR", "n VARCHAR"]);
}

#[test]
fn types_are_those_of_all_files_also_where_columns_differ() {
    let sandbox = project(", schema: union", "");
    sandbox.write("home/a.csv", "id,x\n1,1\n");
    sandbox.write("home/b.csv", "id,y\nb,2\n");
    built(&sandbox);
    assert_eq!(
        found(&sandbox),
        (
            "id VARCHAR, x BIGINT, y BIGINT".into(),
            vec!["1|1|".into(), "b||2".into()]
        )
    );
    sandbox.write("home/c.csv", "id,x,z\n3,7,2024-01-31\n");
    let ran = built(&sandbox);
    assert_eq!(ran.finished("f").expect("the flow")["rows"], 3);
    assert_eq!(found(&sandbox).0, "id VARCHAR, x BIGINT, y BIGINT, z DATE");
    sandbox.write("home/c.csv", "id,x,z\n3,x,2024-01-31\n");
    assert!(failed(&sandbox).error().contains("'x' is no int64"));
}

#[test]
fn tables_get_the_types_that_were_found() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  t: {home: {type: csv, path: home}, store: {connection: shop, table: t}, where: \"x > 1\"}\n",
    );
    sandbox.write("home/a.csv", "id,x,d\n1,1.5,2024-01-31\n2,0.5,\n3,7,\n");
    built(&sandbox);
    assert_eq!(
        database.ask("SELECT id, typeof(id), x, typeof(x), quote(d) FROM t ORDER BY id"),
        "1|integer|1.5|real|'2024-01-31'\n3|integer|7.0|real|NULL"
    );
    let checked = sandbox.run(&["check"]);
    assert!(
        checked.code == 0 && checked.text.contains("id is int64, x is float64"),
        "{}",
        checked.text
    );
}
