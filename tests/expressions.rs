//! Expressions beside DuckDB: random ones, over random rows with columns of every type, have the
//! values that it gives them, and fail where it fails.
//!
//! `HYGGE_EXPRESSIONS` sets how many there are; each is tried on 500 rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hygge::flow::factory::formats;
use hygge::format::batch::{RecordBatch, slice_batch};
use hygge::format::{PartPieces, Piece};
use hygge::shape::{Expression, RowError, Shape};
use hygge::storage::Location;
use polars_arrow::datatypes::ArrowSchema;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::common::assert_success;
use crate::common::peers;
use crate::conformance::{OnlyFile, decode};

const ROWS: usize = 500;

/// How many columns stand in one file.
const BATCH: usize = 50;

/// How many rows are tried of those in which an expression fails.
const FAILING_ROWS: usize = 20;

#[test]
fn expressions_are_what_duckdb_makes_of_them() {
    let count = std::env::var("HYGGE_EXPRESSIONS");
    let count: usize = count.map_or(100, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let seed = std::env::var("HYGGE_SEED").unwrap_or_else(|_| "1".into());
    let arguments = [seed, count.to_string(), ROWS.to_string()];
    let mut arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    arguments.push(folder.path().as_os_str());
    assert_success(&peers::python("expressions.py", &arguments));
    let read = |name: &str| read_rows(&folder.path().join(name));
    let rows = read("rows.parquet");
    let written = fs::read(folder.path().join("expressions.json")).expect("expressions");
    let written: Vec<Value> = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(written.len(), count);
    let mut wrong = Vec::new();
    let (mut failing, mut refused) = (0, 0);
    let mut expected = rows.clone();
    for (number, expression) in written.iter().enumerate() {
        if number % BATCH == 0 {
            expected = read(&format!("expected-{}.parquet", number / BATCH));
        }
        let batch = with_columns(&rows, &expected, number);
        let text = expression["text"].as_str().expect("a text");
        // DuckDB takes decimals of 39 digits for others, and cuts them where they are compared.
        let condition = Expression::parse(&format!("({text}) is null")).expect("an expression");
        let shape = filtering(condition);
        let bound = shape.bind(batch.schema(), &BTreeMap::new());
        if bound.is_err_and(|error| error.to_string().contains("decimal(3")) {
            refused += 1;
            continue;
        }
        match compare(&batch, text, expression["compared"] == "text") {
            Ok(failed) => failing += failed,
            Err(told) => wrong.push(format!("{text}\n    {told}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count < 50 || failing > 0, "none has failed");
    assert!(refused * 10 < count, "{refused} of {count} are refused");
}

/// Compares an expression with what the columns `x` and `f` say of it; gives how many rows have
/// failed as they should.
fn compare(batch: &RecordBatch, text: &str, as_text: bool) -> Result<usize, String> {
    let sound = kept(batch, "not f").map_err(|error| error.to_string())?;
    let value = if as_text {
        format!("cast({text} as text)")
    } else {
        text.to_string()
    };
    let differs = format!("not coalesce({value} = x, ({text}) is null and x is null)");
    match kept(&sound, &differs) {
        Ok(odd) if odd.height() == 0 => {}
        Ok(odd) => {
            let row = slice_batch(&odd, 0, 1);
            let found = format!("{} rows differ", odd.height());
            return Err(format!("{found}, as {}", described(&row, text)));
        }
        // DuckDB need not compute what is null for another reason.
        Err(_) => {
            for row in 0..sound.height() {
                let row = slice_batch(&sound, row as u64, 1);
                let is_null = kept(&row, "x is null").is_ok_and(|rows| rows.height() == 1);
                match kept(&row, &differs) {
                    Ok(odd) if odd.height() == 0 => {}
                    Err(_) if is_null => {}
                    found => return Err(format!("{found:?} for {}", described(&row, text))),
                }
            }
        }
    }
    let failing = kept(batch, "f").map_err(|error| error.to_string())?;
    let tried = failing.height().min(FAILING_ROWS);
    for row in 0..tried {
        let row = slice_batch(&failing, row as u64, 1);
        // In which order conditions are looked at, DuckDB decides by itself, and decimals of 18 digits
        // are numbers of 64 bits there.
        let words = [" and ", " or ", "between", " in (", "coalesce", "dec"];
        let may_differ = words.iter().any(|word| text.contains(word));
        if kept(&row, &format!("({text}) is null")).is_ok() && !may_differ {
            return Err(format!("it does not fail for {}", described(&row, text)));
        }
    }
    Ok(tried)
}

/// The rows for which a condition is true.
fn kept(batch: &RecordBatch, condition: &str) -> Result<RecordBatch, RowError> {
    let filter =
        Expression::parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
    let shape = filtering(filter);
    let bound = shape.bind(batch.schema(), &BTreeMap::new());
    let bound = bound.unwrap_or_else(|error| panic!("{condition}: {error}"));
    bound.apply(batch).map(|shaped| shaped.rows)
}

fn filtering(filter: Expression) -> Shape {
    Shape {
        filter: Some(filter),
        ..Shape::default()
    }
}

fn described(row: &RecordBatch, text: &str) -> String {
    let columns = row.schema().iter_names().zip(row.arrays());
    let shown = columns.filter(|(name, _)| text.contains(name.as_str()) || *name == "x");
    let shown: Vec<String> = shown
        .map(|(name, array)| format!("{name}: {array:?}"))
        .collect();
    shown.join(", ")
}

/// The rows with the value of an expression as `x`, and whether it fails as `f`.
fn with_columns(rows: &RecordBatch, expected: &RecordBatch, number: usize) -> RecordBatch {
    let mut schema: ArrowSchema = rows.schema().clone();
    let mut arrays = rows.arrays().to_vec();
    for name in ["x", "f"] {
        let wanted = format!("{name}{number}");
        let place = expected.schema().index_of(&wanted).expect("a column");
        let (_, field) = expected.schema().get_at_index(place).expect("a field");
        schema.insert(name.into(), field.clone());
        arrays.push(expected.arrays()[place].clone());
    }
    RecordBatch::new(rows.height(), Arc::new(schema), arrays)
}

fn read_rows(path: &Path) -> RecordBatch {
    let pieces = [Piece {
        file: 0,
        group: None,
        rows: None,
    }];
    let part = PartPieces {
        inputs: &OnlyFile(Location::local(path.to_path_buf())),
        pieces: &pieces,
        interrupted: &CancellationToken::new(),
    };
    let mut formats = formats();
    let parquet = formats
        .find(|format| format.id() == "parquet")
        .expect("parquet");
    let batches = decode(parquet.as_ref(), &part).expect("rows");
    assert_eq!(batches.len(), 1);
    batches.into_iter().next().expect("a batch")
}
