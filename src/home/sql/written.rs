//! SQL as it is written in a config, looked at before a database sees it: whether there is some,
//! and whether it is one statement.

use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Span};
use crate::connection::Dialect;
use crate::connection::lexer::{Rest, is_blank, rest_of};

/// A condition; nothing where it says nothing, or more than one, which is reported.
pub fn condition(
    dialect: Option<Dialect>,
    written: Option<String>,
    key: &str,
    node: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<Option<String>> {
    let Some(condition) = written else {
        return Some(None);
    };
    if is_blank(dialect, &condition) {
        let problem = Problem::new(
            node.place_of(key),
            format!("{key} of {name} is empty"),
            "expected a condition",
        );
        problems.push(problem.hint(format!("leave {key} out where all rows are meant")));
        return None;
    }
    match dialect.map_or(Rest::None, |dialect| rest_of(dialect, &condition)) {
        Rest::None => Some(Some(condition)),
        Rest::Behind(end) if is_blank(dialect, &condition[end + 1..]) => {
            Some(Some(condition[..end].to_string()))
        }
        Rest::Behind(end) => {
            let message = format!(
                "{key} of {name} has a semicolon, and behind it: {}",
                shown(&condition[end + 1..])
            );
            problems.push(Problem::new(
                node.place_of(key),
                message,
                "expected a condition",
            ));
            None
        }
        Rest::Unclear => {
            problems.push(unclear(key, node.place_of(key), name));
            None
        }
    }
}

/// A query without what ends it; nothing where another statement follows, which is reported.
pub(super) fn query(
    dialect: Option<Dialect>,
    written: &str,
    at: &Node,
    name: &str,
    problems: &mut Problems,
) -> Option<String> {
    match dialect.map_or(Rest::None, |dialect| rest_of(dialect, written)) {
        Rest::None => Some(written.to_string()),
        Rest::Behind(end) if is_blank(dialect, &written[end + 1..]) => {
            Some(written[..end].to_string())
        }
        Rest::Behind(end) => {
            let message = format!(
                "query of {name} has another statement behind its first: {}",
                shown(&written[end + 1..])
            );
            let problem = Problem::new(at.at, message, "expected one SELECT");
            problems.push(problem.hint("what belongs before it may be a view of the database"));
            None
        }
        Rest::Unclear => {
            problems.push(unclear("query", at.at, name));
            None
        }
    }
}

fn shown(rest: &str) -> String {
    rest.trim().chars().take(60).collect()
}

fn unclear(key: &str, at: Span, name: &str) -> Problem {
    let message = format!(
        "it cannot be told where {key} of {name} ends: that depends on how the server reads it"
    );
    let problem = Problem::new(
        at,
        message,
        "expected no semicolon beside a backslash in a text or a comment that is run",
    );
    problem
        .hint("write the text without it, such as chr(92) or char(92); or make a view of the query")
}

/// No column stands in a list twice.
pub(super) fn distinct(list: Option<&Node>, what: &str, problems: &mut Problems) -> bool {
    let names = list.map(Node::texts).unwrap_or_default();
    let mut is_sound = true;
    for (place, (column, at)) in names.iter().enumerate() {
        if let Some((_, first)) = names[..place].iter().find(|(name, _)| name == column) {
            let problem = Problem::new(
                *at,
                format!("{what} names the column {column} twice"),
                "expected each column once",
            );
            problems.push(problem.also(*first, "the first time"));
            is_sound = false;
        }
    }
    if list.is_some_and(|list| list.size() == 1 && list.text().is_none()) {
        let at = list.map_or_else(Default::default, |list| list.at);
        problems.push(Problem::new(
            at,
            format!("{what} names no column"),
            "expected a column at least",
        ));
        is_sound = false;
    }
    is_sound
}
