//! Every sample is built end to end, and what it made is compared with what it should make.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::Sandbox;
use crate::common::{files, tree};

/// A store below data/store, its rows, and how many files it has.
type Made = (&'static str, usize, usize);

/// A sample's config, and its stores below data/store: rows, files.
const SAMPLES: &[(&str, &[Made])] = &[
    ("minimal.yml", &[("minimal", 820, 4)]),
    ("simple.yml", &[("simple", 820, 2)]),
    (
        "several_flows.yml",
        &[
            ("several_flows/all", 820, 4),
            ("several_flows/north", 180, 1),
            ("several_flows/packed", 820, 1),
        ],
    ),
    (
        "advanced.yml",
        &[("advanced/numbers", 820, 6), ("advanced/copies", 820, 6)],
    ),
    (
        "entities.yml",
        &[
            ("entities/named/north", 180, 1),
            ("entities/named/south", 140, 1),
            ("entities/found/east", 230, 1),
            ("entities/found/west", 270, 1),
            ("entities/again/north", 180, 1),
            ("entities/again/south", 140, 1),
        ],
    ),
    (
        "chain.yml",
        &[
            ("chain/raw", 820, 4),
            ("chain/packed", 820, 1),
            ("chain/shared", 820, 1),
            ("chain/last", 180, 1),
        ],
    ),
    (
        "formats.yml",
        &[
            ("formats/arrow", 820, 4),
            ("formats/stream", 820, 3),
            ("formats/parquet", 820, 3),
            ("formats/people", 4, 1),
            ("formats/export", 4, 1),
        ],
    ),
    (
        "database.yml",
        &[
            ("database/months", 600, 13),
            ("database/added", 600, 2),
            ("database/report", 40, 1),
        ],
    ),
    (
        "shapes.yml",
        &[("shapes/paid", 410, 1), ("shapes/few", 335, 4)],
    ),
    (
        "folders.yml",
        &[
            ("folders/orders", 600, 2),
            ("folders/again", 600, 2),
            ("folders/paid", 558, 1),
            ("folders/mirror/customers", 40, 1),
        ],
    ),
    ("variables.yml", &[("variables", 180, 1)]),
    (
        "project/hygge.yml",
        &[
            ("project/landing/north", 180, 1),
            ("project/landing/south", 140, 1),
            ("project/packed", 180, 1),
        ],
    ),
    ("make/hygge.yml", &[("make", 820, 4)]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The samples and their data in a project of its own.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new("");
    for folder in ["samples", "data/home"] {
        for file in tree::files(&root().join(folder)) {
            let name = file
                .strip_prefix(root())
                .expect("a file of the repository")
                .to_str()
                .expect("UTF-8");
            sandbox.write(name, fs::read(&file).expect("a file"));
        }
    }
    sandbox
}

#[test]
fn every_sample_is_built_and_has_every_row() {
    let sandbox = sandbox();
    for (sample, stores) in SAMPLES {
        let config = format!("samples/{sample}");
        let checked = sandbox.run(&["-f", &config, "check", "--offline"]);
        assert_eq!(checked.code, 0, "{sample}: {}", checked.text);
        let built = sandbox.run(&["-f", &config, "build"]);
        assert_eq!(built.code, 0, "{sample}: {}", built.text);
        for (store, rows, parts) in *stores {
            let folder = format!("data/store/{store}");
            let made: Vec<String> = sandbox.digests(&folder).into_keys().collect();
            assert_eq!(made.len(), *parts, "{sample}: {made:?}");
            let found: usize = made
                .iter()
                .map(|name| count(&sandbox, &format!("{folder}/{name}")))
                .sum();
            assert_eq!(found, *rows, "{sample}: {store}");
        }
        let again = sandbox.run(&["-f", &config, "build"]);
        assert!(
            again.text.starts_with("hygge: nothing to do"),
            "{sample}: {}",
            again.text
        );
        let checked = sandbox.run(&["-f", &config, "check"]);
        assert_eq!(checked.code, 0, "{sample}: {}", checked.text);
    }
}

/// How many rows a file has.
fn count(sandbox: &Sandbox, name: &str) -> usize {
    if name.ends_with(".parquet") {
        return files::read(sandbox, name).rows;
    }
    let script = if name.ends_with(".csv.gz") {
        "import csv, gzip, sys; print(len(list(csv.DictReader(gzip.open(sys.argv[1], 'rt', newline='')))))"
    } else {
        "import pyarrow.ipc as ipc, sys; path = sys.argv[1]; is_file = open(path, \
         'rb').read(6) == b'ARROW1'; \
         print((ipc.open_file if is_file else ipc.open_stream)(path).read_all().num_rows)"
    };
    let read = peers::run(script, &[sandbox.path(name).as_os_str()]);
    String::from_utf8_lossy(&read.stdout)
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{name}: {}", String::from_utf8_lossy(&read.stderr)))
}

#[test]
fn what_the_samples_move_is_what_other_readers_find() {
    let sandbox = sandbox();
    let home = sandbox.path("data/home/numbers");
    for sample in ["advanced.yml", "chain.yml", "formats.yml", "simple.yml"] {
        assert_eq!(
            sandbox
                .run(&["-f", &format!("samples/{sample}"), "build"])
                .code,
            0,
            "{sample}"
        );
    }
    let pairs = [
        "advanced/numbers",
        "chain/shared",
        "formats/parquet",
        "simple",
    ]
    .map(|store| (home.clone(), sandbox.path(&format!("data/store/{store}"))));
    peers::compare_all(&pairs, &["--values-only"]);
}

#[test]
fn no_sample_is_forgotten() {
    let is_config = |file: &PathBuf| {
        file.extension().is_some_and(|ending| ending == "yml")
            && !file.components().any(|part| part.as_os_str() == "flows")
    };
    let found: Vec<PathBuf> = tree::files(&root().join("samples"))
        .into_iter()
        .filter(is_config)
        .collect();
    let names = found.iter().map(|file| {
        file.strip_prefix(root().join("samples"))
            .expect("a sample")
            .to_str()
            .expect("UTF-8")
    });
    for name in names {
        assert!(
            SAMPLES.iter().any(|(sample, _)| *sample == name),
            "{name} is not tested"
        );
    }
    assert_eq!(found.len(), SAMPLES.len());
}

/// What a file of a config is for, as the schema calls it.
fn kind(file: &Path) -> &'static str {
    match (
        file.file_name().and_then(OsStr::to_str),
        file.components().any(|part| part.as_os_str() == "entities"),
    ) {
        (_, true) => "entity",
        (Some("flow.yml"), _) => "flow",
        _ => "project",
    }
}

fn validate(schema: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut arguments: Vec<OsString> = vec![schema.into()];
    for file in files {
        arguments.extend([kind(file).into(), file.into()]);
    }
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let output = peers::python("validate.py", &arguments);
    assert_success(&output);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_string)
        .collect()
}

#[test]
fn every_sample_fits_the_schema_and_an_unknown_key_does_not() {
    let sandbox = Sandbox::new("");
    let schema = sandbox.run(&["schema"]);
    sandbox.write("schema.json", &schema.text);
    let mut configs: Vec<PathBuf> = tree::files(&root().join("samples"))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "yml"))
        .collect();
    assert_eq!(sandbox.run(&["init", "begun"]).code, 0);
    configs.push(sandbox.path("begun/hygge.yml"));
    for (file, found) in configs
        .iter()
        .zip(validate(&sandbox.path("schema.json"), &configs))
    {
        assert_eq!(found, "ok", "{}", file.display());
    }
    assert!(configs.len() > 10);
    let wrong = [
        "nam: x\nflows: {}\n",
        "flows:\n  a: {home: x, store: y, stor: z}\n",
        "flows:\n  a: {home: {path: x, globb: y}, store: y}\n",
        "flows:\n  a: {home: x, store: {path: y, compression: zst}}\n",
        "flows:\n  a: {home: x, store: {path: y, rows_per_file: many}}\n",
        "flows:\n  a: {home: x, store: y, entities: [{nam: z}]}\n",
        "options: {concurrency: 0}\nflows: {}\n",
        "options: {cache: {keep: sometimes}}\nflows: {}\n",
        "connections: {shop: {ur: x}}\nflows: {}\n",
        "defaults: {store: {compresion: zstd}}\nflows: {}\n",
    ];
    let files: Vec<PathBuf> = (0..wrong.len())
        .map(|number| sandbox.path(&format!("wrong{number}.yml")))
        .collect();
    for (file, text) in files.iter().zip(wrong) {
        fs::write(file, text).expect("a file");
    }
    for (text, found) in wrong
        .iter()
        .zip(validate(&sandbox.path("schema.json"), &files))
    {
        assert_ne!(found, "ok", "{text}");
    }
}
