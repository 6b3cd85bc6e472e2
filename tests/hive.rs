//! Columns whose values stand in names of folders, as in `year=2024/a.parquet`.

use std::fs;

use serde_json::json;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::files;
use crate::common::peers::{self, parquet, rows};
use crate::common::sandbox::{Sandbox, built, failed};

const DEEP: &str = "{path: home, glob: \"**/*.parquet\"}";

fn sandbox(home: &str, store: &str, more: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: {home}, store: {store}{more}}}\n"
    ))
}

/// A file of one column of texts, `x`.
fn file(sandbox: &Sandbox, name: &str, value: &str) {
    let rows = format!("[{{'x': '{value}'}}]");
    parquet(sandbox, name, "[('x', pa.string())]", &rows);
}

/// Gives a file another place, whose folder is made.
fn move_file(sandbox: &Sandbox, from: &str, to: &str) {
    let to = sandbox.path(to);
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::rename(sandbox.path(from), to).expect("a file elsewhere");
}

#[test]
fn values_in_names_of_folders_are_columns_as_duckdb_reads_them() {
    for (format, ending) in [("parquet", "parquet"), ("ipc", "arrow")] {
        let sandbox = sandbox(DEEP, &format!("{{type: {format}, path: out}}"), "");
        for (name, value) in [
            (
                "year=2024/month=01/day=2024-01-31/label=12%3A00/a.parquet",
                "a",
            ),
            (
                "year=2024/month=12/day=2024-12-01/label=caf%C3%A9/a.parquet",
                "b",
            ),
            (
                "year=-5/month=02/day=__HIVE_DEFAULT_PARTITION__/label=x/c.parquet",
                "c",
            ),
        ] {
            file(&sandbox, &format!("home/{name}"), value);
        }
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        assert!(
            ran.text
                .contains("column month comes from names of folders, as int64"),
            "{}",
            ran.text
        );
        let read = if format == "parquet" {
            "duckdb.sql(\"from read_parquet('out/*.parquet')\")"
        } else {
            "pa.concat_tables(pa.ipc.open_file(name).read_all() for name in sorted(glob.glob('out/*.arrow')))"
        };
        let lines = format!(
            "import os, sys, glob, duckdb, pyarrow as pa\n\
             os.chdir(sys.argv[1])\n\
             found = {read}\n\
             home = duckdb.sql(\"from read_parquet('home/**/*.parquet', hive_partitioning = true, hive_types = {{'month': bigint}})\")\n\
             columns = 'x, year, month, day, label'\n\
             def answer(found):\n    \
                 told = duckdb.sql(f'select {{columns}} from found order by x')\n    \
                 return told.columns, [str(t) for t in told.types], told.fetchall()\n\
             assert answer(found) == answer(home), (answer(found), answer(home))\n\
             print(answer(found)[2][0])"
        );
        let compared = peers::run(&lines, &[sandbox.path("").as_os_str()]);
        assert_success(&compared);
        let first = String::from_utf8_lossy(&compared.stdout);
        assert_eq!(
            first.trim(),
            "('a', 2024, 1, datetime.date(2024, 1, 31), '12:00')",
            "{ending}"
        );
        assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    }
}

#[test]
fn digits_behind_zeros_are_text_and_the_config_says_types() {
    let found = |types: &str| {
        let home = format!("{{path: home, glob: \"**/*.parquet\"{types}}}");
        let sandbox = sandbox(&home, "out", "");
        for zip in ["01234", "98765"] {
            file(
                &sandbox,
                &format!("home/zip={zip}/ok=true/a-{zip}.parquet"),
                zip,
            );
        }
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        let read = rows(&sandbox.path("out"));
        (read.schema.clone(), read.lines())
    };
    assert_eq!(
        found(""),
        (
            ["x: string", "zip: string", "ok: bool"]
                .map(String::from)
                .to_vec(),
            ["01234|01234|true", "98765|98765|true"]
                .map(String::from)
                .to_vec()
        )
    );
    let (schema, lines) = found(", hive_types: {zip: int32, ok: text}");
    assert_eq!(schema, ["x: string", "zip: int32", "ok: string"]);
    assert_eq!(lines, ["01234|1234|true", "98765|98765|true"]);
}

#[test]
fn what_folders_say_is_part_of_the_rows() {
    let sandbox = sandbox(DEEP, "out", ", on_drift: {retyped: allow}");
    file(&sandbox, "home/year=2023/a.parquet", "a");
    file(&sandbox, "home/year=2024/b.parquet", "b");
    assert_eq!(sandbox.build(&[]).code, 0);
    // Equal bytes in another folder are other rows, and the others stay.
    move_file(
        &sandbox,
        "home/year=2024/b.parquet",
        "home/year=2025/b.parquet",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_made"],
        json!(1),
        "{}",
        ran.text
    );
    assert_eq!(rows(&sandbox.path("out")).lines(), ["a|2023", "b|2025"]);
    // Another type is another column in every part.
    file(&sandbox, "home/year=unknown/c.parquet", "c");
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_made"],
        json!(3),
        "{}",
        ran.text
    );
    let read = rows(&sandbox.path("out"));
    assert_eq!(read.schema, ["x: string", "year: string"]);
    assert_eq!(read.lines(), ["a|2023", "b|2025", "c|unknown"]);
    // A rebuild from nothing gives the same bytes.
    let before = sandbox.digests("out");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    assert_eq!(sandbox.build(&["--force"]).code, 0);
    assert_eq!(sandbox.digests("out"), before);
}

#[test]
fn added_files_bring_what_their_folders_say() {
    let sandbox = sandbox(DEEP, "out", ", mode: append, on_vanished: keep");
    file(&sandbox, "home/year=2023/a.parquet", "a");
    assert_eq!(sandbox.build(&[]).code, 0);
    file(&sandbox, "home/year=2024/b.parquet", "b");
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_made"],
        json!(1),
        "{}",
        ran.text
    );
    // The same bytes in another folder are no rename, and in the same folder they are one.
    move_file(
        &sandbox,
        "home/year=2024/b.parquet",
        "home/year=2025/b.parquet",
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    let mut lines = rows(&sandbox.path("out")).lines();
    lines.sort();
    assert_eq!(lines, ["a|2023", "b|2024", "b|2025"]);
    move_file(
        &sandbox,
        "home/year=2025/b.parquet",
        "home/year=2025/c.parquet",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(
        ran.event("flow_finished")["parts_made"],
        json!(0),
        "{}",
        ran.text
    );
    assert_eq!(rows(&sandbox.path("out")).rows.len(), 3);
    // A value of another type would be another column.
    file(&sandbox, "home/year=none/d.parquet", "d");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.text.contains("year was int64, and is string"),
        "{}",
        ran.text
    );
    assert_eq!(rows(&sandbox.path("out")).rows.len(), 3);
}

#[test]
fn files_of_many_folders_are_packed_and_cut() {
    let sandbox = sandbox(DEEP, "{path: out, rows_per_file: 10}", "");
    for month in 1..=10 {
        files::ints(&sandbox, &format!("home/m={month:02}/a.parquet"), 0..2);
    }
    files::ints(&sandbox, "home/m=11/a.parquet", 0..35);
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let read = rows(&sandbox.path("out"));
    let expected = (1..=10)
        .flat_map(|month| (0..2).map(move |id| format!("{id}|{month}")))
        .chain((0..35).map(|id| format!("{id}|11")));
    assert_eq!(read.lines(), expected.collect::<Vec<_>>());
    assert_eq!(sandbox.digests("out").len(), 5);
}

#[test]
fn a_table_gets_what_folders_say() {
    let database = Database::new(Kind::Sqlite);
    let sandbox = database.project(
        "  f: {home: {path: home, glob: \"**/*.parquet\"}, store: {connection: shop, table: t}}\n",
    );
    file(&sandbox, "home/year=2023/day=2023-05-06/a.parquet", "a");
    file(&sandbox, "home/year=2024/day=2024-05-06/b.parquet", "b");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(
        database.ask("SELECT x, year, day FROM t ORDER BY x"),
        "a|2023|2023-05-06\nb|2024|2024-05-06"
    );
    assert_eq!(sandbox.run(&["check"]).code, 0);
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let fails = |names: &[&str], home: &str, expected: &[&str]| {
        let sandbox = sandbox(home, "out", "");
        for name in names {
            file(&sandbox, &format!("home/{name}"), "a");
        }
        for command in [&["build"][..], &["check"], &["build", "--dry-run"]] {
            let ran = sandbox.run(command);
            assert_ne!(ran.code, 0, "{command:?}: {}", ran.text);
            for text in expected {
                assert!(ran.text.contains(text), "{command:?}: {text}: {}", ran.text);
            }
        }
        assert!(!sandbox.path("out").exists());
    };
    fails(
        &["y=1/a.parquet", "y=1/m=2/b.parquet"],
        DEEP,
        &[
            "y=1/a.parquet: no folder around it says the column m",
            "y=1/m=2/b.parquet do",
        ],
    );
    fails(
        &["y=1/a.parquet", "b.parquet"],
        DEEP,
        &["b.parquet: no folder around it says the column y"],
    );
    fails(
        &["y=1/y=2/a.parquet"],
        DEEP,
        &["two folders around it say the column y"],
    );
    let typed = "{path: home, glob: \"**/*.parquet\", hive_types: {y: int8}}";
    fails(
        &["y=1/a.parquet", "y=300/b.parquet"],
        typed,
        &[
            "y=300/b.parquet: the folder y=300 says no int8, which column y is",
            "hint: hive_types",
        ],
    );
    fails(
        &["y=1/a.parquet"],
        "{path: home, glob: \"**/*.parquet\", hive_types: {y: float64}}",
        &["gives the column y the type float64", "such types are"],
    );
}

#[test]
fn a_column_that_the_files_have_themselves_is_theirs() {
    let sandbox = sandbox(DEEP, "out", "");
    for id in [1, 2] {
        files::ints(&sandbox, &format!("home/id={id}/a.parquet"), id..id + 1);
    }
    assert_eq!(sandbox.build(&[]).code, 0);
    let out: Vec<String> = sandbox.digests("out").into_keys().collect();
    let home = sandbox.path("home/id=1/a.parquet");
    assert_eq!(
        fs::read(home).expect("a file"),
        fs::read(sandbox.path(&format!("out/{}", out[0]))).expect("a part"),
        "it passes as it is"
    );
    // Who names the folder has chosen the value.
    for home in [
        "home/year=2023",
        "{path: home, glob: \"year=2023/*.parquet\"}",
    ] {
        let named = self::sandbox(home, "out", "");
        files::ints(&named, "home/year=2023/a.parquet", 0..3);
        assert_eq!(named.build(&[]).code, 0, "{home}");
        assert_eq!(rows(&named.path("out")).schema, ["id: int64"]);
    }
}

#[test]
fn a_file_keeps_its_compression_also_with_what_its_folder_says() {
    let sandbox = sandbox(DEEP, "out", "");
    for (name, codec) in [("a", "zstd"), ("b", "gzip")] {
        let path = sandbox.path(&format!("home/y={name}/{name}.parquet"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let lines = format!(
            "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
             pq.write_table(pa.table({{'x': [1]}}), sys.argv[1], compression='{codec}')"
        );
        assert_success(&peers::run(&lines, &[path.as_os_str()]));
    }
    assert_eq!(sandbox.build(&[]).code, 0);
    let lines = "import sys, glob, pyarrow.parquet as pq\n\
         codecs = [pq.ParquetFile(name).metadata.row_group(0).column(1).compression for name in sorted(glob.glob(sys.argv[1] + '/*.parquet'))]\n\
         assert codecs == ['ZSTD', 'GZIP'], codecs";
    assert_success(&peers::run(lines, &[sandbox.path("out").as_os_str()]));
}

#[test]
fn added_folders_keep_the_types_that_are_recorded() {
    let sandbox = sandbox(DEEP, "out", ", mode: append");
    file(&sandbox, "home/zip=01234/a.parquet", "a");
    assert_eq!(sandbox.build(&[]).code, 0);
    // By itself it would be a number.
    file(&sandbox, "home/zip=99999/b.parquet", "b");
    file(
        &sandbox,
        "home/zip=__HIVE_DEFAULT_PARTITION__/c.parquet",
        "c",
    );
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let read = rows(&sandbox.path("out"));
    assert_eq!(read.schema, ["x: string", "zip: string"]);
    assert_eq!(read.lines(), ["a|01234", "b|99999", "c|"]);
}

#[test]
fn one_value_may_be_written_in_several_ways() {
    let sandbox = sandbox(DEEP, "out", ", mode: append");
    file(&sandbox, "home/k=1/a.parquet", "a");
    file(&sandbox, "home/k=2/b.parquet", "b");
    assert_eq!(sandbox.build(&[]).code, 0);
    fs::rename(sandbox.path("home/k=1"), sandbox.path("home/k=01")).expect("another name");
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    assert_eq!(rows(&sandbox.path("out")).lines(), ["a|1", "b|2"]);
}

/// A flow with a condition over files below `year=…/land=…`, of which those of 2023 are no parquet.
fn with_condition(condition: &str, more: &str) -> Sandbox {
    let sandbox = sandbox(DEEP, "out", &format!(", where: \"{condition}\"{more}"));
    for (year, land) in [(2024, "de"), (2024, "fr"), (2025, "de")] {
        let name = format!("home/year={year}/land={land}/a.parquet");
        file(&sandbox, &name, &format!("{year}{land}"));
    }
    for land in ["de", "fr"] {
        sandbox.write(
            &format!("home/year=2023/land={land}/a.parquet"),
            "no parquet",
        );
    }
    sandbox
}

/// The values of `x` in the store, in order.
fn found(sandbox: &Sandbox) -> Vec<String> {
    let lines = rows(&sandbox.path("out")).lines().into_iter();
    let mut found: Vec<String> = lines
        .map(|line| line.split('|').next().unwrap_or_default().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn files_of_folders_that_where_leaves_out_are_not_read() {
    let cases: [(&str, &[&str]); 8] = [
        ("year = 2024", &["2024de", "2024fr"]),
        (
            "year > 2023 and land in ('de', 'it')",
            &["2024de", "2025de"],
        ),
        (
            "x <> '2024de' and year between 2024 and 2030",
            &["2024fr", "2025de"],
        ),
        ("not (year < 2024) and land like 'f%'", &["2024fr"]),
        (
            "(year = 2024 and land = 'fr') or year = 2025",
            &["2024fr", "2025de"],
        ),
        (
            "year is not null and coalesce(land, 'x') = 'de' and year - 1 >= 2024",
            &["2025de"],
        ),
        ("year > 2023 and lower(x) = '2024fr'", &["2024fr"]),
        (
            "year = 2030 or year = 2024 and land = 'it' or year = 2025",
            &["2025de"],
        ),
    ];
    for (condition, expected) in cases {
        let sandbox = with_condition(condition, "");
        let ran = built(&sandbox);
        assert_eq!(found(&sandbox), expected, "{condition}: {}", ran.text);
        assert!(
            ran.text.contains("not read: where leaves out all rows of"),
            "{}",
            ran.text
        );
        let checked = sandbox.run(&["check"]);
        assert!(
            checked.code == 0 && checked.text.contains("not read: where leaves out"),
            "{}",
            checked.text
        );
        // What changes there, comes or goes is nothing to do, nor is a link that leads nowhere.
        sandbox.write("home/year=2023/land=it/a.parquet", "nor this");
        sandbox.write("home/year=2023/land=de/a.parquet", "nor this one");
        let link = sandbox.path("home/year=2023/land=de/b.parquet");
        std::os::unix::fs::symlink("nowhere", link).expect("a link");
        assert_eq!(
            built(&sandbox).event("build_finished")["fresh"],
            1,
            "{condition}"
        );
    }
}

#[test]
fn folders_are_left_out_only_where_their_names_decide() {
    // The files say the column themselves, and something else than their folder.
    let sandbox = sandbox(DEEP, "out", ", where: \"year = 2024\"");
    let own = "[('x', pa.string()), ('year', pa.int64())]";
    parquet(
        &sandbox,
        "home/year=2023/a.parquet",
        own,
        "[{'x': 'a', 'year': 2024}]",
    );
    parquet(
        &sandbox,
        "home/year=2024/a.parquet",
        own,
        "[{'x': 'b', 'year': 2023}]",
    );
    built(&sandbox);
    assert_eq!(found(&sandbox), ["a"]);
    // A column is text because of the folder that would be left out.
    let sandbox = with_condition("year = '2024'", "");
    sandbox.write("home/year=old/land=de/a.parquet", "no parquet");
    assert!(
        failed(&sandbox).error().contains("no parquet")
            || failed(&sandbox).error().contains("not a sound")
    );
    // Columns may come of any file, and what was moved is not gone.
    for more in [
        ", mode: append",
        ", mode: append, on_vanished: remove",
        ", mode: append, on_vanished: keep",
        "",
    ] {
        let sandbox = with_condition("year > 2023", more);
        if more.is_empty() {
            let config = fs::read_to_string(sandbox.path("hygge.yml")).expect("a config");
            sandbox.write("hygge.yml", config.replace("glob:", "schema: union, glob:"));
        }
        assert!(failed(&sandbox).error().contains("year=2023"));
    }
    // Where all are left out, the first says the columns.
    let sandbox = sandbox_with_files("year > 2030");
    built(&sandbox);
    let read = rows(&sandbox.path("out"));
    assert_eq!(
        (read.rows.len(), read.schema),
        (0, vec!["x: string".to_string(), "year: int64".to_string()])
    );
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    // A null is no value that a condition is true for.
    let sandbox = sandbox_with_files("year <> 2024");
    sandbox.write(
        "home/year=__HIVE_DEFAULT_PARTITION__/a.parquet",
        "no parquet",
    );
    built(&sandbox);
    assert_eq!(found(&sandbox), ["2025"]);
}

fn sandbox_with_files(condition: &str) -> Sandbox {
    let sandbox = sandbox(DEEP, "out", &format!(", where: \"{condition}\""));
    for year in [2024, 2025] {
        file(
            &sandbox,
            &format!("home/year={year}/a.parquet"),
            &year.to_string(),
        );
    }
    sandbox
}
