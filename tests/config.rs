//! What a config means, in every form that it may have: compared with the resolved config.

use std::fs;

use serde_json::{Value, json};

use crate::common::files;
use crate::common::sandbox::Sandbox;

/// The config as it was understood; paths are relative to the project.
fn resolved(sandbox: &Sandbox) -> Value {
    let ran = sandbox.run(&["check", "--offline", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let text = ran.event("config")["config"].to_string();
    let root = format!(
        "{}/",
        sandbox.path("").canonicalize().expect("a folder").display()
    );
    serde_json::from_str(&text.replace(&root, "")).expect("JSON")
}

fn of(config: &str) -> Value {
    resolved(&Sandbox::new(config))
}

/// A config, a place in the resolved one, and what is there.
const MEANINGS: &[(&str, &str, &str)] = &[
    // A path, and all else by convention.
    ("flows: {a: {home: h, store: s}}", "/flows/a/home/path", "h"),
    (
        "flows: {a: {home: h, store: s}}",
        "/flows/a/home/glob",
        "*.parquet",
    ),
    (
        "flows: {a: {home: h, store: s}}",
        "/flows/a/store/compression",
        "keep",
    ),
    (
        "flows: {a: {home: h, store: s}}",
        "/flows/a/store/file_pattern",
        "{sequence:020d}.parquet",
    ),
    (
        "flows: {a: {home: h, store: s}}",
        "/flows/a/max_shrink",
        "99%",
    ),
    (
        "flows: {a: {home: {type: parquet, path: h}, store: {type: parquet, path: s}}}",
        "/flows/a/home/path",
        "h",
    ),
    // Options stand for the fields beside them.
    (
        "flows: {a: {home: h, store: {path: s, options: {compression: gzip}}}}",
        "/flows/a/store/compression",
        "gzip",
    ),
    (
        "flows: {a: {home: h, store: {path: s, compression: gzip, options: {compression: gzip}}}}",
        "/flows/a/store/compression",
        "gzip",
    ),
    (
        "flows: {a: {home: h, store: s, options: {queue_size: 7}}}",
        "/flows/a/queue_size",
        "7",
    ),
    (
        "flows: {a: {home: h, store: s, options: {timeout: 600}}}",
        "/flows/a/timeout",
        "\"600s\"",
    ),
    (
        "flows: {a: {home: h, store: s, timeout: 10m}}",
        "/flows/a/timeout",
        "600s",
    ),
    (
        "flows: {a: {home: {path: h, options: {batch_size: 10}}, store: s}}",
        "/flows/a/home/batch_size",
        "10",
    ),
    // Aliases.
    (
        "flows: {a: {home: h, store: {path: s, batch_size: 5}}}",
        "/flows/a/store/rows_per_file",
        "5",
    ),
    (
        "flows: {a: {home: h, store: {path: s, rows_per_file: 1_000}}}",
        "/flows/a/store/rows_per_file",
        "1000",
    ),
    (
        "flows: {a: {home: h, store: s}, b: {home: i, store: t, depends_on: a}}",
        "/flows/b/needs",
        r#"["a"]"#,
    ),
    (
        "defaults: {store: {rows_per_file: 9}}\nflows: {a: {home: h, store: {path: s, batch_size: \
         5}}}",
        "/flows/a/store/rows_per_file",
        "5",
    ),
    // Defaults: the nearer wins, lists are replaced, null unsets.
    (
        "defaults: {store: {compression: zstd}}\nflows: {a: {home: h, store: s}}",
        "/flows/a/store/compression",
        "zstd",
    ),
    (
        "defaults: {store: {compression: zstd}}\nflows: {a: {home: h, store: {path: s, \
         compression: gzip}}}",
        "/flows/a/store/compression",
        "gzip",
    ),
    (
        "defaults: {store: {compression: zstd}}\nflows: {a: {home: h, store: {path: s, \
         compression: null}}}",
        "/flows/a/store/compression",
        "keep",
    ),
    (
        "defaults: {tags: [x, y]}\nflows: {a: {home: h, store: s, tags: [z]}}",
        "/flows/a/tags",
        r#"["z"]"#,
    ),
    (
        "defaults: {tags: [x, y]}\nflows: {a: {home: h, store: s}}",
        "/flows/a/tags",
        r#"["x","y"]"#,
    ),
    (
        "defaults: {tags: [x, y]}\nflows: {a: {home: h, store: s, tags: null}}",
        "/flows/a/tags",
        "[]",
    ),
    (
        "defaults: {home: {batch_size: 3}}\nflows: {a: {home: h, store: s}, b: {home: {flow: a}, \
         store: t}}",
        "/flows/b/home/flow",
        "a",
    ),
    (
        "defaults: {store: {compression: zstd}}\nflows: {a: {home: h, store: s, defaults: {store: \
         {compression: gzip}}, entities: [e]}}",
        "/flows/a/entities/0/store/compression",
        "gzip",
    ),
    (
        "flows: {a: {home: h, store: {path: s, compression: snappy}, defaults: {store: \
         {compression: gzip}}, entities: [e]}}",
        "/flows/a/entities/0/store/compression",
        "snappy",
    ),
    (
        "flows: {a: {home: h, store: s, defaults: {store: {compression: gzip}}, entities: [{name: \
         e, store: {compression: lz4}}]}}",
        "/flows/a/entities/0/store/compression",
        "lz4",
    ),
    // Homes and stores by name.
    (
        "homes: {x: {path: h, glob: 'n*'}}\nflows: {a: {home: x, store: s}}",
        "/flows/a/home/glob",
        "n*",
    ),
    (
        "homes: {x: h}\nflows: {a: {home: x, store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "homes: {x: {path: h, glob: 'n*'}}\nflows: {a: {home: {use: x, glob: 'm*'}, store: s}}",
        "/flows/a/home/glob",
        "m*",
    ),
    (
        "homes: {x: {path: h, glob: 'n*'}}\nflows: {a: {home: {use: x, glob: null}, store: s}}",
        "/flows/a/home/glob",
        "*.parquet",
    ),
    (
        "stores: {o: {path: 'out/{flow}', batch_size: 7}}\n\
         flows: {a: {home: h, store: o}, b: {home: i, store: o}}",
        "/flows/b/store/path",
        "out/b",
    ),
    (
        "stores: {o: {path: 'out/{flow}', batch_size: 7}}\n\
         flows: {a: {home: h, store: o}, b: {home: i, store: o}}",
        "/flows/b/store/rows_per_file",
        "7",
    ),
    (
        "stores: {o: out}\nflows: {a: {home: h, store: o, entities: [e]}}",
        "/flows/a/entities/0/store/path",
        "out/e",
    ),
    // Entities join the paths, or stand where {entity} is.
    (
        "flows: {a: {home: h, store: s, entities: [e]}}",
        "/flows/a/entities/0/home/path",
        "h/e",
    ),
    (
        "flows: {a: {home: h/, store: s/, entities: [e]}}",
        "/flows/a/entities/0/store/path",
        "s/e",
    ),
    (
        "flows: {a: {home: 'h/{entity}.parquet', store: s, entities: [e]}}",
        "/flows/a/entities/0/home/path",
        "h/e.parquet",
    ),
    (
        "flows: {a: {home: {path: h, glob: '{entity}_*.parquet'}, store: s, entities: [e]}}",
        "/flows/a/entities/0/home/path",
        "h",
    ),
    (
        "flows: {a: {home: {path: h, glob: '{entity}_*.parquet'}, store: s, entities: [e]}}",
        "/flows/a/entities/0/home/glob",
        "e_*.parquet",
    ),
    (
        "flows: {a: {home: h, store: s, entities: [{name: e, home: other}]}}",
        "/flows/a/entities/0/home/path",
        "other",
    ),
    (
        "flows: {a: {home: h, store: s, entities: [{name: e, tags: [t]}]}}",
        "/flows/a/entities/0/tags",
        r#"["t"]"#,
    ),
    (
        "flows: {a: {home: h, store: {path: s, file_pattern: '{flow_name}.parquet'}, entities: \
         [e]}}",
        "/flows/a/entities/0/store/file_pattern",
        "a.e.parquet",
    ),
    (
        "flows: {a: {home: h, store: {path: s, file_pattern: '{entity}_{sequence}.parquet'}, \
         entities: [e]}}",
        "/flows/a/entities/0/store/path",
        "s/e",
    ),
    (
        "stores: {o: {path: 'out/{flow}'}}\nflows: {a: {home: h, store: o, entities: [e]}}",
        "/flows/a/entities/0/store/path",
        "out/a.e",
    ),
    (
        "flows: {a: {home: h, store: s, options: {entities: [e]}}}",
        "/flows/a/entities/0/name",
        "e",
    ),
    (
        "flows: {a: {home: h, store: s, entities: [{name: e, home: {flow: b}}]}, b: {home: i, \
         store: t}}",
        "/flows/a/entities/0/home/flow",
        "b",
    ),
    (
        "defaults: {store: {path: 'data/{flow}'}}\nflows: {a: {home: h}}",
        "/flows/a/store/path",
        "data/a",
    ),
    (
        "stores: {lake: {path: 'lake/{flow}'}}\ndefaults: {store: lake}\nflows: {a: {home: h}}",
        "/flows/a/store/path",
        "lake/a",
    ),
    (
        "x-shared: &s {path: s, compression: zstd}\nflows: {a: {home: h, store: *s}}",
        "/flows/a/store/compression",
        "zstd",
    ),
    (
        "flows_dir: null\nflows: {a: {home: h, store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "stores: {o: 'x/{flow}', p: 'y/{flow}'}\nflows: {a: {home: h, store: {use: o}}}",
        "/flows/a/store/path",
        "x/a",
    ),
    (
        "defaults: {home: {flow: b}}\nflows: {a: {home: h, store: s}, b: {home: i, store: t}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "flows: {1.10: {home: h, store: s}, b: {home: i, store: t, needs: '1.10'}}",
        "/flows/b/needs",
        r#"["1.10"]"#,
    ),
    (
        "flows: {9223372036854775808123: {home: h, store: s}}",
        "/flows/9223372036854775808123/home/path",
        "h",
    ),
    (
        "flows: {url: {home: h, store: s}, connections: {home: i, store: t}}",
        "/flows/connections/home/path",
        "i",
    ),
    (
        "defaults: {home: 'h/{flow}', store: 's/{flow}'}\nflows: {a: }",
        "/flows/a/home/path",
        "h/a",
    ),
    (
        "x-db: &db {url: '${NOT_SET}'}\nconnections: {shop: {<<: *db}}\n\
         flows: {a: {home: h, store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "x-note: '${{ github.sha }}'\nflows: {a: {home: h, store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    // Flows that stand for all of their entities, and for the one with the same entity.
    (
        "flows: {a: {home: h, store: s, entities: [e, f]}, b: {home: i, store: t, needs: a}}",
        "/flows/b/needs",
        r#"["a.e","a.f"]"#,
    ),
    (
        "flows: {a: {home: h, store: s, entities: [e]}, b: {home: {flow: a}, store: t, entities: \
         [e]}}",
        "/flows/b/entities/0/home/flow",
        "a.e",
    ),
    (
        "flows: {a: {home: h, store: s, entities: [e]}, b: {home: {flow: 'a.{entity}'}, store: t, \
         entities: [e]}}",
        "/flows/b/entities/0/home/flow",
        "a.e",
    ),
    // Variables are put into texts and never read as YAML.
    (
        "flows: {a: {home: '${HERE}', store: s}}",
        "/flows/a/home/path",
        "[a: {b",
    ),
    (
        "flows: {a: {home: '${NO:-h}', store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "flows: {a: {home: '${EMPTY:-h}', store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "flows: {a: {home: 'x${EMPTY}y', store: s}}",
        "/flows/a/home/path",
        "xy",
    ),
    (
        "flows: {a: {home: '$$${TEN}$', store: s}}",
        "/flows/a/home/path",
        "$$10$$",
    ),
    (
        "flows: {a: {home: h, store: {path: s, rows_per_file: '${TEN}'}}}",
        "/flows/a/store/rows_per_file",
        "10",
    ),
    (
        "options: {continue_on_error: '${OFF}'}\nflows: {a: {home: h, store: s}}",
        "/options/continue_on_error",
        "false",
    ),
    // YAML: anchors, merge keys, line ends, words that are no booleans.
    (
        "x: &s {path: s, compression: zstd}\nflows: {a: {home: h, store: *s}}",
        "",
        "unknown",
    ),
    (
        "flows:\n  a: &a {home: h, store: s}\n  b: {<<: *a, store: t}\n",
        "/flows/b/home/path",
        "h",
    ),
    (
        "flows:\n  a: &a {home: h, store: s}\n  b: {<<: *a, store: t}\n",
        "/flows/b/store/path",
        "t",
    ),
    (
        "flows:\r\n  a:\r\n    home: h\r\n    store: s\r\n",
        "/flows/a/store/path",
        "s",
    ),
    (
        "\u{feff}flows: {a: {home: h, store: s}}",
        "/flows/a/home/path",
        "h",
    ),
    (
        "flows: {a: {home: no, store: y}}",
        "/flows/a/home/path",
        "no",
    ),
    (
        "flows: {a: {home: 007, store: s}}",
        "/flows/a/home/path",
        "007",
    ),
    (
        "flows: {2026: {home: h, store: s}}",
        "/flows/2026/home/path",
        "h",
    ),
];

#[test]
fn a_config_means_what_it_says() {
    for (config, place, expected) in MEANINGS {
        if place.is_empty() {
            // Anchors need a place of their own: a key that hygge knows.
            assert!(
                Sandbox::new(config)
                    .run(&["check", "--offline"])
                    .text
                    .contains("unknown key \"x\"")
            );
            continue;
        }
        let sandbox = Sandbox::new(config);
        let variables = [
            ("HERE", "[a: {b"),
            ("EMPTY", ""),
            ("TEN", "10"),
            ("OFF", "false"),
        ];
        let ran = sandbox.run_with(&variables, &["check", "--offline", "--format", "json"]);
        assert_eq!(ran.code, 0, "{config}\n{}", ran.text);
        let root = format!(
            "{}/",
            sandbox.path("").canonicalize().expect("a folder").display()
        );
        let config_again: Value =
            serde_json::from_str(&ran.event("config")["config"].to_string().replace(&root, ""))
                .expect("JSON");
        let found = config_again
            .pointer(place)
            .unwrap_or_else(|| panic!("{place} is not in {config_again} of {config}"));
        let found = found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_string);
        assert_eq!(found, expected.trim_matches('"'), "{place} of {config}");
    }
}

/// Every config that is resolved, written out and read again is the same.
#[test]
fn a_resolved_config_is_a_config_that_means_the_same() {
    for (config, place, _) in MEANINGS.iter().filter(|(_, place, _)| !place.is_empty()) {
        let sandbox = Sandbox::new(config);
        let variables = [
            ("HERE", "[a: {b"),
            ("EMPTY", ""),
            ("TEN", "10"),
            ("OFF", "false"),
        ];
        let first = sandbox
            .run_with(&variables, &["check", "--offline", "--format", "json"])
            .event("config")["config"]
            .to_string();
        sandbox.write("hygge.yml", &first);
        let second = sandbox.run(&["check", "--offline", "--format", "json"]);
        assert_eq!(second.code, 0, "{place}: {first}\n{}", second.text);
        assert_eq!(
            second.event("config")["config"].to_string(),
            first,
            "{config}"
        );
    }
}

#[test]
fn one_file_and_a_project_folder_are_the_same_config() {
    let one = of(
        "name: p\ndefaults: {store: {compression: zstd}}\nflows:\n  \
         a: {home: h, store: s, defaults: {tags: [x]}, entities: [{name: e}, {name: f, store: \
         {rows_per_file: 9}}]}\n  b: {home: {flow: a.e}, store: t}\n",
    );
    let sandbox = Sandbox::new("name: p\ndefaults: {store: {compression: zstd}}\n");
    sandbox.write(
        "flows/a/flow.yml",
        "name: a\nhome: h\nstore: s\ndefaults: {tags: [x]}\n",
    );
    sandbox.write("flows/a/entities/e.yml", "");
    sandbox.write(
        "flows/a/entities/f.yml",
        "name: f\nstore: {rows_per_file: 9}\n",
    );
    sandbox.write("flows/b/flow.yml", "home: {flow: a.e}\nstore: t\n");
    assert_eq!(resolved(&sandbox), one);
    fs::rename(sandbox.path("flows"), sandbox.path("other")).expect("a rename");
    sandbox.write(
        "hygge.yml",
        "name: p\nflows_dir: other\ndefaults: {store: {compression: zstd}}\n",
    );
    assert_eq!(resolved(&sandbox), one);
    sandbox.write(
        "hygge.yml",
        "name: p\nflows_dir: other\ndefaults: {store: {compression: zstd}}\nflows:\n  \
         c: {home: i, store: u}\n",
    );
    assert_eq!(
        resolved(&sandbox)["flows"]
            .as_object()
            .expect("flows")
            .len(),
        3,
        "both forms at once"
    );
}

#[test]
fn one_flow_in_both_forms_is_refused() {
    let sandbox = Sandbox::new("flows:\n  a: {home: h, store: s}\n");
    sandbox.write("flows/a/flow.yml", "home: i\nstore: t\n");
    sandbox.write("flows/a/entities/e.yml", "");
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    assert!(
        ran.text.contains("two flows are called a")
            && ran.text.contains("flows/a/flow.yml:1:1")
            && ran.text.contains("hygge.yml:2:3"),
        "{}",
        ran.text
    );
}

#[test]
fn what_lies_beside_and_is_not_read_is_said() {
    let sandbox = Sandbox::new("flows:\n  b: {home: i, store: t}\n");
    for name in [
        "flows/a/flow.yml",
        "flows/loose.yml",
        "flows/a/entity/x.yml",
        "flows/c/flows.yml",
        "flows/d/flow.YML",
    ] {
        sandbox.write(name, "home: h\nstore: s\n");
    }
    let ran = sandbox.run(&["check", "--offline"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    for stray in [
        "flows/loose.yml is not read",
        "flows/a/entity/x.yml is not read",
        "flows/c/flows.yml is not read",
        "flows/d/flow.YML is not read",
    ] {
        assert!(ran.text.contains(stray), "{stray} is not in {}", ran.text);
    }
}

#[test]
fn a_pattern_makes_one_flow_for_each_that_matches() {
    let sandbox = Sandbox::new(
        "flows:\n  a:\n    store: s\n    entities:\n      - from: \"in/*\"\n        \
         exclude: [tmp*, c.parquet]\n      - {name: b, tags: [own]}\n  \
         z: {home: {glob: \"x*\"}, store: t, entities: {from: \"deep/*/in/*\"}}\n",
    );
    for name in [
        "in/d/1.parquet",
        "in/b/1.parquet",
        "in/tmp1/x",
        "in/_hidden/x",
        "deep/1/in/p/x1.parquet",
        "deep/2/in/q/x1.parquet",
    ] {
        sandbox.sample("north", name);
    }
    sandbox.sample("east", "in/a.parquet");
    sandbox.sample("east", "in/c.parquet");
    let config = resolved(&sandbox);
    let entities = config["flows"]["a"]["entities"]
        .as_array()
        .expect("entities");
    let found: Vec<_> = entities
        .iter()
        .map(|entity| {
            (
                entity["name"].clone(),
                entity["home"]["path"].clone(),
                entity["tags"].clone(),
            )
        })
        .collect();
    let expected = [
        ("a", "in/a.parquet", json!([])),
        ("b", "in/b", json!(["own"])),
        ("d", "in/d", json!([])),
    ];
    let mut found: Vec<String> = found
        .iter()
        .map(|entity| json!(entity).to_string())
        .collect();
    found.sort();
    assert_eq!(found, expected.map(|entity| json!(entity).to_string()));
    assert_eq!(
        config["flows"]["z"]["entities"][1]["home"]["path"],
        "deep/2/in/q"
    );
    let nowhere =
        Sandbox::new("flows:\n  a: {store: s, entities: {from: \"nowhere/*\", if_empty: skip}}\n");
    assert!(
        nowhere
            .run(&["build", "a"])
            .text
            .contains("flow a has no entities")
    );
    let none = nowhere.run(&["build"]);
    assert!(
        none.code == 0
            && none
                .text
                .contains("warning: flow a has no entities: nothing is built of it"),
        "{}",
        none.text
    );
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(sandbox.digests("s/a").len(), 1);
    sandbox.sample("north", "in/new/1.parquet");
    assert_eq!(sandbox.build(&[]).code, 0);
    assert_eq!(
        sandbox.digests("s/new").len(),
        1,
        "the next build sees what came"
    );
}

#[test]
fn entities_are_selected_by_flow_and_by_entity() {
    let sandbox = Sandbox::new(
        "flows:\n  a: {home: \"home/{entity}.parquet\", store: a, entities: [north, south]}\n  \
         b: {home: {flow: a}, store: b, entities: [north]}\n",
    );
    sandbox.sample("north", "home/north.parquet");
    sandbox.sample("south", "home/south.parquet");
    let planned = |arguments: &[&str]| {
        let ran = sandbox.build(&[&["--dry-run"], arguments].concat());
        let flows = ran.events.iter().filter(|event| event["event"] == "plan");
        let mut flows: Vec<_> = flows
            .map(|event| event["flow"].as_str().expect("a flow").to_string())
            .collect();
        flows.sort();
        flows.join(" ")
    };
    assert_eq!(planned(&["a"]), "a.north a.south");
    assert_eq!(planned(&["north", "--only"]), "a.north b.north");
    assert_eq!(planned(&["a.south"]), "a.south");
    assert_eq!(planned(&["a,south"]), "a.south");
    assert_eq!(planned(&["b"]), "a.north b.north");
}

/// A flow, its store, and how many files it has.
type Made = (&'static str, &'static str, usize);

/// The four configs that came with the Python hygge, as they are but for its comments.
const OF_PYTHON: &[(&str, &[Made])] = &[
    (
        "flows:\n  minimal_flow:\n    home: data/source.parquet\n    store: data/destination\n",
        &[("minimal_flow", "data/destination", 1)],
    ),
    (
        "flows:\n  simple_flow:\n    home: data/source.parquet\n    store: data/destination\n",
        &[("simple_flow", "data/destination", 1)],
    ),
    (
        "flows:
  users_flow:
    home: data/users.parquet
    store: data/lake/users

  orders_flow:
    home: data/orders.parquet
    store:
      path: data/lake/orders
      options:
        compression: gzip
    options:
      queue_size: 8

  products_flow:
    home: data/products.parquet
    store:
      path: data/lake/products
      options:
        compression: lz4
    options:
      queue_size: 3

  analytics_flow:
    home:
      type: parquet
      path: data/analytics.parquet
      options:
        batch_size: 15000
    store:
      type: parquet
      path: data/lake/analytics
      options:
        batch_size: 50000
        compression: zstd
        file_pattern: \"analytics_{flow_name}_{sequence:020d}.parquet\"
    options:
      queue_size: 5
",
        &[
            ("users_flow", "data/lake/users", 1),
            ("orders_flow", "data/lake/orders", 1),
            ("products_flow", "data/lake/products", 1),
            ("analytics_flow", "data/lake/analytics", 3),
        ],
    ),
    (
        "flows:
  users_flow:
    home:
      type: parquet
      path: data/users.parquet
      options:
        batch_size: 10000
    store:
      type: parquet
      path: data/lake/users
      options:
        batch_size: 100000
        compression: snappy
        file_pattern: \"users_{sequence:020d}.parquet\"

  large_dataset:
    home:
      type: parquet
      path: data/large_dataset.parquet
      options:
        batch_size: 25000
    store:
      type: parquet
      path: data/lake/large_dataset
      options:
        batch_size: 200000
        compression: zstd
        file_pattern: \"large_dataset_{sequence:020d}.parquet\"
    options:
      queue_size: 15

  orders_flow:
    home:
      type: parquet
      path: data/orders.parquet
      options:
        batch_size: 15000
    store:
      type: parquet
      path: data/lake/orders
      options:
        batch_size: 75000
        compression: gzip
        file_pattern: \"orders_{sequence:020d}.parquet\"
    options:
      queue_size: 8
",
        &[
            ("users_flow", "data/lake/users", 1),
            ("large_dataset", "data/lake/large_dataset", 1),
            ("orders_flow", "data/lake/orders", 2),
        ],
    ),
];

#[test]
fn the_configs_of_the_python_hygge_run_as_they_are() {
    for (config, flows) in OF_PYTHON {
        let sandbox = Sandbox::new(config);
        for name in [
            "source",
            "users",
            "orders",
            "products",
            "analytics",
            "large_dataset",
        ] {
            files::ints(&sandbox, &format!("data/{name}.parquet"), 0..150_000);
        }
        let ran = sandbox.build(&[]);
        assert_eq!(ran.code, 0, "{}", ran.text);
        for (flow, store, parts) in *flows {
            assert_eq!(ran.outcome(flow), "built");
            let made: Vec<String> = sandbox.digests(store).into_keys().collect();
            assert_eq!(made.len(), *parts, "{flow}: {made:?}");
            let rows: usize = made
                .iter()
                .map(|name| files::read(&sandbox, &format!("{store}/{name}")).rows)
                .sum();
            assert_eq!(rows, 150_000, "{flow}");
        }
        assert_eq!(
            sandbox.build(&[]).event("build_finished")["fresh"],
            flows.len()
        );
        if sandbox.path("data/lake/analytics").exists() {
            assert!(
                sandbox
                    .digests("data/lake/analytics")
                    .contains_key("analytics_analytics_flow_00000000000000000001.parquet")
            );
        }
    }
}

#[test]
fn paths_stay_in_the_project_where_that_is_asked_for() {
    let confined =
        |flows: &str| Sandbox::new(&format!("options: {{confine: true}}\nflows:\n{flows}"));
    assert_eq!(
        confined("  a: {home: h, store: s}\n")
            .run(&["check", "--offline"])
            .code,
        0
    );
    for (flows, word) in [
        (
            "  a: {home: ../h, store: s}\n",
            "the home of flow a leaves the folder",
        ),
        (
            "  a: {home: h, store: /tmp/elsewhere}\n",
            "the store of flow a leaves the folder",
        ),
        (
            "  a: {home: x/../../h, store: s}\n",
            "the home of flow a leaves the folder",
        ),
    ] {
        let ran = confined(flows).run(&["check", "--offline"]);
        assert_eq!(ran.code, 2, "{}", ran.text);
        assert!(
            ran.text.contains(word) && ran.text.contains("hygge.yml:3:"),
            "{}",
            ran.text
        );
    }
    let outside = Sandbox::new(
        "options: {confine: true, env_file: ../x.env}\nflows_dir: ../nowhere\n\
         flows: {a: {home: h, store: s, tags: [x]}}\n",
    );
    fs::write(outside.path("../x.env"), "A=1\n").expect("a file");
    let ran = outside.run(&["check", "--offline"]);
    fs::remove_file(outside.path("../x.env")).expect("a file");
    assert!(
        ran.text
            .contains("hygge.yml:1:36: the config leaves its folder"),
        "{}",
        ran.text
    );
    let linked = confined("  a: {home: link, store: s}\n");
    std::os::unix::fs::symlink("/tmp", linked.path("link")).expect("a link");
    assert!(
        linked
            .run(&["check", "--offline"])
            .text
            .contains("leaves the folder")
    );
}

#[test]
fn confine_holds_for_links_and_for_sqlite() {
    use std::os::unix::fs::symlink;

    let config = |rest: &str| format!("options: {{confine: true{rest}");
    let sandbox = Sandbox::new("");
    sandbox.write("outside/secret.parquet", "");
    crate::common::files::ints(&sandbox, "outside/secret.parquet", 0..10);
    crate::common::files::ints(&sandbox, "in/home/a.parquet", 0..10);
    sandbox.write("outside/my.env", "TAG=x\n");
    sandbox.write("outside/flow.yml", "home: home\nstore: other\n");
    std::fs::create_dir_all(sandbox.path("in/flows/other")).expect("a folder");
    std::fs::create_dir_all(sandbox.path("in/home/deep")).expect("a folder");
    let tried = |config: &str| {
        sandbox.write("in/hygge.yml", config);
        [&["check"][..], &["build"]]
            .map(|command| sandbox.run(&[&["-f", "in/hygge.yml"], command].concat()))
    };
    let plain = config("}\nflows: {a: {home: home, store: out}}\n");
    let deep = config("}\nflows: {a: {home: {path: home, glob: \"**/*.parquet\"}, store: out}}\n");
    // A link that stays inside is none that leaves.
    symlink("../data.parquet", sandbox.path("in/home/x.parquet")).expect("a link");
    crate::common::files::ints(&sandbox, "in/data.parquet", 0..5);
    assert!(tried(&plain).iter().all(|ran| ran.code == 0));
    let refused = |config: &str, what: &str| {
        for ran in tried(config) {
            assert!(ran.code == 1 || ran.code == 2, "{what}: {}", ran.text);
            assert!(
                ran.text.contains(what) && ran.text.contains("options.confine: true asks for that"),
                "{what}: {}",
                ran.text
            );
        }
    };
    for (link, to, config) in [
        ("home/b.parquet", "../../outside/secret.parquet", &plain),
        (
            "home/deep/c.parquet",
            "../../../outside/secret.parquet",
            &deep,
        ),
    ] {
        symlink(to, sandbox.path(&format!("in/{link}"))).expect("a link");
        refused(config, "is a link that leaves the folder of the config");
        std::fs::remove_file(sandbox.path(&format!("in/{link}"))).expect("a link");
    }
    symlink("../outside", sandbox.path("in/link")).expect("a link");
    for url in ["sqlite:../outside/a.db", "sqlite:link/a.db"] {
        let connection = format!("}}\nconnections: {{x: {{url: \"{url}\"}}}}\n");
        refused(
            &config(&format!(
                "{connection}flows: {{b: {{home: home, store: {{connection: x, table: t}}}}}}\n"
            )),
            "lies outside of the folder of the config",
        );
        sandbox.write("outside/a.db", "");
        refused(
            &config(&format!(
                "{connection}flows: {{b: {{home: {{connection: x, table: t}}, store: out/b}}}}\n"
            )),
            "lies outside of the folder of the config",
        );
        assert_eq!(
            std::fs::read(sandbox.path("outside/a.db")).expect("a file"),
            b"",
            "it is not written"
        );
        std::fs::remove_file(sandbox.path("outside/a.db")).expect("a file");
    }
    symlink("../outside/my.env", sandbox.path("in/my.env")).expect("a link");
    refused(
        &config(", env_file: my.env}\nflows: {a: {home: home, store: out, tags: [\"${TAG}\"]}}\n"),
        "leaves its folder by a link",
    );
    symlink(
        "../../../outside/flow.yml",
        sandbox.path("in/flows/other/flow.yml"),
    )
    .expect("a link");
    refused(&plain, "leaves its folder by a link");
    std::fs::remove_file(sandbox.path("in/flows/other/flow.yml")).expect("a link");
    // A database inside is filled.
    let inside = "}\nconnections: {x: {url: \"sqlite:my.db\"}}\n\
                  flows: {b: {home: home, store: {connection: x, table: t}}}\n";
    let ran = tried(&config(inside));
    assert!(
        ran.iter().all(|ran| ran.code == 0),
        "{}{}",
        ran[0].text,
        ran[1].text
    );
}

#[test]
fn a_variable_that_is_no_text_or_empty_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new("flows: {a: {home: home, store: \"${OUT:-st}/x\"}}\n");
    sandbox.sample("north", "home/a.parquet");
    let run = |name: &str, value: &[u8], arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hygge"));
        command
            .args(arguments)
            .current_dir(sandbox.path(""))
            .env_clear()
            .env(name, OsStr::from_bytes(value));
        let ran = command.output().expect("the binary runs");
        (
            ran.status.code(),
            String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned(),
        )
    };
    let (code, text) = run("OUT", b"/mnt/\xff", &["build"]);
    assert!(
        code == Some(2) && text.contains("the value of the variable OUT is not UTF-8"),
        "{text}"
    );
    assert!(!sandbox.path("st").exists());
    assert_eq!(
        run("OTHER", b"\xff", &["build"]).0,
        Some(0),
        "what nobody uses may be anything"
    );
    let config = |url: &str| {
        format!(
            "connections: {{shop: {{url: \"{url}\"}}}}\n\
             flows: {{a: {{home: {{connection: shop, table: t}}, store: st}}}}\n"
        )
    };
    for (url, name, value, said) in [
        (
            "${SHOP}",
            "SHOP",
            &b"\xff"[..],
            "the value of the variable SHOP is not UTF-8",
        ),
        ("${SHOP}", "SHOP", b"", "the variable SHOP is empty"),
        (
            "sqlite:x.db",
            "HYGGE_CONNECTION_SHOP",
            b"",
            "the variable HYGGE_CONNECTION_SHOP is empty",
        ),
        (
            "sqlite:x.db",
            "HYGGE_CONNECTION_SHOP",
            b"sqlite:\xff",
            "the value of the variable HYGGE_CONNECTION_SHOP is not UTF-8",
        ),
        ("", "OTHER", b"", "its URL is empty"),
    ] {
        sandbox.write("hygge.yml", config(url));
        for arguments in [&["check"][..], &["build"]] {
            let (code, text) = run(name, value, arguments);
            assert!(
                code == Some(1) && text.contains(said),
                "{said} is not in {text}"
            );
        }
    }
    // One of the environment alone.
    sandbox.write(
        "hygge.yml",
        config("sqlite:x.db").replace("connections: {shop: {url: \"sqlite:x.db\"}}\n", ""),
    );
    let (code, text) = run("HYGGE_CONNECTION_SHOP", b"\xff", &["build"]);
    assert!(
        code == Some(1)
            && text.contains("the value of the variable HYGGE_CONNECTION_SHOP is not UTF-8"),
        "{text}"
    );
}

#[test]
fn a_connection_that_no_flow_uses_may_have_no_file() {
    let sandbox = Sandbox::new(
        "connections: {old: {url: \"sqlite:old.db\"}}\nflows: {a: {home: home, store: st}}\n",
    );
    sandbox.sample("north", "home/a.parquet");
    let ran = sandbox.run(&["check"]);
    assert!(
        ran.code == 0
            && ran
                .text
                .contains("no flow uses it, and its file is not there"),
        "{}",
        ran.text
    );
}
