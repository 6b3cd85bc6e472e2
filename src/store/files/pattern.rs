//! `file_pattern`: the names of a store's files, made from placeholders.

use crate::fs;
use crate::store::PartNaming;

/// Fills the placeholders of a pattern. `{sequence:05d}` is padded with zeros to five digits.
pub(super) fn fill(pattern: &str, naming: &PartNaming<'_>) -> String {
    let mut name = String::new();
    for piece in pieces(pattern) {
        match piece {
            Ok(text) => name.push_str(text),
            Err(placeholder) => name.push_str(&match placeholder {
                "stem" => naming.stem.to_string(),
                "digest" => naming
                    .digest
                    .map_or_else(|| "?".repeat(64), ToString::to_string),
                other => format!(
                    "{:0width$}",
                    naming.sequence,
                    width = sequence_width(other).unwrap_or(0)
                ),
            }),
        }
    }
    name
}

/// Refuses a pattern that no part name can come from.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    for piece in pieces(pattern) {
        match piece {
            Ok(text) if text.contains(['{', '}']) => return Err("a brace is not closed".into()),
            Ok(text) if text.contains(|letter: char| letter.is_control()) => {
                return Err("it has a sign that no name may have".into());
            }
            Ok(text) if text.contains('/') => {
                return Err("it has a slash, and a store is one folder".into());
            }
            Err("stem" | "digest") | Ok(_) => {}
            Err(other) if sequence_width(other).is_some() => {}
            Err(other) => return Err(format!("{{{other}}} is no placeholder")),
        }
    }
    match pattern {
        "" => Err("it is empty".into()),
        pattern if fs::is_hidden(pattern) => {
            Err("names that begin with . or _ are never read".into())
        }
        _ => Ok(()),
    }
}

/// The width of `sequence` or `sequence:05d`; `None` for anything else.
fn sequence_width(placeholder: &str) -> Option<usize> {
    let rest = placeholder.strip_prefix("sequence")?;
    if rest.is_empty() {
        return Some(0);
    }
    rest.strip_prefix(":0")?
        .strip_suffix('d')?
        .parse()
        .ok()
        .filter(|width| *width <= 200)
}

/// A pattern as texts (`Ok`) and placeholders (`Err`), in order.
fn pieces(pattern: &str) -> Vec<Result<&str, &str>> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            break;
        };
        pieces.push(Ok(&rest[..open]));
        pieces.push(Err(&rest[open + 1..open + length]));
        rest = &rest[open + length + 1..];
    }
    pieces.push(Ok(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        let naming = PartNaming {
            sequence: 7,
            stem: "a{b}",
            digest: None,
        };
        for (pattern, name) in [
            ("x.parquet", "x.parquet"),
            ("{sequence}.parquet", "7.parquet"),
            ("{sequence:03d}-{stem}", "007-a{b}"),
            ("{sequence:01d}{sequence:02d}", "707"),
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
            assert_eq!(fill(pattern, &naming), name);
        }
        assert_eq!(fill("{digest}", &naming), "?".repeat(64));
    }

    #[test]
    fn patterns_without_a_meaning_are_refused() {
        for pattern in [
            "",
            "a/b",
            "_a",
            ".a",
            "a\nb",
            "{sequence",
            "sequence}",
            "{stem}}",
            "{name}",
            "{sequence:5d}",
            "{sequence:0201d}",
            "{sequence:0xd}",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }
}
