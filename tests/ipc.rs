//! Arrow IPC as home and as store, with itself, with parquet and with tables: judged by pyarrow.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{Sandbox, built, failed};

/// Types that nothing here decodes. Files pass whole with them.
const UNREAD: [(&str, &str); 5] = [
    (
        "decimal128_negative_scale",
        "its decimals have their point behind the last digit",
    ),
    ("list_view", "it is a view of lists"),
    ("names_duplicate", "two columns have this name"),
    ("run_end_encoded", "it is stored as runs (run-end encoded)"),
    ("string_invalid_utf8", "invalid utf8"),
];

/// Types that parquet does not have, and other formats neither.
const ONLY_ARROWS: [(&str, &str); 9] = [
    ("decimal256_39", "a decimal of 39 digits"),
    ("decimal256_76", "a decimal of 76 digits"),
    ("extension_bool8", "the extension type arrow.bool8"),
    ("extension_opaque", "the extension type arrow.opaque"),
    (
        "extension_tensor",
        "the extension type arrow.fixed_shape_tensor",
    ),
    ("extension_unknown", "the extension type hygge.unknown"),
    ("interval_month_day_nano", "an interval of the calendar"),
    (
        "struct_empty",
        "a group without fields, which parquet has no type for",
    ),
    (
        "struct_of_empty",
        "a group without fields, which parquet has no type for",
    ),
];

/// Types that a parquet file has and that are not decoded into others.
const UNREAD_OF_PARQUET: [(&str, &str); 4] = [
    ("decimal256_39", "a decimal of more than 38 digits"),
    ("decimal256_76", "a decimal of more than 38 digits"),
    ("names_duplicate", "two columns have this name"),
    ("string_invalid_utf8", "invalid UTF-8"),
];

/// Types that parquet does not have, and that pyarrow only knows by its note beside the columns:
/// they are lists and numbers.
const BY_NOTE: [&str; 3] = ["list_null", "list_view", "struct_null"];

/// Two files or folders hold the same table, as pyarrow reads them.
fn compare(pairs: &[(PathBuf, PathBuf)], options: &[&str]) {
    peers::compare_by("ipc.py", pairs, &[&["compare"], options].concat());
}

/// Files of every type that pyarrow has, as files, as streams and as parquet.
fn cases() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new("");
    for (script, arguments) in [
        ("ipc.py", vec!["write", "cases"]),
        ("type_cases.py", vec!["cases/parquet"]),
    ] {
        let paths: Vec<PathBuf> = arguments
            .iter()
            .map(|word| {
                if word.starts_with("cases") {
                    sandbox.path(word)
                } else {
                    PathBuf::from(word)
                }
            })
            .collect();
        let made = peers::python(
            script,
            &paths
                .iter()
                .map(|path| path.as_os_str())
                .collect::<Vec<_>>(),
        );
        assert_success(&made);
    }
    let names: Vec<String> = sandbox
        .digests("cases/file")
        .into_keys()
        .map(|name| name.trim_end_matches(".arrow").to_string())
        .collect();
    assert!(names.len() > 140, "{names:?}");
    (sandbox, names)
}

/// Builds every case with this home and store. Those of `refused` fail with these words, all others
/// arrive.
fn arrive(folder: &str, home: &str, store: &str, refused: &[&[(&str, &str)]], options: &[&str]) {
    let (sandbox, names) = cases();
    let ending = if folder == "parquet" {
        "parquet"
    } else {
        "arrow"
    };
    let path = |name: &str| format!("cases/{folder}/{name}.{ending}");
    let names: Vec<&String> = names
        .iter()
        .filter(|name| sandbox.path(&path(name)).exists())
        .collect();
    let flow = |(number, name): (usize, &&String)| {
        format!(
            "  f{number}: {{home: {{type: {home}, path: {}}}, store: {{path: out/f{number}, \
             {store}}}, retries: 0}}\n",
            path(name)
        )
    };
    sandbox.write(
        "hygge.yml",
        format!(
            "flows:\n{}",
            names.iter().enumerate().map(flow).collect::<String>()
        ),
    );
    let ran = sandbox.build(&[]);
    let mut pairs = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let flow = format!("f{number}");
        let finished = ran.finished(&flow).expect("an end");
        let error = finished["error"].as_str();
        match refused
            .iter()
            .flat_map(|list| list.iter())
            .find(|(refused, _)| refused == name)
        {
            Some((_, said)) => assert!(
                error.is_some_and(|error| error.contains(said)),
                "{name}: {error:?}"
            ),
            None => {
                assert_eq!(error, None, "{name}");
                if ending != "parquet" || !BY_NOTE.contains(&name.as_str()) {
                    pairs.push((
                        sandbox.path(&path(name)),
                        sandbox.path(&format!("out/{flow}")),
                    ));
                }
            }
        }
    }
    assert!(pairs.len() > 110, "{}", pairs.len());
    compare(&pairs, options);
}

#[test]
fn every_type_passes_whole() {
    let (sandbox, names) = cases();
    let flow = |(number, name): (usize, &String)| {
        format!(
            "  f{number}: {{home: {{type: ipc, path: cases/stream/{name}.arrow}}, store: {{type: \
             ipc, container: stream, path: out/f{number}}}}}\n"
        )
    };
    sandbox.write(
        "hygge.yml",
        format!(
            "flows:\n{}",
            names.iter().enumerate().map(flow).collect::<String>()
        ),
    );
    built(&sandbox);
    let sources = sandbox.digests("cases/stream");
    for (number, name) in names.iter().enumerate() {
        let parts: Vec<String> = sandbox
            .digests(&format!("out/f{number}"))
            .into_values()
            .collect();
        assert_eq!(
            parts,
            [sources[&format!("{name}.arrow")].as_str()],
            "{name}"
        );
    }
}

#[test]
fn every_type_is_cut_exactly() {
    arrive(
        "file",
        "ipc",
        "type: ipc, rows_per_file: 10, compression: zstd",
        &[&UNREAD],
        &["--types"],
    );
}

#[test]
fn every_type_comes_into_another_container() {
    arrive(
        "file",
        "ipc",
        "type: ipc, container: stream, compression: lz4",
        &[&UNREAD],
        &["--types"],
    );
    arrive(
        "stream",
        "ipc",
        "type: ipc, compression: zstd, compression_level: 9",
        &[&UNREAD],
        &["--types"],
    );
}

#[test]
fn every_type_of_parquet_comes_into_parquet() {
    arrive(
        "file",
        "ipc",
        "type: parquet",
        &[&UNREAD, &ONLY_ARROWS],
        &[],
    );
    arrive(
        "stream",
        "ipc",
        "type: parquet, rows_per_file: 15, compression: zstd",
        &[&UNREAD, &ONLY_ARROWS],
        &[],
    );
}

#[test]
fn every_type_comes_out_of_parquet() {
    arrive(
        "parquet",
        "parquet",
        "type: ipc",
        &[&UNREAD_OF_PARQUET],
        &[],
    );
    arrive(
        "parquet",
        "parquet",
        "type: ipc, container: stream, rows_per_file: 15, compression: lz4",
        &[&UNREAD_OF_PARQUET],
        &[],
    );
}

/// Files that few writers make.
fn odd() -> Sandbox {
    let sandbox = Sandbox::new("");
    let made = peers::python(
        "ipc.py",
        &[OsStr::new("odd"), sandbox.path("odd").as_os_str()],
    );
    assert_success(&made);
    sandbox
}

#[test]
fn dictionaries_that_differ_become_one() {
    let sandbox = odd();
    sandbox.write(
        "hygge.yml",
        "flows:\n  packed: {home: {type: ipc, path: odd/dictionaries}, store: {type: ipc, path: \
         out/packed, rows_per_file: 100}}\n  \
         replaced: {home: {type: ipc, path: odd/replaced.arrow}, store: {type: ipc, path: \
         out/replaced}}\n  \
         parquet: {home: {type: ipc, path: odd/dictionaries}, store: {path: out/parquet}}\n",
    );
    built(&sandbox);
    assert_eq!(sandbox.digests("out/packed").len(), 1);
    let pairs = [
        ("odd/dictionaries", "out/packed"),
        ("odd/replaced.arrow", "out/replaced"),
        ("odd/dictionaries", "out/parquet"),
    ];
    compare(
        &pairs.map(|(left, right)| (sandbox.path(left), sandbox.path(right))),
        &[],
    );
    compare(
        &[(
            sandbox.path("odd/replaced.arrow"),
            sandbox.path("out/replaced"),
        )],
        &["--types"],
    );
    let colours = "import pyarrow as pa, sys; table = pa.ipc.open_file(sys.argv[1]).read_all(); \
                   print([chunk.dictionary.to_pylist() for chunk in table['colour'].chunks])";
    let part = sandbox
        .digests("out/packed")
        .into_keys()
        .next()
        .expect("a part");
    let read = peers::run(
        colours,
        &[sandbox.path(&format!("out/packed/{part}")).as_os_str()],
    );
    let one = "['red', 'green', None, 'blue', 'black', 'white']";
    assert_eq!(
        String::from_utf8_lossy(&read.stdout).trim(),
        format!("[{one}, {one}, {one}]")
    );

    // 200 values are more than 8 bits count: the files stay what they are, and are not packed.
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: odd/keys}, store: {type: ipc, path: out/keys, \
         rows_per_file: 500}, retries: 0}\n",
    );
    let ran = failed(&sandbox);
    assert!(
        ran.error().contains(
            "column colour: its dictionaries have together 200 values, more than their keys can \
             count"
        ),
        "{}",
        ran.text
    );
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: odd/keys}, store: {type: ipc, path: out/keys}}\n",
    );
    built(&sandbox);
    assert_eq!(sandbox.digests("out/keys").len(), 2);
}

#[test]
fn files_of_other_times_and_writers_are_read() {
    let sandbox = odd();
    let names = [
        "legacy",
        "version4",
        "behind_nulls",
        "sliced",
        "unlooked",
        "unlooked_packed",
    ];
    let flow = |name: &str| {
        format!(
            "  {name}: {{home: {{type: ipc, path: odd/{name}.arrow}}, store: {{type: ipc, path: \
             out/{name}, compression: zstd}}}}\n  \
             {name}_parquet: {{home: {{type: ipc, path: odd/{name}.arrow}}, store: {{path: \
             out/{name}_parquet}}}}\n"
        )
    };
    sandbox.write("hygge.yml", format!("flows:\n{}", names.map(flow).concat()));
    built(&sandbox);
    let pair = |name: &str, ending: &str| {
        (
            sandbox.path(&format!("odd/{name}.arrow")),
            sandbox.path(&format!("out/{name}{ending}")),
        )
    };
    compare(&names.map(|name| pair(name, "")), &["--types"]);
    compare(&names.map(|name| pair(name, "_parquet")), &[]);
}

#[test]
fn files_of_polars_and_of_arrow_rs_are_read() {
    let sandbox = Sandbox::new("");
    let folder = sandbox.path("others");
    let made = peers::python("ipc.py", &[OsStr::new("others"), folder.as_os_str()]);
    assert_success(&made);
    let names: Vec<String> = sandbox.digests("others").into_keys().collect();
    assert_eq!(names.len(), 15, "{names:?}");
    let flow = |(number, name): (usize, &String)| {
        let home = format!("home: {{type: ipc, path: others/{name}}}");
        format!(
            "  a{number}: {{{home}, store: {{type: ipc, path: out/a{number}, rows_per_file: \
             99999}}}}\n  \
             b{number}: {{{home}, store: {{type: ipc, container: stream, path: \
             out/b{number}}}}}\n  \
             c{number}: {{{home}, store: {{path: out/c{number}}}}}\n"
        )
    };
    let flows: String = names.iter().enumerate().map(flow).collect();
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    built(&sandbox);
    let pairs = |letter: &str| -> Vec<(PathBuf, PathBuf)> {
        let pair = |(number, name): (usize, &String)| {
            (
                sandbox.path(&format!("others/{name}")),
                sandbox.path(&format!("out/{letter}{number}")),
            )
        };
        names.iter().enumerate().map(pair).collect()
    };
    compare(&[pairs("a"), pairs("b")].concat(), &["--types"]);
    compare(&pairs("c"), &[]);
    // Two that were joined are one of which half would be gone.
    let whole = fs::read(folder.join("arrow_rs_uncompressed.arrow")).expect("a file");
    let joined = [
        whole.clone(),
        fs::read(folder.join("polars_old.arrow")).expect("a file"),
    ]
    .concat();
    sandbox.write("others/joined.arrow", joined);
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: others/joined.arrow}, store: out/joined, retries: \
         0}\n",
    );
    let ran = failed(&sandbox);
    assert!(
        ran.error()
            .contains("joined.arrow is not a sound Arrow IPC file"),
        "{}",
        ran.text
    );
}

#[test]
fn what_is_not_read_is_called_by_its_name() {
    let sandbox = odd();
    sandbox.write("odd/feather.arrow", b"FEA1\0\0\0\0\0\0\0\0FEA1");
    sandbox.write("odd/empty.arrow", b"");
    sandbox.sample("north", "odd/north.arrow");
    sandbox.write("odd/table.arrow", "id,total\n1,2\n");
    let whole = fs::read(sandbox.path("odd/version4.arrow")).expect("a file");
    sandbox.write("odd/short.arrow", &whole[..whole.len() - 3]);
    let stream = fs::read(sandbox.path("odd/replaced.arrow")).expect("a file");
    sandbox.write("odd/without_end.arrow", &stream[..stream.len() - 8]);
    sandbox.write("odd/twice.arrow", [stream.clone(), stream].concat());
    sandbox.write(
        "odd/joined.arrow",
        [
            whole.clone(),
            fs::read(sandbox.path("odd/rows.arrow")).expect("a file"),
        ]
        .concat(),
    );
    for (name, said, hint) in [
        ("delta", "it has delta dictionaries", "write the file again"),
        (
            "feather",
            "it is a file of Feather V1",
            "write it as Feather V2",
        ),
        (
            "empty",
            "it is an empty file",
            "write or fetch the file again",
        ),
        ("north", "it is a parquet file", "type: parquet"),
        ("table", "it is a CSV file", "type: csv"),
        (
            "short",
            "it does not end with ARROW1: it may have been cut off",
            "write the file again",
        ),
        (
            "without_end",
            "it does not say that it ends: it may have been cut off",
            "write the file again",
        ),
        (
            "twice",
            "something stands behind the end of its stream",
            "write the file again",
        ),
        (
            "joined",
            "it may be several files that were joined",
            "write the file again",
        ),
        (
            "union",
            "column either is a union, which other formats do not have",
            "the format of the home",
        ),
    ] {
        sandbox.write(
            "hygge.yml",
            format!(
                "flows:\n  a: {{home: {{type: ipc, path: odd/{name}.arrow}}, store: out/a, \
                 retries: 0}}\n"
            ),
        );
        let ran = failed(&sandbox);
        assert!(ran.error().contains(said), "{name}: {}", ran.text);
        assert!(ran.text.contains(hint), "{name}: {}", ran.text);
        let checked = sandbox.run(&["check"]);
        assert!(
            checked.code == 1 && checked.text.contains(said),
            "{name}: {}",
            checked.text
        );
    }
    // The other way round it is named too.
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: parquet, path: odd/version4.arrow}, store: out/a, retries: 0}\n",
    );
    let ran = failed(&sandbox);
    assert!(
        ran.text.contains("it is an Arrow IPC file (Feather)") && ran.text.contains("type: ipc"),
        "{}",
        ran.text
    );
}

#[test]
fn a_null_in_a_column_that_has_none_is_refused() {
    let sandbox = odd();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: odd/not_null.arrow}, store: {type: ipc, path: \
         out/a, rows_per_file: 9}, retries: 0}\n  \
         b: {home: {type: ipc, path: odd/not_null.arrow}, store: out/b, retries: 0}\n",
    );
    let ran = failed(&sandbox);
    let said = "not_null.arrow is not a sound Arrow IPC file: batch 0, column total: 1 values are \
                null, and its schema says none is";
    let ended: Vec<_> = ran
        .events
        .iter()
        .filter(|event| event["event"] == "flow_finished")
        .collect();
    let is_said = |flow: &&&serde_json::Value| {
        flow["error"]
            .as_str()
            .is_some_and(|error| error.contains(said))
    };
    assert_eq!(ended.iter().filter(is_said).count(), 2, "{}", ran.text);
}

#[test]
fn what_is_said_of_columns_comes_along() {
    let sandbox = odd();
    let script = "import pyarrow as pa, pyarrow.parquet as pq, sys\n\
                  total = pa.field('total', pa.float64(), metadata={'unit': 'EUR'})\n\
                  schema = pa.schema([pa.field('id', pa.int64()), total], metadata={'origin': \
                  'till 7', 'pandas': '{}'})\n\
                  table = pa.table({'id': [1, 2], 'total': [1.5, None]}, schema=schema)\n\
                  pq.write_table(table, sys.argv[1])\n\
                  with pa.ipc.new_file(sys.argv[2], table.schema) as writer: \
                  writer.write_table(table)\n";
    let made = peers::run(
        script,
        &[
            sandbox.path("x.parquet").as_os_str(),
            sandbox.path("x.arrow").as_os_str(),
        ],
    );
    assert_success(&made);
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: x.arrow}, store: out/a}\n  \
         b: {home: x.parquet, store: {type: ipc, path: out/b}}\n  \
         c: {home: x.parquet, store: {type: ipc, path: out/c, container: stream}}\n  \
         d: {home: {flow: a}, store: {type: ipc, path: out/d, rows_per_file: 1}}\n",
    );
    built(&sandbox);
    compare(
        &["a", "b", "c", "d"].map(|flow| {
            (
                sandbox.path("x.arrow"),
                sandbox.path(&format!("out/{flow}")),
            )
        }),
        &["--types"],
    );
}

/// Numbers of a message that contradict each other would otherwise be rows that are gone, or nulls
/// that are values.
#[test]
fn numbers_that_contradict_each_other_are_refused() {
    let sandbox = odd();
    sandbox.write(
        "hygge.yml",
        "flows:\n  whole: {home: {type: ipc, path: x.arrow}, store: {type: ipc, path: out/whole}, \
         retries: 0}\n  \
         parquet: {home: {type: ipc, path: x.arrow}, store: {path: out/parquet}, retries: 0}\n",
    );
    for name in ["rows", "rows_of_stream"] {
        let whole = fs::read(sandbox.path(&format!("odd/{name}.arrow"))).expect("a file");
        sandbox.write("x.arrow", &whole);
        built(&sandbox);
        let mut tried = 0;
        for (number, others) in [
            (77_i64, [0, 76, 78, -1]),
            (11, [-1, 78, i64::MIN, i64::MAX]),
        ] {
            let places =
                (0..whole.len() - 8).filter(|at| whole[*at..at + 8] == number.to_le_bytes());
            for (place, other) in places.flat_map(|place| others.map(|other| (place, other))) {
                let mut bytes = whole.clone();
                bytes[place..place + 8].copy_from_slice(&other.to_le_bytes());
                sandbox.write("x.arrow", &bytes);
                let ran = failed(&sandbox);
                let ended: Vec<_> = ran
                    .events
                    .iter()
                    .filter(|event| event["event"] == "flow_finished")
                    .collect();
                assert!(
                    ended.len() == 2 && ended.iter().all(|flow| flow["error"].is_string()),
                    "{name}, {place}: {}",
                    ran.text
                );
                tried += 1;
            }
        }
        // The rows of the batch and of its two columns, and the nulls of one.
        assert_eq!(tried, 16, "{name}");
    }
}

#[test]
fn an_order_of_values_is_kept_or_the_files_are_not_packed() {
    let sandbox = odd();
    let config = |folder: &str| {
        let store = "store: {type: ipc, path: out/a, rows_per_file: 100}";
        sandbox.write(
            "hygge.yml",
            format!(
                "flows:\n  a: {{home: {{type: ipc, path: odd/{folder}}}, {store}, retries: 0}}\n"
            ),
        );
    };
    config("ordered");
    built(&sandbox);
    assert_eq!(sandbox.digests("out/a").len(), 1);
    compare(&[(sandbox.path("odd/ordered"), sandbox.path("out/a"))], &[]);
    config("disordered");
    let ran = failed(&sandbox);
    assert!(
        ran.error().contains(
            "column level: its values are ordered, in one batch or file in another order"
        ),
        "{}",
        ran.text
    );
    // What elements are called is no difference of columns, and yet stays what it is.
    config("elements");
    built(&sandbox);
    assert_eq!(sandbox.digests("out/a").len(), 2);
}

/// A file that is cut off anywhere is refused, and no damage to it makes hygge give up or store
/// something else than pyarrow reads.
#[test]
fn damaged_files_are_refused_or_read_as_others_do() {
    let sandbox = odd();
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: ipc, path: x.arrow}, store: {type: ipc, path: out/a, \
         rows_per_file: 3}, retries: 0}\n",
    );
    let mut taken = Vec::new();
    for name in ["dictionaries/0", "replaced", "version4"] {
        let whole = fs::read(sandbox.path(&format!("odd/{name}.arrow"))).expect("a file");
        for end in (0..whole.len()).step_by(whole.len() / 20 + 1) {
            sandbox.write("x.arrow", &whole[..end]);
            let ran = failed(&sandbox);
            assert!(
                ran.error().contains("x.arrow"),
                "{name} up to {end}: {}",
                ran.text
            );
        }
        let mut number = 1_u64;
        for _ in 0..60 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = usize::try_from(number >> 33).expect("a place") % whole.len();
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (number >> 20 & 7);
            sandbox.write("x.arrow", &bytes);
            let ran = sandbox.build(&[]);
            assert!(
                ran.code == 0 || ran.code == 1,
                "{name}, byte {place}: {}",
                ran.text
            );
            assert!(
                !ran.text.contains("gave up"),
                "{name}, byte {place}: {}",
                ran.text
            );
            if ran.code == 0 {
                let seen = format!("seen/{}", taken.len());
                sandbox.write(&format!("{seen}.arrow"), &bytes);
                fs::rename(sandbox.path("out/a"), sandbox.path(&seen)).expect("a folder");
                fs::remove_dir_all(sandbox.path("out")).expect("a removed folder");
                fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a removed cache");
                taken.push((sandbox.path(&format!("{seen}.arrow")), sandbox.path(&seen)));
            }
        }
    }
    assert!(taken.len() > 20, "{}", taken.len());
    compare(&taken, &["--damaged"]);
}

#[test]
fn rows_of_tables_become_arrow_and_come_back() {
    let sandbox = odd();
    let script = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, price DECIMAL(9,2), at DATETIME, raw BLOB, is_open BOOLEAN);
        INSERT INTO t VALUES (1, 'größe', 12.50, '2026-11-30 02:00:00.123456', x'00ff', 1), (2, NULL, NULL, NULL, NULL, NULL);";
    let made = Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])",
        ])
        .args([sandbox.path("shop.db").as_os_str(), OsStr::new(script)])
        .status();
    assert!(made.expect("Python runs").success());
    sandbox.write(
        "hygge.yml",
        "connections: {shop: {url: \"sqlite:shop.db\"}, lake: {url: \"sqlite:lake.db\"}}\n\
         flows:\n  \
         out: {home: {connection: shop, table: t}, store: {type: ipc, path: out/t}}\n  \
         parquet: {home: {connection: shop, table: t}, store: {path: out/parquet}}\n  \
         back: {home: {flow: out}, store: {connection: lake, table: t}}\n  \
         again: {home: {connection: lake, table: t}, store: {type: ipc, container: stream, path: \
         out/again}, needs: back}\n",
    );
    built(&sandbox);
    let pairs = [("out/parquet", "out/t"), ("out/t", "out/again")];
    compare(
        &pairs.map(|(left, right)| (sandbox.path(left), sandbox.path(right))),
        &[],
    );
    let held = peers::run(
        "import pyarrow as pa, glob, sys; table = pa.ipc.open_file(glob.glob(sys.argv[1] + \
         '/*')[0]).read_all(); print(table.schema, table.to_pylist()[0])",
        &[sandbox.path("out/t").as_os_str()],
    );
    let said = String::from_utf8_lossy(&held.stdout).into_owned();
    for words in [
        "name: large_string",
        "price: decimal128(9, 2)",
        "Decimal('12.50')",
        "123456",
        "b'\\x00\\xff'",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_has_no_place_in_a_table_is_called_by_its_name() {
    let sandbox = odd();
    for (name, said) in [
        (
            "shapes",
            "column group is a group of fields, which has no place in a table; column lists is a \
             list of lists, which has no place in a \
             table; column groups is a list, of which each element is a group of fields, which has \
             no place in a table; column map is a \
             map, which has no place in a table; column nothing is null in every row, of no type, \
             which has no place in a table; column \
             long is a duration, which has no place in a table",
        ),
        ("bare", "its home has no columns, and a table has some"),
    ] {
        sandbox.write(
            "hygge.yml",
            format!(
                "connections: {{shop: {{url: \"sqlite:shop.db\"}}}}\nflows:\n  \
                 a: {{home: {{type: ipc, path: odd/{name}.arrow}}, store: {{connection: shop, \
                 table: t}}, retries: 0}}\n"
            ),
        );
        let ran = failed(&sandbox);
        assert!(ran.error().contains(said), "{}", ran.text);
    }
}

#[test]
fn another_container_or_compression_is_a_reason() {
    let sandbox = odd();
    let config = |store: &str| {
        sandbox.write(
            "hygge.yml",
            format!("flows:\n  a: {{home: {{type: ipc, path: odd/dictionaries}}, store: {{type: ipc, path: out/a{store}}}}}\n"),
        );
    };
    config("");
    built(&sandbox);
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    config(", container: stream");
    let why = sandbox.run(&["why", "a"]);
    assert!(why.text.contains("container"), "{}", why.text);
    built(&sandbox);
    let parts = sandbox.digests("out/a");
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    // From nothing, the bytes are the same.
    for folder in [".hygge-cache", "out"] {
        fs::remove_dir_all(sandbox.path(folder)).expect("a removed folder");
    }
    built(&sandbox);
    assert_eq!(sandbox.digests("out/a"), parts);
    // One changed file makes one part.
    fs::copy(
        sandbox.path("odd/dictionaries/0.arrow"),
        sandbox.path("odd/dictionaries/1.arrow"),
    )
    .expect("a copy");
    let ran = built(&sandbox);
    let made = ran
        .events
        .iter()
        .filter(|event| event["event"] == "part_made")
        .count();
    assert!(made <= 1, "{}", ran.text);
    assert_eq!(sandbox.digests("out/a").len(), 3);
}

#[test]
fn only_stores_of_ipc_have_a_container() {
    let sandbox = Sandbox::new("");
    for (flow, said, hint) in [
        (
            "home: h, store: {path: s, container: stream}",
            "unknown key \"container\"",
            "known keys here",
        ),
        (
            "home: {type: ipc, path: h, container: stream}, store: s",
            "unknown key \"container\"",
            "known keys here",
        ),
        (
            "home: h, store: {type: ipc, path: s, container: strom}",
            "container of store of flow a is",
            "one of file, stream",
        ),
        (
            "home: h, store: {type: ipc, path: s, compression: snappy}",
            "ipc has no compression \"snappy\"",
            "keep, uncompressed, lz4, zstd",
        ),
        (
            "home: h, store: {type: ipc, path: s, compression: lz4, compression_level: 3}",
            "compression lz4 has no levels",
            "zstd have levels",
        ),
        (
            "home: {type: feather, path: h}, store: s",
            "unknown type \"feather\"",
            "did you mean ipc?",
        ),
    ] {
        sandbox.write("hygge.yml", format!("flows:\n  a: {{{flow}}}\n"));
        let ran = sandbox.run(&["check", "--offline"]);
        assert!(
            ran.code == 2 && ran.text.contains(said) && ran.text.contains(hint),
            "{flow}: {}",
            ran.text
        );
    }
}
