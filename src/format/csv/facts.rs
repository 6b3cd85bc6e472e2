//! What the values of columns could be: of each of them, as far as the config does not say it.

use polars_arrow::datatypes::ArrowDataType;

use super::records::{Record, RecordReader};
use super::values::ValueForms;
use super::{Csv, of_record};
use crate::connection::types::ColumnType;
use crate::format::inference::{FactsOf, FileFacts, ValueFacts};
use crate::format::{FormatError, OpenFile};
use crate::shape::is_text_of;

/// How many rows the beginning of a file has.
const FIRST_ROWS: usize = 20_000;

/// About how many bytes it has at most.
const FIRST_BYTES: usize = 4 << 20;

/// Looks at values of a file: at all of them, or at those of its first rows. It ends where the file
/// is no CSV any more: that is said where it is decoded.
pub(super) fn facts(csv: &Csv, source: &OpenFile, of: FactsOf) -> Result<FileFacts, FormatError> {
    let columns = csv.all_columns(source)?;
    let is_open = |name: &str| !csv.options.types.contains_key(name);
    let mut facts: Vec<Option<ValueFacts>> = columns
        .iter_names()
        .map(|name| is_open(name).then(ValueFacts::default))
        .collect();
    let failed = |error| of_record(source, error);
    let reader = RecordReader::new(source.bytes.as_ref(), &csv.options);
    let mut reader = reader.map_err(failed)?;
    let mut record = Record::default();
    if csv.options.has_header {
        reader.next(&mut record).map_err(failed)?;
    }
    let (mut rows, mut bytes) = (0, 0);
    let is_whole = loop {
        if of == FactsOf::Beginning && (rows >= FIRST_ROWS || bytes >= FIRST_BYTES) {
            break false;
        }
        match reader.next_row(&mut record, facts.len()) {
            Ok(true) => {}
            Ok(false) => break true,
            Err(_) => break false,
        }
        let Ok(fields) = record.fields() else {
            break false;
        };
        for ((value, _), facts) in fields.zip(&mut facts) {
            bytes += value.len() + 1;
            // In quotes it is a text, or null where the others are of another type.
            if let Some(facts) = facts.as_mut().filter(|_| !csv.options.is_null(value)) {
                facts.observe(value, |kind| is_of(&csv.options.forms, value, kind));
            }
        }
        rows += 1;
    };
    let columns = columns.iter_names().zip(facts);
    let columns = columns.filter_map(|(name, facts)| Some((name.to_string(), facts?)));
    Ok(FileFacts {
        columns: columns.collect(),
        is_whole,
    })
}

/// True for a text that is a value of a type as a program writes it.
fn is_of(forms: &ValueForms, text: &str, kind: &ColumnType) -> bool {
    let dtype = kind.to_arrow();
    let plain = if forms.concern(&dtype) {
        forms.plain(text, &dtype)
    } else {
        Some(text.into())
    };
    plain.is_some_and(|plain| {
        is_written_so(forms, (text, &plain), &dtype) && is_text_of(&plain, &dtype)
    })
}

/// True for a text of which a type may be inferred, with how it is written everywhere. The same holds
/// for every text of a column whose type was: so types are those of all rows, however many were
/// looked at.
pub(super) fn is_written_so(
    forms: &ValueForms,
    (text, plain): (&str, &str),
    dtype: &ArrowDataType,
) -> bool {
    use ArrowDataType as T;
    let is_number = matches!(dtype, T::Int64 | T::Decimal(_, 0) | T::Float64);
    // Digits by which the home says days are written are days.
    is_plain(plain, dtype) && !(is_number && forms.is_moment(text))
}

/// True for what is no number, and for numbers as programs write them: with zeros or a plus before
/// them, digits are those of a name, a telephone or a post code.
fn is_plain(text: &str, dtype: &ArrowDataType) -> bool {
    match dtype {
        ArrowDataType::Int64 | ArrowDataType::Decimal(_, 0) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            has_no_zeros_before(digits.as_bytes())
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && text != "-0"
        }
        ArrowDataType::Float64 => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let end = digits.find(['.', 'e', 'E']).unwrap_or(digits.len());
            let (whole, rest) = digits.split_at(end);
            match rest.as_bytes() {
                // `.5` is a number, `5.` and `.` are the ends of sentences.
                [b'.', next, ..] => {
                    next.is_ascii_digit()
                        && (whole.is_empty() || has_no_zeros_before(whole.as_bytes()))
                }
                [b'.'] => false,
                _ => has_no_zeros_before(whole.as_bytes()) || is_word(digits),
            }
        }
        // Others have no days before the year 1, or behind 9999, whatever the zone.
        ArrowDataType::Date32 | ArrowDataType::Timestamp(_, None) => {
            text.as_bytes().get(4) == Some(&b'-')
        }
        ArrowDataType::Timestamp(_, Some(_)) => {
            let is_outermost = text.starts_with("0001-") || text.starts_with("9999-");
            text.as_bytes().get(4) == Some(&b'-') && (text.ends_with('Z') || !is_outermost)
        }
        _ => true,
    }
}

/// True for digits of which the first is no zero, but for the one of zero itself.
fn has_no_zeros_before(digits: &[u8]) -> bool {
    matches!(digits, [b'0'] | [b'1'..=b'9', ..])
}

/// True for what floats are besides numbers.
fn is_word(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_programs_write() {
        let of = |kind: ColumnType| move |text: &str| is_of(&ValueForms::default(), text, &kind);
        let is_int = of(ColumnType::Int64);
        for text in [
            "0",
            "7",
            "-7",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(is_int(text), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+7",
            "007",
            "00",
            "7.0",
            "7e2",
            " 7",
            "9223372036854775808",
            "7_0",
            "x",
            "٣",
        ] {
            assert!(!is_int(text), "{text}");
        }
        let is_float = of(ColumnType::Float64);
        for text in [
            "0",
            "-0",
            "0.1",
            "-.5",
            "1e3",
            "1E-7",
            "1.5e300",
            "NaN",
            "-Infinity",
            "7.00",
            "0.30000000000000004",
            "9007199254740992",
        ] {
            assert!(is_float(text), "{text}");
        }
        for text in [
            "5.",
            ".",
            "+1.5",
            "01.5",
            "00.5",
            "1e",
            "e5",
            "1e400",
            "-NaN",
            "nan",
            "inf",
            "9007199254740993",
            "0.1000000000000000001",
            "1.2.3",
            "1,5",
            "0x1p3",
            "",
        ] {
            assert!(!is_float(text), "{text}");
        }
        let is_long = of(ColumnType::Decimal {
            precision: 38,
            scale: 0,
        });
        let most = "9".repeat(38);
        assert!(is_long("12345678901234567890") && is_long(&most));
        assert!(!is_long("012345678901234567890") && !is_long(&format!("{most}0")));
    }
}
