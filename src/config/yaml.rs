//! What a YAML parser says, in the words of those who do not know YAML well.

use super::problem::{Problem, Span};

/// The error of a key that is no text.
pub(super) const KEY: &str = "a key is a list or a map";

/// Words of the parser, what is said instead (or its own words), and what to do.
const WORDS: &[(&str, Option<&str>, &str)] = &[
    ("multiple YAML documents", None, "take out the --- between them"),
    ("tab", None, "indent with spaces, and put spaces between values: YAML has no tabs there"),
    (
        "unknown anchor",
        Some("a text begins with *, which YAML takes for an alias"),
        "put it in quotes, such as \"*.parquet\"; or name an anchor that is written above",
    ),
    ("unexpected character", None, "put a text in quotes that begins with @, %, ` or another sign"),
    ("unknown escape", None, "put the text in single quotes, or write / for \\"),
    ("mapping values are not allowed", None, "put a text in quotes that has \": \" in it; keys of one map begin in one column"),
    ("did not find expected key", None, "keys of one map begin in one column; put a text in quotes that begins with { or ["),
    (
        "did not find expected ',' or",
        None,
        "close the bracket, put a comma between its items, and put a text in quotes that begins with { or [",
    ),
    ("unclosed bracket", None, "close the bracket"),
    ("quoted scalar", None, "close the quote"),
    ("simple key", None, "a key ends with a colon and a space"),
    (KEY, None, "put a key in quotes that begins with { or ["),
    ("recursive references", Some("an alias stands in what it repeats"), "repeat something else, or write it out"),
    ("recursion limit", Some("it is nested more than 64 levels deep"), "a config needs ten: is something missing a closing bracket?"),
    ("Depth", Some("it is nested more than 64 levels deep"), "a config needs ten: is something missing a closing bracket?"),
    ("nesting", Some("it is nested more than 64 levels deep"), "a config needs ten: is something missing a closing bracket?"),
    (
        "budget",
        Some("it has more values than a config may have, those that aliases repeat included"),
        "split it: each flow may have a folder of its own",
    ),
    ("replay", Some("its aliases repeat more values than a config may have"), "use fewer aliases in aliases"),
];

/// The problem that a parser's error is.
pub(super) fn problem(said: &str, at: Span) -> Problem {
    let known = WORDS.iter().find(|(word, ..)| said.contains(word));
    // The location is shown with the lines themselves, and nobody here sets options of the parser.
    let own = said.split(" at line ").next().unwrap_or(said);
    let own = own.split(", set ").next().unwrap_or(own);
    let own = own.split("; use ").next().unwrap_or(own);
    match known {
        Some((_, words, hint)) => Problem::new(at, words.unwrap_or(own), "here").hint(*hint),
        None => Problem::new(at, own, "here").hint("this is where YAML could not be read; the cause may stand on the line above"),
    }
}
