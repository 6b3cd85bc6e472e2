//! Other writers and readers of parquet, which judge what hygge makes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::assert_success;
use crate::common::sandbox::Sandbox;

/// Runs a script of `tests/peers`.
pub(crate) fn python(script: &str, arguments: &[&OsStr]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    interpreter()
        .arg(script)
        .args(arguments)
        .output()
        .expect("Python runs")
}

/// Runs a few lines of Python.
pub(crate) fn run(lines: &str, arguments: &[&OsStr]) -> Output {
    command(lines)
        .args(arguments)
        .output()
        .expect("Python runs")
}

/// A few lines of Python, to be run.
pub(crate) fn command(lines: &str) -> Command {
    let mut command = interpreter();
    command.args(["-c", lines]);
    command
}

fn interpreter() -> Command {
    Command::new(
        std::env::var_os("HYGGE_TEST_PYTHON")
            .expect("tests/run sets HYGGE_TEST_PYTHON to a Python with pyarrow and duckdb"),
    )
}

/// Two files or folders hold the same table, as pyarrow and duckdb read them.
pub(crate) fn compare(left: &Path, right: &Path, options: &[&str]) {
    compare_all(&[(left.to_path_buf(), right.to_path_buf())], options);
}

/// [`compare`] for many pairs.
pub(crate) fn compare_all(pairs: &[(PathBuf, PathBuf)], options: &[&str]) {
    compare_by("compare.py", pairs, options);
}

/// Many pairs, by a script that prints a line of JSON for each.
pub(crate) fn compare_by(script: &str, pairs: &[(PathBuf, PathBuf)], options: &[&str]) {
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    arguments.extend(
        pairs
            .iter()
            .flat_map(|(left, right)| [left.as_os_str(), right.as_os_str()]),
    );
    let compared = python(script, &arguments);
    let (lines, errors) = (
        String::from_utf8_lossy(&compared.stdout),
        String::from_utf8_lossy(&compared.stderr),
    );
    let different: Vec<&str> = lines
        .lines()
        .filter(|line| !line.starts_with("{\"equal\": true"))
        .collect();
    assert!(
        compared.status.success() && different.is_empty(),
        "{}{errors}",
        different.join("\n")
    );
    assert_eq!(lines.lines().count(), pairs.len());
}

/// What pyarrow reads from a folder of parquet files.
pub(crate) struct Rows {
    /// `name: type` of each column.
    pub(crate) schema: Vec<String>,
    /// Values as texts.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Reads the files of a folder in the order of their names.
pub(crate) fn rows(folder: &Path) -> Rows {
    let read = python("rows.py", &[folder.as_os_str()]);
    assert_success(&read);
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).expect("a line of JSON");
    Rows {
        schema: serde_json::from_value(read["schema"].clone()).unwrap_or_default(),
        rows: serde_json::from_value(read["rows"].clone()).expect("rows"),
    }
}

impl Rows {
    /// Rows with their values joined by `|`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |row: &Vec<Option<String>>| {
            row.iter()
                .map(|value| value.as_deref().unwrap_or(""))
                .collect::<Vec<_>>()
                .join("|")
        };
        self.rows.iter().map(line).collect()
    }
}

/// Writes a parquet file by pyarrow, of a schema and of rows in its words.
pub(crate) fn parquet(sandbox: &Sandbox, name: &str, schema: &str, rows: &str) {
    let path = sandbox.path(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let lines = format!(
        "import sys, datetime, decimal, pyarrow as pa, pyarrow.parquet as pq\n\
         table = pa.Table.from_pylist({rows}, schema=pa.schema({schema}))\n\
         pq.write_table(table, sys.argv[1])"
    );
    assert_success(&run(&lines, &[path.as_os_str()]));
}

/// What DuckDB reads of the parts: its columns with their types, and the rows.
pub(crate) fn read_folder(sandbox: &Sandbox, folder: &str, order: &str) -> (String, Vec<String>) {
    let lines = format!(
        "import sys, duckdb\n\
         found = duckdb.sql(\"select * from '\" + sys.argv[1] + \"/*.parquet' order by {order}\")\n\
         print(', '.join(f'{{name}} {{kind}}' for name, kind in zip(found.columns, found.types)))\n\
         for row in found.project('columns(*)::varchar').fetchall(): print('|'.join('' if value is None else str(value) for value in row))"
    );
    let read = run(&lines, &[sandbox.path(folder).as_os_str()]);
    assert_success(&read);
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let mut lines = text.lines().map(String::from);
    (lines.next().unwrap_or_default(), lines.collect())
}

/// SHA-256 of a text, as another program has it.
pub(crate) fn sha256(text: &str) -> String {
    let lines = "import sys, hashlib; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())";
    let made = run(lines, &[text.as_ref()]);
    String::from_utf8_lossy(&made.stdout).trim().to_string()
}

/// The day of today in UTC, by another clock.
pub(crate) fn today() -> String {
    let lines = "import datetime; print(datetime.datetime.now(datetime.timezone.utc).date())";
    let said = run(lines, &[]).stdout;
    String::from_utf8_lossy(&said).trim().to_string()
}
