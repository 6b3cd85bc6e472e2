//! Long values: how much memory they take on their way.

use crate::common::databases::{Database, Kind, on_each_database};
use crate::common::peers;
use crate::common::sandbox::Sandbox;

/// The bytes of a row: a text and as many bytes.
const LONG: u64 = 12_000_000;

/// A row takes no more memory than so many times its bytes, beyond what hygge takes anyway;
/// docs/types.md says how much it is.
const TIMES: u64 = 8;

/// Builds a flow; gives the most memory that it took, in bytes.
fn peak(sandbox: &Sandbox, flow: &str) -> u64 {
    let script = "import os, sys\n\
                  child = os.posix_spawn(sys.argv[1], sys.argv[1:], {})\n\
                  _, status, usage = os.wait4(child, 0)\n\
                  print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)\n";
    let config = sandbox.path("hygge.yml");
    let arguments = [
        env!("CARGO_BIN_EXE_hygge").as_ref(),
        "build".as_ref(),
        "--only".as_ref(),
        flow.as_ref(),
        "-f".as_ref(),
    ];
    let output = peers::run(
        script,
        &[arguments.as_slice(), &[config.as_os_str()]].concat(),
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (code, kilobytes) = said
        .lines()
        .last()
        .and_then(|line| line.split_once(' '))
        .expect("a code and a number");
    assert_eq!(
        code,
        "0",
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    kilobytes.parse::<u64>().expect("a number") * 1024
}

fn a_long_value_takes_a_few_times_its_size(kind: Kind) {
    let database = Database::new(kind);
    let (bytes, length) = match kind {
        Kind::Sqlite => ("blob", "length(t) + length(b)"),
        Kind::Postgres => ("bytea", "length(t) + length(b)"),
        Kind::MySql => ("longblob", "char_length(t) + length(b)"),
    };
    let text = if kind == Kind::MySql {
        "longtext"
    } else {
        "text"
    };
    database.run(&format!(
        "CREATE TABLE source (id integer PRIMARY KEY, t {text}, b {bytes})"
    ));
    let half = LONG / 2;
    let [text, bytes] = match kind {
        Kind::Sqlite => [
            format!("hex(randomblob({half} / 2))"),
            format!("randomblob({half})"),
        ],
        Kind::Postgres => [
            format!("repeat('abcdefghij', {half} / 10)"),
            format!("repeat('abcdefghij', {half} / 10)::bytea"),
        ],
        Kind::MySql => [
            format!("repeat('abcdefghij', {half} / 10)"),
            format!("repeat('abcdefghij', {half} / 10)"),
        ],
    };
    let flows = "  out: {home: {connection: shop, table: source}, store: out, retries: 0}\n  \
                   back: {home: out, store: {connection: shop, table: copy}, needs: out, retries: \
                   0}\n";
    let empty = if kind == Kind::Postgres {
        "''::bytea"
    } else {
        "x''"
    };
    let mut peaks = Vec::new();
    for [text, bytes] in [["''", empty], [text.as_str(), &bytes]] {
        database.run(&format!(
            "DELETE FROM source; INSERT INTO source VALUES (1, {text}, {bytes})"
        ));
        let sandbox = database.project(flows);
        peaks.push([peak(&sandbox, "out"), peak(&sandbox, "back")]);
        let same = if kind == Kind::Sqlite { "IS" } else { "=" };
        assert_eq!(
            database.ask(&format!(
                "SELECT count(*) FROM source s JOIN copy c ON s.id = c.id AND s.t {same} c.t \
                 AND s.b {same} c.b"
            )),
            "1"
        );
        assert_eq!(
            database.ask(&format!("SELECT {length} FROM copy")),
            if text.len() > 20 {
                LONG.to_string()
            } else {
                "0".into()
            }
        );
        database.run("DROP TABLE copy; DROP TABLE hygge_receipts");
    }
    for (way, (short, long)) in ["out", "back"]
        .into_iter()
        .zip(peaks[0].into_iter().zip(peaks[1]))
    {
        let times = long.saturating_sub(short) as f64 / LONG as f64;
        assert!(
            times < TIMES as f64,
            "{way}: {times:.1} times its {LONG} bytes: {short} and {long}"
        );
    }
}

on_each_database!(a_long_value_takes_a_few_times_its_size);
