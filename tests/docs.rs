//! The documentation says what the types say: its tables are made from the schema, its examples are
//! read.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::sandbox::Sandbox;

/// The headings of docs/config.md that have a table, and where in the schema the block is.
const BLOCKS: &[(&str, &str)] = &[
    ("## Top level", ""),
    ("## `options`", "/$defs/options"),
    ("### `options.cache`", "/$defs/cache"),
    ("## A flow", "/$defs/flow"),
    ("### Changed columns", "/$defs/on_drift"),
    ("### An entity", "/$defs/entity"),
    ("### A pattern of entities", "/$defs/pattern"),
    ("## `home` of files", "/$defs/home/anyOf/0"),
    ("### A home of CSV", "/$defs/home/anyOf/2"),
    ("## `home` of another flow", "/$defs/home/anyOf/3"),
    ("## `home` in a database", "/$defs/home/anyOf/4"),
    ("### A slice", "/$defs/slice"),
    ("### A probe", "/$defs/probe"),
    ("### A watermark", "/$defs/watermark"),
    ("## `store` of files", "/$defs/store/anyOf/0"),
    ("### A store of Arrow IPC", "/$defs/store/anyOf/1"),
    ("### A store of CSV", "/$defs/store/anyOf/2"),
    ("## `store` in a database", "/$defs/store/anyOf/3"),
    ("## A connection", "/$defs/connection"),
];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a page")
}

fn schema() -> Value {
    serde_json::from_str(&Sandbox::new("").run(&["schema"]).text).expect("JSON")
}

/// The table of a block, as the page should have it.
fn table(schema: &Value, place: &str) -> String {
    let mut rows = String::from(
        "| key | type | default | meaning | example |\n| --- | --- | --- | --- | --- |\n",
    );
    let properties = schema.pointer(place).expect("a block")["properties"]
        .as_object()
        .expect("keys");
    let shared = schema["$defs"]["shared"]["properties"]
        .as_object()
        .expect("keys");
    // What all files have is said of parquet.
    let usual = match place {
        "/$defs/store/anyOf/1" => &schema["$defs"]["store"]["anyOf"][0]["properties"],
        "/$defs/home/anyOf/2" => &schema["$defs"]["home"]["anyOf"][0]["properties"],
        _ => &Value::Null,
    };
    for (key, said) in properties
        .iter()
        .filter(|(key, said)| usual[key.as_str()] != **said)
    {
        // What an entity has of a flow is said of the flow.
        if place == "/$defs/entity" && shared.contains_key(key) {
            continue;
        }
        let default = match (&said["x-default"], &said["default"]) {
            (Value::String(words), _) => words.clone(),
            (_, Value::Null) => String::new(),
            (_, value) => format!("`{}`", yaml(value)),
        };
        let example = said["examples"][0].clone();
        let example = if example.is_null() {
            String::new()
        } else {
            format!("`{}`", yaml(&example))
        };
        let meaning = said["description"]
            .as_str()
            .unwrap_or_else(|| panic!("{key} is not described"))
            .trim_end_matches('.');
        let kind = said["x-type"].as_str().expect("a type");
        let is_block = ["cache", "defaults", "options"].contains(&key.as_str());
        assert!(kind != "map" || is_block, "{key} of {place} is no map");
        let row = format!("| `{key}` | {kind} | {default} | {meaning} | {example} |\n");
        rows.push_str(&row.replace("|  |", "| |").replace("|  |", "| |"));
    }
    rows
}

/// A value as it is written on one line of YAML.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text)
            if text.starts_with(['*', '{', '$', '%']) || text.contains([':', '#', '{']) =>
        {
            format!("\"{text}\"")
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(yaml).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(fields) => {
            // Between braces, a comma ends a text.
            let quoted = |value: &Value| match value {
                Value::String(text) if text.contains([',', '(']) => format!("\"{text}\""),
                other => yaml(other),
            };
            format!(
                "{{{}}}",
                fields
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", quoted(value)))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// Every example of a key is YAML, and means what the schema says.
#[test]
fn every_example_of_a_key_is_yaml() {
    let page = read("docs/config.md");
    let mut checked = 0;
    for row in page
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4)
    {
        let cells: Vec<&str> = row.split(" | ").collect();
        let (key, example) = (
            cells[0].trim_start_matches("| ").trim_matches('`'),
            cells[4].trim_end_matches(" |").trim_matches('`'),
        );
        if example.is_empty() || example == "|" {
            continue;
        }
        let parsed = Sandbox::new(&format!(
            "x-any: {{{key}: {example}}}\nflows: {{a: {{home: h, store: s}}}}\n"
        ))
        .run(&["check", "--offline"]);
        assert_eq!(parsed.code, 0, "{key}: {example}: {}", parsed.text);
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

/// Replaces the table behind a heading.
fn with_table(page: &str, heading: &str, table: &str) -> String {
    let start = page
        .find(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("docs/config.md has no heading {heading}"))
        + heading.len()
        + 1;
    let first = start
        + page[start..]
            .find("| key ")
            .unwrap_or_else(|| panic!("{heading} has no table"));
    assert!(
        !page[start..first].contains("\n#"),
        "{heading} has no table of its own"
    );
    let length: usize = page[first..]
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    format!("{}{table}{}", &page[..first], &page[first + length..])
}

/// `HYGGE_UPDATE_DOCS=1` writes the tables anew.
#[test]
fn the_tables_of_the_config_are_those_of_the_types() {
    let (page, schema) = (read("docs/config.md"), schema());
    let mut expected = page.clone();
    for (heading, place) in BLOCKS {
        expected = with_table(&expected, heading, &table(&schema, place));
    }
    if std::env::var_os("HYGGE_UPDATE_DOCS").is_some() {
        fs::write(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md"),
            &expected,
        )
        .expect("a written page");
    } else {
        assert!(
            page == expected,
            "docs/config.md is not what the types say: HYGGE_UPDATE_DOCS=1 tests/run -- docs:: \
             writes it anew"
        );
    }
    assert_eq!(
        page.matches("| key | type |").count(),
        BLOCKS.len(),
        "every table is made"
    );
}

/// The blocks of a language in a page.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    page.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn every_example_of_a_config_is_one() {
    let mut checked = 0;
    for name in ["README.md", "docs/config.md"] {
        let page = read(name);
        for example in blocks(&page, "yaml") {
            let sandbox = Sandbox::new(example);
            sandbox.write(".env", "LAKE=lake\n");
            sandbox.sample("north", "data/home/users/north.parquet");
            let ran = sandbox.run_with(&[("LAKE", "lake")], &["check", "--offline"]);
            assert_eq!(ran.code, 0, "{name}: {example}\n{}", ran.text);
            checked += 1;
        }
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn the_readme_names_every_command_and_every_sample() {
    let (readme, help) = (read("README.md"), Sandbox::new("").run(&["--help"]).text);
    let commands = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        assert!(
            readme.contains(&format!("`hygge {name}")),
            "the readme does not name hygge {name}"
        );
    }
    for sample in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")).expect("samples")
    {
        let name = sample
            .expect("a sample")
            .file_name()
            .to_string_lossy()
            .into_owned();
        assert!(
            readme.contains(&format!("`samples/{name}")),
            "the readme does not name samples/{name}"
        );
    }
}

#[test]
fn the_limits_of_the_docs_are_those_of_the_code() {
    let page = read("docs/config.md");
    let limits = [
        format!("{} MiB", hygge::config::config_file::MAX_FILE_BYTES >> 20),
        format!(
            "{},000,000\nvalues",
            hygge::config::yaml::MAX_VALUES / 1_000_000
        ),
        format!("{} levels", hygge::config::yaml::MAX_DEPTH),
    ];
    for limit in limits {
        assert!(page.contains(&limit), "{limit} is not in docs/config.md");
    }
}

#[test]
fn every_link_within_the_page_leads_somewhere() {
    let page = read("docs/config.md");
    let slug = |heading: &str| {
        let kept = heading
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect();
    let links: Vec<&str> = page
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 5);
    for link in links {
        assert!(
            headings.iter().any(|heading| heading == link),
            "#{link} is no heading"
        );
    }
}

#[test]
fn the_placeholders_of_the_docs_are_those_that_are_known() {
    let page = read("docs/config.md");
    let table = page.split("## Placeholders").nth(1).expect("a section");
    let rows = table.lines().filter(|line| line.starts_with("| `{"));
    let mut checked = 0;
    for placeholder in rows.flat_map(|row| {
        row.split('|')
            .nth(1)
            .unwrap_or_default()
            .split('`')
            .filter(|word| word.starts_with('{'))
    }) {
        let sandbox = Sandbox::new(&format!(
            "flows:\n  a: {{home: h, store: {{path: s, file_pattern: \
             \"{placeholder}.parquet\"}}}}\n"
        ));
        assert_eq!(
            sandbox.run(&["check", "--offline"]).code,
            0,
            "{placeholder}"
        );
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

/// Each promise names tests that there are.
#[test]
fn promises_are_held_by_tests() {
    let page = read("docs/promises.md");
    let names: Vec<(&str, &str)> = page
        .split('`')
        .filter_map(|word| word.split_once("::"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for (module, name) in names {
        let tests = read(&format!("tests/{module}.rs"));
        assert!(
            tests.contains(&format!("fn {name}(")),
            "docs/promises.md: there is no test {name} in tests/{module}.rs"
        );
    }
}
