//! CSV as a store: what is written is read back as the same, by hygge and by others.

use std::ffi::OsStr;
use std::fs;

use serde_json::Value;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers::{self, parquet};
use crate::common::sandbox::{Sandbox, built, failed};

/// A project whose store is of CSV with these keys.
fn project(keys: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{type: csv, path: out{keys}}}}}\n"
    ))
}

/// The text of the first part.
fn written(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("out/00000000000000000000.csv"))
        .or_else(|_| fs::read_to_string(sandbox.path("out/00000000000000000001.csv")))
        .expect("a part")
}

/// Random tables in random dialects; `HYGGE_CSV_FILES` sets how many, `HYGGE_SEED` which.
#[test]
fn random_tables_come_back_as_they_were() {
    let setting = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.into());
    let (seed, count) = (setting("HYGGE_SEED", "1"), setting("HYGGE_CSV_FILES", "60"));
    let sandbox = Sandbox::new("");
    let folder = sandbox.path(".");
    let arguments = ["write", &seed, &count].map(OsStr::new);
    let arguments = [&arguments[..], &[folder.as_os_str()]].concat();
    assert_success(&peers::python("csv_stores.py", &arguments));
    let dialects = fs::read(sandbox.path("dialects.json")).expect("dialects");
    let dialects: Vec<Value> = serde_json::from_slice(&dialects).expect("JSON");
    let flow = |(number, dialect): (usize, &Value)| {
        let (delimiter, quote) = (&dialect["delimiter"], &dialect["quote"]);
        let null = match &dialect["null_value"] {
            Value::Null => String::new(),
            null => format!(", null_value: {null}"),
        };
        format!(
            "  f{number}: {{home: in/{number}, store: {{type: csv, path: out/{number}, delimiter: {delimiter}, quote: {quote}{null}}}}}\n  \
             g{number}: {{home: {{flow: f{number}}}, store: back/{number}}}\n"
        )
    };
    let flows: String = dialects.iter().enumerate().map(flow).collect();
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    built(&sandbox);
    let arguments = [OsStr::new("compare"), folder.as_os_str()];
    assert_success(&peers::python("csv_stores.py", &arguments));
    assert_eq!(
        sandbox.build(&[]).event("build_finished")["fresh"],
        dialects.len() * 2
    );
}

#[test]
fn null_and_empty_text_are_told_apart() {
    let rows =
        "[{'a': 'x', 'b': 1}, {'a': '', 'b': None}, {'a': None, 'b': 2}, {'a': 'NULL', 'b': 3}]";
    for (keys, text) in [
        ("", "a,b\nx,1\n\"\",\n,2\nNULL,3\n"),
        (
            ", null_value: \"NULL\"",
            "a,b\nx,1\n\"\",NULL\nNULL,2\n\"NULL\",3\n",
        ),
        (
            ", header: false, delimiter: \"\\t\"",
            "x\t1\n\"\"\t\n\t2\nNULL\t3\n",
        ),
    ] {
        let sandbox = project(keys);
        parquet(
            &sandbox,
            "home/a.parquet",
            "[('a', pa.string()), ('b', pa.int64())]",
            rows,
        );
        built(&sandbox);
        assert_eq!(written(&sandbox), text, "{keys}");
    }
}

#[test]
fn what_has_no_place_in_csv_is_named() {
    for (schema, rows, words) in [
        ("[('a', pa.list_(pa.int64()))]", "[{'a': [1]}]", "column a"),
        (
            "[('a', pa.string()), ('b', pa.int64())]",
            "[{'a': 'x\\0y', 'b': 1}]",
            "row 1: column a: a text has a NUL",
        ),
        (
            "[('a', pa.binary()), ('b', pa.int64())]",
            "[{'a': b'\\xff', 'b': 1}]",
            "column a: bytes that are no UTF-8",
        ),
        (
            "[('a', pa.string())]",
            "[{'a': 'x'}, {'a': None}]",
            "row 2: column a: null in the only column",
        ),
        (
            "[('', pa.string()), ('b', pa.int64())]",
            "[{'': 'x', 'b': 1}]",
            "it has no name",
        ),
    ] {
        let sandbox = project("");
        parquet(&sandbox, "home/a.parquet", schema, rows);
        let ran = failed(&sandbox);
        assert!(ran.error().contains(words), "{words}: {}", ran.text);
        assert!(!sandbox.path("out").exists(), "{words}");
    }
    for (keys, words) in [
        (
            ", delimiter: \"'\", quote: \"'\"",
            "delimiter and quote of store of flow f are not all different",
        ),
        (
            ", null_value: \"a,b\"",
            "null_value of store of flow f is \"a,b\"",
        ),
        (", nested: yes", "nested"),
        (", compression: snappy", "csv has no compression \"snappy\""),
        (", encoding: latin1", "encoding"),
    ] {
        let sandbox = project(keys);
        let checked = sandbox.run(&["check"]);
        assert!(
            checked.code == 2 && checked.text.contains(words),
            "{words}: {}",
            checked.text
        );
    }
}

#[test]
fn a_value_that_is_written_as_null_fails_by_its_row() {
    for (null, column) in [("2", "b"), ("true", "c")] {
        let sandbox = project(&format!(", null_value: \"{null}\""));
        parquet(
            &sandbox,
            "home/a.parquet",
            "[('a', pa.string()), ('b', pa.int64()), ('c', pa.bool_())]",
            "[{'a': 'true', 'b': None, 'c': None}, {'a': '2', 'b': 2, 'c': True}]",
        );
        let ran = failed(&sandbox);
        let words = format!(
            "row 2: column {column}: {null} is a value, and what null_value of the store writes for null"
        );
        assert!(ran.error().contains(&words), "{}", ran.text);
    }
}

#[test]
fn types_that_texts_do_not_have_are_found_anew_and_columns_need_names() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: home, store: {type: csv, path: out}}\n  b: {home: {flow: a}, store: back}\n",
    );
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('h', pa.float16()), ('n', pa.null()), ('k', pa.int8())]",
        "[{'h': 1.5, 'n': None, 'k': 1}]",
    );
    built(&sandbox);
    assert_eq!(
        peers::read_folder(&sandbox, "back", "1"),
        (
            "h DOUBLE, n VARCHAR, k TINYINT".into(),
            vec!["1.5||1".into()]
        )
    );
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: home, store: {type: csv, path: out, header: false}}\n  b: {home: {flow: a}, store: back}\n",
    );
    let words = "the files of flow a do not say which columns they have";
    let ran = sandbox.build(&[]);
    assert!(ran.code == 1 && ran.text.contains(words), "{}", ran.text);
    let checked = sandbox.run(&["check"]);
    assert!(
        checked.code == 1 && checked.text.contains(words),
        "{}",
        checked.text
    );
}

#[test]
fn a_flow_is_made_again_where_only_the_types_of_texts_change() {
    for kind in ["int64", "text"] {
        let config = |kind: &str| {
            format!(
                "flows:\n  u: {{home: {{type: csv, path: home, types: {{a: {kind}}}}}, store: {{type: csv, path: mid}}}}\n  \
                 d: {{home: {{flow: u}}, store: out}}\n"
            )
        };
        let sandbox = Sandbox::new(&config("int32"));
        sandbox.write("home/a.csv", "a\n7\n");
        built(&sandbox);
        assert_eq!(peers::read_folder(&sandbox, "out", "1").0, "a INTEGER");
        sandbox.write("hygge.yml", config(kind));
        let ran = built(&sandbox);
        assert_eq!(ran.event("build_finished")["built"], 2, "{}", ran.text);
        let expected = if kind == "text" {
            "a VARCHAR"
        } else {
            "a BIGINT"
        };
        assert_eq!(peers::read_folder(&sandbox, "out", "1").0, expected);
        assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 2);
    }
}

#[test]
fn values_with_others_in_them_are_json_where_the_store_says_so() {
    let sandbox = project(", nested: json");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('n', pa.int64()), ('l', pa.list_(pa.string())), ('g', pa.struct([('x', pa.float64()), ('d', pa.date32())])), ('m', pa.map_(pa.string(), pa.decimal128(9, 2)))]",
        "[{'n': 1, 'l': ['a\"', None, 'ä'], 'g': {'x': 0.5, 'd': datetime.date(2024, 1, 31)}, 'm': [('k', decimal.Decimal('1.50'))]}, \
          {'n': 2, 'l': [], 'g': {'x': None, 'd': None}, 'm': []}, {'n': 3, 'l': None, 'g': None, 'm': None}]",
    );
    built(&sandbox);
    assert_eq!(
        written(&sandbox),
        "n,l,g,m\n\
         1,\"[\"\"a\\\"\"\"\",null,\"\"ä\"\"]\",\"{\"\"x\"\":0.5,\"\"d\"\":\"\"2024-01-31\"\"}\",\"{\"\"k\"\":1.50}\"\n\
         2,[],\"{\"\"x\"\":null,\"\"d\"\":null}\",{}\n\
         3,,,\n"
    );
    // What JSON has no number for is no number.
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('g', pa.struct([('x', pa.float64())])), ('n', pa.int64())]",
        "[{'g': {'x': float('nan')}, 'n': 1}]",
    );
    let ran = sandbox.build(&["--accept-drift"]);
    assert!(
        ran.code == 1 && ran.error().contains("column g: NaN has no form in JSON"),
        "{}",
        ran.text
    );
}

#[test]
fn packed_parts_are_what_others_unpack() {
    for (word, ending, unpack) in [
        ("gzip", "csv.gz", "import gzip as m; r = m.decompress"),
        ("bzip2", "csv.bz2", "import bz2 as m; r = m.decompress"),
        (
            "zstd",
            "csv.zst",
            "import pyarrow as pa, io; r = lambda b: pa.CompressedInputStream(io.BytesIO(b), 'zstd').read()",
        ),
    ] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  f: {{home: home, store: {{type: csv, path: out, compression: {word}}}}}\n  g: {{home: {{flow: f}}, store: back}}\n"
        ));
        parquet(
            &sandbox,
            "home/a.parquet",
            "[('a', pa.int64()), ('b', pa.string())]",
            "[{'a': i, 'b': 'x' * i} for i in range(100)]",
        );
        built(&sandbox);
        let parts = fs::read_dir(sandbox.path("out")).expect("a store");
        let names: Vec<String> = parts
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let part = names
            .iter()
            .find(|name| name.ends_with(ending))
            .unwrap_or_else(|| panic!("{names:?}"));
        let lines = format!("import sys; {unpack}; print(len(r(open(sys.argv[1], 'rb').read())))");
        let told = peers::run(&lines, &[sandbox.path(&format!("out/{part}")).as_os_str()]);
        assert_success(&told);
        let length: usize = (0..100)
            .map(|row: usize| row.to_string().len() + row + 2)
            .sum::<usize>()
            + 6;
        assert_eq!(
            String::from_utf8_lossy(&told.stdout).trim(),
            length.to_string(),
            "{word}"
        );
        assert_eq!(peers::read_folder(&sandbox, "back", "a").1.len(), 100);
    }
}

#[test]
fn tables_and_other_csv_become_csv_and_only_what_is_new_is_made() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a,b'), (2, NULL), (3, '')");
    let sandbox = database.project(
        "  t: {home: {connection: shop, table: t}, store: {type: csv, path: out}}\n  \
         again: {home: {type: csv, path: home, delimiter: \";\"}, store: {type: csv, path: again, delimiter: \"|\"}}\n  \
         pruned: {home: {flow: again}, store: {type: csv, path: pruned}, where: \"id > 1\", columns: [z]}\n",
    );
    sandbox.write("home/a.csv", "id;z\n1;007\n2;\"a|b\"\n");
    built(&sandbox);
    let text = |folder: &str| {
        let parts = fs::read_dir(sandbox.path(folder))
            .expect("a store")
            .flatten();
        let mut parts: Vec<_> = parts
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some())
            .collect();
        parts.sort();
        parts
            .iter()
            .map(|part| fs::read_to_string(part).expect("a part"))
            .collect::<Vec<_>>()
    };
    assert_eq!(text("out"), ["id,name\n1,\"a,b\"\n2,\n3,\"\"\n"]);
    assert_eq!(text("again"), ["id|z\n1|007\n2|\"a|b\"\n"]);
    assert_eq!(text("pruned"), ["z\na|b\n"]);
    sandbox.write("home/b.csv", "id;z\n3;x\n");
    let ran = built(&sandbox);
    assert_eq!(ran.finished("again").expect("the flow")["parts_kept"], 1);
    assert_eq!(text("again"), ["id|z\n1|007\n2|\"a|b\"\n", "id|z\n3|x\n"]);
    assert_eq!(text("pruned"), ["z\na|b\n", "z\nx\n"]);
    assert_eq!(
        sandbox.build(&["again", "pruned"]).event("build_finished")["fresh"],
        2
    );
}
