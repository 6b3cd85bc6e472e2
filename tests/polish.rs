//! What the Python hygge writes: its quickstart, and `polish` of a store.

use crate::common::files::orders;
use crate::common::peers::{self, parquet};
use crate::common::sandbox::{Sandbox, built};

/// What stands in the README of the Python hygge, word for word.
#[test]
fn the_quickstart_of_the_python_hygge_runs_as_it_is() {
    let sandbox = Sandbox::new("name: quickstart\n");
    sandbox.write(
        "flows/example_flow/flow.yml",
        "name: \"example_flow\"\nhome:\n  type: \"parquet\"\n  path: \"data/source\"\n\
         store:\n  type: \"parquet\"\n  path: \"data/destination\"\n\
         defaults:\n  key_column: \"id\"\n  batch_size: 10000\n",
    );
    sandbox.write(
        "flows/example_flow/entities/users.yml",
        "name: \"users\"\ncolumns:\n  - id\n  - name\n  - email\n  - created_at\n",
    );
    parquet(
        &sandbox,
        "data/source/users/a.parquet",
        "[('id', pa.int64()), ('age', pa.int32()), ('name', pa.string()), ('email', pa.string()), ('created_at', pa.timestamp('us'))]",
        "[{'id': i, 'age': 7, 'name': 'n', 'email': 'e', 'created_at': datetime.datetime(2026, 1, 1)} for i in range(25000)]",
    );
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "data/destination/users", "id");
    assert_eq!(
        columns,
        "id BIGINT, name VARCHAR, email VARCHAR, created_at TIMESTAMP"
    );
    assert_eq!(rows.len(), 25_000);
    assert_eq!(rows[24_999], "24999|n|e|2026-01-01 00:00:00");
    assert_eq!(sandbox.digests("data/destination/users").len(), 2);
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn polish_is_read_as_the_python_hygge_writes_it() {
    let polish = "polish: {hash_ids: [{name: Row Id, from_columns: [id, state], algo: sha256, hex: true}, {name: raw, from_columns: [id], hex: false}], \
         columns: {remove_special: true, case: pascal}, constants: [{name: source_system, value: \"{x}\"}], \
         add_row_marker: {enabled: true, value: 4}, timestamps: [{name: at, source: now_utc, type: datetime}, {name: loaded_day, type: string, format: \"%Y-%m-%d\"}]}";
    let sandbox = Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{path: out, {polish}}}, where: id < 2}}\n"
    ));
    orders(&sandbox);
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "out", "1");
    assert_eq!(
        columns,
        "Id BIGINT, OrderTotal DECIMAL(10,2), State VARCHAR, Day DATE, Secret VARCHAR, RowId VARCHAR, Raw BLOB, \
         source_system VARCHAR, __rowMarker__ BIGINT, at TIMESTAMP WITH TIME ZONE, loaded_day VARCHAR"
            .replace("         ", "")
    );
    let (key, today) = (peers::sha256("1:14:PAID"), peers::today());
    assert!(
        rows[1].starts_with(&format!("1|1.50|PAID|2026-01-02|x|{key}|")),
        "{}",
        rows[1]
    );
    assert!(
        rows[1].contains("|{x}|4|") && rows[1].ends_with(&format!("|{today}")),
        "{}",
        rows[1]
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    // Written out, it means the same.
    let checked = sandbox.run(&["check", "--offline", "--format", "json"]);
    sandbox.write("hygge.yml", checked.event("config")["config"].to_string());
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
}

#[test]
fn names_that_become_equal_are_told_apart_and_said() {
    let polish = "polish: {hash_ids: [{name: State, from_columns: [id]}], columns: {remove_special: true, case: pascal}}";
    let sandbox = Sandbox::new(&format!(
        "flows:\n  f: {{home: home, store: {{path: out, {polish}}}, columns: [id, state]}}\n"
    ));
    orders(&sandbox);
    let ran = built(&sandbox);
    assert_eq!(
        ran.event("remark")["text"],
        "polish: column State is State_1: State is another column already"
    );
    let (columns, _) = peers::read_folder(&sandbox, "out", "1");
    assert_eq!(columns, "Id BIGINT, State VARCHAR, State_1 VARCHAR");
}

#[test]
fn what_polish_cannot_have_is_named_with_what_to_write() {
    for (polish, more, told) in [
        (
            "{case: snake}",
            "",
            "polish of flow f has the unknown key \"case\"",
        ),
        (
            "{hash_ids: [{name: h, from_columns: [id], algo: md5}]}",
            "",
            "has the algorithm \"md5\"",
        ),
        (
            "{columns: {remove_special: \"yes\"}}",
            "",
            "as remove_special",
        ),
        ("{columns: {case: upper}}", "", "has the case \"upper\""),
        (
            "{constants: [{name: x}]}",
            "",
            "has a constant without a value",
        ),
        (
            "{constants: [{value: 1}]}",
            "",
            "has a column without a name",
        ),
        (
            "{timestamps: [{name: x, source: now_local}]}",
            "",
            "of another clock than UTC",
        ),
        (
            "{timestamps: [{name: x, type: date}]}",
            "",
            "has a time stamp of the type \"date\"",
        ),
        (
            "{columns: {case: snake}}",
            ", case: camel",
            "flow f has case, and its store has polish",
        ),
        (
            "{}",
            ", add: {x: 1}",
            "flow f has add, and its store has polish",
        ),
    ] {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  f: {{home: home, store: {{path: out, polish: {polish}}}{more}}}\n"
        ));
        let ran = sandbox.run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{polish}: {}", ran.text);
        assert!(ran.text.contains(told), "{polish}: {}", ran.text);
    }
}

/// Its homes and stores of files are of the type `local`.
#[test]
fn a_folder_of_csv_is_polished_as_the_python_hygge_writes_it() {
    let sandbox = Sandbox::new(
        "flows:\n  people:\n    home: {type: local, path: landing/people, format: csv}\n    \
         store:\n      type: local\n      path: store/people\n      format: parquet\n      \
         polish:\n        hash_ids: [{name: row id, from_columns: [id], algo: sha256, hex: true}]\n        \
         columns: {remove_special: true, case: snake}\n        \
         constants: [{name: source_system, value: crm}]\n",
    );
    sandbox.write(
        "landing/people/a.csv",
        "id,First Name\n1,Ada\n2,\"Grace \"\"G\"\"\"\n",
    );
    sandbox.write("landing/people/b.csv", "id,First Name\n3,\n");
    built(&sandbox);
    let (columns, rows) = peers::read_folder(&sandbox, "store/people", "id");
    assert_eq!(
        columns,
        "id BIGINT, first_name VARCHAR, row_id VARCHAR, source_system VARCHAR"
    );
    let key = peers::sha256("1:1");
    assert_eq!(rows[0], format!("1|Ada|{key}|crm"));
    assert!(
        rows[1].starts_with("2|Grace \"G\"|") && rows[2].starts_with("3||"),
        "{rows:?}"
    );
    assert_eq!(sandbox.build(&[]).event("build_finished")["fresh"], 1);
    // Without a format it is what the files end with, else parquet; another is an error by its name.
    sandbox.write("hygge.yml", "flows:\n  a: {home: {type: local, path: landing/people/a.csv}, store: {type: local, path: a}}\n");
    built(&sandbox);
    sandbox.write(
        "hygge.yml",
        "flows:\n  a: {home: {type: local, path: landing, format: xml}, store: a}\n",
    );
    let ran = sandbox.run(&["check", "--offline"]);
    assert!(
        ran.code == 2 && ran.text.contains("the unknown type \"xml\""),
        "{}",
        ran.text
    );
}
