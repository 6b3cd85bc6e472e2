//! What is re-encoded is exact, or refused by its column: judged by pyarrow and duckdb.

use crate::common::peers;
use crate::common::sandbox::Sandbox;

/// Of the cases that another writer makes, at least so many can be re-encoded.
const EXACT: usize = 200;

#[test]
fn every_type_is_exact_or_refused_by_name() {
    let sandbox = Sandbox::new("");
    let made = peers::python("type_cases.py", &[sandbox.path("cases").as_os_str()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut names: Vec<String> = sandbox.digests("cases").into_keys().collect();
    names.sort();
    let flow = |(number, name): (usize, &String)| {
        format!(
            "  f{number}: {{home: cases/{name}, store: {{path: out/f{number}, compression: zstd, file_pattern: \"{{stem}}.parquet\"}}}}\n"
        )
    };
    sandbox.write("hygge.yml", format!("flows:\n{}", names.iter().enumerate().map(flow).collect::<String>()));
    let ran = sandbox.build(&[]);
    let mut exact = 0;
    for (number, name) in names.iter().enumerate() {
        let flow = format!("f{number}");
        match ran.outcome(&flow) {
            "built" | "restored" => {
                let (before, after) = (sandbox.path(&format!("cases/{name}")), sandbox.path(&format!("out/{flow}/{name}")));
                peers::compare(&before, &after, &["--values-only", "--metadata"]);
                exact += 1;
            }
            "failed" => {}
            other => panic!("{name} ended as {other}"),
        }
    }
    assert!(exact >= EXACT, "only {exact} of {} cases", names.len());
    for refused in ["time32_s", "map", "fixed_size_binary_16", "date64", "uuid", "json", "decimal256_76", "duration_s"] {
        let number = names.iter().position(|name| *name == format!("{refused}.parquet")).expect("the case exists");
        assert_eq!(ran.outcome(&format!("f{number}")), "failed", "{refused} is not exact");
    }
}
