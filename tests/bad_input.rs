//! Bad input: an error that names the thing, the right exit code, nothing published, nothing lost.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::common::files;
use crate::common::sandbox::Sandbox;

/// Configs that cannot be used, each with words that the error must have.
const CONFIGS: &[(&str, &[&str])] = &[
    ("", &["the config is empty", "flows"]),
    ("flows: [", &["hygge.yml:1:"]),
    (
        "flows:\n  a: {home: home, stor: out}\n",
        &[
            "hygge.yml:2:",
            "unknown key \"stor\"",
            "did you mean store?",
        ],
    ),
    (
        "flows:\n  a: {home: {path: home, type: parket}, store: out}\n",
        &[
            "hygge.yml:2:",
            "unknown type \"parket\"",
            "did you mean parquet?",
        ],
    ),
    (
        "flows:\n  a: {home: {path: home, glob: \"[\"}, store: out}\n",
        &["glob \"[\" cannot be used", "hygge.yml:2:"],
    ),
    ("flows:\n  a: {store: out}\n", &["flow a has no home"]),
    (
        "flows:\n  a: {home: home, store: {path: out, compression: zst}}\n",
        &["did you mean zstd?"],
    ),
    (
        "flows:\n  a: {home: home, store: {path: out, file_pattern: \"../{stem}\"}}\n",
        &["file_pattern", "slash"],
    ),
    (
        "flows:\n  a: {home: home, store: out, needs: [bb]}\n  b: {home: home, store: o2}\n",
        &["needs the flow \"bb\"", "did you mean b?"],
    ),
    (
        "flows:\n  a: {home: {flow: b}, store: o1}\n  b: {home: {flow: a}, store: o2}\n",
        &["circle", "a -> b -> a"],
    ),
    (
        "flows:\n  a: {home: home, store: out}\n  b: {home: home, store: out/b}\n",
        &["stores of flows a and b"],
    ),
    (
        "options: {cache: {dir: out}}\nflows:\n  a: {home: home, store: out}\n",
        &["the store of flow a and the cache", "options.cache.dir"],
    ),
    (
        "options: {cache: {dir: home}}\nflows:\n  a: {home: home, store: out}\n",
        &["flow a would read the cache"],
    ),
    (
        "flows:\n  a: {home: home, store: .hygge}\n",
        &["called .hygge"],
    ),
    (
        "flows:\n  a: {home: home, store: home/out}\n",
        &["home and store of flow a"],
    ),
    (
        "flows:\n  a: {home: out/x, store: out}\n",
        &["home and store of flow a"],
    ),
];

#[test]
fn a_config_that_cannot_be_used_is_named_with_its_line() {
    for (config, words) in CONFIGS {
        let sandbox = Sandbox::new(config);
        let ran = sandbox.run(&["build"]);
        assert_eq!(ran.code, 2, "{config}\n{}", ran.text);
        for word in *words {
            assert!(ran.text.contains(word), "{word:?} is not in:\n{}", ran.text);
        }
    }
}

#[test]
fn all_problems_come_at_once() {
    let sandbox =
        Sandbox::new("nam: x\nflows:\n  a: {home: 3, store: {path: out, rows_per_file: 0}}\n");
    let ran = sandbox.run(&["build"]);
    assert!(ran.text.contains("3 problems in hygge.yml"), "{}", ran.text);
}

#[test]
fn no_config_is_said() {
    let sandbox = Sandbox::new("");
    fs::remove_file(sandbox.path("hygge.yml")).expect("a config");
    let ran = sandbox.run(&["build"]);
    assert_eq!(ran.code, 3, "{}", ran.text);
    assert!(ran.text.contains("no hygge.yml"), "{}", ran.text);
}

/// Builds a project that must fail, with words that the error must have; nothing is published.
fn fails(sandbox: &Sandbox, words: &[&str]) {
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    for word in words {
        assert!(
            ran.event("flow_finished")["error"]
                .as_str()
                .expect("an error")
                .contains(word),
            "{word:?} is not in:\n{}",
            ran.text
        );
    }
}

#[test]
fn homes_that_give_nothing_are_named() {
    let sandbox = Sandbox::new("flows:\n  numbers: {home: home, store: store}\n");
    fails(&sandbox, &["home does not exist"]);
    sandbox.write("home/x.csv", "a");
    fails(&sandbox, &["*.parquet", "x.csv"]);
    assert!(!sandbox.path("store").exists());
}

#[test]
fn files_that_are_not_sound_are_named() {
    let sandbox = Sandbox::numbers();
    let whole = fs::read(sandbox.path("home/east.parquet")).expect("a file");
    for bytes in [
        &b""[..],
        b"not parquet at all",
        &whole[..whole.len() - 100],
        &whole[100..],
    ] {
        sandbox.write("home/east.parquet", bytes);
        fails(&sandbox, &["east.parquet", "not a sound parquet file"]);
        assert!(!sandbox.path("store").exists());
    }
}

/// Files that are not parquet, each with words that the error must have and that its hint must
/// have.
const FOREIGN: &[(&str, &[u8], &str, &str)] = &[
    (
        "a.txt",
        b"id,total\n1,2\n",
        "it is a CSV file",
        "type: csv of the home",
    ),
    (
        "a.db",
        b"SQLite format 3\0\x10\0\x01\x01",
        "it is a SQLite database",
        "connections",
    ),
    ("a.json", b"{\"id\": 1}\n", "it is a JSON file", "parquet"),
    (
        "a.dat",
        b"ARROW1\0\0\xff\xff\xff\xff",
        "it is an Arrow IPC file",
        "parquet",
    ),
    ("a.orc", b"ORC\x0a\x0b\x0c", "it is an ORC file", "parquet"),
    (
        "a.avro",
        b"Obj\x01\x04\x14avro.codec",
        "it is an Avro file",
        "parquet",
    ),
    (
        "a.gz",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        "it is a gzip file",
        "unpack it",
    ),
    (
        "a.html",
        b"<!DOCTYPE html>\n<html><body>404</body></html>",
        "it is an HTML page",
        "fetch the file again",
    ),
    ("empty", b"", "it is an empty file", "again"),
    (
        "a.encrypted",
        b"PARE\x01\x02\x03\x04PARE",
        "encrypted footer",
        "no keys",
    ),
];

#[test]
fn files_of_other_formats_are_called_by_their_name() {
    for (name, bytes, words, hint) in FOREIGN {
        // As a file, and by a glob; a folder has no parquet file then, and says what it has.
        for home in [
            format!("home/{name}"),
            format!("{{path: home, glob: \"{name}\"}}"),
        ] {
            let sandbox = Sandbox::new(&format!("flows:\n  f: {{home: {home}, store: store}}\n"));
            sandbox.write(&format!("home/{name}"), bytes);
            fails(&sandbox, &[name, words]);
            for command in [&["build", "--dry-run"][..], &["check"]] {
                let ran = sandbox.run(command);
                assert!(
                    ran.text.contains(words) && ran.text.contains(hint),
                    "{home} {command:?}: {}",
                    ran.text
                );
            }
        }
    }
    let sandbox = Sandbox::new("flows:\n  f: {home: home, store: store}\n");
    sandbox.write("home/a.csv", "id\n1\n");
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 1
            && ran
                .text
                .contains("hint: CSV is another format: type: csv of the home reads it"),
        "{}",
        ran.text
    );
}

/// A name that is no text is not passed over.
#[test]
fn a_file_whose_name_is_not_utf8_is_an_error() {
    let sandbox = Sandbox::new("flows:\n  f: {home: home, store: store}\n");
    sandbox.sample("north", "home/a.parquet");
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.parquet");
    std::fs::copy(
        sandbox.path("home/a.parquet"),
        sandbox.path("home").join(odd),
    )
    .expect("a copy");
    fails(&sandbox, &["is not UTF-8"]);
}

/// What other programs keep in the folders of their tables.
const MARKS: &[(&str, &str)] = &[
    ("_delta_log/00000000000000000000.json", "a Delta table"),
    ("metadata/v1.metadata.json", "an Iceberg table"),
    ("metadata/00001-5f1d.metadata.json", "an Iceberg table"),
    (".hoodie/hoodie.properties", "a Hudi table"),
    ("_spark_metadata/0", "a Spark stream"),
];

#[test]
fn tables_of_other_programs_are_refused_by_their_name() {
    // Where the table is below the folder `lake`, where its files are in it, and the home.
    let places = [
        ("", "", "{path: lake, glob: \"*.parquet\"}"),
        ("", "data", "{path: lake, glob: \"**/*.parquet\"}"),
        ("eu/orders", "data", "{path: lake, glob: \"**/*.parquet\"}"),
        ("eu/orders", "data", "lake/eu/orders/data"),
        ("eu/orders", "data", "lake/eu/orders"),
        ("eu/orders", "data/day=1", "lake/eu/orders/data/day=1"),
        ("", "", "lake/a.parquet"),
    ];
    for (mark, name) in MARKS {
        for (table, data, home) in places {
            let sandbox = Sandbox::new(&format!("flows:\n  f: {{home: {home}, store: store}}\n"));
            let join = |parts: &[&str]| {
                parts
                    .iter()
                    .filter(|part| !part.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join("/")
            };
            files::ints(&sandbox, &join(&["lake", table, data, "a.parquet"]), 0..3);
            sandbox.write(&join(&["lake", table, mark]), "{}");
            for command in [&["check"][..], &["build", "--dry-run"], &["build"]] {
                let ran = sandbox.run(command);
                assert!(
                    ran.text.contains(name) && ran.text.contains("would come back"),
                    "{mark} {home} {command:?}: {}",
                    ran.text
                );
            }
            assert!(!sandbox.path("store").exists());
        }
    }
}

#[test]
fn tables_of_other_programs_are_refused_as_entities() {
    let sandbox = Sandbox::new("flows:\n  f: {entities: {from: \"lake/*\"}, store: store}\n");
    for day in 1..3 {
        files::ints(&sandbox, &format!("lake/day{day}/a.parquet"), 0..3);
    }
    sandbox.write("lake/_delta_log/00000000000000000000.json", "{}");
    let ran = sandbox.build(&[]);
    assert!(
        ran.code == 1 && ran.error().contains("lake is a Delta table"),
        "{}",
        ran.text
    );
    fs::remove_dir_all(sandbox.path("lake/_delta_log")).expect("a folder");
    assert_eq!(
        sandbox.build(&[]).code,
        0,
        "each entity has a store that is called after its folder"
    );
}

#[test]
fn what_lies_beside_a_table_is_read() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {path: lake, glob: \"plain/**/*.parquet\"}, store: store}\n",
    );
    files::ints(&sandbox, "lake/plain/a.parquet", 0..3);
    files::ints(&sandbox, "lake/orders/a.parquet", 0..3);
    sandbox.write("lake/orders/_delta_log/00000000000000000000.json", "{}");
    files::ints(
        &sandbox,
        "lake/orders/_delta_log/00000000000000000010.checkpoint.parquet",
        0..3,
    );
    sandbox.write("lake/plain/metadata/notes.json", "{}");
    let ran = sandbox.build(&[]);
    assert_eq!(
        (ran.code, ran.event("flow_finished")["rows"].as_u64()),
        (0, Some(3)),
        "{}",
        ran.text
    );
}

#[test]
fn a_file_with_another_schema_is_named_with_its_column() {
    let sandbox = Sandbox::new("flows:\n  numbers: {home: home, store: store}\n");
    files::ints(&sandbox, "home/a.parquet", 0..10);
    files::ints(&sandbox, "home/b.parquet", 10..20);
    files::ints_and_texts(&sandbox, "home/c.parquet", 0..10);
    fails(
        &sandbox,
        &[
            "c.parquet has another schema than",
            "column text is not in the other",
        ],
    );
    assert!(!sandbox.path("store").exists());
}

#[test]
fn a_full_disk_fails_the_flows_and_loses_nothing() {
    let sandbox = Sandbox::numbers();
    let (code, text) = sandbox.with_mounts(
        "mkdir disk && mount -t tmpfs -o size=300k none disk && cp -r home hygge.yml disk && cd \
         disk && \
         \"$0\" build --format json; code=$?; ls; exit $code",
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("o space left on device") && text.contains("build_finished"),
        "{text}"
    );
    assert!(
        !text.lines().any(|line| line == "store"),
        "nothing is published: {text}"
    );
}

#[test]
fn files_that_hygge_did_not_make_stay() {
    let sandbox = Sandbox::numbers();
    sandbox.write("store/mine.txt", "mine");
    fails(&sandbox, &["mine.txt", "did not make"]);
    assert_eq!(
        fs::read(sandbox.path("store/mine.txt")).expect("my file"),
        b"mine"
    );
    fs::rename(
        sandbox.path("store/mine.txt"),
        sandbox.path("store/_mine.txt"),
    )
    .expect("a rename");
    assert_eq!(sandbox.build(&[]).code, 0);
    sandbox.sample("north", "home/more.parquet");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(
        fs::read(sandbox.path("store/_mine.txt")).expect("my file"),
        b"mine"
    );
    sandbox.write("store/added.txt", "mine");
    fails(&sandbox, &["added.txt", "added to it"]);
}

#[test]
fn two_parts_of_one_name_are_refused() {
    let sandbox = Sandbox::numbers();
    sandbox.write(
        "hygge.yml",
        "flows:\n  numbers: {home: home, store: {path: store, file_pattern: one.parquet}}\n",
    );
    fails(
        &sandbox,
        &[
            "two parts the name \"one.parquet\"",
            "east.parquet",
            "north.parquet",
        ],
    );
}

#[test]
fn a_store_that_is_a_link_is_built_where_it_leads() {
    let sandbox = Sandbox::numbers();
    fs::create_dir_all(sandbox.path("elsewhere/real")).expect("a folder");
    std::os::unix::fs::symlink(sandbox.path("elsewhere/real"), sandbox.path("store"))
        .expect("a link");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert!(sandbox.path("store").is_symlink());
    assert_eq!(sandbox.digests("elsewhere/real").len(), 4);
}

#[test]
fn names_that_are_passed_over_are_said() {
    let unread = |flow: &str, files: &[&str]| {
        let sandbox = Sandbox::new(&format!("flows:\n  n: {{{flow}, store: out}}\n"));
        for file in files {
            sandbox.sample("north", file);
        }
        sandbox.sample("north", "far/deep.parquet");
        std::os::unix::fs::symlink(sandbox.path("far"), sandbox.path("home/linked"))
            .expect("a link");
        let checked = sandbox.run(&["check"]);
        assert_eq!(checked.code, 0, "{}", checked.text);
        let built = sandbox.run(&["build"]);
        let notes = |text: &str| {
            let notes = text.lines().filter_map(|line| {
                line.strip_prefix("note: ")?
                    .split_once("not read ")
                    .map(|(_, note)| note.to_string())
            });
            notes.collect::<Vec<_>>()
        };
        assert_eq!(
            notes(&checked.text),
            notes(&built.text),
            "{}{}",
            checked.text,
            built.text
        );
        sandbox.write(
            "home/z.parquet",
            std::fs::read(sandbox.path("far/deep.parquet")).expect("a file"),
        );
        let again = sandbox.run(&["build"]);
        assert!(
            again.code == 0 && !again.text.contains("not read"),
            "it is said once: {}",
            again.text
        );
        notes(&checked.text)
    };
    let files = [
        "home/a.parquet",
        "home/B.PARQUET",
        "home/c.parq",
        "home/sub/d.parquet",
        "home/t.parquet/part.parquet",
        "home/notes.txt",
        "home/_x.parq",
    ];
    assert_eq!(
        unread("home: home", &files),
        [
            "are B.PARQUET, c.parq: only names that match *.parquet are, and large letters are \
             other letters",
            "are linked, sub, t.parquet: glob: \"**/*.parquet\" reads what lies in folders",
        ]
    );
    assert_eq!(
        unread("home: {path: home, glob: \"**/*.parquet\"}", &files),
        [
            "are B.PARQUET: only names that match **/*.parquet are, and large letters are other \
             letters"
                .replace("are B", "is B"),
            "is linked: links to folders are not followed below the home".to_string(),
        ]
    );
    assert_eq!(
        unread("home: {path: home, glob: \"a*.parquet\"}", &files[..3]).len(),
        1,
        "the link only: the others were not meant"
    );
}
