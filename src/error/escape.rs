//! Texts of others as a terminal may have them: nothing in them acts on it, or looks like a line of
//! hygge's.
//!
//! It knows no terminal. JSON has its own way to say the same, by which programs get back exactly
//! what it was.

use std::borrow::Cow;
use std::fmt::Write;

/// A text in one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escape_where(text, affects_terminal, |letter| {
        letter.escape_default().to_string()
    })
}

/// A text whose lines are hygge's own.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape_where(
        text,
        |letter| letter != '\n' && affects_terminal(letter),
        |letter| letter.escape_default().to_string(),
    )
}

/// JSON as a terminal may have it; it says the same. It may stand on several lines.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_escaped = |letter: char| letter != '\n' && affects_terminal(letter);
    // What acts on a terminal is below 0x10000.
    escape_where(text, is_escaped, |letter| {
        format!("\\u{:04x}", u32::from(letter))
    })
}

/// A text of as many bytes, in which places are counted.
pub fn same_length(text: &str) -> Cow<'_, str> {
    let acts_here =
        |letter: char| !matches!(letter, '\n' | '\t' | '\r') && affects_terminal(letter);
    escape_where(text, acts_here, |letter| "?".repeat(letter.len_utf8()))
}

/// True for what does something on a terminal instead of being shown: controls (C0, C1), ends of
/// lines, and marks that change the direction in which what follows is read.
fn affects_terminal(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape_where(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        // Writing to a string cannot fail.
        _ = if is_escaped(letter) {
            escaped.write_str(&escape(letter))
        } else {
            escaped.write_char(letter)
        };
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        let hostile = "a\u{1b}[31m\nb\t\r\u{7f}\u{9b}\u{202e}\u{2028}ü";
        assert_eq!(
            line(hostile),
            r"a\u{1b}[31m\nb\t\r\u{7f}\u{9b}\u{202e}\u{2028}ü"
        );
        assert_eq!(lines("a\nb\u{7}"), "a\nb\\u{7}");
        assert_eq!(
            same_length("\u{9b}\t\u{202e}x").len(),
            "\u{9b}\t\u{202e}x".len()
        );
        assert!(matches!(line("größe 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({ "name": "a\u{1b}\u{7f}\u{9b}\u{202e}\u{2069}b\nc" });
        let text = value.to_string();
        let escaped = json(&text);
        assert!(escaped.is_ascii());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"),
            value
        );
    }
}
