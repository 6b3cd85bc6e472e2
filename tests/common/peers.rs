//! Other writers and readers of parquet, which judge what hygge makes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a script of `tests/peers`.
pub(crate) fn python(script: &str, arguments: &[&OsStr]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    interpreter().arg(script).args(arguments).output().expect("Python runs")
}

/// Runs a few lines of Python.
pub(crate) fn run(lines: &str, arguments: &[&OsStr]) -> Output {
    interpreter().args(["-c", lines]).args(arguments).output().expect("Python runs")
}

fn interpreter() -> Command {
    Command::new(std::env::var_os("HYGGE_TEST_PYTHON").expect("tests/run sets HYGGE_TEST_PYTHON to a Python with pyarrow and duckdb"))
}

/// Two files or folders hold the same table, as pyarrow and duckdb read them.
pub(crate) fn compare(left: &Path, right: &Path, options: &[&str]) {
    compare_all(&[(left.to_path_buf(), right.to_path_buf())], options);
}

/// [`compare`] for many pairs.
pub(crate) fn compare_all(pairs: &[(PathBuf, PathBuf)], options: &[&str]) {
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    arguments.extend(pairs.iter().flat_map(|(left, right)| [left.as_os_str(), right.as_os_str()]));
    let compared = python("compare.py", &arguments);
    let (lines, errors) = (String::from_utf8_lossy(&compared.stdout), String::from_utf8_lossy(&compared.stderr));
    let different: Vec<&str> = lines.lines().filter(|line| !line.starts_with("{\"equal\": true")).collect();
    assert!(compared.status.success() && different.is_empty(), "{}{errors}", different.join("\n"));
    assert_eq!(lines.lines().count(), pairs.len());
}
