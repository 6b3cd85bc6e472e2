//! What is said of configs that are wrong in ways that YAML, or another program's habits, lead to.

use crate::common::sandbox::{CommandOutput, Sandbox};

/// Checks a config without asking anything.
fn checked(config: &str) -> CommandOutput {
    Sandbox::new(config).run(&["check", "--offline"])
}

/// A config is wrong: these words are said, and those are not; so many problems there are.
fn wrong(config: &str, problems: usize, said: &[&str], unsaid: &[&str]) {
    let ran = checked(config);
    assert_eq!(ran.code, 2, "{config}: {}", ran.text);
    for word in said {
        assert!(
            ran.text.contains(word),
            "{word} is not said of {config}: {}",
            ran.text
        );
    }
    for word in unsaid {
        assert!(
            !ran.text.contains(word),
            "{word} is said of {config}: {}",
            ran.text
        );
    }
    let count = if problems == 1 {
        "1 problem in".to_string()
    } else {
        format!("{problems} problems in")
    };
    assert!(ran.text.contains(&count), "{config}: {}", ran.text);
}

#[test]
fn signs_that_yaml_takes_for_something_else_are_said() {
    let anchor = "begins with &, which YAML takes for an anchor";
    wrong(
        "flows:\n  n:\n    home: &data/in\n    store: out\n",
        1,
        &[
            "hygge.yml:3:11: home begins with &",
            anchor,
            "put it in quotes: \"&data/in\"",
        ],
        &["is nothing"],
    );
    wrong(
        "flows: {n: {home: in, store: &out}}\n",
        1,
        &["hygge.yml:1:30: store begins", "\"&out\""],
        &["is nothing"],
    );
    wrong(
        "flows: {n: {home: {path: in, glob: &x.parquet }, store: out}}\n",
        1,
        &["glob begins with &"],
        &[],
    );
    wrong(
        "flows: {n: {home: !data/in, store: out}}\n",
        1,
        &["home begins with !, which YAML takes for a tag"],
        &["is nothing"],
    );
    let used = checked("x-a: &none\nflows: {n: {home: in, store: out, tags: *none}}\n");
    assert_eq!(used.code, 0, "{}", used.text);
}

#[test]
fn a_connection_that_is_written_wrong_is_not_called_missing() {
    let flow = "flows: {o: {home: {connection: shop, table: orders}, store: out}}\n";
    let missing = ["which is not in the config"];
    wrong(
        &format!("connections: {{shop: \"sqlite:shop.db\"}}\n{flow}"),
        1,
        &["shop"],
        &missing,
    );
    wrong(
        &format!("connections: {{shop: {{pool_size: 3}}}}\n{flow}"),
        1,
        &["connection shop has no url"],
        &missing,
    );
    wrong(
        &format!("connections: {{shop: {{url: [a]}}}}\n{flow}"),
        1,
        &["shop"],
        &missing,
    );
    wrong(
        &format!("connections: {{other: {{url: \"sqlite:shop.db\"}}}}\n{flow}"),
        1,
        &missing,
        &[],
    );
}

#[test]
fn types_that_hygge_does_not_know_are_one_message() {
    let connection = "connections: {s: {url: \"sqlite:shop.db\"}}\n";
    let flow = |home: &str| format!("{connection}flows: {{o: {{home: {home}, store: out}}}}\n");
    let phantom = ["key \"path\"", "unknown key"];
    wrong(
        &flow("{type: postgres, connection: s, table: orders}"),
        1,
        &[
            "unknown type \"postgres\"",
            "stands in the URL of its connection",
        ],
        &phantom,
    );
    wrong(
        &flow("{type: mssql, connection: s, table: orders}"),
        1,
        &[
            "that is SQL Server, which hygge does not speak to",
            "MariaDB",
        ],
        &phantom,
    );
    wrong(
        &flow("{type: mssql, server: h, database: d, schema: dbo, driver: x}"),
        1,
        &["unknown type \"mssql\"", "SQL Server"],
        &phantom,
    );
    wrong(
        &flow("{type: avro, path: in, delimiter: \";\"}"),
        1,
        &["unknown type \"avro\"", "Avro is not read from files here"],
        &phantom,
    );
    wrong(
        &flow("{type: parkuet, path: in, globb: x}"),
        1,
        &["did you mean parquet?"],
        &[],
    );
    let store = "connections: {s: {url: \"sqlite:shop.db\"}}\n\
                 flows: {o: {home: in, store: {type: mysql, connection: s, table: t}}}\n";
    wrong(store, 1, &["unknown type \"mysql\""], &phantom);
    // The connection of another program.
    let foreign = "connections:\n  shop:\n    type: mssql\n    server: h\n    database: d\n    \
                   driver: x\n    pool_size: 3\n    timeout: 30\n\
                   flows: {o: {home: {connection: shop, table: orders}, store: out}}\n";
    wrong(
        foreign,
        1,
        &["connection shop is for SQL Server, which hygge does not speak to"],
        &["unknown key", "not in the config"],
    );
    wrong(
        &foreign.replace("mssql", "postgres"),
        1,
        &["connection shop has no url"],
        &["unknown key", "not in the config"],
    );
}

#[test]
fn places_without_a_secret_are_shown() {
    for path in [
        "s3://bucket/data",
        "https://example.org/x.parquet",
        "gs://bucket/a b",
    ] {
        let ran = Sandbox::new(&format!("flows: {{s: {{home: \"{path}\", store: out}}}}\n"))
            .run(&["check", "--format", "json"]);
        assert!(
            ran.code != 0 && ran.text.contains(path),
            "{path} is not shown: {}",
            ran.text
        );
    }
    // In a problem, lines are shown; what may have a secret in it is covered, and its quote is
    // closed.
    for (path, secret) in [
        ("postgres://bob:hunter2@h/db", "hunter2"),
        ("s3://KEYKEY:hunter2@bucket/x", "hunter2"),
        ("https://h/x?sig=hunter2", "hunter2"),
    ] {
        let ran = checked(&format!(
            "flows: {{s: {{home: in, stor: \"{path}\", store: out}}}}\n"
        ));
        assert!(
            ran.code == 2 && !ran.text.contains(secret) && ran.text.contains("*\", store"),
            "{path}: {}",
            ran.text
        );
    }
    let ran = checked("flows: {s: {home: \"s3://bucket/data\", stor: x, store: out}}\n");
    assert!(
        ran.text.contains("\"s3://bucket/data\", stor"),
        "{}",
        ran.text
    );
}

#[test]
fn what_the_schema_says_of_booleans_is_what_is_read() {
    let schema: serde_json::Value =
        serde_json::from_str(&Sandbox::new("").run(&["schema"]).text).expect("a schema");
    let confine = &schema["$defs"]["options"]["properties"]["confine"]["anyOf"];
    let patterns: Vec<&str> = confine
        .as_array()
        .expect("choices")
        .iter()
        .filter_map(|one| one["pattern"].as_str())
        .collect();
    assert_eq!(patterns, [r"\$\{|^(true|false)$"]);
    for (word, code) in [("'true'", 0), ("false", 0), ("'yes'", 2), ("'True'", 2)] {
        assert_eq!(
            checked(&format!(
                "options: {{confine: {word}}}\nflows: {{a: {{home: h, store: s}}}}\n"
            ))
            .code,
            code,
            "{word}"
        );
    }
}
