//! Whatever another writer made arrives as it was, or is refused by its column: judged by pyarrow
//! and duckdb, over files of every type that pyarrow can write.

use std::path::PathBuf;

use crate::common::assert_success;
use crate::common::peers;
use crate::common::sandbox::{CommandOutput, Sandbox};

/// What is not decoded: one type, texts that are none, and encodings of bytes of a fixed length.
const REFUSED: [(&str, &str); 10] = [
    (
        "decimal128_38_10_byte_stream_split",
        "its bytes of fixed length have the encoding 9",
    ),
    (
        "fixed_size_binary_16_delta_byte_array",
        "its bytes of fixed length have the encoding 7",
    ),
    ("mixed_spark", "column timestamp_us_utc: an INT96 timestamp"),
    ("string_invalid_utf8", "invalid UTF-8"),
    ("timestamp_ms_int96", "an INT96 timestamp"),
    ("timestamp_ns_int96", "an INT96 timestamp"),
    ("timestamp_s_int96", "an INT96 timestamp"),
    ("timestamp_us_int96", "an INT96 timestamp"),
    ("timestamp_us_int96_noschema", "an INT96 timestamp"),
    ("timestamp_us_utc_int96", "an INT96 timestamp"),
];

/// A project with one flow for each case, `f0` and so on.
struct Cases {
    sandbox: Sandbox,
    names: Vec<String>,
}

impl Cases {
    fn new() -> Self {
        let sandbox = Sandbox::new("");
        let made = peers::python("type_cases.py", &[sandbox.path("cases").as_os_str()]);
        assert_success(&made);
        let names: Vec<String> = sandbox.digests("cases").into_keys().collect();
        assert!(names.len() > 300);
        Self { sandbox, names }
    }

    /// Builds every case with these fields of its store.
    fn build(&self, fields: &str) -> CommandOutput {
        let flow = |(number, name)| {
            format!(
                "  f{number}: {{home: cases/{name}, store: {{path: out/f{number}, {fields}}}}}\n"
            )
        };
        self.sandbox.write(
            "hygge.yml",
            format!(
                "flows:\n{}",
                self.names.iter().enumerate().map(flow).collect::<String>()
            ),
        );
        self.sandbox.build(&[])
    }

    /// Every case that was built, with what it became.
    fn built(&self, ran: &CommandOutput) -> Vec<(PathBuf, PathBuf)> {
        let is_built =
            |number: &usize| matches!(ran.outcome(&format!("f{number}")), "built" | "restored");
        let pair = |number: usize| {
            (
                self.sandbox.path(&format!("cases/{}", self.names[number])),
                self.sandbox.path(&format!("out/f{number}")),
            )
        };
        (0..self.names.len()).filter(is_built).map(pair).collect()
    }
}

#[test]
fn every_type_passes_with_another_compression() {
    let cases = Cases::new();
    for compression in ["zstd", "lz4", "brotli", "gzip", "snappy", "uncompressed"] {
        let ran = cases.build(&format!("compression: {compression}"));
        assert_eq!(ran.code, 0, "{compression}: {}", ran.text);
        let built = cases.built(&ran);
        assert!(built.len() > 200, "{compression}: others had it already");
        peers::compare_all(&built, &["--metadata"]);
    }
}

/// Whoever sees this fail after an update has a library that writes other bytes: then the version
/// of the format goes up, so that every store is built anew once, and these digests are taken
/// again.
#[test]
fn equal_input_gives_the_bytes_that_it_gave() {
    let sandbox = Sandbox::new("");
    sandbox.sample("north", "samples/north.parquet");
    let made = peers::python("type_cases.py", &[sandbox.path("cases").as_os_str()]);
    assert_success(&made);
    let mut flows = String::new();
    for compression in ["zstd", "lz4", "brotli", "gzip", "snappy", "uncompressed"] {
        flows.push_str(&format!(
            "  {compression}: {{home: samples, store: {{path: out/{compression}, compression: \
             {compression}}}}}\n"
        ));
    }
    flows
        .push_str("  packed: {home: samples, store: {path: out/packed, rows_per_file: 1000000}}\n");
    for case in [
        "int64",
        "string",
        "float64",
        "list_of_struct",
        "decimal128_38_10",
        "timestamp_us_utc",
    ] {
        flows.push_str(&format!(
            "  cut_{case}: {{home: cases/{case}.parquet, store: {{path: out/cut_{case}, \
             rows_per_file: 10}}}}\n"
        ));
    }
    sandbox.write("hygge.yml", format!("flows:\n{flows}"));
    let ran = sandbox.build(&[]);
    assert_eq!(ran.code, 0, "{}", ran.text);
    let mut lines = Vec::new();
    for flow in flows
        .lines()
        .filter_map(|line| line.trim().split(':').next())
    {
        let parts = sandbox.digests(&format!("out/{flow}"));
        let all: String = parts.values().map(String::as_str).collect();
        lines.push(format!(
            "{flow} {} {}",
            parts.len(),
            blake3::hash(all.as_bytes())
        ));
    }
    insta::assert_snapshot!("bytes", lines.join("\n"));
}

#[test]
fn every_type_is_cut_exactly() {
    let cases = Cases::new();
    let ran = cases.build("compression: zstd, rows_per_file: 10");
    for (number, name) in cases
        .names
        .iter()
        .map(|name| name.trim_end_matches(".parquet"))
        .enumerate()
    {
        let flow = format!("f{number}");
        let finished = ran.finished(&flow).expect("an end");
        let error = finished["error"].as_str();
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, said)) => assert!(
                error.is_some_and(|error| error.contains(said)),
                "{name}: {error:?}"
            ),
            None => assert_eq!(error, None, "{name}"),
        }
    }
    peers::compare_all(&cases.built(&ran), &["--values-only", "--metadata"]);
}
