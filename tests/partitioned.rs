//! `partition_by`: rows go to folders that are called after their values, as in `country=DE`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::common::assert_success;
use crate::common::databases::{Database, Kind};
use crate::common::peers::{self, parquet, rows};
use crate::common::sandbox::{Sandbox, built, failed};

const SCHEMA: &str = "[('id', pa.int64()), ('country', pa.string())]";

/// A flow into folders by country.
fn sandbox(store: &str, more: &str) -> Sandbox {
    Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{path: out, partition_by: [country]{store}}}{more}}}\n"
    ))
}

/// A file of ids, each with its country.
fn orders(sandbox: &Sandbox, name: &str, rows: &[(i64, &str)]) {
    let rows = rows.iter().map(|(id, country)| match *country {
        "" => format!("{{'id': {id}}}"),
        country => format!("{{'id': {id}, 'country': '{country}'}}"),
    });
    let rows: Vec<String> = rows.collect();
    parquet(sandbox, name, SCHEMA, &format!("[{}]", rows.join(", ")));
}

/// The names of a store's files.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let names = sandbox.digests("out").into_keys();
    names
        .map(|name| {
            name.replace("0000000000000000000", "")
                .replace(".parquet", "")
        })
        .collect()
}

/// The ids in each folder, as duckdb reads them.
fn ids(sandbox: &Sandbox) -> BTreeMap<String, Vec<i64>> {
    let lines = "import sys, json, duckdb\n\
        found = duckdb.sql(f\"select coalesce(country, 'null'), list(id order by id) from read_parquet('{sys.argv[1]}/**/*.parquet', hive_partitioning = true, hive_types = {{'country': varchar}}) group by 1\").fetchall()\n\
        print(json.dumps(dict(found)))";
    let read = peers::run(lines, &[sandbox.path("out").as_os_str()]);
    assert_success(&read);
    serde_json::from_slice(&read.stdout).expect("a line of JSON")
}

fn of(countries: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    let found = countries.iter();
    found
        .map(|(country, ids)| ((*country).to_string(), ids.to_vec()))
        .collect()
}

#[test]
fn every_reader_finds_every_value_of_every_type() {
    let columns = [
        (
            "a",
            "pa.string()",
            "text",
            "['x', 'a b/c', 'é=%41', None, '日本', '01', \"q'\\\"\", '..', '+1~']",
        ),
        (
            "b",
            "pa.int32()",
            "int32",
            "[1, -5, 2**31 - 1, None, -2**31, 0, 7, 7, 7]",
        ),
        (
            "c",
            "pa.date32()",
            "date",
            "[datetime.date(2024, 2, 29), datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None] + [datetime.date(1970, 1, 1)] * 5",
        ),
        (
            "d",
            "pa.bool_()",
            "boolean",
            "[True, False, None, True, True, False, False, True, True]",
        ),
        (
            "e",
            "pa.uint64()",
            "uint64",
            "[2**64 - 1, 0, None, 1, 1, 1, 1, 1, 1]",
        ),
        (
            "f",
            "pa.int8()",
            "int8",
            "[-128, 127, None, 1, 1, 1, 1, 1, 1]",
        ),
    ];
    for (format, keep) in [("parquet", false), ("ipc", false), ("parquet", true)] {
        let flow = |(name, ..): &(&str, &str, &str, &str)| {
            format!(
                "  {name}: {{home: home, store: {{type: {format}, path: out/{name}, partition_by: [{name}], keep_column: {keep}}}}}\n  back_{name}: {{home: {{flow: {name}}}, store: {{type: parquet, path: back/{name}}}}}\n"
            )
        };
        let flows: String = columns.iter().map(flow).collect();
        let sandbox = Sandbox::new(&format!("flows:\n{flows}"));
        let fields: Vec<String> = columns
            .iter()
            .map(|(name, kind, ..)| format!("('{name}', {kind})"))
            .collect();
        let values: Vec<String> = columns
            .iter()
            .map(|(name, .., values)| format!("'{name}': {values}"))
            .collect();
        let lines = format!(
            "[dict(zip(row.keys(), values)) | {{'id': n}} for row in [{{{}}}] for n, values in enumerate(zip(*row.values()))]",
            values.join(", ")
        );
        parquet(
            &sandbox,
            "home/a.parquet",
            &format!("[('id', pa.int64()), {}]", fields.join(", ")),
            &lines,
        );
        built(&sandbox);
        let compare = format!(
            "import os, sys, glob, duckdb, pyarrow as pa, pyarrow.dataset as ds, pyarrow.parquet as pq\n\
             os.chdir(sys.argv[1])\n\
             home = pq.read_table('home/a.parquet')\n\
             def told(table):\n    return sorted(map(str, table.select(home.column_names).cast(home.schema).to_pylist()))\n\
             for name in 'abcdef':\n    \
                 field = home.schema.field(name)\n    \
                 kind = ds.partitioning(pa.schema([field]), flavor='hive')\n    \
                 found = ds.dataset(f'out/{{name}}', format='{format}', partitioning=kind).to_table()\n    \
                 assert told(found) == told(home), (name, told(found))\n    \
                 files = [file for file in glob.glob(f'out/{{name}}/**/*.*', recursive=True) if os.path.isfile(file)]\n    \
                 assert len(files) == len(set(home[name].to_pylist())), files\n    \
                 back = pa.concat_tables(pq.read_table(file) for file in glob.glob(f'back/{{name}}/*.parquet'))\n    \
                 assert back.schema.field(name).type == field.type, back.schema\n    \
                 assert told(back) == told(home), (name, told(back))\n    \
                 if '{format}' == 'parquet':\n        \
                     own = pq.read_schema(files[0]).names\n        \
                     assert (name in own) == {}, own\n        \
                     kind = {{'a': 'varchar', 'b': 'integer', 'c': 'date', 'd': 'boolean', 'e': 'ubigint', 'f': 'tinyint'}}[name]\n        \
                     found = duckdb.sql(f\"select id, {{name}} from read_parquet('out/{{name}}/**/*.parquet', hive_partitioning=true, hive_types={{{{'{{name}}': {{kind}}}}}}) order by id\").fetchall()\n        \
                     assert found == list(zip(home['id'].to_pylist(), home[name].to_pylist())), found",
            if keep { "True" } else { "False" }
        );
        let compared = peers::run(&compare, &[sandbox.path("").as_os_str()]);
        assert_success(&compared);
        assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 12);
    }
}

#[test]
fn files_of_nested_columns_and_maps_are_split_exactly() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: home, store: {path: out, partition_by: [p, q], rows_per_file: 1000}}\n",
    );
    let lines = "import sys, random, decimal, datetime, pyarrow as pa, pyarrow.parquet as pq, os\n\
        os.chdir(sys.argv[1]); os.makedirs('home'); random.seed(5)\n\
        def value(make): return None if random.random() < 0.2 else make()\n\
        def row(n): return {'id': n, 'p': value(lambda: random.choice('abc')), 'q': value(lambda: random.randrange(3)),\n  \
            'list': value(lambda: [value(lambda: random.choice(['', 'x', 'é' * 30])) for _ in range(random.randrange(3))]),\n  \
            'group': value(lambda: {'d': value(lambda: decimal.Decimal(random.randrange(10**9)) / 100), 'deep': value(lambda: [{'t': value(lambda: datetime.datetime(2024, 1, 1, 0, 0, random.randrange(60)))}])}),\n  \
            'map': value(lambda: [(str(n), value(lambda: n)) for n in range(random.randrange(3))]),\n  \
            'bytes': value(lambda: random.randbytes(random.randrange(20))), 'float': value(random.random)}\n\
        schema = pa.schema([('id', pa.int64()), ('p', pa.string()), ('q', pa.int64()), ('list', pa.list_(pa.string())),\n  \
            ('group', pa.struct([('d', pa.decimal128(12, 2)), ('deep', pa.list_(pa.struct([('t', pa.timestamp('us'))])))])),\n  \
            ('map', pa.map_(pa.string(), pa.int64())), ('bytes', pa.binary()), ('float', pa.float64())])\n\
        rows = [row(n) for n in range(5000)]\n\
        pq.write_table(pa.Table.from_pylist(rows, schema), 'home/a.parquet', row_group_size=700)";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
    built(&sandbox);
    let compare = "import os, sys, pyarrow as pa, pyarrow.dataset as ds, pyarrow.parquet as pq\n\
        os.chdir(sys.argv[1])\n\
        home = pq.read_table('home/a.parquet')\n\
        kind = ds.partitioning(pa.schema([('p', pa.string()), ('q', pa.int64())]), flavor='hive')\n\
        found = ds.dataset('out', partitioning=kind).to_table().select(home.column_names).sort_by('id')\n\
        assert found.to_pylist() == home.to_pylist()\n\
        print(len(ds.dataset('out').files))";
    let compared = peers::run(compare, &[sandbox.path("").as_os_str()]);
    assert_success(&compared);
    // Four values of each column, in slices of 700 rows.
    let files: usize = String::from_utf8_lossy(&compared.stdout)
        .trim()
        .parse()
        .expect("a number");
    assert!((16 * 5..=16 * 8).contains(&files), "{files}");
    // A rebuild from nothing makes the same bytes, whoever makes which part.
    let before = sandbox.digests("out");
    for threads in ["1", "2"] {
        fs::remove_dir_all(sandbox.path("out")).expect("a store");
        fs::remove_dir_all(sandbox.path(".hygge")).expect("a receipt");
        fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
        assert_eq!(sandbox.build(&["-j", threads]).code, 0);
        assert_eq!(sandbox.digests("out"), before);
    }
}

#[test]
fn a_change_in_one_folder_leaves_the_files_of_others_as_they_are() {
    let sandbox = sandbox("", "");
    orders(
        &sandbox,
        "home/a.parquet",
        &[(1, "DE"), (2, "FR"), (3, "DE")],
    );
    orders(&sandbox, "home/b.parquet", &[(4, "FR"), (5, "US")]);
    built(&sandbox);
    let first = [
        "country=DE/1",
        "country=FR/1",
        "country=FR/2",
        "country=US/1",
    ];
    assert_eq!(names(&sandbox), first);
    let inode = |name: &str| {
        let path = format!("out/{name}/00000000000000000001.parquet");
        fs::metadata(sandbox.path(&path)).expect("a file").ino()
    };
    let before = [inode("country=DE"), inode("country=FR")];
    orders(&sandbox, "home/b.parquet", &[(4, "FR"), (6, "IT")]);
    let ran = built(&sandbox);
    assert_eq!(ran.event("flow_finished")["parts_made"], 2, "{}", ran.text);
    assert_eq!(
        names(&sandbox),
        [
            "country=DE/1",
            "country=FR/1",
            "country=FR/2",
            "country=IT/1"
        ]
    );
    assert_eq!([inode("country=DE"), inode("country=FR")], before);
    assert_eq!(
        ids(&sandbox),
        of(&[("DE", &[1, 3]), ("FR", &[2, 4]), ("IT", &[6])])
    );
    assert!(!sandbox.path("out/country=US").exists());
    // The set of the build before is put back with its folders, and let go again.
    assert_eq!(sandbox.run(&["restore", "f"]).code, 0);
    assert_eq!(names(&sandbox), first);
    assert_eq!(sandbox.run(&["restore", "f", "--latest"]).code, 0);
    assert_eq!(
        ids(&sandbox),
        of(&[("DE", &[1, 3]), ("FR", &[2, 4]), ("IT", &[6])])
    );
    // A lost cache costs nothing, a lost file only its slice.
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    fs::remove_dir_all(sandbox.path("out/country=IT")).expect("a folder");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    built(&sandbox);
    assert_eq!(
        ids(&sandbox),
        of(&[("DE", &[1, 3]), ("FR", &[2, 4]), ("IT", &[6])])
    );
    // All of it goes, and nothing else.
    assert_eq!(sandbox.run(&["clean", "--stores", "f", "--yes"]).code, 0);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn what_somebody_puts_into_the_folders_is_noticed() {
    let sandbox = sandbox("", "");
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (2, "FR")]);
    built(&sandbox);
    sandbox.write("out/country=DE/mine.txt", "mine");
    let ran = failed(&sandbox);
    assert!(ran.error().contains("country=DE/mine.txt"), "{}", ran.text);
    // What is hidden stays, also where its folder goes.
    fs::rename(
        sandbox.path("out/country=DE/mine.txt"),
        sandbox.path("out/country=DE/_mine"),
    )
    .expect("hidden");
    orders(&sandbox, "home/a.parquet", &[(2, "FR"), (3, "FR")]);
    built(&sandbox);
    assert_eq!(
        fs::read(sandbox.path("out/country=DE/_mine")).expect("a note"),
        b"mine"
    );
    assert_eq!(ids(&sandbox), of(&[("FR", &[2, 3])]));
    // What was altered is put aside with its folder, and said by its name there.
    let path = "out/country=FR/00000000000000000001.parquet";
    let before = fs::read(sandbox.path(path)).expect("a part");
    fs::write(sandbox.path(path), "altered").expect("altered");
    let ran = built(&sandbox);
    assert_eq!(
        ran.event("displaced")["names"],
        json!(["country=FR/00000000000000000001.parquet"])
    );
    assert_eq!(
        fs::read(sandbox.path(path)).expect("a part"),
        before,
        "{}",
        ran.text
    );
    let aside = sandbox
        .find(".hygge/displaced", "00000000000000000001.parquet")
        .expect("put aside");
    assert!(
        aside
            .parent()
            .is_some_and(|folder| folder.ends_with("country=FR")),
        "{aside:?}"
    );
    assert_eq!(fs::read(aside).expect("a file"), b"altered");
    // A link in the place of a folder is nobody's part.
    fs::rename(sandbox.path("out/country=FR"), sandbox.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(sandbox.path("elsewhere"), sandbox.path("out/country=FR"))
        .expect("a link");
    assert!(failed(&sandbox).error().contains("country=FR"));
}

#[test]
fn rows_whose_value_names_no_folder_fail_by_their_row() {
    let cases = [
        ("''", "an empty text"),
        ("'__HIVE_DEFAULT_PARTITION__'", "stands for null"),
        ("'x' * 300", "has at most 255"),
    ];
    for (value, said) in cases {
        for (more, row) in [("", 3), (", where: \"id > 1\"", 3)] {
            let sandbox = sandbox("", more);
            let rows = format!(
                "[{{'id': 1, 'country': 'a'}}, {{'id': 2}}, {{'id': 3, 'country': {value}}}]"
            );
            parquet(&sandbox, "home/a.parquet", SCHEMA, &rows);
            let error = failed(&sandbox).error().to_string();
            assert!(
                error.contains(said)
                    && error.contains(&format!(
                        "a.parquet: row {row}: partition_by: column country"
                    )),
                "{error}"
            );
            assert!(!sandbox.path("out").exists());
        }
    }
    // A day that is written in another way than readers know.
    let sandbox = sandbox("", ", cast: {country: date}");
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64()), ('country', pa.date32())]",
        "[{'country': 2932897}]",
    );
    assert!(
        failed(&sandbox)
            .error()
            .contains("not one of the years 1 to 9999")
    );
}

#[test]
fn too_many_folders_fail_before_anything_is_published() {
    let sandbox = sandbox(", max_partitions: 3", "");
    orders(&sandbox, "home/a.parquet", &[(1, "a"), (2, "b"), (3, "")]);
    orders(&sandbox, "home/b.parquet", &[(1, "a"), (2, "b")]);
    built(&sandbox);
    let before = sandbox.digests("out");
    // In one file, by its row; in all of them together, by their number.
    orders(
        &sandbox,
        "home/b.parquet",
        &[(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "d")],
    );
    let error = failed(&sandbox).error().to_string();
    assert!(
        error.contains(
            "b.parquet: row 5: max_partitions: folder country=d would be one more than 3"
        ),
        "{error}"
    );
    orders(&sandbox, "home/b.parquet", &[(1, "c")]);
    let error = failed(&sandbox).error().to_string();
    assert!(
        error.contains("the set has 4 folders, and max_partitions allows 3"),
        "{error}"
    );
    assert_eq!(sandbox.digests("out"), before);
}

#[test]
fn columns_are_known_by_their_final_names() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: home, store: {path: out, partition_by: [Land, day]}, rename: {country: Land}, cast: {at: date}, add: {day: 7}, columns: {exclude: [at]}}\n",
    );
    orders(&sandbox, "home/a.parquet", &[(1, "DE")]);
    let ran = failed(&sandbox);
    assert!(ran.error().contains("no column at"), "{}", ran.text);
    parquet(
        &sandbox,
        "home/a.parquet",
        "[('id', pa.int64()), ('country', pa.string()), ('at', pa.string())]",
        "[{'id': 1, 'country': 'DE', 'at': '2024-01-01'}]",
    );
    built(&sandbox);
    assert_eq!(names(&sandbox), ["Land=DE/day=7/1"]);
    for (columns, said, hint) in [
        (
            "[land]",
            "no column land comes to the store",
            "did you mean Land?",
        ),
        (
            "[Land, day, id]",
            "no column is left for the files",
            "keep_column: true",
        ),
    ] {
        sandbox.write("hygge.yml", format!("flows:\n  f: {{home: home, store: {{path: out, partition_by: {columns}}}, rename: {{country: Land}}, add: {{day: 7}}, columns: {{exclude: [at]}}}}\n"));
        let ran = failed(&sandbox);
        assert!(
            ran.text.contains(said) && ran.text.contains(hint),
            "{}",
            ran.text
        );
        let checked = sandbox.run(&["check"]);
        assert!(
            checked.code != 0 && checked.text.contains(said),
            "{}",
            checked.text
        );
        assert_eq!(names(&sandbox), ["Land=DE/day=7/1"]);
    }
}

#[test]
fn what_cannot_be_is_said_of_the_config() {
    for (keys, said) in [
        ("partition_by: []", "names no column"),
        ("partition_by: [a, a]", "names the column a twice"),
        ("partition_by: _a", "names the column \"_a\""),
        (
            "partition_by: a, publish: in_place",
            "is published in place",
        ),
        (
            "keep_column: true",
            "keep_column of store of flow f is said without partition_by",
        ),
        ("max_partitions: 5", "is said without partition_by"),
        ("partition_by: a, max_partitions: 0", "max_partitions"),
    ] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  f: {{home: home, store: {{path: out, {keys}}}}}\n"
        ));
        let ran = sandbox.run(&["build"]);
        assert_eq!(ran.code, 2, "{keys}: {}", ran.text);
        let text = ran.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(said), "{keys}: {}", ran.text);
    }
}

#[test]
fn parts_that_are_added_go_on_from_the_highest_number() {
    let sandbox = sandbox("", ", mode: append");
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (2, "FR")]);
    orders(&sandbox, "home/b.parquet", &[(3, "DE")]);
    built(&sandbox);
    assert_eq!(
        names(&sandbox),
        ["country=DE/1", "country=DE/2", "country=FR/1"]
    );
    orders(&sandbox, "home/c.parquet", &[(4, "FR"), (5, "US")]);
    let ran = built(&sandbox);
    assert_eq!(ran.event("flow_finished")["parts_made"], 2, "{}", ran.text);
    assert_eq!(
        names(&sandbox),
        [
            "country=DE/1",
            "country=DE/2",
            "country=FR/1",
            "country=FR/3",
            "country=US/3"
        ]
    );
    // What is lost is made again under its own number, with what was made of the same file.
    fs::remove_file(sandbox.path("out/country=US/00000000000000000003.parquet")).expect("a part");
    fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
    built(&sandbox);
    assert_eq!(
        names(&sandbox),
        [
            "country=DE/1",
            "country=DE/2",
            "country=FR/1",
            "country=FR/3",
            "country=US/3"
        ]
    );
    assert_eq!(
        ids(&sandbox),
        of(&[("DE", &[1, 3]), ("FR", &[2, 4]), ("US", &[5])])
    );
    // Other folders beside those that stay would be another kind of set.
    let store = |keys: &str| {
        format!("flows:\n  f: {{home: home, store: {{path: out{keys}}}, mode: append}}\n")
    };
    orders(&sandbox, "home/d.parquet", &[(6, "FR")]);
    for keys in [
        "",
        ", partition_by: [country], keep_column: true",
        ", partition_by: [id]",
    ] {
        sandbox.write("hygge.yml", store(keys));
        let ran = failed(&sandbox);
        assert!(
            ran.error()
                .contains("parts that stay lie in folders by [\"country\"], and new ones"),
            "{}",
            ran.text
        );
    }
    assert_eq!(sandbox.build(&["--force"]).code, 0);
    assert_eq!(names(&sandbox).len(), 6);
}

#[test]
fn a_file_that_changes_takes_its_numbers_with_it() {
    let sandbox = sandbox(
        "",
        ", mode: append, on_changed: rewrite, on_vanished: remove",
    );
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (2, "FR")]);
    orders(&sandbox, "home/b.parquet", &[(3, "DE"), (4, "FR")]);
    built(&sandbox);
    orders(&sandbox, "home/c.parquet", &[(5, "DE")]);
    built(&sandbox);
    assert_eq!(
        names(&sandbox),
        [
            "country=DE/1",
            "country=DE/2",
            "country=DE/3",
            "country=FR/1",
            "country=FR/2"
        ]
    );
    orders(&sandbox, "home/b.parquet", &[(3, "DE"), (6, "US")]);
    built(&sandbox);
    assert_eq!(
        names(&sandbox),
        [
            "country=DE/1",
            "country=DE/2",
            "country=DE/3",
            "country=FR/1",
            "country=US/4"
        ]
    );
    assert_eq!(
        ids(&sandbox),
        of(&[("DE", &[1, 3, 5]), ("FR", &[2]), ("US", &[6])])
    );
    fs::remove_file(sandbox.path("home/a.parquet")).expect("an input");
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(&[("DE", &[3, 5]), ("US", &[6])]));
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
}

#[test]
fn without_a_row_there_is_one_file_with_all_columns() {
    for mode in ["replace", "append"] {
        let sandbox = sandbox("", &format!(", mode: {mode}, where: \"id > 10\""));
        orders(&sandbox, "home/a.parquet", &[(1, "DE")]);
        built(&sandbox);
        orders(&sandbox, "home/a2.parquet", &[(2, "FR")]);
        built(&sandbox);
        assert_eq!(names(&sandbox), ["1"]);
        let empty = rows(&sandbox.path("out"));
        assert_eq!(
            (empty.schema, empty.rows.len()),
            (vec!["id: int64".into(), "country: string".into()], 0)
        );
        assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
        // Readers would not know such a file beside folders.
        orders(&sandbox, "home/b.parquet", &[(11, "DE"), (2, "FR")]);
        let ran = built(&sandbox);
        assert_eq!(ids(&sandbox), of(&[("DE", &[11])]), "{}", ran.text);
        assert_eq!(
            ran.event("flow_finished")["rows_filtered"],
            if mode == "append" { 1 } else { 3 }
        );
        assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
        // A file of which nothing came has been moved all the same.
        orders(&sandbox, "home/c.parquet", &[(3, "DE")]);
        built(&sandbox);
        assert_eq!(ids(&sandbox), of(&[("DE", &[11])]));
        assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    }
}

#[test]
fn a_flow_that_reads_the_folders_has_their_columns() {
    let config = |mode: &str| {
        format!(
            "flows:\n  f: {{home: home, store: {{path: out, partition_by: [country]}}}}\n  g: {{home: {{flow: f}}, store: back, mode: {mode}, where: \"country <> 'x'\"}}\n"
        )
    };
    for mode in ["replace", "append"] {
        let sandbox = Sandbox::new(&config(mode));
        orders(&sandbox, "home/a.parquet", &[(1, "01"), (2, "2024-01-01")]);
        built(&sandbox);
        let lines = || {
            let mut lines = rows(&sandbox.path("back")).lines();
            lines.sort();
            lines
        };
        assert_eq!(lines(), ["1|01", "2|2024-01-01"]);
        // Equal bytes in another folder are other rows, and no file with another name.
        orders(&sandbox, "home/a.parquet", &[(1, "07"), (2, "2024-01-01")]);
        built(&sandbox);
        let expected: &[&str] = match mode {
            "append" => &["1|01", "1|07", "2|2024-01-01"],
            _ => &["1|07", "2|2024-01-01"],
        };
        assert_eq!(lines(), expected);
        assert_eq!(built(&sandbox).event("build_finished")["fresh"], 2);
    }
}

#[test]
fn more_rows_than_wait_in_memory_come_to_their_folders() {
    let sandbox =
        Sandbox::new("flows:\n  f: {home: home, store: {path: out, partition_by: [p]}}\n");
    let lines = "import sys, os, duckdb\n\
        os.chdir(sys.argv[1]); os.makedirs('home')\n\
        duckdb.sql(\"copy (select i, (i * 7919 % 5)::int p, hash(i) a, hash(i + 1) b, hash(i + 2) c, md5(i::varchar) d, random() e from range(3000000) t(i)) to 'home/a.parquet' (row_group_size 200000)\")";
    assert_success(&peers::run(lines, &[sandbox.path("").as_os_str()]));
    built(&sandbox);
    let compare = "import sys, os, duckdb\n\
        os.chdir(sys.argv[1])\n\
        home, out = \"'home/a.parquet'\", \"read_parquet('out/**/*.parquet', hive_partitioning = true)\"\n\
        answer = lambda of: duckdb.sql(f'select p, count(*), bit_xor(hash(i, a, b, c, d, e)), sum(i) from {of} group by p order by p').fetchall()\n\
        assert answer(home) == answer(out) and len(answer(out)) == 5, answer(out)\n\
        groups = duckdb.sql(\"select max(row_group_num_rows), min(row_group_num_rows) from parquet_metadata('out/**/*.parquet')\").fetchall()[0]\n\
        order = duckdb.sql(\"select count(*) from (select i, lag(i) over (order by file_row_number) before from read_parquet('out/p=1/*.parquet', file_row_number = true)) where before > i\").fetchall()[0]\n\
        print(groups, order)";
    let compared = peers::run(compare, &[sandbox.path("").as_os_str()]);
    assert_success(&compared);
    let told = String::from_utf8_lossy(&compared.stdout);
    assert!(
        told.trim().ends_with("(0,)"),
        "rows stay in their order: {told}"
    );
    // What waited in files is gone.
    let left = fs::read_dir(sandbox.path(".hygge-cache/staging/tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

/// Rows of a table by month, in folders by country.
fn tables_go_to_folders(kind: Kind) {
    let database = Database::new(kind);
    let month = |number: u32| {
        format!(
            "INSERT INTO orders SELECT 100 * {number} + n, CASE n % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' END, '2026-{number:02}-05' FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) numbers;"
        )
    };
    database.run(&format!(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, country VARCHAR(20), at DATE NOT NULL); {} {}",
        month(1),
        month(2)
    ));
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: orders, watermark: {column: id}}, store: {path: out, partition_by: [country]}, mode: append}\n",
    );
    built(&sandbox);
    let all: &[(&str, &[i64])] = &[
        ("DE", &[100, 103, 200, 203]),
        ("FR", &[101, 201]),
        ("null", &[102, 202]),
    ];
    assert_eq!(ids(&sandbox), of(all));
    database.run(&month(3));
    built(&sandbox);
    let all: &[(&str, &[i64])] = &[
        ("DE", &[100, 103, 200, 203, 300, 303]),
        ("FR", &[101, 201, 301]),
        ("null", &[102, 202, 302]),
    ];
    assert_eq!(ids(&sandbox), of(all));
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    // A wrong value is said with its place.
    database.run("UPDATE orders SET country = '' WHERE id = 303");
    let ran = sandbox.build(&["--force"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert!(
        ran.error()
            .contains("partition_by: column country has an empty text"),
        "{}",
        ran.text
    );
    assert_eq!(ids(&sandbox), of(all));
}

crate::common::databases::on_each_database!(tables_go_to_folders);

#[test]
fn the_plan_and_the_build_say_how_many_parts_there_are() {
    let sandbox = sandbox("", "");
    orders(
        &sandbox,
        "home/a.parquet",
        &[(1, "DE"), (2, "FR"), (3, "DE")],
    );
    let plan = sandbox.run(&["build", "--dry-run"]);
    assert_eq!(plan.code, 0, "{}", plan.text);
    let ran = built(&sandbox);
    let finished = ran.event("flow_finished");
    assert_eq!(
        (&finished["parts_made"], &finished["rows"]),
        (&json!(2), &json!(3)),
        "{}",
        ran.text
    );
    let shown = sandbox.run(&["show", "f", "--schema"]);
    assert!(shown.text.contains("country"), "{}", shown.text);
}

#[test]
fn windows_of_which_no_row_comes_close_no_others() {
    let database = Database::new(Kind::Sqlite);
    database.run("CREATE TABLE t (id INTEGER PRIMARY KEY, country TEXT, v INTEGER)");
    let add = |ids: std::ops::Range<i64>, v: i64| {
        for id in ids {
            let country = ["a", "b"][(id % 2) as usize];
            database.run(&format!("INSERT INTO t VALUES ({id}, '{country}', {v})"));
        }
    };
    add(0..10, 1);
    add(10..16, -1);
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t, watermark: {column: id, lag: 5}}, store: {path: out, partition_by: [country]}, mode: append, where: v > 0}\n",
    );
    built(&sandbox);
    add(16..20, 1);
    built(&sandbox);
    let all: &[(&str, &[i64])] = &[
        ("a", &[0, 2, 4, 6, 8, 16, 18]),
        ("b", &[1, 3, 5, 7, 9, 17, 19]),
    ];
    assert_eq!(ids(&sandbox), of(all));
    // Slices that are read again are read as they were, whatever came of the others.
    let sandbox = database.project(
        "  f: {home: {connection: shop, table: t, watermark: {column: id}, slice: {column: id, by: 10}}, store: {path: out, partition_by: [country]}, mode: append, where: v > 0}\n",
    );
    built(&sandbox);
    assert_eq!(sandbox.build(&["f", "--slice", "10..20"]).code, 0);
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(all));
}

#[test]
fn parts_of_one_reading_never_go_on_in_those_of_another() {
    for store in ["partition_by: [country]", "rows_per_file: 2"] {
        let database = Database::new(Kind::Sqlite);
        database.run(
            "CREATE TABLE ver (version INTEGER); INSERT INTO ver VALUES (1);
             CREATE TABLE t (id INTEGER PRIMARY KEY, country TEXT);
             INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'b'), (4, 'b'), (5, 'c'), (6, 'c')",
        );
        let sandbox = database.project(&format!(
            "  f: {{home: {{connection: shop, table: t, probe: {{query: select max(version) from ver}}}}, store: {{path: out, {store}}}, max_shrink: 100%}}\n"
        ));
        built(&sandbox);
        // The probe does not tell it.
        database.run("UPDATE t SET country = 'a' WHERE id = 5; UPDATE t SET country = 'b' WHERE id = 6; DELETE FROM t WHERE id = 4");
        assert_eq!(sandbox.build(&["--force"]).code, 0);
        let before = sandbox.digests("out");
        for removes_cache in [false, true] {
            let last = sandbox
                .digests("out")
                .into_keys()
                .next_back()
                .expect("a part");
            fs::remove_file(sandbox.path(&format!("out/{last}"))).expect("a part");
            if removes_cache {
                fs::remove_dir_all(sandbox.path(".hygge-cache")).expect("a cache");
            }
            built(&sandbox);
            assert_eq!(sandbox.digests("out"), before, "{store}");
        }
    }
}

#[test]
fn an_input_of_which_no_row_came_is_needed_for_nothing() {
    let sandbox = sandbox(
        "",
        ", mode: append, on_changed: rewrite, on_vanished: keep, where: \"id > 10\"",
    );
    orders(&sandbox, "home/a.parquet", &[(11, "DE"), (12, "FR")]);
    orders(&sandbox, "home/b.parquet", &[(1, "DE")]);
    orders(&sandbox, "home/c.parquet", &[]);
    built(&sandbox);
    fs::remove_file(sandbox.path("home/b.parquet")).expect("an input");
    fs::remove_file(sandbox.path("home/c.parquet")).expect("an input");
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    orders(&sandbox, "home/a.parquet", &[(11, "DE"), (13, "FR")]);
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(&[("DE", &[11]), ("FR", &[13])]));
    // It is known, under another name too; with other bytes it is read.
    orders(&sandbox, "home/e.parquet", &[(1, "DE")]);
    built(&sandbox);
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    orders(&sandbox, "home/e.parquet", &[(21, "DE")]);
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(&[("DE", &[11, 21]), ("FR", &[13])]));
}

#[test]
fn a_set_of_which_all_rows_went_has_its_columns() {
    let sandbox = sandbox(
        "",
        ", mode: append, on_vanished: remove, where: \"id > 10\"",
    );
    orders(&sandbox, "home/a.parquet", &[(11, "DE"), (12, "FR")]);
    orders(&sandbox, "home/b.parquet", &[(1, "DE")]);
    orders(&sandbox, "home/c.parquet", &[]);
    built(&sandbox);
    fs::remove_file(sandbox.path("home/a.parquet")).expect("an input");
    let ran = sandbox.build(&["--accept-shrink"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let read = rows(&sandbox.path("out"));
    assert_eq!((read.rows.len(), names(&sandbox).len()), (0, 1));
    assert_eq!(read.schema, ["id: int64", "country: string"]);
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
    orders(&sandbox, "home/d.parquet", &[(13, "DE")]);
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(&[("DE", &[13])]));
    assert_eq!(built(&sandbox).event("build_finished")["fresh"], 1);
}

#[test]
fn names_of_files_may_be_the_same_in_different_folders() {
    let sandbox = Sandbox::new(
        "flows:\n  f: {home: {path: home, glob: \"**/*.parquet\"}, store: {path: out, partition_by: [country], file_pattern: \"{stem}.p\"}}\n",
    );
    orders(&sandbox, "home/x/a.parquet", &[(1, "DE")]);
    orders(&sandbox, "home/y/a.parquet", &[(2, "FR")]);
    built(&sandbox);
    assert_eq!(names(&sandbox), ["country=DE/a.p", "country=FR/a.p"]);
    assert_eq!(sandbox.run(&["check"]).code, 0);
    orders(&sandbox, "home/z/a.parquet", &[(3, "FR")]);
    assert!(
        failed(&sandbox)
            .error()
            .contains("two parts the name \"country=FR/a.p\"")
    );
}

#[test]
fn folders_of_others_and_their_permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = sandbox("", "");
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (2, "FR")]);
    built(&sandbox);
    let folder = sandbox.path("out/country=DE");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("closed");
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (3, "FR")]);
    built(&sandbox);
    let mode = fs::metadata(&folder)
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    // A folder that somebody made is somebody's, also where it is empty.
    fs::create_dir(sandbox.path("out/mine=1")).expect("a folder");
    orders(&sandbox, "home/a.parquet", &[(1, "DE"), (4, "FR")]);
    assert!(failed(&sandbox).error().contains("mine=1"));
    assert!(sandbox.path("out/mine=1").is_dir());
    fs::remove_dir(sandbox.path("out/mine=1")).expect("a folder");
    // One that has lost its part is hygge's still.
    fs::remove_file(sandbox.path("out/country=DE/00000000000000000001.parquet")).expect("a part");
    built(&sandbox);
    assert_eq!(ids(&sandbox), of(&[("DE", &[1]), ("FR", &[4])]));
}

#[test]
fn columns_that_differ_only_by_case_are_refused() {
    for (columns, partition_by) in [("k", "[K]"), ("x", "[K, x]")] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  f: {{home: home, store: {{path: out, partition_by: {partition_by}}}}}\n"
        ));
        let schema =
            format!("[('id', pa.int64()), ('K', pa.string()), ('{columns}', pa.string())]");
        parquet(&sandbox, "home/a.parquet", &schema, "[{'id': 1, 'K': 'a'}]");
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code == 0, columns == "x", "{}", ran.text);
        assert!(
            columns == "x" || ran.error().contains("K and k differ only by case"),
            "{}",
            ran.text
        );
    }
}
