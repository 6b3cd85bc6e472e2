//! JSON that a database takes apart and puts together again: whether anything of it would be lost.
//!
//! Whether it is JSON at all is for the database to say.

use std::collections::HashSet;

/// What is open around a place in a text.
enum Open {
    /// An object, with the names that were seen.
    Object(HashSet<String>),
    Array,
}

/// Refuses a text in which a name stands twice in one object, of which the database would keep one;
/// and numbers that 64 bits do not hold, where it keeps them so.
///
/// # Errors
/// Which name or number, in words.
pub(super) fn check(text: &str, numbers_of_64_bits: bool) -> Result<(), String> {
    let mut open: Vec<Open> = Vec::new();
    let mut wants_name = false;
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        match sign {
            '"' => {
                let Some(end) = closing_quote(rest) else {
                    return Ok(());
                };
                if let (true, Some(Open::Object(names))) = (wants_name, open.last_mut()) {
                    let Ok(name) = serde_json::from_str::<String>(&rest[..=end]) else {
                        return Ok(());
                    };
                    if !names.insert(name.clone()) {
                        return Err(format!(
                            "the name {} stands twice in one object, and the column keeps one of \
                             them",
                            quote_short(&name)
                        ));
                    }
                    wants_name = false;
                }
                rest = &rest[end + 1..];
                continue;
            }
            '{' => {
                open.push(Open::Object(HashSet::new()));
                wants_name = true;
            }
            '[' => {
                open.push(Open::Array);
                wants_name = false;
            }
            '}' | ']' => {
                open.pop();
                wants_name = false;
            }
            ',' => wants_name = matches!(open.last(), Some(Open::Object(_))),
            '-' | '0'..='9' if numbers_of_64_bits => {
                let length = rest
                    .find(|sign: char| !matches!(sign, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                    .unwrap_or(rest.len());
                check_number(&rest[..length])?;
                rest = &rest[length..];
                continue;
            }
            _ => {}
        }
        rest = &rest[sign.len_utf8()..];
    }
    Ok(())
}

/// Where the text ends that begins with a quote.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().enumerate().skip(1).find_map(|(place, byte)| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends.then_some(place)
    })
}

fn check_number(text: &str) -> Result<(), String> {
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return Ok(());
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa
        .trim_start_matches(['-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    let is_held = mantissa.contains('.') || mantissa.len() < text.len();
    match text.parse::<f64>() {
        Ok(number) if is_held && digits <= 15 && number.is_finite() => Ok(()),
        _ => Err(format!(
            "the column keeps the number {text} in 64 bits, which do not hold it exactly"
        )),
    }
}

/// A text in quotes, shortened.
pub(super) fn quote_short(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() > MOST {
        format!("{:?}…", text.chars().take(MOST).collect::<String>())
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_that_stand_twice_are_found() {
        for text in [
            r#"{"a": 1, "a": 2}"#,
            r#"[{"x": {"b": 1, "c": 2, "\u0062": 3}}]"#,
            r#"{"": 0, "a": {}, "": 1}"#,
        ] {
            assert!(check(text, false).is_err(), "{text}");
        }
        for text in [
            r#"{"a": "a", "b": ["a", "a"], "c": {"a": 1}}"#,
            r#"[{"a": 1}, {"a": 1}]"#,
            r#""a \" b""#,
            "1e400",
            r#"{"a": "{\"a\": 1, \"a\"", "b": 2}"#,
        ] {
            assert!(check(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn numbers_that_64_bits_do_not_hold_are_found() {
        for text in [
            "[1, -9223372036854775808, 18446744073709551615, 0.1, 1.5e300, true, null]",
            r#"{"1234567890123456789012": 1}"#,
        ] {
            assert!(check(text, true).is_ok(), "{text}");
        }
        for text in ["18446744073709551616", "0.12345678901234567", "[1e400]"] {
            assert!(check(text, true).is_err(), "{text}");
        }
    }
}
